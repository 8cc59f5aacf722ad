"""The loss and the code of each variant, written out in NumPy from the outputs of its encoder and decoder alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import variant
from scipy import special, stats

from aebench import streams, suite
from aebench.errors import InputError
from aebench.networks import MLP, Linear
from aebench.packing import build
from aebench.store.frame import from_documents
from aebench.variant import Model

D, LATENT, BATCH = 6, 4, 9
NETWORK = MLP((7,), "tanh")


class Bench:
    """A net with random weights, a batch, its noise; and what its encoder and decoder give, as arrays."""

    def __init__(self, name: str, latent: int = LATENT, event: tuple[int, ...] = (D,), **sizes) -> None:
        self.variant = variant(name)
        self.sizes = self.variant.sizes(latent=latent, **sizes)
        self.net = build(self.variant, event, Linear() if self.variant.networks else NETWORK, self.sizes, 3).double()
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter *= 3
        self.x = torch.rand(BATCH, *event, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        declared = self.variant.noise(BATCH, event, self.sizes)
        self.noise = {k: streams.noise_chunk(0, k, 0, spec)[0].double() for k, spec in declared.items()}

    def terms(self, **hyper: float) -> dict[str, np.ndarray]:
        """What the loss gives with these hyperparameters, `[batch]` each."""
        hp = self.variant.hyper(*(torch.tensor(v, dtype=torch.float64) for v in self.variant.hyper(**hyper)))
        (loss,) = self.variant.losses.values()
        return {name: term.detach().numpy() for name, term in loss(self.net, self.x, self.noise, hp).items()}

    def code(self) -> np.ndarray:
        """What metrics see as the code."""
        return Model(self.variant, self.net, self.sizes, None).encode(self.x).detach().numpy()

    def encoder(self, x) -> np.ndarray:
        return self.net.encoder(torch.as_tensor(x)).detach().numpy()

    def decoder(self, h) -> np.ndarray:
        return self.net.decoder(torch.as_tensor(h)).detach().numpy()

    def error(self, h) -> np.ndarray:
        """SSE of the clean x."""
        return ((self.x.numpy() - self.decoder(h)) ** 2).reshape(BATCH, -1).sum(1)


def test_sparse_threshold():
    bench = Bench("sparse_threshold_ae")
    h = bench.encoder(bench.x)
    pull = np.where(h >= 0.25, (1 - h) ** 2, h**2).sum(1)
    assert (h >= 0.25).any()
    assert ((h >= 0.25) & (h < 0.5)).any(), "a cut at the default would give the same"
    terms = bench.terms(lam=0.7, c=0.25)
    np.testing.assert_allclose(terms["threshold"], pull, rtol=1e-12)
    np.testing.assert_allclose(terms["loss"], bench.error(h) + 0.7 * pull, rtol=1e-12)
    np.testing.assert_allclose(bench.code(), h)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("average", ["batch", "example"])
def test_sparse_kl(direction: str, average: str):
    bench = Bench("sparse_kl_ae", direction=direction, average=average)
    h, p = special.expit(bench.encoder(bench.x)), 0.2
    q = h.mean(0, keepdims=True) if average == "batch" else h
    one, other = (q, np.full_like(q, p)) if direction == "reverse" else (np.full_like(q, p), q)
    kl = np.sum(special.rel_entr(one, other) + special.rel_entr(1 - one, 1 - other), axis=1)
    terms = bench.terms(lam=0.7, p=p)
    np.testing.assert_allclose(terms["sparsity"], np.broadcast_to(kl, BATCH), rtol=1e-10)
    np.testing.assert_allclose(terms["loss"], bench.error(h) + 0.7 * kl, rtol=1e-10)
    np.testing.assert_allclose(bench.code(), h, rtol=1e-12)


def test_sparse_l1():
    bench = Bench("sparse_l1_ae")
    raw = bench.encoder(bench.x)
    assert (raw < 0).any()
    assert (raw > 0).any()
    h = np.maximum(raw, 0)
    terms = bench.terms(lam=0.7)
    np.testing.assert_allclose(terms["l1"], h.sum(1), rtol=1e-12)
    np.testing.assert_allclose(terms["loss"], bench.error(h) + 0.7 * h.sum(1), rtol=1e-12)
    np.testing.assert_allclose(bench.code(), h)


def test_top_k():
    bench = Bench("topk_ae", latent=5, k=2)
    raw = bench.encoder(bench.x)
    h = np.where(stats.rankdata(-np.abs(raw), axis=1) <= 2, raw, 0)
    assert ((h != 0).sum(1) == 2).all()
    assert (h < 0).any(), "the size counts, not the value"
    np.testing.assert_allclose(bench.terms()["loss"], bench.error(h), rtol=1e-12)
    np.testing.assert_allclose(bench.code(), h)


def test_contractive():
    """The Jacobian of the code, by central differences."""
    bench, step = Bench("contractive_ae"), 1e-5
    x = bench.x.numpy()
    columns = [(bench.encoder(x + step * e) - bench.encoder(x - step * e)) / (2 * step) for e in np.eye(D)]
    norm = (np.stack(columns, -1) ** 2).reshape(BATCH, -1).sum(1)
    terms = bench.terms(lam=0.7)
    np.testing.assert_allclose(terms["jacobian"], norm, rtol=1e-7)
    np.testing.assert_allclose(terms["loss"], bench.error(bench.encoder(x)) + 0.7 * norm, rtol=1e-7)


def test_overcomplete():
    bench = Bench("overcomplete_ae", latent=9)
    h = bench.encoder(bench.x.numpy() + 0.4 * bench.noise["corruption"].numpy())
    terms = bench.terms(sigma=0.4, lam=0.7)
    np.testing.assert_allclose(terms["loss"], bench.error(h) + 0.7 * np.abs(h).sum(1), rtol=1e-12)
    np.testing.assert_allclose(bench.code(), bench.encoder(bench.x))


def test_corruptions():
    """The target is clean; of a share p of the inputs, all are masked, or half are salt and half pepper."""
    for name, values in (("masking_denoising_ae", {0.0}), ("salt_pepper_denoising_ae", {0.0, 1.0})):
        bench = Bench(name, event=(40,))
        seen: list[torch.Tensor] = []
        bench.net.encoder.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        loss = bench.terms(p=0.4)["loss"]
        x, x_tilde = bench.x.numpy(), seen[0].numpy()
        changed = x_tilde != x
        assert set(np.unique(x_tilde[changed])) == values
        assert stats.binomtest(int(changed.sum()), changed.size, 0.4).pvalue > 1e-3
        if len(values) == 2:
            assert stats.binomtest(int(x_tilde[changed].sum()), int(changed.sum()), 0.5).pvalue > 1e-3
        np.testing.assert_allclose(loss, bench.error(bench.encoder(x_tilde)), rtol=1e-12)
        np.testing.assert_allclose(bench.code(), bench.encoder(x), err_msg="metrics give it the clean input")


def test_tied():
    """Orthonormal at the beginning; encoder and decoder are one matrix."""
    v = variant("tied_ae")
    net = build(v, (D,), Linear(), v.sizes(latent=LATENT), 0)
    U = net.decoder[0].weight.detach().numpy()
    np.testing.assert_allclose(U.T @ U, np.eye(LATENT), atol=1e-6)
    bench = Bench("tied_ae")
    U, b = (p.detach().numpy() for p in (bench.net.decoder[0].weight, bench.net.decoder[0].bias))
    x_hat = (bench.x.numpy() - b) @ U @ U.T + b
    np.testing.assert_allclose(bench.terms()["loss"], ((bench.x.numpy() - x_hat) ** 2).sum(1), rtol=1e-10)


@pytest.mark.parametrize("scale", ["shared", "pixel", "decoder"])
@pytest.mark.parametrize("name", ["gaussian_nll", "laplace_nll"])
def test_learnt_scales(name: str, scale: str):
    """One number, one an element, or the second half of the decoder's output; ln σ = −6 + softplus(raw + 6)."""
    bench = Bench("ae", event=(2, 3, 1), reconstruction={"name": name, "scale": scale})
    output = bench.decoder(bench.encoder(bench.x))
    if scale == "decoder":
        assert output.shape == (BATCH, 4, 3, 1)
        mean, raw = output[:, :2], output[:, 2:]
    else:
        parameter = bench.net.reconstruction.log_scale
        assert tuple(parameter.shape) == ((1,) if scale == "shared" else (2, 3, 1))
        with torch.no_grad():
            parameter += torch.linspace(-1, 1, parameter.numel()).view(parameter.shape)
        mean, raw = output, parameter.detach().numpy()
    sigma = np.exp(-6 + np.log1p(np.exp(raw + 6)))
    kind = stats.norm if name == "gaussian_nll" else stats.laplace
    expected = -kind.logpdf(bench.x.numpy(), mean, np.broadcast_to(sigma, mean.shape)).reshape(BATCH, -1).sum(1)
    np.testing.assert_allclose(bench.terms()["loss"], expected, rtol=1e-10)
    model = Model(bench.variant, bench.net, bench.sizes, None)
    np.testing.assert_allclose(model.reconstruct(bench.x).detach().numpy(), mean)


