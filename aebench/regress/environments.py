"""A revision installed beside another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aebench.errors import InputError
from aebench.regress import programs

NEEDED = ("pytest", "pytest-benchmark")
INSTALLED = "installed.json"
"""Written last into an environment: without it, it was interrupted."""


@dataclass(frozen=True)
class Environment:
    """A Python that has one side installed."""

    name: str
    python: Path
    tree: Path | None
    """The files of a revision; None where the environment was there before."""


def existing(path: str | Path) -> Environment | None:
    """The environment at a path, None where there is no Python."""
    for place in ("bin/python", "Scripts/python.exe"):
        if (python := Path(path) / place).exists():
            return Environment(str(path), python.absolute(), None)
    return None


def extract(name: str, commit: str, folder: Path, repository: str | Path = ".") -> Path:
    """The files of a commit, below `folder`; neither the files nor the index of the repository are touched.

    Where `repository` is a folder in one, the tree is that folder's. All files come, also those that .gitattributes
    keeps out of archives: tests are often among them.
    """
    prefix = _git(repository, "rev-parse", "--show-prefix").stdout.decode().strip()
    tree = folder / f"tree-{commit[:12]}"
    if not tree.exists():
        top = _git(repository, "rev-parse", "--show-toplevel").stdout.decode().strip() or repository
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            own = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            files = Path(scratch) / "files"
            for words in (("read-tree", commit), ("checkout-index", "--all", f"--prefix={files.absolute()}/")):
                if (done := _git(top, *words, **own)).returncode:
                    raise InputError(
                        f"{name}: its files cannot be read: {programs.last(done.stderr.decode(errors='replace'))}"
                    )
            files.mkdir(exist_ok=True)  # a commit may have no file
            files.rename(tree)
    return tree / prefix


def install(name: str, tree: Path, place: Path, *, alone: bool) -> Environment:
    """A virtual environment at `place` with the package of `tree`, or the one that an earlier call made of both.

    Not `alone`, it sees the packages of this Python as well, after its own: right where `served` says so. But for the
    package itself: the files of a copy that is there are another revision's. The wheel is built with the build backend
    of this Python where it has it, else with one that pip fetches. Raises InputError with the installer's last line
    where the revision does not install.
    """
    shared = {} if alone else _shared(_name(tree))
    stamp = json.dumps([sys.prefix, sys.version, alone, str(tree.absolute()), shared])
    if not (place / INSTALLED).exists() or (place / INSTALLED).read_text(encoding="utf-8") != stamp:
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, symlinks=os.name == "posix")
        python = str(_python(place))
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        with tempfile.TemporaryDirectory(dir=place) as wheels:
            built = ["--no-build-isolation"] if _builds(tree) else []
            _run([*pip, "wheel", "--no-deps", *built, "--wheel-dir", wheels, str(tree)], name, Path(wheels))
            what = [*map(str, Path(wheels).glob("*.whl")), *(NEEDED if alone else ("--no-deps", "--no-index"))]
            _run([*pip, "--python", python, "install", *what], name, Path(wheels))
        if not alone:
            own = sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
            paths = _linked(shared, place / "shared")
            (Path(own) / "shared.pth").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
        (place / INSTALLED).write_text(stamp, encoding="utf-8")
    return Environment(name, _python(place), tree)


def _python(place: Path) -> Path:
    found = existing(place)
    assert found is not None
    return found.python


def _shared(name: str) -> dict[str, list[str] | None]:
    """The folders of this Python's packages, and what is to be seen of each: all where it is None.

    That is where there is no code of the package called so.
    """
    folders = [os.path.abspath(path) for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    found: dict[str, list[str] | None] = dict.fromkeys(folders)
    for folder in folders:
        listed = [file for copy in _copies(name, folder) for file in copy.files or () if file.parts[0] != ".."]
        if any(map(_code, listed)):
            files = {Path(os.path.abspath(file.locate())) for file in listed}
            seen = _beside(Path(folder), files, {parent for file in files for parent in file.parents})
            found[folder] = [entry.relative_to(folder).as_posix() for entry in seen]
    return found


def _code(file: metadata.PackagePath) -> bool:
    """Whether it is more than a description, or than what an editable install has to point to a package's files."""
    return not (".dist-info" in file.parts[0] or file.suffix == ".pth" or "__editable__" in file.name)


