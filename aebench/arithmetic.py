"""How a device computes products of float32: exactly, in TF32, or by the faster of two libraries."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from aebench.device import processor

if TYPE_CHECKING:
    import torch


@contextmanager
def arithmetic(device: torch.device, precision: str, large: bool = False) -> Generator[None]:
    """Products and convolutions of float32 as this precision has them; torch is left as it was found.

    On CUDA in TF32 for "tf32", else exact. On a CPU they are exact whatever the precision; `large` products are left to
    oneDNN where that is faster (`onednn_is_faster`); meanwhile torch refuses to tell
    `torch.get_float32_matmul_precision`.
    """
    import torch

    if device.type == "cuda":
        fast = precision == "tf32"
        cudnn: Any = torch.backends.cudnn
        before = (torch.get_float32_matmul_precision(), cudnn.allow_tf32)
        torch.set_float32_matmul_precision("high" if fast else "highest")
        cudnn.allow_tf32 = fast
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            cudnn.allow_tf32 = before[1]
    elif device.type == "cpu" and large and onednn_is_faster():
        with onednn():
            yield
    else:
        yield


@contextmanager
def onednn() -> Generator[None]:
    """torch hands products of float32 to oneDNN instead of its BLAS if oneDNN may use bfloat16 for them."""
    import torch

    library: Any = torch.backends.mkldnn
    products = library.matmul
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


@cache
def onednn_is_faster() -> bool:
    """Whether large products are oneDNN's: where it is exact, but where torch has MKL not on Intel's processors.

    For these MKL is made, and a step takes 1.07 to 1.3 times as long with oneDNN; on AMD's processors oneDNN is up to
    twice as fast (tests/benchmarks/first_layer.py). It is not timed here: a run's bits are not to depend on a clock.
    """
    import torch

    return not (torch.backends.mkl.is_available() and "intel" in processor().lower()) and onednn_is_exact()


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN computes in float32 although it may use bfloat16: with AVX-512 but no AMX it has nothing else.

    Each kind of product is tried, on numbers that bfloat16 does not hold.
    """
    import torch

    able, library = torch.backends.cpu.get_cpu_capability(), torch.backends.mkldnn
    if able != "AVX512" or not hasattr(library, "matmul") or not library.is_available():
        return False
    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: True)():
        return False
    with onednn():
        for shape in ((64, 64), (256, 256), (4, 64, 64), (16, 128, 128)):
            x = torch.full(shape, 1 + 2**-12)
            if ((x @ x) / shape[-1] - (1 + 2**-12) ** 2).abs().max() > 2**-20:
                return False
    return True
