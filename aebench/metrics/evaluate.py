"""The one loop over examples that all metrics share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aebench.clock import Ledger
from aebench.feed import Examples, blocks
from aebench.metrics import Metric
from aebench.metrics.moments import Moments
from aebench.metrics.once import Once
from aebench.packing import Runs, load, unstack
from aebench.variant import Model, Noise

Chosen = Sequence[tuple[Metric, Any]]
"""Metrics, each with its options."""
Entries = dict[str, dict[str, Any]]
"""`{value name: what a document says of it}`."""
Codes = dict[str, Tensor]
"""`{"h": [runs, n, latent]}`, and `"logvar"` of a random code."""
Asked = tuple[Callable[[Model, Tensor, Mapping[str, Tensor]], Mapping[str, Tensor]], Callable[[int], Noise]]
"""`fn(model, x, noise) -> {name: [batch, ...]}` of one run, and the noise it declares for so many examples."""


@torch.no_grad()
def evaluate(
    runs: Runs,
    chosen: Chosen,
    part: Examples,
    moments: Moments | None = None,
    codes: Codes | None = None,
    ledger: Ledger | None = None,
) -> list[Entries]:
    """Measure every run on a part; `moments` are those of the training part, `codes` those of this one, where known.

    A metric that needs what the variant does not offer, or moments that are not given, gives nothing; a value that is
    no finite number is None. `ledger` hears what the time was spent on.
    """
    offers, ledger = runs.offers, ledger or Ledger()
    fits = [(metric, options) for metric, options in chosen if metric.applies(offers, runs.latent)]
    fits = [(metric, options) for metric, options in fits if metric.training is None or moments is not None]
    found: dict[str, list[Entries]] = {}
    for (stage, kind, n), group in grouped(fits).items():
        given = part if n is None else head(part, n)
        with ledger.stage(stage):
            if kind == "examples":
                found |= per_example(runs, group, given, moments)
            elif kind == "samples":
                found |= {metric.name: by_samples(runs, metric, options, given) for metric, options in group}
            elif kind == "codes":
                codes = codes or encode(runs, part)
                found |= {metric.name: of_codes(runs, metric, options, codes, given) for metric, options in group}
            else:
                found |= {metric.name: directly(runs, metric, options, given) for metric, options in group}
    results: list[Entries] = [{} for _ in runs.seeds]
    for metric, _ in fits:
        for result, values in zip(results, found[metric.name], strict=True):
            result.update(values)
    return results


def grouped(chosen: Chosen) -> dict[tuple[str, str, int | None], list[tuple[Metric, Any]]]:
    """Metrics by stage, kind, and how many examples they take: those of one group are measured together."""
    groups: dict[tuple[str, str, int | None], list[tuple[Metric, Any]]] = {}
    for metric, options in chosen:
        key = (metric.stage, metric.kind, getattr(options, "examples", None))
        groups.setdefault(key, []).append((metric, options))
    return groups


def head(part: Examples, n: int) -> Examples:
    """The first n examples."""
    return Examples(part.x[:n], part.binarize)


def walk(runs: Runs, part: Examples, asked: Mapping[str, Asked]) -> dict[str, dict[str, Tensor]]:
    """`{label: {name: [runs, n, ...]}}`: what each function says of every example, in one pass over a part.

    Noise is drawn from the streams of each function's label.
    """
    drawing = {label: noise for label, (_, noise) in asked.items() if noise(1)}
    nothing = {"": lambda m: {}} if not drawing else {}
    sources = [blocks(part, noise, label, runs.seeds, runs.dtype) for label, noise in (drawing | nothing).items()]

    def answers(model: Model, x: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        once, found = Once(model, x), dict[str, Tensor]()
        for label, (fn, declared) in asked.items():
            own = {name: noise[f"{label}/{name}"] for name in declared(1)}
            found |= {f"{label}/{name}": value for name, value in fn(once, x, own).items()}
        return found

    parts: list[dict[str, Tensor]] = []
    for batches in zip(*sources, strict=True):
        drawn = zip(drawing, batches, strict=False)
        noise = {f"{label}/{name}": value for label, batch in drawn for name, value in batch.noise.items()}
        parts.append(runs.each(answers, batches[0]._replace(noise=noise)))
    whole: dict[str, dict[str, Tensor]] = {label: {} for label in asked}
    for key in parts[0]:
        label, _, name = key.partition("/")
        whole[label][name] = torch.cat([values[key] for values in parts], 1)
    return whole


def declared(runs: Runs, metric: Metric, options: Any, part: Examples) -> Callable[[int], Noise]:
    """The noise that a metric declares, as a function of the number of examples."""
    event_shape = tuple(part.x.shape[1:])
    return lambda m: metric.noise(m, event_shape, runs.latent, options)


def per_example(runs: Runs, chosen: Chosen, part: Examples, moments: Moments | None) -> dict[str, list[Entries]]:
    """Means over the examples of a part, and their standard errors, of several metrics at once."""
    asked: dict[str, Asked] = {}
    for metric, options in chosen:
        known: dict[str, Tensor] = {}
        if metric.training is not None and moments is not None:
            arrays = metric.training(moments, runs.latent).items()
            known = {name: torch.tensor(array, dtype=runs.dtype, device=part.x.device) for name, array in arrays}
        asked[metric.name] = partial(examined, metric, options, known), declared(runs, metric, options, part)
    values = walk(runs, part, asked)
    return {metric.name: finished(metric, options, values[metric.name], len(runs.seeds)) for metric, options in chosen}


def examined(
    metric: Metric, options: Any, known: Mapping[str, Tensor], model: Model, x: Tensor, noise: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """What a metric of kind "examples" says of a block, for one run."""
    return metric.fn(model, x, {**noise, **known}, options)


def by_samples(runs: Runs, metric: Metric, options: Any, part: Examples) -> list[Entries]:
    """Values of ln (1/K) Σ w over `options.samples` weights of each example; only their running sum is kept."""
    done, noise = 0, declared(runs, metric, options, part)
    place = "cpu" if part.x.device.type == "mps" else part.x.device  # MPS has no float64
    weights = lambda model, x, noise: {"ln w": metric.fn(model, x, noise, options)}  # noqa: E731
    total = torch.full((len(runs.seeds), len(part.x)), -math.inf, dtype=torch.float64, device=place)
    while done < options.samples:
        first, count = 0, 0
        for batch in blocks(part, noise, f"{metric.name}/{done}", runs.seeds, runs.dtype):
            # a last chunk is drawn whole and cut, so that fewer samples are the first of more
            log_w = runs.each(weights, batch)["ln w"][:, : options.samples - done].to(place).double()
            block = total[:, first : first + log_w.shape[2]]
            block.copy_(torch.logaddexp(block, log_w.logsumexp(1)))
            first, count = first + log_w.shape[2], log_w.shape[1]
        done += count
    assert metric.per_example is not None
    values = metric.per_example(total - math.log(options.samples), math.prod(part.x.shape[1:]))
    return finished(metric, options, values, len(runs.seeds))


AT_ONCE = 8
"""Runs whose codes are looked at together: what compares all their pairs is large."""


def of_codes(runs: Runs, metric: Metric, options: Any, codes: Codes, part: Examples) -> list[Entries]:
    """Numbers of the codes of each run, and means of what is given for each example."""
    shown = {name: value[:, : len(part.x)] for name, value in codes.items()}
    fn = torch.vmap(lambda of_one: metric.fn(of_one, options), chunk_size=AT_ONCE)
    values = fn(shown | draws(runs, metric, options, part))
    return finished(metric, options, values, len(runs.seeds))


def draws(runs: Runs, metric: Metric, options: Any, part: Examples) -> dict[str, Tensor]:
    """The noise that a metric of codes declares, for the whole part: `{name: [runs, n, ...]}`."""
    noise = declared(runs, metric, options, part)
    if not noise(1):
        return {}
    parts = list(blocks(part, noise, metric.name, runs.seeds, runs.dtype))
    if parts[0].noise_dim is not None:
        return {name: torch.cat([b.noise[name] for b in parts], 1) for name in parts[0].noise}
    same = {name: torch.cat([b.noise[name] for b in parts]) for name in parts[0].noise}
    return {name: value.expand(len(runs.seeds), *value.shape) for name, value in same.items()}


def directly(runs: Runs, metric: Metric, options: Any, part: Examples) -> list[Entries]:
    """What a metric finds by calling the net of each run."""
    sample, results = part.take(slice(0, 100), runs.dtype), list[Entries]()
    for run in range(len(runs.seeds)):
        load(runs.net, unstack(runs.state, run))
        model = runs.seen(runs.net, runs.hyper_of(run))
        results.append(entries(metric, options, metric.fn(model, sample, options)))
    return results


def finished(metric: Metric, options: Any, values: Mapping[str, Tensor], runs: int) -> list[Entries]:
    """The numbers of each run, from values `[runs]`, and `[runs, n]`, which are averaged over examples."""
    means: dict[str, Tensor] = {}
    spread: dict[str, Tensor] = {}
    n = 0
    for name, value in values.items():
        means[name] = exact = value.cpu().double()  # on the CPU, as not every device has float64
        if exact.ndim > 1:
            n, means[name] = exact.shape[1], exact.mean(1)
            squares = (exact - means[name][:, None]).square().sum(1)
            spread[name] = (squares / (n * (n - 1))).sqrt() if n > 1 else torch.full_like(squares, math.nan)
    of = lambda numbers, run: {name: float(value[run]) for name, value in numbers.items()}  # noqa: E731
    return [entries(metric, options, metric.finish(of(means, run), options), of(spread, run), n) for run in range(runs)]


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


@torch.no_grad()
def encode(runs: Runs, part: Examples) -> Codes:
    """The codes of a whole part."""

    def codes(model: Model, x: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "posterior" in runs.offers:
            return dict(zip(("h", "logvar"), model.posterior(x), strict=True))
        return {"h": model.encode(x)}

    return walk(runs, part, {"codes": (codes, lambda m: {})})["codes"]
