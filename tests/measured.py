"""Runs whose nets are set by hand, for the tests of the metrics; nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from oracles import metric

from aebench.feed import Examples
from aebench.metrics.evaluate import evaluate
from aebench.metrics.moments import Moments
from aebench.networks import Linear
from aebench.packing import Runs, build


def affine(v: Any, event: tuple[int, ...], sizes: Any, dtype: torch.dtype = torch.float32, **weights: Any):
    """A net of affine maps: enc `[out, D]`, enc_bias, dec `[D, latent]`, dec_bias; what is not given is 0."""
    net = build(v, event, Linear(), sizes, 0).to(dtype)
    (encoder,) = (m for m in net.encoder if isinstance(m, torch.nn.Linear))
    (decoder,) = (m for m in net.decoder if isinstance(m, torch.nn.Linear))
    places = {"enc": encoder.weight, "enc_bias": encoder.bias, "dec": decoder.weight, "dec_bias": decoder.bias}
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(torch.as_tensor(np.array(weights.pop(name, np.zeros(tuple(place.shape))))))
    assert not weights
    return net


def doubled(net: torch.nn.Module) -> torch.nn.Module:
    """Twice its weights: the codes of a net that is not trained hardly vary."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2
    return net


def measured(
    runs: Runs, x: Any, name: str, train: np.ndarray | None = None, binarize: bool = False, **options: Any
) -> list[dict[str, Any]]:
    """Entries of one metric, with these options, for each run."""
    m = metric(name)
    moments = None if train is None else Moments(train, binarize)
    return evaluate(runs, [(m, m.options(**options))], Examples(torch.as_tensor(x), binarize), moments)


def numbers(entries: Any) -> dict[str, float]:
    return {name: entry["value"] for name, entry in entries.items()}


def errors_of(entries: Any) -> dict[str, float]:
    return {name: entry["standard_error"] for name, entry in entries.items() if "standard_error" in entry}
