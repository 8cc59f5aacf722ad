"""The aggregate posterior, the activity of units, and the KL of each latent dimension (../shared/TRUTH.md)."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import scipy.integrate
import scipy.stats
import torch
from measured import affine, doubled, errors_of, measured, numbers
from oracles import metric, optimal_linear_vae, pack, variant

from aebench import streams
from aebench.feed import Examples
from aebench.metrics.arrays import arrays
from aebench.networks import MLP, Conv
from aebench.packing import build
from aebench.variant import Normal

AE, VAE, LINEAR_VAE = variant("ae"), variant("vae"), variant("linear_vae")


def posterior(mu: np.ndarray, sd: np.ndarray | float, count: int = 1, seeds: tuple[int, ...] = ()):
    """Runs that encode x to q = N(x, sd²), and the x that have these means."""
    d = mu.shape[1]
    sizes = VAE.sizes(latent=d)
    bias = np.concatenate([np.zeros(d), 2 * np.log(np.broadcast_to(sd, d))])
    enc = np.concatenate([np.eye(d), np.zeros((d, d))])
    net = affine(VAE, (d,), sizes, torch.float64, enc=enc, enc_bias=bias)
    return pack(VAE, [net] * count, sizes, seeds), mu.astype(np.float64)


# ---- aggregate --------------------------------------------------------------------------------------------------


def test_the_aggregate_of_the_optimal_linear_vae_is_the_prior():
    """Gaussian data: q(z) = N(0, I), so that I_q(x; z) = KL = 1.38629 at c' = ½; N components cost about χ²/2N."""
    x = oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})
    sizes = LINEAR_VAE.sizes(latent=3)
    weights = optimal_linear_vae(oracles.Spectrum(np.array([4.0, 1.0, 0.25]), np.eye(3), np.zeros(3)), 3, 1.0)
    runs = pack(LINEAR_VAE, [affine(LINEAR_VAE, (3,), sizes, **weights)] * 6, sizes)
    for entries in measured(runs, x, "aggregate", examples=len(x)):
        assert entries["mutual_information"]["value"] == pytest.approx(1.38629, abs=0.004)
        assert entries["aggregate_kl"]["value"] == pytest.approx(0, abs=0.004)
        total = sum(entry["value"] for entry in entries.values())
        assert total == pytest.approx(1.38629, abs=2e-5)


def test_the_parts_of_a_mixture_of_three_by_quadrature():
    """KL(q(z) ‖ p) over the line; the mean of 3000 draws of three z, whatever the control variate takes away."""
    mu, sd = np.array([[-2.0], [0.3], [1.0]]), 0.6

    def q(z: float) -> float:
        return float(np.mean([scipy.stats.norm.pdf(z, m, sd) for m in mu[:, 0]]))

    exact = scipy.integrate.quad(lambda z: q(z) * (math.log(q(z)) - scipy.stats.norm.logpdf(z)), -8, 6)[0]
    kl = np.mean(0.5 * (mu**2 + sd**2 - 1) - math.log(sd))
    runs, x = posterior(mu, sd, 1, (0,))
    tiled = np.tile(x, (3000, 1))  # the same mixture, of 9000 components
    (entries,) = measured(runs, tiled, "aggregate", examples=9000)
    for name, truth in (("aggregate_kl", exact), ("mutual_information", kl - exact)):
        assert abs(entries[name]["value"] - truth) < 4 * entries[name]["standard_error"] + 1e-9, name
        assert entries[name]["standard_error"] < 0.02
        assert entries[name]["n"] == 9000