def test_losses_with_options():
    for chosen, expected in (
        ({"name": "huber", "delta": 0.2}, lambda x, y: special.huber(0.2, x - y)),
        ({"name": "mape", "epsilon": 0.3}, lambda x, y: np.abs(x - y) / np.maximum(np.abs(x), 0.3)),
        ("mae", lambda x, y: np.abs(x - y)),
        ("bce", lambda x, y: -x * np.log(special.expit(y)) - (1 - x) * np.log(special.expit(-y))),
    ):
        bench = Bench("ae", reconstruction=chosen)
        output = bench.decoder(bench.encoder(bench.x))
        np.testing.assert_allclose(bench.terms()["loss"], expected(bench.x.numpy(), output).sum(1), rtol=1e-10)
        model = Model(bench.variant, bench.net, bench.sizes, None)
        x_hat = special.expit(output) if chosen == "bce" else output
        np.testing.assert_allclose(model.reconstruct(bench.x).detach().numpy(), x_hat, rtol=1e-12)


def test_variants_of_one_likelihood_take_no_other():
    for name, refused in (("sigma_vae", "mse"), ("laplace_vae", "gaussian_nll"), ("bernoulli_vae", "mse")):
        text = f"name: s\ndata: digits\nruns:\n  - {{variant: {name}, sizes: {{reconstruction: {refused}}}}}\n"
        with pytest.raises(InputError, match=f"unknown reconstruction '{refused}'"):
            suite.parse(text, "s.yaml")


def test_the_notes_beta_is_one_over_the_weight():
    text = "name: s\nseeds: 1\ndata: digits\nruns:\n  - {variant: energy_vae, sweep: {notes_beta: [10, 0.5]}}\n"
    specs = [run.spec for run in suite.parse(text, "s.yaml").runs]
    documents = [
        {"id": str(i), "suite": "s", "status": "failed", "spec": s, "metrics": {}} for i, s in enumerate(specs)
    ]
    frame = from_documents(documents)
    assert frame["kl_weight"].tolist() == [0.1, 2]
    assert frame["notes_beta"].tolist() == [10, 0.5]


def test_no_exact_likelihood_where_the_decoder_gives_the_scale():
    v = variant("linear_vae")
    offered = lambda loss: "marginal" in v.offers(v.sizes(reconstruction=loss))  # noqa: E731
    assert offered("mse")
    assert offered({"name": "gaussian_nll", "scale": "shared"})
    assert offered({"name": "gaussian_nll", "scale": "pixel"})
    assert not offered({"name": "gaussian_nll", "scale": "decoder"})
    assert not offered("bce")
    assert not offered("mae")
