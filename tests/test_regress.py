"""The gate: what it says of planted effects and of none, and how it goes about it."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest
from scipy import stats as scipy_stats

from aebench.errors import InputError
from aebench.regress import reading
from aebench.regress.gate import decide, overall
from aebench.regress.pairs import compare
from aebench.regress.records import Measure, Side

STEP = Measure("step", "time", "time", "s")
OPS = Measure("step", "dispatched operations", "counter", "operations")
LOSS = Measure("step", "loss after 10 steps", "exact")
ELBO = Measure("vae", "elbo", "quality", "nats", "higher")


def side(name="new", **values):
    known = {"step": STEP, "ops": OPS, "loss": LOSS, "elbo": ELBO}
    return Side(name, {known[key]: tuple(value) for key, value in values.items()})


def verdict(base, new, **options):
    return {f.measure: f for f in decide(base, new, **options)}


def noisy(rng, n, factor=1.0, spread=0.02):
    return 0.01 * factor * np.exp(spread * rng.standard_normal(n))


def test_a_clear_slowdown_fails_and_says_how_large():
    rng = np.random.default_rng(0)
    found = verdict(side(step=noisy(rng, 10)), side(step=noisy(rng, 10, 1.25)))[STEP]
    assert found.verdict == "fail"
    assert found.effect == pytest.approx(0.25, abs=0.03)
    assert found.line.startswith("FAIL step · time: +2")
    assert "margin 3.0%, 10 pairs" in found.line


def test_the_effect_is_the_hodges_lehmann_shift_of_the_log_ratios():
    rng = np.random.default_rng(1)
    a, b = noisy(rng, 8), noisy(rng, 8, 1.1)
    walsh = [(x + y) / 2 for i, x in enumerate(np.log(b / a)) for y in np.log(b / a)[i:]]
    found = verdict(side(step=a), side(step=b))[STEP]
    assert found.effect == pytest.approx(np.exp(np.median(walsh)) - 1)
    assert found.p == pytest.approx(
        scipy_stats.wilcoxon(np.log(b / a) - np.log(1.03), alternative="greater", method="exact").pvalue
    )


def test_a_speed_up_passes():
    rng = np.random.default_rng(2)
    assert verdict(side(step=noisy(rng, 10)), side(step=noisy(rng, 10, 0.8)))[STEP].verdict == "pass"


def test_noise_wider_than_the_margin_is_inconclusive():
    rng = np.random.default_rng(3)
    found = verdict(side(step=noisy(rng, 6, spread=0.3)), side(step=noisy(rng, 6, spread=0.3)))[STEP]
    assert found.verdict == "inconclusive"


def test_four_pairs_allow_no_bound():
    rng = np.random.default_rng(4)
    assert verdict(side(step=noisy(rng, 4)), side(step=noisy(rng, 4, 3)))[STEP].verdict == "inconclusive"


def test_unchanged_code_is_red_no_more_often_than_alpha_and_mostly_passes():
    """Twelve benchmarks at once, 400 times: any red at all."""
    rng = np.random.default_rng(5)
    measures = [Measure(f"b{i}", "time", "time", "s") for i in range(12)]
    red = 0
    for _ in range(400):
        base, new = (Side("s", {m: tuple(noisy(rng, 10, spread=0.05)) for m in measures}) for _ in range(2))
        red += overall(decide(base, new)) == "fail"
    assert red / 400 <= 0.05


def test_the_margin_grows_with_the_noise_that_the_machine_showed():
    rng = np.random.default_rng(6)
    base, new = side(step=noisy(rng, 20)), side(step=noisy(rng, 20, 1.1))
    assert verdict(base, new)[STEP].verdict == "fail"
    found = verdict(base, new, noise={"step · time": 0.08})[STEP]
    assert (found.verdict, found.margin) == ("pass", 0.16)
    assert verdict(base, new, noise={"step · time": 0.08}, margins={"time": 0.03})[STEP].verdict == "fail"


def test_many_tests_together_are_adjusted():
    """One that would fail alone at p .04 does not among twenty."""
    rng = np.random.default_rng(7)
    ratios = np.log(1.03) + np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, -10]) * 1e-3  # p of the signed ranks: 43/1024
    base = {STEP: tuple(np.ones(10))} | {Measure(f"b{i}", "time", "time"): tuple(noisy(rng, 10)) for i in range(20)}
    new = {**base, STEP: tuple(np.exp(ratios))}
    found = verdict(Side("a", base), Side("b", new))[STEP]
    assert found.verdict == "inconclusive"
    assert "after adjustment for 21 tests" in found.said
    assert verdict(Side("a", {STEP: base[STEP]}), Side("b", {STEP: new[STEP]}))[STEP].verdict == "fail"


def test_counters_fail_at_one_more_and_pass_at_fewer():
    assert verdict(side(ops=[120, 120]), side(ops=[121, 121]))[OPS].line == (
        "FAIL step · dispatched operations: 120 → 121 (+0.83%) operations"
    )
    assert verdict(side(ops=[120]), side(ops=[100]))[OPS].verdict == "pass"


def test_a_counter_that_varies_fails_only_where_every_count_exceeds_the_base():
    for base, new, wanted in [
        ([5, 6, 5], [5, 6, 7], "inconclusive"),
        ([5, 5, 5], [5, 6, 5], "inconclusive"),
        ([5, 6, 5], [7, 8, 7], "fail"),
        ([5, 6, 5], [5, 5, 6], "pass"),
    ]:
        assert verdict(side(ops=base), side(ops=new))[OPS].verdict == wanted


def test_what_was_not_counted_passes_nothing():
    for base, new in [([5], [np.nan]), ([np.nan], [500])]:
        assert verdict(side(ops=base), side(ops=new))[OPS].verdict == "inconclusive"
    assert verdict(side(ops=[5, np.nan]), side(ops=[np.nan, 6]))[OPS].verdict == "fail"


def test_exact_numbers_fail_at_the_last_bit():
    same, other = 0.1 + 0.2, 0.3
    assert verdict(side(loss=[same]), side(loss=[same]))[LOSS].verdict == "pass"
    found = verdict(side(loss=[same]), side(loss=[other]))[LOSS]
    assert found.verdict == "fail"
    assert "0.30000000000000004 → 0.3" in found.line


def test_an_exact_number_that_the_base_does_not_keep_is_none():
    assert verdict(side(loss=[np.nan]), side(loss=[np.nan]))[LOSS].verdict == "pass"
    assert verdict(side(loss=[1.0]), side(loss=[np.nan]))[LOSS].verdict == "fail"
    assert verdict(side(loss=[1.0, 1.0]), side(loss=[1.0, 2.0]))[LOSS].verdict == "fail"
    found = verdict(side(loss=[1.0, 2.0]), side(loss=[1.0, 1.0]))[LOSS]
    assert (found.verdict, found.said) == ("inconclusive", "no exact number: 1.0 and 2.0 on the base")


def test_quality_is_paired_by_seed():
    """Seeds differ by ten, the change by a tenth on each: it shows, and the direction counts."""
    rng = np.random.default_rng(8)
    base = rng.normal(-100, 10, 5)
    worse = base - 4 + rng.normal(0, 0.1, 5)
    assert verdict(side(elbo=base), side(elbo=worse))[ELBO].verdict == "fail"
    assert verdict(side(elbo=base), side(elbo=base + 4))[ELBO].verdict == "pass"
    assert verdict(side(elbo=base), side(elbo=base))[ELBO].verdict == "pass"


def test_quality_p_is_scipys():
    rng = np.random.default_rng(9)
    base = rng.normal(-100, 10, 6)
    new = base - 2 + rng.normal(0, 1, 6)
    scale = abs(base.mean())
    expected = scipy_stats.ttest_1samp((base - new) / scale, 0.02, alternative="greater").pvalue
    assert verdict(side(elbo=base), side(elbo=new))[ELBO].p == pytest.approx(expected)


def test_a_loss_that_is_none_fails():
    assert verdict(side(elbo=[-1.0, -2.0]), side(elbo=[-1.0, np.nan]))[ELBO].verdict == "fail"


def test_a_seed_that_diverges_on_the_base_has_no_baseline():
    """So what diverges on both sides is no change; a seed that is lost is one."""
    gap = [-1.0, -2.0, np.nan]
    assert verdict(side(elbo=gap), side(elbo=gap))[ELBO].line == (
        "PASS vae · elbo: +0.0% [+0.0%, +0.0%], margin 2.0%, 2 seeds"
    )
    lost = verdict(side(elbo=[-1.0, -2.0, -3.0]), side(elbo=gap))[ELBO]
    assert (lost.verdict, lost.said) == ("fail", "no finite value of 1 of 3 seeds, which the base has")
    assert verdict(side(elbo=[np.nan]), side(elbo=[np.nan]))[ELBO].verdict == "inconclusive"


def test_values_that_are_no_pairs_are_said():
    for now in ((), (1.0, 2.0)):
        found = verdict(side("base", elbo=(1.0, 2.0, 3.0)), side(elbo=now))[ELBO]
        assert found.verdict == "inconclusive"
        assert found.said == f"3 values on the base and {len(now)} on the new side: they are no pairs"


def test_one_seed_passes_where_nothing_changed_and_decides_nothing_else():
    assert verdict(side("base", elbo=(-100.0,)), side(elbo=(-100.0,)))[ELBO].verdict == "pass"
    for now, effect in ((-150.0, "+50.0%"), (-50.0, "-50.0%")):
        found = verdict(side("base", elbo=(-100.0,)), side(elbo=(now,)))[ELBO]
        assert (found.verdict, found.said) == ("inconclusive", f"{effect}, and one seed allows no bound")


def test_a_counter_below_nothing_has_its_margin_above_it():
    base, margins = side("base", ops=(-10.0,)), {"dispatched operations": 0.1}
    for now, wanted in ((-10.0, "pass"), (-9.0, "pass"), (-8.0, "fail")):
        assert verdict(base, side(ops=(now,)), margins=margins)[OPS].verdict == wanted


def test_of_nothing_there_is_no_share():
    zero = side(elbo=[0.0, 0.0])
    assert verdict(zero, zero)[ELBO].verdict == "pass"
    assert verdict(zero, side(elbo=[-1.0, -2.0]))[ELBO].verdict == "inconclusive"  # higher is better


def test_what_one_side_lacks_is_shown_and_passes_nothing():
    base, new = side(name="main", step=[1.0] * 9, loss=[1.0]), side(name="mine", step=[1.0] * 9, ops=[3])
    found = {f.measure: f for f in decide(base, new)}
    assert (found[OPS].verdict, found[LOSS].verdict) == ("no baseline", "gone")
    assert found[OPS].said == "main does not have it"
    with pytest.raises(InputError, match="main and other have no benchmark in common"):
        decide(side(name="main", loss=[1.0]), side(name="other", ops=[1]))


# ---- rounds of pairs


def report(seconds, ops=10):
    return {
        "machine_info": {"node": "here", "system": "Linux"},
        "benchmarks": [
            {"fullname": name, "stats": {"min": value}, "extra_info": {"counters": {"ops": ops}}}
            for name, value in seconds.items()
        ],
    }


def by_side(sample):
    """A sampler of pairs from one of a side alone."""
    return lambda order, only: [sample(side, only) for side in order]


class Machine:
    """A sampler of known factors; it remembers what it was asked."""

    def __init__(self, factors, spread=0.01, seed=0):
        self.factors, self.spread, self.rng, self.asked = factors, spread, np.random.default_rng(seed), []

    def __call__(self, which, only):
        self.asked.append((which, tuple(only)))
        names = list(only) or list(self.factors)
        return report(
            {n: float(noisy(self.rng, 1, self.factors[n] if which == "new" else 1, self.spread)[0]) for n in names}
        )


def test_sides_take_turns_and_a_clear_answer_ends_it():
    machine = Machine({"a": 1.0})
    found = compare(by_side(machine), ("main", "mine"), pairs=8)
    assert overall(found.findings) == "pass"
    assert [which for which, _ in machine.asked] == ["base", "new", "new", "base"] * 4


def test_what_fails_is_confirmed_by_a_rerun_of_it_alone():
    machine = Machine({"a": 1.0, "b": 1.3})
    found = compare(by_side(machine), ("main", "mine"), pairs=10)
    assert overall(found.findings) == "fail"
    assert [only for _, only in machine.asked] == [()] * 2 + [("a", "b")] * 18 + [("b",)] * 20
    (line,) = [f.line for f in found.findings if f.verdict == "fail"]
    assert line.startswith("FAIL b · time: +3")
    assert "a rerun says +3" in line


def test_a_fail_that_does_not_come_again_is_no_fail():
    machine = Machine({"a": 1.3})
    calls = count()

    def sample(which, only):
        machine.factors["a"] = 1.3 if next(calls) < 20 else 1.0
        return machine(which, only)

    (time, _) = compare(by_side(sample), ("main", "mine"), pairs=10).findings
    assert time.verdict == "inconclusive"
    assert "not confirmed by a rerun" in time.said


def test_a_fail_that_needs_no_clock_is_confirmed_by_one_pair():
    """Of these benchmarks alone, and those whose time fails are measured again as it is."""
    machine = Machine({"a": 1.0, "b": 1.0}, spread=0.001)
    flicker = iter([10, 11, *[10] * 100])

    def sample(order, only):
        found = {which: machine(which, only) for which in order}
        for entry in found["new"]["benchmarks"]:
            counters = entry["extra_info"]["counters"]
            counters["ops"] = 11 if entry["fullname"] == "a" else next(flicker)
        return [found[which] for which in order]

    for benchmark, wanted in (("a", "fail"), ("b", "inconclusive")):
        machine.asked.clear()
        (ops,) = [f for f in compare(sample, ("x", "y"), pairs=6, only=[benchmark]).findings if f.measure.name == "ops"]
        assert ops.verdict == wanted
        assert len(machine.asked) == 12 + 2 * (benchmark == "a")


def test_an_exact_number_that_no_process_repeats_is_no_fail_of_unchanged_code():
    drawn, machine = count(), Machine({"a": 1.0}, spread=0.001)

    def sample(which, only):
        found = machine(which, only)
        found["benchmarks"][0]["extra_info"] = {"exact": {"loss": next(drawn)}, "timed": False}
        return found

    (loss,) = compare(by_side(sample), ("x", "y"), pairs=6).findings
    assert loss.verdict == "inconclusive"
    assert loss.said.startswith("0.0 → 1.0; not confirmed by a rerun: no exact number: 0.0 and ")


@pytest.mark.parametrize(("ever", "wanted"), [(True, "fail"), (False, "inconclusive")])
def test_a_crash_is_confirmed_too_and_keeps_nobody_from_its_turns(ever, wanted):
    machine = Machine({"a": 1.0, "b": 1.0}, spread=0.001)
    calls = count()

    def sample(order, only):
        found = {which: {**machine(which, only), "failures": {}} for which in order}
        if "b" in (only or "b") and (ever or next(calls) == 0):
            found["new"]["failures"] = {"b": "ValueError: no"}
            found["new"]["benchmarks"] = [e for e in found["new"]["benchmarks"] if e["fullname"] != "b"]
        return [found[which] for which in order]

    found = {f.measure: f for f in compare(sample, ("x", "y"), pairs=6).findings if f.measure.benchmark == "b"}
    (crash,) = found.values()
    assert crash.verdict == wanted
    assert crash.said == "crashed: ValueError: no" + ("" if ever else "; a rerun did not crash")
    assert crash.crashed == ever
    assert [only for _, only in machine.asked] == [()] * 2 + [("a",)] * 10 + [("b",)] * 2


def crashing(machine, crashes):
    """A sampler whose benchmark `b` crashes on the base in the pairs of these numbers."""
    calls = count()

    def sample(order, only):
        found, pair = {which: {**machine(which, only), "failures": {}} for which in order}, next(calls)
        if pair in crashes:
            found["base"]["failures"] = {"b": "OSError: no"}
            found["base"]["benchmarks"] = [e for e in found["base"]["benchmarks"] if e["fullname"] != "b"]
        return [found[which] for which in order]

    return sample


@pytest.mark.parametrize("pair", [0, 4])
def test_a_base_that_crashes_once_hides_nothing(pair):
    machine = Machine({"a": 1.0, "b": 1.5})
    found = compare(crashing(machine, {pair}), ("main", "mine"), pairs=10)
    assert {f.measure.benchmark for f in found.findings if f.verdict == "fail"} == {"b"}
    assert overall(found.findings) == "fail"
    assert found.base.notes == ("b crashed in 1 of 10 processes of main: OSError: no",)


def test_a_base_that_crashes_twice_is_no_baseline():
    machine = Machine({"a": 1.0, "b": 1.5}, spread=0.001)
    found = compare(crashing(machine, {*range(99)}), ("main", "mine"), pairs=6)
    assert [f.said for f in found.findings if f.measure.benchmark == "b"] == ["main crashes: OSError: no"]
    assert [only for _, only in machine.asked] == [()] * 2 + [("a", "b")] * 2 + [("a",)] * 8


def test_a_rerun_of_which_nothing_comes_keeps_what_was_found():
    machine, calls = Machine({"a": 1.5}), count()

    def sample(order, only):
        if next(calls) < 6:
            return [machine(which, only) for which in order]
        raise InputError("no benchmark could be run: its process ended with SIGKILL")

    time = next(f for f in compare(sample, ("main", "mine"), pairs=6).findings if f.measure.kind == "time")
    assert time.verdict == "inconclusive"
    assert time.said.startswith("+5")
    assert time.said.endswith("not confirmed by a rerun: it gave no sample")


def test_what_the_rerun_does_not_confirm_lends_no_rank_to_others():
    """Its p is that of both runs, which is large where one of them is."""
    machine, calls = Machine({"a": 1.3}), count()

    def sample(which, only):
        machine.factors["a"] = 1.3 if next(calls) < 20 else 1.0
        return machine(which, only)

    assert compare(by_side(sample), ("x", "y"), pairs=10).findings[0].p == 1.0


def test_what_is_not_clear_gets_as_many_pairs_again():
    machine = Machine({"a": 1.0, "b": 1.0}, spread=0.001)
    found = compare(by_side(machine), ("x", "y"), pairs=4)  # four pairs allow no bound at all
    assert len(machine.asked) == 16
    assert machine.asked[8:] == [(which, ("a", "b")) for which in ["base", "new", "new", "base"] * 2]
    assert overall(found.findings) == "pass"


def test_what_has_no_time_is_measured_once():
    """Counters and exact numbers come out the same again."""
    machine = Machine({"a": 1.0, "b": 1.0})

    def sample(which, only):
        found = machine(which, only)
        for entry in found["benchmarks"]:
            entry["extra_info"]["timed"] = entry["fullname"] == "a"
        return found

    found = compare(by_side(sample), ("main", "mine"), pairs=8)
    assert [only for _, only in machine.asked] == [()] * 2 + [("a",)] * 14
    assert {str(f.measure): f.n for f in found.findings if f.measure.name == "ops"} == {"a · ops": 8, "b · ops": 1}
    machine = Machine({"b": 1.0})
    assert compare(by_side(sample), ("main", "mine"), pairs=5).pairs == 1


# ---- reading


def test_a_folder_of_reports_is_repeats(tmp_path):
    for i, seconds in enumerate((0.5, 0.25)):
        (tmp_path / f"{i}.json").write_text(json.dumps(report({"a": seconds})))
    found = reading.read(tmp_path)
    assert found.values[Measure("a", "time", "time", "s")] == (0.5, 0.25)
    assert found.values[Measure("a", "ops", "counter")] == (10.0, 10.0)
    assert found.machine == {"system": "Linux"}


def test_a_repeat_that_lacks_a_benchmark_shifts_no_pair():
    """A machine that doubles its times from repeat to repeat, and a side that lacks the first and the third."""
    whole = [report({"a": 2.0**i, "b": 1.0}) for i in range(9)]
    holes = [report({"b": 1.0} | ({} if i in (0, 2) else {"a": 2.0**i})) for i in range(9)]
    base, new = reading.benchmarks(whole, "x"), reading.benchmarks(holes, "y")
    found = {str(f.measure): f for f in decide(base, new)}
    assert (found["a · time"].verdict, found["a · time"].n, found["a · time"].effect) == ("pass", 7, 0.0)


def test_repeats_of_a_seed_are_no_further_seeds():
    entry = {"fullname": "a", "stats": {"min": 1.0}}
    reports = [
        {"benchmarks": [entry | {"extra_info": {"quality": {"elbo": {"better": "higher", "values": values}}}}]}
        for values in ([1.0, 2.0], [1.0, 4.0])
    ]
    assert reading.benchmarks(reports, "x").values[Measure("a", "elbo", "quality", better="higher")] == (1.0, 3.0)


def test_machines_that_do_not_match_are_named(tmp_path):
    for node in ("one", "two"):
        (tmp_path / f"{node}.json").write_text(json.dumps(report({"a": 1.0}) | {"machine_info": {"processor": node}}))
    with pytest.raises(InputError, match="measured on different machines: processor 'one' and 'two'"):
        reading.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "broken JSON"),
        ("[]", "not a report of pytest-benchmark: it has no list of benchmarks"),
        ('{"benchmarks": [{}]}', "not a report of pytest-benchmark: KeyError: 'fullname'"),
        (f'{{"benchmarks": [{{"fullname": "a", "stats": {{"min": 1{"0" * 400}}}}}]}}', "OverflowError: int too large"),
        ("[" * 100_000, "broken JSON: maximum recursion depth"),
    ],
)
def test_what_is_no_report_gets_one_line(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=said):
        reading.read(tmp_path / "a.json")


def test_what_is_nowhere_gets_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file or folder; give a git revision, an environment or results"):
        reading.read(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds neither results"):
        reading.read(tmp_path)
