"""Several processes share one folder of results: each run is trained once, whoever dies, and nothing is lost."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from guarded import COMMAND, RUNS, SUITE, forked, leftovers, results, trained
from rich.console import Console

from aebench import claims, manifest, pipeline, processes, suite
from aebench.claims import BEAT, EXPIRES, FOLDER, Claims, Owner
from aebench.clock import Ledger
from aebench.manifest import Books
from aebench.plan import Plan
from aebench.progress import Progress
from aebench.store import Store
from aebench.work import Worker

posix = pytest.mark.skipif(os.name != "posix", reason="processes are looked up as POSIX has them")
PACKAGE = Path(__file__).parents[1]
ELSEWHERE = {"host": "elsewhere", "pid": 1, "begun": "1", "token": "0" * 16}


def lay(folder: Path, said: dict[str, Any] | str, key: str = "pack", age: float = 0) -> Path:
    """A claim as another process left it, touched so many seconds ago."""
    path = folder / FOLDER / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    os.utime(path, (time.time() - age,) * 2)
    return path


def dead() -> Owner:
    """A process of this machine that has ended."""
    code = "from aebench.claims import Owner; import json; print(json.dumps(vars(Owner.here())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Owner(**json.loads(done.stdout))


# ---- one claim


def test_a_claim_has_one_holder_until_it_is_released(tmp_path: Path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take("pack")
        assert not other.take("pack")
        assert other.take("another pack")
        holder = other.holder("pack")
        assert holder is not None
        assert (holder.pid, holder.lives) == (os.getpid(), True)
        assert str(holder).startswith(f"process {os.getpid()} on ")
        one.release("pack")
        assert other.take("pack")
        assert not one.take("pack")
    assert not list(tmp_path.iterdir())


def test_an_error_releases_what_was_claimed(tmp_path: Path):
    with contextlib.suppress(ZeroDivisionError), Claims(tmp_path) as one:
        one.take("pack")
        raise ZeroDivisionError
    with Claims(tmp_path) as other:
        assert other.take("pack")


@posix
def test_a_claim_of_a_process_that_has_ended_is_taken_over(tmp_path: Path):
    owner = dead()
    lay(tmp_path, vars(owner))
    assert owner.lives is False
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take("pack")
        assert not other.take("pack")
        one.release("pack")
        assert other.take("pack")
    assert not list(tmp_path.iterdir())


@posix
def test_a_number_that_another_process_has_now_is_no_sign_of_life(tmp_path: Path):
    here = Owner.here()
    lay(tmp_path, {**vars(here), "begun": "long ago"})
    with Claims(tmp_path) as one:
        assert one.take("pack")


@posix
def test_a_process_that_nobody_has_waited_for_has_ended():
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        until = time.monotonic() + 30
        while processes.begun(child.pid) is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert child.returncode is None, "nobody has asked for its end"
        assert processes.begun(child.pid) is None
    finally:
        child.wait()


@posix
@pytest.mark.parametrize("links", [1, 2, 5])
def test_who_took_over_may_die_as_well(tmp_path: Path, links: int):
    owners = [Owner(**{**vars(dead()), "token": f"{n:016x}"}) for n in range(links)]
    for before, owner in zip([None, *owners], owners, strict=False):
        lay(tmp_path, vars(owner), f"pack.{before.token}" if before else "pack")
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take("pack")
        assert not other.take("pack")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("age", "taken"), [(0, False), (EXPIRES - 30, False), (EXPIRES + 30, True)])
def test_a_claim_of_another_machine_expires_with_its_last_touch(tmp_path: Path, age: float, taken: bool):
    lay(tmp_path, ELSEWHERE, age=age)
    with Claims(tmp_path) as one:
        assert one.take("pack") == taken


@pytest.mark.parametrize("said", ["", "{", "[]", "3", '{"host": "x"}', json.dumps({**ELSEWHERE, "token": "../../x"})])
def test_a_claim_that_cannot_be_read_is_told_by_its_age(tmp_path: Path, said: str):
    """As a machine that lost its power may leave it."""
    lay(tmp_path, said)
    with Claims(tmp_path) as one:
        assert not one.take("pack")
        assert str(one.holder("pack")) == "another process" or said.endswith("}")
        lay(tmp_path, said, age=EXPIRES + 30)
        assert one.take("pack")
        with Claims(tmp_path) as other:
            assert not other.take("pack")


def test_claims_are_touched_while_they_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert BEAT * 4 < EXPIRES, "one that is late by a few beats still lives"
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with Claims(tmp_path) as one:
        one.take("pack")
        path = tmp_path / FOLDER / "pack"
        os.utime(path, (0, 0))
        until = time.monotonic() + 30
        while path.stat().st_mtime < time.time() - 60 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - 60


def test_a_claim_that_others_took_over_is_left_to_them(tmp_path: Path):
    """As when a machine slept for longer than a claim lasts."""
    with Claims(tmp_path) as one:
        one.take("pack")
        owner = one.holder("pack")
        assert owner is not None
        later = lay(tmp_path, ELSEWHERE, f"pack.{owner.token}")
        one.release("pack")
        assert later.exists()
        assert not one.take("pack")


CONTENDING = """
import os, random, sys, time
from pathlib import Path
from aebench import processes
from aebench.claims import Claims, Owner

