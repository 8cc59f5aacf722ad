"""Throughput of variants and networks on this machine, alone and packed, beside the roofline.

Each sample is of a call of `train`; they alternate between pack sizes, so that a machine that gets slower meanwhile
slows them alike, and a ratio of packed to alone is of neighbours in time.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from aebench import data, suite
from aebench.device import exact, made
from aebench.errors import InputError
from aebench.faults import contained
from aebench.networks import NETWORKS
from aebench.plugins import resolve
from aebench.roofline import Floor, Machine
from aebench.stopwatch import MOST, Case, Median, Sample, Stopwatch, interleaved, median_interval, network_label
from aebench.store.documents import plain
from aebench.streams import CHUNK
from aebench.variant import Variant
from aebench.variants import VARIANTS

SCHEMA = 1
SIZED: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "hidden": [64, 64]},
    "conv": {"kind": "conv", "channels": [4, 8]},
    "deep": {"kind": "deep", "hidden": [128, 64, 32]},
}
"""The networks that are timed where none is asked for, sized for the digits."""
KINDS = ("linear", "mlp", "conv")
"""Of these, the ones for variants that are defined for any; `deep` is an mlp of other widths."""


@dataclass(frozen=True)
class Wanted:
    """What is to be timed. `variants` and `networks` empty: all, as far as they go together."""

    variants: tuple[str, ...] = ()
    networks: tuple[Any, ...] = ()
    """As a suite has them: kinds, or `{"kind": ..., options}`."""
    data: Any = "digits"
    """An entry of a suite."""
    sizes: tuple[int, ...] = (1, 8, 16)
    """Runs of a pack, each a seed of its own."""
    steps: int = CHUNK
    repeats: int = 6
    batch: int = 128
    precision: str = "fp32"
    allow_code: bool = False


def cases(wanted: Wanted) -> tuple[list[Case], dict[str, str]]:
    """What there is to time, and what is left out: name -> why.

    What was named, variant and network, and does not go together raises InputError; so does nothing being left.
    """
    described = data.describe(wanted.data, allow_code=wanted.allow_code)
    shape, _ = data.outline(described, allow_code=wanted.allow_code)
    for network in wanted.networks:
        resolve(NETWORKS, "networks", kind_of(network), allow_code=wanted.allow_code)
    found: list[Case] = []
    left_out: dict[str, str] = {}
    unfit: dict[str, str] = {}
    for name in wanted.variants or VARIANTS:
        variant: Variant = resolve(VARIANTS, "variants", name, allow_code=wanted.allow_code)
        if variant.fit is not None:
            left_out[name] = "a closed form: no step is taken"
            if wanted.variants:
                raise InputError(f"variant {name!r} is {left_out[name]}, so there is nothing to time")
            continue
        for network in wanted.networks or [SIZED[kind] for kind in variant.networks or KINDS]:
            try:
                sizes = {"latent": latent(variant, shape)}
                found.append(case(wanted, {"variant": name, "sizes": sizes, "network": network}))
            except InputError as error:
                if wanted.variants and wanted.networks:
                    raise
                unfit[f"{name} on {kind_of(network)}"] = str(error)
    if not found:
        raise InputError(next(iter(unfit.values())))
    return found, left_out | unfit


def kind_of(network: Any) -> str:
    """The kind of a network as a suite has it: a name, or `{"kind": ..., options}`; InputError where there is none."""
    kind: Any = network.get("kind") if isinstance(network, dict) else network
    if not isinstance(kind, str):
        raise InputError(f"network {network!r}: a kind, or {{kind: ..., options}}")
    return kind


def case(wanted: Wanted, entry: Mapping[str, Any]) -> Case:
    """The runs of an entry of a suite."""
    if wanted.steps % CHUNK or wanted.steps > MOST:
        raise InputError(f"--steps {wanted.steps}: the loop tells the time every {CHUNK}; a multiple, up to {MOST}")
    train = {"steps": wanted.steps, "batch": wanted.batch, "precision": wanted.precision}
    tree = {"name": "bench", "data": wanted.data, "train": train, "seeds": max(wanted.sizes), "runs": [entry]}
    try:
        return Case(suite.parse(json.dumps(tree), "bench", allow_code=wanted.allow_code).runs)
    except InputError as error:
        raise InputError(
            str(error).removeprefix("bench:1: ").removeprefix("runs[0].").removeprefix("runs[0]: ")
        ) from None


def latent(variant: Variant, shape: tuple[int, ...]) -> int:
    """The variant's default, or where it refuses that for such events 3/2 or 1/2 of their elements."""
    elements = int(np.prod(shape))
    usual: int = variant.sizes().latent
    for units in (usual, 3 * elements // 2, elements // 2):
        try:
            if variant.check is not None:
                variant.check(variant.sizes(latent=units), shape)
            return units
        except (InputError, ValueError):
            continue
    return usual


def row(case: Case, size: int, samples: Mapping[int, Sequence[Sample]], least: Floor, on: Machine) -> dict[str, Any]:
    """What is said of one pack size: a line of the table.

    Times are of a run-step: one step of one run, the pack's step over its runs. `ratio`: packed over alone, the
    median of pairs of neighbours in time. `share`: of the roofline, floor / time.
    """
    seconds, alone = [sample.seconds for sample in samples[size]], samples.get(1)
    time, batch = median_interval(seconds), case.spec["train"]["batch"]
    pairs = zip(seconds, alone, strict=True) if alone is not None and size > 1 else ()
    ratios = [packed / single.seconds for packed, single in pairs]
    ratio = median_interval(ratios) if ratios else Median(np.nan, np.nan, np.nan, 0)
    floor_s = least.seconds(on)
    return {
        "variant": case.spec["variant"], "network": network_label(case.spec["network"]),
        "latent": case.spec["sizes"]["latent"], "parameters": least.parameters, "runs": size,
        "threads": samples[size][-1].threads or on.threads,
        "engine": samples[size][-1].engine,
        "ms": 1e3 * time.median, "ms_low": 1e3 * time.low, "ms_high": 1e3 * time.high,
        "ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high,
        "examples_per_s": batch / time.median,
        "compile_s": float(np.median([sample.compile for sample in samples[size]])),
        "mflops": least.flops / 1e6, "mbytes": least.bytes / 1e6,
        "floor_us": 1e6 * floor_s, "share": floor_s / time.median, "bound": least.bound(on),
        "repeats": time.n, "seconds": seconds, "compile": [sample.compile for sample in samples[size]],
    }  # fmt: skip


def bench(
    wanted: Wanted, device: torch.device, on_case: Callable[[str], None] = lambda name: None,
    keep: Callable[[dict[str, Any]], object] = lambda found: None,
) -> dict[str, Any]:  # fmt: skip
    """Time what is wanted: a document of plain JSON, `rows` as `row` has them, raw samples among them.

    A case that fails is named in `failed` with its error, and the others go on. `keep` is given the document so far
    after each.
    """
    todo, left_out = cases(wanted)
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    settings = {"data": todo[0].spec["data"]["name"], "steps": wanted.steps, "repeats": wanted.repeats,
                "batch": wanted.batch, "optimizer": "adam", "precision": wanted.precision}  # fmt: skip
    with exact(device):
        watch = Stopwatch(device, wanted.allow_code)
        found = partial(document, "throughput", device, watch, settings, rows)
        for i, one in enumerate(todo):
            on_case(f"{i + 1}/{len(todo)}  {one.name}")
            try:
                with contained():
                    watch.worker.check(one.runs)
                    samples = interleaved(one, wanted.sizes, wanted.repeats, watch)
                    least, on = watch.floor(one), watch.machine(one)
                rows += [row(one, size, samples, least, on) for size in wanted.sizes]
            except InputError as error:
                if wanted.variants:
                    raise
                left_out[one.name] = str(error)
            except Exception as error:
                failed[one.name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            keep(found(left_out | {later.name: "not timed yet" for later in todo[i + 1 :]}, failed))
        return found(left_out, failed)


def document(
    kind: str, device: torch.device, watch: Stopwatch, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str], failed: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """What a measurement leaves behind, plain JSON; numbers that are none are null."""
    machines = [
        {"threads": m.threads, "copy_bytes_per_s": m.bandwidth, "matrix_flops_per_s": m.rate, "precision": m.precision}
        for m in watch.machines.values()
    ]
    tree = {
        "schema": SCHEMA, "kind": kind, "made": made(device, settings["precision"]), "machine": machines,
        "settings": settings, "left_out": left_out, "failed": failed, "rows": rows,
    }  # fmt: skip
    return plain(tree)


def as_csv(found: Mapping[str, Any]) -> str:
    """The rows of a document as CSV, without the raw samples."""
    heads = [name for name, value in found["rows"][0].items() if not isinstance(value, list)] if found["rows"] else []
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found["rows"])
    return text.getvalue()
