"""The commands as a user meets them: what is printed where, exit codes, files, signals, what is not imported."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import aebench
from aebench.catalogue import TABLES, listing
from aebench.cli import main
from aebench.metrics import METRICS
from aebench.plugins import resolve
from aebench.store import Store
from aebench.suite import read
from aebench.variants import VARIANTS

POINTS = "{name: pinwheel, n: 256, n_validation: 64, n_test: 64}"
MOONS = "{name: moons, n: 256, n_validation: 64, n_test: 64}"
SUITE = f"""\
name: trial
about: a trial
seeds: 2
data: [{POINTS}, {MOONS}]
network: {{kind: mlp, hidden: [8]}}
train: {{steps: 32, batch: 32}}
runs:
  - {{variant: ae}}
  - {{variant: vae, hyper: {{beta: 0.1}}}}
metrics: [reconstruction, energy]
figures: [curves]
"""
ZOO = """\
name: zoo
about: all there is
seeds: 2
data: digits
network: {kind: mlp, hidden: [8]}
train: {steps: 32, batch: 32}
runs:
  - {variant: linear_ae, sizes: {latent: 4}}
  - {variant: ae, sizes: {latent: 4}}
  - {variant: denoising_ae, sizes: {latent: 4}}
  - {variant: linear_vae, sizes: {latent: 4}}
  - {variant: vae, sizes: {latent: 4}, sweep: {beta: [0.1, 1]}}
  - {variant: beta_vae, sizes: {latent: 4}}
  - {variant: ae, sizes: {latent: 4}, network: {kind: conv, channels: [4]}, seeds: 1}
  - {variant: denoising_ae, sizes: {latent: 4}, network: {kind: conv, channels: [4]}, seeds: 1}
  - {variant: vae, sizes: {latent: 4, reconstruction: bce}, network: {kind: conv, channels: [4]}, seeds: 1}
  - {variant: beta_vae, sizes: {latent: 4}, network: {kind: conv, channels: [4]}, seeds: 1}
metrics: [reconstruction, energy, active_units, sparsity, denoising, {throughput: {batch: 50, repeats: 4}}, size]
figures: [beta_sweep, rate_distortion, latent, reconstructions, samples, curves]
"""
ZOO_RUNS = 7 * 2 + 4


class Said(NamedTuple):
    """What a command left: its exit code, and the text on stdout and stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


def called(words: tuple[object, ...]) -> int:
    """`aebench words...` in this process: its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["aebench", *map(str, words)])
        patch.setenv("OMP_WAIT_POLICY", "passive")
        patch.setenv("COLUMNS", "100")
        try:
            main()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(1)
    return 0


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("run", "trial.yaml")`: a command in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = called(words)
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A folder in which every variant has run, and what was said. Not to be written to."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "zoo.yaml").write_text(ZOO)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = called(("run", "zoo.yaml", "--device", "cpu"))
    return folder, Said(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the trial has run. Not to be written to: take a `copy`."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "trial.yaml").write_text(SUITE)
    aebench.run(folder / "trial.yaml", out=folder, device="cpu")
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """The folder that `cli` stands in, with the trial and its results."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def write(text: str, name: str = "trial.yaml") -> str:
    """A suite in the folder that `cli` stands in."""
    Path(name).write_text(text)
    return name


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def documents(folder: Path, name: str = "trial") -> list[dict[str, Any]]:
    store = Store(folder / "results" / name)
    found = store.documents()
    assert not store.problems
    return found


def one_error(said: Said) -> str:
    """The line of an error: alone on stderr, exit code 2, nothing on stdout."""
    assert said.err.startswith("error: "), said
    assert said.err.count("\n") == 1, said.err
    assert said.err.endswith("\n")
    assert said.out == ""
    assert said.code == 2
    return said.err.removeprefix("error: ").rstrip()


def joined(text: str) -> str:
    """Text without what wrapping adds to it."""
    return "".join(text.split())


# --- the main job


def test_networks_and_variants_run_to_a_report(zoo: tuple[Path, Said]):
    folder, said = zoo
    assert said.code == 0, said.err
    held = documents(folder, "zoo")
    assert len(held) == ZOO_RUNS
    assert {d["status"] for d in held} == {"ok"}
    combinations = {(d["spec"]["variant"], d["spec"]["network"]["kind"]) for d in held}
    assert combinations == {
        ("linear_ae", "linear"), ("linear_vae", "linear"),
        *((v, n) for v in ("ae", "denoising_ae", "vae", "beta_vae") for n in ("mlp", "conv")),
    }  # fmt: skip
    store = Store(folder / "results" / "zoo")
    for document in held:
        arrays = store.arrays(document["id"])
        assert arrays["x"].shape == arrays["x_hat"].shape == (10, 1, 8, 8)
        assert store.weights(document["id"])
        assert all(m["value"] is not None for m in document["metrics"].values())
    assert {p.name for p in folder.iterdir()} == {"zoo.yaml", "results", "reports"}


def test_the_table_is_on_stdout_and_words_about_it_on_stderr(zoo: tuple[Path, Said]):
    _, said = zoo
    for variant, networks in {
        "linear_ae": 1,
        "linear_vae": 1,
        "ae": 2,
        "denoising_ae": 2,
        "vae": 2,
        "beta_vae": 2,
    }.items():
        assert len(re.findall(rf"^{variant} ", said.out, re.MULTILINE)) >= networks
    assert "sse" in said.out
    assert f"results: {Path('results/zoo')}" in said.out
    assert f"report:  {Path('reports/zoo/index.html')}" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    lines = said.err.splitlines()
    assert lines[-2] == f"{ZOO_RUNS} runs: {ZOO_RUNS} trained, 0 measured again, 0 failed"
    assert re.fullmatch(r"[\d.]+ s: .*compile \d+%.*", lines[-1])
    assert lines[0].startswith(f"2/{ZOO_RUNS} runs  linear_ae, linear, on digits: 2 runs")
    assert lines[-3].startswith(f"{ZOO_RUNS}/{ZOO_RUNS} runs  ")


