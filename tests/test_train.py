"""The loop and the stacked optimiser against torch's own optimisers, hand-worked toys, and a loop in plain PyTorch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from annotated_types import Ge
from torch import Tensor, nn

from aebench.checkpoint import remembered
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.networks import MLP, Linear
from aebench.optim import OPTIMIZERS, Descent, StackedOptimizer, summary
from aebench.packing import Runs
from aebench.schedule import Schedule
from aebench.train import POINTS, Budget, Setting, Trained, train
from aebench.variant import Uniform, Variant
from aebench.variants.autoencoder import AE, LINEAR_AE
from aebench.variants.variational import VAE


def source(text: str) -> torch.Generator:
    """A generator at the start of the stream that the text names."""
    return torch.Generator().manual_seed(int(hashlib.sha256(text.encode()).hexdigest()[:14], 16))


# ---- a toy whose every step can be worked out by hand


class Sizes(NamedTuple):
    latent: Annotated[int, Ge(1)] = 1
    reconstruction: Literal["mse"] = "mse"


class Hyper(NamedTuple):
    a: float = 0.0
    b: float = 0.0


class Number(nn.Module):
    """One number."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((1,), start))


def toy(loss: Callable[..., dict[str, Tensor]], module: Callable[[], nn.Module] = Number, **other: Any) -> Variant:
    fields: dict[str, Any] = {
        "name": "toy",
        "build": lambda *_: module(),
        "losses": {"": loss},
        "hyper": Hyper,
        "sizes": Sizes,
        "noise": lambda batch, event, sizes: {},
    }
    return replace(AE, **{**fields, **other})


