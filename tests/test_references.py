"""Frozen references: what is 0, what is 1, for which data they hold, and how they come about."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compared import document, runs

import aebench
from aebench import references
from aebench.comparison import variants
from aebench.store import Store

PCA, AE, VAE = np.full(5, 10.0), np.array([6.0, 5.0, 7.0, 6.0, 6.0]), np.array([5.0, 5.0, 5.5, 4.5, 5.0])
SCRIPT = Path(__file__).parent / "benchmarks" / "freeze_references.py"


def find(documents, measure="sse", **of):
    spec = document("ae", 0, {}, **of)["spec"]
    return references.read(json.loads(json.dumps(references.frozen(documents)))).find(spec, measure)


def test_pca_is_zero_and_the_best_stored_setting_is_one():
    documents = [*runs("pca", "sse", PCA), *runs("ae", "sse", AE), *runs("tied_ae", "sse", VAE)]
    found = find(documents)
    assert (found.zero, found.one, found.strong) == (10, 5, "tied_ae")
    assert (found.latent, found.measure, found.data["name"]) == (8, "sse", "digits")


def test_who_is_not_ranked_is_no_reference():
    """Settings that trade error for a latent KL have the least error, and any error one likes."""
    traded = [run for beta in (0.01, 0.1) for run in runs("vae", "sse", VAE - beta, hyper={"beta": beta})]
    other = runs("tied_ae", "sse", VAE, train={"steps": 9999})
    found = find([*runs("pca", "sse", PCA), *runs("ae", "sse", AE), *runs("deep_ae", "sse", AE + 1), *traded, *other])
    assert (found.zero, found.one, found.strong) == (10, 6, "ae")


def test_higher_is_strong_where_it_is_better():
    found = find([*runs("pca", "psnr", PCA), *runs("ae", "psnr", PCA + 3), *runs("vae", "psnr", PCA - 3)], "psnr")
    assert (found.zero, found.one, found.strong) == (10, 13, "ae")


@pytest.mark.parametrize(
    "strongest",
    [
        runs("mine.py:A", "sse", PCA - 9),
        runs("vae", "sse", PCA - 9, status="diverged")[:1] + runs("vae", "sse", PCA - 9)[1:],
        runs("vae", "sse", (PCA - 9)[:3]),
        runs("vae", "sse", PCA - 9, latent=99),
        runs("vae", "sse", PCA - 9, data="mnist"),
    ],
    ids=["code of users", "one run failed", "three seeds", "another size", "another data set"],
)
def test_who_may_not_be_the_strong_run(strongest):
    assert find([*runs("pca", "sse", PCA), *runs("ae", "sse", AE), *strongest]).strong == "ae"


@pytest.mark.parametrize(
    "documents",
    [
        [*runs("pca", "sse", PCA), *runs("ae", "sse", PCA + 1)],
        [*runs("pca", "sse", PCA)],
        [*runs("ae", "sse", AE), *runs("vae", "sse", VAE)],
        [*runs("pca", "sse", PCA[:3]), *runs("ae", "sse", AE)],
    ],
    ids=["none is better", "pca alone", "no pca", "too few seeds of pca"],
)
def test_where_there_is_no_reference(documents):
    assert references.frozen(documents)["references"] == {}


def test_costs_and_times_have_none():
    names = ("sse", "parameters", "encode_latency_ms", "l0_fraction", "kl")
    both = [*runs("pca", dict.fromkeys(names, PCA)), *runs("ae", dict.fromkeys(names, AE))]
    [one] = references.frozen(both)["references"].values()
    assert list(one["measures"]) == ["sse"]


@pytest.mark.parametrize(
    "other",
    [
        {"latent": 4},
        {"data": "mnist"},
        {"data": {"name": "digits", "checksum": "other"}},
        {"data": {"name": "digits", "split": {"kind": "random", "seed": 1}}},
        {"data": {"name": "digits", "version": 2}},
        {"data": {"name": "digits", "parameters": {"side": 4}}},
    ],
)
def test_a_reference_holds_for_its_own_data_and_size(other):
    documents = [*runs("pca", "sse", PCA), *runs("ae", "sse", AE)]
    assert find(documents) is not None
    assert find(documents, "mse") is None
    assert find(documents, **other) is None


def test_it_says_where_it_came_from():
    documents = [*runs("pca", "sse", PCA), *runs("ae", "sse", AE), *runs("vae", "sse", AE + 1)]
    tree = references.frozen(documents)
    [(label, one)] = tree["references"].items()
    assert label == "digits, latent size 8"
    assert list(one["settings"]) == ["pca", "ae"]
    assert one["settings"]["ae"]["ids"] == [run["id"] for run in documents[5:10]]
    assert one["settings"]["ae"]["budget"] == "100 steps of 32, adam, fp32"
    assert tree["made"]["suites"] == ["suite"]
    assert "best mean" in tree["about"]


def test_the_script_writes_what_the_package_reads(tmp_path):
    store = Store(tmp_path / "results")
    documents = [*runs("pca", "sse", PCA), *runs("ae", "sse", AE)]
    store.publish_all([(run, {}, None) for run in documents])
    out = tmp_path / "references.json"
    command = [sys.executable, str(SCRIPT), str(store.folder), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "sse: 0 = 10, 1 = 6 (ae)" in done.stdout
    spec = documents[0]["spec"]
    assert references.read(json.loads(out.read_text("utf-8"))).find(spec, "sse") == find(documents)
    before = out.read_bytes()
    subprocess.run(command, capture_output=True, check=True)
    assert out.read_bytes() == before


def test_the_frozen_file_ships_and_is_sound():
    assert (Path(aebench.__file__).parent / references.FILE).is_file()
    tree = json.loads((Path(aebench.__file__).parent / references.FILE).read_text("utf-8"))
    for one in tree["references"].values():
        for name, measure in one["measures"].items():
            assert np.isfinite([measure["zero"], measure["one"]]).all()
            assert (measure["one"] < measure["zero"]) == (measure["better"] == "lower"), name
            strong = one["settings"][measure["strong"]]["variant"]
            assert variants.has_posterior(strong) is False, (name, strong)
            assert strong != references.ZERO
    assert len(references.load().found) == sum(len(one["measures"]) for one in tree["references"].values())
