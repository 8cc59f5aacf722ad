"""The figures of the notes' suites, on results that nobody trained."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
from typing import Any

import drawn
import numpy as np
import pytest
from scipy import stats as reference

from aebench.closed_forms import linear_copy
from aebench.plots import FIGURES, NEEDS, file_name, with_documents
from aebench.plots.losses import ties, worse
from aebench.store.frame import from_documents

OWN = ("notes", "losses", "denoising", "sparsity", "overcomplete", "kl_direction", "latent_picture")
TESTED = (0.1, 0.25, 1.0)
MEASURED = {
    "notes": ["sse", "denoising_gain_db_0.25"],
    "losses": ["sse", "mse", "mae", "bce", "gaussian_nll", "ssim"],
    "denoising": [f"{name}_db_{sigma:g}" for name in ("denoising_gain", "denoising_gap") for sigma in TESTED],
    "sparsity": ["sse", "l0_fraction", "hoyer"],
    "overcomplete": ["sse", "mse", "identity_on_data", "identity_off_data"],
    "kl_direction": ["sse", "mean_activation", "near_zero", "near_one"],
    "latent_picture": ["sse"],
}
SEEDS = 3


def document(
    variant: str, seed: int, values: list[str], data=drawn.DIGITS, sizes=None, **hyper: float
) -> dict[str, Any]:
    """A run with these values measured, each a number of its own in (0.1, 2)."""
    made = copy.deepcopy(drawn.document(data, None, seed, variant=variant))
    made["spec"]["hyper"] = hyper
    made["spec"]["sizes"] |= sizes or {}
    made["id"] = hashlib.sha256(json.dumps(made["spec"], sort_keys=True).encode()).hexdigest()[:16]
    rng = np.random.default_rng(int(made["id"], 16))
    about = {"unit": "", "better": "neither", "version": 1}
    made["metrics"] = {name: {"value": float(rng.uniform(0.1, 2)), **about} for name in values}
    return made


def runs(figure: str, seeds: int = SEEDS) -> list[dict[str, Any]]:
    """What the suite of a figure would give."""
    sparse = [{"direction": d, "average": a} for d in ("forward", "reverse") for a in ("batch", "example")]
    losses = ["mse", "bce", {"name": "huber", "delta": 0.1}]
    settings: dict[str, list[dict[str, Any]]] = {
        "notes": [{"variant": v} for v in ("pca", "ae", "deep_ae", "denoising_ae", "topk_ae", "vae", "a_users_own")],
        "losses": [{"variant": "ae", "sizes": {"reconstruction": loss}} for loss in losses],
        "denoising": [
            *({"variant": v, "sigma": s} for v in ("denoising_ae", "wiener") for s in (1.0, 0.1, 0.25)),
            {"variant": "masking_denoising_ae", "p": 0.25},
        ],
        "sparsity": [
            *({"variant": "sparse_kl_ae", "lam": 1.0, "p": p} for p in (0.4, 0.1, 0.05)),
            {"variant": "sparse_kl_ae", "lam": 10.0, "p": 0.05},
            *({"variant": "topk_ae", "sizes": {"k": k}} for k in (2, 3)),
            {"variant": "ae"},
        ],
        "overcomplete": [
            {"variant": v, "data": drawn.GAUSSIAN, "sizes": {"latent": n}, **h}
            for v, h in (("ae", {}), ("denoising_ae", {"sigma": 0.5}), ("sparse_l1_ae", {"lam": 0.3}))
            for n in (4, 2, 3)
        ],
        "kl_direction": [
            {"variant": "sparse_kl_ae", "sizes": s, "lam": 0.3, "p": p} for s in sparse for p in (0.2, 0.1)
        ],
        "latent_picture": [{"variant": v, "sizes": {"latent": 2}} for v in ("ae", "denoising_ae")]
        + [{"variant": "vae", "sizes": {"latent": 2}, "beta": 0.5}],
    }
    return [document(**s, seed=seed, values=MEASURED[figure]) for s in settings[figure] for seed in range(seeds)]


def drawings(name: str, documents: list[dict[str, Any]], held=None):
    frame = with_documents(from_documents(documents), {d["id"]: d for d in documents})
    held = {d["id"]: drawn.arrays(d) for d in documents} if held is None else held
    module, _, attribute = FIGURES[name][0].partition(":")
    return list(getattr(importlib.import_module(module), attribute)(frame, held.__getitem__))


def values(documents, name: str, variant: str, **fields: Any) -> np.ndarray:
    """The values of the runs of a setting, by seed."""
    found = []
    for d in documents:
        own = d["spec"]["hyper"] | d["spec"]["sizes"]
        if d["spec"]["variant"] == variant and all(own.get(key) == value for key, value in fields.items()):
            found.append(d["metrics"][name]["value"])
    assert len(found) == SEEDS
    return np.array(found)


def lines(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label -> (points `[n, 2]`, the ends of their last error bars `[n, 2]`)."""
    found = {}
    for bars in ax.containers:
        line, _, collections = bars.lines
        points = np.stack([line.get_xdata(orig=False), line.get_ydata(orig=False)], 1).astype(float)
        found[bars.get_label()] = points, np.array(list(collections[-1].get_segments()))
    return found


