"""Whether a process stays as it is over many packs: memory, live tensors and open files, every so many of them.

    python tests/benchmarks/long_run.py [--packs 2000] [--every 100] [--seconds N] [--out FILE]

Trains tiny packs one after another in one process, as `aebench run` does, no two alike and half of them of the
contractive autoencoder. `--seconds` ends it early, after as many packs as that allows. Prints a line and writes
the marks as JSON; `growth` is that of the second half, in MB of resident memory for 100 packs (least squares).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aebench import device, pipeline
from aebench.plan import plan
from aebench.progress import Progress
from aebench.suite import Run, parse

HERE = Path(__file__).parent
SUITE = """\
name: long
data: {name: pinwheel, n: 64, n_validation: 32, n_test: 32}
network: {kind: mlp, hidden: [4]}
metrics: [reconstruction]
figures: []
runs:
"""


def suite(packs: int) -> str:
    """So many packs of one run: their batches, of 2 to 21, and steps tell them apart."""
    variants = ("linear_ae", "contractive_ae")
    entry = "- {{variant: {}, sizes: {{latent: 1}}, train: {{batch: {}, steps: {}}}}}\n"
    return SUITE + "".join(entry.format(variants[n % 2], 2 + n // 2 % 20, 4 + n // 40) for n in range(packs))


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held() -> dict[str, int]:
    """What the process holds now: live tensors, their bytes, open files, and objects that the collector tracks."""
    gc.collect()
    objects = gc.get_objects()
    tensors = [o for o in objects if issubclass(type(o), torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors if not t.is_meta}
    return {
        "resident_bytes": resident(),
        "tensors": len(tensors),
        "tensor_bytes": sum(storages.values()),
        "open_files": len(os.listdir("/proc/self/fd")),
        "objects": len(objects),
    }


class Marks(Progress):
    """Notes what is held after every so many packs, and ends after so many seconds."""

    def __init__(self, every: int, seconds: float) -> None:
        super().__init__(quiet=True)
        self.every, self.until, self.packs = every, time.monotonic() + seconds, 0
        self.marks: list[dict[str, Any]] = []

    def leave(self, pack: Sequence[Run]) -> None:
        super().leave(pack)
        self.packs += 1
        if self.packs % self.every == 0:
            self.marks.append({"packs": self.packs} | held())
            sys.stdout.write(json.dumps(self.marks[-1]) + "\n")
        if time.monotonic() > self.until:
            raise KeyboardInterrupt


def growth(marks: list[dict[str, Any]]) -> float:
    """MB of resident memory for 100 packs, over the second half of the marks."""
    late = marks[len(marks) // 2 :]
    if len(late) < 2:
        return float("nan")
    return float(np.polyfit([m["packs"] / 100 for m in late], [m["resident_bytes"] / 1e6 for m in late], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cpu" / "long_run.json")
    given = parser.parse_args()
    shown, begin = Marks(given.every, given.seconds), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            pipeline.execute(plan(parse(suite(given.packs)), folder), device="cpu", report=False, progress=shown)
        except KeyboardInterrupt:
            sys.stdout.write(f"ended after {given.seconds:g} s\n")
    found = {
        "made": device.made(torch.device("cpu"), "fp32"),
        "packs": shown.packs,
        "seconds": time.monotonic() - begin,
        "growth": growth(shown.marks),
        "marks": shown.marks,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(f"{shown.packs} packs in {found['seconds']:.0f} s: {found['growth']:+.2f} MB for 100 packs\n")


if __name__ == "__main__":
    main()
