"""What running a plan would cost, from a few steps of each pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from aebench.clock import clock
from aebench.device import PeakMemory, choose
from aebench.feed import Examples
from aebench.progress import label
from aebench.specification import budget_of, recipe, setting_of
from aebench.streams import CHUNK
from aebench.train import Budget, Setting, TooLarge, Trained, train
from aebench.variant import Network, Variant
from aebench.work import Worker

FEW, CHUNKS = 16, 3
"""The steps that are tried of a pack at first, and the chunks after that."""
COLD = 1.0
"""Seconds of the first steps up to which they may say little: what a process does once and for all is in them."""


def estimate(todo: Any, device: str, allow_code: bool) -> list[dict[str, Any]]:
    """Time and memory of each pack of a plan, from a few steps of it: `{label, runs, mode, parameters, ...}`."""
    worker = Worker(todo.suite.name, choose(device), (), False, allow_code)
    rows: list[dict[str, Any]] = []
    for whole in todo.packs:
        worker.check(whole)
        parts = worker.packs(whole)
        spec = parts[0][0].spec
        dataset, (variant, network, sizes) = worker.holding.dataset(spec), recipe(spec, allow_code)
        examples, full = worker.holding.examples(dataset, dataset.train), budget_of(spec)
        memory = PeakMemory(worker.device)
        settings = [setting_of(run.spec) for run in parts[0]]
        try:
            trained, seconds = tried(variant, network, sizes, settings, full, examples)
        except TooLarge as error:  # it will go in parts that fit
            parts = [part[i : i + error.fitting] for part in parts for i in range(0, len(part), error.fitting)]
            trained, seconds = tried(variant, network, sizes, settings[: error.fitting], full, examples)
        rows.append({
            "label": label(whole), "runs": len(whole), "mode": "packed" if len(parts[0]) > 1 else "one by one",
            "parameters": sum(p.numel() for p in trained.runs.net.parameters()),
            "seconds": len(parts) * seconds, "bytes": memory.bytes(),
        })  # fmt: skip
    return rows


def tried(
    variant: Variant, network: Network, sizes: Any, settings: Sequence[Setting], full: Budget, examples: Examples
) -> tuple[Trained, float]:
    """A pack after a few steps, and the seconds that all would take.

    Where the first steps are soon over, it goes by the fastest of some later chunks: a process and its libraries set
    themselves up in the first.
    """
    short = replace(full, steps=FEW, keep="last")
    trained = train(variant, network, sizes, settings, short, examples)
    first = trained.seconds["train"]
    if variant.fit is not None:
        return trained, first
    if first > COLD:
        return trained, first * full.steps / FEW
    marks: list[float] = []
    longer, mark = replace(short, steps=(1 + CHUNKS) * CHUNK), lambda step, loss: marks.append(clock(examples.x.device))
    train(variant, network, sizes, settings, longer, examples, on_point=mark)
    return trained, min(after - before for before, after in pairwise(marks)) / CHUNK * full.steps
