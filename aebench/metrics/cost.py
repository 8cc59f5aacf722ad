"""What a net costs: its size, its arithmetic, its speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge

from aebench.clock import clock
from aebench.metrics import Metric, NoOptions, Value
from aebench.variant import Model

if TYPE_CHECKING:
    from torch import Tensor


def size(model: Model, x: Tensor, options: NoOptions) -> dict[str, float]:
    """Trainable numbers, and FLOPs (2 a multiply-add) of one example by torch's own counter."""
    parameters = sum(p.numel() for p in model.net.parameters() if p.requires_grad)
    h = model.encode(x)
    return {
        "parameters": float(parameters),
        "flops_encode": flops(lambda: model.encode(x)) / len(x),
        "flops_decode": flops(lambda: model.decode(h)) / len(x),
    }


def flops(call: Callable[[], Any]) -> float:
    """FLOPs of matrix products and convolutions in a call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


SIZE = Metric(
    name="size",
    about="parameters and FLOPs",
    values=lambda options: {
        "parameters": Value("numbers", "lower", "trainable parameters"),
        "flops_encode": Value("FLOPs per example", "lower", "matrix products and convolutions of encoding"),
        "flops_decode": Value("FLOPs per example", "lower", "matrix products and convolutions of decoding"),
    },
    fn=size,
    kind="model",
)


ENOUGH, LEAST = 0.25, 4
"""Seconds after which a call is not repeated, and the calls that are made even so (the first is a warm-up)."""


class Timing(NamedTuple):
    """`batch`: examples in a call that measures examples/s. `repeats`: calls, at most; the median is reported."""

    batch: Annotated[int, Ge(1)] = 500
    repeats: Annotated[int, Ge(1)] = 20


def throughput(model: Model, x: Tensor, options: Timing) -> dict[str, float]:
    """Medians over calls, after a warm-up, synchronised on a GPU."""
    batch = x.repeat(-(-options.batch // len(x)), *[1] * (x.ndim - 1))[: options.batch]
    one, h = x[:1], model.encode(batch)
    h_one = h[:1]
    return {
        "encode_latency_ms": 1e3 * seconds(lambda: model.encode(one), x, options.repeats),
        "decode_latency_ms": 1e3 * seconds(lambda: model.decode(h_one), x, options.repeats),
        "encode_examples_per_s": len(batch) / seconds(lambda: model.encode(batch), x, options.repeats),
        "decode_examples_per_s": len(batch) / seconds(lambda: model.decode(h), x, options.repeats),
    }


def seconds(call: Callable[[], Any], x: Tensor, repeats: int) -> float:
    """Median wall time of a call on the device of x; the first fifth of the calls are a warm-up."""
    times: list[float] = []
    calls, begin = -(-repeats // 4) + repeats, clock(x.device)
    end = begin
    while len(times) < calls and (len(times) < LEAST or end - begin < ENOUGH):
        start = clock(x.device)
        call()
        end = clock(x.device)
        times.append(end - start)
    return statistics.median(times[-(-len(times) // 5) :])


THROUGHPUT = Metric(
    name="throughput",
    about="speed of one trained net, called directly on the machine that evaluates it",
    values=lambda options: {
        "encode_latency_ms": Value("ms for one example", "lower", "encode one example"),
        "decode_latency_ms": Value("ms for one example", "lower", "decode one code"),
        "encode_examples_per_s": Value("examples/s", "higher", f"encode in batches of {options.batch}"),
        "decode_examples_per_s": Value("examples/s", "higher", f"decode in batches of {options.batch}"),
    },
    fn=throughput,
    kind="model",
    options=Timing,
)
