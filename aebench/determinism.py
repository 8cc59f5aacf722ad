"""The same numbers again on a GPU: torch's deterministic operations, and which operations have none.

On a CPU every run gives the same bits as it is, and nothing here does anything.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Determinism = Literal["usual", "strict"]
"""What a suite may ask for."""
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS may choose another algorithm at each call; read when CUDA starts."""
NONE = re.compile(r"(\S+) does not have a deterministic implementation")
CUBLAS = re.compile(r"not deterministic because it uses CuBLAS")


def refused(message: str) -> str | None:
    """The operation that torch's message calls not deterministic, if it does."""
    found = NONE.search(message)
    return found[1] if found else "cuBLAS" if CUBLAS.search(message) else None


@contextmanager
def strict(device: torch.device, asked: str, say: Callable[[str], None] = lambda line: None) -> Generator[None]:
    """Operations take their deterministic form, where they have one; torch is left as it was found.

    An operation without one is carried out even so, and torch warns: `listening` hears of it. `say` gets the one line
    where it is too late for cuBLAS.
    """
    if device.type == "cpu" or asked != "strict":
        yield
        return
    if device.type == "cuda" and WORKSPACE[0] not in os.environ:
        if torch.cuda.is_initialized():
            say(f"determinism strict: CUDA began without {'='.join(WORKSPACE)}, so products of matrices may differ")
        else:
            os.environ[WORKSPACE[0]] = WORKSPACE[1]
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def listening() -> Generator[set[str]]:
    """The operations that, since this began, were carried out though they are not deterministic and should have been.

    Warnings of another kind are shown as ever.
    """
    heard: set[str] = set()
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        yield heard
        return
    with warnings.catch_warnings():
        show = warnings.showwarning

        def hear(message: Warning | str, *rest: Any, **more: Any) -> None:
            name = refused(str(message))
            if name is None:
                show(message, *rest, **more)
            else:
                heard.add(name)

        warnings.showwarning = hear
        for pattern in (NONE, CUBLAS):  # torch's own words, each time that they are said
            warnings.filterwarnings("always", f"(?s).*{pattern.pattern}")
        yield heard


def said(asked: str, heard: set[str]) -> dict[str, Any]:
    """What a document says of it, as part of `made`: nothing where nothing was asked for."""
    return {} if asked == "usual" else {"determinism": {"asked": asked, "not": sorted(heard)}}
