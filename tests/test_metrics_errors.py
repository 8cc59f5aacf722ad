"""Errors, SSIM, and maps beside the linear ones, held to other libraries and to closed forms (../shared/TRUTH.md)."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import scipy.special
import scipy.stats
import torch
from measured import affine, doubled, errors_of, measured, numbers
from oracles import metric, pack, variant
from sklearn import metrics as sklearn_metrics

from aebench import data
from aebench.metrics import linear
from aebench.metrics.moments import Moments
from aebench.networks import MLP, Conv, Linear
from aebench.packing import build
from aebench.work import Worker

AE = variant("ae")
LAMBDA = np.array([4.0, 1.0, 0.25])


def mapped(event: tuple[int, ...], W: np.ndarray, bias: np.ndarray | float = 0.0, count: int = 1):
    """Runs of x -> Wx + bias, through a code of as many units as x has elements."""
    d = len(W)
    sizes = AE.sizes(latent=d)
    net = affine(AE, event, sizes, enc=W, dec=np.eye(d), dec_bias=np.broadcast_to(bias, d))
    return pack(AE, [net] * count, sizes)


@pytest.fixture(scope="module")
def gaussian():
    return oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})


# ---- errors -----------------------------------------------------------------------------------------------------


def test_errors_by_scipy_and_sklearn():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 1, (1100, 6)).astype(np.float32)
    W, bias = 0.5 * np.eye(6) + 0.1 * rng.standard_normal((6, 6)), 0.3
    (entries,) = measured(mapped((6,), W, bias), x, "errors", epsilon=0.1, delta=0.2)
    y = x.astype(float) @ W.T + bias
    r = x - y
    s2, s = (r**2).mean(), np.abs(r).mean()
    p = np.clip(y, 1e-6, 1 - 1e-6)
    exact = {
        "mae": sklearn_metrics.mean_absolute_error(x, y),
        "mape": sklearn_metrics.mean_absolute_percentage_error(x, y),  # no x below ε
        "huber": scipy.special.huber(0.2, r).mean(),
        "bce": -(scipy.special.xlogy(x, p) + scipy.special.xlog1py(1 - x, -p)).mean(),
        "gaussian_nll": -scipy.stats.norm(0, math.sqrt(s2)).logpdf(r).sum(1).mean(),
        "laplace_nll": -scipy.stats.laplace(0, s).logpdf(r).sum(1).mean(),
    }
    assert numbers(entries) == pytest.approx(exact, rel=1e-4)
    assert errors_of(entries)["mae"] == pytest.approx(np.abs(r).mean(1).std() / math.sqrt(1100), rel=1e-3)
    assert set(errors_of(entries)) == {"mae", "mape", "huber", "bce"}
    wide = measured(mapped((6,), W, bias), x, "errors", delta=100.0)[0]
    assert wide["huber"]["value"] == pytest.approx(s2 / 2, rel=1e-5)


def test_the_scale_of_the_likelihoods_is_the_best_one():
    r = np.random.default_rng(1).standard_normal((300, 4)).astype(np.float32) ** 3
    (entries,) = measured(mapped((4,), np.zeros((4, 4))), r, "errors")
    for name, family in (("gaussian_nll", scipy.stats.norm), ("laplace_nll", scipy.stats.laplace)):
        scales = np.geomspace(0.2, 20, 4001)
        best = min(-family(0, s).logpdf(r).sum(1).mean() for s in scales)
        assert entries[name]["value"] == pytest.approx(best, rel=1e-5), name


def test_small_values_count_as_epsilon():
    x = np.array([[0.0, 0.05, -0.05, 2.0]], dtype=np.float32)
    runs = mapped((4,), np.eye(4), 0.1)
    assert measured(runs, x, "errors")[0]["mape"]["value"] == pytest.approx((1 + 1 + 1 + 0.05) / 4, rel=1e-5)
    found = measured(runs, x, "errors", epsilon=0.01)[0]["mape"]["value"]
    assert found == pytest.approx((10 + 2 + 2 + 0.05) / 4, rel=1e-5)
    assert metric("errors").options() == (0.1, 1.0)


def test_bce_is_of_data_in_the_unit_interval_and_clamped():
    x = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    swapped = mapped((2,), np.array([[0.0, 1.0], [1.0, 0.0]]))  # certain, and wrong
    (entries,) = measured(swapped, x, "errors")
    assert entries["bce"]["value"] == pytest.approx(-math.log(1e-6), rel=0.01)
    far = mapped((2,), np.zeros((2, 2)), [7.0, -5.0])
    assert measured(far, x, "errors")[0]["bce"]["value"] == pytest.approx(-math.log(1e-6), rel=0.01)
    (entries,) = measured(swapped, np.array([[0.5, 0.5], [0.0, 1.01]], dtype=np.float32), "errors")
    assert entries["bce"]["value"] is None
    assert entries["bce"]["standard_error"] is None
    assert entries["mae"]["value"] == pytest.approx(2.02 / 4)


def test_a_copy_has_no_best_scale():
    (entries,) = measured(mapped((3,), np.eye(3)), np.ones((4, 3), dtype=np.float32), "errors")
    assert entries["gaussian_nll"]["value"] is entries["laplace_nll"]["value"] is None
    assert entries["mae"]["value"] == entries["huber"]["value"] == 0


def test_bce_of_the_mean_image_and_of_a_copy_of_mnist(published):
    """205.80 nats for the mean image; grey images' own entropy, 45.534 nats, for a copy."""
    train, test = oracles.mnist_images(published)
    mean = train.reshape(len(train), -1).mean(0) / 255
    sizes = AE.sizes(latent=1)
    runs = pack(AE, [affine(AE, (1, 28, 28), sizes, dec_bias=mean)], sizes)
    assert 784 * measured(runs, test, "errors")[0]["bce"]["value"] == pytest.approx(205.80, abs=0.01)
    copied = 784 * measured(mapped((1, 28, 28), np.eye(784)), test, "errors")[0]["bce"]["value"]
    assert copied == pytest.approx(45.534, abs=2e-3)


