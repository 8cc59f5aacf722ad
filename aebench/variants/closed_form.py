"""Linear models with a closed form: they stand in the same tables as the trained ones, and take no step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aebench.errors import InputError
from aebench.variant import Network, Shape, elements
from aebench.variants.autoencoder import LINEAR_AE, NoHyper, Sizes
from aebench.variants.denoising import DENOISING_AE, DenoisingHyper
from aebench.variants.variational import LINEAR_VAE, LatentSizes, SigmaSizes, VAEHyper, vae_loss

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_pca(event_shape: Shape, network: Network, sizes: LatentSizes) -> nn.Module:
    return LINEAR_AE.build(event_shape, network, Sizes(sizes.latent))


def build_ppca(event_shape: Shape, network: Network, sizes: LatentSizes) -> nn.Module:
    return LINEAR_VAE.build(event_shape, network, SigmaSizes(sizes.latent))


def at_most_elements(sizes: LatentSizes, event_shape: Shape) -> None:
    """At most as many latent units as elements."""
    if sizes.latent > elements(event_shape):
        raise InputError(f"latent {sizes.latent}: data of {elements(event_shape)} elements have no more components")


def fewer_than_elements(sizes: LatentSizes, event_shape: Shape) -> None:
    """Fewer latent units than elements, so that there is variance left for the noise."""
    if sizes.latent >= elements(event_shape):
        raise InputError(
            f"latent {sizes.latent}: probabilistic PCA of {elements(event_shape)} elements wants fewer, so that there "
            "is variance left for the noise"
        )


def principal(x: Tensor, latent: int) -> tuple[Any, Any, Any]:
    """By scikit-learn: the mean m, the components U `[elements, latent]`, and their variances λ `[latent]`, over N."""
    from sklearn.decomposition import PCA as Principal

    if len(x) < latent:
        raise ValueError(f"latent {latent}: {len(x)} examples have no more components")
    found: Any = Principal(latent, svd_solver="covariance_eigh").fit(x.flatten(1).cpu().numpy())
    return found.mean_, found.components_.T, found.singular_values_**2 / len(x)


def affine(x: Tensor, way: str, matrix: Any, offset: Any) -> dict[str, Tensor]:
    """The parameters of the encoder ("encoder.1") or decoder ("decoder.0") of the linear network."""
    return {f"{way}.weight": x.new_tensor(matrix), f"{way}.bias": x.new_tensor(offset)}


def fit_pca(net: Any, x: Tensor, hp: NoHyper) -> Mapping[str, Tensor]:
    m, U, _ = principal(x, net.decoder[0].in_features)
    return affine(x, "encoder.1", U.T, -U.T @ m) | affine(x, "decoder.0", U, m)


PCA = replace(
    LINEAR_AE,
    name="pca",
    about="principal component analysis, by scikit-learn: the best linear autoencoder, in closed form",
    formula="h = Uᵀ(x − m), x̂ = U h + m, U the first d eigenvectors of the covariance; E‖x − x̂‖² = Σ_{i>d} λᵢ",
    source="Pearson (1901), On lines and planes of closest fit to systems of points in space",
    build=build_pca,
    sizes=LatentSizes,
    check=at_most_elements,
    fit=fit_pca,
)


def fit_wiener(net: Any, x: Tensor, hp: DenoisingHyper) -> Mapping[str, Tensor]:
    m, U, variances = principal(x, net.decoder[0].in_features)
    gain = variances / (variances + float(hp.sigma) ** 2)
    return affine(x, "encoder.1", (U * gain).T, -(U * gain).T @ m) | affine(x, "decoder.0", U, m)


WIENER = replace(
    PCA,
    name="wiener",
    about="the best linear denoiser of rank d: regression of x on x + σε, in closed form",
    formula="x̂ = U diag(λ/(λ + σ²)) Uᵀ(x̃ − m) + m; E‖x − x̂‖² = Σ_{i≤d} λᵢσ²/(λᵢ + σ²) + Σ_{i>d} λᵢ",
    source="Wiener (1949), Extrapolation, interpolation, and smoothing of stationary time series",
    losses=DENOISING_AE.losses,
    hyper=DenoisingHyper,
    noise=DENOISING_AE.noise,
    fit=fit_wiener,
)


def fit_ppca(net: Any, x: Tensor, hp: NoHyper) -> Mapping[str, Tensor]:
    m, U, variances = principal(x, net.decoder[0].in_features)
    D, d = U.shape
    noise = ((x.flatten(1).cpu().numpy() - m) ** 2).sum(1).mean() - variances.sum()
    noise = max(noise / (D - d), 0.0)
    raw = net.reconstruction.raw(math.log(noise) / 2 if noise > 0 else -math.inf)
    W = U * (variances - noise).clip(0) ** 0.5
    posterior = noise / variances.clip(noise)
    mean = (W / variances.clip(noise)).T
    zero = 0 * mean
    encoder = np.concatenate([mean, zero]), np.concatenate([-mean @ m, np.log(posterior)])
    scale = {"reconstruction.log_scale": x.new_tensor([raw])}
    return affine(x, "encoder.1", *encoder) | affine(x, "decoder.0", W, m) | scale


def ppca_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: NoHyper) -> dict[str, Tensor]:
    return vae_loss(net, x, noise, VAEHyper(beta=1.0))


PPCA = replace(
    LINEAR_VAE,
    name="ppca",
    about="probabilistic PCA at its maximum likelihood, in closed form: the best linear VAE of learnt variance",
    formula="p(x) = N(m, WWᵀ + σ²I), W = U(Λ − σ²I)^½, σ² = mean of λᵢ, i > d; q(z|x) = p(z|x)",
    source="Tipping and Bishop (1999), Probabilistic principal component analysis, eq. 7 and 8",
    build=build_ppca,
    losses={"": ppca_loss},
    hyper=NoHyper,
    sizes=LatentSizes,
    check=fewer_than_elements,
    fit=fit_ppca,
    lacks=None,
)
