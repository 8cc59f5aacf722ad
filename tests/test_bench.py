"""`aebench bench`: the floor counted by hand, medians of interleaved samples, tables, documents, figures, errors."""

from __future__ import annotations

import csv
import importlib
import io
import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats as reference

from aebench import bench, growth, optim, pace, roofline, stopwatch
from aebench.cli import main, printing
from aebench.cli.bench import pack_sizes, show, write
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.networks import MLP, Conv, Linear
from aebench.optim import Descent
from aebench.packing import Runs, build
from aebench.plots.bench import figures
from aebench.plugins import resolve
from aebench.train import Budget, Setting
from aebench.variants import VARIANTS

BATCH = 128
CPU = torch.device("cpu")
DESCENT = Descent()
SMALL = {"kind": "mlp", "hidden": [8]}
MACHINE = roofline.Machine(bandwidth=10e9, rate=100e9, threads=1, precision="fp32")


def floor(name: str, network: Any, shape=(1, 28, 28), precision="fp32", descent=DESCENT, **budget: Any):
    """The floor of a variant with 16 latent units."""
    v = resolve(VARIANTS, "variants", name)
    sizes = v.sizes(latent=16)
    net = build(v, shape, network, sizes, 0).to(torch.float64 if precision == "fp64" else torch.float32)
    x = torch.rand(2 * BATCH, *shape, generator=torch.Generator().manual_seed(0))
    given = Budget(32, BATCH, precision=precision, **budget)
    return roofline.floor(Runs(v, net, sizes, [0], {}, None), Setting(descent=descent), Examples(x), given)


# --- what a step must do


def test_the_floor_of_a_vae_by_hand() -> None:
    """784-512-16: 36 MB, and three products a layer but for the gradient of the pixels: 0.53 GFLOP."""
    found = floor("vae", MLP((512,)))
    widths = [(784, 512), (512, 32), (16, 512), (512, 784)]
    weights = sum(i * o for i, o in widths)
    assert found.parameters == weights + 512 + 32 + 512 + 784 == 829_232
    assert found.parameter_bytes == 10 * 829_232 * 4
    assert found.activation_bytes == 2 * 4 * BATCH * (512 + 32 + 512 + 784)
    assert found.input_bytes == 4 * BATCH * (784 + 16)
    assert found.bytes == pytest.approx(36e6, rel=0.02)
    assert found.flops == 2 * BATCH * (3 * weights - 784 * 512)
    assert found.flops == pytest.approx(0.53e9, rel=0.02)
    # weights, gradients and Adam's two moments; activations; batch and noise
    assert found.held == 4 * (4 * 829_232 + BATCH * (512 + 32 + 512 + 784) + BATCH * (784 + 16))


def test_the_floor_of_convolutions_by_hand() -> None:
    """8 x 8 -> 4 x 4 x 8 -> 2 x 2 x 16 -> 16 and back: a multiply-add for each weight at each place of the output."""
    found = floor("ae", Conv((8, 16)), (1, 8, 8))
    convolutions = [(1 * 8 * 16, 4 * 4), (8 * 16 * 16, 2 * 2), (16 * 8 * 16, 2 * 2), (8 * 1 * 16, 4 * 4)]
    layers = [2 * BATCH * weights * places for weights, places in convolutions] + [2 * BATCH * 64 * 16] * 2
    assert found.flops == 3 * sum(layers) - layers[0]
    results = 8 * 16 + 16 * 4 + 16 + 64 + 8 * 16 + 64
    assert found.activation_bytes == 2 * 4 * BATCH * results