def test_the_report_shows_every_figure(zoo: tuple[Path, Said]):
    folder, _ = zoo
    page = folder / "reports" / "zoo" / "report.md"
    links = re.findall(r"\]\(((?:figures|tables)/[^)]+)\)", page.read_text())
    assert len(set(links)) == len(list((page.parent / "figures").iterdir())) + len(
        list((page.parent / "tables").iterdir())
    )
    for link in links:
        assert (page.parent / link).stat().st_size > 500 or link.endswith(".csv")
    names = {Path(link).name.partition("-")[0] for link in links if link.endswith(".png")}
    assert names >= {"beta_sweep", "rate_distortion", "latent", "reconstructions", "samples"}  # one point is no curve
    assert all((page.parent / link).read_bytes()[1:4] == b"PNG" for link in links if link.endswith(".png"))


COMMANDS = [
    ["--help"], ["--version"], ["run", "--help"], ["list"], ["list", "variants", "--json"],
    ["validate", "zoo.yaml"], ["validate", "quickstart"], ["table", "results/zoo"],
    ["table", "results/zoo", "--runs", "--format", "csv"], ["data", "list"], ["data", "where", "mnist"],
    ["run", "zoo.yaml"], ["run", "zoo.yaml", "--json"], ["report", "results/zoo"],
    *(["explain", name] for kind in (*TABLES, "suites") for name in listing(kind)),
]  # fmt: skip
WITHOUT_TORCH = """
import contextlib, io, json, sys
from aebench.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["aebench", *words]
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    assert code == 0, (words, code)
    assert "torch" not in sys.modules, words
    print(json.dumps([words, out.getvalue()]))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "COLUMNS": "100"}


def test_what_needs_no_torch_does_not_import_it(zoo: tuple[Path, Said], tmp_path: Path):
    folder = shutil.copytree(zoo[0], tmp_path / "zoo")
    before = files(folder / "results")
    script = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(COMMANDS)]
    done = subprocess.run(script, cwd=folder, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, _ in said] == COMMANDS
    assert all(out.strip() for _, out in said)
    assert f"{ZOO_RUNS} runs: nothing left to do, 0 failed" in done.stderr
    assert files(folder / "results") == before


def test_python_m_aebench_is_the_command(tmp_path: Path):
    command = [sys.executable, "-W", "error", "-m", "aebench", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{aebench.__version__}\n", "")


def test_again_does_nothing(copy: Path, cli: Cli):
    before = files(copy)
    said = cli("run", "trial.yaml")
    assert said.code == 0
    assert said.err == "8 runs: nothing left to do, 0 failed\n"
    assert files(copy) == before


def test_out_is_where_results_and_reports_go(cli: Cli, tmp_path: Path):
    said = cli("run", write(SUITE), "--out", "elsewhere/deep", "--seeds", "1", "--device", "cpu")
    assert said.code == 0, said.err
    assert {path.name for path in tmp_path.iterdir()} == {"trial.yaml", "elsewhere"}
    assert len(documents(tmp_path / "elsewhere" / "deep")) == 4
    assert (tmp_path / "elsewhere/deep/reports/trial/report.md").is_file()
    assert "report:  elsewhere/deep/reports/trial/index.html" in said.out


def test_a_shipped_suite_runs_from_any_folder(cli: Cli, tmp_path: Path):
    said = cli("run", "quickstart", "--smoke", "--no-report", "--device", "cpu", "--quiet")
    assert said.code == 0, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    held = documents(tmp_path, "quickstart_smoke")
    assert sorted(d["spec"]["variant"] for d in held) == sorted(
        run.spec["variant"] for run in read("quickstart", seeds=1).runs
    )


def test_every_variant_runs_with_every_metric_that_fits_it(cli: Cli, tmp_path: Path):
    said = cli("run", "notes", "--smoke", "--device", "cpu", "--quiet", "--set", f"metrics={list(METRICS)}")
    assert said.code == 0, said.err
    held = documents(tmp_path, "notes_smoke")
    assert {d["spec"]["variant"] for d in held} == set(VARIANTS)
    for document in held:
        variant = resolve(VARIANTS, "variants", document["spec"]["variant"])
        sizes = variant.sizes(**document["spec"]["sizes"])
        fits = {
            name for name in METRICS if resolve(METRICS, "metrics", name).applies(variant.offers(sizes), sizes.latent)
        }
        assert {entry["metric"] for entry in document["metrics"].values()} == fits
    again = cli("run", "notes", "--smoke", "--device", "cpu", "--quiet", "--set", f"metrics={list(METRICS)}")
    assert again.code == 0
    assert documents(tmp_path, "notes_smoke") == held


def test_smoke_is_short_and_in_a_folder_of_its_own(copy: Path, cli: Cli):
    before = files(copy)
    said = cli("run", "trial.yaml", "--smoke", "--device", "cpu")
    assert said.code == 0, said.err
    held = documents(copy, "trial_smoke")
    assert [(d["spec"]["train"]["steps"], d["spec"]["seed"]) for d in held] == [(20, 0)] * 4
    assert (copy / "reports" / "trial_smoke" / "report.md").is_file()
    after = files(copy)
    assert {name: after[name] for name in before} == before


def test_seeds_and_set_change_the_suite(cli: Cli, tmp_path: Path):
    said = cli(
        "run", write(SUITE), "--seeds", 3, "--set", "train.steps=5", "--set", "data=digits", "--device", "cpu",
        "--set", "runs.1.hyper.beta=2", "--set", "name=other", "--no-report",
    )  # fmt: skip
    assert said.code == 0, said.err
    held = documents(tmp_path, "other")
    assert len(held) == 2 * 3
    assert {d["spec"]["train"]["steps"] for d in held} == {5}
    assert {d["spec"]["data"]["name"] for d in held} == {"digits"}
    assert {d["spec"]["seed"] for d in held} == {0, 1, 2}
    assert {d["spec"]["hyper"].get("beta") for d in held} == {None, 2.0}
    assert not (tmp_path / "reports").exists()
    assert "report:" not in said.out


def test_quiet_says_only_how_it_ended(cli: Cli):
    said = cli("run", write(SUITE), "--quiet", "--seeds", "1", "--no-report", "--device", "cpu")
    assert said.code == 0
    assert said.err == "4 runs: 4 trained, 0 measured again, 0 failed\n"
    assert "sse" in said.out


def test_json_is_all_there_is_on_stdout(cli: Cli, tmp_path: Path):
    said = cli("run", write(SUITE), "--json", "--seeds", "1", "--device", "cpu")
    assert said.code == 0
    assert json.loads(said.out) == {
        "results": "results/trial", "report": "reports/trial/index.html", "trained": 4, "measured": 0, "failed": [],
        "notes": [],
    }  # fmt: skip
    assert (tmp_path / "reports/trial/report.md").is_file()
    more = "metrics=[reconstruction, energy, size]"
    again = cli("run", "trial.yaml", "--json", "--seeds", "1", "--no-report", "--set", more, "--device", "cpu")
    said = json.loads(again.out)
    assert (said["trained"], said["measured"], said["report"]) == (0, 4, None)


def test_dry_run_estimates_and_keeps_nothing(cli: Cli, tmp_path: Path):
    write(SUITE)
    before = files(tmp_path)
    said = cli("run", "trial.yaml", "--dry-run", "--device", "cpu")
    assert said.code == 0, said.err
    for variant in ("ae", "vae"):
        for data in ("pinwheel", "moons"):
            assert re.search(rf"^{variant}, mlp, on {data} +2 +packed +[0-9,]+ +[0-9.]+ ", said.out, re.MULTILINE), (
                said.out
            )
    assert "8 runs: 0 finished, 0 to measure again" in said.out
    assert re.search(r"about \d+ s of training", said.out)
    found = json.loads(cli("run", "trial.yaml", "--dry-run", "--json", "--device", "cpu").out)
    assert [pack["runs"] for pack in found["packs"]] == [2] * 4
    assert found["seconds"] == pytest.approx(sum(pack["seconds"] for pack in found["packs"]))
    assert found["seconds"] > 0
    assert found["packs"][0]["parameters"] == (2 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + (8 * 2 + 2)
    assert files(tmp_path) == before


def test_dry_run_of_what_is_done(copy: Path, cli: Cli):
    before = files(copy)
    said = cli("run", "trial.yaml", "--dry-run", "--set", "metrics=[size]", "--device", "cpu")
    assert "8 runs: 8 finished, 8 to measure again" in said.out
    assert json.loads(cli("run", "trial.yaml", "--dry-run", "--json", "--device", "cpu").out)["packs"] == []
    assert files(copy) == before


# --- variants of one's own

OWN = """
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from aebench.variants.autoencoder import AE

