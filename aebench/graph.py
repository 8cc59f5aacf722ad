"""The recorded step, rewritten: what does nothing left out, and products in the layout and precision wanted.

A step is recorded as a flat graph of tensor operations (`packing.trace`), and each function here rewrites such a graph.
`orient` and `add_biases` may change how a product rounds, `round_products` is a precision; all else leaves every bit.
"""

from __future__ import annotations

import linecache
import operator
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Node, graph_module

from aebench.recorded import OVER, alike, calls, is_view, value, write_over

aten: Any = torch.ops.aten

VIEWS = (aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.alias.default, aten.detach.default)
"""Operations that may give back what they were given."""
TRANSPOSES = (aten.transpose.int, aten.t.default)
PRODUCTS = (aten.mm.default, aten.bmm.default)
ROUNDED = (*PRODUCTS, aten.addmm.default, aten.baddbmm.default, aten.convolution.default)
"""Operations whose tensors a low precision rounds."""

LARGE = 2**20
"""Multiply-adds from which on a product is large: oneDNN asks for 5 to 10 µs more than a BLAS before it begins."""
DIRECT = {
    operation: getattr(torch, operation.overloadpacket.__name__)
    for operation in (
        aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar,
        aten.neg.default, aten.exp.default, aten.log.default, aten.relu.default, aten.sigmoid.default,
        aten.tanh.default, aten.pow.Tensor_Scalar, aten.sum.dim_IntList, aten.mean.dim, aten.cat.default,
        aten.transpose.int, aten.t.default, aten.unsqueeze.default, aten.reshape.default, aten.select.int,
        aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default,
    )
}  # fmt: skip
"""Operations of which torch has a function that takes the same arguments."""
LAST: dict[str, Any] = {"memory_format": torch.channels_last}


@contextmanager
def recordings_forgotten() -> Generator[None]:
    """Graphs that are recorded meanwhile leave nothing behind, as a process may record thousands.

    torch keeps the source of each for ever, for tracebacks, and of each operation what it gave for these shapes; that
    grew by 3 to 5 MB in 100 packs of different shapes.
    """
    sources: dict[str, str] = getattr(getattr(graph_module, "_loader", None), "eval_cache", {})
    before = set(sources)
    try:
        yield
    finally:
        for name in [name for name in sources if name not in before]:
            del sources[name]
            linecache.cache.pop(name, None)
        FakeTensorMode.cache_clear()


def rewrite(graph: Graph, device: str, products: torch.dtype | None = None) -> None:
    """All of it, for a kind of device; `products` as in `packing.trace`."""
    simplify(graph)
    orient(graph)
    if device == "cpu":
        add_biases(graph)
        pieces_whole(graph)
    if products is not None:
        round_products(graph, products)
    if device == "cpu":
        channels_last(graph)
        write_over(graph)


def simplify(graph: Graph) -> None:
    """Leave out views that change nothing, products with 1, first powers, and transposes of transposes."""
    for node in calls(graph):
        first = node.args[0] if node.args else None
        if not isinstance(first, Node):
            continue
        target, rest = node.target, node.args[1:]
        idle = (
            target in VIEWS
            or (target in (aten.mul.Scalar, aten.div.Scalar) and rest[0] == 1)
            or (target is aten.pow.Tensor_Scalar and rest[0] == 1)
        )
        if idle and alike(node, first):
            node.replace_all_uses_with(first)
        elif target in TRANSPOSES and first.target is target and first.args[1:] == rest:
            node.replace_all_uses_with(first.args[0])  # type: ignore[arg-type]
    graph.eliminate_dead_code()


def orient(graph: Graph) -> None:
    """(AᵀB)ᵀ becomes BᵀA: a weight's gradient is computed in the layout that the optimiser takes, not copied to it."""
    for node in calls(graph):
        product = node.args[0] if node.target in TRANSPOSES else None
        if not isinstance(product, Node) or product.target not in PRODUCTS or len(product.users) > 1:
            continue
        if node.target is aten.transpose.int and sorted(d % value(node).ndim for d in node.args[1:]) != [1, 2]:  # type: ignore[operator]
            continue
        with graph.inserting_before(node):
            turned = [_transposed(graph, factor) for factor in reversed(product.args)]
            whole = graph.call_function(product.target, tuple(turned))  # type: ignore[arg-type]
            whole.meta["val"] = value(node).contiguous()
        node.replace_all_uses_with(whole)
    graph.eliminate_dead_code()


def _transposed(graph: Graph, factor: Any) -> Node:
    """The last two axes exchanged."""
    if factor.target in TRANSPOSES and value(factor.args[0]).ndim == value(factor).ndim:
        dims = [d % value(factor).ndim for d in factor.args[1:]]
        if not dims or sorted(dims) == [value(factor).ndim - 2, value(factor).ndim - 1]:
            return factor.args[0]
    last = value(factor).ndim
    turned = graph.call_function(aten.transpose.int, (factor, last - 2, last - 1))
    turned.meta["val"] = value(factor).transpose(-2, -1)
    return turned


