"""Two processes that measure in turns: who waits for whom, and that nothing waits for ever."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from aebench.regress import measuring
from aebench.regress.environments import Environment
from aebench.regress.plugin import gpu, watching
from aebench.regress.turns import Turns

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no socket is handed on")


def together(*sides):
    """Run what both do, `side(turns)`, each in its thread; what they return. It fails where one waits for ever."""
    ends = socket.socketpair()

    def run(side, end, first):
        end.settimeout(20)
        with end:
            turns = Turns(end, first)
            try:
                return side(turns)
            finally:
                turns._lines.close()

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, *words) for words in zip(sides, ends, (True, False), strict=True)]
        return [done.result(30) for done in runs]


def measured(log, who, benchmarks):
    """A side: benchmarks by name, each a number of rounds, or "alone" for one without rounds, or "fails"."""

    def side(turns):
        turns.meet(list(benchmarks))
        for name, rounds in benchmarks.items():
            turns.begin(name)
            if rounds == "alone":
                log.append((who, name, "begin"))
                time.sleep(0.01)
                log.append((who, name, "end"))
            elif rounds != "fails":
                turns.free()
                turns.ready()
                for i in range(rounds):
                    log.append((who, name, i))
                    turns.swap()
                turns.done()
            turns.end()
        return who

    return side


def both(ours, theirs):
    log = []
    assert together(measured(log, "a", ours), measured(log, "b", theirs)) == ["a", "b"]
    return log


def test_rounds_alternate_and_the_first_begins():
    assert both({"x": 3}, {"x": 3}) == [(who, "x", i) for i in range(3) for who in "ab"]


def test_one_that_has_more_rounds_takes_them_alone():
    log = both({"x": 2, "y": 1}, {"x": 4, "y": 1})
    assert log == [(w, "x", i) for i in range(2) for w in "ab"] + [("b", "x", 2), ("b", "x", 3)] + [
        ("a", "y", 0), ("b", "y", 0)
    ]  # fmt: skip


def test_a_benchmark_without_rounds_has_the_machine_to_itself():
    log = both({"x": "alone", "y": 1}, {"x": "alone", "y": 1})
    assert log[:4] == [(who, "x", what) for who in "ab" for what in ("begin", "end")]
    assert log[4:] == [("a", "y", 0), ("b", "y", 0)]


@pytest.mark.parametrize(("ours", "theirs"), [("fails", 2), (2, "fails"), ("fails", "alone"), ("fails", "fails")])
def test_one_that_fails_holds_nobody_up(ours, theirs):
    log = both({"x": ours, "y": 1}, {"x": theirs, "y": 1})
    assert log[-2:] == [("a", "y", 0), ("b", "y", 0)]
    assert len(log) == 2 + (0 if (ours, theirs) == ("fails", "fails") else 2)


def test_what_the_other_has_not_is_measured_alone():
    log = both({"x": 1, "mine": 2, "y": 2}, {"x": 1, "y": 2, "theirs": 1})
    assert [entry for entry in log if entry[1] == "y"] == [(who, "y", i) for i in range(2) for who in "ab"]
    assert {name for _, name, _ in log} == {"x", "y", "mine", "theirs"}


def test_in_another_order_one_goes_after_the_other():
    assert [who for who, _, _ in both({"x": 2, "y": 2}, {"y": 2, "x": 2})] == ["a"] * 4 + ["b"] * 4


def test_one_that_dies_leaves_the_other_going():
    log = []

    def dies(turns):
        turns.meet(["x", "y"])
        turns.begin("x")
        turns.ready()
        return "gone"

    assert together(dies, measured(log, "b", {"x": 2, "y": 1})) == ["gone", "b"]
    assert len(log) == 3


def test_alone_nothing_waits():
    log = []
    assert measured(log, "a", {"x": 2, "y": "alone"})(Turns()) == "a"
    assert len(log) == 4


# ---- processes

BENCHMARKS = """
import json, os, time
from pathlib import Path

SIDE = os.environ["PATH"].split(os.pathsep)[0].rpartition("-")[2]
LOG = Path(__file__).with_name("log")


def work(what, seconds=0.01):
    def step():
        begin = time.monotonic()
        end = begin + seconds
        while time.monotonic() < end:
            pass
        with LOG.open("a") as file:
            file.write(json.dumps([SIDE, what, begin, time.monotonic()]) + "\\n")
    return step


def test_rounds(benchmark, gate):
    {fault}
    gate(work("rounds"), rounds=6)


def test_plain(benchmark):
    benchmark.pedantic(work("plain"), rounds=3)


