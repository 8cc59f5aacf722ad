"""What a suite says about the fields of a record (a NamedTuple with Annotated ranges) -> checked, canonical values.

Records are those of variants (hyper, sizes), networks, optimisers, training and metric options. Strict: a float
where an int belongs is refused, an int where a float belongs becomes one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge
from pydantic import TypeAdapter, ValidationError

from aebench.errors import unknown
from aebench.suite.tree import Node, shortened, shown
from aebench.variant import Choice

DIGITS = 12
"""Significant digits of computed sweeps, so that they are the same numbers on every machine."""
GRIDS = ("linspace", "logspace", "values")

adapter = cache(TypeAdapter)
"""The validator of a type."""


def checked(node: Node, kind: Any) -> Any:
    """The node's value as `kind`; InputError says what it should be."""
    try:
        return adapter(kind).validate_json(json.dumps(node.value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise node.at(first["loc"]).error(_complaint(node, first)) from None


def _complaint(node: Node, error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        named = [part for part in node.location if isinstance(part, str)]
        return str(unknown(named[-1] if named else "value", shortened(error["input"]), choices))
    said = str(error["msg"]).replace("valid array", "list").replace("a valid string", "text")
    if said.startswith("Input should be"):
        return f"{shown(error['input'])} {said.removeprefix('Input ')}"
    return said[:1].lower() + said[1:]


@cache
def hints(record: Any) -> dict[str, Any]:
    """The types of a record's fields, with their ranges."""
    return get_type_hints(record, include_extras=True)


@cache
def takes_float(kind: Any) -> bool:
    """Whether a type is a float (with a range, or None): such a field may follow a schedule."""
    if get_origin(kind) is Annotated:
        return takes_float(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return all(part is NoneType or takes_float(part) for part in get_args(kind))
    return kind is float


def field(node: Node, kind: Any, *, scheduled: bool = False) -> Any:
    """The value of one field, or the schedule `{"points": [[fraction, value], ...], "kind": ...}` of a float."""
    if scheduled and takes_float(kind) and isinstance(node.value, dict):
        return _schedule(node, kind)
    options = choice(kind)
    return checked(node, kind) if options is None else chosen(node, options)


def distinct(nodes: Sequence[Node], kind: Any, *, scheduled: bool) -> list[Any]:
    """The canonical values of one field; InputError where one is given twice."""
    values: list[Any] = []
    known: set[str] = set()
    for node in nodes:
        value = canonical(field(node, kind, scheduled=scheduled))
        if str(value) in known:
            raise node.error(f"{shortened(str(value))} is given twice")
        known.add(str(value))
        values.append(value)
    return values


def choice(kind: Any) -> Choice | None:
    """What a type chooses from, where it is `Annotated[..., Choice(...)]`."""
    return next((part for part in getattr(kind, "__metadata__", ()) if isinstance(part, Choice)), None)


def chosen(node: Node, among: Choice) -> str | dict[str, Any]:
    """A name of a choice; or, where it has options, `{"name": ..., every option}`."""
    what = next((part for part in reversed(node.location) if isinstance(part, str)), "value")
    entries = named(node, "name", f"{'an' if what[0] in 'aeiou' else 'a'} {what}", among.options)
    name = checked(entries.pop("name"), str)
    if name not in among.options:
        raise node.error(str(unknown(what, shortened(name), among.options)), "name")
    options = among.options[name]
    node.refuse_unknown(entries, options._fields)
    return {"name": name, **record(options, entries, node)} if options._fields else name


def _schedule(node: Node, kind: Any) -> dict[str, Any]:
    entries = node.keys(("points", "kind"))
    if "points" not in entries:
        raise node.error("a schedule wants points: {fraction of training: value}")
    points = entries["points"]
    if not isinstance(points.value, dict) or not points.value:
        raise points.error(f"should be a mapping {{fraction of training: value}}, not {shown(points.value)}")
    values: dict[float, float] = {}
    for fraction, value in points.value.items():
        node_of_point = points.at((fraction,), value)
        if isinstance(fraction, str) or not 0 <= fraction <= 1:
            raise node_of_point.error(f"{shown(fraction)} is no fraction of training between 0 and 1")
        if value is None:
            raise node_of_point.error("wants a number")
        values[float(fraction)] = checked(node_of_point, kind)
    name = checked(entries["kind"], Literal["linear", "step"]) if "kind" in entries else "linear"
    return {"points": [[fraction, values[fraction]] for fraction in sorted(values)], "kind": name}


def record(kind: Any, given: Mapping[str, Node], holder: Node, *, scheduled: bool = False) -> dict[str, Any]:
    """The fields of a record: those given, checked, and the defaults of the others."""
    values: dict[str, Any] = {}
    for name, hint in hints(kind).items():
        if name in given:
            values[name] = field(given[name], hint, scheduled=scheduled)
        elif name in kind._field_defaults:
            default, options = kind._field_defaults[name], choice(hint)
            values[name] = (
                chosen(holder.at((), default), options) if options else adapter(hint).validate_python(default)
            )
        else:
            raise holder.error(f"{name} is missing")
    return values


def named(node: Node, key: str, what: str, choices: Collection[str]) -> dict[str, Node]:
    """A bare name, or a mapping that has one under `key`, as a mapping."""
    if isinstance(node.value, str):
        return {key: node}
    entries = node.keys(what=f"the name of {what}, or {{{key}: ..., options}}")
    if key not in entries:
        raise node.error(f"{key} is missing: choose from {', '.join(sorted(choices))}")
    return entries


def canonical(value: Any) -> Any:
    """A value as plain JSON: tuples as lists, None dropped from mappings, -0.0 as 0.0; ValueError if not finite."""
    if isinstance(value, Mapping):
        return {str(key): canonical(part) for key, part in value.items() if part is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [canonical(part) for part in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
        return float(value) + 0.0
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} is not plain JSON")


def grid(node: Node, limit: int) -> list[Node]:
    """The values of a swept field: a list, or {logspace | linspace: [first, last, number]}, or {values: list}.

    At most `limit` of them; not yet checked against the field.
    """
    if not isinstance(node.value, dict):
        return node.items("values (or {logspace: [first exponent, last exponent, number]})")
    entries = node.keys(GRIDS)
    if len(entries) != 1:
        raise node.error(f"wants one of {', '.join(GRIDS)}, not {len(entries)}")
    ((name, inner),) = entries.items()
    if name == "values":
        return inner.items("values")
    parts = inner.items("numbers: first, last, how many")
    if len(parts) != 3:
        raise inner.error(f"wants three numbers (first, last, how many), not {len(parts)}")
    first, last = checked(parts[0], float), checked(parts[1], float)
    number = checked(parts[2], Annotated[int, Ge(1)])
    if number > limit:
        raise parts[2].error(f"a suite of {number} runs or more: at most {limit}")
    return [inner.at((), value) for value in _spaced(inner, name, first, last, number)]


def _spaced(node: Node, name: str, first: float, last: float, number: int) -> list[float]:
    step = (last - first) / (number - 1) if number > 1 else 0.0
    points = [first + n * step for n in range(number)]
    try:
        values = [10.0**point for point in points] if name == "logspace" else points
    except OverflowError:
        raise node.error(f"10 to the power of {max(first, last)} is no finite number") from None
    if not all(map(math.isfinite, values)):
        raise node.error(f"from {first} to {last} is no finite range")
    return [float(f"{value:.{DIGITS}g}") for value in values]
