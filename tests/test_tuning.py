"""Tuned suites: what is drawn, what is chosen on validation, and that test values have no say in it."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import compared
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

import aebench
from aebench import comparison, manifest, pipeline, references, suite, tuning
from aebench.errors import InputError
from aebench.plots import with_documents
from aebench.store import Store
from aebench.store.frame import from_documents
from aebench.suite.draws import points

SPACE = "{lr: {loguniform: [1e-4, 1e-2]}, beta: {loguniform: [1e-3, 1]}}"
BASE = f"""\
name: trial
seeds: 2
data: digits
train: {{steps: 10, batch: 4}}
tune: {{draws: 16, metric: sse}}
runs:
  - {{variant: pca, sizes: {{latent: 2}}}}
  - variant: vae
    sizes: {{latent: 2}}
    tune: {SPACE}
  - {{variant: topk_ae, sizes: {{latent: 16}}, tune: {{k: {{choice: [1, 2, 4, 8]}}, lr: {{uniform: [0, 0.1]}}}}}}
metrics: [reconstruction]
"""


def entry(text: str, **keys: str) -> str:
    """BASE with one entry, and further keys of the suite."""
    given = {"tune": "{draws: 16, metric: sse}", "metrics": "[reconstruction]", "data": "digits", **keys}
    return "name: trial\n" + "".join(f"{k}: {v}\n" for k, v in given.items() if v) + f"runs:\n  - {text}\n"


def drawn(text: str, of: int = 0) -> list[dict[str, Any]]:
    """The values of the draws of a group."""
    tune = suite.parse(text, "x.yaml").tune
    assert tune is not None
    return [draw["values"] for draw in tune.groups[of]["draws"]]


def fault(text: str) -> str:
    with pytest.raises(InputError) as caught:
        suite.parse(text, "x.yaml")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- draws


def test_draws_are_these_numbers_everywhere():
    """Ids depend on them: whoever changes these throws away everybody's tuned results.

    Worked out from the definition: sha256 and the direction numbers of Sobol's first two fields, in integers.
    """
    values = drawn(BASE, 1)
    assert values[:3] == [
        {"beta": 0.525140858148, "lr": 0.000245153223142},
        {"beta": 0.0166064120416, "lr": 0.00245153223142},
        {"beta": 0.00295308406082, "lr": 0.000775242560862},
    ]
    assert drawn(BASE, 2)[:2] == [{"k": 4, "lr": 0.0357017155271}, {"k": 1, "lr": 0.0857017155271}]


def test_the_first_draw_is_the_random_shift_itself():
    """Sobol's first point is 0, and what is left is 30 bits of sha256, by the definition written out again."""
    digest = hashlib.sha256(b"tune/vae/lr").hexdigest()
    u = (int(digest[:8], 16) // 4 + 0.5) / 2**30
    (first,) = islice(points("vae", ["lr"]), 1)
    assert first[0] == u
    (value,) = drawn(entry("{variant: vae, tune: {lr: {uniform: [2, 4]}}}", tune="{draws: 1, metric: sse}"))
    assert value["lr"] == pytest.approx(2 + 2 * u, rel=1e-11)


def test_draws_fill_their_space_evenly():
    """A (0, 2)-sequence in base 2: of 16 points one lies in each box of 1/2ᵃ by 1/2ᵇ with a + b = 4."""
    found = np.array(list(islice(points("vae", ["beta", "lr"]), 64)))
    for block in found.reshape(4, 16, 2):
        for a in range(5):
            boxes = {(int(x * 2**a), int(y * 2 ** (4 - a))) for x, y in block}
            assert len(boxes) == 16
    alone = np.array(list(islice(points("vae", ["lr"]), 16)))[:, 0]
    assert sorted((alone * 16).astype(int)) == list(range(16))


def test_the_best_of_even_draws_is_nearer_to_an_optimum():
    """Of 16 on random bowls of two fields: .57 of what independent draws leave, and not more than .7."""
    rng, even, independent = np.random.Generator(np.random.PCG64(0)), 0.0, 0.0
    for i in range(1000):
        optimum, weight = rng.random(2), 10 ** rng.uniform(-1, 1, 2)
        draws = np.array(list(islice(points(str(i), ["a", "b"]), 16)))
        even += (weight * (draws - optimum) ** 2).sum(1).min()
        independent += (weight * (rng.random((16, 2)) - optimum) ** 2).sum(1).min()
    assert 0.45 < even / independent < 0.7


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], list("abcdefgh")])
def test_points_are_uniform_in_every_field(names: list[str]):
    found = np.array(list(islice(points("some_variant", names), 1000)))
    assert ((found > 0) & (found < 1)).all()
    for column in found.T:
        assert scipy_stats.kstest(column, "uniform").pvalue > 0.01
    correlation = np.corrcoef(found.T) if len(names) > 1 else np.eye(1)
    assert abs(correlation - np.eye(len(names))).max() < 4 / math.sqrt(1000)


