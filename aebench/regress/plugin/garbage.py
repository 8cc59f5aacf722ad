"""Python's collector of garbage, kept to what is new: to look at all that torch has loaded takes half a second."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def new_only() -> Generator[None]:
    """In this block `gc.collect` looks at nothing that was there before it."""
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if frozen:
            gc.freeze()
