"""What training costs as work grows: time and peak memory against runs, batch, width or examples, with their floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from aebench.bench import SIZED, Wanted, case, document
from aebench.clock import clock
from aebench.device import PeakMemory, exact, free_bytes
from aebench.errors import InputError, unknown
from aebench.faults import contained
from aebench.roofline import Floor, Machine
from aebench.stopwatch import Case, Sample, Stopwatch, interleaved, network_label


class Axis(NamedTuple):
    """What grows, and with which power of it the work does."""

    values: tuple[int, ...]
    power: int
    unit: str


AXES = {
    "runs": Axis(tuple(2**i for i in range(10)), 1, "runs in a pack"),
    "batch": Axis(tuple(2**i for i in range(5, 13)), 1, "examples in a batch"),
    "width": Axis(tuple(2**i for i in range(6, 13)), 2, "units of each of two hidden layers"),
    "examples": Axis(tuple(4**i for i in range(5, 11)), 1, "examples in the data set"),
}
ELEMENTS = 64
"""Of the Gaussian examples whose number grows: as many as the digits have pixels."""


class Point(NamedTuple):
    """What one point of a curve took. `reserved`: most bytes above `grow`'s beginning, loading the data included."""

    samples: Sequence[Sample]
    peak: int | None
    reserved: int | None
    least: Floor
    machine: Machine
    data_bytes: int
    took: float


def grown(axis: str, value: int, wanted: Wanted) -> Case:
    """The case at one value of an axis: one variant, `vae` unless named, on an mlp unless the network is named."""
    network: Any = wanted.networks[0] if wanted.networks else SIZED["mlp"]
    wanted = replace(wanted, sizes=(1,))
    if axis == "runs":
        wanted = replace(wanted, sizes=(value,))
    elif axis == "batch":
        wanted = replace(wanted, batch=value)
    elif axis == "width":
        network = {"kind": "mlp", "hidden": [value, value]}
    else:
        few = {"n_validation": 2, "n_test": 2, "exact": False}
        wanted = replace(wanted, data={"name": "gaussian", "eigenvalues": [1.0] * ELEMENTS, "n": value, **few})
    return case(wanted, {"variant": wanted.variants[0] if wanted.variants else "vae", "network": network})


def check(axis: str, wanted: Wanted) -> None:
    """Refuse what does not go with an axis: InputError."""
    if axis not in AXES:
        raise unknown("axis", axis, AXES)
    if len(wanted.variants) > 1:
        raise InputError(f"--grow {axis} takes one variant, not {len(wanted.variants)}")
    if len(wanted.networks) > 1:
        raise InputError(f"--grow {axis} takes one network, not {len(wanted.networks)}")
    if axis == "width" and wanted.networks:
        raise InputError("--grow width sets the network itself: an mlp; leave --network out")
    if axis == "examples" and wanted.data != "digits":
        raise InputError("--grow examples makes its own data: Gaussian; leave --data out")


def measure(one: Case, watch: Stopwatch, repeats: int, base: int) -> Point:
    """Samples of one point and what they took; `base`: bytes that were held before the curve began."""
    begin, loading = clock(watch.device), PeakMemory(watch.device)
    watch.worker.check(one.runs)
    dataset = watch.worker.holding.dataset(one.spec)
    examples = watch.worker.holding.examples(dataset, dataset.train)
    loaded, training, size = loading.bytes(), PeakMemory(watch.device), len(one.runs)
    samples = interleaved(one, [size], repeats, watch)[size]
    peak, took = training.bytes(), clock(watch.device) - begin
    known = [max(bytes - base, 0) for bytes in (peak, loaded) if bytes is not None]
    return Point(
        samples, known[0] if known else None, max(known, default=None), watch.floor(one), watch.machine(one),
        examples.x.nbytes, took,
    )  # fmt: skip


def too_much(axis: str, value: int, last: int, point: Point, limit: float, free: int | None) -> str:
    """Why the next value is not measured, judged by the last one; "" where it is."""
    factor = (value / last) ** AXES[axis].power
    recording = sum(sample.compile for sample in point.samples)
    seconds = recording + factor * max(point.took - recording, 0.0)
    if seconds > limit:
        return f"about {seconds:.0f} s, more than --limit {limit:g}"
    needed = factor * (point.reserved or 0)
    if free is not None and needed > free:
        return f"about {needed / 1e9:.1f} GB, more than the {free / 1e9:.1f} GB that are free"
    return ""