HEALTHY = Path(__file__).with_name("healthy")

class Sizes(NamedTuple):
    latent: int = 2
    reconstruction: str = "mse"
    depth: int = 1

class Hyper(NamedTuple):
    value: float = 1.0

def noise(batch, event_shape, sizes):
    if sizes.depth == 2 and not HEALTHY.exists():
        raise ArithmeticError("depth 2 has no solution")
    return {}

def loss(net, x, noise, hp):
    weight = hp.value.abs() if HEALTHY.exists() else torch.log(hp.value)
    return {"loss": weight * net.error(x, net.decode(net.encode(x)))}

MINE = replace(AE, name="mine", noise=noise, sizes=Sizes, losses={"": loss}, hyper=Hyper)
"""
USING = """\
name: trial
seeds: 1
data: {name: pinwheel, n: 256, n_validation: 64, n_test: 64}
network: {kind: mlp, hidden: [8]}
train: {steps: 32, batch: 32}
runs:
  - {variant: 'code/mine.py:MINE', hyper: {value: 3}, sweep: {depth: [1, 2]}}
  - {variant: 'code/mine.py:MINE', hyper: {value: -1}}
metrics: [reconstruction]
"""


def test_code_of_ones_own_wants_permission_and_its_failures_are_named(cli: Cli, tmp_path: Path):
    Path("code").mkdir()
    Path("code/mine.py").write_text(OWN)
    before = {*files(tmp_path), write(USING)}
    for words in (["run"], ["validate"], ["run", "--dry-run"]):
        line = one_error(cli(*words, "trial.yaml"))
        assert line.startswith("trial.yaml:7: runs[0].variant: ")
        assert "'code/mine.py:MINE'" in line
        assert "--allow-code" in line
    assert set(files(tmp_path)) == before
    assert cli("validate", "trial.yaml", "--allow-code").code == 0
    said = cli("run", "trial.yaml", "--allow-code", "--device", "cpu")
    assert said.code == 1
    statuses = {(d["spec"]["sizes"]["depth"], d["spec"]["hyper"]["value"]): d for d in documents(tmp_path)}
    assert {key: d["status"] for key, d in statuses.items()} == {
        (1, 3.0): "ok", (2, 3.0): "failed", (1, -1.0): "diverged",
    }  # fmt: skip
    failed, diverged = statuses[2, 3.0], statuses[1, -1.0]
    lines = said.err.splitlines()
    assert f"failed: code/mine.py:MINE on pinwheel, seed 0 ({failed['id']}): depth 2 has no solution" in lines
    assert any(
        line.startswith(f"diverged: code/mine.py:MINE on pinwheel, seed 0 ({diverged['id']}): ") for line in lines
    )
    assert lines[-2] == "3 runs: 3 trained, 0 measured again, 2 failed"
    assert "Traceback" not in said.err
    assert "in noise" in failed["error"]["traceback"]
    page = (tmp_path / "reports/trial/report.md").read_text()
    assert "1 of 3 runs ended well, 2 did not" in page
    assert "depth 2 has no solution" in page

    again = cli("run", "trial.yaml", "--allow-code", "--json")
    assert again.code == 1
    assert {f["status"]: f["id"] for f in json.loads(again.out)["failed"]} == {
        "failed": failed["id"], "diverged": diverged["id"],
    }  # fmt: skip
    assert json.loads(again.out)["trained"] == 0

    Path("code/healthy").touch()
    retried = cli("run", "trial.yaml", "--allow-code", "--retry-failed", "--device", "cpu")
    assert retried.code == 0, retried.err
    assert {d["status"] for d in documents(tmp_path)} == {"ok"}
    assert "3 runs: " in retried.err


# --- interruption

LONG = SUITE.replace(f", {MOONS}", "").replace("steps: 32", "steps: 800")
"""Two packs, each of a second or so."""


def wait_for(found: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    begin = time.monotonic()
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begin < seconds
        time.sleep(0.002)


def numbers(folder: Path) -> dict[str, dict[str, float]]:
    return {d["id"]: {name: m["value"] for name, m in d["metrics"].items()} for d in documents(folder)}


def stored(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("results/trial/*.json")} - {"suite"}


def test_ctrl_c_keeps_finished_packs_and_says_how_to_go_on(tmp_path: Path):
    (tmp_path / "trial.yaml").write_text(LONG)
    command = [sys.executable, "-m", "aebench", "run", "trial.yaml", "--device", "cpu", "--no-report"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(stored(tmp_path)) == 2, process)
    time.sleep(0.05)  # into the training of the second pack
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(kept := stored(tmp_path)) == 2
    assert err.splitlines()[-1] == (
        "interrupted: 2 of 4 runs are kept in results/trial; the same command trains the rest"
    )
    assert "Traceback" not in err
    assert out == ""
    before = files(tmp_path)
    frame = aebench.run(tmp_path / "trial.yaml", out=tmp_path, device="cpu", report=False)
    assert len(frame) == 4
    after = files(tmp_path)
    assert all(after[name] == before[name] for name in before if any(id in name for id in kept))
    aebench.run(tmp_path / "trial.yaml", out=tmp_path / "straight", device="cpu", report=False)
    assert numbers(tmp_path) == numbers(tmp_path / "straight")


def test_ctrl_c_right_after_storing_counts_what_is_stored(copy: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    shutil.rmtree(copy / "results")
    publish = Store.publish_all

    def publish_and_stop(store: Store, publications: Any) -> None:
        publish(store, publications)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish_all", publish_and_stop)
    said = cli("run", "trial.yaml", "--device", "cpu", "--quiet")
    assert said.code == 130
    assert len(documents(copy)) == 2
    assert said.err == "interrupted: 2 of 8 runs are kept in results/trial; the same command trains the rest\n"


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["run", "trial.yaml", "--set", "train.steps=3"], "aebench.pipeline.execute"),
        (["run", "trial.yaml", "--set", "train.steps=3"], "aebench.pipeline.plan"),
        (["run", "trial.yaml", "--dry-run"], "aebench.estimate.estimate"),
        (["evaluate", "results/trial"], "aebench.pipeline.evaluate"),
        (["report", "results/trial"], "aebench.reporting.report"),
        (["table", "results/trial"], "aebench.tables.summary"),
    ],
)
def test_ctrl_c_is_130_whenever_it_comes(
    copy: Path, cli: Cli, words: list[str], place: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(place, interrupt)
    before = files(copy)
    said = cli(*words)
    assert said.code == 130
    assert "Traceback" not in said.err
    assert said.err.count("\n") <= 2
    assert files(copy) == before


KILLED = """
import os, signal, sys, time
from pathlib import Path

