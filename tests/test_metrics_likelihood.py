"""ELBO, importance weights and exact likelihood, held to models whose ln p(x) is known (../shared/TRUTH.md)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import oracles
import pytest
import scipy.integrate
import scipy.stats
import torch
from measured import affine, doubled, errors_of, measured, numbers
from oracles import metric, optimal_linear_vae, pack, variant
from torch import distributions as D

from aebench import streams
from aebench.feed import Examples
from aebench.metrics.evaluate import evaluate
from aebench.metrics.likelihood import CHUNK
from aebench.networks import MLP, Conv
from aebench.packing import build
from aebench.variant import Normal

VAE, LINEAR_VAE = variant("vae"), variant("linear_vae")
LAMBDA = np.array([4.0, 1.0, 0.25])


@pytest.fixture(scope="module")
def gaussian():
    return oracles.training_points({"name": "gaussian", "eigenvalues": [4.0, 1.0, 0.25], "exact": True})


def optimal(b: float, latent: int = 3, count: int = 1):
    """Runs of the optimal linear VAE of the Gaussian, of likelihood variance ½."""
    sizes = LINEAR_VAE.sizes(latent=latent)
    weights = optimal_linear_vae(oracles.Spectrum(LAMBDA, np.eye(3), np.zeros(3)), latent, b)
    return pack(LINEAR_VAE, [affine(LINEAR_VAE, (3,), sizes, **weights)] * count, sizes)


# ---- where the bound is tight -----------------------------------------------------------------------------------


def test_the_bound_of_probabilistic_pca_is_tight(gaussian):
    """c = ½: −ELBO = (D/2) ln 2πc + (1/2c)(c·n + Σ inactive λ) + ½ Σ active ln(λ/c), and it is −E ln p(x)."""
    exact = 1.5 * math.log(math.pi) + (0.5 * 2 + 0.25) + 0.5 * math.log(4 / 0.5) + 0.5 * math.log(1 / 0.5)
    runs = optimal(1.0)
    (entries,) = measured(runs, gaussian, "marginal", examples=len(gaussian))
    assert numbers(entries) == pytest.approx({"nll_exact": exact, "posterior_gap": 0}, abs=2e-5)
    assert entries["posterior_gap"]["standard_error"] < 1e-6  # 0 whatever z is
    for samples in (1, 13):
        (entries,) = measured(runs, gaussian, "nll", samples=samples, examples=len(gaussian))
        assert numbers(entries) == pytest.approx(
            {"nll": exact, "nll_bits_per_dim": exact / 3 / math.log(2)}, abs=2e-5
        )  # every weight is p(x)
    (entries,) = measured(runs, gaussian, "elbo")
    assert abs(entries["elbo"]["value"] + exact) < 4 * entries["elbo"]["standard_error"]
    assert entries["bits_per_dim"]["value"] == pytest.approx(-entries["elbo"]["value"] / 3 / math.log(2))
    errors = errors_of(entries)
    assert errors["bits_per_dim"] == pytest.approx(errors["elbo"] / 3 / math.log(2))


def test_the_gap_of_a_mean_field_posterior():
    """A posterior of precision Λ, its mean known: the best diagonal q misses by ½(Σ ln Λᵢᵢ − ln|Λ|) = .14384."""
    precision = np.array([[2.0, 1.0], [1.0, 2.0]])
    W = np.linalg.cholesky(0.5 * (precision - np.eye(2))).T  # I + WᵀW/c with c = ½
    enc = np.linalg.solve(precision, 2 * W.T)
    sizes = LINEAR_VAE.sizes(latent=2)
    weights = {"enc": np.concatenate([enc, 0 * enc]), "enc_bias": [0, 0, -math.log(2), -math.log(2)], "dec": W}
    x = np.random.default_rng(1).standard_normal((20_000, 2)).astype(np.float32)
    runs = pack(LINEAR_VAE, [affine(LINEAR_VAE, (2,), sizes, **weights)], sizes)
    (entries,) = measured(runs, x, "marginal", examples=len(x))
    gap = entries["posterior_gap"]
    assert abs(gap["value"] - 0.14384) < 4 * gap["standard_error"] < 0.02
    exact = -scipy.stats.multivariate_normal(np.zeros(2), W @ W.T + np.eye(2) / 2).logpdf(x).mean()
    assert entries["nll_exact"]["value"] == pytest.approx(exact, rel=1e-5)


def test_quadrature_agrees_with_the_exact_marginal():
    """The same linear model as `linear_vae`, exact, and as `vae`, on a grid; and with scipy."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((600, 3)).astype(np.float32)
    weights = {
        "enc": 0.3 * rng.standard_normal((4, 3)), "enc_bias": [0.1, 0.2, -1, -0.5],
        "dec": rng.standard_normal((3, 2)), "dec_bias": [0.5, -0.5, 0.0],
    }  # fmt: skip
    cov = weights["dec"] @ weights["dec"].T + 0.5 * np.eye(3)
    truth = -scipy.stats.multivariate_normal(weights["dec_bias"], cov).logpdf(x).mean()
    found = []
    for v in (LINEAR_VAE, VAE):
        sizes = v.sizes(latent=2)
        (entries,) = measured(pack(v, [affine(v, (3,), sizes, **weights)], sizes), x, "marginal", examples=1000)
        assert entries["nll_exact"]["value"] == pytest.approx(truth, rel=2e-6)
        assert entries["nll_exact"]["n"] == 600
        found.append(numbers(entries))
    assert found[0] == pytest.approx(found[1], rel=1e-4)  # the same z


