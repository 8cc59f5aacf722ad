"""Figures of pictures: that what is drawn are the stored arrays, and that they can be read at two runs and at sixty."""

from __future__ import annotations

import importlib
import re
from itertools import pairwise
from typing import Any

import drawn
import numpy as np
import pytest

from aebench.plots import FIGURES, NEEDS, mosaic, style, with_documents
from aebench.plots.panels import Panel, folded, grids, pages, seed_of
from aebench.store.frame import from_documents

SIGMAS = (0.1, 0.5)
ROWS, HEIGHT = 12, 8


def frame_of(documents: list[Any]) -> Any:
    return with_documents(from_documents(documents), {d["id"]: d for d in documents})


def drawings(name: str, documents: list[Any], held: dict[str, Any]) -> list[Any]:
    module, _, attribute = FIGURES[name][0].partition(":")
    return list(getattr(importlib.import_module(module), attribute)(frame_of(documents), held.__getitem__))


def document(variant: str, seed: int = 0, beta: float | None = None, **more: Any) -> dict[str, Any]:
    return drawn.document(drawn.DIGITS, beta, seed, variant=variant, **more)


def stored(of: dict[str, Any], sigmas: tuple[float, ...] = SIGMAS) -> dict[str, np.ndarray]:
    """What the run of a document might have stored; noise and examples depend on the seed alone."""
    seed = of["spec"]["seed"]
    own, common = np.random.default_rng(int(of["id"], 16)), np.random.default_rng(seed)
    random, latent = bool(of["spec"]["hyper"]), of["spec"]["sizes"]["latent"]
    held = drawn.arrays(of) | {"x": np.random.default_rng(99).random((10, 1, 8, 8), np.float32)}
    held |= {"noise": common.standard_normal((3, 1, 8, 8)).astype(np.float32), "sigmas": np.array(sigmas)}
    held |= {"denoised": own.integers(0, 256, (3, len(sigmas), 1, 8, 8), np.uint8)}
    units = min(3, latent)
    held |= {"traversals": own.integers(0, 256, (units, 5, 1, 8, 8), np.uint8)}
    held |= {"traversed": np.array([2, 0, 1] if units == 3 else [1, 0])}
    held |= {"traversed_range": np.array([[-3, 3]] * units if random else [[-0.25, 1.5], [0, 2], [-1, 4]][:units])}
    return held | ({"kl_per_dimension": np.linspace(0.5, 2, latent)} if random else {})


