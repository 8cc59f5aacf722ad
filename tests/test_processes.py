"""Who lives and who wrote what: other containers, other users, other clocks, and file systems that answer late."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from aebench import processes
from aebench.claims import FOLDER, Claims, Owner, tidy
from aebench.store import atomic

posix = pytest.mark.skipif(os.name != "posix", reason="processes are looked up as POSIX has them")


@posix
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_the_system_hides_may_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With hidepid another user's process has no entry in /proc, but a signal to it is refused, not lost."""
    pid = 2**22 + 1  # no system has so many
    owner = Owner(processes.machine(), pid, "1234")
    assert (processes.begun(pid), owner.lives) == (None, False)

    def refuse(number: int, what: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    assert (processes.begun(pid), owner.lives) == ("", None)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "pack").write_text(json.dumps(vars(owner)))
    with Claims(tmp_path) as claims:
        assert not claims.take("pack")


def test_two_containers_of_one_name_write_into_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each is process 1 of a host of the same name, and both write at the same time."""
    path, names = tmp_path / "suite.json", set[str]()

    def two(file: Any) -> None:
        file.write(b"one, ")
        file.flush()
        names.update(os.listdir(tmp_path))
        with monkeypatch.context() as other:
            other.setattr(atomic, "mark", lambda: "host-other")
            atomic.replace(path, lambda file: file.write(b"the other"))
            mine = next(iter(tmp_path.glob(".*")))
            assert not atomic.abandoned(mine)
        assert path.read_bytes() == b"the other"
        file.write(b"and all of it")

    atomic.replace(path, two)
    assert path.read_bytes() == b"one, and all of it"
    assert len(names) == 1
    assert os.listdir(tmp_path) == ["suite.json"]


def test_a_process_in_a_container_has_its_own_mark(monkeypatch: pytest.MonkeyPatch):
    here = processes.mark()
    processes.mark.cache_clear()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(processes, "machine", lambda: "the same name, but another namespace")
        other = processes.mark()
    processes.mark.cache_clear()
    assert here == processes.mark() != other
    assert here[:-8] == other[:-8]


def test_the_age_of_a_file_is_told_by_the_clock_that_dated_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Here a machine's clock is an hour ahead of the file server's."""
    young, old = tmp_path / ".a.json.elsewhere-1.tmp", tmp_path / ".b.json.elsewhere-1.tmp"
    for path in (young, old):
        path.write_text("{")
    real = time.time
    os.utime(old, (real() - atomic.STALE_SECONDS - 60,) * 2)
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    atomic.sweep([tmp_path])
    assert os.listdir(tmp_path) == [young.name]


def test_a_name_that_was_given_and_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """NFS asks again when no answer comes, and hears that the name is taken: by itself."""
    link = os.link

    def twice(source: Any, target: Any) -> None:
        link(source, target)
        link(source, target)

    with Claims(tmp_path) as claims, Claims(tmp_path) as others:
        with monkeypatch.context() as nfs:
            nfs.setattr(os, "link", twice)
            assert claims.take("pack")
            assert not others.take("pack")
        assert not others.take("pack")
    assert not list(tmp_path.iterdir())


def test_a_claim_is_no_longer_the_temporary_file_of_a_process_that_was_killed(tmp_path: Path):
    """Killed between the two, it left one file under both names; a process of the same number must not write to it."""
    path = tmp_path / "pack"
    path.write_bytes(b"the dead one's")
    os.link(path, atomic.temporary_of(path))
    assert not atomic.create(path, lambda file: file.write(b"ours"))
    assert path.read_bytes() == b"the dead one's"


def test_names_of_new_folders_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder whose name is lost with the power takes all that lies in it along."""
    synced, sync = set[Path](), os.fsync

    def noting(descriptor: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", noting)
    atomic.replace(tmp_path / "results" / "trial" / "suite.json", lambda file: file.write(b"{}"))
    assert {tmp_path, tmp_path / "results"} <= synced
    synced.clear()
    atomic.replace(tmp_path / "results" / "trial" / "suite.json", lambda file: file.write(b"{}"))
    assert tmp_path not in synced


def full(*args: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_tidying_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither where a process leaves and takes the folder along, nor where the disk is full or only to be read."""
    folder, listdir = tmp_path / FOLDER, os.listdir

    def gone(path: Any) -> list[str]:
        Path(path).rmdir()
        return listdir(path)

    folder.mkdir()
    with monkeypatch.context() as leaving:
        leaving.setattr(os, "listdir", gone)
        tidy(tmp_path, ())
    assert not folder.exists()
    folder.mkdir()
    (folder / "pack").write_text(json.dumps({"host": "elsewhere", "pid": 1, "begun": "1", "token": "0" * 16}))
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoints" / "x.safetensors").write_bytes(b"x")
    for name in ("touch", "unlink", "rmdir", "open"):
        monkeypatch.setattr(Path, name, full)
    tidy(tmp_path, ())
    assert (folder / "pack").exists()
