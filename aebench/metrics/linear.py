"""A map x -> x̂ beside the linear ones: the best linear denoiser, and the identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Gt

from aebench import losses
from aebench.metrics import Metric, Value
from aebench.metrics.moments import Moments
from aebench.metrics.reconstruction import Sigmas, decibel, pixel_noise
from aebench.variant import Model, Noise, Normal, Shape

if TYPE_CHECKING:
    from torch import Tensor

WIDEST = 4096
"""Elements of an example up to which a covariance matrix is taken apart (a minute or two)."""


def principal(moments: Moments, latent: int) -> dict[str, Any]:
    """Mean, and the first eigenvalues and eigenvectors of the training part; NaN where it is too wide."""
    import numpy as np

    rank = min(latent, moments.elements)
    if moments.elements > WIDEST:
        values, vectors = np.full(rank, math.nan), np.full((moments.elements, rank), math.nan)
    else:
        values, vectors = moments.spectrum
    return {"mean": moments.mean, "values": values[:rank], "vectors": vectors[:, :rank]}


def denoising_gap(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Sigmas) -> dict[str, Tensor]:
    """‖x̂(x̃) − x‖² of x̃ = x + σε by the model, and by the best affine map of its rank, for each σ."""
    out: dict[str, Tensor] = {}
    for sigma in options.sigmas:
        x_tilde = x + sigma * noise["corruption"]
        out[f"denoised_{sigma:g}"] = losses.squared_error(x, model.reconstruct(x_tilde))
        out[f"linear_{sigma:g}"] = losses.squared_error(x, linear_denoiser(x_tilde, noise, sigma))
    return out


def linear_denoiser(x_tilde: Tensor, known: Mapping[str, Tensor], sigma: float) -> Tensor:
    """m + U diag(λ/(λ + σ²)) Uᵀ(x̃ − m) over the largest λ: the affine map of least error among those of this rank."""
    lam, U = known["values"], known["vectors"]
    along = (x_tilde - known["mean"]).flatten(1) @ U
    return known["mean"] + (along * (lam / (lam + sigma**2)) @ U.T).view(x_tilde.shape)


def gaps(means: Mapping[str, float], options: Sigmas) -> dict[str, float]:
    """Gain of the model − gain of the linear denoiser = 10 log₁₀(E‖x̂_linear − x‖² / E‖x̂ − x‖²) for each σ."""
    return {
        f"denoising_gap_db_{sigma:g}": decibel(means[f"linear_{sigma:g}"], means[f"denoised_{sigma:g}"])
        for sigma in options.sigmas
    }


DENOISING_GAP = Metric(
    name="denoising_gap",
    about=f"denoising gain beyond the best linear denoiser of rank = latent, fitted on at most {WIDEST} elements",
    values=lambda options: {
        f"denoising_gap_db_{sigma:g}": Value("dB", "higher", f"gain beyond the best linear denoiser's at σ = {sigma:g}")
        for sigma in options.sigmas
    },
    fn=denoising_gap,
    options=Sigmas,
    noise=pixel_noise,
    training=principal,
    finish=gaps,
)


class Scale(NamedTuple):
    """`scale`: standard deviation of the inputs off the data, in units of the data."""

    scale: Annotated[float, Gt(0)] = 1.0


def off_data_noise(batch: int, event_shape: Shape, latent: int, options: Scale) -> Noise:
    """One input off the data an example."""
    return {"v": Normal((batch, *event_shape))}


def identity(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Scale) -> dict[str, Tensor]:
    """‖r(x) − x‖² and ‖x − m‖² on the data, and at m + scale·v, v ~ N(0, I)."""
    m = noise["mean"].expand(x.shape)
    off = m + options.scale * noise["v"]
    return {
        "error_on_data": losses.squared_error(x, model.reconstruct(x)),
        "size_on_data": losses.squared_error(x, m),
        "error_off_data": losses.squared_error(off, model.reconstruct(off)),
        "size_off_data": losses.squared_error(off, m),
    }


def shares(means: Mapping[str, float], options: Scale) -> dict[str, float]:
    """Error / squared distance from the mean; undefined where that is 0."""
    return {
        f"identity_{where}": means[f"error_{where}"] / means[f"size_{where}"] if means[f"size_{where}"] else math.nan
        for where in ("on_data", "off_data")
    }


IDENTITY = Metric(
    name="identity",
    about="whether x -> D(E(x)) copies (0), answers the mean m of the training part (1), or neither",
    values=lambda options: {
        "identity_on_data": Value("fraction of variance", "lower", "E‖r(x) − x‖² / E‖x − m‖² on the data"),
        "identity_off_data": Value(
            "fraction of variance", "neither", f"the same at x = m + {options.scale:g}·v, v ~ N(0, I)"
        ),
    },
    fn=identity,
    options=Scale,
    noise=off_data_noise,
    training=lambda moments, latent: {"mean": moments.mean},
    finish=shares,
)
