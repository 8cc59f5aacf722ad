"""The plugin of the gate: what it counts, against numbers worked out by hand; what it says of a machine, faked."""

from __future__ import annotations

import gc
import json
import math
import mmap
import os
import platform
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from aebench.errors import InputError
from aebench.regress import machine, plugin
from aebench.regress.plugin import Gate, counting, gpu, watching
from aebench.regress.plugin.gpu import State
from aebench.regress.plugin.watching import Watch, read
from aebench.regress.reading import benchmarks

PLUGIN = Path(plugin.__file__).parent


class Benchmark:
    """Stands for pytest-benchmark's fixture: what a `Gate` writes, and the spans that its timer gave."""

    def __init__(self):
        self.extra_info, self.spans, self._timer = {}, [], time.perf_counter

    def pedantic(self, target, rounds, iterations):
        for _ in range(rounds):
            begin = self._timer()
            target()
            self.spans.append((self._timer() - begin) / iterations)


@pytest.fixture
def made():
    return Gate(Benchmark())


def counters(made, step):
    made.counters(step)
    return made.extra["counters"]


# ---- counters


def test_a_small_step_counted_by_hand(made):
    """y = relu(a b): two operations, 2·m·n·k FLOPs, and two results of m n float32 at once."""
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    found = counters(made, lambda: (a @ b).relu())
    assert found["operations"] == 2
    assert found["FLOPs"] == 2 * 3 * 7 * 5
    assert found["peak bytes"] == 2 * 4 * 3 * 7
    assert found["kept bytes"] == 0
    assert found["synchronisations"] == 0


def test_what_is_freed_counts_no_longer():
    a = torch.ones(1000)
    with counting.Counting() as count:
        for _ in range(5):
            b = a + 1
            del b
        c = (a + 1) + 1
        del c
    assert count.peak == 2 * 4000
    assert count.live == 0


def test_backward_is_counted():
    """dL/da of sum(a b): one more product, of m n k multiplications as well (b needs none)."""
    a, b = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7)
    with counting.Counting() as count:
        (a @ b).sum().backward()
    assert count.flops == 2 * (2 * 3 * 5 * 7)


def test_runs_under_vmap_are_one_operation():
    a, b = torch.ones(4, 3, 5), torch.ones(4, 5, 7)
    with counting.Counting() as count:
        torch.vmap(torch.mm)(a, b)
    assert count.flops == 4 * 2 * 3 * 5 * 7
    once = count.operations
    with counting.Counting() as count:
        torch.vmap(torch.mm)(torch.ones(9, 3, 5), torch.ones(9, 5, 7))
    assert count.operations == once + 2  # and the two `ones`


def test_views_and_what_is_written_in_place_take_no_bytes():
    a = torch.ones(10, 10)
    with counting.Counting() as count:
        a.view(-1).add_(1)
    assert count.peak == 0


@pytest.mark.parametrize(
    "wait", [torch.Tensor.item, float, bool, lambda a: torch.equal(a, a)], ids=["item", "float", "if", "equal"]
)
def test_each_synchronisation_is_counted(made, wait):
    a = torch.ones(())
    assert counters(made, lambda: [wait(a + 1) for _ in range(3)])["synchronisations"] == 3


def test_a_copy_to_the_host_is_a_synchronisation():
    there, here = types.SimpleNamespace(type="cuda"), torch.ones(2)

    class Far(torch.Tensor):
        device = there

    far = here.as_subclass(Far)
    assert counting._to_host("_to_copy", (far,), here)
    assert counting._to_host("copy_", (here, far), here)
    assert not counting._to_host("copy_", (far, here), far)
    assert not counting._to_host("_to_copy", (here,), here)


def test_a_leak_is_what_it_keeps(made):
    kept = []
    found = counters(made, lambda: kept.append(torch.zeros(1000) + 1))
    assert found["kept bytes"] == 4000


