"""How a suite is tuned: so many draws for every variant with a space, and the value that is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Le

from aebench import data as datasets
from aebench.errors import unknown
from aebench.metrics import Metric, Value
from aebench.plugins import resolve
from aebench.suite.draws import Key
from aebench.suite.expansion import MAX_RUNS, Entry
from aebench.suite.fields import record
from aebench.suite.tree import Node, shortened
from aebench.variants import VARIANTS

Chosen = Sequence[tuple[Metric, Any]]
"""Metrics, each with its options."""
Group = dict[str, Any]
"""Runs that are compared by their draws, as `suite.json` has them: of one entry, data set and value of its sweep.

`{"variant", "data", "swept": {field: value}, "fields": {field: {kind: [values]}}, "draws": [{"values": {field: value},
"ids": [by seed]}]}`; an entry without a space has no fields and one draw.
"""


class Asked(NamedTuple):
    """What a suite says under `tune`: how many draws, and the value of a metric that chooses among them."""

    draws: Annotated[int, Ge(1), Le(MAX_RUNS)]
    metric: str


@dataclass(frozen=True)
class Tune:
    """How a suite is tuned."""

    draws: int
    """Of each variant that has a space."""
    metric: str
    """The value that is chosen by, on the validation part."""
    measured_by: str
    """The metric that gives it."""
    better: Literal["lower", "higher"]
    unit: str
    groups: tuple[Group, ...]

    @property
    def said(self) -> dict[str, Any]:
        """What `suite.json` says of it."""
        return {**asdict(self), "groups": list(self.groups)}


def asked(node: Node) -> Asked:
    """Check the suite's `tune`, but for the name of its metric."""
    return Asked(**record(Asked, node.keys(Asked._fields, "a mapping {draws: 16, metric: sse}"), node))


def tune(
    node: Node, metrics: Chosen, entries: Sequence[Entry], run_id: Callable[[Mapping[str, Any]], str], allow_code: bool
) -> Tune:
    """How a suite is tuned; InputError where its metric cannot choose, or nothing is left to choose on."""
    name = asked(node).metric
    metric, options = _chooser(node, name, metrics)
    if not any(one.space for one in entries):
        raise node.error("no run has a space to draw from: give one tune: {field: {loguniform: [low, high]}}")
    for one in entries:
        _validated(one, allow_code)
        if one.space:
            _measured(one, metric, name, allow_code)
    value = metric.values(options)[name]
    groups = tuple(group for one in entries for group in _groups(one, run_id))
    number = max(len(one.draws) for one in entries)
    assert value.better != "neither"
    return Tune(number, name, metric.name, value.better, value.unit, groups)


def _chooser(node: Node, name: str, metrics: Chosen) -> tuple[Metric, Any]:
    """The suite's metric that gives a value of this name: a score of the examples whose better direction is known."""
    given = {value: (metric, options) for metric, options in metrics for value in metric.values(options)}
    able = [value for value, (metric, options) in given.items() if _chooses(metric, metric.values(options)[value])]
    place = node.at(("metric",))
    if not able:
        raise place.error("the suite's metrics give no value to choose by: add one, such as reconstruction")
    if name in given and name not in able:
        why = "has no better direction, or is no score of the examples"
        raise place.error(f"{name} cannot choose, as it {why}: choose from {', '.join(able)}")
    if name not in able:
        raise place.error(str(unknown("value", shortened(name), able)))
    return given[name]


def _chooses(metric: Metric, value: Value) -> bool:
    return value.better != "neither" and metric.kind != "model"


def _validated(one: Entry, allow_code: bool) -> None:
    """Refuse data without a validation part of their own."""
    for data in one.data:
        _, (_, validation, _) = datasets.outline(data, allow_code=allow_code)
        if data["split"]["kind"] == "none" or validation < 1:
            raise one.node.error(f"data {data['name']!r} have no validation part to choose on, which tune asks for")


def _measured(one: Entry, metric: Metric, name: str, allow_code: bool) -> None:
    """Refuse a variant that the metric does not measure."""
    variant = resolve(VARIANTS, "variants", one.base["variant"], allow_code=allow_code)
    for sizes in {str(spec["sizes"]): spec["sizes"] for spec in one.specs()}.values():
        given = variant.sizes(**sizes)
        if not metric.applies(variant.offers(given), given.latent):
            raise one.node.error(f"variant {variant.name!r} has no {name}, by which tune chooses")


def _groups(one: Entry, run_id: Callable[[Mapping[str, Any]], str]) -> Iterator[Group]:
    for data, swept in product(one.data, one.sweeps):
        yield {
            "variant": one.base["variant"],
            "data": data["name"],
            "swept": _named(swept),
            "fields": {axis.name: {axis.kind: list(axis.values)} for axis in one.space},
            "draws": [
                {"values": _named(draw), "ids": [run_id(spec) for spec in one.seeded(data, {**swept, **draw})]}
                for draw in one.draws
            ],
        }


def _named(values: Mapping[Key, Any]) -> dict[str, Any]:
    return {name: value for (_, name), value in values.items()}
