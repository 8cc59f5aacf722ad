"""From a suite to its results, in this process: what is trained, what is kept, what is not done twice."""

from __future__ import annotations

import io
import json
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from safetensors.numpy import save_file

import aebench
from aebench import pipeline, suite
from aebench.errors import InputError
from aebench.progress import Progress
from aebench.store import Store

POINTS = "{name: pinwheel, n: 256, n_validation: 64, n_test: 64}"
RUNS = """\
  - {variant: linear_ae}
  - {variant: ae, network: {kind: mlp, hidden: [4]}, seeds: [7]}
  - {variant: vae, sweep: {beta: [0.1, 1]}}
"""
TIMED = {f"{way}_{what}" for way in ("encode", "decode") for what in ("latency_ms", "examples_per_s")}
AROUND = {"rel": 1e-4, "abs": 1e-5}
"""How well runs agree that were trained or measured in another pack (float32)."""


def text(
    runs: str = RUNS, *, name: str = "trial", metrics: str = "[reconstruction, energy]", seeds: str = "2", **more: str
) -> str:
    """A suite that trains in a moment."""
    keys = {
        "name": name, "about": "a trial", "seeds": seeds, "data": POINTS, "network": "{kind: mlp, hidden: [8]}",
        "train": "{steps: 32, batch: 32}", "metrics": metrics, "figures": "[curves]", **more,
    }  # fmt: skip
    return "".join(f"{key}: {value}\n" for key, value in keys.items()) + f"runs:\n{runs}"


def written(folder: Path, content: str, name: str = "trial.yaml") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def go(folder: Path, content: str, **options: Any) -> pipeline.Done:
    """Run a suite below a folder, without a report."""
    planning = {key: options.pop(key) for key in ("retry_failed", "retrain") if key in options}
    allow_code = options.pop("allow_code", False)
    wanted = suite.parse(content, "trial.yaml", allow_code=allow_code)
    todo = pipeline.plan(wanted, folder, allow_code=allow_code, **planning)
    options = {"report": False, "progress": Progress(quiet=True), "device": "cpu", **options}
    return pipeline.execute(todo, allow_code=allow_code, **options)


def store_of(folder: Path, name: str = "trial") -> Store:
    return Store(folder / "results" / name)


def documents(folder: Path, name: str = "trial") -> dict[str, dict[str, Any]]:
    store = store_of(folder, name)
    found = {document["id"]: document for document in store.documents()}
    assert not store.problems
    return found


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and what is in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def values(document: dict[str, Any], *, timed: bool = False) -> dict[str, float]:
    found = {name: m["value"] for name, m in document["metrics"].items() if timed or name not in TIMED}
    return {name: value for name, value in found.items() if value is not None}  # PSNR of points: undefined


def weights(folder: Path, id: str) -> bytes:
    return store_of(folder).weights_path(id).read_bytes()


