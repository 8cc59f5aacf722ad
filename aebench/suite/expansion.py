"""From what a suite says to the specifications of its runs: names resolved, defaults filled in, sweeps multiplied."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any

from annotated_types import Ge

from aebench import data as datasets
from aebench import plugins
from aebench.errors import InputError
from aebench.networks import NETWORKS
from aebench.suite.draws import Axis, Key, draws, space
from aebench.suite.fields import canonical, checked, distinct, grid, hints, named, record
from aebench.suite.recipe import SWEPT, Count, Train, train
from aebench.suite.tree import Node, shortened
from aebench.variant import Variant
from aebench.variants import VARIANTS

SCHEMA = 1
MAX_RUNS = 100_000
RUN_KEYS = ("variant", "hyper", "sizes", "sweep", "tune", "data", "network", "train", "seeds")

Seed = Annotated[int, Ge(0)]


def resolve(node: Node, table: plugins.Table, group: str, kind: type | None, allow_code: bool) -> Any:
    """What the name at this node stands for, an instance of `kind`."""
    name = checked(node, str)
    try:
        found = plugins.resolve(table, group, name, allow_code=allow_code)
    except InputError as error:
        raise node.error(str(error)) from None
    except Exception as error:  # the user's or another package's code, run because she asked for it
        raise node.error(f"{shortened(name)!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if kind is not None and not isinstance(found, kind):
        raise node.error(f"{shortened(name)!r} is no {kind.__name__} but a {type(found).__name__}")
    return found


def network(node: Node, allow_code: bool) -> dict[str, Any]:
    """`mlp`, `{kind: mlp, hidden: ...}` or a user's `module:factory` as `{"kind": ..., every option}`."""
    entries = named(node, "kind", "a network", NETWORKS)
    kind = entries.pop("kind")
    factory = resolve(kind, NETWORKS, "networks", None, allow_code)
    if hasattr(factory, "_fields"):
        node.refuse_unknown(entries, factory._fields)
        options = record(factory, entries, node)
    else:
        options = {name: entry.value for name, entry in entries.items()}
        try:
            inspect.signature(factory).bind(**options)
        except (TypeError, ValueError) as error:
            raise node.error(f"{kind.value}: {error}") from None
    return canonical({"kind": kind.value, **options})


def data(node: Node, split_seed: int, allow_code: bool) -> list[dict[str, Any]]:
    """The canonical datasets of one entry or a list of them."""
    found: list[dict[str, Any]] = []
    for entry in node.items("data") if isinstance(node.value, list) else [node]:
        if not isinstance(entry.value, str | dict):
            raise entry.error("should be the name of a dataset, or a mapping with its name or path")
        try:
            described = canonical(datasets.describe(entry.value, split_seed=split_seed, allow_code=allow_code))
        except InputError as error:
            raise entry.error(str(error)) from error
        if described in found:
            raise entry.error(f"the same data as item {found.index(described)} of this list")
        found.append(described)
    return found


def seeds(node: Node) -> list[int]:
    """A number of seeds, or their list."""
    if not isinstance(node.value, list):
        number = checked(node, Count)
        if number > MAX_RUNS:
            raise too_many(node, number)
        return list(range(number))
    found: dict[int, None] = {}
    for entry in node.items("seeds"):
        if (seed := checked(entry, Seed)) in found:
            raise entry.error(f"the seed {seed} is given twice")
        found[seed] = None
    return list(found)


def too_many(node: Node, number: int) -> InputError:
    """The error for more runs than anyone means."""
    return node.error(f"a suite of {number} runs or more: at most {MAX_RUNS}")


@dataclass(frozen=True)
class Shared:
    """What a suite says for all its runs."""

    data: list[dict[str, Any]] | None
    network: dict[str, Any] | None
    train: Mapping[str, Node]
    seeds: list[int]
    same_seeds: bool
    """Every run has these seeds, whatever it says itself."""
    split_seed: int
    allow_code: bool
    draws: int | None = None
    """Of each entry with a space; None where the suite is not tuned."""