import torch
import aebench.work
from aebench.cli import main

def stored():
    return len(list(Path("results/trial").glob("[0-9a-f]*.json")))

def parts():
    return len(list(Path("results/trial").rglob(".*.tmp"))) + len(list(Path("results/trial").glob("*.npz")))

for how in sys.argv[1].split():
    name, what, delay = how.split(":")
    child = os.fork()
    if child == 0:
        sys.argv = ["aebench", "run", "trial.yaml", "--device", "cpu", "--no-report", "--quiet"]
        main()
        os._exit(0)
    look = {"document": stored, "part": parts}[what]
    before, begin = look(), time.monotonic()
    while look() <= before and time.monotonic() - begin < 30:
        time.sleep(0.0005)
    time.sleep(float(delay))
    os.kill(child, getattr(signal, name))
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), stored(), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_runs_leave_no_half_document(tmp_path: Path):
    """Each kill comes at another moment of storing or training; the next run goes on from what is there."""
    runs = "  - {variant: ae, sweep: {latent: [1, 2, 3, 4, 5, 6, 7, 8]}}\n"
    content = SUITE.replace(f"[{POINTS}, {MOONS}]", POINTS).replace("seeds: 2", "seeds: 4")
    content = re.sub(r"runs:\n.*(?=metrics)", f"runs:\n{runs}", content, flags=re.DOTALL)
    (tmp_path / "trial.yaml").write_text(content)
    kills = "SIGKILL:part:0 SIGKILL:document:0 SIGTERM:document:0.001 SIGKILL:part:0.003 SIGKILL:document:0.04"
    script = [sys.executable, "-c", KILLED, kills]
    killed = subprocess.run(script, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100)
    assert killed.returncode == 0, killed.stderr
    ends = [line.split() for line in killed.stdout.splitlines()]
    assert [end[0] for end in ends] == ["-9", "-9", "143", "-9", "-9"]
    counts = [int(end[1]) for end in ends]
    assert counts == sorted(counts)
    assert 2 <= counts[-1] < 32
    store = Store(tmp_path / "results" / "trial")
    for document in documents(tmp_path):
        assert document["status"] == "ok"
        assert store.arrays(document["id"])
        assert store.weights(document["id"])
    aebench.run(tmp_path / "trial.yaml", out=tmp_path, device="cpu", report=False)
    assert not list(tmp_path.rglob("*.tmp"))
    aebench.run(tmp_path / "trial.yaml", out=tmp_path / "straight", device="cpu", report=False)
    assert len(documents(tmp_path)) == 32
    assert numbers(tmp_path) == numbers(tmp_path / "straight")


# --- what the system refuses


def test_what_an_output_cannot_show_is_no_regression(tmp_path: Path):
    """Of comparing, whose exit code 1 says something else, and of all that is said in Greek."""
    entry = {"name": "t", "fullname": "t", "stats": {"min": 1.0, "median": 1.0}, "extra_info": {"exact": {"α": 1}}}
    for name in ("base.json", "new.json"):
        (tmp_path / name).write_text(json.dumps({"machine_info": {}, "benchmarks": [entry]}))
    spoken = environment() | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    for words in (["compare", "base.json", "new.json"], ["explain", "vae"]):
        command = [sys.executable, "-m", "aebench", *words]
        done = subprocess.run(command, cwd=tmp_path, env=spoken, capture_output=True, check=False)
        assert done.returncode != 1, done.stderr
        assert b"?" in done.stdout
        assert b"Traceback" not in done.stderr
    command = [sys.executable, "-m", "aebench", "compare", "base.json", "new.json", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=spoken, capture_output=True, check=False)
    assert "α" in str(json.loads(done.stdout)["findings"])


