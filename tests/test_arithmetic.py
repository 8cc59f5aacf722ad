"""Products of float32 are float32, whichever library computes them, and torch is left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aebench import arithmetic as ours
from aebench import feed, graph, packing
from aebench.arithmetic import arithmetic, onednn, onednn_is_exact, onednn_is_faster
from aebench.feed import Examples
from aebench.metrics.cost import flops
from aebench.networks import MLP
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Hyper, Setting, train
from aebench.variants import VARIANTS

CPU = torch.device("cpu")


@pytest.fixture
def fresh_answer() -> Iterator[None]:
    for answer in (onednn_is_exact, onednn_is_faster):
        answer.cache_clear()
    yield
    for answer in (onednn_is_exact, onednn_is_faster):
        answer.cache_clear()


def allowed() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]


def error(product: Callable[[], torch.Tensor], exact: torch.Tensor) -> float:
    return float((product() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(
    "shape", [(128, 784, 512), (512, 128, 784), (16, 128, 64, 64), (16, 64, 128, 8), (3, 7, 300, 2)]
)
def test_large_products_are_still_of_float32(shape: tuple[int, ...]) -> None:
    """Against float64: as near as the BLAS is, hundreds of times nearer than bfloat16, in every layout."""
    *runs, rows, inner, columns = shape
    a, b = torch.randn(*runs, rows, inner), torch.randn(*runs, inner, columns)
    exact = a.double() @ b.double()
    for x, y in ((a, b), (a, b.mT.contiguous().mT), (a.mT.contiguous().mT, b)):
        with arithmetic(CPU, "fp32", large=True):
            assert error(lambda x=x, y=y: x @ y, exact) < 3e-6
        if onednn_is_exact():  # also where the other library is faster
            with onednn():
                assert error(lambda x=x, y=y: x @ y, exact) < 3e-6
    assert error(lambda: (a.bfloat16() @ b.bfloat16()).double(), exact) > 3e-4


def test_torch_is_left_as_it_was_found() -> None:
    before, seen = allowed(), list[str]()

    def fail() -> None:
        with arithmetic(CPU, "fp32", large=True):
            seen.append(allowed())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == ["bf16" if onednn_is_faster() else before]
    assert allowed() == before
    for precision in ("fp32", "bf16", "fp64"):
        with arithmetic(CPU, precision):
            assert allowed() == before
    torch.get_float32_matmul_precision()  # refused where the two ways to set it disagree


@pytest.mark.usefixtures("fresh_answer")
@pytest.mark.parametrize("reason", ["amx", "no avx-512", "old torch", "rounded"])
def test_a_processor_that_would_round_is_left_alone(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "amx":
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    elif reason == "no avx-512":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    elif reason == "old torch":
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    else:  # what oneDNN does on a processor of another kind
        product = torch.Tensor.__matmul__
        rounded: Any = lambda a, b: product(a.bfloat16(), b.bfloat16()).float()  # noqa: E731
        either: Any = lambda a, b: (rounded if allowed() == "bf16" else product)(a, b)  # noqa: E731
        monkeypatch.setattr(torch.Tensor, "__matmul__", either)
    assert not onednn_is_exact()
    before = allowed()
    with arithmetic(CPU, "fp32", large=True):
        assert allowed() == before


@pytest.mark.usefixtures("fresh_answer")
@pytest.mark.parametrize(
    ("name", "mkl", "exact", "faster"),
    [
        ("AMD EPYC 9554", True, True, True),
        ("AMD EPYC 9554", True, False, False),
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", True, True, False),
        ("Intel64 Family 6 Model 143 Stepping 8, GenuineIntel", True, True, False),
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", False, True, True),
    ],
)
def test_the_library_is_that_of_the_processor(
    name: str, mkl: bool, exact: bool, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "processor", lambda: name)
    monkeypatch.setattr(ours, "onednn_is_exact", lambda: exact)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert onednn_is_faster() == faster


def prepared(hidden: int, runs: int) -> packing.Pack:
    variant = resolve(VARIANTS, "variants", "vae")
    sizes, settings = variant.sizes(latent=8), [Setting(seed) for seed in range(runs)]
    nets = [packing.build(variant, (1, 8, 8), MLP((hidden, hidden)), sizes, s.seed) for s in settings]
    pack = packing.Pack(variant, nets, [Descent()] * runs, "adam")
    noise, examples = variant.noise(128, (1, 8, 8), sizes), Examples(torch.rand(256, 1, 8, 8))
    batches = feed.Feed(examples, 128, noise, range(runs), torch.float32)
    batches.fill(0)
    pack.prepare(batches.step(0), Hyper(variant, settings, pack.stacked, CPU, torch.float32).at(0.0))
    return pack


def test_products_of_a_wide_net_or_of_many_runs_are_large() -> None:
    assert not prepared(32, 1).large
    assert prepared(512, 1).large
    assert prepared(64, 16).large
    nothing = make_fx(lambda x: x + 1, tracing_mode="fake")(torch.ones(3))
    assert not graph.large_products([nothing.graph])


def test_training_asks_for_the_library_by_the_size_of_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each chunk, and in no step between that is not the loop's."""
    seen: list[str] = []
    step = packing.Pack.step
    monkeypatch.setattr(packing.Pack, "step", lambda *args: (seen.append(allowed()), step(*args))[1])
    monkeypatch.setattr(ours, "onednn_is_faster", lambda: True)
    variant, before = resolve(VARIANTS, "variants", "ae"), allowed()
    sizes, examples = variant.sizes(latent=4), Examples(torch.rand(256, 1, 8, 8))
    for hidden, expected in ((16, before), (1024, "bf16")):
        seen.clear()
        train(variant, MLP((hidden,)), sizes, [Setting()], Budget(3), examples)
        assert set(seen) == {expected}
        assert allowed() == before


