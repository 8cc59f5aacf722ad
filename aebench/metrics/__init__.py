"""Measurements: what a metric is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aebench.variant import Noise, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from aebench.metrics.moments import Moments


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


def anywhere(offers: Collection[str], latent: int) -> bool:
    """Most metrics ask for no more than their needs."""
    return True


@dataclass(frozen=True)
class Metric:
    """One measurement: a pure function for one run; the evaluator loops, packs and averages.

    `kind` says what `fn` gets and gives:
    "examples": `fn(model, x, noise, options) -> {name: [batch]}`, averaged over the part, then `finish`ed;
    "samples": `fn(model, x, noise, options) -> ln w [chunk, batch]`, chunk by chunk until there are `options.samples`;
    `per_example` turns ln of each example's mean weight into values, averaged over the part, then `finish`ed;
    "codes": `fn(codes, options) -> {name: [n] or 0-dim}`, `codes` {"h": [n, latent], "logvar": ...} of the whole part
    and the noise declared for it; what is `[n]` is averaged, then all are `finish`ed;
    "model": `fn(model, x, options) -> {name: float}`, one direct call on a batch (timings, counters).

    An option `examples` takes the first so many of the part.
    """

    name: str
    about: str
    values: Callable[[Any], Mapping[str, Value]]
    """`options -> {name: Value}`: the numbers it gives."""
    fn: Callable[..., Any]
    kind: Literal["examples", "samples", "codes", "model"] = "examples"
    needs: frozenset[str] = frozenset({"encode", "decode"})
    options: type[Any] = NoOptions
    noise: Callable[[int, Shape, int, Any], Noise] = no_noise
    """`(batch, event_shape, latent, options)` -> what is drawn for a block of examples; of "samples", for a chunk.

    Its shapes are part of the definition: the values drawn depend on them.
    """
    finish: Callable[[Mapping[str, float], Any], dict[str, float]] = as_measured
    per_example: Callable[[Tensor, int], Mapping[str, Tensor]] | None = None
    """Of "samples": `(ln of the mean weight [..., n], elements of an example) -> {name: [..., n]}`."""
    training: Callable[[Moments, int], Mapping[str, Any]] | None = None
    """`(moments of the training part, latent) -> {name: array}`, what `fn` gets beside its noise."""
    suits: Callable[[Collection[str], int], bool] = anywhere
    """`(what the variant offers, latent)` -> whether it can be measured, where its needs are met."""
    stage: Literal["evaluate", "likelihood"] = "evaluate"
    """What its time is counted as; "likelihood" is dear, as it integrates over the latent for each example."""
    version: int = 1

    def applies(self, offers: Collection[str], latent: int) -> bool:
        """Whether a variant that offers these, with a code of so many units, is measured by it."""
        return self.needs <= frozenset(offers) and self.suits(offers, latent)


METRICS = {
    "reconstruction": ("aebench.metrics.reconstruction:RECONSTRUCTION", "SSE, MSE, PSNR through the mean code"),
    "errors": ("aebench.metrics.errors:ERRORS", "MAE, MAPE, BCE, Huber, and the likelihood of x under the best scale"),
    "ssim": ("aebench.metrics.images:SSIM", "structural similarity of images and their reconstructions"),
    "elbo": ("aebench.metrics.likelihood:ELBO", "the lower bound of ln p(x), in nats and in bits per dimension"),
    "nll": ("aebench.metrics.likelihood:NLL", "−ln p(x) by importance sampling from the posterior"),
    "marginal": ("aebench.metrics.likelihood:MARGINAL", "−ln p(x) exactly or by quadrature, and what the bound misses"),
    "energy": ("aebench.metrics.latent:ENERGY", "the energy view: C with sampled z, U, S, V, and the latent KL"),
    "active_units": ("aebench.metrics.latent:ACTIVE_UNITS", "latent units whose mean varies with x"),
    "aggregate": (
        "aebench.metrics.code:AGGREGATE",
        "how far all codes together are from the prior; what they say of x",
    ),
    "activity": ("aebench.metrics.code:ACTIVITY", "Gini, mean size, units near 0 and near 1, dead units of the code"),
    "sparsity": ("aebench.metrics.latent:SPARSITY", "L0 fraction and Hoyer sparsity of the code"),
    "denoising": ("aebench.metrics.reconstruction:DENOISING", "gain in dB over noisy inputs of several σ"),
    "denoising_gap": (
        "aebench.metrics.linear:DENOISING_GAP",
        "gain in dB beyond the best linear denoiser of equal rank",
    ),
    "identity": ("aebench.metrics.linear:IDENTITY", "whether the map copies: its error on the data and off them"),
    "throughput": ("aebench.metrics.cost:THROUGHPUT", "latency and examples/s of encoding and of decoding"),
    "size": ("aebench.metrics.cost:SIZE", "parameters, and FLOPs of encoding and decoding"),
}