def test_a_cycle_is_no_leak(made):
    def step():
        ring = {"tensor": torch.zeros(1000)}
        ring["itself"] = ring

    assert counters(made, step)["kept bytes"] == 0


@pytest.mark.skipif(watching.resident() is None, reason="the system does not say what is resident")
def test_a_leak_outside_torch_is_seen_as_growth(made):
    """3 MiB a step are 150 MiB in 50 steps: 18 whole units of 8 MiB, and a page more or less changes nothing.

    Of the system's own pages: a process that has freed much before could give it memory that is resident already.
    """
    kept = []

    def step():
        kept.append(mmap.mmap(-1, 3 * 2**20))
        kept[-1].write(b"x" * (3 * 2**20))

    made(step, rounds=9)
    assert made.extra["counters"]["resident growth of 50 steps (8 MiB)"] == 18


def test_no_leak_no_growth(made):
    made(lambda: b"x" * (3 * 2**20), rounds=9)
    assert made.extra["counters"]["resident growth of 50 steps (8 MiB)"] == 0


def test_what_only_a_cycle_holds_is_no_growth(made):
    def step():
        cycle = [b"x" * (3 * 2**20)]
        cycle.append(cycle)

    made(step, rounds=9)
    assert made.extra["counters"]["resident growth of 50 steps (8 MiB)"] == 0


def test_what_lived_before_is_looked_at_again_afterwards(made):
    frozen = gc.get_freeze_count()
    made(lambda: None, rounds=3)
    made.counters(lambda: torch.zeros(3))
    assert gc.get_freeze_count() == frozen


def test_what_set_up_made_is_not_looked_at_after_each_round(made):
    frozen = []

    def run(lap):
        held = [[] for _ in range(10_000)]
        for _ in range(3):
            lap()
            frozen.append(gc.get_freeze_count())
        return held

    assert len(made.laps(run)) == 10_000
    assert min(frozen) >= 10_000


def test_recompilations_and_graph_breaks_are_those_of_the_calls(made, monkeypatch):
    """Three graphs and a break in the first call, one graph more in the second."""
    seen = {"stats": {"unique_graphs": 7}, "graph_break": {"old": 2}}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", types.SimpleNamespace(counters=seen))
    calls = iter([(3, 1), (1, 0), (0, 0)])

    def step():
        graphs, breaks = next(calls)
        seen["stats"]["unique_graphs"] += graphs
        seen["graph_break"]["old"] += breaks

    found = counters(made, step)
    assert found["recompilations"] == 1
    assert found["graph breaks"] == 1


def test_an_exact_number_that_no_float_holds_is_refused(made):
    made.exact("checksum", 2**32 - 1)
    made.exact("not a number", math.nan)
    with pytest.raises(ValueError, match=r"exact 'hash': 1152921504606846977 is no float64; give a checksum of 32"):
        made.exact("hash", 2**60 + 1)


def test_names_are_given_once(made):
    made.count("runs", 1)
    with pytest.raises(ValueError, match="counters: 'runs' is there already"):
        made.count("runs", 1)
    with pytest.raises(ValueError, match="better is 'up'; choose lower or higher"):
        made.quality("elbo", [1.0], "up")


# ---- time


