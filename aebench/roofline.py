"""What a training step cannot do without, and how fast this machine could do it.

The roofline of Williams, Waterman and Patterson (2009), Roofline: an insightful visual performance model: a step that
moves so many bytes and does so many FLOPs takes at least the longer of bytes / bandwidth and FLOPs / rate. Both rates
are measured here, on the machine at hand, not taken from a data sheet.

The bandwidth is that of main memory. What a small net and its optimiser hold may stay in a cache, which is faster, so
that a step can be quicker than its memory floor: a share of the roofline above 1 says just that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aebench.arithmetic import arithmetic
from aebench.clock import clock
from aebench.device import free_bytes
from aebench.effort import first_batch, step_flops
from aebench.feed import Batch, Examples
from aebench.optim import buffers
from aebench.packing import Runs
from aebench.train import DTYPES, PRODUCTS, Budget, Hyper, Setting

COPY_BYTES = {"cpu": 2**30, "mps": 2**28, "cuda": 2**31}
"""Bytes of the tensor that is copied: well above the last cache of the largest processors."""
SIDES = {"cpu": 2048, "mps": 4096, "cuda": 8192}
"""Rows of the square matrices whose product is timed."""
REPEATS = 5


@dataclass(frozen=True)
class Machine:
    """What a device reached: bytes/s of a large copy, read and written counted, and FLOP/s of a matrix product."""

    bandwidth: float
    rate: float
    threads: int
    precision: str


@dataclass(frozen=True)
class Floor:
    """What one step of one run must do. `held`: bytes that must be in memory at once, without the data set."""

    parameters: int
    parameter_bytes: int
    activation_bytes: int
    input_bytes: int
    flops: float
    held: int

    @property
    def bytes(self) -> int:
        """Bytes that must move, read and written."""
        return self.parameter_bytes + self.activation_bytes + self.input_bytes

    def seconds(self, machine: Machine) -> float:
        """The least time of the step on this machine."""
        return max(self.bytes / machine.bandwidth, self.flops / machine.rate)

    def bound(self, machine: Machine) -> Literal["memory", "compute"]:
        """What that least time is spent on."""
        return "memory" if self.bytes / machine.bandwidth >= self.flops / machine.rate else "compute"


def passes(kept: int) -> int:
    """How often each parameter's word moves in a step, `kept` numbers a parameter: 10 with Adam.

    Its weight is read forward and backward, its gradient written; then the update reads weight, gradient and state,
    and writes weight and state. (Weights that meet the input, and biases, need not be read backward, which is not told
    apart: at most a tenth of their traffic.)
    """
    return 3 + (2 + kept) + (1 + kept)


def floor(runs: Runs, setting: Setting, examples: Examples, budget: Budget) -> Floor:
    """The floor of one step of one run of these, `setting` and `budget` being what they were trained with.

    Counted: each parameter's `passes`; the result of each matrix product and convolution of the loss, written once
    forward and read once backward (what is done element by element could be fused into them); examples, as they are
    stored, and noise read once. Gradients of activations and the drawing of noise are left out: it is a floor. FLOPs
    are those of `effort.step_flops`.
    """
    batch = first_batch(runs.variant, runs.sizes, setting, examples, budget.batch, runs.dtype)
    word = DTYPES[budget.precision].itemsize
    parameters = sum(p.numel() for p in runs.net.parameters())
    kept = len(buffers(budget.optimizer, dict(setting.descent.options)))
    results = activations(runs, setting, batch) * PRODUCTS.get(budget.precision, DTYPES[budget.precision]).itemsize
    noise = sum(draw.numel() for draw in batch.noise.values()) * word
    inputs = batch.x.numel() * examples.x.element_size() + noise
    return Floor(
        parameters=parameters,
        parameter_bytes=passes(kept) * parameters * word,
        activation_bytes=2 * results,
        input_bytes=inputs,
        flops=step_flops(runs, setting, examples, budget),
        held=(2 + kept) * parameters * word + results + inputs,
    )


def activations(runs: Runs, setting: Setting, batch: Batch) -> int:
    """Numbers that the matrix products and convolutions of a run's losses give, by a call of each on a batch."""
    hp = Hyper(runs.variant, [setting], False, batch.x.device, runs.dtype).at(0.0)
    with Results() as results:
        for loss in runs.variant.losses.values():
            loss(runs.net, batch.x, batch.noise, hp)
    return results.numbers


class Results(TorchDispatchMode):
    """Counts the numbers that come out of matrix products and convolutions: what torch's FLOP counter knows."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            first = found[0] if isinstance(found, tuple | list) else found
            self.numbers += first.numel()
        return found


def machine(device: torch.device, precision: str = "fp32") -> Machine:
    """What this device reaches, with the threads that torch has now: the best of some tries of each.

    The copy is of `COPY_BYTES`, or an eighth of the free memory; matrices are square, in the type that training
    multiplies in at this precision.
    """
    free, most = free_bytes(device), COPY_BYTES[device.type]
    size = most if free is None else min(most, free // 8)
    dtype = PRODUCTS.get(precision, DTYPES[precision])
    return Machine(bandwidth(device, size), rate(device, dtype, precision), torch.get_num_threads(), precision)


def bandwidth(device: torch.device, size: int) -> float:
    """Bytes/s of copying a tensor of `size` bytes, read and written counted."""
    source = torch.ones(max(size // 4, 1), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best(lambda: target.copy_(source), device)


def rate(device: torch.device, dtype: torch.dtype, precision: str) -> float:
    """FLOP/s, 2 a multiply-add, of the product of two large square matrices, by the fastest way that training has."""
    side = SIDES[device.type]
    a = torch.linspace(-1, 1, side * side, device=device).view(side, side).to(dtype)
    result = torch.empty_like(a)
    times: list[float] = []
    for large in (False, True):
        with arithmetic(device, precision, large):
            times.append(best(lambda: torch.mm(a, a, out=result), device))
    return 2 * side**3 / min(times)


def best(call: Callable[[], Tensor], device: torch.device) -> float:
    """The shortest of some calls, after one that does not count: seconds."""
    times: list[float] = []
    for _ in range(1 + REPEATS):
        begin = clock(device)
        call()
        times.append(clock(device) - begin)
    return min(times[1:])
