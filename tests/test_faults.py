"""Runs that fail are rows that say why, and nothing else suffers: out of memory, out of time, code that raises."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aebench
from aebench import faults, holding, pipeline, suite, work
from aebench.errors import InputError
from aebench.progress import Progress
from aebench.stopping import Stopped
from aebench.store import Store
from aebench.train import TooLarge
from aebench.work import Worker

TOO_MUCH = 2**60
SUITE = """\
name: trial
about: two packs
seeds: 4
data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}
network: {kind: mlp, hidden: [8]}
train: {steps: 64, batch: 16}
runs:
  - {variant: ae}
  - {variant: vae}
metrics: [reconstruction, energy]
"""


def go(folder: Path, content: str = SUITE, **options: Any) -> pipeline.Done:
    planning = {key: options.pop(key) for key in ("retry_failed", "allow_code") if key in options}
    wanted = suite.parse(content, allow_code=planning.get("allow_code", False))
    todo, code = pipeline.plan(wanted, folder, **planning), planning.get("allow_code", False)
    quiet = Progress(quiet=True)
    return pipeline.execute(todo, device="cpu", report=False, progress=quiet, allow_code=code, **options)


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    return {document["id"]: document for document in Store(folder / "results" / "trial").documents()}


def values(document: dict[str, Any]) -> dict[str, float]:
    return {name: m["value"] for name, m in document["metrics"].items() if m["value"] is not None}


def of(folder: Path, variant: str) -> list[dict[str, Any]]:
    return [d for d in documents(folder).values() if d["spec"]["variant"] == variant]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    assert go(folder).failed == []
    return folder


def agree(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["status"] == other["status"] == "ok"
    assert values(one) == pytest.approx(values(other), rel=1e-4, abs=1e-5)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (one["status"], values(one), one["curves"]) == (other["status"], values(other), other["curves"])


# ---- out of memory


def torch_asks() -> None:
    torch.empty(TOO_MUCH)


def numpy_asks() -> None:
    np.empty(TOO_MUCH, np.uint8)


def chained() -> None:
    try:
        torch.empty(TOO_MUCH)
    except RuntimeError as error:
        raise ValueError("in the midst of something") from error


def gpu_asks() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def cublas_asks() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def predicted() -> None:
    raise TooLarge(8, 100, 30)


@pytest.mark.parametrize("ask", [torch_asks, numpy_asks, chained, gpu_asks, cublas_asks, predicted])
def test_memory_that_is_not_there_is_told_from_other_faults(ask: Callable[[], None]):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ask()
    assert faults.out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of range"), OSError(2, "no file")])
def test_other_faults_are_not_of_memory(error: Exception):
    assert not faults.out_of_memory(error)


@pytest.mark.parametrize(
    ("runs", "error", "parts"),
    [
        (8, TooLarge(8, 100, 30), 4), (8, MemoryError(), 2), (8, RuntimeError("x"), 2), (1, MemoryError(), 1),
        (8, faults.TimeLimit("x"), 1), (8, InputError("no such data"), 1),
    ],
)  # fmt: skip
def test_in_how_many_parts_a_pack_goes_on(runs: int, error: Exception, parts: int):
    assert faults.parts(runs, error) == parts


def greedy(train: Any, most: int) -> Any:
    """Training that asks for more memory than there is where more runs than so many are together."""

    def asking(*args: Any) -> Any:
        if len(args[3]) > most and args[0].name == "vae":
            torch.empty(TOO_MUCH)
        return train(*args)

    return asking


def test_a_pack_without_memory_is_split_and_its_neighbours_are_untouched(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(work, "train", greedy(work.train, 2))
    assert go(tmp_path).failed == []
    for document in of(tmp_path, "vae"):
        assert document["cost"]["pack"]["runs"] == 2
        agree(document, documents(sound)[document["id"]])
    for document in of(tmp_path, "ae"):
        same(document, documents(sound)[document["id"]])


def test_a_split_pack_that_is_half_published_is_trained_again_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So what trains together does not depend on where a command was killed."""
    monkeypatch.setattr(work, "train", greedy(work.train, 2))
    go(tmp_path)
    before = documents(tmp_path)
    for lost in of(tmp_path, "vae"):
        (tmp_path / "results" / "trial" / f"{lost['id']}.json").unlink()
        assert go(tmp_path).trained == 4
        for id, document in documents(tmp_path).items():
            same(document, before[id])


