"""What is stored with each run for figures: of nets whose weights are set by hand, so that every picture is known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measured import affine, doubled
from oracles import fitting, metric, pack, variant

import aebench
from aebench import pipeline, streams
from aebench.feed import Examples
from aebench.metrics import arrays as kept
from aebench.metrics.arrays import arrays
from aebench.networks import MLP
from aebench.packing import build
from aebench.store import Store
from aebench.variant import Normal

EVENT = (1, 2, 4)
SIGMAS = (0.1, 0.25, 0.5, 1.0)
GREY = 0.5 / 255 + 1e-6
"""How far a picture in 256 greys may be from what it shows."""


def images(n: int = 40, event: tuple[int, ...] = EVENT, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, *event), dtype=np.float32))


def identity(seeds: tuple[int, ...] = (0,), shift: float = 0.0) -> Any:
    """Linear autoencoders whose code is the image, and whose decoder gives it back, brighter by `shift`."""
    v = variant("linear_ae")
    sizes = v.sizes(latent=8)
    net = affine(v, EVENT, sizes, enc=np.eye(8), dec=np.eye(8), dec_bias=np.full(8, shift))
    return pack(v, [net] * len(seeds), sizes, seeds)


def seen(pictures: np.ndarray) -> np.ndarray:
    """Stored pictures as values of the data."""
    return pictures / 255 if pictures.dtype == np.uint8 else pictures


def test_the_identity_gives_noisy_images_back_and_moves_one_pixel_at_a_time():
    x = images()
    (found,) = arrays(identity(), Examples(x), None)
    np.testing.assert_array_equal(found["x"], x[:10])
    np.testing.assert_allclose(found["x_hat"], x[:10], rtol=1e-3, atol=1e-6)
    assert found["sigmas"].tolist() == list(SIGMAS)
    noisy = x[:3, None].numpy() + np.array(SIGMAS)[:, None, None, None] * found["noise"][:, None].astype(float)
    assert found["denoised"].shape == (3, 4, *EVENT)
    np.testing.assert_allclose(seen(found["denoised"]), noisy.clip(0, 1), atol=GREY + 2e-3)  # noise: three digits
    flat = x.flatten(1).numpy()
    units = np.argsort(-flat.var(0))[:3]
    assert found["traversed"].tolist() == units.tolist()
    np.testing.assert_array_equal(found["traversed_range"], np.stack([flat.min(0), flat.max(0)], 1)[units])
    for unit, (low, high), row in zip(units, found["traversed_range"], seen(found["traversals"]), strict=True):
        for value, picture in zip(np.linspace(low, high, 5), row, strict=True):
            expected = flat[0].copy()
            expected[unit] = value
            np.testing.assert_allclose(picture.ravel(), expected, atol=GREY)


def test_noise_is_that_of_the_seed_for_every_variant_and_pack():
    x = images(600)  # more than are shown
    source = lambda seed: streams.generator(seed, "evaluation", "figures/corruption", 0, "cpu")  # noqa: E731
    own = {seed: streams.draw(Normal((10, *EVENT)), 1, source(seed))[0, :3].numpy() for seed in (0, 1, 5)}
    assert len({noise.tobytes() for noise in own.values()}) == 3
    for name in ("ae", "linear_ae", "vae", "topk_ae", "denoising_ae"):
        v = variant(name)
        sizes = fitting(v, EVENT)
        for seeds in ((0, 1, 5), (5,), (1, 1)):
            nets = [build(v, EVENT, MLP((6,)), sizes, seed) for seed in seeds]
            for seed, found in zip(seeds, arrays(pack(v, nets, sizes, seeds), Examples(x), None), strict=True):
                np.testing.assert_allclose(found["noise"], own[seed], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["ae", "vae", "sparse_kl_ae", "bernoulli_vae"])
def test_pictures_are_what_the_model_makes_of_them(name: str):
    v, x, seeds = variant(name), images(30), (0, 3)
    sizes = v.sizes(latent=5)
    runs = pack(v, [doubled(build(v, EVENT, MLP((7,)), sizes, seed)) for seed in seeds], sizes, seeds)
    for run, found in enumerate(arrays(runs, Examples(x), None)):
        model = runs.model(run)
        with torch.no_grad():
            code = model.encode(x)
            for unit, (low, high), row in zip(
                found["traversed"], found["traversed_range"], found["traversals"], strict=True
            ):
                z = code[:1].repeat(5, 1)
                z[:, unit] = torch.linspace(float(low), float(high), 5)
                np.testing.assert_allclose(seen(row), model.decode(z).numpy().clip(0, 1), atol=GREY)
            for i, sigma in enumerate(SIGMAS):
                back = model.reconstruct(x[:3] + sigma * torch.from_numpy(found["noise"].astype(np.float32)))
                np.testing.assert_allclose(seen(found["denoised"][:, i]), back.numpy().clip(0, 1), atol=GREY + 2e-3)
        if "vae" in name:
            assert found["traversed"].tolist() == np.argsort(-found["kl_per_dimension"], kind="stable")[:3].tolist()
            assert found["traversed_range"].tolist() == [[-3, 3]] * 3
        else:
            assert found["traversed"].tolist() == np.argsort(-code.var(0).numpy())[:3].tolist()
            ends = torch.stack([code.amin(0), code.amax(0)], 1).numpy()
            np.testing.assert_allclose(found["traversed_range"], ends[found["traversed"]], rtol=1e-5)


def test_a_run_has_the_same_pictures_alone_and_in_a_pack():
    v, x, seeds = variant("vae"), images(30), (0, 1, 2)
    sizes = v.sizes(latent=20)
    nets = [doubled(build(v, EVENT, MLP((7,)), sizes, seed)).double() for seed in seeds]
    together = arrays(pack(v, nets, sizes, seeds), Examples(x), np.arange(30))
    for seed, net, packed in zip(seeds, nets, together, strict=True):
        (alone,) = arrays(pack(v, [net], sizes, (seed,)), Examples(x), np.arange(30))
        assert set(alone) == set(packed) > {"denoised", "traversals", "codes_units", "labels", "samples"}
        for name, array in alone.items():
            assert array.dtype == packed[name].dtype
            rough = {"atol": 1} if array.dtype == np.uint8 else {"rtol": 2e-3, "atol": 1e-5}
            np.testing.assert_allclose(packed[name].astype(float), array.astype(float), **rough)


def test_of_a_wide_code_the_units_of_largest_variance_are_kept():
    v = variant("linear_ae")
    sizes, x = v.sizes(latent=40), images(600, (5, 8))
    spread = np.random.default_rng(1).permutation(np.linspace(0.1, 4, 40))
    net = affine(v, (5, 8), sizes, enc=np.diag(spread))
    (found,) = arrays(pack(v, [net], sizes), Examples(x), None)
    codes = x.flatten(1).numpy()[:500] * spread
    units = np.sort(np.argsort(-codes.var(0))[:16])
    assert found["codes_units"].tolist() == units.tolist()
    np.testing.assert_allclose(found["codes"], codes[:, units], rtol=1e-3, atol=1e-6)
    assert "codes_units" not in arrays(identity(), Examples(images()), None)[0]


def test_the_levels_are_those_of_the_metric_and_at_most_four():
    denoising = metric("denoising")
    of = lambda *sigmas: kept.noise_levels([(denoising, denoising.options(sigmas))])  # noqa: E731
    assert kept.noise_levels(()) == SIGMAS
    assert of(0.5, 0.2) == (0.2, 0.5)
    assert of(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0) == (1.0, 3.0, 5.0, 7.0)
    chosen = [(denoising, denoising.options((0.3,)))]
    (found,) = arrays(identity(), Examples(images()), None, chosen=chosen)
    assert found["sigmas"].tolist() == [0.3]
    assert found["denoised"].shape == (3, 1, *EVENT)


def test_pictures_of_other_data_than_of_0_to_1_keep_their_values():
    x = 8 * images() - 4
    (found,) = arrays(identity(shift=10.0), Examples(x), None)
    assert found["denoised"].dtype == np.float16
    noisy = x[:3].numpy() + 0.5 * found["noise"].astype(float) + 10
    np.testing.assert_allclose(found["denoised"][:, 2].astype(float), noisy, atol=0.01)
    (found,) = arrays(identity(shift=-2.0), Examples(images()), None)
    assert found["denoised"].dtype == np.uint8
    assert found["traversals"].max() == 0, "below 0 is black"
    assert found["x_hat"].max() < 0, "reconstructions are not cut"


def test_no_pictures_of_points_and_vectors():
    v = variant("vae")
    for event in ((2,), (5,)):
        sizes = v.sizes(latent=2)
        (found,) = arrays(pack(v, [build(v, event, MLP((4,)), sizes, 0)], sizes), Examples(images(20, event)), None)
        assert not {"noise", "denoised", "sigmas", "traversals", "traversed"} & set(found)
        assert {"codes", "codes_sd", "kl_per_dimension", "samples"} <= set(found)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.linspace(-3, 3, 50), np.float16),
        (np.linspace(-3, 3, 50) * 1e-3, np.float16),
        (1000 + np.linspace(-0.01, 0.01, 50), np.float32),  # half precision knows no number between 1000 and 1000.5
        (np.array([1e6, 2e6]), np.float32),
        (np.array([np.nan, 1.0]), np.float32),
        (np.array([0.1, 0.1]), np.float32),
    ],
)
def test_numbers_are_halved_where_three_digits_are_enough(values: np.ndarray, kind: type):
    found = kept.halved(values.astype(np.float32))
    assert found.dtype == kind
    np.testing.assert_allclose(found.astype(float), values, rtol=1e-6, atol=0.01 * np.nan_to_num(values.std()))


def test_greys_are_rounded_and_cut():
    found = kept.greys(np.array([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 0.5, 1.0, 7.0, np.nan, np.inf]))
    assert found.tolist() == [0, 0, 0, 1, 128, 255, 255, 0, 255]


def test_what_is_kept_of_images_of_28_by_28_is_small(published: Any):
    """Below 100 kB, of codes as narrow as they are and as wide as they come."""
    part = published("fashion_mnist").test
    for name, latent in (("vae", 16), ("vae", 64), ("overcomplete_ae", 1024)):
        v = variant(name)
        sizes = v.sizes(latent=latent)
        runs = pack(v, [doubled(build(v, (1, 28, 28), MLP((16,)), sizes, 0))], sizes)
        (found,) = arrays(runs, Examples(torch.from_numpy(part.x[:600])), part.y)
        with io.BytesIO() as file:
            np.savez_compressed(file, **found)
            assert file.tell() < 100_000


def test_measuring_again_stores_what_an_older_aebench_did_not(tmp_path: Path):
    suite = tmp_path / "old.yaml"
    suite.write_text(
        "name: old\nabout: a run of before\nseeds: 2\ndata: digits\nnetwork: {kind: mlp, hidden: [4]}\n"
        "train: {steps: 2, batch: 8}\nruns:\n  - {variant: ae, sizes: {latent: 2}}\n"
        "metrics: [reconstruction, {denoising: {sigmas: [0.2, 0.4]}}]\nfigures: [curves]\n"
    )
    aebench.run(suite, out=tmp_path, report=False)
    store = Store(tmp_path / "results" / "old")
    before = {id: store.arrays(id) for id in store.ids()}
    documents = {id: store.read(id) for id in store.ids()}
    for id, held in before.items():
        new = {"noise", "denoised", "sigmas", "traversals", "traversed", "traversed_range"}
        assert new <= set(held)
        assert held["sigmas"].tolist() == [0.2, 0.4]
        store.publish(json.loads(json.dumps(documents[id])), {k: v for k, v in held.items() if k not in new}, None)
        assert not new & set(store.arrays(id))
    assert pipeline.evaluate(store.folder, device="cpu") == (2, 0)
    for id, held in before.items():
        again = store.arrays(id)
        assert set(again) == set(held)
        for name, array in held.items():
            rough = {"atol": 1} if name in ("denoised", "traversals") else {"rtol": 2e-3, "atol": 1e-5}
            np.testing.assert_allclose(again[name].astype(float), array.astype(float), **rough, err_msg=name)
