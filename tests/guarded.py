"""A small suite for faults, what must not depend on them, and commands run in forks of a process that has torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aebench.store import Store

SUITE = """\
name: trial
about: four packs of a moment each
seeds: 2
data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}
network: {kind: mlp, hidden: [8]}
train: {steps: 160, batch: 16}
runs:
  - {variant: vae, sweep: {beta: [0.1, 1]}, train: {keep: best_validation}}
  - {variant: linear_ae, train: {lr: {points: {0: 1e-2, 1: 1e-3}}}}
  - {variant: ae, train: {optimizer: {name: sgd, momentum: 0.9}}}
  - {variant: denoising_ae, train: {clip: 1.0}}
metrics: [reconstruction, energy]
figures: [curves]
"""
RUNS = 10
COMMAND = ("run", "trial.yaml", "--device", "cpu", "--no-report", "--checkpoint", "0")

_FORKING = """
import json, os, random, signal, sys, time
from pathlib import Path

import torch
import aebench.store.frame, aebench.tables, aebench.tuning
import aebench.keeper, aebench.work
from aebench.cli import main
from aebench.work import Worker

def noting(attempt):
    def noted(self, pack, *rest):
        with open("trained.log", "a") as log:
            log.write("".join(f"{os.getpid()} {run.id}\\n" for run in pack))
        return attempt(self, pack, *rest)
    return noted

Worker.attempt = noting(Worker.attempt)

def start(words, folder):
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    with open("out.log", "a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.argv = ["aebench", *words]
    try:
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code or 0)
    finally:
        sys.stdout.flush()
    os._exit(0)

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

given = json.loads(sys.argv[1])
# what torch sets up once is there in every fork; but for derivatives, whose threads no fork survives
from torch.fx.experimental.proxy_tensor import make_fx
make_fx(torch.vmap(torch.sin), tracing_mode="fake")(torch.ones(2, 2))
Path("straight").mkdir()
Path("straight/trial.yaml").write_text(Path("trial.yaml").read_text())
if end(start(["run", "trial.yaml", "--device", "cpu", "--no-report"], "straight")):
    sys.exit(Path("straight/out.log").read_text())
"""


def forked(code: str, cwd: Path, given: Any, timeout: float = 300) -> Any:
    """What a script prints as JSON that may `start(words, folder)` commands, each in a fork, and wait for their `end`.

    Each notes in `trained.log` the runs that it begins to train. `given`: what the script is given. In `straight` there
    are the results of an undisturbed command.
    """
    (cwd / "trial.yaml").write_text(SUITE)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _FORKING + code, json.dumps(given)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def results(folder: Path) -> dict[str, Any]:
    """All of the results but times and machines: of each run its values, curves, arrays and weights, bit for bit."""
    store, found = Store(folder / "results" / "trial"), dict[str, Any]()
    for document in store.documents():
        id, error = document["id"], document["error"] or {}
        held = (store.arrays(id), store.weights(id) or {})
        found[id] = {
            "status": document["status"],
            "error": (error.get("kind"), error.get("message")),
            "metrics": {name: entry["value"] for name, entry in document["metrics"].items()},
            "curves": document["curves"],
            "pack": document["cost"].get("pack"),
            "held": [{name: (a.shape, str(a.dtype), a.tobytes()) for name, a in arrays.items()} for arrays in held],
        }
    assert not store.problems
    return found


def leftovers(folder: Path) -> list[str]:
    """Files beside results that nobody needs any more."""
    hidden = [path for path in (folder / "results" / "trial").rglob("*") if path.is_file()]
    return [str(p) for p in hidden if p.name.endswith(".tmp") or {".claims", ".checkpoints"} & set(p.parts)]


def trained(folders: Sequence[Path]) -> list[str]:
    """The runs that were begun to train, each as often as it was."""
    return [line.split()[1] for folder in folders for line in (folder / "trained.log").read_text().splitlines()]
