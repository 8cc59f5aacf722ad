"""The one loop over examples that all metrics share, and the arrays that figures need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebench import losses
from aebench.feed import Examples, blocks
from aebench.metrics import Metric
from aebench.metrics.moments import Moments
from aebench.packing import Runs
from aebench.variant import Model, Normal

Chosen = Sequence[tuple[Metric, Any]]
"""Metrics, each with its options."""
Entries = dict[str, dict[str, Any]]
"""`{value name: what a document says of it}`."""


@torch.no_grad()
def evaluate(runs: Runs, chosen: Chosen, part: Examples, moments: Moments | None = None) -> list[Entries]:
    """Measure every run on a part; `moments` are those of the training part.

    A metric that needs what the variant does not offer, or moments that are not given, gives nothing; a value that is
    no finite number is None.
    """
    offers = runs.offers
    fits = [(metric, options) for metric, options in chosen if metric.applies(offers, runs.latent)]
    codes = encode(runs, part) if any(metric.kind == "codes" for metric, _ in fits) else []
    results: list[Entries] = [{} for _ in runs.seeds]
    for metric, options in fits:
        if metric.training is not None and moments is None:
            continue
        given = part if (n := getattr(options, "examples", None)) is None else head(part, n)
        if metric.kind == "examples":
            measured = per_example(runs, metric, options, given, moments)
        elif metric.kind == "samples":
            measured = by_samples(runs, metric, options, given)
        elif metric.kind == "codes":
            drawn = draws(runs, metric, options, given)
            shown = [{name: value[: len(given.x)] for name, value in code.items()} for code in codes]
            measured = [of_codes(metric, options, c | d) for c, d in zip(shown, drawn, strict=True)]
        else:
            sample = given.take(slice(0, 100), runs.dtype)
            models = (runs.model(run) for run in range(len(runs.seeds)))
            measured = [entries(metric, options, metric.fn(model, sample, options)) for model in models]
        for result, values in zip(results, measured, strict=True):
            result.update(values)
    return results


def head(part: Examples, n: int) -> Examples:
    """The first n examples."""
    return Examples(part.x[:n], part.binarize)


class Sums:
    """Σ and Σ² of named values over examples, for each run, in float64 on the CPU (some devices have none)."""

    def __init__(self) -> None:
        self.n = 0
        self.total: dict[str, Tensor] = {}
        self.square: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Values of a block of examples, each `[runs, batch]`."""
        count = 0
        for name, value in values.items():
            exact, count = value.cpu().double(), value.shape[1]
            self.total[name] = self.total.get(name, 0) + exact.sum(1)
            self.square[name] = self.square.get(name, 0) + exact.square().sum(1)
        self.n += count

    def of(self, run: int) -> tuple[dict[str, float], dict[str, float]]:
        """Means over the examples of a run, and their standard errors."""
        n = self.n
        means = {name: float(value[run]) / n for name, value in self.total.items()}
        return means, {name: standard_error(means[name], float(self.square[name][run]) / n, n) for name in means}

    def entries(self, metric: Metric, options: Any, runs: int) -> list[Entries]:
        """The finished means of each run, with the standard errors of those that are means themselves."""
        found = [self.of(run) for run in range(runs)]
        return [entries(metric, options, metric.finish(means, options), spread, self.n) for means, spread in found]


def per_example(runs: Runs, metric: Metric, options: Any, part: Examples, moments: Moments | None) -> list[Entries]:
    """Mean and standard error over the examples of a part, by sums accumulated block by block."""
    sums, event_shape = Sums(), tuple(part.x.shape[1:])
    known: dict[str, Tensor] = {}
    if metric.training is not None and moments is not None:
        arrays = metric.training(moments, runs.latent).items()
        known = {name: torch.tensor(array, dtype=runs.dtype, device=part.x.device) for name, array in arrays}
    noise = lambda m: metric.noise(m, event_shape, runs.latent, options)  # noqa: E731
    for batch in blocks(part, noise, metric.name, runs.seeds, runs.dtype):
        sums.add(runs.each(lambda model, x, noise: metric.fn(model, x, {**noise, **known}, options), batch))
    return sums.entries(metric, options, len(runs.seeds))


def by_samples(runs: Runs, metric: Metric, options: Any, part: Examples) -> list[Entries]:
    """Values of ln (1/K) Σ w over `options.samples` weights of each example; only their running sum is kept."""
    event_shape, done = tuple(part.x.shape[1:]), 0
    noise = lambda m: metric.noise(m, event_shape, runs.latent, options)  # noqa: E731
    weights = lambda model, x, noise: {"ln w": metric.fn(model, x, noise, options)}  # noqa: E731
    total = torch.full((len(runs.seeds), len(part.x)), -math.inf, dtype=torch.float64)
    while done < options.samples:
        first, count = 0, 0
        for batch in blocks(part, noise, f"{metric.name}/{done}", runs.seeds, runs.dtype):
            # a last chunk is drawn whole and cut, so that fewer samples are the first of more
            log_w = runs.each(weights, batch)["ln w"][:, : options.samples - done].cpu().double()
            place = total[:, first : first + log_w.shape[2]]
            place.copy_(torch.logaddexp(place, log_w.logsumexp(1)))
            first, count = first + log_w.shape[2], log_w.shape[1]
        done += count
    sums = Sums()
    assert metric.per_example is not None
    sums.add(metric.per_example(total - math.log(options.samples), math.prod(event_shape)))
    return sums.entries(metric, options, len(runs.seeds))


