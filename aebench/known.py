"""What the table of variants says of a name that stands in results; a user's own code is not run to ask it."""

from __future__ import annotations

from functools import cache

from aebench.errors import InputError
from aebench.plugins import resolve
from aebench.variant import Variant
from aebench.variants import VARIANTS


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