def tiles(figure: Any, row: int) -> list[np.ndarray]:
    """The images of a row of a mosaic `[8, 8]`, from left to right; gaps may be wider or narrower, but are white."""
    (picture,) = figure.axes[0].images
    page = np.asarray(picture.get_array())
    np.testing.assert_array_equal(page[..., 0], page[..., 2])
    middle = figure.axes[0].get_yticks()[row]
    line = page[round(middle - HEIGHT / 2) : round(middle + HEIGHT / 2), :, 0]
    inside = ~(line == 1).all(0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    assert (np.diff(edges)[::2] == 8).all(), "an image has a white column at its edge"
    return [line[:, left : left + 8] for left in edges[::2]]


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


# ---- rows of images


def test_mosaic_keeps_pixels_in_rows_and_groups_and_cuts_to_the_limits():
    x = np.random.default_rng(0).random((3, 1, 8, 8))
    page, tops, lefts = mosaic.mosaic([[x], [2 * x]])
    assert page.shape == (17, 26, 3)
    assert (tops, lefts) == ([0, 9], [0, 26])
    np.testing.assert_allclose(page[:8, :8, 0], x[0, 0])
    np.testing.assert_allclose(page[9:, 18:, 2], np.clip(2 * x[2, 0], 0, 1))
    assert np.all(page[8] == 1)
    signed, _, _ = mosaic.mosaic([[x[:, 0] * 4 - 2]], (-2, 2))
    np.testing.assert_allclose(signed[:8, :8, 1], x[0, 0])
    page, tops, lefts = mosaic.mosaic([[x[:1], x[1:]], [x[2:]]], apart=5)
    assert page.shape == (8 + 5 + 8, 8 + 3 + 8 + 1 + 8, 3)
    assert (tops, lefts) == ([0, 13], [0, 11, 28])
    np.testing.assert_allclose(page[:8, 20:, 0], x[2, 0])
    np.testing.assert_allclose(page[13:, :8, 0], x[2, 0])
    assert np.all(page[13:, 8:] == 1)
    grey = mosaic.mosaic([[np.arange(64, dtype=np.uint8).reshape(1, 8, 8)]])[0]
    np.testing.assert_allclose(grey[..., 0], np.arange(64).reshape(8, 8) / 255)
    colour = np.random.default_rng(1).random((1, 3, 4, 5))
    np.testing.assert_allclose(mosaic.mosaic([[colour]])[0], np.moveaxis(colour[0], 0, 2))
    assert mosaic.is_image(np.zeros((1, 3, 8, 8)))
    assert not mosaic.is_image(np.zeros((1, 2)))
    assert not mosaic.is_image(None)


def test_pages_are_even_and_groups_share_none():
    found = list(pages("name", 12, list(range(60))))
    assert [page.items for page in found] == [list(range(i, i + 12)) for i in range(0, 60, 12)]
    assert (found[1].name, found[1].of, found[1].said) == ("name-2", " (2 of 5)", " Page 2 of 5.")
    assert [len(page.items) for page in pages("n", 6, range(13))] == [4, 4, 5]
    assert [page.items for page in pages("n", 6, "ab", "", "cdefghij")] == [["a", "b"], list("cdef"), list("ghij")]
    (alone,) = pages("name", 12, range(12))
    assert (alone.name, alone.of, alone.said) == ("name", "", "")
    assert list(pages("name", 12, [], [])) == []


def test_long_labels_break_after_commas():
    assert folded("salt_pepper_denoising_ae, p 0.25", 24) == "salt_pepper_denoising_ae\np 0.25"
    assert folded("vae, latent 8\nKL weight 1", 24) == "vae, latent 8\nKL weight 1"
    assert max(map(len, folded("a_name_that_is_longer_than_a_line, b", 24).split("\n"))) <= 24


# ---- denoised


def test_denoised_draws_the_noisy_images_and_what_came_back():
    documents = [document("ae"), document("vae", beta=0.1)]
    held = {d["id"]: stored(d) for d in documents}
    (drawing,) = drawings("denoised", documents, held)
    first = held[documents[0]["id"]]
    x, noise = first["x"][:3, 0], first["noise"][:, 0]
    expected = [*x, *(x + 0.1 * noise), *(x + 0.5 * noise)]
    for tile, image in zip(tiles(drawing.figure, 0), expected, strict=True):
        np.testing.assert_allclose(tile, image.clip(0, 1), atol=1e-6)
    assert labels(drawing.figure) == ["with noise", "ae", "vae\nKL weight 0.1"]
    for row, of in enumerate(documents, 1):
        found = held[of["id"]]
        expected = [*found["x_hat"][:3, 0], *found["denoised"][:, 0, 0] / 255, *found["denoised"][:, 1, 0] / 255]
        for tile, image in zip(tiles(drawing.figure, row), expected, strict=True):
            np.testing.assert_allclose(tile, image, atol=1e-6)
    heads = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert heads == ["original (σ = 0)", "σ = 0.1", "σ = 0.5"]
    for said in ("standard deviation σ (units of the data)", "seed 0", "Shown from 0 to 1", "test images of digits"):
        assert said in drawing.caption
    assert drawing.alt == (
        "A row of images at original (σ = 0), σ = 0.1, σ = 0.5, and below it rows of denoised images: "
        "ae; vae, KL weight 0.1."
    )


def test_a_model_that_copies_shows_the_noise_and_other_noise_is_marked():
    documents = [document("ae"), document("vae", seed=1, beta=0.1)]
    held = {d["id"]: stored(d) for d in documents}
    for found in held.values():
        noisy = found["x"][:3, None] + np.array(SIGMAS)[:, None, None, None] * found["noise"][:, None]
        found |= {"x_hat": found["x"], "denoised": np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)}
    (drawing,) = drawings("denoised", documents, held)
    for tile, copy in zip(tiles(drawing.figure, 0), tiles(drawing.figure, 1), strict=True):
        np.testing.assert_allclose(copy, tile, atol=0.5 / 255 + 1e-6)
    assert labels(drawing.figure)[1:] == ["ae", "vae\nKL weight 0.1\nother noise"]
    assert "of each the lowest seed that ended well (0 to 1)" in drawing.caption
    assert "Rows marked “other noise” got another draw" in drawing.caption
    (drawing,) = drawings("denoised", documents[:1], held)
    assert "other noise" not in drawing.caption


