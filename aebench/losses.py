"""Every closed form, once. Sums over elements (pixels, units), one value an example, natural logarithms.

x: data, x̂: reconstruction, h: code, μ and ln σ²: the moments of q(z|x). A mean over examples is taken by the
training loop and by the evaluator, never here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PerExample = Float[Tensor, "batch"]
Events = Float[Tensor, "batch *event"]
Codes = Float[Tensor, "batch latent"]
Vectors = Float[Tensor, "*#batch d"]
Scalars = Float[Tensor, "*#batch"]
AnyShape = Float[Tensor, "*#shape"]


def squared_error(x: Events, x_hat: Events) -> PerExample:
    """SSE, C = Σ (x − x̂)²: squared units of the data per example. With c = ½ it is Gaussian NLL up to a constant."""
    return (x - x_hat).square().flatten(1).sum(1)


def absolute_error(x: Events, x_hat: Events) -> PerExample:
    """Σ |x − x̂|: units of the data per example."""
    return (x - x_hat).abs().flatten(1).sum(1)


def absolute_percentage_error(x: Events, x_hat: Events, epsilon: float) -> PerExample:
    """MAPE, Σ |x − x̂| / max(|x|, ε): a fraction, summed over elements, per example. Zeros of x weigh 1/ε."""
    return ((x - x_hat).abs() / x.abs().clamp(min=epsilon)).flatten(1).sum(1)


def huber(x: Events, x_hat: Events, delta: float) -> PerExample:
    """Σ ½r² where |r| ≤ δ, else δ(|r| − δ/2), r = x − x̂: squared units of the data per example. Huber (1964)."""
    return F.huber_loss(x_hat, x, reduction="none", delta=delta).flatten(1).sum(1)


def bernoulli_nll(x: Events, logits: Events) -> PerExample:
    """BCE, −Σ [x ln x̂ + (1 − x) ln(1 − x̂)] with x̂ = sigmoid(logits), x in [0, 1]: nats per example."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_nll(x: Events, mean: Events, logvar: Tensor) -> PerExample:
    """−ln N(x; μₓ, σₓ²) = Σ ½ ln 2πσₓ² + (x − μₓ)²/(2σₓ²): nats per example. `logvar` broadcasts against x."""
    return 0.5 * (math.log(2 * math.pi) + logvar + (x - mean).square() * (-logvar).exp()).flatten(1).sum(1)


def laplace_nll(x: Events, mean: Events, log_scale: Tensor) -> PerExample:
    """−ln Laplace(x; μₓ, s) = Σ ln 2s + |x − μₓ|/s: nats per example. `log_scale` broadcasts against x."""
    return (math.log(2) + log_scale + (x - mean).abs() * (-log_scale).exp()).flatten(1).sum(1)


def energy(mu: Codes) -> PerExample:
    """U = ½ Σ μ², the expected energy of the mean: nats per example."""
    return 0.5 * mu.square().sum(1)


def relative_entropy(logvar: Codes) -> PerExample:
    """S = ½ Σ (σ² − ln σ² − 1), the KL that the width of q alone costs: nats per example."""
    return 0.5 * (logvar.exp() - logvar - 1).sum(1)


def log_volume(logvar: Codes) -> PerExample:
    """V = Σ ln σ²: nats per example, twice the logarithm of the posterior's volume."""
    return logvar.sum(1)


