"""Two processes that measure in turns: who waits for whom, and that nothing waits for ever."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aebench.errors import InputError
from aebench.regress import measuring, pairs, plugin, reading
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
            turns.alone()
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


def test_another_order_is_noted(tmp_path):
    place = tmp_path / "benchmarks"
    place.mkdir()
    order = "[1, 2] if os.environ['PATH'].split(os.pathsep)[0].endswith('new') else [2, 1]"
    (place / "test_a.py").write_text(
        "import os, pytest\n"
        f"@pytest.mark.parametrize('v', {order})\n"
        "def test_a(benchmark, gate, v): gate(lambda: None, rounds=3)\n"
    )
    for report in measuring.measure([side(tmp_path, "base"), side(tmp_path, "new")], place, tmp_path, limit=60.0):
        assert len(report["benchmarks"]) == 2
        for one in report["benchmarks"]:
            assert any("in another order" in note for note in one["extra_info"]["notes"])
            assert "paired" not in one["stats"]


def test_one_that_dies_leaves_the_other_going():
    log = []

    def dies(turns):
        turns.meet(["x", "y"])
        turns.begin("x")
        turns.alone()
        turns.ready()
        return "gone"

    assert together(dies, measured(log, "b", {"x": 2, "y": 1})) == ["gone", "b"]
    assert len(log) == 3


needs_processors = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors to choose"
)


def where(light, own=None, done=True):
    """A side whose rounds tell which processors they may use; before them it may use only `own`.

    Not `done`, it fails in its rounds, which ends the benchmark without a word of its rounds' end.
    """

    def side(turns):
        all_ = os.sched_getaffinity(0)
        if own is not None:
            os.sched_setaffinity(0, own)
        before = os.sched_getaffinity(0)
        turns.meet(["x"])
        turns.begin("x")
        turns.alone()
        turns.ready(light)
        found = []
        for _ in range(2):
            found.append(os.sched_getaffinity(0))
            turns.swap()
        if done:
            turns.done()
        turns.end()
        after = os.sched_getaffinity(0)
        os.sched_setaffinity(0, all_)
        assert after == before
        return found

    return side


@needs_processors
def test_rounds_for_which_one_processor_is_enough_are_on_the_same():
    ours, theirs = together(where(True), where(True))
    assert ours == theirs == [ours[0]] * 2
    assert len(ours[0]) == 1


@needs_processors
@pytest.mark.parametrize(("a", "b"), [(True, False), (False, True), (False, False)])
def test_where_one_side_needs_more_both_keep_all_processors(a, b):
    every = [os.sched_getaffinity(0)] * 2
    assert together(where(a), where(b)) == [every, every]


@needs_processors
def test_the_processor_is_one_that_both_may_use():
    some, other, *_ = sorted(os.sched_getaffinity(0))
    assert together(where(True), where(True, {other})) == [[{other}] * 2] * 2
    assert together(where(True, {some}), where(True, {other})) == [[{some}] * 2, [{other}] * 2]


@needs_processors
def test_a_side_that_dies_leaves_the_other_its_processors():
    def dies(turns):
        turns.meet(["x"])
        turns.begin("x")
        turns.alone()
        turns.ready(True)

    assert len(together(dies, where(True))[1]) == 2


@needs_processors
@pytest.mark.parametrize(("a", "b"), [(True, False), (False, True)])
def test_a_benchmark_that_fails_in_its_rounds_leaves_the_next_all_processors(a, b):
    assert len(together(where(True, done=a), where(True, done=b))) == 2  # each asserts it of itself


def test_more_names_than_a_socket_holds_are_told():
    names = {f"test_file.py::test_step[{'x' * 60}-{i}]": "fails" for i in range(6000)}
    assert both(names | {"y": 1}, names | {"y": 1}) == [("a", "y", 0), ("b", "y", 0)]


def test_half_a_line_of_one_that_was_killed_is_the_end():
    ends = socket.socketpair()
    with ends[0], ends[1]:
        ends[0].sendall(b'["has", [7, "te')
        ends[0].shutdown(socket.SHUT_WR)
        turns = Turns(ends[1], first=True)
        turns.meet(["x"])
        turns.begin("x")
        turns.alone()
        turns.ready()
        turns._lines.close()
    assert turns.neighbour is None


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
    for report in reports:
        own = {one["name"]: one for one in report["benchmarks"]}
        paired = {name: "paired" in one["stats"] for name, one in own.items()}
        assert paired == {"test_rounds": True, "test_plain": False, "test_last": True}
        assert not any(Turns.ENTRY in one["extra_info"] for one in own.values())  # megabytes that nobody reads
    rounds = [entry for entry in log if entry[1] == "rounds"]
    warm, rounds = rounds[:2], rounds[2:]  # the first call of each side comes before its rounds
    assert {who for who, *_ in warm} == {"base", "new"}
    assert [who for who, *_ in rounds] == ["base", "new"] * 6
    assert [who for who, what, *_ in log if what == "plain"] == ["base"] * 3 + ["new"] * 3
    assert [who for who, what, *_ in log if what == "laps"] == ["base", "new"] * 4
    timed = [entry for entry in log if entry not in warm]
    assert all(before[3] <= after[2] for before, after in pairwise(timed))


FIXTURE = """
import os, pytest, time