def test_runs_of_other_levels_have_a_figure_of_their_own():
    documents = [document("ae"), document("vae", beta=0.1)]
    held = {documents[0]["id"]: stored(documents[0]), documents[1]["id"]: stored(documents[1], (0.3,))}
    one, two = drawings("denoised", documents, held)
    assert (one.name, two.name) == ("denoised-digits", "denoised-digits-levels-2")
    assert [text.get_text() for text in two.figure.axes[0].texts] == ["original (σ = 0)", "σ = 0.3"]


# ---- traversals


def test_traversals_draw_the_decoded_codes_and_say_what_moved():
    documents = [document("ae"), document("vae", beta=0.1), document("narrow", latent=2)]
    held = {d["id"]: stored(d) for d in documents}
    (drawing,) = drawings("traversals", documents, held)
    for row, of in enumerate(documents):
        found = held[of["id"]]
        expected = [found["x"][0, 0], found["x_hat"][0, 0], *found["traversals"].reshape(-1, 8, 8) / 255]
        for tile, image in zip(tiles(drawing.figure, row), expected, strict=True):
            np.testing.assert_allclose(tile, image, atol=1e-6)
    texts = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert texts[:4] == ["x, x̂", "most active unit", "second", "third"]
    assert [text for text in texts[4:] if text] == [
        "unit 2: −0.25 to 1.5", "unit 0: 0 to 2", "unit 1: −1 to 4",
        "unit 2 (2 nats): −3 to 3", "unit 0 (0.5 nats): −3 to 3", "unit 1 (1.2 nats): −3 to 3",
        "unit 1: −0.25 to 1.5", "unit 0: 0 to 2",
    ]  # fmt: skip
    for said in ("first test image of digits", "5 even steps", "largest KL", "largest variance", "Seed 0"):
        assert said in drawing.caption
    assert "vae, KL weight 0.1 (unit 2 (2 nats): −3 to 3; " in drawing.alt
    (drawing,) = drawings("traversals", documents[:1], held)
    assert "largest KL" not in drawing.caption
    (drawing,) = drawings("traversals", documents[1:2], held)
    assert "largest variance" not in drawing.caption


# ---- KL of each unit


def kl_documents(kl: dict[tuple[str, float, int], list[float]]) -> tuple[list[Any], dict[str, Any]]:
    """Documents and arrays of (variant, KL weight, seed) -> KL of each unit."""
    documents = {key: document(key[0], key[2], key[1], latent=len(values)) for key, values in kl.items()}
    held = {documents[key]["id"]: {"kl_per_dimension": np.array(values)} for key, values in kl.items()}
    return list(documents.values()), held