def pulled(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
    """Half the squared distance to each example: the gradient is w − x̄."""
    return {"loss": 0.5 * (net.w - x).square().sum(1)}


def constant(value: float, n: int = 4) -> Examples:
    return Examples(torch.full((n, 1), value))


def run(
    variant: Variant, settings: list[Setting], examples: Examples, validation: Any = None, **budget: Any
) -> Trained:
    """In float64, by plain gradient descent, unless told otherwise."""
    budget = {"steps": 40, "batch": 4, "optimizer": "sgd", "precision": "fp64", **budget}
    return train(variant, Linear(), Sizes(), settings, Budget(**budget), examples, validation)


PACKS = pytest.mark.parametrize("seeds", [[0], [0, 0], [0, 1, 0]], ids=["alone", "one seed", "two seeds"])


# ---- the stacked optimiser

DESCENTS: dict[str, list[Descent]] = {
    "adam": [
        Descent(1e-2),
        Descent(3e-2, weight_decay=0.1),
        Descent(3e-2, weight_decay=0.1),
        Descent(1e-2, clip=0.5, options=summary({"betas": [0.5, 0.9], "eps": 1e-3})),
        Descent(Schedule(((0.0, 1e-2), (1.0, 1e-1))), weight_decay=Schedule(((0.0, 0.0), (0.5, 0.2)), "step")),
    ],
    "adamw": [
        Descent(1e-2, weight_decay=0.3),
        Descent(3e-2),
        Descent(3e-2, weight_decay=0.1, options=summary({"betas": [0.8, 0.95]})),
        Descent(2e-2, weight_decay=Schedule(((0.0, 0.0), (1.0, 0.5)))),
    ],
    "sgd": [
        Descent(1e-2),
        Descent(2e-2, options=summary({"momentum": 0.9})),
        Descent(2e-2, clip=1.0, options=summary({"momentum": 0.9, "nesterov": True})),
        Descent(Schedule(((0.25, 1e-2), (0.75, 1e-3)), "step"), weight_decay=0.1),
    ],
    "rmsprop": [
        Descent(1e-2),
        Descent(1e-3, options=summary({"alpha": 0.9, "momentum": 0.5})),
        Descent(2e-3, weight_decay=0.1, clip=Schedule(((0.0, 10.0), (1.0, 0.1)))),
    ],
    "adagrad": [Descent(1e-1), Descent(3e-1, options=summary({"lr_decay": 0.1})), Descent(1e-1, weight_decay=0.1)],
}


def at(number: Any, fraction: float) -> float:
    """A schedule's value by numpy."""
    if not isinstance(number, Schedule):
        return number
    fractions, values = zip(*number.points, strict=True)
    if number.kind == "linear":
        return float(np.interp(fraction, fractions, values))
    return values[max(0, int(np.searchsorted(fractions, fraction, side="right")) - 1)]


def gradients(runs: int, step: int) -> list[Tensor]:
    """Of a 3 × 5 matrix and a vector, `[runs, ...]`; the matrix laid out transposed, as autograd may give it."""
    random = torch.Generator().manual_seed(step)
    matrix = torch.randn(runs, 5, 3, generator=random, dtype=torch.float64).transpose(1, 2)
    assert not matrix.is_contiguous()
    return [matrix, torch.randn(runs, 3, generator=random, dtype=torch.float64)]


def by_torch(name: str, starts: list[Tensor], descent: Descent, run: int, runs: int, steps: int) -> list[Tensor]:
    """One run by torch's optimiser in its plainest form: one tensor after another."""
    parameters = [start[run].clone().contiguous().requires_grad_() for start in starts]
    plain: dict[str, Any] = {"lr": at(descent.lr, 0), "weight_decay": at(descent.weight_decay, 0), "foreach": False}
    if name in {"adam", "adamw", "sgd", "adagrad"}:
        plain["fused"] = False
    optimizer: Any = OPTIMIZERS[name](parameters, **plain, **dict(descent.options))
    for step in range(steps):
        for parameter, gradient in zip(parameters, gradients(runs, step), strict=True):
            parameter.grad = gradient[run].clone(memory_format=torch.contiguous_format)
        if descent.clip is not None:
            nn.utils.clip_grad_norm_(parameters, at(descent.clip, step / steps), foreach=False)
        group = optimizer.param_groups[0]
        group["lr"], group["weight_decay"] = at(descent.lr, step / steps), at(descent.weight_decay, step / steps)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "alone"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_run_goes_as_torch_would_take_it(name: str, packed: bool) -> None:
    steps, descents = 25, DESCENTS[name]
    runs = len(descents)
    starts = gradients(runs, 1000)
    together = [start.clone(memory_format=torch.contiguous_format).requires_grad_() for start in starts]
    optimizer = StackedOptimizer(name, together, descents)
    single = [[t[r].detach().clone().requires_grad_() for t in together] for r in range(runs)]
    alone = [StackedOptimizer(name, own, [d], stacked=False) for own, d in zip(single, descents, strict=True)]
    for step in range(steps):
        if packed:
            optimizer.fill([step / steps])
            optimizer.step(gradients(runs, step), 0)
        else:
            for r in range(runs):
                alone[r].fill([step / steps])
                alone[r].step([g[r] for g in gradients(runs, step)], 0)
    for r, descent in enumerate(descents):
        ours = [t[r].detach() for t in together] if packed else [t.detach() for t in single[r]]
        for a, b, start in zip(ours, by_torch(name, starts, descent, r, runs, steps), starts, strict=True):
            assert (a - b).abs().max() < 1e-12
            assert (a - start[r]).abs().max() > 1e-3, "it moved"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_runs_of_one_descent_share_a_group(name: str) -> None:
    """And a transposed gradient is not applied as it lies in memory there either."""
    starts = gradients(3, 1000)
    together = [start.clone(memory_format=torch.contiguous_format).requires_grad_() for start in starts]
    optimizer = StackedOptimizer(name, together, [Descent(1e-2)] * 3)
    assert len(optimizer.torch.param_groups) == 1
    for step in range(5):
        optimizer.step(gradients(3, step), 0)
    for r in range(3):
        for a, b in zip(together, by_torch(name, starts, Descent(1e-2), r, 3, 5), strict=True):
            assert (a[r].detach() - b).abs().max() < 1e-12


@pytest.mark.parametrize("filled", [True, False], ids=["chunk by chunk", "one chunk"])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"maximize": True, "betas": [0.5, 0.9], "eps": 1e-3}])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_kernel_alone_leaves_torchs_bits(name: str, options: dict[str, Any], filled: bool) -> None:
    """What a CPU calls from the second step on, beside torch's own fused steps, in float32."""
    descents = [Descent(lr, weight_decay=0.01, options=summary(options)) for lr in (1e-2, 1e-2, 3e-2)]
    starts = [start.float().contiguous() for start in gradients(3, 1000)]
    ours, torchs = ([start.clone().requires_grad_() for start in starts] for _ in range(2))
    stacked, plain = StackedOptimizer(name, ours, descents), StackedOptimizer(name, torchs, descents)
    assert stacked.direct
    plain.direct = False
    for step in range(6):
        for optimizer in (stacked, plain):
            if filled or not step:
                optimizer.fill([0.0])
            optimizer.step([gradient.float() for gradient in gradients(3, step)], 0)
        assert bool(stacked.kernels) == (step > 0)
        assert not plain.kernels
    assert all(map(torch.equal, ours, torchs))
    kept, expected = remembered(stacked.torch), remembered(plain.torch)
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[key], expected[key]) for key in kept), "counts of steps among it"