def unchanged(before: dict[str, tuple[int, bytes]], after: dict[str, tuple[int, bytes]], id: str) -> bool:
    names = [name for name in before if id in name]
    return bool(names) and all(after.get(name) == before[name] for name in names)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Wide and convolutional networks take every core; the tests after them should not."""
    yield
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the trial has run, with its report. Not to be written to: take a `copy`."""
    folder = tmp_path_factory.mktemp("first")
    frame = aebench.run(written(folder, text()), out=folder)
    assert frame["status"].eq("ok").all()
    return folder


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(first, folder)
    return folder


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is an error."""
    from aebench import work

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(work, "train", refuse)


# --- what a run leaves behind


def test_each_run_has_a_document_with_its_arrays_and_weights(first: Path):
    wanted = suite.parse(text())
    held = documents(first)
    assert list(held) == sorted(run.id for run in wanted.runs)
    assert len(held) == 2 + 1 + 4
    for run in wanted.runs:
        document = held[run.id]
        assert document["spec"] == run.spec
        assert (document["suite"], document["status"], document["error"]) == ("trial", "ok", None)
        vae = run.spec["variant"] == "vae"
        assert set(document["metrics"]) == {"sse", "mse", "psnr"} | ({"C", "U", "S", "V", "kl"} if vae else set())
        for name, metric in document["metrics"].items():
            assert {"value", "unit", "version", "options"} <= set(metric)
            assert metric["value"] is None if name == "psnr" else np.isfinite(metric["value"]), "PSNR is of [0, 1]"
        assert document["curves"]["step"] == [32]
        assert np.isfinite(document["curves"]["loss"]).all()
        assert document["cost"]["examples"] == 32 * 32
        assert {f"{stage}_seconds" for stage in ("data", "compile", "train", "evaluate")} <= set(document["cost"])
        assert document["cost"]["train_seconds"] > 0
        assert {"aebench", "torch", "device", "precision"} <= set(document["made"])
        arrays, kept = store_of(first).arrays(run.id), store_of(first).weights(run.id)
        assert arrays["points"].shape == arrays["points_hat"].shape == (64, 2)
        assert arrays["codes"].shape == (64, 16)
        assert ("samples" in arrays) == vae
        assert kept is not None
        assert all(np.isfinite(array).all() for array in kept.values())


def test_packs_are_of_floats_and_seeds(first: Path):
    packs: dict[str, list[str]] = {}
    for document in documents(first).values():
        packs.setdefault(document["cost"]["pack"]["id"], []).append(document["spec"]["variant"])
    assert sorted(packs.values()) == [["ae"], ["linear_ae"] * 2, ["vae"] * 4]
    runs = {d["spec"]["variant"]: d["cost"]["pack"]["runs"] for d in documents(first).values()}
    assert runs == {"ae": 1, "linear_ae": 2, "vae": 4}


def test_training_brings_the_loss_down(tmp_path: Path):
    go(tmp_path, text("  - {variant: ae}\n", seeds="1", train="{steps: 640, batch: 32}"))
    (document,) = documents(tmp_path).values()
    loss = document["curves"]["loss"]
    assert document["curves"]["step"] == list(range(32, 641, 32))
    assert loss[-1] < 0.25 * loss[0]
    assert document["metrics"]["sse"]["value"] < 0.25 * 0.405


def test_run_and_load_give_one_row_a_run(first: Path, untrained: None):
    frame = aebench.load(first / "results" / "trial")
    wanted = suite.parse(text())
    assert list(frame["id"]) == [run.id for run in wanted.runs]
    assert list(frame["seed"]) == [run.spec["seed"] for run in wanted.runs]
    held = documents(first)
    for row in frame.itertuples():
        assert row.sse == held[row.id]["metrics"]["sse"]["value"]
    pd.testing.assert_frame_equal(frame, aebench.load(first / "results"))
    pd.testing.assert_frame_equal(frame, aebench.run(first / "trial.yaml", out=first))


def test_the_report_shows_figures_that_are_there(first: Path):
    page = (first / "reports" / "trial" / "report.md").read_text()
    assert "7 of 7 runs ended well" in page
    figures = sorted(path.name for path in (first / "reports" / "trial" / "figures").iterdir())
    assert figures
    assert all(f"figures/{name}" in page for name in figures)


# --- again


def test_again_trains_nothing_and_writes_nothing(copy: Path, untrained: None):
    before = snapshot(copy)
    aebench.run(copy / "trial.yaml", out=copy)
    assert snapshot(copy) == before


def test_a_report_that_was_lost_is_drawn_again_and_nothing_else(copy: Path, untrained: None):
    before = snapshot(copy / "results")
    page = copy / "reports" / "trial" / "report.md"
    said = page.read_text()
    shutil.rmtree(copy / "reports")
    aebench.run(copy / "trial.yaml", out=copy)
    assert page.read_text() == said
    assert snapshot(copy / "results") == before


def test_what_the_report_says_of_the_suite_is_brought_up_to_date(copy: Path, untrained: None):
    held = {name: file for name, file in snapshot(copy / "results").items() if "suite.json" not in name}
    aebench.run(written(copy, text(about="another aim")), out=copy)
    assert "another aim" in (copy / "reports" / "trial" / "report.md").read_text()
    after = {name: file for name, file in snapshot(copy / "results").items() if "suite.json" not in name}
    assert after == held


def test_new_seeds_and_new_values_train_alone(copy: Path):
    before, held = snapshot(copy), documents(copy)
    grown = text(RUNS.replace("[0.1, 1]", "[0.1, 1, 4]"), seeds="3")
    done = go(copy, grown)
    after = documents(copy)
    new = set(after) - set(held)
    assert done.trained == len(new) == (3 - 2) + (3 * 3 - 2 * 2)
    assert {(d["spec"]["seed"], d["spec"]["hyper"].get("beta")) for d in map(after.get, new) if d} == {
        (2, None), (2, 0.1), (2, 1.0), (0, 4.0), (1, 4.0), (2, 4.0),
    }  # fmt: skip
    assert all(unchanged(before, snapshot(copy), id) for id in held)
    go(copy / "fresh", grown)
    fresh = documents(copy / "fresh")
    assert set(fresh) == set(after)
    for id, document in fresh.items():
        assert values(document) == pytest.approx(values(after[id]), **AROUND)


def test_fewer_runs_leave_the_others_on_disk_and_out_of_the_table(copy: Path, untrained: None):
    before = snapshot(copy)
    frame = aebench.run(written(copy, text("  - {variant: linear_ae}\n")), out=copy)
    assert list(frame["variant"]) == ["linear_ae"] * 2
    assert all(unchanged(before, snapshot(copy), id) for id in documents(copy))
    assert len(aebench.load(copy / "results" / "trial", all=True)) == 7


@pytest.mark.parametrize("variant", ["vae", "linear_ae", "ae"])
def test_a_half_published_pack_is_trained_again_whole_and_bit_for_bit(copy: Path, variant: str):
    before, held = snapshot(copy), documents(copy)
    pack = [id for id, document in held.items() if document["spec"]["variant"] == variant]
    lost = store_of(copy).folder / f"{pack[-1]}.json"
    lost.unlink()
    done = go(copy, text())
    assert done.trained == len(pack)
    after, now = documents(copy), snapshot(copy)
    for id in held:
        assert values(after[id]) == values(held[id])
        assert after[id]["curves"] == held[id]["curves"]
        assert now[f"results/trial/weights/{id}.safetensors"][1] == before[f"results/trial/weights/{id}.safetensors"][1]
        assert unchanged(before, now, id) == (id not in pack)


def test_a_broken_document_is_trained_again(copy: Path):
    id = next(id for id, document in documents(copy).items() if document["spec"]["variant"] == "ae")
    held = documents(copy)[id]
    path = store_of(copy).folder / f"{id}.json"
    path.write_text(path.read_text()[:100])
    assert go(copy, text()).trained == 1
    assert values(documents(copy)[id]) == values(held)


def test_two_fresh_runs_are_equal_bit_for_bit(first: Path, tmp_path: Path):
    go(tmp_path, text())
    one, two = documents(first), documents(tmp_path)
    assert set(one) == set(two)
    for id in one:
        assert values(one[id]) == values(two[id])
        assert one[id]["curves"] == two[id]["curves"]
        assert weights(first, id) == weights(tmp_path, id)
        arrays, again = store_of(first).arrays(id), store_of(tmp_path).arrays(id)
        assert set(arrays) == set(again)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, again[name])


def test_convolutions_on_all_cores_are_equal_bit_for_bit(tmp_path: Path):
    conv = text(
        "  - {variant: vae}\n", seeds="1", data="digits", network="{kind: conv, channels: [8, 8]}",
    )  # fmt: skip
    for name in ("one", "two"):
        go(tmp_path / name, conv)
    one, two = documents(tmp_path / "one"), documents(tmp_path / "two")
    for id in one:
        assert one[id]["cost"]["pack"] == two[id]["cost"]["pack"]
        assert one[id]["cost"]["pack"]["mode"] == "direct"
        assert values(one[id]) == values(two[id])
        assert weights(tmp_path / "one", id) == weights(tmp_path / "two", id)


def test_a_seed_makes_a_difference(first: Path):
    runs = [document for document in documents(first).values() if document["spec"]["variant"] == "linear_ae"]
    assert values(runs[0]) != values(runs[1])


def test_stored_weights_are_all_there_is_to_know(first: Path):
    """Whether metrics are measured in a pack or from stored weights, they agree."""
    for id, document in documents(first).items():
        model, arrays = aebench.load_model(first / "results" / "trial", id), store_of(first).arrays(id)
        import torch

        x_hat = model.reconstruct(torch.from_numpy(arrays["points"])).numpy()
        sse = ((x_hat - arrays["points"]) ** 2).sum(1).mean()
        assert sse == pytest.approx(document["metrics"]["sse"]["value"], **AROUND)


# --- metrics


@pytest.mark.parametrize("added", ["energy", "active_units", "sparsity", "denoising", "size"])
def test_a_metric_is_added_without_training(first: Path, tmp_path: Path, added: str, monkeypatch: pytest.MonkeyPatch):
    """What is measured from stored weights is what is measured right after training."""
    from aebench import work

    runs = "  - {variant: vae}\n  - {variant: vae, network: {kind: mlp, hidden: [4]}, seeds: [3]}\n"
    go(tmp_path / "both", text(runs, metrics=f"[reconstruction, {added}]"))
    go(tmp_path, text(runs, metrics="[reconstruction]"))
    before, held = snapshot(tmp_path), documents(tmp_path)
    monkeypatch.setattr(work, "train", None)
    done = go(tmp_path, text(runs, metrics=f"[reconstruction, {added}]"))
    assert (done.trained, done.measured, done.notes) == (0, 3, [])
    after, now = documents(tmp_path), snapshot(tmp_path)
    for id, expected in documents(tmp_path / "both").items():
        alone = expected["cost"]["pack"]["runs"] == 1
        assert set(after[id]["metrics"]) == set(expected["metrics"]) > set(held[id]["metrics"])
        if alone:
            assert after[id]["metrics"] == expected["metrics"]
        assert values(after[id]) == pytest.approx(values(expected), **AROUND)
        assert after[id]["curves"] == held[id]["curves"]
        for cost in set(held[id]["cost"]) - {"evaluate_seconds"}:
            assert after[id]["cost"][cost] == held[id]["cost"][cost]
        name = f"results/trial/weights/{id}.safetensors"
        assert now[name] == before[name]
    assert go(tmp_path, text(runs, metrics=f"[reconstruction, {added}]")).measured == 0


def test_other_options_of_a_metric_are_measured_again(copy: Path, untrained: None):
    done = go(copy, text(metrics="[{denoising: {sigmas: [0.5]}}, active_units]"))
    assert done.measured == 7
    assert all("denoising_gain_db_0.5" in document["metrics"] for document in documents(copy).values())
    done = go(copy, text(metrics="[{denoising: {sigmas: [0.5]}}, {active_units: {variance: 1.0e-9}}]"))
    assert done.measured == 4, "only variational autoencoders have active units"
    for document in documents(copy).values():
        if document["spec"]["variant"] == "vae":
            units = document["metrics"]["active_units"]
            assert (units["options"], units["value"]) == ({"variance": 1e-9}, 16.0)
    assert go(copy, text(metrics="[{active_units: {variance: 1.0e-9}}, {denoising: {sigmas: [0.5]}}]")).measured == 0


def test_another_version_of_a_metric_is_measured_again(copy: Path, untrained: None):
    path = next(path for path in sorted(store_of(copy).folder.glob("*.json")) if path.name != "suite.json")
    good = json.loads(path.read_text())
    old = json.loads(path.read_text())
    old["metrics"]["sse"] |= {"version": 0, "value": 123.0}
    path.write_text(json.dumps(old))
    assert go(copy, text()).measured == 1
    new = json.loads(path.read_text())
    assert new["metrics"]["sse"]["version"] == good["metrics"]["sse"]["version"]
    assert values(new) == pytest.approx(values(good), **AROUND)


def test_a_metric_that_the_variant_cannot_have_is_not_outdated(copy: Path, untrained: None):
    todo = pipeline.plan(suite.parse(text(metrics="[energy, reconstruction]")), copy)
    assert not todo.packs
    assert not todo.stale


def test_without_weights_a_new_metric_waits_for_retrain(tmp_path: Path):
    bare = text("  - {variant: vae}\n", keep_weights="false")
    go(tmp_path, bare)
    assert not list(tmp_path.rglob("*.safetensors"))
    before, held = snapshot(tmp_path), documents(tmp_path)
    more = text("  - {variant: vae}\n", keep_weights="false", metrics="[reconstruction, energy, sparsity]")
    done = go(tmp_path, more)
    assert (done.trained, done.measured) == (0, 0)
    (note,) = done.notes
    assert "2 runs" in note
    assert "--retrain" in note
    assert all(unchanged(before, snapshot(tmp_path), id) for id in held)
    done = go(tmp_path, more, retrain=True)
    assert (done.trained, done.measured, done.notes) == (2, 0, [])
    after = documents(tmp_path)
    for id in held:
        assert {"hoyer", "l0_fraction"} <= set(after[id]["metrics"])
        assert values(after[id]) == values(held[id]) | {n: values(after[id])[n] for n in ("hoyer", "l0_fraction")}
    assert not list(tmp_path.rglob("*.safetensors"))
    assert (again := go(tmp_path, more, retrain=True)).trained == again.measured == 0


def test_retrain_leaves_alone_what_has_its_weights(copy: Path, untrained: None):
    done = go(copy, text(metrics="[reconstruction, energy, sparsity]"), retrain=True)
    assert (done.trained, done.measured) == (0, 7)


def test_evaluate_measures_again_from_weights(copy: Path, untrained: None):
    held = documents(copy)
    results = copy / "results" / "trial"
    assert pipeline.evaluate(results, ["sparsity"], device="cpu", progress=Progress(quiet=True)) == (7, 0)
    for id, document in documents(copy).items():
        assert set(document["metrics"]) == {*held[id]["metrics"], "hoyer", "l0_fraction"}
        expected = values(document) | values(held[id])
        assert values(document) == pytest.approx(expected, **AROUND)
    assert aebench.load(results)["hoyer"].notna().all()
    lost = [id for id, document in held.items() if document["spec"]["variant"] == "linear_ae"]
    for id in lost:
        store_of(copy).weights_path(id).unlink()
    assert pipeline.evaluate(results, device="cpu", progress=Progress(quiet=True)) == (5, 2)


def test_evaluate_keeps_the_options_that_the_command_line_set(tmp_path: Path, untrained: None, first: Path):
    """The suite's metrics are those it ran with, `--set` included."""
    shutil.copytree(first, tmp_path / "copy")
    folder = tmp_path / "copy"
    path = written(folder, text())
    aebench.run(path, out=folder, overrides={"metrics": "[{denoising: {sigmas: [0.5]}}]"}, report=False)
    pipeline.evaluate(folder / "results" / "trial", device="cpu", progress=Progress(quiet=True))
    for document in documents(folder).values():
        gains = {name: m["options"] for name, m in document["metrics"].items() if m["metric"] == "denoising"}
        assert gains == {"denoising_gain_db_0.5": {"sigmas": [0.5]}}