def test_the_information_is_that_of_the_declared_draw():
    """By torch.distributions, with ξ from the seed's stream: E[ln q(z|x) − ln q(z)], less slope · (its KL's error)."""
    d, n = 4, 700
    mu = np.random.default_rng(0).standard_normal((n, d))
    sd = np.array([0.2, 0.5, 1.0, 1.5])
    runs, x = posterior(mu, sd, 1, (3,))
    (entries,) = measured(runs, np.concatenate([x, x]), "aggregate", examples=n)
    xi = torch.cat([
        streams.draw(Normal((m, d)), 1, streams.generator(3, "evaluation", "aggregate/z", i))[0]
        for i, m in enumerate((500, 200))
    ]).double()  # fmt: skip
    scale = torch.from_numpy(np.broadcast_to(sd, (n, d)).copy())
    q = torch.distributions.Independent(torch.distributions.Normal(torch.from_numpy(mu), scale), 1)
    weights = torch.distributions.Categorical(logits=torch.zeros(n).double())
    z = q.mean + scale * xi
    p = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(d).double(), 1.0), 1)
    told = q.log_prob(z) - torch.distributions.MixtureSameFamily(weights, q).log_prob(z)
    error = q.log_prob(z) - p.log_prob(z) - torch.distributions.kl_divergence(q, p)
    slope = np.polyfit(error, told, 1)[0]
    kl = torch.distributions.kl_divergence(q, p).mean().item()
    information = told.mean().item() - slope * error.mean().item()
    assert entries["mutual_information"]["value"] == pytest.approx(information, rel=1e-3)
    assert entries["aggregate_kl"]["value"] == pytest.approx(kl - information, rel=1e-3)
    assert entries["mutual_information"]["value"] + entries["aggregate_kl"]["value"] == pytest.approx(kl, rel=1e-12)


def test_examples_told_apart_for_certain_give_ln_n():
    runs, x = posterior(np.arange(50.0)[:, None], 1e-3)
    (entries,) = measured(runs, x, "aggregate")
    kl = np.mean(0.5 * (x**2 + 1e-6 - 1)) - math.log(1e-3)
    assert entries["mutual_information"]["value"] == pytest.approx(math.log(50), rel=1e-9)
    assert entries["aggregate_kl"]["value"] == pytest.approx(kl - math.log(50), rel=1e-9)
    (entries,) = measured(runs, x, "aggregate", examples=20)
    assert entries["mutual_information"]["value"] == pytest.approx(math.log(20), rel=1e-9)


def test_a_collapsed_code_says_nothing():
    runs, x = posterior(np.zeros((40, 2)), 1.0)
    (entries,) = measured(runs, x, "aggregate")
    assert numbers(entries) == pytest.approx({"aggregate_kl": 0, "mutual_information": 0}, abs=1e-12)


def test_a_code_without_a_posterior_has_no_aggregate():
    sizes = AE.sizes(latent=2)
    runs = pack(AE, [affine(AE, (2,), sizes)], sizes)
    assert measured(runs, np.zeros((5, 2), dtype=np.float32), "aggregate") == [{}]


# ---- activity ---------------------------------------------------------------------------------------------------


def activity(codes: np.ndarray, **options: float):
    """The entries for an autoencoder whose code is its input."""
    d = codes.shape[1]
    sizes = AE.sizes(latent=d)
    runs = pack(AE, [affine(AE, (d,), sizes, enc=np.eye(d), dec=np.eye(d))], sizes)
    return measured(runs, codes.astype(np.float32), "activity", **options)[0]


@pytest.mark.parametrize(
    ("code", "gini"),
    [
        ((0, 0, -7, 0), 0.75),
        ((3, -3, 3, 3), 0),
        ((0, 0, 0, 0), 0),
        ((1, 2, 3, 4), 0.25),
        ((4, 0, -4, 0), 0.5),
        ((5,), 0),
    ],
)
def test_gini_of_known_codes(code, gini):
    """Half the mean absolute difference over the mean: Σᵢⱼ ||hᵢ| − |hⱼ|| / (2 d Σ |h|)."""
    size = np.abs(np.array(code, dtype=float))
    by_pairs = np.abs(size[:, None] - size).sum() / (2 * len(size) * max(size.sum(), 1e-9))
    assert by_pairs == pytest.approx(gini)
    assert activity(np.array([code, code]))["gini"]["value"] == pytest.approx(gini, abs=1e-6)
    assert activity(1000 * np.array([code, code]))["gini"]["value"] == pytest.approx(gini, abs=1e-6)


