"""Closed forms in the loop, and the hyperparameters that a trained run keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import metric, pack, variant

import aebench
from aebench import data
from aebench import suite as suites
from aebench.errors import InputError
from aebench.feed import BLOCK, Examples, blocks
from aebench.metrics.evaluate import evaluate
from aebench.metrics.moments import Moments
from aebench.networks import MLP, Linear
from aebench.optim import Descent
from aebench.packing import build
from aebench.schedule import Schedule
from aebench.store import Store
from aebench.train import Budget, Setting, train


def points(n: int, d: int = 4) -> torch.Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def fit(name: str, x: torch.Tensor, settings: list[Setting], latent: int = 2, binarize: bool = False):
    v = variant(name)
    return train(v, Linear(), v.sizes(latent=latent), settings, Budget(7, 5, precision="fp64"), Examples(x, binarize))


@pytest.mark.parametrize("seeds", [[5], [5, 6, 5]], ids=["alone", "packed"])
def test_each_seed_has_its_own_draw_of_binarised_data(seeds: list[int]):
    x = points(300)
    result = fit("pca", x, [Setting(seed) for seed in seeds], binarize=True)
    for run, seed in enumerate(seeds):
        drawn = torch.cat([batch.x for batch in blocks(Examples(x, True), lambda m: {}, "any", [seed], torch.float64)])
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        np.testing.assert_allclose(result.runs.state["decoder.0.bias"][run], drawn.mean(0), rtol=1e-12)


@pytest.mark.parametrize("n", [BLOCK - 1, 2 * BLOCK + 7])
def test_the_curve_has_one_point_the_mean_over_all_examples(n: int):
    """Also where the last block is a short one; 1/N eigenvalues of what is left out."""
    x = points(n)
    x[-7:] *= 40
    result = fit("pca", x, [Setting(0), Setting(1)])
    left = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[:2].sum()
    assert result.curves["step"].tolist() == [0]
    np.testing.assert_allclose(result.curves["loss"], [[left, left]], rtol=1e-9)
    assert result.diverged == [None, None]


def test_a_schedule_counts_by_its_end():
    """For a closed form, for its curve, and for what a trained run keeps."""
    x, ends = points(2000), (0.1, 0.8)
    settings = [Setting(0, {"sigma": Schedule(((0.0, 3.0), (1.0, end)))}) for end in ends]
    result = fit("wiener", x, settings, latent=4)
    lam = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))
    for run, end in enumerate(ends):
        gain = (result.runs.state["decoder.0.weight"][run] @ result.runs.state["encoder.1.weight"][run]).numpy()
        np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(gain)), lam / (lam + end**2), rtol=1e-9)
        assert result.curves["loss"][0, run] == pytest.approx((lam * end**2 / (lam + end**2)).sum(), rel=0.05)
        assert float(result.runs.model(run).hp.sigma) == end
    v = variant("gaussian_vae")
    own = [Setting(0, {"variance": Schedule(((0.0, 2.0), (1.0, end)))}) for end in ends]
    trained = train(v, MLP((5,)), v.sizes(latent=2), own, Budget(3, 8, precision="fp64"), Examples(x)).runs
    assert [float(trained.model(run).hp.variance) for run in (0, 1)] == list(ends)


def test_a_pixel_at_a_time_has_its_scale():
    """The learnt scales of the elements are those of the residuals where the decoder knows nothing."""
    v, x = variant("sigma_vae"), points(4000) * torch.tensor([0.2, 1, 3, 9])
    sizes = v.sizes(latent=1, reconstruction={"name": "gaussian_nll", "scale": "pixel"})
    rate = Schedule(((0.0, 0.05), (1.0, 0.0)))
    settings = [Setting(0, {"beta": 1e4}, Descent(rate))]
    runs = train(v, Linear(), sizes, settings, Budget(1500, 256, precision="fp64"), Examples(x)).runs
    log_scale = runs.model(0).net.reconstruction.scale(x).detach()
    np.testing.assert_allclose(log_scale.exp(), x.std(0), rtol=0.02)


@pytest.mark.parametrize("latent", [4, 5])
def test_the_loop_refuses_what_a_suite_would(latent: int):
    with pytest.raises(InputError, match=f"latent {latent}: probabilistic PCA of 4 elements wants fewer"):
        fit("ppca", points(50), [Setting()], latent=latent)


def test_a_code_that_leaves_no_noise_is_a_row_that_says_so():
    flat = points(50)[:, :1] @ torch.ones(1, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="underflows"):
        fit("ppca", flat, [Setting()])


def test_a_fit_that_fails_is_a_row_and_the_others_finish(tmp_path: Path):
    """Digits have pixels that never change: 61 directions are all there are."""
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nseeds: 1\ndata: digits\ntrain: {steps: 40}\nruns:\n  - {variant: ppca, sweep: {latent: [2, 62]}}\n"
        "  - {variant: pca, sizes: {latent: 2}}\nmetrics: [reconstruction]\nfigures: []\n"
    )
    frame = aebench.run(suite, out=tmp_path, device="cpu", report=False)
    assert frame["status"].tolist() == ["ok", "failed", "ok"]
    assert "underflows" in frame["error"][1]
    document = Store(tmp_path / "results" / "s").read(frame["id"][2])
    assert document is not None
    digits = data.load(document["spec"]["data"])
    assert document["cost"]["examples"] == len(digits.train.x), "each example counts once, whatever the budget"


def test_what_a_closed_form_ignores_is_no_part_of_its_id():
    def ids(train: str) -> list[str]:
        text = f"name: s\nseeds: 1\ndata: digits\ntrain: {train}\nruns:\n  - {{variant: pca}}\n"
        return [run.id for run in suites.parse(text, "s.yaml").runs]

    assert ids("{steps: 10}") == ids("{steps: 20, lr: 0.5, optimizer: sgd, keep: best_validation}")
    assert ids("{precision: fp64}") != ids("{precision: fp32}")
    text = "name: s\ndata: digits\nruns:\n  - {variant: pca, sweep: {lr: [0.1, 0.2]}}\n"
    with pytest.raises(InputError, match="variant 'pca' is a closed form: lr changes nothing"):
        suites.parse(text, "s.yaml")


def test_a_run_of_nan_leaves_the_metrics_of_its_neighbours():
    """Exact likelihood takes a matrix apart, gains take logarithms; and one too large for a square."""
    v, x = variant("linear_vae"), points(40).float()
    nets = [build(v, (4,), Linear(), v.sizes(latent=2), seed) for seed in range(4)]
    with torch.no_grad():
        nets[1].decoder[0].weight.fill_(torch.nan)
        nets[2].decoder[0].weight *= 1e30
    names = ("reconstruction", "marginal", "elbo", "denoising", "denoising_gap", "identity", "aggregate", "energy")
    chosen = [(m, m.options()) for m in map(metric, names)]
    together = evaluate(pack(v, nets, 2), chosen, Examples(x), Moments(x.numpy()))
    for run in (0, 3):
        (alone,) = evaluate(pack(v, [nets[run]], 2, [run]), chosen, Examples(x), Moments(x.numpy()))
        for name, entry in alone.items():
            assert entry["value"] is not None, name
            assert together[run][name]["value"] == pytest.approx(entry["value"], rel=1e-4, abs=1e-5), name
    assert together[1]["sse"]["value"] is None
    assert together[2]["denoising_gain_db_0.1"]["value"] is None


def test_data_outside_the_range_are_refused_before_training(tmp_path: Path):
    suite = tmp_path / "s.yaml"
    suite.write_text("name: s\ndata: pinwheel\nruns:\n  - {variant: salt_pepper_denoising_ae, sizes: {latent: 2}}\n")
    with pytest.raises(InputError, match=r"'salt_pepper_denoising_ae' takes data in \[0, 1\]; pinwheel lies in"):
        aebench.run(suite, out=tmp_path, device="cpu")
    assert not list(tmp_path.rglob("*.json"))


def test_a_model_read_back_keeps_its_hyperparameters(tmp_path: Path):
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nseeds: 1\ndata: digits\ntrain: {steps: 4}\nnetwork: {kind: mlp, hidden: [5]}\nruns:\n"
        "  - {variant: gaussian_vae, sizes: {latent: 2}, sweep: {variance: [0.125, 2]}}\n"
        "  - {variant: ppca, sizes: {latent: 3}}\nmetrics: [elbo, marginal]\nfigures: []\n"
    )
    frame = aebench.run(suite, out=tmp_path, device="cpu", report=False)
    assert (frame["status"] == "ok").all()
    x = torch.rand(3, 1, 8, 8)
    for row in frame[frame["variant"] == "gaussian_vae"].itertuples():
        model = aebench.load_model(tmp_path / "results" / "s", row.id)
        z = torch.zeros(3, 2)
        normal = torch.distributions.Normal(model.decode(z), row.variance**0.5)
        torch.testing.assert_close(model.log_likelihood(x, z), normal.log_prob(x).flatten(1).sum(1))
    ppca = frame[frame["variant"] == "ppca"].iloc[0]
    assert ppca["posterior_gap"] == pytest.approx(0, abs=1e-3)
    assert ppca["nll_exact"] == pytest.approx(-ppca["elbo"], abs=0.1), "one z an example"
    assert np.isnan(ppca["flops_train_step"]) or ppca["flops_train_step"] is None
    again = aebench.run(suite, out=tmp_path, device="cpu", report=False)
    assert again.equals(frame)


def test_a_faulty_metric_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run says what went wrong; what could be measured, and the arrays of figures, are kept."""
    (tmp_path / "mine.py").write_text(
        "from aebench.metrics import Metric, Value\n\n\ndef fn(model, x, noise, options):\n"
        "    raise RuntimeError('no such thing')\n\n\n"
        "BAD = Metric('bad', 'raises', lambda options: {'bad': Value('1', 'lower', 'none')}, fn)\n"
    )
    (tmp_path / "s.yaml").write_text(
        "name: s\nseeds: 2\ndata: digits\ntrain: {steps: 4}\nnetwork: {kind: mlp, hidden: [5]}\nruns:\n"
        "  - {variant: vae, sizes: {latent: 2}}\nmetrics: [reconstruction, 'mine.py:BAD', energy]\nfigures: []\n"
    )
    monkeypatch.chdir(tmp_path)
    frame = aebench.run("s.yaml", device="cpu", allow_code=True, report=False)
    assert frame["sse"].notna().all()
    assert frame["kl"].notna().all()
    assert frame["error"].str.contains("no such thing").all()
    assert Store(tmp_path / "results" / "s").arrays(frame["id"][0])["x_hat"].shape == (10, 1, 8, 8)
