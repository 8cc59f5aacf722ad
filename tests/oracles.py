"""What the tests hold the code to: closed forms written out again from ../shared/TRUTH.md, in NumPy and float64.

Nothing here calls a loss, a metric or `aebench.closed_forms`. Convention: loss = SSE + b·KL, c' = b/2.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from aebench import data
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.metrics import METRICS
from aebench.metrics.evaluate import evaluate
from aebench.packing import Runs, build, stack, state_of
from aebench.plugins import resolve
from aebench.schedule import Schedule
from aebench.variant import Shape, Variant
from aebench.variants import VARIANTS


def variant(name: str) -> Any:
    return resolve(VARIANTS, "variants", name)


def metric(name: str) -> Any:
    return resolve(METRICS, "metrics", name)


# ---- data ------------------------------------------------------------------------------------------------------


def mnist_images(published: Any) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 training images (train and validation) and the 10,000 test images, uint8 `[n, 1, 28, 28]`.

    `published`: the fixture, which skips and names the file where one lacks.
    """
    mnist = published("mnist")
    train = np.concatenate([mnist.train.x, mnist.validation.x])
    assert train.dtype == np.uint8
    assert (len(train), len(mnist.test.x)) == (60_000, 10_000)
    return train, mnist.test.x


@functools.cache
def mnist_spectrum(published: Any) -> Spectrum:
    """Of all 60,000 training images: section 3 of TRUTH."""
    spectrum = pca(mnist_images(published)[0])
    assert spectrum.values.sum() == pytest.approx(52.7250, abs=6e-5)
    return spectrum


def training_points(entry: str | Mapping[str, Any]) -> np.ndarray:
    entry = {"name": entry} if isinstance(entry, str) else entry
    return data.load(data.describe({**entry, "split": "none"})).train.x


class Spectrum(NamedTuple):
    """Eigenvalues of the 1/N covariance, largest first, their vectors in columns, and the mean."""

    values: np.ndarray
    vectors: np.ndarray
    mean: np.ndarray


def pca(x: np.ndarray) -> Spectrum:
    flat = x.reshape(len(x), -1).astype(np.float64)
    if x.dtype == np.uint8:
        flat /= 255
    mean = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat) - np.outer(mean, mean))
    return Spectrum(values[::-1].copy(), vectors[:, ::-1].copy(), mean)


# ---- sizes that a variant takes

LATENTS = (3, 1, 50, 100)
"""Units of the code: of these, a test takes the first that its variant accepts."""


def fitting(variant: Variant, event_shape: Shape) -> Any:
    """The variant's sizes: small ones that it accepts for such events."""
    for latent in LATENTS:
        sizes = variant.sizes()._replace(latent=latent)
        sizes = sizes._replace(k=2) if "k" in sizes._fields else sizes
        if accepted(variant, sizes, event_shape):
            return sizes
    raise AssertionError(f"{variant.name} accepts none of {LATENTS} for events of {event_shape}")


def accepted(variant: Variant, sizes: Any, event_shape: Shape) -> bool:
    """Whether a variant takes these sizes."""
    try:
        if variant.check is not None:
            variant.check(sizes, event_shape)
    except InputError:
        return False
    return True


# ---- nets whose weights are set by hand ------------------------------------------------------------------------


def linear_net(v: Any, network: Any, event: tuple[int, ...], latent: int, **weights: Any) -> torch.nn.Module:
    """A net of affine maps with these weights: enc `[out, D]`, enc_bias, dec `[D, latent]`, dec_bias; others 0."""
    net = build(v, event, network, v.sizes(latent=latent), 0)
    encoder = [m for m in net.encoder if isinstance(m, torch.nn.Linear)]
    decoder = [m for m in net.decoder if isinstance(m, torch.nn.Linear)]
    assert len(encoder) == len(decoder) == 1
    places = {"enc": encoder[0].weight, "enc_bias": encoder[0].bias, "dec": decoder[0].weight,
              "dec_bias": decoder[0].bias}  # fmt: skip
    with torch.no_grad():
        for name, place in places.items():
            value = torch.tensor(weights.pop(name, np.zeros(tuple(place.shape))), dtype=place.dtype)
            assert value.shape == place.shape, name
            place.copy_(value)
    assert not weights
    return net


def pack(v: Any, nets: Sequence[torch.nn.Module], sizes: Any, seeds: Sequence[int] = (), **hyper: float) -> Runs:
    """Runs of these nets, as if trained with these hyperparameters; the template is a copy, for `Runs` writes into it.

    `sizes`: the variant's, or the number of latents alone.
    """
    sizes = v.sizes(latent=sizes) if isinstance(sizes, int) else sizes
    dtype = next(nets[0].parameters()).dtype
    settings = v.hyper(*(torch.full((len(nets),), value, dtype=dtype) for value in v.hyper(**hyper)))
    states = stack([state_of(net) for net in nets])
    return Runs(v, copy.deepcopy(nets[0]), sizes, list(seeds or range(len(nets))), states, settings)


