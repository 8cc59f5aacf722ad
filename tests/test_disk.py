"""A disk that is full or read-only under `aebench run`: one line, exit code 2, and the same command then finishes.

The faults are those of a real file system: a small one in memory, mounted in a name space of the test's own. Where that
is not allowed, a limit on the size of files does for the full disk.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import Cli, cli  # noqa: F401
from test_doctor import contents

from aebench.store import Store

SUITE = """\
name: trial
seeds: 1
data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}
network: {kind: mlp, hidden: [16]}
train: {steps: 4, batch: 32}
runs:
  - {variant: ae, sizes: {latent: 1}}
  - {variant: ae, sizes: {latent: 2}}
  - {variant: vae, sizes: {latent: 1}}
  - {variant: vae, sizes: {latent: 2}}
metrics: [reconstruction]
"""
AEBENCH = shlex.join([sys.executable, "-m", "aebench"])
RUN = f"{AEBENCH} run trial.yaml --device cpu --quiet --no-report"


def mounts() -> bool:
    """Whether this user may mount a file system in a name space of her own."""
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(words, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not mounts(), reason="needs to mount a file system")


def sh(folder: Path, script: str) -> str:
    """What a script says that runs in a name space of its own, with a file system in memory on `results`."""
    (folder / "trial.yaml").write_text(SUITE)
    (folder / "results").mkdir()
    environment = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder)}
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def part(said: str, name: str) -> str:
    return said.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()


def one_line(said: str, line: str) -> None:
    """The error is one line, and there is no traceback."""
    (error,) = [text for text in said.splitlines() if text.startswith("error: ")]
    assert re.search(line, error), said
    assert "Traceback" not in said


def same_numbers(one: Store, other: Store) -> None:
    ids = one.manifest()["ids"]
    assert ids == other.manifest()["ids"]
    for id in ids:
        mine, theirs = one.read(id), other.read(id)
        assert mine["metrics"] == theirs["metrics"]
        assert mine["curves"] == theirs["curves"]
    assert {id: one.weights_path(id).read_bytes() for id in ids} == {
        id: other.weights_path(id).read_bytes() for id in ids
    }


@needs_mount
def test_a_full_disk_is_one_line_and_the_same_command_finishes(tmp_path: Path):
    """The disk fills up after one or two of four packs: what is finished stays as it is, byte by byte."""
    said = sh(
        tmp_path,
        f"""
        mount -t tmpfs -o size=32k tmpfs results
        echo '<first>'; {RUN} 2>&1; echo "code $?"; echo '</first>'
        mkdir kept; cp -a results/. kept
        echo '<doctor>'; {AEBENCH} doctor results/trial 2>&1; echo "code $?"; echo '</doctor>'
        mount -o remount,size=4m results
        echo '<second>'; {RUN} 2>&1; echo "code $?"; echo '</second>'
        mkdir final; cp -a results/. final
        """,
    )
    one_line(part(said, "first"), r"cannot write results/trial/.*: No space left on device")
    assert part(said, "first").endswith("code 2")
    kept, final = Store(tmp_path / "kept" / "trial"), Store(tmp_path / "final" / "trial")
    assert 0 < len(kept.documents()) < 4
    assert kept.problems == []
    for document in kept.documents():
        id = document["id"]
        assert final.read(id) == document
        assert kept.weights(id)
        assert final.weights_path(id).read_bytes() == kept.weights_path(id).read_bytes()
    assert not [name for name in contents(kept.folder) if name.endswith(".tmp")]
    assert part(said, "second").endswith("code 0")
    assert "nothing is damaged" in part(said, "doctor")
    subprocess.run(shlex.split(f"{RUN} --out other"), cwd=tmp_path, check=True, capture_output=True)
    same_numbers(final, Store(tmp_path / "other" / "results" / "trial"))


@needs_mount
def test_a_read_only_folder_is_one_line_and_the_same_command_finishes(tmp_path: Path):
    said = sh(
        tmp_path,
        f"""
        mkdir before between final
        mount -t tmpfs -o size=4m tmpfs results
        {RUN} --set 'runs=[{{variant: ae, sizes: {{latent: 1}}}}]' > /dev/null 2>&1
        cp -a results/. before
        mount -o remount,ro results
        echo '<first>'; {RUN} 2>&1; echo "code $?"; echo '</first>'
        echo '<table>'; {AEBENCH} table results/trial 2>&1; echo "code $?"; echo '</table>'
        cp -a results/. between
        mount -o remount,rw results
        echo '<second>'; {RUN} 2>&1; echo "code $?"; echo '</second>'
        cp -a results/. final
        """,
    )
    one_line(part(said, "first"), r"cannot write results/trial/.*: Read-only file system")
    assert part(said, "first").endswith("code 2")
    assert part(said, "table").endswith("code 0")
    assert contents(tmp_path / "between") == contents(tmp_path / "before")
    assert part(said, "second").endswith("code 0")
    final = Store(tmp_path / "final" / "trial")
    assert len(final.documents()) == 4
    assert final.problems == []


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
sys.argv[0] = "aebench"
from aebench.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_limit_on_the_size_of_files_is_one_line_and_the_same_command_finishes(tmp_path: Path):
    """What a quota does: the first file that is too large fails."""
    (tmp_path / "trial.yaml").write_text(SUITE)
    words = ["run", "trial.yaml", "--device", "cpu", "--quiet", "--no-report"]
    environment = os.environ | {"COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    one_line(done.stderr, r"cannot write results/trial/.*: File too large")
    assert done.returncode == 2
    store = Store(tmp_path / "results" / "trial")
    assert not [name for name in contents(store.folder) if name.endswith(".tmp")]
    assert store.documents() == []
    assert store.problems == []
    subprocess.run([sys.executable, "-m", "aebench", *words], cwd=tmp_path, check=True, capture_output=True)
    assert len(store.documents()) == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_rename_that_fails_once_is_one_line_and_the_same_command_finishes(
    cli: Cli,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
):
    (tmp_path / "trial.yaml").write_text(SUITE)
    replace, calls = os.replace, []

    def failing(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) == 6:  # in the middle of the second or third pack
            raise OSError(number, os.strerror(number), str(target))
        replace(source, target)

    words = ("run", "trial.yaml", "--device", "cpu", "--quiet", "--no-report")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        said = cli(*words)
    assert said.code == 2
    one_line(said.err, rf"cannot write .*: {os.strerror(number)}$")
    store = Store(tmp_path / "results" / "trial")
    before = {document["id"]: document for document in store.documents()}
    assert 0 < len(before) < 4
    assert store.problems == []
    assert cli(*words).code == 0
    after = {document["id"]: document for document in store.documents()}
    assert len(after) == 4
    assert {id: after[id] for id in before} == before


@pytest.mark.parametrize("place", ["results", "results/trial", "results/trial/weights"])
def test_a_file_where_a_folder_should_be_is_one_line(cli: Cli, tmp_path: Path, place: str):  # noqa: F811
    (tmp_path / "trial.yaml").write_text(SUITE)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("mine")
    said = cli("run", "trial.yaml", "--device", "cpu", "--quiet", "--no-report")
    assert said.code == 2
    one_line(said.err, r"cannot (write|read) .*(not a folder|Not a directory)")
    assert (tmp_path / place).read_text() == "mine"
    (tmp_path / place).unlink()
    assert cli("run", "trial.yaml", "--device", "cpu", "--quiet", "--no-report").code == 0


def test_a_newer_document_is_one_line_and_is_not_trained_over(cli: Cli, tmp_path: Path):  # noqa: F811
    (tmp_path / "trial.yaml").write_text(SUITE)
    words = ("run", "trial.yaml", "--device", "cpu", "--quiet", "--no-report")
    assert cli(*words).code == 0
    store = Store("results/trial")
    path = store.folder / f"{store.ids()[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 7}))
    before = path.read_bytes()
    said = cli(*words)
    assert said.code == 2
    one_line(said.err, r"schema 7, and this aebench reads up to 1: install a newer one")
    assert path.read_bytes() == before
    said = cli("table", "results/trial")
    assert said.code == 0
    assert "schema 7" in said.err
