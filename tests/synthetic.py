"""Documents of runs that nobody trained, for the tests of what reads them: one, or a study of thousands."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from aebench.metrics import METRICS as REGISTERED
from aebench.plugins import resolve
from aebench.store import documents

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


# ---- a study: documents by the thousand, each of the size of a real one

DATASETS = ("digits", "mnist", "fashion_mnist", "binarized_mnist", "gaussian", "pinwheel", "two_moons")
SWEEPS: dict[str, tuple[str, tuple[float, ...]]] = {
    "vae": ("beta", (0.01, 0.0316227766017, 0.1, 0.316227766017, 1.0, 3.16227766017)),
    "beta_vae": ("beta", (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)),
    "energy_vae": ("notes_beta", (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
    "sparse_l1_ae": ("lam", (0.001, 0.00316227766017, 0.01, 0.0316227766017, 0.1, 0.316227766017)),
    "contractive_ae": ("lam", (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)),
    "denoising_ae": ("sigma", (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)),
}
"""Variant -> what is swept and its values: six methods of six settings, as many as Locatello et al. (2019) compare."""
MEASURED = ("reconstruction", "errors", "ssim", "energy", "active_units", "sparsity", "denoising", "size")
CURVES = {"step": list(range(32, 1500, 32)), "loss": [2.125] * 46, "reconstruction": [1.125] * 46, "kl": [10.125] * 46}


def study(folder: Path, seeds: int = 50, suite: str = "study") -> list[str]:
    """Write 252 settings (six variants, six settings each, seven data sets) of so many seeds; the ids in order.

    50 seeds are the 12,600 runs of Locatello et al. (2019). Numbers differ between settings, seeds and metrics; one run
    in 500 has diverged. There are neither arrays nor weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids: list[str] = []
    for data in DATASETS:
        for variant, (name, values) in SWEEPS.items():
            for value in values:
                ids += _setting(folder, suite, data, variant, {name: value}, seeds)
    about = {"name": suite, "about": "synthesised", "figures": ["rate_distortion", "curves"], "metrics": list(MEASURED)}
    (folder / "suite.json").write_bytes(documents.text(about | {"ids": ids, "arguments": [], "text": ""}))
    return ids


def _setting(folder: Path, suite: str, data: str, variant: str, hyper: dict[str, float], seeds: int) -> list[str]:
    """The documents of one setting: one is built and written as the store does, the others have other numbers in it."""
    runs = [
        document(suite=suite, variant=variant, hyper=hyper, data={"name": data}, seed=seed) for seed in range(seeds)
    ]
    ids = [run["id"] for run in runs]
    rng = np.random.default_rng(int(ids[0][:8], 16))
    run = runs[0] | {
        "metrics": _measurements(rng, variational=variant.endswith("vae")),
        "curves": CURVES,
        "cost": {
            "data_seconds": 0.00192470, "compile_seconds": 0.16889315, "train_seconds": 7.87981227,
            "evaluate_seconds": 0.13330408, "examples": 192000, "train_examples_per_s": 121830.31355827,
            "flops_train_step": 13893632.0, "peak_bytes": 954957824, "engine": {"engine": "eager", "threads": 2},
            "pack": {"id": ids[0], "runs": seeds, "mode": "packed", "ids": ids},
        },
        "made": MADE,
        "measured": MADE,
    }  # fmt: skip
    head, metrics, tail = documents.text(run).decode().partition(' "metrics": ')
    parts = re.split(r"(-?\d+\.\d{3,})", tail)
    numbers = np.array(parts[1::2], np.float64)
    for seed, id in enumerate(ids):
        own = head.replace(ids[0], id, 1).replace('"seed": 0', f'"seed": {seed}')
        parts[1::2] = map(repr, (numbers * rng.lognormal(0, 0.03, len(numbers))).tolist())
        text = (own + metrics + "".join(parts)).encode()
        if int(id[:8], 16) % 500 == 0:
            spec = {"variant": variant, "hyper": hyper, "data": {"name": data}, "seed": seed}
            text = documents.text(document(suite=suite, status="diverged", **spec))
        (folder / f"{id}.json").write_bytes(text)
    return ids


MADE = {
    "aebench": "0.1.0", "commit": "9dea0a06690e", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6",
    "system": "Linux x86_64", "device": "AMD EPYC, 2 cores", "driver": None, "threads": 1, "precision": "fp32",
    "when": "2026-11-21T16:33:42+00:00",
}  # fmt: skip


def _measurements(rng: np.random.Generator, *, variational: bool) -> dict[str, Any]:
    """What the real metrics would give, with their units and options, and numbers out of the air."""
    found: dict[str, Any] = {}
    for name in MEASURED:
        metric = resolve(REGISTERED, "metrics", name)
        options = metric.options()
        if "posterior" in metric.needs and not variational:
            continue
        for value, about in metric.values(options).items():
            found[value] = {
                "value": float(rng.lognormal(0, 1)), "unit": about.unit, "better": about.better, "about": about.about,
                "metric": name, "version": metric.version, "options": options._asdict(),
                "standard_error": 0.0336969977540546, "n": 180,
            }  # fmt: skip
    return found
