"""The losses against torch, torch.distributions, quadrature and numbers worked out by hand (../shared/TRUTH.md)."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from aebench import losses
from aebench.networks import Linear

EVENTS = [(5,), (1, 4, 4), (3, 2, 6)]


def double(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(low: float, high: float) -> st.SearchStrategy[list[list[float]]]:
    return st.integers(1, 5).flatmap(
        lambda d: st.lists(st.lists(st.floats(low, high), min_size=d, max_size=d), min_size=1, max_size=4)
    )


def test_usable_without_importing_torch_first():
    code = "from aebench import losses; print(losses.squared_error.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


# ---- reconstruction --------------------------------------------------------------------------------------------


def test_sums_by_hand():
    x, x_hat = double([[1, 2, 3], [0, 0, 0.5]]), double([[1, 4, 2], [-1, 0, 0]])
    assert losses.squared_error(x, x_hat).tolist() == [5, 1.25]
    assert losses.absolute_error(x, x_hat).tolist() == [3, 1.5]


def test_bce_by_hand():
    logit = math.log(0.8 / 0.2)  # x̂ = .8
    x, logits = double([[1, 0], [0.3, 0.3]]), double([[0, 0], [logit, logit]])
    expected = [2 * math.log(2), -2 * (0.3 * math.log(0.8) + 0.7 * math.log(0.2))]
    assert losses.bernoulli_nll(x, logits).tolist() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("event", EVENTS)
def test_sums_over_every_element_against_torch(event):
    x, x_hat = drawn(7, *event), drawn(7, *event, seed=1)
    for ours, theirs in ((losses.squared_error, F.mse_loss), (losses.absolute_error, F.l1_loss)):
        expected = theirs(x_hat, x, reduction="none").flatten(1).sum(1)
        torch.testing.assert_close(ours(x, x_hat), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("event", EVENTS)
def test_bce_is_the_bernoulli_log_likelihood(event):
    logits, x = drawn(7, *event, scale=5), (drawn(7, *event, seed=1) > 0).double()
    expected = -Independent(Bernoulli(logits=logits), len(event)).log_prob(x)
    torch.testing.assert_close(losses.bernoulli_nll(x, logits), expected, rtol=1e-12, atol=0)


def test_bce_of_grey_values_against_torch_and_its_minimum_is_their_entropy():
    x, logits = torch.sigmoid(drawn(7, 9)), drawn(7, 9, seed=1, scale=3)
    expected = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    torch.testing.assert_close(losses.bernoulli_nll(x, logits), expected, rtol=1e-12, atol=0)
    entropy = Bernoulli(probs=x).entropy().sum(1)
    torch.testing.assert_close(losses.bernoulli_nll(x, torch.logit(x)), entropy, rtol=1e-12, atol=0)
    assert (losses.bernoulli_nll(x, logits) > entropy).all()


def test_bce_of_mnist(published):
    """Grey test images have 45.534 nats themselves; the mean of the training images gives 205.80.

    Two pixels are 0 in all training images and not in a test image: the mean is kept 1e-7 away from 0.
    """
    train, test = oracles.mnist_images(published)
    x = torch.from_numpy(test).double() / 255
    own = losses.bernoulli_nll(x, torch.logit(x).clamp(-745, 745)).mean().item()
    assert own == pytest.approx(45.534, abs=6e-4)
    mean = torch.from_numpy(train.mean(axis=0) / 255).clamp(1e-7, 1 - 1e-7)
    assert losses.bernoulli_nll(x, torch.logit(mean).expand_as(x)).mean().item() == pytest.approx(205.80, abs=6e-3)


def test_squared_error_is_the_gaussian_likelihood_at_half():
    """c = ½: SSE = −ln N(x; x̂, ½ I) − (D/2) ln 2πc."""
    x, x_hat = drawn(7, 5), drawn(7, 5, seed=1)
    nll = -Normal(x_hat, math.sqrt(0.5)).log_prob(x).sum(1)
    torch.testing.assert_close(losses.squared_error(x, x_hat), nll - 2.5 * math.log(math.pi), rtol=1e-12, atol=1e-12)


# ---- the KL term -----------------------------------------------------------------------------------------------


def test_energies_by_hand():
    mu, logvar = double([[1, 2], [0, 0]]), double([[0, math.log(4)], [0, 0]])
    s = 0.5 * (4 - math.log(4) - 1)
    assert losses.energy(mu).tolist() == [2.5, 0]
    assert losses.relative_entropy(logvar).tolist() == pytest.approx([s, 0], rel=1e-15)
    assert losses.log_volume(logvar).tolist() == pytest.approx([math.log(4), 0], rel=1e-15)
    assert losses.kl_standard_normal(mu, logvar).tolist() == pytest.approx([2.5 + s, 0], rel=1e-15)


@settings(max_examples=200, deadline=None)
@given(rows(-30, 30), st.integers(0, 2**31))
def test_kl_against_torch_distributions(mu, seed):
    mu = double([row[: len(mu[0])] for row in mu])
    logvar = drawn(*mu.shape, seed=seed, scale=4).clamp(-20, 12)
    expected = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses.kl_standard_normal(mu, logvar), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(rows(-30, 12))
def test_kl_is_u_plus_s_and_never_negative(logvar):
    logvar = double(logvar)
    mu = drawn(*logvar.shape, scale=2)
    U, S = losses.energy(mu), losses.relative_entropy(logvar)
    kl = losses.kl_standard_normal(mu, logvar)
    torch.testing.assert_close(kl, U + S, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(losses.log_volume(logvar), logvar.sum(1), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(2 * S, (logvar.exp() - 1).sum(1) - losses.log_volume(logvar), rtol=1e-12, atol=1e-11)
    assert (U >= 0).all()
    assert (S >= -1e-14).all()


def test_kl_by_quadrature():
    """∫ q ln(q/p) on a grid, which knows nothing of closed forms."""
    z = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    for mu, sigma in ((0.0, 1.0), (1.5, 0.2), (-3.0, 4.0)):
        q = torch.exp(-((z - mu) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
        ratio = -((z - mu) ** 2) / (2 * sigma**2) - math.log(sigma) + z**2 / 2
        expected = torch.trapezoid(q * ratio, z).item()
        kl = losses.kl_standard_normal(double([[mu]]), double([[2 * math.log(sigma)]])).item()
        assert kl == pytest.approx(expected, abs=1e-9)


def test_float32_keeps_the_kl():
    mu, logvar = drawn(500, 8), drawn(500, 8, seed=1, scale=3)
    exact = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
    single = losses.kl_standard_normal(mu.float(), logvar.float())
    torch.testing.assert_close(single.double(), exact, rtol=2e-6, atol=2e-6)


def test_reparameterise():
    z = losses.reparameterise(double([[1, -1]]), double([[math.log(4), 0]]), double([[0.5, -2]]))
    torch.testing.assert_close(z, double([[2, -3]]), rtol=1e-15, atol=0)


# ---- gradients -------------------------------------------------------------------------------------------------


def test_gradients_against_finite_differences():
    a, b = drawn(3, 4).requires_grad_(), drawn(3, 4, seed=1).requires_grad_()
    x = torch.sigmoid(drawn(3, 4, seed=2))
    for fn, args in (
        (losses.squared_error, (a, b)),
        (losses.absolute_error, (a, b)),
        (lambda logits: losses.bernoulli_nll(x, logits), (b,)),
        (losses.energy, (a,)),
        (losses.relative_entropy, (b,)),
        (losses.log_volume, (b,)),
        (losses.kl_standard_normal, (a, b)),
        (lambda mu, logvar: losses.reparameterise(mu, logvar, x), (a, b)),
    ):
        assert torch.autograd.gradcheck(fn, args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bce_at_extreme_logits(dtype):
    logits = torch.tensor([[-1e4, -200.0, -50.0, 0.0, 50.0, 200.0, 1e4]], dtype=dtype)
    for x in (0.0, 1.0, 0.25):
        free = logits.clone().requires_grad_()
        nats = losses.bernoulli_nll(torch.full_like(logits, x), free)
        nats.sum().backward()
        torch.testing.assert_close(free.grad, torch.sigmoid(logits) - x, rtol=1e-5, atol=1e-7)
        assert torch.isfinite(nats).all()
    far = torch.tensor([[1e4]], dtype=dtype)
    assert losses.bernoulli_nll(torch.zeros_like(far), far).item() == pytest.approx(1e4)
    assert losses.bernoulli_nll(torch.ones_like(far), far).item() == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_at_extreme_posteriors(dtype):
    """dKL/dμ = μ, dKL/d ln σ² = ½(σ² − 1), also where σ² underflows."""
    logvar = torch.tensor([[-1e4, -300.0, -30.0, 0.0, 30.0, 80.0]], dtype=dtype, requires_grad=True)
    mu = torch.tensor([[0.0, 1e3, -1e6, 1e-20, 1e10, 1e18]], dtype=dtype, requires_grad=True)
    kl = losses.kl_standard_normal(mu, logvar)
    kl.sum().backward()
    assert torch.isfinite(kl).all()
    assert mu.grad is not None
    assert logvar.grad is not None
    torch.testing.assert_close(mu.grad, mu.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(logvar.grad, 0.5 * (logvar.detach().exp() - 1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reparameterisation_at_extreme_widths(dtype):
    logvar = torch.tensor([[-1e4, -300.0, 0.0, 80.0]], dtype=dtype, requires_grad=True)
    mu, xi = torch.zeros_like(logvar).requires_grad_(), torch.full_like(logvar, 0.5)
    losses.reparameterise(mu, logvar, xi).sum().backward()
    assert mu.grad is not None
    assert logvar.grad is not None
    assert (mu.grad == 1).all()
    torch.testing.assert_close(logvar.grad, 0.25 * (logvar.detach() / 2).exp(), rtol=1e-5, atol=1e-30)


# ---- the losses of the variants are their formulas -------------------------------------------------------------


def loss_of(
    name: str, reconstruction: str, hyper: dict[str, float], x: np.ndarray, draw: float | np.ndarray, **weights
):
    """The loss of a linear net with these weights, all noise equal to `draw`."""
    v = oracles.variant(name)
    sizes = v.sizes(latent=weights["dec"].shape[1], reconstruction=reconstruction)
    net = v.build(x.shape[1:], Linear(), sizes)
    net.load_state_dict(oracles.linear_net(v, Linear(), x.shape[1:], sizes.latent, **weights).state_dict())
    noise = {key: torch.as_tensor(np.broadcast_to(draw, kind.shape).copy()).double()
             for key, kind in v.noise(len(x), x.shape[1:], sizes).items()}  # fmt: skip
    hp = v.hyper(**{key: torch.tensor(value, dtype=torch.float64) for key, value in hyper.items()})
    (loss,) = v.losses.values()
    return loss(net.double(), torch.from_numpy(x), noise, hp)["loss"].mean().item()


X = np.array([[1.0, 0.5], [0.0, 0.25]])
ENC, DEC = np.array([[0.5, -1.0]]), np.array([[2.0], [1.0]])


def error(kind: str, x: np.ndarray, out: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-out))
    each = {"mse": (x - out) ** 2, "mae": abs(x - out), "bce": -(x * np.log(p) + (1 - x) * np.log(1 - p))}[kind]
    return each.sum(axis=1).mean()


@pytest.mark.parametrize("kind", ["mse", "mae", "bce"])
@pytest.mark.parametrize("name", ["ae", "linear_ae"])
def test_loss_of_a_plain_autoencoder(name, kind):
    expected = error(kind, X, X @ ENC.T @ DEC.T + 0.125)
    measured = loss_of(name, kind, {}, X, 0.0, enc=ENC, dec=DEC, dec_bias=[0.125, 0.125])
    assert measured == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["mse", "mae", "bce"])
def test_loss_of_a_denoiser_has_the_clean_target(kind):
    draw = np.array([[1.0, -2.0], [0.5, 3.0]])
    expected = error(kind, X, (X + 0.25 * draw) @ ENC.T @ DEC.T)
    assert loss_of("denoising_ae", kind, {"sigma": 0.25}, X, draw, enc=ENC, dec=DEC) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["mse", "mae", "bce"])
@pytest.mark.parametrize("name", ["vae", "beta_vae", "linear_vae"])
def test_loss_of_a_vae(name, kind):
    logvar = math.log(0.36)
    mu = X @ ENC.T + 0.1
    kl = (0.5 * (mu**2 + 0.36 - logvar - 1)).sum(axis=1).mean()
    expected = error(kind, X, (mu + 0.6 * 1.5) @ DEC.T) + 0.7 * kl
    weights = {"enc": np.concatenate([ENC, 0 * ENC]), "enc_bias": [0.1, logvar], "dec": DEC}
    assert loss_of(name, kind, {"beta": 0.7}, X, 1.5, **weights) == pytest.approx(expected, rel=1e-6)
