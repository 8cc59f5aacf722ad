"""Leaderboards: what is best, what is tied, who is ranked, and why a number is missing."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from compared import document, frame, runs

from aebench import data
from aebench.comparison import boards, variants
from aebench.errors import InputError

BASE = np.array([10.0, 11.0, 9.5, 10.4, 10.9])
NOISE = np.array([0.1, -0.1, 0.05, 0.0, -0.05])


def marks(board, measure="sse"):
    return {entrant.label: board.cells[entrant.key, measure].mark for entrant in board.entrants}


def notes(board, measure="sse"):
    return {entrant.label: board.cells[entrant.key, measure].note for entrant in board.entrants}


def of(*documents):
    """The board of runs on one data set."""
    [board] = boards(frame(documents))
    return board


def measure(board, name="sse"):
    return next(m for m in board.measures if m.name == name)


def holm(p):
    """Holm (1979), step by step."""
    adjusted, running = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        running = max(running, (len(p) - rank) * p[name])
        adjusted[name] = min(running, 1.0)
    return adjusted


def test_best_tied_and_worse():
    """A shift of 1 with a spread of .1 is worse; one of .02 with a spread of .1 is not told apart."""
    board = of(
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 0.02 + NOISE),
        *runs("tied_ae", "sse", BASE + 1 + NOISE),
    )
    assert marks(board) == {"ae": "best", "deep_ae": "tied", "tied_ae": ""}
    assert set(notes(board).values()) == {""}
    assert measure(board).ranked
    assert board.notes == ()


def test_higher_is_better_where_it_is():
    board = of(*runs("ae", "psnr", BASE), *runs("deep_ae", "psnr", BASE + 1 + NOISE))
    assert marks(board, "psnr") == {"ae": "", "deep_ae": "best"}


def test_marks_are_those_of_scipy_from_raw_values():
    """Best mean; scipy's paired t test of every two; Holm over all of these by hand."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 1, 8)
    values = {f"v{n}": 20 + shared + rng.normal(0.12 * n, 0.35, 8) for n in range(12)}
    [board] = boards(frame(run for name, x in values.items() for run in runs(f"mine.py:{name}", "sse", x)))
    best = min(values, key=lambda name: values[name].mean())
    p = {frozenset(two): scipy.stats.ttest_rel(*map(values.get, two)).pvalue for two in combinations(values, 2)}
    told = {name for two, adjusted in holm(p).items() if best in two and adjusted <= 0.05 for name in two - {best}}
    expected = {name: "" if name in told else "tied" for name in values} | {best: "best"}
    assert marks(board) == {f"mine.py:{name}": mark for name, mark in expected.items()}
    assert {"tied", ""} <= set(expected.values())


@pytest.mark.parametrize(("settings", "seeds"), [(10, 5), (4, 10)])
def test_equal_settings_are_seldom_told_from_the_best(settings, seeds):
    """The best is picked by the same numbers: on at most 5 % of boards where nothing differs one looks worse."""
    rng, pages = np.random.default_rng(5), 200
    every = (
        run
        for n in range(pages)
        for shared in [rng.normal(0, 1, seeds)]
        for k in range(settings)
        for run in runs(f"m.py:{k}", "sse", 50 + shared + rng.normal(0, 1, seeds), data=f"d{n}")
    )
    wrong = sum("" in marks(board).values() for board in boards(frame(every)))
    assert wrong <= 0.05 * pages


def test_a_board_names_the_networks_that_differ():
    """The budget has no network: it is ranked, and said."""
    wide, own = runs("deep_ae", "sse", BASE - 1 + NOISE), runs("mine.py:A", "sse", BASE + 1)
    for run in (*wide, *own):
        run["spec"]["network"] = {"kind": "mlp", "hidden": [4096], "activation": "relu"}
    closed = runs("pca", "sse", BASE + 3)
    for run in closed:
        run["spec"]["network"] = {"kind": "linear"}
    others = [run for name in ("ae", "tied_ae", "topk_ae") for run in runs(name, "sse", BASE)]
    board = of(*others, *wide, *own, *closed)
    assert marks(board)["deep_ae"] == "best"
    assert board.notes == ("Networks differ: most settings have mlp 16, others mlp 4096 (deep_ae and mine.py:A).",)
    assert of(*others, *closed).notes == ()


