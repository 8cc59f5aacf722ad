"""Every measurement of speed on one device, by one command: results/<device>/*.json beside this file.

    python tests/benchmarks/measure.py [--device auto] [--only NAME] [--out FOLDER]

The peers (pythae, Lightning) are in it where they are installed: see peers/README.md. Nothing else should run on the
machine meanwhile; on two CPU cores it takes about half an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from aebench.device import choose, cores

HERE = Path(__file__).parent
DEVICES = ("cpu", "cuda", "mps")
LIMIT = "300"
"""Seconds of a point of a curve: enough for 512 runs, and for a width of 4096, on two cores."""


def script(out: Path, name: str, *words: str) -> list[str]:
    """One of the files beside this one, and where it writes."""
    return [sys.executable, str(HERE / name), *words, "--out", str(out / f"{Path(name).stem}.json")]


def commands(device: str, out: Path) -> dict[str, list[str]]:
    """Name -> what measures it on this device."""
    on = ["--device", device]
    found = {
        "peers": [sys.executable, str(HERE / "peers" / "compare.py"), *on, "--out", str(out / "peers.json")],
        "precision": script(out, "precision.py", *on),
        "convolution": script(out, "convolution.py", *on, "--runs", "4,16" if device == "cpu" else "16,64"),
        "first_layer": script(out, "first_layer.py", *on),
        "study": script(out, "study.py", *on),
        "bench": [sys.executable, "-m", "aebench", "bench", *on, "--out", str(out / "bench")],
    }
    for axis in ("runs", "batch", "width", "examples"):
        words = ["bench", *on, "--grow", axis, "--limit", LIMIT, "--out", str(out / f"grow_{axis}")]
        found[f"grow_{axis}"] = [sys.executable, "-m", "aebench", *words]
    own = ("training", "around", "busy", "pack_size", "traffic") if device == "cpu" else ()
    own += ("processes",) if device == "cpu" and cores() > 1 else ()
    return found | {name: script(out, f"{name}.py") for name in own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=("auto", *DEVICES))
    parser.add_argument("--only", action="append", help="this measurement; again for more")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = choose(arguments.device).type
    out: Path = arguments.out or HERE / "results" / device
    todo = commands(device, out)
    if unknown := set(arguments.only or ()) - set(todo):
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(todo)}")
    out.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000", **os.environ}
    failed: list[str] = []
    for name, command in todo.items():
        if arguments.only and name not in arguments.only:
            continue
        begin = time.perf_counter()
        done = subprocess.run(command, env=environment, check=False)
        print(f"{name}: exit {done.returncode}, {time.perf_counter() - begin:.0f} s", flush=True)  # noqa: T201
        failed += [name] if done.returncode else []
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
