"""Revisions installed side by side and measured: a tiny repository, its own build backend, no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aebench
from aebench.errors import InputError
from aebench.regress import environments, pairs
from aebench.regress.gate import overall

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "1"
dependencies = {dependencies}

[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "--this-option-is-no-option"
"""
BACKEND = """
import tomllib
import zipfile


def build_wheel(folder, config_settings=None, metadata_directory=None):
    {fault}
    stem = "{name}-1"
    with open("pyproject.toml", "rb") as file:
        wanted = "".join(f"Requires-Dist: {{one}}\\n" for one in tomllib.load(file)["project"]["dependencies"])
    with zipfile.ZipFile(f"{{folder}}/{{stem}}-py3-none-any.whl", "w") as wheel:
        wheel.write("{name}.py")
        wheel.writestr(f"{{stem}}.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n" + wanted)
        wheel.writestr(f"{{stem}}.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{stem}}.dist-info/RECORD", "")
    return f"{{stem}}-py3-none-any.whl"
"""
TESTS = """
import helper
import {name}


def test_work(benchmark):
    benchmark.extra_info["exact"] = {{"answer": {name}.answer()}}
    benchmark.pedantic({name}.work, rounds=3)
    assert {name}.__file__ not in helper.SEEN


def test_other(benchmark):
    benchmark.pedantic({name}.other, rounds=3)


def test_where(benchmark, tmp_path):
    benchmark.extra_info["notes"] = [{name}.__file__, str(tmp_path)]
    benchmark.pedantic(len, args=("",), rounds=1)
"""
CODE = """
import os
import time


def answer():
    return 42


def work():
    time.sleep({seconds})


def other():
    {other}
"""


class Repository:
    """A git repository with a package of one module; each commit has a tag."""

    def __init__(self, folder: Path, name: str = "tiny") -> None:
        self.folder, self.name = folder, name
        folder.mkdir()
        self.git("init", "-q")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", "-C", self.folder, *who, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def commit(
        self, tag: str, seconds: float = 0.002, other: str = "return 1", fault: str = "pass", benchmarks=TESTS,
        dependencies=(),
    ):  # fmt: skip
        files = {
            "pyproject.toml": PROJECT.format(name=self.name, dependencies=json.dumps(dependencies)),
            "backend.py": BACKEND.format(name=self.name, fault=fault),
            f"{self.name}.py": CODE.format(seconds=seconds, other=other),
            "tests/conftest.py": "raise RuntimeError('not theirs')",
            ".gitattributes": "tests export-ignore\n",
        }
        if benchmarks:
            files["tests/benchmarks/test_tiny.py"] = benchmarks.format(name=self.name)
            files["tests/benchmarks/helper.py"] = "SEEN = ()\n"
        self.git("rm", "-rfq", "--ignore-unmatch", ".")
        for place, text in files.items():
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / place).write_text(text)
        self.git("add", "-A", "-f")
        self.git("commit", "-qm", tag)
        self.git("tag", tag)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    found = Repository(tmp_path_factory.mktemp("repository") / "tiny")
    found.commit("main")
    found.commit("slow", seconds=0.006)
    found.commit("crash", other="raise ValueError('it broke\\nhere')")
    found.commit("abort", other="os.abort()")
    found.commit("syntax", other="return (")
    found.commit("broken", fault="raise SystemExit('error: no wheel today')")
    found.commit("bare", benchmarks=None)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all tests install: each revision once."""
    return tmp_path_factory.mktemp("installed")


@pytest.fixture
def sides(repository, folder):
    return lambda base, new: pairs.of_revisions(base, new, folder, repository=repository.folder)


def test_a_slower_revision_is_red_and_the_working_tree_is_left_alone(repository, sides):
    (repository.folder / "tiny.py").write_text("broken(")
    before = repository.git("status", "--porcelain=v1", "--ignored"), repository.git("write-tree")
    files = sorted(repository.folder.rglob("*"))
    try:
        both = sides("main", "slow")
        found = pairs.compare(both.sample, ("main", "slow"), pairs=6, only=both.chosen(["test_work"]))
        assert before == (repository.git("status", "--porcelain=v1", "--ignored"), repository.git("write-tree"))
        assert files == sorted(repository.folder.rglob("*"))
    finally:
        repository.git("checkout", "-q", "--", ".")
    assert overall(found.findings) == "fail"
    time, answer = found.findings
    assert time.line.startswith("FAIL test_tiny.py::test_work · time: +")
    assert 1 < time.effect < 2.5  # 6 ms for 2 ms, and what waking up takes
    assert "a rerun says +" in time.said
    assert (answer.verdict, answer.said) == ("pass", "the same to the last bit")
    assert both.commits == {
        "base": repository.git("rev-parse", "main").strip(),
        "new": repository.git("rev-parse", "slow").strip(),
    }


def test_each_side_runs_its_own_package_and_its_files_go_away(repository, sides, folder, monkeypatch):
    """Not what lies in the working folder, on PYTHONPATH, in the tree of the benchmarks, or in pytest's settings."""
    monkeypatch.chdir(repository.folder)
    monkeypatch.setenv("PYTHONPATH", str(repository.folder))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    before = set(folder.iterdir())
    both = sides("main", "slow")
    for side, environment in (("base", both.base), ("new", both.new)):
        (report,) = both.sample((side,), ["test_tiny.py::test_where"])
        (entry,) = report["benchmarks"]
        where, scratch = map(Path, entry["extra_info"]["notes"])
        assert where.is_relative_to(environment.python.parents[1])
        assert scratch.is_relative_to(folder)
        assert not scratch.exists()
        assert report["failures"] == {}
    assert set(folder.iterdir()) == before