# ---- importance weights -----------------------------------------------------------------------------------------


def biased_posterior():
    """Posterior N(0, 1) and q = N(.5, 1.2²) for every x: the decoder ignores z."""
    sizes = VAE.sizes(latent=1)
    return pack(VAE, [affine(VAE, (2,), sizes, enc_bias=[0.5, 2 * math.log(1.2)], dec_bias=[1.0, 2.0])], sizes)


@pytest.mark.parametrize(
    ("samples", "gap"), [(1, 0.16268), (2, 0.06339), (5, 0.02176), (10, 0.01041), (50, 0.00201), (100, 0.00100)]
)
def test_the_gap_of_importance_weighting(samples, gap):
    """ln p − L_K of TRUTH, χ²/2K for large K; p(x|z) = N(x; (1, 2), ½ I) at x = (1, 2) is 1/π."""
    x = np.tile(np.float32([1, 2]), (20_000, 1))
    (entries,) = measured(biased_posterior(), x, "nll", samples=samples, examples=len(x))
    error = entries["nll"]["standard_error"]
    assert abs(entries["nll"]["value"] - math.log(math.pi) - gap) < 4 * error + 5e-6
    assert error < 0.35 * gap


def test_the_posterior_gap_is_the_divergence():
    x = np.tile(np.float32([1, 2]), (20_000, 1))
    (entries,) = measured(biased_posterior(), x, "marginal", examples=len(x))
    assert entries["nll_exact"]["value"] == pytest.approx(math.log(math.pi), rel=1e-6)
    gap = entries["posterior_gap"]
    assert abs(gap["value"] - 0.16268) < 4 * gap["standard_error"] < 0.02


LIKELIHOODS = {
    "mse": lambda out: D.Normal(out, math.sqrt(0.5)),
    "mae": lambda out: D.Laplace(out, 1.0),
    "bce": lambda out: D.Bernoulli(logits=out, validate_args=False),
    "gaussian_nll": lambda out: D.Normal(out, 1.0),
    "laplace_nll": lambda out: D.Laplace(out, 1.0),
}


