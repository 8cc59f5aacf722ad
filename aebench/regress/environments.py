"""A revision installed beside another, and its benchmarks run there, each time in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aebench.errors import InputError
from aebench.regress import events

BENCHMARKS = "tests/benchmarks"
"""Where a project keeps them, unless told otherwise."""
GATE = "test_gate.py"
"""Those of them that `aebench compare` runs where none is named: a gate is to be quick, other benchmarks need not."""
PLUGINS = {"aebench_gate_plugin": "plugin", "aebench_gate_events": "events.py"}
"""What the measured process loads, and what of this folder it is: the measured side may have no aebench."""
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
                    raise InputError(f"{name}: its files cannot be read: {_last(done.stderr)}")
            files.mkdir(exist_ok=True)  # a commit may have no file
            files.rename(tree)
    return tree / prefix


def install(name: str, tree: Path, place: Path, *, alone: bool) -> Environment:
    """A virtual environment at `place` with the package of `tree`, or the one that an earlier call made of both.

    Not `alone`, it sees the packages of this Python as well, after its own: right where `served` says so. What is
    there in editable mode it does not see, since the files of such a package are no revision's. The wheel is built
    with the build backend of this Python where it has it, else with one that pip fetches. Raises InputError with the
    installer's last line where the revision does not install.
    """
    stamp = json.dumps([sys.prefix, sys.version, alone])
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
            shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
            own = sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
            (Path(own) / "shared.pth").write_text("".join(f"{path}\n" for path in shared), encoding="utf-8")
        (place / INSTALLED).write_text(stamp, encoding="utf-8")
    return Environment(name, _python(place), tree)


def _python(place: Path) -> Path:
    found = existing(place)
    assert found is not None
    return found.python


def served(trees: Sequence[Path]) -> bool:
    """Whether this Python has what all these revisions declare, the same for each, and what measures them."""
    from packaging.requirements import InvalidRequirement, Requirement

    declared = [dependencies(tree) for tree in trees]
    if any(other != declared[0] for other in declared):
        return False
    try:
        wanted = [Requirement(text) for text in [*(declared[0] or ()), *NEEDED]]
        return all(
            wish.specifier.contains(metadata.version(wish.name), prereleases=True)
            for wish in wanted
            if wish.marker is None or wish.marker.evaluate()
        )
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return False


def dependencies(tree: Path) -> Any:
    """What a revision asks to be installed with it, as its pyproject.toml declares it."""
    return _project(tree).get("project", {}).get("dependencies")


def measure(environment: Environment, benchmarks: Path, folder: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """One report of pytest-benchmark: the benchmarks of a folder in a fresh process of this environment.

    `only`: names of benchmarks as reports have them (`file.py::test`), all where it is empty. The report gets two
    entries more: `torch`, its version or "", and `failures: {benchmark or file: why}`, what failed to run; a benchmark
    that ends its process is among them, and the others are measured without it; "" where all of it ended by a signal.
    Raises InputError where pytest could not be run.
    """
    died: dict[str, str] = {}
    while True:
        with tempfile.TemporaryDirectory(dir=folder, prefix="sample-") as place:
            done = _pytest(environment, benchmarks, Path(place), only, died)
            report, happened = _json(Path(place) / "report.json"), _happened(Path(place))
        failed = dict(happened["failed"])
        unfinished = [name for name, _ in happened["began"] if name not in dict(happened["ended"])]
        if report is None and unfinished and unfinished[-1] not in died:
            died[unfinished[-1]] = f"its process ended with {_ending(done.returncode)}"
            continue
        if report is None and not failed and not died:
            if done.returncode >= 0:
                raise InputError(f"{environment.name}: no benchmark could be run: {_last(done.stdout, done.stderr)}")
            failed = {"": f"its process ended with {_ending(done.returncode)}"}
        for entry in (report or {}).get("benchmarks", ()):
            entry["stats"].pop("data", None)  # every round: megabytes that nobody reads
        torch = "".join(version for _, version in happened["torch"])
        return {"benchmarks": [], **(report or {}), "failures": died | failed, "torch": torch}


def collect(environment: Environment, benchmarks: Path, folder: Path) -> list[str]:
    """The names of all benchmarks of a folder."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="sample-") as place:
        done = _pytest(environment, benchmarks, Path(place), (), {}, "--collect-only")
        found = [name for name, _ in _happened(Path(place))["found"]]
    if not found:
        raise InputError(f"{environment.name}: no benchmark could be found: {_last(done.stdout, done.stderr)}")
    return found