def test_runs_of_a_closed_form_are_copies_and_no_sample():
    """What is the same at every seed has no interval; where the data are drawn by seed it has one."""
    copies = np.full(5, 12.0) * (1 + 1e-15 * np.arange(5))
    board = of(*runs("pca", {"sse": copies, "psnr": BASE}), *runs("ae", {"sse": [12.0] * 5, "psnr": BASE}))
    pca, ae = board.entrants
    cell = board.cells[pca.key, "sse"]
    assert (cell.interval.mean, cell.interval.n) == (pytest.approx(12), 5)
    assert np.isnan([cell.interval.low, cell.interval.high]).all()
    assert np.isfinite([board.cells[key].interval.low for key in ((pca.key, "psnr"), (ae.key, "sse"))]).all()


def test_cells_are_the_values_and_their_t_intervals():
    values = BASE + NOISE
    board = of(*runs("ae", "sse", values), *runs("deep_ae", "sse", BASE + 3))
    entrant = board.entrants[0]
    cell = board.cells[entrant.key, "sse"]
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert cell.values == tuple(values)
    assert (cell.interval.low, cell.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (cell.interval.n, cell.interval.method, cell.interval.level) == (5, "t", 0.95)
    assert entrant.seeds == (0, 1, 2, 3, 4)
    assert entrant.ids == tuple(run["id"] for run in runs("ae", "sse", values))
    assert entrant.spec == runs("ae", "sse", values)[0]["spec"]


def test_settings_are_told_apart_by_what_differs():
    found = frame(
        run
        for beta in (0.1, 1.0)
        for lr in (0.001, 0.01)
        for run in runs("vae", "sse", BASE, hyper={"beta": beta}, train={"lr": lr})
    )
    [board] = boards(found)
    assert [entrant.label for entrant in board.entrants] == [
        "vae, beta 0.1, lr 0.001",
        "vae, beta 0.1, lr 0.01",
        "vae, beta 1, lr 0.001",
        "vae, beta 1, lr 0.01",
    ]
    assert len({entrant.key for entrant in board.entrants}) == 4
    assert all(len(entrant.key) == 8 for entrant in board.entrants)


def test_a_run_that_stands_there_twice_counts_once():
    documents = [*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 1)]
    once = boards(frame(documents))
    assert repr(boards(frame([*documents, *documents[:5]]))) == repr(once)


# ---- too little to say anything


@pytest.mark.parametrize("seeds", [1, 3])
def test_three_seeds_carry_no_marks(seeds):
    board = of(*runs("ae", "sse", BASE[:seeds]), *runs("deep_ae", "sse", 9 + BASE[:seeds]))
    assert set(marks(board).values()) == {""}
    assert not measure(board).ranked
    words = "1 seed" if seeds == 1 else "3 seeds"
    assert board.notes == (f"Nothing is marked: {words}, and fewer than 4 seeds carry no mark and no claim.",)
    assert board.cells[board.entrants[0].key, "sse"].interval.mean == pytest.approx(BASE[:seeds].mean())


def test_a_setting_of_few_seeds_stands_unranked_beside_others():
    board = of(
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 1),
        *runs("tied_ae", "sse", BASE[:3] - 5),
    )
    assert marks(board) == {"ae": "best", "deep_ae": "", "tied_ae": ""}
    assert notes(board)["tied_ae"] == "not ranked: fewer than 4 seeds carry no mark and no claim"
    assert board.notes == ("Not ranked for want of seeds (fewer than 4 seeds carry no mark and no claim): tied_ae.",)


