"""Suites and results that were made to harm: nothing of them runs, and nothing is written elsewhere."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import Cli, cli  # noqa: F401

import aebench
from aebench import suite
from aebench.errors import InputError
from aebench.reporting.files import Files

RUNS = "data: pinwheel\nruns: [{variant: ae, train: {steps: 2}}]\n"


# ---- suites


@pytest.mark.parametrize(
    "name",
    ["../x", "..", ".", "/tmp/x", "a/b", "a\\b", "C:", "C:x", "\\\\host\\x", "-rf", "~", "$HOME", "a\nb", "a\0b",
     "a\x1b[2J", "", " ", "a ", "é", "x" * 101, "con", "NUL", "aux.txt", "Lpt1", "com9.tar.gz", "a.", "...", "%2e%2e",
     "a:stream"],
)  # fmt: skip
def test_a_name_cannot_lead_out_of_the_folder_of_results(name: str, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        suite.parse(f"name: {json.dumps(name)}\n{RUNS}")
    assert str(caught.value).isprintable()


def test_nothing_is_written_beside_results_and_reports(cli: Cli, tmp_path: Path):  # noqa: F811
    home = tmp_path / "home"
    home.mkdir()
    (home / "trial.yaml").write_text(f"name: trial\nabout: ../../x\n{RUNS}metrics: [reconstruction]\n")
    assert cli("run", home / "trial.yaml", "--out", home, "--quiet").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert sorted(path.name for path in home.iterdir()) == ["reports", "results", "trial.yaml"]
    assert [path.name for path in (home / "results").iterdir()] == ["trial"]
    assert [path.name for path in (home / "reports").iterdir()] == ["trial"]


CANARY = "from pathlib import Path\nPath({!r}).write_text('ran')\nX = 1\n"


@pytest.mark.parametrize(
    "text",
    ["variant: {}", "variant: ae, network: {{kind: {}}}", "variant: ae, network: {}", "variant: ae, data: {}",
     "variant: ae, data: {{name: {}}}"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["validate", "run", "dry"])
def test_code_that_a_suite_names_is_not_run(cli: Cli, tmp_path: Path, text: str, command: str):  # noqa: F811
    (tmp_path / "canary.py").write_text(CANARY.format(str(tmp_path / "ran")))
    entry = text.format(json.dumps("canary.py:X"))
    (tmp_path / "x.yaml").write_text(f"name: x\ndata: pinwheel\nruns: [{{{entry}}}]\n")
    words = {"validate": ["validate"], "run": ["run", "--quiet"], "dry": ["run", "--dry-run"]}[command]
    said = cli(*words, "x.yaml")
    assert said.code == 2
    assert "is code of yours; allow it to run with --allow-code" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary.py", "x.yaml"]


def test_code_that_results_name_is_not_run(cli: Cli, tmp_path: Path):  # noqa: F811
    """Results may come from others: a table, a report and a check of them run nothing, measuring again refuses."""
    (tmp_path / "canary.py").write_text(CANARY.format(str(tmp_path / "ran")))
    (tmp_path / "x.yaml").write_text(f"name: x\n{RUNS}metrics: [reconstruction]\n")
    assert cli("run", "x.yaml", "--quiet", "--no-report").code == 0
    folder, code = Path("results/x"), "canary.py:X"
    (path,) = [path for path in folder.glob("*.json") if path.name != "suite.json"]
    document = json.loads(path.read_text())
    document["spec"] |= {"variant": code, "network": {"kind": code}, "data": document["spec"]["data"] | {"name": code}}
    document["spec"]["code"] = {code: "0" * 16}
    path.write_text(json.dumps(document))
    about = json.loads((folder / "suite.json").read_text())
    about |= {"text": about["text"].replace("variant: ae", f"variant: '{code}'"), "figures": [code]}
    (folder / "suite.json").write_text(json.dumps(about))
    assert cli("table", folder).code == 0
    assert cli("doctor", folder).code == 1
    assert cli("report", folder).code in (0, 2)
    said = cli("evaluate", folder)
    assert said.code == 2
    assert "is code of yours" in said.err
    assert not (tmp_path / "ran").exists()


def test_a_specification_changed_by_hand_is_trained_again_and_said(cli: Cli, tmp_path: Path):  # noqa: F811
    """The id is the hash of the specification: what another seed gave must not stand under this one's name."""
    (tmp_path / "x.yaml").write_text(f"name: x\n{RUNS}metrics: [reconstruction]\n")
    assert cli("run", "x.yaml", "--quiet", "--no-report").code == 0
    (path,) = [path for path in Path("results/x").glob("*.json") if path.name != "suite.json"]
    right = json.loads(path.read_text())
    for change in ({"seed": 7}, {"variant": "nothing"}, {"sizes": {"bogus": 1}}):
        path.write_text(json.dumps(right | {"spec": right["spec"] | change}))
        said = cli("run", "x.yaml", "--quiet", "--no-report")
        assert said.code == 0
        assert "its specification is not that of its id: trained again" in said.err
        assert json.loads(path.read_text())["metrics"] == right["metrics"]