@pytest.mark.parametrize("command", ["compare", "noise"])
@pytest.mark.parametrize("keep", ["file", "file/in", "k" * 5000])
def test_where_nothing_can_be_kept_is_one_line(cli: Cli, tmp_path: Path, command: str, keep: str):
    (tmp_path / "file").write_text("mine")
    said = cli(command, *([sys.prefix] * (2 if command == "compare" else 1)), "--keep", keep)
    assert said.code == 2
    assert said.err.startswith(f"error: --keep {keep[:200]}")
    why = said.err.partition(": no folder, and none can be made there: ")[2]
    assert why in ("File exists\n", "Not a directory\n", "File name too long\n")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_that_the_system_refuses_is_one_line(cli: Cli):
    said = cli("compare", "b" * 5000, "HEAD")
    assert said.code == 2
    assert re.fullmatch(r"error: b+…: File name too long\n", said.err)


# --- bad input


def with_runs(runs: str) -> str:
    return re.sub(r"runs:\n.*(?=metrics)", f"runs:\n{runs}", SUITE, flags=re.DOTALL)


def changed(old: str, new: str) -> str:
    assert SUITE.count(old) == 1
    return SUITE.replace(old, new)


FAULTS = {
    "unknown key": (changed("train:", "trian:"), 6, "'trian' train"),
    "unknown key of train": (changed("steps:", "step:"), 6, "'step' steps"),
    "unknown key of a run": (changed("hyper:", "hyperr:"), 9, "'hyperr' hyper"),
    "unknown hyperparameter": (changed("beta:", "betta:"), 9, "'betta' beta"),
    "unknown size": (with_runs("  - {variant: ae, sizes: {latnet: 3}}\n"), 8, "'latnet' latent"),
    "unknown variant": (changed("variant: vae", "variant: vea"), 9, "'vea' vae"),
    "unknown variant, far from any": (
        changed("variant: vae", "variant: xyzzy"), 9, "'xyzzy' ae beta_vae denoising_ae linear_ae linear_vae vae"),
    "unknown data": (changed(f"[{POINTS}, {MOONS}]", "pinwhel"), 4, "'pinwhel' pinwheel"),
    "unknown parameter of data": (changed(f"[{POINTS}, {MOONS}]", "{name: pinwheel, m: 3}"), 4, "'m' pinwheel"),
    "unknown metric": (changed("reconstruction,", "reconstrution,"), 10, "'reconstrution' reconstruction"),
    "unknown option of a metric": (changed("energy]", "{denoising: {sigma: [1]}}]"), 10, "'sigma' sigmas"),
    "unknown network": (changed("mlp", "mpl"), 5, "'mpl' mlp"),
    "unknown option of a network": (changed("hidden", "hiden"), 5, "'hiden' hidden"),
    "unknown figure": (changed("[curves]", "[curvs]"), 11, "'curvs' curves"),
    "unknown optimizer": (changed("batch: 32", "optimizer: adan"), 6, "'adan' adam"),
    "unknown reconstruction": (
        with_runs("  - {variant: ae, sizes: {reconstruction: msee}}\n"), 8, "'msee' reconstruction mse"),
    "a float for an int": (changed("steps: 32", "steps: 1.5"), 6, "train.steps 1.5 integer"),
    "text for an int": (changed("batch: 32", "batch: many"), 6, "train.batch many integer"),
    "text for a float": (changed("batch: 32", "lr: fast"), 6, "train.lr fast number"),
    "a float size": (with_runs("  - {variant: ae, sizes: {latent: 2.0}}\n"), 8, "latent 2.0 integer"),
    "a number for a name": (changed("name: trial", "name: 3"), 1, "name 3 text"),
    "a number for a truth value": (SUITE + "keep_weights: 1\n", 12, "keep_weights 1 boolean"),
    "a number for a list": (changed("[8]", "8"), 5, "hidden 8 list"),
    "a mapping for runs": (with_runs("  {variant: ae}\n"), 7, "runs list"),
    "an empty sweep": (with_runs("  - {variant: vae, sweep: {}}\n"), 8, "sweep empty"),
    "a sweep over nothing": (with_runs("  - {variant: vae, sweep: {beta: []}}\n"), 8, "sweep.beta empty"),
    "a sweep of no values": (
        with_runs("  - {variant: vae, sweep: {beta: {logspace: [0, 1, 0]}}}\n"), 8, "sweep.beta 0"),
    "no runs": (with_runs("  []\n"), 7, "runs empty"),
    "no data": (changed(f"[{POINTS}, {MOONS}]", "[]"), 4, "data empty"),
    "no seeds": (changed("seeds: 2", "seeds: []"), 3, "seeds empty"),
    "a value twice": (with_runs("  - {variant: vae, sweep: {beta: [1, 1.0]}}\n"), 8, "sweep.beta 1.0 twice"),
    "a run twice": (with_runs("  - {variant: ae}\n  - {variant: ae}\n"), 9, "runs[1] same runs[0]"),
    "a seed twice": (changed("seeds: 2", "seeds: [1, 1]"), 3, "seed 1 twice"),
    "a data set twice": (changed(MOONS, POINTS), 4, "same data"),
    "a metric twice": (changed("energy]", "reconstruction]"), 10, "reconstruction twice"),
    "no steps": (changed("steps: 32", "steps: 0"), 6, "train.steps 0 greater"),
    "no batch": (changed("batch: 32", "batch: -1"), 6, "train.batch -1 greater"),
    "no latent": (with_runs("  - {variant: ae, sizes: {latent: 0}}\n"), 8, "latent 0 greater"),
    "no hidden unit": (changed("[8]", "[8, -8]"), 5, "hidden -8 greater"),
    "no points": (changed(f"[{POINTS}, {MOONS}]", "{name: moons, n: -5}"), 4, "moons n -5 greater"),
    "no seed at all": (changed("seeds: 2", "seeds: 0"), 3, "seeds 0 greater"),
    "a negative seed": (changed("seeds: 2", "seeds: [-1]"), 3, "seeds -1 greater"),
    "a negative rate": (changed("batch: 32", "lr: -1"), 6, "train.lr -1 greater"),
    "a negative weight": (changed("beta: 0.1", "beta: -1"), 9, "hyper.beta -1 greater"),
    "a million seeds": (changed("seeds: 2", "seeds: 1000000"), 3, "seeds 1000000 100000"),
    "a million values": (
        with_runs("  - {variant: vae, sweep: {beta: {linspace: [0, 1, 1000000]}}}\n"), 8, "1000000 100000"),
    "a million together": (
        changed("seeds: 2", "seeds: 1000").replace("hyper: {beta: 0.1}", "sweep: {beta: {linspace: [0, 1, 1000]}}"),
        9, "runs 100000"),
    "linear_ae with an mlp": (
        with_runs("  - {variant: linear_ae, network: {kind: mlp}}\n"), 8, "'linear_ae' linear 'mlp'"),
    "a missing file": (changed(f"[{POINTS}, {MOONS}]", "missing.npy"), 4, "'missing.npy' no such file"),
    "a truncated file": (changed(f"[{POINTS}, {MOONS}]", "truncated.npy"), 4, "'truncated.npy' truncated"),
    "a file of one axis": (changed(f"[{POINTS}, {MOONS}]", "flat.npy"), 4, "'flat.npy' (60,) [n, d]"),
    "a file of integers": (changed(f"[{POINTS}, {MOONS}]", "integers.npy"), 4, "'integers.npy' int64 float"),
    "parts of two shapes": (changed(f"[{POINTS}, {MOONS}]", "parts.npz"), 4, "'parts.npz' (2,) (3,) shape"),
    "a file of nothing": (changed(f"[{POINTS}, {MOONS}]", "nothing.npy"), 4, "'nothing.npy' empty"),
    "a file of another kind": (changed(f"[{POINTS}, {MOONS}]", "points.txt"), 4, "'points.txt' .npy .npz"),
    "a list": ("- name: trial\n", 1, "mapping"),
    "a text": ("just words\n", 1, "mapping just words"),
    "nothing": ("", None, "mapping empty"),
    "no YAML": (changed("seeds: 2", "seeds: [2"), None, "YAML"),
    "a key twice": (SUITE + "name: other\n", 12, "'name' twice"),
    "no name": (changed("name: trial\n", ""), None, "name missing"),
}  # fmt: skip