def test_draws_follow_the_distribution_that_is_asked_for():
    text = "{variant: vae, tune: {lr: {loguniform: [1e-5, 1]}, weight_decay: {uniform: [0.5, 2]}}}"
    found = pd.DataFrame(drawn(entry(text, tune="{draws: 1024, metric: sse}")))
    assert scipy_stats.kstest(found["lr"], scipy_stats.loguniform(1e-5, 1).cdf).pvalue > 0.01
    assert scipy_stats.kstest(found["weight_decay"], scipy_stats.uniform(0.5, 1.5).cdf).pvalue > 0.01
    assert scipy_stats.kstest(found["lr"], scipy_stats.uniform(0, 1).cdf).pvalue < 1e-9
    choices = Counter(values["k"] for values in drawn(BASE, 2))
    assert choices == {1: 4, 2: 4, 4: 4, 8: 4}


@given(
    st.floats(1e-6, 1e3), st.floats(1.001, 1e6), st.sampled_from(["uniform", "loguniform"]),
    st.sampled_from(["vae", "beta_vae", "linear_vae"]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_draws_lie_in_their_range(low: float, factor: float, kind: str, variant: str):
    high = low * factor
    values = [v["lr"] for v in drawn(entry(f"{{variant: {variant}, tune: {{lr: {{{kind}: [{low}, {high}]}}}}}}"))]
    assert len(set(values)) == 16
    assert all(low <= value <= high for value in values)
    assert all(value in (low, high) or float(f"{value:.12g}") == value for value in values)


def test_the_order_of_fields_does_not_matter_and_the_variant_does():
    turned = "{beta: {loguniform: [1e-3, 1]}, lr: {loguniform: [1e-4, 1e-2]}}"
    assert [r.id for r in suite.parse(BASE).runs] == [r.id for r in suite.parse(BASE.replace(SPACE, turned)).runs]
    other = BASE.replace("variant: vae", "variant: beta_vae")
    assert not {values["lr"] for values in drawn(BASE, 1)} & {values["lr"] for values in drawn(other, 1)}


def test_more_draws_begin_with_the_fewer():
    few, many = (suite.parse(BASE.replace("draws: 16", f"draws: {n}")) for n in (5, 16))
    assert {run.id for run in few.runs} < {run.id for run in many.runs}
    assert drawn(few.text, 1) == drawn(many.text, 1)[:5]


def test_every_variant_with_a_space_gets_as_many_draws():
    tune = suite.parse(BASE.replace("data: digits", "data: [digits, moons]")).tune
    assert tune is not None
    assert [(g["variant"], g["data"], len(g["draws"])) for g in tune.groups] == [
        ("pca", "digits", 1), ("pca", "moons", 1), ("vae", "digits", 16), ("vae", "moons", 16),
        ("topk_ae", "digits", 16), ("topk_ae", "moons", 16),
    ]  # fmt: skip
    assert all(len(draw["ids"]) == 2 for group in tune.groups for draw in group["draws"])


def test_a_draw_is_a_run_like_any_other():
    """Its id is that of the same run written out; the entries beside it keep theirs."""
    values = drawn(BASE, 1)[3]
    plain = BASE.replace("tune: {draws: 16, metric: sse}\n", "").split("  - variant: vae")[0]
    text = f"{{variant: vae, sizes: {{latent: 2}}, hyper: {{beta: {values['beta']}}}, train: {{lr: {values['lr']}}}}}"
    by_hand = suite.parse(f"{plain}  - {text}\n")
    tuned = suite.parse(BASE)
    assert tuned.tune is not None
    assert by_hand.tune is None
    assert [run.id for run in by_hand.runs[2:]] == tuned.tune.groups[1]["draws"][3]["ids"]
    assert [run.id for run in by_hand.runs[:2]] == [run.id for run in tuned.runs[:2]]
    assert len({run.id for run in tuned.runs}) == len(tuned.runs) == 2 + 2 * 16 + 2 * 16
    assert [id for g in tuned.tune.groups for d in g["draws"] for id in d["ids"]] == [run.id for run in tuned.runs]


def test_ids_of_suites_without_tune_are_as_before():
    ids = " ".join(run.id for run in suite.read("quickstart").runs)
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "72219f5153f89d6f"


def test_floats_pack_and_choices_split():
    sizes = [len(pack) for pack in suite.packs(suite.parse(BASE).runs)]
    assert sizes == [2, 2 * 16, *[2 * 4] * 4]


def test_each_value_of_a_sweep_gets_the_same_draws():
    text = "{variant: vae, sweep: {beta: [0.1, 1]}, tune: {lr: {loguniform: [1e-4, 1e-2]}}}"
    tune = suite.parse(entry(text)).tune
    assert tune is not None
    assert [group["swept"] for group in tune.groups] == [{"beta": 0.1}, {"beta": 1.0}]
    assert drawn(entry(text), 0) == drawn(entry(text), 1)
    assert len(suite.parse(entry(text)).runs) == 2 * 16


def test_schedules_names_and_none_can_be_chosen():
    text = """{variant: ae, tune: {
        lr: {choice: [1e-3, {points: {0: 1e-2, 0.8: 1e-3}, kind: step}]},
        reconstruction: {choice: [mse, {name: huber, delta: 0.5}]}, clip: {choice: [null, 1]}}}"""
    found = suite.parse(entry(text, tune="{draws: 8, metric: sse}"))
    specs = [run.spec for run in found.runs]
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == 8
    assert sum("clip" not in spec["train"] for spec in specs) == 4
    assert {"points": [[0.0, 0.01], [0.8, 0.001]], "kind": "step"} in [spec["train"]["lr"] for spec in specs]
    assert {"name": "huber", "delta": 0.5} in [spec["sizes"]["reconstruction"] for spec in specs]
    without = suite.parse("name: t\ndata: digits\nruns: [{variant: ae, sizes: {reconstruction: mse}}]").runs[0].id
    chosen = [run.id for run in found.runs if run.spec["sizes"]["reconstruction"] == "mse"]
    assert without in chosen, "no clipping is the same run as clip unsaid"


def test_smoke_and_seeds():
    smoke = suite.parse(BASE, smoke=True)
    assert smoke.tune is not None
    assert (len(smoke.runs), smoke.tune.draws) == (1 + 2 + 2, 2)
    assert {run.spec["seed"] for run in smoke.runs} == {0}
    assert len(suite.parse(BASE, seeds=3).runs) == 3 * 33
    fewer = suite.parse(BASE, overrides={"tune.draws": "2"})
    assert len(fewer.runs) == 2 * 5


def test_reading_a_tuned_suite_and_choosing_do_not_import_torch():
    code = "import sys; from aebench import suite, tuning; suite.read('tuned'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_shipped_suite_gives_all_the_same_budget():
    tune = suite.read("tuned").tune
    assert tune is not None
    budgets = {group["variant"]: len(group["draws"]) for group in tune.groups}
    assert budgets == {"wiener": 1, "ae": 16, "denoising_ae": 16, "sparse_l1_ae": 16, "vae": 16}


VAE = "{variant: vae, tune: {beta: {loguniform: [1e-3, 1]}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry(VAE, tune=""), "x.yaml:5: runs[0].tune: wants the suite's own tune"),
        (entry("{variant: vae}"), "x.yaml:2: tune: no run has a space to draw from"),
        (entry(VAE, tune="{draws: 0, metric: sse}"), "x.yaml:2: tune.draws: 0 should be greater than or equal to 1"),
        (entry(VAE, tune="{draws: 2.5, metric: sse}"), "x.yaml:2: tune.draws: 2.5 should be a valid integer"),
        (entry(VAE, tune="{draw: 2, metric: sse}"), "unknown key 'draw'"),
        (entry(VAE, tune="{draws: 2}"), "x.yaml:2: tune: metric is missing"),
        (entry(VAE, tune="16"), "x.yaml:2: tune: should be a mapping {draws: 16, metric: sse}, not 16"),
        (entry(VAE, tune="{draws: 2, metric: sze}"), "x.yaml:2: tune.metric: unknown value 'sze'"),
        (entry(VAE, metrics=""), "x.yaml:2: tune.metric: the suite's metrics give no value to choose by"),
        (
            entry(VAE, tune="{draws: 2, metric: U}", metrics="[reconstruction, energy]"),
            "x.yaml:2: tune.metric: U cannot choose, as it has no better direction",
        ),
        (
            entry(VAE, tune="{draws: 2, metric: parameters}", metrics="[reconstruction, size]"),
            "is no score of the examples: choose from sse, mse, psnr",
        ),
        (
            entry(VAE + "\n  - {variant: ae, tune: {lr: {uniform: [0, 1]}}}", tune="{draws: 2, metric: elbo}",
                  metrics="[elbo]"),
            "x.yaml:7: runs[1]: variant 'ae' has no elbo, by which tune chooses",
        ),
        (
            entry(VAE, data="{name: digits, split: none}"),
            "x.yaml:6: runs[0]: data 'digits' have no validation part to choose on",
        ),
        (entry("{variant: vae, tune: {}}"), "x.yaml:6: runs[0].tune: is empty: it wants at least one of beta"),
        (entry("{variant: vae, tune: {bet: {uniform: [0, 1]}}}"), "unknown key 'bet': did you mean beta?"),
        (entry("{variant: vae, tune: {steps: {choice: [1, 2]}}}"), "unknown key 'steps'"),
        (entry("{variant: vae, tune: {beta: [0, 1]}}"), "tune.beta: should be {loguniform: [low, high]}"),
        (entry("{variant: vae, tune: {beta: {normal: [0, 1]}}}"), "unknown key 'normal'"),
        (
            entry("{variant: vae, tune: {beta: {uniform: [0, 1], choice: [1]}}}"),
            "x.yaml:6: runs[0].tune.beta: wants one of loguniform, uniform, choice, not 2",
        ),
        (entry("{variant: vae, tune: {beta: {uniform: [0, 1, 2]}}}"), "wants two numbers (low, high), not 3"),
        (entry("{variant: vae, tune: {beta: {uniform: [1, 1]}}}"), "from 1.0 to 1.0 is no range"),
        (entry("{variant: vae, tune: {beta: {uniform: [-1, 1]}}}"), "beta.uniform[0]: -1"),
        (entry("{variant: vae, tune: {clip: {uniform: [null, 1]}}}"), "clip.uniform[0]: null should be a valid number"),
        (entry("{variant: vae, tune: {beta: {loguniform: [0, 1]}}}"), "beta.loguniform[0]: 0.0 has no logarithm"),
        (entry("{variant: vae, tune: {latent: {uniform: [2, 8]}}}"), "latent is no real number: draw it by choice"),
        (entry("{variant: vae, tune: {latent: {choice: [2, 2]}}}"), "2 is given twice"),
        (entry("{variant: vae, tune: {latent: {choice: [2, 0.5]}}}"), "choice[1]: 0.5 should be a valid integer"),
        (
            entry("{variant: vae, tune: {latent: {choice: [2, 4, 8]}}}"),
            "x.yaml:6: runs[0].tune: holds 3 different draws, not the 16 of the suite's tune",
        ),
        (
            entry("{variant: vae, hyper: {beta: 1}, tune: {beta: {uniform: [0, 1]}}}"),
            "x.yaml:6: runs[0].tune: beta is given in hyper too",
        ),
        (
            entry("{variant: vae, sweep: {beta: [1]}, tune: {beta: {uniform: [0, 1]}}}"),
            "x.yaml:6: runs[0].tune: beta is swept too",
        ),
        (
            entry("{variant: pca, tune: {lr: {uniform: [0, 1]}}}"),
            "runs[0].tune: variant 'pca' is a closed form: lr changes nothing",
        ),
        (
            entry("{variant: topk_ae, sizes: {latent: 4}, tune: {k: {choice: [2, 5]}, lr: {uniform: [0, 1]}}}"),
            "(variant 'topk_ae', data 'digits')",
        ),
        (
            entry(f"{VAE}\n  - {VAE}"),
            "x.yaml:7: runs[1]: the same run as runs[0] (x.yaml:6)",
        ),
    ],
)  # fmt: skip
def test_faults_are_told_in_a_line_with_their_place(text: str, said: str):
    assert said in fault(text)