def kl_standard_normal(mu: Codes, logvar: Codes) -> PerExample:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − ln σ² − 1) = U + S: nats per example.

    Kingma and Welling (2014), appendix B.
    """
    return energy(mu) + relative_entropy(logvar)


def reparameterise(mu: Codes, logvar: Codes, xi: Codes) -> Codes:
    """z = μ + σ ⊙ ξ, ξ ~ N(0, I). Kingma and Welling (2014), section 2.4."""
    return mu + (0.5 * logvar).exp() * xi


def kl_normal(mu: Vectors, logvar: Vectors, mu0: Vectors, logvar0: Vectors) -> Scalars:
    """KL(N(μ, diag σ²) ‖ N(μ₀, diag σ₀²)), summed over the last axis: nats. Arguments swapped: the other direction."""
    width = (logvar - logvar0).exp() - (logvar - logvar0) - 1
    return 0.5 * (width + (mu - mu0).square() * (-logvar0).exp()).sum(-1)


def log_normal(z: Vectors, mu: Vectors, logvar: Vectors) -> Scalars:
    """ln N(z; μ, diag σ²), summed over the last axis: nats."""
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mu).square() * (-logvar).exp()).sum(-1)


def log_standard_normal(z: Vectors) -> Scalars:
    """ln N(z; 0, I), summed over the last axis: nats."""
    return -0.5 * (math.log(2 * math.pi) + z.square()).sum(-1)


def log_linear_gaussian(
    x: Float[Tensor, "batch d"], W: Float[Tensor, "d latent"], b: Float[Tensor, " d"], logvar: Tensor
) -> PerExample:
    """ln N(x; b, WWᵀ + diag σ²): the exact ln p(x) of z ~ N(0, I), x|z ~ N(Wz + b, diag σ²): nats per example.

    `logvar` = ln σ², 0-dim or `[d]`. Tipping and Bishop (1999), Probabilistic principal component analysis, eq. 4.
    """
    width = (0.5 * logvar).exp()
    r, scaled = (x - b) / width, W / (width[:, None] if width.ndim else width)  # in units of the noise
    precision = scaled.T @ scaled + torch.eye(W.shape[1], dtype=W.dtype, device=W.device)  # of z given x
    root = torch.linalg.cholesky_ex(precision).L  # NaN in one run of a pack is no error in the others
    z = torch.cholesky_solve((r @ scaled).T, root).T
    squares = (r - z @ scaled.T).square().sum(1) + z.square().sum(1)
    log_determinant = 2 * root.diagonal().log().sum() + logvar.expand(b.shape).sum()
    return -0.5 * (squares + log_determinant + b.numel() * math.log(2 * math.pi))


def importance_bound(log_w: Vectors) -> Scalars:
    """L_K = ln (1/K) Σₖ wₖ ≤ ln p(x) over the last axis, w = p(x, z)/q(z|x), z ~ q: nats. K = 1 is the ELBO.

    Burda et al. (2016), Importance weighted autoencoders, eq. 8.
    """
    return log_w.logsumexp(-1) - math.log(log_w.shape[-1])


def entropy(p: Vectors) -> Scalars:
    """H(p) = −Σ p ln p of distributions along the last axis: nats. 0 ln 0 = 0."""
    return -torch.xlogy(p, p).sum(-1)


def cross_entropy(p: Vectors, q: Vectors) -> Scalars:
    """−Σ p ln q along the last axis: nats; +∞ where q = 0 < p."""
    return -torch.xlogy(p, q).sum(-1)


def kl_categorical(p: Vectors, q: Vectors) -> Scalars:
    """KL(p ‖ q) = cross entropy − entropy, along the last axis: nats; +∞ where q = 0 < p."""
    return cross_entropy(p, q) - entropy(p)


def _outcomes(p: Tensor) -> Tensor:
    return torch.stack([p, 1 - p], -1)


def entropy_bernoulli(p: AnyShape) -> AnyShape:
    """Entropy of a coin that shows 1 with probability p, element by element: nats."""
    return entropy(_outcomes(p))


def kl_bernoulli(p: AnyShape, q: AnyShape) -> AnyShape:
    """p ln(p/q) + (1 − p) ln((1 − p)/(1 − q)), element by element: nats."""
    return kl_categorical(_outcomes(p), _outcomes(q))


def kl_bernoulli_logits(p: Tensor, logits: AnyShape) -> AnyShape:
    """KL(p ‖ h) with h = sigmoid(logits), element by element: nats."""
    return -p * F.logsigmoid(logits) - (1 - p) * F.logsigmoid(-logits) - entropy_bernoulli(p)


def kl_logits_bernoulli(logits: AnyShape, p: Tensor) -> AnyShape:
    """KL(h ‖ p) with h = sigmoid(logits), the other direction, element by element: nats."""
    on, off = logits.sigmoid(), (-logits).sigmoid()
    return on * (F.logsigmoid(logits) - p.log()) + off * (F.logsigmoid(-logits) - torch.log1p(-p))


def mean_logits(logits: Codes) -> Float[Tensor, "1 latent"]:
    """The logits of h̄, the mean over the batch of h = sigmoid(logits)."""
    return (F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0))[None]


def l1_norm(h: Codes) -> PerExample:
    """‖h‖₁ = Σ |h|: units of the code per example."""
    return h.abs().sum(1)


def threshold_penalty(h: Codes, c: float | Tensor) -> PerExample:
    """Σ_{h ≥ c} (1 − h)² + Σ_{h < c} h²: units are pulled to 0 or 1, whichever side of the cut c they are on."""
    return (h - (h >= c).to(h.dtype)).square().sum(1)


def top_k(h: Codes, k: int) -> Codes:
    """h with all but the k units of largest |h| set to 0. After Makhzani and Frey (2014), who keep the largest h."""
    kept = h.abs().topk(k, dim=1).indices
    return torch.zeros_like(h).scatter(1, kept, h.gather(1, kept))


def contractive_penalty(encode: Callable[[Tensor], Tensor], x: Events) -> PerExample:
    """‖∂h/∂x‖²_F of h = E(x), exactly, by one backward pass a unit: (code per data)² per example.

    `encode` treats examples apart. Rifai et al. (2011), Contractive auto-encoders.
    """
    h, pull, *_ = torch.func.vjp(encode, x)
    units = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
    (rows,) = torch.func.vmap(lambda unit: pull(unit.expand_as(h)))(units)
    return rows.square().flatten(2).sum((0, 2))


def total_correlation(covariance: Float[Tensor, "*batch d d"]) -> Scalars:
    """½ (Σ ln Σᵢᵢ − ln|Σ|) of a Gaussian: nats, 0 where its dimensions are independent.

    Of a posterior's precision Λ it is the mean-field gap: what the best diagonal q misses in KL(q ‖ p).
    """
    return 0.5 * (covariance.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.linalg.slogdet(covariance).logabsdet)