def lay_files(folder: Path) -> None:
    """Own data that is unfit."""
    np.save(folder / "flat.npy", np.zeros(60, np.float32))
    np.save(folder / "integers.npy", np.zeros((30, 2), np.int64))
    np.save(folder / "nothing.npy", np.zeros((0, 2), np.float32))
    np.savez(folder / "parts.npz", x_train=np.zeros((9, 2), np.float32), x_test=np.zeros((9, 3), np.float32))
    np.save(folder / "truncated.npy", np.zeros((30, 2), np.float32))
    whole = (folder / "truncated.npy").read_bytes()
    (folder / "truncated.npy").write_bytes(whole[:-100])
    (folder / "points.txt").write_text("1 2\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_suite_is_one_line_with_its_place(copy: Path, cli: Cli, fault: str):
    """Results of the same name that are there stay as they are."""
    content, line, words = FAULTS[fault]
    lay_files(copy)
    write(content)
    before = files(copy)
    said = one_error(cli("run", "trial.yaml"))
    place = "trial.yaml:" if line is None else f"trial.yaml:{line}:"
    assert said.startswith(place)
    assert [word for word in words.split() if word not in said] == [], said
    assert one_error(cli("validate", "trial.yaml")) == said
    assert files(copy) == before


UNFIT = {
    "conv on points": (
        with_runs("  - {variant: ae, network: {kind: conv}}\n"), 8, "conv images [channels, h, w] [2]"),
    "too many halvings": (
        with_runs("  - {variant: ae, data: digits, network: {kind: conv, channels: [2, 2, 2, 2]}}\n"), 8,
        "conv 4 halvings [8, 8]"),
    "bce outside of [0, 1]": (
        with_runs("  - {variant: ae, sizes: {reconstruction: bce}}\n"), 8, "'bce' [0, 1] pinwheel"),
    "values that are not finite": (
        changed(f"[{POINTS}, {MOONS}]", "nan.npy"), 4, "'nan.npy' finite row 7"),
}  # fmt: skip
"""Faults that show only where the data meet the network."""


@pytest.mark.parametrize("fault", UNFIT)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(copy: Path, cli: Cli, fault: str):
    content, _, words = UNFIT[fault]
    x = np.zeros((30, 2), np.float32)
    x[7, 1] = np.nan
    np.save("nan.npy", x)
    write(content)
    before = files(copy)
    said = one_error(cli("run", "trial.yaml", "--device", "cpu"))
    assert [word for word in words.split() if word not in said] == [], said
    assert files(copy) == before


@pytest.mark.parametrize("fault", [name for name in UNFIT if name.startswith(("conv", "bce", "too"))])
def test_what_does_not_fit_says_where_it_stands(cli: Cli, fault: str):
    content, line, _ = UNFIT[fault]
    assert one_error(cli("run", write(content), "--device", "cpu")).startswith(f"trial.yaml:{line}:")


@pytest.mark.parametrize("fault", ["conv on points", "too many halvings"])
def test_validate_refuses_a_network_that_does_not_fit(cli: Cli, fault: str):
    """Which needs no data: shapes are known from their headers."""
    said = one_error(cli("validate", write(UNFIT[fault][0])))
    assert [word for word in UNFIT[fault][2].split() if word not in said] == [], said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "train.steps"], "--set train.steps: write KEY=VALUE"),
        (["--set", "=5"], "--set =5: write KEY=VALUE"),
        (["--set", "train.step=5"], "'step' steps"),
        (["--set", "train.steps=many"], "--set train.steps many integer"),
        (["--set", "train.steps=0"], "--set train.steps 0 greater"),
        (["--set", "runs.7.variant=ae"], "--set runs.7.variant runs '7' 2"),
        (["--set", "seeds=[1"], "--set seeds YAML"),
        (["--seeds", "1000000"], "--seeds 1000000 100000"),
        (["--device", "quantum", "--set", "train.steps=3"], "--device quantum auto, cpu, cuda, mps"),
        (["--device", "quantum", "--set", "train.steps=3", "--dry-run"], "--device quantum auto, cpu, cuda, mps"),
        (["--device", "quantum"], "--device quantum auto, cpu, cuda, mps"),
    ],
)  # fmt: skip
def test_faulty_options_are_one_line(copy: Path, cli: Cli, words: list[str], expected: str):
    before = files(copy)
    said = one_error(cli("run", "trial.yaml", *words))
    assert [word for word in expected.split() if word not in said] == [], said
    assert files(copy) == before


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("nothing.yaml", "nothing.yaml: no such file"),
        ("quikstart", "unknown suite 'quikstart': did you mean quickstart?"),
        ("trail.yaml", "trail.yaml: no such file: unknown suite 'trail': did you mean trial"),
        (".", "directory"),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_suite_that_is_not_there(copy: Path, cli: Cli, command: str, suite: str, expected: str):
    before = files(copy)
    assert expected in one_error(cli(command, suite))
    assert files(copy) == before