def test_a_revision_of_aebench_is_not_shadowed_by_the_one_that_measures(tmp_path):
    """Which may be installed in editable mode, with an entry point that pytest would load."""
    repository = Repository(tmp_path / "repository", "aebench")
    repository.commit("old")
    both = pairs.of_revisions("old", "old", tmp_path, repository=repository.folder)
    (report,) = both.sample(("base",), ["test_tiny.py::test_where"])
    (entry,) = report["benchmarks"]
    assert Path(entry["extra_info"]["notes"][0]).name == "aebench.py"
    assert not Path(entry["extra_info"]["notes"][0]).is_relative_to(Path(aebench.__file__).parents[1])


def test_environments_stay_as_they_are_until_python_changes(repository, folder, sides):
    tree = sides("main", "main").base.tree
    place = folder / "again"
    first = environments.install("main", tree, place, alone=False)
    made = (place / environments.INSTALLED).stat().st_mtime_ns
    assert environments.install("main", tree, place, alone=False) == first
    assert (place / environments.INSTALLED).stat().st_mtime_ns == made
    (place / environments.INSTALLED).write_text("another Python")
    environments.install("main", tree, place, alone=False)
    assert (place / environments.INSTALLED).stat().st_mtime_ns != made
    assert environments.existing(place).python == first.python


IMPORTS = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = getattr(importlib.import_module(name), "__file__", None)
    except ModuleNotFoundError:
        pass
print(json.dumps(found))
"""


def imported(environment, *names):
    """Those of the modules that an environment has, and their files."""
    command = [environment.python, "-c", IMPORTS, *names]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """`packages(name, files, recorded=True)`: an installed package, in a folder that this Python has on its path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])

    def add(name, files, recorded=True):
        about = f"{name}-1.dist-info"
        listed = (*files, f"{about}/METADATA", *([f"{about}/RECORD"] if recorded else []))
        texts = {
            f"{about}/METADATA": f"Name: {name}\nVersion: 1\n",
            f"{about}/RECORD": "".join(f"{file},,\n" for file in ("../bin/tiny", *listed)),
        }
        for place in listed:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(texts.get(place, ""))
        return folder

    return add


def test_a_copy_of_the_package_in_this_python_is_out_of_sight(repository, sides, packages, tmp_path):
    """Not only what the revision has, too, but also modules that it lacks: they are of another one."""
    tree = sides("main", "main").base.tree
    mine = ["tiny.py", "added.py", "space/added.py", "both/__init__.py", "both/added.py", "both/deep/added.py"]
    site = packages("Tiny", [*mine, "data/added.json"])
    packages("other", ["other.py", "both/other.py"])
    for compiled in ("__pycache__/other.pyc", "space/__pycache__/added.pyc"):  # by whoever has imported them
        (site / compiled).parent.mkdir()
        (site / compiled).write_text("")
    environment = environments.install("main", tree, tmp_path / "environment", alone=False)
    hidden = ("added", "space", "space.added", "both.added", "both.deep", "data")
    found = imported(environment, "tiny", "other", "both", "both.other", "pytest", *hidden)
    assert set(found) == {"tiny", "other", "both", "both.other", "pytest"}
    assert Path(found["tiny"]).is_relative_to(tmp_path / "environment" / "lib")
    assert found["both"] is None
    assert "/shared/" not in found["pytest"]