@pytest.fixture
def meeting():
    while len(os.listdir(os.environ["MEETING"])) < 2:  # both are here at once, or neither goes on
        open(os.path.join(os.environ["MEETING"], str(os.getpid())), "w").close()
        time.sleep(0.01)


def test_a(benchmark, meeting):
    benchmark.pedantic(lambda: time.sleep(0.01), rounds=2)
"""


def test_fixtures_are_set_up_at_the_same_time(tmp_path, monkeypatch):
    place, meeting = tmp_path / "benchmarks", tmp_path / "meeting"
    place.mkdir()
    meeting.mkdir()
    monkeypatch.setenv("MEETING", str(meeting))
    (place / "test_a.py").write_text(FIXTURE)
    reports = measuring.measure([side(tmp_path, "base"), side(tmp_path, "new")], place, tmp_path, limit=60.0)
    assert [(len(report["benchmarks"]), report["failures"]) for report in reports] == [(1, {})] * 2


AFFINITY = """
import os, time


def test_light(benchmark, gate):
    seen = []

    def run(lap):
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            sum(range(1000))
        for _ in range(4):
            lap()
            seen.append(len(os.sched_getaffinity(0)))
    gate.laps(run)
    gate.count("processors", max(seen))
    gate.count("processors afterwards", len(os.sched_getaffinity(0)))
