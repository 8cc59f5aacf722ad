"""The committed results are those of the suites that ship, and give what the truths ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from aebench import closed_forms, references, suite
from aebench.store import Store, load

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "cpu"


@pytest.mark.parametrize("name", ["beta_sweep", "quickstart", "notes", "standard"])
def test_every_run_of_the_suite_is_there_and_ended_well(name):
    wanted = [run.id for run in suite.read(name).runs]
    manifest = Store(REFERENCE / name).manifest()
    assert manifest is not None
    assert manifest["ids"] == wanted
    frame = load(REFERENCE / name)
    assert frame["id"].tolist() == wanted
    assert (frame["status"] == "ok").all()


def test_the_linear_vae_is_at_its_closed_form():
    frame = load(REFERENCE / "beta_sweep")
    means = frame[frame["variant"] == "linear_vae"].groupby("beta")[["C", "U", "S", "V", "active_units"]].mean()
    exact = closed_forms.linear_vae([4, 1, 0.25, 0.0625, 0.015625, 0.015625], 4, means.index.to_numpy())
    assert means["active_units"].tolist() == list(exact.active)
    for name in ("C", "U", "S", "V"):
        assert means[name].to_numpy() == pytest.approx(getattr(exact, name), rel=0.02, abs=0.002)


def test_the_pinwheel_follows_the_notes():
    frame = load(REFERENCE / "beta_sweep")
    means = frame[frame["data"] == "pinwheel"].groupby("kl_weight")[["C", "U", "S", "V"]].mean()
    for row in closed_forms.NOTES_BETA_SWEEP[2:]:
        ours = means.iloc[(means.index.to_series() * 10**row.log10_beta - 1).abs().argmin()]
        assert [ours["U"], ours["S"], -ours["V"]] == pytest.approx([row.U, row.S, row.minus_V], rel=0.12)
        assert row.log10_beta > 2 or ours["C"] == pytest.approx(row.C, rel=0.15)


def test_frozen_references_are_those_of_the_stored_results():
    found = references.read(references.frozen(Store(REFERENCE / "standard").documents()))
    assert found == references.load()


def test_likelihoods_of_the_standard_suite_are_in_order():
    """The importance-weighted bound is no looser than the ELBO, and no linear map of 16 units beats PCA by much.

    Both bounds are of the same examples on the digits alone, where nll takes the whole test part. PCA is the best of
    the training part; of the test part another may be, by as much as the two parts differ.
    """
    frame = load(REFERENCE / "standard")
    bounds = frame[frame["data"] == "digits"].dropna(subset=["nll", "elbo"])
    assert len(bounds) == 150
    gap = -bounds["elbo"] - bounds["nll"]
    looser = gap.groupby([bounds["variant"], bounds["kl_weight"].fillna(0)])
    assert (looser.mean() > -3 * looser.sem()).all()  # one sample an example: the ELBO of a run is noisy
    best = frame[frame["variant"] == "pca"].groupby("data")["sse"].mean()
    for variant in ("linear_ae", "tied_ae", "ppca", "wiener", "linear_vae"):
        own = frame[frame["variant"] == variant].groupby("data")["sse"].min()
        assert (own > 0.99 * best).all(), variant
