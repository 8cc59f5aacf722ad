"""The workflows: their shell, run as a runner runs it, against a command that only pretends to be aebench."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
WORKFLOWS = {path.stem: YAML(typ="safe", pure=True).load(path) for path in sorted(FOLDER.glob("*.yml"))}
BASH, GIT = shutil.which("bash"), shutil.which("git")
pytestmark = pytest.mark.skipif(os.name != "posix" or not BASH or not GIT, reason="needs bash and git")

FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in
  compare) [ "$CODE" = 2 ] || echo '{}' > comparison.json; exit "$CODE" ;;
  export) [ "$4" = junit ] && echo '<x/>' > "$6" || { echo '### table'; echo '::error::told' >&2; } ;;
  history)
    case "$3" in
      --add) echo "line of $6" >> "$2/machine.jsonl" ;;
      *) echo 'the table'; printf 'note: +1%% better\\nwarning: +5%% worse\\n' >&2 ;;
    esac ;;
esac
"""


def step(workflow, job, name):
    (found,) = [s for s in WORKFLOWS[workflow]["jobs"][job]["steps"] if s.get("name") == name]
    return found["run"]


@pytest.fixture
def runner(tmp_path):
    """`runner(script, code, where)`: what bash makes of a step, as GitHub starts it where no shell is named."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "aebench").write_text(FAKE)
    (tools / "aebench").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()

    def run(script, code=0, where=work):
        given = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "CODE": str(code), "HOME": str(tmp_path),
                 "CALLS": str(tmp_path / "calls"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
                 "GIT_CONFIG_GLOBAL": os.devnull}  # fmt: skip
        (tmp_path / "step.sh").write_text(script)
        return subprocess.run(
            [BASH, "-e", str(tmp_path / "step.sh")], cwd=where, env=given, capture_output=True, text=True, check=False
        )

    return run


def read(path):
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(("code", "becomes"), [(0, 0), (1, 1), (2, 2), (3, 0), (130, 130)])
def test_a_regression_is_red_and_what_is_inconclusive_a_warning(runner, tmp_path, code, becomes):
    done = runner(step("ci", "compare", "compare"), code)
    assert done.returncode == becomes, done.stderr
    assert ("::warning title=aebench compare::Inconclusive" in done.stdout) == (code == 3)
    assert read(tmp_path / "calls").splitlines()[0] == "compare HEAD^1 HEAD --time-limit 300 --out comparison.json"
    compared = code != 2
    assert read(tmp_path / "summary") == ("### table\n" if compared else "")
    assert ("::error::told" in done.stderr) == compared
    assert (tmp_path / "work" / "comparison.xml").exists() == compared


def git(where, *words):
    return subprocess.run(["git", "-C", str(where), *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A checkout with a remote that can be pushed to."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    git(tmp_path, "init", "-q", "--bare", "origin")
    git(tmp_path, "clone", "-q", "origin", "clone")
    (tmp_path / "clone" / "README.md").write_text("read me")
    git(tmp_path / "clone", "add", "README.md")
    git(tmp_path / "clone", "commit", "-q", "-m", "one")
    git(tmp_path / "clone", "push", "-q", "origin", "HEAD")
    return tmp_path / "clone"


def test_each_night_appends_to_a_branch_of_its_own(runner, clone, tmp_path):
    """The first makes the branch; the next, in a fresh checkout, finds what the first left."""
    script = step("nightly", "history", "history")
    first = runner(script, where=clone)
    assert first.returncode == 0, first.stderr
    assert "::warning title=aebench history::+5%25 worse" in first.stdout.splitlines()
    assert "::warning title=aebench history::+1" not in first.stdout
    assert read(tmp_path / "summary") == "```\nthe table\nnote: +1% better\nwarning: +5% worse\n```\n"
    assert git(tmp_path / "origin", "show", "history:machine.jsonl") == "line of HEAD\n"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path / 'origin'}", "again")
    second = runner(script, where=tmp_path / "again")
    assert second.returncode == 0, second.stderr
    assert git(tmp_path / "origin", "show", "history:machine.jsonl") == "line of HEAD\n" * 2
    assert git(tmp_path / "origin", "rev-list", "--count", "history").strip() == "2"
    assert git(tmp_path / "origin", "ls-tree", "--name-only", "history").split() == ["machine.jsonl"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_permissions_are_few_and_actions_have_a_version(name):
    """Reading is all, but for the branch that the history is pushed to; nothing of a pull request reaches a shell."""
    found = WORKFLOWS[name]
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert job.get("permissions", {}) in ({}, {"contents": "write"} if name == "nightly" else {})
        assert job["timeout-minutes"] <= 60
        for one in job["steps"]:
            assert one.get("uses", "actions/x@v1").partition("@")[2].startswith("v")
            assert "${{ github" not in one.get("run", "")
