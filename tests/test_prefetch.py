"""The nets of the next pack, built beside the present one: the same nets, the same results, and nobody is disturbed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aebench import ahead, packing, pipeline, suite, work
from aebench.ahead import Ahead
from aebench.clock import Ledger
from aebench.networks import MLP
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.store import Store
from aebench.variants import VARIANTS

CPU = torch.device("cpu")
SUITE = """
name: trial
seeds: 3
data: digits
network: {kind: mlp, hidden: [8]}
train: {steps: 40, batch: 16}
runs:
  - {variant: ae, sizes: {latent: 3}}
  - {variant: vae, sizes: {latent: 3}, sweep: {beta: [0.1, 1]}}
  - {variant: ae, sizes: {latent: 3}, network: {kind: conv, channels: [4]}}
  - {variant: pca, sizes: {latent: 3}}
metrics: [reconstruction]
figures: []
"""


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU, as if it left its host free."""
    monkeypatch.setattr(ahead, "beside", lambda device: True)


def go(folder: Path, progress: Progress | None = None, ledger: Ledger | None = None) -> Store:
    todo = pipeline.plan(suite.parse(SUITE), folder)
    shown = progress or Progress(quiet=True)
    pipeline.execute(todo, device="cpu", progress=shown, report=False, ledger=ledger)
    return todo.store


def found(store: Store) -> dict[str, Any]:
    """What must not depend on who built the nets: weights, curves and metrics of each run."""
    held: dict[str, Any] = {}
    for document in store.documents():
        weights = store.weights(document["id"]) or {}
        held[document["id"]] = {name: array.tobytes() for name, array in weights.items()}
        held[document["id"]] |= {"status": document["status"], "curves": document["curves"]}
        held[document["id"]] |= {name: entry["value"] for name, entry in document["metrics"].items()}
    return held


@contextlib.contextmanager
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """The threads and seeds of the nets that are built."""
    who: list[tuple[str, int]] = []
    build = packing.build

    def noting(variant: Any, event_shape: Any, network: Any, sizes: Any, seed: int) -> nn.Module:
        who.append((threading.current_thread().name.rpartition("_")[0], seed))
        return build(variant, event_shape, network, sizes, seed)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "build", noting)
        yield who


def test_results_are_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first pack's, nets come from the other thread, each once."""
    expected = found(go(tmp_path / "alone"))
    monkeypatch.setattr(ahead, "beside", lambda device: True)
    with noted(monkeypatch) as who:
        assert found(go(tmp_path / "beside")) == expected
    elsewhere = [seed for thread, seed in who if thread == "aebench-ahead"]
    assert elsewhere == [0, 1, 2] * 3
    assert len(expected) == 15


def test_not_beside_a_cpu() -> None:
    """Which has no time to spare."""
    with Ahead(CPU, False) as idle:
        run = suite.parse(SUITE).runs[0]
        idle.begin([run], (1, 8, 8))
        assert idle.take([run]) == {}
    assert ahead.beside(torch.device("cuda"))
    assert ahead.beside(torch.device("mps"))