# ---- SSIM -------------------------------------------------------------------------------------------------------


def blurred(event: tuple[int, ...]):
    """Runs of a linear map that mixes each pixel with a few others."""
    d = math.prod(event)
    W = 0.6 * np.eye(d) + 0.2 * np.eye(d)[np.random.default_rng(3).permutation(d)]
    return mapped(event, W, 0.05)


@pytest.mark.parametrize("event", [(1, 28, 28), (3, 16, 20), (1, 11, 11)])
def test_ssim_by_torchmetrics(event):
    from torchmetrics.functional.image import structural_similarity_index_measure as reference

    x = np.random.default_rng(0).random((12, *event), dtype=np.float32) ** 2
    x[6:] = np.round(x[6:], 1)
    x[:3, ..., : event[2] // 2] = 0.3  # flat halves
    runs = blurred(event)
    with torch.no_grad():
        x_hat = runs.model(0).reconstruct(torch.from_numpy(x))
    _, full = reference(x_hat, torch.from_numpy(x), data_range=1.0, reduction="none", return_full_image=True)
    each = full[..., 5 : event[1] - 5, 5 : event[2] - 5].flatten(1).mean(1)  # without the windows that it pads
    (entries,) = measured(runs, x, "ssim")
    assert entries["ssim"]["value"] == pytest.approx(each.mean().item(), rel=2e-5)
    assert entries["ssim"]["standard_error"] == pytest.approx(each.std().item() / math.sqrt(12), rel=1e-3)


@pytest.mark.parametrize(
    ("event", "side"),
    [((1, 8, 8), 7), ((2, 5, 30), 5), ((1, 10, 9), 9), ((1, 6, 9), 5), ((1, 9, 6), 5), ((1, 1, 6), 1)],
)
def test_ssim_of_small_images_window_by_window(event, side):
    """Every window written out: weights of sd 1.5, moments of what it covers."""
    x = np.random.default_rng(0).random((3, *event), dtype=np.float32)
    runs = blurred(event)
    with torch.no_grad():
        y = runs.model(0).reconstruct(torch.from_numpy(x)).double().numpy()
    weights = np.exp(-0.5 * ((np.arange(side) - side // 2) / 1.5) ** 2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    found = []
    for n, c, i, j in np.ndindex(3, event[0], event[1] - side + 1, event[2] - side + 1):
        a, b = (t[n, c, i : i + side, j : j + side].astype(float) for t in (x, y))
        ma, mb = (weights * a).sum(), (weights * b).sum()
        va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
        cov = (weights * (a - ma) * (b - mb)).sum()
        found.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert measured(runs, x, "ssim")[0]["ssim"]["value"] == pytest.approx(np.mean(found), rel=1e-4)


def test_ssim_of_a_copy_is_one_and_of_no_image_is_undefined():
    x = np.random.default_rng(0).integers(0, 256, (6, 1, 12, 12), dtype=np.uint8)
    copy = mapped((1, 12, 12), np.eye(144))
    assert measured(copy, x, "ssim")[0]["ssim"]["value"] == pytest.approx(1, abs=1e-6)
    beyond = x.astype(np.float32) / 255
    beyond[5, 0, 0, 0] = 1.5
    entry = measured(copy, beyond, "ssim")[0]["ssim"]
    assert entry["value"] is entry["standard_error"] is None
    (entries,) = measured(mapped((3,), np.eye(3)), np.ones((4, 3), dtype=np.float32), "ssim")
    assert entries["ssim"]["value"] is None


# ---- moments of the training part -------------------------------------------------------------------------------


def test_moments_by_numpy():
    rng = np.random.default_rng(0)
    x = (5 + rng.standard_normal((9001, 4)) @ rng.standard_normal((4, 4))).reshape(-1, 2, 2).astype(np.float32)
    moments, flat = Moments(x), x.reshape(-1, 4).astype(float)
    np.testing.assert_allclose(moments.mean, flat.mean(0).reshape(2, 2), rtol=1e-12)
    values, vectors = moments.spectrum
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose((vectors * values) @ vectors.T, np.cov(flat.T, bias=True), rtol=1e-9, atol=1e-12)


def test_moments_of_bytes_and_of_binarised_data():
    grey = np.random.default_rng(0).integers(0, 256, (400, 1, 2, 3), dtype=np.uint8)
    p = grey.reshape(400, 6) / 255
    for binarize in (False, True):
        moments = Moments(grey, binarize)
        np.testing.assert_allclose(moments.mean.ravel(), p.mean(0), rtol=1e-12)
        second = p.T @ p / 400  # E[xxᵀ]; x² = x of a binary x
        if binarize:
            np.fill_diagonal(second, p.mean(0))
        values, vectors = moments.spectrum
        np.testing.assert_allclose((vectors * values) @ vectors.T, second - np.outer(p.mean(0), p.mean(0)), atol=1e-12)


def test_moments_are_computed_when_asked_for_and_once(gaussian):
    moments = Moments(gaussian)
    assert set(vars(moments)) == {"x", "binarize"}
    assert moments.spectrum is moments.spectrum
    assert moments.mean is moments.mean
    assert measured(mapped((3,), np.eye(3)), gaussian, "identity") == [{}]  # none are given


def test_a_worker_keeps_the_moments_of_each_data_set():
    worker = Worker("suite", torch.device("cpu"), (), False, False)
    digits = data.load(data.describe("digits"))
    runs = mapped((1, 8, 8), np.eye(64))
    kept = []
    for name in ("reconstruction", "identity", "denoising_gap", "denoising_gap"):
        (entries,), *_ = worker.measure(runs, digits, [(metric(name), metric(name).options())])
        assert entries
        (moments,) = worker.holding.moments.values()
        kept.append((moments, set(vars(moments)) - {"x", "binarize"}, vars(moments).get("spectrum")))
    assert [names for _, names, _ in kept] == [set(), {"mean"}, {"mean", "spectrum"}, {"mean", "spectrum"}]
    assert kept[2][2] is kept[3][2]
    assert moments.x is digits.train.x


# ---- the identity -----------------------------------------------------------------------------------------------


def wiener(sigma2: float, latent: int = 5, mean: np.ndarray | float = 0.0, count: int = 1):
    """Runs of the best linear denoiser Σ(Σ + σ²I)⁻¹ of the Gaussian, through more units than it needs."""
    gain = LAMBDA / (LAMBDA + sigma2)
    enc = np.concatenate([np.diag(gain), np.ones((latent - 3, 3))])
    dec = np.concatenate([np.eye(3), np.zeros((3, latent - 3))], axis=1)
    sizes = AE.sizes(latent=latent)
    return pack(AE, [affine(AE, (3,), sizes, enc=enc, dec=dec, dec_bias=(1 - gain) * mean)] * count, sizes)


def test_the_overcomplete_denoiser_is_no_identity(gaussian):
    """σ² = .5: ‖D∘E − I‖²_F = .56790, over ‖v‖² = 3; on the data Σ λ(σ²/(λ + σ²))²/Σ λ."""
    away = 0.5 / (LAMBDA + 0.5)
    assert (away**2).sum() == pytest.approx(0.56790, abs=1e-5)
    runs = measured(wiener(0.5, count=8), gaussian, "identity", train=gaussian)
    off = [entries["identity_off_data"]["value"] for entries in runs]
    assert np.mean(off) == pytest.approx(0.56790 / 3, rel=0.01)
    assert len(set(off)) == 8
    on = (LAMBDA * away**2).sum() / LAMBDA.sum()
    assert runs[0]["identity_on_data"]["value"] == pytest.approx(on, rel=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_scale_is_that_of_the_inputs_about_the_mean(gaussian, scale):
    """Shifted data and map: nothing changes. r(x) = Wx without the shift errs by ‖(W − I)m‖² more."""
    shift = np.array([1.0, -2.0, 3.0])
    x = (gaussian + shift).astype(np.float32)
    (entries,) = measured(wiener(0.5, mean=shift), x, "identity", train=x, scale=scale)
    assert entries["identity_off_data"]["value"] == pytest.approx(0.56790 / 3, rel=0.03)
    (entries,) = measured(wiener(0.5), x, "identity", train=x, scale=scale)
    more = ((0.5 / (LAMBDA + 0.5) * shift) ** 2).sum() / (3 * scale**2)
    assert entries["identity_off_data"]["value"] == pytest.approx(0.56790 / 3 + more, rel=0.05)


def test_a_copy_is_0_and_the_mean_is_1():
    train = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32) + 3
    test = np.random.default_rng(1).standard_normal((40, 4)).astype(np.float32) + 3
    found = numbers(measured(mapped((4,), np.eye(4)), test, "identity", train=train)[0])
    assert found == pytest.approx({"identity_on_data": 0, "identity_off_data": 0}, abs=1e-6)
    constant = mapped((4,), np.zeros((4, 4)), train.mean(0))  # the training part's mean, not the evaluated one's
    found = numbers(measured(constant, test, "identity", train=train)[0])
    assert found == pytest.approx({"identity_on_data": 1, "identity_off_data": 1}, rel=1e-5)
    same = np.broadcast_to(train.mean(0), (5, 4)).copy()
    assert measured(mapped((4,), np.eye(4)), same, "identity", train=same)[0]["identity_on_data"]["value"] is None


# ---- the denoising gap ------------------------------------------------------------------------------------------


def test_the_gap_of_the_best_linear_denoiser_is_none(gaussian):
    """Fitted on the same data at the same σ: 0 dB, draw by draw; it is of rank 3 whatever its latents."""
    sigma = math.sqrt(0.5)
    name = f"denoising_gap_db_{sigma:g}"
    (entries,) = measured(wiener(0.5), gaussian, "denoising_gap", train=gaussian, sigmas=(sigma,))
    assert set(entries) == {name}
    assert entries[name]["value"] == pytest.approx(0, abs=1e-4)


def test_a_copy_lacks_the_whole_gain(gaussian):
    """2.009 dB at σ² = .5, by 16 draws of 3 × 4096 normals."""
    sigma = math.sqrt(0.5)
    runs = measured(mapped((3,), np.eye(3), count=16), gaussian, "denoising_gap", train=gaussian, sigmas=(sigma,))
    gaps = [entry["value"] for entries in runs for entry in entries.values()]
    assert np.mean(gaps) == pytest.approx(-2.009, abs=0.025)


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_the_linear_denoiser_has_the_rank_of_the_code(gaussian, latent):
    """A net that answers the mean errs by tr Σ: its gap is 10 log₁₀(error of the denoiser of this rank / tr Σ)."""
    sizes = AE.sizes(latent=latent)
    runs = pack(AE, [affine(AE, (3,), sizes)] * 8, sizes)
    found = measured(runs, gaussian, "denoising_gap", train=gaussian, sigmas=(0.5, 1.0))
    for sigma in (0.5, 1.0):
        exact = 10 * math.log10(oracles.wiener(LAMBDA, sigma, latent)[0] / LAMBDA.sum())
        gaps = [entries[f"denoising_gap_db_{sigma:g}"]["value"] for entries in found]
        assert np.mean(gaps) == pytest.approx(exact, abs=0.05)


def test_the_gap_is_the_difference_of_gains_with_the_trained_filter():
    """Digits: `wiener`, fitted by another library, has no gap at its own σ; and noisier elsewhere."""
    x = oracles.training_points("digits")
    train, test = x[:1000], x[1000:]
    v = variant("wiener")
    sizes = v.sizes(latent=8)
    net = build(v, (1, 8, 8), Linear(), sizes, 0)
    hp = v.hyper(torch.tensor(0.25))
    fitted = v.fit(net, torch.from_numpy(train.astype(np.float64)), hp)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(fitted[name])
    (entries,) = measured(pack(v, [net], sizes, sigma=0.25), test, "denoising_gap", train=train)
    found = numbers(entries)
    assert found["denoising_gap_db_0.25"] == pytest.approx(0, abs=2e-4)
    assert found["denoising_gap_db_1"] < -1


def test_data_too_wide_for_a_covariance_give_no_gap(gaussian, monkeypatch):
    monkeypatch.setattr(linear, "WIDEST", 2)
    (entries,) = measured(wiener(0.5), gaussian, "denoising_gap", train=gaussian)
    assert len(entries) == 4
    assert all(entry["value"] is None for entry in entries.values())


# ---- packs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [MLP((6, 5)), Conv((2, 3))])
@pytest.mark.parametrize("name", ["errors", "ssim", "identity", "denoising_gap"])
def test_a_run_is_measured_alike_alone_and_in_a_pack(network, name):
    x = np.random.default_rng(0).random((600, 1, 8, 8), dtype=np.float32)
    v = variant("vae")
    sizes = v.sizes(latent=3)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-11)):
        nets = [doubled(build(v, (1, 8, 8), network, sizes, seed)).to(dtype) for seed in range(3)]
        for binarize in (False, True):
            together = measured(pack(v, nets, sizes), x, name, x, binarize)
            assert len({str(numbers(entries)) for entries in together}) == 3
            assert None not in numbers(together[0]).values()
            for seed, net in enumerate(nets):
                (alone,) = measured(pack(v, [net], sizes, seeds=[seed]), x, name, x, binarize)
                assert numbers(alone) == pytest.approx(numbers(together[seed]), rel=tolerance, abs=1e-2 * tolerance)
                assert errors_of(alone) == pytest.approx(errors_of(together[seed]), rel=1e-3)
