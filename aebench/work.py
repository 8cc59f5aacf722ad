"""What a pack of a suite becomes: data, training, measurement, documents. Everything here needs torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebench import data, packing
from aebench.clock import STAGES, Ledger, clock
from aebench.data import Dataset, Part
from aebench.device import PeakMemory, cores, give_back, made
from aebench.engine import Mode, mode
from aebench.errors import InputError
from aebench.feed import Batch, Examples, Feed
from aebench.metrics.cost import flops
from aebench.metrics.evaluate import Chosen, arrays, encode, evaluate
from aebench.metrics.moments import Moments
from aebench.optim import check_recordable
from aebench.outcome import failure, outcome, told
from aebench.packing import Pack, Runs
from aebench.reconstructions import RECONSTRUCTIONS
from aebench.specification import budget_of, recipe, setting_of
from aebench.store import Publication, Store
from aebench.store.documents import SCHEMA
from aebench.suite import Run, pack_id
from aebench.train import DTYPES, PRECISIONS, Budget, Hyper, Setting, TooLarge, Trained, train
from aebench.variant import Variant

OnPoint = Callable[[int, Tensor], None]
Measured = tuple[list[dict[str, Any]], list[dict[str, np.ndarray]]]
"""For each run its metrics and its arrays."""


class Worker:
    """Trains and measures packs on one device; data sets are loaded once."""

    def __init__(
        self,
        suite: str,
        device: torch.device,
        chosen: Chosen,
        keep_weights: bool,
        allow_code: bool,
        ledger: Ledger | None = None,
        engine: str = "auto",
    ) -> None:
        self.engine: Mode = mode(engine)
        self.suite, self.device, self.chosen = suite, device, chosen
        self.keep_weights, self.allow_code = keep_weights, allow_code
        self.ledger = ledger or Ledger()
        self.ledger.now = partial(clock, device)
        self.threads = min(torch.get_num_threads(), cores())
        self.datasets: dict[str, Dataset] = {}
        self.loading: dict[str, float] = {}
        self.resident: dict[int, Tensor] = {}
        self.moments: dict[int, Moments] = {}

    def check(self, pack: Sequence[Run]) -> None:
        """Refuse, before anything is trained, what could only fail: InputError in one line."""
        spec = pack[0].spec
        dataset, (variant, _, sizes) = self.dataset(spec), recipe(spec, self.allow_code)
        precision, able = spec["train"]["precision"], PRECISIONS[self.device.type]
        if precision not in able:
            raise InputError(f"precision {precision!r}: {self.device.type} has {', '.join(able)}; see --device")
        if self.engine == "graph" and variant.fit is None:
            check_recordable(self.device.type, spec["train"]["optimizer"]["name"], spec["train"]["precision"])
        self.probe(spec, dataset)
        x, needed = dataset.train.x, {f"variant {variant.name!r}": variant.unit_interval}
        if (chosen := getattr(sizes, "reconstruction", None)) is not None:
            name = chosen if isinstance(chosen, str) else chosen["name"]
            needed[f"reconstruction {name!r}"] = RECONSTRUCTIONS[name].unit_interval
        for what, unit_interval in needed.items():
            if unit_interval and x.dtype != np.uint8 and (x.min() < 0 or x.max() > 1):
                raise InputError(f"{what} takes data in [0, 1]; {dataset.name} lies in [{x.min():g}, {x.max():g}]")

    def probe(self, spec: Mapping[str, Any], dataset: Dataset) -> None:
        """Call the losses on two examples, so that one that is not pure is refused before anything is trained."""
        variant, network, sizes = recipe(spec, self.allow_code)
        examples, setting = Examples(torch.from_numpy(dataset.train.x[:2]), dataset.binarize), setting_of(spec)
        try:
            net = packing.build(variant, dataset.event_shape, network, sizes, setting.seed)
            batch = first_batch(variant, sizes, setting, examples, 2, torch.float32)
            hp = Hyper(variant, [setting], False, examples.x.device, torch.float32).at(0.0)
            packing.check_pure(variant, net, batch, hp)
        except InputError:
            raise
        except Exception:
            return  # a fault of another kind is a run's own: it is recorded when the run is trained

    def dataset(self, spec: Mapping[str, Any]) -> Dataset:
        """The data of a run."""
        key = str(spec["data"])
        if key not in self.datasets:
            before = self.ledger.read()
            with self.ledger.stage("data"):
                self.datasets[key] = data.load(spec["data"], allow_code=self.allow_code)
            self.loading[key] = self.ledger.since(before)["data"]
        return self.datasets[key]

    def examples(self, dataset: Dataset, part: Part) -> Examples:
        """A part on the device; what lies there already is not moved again."""
        if id(part) not in self.resident:
            self.resident[id(part)] = torch.from_numpy(part.x).to(self.device)
        return Examples(self.resident[id(part)], dataset.binarize)

    def small(self, spec: Mapping[str, Any], limits: Mapping[str, int]) -> bool:
        """Whether a run's net has no more parameters than the limit of its kind; see `PACKED` and `ONE_THREAD`."""
        variant, network, sizes = recipe(spec, self.allow_code)
        try:
            with torch.device("meta"):
                parameters = list(variant.build(self.dataset(spec).event_shape, network, sizes).parameters())
        except Exception:
            return False  # what cannot be built fails when it is trained, alone and on record
        kind = "connected" if all(p.ndim <= 2 for p in parameters) else "convolutional"
        return sum(p.numel() for p in parameters) <= limits[kind]

    def set_threads(self, spec: Mapping[str, Any]) -> None:
        """To measure with: one thread for small nets, as two would wait for each other longer than they run."""
        if self.device.type == "cpu":
            torch.set_num_threads(1 if self.small(spec, ONE_THREAD) else self.threads)

    def free_threads(self) -> None:
        """All threads, of which training chooses."""
        if self.device.type == "cpu":
            torch.set_num_threads(self.threads)

    def packs(self, pack: Sequence[Run]) -> list[list[Run]]:
        """The pack, or its runs one by one where that is faster: on a CPU, nets that are large."""
        together = self.device.type != "cpu" or self.small(pack[0].spec, PACKED)
        return [list(pack)] if together else [[run] for run in pack]

    def train(self, pack: Sequence[Run], on_point: OnPoint) -> Iterator[Publication]:
        """Train and measure a pack. One that would not fit into memory goes in parts that do; one that fails is tried
        in halves, down to the run that is at fault.
        """
        try:
            yield from self.attempt(pack, on_point)
            return
        except InputError:
            raise
        except Exception as error:
            parts = -(-len(pack) // error.fitting) if isinstance(error, TooLarge) else 2
            failed = failure(self.suite, pack[0], error, self.device)
        # only here is the failed pack, which the error's traceback held, out of memory
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(pack) == 1:
            yield failed, {}, {}
            return
        for part in np.array_split(np.arange(len(pack)), parts):
            yield from self.train(pack[part[0] : part[-1] + 1], on_point)

    def attempt(self, pack: Sequence[Run], on_point: OnPoint) -> list[Publication]:
        """Documents, arrays and weights of a pack's runs."""
        spec, ledger = pack[0].spec, self.ledger
        dataset, (variant, network, sizes) = self.dataset(spec), recipe(spec, self.allow_code)
        before = ledger.read()
        give_back()  # what the pack before has kept, so that it counts as free
        with ledger.stage("data"):
            examples, validation = self.examples(dataset, dataset.train), self.examples(dataset, dataset.validation)
        memory = PeakMemory(self.device)
        budget, settings = budget_of(spec), [setting_of(run.spec) for run in pack]
        self.free_threads()
        with ledger.stage("train"):
            trained = train(variant, network, sizes, settings, budget, examples, validation, on_point, self.engine)
        ledger.move(trained.seconds["compile"], "train", "compile")
        peak = memory.bytes()
        with ledger.stage("compile"):
            counted = effort(trained, settings[0], examples, budget)
        self.set_threads(spec)
        measured, drawn, error = self.measured(trained.runs, dataset, self.chosen)
        seconds = ledger.since(before)
        seconds["data"] += self.loading.pop(str(spec["data"]), 0.0)
        cost = {
            **{f"{stage}_seconds": seconds[stage] for stage in STAGES},
            **counted,
            "peak_bytes": peak,
            "engine": trained.engine,
            "pack": {
                "id": pack_id(pack), "runs": len(pack), "mode": "packed" if len(pack) > 1 else "direct",
                "ids": [run.id for run in pack],
            },
        }  # fmt: skip
        measured_by = made(self.device, budget.precision)
        how = measured_by | {"threads": trained.engine.get("threads", measured_by["threads"])}
        publications: list[Publication] = []
        for i, run in enumerate(pack):
            document = {
                "schema": SCHEMA, "id": run.id, "suite": self.suite, "spec": run.spec,
                "event_shape": list(dataset.event_shape), **outcome(trained, i, error),
                "metrics": measured[i] if trained.diverged[i] is None else {},
                "curves": {name: (c if name == "step" else c[:, i]).tolist() for name, c in trained.curves.items()},
                "cost": cost, "made": how, "measured": measured_by,
            }  # fmt: skip
            weights = packing.unstack(trained.runs.state, i) if self.keep_weights else {}
            kept = {name: tensor.cpu().numpy() for name, tensor in weights.items()}
            publications.append((document, drawn[i] if trained.diverged[i] is None else {}, kept))
        return publications

    def measure(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> Measured:
        """These metrics of every run on the test part, and the arrays for figures."""
        with self.ledger.stage("evaluate"):
            part, training = self.examples(dataset, dataset.test), dataset.train
            moments = self.moments.setdefault(id(training), Moments(training.x, dataset.binarize))
            codes = encode(runs, part) if "posterior" in runs.offers else None
            return evaluate(runs, chosen, part, moments, codes, self.ledger), arrays(runs, part, dataset.test.y, codes)

    def measured(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> tuple[*Measured, Exception | None]:
        """`measure`, and what went wrong: a faulty metric must not cost the training, nor the other metrics."""
        try:
            return *self.measure(runs, dataset, chosen), None
        except Exception as error:
            whole = error
        found, drawn = [{} for _ in runs.seeds], [{} for _ in runs.seeds]
        faults: list[Exception] = []
        for one in chosen:
            try:
                new, drawn = self.measure(runs, dataset, [one])
            except Exception as error:
                faults.append(error)
                continue
            found = [old | values for old, values in zip(found, new, strict=True)]
        return found, drawn, faults[0] if faults else None if chosen else whole

    def again(self, run: Run, document: dict[str, Any], store: Store, names: Container[str]) -> Publication | None:
        """Measure these metrics of a finished run anew from its stored weights; None where there are none."""
        weights = store.weights(run.id)
        if weights is None:
            return None
        dataset = self.dataset(run.spec)
        self.set_threads(run.spec)
        runs = self.revive(run.spec, weights, dataset.event_shape)
        before = self.ledger.read()
        chosen = [(metric, options) for metric, options in self.chosen if metric.name in names]
        (new,), (drawn,), error = self.measured(runs, dataset, chosen)
        if error is not None:
            return document | {"error": told(error, "trained, but not measured: ")}, None, None
        kept = {name: value for name, value in document["metrics"].items() if value["metric"] not in names}
        seconds = self.ledger.since(before)
        cost = document["cost"] | {f"{metric.stage}_seconds": seconds[metric.stage] for metric, _ in chosen}
        how = made(self.device, run.spec["train"]["precision"])
        return document | {"metrics": kept | new, "cost": cost, "measured": how, "error": None}, drawn, None

    def revive(self, spec: Mapping[str, Any], weights: Mapping[str, np.ndarray], event_shape: tuple[int, ...]) -> Runs:
        """A trained run from its stored weights."""
        variant, network, sizes = recipe(spec, self.allow_code)
        dtype = DTYPES[spec["train"]["precision"]]
        net = packing.build(variant, event_shape, network, sizes, spec["seed"]).to(self.device, dtype)
        state = {name: torch.from_numpy(array)[None].to(self.device) for name, array in weights.items()}
        hyper = Hyper(variant, [setting_of(spec)], True, self.device, dtype)
        return Runs(variant, net, sizes, [spec["seed"]], state, hyper.final)


PACKED = {"connected": 400_000, "convolutional": 30_000}
"""Parameters up to which a net is trained in a pack on a CPU.

Measured by tests/benchmarks/training.py, four runs packed against one by one, each at its best number of threads:
fully connected nets gain 2.4 at 10 thousand parameters, 1.18 at 238 thousand, .99 [.94, 1.05] at 540 thousand and lose
.93 at 1.3 million; convolutional ones gain 1.63 at 24 thousand and lose .81 at 56 thousand.
"""
ONE_THREAD = {"connected": 100_000, "convolutional": 30_000}
"""Parameters up to which a net is measured with one thread."""


def effort(trained: Trained, setting: Setting, examples: Examples, budget: Budget) -> dict[str, float]:
    """Examples that each run of a pack saw, the pack's examples/s, FLOPs of a step; a closed form sees each once."""
    closed = trained.runs.variant.fit is not None
    seen = len(examples.x) if closed else budget.steps * budget.batch
    speed = {"examples": seen, "train_examples_per_s": len(trained.runs.seeds) * seen / trained.seconds["train"]}
    flops = {} if closed else {"flops_train_step": step_flops(trained.runs, setting, examples, budget)}
    return speed | flops


def step_flops(runs: Runs, setting: Setting, examples: Examples, budget: Budget) -> float:
    """FLOPs of one training step of one run, forward and backward, by torch's counter on the step as recorded."""
    batch = first_batch(runs.variant, runs.sizes, setting, examples, budget.batch, runs.dtype)
    hp = Hyper(runs.variant, [setting], False, examples.x.device, runs.dtype).at(0.0)
    pack = Pack(runs.variant, [runs.net.requires_grad_(True)], [setting.descent], budget.optimizer)
    pack.prepare(batch, hp)
    with torch.no_grad():
        return flops(lambda: [step(pack.leaves, batch.x, batch.noise, hp) for step in pack.traced.values()])


def first_batch(
    variant: Variant, sizes: Any, setting: Setting, examples: Examples, size: int, dtype: torch.dtype
) -> Batch:
    """What a run gets at its first step."""
    noise = variant.noise(size, tuple(examples.x.shape[1:]), sizes)
    feed = Feed(examples, size, noise, [setting.seed], dtype)
    feed.fill(0)
    return feed.step(0)