def test_evaluate_takes_a_suite_that_the_command_line_made_whole(tmp_path: Path):
    path = written(tmp_path, text("  - {variant: ae}\n", seeds="1").replace("name: trial\n", ""))
    aebench.run(path, out=tmp_path, overrides={"name": "trial"}, report=False, device="cpu")
    results = tmp_path / "results" / "trial"
    assert pipeline.evaluate(results, ["size"], device="cpu", progress=Progress(quiet=True)) == (1, 0)


def test_evaluate_says_what_it_lacks(tmp_path: Path, first: Path):
    with pytest.raises(InputError, match=r"nowhere: no results of a suite"):
        pipeline.evaluate(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"unknown metric 'spasity': did you mean sparsity"):
        pipeline.evaluate(first / "results" / "trial", ["spasity"])


def test_evaluate_passes_over_what_is_broken_or_changed_by_hand(
    copy: Path, untrained: None, capsys: pytest.CaptureFixture[str]
):
    """One line each; the others are measured, and no document is worse than before."""
    results, store, held = copy / "results" / "trial", store_of(copy), documents(copy)
    cut, foreign, edited, unspecified, *_ = held
    store.weights_path(cut).write_bytes(b"x")
    save_file({"w": np.zeros(3, np.float32)}, store.weights_path(foreign))
    for id, train in ((edited, held[edited]["spec"]["train"] | {"batch": 7}), (unspecified, {})):
        path = results / f"{id}.json"
        path.write_text(json.dumps(held[id] | {"spec": held[id]["spec"] | {"train": train}}))
    before = {id: (results / f"{id}.json").read_bytes() for id in (cut, foreign, edited, unspecified)}
    assert pipeline.evaluate(results, ["sparsity"], device="cpu") == (3, 4)
    lines = " ".join(capsys.readouterr().err.split())
    for line in (f"{cut}.safetensors: broken weights: ", f"{foreign}: its weights cannot be used: "):
        assert line in lines
    assert lines.count("not measured, as its specification is not that of its id") == 2
    assert {id: (results / f"{id}.json").read_bytes() for id in before} == before


