"""Exports, each by the fields that its tool documents, and read back where the tool's reader is this project's own.

Beside these tests a comparison with every verdict and odd characters was given to the tools themselves, which took it:
pytest-benchmark 5.3.1 (`compare`), asv 0.6.6 (`Results.load`, `show`, `compare`, `publish`), junitparser 5.0.3, the
schema junit-10.xsd of Jenkins' xUnit plugin and the JSON schema bmf.json of Bencher. github-action-benchmark takes an
array of `{name, unit, value, range?, extra?}`, as its README and its `extract.ts` say.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from aebench.cli import app
from aebench.errors import InputError
from aebench.regress import sources, written
from aebench.regress.export import FORMATS, Export, distinct, export, shortened, write
from aebench.regress.export.markdown import command
from aebench.regress.gate import decide, overall
from aebench.regress.records import Finding, Measure, Side
from aebench.regress.sources import Source
from aebench.regress.written import Comparison

COMMITS = {"base": "a" * 40, "new": "b" * 40}
MACHINE = {"processor": "AMD EPYC 9B14", "cores": "2", "architecture": "x86_64", "system": "Linux", "python": "3.11"}
BASE_TIMES = (1.00e-3, 1.01e-3, 0.99e-3, 1.02e-3, 0.98e-3, 1.00e-3, 1.01e-3, 0.99e-3)
ODD = "ValueError: \x00 50 % <b>|`\r\nsecond, line"


def timed(name):
    return Measure(f"test_a.py::{name}", "time", "time", "s")


STEP, FAST, NOISY, FRESH, LOST, CRASH = map(timed, ("step[vae-1]", "fast", "noisy", "fresh", "lost", "crash"))
OPS = Measure(STEP.benchmark, "dispatched operations", "counter", "operations")
LOSS = Measure(STEP.benchmark, "loss after 10 steps", "exact", "nats")
ELBO = Measure("vae on digits", "elbo", "quality", "nats", "higher")
SSE = Measure("vae on digits", "sse", "quality", "", "lower")
NAMESAKES = [Measure(STEP.benchmark, "loss", kind) for kind in ("time", "counter", "exact", "quality")]
NAMED = {m: (float(i),) for i, m in enumerate(NAMESAKES, 1)}


def comparison(**changes):
    """Every verdict there is, as the gate gives it."""
    slower = tuple(1.25 * t for t in BASE_TIMES)
    wild = tuple(t * (1.6 if i % 2 else 0.6) for i, t in enumerate(BASE_TIMES))
    base = Side(
        "main",
        {STEP: BASE_TIMES, FAST: BASE_TIMES, NOISY: BASE_TIMES, LOST: BASE_TIMES, CRASH: BASE_TIMES}
        | {OPS: (412.0,), LOSS: (543.25,), ELBO: (-98.0, -98.2, -97.9), SSE: (1.0, 1.1, 1.2)},
        MACHINE,
    )  # fmt: skip
    new = Side(
        "pull | request",
        {STEP: slower, FAST: BASE_TIMES, NOISY: wild, FRESH: BASE_TIMES}
        | {OPS: (415.0,), LOSS: (543.25,), ELBO: (-98.0, -98.2, -97.9), SSE: (1.0, 1.1, 1.2)},
        MACHINE,
        failures={CRASH.benchmark: ODD},
    )  # fmt: skip
    found = tuple(decide(base, new))
    samples = {m: (base.values.get(m, ()), new.values.get(m, ())) for m in base.values | new.values}
    made = {"commits": COMMITS, "date": "2026-01-02T03:04:05+00:00"}
    given = {"pairs": 8, "machine": MACHINE, "made": made, "notes": ("a note",)} | changes
    return Comparison(base.name, new.name, overall(found), found, samples, **given)


@pytest.fixture
def compared():
    return sources.of_comparison(comparison(notes=("a \x07 note, \ud800 half a surrogate",)))


def one(exported: Export):
    (text,) = exported.files.values()
    return text


def verdicts(source):
    return {finding.measure: finding.verdict for finding in source.comparison.findings}


def test_the_comparison_of_these_tests_has_every_verdict(compared):
    assert verdicts(compared) == {
        STEP: "fail", OPS: "fail", CRASH: "fail", FAST: "pass", LOSS: "pass", ELBO: "pass", SSE: "pass",
        NOISY: "inconclusive", FRESH: "no baseline", LOST: "gone",
    }  # fmt: skip


# ---- what stands for many values


def test_what_stands_for_many_values():
    times = (3.0, 1.0, 2.0, math.nan, 10.0)
    assert sources.summary(STEP, times) == (2.5, 1.75, 4.75, 4)
    assert sources.summary(OPS, (4.0, 5.0)) == (5.0, 4.0, 5.0, 2)
    assert sources.summary(LOSS, (0.1, 0.1))[0] == 0.1
    value, low, high, n = sources.summary(ELBO, (1.0, 2.0, 3.0))
    half = 4.302652729911275 / math.sqrt(3)  # Student's t with 2 degrees of freedom, 97.5 %
    assert (value, low, high, n) == pytest.approx((2.0, 2 - half, 2 + half, 3))
    assert sources.summary(STEP, (math.nan, math.inf)) is None
    assert sources.summary(STEP, ()) is None


# ---- pytest-benchmark


def test_pytest_benchmark_has_a_report_of_either_side(compared):
    exported = export(compared, "pytest-benchmark")
    assert list(exported.files) == ["base.json", "new.json"]
    new = json.loads(exported.files["new.json"])
    assert new["commit_info"]["id"] == COMMITS["new"]
    entry = next(e for e in new["benchmarks"] if e["fullname"] == STEP.benchmark)
    times = 1.25 * np.array(BASE_TIMES)
    stats = entry["stats"]
    assert (entry["name"], entry["param"]) == ("step[vae-1]", "vae-1")
    assert stats["data"] == pytest.approx(times)
    assert stats["stddev"] == pytest.approx(np.std(times, ddof=1))
    assert stats["iqr"] == pytest.approx(np.subtract(*np.percentile(times, [75, 25])))
    assert [stats[key] for key in ("min", "max", "mean", "median", "total", "ops")] == pytest.approx(
        [times.min(), times.max(), times.mean(), np.median(times), times.sum(), 1 / times.mean()]
    )
    assert exported.left_out == ("left out: vae on digits · elbo, vae on digits · sse: the time of their benchmark is "
                                 "not measured",)  # fmt: skip


def test_pytest_benchmark_is_read_by_its_own_reader(compared, tmp_path):
    """`pytest-benchmark compare base.json new.json` gives a line for each benchmark of either."""
    paths = write(export(compared, "pytest-benchmark"), tmp_path)
    code = "import sys; from pytest_benchmark.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *map(str, paths), "--columns=min,median,iqr,outliers,ops,rounds"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {
        line.split()[0] for line in done.stdout.splitlines() if "(" in line and line.startswith(("s", "f", "n", "l"))
    }
    assert {"step[vae-1]", "fast", "noisy", "fresh", "lost"} <= rows


def test_pytest_benchmark_comes_back_as_it_was(tmp_path):
    """One process: the time, the counters, the exact numbers and the qualities of a report, and its commit."""
    elbo = Measure(STEP.benchmark, "elbo", "quality", "", "higher")
    values = {STEP: (2e-3,), OPS: (412.0,), LOSS: (0.1 + 0.2,), elbo: (-1.0, -2.0)}
    given = Source(Side("one", values), MACHINE, "c" * 40, "2026-01-02")
    (path,) = write(export(given, "pytest-benchmark"), tmp_path)
    back = sources.read(path)
    plain = {(m.benchmark, m.name, m.kind, m.better): v for m, v in values.items()}
    assert {(m.benchmark, m.name, m.kind, m.better): v for m, v in back.side.values.items()} == plain
    assert (back.commit, back.date) == ("c" * 40, "2026-01-02")
    assert back.machine == MACHINE


# ---- github-action-benchmark, Bencher


def test_github_action_has_a_file_for_each_direction(compared):
    exported = export(compared, "github-action-benchmark")
    smaller, bigger = (json.loads(exported.files[f"{name}-is-better.json"]) for name in ("smaller", "bigger"))
    for entry in (*smaller, *bigger):
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert [type(entry[key]) for key in ("name", "unit", "value")] == [str, str, float]
    assert [entry["name"] for entry in bigger] == ["vae on digits · elbo"]
    by_name = {entry["name"]: entry for entry in smaller}
    assert set(by_name) == {str(m) for m in (STEP, FAST, NOISY, FRESH, OPS, SSE)}
    assert by_name[str(OPS)]["value"] == 415
    assert by_name[str(STEP)]["value"] == pytest.approx(1.25 * np.median(BASE_TIMES))
    assert str(LOSS) in exported.left_out[0]


def test_github_action_writes_no_empty_file():
    """It takes an empty array for an error."""
    exported = export(Source(Side("one", {OPS: (1.0,)})), "github-action-benchmark")
    assert list(exported.files) == ["smaller-is-better.json"]


def test_bencher_has_nanoseconds_and_bounds(compared):
    metrics = json.loads(one(export(compared, "bencher")))
    latency = metrics[STEP.benchmark]["latency"]
    low, middle, high = 1.25e9 * np.percentile(BASE_TIMES, [25, 50, 75])
    assert latency == pytest.approx({"value": middle, "lower_value": low, "upper_value": high})
    assert metrics[STEP.benchmark]["loss after 10 steps"] == {"value": 543.25}
    for benchmark, measures in metrics.items():
        assert 0 < len(benchmark) <= 1024
        for name, metric in measures.items():
            assert 0 < len(name) <= 64
            assert set(metric) <= {"value", "lower_value", "upper_value"}
            assert metric.get("lower_value", -math.inf) <= metric["value"] <= metric.get("upper_value", math.inf)


@pytest.mark.parametrize("turn", [1, -1])
def test_kinds_that_share_a_name_are_told_apart(turn):
    """In either order, and beside what is called as the suffix would make it."""
    assert distinct(NAMESAKES[::turn]) == {m: f"loss ({m.kind})" for m in NAMESAKES}
    _, counter, exact, _ = NAMESAKES
    like = Measure(STEP.benchmark, "loss (counter)", "exact")
    assert distinct([counter, exact, like, STEP, FAST][::turn]) == {
        counter: "loss (counter) (counter)", exact: "loss (exact)", like: "loss (counter)", STEP: "time", FAST: "time",
    }  # fmt: skip


def test_bencher_keeps_kinds_apart():
    latency = Measure(STEP.benchmark, "latency", "counter")
    metrics = json.loads(one(export(Source(Side("one", NAMED)), "bencher")))[STEP.benchmark]
    assert {name: metric["value"] for name, metric in metrics.items()} == {
        "latency": 1e9, "loss (counter)": 2, "loss (exact)": 3, "loss (quality)": 4,
    }  # fmt: skip
    metrics = json.loads(one(export(Source(Side("one", {STEP: (1.0,), latency: (2.0,)})), "bencher")))[STEP.benchmark]
    assert {name: metric["value"] for name, metric in metrics.items()} == {
        "latency (time)": 1e9,
        "latency (counter)": 2,
    }


def test_github_action_keeps_kinds_apart():
    """Also between its two files, which a workflow may keep in one series."""
    bigger = Measure(STEP.benchmark, "loss", "quality", better="higher")
    files = export(Source(Side("one", NAMED | {bigger: (5.0,)})), "github-action-benchmark").files
    entries = {entry["name"]: entry["value"] for text in files.values() for entry in json.loads(text)}
    prefix = f"{STEP.benchmark} · loss"
    assert entries == {
        f"{prefix} (time)": 1, f"{prefix} (counter)": 2, f"{prefix} (quality)": 4, f"{prefix} (quality) (quality)": 5,
    }  # fmt: skip


def test_asv_keeps_kinds_apart():
    exported = export(Source(Side("one", NAMED), MACHINE, "c" * 40), "asv")
    found = next(json.loads(text) for name, text in exported.files.items() if "cccccccc" in name)
    assert {name: row[0] for name, row in found["results"].items()} == {
        f"test_a.py.step_vae-1_.loss__{kind}_": [value]
        for kind, value in (("time", 1.0), ("counter", 2.0), ("quality", 4.0))
    }


def test_junit_keeps_kinds_apart():
    findings = tuple(Finding(m, "pass", "as before") for m in NAMESAKES)
    given = Comparison("a", "b", "pass", findings, {m: (v, v) for m, v in NAMED.items()})
    root = ElementTree.fromstring(one(export(sources.of_comparison(given), "junit")).encode())
    assert [case.attrib["name"] for case in root.iter("testcase")] == [f"loss ({m.kind})" for m in NAMESAKES]


def test_long_names_are_cut_and_stay_apart():
    long = ["x" * 80 + end for end in "ab"]
    cut = [shortened(text, 64) for text in long]
    assert [len(text) for text in cut] == [64, 64]
    assert cut[0] != cut[1]
    assert shortened("x" * 64, 64) == "x" * 64


# ---- JUnit


def test_junit_has_a_case_for_each_measure(compared):
    root = ElementTree.fromstring(one(export(compared, "junit")).encode())
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert suite.attrib["timestamp"] == "2026-01-02T03:04:05+00:00"
    assert {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "10", "failures": "2", "errors": "1", "skipped": "3",
    }  # fmt: skip
    outcomes = {}
    for case in suite.iter("testcase"):
        (child,) = case
        outcomes[case.attrib["classname"], case.attrib["name"]] = (child.tag, child.attrib.get("type"))
    assert outcomes == {
        (m.benchmark, m.name): known
        for m, known in {
            STEP: ("failure", "regression"), OPS: ("failure", "regression"), CRASH: ("error", "crash"),
            NOISY: ("skipped", "inconclusive"), FRESH: ("skipped", "no baseline"), LOST: ("skipped", "gone"),
            FAST: ("system-out", None), LOSS: ("system-out", None), ELBO: ("system-out", None),
            SSE: ("system-out", None),
        }.items()
    }  # fmt: skip


def test_junit_holds_what_xml_forbids(compared):
    """NUL, BEL and half a surrogate are no characters of XML 1.0, escaped or not; line breaks survive."""
    text = one(export(compared, "junit"))
    root = ElementTree.fromstring(text.encode("utf-8"))
    error = root.find(".//error")
    assert error is not None
    assert error.attrib["message"] == "crashed: ValueError: � 50 % <b>|`\r\nsecond, line"
    assert root.findtext(".//testsuite/system-out") == "a � note, � half a surrogate"
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)


# ---- Markdown and workflow commands


def test_commands_are_escaped_as_the_runner_unescapes_them():
    line = command("error", "50 % of a,b: c\r\nd", title="t: 1,2 % \n")
    assert line == "::error title=t%3A 1%2C2 %25 %0A::50 %25 of a,b: c%0D%0Ad"
    assert command("warning", "x") == "::warning::x"


def test_markdown_shows_the_worst_first_and_annotates_it(compared):
    exported = export(compared, "markdown")
    text = one(exported)
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith(("| verdict", "| ---"))]
    cells = [re.split(r"(?<!\\)\|", row) for row in rows]
    assert {len(row) for row in cells} == {6}
    shown = [row[1].strip() for row in cells]
    assert shown == ["fail"] * 3 + ["inconclusive", "no baseline", "gone"] + ["pass"] * 4
    assert lines[0] == r"### FAIL: main → pull \| request"
    assert "3 fail, 1 inconclusive, 1 no baseline, 1 gone, 4 pass" in lines
    assert "<details>" in lines
    assert r"50 % \<b>\|\` second, line" in text.replace(r"\>", ">")
    assert [line.partition(" ")[0] for line in exported.commands] == ["::error"] * 3 + ["::warning"] * 3
    assert all("\n" not in line and "\r" not in line for line in exported.commands)


def test_markdown_of_one_side_is_a_table_of_its_values():
    text = one(export(Source(Side("one", {OPS: (415.0,), STEP: (math.nan,)}), commit="c" * 40), "markdown"))
    assert "### one at cccccccccccc" in text
    assert "| test_a.py::step\\[vae-1] | dispatched operations | operations | lower | 415 | 1 |" in text
    assert "| test_a.py::step\\[vae-1] | time | s | lower | – | 0 |" in text


# ---- asv


def test_asv_has_a_file_for_each_commit(compared):
    exported = export(compared, "asv")
    files = {name: json.loads(text) for name, text in exported.files.items()}
    (machine,) = {name.split("/")[0] for name in files if "/" in name}
    assert set(files) == {
        "benchmarks.json", f"{machine}/machine.json", f"{machine}/aaaaaaaa-aebench-py3.11.json",
        f"{machine}/bbbbbbbb-aebench-py3.11.json",
    }  # fmt: skip
    assert [files[name]["version"] for name in ("benchmarks.json", f"{machine}/machine.json")] == [2, 1]
    assert files[f"{machine}/machine.json"]["machine"] == machine
    found = files[f"{machine}/bbbbbbbb-aebench-py3.11.json"]
    assert (found["version"], found["commit_hash"], found["params"]["machine"]) == (2, COMMITS["new"], machine)
    assert found["date"] == 1767323045000  # of the measurement, as this repository does not have the commit
    row = dict(zip(found["result_columns"], found["results"]["test_a.py.step_vae-1_.time"], strict=False))
    assert row["result"] == pytest.approx([1.25 * np.median(BASE_TIMES)])
    assert (row["params"], row["version"], row["stats_repeat"]) == ([], "1", [8])
    assert row["stats_ci_99_a"] == pytest.approx([1.25 * min(BASE_TIMES)])  # of 8: outside in 2 / 2^8 of all cases
    assert row["stats_ci_99_b"] == pytest.approx([1.25 * max(BASE_TIMES)])
    assert found["results"]["test_a.py.step_vae-1_.dispatched_operations"] == [[415.0], [], "1", None, None]
    described = files["benchmarks.json"]
    assert set(found["results"]) <= set(described)
    assert {described[name]["type"] for name in found["results"]} == {"time", "track"}
    assert "elbo" in exported.left_out[0]


def test_asv_stays_in_its_folder_whatever_a_document_says():
    machine = {**MACHINE, "python": "../../3/..\\x"}
    files = export(Source(Side("one", {OPS: (1.0,)}), machine, "/../../etc"), "asv").files
    names = [name for name in files if name.count("/") == 1 and not name.endswith("/machine.json")]
    assert len(files) == 3
    assert [name.split("/")[1] for name in names] == ["_.._.._e-aebench-py.._.._3_.._x.json"]


def test_asv_keeps_names_apart_that_its_addresses_cannot_tell():
    a, b = Measure("t::x", "a b", "counter"), Measure("t::x", "a/b", "counter")
    c = Measure("t::x", "a_b", "counter")
    exported = export(Source(Side("one", {a: (1.0,), b: (2.0,), c: (3.0,)}), MACHINE, "c" * 40), "asv")
    found = next(json.loads(text) for name, text in exported.files.items() if "cccccccc" in name)
    assert sorted(row[0][0] for row in found["results"].values()) == [1.0, 2.0, 3.0]


# ---- what does not suit, and where it goes


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_a_comparison(name, compared):
    exported = export(compared, name)
    assert exported.files
    for path, text in exported.files.items():
        assert text.endswith("\n")
        assert "NaN" not in text
        assert "Infinity" not in text
        assert not path.startswith("/")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("junit", {OPS: (1.0,)}, "one: junit is of comparisons, and this has one side"),
        ("pytest-benchmark", {OPS: (1.0,)}, "one: nothing was timed"),
        ("github-action-benchmark", {LOSS: (1.0,)}, "one: no measure has a value of which smaller or bigger is better"),
        ("bencher", {STEP: (math.nan,)}, "one: no measure has a finite value"),
        ("asv", {OPS: (1.0,)}, "asv files results by commit, and none is known of one; --commit names one"),
        ("xml", {OPS: (1.0,)}, "unknown format 'xml': choose from asv, bencher"),
    ],
)
def test_what_does_not_suit_is_one_line(name, values, said):
    with pytest.raises(InputError) as raised:
        export(Source(Side("one", values)), name)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_asv_needs_something_of_which_lower_is_better():
    with pytest.raises(InputError, match="asv takes lower for better"):
        export(Source(Side("one", {ELBO: (1.0,)}), commit="c" * 40), "asv")


def test_files_go_where_out_says(tmp_path):
    single, two = Export({"a.xml": "a"}), Export({"a.json": "a", "m/b.json": "b"})
    assert write(single, tmp_path / "x.xml") == [tmp_path / "x.xml"]
    assert write(single, tmp_path) == [tmp_path / "a.xml"]
    assert write(single, tmp_path / "new") == [tmp_path / "new" / "a.xml"]
    assert write(two, tmp_path / "two.d") == [tmp_path / "two.d" / "a.json", tmp_path / "two.d" / "m" / "b.json"]
    for place in (tmp_path / "x.xml", tmp_path / "y.json"):
        with pytest.raises(InputError, match=r"2 files are written \(a.json, m/b.json\); name a folder"):
            write(two, place)


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_command_prints_or_writes(tmp_path: Path):
    written.write(comparison(), tmp_path / "c.json")
    printed = run(tmp_path / "c.json", "--to", "markdown")
    assert printed.exit_code == 0
    assert printed.stdout.startswith("### FAIL")
    assert "::" not in printed.stdout.replace("test_a.py::", "")
    assert printed.stderr.count("::error title=") == 3
    kept = run(tmp_path / "c.json", "--to", "markdown", "--out", tmp_path / "s.md")
    assert kept.stdout.count("::error title=") == 3
    assert (tmp_path / "s.md").read_text() == printed.stdout
    several = run(tmp_path / "c.json", "--to", "asv")
    assert isinstance(several.exception, InputError)
    assert "--out names a folder" in str(several.exception)


def test_a_commit_may_be_named(tmp_path: Path):
    given = Source(Side("one", {STEP: (1e-3,)}), MACHINE, None, "2026-01-02")
    (path,) = write(export(given, "pytest-benchmark"), tmp_path / "r.json")
    missing = run(path, "--to", "asv", "--out", tmp_path / "asv", "--commit", "no-such-revision")
    assert str(missing.exception) == "--commit no-such-revision: no commit of this repository"


def test_a_folder_of_results_is_a_source(tmp_path: Path):
    """The reference results of the repository: five seeds a setting, all of one commit."""
    folder = Path(__file__).parents[1] / "results" / "reference" / "cpu" / "quickstart"
    source = sources.read(folder)
    assert source.commit == "5812914419a7"
    assert (source.machine["cores"], source.machine["system"]) == ("2", "Linux")
    metrics = json.loads(one(export(source, "bencher")))
    documents = [json.loads(path.read_text()) for path in folder.glob("????????????????.json")]
    sse = [d["metrics"]["sse"]["value"] for d in documents if d["spec"]["variant"] == "vae"]
    assert metrics["vae on digits"]["sse"]["value"] == pytest.approx(np.mean(sse))


def test_cores_that_are_no_number_are_left_out():
    exported = export(Source(Side("one", {STEP: (1.0,)}), {"cores": "two"}), "pytest-benchmark")
    assert json.loads(exported.files["pytest-benchmark.json"])["machine_info"]["cpu"]["count"] == 0


def test_a_report_that_says_odd_things_of_its_making_is_a_source(tmp_path: Path):
    entry = {"fullname": "a", "stats": {"min": 1.0}, "extra_info": {"notes": 5}}
    made = {"commit_info": [1], "machine_info": [2], "benchmarks": [entry]}
    (tmp_path / "a.json").write_text(json.dumps(made))
    found = sources.read(tmp_path / "a.json")
    assert (found.commit, found.side.notes) == (None, ("5",))


@pytest.mark.parametrize("id", ["unversioned", "unknown", None, 5])
def test_what_is_no_commit_is_none(tmp_path: Path, id):
    """As pytest-benchmark writes it where there is no repository, or git fails."""
    entry = {"fullname": "a", "stats": {"min": 1.0}}
    (tmp_path / "a.json").write_text(json.dumps({"commit_info": {"id": id}, "benchmarks": [entry]}))
    source = sources.read(tmp_path / "a.json")
    assert source.commit is None
    assert " at " not in one(export(source, "markdown")).splitlines()[0]


def test_uncommitted_changes_are_of_no_commit(tmp_path: Path):
    entry = {"fullname": "a", "stats": {"min": 1.0}}
    report = {"commit_info": {"id": "c" * 40, "dirty": True}, "benchmarks": [entry]}
    (tmp_path / "a.json").write_text(json.dumps(report))
    source = sources.read(tmp_path / "a.json")
    assert (source.commit, source.dirty) == (None, str(tmp_path / "a.json"))
    with pytest.raises(InputError, match=r"none is known of .*a.json \(measured with uncommitted changes\); --commit"):
        export(source, "asv")


def test_results_of_uncommitted_changes_are_of_no_commit(tmp_path: Path):
    """Results name their commit with a plus then."""
    shutil.copytree(Path(__file__).parents[1] / "results" / "reference" / "cpu" / "quickstart", tmp_path / "r")
    for path in (tmp_path / "r").glob("????????????????.json"):
        path.write_text(path.read_text().replace('"5812914419a7"', '"5812914419a7+"'))
    source = sources.read(tmp_path / "r")
    assert (source.commit, source.dirty) == (None, str(tmp_path / "r"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"made": {"commits": {"base": None, "new": 5}}}, "commits.new is 5; it must be a string or null"),
        ({"made": {"commits": ["a"]}}, "commits is ['a']; it must be an object"),
        ({"made": {"date": 5}}, "date is 5; it must be a string"),
        ({"made": [["commits", {}]]}, "made is [['commits', {}]]; it must be an object"),
        ({"base": None}, "base is None; it must be a string"),
        ({"pairs": "8"}, "pairs is '8'; it must be a number"),
        ({"alpha": True}, "alpha is True; it must be a number"),
        ({"notes": "abc"}, "notes is 'abc'; it must be a list"),
        ({"findings": {}}, "findings is {}; it must be a list"),
        ({"name": 5}, "name is 5; it must be a string"),
        ({"effect": "1"}, "effect is '1'; it must be a number or null"),
        ({"crashed": "no"}, "crashed is 'no'; it must be true or false"),
        ({"new": [1.0, "2"]}, "new.1 is '2'; it must be a number or null"),
    ],
)
def test_a_comparison_of_odd_types_gets_one_line(tmp_path: Path, change, said):
    document = written.document(comparison())
    (key,) = change
    inner = key in document["findings"][0] and key != "base"
    (document["findings"][0] if inner else document).update(change)
    (tmp_path / "c.json").write_text(json.dumps(document))
    refused = run(tmp_path / "c.json", "--to", "asv", "--out", tmp_path / "asv")
    assert isinstance(refused.exception, InputError)
    assert str(refused.exception) == f"{tmp_path / 'c.json'}: a broken comparison: TypeError: {said}"


def test_a_comparison_of_no_machine_is_told(tmp_path: Path):
    written.write(comparison(machine={}), tmp_path / "c.json")
    assert sources.read(tmp_path / "c.json").placeless == str(tmp_path / "c.json")


def test_no_finding_is_lost(compared):
    assert all(isinstance(finding, Finding) for finding in compared.comparison.findings)
    text = one(export(compared, "junit"))
    assert text.count("<testcase ") == len(compared.comparison.findings)