def test_seeds_are_paired_by_their_number():
    """Against seeds 1 to 5 of the one, seeds 0 to 4 of the other share four."""
    late = [
        document("deep_ae", n + 1, {"sse": float(x)}) for n, x in enumerate(np.append(BASE[1:], 12.0) + 0.5 + NOISE)
    ]
    board = of(*runs("ae", "sse", BASE), *late)
    assert marks(board) == {"ae": "best", "deep_ae": ""}


def at(variant, seeds, values):
    """A run at each of these seeds."""
    return [document(variant, s, {"sse": float(x)}) for s, x in zip(seeds, values, strict=True)]


def test_settings_of_few_seeds_in_common_are_not_ranked_together():
    """Two that share two of their seeds have no best; of three the odd one is left out, wherever it stands."""
    late = at("deep_ae", range(3, 8), BASE + 5)
    board = of(*runs("ae", "sse", BASE), *late)
    assert set(marks(board).values()) == {""}
    assert measure(board).note == "too few seeds in common"
    many = at("deep_ae", range(3, 20), np.arange(17))
    for documents in ([*runs("ae", "sse", BASE), *runs("tied_ae", "sse", BASE + 1), *many],
                      [*many, *runs("ae", "sse", BASE), *runs("tied_ae", "sse", BASE + 1)]):  # fmt: skip
        board = of(*documents)
        assert marks(board) == {"ae": "best", "tied_ae": "", "deep_ae": ""}
        assert notes(board) == {"ae": "", "tied_ae": "", "deep_ae": "not ranked: too few seeds in common"}


def test_the_best_is_who_is_best_on_the_seeds_that_all_have():
    """Four hard seeds, at each of which deep_ae is ahead by 2, and six easy ones that ae alone has."""
    levels = np.array([20, 20.2, 19.9, 20.1, 5, 5.1, 4.9, 5.2, 5.0, 5.1])
    board = of(*at("ae", range(10), levels), *at("deep_ae", range(4), levels[:4] - 2 + 0.01 * np.arange(4)))
    means = {entrant.label: board.cells[entrant.key, "sse"].interval.mean for entrant in board.entrants}
    assert means == pytest.approx({"ae": 11.05, "deep_ae": 18.065})
    assert marks(board) == {"ae": "", "deep_ae": "best"}
    assert board.notes == (
        "Seeds differ: the best and its marks are decided over the 4 seeds that all ranked settings share; each mean "
        "is over the setting's own, here up to 10.",
    )


def test_one_variant_alone_is_not_the_best():
    [board] = boards(frame(runs("ae", "sse", BASE)))
    assert marks(board) == {"ae": ""}
    assert measure(board).note == "fewer than two settings have it of every seed"


def test_equal_values_are_tied_whatever_their_rounding():
    exact = [*runs("pca", "sse", BASE), *runs("ppca", "sse", BASE * (1 + 1e-15)), *runs("wiener", "sse", BASE + 1e-4)]
    [board] = boards(frame(exact))
    assert marks(board) == {"pca": "best", "ppca": "tied", "wiener": ""}


def test_copies_that_differ_in_a_billionth_are_tied():
    """Every run of a closed form is the same, so that any difference at all has p = 0."""
    board = of(*runs("pca", "sse", [1.0] * 6), *runs("wiener", "sse", [1 + 1e-9] * 6), *runs("ae", "sse", [1.5] * 6))
    assert marks(board) == {"pca": "best", "wiener": "tied", "ae": ""}


# ---- who is ranked


