"""How many runs are to train at once: the rule, by clocks that the tests make, and what comes of a split pack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aebench import pace, pipeline, suite, work
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.networks import MLP
from aebench.pace import Sample
from aebench.plan import plan
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.store import Store
from aebench.suite import pack_id
from aebench.train import Budget, Setting, TooLarge
from aebench.variants import VARIANTS

LONG = 10**7
"""Steps of a training that is worth asking about."""


def test_sizes_are_those_of_even_parts() -> None:
    assert pace.splits(64) == {16: 4, 32: 2, 64: 1}
    assert pace.splits(70) == {18: 4, 35: 2, 70: 1}
    assert pace.splits(31) == {16: 2, 31: 1}
    assert pace.splits(30) == {30: 1}
    for runs in range(1, 600):
        for size, number in pace.splits(runs).items():
            lengths = [len(part) for part in np.array_split(np.arange(runs), number)]
            assert max(lengths) == size
            assert max(lengths) - min(lengths) <= 1


def asked(
    runs: int, seconds: Callable[[int], float], steps: int = LONG, recording: float = 0.0, fit: int = 10**9
) -> tuple[int, list[int]]:
    """Parts, and the sizes that were measured, where a pack's step takes `seconds(size)`."""
    sizes: list[int] = []

    def sampled(size: int) -> Sample:
        sizes.append(size)
        if size > fit:
            raise TooLarge(size, 2, 1)
        return Sample(seconds(size) / size, recording)

    number, found = pace.parts(runs, steps, 128, sampled)
    assert list(found) == [size for size in sizes if size <= fit]
    return number, sizes


def test_a_pack_grows_until_throughput_stops_rising() -> None:
    """A step that costs 100 units and one more for each run: to double s runs makes one cheaper by 50/(100 + s).

    That is less than 5 % from s = 900 on.
    """
    number, sizes = asked(4096, lambda size: 100 + size)
    assert sizes == [16, 32, 64, 128, 256, 512, 1024, 2048]
    assert number == 4
    assert asked(512, lambda size: 100 + size) == (1, [16, 32, 64, 128, 256, 512])


def test_a_pack_that_leaves_the_cache_is_split() -> None:
    """Twice as dear a run from 50 runs on."""
    assert asked(128, lambda size: size * (2.0 if size > 50 else 1.0) + 10) == (4, [16, 32, 64])
    assert asked(100, lambda size: size * (2.0 if size > 50 else 1.0) + 10) == (2, [25, 50, 100])


def test_what_does_not_fit_ends_it() -> None:
    assert asked(128, lambda size: 100 + size, fit=70) == (2, [16, 32, 64, 128])
    assert asked(128, lambda size: 100 + size, fit=8) == (1, [16]), "memory alone decides"


def test_a_short_training_is_not_asked_about() -> None:
    """Three sizes to come, of 16, 32 and 64 runs; 192 steps each: 192 * 96 of 64 * steps run-steps, at most 2 %."""
    worth = 192 * 96 / 64 / pace.WORTH
    assert asked(64, lambda size: size, steps=int(worth) - 1) == (1, [16])
    assert asked(64, lambda size: size, steps=int(worth) + 1) == (4, [16, 32])
    assert asked(31, lambda size: size, steps=100) == (1, []), "one sample would cost more than all of it"
    assert asked(30, lambda size: size) == (1, [])


def test_recording_is_part_of_what_a_run_costs() -> None:
    """A run's steps take 100 s. Of 300 s of recording it bears 300/size: 118.75, 109.4 (7.9 % less), 104.7 (4.3 %)."""
    assert asked(2048, lambda size: size * 1e-3, steps=10**5) == (128, [16, 32])
    assert asked(2048, lambda size: size * 1e-3, steps=10**5, recording=300.0) == (64, [16, 32, 64])


def test_on_a_cpu_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "sample", lambda *_: pytest.fail("asked"))
    ae = resolve(VARIANTS, "variants", "ae")
    settings = [Setting(seed) for seed in range(64)]
    recipe = ae, MLP((4,)), ae.sizes(latent=2)
    assert pace.together(recipe, settings, Budget(LONG), Examples(torch.rand(8, 1, 4, 4)), "auto") == (1, {})


