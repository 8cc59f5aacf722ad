"""Measurements: what a metric is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aebench.variant import Noise, Shape


@dataclass(frozen=True)
class Value:
    """What one number of a metric is: its unit, which direction is better, one line."""

    unit: str
    better: Literal["lower", "higher", "neither"]
    about: str


class NoOptions(NamedTuple):
    """A metric without options."""


def no_noise(batch: int, event_shape: Shape, latent: int, options: Any) -> Noise:
    """Most metrics are deterministic."""
    return {}


def as_measured(means: Mapping[str, float], options: Any) -> dict[str, float]:
    """The means over examples are the values."""
    return dict(means)


@dataclass(frozen=True)
class Metric:
    """One measurement: a pure function for one run; the evaluator loops, packs and averages.

    `kind` says what `fn` gets and gives:
    "examples": `fn(model, x, noise, options) -> {name: [batch]}`, averaged over the part, then `finish`ed;
    "codes": `fn(codes, options) -> {name: float}`, the codes {"h": [n, latent], "logvar": ...} of the whole part;
    "model": `fn(model, x, options) -> {name: float}`, one direct call on a batch (timings, counters).
    """

    name: str
    about: str
    values: Callable[[Any], Mapping[str, Value]]
    """`options -> {name: Value}`: the numbers it gives."""
    fn: Callable[..., Mapping[str, Any]]
    kind: Literal["examples", "codes", "model"] = "examples"
    needs: frozenset[str] = frozenset({"encode", "decode"})
    options: type[Any] = NoOptions
    noise: Callable[[int, Shape, int, Any], Noise] = no_noise
    finish: Callable[[Mapping[str, float], Any], dict[str, float]] = as_measured
    version: int = 1


METRICS = {
    "reconstruction": ("aebench.metrics.reconstruction:RECONSTRUCTION", "SSE, MSE, PSNR through the mean code"),
    "energy": ("aebench.metrics.latent:ENERGY", "the energy view: C with sampled z, U, S, V, and the latent KL"),
    "active_units": ("aebench.metrics.latent:ACTIVE_UNITS", "latent units whose mean varies with x"),
    "sparsity": ("aebench.metrics.latent:SPARSITY", "L0 fraction and Hoyer sparsity of the code"),
    "denoising": ("aebench.metrics.reconstruction:DENOISING", "gain in dB over noisy inputs of several σ"),
    "throughput": ("aebench.metrics.cost:THROUGHPUT", "latency and examples/s of encoding and of decoding"),
    "size": ("aebench.metrics.cost:SIZE", "parameters, and FLOPs of encoding and decoding"),
}
