"""What a step does, in numbers that no clock and no neighbour can disturb. This one file of the plugin needs torch."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from .garbage import new_only

WAITS = {"_local_scalar_dense", "equal", "is_nonzero"}
"""Operations whose result the host reads: `.item()`, `float()`, `if tensor` all come down to the first."""
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaLaunchCooperativeKernel")


class Counting(TorchDispatchMode):
    """Counts what torch carries out in this thread inside its `with` block, below autograd and vmap.

    Bytes are those of storages that appear inside; what lived before is not among them. Memory that an operation has
    for itself alone, while it runs, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.flops = self.waits = self.live = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.operations += 1
        packet = func.overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=out)
        self.waits += packet.__name__ in WAITS or _to_host(packet.__name__, args, out)
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf, args)
        return out

    def _see(self, tensor: torch.Tensor, args: Any) -> None:
        if tensor.layout is not torch.strided:
            return
        storage = tensor.untyped_storage()
        key = _key(tensor)
        if storage.device.type == "meta" or key in self._alive:
            return
        if any(isinstance(a, torch.Tensor) and _same(a, key) for a in tree_leaves(args)):
            return  # a view of what was there before, or written in place
        size = storage.nbytes()
        counting = weakref.ref(self)

        def freed(_: Any) -> None:
            there = counting()
            if there is not None and there._alive.pop(key, None) is not None:
                there.live -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)


def _key(tensor: torch.Tensor) -> int:
    """The address of a tensor's storage in torch: another tensor has it only once this one's memory is freed."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _same(tensor: torch.Tensor, key: int) -> bool:
    return tensor.layout is torch.strided and _key(tensor) == key


def _to_host(name: str, args: Any, out: Any) -> bool:
    """Whether an operation brings numbers from a device to the host."""
    if name not in ("_to_copy", "copy_", "_copy_from") or not isinstance(out, torch.Tensor):
        return False
    source = args[1] if name == "copy_" else args[0]
    return isinstance(source, torch.Tensor) and source.device.type not in ("cpu", "meta") and out.device.type == "cpu"


@contextmanager
def counted(device: str, said: Callable[[str, float], None]) -> Generator[None]:
    """Count the block on a device, and say each number under its name."""
    cuda = torch.device(device).type == "cuda"
    before = 0
    if cuda:
        gc.collect()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with new_only(), Counting() as counting:
        yield
        gc.collect()  # what only a cycle holds is no leak
    said("operations", counting.operations)
    said("FLOPs", counting.flops)
    said("synchronisations", counting.waits)
    said("peak bytes", counting.peak)
    said("kept bytes", counting.live)
    if cuda:
        torch.cuda.synchronize(device)
        said("device peak bytes", torch.cuda.max_memory_allocated(device) - before)


def launches(step: Callable[[], Any], device: str) -> int:
    """Kernels and graphs that the host launches in one step on CUDA."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize(device)
    return sum(event.count for event in profiled.key_averages() if event.key.startswith(LAUNCHES))


def uuid(device: str) -> str:
    """What the driver calls a CUDA device, whatever its number here: "GPU-..."."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def compiled() -> tuple[int, int]:
    """Graphs that `torch.compile` has made so far in this process, and its graph breaks."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return 0, 0
    return dynamo.counters["stats"]["unique_graphs"], sum(dynamo.counters["graph_break"].values())


class DeviceClock:
    """Seconds on a CUDA device: each call records an event and waits for it.

    Events are of the device's own clock, and what was launched before is done when a call returns: a span between two
    calls is the work, not its launch. Spans are added up in float64, as `elapsed_time` is a float32.
    """

    def __init__(self, device: str) -> None:
        self.device, self.seconds = torch.device(device), 0.0
        self.before = self._now()

    def _now(self) -> Any:
        with torch.cuda.device(self.device):
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            event.synchronize()
        return event

    def __call__(self) -> float:
        """Seconds since the first call, once all that was launched is done."""
        now = self._now()
        self.seconds += self.before.elapsed_time(now) / 1e3
        self.before = now
        return self.seconds