@pytest.mark.usefixtures("beside")
def test_the_process_keeps_its_random_numbers(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    go(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_nets_are_drawn_one_thread_at_a_time() -> None:
    """Modules draw from the one generator of the process: eight threads get what one gets."""
    vae = resolve(VARIANTS, "variants", "vae")

    def built(seed: int) -> bytes:
        net = packing.build(vae, (1, 8, 8), MLP((64, 64)), vae.sizes(latent=4), seed)
        return b"".join(p.detach().numpy().tobytes() for p in net.parameters())

    seeds = [seed % 7 for seed in range(140)]
    expected = {seed: built(seed) for seed in range(7)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(built, seeds)) == [expected[seed] for seed in seeds]


@pytest.mark.usefixtures("beside")
def test_what_fails_fails_in_its_own_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs say so, with the error's own words; the others are as ever."""
    build = packing.build

    def fails(variant: Any, event_shape: Any, network: Any, sizes: Any, seed: int) -> nn.Module:
        if variant.name == "vae" and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("too early")
        if variant.name == "vae":
            raise RuntimeError("no such layer")
        return build(variant, event_shape, network, sizes, seed)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "build", fails)
        store = go(tmp_path)
    for document in store.documents():
        if document["spec"]["variant"] == "vae":
            assert document["status"] == "failed"
            assert document["error"]["message"] == "no such layer"
        else:
            assert document["status"] == "ok"


class Interrupting(Progress):
    """Ctrl-C while the first pack trains and the next one's nets are being built."""

    def __init__(self, building: threading.Event) -> None:
        super().__init__(quiet=True)
        self.building = building

    def point(self, step: int, loss: Any) -> None:
        assert self.building.wait(60)
        raise KeyboardInterrupt


@pytest.mark.usefixtures("beside")
def test_ctrl_c_ends_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No net is begun after it; nothing is published that was not trained; the same command trains all."""
    building, over, build, begun = threading.Event(), threading.Event(), packing.build, list[int]()

    class Ending(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            over.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def slow(variant: Any, event_shape: Any, network: Any, sizes: Any, seed: int) -> nn.Module:
        if threading.current_thread() is not threading.main_thread():
            begun.append(seed)
            building.set()
            assert over.wait(60)
        return build(variant, event_shape, network, sizes, seed)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "build", slow)
        patch.setattr(ahead, "ThreadPoolExecutor", Ending)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path, progress=Interrupting(building))
    assert begun == [0], "the one that was being built"
    assert not any(thread.name.startswith("aebench-ahead") for thread in threading.enumerate())
    assert list(Store(tmp_path / "results" / "trial").documents()) == []
    assert len(found(go(tmp_path))) == 15


@pytest.mark.usefixtures("beside")
def test_what_has_no_room_is_built_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ROOM", 0)
    with noted(monkeypatch) as who:
        store = go(tmp_path)
    assert [seed for thread, seed in who if thread == "aebench-ahead"] == [0, 0, 0], "one net of each pack"
    assert {document["status"] for document in store.documents()} == {"ok"}


@pytest.mark.usefixtures("beside")
def test_waiting_for_it_is_compilation_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that waiting moves: seconds of the stages are those of the command, and of the documents."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1e-6
        return now[0]

    take: Callable[..., Any] = Ahead.take

    def waits(self: Ahead, pack: Any) -> ahead.Nets:
        now[0] += 100.0
        return take(self, pack)

    monkeypatch.setattr(Ahead, "take", waits)
    monkeypatch.setattr(time, "perf_counter", tick)
    ledger = Ledger()
    store = go(tmp_path, ledger=ledger)
    seconds = ledger.read()
    assert seconds["compile"] == pytest.approx(4 * 100.0, abs=1)
    assert sum(seconds.values()) == pytest.approx(now[0], abs=1e-3)
    costs = {d["cost"]["pack"]["id"]: d["cost"]["compile_seconds"] for d in store.documents()}
    assert sorted(costs.values()) == pytest.approx([100.0] * 4, abs=1)


@pytest.mark.usefixtures("beside")
def test_another_default_type_is_left_alone(tmp_path: Path) -> None:
    """To build in float32 then would change the type for the main thread too."""
    torch.set_default_dtype(torch.float64)
    try:
        assert not Ahead(CPU, False).wanted
    finally:
        torch.set_default_dtype(torch.float32)
    assert Ahead(CPU, False).wanted


def test_nets_that_are_given_are_taken() -> None:
    """And those that are not are built: seed 0 is given, with other weights."""
    from aebench.feed import Examples
    from aebench.train import Budget, Setting, assembled

    ae = resolve(VARIANTS, "variants", "ae")
    sizes, x = ae.sizes(latent=2), torch.rand(9, 1, 4, 4)
    given = {0: packing.build(ae, (1, 4, 4), MLP((3,)), sizes, 77)}
    usual = packing.build(ae, (1, 4, 4), MLP((3,)), sizes, 1)
    expected = [packing.state_of(given[0]), packing.state_of(usual), packing.state_of(given[0])]
    settings = [Setting(0), Setting(1), Setting(0)]
    pack = assembled(ae, MLP((3,)), sizes, settings, Budget(1, 2), Examples(x), given)
    for name, value in pack.state.items():
        np.testing.assert_array_equal(value.numpy(), np.stack([state[name].numpy() for state in expected]))
    assert given == {}
    assert assembled(ae, MLP((3,)), sizes, settings, Budget(1, 2), Examples(x), dict(MappingProxyType({}))).stacked
    assert work.Worker("trial", CPU, (), False, False).ahead.take(suite.parse(SUITE).runs[:1]) == {}