def test_neighbours_of_equal_descent_share_a_group() -> None:
    parameters = [torch.zeros(5, 2).requires_grad_()]
    descents = [Descent(1e-2), Descent(1e-2), Descent(1e-3), Descent(1e-2), Descent(1e-2, clip=1.0)]
    optimizer = StackedOptimizer("adam", parameters, descents)
    assert optimizer.counts == [2, 1, 1, 1]


def test_clipping_is_each_runs_own() -> None:
    """Against torch's; a gradient of norm 0 stays 0, one below the limit stays itself, and None is no limit."""
    limits = [0.5, 100.0, None, 0.5]
    descents = [Descent(1.0, clip=limit) for limit in limits]
    big = [g * torch.tensor([1e3, 1.0, 1e6, 0.0]).view(-1, *[1] * (g.ndim - 1)) for g in gradients(4, 0)]
    zeros = [torch.zeros_like(g) for g in gradients(4, 0)]
    together = [zero.clone(memory_format=torch.contiguous_format).requires_grad_() for zero in zeros]
    optimizer = StackedOptimizer("sgd", together, descents)
    optimizer.fill([0.0])
    optimizer.step(big, 0)
    for r, limit in enumerate(limits):
        own = [zero[r].clone().requires_grad_() for zero in zeros]
        for parameter, gradient in zip(own, big, strict=True):
            parameter.grad = gradient[r].clone()
        norm = nn.utils.clip_grad_norm_(own, math.inf if limit is None else limit)
        assert (norm > (limit or math.inf)) == (r == 0)
        for parameter, moved in zip(own, together, strict=True):
            assert moved[r].detach().numpy() == pytest.approx(-parameter.grad.numpy(), rel=1e-9, abs=1e-12)


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(InputError, match="unknown optimizer 'adan': did you mean adam"):
        StackedOptimizer("adan", [torch.zeros(1)], [Descent()])