@pytest.mark.parametrize("change", [{"name": None}, {"text": None}, {"arguments": ["--set", "x"]}])
def test_evaluate_of_a_suite_changed_by_hand_is_one_line(copy: Path, change: dict[str, Any]):
    path = copy / "results" / "trial" / "suite.json"
    told = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    with pytest.raises(InputError) as caught:
        pipeline.evaluate(copy / "results" / "trial", device="cpu", progress=Progress(quiet=True))
    assert len(str(caught.value).splitlines()) == 1


# --- variants of one's own

OWN = """
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from aebench.variants.autoencoder import AE

HEALTHY = Path(__file__).with_name("healthy")


class Hyper(NamedTuple):
    value: float = 1.0


class Sizes(NamedTuple):
    latent: int = 2
    reconstruction: str = "mse"
    depth: int = 1


def scaled(net, x, noise, hp):
    return {"loss": hp.value * net.error(x, net.decode(net.encode(x)))}


def logarithmic(net, x, noise, hp):
    return {"loss": torch.log(hp.value) * net.error(x, net.decode(net.encode(x)))}


def rooted(net, x, noise, hp):
    root = torch.linalg.cholesky(hp.value[..., None, None])  # refuses what is not positive, also under vmap
    return {"loss": root[..., 0, 0] * net.error(x, net.decode(net.encode(x)))}


def noise(batch, event_shape, sizes):
    if sizes.depth == 2 and not HEALTHY.exists():
        raise ArithmeticError("depth 2 has\\nno solution")
    return {}


def build(event_shape, network, sizes):
    noise(1, event_shape, sizes)
    return AE.build(event_shape, network, sizes)


def hidden(net, x, noise, hp):
    return {"loss": net.error(x, net.decode(net.encode(x + torch.randn_like(x))))}


def greedy(net, x, noise, hp):
    raise MemoryError("no room")


def greedy_on_a_gpu(net, x, noise, hp):
    raise torch.OutOfMemoryError("CUDA out of memory")


SCALED = replace(AE, name="scaled", losses={"": scaled}, hyper=Hyper)
LOGARITHMIC = replace(AE, name="logarithmic", losses={"": logarithmic}, hyper=Hyper)
ROOTED = replace(AE, name="rooted", losses={"": rooted}, hyper=Hyper)
PICKY = replace(AE, name="picky", noise=noise, sizes=Sizes)
UNBUILDABLE = replace(AE, name="unbuildable", build=build, sizes=Sizes)
IMPURE = replace(AE, name="impure", losses={"": hidden})
GREEDY = replace(AE, name="greedy", losses={"": greedy})
GREEDY_ON_A_GPU = replace(AE, name="greedy_on_a_gpu", losses={"": greedy_on_a_gpu})
NUMBER = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], str]:
    """`own(NAME)`: how a suite names a variant of the user's."""
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return lambda name: f"{path}:{name}"


