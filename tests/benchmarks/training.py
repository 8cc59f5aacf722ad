"""What a training step costs: the leanest loop one would write, one run, a pack. Ratios within one process.

    python tests/benchmarks/training.py [--out FILE]

prints, and writes as JSON, each ratio as a median of interleaved pairs with its quartiles, and the gain of packing by
width, from which the cut-off in `aebench/pace.py` follows. Absolute times are of the machine named in the file.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from aebench.clock import clock
from aebench.device import cores, keep_memory, made
from aebench.feed import Examples
from aebench.networks import MLP, Conv
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variant import Network
from aebench.variants import VARIANTS

BATCH = 128
Way = TypeVar("Way", str, int)


def points(n: int = 4096) -> Tensor:
    """Data of the 2-64-64-8 network."""
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def images(n: int = 4096) -> Tensor:
    """Data of the size of MNIST."""
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def lean(x: Tensor, network: Network, latent: int, steps: int, size: int = BATCH) -> float:
    """Seconds of a VAE's plain loop: data on the device, index by permutation, fused Adam."""
    torch.manual_seed(0)
    encoder = network.encoder(tuple(x.shape[1:]), 2 * latent).to(x.device)
    decoder = network.decoder(latent, tuple(x.shape[1:])).to(x.device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    step, begin = 0, clock(x.device)
    while step < steps:
        order = torch.randperm(len(x), device=x.device)
        for i in range(0, len(x) - size + 1, size):
            batch = x[order[i : i + size]]
            mu, logvar = encoder(batch).chunk(2, -1)
            x_hat = decoder(mu + (0.5 * logvar).exp() * torch.randn_like(mu))
            kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)
            loss = ((batch - x_hat).square().flatten(1).sum(1) + kl).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break
    return clock(x.device) - begin


def ours(x: Tensor, network: Network, latent: int, steps: int, runs: int = 1, seeds: int = 5) -> float:
    """Seconds of aebench's loop over the same network, data, batch and optimiser, for so many runs at once.

    A pack records its step once before the first; those 0.3 s or so are compilation, and not counted here.
    """
    vae = resolve(VARIANTS, "variants", "vae")
    settings = [Setting(i % seeds, {"beta": 1.0 / (i + 1)}, Descent(lr=1e-3)) for i in range(runs)]
    trained = train(vae, network, vae.sizes(latent=latent), settings, Budget(steps, BATCH), Examples(x))
    return trained.seconds["train"]


def ratio(a: Callable[[], float], b: Callable[[], float], pairs: int) -> dict[str, float]:
    """Median and quartiles of a/b over interleaved pairs, after one warm-up of each."""
    a(), b()
    ratios = [a() / b() if i % 2 else 1 / (b() / a()) for i in range(pairs)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": middle, "lower_quartile": low, "upper_quartile": high, "pairs": pairs}


def turns(ways: Mapping[Way, Callable[[], float]], rounds: int) -> dict[Way, list[float]]:
    """Seconds of each way in every round, in which all have their turn; there and back, after one that warms up."""
    times: dict[Way, list[float]] = {way: [] for way in ways}
    for i in range(rounds + 1):
        for way in list(ways) if i % 2 else reversed(list(ways)):
            took = ways[way]()
            if i:
                times[way].append(took)
    return times


def quartiles(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Of the ratios of two ways, in the same round each."""
    low, middle, high = statistics.quantiles([x / y for x, y in zip(a, b, strict=True)])
    return {"lower_quartile": low, "median": middle, "upper_quartile": high}


def best(call: Callable[[], float]) -> Callable[[], float]:
    """The shorter of a call's times with one thread and with all."""

    def timed(threads: int) -> float:
        torch.set_num_threads(threads)
        return call()

    return lambda: min(timed(threads) for threads in sorted({1, cores()}))


def against_lean(pairs: int) -> dict[str, dict[str, float]]:
    """Runs at once against one run of the lean loop; each has one thread or all, whichever is faster for it."""
    x, net, wide, image = points(), MLP((64, 64)), MLP((512,)), images()
    small = best(lambda: lean(x, net, 8, 320))
    found = {
        f"2-64-64-8, {runs} runs / lean": ratio(best(lambda r=runs: ours(x, net, 8, 320, r)), small, pairs)
        for runs in (1, 8, 16, 35)
    }
    large = best(lambda: lean(image, wide, 16, 96))
    for runs in (1, 8):
        several = best(lambda r=runs: ours(image, wide, 16, 96, r))
        found[f"784-512-16, {runs} runs / lean"] = ratio(several, large, pairs)
    return found


def gain(pairs: int) -> dict[str, dict[str, float]]:
    """Four runs one after another over four packed, by network: above 1 packing pays.

    Each has one thread or all, whichever is faster for it.
    """
    found: dict[str, dict[str, float]] = {}
    networks = {f"mlp 784-{w}-{w}": (MLP((w, w)), images()) for w in (32, 64, 128, 256, 512)}
    networks |= {f"mlp 2-{w}-{w}": (MLP((w, w)), points()) for w in (64, 128, 256)}
    networks |= {f"conv 28x28-{a}-{2 * a}": (Conv((a, 2 * a)), images(1024)) for a in (4, 8, 16, 32)}
    networks |= {f"conv 8x8-{a}-{2 * a}": (Conv((a, 2 * a)), images(1024)[..., :8, :8].clone()) for a in (4, 8, 16)}
    for name, (network, x) in networks.items():
        vae = resolve(VARIANTS, "variants", "vae")
        net = vae.build(tuple(x.shape[1:]), network, vae.sizes(latent=8))

        alone = best(lambda x=x, network=network: sum(ours(x, network, 8, 32) for _ in range(4)))
        packed = best(lambda x=x, network=network: ours(x, network, 8, 32, runs=4))
        found[name] = {"parameters": sum(p.numel() for p in net.parameters()), **ratio(alone, packed, pairs)}
    return found


def sizes(rounds: int) -> dict[str, list[dict[str, float]]]:
    """Milliseconds of a run-step by pack size, with one thread and with all: medians over interleaved rounds."""
    small = images()[..., :8, :8].clone()
    networks = {"mlp 2-64-64": (MLP((64, 64)), points()), "mlp 64-64-64": (MLP((64, 64)), small),
                "mlp 784-32-32": (MLP((32, 32)), images())}  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {}
    for name, (network, x) in networks.items():
        cases = [(runs, threads) for runs in (2, 4, 8, 16, 32, 64) for threads in sorted({1, cores()})]
        times: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
        for _ in range(rounds):
            for runs, threads in cases:
                torch.set_num_threads(threads)
                steps = 32 if runs > 16 else 64
                times[runs, threads].append(1e3 * ours(x, network, 8, steps, runs) / steps / runs)
        found[name] = [{"runs": r, "threads": t, "ms": statistics.median(ms)} for (r, t), ms in times.items()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pairs", type=int, default=11)
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    found = {
        "made": made(torch.device("cpu"), "fp32"),
        "training step": against_lean(arguments.pairs),
        "gain of packing": gain(max(arguments.pairs // 2, 3)),
        "by pack size": sizes(max(arguments.pairs // 2, 3)),
    }
    text = json.dumps(found, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
