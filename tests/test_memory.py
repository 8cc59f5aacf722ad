"""What a pack needs is known before it starts, and one that would not fit is split."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from aebench import course, device, feed, packing
from aebench import train as training
from aebench.feed import Examples
from aebench.memory import Live
from aebench.networks import MLP, Conv
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Hyper, Setting, TooLarge, train
from aebench.variants import VARIANTS

CPU = torch.device("cpu")
SHAPE, LATENT = (1, 12, 12), 4


def prepared(name: str, network: Any, runs: int, batch: int, optimizer: str) -> tuple[packing.Pack, Any, Any]:
    variant, shape = resolve(VARIANTS, "variants", name), SHAPE
    sizes = variant.sizes(latent=LATENT)
    settings = [Setting(s, dict.fromkeys(variant.hyper._fields, 0.1), Descent(1e-3)) for s in range(runs)]
    nets = [packing.build(variant, shape, network, sizes, s.seed) for s in settings]
    pack = packing.Pack(variant, nets, [s.descent for s in settings], optimizer)
    x = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    batches = feed.Feed(Examples(x), batch, variant.noise(batch, shape, sizes), range(runs), torch.float32)
    batches.fill(0)
    hp = Hyper(variant, settings, pack.stacked, CPU, torch.float32).at(0.0)
    pack.prepare(batches.step(0), hp)
    pack.fill([0.0])
    return pack, batches.step(0), hp


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize(("network", "batch"), [(MLP((64,)), 8), (MLP((16,)), 256), (Conv((4, 8)), 32)])
@pytest.mark.parametrize("name", ["ae", "vae", "contractive_ae"])
def test_prediction_against_the_memory_that_two_steps_hold(name: str, network: Any, batch: int, optimizer: str) -> None:
    """What Adagrad keeps lies there before; all else beside the state is counted as it comes and goes."""
    pack, step, hp = prepared(name, network, 5, batch, optimizer)
    kept = [t for _, o in pack.players.values() for t in tree_leaves(o.torch.state) if isinstance(t, torch.Tensor)]
    before = sum(t.numel() * t.element_size() for t in kept)
    with Live() as live:
        for _ in range(2):
            pack.step(step, hp, 0)
    assert pack.bytes == pytest.approx(before + live.peak, rel=0.15)


@pytest.mark.parametrize(("name", "network", "batch"), [("vae", MLP((64,)), 32), ("ae", Conv((4, 8)), 32)])
def test_prediction_of_validation_against_the_memory_that_it_holds(name: str, network: Any, batch: int) -> None:
    """Of whole blocks; and of the copies of the state the first lies there before."""
    pack, _, hp = prepared(name, network, 5, batch, "adam")
    x = torch.rand(700, *SHAPE, generator=torch.Generator().manual_seed(0))
    sizes = pack.variant.sizes(latent=LATENT)
    declared = lambda m: pack.variant.noise(m, SHAPE, sizes)  # noqa: E731
    blocks = list(feed.blocks(Examples(x), declared, "validation", range(5), torch.float32))
    predicted = pack.validating(blocks[0], hp)
    best = course.Best(pack.state, 5, Examples(x), torch.float32)
    state = sum(tensor.nbytes for tensor in pack.leaves.values())
    with Live() as live:
        best.consider(pack, training.mean_terms(pack, blocks, hp)["loss"])
    assert 0.98 * (live.peak + state) <= predicted <= 1.5 * (live.peak + state)


def test_a_pack_that_would_not_fit_while_it_is_validated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, x = resolve(VARIANTS, "variants", "ae"), torch.rand(600, 1, 12, 12)
    needed = prepared("ae", MLP((8,)), 8, 16, "adam")[0].bytes
    monkeypatch.setattr(training, "free_bytes", lambda device: 4 * needed)

    def go(keep: Any) -> None:
        settings, budget = [Setting(seed) for seed in range(8)], Budget(4, 16, keep=keep)
        train(variant, MLP((8,)), variant.sizes(latent=2), settings, budget, Examples(x), Examples(x))

    go("last")
    with pytest.raises(TooLarge):
        go("best_validation")


def test_prediction_grows_with_the_runs() -> None:
    sizes = [prepared("vae", MLP((16,)), runs, 32, "adam")[0].bytes / runs for runs in (2, 4, 8)]
    assert sizes == pytest.approx([sizes[0]] * 3, rel=0.02)


def test_what_does_not_fit_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, x = resolve(VARIANTS, "variants", "ae"), torch.rand(50, 1, 12, 12)

    def go(runs: int) -> None:
        settings = [Setting(seed) for seed in range(runs)]
        train(variant, MLP((8,)), variant.sizes(latent=2), settings, Budget(4, 16), Examples(x), on_point=note)

    def note(step: int, loss: torch.Tensor) -> None:
        seen.append(step)

    seen: list[int] = []
    pack = prepared("ae", MLP((8,)), 2, 16, "adam")[0].bytes
    monkeypatch.setattr(training, "free_bytes", lambda device: 5 * pack)
    with pytest.raises(TooLarge, match=r"64 runs at once need .* MiB more; .* MiB are free") as refused:
        go(64)
    assert not seen
    assert 1 < refused.value.fitting < 12
    go(refused.value.fitting)
    assert seen
    monkeypatch.setattr(training, "free_bytes", lambda device: 1)
    go(1)  # a single run is tried, whatever was predicted


def test_memory_of_control_groups(tmp_path: Path) -> None:
    """The tightest limit on the way up counts, and cached files are free."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (listed := tmp_path / "listed").write_text("1:name=systemd:/x\n0::/outer/inner\n")
    for group, limit in ((tmp_path / "outer", "1000"), (inner, "max")):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("700\n")
        (group / "memory.stat").write_text("anon 500\nfile 200\n")
    groups = device.memory_groups(tmp_path, listed)
    assert groups == [tmp_path / "outer"]
    assert device.left(groups[0]) == 500


def test_this_machine() -> None:
    free = device.free_bytes(CPU)
    assert free is None or 0 < free < 2**50
    assert device.cores() >= 1


def alive() -> dict[int, torch.Tensor]:
    """Tensors with memory of their own, by its address."""
    found = (o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter))
    return {t.untyped_storage().data_ptr(): t for t in found if t.untyped_storage().nbytes()}


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("name", ["ae", "vae", "contractive_ae", "denoising_ae", "sigma_vae"])
def test_a_pack_goes_when_nobody_needs_it(name: str, runs: int) -> None:
    """And not when the garbage collector happens to look: on a GPU the next one needs its memory."""
    variant, x = resolve(VARIANTS, "variants", name), torch.rand(64, 1, 8, 8)
    settings = [Setting(seed, {}, Descent(1e-3)) for seed in range(runs)]
    words = (variant, MLP((8,)), variant.sizes(latent=4), settings, Budget(64, 16), Examples(x))
    train(*words)  # what is made once stays
    gc.collect()
    before = alive()
    gc.disable()
    try:
        trained = train(*words)
        assert len(trained.runs.seeds) == runs
        del trained
        left = {place: tensor for place, tensor in alive().items() if place not in before}
    finally:
        gc.enable()
    assert [tuple(tensor.shape) for tensor in left.values()] == []
