"""A GPU that is not there: torch's fake tensors say that they lie on it, hold nothing, and refuse to mix with others.

FakeTensorMode gives each operation its shapes, types and devices, and raises where tensors lie on two devices.
`Device` looks at every operation besides. Some entries from Python ask for the device's driver before they compute
(`stand_ins`); they are said by operations that do not. Autograd asks for it too, so what is differentiated lies on the
"meta" device meanwhile, which mixes with the CPU just as little.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from aebench import clock, device, engine, pace, packing, purity, streams, work
from aebench import train as training
from aebench.metrics import cost

GPUS = ("cuda", "mps")
CHUNK = 2
DIFFERENTIATING = ("contractive_ae",)
"""Variants whose loss is a derivative."""
aten: Any = torch.ops.aten


class Refused(AssertionError):
    """What a GPU would not do, or would have to be waited for."""


class Device(TorchDispatchMode):
    """Looks at each operation; `inside` a chunk of steps, which a CUDA graph may hold, it refuses the most."""

    BACK = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique", "aten.equal")
    """What brings numbers or sizes back to the host."""
    COPIED = ("aten.where.self", "aten.copy_.default", "aten.index_put_.default", "aten._to_copy.default")
    """What copies even a single number to the device; others take it with them when they are called."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inside = kind, False
        self.left = self.operations = 0
        """Tensors that came back to the host, and operations on the device inside chunks."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = str(func), [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if self.inside and name.startswith(self.BACK) and any(map(gpu, given)):
            raise Refused(f"{name} inside a chunk of steps waits for the device")
        if name == "aten._local_scalar_dense.default":  # how many steps an optimiser has made, which it counts there
            self.left += gpu(given[0])
            return 1
        out = fused(args) if name.startswith("aten._fused_") else func(*args, **(kwargs or {}))
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        on_host = [t for t in (*given, *results) if t.device.type == "cpu"]
        on_device = [t for t in (*given, *results) if gpu(t)]
        crosses = bool(on_device) and (name in self.COPIED or any(t.ndim for t in on_host))
        if self.inside and on_host and (crosses or any(t.ndim for t in on_host)):
            shapes = [tuple(t.shape) for t in on_host]
            raise Refused(f"{name} inside a chunk of steps has tensors {shapes} on the host")
        if self.kind == "mps" and any(t.dtype == torch.float64 for t in on_device):
            raise Refused(f"{name} has float64, which MPS does not know")
        self.operations += self.inside and bool(on_device)
        return out

    @contextmanager
    def chunk(self) -> Generator[None]:
        """A chunk of steps."""
        before, self.inside = self.inside, True
        try:
            yield
        finally:
            self.inside = before


def fused(lists: tuple[Any, ...]) -> None:
    """What a fused optimiser asks for, of which there is nothing fake: all of a parameter lies as it does, in its type.

    It walks memory, so what lies otherwise would be mistaken for another element.
    """
    parameters, *others = lists
    whole = [tensors for tensors in others if tensors and tensors[0].shape == parameters[0].shape]
    if not whole:
        raise Refused("a fused optimiser without gradients")
    for parameter, *its in zip(parameters, *whole, strict=True):
        laid = {(t.shape, t.stride(), t.dtype, t.device) for t in (parameter, *its)}
        if len(laid) > 1:
            raise Refused(f"a fused optimiser is given {laid}")


def gpu(t: Any) -> bool:
    """Whether it is a tensor on a device that is not there."""
    return isinstance(t, Tensor) and t.device.type in GPUS


def indexed(t: Tensor, index: Any) -> Tensor:
    """`t[index]`."""
    words = list(index) if isinstance(index, tuple) else [index]
    if any(word is ... for word in words):
        place = next(i for i, word in enumerate(words) if word is ...)
        words[place : place + 1] = [slice(None)] * (t.ndim - sum(word is not None for word in words) + 1)
    dim, places = 0, dict[int, Tensor]()
    for word in words:
        if isinstance(word, int):
            t = t.select(dim, word)
            continue
        if isinstance(word, Tensor):
            places[dim] = word
        elif word is None:
            t = t.unsqueeze(dim)
        else:
            t = aten.slice(t, dim, word.start, word.stop, word.step or 1)
        dim += 1
    return aten.index(t, [places.get(d) for d in range(max(places) + 1)]) if places else t


def moved(t: Tensor, *where: Any, dtype: torch.dtype | None = None, device: Any = None, **how: Any) -> Tensor:
    """`t.to(...)`."""
    for word in where:
        if isinstance(word, Tensor):
            dtype, device = word.dtype, word.device
        elif isinstance(word, torch.dtype):
            dtype = word
        else:
            device = word
    place, dtype = torch.device(device or t.device), dtype or t.dtype
    same = (place.type, dtype) == (t.device.type, t.dtype)
    return t if same and not how else aten._to_copy(t, dtype=dtype, device=place, **how)


def net_to(net: nn.Module, place: Any, dtype: torch.dtype | None = None) -> nn.Module:
    """`net.to(...)`, which exchanges parameters in a way that tensors without memory do not allow."""
    for module in net.modules():
        for name, p in module._parameters.items():
            if p is not None:
                module._parameters[name] = nn.Parameter(p.detach().to(place, dtype), p.requires_grad)
        for name, b in module._buffers.items():
            module._buffers[name] = None if b is None else b.to(place, dtype)
    return net


def to_meta(given: Any) -> Any:
    """The same shapes on the meta device."""
    away = lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta") if gpu(t) else t  # noqa: E731
    return tree_map(away, given)


def from_meta(given: Any, kind: str) -> Any:
    """And back on the GPU."""
    back = lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=kind)  # noqa: E731
    return tree_map(lambda t: back(t) if isinstance(t, Tensor) and t.device.type == "meta" else t, given)


def stand_ins(found: Device, patch: pytest.MonkeyPatch) -> None:
    """What asks for the driver, said without it; and what comes back to the host: numbers, but none inside a chunk."""
    numbers = np.random.default_rng(0)
    item, make, to_numpy = Tensor.__getitem__, torch.tensor, Tensor.numpy

    def tensor(data: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return make(data, dtype=dtype).to(device or "cpu")

    def cpu(t: Tensor) -> Tensor:
        if found.inside:
            raise Refused(f"a tensor {tuple(t.shape)} leaves the device inside a chunk of steps")
        found.left += gpu(t)
        return t.to("cpu")

    def numpy(t: Tensor) -> np.ndarray:
        if found.inside or gpu(t):
            raise Refused("an array of a tensor on the device")
        if not isinstance(t, FakeTensor):
            with _disable_current_modes():
                return to_numpy(t)
        dtype = str(t.dtype).removeprefix("torch.")
        return numbers.uniform(0.1, 1.0, t.shape).astype(dtype) if t.is_floating_point() else np.ones(t.shape, dtype)

    patch.setattr(torch, "tensor", tensor)
    patch.setattr(nn.Module, "to", net_to)
    for name, instead in {
        "to": moved, "cpu": cpu, "numpy": numpy, "pin_memory": lambda t: t,
        "new_tensor": lambda t, data: tensor(data, dtype=t.dtype, device=t.device),
        "copy_": lambda t, source, non_blocking=False: aten.copy_(t, source),
        "__getitem__": lambda t, index: indexed(t, index) if gpu(t) else item(t, index),
        "__float__": lambda t: float(t.cpu().numpy()), "tolist": lambda t: t.cpu().numpy().tolist(),
    }.items():  # fmt: skip
        patch.setattr(Tensor, name, instead)


def differentiates_elsewhere(found: Device, patch: pytest.MonkeyPatch) -> None:
    """A step is recorded, and a loss that is a derivative is called, with tensors on the meta device."""
    trace, check_pure, call = packing.trace, purity.check_pure, packing.Pack.call

    def pure(variant: Any, net: Any, *rest: Any) -> None:
        held = {id(p): nn.Parameter(to_meta(p.detach())) for p in net.parameters()}
        held |= {id(b): to_meta(b) for b in net.buffers()}
        check_pure(variant, copy.deepcopy(net, held), *to_meta(rest))

    def traced(*args: Any) -> Any:
        recorded = trace(*to_meta(args))
        for node in recorded.graph.nodes:
            if node.kwargs.get("device") == torch.device("meta"):
                node.kwargs = {**node.kwargs, "device": torch.device(found.kind)}
        recorded.recompile()
        return recorded

    def called(self: packing.Pack, fn: Any, state: Any, batch: Any, hp: Any) -> Any:
        if self.variant.name not in DIFFERENTIATING or not gpu(batch.x):
            return call(self, fn, state, batch, hp)
        return from_meta(call(self, fn, *to_meta((state, batch, hp))), found.kind)

    patch.setattr(packing, "trace", traced)
    patch.setattr(purity, "check_pure", pure)
    patch.setattr(packing.Pack, "call", called)


def machine(found: Device, patch: pytest.MonkeyPatch) -> None:
    """The rest of the machine: generators, clocks, memory, names. And shorter chunks, as no number counts."""
    generator, steps = streams.generator, training.steps

    def source(seed: int, purpose: Any, name: str = "", index: int = 0, device: str = "cpu") -> Any:
        known = generator(seed, purpose, name, index)
        return known if device == "cpu" else SimpleNamespace(device=torch.device(device))

    def draw(spec: Any, count: int, source: Any) -> Tensor:
        return torch.rand((count, *spec.shape), device=source.device, dtype=torch.float32)

    def chunk(*args: Any) -> Any:
        with found.chunk():
            return steps(*args)

    patch.setattr(streams, "CHUNK", CHUNK)
    patch.setattr(streams, "generator", source)
    patch.setattr(streams, "draw", draw)
    patch.setattr(training, "steps", chunk)
    patch.setattr(training, "free_bytes", lambda place: 2**30)
    patch.setattr(device, "choose", lambda name="auto": torch.device(found.kind))
    patch.setattr(device, "describe", lambda place: f"no {place.type}")
    patch.setattr(device, "driver", lambda place: None)
    patch.setattr(work, "PeakMemory", lambda place: SimpleNamespace(bytes=lambda: None))
    for module in (clock, engine, pace, training, cost, work):
        patch.setattr(module, "clock", lambda place: time.perf_counter())


@contextmanager
def fake(kind: str, patch: pytest.MonkeyPatch) -> Generator[Device]:
    """Inside the block torch computes nothing, and a device of this kind is there."""
    found = Device(kind)
    stand_ins(found, patch)
    differentiates_elsewhere(found, patch)
    machine(found, patch)
    with FakeTensorMode(allow_non_fake_inputs=True), found:
        yield found