@pytest.mark.parametrize("reconstruction", LIKELIHOODS)
@pytest.mark.parametrize("samples", [7, 23])
def test_weights_are_those_of_the_declared_draws(reconstruction, samples):
    """ln p(x|z) + ln p(z) − ln q(z|x) by torch.distributions, with ξ from the streams, in chunks of ten."""
    sizes = VAE.sizes(latent=3, reconstruction=reconstruction)
    net = doubled(build(VAE, (5,), MLP((6,)), sizes, 0)).double()
    scale = [p for name, p in net.named_parameters() if name.endswith("log_scale")]
    x = torch.rand(700, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).round(decimals=0)
    if scale:  # the soft floor at −6 lifts 0 by 2.5e-3
        with torch.no_grad():
            scale[0].fill_(math.log(math.expm1(6.0)) - 6.0)
    runs = pack(VAE, [net], sizes, seeds=[5])
    found = numbers(measured(runs, x, "nll", samples=samples, examples=600)[0])
    log_w = []
    for chunk in range(0, samples, 10):
        xi = [
            streams.draw(Normal((10, m, 3)), 1, streams.generator(5, "evaluation", f"nll/{chunk}/z", block))[0]
            for block, m in enumerate((500, 100))
        ]
        xi = torch.cat(xi, 1).double()[: samples - chunk]
        with torch.no_grad():
            mu, logvar = net.encode(x[:600])
            q = D.Independent(D.Normal(mu, (0.5 * logvar).exp()), 1)
            z = mu + (0.5 * logvar).exp() * xi
            p = D.Independent(LIKELIHOODS[reconstruction](net.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])), 1)
            prior = D.Independent(D.Normal(torch.zeros(3).double(), 1.0), 1)
            log_w.append(p.log_prob(x[:600]) + prior.log_prob(z) - q.log_prob(z))
    log_w = torch.cat(log_w)
    assert log_w.shape == (samples, 600)
    nll = -(log_w.exp().mean(0).log()).mean().item()
    assert found == pytest.approx({"nll": nll, "nll_bits_per_dim": nll / 5 / math.log(2)}, rel=1e-10)