def _copies(name: str, *folders: str) -> list[metadata.Distribution]:
    """What is installed of the package called so, in these folders or all of this Python's path."""
    return list(metadata.distributions(name=name, path=list(folders) or sys.path)) if name else []


def _beside(folder: Path, files: Set[Path], within: Set[Path]) -> list[Path]:
    """What a folder has but for these files: of the folders that they are `within` each entry of its own."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name == "__pycache__":
            continue
        if entry in within:
            found += _beside(entry, files, within)
        elif entry not in files:
            found.append(entry)
    compiled = folder / "__pycache__"  # of no use without the sources, and alone it would make a package of its folder
    return [*found, compiled] if found and compiled.exists() else found


def _linked(shared: Mapping[str, list[str] | None], place: Path) -> list[Path]:
    """Folders for the path of an environment, in `place` with links to what is to be seen where that is not all."""
    found: list[Path] = []
    for number, (folder, seen) in enumerate(shared.items()):
        found.append(Path(folder) if seen is None else place / str(number))
        for entry in seen or ():
            link = found[-1] / entry
            link.parent.mkdir(parents=True, exist_ok=True)
            _link(link, Path(folder) / entry)
    return found


def _link(link: Path, to: Path) -> None:
    """A link, or on Windows, where a symbolic one takes a right that few have, what does as well."""
    if sys.platform != "win32":
        link.symlink_to(to)
    elif to.is_dir():
        import _winapi

        _winapi.CreateJunction(str(to), str(link))
    else:
        shutil.copyfile(to, link)


def served(trees: Sequence[Path]) -> bool:
    """Whether this Python has what all these revisions declare, the same for each, and what measures them.

    Not where it has a copy of one of them whose files nobody knows: `install` could not keep it out of sight.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    declared = [dependencies(tree) for tree in trees]
    if any(not isinstance(one, list) or one != declared[0] for one in declared):
        return False
    if any(copy.files is None for tree in trees for copy in _copies(_name(tree))):
        return False
    try:
        wanted = [Requirement(text) for text in [*declared[0], *NEEDED]]
        return all(
            wish.specifier.contains(metadata.version(wish.name), prereleases=True)
            for wish in wanted
            if wish.marker is None or wish.marker.evaluate()
        )
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return False


def dependencies(tree: Path) -> Any:
    """What a revision asks to be installed with it; None where its pyproject.toml leaves that to the build."""
    project = _declared(tree)
    return None if "dependencies" in project.get("dynamic", ()) else project.get("dependencies", [])


def _name(tree: Path) -> str:
    """What its pyproject.toml calls the package; "" where it leaves that to the build, too: it is not `served`."""
    return str(_declared(tree).get("name", ""))


def _declared(tree: Path) -> dict[str, Any]:
    """The table `project` of its pyproject.toml; where there is none the build says all."""
    table = _project(tree).get("project")
    return table if isinstance(table, dict) else {"dynamic": ["dependencies"]}


def _git(repository: str | Path, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(repository), *words]
    try:
        return subprocess.run(command, capture_output=True, check=False, env={**os.environ, **variables})
    except FileNotFoundError:
        raise InputError("git is not installed: give environments or results instead of revisions") from None


def _run(command: Sequence[str], name: str, scratch: Path) -> None:
    """A step of an installation; a version that is read from tags is none in a tree without them, and needs a word."""
    variables = {"SETUPTOOLS_SCM_PRETEND_VERSION": "0", **os.environ, "TMPDIR": str(scratch)}
    code, said = programs.run(command, variables)
    if code:
        raise InputError(f"{name} does not install: {said}")


def _project(tree: Path) -> dict[str, Any]:
    """Its pyproject.toml, {} where it has none or one that the installer will complain about."""
    try:
        return tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _builds(tree: Path) -> bool:
    """Whether this Python can build the package itself, which needs no network."""
    system = _project(tree).get("build-system", {})
    name = str(system.get("build-backend", "setuptools.build_meta")).partition(":")[0].partition(".")[0]
    return "backend-path" not in system and find_spec(name) is not None