def test_a_variant_of_ones_own(tmp_path: Path, own: Callable[[str], str]):
    runs = f"  - {{variant: '{own('SCALED')}', sweep: {{value: [1, 2]}}}}\n  - {{variant: ae}}\n"
    with pytest.raises(InputError, match=r"trial.yaml:10: .*mine.py:SCALED.*--allow-code"):
        go(tmp_path, text(runs))
    assert not (tmp_path / "results").exists()
    done = go(tmp_path, text(runs), allow_code=True)
    assert (done.trained, done.failed) == (6, [])
    plain, mine = {}, {}
    for document in documents(tmp_path).values():
        spec = document["spec"]
        if spec["variant"] == "ae":
            plain[spec["seed"]] = document
        else:
            mine[spec["seed"], spec["hyper"]["value"]] = document
    for seed in (0, 1):
        assert values(mine[seed, 1.0]) == pytest.approx(values(plain[seed]), **AROUND)
        (loss,), (doubled,) = plain[seed]["curves"]["loss"], mine[seed, 2.0]["curves"]["loss"]
        assert doubled == pytest.approx(2 * loss, rel=0.05)
    again = go(tmp_path, text(runs), allow_code=True)
    assert (again.trained, again.measured) == (0, 0)
    folder = tmp_path / "results" / "trial"
    id = mine[0, 2.0]["id"]
    assert aebench.load_model(folder, id, allow_code=True).variant.name == "scaled"
    with pytest.raises(InputError, match="--allow-code"):
        aebench.load_model(folder, id)
    assert len(aebench.load(folder)) == 6


def test_other_code_is_another_run(tmp_path: Path, own: Callable[[str], str]):
    """Also in one session: who edits a file and runs again gets what the file now says."""
    runs = f"  - {{variant: '{own('SCALED')}'}}\n"
    go(tmp_path, text(runs, seeds="1"), allow_code=True)
    (old,) = documents(tmp_path).values()
    (tmp_path / "mine.py").write_text(OWN.replace("hp.value * net.error", "100 * hp.value * net.error"))
    assert go(tmp_path, text(runs, seeds="1"), allow_code=True).trained == 1
    (new,) = [document for id, document in documents(tmp_path).items() if id != old["id"]]
    assert new["curves"]["loss"][0] > 50 * old["curves"]["loss"][0]


