"""The one loop over examples that all metrics share, and the arrays that figures need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebench.feed import Examples, blocks
from aebench.metrics import Metric
from aebench.packing import Runs
from aebench.variant import Model, Normal

Chosen = Sequence[tuple[Metric, Any]]
"""Metrics, each with its options."""
Entries = dict[str, dict[str, Any]]
"""`{value name: what a document says of it}`."""


@torch.no_grad()
def evaluate(runs: Runs, chosen: Chosen, part: Examples) -> list[Entries]:
    """Measure every run on a part.

    A metric that needs what the variant does not offer gives nothing; a value that is no finite number is None.
    """
    fits = [(metric, options) for metric, options in chosen if metric.needs <= runs.variant.offers]
    codes = encode(runs, part) if any(metric.kind == "codes" for metric, _ in fits) else []
    sample = part.take(slice(0, 100), runs.dtype)
    results: list[Entries] = [{} for _ in runs.seeds]
    for metric, options in fits:
        if metric.kind == "examples":
            measured = per_example(runs, metric, options, part)
        elif metric.kind == "codes":
            measured = [entries(metric, options, metric.fn(code, options)) for code in codes]
        else:
            models = (runs.model(run) for run in range(len(runs.seeds)))
            measured = [entries(metric, options, metric.fn(model, sample, options)) for model in models]
        for result, values in zip(results, measured, strict=True):
            result.update(values)
    return results


def per_example(runs: Runs, metric: Metric, options: Any, part: Examples) -> list[Entries]:
    """Mean and standard error over the examples of a part, by sums accumulated block by block in float64."""
    event_shape, n = tuple(part.x.shape[1:]), len(part.x)
    total: dict[str, Tensor] = {}
    square: dict[str, Tensor] = {}
    noise = lambda m: metric.noise(m, event_shape, runs.latent, options)  # noqa: E731
    for batch in blocks(part, noise, metric.name, runs.seeds, runs.dtype):
        values = runs.each(lambda model, x, noise: metric.fn(model, x, noise, options), batch)
        for name, value in values.items():
            exact = value.cpu().double()  # some devices have no float64
            total[name] = total.get(name, 0) + exact.sum(1)
            square[name] = square.get(name, 0) + exact.square().sum(1)
    results: list[Entries] = []
    for run in range(len(runs.seeds)):
        means = {name: float(value[run]) / n for name, value in total.items()}
        spread = {name: standard_error(means[name], float(square[name][run]) / n, n) for name in means}
        results.append(entries(metric, options, metric.finish(means, options), spread, n))
    return results


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
            written[name] |= {"standard_error": finite(spread[name]), "n": n}
    return written


def finite(value: float) -> float | None:
    """The number, or None where it is none."""
    return float(value) if math.isfinite(value) else None


def encode(runs: Runs, part: Examples) -> list[dict[str, Tensor]]:
    """The codes of a whole part, run by run: `{"h": [n, latent]}`, and `"logvar"` of a random code."""

    def codes(model: Model, x: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "posterior" in runs.variant.offers:
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
    """What figures need of each run: first examples and their reconstructions, codes, labels, prior samples."""
    plane = part.x.shape[1:] == (2,)
    shown, samples = (SCATTERED, SCATTERED_SAMPLES) if plane else (SHOWN, SAMPLES)
    x, x_hat = ("points", "points_hat") if plane else ("x", "x_hat")

    def drawn(model: Model, x_: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = {x: x_, x_hat: model.reconstruct(x_)}
        return out | {"samples": model.sample(noise["prior"])} if "prior" in runs.variant.offers else out

    def head(n: int) -> Examples:
        return Examples(part.x[:n], part.binarize)

    prior = lambda m: {"prior": Normal((samples, runs.latent))}  # noqa: E731
    parts = [runs.each(drawn, batch) for batch in blocks(head(shown), prior, "figures", runs.seeds, runs.dtype)]
    images = {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
    results: list[dict[str, np.ndarray]] = []
    for run, code in enumerate(encode(runs, head(SCATTERED))):
        kept = {name: value[run] for name, value in images.items()} | {"codes": code["h"]}
        if "samples" in kept:
            kept["samples"] = kept["samples"][:samples]
        if "logvar" in code:
            kept["codes_sd"] = (0.5 * code["logvar"]).exp()
        results.append({name: value.float().cpu().numpy() for name, value in kept.items()})
        if labels is not None:
            results[-1]["labels"] = labels[:SCATTERED]
    return results
