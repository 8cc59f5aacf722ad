"""Information, reconstruction and regularisers against scipy, torch and the numbers of ../shared/TRUTH.md, 1 and 2."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch import distributions as D
from torch.autograd.functional import jacobian

from aebench import losses

EVENTS = [(5,), (1, 4, 4), (3, 2, 6)]
INF = math.inf
close = torch.testing.assert_close


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.softmax(drawn(*shape, seed=seed, scale=2), -1)


def normal_points(n: int) -> torch.Tensor:
    """The n midpoint quantiles of N(0, 1): sums over them are integrals, to about (ln n)/n."""
    return torch.from_numpy(stats.norm.ppf((np.arange(n) + 0.5) / n))


# ---- categorical -----------------------------------------------------------------------------------------------

P, Q = double([0.3, 0.5, 0.2]), double([0.5, 0.25, 0.25])


def test_the_notes_two_distributions():
    """H(p) = 1.02965 nats = 1.48548 bits, cross entropy 1.17835, KL .14870 one way and .13791 the other."""
    assert losses.entropy(P).item() == pytest.approx(1.02965, abs=5e-6)
    assert losses.entropy(P).item() / math.log(2) == pytest.approx(1.48548, abs=5e-6)
    assert losses.cross_entropy(P, Q).item() == pytest.approx(1.17835, abs=5e-6)
    assert losses.kl_categorical(P, Q).item() == pytest.approx(0.14870, abs=5e-6)
    assert losses.kl_categorical(Q, P).item() == pytest.approx(0.13791, abs=5e-6)
    assert losses.kl_categorical(P, P).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("shape", [(4,), (7, 3), (2, 5, 10)])
def test_categorical_against_scipy_and_torch(shape):
    p, q = simplex(*shape), simplex(*shape, seed=1)
    for a, b in ((p, q), (q, p)):
        kl = losses.kl_categorical(a, b)
        assert kl.shape == shape[:-1]
        close(kl, torch.as_tensor(stats.entropy(a, b, axis=-1)), rtol=1e-12, atol=1e-14)
        close(kl, D.kl_divergence(D.Categorical(probs=a), D.Categorical(probs=b)), rtol=1e-12, atol=1e-14)
        close(losses.cross_entropy(a, b), losses.entropy(a) + kl, rtol=1e-12, atol=0)
        assert (kl > 0).all()
    close(losses.entropy(p), torch.as_tensor(stats.entropy(p, axis=-1)), rtol=1e-12, atol=0)
    close(losses.entropy(p), D.Categorical(probs=p).entropy(), rtol=1e-12, atol=0)


def test_entropy_lies_between_certainty_and_the_uniform():
    assert losses.entropy(double([[0, 1, 0], [1, 0, 0]])).tolist() == [0, 0]
    assert losses.entropy(torch.full((8,), 1 / 8, dtype=torch.float64)).item() == pytest.approx(3 * math.log(2))
    assert losses.entropy(double([0.5, 0.5, 0.0])).item() == pytest.approx(math.log(2))


def test_zeros_of_a_categorical():
    """0 ln 0 = 0 and 0 ln(0/0) = 0; +∞ where q = 0 < p, and only there."""
    p = double([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    q = double([[0.25, 0.25, 0.5], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert losses.kl_categorical(p, q).tolist() == pytest.approx([math.log(2), 0, INF, INF], abs=1e-15)
    assert losses.cross_entropy(p, q).tolist() == pytest.approx([math.log(4), math.log(2), INF, INF])
    np.testing.assert_allclose(losses.kl_categorical(q, p), stats.entropy(q, p, axis=-1), atol=1e-15)


# ---- Bernoulli -------------------------------------------------------------------------------------------------


def test_bernoulli_kl_of_the_sparse_autoencoder():
    """p = .05, h = .2: .09394, reverse .13978; from logits too."""
    p, h = double(0.05), double(0.2)
    logit = torch.logit(h)
    for forward in (losses.kl_bernoulli(p, h), losses.kl_bernoulli_logits(p, logit)):
        assert forward.item() == pytest.approx(0.09394, abs=5e-6)
    for reverse in (losses.kl_bernoulli(h, p), losses.kl_logits_bernoulli(logit, p)):
        assert reverse.item() == pytest.approx(0.13978, abs=5e-6)


def test_bernoulli_against_scipy_and_torch():
    p, q = torch.sigmoid(drawn(50, 8, scale=3)), torch.sigmoid(drawn(50, 8, seed=1, scale=3))
    each = [r.numpy() for r in (p, q, 1 - p, 1 - q)]
    expected = special.rel_entr(each[0], each[1]) + special.rel_entr(each[2], each[3])
    close(losses.kl_bernoulli(p, q), torch.as_tensor(expected), rtol=1e-11, atol=1e-14)
    theirs = D.kl_divergence(D.Bernoulli(probs=p), D.Bernoulli(probs=q))
    close(losses.kl_bernoulli(p, q), theirs, rtol=1e-10, atol=1e-13)
    close(losses.kl_bernoulli_logits(p, torch.logit(q)), theirs, rtol=1e-10, atol=1e-13)
    close(losses.kl_logits_bernoulli(torch.logit(p), q), theirs, rtol=1e-10, atol=1e-13)
    expected = torch.as_tensor(special.entr(each[0]) + special.entr(each[2]))
    close(losses.entropy_bernoulli(p), expected, rtol=1e-12, atol=1e-15)
    close(losses.entropy_bernoulli(p), D.Bernoulli(probs=p).entropy(), rtol=1e-11, atol=1e-14)


def test_bernoulli_is_a_categorical_of_two():
    p, q = torch.sigmoid(drawn(20)), torch.sigmoid(drawn(20, seed=1))
    two = [torch.stack([r, 1 - r], -1) for r in (p, q)]
    close(losses.kl_bernoulli(p, q), losses.kl_categorical(*two), rtol=1e-12, atol=1e-14)
    close(losses.entropy_bernoulli(p), losses.entropy(two[0]), rtol=1e-12, atol=0)


def test_zeros_and_ones_of_a_bernoulli():
    assert losses.entropy_bernoulli(double([0, 1, 0.5])).tolist() == pytest.approx([0, 0, math.log(2)])
    p, q = double([0, 1, 0, 1, 0, 1, 0.5, 0.5]), double([0, 1, 0.5, 0.5, 1, 0, 0, 1])
    expected = [0, 0, math.log(2), math.log(2), INF, INF, INF, INF]
    assert losses.kl_bernoulli(p, q).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_kl_at_extreme_logits(dtype):
    """KL(p‖h) grows as |logit|, KL(h‖p) ends at −ln p or −ln(1 − p).

    Their slopes are h − p and h(1 − h)(logit h − logit p).
    """
    logits = torch.tensor([-1e4, -200.0, -50.0, 0.0, 50.0, 200.0, 1e4], dtype=dtype, requires_grad=True)
    p = torch.tensor(0.05, dtype=dtype)
    h = torch.sigmoid(logits.detach())
    entropy = -(0.05 * math.log(0.05) + 0.95 * math.log(0.95))

    forward = losses.kl_bernoulli_logits(p, logits)
    expected = -entropy + 0.05 * F.softplus(-logits.detach()) + 0.95 * F.softplus(logits.detach())
    close(forward.detach(), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(forward.sum(), logits)
    close(gradient, h - p, rtol=1e-5, atol=1e-7)

    reverse = losses.kl_logits_bernoulli(logits, p)
    low, high = -math.log(0.95), -math.log(0.05)
    middle = 0.5 * math.log(0.5 / 0.05) + 0.5 * math.log(0.5 / 0.95)
    close(reverse.detach(), torch.tensor([low] * 3 + [middle] + [high] * 3, dtype=dtype), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(reverse.sum(), logits)
    close(gradient, h * (1 - h) * (logits.detach() - torch.logit(p)), rtol=1e-4, atol=1e-7)


def test_bernoulli_kl_from_logits_of_a_certain_p():
    """p = 0: KL(p‖h) = −ln(1 − h); no h short of certainty is at a finite KL(h‖p)."""
    logits = drawn(9, scale=4)
    close(losses.kl_bernoulli_logits(double(0.0), logits), F.softplus(logits), rtol=1e-12, atol=0)
    close(losses.kl_bernoulli_logits(double(1.0), logits), F.softplus(-logits), rtol=1e-12, atol=0)
    assert losses.kl_logits_bernoulli(logits, double(0.0)).tolist() == [INF] * 9
    assert losses.kl_logits_bernoulli(logits, double(1.0)).tolist() == [INF] * 9


# ---- Gaussian --------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_kl_of_two_normals_against_torch_in_both_directions(d, seed):
    mu, logvar, mu0, logvar0 = drawn(4, 4, d, seed=seed, scale=2)
    p = D.Independent(D.Normal(mu, (logvar / 2).exp()), 1)
    q = D.Independent(D.Normal(mu0, (logvar0 / 2).exp()), 1)
    close(losses.kl_normal(mu, logvar, mu0, logvar0), D.kl_divergence(p, q), rtol=1e-11, atol=1e-11)
    close(losses.kl_normal(mu0, logvar0, mu, logvar), D.kl_divergence(q, p), rtol=1e-11, atol=1e-11)
    assert losses.kl_normal(mu, logvar, mu, logvar).tolist() == pytest.approx([0] * 4, abs=1e-12)


def test_kl_to_the_standard_normal_is_one_of_two_normals():
    mu, logvar = drawn(6, 3), drawn(6, 3, seed=1)
    zero = torch.zeros_like(mu)
    close(losses.kl_normal(mu, logvar, zero, zero), losses.kl_standard_normal(mu, logvar), rtol=1e-12, atol=1e-12)


def test_kl_of_two_normals_by_quadrature():
    z = torch.linspace(-40, 40, 160_001, dtype=torch.float64)
    for mu, sigma, mu0, sigma0 in ((0.5, 1.2, 0.0, 1.0), (0.0, 1.0, 0.5, 1.2), (-1.0, 0.3, 2.0, 1.5)):
        p, q = (torch.from_numpy(stats.norm.logpdf(z.numpy(), *of)) for of in ((mu, sigma), (mu0, sigma0)))
        expected = torch.trapezoid(p.exp() * (p - q), z).item()
        kl = losses.kl_normal(*(double([[v]]) for v in (mu, 2 * math.log(sigma), mu0, 2 * math.log(sigma0))))
        assert kl.item() == pytest.approx(expected, abs=1e-9)


def test_densities_of_a_normal_against_torch():
    z, mu, logvar = drawn(3, 7, 4, scale=2)
    expected = D.Independent(D.Normal(mu, (logvar / 2).exp()), 1).log_prob(z)
    close(losses.log_normal(z, mu, logvar), expected, rtol=1e-12, atol=1e-12)
    expected = D.MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double()).log_prob(z)
    close(losses.log_standard_normal(z), expected, rtol=1e-12, atol=1e-12)
    assert losses.log_standard_normal(double([[0.0, 0.0]])).item() == pytest.approx(-math.log(2 * math.pi))


# ---- reconstruction --------------------------------------------------------------------------------------------


def test_percentage_error_by_hand():
    """|x − x̂| / max(|x|, ε), ε = .1: at 0, below, at and above ε, negative."""
    x, x_hat = double([[0.0, 0.05, 0.1, 2.0, -4.0]]), double([[0.2, 0.1, 0.0, 1.0, -5.0]])
    assert losses.absolute_percentage_error(x, x_hat, 0.1).item() == pytest.approx(2 + 0.5 + 1 + 0.5 + 0.25)
    assert losses.absolute_percentage_error(x, x_hat, 1.0).item() == pytest.approx(0.2 + 0.05 + 0.1 + 0.5 + 0.25)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_against_torch(event, delta):
    x, x_hat = drawn(7, *event, scale=2), drawn(7, *event, seed=1, scale=2)
    expected = F.huber_loss(x_hat, x, reduction="none", delta=delta).flatten(1).sum(1)
    close(losses.huber(x, x_hat, delta), expected, rtol=1e-12, atol=0)


def test_huber_by_hand():
    """½ r² up to δ, δ(|r| − ½ δ) beyond."""
    assert losses.huber(double([[0.0, 0.0, 0.0]]), double([[0.5, 1.0, -3.0]]), 1.0).item() == 0.125 + 0.5 + 2.5


@pytest.mark.parametrize("event", EVENTS)
def test_gaussian_and_laplace_likelihoods_against_torch(event):
    """With a scale shared by all, one an element, and one an example and element."""
    x, mean = drawn(7, *event), drawn(7, *event, seed=1)
    for scale in (drawn(seed=2), drawn(*event, seed=3), drawn(7, *event, seed=4)):
        expected = -D.Normal(mean, (scale / 2).exp()).log_prob(x).flatten(1).sum(1)
        close(losses.gaussian_nll(x, mean, scale), expected, rtol=1e-12, atol=1e-12)
        torchs = F.gaussian_nll_loss(mean, x, scale.exp().expand_as(x), full=True, reduction="none")
        close(losses.gaussian_nll(x, mean, scale), torchs.flatten(1).sum(1), rtol=1e-12, atol=1e-12)
        expected = -D.Laplace(mean, scale.exp()).log_prob(x).flatten(1).sum(1)
        close(losses.laplace_nll(x, mean, scale), expected, rtol=1e-12, atol=1e-12)


def test_likelihoods_of_fixed_scale_are_the_squared_and_the_absolute_error():
    """c = ½: ‖x − x̂‖² + (D/2) ln π; b = 1: |x − x̂| + D ln 2."""
    x, mean = drawn(7, 5), drawn(7, 5, seed=1)
    close(losses.gaussian_nll(x, mean, double(math.log(0.5))), losses.squared_error(x, mean) + 2.5 * math.log(math.pi))
    close(losses.laplace_nll(x, mean, double(0.0)), losses.absolute_error(x, mean) + 5 * math.log(2))


def test_best_scale_of_a_likelihood():
    """(D/2)(ln(2π MSE) + 1) nats at σ² = MSE, D(ln(2 MAE) + 1) at b = MAE, and more at any other scale."""
    x, mean = drawn(50, 6), drawn(50, 6, seed=1)
    mse, mae = (x - mean).square().mean(), (x - mean).abs().mean()
    cases = ((losses.gaussian_nll, mse, 3 * (torch.log(2 * math.pi * mse) + 1)),
             (losses.laplace_nll, mae, 6 * (torch.log(2 * mae) + 1)))  # fmt: skip
    for nll, scale, least in cases:
        close(nll(x, mean, scale.log()).mean(), least, rtol=1e-12, atol=0)
        assert all(nll(x, mean, scale.log() + off).mean() > least for off in (-0.01, 0.01))


def test_gradients_against_finite_differences():
    """A softplus of each input keeps errors away from the kinks of |·|."""
    a, b, s = (drawn(3, 4, seed=i).requires_grad_() for i in range(3))
    x, p = 5 + drawn(3, 4, seed=3), torch.sigmoid(drawn(3, 4, seed=4))
    for fn, args in (
        (lambda x_hat: losses.absolute_percentage_error(x, x_hat, 0.1), (a,)),
        (lambda x_hat: losses.huber(x, x_hat, 5.0), (a,)),
        (lambda mean, logvar: losses.gaussian_nll(x, mean, logvar), (a, s)),
        (lambda mean, scale: losses.laplace_nll(x, mean, scale), (a, s)),
        (losses.kl_normal, (a, b, s, drawn(3, 4, seed=5).requires_grad_())),
        (lambda logits: losses.entropy(logits.softmax(-1)), (a,)),
        (lambda left, right: losses.kl_categorical(left.softmax(-1), right.softmax(-1)), (a, b)),
        (lambda left, right: losses.kl_bernoulli(left.sigmoid(), right.sigmoid()), (a, b)),
        (lambda logits: losses.kl_bernoulli_logits(p, logits), (a,)),
        (lambda logits: losses.kl_logits_bernoulli(logits, p), (a,)),
        (losses.log_normal, (a, b, s)),
        (losses.importance_bound, (a,)),
    ):
        assert torch.autograd.gradcheck(fn, args)


def test_floor_of_bce_on_mnist(published):
    """Grey test images have 45.534 nats of their own; the mean training image gives 205.80, both parts by name.

    Two pixels are 0 in all training images and not in a test image: the mean is kept 1e-7 away from 0.
    """
    train, test = oracles.mnist_images(published)
    x = torch.from_numpy(test).double().flatten(1) / 255
    own = losses.entropy_bernoulli(x).sum(1).mean().item()
    assert own == pytest.approx(45.534, abs=6e-4)
    mean = torch.from_numpy(train.mean(axis=0).ravel() / 255).clamp(1e-7, 1 - 1e-7)
    excess = losses.kl_bernoulli(x, mean.expand_as(x)).sum(1).mean().item()
    assert own + excess == pytest.approx(205.80, abs=6e-3)
    assert losses.bernoulli_nll(x, torch.logit(mean).expand_as(x)).mean().item() == pytest.approx(own + excess)


# ---- regularisers ----------------------------------------------------------------------------------------------


def test_threshold_penalty_by_hand():
    """h = (.2, .6, 1.3), c = .5: .04 + .16 + .09 = .29; a unit at the cut is pulled to 1."""
    h = double([[0.2, 0.6, 1.3], [0.5, -1.0, 0.0]])
    assert losses.threshold_penalty(h, double(0.5)).tolist() == pytest.approx([0.29, 0.25 + 1.0])


def test_threshold_penalty_pulls_to_0_or_1():
    """The mask is constant under the gradient: −2(1 − h) from the cut on, 2h below."""
    h = double([[0.2, 0.6, 1.3, 0.5, -1.0]]).requires_grad_()
    c = double(0.5).requires_grad_()
    losses.threshold_penalty(h, c).sum().backward()
    close(h.grad, double([[0.4, -0.8, 0.6, -1.0, -2.0]]))
    assert c.grad is None or c.grad.item() == 0


@pytest.mark.parametrize("c", [-0.5, 0.0, 0.5, 1.5])
def test_threshold_penalty_of_normal_codes(c):
    """E over N(0, 1): 1 + Q(c) − 2φ(c)."""
    mean = losses.threshold_penalty(normal_points(100_000)[None], double(c)).item() / 100_000
    assert mean == pytest.approx(1 + stats.norm.sf(c) - 2 * stats.norm.pdf(c), abs=2e-4)


def test_top_k_by_hand():
    h = double([[1.0, -3.0, 2.0, 0.5], [0.0, 0.1, -0.2, 0.3]])
    assert losses.top_k(h, 2).tolist() == [[0, -3, 2, 0], [0, 0, -0.2, 0.3]]
    assert losses.top_k(h, 1).tolist() == [[0, -3, 0, 0], [0, 0, 0, 0.3]]
    assert losses.top_k(h, 4).tolist() == h.tolist()


def test_top_k_keeps_k_at_a_tie_and_its_gradient_goes_to_the_kept():
    h = double([[1.0, -1.0, 1.0, 1.0], [2.0, -3.0, 1.0, 0.5]]).requires_grad_()
    kept = losses.top_k(h, 2)
    assert (kept != 0).sum(1).tolist() == [2, 2]
    kept.sum().backward()
    assert h.grad is not None
    assert h.grad[1].tolist() == [1, 1, 0, 0]
    assert h.grad.sum(1).tolist() == [2, 2]


@pytest.mark.parametrize(("share", "residual"), [(0.05, 0.7209), (0.1, 0.5607), (0.25, 0.2764), (0.5, 0.0713)])
def test_top_k_of_normal_codes(share, residual):
    """What is left of the energy when 5, 10, 25 or 50 % of N(0, 1) codes are kept by |h|."""
    h = normal_points(200_000)[None]
    left = (h - losses.top_k(h, round(share * 200_000))).square().sum() / h.square().sum()
    assert left.item() == pytest.approx(residual, abs=1e-4)


def test_top_k_of_the_share_above_a_threshold_is_the_hard_threshold():
    """t = 1.5: L0 fraction 2Q(t) = .1336, error 2Φ(t) − 1 − 2tφ(t) = .4778; soft adds 2t²Q(t): .7785."""
    h, t = normal_points(1_000_000)[None], 1.5
    kept = losses.top_k(h, round(2 * stats.norm.sf(t) * 1_000_000))
    assert (kept != 0).double().mean().item() == pytest.approx(0.1336, abs=5e-5)
    close(kept, F.hardshrink(h, t))
    assert (h - kept).square().mean().item() == pytest.approx(0.4778, abs=1e-4)
    soft = kept - t * kept.sign()
    assert (h - soft).square().mean().item() == pytest.approx(0.7785, abs=1e-4)


# ---- contractive penalty ---------------------------------------------------------------------------------------


def by_autograd(encode, x: torch.Tensor) -> torch.Tensor:
    """‖J‖²_F of each example by torch's own Jacobian."""
    return torch.stack([jacobian(lambda one: encode(one[None])[0], row).square().sum() for row in x])


