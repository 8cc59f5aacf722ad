"""What a suite gains by several processes: seconds of `aebench run` with one over those with several.

    python tests/benchmarks/processes.py [--rounds 3] [--processes 2] [--out FILE]

prints, and writes as JSON, the ratios of whole commands, without a report: medians of rounds in which both have their
turn, with their quartiles. Above 1 several pay. A process has all cores for its threads
where it is alone, else its part of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from training import quartiles, turns

from aebench.device import cores, made

METRICS = "metrics: [reconstruction, energy, active_units, sparsity, denoising, size]"
SUITES = {
    "seven packs of five runs, 784-128-16": f"""\
name: packs
seeds: 5
data: {{name: mnist}}
network: {{kind: mlp, hidden: [128]}}
train: {{steps: 600, batch: 128}}
runs:
  - {{variant: ae, sizes: {{latent: 16}}}}
  - {{variant: vae, sizes: {{latent: 16}}}}
  - {{variant: denoising_ae, sizes: {{latent: 16}}, hyper: {{sigma: 0.25}}}}
  - {{variant: sparse_l1_ae, sizes: {{latent: 16}}, hyper: {{lam: 0.1}}}}
  - {{variant: topk_ae, sizes: {{latent: 16, k: 8}}}}
  - {{variant: contractive_ae, sizes: {{latent: 16}}, hyper: {{lam: 0.1}}}}
  - {{variant: linear_ae, sizes: {{latent: 16}}}}
{METRICS}
""",
    "one pack of sixteen runs, 2-64-64-8": f"""\
name: pack
seeds: 1
data: {{name: pinwheel}}
network: {{kind: mlp, hidden: [64, 64]}}
train: {{steps: 12000, batch: 128}}
runs:
  - {{variant: vae, sizes: {{latent: 8}}, sweep: {{beta: {{logspace: [0, -3, 16]}}}}}}
{METRICS}
""",
}


def seconds(text: str, processes: int) -> float:
    """Of one command in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "suite.yaml").write_text(text)
        words = ["run", "suite.yaml", "--device", "cpu", "--quiet", "--no-report", "--processes", str(processes)]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "aebench", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin


def measure(text: str, processes: int, rounds: int) -> dict[str, Any]:
    """One suite: seconds in every round, and the ratio."""
    times = turns({number: partial(seconds, text, number) for number in (1, processes)}, rounds)
    return {
        "suite": text,
        "seconds": {str(number): took for number, took in times.items()},
        "one_over_several": quartiles(times[1], times[processes]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.processes < 2:
        parser.error(f"--processes {arguments.processes}: two or more are compared with one")
    if arguments.rounds < 2:
        parser.error(f"--rounds {arguments.rounds}: quartiles take two or more")
    busy, found = os.getloadavg()[0], dict[str, Any]()
    for name, text in SUITES.items():
        found[name] = measure(text, arguments.processes, arguments.rounds)
        medians = {number: round(statistics.median(took), 1) for number, took in found[name]["seconds"].items()}
        print(name, medians, found[name]["one_over_several"], flush=True)  # noqa: T201
    document = {
        "made": made(torch.device("cpu"), "fp32") | {"load_before": busy},
        "processes": arguments.processes, "rounds": arguments.rounds, "suites": found,
    }  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
