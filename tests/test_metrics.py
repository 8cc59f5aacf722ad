"""The metrics on codes and nets whose numbers are known: weights set by hand, nothing trained (../shared/TRUTH.md)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import oracles
import pytest
import torch
from oracles import linear_net, linear_vae, measure, metric, optimal_linear_vae, pack, pca, values, variant

from aebench.networks import MLP, Conv, Linear
from aebench.packing import build

AE, LINEAR_VAE = variant("ae"), variant("linear_vae")
GAUSSIAN = np.array([4.0, 1.0, 0.25])


@pytest.fixture(scope="module")
def gaussian():
    x = oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})
    np.testing.assert_allclose(pca(x).values, GAUSSIAN, rtol=1e-5)
    return x


@pytest.fixture(scope="module")
def digits():
    x = oracles.training_points("digits")
    lam = pca(x).values
    assert lam.sum() == pytest.approx(4.69328, abs=6e-6)
    errors = [lam[k:].sum() for k in (2, 10, 16, 32)]
    assert errors == pytest.approx([3.3553, 1.2286, 0.7068, 0.1579], abs=6e-5)
    return x


@pytest.fixture(scope="module")
def mnist(published):
    train, test = oracles.mnist_images(published)
    return SimpleNamespace(train=train, test=test, spectrum=oracles.mnist_spectrum(published))


def identity(d: int):
    """An autoencoder that copies: its code is its input."""
    return pack(AE, [linear_net(AE, Linear(), (d,), d, enc=np.eye(d), dec=np.eye(d))], d)


def affine(event: tuple[int, ...], W: np.ndarray, bias: np.ndarray | float = 0.0):
    """The map x -> Wx + bias, coded in as many units as x has elements."""
    d = len(W)
    return linear_net(AE, Linear(), event, d, enc=W, dec=np.eye(d), dec_bias=np.broadcast_to(bias, d))


# ---- sparsity --------------------------------------------------------------------------------------------------


def sparsity(codes: np.ndarray, **options: float):
    m = metric("sparsity")
    (entries,) = measure(identity(codes.shape[1]), codes.astype(np.float32), "sparsity", sparsity=m.options(**options))
    return entries


@pytest.mark.parametrize(
    ("code", "hoyer", "l0"),
    [
        ((0, 0, -7, 0), 1.0, 0.25),
        ((3, 3, 3, 3), 0.0, 1.0),
        ((-0.5, 0.5, 0.5, -0.5), 0.0, 1.0),
        ((3, 4, 0, 0), 2 - 7 / 5, 0.5),  # (√4 − 7/5)/(√4 − 1)
        ((1, 2, 3, 4), 2 - 10 / math.sqrt(30), 1.0),
        ((0, 0.005, 0.02, -3), 2 - 3.025 / math.sqrt(0.000025 + 0.0004 + 9), 0.5),  # cut at .01
    ],
)
def test_sparsity_of_known_codes(code, hoyer, l0):
    entries = sparsity(np.array([code, code], dtype=float))
    assert values(entries) == pytest.approx({"hoyer": hoyer, "l0_fraction": l0}, abs=2e-6)
    scaled = sparsity(1000 * np.array([code, code], dtype=float), threshold=10)
    assert values(scaled) == pytest.approx(values(entries), abs=2e-6)


def test_sparsity_of_normal_codes():
    """L0 beyond t is 2Q(t); ‖h‖₁/‖h‖₂ is independent of ‖h‖₂, so that its mean is E‖h‖₁/E‖h‖₂ exactly."""
    d, n = 64, 4000
    codes = np.random.default_rng(0).standard_normal((n, d))
    ratio = d * math.sqrt(2 / math.pi) / (math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2)))
    expected = {"hoyer": (math.sqrt(d) - ratio) / (math.sqrt(d) - 1), "l0_fraction": 0.1336}
    entries = sparsity(codes, threshold=1.5)
    for name, value in expected.items():
        assert abs(entries[name]["value"] - value) < 4 * entries[name]["standard_error"] + 5e-5, name
    spread = math.sqrt(0.1336 * (1 - 0.1336) / (n * d))
    assert entries["l0_fraction"]["standard_error"] == pytest.approx(spread, rel=0.05)
    assert sparsity(codes)["l0_fraction"]["value"] == pytest.approx(math.erfc(0.01 / math.sqrt(2)), abs=1e-3)


def test_hoyer_of_many_normal_units_tends_to_its_limit():
    m = metric("sparsity")
    codes = torch.randn(50, 40_000, generator=torch.Generator().manual_seed(0))
    hoyer = m.fn(SimpleNamespace(encode=lambda x: x), codes, {}, m.options())["hoyer"]
    assert hoyer.mean().item() * (1 - 1 / 200) == pytest.approx(0.20212, abs=5e-4)  # (√d − 1)/√d at d = 40,000


def test_hoyer_of_one_unit_is_undefined_and_says_so():
    entries = sparsity(np.array([[1.0], [2.0]]))
    assert entries["hoyer"]["value"] is None
    assert entries["l0_fraction"]["value"] == 1


# ---- reconstruction --------------------------------------------------------------------------------------------


def test_psnr_of_an_error_of_a_tenth():
    runs = pack(AE, [affine((5,), np.eye(5), 0.1)], 5)
    (entries,) = measure(runs, np.random.default_rng(0).random((40, 5), dtype=np.float32), "reconstruction")
    assert values(entries) == pytest.approx({"sse": 0.05, "mse": 0.01, "psnr": 20.0}, rel=1e-5)


def test_mse_is_averaged_over_images_before_the_logarithm():
    x = np.array([[0.1] * 4, [0.01] * 4], dtype=np.float32)
    (entries,) = measure(pack(AE, [affine((4,), np.zeros((4, 4)))], 4), x, "reconstruction")
    expected = {"sse": 0.0202, "mse": 0.00505, "psnr": -10 * math.log10(0.00505)}  # not (20 + 40)/2 dB
    assert values(entries) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_copy_has_no_error():
    x = np.random.default_rng(0).standard_normal((30, 1, 2, 3)).astype(np.float32)
    (entries,) = measure(pack(AE, [affine((1, 2, 3), np.eye(6))], 6), x, "reconstruction")
    assert entries["sse"]["value"] == 0
    assert entries["psnr"]["value"] is None  # infinite


def test_bytes_are_divided_by_255():
    x = np.random.default_rng(0).integers(0, 256, (50, 1, 2, 2), dtype=np.uint8)
    runs = pack(AE, [affine((1, 2, 2), 0.5 * np.eye(4), 0.25)], 4)
    (entries,) = measure(runs, x, "reconstruction")
    expected = ((x / 255 / 2 - 0.25) ** 2).mean()
    assert entries["mse"]["value"] == pytest.approx(expected, rel=1e-5)
    assert entries["sse"]["value"] == pytest.approx(4 * expected, rel=1e-5)


def test_a_bernoulli_decoder_reconstructs_probabilities():
    v = variant("ae")
    net = build(v, (2,), Linear(), v.sizes(latent=2, reconstruction="bce"), 0)
    net.load_state_dict(affine((2,), np.eye(2)).state_dict())
    x = np.array([[0.0, 1.0], [2.0, -1.0]], dtype=np.float32)
    (entries,) = measure(pack(v, [net], 2), x, "reconstruction")
    p = 1 / (1 + np.exp(-x.astype(float)))
    assert entries["sse"]["value"] == pytest.approx(((x - p) ** 2).sum(axis=1).mean(), rel=1e-5)


def test_standard_errors_are_those_of_the_mean():
    x = np.random.default_rng(0).standard_normal((2000, 3)).astype(np.float32)
    (entries,) = measure(pack(AE, [affine((3,), np.zeros((3, 3)))], 3), x, "reconstruction")
    sse = (x.astype(float) ** 2).sum(axis=1)
    assert entries["sse"]["value"] == pytest.approx(sse.mean(), rel=1e-6)
    assert entries["sse"]["standard_error"] == pytest.approx(sse.std() / math.sqrt(2000), rel=1e-3)
    assert entries["mse"]["standard_error"] == pytest.approx(sse.std() / 3 / math.sqrt(2000), rel=1e-3)
    assert entries["sse"]["standard_error"] == pytest.approx(math.sqrt(6 / 2000), rel=0.1)  # χ² of 3 degrees
    assert entries["sse"]["n"] == 2000


@pytest.mark.parametrize(
    ("k", "train", "test"), [(2, 43.8669, 43.6449), (10, 26.9873, 26.7139), (30, 14.2071, 13.8663)]
)
def test_pca_of_mnist(mnist, k, train, test):
    U, mean = mnist.spectrum.vectors[:, :k], mnist.spectrum.mean
    net = linear_net(AE, Linear(), (1, 28, 28), k, enc=U.T, enc_bias=-U.T @ mean, dec=U, dec_bias=mean)
    for images, error in ((mnist.train, train), (mnist.test, test)):
        (entries,) = measure(pack(AE, [net], k), images, "reconstruction")
        assert entries["sse"]["value"] == pytest.approx(error, abs=1e-4)
        assert entries["psnr"]["value"] == pytest.approx(10 * math.log10(784 / error), abs=1e-4)


# ---- the energy view -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("b", [0.02, 0.3, 1.0, 1.9, 2.1, 7.9, 8.1])
def test_energies_of_the_optimal_linear_vae(gaussian, b):
    """Twelve runs of one net differ in their noise alone: C is exact within the errors it states, the rest exact."""
    spectrum = oracles.Spectrum(GAUSSIAN, np.eye(3), np.zeros(3))
    net = linear_net(LINEAR_VAE, Linear(), (3,), 3, **optimal_linear_vae(spectrum, 3, b))
    runs = measure(pack(LINEAR_VAE, [net] * 12, 3), gaussian, "energy", "active_units", "reconstruction")
    exact = linear_vae(GAUSSIAN, 3, b)
    for entries in runs:
        found = values(entries)
        for name, value in (("U", exact.U), ("S", exact.S), ("V", exact.V), ("kl", exact.kl), ("sse", exact.sse)):
            assert found[name] == pytest.approx(value, rel=2e-5, abs=2e-6), name
        assert found["active_units"] == exact.active
        assert exact.active == np.count_nonzero(b / 2 < GAUSSIAN)
        assert found["U"] + found["S"] == pytest.approx(-found["V"] / 2, rel=1e-5, abs=1e-6)
        assert abs(found["C"] - exact.C) < 4.5 * entries["C"]["standard_error"]
    C = np.array([entries["C"]["value"] for entries in runs])
    assert C.mean() == pytest.approx(exact.C, rel=0.015)
    if exact.active:
        assert len(set(C)) == 12  # each seed draws its own ξ


def test_the_numbers_of_truth_at_half(gaussian):
    """c' = ½: KL = 1.38629, C = 1.25, Var μ = .875/.5/0."""
    spectrum = oracles.Spectrum(GAUSSIAN, np.eye(3), np.zeros(3))
    net = linear_net(LINEAR_VAE, Linear(), (3,), 3, **optimal_linear_vae(spectrum, 3, 1.0))
    runs = pack(LINEAR_VAE, [net] * 12, 3)
    found = [values(e) for e in measure(runs, gaussian, "energy")]
    assert found[0]["kl"] == pytest.approx(1.38629, abs=2e-5)
    assert np.mean([f["C"] for f in found]) == pytest.approx(1.25, abs=0.02)
    codes = runs.model(0).encode(torch.from_numpy(gaussian)).detach().numpy()
    np.testing.assert_allclose(codes.var(axis=0), [0.875, 0.5, 0], atol=1e-5)