def measure(runs: Runs, x: np.ndarray | torch.Tensor, *names: str, **options: Any) -> list[dict[str, Any]]:
    """Entries of these metrics for each run; options of a metric under its name."""
    chosen = [(m, options.get(name, m.options())) for name in names for m in [metric(name)]]
    return evaluate(runs, chosen, Examples(torch.as_tensor(x)))


def values(entries: Mapping[str, Any]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in entries.items()}


def optimal_linear_vae(spectrum: Spectrum, latent: int, b: float) -> dict[str, np.ndarray]:
    """Probabilistic PCA's optimum as weights of a linear VAE: E(x) = (μ, ln σ²), D(z)."""
    lam, c = spectrum.values[:latent], b / 2
    active = lam > c
    scale = np.sqrt(np.where(active, lam - c, 0))
    dec = spectrum.vectors[:, :latent] * scale
    enc = dec.T / lam[:, None]
    logvar = np.where(active, np.log(c / lam), 0)
    return {
        "enc": np.concatenate([enc, np.zeros_like(enc)]),
        "enc_bias": np.concatenate([-enc @ spectrum.mean, logvar]),
        "dec": dec,
        "dec_bias": spectrum.mean,
    }


# ---- closed forms ----------------------------------------------------------------------------------------------


class Energies(NamedTuple):
    C: float
    U: float
    S: float
    V: float
    kl: float
    sse: float
    """Reconstruction error at the posterior mean."""
    active: int

    def loss(self, b: float) -> float:
        return self.C + b * self.kl


def linear_vae(lam: np.ndarray, latent: int, b: float) -> Energies:
    """TRUTH section 2, linear VAE = probabilistic PCA."""
    lam, c = np.asarray(lam, dtype=np.float64), b / 2
    kept = lam[:latent][lam[:latent] > c]
    rest, r = lam.sum() - kept.sum(), c / kept
    U, S = 0.5 * (1 - r).sum(), 0.5 * (r - 1 - np.log(r)).sum()
    return Energies(
        C=c * len(kept) + rest,
        U=U,
        S=S,
        V=np.log(r).sum(),
        kl=-0.5 * np.log(r).sum(),
        sse=(c * r).sum() + rest,
        active=int((1 - r > 0.01).sum()),
    )


def energies_of(net: torch.nn.Module, x: np.ndarray) -> Energies:
    """The energies of a linear VAE with E over ξ done by hand: E‖x − D(μ + σξ)‖² = ‖x − D(μ)‖² + Σ σⱼ²‖Wⱼ‖²."""
    state = {name: p.detach().double().numpy() for name, p in net.named_parameters()}
    flat = x.reshape(len(x), -1).astype(np.float64)
    mu, logvar = np.split(flat @ state["encoder.1.weight"].T + state["encoder.1.bias"], 2, axis=1)
    W = state["decoder.0.weight"]
    sse = ((flat - mu @ W.T - state["decoder.0.bias"]) ** 2).sum(axis=1).mean()
    U, V = 0.5 * (mu**2).sum(axis=1).mean(), logvar.sum(axis=1).mean()
    S = 0.5 * (np.exp(logvar) - logvar - 1).sum(axis=1).mean()
    C = sse + (np.exp(logvar) @ (W**2).sum(axis=0)).mean()
    return Energies(C=C, U=U, S=S, V=V, kl=U + S, sse=sse, active=int((mu.var(axis=0) > 0.01).sum()))


def rate(lam: np.ndarray, distortion: float) -> float:
    """R(C) of a Gaussian in nats by reverse water-filling, the water level by bisection."""
    lam = np.asarray(lam, dtype=np.float64)
    low, high = 0.0, float(lam.max())
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(lam, level).sum() < distortion else (low, level)
    return float(0.5 * np.log(np.maximum(lam, low) / low).sum())


def wiener(lam: np.ndarray, sigma: float, rank: int | None = None) -> tuple[float, float]:
    """Error of the best linear denoiser of this rank, and its gain in dB."""
    lam = np.asarray(lam, dtype=np.float64)
    rank = len(lam) if rank is None else rank
    error = (lam[:rank] * sigma**2 / (lam[:rank] + sigma**2)).sum() + lam[rank:].sum()
    return float(error), float(10 * np.log10(len(lam) * sigma**2 / error))


def bishop(net: torch.nn.Module, x: np.ndarray, sigma: float) -> float:
    """E‖x − x̂(x + σε)‖² of an affine net over a sample: E‖x − x̂(x)‖² + σ²‖W‖²_F."""
    state = {name: p.detach().double().numpy() for name, p in net.named_parameters()}
    flat = x.reshape(len(x), -1).astype(np.float64)
    W = state["decoder.0.weight"] @ state["encoder.1.weight"]
    bias = state["decoder.0.weight"] @ state["encoder.1.bias"] + state["decoder.0.bias"]
    return float(((flat - flat @ W.T - bias) ** 2).sum(axis=1).mean() + sigma**2 * (W**2).sum())


def cooled(lr: float) -> Schedule:
    """Half of the steps at lr, then down to a thousandth of it, so that what is left is not the gradient's noise."""
    return Schedule(((0.0, lr), (0.5, lr), (0.75, lr / 10), (1.0, lr / 1000)), "linear")
