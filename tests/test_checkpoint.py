"""Training that was interrupted and gone on with ends bit for bit as if it had not been."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from fake_graph import fake_graph
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aebench import checkpoint as checkpoints
from aebench import engine, optim, pipeline, suite
from aebench import train as training
from aebench.checkpoint import Checkpoint
from aebench.engine import Mode
from aebench.feed import Examples
from aebench.networks import MLP, Conv, Linear
from aebench.optim import OPTIMIZERS, Descent
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.schedule import Schedule
from aebench.stopping import CHECKPOINTS, Safety, Stop, Stopped
from aebench.store import Store
from aebench.train import Budget, Setting, Trained, train
from aebench.variant import Variant
from aebench.variants import VARIANTS

CPU, SMALL = torch.device("cpu"), MLP((5,))
X = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
STEPS = 32 * 4 + 7
FALLING = Schedule(((0.0, 1e-2), (1.0, 1e-4)))
MADE = {"pack": "p", "torch": torch.__version__}


@dataclass
class Case:
    """What is trained."""

    variant: Variant
    settings: list[Setting]
    budget: Budget
    network: Any = SMALL
    x: Tensor = X
    binarize: bool = False

    def train(self, checkpoint: Checkpoint | None = None, engine: Mode = "auto") -> Trained:
        sizes, examples = self.variant.sizes(latent=2), Examples(self.x, self.binarize)
        return train(
            self.variant, self.network, sizes, self.settings, self.budget, examples, examples, engine=engine,
            checkpoint=checkpoint,
        )  # fmt: skip


def case(name: str = "vae", runs: int = 3, **options: Any) -> Case:
    """Runs of three seeds and learning rates."""
    more = {key: options.pop(key) for key in ("optimizer", "keep", "precision") if key in options}
    descent = Descent(**options)
    settings = [Setting(seed % 2, {}, descent._replace(lr=descent.lr) if seed else descent) for seed in range(runs)]
    variant = resolve(VARIANTS, "variants", name)
    return Case(variant, settings, Budget(STEPS, 16, **more), Linear() if "linear" in variant.networks else SMALL)


class Chunks(Stop):
    """Asks to stop once so many chunks have been looked at."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def check(self) -> None:
        self.number -= 1
        if self.number == 0:
            raise Stopped(signal.SIGTERM)


def kept(path: Path, chunks: int = 10**6, **options: Any) -> Checkpoint:
    """A checkpoint that is written at every chunk, by a process that is asked to end after so many."""
    return Checkpoint(path, MADE, Safety(0.0, Chunks(chunks)), **options)


def equal(one: Trained, two: Trained) -> None:
    assert one.runs.state.keys() == two.runs.state.keys()
    for name, tensor in one.runs.state.items():
        assert tensor.dtype == two.runs.state[name].dtype
        np.testing.assert_array_equal(tensor.numpy(), two.runs.state[name].numpy(), err_msg=name)
    assert one.curves.keys() == two.curves.keys()
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(curve, two.curves[name], err_msg=name)
    assert one.diverged == two.diverged
    assert all(map(torch.equal, one.runs.hyper, two.runs.hyper))


def interrupted(what: Case, path: Path, after: tuple[int, ...] = (2,)) -> Trained:
    """Trained with an end after so many chunks, and again after so many more."""
    done = 0
    for chunks in after:
        with pytest.raises(Stopped):
            what.train(kept(path, chunks))
        done += 32 * chunks
        last = kept(path)
        assert last.load({}, CPU) is not None
        assert last.resumed == min(done, STEPS)
    return what.train(kept(path))


# ---- bit for bit

OPTIONS: dict[str, list[tuple[tuple[str, Any], ...]]] = {
    "adam": [(), (("amsgrad", True),)],
    "adamw": [(), (("betas", (0.8, 0.9)),)],
    "sgd": [(), (("momentum", 0.9),), (("momentum", 0.9), ("nesterov", True))],
    "rmsprop": [(), (("centered", True), ("momentum", 0.9))],
    "adagrad": [(), (("initial_accumulator_value", 0.1), ("lr_decay", 1e-3))],
}