@pytest.mark.parametrize("spelling", ["my_package.variants:SCALED", "SCALED"])
def test_a_variant_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str):
    """By module, which wants permission; by entry point, which does not."""
    site = tmp_path / "site"
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").touch()
    (site / "my_package" / "variants.py").write_text(OWN)
    installed = site / "my_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[aebench.variants]\nSCALED = my_package.variants:SCALED\n")
    monkeypatch.syspath_prepend(site)
    runs = f"  - {{variant: '{spelling}'}}\n"
    code = ":" in spelling
    if code:
        with pytest.raises(InputError, match="--allow-code"):
            go(tmp_path, text(runs))
    assert go(tmp_path, text(runs), allow_code=code).trained == 2
    assert {d["status"] for d in documents(tmp_path).values()} == {"ok"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("ABSENT", "has no attribute 'ABSENT'"), ("NUMBER", "is no Variant but a int")],
)
def test_what_is_no_variant_is_refused(tmp_path: Path, own: Callable[[str], str], name: str, said: str):
    with pytest.raises(InputError, match=said) as caught:
        go(tmp_path, text(f"  - {{variant: '{own(name)}'}}\n"), allow_code=True)
    assert "trial.yaml:10" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_code_that_cannot_be_loaded_is_one_line(tmp_path: Path):
    (tmp_path / "broken.py").write_text("x = 1\nthis is not Python\n")
    for reference in (f"{tmp_path}/broken.py:X", f"{tmp_path}/missing.py:X", "no_such_module_at_all:X"):
        with pytest.raises(InputError) as caught:
            go(tmp_path, text(f"  - {{variant: '{reference}'}}\n"), allow_code=True)
        assert "trial.yaml:10" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("sweep", ["[1, 4, -1]", "[-1, 1, 4]"])
def test_a_run_that_raises_fails_and_the_others_finish(tmp_path: Path, own: Callable[[str], str], sweep: str):
    """Also where it is the first of its pack, on which the loss is tried before training."""
    runs = f"  - {{variant: '{own('ROOTED')}', sweep: {{value: {sweep}}}}}\n  - {{variant: ae}}\n"
    done = go(tmp_path, text(runs, seeds="1"), allow_code=True)
    held = {d["spec"]["hyper"].get("value"): d for d in documents(tmp_path).values()}
    assert {value: d["status"] for value, d in held.items()} == {None: "ok", 1.0: "ok", 4.0: "ok", -1.0: "failed"}
    failed = held[-1.0]
    assert [d["id"] for d in done.failed] == [failed["id"]]
    assert failed["metrics"] == {}
    assert "cholesky" in failed["error"]["message"]
    assert len(failed["error"]["message"].splitlines()) == 1
    assert "mine.py" in failed["error"]["traceback"]
    assert "in rooted" in failed["error"]["traceback"]
    assert failed["made"]["torch"]


@pytest.mark.parametrize(("name", "where"), [("PICKY", "in noise"), ("UNBUILDABLE", "in build")])
def test_what_raises_for_one_size_fails_there_alone(tmp_path: Path, own: Callable[[str], str], name: str, where: str):
    runs = f"  - {{variant: '{own(name)}', sweep: {{depth: [1, 2, 3]}}}}\n"
    done = go(tmp_path, text(runs), allow_code=True)
    held = {(d["spec"]["sizes"]["depth"], d["spec"]["seed"]): d for d in documents(tmp_path).values()}
    statuses = {key: d["status"] for key, d in held.items()}
    assert statuses == {(depth, seed): "failed" if depth == 2 else "ok" for depth in (1, 2, 3) for seed in (0, 1)}
    error = held[2, 0]["error"]
    assert (error["kind"], error["message"]) == ("ArithmeticError", "depth 2 has no solution")
    assert where in error["traceback"]
    assert len(done.failed) == 2
    frame = aebench.load(tmp_path / "results" / "trial")
    assert frame["status"].eq("failed").sum() == 2
    assert frame.loc[frame["status"] == "failed", "sse"].isna().all()


def test_a_loss_that_draws_its_own_numbers_is_refused(tmp_path: Path, own: Callable[[str], str]):
    with pytest.raises(InputError, match=r"variant 'impure': its loss is not a pure function: .*random") as caught:
        go(tmp_path, text(f"  - {{variant: '{own('IMPURE')}'}}\n"), allow_code=True)
    assert len(str(caught.value).splitlines()) == 1
    assert not documents(tmp_path)


