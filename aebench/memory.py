"""What a computation holds at once, counted as tensors come and go."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts the bytes of what operations made in its `with` block and something still refers to: `held`, `peak`.

    Also of tensors that have no memory (`FakeTensorMode`): then it is known before anything is computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in (t for t in tree_leaves(out) if isinstance(t, Tensor)):
            key, storage = _key(tensor), tensor.untyped_storage()
            if key not in given and key not in self._known and storage.nbytes():
                self._known.add(key)
                self.held += storage.nbytes()
                weakref.finalize(storage, self._drop, key, storage.nbytes())
        self.peak = max(self.peak, self.held)
        return out

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size


def _key(tensor: Tensor) -> int:
    """The address of a tensor's storage in torch: another tensor has it only once this one's memory is freed."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
