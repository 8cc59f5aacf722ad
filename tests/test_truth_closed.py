"""What has a closed form, fitted or known: PCA, probabilistic PCA, the Wiener filter, masking (../shared/TRUTH.md).

The fitted variants go through the training loop as every run does, on uint8 images where the data are such. Their
maps are read off the model from outside, as f(0) and f(eᵢ) − f(0), and errors follow from these by algebra, so that
what is compared has no noise and the tolerance is the last printed digit.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from oracles import cooled, wiener
from torch.distributions import MultivariateNormal

from aebench import closed_forms, losses
from aebench.feed import Examples
from aebench.networks import Linear
from aebench.optim import Descent
from aebench.train import Budget, Setting, train
from aebench.variant import Model

GAUSSIAN = np.array([4.0, 1.0, 0.25])
SIGMAS = (0.1, 0.25, 0.5, 1.0)


def fitted(name: str, x: np.ndarray, latent: int, *hypers: dict[str, float], precision: Any = "fp64") -> list[Model]:
    """A model for each setting."""
    v = oracles.variant(name)
    settings = [Setting(0, hyper) for hyper in hypers or ({},)]
    examples = Examples(torch.from_numpy(x))
    runs = train(v, Linear(), v.sizes(latent=latent), settings, Budget(steps=1, precision=precision), examples).runs
    return [runs.model(run) for run in range(len(settings))]


def values(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).double() / (255 if x.dtype == np.uint8 else 1)


@torch.no_grad()
def affine(model: Model, event: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x̂ = Wx + b as `W [D, D]` and `b [D]`."""
    D = math.prod(event)
    basis = torch.cat([torch.zeros(1, D), torch.eye(D)]).double().view(-1, *event)
    rows = model.reconstruct(basis).flatten(1).numpy()
    return (rows[1:] - rows[0]).T, rows[0]


@torch.no_grad()
def error(model: Model, x: np.ndarray, sigma: float = 0.0) -> float:
    """E‖x − x̂(x + σε)‖² = E‖x − x̂(x)‖² + σ²‖W‖²_F of an affine model (Bishop)."""
    sse = sum(((block - model.reconstruct(block)) ** 2).sum().item() for block in values(x).split(5000)) / len(x)
    W = affine(model, x.shape[1:])[0] if sigma else np.zeros(1)
    return sse + sigma**2 * float((W**2).sum())


def decibel(noise: float, left: float) -> float:
    return 10 * math.log10(noise / left)


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    return oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return oracles.training_points("digits")


# ---- PCA -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "expected"), [(2, 3.3553), (10, 1.2286), (16, 0.7068), (32, 0.1579)])
def test_pca_of_the_digits(digits, k, expected):
    (model,) = fitted("pca", digits, k)
    assert error(model, digits) == pytest.approx(expected, abs=6e-5)
    W, b = affine(model, digits.shape[1:])
    spectrum = oracles.pca(digits)
    principal = spectrum.vectors[:, :k]
    np.testing.assert_allclose(W, principal @ principal.T, atol=1e-9)
    np.testing.assert_allclose(b, spectrum.mean - W @ spectrum.mean, atol=1e-9)


def test_codes_of_pca_are_uncorrelated_and_ordered(digits):
    (model,) = fitted("pca", digits, 10)
    h = model.encode(values(digits)).detach().numpy()
    np.testing.assert_allclose(h.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(h.T, bias=True), np.diag(oracles.pca(digits).values[:10]), atol=1e-9)


PCA_MNIST = [(2, "fp64", 43.8669, 43.6449), (10, "fp64", 26.9873, 26.7139), (30, "fp32", 14.2071, 13.8663)]


@pytest.mark.parametrize(("k", "precision", "on_train", "on_test"), PCA_MNIST)
def test_pca_of_mnist(published, k, precision, on_train, on_test):
    """k = 30: Hinton and Salakhutdinov (2006) print 13.87. The fit is in float64 whatever the net's precision."""
    train_images, test_images = oracles.mnist_images(published)
    (model,) = fitted("pca", train_images, k, precision=precision)
    model.net.double()
    assert error(model, train_images) == pytest.approx(on_train, abs=6e-5)
    assert error(model, test_images) == pytest.approx(on_test, abs=6e-5)


# ---- probabilistic PCA -----------------------------------------------------------------------------------------


def test_likelihood_of_ppca_on_mnist(published):
    """k = 16, learned variance: 258.457 nats on train, 264.456 on test."""
    train_images, test_images = oracles.mnist_images(published)
    (model,) = fitted("ppca", train_images, 16)
    for images, expected in ((train_images, 258.457), (test_images, 264.456)):
        with torch.no_grad():
            nats = torch.cat([model.log_marginal(block) for block in values(images).split(5000)])
        assert nats.shape == (len(images),)
        assert nats.mean().item() == pytest.approx(expected, abs=6e-4)


