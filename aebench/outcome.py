"""How runs ended, as their documents say it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aebench import packing
from aebench.errors import words
from aebench.faults import out_of_memory
from aebench.metrics.evaluate import Entries
from aebench.store import Publication
from aebench.store.documents import SCHEMA
from aebench.suite import Run
from aebench.train import Trained

Found = tuple[list[Entries], list[Entries], list[dict[str, np.ndarray]]]
"""For each run its metrics, those of them that were measured on the validation part as well, and its arrays."""
Measured = tuple[*Found, Exception | None]
"""The same, and what went wrong."""


def outcome(trained: Trained, run: int, error: Exception | None) -> dict[str, Any]:
    """Status and error of a run that was trained to the end; `error` is what measuring it met."""
    step = trained.diverged[run]
    if step is not None:
        message = f"the loss or a parameter was no finite number by step {step}"
        return {"status": "diverged", "error": {"kind": "diverged", "message": message, "traceback": None}}
    return {"status": "ok", "error": error and told(error, "trained, but not measured: ")}


def publications(
    suite: str, pack: Sequence[Run], event_shape: Sequence[int], trained: Trained, measured: Measured,
    cost: Mapping[str, Any], made: Mapping[str, Any], weights: bool,
) -> list[Publication]:  # fmt: skip
    """Documents, arrays and weights of a pack that was trained. `made`: how it was trained, and how it was measured."""
    found, validated, drawn, error = measured
    published: list[Publication] = []
    for i, run in enumerate(pack):
        ended = trained.diverged[i] is None
        document = {
            "schema": SCHEMA, "id": run.id, "suite": suite, "spec": run.spec,
            "event_shape": list(event_shape), **outcome(trained, i, error),
            "metrics": found[i] if ended else {},
            **({"validation": validated[i]} if validated[i] and ended else {}),
            "curves": {name: (c if name == "step" else c[:, i]).tolist() for name, c in trained.curves.items()},
            "cost": cost, **made, "arrays": sorted(drawn[i]) if ended else [],
        }  # fmt: skip
        state = packing.unstack(trained.runs.state, i) if weights else {}
        kept = {name: tensor.cpu().numpy() for name, tensor in state.items()}
        published.append((document, drawn[i] if ended else {}, kept))
    return published


def told(error: Exception, prefix: str = "") -> dict[str, str]:
    """What a document says of an error."""
    message = prefix + (" ".join(words(error).split())[:500] or type(error).__name__)
    trace = "".join(traceback.format_exception(error))
    return {"kind": type(error).__name__, "message": message, "traceback": trace}


def failure(suite: str, run: Run, error: Exception, made: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a run that could not be trained. `made`: how it was tried."""
    return {
        "schema": SCHEMA, "id": run.id, "suite": suite, "spec": run.spec,
        "status": "out_of_memory" if out_of_memory(error) else "failed",
        "metrics": {}, "curves": {}, "cost": {}, "made": made,
        "error": told(error),
    }  # fmt: skip
