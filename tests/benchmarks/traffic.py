"""The optimiser's traffic on a CPU: what it costs, and whether moving less of it would pay.

    python tests/benchmarks/traffic.py [--rounds 15] [--seeds 5] [--out FILE]

Of the ten words that Adam moves for each parameter and step (two reads of the weight by the products, the gradient
written, then weight, gradient and two moments read, weight and moments written) one could leave out

* two, where each parameter is updated as soon as its gradient is there ("in the backward pass"), so that the gradient
  is still in a cache when it is read;
* two or four half words, where one moment or both are stored in bf16.

The first is timed: the recorded step with updates put in behind the last use of each parameter, against the same
updates after it; both give the same bits. For the second the numbers are asked first: moments rounded to bf16 after
each step, all else as ever, and metric by metric against fp32 as in precision.py. What it could gain at most is the
share of those bytes in the time that the optimiser takes.

On two cores of an AMD EPYC (results/cpu/traffic.json; the machine was busy) Adam takes 3 to 9 % of a step, the
gradient's two words at most 2/7 of that, and updates within the step are as fast as after it: the quartiles of every
ratio lie on both sides of 1. Moments in bf16 could gain 1 to 2 % and do not agree with fp32: 127 of 143 metrics do, 138
with the first moment alone, as the second, which moves by a thousandth a step, stands still in eight bits. So the
package has neither. On a GPU, where these words are most of the floor, neither has been measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from precision import compare, results
from torch import Tensor
from torch.fx import GraphModule
from training import BATCH, images

from aebench import optim, packing
from aebench.clock import clock
from aebench.device import cores, keep_memory, made
from aebench.feed import Examples, Feed
from aebench.networks import MLP
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.roofline import COPY_BYTES, bandwidth
from aebench.train import Hyper, Setting
from aebench.variants import VARIANTS

CPU = torch.device("cpu")
CASES = {
    "784-512-16, 1 run": (MLP((512,)), 1),
    "784-32-32, 16 runs": (MLP((32, 32)), 16),
    "784-32-32, 64 runs": (MLP((32, 32)), 64),
    "784-128-128, 16 runs": (MLP((128, 128)), 16),
}
ADAM: dict[str, Any] = {
    "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8, "amsgrad": False, "maximize": False,
}  # fmt: skip
WORDS = {"adam": 7, "step": 10, "gradient": 2, "moments": 4}
"""Words that move for each parameter; of the moments, read and written, for both."""
INNER = 8
"""Steps timed together."""


class Trained:
    """A prepared pack with torch's fused Adam spelled out, so that it can be called for one parameter at a time."""

    def __init__(self, network: MLP, runs: int) -> None:
        vae, x = resolve(VARIANTS, "variants", "vae"), images(1024)
        sizes, settings = vae.sizes(latent=16), [Setting(i, {"beta": 1.0}, Descent()) for i in range(runs)]
        nets = [packing.build(vae, (1, 28, 28), network, sizes, s.seed) for s in settings]
        self.pack = packing.Pack(vae, nets, [s.descent for s in settings], "adam")
        feed = Feed(Examples(x), BATCH, vae.noise(BATCH, (1, 28, 28), sizes), range(runs), torch.float32)
        feed.fill(0)
        self.batch, self.hp = feed.step(0), Hyper(vae, settings, self.pack.stacked, CPU, torch.float32).at(0.0)
        self.pack.prepare(self.batch, self.hp)
        self.recorded = self.pack.traced[""]
        self.own = [p.detach() for p in self.pack.players[""][0]]
        self.first, self.second = [torch.zeros_like(p) for p in self.own], [torch.zeros_like(p) for p in self.own]
        self.count = [torch.zeros(()) for _ in self.own]
        self.numbers = sum(p.numel() for p in self.own)

    def update(self, i: int, gradient: Tensor) -> None:
        """Adam for one parameter."""
        self.count[i] += 1
        one = ([self.own[i]], [gradient.contiguous()], [self.first[i]], [self.second[i]], [], [self.count[i]])
        torch._fused_adam_(*one, **ADAM)

    def gradients(self) -> list[Tensor]:
        """The recorded step."""
        with torch.no_grad():
            return self.recorded(self.pack.leaves, self.batch.x, self.batch.noise, self.hp)[1]

    def after(self) -> None:
        """As the loop does: all gradients, then all updates."""
        self.updates(self.gradients())

    def updates(self, gradients: list[Tensor]) -> None:
        """Adam for all."""
        for i, gradient in enumerate(gradients):
            self.update(i, gradient)

    def within(self, joined: GraphModule) -> None:
        """The step with its updates inside."""
        with torch.no_grad():
            joined(self.pack.leaves, self.batch.x, self.batch.noise, self.hp)


