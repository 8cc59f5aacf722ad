"""The first layer of runs that share a batch: as batched products, as one wide product, each in two libraries.

    python tests/benchmarks/first_layer.py [--device cpu] [--out FILE]

prints, and writes as JSON, the time of each way over that of the batched product (torch.bmm): forward, and the
gradient of the weights; the batch needs none. Below 1 it is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aebench.arithmetic import onednn, onednn_is_exact
from aebench.clock import clock
from aebench.device import choose, keep_memory, made

BATCH = 128
SHAPES = ((2, 64), (64, 64), (784, 32), (784, 128), (784, 512))


def ways(inputs: int, outputs: int, runs: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Name -> output and gradient of the weights."""
    random = torch.Generator(device).manual_seed(0)
    x = torch.randn(BATCH, inputs, generator=random, device=device)
    w = torch.randn(runs, outputs, inputs, generator=random, device=device)
    back = torch.randn(runs, BATCH, outputs, generator=random, device=device)
    each = x.expand(runs, BATCH, inputs)

    def batched() -> Tensor:
        torch.bmm(each, w.transpose(1, 2))
        return torch.bmm(back.transpose(1, 2), each)

    def wide() -> Tensor:
        out = x @ w.view(runs * outputs, inputs).T
        out.view(BATCH, runs, outputs).transpose(0, 1).contiguous()  # the layers that follow are batched products
        return back.transpose(0, 1).reshape(BATCH, runs * outputs).T @ x

    def in_onednn(call: Callable[[], Tensor]) -> Tensor:
        with onednn():
            return call()

    found = {"batched": batched, "wide": wide}
    if device.type == "cpu" and onednn_is_exact():
        found |= {f"{name}, oneDNN": partial(in_onednn, call) for name, call in found.items()}
    return found


def measure(inputs: int, outputs: int, runs: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Medians and quartiles over rounds in which each way has its turn."""
    contenders = ways(inputs, outputs, runs, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds + 1):
        for name, call in contenders.items():
            begin = clock(device)
            for _ in range(8):
                call()
            if i:
                times[name].append(clock(device) - begin)
    quartiles = {
        n: statistics.quantiles([a / b for a, b in zip(t, times["batched"], strict=True)]) for n, t in times.items()
    }
    return {
        "inputs": inputs,
        "outputs": outputs,
        "runs": runs,
        "ratio": {n: {"lower_quartile": a, "median": b, "upper_quartile": c} for n, (a, b, c) in quartiles.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    device = choose(arguments.device)
    rows = [measure(i, o, runs, device, arguments.rounds) for runs in (4, 16, 64) for i, o in SHAPES]
    for row in rows:
        print(row["runs"], row["inputs"], row["outputs"], {n: round(v["median"], 2) for n, v in row["ratio"].items()})  # noqa: T201
    if arguments.out:
        arguments.out.write_text(json.dumps({"made": made(device, "fp32"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
