"""How alike an image and its reconstruction look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aebench.metrics import Metric, NoOptions, Value
from aebench.metrics.errors import within_unit_interval
from aebench.variant import Model

if TYPE_CHECKING:
    from torch import Tensor

WINDOW, SD = 11, 1.5
"""Side of the Gaussian window and its standard deviation, in pixels."""
C1, C2 = 0.01**2, 0.03**2
"""(K₁L)² and (K₂L)² with K₁ = .01, K₂ = .03 and a range L of 1."""


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of images `[batch, channels, height, width]` of range 1, the mean over windows and channels: `[batch]`.

    No padding; the window shrinks to the largest odd side that fits. Wang et al. (2004), Image quality assessment:
    from error visibility to structural similarity, eq. 13.
    """
    height, width = x.shape[-2:]
    side = min(WINDOW, height - (height + 1) % 2, width - (width + 1) % 2)
    down, across = windows(height, side, x), windows(width, side, x)

    def mean(image: Tensor) -> Tensor:
        return down @ image @ across.T

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    ssim = (2 * mx * my + C1) * (2 * vxy + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return ssim.flatten(1).mean(1)


def windows(n: int, side: int, like: Tensor) -> Tensor:
    """Weights of every window of so many of n pixels, one a row: `[n − side + 1, n]`."""
    import torch

    places = torch.arange(n, device=like.device, dtype=like.dtype)
    away = places - places[: n - side + 1, None] - (side - 1) / 2
    weights = (-0.5 * (away / SD).square()).exp().where(away.abs() < side / 2, 0.0)
    return weights / weights.sum(1, keepdim=True)


def ssim(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: NoOptions) -> dict[str, Tensor]:
    """Of x and x̂ = D(E(x)); NaN for what is no image in [0, 1]."""
    if x.ndim != 4:
        return {"ssim": x.new_full((len(x),), math.nan)}
    return {"ssim": structural_similarity(x, model.reconstruct(x)).where(within_unit_interval(x), math.nan)}


SSIM = Metric(
    name="ssim",
    about="structural similarity of x and x̂ = D(E(x)), of images [channels, height, width] in [0, 1]",
    values=lambda options: {
        "ssim": Value(
            "1 for a perfect copy", "higher", "mean over Gaussian windows of side 11 (smaller in small images)"
        ),
    },
    fn=ssim,
)