def test_kl_is_sorted_within_each_seed_and_averaged():
    documents, held = kl_documents({
        ("vae", 1.0, 0): [0.01, 2.0, 0.5], ("vae", 1.0, 1): [1.0, 0.03, 0.1],
        ("vae", 0.1, 0): [3.0, 4.0, 5.0], ("vae", 0.1, 1): [3.0, 4.0, 7.0],
        ("sigma_vae", 1.0, 0): [1e-9, 1.0],
    })  # fmt: skip
    documents.append(document("ae"))
    held[documents[-1]["id"]] = stored(documents[-1])
    (drawing,) = drawings("kl_per_dimension", documents, held)
    sweep, other = drawing.figure.axes
    assert (sweep.get_title(), other.get_title()) == ("vae", "other settings")
    one, tenth = sweep.get_lines()
    np.testing.assert_allclose(one.get_ydata(), [1.5, 0.3, 0.02])
    np.testing.assert_allclose(tenth.get_ydata(), [6.0, 4.0, 3.0])
    assert one.get_xdata().tolist() == [1, 2, 3]
    band = sweep.collections[0].get_paths()[0].vertices
    for place, low, high in ((1, 1.0, 2.0), (2, 0.1, 0.5), (3, 0.01, 0.03)):
        at = band[band[:, 0] == place, 1]
        assert (at.min(), at.max()) == pytest.approx((low, high))
    assert [text.get_text() for text in sweep.get_legend().get_texts()] == ["1 (1.82)", "0.1 (13)"]
    assert sweep.get_legend().get_title().get_text() == "KL weight (latent KL, nats per example)"
    assert [text.get_text() for text in other.get_legend().get_texts()] == ["sigma_vae, KL weight 1 (1)"]
    np.testing.assert_allclose(other.get_lines()[0].get_ydata(), [1.0, 1e-4])
    assert sweep.get_yscale() == "log"
    assert sweep.get_ylim() == other.get_ylim()
    assert "nats" in sweep.get_ylabel()
    for said in ("mean of 1 to 2 seeds", "test examples of digits", "KL below 0.0001 nats is drawn there"):
        assert said in drawing.caption
    assert "sigma_vae, KL weight 1: 1 of 2 units above 0.01 nats, 1 nats in all" in drawing.alt
    assert drawing.alt.count("nats in all") == 3


def test_one_seed_has_no_band_and_many_settings_have_more_panels_and_pages():
    documents, held = kl_documents({(f"vae_{i}", 1.0, 0): [2.0, 1.0] for i in range(50)})
    first, second = drawings("kl_per_dimension", documents, held)
    shown = [ax for page in (first, second) for ax in page.figure.axes if ax.axison]
    assert sorted(len(ax.get_lines()) for ax in shown) == [6, 6, 6, 6, 6, 6, 7, 7]
    assert shown[0].get_title() == "(1 of 8)"
    assert "one seed" in first.caption
    assert "band" not in first.caption
    assert "drawn there" not in first.caption
    assert len({ax.get_ylim() for ax in shown}) == 1


# ---- nothing to draw, and much


@pytest.mark.parametrize("name", ["denoised", "traversals", "kl_per_dimension"])
def test_results_without_these_arrays_draw_nothing_and_the_report_says_how_to_get_them(name: str):
    documents = [document("ae"), document("vae", beta=0.1)]
    held = {d["id"]: drawn.arrays(d) for d in documents}
    assert drawings(name, documents, held) == []
    assert "aebench evaluate" in NEEDS[name]
    vectors = stored(documents[0]) | {"x": np.zeros((10, 5)), "x_hat": np.zeros((10, 5))}
    if name != "kl_per_dimension":
        assert drawings(name, documents[:1], {documents[0]["id"]: vectors}) == []


SIXTY = [
    *(document("vae", beta=beta, latent=n) for beta in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003) for n in (2, 3, 4)),
    *(document(f"an_autoencoder_with_a_long_name_{i}") for i in range(42)),
]


@pytest.mark.parametrize("name", ["denoised", "traversals", "reconstructions", "samples", "latent"])
def test_sixty_settings_fill_pages_of_which_each_has_its_own(name: str):
    held = {d["id"]: stored(d) for d in SIXTY}
    found = drawings(name, SIXTY, held)
    assert [d.name for d in found] == [f"{name}-digits-{i + 1}" for i in range(len(found))]
    assert [f"Page {i + 1} of {len(found)}." for i in range(len(found))] == [d.caption[-12:] for d in found]
    assert all(f"({i + 1} of {len(found)})" in d.figure.get_suptitle() for i, d in enumerate(found))
    if name != "samples":
        names = re.findall(r"long_name_(\d+)", " ".join(drawing.alt for drawing in found))
        assert sorted(map(int, names)) == list(range(42))
    if name != "latent":
        rows = [len(labels(d.figure)) for d in found]
        assert max(rows) <= ROWS + 1
        assert sum(rows) - (0 if name in ("traversals", "samples") else len(found)) == (18 if name == "samples" else 60)