def half(x: np.ndarray) -> float:
    return reference.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))


# ---- all of them


@pytest.mark.parametrize("name", OWN)
def test_it_draws_and_says_what_it_shows(name):
    (drawing,) = drawings(name, runs(name))
    assert drawing.name == file_name(drawing.name)
    assert drawing.name.startswith(f"{name}-")
    assert drawing.caption.endswith(".")
    assert drawing.alt.endswith(".")
    assert "mean of 3 seeds with 95 % t intervals" in drawing.caption
    assert drawing.data == ("gaussian" if name == "overcomplete" else "digits")
    assert drawing.figure.get_suptitle()
    for ax in drawing.figure.axes:
        assert ax.get_xlabel() or ax.get_ylabel() or ax.get_title() or name in ("notes", "kl_direction")
    assert name in NEEDS


@pytest.mark.parametrize("name", OWN)
def test_text_stays_inside_and_legends_lie_below_the_axes(name):
    (drawing,) = drawings(name, runs(name))
    figure = drawing.figure
    figure.draw_without_rendering()
    box, whole = figure.get_tightbbox(), figure.bbox_inches
    assert min(box.x0, box.y0) >= -0.02
    assert box.x1 <= whole.x1 + 0.02
    assert box.y1 <= whole.y1 + 0.02
    for legend in figure.legends:
        top = legend.get_window_extent().y1
        assert all(ax.get_tightbbox().y0 >= top - 1 for ax in figure.axes if ax.axison)


@pytest.mark.parametrize("name", OWN)
def test_one_seed_draws_without_intervals(name):
    (drawing,) = drawings(name, runs(name, seeds=1))
    assert "one seed" in drawing.caption


@pytest.mark.parametrize("name", OWN)
def test_nothing_is_drawn_without_rows_columns_or_codes(name):
    documents = runs(name)
    bare = [d | {"metrics": {}} for d in documents]
    assert drawings(name, bare, {d["id"]: {} for d in bare}) == []
    frame = with_documents(from_documents(documents), {d["id"]: d for d in documents}).iloc[:0]
    module, _, attribute = FIGURES[name][0].partition(":")
    assert list(getattr(importlib.import_module(module), attribute)(frame, {}.__getitem__)) == []


@pytest.mark.parametrize("name", ["losses", "denoising", "sparsity", "kl_direction"])
def test_runs_of_other_suites_give_no_figure(name):
    every = sorted({column for columns in MEASURED.values() for column in columns})
    others = [document("ae", seed, every) for seed in range(2)] + [document("vae", 0, every, beta=0.5)]
    assert drawings(name, others) == []


# ---- each of them


