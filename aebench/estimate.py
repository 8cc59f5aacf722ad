"""What running a plan would cost, from a few steps of each pack."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor

from aebench.clock import clock
from aebench.device import PeakMemory, choose
from aebench.feed import Examples
from aebench.packing import build
from aebench.progress import label
from aebench.specification import budget_of, recipe, setting_of
from aebench.streams import CHUNK
from aebench.train import Budget, Setting, TooLarge, train
from aebench.variant import Network, Variant
from aebench.work import Worker

SETTLED = 4
"""The chunk that is timed: by then all is set up, and an engine has chosen how it goes on."""
SOON, LATE = 2.0, 10.0
"""Seconds after which an earlier chunk will do, and after which the first does, whatever was set up in it."""


class Enough(Exception):
    """What is known will do."""


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
        memory, net = PeakMemory(worker.device), build(variant, dataset.event_shape, network, sizes, 0)
        settings = [setting_of(run.spec) for run in parts[0]]
        try:
            seconds = tried(variant, network, sizes, settings, full, examples)
        except TooLarge as error:  # it will go in parts that fit
            parts = [part[i : i + error.fitting] for part in parts for i in range(0, len(part), error.fitting)]
            seconds = tried(variant, network, sizes, settings[: error.fitting], full, examples)
        rows.append({
            "label": label(whole), "runs": len(whole), "mode": "packed" if len(parts[0]) > 1 else "one by one",
            "parameters": sum(p.numel() for p in net.parameters()),
            "seconds": len(parts) * seconds, "bytes": memory.bytes(),
        })  # fmt: skip
    return rows


def tried(
    variant: Variant, network: Network, sizes: Any, settings: Sequence[Setting], full: Budget, examples: Examples
) -> float:
    """The seconds that a pack would train, from a chunk of its steps; of a short training all of it."""
    marks = [clock(examples.x.device)]

    def mark(step: int, loss: Tensor) -> None:
        marks.append(clock(examples.x.device))
        if (len(marks) > 2 and marks[-1] - marks[0] > SOON) or marks[-1] - marks[0] > LATE:
            raise Enough

    # one chunk more than is timed, as the last draws no batches for another
    some = replace(full, steps=min(full.steps, (SETTLED + 1) * CHUNK), keep="last")
    with suppress(Enough):
        trained = train(variant, network, sizes, settings, some, examples, on_point=mark)
        if variant.fit is not None or some.steps == full.steps:
            return trained.seconds["train"]
    before, after = marks[: SETTLED + 1][-2:]
    return (after - before) / CHUNK * full.steps
