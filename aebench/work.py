"""What a pack of a suite becomes: data, training, measurement, documents. Everything here needs torch."""

from __future__ import annotations

import gc
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from aebench.ahead import Ahead, Nets
from aebench.clock import STAGES, Ledger, clock
from aebench.data import Dataset
from aebench.determinism import Determinism, listening, said
from aebench.device import PeakMemory, cores, give_back, made
from aebench.effort import effort, probe
from aebench.engine import Mode, mode
from aebench.errors import DataError, InputError, printable, words
from aebench.faults import contained, halves, out_of_memory, parts
from aebench.graph import recordings_forgotten
from aebench.holding import Holding
from aebench.keeper import Keeper, OnPoint
from aebench.metrics.arrays import arrays
from aebench.metrics.evaluate import Chosen, encode, evaluate
from aebench.optim import check_recordable
from aebench.outcome import Found, Measured, failure, publications, told
from aebench.pace import ONE_THREAD, PACKED, small, together
from aebench.packing import Runs
from aebench.reconstructions import RECONSTRUCTIONS
from aebench.revival import revive
from aebench.specification import budget_of, recipe, setting_of
from aebench.store import Publication, Store
from aebench.suite import Run, pack_id, shape_id
from aebench.train import PRECISIONS, train
from aebench.workload import Call, guess