@pytest.mark.parametrize(
    ("optimizer", "options", "words"),
    [
        ("adam", (), 10), ("adamw", (), 10), ("rmsprop", (), 8), ("adagrad", (), 8), ("sgd", (), 6),
        ("sgd", (("momentum", 0.0),), 6), ("sgd", (("momentum", 0.9),), 8), ("rmsprop", (("momentum", 0.9),), 10),
    ],
)  # fmt: skip
def test_the_words_of_each_optimiser(optimizer: str, options: Any, words: int) -> None:
    """As many as torch keeps: its state after a step, counted."""
    found = floor("linear_ae", Linear(), (8,), descent=Descent(options=options), optimizer=optimizer)
    assert found.parameter_bytes == words * 4 * (8 * 16 + 16 + 16 * 8 + 8)
    p = torch.nn.Parameter(torch.ones(7))
    kind = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}[optimizer]
    its = getattr(torch.optim, kind)([p], lr=0.1, **dict(options))
    p.grad = torch.ones(7)
    its.step()
    kept = [t for t in its.state[p].values() if isinstance(t, torch.Tensor) and t.numel() == 7]
    assert words == 6 + 2 * len(kept)


def test_other_words_and_precisions() -> None:
    usual, double = floor("denoising_ae", Linear(), (8,)), floor("denoising_ae", Linear(), (8,), precision="fp64")
    assert double.parameter_bytes == 2 * usual.parameter_bytes
    assert double.activation_bytes == 2 * usual.activation_bytes == 2 * 2 * 4 * BATCH * (16 + 8)
    assert usual.input_bytes == 4 * BATCH * (8 + 8)  # pixels and their noise
    with pytest.raises(InputError, match=r"unknown optimizer 'adm': did you mean adam"):
        optim.buffers("adm", {})


def test_bytes_are_read_as_they_are_stored() -> None:
    v = resolve(VARIANTS, "variants", "ae")
    net = build(v, (8,), Linear(), v.sizes(latent=4), 0)
    x = torch.zeros(200, 8, dtype=torch.uint8)
    found = roofline.floor(Runs(v, net, v.sizes(latent=4), [0], {}, None), Setting(), Examples(x), Budget(32, BATCH))
    assert found.input_bytes == BATCH * 8


def test_a_tied_matrix_is_counted_once_and_used_twice() -> None:
    """Its encoder is no module of its own."""
    found = floor("tied_ae", Linear(), (64,))
    assert found.parameters == 64 * 16 + 64
    assert found.activation_bytes == 2 * 4 * BATCH * (16 + 64)


def test_the_longer_of_the_two_is_the_floor() -> None:
    least = roofline.Floor(1, 3_000, 1_500, 500, flops=1e5, held=0)
    slow = roofline.Machine(bandwidth=1e9, rate=1e9, threads=1, precision="fp32")
    assert (least.bytes, least.seconds(slow), least.bound(slow)) == (5_000, 1e-4, "compute")
    wide = roofline.Machine(bandwidth=1e6, rate=1e9, threads=1, precision="fp32")
    assert (least.seconds(wide), least.bound(wide)) == (5e-3, "memory")