def density(model: Model, event: tuple[int, ...]) -> MultivariateNormal:
    """N(f(0), WWᵀ + cI) of a linear f; c from ln p(f(0)|0) = −(D/2) ln 2πc."""
    D = math.prod(event)
    f = model.decode(torch.cat([torch.zeros(1, model.latent), torch.eye(model.latent)]).double())
    peak = model.log_likelihood(f[:1], torch.zeros(1, model.latent).double())
    c = torch.exp(-2 * peak / D) / (2 * math.pi)
    W = (f[1:] - f[0]).flatten(1).T
    return MultivariateNormal(f[0].flatten(), W @ W.T + c * torch.eye(D))


@pytest.mark.parametrize("k", [1, 10, 30])
@torch.no_grad()
def test_marginal_of_ppca_is_its_own_gaussian(digits, k):
    """ln p(x) of each example against torch; their mean −½(D ln 2π + Σ_{i≤k} ln λᵢ + (D − k) ln c + D)."""
    (model,) = fitted("ppca", digits, k)
    x = values(digits)
    nats = model.log_marginal(x)
    expected = density(model, digits.shape[1:]).log_prob(x.flatten(1))
    torch.testing.assert_close(nats, expected, rtol=1e-9, atol=1e-7)
    lam = oracles.pca(digits).values
    c = lam[k:].sum() / (64 - k)
    closed = -0.5 * (64 * math.log(2 * math.pi) + np.log(lam[:k]).sum() + (64 - k) * math.log(c) + 64)
    assert nats.mean().item() == pytest.approx(closed, rel=1e-9)


@torch.no_grad()
def test_bound_of_ppca_is_tight(digits):
    """q is the exact posterior: ln p(x|z) + ln p(z) − ln q(z|x) is ln p(x) at every z, so the ELBO has no gap."""
    (model,) = fitted("ppca", digits, 10)
    x = values(digits)[:200]
    mu, logvar = model.posterior(x)
    exact = model.log_marginal(x)
    for seed, spread in enumerate((0.0, 1.0, 3.0)):
        xi = spread * torch.randn(mu.shape, generator=torch.Generator().manual_seed(seed)).double()
        z = losses.reparameterise(mu, logvar, xi)
        each = model.log_likelihood(x, z) + losses.log_standard_normal(z) - losses.log_normal(z, mu, logvar)
        torch.testing.assert_close(each, exact, rtol=1e-9, atol=1e-7)


@torch.no_grad()
def test_ppca_on_a_gaussian(gaussian):
    """Variances 4, 1, .25 and d = 2: c = .25, σᵢ² = c/λᵢ, Var μᵢ = 1 − c/λᵢ, the rate of C = (d + D − d)c is met."""
    (model,) = fitted("ppca", gaussian, 2)
    x = values(gaussian)
    mu, logvar = model.posterior(x)
    variance = sorted(mu.var(0, correction=0).tolist())
    assert variance == pytest.approx([0.75, 0.9375], abs=1e-6)
    assert sorted(logvar.exp().mean(0).tolist()) == pytest.approx([0.0625, 0.25], abs=1e-6)
    kl = losses.kl_standard_normal(mu, logvar).mean().item()
    assert kl == pytest.approx(0.5 * (math.log(16) + math.log(4)), abs=1e-6)
    assert kl == pytest.approx(oracles.rate(GAUSSIAN, 0.75), abs=1e-6)
    sse = (x - model.reconstruct(x)).square().sum(1).mean().item()
    assert sse == pytest.approx(0.0625 / 4 + 0.0625 / 1 + 0.25, abs=1e-6)


# ---- Wiener filter ---------------------------------------------------------------------------------------------


def second_moments(x: np.ndarray) -> np.ndarray:
    """E[(x, 1)(x, 1)ᵀ], `[D + 1, D + 1]`: all that the error of an affine map needs of the data."""
    total = 0.0
    for block in values(x).split(10_000):
        rows = torch.cat([block.flatten(1), torch.ones(len(block), 1, dtype=torch.float64)], 1).numpy()
        total = total + rows.T @ rows
    return total / len(x)


def denoising_error(model: Model, moments: np.ndarray, sigma: float) -> float:
    """`error` of MNIST, from the second moments instead of the images."""
    W, b = affine(model, (1, 28, 28))
    A = np.concatenate([np.eye(784) - W, -b[:, None]], axis=1)
    return float(((A @ moments) * A).sum() + sigma**2 * (W**2).sum())