def test_every_optimizer_is_tried() -> None:
    assert set(OPTIONS) == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("name", "options", "runs"), [(n, o, 1 if o else 3) for n, several in OPTIONS.items() for o in several]
)
def test_every_optimizer_goes_on_as_if_nothing_had_been(tmp_path: Path, name: str, options: Any, runs: int) -> None:
    what = case(optimizer=name, options=options, lr=FALLING, weight_decay=0.01, clip=0.5, runs=runs)
    equal(interrupted(what, tmp_path / "p"), what.train())


@pytest.mark.parametrize(
    ("precision", "keep", "runs"),
    [("fp64", "last", 4), ("fp64", "best_validation", 1), ("bf16", "best_validation", 2), ("fp32", "last", 1)],
)
def test_every_budget_goes_on(tmp_path: Path, precision: str, keep: str, runs: int) -> None:
    what = case(keep=keep, precision=precision, runs=runs, lr=0.05)
    equal(interrupted(what, tmp_path / "p"), what.train())


def test_the_best_state_may_lie_before_the_interruption(tmp_path: Path) -> None:
    what = case(keep="best_validation", lr=Schedule(((0.0, 0.02), (0.5, 0.02), (1.0, 1.0))))
    straight = what.train()
    assert straight.curves["loss"][-1].max() > straight.curves["loss"].min(), "it gets worse"
    equal(interrupted(what, tmp_path / "p", (2, 1, 1)), straight)


@pytest.mark.parametrize("name", ["linear_ae", "contractive_ae", "sigma_vae"])
def test_variants_go_on(tmp_path: Path, name: str) -> None:
    what = case(name, runs=2)
    equal(interrupted(what, tmp_path / "p", (3,)), what.train())


def test_settings_of_their_own_and_noisy_images(tmp_path: Path) -> None:
    """Groups of the optimiser over slices of the runs, convolutions, scheduled weights, fresh draws of the data."""
    what = case("vae", lr=1e-3)
    descents = [Descent(1e-3), Descent(FALLING, clip=1.0), Descent(FALLING, clip=1.0), Descent(0.01, 0.1)]
    settings = [Setting(seed, {"beta": Schedule(((0.0, 0.0), (0.5, 1.0)))}, d) for seed, d in enumerate(descents)]
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    what = replace(what, settings=settings, network=Conv((3,)), x=images, binarize=True)
    equal(interrupted(what, tmp_path / "p"), what.train())


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.critic = nn.Linear(6, 2), nn.Linear(2, 1)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


class Nothing(NamedTuple):
    pass


class Sizes(NamedTuple):
    latent: int = 2


def main(net: Any, x: Tensor, noise: Mapping[str, Tensor], hp: Any) -> dict[str, Tensor]:
    h = net.main(x) - net.mean
    return {"loss": (x[:, :2] - h).square().sum(1) - 0.1 * net.critic(h)[:, 0]}


def critic(net: Any, x: Tensor, noise: Mapping[str, Tensor], hp: Any) -> dict[str, Tensor]:
    return {"loss": (net.critic(net.main(x))[:, 0] - x.sum(1)).square()}


def after(net: Any, x: Tensor, noise: Mapping[str, Tensor], hp: Any) -> dict[str, Tensor]:
    return {"mean": 0.9 * net.mean + 0.1 * net.main(x).mean(0), "count": net.count + 1}


TWO = Variant(
    name="two", source="none", about="two players", formula="none",
    build=lambda event_shape, network, sizes: Two(), losses={"main": main, "critic": critic},
    hyper=Nothing, sizes=Sizes, noise=lambda m, event_shape, sizes: {}, after=after,
)  # fmt: skip


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_two_players_and_what_they_count_go_on(tmp_path: Path, seeds: list[int]) -> None:
    what = Case(TWO, [Setting(seed) for seed in seeds], Budget(STEPS, 8))
    straight = what.train()
    assert straight.runs.state["count"].tolist() == [STEPS] * len(seeds)
    equal(interrupted(what, tmp_path / "p"), straight)


def test_a_curve_of_many_chunks_a_point_is_kept_between_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "POINTS", 2)
    what = case(keep="best_validation")
    straight = what.train()
    assert straight.curves["step"].tolist() == [96, STEPS]
    for chunks in (1, 4):
        equal(interrupted(what, tmp_path / f"p{chunks}", (chunks,)), straight)