def test_only_equal_latent_sizes_are_ranked():
    board = of(
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 1),
        *runs("overcomplete_ae", "sse", BASE - 9, latent=99),
    )
    assert marks(board) == {"ae": "best", "deep_ae": "", "overcomplete_ae": ""}
    assert notes(board)["overcomplete_ae"] == "not ranked: another latent size or budget"
    assert board.notes == (
        "Ranked are the 2 settings of latent size 8 (100 steps of 32, adam, fp32), the largest group of equal size and "
        "budget; not ranked: overcomplete_ae (latent size 99).",
    )


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"steps": 900}, "900 steps of 32, adam, fp32"),
        ({"batch": 64}, "100 steps of 64, adam, fp32"),
        ({"optimizer": {"name": "sgd"}}, "100 steps of 32, sgd, fp32"),
        ({"precision": "bf16"}, "100 steps of 32, adam, bf16"),
        ({"keep": "best_validation"}, "100 steps of 32, adam, fp32, best_validation kept"),
    ],
)
def test_only_equal_budgets_are_ranked_and_a_closed_form_has_none(train, said):
    board = of(
        *runs("pca", "sse", BASE + 2, train={"steps": 7}),
        *runs("ae", "sse", BASE),
        *runs("deep_ae", "sse", BASE + 1),
        *runs("tied_ae", "sse", BASE - 3, train=train),
    )
    assert marks(board) == {"pca": "", "ae": "best", "deep_ae": "", "tied_ae": ""}
    assert [label for label, note in notes(board).items() if note] == ["tied_ae"]
    assert board.notes[0].endswith(f"not ranked: tied_ae ({said}).")


def test_closed_forms_count_in_every_group_of_their_size():
    board = of(
        *runs("deep_ae", "sse", BASE, latent=4),
        *runs("tied_ae", "sse", BASE + 1, latent=4),
        *runs("pca", "sse", BASE),
        *runs("wiener", "sse", BASE + 1),
        *runs("ae", "sse", BASE + 2),
    )
    assert marks(board) == {"deep_ae": "", "tied_ae": "", "pca": "best", "wiener": "", "ae": ""}
    assert board.notes[0].startswith("Ranked are the 3 settings of latent size 8 ")


def test_a_learning_rate_is_no_budget():
    board = of(*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 1, train={"lr": 0.1}))
    assert board.notes == ()
    assert marks(board) == {"ae": "best", "deep_ae": ""}


def test_a_single_point_ranks_no_two_beta_variants():
    both = {"sse": BASE, "kl": BASE, "psnr": BASE, "elbo": -BASE}
    worse = {"sse": BASE + 1, "kl": BASE - 1, "psnr": BASE - 1, "elbo": -BASE - 1 + NOISE}
    board = of(
        *runs("vae", both, hyper={"beta": 0.1}, data="moons"),
        *runs("vae", worse, hyper={"beta": 1.0}, data="moons"),
        *runs("ae", {"sse": BASE + 3, "psnr": BASE}, data="moons"),
        *runs("tied_ae", {"sse": BASE + 4, "psnr": BASE}, data="moons"),
    )
    assert marks(board) == {"vae, beta 0.1": "", "vae, beta 1": "", "ae": "best", "tied_ae": ""}
    assert "rate–distortion curve" in notes(board)["vae, beta 0.1"]
    assert "rate–distortion curve" in measure(board).note
    assert not measure(board, "kl").ranked
    assert "rate–distortion curve" in measure(board, "kl").note
    assert marks(board, "elbo")["vae, beta 0.1"] == "best"
    assert notes(board, "elbo")["vae, beta 0.1"] == ""
    assert any("not ranked by sse and psnr" in note for note in board.notes)


def test_one_variant_with_a_latent_kl_may_stand_against_plain_ones():
    board = of(*runs("vae", "sse", BASE + 1), *runs("ae", "sse", BASE))
    assert marks(board) == {"vae": "", "ae": "best"}
    assert notes(board) == {"vae": "", "ae": ""}


def test_code_of_users_has_a_latent_kl_where_one_was_measured():
    point = {"sse": BASE, "kl": BASE}
    board = of(*runs("a.py:A", point), *runs("a.py:B", point), *runs("ae", "sse", BASE))
    assert set(marks(board).values()) == {""}
    assert "rate–distortion" in measure(board).note


