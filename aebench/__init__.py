"""aebench: every kind of autoencoder, trained under one budget and compared with error bars.

The names below are the Python interface; they are imported when first used, so that `import aebench` is cheap.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aebench import losses as losses
    from aebench import modules as modules

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {
    "InputError": "aebench.errors",
    "Model": "aebench.variant",
    "Normal": "aebench.variant",
    "Uniform": "aebench.variant",
    "Variant": "aebench.variant",
    "load": "aebench.store",
    "load_model": "aebench.pipeline",
    "report": "aebench.reporting",
    "run": "aebench.pipeline",
}


class _Later(ModuleType):
    """A module imported at its first attribute: formulas need torch, the records of variants do not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if not TYPE_CHECKING:
    losses = _Later("aebench.losses")
    modules = _Later("aebench.modules")


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'aebench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
