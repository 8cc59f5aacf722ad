"""Over several data sets: scores against references, ranks, and tests or the sentence why not."""

import numpy as np
import pytest
import scipy.stats
from compared import document, frame, runs

from aebench import references
from aebench.comparison import ranking
from aebench.stats import Refusal

DATA = ("digits", "mnist", "fashion_mnist")
SHIFT = {"pca": 10.0, "ae": 6.0, "deep_ae": 5.0, "tied_ae": 9.0}
NONE = references.References(())


def study(data=DATA, shift=None, seeds=5, **more):
    """Errors a unit of noise around these means, times 1, 2, 3, ... by data set."""
    rng = np.random.default_rng(5)
    return [
        run
        for n, name in enumerate(data)
        for variant, by in (shift or SHIFT).items()
        for run in runs(variant, "sse", (n + 1) * (by + rng.normal(0, 0.4, seeds)), data=name, **more)
    ]


def values_of(documents, variant, data):
    return [
        d["metrics"]["sse"]["value"]
        for d in documents
        if (d["spec"]["variant"], d["spec"]["data"]["name"]) == (variant, data)
    ]


def test_scores_are_zero_at_pca_and_one_at_the_strong_run():
    documents = study()
    found = ranking(frame(documents), references.read(references.frozen(documents)))
    assert (found.labels, found.data, found.referenced) == (tuple(SHIFT), DATA, DATA)
    assert found.scores.shape == (4, 3, 5)
    assert found.scores.mean(axis=2)[0] == pytest.approx([0, 0, 0], abs=1e-12)
    assert found.scores.mean(axis=2)[2] == pytest.approx([1, 1, 1])
    zero, one, own = (np.array(values_of(documents, name, "mnist")) for name in ("pca", "deep_ae", "ae"))
    expected = (own - zero.mean()) / (one.mean() - zero.mean())
    assert found.scores[1, 1] == pytest.approx(expected)


def test_interquartile_means_profiles_and_ranks_are_of_these_scores():
    documents = study()
    found = ranking(frame(documents), references.read(references.frozen(documents)))
    for row, mean in zip(found.scores, found.iqm.mean, strict=True):
        ordered = np.sort(row.ravel())
        assert mean == pytest.approx(ordered[3:-3].mean())  # a quarter of 15 runs, rounded down, at each end
    for n, threshold in enumerate(found.thresholds):
        assert found.profiles.mean[:, n] == pytest.approx((found.scores >= threshold).mean(axis=(1, 2)))
    ranks = scipy.stats.rankdata(found.values, axis=0).mean(axis=(1, 2))
    assert found.ranks.mean == pytest.approx(ranks)
    assert found.thresholds.size == 101
    assert sorted(found.ids) == sorted(run["id"] for run in documents)
    assert [len(keys) for keys in found.keys] == [3, 3, 3, 3]


def test_values_stand_by_their_seeds():
    late = [document("ae", n + 3, {"sse": 6.0 + n}, data="mnist") for n in range(5)]
    late += [document("pca", n + 3, {"sse": 9.0 + n}, data="mnist") for n in range(5)]
    found = ranking(frame([*study(DATA[:1]), *late]), NONE)
    assert found.seeds == tuple(range(8))
    assert found.labels == ("pca", "ae")
    np.testing.assert_array_equal(found.values[:, 1, 3:], [[9, 10, 11, 12, 13], [6, 7, 8, 9, 10]])
    assert np.isnan(found.values[:, 1, :3]).all()
    assert np.isnan(found.values[:, 0, 5:]).all()


def test_few_data_sets_have_no_test_and_a_sentence_why():
    found = ranking(frame(study()), NONE)
    assert isinstance(found.wilcoxon, Refusal)
    assert isinstance(found.friedman, Refusal)
    assert "3 data sets" in found.wilcoxon.why


def test_many_data_sets_are_tested_against_the_control():
    documents = study([f"set{n}" for n in range(10)])
    found = ranking(frame(documents), NONE)
    means = found.values.mean(axis=2)
    assert found.control == "pca"
    assert [test.p for test in found.wilcoxon] == pytest.approx(
        [scipy.stats.wilcoxon(means[n], means[0]).pvalue for n in (1, 2, 3)]
    )
    assert [test.claim for test in found.wilcoxon] == ["better"] * 3
    assert found.friedman.p == pytest.approx(scipy.stats.friedmanchisquare(*means).pvalue)
    assert found.friedman.ranks[2] == 1
    other = ranking(frame(documents), NONE, control="ae")
    assert other.control == "ae"
    assert [test.claim for test in other.wilcoxon] == ["worse", "better", "worse"]


def test_without_the_control_the_first_is_it():
    found = ranking(frame(study(shift={"ae": 6.0, "deep_ae": 5.0})), NONE)
    assert found.control == "ae"