BCE = {"reconstruction": "bce"}


def likelihoods(data):
    """A density in nats ranks two variants, a probability two others."""
    return of(
        *runs("sigma_vae", "nll", BASE, data=data),
        *runs("laplace_vae", "nll", BASE + 1, data=data),
        *runs("bernoulli_vae", "nll", BASE - 9, data=data, sizes=BCE),
        *runs("vae", "nll", BASE - 7, data=data, sizes=BCE),
    )


def test_densities_rank_continuous_data_and_probabilities_binary_data():
    board = likelihoods("moons")
    assert list(marks(board, "nll").values()) == ["best", "", "", ""]
    assert "probability of x that is not binary is none" in list(notes(board, "nll").values())[2]
    board = likelihoods("binarized_mnist")
    assert list(marks(board, "nll").values()) == ["", "", "best", ""]
    assert "density of x that takes a few levels" in next(iter(notes(board, "nll").values()))


@pytest.mark.parametrize("data", ["digits", "mnist", {"name": "a.npy", "source": "a.npy", "values": "discrete"}])
def test_likelihoods_of_discrete_data_rank_nothing(data):
    board = likelihoods(data)
    assert set(marks(board, "nll").values()) == {""}
    assert "no upper bound" in measure(board, "nll").note
    assert any("no upper bound" in note and "not ranked by nll" in note for note in board.notes)


def test_likelihoods_of_data_that_say_nothing_are_not_known():
    board = likelihoods({"name": "theirs"})
    assert set(marks(board, "nll").values()) == {""}
    assert "not known are not compared" in measure(board, "nll").note
    assert list(marks(likelihoods({"name": "theirs", "values": "continuous"}), "nll").values()) == ["best", "", "", ""]


def test_what_data_may_be_is_what_they_are():
    """Every built-in set that is at hand: binary has two values, discrete at most 256, continuous more."""
    for name in ("digits", "moons", "pinwheel", "gaussian", "mnist", "binarized_mnist", "dynamic_mnist"):
        try:
            part = data.load(data.describe(name))
        except InputError:
            continue
        levels = 2 if part.binarize else len(np.unique(part.test.x))
        kind = "binary" if levels == 2 else "discrete" if levels <= 256 else "continuous"
        assert variants.likelihood(runs("sigma_vae", "nll", [0.0], data=name)[0]["spec"]) == (
            "density" if kind == "continuous" else "none"
        )
        assert (variants.likelihood(runs("vae", "nll", [0.0], data=name, sizes=BCE)[0]["spec"]) == "probability") is (
            kind == "binary"
        )


def test_what_is_not_ranked_says_why():
    [board] = boards(
        frame(
            run
            for shift, name in enumerate(("ae", "deep_ae"))
            for run in runs(
                name, {"hoyer": BASE + shift, "encode_latency_ms": BASE + shift, "parameters": [5.0 + shift] * 5}
            )
        )
    )
    assert measure(board, "hoyer").note == "neither direction is better"
    assert "machine" in measure(board, "encode_latency_ms").note
    assert marks(board, "parameters") == {"ae": "best", "deep_ae": ""}
    cell = board.cells[board.entrants[0].key, "parameters"]
    assert cell.interval.mean == 5
    assert np.isnan(cell.interval.low)


def test_numbers_that_were_not_measured_alike_are_not_ranked():
    board = of(
        *runs("vae", "nll", BASE, options={"samples": 10}),
        *runs("sigma_vae", "nll", BASE + 1, options={"samples": 20}),
    )
    assert measure(board, "nll").note == "not measured alike in all runs"
    assert set(marks(board, "nll").values()) == {""}


# ---- what is missing


def failing(variant, values, bad, status="diverged"):
    return [document(variant, n, {"sse": float(x)}, status=status if n in bad else "ok") for n, x in enumerate(values)]