# --- rewritings of a recorded step


def rewritten(fn: Callable[..., Any], *args: torch.Tensor, by: Callable[[Any], None]) -> tuple[Any, Any, str]:
    """What a function gives before and after, and the code after."""
    recorded = make_fx(fn, tracing_mode="fake")(*args)
    before, count = recorded(*args), flops(lambda: recorded(*args))
    by(recorded.graph)
    recorded.recompile()
    assert flops(lambda: recorded(*args)) == count
    return before, recorded(*args), recorded.code


def test_a_bias_of_each_run_is_added_with_the_product() -> None:
    a, b, row = torch.randn(3, 16, 8), torch.randn(3, 8, 4), torch.randn(3, 4)
    for fn in (lambda a, b, r: torch.bmm(a, b) + r[:, None], lambda a, b, r: r[:, None] + torch.bmm(a, b)):
        before, after, code = rewritten(fn, a, b, row, by=graph.add_biases)
        assert "baddbmm" in code
        assert (before - after).abs().max() < 1e-6 * before.abs().max()


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, b, r: torch.add(torch.bmm(a, b), r[:, None], alpha=2.0),
        lambda a, b, r: torch.bmm(a, b) + r[:1, None],  # one row for all runs
        lambda a, b, r: torch.bmm(a, b) + r[:, :1, None],  # one number a run
        lambda a, b, r: torch.bmm(a, b) + r.double()[:, None],
        lambda a, b, r: (product := torch.bmm(a, b)) * (product + r[:, None]),  # read twice
        lambda a, b, r: torch.bmm(a, b) + 1.0,
        lambda a, b, r: torch.bmm(a, b)[0] + r[0],
    ],
)
def test_no_other_sum_is(fn: Callable[..., torch.Tensor]) -> None:
    args = torch.randn(3, 16, 8), torch.randn(3, 8, 4), torch.randn(3, 4)
    before, after, code = rewritten(fn, *args, by=graph.add_biases)
    assert "baddbmm" not in code
    assert before.dtype == after.dtype
    assert (before - after).abs().max() <= 1e-6 * before.abs().max()


def test_parts_of_a_split_are_made_whole_where_that_pays() -> None:
    def halves(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean, logvar = x.chunk(2, -1)
        return mean.exp() + mean, logvar.exp()

    before, after, code = rewritten(halves, torch.randn(3, 16, 8), by=graph.pieces_whole)
    assert code.count("contiguous.default(") == 1, "of the part that is read twice"
    assert all(map(torch.equal, before, after))
    rows: Any = lambda x: sum(part.exp() + part for part in x.chunk(2, 0))  # noqa: E731
    assert "contiguous" not in rewritten(rows, torch.randn(4, 6), by=graph.pieces_whole)[2], "these lie in one piece"


def test_a_function_of_torch_for_every_operation_that_is_called_directly() -> None:
    """The same bits, from the same arguments."""
    aten: Any = torch.ops.aten
    x, y, batch, row = torch.rand(4, 6) + 0.5, torch.rand(4, 6) + 0.5, torch.rand(2, 4, 6), torch.rand(6)
    others = {
        aten.mul.Scalar: (x, 2.0), aten.div.Scalar: (x, 3.0), aten.pow.Tensor_Scalar: (x, 2),
        aten.sum.dim_IntList: (batch, [1], True), aten.mean.dim: (batch, [1, 2]), aten.cat.default: ([x, y], 1),
        aten.transpose.int: (batch, 1, 2), aten.unsqueeze.default: (x, 1), aten.reshape.default: (x, [6, 4]),
        aten.select.int: (batch, 0, 1), aten.mm.default: (x, y.t()), aten.bmm.default: (batch, batch.mT),
        aten.addmm.default: (row, x, torch.rand(6, 6)), aten.baddbmm.default: (torch.rand(2, 1, 4), batch, batch.mT),
    }  # fmt: skip
    for operation, function in graph.DIRECT.items():
        arity = sum(not argument.kwarg_only for argument in operation._schema.arguments)
        args = others.get(operation, (x, y)[:arity])
        assert torch.equal(operation(*args), function(*args)), operation
