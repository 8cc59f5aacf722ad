import importlib
import subprocess
import sys
import warnings

import drawn
import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats as reference

from aebench import closed_forms, groups
from aebench.plots import FIGURES, NEEDS, file_name, style, with_documents
from aebench.store.frame import from_documents

BETAS = (1.0, 0.1, 0.01)


def frame_of(documents):
    return with_documents(from_documents(documents), {d["id"]: d for d in documents})


def drawings(name, documents, arrays=None):
    module, _, attribute = FIGURES[name][0].partition(":")
    held = {d["id"]: drawn.arrays(d) for d in documents} if arrays is None else arrays
    return list(getattr(importlib.import_module(module), attribute)(frame_of(documents), held.__getitem__))


def sweep(*data, betas=BETAS, seeds=3, **more):
    return [drawn.document(d, beta, seed, **more) for d in data for beta in betas for seed in range(seeds)]


def values(documents, beta, name):
    return np.array([d["metrics"][name]["value"] for d in documents if d["spec"]["hyper"].get("beta") == beta])


def measured(ax):
    """The line of means and the error bars above and below it: `[points, 2]`, `[points, 2]`."""
    (bars,) = [c for c in ax.containers if c.get_label() == "vae"]
    line, _, (collection,) = bars.lines
    ends = np.array([segment[:, 1] for segment in collection.get_segments()])
    return np.stack([line.get_xdata(orig=False), line.get_ydata(orig=False)], 1), ends


def read_by_row(legend):
    """The labels of a legend as a reader meets them, line by line."""
    legend.get_figure().draw_without_rendering()
    places = {text.get_text(): text.get_window_extent() for text in legend.get_texts()}
    return sorted(places, key=lambda label: (-round(places[label].y0), places[label].x0))


@pytest.mark.parametrize("name", ["beta_sweep", "rate_distortion", "latent", "reconstructions", "samples", "curves"])
def test_every_figure_of_a_beta_sweep_draws_and_says_what_it_shows(name):
    documents = [*sweep(drawn.PINWHEEL, drawn.DIGITS), drawn.document(drawn.DIGITS, None, 0, variant="ae")]
    found = drawings(name, documents)
    assert len(found) >= 2
    assert len({d.name for d in found}) == len(found)
    for drawing in found:
        assert drawing.name == file_name(drawing.name)
        assert drawing.caption.endswith(".")
        assert "seed" in drawing.caption
        assert drawing.alt.endswith(".")
        assert drawing.data in ("pinwheel", "digits")
    assert set(NEEDS) == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_no_rows_no_arrays_and_no_curves_give_no_figure(name):
    documents = [d | {"curves": {}} for d in sweep(drawn.DIGITS)]
    assert drawings(name, documents[:1], {documents[0]["id"]: {}}) == [] or name in ("beta_sweep", "rate_distortion")
    frame = frame_of(documents).iloc[:0]
    module, _, attribute = FIGURES[name][0].partition(":")
    assert list(getattr(importlib.import_module(module), attribute)(frame, {}.__getitem__)) == []


def test_sweep_draws_means_and_t_intervals_of_the_values():
    documents = sweep(drawn.GAUSSIAN)
    (drawing,) = drawings("beta_sweep", documents)
    axes = dict(zip("CUSV", drawing.figure.axes, strict=False))
    for name, ax in axes.items():
        points, ends = measured(ax)
        np.testing.assert_allclose(points[:, 0], [0, 1, 2], atol=1e-12)
        for beta, (_, y), (low, high) in zip(BETAS, points, ends, strict=True):
            x = values(documents, beta, name) * (-1 if name == "V" else 1)
            assert y == pytest.approx(x.mean())
            half = reference.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
            assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_sweep_of_gaussian_data_draws_the_closed_form_and_its_collapses():
    (drawing,) = drawings("beta_sweep", sweep(drawn.GAUSSIAN, betas=(10.0, 1.0, 0.1)))
    for name, ax in zip("CUS", drawing.figure.axes, strict=False):
        (line,) = [line for line in ax.get_lines() if "closed form" in str(line.get_label())]
        exact = closed_forms.linear_vae([4, 1, 0.25], 3, 10 ** -line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), getattr(exact, name))
        marks = [line.get_xdata()[0] for line in ax.get_lines() if "collapses" in str(line.get_label())]
        np.testing.assert_allclose(sorted(10 ** -np.array(marks)), [0.5, 2, 8])


