"""A chunk of steps as one graph gives what the steps one by one give, and the faster of the two is kept."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from fake_graph import fake_graph
from oracles import fitting
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

import aebench
from aebench import engine, feed, optim, packing, sharing
from aebench import train as training
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.networks import MLP, Conv, Linear
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.schedule import Schedule
from aebench.train import DTYPES, Budget, Hyper, Setting, Trained, train
from aebench.variants import VARIANTS

TRAINED = [name for name in VARIANTS if resolve(VARIANTS, "variants", name).fit is None]
FALLING = Schedule(((0.0, 3e-3), (0.5, 1e-3)), "linear")
DESCENTS = [Descent(FALLING), Descent(2e-3), Descent(1e-3, clip=Schedule(((0.0, 0.5), (1.0, 0.05)), "linear"))]


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU, as if it had graphs and Adam were ready for them."""
    monkeypatch.setattr(engine, "capture_on", lambda device: fake_graph)
    monkeypatch.setattr(training, "numbers_of_threads", lambda pack, feed, hyper: ())
    monkeypatch.setattr(optim, "_CAPTURABLE", {"adam": ("cpu",)})


def trained(
    name: str = "vae", mode: engine.Mode = "eager", runs: int = 3, binarize: bool = False, **changes: Any
) -> Trained:
    variant = resolve(VARIANTS, "variants", name)
    network = Linear() if "linear" in variant.networks else MLP((16,))
    rising = Schedule(((0.0, 0.1), (1.0, 0.4)), "linear")
    hyper = [dict.fromkeys(variant.hyper._fields, value) for value in (rising, 0.2, 0.3)]
    settings = [Setting(s, h, d) for s, h, d in zip((0, 1, 0), hyper, DESCENTS, strict=True)][:runs]
    x = torch.rand(150, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    sizes = fitting(variant, x.shape[1:])
    budget = Budget(32 * 5 + 7, 20, **changes)
    return train(variant, network, sizes, settings, budget, Examples(x, binarize), Examples(x[:40]), engine=mode)


def same(a: Trained, b: Trained) -> bool:
    """Bit for bit."""
    states = all(torch.equal(value, b.runs.state[name]) for name, value in a.runs.state.items())
    return states and all((curve == b.curves[name]).all() for name, curve in a.curves.items())


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("name", TRAINED)
def test_graph_equals_eager(name: str) -> None:
    """Every variant, two seeds, schedules of learning rate, hyperparameter and clipping, a last chunk that is short."""
    graph = trained(name, "graph")
    assert graph.engine["engine"] == "graph"
    assert same(graph, trained(name, "eager"))


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("case", [{"runs": 1}, {"binarize": True}, {"precision": "bf16"}, {"keep": "best_validation"}])
def test_graph_equals_eager_whatever_the_pack(case: dict[str, Any]) -> None:
    graph = trained(mode="graph", **case)
    assert graph.engine["engine"] == "graph"
    assert same(graph, trained(mode="eager", **case))


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("module", [feed, optim])
def test_the_stand_in_sees_what_a_graph_would_miss(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a chunk's numbers came in new memory, a graph would go on reading the old."""
    monkeypatch.setattr(module, "refill", lambda buffer, new, device: new.to(device))
    assert not same(trained(mode="graph"), trained(mode="eager"))


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(("replay", "kept"), [(0.5, "graph"), (2.0, "eager")])
def test_the_faster_is_kept(replay: float, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that gives an eager chunk one second, and a replay so many."""
    ticks = iter([0.0, 1.0, 5.0, 6.0, 10.0, 10.0 + replay])
    monkeypatch.setattr(engine, "clock", lambda device: next(ticks))
    auto = trained(mode="auto")
    assert auto.engine == {"engine": kept, "eager": 1.0, "capture": 1.0, "graph": replay}
    assert same(auto, trained(mode="eager"))


@pytest.mark.usefixtures("recording")
def test_a_graph_is_let_go_before_anything_else_needs_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a last, shorter chunk, and before the trained state is copied; what was used is still known."""
    alive: list[weakref.ref[Any]] = []
    seen: list[tuple[int, bool]] = []

    def capture(call: Any) -> Any:
        replay, outputs = fake_graph(call)
        alive.append(weakref.ref(replay))
        return replay, outputs

    there = lambda: any(one() is not None for one in alive)  # noqa: E731
    steps, state = training.steps, packing.Pack.state
    monkeypatch.setattr(engine, "capture_on", lambda device: capture)
    monkeypatch.setattr(training, "steps", lambda *a: (seen.append((a[-1], there())), steps(*a))[1])
    monkeypatch.setattr(packing.Pack, "state", property(lambda p: (seen.append((0, there())), state.fget(p))[1]))
    assert trained(mode="graph").engine["engine"] == "graph"
    last = next(i for i, (count, _) in enumerate(seen) if count == 7)
    assert len(seen) > last + 1
    assert not any(there for _, there in seen[last:])
    assert len(alive) == 1


def test_engine_counts_its_chunks() -> None:
    """Each chunk is carried out once, whoever does it."""
    steps: list[int] = []

    def chunk(count: int) -> engine.Terms:
        steps.append(count)
        return {"loss": torch.zeros(count, 1)}

    loop = engine.Engine(chunk, 32, torch.device("cpu"), "auto")
    for count in (32, 32, 32, 5):
        assert len(loop.run(count)["loss"]) == count
    assert steps == [32, 32, 32, 5]
    assert loop.choice == {"engine": "eager"}


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="engine 'graph': needs CUDA"):
        trained(mode="graph")
    with pytest.raises(InputError, match=r"'fast'.*auto, eager, graph"):
        trained(mode="fast")  # type: ignore[arg-type]


def test_a_schedule_of_the_weight_decay_is_not_recorded(recording: None) -> None:
    parameters = [torch.zeros(2, 3, requires_grad=True)]
    constant, falling = (optim.StackedOptimizer("adam", parameters, [Descent(1e-3, d)] * 2) for d in (0.1, FALLING))
    assert constant.capturable
    assert not falling.capturable


def test_bf16_is_the_arithmetic_of_autocast() -> None:
    """One gradient of a convolutional net: as far from float64 as torch's autocast is, and not the float32 one."""
    variant = resolve(VARIANTS, "variants", "vae")
    sizes, x = variant.sizes(latent=4), torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    setting = Setting(0, {"beta": 0.5})

    def gradients(dtype: torch.dtype, products: torch.dtype | None, autocast: bool = False) -> list[torch.Tensor]:
        net = packing.build(variant, (1, 8, 8), Conv((4, 8)), sizes, 0).to(dtype)
        pack = packing.Pack(variant, [net], [setting.descent], "adam")
        batches = feed.Feed(Examples(x), 64, variant.noise(64, (1, 8, 8), sizes), [0], dtype)
        batches.fill(0)
        batch, hp = batches.step(0), Hyper(variant, [setting], False, x.device, dtype).at(0.0)
        if autocast:
            with torch.autocast("cpu", torch.bfloat16):
                loss = pack.call(pack.losses[""], pack.parameters, batch, hp)["loss"]
            return list(torch.autograd.grad(loss, list(pack.parameters.values())))
        pack.prepare(batch, hp, products)
        return pack.traced[""](pack.leaves, batch.x, batch.noise, hp)[1]

    assert DTYPES["bf16"] == torch.float32
    exact = torch.cat([g.flatten() for g in gradients(torch.float64, None)])
    error = lambda found: float((torch.cat([g.flatten().double() for g in found]) - exact).norm() / exact.norm())  # noqa: E731
    ours = error(gradients(torch.float32, torch.bfloat16))
    autocast = error(gradients(torch.float32, None, autocast=True))
    assert error(gradients(torch.float32, None)) < 1e-5
    assert 1e-4 < ours < 1.5 * autocast < 0.1


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_rewritten_step_gives_the_gradients_of_autograd(precision: str) -> None:
    """On fresh random inputs, for a pack of three with their own seeds and one that shares a batch."""
    variant, dtype = resolve(VARIANTS, "variants", "vae"), DTYPES[precision]
    sizes, x = variant.sizes(latent=4), torch.rand(64, 1, 8, 8)
    for network in (MLP((16, 12)), Conv((4, 8))):
        for seeds in ((0, 1, 2), (0, 0, 0), (0,)):
            settings = [Setting(s, {"beta": 0.1 * (i + 1)}) for i, s in enumerate(seeds)]
            nets = [packing.build(variant, (1, 8, 8), network, sizes, s).to(dtype) for s in seeds]
            pack = packing.Pack(variant, nets, [s.descent for s in settings], "adam")
            batches = feed.Feed(Examples(x), 16, variant.noise(16, (1, 8, 8), sizes), seeds, dtype)
            batches.fill(0)
            batch, hp = batches.step(0), Hyper(variant, settings, pack.stacked, x.device, dtype).at(0.0)
            pack.prepare(batch, hp)
            terms, found = pack.traced[""](pack.leaves, batch.x, batch.noise, hp)
            again = pack.calls[""](pack.leaves, batch.x, batch.noise, hp)
            assert all(map(torch.equal, tree_leaves((terms, found)), tree_leaves(again))), "called another way"
            loss = pack.call(pack.losses[""], pack.parameters, batch, hp)["loss"].sum()
            for a, b in zip(found, torch.autograd.grad(loss, list(pack.parameters.values())), strict=True):
                assert (a - b).norm() <= (1e-14 if precision == "fp64" else 1e-5) * b.norm()
                assert a.is_contiguous() or a.ndim > 3, "in the layout that the optimiser takes"


def test_schedules_are_resolved_at_each_step() -> None:
    """The learning rate of step t is the schedule's at t/T, on either side of a chunk's end."""
    seen: list[float] = []
    optimizer = optim.StackedOptimizer("sgd", [torch.zeros(1, requires_grad=True)], [Descent(FALLING)], stacked=False)
    for chunk in range(2):
        optimizer.fill([step / 64 for step in range(32 * chunk, 32 * (chunk + 1))])
        for i in range(32):
            optimizer.step([torch.zeros(1)], i)
            seen.append(optimizer.torch.param_groups[0]["lr"])
    assert seen == pytest.approx([3e-3 - 2e-3 * min(t / 64 / 0.5, 1.0) for t in range(64)])
    assert all(a >= b for a, b in pairwise(seen))
    assert replace(Budget(1), precision="tf32").precision == "tf32"


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_threads_changes_no_bit(runs: int, precision: str) -> None:
    """So that it may be chosen by the clock."""
    before = torch.get_num_threads()
    variant, x = resolve(VARIANTS, "variants", "vae"), torch.rand(300, 1, 20, 20)
    settings = [Setting(seed, {"beta": 0.1}) for seed in range(runs)]
    found: list[Trained] = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            budget = Budget(40, 128, precision=precision)  # type: ignore[arg-type]
            found.append(train(variant, MLP((256, 64)), variant.sizes(latent=8), settings, budget, Examples(x)))
            assert torch.get_num_threads() == threads, "left as it was"
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_threads_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are kept while they are faster; when a chunk takes half as long again, both are timed anew."""
    now, used = [0.0], []
    cost = {2: 1.0, 1: 1.4}
    monkeypatch.setattr(engine, "clock", lambda device: now[0])
    threads = engine.Threads((2, 1), torch.device("cpu"))

    def chunk() -> engine.Terms:
        used.append(torch.get_num_threads())
        now[0] += cost[used[-1]]
        return {}

    for _ in range(6):
        threads.run(chunk, True)
    assert used == [2, 2, 1, 2, 2, 2]
    cost[2] = 9.0  # another process has come
    for _ in range(6):
        threads.run(chunk, True)
    assert used[6:] == [2, 2, 1, 1, 1, 1]
    cost[2] = 1.0
    for _ in range(4 * threads.AGAIN):
        threads.run(chunk, True)
    assert set(used[12:]) == {1}, "it was far behind, so it is not asked so soon"
    for _ in range(3 * threads.AGAIN):
        threads.run(chunk, True)
    assert used[-1] == 2
    assert threads.choice == {"threads": max(set(used), key=used.count)}


def test_of_a_short_training_the_number_of_threads_is_the_one_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(engine, "clock", lambda device: now[0])
    threads = engine.Threads((2, 1), torch.device("cpu"))

    def chunk() -> engine.Terms:
        now[0] += torch.get_num_threads()
        return {}

    for _ in range(4):
        threads.run(chunk, True)
    assert threads.spent == {2: 2, 1: 2}
    assert threads.choice == {"threads": 1}


# --- steps of networks and losses that users write


class Own:
    """A network whose parts a test gives."""

    def __init__(self, encoder: Any, decoder: Any) -> None:
        self.parts = encoder, decoder

    def encoder(self, event_shape: Any, outputs: int) -> nn.Module:
        return self.parts[0](outputs)

    def decoder(self, latent: int, event_shape: Any) -> nn.Module:
        return self.parts[1](latent)


class Projected(nn.Module):
    """A constant that is neither parameter nor buffer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix


def flat(*layers: Any) -> Any:
    return lambda outputs: nn.Sequential(nn.Flatten(), *(layer() for layer in layers), nn.Linear(64, outputs))


def grown(*layers: Any) -> Any:
    return lambda latent: nn.Sequential(
        nn.Linear(latent, 64), nn.Unflatten(1, (4, 4, 4)), *(layer() for layer in layers)
    )


INPLACE = Own(
    flat(lambda: nn.ReLU(inplace=True)),
    grown(
        lambda: nn.ReLU(inplace=True),
        lambda: nn.ConvTranspose2d(4, 1, 4, 2, 1),
        lambda: nn.Hardtanh(0, 1, inplace=True),
    ),
)
CONV1D = Own(
    lambda outputs: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(1, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, outputs)
    ),
    lambda latent: nn.Sequential(nn.Linear(latent, 64), nn.Unflatten(1, (1, 8, 8))),
)
CONSTANT = Own(
    lambda outputs: nn.Sequential(nn.Flatten(), Projected(64), nn.Linear(64, outputs)),
    lambda latent: nn.Sequential(nn.Linear(latent, 64), nn.Unflatten(1, (1, 8, 8))),
)


OWN = {"in place": INPLACE, "conv1d": CONV1D, "constant": CONSTANT}


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(
    ("kind", "precision"),
    # a network whose constant is float32 takes no float64
    [(kind, p) for kind in OWN for p in ("fp64", "fp32", "bf16") if (kind, p) != ("constant", "fp64")],
)
def test_whatever_a_network_does_the_gradients_are_those_of_autograd(kind: str, precision: str, runs: int) -> None:
    variant, dtype, network = resolve(VARIANTS, "variants", "ae"), DTYPES[precision], OWN[kind]
    sizes, x = variant.sizes(latent=6), torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = [Setting(seed) for seed in range(runs)]
    nets = [packing.build(variant, (1, 8, 8), network, sizes, s.seed).to(dtype) for s in settings]
    pack = packing.Pack(variant, nets, [s.descent for s in settings], "adam")
    batches = feed.Feed(Examples(x), 16, {}, range(runs), dtype)
    batches.fill(0)
    batch, hp = batches.step(0), Hyper(variant, settings, pack.stacked, x.device, dtype).at(0.0)
    before = batch.x.clone()
    pack.prepare(batch, hp, training.PRODUCTS.get(precision))
    found = pack.calls[""](pack.leaves, batch.x, batch.noise, hp)[1]
    assert torch.equal(batch.x, before), "the data are left as they were"
    call, own = partial(pack.call, pack.losses[""], pack.parameters, batch, hp), list(pack.parameters.values())
    exact = torch.autograd.grad(call()["loss"].sum(), own)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.autograd.grad(call()["loss"].sum(), own)
    a, b, c = (torch.cat([g.flatten() for g in gradients]) for gradients in (found, exact, rounded))
    allowed = 1.5 * (c - b).norm() if precision == "bf16" else {"fp64": 1e-12, "fp32": 1e-5}[precision] * b.norm()
    assert (a - b).norm() <= allowed


def test_a_choice_of_threads_is_offered_only_where_it_changes_no_bit() -> None:
    """A learnt scale's gradient is one sum over all pixels of a batch, which two threads share out."""
    before, x = torch.get_num_threads(), torch.rand(300, 1, 28, 28)
    offered: dict[str, tuple[int, ...]] = {}
    try:
        torch.set_num_threads(4)
        for name in ("vae", "sigma_vae"):
            variant = resolve(VARIANTS, "variants", name)
            sizes, setting = variant.sizes(latent=4), Setting()
            net = packing.build(variant, (1, 28, 28), MLP((64,)), sizes, 0)
            pack = packing.Pack(variant, [net], [setting.descent], "adam")
            batches = feed.Feed(Examples(x), 128, variant.noise(128, (1, 28, 28), sizes), [0], torch.float32)
            hyper = Hyper(variant, [setting], False, x.device, torch.float32)
            training.prepare(pack, batches, hyper, None)
            offered[name] = sharing.numbers_of_threads(pack, batches, hyper)
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert offered == {"vae": (4, 1), "sigma_vae": (4,)}


@pytest.mark.parametrize(
    ("activation", "batch", "width", "offered"),
    [
        ("elu", 128, 64, (2, 1)),  # 3 x 128 x 64 numbers, a half of which is whole loops
        ("elu", 100, 150, (2,)),  # a half of 45,000 is none
        ("relu", 100, 150, (2, 1)),  # but there is nothing in it to round
        ("elu", 100, 50, (2, 1)),  # few enough for one thread
        ("silu", 100, 150, (2,)),
    ],
)
def test_threads_are_no_choice_where_they_cut_a_loop(
    activation: str, batch: int, width: int, offered: tuple[int, ...]
) -> None:
    before, x = torch.get_num_threads(), torch.rand(300, 1, 8, 8)
    variant = resolve(VARIANTS, "variants", "ae")
    sizes, settings = variant.sizes(latent=32), [Setting(seed) for seed in range(3)]
    network = MLP((width,), activation)  # type: ignore[arg-type]
    nets = [packing.build(variant, (1, 8, 8), network, sizes, setting.seed) for setting in settings]
    pack = packing.Pack(variant, nets, [setting.descent for setting in settings], "adam")
    batches = feed.Feed(Examples(x), batch, {}, range(3), torch.float32)
    hyper = Hyper(variant, settings, True, x.device, torch.float32)
    try:
        torch.set_num_threads(2)
        training.prepare(pack, batches, hyper, None)
        assert sharing.numbers_of_threads(pack, batches, hyper) == offered
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(7, 100, 50), (16, 128, 64), (3, 128, 784), (5, 100, 64), (9, 77, 96)])
def test_loops_that_are_not_cut_give_the_same_bits(shape: tuple[int, ...]) -> None:
    """Functions that are computed otherwise in the rest of a loop, also of rows, and of an axis that is turned."""
    F, before = nn.functional, torch.get_num_threads()
    functions = (
        F.elu, F.silu, F.softplus, F.gelu, torch.sigmoid, torch.tanh, torch.exp,
        lambda x: F.elu(x + x[:, :1]), lambda x: F.elu(x.transpose(1, 2)), lambda x: torch.add(x, x * x, alpha=0.3),
    )  # fmt: skip

    def both(fn: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = x.detach().requires_grad_()
        y = fn(x)
        return y.detach(), *torch.autograd.grad((y * y.detach()).sum(), x)

    for fn in functions:
        recorded = make_fx(partial(both, fn), tracing_mode="fake")(torch.randn(shape))
        if sharing.cut_by_threads(recorded.graph, 2):
            continue
        try:
            for seed in range(4):
                x, found = torch.randn(shape, generator=torch.Generator().manual_seed(seed)), []
                for number in (1, 2):
                    torch.set_num_threads(number)
                    found.append(recorded(x))
                assert all(map(torch.equal, *found))
        finally:
            torch.set_num_threads(before)


def test_a_copy_in_whatever_layout_rounds_nothing() -> None:
    copy = make_fx(lambda x: x.mT.clone(memory_format=torch.contiguous_format), tracing_mode="fake")
    assert not sharing.cut_by_threads(copy(torch.randn(7, 100, 150)).graph, 2)


def test_what_cannot_be_recorded_goes_on_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """In "auto"; who asks for the graph is told."""

    def refuse(call: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(engine, "capture_on", lambda device: refuse)
    monkeypatch.setattr(optim, "_CAPTURABLE", {"adam": ("cpu",)})
    auto = trained(mode="auto")
    assert auto.engine["engine"] == "eager"
    assert "not permitted" in auto.engine["no_graph"]
    assert same(auto, trained(mode="eager"))
    with pytest.raises(RuntimeError, match="not permitted"):
        trained(mode="graph")


def test_python_chooses_the_engine_too(tmp_path: Path) -> None:
    """As `--engine` does; what the device cannot do is refused before anything is trained."""
    suite = tmp_path / "trial.yaml"
    suite.write_text(
        "name: trial\ndata: {name: pinwheel, n: 64, split: none}\nnetwork: {kind: mlp, hidden: [4]}\n"
        "train: {steps: 4, batch: 8}\nruns: [{variant: ae}]\nmetrics: [reconstruction]\nfigures: []\n"
    )
    with pytest.raises(InputError, match="engine 'graph': needs CUDA"):
        aebench.run(suite, out=tmp_path, device="cpu", report=False, engine="graph")
    with pytest.raises(InputError, match=r"'fast'.*auto, eager, graph"):
        aebench.run(suite, out=tmp_path, device="cpu", report=False, engine="fast")
    assert len(aebench.run(suite, out=tmp_path, device="cpu", report=False, engine="eager")) == 1