def test_wiener_filter_of_mnist(published):
    """Full rank: train 4.671/7.884/10.957/14.604 dB, the same filter on test 4.694/7.925/11.006/14.642."""
    train_images, test_images = oracles.mnist_images(published)
    models = fitted("wiener", train_images, 784, *({"sigma": sigma} for sigma in SIGMAS))
    on_train, on_test = (4.671, 7.884, 10.957, 14.604), (4.694, 7.925, 11.006, 14.642)
    for images, expected in ((train_images, on_train), (test_images, on_test)):
        moments = second_moments(images)
        gains = [decibel(784 * s**2, denoising_error(m, moments, s)) for m, s in zip(models, SIGMAS, strict=True)]
        assert gains == pytest.approx(expected, abs=6e-4)


def test_wiener_filter_of_less_rank_on_mnist(published):
    """Kept directions leave λσ²/(λ + σ²), the others λ."""
    train_images, _ = oracles.mnist_images(published)
    lam, moments = oracles.mnist_spectrum(published).values, second_moments(train_images)
    models = fitted("wiener", train_images, 30, {"sigma": 0.25}, {"sigma": 1.0})
    for model, sigma in zip(models, (0.25, 1.0), strict=True):
        assert denoising_error(model, moments, sigma) == pytest.approx(wiener(lam, sigma, 30)[0], rel=1e-7)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_wiener_filter_of_a_gaussian(gaussian, rank):
    """Σ(Σ + σ²I)⁻¹ on the kept directions; σ² = .5, full rank: error .94444, gain 2.009 dB, ‖W − I‖² .56790."""
    variances = (0.1, 0.5, 1.0)
    models = fitted("wiener", gaussian, rank, *({"sigma": math.sqrt(s2)} for s2 in variances))
    for model, s2 in zip(models, variances, strict=True):
        W, b = affine(model, (3,))
        kept = np.where(np.arange(3) < rank, GAUSSIAN / (GAUSSIAN + s2), 0)
        np.testing.assert_allclose(W, np.diag(kept), atol=2e-6)
        np.testing.assert_allclose(b, 0, atol=2e-6)
        least, _ = wiener(GAUSSIAN, math.sqrt(s2), rank)
        assert error(model, gaussian, math.sqrt(s2)) == pytest.approx(least, abs=2e-6)
    if rank == 3:
        W, _ = affine(models[1], (3,))
        left = error(models[1], gaussian, math.sqrt(0.5))
        assert left == pytest.approx(0.94444, abs=6e-6)
        assert decibel(1.5, left) == pytest.approx(2.009, abs=6e-4)
        assert ((W - np.eye(3)) ** 2).sum() == pytest.approx(0.56790, abs=6e-6)


def test_wiener_filter_keeps_the_mean(digits):
    """Of data that are not centred: x̂ = m + W(x̃ − m)."""
    (model,) = fitted("wiener", digits, 64, {"sigma": 0.25})
    spectrum = oracles.pca(digits)
    W, b = affine(model, digits.shape[1:])
    exact = spectrum.vectors * (spectrum.values / (spectrum.values + 0.0625)) @ spectrum.vectors.T
    np.testing.assert_allclose(W, exact, atol=1e-9)
    np.testing.assert_allclose(b, spectrum.mean - exact @ spectrum.mean, atol=1e-9)


@pytest.mark.parametrize("name", ["denoising_ae", "overcomplete_ae"])
def test_bishops_identity(gaussian, name):
    """E‖x − W(x + σε)‖² = E‖x − Wx‖² + σ²‖W‖²_F: the loss with ε on ±√D eᵢ, whose mean is 0 and covariance I."""
    v, x, sigma = oracles.variant(name), torch.from_numpy(gaussian[:50]).double(), 0.4
    sizes = v.sizes(latent=5)
    net = v.build((3,), Linear(), sizes).double()
    spots = math.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    (key,) = v.noise(300, (3,), sizes)
    weights = dict.fromkeys(v.hyper._fields, 0.0) | {"sigma": sigma}
    hp = v.hyper(**{name: torch.tensor(value, dtype=torch.float64) for name, value in weights.items()})
    (loss,) = v.losses.values()
    found = loss(net, x.repeat_interleave(6, 0), {key: spots.repeat(50, 1)}, hp)["loss"].mean().item()
    assert found == pytest.approx(error(Model(v, net, sizes, hp), x.numpy(), sigma), rel=1e-12)


# ---- masking ---------------------------------------------------------------------------------------------------


def masking(S: np.ndarray, q: float) -> tuple[np.ndarray, float]:
    """The best linear map from inputs kept with probability q, else 0, and its error: W = PQ⁻¹, tr S − tr(WPᵀ)."""
    P = q * S
    Q = np.where(np.eye(len(S), dtype=bool), q * S, q**2 * S)
    W = P @ np.linalg.inv(Q)
    return W, float(np.trace(S) - np.trace(W @ P.T))