def row(axis: str, value: int, one: Case, point: Point) -> dict[str, Any]:
    """One point as a line of the table. Times are of a step of the whole pack; bytes above what the process began with.

    `held_bytes`: what the step cannot do without (weights, gradients, state of the optimiser, activations, data).
    """
    size = len(one.runs)
    seconds = [sample.seconds * size for sample in point.samples]
    low, middle, high = (float(q) for q in np.quantile(seconds, (0.25, 0.5, 0.75)))
    least = size * point.least.seconds(point.machine)
    return {
        axis: value, "threads": point.samples[-1].threads or point.machine.threads,
        "parameters": point.least.parameters,
        "engine": point.samples[-1].engine,
        "ms": 1e3 * middle, "ms_quartile_1": 1e3 * low, "ms_quartile_3": 1e3 * high, "ms_run_step": 1e3 * middle / size,
        "floor_ms": 1e3 * least, "share": least / middle, "bound": point.least.bound(point.machine),
        "mflops": size * point.least.flops / 1e6, "mbytes": size * point.least.bytes / 1e6,
        "compile_s": float(np.median([sample.compile for sample in point.samples])),
        "peak_bytes": point.peak, "held_bytes": size * point.least.held + point.data_bytes,
        "repeats": len(seconds), "seconds": seconds,
    }  # fmt: skip


def grow(
    axis: str, wanted: Wanted, device: torch.device, limit: float, on_point: Callable[[str], None] = lambda name: None,
    keep: Callable[[dict[str, Any]], object] = lambda found: None,
) -> dict[str, Any]:  # fmt: skip
    """The curve of an axis: a document of plain JSON, `rows` as `row` has them.

    It ends where a point would take more than `limit` seconds or more memory than is free, or fails; `left_out` and
    `failed` then say so of every value that is missing. `keep` is given the document so far after each point.
    """
    check(axis, wanted)
    values, rows = AXES[axis].values, list[dict[str, Any]]()
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}
    machines: dict[int, Machine] = {}
    with exact(device):
        watch = Stopwatch(device, wanted.allow_code, machines)
        first = grown(axis, values[0], wanted)
        watch(first, len(first.runs))  # what the process takes once and for all is no cost of the first point
        base, settings = PeakMemory(device).bytes() or 0, _settings(axis, wanted, first, limit)
        for i, value in enumerate(values):
            on_point(f"{i + 1}/{len(values)}  {value} {AXES[axis].unit}")
            watch, one = Stopwatch(device, wanted.allow_code, machines), grown(axis, value, wanted)
            try:
                with contained():
                    point = measure(one, watch, wanted.repeats, base)
            except InputError:
                raise
            except Exception as error:
                failed[str(value)] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                left_out |= {str(later): f"{value} failed" for later in values[i + 1 :]}
                break
            rows.append(row(axis, value, one, point))
            rest = {str(later): "not timed yet" for later in values[i + 1 :]}
            keep(document("growth", device, watch, settings, rows, rest, failed))
            following = values[i + 1 : i + 2]
            if following and (why := too_much(axis, following[0], value, point, limit, free_bytes(device))):
                left_out |= dict.fromkeys(map(str, following), why)
                left_out |= {str(later): f"{following[0]} was left out" for later in values[i + 2 :]}
                break
        return document("growth", device, watch, settings, rows, left_out, failed)


def _settings(axis: str, wanted: Wanted, first: Case, limit: float) -> Mapping[str, Any]:
    """What was held fixed, and what grew."""
    held: dict[str, Any] = {
        "variant": first.spec["variant"], "network": network_label(first.spec["network"]),
        "data": first.spec["data"]["name"], "runs": 1, "batch": wanted.batch, "steps": wanted.steps,
        "repeats": wanted.repeats, "optimizer": "adam", "precision": wanted.precision,
    }  # fmt: skip
    hidden = {"width": "network"}.get(axis, axis)
    return {"axis": axis, "unit": AXES[axis].unit, "limit_s": limit, **{k: v for k, v in held.items() if k != hidden}}
