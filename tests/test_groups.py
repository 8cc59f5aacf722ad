"""Which runs make one setting, and what it is called, beside definitions that compare every pair."""

import itertools
from collections import Counter

import numpy as np
import pytest
from synthetic import document

from aebench import groups
from aebench.plots import with_documents
from aebench.store.frame import from_documents

LR = {"points": [[0.0, 0.01], [1.0, 0.001]], "kind": "linear"}
CHOICES = {
    "variant": ["vae", "mine"],
    "hyper": [{}, {"beta": 1.0}, {"beta": 0.5}, {"beta": 0.5, "lam": 1.0}, {"beta": LR}],
    "sizes": [{"latent": 8}, {"latent": 2}],
    "train": [{"lr": 0.001}, {"lr": LR}, {"clip": 1.0}],
}


@pytest.fixture(scope="module")
def grid():
    """Every choice with every other, two seeds each, in an order of its own."""
    runs = [
        document(**dict(zip(CHOICES, c, strict=True)), seed=s)
        for c in itertools.product(*CHOICES.values())
        for s in (0, 1)
    ]
    np.random.Generator(np.random.PCG64(0)).shuffle(runs)
    return with_documents(from_documents(runs), {run["id"]: run for run in runs})


def leaves(spec):
    """The settings of a run, one level down, but for the seed and what all runs of this test share."""
    return {(part, k): v for part in ("hyper", "sizes", "train") for k, v in spec[part].items()}


def test_series_hold_what_differs_in_the_swept_field_alone(grid):
    found = groups.series(grid)
    assert sum(len(setting.rows) for line in found for setting in line.settings) == len(grid)
    for line in found:
        specs = [setting.rows["spec"].iloc[0] for setting in line.settings]
        for a, b in itertools.combinations(specs, 2):
            apart = {k for k in {*leaves(a), *leaves(b)} if leaves(a).get(k) != leaves(b).get(k)}
            assert (apart, a["variant"]) == ({("hyper", "beta")}, b["variant"])
        for setting in line.settings:
            assert sorted(setting.rows["seed"]) == [0, 1]
            assert len({str(leaves(spec)) for spec in setting.rows["spec"]}) == 1
        weights = [setting.kl_weight for setting in line.settings]
        assert weights == sorted(weights, reverse=True) or len(weights) == 1


def test_a_label_says_what_tells_a_setting_from_others_of_its_variant(grid):
    specs = [setting.rows["spec"].iloc[0] for line in groups.series(grid) for setting in line.settings]
    labels = groups.labels(specs, ["mlp 64-64"] * len(specs))
    assert max(Counter(labels).values()) == 1
    for spec, label in zip(specs, labels, strict=True):
        others = [leaves(other) for other in specs if other["variant"] == spec["variant"]]
        own = leaves(spec)
        telling = [name for name in own if any(other.get(name) != own[name] for other in others)]
        name, *told = label.split(", ")
        assert name == spec["variant"]
        assert [text.split()[0] for text in told] == [field for _, field in telling]


def test_one_setting_of_a_variant_goes_by_its_name():
    specs = [document(variant=v)["spec"] for v in ("ae", "vae")]
    assert groups.labels(specs, ["mlp 64-64", "mlp 64-64"]) == ["ae", "vae"]
    assert groups.labels([specs[0], specs[0]], ["mlp 64-64", "linear"]) == ["ae, mlp 64-64", "ae, linear"]
