"""What a setting is called beside others, and the family that its variant belongs to."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aebench.plots import style
from aebench.variants import VARIANTS

FAMILIES = {
    "closed_form": "closed form",
    "autoencoder": "plain",
    "denoising": "denoising",
    "sparse": "sparse, contractive",
    "variational": "variational",
}
"""Family, which is the file that a variant is written in -> its name; others are of no family."""
OTHER = "others"
NAMES = (*FAMILIES.values(), OTHER)
"""The names of all families, in the order in which they are shown."""


def family(variant: str) -> str:
    """The name of the family of a variant."""
    reference, _ = VARIANTS.get(variant, ("", ""))
    return FAMILIES.get(reference.partition(":")[0].rpartition(".")[2], OTHER)


def latent(spec: Mapping[str, Any]) -> int:
    """The latent size of a specification; 0 where it has none."""
    return int(spec["sizes"].get("latent", 0))


def common_latent(specs: Iterable[Mapping[str, Any]]) -> int:
    """The latent size that most have."""
    return Counter(map(latent, specs)).most_common(1)[0][0]


def label(text: str, spec: Mapping[str, Any], common: int) -> str:
    """The label of a setting, with its latent size where that is not the common one."""
    own = latent(spec)
    return text if own == common or f"latent {own}" in text else f"{text}, {own} units"


def short(text: str, width: int, lines: int = 1) -> str:
    """A label in at most so many lines of at most so many characters; what is too long loses its middle, as `…`.

    Names are other people's: blanks and line breaks in them are single spaces here.
    """
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    parts = textwrap.wrap(text, width)
    if len(parts) <= lines:
        return "\n".join(parts)
    kept = width * lines - 1
    head = kept // 2
    cut = f"{text[:head]}…{text[head - kept :]}"
    return "\n".join(cut[i : i + width] for i in range(0, len(cut), width))


def legend_columns(labels: Sequence[str], most: int) -> int:
    """How many entries of a legend stand side by side on a page, at most so many."""
    longest = max(map(len, labels), default=0)
    return max(min(most, int(style.WIDTH / (0.45 + 0.068 * longest))), 1)