def test_notes_draws_means_and_intervals_by_family_with_pca_dashed():
    documents = runs("notes")
    (drawing,) = drawings("notes", documents)
    error, gain = drawing.figure.axes
    labels = [text.get_text() for text in error.get_yticklabels()]
    assert sorted(labels) == sorted(["pca", "ae", "deep_ae", "denoising_ae", "topk_ae", "vae", "a_users_own"])
    for ax, name in ((error, "sse"), (gain, "denoising_gain_db_0.25")):
        places = dict(zip(error.get_yticks(), labels, strict=True))
        shown = 0
        for points, ends in lines(ax).values():
            for (x, y), segment in zip(points, ends, strict=True):
                own = values(documents, name, places[y])
                assert x == pytest.approx(own.mean())
                assert segment[:, 0] == pytest.approx([own.mean() - half(own), own.mean() + half(own)])
                shown += 1
        assert shown == len(labels)
        (pca,) = [line for line in ax.get_lines() if str(line.get_label()).startswith("PCA")]
        assert pca.get_xdata()[0] == pytest.approx(values(documents, name, "pca").mean())
    legend = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    names = ["closed form", "plain", "denoising", "sparse, contractive", "variational", "others"]
    assert sorted(legend) == sorted([*names, "PCA, the best linear map"])
    first, second = lines(error)["plain"][0]
    assert first[0] < second[0]
    assert first[1] < second[1]


def test_notes_says_the_latent_size_where_it_differs():
    documents = [document(v, 0, ["sse"], sizes={"latent": n}) for v, n in (("ae", 3), ("vae", 3), ("topk_ae", 9))]
    (drawing,) = drawings("notes", documents)
    assert [t.get_text() for t in drawing.figure.axes[0].get_yticklabels()] == ["ae", "topk_ae, 9 units", "vae"]
    assert "3 latent units" in drawing.figure.get_suptitle()


def test_losses_writes_every_mean_and_colours_by_the_column():
    documents = runs("losses")
    (drawing,) = drawings("losses", documents)
    ax = drawing.figure.axes[0]
    cells = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
    assert len(cells) == 3 * 5
    colours = np.asarray(ax.images[0].get_array())
    for i, loss in enumerate(("mse", "bce", {"name": "huber", "delta": 0.1})):
        for j, name in enumerate(("mse", "mae", "bce", "gaussian_nll", "ssim")):
            own = values(documents, name, "ae", reconstruction=loss)
            assert float(cells[i, j].split("\n")[0]) == pytest.approx(own.mean(), rel=0.5 * half(own) / own.mean())
            means = [values(documents, name, "ae", reconstruction=x).mean() for x in
                     ("mse", "bce", {"name": "huber", "delta": 0.1})]  # fmt: skip
            if name not in ("gaussian_nll", "ssim"):
                assert 10 ** colours[i, j] == pytest.approx(own.mean() / min(means))
            if name == "ssim":
                assert 10 ** colours[i, j] == pytest.approx(max(means) / own.mean())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["mse", "bce", "huber\ndelta 0.1"]


def test_losses_compares_likelihoods_per_element_and_scores_by_their_ratio():
    np.testing.assert_allclose(worse(np.array([2.0, 1.0, 4.0]), "mse", 64), [2, 1, 4])
    np.testing.assert_allclose(worse(np.array([0.5, 1.0, 0.25]), "ssim", 64), [2, 1, 4])
    mse = np.array([0.02, 0.01])  # D/2 (ln 2πσ² + 1): per element the ratio of likelihoods is that of the scales
    nll = 64 / 2 * (np.log(2 * np.pi * mse) + 1)
    np.testing.assert_allclose(worse(nll, "gaussian_nll", 64), [np.sqrt(2), 1])