def contend(number):
    here = random.Random(number)
    while True:
        one = Claims(Path("."))
        for _ in range(here.randint(1, 30)):
            key = f"k{here.randint(0, 2)}"
            if not one.take(key):
                continue
            inside = Path(f"inside-{key}")
            try:
                if processes.begun(int(inside.read_text() or 0)) is not None:
                    os.write(1, b"two at once\\n")
            except FileNotFoundError:
                pass
            inside.write_text(str(os.getpid()))
            if here.random() < 0.2:
                os._exit(9)  # as if killed
            os.write(log, b".")
            inside.unlink()
            one.release(key)

log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
end, number = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    number += 1
    if number > 8:
        os.wait()
    if os.fork() == 0:
        contend(number)
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
print(number)
"""


@posix
def test_never_two_holders_whoever_dies(tmp_path: Path):
    """Eight processes contend for three claims and die while they hold them, again and again."""
    command = [sys.executable, "-c", CONTENDING, "6"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    *said, deaths = done.stdout.split("\n")[:-1]
    assert said == []
    assert int(deaths) > 30
    assert (tmp_path / "log").stat().st_size > 100


# ---- many items


def test_what_others_have_claimed_comes_when_they_are_through(tmp_path: Path):
    done, said = set[str](), list[tuple[int, int]]()

    def left(item: str) -> list[str]:
        return [] if item in done else [item]

    def waiting(number: int, owner: Owner | None) -> None:
        assert owner is not None
        said.append((number, owner.pid))
        done.add("b")  # the other process has finished one and given up the other
        other.release("b")
        other.release("c")

    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        other.take("b")
        other.take("c")
        seen: list[tuple[str, list[str]]] = []
        for item, rest in one.share("abcd", str, left, waiting):
            assert not other.take(item)
            seen.append((item, rest))
            done.add(item)
    assert seen == [("a", ["a"]), ("d", ["d"]), ("b", []), ("c", ["c"])]
    assert said == [(2, os.getpid())]


# ---- a suite


def plan(folder: Path, content: str = SUITE, **options: Any) -> Plan:
    return pipeline.plan(suite.parse(content), folder, **options)


@posix
def test_eight_processes_train_each_run_once(tmp_path: Path):
    """And the table of each is that of one process alone, bit for bit."""
    code = """
        Path("shared").mkdir()
        Path("shared/trial.yaml").write_text(Path("trial.yaml").read_text())
        children = [start(given, "shared") for _ in range(8)]
        print(json.dumps([end(child) for child in children]))
    """
    assert forked(textwrap.dedent(code), tmp_path, COMMAND) == [0] * 8
    shared = tmp_path / "shared"
    begun = trained([shared])
    assert sorted(begun) == sorted(set(begun)) == sorted(results(shared))
    assert len(begun) == RUNS
    assert results(shared) == results(tmp_path / "straight")
    assert leftovers(shared) == []
    said = (shared / "out.log").read_text()
    assert said.count(f"{RUNS} runs: ") == 8, "each shows the whole table"
    assert "waiting for process " in said
    assert "by another process" in said
    workers = {line.split()[0] for line in (shared / "trained.log").read_text().splitlines()}
    assert len(workers) > 1
    told = Store(shared / "results" / "trial").manifest()
    assert told is not None
    assert len(told["commands"]) == len(workers), "each that has worked says where its time went"


def test_a_pack_is_looked_for_again_once_it_is_claimed(tmp_path: Path):
    """Of two that planned the same, the second trains nothing, and has the whole table."""
    first, second = plan(tmp_path), plan(tmp_path)
    quiet = Progress(quiet=True)
    assert pipeline.execute(first, device="cpu", report=False, progress=quiet).trained == RUNS
    console = Console(record=True, width=200, file=io.StringIO())
    done = pipeline.execute(second, device="cpu", report=False, progress=Progress(console))
    assert (done.trained, len(done.plan.documents)) == (0, RUNS)
    assert f"{RUNS}/{RUNS} runs" in console.export_text()


def test_more_seeds_beside_a_command_train_the_others_alone(tmp_path: Path):
    less, more = plan(tmp_path), plan(tmp_path, SUITE.replace("seeds: 2", "seeds: 3"))
    quiet = Progress(quiet=True)
    pipeline.execute(less, device="cpu", report=False, progress=quiet)
    before = results(tmp_path)
    done = pipeline.execute(more, device="cpu", report=False, progress=quiet)
    assert done.trained == RUNS // 2
    assert {id: results(tmp_path)[id] for id in before} == before


def test_failed_runs_are_tried_again_by_one(tmp_path: Path):
    content = SUITE.replace("denoising_ae, train: {clip: 1.0}", "vae, train: {optimizer: sgd, lr: 1e30}")
    quiet = Progress(quiet=True)
    first = pipeline.execute(plan(tmp_path, content), device="cpu", report=False, progress=quiet)
    assert len(first.failed) == 2
    one, other = (plan(tmp_path, content, retry_failed=True) for _ in range(2))
    again = [pipeline.execute(todo, device="cpu", report=False, progress=quiet) for todo in (one, other)]
    assert [done.trained for done in again] == [2, 0]
    assert [len(done.failed) for done in again] == [2, 2]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    pipeline.execute(plan(tmp_path), device="cpu", report=False, progress=Progress(quiet=True))
    return tmp_path


def test_a_half_published_pack_is_trained_again_whole(published: Path):
    before = results(published)
    packs = suite.packs(suite.parse(SUITE).runs)
    for pack in packs[:2]:
        (published / "results" / "trial" / f"{pack[-1].id}.json").unlink()
    todo = plan(published)
    assert todo.packs == packs[:2]
    done = pipeline.execute(todo, device="cpu", report=False, progress=Progress(quiet=True))
    assert done.trained == len(packs[0]) + len(packs[1])
    assert results(published) == before


# ---- suite.json


def test_commands_at_once_all_say_where_their_time_went(tmp_path: Path):
    """Each began before the others had written anything."""
    store, said = Store(tmp_path), manifest.of(suite.parse(SUITE))
    before = {"when": "long ago", "seconds": {"train": 1.0}}
    store.write_manifest({**said, "commands": [before]})
    several = [Books(Store(tmp_path), Ledger()) for _ in range(8)]
    for _ in range(3):
        for number, books in enumerate(several):
            books.when = f"command {number}"
            books.keep(said, worked=True)
    told = store.manifest()
    assert told is not None
    assert {key: value for key, value in told.items() if key != "commands"} == said
    assert sorted(one["when"] for one in told["commands"]) == [*(f"command {n}" for n in range(8)), "long ago"]


# ---- measuring again


def metrics(folder: Path) -> set[str]:
    """Those that every run has."""
    held = [{m["metric"] for m in d["metrics"].values()} for d in Store(folder / "results" / "trial").documents()]
    return set.intersection(*held)


def test_what_two_evaluations_measure_at_once_is_all_kept(published: Path, monkeypatch: pytest.MonkeyPatch):
    """The one comes wholly while the other is at its first run: neither may write what the documents said before."""
    results, again, nested = published / "results" / "trial", Worker.again, []

    def interrupted(self: Worker, *args: Any) -> Any:
        measured = again(self, *args)
        if not nested:
            nested.append(start(EVALUATE, results))
            os.set_blocking(nested[0].stdout.fileno(), False)
            until = time.monotonic() + 100
            while b"." not in (nested[0].stdout.read() or b"") and time.monotonic() < until:
                time.sleep(0.05)
        return measured

    monkeypatch.setattr(Worker, "again", interrupted)
    assert pipeline.evaluate(results, ["size"], device="cpu", progress=Progress(quiet=True)) == (RUNS, 0)
    with nested[0] as other:
        assert other.wait(100) == 0
    assert {"reconstruction", "size", "sparsity"} <= metrics(published)


EVALUATE = """
import os, sys
from aebench import pipeline
from aebench.progress import Progress
from aebench.work import Worker

again = Worker.again

def said(self, *args):
    done = again(self, *args)
    os.write(1, b".")
    return done

Worker.again = said
pipeline.evaluate(sys.argv[1], ["sparsity"], device="cpu", progress=Progress(quiet=True))
"""


def start(code: str, *words: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(PACKAGE)})
