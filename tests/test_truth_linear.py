"""Trained linear autoencoders against PCA, probabilistic PCA and the Wiener filter (../shared/TRUTH.md, section 2).

The optimum is a floor, exact on the training points: a trained net lies above it by what the optimiser left, at most
the tolerance stated in each test, and never below it by more than float32's rounding. The learning rate falls to
nothing, else the gradient's noise would be measured. Expectations over noise are done by hand on the trained weights
(oracles), so that tolerances hold convergence alone; the metrics, which sample, must agree within their own errors.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from oracles import bishop, cooled, energies_of, linear_vae, measure, metric, pca, rate, wiener
from scipy.linalg import subspace_angles
from torch.distributions import MultivariateNormal

from aebench.feed import Examples
from aebench.networks import Linear
from aebench.optim import Descent
from aebench.packing import Runs
from aebench.train import Budget, Setting, train

GAUSSIAN = np.array([4.0, 1.0, 0.25])


def fit(
    name: str, x: np.ndarray, latent: int, hypers: list[dict[str, float]], lr: float, steps: int, batch: int
) -> Runs:
    """All settings in one pack, the seeds 0, 1, ..."""
    v = oracles.variant(name)
    trained = train(
        v,
        Linear(),
        v.sizes(latent=latent),
        [Setting(seed, hyper, Descent(lr=cooled(lr))) for seed, hyper in enumerate(hypers)],
        Budget(steps=steps, batch=batch),
        Examples(torch.from_numpy(x)),
    )
    assert trained.diverged == [None] * len(hypers)
    return trained.runs


def parameters(runs: Runs, run: int) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in runs.model(run).net.named_parameters()}


def sse_of(runs: Runs, x: np.ndarray) -> list[float]:
    return [entries["sse"]["value"] for entries in measure(runs, x, "reconstruction")]


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    return oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return oracles.training_points("digits")


@pytest.fixture(scope="module")
def centred(digits) -> np.ndarray:
    return digits - digits.mean(axis=0)


# ---- linear autoencoder = PCA ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "error"), [(2, 3.3553), (10, 1.2286)])
def test_linear_autoencoder_is_pca_of_the_digits(digits, k, error):
    """Converged to 1e-4 of the error and half a degree; the mean is learned, not taken away."""
    spectrum = pca(digits)
    assert spectrum.values[k:].sum() == pytest.approx(error, abs=6e-5)
    runs = fit("linear_ae", digits, k, [{}, {}], lr=5e-2, steps=2000, batch=300)
    principal = spectrum.vectors[:, :k]
    scores = (digits.reshape(-1, 64) - spectrum.mean) @ principal
    for run, sse in enumerate(sse_of(runs, digits)):
        excess = sse / spectrum.values[k:].sum() - 1
        assert -1e-5 < excess < 1e-4
        weights = parameters(runs, run)
        enc, dec = weights["encoder.1.weight"], weights["decoder.0.weight"]
        assert np.degrees(subspace_angles(dec, principal).max()) < 0.5
        # pixels that never vary leave their encoder weights free, so look at codes and not at weights
        codes = (digits.reshape(-1, 64) - spectrum.mean) @ enc.T
        assert np.degrees(subspace_angles(codes, scores).max()) < 0.5
        np.testing.assert_allclose(codes @ dec.T, scores @ principal.T, atol=0.05)  # UUᵀx


def test_linear_autoencoder_is_pca_of_mnist(published):
    """k = 10 on all 60,000 images, train mean removed: 26.9873, on test 26.7139; converged to 1e-3 and 3 degrees.

    λ₁₀/λ₁₁ is 1.117: the last direction turns slowest.
    """
    train_images, test_images = oracles.mnist_images(published)
    spectrum = oracles.mnist_spectrum(published)
    mean = spectrum.mean.astype(np.float32)
    x, test = (images.reshape(-1, 784) / np.float32(255) - mean for images in (train_images, test_images))
    runs = fit("linear_ae", x, 10, [{}], lr=1e-2, steps=1500, batch=500)
    (sse,), (test_sse,) = sse_of(runs, x), sse_of(runs, test)
    assert -1e-5 < sse / 26.9873 - 1 < 1e-3
    assert test_sse == pytest.approx(26.7139, rel=1e-3)
    angles = subspace_angles(parameters(runs, 0)["decoder.0.weight"], spectrum.vectors[:, :10])
    assert np.degrees(angles.max()) < 3


# ---- linear VAE = probabilistic PCA ----------------------------------------------------------------------------


def sweep(x: np.ndarray, latent: int, weights: list[float], lr: float, steps: int, batch: int) -> SimpleNamespace:
    runs = fit("linear_vae", x, latent, [{"beta": b} for b in weights], lr=lr, steps=steps, batch=batch)
    exact = [energies_of(runs.model(run).net, x) for run in range(len(weights))]
    return SimpleNamespace(
        x=x,
        lam=pca(x).values,
        latent=latent,
        runs=runs,
        exact=dict(zip(weights, exact, strict=True)),
        found=dict(zip(weights, measure(runs, x, "energy", "active_units", "reconstruction"), strict=True)),
    )


GAUSSIAN_WEIGHTS = [0.1, 0.3, 1.0, 1.6, 2.4, 6.0, 6.8, 9.2]
"""c' = b/2 below, between and above the eigenvalues 4, 1 and .25, and 15 % on either side of the largest."""
DIGITS_WEIGHTS = [0.05, 0.25, 0.65, 1.6]
"""c' in the widest gaps of the spectrum: 12 (all), 10, 4 and no active units."""