def test_a_graph_is_recorded_of_what_was_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, as if it had graphs and Adam were ready for them."""
    monkeypatch.setattr(engine, "capture_on", lambda device: fake_graph)
    monkeypatch.setattr(training, "numbers_of_threads", lambda pack, feed, hyper: ())
    monkeypatch.setattr(optim, "_CAPTURABLE", {"adam": ("cpu",)})
    what = case(lr=FALLING, clip=0.5)
    straight = what.train(engine="graph")
    with pytest.raises(Stopped):
        what.train(kept(tmp_path / "p", 2), "graph")
    gone_on = what.train(kept(tmp_path / "p"), "graph")
    assert gone_on.engine["engine"] == "graph"
    equal(gone_on, straight)


# ---- a checkpoint that does not fit

DAMAGES = ["cut", "empty", "zeroed", "a bit", "another pack", "another torch", "another shape", "another type", "less"]
DAMAGES += ["another step", "other seconds"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_ignored_with_one_line(tmp_path: Path, damage: str) -> None:
    what, path, said = case(), tmp_path / "p", list[str]()
    straight = what.train()
    with pytest.raises(Stopped):
        what.train(kept(path, 2))
    made, whole = dict(MADE), path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "zeroed":
        path.write_bytes(bytes(len(whole)))
    elif damage == "a bit":
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    elif damage in ("another step", "other seconds"):  # a bit of what is said beside the tensors
        what_said, instead = {"another step": (b'"64"', b'"32"'), "other seconds": (b'"0.', b'"9.')}[damage]
        assert whole.count(what_said) == 1
        path.write_bytes(whole.replace(what_said, instead))
    elif damage.startswith("another t") and damage != "another type":
        made["torch"] = "1.0"
    elif damage == "another pack":
        made["pack"] = "q"
    else:
        tensors = load_file(path)
        name = next(name for name in tensors if name.startswith("pack/") and tensors[name].ndim > 1)
        one = tensors.pop(name)
        if damage != "less":
            tensors[name] = one[:, :1].contiguous() if damage == "another shape" else one.double()
        said_there = {**MADE, "format": checkpoints.FORMAT, "step": "64", "seconds": "1.0"}
        save_file(tensors, path, {**said_there, "sha256": checkpoints.digest(tensors, said_there)})
    checkpoint = Checkpoint(path, made, Safety(1e9), said.append)
    equal(what.train(checkpoint), straight)
    assert checkpoint.resumed == 0
    (line,) = said
    assert line.startswith(f"{path}: not gone on with, training begins anew: ")
    assert len(line.splitlines()) == 1


def test_nothing_is_written_where_nothing_is_long(tmp_path: Path) -> None:
    case().train(Checkpoint(tmp_path / "p", MADE))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_written_every_few_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = [0.0], list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Checkpoint, "_write", lambda self, step, seconds, tensors: written.append(step))
    checkpoint = Checkpoint(tmp_path / "p", MADE, Safety(300.0), last=0.0)
    for step in range(1, 101):
        now[0] += 10
        checkpoint.reached(step, lambda: 0.0, dict)
    assert written == [30, 60, 90]


def test_a_disk_that_is_full_does_not_end_training(tmp_path: Path) -> None:
    said = list[str]()
    (tmp_path / "file").write_text("")
    checkpoint = kept(tmp_path / "file" / "p", say=said.append)
    equal(case().train(checkpoint), case().train())
    assert said
    assert all("no checkpoint: cannot write" in line for line in said)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_without_memory_for_a_checkpoint_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is not the pack's fault, which would be split and come to other bits."""

    def refuse(*args: Any) -> bytes:
        raise error

    said = list[str]()
    monkeypatch.setattr(checkpoints, "save", refuse)
    equal(case().train(kept(tmp_path / "p", say=said.append)), case().train())
    assert all(line.startswith("no checkpoint: ") for line in said)
    assert said


# ---- a suite