def channels_last(graph: Graph) -> None:
    """Convolutions of many groups, as those of a pack are, take their channels side by side in memory.

    On a CPU this is faster (measured by tests/benchmarks/convolution.py); what follows keeps the layout.
    """
    for node in calls(graph):
        if node.target is aten.view.default:
            node.target = aten.reshape.default  # the same, whatever the layout
        first = {aten.convolution.default: 1, aten.convolution_backward.default: 2}.get(node.target, 0)
        if not first or node.args[first + 7] == 1 or value(node.args[0]).ndim != 4:  # type: ignore[arg-type]
            continue
        with graph.inserting_before(node):
            given = [graph.call_function(aten.contiguous.default, (a,), LAST) for a in node.args[:first]]
        for new, old in zip(given, node.args, strict=False):
            new.meta["val"] = value(old).contiguous(**LAST)  # type: ignore[arg-type]
        node.args = (*given, *node.args[first:])


def add_biases(graph: Graph) -> None:
    """A sum of batched products and a row for each run becomes one operation, as it is for a single run."""
    for node in calls(graph):
        if node.target is not aten.add.Tensor or node.kwargs or not all(isinstance(a, Node) for a in node.args):
            continue
        for product, row in (node.args, node.args[::-1]):
            runs, _, outputs = whole = value(node).shape if value(node).ndim == 3 else (0, 0, 0)
            plain = product.target is aten.bmm.default and len(product.users) == 1 and value(product).shape == whole  # type: ignore[union-attr]
            if plain and value(row).shape == (runs, 1, outputs) and value(row).dtype == value(product).dtype:  # type: ignore[arg-type]
                node.target, node.args = aten.baddbmm.default, (row, *product.args)  # type: ignore[union-attr]
                break
    graph.eliminate_dead_code()


def pieces_whole(graph: Graph) -> None:
    """Parts of a tensor that is split along its last axis are copied for several readers: short rows apart are slow."""
    for node in calls(graph):
        part = node.target is operator.getitem and node.args[0].target is aten.split.Tensor  # type: ignore[union-attr]
        if not part or len(node.users) < 2 or value(node).is_contiguous():
            continue
        with graph.inserting_after(node):
            whole = graph.call_function(aten.contiguous.default, (node,))
        whole.meta["val"] = value(node).contiguous()
        node.replace_all_uses_with(whole, delete_user_cb=lambda user, whole=whole: user is not whole)


def large_products(graphs: Iterable[Graph]) -> bool:
    """Whether matrix products have many multiply-adds each, in the mean: then it pays to look for the fastest."""
    sizes = [
        value(node).numel() * value(node.args[-2]).shape[-1]  # type: ignore[arg-type]
        for graph in graphs
        for node in calls(graph)
        if node.target in (*PRODUCTS, aten.addmm.default, aten.baddbmm.default)
    ]
    return sum(sizes) >= LARGE * max(len(sizes), 1)


def direct(recorded: GraphModule) -> GraphModule:
    """The same step by torch's own functions, which are quicker to call from Python than the operations behind them."""
    graph = Graph()
    graph.output(graph.graph_copy(recorded.graph, {}))
    graph.set_codegen(vars(recorded.graph)["_codegen"])
    for node in calls(graph):
        node.target = (OVER if node.meta.get("over") else DIRECT).get(node.target, node.target)  # type: ignore[arg-type]
    return GraphModule(recorded, graph)


def round_products(graph: Graph, dtype: torch.dtype) -> None:
    """Matrix products and convolutions take and give `dtype`; all that is between them stays as it is.

    The arithmetic of autocast for these operations, forward and backward, on every device alike.
    """
    rounded: dict[Node, Node] = {}

    def cast(node: Node) -> Node:
        if node not in rounded:
            after = graph.find_nodes(op="placeholder")[-1] if node.op == "placeholder" else node
            source = node.args[0] if is_view(node) and node.target is not operator.getitem else None
            if isinstance(source, Node) and value(source).dtype == value(node).dtype:
                lower = cast(source)
                with graph.inserting_after(node):
                    new = graph.call_function(node.target, (lower, *node.args[1:]), node.kwargs)  # type: ignore[arg-type]
            else:
                with graph.inserting_after(after):
                    new = graph.call_function(aten._to_copy.default, (node,), {"dtype": dtype})
            new.meta["val"] = value(node).to(dtype)
            rounded[node] = new
        return rounded[node]

    for node in calls(graph):
        if node.target not in (*ROUNDED, aten.convolution_backward.default):
            continue
        is_float = lambda a: isinstance(a, Node) and value(a).dtype in (torch.float32, torch.float64)  # noqa: E731
        node.args = tuple(cast(a) if is_float(a) else a for a in node.args)  # type: ignore[assignment]
        results = [node] if isinstance(value(node), Tensor) else list(node.users)
        for result in results:
            back_to = value(result).dtype
            result.meta["val"] = value(result).to(dtype)
            with graph.inserting_after(result):
                back = graph.call_function(aten._to_copy.default, (result,), {"dtype": back_to})
            back.meta["val"] = value(result).to(back_to)
            result.replace_all_uses_with(back, delete_user_cb=lambda user, back=back: user is not back)
    graph.eliminate_dead_code()