def test_sampled_error_has_the_noise_of_the_latent():
    """D(z) = z at x = 0: ‖σ⊙ξ‖² has mean Σσ² and variance 2Σσ⁴, which the standard error shows."""
    s2, n = np.array([0.25, 2.0]), 20_000
    net = linear_net(LINEAR_VAE, Linear(), (2,), 2, enc_bias=[0, 0, *np.log(s2)], dec=np.eye(2))
    (entries,) = measure(pack(LINEAR_VAE, [net], 2), np.zeros((n, 2), dtype=np.float32), "energy")
    assert entries["C"]["standard_error"] == pytest.approx(math.sqrt(2 * (s2**2).sum() / n), rel=0.05)
    assert abs(entries["C"]["value"] - 2.25) < 4 * entries["C"]["standard_error"]
    assert entries["U"]["value"] == 0
    assert entries["V"]["value"] == pytest.approx(np.log(s2).sum(), rel=1e-6)
    assert entries["S"]["value"] == pytest.approx(0.5 * (s2 - np.log(s2) - 1).sum(), rel=1e-6)


def test_an_active_unit_is_one_whose_mean_varies():
    """Variances .0099, .0101 and 1 of μ; a large constant mean is no activity, nor is a wide posterior."""
    x = oracles.training_points({"name": "gaussian", "eigenvalues": [1.0, 1.0, 1.0]})
    enc = np.zeros((8, 3))
    enc[[0, 1, 2], [0, 1, 2]] = np.sqrt([0.0099, 0.0101, 1.0])
    enc[[4, 5, 6, 7]] = 0.3
    net = linear_net(LINEAR_VAE, Linear(), (3,), 4, enc=enc, enc_bias=[3, 3, 3, 50, 1, 1, 1, 1])
    (entries,) = measure(pack(LINEAR_VAE, [net], 4), x, "active_units")
    assert entries["active_units"]["value"] == 2
    m = metric("active_units")
    (entries,) = measure(pack(LINEAR_VAE, [net], 4), x, "active_units", active_units=m.options(variance=0.0098))
    assert entries["active_units"]["value"] == 3


