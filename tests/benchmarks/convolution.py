"""Convolutions of many runs at once, by every way to compute them: forward and backward, one layer, one thread.

    python tests/benchmarks/convolution.py [--device cpu] [--runs 4,16] [--out FILE]

prints, and writes as JSON, the time of each way over that of the runs one after another: below 1 it is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aebench.clock import clock
from aebench.device import choose, exact, keep_memory, made

aten: Any = torch.ops.aten
BATCH, KERNEL, STRIDE, PADDING = 128, 4, 2, 1


class Layer(NamedTuple):
    """Channels in and out of a run, and the side of its input; transposed: a decoder's."""

    channels: int
    outputs: int
    side: int
    transposed: bool = False


LAYERS = (Layer(1, 8, 28), Layer(8, 16, 14), Layer(16, 32, 14), Layer(32, 64, 14), Layer(3, 32, 64),
          Layer(16, 8, 7, True), Layer(32, 16, 7, True), Layer(8, 1, 14, True))  # fmt: skip


def both(x: Tensor, w: Tensor, gradient: Tensor, transposed: bool, groups: int) -> None:
    """The convolution, and its gradients by input and weight."""
    how = ([STRIDE] * 2, [PADDING] * 2, [1, 1], transposed, [0, 0], groups)
    aten.convolution(x, w, None, *how)
    aten.convolution_backward(gradient, x, w, None, *how, [True, True, False])


def unfolded(x: Tensor, w: Tensor, gradient: Tensor, runs: int) -> None:
    """As products of matrices, one a run: each patch of the input is a column."""
    n, side = x.shape[0], x.shape[-1]
    patch = {"kernel_size": KERNEL, "stride": STRIDE, "padding": PADDING}
    columns = F.unfold(x.view(n * runs, -1, side, side), **patch)
    columns = columns.view(n, runs, columns.shape[1], -1).permute(1, 2, 0, 3).reshape(runs, columns.shape[1], -1)
    weight = w.view(runs, -1, columns.shape[1])
    torch.bmm(weight, columns)
    back = gradient.view(n, runs, weight.shape[1], -1).permute(1, 2, 0, 3).reshape(runs, weight.shape[1], -1)
    torch.bmm(back, columns.transpose(1, 2))
    spread = torch.bmm(weight.transpose(1, 2), back).view(runs, columns.shape[1], n, -1)
    F.fold(spread.permute(2, 0, 1, 3).reshape(n * runs, columns.shape[1], -1), (side, side), **patch)


def ways(layer: Layer, runs: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """Name -> the computation, on inputs laid out as that way likes them."""
    c, o, side, transposed = layer
    random = torch.Generator(device).manual_seed(0)
    draw = partial(torch.randn, generator=random, device=device)
    x = draw(BATCH, runs * c, side, side)
    w = draw(runs * (c if transposed else o), o if transposed else c, KERNEL, KERNEL)
    out = side * 2 if transposed else side // 2
    gradient = draw(BATCH, runs * o, out, out)
    last = partial(torch.Tensor.contiguous, memory_format=torch.channels_last)
    parts = [(a.contiguous(), b, g.contiguous()) for a, b, g in
             zip(x.chunk(runs, 1), w.chunk(runs), gradient.chunk(runs, 1), strict=True)]  # fmt: skip
    last_parts = [(last(a), b, last(g)) for a, b, g in parts]

    def alone(parts: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        for a, b, g in parts:
            both(a, b, g, transposed, 1)

    def streams() -> None:
        pool = [torch.cuda.Stream() for _ in range(min(runs, 8))]
        for i, (a, b, g) in enumerate(parts):
            with torch.cuda.stream(pool[i % len(pool)]):
                both(a, b, g, transposed, 1)

    found: dict[str, Callable[[], None]] = {
        "one after another": partial(alone, parts),
        "one after another, channels last": partial(alone, last_parts),
        "grouped": partial(both, x, w, gradient, transposed, runs),
        "grouped, channels last": partial(both, last(x), w, last(gradient), transposed, runs),
    }
    if not transposed:
        found["unfolded, batched products"] = partial(unfolded, x, w, gradient, runs)
    return found | ({"streams": streams} if device.type == "cuda" else {})


def measure(layer: Layer, runs: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Medians and quartiles of the ratio to one after another, over rounds in which each way has its turn."""
    contenders = ways(layer, runs, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds + 1):
        for name, call in contenders.items():
            begin = clock(device)
            call()
            if i:  # the first is a warm-up
                times[name].append(clock(device) - begin)
    base = times["one after another"]
    ratios = {name: statistics.quantiles([a / b for a, b in zip(t, base, strict=True)]) for name, t in times.items()}
    return {"layer": layer._asdict(), "runs": runs, "ms_one_after_another": 1e3 * statistics.median(base),
            "ratio": {name: {"lower_quartile": a, "median": b, "upper_quartile": c} for name, (a, b, c) in ratios.items()}}  # fmt: skip  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", default="4,16")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    device = choose(arguments.device)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for runs in map(int, arguments.runs.split(",")):
        for layer in LAYERS:
            with exact(device):  # as in training: no TF32, deterministic algorithms
                rows.append(measure(layer, runs, device, arguments.rounds))
            print(runs, layer, {k: round(v["median"], 2) for k, v in rows[-1]["ratio"].items()}, flush=True)  # noqa: T201
    if arguments.out:
        arguments.out.write_text(json.dumps({"made": made(device, "fp32"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