def joined(of: Trained) -> GraphModule:
    """The recorded step, each parameter updated behind its last use and its gradient; the gradients are let go."""
    found = GraphModule(of.recorded, of.recorded.graph)  # a copy of the graph
    graph = found.graph
    order = {node: place for place, node in enumerate(graph.nodes)}
    names = [name for name, p in of.pack.parameters.items() if p.requires_grad]
    inputs = dict(zip(of.pack.leaves, graph.find_nodes(op="placeholder"), strict=False))
    output = graph.output_node()
    flat = list(output.args[0])  # type: ignore[arg-type]
    for i, name in enumerate(names):
        place = len(flat) - len(names) + i
        gradient = flat[place]
        last = max([gradient, *uses(inputs[name])], key=order.__getitem__)
        with graph.inserting_after(last):
            graph.call_function(of.update, (i, gradient))
        flat[place] = None
    output.args = (flat,)
    found.recompile()
    return found


def uses(node: Any) -> Iterator[Any]:
    """What reads a parameter, or a view of it."""
    for user in node.users:
        if user.op == "output":
            continue
        yield user
        if any(word in str(user.target) for word in ("view", "transpose", "aten.t.", "select", "expand", "unsqueeze")):
            yield from uses(user)


def same(network: MLP, runs: int) -> bool:
    """Whether three steps of both ways give the same bits."""
    one, two = Trained(network, runs), Trained(network, runs)
    inside = joined(two)
    for _ in range(3):
        one.after()
        two.within(inside)
    return all(torch.equal(a, b) for a, b in zip(one.own, two.own, strict=True))


def timed(name: str, rounds: int) -> dict[str, Any]:
    """One case at its better number of threads: milliseconds of each way, and what less traffic gains."""
    network, runs = CASES[name]
    of = Trained(network, runs)
    inside, kept = joined(of), of.gradients()
    ways: dict[str, Callable[[], Any]] = {
        "after": of.after, "within": lambda: of.within(inside), "gradients": of.gradients,
        "adam": lambda: of.updates(kept),
    }  # fmt: skip
    best: dict[str, Any] = {}
    for threads in sorted({1, cores()}):
        torch.set_num_threads(threads)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for i in range(rounds + 1):
            for way in list(ways) if i % 2 else reversed(list(ways)):
                begin = clock(CPU)
                for _ in range(INNER):
                    ways[way]()
                if i:  # the first is a warm-up
                    times[way].append(1e3 * (clock(CPU) - begin) / INNER)
        ratio = statistics.quantiles([a / b for a, b in zip(times["within"], times["after"], strict=True)])
        ms = {way: statistics.median(t) for way, t in times.items()}
        moved = 4 * of.numbers
        found = {
            "case": name, "threads": threads, "parameters": of.numbers, "same_bits": same(network, runs), "ms": ms,
            "within_over_after": dict(zip(("lower_quartile", "median", "upper_quartile"), ratio, strict=True)),
            "megabytes": {"step": WORDS["step"] * moved / 1e6, "without_gradient": 8 * moved / 1e6,
                         "bf16_moments": 8 * moved / 1e6},
            "adam_bytes_per_s": WORDS["adam"] * moved / (ms["adam"] / 1e3),
            "copy_bytes_per_s": bandwidth(CPU, COPY_BYTES["cpu"]),
            "adam_share_of_step": ms["adam"] / ms["after"],
            "bf16_moments_gain_at_most": ms["adam"] / ms["after"] * (WORDS["moments"] / 2) / WORDS["adam"],
        }  # fmt: skip
        best = min([best, found], key=lambda f: f["ms"]["after"]) if best else found
    torch.set_num_threads(cores())
    return best


@contextmanager
def rounded(*names: str) -> Iterator[None]:
    """Adam whose moments of these names are numbers of bf16 between steps."""
    step = optim.StackedOptimizer.step

    def rounding(self: optim.StackedOptimizer, gradients: Any, i: int) -> None:
        step(self, gradients, i)
        for held in self.torch.state.values():
            for name in names:
                held[name].copy_(held[name].bfloat16())

    with patch.object(optim.StackedOptimizer, "step", rounding):
        yield


def agreement(seeds: int) -> dict[str, Any]:
    """How many metrics of the suite of precision.py agree with fp32, by what is rounded."""
    exact, found = results("fp32", "cpu", seeds), dict[str, Any]()
    for name, moments in {
        "first moment": ("exp_avg",), "second moment": ("exp_avg_sq",), "both": ("exp_avg", "exp_avg_sq"),
    }.items():  # fmt: skip
        with rounded(*moments):
            rows = compare(exact, results("fp32", "cpu", seeds))
        apart = [row for row in rows if not row["agrees"]]
        found[name] = {"agree": sum(row["agrees"] for row in rows), "of": len(rows), "apart": apart}
        print(name, f"{found[name]['agree']} of {len(rows)} agree", flush=True)  # noqa: T201
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    found: dict[str, Any] = {"made": made(CPU, "fp32") | {"load_before": os.getloadavg()[0]}, "rows": []}
    for name in CASES:
        found["rows"].append(timed(name, arguments.rounds))
        print(json.dumps(found["rows"][-1]), flush=True)  # noqa: T201
    found["bf16 moments"] = agreement(arguments.seeds)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
