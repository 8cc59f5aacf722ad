"""The notes' β sweep on the pinwheel, held to what ../shared/TRUTH.md section 1 says can be asserted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import oracles
import pytest
import torch

from aebench.feed import Examples
from aebench.networks import MLP
from aebench.optim import Descent
from aebench.schedule import Schedule
from aebench.train import Budget, Setting, train

L_BETA = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
SEEDS = 5
NOTES = {  # ⟨C⟩, ⟨U⟩, ⟨S⟩, −⟨V⟩
    1.0: (0.096, 0.770, 0.647, 2.87),
    1.5: (0.028, 0.946, 1.496, 4.94),
    2.0: (0.010, 1.033, 2.322, 6.79),
    2.5: (0.004, 1.100, 3.220, 8.77),
    3.0: (0.002, 1.179, 4.740, 12.00),
}


@pytest.fixture(scope="module")
def pinwheel() -> np.ndarray:
    return oracles.training_points("pinwheel")


@pytest.fixture(scope="module")
def sweep(pinwheel) -> SimpleNamespace:
    """All 35 runs in one pack; each value `[Lβ, seed]`. Here β = 10^Lβ is the notes', the KL weight its inverse."""
    vae = oracles.variant("vae")
    descent = Descent(lr=Schedule(((0.0, 1e-3), (0.8, 1e-4)), "step"))
    trained = train(
        vae,
        MLP((64, 64)),
        vae.sizes(latent=8),
        [Setting(seed, {"beta": 10**-l_beta}, descent) for l_beta in L_BETA for seed in range(SEEDS)],
        Budget(steps=3000, batch=128, optimizer="adam"),
        Examples(torch.from_numpy(pinwheel)),
    )
    assert trained.diverged == [None] * len(L_BETA) * SEEDS
    entries = oracles.measure(trained.runs, pinwheel, "energy", "active_units")
    grid = {
        name: np.array([run[name]["value"] for run in entries]).reshape(len(L_BETA), SEEDS)
        for name in ("C", "U", "S", "V", "kl", "active_units")
    }
    return SimpleNamespace(**grid)


def row(l_beta: float) -> int:
    return L_BETA.index(l_beta)


def test_the_pinwheel_is_that_of_the_table(pinwheel):
    """4096 points, centred, total variance .405; λ_max .2046 is that of one draw, known to 2 %."""
    assert pinwheel.shape == (4096, 2)
    values, _, mean = oracles.pca(pinwheel)
    assert mean == pytest.approx([0, 0], abs=1e-6)
    assert values.sum() == pytest.approx(0.405, rel=1e-6)
    assert values[0] == pytest.approx(0.2046, rel=0.02)


@pytest.mark.parametrize("l_beta", [1.0, 1.5, 2.0, 2.5, 3.0])
def test_energies_are_the_notes_within_12_percent(sweep, l_beta):
    i = row(l_beta)
    found = sweep.U[i].mean(), sweep.S[i].mean(), -sweep.V[i].mean()
    assert found == pytest.approx(NOTES[l_beta][1:], rel=0.12)


@pytest.mark.parametrize("l_beta", [1.0, 1.5, 2.0])
def test_error_is_the_notes_within_15_percent(sweep, l_beta):
    assert sweep.C[row(l_beta)].mean() == pytest.approx(NOTES[l_beta][0], rel=0.15)


@pytest.mark.parametrize("l_beta", [1.0, 1.5, 2.0])
def test_error_per_active_dimension_is_about_that_of_a_linear_decoder(sweep, l_beta):
    """2βC over the active dimensions would be 1 if the decoder were linear."""
    i = row(l_beta)
    ratio = (2 * 10**l_beta * sweep.C[i] / sweep.active_units[i]).mean()
    assert 0.75 < ratio < 1.15


@pytest.mark.parametrize("l_beta", L_BETA[1:])
def test_s_plus_u_is_minus_half_v(sweep, l_beta):
    i = row(l_beta)
    assert (sweep.S + sweep.U)[i].mean() == pytest.approx(-sweep.V[i].mean() / 2, rel=0.03)
    assert (sweep.S + sweep.U)[i] == pytest.approx(-sweep.V[i] / 2, rel=0.03)  # each seed too
    assert (sweep.S + sweep.U)[i] == pytest.approx(sweep.kl[i], rel=1e-5)


def test_all_is_collapsed_at_kl_weight_one(sweep):
    """λ_max = .2046 < c' = ½."""
    assert abs(sweep.U[0]).max() < 0.005
    assert abs(sweep.S[0]).max() < 0.005
    assert (sweep.active_units[0] == 0).all()
    assert sweep.C[0] == pytest.approx(np.full(SEEDS, 0.405), rel=0.01)