def test_failed_runs_are_counted_and_their_setting_is_not_ranked():
    board = of(
        *failing("ae", BASE - 9, (1, 3)),
        *runs("deep_ae", "sse", BASE),
        *runs("tied_ae", "sse", BASE + 1),
        *failing("linear_ae", BASE, range(5), "out_of_memory"),
    )
    assert notes(board) == {
        "ae": "2 of 5 failed: diverged",
        "deep_ae": "",
        "tied_ae": "",
        "linear_ae": "failed: out of memory",
    }
    assert marks(board) == {"ae": "", "deep_ae": "best", "tied_ae": "", "linear_ae": ""}
    ae, linear = (board.cells[board.entrants[n].key, "sse"] for n in (0, 3))
    assert np.isnan(ae.values).tolist() == [False, True, False, True, False]
    assert (ae.interval.n, ae.interval.mean) == (3, pytest.approx((BASE - 9)[[0, 2, 4]].mean()))
    assert linear.interval.n == 0
    assert np.isnan(linear.interval.mean)
    assert board.notes == (
        "Settings with runs that failed are not ranked, as a mean of the rest would flatter them: ae (2 of 5 failed: "
        "diverged) and linear_ae (failed: out of memory).",
    )


def test_a_board_where_all_failed_says_so():
    [first, second] = boards(
        frame(
            [
                *runs("ae", "sse", BASE),
                *runs("ae", "sse", BASE, data="mnist", status="failed"),
            ]
        )
    )
    assert first.data == "digits"
    assert notes(second) == {"ae": "failed"}


def test_what_is_not_offered_is_told_from_what_was_not_measured():
    values = {"sse": BASE, "nll": BASE}
    board = of(
        *runs("vae", values),
        *runs("ae", "sse", BASE),
        *runs("sigma_vae", "sse", BASE),
        *runs("bernoulli_vae", "sse", BASE, suite="other", sizes={"reconstruction": "bce"}),
        *[document("laplace_vae", n, {"sse": 1.0}, error="trained, but not measured: nll: too big") for n in range(5)],
        *runs("mine.py:A", "sse", BASE),
    )
    assert notes(board, "nll") == {
        "vae": "",
        "ae": "not offered by this variant",
        "sigma_vae": "no finite value",
        "bernoulli_vae": "not measured",
        "laplace_vae": "not measured: nll: too big",
        "mine.py:A": "not offered by this variant",
    }


def test_a_value_that_one_run_lacks_is_counted():
    documents = runs("vae", {"nll": BASE, "sse": BASE})
    documents[2]["metrics"]["nll"]["value"] = None
    [board] = boards(frame(documents))
    assert notes(board, "nll") == {"vae": "1 of 5 no finite value"}


def test_numbers_of_other_data_sets_are_no_columns_here():
    first, second = boards(frame([*runs("ae", "sse", BASE), *runs("ae", "psnr", BASE, data="gaussian")]))
    assert [m.name for m in first.measures] == ["sse"]
    assert [m.name for m in second.measures] == ["psnr"]
    assert set(second.cells) == {(second.entrants[0].key, "psnr")}


def test_comparisons_run_without_torch(tmp_path):
    code = """
        import sys
        sys.path.insert(0, "tests")
        from compared import frame, runs
        from aebench import comparison, references
        of = frame(run for d in ("a", "b") for n, v in enumerate(("pca", "ae", "vae"))
                   for run in runs(v, {"sse": [9.0 + n, 10.0, 11, 12, 13 + n], "nll": [1.0] * 5}, data=d))
        found = comparison.boards(of)
        comparison.claims(of, found), comparison.curve_comparisons(of), comparison.ranking(of, references.load())
        print({"torch", "matplotlib.pyplot"} & set(sys.modules))
    """
    lines = "\n".join(line.strip() if "for run" not in line else line for line in code.strip().splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
