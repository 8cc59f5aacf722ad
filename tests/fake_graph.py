"""A stand-in for a CUDA graph on the CPU: it knows nothing but the tensors and operations of the recorded call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Notes each operation with the very tensors it took and gave, and what those held that it wrote to."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = [t for t in tree_leaves(given.get(argument.name)) if isinstance(t, torch.Tensor)]
                self.before += [(tensor, tensor.clone()) for tensor in written]
        out = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, out))
        return out


def fake_graph(call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """As `engine.cuda_graph`: nothing is carried out now, and a replay reads and writes the same memory each time."""
    with Tape() as tape:
        outputs = call()
    with torch.no_grad():
        for tensor, held in reversed(tape.before):
            tensor.copy_(held)

    @torch.no_grad()
    def replay() -> None:
        for func, args, kwargs, out in tape.operations:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return replay, outputs
