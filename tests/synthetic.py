"""Documents of runs that nobody trained, for the tests of what reads them."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import numpy as np

METRICS = {
    "sse": ("squared units of the data per example", "lower"),
    "psnr": ("dB", "higher"),
    "kl": ("nats per example", "neither"),
    "active_units": ("units", "neither"),
    "denoising_gain_db_0.25": ("dB", "higher"),
    "parameters": ("parameters", "lower"),
}
SPEC: dict[str, Any] = {
    "schema": 1,
    "variant": "vae",
    "version": 1,
    "hyper": {"beta": 0.1},
    "sizes": {"latent": 8, "reconstruction": "mse"},
    "network": {"kind": "mlp", "hidden": [64, 64], "activation": "relu"},
    "data": {"name": "digits", "version": 1, "parameters": {}, "checksum": "ab12", "split": {"kind": "fixed"}},
    "train": {
        "steps": 3000,
        "batch": 128,
        "lr": 0.001,
        "optimizer": {"name": "adam", "betas": [0.9, 0.999], "eps": 1e-08},
        "weight_decay": 0.0,
        "precision": "fp32",
        "keep": "last",
    },
    "seed": 0,
}


def document(*, suite: str = "beta_sweep", status: str = "ok", values: dict[str, Any] | None = None, **changes: Any):
    """A document as the store keeps it; `changes` replace entries of the spec, a dict is merged into the old one."""
    spec = copy.deepcopy(SPEC)
    for name, value in changes.items():
        spec[name] = spec[name] | value if isinstance(value, dict) and name in ("train", "data", "sizes") else value
    id = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    if values is None:
        rng = np.random.default_rng(int(id[:8], 16))
        values = {name: float(rng.normal(10, 1)) for name in METRICS} if status == "ok" else {}
    metrics = {
        name: {"value": value, "standard_error": 0.1, "n": 4096, "unit": METRICS[name][0], "better": METRICS[name][1],
               "metric": "reconstruction", "version": 1, "options": {}}
        for name, value in values.items()
    }  # fmt: skip
    error = None if status == "ok" else {"kind": status, "message": f"loss is nan | step 7 of {id}", "traceback": ""}
    return {
        "schema": 1,
        "id": id,
        "suite": suite,
        "spec": spec,
        "status": status,
        "metrics": metrics,
        "curves": {"step": [0, 100], "loss": [2.0, 1.0]},
        "cost": {"train_seconds": 2.5, "train_examples_per_s": 153600.0, "peak_bytes": None},
        "made": {"aebench": "0.1.0"},
        "error": error,
    }