def test_published_data_that_cannot_be_had(alone: Path, cli: Cli, tmp_path: Path):
    """One line says where it was looked for; nothing is written, `list` and `where` say it is not there."""
    write(SUITE.replace(f"[{POINTS}, {MOONS}]", "mnist"))
    said = one_error(cli("run", "trial.yaml", "--device", "cpu"))
    assert "mnist" in said
    assert str(alone) in said
    assert "AEBENCH_DATA" in said
    assert not (tmp_path / "results").exists()
    assert "mnist" in one_error(cli("data", "fetch", "mnist"))
    listed = {line.split()[0]: line for line in cli("data", "list").out.splitlines() if line.strip()}
    assert re.search(r" no +", listed["mnist"])
    assert re.search(r" yes +", listed["digits"])
    where = cli("data", "where", "mnist")
    assert where.code == 0
    assert f"not here  {alone}" in where.out
    assert "found" not in where.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], "SUITE"),
        (["run", "trial.yaml", "--seeds", "0"], "--seeds"),
        (["run", "trial.yaml", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["list", "nonsense"], "variants"),
        (["table", "results/trial", "--format", "xml"], "parquet"),
    ],
)
def test_wrong_usage_is_exit_code_2(copy: Path, cli: Cli, words: list[str], expected: str):
    before = files(copy)
    said = cli(*words)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert files(copy) == before


# --- the other commands


def test_validate_says_what_would_be_trained(cli: Cli, tmp_path: Path):
    said = cli("validate", write(SUITE), "--seeds", "3")
    assert said.code == 0
    assert re.search(r"^vae, mlp, on moons +3 +3$", said.out, re.MULTILINE)
    assert "trial: 12 runs in 4 packs" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["trial.yaml"]


def test_names_are_printed_as_they_are(cli: Cli):
    """Square brackets mean style to rich."""
    np.save("points[red].npy", np.zeros((30, 2), np.float32))
    said = cli("validate", write(SUITE.replace(f"[{POINTS}, {MOONS}]", "'points[red].npy'")))
    assert said.code == 0
    assert "vae, mlp, on points[red].npy" in said.out


@pytest.mark.parametrize("kind", [*TABLES, "suites"])
def test_list_has_every_name_and_its_line(cli: Cli, kind: str):
    said = cli("list", kind)
    assert said.code == 0
    assert listing(kind)
    for name, line in listing(kind).items():
        assert re.search(rf"^{name}\b", said.out, re.MULTILINE)
        assert joined(line) in joined(said.out)
    assert json.loads(cli("list", kind, "--json").out) == {kind: listing(kind)}


def test_list_of_everything(cli: Cli):
    said = json.loads(cli("list", "--json").out)
    assert said == {kind: listing(kind) for kind in ("variants", "data", "metrics", "networks", "suites")}
    assert {"quickstart", "beta_sweep", "beta_sweep_mnist"} <= set(said["suites"])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in (*TABLES, "suites") for name in listing(kind)])
def test_explain_knows_every_name(cli: Cli, kind: str, name: str):
    said = cli("explain", name)
    assert (said.code, said.err) == (0, "")
    heads = {"variants": "variant", "metrics": "metric", "networks": "network", "suites": "suite"}
    assert re.search(rf"^{heads.get(kind, kind)} {name}\b", said.out, re.MULTILINE)
    wanted = {
        "variants": ["formula", "source", "hyperparameters", "sizes", "latent"],
        "metrics": ["values", "options", "needs of the variant"],
        "networks": ["options"],
        "data": ["events of", "parameters"],
        "suites": ["runs:"],
    }[kind]
    assert [word for word in wanted if word not in said.out] == []


def test_explain_a_variant_gives_formula_source_and_hyperparameters(cli: Cli):
    said = cli("explain", "beta_vae").out
    assert "β KL(q(z|x) ‖ N(0, I))" in said
    assert "Higgins" in said
    assert "beta: float ≥ 0 = 4.0" in said
    assert "latent: int ≥ 1 = 16" in said
    assert "energy" in said
    assert "energy" not in cli("explain", "ae").out


def test_table_pivots(copy: Path, cli: Cli):
    said = cli("table", "results/trial", "--rows", "variant", "--columns", "data", "--metric", "sse")
    assert (said.code, said.err) == (0, "")
    head = next(line for line in said.out.splitlines() if line.strip())
    assert head.split()[:3] == ["variant", "pinwheel", "moons"]
    frame = aebench.load("results/trial")
    for variant in ("ae", "vae"):
        cells = re.search(rf"^{variant} +(\S+) ± \S+ +(\S+) ± \S+ *$", said.out, re.MULTILINE)
        assert cells, said.out
        for cell, data in zip(cells.groups(), ("pinwheel", "moons"), strict=True):
            mean = frame.query(f"variant == '{variant}' and data == '{data}'")["sse"].mean()
            assert float(cell) == pytest.approx(mean, rel=0.2)
    again = cli("table", "results/trial", "--rows", "data", "--columns", "variant", "--metric", "sse")
    assert next(line for line in again.out.splitlines() if line.strip()).split()[:3] == ["data", "ae", "vae"]