def test_a_plain_autoencoder_has_no_energies():
    (entries,) = measure(identity(3), np.zeros((5, 3), dtype=np.float32), "energy", "active_units", "reconstruction")
    assert set(entries) == {"sse", "mse", "psnr"}


@pytest.mark.parametrize(
    ("b", "latent", "active", "C", "kl", "at_mean", "test_C", "test_kl"),
    [
        (1.0, 23, 22, 28.6965, 10.1743, 22.9554, 28.3798, 10.2386),
        (0.1, 102, 101, 9.4993, 74.4813, 6.2876, 9.3495, 74.1004),
    ],
)
def test_the_optimal_linear_vae_of_mnist(mnist, b, latent, active, C, kl, at_mean, test_C, test_kl):
    assert (mnist.spectrum.values > b / 2).sum() == latent
    weights = optimal_linear_vae(mnist.spectrum, latent, b)
    runs = pack(LINEAR_VAE, [linear_net(LINEAR_VAE, Linear(), (1, 28, 28), latent, **weights)], latent)
    (train,) = measure(runs, mnist.train, "energy", "reconstruction", "active_units")
    (test,) = measure(runs, mnist.test, "energy")
    assert train["active_units"]["value"] == active
    assert train["kl"]["value"] == pytest.approx(kl, abs=2e-4)
    assert train["sse"]["value"] == pytest.approx(at_mean, abs=2e-4)
    assert test["kl"]["value"] == pytest.approx(test_kl, abs=2e-4)
    for entries, value in ((train, C), (test, test_C)):
        # the noise of ξ alone: ‖W(σ⊙ξ)‖² has mean c'·n and standard deviation at most C's own
        assert abs(entries["C"]["value"] - value) < 3 * entries["C"]["standard_error"]
        assert entries["C"]["value"] == pytest.approx(value, rel=3e-3)


