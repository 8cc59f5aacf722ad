"""Runs with given numbers, for the tests of comparisons: nothing is trained, and every number is the test's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pandas import DataFrame

from aebench.metrics import METRICS
from aebench.plots import with_documents
from aebench.plugins import resolve
from aebench.store.frame import from_documents

KNOWN = [resolve(METRICS, "metrics", name) for name in METRICS]
VALUES = {name: value for metric in KNOWN for name, value in metric.values(metric.options()).items()}
TRAIN = {"steps": 100, "batch": 32, "lr": 0.001, "optimizer": {"name": "adam"}, "precision": "fp32", "keep": "last"}


def document(
    variant: str,
    seed: int,
    values: Mapping[str, float | None],
    *,
    data: str | Mapping[str, Any] = "digits",
    latent: int = 8,
    hyper: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    status: str = "ok",
    suite: str = "suite",
    error: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A document as the store has it; `values` stand in it whatever the status."""
    about = {"name": data} if isinstance(data, str) else dict(data)
    spec = {
        "schema": 1, "variant": variant, "version": 1, "hyper": dict(hyper or {}),
        "sizes": {"latent": latent, **(sizes or {})}, "network": {"kind": "mlp", "hidden": [16], "activation": "relu"},
        "train": TRAIN | dict(train or {}), "seed": seed,
        "data": {"version": 1, "parameters": {}, "checksum": "abc", "split": {"kind": "random", "seed": 0}} | about,
    }  # fmt: skip
    message = error or (None if status == "ok" else "loss is nan")
    metrics = {
        name: {"value": value, "unit": VALUES[name].unit, "better": VALUES[name].better, "about": VALUES[name].about,
               "metric": "some", "version": 1, "options": dict(options or {})}
        for name, value in values.items()
    }  # fmt: skip
    return {
        "schema": 1, "id": hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16], "suite": suite,
        "spec": spec, "status": status, "metrics": metrics, "curves": {}, "cost": {}, "made": {},
        "error": message and {"kind": "some", "message": message, "traceback": ""},
    }  # fmt: skip


def runs(variant: str, measure: str | Mapping[str, Sequence[float]], values: Sequence[float] = (), **more: Any):
    """A run a seed, from seed 0, of one number or of several by name."""
    columns = {measure: values} if isinstance(measure, str) else measure
    count = len(next(iter(columns.values())))
    return [document(variant, n, {name: of[n] for name, of in columns.items()}, **more) for n in range(count)]


def frame(documents: Iterable[Mapping[str, Any]]) -> DataFrame:
    """What comparisons and figures take."""
    held = [dict(document) for document in documents]
    return with_documents(from_documents(held), {document["id"]: document for document in held})
