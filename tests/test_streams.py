"""The random streams: every draw a function of (seed, purpose, name, index), worked out here a second time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aebench import feed as feeds
from aebench import packing, streams
from aebench.feed import BINARIZE, BLOCK, Examples, Feed, blocks, picked
from aebench.networks import MLP
from aebench.train import Budget, Setting, train
from aebench.variant import Noise, Normal, Uniform
from aebench.variants.denoising import DENOISING_AE
from aebench.variants.variational import VAE


def source(text: str) -> torch.Generator:
    """A generator at the start of the stream that the text names."""
    return torch.Generator().manual_seed(int(hashlib.sha256(text.encode()).hexdigest()[:14], 16))


# ---- keys


@pytest.mark.parametrize(
    ("arguments", "key"),
    [  # the first 14 hexadecimal digits that `sha256sum` prints
        ((0, "init"), 0xB8E1BFB40F49CF),
        ((7, "order", "", 2), 0x453DABB6FAA5F1),
        ((3, "noise", "z", 5), 0x4CF389DF3730CF),
        ((123456789, "split", "pinwheel"), 0x635D06302DFDAD),
        ((0, "evaluation", "energy/z", 1), 0x75D71AA4575E52),
    ],
)
def test_keys_never_change(arguments: tuple[Any, ...], key: int) -> None:
    assert streams.key(*arguments) == key


def test_keys_differ_in_each_part() -> None:
    purposes = ("split", "init", "order", "noise", "evaluation")
    keys = {streams.key(s, p, n, i) for s in range(12) for p in purposes for n in ("", "z", "x") for i in range(12)}
    assert len(keys) == 12 * 5 * 3 * 12
    assert all(0 <= key < 2**56 for key in keys)


def test_a_generator_starts_at_its_key() -> None:
    a = torch.rand(3, generator=streams.generator(4, "noise", "z", 9))
    assert torch.equal(a, torch.rand(3, generator=source("4/noise/z/9")))


# ---- order


@pytest.mark.parametrize(
    ("n", "start", "stop"), [(7, 0, 7), (7, 0, 30), (7, 5, 23), (7, 14, 15), (3, 100, 200), (1, 0, 4)]
)
def test_order_is_an_endless_row_of_permutations(n: int, start: int, stop: int) -> None:
    epochs = [torch.randperm(n, generator=source(f"11/order//{epoch}")) for epoch in range(stop // n + 1)]
    order = streams.order(11, n, start, stop)
    assert order.dtype == torch.int64
    assert torch.equal(order, torch.cat(epochs)[start:stop])


def test_every_epoch_has_every_example_once() -> None:
    order = streams.order(0, 50, 0, 500).view(10, 50)
    assert torch.equal(order.sort(1).values, torch.arange(50).expand(10, 50))
    assert len({tuple(epoch.tolist()) for epoch in order}) == 10
    assert not torch.equal(order, streams.order(1, 50, 0, 500).view(10, 50))


# ---- noise


@pytest.mark.parametrize(("spec", "sampler"), [(Normal((3, 5)), torch.randn), (Uniform((3, 5)), torch.rand)])
def test_a_chunk_of_noise(spec: Normal | Uniform, sampler: Any) -> None:
    chunk = streams.noise_chunk(2, "z", 6, spec)
    assert torch.equal(chunk, sampler((32, 3, 5), generator=source("2/noise/z/6")))
    assert chunk.dtype == torch.float32
    assert chunk.is_contiguous()
    others = [(2, "z", 7), (2, "y", 6), (3, "z", 6)]
    assert not any(torch.equal(chunk, streams.noise_chunk(*other, spec)) for other in others)


def test_noise_has_its_distribution() -> None:
    normal = streams.noise_chunk(0, "z", 0, Normal((10_000,)))
    assert normal.mean().item() == pytest.approx(0, abs=0.01)  # 320,000 draws: 5.6 standard errors
    assert normal.var().item() == pytest.approx(1, abs=0.015)
    uniform = streams.noise_chunk(0, "z", 0, Uniform((10_000,)))
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.003)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.001)


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_default_type_of_the_caller_changes_no_noise(float64_by_default: None) -> None:
    for spec, sampler in ((Normal((4,)), torch.randn), (Uniform((4,)), torch.rand)):
        drawn = streams.noise_chunk(0, "z", 0, spec)
        assert drawn.dtype == torch.float32
        assert torch.equal(drawn, sampler((32, 4), generator=source("0/noise/z/0"), dtype=torch.float32))


def test_the_default_type_of_the_caller_changes_no_weights(float64_by_default: None) -> None:
    drawn = packing.build(VAE, (2,), MLP(hidden=(4,)), VAE.sizes(), 0)
    torch.set_default_dtype(torch.float32)
    usual = packing.build(VAE, (2,), MLP(hidden=(4,)), VAE.sizes(), 0)
    assert all(torch.equal(a.float(), b) for a, b in zip(drawn.parameters(), usual.parameters(), strict=True))


def test_the_default_device_of_the_caller_changes_no_order_and_no_weights() -> None:
    """Both are drawn on the CPU; `meta` stands for any device here."""
    before = built()
    with torch.device("meta"):
        order, weights_ = streams.order(0, 5, 0, 10), built()
    assert order.device.type == weights_.device.type == "cpu"
    assert torch.equal(order, streams.order(0, 5, 0, 10))
    assert torch.equal(before, weights_)


# ---- what the loop is fed


def feed(
    seeds: list[int], n: int = 10, batch: int = 4, noise: Noise | None = None, dtype: torch.dtype = torch.float32
) -> Feed:
    examples = Examples(torch.arange(n, dtype=torch.float32)[:, None])
    return Feed(examples, batch, {"z": Normal((batch, 2))} if noise is None else noise, seeds, dtype)


def steps(feed: Feed, chunk: int, runs: int) -> tuple[Tensor, Tensor]:
    """Examples `[runs, 32, batch]` and noise `[runs, 32, *shape]` of a chunk."""
    feed.fill(chunk)
    batches = [feed.step(i) for i in range(32)]
    x = [b.x if b.x_dim == 0 else b.x.expand(runs, *b.x.shape) for b in batches]
    z = [b.noise["z"] if b.noise_dim == 0 else b.noise["z"].expand(runs, *b.noise["z"].shape) for b in batches]
    return torch.stack(x, 1)[..., 0], torch.stack(z, 1)


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 10), (3, 8), (1, 2)], ids=["tail", "whole", "larger", "one"])
def test_no_example_is_dropped_and_a_batch_may_exceed_the_data(n: int, batch: int) -> None:
    seen = torch.cat([steps(feed([5], n, batch), chunk, 1)[0][0] for chunk in range(3)]).flatten()
    assert len(seen) == 3 * 32 * batch
    assert torch.equal(seen.long(), streams.order(5, n, 0, len(seen)))
    assert len(seen.unique()) == n


def test_a_chunk_needs_no_chunk_before_it() -> None:
    after, straight = feed([0, 1]), feed([0, 1])
    for chunk in range(3):
        steps(after, chunk, 2)
    for a, b in zip(steps(after, 3, 2), steps(straight, 3, 2), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("seeds", [[0], [0, 0, 0], [0, 1], [3, 0, 3, 7, 0], [9, 8, 7]], ids=str)
def test_a_run_is_fed_by_its_seed_and_not_by_its_pack(seeds: list[int]) -> None:
    """Each run gets the order and noise of its own seed, whoever trains beside it and wherever it stands."""
    x, z = steps(feed(seeds), 2, len(seeds))
    for run, seed in enumerate(seeds):
        assert torch.equal(x[run].flatten().long(), streams.order(seed, 10, 2 * 128, 3 * 128))
        assert torch.equal(z[run], torch.randn((32, 4, 2), generator=source(f"{seed}/noise/z/2")))


@pytest.mark.parametrize("room", [True, False])
def test_a_permutation_is_drawn_once_an_epoch_where_there_is_room(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 examples in batches of 4, 128 a chunk; the batches are the same either way."""
    drawn: list[tuple[int, int]] = []
    draw = streams.permutation
    monkeypatch.setattr(streams, "permutation", lambda *key: (drawn.append((key[0], key[2])), draw(*key))[1])
    monkeypatch.setattr(feeds, "KEPT", 2 * 300 * 8 if room else 2 * 300 * 8 - 1)
    seen = feed([5, 6], 300)
    straight = {seed: torch.cat([draw(seed, 300, epoch) for epoch in range(3)]) for seed in (5, 6)}
    for i, chunk in enumerate((0, 1, 2, 3, 4, 1, 4)):  # 640 examples, then back and on
        if i == 5:
            assert len(drawn) == 2 * (3 if room else 7)
            assert set(drawn) == {(seed, epoch) for seed in (5, 6) for epoch in range(3)}
        x = steps(seen, chunk, 2)[0]
        for run, seed in enumerate(straight):
            assert torch.equal(x[run].flatten().long(), straight[seed][128 * chunk : 128 * (chunk + 1)])