SUITE = """\
name: trial
about: a pack
seeds: 2
data: {name: pinwheel, n: 128, n_validation: 64, n_test: 64}
network: {kind: mlp, hidden: [8]}
train: {steps: 320, batch: 16}
runs:
  - {variant: vae}
metrics: [reconstruction]
"""


class Asking(Progress):
    """Sends this process a signal at a point of the curve; and again, if it is still there at the next."""

    def __init__(self, number: int, at: int, times: int = 1) -> None:
        super().__init__(quiet=True)
        self.number, self.at, self.times = number, at, times

    def point(self, step: int, loss: Any) -> None:
        if step >= self.at and self.times:
            self.times -= 1
            os.kill(os.getpid(), self.number)


def go(folder: Path, progress: Progress | None = None, every: float = 300.0) -> pipeline.Done:
    todo, stop = pipeline.plan(suite.parse(SUITE), folder), Stop()
    with stop.listening():
        shown = progress or Progress(quiet=True)
        return pipeline.execute(todo, device="cpu", report=False, progress=shown, safety=Safety(every, stop))


def found(folder: Path) -> dict[str, Any]:
    store = Store(folder / "results" / "trial")
    return {
        d["id"]: (
            {n: m["value"] for n, m in d["metrics"].items()},
            d["curves"],
            store.weights_path(d["id"]).read_bytes(),
        )
        for d in store.documents()
    }


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_that_is_gone_on_with(tmp_path: Path, number: int, code: int) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(Stopped) as stopped:
        go(tmp_path, Asking(number, 160))
    assert stopped.value.code == code
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    folder = tmp_path / "results" / "trial" / CHECKPOINTS
    (path,) = folder.iterdir()
    (pack,) = suite.packs(suite.parse(SUITE).runs)
    assert path.name == f"{suite.pack_id(pack)}.safetensors"
    seen: list[int] = []

    class Seeing(Progress):
        def point(self, step: int, loss: Any) -> None:
            seen.append(step)

    assert go(tmp_path, Seeing(quiet=True)).trained == 2
    assert seen == [192, 224, 256, 288, 320]
    assert not folder.exists()
    go(tmp_path / "straight")
    assert found(tmp_path) == found(tmp_path / "straight")


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    class Twice(Asking):
        def point(self, step: int, loss: Any) -> None:
            super().point(step, loss)
            super().point(step, loss)

    with pytest.raises(Stopped):
        go(tmp_path, Twice(signal.SIGTERM, 160, times=2))
    assert not (tmp_path / "results" / "trial" / CHECKPOINTS).exists()


def test_time_before_an_interruption_counts(tmp_path: Path) -> None:
    what = case()
    with pytest.raises(Stopped):
        what.train(kept(tmp_path / "p", 4))
    tensors = load_file(tmp_path / "p")
    said = {**MADE, "format": checkpoints.FORMAT, "step": "128", "seconds": "1000.0"}
    save_file(tensors, tmp_path / "p", {**said, "sha256": checkpoints.digest(tensors, said)})
    seconds = what.train(kept(tmp_path / "p")).seconds
    assert seconds["before"] == 1000
    assert seconds["train"] > 1000


def test_a_limit_of_time_counts_what_was_spent_before_an_interruption(tmp_path: Path) -> None:
    """Else a training that is stopped again and again would never come to its limit."""
    with pytest.raises(Stopped):
        go(tmp_path, Asking(signal.SIGTERM, 160))
    (path,) = (tmp_path / "results" / "trial" / CHECKPOINTS).iterdir()
    with safe_open(path, "pt") as file:
        said = {**file.metadata(), "seconds": "7.0"}
    del said["sha256"]
    tensors = load_file(path)
    save_file(tensors, path, {**said, "sha256": checkpoints.digest(tensors, said)})
    for limit, failed in ((3.0, 2), (60.0, 0)):  # of each of the two runs
        shutil.copytree(tmp_path / "results", tmp_path / str(limit) / "results")
        todo = pipeline.plan(suite.parse(f"{SUITE}time_limit: {limit}\n"), tmp_path / str(limit))
        done = pipeline.execute(todo, device="cpu", report=False, progress=Progress(quiet=True))
        assert [document["error"]["kind"] for document in done.failed] == ["TimeLimit"] * failed
