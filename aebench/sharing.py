"""How many threads may share a step on a CPU: as many as leave its bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph
from torch.utils._pytree import tree_leaves

from aebench.arithmetic import arithmetic
from aebench.feed import Feed, Hyper
from aebench.packing import Pack
from aebench.recorded import calls, value

aten: Any = torch.ops.aten

SHARED = 2**15
"""Elements from which on threads share a sum."""
VECTOR = 32
"""Numbers of float32 that torch's loops on a CPU take at once; what is left over at the end goes by other
instructions, which may round otherwise."""
ROUNDED_ONCE = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar,
    aten.neg.default, aten.abs.default, aten.sgn.default, aten.sign.default, aten.relu.default,
    aten.threshold_backward.default, aten.where.self, aten.sqrt.default, aten.maximum.default, aten.minimum.default,
    aten._to_copy.default, aten.clone.default, aten.contiguous.default,
)  # fmt: skip
"""Of what is done element by element, that which gives the same bits by any instructions."""


def numbers_of_threads(pack: Pack, feed: Feed, hyper: Hyper) -> tuple[int, ...]:
    """Numbers of threads to choose from on a CPU: all that torch may take or one, where both give the same bits.

    That is tried on a batch: in what order numbers are added up depends on their shapes, not on their values. What
    might come out the same by chance is left out: sums to a single number, and ends of loops (`cut_by_threads`).
    """
    most, batch, hp = torch.get_num_threads(), feed.step(0), hyper.at(0.0)
    if batch.x.device.type != "cpu":
        return ()
    clipped = not pack.stacked and any(optimizer.clipped for _, optimizer in pack.players.values())
    recorded = [step.graph for step in pack.traced.values()]
    shared = any(sums_to_one(step) or cut_by_threads(step, most) for step in recorded)
    if most == 1 or clipped or shared or pack.variant.after is not None:
        return (most,)
    found: list[list[Any]] = []
    for number in (most, 1):
        torch.set_num_threads(number)
        with torch.no_grad(), arithmetic(batch.x.device, "fp32", pack.large):
            found.append(tree_leaves([step(pack.leaves, batch.x, batch.noise, hp) for step in pack.calls.values()]))
    torch.set_num_threads(most)
    return (most, 1) if all(map(torch.equal, *found)) else (most,)


def sums_to_one(graph: Graph) -> bool:
    """Whether many numbers are added up to a single one: torch shares that out between its threads on a CPU."""
    return any(
        getattr(node.target, "__name__", "").startswith(("sum.", "mean."))
        and value(node).numel() == 1
        and value(node.args[0]).numel() >= SHARED  # type: ignore[arg-type]
        for node in calls(graph)
    )


def cut_by_threads(graph: Graph, threads: int) -> bool:
    """Whether the pieces that so many threads share change where a loop's last numbers lie, and so perhaps a bit.

    What is done element by element goes in even pieces, one a thread, each from `SHARED` numbers on; whole loops in
    every piece, and of rows that lie apart in every row, leave the bits.
    """
    for node in calls(graph):
        found, tags = value(node), getattr(node.target, "tags", ())
        once = node.target in ROUNDED_ONCE and "alpha" not in node.kwargs
        if torch.Tag.pointwise not in tags or once or not isinstance(found, Tensor) or found.numel() <= SHARED:
            continue
        pieces = min(threads, -(-found.numel() // SHARED))
        given = [value(a) for a in node.all_input_nodes if isinstance(value(a), Tensor) and value(a).ndim]
        whole = all(a.shape == found.shape and a.stride() == found.stride() for a in given)
        if pieces > 1 and (-(-found.numel() // pieces) % VECTOR or not (whole or found.shape[-1] % VECTOR == 0)):
            return True
    return False
