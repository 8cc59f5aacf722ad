"""What a pack of a suite becomes: data, training, measurement, documents. Everything here needs torch."""

from __future__ import annotations

import gc
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebench import data, packing
from aebench.ahead import Ahead, Nets
from aebench.clock import STAGES, Ledger, clock
from aebench.data import Dataset, Part
from aebench.device import PeakMemory, cores, give_back, made
from aebench.effort import effort, first_batch
from aebench.engine import Mode, mode
from aebench.errors import InputError
from aebench.faults import halves, out_of_memory, parts
from aebench.feed import Examples
from aebench.keeper import Keeper, OnPoint
from aebench.metrics.arrays import arrays
from aebench.metrics.evaluate import Chosen, encode, evaluate
from aebench.metrics.moments import Moments
from aebench.optim import check_recordable
from aebench.outcome import Found, Measured, failure, publications, told
from aebench.pace import ONE_THREAD, PACKED, small, together
from aebench.packing import Runs
from aebench.reconstructions import RECONSTRUCTIONS
from aebench.specification import budget_of, recipe, setting_of
from aebench.store import Publication, Store
from aebench.suite import Run, pack_id, shape_id
from aebench.train import DTYPES, PRECISIONS, Hyper, train


class Worker:
    """Trains and measures packs on one device; data sets are loaded once.

    `validated`: the metric that is measured on the validation part as well, as a tuned suite chooses by it.
    """

    def __init__(
        self,
        suite: str,
        device: torch.device,
        chosen: Chosen,
        keep_weights: bool,
        allow_code: bool,
        ledger: Ledger | None = None,
        engine: str = "auto",
        validated: str = "",
    ) -> None:
        self.engine: Mode = mode(engine)
        self.validated = validated
        self.suite, self.device, self.chosen = suite, device, chosen
        self.keep_weights, self.allow_code = keep_weights, allow_code
        self.ledger = ledger or Ledger()
        self.ledger.now = partial(clock, device)
        self.ahead = Ahead(device, allow_code)
        self.threads = min(torch.get_num_threads(), cores())
        self.datasets: dict[str, Dataset] = {}
        self.loading: dict[str, float] = {}
        self.owed: dict[str, float] = {}
        """Seconds by stage that went before the first part of a pack, which is charged with them."""
        self.keeper = Keeper()
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
        """Whether a run's net has no more parameters than the limit of its kind; see `pace.PACKED` and `ONE_THREAD`."""
        return small(*recipe(spec, self.allow_code), self.dataset(spec).event_shape, limits)

    def set_threads(self, spec: Mapping[str, Any]) -> None:
        """To measure with: one thread for small nets, as two would wait for each other longer than they run."""
        if self.device.type == "cpu":
            torch.set_num_threads(1 if self.small(spec, ONE_THREAD) else self.threads)

    def free_threads(self) -> None:
        """All threads, of which training chooses."""
        if self.device.type == "cpu":
            torch.set_num_threads(self.threads)

    def look_ahead(self, pack: Sequence[Run]) -> None:
        """Prepare for a pack that comes later; what fails now fails again, and is recorded, when it is trained."""
        with suppress(Exception):
            self.ahead.begin(pack, self.dataset(pack[0].spec).event_shape)

    def packs(self, pack: Sequence[Run]) -> list[list[Run]]:
        """The pack, or its runs one by one where that is faster: on a CPU, nets that are large."""
        return [list(pack)] if self.together(pack) else [[run] for run in pack]

    def together(self, pack: Sequence[Run]) -> bool:
        """Whether the runs of a pack train together."""
        return self.device.type != "cpu" or self.small(pack[0].spec, PACKED)

    def claimed_as(self, pack: Sequence[Run]) -> str:
        """The name under which one of several processes claims a pack of `packs`: of two that share runs it is one."""
        return shape_id(pack[0]) if self.together(pack) else pack[0].id

    def train(self, pack: Sequence[Run], on_point: OnPoint) -> Iterator[Publication]:
        """Train and measure a pack, in parts where that is faster."""
        before = self.ledger.read()
        with self.ledger.stage("compile"):
            nets, (number, said) = self.ahead.take(pack), self.parts(pack)
        self.owed = self.ledger.since(before)
        ids = [run.id for run in pack]
        for part in np.array_split(np.arange(len(pack)), number):
            for document, drawn, weights in self.part(pack[part[0] : part[-1] + 1], on_point, nets, said):
                whole = len(ids) == 1 or document["cost"].get("pack", {}).get("ids") == ids
                yield document if whole else document | {"together": ids}, drawn, weights

    def parts(self, pack: Sequence[Run]) -> tuple[int, Mapping[str, Any]]:
        """Into how many parts to split a pack, and what was measured."""
        spec, settings = pack[0].spec, [setting_of(run.spec) for run in pack]
        try:
            dataset = self.dataset(spec)
            with self.ledger.stage("data"):
                examples = self.examples(dataset, dataset.train)
        except Exception:  # which is met again, and recorded, where the pack is trained
            return 1, {}
        return together(recipe(spec, self.allow_code), settings, budget_of(spec), examples, self.engine)

    def part(
        self, pack: Sequence[Run], on_point: OnPoint, nets: Nets, said: Mapping[str, Any]
    ) -> Iterator[Publication]:
        """Train and measure runs together. What would not fit into memory goes in parts that do; what fails is tried
        in halves, down to the run that is at fault.
        """
        try:
            yield from self.attempt(pack, on_point, nets, said)
            return
        except Exception as error:
            number = parts(len(pack), error)
            failed = [failure(self.suite, run, error, self.device) for run in pack]
        # only here is the failed pack, which the error's traceback held, out of memory
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if number == 1:
            yield from ((document, {}, {}) for document in failed)
            return
        for part in np.array_split(np.arange(len(pack)), number):
            yield from self.part(pack[part[0] : part[-1] + 1], on_point, nets, said)

    def attempt(self, pack: Sequence[Run], on_point: OnPoint, nets: Nets, said: Mapping[str, Any]) -> list[Publication]:
        """Documents, arrays and weights of a pack's runs. `nets`: see `train`; `said`: of the engine, for documents."""
        spec, ledger = pack[0].spec, self.ledger
        dataset, (variant, network, sizes) = self.dataset(spec), recipe(spec, self.allow_code)
        before = ledger.read()
        give_back()  # what the pack before has kept, so that it counts as free
        with ledger.stage("data"):
            examples, validation = self.examples(dataset, dataset.train), self.examples(dataset, dataset.validation)
        memory = PeakMemory(self.device)
        budget, settings = budget_of(spec), [setting_of(run.spec) for run in pack]
        self.free_threads()
        guarded = self.keeper.guarding(pack, made(self.device, budget.precision), on_point)
        with ledger.stage("train"), guarded as (checkpoint, point):
            trained = train(
                variant, network, sizes, settings, budget, examples, validation, point, self.engine, nets, checkpoint
            )
        ledger.move(trained.seconds["compile"], "train", "compile")
        peak = memory.bytes()
        with ledger.stage("compile"):
            counted = effort(trained, settings[0], examples, budget)
        self.set_threads(spec)
        measured = self.measured(trained.runs, dataset, self.chosen)
        seconds = ledger.since(before)
        seconds["train"] += trained.seconds.get("before", 0.0)
        seconds["data"] += self.loading.pop(str(spec["data"]), 0.0)
        cost = {
            **{f"{stage}_seconds": seconds[stage] + self.owed.pop(stage, 0.0) for stage in STAGES},
            **counted,
            "peak_bytes": peak,
            "engine": {**trained.engine, **said},
            "pack": {
                "id": pack_id(pack), "runs": len(pack), "mode": "packed" if len(pack) > 1 else "direct",
                "ids": [run.id for run in pack],
            },
        }  # fmt: skip
        measured_by = made(self.device, budget.precision)
        how = measured_by | {"threads": trained.engine.get("threads", measured_by["threads"])}
        by = {"made": how, "measured": measured_by}
        return publications(self.suite, pack, dataset.event_shape, trained, measured, cost, by, self.keep_weights)

    def measure(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> Found:
        """These metrics of every run on the test part, what is chosen by on validation, and the arrays for figures."""
        both = [(metric, options) for metric, options in chosen if metric.name == self.validated]
        with self.ledger.stage("evaluate"):
            part, training = self.examples(dataset, dataset.test), dataset.train
            moments = self.moments.setdefault(id(training), Moments(training.x, dataset.binarize))
            codes = encode(runs, part) if "posterior" in runs.offers else None
            found = evaluate(runs, chosen, part, moments, codes, self.ledger)
            validation = self.examples(dataset, dataset.validation)
            validated = evaluate(runs, both, validation, moments, None, self.ledger)
            return found, validated, arrays(runs, part, dataset.test.y, codes, self.chosen)

    def measured(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> Measured:
        """`measure`, and what went wrong: a faulty metric must not cost the training, nor the other metrics."""
        try:
            return *self.measure(runs, dataset, chosen), None
        except Exception as error:
            whole = error
        if out_of_memory(whole) and len(runs.seeds) > 1:
            whole.__traceback__ = None  # it holds what memory is short of
            one, other = (self.measured(half, dataset, chosen) for half in halves(runs))
            return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] or other[3]
        found, validated, drawn = ([{} for _ in runs.seeds] for _ in range(3))
        faults: list[Exception] = []
        for one in chosen:
            try:
                new, extra, drawn = self.measure(runs, dataset, [one])
            except Exception as error:
                faults.append(error)
                continue
            found = [old | values for old, values in zip(found, new, strict=True)]
            validated = [old | values for old, values in zip(validated, extra, strict=True)]
        return found, validated, drawn, faults[0] if faults else None if chosen else whole

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
        (new,), (validated,), (drawn,), error = self.measured(runs, dataset, chosen)
        if error is not None:
            return document | {"error": told(error, "trained, but not measured: ")}, None, None
        found = {"metrics": new} | ({"validation": validated} if validated else {})
        for part, values in found.items():
            kept = {name: v for name, v in document.get(part, {}).items() if v["metric"] not in names}
            found[part] = kept | values
        seconds = self.ledger.since(before)
        cost = document["cost"] | {f"{metric.stage}_seconds": seconds[metric.stage] for metric, _ in chosen}
        how = made(self.device, run.spec["train"]["precision"])
        return document | found | {"cost": cost, "measured": how, "error": None}, drawn, None

    def revive(self, spec: Mapping[str, Any], weights: Mapping[str, np.ndarray], event_shape: tuple[int, ...]) -> Runs:
        """A trained run from its stored weights."""
        variant, network, sizes = recipe(spec, self.allow_code)
        dtype = DTYPES[spec["train"]["precision"]]
        net = packing.build(variant, event_shape, network, sizes, spec["seed"]).to(self.device, dtype)
        state = {name: torch.from_numpy(array)[None].to(self.device) for name, array in weights.items()}
        hyper = Hyper(variant, [setting_of(spec)], True, self.device, dtype)
        return Runs(variant, net, sizes, [spec["seed"]], state, hyper.final)
