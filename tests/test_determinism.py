"""The same suite twice on one machine gives the same bits; on a GPU where asked, but for operations that are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from aebench import determinism, device, suite
from aebench.errors import InputError
from aebench.plan import plan
from aebench.store import Store
from aebench.work import Worker

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SUITE = """\
name: trial
data: {name: pinwheel, n: 64, n_validation: 32, n_test: 32}
network: {kind: mlp, hidden: [6]}
train: {steps: 30, batch: 8}
seeds: 2
runs:
  - {variant: vae, sweep: {beta: [0.1, 1]}, train: {keep: best_validation}}
  - {variant: contractive_ae}
  - {variant: denoising_ae, train: {clip: 1.0}}
  - {variant: pca, network: linear, sizes: {latent: 1}}
metrics: [reconstruction]
figures: []
"""


def held(folder: Path) -> dict[str, Any]:
    """Of each run its values, curves, arrays and weights, bit for bit."""
    store, found = Store(folder / "results" / "trial"), dict[str, Any]()
    for document in store.documents():
        id = document["id"]
        arrays = (store.arrays(id), store.weights(id) or {})
        found[id] = (
            json.dumps([document["status"], document["metrics"], document["curves"]], sort_keys=True),
            [{name: (a.shape, str(a.dtype), a.tobytes()) for name, a in kept.items()} for kept in arrays],
        )
    return found


def command(folder: Path, *words: str) -> dict[str, Any]:
    """What `aebench run` gives in a process of its own."""
    folder.mkdir()
    (folder / "trial.yaml").write_text(SUITE)
    line = [sys.executable, "-m", "aebench", "run", "trial.yaml", "--device", "cpu", "--no-report", *words]
    done = subprocess.run(
        line, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "random"}
    )
    assert done.returncode == 0, done.stderr
    return held(folder)


def test_two_processes_give_the_same_bits_and_strictly_too(tmp_path: Path) -> None:
    first, second = command(tmp_path / "first"), command(tmp_path / "second")
    strict = command(tmp_path / "strict", "--set", "determinism=strict")
    assert len(first) == 10
    assert all(arrays or weights for _, (arrays, weights) in first.values())
    assert first == second == strict
    made = [d["made"] for d in Store(tmp_path / "strict" / "results" / "trial").documents()]
    assert [m["determinism"] for m in made] == [{"asked": "strict", "not": []}] * 10
    assert not any("determinism" in d["made"] for d in Store(tmp_path / "first" / "results" / "trial").documents())


def test_it_names_no_run() -> None:
    usual, strict = suite.parse(SUITE), suite.parse(SUITE, overrides={"determinism": "strict"})
    assert (usual.determinism, strict.determinism) == ("usual", "strict")
    assert usual.runs == strict.runs
    with pytest.raises(InputError, match=r"determinism: unknown determinism .stric.: did you mean strict"):
        suite.parse(SUITE + "determinism: stric\n")


# ---- on a GPU; put_ is an operation that torch calls not deterministic on a CPU too


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """CUDA that has not begun, and nothing set for cuBLAS."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setenv(*determinism.WORKSPACE)  # so that it is set back
    monkeypatch.delenv(determinism.WORKSPACE[0])
    return monkeypatch


def put() -> torch.Tensor:
    return torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))


def test_strictly_and_back(cuda: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with device.exact(CUDA, "strict", said.append):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert said == []
    with device.exact(CUDA), device.exact(CPU, "strict"):
        assert not torch.are_deterministic_algorithms_enabled()


def test_too_late_for_cublas_is_one_line(cuda: pytest.MonkeyPatch) -> None:
    cuda.setattr(torch.cuda, "is_initialized", lambda: True)
    said: list[str] = []
    with device.exact(CUDA, "strict", said.append):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert len(said) == 1
    assert "CUBLAS_WORKSPACE_CONFIG=:4096:8" in said[0]
    cuda.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # what a user has set stays
    with device.exact(CUDA, "strict", said.append):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert len(said) == 1


def test_what_has_no_deterministic_form_is_carried_out_and_named(cuda: pytest.MonkeyPatch) -> None:
    with determinism.strict(CUDA, "strict"), warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        for _ in range(2):  # of each pack anew, though torch's words are the same
            with determinism.listening() as heard:
                assert put().tolist() == [1, 0, 0]
                warnings.warn("something else", stacklevel=1)
            assert heard == {"put_"}
    assert [str(other.message) for other in others] == ["something else"] * 2
    with determinism.listening() as heard:
        put()
    assert heard == set()


def test_torchs_words_are_those_that_are_looked_for() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError) as error:
            put()
    finally:
        torch.use_deterministic_algorithms(False)
    assert determinism.refused(str(error.value)) == "put_"
    cublas = "this operation is not deterministic because it uses CuBLAS and you have CUDA >= 10.2"
    assert determinism.refused(cublas) == "cuBLAS"
    assert determinism.refused("out of memory") is None


def test_the_documents_of_a_pack_name_its_operations_and_no_others(cuda: pytest.MonkeyPatch, tmp_path: Path) -> None:
    todo = plan(suite.parse(SUITE), tmp_path)
    worker = Worker("trial", CPU, (), False, False, determinism="strict")
    attempt = Worker.attempt

    def putting(self: Worker, pack: Any, *rest: Any) -> Any:
        if pack[0].spec["variant"] == "vae":
            put()
        return attempt(self, pack, *rest)

    cuda.setattr(Worker, "attempt", putting)
    with determinism.strict(CUDA, "strict"):
        documents = [d for pack in todo.packs for d, _, _ in worker.train(pack, lambda *_: None)]
    assert {d["status"] for d in documents} == {"ok"}
    named = {(d["spec"]["variant"], *d["made"]["determinism"]["not"]) for d in documents}
    assert named == {("vae", "put_"), ("contractive_ae",), ("denoising_ae",), ("pca",)}
