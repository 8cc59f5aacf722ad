"""A step as it trains writes over what nobody reads later, and has the bits of the step that was recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from aebench import graph, packing, recorded
from aebench.feed import Examples, Feed
from aebench.networks import MLP, Conv, Linear
from aebench.plugins import resolve
from aebench.train import Hyper, Setting
from aebench.variants import VARIANTS


def written_over(fn: Callable[..., Any], *args: Any) -> int:
    """How many results are written over others; all bits must be the same, and the arguments untouched."""
    step = make_fx(fn, tracing_mode="fake")(*args)
    before, given = step(*args), [a.clone() for a in args]
    recorded.write_over(step.graph)
    step.recompile()
    for _ in range(2):
        after = graph.direct(step)(*args)
        assert all(map(torch.equal, tree_leaves(before), tree_leaves(after)))
        assert all(map(torch.equal, args, given))
    return sum(node.meta.get("over", False) for node in step.graph.nodes)


X, Y = torch.randn(6, 6), torch.randn(6, 6)


@pytest.mark.parametrize(
    ("fn", "over"),
    [
        (lambda x, y: ((x @ y).relu() * 2.0).exp(), 3),
        (lambda x, y: (x - y).relu(), 1),  # the first reads what is given
        (lambda x, y: y + (x @ y), 1),  # the second argument is let go
        (lambda x, y: y - (x @ y), 0),
        (lambda x, y: torch.add(y, x @ y, alpha=2.0), 0),
        (lambda x, y: torch.add(x @ y, y, alpha=2.0), 1),
        (lambda x, y: ((p := x @ y).relu(), p.sum()), 0),  # read later
        (lambda x, y: ((p := x @ y).sum(), p.relu()), 1),
        (lambda x, y: ((p := x @ y).relu(), p.t()[0]), 0),  # a view of it is given back
        (lambda x, y: ((p := x @ y), p.relu()), 0),  # it is given back itself
        (lambda x, y: (p := x @ y) * p, 0),
        (lambda x, y: (p := x @ y) * p.t(), 0),  # it would be read where it has been written
        (lambda x, y: (x @ y).t().exp(), 0),  # of a view
        (lambda x, y: (x @ y)[:1] * x, 0),
        (lambda x, y: (x @ y).sum(0) * x, 0),  # grows
        (lambda x, y: (x @ y).double() * y.double(), 1),
        (lambda x, y: (x @ y) * y.double(), 1),  # over the longer numbers alone
        (lambda x, y: (x.relu() + y.relu(), x.exp()), 1),
        # views that torch does not say are such
        (lambda x, y: ((p := x @ y).exp(), torch.unsafe_chunk(p, 2, 0)[1] * 2.0), 0),
        (lambda x, y: ((c := torch.unsafe_split(p := x @ y, 3, 0))[0] * 2.0, p.exp(), c[1] * 3.0), 0),
        (lambda x, y: (torch.unsafe_split_with_sizes(p := x @ y, [2, 4]), p.exp()), 0),
        (lambda x, y: (torch.ops.aten.lift(p := x @ y), p.exp()), 0),
    ],
)
def test_results_are_written_over_what_nobody_reads_later(fn: Callable[..., Any], over: int) -> None:
    assert written_over(fn, X, Y) == over


def test_layouts_that_differ_from_those_recorded_leave_the_bits() -> None:
    """What a convolution gives lies with its channels last, once it is rewritten, and a sum as what comes first."""

    def step(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = y + torch.nn.functional.conv2d(x, w, padding=1, groups=4) * 1.5
        return z, z.sum(), z.sum((0, 1))

    args = torch.randn(8, 32, 15, 15), torch.randn(64, 8, 3, 3), torch.randn(8, 64, 15, 15)
    plain, over = make_fx(step, tracing_mode="fake")(*args), make_fx(step, tracing_mode="fake")(*args)
    graph.channels_last(plain.graph)
    graph.rewrite(over.graph, "cpu")
    found, expected = graph.direct(over)(*args), graph.direct(plain)(*args)
    assert all(map(torch.equal, found, expected))
    assert [a.stride() for a in found] == [b.stride() for b in expected]


def test_gradients_are_written_over_too() -> None:
    def descent(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        w = w.detach().requires_grad_()
        return torch.autograd.grad(((x @ w).relu() @ w).relu().square().sum(), w)[0]

    assert written_over(descent, X, Y) >= 4


def test_nothing_is_written_over_where_a_function_is_not_known() -> None:
    step = make_fx(lambda x, y: (x @ y).relu(), tracing_mode="fake")(X, Y)
    last = next(node for node in step.graph.nodes if node.op == "output")
    with step.graph.inserting_before(last):
        unknown = step.graph.call_function(torch.clone, (last.args[0],))
        unknown.meta["val"] = last.args[0].meta["val"]
    last.args = (unknown,)
    recorded.write_over(step.graph)
    assert not any(node.meta.get("over") for node in step.graph.nodes)


def test_what_writes_over_gives_the_bits_of_what_does_not() -> None:
    aten: Any = torch.ops.aten
    x, y = torch.rand(5, 7) + 0.5, torch.rand(5, 7) + 0.5
    others = {aten.mul.Scalar: (x, 2.0), aten.div.Scalar: (x, 3.0), aten.pow.Tensor_Scalar: (x, 2),
              aten.threshold_backward.default: (x, y - 1, 0.0)}  # fmt: skip
    for operation, function in recorded.OVER.items():
        arity = sum(not argument.kwarg_only for argument in operation._schema.arguments)
        first, *rest = others.get(operation, (x, y)[:arity])
        expected, written = operation(first, *rest), first.clone()
        assert function(written, *rest) is written, operation
        assert torch.equal(written, expected), operation


FITTING = [
    (name, kind)
    for name in VARIANTS
    for kind in ("linear", "mlp", "conv")
    if (variant := resolve(VARIANTS, "variants", name)).fit is None and kind in (variant.networks or (kind,))
]


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_the_step_of_every_variant_is_the_one_that_was_recorded(name: str, kind: str) -> None:
    """Called as it trains it has the same bits, on inputs of which none is written over."""
    variant = resolve(VARIANTS, "variants", name)
    network = {"linear": Linear(), "mlp": MLP((12, 8)), "conv": Conv((4, 8))}[kind]
    shape = (1, 8, 8)
    sizes = variant.sizes(**{"latent": 4} | ({"k": 2} if "k" in variant.sizes._fields else {}))
    settings = [Setting(s) for s in range(3)]
    nets = [packing.build(variant, shape, network, sizes, s.seed) for s in settings]
    pack = packing.Pack(variant, nets, [s.descent for s in settings], "adam")
    x = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    feed = Feed(Examples(x), 16, variant.noise(16, shape, sizes), range(3), torch.float32)
    feed.fill(0)
    batch, hp = feed.step(0), Hyper(variant, settings, True, torch.device("cpu"), torch.float32).at(0.0)
    pack.prepare(batch, hp)
    args = (pack.leaves, batch.x, batch.noise, hp)
    given = [leaf.clone() for leaf in tree_leaves(args)]
    with torch.no_grad():
        for part, step in pack.traced.items():
            expected, found = step(*args), pack.calls[part](*args)
            assert all(map(torch.equal, tree_leaves(expected), tree_leaves(found)))
            assert all(map(torch.equal, tree_leaves(args), given))
            assert any(node.meta.get("over") for node in step.graph.nodes) or not pack.players[part][0]
