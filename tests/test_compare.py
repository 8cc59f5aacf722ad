"""`aebench compare` and `aebench noise`: what they say of plain numbers, what they refuse, what they leave behind."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from compared import runs
from test_environments import Repository
from test_regress import by_side

from aebench.cli import main
from aebench.errors import InputError
from aebench.regress import comparing, machine, margins, reading, written
from aebench.regress.gate import decide, overall
from aebench.regress.pairs import compare
from aebench.regress.records import Measure, Side
from aebench.store import documents

STEP = Measure("t.py::step", "time", "time", "s")
OPS = Measure("t.py::step", "operations", "counter")
LOSS = Measure("t.py::step", "loss", "exact")
OTHER = Measure("t.py::other", "time", "time", "s")


def gate(seed, slower, *, benchmarks=12, pairs=10, spread=0.03, burst=0.5):
    """A gate over so many benchmarks, the first of which is `slower`, on a machine that is not quiet.

    Log-normal times, and one sample of ten of each benchmark and side takes `burst` longer.
    """
    rng = np.random.default_rng(seed)
    names = [f"b{i}" for i in range(benchmarks)]
    count, hit = {}, {}

    def sample(side, only):
        entries = []
        for name in only or names:
            i = count[side, name] = count.get((side, name), -1) + 1
            if i % 10 == 0:
                hit[side, name] = int(rng.integers(10))
            value = 0.01 * math.exp(spread * rng.standard_normal()) * (1 + burst * (hit[side, name] == i % 10))
            value *= slower if (side, name) == ("new", "b0") else 1
            entries.append({"fullname": name, "stats": {"min": value}})
        return {"benchmarks": entries}

    found = compare(by_side(sample), ("main", "mine"), pairs=pairs)
    return overall(found.findings), {f.measure.benchmark: f.verdict for f in found.findings}


# ---- how often it is right


def test_unchanged_code_is_hardly_ever_red():
    """At most 1 % of gates: with a true share of 1 %, four or more of 100 would be seen once in 50."""
    assert sum(gate(seed, 1.0)[0] == "fail" for seed in range(100)) <= 3


def test_a_quarter_more_is_always_red_and_nothing_else_is():
    found = [gate(seed, 1.25)[1] for seed in range(40)]
    assert all(verdicts.pop("b0") == "fail" for verdicts in found)
    assert not any("fail" in verdicts.values() for verdicts in found)


def test_a_tenth_more_is_mostly_red_at_twenty_pairs_and_never_passes():
    assert sum(gate(seed, 1.1, pairs=20)[1]["b0"] == "fail" for seed in range(40)) >= 36
    assert all(gate(seed, 1.1)[1]["b0"] != "pass" for seed in range(40))


def test_a_change_of_the_margin_itself_is_red_no_more_often_than_alpha():
    """The hardest of the changes that are allowed: its first look fails by chance in a fortieth of the gates."""
    red = sum(gate(seed, 1.03, benchmarks=1, burst=0.0)[0] == "fail" for seed in range(400))
    assert red / 400 <= 0.05 / 2


# ---- what cannot be measured


def test_pairs_with_a_throttled_sample_are_dropped():
    base = {STEP: (1.0,) * 8, OTHER: (1.0,) * 8}
    new = {STEP: (math.nan, 9.0, *[1.0] * 6), OTHER: (*[math.nan] * 4, *[1.0] * 4)}
    found = {f.measure: f for f in decide(Side("a", base | {STEP: (1.0, math.nan, *[1.0] * 6)}), Side("b", new))}
    assert (found[STEP].verdict, found[STEP].n, found[STEP].effect) == ("pass", 6, 0.0)
    assert (found[OTHER].verdict, found[OTHER].n) == ("inconclusive", 4)
    assert found[OTHER].said == "+0.0%, but 4 valid pairs of 8, and 5 are the fewest that allow a bound"


def test_a_crash_is_a_fail_of_the_benchmark_once():
    base = Side("main", {STEP: (1.0,) * 6, OPS: (3.0,), OTHER: (1.0,) * 6})
    for failures in ({"t.py::step": "ValueError: no"}, {"t.py": "ValueError: no"}, {"": "ValueError: no"}):
        # also where some of its samples came through
        found = decide(base, Side("mine", {STEP: (1.0,) * 3, OTHER: (1.0,) * 6}, failures=failures))
        crashed = [f for f in found if f.verdict == "fail"]
        assert [f.measure for f in crashed] == ([STEP] if "t.py::step" in failures else [STEP, OTHER])
        assert {f.said for f in crashed} == {"crashed: ValueError: no"}
        assert not any(f.measure == OPS for f in found)


def test_a_crash_on_the_base_or_on_both_sides_is_no_baseline():
    failing = {"t.py::step": "ValueError: no"}
    kept = {OTHER: (1.0,) * 6}
    (found, _) = decide(Side("main", kept, failures=failing), Side("mine", {STEP: (1.0,) * 6, **kept}))
    assert (found.verdict, found.said) == ("no baseline", "main crashes: ValueError: no")
    (found, _) = decide(Side("main", kept, failures=failing), Side("mine", kept, failures=failing))
    assert (found.measure, found.verdict) == (STEP, "no baseline")
    assert found.said == "main and mine crash: ValueError: no"


def test_exact_numbers_of_two_versions_of_torch_are_not_compared():
    base = Side("a", {LOSS: (1.0,), OPS: (3.0,)}, {"torch": "2.14.0"})
    new = Side("b", {LOSS: (2.0,), OPS: (4.0,)}, {"torch": "2.15.0"})
    loss, ops = decide(base, new)
    assert (loss.verdict, loss.said) == ("no baseline", "torch 2.14.0 and 2.15.0 need not agree to the last bit")
    assert ops.verdict == "fail"
    assert overall([loss]) == "inconclusive"  # nothing was compared: that is no pass


def test_machines_must_match_but_for_their_names_and_versions():
    one = {"processor": "A", "system": "Linux", "node": "here", "python": "3.11"}
    decide(Side("a", {OPS: (1.0,)}, one), Side("b", {OPS: (1.0,)}, one | {"node": "there", "python": "3.12"}))
    with pytest.raises(InputError, match="a and b were measured on different machines: processor 'A' and 'B'"):
        decide(Side("a", {OPS: (1.0,)}, one), Side("b", {OPS: (1.0,)}, one | {"processor": "B"}))


# ---- as a file


def test_a_comparison_survives_its_file(tmp_path):
    base = Side("a", {STEP: (1.0, math.nan, 1.1, 1.0), OPS: (3.0,), LOSS: (0.1 + 0.2,)})
    new = Side("b", {STEP: (1.2, 1.0, 1.3, 1.2), OPS: (0.0,), OTHER: (1.0,)})
    found = tuple(decide(base, new))
    samples = {f.measure: (base.values.get(f.measure, ()), new.values.get(f.measure, ())) for f in found}
    made = {"version": "1", "commits": {"base": "ab", "new": None}, "date": "2026-01-01T00:00:00+00:00"}
    whole = written.Comparison("a", "b", "inconclusive", found, samples, 4, 0.05, {"cores": "2"}, made, ("é",))
    written.write(whole, tmp_path / "c.json")
    again = written.read(tmp_path / "c.json")
    assert repr(again) == repr(whole)  # NaN is not equal to itself
    text = (tmp_path / "c.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert {entry["verdict"] for entry in json.loads(text)["findings"]} == {
        "inconclusive",
        "pass",
        "no baseline",
        "gone",
    }


def test_half_a_character_in_a_name_survives_the_file(tmp_path):
    """As the name of a file has it whose bytes are no text; what else is not ASCII stays readable."""
    whole = written.Comparison("a\udce9 é", "b", "pass", ())
    written.write(whole, tmp_path / "c.json")
    assert written.read(tmp_path / "c.json").base == "a\udce9 é"
    assert '"a\\udce9 é"' in (tmp_path / "c.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "its schema is 2; this aebench reads 1"),
        ({"kind": "noise"}, "not a comparison"),
        ({"verdict": "fine"}, "'fine' is none of fail, inconclusive, pass"),
        ({"findings": [{}]}, "a broken comparison: KeyError: 'kind'"),
        ({"pairs": math.inf}, "a broken comparison: OverflowError"),
        ({"machine": 5}, "a broken comparison: AttributeError"),
    ],
)
def test_a_file_that_is_none_gets_one_line(tmp_path, change, said):
    whole = written.document(written.Comparison("a", "b", "pass", ()))
    (tmp_path / "c.json").write_text(json.dumps(whole | change))
    with pytest.raises(InputError, match=said):
        written.read(tmp_path / "c.json")


# ---- noise


def test_noise_is_the_widest_bound_of_a_against_a():
    """Ten pairs of one ratio each have that ratio as both bounds."""
    ratios = iter([1.01, 1.04, 0.97])

    def sample(side, only, held={}):  # noqa: B006
        if side == "base" and held.get("n", 0) % 10 == 0:
            held["ratio"] = next(ratios)
        held["n"] = held.get("n", 0) + (side == "base")
        return {"benchmarks": [{"fullname": "a", "stats": {"min": held["ratio"] if side == "new" else 1.0}}]}

    assert margins.measure(by_side(sample), pairs=10, repeats=3) == {"a · time": pytest.approx(0.04)}
    with pytest.raises(InputError, match="--pairs 4: 5 are the fewest"):
        margins.measure(by_side(sample), pairs=4, repeats=1)
    with pytest.raises(InputError, match=r"--pairs 5: too few for a bound at --alpha 0\.01"):
        margins.measure(by_side(sample), pairs=5, repeats=1, alpha=0.01)


def test_noise_is_kept_by_machine(tmp_path):
    here = machine.identity()
    place = margins.place(here, tmp_path)
    assert place == margins.place(here | {"torch": "0", "python": "2.7"}, tmp_path)
    assert place != margins.place(here | {"processor": "abacus"}, tmp_path)
    assert margins.known(None, here, tmp_path)[0] == {}
    for shares in ({"a · time": 0.1, "b · time": 0.2}, {"a · time": 0.05}):
        margins.write(margins.Noise(here, shares, 10, 3, {"version": "1"}), place)
    assert margins.known(None, here, tmp_path) == (
        {"a · time": 0.05, "b · time": 0.2}, f"noise of this machine: {place}",
    )  # fmt: skip
    other = tmp_path / "other.json"
    margins.write(margins.Noise(here | {"processor": "abacus"}, {"a · time": 0.3}, 10, 3, {}), other)
    shares, said = margins.known(other, here)
    assert shares == {}
    assert said.startswith(f"{other} is ignored: it is of another machine (processor 'abacus', here ")
    with pytest.raises(InputError, match="cannot read"):
        margins.known(tmp_path / "none.json", here)
    for share in (math.inf, math.nan, -0.1):  # none of which a time could fail by, or would be held to
        margins.write(margins.Noise(here, {"a · time": share}, 10, 3, {}), tmp_path / f"{share}.json")
        with pytest.raises(InputError, match=rf"broken: ValueError: a · time: {share} is no share"):
            margins.read(tmp_path / f"{share}.json")


# ---- the command


def run(monkeypatch, capsys, *words):
    """Exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["aebench", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return end.value.code, said.out, " ".join(said.err.split())


def reports(folder: Path, factor=1.0, ops=10, n=10, **machine_info) -> Path:
    rng = np.random.default_rng(int(factor * 100))
    folder.mkdir()
    for i in range(n):
        stats = {"min": factor * 0.01 * math.exp(0.01 * rng.standard_normal())}
        entry = {"fullname": "t.py::step", "stats": stats, "extra_info": {"counters": {"operations": ops}}}
        text = json.dumps({"machine_info": {"system": "Linux", **machine_info}, "benchmarks": [entry]})
        (folder / f"{i:02d}.json").write_text(text)
    return folder


def test_folders_of_reports_are_read_and_decided(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main_, slow = reports(tmp_path / "main"), reports(tmp_path / "slow", 1.2, ops=11)
    code, out, err = run(monkeypatch, capsys, "compare", "main", "slow", "--out", "found.json")
    assert code == 1
    first, second, *_, last = out.splitlines()
    assert first.startswith("FAIL t.py::step · time: +")
    assert first.endswith("%] worse, margin 3.0%, 10 pairs")
    assert second == "FAIL t.py::step · operations: 10 → 11 (+10.00%)"
    assert last.startswith("FAIL: main → slow: 2 fail; 10 pairs, ")
    assert err == ""
    found = written.read(tmp_path / "found.json")
    assert (found.verdict, found.pairs, len(found.samples[STEP][1])) == ("fail", 10, 10)

    code, out, err = run(monkeypatch, capsys, "compare", "main", "slow", "--out", "found.json/none")
    assert (code, out.splitlines()[-1].split(":")[0]) == (2, "FAIL")  # what took minutes is shown at least
    assert "cannot write found.json/none" in err
    code, out, _ = run(monkeypatch, capsys, "compare", main_, main_, "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "pass")
    code, out, _ = run(monkeypatch, capsys, "compare", "main", "slow", "--margin", "time=50%", "--margin", "nothing=1")
    assert code == 1
    assert "operations: 10 → 11" in out.splitlines()[0]
    assert "--margin nothing: no measure is called so" in out
    code, out, _ = run(monkeypatch, capsys, "compare", slow, reports(tmp_path / "few", 1.2, ops=11, n=3))
    assert (code, out.splitlines()[-1].split(":")[0]) == (3, "INCONCLUSIVE")


def test_results_of_suites_are_compared_by_seed(tmp_path, monkeypatch, capsys):
    """Seeds differ by ten, the new side by a twentieth on each."""
    sse = [10.0, 20.0, 30.0, 40.0, 50.0]
    for name, factor in (("base", 1.0), ("same", 1.0), ("worse", 1.05)):
        stored(tmp_path / name, runs("vae", "sse", [value * factor for value in sse]))
    assert run(monkeypatch, capsys, "compare", tmp_path / "base", tmp_path / "same")[0] == 0
    code, out, _ = run(monkeypatch, capsys, "compare", tmp_path / "base", tmp_path / "worse")
    assert (code, out.splitlines()[0][:8]) == (1, "FAIL vae")
    assert "· sse: +5.0%" in out
    file = next(path for path in (tmp_path / "same").glob("*.json") if path.name != "suite.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    code, out, err = run(monkeypatch, capsys, "compare", tmp_path / "base", tmp_path / "same")
    assert (code, out) == (2, "")
    assert "schema 99, and this aebench reads up to" in err


def stored(folder, held):
    folder.mkdir()
    for document in held:
        (folder / f"{document['id']}.json").write_bytes(documents.text(document))
    (folder / "suite.json").write_text(json.dumps({"name": "s", "ids": [d["id"] for d in held]}))
    return folder


def test_seeds_of_results_are_paired_by_number(tmp_path):
    """Seeds 2 to 5 of one, 0 to 3 of the other: 2 and 3 are compared, and equal."""
    values = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    first, second = runs("vae", "sse", values)[2:], runs("vae", "sse", values)[:4]
    base, new = (reading.read(stored(tmp_path / name, held)) for name, held in (("a", first), ("b", second)))
    ours, theirs = comparing.by_seed(base, new)
    (measure,) = ours.values
    assert ours.values[measure] == theirs.values[measure] == (30.0, 40.0)
    base, new = (reading.read(stored(tmp_path / name, held)) for name, held in (("c", first), ("d", second[:2])))
    ours, theirs = comparing.by_seed(base, new)
    assert not ours.values
    assert theirs.notes == ("no seed in common, so not compared: vae on digits · sse, 1 in all",)


def compared(tmp_path, base, new, *words):
    """Exit code and findings of two folders of results."""
    for name, held in (("base", base), ("new", new)):
        stored(tmp_path / name, held)
    return comparing.compare(str(tmp_path / "base"), str(tmp_path / "new"), comparing.Wanted(*words))


GOOD = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("failed", [1, 5])
def test_runs_that_fail_are_worse_however_many_do(tmp_path, failed):
    other = runs("ae", "sse", GOOD)
    new = runs("vae", "sse", GOOD)[failed:] + runs("vae", "sse", GOOD, status="failed")[:failed]
    found = compared(tmp_path, runs("vae", "sse", GOOD) + other, new + other)
    assert found.verdict == "fail"
    (line,) = [f.line for f in found.findings if f.verdict == "fail"]
    assert line == f"FAIL vae on digits · sse: no finite value of {failed} of 5 seeds, which the base has"
    assert any(note.endswith(f"new: {failed} of 5 runs of vae on digits did not end well") for note in found.notes)


def test_a_setting_is_called_the_same_whatever_else_is_there(tmp_path):
    """A second beta on the new side, and a new version of the variant, hide no regression of the first."""
    new = runs("vae", "sse", [3 * value for value in GOOD], hyper={"beta": 1.0})
    for document in new:
        document["spec"]["version"] = 2
    found = compared(
        tmp_path,
        runs("vae", "sse", GOOD, hyper={"beta": 1.0}),
        new + runs("vae", "sse", GOOD, hyper={"beta": 0.5}),
    )
    assert {f.measure.benchmark: f.verdict for f in found.findings} == {
        "vae, beta 1 on digits": "fail", "vae, beta 0.5 on digits": "no baseline"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {"steps": 200}}, "steps is 100 in .*base and 200 in .*new"),
        ({"data": {"name": "digits", "checksum": "xyz"}}, "checksum is abc in .*base and xyz in .*new"),
    ],
)
def test_results_of_other_budgets_or_data_are_refused(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        compared(tmp_path, runs("vae", "sse", GOOD), runs("vae", "sse", GOOD, **change))


def test_seeds_that_are_missing_are_told(tmp_path):
    found = compared(tmp_path, runs("vae", "sse", GOOD), runs("vae", "sse", GOOD)[:3])
    assert found.verdict == "pass"
    assert any(note.endswith("new lacks 2 of 5 seeds of vae on digits") for note in found.notes)


def test_some_of_results_are_compared(tmp_path, monkeypatch, capsys):
    for name in ("base", "new"):
        stored(tmp_path / name, runs("vae", "sse", GOOD) + runs("ae", "sse", GOOD))
    code, out, _ = run(monkeypatch, capsys, "compare", tmp_path / "base", tmp_path / "new", "--only", "vae")
    assert code == 0
    assert "vae on digits" in out
    assert " ae on digits" not in out
    assert ": 1 pass; 5 seeds, " in out


def test_a_margin_of_an_exact_number_is_none(tmp_path, monkeypatch, capsys):
    entry = {"fullname": "t.py::step", "stats": {"min": 1.0}, "extra_info": {"exact": {"loss": 1.0}, "timed": False}}
    (tmp_path / "one.json").write_text(json.dumps({"machine_info": {}, "benchmarks": [entry]}))
    one = tmp_path / "one.json"
    code, out, _ = run(monkeypatch, capsys, "compare", one, one, "--margin", "loss=5%")
    assert code == 0
    assert "--margin loss: an exact number has no margin" in out


def test_results_without_a_common_seed_get_one_line(tmp_path):
    values = [10.0, 20.0, 30.0, 40.0]
    for name, part in (("a", slice(2)), ("b", slice(2, 4))):
        stored(tmp_path / name, runs("vae", "sse", values)[part])
    with pytest.raises(InputError, match="have no seed in common: nothing can be compared"):
        comparing.compare(str(tmp_path / "a"), str(tmp_path / "b"), comparing.Wanted())


def test_counts_of_results_are_counters_and_times_are_left_out(tmp_path):
    held = runs("vae", {"parameters": [100.0] * 5, "encode_latency_ms": [1.0] * 5, "sse": [1.0] * 5})
    kinds = {measure.name: measure.kind for measure in reading.read(stored(tmp_path / "a", held)).values}
    assert kinds == {"parameters": "counter", "sse": "quality"}


def test_what_cannot_be_compared_gets_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one, other = reports(tmp_path / "one"), reports(tmp_path / "other", processor="abacus")
    reports(tmp_path / "third", processor="Turing's")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").touch()
    (tmp_path / "empty.json").write_text('{"benchmarks": []}')
    whole = written.Comparison("a", "b", "pass", ())
    written.write(whole, tmp_path / "found.json")
    for words, said in [
        (
            (one, "nowhere"),
            "'nowhere' is no git revision here, no environment (a folder with bin/python) and no results",
        ),
        ((one, "env"), "one is results and env is code: compare two revisions or environments, or two results"),
        ((other, "third"), "different machines: processor 'abacus' and \"Turing's\""),
        ((one, "empty.json"), "have no benchmark in common: nothing can be compared"),
        ((one, "found.json"), "found.json: not a report of pytest-benchmark"),
        ((one, one, "--margin", "time"), "--margin time: write NAME=SHARE, such as time=0.05 or time=5%"),
        ((one, one, "--only", "nothing"), "no benchmark is called nothing"),
        ((one, one, "--noise", "found.json"), "found.json: not the noise of a machine"),
    ]:
        code, out, err = run(monkeypatch, capsys, "compare", *words)
        assert (code, out) == (2, ""), words
        assert err.startswith("error: ")
        assert said in err.replace(f"{tmp_path}/", "")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    found = Repository(tmp_path_factory.mktemp("repository") / "tiny")
    found.commit("main")
    found.commit("crash", other="raise ValueError('it broke')")
    found.commit("long", seconds=60)
    return found


def test_revisions_are_compared_and_noise_is_found(repository, tmp_path, monkeypatch, capsys):
    """One installation for three commands; the second pair of a crash is of no use, so it says so at once."""
    monkeypatch.chdir(repository.folder)
    keep = ("--keep", tmp_path / "kept", "--only", "test_other")
    code, out, err = run(monkeypatch, capsys, "compare", "main", "crash", "--pairs", 1, *keep, "--out", tmp_path / "c")
    assert (code, out.splitlines()[0]) == (1, "FAIL test_tiny.py::test_other · time: crashed: ValueError: it broke")
    assert "installing crash" in err
    found = written.read(tmp_path / "c")
    assert found.made["commits"]["new"] == repository.git("rev-parse", "crash").strip()
    assert found.machine == machine.identity()
    code, out, err = run(monkeypatch, capsys, "noise", "main", "--pairs", 5, "--repeats", 1, *keep, "--quiet")
    place = margins.place(machine.identity(), ".")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"noise: {place}"
    assert set(margins.read(place).shares) == {"test_tiny.py::test_other · time"}
    place.unlink()


@pytest.mark.skipif(os.name != "posix", reason="no signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(repository, tmp_path, how):
    """Neither folders nor processes, at whichever step it comes."""
    words = [sys.executable, "-m", "aebench", "compare", "main", "long"]
    own = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        words, cwd=repository.folder, env=own, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )  # fmt: skip

    def busy():
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if f"{tmp_path}/" in line and "pytest" in line]

    end = time.monotonic() + 60
    while not (found := busy()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    process.send_signal(how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + how
    assert err.splitlines()[-1] == "interrupted: nothing is kept"
    assert list(tmp_path.iterdir()) == []
    assert busy() == []


def test_what_is_results_and_what_is_code(repository, tmp_path):
    assert comparing.is_code("main", str(repository.folder))
    assert not comparing.is_code(str(tmp_path), str(repository.folder))
    with pytest.raises(InputError, match="cannot be measured again"):
        comparing.noise(str(tmp_path), comparing.Wanted(), 1)
