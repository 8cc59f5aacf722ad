"""What running a plan would cost, from a few steps of each pack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aebench.device import PeakMemory, choose
from aebench.progress import label
from aebench.specification import budget_of, recipe, setting_of
from aebench.train import TooLarge, train
from aebench.work import Worker


def estimate(todo: Any, device: str, allow_code: bool, steps: int = 16) -> list[dict[str, Any]]:
    """Time and memory of each pack of a plan, from so many steps of it: `{label, runs, mode, parameters, ...}`."""
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
        short = replace(full, steps=steps, keep="last")
        try:
            trained = train(variant, network, sizes, settings, short, examples)
        except TooLarge as error:  # it will go in parts that fit
            parts = [part[i : i + error.fitting] for part in parts for i in range(0, len(part), error.fitting)]
            trained = train(variant, network, sizes, settings[: error.fitting], short, examples)
        longer = 1 if variant.fit else full.steps / steps
        rows.append({
            "label": label(whole), "runs": len(whole), "mode": "packed" if len(parts[0]) > 1 else "one by one",
            "parameters": sum(p.numel() for p in trained.runs.net.parameters()),
            "seconds": len(parts) * trained.seconds["train"] * longer, "bytes": memory.bytes(),
        })  # fmt: skip
    return rows