def test_a_run_that_diverges_leaves_its_neighbours_bit_identical(tmp_path: Path, own: Callable[[str], str]):
    for folder, bad in (("sound", 3), ("sick", -1)):
        runs = f"  - {{variant: '{own('LOGARITHMIC')}', sweep: {{value: [2, {bad}, 4]}}}}\n"
        done = go(tmp_path / folder, text(runs), allow_code=True)
    sound, sick = documents(tmp_path / "sound"), documents(tmp_path / "sick")
    diverged = [d for d in sick.values() if d["spec"]["hyper"]["value"] == -1]
    assert [d["status"] for d in diverged] == ["diverged"] * 2
    assert len(done.failed) == 2
    for document in diverged:
        assert document["error"]["kind"] == "diverged"
        assert "step 32" in document["error"]["message"]
        assert document["metrics"] == {}
        assert document["curves"]["loss"] == [None]
    neighbours = set(sound) & set(sick)
    assert len(neighbours) == 4
    for id in neighbours:
        assert sick[id]["status"] == "ok"
        assert values(sick[id]) == values(sound[id])
        assert weights(tmp_path / "sick", id) == weights(tmp_path / "sound", id)


@pytest.mark.parametrize("name", ["GREEDY", "GREEDY_ON_A_GPU"])
def test_out_of_memory_is_its_own_status(tmp_path: Path, own: Callable[[str], str], name: str):
    done = go(tmp_path, text(f"  - {{variant: '{own(name)}'}}\n  - {{variant: ae}}\n"), allow_code=True)
    statuses = sorted(d["status"] for d in documents(tmp_path).values())
    assert statuses == ["ok", "ok", "out_of_memory", "out_of_memory"]
    assert [d["status"] for d in done.failed] == ["out_of_memory"] * 2


def test_failed_runs_wait_for_retry_failed(tmp_path: Path, own: Callable[[str], str]):
    runs = f"  - {{variant: '{own('PICKY')}', sweep: {{depth: [1, 2]}}}}\n  - {{variant: ae}}\n"
    go(tmp_path, text(runs), allow_code=True)
    before = snapshot(tmp_path)
    again = go(tmp_path, text(runs), allow_code=True)
    assert (again.trained, again.measured, len(again.failed)) == (0, 0, 2)
    assert snapshot(tmp_path) == before
    (tmp_path / "healthy").touch()
    assert go(tmp_path, text(runs), allow_code=True).trained == 0
    retried = go(tmp_path, text(runs), allow_code=True, retry_failed=True)
    assert (retried.trained, retried.failed) == (2, [])
    assert {d["status"] for d in documents(tmp_path).values()} == {"ok"}
    after = snapshot(tmp_path)
    well = [id for id, d in documents(tmp_path).items() if d["spec"]["sizes"].get("depth") != 2]
    assert len(well) == 4
    assert all(unchanged(before, after, id) for id in well)


def test_runs_that_diverge_again_are_said_again(tmp_path: Path, own: Callable[[str], str]):
    runs = f"  - {{variant: '{own('LOGARITHMIC')}', sweep: {{value: [2, -1]}}}}\n"
    go(tmp_path, text(runs, seeds="1"), allow_code=True)
    held = documents(tmp_path)
    retried = go(tmp_path, text(runs, seeds="1"), allow_code=True, retry_failed=True)
    assert [d["status"] for d in retried.failed] == ["diverged"]
    assert retried.trained >= 1
    for id, document in documents(tmp_path).items():
        assert (document["status"], values(document)) == (held[id]["status"], values(held[id]))


# --- interruption


class Interrupting(Progress):
    """Ctrl-C at the first point of the curve of the pack that is so many runs into the suite."""

    def __init__(self, at: int) -> None:
        super().__init__(quiet=True)
        self.at = at

    def point(self, step: int, loss: Any) -> None:
        if self.before >= self.at:
            raise KeyboardInterrupt


def test_an_interruption_keeps_finished_packs(first: Path, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, text(), progress=Interrupting(at=3))
    held = documents(tmp_path)
    assert sorted(d["spec"]["variant"] for d in held.values()) == ["ae", "linear_ae", "linear_ae"]
    assert not list(tmp_path.rglob("*.tmp"))
    before = snapshot(tmp_path)
    assert go(tmp_path, text()).trained == 4
    assert all(unchanged(before, snapshot(tmp_path), id) for id in held)
    assert {id: values(d) for id, d in documents(tmp_path).items()} == {
        id: values(d) for id, d in documents(first).items()
    }


