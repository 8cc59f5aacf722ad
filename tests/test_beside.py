"""What copies of a process leave undone is done by the process: nothing is lost, errors and warnings come as ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from aebench.reporting import beside
from aebench.reporting.beside import Beside

copies = pytest.mark.skipif(sys.platform != "linux", reason="processes are not copied here")
HERE = os.getpid()


def sign(file: Path) -> None:
    file.write_text(str(os.getpid()))


@pytest.mark.parametrize("most", [1, 2, 8])
def test_all_is_done_by_the_end_of_the_block(tmp_path: Path, most: int):
    if most > 1 and sys.platform != "linux":
        pytest.skip("processes are not copied here")
    with Beside(most) as by:
        for i in range(6):
            by.do(lambda i=i: sign(tmp_path / str(i)))
    who = {int((tmp_path / str(i)).read_text()) for i in range(6)}
    assert who == {HERE} if most == 1 else HERE in who and len(who) == 6


@copies
def test_one_piece_of_work_is_no_reason_for_a_copy(tmp_path: Path):
    with Beside(2) as by:
        by.do(lambda: sign(tmp_path / "who"))
    assert int((tmp_path / "who").read_text()) == HERE


def test_one_core_is_no_reason_for_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    with Beside() as by:
        by.do(lambda: sign(tmp_path / "who"))
    assert int((tmp_path / "who").read_text()) == HERE


@copies
def test_a_worker_of_a_pool_makes_no_copies(tmp_path: Path):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(_sign_by, (tmp_path / "who",))
        worker = pool.apply(os.getpid)
    assert int((tmp_path / "who").read_text()) == worker


def _sign_by(file: Path) -> None:
    with Beside(2) as by:
        by.do(lambda: sign(file))


@copies
def test_copies_work_at_once(tmp_path: Path):
    """Each waits for the other's file."""

    def meet(own: str, other: str) -> None:
        sign(tmp_path / own)
        until = time.monotonic() + 30
        while not (tmp_path / other).exists() and time.monotonic() < until:
            time.sleep(0.01)
        (tmp_path / f"{own} met").write_text(str((tmp_path / other).exists()))

    with Beside(2) as by:
        by.do(lambda: meet("a", "b"))
        by.do(lambda: meet("b", "a"))
        by.do(lambda: None)
    assert [(tmp_path / f"{one} met").read_text() for one in "ab"] == ["True", "True"]


@copies
def test_an_error_of_a_copy_is_one_of_the_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise ValueError("a line")

    with pytest.raises(ValueError, match="a line"), Beside(2) as by:  # noqa: PT012
        by.do(fail)
        by.do(lambda: sign(tmp_path / "other"))
    assert (tmp_path / "other").exists()
    assert capfd.readouterr() == ("", "")


@copies
@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: time.sleep(1000)])
def test_what_a_copy_did_not_live_to_do_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end):
    monkeypatch.setattr(beside, "PATIENCE", 0.3)

    def work() -> None:
        if os.getpid() != HERE:
            end()
        sign(tmp_path / "who")

    with Beside(2) as by:
        by.do(work)
        by.do(lambda: None)
    assert int((tmp_path / "who").read_text()) == HERE


@copies
def test_a_warning_is_heard_unless_it_is_ignored(tmp_path: Path):
    def warn(word: str) -> None:
        warnings.warn(word, stacklevel=1)
        sign(tmp_path / word)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", "idle")
        with Beside(2) as by:
            by.do(lambda: warn("idle"))
            by.do(lambda: warn("grave"))
            by.do(lambda: None)
    assert [str(warning.message) for warning in heard] == ["grave"]
    assert int((tmp_path / "idle").read_text()) != HERE
    assert int((tmp_path / "grave").read_text()) == HERE


@copies
def test_no_room_for_a_copy_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with Beside(2) as by:
        by.do(lambda: sign(tmp_path / "who"))
        by.do(lambda: None)
    assert int((tmp_path / "who").read_text()) == HERE


@copies
def test_an_interrupt_leaves_whole_files(tmp_path: Path):
    """Signals of a terminal go to all its processes: a copy ends what it is at, and the process waits for it."""

    def slow() -> None:
        sign(tmp_path / "begun")
        time.sleep(0.5)
        sign(tmp_path / "ended")

    def interrupt() -> None:
        until = time.monotonic() + 30
        while not (tmp_path / "begun").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(int((tmp_path / "begun").read_text()), signal.SIGINT)
        os.kill(HERE, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), Beside(2) as by:  # noqa: PT012
        by.do(slow)
        by.do(lambda: None)
        time.sleep(30)
    assert (tmp_path / "ended").exists()