def test_an_environment_is_made_again_when_this_pythons_packages_change(repository, sides, packages, tmp_path):
    """What has links to them would else lack what is new, and have what is gone."""
    tree = sides("main", "main").base.tree
    packages("tiny", ["added.py"])
    assert not imported(environments.install("main", tree, tmp_path / "e", alone=False), "other", "added", "later")
    packages("other", ["other.py"])
    packages("tiny", ["added.py", "later.py"])
    again = environments.install("main", tree, tmp_path / "e", alone=False)
    assert set(imported(again, "other", "added", "later")) == {"other"}


def test_an_editable_install_brings_nothing_to_others(repository, sides, packages, tmp_path):
    """So that the folder is seen as it is."""
    tree = sides("main", "main").base.tree
    site = packages("tiny", ["__editable___tiny_finder.py", "__editable__.tiny.pth", "_tiny.pth"])
    environments.install("main", tree, tmp_path / "environment", alone=False)
    (shared,) = (tmp_path / "environment").rglob("shared.pth")
    assert str(site) in shared.read_text().splitlines()


def test_two_packages_of_one_repository_do_not_share_an_environment(tmp_path):
    whole = Repository(tmp_path / "whole")
    for name in ("one", "two"):
        part = Repository(tmp_path / name, name)
        part.commit("main")
        shutil.copytree(part.folder, whole.folder / name, ignore=shutil.ignore_patterns(".git"))
    whole.git("add", "-A", "-f")
    whole.git("commit", "-qm", "main")
    whole.git("tag", "main")
    for name in ("one", "two", "one"):
        both = pairs.of_revisions("main", "main", tmp_path, repository=whole.folder / name)
        assert set(imported(both.base, "one", "two")) == {name}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("crash", "crashed: ValueError: it broke"),
        ("abort", "crashed: its process ended with signal SIGABRT"),
    ],
)
def test_a_benchmark_that_crashes_on_the_new_side_alone_fails(sides, new, said):
    both = sides("main", new)
    found = pairs.compare(both.sample, ("main", new), pairs=1).findings
    verdicts = {f.measure.benchmark: f for f in found if f.verdict == "fail"}
    assert list(verdicts) == ["test_tiny.py::test_other"]
    assert verdicts["test_tiny.py::test_other"].said == said
    assert any(f.measure.benchmark == "test_tiny.py::test_work" and f.verdict == "pass" for f in found)


def test_a_module_that_cannot_be_imported_fails_all_its_benchmarks(sides):
    found = pairs.compare(sides("main", "syntax").sample, ("main", "syntax"), pairs=1).findings
    assert {f.verdict for f in found} == {"fail"}
    assert {f.measure.benchmark for f in found} == {f"test_tiny.py::test_{name}" for name in ("work", "other", "where")}
    assert all(f.said.startswith("crashed: SyntaxError") for f in found)


def test_what_crashes_on_the_base_is_no_baseline(sides):
    found = {f.measure.benchmark: f for f in pairs.compare(sides("crash", "main").sample, ("a", "b"), pairs=1).findings}
    finding = found["test_tiny.py::test_other"]
    assert (finding.verdict, finding.said) == ("no baseline", "a crashes: ValueError: it broke")
    for only in ((), ("test_tiny.py",), ("test_tiny.py::test_other",)):
        with pytest.raises(InputError, match="a and b have no benchmark in common: a crashes: SyntaxError"):
            pairs.compare(sides("syntax", "main").sample, ("a", "b"), pairs=1, only=only)


def test_what_cannot_be_measured_gets_one_line(repository, sides, tmp_path):
    with pytest.raises(InputError, match=r"^broken does not install: .*no wheel today"):
        sides("main", "broken")
    with pytest.raises(InputError, match=r"^tests/benchmarks: no benchmarks there; --benchmarks names their folder"):
        sides("main", "bare")
    with pytest.raises(InputError, match="'nowhere' is no git revision here, no environment"):
        sides("nowhere", "main")
    with pytest.raises(InputError, match="unknown benchmark 'test_wrk': "):
        sides("main", "slow").chosen(["test_wrk"])