def test_activity_of_normal_codes():
    """Gini √2 − 1, mean |h| √(2/π), P(|h| < .1), P(.9 < h < 1.1); the Gini of d units is off by about 1/d."""
    n, d = 400, 2000
    entries = activity(np.random.default_rng(0).standard_normal((n, d)))
    phi = scipy.stats.norm.cdf
    exact = {
        "gini": math.sqrt(2) - 1, "mean_activation": math.sqrt(2 / math.pi), "near_zero": phi(0.1) - phi(-0.1),
        "near_one": phi(1.1) - phi(0.9),
    }  # fmt: skip
    for name, value in exact.items():
        error = entries[name]["standard_error"]
        assert abs(entries[name]["value"] - value) < 4 * error + 3e-4 * (name == "gini"), name
    for name in ("near_zero", "near_one"):
        spread = math.sqrt(exact[name] * (1 - exact[name]) / (n * d))
        assert entries[name]["standard_error"] == pytest.approx(spread, rel=0.15)
    assert entries["dead_units"]["value"] == 0
    assert "standard_error" not in entries["dead_units"]


def test_units_near_the_ends_and_dead_ones():
    codes = np.array([[0.05, 1.05, -1.0, 0.2, 0.0], [0.01, 0.95, -0.95, 0.0, 0.009]])
    found = numbers(activity(codes))
    assert found["near_zero"] == pytest.approx((2 + 3) / 10)
    assert found["near_one"] == pytest.approx(2 / 10)  # −1 is not near 1
    assert found["mean_activation"] == pytest.approx(np.abs(codes).mean(), rel=1e-6)
    assert found["dead_units"] == 1
    wide = numbers(activity(codes, near=0.25, threshold=0.05))
    assert wide["near_zero"] == pytest.approx((3 + 3) / 10)
    assert wide["dead_units"] == 2
    assert numbers(activity(codes, threshold=0.0))["dead_units"] == 0
    assert metric("activity").options() == (0.1, 0.01)


def test_a_unit_is_dead_over_the_whole_part():
    """More examples than a block, the last one alone alive."""
    codes = np.zeros((1203, 3))
    codes[-1, 1] = 1
    entries = activity(codes)
    assert entries["dead_units"]["value"] == 2
    assert entries["mean_activation"]["value"] == pytest.approx(1 / 3 / 1203, rel=1e-5)
    assert entries["mean_activation"]["n"] == 1203


# ---- the KL of each dimension -----------------------------------------------------------------------------------


def test_kl_per_dimension_is_kept_of_the_whole_part():
    rng = np.random.default_rng(0)
    mu, sd = rng.standard_normal((1203, 3)) * [2, 1, 0], np.array([0.1, 0.7, 1.0])
    runs, x = posterior(mu, sd, 2)
    q = torch.distributions.Normal(torch.from_numpy(mu), torch.from_numpy(sd))
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0).numpy()
    for kept in arrays(runs, Examples(torch.from_numpy(x)), None):
        assert kept["kl_per_dimension"].dtype == np.float32
        np.testing.assert_allclose(kept["kl_per_dimension"], exact, rtol=1e-6, atol=1e-7)
        assert kept["codes"].shape == kept["codes_sd"].shape == (500, 3)
        np.testing.assert_allclose(kept["codes"], mu[:500], rtol=1e-3, atol=1e-7)  # in half precision
    (energy, _) = measured(runs, x, "energy")
    assert energy["kl"]["value"] == pytest.approx(exact.sum(), rel=1e-9)
    sizes = AE.sizes(latent=2)
    (kept,) = arrays(pack(AE, [affine(AE, (3,), sizes)], sizes), Examples(torch.zeros(9, 3)), None)
    assert "kl_per_dimension" not in kept


# ---- packs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [MLP((6, 5)), Conv((2, 3))])
@pytest.mark.parametrize("name", ["aggregate", "activity"])
def test_a_run_is_measured_alike_alone_and_in_a_pack(network, name):
    x = np.random.default_rng(0).random((600, 1, 8, 8), dtype=np.float32)
    sizes = VAE.sizes(latent=3)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-11)):
        nets = [doubled(build(VAE, (1, 8, 8), network, sizes, seed)).to(dtype) for seed in range(3)]
        together = measured(pack(VAE, nets, sizes), x, name)
        assert len({str(numbers(entries)) for entries in together}) == 3
        for seed, net in enumerate(nets):
            (alone,) = measured(pack(VAE, [net], sizes, seeds=[seed]), x, name)
            assert numbers(alone) == pytest.approx(numbers(together[seed]), rel=tolerance, abs=1e-3 * tolerance)
            assert errors_of(alone) == pytest.approx(errors_of(together[seed]), rel=1e-3)
