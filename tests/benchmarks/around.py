"""What a CPU's step spends around the arithmetic: rows by an index, Adam through `Optimizer.step`, memory for results.

    python tests/benchmarks/around.py [--rounds 9] [--out FILE]

prints, and writes as JSON, the seconds of training as it is over those of training with each, as medians of
interleaved rounds with their quartiles, with one thread. Below 1 what is done instead pays: rows copied whole
(`aebench.feed.picked`), the kernel called directly (`aebench.optim.fused_adam`), results written over what nobody reads
later (`aebench.recorded.write_over`). Bits are the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from training import BATCH, images, points, quartiles, turns

from aebench import feed, graph
from aebench.device import exact, keep_memory, made
from aebench.feed import Examples
from aebench.networks import MLP
from aebench.optim import Descent, StackedOptimizer
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS

CPU = torch.device("cpu")


class Case(NamedTuple):
    """A network, its data, and runs: so many seeds and so many learning rates, each with each."""

    name: str
    network: MLP
    x: Tensor
    seeds: int = 1
    rates: int = 1
    latent: int = 16
    steps: int = 96


def cases() -> list[Case]:
    """Small nets, where little is arithmetic, and images, whose rows are long."""
    pixels = images().mul(255).to(torch.uint8)
    return [
        Case("2-64-64-8, one run", MLP((64, 64)), points(), latent=8, steps=320),
        Case("2-64-64-8, 16 seeds", MLP((64, 64)), points(), seeds=16, latent=8, steps=320),
        Case("2-64-64-8, 16 learning rates", MLP((64, 64)), points(), rates=16, latent=8, steps=320),
        Case("784-64-16 on bytes, 16 seeds", MLP((64,)), pixels, seeds=16),
        Case("784-64-16, 2 seeds x 8 learning rates", MLP((64,)), images(), seeds=2, rates=8),
        Case("784-512-16, one run", MLP((512,)), images()),
    ]


def seconds(case: Case) -> float:
    """Of training all its runs in one pack."""
    vae = resolve(VARIANTS, "variants", "vae")
    settings = [
        Setting(seed, {}, Descent(lr=1e-3 * (1 + 0.05 * rate)))
        for rate in range(case.rates)
        for seed in range(case.seeds)
    ]
    with exact(CPU):
        trained = train(
            vae, case.network, vae.sizes(latent=case.latent), settings, Budget(case.steps, BATCH), Examples(case.x)
        )
    return trained.seconds["train"]


@contextmanager
def indexed() -> Iterator[None]:
    """Rows of a batch by an index."""
    with patch.object(feed, "picked", lambda x, rows: x[rows]):
        yield


@contextmanager
def stepped() -> Iterator[None]:
    """Every step of Adam through torch's optimiser."""
    never = property(lambda self: False, lambda self, value: None)
    with patch.object(StackedOptimizer, "direct", never, create=True):
        yield


@contextmanager
def elsewhere() -> Iterator[None]:
    """Every result in memory of its own."""
    with patch.object(graph, "write_over", lambda recorded: None):
        yield


WAYS: dict[str, Callable[[], Any]] = {
    "as it is": nullcontext, "an index": indexed, "Optimizer.step": stepped, "new memory": elsewhere,
}  # fmt: skip


def as_in(way: str, case: Case) -> float:
    """`seconds`, this way."""
    with WAYS[way]():
        return seconds(case)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """One case: milliseconds of a run-step each way, and the ratios of training as it is to the others."""
    times = turns({way: partial(as_in, way, case) for way in WAYS}, rounds)
    first, *others = WAYS
    return {
        "case": case.name,
        "ms_run_step": {
            way: 1e3 * statistics.median(t) / case.steps / (case.seeds * case.rates) for way, t in times.items()
        },
        "ratio_to": {way: quartiles(times[first], times[way]) for way in others},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for case in cases():
        rows.append(measure(case, arguments.rounds))
        said = {way: round(ratio["median"], 2) for way, ratio in rows[-1]["ratio_to"].items()}
        print(case.name, said, flush=True)  # noqa: T201
    if arguments.out:
        document = {"made": made(CPU, "fp32"), "rounds": arguments.rounds, "rows": rows}
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