class Worker:
    """Trains and measures packs on one device; what it does under `determinism.strict` is told by `determinism`.

    `validated`: the metric that is measured on the validation part as well, as a tuned suite chooses by it.
    `processes`: so many that train at the same time, of which this is one; see `crew`.
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
        determinism: Determinism = "usual",
        processes: int = 1,
    ) -> None:
        self.engine: Mode = mode(engine)
        self.validated, self.determinism, self.processes = validated, determinism, processes
        self.suite, self.device, self.chosen = suite, device, chosen
        self.keep_weights, self.allow_code = keep_weights, allow_code
        self.ledger = ledger or Ledger()
        self.ledger.now = partial(clock, device)
        self.ahead = Ahead(device, allow_code)
        self.threads = min(torch.get_num_threads(), cores())
        self.calls: dict[str, Call | None] = {}
        """Of the packs that were checked, what one example takes."""
        self.holding = Holding(device, allow_code, self.ledger)
        self.owed: dict[str, float] = {}
        """Seconds by stage that went before the first part of a pack, which is charged with them."""
        self.keeper = Keeper()
        self.heard: set[str] = set()
        """Operations of the present pack that are not deterministic."""

    def check(self, pack: Sequence[Run]) -> None:
        """Refuse, before anything is trained, what could only fail: InputError in one line, DataError without data."""
        spec = pack[0].spec
        try:
            dataset = self.holding.dataset(spec)
        except InputError as error:
            raise DataError(str(error)) from error
        variant, _, sizes = recipe(spec, self.allow_code)
        precision, able = spec["train"]["precision"], PRECISIONS[self.device.type]
        if precision not in able:
            raise InputError(f"precision {precision!r}: {self.device.type} has {', '.join(able)}; see --device")
        if self.engine == "graph" and variant.fit is None:
            check_recordable(self.device.type, spec["train"]["optimizer"]["name"], spec["train"]["precision"])
        self.calls[shape_id(pack[0])] = probe(recipe(spec, self.allow_code), setting_of(spec), dataset)
        x, needed = dataset.train.x, {f"variant {variant.name!r}": variant.unit_interval}
        if (chosen := getattr(sizes, "reconstruction", None)) is not None:
            name = chosen if isinstance(chosen, str) else chosen["name"]
            needed[f"reconstruction {name!r}"] = RECONSTRUCTIONS[name].unit_interval
        for what, unit_interval in needed.items():
            if unit_interval and x.dtype != np.uint8 and (x.min() < 0 or x.max() > 1):
                raise InputError(f"{what} takes data in [0, 1]; {dataset.name} lies in [{x.min():g}, {x.max():g}]")

    def small(self, spec: Mapping[str, Any], limits: Mapping[str, int]) -> bool:
        """Whether a run's net has no more parameters than the limit of its kind; see `pace.PACKED` and `ONE_THREAD`."""
        return small(*recipe(spec, self.allow_code), self.holding.dataset(spec).event_shape, limits)

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
            self.ahead.begin(pack, self.holding.dataset(pack[0].spec).event_shape)

    def packs(self, pack: Sequence[Run]) -> list[list[Run]]:
        """The pack, or its runs one by one where that is faster: on a CPU, nets that are large."""
        return [list(pack)] if self.together(pack) else [[run] for run in pack]

    def together(self, pack: Sequence[Run]) -> bool:
        """Whether the runs of a pack train together."""
        return self.device.type != "cpu" or self.small(pack[0].spec, PACKED)

    def guess(self, pack: Sequence[Run]) -> float:
        """Roughly the seconds that a pack takes; see `workload`."""
        return guess(pack[0].spec["train"], len(pack), self.calls.get(shape_id(pack[0])), self.device.type)

    def claimed_as(self, pack: Sequence[Run]) -> str:
        """The name under which one of several processes claims a pack of `packs`: of two that share runs it is one."""
        return shape_id(pack[0]) if self.together(pack) else pack[0].id

    def train(self, pack: Sequence[Run], on_point: OnPoint) -> Iterator[Publication]:
        """Train and measure a pack, in parts where that is faster."""
        with recordings_forgotten(), listening() as self.heard:
            before = self.ledger.read()
            with self.ledger.stage("compile"):
                nets, (number, measured) = self.ahead.take(pack), self.parts(pack)
            self.owed = self.ledger.since(before)
            ids = [run.id for run in pack]
            for part in np.array_split(np.arange(len(pack)), number):
                for document, drawn, weights in self.part(pack[part[0] : part[-1] + 1], on_point, nets, measured):
                    whole = len(ids) == 1 or document["cost"].get("pack", {}).get("ids") == ids
                    yield document if whole else document | {"together": ids}, drawn, weights

    def parts(self, pack: Sequence[Run]) -> tuple[int, Mapping[str, Any]]:
        """Into how many parts to split a pack, and what was measured; strictly the same each time, as none is timed."""
        if self.determinism == "strict" and self.device.type != "cpu":
            return 1, {}
        spec, settings = pack[0].spec, [setting_of(run.spec) for run in pack]
        try:
            dataset = self.holding.dataset(spec)
            with contained(), self.ledger.stage("data"):
                examples = self.holding.examples(dataset, dataset.train)
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
            with contained():
                published = self.attempt(pack, on_point, nets, said)
            yield from published
            return
        except Exception as error:
            number, failed = parts(len(pack), error), self.failed(pack, error)
        # only here is the failed pack, which the error's traceback held, out of memory
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if number == 1:
            yield from failed
            return
        for part in np.array_split(np.arange(len(pack)), number):
            yield from self.part(pack[part[0] : part[-1] + 1], on_point, nets, said)

    def failed(self, pack: Sequence[Run], error: Exception) -> list[Publication]:
        """A document of each run that says why there is no more of it."""
        how = self.made(pack[0].spec["train"]["precision"])
        return [(failure(self.suite, run, error, how), {}, {}) for run in pack]

    def attempt(self, pack: Sequence[Run], on_point: OnPoint, nets: Nets, said: Mapping[str, Any]) -> list[Publication]:
        """Documents, arrays and weights of a pack's runs. `nets`: see `train`; `said`: of the engine, for documents."""
        spec, ledger = pack[0].spec, self.ledger
        dataset, (variant, network, sizes) = self.holding.dataset(spec), recipe(spec, self.allow_code)
        before = ledger.read()
        give_back()  # what the pack before has kept, so that it counts as free
        with ledger.stage("data"):
            examples, validation = (
                self.holding.examples(dataset, dataset.train),
                self.holding.examples(dataset, dataset.validation),
            )
        memory = PeakMemory(self.device)
        budget, settings = budget_of(spec), [setting_of(run.spec) for run in pack]
        self.free_threads()
        guarded = self.keeper.guarding(pack, self.made(budget.precision), on_point)
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
        seconds["data"] += self.holding.loading.pop(str(spec["data"]), 0.0)
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
        measured_by = self.made(budget.precision)
        how = measured_by | {"threads": trained.engine.get("threads", measured_by["threads"])}
        by = {"made": how, "measured": measured_by}
        return publications(self.suite, pack, dataset.event_shape, trained, measured, cost, by, self.keep_weights)

    def made(self, precision: str) -> dict[str, Any]:
        """By what, on what and how: `device.made`, what was heard of a strict determinism so far, who was at work."""
        several = {"processes": self.processes} if self.processes > 1 else {}
        return made(self.device, precision) | said(self.determinism, self.heard) | several

    def measure(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> Found:
        """These metrics of every run on the test part, what is chosen by on validation, and the arrays for figures."""
        both = [(metric, options) for metric, options in chosen if metric.name == self.validated]
        with self.ledger.stage("evaluate"):
            part = self.holding.examples(dataset, dataset.test)
            moments = self.holding.moments_of(dataset)
            codes = encode(runs, part) if "posterior" in runs.offers else None
            found = evaluate(runs, chosen, part, moments, codes, self.ledger)
            validation = self.holding.examples(dataset, dataset.validation)
            validated = evaluate(runs, both, validation, moments, None, self.ledger)
            return found, validated, arrays(runs, part, dataset.test.y, codes, self.chosen)

    def measured(self, runs: Runs, dataset: Dataset, chosen: Chosen) -> Measured:
        """`measure`, and what went wrong: a faulty metric must not cost the training, nor the other metrics."""
        try:
            with contained():
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
                with contained():
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
        dataset = self.holding.dataset(run.spec)
        try:
            with contained():
                self.set_threads(run.spec)
                runs = revive(run.spec, weights, dataset.event_shape, self.device, self.allow_code)
        except Exception as error:
            raise InputError(f"{run.id}: its weights cannot be used: {printable(words(error))}") from error
        before = self.ledger.read()
        chosen = [(metric, options) for metric, options in self.chosen if metric.name in names]
        with listening() as self.heard:
            (new,), (validated,), (drawn,), error = self.measured(runs, dataset, chosen)
        if error is not None:
            return document | {"error": told(error, "trained, but not measured: ")}, None, None
        found = {"metrics": new} | ({"validation": validated} if validated else {})
        for part, values in found.items():
            kept = {name: v for name, v in document.get(part, {}).items() if v["metric"] not in names}
            found[part] = kept | values
        seconds = self.ledger.since(before)
        cost = document["cost"] | {f"{metric.stage}_seconds": seconds[metric.stage] for metric, _ in chosen}
        how = self.made(run.spec["train"]["precision"])
        return document | found | {"cost": cost, "measured": how, "error": None}, drawn, None
