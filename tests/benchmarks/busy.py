"""What a training step costs on a busy machine: alone, and while other processes each run two OpenMP threads.

    python tests/benchmarks/busy.py [--out FILE]

Each step of the program shares the cores fairly if it costs (1 + others) times as much, or less. With `threads`
"chosen" training takes one thread or all, as the clock says. The neighbours are fresh processes that multiply matrices
without end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NEIGHBOUR = "import torch; torch.set_num_threads(2); a = torch.randn(700, 700)\nwhile True: a @ a"
CASES = {
    "2-64-64, one run": (2, (64, 64), 1),
    "2-64-64, 16 runs packed": (2, (64, 64), 16),
    "784-512, one run": (784, (512,), 1),
}
POLICIES = {
    "as the command line sets it": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "as OpenMP comes": {},
}


def milliseconds(case: str, threads: str) -> float:
    """Of a step, in this process; long enough for the choice to be made."""
    from unittest.mock import patch

    import torch
    from training import ours, points

    from aebench import device, train
    from aebench.networks import MLP

    device.keep_memory()
    width, hidden, runs = CASES[case]
    x = points() if width == 2 else torch.rand(4096, width)
    if threads == "chosen":
        return 1e3 * ours(x, MLP(hidden), 8, 384, runs) / 384
    with patch.object(train, "threads", lambda pack, feed, hyper: (int(threads),)):
        return 1e3 * ours(x, MLP(hidden), 8, 64, runs) / 64


def fresh(case: str, threads: str, policy: dict[str, str]) -> float:
    """The same in a new process, whose OpenMP reads its environment when it starts."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run([sys.executable, __file__, "--one", case, "--threads", threads], env=rest | policy,
                          capture_output=True, text=True, check=True)  # fmt: skip
    return float(done.stdout.split()[-1])


def measure(repeats: int) -> list[dict[str, Any]]:
    """Every case with one thread and with two, under each policy, with no neighbour and with one."""
    rows: list[dict[str, Any]] = []
    for case in CASES:
        for threads in ("1", "2", "chosen"):
            for name, policy in POLICIES.items():
                found: dict[int, list[float]] = {0: [], 1: []}
                for _ in range(repeats):
                    for others, times in found.items():
                        neighbours = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(others)]
                        time.sleep(4.0 * others)  # until it has imported torch
                        try:
                            times.append(fresh(case, threads, policy))
                        finally:
                            for neighbour in neighbours:
                                neighbour.kill()
                                neighbour.wait()
                free, busy = (statistics.median(times) for times in found.values())
                rows.append({
                    "net": case, "threads": threads, "policy": name,
                    "ms_alone": found[0], "ms_beside_another": found[1], "ratio": busy / free,
                })  # fmt: skip
                print(f"{case}, {threads} thread(s), {name}: {free:.2f} ms, busy {busy:.2f} ms", flush=True)  # noqa: T201
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--threads", default="chosen", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(milliseconds(arguments.one, arguments.threads))  # noqa: T201
        return
    import torch

    from aebench.device import made

    found = {"made": made(torch.device("cpu"), "fp32"), "rows": measure(arguments.repeats)}
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
