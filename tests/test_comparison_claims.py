"""Sentences: what they say, from which numbers, and when they say nothing."""

import re

import numpy as np
import pytest
import scipy.stats
from compared import document, frame, runs

from aebench.comparison import boards, claims
from aebench.comparison.sentences import bracketed

BASE = np.array([10.0, 11.0, 9.5, 10.4, 10.9])
NOISE = np.array([0.1, -0.1, 0.05, 0.0, -0.05])


def said(*documents):
    found = frame(documents if isinstance(documents[0], dict) else documents[0])
    return claims(found, boards(found))


def texts(*documents):
    return [claim.text for claim in said(*documents)]


def percent(a, b):
    """By how much the geometric mean of a / b differs from 1, with the t interval of the logarithms, in per cent."""
    found = scipy.stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.95)
    return [100 * (np.exp(x) - 1) for x in (np.log(np.asarray(a) / b).mean(), found.low, found.high)]


def test_the_sentence_of_a_vae_against_a_plain_autoencoder():
    ratio = 1.041 * np.exp(0.0044 * np.array([-2, -1, 0, 1, 2]))
    documents = [
        *runs("vae", "sse", BASE * ratio, data="fashion_mnist"),
        *runs("ae", "sse", BASE, data="fashion_mnist"),
    ]
    [claim] = said(*documents)
    mean, low, high = percent(BASE * ratio, BASE)
    assert (round(mean, 1), round(low, 1), round(high, 1)) == (4.1, 3.2, 5.0)
    assert claim.text == (
        "On fashion_mnist vae reconstructs 4.1 % [3.2, 5.0] worse than ae at equal latent size (squared error, 5 "
        "seeds)."
    )
    [board] = boards(frame(documents))
    keys = {entrant.variant: entrant.key for entrant in board.entrants}
    assert (claim.data, claim.measure, claim.a, claim.b) == ("fashion_mnist", "sse", keys["vae"], keys["ae"])
    assert claim.ids == tuple(run["id"] for run in documents)
    assert claim.paired.claim == "worse"


def test_the_best_is_beside_the_next_and_pca():
    [claim] = said(
        *runs("pca", "sse", BASE * 2 + NOISE),
        *runs("deep_ae", "sse", BASE + 1 + NOISE),
        *runs("ae", "sse", BASE),
    )
    numbers = [f"{-percent(BASE, other)[0]:.2f}" for other in (BASE + 1 + NOISE, BASE * 2 + NOISE)]
    found = re.fullmatch(
        r"On digits ae reconstructs ([\d.]+) % \[([\d.]+), ([\d.]+)\] better than deep_ae, the next of 3 settings, and "
        r"([\d.]+) % \[[\d.]+, [\d.]+\] better than pca at equal latent size \(squared error, 5 seeds\)\.",
        claim.text,
    )
    assert found, claim.text
    assert float(found[1]) == pytest.approx(float(numbers[0]), abs=0.1)
    assert float(found[4]) == pytest.approx(float(numbers[1]), abs=0.1)
    low, high = sorted(-x for x in percent(BASE, BASE + 1 + NOISE)[1:])
    assert (float(found[2]), float(found[3])) == (pytest.approx(low, abs=0.1), pytest.approx(high, abs=0.1))
    assert len(claim.parts) == 2


def test_data_sets_stand_in_one_sentence_and_ties_are_said():
    [claim] = said(
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 1 + NOISE),
        *runs("ae", "sse", BASE, data="mnist"),
        *runs("deep_ae", "sse", BASE + NOISE, data="mnist"),
    )
    head, first, second = re.split(": |; ", claim.text)
    assert head == "Best reconstruction at equal latent size, beside the next (squared error, 5 seeds)"
    assert first.startswith(f"on digits ae, {-percent(BASE, BASE + 1 + NOISE)[0]:.1f} % [")
    assert first.endswith("] better than deep_ae")
    assert second == "on mnist ae, no lead claimed over deep_ae."
    assert [part.data for part in claim.parts] == ["digits"]