def test_ties_are_paired_by_seed():
    from aebench.groups import series

    documents = runs("losses")
    for d in documents:
        noise = [0.0, 5.0, 10.0][d["spec"]["seed"]]  # the seeds differ by far more than the losses
        shift = {"mse": 0.0, "bce": 1.0}.get(str(d["spec"]["sizes"]["reconstruction"]), 0.001 * (-1) ** int(noise))
        d["metrics"]["mse"]["value"] = 1 + noise + shift + 1e-3 * (noise == 10) * (shift == 1.0)
    frame = with_documents(from_documents(documents), {d["id"]: d for d in documents})
    settings = [setting for line in series(frame) for setting in line.settings]
    found = dict(zip([s.rows["spec"].iloc[0]["sizes"]["reconstruction"] if i < 2 else "huber"
                      for i, s in enumerate(settings)], ties(settings, "mse"), strict=True))  # fmt: skip
    assert found == {"mse": True, "bce": False, "huber": True}


def test_denoising_draws_a_line_for_each_sigma_trained_and_the_best_linear_dashed():
    documents = runs("denoising")
    (drawing,) = drawings("denoising", documents)
    *panels, _ = drawing.figure.axes
    for ax, name in zip(panels, ("denoising_gain", "denoising_gap"), strict=True):
        found = lines(ax)
        assert sorted(found) == ["denoising_ae, σ = 0.1", "denoising_ae, σ = 0.25", "denoising_ae, σ = 1",
                                 "masking_denoising_ae, p = 0.25"]  # fmt: skip
        for sigma in (0.1, 0.25, 1.0):
            points, ends = found[f"denoising_ae, σ = {sigma:g}"]
            np.testing.assert_allclose(points[:, 0], TESTED)
            for tested, (_, y), segment in zip(TESTED, points, ends, strict=True):
                own = values(documents, f"{name}_db_{tested:g}", "denoising_ae", sigma=sigma)
                assert y == pytest.approx(own.mean())
                assert segment[:, 1] == pytest.approx([own.mean() - half(own), own.mean() + half(own)])
        assert "dB" in ax.get_ylabel()
        assert "units of the data" in ax.get_xlabel()
    ax = drawing.figure.axes[0]
    (linear,) = [line for line in ax.get_lines() if "best linear" in str(line.get_label())]
    for tested, y in zip(TESTED, linear.get_ydata(), strict=True):
        differences = [d["metrics"][f"denoising_gain_db_{tested:g}"]["value"]
                       - d["metrics"][f"denoising_gap_db_{tested:g}"]["value"] for d in documents]  # fmt: skip
        assert y == pytest.approx(np.mean(differences))
    (wiener,) = [line for line in ax.get_lines() if "wiener" in str(line.get_label())]
    np.testing.assert_allclose(sorted(wiener.get_xdata()), TESTED)
    for x, y in zip(wiener.get_xdata(), wiener.get_ydata(), strict=True):
        assert y == pytest.approx(values(documents, f"denoising_gain_db_{x:g}", "wiener", sigma=x).mean())


def test_denoising_without_the_gap_has_one_panel_and_that_of_differences():
    documents = runs("denoising")
    for d in documents:
        d["metrics"] = {name: entry for name, entry in d["metrics"].items() if "gap" not in name}
    (drawing,) = drawings("denoising", documents)
    gain, _ = drawing.figure.axes
    assert gain.get_ylabel() == "denoising gain (dB)"
    assert "best linear" not in drawing.caption


