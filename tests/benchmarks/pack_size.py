"""Whether a large pack trains faster in parts that stay in a cache: seconds of the parts over those of the whole.

    python tests/benchmarks/pack_size.py [--rounds 3] [--out FILE]

prints, and writes as JSON, each ratio as a median with its quartiles over rounds in which every split has its turn,
with one thread or all, whichever is faster for it. Below 1 the split pays, its recordings not counted. It is of a CPU:
on a GPU a suite measures its own packs as they come (`aebench/pace.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from training import best, images, ours, points, quartiles, turns

from aebench.device import keep_memory, made
from aebench.networks import MLP


class Net(NamedTuple):
    """A network, its data, and the runs of a whole pack."""

    name: str
    network: MLP
    x: Tensor
    runs: tuple[int, ...] = (64, 256)


PARTS = (16, 32, 64, 128)
STEPS = 32


def nets() -> list[Net]:
    """From one that fits into a second-level cache with all its runs to one of which eight runs do not."""
    small = images()[..., :8, :8].clone()
    return [
        Net("mlp 784-32-32", MLP((32, 32)), images()),
        Net("mlp 64-64-64", MLP((64, 64)), small),
        Net("mlp 2-64-64", MLP((64, 64)), points()),
    ]


def seconds(net: Net, size: int, runs: int) -> float:
    """Of training so many runs in packs of this size, one after another."""
    return sum(ours(net.x, net.network, 8, STEPS, size) for _ in range(runs // size))


def measure(net: Net, runs: int, rounds: int) -> dict[str, Any]:
    """One network, so many runs at once: seconds of each round, and their ratios to the whole."""
    sizes = [size for size in PARTS if runs // 8 <= size < runs]
    times = turns({size: best(lambda s=size: seconds(net, s, runs)) for size in (*sizes, runs)}, rounds)
    return {
        "net": net.name, "runs": runs,
        "ms_run_step": {str(size): 1e3 * statistics.median(t) / STEPS / runs for size, t in times.items()},
        "parts_over_whole": {str(size): quartiles(times[size], times[runs]) for size in sizes},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    busy, rows = os.getloadavg()[0], list[dict[str, Any]]()
    for net in nets():
        for runs in net.runs:
            rows.append(measure(net, runs, arguments.rounds))
            said = {size: round(ratio["median"], 2) for size, ratio in rows[-1]["parts_over_whole"].items()}
            print(net.name, runs, said, flush=True)  # noqa: T201
    made_by = made(torch.device("cpu"), "fp32") | {"load_before": busy}
    if arguments.out:
        arguments.out.write_text(
            json.dumps({"made": made_by, "rounds": arguments.rounds, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
