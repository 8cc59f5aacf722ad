"""A revision installed beside another, and its benchmarks run there, each time in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebench.errors import InputError

BENCHMARKS = "tests/benchmarks"
"""Where a project keeps them, unless told otherwise."""


@dataclass(frozen=True)
class Environment:
    """A Python that has one side installed."""

    name: str
    python: Path
    tree: Path | None
    """The files of a revision; None where the environment was there before."""


def revision(name: str, repository: str | Path = ".") -> str | None:
    """The commit that a name stands for in the repository, None where it is none."""
    done = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return done.stdout.decode().strip() or None if done.returncode == 0 else None


def existing(path: str | Path) -> Environment | None:
    """The environment at a path, None where there is no Python."""
    for place in ("bin/python", "Scripts/python.exe"):
        if (python := Path(path) / place).exists():
            return Environment(str(path), python.absolute(), None)
    return None


def extract(name: str, commit: str, folder: Path, repository: str | Path = ".") -> Path:
    """The files of a commit, below `folder`; the repository's own are not touched."""
    tree = folder / f"tree-{commit[:12]}"
    if tree.exists():
        return tree
    archive = folder / f"{commit[:12]}.tar"
    done = _git(repository, "archive", "--format=tar", f"--output={archive.absolute()}", commit)
    if done.returncode:
        raise InputError(f"{name}: its files cannot be read: {_last(done.stderr)}")
    with tarfile.open(archive) as packed:
        packed.extractall(tree, filter="data")
    archive.unlink()
    return tree


def install(name: str, tree: Path, folder: Path, *, alone: bool) -> Environment:
    """A virtual environment with the package of `tree`.

    Not `alone`, it uses the dependencies of this Python: right where both sides declare the same ones. Raises
    InputError with the installer's last line where the revision does not install.
    """
    place = folder / f"environment-{tree.name.removeprefix('tree-')}"
    if not place.exists():
        _run([sys.executable, "-m", "venv", *([] if alone else ["--without-pip"]), str(place)], name)
    environment = existing(place)
    assert environment is not None
    python = environment.python
    if alone:
        _run([str(python), "-m", "pip", "install", "-q", "pytest", "pytest-benchmark", str(tree)], name)
    else:
        own = Path(_output([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], name))
        (own / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
        _run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(own), str(tree)],
            name,
        )
    return Environment(name, python, tree)


def dependencies(tree: Path) -> Any:
    """What a revision asks to be installed with it, as its pyproject.toml declares it."""
    file = tree / "pyproject.toml"
    return (
        tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("dependencies")
        if file.exists()
        else None
    )


def measure(environment: Environment, benchmarks: Path, out: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """One report of pytest-benchmark: the benchmarks of a folder in a fresh process of this environment.

    `only`: names of benchmarks as reports have them (`file.py::test`), all where it is empty. A benchmark that fails
    is absent from the report. Raises InputError where none could be run.
    """
    chosen = [f"{benchmarks}{os.sep}{name}" for name in only] or [str(benchmarks)]
    command = [
        str(environment.python), "-m", "pytest", *chosen, f"--rootdir={benchmarks}", "--benchmark-only",
        f"--benchmark-json={out}", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
    ]  # fmt: skip
    variables = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, cwd=out.parent, env=variables, check=False)
    try:
        report: dict[str, Any] = json.loads(out.read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{environment.name}: no benchmark could be run: {_last(done.stdout, done.stderr)}") from None
    return report


def _git(repository: str | Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(repository), *words], capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("git is not installed: give environments or results instead of revisions") from None


def _run(command: Sequence[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"{name} does not install: {_last(done.stdout, done.stderr)}")


def _output(command: Sequence[str], name: str) -> str:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"{name}: its Python does not run: {_last(done.stdout, done.stderr)}")
    return done.stdout.decode().strip()


def _last(*streams: bytes) -> str:
    """The last line that says something, the error's own where there is one."""
    lines = [
        line.strip() for stream in streams for line in stream.decode(errors="replace").splitlines() if line.strip()
    ]
    errors = [line for line in lines if line.lower().startswith(("error", "e  "))]
    return (errors or lines or ["it said nothing"])[-1][:300]
