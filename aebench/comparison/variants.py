"""What a setting can be compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from aebench.data import DATASETS, Source
from aebench.known import known
from aebench.plugins import resolve

Likelihood = Literal["density", "probability", "none", "unknown"]
"""None: a density of values that are not continuous, or a probability of what is not binary."""


def has_posterior(name: str) -> bool | None:
    """Whether the code is random, so that there is a latent KL; None where that is not known."""
    variant = known(name)
    return None if variant is None else variant.posterior is not None


def offers(spec: Mapping[str, Any]) -> frozenset[str] | None:
    """What a metric may need and this setting has; None where that is not known."""
    variant = known(spec["variant"])
    if variant is None:
        return None
    try:
        return variant.offers(variant.sizes(**spec["sizes"]))
    except TypeError:  # stored by another version, whose sizes were others
        return None


def likelihood(spec: Mapping[str, Any]) -> Likelihood:
    """What ln p(x|z) is of: a density in nats that depend on the unit of x, or the probability of binary x.

    The one says nothing against the other. Of discrete x neither says anything: a density grows without bound where
    its scale shrinks around the levels that x can take (Theis, van den Oord and Bethge, 2016).
    """
    if known(spec["variant"]) is None or (values := _values(spec["data"])) is None:
        return "unknown"
    chosen = spec["sizes"].get("reconstruction")
    name = chosen.get("name") if isinstance(chosen, Mapping) else chosen
    match name == "bce", values:
        case True, "binary":
            return "probability"
        case False, "continuous":
            return "density"
        case _:
            return "none"


def _values(data: Mapping[str, Any]) -> str | None:
    """What an element of x may be; None where that is not known."""
    if "values" in data or data["name"] not in DATASETS:
        return data.get("values")
    source = resolve(DATASETS, "data", data["name"])
    return source.values if isinstance(source, Source) else None
