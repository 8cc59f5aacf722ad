"""How runs ended, as their documents say it."""

from __future__ import annotations

import traceback
from typing import Any

import torch

from aebench.device import made
from aebench.store.documents import SCHEMA
from aebench.suite import Run
from aebench.train import Trained


def outcome(trained: Trained, run: int, error: Exception | None) -> dict[str, Any]:
    """Status and error of a run that was trained to the end; `error` is what measuring it met."""
    step = trained.diverged[run]
    if step is not None:
        message = f"the loss or a parameter was no finite number by step {step}"
        return {"status": "diverged", "error": {"kind": "diverged", "message": message, "traceback": None}}
    return {"status": "ok", "error": error and told(error, "trained, but not measured: ")}


def told(error: Exception, prefix: str = "") -> dict[str, str]:
    """What a document says of an error."""
    message = prefix + (" ".join(str(error).split())[:500] or type(error).__name__)
    trace = "".join(traceback.format_exception(error))
    return {"kind": type(error).__name__, "message": message, "traceback": trace}


def failure(suite: str, run: Run, error: Exception, device: torch.device) -> dict[str, Any]:
    """The document of a run that could not be trained."""
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return {
        "schema": SCHEMA, "id": run.id, "suite": suite, "spec": run.spec,
        "status": "out_of_memory" if out_of_memory else "failed",
        "metrics": {}, "curves": {}, "cost": {}, "made": made(device, run.spec["train"]["precision"]),
        "error": told(error),
    }  # fmt: skip
