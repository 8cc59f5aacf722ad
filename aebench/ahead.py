"""The nets of the pack that comes next, built in a thread of their own while the present one trains.

Beside a GPU alone, which computes while its host waits for it. On a CPU the steps want the cores themselves, and there
is little to gain: all that packs do before their first step takes 0.5 % of the standard suite's time there.

The data need no such thread, as all are loaded before anything is trained. A step is recorded in the main thread: to
record it, torch exchanges methods of all modules. And the thread asks nothing of the GPU, where a call would break the
graph that the main thread may be recording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import torch
from torch import nn

from aebench import packing
from aebench.specification import recipe
from aebench.suite import Run, pack_id
from aebench.variant import Shape

Nets = dict[int, nn.Module]
"""By their seed."""
ROOM = 2**30
"""Bytes of nets from which on the rest is left to be built when it is needed."""


def beside(device: torch.device) -> bool:
    """Whether the host is free while the device trains."""
    return device.type != "cpu"


class Ahead:
    """Builds nets of packs to come, in the order in which it is told of them. A `with` block ends what it has begun."""

    def __init__(self, device: torch.device, allow_code: bool) -> None:
        # weights are float32 whatever the default type; to change that would change it for the main thread too
        self.wanted = beside(device) and torch.get_default_dtype() == torch.float32
        self.allow_code, self.ended = allow_code, False
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="aebench-ahead")
        self.coming: dict[str, Future[Nets]] = {}

    def begin(self, pack: Sequence[Run], event_shape: Shape) -> None:
        """Have the nets of this pack built."""
        if self.wanted:
            seeds = list(dict.fromkeys(run.spec["seed"] for run in pack))
            self.coming[pack_id(pack)] = self.pool.submit(self.built, pack[0].spec, event_shape, seeds)

    def take(self, pack: Sequence[Run]) -> Nets:
        """The nets of this pack, as far as they were built; waits for the one that is being built."""
        coming = self.coming.pop(pack_id(pack), None)
        # what failed fails again, and is recorded, where the pack itself is trained
        return {} if coming is None or coming.exception() is not None else coming.result()

    def forget(self, pack: Sequence[Run]) -> None:
        """The nets of this pack will not be asked for."""
        if (coming := self.coming.pop(pack_id(pack), None)) is not None:
            coming.cancel()

    def built(self, spec: Mapping[str, Any], event_shape: Shape, seeds: Sequence[int]) -> Nets:
        """The nets of these seeds, as many as have room."""
        variant, network, sizes = recipe(spec, self.allow_code)
        found, held = Nets(), 0
        for seed in seeds:
            if self.ended or held > ROOM:
                break
            found[seed] = packing.build(variant, event_shape, network, sizes, seed)
            held += sum(t.numel() * t.element_size() for t in packing.state_of(found[seed]).values())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.ended = True
        self.pool.shutdown(cancel_futures=True)