def masked_error(W: np.ndarray, S: np.ndarray, q: float) -> float:
    """E‖x − W(m ∘ x)‖² by all masks m."""
    left = 0.0
    for mask in product((0.0, 1.0), repeat=len(S)):
        A = np.eye(len(S)) - W * np.array(mask)
        left += q ** sum(mask) * (1 - q) ** (len(S) - sum(mask)) * np.trace(A @ S @ A.T)
    return float(left)


S = np.array([[1.0, 0.5], [0.5, 1.0]])


def test_closed_form_of_masking():
    """q = .5: W = [[.93333, .26667], [.26667, .93333]], error .93333; no other linear map does better."""
    W, least = masking(S, 0.5)
    assert W.ravel() == pytest.approx([0.93333, 0.26667, 0.26667, 0.93333], abs=5e-6)
    assert least == pytest.approx(0.93333, abs=5e-6)
    assert masked_error(W, S, 0.5) == pytest.approx(least, rel=1e-12)
    rng = np.random.default_rng(0)
    assert all(masked_error(W + 0.1 * rng.standard_normal((2, 2)), S, 0.5) > least for _ in range(50))


def test_trained_masking_denoiser_reaches_it():
    """p = 1 − q is the probability of a 0. Seeds and two p; the error within 2e-3 above its minimum, W within .03."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4096, 2))
    z = (z - z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov((z - z.mean(axis=0)).T, bias=True))).T
    x = (z @ np.linalg.cholesky(S).T).astype(np.float32)
    np.testing.assert_allclose(np.cov(x.T, bias=True), S, atol=1e-5)
    v, rates = oracles.variant("masking_denoising_ae"), [0.5, 0.5, 0.2]
    runs = train(
        v,
        Linear(),
        v.sizes(latent=2),
        [Setting(seed, {"p": p}, Descent(lr=cooled(2e-2))) for seed, p in enumerate(rates)],
        Budget(steps=2000, batch=2048),
        Examples(torch.from_numpy(x)),
    ).runs
    for run, p in enumerate(rates):
        model = runs.model(run)
        model.net.double()
        found, b = affine(model, (2,))
        exact, least = masking(S, 1 - p)
        np.testing.assert_allclose(found, exact, atol=0.03)
        np.testing.assert_allclose(b, 0, atol=0.03)
        assert -1e-6 < masked_error(found, S, 1 - p) / least - 1 < 2e-3


# ---- linear VAE on MNIST ---------------------------------------------------------------------------------------

LINEAR_VAE_MNIST = [
    # b, λ > c′, by the variance rule, sampled SSE, KL, SSE at the mean; on test: sampled SSE, KL
    (1.0, 23, 22, 28.6965, 10.1743, 22.9554, 28.3798, 10.2386),
    (0.1, 102, 101, 9.4993, 74.4813, 6.2876, 9.3495, 74.1004),
]


@pytest.mark.parametrize(("b", "above", "active", "C", "kl", "sse", "test_C", "test_kl"), LINEAR_VAE_MNIST)
@torch.no_grad()
def test_linear_beta_vae_of_mnist(published, b, above, active, C, kl, sse, test_C, test_kl):
    """SSE + b·KL: the closed form from the spectrum, and the variant with the optimum's weights on both parts."""
    spectrum = oracles.mnist_spectrum(published)
    exact = closed_forms.linear_vae(spectrum.values.clip(min=0), 784, b)  # pixels that never vary: 0 to rounding
    assert (float(exact.C), float(exact.kl)) == pytest.approx((C, kl), abs=6e-5)
    assert exact.active == above

    v, latent = oracles.variant("linear_vae"), 120
    weights = oracles.optimal_linear_vae(spectrum, latent, b)
    net = oracles.linear_net(v, Linear(), (1, 28, 28), latent, **weights).double()
    model = Model(v, net, v.sizes(latent=latent), v.hyper(beta=torch.tensor(b)))
    gain = model.decode(torch.eye(latent).double()) - model.decode(torch.zeros(1, latent).double())
    spread = gain.flatten(1).square().sum(1)
    for images, wanted in zip(oracles.mnist_images(published), ((C, kl, sse), (test_C, test_kl, None)), strict=True):
        x = values(images)
        mu, logvar = model.posterior(x)
        at_mean = ((x - model.decode(mu)) ** 2).flatten(1).sum(1).mean().item()
        sampled = at_mean + (logvar.exp() @ spread).mean().item()
        found = sampled, losses.kl_standard_normal(mu, logvar).mean().item()
        assert found == pytest.approx(wanted[:2], abs=6e-4)  # the weights are float32
        if wanted[2] is not None:
            assert at_mean == pytest.approx(wanted[2], abs=6e-4)
            assert int((mu.var(0, correction=0) > 0.01).sum()) == active