# --- faults found before anything is trained


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text("  - {variant: ae}\n", network="{kind: conv, channels: [4]}"), r"conv.*\[2\]"),
        (text("  - {variant: ae, sizes: {reconstruction: bce}}\n"), r"'bce' takes data in \[0, 1\]; pinwheel lies in"),
        (text("  - {variant: ae}\n", data="digits", network="{kind: conv, channels: [4, 4, 4, 4]}"), r"halvings"),
    ],
)
def test_what_cannot_be_trained_leaves_everything_as_it_was(first: Path, tmp_path: Path, content: str, said: str):
    """Not even the list of runs of results that are there is overwritten."""
    with pytest.raises(InputError, match=said):
        aebench.run(written(tmp_path, content), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    shutil.copytree(first, tmp_path / "old")
    before = snapshot(tmp_path / "old")
    with pytest.raises(InputError, match=said):
        aebench.run(written(tmp_path, content), out=tmp_path / "old")
    assert snapshot(tmp_path / "old") == before


def test_a_fault_in_the_last_pack_stops_the_first(tmp_path: Path, untrained: None):
    runs = "  - {variant: ae}\n  - {variant: ae, network: {kind: conv}}\n"
    with pytest.raises(InputError, match="conv"):
        go(tmp_path, text(runs))


def test_a_newer_document_is_not_overwritten(copy: Path):
    path = next(path for path in sorted(store_of(copy).folder.glob("*.json")) if path.name != "suite.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    before = snapshot(copy)
    with pytest.raises(InputError, match="schema 99"):
        aebench.run(copy / "trial.yaml", out=copy)
    assert snapshot(copy) == before


# --- a trained model


HALF = {"rtol": 1e-3, "atol": 1e-6}
"""Long arrays are stored in half precision."""


def test_a_loaded_model_does_what_was_stored(first: Path):
    import torch

    for id, document in documents(first).items():
        model, arrays = aebench.load_model(first / "results" / "trial", id), store_of(first).arrays(id)
        x = torch.from_numpy(arrays["points"])
        h, x_hat = model.encode(x), model.reconstruct(x)
        assert (tuple(h.shape), tuple(x_hat.shape)) == ((64, 16), (64, 2))
        assert not x_hat.requires_grad
        assert torch.equal(model.decode(h), x_hat)
        exact = {"rtol": 0, "atol": 0} if document["cost"]["pack"]["runs"] == 1 else {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(x_hat.numpy(), arrays["points_hat"], **exact)
        np.testing.assert_allclose(h.numpy(), arrays["codes"], **HALF)
        z = torch.randn(5, 16)
        if document["spec"]["variant"] == "vae":
            assert torch.equal(model.sample(z), model.decode(z))
            mu, logvar = model.posterior(x)
            assert torch.equal(mu, h)
            np.testing.assert_allclose((0.5 * logvar).exp().numpy(), arrays["codes_sd"], **HALF)
        else:
            with pytest.raises(TypeError, match="offers no prior"):
                model.sample(z)
            with pytest.raises(TypeError, match="offers no posterior"):
                model.posterior(x)


def test_a_loaded_model_of_images(tmp_path: Path):
    import torch

    runs = "  - {variant: vae, sizes: {latent: 3}}\n"
    go(tmp_path, text(runs, seeds="1", data="digits", network="{kind: conv, channels: [4]}"))
    (id,) = documents(tmp_path)
    model, arrays = aebench.load_model(tmp_path / "results" / "trial", id), store_of(tmp_path).arrays(id)
    assert arrays["x"].shape == arrays["x_hat"].shape == (10, 1, 8, 8)
    np.testing.assert_allclose(model.reconstruct(torch.from_numpy(arrays["x"])).numpy(), arrays["x_hat"], **HALF)
    assert tuple(model.sample(torch.zeros(2, 3)).shape) == (2, 1, 8, 8)
    assert tuple(model.encode(torch.zeros(2, 1, 8, 8)).shape) == (2, 3)


def test_a_model_that_is_not_there_is_one_line(first: Path, copy: Path):
    results = copy / "results" / "trial"
    with pytest.raises(InputError, match="run '0123456789abcdef' has no document"):
        aebench.load_model(results, "0123456789abcdef")
    with pytest.raises(InputError, match="'quickstart' is not a run id"):
        aebench.load_model(results, "quickstart")
    id = next(iter(documents(copy)))
    with pytest.raises(InputError, match="--device quantum: choose from auto, cpu, cuda, mps"):
        aebench.load_model(results, id, device="quantum")
    store_of(copy).weights_path(id).unlink()
    with pytest.raises(InputError, match=f"run '{id}' has no stored weights"):
        aebench.load_model(results, id)


# --- what one sees


def test_progress_is_a_line_a_pack_where_there_is_no_terminal(tmp_path: Path):
    said = io.StringIO()
    go(tmp_path, text(), progress=Progress(Console(file=said, width=200)))
    lines = said.getvalue().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == [
        "2/7 runs  linear_ae, linear, on pinwheel: 2 runs",
        "3/7 runs  ae, mlp, on pinwheel: 1 runs",
        "7/7 runs  vae, mlp, on pinwheel: 4 runs",
    ]


class Drawn(Progress):
    """Draws the bar whenever it moves, not ten times a second."""

    def point(self, step: int, loss: Any) -> None:
        super().point(step, loss)
        self.bar.refresh()

    def leave(self, pack: Any) -> None:
        super().leave(pack)
        self.bar.refresh()


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path):
    said = io.StringIO()
    go(tmp_path, text(), progress=Drawn(Console(file=said, width=200, force_terminal=True, color_system=None)))
    frames = said.getvalue().splitlines()
    last = next(frame for frame in reversed(frames) if "7/7" in frame)
    assert re.search(r"vae, mlp, on pinwheel .* 7/7 *runs +loss \d\.\d+ +[\d,]+ examples/s +0:00:\d\d +left", last), (
        last
    )


def test_progress_is_silent_where_asked(tmp_path: Path):
    for terminal in (True, False):
        said = io.StringIO()
        go(tmp_path / str(terminal), text(), progress=Progress(Console(file=said, force_terminal=terminal), quiet=True))
        assert said.getvalue() == ""


def test_the_text_of_a_suite_is_kept(first: Path):
    manifest = store_of(first).manifest()
    assert manifest is not None
    assert manifest["text"] == text()
    assert manifest["ids"] == [run.id for run in suite.parse(text()).runs]
    assert textwrap.dedent(manifest["about"]) == "a trial"
