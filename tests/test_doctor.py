"""aebench doctor RESULTS: every kind of damage is one line, and is set aside without losing a byte."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from synthetic import document
from test_cli import Cli, cli  # noqa: F401

from aebench import suite
from aebench.claims import Claims
from aebench.errors import InputError
from aebench.plan import complete
from aebench.processes import mark
from aebench.stopping import CHECKPOINTS
from aebench.store import Store, atomic
from aebench.store.checkup import checkup, set_aside

TRIAL = """\
name: trial
seeds: 3
data: {name: pinwheel, n: 64, n_validation: 32, n_test: 32}
network: {kind: mlp, hidden: [4]}
train: {steps: 4, batch: 8}
runs: [{variant: ae}]
metrics: [reconstruction]
"""
ARRAYS = {"x": np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10)}
WEIGHTS = {"w": np.arange(300, dtype=np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three whole runs of a real suite, the first of which the tests damage."""
    wanted = suite.parse(TRIAL)
    store = Store(tmp_path / "results" / "trial")
    for run in wanted.runs:
        store.publish(document(suite="trial") | {"id": run.id, "spec": run.spec}, ARRAYS, WEIGHTS)
    store.write_manifest({"name": "trial", "ids": [run.id for run in wanted.runs], "text": TRIAL, "arguments": []})
    return store


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def spec_of(path: Path) -> dict:
    return json.loads(path.read_text())["spec"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flip(path: Path) -> None:
    """One bit of the values."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def weights(path: Path) -> Path:
    return path.parent / "weights" / f"{path.stem}.safetensors"


def npz(path: Path) -> Path:
    return path.with_suffix(".npz")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "broken JSON"),
    "half": (cut, "broken JSON"),
    "no JSON object": (lambda p: p.write_text("[]"), "not a JSON object"),
    "infinite": (lambda p: p.write_text(p.read_text().replace("2.5", "1e999")), "1e999 is too large a number"),
    "not a number": (lambda p: p.write_text(p.read_text().replace("2.5", "NaN")), "NaN is not JSON"),
    "no schema": (lambda p: edit(p, schema=None), "not a run document: schema None"),
    "another's id": (lambda p: edit(p, id="0" * 16), "holds the run '0000000000000000', which is not the file's name"),
    "no status": (lambda p: edit(p, status="fine"), "unknown status 'fine'"),
    "no cost": (lambda p: edit(p, cost=3), "cost is missing or is not a dict"),
    "edited": (lambda p: edit(p, spec=spec_of(p) | {"seed": 7}), "its specification is that of the run"),
    "npz cut": (lambda p: cut(npz(p)), "broken arrays"),
    "npz flipped": (lambda p: flip(npz(p)), "broken arrays"),
    "npz of objects": (lambda p: np.savez(npz(p), x=np.array([{}], dtype=object)), "x holds Python objects"),
    "npz not finite": (
        lambda p: np.savez(npz(p), x=np.array([0.0, np.nan])),
        "it ended well, and x of its arrays or weights has a number that is not finite",
    ),
    "weights cut": (lambda p: cut(weights(p)), "broken weights"),
    "weights empty": (lambda p: weights(p).write_bytes(b""), "broken weights"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line_and_the_whole_run_is_set_aside(store: Store, kind: str):
    damage, line = DAMAGE[kind]
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    damage(victim)
    before = contents(store.folder)
    (fault,) = checkup(store.folder)
    assert line in fault.line
    assert victim.stem in fault.line
    assert fault.line.isprintable()
    assert fault.bad
    moved = set_aside([fault])
    after = contents(store.folder)
    assert sorted(after.values()) == sorted(before.values())  # not a byte is lost, or changed
    aside = {name.removeprefix("set-aside/1/"): content for name, content in after.items() if "set-aside" in name}
    assert aside == {name: content for name, content in before.items() if victim.stem in name}
    assert len(moved) == len(aside) == 3
    assert store.missing(store.manifest()["ids"]) == [victim.stem]
    (note,) = checkup(store.folder)
    assert not note.bad
    assert "1 of its 3 runs have no document: aebench run trains them" in note.line


def test_a_whole_folder_has_no_fault(store: Store):
    assert checkup(store.folder) == checkup(store.folder.parent) == []
    assert set_aside([]) == []
    assert not (store.folder / "set-aside").exists()


def test_a_run_that_ended_badly_may_have_numbers_that_are_not_finite(store: Store):
    id = store.manifest()["ids"][0]
    error = {"kind": "diverged", "message": "no finite number", "traceback": None}
    store.publish(store.read(id) | {"status": "diverged", "error": error}, {"x": np.array([np.nan])}, {})
    assert checkup(store.folder) == []


def test_a_document_of_a_newer_schema_is_named_and_stays(store: Store):
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    edit(victim, schema=99)
    before = contents(store.folder)
    (fault,) = checkup(store.folder)
    assert "schema 99, and this aebench reads up to" in fault.line
    assert fault.bad
    assert set_aside([fault]) == []
    assert contents(store.folder) == before


def test_companions_without_a_document_are_set_aside_when_no_writer_can_be_under_way(store: Store):
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    victim.unlink()
    with Claims(store.folder) as claims:  # somebody is at work
        claims.take("pack")
        fault, note = checkup(store.folder)
        assert "without a document; young enough to be of a run that goes on" in fault.line
        assert fault.files == ()
        assert not note.bad
        long_ago = time.time() - atomic.STALE_SECONDS - 60
        young = [(path, path.stat().st_mtime) for path in (npz(victim), weights(victim))]
        for path, _ in young:
            os.utime(path, (long_ago, long_ago))
        assert checkup(store.folder)[0].line.endswith("without a document")
    for path, when in young:
        os.utime(path, (when, when))
    fault = checkup(store.folder)[0]  # nobody is
    assert fault.line.endswith("without a document")
    assert {path.name for _, path in set_aside([fault])} == {npz(victim).name, weights(victim).name}


def test_temporary_files_of_dead_writers_are_found_and_live_ones_left(store: Store):
    dead = store.folder / f".suite.json.{mark()}-999999999.tmp"
    live = store.folder / "weights" / f".x.{mark()}-{os.getpid()}.tmp"
    hidden = store.folder / CHECKPOINTS / f".p.safetensors.{mark()}-999999999.tmp"
    namesake = store.folder / f".suite.json.{mark()[:-8]}00000000-999999999.tmp"  # in another container
    for path in (dead, live, hidden, namesake):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{")
    faults = checkup(store.folder)
    assert [f.line for f in faults] == [f"{p}: left by a process that was ended while it wrote" for p in (dead, hidden)]
    assert [to.read_text() for _, to in set_aside(faults)] == ["{", "{"]
    assert [path.exists() for path in (dead, hidden, live, namesake)] == [False, False, True, True]
    assert (store.folder / "set-aside" / "1" / CHECKPOINTS / hidden.name).exists()


def test_a_checkpoint_that_cannot_be_read_is_set_aside(store: Store):
    folder = store.folder / CHECKPOINTS
    folder.mkdir()
    save_file({"w": np.zeros(3)}, folder / "whole.safetensors", {"runs": "0123456789abcdef"})
    (folder / "broken.safetensors").write_bytes(b"x")
    (fault,) = checkup(store.folder)
    assert fault.line == f"{folder / 'broken.safetensors'}: a checkpoint that cannot be read"
    set_aside([fault])
    assert checkup(store.folder) == []


def test_what_goes_while_it_is_looked_at_is_no_fault(store: Store, monkeypatch: pytest.MonkeyPatch):
    """As beside a command that is at work."""
    folder = store.folder / CHECKPOINTS
    folder.mkdir()
    (store.folder / ".suite.json.elsewhere-1.tmp").write_text("{")
    (folder / "p.safetensors").write_bytes(b"x")
    abandoned = atomic.abandoned

    def gone(path: Path) -> bool:
        path.unlink()
        shutil.rmtree(folder)
        return abandoned(path)

    monkeypatch.setattr(atomic, "abandoned", gone)
    assert checkup(store.folder) == []


def test_arrays_that_a_document_names_must_be_there(store: Store):
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    edit(victim, arrays=["x"])
    assert checkup(store.folder) == []
    edit(victim, arrays=["x", "codes"])
    assert checkup(store.folder)[0].line == f"{victim}: it lacks arrays: codes"
    npz(victim).unlink()
    assert checkup(store.folder)[0].line == f"{victim}: it lacks arrays: x, codes"


def test_a_broken_manifest_is_set_aside_and_documents_it_does_not_name_are_noted(store: Store):
    path = store.folder / "suite.json"
    ids = store.manifest()["ids"]
    path.write_text(json.dumps({"ids": ids[1:]}))
    (note,) = checkup(store.folder)
    assert (note.bad, note.files) == (False, ())
    assert note.line == f"{store.folder / ids[0]}.json: not named by suite.json: of other settings of this suite"
    path.write_text('{"ids": ')
    (fault,) = checkup(store.folder)
    assert "broken JSON" in fault.line
    assert [to.name for _, to in set_aside([fault])] == ["suite.json"]
    (note,) = checkup(store.folder)
    assert "is not there; the next aebench run writes it" in note.line


def test_what_is_set_aside_never_overwrites_what_was(store: Store):
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    for n in (1, 2, 3):
        victim.write_text(f"broken {n}")
        set_aside(checkup(store.folder))
        assert (store.folder / "set-aside" / str(n) / victim.name).read_text() == f"broken {n}"
    assert (store.folder / "set-aside" / "1" / victim.name).read_text() == "broken 1"


def test_things_that_are_no_files_of_results_are_left_alone(store: Store):
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "0123456789abcdef.json").mkdir()
    (store.folder / "weights" / "mine").mkdir()
    assert checkup(store.folder) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a named pipe")
def test_a_pipe_is_not_waited_for(store: Store):
    os.mkfifo(store.folder / "0123456789abcdef.json")
    (store.folder / "0000000000000000.json").symlink_to("/dev/zero")
    (store.folder / "1111111111111111.json").symlink_to("nowhere")
    lines = [fault.line for fault in checkup(store.folder)]
    assert sum("not a file of at most 256 MiB" in line for line in lines) == 2
    assert len(store.documents()) == 3
    victim = store.folder / f"{store.manifest()['ids'][0]}.json"
    for path in (npz(victim), weights(victim)):
        held = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert any(f"{path}: broken" in f.line and "not a regular file" in f.line for f in checkup(store.folder))
        assert complete(store.read(victim.stem) | {"arrays": ["x"]}, store) == (path != npz(victim))
        path.unlink()
        path.write_bytes(held)


def test_no_results_are_one_line(tmp_path: Path):
    for path, line in (("absent", "no such folder"), (".", "no results in")):
        with pytest.raises(InputError, match=line):
            checkup(tmp_path / path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        checkup(tmp_path / "file")


def test_a_folder_that_cannot_be_moved_into_is_one_line(store: Store):
    (store.folder / "set-aside").write_text("a file")
    (store.folder / f"{store.manifest()['ids'][0]}.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot set .* aside: File exists"):
        set_aside(checkup(store.folder))
    assert len(contents(store.folder)) == 3 * 3 + 2


def test_on_the_command_line_the_next_run_trains_what_was_set_aside(cli: Cli, tmp_path: Path):  # noqa: F811
    (tmp_path / "trial.yaml").write_text(TRIAL)
    assert cli("run", "trial.yaml", "--quiet", "--no-report").code == 0
    folder = Path("results/trial")
    healthy = contents(folder)
    assert cli("doctor", folder) == (0, "", f"{folder}: nothing is damaged\n")
    id = json.loads((folder / "suite.json").read_text())["ids"][1]
    (folder / f"{id}.json").write_text('{"schema": 1')
    said = cli("doctor", folder)
    assert said.code == 1
    assert said.out.startswith(f"{folder}/{id}.json: broken JSON")
    assert len(said.out.splitlines()) == 1
    assert said.err == f"{folder}: 1 fault; --set-aside moves the files of 1\n"
    told = cli("doctor", folder, "--json")
    assert (told.code, json.loads(told.out)["faults"][0]["bad"]) == (1, True)
    said = cli("doctor", folder, "--set-aside")
    assert said.code == 1
    assert said.err.startswith(f"{folder}: 1 fault; 3 files are set aside; the next aebench run trains again")
    assert cli("doctor", folder).code == 0
    assert cli("run", "trial.yaml", "--quiet", "--no-report").code == 0
    shutil.rmtree(folder / "set-aside")
    again = contents(folder)
    assert again.keys() == healthy.keys()
    ours = [name for name in healthy if name.endswith(".safetensors")]
    assert [again[name] for name in ours] == [healthy[name] for name in ours]
    assert cli("doctor", folder) == (0, "", f"{folder}: nothing is damaged\n")


def test_setting_aside_wants_a_folder(cli: Cli):  # noqa: F811
    said = cli("doctor", "--set-aside")
    assert (said.code, said.err.splitlines()[0]) == (
        2, "error: --set-aside wants a folder of results: aebench doctor RESULTS --set-aside"
    )  # fmt: skip
    assert cli("doctor", "nowhere").err == "error: nowhere: no such folder of results\n"
