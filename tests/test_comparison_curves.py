"""Sweeps compared as curves: at equal rate, equal sparsity, equal noise."""

import numpy as np
import pytest
import scipy.stats
from compared import document, frame

from aebench.comparison import curve_comparisons

RATES = {0.1: 10.0, 1.0: 6.0, 3.0: 2.0}


def rates(variant, offset, own=0.0, seeds=range(5), **more):
    """⟨C⟩ = 20 − KL + offset + own·seed: straight, so that interpolation is exact."""
    return [
        document(variant, seed, {"kl": rate, "C": 20 - rate + offset + own * seed}, hyper={"beta": beta}, **more)
        for beta, rate in RATES.items()
        for seed in seeds
    ]


def test_rate_and_distortion_differ_by_what_was_put_in():
    documents = [*rates("vae", 0.0, 0.02), *rates("linear_vae", 2.0)]
    [found] = curve_comparisons(frame(documents))
    assert (found.data, found.kind, found.a, found.b) == ("digits", "rate-distortion", "vae", "linear_vae")
    differences = -2 + 0.02 * np.arange(5)
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.area.mean, found.area.low, found.area.high) == pytest.approx((-1.96, expected.low, expected.high))
    assert found.at.tolist() == [2, 4, 6, 8, 10]
    assert found.matched.mean == pytest.approx(np.full(5, -1.96))
    assert found.matched.low == pytest.approx(np.full(5, expected.low))
    assert (found.unit_x, found.unit_y) == (
        "nats per example",
        "squared units of the data, summed over elements, per example",
    )
    assert sorted(found.ids) == sorted(run["id"] for run in documents)


def test_seeds_that_only_one_line_has_are_left_out():
    documents = [*rates("vae", 0.0), *rates("linear_vae", 2.0, 0.1, seeds=range(1, 8))]
    [found] = curve_comparisons(frame(documents))
    assert found.area.n == 4
    assert found.area.mean == pytest.approx(-2 - 0.1 * np.mean([1, 2, 3, 4]))
    seeds = {run["id"]: run["spec"]["seed"] for run in documents}
    assert {seeds[run] for run in found.ids} == {1, 2, 3, 4}


@pytest.mark.parametrize("more", [{"latent": 4}, {"train": {"steps": 7}}, {"data": "mnist"}])
def test_lines_of_other_size_budget_or_data_are_not_compared(more):
    assert curve_comparisons(frame([*rates("vae", 0.0), *rates("linear_vae", 2.0, **more)])) == ()


def test_lines_that_do_not_overlap_and_single_points_are_no_curves():
    far = [
        document("linear_vae", seed, {"kl": rate, "C": 1.0}, hyper={"beta": beta})
        for beta, rate in ((0.1, 30.0), (1.0, 20.0))
        for seed in range(5)
    ]
    point = [document("beta_vae", seed, {"kl": 6.0, "C": 1.0}, hyper={"beta": 1.0}) for seed in range(5)]
    assert curve_comparisons(frame([*rates("vae", 0.0), *far, *point])) == ()


def test_a_weight_of_zero_is_no_point_of_a_rate():
    bare = [document("vae", seed, {"kl": 14.0, "C": 0.0}, hyper={"beta": 0.0}) for seed in range(5)]
    [found] = curve_comparisons(frame([*rates("vae", 0.0), *bare, *rates("linear_vae", 2.0)]))
    assert not {run["id"] for run in bare} & set(found.ids)
    assert found.area.mean == pytest.approx(-2)


def test_failed_runs_are_no_points():
    documents = [*rates("vae", 0.0), *rates("linear_vae", 2.0)]
    broken = [run | {"status": "diverged"} if run["spec"]["seed"] == 3 else run for run in documents]
    [found] = curve_comparisons(frame(broken))
    assert found.area.n == 4