def test_a_data_set_without_reference_is_left_out_and_named():
    documents = study()
    known = references.frozen([run for run in documents if run["spec"]["data"]["name"] != "mnist"])
    found = ranking(frame(documents), references.read(known))
    assert found.referenced == ("digits", "fashion_mnist")
    assert found.scores.shape == (4, 2, 5)
    assert found.scores.mean(axis=2)[0] == pytest.approx([0, 0], abs=1e-12)
    assert found.scores.mean(axis=2)[2] == pytest.approx([1, 1])
    assert found.data == DATA
    assert found.notes == ("Without scores, as no reference is frozen for this latent size: mnist.",)


def test_without_any_reference_there_are_ranks_alone():
    found = ranking(frame(study()), NONE)
    assert (found.referenced, found.iqm, found.profiles, found.thresholds.size) == ((), None, None, 0)
    assert found.ranks.mean[2] == pytest.approx(1.1, abs=0.15)


def test_who_is_not_ranked_on_every_data_set_is_left_out_and_named():
    documents = [
        *study(),
        *runs("vae", "sse", [1.0, 2, 1, 2, 1], data="mnist", hyper={"beta": 0.1}),
        *runs("vae", "sse", [1.0, 2, 1, 2, 1], data="mnist", hyper={"beta": 1.0}),
        *runs("contractive_ae", "sse", [1.0, 2, 1, 2, 1], data="digits"),
        *runs("overcomplete_ae", "sse", [1.0, 2, 1, 2, 1], data="digits", latent=99),
    ]
    failed = [*runs("topk_ae", "sse", [1.0] * 5), *runs("topk_ae", "sse", [1.0] * 5, data="mnist", status="failed")]
    failed[9] |= {"status": "ok"}
    sparse = [
        run
        for name in DATA
        for n in range(6)
        for run in runs("sparse_l1_ae", "sse", [1.0] * 3, data=name, hyper={"lam": float(n)})
    ]
    found = ranking(frame([*documents, *failed, *sparse]), NONE)
    assert found.labels == tuple(SHIFT)
    assert found.notes[:-1] == (
        "Left out: overcomplete_ae; another latent size or budget.",
        "Left out: sparse_l1_ae, lam 0, sparse_l1_ae, lam 1, sparse_l1_ae, lam 2 and 3 more (6 settings); fewer than 4 "
        "seeds carry no mark and no claim.",
        "Left out: vae, beta 0.1 and vae, beta 1; settings with a latent KL trade error for KL: the rate–distortion "
        "curve compares them, at equal KL.",
        "Left out: topk_ae; a run failed, or has no value.",
        "Left out: contractive_ae; they are not ranked on every data set.",
    )


def test_the_strong_settings_are_named_and_pca_is_exactly_zero():
    """Its runs are copies, so that its score has no interval; rounding is no score."""
    documents = [
        run
        for n, name in enumerate(DATA)
        for variant, values in (("pca", [10.1] * 5), ("ae", [6.0, 6.1, 6.2, 6.3, 6.4]), ("deep_ae", [7.0] * 5))
        for run in runs(variant, "sse", np.add(values, 0.1 * n * (variant == "pca")), data=name)
    ]
    found = ranking(frame(documents), references.read(references.frozen(documents)))
    assert found.strong == ("ae", "ae", "ae")
    assert found.iqm.mean[0] == 0.0
    assert np.isnan([found.iqm.low[0], found.iqm.high[0]]).all()
    assert np.isfinite([found.iqm.low[1], found.iqm.high[1]]).all()


def test_tests_over_data_sets_are_of_the_seeds_that_all_share():
    """One setting has the three hard seeds alone, at each of which it is ahead, on every data set."""
    hard = np.array([20.0, 20.3, 19.8, 20.1, 5.0, 5.2, 4.9])
    documents = [
        run
        for n in range(10)
        for name, values in (("pca", hard + 0.5 + n), ("ae", hard + n), ("deep_ae", hard[:4] - 1 + n))
        for run in runs(name, "sse", values, data=f"set{n}")
    ]
    found = ranking(frame(documents), NONE)
    assert [test.claim for test in found.wilcoxon] == ["better", "better"]
    assert found.friedman.ranks.tolist() == [3, 2, 1]


def test_a_data_set_that_shares_nothing_is_left_out_and_named():
    documents = [*study(), *runs("linear_ae", "sse", [1.0, 2, 1, 2, 1], data="gaussian")]
    found = ranking(frame(documents), NONE)
    assert found.data == DATA
    assert found.notes[0] == "Not compared by rank, as too few settings are ranked on them: gaussian."


@pytest.mark.parametrize(
    "documents",
    [
        study(data=DATA[:1]),
        study(shift={"ae": 6.0}),
        study(seeds=3),
        runs("ae", "psnr", [1.0, 2, 3, 4, 5]),
    ],
    ids=["one data set", "one setting", "three seeds", "another measure"],
)
def test_where_there_is_nothing_to_rank(documents):
    assert ranking(frame(documents), NONE) is None


def test_a_failed_run_takes_its_setting_out():
    documents = study()
    documents[7] |= {"status": "diverged"}
    found = ranking(frame(documents), NONE)
    assert found.labels == ("pca", "deep_ae", "tied_ae")
