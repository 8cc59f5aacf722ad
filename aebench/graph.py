"""The recorded step, rewritten: what does nothing left out, and products in the layout and precision wanted.

A step is recorded as a flat graph of tensor operations (`packing.trace`), and each function here rewrites such a graph.
`simplify` leaves every bit as it was; `orient` may change how a product rounds; `round_products` is a precision.
"""

from __future__ import annotations

import linecache
import operator
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node, graph_module
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import register_flop_formula

aten: Any = torch.ops.aten

VIEWS = (aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.alias.default, aten.detach.default)
"""Operations that may give back what they were given."""
TRANSPOSES = (aten.transpose.int, aten.t.default)
PRODUCTS = (aten.mm.default, aten.bmm.default)
ROUNDED = (*PRODUCTS, aten.addmm.default, aten.baddbmm.default, aten.convolution.default)
"""Operations whose tensors a low precision rounds."""

SHARED = 2**15
"""Elements from which on threads share a sum."""
LARGE = 2**22
"""Multiply-adds from which on a product is large."""
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


def value(node: Node) -> Any:
    """What the node gave when it was recorded: a tensor without memory, or a tuple of such."""
    return node.meta.get("val")


def calls(graph: Graph) -> Iterator[Node]:
    """Its operations, from first to last."""
    return (node for node in list(graph.nodes) if node.op == "call_function")


def alike(a: Node, b: Node) -> bool:
    """Whether two nodes have the same shape, layout and type."""
    one, two = value(a), value(b)
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return False
    return one.shape == two.shape and one.stride() == two.stride() and one.dtype == two.dtype


def writes(graph: Graph) -> bool:
    """Whether an operation writes over what it was given; then views of the same memory cannot be told apart here."""
    schemas: list[Any] = [getattr(node.target, "_schema", None) for node in calls(graph)]
    return any(schema is not None and schema.is_mutable for schema in schemas)


def sums_to_one(graph: Graph) -> bool:
    """Whether many numbers are added up to a single one: torch shares that out between its threads on a CPU."""
    return any(
        getattr(node.target, "__name__", "").startswith(("sum.", "mean."))
        and value(node).numel() == 1
        and value(node.args[0]).numel() >= SHARED  # type: ignore[arg-type]
        for node in calls(graph)
    )


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


def onednn_linear() -> Any:
    """`(x, weight, bias, "none", [], "") -> x weightᵀ + bias` by oneDNN; None where torch was built without it."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return torch.ops.mkldnn._linear_pointwise.default if there else None


def onednn(graph: Graph) -> None:
    """Large products of float32 go through oneDNN, those of a pack run by run; what it adds up is float32 too.

    On a CPU with AVX-512 it is up to twice as fast as the BLAS behind torch's own (tests/benchmarks/training.py).
    """
    linear = onednn_linear()
    if linear is None:
        return
    for node in calls(graph):
        if node.target not in (aten.mm.default, aten.addmm.default, aten.bmm.default):
            continue
        *bias, a, b = node.args
        (*runs, rows, inner), columns = value(a).shape, value(b).shape[-1]  # type: ignore[arg-type]
        plain = not node.kwargs and all(value(addend).shape == (columns,) for addend in bias)  # type: ignore[arg-type]
        if not plain or value(node).dtype != torch.float32 or rows * inner * columns < LARGE:
            continue
        with graph.inserting_before(node):
            weight, whole = _transposed(graph, b), value(node)
            pairs = [(a, weight)] if not runs else [_chosen(graph, a, weight, run) for run in range(runs[0])]
            each = [graph.call_function(linear, (*p, *(bias or [None]), "none", [], "")) for p in pairs]
            for new in each:
                new.meta["val"] = whole[0] if runs else whole
            new = graph.call_function(aten.stack.default, (each,)) if runs else each[0]
        new.meta["val"] = whole
        node.replace_all_uses_with(new)
    graph.eliminate_dead_code()


def _chosen(graph: Graph, a: Any, b: Node, run: int) -> tuple[Node, ...]:
    """The factors of one run."""
    found: list[Node] = []
    for factor in (a, b):
        found.append(graph.call_function(aten.select.int, (factor, 0, run)))
        found[-1].meta["val"] = value(factor)[0]
    return tuple(found)


def linear_flops(x: tuple[int, ...], weight: tuple[int, ...], *rest: Any, **kwargs: Any) -> int:
    """2 a multiply-add, as torch counts its own products."""
    return 2 * x[0] * x[1] * weight[0]


if onednn_linear() is not None:
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(linear_flops)


def is_view(node: Node) -> bool:
    """Whether the node's memory is that of its first argument."""
    if node.target is operator.getitem:
        return is_view(node.args[0])  # type: ignore[arg-type]
    if node.target is aten.contiguous.default:
        return alike(node, node.args[0])  # type: ignore[arg-type]
    schema = getattr(node.target, "_schema", None)
    aliased = schema is not None and any(out.alias_info is not None for out in schema.returns)
    return aliased or node.target is aten._unsafe_view.default


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


def peak_bytes(graph: Graph) -> int:
    """The most memory that its results hold at once, its inputs apart; each is let go after its last use."""
    owner: dict[Node, Node] = {}
    last: dict[Node, Node] = {}
    for node in graph.nodes:
        shares = node.op == "call_function" and (node.target is operator.getitem or is_view(node))
        source = node.args[0] if shares else node
        owner[node] = owner.get(source, source)  # type: ignore[arg-type]
        for read in (node, *node.all_input_nodes):
            last[owner[read]] = node
    gone: dict[Node, list[Node]] = {}
    for source, node in last.items():
        gone.setdefault(node, []).append(source)
    held = peak = 0
    for node in graph.nodes:
        held += _own_bytes(node) if owner[node] is node else 0
        peak = max(peak, held)
        held -= sum(_own_bytes(source) for source in gone.get(node, ()))
    return peak


def _own_bytes(node: Node) -> int:
    if node.op != "call_function" or node.target is operator.getitem:
        return 0
    return sum(t.numel() * t.element_size() for t in tree_leaves(value(node)) if isinstance(t, Tensor))