def test_the_notes_beta_is_swept_as_well():
    notes = [
        document("energy_vae", run["spec"]["seed"], {"kl": rate, "C": 19 - rate}, hyper={"notes_beta": 1 / beta})
        for run in rates("vae", 0.0)[:5]
        for beta, rate in RATES.items()
    ]
    [found] = curve_comparisons(frame([*rates("vae", 0.0), *notes]))
    assert (found.a, found.b) == ("vae", "energy_vae")
    assert found.area.mean == pytest.approx(1.0)


def sparse(variant, field, values, error, **more):
    """The squared error at L0 fractions of .2, .4 and .8."""
    part = "sizes" if field == "k" else "hyper"
    return [
        document(
            variant, seed, {"l0_fraction": used, "sse": error(used) + 0.01 * seed}, **{part: {field: value}}, **more
        )
        for value, used in zip(values, (0.2, 0.4, 0.8), strict=True)
        for seed in range(5)
    ]


def test_sparse_variants_are_compared_at_equal_sparsity():
    documents = [
        *sparse("topk_ae", "k", (2, 3, 6), lambda used: 10 - 5 * used),
        *sparse("sparse_l1_ae", "lam", (1.0, 0.1, 0.01), lambda used: 13 - 5 * used),
        *sparse("denoising_ae", "sigma", (0.1, 0.2, 0.5), lambda used: 1 - used),
        *sparse("gaussian_vae", "variance", (1.0, 0.1, 0.01), lambda used: 1 - used),
        *sparse("vae", "beta", (1.0, 0.1, 0.01), lambda used: 1 - used),
    ]
    [found] = curve_comparisons(frame(documents))
    assert (found.kind, found.a, found.b) == ("sparsity-distortion", "topk_ae, along k", "sparse_l1_ae, along lam")
    assert found.area.mean == pytest.approx(-3)
    assert found.at == pytest.approx(np.linspace(0.2, 0.8, 5))
    assert found.unit_x == "fraction of units"


def test_noise_trained_is_compared_over_the_noise_tested():
    tested = (0.1, 0.25, 0.5, 1.0)

    def gains(variant, sigma, values, **more):
        return [
            document(
                variant,
                seed,
                {f"denoising_gain_db_{s:g}": value + 0.1 * seed for s, value in zip(tested, values, strict=True)},
                hyper={"sigma": sigma},
                **more,
            )
            for seed in range(5)
        ]

    documents = [
        *gains("denoising_ae", 0.1, (1.0, 2.0, 3.0, 4.0)),
        *gains("denoising_ae", 0.5, (0.0, 2.0, 4.0, 6.0)),
        *gains("wiener", 0.25, (0.0, 1.0, 2.0, 3.0), train={"steps": 7}),
        *gains("ae", 0.0, (0.0, 1.0, 2.0, 3.0)),
    ]
    found = curve_comparisons(frame(documents))
    assert {one.kind for one in found} == {"noise"}
    assert [(one.a, one.b) for one in found] == [
        ("denoising_ae, sigma 0.1", "denoising_ae, sigma 0.5"),
        ("denoising_ae, sigma 0.1", "wiener, sigma 0.25"),
        ("denoising_ae, sigma 0.5", "wiener, sigma 0.25"),
    ]
    assert found[0].at == pytest.approx(np.log10(tested))
    assert found[0].matched.mean == pytest.approx([1.0, 0.0, -1.0, -2.0])
    assert found[1].area.mean == pytest.approx(1.0)
    assert found[0].unit_y == "dB"
    assert len(found[0].ids) == 10


def test_many_lines_are_compared_with_the_first():
    lines = [run for n in range(6) for run in rates(f"m.py:{n}", float(n))]
    found = curve_comparisons(frame(lines))
    assert [(one.a, one.b) for one in found] == [(f"m.py:{n}", "m.py:0") for n in range(1, 6)]
    assert [round(one.area.mean, 9) for one in found] == [1, 2, 3, 4, 5]