def test_the_best_stands_out_from_all_or_is_not_called_so():
    """The next is worse for certain, but a third of a larger mean and spread is not told from the best."""
    wild = BASE + np.array([-4.0, 6.0, -2.0, 5.0, 3.0])
    documents = [*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 1 + NOISE), *runs("tied_ae", "sse", wild)]
    assert texts(*documents)[0].startswith("Nothing is claimed")
    [text] = texts(*documents, *runs("pca", "sse", BASE + 9 + NOISE))
    assert "deep_ae" not in text
    assert text.endswith(
        "better than pca and no lead claimed over tied_ae at equal latent size (squared error, 5 seeds)."
    )


def test_pca_as_the_next_is_said_once():
    [claim] = said(*runs("ae", "sse", BASE), *runs("pca", "sse", BASE + 2 + NOISE), *runs("tied_ae", "sse", BASE + 5))
    assert len(claim.parts) == 1
    assert claim.text.count("pca") == 1


def test_only_paired_runs_stand_behind_a_sentence():
    late = [document("deep_ae", n + 1, {"sse": x}) for n, x in enumerate([*(BASE[1:] + 1 + NOISE[1:]), 12.0])]
    [claim] = said(*runs("ae", "sse", BASE), *late)
    assert claim.ids == tuple(run["id"] for run in [*runs("ae", "sse", BASE)[1:], *late[:4]])
    assert claim.paired.difference.n == 4
    assert "4 seeds" in claim.text


def test_every_number_is_that_of_the_runs_behind_it():
    rng = np.random.default_rng(0)
    shift = {"pca": 6.0, "ae": 0.0, "deep_ae": 2.0, "tied_ae": 4.0}
    documents = [
        run
        for data in ("digits", "mnist")
        for name, by in shift.items()
        for run in runs(
            name,
            {"sse": 10 + by + rng.normal(0, 0.3, 6), "denoising_gain_db_0.25": -by + rng.normal(0, 0.3, 6)},
            data=data,
        )
    ]
    held = {run["id"]: run["metrics"] for run in documents}
    found = said(*documents)
    assert [claim.measure for claim in found] == ["sse", "denoising_gain_db_0.25"]
    for claim in found:
        assert len(claim.parts) == 4
        for part in claim.parts:
            values = [held[run][claim.measure]["value"] for run in part.ids]
            a, b = np.array(values[:6]), np.array(values[6:])
            assert part.paired.difference.mean == pytest.approx((a - b).mean())
            assert part.paired.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
            number = -percent(a, b)[0] if claim.measure == "sse" else (a - b).mean()
            shown = [float(x) for x in re.findall(r"(-?[\d.]+) (?:% )?\[", claim.text)]
            assert any(x == pytest.approx(number, abs=0.06) for x in shown), (number, claim.text)


def test_likelihood_is_in_nats_and_beta_variants_are_not_ranked_by_error():
    nll = np.array([-50.0, -52, -49, -51, -50.5])
    [claim] = said(
        *runs("sigma_vae", {"sse": BASE, "nll": nll}, data="moons"),
        *runs("vae", {"sse": BASE + 5, "nll": nll + 12 + NOISE}, data="moons"),
        *runs("laplace_vae", {"sse": BASE + 9, "nll": nll + 30 + NOISE}, data="moons"),
    )
    difference = -(12 + NOISE)
    half = scipy.stats.t.ppf(0.975, 4) * difference.std(ddof=1) / np.sqrt(5)
    assert claim.measure == "nll"
    mean, low, high = -difference.mean(), -difference.mean() - half, -difference.mean() + half
    assert claim.text == (
        f"On moons sigma_vae models the data {mean:.2f} [{low:.2f}, {high:.2f}] nats per example better than vae, the "
        "next of 3 settings at equal latent size (−ln p(x), 5 seeds)."
    )