def test_last(benchmark, gate):
    gate.laps(lambda lap: [step() for i in range(4) for step in (lap, work("laps"))])
"""


def side(folder: Path, name: str) -> Environment:
    """This Python, under a name that its first folder on the path ends with."""
    python = folder / f"side-{name}" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return Environment(name, python, None)


def run(tmp_path, fault="pass", limit=60.0):
    place = tmp_path / "benchmarks"
    place.mkdir()
    (place / "test_a.py").write_text(BENCHMARKS.replace("{fault}", textwrap.indent(fault, "    ").strip()))
    reports = measuring.measure([side(tmp_path, "base"), side(tmp_path, "new")], place, tmp_path, limit=limit)
    log = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    return reports, sorted(log, key=lambda entry: entry[2])


def test_two_processes_never_time_at_once(tmp_path):
    reports, log = run(tmp_path)
    assert [len(report["benchmarks"]) for report in reports] == [3, 3]
    assert [report["failures"] for report in reports] == [{}, {}]
    rounds = [entry for entry in log if entry[1] == "rounds"]
    warm, rounds = rounds[:2], rounds[2:]  # the first call of each side comes before its rounds
    assert {who for who, *_ in warm} == {"base", "new"}
    assert [who for who, *_ in rounds] == ["base", "new"] * 6
    assert [who for who, what, *_ in log if what == "plain"] == ["base"] * 3 + ["new"] * 3
    assert [who for who, what, *_ in log if what == "laps"] == ["base", "new"] * 4
    timed = [entry for entry in log if entry not in warm]
    assert all(before[3] <= after[2] for before, after in pairwise(timed))


@pytest.mark.parametrize("fault", ["os.kill(os.getpid(), 9)", "raise ValueError(7)"])
def test_a_side_that_fails_is_told_and_the_other_is_measured(tmp_path, fault):
    (base, new), _ = run(tmp_path, f"if SIDE == 'new': {fault}")
    assert [len(report["benchmarks"]) for report in (base, new)] == [3, 2]
    assert base["failures"] == {}
    said = "its process ended with signal SIGKILL" if "kill" in fault else "ValueError: 7"
    assert new["failures"] == {"test_a.py::test_rounds": said}


def test_a_benchmark_that_hangs_is_ended_and_told(tmp_path):
    """Of both sides only the one that hangs: the other waited for it, and is measured by itself."""
    (base, new), _ = run(tmp_path, "if SIDE == 'new': time.sleep(1000)", limit=6.0)
    assert new["failures"] == {"test_a.py::test_rounds": "no end after 6 s"}
    assert base["failures"] == {}
    assert [len(report["benchmarks"]) for report in (base, new)] == [3, 2]


# ---- what the other does is no stranger's work


def test_work_of_the_neighbour_is_none_of_others(tmp_path):
    """A second apart: three processors' seconds in all, one of this process, one of the neighbour, one of others."""
    ticks = os.sysconf("SC_CLK_TCK")
    process = tmp_path / "proc/77/stat"
    process.parent.mkdir(parents=True)

    def reading(seconds, wall, own):
        (tmp_path / "proc/stat").write_text(f"cpu {300 * ticks * seconds // 100} 0 0 0 0 0 0 0\n")
        fields = ["S", *"0" * 10, str(seconds * ticks // 2), str(seconds * ticks // 2), "0", "0", "5"]
        process.write_text(f"77 (a name) with) {' '.join(fields)}\n")
        return watching.read(tmp_path, 77)._replace(wall=wall, own=own)

    watch = watching.Watch(root=tmp_path)
    watch.neighbour = 77
    watch.first, watch.last = reading(0, 0.0, 0.0), reading(2, 2.0, 2.0)
    assert watch.summary["other_cores"] == pytest.approx(1.0)
    assert watching.read(tmp_path, 78).neighbour == 0.0


@pytest.mark.parametrize(
    ("pids", "count"), [((7, 8), 0), ((7, 8, 9), 1), ((7,), 0), ((8,), 0), ((1, 2), 0), ((1, 2, 3), 1), ((), 0)]
)
def test_the_neighbour_on_a_gpu_is_no_other(pids, count):
    """This one is 7, the neighbour 8; where neither is listed, two of them are taken for both."""
    assert gpu.others(pids, 7, True, 8) == count


def test_a_signal_to_the_measured_process_is_told(tmp_path):
    (base, _), _ = run(tmp_path, f"if SIDE == 'base': os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    assert base["failures"] == {"test_a.py::test_rounds": "its process ended with signal SIGSEGV"}
