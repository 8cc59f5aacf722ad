"""Results that nobody trained, with everything that figures and reports look at."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from aebench.store import Store

NATS, SQUARED = "nats per example", "squared units of the data per example"
UNITS = {
    "sse": (SQUARED, "lower"), "mse": ("squared units of the data per element", "lower"), "C": (SQUARED, "lower"),
    "U": (NATS, "neither"), "S": (NATS, "neither"), "V": (NATS, "neither"), "kl": (NATS, "neither"),
}  # fmt: skip
PINWHEEL = {"name": "pinwheel", "version": 1, "parameters": {"arms": 5, "variance": 0.405}, "split": {"kind": "none"}}
GAUSSIAN = {"name": "gaussian", "version": 1, "parameters": {"eigenvalues": [4.0, 1.0, 0.25]}, "split": {"seed": 0}}
DIGITS = {"name": "digits", "version": 1, "parameters": {}, "split": {"seed": 0}}
EVENTS = {"pinwheel": (2,), "gaussian": (3,), "digits": (1, 8, 8)}


def document(data: dict[str, Any], beta: Any, seed: int, *, variant: str = "vae", status: str = "ok", **more: Any):
    """A document; `beta` None makes an autoencoder without a posterior. `more`: latent, suite, message, pack, made."""
    spec = {
        "schema": 1, "variant": variant, "version": 1, "hyper": {} if beta is None else {"beta": beta},
        "sizes": {"latent": more.get("latent", 3), "reconstruction": "mse"},
        "network": {"kind": "mlp", "hidden": [64, 64], "activation": "relu"}, "data": data,
        "train": {"steps": 300, "batch": 128, "lr": 0.001, "optimizer": {"name": "adam"}, "precision": "fp32"},
        "seed": seed,
    }  # fmt: skip
    id = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    rng = np.random.default_rng(int(id, 16))
    values = dict(zip(("sse", "mse", "C", "U", "S"), rng.uniform(0.1, 2, 5), strict=True))
    values |= {"V": -2 * (values["U"] + values["S"]), "kl": values["U"] + values["S"]}
    names = ("sse", "mse") if beta is None else tuple(UNITS)
    curves = {"step": [100, 200, 300], "loss": rng.uniform(1, 2, 3).tolist()}
    return {
        "schema": 1, "id": id, "suite": more.get("suite", "sweep"), "spec": spec, "status": status,
        "metrics": {
            name: {"value": float(values[name]), "unit": UNITS[name][0], "better": UNITS[name][1], "version": 1}
            for name in names if status == "ok"
        },
        "curves": curves if beta is None else curves | {"kl": rng.uniform(0, 1, 3).tolist()},
        "cost": {"data_seconds": 0.5, "compile_seconds": 0.25, "train_seconds": 8.0, "evaluate_seconds": 1.0,
                 "examples": 38400, "peak_bytes": 3 * 2**20,
                 "pack": {"id": more.get("pack", variant + data["name"]), "runs": 4, "mode": "packed"}},
        "made": {"aebench": "0.1.0", "commit": "0123abc", "torch": "2.15.0", "python": "3.11.7", "device": "cpu",
                 "threads": 2, "precision": "fp32", "when": "2026-01-01T10:00:00Z"} | more.get("made", {}),
        "error": None if status == "ok" else {"kind": status, "message": more.get("message", "loss is nan")},
    }  # fmt: skip


def arrays(of: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the run of a document would have stored for figures."""
    rng = np.random.default_rng(int(of["id"], 16))
    event, random = EVENTS[of["spec"]["data"]["name"]], bool(of["spec"]["hyper"])
    latent = of["spec"]["sizes"]["latent"]
    scale = np.linspace(0.2, 1, latent)  # the last two latents are the most active
    held = {"x": rng.random((10, *event)), "x_hat": rng.random((10, *event)), "labels": np.arange(40) % 3}
    held |= {"codes": rng.standard_normal((40, latent)) * scale}
    if random:
        held |= {"codes_sd": np.full((40, latent), 0.3) * scale, "samples": rng.random((16, *event))}
    if event == (2,):
        held |= {"points": rng.standard_normal((40, 2)), "points_hat": rng.standard_normal((40, 2))}
    return {name: array if name == "labels" else array.astype(np.float32) for name, array in held.items()}


def store(folder: Any, documents: list[dict[str, Any]], **manifest: Any) -> Store:
    """A folder of results with these runs; `manifest` adds to or replaces entries of suite.json."""
    found = Store(folder)
    found.publish_all([(d, arrays(d) if d["status"] == "ok" else {}, None) for d in documents])
    ids = [d["id"] for d in documents]
    found.write_manifest({"name": "sweep", "about": "a sweep", "figures": [], "ids": ids, "text": "a: 1\n"} | manifest)
    return found
