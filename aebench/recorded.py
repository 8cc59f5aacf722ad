"""The memory of a recorded step: which results share it, how long each is held, and what may be written over."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

aten: Any = torch.ops.aten


def _threshold_backward_(gradient: Tensor, result: Tensor, threshold: float) -> Tensor:
    return aten.threshold_backward.grad_input(gradient, result, threshold, grad_input=gradient)


OVER: dict[Any, Any] = {
    aten.add.Tensor: Tensor.add_, aten.sub.Tensor: Tensor.sub_, aten.mul.Tensor: Tensor.mul_,
    aten.mul.Scalar: Tensor.mul_, aten.div.Tensor: Tensor.div_, aten.div.Scalar: Tensor.div_,
    aten.neg.default: torch.neg_, aten.exp.default: torch.exp_, aten.log.default: torch.log_,
    aten.relu.default: torch.relu_, aten.sigmoid.default: torch.sigmoid_, aten.tanh.default: torch.tanh_,
    aten.pow.Tensor_Scalar: Tensor.pow_, aten.threshold_backward.default: _threshold_backward_,
}  # fmt: skip
"""What an operation is where it may write over its first argument: the same bits."""
COMMUTATIVE = (aten.add.Tensor, aten.mul.Tensor)


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


def is_view(node: Node) -> bool:
    """Whether the node's memory is that of its first argument."""
    if node.target is operator.getitem:
        return is_view(node.args[0])  # type: ignore[arg-type]
    if node.target is aten.contiguous.default:
        return alike(node, node.args[0])  # type: ignore[arg-type]
    schema = getattr(node.target, "_schema", None)
    aliased = schema is not None and any(out.alias_info is not None for out in schema.returns)
    return aliased or node.target is aten._unsafe_view.default


def lifetimes(graph: Graph) -> tuple[dict[Node, Node], dict[Node, Node]]:
    """Node -> the one in whose memory its result lies, and each of these -> the last that reads it."""
    owner: dict[Node, Node] = {}
    last: dict[Node, Node] = {}
    for node in graph.nodes:
        shares = node.op == "call_function" and (
            node.target is operator.getitem or is_view(node) or node.meta.get("over", False)
        )
        source = node.args[0] if shares else node
        owner[node] = owner.get(source, source)  # type: ignore[arg-type]
        for read in (node, *node.all_input_nodes):
            last[owner[read]] = node
    return owner, last


def write_over(graph: Graph) -> None:
    """Mark what is done element by element and is the last to read an argument of its shape: it may write over it.

    So a step touches less memory that is not in a cache (measured by tests/benchmarks/around.py). What it is given
    stays as it was.
    """
    known = (node.target is operator.getitem or hasattr(node.target, "_schema") for node in calls(graph))
    if not all(known):
        return  # of which nobody knows what it shares
    owner, last = lifetimes(graph)
    kept = {owner[one] for pair in _sharing(graph) for one in pair}
    laid_otherwise = any(node.target is aten.convolution.default for node in calls(graph))  # than it was recorded
    for node in calls(graph):
        if node.target not in OVER:
            continue
        swaps = node.target in COMMUTATIVE and not node.kwargs and not laid_otherwise
        for args in (node.args, node.args[::-1]) if swaps else (node.args,):
            first, *others = args
            if not isinstance(first, Node) or first.op != "call_function":
                continue
            own = owner[first] is first and first not in kept and last[first] is node
            if own and alike(node, first) and first not in [owner[o] for o in others if isinstance(o, Node)]:
                node.args, node.meta["over"] = args, True
                break


def _sharing(graph: Graph) -> Iterator[tuple[Node, Node]]:
    """Operations that are no views by their schema and yet may give back memory of an argument, and this argument."""

    def memory(node: Node) -> set[StorageWeakRef]:
        return {StorageWeakRef(t.untyped_storage()) for t in tree_leaves(value(node)) if isinstance(t, Tensor)}

    for node in calls(graph):
        if node.target is operator.getitem or is_view(node):
            continue
        for given in node.all_input_nodes:
            if node.target is aten.contiguous.default or memory(node) & memory(given):
                yield node, given


def peak_bytes(graph: Graph) -> int:
    """The most memory that its results hold at once, its inputs apart; each is let go after its last use."""
    owner, last = lifetimes(graph)
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