def _pytest(
    environment: Environment, benchmarks: Path, place: Path, only: Sequence[str], without: Mapping[str, str],
    *more: str,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """Run the benchmarks as `environment` has the package, whatever lies beside them.

    Their own revision's settings (`pythonpath = src`, say) and packages around them would bring the new side's code
    to both, so pytest gets an empty configuration, no conftest.py from above the folder of the benchmarks, and nothing
    but that folder goes on the path. Of plugins only those that measure are loaded: a second less in each process; a
    conftest.py of the benchmarks can ask for others (`pytest_plugins`).
    """
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, what in PLUGINS.items():
        source = Path(__file__).with_name(what)
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, place / f"{name}.py")
    command = [
        str(environment.python), "-m", "pytest", *(f"{benchmarks}{os.sep}{name}" for name in only or ("",)),
        "-q", f"--rootdir={benchmarks}", f"-c={place / 'pytest.ini'}", f"--confcutdir={benchmarks}",
        f"--basetemp={place / 'tmp'}",
        "--import-mode=importlib", "--continue-on-collection-errors", "--benchmark-only",
        f"--benchmark-json={place / 'report.json'}", "-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin",
        *(word for name in PLUGINS for word in ("-p", name)), *(f"--deselect={name}" for name in without), *more,
    ]  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    paths = [place, benchmarks] if not (benchmarks / "__init__.py").exists() else [place]
    variables = {
        **own, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", events.FILE: str(place / "events"),
        "PYTHONPATH": os.pathsep.join(map(str, paths)), "TMPDIR": str(place.parent),
        "PATH": os.pathsep.join([str(environment.python.parent), os.environ.get("PATH", "")]),
    }  # fmt: skip
    return _child(command, place, variables)


def _child(
    command: Sequence[str], place: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; whatever interrupts that ends it and all that it started."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=place, env=variables,
        start_new_session=True,
    )  # fmt: skip
    try:
        said = process.communicate()
    except BaseException:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, *said)


def _git(repository: str | Path, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(repository), *words]
    try:
        return subprocess.run(command, capture_output=True, check=False, env={**os.environ, **variables})
    except FileNotFoundError:
        raise InputError("git is not installed: give environments or results instead of revisions") from None


def _run(command: Sequence[str], name: str, scratch: Path) -> None:
    """A step of an installation; a version that is read from tags is none in a tree without them, and needs a word."""
    variables = {"SETUPTOOLS_SCM_PRETEND_VERSION": "0", **os.environ, "TMPDIR": str(scratch)}
    done = _child(command, None, variables)
    if done.returncode:
        raise InputError(f"{name} does not install: {_last(done.stderr, done.stdout)}")


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


def _json(file: Path) -> dict[str, Any] | None:
    """What a process reported; None where it did not come so far."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def _happened(place: Path) -> dict[str, list[tuple[str, str]]]:
    """What `events` noted, by the kind of event: (benchmark, why) in order."""
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in ("torch", "found", "began", "failed", "ended")}
    file = place / "events"
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        event, benchmark, why = json.loads(line)
        found[event].append((benchmark, why))
    return found


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _last(*streams: bytes) -> str:
    """The last line that says something, the error's own where there is one."""
    lines = [
        line.strip() for stream in streams for line in stream.decode(errors="replace").splitlines() if line.strip()
    ]
    if "[end of output]" in lines:  # of what pip has run, which says more than pip does
        lines = lines[: lines.index("[end of output]")]
        return lines[-1][:300]
    errors = [line for line in lines if line.lower().startswith(("error", "e  "))]
    return (errors or lines or ["it said nothing"])[-1][:300]
