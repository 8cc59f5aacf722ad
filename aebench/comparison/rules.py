"""Which numbers may rank which settings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aebench.comparison.budgets import budget, in_words, latent
from aebench.comparison.records import Entrant
from aebench.comparison.variants import has_posterior, likelihood
from aebench.known import is_closed_form
from aebench.stats import Floats

Mask = NDArray[np.bool_]

ERROR = re.compile(r"sse|mse|psnr|mae|mape|huber|bce|gaussian_nll|laplace_nll|ssim|C|denoising_.*|identity_.*")
"""What a larger latent KL buys: β decides it, so a point of it ranks no two variants that have a latent KL."""
RATE = ("kl", "aggregate_kl", "posterior_gap")
"""What a smaller β buys, down to a code that says nothing."""
LIKELIHOOD = ("elbo", "bits_per_dim", "nll", "nll_bits_per_dim", "nll_exact")

TRADED = "settings with a latent KL trade error for KL: the rate–distortion curve compares them, at equal KL"
SHARED = "runs that trained together share it"
TIMED = "a time depends on the machine, and on what else it did"
UNITS = "densities of continuous x, probabilities of binary x and likelihoods that are not known are not compared"
LEVELS = (
    "a density of x that takes a few levels has no upper bound, a probability of x that is not binary is none: such "
    "likelihoods are not compared"
)
REASONS = (TRADED, UNITS, LEVELS)
"""Why a number may rank some settings of a board and not others."""


def unranked(name: str, value: Mapping[str, Any]) -> str:
    """Why a number ranks nothing at all; empty where it may."""
    if value.get("better", "neither") == "neither":
        return "neither direction is better"
    if value.get("shared"):
        return SHARED
    if name in RATE:
        return f"{TRADED}; the KL alone ranks nothing"
    if value["unit"].startswith("ms ") or value["unit"].endswith("/s"):
        return TIMED
    if metric := value.get("chosen_by"):
        return f"draws were chosen by {metric}, and are ranked by nothing else"
    return "" if value.get("alike", True) else "not measured alike in all runs"


def has_latent_kl(entrants: Sequence[Entrant], kl: Floats) -> Mask:
    """Which settings have a posterior, `[entrants]`: their variant says so, else that a `kl` `[entrants, seeds]` was
    measured.
    """
    said = [has_posterior(entrant.variant) for entrant in entrants]
    measured = [bool(row.any()) for row in ~np.isnan(kl)]
    return np.array([m if one is None else one for one, m in zip(said, measured, strict=True)], np.bool_)


def comparable(entrants: Sequence[Entrant]) -> tuple[Mask, str]:
    """The settings of equal latent size and equal budget, `[entrants]`, and a note where others are left out.

    Where there are several such groups the largest is ranked, among equals the first; closed forms, which have no
    budget, belong to every group of their latent size. Other groups stand in the tables, unranked.
    """
    sizes = [latent(entrant.spec) for entrant in entrants]
    spent = [budget(entrant.spec) for entrant in entrants]
    texts = [json.dumps(fields, sort_keys=True) if fields else "" for fields in spent]
    groups = Counter(zip(sizes, texts, strict=True))
    if not groups:
        return np.zeros(0, np.bool_), ""
    members = {(size, text): n + (groups[size, ""] if text else 0) for (size, text), n in groups.items()}
    chosen = max(members, key=lambda group: (members[group], bool(group[1])))  # the first among equals
    within = [size == chosen[0] and text in ("", chosen[1]) for size, text in zip(sizes, texts, strict=True)]
    if all(within):
        return np.array(within, np.bool_), ""
    fields = next(fields for fields, text in zip(spent, texts, strict=True) if text == chosen[1])
    whose = f"latent size {chosen[0]}" + (f" ({in_words(fields)})" if fields else "")
    others: list[str] = []
    for entrant, inside, size, own in zip(entrants, within, sizes, spent, strict=True):
        if not inside:
            why = f"latent size {size}" if size != chosen[0] else in_words(own)
            others.append(f"{entrant.label} ({why})")
    note = f"Ranked are the {sum(within)} settings of {whose}, the largest group of equal size and budget"
    return np.array(within, np.bool_), f"{note}; not ranked: {listed(others)}."


def commonest_network(entrants: Sequence[Entrant]) -> str:
    """That of the most settings, in words, the first among equals; closed forms train none. Empty where none do."""
    counts = Counter(entrant.network for entrant in entrants if not is_closed_form(entrant.variant))
    return max(counts, key=counts.__getitem__) if counts else ""


def other_network(entrant: Entrant, common: str) -> bool:
    """Whether a setting trains another network than the commonest one: no budget, but something a reader must see."""
    return entrant.network != common and not is_closed_form(entrant.variant)


def with_network(label: str, entrant: Entrant, common: str) -> str:
    """What a setting or a line of such is called in a sentence: its label, and its network where that is another."""
    said = entrant.network in label.split(", ") or not other_network(entrant, common)
    return label if said else f"{label} ({entrant.network})"


def one_likelihood(entrants: Sequence[Entrant], among: Mask) -> tuple[Mask, NDArray[Any]]:
    """Of the settings `among` `[entrants]`, those whose likelihoods are of one kind: the commonest that is known.

    And why another is not compared with them, `[entrants]`.
    """
    kinds = np.array([likelihood(entrant.spec) for entrant in entrants], dtype=object)
    counts = Counter(kind for kind in kinds[among] if kind in ("density", "probability"))
    alike = among & (kinds == counts.most_common(1)[0][0]) if counts else np.zeros_like(among)
    return alike, np.where(kinds == "none", LEVELS, UNITS).astype(object)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence, at most so many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