# ---- schedules


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("linear", [1.0, 1.0, 2.0, 3.0, 1.5, 0.0, 0.0]), ("step", [1.0, 1.0, 1.0, 3.0, 3.0, 0.0, 0.0])],
)
def test_a_schedule_at_each_fraction(kind: Any, expected: list[float]) -> None:
    schedule = Schedule(((0.2, 1.0), (0.4, 3.0), (0.8, 0.0)), kind)
    fractions = (0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    assert [schedule.at(f) for f in fractions] == pytest.approx(expected)
    assert [at(schedule, f) for f in fractions] == pytest.approx(expected), "the oracle of these tests"


@PACKS
@pytest.mark.parametrize("kind", ["linear", "step"])
def test_a_hyperparameter_follows_its_schedule_at_each_step(kind: Any, seeds: list[int]) -> None:
    def told(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        assert hp.a.ndim == hp.b.ndim == 0
        return {"loss": net.w.sum() * hp.a, "a": hp.a, "b": hp.b}

    schedules = [Schedule(((0.0, 0.0), (0.25, 4.0), (1.0, float(r))), kind) for r in range(len(seeds))]
    settings = [Setting(s, {"a": schedule, "b": 0.5 + s}) for s, schedule in zip(seeds, schedules, strict=True)]
    curves = run(toy(told), settings, constant(1.0), steps=80).curves
    for r, schedule in enumerate(schedules):
        values = [at(schedule, step / 80) for step in range(80)]
        means = [np.mean(values[:32]), np.mean(values[32:64]), np.mean(values[64:])]
        assert curves["a"][:, r] == pytest.approx(means, rel=1e-12)
        assert curves["b"][:, r] == pytest.approx(0.5 + seeds[r])


@PACKS
def test_a_learning_rate_follows_its_schedule_at_each_step(seeds: list[int]) -> None:
    """With a gradient of 1 the parameter is minus the sum of the learning rates."""

    def slope(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        return {"loss": net.w.sum()}

    rates = [Schedule(((0.0, 1.0), (0.5, 2.0 + r), (1.0, 0.0)), "linear") for r in range(len(seeds))]
    settings = [Setting(seed, descent=Descent(rate)) for seed, rate in zip(seeds, rates, strict=True)]
    state = run(toy(slope), settings, constant(1.0)).runs.state["w"]
    for r, rate in enumerate(rates):
        assert state[r].item() == pytest.approx(-sum(at(rate, step / 40) for step in range(40)), rel=1e-12)


# ---- which state is kept


def validated(seeds: list[int], rates: list[float], keep: Any, steps: int) -> tuple[Trained, Examples]:
    settings = [Setting(seed, descent=Descent(rate)) for seed, rate in zip(seeds, rates, strict=True)]
    target = constant(3.0)
    return run(toy(pulled), settings, constant(10.0), target, steps=steps, keep=keep), target


@pytest.mark.parametrize("rates", [[0.004], [0.004, 0.0012, 0.1, 0.0005]], ids=["alone", "packed"])
def test_the_best_state_is_kept_run_by_run(rates: list[float]) -> None:
    """Each w runs from 0 to 10 past the validation part's 3: w(t) = 10 (1 − (1 − lr)ᵗ)."""
    steps, seeds = 320, list(range(len(rates)))
    best, target = validated(seeds, rates, "best_validation", steps)
    last, _ = validated(seeds, rates, "last", steps)
    for r, rate in enumerate(rates):
        path = [10 * (1 - (1 - rate) ** t) for t in range(0, steps + 1, 32)]
        nearest = min(path[1:], key=lambda w: abs(w - 3))
        assert best.runs.state["w"][r].item() == pytest.approx(nearest, rel=1e-9)
        assert last.runs.state["w"][r].item() == pytest.approx(path[-1], rel=1e-9)
        distances = [abs(t.runs.state["w"][r].item() - target.x[0, 0].item()) for t in (best, last)]
        assert distances[0] < distances[1] or nearest == path[-1]
    assert best.curves["loss"] == pytest.approx(last.curves["loss"])


@PACKS
def test_getting_better_again_is_not_yet_being_best(seeds: list[int]) -> None:
    """w rises through 3, where validation has its optimum, turns at half-time, and comes halfway back."""

    def aimed(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        return {"loss": 0.5 * (net.w - hp.a * x).square().sum(1)}

    aim = Schedule(((0.0, 10.0), (0.5, 3.6)), "step")
    settings = [Setting(seed, {"a": aim}, Descent(0.004)) for seed in seeds]
    result = run(toy(aimed), settings, constant(1.0), constant(3 / 3.6), steps=320, keep="best_validation")
    w, path = 0.0, []
    for step in range(320):
        w -= 0.004 * (w - at(aim, step / 320))
        path += [w] if step % 32 == 31 else []
    distances = [abs(w - 3) for w in path]
    assert distances[-1] < distances[-2], "it was getting better"
    assert distances.index(min(distances)) == 2, "and was best long before"
    assert result.runs.state["w"].flatten().tolist() == pytest.approx([path[2]] * len(seeds), rel=1e-6)


def test_a_run_that_diverges_keeps_its_best_state_and_says_so() -> None:
    """Its w oscillates away from 10: |w − 10| = 10 · 3ᵗ, so that no later state is better than the first point's."""
    settings = [Setting(0, descent=Descent(4.0)), Setting(1, descent=Descent(0.1))]
    result = run(toy(pulled), settings, constant(10.0), constant(9.0), steps=800, keep="best_validation")
    assert result.runs.state["w"][0].item() == pytest.approx(10 - 10 * 3.0**32)
    assert result.runs.state["w"][1].item() == pytest.approx(10 * (1 - 0.9**32))
    steps = result.curves["step"]
    assert result.diverged == [steps[np.flatnonzero(~np.isfinite(result.curves["loss"][:, 0]))[0]], None]


def test_parameters_that_are_no_numbers_are_divergence() -> None:
    """Also where the last step alone broke them, after the last loss was computed."""

    def root(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        return {"loss": (net.w * hp.a).sqrt().sum()}

    result = run(toy(root, lambda: Number(0.0)), [Setting(0, {"a": 1.0}), Setting(0, {"a": 0.0})], constant(1), steps=1)
    assert np.isfinite(result.curves["loss"]).all()
    assert result.diverged == [1, 1]
    well = run(toy(root, lambda: Number(1.0)), [Setting(0, {"a": 1.0})], constant(1), steps=1)
    assert well.diverged == [None]


def test_the_best_state_needs_a_validation_part() -> None:
    with pytest.raises(ValueError, match="needs the validation part"):
        run(toy(pulled), [Setting()], constant(1.0), keep="best_validation")


# ---- players


class Two(nn.Module):
    """Two players; the name of the one begins that of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.ab = Number(1.0), Number(-1.0)


def first(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
    return {"loss": (net.a.w * net.ab.w - x.mean()).square().sum(), "seen": net.ab.w.sum()}


def second(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
    return {"loss": (net.ab.w - net.a.w).square().sum(), "seen": net.a.w.sum()}


@PACKS
def test_players_take_turns_and_train_their_own_part_alone(seeds: list[int]) -> None:
    """Worked by hand: the second sees what the first has just become, and moves nothing of it."""
    rates = [0.01 * (1 + r) for r in range(len(seeds))]
    settings = [Setting(seed, descent=Descent(rate)) for seed, rate in zip(seeds, rates, strict=True)]
    two = toy(first, Two, losses={"a": first, "ab": second})
    result = run(two, settings, constant(2.0), steps=20)
    assert set(result.curves) == {"step", "a/loss", "a/seen", "ab/loss", "ab/seen"}
    for r, rate in enumerate(rates):
        a, b, seen = 1.0, -1.0, []
        for _ in range(20):
            a -= rate * 2 * (a * b - 2.0) * b
            seen.append(a)
            b -= rate * 2 * (b - a)
        assert result.runs.state["a.w"][r].item() == pytest.approx(a, rel=1e-12)
        assert result.runs.state["ab.w"][r].item() == pytest.approx(b, rel=1e-12)
        assert result.curves["ab/seen"][0, r] == pytest.approx(np.mean(seen), rel=1e-12)


def test_the_first_player_speaks_for_the_run() -> None:
    heard: list[tuple[int, list[float]]] = []
    two = toy(first, Two, losses={"a": first, "ab": second})
    settings = [Setting(0, descent=Descent(0.01)), Setting(1, descent=Descent(0.02))]
    budget = Budget(70, 4, "sgd", "fp64")
    result = train(
        two, Linear(), Sizes(), settings, budget, constant(2.0), on_point=lambda s, t: heard.append((s, t.tolist()))
    )
    assert [step for step, _ in heard] == [32, 64, 70] == result.curves["step"].tolist()
    assert [loss for _, loss in heard] == result.curves["a/loss"].tolist()


# ---- buffers


class Averaging(nn.Module):
    """A parameter, its moving average, and the number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))


def averaged(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
    return {"mean": hp.a * net.mean + (1 - hp.a) * (net.w + x.mean()), "steps": net.steps + 1}


def test_buffers_carry_no_gradient() -> None:
    modes: list[bool] = []

    def noted(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        modes.append(torch.is_grad_enabled())
        return {"mean": net.w.clone()}

    run(toy(pulled, Averaging, after=noted), [Setting()], constant(1.0), steps=3)
    assert modes[-3:] == [False] * 3


@PACKS
def test_buffers_are_updated_after_each_step(seeds: list[int]) -> None:
    """From the parameters of after the step, with the run's own numbers; packed as alone."""
    examples = Examples(torch.arange(10.0)[:, None])
    rates, decays = [0.1, 0.2, 0.3][: len(seeds)], [0.9, 0.5, 0.7][: len(seeds)]
    rows = zip(seeds, decays, rates, strict=True)
    settings = [Setting(seed, {"a": decay}, Descent(rate)) for seed, decay, rate in rows]
    result = run(toy(pulled, Averaging, after=averaged), settings, examples)
    for r, seed in enumerate(seeds):
        epochs = [torch.randperm(10, generator=source(f"{seed}/order//{epoch}")) for epoch in range(16)]
        w, mean = 0.0, 0.0
        for batch in torch.cat(epochs).double().view(40, 4).mean(1).tolist():
            w -= rates[r] * (w - batch)
            mean = decays[r] * mean + (1 - decays[r]) * (w + batch)
        assert result.runs.state["w"][r].item() == pytest.approx(w, rel=1e-12)
        assert result.runs.state["mean"][r].item() == pytest.approx(mean, rel=1e-12)
        assert result.runs.state["steps"][r].tolist() == [40]


class Scalar(nn.Module):
    """A parameter and a buffer without axes, as a learnt variance or a counter has them."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("steps", torch.tensor(0.0))


@PACKS
def test_parameters_and_buffers_may_be_scalars(seeds: list[int]) -> None:
    after = lambda net, x, noise, hp: {"steps": net.steps + 1}  # noqa: E731
    result = run(toy(pulled, Scalar, after=after), [Setting(s, descent=Descent(0.1)) for s in seeds], constant(1.0))
    assert result.runs.state["w"].tolist() == pytest.approx([1 - 0.5 * 0.9**40] * len(seeds))
    assert result.runs.state["steps"].tolist() == [40.0] * len(seeds)


class Tied(nn.Module):
    """Two layers of one weight, and a buffer that checkpoints leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(2, 2)
        self.decoder.weight = self.encoder.weight
        self.register_buffer("shift", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)) + self.shift


@PACKS
def test_weights_may_be_tied_and_buffers_not_persistent(seeds: list[int]) -> None:
    tied = toy(lambda net, x, noise, hp: {"loss": (net(x) - x).square().sum(1)}, Tied)
    examples = Examples(torch.rand(20, 2, generator=source("x")))
    result = run(tied, [Setting(s, descent=Descent(0.01)) for s in seeds], examples)
    for r in range(len(seeds)):
        net = result.runs.model(r).net
        assert net.decoder.weight is net.encoder.weight
        assert torch.equal(net.encoder.weight, result.runs.state["encoder.weight"][r])


# ---- the examples


def looked(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
    """What x is, through the terms: nothing is learnt."""
    terms = {f"x{i}": x[:, i] for i in range(x.shape[1])}
    return {"loss": 0 * net.w.sum(), **terms, "grey": (x * (1 - x)).abs().sum(1)}


@PACKS
def test_bytes_are_fractions_of_255(seeds: list[int]) -> None:
    values = torch.tensor([[0, 51, 102, 255]], dtype=torch.uint8).expand(6, 4)
    curves = run(toy(looked), [Setting(seed) for seed in seeds], Examples(values)).curves
    for i, expected in enumerate((0.0, 0.2, 0.4, 1.0)):
        assert curves[f"x{i}"] == pytest.approx(np.full((2, len(seeds)), expected), rel=1e-12)


@PACKS
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_binarisation_is_a_fresh_draw_at_each_step(seeds: list[int], dtype: torch.dtype) -> None:
    """x = (u < grey), u from the seed's own stream; a variant's noise of that moment is another."""
    grey = torch.tensor([[0, 51, 204, 255]], dtype=torch.uint8).expand(6, 4)
    examples = Examples(grey if dtype == torch.uint8 else grey / 255, binarize=True)

    def given(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        assert set(noise) == {"u"}
        return looked(net, x, noise, hp) | {"u": noise["u"]}

    variant = toy(given, noise=lambda batch, event, sizes: {"u": Uniform((batch,))})
    curves = run(variant, [Setting(seed) for seed in seeds], examples, steps=64, precision="fp32").curves
    for r, seed in enumerate(seeds):
        for chunk in range(2):
            u = torch.rand((32, 4, 4), generator=source(f"{seed}/noise/data/binarize/{chunk}"))
            drawn = (u < torch.tensor([0, 0.2, 0.8, 1])).float()
            assert (drawn != drawn[0]).any(), "fresh at each step"
            for i, mean in enumerate(drawn.mean((0, 1)).tolist()):
                assert curves[f"x{i}"][chunk, r] == pytest.approx(mean, abs=1e-6)
        assert curves["u"][0, r] == pytest.approx(torch.rand((32, 4), generator=source(f"{seed}/noise/u/0")).mean())
    assert not curves["grey"].any(), "x is 0 or 1"


# ---- curves


@pytest.mark.parametrize(
    ("steps", "stride"), [(1, 1), (32, 1), (33, 1), (70, 1), (100 * 32, 1), (100 * 32 + 1, 2), (6433, 3)]
)
def test_a_curve_has_a_hundred_points_at_most(steps: int, stride: int) -> None:
    """Each the mean over equally many chunks of steps, the last over what is left."""
    ramp = Schedule(((0.0, 0.0), (1.0, float(steps))))

    def told(net: Any, x: Tensor, noise: Any, hp: Hyper) -> dict[str, Tensor]:
        return {"loss": 0 * net.w.sum(), "a": hp.a}

    curves = run(toy(told), [Setting(0, {"a": ramp})], constant(1.0), steps=steps).curves
    ends = [*range(32 * stride, steps, 32 * stride), steps]
    assert curves["step"].tolist() == ends
    assert len(ends) <= POINTS
    for name in ("loss", "a"):
        assert curves[name].shape == (len(ends), 1)
    starts = [0, *ends[:-1]]
    assert curves["a"][:, 0] == pytest.approx([(s + e - 1) / 2 for s, e in zip(starts, ends, strict=True)])


def test_what_is_returned_names_its_runs() -> None:
    settings = [Setting(3), Setting(1), Setting(3)]
    result = train(LINEAR_AE, Linear(), AE.sizes(latent=2), settings, Budget(3, 4), Examples(torch.rand(9, 3)))
    assert isinstance(result.runs, Runs)
    assert (result.runs.seeds, result.runs.latent, result.runs.variant) == ([3, 1, 3], 2, LINEAR_AE)
    assert result.runs.dtype == torch.float32
    assert all(len(value) == 3 and not value.requires_grad for value in result.runs.state.values())
    assert set(result.seconds) == {"compile", "train"}
    assert torch.equal(result.runs.state["encoder.1.weight"][0], result.runs.state["encoder.1.weight"][2])


# ---- the oracle: the same training in plain PyTorch, written apart


def by_hand(x: Tensor, seed: int, steps: int, batch: int, latent: int) -> tuple[list[Tensor], dict[str, list[float]]]:
    """A VAE on points by a loop of plain PyTorch: β from 0 to 2, a learning rate that drops, a clipped gradient."""
    torch.manual_seed(int(hashlib.sha256(f"{seed}/init//0".encode()).hexdigest()[:14], 16))
    encoder = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, 7), nn.Tanh(), nn.Linear(7, 3))
    parameters = [*encoder.double().parameters(), *decoder.double().parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-2, betas=(0.8, 0.99), foreach=False, fused=False)
    rows: list[int] = []
    epoch, history = 0, {"loss": [], "reconstruction": [], "kl": []}
    for step in range(steps):
        while len(rows) < (step + 1) * batch:
            rows += torch.randperm(len(x), generator=source(f"{seed}/order//{epoch}")).tolist()
            epoch += 1
        if step % 32 == 0:
            chunk = torch.randn(32, batch, latent, generator=source(f"{seed}/noise/z/{step // 32}"))
        points, xi = x[rows[step * batch : (step + 1) * batch]].double(), chunk[step % 32].double()
        beta = 2.0 * min(step / steps / 0.5, 1.0)
        adam.param_groups[0]["lr"] = 1e-2 if step / steps < 0.75 else 1e-3
        out = encoder(points)
        mean, spread = out[:, :latent], torch.sqrt(torch.exp(out[:, latent:]))
        posterior = torch.distributions.Normal(mean, spread)
        prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
        error = ((decoder(mean + spread * xi) - points) ** 2).sum(1).mean()
        kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
        loss = error + beta * kl
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.7)
        adam.step()
        for name, value in (("loss", loss), ("reconstruction", error), ("kl", kl)):
            history[name].append(value.item())
    return [parameter.detach() for parameter in parameters], history


@pytest.mark.parametrize("seeds", [[4], [4, 9]], ids=["alone", "packed"])
def test_a_loop_in_plain_pytorch_gives_the_same(seeds: list[int]) -> None:
    steps, batch, latent = 150, 16, 2
    x = torch.randn(50, 3, generator=source("x")) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 0.1]])
    rate = Schedule(((0.0, 1e-2), (0.75, 1e-3)), "step")
    beta = Schedule(((0.0, 0.0), (0.5, 2.0)))
    descent = Descent(rate, clip=0.7, options=summary({"betas": [0.8, 0.99]}))
    settings = [Setting(seed, {"beta": beta}, descent) for seed in seeds]
    budget = Budget(steps, batch, precision="fp64")
    network = MLP(hidden=(7,), activation="tanh")
    result = train(VAE, network, VAE.sizes(latent=latent), settings, budget, Examples(x))
    for r, seed in enumerate(seeds):
        parameters, history = by_hand(x, seed, steps, batch, latent)
        assert len(parameters) == len(result.runs.state)
        for ours, theirs in zip(result.runs.state.values(), parameters, strict=True):
            assert (ours[r] - theirs).abs().max() < 1e-12
        for name, values in history.items():
            means = [np.mean(values[start : start + 32]) for start in range(0, steps, 32)]
            assert result.curves[name][:, r] == pytest.approx(means, rel=1e-12)