def test_what_all_runs_share_has_no_axis_of_runs() -> None:
    for seeds, x_dim in (([4], None), ([4, 4], None), ([4, 5], 0)):
        one = feed(seeds)
        one.fill(0)
        batch = one.step(0)
        assert (batch.x_dim, batch.noise_dim) == (x_dim, x_dim)
        assert batch.x.shape == (4, 1) if x_dim is None else (2, 4, 1)


def test_noise_is_drawn_in_float32_and_then_cast() -> None:
    x, z = steps(feed([0, 1], dtype=torch.float64), 0, 2)
    assert x.dtype == z.dtype == torch.float64
    assert torch.equal(z, steps(feed([0, 1]), 0, 2)[1].double())


@pytest.mark.parametrize("rows", [torch.tensor([4, 0, 4]), torch.tensor([[1, 2], [5, 1], [0, 0]]), slice(1, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rows_are_picked_as_by_an_index(rows: torch.Tensor | slice, dtype: torch.dtype) -> None:
    x = torch.arange(6 * 2 * 3).view(6, 2, 3).to(dtype)
    for tensor in (x, x.transpose(1, 2), x[:, 0]):
        assert torch.equal(picked(tensor, rows), tensor[rows])
    factor = 255 if dtype == torch.uint8 else 1
    assert torch.equal(Examples(x).take(rows, torch.float64) * factor, x[rows].double())


def test_variants_share_the_noise_of_a_name() -> None:
    """And one more stream, or the data's own, changes no other."""
    plain = steps(feed([0, 1]), 0, 2)[1]
    more = feed([0, 1], noise={"a": Uniform((3,)), "z": Normal((4, 2))})
    assert torch.equal(steps(more, 0, 2)[1], plain)
    binary = Feed(Examples(torch.rand(10, 1), binarize=True), 4, {"z": Normal((4, 2))}, [0, 1], torch.float32)
    assert torch.equal(steps(binary, 0, 2)[1], plain)


# ---- evaluation


def test_blocks_cover_a_part_once_in_order() -> None:
    n = 2 * BLOCK + 7
    examples = Examples(torch.arange(n, dtype=torch.float32)[:, None])
    got = list(blocks(examples, lambda m: {"z": Normal((m, 2))}, "energy", [3, 1, 3], torch.float64))
    assert torch.equal(torch.cat([b.x for b in got])[:, 0], torch.arange(n).double())
    assert [b.x_dim for b in got] == [None] * 3
    for index, batch in enumerate(got):
        m = len(batch.x)
        expected = [torch.randn((1, m, 2), generator=source(f"{s}/evaluation/energy/z/{index}"))[0] for s in (3, 1, 3)]
        assert torch.equal(batch.noise["z"], torch.stack(expected).double())
    single = list(blocks(examples, lambda m: {"z": Normal((m, 2))}, "energy", [1], torch.float64))
    assert torch.equal(single[2].noise["z"], got[2].noise["z"][1])


def test_all_metrics_see_the_same_binarisation() -> None:
    examples = Examples(torch.full((6, 5), 0.5), binarize=True)
    a, b = (next(iter(blocks(examples, lambda m: {}, label, [0, 1], torch.float32))) for label in ("a", "b"))
    assert torch.equal(a.x, b.x)
    assert a.x_dim == 0
    for run in (0, 1):
        u = torch.rand((1, 6, 5), generator=source(f"{run}/evaluation/{BINARIZE}/0"))[0]
        assert torch.equal(a.x[run], (u < 0.5).float())


# ---- initial weights


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().cpu().flatten() for p in net.parameters()])


def built(seed: int = 0) -> Tensor:
    return weights(packing.build(VAE, (2,), MLP(hidden=(4,)), VAE.sizes(), seed))


def test_weights_come_from_the_init_stream_alone() -> None:
    torch.manual_seed(0)
    before = built()
    torch.manual_seed(1)
    torch.rand(10)
    assert torch.equal(before, built())
    torch.manual_seed(int(hashlib.sha256(b"0/init//0").hexdigest()[:14], 16))
    first = nn.Linear(2, 4)
    assert torch.equal(before[:8], first.weight.detach().flatten())
    assert not torch.equal(before, built(1))


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    numpy_before: Any = np.random.get_state()  # noqa: NPY002
    before = torch.get_rng_state()
    examples = Examples(torch.rand(20, 2, generator=source("x")), binarize=True)
    train(DENOISING_AE, MLP(hidden=(4,)), DENOISING_AE.sizes(), [Setting(0), Setting(1)], Budget(40, 8), examples)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])  # noqa: NPY002