def test_the_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes read and written, 2 FLOPs a multiply-add, over the shortest of the times; the first does not count."""
    ticks = iter(itertools.accumulate(itertools.cycle([0.0, 0.001, 0.0, 3.0, 0.0, 2.0, 0.0, 4.0, 0.0, 2.5, 0.0, 5.0])))
    monkeypatch.setattr(roofline, "clock", lambda device: next(ticks))
    monkeypatch.setattr(roofline, "SIDES", {"cpu": 8})
    monkeypatch.setattr(roofline, "free_bytes", lambda device: 8 * 4096)
    found = roofline.machine(CPU)
    assert found.bandwidth == pytest.approx(2 * 4096 / 2.0)
    assert found.rate == pytest.approx(2 * 8**3 / 2.0)
    assert found.threads == torch.get_num_threads()


# --- samples and their medians


@pytest.mark.parametrize("n", [1, 5, 6, 7, 8, 9, 12, 20, 30])
def test_the_interval_of_a_median(n: int) -> None:
    """Order statistics by the binomial distribution: the narrowest symmetric pair that covers 95 %."""
    values = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    found = stopwatch.median_interval(values)
    assert (found.median, found.n) == (np.median(values), n)

    def cover(k: int) -> float:
        return float(reference.binom.cdf(n - k, n, 0.5) - reference.binom.cdf(k - 1, n, 0.5))

    enough = [k for k in range(1, n // 2 + 1) if cover(k) >= 0.95]
    if not enough:
        assert n < 6
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        return
    assert (found.low, found.high) == (max(enough), n + 1 - max(enough))


def test_the_interval_of_a_median_covers_it() -> None:
    """Of an exponential distribution, whose median is ln 2."""
    draws = np.random.default_rng(0).exponential(size=(4000, 10))
    found = [stopwatch.median_interval(row) for row in draws]
    share = np.mean([m.low <= math.log(2) <= m.high for m in found])
    assert share == pytest.approx(1 - 2 * reference.binom.cdf(1, 10, 0.5), abs=0.01)


def a_case(variant: str = "vae", sizes: tuple[int, ...] = (1, 4), **more: Any) -> stopwatch.Case:
    wanted = bench.Wanted((variant,), (SMALL,), sizes=sizes, **more)
    ((case,), _) = bench.cases(wanted)
    return case


class Drifting:
    """A machine that gets slower by a tenth with each pair of calls: alone 1 ms, packed half of it a run."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, case: stopwatch.Case, size: int) -> stopwatch.Sample:
        self.calls.append(size)
        slower = 1.1 ** ((len(self.calls) - 1) // 2)
        return stopwatch.Sample((1e-3 if size == 1 else 0.5e-3) * slower, 0.25)


def test_samples_of_pack_sizes_alternate() -> None:
    watch = Drifting()
    found = stopwatch.interleaved(a_case(), (1, 4, 8), 3, watch)
    assert watch.calls == [1, 4, 8, 8, 4, 1, 1, 4, 8]
    assert {size: len(samples) for size, samples in found.items()} == {1: 3, 4: 3, 8: 3}


def test_ratios_are_of_pairs() -> None:
    """A drift of 10 % moves every time and no ratio."""
    case = a_case()
    samples = stopwatch.interleaved(case, (1, 4), 12, Drifting())
    least = floor("vae", MLP((8,)), (1, 8, 8))
    alone, packed = (bench.row(case, size, samples, least, MACHINE) for size in (1, 4))
    pairs = [b.seconds / a.seconds for a, b in zip(samples[1], samples[4], strict=True)]
    assert packed["ratio"] == pytest.approx(float(np.median(pairs)))
    assert (packed["ratio_low"], packed["ratio_high"]) == pytest.approx((0.5, 0.5))
    assert packed["ms_high"] > 1.2 * packed["ms_low"]
    assert math.isnan(alone["ratio"])
    assert packed["ms"] == pytest.approx(1e3 * float(np.median([s.seconds for s in samples[4]])))
    assert packed["examples_per_s"] == pytest.approx(128 / (packed["ms"] / 1e3))
    assert packed["share"] == pytest.approx(least.seconds(MACHINE) / (packed["ms"] / 1e3))
    assert packed["compile_s"] == 0.25


def test_samples_are_taken_of_the_loop() -> None:
    """Seconds of one step of one run."""
    watch = stopwatch.Stopwatch(CPU)
    watch.machines[1] = MACHINE
    case = a_case("ae", (2,))
    found = watch(case, 2)
    assert 0 < found.seconds < 1
    assert found.compile > 0
    assert watch.machine(case) is MACHINE
    assert watch.floor(case).parameters == 64 * 8 + 8 + 8 * 16 + 16 + 16 * 8 + 8 + 8 * 64 + 64


def test_each_sample_is_of_a_training_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that differ among themselves by a tenth, and hardly within: the interval is as wide as it should be."""
    rng, made = np.random.default_rng(0), [0]

    def train(
        variant: Any, network: Any, sizes: Any, settings: Any, budget: Budget, *rest: Any, on_point: Any, **more: Any
    ) -> Any:
        made[0] += 1
        slow = float(rng.lognormal(0.0, 0.1))
        for step in range(32, budget.steps + 1, 32):
            now[0] += 32 * slow * float(rng.uniform(0.999, 1.001))
            on_point(step, None)
        return SimpleNamespace(seconds={"compile": 0.0}, engine={})

    now = [0.0]
    monkeypatch.setattr(pace, "train", train)
    monkeypatch.setattr(pace, "clock", lambda device: now[0])
    watch, case, hits = stopwatch.Stopwatch(CPU), a_case("ae", (1,)), 0
    for _ in range(200):
        samples = stopwatch.interleaved(case, [1], 6, watch)[1]
        found = stopwatch.median_interval([sample.seconds for sample in samples])
        hits += found.low <= 1.0 <= found.high
    assert made[0] == 200 * 6
    assert hits / 200 == pytest.approx(1 - 2 * 0.5**6, abs=0.04)


# --- what is timed


def test_every_trained_variant_on_every_network() -> None:
    found, left_out = bench.cases(bench.Wanted())
    pairs = {(case.spec["variant"], case.spec["network"]["kind"]) for case in found}
    closed = {name for name in VARIANTS if resolve(VARIANTS, "variants", name).fit}
    assert {name for name, _ in pairs} | closed == set(VARIANTS)
    assert set(left_out) == closed == {"pca", "ppca", "wiener"}
    for name in set(VARIANTS) - closed:
        kinds = resolve(VARIANTS, "variants", name).networks or ("linear", "mlp", "conv")
        assert {kind for variant, kind in pairs if variant == name} == set(kinds)
    wide = next(case for case in found if case.spec["variant"] == "overcomplete_ae")
    assert wide.spec["sizes"]["latent"] == 96
    assert [len(case.runs) for case in found] == [16] * len(found)
    assert {run.spec["seed"] for run in found[0].runs} == set(range(16))


def test_what_does_not_fit_the_data_is_left_out() -> None:
    found, left_out = bench.cases(bench.Wanted(("ae", "linear_ae"), data="pinwheel"))
    assert [case.name for case in found] == ["ae on linear", "ae on mlp 64-64", "linear_ae on linear"]
    assert "'conv' takes images" in left_out["ae on conv"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"variants": ("vea",)}, "unknown variant 'vea': did you mean vae?"),
        ({"variants": ("pca",)}, "variant 'pca' is a closed form: no step is taken, so there is nothing to time"),
        ({"data": "digitz"}, "unknown data 'digitz': did you mean digits?"),
        ({"networks": ("mlp", "mpl")}, "unknown network 'mpl': did you mean mlp?"),
        ({"variants": ("linear_ae",), "networks": ("mlp",)},
         "network: variant 'linear_ae' is defined for the network linear, not 'mlp'"),
        ({"variants": ("vae",), "networks": ({"kind": "mlp", "hiden": [3]},)},
         "network: unknown key 'hiden': did you mean hidden?"),
        ({"precision": "fp16"},
         "train.precision: unknown precision 'fp16'"),
        ({"steps": 33, "variants": ("vae",), "networks": ("mlp",)},
         "--steps 33: the loop tells the time every 32; a multiple, up to 1024"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        bench.cases(bench.Wanted(**wanted))
    assert str(error.value).startswith(message)


# --- documents, tables, figures


@pytest.fixture(scope="module")
def timed() -> dict[str, Any]:
    """A document of two variants, two networks and three sizes, by a clock of its own."""
    wanted = bench.Wanted(("ae", "contractive_ae"), ("linear", SMALL), sizes=(1, 4, 8))
    rng = np.random.default_rng(0)

    def time(self: Any, case: stopwatch.Case, size: int) -> stopwatch.Sample:
        return stopwatch.Sample(1e-3 / size**0.5 * float(rng.uniform(0.9, 1.2)), 0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch.Stopwatch, "__call__", time)
        patch.setattr(stopwatch, "machine", lambda device, precision: MACHINE)
        return bench.bench(wanted, CPU)


def test_a_document_says_all(timed: dict[str, Any]) -> None:
    assert json.loads(json.dumps(timed, allow_nan=False)) == timed
    assert [(r["variant"], r["network"], r["runs"]) for r in timed["rows"]] == list(
        itertools.product(("ae", "contractive_ae"), ("linear", "mlp 8"), (1, 4, 8))
    )
    assert {"aebench", "commit", "torch", "device", "threads", "when"} <= set(timed["made"])
    assert timed["machine"] == [
        {"threads": 1, "copy_bytes_per_s": 10e9, "matrix_flops_per_s": 100e9, "precision": "fp32"}
    ]
    assert timed["settings"] == {
        "data": "digits", "steps": 32, "repeats": 6, "batch": 128, "optimizer": "adam", "precision": "fp32",
    }  # fmt: skip
    for row in timed["rows"]:
        assert len(row["seconds"]) == 6
        assert row["ms"] == pytest.approx(1e3 * float(np.median(row["seconds"])))
        assert (row["ratio"] is None) == (row["runs"] == 1)


def test_one_that_fails_does_not_stop_the_others() -> None:
    def time(self: Any, case: stopwatch.Case, size: int) -> stopwatch.Sample:
        if case.spec["variant"] == "ae":
            raise RuntimeError("no such\nkernel")
        return stopwatch.Sample(1e-3, 0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch.Stopwatch, "__call__", time)
        patch.setattr(stopwatch, "machine", lambda device, precision: MACHINE)
        found = bench.bench(bench.Wanted(("ae", "vae"), (SMALL,), sizes=(1,)), CPU)
    assert found["failed"] == {"ae on mlp 8": "RuntimeError: no such kernel"}
    assert [row["variant"] for row in found["rows"]] == ["vae"]


@pytest.mark.parametrize(("at", "out", "kept"), [("vae", False, False), ("ae", True, False), ("vae", True, True)])
def test_what_was_timed_is_kept_when_the_rest_is_interrupted(
    at: str, out: bool, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def time(self: Any, case: stopwatch.Case, size: int) -> stopwatch.Sample:
        if case.spec["variant"] == at:
            raise KeyboardInterrupt
        return stopwatch.Sample(1e-3 / size, 0.3)

    monkeypatch.setattr(stopwatch.Stopwatch, "__call__", time)
    monkeypatch.setattr(stopwatch, "machine", lambda device, precision: MACHINE)
    folder = tmp_path / "of [one] variant"
    words = (
        "ae",
        "vae",
        "--network",
        "linear",
        "--runs",
        "1,4",
        "--device",
        "cpu",
        *(("--out", folder) if out else ()),
    )
    assert called(*words) == 130
    names = ["bench-unfinished.json", "bench-unfinished.csv"] if kept else []
    said = f"what was timed is in {', '.join(str(folder / name) for name in names)}" if kept else "nothing is kept"
    assert capsys.readouterr().err == f"interrupted: {said}\n"
    assert {path.name for path in tmp_path.glob("*/*")} == set(names)
    if kept:
        found = json.loads((folder / names[0]).read_text())
        assert [(row["variant"], row["runs"]) for row in found["rows"]] == [("ae", 1), ("ae", 4)]
        assert found["left_out"] == {"vae on linear": "not timed yet"}


def printed(found: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    text = io.StringIO()
    monkeypatch.setattr("aebench.cli.bench.out", printing.Console(file=text, width=width, highlight=False))
    show(found)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_table_fits(timed: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is cut; what has no room is named."""
    said = printed(timed, width, monkeypatch)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    heads = ["variant", "runs", "packed /", "share of", "bound by", "examples/s", "MFLOP", "recording"]
    named = " ".join(said.split())
    assert [head for head in heads if head not in named] == []
    assert ("no room for" in said) == (width < 160)
    assert said.count("contractive_ae") == 2
    assert "medians [95 % intervals] of 6 samples of 32 steps" in named


def test_the_table_names_what_is_missing(timed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"left_out": {"pca": "a closed form", "ppca": "a closed form"}, "failed": {"vae on mlp": "no room"}}
    said = printed(timed | missing, 100, monkeypatch)
    assert "left out: pca, ppca: a closed form" in said
    assert "failed: vae on mlp: no room" in said
    fast = [row | {"share": 1.7} for row in timed["rows"]]
    assert "170 %" in printed(timed | {"rows": fast}, 120, monkeypatch)
    assert "a cache" in printed(timed | {"rows": fast}, 120, monkeypatch)
    assert "a cache" not in said


def test_csv_holds_every_number(timed: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(bench.as_csv(timed))))
    assert len(rows) == len(timed["rows"])
    for told, row in zip(rows, timed["rows"], strict=True):
        assert set(told) == set(row) - {"seconds", "compile"}
        assert float(told["ms"]) == row["ms"]
        assert told["ratio"] == ("" if row["ratio"] is None else str(row["ratio"]))
    assert bench.as_csv({"rows": []}) == "\n"