def test_results_whose_suite_is_gone_are_not_measured_again(cli: Cli, tmp_path: Path):  # noqa: F811
    (tmp_path / "x.yaml").write_text(f"name: x\n{RUNS}metrics: [reconstruction]\n")
    assert cli("run", "x.yaml", "--quiet", "--no-report").code == 0
    about = json.loads(Path("results/x/suite.json").read_text())
    del about["text"]
    Path("results/x/suite.json").write_text(json.dumps(about))
    said = cli("evaluate", "results/x")
    assert said.code == 2
    assert said.err == "error: results/x: no results of a suite: it has no text\n"


@pytest.mark.parametrize("path", ["~nobody-of-it/x.npy", "a" * 5000 + ".npy", "\0.npy", "/dev/zero", "/dev/stdin"])
def test_paths_that_are_no_files_are_one_line(path: str):
    with pytest.raises(InputError) as caught:
        suite.parse(f"name: x\ndata: {json.dumps(path)}\nruns: [{{variant: ae}}]\n")
    assert str(caught.value).isprintable()


def test_the_message_about_wild_input_does_nothing_to_a_terminal(cli: Cli, tmp_path: Path):  # noqa: F811
    (tmp_path / "x.yaml").write_text('name: "\\x1b[2J\\x07\\u202e"\n' + RUNS)
    said = cli("validate", "x.yaml")
    assert said.code == 2
    assert said.err.rstrip("\n").isprintable()


# ---- what is never called


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"from {node.module} import {alias.name}" for alias in node.names)
        if isinstance(node, ast.Call):
            yield (
                ast.unparse(node.func).rpartition(".")[2] if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            )
            yield from (f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords if word.arg)


@pytest.mark.parametrize("file", sorted(Path(aebench.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_unpickles_evaluates_or_extracts(file: Path):
    refused = {"eval", "exec", "torch.load", "np.load", "numpy.load", "joblib.load", "os.system", "shell=True"}
    refused |= {
        "allow_pickle=True",
        "weights_only=False",
        "trusted=True",
        "import pickle",
        "import marshal",
        "import shelve",
    }
    refused |= {"import dill", "import cloudpickle", "loadmat", "from scipy.io import loadmat"}
    found = set(calls(ast.parse(file.read_text(encoding="utf-8"))))
    assert found & refused == set()
    assert not [call for call in found if call.endswith((".extractall", ".unpack_archive", ".unpickle"))]


def test_a_report_over_a_damaged_one_removes_nothing_that_is_not_its_own(tmp_path: Path):
    (tmp_path / "mine.svg").write_text("mine")
    folder = tmp_path / "report"
    folder.mkdir()
    links = "![](figures/../../mine.svg) [a](../mine.svg) [b](figures/..) [c](/etc/passwd)"
    (folder / "report.md").write_bytes(b"\xff\xfe\x00 " + links.encode())
    assert Files(folder).publish("# new", "<p>new").read_text() == "<p>new"
    assert (tmp_path / "mine.svg").read_text() == "mine"


# ---- what SECURITY.md says


def test_every_promise_names_tests_that_exist():
    text = (Path(__file__).parents[1] / "SECURITY.md").read_text(encoding="utf-8")
    promises = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ") and "Held by" not in line]
    assert len(promises) >= 15
    for promise in promises:
        named = re.findall(r"`(?:(test_\w+\.py)(?:::)?)?(test_\w+)?`", promise)
        assert named
        file = ""
        for own, function in named:
            file = own or file
            code = (Path(__file__).parent / file).read_text(encoding="utf-8")
            assert not function or f"def {function}(" in code, (file, function)