@dataclass(frozen=True)
class Entry:
    """One item of `runs`, checked: the specification without data, seed, what is swept or drawn, and their values."""

    node: Node
    base: dict[str, Any]
    data: list[dict[str, Any]]
    seeds: list[int]
    swept: dict[Key, list[Any]]
    """(section, field) -> its values."""
    space: tuple[Axis, ...]
    draws: list[dict[Key, Any]]
    """Of the space; one that is empty, where there is none. Each value of the sweep gets all of them."""

    @property
    def count(self) -> int:
        """The number of runs."""
        return len(self.data) * len(self.seeds) * math.prod(map(len, self.swept.values())) * len(self.draws)

    def limited(self, steps: int) -> Entry:
        """The same with one seed, few steps, and two draws at most."""
        short = {**self.base["train"], "steps": min(steps, self.base["train"]["steps"])}
        return replace(self, base={**self.base, "train": short}, seeds=self.seeds[:1], draws=self.draws[:2])

    @property
    def sweeps(self) -> list[dict[Key, Any]]:
        """The values of what is swept, one after another."""
        return [dict(zip(self.swept, values, strict=True)) for values in product(*self.swept.values())]

    def specs(self) -> Iterator[dict[str, Any]]:
        """The canonical specification of each run; seeds vary fastest, then draws, data slowest."""
        for data, swept, draw in product(self.data, self.sweeps, self.draws):
            yield from self.seeded(data, {**swept, **draw})

    def seeded(self, data: Mapping[str, Any], values: Mapping[Key, Any]) -> Iterator[dict[str, Any]]:
        """The specification of each seed, on these data and with these values."""
        spec = dict(self.base)
        for (section, name), value in values.items():
            changed = {**spec[section], name: value}
            spec[section] = {key: kept for key, kept in changed.items() if kept is not None}  # as canonical ones are
        yield from ({**spec, "data": data, "seed": seed} for seed in self.seeds)


def entry(node: Node, shared: Shared) -> Entry:
    """Check one item of `runs`."""
    keys = node.keys(RUN_KEYS, "a mapping such as {variant: vae, sweep: {beta: [...]}}")
    if "variant" not in keys:
        raise node.error(f"variant is missing: choose from {', '.join(VARIANTS)}")
    variant: Variant = resolve(keys["variant"], VARIANTS, "variants", Variant, shared.allow_code)
    fields = {
        "hyper": hints(variant.hyper),
        "sizes": hints(variant.sizes),
        "train": {name: hints(Train)[name] for name in SWEPT},
    }
    given = {
        "hyper": keys["hyper"].keys(fields["hyper"]) if "hyper" in keys else {},
        "sizes": keys["sizes"].keys(fields["sizes"]) if "sizes" in keys else {},
        "train": keys["train"].keys(Train._fields) if "train" in keys else {},
    }
    swept: dict[Key, list[Any]] = {}
    for section, name, values in _sweep(keys["sweep"], fields) if "sweep" in keys else ():
        _free(keys["sweep"], section, name, given, variant)
        given[section][name] = values[0]
        swept[section, name] = distinct(values, fields[section][name], scheduled=section != "sizes")
    axes = space(keys["tune"], fields) if "tune" in keys else ()
    for axis in axes:
        if axis.key in swept:
            raise keys["tune"].error(f"{axis.name} is swept too", axis.name)
        _free(keys["tune"], axis.section, axis.name, given, variant)
        given[axis.section][axis.name] = axis.node
    base: dict[str, Any] = {
        "schema": SCHEMA,
        "variant": keys["variant"].value,
        "version": variant.version,
        "hyper": canonical(record(variant.hyper, given["hyper"], keys.get("hyper", node), scheduled=True)),
        "sizes": canonical(record(variant.sizes, given["sizes"], keys.get("sizes", node))),
        "network": _network_of(variant, keys.get("network"), shared),
        "train": train({**shared.train, **given["train"]}, keys.get("train", node)),
    }
    if variant.fit is not None:  # no step is taken: the result, and so the id, depends on the precision alone
        base["train"] = {**train({}, node), "precision": base["train"]["precision"]}
    own = data(keys["data"], shared.split_seed, shared.allow_code) if "data" in keys else shared.data
    if own is None:
        raise node.error("data is missing, here and in the suite")
    _fits(base["network"], own, keys.get("network", node), shared.allow_code)
    if variant.check is not None:
        varied = {**swept, **{axis.key: axis.values for axis in axes}}
        sizes = {name: values for (section, name), values in varied.items() if section == "sizes"}
        _sensible(variant, base["sizes"], sizes, own, keys.get("sizes", node), shared.allow_code)
    references = (base["variant"], base["network"]["kind"])
    if code := {name: found for name in references if (found := plugins.fingerprint(name))}:
        base["code"] = code
    own_seeds = seeds(keys["seeds"]) if "seeds" in keys else shared.seeds
    drawn = _drawn(keys["tune"], variant, axes, shared.draws) if axes else [{}]
    return Entry(node, base, own, shared.seeds if shared.same_seeds else own_seeds, swept, axes, drawn)


