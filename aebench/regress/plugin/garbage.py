"""Python's collector of garbage, kept to what is new: to look at all that torch has loaded takes half a second."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def new_only() -> Generator[None]:
    """In this block `gc.collect` looks at nothing that was there before it."""
    outermost = gc.get_freeze_count() == 0
    if outermost:
        gc.freeze()
    try:
        yield
    finally:
        if outermost:
            gc.unfreeze()