def test_laps_time_the_pieces_and_not_what_goes_before(made, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(made, "_clock", lambda device: lambda: now[0])

    def run(lap):
        now[0] += 100
        for piece in (0, 2, 4, 6):
            now[0] += piece
            lap()
        return "done"

    assert made.laps(run, iterations=2) == "done"
    assert made.benchmark.spans == [1, 2, 3]


def test_a_step_is_timed_after_its_first_call(made, monkeypatch):
    """A first call of 50 s; then 1 s each, of which half a second holds none: as few rounds as there may be."""
    now, calls = [0.0], []
    monkeypatch.setattr(made, "_clock", lambda device: lambda: now[0])

    def step():
        now[0] += 1 if calls else 50
        calls.append(None)

    made(step)
    assert made.extra["first_call_seconds"] == 50
    assert made.benchmark.spans == [1] * plugin.FEWEST
    assert len(calls) == 2 + plugin.FEWEST


def test_one_lap_is_no_piece(made):
    with pytest.raises(ValueError, match="fewer than 2 calls of lap"):
        made.laps(lambda lap: lap())


def test_the_device_clock_adds_up_what_events_tell(monkeypatch):
    """Each reading waits for its event; spans in ms, as the device measured them."""
    waited, at = [], iter([0.0, 250.0, 1000.0])

    class Event:
        def __init__(self, enable_timing):
            self.at = None

        def record(self):
            self.at = next(at)

        def synchronize(self):
            waited.append(self.at)

        def elapsed_time(self, later):
            return later.at - self.at

    class Device:
        def __init__(self, device):
            pass

        __enter__ = __exit__ = lambda self, *_: None

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", Device)
    clock = counting.DeviceClock("cuda")
    assert [clock(), clock()] == [0.25, 1.0]
    assert waited == [0.0, 250.0, 1000.0]


# ---- the machine


def system(root: Path, stat="cpu 0 0 0 0 0 0 0 0 0 0", throttled=0, khz=2_000_000, quota=0):
    """`/proc` and `/sys` of a machine whose processors are those of this process."""
    (root / "proc").mkdir(exist_ok=True, parents=True)
    (root / "proc/stat").write_text(stat + "\n")
    group = root / "sys/fs/cgroup"
    group.mkdir(exist_ok=True, parents=True)
    (group / "cpu.stat").write_text(f"usage_usec 5\nthrottled_usec {quota}\n")
    for i, cpu in enumerate(sorted(watching._processors())):
        place = root / f"sys/devices/system/cpu/cpu{cpu}"
        for name, value in (
            ("thermal_throttle/core_throttle_count", throttled if i == 0 else 0), ("cpufreq/scaling_cur_freq", khz),
        ):  # fmt: skip
            (place / name).parent.mkdir(exist_ok=True, parents=True)
            (place / name).write_text(f"{value}\n")


def watched(root, before, after, gpu=None):
    system(root, **before)
    watch = Watch(gpu, root, every=0.001)
    watch.start()
    while not watch.clocks or (gpu and len(watch.states) < 2):
        time.sleep(0.001)
    system(root, **after)
    watch.stop()
    return watch


def test_a_throttled_processor_makes_a_sample_invalid(tmp_path):
    watch = watched(tmp_path, {"throttled": 5}, {"throttled": 8})
    assert watch.invalid == "the processor was throttled because of heat (3 times)"
    assert watch.summary["throttled"] == 3
    assert watch.summary["mhz_mean"] == 2000


def test_throttling_of_before_is_of_before(tmp_path):
    assert watched(tmp_path, {"throttled": 5}, {"throttled": 5}).invalid == ""


def test_other_work_is_a_note_and_not_invalid(tmp_path, monkeypatch):
    """In 2 s: all processors 5 s, this process 1 s, so others 4 s, that is 2 processors; .4 s stolen; .1 s over."""
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"cpu {2 * tick} {tick} {tick} 99 99 {tick // 2} {tick // 2} {int(0.4 * tick)} 0 0"
    system(tmp_path)
    watch = Watch(None, tmp_path)
    own = watch.first._replace(wall=10.0, own=3.0)
    system(tmp_path, stat=stat, quota=100_000)
    watch.first, watch.last = own, read(tmp_path)._replace(wall=12.0, own=4.0)
    assert watch.summary["own_cores"] == 0.5
    assert watch.summary["other_cores"] == pytest.approx(2.0)
    assert watch.summary["steal"] == pytest.approx(0.2)
    assert watch.summary["quota"] == pytest.approx(0.05)
    assert watch.invalid == ""
    assert len(watch.notes) == 3


def test_a_machine_that_says_nothing_is_no_error(tmp_path):
    watch = Watch(None, tmp_path / "none")
    watch.start()
    watch.stop()
    assert watch.invalid == ""
    assert {"seconds", "own_cores"} <= set(watch.summary)


def test_a_throttled_or_shared_gpu_makes_a_sample_invalid(tmp_path):
    states = iter([State(1980, 60, 0x4, 0), State(1200, 88, 0x4 | 0x40, 1)])
    last = State(1980, 70, 0, 0)
    watch = watched(tmp_path, {}, {}, lambda: next(states, last))
    assert watch.invalid == "the GPU was throttled: heat, by its hardware; 1 other compute processes on the GPU"
    assert watch.summary["gpu_mhz_least"] == 1200
    assert watch.summary["gpu_celsius_most"] == 88


def test_a_slow_look_at_the_gpu_is_taken_seldom(monkeypatch):
    """Each takes 50 ms by the clock, so that half a second lies between two."""
    waited, clock = [], iter(i * 0.05 for i in range(9))

    class Over:
        def wait(self, seconds):
            waited.append(seconds)
            return len(waited) == 3

    monkeypatch.setattr(watching.time, "perf_counter", lambda: next(clock))
    watch = watching.Watch.__new__(watching.Watch)
    watch.gpu, watch.root, watch.every, watch.clocks, watch.states = (lambda: None), Path("/none"), 0.2, [], []
    watch._run(Over())
    assert waited == pytest.approx([0.5] * 3)


def test_a_power_cap_and_an_idle_gpu_are_no_throttling():
    assert gpu.reasons([0x1, 0x2, 0x4, 0x10]) == []
    assert len(gpu.reasons([0x8, 0x20, 0x80])) == 3


@pytest.mark.parametrize(
    ("pids", "uses", "count"),
    [((), True, 0), ((7,), True, 0), ((7, 9), True, 1), ((9,), True, 0), ((9,), False, 1), ((8, 9), True, 1)],
)
def test_who_else_is_on_the_gpu(pids, uses, count):
    """This one is 7; where it is not listed, as a container numbers otherwise, one of them is taken for it."""
    assert gpu.others(pids, 7, uses) == count


def fake_smi(folder: Path, old: bool = False) -> None:
    """An nvidia-smi that answers as the real one does; an `old` driver does not know the new name."""
    refuse = 'case "$*" in *clocks_event_reasons*) echo not a valid field >&2; exit 2;; esac' if old else ":"
    (folder / "nvidia-smi").write_text(f"""#!/bin/sh
{refuse}
case "$*" in
  *driver_version*) printf 'NVIDIA H100 80GB HBM3, 550.54.15\\nNVIDIA H100 80GB HBM3, 550.54.15\\n';;
  *compute-apps*) printf '41\\n42\\n';;
  *) echo "1755, 64, 0x0000000000000040";;
esac
""")
    (folder / "nvidia-smi").chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script of the shell")
@pytest.mark.parametrize("old", [False, True])
def test_nvidia_smi_is_read(tmp_path, monkeypatch, old):
    fake_smi(tmp_path, old)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    now = gpu._smi("GPU-1")
    assert now() == State(1755, 64, 0x40, 2)


def test_nvml_is_preferred(monkeypatch):
    nvml = types.SimpleNamespace(
        NVMLError=RuntimeError, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0, nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid, nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1500}[kind],
        nvmlDeviceGetTemperature=lambda handle, kind: {0: 50}[kind],
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x8,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [types.SimpleNamespace(pid=os.getpid())],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpu.reader("GPU-1")() == State(1500, 50, 0x8, 0)


def test_without_a_gpu_nothing_is_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.reader("GPU-1") is None


# ---- identity


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script of the shell")
def test_an_identity_names_the_machine_and_not_its_host(monkeypatch, tmp_path):
    fake_smi(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(platform, "node", lambda: "host-of-someone")
    machine.gpus.cache_clear()
    try:
        found = machine.identity()
    finally:
        machine.gpus.cache_clear()
    assert found["gpu"] == "2 x NVIDIA H100 80GB HBM3"
    assert found["driver"] == "550.54.15"
    assert found["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert not {platform.node(), os.uname().nodename} & {word for value in found.values() for word in value.split()}


def test_a_key_is_a_stable_slug():
    one = {"processor": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": "2", "system": "Linux", "python": "3.11"}
    key = machine.key(one)
    assert key.startswith("intel-xeon-2-cores-linux-")
    assert key == machine.key(dict(reversed(one.items())))
    assert key != machine.key(one | {"python": "3.12"})
    assert len(key.rpartition("-")[2]) == 6


# ---- alone, in a process of its own


BENCHMARK = """
import sys
import torch

def test_it(benchmark, gate):
    a = torch.ones(3, 5)
    gate.counters(lambda: a @ a.t())
    gate.exact("loss", 0.1)
    gate.quality("elbo", [1.0, 2.0], "higher")
    gate(lambda: sum(range(1000)), rounds=6)
    assert "aebench" not in sys.modules

def test_plain(benchmark, gate):
    gate.timed = False
    benchmark(lambda: None)
"""
REFUSES = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "aebench":
            raise ImportError("there is no aebench here")

sys.meta_path.insert(0, Refuse())
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_a_copy_works_where_there_is_no_aebench(tmp_path):
    shutil.copytree(PLUGIN, tmp_path / "aebench_gate_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "test_it.py").write_text(BENCHMARK)
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-c", REFUSES, "-p", "aebench_gate_plugin", "-p", "no:aebench", "-p", "no:cacheprovider",
        "-p", "no:xdist", "-W", "error", "--benchmark-only", f"--benchmark-json={report}", "-q", str(tmp_path),
    ]  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables = own | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = json.loads(report.read_text())["benchmarks"]
    extra = first["extra_info"]
    assert extra["counters"] == {
        "operations": 2, "FLOPs": 2 * 3 * 3 * 5, "synchronisations": 0, "peak bytes": 4 * 9, "kept bytes": 0,
        **({"resident growth of 50 steps (8 MiB)": 0} if watching.resident() is not None else {}),
    }  # fmt: skip
    assert extra["exact"] == {"loss": 0.1}
    assert extra["quality"] == {"elbo": {"better": "higher", "values": [1.0, 2.0]}}
    assert extra["machine"]["seconds"] > 0
    assert first["stats"]["rounds"] == 6
    assert second["extra_info"]["timed"] is False


# ---- what is read of it


def reported(**extra):
    about = {"node": "host-of-someone", "machine": "x86_64", "system": "Linux", "python_version": "3.11.7",
             "processor": "", "cpu": {"brand_raw": "AMD EPYC", "count": 2}}  # fmt: skip
    return {"machine_info": about, "benchmarks": [{"fullname": "a.py::b", "stats": {"min": 0.5}, "extra_info": extra}]}


def test_an_invalid_time_keeps_its_place_and_counts_for_nothing():
    side = benchmarks([reported(), reported(invalid="heat"), reported()], "new")
    (values,) = side.values.values()
    assert str(values) == "(0.5, nan, 0.5)"
    assert side.notes == ("some times do not count: heat",)


def test_a_machine_is_read_without_its_name():
    assert benchmarks([reported()], "new").machine == {
        "processor": "AMD EPYC", "cores": "2", "architecture": "x86_64", "system": "Linux", "python": "3.11",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"counters": [1]}, "'list' object has no attribute 'items'"),
        ({"counters": {"a": None}}, "must be a string or a real number"),
        ({"exact": {"a": "x"}}, "could not convert string to float: 'x'"),
        ({"quality": {"a": {"better": "up", "values": [1]}}}, "a: better is 'up'; choose lower or higher"),
        ({"quality": {"a": {"better": "lower"}}}, "KeyError: 'values'"),
    ],
)
def test_what_is_written_wrongly_gets_one_line(extra, said):
    with pytest.raises(InputError, match=r"^new: not a report of pytest-benchmark: ") as caught:
        benchmarks([reported(**extra)], "new")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