# ---- denoising -------------------------------------------------------------------------------------------------


def gain_of(entries) -> float:
    (entry,) = entries.values()
    return entry["value"]


def test_denoising_gain_of_a_linear_map(digits):
    """E‖x − W(x + ε) − b‖² = E‖x − Wx − b‖² + σ²‖W‖²_F for any W (Bishop), here of rank 10 and no good."""
    rng = np.random.default_rng(0)
    enc, dec = rng.standard_normal((10, 64)) / 8, rng.standard_normal((64, 10)) / 8
    bias = digits.reshape(-1, 64).mean(axis=0)
    net = linear_net(AE, Linear(), (1, 8, 8), 10, enc=enc, dec=dec, dec_bias=bias)
    runs = measure(pack(AE, [net] * 8, 10), digits, "denoising")
    assert set(runs[0]) == {f"denoising_gain_db_{s}" for s in ("0.1", "0.25", "0.5", "1")}
    for sigma in (0.1, 0.25, 0.5, 1):
        expected = 10 * math.log10(64 * sigma**2 / oracles.bishop(net, digits, sigma))
        found = np.array([entries[f"denoising_gain_db_{sigma}"]["value"] for entries in runs])
        # E‖ε‖² over 1797 × 64 normals is known to .42 %, .018 dB
        assert abs(found - expected).max() < 0.08
        assert found.mean() == pytest.approx(expected, abs=0.03)