"""


@needs_processors
def test_a_benchmark_of_one_thread_is_on_one_processor(tmp_path):
    place = tmp_path / "benchmarks"
    place.mkdir()
    (place / "test_a.py").write_text(AFFINITY)
    for report in measuring.measure([side(tmp_path, "base"), side(tmp_path, "new")], place, tmp_path, limit=60.0):
        (one,) = report["benchmarks"]
        assert one["extra_info"]["counters"] == {
            "processors": 1, "processors afterwards": len(os.sched_getaffinity(0))
        }  # fmt: skip


class Recorded:
    """Turns with a neighbour that has nothing to say; `heard`: whether one processor was said to be enough."""

    neighbour, apart, ENTRY = 7, False, Turns.ENTRY

    def __init__(self):
        self.heard = []

    def free(self): ...
    def swap(self): ...
    def done(self): ...

    def agree(self, number):
        return number

    def ready(self, light):
        self.heard.append(light)


def gate_with(turns):
    return plugin.Gate(SimpleNamespace(extra_info={}, pedantic=lambda *words, **more: None), turns)


@pytest.mark.parametrize(
    ("all_", "main", "children", "light"),
    [(2.0, 2.0, 0, True), (2.005, 2.0, 0, True), (2.1, 2.0, 0, False), (3.9, 2.0, 0, False), (2.0, 2.0, 0.1, False)],
)
def test_one_processor_is_enough_where_the_main_thread_does_all(monkeypatch, all_, main, children, light):
    monkeypatch.setattr(plugin, "living", lambda: False)
    seen = [(5.0, 1.0, 1.0, 3.0), (7.0, 1.0 + all_, 1.0 + main, 3.0 + children)]
    for words in (seen, [(0.0, 0.0, 0.0, 0.0), *seen]):  # what is before the first call is no matter
        passed, turns = iter(words), Recorded()
        monkeypatch.setattr(plugin, "_worked", lambda passed=passed: next(passed))
        gate = gate_with(turns)
        gate.laps(lambda lap: [lap() for _ in range(3)]) if words is seen else gate(lambda: None, rounds=2)
        gate.close()
        assert turns.heard == [light]


def test_work_of_threads_and_processes_is_seen(tmp_path):
    """Two threads on one processor take as long as one, but they are two."""
    held = {"sums": lambda: sum(range(3_000_000)), "threads": in_two_threads, "process": in_a_process}
    found = {}
    for name, step in held.items():
        turns = Recorded()
        gate = gate_with(turns)
        gate(step, rounds=1)
        gate.close()
        found[name] = turns.heard
    assert found == {"sums": [True], "threads": [False], "process": [False]}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_process_that_lives_on_is_seen():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert watching.living()
    child.communicate()


def in_two_threads():
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda data: hashlib.sha256(data).digest(), [bytes(30_000_000)] * 2):
            pass


def in_a_process():
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)


def test_both_sides_take_as_many_steps_in_a_round():
    def asks(number):
        def side(turns):
            turns.meet(["x"])
            turns.begin("x")
            turns.alone()
            agreed = turns.agree(number)
            turns.ready()
            turns.swap()
            turns.done()
            turns.end()
            return agreed

        return side

    assert together(asks(3), asks(5)) == [5, 5]
    assert together(asks(5), measured([], "b", {"x": 1})) == [5, "b"]
    assert Turns().agree(4) == 4


def entry(name, rounds=None, least=1.0):
    return {"fullname": name, "stats": {"min": least}, "extra_info": {} if rounds is None else {Turns.ENTRY: rounds}}


def times(first, second):
    """What both sides are taken to need for each benchmark after their rounds were paired."""
    reports = [{"benchmarks": first}, {"benchmarks": second}]
    measuring._pair(*reports)
    values = [reading.benchmarks([report], "side").values for report in reports]
    return [{measure.benchmark: found[0] for measure, found in side.items()} for side in values]


def test_sides_differ_as_neighbouring_rounds_do():
    """A machine that slows down by half in mid-course, and one round that something else hit: neither counts."""
    machine = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
    ours, theirs = 0.01 * machine, 0.012 * machine
    theirs[0] *= 9
    (a,), (b,) = [[*side.values()] for side in times([entry("x", [*ours])], [entry("x", [*theirs])])]
    assert (a, b) == pytest.approx((0.01, 0.012))


def test_what_was_not_in_turns_on_both_sides_keeps_its_least_time():
    first = [entry("x", None, 3.0), entry("y", [1.0], 4.0), entry("mine", [1.0], 5.0), entry("none", [0.0], 6.0)]
    second = [entry("x", [1.0], 7.0), entry("y", None, 8.0), entry("none", [1.0], 9.0)]
    assert times(first, second) == [{"x": 3.0, "y": 4.0, "mine": 5.0, "none": 6.0}, {"x": 7.0, "y": 8.0, "none": 9.0}]


def test_the_longer_side_lends_no_rounds_to_the_pairs():
    a, b = times([entry("x", [1.0, 1.0])], [entry("x", [2.0, 2.0, 50.0, 50.0, 50.0])])
    assert (a["x"], b["x"]) == pytest.approx((1.0, 2.0))


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


def test_what_a_killed_side_leaves_behind_holds_nobody_up_and_ends(tmp_path):
    """A child by fork shares its parent's socket, and would outlive it."""
    child = "child = os.fork()\nif not child:\n    time.sleep(1000)\nLOG.with_name('child').write_text(str(child))"
    fault = f"if SIDE == 'new':\n{textwrap.indent(child, '    ')}\n    os.kill(os.getpid(), 9)"
    (base, new), _ = run(tmp_path, fault)
    assert base["failures"] == {}
    assert new["failures"] == {"test_a.py::test_rounds": "its process ended with signal SIGKILL"}  # no limit
    stat = Path(f"/proc/{(tmp_path / 'benchmarks/child').read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


PARAMETERS = """
import os
import pytest

SIDE = os.environ["PATH"].split(os.pathsep)[0].rpartition("-")[2]


@pytest.mark.parametrize("v", ["a", "b"] if SIDE == "new" else ["a"])
def test_v(benchmark, gate, v):
    gate(lambda: None, rounds=3)


def test_step(benchmark, gate):
    if SIDE == "new":
        os.abort()
    gate(lambda: None, rounds=3)


def test_step_of_a_pack(benchmark, gate):
    gate(lambda: None, rounds=3)
"""


@pytest.fixture
def parameters(tmp_path):
    place = tmp_path / "benchmarks"
    place.mkdir()
    (place / "test_a.py").write_text(PARAMETERS)
    return pairs.Sides(side(tmp_path, "base"), side(tmp_path, "new"), place, tmp_path, {}, 60.0)


def test_what_the_base_has_not_is_no_baseline_and_the_rest_is_measured(parameters):
    """Neither named, nor from the second pair on; the one that died takes none with it that is called like it."""
    for only in ([], parameters.chosen(["test_v", "pack"])):
        found = pairs.compare(parameters.sample, ("base", "new"), pairs=2, only=only).findings
        verdicts = {f.measure.benchmark.partition("::")[2]: f for f in found if f.measure.kind == "time"}
        assert (verdicts["test_v[b]"].verdict, verdicts["test_v[b]"].said) == ("no baseline", "base does not have it")
        assert all(verdicts[name].n >= 2 for name in ("test_v[a]", "test_step_of_a_pack"))
        assert only or verdicts["test_step"].said == "crashed: its process ended with signal SIGABRT"
    (report,) = parameters.sample(("base",), ["test_a.py::test_v[b]"])
    assert (report["benchmarks"], report["failures"]) == ([], {})


def test_what_hangs_when_it_is_looked_for_has_a_limit(parameters):
    (parameters.benchmarks / "test_a.py").write_text("import time\ntime.sleep(1000)")
    with pytest.raises(InputError, match="new: benchmarks are looked for, without an end after 2 s"):
        replace(parameters, limit=2.0).chosen(["test"])


def test_a_process_is_gone_with_its_report(tmp_path):
    """It does not take apart what it has loaded, which takes seconds; what it found is written."""
    slow = "class Held:\n    def __del__(self, place=LOG.with_name('slow')): place.touch()\nglobal held\nheld = Held()"
    asked = "import atexit, tempfile\natexit.register(LOG.with_name(f'asked-{SIDE}').touch)"
    reports, _ = run(tmp_path, f"{slow}\n{asked}\nglobal folder\nfolder = tempfile.TemporaryDirectory()")
    assert [len(report["benchmarks"]) for report in reports] == [3, 3]
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} >= {"asked-base", "asked-new"}
    assert not (tmp_path / "benchmarks/slow").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"benchmarks", "side-base", "side-new"}


def test_what_pytest_has_to_say_at_its_end_is_told(tmp_path):
    place = tmp_path / "benchmarks"
    place.mkdir()
    with pytest.raises(InputError, match=r"file or directory not found: .*test_none\.py"):
        measuring.measure([side(tmp_path, "base")], place, tmp_path, ["test_none.py"])


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