@pytest.mark.parametrize(
    ("hidden", "event", "batch", "precision", "runs", "number"),
    [  # 32 MiB are 2^23 numbers of float32
        ((32, 32), (1, 28, 28), 128, "fp32", 64, 1),
        ((32, 32), (1, 28, 28), 128, "fp32", 512, 7),  # the batch: 512 x 128 x 784 = 6.125 x 2^23
        ((32, 32), (1, 28, 28), 128, "fp64", 512, 13),
        ((64,), (4,), 128, "fp32", 1024, 1),  # a layer: 1024 x 128 x 64 = 2^23
        ((64,), (4,), 128, "fp32", 1025, 2),
        ((512,), (1, 28, 28), 128, "fp32", 20, 1),  # the weights: 20 x 784 x 512 = 0.96 x 2^23
        ((512,), (1, 28, 28), 128, "fp32", 21, 2),
        ((4096,), (1, 64, 64), 128, "fp32", 3, 3),  # each alone has more
    ],
)
def test_on_a_cpu_the_largest_tensor_of_a_step_stays_in_a_block(
    hidden: tuple[int, ...], event: tuple[int, ...], batch: int, precision: Any, runs: int, number: int
) -> None:
    vae, budget = resolve(VARIANTS, "variants", "vae"), Budget(LONG, batch, precision=precision)
    settings = [Setting(seed, {"beta": 0.5}) for seed in range(runs)]
    recipe, x = (vae, MLP(hidden), vae.sizes(latent=2)), Examples(torch.empty(8, *event))
    assert pace.together(recipe, settings, budget, x, "auto") == (number, {})


def test_a_loss_that_knows_no_shapes_counts_by_its_weights_and_data() -> None:
    def fails(*_: Any) -> Any:
        raise ValueError

    ae = replace(resolve(VARIANTS, "variants", "ae"), losses={"": fails})
    arguments = ae.sizes(latent=2), Setting(), 16
    assert pace.largest(ae, MLP((100,)), *arguments, (50,)) == 100 * 50
    assert pace.largest(ae, MLP((4,)), *arguments, (50,)) == 16 * 50


@pytest.mark.parametrize("error", [InputError("no"), RuntimeError("a fault")])
def test_a_fault_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Where it is recorded; what cannot work at all is told at once."""

    def fails(*_: Any) -> Sample:
        raise error

    monkeypatch.setattr(pace, "sample", fails)
    ae = resolve(VARIANTS, "variants", "ae")
    settings = [Setting(seed) for seed in range(64)]
    recipe, x = (ae, MLP((4,)), ae.sizes(latent=2)), Examples(torch.empty(8, 1, 4, 4, device="meta"))
    monkeypatch.setitem(pace.SETTLED, "meta", 0)
    if isinstance(error, InputError):
        with pytest.raises(InputError):
            pace.together(recipe, settings, Budget(LONG), x, "auto")
    else:
        assert pace.together(recipe, settings, Budget(LONG), x, "auto") == (1, {})


def test_a_sample_is_of_the_steps_after_the_loop_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that gives each chunk before that an hour, and each later one 32 seconds: 1/4 s a run-step."""
    monkeypatch.setattr(pace, "clock", lambda device: now[0])
    now, train = [0.0], pace.train

    def ticking(*given: Any, on_point: Any, **more: Any) -> Any:
        def point(step: int, loss: torch.Tensor) -> None:
            now[0] += 3600.0 if step <= pace.SETTLED["cpu"] else 32.0
            on_point(step, loss)

        return train(*given, on_point=point, **more)

    monkeypatch.setattr(pace, "train", ticking)
    ae = resolve(VARIANTS, "variants", "ae")
    settings = [Setting(seed) for seed in range(4)]
    found = pace.sample(ae, MLP((4,)), ae.sizes(latent=2), settings, Budget(64, 8), Examples(torch.rand(20, 1, 4, 4)))
    assert found.seconds == 0.25
    assert found.compile > 0


SUITE = """
name: trial
seeds: 7
data: digits
network: {kind: mlp, hidden: [8]}
train: {steps: 40, batch: 16, precision: fp64}
runs: [{variant: vae, sizes: {latent: 3}}]
metrics: [reconstruction]
figures: []
"""


def test_a_split_for_speed_is_recorded_and_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as even as they can be, each a pack by itself; weights as those of the whole pack to 1e-9 in float64."""

    def go(folder: Path) -> dict[int, tuple[dict[str, Any], dict[str, np.ndarray]]]:
        todo = plan(suite.parse(SUITE), folder)
        pipeline.execute(todo, device="cpu", report=False, progress=Progress(quiet=True))
        store = Store(folder / "results" / "trial")
        assert plan(suite.parse(SUITE), folder).packs == [], "nothing is left to do"
        return {d["spec"]["seed"]: (d, dict(store.weights(d["id"]) or {})) for d in store.documents()}

    whole = go(tmp_path / "whole")
    said = {"pack_size": {"4": {"seconds": 1e-3, "compile": 0.5}}}
    monkeypatch.setattr(work, "together", lambda *_: (3, said))
    parts = go(tmp_path / "parts")
    runs = suite.parse(SUITE).runs
    for part in (runs[:3], runs[3:5], runs[5:]):
        for run in part:
            document, weights = parts[run.spec["seed"]]
            assert document["cost"]["pack"]["id"] == pack_id(part)
            assert document["cost"]["pack"]["ids"] == [other.id for other in part]
            assert document["cost"]["engine"]["pack_size"] == said["pack_size"]
            for name, value in whole[run.spec["seed"]][1].items():
                np.testing.assert_allclose(weights[name], value, rtol=0, atol=1e-9)
    assert "pack_size" not in whole[0][0]["cost"]["engine"]