@pytest.mark.parametrize("name", ["denoised", "traversals", "reconstructions", "samples", "kl_per_dimension", "latent"])
@pytest.mark.parametrize("count", [2, 8, 60])
def test_text_stays_inside_and_labels_do_not_meet(name: str, count: int):
    documents = SIXTY[:count] if count != 2 else [SIXTY[0], SIXTY[-1]]
    held = {d["id"]: stored(d) for d in documents}
    for drawing in drawings(name, documents, held):
        figure = drawing.figure
        figure.draw_without_rendering()
        box, whole = figure.get_tightbbox(), figure.bbox_inches
        assert box.x0 >= -0.02
        assert box.y0 >= -0.02
        assert box.x1 <= whole.x1 + 0.02
        assert box.y1 <= whole.y1 + 0.02
        if name in ("kl_per_dimension", "latent"):
            continue
        boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
        assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
        boxes += [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
        boxes.append(figure._suptitle.get_window_extent())
        assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.padded(-1).overlaps(b.padded(-1))]
        (picture,) = figure.axes[0].images
        rows, columns = picture.get_array().shape[:2]
        extent = figure.axes[0].get_window_extent()
        assert extent.width / columns == pytest.approx(extent.height / rows, rel=1e-3), "pixels are square"


def test_the_same_results_give_the_same_bytes(tmp_path: Any):
    documents = [document("ae"), document("vae", beta=0.1)]
    held = {d["id"]: stored(d) for d in documents}
    for name in ("denoised", "traversals", "kl_per_dimension"):
        made = []
        for folder in (tmp_path / "a", tmp_path / "b"):
            (drawing,) = drawings(name, documents, held)
            made.append([path.read_bytes() for path in style.save(drawing.figure, folder, drawing.name)])
        assert made[0] == made[1]


# ---- grids of panels


def test_long_sweeps_and_many_others_have_grids_of_their_own():
    sweep = [Panel("vae", f"KL weight {i}", f"v{i}") for i in range(6)]
    others = [[Panel("", f"ae {i}", f"a{i}")] for i in range(3)]
    assert grids([sweep, *others]) == [[sweep], others]
    assert grids([sweep, others[0]]) == [[sweep, others[0]]]
    assert grids([sweep[:4], *others]) == [[sweep[:4], *others]]
    assert grids([]) == [[]]


def test_the_seed_is_said():
    documents = [document("ae", 3), document("vae", 3, 0.1), document("vae", 7, 0.1)]
    frame, ids = frame_of(documents), [d["id"] for d in documents]
    assert seed_of(frame, ids[:2]) == "seed 3"
    assert seed_of(frame, ids) == "of each the lowest seed that ended well (3 to 7)"


def test_codes_much_narrower_than_the_others_have_axes_of_their_own_where_their_units_are_no_prior():
    documents = [document("vae", beta=1.0), document("ae"), document("sparse_ae"), document("vae", beta=0.1)]
    held = {d["id"]: stored(d) for d in documents}
    for of, scale in zip(documents, (1.0, 1.0, 0.02, 0.02), strict=True):
        held[of["id"]]["codes"] = held[of["id"]]["codes"] * scale
    (drawing,) = drawings("latent", documents, held)
    axes = {ax.get_title().split("\n")[0]: ax for ax in drawing.figure.axes if ax.axison}
    assert axes["KL weight 0.1"].get_xlim() == axes["KL weight 1"].get_xlim() == axes["ae"].get_xlim()
    codes = held[documents[2]["id"]]["codes"]
    top = np.argsort(-codes.var(0))[:2]
    reach = np.abs(codes[:, top]).max()
    assert axes["sparse_ae"].get_xlim()[1] == pytest.approx(1.12 * reach)
    assert "(axes to ±" in axes["sparse_ae"].get_title()
    assert "All panels have the same axes, but those whose title says otherwise" in drawing.caption


def test_many_codes_of_two_latents_go_to_pages():
    documents = [document(f"ae_{i}", latent=2) for i in range(25)]
    found = drawings("latent_picture", documents, {d["id"]: stored(d) for d in documents})
    assert [d.name for d in found] == [f"latent_picture-digits-{i}" for i in (1, 2, 3)]
    assert [sum(ax.axison for ax in d.figure.axes) for d in found] == [8, 8, 9]
    assert len({ax.get_xlim() for d in found for ax in d.figure.axes if ax.axison}) == 1