DRAW = """
import json, sys
from pathlib import Path
from aebench.plots import style
from aebench.plots.bench import figures
for drawing in figures(json.loads(Path(sys.argv[1]).read_text())):
    style.save(drawing.figure, Path(sys.argv[2]), drawing.name)
assert "torch" not in sys.modules
"""


def test_figures_come_from_the_stored_document_alone(timed: dict[str, Any], tmp_path: Path) -> None:
    paths = write(timed, tmp_path / "out")
    assert [path.name for path in paths] == [
        "bench.json", "bench.csv", "bench-packs.svg", "bench-packs.png", "bench-variants.svg", "bench-variants.png",
    ]  # fmt: skip
    assert json.loads(paths[0].read_text()) == timed
    subprocess.run([sys.executable, "-c", DRAW, paths[0], tmp_path / "again"], check=True)
    for path in paths[2:]:
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_figure_shows_the_numbers_of_the_rows(timed: dict[str, Any]) -> None:
    packs, _ = figures(timed)
    for ax, network in zip(packs.figure.axes, ("linear", "mlp 8"), strict=True):
        own = [row for row in timed["rows"] if row["network"] == network and row["variant"] == "ae"]
        drawn = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
        assert [row["ms"] for row in own] in drawn
        assert any(np.array(y) == pytest.approx([row["floor_us"] / 1e3 for row in own], rel=5e-3) for y in drawn)
        assert all(np.asarray(line.get_xdata()) == pytest.approx([1, 4, 8], rel=0.1) for line in ax.lines)
        assert (ax.get_title(), ax.get_ylabel()) == (network, "ms per run-step")
    assert "10 GB/s, 100 GFLOP/s" in packs.caption