@pytest.fixture(scope="module")
def on_gaussian(gaussian) -> SimpleNamespace:
    return sweep(gaussian, 3, GAUSSIAN_WEIGHTS, lr=3e-2, steps=1500, batch=2048)


@pytest.fixture(scope="module")
def on_digits(centred) -> SimpleNamespace:
    return sweep(centred, 12, DIGITS_WEIGHTS, lr=3e-2, steps=2000, batch=900)


CASES = [("on_gaussian", b) for b in GAUSSIAN_WEIGHTS] + [("on_digits", b) for b in DIGITS_WEIGHTS]
ALL = pytest.mark.parametrize(("where", "b"), CASES)


@pytest.fixture
def case(request, where, b) -> Any:
    """What was trained on these points, its energies with the expectation over ξ by hand, the metrics, the optimum."""
    s = request.getfixturevalue(where)
    return SimpleNamespace(exact=s.exact[b], found=s.found[b], truth=linear_vae(s.lam, s.latent, b), b=b, **vars_of(s))


def vars_of(s: SimpleNamespace) -> dict[str, Any]:
    return {"lam": s.lam, "latent": s.latent}


@ALL
def test_loss_reaches_the_optimum_and_no_less(case):
    """SSE + b·KL: within 3e-4 (digits: 1e-3) above the minimum over all linear VAEs."""
    excess = case.exact.loss(case.b) / case.truth.loss(case.b) - 1
    assert -1e-5 < excess < (3e-4 if len(case.lam) == 3 else 1e-3)


@ALL
@pytest.mark.parametrize("term", ["C", "U", "S", "V", "kl", "sse"])
def test_energies_are_those_of_probabilistic_pca(case, term):
    """Each term within 1 %, or .006 nats (V .015) where it is nearly 0.

    The loss is flat at its minimum: an excess of 1e-4 moves a term by about its root, a percent.
    """
    near_zero = 0.015 if term == "V" else 0.006
    assert getattr(case.exact, term) == pytest.approx(getattr(case.truth, term), rel=0.01, abs=near_zero)


@ALL
def test_the_metrics_agree_with_expectations_done_by_hand(case):
    for term in ("U", "S", "V", "kl", "sse"):
        assert case.found[term]["value"] == pytest.approx(getattr(case.exact, term), rel=1e-4, abs=1e-5)
    assert abs(case.found["C"]["value"] - case.exact.C) < 4 * case.found["C"]["standard_error"]
    assert case.found["active_units"]["value"] == case.exact.active


@ALL
def test_units_collapse_at_half_the_weight(case):
    """A unit is active iff λᵢ > b/2."""
    assert case.truth.active == np.count_nonzero(case.lam[: case.latent] > case.b / 2)
    assert case.found["active_units"]["value"] == case.truth.active


@ALL
def test_s_plus_u_is_minus_half_v(case):
    """At a stationary point E[μᵢ² + σᵢ²] = 1."""
    U, S, V = (case.found[term]["value"] for term in ("U", "S", "V"))
    assert pytest.approx(-V / 2, rel=0.01, abs=0.004) == S + U