def draws(runs: Runs, metric: Metric, options: Any, part: Examples) -> list[dict[str, Tensor]]:
    """The noise that a metric of codes declares, for the whole part, run by run: `{name: [n, ...]}`."""
    event_shape = tuple(part.x.shape[1:])
    if not metric.noise(1, event_shape, runs.latent, options):
        return [{} for _ in runs.seeds]
    noise = lambda m: metric.noise(m, event_shape, runs.latent, options)  # noqa: E731
    whole = [(b.noise, b.noise_dim) for b in blocks(part, noise, metric.name, runs.seeds, runs.dtype)]
    parts = lambda name, run: [d[name] if dim is None else d[name][run] for d, dim in whole]  # noqa: E731
    return [{name: torch.cat(parts(name, run)) for name in whole[0][0]} for run in range(len(runs.seeds))]


def of_codes(metric: Metric, options: Any, codes: Mapping[str, Tensor]) -> Entries:
    """Numbers of the codes of one run, and means of what is given for each example."""
    found, sums = metric.fn(codes, options), Sums()
    sums.add({name: value[None] for name, value in found.items() if isinstance(value, Tensor)})
    means, spread = sums.of(0)
    return entries(metric, options, metric.finish({**found, **means}, options), spread, sums.n)


def standard_error(mean: float, mean_square: float, n: int) -> float:
    """Of a mean over n independent examples."""
    return math.sqrt(max(mean_square - mean * mean, 0.0) / (n - 1)) if n > 1 else math.nan


def entries(
    metric: Metric, options: Any, values: Mapping[str, float], spread: Mapping[str, float] | None = None, n: int = 0
) -> Entries:
    """What a document says of each number of a metric."""
    about = metric.values(options)
    written: Entries = {}
    for name, value in values.items():
        written[name] = {
            "value": finite(value),
            "unit": about[name].unit,
            "better": about[name].better,
            "about": about[name].about,
            "metric": metric.name,
            "version": metric.version,
            "options": options._asdict(),
        }
        if spread and name in spread:
            error = spread[name] if math.isfinite(value) else math.nan
            written[name] |= {"standard_error": finite(error), "n": n}
    return written


def finite(value: float) -> float | None:
    """The number, or None where it is none."""
    return float(value) if math.isfinite(value) else None


def encode(runs: Runs, part: Examples) -> list[dict[str, Tensor]]:
    """The codes of a whole part, run by run: `{"h": [n, latent]}`, and `"logvar"` of a random code."""

    def codes(model: Model, x: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "posterior" in runs.offers:
            return dict(zip(("h", "logvar"), model.posterior(x), strict=True))
        return {"h": model.encode(x)}

    parts = [runs.each(codes, batch) for batch in blocks(part, lambda m: {}, "codes", runs.seeds, runs.dtype)]
    whole = {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
    return [{name: value[run] for name, value in whole.items()} for run in range(len(runs.seeds))]


SHOWN, SAMPLES = 10, 16
"""Reconstructions and prior samples of images that are kept for figures."""
SCATTERED, SCATTERED_SAMPLES = 500, 250
"""Codes, points of 2-D data, and prior samples of 2-D data that are kept for figures."""


@torch.no_grad()
def arrays(runs: Runs, part: Examples, labels: np.ndarray | None) -> list[dict[str, np.ndarray]]:
    """What figures need of each run: first examples and their reconstructions, codes, labels, prior samples.

    And `kl_per_dimension [latent]`, nats, the mean over the part, where the code is random.
    """
    plane, offers = part.x.shape[1:] == (2,), runs.offers
    shown, samples = (SCATTERED, SCATTERED_SAMPLES) if plane else (SHOWN, SAMPLES)
    x, x_hat = ("points", "points_hat") if plane else ("x", "x_hat")

    def drawn(model: Model, x_: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = {x: x_, x_hat: model.reconstruct(x_)}
        return out | {"samples": model.sample(noise["prior"])} if "prior" in offers else out

    prior = lambda m: {"prior": Normal((samples, runs.latent))}  # noqa: E731
    parts = [runs.each(drawn, batch) for batch in blocks(head(part, shown), prior, "figures", runs.seeds, runs.dtype)]
    images = {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
    results: list[dict[str, np.ndarray]] = []
    for run, code in enumerate(encode(runs, part if "posterior" in offers else head(part, SCATTERED))):
        kept = {name: value[run] for name, value in images.items()} | {"codes": code["h"][:SCATTERED]}
        if "samples" in kept:
            kept["samples"] = kept["samples"][:samples]
        if "logvar" in code:
            kept["codes_sd"] = (0.5 * code["logvar"][:SCATTERED]).exp()
            kept["kl_per_dimension"] = kl_per_dimension(code["h"], code["logvar"])
        results.append({name: value.float().cpu().numpy() for name, value in kept.items()})
        if labels is not None:
            results[-1]["labels"] = labels[:SCATTERED]
    return results


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """The mean over examples of KL(q(zᵢ|x) ‖ N(0, 1)), for each unit: `[latent]`, nats."""
    kl = losses.kl_standard_normal(mu.reshape(-1, 1), logvar.reshape(-1, 1))
    return kl.view(mu.shape).mean(0)
