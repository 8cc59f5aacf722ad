"""What the table of variants says of a setting; a user's own code is not run to ask it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from aebench.data import DATASETS, Source
from aebench.errors import InputError
from aebench.plugins import resolve
from aebench.variant import Variant
from aebench.variants import VARIANTS

Likelihood = Literal["density", "probability", "none", "unknown"]
"""None: a density of values that are not continuous, or a probability of what is not binary."""


@cache
def known(name: str) -> Variant | None:
    """The variant of this name; None where it is code that only `--allow-code` would run, or is not installed."""
    try:
        return resolve(VARIANTS, "variants", name)
    except (InputError, ImportError):
        return None


def is_closed_form(name: str) -> bool:
    """Whether no step is taken, so that there is no budget to be equal."""
    variant = known(name)
    return variant is not None and variant.fit is not None


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