def test_elbo_is_the_mean_log_weight_of_the_declared_draw():
    sizes = VAE.sizes(latent=2, reconstruction="bce")
    net = doubled(build(VAE, (4,), MLP((6,)), sizes, 0)).double()
    x = torch.rand(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (entries,) = measured(pack(VAE, [net], sizes, seeds=[2]), x, "elbo")
    xi = streams.draw(Normal((30, 2)), 1, streams.generator(2, "evaluation", "elbo/z", 0))[0].double()
    with torch.no_grad():
        mu, logvar = net.encode(x)
        q, p = D.Normal(mu, (0.5 * logvar).exp()), D.Normal(torch.zeros(2).double(), 1.0)
        logits = net.decode(mu + (0.5 * logvar).exp() * xi)
        bernoulli = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        elbo = bernoulli - D.kl_divergence(q, p).sum(1)
    assert entries["elbo"]["value"] == pytest.approx(elbo.mean().item(), rel=1e-12)
    assert entries["elbo"]["standard_error"] == pytest.approx(elbo.std().item() / math.sqrt(30), rel=1e-6)


def test_samples_come_in_chunks_of_one_shape_and_do_not_pile_up():
    nll, seen = metric("nll"), []

    def spy(model, x, noise, options):
        log_w = nll.fn(model, x, noise, options)
        seen.append(tuple(log_w.shape))
        return log_w

    x = np.zeros((700, 2), dtype=np.float32)
    evaluate(biased_posterior(), [(replace(nll, fn=spy), nll.options(45, 600))], Examples(torch.from_numpy(x)))
    assert seen == [(CHUNK, 500), (CHUNK, 100)] * 5


def test_defaults_are_500_samples_of_1000_examples():
    assert metric("nll").options() == (500, 1000)
    x = np.zeros((1001, 2), dtype=np.float32)
    (entries,) = measured(biased_posterior(), x, "nll")
    assert entries["nll"]["n"] == 1000
    assert entries["nll"]["options"] == {"samples": 500, "examples": 1000}
    assert entries["nll"]["value"] - math.log(math.pi) - 5 == pytest.approx(0.0002, abs=2e-4)  # ‖(1, 2)‖² = 5


def test_all_weights_of_an_example_see_the_same_binarisation():
    """A decoder that ignores z, and q = p: every weight is p(x), so the bound is −ELBO itself, draw by draw."""
    sizes = VAE.sizes(latent=2, reconstruction="bce")
    runs = pack(VAE, [affine(VAE, (6,), sizes, dec_bias=[-2.0, -1, 0, 0.5, 1, 3])] * 2, sizes)
    p = np.random.default_rng(0).random((700, 6), dtype=np.float32)
    elbo = measured(runs, p, "elbo", binarize=True)
    nll = measured(runs, p, "nll", binarize=True, samples=25)
    exact = measured(runs, p, "marginal", binarize=True, points=60, examples=1000)
    for one, two, three in zip(elbo, nll, exact, strict=True):
        assert two["nll"]["value"] == pytest.approx(-one["elbo"]["value"], rel=1e-5)
        assert three["nll_exact"]["value"] == pytest.approx(-one["elbo"]["value"], rel=1e-4)
    assert elbo[0]["elbo"]["value"] != elbo[1]["elbo"]["value"]  # each seed has its own


# ---- quadrature of what has no closed form ----------------------------------------------------------------------


@pytest.mark.parametrize("latent", [1, 2])
def test_the_marginal_of_a_nonlinear_decoder(latent):
    """ln p(x) and KL(q ‖ p(z|x)) by scipy's adaptive quadrature, for a Bernoulli decoder with a hidden layer."""
    sizes = VAE.sizes(latent=latent, reconstruction="bce")
    net = doubled(doubled(build(VAE, (4,), MLP((8,), "tanh"), sizes, 1)).double())
    x = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]], dtype=torch.float64)
    mu, logvar = (t.detach().numpy() for t in net.encode(x))

    def joint(i: int, *z: float) -> float:
        with torch.no_grad():
            p = net.mean(torch.tensor([z], dtype=torch.float64))[0].numpy()
        given = np.where(x[i].numpy() == 1, p, 1 - p)
        return float(np.prod(given) * np.prod(scipy.stats.norm.pdf(z)))

    span = [(-7.0, 7.0)] * latent
    options = {"epsabs": 1e-5, "epsrel": 1e-5}
    exact = [scipy.integrate.nquad(lambda *z: joint(i, *z), span, opts=options)[0] for i in range(2)]  # noqa: B023
    repeated = x.repeat_interleave(1500, 0)
    runs = pack(VAE, [net], sizes)
    (entries,) = measured(runs, repeated, "marginal", points=200 // latent, examples=len(repeated))
    assert entries["nll_exact"]["value"] == pytest.approx(-np.log(exact).mean(), rel=1e-5)
    gaps = []
    for i in range(2):
        q = [scipy.stats.norm(m, math.exp(v / 2)) for m, v in zip(mu[i], logvar[i], strict=True)]

        def integrand(*z: float, i: int = i, q=q) -> float:
            density = math.prod(n.pdf(value) for n, value in zip(q, z, strict=True))
            log_q = sum(n.logpdf(value) for n, value in zip(q, z, strict=True))
            return density * (log_q - math.log(joint(i, *z))) if density > 1e-14 else 0.0

        nodes = np.linspace(-7, 7, 101)
        points = np.array(np.meshgrid(*[nodes] * latent)).reshape(latent, -1).T
        kl = sum(integrand(*point) for point in points) * (nodes[1] - nodes[0]) ** latent
        gaps.append(kl + math.log(exact[i]))
    gap = entries["posterior_gap"]
    assert abs(gap["value"] - np.mean(gaps)) < 4 * gap["standard_error"]
    assert gap["standard_error"] < np.mean(gaps) / 5


def test_a_posterior_too_narrow_for_the_grid_gives_no_number():
    """Decoder x = 300 z, of likelihood sd .7: the posterior's sd is .0024, a step .07; a finer grid sees it."""
    sizes = VAE.sizes(latent=1)
    enc = [[1 / 300], [0.0]]
    net = affine(VAE, (1,), sizes, torch.float64, dec=[[300.0]], enc=enc, enc_bias=[0, -2 * math.log(300 * 2**0.5)])
    x = 300 * np.random.default_rng(0).standard_normal((200, 1))
    runs = pack(VAE, [net], sizes)
    (entries,) = measured(runs, x, "marginal")
    for entry in entries.values():
        assert entry["value"] is None
        assert entry["standard_error"] is None
    (entries,) = measured(runs, x, "marginal", points=10_000)
    exact = -scipy.stats.norm(0, math.sqrt(300**2 + 0.5)).logpdf(x).mean()
    assert entries["nll_exact"]["value"] == pytest.approx(exact, rel=1e-7)
    assert entries["posterior_gap"]["value"] == pytest.approx(0, abs=1e-4)


# ---- what is offered --------------------------------------------------------------------------------------------


def test_what_a_variant_does_not_offer_is_left_out():
    x = np.random.default_rng(0).random((20, 4), dtype=np.float32)

    def given(name: str, m: str, latent: int, **sizes) -> set[str]:
        v = variant(name)
        s = v.sizes(latent=latent, **sizes)
        return set(measured(pack(v, [affine(v, (4,), s)], s), x, m)[0])

    assert given("ae", "elbo", 2) == given("ae", "nll", 2) == given("ae", "marginal", 2) == set()
    assert given("vae", "elbo", 3, reconstruction="huber") == set()  # no likelihood
    assert given("vae", "elbo", 3) == {"elbo", "bits_per_dim"}
    assert given("vae", "marginal", 3) == set()  # three units, no closed form
    assert given("vae", "marginal", 2) == given("linear_vae", "marginal", 3) == {"nll_exact", "posterior_gap"}
    assert given("linear_vae", "marginal", 3, reconstruction="mae") == set()
    marginal = metric("marginal")
    assert marginal.applies({"posterior", "prior", "likelihood", "marginal"}, 3)
    assert not marginal.applies({"posterior", "prior", "likelihood"}, 3)
    assert not marginal.applies({"posterior", "prior"}, 2)


def test_a_hyperparameter_of_the_likelihood_is_that_of_the_run():
    """gaussian_vae at D(z) = 0, q = p: −ln N(x; 0, cI), its own c for each run of a pack."""
    v = variant("gaussian_vae")
    sizes = v.sizes(latent=1)
    runs = pack(v, [affine(v, (3,), sizes)] * 2, sizes)
    runs.hyper = v.hyper(torch.tensor([0.5, 3.0]))
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    for name, key, sign, options in (
        ("elbo", "elbo", -1, {}),
        ("nll", "nll", 1, {"samples": 3}),
        ("marginal", "nll_exact", 1, {}),
    ):
        for entries, c in zip(measured(runs, x, name, **options), (0.5, 3.0), strict=True):
            exact = -scipy.stats.norm(0, math.sqrt(c)).logpdf(x).sum(1).mean()
            assert sign * entries[key]["value"] == pytest.approx(exact, rel=1e-5), (name, c)


@pytest.mark.parametrize("network", [MLP((6, 5)), Conv((2, 3))])
@pytest.mark.parametrize("name", ["elbo", "nll", "marginal"])
def test_a_run_is_measured_alike_alone_and_in_a_pack(network, name):
    x = np.random.default_rng(0).random((600, 1, 8, 8), dtype=np.float32)
    sizes = VAE.sizes(latent=1 if name == "marginal" else 2)
    options = {"nll": {"samples": 12, "examples": 550}}.get(name, {})
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-12)):
        nets = [doubled(build(VAE, (1, 8, 8), network, sizes, seed)).to(dtype) for seed in range(3)]
        together = measured(pack(VAE, nets, sizes), x, name, **options)
        assert None not in [value for entries in together for value in numbers(entries).values()]
        assert len({str(numbers(entries)) for entries in together}) == 3
        for seed, net in enumerate(nets):
            (alone,) = measured(pack(VAE, [net], sizes, seeds=[seed]), x, name, **options)
            assert numbers(alone) == pytest.approx(numbers(together[seed]), rel=tolerance)
            assert errors_of(alone) == pytest.approx(errors_of(together[seed]), rel=1e-3)
        same_seed = measured(pack(VAE, nets, sizes, seeds=[1, 1, 1]), x, name, **options)
        assert numbers(same_seed[1]) == pytest.approx(numbers(together[1]), rel=tolerance)


@pytest.mark.parametrize(
    ("gain", "far", "options", "known"),
    [
        (1.0, 0.0, {}, True),
        (1.0, 14.0, {}, False),
        (1.0, 14.0, {"reach": 14.0}, True),
        (4.0, 0.0, {"points": 20}, False),
        (4.0, 0.0, {"points": 100}, True),
    ],
    ids=["fits", "two codes beyond the grid", "a wider grid", "steps wider than the posterior", "shorter steps"],
)
def test_a_grid_that_does_not_hold_the_posterior_gives_nothing(gain, far, options, known):
    """p(x|z) = N(gain·z, ½): a posterior of variance 1/(1 + 2 gain²), for two of a hundred examples far out."""
    sizes = VAE.sizes(latent=1)
    x = np.random.default_rng(0).standard_normal((100, 1)).astype(np.float32) * gain
    x[:2] += np.float32(far)
    (entries,) = measured(pack(VAE, [affine(VAE, (1,), sizes, dec=[[gain]])], sizes), x, "marginal", **options)
    truth = -scipy.stats.norm(0, math.sqrt(gain**2 + 0.5)).logpdf(x).mean()
    assert entries["nll_exact"]["value"] == (pytest.approx(truth, rel=1e-4) if known else None)