def _free(node: Node, section: str, name: str, given: Mapping[str, Mapping[str, Node]], variant: Variant) -> None:
    """Refuse to vary a field that has a value already, or that changes nothing."""
    if name in given[section]:
        raise node.error(f"{name} is given in {section} too", name)
    if section == "train" and variant.fit is not None:
        raise node.error(f"variant {variant.name!r} is a closed form: {name} changes nothing", name)


def _drawn(node: Node, variant: Variant, axes: Sequence[Axis], number: int | None) -> list[dict[Key, Any]]:
    if number is None:
        raise node.error("wants the suite's own tune beside it, such as tune: {draws: 16, metric: sse}")
    return draws(node, variant.name, axes, number)


def _fits(spec: Mapping[str, Any], own: Iterable[Mapping[str, Any]], node: Node, allow_code: bool) -> None:
    """Refuse a network that cannot take the events of a data set, where it can tell."""
    kind = plugins.resolve(NETWORKS, "networks", spec["kind"], allow_code=allow_code)
    if not hasattr(kind, "check"):
        return
    network = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "kind"})
    for one in own:
        try:
            network.check(datasets.outline(one, allow_code=allow_code)[0])
        except InputError as error:
            raise node.error(f"{error} (data {one['name']!r})") from error


def _sensible(
    variant: Variant,
    sizes: Mapping[str, Any],
    varied: Mapping[str, Sequence[Any]],
    own: Iterable[Mapping[str, Any]],
    node: Node,
    allow_code: bool,
) -> None:
    """Refuse sizes that the variant says make no sense for the events of a data set."""
    assert variant.check is not None
    for one in own:
        for values in product(*varied.values()):
            chosen = variant.sizes(**{**sizes, **dict(zip(varied, values, strict=True))})
            try:
                variant.check(chosen, datasets.outline(one, allow_code=allow_code)[0])
            except InputError as error:
                raise node.error(f"{error} (variant {variant.name!r}, data {one['name']!r})") from error


def _sweep(node: Node, fields: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, list[Node]]]:
    """The (section, field, values) of a sweep; a name is looked up in hyper, then sizes, then train."""
    choices = [name for section in fields.values() for name in section]
    axes = node.keys(choices, "a mapping {field: [values]}")
    if not axes:
        raise node.error(f"is empty: it wants at least one of {', '.join(choices)}")
    for name, axis in axes.items():
        section = next(section for section, names in fields.items() if name in names)
        yield section, name, grid(axis, MAX_RUNS)


def _network_of(variant: Variant, own: Node | None, shared: Shared) -> dict[str, Any]:
    """The run's own network, or the suite's, or, where the variant is not defined for that, the variant's."""
    if own is not None:
        chosen = network(own, shared.allow_code)
        if variant.networks and chosen["kind"] not in variant.networks:
            kinds = " or ".join(variant.networks)
            raise own.error(f"variant {variant.name!r} is defined for the network {kinds}, not {chosen['kind']!r}")
        return chosen
    kinds = variant.networks or ("mlp",)
    if shared.network is None or (variant.networks and shared.network["kind"] not in variant.networks):
        factory = plugins.resolve(NETWORKS, "networks", kinds[0])
        return canonical({"kind": kinds[0], **factory()._asdict()})
    return shared.network