def test_sparsity_draws_a_line_for_each_field_swept():
    documents = runs("sparsity")
    (drawing,) = drawings("sparsity", documents)
    *panels, _ = drawing.figure.axes
    for ax, name in zip(panels, ("l0_fraction", "hoyer"), strict=True):
        found = lines(ax)
        assert list(found) == [
            "sparse_kl_ae, p = 0.05 to 0.4 (λ = 1)",
            "sparse_kl_ae, λ = 1 to 10 (p = 0.05)",
            "topk_ae, k = 2 to 3",
            "ae",
        ]
        settings = {
            "sparse_kl_ae, p = 0.05 to 0.4 (λ = 1)": [("sparse_kl_ae", {"lam": 1.0, "p": p}) for p in (0.05, 0.1, 0.4)],
            "sparse_kl_ae, λ = 1 to 10 (p = 0.05)": [("sparse_kl_ae", {"lam": lam, "p": 0.05}) for lam in (1.0, 10.0)],
            "topk_ae, k = 2 to 3": [("topk_ae", {"k": k}) for k in (2, 3)],
            "ae": [("ae", {})],
        }
        for label, own in settings.items():
            x = [values(documents, name, variant, **fields).mean() for variant, fields in own]
            y = [values(documents, "sse", variant, **fields) for variant, fields in own]
            np.testing.assert_allclose(found[label][0], np.stack([x, [v.mean() for v in y]], 1))
            bars = [[v.mean() - half(v), v.mean() + half(v)] for v in y]
            np.testing.assert_allclose(found[label][1][:, :, 1], bars)
    starts = [line.get_xdata()[0] for line in drawing.figure.axes[0].get_lines() if line.get_mfc() == "white"]
    assert len(starts) == 3


def test_a_grid_is_drawn_in_one_direction():
    grid = [document("sparse_kl_ae", seed, MEASURED["sparsity"], lam=lam, p=p)
            for lam in (0.1, 1.0) for p in (0.1, 0.2, 0.3) for seed in range(2)]  # fmt: skip
    (drawing,) = drawings("sparsity", grid)
    assert list(lines(drawing.figure.axes[0])) == [
        "sparse_kl_ae, p = 0.1 to 0.3 (λ = 0.1)",
        "sparse_kl_ae, p = 0.1 to 0.3 (λ = 1)",
    ]


def test_overcomplete_draws_both_distances_the_width_of_the_data_and_the_closed_form():
    documents = runs("overcomplete")
    for d in documents:
        d["metrics"]["sse"]["value"] = 3 * d["metrics"]["mse"]["value"]  # three elements
    (drawing,) = drawings("overcomplete", documents)
    labels = {"ae": "ae, no noise, no penalty", "denoising_ae": "denoising_ae, σ = 0.5",
              "sparse_l1_ae": "sparse_l1_ae, λ = 0.3"}  # fmt: skip
    for panel, (ax, name) in enumerate(zip(drawing.figure.axes, ("on", "off"), strict=True)):
        found = lines(ax)
        assert list(found) == list(labels.values())
        for variant, label in labels.items():
            own = [values(documents, f"identity_{name}_data", variant, latent=n) for n in (2, 3, 4)]
            np.testing.assert_allclose(found[label][0], np.stack([[2, 3, 4], [v.mean() for v in own]], 1))
            np.testing.assert_allclose(
                found[label][1][:, :, 1], [[v.mean() - half(v), v.mean() + half(v)] for v in own]
            )
        (mark,) = [line for line in ax.get_lines() if "wide as the data" in str(line.get_label())]
        assert (mark.get_xdata()[0], mark.get_label()) == (3, "as wide as the data, D = 3")
        closed = {str(line.get_label()): line for line in ax.get_lines() if "closed" in str(line.get_label())}
        assert list(closed) == ["closed form: linear, no noise", "closed form: linear, σ = 0.5"]
        for label, sigma in zip(closed, (0, 0.5), strict=True):
            x, y = np.asarray(closed[label].get_xdata()), np.asarray(closed[label].get_ydata())
            np.testing.assert_allclose(y, linear_copy([4, 1, 0.25], x, sigma)[panel])


def test_the_closed_form_is_that_of_the_best_linear_denoiser():
    """Against the regression of x on x + σε and its truncation, and TRUTH.md's numbers for (4, 1, .25)."""
    lam = np.array([4.0, 1.0, 0.25])
    on, off = linear_copy(lam, np.array([1, 2, 3, 9]), 0.0)
    np.testing.assert_allclose(on, [1.25 / 5.25, 0.25 / 5.25, 0, 0])
    np.testing.assert_allclose(off, [2 / 3, 1 / 3, 0, 0])
    on, off = linear_copy(lam, np.array([3, 10]), np.sqrt(0.5))
    np.testing.assert_allclose(3 * off, 0.56790, atol=1e-5)
    W = np.linalg.solve(np.diag(lam) + 0.5 * np.eye(3), np.diag(lam)).T
    np.testing.assert_allclose(on, np.trace((W - np.eye(3)) @ np.diag(lam) @ (W - np.eye(3)).T) / lam.sum())