def test_a_copy_gains_nothing(digits):
    (entries,) = measure(pack(AE, [affine((1, 8, 8), np.eye(64))], 64), digits, "denoising")
    for entry in entries.values():
        assert entry["value"] == pytest.approx(0, abs=1e-5)


def test_noise_is_not_clipped():
    """x̂ = 2x̃ at x = 0: the error is 4σ²D, a gain of −6.02 dB; clipped to [0, 1] it would be another."""
    runs = pack(AE, [affine((4,), 2 * np.eye(4))], 4)
    (entries,) = measure(runs, np.zeros((500, 4), dtype=np.float32), "denoising")
    for entry in entries.values():
        assert entry["value"] == pytest.approx(-20 * math.log10(2), abs=1e-4)


def test_gain_of_the_best_linear_denoiser_of_gaussian_data(gaussian):
    """σ² = .5: 2.009 dB. The mean of 16 draws of 3 × 4096 normals: known to .02 dB."""
    sigma = math.sqrt(0.5)
    assert oracles.wiener(GAUSSIAN, sigma) == pytest.approx((0.94444, 2.009), abs=2e-4)
    net = affine((3,), np.diag(GAUSSIAN / (GAUSSIAN + 0.5)))
    options = metric("denoising").options(sigmas=(sigma,))
    runs = measure(pack(AE, [net] * 16, 3), gaussian, "denoising", denoising=options)
    assert np.mean([gain_of(entries) for entries in runs]) == pytest.approx(2.009, abs=0.025)


@pytest.mark.parametrize(
    ("sigma", "train", "test"),
    [(0.1, 4.671, 4.694), (0.25, 7.884, 7.925), (0.5, 10.957, 11.006), (1.0, 14.604, 14.642)],
)
def test_gain_of_the_best_linear_denoiser_of_mnist(mnist, sigma, train, test):
    lam, U, mean = mnist.spectrum
    lam = np.maximum(lam, 0)
    assert oracles.wiener(lam, sigma)[1] == pytest.approx(train, abs=6e-4)
    W = (U * (lam / (lam + sigma**2))) @ U.T
    net = affine((1, 28, 28), W, mean - W @ mean)
    exact = 10 * math.log10(784 * sigma**2 / oracles.bishop(net, mnist.test / 255, sigma))
    assert exact == pytest.approx(test, abs=6e-4)
    # few directions pass the filter: one draw of the noise has a standard deviation of .0074 dB at σ = 1, less below
    options = metric("denoising").options(sigmas=(sigma,))
    gains = [gain_of(measure(pack(AE, [net], 784, seeds=[seed]), mnist.test, "denoising", denoising=options)[0])
             for seed in range(3)]  # fmt: skip
    assert np.mean(gains) == pytest.approx(test, abs=4 * 0.0074 / math.sqrt(3))