@pytest.mark.parametrize("format", ["text", "md", "csv", "latex", "json"])
def test_table_formats(copy: Path, cli: Cli, format: str):
    said = cli("table", "results/trial", "--metric", "sse", "--metric", "kl", "--format", format)
    assert (said.code, said.err) == (0, "")
    if format == "csv":
        frame = pd.read_csv(io.StringIO(said.out))
        assert (
            list(frame["variant"]) == ["ae", "ae", "vae", "vae"] or sorted(frame["variant"]) == ["ae"] * 2 + ["vae"] * 2
        )
        assert {"sse_mean", "sse_low", "sse_high", "sse_n", "kl_mean"} <= set(frame.columns)
        assert (frame["sse_n"] == 2).all()
        held = aebench.load("results/trial")
        assert sorted(frame["sse_mean"]) == pytest.approx(sorted(held.groupby(["variant", "data"])["sse"].mean()))
    elif format == "json":
        rows = json.loads(said.out)
        assert "sse_mean" in json.dumps(rows)
    else:
        mark = {"text": "───", "md": "|:---", "latex": r"\begin{tabular}"}[format]
        assert mark in said.out
        assert "pinwheel" in said.out
        assert "sse" in said.out
    runs = cli("table", "results/trial", "--runs", "--format", format)
    assert runs.code == 0
    if format != "text":
        assert all(id in runs.out for id in aebench.load("results/trial")["id"])


def test_table_parquet(copy: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    monkeypatch.chdir(copy)
    pytest.importorskip("pyarrow", reason="parquet wants pyarrow")
    assert called(("table", "results/trial", "--runs", "--format", "parquet")) == 0
    sys.stdout.flush()
    frame = pd.read_parquet(io.BytesIO(capfdbinary.readouterr().out))
    assert list(frame["id"]) == list(aebench.load("results/trial")["id"])


def test_table_of_several_folders(copy: Path, cli: Cli):
    assert cli("run", "trial.yaml", "--smoke", "--no-report", "--device", "cpu").code == 0
    said = cli("table", "results/trial", "results/trial_smoke", "--runs", "--format", "csv")
    assert sorted(pd.read_csv(io.StringIO(said.out))["suite"].value_counts()) == [4, 8]
    assert cli("table", "results", "--runs", "--format", "csv").out == said.out


def test_evaluate_measures_one_more(copy: Path, cli: Cli):
    said = cli("evaluate", "results/trial", "--metric", "size", "--metric", "sparsity", "--device", "cpu")
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines()[-1] == "8 runs measured, 0 without usable weights"
    for document in documents(copy):
        assert {"sse", "parameters", "flops_encode", "hoyer"} <= set(document["metrics"])
    assert "parameters" in cli("table", "results/trial", "--metric", "parameters").out
    next((copy / "results/trial/weights").iterdir()).unlink()
    said = cli("evaluate", "results/trial", "--device", "cpu")
    assert said.code == 1
    assert said.err.splitlines()[-1] == "7 runs measured, 1 without usable weights"


def test_a_metric_without_weights_is_a_note_and_retrain_is_the_way_on(cli: Cli, tmp_path: Path):
    write(SUITE + "keep_weights: false\n")
    words = ["run", "trial.yaml", "--seeds", "1", "--device", "cpu", "--no-report"]
    more = ["--set", "metrics=[reconstruction, energy, size]"]
    assert cli(*words).code == 0
    said = cli(*words, *more)
    assert said.code == 0
    note, last = said.err.splitlines()
    assert "4 runs" in note
    assert "--retrain" in note
    assert last == "4 runs: nothing left to do, 0 failed"
    said = cli(*words, *more, "--retrain")
    assert said.err.splitlines()[-2] == "4 runs: 4 trained, 0 measured again, 0 failed"
    assert all("parameters" in d["metrics"] for d in documents(tmp_path))


def test_report_is_drawn_where_asked(copy: Path, cli: Cli):
    shutil.rmtree(copy / "reports")
    said = cli("report", "results/trial")
    assert (said.code, said.err) == (0, "")
    assert Path(said.out.strip()) == copy.resolve() / "reports/trial/index.html"
    assert Path(said.out.strip()).is_file()
    said = cli("report", "results/trial", "--out", "page")
    assert said.out.strip() == "page/index.html"
    there = sorted(path.name for path in Path("page").iterdir())
    assert there == ["figures", "index.html", "report.md", "tables", "variants"]


def test_data_list_and_where(cli: Cli, tmp_path: Path):
    said = cli("data", "list")
    assert said.code == 0
    for name in listing("data"):
        assert re.search(rf"^{name} ", said.out, re.MULTILINE)
    assert "1×28×28" in said.out
    assert cli("data", "where", "digits").out == "digits is built in\n"
    assert cli("data", "where", "mnist").code == 0
    np.save("x.npy", np.zeros((3, 2), np.float32))
    assert cli("data", "where", "x.npy").out == "found     x.npy\n"
    assert cli("data", "where", "y.npy").out == "not here  y.npy\n"


def test_doctor_says_what_this_machine_has(cli: Cli):
    import torch

    facts = json.loads(cli("doctor", "--json").out)
    assert torch.__version__.startswith(facts["torch"])
    assert facts["aebench"] == aebench.__version__
    assert facts["device"].partition(":")[0] in ("cpu", "cuda", "mps")
    assert "digits" in facts["data at hand"]
    said = cli("doctor")
    assert said.code == 0
    assert all(joined(f"{name}{value}") in joined(said.out) for name, value in facts.items() if len(str(value)) < 40)


def test_version_and_help(cli: Cli):
    assert cli("--version") == Said(0, f"{aebench.__version__}\n", "")
    said = cli("--help")
    assert (said.code, said.err) == (0, "")
    commands = ("run", "validate", "evaluate", "list", "explain", "table", "report", "doctor", "data")
    assert [name for name in commands if not re.search(rf"\b{name}\b", said.out)] == []
    options = ("--dry-run", "--smoke", "--seeds", "--set", "--allow-code", "--device", "--out", "--retry-failed",
               "--retrain", "--no-report", "--quiet", "--json")  # fmt: skip
    said = cli("run", "--help")
    assert [name for name in options if name not in said.out] == []