def test_kl_direction_draws_four_lines_against_p():
    documents = runs("kl_direction")
    (drawing,) = drawings("kl_direction", documents)
    assert [t.get_text() for t in drawing.figure.axes[2].get_xticklabels() if t.get_text()]
    for ax, name in zip(drawing.figure.axes, ("mean_activation", "near_zero", "near_one", "sse"), strict=True):
        found = lines(ax)
        assert list(found) == [
            "forward KL(p ‖ h) of the batch mean",
            "forward KL(p ‖ h) of each example",
            "reverse KL(h ‖ p) of the batch mean",
            "reverse KL(h ‖ p) of each example",
        ]
        for label, (points, ends) in found.items():
            fields = {"direction": label.split()[0], "average": "batch" if "batch" in label else "example"}
            own = [values(documents, name, "sparse_kl_ae", p=p, **fields) for p in (0.1, 0.2)]
            np.testing.assert_allclose(points, np.stack([[0.1, 0.2], [v.mean() for v in own]], 1))
            np.testing.assert_allclose(ends[:, :, 1], [[v.mean() - half(v), v.mean() + half(v)] for v in own])
    (target,) = [line for line in drawing.figure.axes[0].get_lines() if line.get_label() == "mean activation = p"]
    np.testing.assert_allclose(target.get_xdata(), target.get_ydata())


def test_latent_picture_has_the_same_axes_a_circle_and_posteriors():
    documents = runs("latent_picture")
    held = {d["id"]: drawn.arrays(d) for d in documents}
    for d in documents:  # drawn.arrays gives a posterior to every run with hyperparameters, and to no other
        assert ("codes_sd" in held[d["id"]]) == (d["spec"]["variant"] == "vae")
    (drawing,) = drawings("latent_picture", documents, held)
    axes = [ax for ax in drawing.figure.axes if ax.axison]
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["ae", "denoising_ae", "vae, KL weight 0.5"]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1
    for ax, d in zip(axes, documents[::SEEDS], strict=True):
        own = held[d["id"]]
        (circle,) = ax.patches
        assert (circle.get_radius(), circle.get_linestyle()) == (1, ":")
        points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections[:3]])
        order = np.argsort(-own["codes"].var(0), kind="stable")
        np.testing.assert_allclose(np.sort(points, 0), np.sort(own["codes"][:, order], 0), rtol=1e-6)
        assert len(ax.collections) == (4 if "codes_sd" in own else 3)
        error = values(documents, "sse", d["spec"]["variant"])
        assert ax.get_title().endswith(f"SSE {error.mean():.2f} ± {half(error):.2f}")
    assert [t.get_text() for t in drawing.figure.legends[0].get_texts()] == ["class 0", "class 1", "class 2"]


def test_latent_picture_leaves_wider_codes_out():
    documents = [document("ae", 0, ["sse"], sizes={"latent": 3})]
    assert drawings("latent_picture", documents) == []


def test_a_sweep_of_the_notes_beta_is_one_line():
    from aebench.groups import series

    documents = [document("energy_vae", seed, ["sse"], notes_beta=b) for b in (10.0, 1.0) for seed in range(2)]
    documents += [document("energy_vae", 0, ["sse"], notes_beta={"points": [[0.0, 1.0], [1.0, 9.0]], "kind": "linear"})]
    swept, scheduled = series(with_documents(from_documents(documents), {d["id"]: d for d in documents}))
    assert [setting.kl_weight for setting in swept.settings] == [1.0, 0.1]
    assert not scheduled.is_sweep