# ---- every device


DEVICES = [
    pytest.param(
        name, marks=pytest.mark.skipif(not available, reason=f"needs {name}, which this machine does not have")
    )
    for name, available in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
]


@pytest.mark.parametrize("device", DEVICES)
def test_order_is_equal_on_every_device(device: str) -> None:
    examples = Examples(torch.arange(10, dtype=torch.float32)[:, None].to(device))
    there = Feed(examples, 4, {}, [0, 1], torch.float32)
    there.fill(1)
    here = feed([0, 1], noise={})
    here.fill(1)
    assert all(torch.equal(there.step(i).x.cpu(), here.step(i).x) for i in range(32))


@pytest.mark.parametrize("device", DEVICES)
def test_noise_is_drawn_on_the_device(device: str) -> None:
    a, b = (streams.noise_chunk(0, "z", 0, Normal((5,)), device) for _ in range(2))
    assert a.device.type == device
    assert a.dtype == torch.float32
    assert torch.equal(a, b)


@pytest.mark.parametrize("device", DEVICES)
def test_weights_are_equal_on_every_device(device: str) -> None:
    """The whole loop runs there; a run of learning rate 0 keeps the weights that the CPU drew."""
    examples = Examples(torch.rand(20, 2, generator=source("x")).to(device))
    setting = [Setting(0, descent=Setting().descent._replace(lr=0.0)), Setting(1)]
    state = train(VAE, MLP(hidden=(4,)), VAE.sizes(), setting, Budget(2, 8), examples).runs.state
    assert all(tensor.device.type == device for tensor in state.values())
    assert torch.equal(torch.cat([t[0].cpu().flatten() for t in state.values()]), built())
