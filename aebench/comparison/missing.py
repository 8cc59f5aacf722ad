"""Why a table has no number where a run could have one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aebench.comparison.records import Entrant
from aebench.comparison.variants import offers
from aebench.metrics import METRICS, Metric
from aebench.plugins import resolve

LONG = 120
"""Characters of an error in a note; the document has it all."""
TRAINED = "trained, but not measured: "
"""How the error of a run begins that was trained to the end."""
OFFERED, MEASURED, FINITE = "not offered by this variant", "not measured", "no finite value"


def failures(statuses: Sequence[str]) -> str:
    """What became of a setting's runs: `2 of 5 failed: diverged`, `failed: out of memory`; empty if all ended well."""
    bad = Counter(status.replace("_", " ") for status in statuses if status != "ok")
    if not bad:
        return ""
    total, kinds = sum(bad.values()), [kind for kind, _ in bad.most_common()]
    said = "failed" if total == len(statuses) else f"{total} of {len(statuses)} failed"
    return said if kinds == ["failed"] else f"{said}: {', '.join(kinds)}"


def unmeasured(entrant: Entrant, name: str, asked: bool, error: str) -> str:
    """Why a setting whose runs ended well lacks a number: of the variant, the suite, or the number itself.

    `asked`: whether another run of its suite has it, as a suite measures all its runs alike. `error`: what measuring
    it met, if that is stored.
    """
    if error:
        return f"not measured: {error[:LONG]}"
    if not asked:
        return MEASURED
    offered, metric = offers(entrant.spec), _metric(name)
    if offered is None or metric is None:
        return OFFERED
    return FINITE if metric.applies(offered, entrant.spec["sizes"].get("latent", 0)) else OFFERED


def asked(suites: Sequence[str], present: NDArray[np.bool_]) -> Mapping[str, NDArray[np.bool_]]:
    """Suite -> `[names]`, which numbers any of its runs has; `suites` `[rows]`, `present` `[rows, names]`."""
    whose = np.array(suites, dtype=object)
    return {suite: np.asarray(present[whose == suite].any(axis=0)) for suite in dict.fromkeys(suites)}


def _metric(name: str) -> Metric | None:
    """The metric that gives a number; None where it is a plug-in's or no metric's."""
    known = _numbers()
    return known.get(name) or known.get(re.sub(r"_[0-9.e+-]+$", "", name))


@cache
def _numbers() -> Mapping[str, Metric]:
    """Every number of the built-in metrics, and what a number with an option at its end begins with."""
    found: dict[str, Metric] = {}
    for name in METRICS:
        metric: Metric = resolve(METRICS, "metrics", name)
        for value in metric.values(metric.options()):
            found[value] = found[re.sub(r"_[0-9.e+-]+$", "", value)] = metric
    return found
