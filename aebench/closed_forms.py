"""Exact answers for Gaussian data and linear maps, and the notes' printed table, to draw beside what was measured.

Convention everywhere: loss = SSE + b·KL with b the KL weight, so that c′ = b/2. The energy view's β (the notes')
is 1/b, and Lβ = log₁₀ β. Squared units of the data and nats, per example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aebench.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyView:
    """The energy view at one or several KL weights; every field has the shape of the KL weights asked for."""

    C: Floats
    """SSE with a sampled z: squared units of the data per example."""
    U: Floats
    """½ Σ μ²: nats per example."""
    S: Floats
    """½ Σ (σ² − ln σ² − 1): nats per example."""
    V: Floats
    """Σ ln σ²: nats per example."""
    active: NDArray[np.int64]
    """Latent dimensions in use."""

    @property
    def kl(self) -> Floats:
        """KL = U + S: nats per example."""
        return self.U + self.S


def linear_vae(eigenvalues: ArrayLike, latent: int, kl_weight: ArrayLike) -> EnergyView:
    """The global optimum of the linear VAE (probabilistic PCA) under SSE + b·KL.

    `eigenvalues [D]` of the data covariance, `latent` the size of the code, `kl_weight` b > 0, any shape. A latent
    dimension is active iff λᵢ > c′ = b/2; then σᵢ² = c′/λᵢ and it costs an error of c′. Every other eigenvalue stays.
    For Gaussian data no variational autoencoder does better where `latent` holds all active dimensions.
    Source: Tipping and Bishop (1999); Lucas et al. (2019), section 4. Raises InputError outside these ranges.
    """
    lam = _spectrum(eigenvalues)
    b = np.asarray(kl_weight, np.float64)
    if latent < 1 or not np.all(b > 0) or not np.all(np.isfinite(b)):
        raise InputError(f"linear VAE: latent {latent} and KL weight {kl_weight!r} must be positive and finite")
    c = b[..., None] / 2
    kept = (np.arange(lam.size) < latent) & (lam > c)
    variance = np.where(kept, c / np.where(lam > 0, lam, 1), 1)
    return EnergyView(
        C=np.where(kept, c, lam).sum(-1),
        U=0.5 * (1 - variance).sum(-1),
        S=0.5 * (variance - 1 - np.log(variance)).sum(-1),
        V=np.log(variance).sum(-1),
        active=kept.sum(-1),
    )


def collapse_weights(eigenvalues: ArrayLike, latent: int) -> Floats:
    """The KL weights b = 2λᵢ at which the linear VAE gives up a latent dimension, largest first: `[≤ latent]`."""
    lam = _spectrum(eigenvalues)[:latent]
    return 2 * lam[lam > 0]


def gaussian_rate(eigenvalues: ArrayLike, distortion: ArrayLike) -> Floats:
    """R(C) of a Gaussian source: the least KL, in nats per example, that any model pays for an SSE of C.

    `eigenvalues [D]`, `distortion` C > 0 of any shape, in squared units of the data per example; the rate is zero
    from the total variance on. Reverse water-filling: Cover and Thomas, Elements of Information Theory, theorem 10.3.3.
    """
    lam = _spectrum(eigenvalues)
    lam = lam[lam > 0]
    C = np.asarray(distortion, np.float64)
    if not np.all(C > 0):
        raise InputError(f"rate of a Gaussian source: distortion {distortion!r} must be positive")
    levels = np.concatenate([[0.0], lam[::-1]])
    spilled = np.minimum(levels[:, None], lam).sum(1)  # Σ min(θ, λᵢ) is piecewise linear in the water level θ
    theta = np.interp(C, spilled, levels)
    return 0.5 * np.log(np.maximum(lam / theta[..., None], 1)).sum(-1)


def linear_copy(eigenvalues: ArrayLike, latent: ArrayLike, sigma: float) -> tuple[Floats, Floats]:
    """Distance from the identity of the best linear map of rank `latent [widths]` that denoises N(0, σ²) noise.

    Raises InputError for eigenvalues that are none.

    It keeps the share gᵢ = λᵢ/(λᵢ + σ²) of the first `latent` directions. On the data Σ λᵢ(1 − gᵢ)²/Σ λᵢ, off them (the
    same variance in every direction) the mean of (1 − gᵢ)²: `[widths]` each, fractions of the variance.
    """
    lam = _spectrum(eigenvalues)
    kept = np.arange(len(lam)) < np.asarray(latent)[..., None]
    rest = 1 - kept * lam / (lam + sigma**2)
    return (lam * rest**2).sum(-1) / lam.sum(), (rest**2).mean(-1)


def _spectrum(eigenvalues: ArrayLike) -> Floats:
    lam = np.sort(np.asarray(eigenvalues, np.float64).ravel())[::-1]
    if not lam.size or not np.all(np.isfinite(lam)) or lam[-1] < 0 or lam[0] == 0:
        raise InputError(f"eigenvalues {eigenvalues!r}: need finite values, none negative and one above zero")
    return lam


class NotesRow(NamedTuple):
    """A row of the notes' β sweep. `C` in squared units of the data, the others in nats, all per example."""

    log10_beta: float
    C: float
    U: float
    S: float
    minus_V: float


NOTES_BETA_SWEEP = (
    NotesRow(0.0, 0.405, 0.000, 0.000, 0.00),
    NotesRow(0.5, 0.365, 0.117, 0.003, 0.28),
    NotesRow(1.0, 0.096, 0.770, 0.647, 2.87),
    NotesRow(1.5, 0.028, 0.946, 1.496, 4.94),
    NotesRow(2.0, 0.010, 1.033, 2.322, 6.79),
    NotesRow(2.5, 0.004, 1.100, 3.220, 8.77),
    NotesRow(3.0, 0.002, 1.179, 4.740, 12.00),
)
"""As printed. The notes do not name their data; row 0.5 is not converged (its loss is above the linear optimum)."""

NOTES_SOURCE = "lecture notes, table of the β sweep (energy view, data not named, row 0.5 unconverged)"
NOTES_EIGENVALUES = (0.2025, 0.2025)
"""Two dimensions that share the notes' total variance of 0.405."""
