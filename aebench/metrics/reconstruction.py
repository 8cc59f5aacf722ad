"""How well x comes back: from itself, and from a noisy copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Gt, MinLen

from aebench import losses
from aebench.metrics import Metric, NoOptions, Value
from aebench.variant import Model, Noise, Normal, Shape

if TYPE_CHECKING:
    from torch import Tensor


def reconstruction(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: NoOptions) -> dict[str, Tensor]:
    """Errors of x̂ = D(E(x)), through the mean code where the code is random."""
    sse, flat = losses.squared_error(x, model.reconstruct(x)), x.flatten(1)
    peak_of_1 = (flat.amin(1) >= 0) & (flat.amax(1) <= 1)
    return {"sse": sse, "mse": sse / flat.shape[1], "peak_of_1": peak_of_1.to(x.dtype)}


def with_psnr(means: Mapping[str, float], options: NoOptions) -> dict[str, float]:
    """PSNR = 10 log₁₀(1 / MSE), of the MSE averaged over examples; undefined unless all data lie in [0, 1]."""
    psnr = decibel(1.0, means["mse"]) if means["peak_of_1"] == 1 else math.nan
    return {"sse": means["sse"], "mse": means["mse"], "psnr": psnr}


def decibel(signal: float, error: float) -> float:
    """10 log₁₀(signal / error); NaN where a side is not positive and finite."""
    sound = 0 < signal < math.inf and 0 < error < math.inf
    return 10 * (math.log10(signal) - math.log10(error)) if sound else math.nan


RECONSTRUCTION = Metric(
    name="reconstruction",
    about="reconstruction error through the deterministic code (z = μ where the code is random)",
    values=lambda options: {
        "sse": Value("squared units of the data, summed over elements, per example", "lower", "Σ (x − x̂)²"),
        "mse": Value("squared units of the data per element", "lower", "mean of (x − x̂)² over elements"),
        "psnr": Value("dB", "higher", "10 log₁₀(1 / MSE), of data in [0, 1]"),
    },
    fn=reconstruction,
    finish=with_psnr,
)


class Sigmas(NamedTuple):
    """`sigmas`: standard deviations of the noise added, in units of the data; the noisy input is not clipped."""

    sigmas: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.1, 0.25, 0.5, 1.0)


def pixel_noise(batch: int, event_shape: Shape, latent: int, options: Sigmas) -> Noise:
    """One draw for all σ, so that gains at different σ are paired."""
    return {"corruption": Normal((batch, *event_shape))}


def denoising(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Sigmas) -> dict[str, Tensor]:
    """‖x̃ − x‖² and ‖x̂(x̃) − x‖² of x̃ = x + σε, for each σ."""
    out: dict[str, Tensor] = {}
    for sigma in options.sigmas:
        x_tilde = x + sigma * noise["corruption"]
        out[f"noisy_{sigma:g}"] = losses.squared_error(x, x_tilde)
        out[f"denoised_{sigma:g}"] = losses.squared_error(x, model.reconstruct(x_tilde))
    return out


def gains(means: Mapping[str, float], options: Sigmas) -> dict[str, float]:
    """10 log₁₀(E‖x̃ − x‖² / E‖x̂ − x‖²) for each σ."""
    return {
        f"denoising_gain_db_{sigma:g}": decibel(means[f"noisy_{sigma:g}"], means[f"denoised_{sigma:g}"])
        for sigma in options.sigmas
    }


DENOISING = Metric(
    name="denoising",
    about="how much closer to x the reconstruction of x + σε is than x + σε itself",
    values=lambda options: {
        f"denoising_gain_db_{sigma:g}": Value("dB", "higher", f"denoising gain at σ = {sigma:g}")
        for sigma in options.sigmas
    },
    fn=denoising,
    options=Sigmas,
    noise=pixel_noise,
    finish=gains,
)