@ALL
def test_kl_meets_the_rate_of_its_distortion(case):
    """KL ≥ R(C) by reverse water-filling for any linear VAE, and the optimum meets it where no eigenvalue > c' is left
    out for want of latents."""
    gap = case.exact.kl - rate(case.lam, case.exact.C)
    assert gap > -1e-6
    if case.lam[case.latent :].max(initial=0) < case.b / 2:
        assert gap < 0.005 * case.exact.kl + 0.003


def test_the_optimum_meets_the_rate_exactly():
    for b in (0.1, 1.0, 2.4, 7.2):
        truth = linear_vae(GAUSSIAN, 3, b)
        assert truth.kl == pytest.approx(rate(GAUSSIAN, truth.C), abs=1e-9)
    assert linear_vae(GAUSSIAN, 3, 1.0)[:5] == pytest.approx((1.25, 0.6875, 0.69879, -2.77259, 1.38629), abs=6e-6)


def test_the_bound_is_tight_at_weight_one(on_gaussian):
    """b = 1, c = ½: SSE + KL + (D/2) ln 2πc is −ln p(x) of the net's own model N(b, WWᵀ + ½I), from above."""
    weights = parameters(on_gaussian.runs, GAUSSIAN_WEIGHTS.index(1.0))
    W, bias = (torch.from_numpy(weights[f"decoder.0.{name}"]) for name in ("weight", "bias"))
    model = MultivariateNormal(bias, W @ W.T + 0.5 * torch.eye(3))
    nll = -model.log_prob(torch.from_numpy(on_gaussian.x).double()).mean().item()
    bound = on_gaussian.exact[1.0].loss(1.0) + 1.5 * math.log(math.pi)
    assert 0 < bound - nll < 1e-3
    closed = 1.5 * math.log(math.pi) + 2 * 0.5 + 0.25 + 0.5 * (math.log(8) + math.log(2))
    assert nll == pytest.approx(closed, abs=1e-3)


# ---- linear denoiser = Wiener filter ---------------------------------------------------------------------------


def gain(runs: Runs, run: int, x: np.ndarray, sigma: float) -> float:
    options = metric("denoising").options(sigmas=(sigma,))
    (entry,) = measure(runs, x, "denoising", denoising=options)[run].values()
    return entry["value"]


@pytest.mark.parametrize("latent", [2, 3])
def test_linear_denoiser_of_gaussian_data_is_the_wiener_filter(gaussian, latent):
    """σ² = .1, .5, 1: the error within 3e-4 above its minimum, the gain within .1 dB of sampling."""
    sigmas = [math.sqrt(s2) for s2 in (0.1, 0.5, 1.0)]
    assert wiener(GAUSSIAN, sigmas[1]) == pytest.approx((0.94444, 2.009), abs=2e-4)
    assert wiener(GAUSSIAN, sigmas[1], rank=2)[0] == pytest.approx(2 / 4.5 + 0.5 / 1.5 + 0.25)
    runs = fit("denoising_ae", gaussian, latent, [{"sigma": s} for s in sigmas], lr=3e-2, steps=1500, batch=2048)
    for run, sigma in enumerate(sigmas):
        error, decibel = wiener(GAUSSIAN, sigma, rank=latent)
        assert -1e-5 < bishop(runs.model(run).net, gaussian, sigma) / error - 1 < 3e-4
        assert gain(runs, run, gaussian, sigma) == pytest.approx(decibel, abs=0.1)
        weights = parameters(runs, run)
        W = weights["decoder.0.weight"] @ weights["encoder.1.weight"]
        kept = np.where(np.arange(3) < latent, GAUSSIAN / (GAUSSIAN + sigma**2), 0)
        np.testing.assert_allclose(W, np.diag(kept), atol=0.015)
        if latent == 3 and run == 1:
            assert ((W - np.eye(3)) ** 2).sum() == pytest.approx(0.56790, rel=0.01)


def test_linear_denoiser_of_the_digits_is_the_wiener_filter(centred):
    """Rank 10: the error within 2e-3 above its minimum, the gain within .08 dB of sampling."""
    lam, sigmas = pca(centred).values, [0.1, 0.25, 0.5, 1.0]
    runs = fit("denoising_ae", centred, 10, [{"sigma": s} for s in sigmas], lr=3e-2, steps=1500, batch=600)
    for run, sigma in enumerate(sigmas):
        error, decibel = wiener(lam, sigma, rank=10)
        assert -1e-5 < bishop(runs.model(run).net, centred, sigma) / error - 1 < 2e-3
        assert gain(runs, run, centred, sigma) == pytest.approx(decibel, abs=0.08)
