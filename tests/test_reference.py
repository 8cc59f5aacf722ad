"""The committed results are those of the suites that ship, and give what the truths ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from aebench import closed_forms, suite
from aebench.store import Store, load

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "cpu"


@pytest.mark.parametrize("name", ["beta_sweep", "quickstart", "notes"])
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