# ---- size ------------------------------------------------------------------------------------------------------


def size(name: str, event: tuple[int, ...], network, latent: int):
    v = variant(name)
    net = build(v, event, network, v.sizes(latent=latent), 0)
    (entries,) = measure(pack(v, [net], latent), np.zeros((3, *event), dtype=np.float32), "size")
    return values(entries)


def test_size_of_an_mlp_by_hand():
    """4-5-7-3 and back; a multiplication and its addition are two operations, biases and ReLUs none."""
    macs = 4 * 5 + 5 * 7 + 7 * 3
    parameters = (4 * 5 + 5) + (5 * 7 + 7) + (7 * 3 + 3) + (3 * 7 + 7) + (7 * 5 + 5) + (5 * 4 + 4)
    expected = {"parameters": parameters, "flops_encode": 2 * macs, "flops_decode": 2 * macs}
    assert size("ae", (4,), MLP((5, 7)), 3) == expected
    twice = {"parameters": parameters + 7 * 3 + 3, "flops_encode": 2 * (macs + 7 * 3), "flops_decode": 2 * macs}
    assert size("vae", (4,), MLP((5, 7)), 3) == twice  # the encoder gives μ and ln σ²


def test_size_of_convolutions_by_hand():
    """1×8×8 -> 2×4×4 -> 3×2×2 -> 2 by 4 × 4 kernels of stride 2, and back."""
    macs = 16 * (2 * 16 * 1) + 4 * (3 * 16 * 2) + 12 * 2
    encoder = (2 * 16 + 2) + (3 * 2 * 16 + 3) + (12 * 2 + 2)
    decoder = (2 * 12 + 12) + (3 * 2 * 16 + 2) + (2 * 16 + 1)
    expected = {"parameters": encoder + decoder, "flops_encode": 2 * macs, "flops_decode": 2 * macs}
    assert size("ae", (1, 8, 8), Conv((2, 3)), 2) == expected


# ---- the evaluator ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [MLP((6, 5)), Conv((2, 3))])
def test_a_run_is_measured_alike_alone_and_in_a_pack(network):
    x = np.random.default_rng(0).random((700, 1, 8, 8), dtype=np.float32)
    v = variant("vae")
    names = ("reconstruction", "energy", "active_units", "sparsity", "denoising", "size")
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-12)):
        nets = [build(v, (1, 8, 8), network, v.sizes(latent=3), seed).to(dtype) for seed in range(4)]
        with torch.no_grad():
            for net in nets:
                for parameter in net.parameters():
                    parameter *= 2  # else untrained codes hardly vary
        together = measure(pack(v, nets, 3), x, *names)
        pair = measure(pack(v, nets[2:], 3, seeds=[2, 3]), x, *names)
        for seed, net in enumerate(nets):
            (alone,) = measure(pack(v, [net], 3, seeds=[seed]), x, *names)
            assert values(alone) == pytest.approx(values(together[seed]), rel=tolerance)
            errors = {name: entry["standard_error"] for name, entry in alone.items() if "standard_error" in entry}
            assert errors == pytest.approx({name: together[seed][name]["standard_error"] for name in errors}, rel=1e-3)
        assert values(pair[1]) == pytest.approx(values(together[3]), rel=tolerance)


def test_every_number_says_its_unit_direction_and_version():
    v = variant("vae")
    net = build(v, (4,), MLP((5,)), v.sizes(latent=2), 0)
    x = np.random.default_rng(0).random((50, 4), dtype=np.float32)
    names = ("reconstruction", "energy", "active_units", "sparsity", "denoising", "throughput", "size")
    (entries,) = measure(pack(v, [net], 2), x, *names)
    for name, entry in entries.items():
        assert entry["unit"], name
        assert entry["better"] in {"lower", "higher", "neither"}, name
        assert isinstance(entry["version"], int), name
    for name in ("encode_latency_ms", "decode_latency_ms", "encode_examples_per_s", "decode_examples_per_s"):
        assert entries[name]["value"] > 0