def test_a_sentence_about_the_error_of_a_sparse_setting_says_its_sparsity():
    [claim] = said(
        *runs("topk_ae", {"sse": BASE, "l0_fraction": [0.5] * 5}),
        *runs("ae", {"sse": BASE + 1 + NOISE, "l0_fraction": [0.99] * 5}),
        *runs("deep_ae", {"sse": BASE + 2, "l0_fraction": [1.0] * 5}),
    )
    assert claim.text.startswith("On digits topk_ae (50 % of its units in use) reconstructs ")
    assert " better than ae, the next" in claim.text


def test_the_gain_is_that_at_the_noise_trained_with():
    values = {f"denoising_gain_db_{sigma:g}": BASE for sigma in (0.1, 0.25, 0.5, 1.0)}
    better = {name: of + 2 + NOISE for name, of in values.items()}
    for sigma, measure in ((0.5, "denoising_gain_db_0.5"), (0.3, "denoising_gain_db_0.25")):
        others = [run for name in ("wiener", "m.py:A") for run in runs(name, values, hyper={"sigma": sigma})]
        lone = runs("deep_ae", values, hyper={"sigma": 0.1}) if sigma == 0.5 else []
        [claim] = said(*runs("ae", values), *runs("denoising_ae", better, hyper={"sigma": sigma}), *others, *lone)
        assert claim.measure == measure
        assert claim.text.startswith("On digits denoising_ae denoises 2.00 [")
        assert f"gain at σ = {measure.rpartition('_')[2]}" in claim.text


def test_an_error_of_zero_has_no_ratio():
    [claim] = said(*runs("pca", "sse", [0.0] * 5), *runs("ae", "sse", BASE))
    assert " % " not in claim.text
    assert f"{BASE.mean():.1f} [" in claim.text


def test_units_and_names_are_those_of_the_measure():
    [claim] = said(
        *runs("vae", "elbo", BASE, hyper={"beta": 0.5}, data="moons"),
        *runs("vae", "elbo", BASE - 1 + NOISE, hyper={"beta": 2.0}, data="moons"),
        *runs("sigma_vae", "elbo", BASE - 5, data="moons"),
    )
    assert claim.text.startswith(
        "On moons vae, beta 0.5 models the data 1.00 [0.90, 1.10] nats per example better than"
    )
    assert "vae, beta 2" in claim.text
    assert "(ELBO, 5 seeds)" in claim.text


def test_at_most_three_sentences_the_error_first():
    every = {"sse": BASE, "nll": BASE, "denoising_gain_db_0.25": -BASE, "kl": np.full(5, 5.0), "C": BASE}

    def worse(by, kl):
        return {
            "sse": BASE + by,
            "nll": BASE + by,
            "denoising_gain_db_0.25": -BASE - by,
            "kl": kl + NOISE,
            "C": BASE + by,
        }

    found = said(
        *runs("ae", {"sse": BASE - 5, "denoising_gain_db_0.25": -BASE + 5}, data="moons"),
        *runs("deep_ae", {"sse": BASE - 4 + NOISE, "denoising_gain_db_0.25": -BASE + 4 + NOISE}, data="moons"),
        *runs("vae", every, hyper={"beta": 1.0}, data="moons"),
        *runs("vae", worse(3, 2.0), hyper={"beta": 4.0}, data="moons"),
        *runs("linear_vae", worse(2, 5.0), hyper={"beta": 1.0}, data="moons"),
        *runs("linear_vae", worse(6, 2.0), hyper={"beta": 4.0}, data="moons"),
    )
    assert [claim.measure for claim in found] == ["sse", "nll", "denoising_gain_db_0.25"]
    assert "of 2 settings" not in found[0].text
    assert found[0].text.startswith("On moons ae reconstructs")