def test_without_memory_for_one_run_each_is_recorded(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work, "train", greedy(work.train, 0))
    done = go(tmp_path)
    assert [d["status"] for d in done.failed] == ["out_of_memory"] * 4
    for document in done.failed:
        assert document["spec"]["variant"] == "vae"
        assert "memory" in document["error"]["message"]
        assert "torch.empty" in document["error"]["traceback"]
    for document in of(tmp_path, "ae"):
        same(document, documents(sound)[document["id"]])
    monkeypatch.undo()
    assert go(tmp_path, retry_failed=True).failed == []
    for id, document in documents(tmp_path).items():
        same(document, documents(sound)[id])


def test_metrics_without_memory_are_measured_in_halves(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    evaluate, sizes = work.evaluate, list[int]()

    def asking(runs: Any, *rest: Any) -> Any:
        sizes.append(len(runs.seeds))
        if len(runs.seeds) > 1:
            torch.empty(TOO_MUCH)
        return evaluate(runs, *rest)

    monkeypatch.setattr(work, "evaluate", asking)
    assert go(tmp_path).failed == []
    assert {1, 2, 4} == set(sizes)
    for id, document in documents(tmp_path).items():
        assert document["error"] is None
        assert document["curves"] == documents(sound)[id]["curves"]
        agree(document, documents(sound)[id])


# ---- out of time


def test_a_time_limit_is_a_runs_own_and_no_part_of_its_id():
    limited = suite.parse(SUITE + "time_limit: 60\n")
    assert limited.time_limit == 60
    assert limited.runs == suite.parse(SUITE).runs
    for wrong in ("0", "-1", "soon"):
        with pytest.raises(InputError, match="time_limit"):
            suite.parse(SUITE + f"time_limit: {wrong}\n")


ENDLESS = SUITE.replace("{variant: vae}", "{variant: vae, train: {steps: 100000000}}")


def test_a_run_that_takes_too_long_fails_and_the_others_finish(sound: Path, tmp_path: Path):
    done = go(tmp_path, ENDLESS + "time_limit: 0.5\n")
    assert len(done.failed) == 4
    for document in done.failed:
        assert (document["status"], document["error"]["kind"]) == ("failed", "TimeLimit")
        said = "time limit: 0.5 s of training for each of the 4 runs have passed"
        assert document["error"]["message"] == said
        assert document["error"]["traceback"]
    for document in of(tmp_path, "ae"):
        same(document, documents(sound)[document["id"]])
    frame = aebench.load(tmp_path / "results" / "trial")
    assert frame["status"].eq("failed").sum() == 4
    assert not list((tmp_path / "results" / "trial").glob(".*"))


HANGING = """
from dataclasses import replace
from aebench.variants.autoencoder import AE

def build(event_shape, network, sizes):
    while True:
        pass

HANGING = replace(AE, name="hanging", build=build)
RAISING = replace(AE, name="raising", build=lambda event_shape, network, sizes: 1 / 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="a timer as POSIX has it")
def test_code_that_hangs_is_interrupted(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.py").write_text(HANGING)
    monkeypatch.setattr(Worker, "check", lambda self, pack: self.holding.dataset(pack[0].spec))
    monkeypatch.setattr(Worker, "together", lambda self, pack: True)
    monkeypatch.setattr(Worker, "parts", lambda self, pack: (1, {}))
    monkeypatch.setattr(Worker, "set_threads", lambda self, spec: None)
    content = SUITE.replace("variant: vae", f"variant: '{tmp_path}/mine.py:HANGING'") + "time_limit: 0.2\n"
    done = go(tmp_path, content, allow_code=True)
    assert [d["error"]["kind"] for d in done.failed] == ["TimeLimit"] * 4
    assert "in build" in done.failed[0]["error"]["traceback"]
    assert [d["status"] for d in of(tmp_path, "ae")] == ["ok"] * 4


def test_code_that_raises_fails_alone(sound: Path, tmp_path: Path):
    (tmp_path / "mine.py").write_text(HANGING)
    content = SUITE.replace("variant: vae", f"variant: '{tmp_path}/mine.py:RAISING'")
    done = go(tmp_path, content, allow_code=True)
    assert [d["error"]["kind"] for d in done.failed] == ["ZeroDivisionError"] * 4
    assert all("division by zero" in d["error"]["traceback"] for d in done.failed)
    for document in of(tmp_path, "ae"):
        same(document, documents(sound)[document["id"]])


# ---- data that are gone


def test_data_that_go_while_others_train_are_the_runs_own_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "mine.npy"
    np.save(path, np.random.Generator(np.random.PCG64(0)).normal(size=(200, 3)).astype(np.float32))
    content = SUITE.replace("data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}", f"data: [pinwheel, {path}]")
    train = Worker.train

    def losing(self: Worker, pack: Any, on_point: Any) -> Any:
        yield from train(self, pack, on_point)
        path.unlink(missing_ok=True)
        for held in (self.holding.datasets, self.holding.resident):
            held.clear()

    monkeypatch.setattr(Worker, "train", losing)
    done = go(tmp_path, content)
    statuses = sorted(d["status"] for d in documents(tmp_path).values())
    assert statuses == ["failed"] * 8 + ["ok"] * 8
    assert len(done.failed) == 8
    for document in done.failed:
        assert document["spec"]["data"]["name"] != "pinwheel"
        assert "mine.npy" in document["error"]["message"]
        assert "Traceback" in document["error"]["traceback"]


def test_data_that_are_gone_at_the_start_fail_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The others train; once the data are there `--retry-failed` trains the rest, as if they had never been gone."""
    content = SUITE.replace("data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}", "data: [pinwheel, digits]")
    sound, lost = tmp_path / "sound", tmp_path / "lost"
    go(sound, content)
    load = holding.data.load

    def gone(spec: Any, **options: Any) -> Any:
        if spec["name"] == "digits":
            raise InputError("digits: not found in /nowhere")
        return load(spec, **options)

    with monkeypatch.context() as patched:
        patched.setattr(holding.data, "load", gone)
        done = go(lost, content)
        failed = [d for d in documents(lost).values() if d["status"] == "failed"]
        assert {d["spec"]["data"]["name"] for d in failed} == {"digits"}
        assert len(failed) == len(done.failed) == 8
        assert {d["error"]["message"] for d in failed} == {"digits: not found in /nowhere"}
        assert all("Traceback" in d["error"]["traceback"] for d in failed)
        whole = documents(sound)
        for document in documents(lost).values():
            if document["spec"]["data"]["name"] == "pinwheel":
                same(document, whole[document["id"]])
        with pytest.raises(InputError, match="digits: not found"):  # nothing else is left that could go on
            go(lost, content, retry_failed=True)
    assert go(lost, content, retry_failed=True).failed == []
    found = documents(lost)
    for id, document in whole.items():
        same(document, found[id])


# ---- errors of all kinds


def test_a_timer_longer_than_any_system_has(tmp_path: Path):
    assert go(tmp_path, SUITE + "time_limit: 1.0e+300\n").failed == []


def test_an_error_that_comes_from_itself():
    error = ValueError("x")
    error.__cause__ = error
    assert not faults.out_of_memory(error)


SPEECHLESS = """
from dataclasses import replace
from aebench.variants.autoencoder import AE

class Speechless(RuntimeError):
    def __str__(self):
        raise KeyError("nothing")

def build(event_shape, network, sizes):
    raise Speechless

SPEECHLESS = replace(AE, name="speechless", build=build)
"""


def test_failed_runs_say_how_they_were_tried_and_what_even_a_broken_error_is(tmp_path: Path):
    (tmp_path / "mine.py").write_text(SPEECHLESS)
    content = SUITE.replace("variant: vae", f"variant: '{tmp_path}/mine.py:SPEECHLESS'") + "determinism: strict\n"
    done = go(tmp_path, content, allow_code=True)
    assert [d["error"]["message"] for d in done.failed] == ["Speechless"] * 4
    for document in documents(tmp_path).values():
        assert document["made"]["determinism"] == {"asked": "strict", "not": []}


def test_a_run_that_fails_again_replaces_its_broken_document(tmp_path: Path):
    """Once it kept the whole pack from being published, each time anew."""
    (tmp_path / "mine.py").write_text(SPEECHLESS)
    content = SUITE.replace("variant: vae", f"variant: '{tmp_path}/mine.py:SPEECHLESS'")
    first = go(tmp_path, content, allow_code=True)
    path = tmp_path / "results" / "trial" / f"{first.failed[0]['id']}.json"
    path.write_text('{"schema"')
    done = go(tmp_path, content, allow_code=True)
    assert (len(done.failed), len(documents(tmp_path))) == (4, 8)
    assert path.stem in documents(tmp_path)


LEAVING = """
import sys
from dataclasses import replace
from aebench.variants.autoencoder import AE

LEAVING = replace(AE, name="leaving", build=lambda event_shape, network, sizes: sys.exit(0))
"""


def test_code_that_would_end_the_process_fails_alone(sound: Path, tmp_path: Path):
    """Else the command would end with code 0, with nothing trained and nothing said."""
    (tmp_path / "mine.py").write_text(LEAVING)
    content = SUITE.replace("variant: vae", f"variant: '{tmp_path}/mine.py:LEAVING'")
    done = go(tmp_path, content, allow_code=True)
    assert [d["error"]["message"] for d in done.failed] == ["sys.exit(0) was called"] * 4
    for document in of(tmp_path, "ae"):
        same(document, documents(sound)[document["id"]])


def again(error: BaseException) -> None:
    raise SystemError("returned a result with an exception set") from error


def beside(error: BaseException) -> None:
    raise RuntimeError("a fault") from ValueError("another")


def left(error: BaseException) -> None:
    sys.exit(130)


@pytest.mark.parametrize("place", ["attempt", "measure"])
@pytest.mark.parametrize("making", [again, beside, left])
def test_an_interrupt_that_somebodys_code_made_a_fault_of_ends_the_command(
    place: str, making: Callable[[BaseException], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As C code does whose call into Python a signal has ended; else the runs would count as failed."""

    def interrupted(*_: Any, **__: Any) -> None:
        try:
            raise Stopped(signal.SIGTERM)
        except KeyboardInterrupt as error:
            making(error)

    monkeypatch.setattr(Worker, place, interrupted)
    with pytest.raises(Stopped) as stopped:
        go(tmp_path)
    assert stopped.value.code == 143
    assert documents(tmp_path) == {}


def test_an_interrupt_in_a_group_is_one():
    def members() -> list[Exception]:
        try:
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as error:
                raise RuntimeError("a fault") from error
        except RuntimeError as fault:
            return [ValueError("another"), fault]

    with pytest.raises(KeyboardInterrupt), faults.contained():
        raise ExceptionGroup("both", members())


def test_derivatives_are_taken_after_a_fault_that_came_between(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A limit of time may come while torch is switching them on again, and concerns the runs of one pack alone."""
    attempt = Worker.attempt

    def limited(self: Worker, pack: Any, *rest: Any) -> Any:
        if pack[0].spec["variant"] == "ae":
            torch.set_grad_enabled(False)
            raise faults.TimeLimit("time limit: passed")
        return attempt(self, pack, *rest)

    monkeypatch.setattr(Worker, "attempt", limited)
    try:
        done = go(tmp_path)
        assert torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    assert [d["spec"]["variant"] for d in done.failed] == ["ae"] * 4
    for document in of(tmp_path, "vae"):
        same(document, documents(sound)[document["id"]])