def test_sweep_of_the_pinwheel_draws_the_notes_rows_that_lie_in_it():
    (drawing,) = drawings("beta_sweep", sweep(drawn.PINWHEEL))
    (notes,) = [line for line in drawing.figure.axes[3].get_lines() if line.get_label() == "the notes' rows"]
    np.testing.assert_allclose(notes.get_xdata(), [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(notes.get_ydata(), [0, 0.28, 2.87, 4.94, 6.79])
    other = drawn.PINWHEEL | {"parameters": {"variance": 1.0}}
    (drawing,) = drawings("beta_sweep", sweep(other))
    assert not [line for ax in drawing.figure.axes for line in ax.get_lines() if "notes" in str(line.get_label())]


def test_axes_have_units_and_the_second_axis_is_the_kl_weight():
    (energies,) = drawings("beta_sweep", sweep(drawn.PINWHEEL))
    assert all("per example" in ax.get_ylabel() for ax in energies.figure.axes)
    assert [("squared units" in ax.get_ylabel(), "nats" in ax.get_ylabel()) for ax in energies.figure.axes] == [
        (True, False), (False, True), (False, True), (False, True)]  # fmt: skip
    for ax in energies.figure.axes[2:]:
        assert ax.get_xlabel() == "log₁₀ of the notes' β = 1 / KL weight"
    assert "beta in the tables is the KL weight" in energies.caption
    (top,) = energies.figure.axes[0].child_axes
    assert top.get_xlabel() == "KL weight"
    ticks = dict(zip([t.get_text() for t in top.get_xticklabels()], top.get_xticks(), strict=True))
    assert ticks == pytest.approx({"0.01": -2, "0.1": -1, "1": 0})
    (rate,) = drawings("rate_distortion", sweep(drawn.PINWHEEL))
    assert "squared units" in rate.figure.axes[0].get_xlabel()
    assert "nats" in rate.figure.axes[0].get_ylabel()


def test_rate_distortion_draws_intervals_both_ways_the_weights_and_the_bound():
    documents = sweep(drawn.GAUSSIAN)
    (drawing,) = drawings("rate_distortion", documents)
    (ax,) = drawing.figure.axes
    (bars,) = ax.containers
    line, _, collections = bars.lines
    assert len(collections) == 2
    expected = [[values(documents, beta, name).mean() for name in ("C", "kl")] for beta in BETAS]
    np.testing.assert_allclose(np.stack([line.get_xdata(orig=False), line.get_ydata(orig=False)], 1), expected)
    said = ", ".join(text.get_text() for text in ax.texts)
    assert sorted(said.split(", ")) == ["0.01", "0.1", "1"]
    (bound,) = [line for line in ax.get_lines() if "bound" in str(line.get_label())]
    np.testing.assert_allclose(bound.get_ydata(), closed_forms.gaussian_rate([4, 1, 0.25], bound.get_xdata()))


def test_scheduled_and_zero_weights_are_no_points_of_a_sweep():
    schedule = {"points": [[0.0, 0.0], [0.5, 1.0]], "kind": "linear"}
    documents = [*sweep(drawn.DIGITS, betas=(1.0, 0.1, 0.0), seeds=1), drawn.document(drawn.DIGITS, schedule, 0)]
    (drawing,) = drawings("beta_sweep", documents)
    np.testing.assert_allclose(measured(drawing.figure.axes[0])[0][:, 0], [0, 1])
    assert "one seed" in drawing.caption
    (picture,) = drawings("reconstructions", documents)
    assert "vae, beta 0 to 1" in picture.alt


def test_many_variants_are_told_apart_and_pages_share_their_axes():
    documents = [d for latent in range(2, 14) for d in sweep(drawn.DIGITS, seeds=1, latent=latent)]
    first, second = drawings("beta_sweep", documents)
    labels = [read_by_row(d.figure.legends[0]) for d in (first, second)]
    assert labels == [[f"vae, latent {n}" for n in range(2, 8)], [f"vae, latent {n}" for n in range(8, 14)]]
    assert first.figure.axes[0].get_xlim() == second.figure.axes[0].get_xlim()
    looks = [style.series_style(i) for i in range(84)]
    assert len({str(look) for look in looks}) == 84


def test_latent_takes_the_most_active_dimensions_and_draws_the_posterior():
    documents = [*sweep(drawn.PINWHEEL, latent=4), drawn.document(drawn.PINWHEEL, None, 0, variant="ae", latent=4)]
    held = {d["id"]: drawn.arrays(d) for d in documents}
    (drawing,) = drawings("latent", documents, held)
    shown = [ax for ax in drawing.figure.axes if ax.axison]
    assert [ax.get_title() for ax in shown] == ["KL weight 1", "KL weight 0.1", "KL weight 0.01", "ae"]
    run = next(d["id"] for d in documents if d["spec"]["hyper"] == {"beta": 1.0} and d["spec"]["seed"] == 0)
    codes = held[run]["codes"]
    top = np.argsort(-codes.var(0))[:2]
    *points, bubbles = shown[0].collections
    drawn_points = np.concatenate([np.asarray(p.get_offsets()) for p in points])
    np.testing.assert_allclose(sorted(drawn_points[:, 0]), sorted(codes[:, top[0]].astype(float)))
    np.testing.assert_allclose(np.asarray(bubbles.get_offsets()), codes[:, top])
    np.testing.assert_allclose(bubbles.get_widths(), 2 * held[run]["codes_sd"][:, top[0]], rtol=1e-6)
    assert len(shown[3].collections) == 3  # three classes, no posterior
    (circle,) = shown[0].patches
    assert (circle.get_radius(), circle.get_linestyle()) == (1, ":")
    assert len({ax.get_xlim() for ax in shown}) == 1
    assert drawing.caption.startswith("Training codes on pinwheel, seed 0")


def clouds_of(*variants, scale=1.0, count=40):
    """The latent figure of digits, with ten classes; variants other than `vae` have no posterior."""
    documents = [drawn.document(drawn.DIGITS, 1.0 if v == "vae" else None, 0, variant=v) for v in variants]
    held = {d["id"]: drawn.arrays(d) for d in documents}
    for found in held.values():
        repeats = -(-count // 40)
        found |= {name: np.tile(found[name], (repeats, 1)) for name in ("codes", "codes_sd") if name in found}
        found |= {"codes": found["codes"] * scale, "labels": np.arange(len(found["codes"])) % 10}
    (drawing,) = drawings("latent", documents, held)
    return drawing, [ax for ax in drawing.figure.axes if ax.axison]


def test_ten_classes_have_categorical_colours_and_markers_of_their_own_and_few_codes_are_large():
    looks = style.class_looks(range(10))
    colours = [mpl.colors.to_hex(colour) for colour, _ in looks.values()]
    assert colours == [mpl.colors.to_hex(colour) for colour in mpl.color_sequences["petroff10"]]
    assert len({marker for _, marker in looks.values()}) == 10
    assert len(set(style.class_looks(range(60)).values())) == 60
    assert style.class_looks([3, 5]) == {3: (style.PALETTE[0], "o"), 5: (style.PALETTE[1], "s")}
    sizes = []
    for count in (160, 2000):
        drawing, (ax,) = clouds_of("ae", count=count)
        assert [mpl.colors.to_hex(points.get_facecolor()[0]) for points in ax.collections] == colours
        assert read_by_row(drawing.figure.legends[0]) == [f"class {k}" for k in range(10)]
        sizes.append(ax.collections[0].get_sizes()[0])
    assert sizes[0] > 9 > sizes[1]


@pytest.mark.parametrize(
    ("variants", "title", "circle"),
    [
        (["ae", "sparse_ae"], "(code units)", "circle, for scale alone"),
        (["vae"], "(prior standard deviations)", "circle, one standard deviation of the prior."),
        (["ae", "vae"], "(code units; where ellipses are drawn, prior standard deviations)", "drawn, elsewhere for"),
    ],
)
def test_units_of_codes_are_those_of_the_prior_only_with_a_posterior(variants, title, circle):
    drawing, axes = clouds_of(*variants)
    assert drawing.figure.get_suptitle().endswith(title)
    assert circle in drawing.caption
    assert ("Ellipses" in drawing.caption) == ("vae" in variants)
    assert all([patch.get_radius() for patch in ax.patches] == [1] for ax in axes)


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_no_code_touches_the_edge_and_a_wild_one_does_not_widen_the_axes(scale):
    drawing, axes = clouds_of("ae", "vae", scale=scale)
    for ax in axes:
        codes = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
        assert np.abs(codes).max() < 0.93 * ax.get_xlim()[1]
    assert "not shown" not in drawing.caption
    document = drawn.document(drawn.DIGITS, None, 0, variant="ae")
    held = drawn.arrays(document)
    held["codes"][3] = 500
    (drawing,) = drawings("latent", [document], {document["id"]: held})
    assert drawing.figure.axes[0].get_xlim()[1] < 10
    assert drawing.caption.endswith("Codes far outside are not shown: 1 of 40.")


def test_no_room_is_left_for_a_legend_that_is_not_there():
    (document,) = sweep(drawn.DIGITS, betas=(1.0,), seeds=1)
    held = drawn.arrays(document)
    (with_legend,) = drawings("latent", [document], {document["id"]: held})
    del held["labels"]
    (without,) = drawings("latent", [document], {document["id"]: held})
    assert not without.figure.legends
    without.figure.draw_without_rendering()
    assert without.figure.get_tightbbox().y0 < 0.25
    assert without.figure.get_figheight() < with_legend.figure.get_figheight() - 0.2


def test_one_latent_and_unlabelled_codes_are_drawn():
    (document,) = sweep(drawn.DIGITS, betas=(1.0,), seeds=1, latent=1)
    held = drawn.arrays(document)
    del held["labels"]
    (drawing,) = drawings("latent", [document], {document["id"]: held})
    assert not drawing.figure.legends


def test_wide_codes_get_axes_of_their_own_and_say_so():
    documents = [drawn.document(drawn.DIGITS, 1.0, 0), drawn.document(drawn.DIGITS, None, 0, variant="ae")]
    held = {d["id"]: drawn.arrays(d) for d in documents}
    held[documents[1]["id"]]["codes"] *= 30
    (drawing,) = drawings("latent", documents, held)
    vae, ae = [ax for ax in drawing.figure.axes if ax.axison]
    assert "axes to" in ae.get_title()
    assert ae.get_xlim()[1] > 10 * vae.get_xlim()[1]


@pytest.mark.parametrize(("name", "made"), [("samples", "samples"), ("reconstructions", "x_hat")])
def test_what_a_run_makes_does_not_change_the_grey_of_the_others(name, made):
    documents = [drawn.document(drawn.DIGITS, 1.0, 0, variant=v) for v in ("wild", "vae")]
    held = {d["id"]: drawn.arrays(d) for d in documents}
    held[documents[0]["id"]][made] = held[documents[0]["id"]][made] * 20 - 10
    (drawing,) = drawings(name, documents, held)
    page = np.asarray(drawing.figure.axes[0].images[0].get_array())
    image = held[documents[1]["id"]][made][0, 0]
    np.testing.assert_allclose(page[-8:, :8, 0], image, atol=1e-6)
    assert "Shown from 0 to 1" in drawing.caption
    for found in held.values():
        found["x"] = found["x"] * 4 - 2  # no longer in [0, 1]: the grey of the originals
    low, high = (f(np.concatenate([found["x"] for found in held.values()])) for f in (np.min, np.max))
    (drawing,) = drawings(name, documents, held)
    page = np.asarray(drawing.figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(page[-8:, :8, 0], (image - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize(("name", "made"), [("samples", "samples"), ("reconstructions", "points_hat")])
def test_points_lie_off_the_frame_and_a_wild_one_does_not_shrink_the_others(name, made):
    documents = sweep(drawn.PINWHEEL, seeds=1)
    held = {d["id"]: drawn.arrays(d) for d in documents}
    held[documents[0]["id"]]["points"][0] = 3.5, -3.5  # the outermost of all
    held[documents[1]["id"]][made][:2] = -4.0, 4.0
    (drawing,) = drawings(name, documents, held)
    for document, ax in zip(documents, drawing.figure.axes, strict=True):
        shown = np.concatenate([held[document["id"]][key] for key in ("points", made)])
        for limits, values in zip((ax.get_xlim(), ax.get_ylim()), shown.T, strict=True):
            assert limits[0] + 0.02 * np.ptp(limits) < values.min()
            assert values.max() < limits[1] - 0.02 * np.ptp(limits)
    assert "not shown" not in drawing.caption
    held[documents[0]["id"]][made][0] = 1e4
    (drawing,) = drawings(name, documents, held)
    assert np.ptp(drawing.figure.axes[0].get_xlim()) < 20
    assert "Blue points far outside are not shown: 1 of " in drawing.caption


def test_reconstructions_of_many_runs_go_to_pages_each_with_the_originals():
    documents = sweep(drawn.DIGITS, betas=tuple(np.logspace(0, -3, 14)), seeds=1)
    pages = drawings("reconstructions", documents)
    assert [page.name for page in pages] == ["reconstructions-digits-1", "reconstructions-digits-2"]
    for page in pages:
        labels = [text.get_text() for text in page.figure.axes[0].get_yticklabels()]
        assert labels[0] == "original"
        assert len(labels) == 8


def test_curves_draw_the_mean_over_seeds_on_a_log_axis_where_it_helps():
    documents = sweep(drawn.DIGITS)
    (drawing,) = drawings("curves", documents)
    loss, kl = [ax for ax in drawing.figure.axes if ax.axison]
    assert (loss.get_title(), kl.get_title()) == ("loss", "kl")
    assert "nats per example" in kl.get_ylabel()
    for line, beta in zip(loss.get_lines(), BETAS, strict=True):
        own = [d["curves"]["loss"] for d in documents if d["spec"]["hyper"]["beta"] == beta]
        np.testing.assert_allclose(line.get_ydata(), np.mean(own, axis=0))
    documents[0]["curves"]["loss"][0] = 5000.0
    documents[1]["curves"]["kl"][1] = None
    (drawing,) = drawings("curves", documents)
    assert drawing.figure.axes[0].get_yscale() == "log"


def test_a_term_of_some_losses_says_whose_it_is():
    documents = [drawn.document(drawn.DIGITS, None, 0, variant=v) for v in ("ae", "sparse_ae", "contractive_ae")]
    documents[2]["curves"]["penalty"] = [3.0, 2.0, 1.0]
    (drawing,) = drawings("curves", documents)
    loss, penalty = [ax.get_title() for ax in drawing.figure.axes if ax.axison]
    assert (loss, penalty) == ("loss", "penalty\nlogged by contractive_ae only")
    assert "loss; penalty, logged by contractive_ae only." in drawing.alt
    assert "only the runs that log the term" in drawing.caption
    documents[1]["curves"]["penalty"] = [3.0, 2.0, 1.0]
    (drawing,) = drawings("curves", documents)
    assert drawing.figure.axes[1].get_title() == "penalty\nlogged by 2 of 3"
    (drawing,) = drawings("curves", sweep(drawn.DIGITS))
    assert "log the term" not in drawing.caption


def test_legends_are_read_row_by_row():
    betas = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    (drawing,) = drawings("curves", sweep(drawn.DIGITS, betas=betas, seeds=1))
    assert read_by_row(drawing.figure.legends[0]) == [f"KL weight {beta:g}" for beta in betas]


def test_names_with_markup_are_drawn_as_they_are(tmp_path):
    documents = [drawn.document(drawn.DIGITS, beta, 0, variant="a$b_{c}$ <x>|y") for beta in BETAS]
    for name in ("beta_sweep", "reconstructions", "curves"):
        for drawing in drawings(name, documents):
            style.save(drawing.figure, tmp_path, drawing.name)
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_same_results_give_the_same_bytes(tmp_path):
    documents = sweep(drawn.PINWHEEL)
    for name in ("beta_sweep", "latent"):
        made = []
        for folder in (tmp_path / "a", tmp_path / "b"):
            (drawing,) = drawings(name, documents)
            made.append([path.read_bytes() for path in style.save(drawing.figure, folder, drawing.name)])
        assert made[0] == made[1]
        assert b"<dc:date>" not in made[0][0]
        assert b"Software" not in made[0][1]


def test_settings_of_matplotlib_are_left_alone_and_no_window_is_counted():
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # more than 20 open figures of pyplot would warn
        kept = [style.panels(1, 1, (1, 1)) for _ in range(25)]
        drawings("rate_distortion", sweep(drawn.DIGITS, seeds=1))
    assert len(kept) == 25
    assert dict(mpl.rcParams) == before


def test_text_stays_inside_the_figure_and_legends_beside_the_axes():
    documents = [d for latent in range(2, 8) for d in sweep(drawn.PINWHEEL, latent=latent)]
    for name in ("beta_sweep", "rate_distortion", "curves"):
        for drawing in drawings(name, documents):
            figure = drawing.figure
            figure.draw_without_rendering()
            box, whole = figure.get_tightbbox(), figure.bbox_inches
            assert box.x0 >= -0.02
            assert box.y0 >= -0.02
            assert box.x1 <= whole.x1 + 0.02
            assert box.y1 <= whole.y1 + 0.02
            for legend in figure.legends:
                top = legend.get_window_extent().y1
                assert all(ax.get_tightbbox().y0 >= top - 1 for ax in figure.axes if ax.axison)


def test_the_table_needs_no_matplotlib_and_the_figures_no_torch():
    code = (
        "import sys, importlib, aebench.plots as p\n"
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "for where, _ in p.FIGURES.values():\n"
        "    module, _, attribute = where.partition(':')\n"
        "    assert callable(getattr(importlib.import_module(module), attribute))\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.0625, "0.0625"), (10**-1.5, "0.032"), (1e-5, "1e-05"), (0.0, "0")]
)
def test_weights_are_written_short(value, text):
    assert groups.number(value) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [("blobs.npy", "blobs"), ("my data.NPZ", "my-data"), ("a.npy.b", "a.npy.b"), ("lr 0.001", "lr-0.001")],
)
def test_file_names_drop_the_ending_of_data(text, name):
    assert file_name(text) == name