def test_a_lead_on_the_fifth_data_set_alone_is_said():
    documents = [
        run
        for n in range(5)
        for name, by in (("ae", 0.0), ("deep_ae", 3.0 * (n == 4)))
        for run in runs(name, "sse", BASE + by + (name != "ae") * NOISE, data=f"d{n}")
    ]
    [claim] = said(*documents)
    assert ": on d4 ae, 22." in claim.text
    assert claim.text.endswith("on d2 ae, no lead claimed over deep_ae; 1 more data set stands in the tables.")
    assert [part.data for part in claim.parts] == ["d4"]


def test_every_clause_says_what_it_measures():
    """The likelihood on one data set, its bound on the other; a gain at each data set's own σ."""
    nll = np.array([-50.0, -52, -49, -51, -50.5])
    [claim] = said(
        *runs("sigma_vae", {"nll": nll, "elbo": -nll}, data="moons"),
        *runs("vae", {"nll": nll + 12 + NOISE, "elbo": -nll - 12}, data="moons"),
        *runs("sigma_vae", {"elbo": -nll}, data="pinwheel"),
        *runs("vae", {"elbo": -nll - 12 + NOISE}, data="pinwheel"),
    )
    assert [(part.data, part.measure) for part in claim.parts] == [("moons", "nll"), ("pinwheel", "elbo")]
    first, second = claim.text.partition(": ")[2].split("; ")
    assert (first.rpartition(" vae ")[2], second.rpartition(" vae ")[2]) == ("(−ln p(x))", "(ELBO).")
    assert "ln p(x)" not in claim.text.partition(": ")[0]
    tested = {f"denoising_gain_db_{sigma:g}": BASE for sigma in (0.1, 0.25, 0.5)}
    [claim] = said(
        run
        for data, sigma in (("digits", 0.1), ("mnist", 0.5))
        for own, more in ((("ae", 0), {}), (("denoising_ae", 2 + NOISE), {"hyper": {"sigma": sigma}}))
        for run in runs(own[0], {name: of + own[1] for name, of in tested.items()}, data=data, **more)
    )
    assert "on digits denoising_ae, 2.00 [1.90, 2.10] dB better than ae (gain at σ = 0.1); on mnist" in claim.text
    assert claim.text.endswith("better than ae (gain at σ = 0.5).")


def test_copies_of_a_closed_form_claim_no_rounding_and_have_no_interval():
    [text] = texts(*runs("pca", "sse", [1.0] * 6), *runs("wiener", "sse", [1 + 1e-9] * 6))
    assert text.startswith("Nothing is claimed")
    [text] = texts(*runs("pca", "sse", [1.0] * 6), *runs("wiener", "sse", [1.25] * 6))
    assert text == "On digits pca reconstructs 20 % better than wiener at equal latent size (squared error, 6 seeds)."


def test_a_network_of_its_own_is_in_the_sentence():
    wide = runs("mine.py:A", "sse", BASE - 1 + NOISE)
    for run in wide:
        run["spec"]["network"] = {"kind": "mlp", "hidden": [4096], "activation": "relu"}
    [text] = texts(*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 2), *wide)
    assert text.startswith("On digits mine.py:A (mlp 4096) reconstructs ")
    assert " better than ae, the next of 3" in text


def test_a_sentence_claims_no_lead_over_who_is_marked_as_tied():
    """All others are far off, and 66 pairs of them alike: these count for the mark, and the sentence follows it."""
    lead, rng = 0.25 + 0.16 * np.array([1.2, -1.0, 0.4, -0.9, 0.3]), np.random.default_rng(2)
    pair = [*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + lead)]
    others = [run for n in range(12) for run in runs(f"m.py:{n}", "sse", BASE + 9 + rng.normal(0, 0.02, 5))]
    assert 0.05 / 66 < scipy.stats.ttest_rel(BASE, BASE + lead).pvalue < 0.05
    assert texts(*pair)[0].startswith("On digits ae reconstructs")
    [board] = boards(frame([*pair, *others]))
    assert [cell.mark for cell in board.cells.values()][:2] == ["best", "tied"]
    assert not any("better than deep_ae" in text for text in texts(*pair, *others))


