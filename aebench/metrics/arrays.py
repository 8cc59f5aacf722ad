"""The arrays that figures need, kept beside the document of each run: few examples, and digits that can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aebench import losses
from aebench.feed import Batch, Examples
from aebench.metrics.evaluate import Chosen, Codes, encode, head, walk
from aebench.metrics.reconstruction import Sigmas
from aebench.variant import Model, Noise, Normal

if TYPE_CHECKING:
    from aebench.packing import Runs

Arrays = dict[str, np.ndarray]

SHOWN, SAMPLES = 10, 12
"""Reconstructions and prior samples of images that are kept."""
SCATTERED, SCATTERED_SAMPLES = 500, 250
"""Codes, points of 2-D data, and prior samples of 2-D data that are kept."""
UNITS = 16
"""Units of a code that are kept; of a wider one those of largest variance."""
NOISY, LEVELS = 3, 4
"""Images that are denoised for a figure, and the σ at which they are."""
TRAVERSED, STEPS, REACH = 3, 5, 3.0
"""Latents that are traversed, the values that each takes, and how far from 0 where the code has the prior N(0, I)."""
HALF = ("x_hat", "samples", "codes", "codes_sd", "noise", "denoised", "traversals")
"""Arrays of many numbers, whose first three digits are all that a figure shows."""


@torch.no_grad()
def arrays(
    runs: Runs, part: Examples, labels: np.ndarray | None, codes: Codes | None = None, chosen: Chosen = ()
) -> list[Arrays]:
    """What figures need of each run; `codes` are those of the part where they are known, `chosen` the suite's metrics.

    Of all data: codes of the first examples (`codes_units` says which units of wide ones), their σ where the code is
    random, with `kl_per_dimension [latent]`, nats, the mean over the part; labels. Of points in the plane: `points`
    and `points_hat`; of all others `x` and `x_hat`. `samples`, where there is a prior. Of images further:

    - `denoised [image, σ, *event]`: D(E(x + σ `noise`)) of the first images at the `sigmas` that metric "denoising"
      measures; the noise is a function of seed and device, so it is the same for every variant;
    - `traversals [unit, step, *event]`: the code of the first image, decoded with one of its units, `traversed`, moved
      over `traversed_range [unit, 2]`: to ±3 where the code is random, else from least to greatest of the codes kept.
    """
    plane, image = part.x.shape[1:] == (2,), part.x.ndim in (3, 4)
    sigmas = noise_levels(chosen) if image else ()
    kept = shown(runs, head(part, SCATTERED if plane else SHOWN), plane, sigmas)
    codes = codes or encode(runs, part if "posterior" in runs.offers else head(part, SCATTERED))
    kl = torch.vmap(kl_per_dimension)(codes["h"], codes["logvar"]) if "logvar" in codes else None
    kept |= scattered(codes) | ({} if kl is None else {"kl_per_dimension": kl})
    start = kept.pop("start")
    if image:
        kept |= traversals(runs, start[:, 0], codes, kl)
    told = {} if labels is None else {"labels": labels[:SCATTERED]}
    told |= {"sigmas": np.array(sigmas)} if image else {}
    whole = {name: as_numpy(value) for name, value in kept.items()}
    return [stored({name: value[run] for name, value in whole.items()}) | told for run in range(len(runs.seeds))]


def noise_levels(chosen: Chosen) -> tuple[float, ...]:
    """The σ at which metric "denoising" measures, by its defaults where it is not chosen; of many some, evenly."""
    asked = [options.sigmas for metric, options in chosen if metric.name == "denoising"]
    sigmas = sorted(asked[0] if asked else Sigmas().sigmas)
    places = np.linspace(0, len(sigmas) - 1, min(LEVELS, len(sigmas))).round().astype(int)
    return tuple(sigmas[place] for place in places)


def shown(runs: Runs, part: Examples, plane: bool, sigmas: tuple[float, ...]) -> dict[str, Tensor]:
    """The examples of a part, their codes (`start`), what comes back, and samples: `{name: [runs, n, ...]}`."""
    x, x_hat = ("points", "points_hat") if plane else ("x", "x_hat")
    samples = SCATTERED_SAMPLES if plane else SAMPLES

    def drawn(model: Model, x_: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = {x: x_, x_hat: model.reconstruct(x_), "start": model.encode(x_)}
        if sigmas:
            out["noise"] = noise["corruption"]
            out["denoised"] = torch.stack([model.reconstruct(x_ + sigma * noise["corruption"]) for sigma in sigmas], 1)
        return out | {"samples": model.sample(noise["prior"])} if "prior" in runs.offers else out

    def declared(m: int) -> Noise:
        noise = {"prior": Normal((samples, runs.latent))}
        return noise | {"corruption": Normal((m, *part.x.shape[1:]))} if sigmas else noise

    kept = walk(runs, part, {"figures": (drawn, declared)})["figures"]
    count = {"samples": samples, "noise": NOISY, "denoised": NOISY}
    return {name: value[:, : count.get(name)] for name, value in kept.items()}


def scattered(codes: Codes) -> dict[str, Tensor]:
    """The first codes, of wide ones the units of largest variance."""
    kept = {"codes": codes["h"][:, :SCATTERED]}
    if "logvar" in codes:
        kept["codes_sd"] = (0.5 * codes["logvar"][:, :SCATTERED]).exp()
    if kept["codes"].shape[2] > UNITS:
        units = most(variances(codes), UNITS).sort(1).values
        kept = {name: value.gather(2, units[:, None].expand(-1, value.shape[1], -1)) for name, value in kept.items()}
        kept["codes_units"] = units
    return kept


def traversals(runs: Runs, start: Tensor, codes: Codes, kl: Tensor | None) -> dict[str, Tensor]:
    """Codes `start [runs, latent]` decoded with the most active units moved, one at a time.

    Those are the units of largest `kl [runs, latent]` where the code is random, else of largest variance.
    """
    units = most(variances(codes) if kl is None else kl, TRAVERSED)
    seen = codes["h"][:, :SCATTERED]
    low, high = (seen.amin(1), seen.amax(1)) if kl is None else (0 * start - REACH, 0 * start + REACH)
    ends = torch.stack([low.gather(1, units), high.gather(1, units)], 2)
    values = ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * torch.linspace(0, 1, STEPS).to(ends)
    z = start[:, None, None].expand(-1, *values.shape[1:], -1)
    z = z.scatter(3, units[:, :, None, None].expand(-1, -1, STEPS, 1), values[..., None]).flatten(1, 2)
    stacked = len(runs.seeds) > 1
    batch = Batch(start, {"z": z if stacked else z[0]}, 0 if stacked else None, 0 if stacked else None)
    decoded = runs.each(lambda model, x, noise: {"x": model.decode(noise["z"])}, batch)["x"]
    decoded = decoded.unflatten(1, values.shape[1:])
    return {"traversals": decoded, "traversed": units, "traversed_range": ends}


def variances(codes: Codes) -> Tensor:
    """Of each unit over the first codes: `[runs, latent]`."""
    return codes["h"][:, :SCATTERED].var(1, correction=0)


def most(activity: Tensor, count: int) -> Tensor:
    """The units of largest activity `[runs, latent]`, largest first: at most `count` of them; ties by their order."""
    return activity.sort(dim=1, descending=True, stable=True).indices[:, :count]


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """The mean over examples of KL(q(zᵢ|x) ‖ N(0, 1)), for each unit: `[latent]`, nats."""
    kl = losses.kl_standard_normal(mu.reshape(-1, 1), logvar.reshape(-1, 1))
    return kl.view(mu.shape).mean(0)


def as_numpy(value: Tensor) -> np.ndarray:
    """On the CPU, in single precision where it is no integer."""
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


def stored(kept: Mapping[str, Any]) -> Arrays:
    """What is written of a run: images made for figures alone in 256 greys, long arrays in half precision."""
    x = kept.get("x")
    unit = x is not None and bool((x >= 0).all() and (x <= 1).all())
    return {
        name: greys(value) if unit and name in ("denoised", "traversals") else halved(value) if name in HALF else value
        for name, value in kept.items()
    }


def greys(value: np.ndarray) -> np.ndarray:
    """Values of [0, 1] as whole numbers of 1/255; what lies outside, as nothing that is drawn does, is cut."""
    return np.rint(255 * np.nan_to_num(value).clip(0, 1)).astype(np.uint8)


def halved(value: np.ndarray) -> np.ndarray:
    """In half precision, unless that would move a number by a hundredth of their standard deviation or more."""
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    near = np.abs(half.astype(np.float32) - value).max(initial=0) < 0.01 * value.std()
    return half if near else value