def test_a_benchmark_that_is_deleted_is_told(tmp_path):
    """By another name it is gone as well; what was asked for by name is told of alone."""
    repository = Repository(tmp_path / "repository")
    repository.commit("first")
    repository.commit("fewer", benchmarks=TESTS.replace("def test_other(", "def test_another("))
    both = pairs.of_revisions("first", "fewer", tmp_path, repository=repository.folder)
    (gone,) = both.gone(())
    assert gone.line == "GONE test_tiny.py::test_other · time: fewer does not have it"
    assert both.gone(("test_other",)) == [gone]
    assert both.gone(("test_work",)) == []
    assert pairs.of_revisions("first", "first", tmp_path, repository=repository.folder).gone(()) == []


def test_what_this_python_serves(tmp_path):
    def tree(name, dependencies):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f"[project]\ndependencies = {json.dumps(dependencies)}\n")
        return tmp_path / name

    one, same, older = tree("a", ["numpy>=1"]), tree("b", ["numpy>=1"]), tree("c", ["numpy>=1.5"])
    assert environments.served([one, same])
    assert not environments.served([one, older])
    assert not environments.served([tree("d", ["numpy>=1000"])])
    assert not environments.served([tree("e", ["a-package-that-nobody-has"])])
    assert environments.served([tree("f", ["a-package-that-nobody-has; python_version < '3'"])])


@pytest.mark.parametrize(
    ("declared", "served"),
    [
        ("[project]\nname = 'a'\nversion = '1'\n", True),
        ("[project]\nname = 'a'\ndynamic = ['version']\n", True),
        ("[project]\nname = 'a'\ndynamic = ['version', 'dependencies']\n", False),
        ("[project]\nname = 'a'\ndependencies = 'numpy'\n", False),
        ("project = 1\n", False),
        ("[build-system]\nrequires = ['setuptools']\n", False),
        ("", False),
        (None, False),
    ],
)
def test_what_only_a_build_can_say_is_not_taken_for_nothing(tmp_path, declared, served):
    if declared is None:
        (tmp_path / "setup.py").write_text("")
    else:
        (tmp_path / "pyproject.toml").write_text(declared)
    assert environments.served([tmp_path, tmp_path]) is served


def test_a_copy_whose_files_nobody_knows_cannot_be_kept_out_of_sight(tmp_path, packages):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'tiny'\ndependencies = []\n")
    assert environments.served([tmp_path])
    packages("tiny", ["added.py"], recorded=False)
    assert not environments.served([tmp_path])


NEWER = """
def test_what_came_with_it(benchmark):
    import six
    benchmark.extra_info["notes"] = [six.__file__]
    benchmark.pedantic(len, args=("",), rounds=1)
"""


def test_a_revision_that_asks_for_more_gets_it_in_an_environment_of_its_own(tmp_path):
    """Nothing of this Python's packages is seen there: what is declared is installed, and what measures."""
    repository = Repository(tmp_path / "repository")
    repository.commit("lean")
    repository.commit("more", benchmarks=TESTS + NEWER, dependencies=["six"])
    try:
        both = pairs.of_revisions("lean", "more", tmp_path, repository=repository.folder)
    except InputError as error:
        if "No matching distribution" in str(error):
            pytest.skip("no package index can be reached")
        raise
    assert {side.python.parents[1].parent for side in (both.base, both.new)} == {tmp_path}
    reports = both.sample(("base", "new"), ["test_tiny.py::test_what_came_with_it", "test_tiny.py::test_where"])
    assert [report["failures"] for report in reports] == [
        {"test_tiny.py::test_what_came_with_it": "ModuleNotFoundError: No module named 'six'"}, {}
    ]  # fmt: skip
    for side, report in zip((both.base, both.new), reports, strict=True):
        home = str(side.python.parents[1])
        assert all(e["extra_info"]["notes"][0].startswith(home) for e in report["benchmarks"])
    assert [len(report["benchmarks"]) for report in reports] == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="no process groups")
def test_an_interrupt_ends_all_that_was_started(tmp_path):
    """The child of the child as well, though only the parent hears the interrupt."""
    sleep = [sys.executable, "-c", "import time; time.sleep(60)", "grandchild"]
    child = f"import subprocess; subprocess.run({sleep!r})"
    code = f"from aebench.regress import programs; programs.run([{sys.executable!r}, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)

    def family():
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if line.endswith("grandchild")]

    def until(wanted):
        for _ in range(200):
            if bool(family()) == wanted:
                return True
            time.sleep(0.05)
        return False

    assert until(True)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert until(False)