# --- choosing: frames made by hand


def group(variant: str, draws: int, seeds: int, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A group of suite.json whose run ids are `<variant><draw>-<seed>`."""
    values = [{name: float(d + 1) for name in fields} for d in range(draws)]
    ids = [[f"{variant}{d}-{s}" for s in range(seeds)] for d in range(draws)]
    drawn = [{"values": v, "ids": i} for v, i in zip(values, ids, strict=True)]
    return {"variant": variant, "data": "digits", "swept": {}, "fields": fields, "draws": drawn} | more


def tune_of(*groups: dict[str, Any], better: str = "lower") -> dict[str, Any]:
    draws = max(len(g["draws"]) for g in groups)
    return {"draws": draws, "metric": "sse", "measured_by": "reconstruction", "better": better, "groups": list(groups)}


def frame_of(tune: dict[str, Any], validation: Any, test: Any) -> pd.DataFrame:
    """Runs in the order of the groups; `validation` and `test` [runs]."""
    rows = [
        {"id": id, "status": "ok", "variant": g["variant"], "data": "digits", "seed": s}
        for g in tune["groups"]
        for d in g["draws"]
        for s, id in enumerate(d["ids"])
    ]
    frame = pd.DataFrame(rows)
    frame["sse"] = np.asarray(test, np.float64).ravel()
    frame["validation_sse"] = np.asarray(validation, np.float64).ravel()
    frame.attrs = {"values": {"sse": {"unit": "u", "better": "lower"}}, "problems": []}
    return frame


LR = {"lr": {"loguniform": [0.001, 1000.0]}}
VALIDATION = np.array([[5.0, 7.0], [2.0, 4.0], [9.0, 9.0], [1.0, 6.0]])
"""Four draws of two seeds: their means are 6, 3, 9 and 3.5."""


def test_the_best_on_validation_is_chosen_though_it_is_the_worst_on_test():
    tune = tune_of(group("vae", 4, 2, LR))
    test = np.array([[3.0, 3.0], [8.0, 9.0], [0.1, 0.1], [1.0, 1.0]])  # draw 2 is best on test, worst on validation
    rows, (choice,) = tuning.chosen(frame_of(tune, VALIDATION, test), tune)
    assert (choice.draw, choice.fields, choice.ids) == (1, {"lr": 2.0}, ("vae1-0", "vae1-1"))
    assert list(rows["id"]) == ["vae1-0", "vae1-1"]
    assert (choice.validation.mean, choice.test.mean, choice.draws) == (3.0, 8.5, 4)
    assert choice.values == {"validation": (6.0, 3.0, 9.0, 3.5), "test": (3.0, 8.5, pytest.approx(0.1), 1.0)}
    assert rows.attrs["values"]["sse"]["unit"] == "u"
    t = scipy_stats.t(1).ppf(0.975) * np.std([8, 9], ddof=1) / math.sqrt(2)
    assert (choice.test.low, choice.test.high) == (pytest.approx(8.5 - t), pytest.approx(8.5 + t))
    assert choice.sensitivity("test").best == pytest.approx(0.1)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["lower", "higher"]))
@settings(max_examples=30, deadline=None)
def test_no_test_value_moves_the_choice(seed: int, better: str):
    rng = np.random.Generator(np.random.PCG64(seed))
    tune = tune_of(group("vae", 8, 3, LR), group("ae", 8, 3, LR), better=better)
    validation = rng.normal(size=(16, 3))
    tests = [rng.normal(size=(16, 3)) * 10.0**k for k in (-3, 0, 6)]
    tests.append(np.where(rng.random((16, 3)) < 0.5, np.nan, 1.0))
    chosen = [[c.draw for c in tuning.chosen(frame_of(tune, validation, test), tune)[1]] for test in tests]
    means = validation.reshape(2, 8, 3).mean(2)
    expected = means.argmin(1) if better == "lower" else means.argmax(1)
    assert all(draws == list(expected) for draws in chosen)


def test_a_draw_with_a_failed_run_is_not_eligible():
    """Its other seeds would flatter it: the mean of those that ended well is the best of all here."""
    tune = tune_of(group("vae", 4, 2, LR))
    frame = frame_of(tune, VALIDATION, VALIDATION)
    frame.loc[frame["id"] == "vae1-1", "status"] = "diverged"
    rows, (choice,) = tuning.chosen(frame, tune)
    assert choice.draw == 3
    assert list(rows["id"]) == ["vae3-0", "vae3-1"]
    assert math.isnan(choice.values["validation"][1])
    assert choice.notes == ("1 of 4 draws are not eligible: a run failed, is missing or has no value on validation",)
    rows, (choice,) = tuning.chosen(frame[frame["id"] != "vae3-0"], tune)
    assert choice.draw == 0, "nor is one with a run that is missing"
    frame.loc[frame["id"] == "vae0-0", "validation_sse"] = np.nan
    assert tuning.chosen(frame[frame["id"] != "vae3-0"], tune)[1][0].draw == 2, "nor one that was not measured"


def test_where_all_fail_nothing_is_chosen_and_the_failures_are_shown():
    tune = tune_of(group("vae", 4, 2, LR))
    frame = frame_of(tune, VALIDATION, VALIDATION)
    frame.loc[frame["seed"] == 1, "status"] = "diverged"
    rows, (choice,) = tuning.chosen(frame, tune)
    assert (choice.draw, choice.fields) == (None, {})
    assert list(rows["id"]) == list(choice.ids) == ["vae0-1"], "and no value of a draw that was not chosen"
    assert math.isnan(choice.test.mean)
    assert choice.notes == ("no draw is eligible: a run failed, is missing or has no value on validation",)
    assert tuning.in_words(choice).startswith("vae on digits: nothing chosen of 4 draws. No draw is eligible")
    rows, (choice,) = tuning.chosen(frame_of(tune, VALIDATION, VALIDATION).drop(columns="validation_sse"), tune)
    assert (choice.draw, len(rows)) == (None, 0)


def test_equal_means_go_to_the_earlier_draw():
    tune = tune_of(group("vae", 4, 2, LR))
    assert tuning.chosen(frame_of(tune, np.ones((4, 2)), VALIDATION), tune)[1][0].draw == 0


def test_what_has_no_space_has_a_budget_of_one_and_stays():
    tune = tune_of(group("vae", 4, 2, LR), group("pca", 1, 2, {}))
    frame = frame_of(tune, [*VALIDATION.ravel(), 1, 1], [*VALIDATION.ravel(), 2, 4])
    stranger = pd.concat([frame, frame.iloc[:1].assign(id="other")])
    rows, choices = tuning.chosen(stranger, tune)
    assert list(rows["id"]) == ["vae1-0", "vae1-1", "pca0-0", "pca0-1", "other"]
    assert [(c.draws, c.fields) for c in choices] == [(4, {"lr": 2.0}), (1, {})]
    assert choices[1].test.mean == 3
    assert math.isnan(choices[1].sensitivity("test").relative)
    assert tuning.in_words(choices[1]).startswith("pca on digits: nothing to tune, a tuning budget of 1; sse 3")
    frame.loc[frame["id"] == "pca0-0", "status"] = "failed"
    rows, choices = tuning.chosen(frame, tune)
    assert {"pca0-0", "pca0-1"} < set(rows["id"])
    assert choices[1].test.mean == 4


def test_a_group_without_runs_in_the_frame_gives_no_choice():
    tune = tune_of(group("vae", 4, 2, LR), group("ae", 4, 2, LR))
    frame = frame_of(tune_of(group("vae", 4, 2, LR)), VALIDATION, VALIDATION)
    assert [choice.variant for choice in tuning.chosen(frame, tune)[1]] == ["vae"]


def test_sensitivity_by_hand():
    tune = tune_of(group("vae", 5, 1, LR))
    _, (choice,) = tuning.chosen(frame_of(tune, [1, 2, 3, 4, 5], [-10, 20, 30, 40, 50]), tune)
    assert choice.sensitivity("validation") == tuning.Sensitivity(2, 3, 4, 1, 2)
    assert choice.sensitivity("test") == tuning.Sensitivity(20, 30, 40, -10, 2)
    zero = replace(choice, values={**choice.values, "test": (0.0, 1.0, 2.0, 3.0, 4.0)})
    assert math.isnan(zero.sensitivity("test").relative), "a share of nothing"


def test_the_expected_best_is_that_of_random_search():
    """Simulated: n draws out of eight, with replacement, and the best of them."""
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0, 3.5]
    tune = tune_of(group("vae", 8, 1, LR))
    _, (choice,) = tuning.chosen(frame_of(tune, values, values), tune)
    rng = np.random.Generator(np.random.PCG64(0))
    for n, expected in enumerate(choice.expected, 1):
        best = rng.choice(values, size=(40_000, n)).min(1)
        assert expected == pytest.approx(best.mean(), abs=5 * best.std() / 200)
    assert len(choice.expected) == 8


def test_a_choice_at_the_end_of_its_range_says_so():
    """Draw d has the value d + 1: of a uniform range from 1 to 21, 2 is the first twentieth's end."""
    near = tune_of(group("vae", 4, 2, {"lr": {"uniform": [1.9, 22.0]}}))
    note = "lr 2 is at the lower end of what was drawn from: better values may lie beyond"
    assert tuning.chosen(frame_of(near, VALIDATION, VALIDATION), near)[1][0].notes == (note,)
    assert tuning.in_words(tuning.chosen(frame_of(near, VALIDATION, VALIDATION), near)[1][0]).endswith(f"L{note[1:]}.")
    upper = tune_of(group("vae", 4, 2, {"lr": {"loguniform": [1e-9, 2.5]}}))
    assert "upper end" in tuning.chosen(frame_of(upper, VALIDATION, VALIDATION), upper)[1][0].notes[0]
    for fields in ({"lr": {"uniform": [0.0, 22.0]}}, {"lr": {"choice": [1.0, 2.0, 3.0, 4.0]}}, LR):
        tune = tune_of(group("vae", 4, 2, fields))
        assert tuning.chosen(frame_of(tune, VALIDATION, VALIDATION), tune)[1][0].notes == ()


# --- what comparisons make of it

SEEDS = np.array([10.0, 11.0, 9.5, 10.4, 10.9])


def tuned(*settings):
    """(variant, data, lr, draws, shift of sse and mae) of each setting: the frame that comparisons take."""
    documents, groups = [], []
    for variant, data, lr, draws, shift in settings:
        values = {"sse": SEEDS + shift, "mae": SEEDS + shift}
        own = compared.runs(variant, values, data=data, train={"lr": lr})
        for document, value in zip(own, SEEDS, strict=True):
            document["validation"] = {"sse": document["metrics"]["sse"] | {"value": value}}
        ids = [document["id"] for document in own]
        fields = {"lr": {"loguniform": [1e-4, 1e-2]}} if draws > 1 else {}
        empty = [{"ids": [f"{variant}{n}"], "values": {"lr": lr}} for n in range(draws - 1)]
        draws_ = [{"ids": ids, "values": {"lr": lr} if fields else {}}, *empty]
        groups.append({"variant": variant, "fields": fields, "swept": {}, "draws": draws_})
        documents += own
    tune = {"draws": 16, "metric": "sse", "better": "lower", "groups": groups}
    held = {document["id"]: document for document in documents}
    rows, choices = tuning.chosen(from_documents(documents), tune)
    return tuning.told_apart(with_documents(rows, held), choices)


def test_what_had_one_draw_is_not_ranked_with_what_had_sixteen():
    """pca, a closed form, has nothing to tune and stands beside any budget."""
    [board] = comparison.boards(tuned(
        ("vae", "digits", 0.002, 16, 1.0), ("sparse_l1_ae", "digits", 0.001, 16, 2.0),
        ("ae", "digits", 0.003, 1, -5.0), ("pca", "digits", 0.001, 1, 9.0),
    ))  # fmt: skip
    cells = {entrant.variant: board.cells[entrant.key, "sse"] for entrant in board.entrants}
    assert cells["vae"].mark == "best"
    assert cells["ae"].note == "not ranked: another latent size or budget"
    assert cells["pca"].note == ""
    [note] = [note for note in board.notes if note.startswith("Ranked are")]
    assert "the best of 16 draws by sse), the largest group" in note
    assert "not ranked: ae (100 steps of 32, adam, fp32, not tuned)" in note


def test_draws_are_ranked_by_what_chose_them_alone():
    frame = tuned(("vae", "digits", 0.002, 16, 1.0), ("sparse_l1_ae", "digits", 0.001, 16, 2.0))
    [board] = comparison.boards(frame)
    notes = {measure.name: measure.note for measure in board.measures}
    assert notes["sse"] == ""
    assert notes["mae"] == "draws were chosen by sse, and are ranked by nothing else"
    assert {claim.measure for claim in comparison.claims(frame, [board])} == {"sse"}


def test_settings_whose_draws_differ_by_data_are_ranked_over_them():
    variants = (("topk_ae", 1.0), ("sparse_l1_ae", 2.0), ("ae", 3.0))
    frame = tuned(*(
        (variant, data, lr * (1 + n), 16, shift)
        for data, lr in (("digits", 0.002), ("mnist", 0.001))
        for n, (variant, shift) in enumerate(variants)
    ))  # fmt: skip
    found = comparison.ranking(frame, references.load())
    assert found is not None
    assert found.labels == ("topk_ae", "sparse_l1_ae", "ae")
    assert found.data == ("digits", "mnist")


# --- from a suite to its choice

TINY = """\
name: tiny
seeds: 2
data: {name: gaussian, n: 64, n_validation: 32, n_test: 48}
train: {steps: 32, batch: 16}
tune: {draws: 4, metric: sse}
runs:
  - {variant: pca, sizes: {latent: 2}}
  - {variant: linear_ae, sizes: {latent: 2}, tune: {lr: {loguniform: [1e-3, 1e-1]}}}
  - variant: vae
    network: {kind: mlp, hidden: [4]}
    sizes: {latent: 2}
    tune: {lr: {loguniform: [1e-3, 1e-1]}, beta: {loguniform: [1e-2, 1]}}
metrics: [reconstruction, elbo]
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    yield
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A folder in which the suite has run, and what that gave."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY)
    return folder, aebench.run(folder / "tiny.yaml", out=folder, device="cpu", report=False)


def manifest_of(folder: Path) -> dict[str, Any]:
    made_by = Store(folder / "results" / "tiny").manifest()
    assert made_by is not None
    return made_by


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_manifest_says_how_the_suite_is_tuned(tiny: tuple[Path, pd.DataFrame]):
    folder, frame = tiny
    tune, wanted = manifest_of(folder)["tune"], suite.parse(TINY)
    assert tune == json.loads(json.dumps(manifest.of(wanted)["tune"]))
    assert (tune["draws"], tune["metric"], tune["better"]) == (4, "sse", "lower")
    assert len(frame) == len(wanted.runs) == 2 * (1 + 4 + 4)
    assert tune["groups"][1]["fields"] == {"lr": {"loguniform": [0.001, 0.1]}}
    assert "tune" not in manifest.of(suite.read("quickstart"))


def test_values_on_validation_are_those_of_the_validation_part(tiny: tuple[Path, pd.DataFrame]):
    """Measured here again, from the stored model and the arrays of both parts."""
    import torch

    from aebench import data

    folder, frame = tiny
    for row in frame[frame["variant"] == "vae"].itertuples():
        document = Store(folder / "results" / "tiny").read(row.id)
        assert document is not None
        assert set(document["validation"]) == {"sse", "mse", "psnr"}, "all that the metric that chooses gives, no other"
        model = aebench.load_model(folder / "results" / "tiny", row.id)
        parts = data.load(document["spec"]["data"])
        for x, found in ((parts.validation.x, row.validation_sse), (parts.test.x, row.sse)):
            x = torch.from_numpy(x)
            assert found == pytest.approx((x - model.reconstruct(x)).square().sum(1).mean().item(), rel=1e-5)
    about = frame.attrs["values"]["validation_sse"]
    assert (about["part"], about["better"]) == ("validation", "lower")
    assert "part" not in frame.attrs["values"]["sse"]


def test_linear_maps_err_alike_on_parts_of_equal_covariance(tiny: tuple[Path, pd.DataFrame]):
    """Each part of these data has exactly the eigenvalues 4, 1, 1/4, and ‖x − x̂‖² of a linear map knows no more."""
    _, frame = tiny
    linear = frame[frame["variant"] != "vae"]
    np.testing.assert_allclose(linear["validation_sse"], linear["sse"], rtol=1e-5)
    np.testing.assert_allclose(frame.loc[frame["variant"] == "pca", "validation_sse"], 0.25, rtol=1e-5)
    assert not np.allclose(*frame.loc[frame["variant"] == "vae", ["validation_sse", "sse"]].to_numpy().T, rtol=1e-3)


def test_the_choice_is_the_best_mean_of_what_was_measured(tiny: tuple[Path, pd.DataFrame]):
    folder, frame = tiny
    rows, choices = tuning.chosen(frame, manifest_of(folder)["tune"])
    assert [(c.variant, c.data, c.draws) for c in choices] == [
        ("pca", "gaussian", 1), ("linear_ae", "gaussian", 4), ("vae", "gaussian", 4),
    ]  # fmt: skip
    assert len(rows) == 2 * 3
    means = frame.groupby(["variant", "lr"])["validation_sse"].mean()
    for variant in ("linear_ae", "vae"):
        choice = next(c for c in choices if c.variant == variant)
        assert choice.fields["lr"] == means[variant].idxmin()
        assert choice.validation.mean == pytest.approx(means[variant].min())
        assert set(choice.ids) == set(rows.loc[rows["variant"] == variant, "id"])


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is an error."""
    from aebench import work

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(work, "train", refuse)


def test_a_second_run_trains_nothing_and_writes_nothing(tiny: tuple[Path, pd.DataFrame], untrained: None):
    folder, frame = tiny
    before = snapshot(folder)
    again = aebench.run(folder / "tiny.yaml", out=folder, device="cpu", report=False)
    pd.testing.assert_frame_equal(frame, again)
    assert snapshot(folder) == before


@pytest.fixture
def copy(tiny: tuple[Path, pd.DataFrame], tmp_path: Path) -> Path:
    shutil.copytree(tiny[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_what_lacks_validation_is_measured_from_its_weights(
    copy: Path, tiny: tuple[Path, pd.DataFrame], untrained: None
):
    folder, frame = copy, tiny[1]
    store = Store(folder / "results" / "tiny")
    document = store.read(str(frame["id"].iloc[-1]))
    assert document is not None
    value = document.pop("validation")["sse"]["value"]
    store.publish(document, None, None)
    wanted = suite.parse(TINY)
    todo = pipeline.plan(wanted, folder)
    assert (todo.packs, todo.stale) == ([], {document["id"]: ["reconstruction"]})
    aebench.run(folder / "tiny.yaml", out=folder, device="cpu", report=False)
    after = store.read(document["id"])
    assert after is not None
    assert after["validation"]["sse"]["value"] == pytest.approx(value, rel=1e-5)
    assert after["metrics"]["elbo"] == document["metrics"]["elbo"]


def test_another_chooser_is_measured_beside_the_first(copy: Path, untrained: None, tmp_path: Path):
    """psnr comes of the same metric: nothing to measure; the ELBO is measured on validation, and the SSE stays."""
    folder = copy
    only = TINY.replace("  - {variant: linear_ae", "  # - {variant: linear_ae").replace("  - {variant: pca", "  # - {")
    assert pipeline.plan(suite.parse(only.replace("metric: sse", "metric: psnr")), folder).stale == {}
    (tmp_path / "other.yaml").write_text(only.replace("metric: sse", "metric: elbo"))
    frame = aebench.run(tmp_path / "other.yaml", out=folder, device="cpu", report=False)
    assert frame[["validation_sse", "validation_elbo"]].notna().all(axis=None)
    assert suite.read(tmp_path / "other.yaml").tune is not None


def test_evaluate_measures_validation_too(copy: Path, tiny: tuple[Path, pd.DataFrame], untrained: None):
    store = Store(copy / "results" / "tiny")
    documents = store.documents()
    store.publish_all([({k: v for k, v in d.items() if k != "validation"}, None, None) for d in documents])
    assert pipeline.evaluate(store.folder, device="cpu") == (len(documents), 0)
    again = aebench.load(store.folder)
    np.testing.assert_allclose(again["validation_sse"], tiny[1]["validation_sse"], rtol=1e-5)


def test_suites_without_tune_have_no_validation(tmp_path: Path):
    text = TINY.split("tune: {draws")[0] + "runs:\n  - {variant: pca, sizes: {latent: 2}}\nmetrics: [reconstruction]\n"
    (tmp_path / "plain.yaml").write_text(text)
    frame = aebench.run(tmp_path / "plain.yaml", out=tmp_path, device="cpu", report=False)
    assert [name for name in frame if "validation" in name] == []
    assert not any("validation" in document for document in Store(tmp_path / "results" / "tiny").documents())