def test_many_variants_are_drawn_on_pages(timed: dict[str, Any]) -> None:
    rows = [row | {"variant": f"v{i}"} for i in range(9) for row in timed["rows"][:6]]
    names = [drawing.name for drawing in figures(timed | {"rows": rows})]
    assert names == ["bench-packs-1", "bench-packs-2", "bench-variants"]
    alone = [row for row in timed["rows"] if row["runs"] == 1]
    assert [drawing.name for drawing in figures(timed | {"rows": alone})] == ["bench-variants"]
    assert list(figures(timed | {"rows": []})) == []


# --- cost as work grows


@pytest.mark.parametrize("axis", growth.AXES)
def test_what_grows_is_what_is_said(axis: str) -> None:
    values, wanted = growth.AXES[axis].values, bench.Wanted()
    ranges = {"runs": (1, 512), "batch": (32, 4096), "width": (64, 4096), "examples": (1024, 2**20)}
    assert (values[0], values[-1]) == ranges[axis]
    for value in values[:2]:
        case = growth.grown(axis, value, wanted)
        spec = case.spec
        said = {
            "runs": len(case.runs), "batch": spec["train"]["batch"], "width": spec["network"]["hidden"][0],
            "examples": spec["data"]["parameters"].get("n"),
        }  # fmt: skip
        assert said[axis] == value
        others = {"runs": 1, "batch": 128, "width": 64, "examples": None}
        assert {k: v for k, v in said.items() if k != axis} == {k: v for k, v in others.items() if k != axis}
        assert (spec["variant"], spec["network"]["kind"]) == ("vae", "mlp")


