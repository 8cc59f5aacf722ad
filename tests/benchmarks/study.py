"""What the study of Locatello et al. (2019) would take on this machine, from measurements on it: on paper.

    python tests/benchmarks/study.py [--device auto] [--runs 1,4,16] [--steps 32] [--out FILE]
    python tests/benchmarks/study.py --from FILE                 # computes again from what was measured

12,600 models: 6 methods, 6 values each of a regularisation weight, 50 seeds, 7 data sets; 300 thousand steps of 64
images of 64 x 64, 10 latent units. They report about 2.52 GPU-years on P100s. Locatello, Bauer, Lucic, Raetsch, Gelly,
Schoelkopf and Bachem (2019), Challenging common assumptions in the unsupervised learning of disentangled
representations.

Each model is taken for the VAE with 32-32-64-64 channels on three colours, whose step is timed here, alone and packed,
and whose floor is counted as `aebench bench` counts it: FLOPs of the step as recorded, bytes that it must move, this
machine's own copy bandwidth and matrix rate. Their networks have a fully connected layer of 256 units besides, four of
the data sets have one colour, and the discriminator of FactorVAE, a sixth of the models, is not counted. Between the
floor and what is measured stands what the floor leaves out: work element by element, gradients of activations, and
that small convolutions do not reach the rate of large products; evaluation is in neither.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aebench import bench
from aebench.bench import Wanted
from aebench.device import choose, exact
from aebench.stopwatch import Stopwatch, interleaved

METHODS, WEIGHTS, SEEDS, DATA_SETS, STEPS, BATCH = 6, 6, 50, 7, 300_000, 64
MODELS = METHODS * WEIGHTS * SEEDS * DATA_SETS
ALIKE = WEIGHTS * SEEDS
"""Models that differ in floats and seeds alone, and so may train together."""
REPORTED_YEARS = 2.52
DAY, YEAR = 86_400.0, 365.25 * 86_400.0
ENTRY: dict[str, Any] = {
    "variant": "beta_vae", "sizes": {"latent": 10}, "network": {"kind": "conv", "channels": [32, 32, 64, 64]},
}  # fmt: skip
EXAMPLES = 1024


def measured(device: torch.device, sizes: Sequence[int], steps: int, repeats: int, precision: str) -> dict[str, Any]:
    """A document of `aebench bench`, of this network and batch at each pack size; the images are noise.

    `load`: processes that ran before, on average over a minute; more than a few tenths, and the times are too long.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (EXAMPLES, 3, 64, 64), dtype=np.uint8))
        settings: dict[str, Any] = {"steps": steps, "repeats": repeats, "batch": BATCH, "precision": precision}
        wanted = Wanted(data=str(path), sizes=tuple(sizes), **settings)
        one = bench.case(wanted, ENTRY)
        with exact(device):
            watch = Stopwatch(device)
            watch.worker.check(one.runs)
            samples = interleaved(one, wanted.sizes, repeats, watch)
            rows = [bench.row(one, size, samples, watch.floor(one), watch.machine(one)) for size in sizes]
            found = bench.document("throughput", device, watch, settings, rows, {}, {})
    return found | {"load": load}


def study(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the whole study would take, by the rows of a document: at its best pack size and at its floor."""
    rows, run_steps = found["rows"], MODELS * STEPS
    best = min(rows, key=lambda row: row["ms"])
    machine = found["machine"][0]
    moved, computed = best["mbytes"] * 1e6, best["mflops"] * 1e6
    memory, compute = moved / machine["copy_bytes_per_s"], computed / machine["matrix_flops_per_s"]
    seconds, floor = run_steps * best["ms"] / 1e3, run_steps * max(memory, compute)
    packs = METHODS * DATA_SETS * -(-ALIKE // best["runs"])
    return {
        "models": MODELS, "run_steps": run_steps, "packs": packs, "runs_of_a_pack": best["runs"],
        "flops": run_steps * computed, "bytes": run_steps * moved,
        "ms_run_step": best["ms"], "ms_low": best["ms_low"], "ms_high": best["ms_high"],
        "floor_ms": 1e3 * max(memory, compute), "memory_floor_ms": 1e3 * memory, "compute_floor_ms": 1e3 * compute,
        "days": seconds / DAY, "years": seconds / YEAR, "floor_days": floor / DAY,
        "recording_days": packs * best["compile_s"] / DAY,
        "share_of_roofline": floor / seconds, "bound": "memory" if memory >= compute else "compute",
        "alone_ms": next((row["ms"] for row in rows if row["runs"] == 1), None),
        "reported_years": REPORTED_YEARS, "reported_ms_run_step": 1e3 * REPORTED_YEARS * YEAR / run_steps,
    }  # fmt: skip


def words(of: Mapping[str, Any], device: str) -> str:
    """The same in sentences."""
    return (
        f"{of['models']:,} models x {STEPS:,} steps = {of['run_steps']:.3g} run-steps: {of['flops']:.3g} FLOPs and "
        f"{of['bytes']:.3g} bytes.\n"
        f"On {device}: {of['ms_run_step']:.3g} ms a run-step in packs of {of['runs_of_a_pack']}: {of['days']:,.0f} "
        f"days ({of['years']:.2f} years), and {of['recording_days']:.1g} days of recording {of['packs']:,} packs.\n"
        f"Floor: {of['floor_ms']:.3g} ms, {of['floor_days']:,.0f} days, bound by {of['bound']} (memory "
        f"{of['memory_floor_ms']:.3g} ms, arithmetic {of['compute_floor_ms']:.3g} ms): {of['share_of_roofline']:.0%} "
        f"of the roofline is reached.\n"
        f"Reported for P100s: {of['reported_years']} years, {of['reported_ms_run_step']:.3g} ms a run-step."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", default="", help="pack sizes; 1,2,4 on a CPU, 1,16,64 elsewhere")
    parser.add_argument("--steps", type=int, help="of a sample; a multiple of 32")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--from", dest="given", type=Path, help="a file that this script wrote")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.given:
        found = json.loads(arguments.given.read_text())["measured"]
    else:
        device = choose(arguments.device)
        cpu = device.type == "cpu"
        sizes = sorted(map(int, (arguments.runs or ("1,2,4" if cpu else "1,16,64")).split(",")))
        steps = arguments.steps or (32 if cpu else 256)
        found = measured(device, sizes, steps, arguments.repeats, arguments.precision)
    computed = study(found)
    print(words(computed, found["made"]["device"]))  # noqa: T201
    print(f"Before, {found['load']:.1f} other processes wanted its cores.")  # noqa: T201
    if arguments.out:
        arguments.out.write_text(json.dumps({"study": computed, "measured": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