def test_a_page_says_how_many_comparisons_it_looked_at():
    """Of four settings: the best with three, pca with the two others; and every two of three lines."""
    ranked = [run for n, v in enumerate(("ae", "deep_ae", "tied_ae", "pca")) for run in runs(v, "sse", BASE + n)]
    lines = [run for n, name in enumerate(("vae", "linear_vae", "m.py:B")) for run in swept(name, 2.0 * n)]
    assert {claim.compared for claim in said(*ranked, *lines)} == {5 + 3}


# ---- curves


def swept(variant, offset, data="digits", seeds=5):
    """⟨C⟩ = 20 − KL + offset, and a little of its own for each seed, at three rates."""
    return [
        document(
            variant,
            seed,
            {"kl": rate, "C": 20 - rate + offset + 0.01 * seed + (0.02 * seed if variant == "vae" else 0)},
            hyper={"beta": beta},
            data=data,
        )
        for beta, rate in ((0.1, 10.0), (1.0, 6.0), (3.0, 2.0))
        for seed in range(seeds)
    ]


def test_beta_variants_are_compared_at_equal_rate():
    [claim] = said(*swept("vae", 0.0), *swept("linear_vae", 2.0))
    # at a rate of 6: 14.00 to 14.12 against 16.00 to 16.04
    a, b = 14 + 0.03 * np.arange(5), 16 + 0.01 * np.arange(5)
    mean, low, high = (-x for x in percent(a, b))
    assert claim.text == (
        f"At equal latent KL on digits vae reconstructs {mean:.2f} % [{high:.2f}, {low:.2f}] better than linear_vae at "
        "6 nats (⟨C⟩, 5 seeds)."
    )
    assert (claim.a, claim.b, claim.measure) == ("vae", "linear_vae", "C")
    assert len(claim.ids) == 30


def test_the_better_line_is_spoken_of_whichever_comes_first():
    [claim] = said(*swept("linear_vae", 2.0), *swept("vae", 0.0))
    assert (claim.a, claim.b) == ("vae", "linear_vae")
    assert claim.paired.claim == "better"
    assert claim.paired.difference.mean == pytest.approx(-2 + 0.02 * 2)


def test_lines_that_cross_claim_nothing():
    crossing = [
        document("linear_vae", seed, {"kl": rate, "C": value + 0.01 * seed}, hyper={"beta": beta})
        for beta, rate, value in ((0.1, 10.0, 12.0), (1.0, 6.0, 14.5), (3.0, 2.0, 15.0))
        for seed in range(5)
    ]
    [text] = texts(*swept("vae", 0.0), *crossing)
    assert text.startswith("Nothing is claimed")


def test_the_line_that_is_spoken_of_loses_to_no_other():
    """Of six lines the first beats four, and one beats them all."""
    offsets = {"vae": 1.0, "linear_vae": 0.2, "m.py:C": 2.0, "m.py:D": 3.0, "m.py:E": 4.0, "m.py:F": 5.0}
    [claim] = said(run for name, by in offsets.items() for run in swept(name, by))
    assert (claim.a, claim.b) == ("linear_vae", "vae")


def test_an_interval_that_holds_equality_is_not_printed():
    """The difference is significant, the ratio is not: p of .04 and .07."""
    base = np.array([11.3, 8.8, 19.0, 11.1, 5.9])
    less = base - np.array([0.4, 0.2, 0.3, 0.7, 0.8])
    assert scipy.stats.ttest_rel(less, base).pvalue < 0.05 < scipy.stats.ttest_rel(np.log(less), np.log(base)).pvalue
    flat = [
        document(name, seed, {"kl": rate, "C": float(value)}, hyper={"beta": beta})
        for name, of in (("vae", less), ("linear_vae", base))
        for beta, rate in ((0.1, 10.0), (1.0, 6.0), (3.0, 2.0))
        for seed, value in enumerate(of)
    ]
    assert texts(*flat)[0].startswith("Nothing is claimed")


