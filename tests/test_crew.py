"""`--processes`: several processes train packs at once, and neither their number nor their end shows in the results."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from guarded import RUNS, SUITE, leftovers, results
from rich.console import Console

from aebench import device, pipeline, suite
from aebench.claims import Claims
from aebench.clock import Ledger
from aebench.crew import LEAST, WORTH, advice, divided, for_several
from aebench.errors import InputError
from aebench.pipeline import Done
from aebench.plots import with_documents
from aebench.progress import Progress
from aebench.store import Store
from aebench.store.frame import from_documents
from aebench.suite import Run, packs, shape_id

TESTS = Path(__file__).parent
COMMAND = [
    *(sys.executable, "-m", "aebench", "run", "trial.yaml", "--device", "cpu"),
    *("--no-report", "--processes", "2", "--checkpoint", "0.1"),
]


def said_by(folder: Path, content: str = SUITE, **options: Any) -> tuple[Done, str]:
    """What came of a suite that two processes train, and the lines of its progress."""
    console = Console(record=True, width=200, file=io.StringIO())
    todo = pipeline.plan(suite.parse(content, allow_code=True), folder, allow_code=True)
    done = pipeline.execute(
        todo, device="cpu", report=False, progress=Progress(console), allow_code=True, processes=2, **options
    )
    return done, console.export_text()


# ---- what trains together


def runs(settings: int, seeds: int) -> list[Run]:
    content = SUITE.replace("seeds: 2", f"seeds: {seeds}")
    return list(suite.parse(content.replace("[0.1, 1]", f"{{linspace: [0.1, 1, {settings}]}}")).runs)


def pack_of(all_: list[Run]) -> list[Run]:
    return next(pack for pack in packs(all_) if pack[0].spec["variant"] == "vae")


@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (2, 2), (3, 3), (4, 4), (64, 4)])
def test_one_pack_is_divided_evenly_down_to_so_many_runs(processes: int, parts: int):
    whole = pack_of(runs(settings=7, seeds=5))
    found = for_several([whole], whole, processes, len)
    assert len(found) == parts == min(processes, len(whole) // LEAST)
    assert sorted(run.id for part in found for run in part) == sorted(run.id for run in whole)
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_as_many_packs_as_processes_stay_whole():
    everything = runs(settings=7, seeds=5)
    whole = packs(everything)
    assert for_several(whole, everything, len(whole), lambda pack: 0.0) == whole


def test_what_is_done_already_does_not_decide_who_trains_together():
    whole = pack_of(runs(settings=7, seeds=5))
    full = divided(whole, whole, 3)
    for gone in (full[0], full[1], [run for part in full for run in part[::2]]):
        left = [run for run in whole if run not in gone]
        again = divided(left, whole, 3)
        assert again == [rest for part in full if (rest := [run for run in part if run not in gone])]


def test_long_packs_come_first():
    everything = runs(settings=3, seeds=2)
    found = for_several(packs(everything), everything, 2, len)
    assert [len(pack) for pack in found] == sorted(map(len, packs(everything)), reverse=True)


def test_runs_that_train_one_by_one_stay_alone():
    whole = pack_of(runs(settings=7, seeds=5))
    assert for_several([[run] for run in whole], whole, 4, len) == [[run] for run in whole]


def test_who_waits_for_one_process_hears_of_several(monkeypatch: pytest.MonkeyPatch):
    everything = runs(settings=8, seeds=2)
    whole = packs(everything)
    monkeypatch.setattr("aebench.crew.cores", lambda: 8)
    dear: Callable[[list[Run]], float] = lambda pack: WORTH / len(whole)  # noqa: E731
    said = "one process trains; --processes {} would share {} packs between as many cores"
    assert advice(whole, everything, dear, "cpu") == said.format(5, 5), "as one pack is divided"
    assert advice(whole, everything, lambda pack: 0.99 * dear(pack), "cpu") is None
    assert advice(whole, everything, dear, "cuda") is None
    dearer: Callable[[list[Run]], float] = lambda pack: WORTH  # noqa: E731
    first = whole[0]
    assert advice([first], first, dearer, "cpu") == said.format(2, 2)
    assert advice([first[:8]], first[:8], dearer, "cpu") is None, "it is not divided"
    monkeypatch.setattr("aebench.crew.cores", lambda: 2)
    assert advice(whole, everything, dear, "cpu") == said.format(2, 4)
    monkeypatch.setattr("aebench.crew.cores", lambda: 1)
    assert advice(whole, everything, dear, "cpu") is None


def test_time_is_divided_in_proportion():
    """Of several processes at once the stages are told, and all adds up to the time that has passed."""
    ticks = iter([0.0, 1.0, 11.0, 12.0])
    ledger = Ledger(begin=0.0)
    ledger.now = lambda: next(ticks)
    with ledger.stage("set-up"), ledger.stage("train"):
        pass
    ledger.now = lambda: 12.0
    ledger.divide("train", {"train": 6.0, "compile": 3.0, "evaluate": 1.0})
    found = ledger.read()
    assert sum(found.values()) == 12.0
    assert (found["train"], found["compile"], found["evaluate"]) == pytest.approx((6.0, 3.0, 1.0))
    ledger.divide("train", {})
    assert ledger.read() == found


# ---- a suite


def by_one(content: str, folder: Path) -> Path:
    """The results of one process alone."""
    todo = pipeline.plan(suite.parse(content), folder)
    pipeline.execute(todo, device="cpu", report=False, progress=Progress(quiet=True))
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_one(SUITE, tmp_path_factory.mktemp("straight"))


def test_two_processes_give_what_one_gives(tmp_path: Path, straight: Path):
    """Bit for bit, with the same packs and threads; and each document says that two were at work."""
    done, lines = said_by(tmp_path)
    assert results(tmp_path) == results(straight)
    assert leftovers(tmp_path) == []
    assert (done.trained, len(done.plan.documents), done.failed) == (RUNS, RUNS, [])
    assert f"{RUNS}/{RUNS} runs" in lines
    documents = list(Store(tmp_path / "results" / "trial").documents())
    assert {d["made"]["processes"] for d in documents} == {2}
    assert {d["measured"]["processes"] for d in documents} == {2}
    alone = list(Store(straight / "results" / "trial").documents())
    assert all("processes" not in d["made"] for d in alone)
    for held, machine in ((documents, "1 thread, one of 2 processes at work"), (alone, "1 thread")):
        frame = with_documents(from_documents(held), {d["id"]: d for d in held})
        assert {text.partition(" cores, ")[2] for text in frame["trained_on"]} == {machine}
        assert {text.partition(" cores, ")[2] for text in frame["measured_on"]} == {machine}
    told = Store(tmp_path / "results" / "trial").manifest()
    assert told is not None
    ((command),) = told["commands"]
    assert {"set-up", "compile", "train", "evaluate", "write"} <= set(command["seconds"])
    assert all(seconds >= 0 for seconds in command["seconds"].values())
    again, _ = said_by(tmp_path)
    assert again.trained == 0


def test_a_process_that_is_killed_costs_nothing(tmp_path: Path, straight: Path):
    """Memory may be short: what the crew has not brought is trained by who has called it, and that is said."""
    (tmp_path / "deadly.py").write_text(
        "import os, signal\n"
        "from dataclasses import replace\n"
        "from multiprocessing import parent_process\n"
        "from aebench.variants.autoencoder import AE\n"
        "def check(sizes, event_shape):\n"
        "    if parent_process() is not None:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "DEADLY = replace(AE, name='deadly', check=check)\n"
    )
    added = f"  - {{variant: {tmp_path / 'deadly.py'}:DEADLY}}\nmetrics:"
    done, lines = said_by(tmp_path, SUITE.replace("metrics:", added))
    assert len(done.plan.documents) == RUNS + 2
    assert done.failed == []
    found, alone = results(tmp_path), results(straight)
    assert {id: found[id] for id in alone} == alone
    assert lines.count("trained here instead of by a process of the crew: ") == 1
    assert leftovers(tmp_path) == []


def test_no_room_for_processes_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, straight: Path):
    """The second of them cannot begin, and the first does not go on."""
    start, begun = SpawnProcess.start, list[SpawnProcess]()

    def refuse(process: SpawnProcess) -> None:
        if begun:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        begun.append(process)
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    done, lines = said_by(tmp_path)
    assert results(tmp_path) == results(straight)
    assert lines.count("trained here instead of by a process of the crew: ") == 1
    assert "temporarily unavailable" in lines
    assert (done.trained, "by another process" in lines) == (RUNS, False)
    begun[0].join(20)
    assert begun[0].exitcode is not None


def test_a_run_that_fails_is_a_row(tmp_path: Path):
    (tmp_path / "faulty.py").write_text(
        "from dataclasses import replace\n"
        "from aebench.variants.autoencoder import AE\n"
        "def loss(net, x, noise, hp):\n"
        "    raise ValueError('as it is written')\n"
        "FAULTY = replace(AE, name='faulty', losses={'': loss})\n"
    )
    added = f"  - {{variant: {tmp_path / 'faulty.py'}:FAULTY}}\nmetrics:"
    done, lines = said_by(tmp_path, SUITE.replace("metrics:", added))
    assert [d["error"]["message"] for d in done.failed] == ["as it is written"] * 2
    assert done.trained == RUNS + 2
    assert "instead of" not in lines


def test_what_others_have_claimed_is_waited_for(tmp_path: Path, straight: Path):
    """And what they have done meanwhile is taken over."""
    todo = pipeline.plan(suite.parse(SUITE), tmp_path)
    first = todo.packs[0]
    own = [Store(straight / "results" / "trial"), todo.store]
    with Claims(todo.store.folder) as others:
        others.take(shape_id(first[0]))

        class Waiting(Progress):
            def wait(self, packs: int, owner: object) -> None:
                for run in first:
                    document = own[0].read(run.id)
                    assert document is not None
                    own[1].publish(document, own[0].arrays(run.id), own[0].weights(run.id))
                others.release(shape_id(first[0]))

        done = pipeline.execute(todo, device="cpu", report=False, progress=Waiting(quiet=True), processes=2)
    assert done.trained == RUNS - len(first)
    assert results(tmp_path) == results(straight)


def test_one_pack_needs_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "Crew", None)
    content = SUITE.replace("metrics:", "# ").split("  - {variant: linear_ae")[0]
    done, _ = said_by(tmp_path, content)
    assert done.trained == 4


def test_the_command_line_reaches_every_process(tmp_path: Path):
    """A suite that is sound with `--seeds` alone."""
    content = SUITE.replace(
        "  - {variant: linear_ae", "  - {variant: ae, seeds: 2}\n  - {variant: ae, seeds: 3}\n  - {variant: linear_ae"
    )
    todo = pipeline.plan(suite.parse(content, seeds=1, overrides={"train.steps": "32"}), tmp_path)
    console = Console(record=True, width=200, file=io.StringIO())
    done = pipeline.execute(todo, device="cpu", report=False, progress=Progress(console), processes=2)
    assert (done.trained, done.failed) == (len(todo.suite.runs), [])
    assert "instead of" not in console.export_text()
    assert {d["spec"]["train"]["steps"] for d in todo.store.documents()} == {32}


def test_processes_are_of_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "choose", lambda name: torch.device("cuda"))
    todo = pipeline.plan(suite.parse(SUITE), tmp_path)
    with pytest.raises(InputError, match="--processes 4: several share the cores of a CPU; the device is cuda"):
        pipeline.execute(todo, device="cuda", progress=Progress(quiet=True), processes=4)
    assert not list(tmp_path.rglob("*.json"))


def test_a_process_that_another_has_begun_begins_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aebench.crew.parent_process", lambda: object())
    todo = pipeline.plan(suite.parse(SUITE), tmp_path)
    with pytest.raises(InputError, match="processes 2: this one was begun by another process, and begins none"):
        pipeline.execute(todo, device="cpu", progress=Progress(quiet=True), processes=2)


def test_python_has_them_too(tmp_path: Path):
    """A script without a guard around its calls cannot begin other processes: it is told, and all is trained.

    Also where there is a process for each pack, so that all are claimed before any of them could fail.
    """
    head, two, tail = SUITE.partition("  - {variant: linear_ae")[0], "  - {variant: linear_ae}\n", "metrics: [energy]\n"
    call = "print(len(aebench.run('trial.yaml', device='cpu', report=False, processes=2)))\n"
    found: list[dict[str, Any]] = []
    for name, guard in (("guarded", "if __name__ == '__main__':\n    "), ("bare", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trial.yaml").write_text(head + two + tail)
        (tmp_path / name / "script.py").write_text(f"import aebench\n{guard}{call}")
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path / name, capture_output=True, text=True, env=environment(),
            timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.split()) == (0, ["6"]), done.stderr
        found.append(results(tmp_path / name))
        assert ("trained here instead" in done.stderr) == (name == "bare")
        assert ("if __name__ == '__main__':" in done.stderr) == (name == "bare"), "Python's own words"
    assert found[0] == found[1]


# ---- the end


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}


def crew_of(process: subprocess.Popen[str]) -> set[int]:
    """The processes that a command has begun, and that still run."""
    told = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    return {int(pid) for pid, stat in map(str.split, told.stdout.splitlines()) if not stat.startswith("Z")}


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


LONGER = SUITE.replace("steps: 160", "steps: 1600")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_one(LONGER, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with ps as Linux has it")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_all_processes_end_with_the_command_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: Path, number: signal.Signals
):
    """With what each was at; and the table is that of an undisturbed command. A terminal sends SIGINT to all."""
    (tmp_path / "trial.yaml").write_text(LONGER)
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    kept = tmp_path / "results" / "trial" / ".checkpoints"
    until(lambda: len(list(kept.glob("*.safetensors"))) == 2 or process.poll() is not None)
    hands = crew_of(process)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    until(lambda: not any(map(lives, hands)), 20)
    assert "Traceback" not in err
    assert len(packs_kept := {path.stem for path in kept.glob("*.safetensors")}) == 2
    assert ("the same command trains the rest" in err) == (number != signal.SIGKILL)
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert leftovers(tmp_path) == []
    documents = list(Store(tmp_path / "results" / "trial").documents())
    assert packs_kept <= {d["cost"]["pack"]["id"] for d in documents}, "those that are gone on with"
    assert results(tmp_path) == results(undisturbed)