def point(took: float, reserved: int | None, recording: float = 0.0) -> growth.Point:
    samples = [stopwatch.Sample(1e-3, recording)] * 6
    least = roofline.Floor(10, 1000, 100, 100, 1e6, 400)
    return growth.Point(samples, reserved, reserved, least, MACHINE, 50, took)


def test_a_curve_ends_where_the_next_point_would_take_too_much() -> None:
    """Recording does not grow; width counts twice; memory that is not known is no reason."""
    judge: Callable[..., str] = growth.too_much
    assert judge("runs", 8, 4, point(9.0, 10), 20, None) == ""
    assert judge("runs", 8, 4, point(11.0, 10), 20, None) == "about 22 s, more than --limit 20"
    assert judge("runs", 8, 4, point(11.0, 10, recording=0.4), 20, None) == ""  # six recordings of 0.4 s
    assert judge("width", 8, 4, point(6.0, 10), 20, None) == "about 24 s, more than --limit 20"
    assert judge("runs", 8, 4, point(1.0, 3 * 10**9), 20, 5 * 10**9).startswith("about 6.0 GB, more than the 5.0 GB")
    assert judge("runs", 8, 4, point(1.0, None), 20, 5) == ""


@pytest.fixture(scope="module")
def grown() -> dict[str, Any]:
    """The first points of a curve, really measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch, "machine", lambda device, precision: MACHINE)
        patch.setitem(growth.AXES, "runs", growth.Axis((1, 2, 4, 8), 1, "runs in a pack"))
        real = growth.too_much
        judge = lambda axis, value, *rest: "too dear" if value == 4 else real(axis, value, *rest)  # noqa: E731
        patch.setattr(growth, "too_much", judge)
        kept: list[Any] = []
        found = growth.grow("runs", bench.Wanted(("ae",), (SMALL,), repeats=2), CPU, 600, keep=kept.append)
        assert [document["rows"] for document in kept] == [found["rows"][:1], found["rows"]]
        assert kept[1]["left_out"] == {"4": "not timed yet", "8": "not timed yet"}
        return found


def test_a_curve_says_where_it_ends(grown: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["runs"] for row in grown["rows"]] == [1, 2]
    assert grown["left_out"] == {"4": "too dear", "8": "4 was left out"}
    assert "left out: 4: too dear" in printed(grown, 100, monkeypatch)
    for row in grown["rows"]:
        assert row["ms_quartile_1"] <= row["ms"] <= row["ms_quartile_3"]
        assert row["ms_run_step"] == pytest.approx(row["ms"] / row["runs"])
    one, two = grown["rows"]
    for name in ("floor_ms", "mflops", "mbytes"):
        assert two[name] == pytest.approx(2 * one[name])
    data = 4 * 64 * 1437  # the digits that are trained on
    assert two["held_bytes"] - data == 2 * (one["held_bytes"] - data)


def test_a_point_that_fails_ends_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> growth.Point:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(growth, "measure", fails)
    monkeypatch.setattr(stopwatch.Stopwatch, "__call__", lambda *_: stopwatch.Sample(1.0, 1.0))
    found = growth.grow("batch", bench.Wanted(("ae",), (SMALL,)), CPU, 20)
    assert found["failed"] == {"32": "RuntimeError: out of memory"}
    assert set(found["left_out"].values()) == {"32 failed"}
    assert found["rows"] == []


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_a_curve_fits(grown: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = printed(grown, width, monkeypatch)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    assert "[quartiles]" in said


def test_the_figure_of_a_curve(grown: dict[str, Any], tmp_path: Path) -> None:
    paths = write(grown, tmp_path)
    assert [path.name for path in paths] == [f"bench-runs.{ending}" for ending in ("json", "csv", "svg", "png")]
    (drawing,) = figures(json.loads(paths[0].read_text()))
    time, memory = drawing.figure.axes
    drawn = [np.asarray(line.get_ydata()).tolist() for line in time.lines]
    assert [row["ms"] for row in grown["rows"]] in drawn
    assert [row["floor_ms"] for row in grown["rows"]] in drawn
    assert {ax.get_xlabel() for ax in (time, memory)} == {"runs in a pack"}
    assert (time.get_ylabel(), memory.get_ylabel()) == ("ms per step of the whole pack", "peak memory (MB)")
    assert (time.get_xscale(), time.get_yscale()) == ("log", "log")
    assert "too dear" in drawing.caption
    unknown = [row | {"peak_bytes": None} for row in grown["rows"]]
    (drawing,) = figures(grown | {"rows": unknown})
    assert [text.get_text() for text in drawing.figure.axes[1].texts] == ["the system does not say"]


@pytest.mark.parametrize(
    ("axis", "wanted", "message"),
    [
        ("runs", {"variants": ("ae", "vae")}, "--grow runs takes one variant, not 2"),
        ("runs", {"networks": ("mlp", "conv")}, "--grow runs takes one network, not 2"),
        ("width", {"networks": ("mlp",)}, "--grow width sets the network itself: an mlp; leave --network out"),
        ("examples", {"data": "moons"}, "--grow examples makes its own data: Gaussian; leave --data out"),
        ("run", {}, "unknown axis 'run': did you mean runs?"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_curve(axis: str, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        growth.grow(axis, bench.Wanted(**wanted), CPU, 20)


# --- the command


def called(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["aebench", "bench", *map(str, words)])
        patch.setenv("OMP_WAIT_POLICY", "passive")
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            torch.set_num_threads(1)
    return 0


def test_the_command_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopwatch, "machine", lambda device, precision: MACHINE)
    folder = tmp_path / "there"
    words = ("ae", "--network", "{kind: mlp, hidden: [8]}", "--runs", "2,1", "--repeats", 1, "--device", "cpu")
    assert called(*words, "--json", "--out", folder) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [(row["network"], row["runs"], row["repeats"]) for row in found["rows"]] == [
        ("mlp 8", 1, 1),
        ("mlp 8", 2, 1),
    ]
    assert found["rows"][1]["ms_low"] is None
    assert str(folder / "bench.json") in said.err
    assert not list(folder.glob("*unfinished*"))
    assert json.loads((folder / "bench.json").read_text()) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("vea",), "error: unknown variant 'vea': did you mean vae?"),
        (("--runs", "1,x"), "error: --runs 1,x: write the runs of each pack, such as 1,8,16"),
        (("--runs", "0"), "error: --runs 0: write the runs of each pack, such as 1,8,16"),
        (("--device", "tpu"), "error: --device tpu: choose from auto, cpu, cuda, mps, or cuda:0, cuda:1, ..."),
        (("--grow", "runs", "--runs", "4"), "error: --runs 4 does not go with --grow runs, which sets the runs itself"),
        (("--grow", "width", "--quick"),
         "error: --quick does not go with --grow width, a curve of one variant; --limit 2 makes it short"),
        (("--network", "{kind"), "error: --network: "),
        (("vae", "--network", "mpl"), "error: unknown network 'mpl': did you mean mlp?"),
    ],
)  # fmt: skip
def test_bad_words_are_one_line(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(*words, "--device", "cpu") == 2 if "--device" not in words else called(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1


def test_pack_sizes() -> None:
    assert pack_sizes("16, 1,8,8") == (1, 8, 16)


# --- a study on paper

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_a_study_is_computed_from_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 3.78e9 run-steps of 2 ms are 87.5 days; 36 MB at 36 GB/s take 1 ms, 100 MFLOP at 1 TFLOP/s 0.1 ms."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    study = importlib.import_module("study")
    row = {"mbytes": 36.0, "mflops": 100.0, "compile_s": 2.0, "ms_low": 1.9, "ms_high": 2.1}
    rows = [row | {"runs": 1, "ms": 5.0}, row | {"runs": 64, "ms": 2.0}, row | {"runs": 300, "ms": 2.5}]
    machine = [{"copy_bytes_per_s": 36e9, "matrix_flops_per_s": 1e12}]
    found = study.study({"rows": rows, "machine": machine})
    assert found["models"] == 12_600
    assert found["run_steps"] == 3.78e9
    assert (found["ms_run_step"], found["alone_ms"], found["runs_of_a_pack"]) == (2.0, 5.0, 64)
    assert found["days"] == pytest.approx(87.5)
    assert found["floor_days"] == pytest.approx(43.75)
    assert (found["bound"], found["share_of_roofline"]) == ("memory", pytest.approx(0.5))
    assert found["compute_floor_ms"] == pytest.approx(0.1)
    assert found["packs"] == 6 * 7 * 5  # 300 models alike in packs of 64
    assert found["recording_days"] == pytest.approx(210 * 2 / 86_400)
    assert found["flops"] == pytest.approx(3.78e17)
    assert found["reported_ms_run_step"] == pytest.approx(21.0, abs=0.05)
    assert "87 days" in study.words(found, "nothing") or "88 days" in study.words(found, "nothing")