# ---- nothing to say


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_claim_nothing(seeds):
    [claim] = said(*runs("ae", "sse", BASE[:seeds]), *runs("deep_ae", "sse", BASE[:seeds] + 5))
    words = "1 seed" if seeds == 1 else f"{seeds} seeds"
    assert claim.text == f"Nothing is claimed: {words}, and fewer than 4 seeds carry no mark and no claim."
    assert (claim.parts, claim.ids, claim.data, claim.a, claim.b, claim.paired) == ((), (), "", "", "", None)


def test_one_variant_claims_nothing():
    [text] = texts(*runs("ae", "sse", BASE))
    assert text == "Nothing is claimed: fewer than two settings have it of every seed."


def test_beta_variants_alone_claim_nothing_by_their_error():
    [text] = texts(*runs("vae", "sse", BASE, hyper={"beta": 1.0}), *runs("vae", "sse", BASE + 5, hyper={"beta": 4.0}))
    assert "rate–distortion curve" in text


def test_what_is_not_significant_is_not_claimed():
    [text] = texts(*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 0.02 + NOISE))
    assert text == (
        "Nothing is claimed: on digits no lead is significant at 5 %, paired by seed, with Holm's adjustment over "
        "every comparison that was looked at (1)."
    )


def test_failed_runs_and_other_budgets_are_in_no_sentence():
    bad = runs("tied_ae", "sse", BASE - 5, status="diverged")[:1] + runs("tied_ae", "sse", BASE - 5)[1:]
    [text] = texts(
        *bad,
        *runs("overcomplete_ae", "sse", BASE - 6, latent=99),
        *runs("linear_ae", "sse", BASE - 7, train={"steps": 9999}),
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 1 + NOISE),
        *runs("contractive_ae", "sse", BASE + 3),
    )
    assert text.startswith("On digits ae reconstructs")
    assert "deep_ae, the next of 3 settings" in text


def test_claims_are_adjusted_for_all_that_was_looked_at():
    """p of .03 is a claim alone, and none among twenty others on another data set that are undecided."""
    lead = 0.25 * np.array([1.0, 0.2, 1.4, 0.9, 0.3])
    pair = [*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + lead)]
    p = scipy.stats.ttest_rel(BASE, BASE + lead).pvalue
    assert 0.05 / 3 < p < 0.05
    assert texts(*pair)[0].startswith("On digits ae reconstructs")
    others = [run for n in range(4) for run in runs(f"m.py:{n}", "sse", BASE + NOISE * (-1) ** n, data="mnist")]
    assert texts(*pair, *others)[0].startswith("Nothing is claimed")


def test_pages_where_nothing_differs_seldom_claim_anything():
    """Six settings of the same mean, one of them pca, five seeds: at most 5 % of such pages have a sentence."""
    rng = np.random.default_rng(11)
    claimed = 0
    for _ in range(150):
        shared = rng.normal(0, 1, 5)
        names = ("pca", "ae", "deep_ae", "tied_ae", "linear_ae", "wiener")
        page = [run for name in names for run in runs(name, "sse", 50 + shared + rng.normal(0, 1, 5))]
        claimed += bool(said(*page)[0].parts)
    assert claimed <= 0.05 * 150


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((4.1, 3.2, 5.0), "4.1 [3.2, 5.0]"),
        ((12.34, 11.0, 13.68), "12.3 [11.0, 13.7]"),
        ((1234.0, 1100.0, 1368.0), "1230 [1100, 1370]"),
        ((0.0123, 0.0111, 0.0135), "0.0123 [0.0111, 0.0135]"),
        ((1.0, 0.0004, 2.0), "1.0000 [0.0004, 2.0000]"),
        ((5.0, 5.0, 5.0), "5"),
        ((-0.8, -1.9, 0.3), "0.8 [-0.3, 1.9]"),
        ((21.13, 18.84, 23.0), "21.1 [18.8, 23.0]"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_leaves(numbers, text):
    assert " ".join(filter(None, bracketed(*numbers))) == text