def test_contractive_penalty_of_a_linear_encoder():
    """‖W‖²_F at every example."""
    W, x = drawn(3, 5), drawn(7, 5, seed=1)
    expected = W.square().sum().expand(7)
    close(losses.contractive_penalty(lambda x: x @ W.T + 1, x), expected, rtol=1e-12, atol=0)


def test_contractive_penalty_of_a_sigmoid_encoder():
    """Σᵢ (hᵢ(1 − hᵢ))² ‖Wᵢ‖²."""
    W, b, x = drawn(3, 5), drawn(3, seed=1), drawn(7, 5, seed=2)
    h = torch.sigmoid(x @ W.T + b)
    expected = (h * (1 - h)).square() @ W.square().sum(1)
    close(losses.contractive_penalty(lambda x: torch.sigmoid(x @ W.T + b), x), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("latent", [1, 2, 40])
def test_contractive_penalty_against_torchs_jacobian(event, latent):
    """More latents than inputs too."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(6), torch.nn.Tanh(), torch.nn.LazyLinear(latent))
    x = drawn(4, *event)
    net.double()(x)
    close(losses.contractive_penalty(net, x), by_autograd(net, x), rtol=1e-10, atol=0)


def test_gradient_of_the_contractive_penalty():
    """It trains the encoder: finite differences through the penalty."""
    x = drawn(3, 4)

    def penalty(W: torch.Tensor) -> torch.Tensor:
        return losses.contractive_penalty(lambda x: torch.tanh(x @ W.T), x)

    assert torch.autograd.gradcheck(penalty, (drawn(2, 4, seed=1).requires_grad_(),))


# ---- importance weighting --------------------------------------------------------------------------------------

GAPS = {1: 0.16268, 2: 0.06337, 5: 0.02177, 10: 0.01041, 50: 0.00201, 100: 0.00100}
"""ln p − L_K with posterior N(0, 1) and q = N(.5, 1.2²). TRUTH prints .06339 and .02176 at K = 2 and 5, by sampling;
the quadrature of `exact_gap` gives .0633746 and .0217700."""
CHI2 = 0.19960


def log_weight(z: torch.Tensor) -> torch.Tensor:
    """ln p(x, z)/q(z|x) where ln p(x) = 0."""
    return -0.5 * z**2 + 0.5 * ((z - 0.5) / 1.2) ** 2 + math.log(1.2)


def exact_gap(K: int) -> float:
    """−E ln w̄ by ln w̄ = ∫ (e⁻ᵗ − e^(−t w̄))/t dt and E e^(−t w̄) = (E e^(−tw/K))ᴷ: one integral inside another."""
    x, weight = np.polynomial.hermite_e.hermegauss(150)
    w = np.exp(log_weight(torch.from_numpy(0.5 + 1.2 * x)).numpy())

    def integrand(u: float) -> float:
        mean = (weight * np.exp(-np.exp(u) * w / K)).sum() / weight.sum()
        return mean**K - np.exp(-np.exp(u))

    return integrate.quad(integrand, -40, 40, limit=1000, epsabs=1e-9)[0]


def test_importance_bound_by_hand():
    log_w = torch.log(double([[[1, 3], [2, 2]], [[0, 4], [5, 1]]]))
    close(losses.importance_bound(log_w), torch.log(double([[2, 2], [2, 3]])))
    assert losses.importance_bound(double([-1.7])).item() == pytest.approx(-1.7)


def test_importance_bound_of_weights_beyond_floats():
    log_w = torch.tensor([[-1e4, -1e4], [9e3, 9e3 + math.log(3)]])
    assert losses.importance_bound(log_w).tolist() == pytest.approx([-1e4, 9e3 + math.log(2)])


@pytest.mark.parametrize("K", [1, 2])
def test_importance_gap_by_quadrature(K):
    """E over one or two z ~ q on a grid; K = 1 is KL(q‖p) and −ELBO."""
    z = torch.linspace(-11.5, 12.5, 1201, dtype=torch.float64)
    q = torch.from_numpy(stats.norm.pdf(z.numpy(), 0.5, 1.2))
    log_w = torch.stack(torch.meshgrid(*[log_weight(z)] * K, indexing="ij"), -1)
    density = q if K == 1 else torch.outer(q, q)
    gap = -(density * losses.importance_bound(log_w)).sum().item() * (24 / 1200) ** K
    assert gap == pytest.approx(GAPS[K], abs=6e-6)
    assert gap == pytest.approx(exact_gap(K), abs=1e-8)


@pytest.fixture(scope="module")
def importance_gaps() -> dict[int, tuple[float, float]]:
    """K -> gap and its standard error over 2 million draws.

    E[w] = 1, so w̄ − 1 is taken from ln w̄: what is left varies as its square.
    """
    log_w = log_weight(0.5 + 1.2 * drawn(2_000_000, seed=7))
    gaps = {}
    for K in GAPS:
        grouped = log_w.view(-1, K)
        gap = grouped.exp().mean(1) - 1 - losses.importance_bound(grouped)
        gaps[K] = gap.mean().item(), gap.std().item() / math.sqrt(len(gap))
    return gaps


@pytest.mark.parametrize("K", GAPS)
def test_importance_gap_by_sampling(importance_gaps, K):
    """Within four standard errors, each below 2 % of the gap; about χ²/2K."""
    gap, error = importance_gaps[K]
    assert exact_gap(K) == pytest.approx(GAPS[K], abs=5.1e-6)
    assert error < 0.02 * gap
    assert abs(gap - exact_gap(K)) < 4 * error
    assert abs(gap - CHI2 / (2 * K)) < 0.15 / K**2 + 4 * error


def test_importance_bound_rises_with_k(importance_gaps):
    gaps = [importance_gaps[K][0] for K in sorted(GAPS)]
    assert gaps == sorted(gaps, reverse=True)


# ---- Gaussian dependence ---------------------------------------------------------------------------------------


def test_total_correlation_by_hand():
    """Equicorrelated ρ = .5, d = 3: .34657; independent: 0; of the precision [[2, 1], [1, 2]]: .14384."""
    equal = 0.5 * torch.ones(3, 3, dtype=torch.float64) + 0.5 * torch.eye(3, dtype=torch.float64)
    assert losses.total_correlation(equal).item() == pytest.approx(0.34657, abs=5e-6)
    assert losses.total_correlation(torch.diag(double([4, 1, 0.25]))).item() == pytest.approx(0, abs=1e-15)
    assert losses.total_correlation(double([[2, 1], [1, 2]])).item() == pytest.approx(0.14384, abs=5e-6)


def test_total_correlation_is_the_kl_to_the_product_of_the_marginals():
    A = drawn(4, 3, 5)
    covariance = A @ A.mT + 0.1 * torch.eye(3)
    zero = torch.zeros(4, 3, dtype=torch.float64)
    joint = D.MultivariateNormal(zero, covariance)
    product = D.MultivariateNormal(zero, torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1)))
    close(losses.total_correlation(covariance), D.kl_divergence(joint, product), rtol=1e-10, atol=1e-12)
    scaled = covariance * torch.outer(double([1e-8, 1, 1e8]), double([1e-8, 1, 1e8]))
    close(losses.total_correlation(scaled), losses.total_correlation(covariance), rtol=1e-6, atol=1e-9)


def test_total_correlation_of_a_precision_is_what_a_diagonal_posterior_misses():
    """KL(N(0, diag 1/Λᵢᵢ) ‖ N(0, Λ⁻¹)), the best of all diagonal q."""
    precision = double([[2, 1], [1, 2]])
    exact = D.MultivariateNormal(torch.zeros(2).double(), precision_matrix=precision)
    gap = losses.total_correlation(precision)
    for factor in (0.9, 1.0, 1.1):
        best = D.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double() * factor / 2)
        kl = D.kl_divergence(best, exact)
        assert kl.item() == pytest.approx(gap.item()) if factor == 1.0 else kl > gap


# ---- the best denoiser -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sigma", "mmse", "linear"), [(0.5, 0.06860, 0.2), (1.0, 0.44960, 0.5), (2.0, 0.79595, 0.8)])
def test_tweedie_on_data_of_plus_and_minus_one(sigma, mmse, linear):
    """y + σ²∇ ln p_σ(y) = tanh(y/σ²), where p_σ is the mean of two normals, from the project's densities."""
    y = torch.linspace(-20, 20, 40_001, dtype=torch.float64, requires_grad=True)
    sides = torch.tensor([-1.0, 1.0], dtype=torch.float64).expand(len(y), 2)[..., None]
    logvar = torch.full_like(sides, 2 * math.log(sigma))
    each = losses.log_normal(y[:, None, None].expand_as(sides), sides, logvar)
    log_p = losses.importance_bound(each)
    (score,) = torch.autograd.grad(log_p.sum(), y)
    y, log_p, each = y.detach(), log_p.detach(), each.detach()
    denoised = y + sigma**2 * score
    close(denoised, torch.tanh(y / sigma**2), rtol=1e-9, atol=1e-9)
    error = 0.5 * (each.exp() * (denoised[:, None] - sides[..., 0]) ** 2).sum(1)
    assert torch.trapezoid(error, y).item() == pytest.approx(mmse, abs=6e-6)
    assert sigma**2 / (1 + sigma**2) == pytest.approx(linear)
