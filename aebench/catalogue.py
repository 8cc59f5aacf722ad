"""What there is: names and lines of the tables, a variant in words, the state of this machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, get_type_hints

from ruamel.yaml import YAML

from aebench import data, plugins
from aebench.data import DATASETS
from aebench.errors import unknown
from aebench.metrics import METRICS, Metric
from aebench.networks import NETWORKS
from aebench.plugins import Table
from aebench.reconstructions import RECONSTRUCTIONS, Reconstruction
from aebench.suite import shipped
from aebench.suite.fields import choice
from aebench.variant import Variant
from aebench.variants import VARIANTS

TABLES: dict[str, Table] = {"variants": VARIANTS, "data": DATASETS, "metrics": METRICS, "networks": NETWORKS}
Section = tuple[str, list[str]]


def listing(kind: str) -> dict[str, str]:
    """Name -> one line, of variants, data, metrics, networks or suites."""
    return suites() if kind == "suites" else plugins.names(TABLES[kind], kind)


def suites() -> dict[str, str]:
    """The suites that ship with aebench, and what each is about."""
    yaml = YAML(typ="safe", pure=True)
    return {name: yaml.load(path).get("about", "") for name, path in shipped().items()}


def explain(name: str) -> list[Section]:
    """What a name stands for, in sections of lines. Raises InputError with the nearest names."""
    sections: list[Section] = []
    for kind, table in TABLES.items():
        if name in plugins.names(table, kind):
            thing = plugins.resolve(table, kind, name)
            describe = {"variants": _variant, "metrics": _metric, "networks": _network, "data": _data}[kind]
            sections += describe(name, thing)
    if name in shipped():
        sections += [(f"suite {name}", shipped()[name].read_text("utf-8").splitlines())]
    if not sections:
        known = [*(n for kind in TABLES for n in listing(kind)), *shipped()]
        raise unknown("name", name, known)
    return sections


def _variant(name: str, variant: Variant) -> list[Section]:
    metrics = {m: plugins.resolve(METRICS, "metrics", m) for m in METRICS}
    sizes = variant.sizes()
    offered = [m for m, metric in metrics.items() if metric.needs <= variant.offers(sizes)]
    return [
        (f"variant {name} (version {variant.version})", [variant.about]),
        ("formula", [variant.formula]),
        ("source", [variant.source]),
        ("hyperparameters: floats, one value a run", fields(variant.hyper)),
        ("sizes: shared by the runs of a pack", fields(variant.sizes)),
        *(
            [("reconstruction losses, by name or with options: {name: ..., ...}", losses(variant))]
            * bool(taken(variant))
        ),
        ("networks", [", ".join(variant.networks or tuple(NETWORKS))]),
        ("data", needs_of_data(variant)),
        ("metrics", [", ".join(offered)]),
    ]


def taken(variant: Variant) -> dict[str, Reconstruction]:
    """The reconstruction losses that can be chosen for a variant."""
    hints = get_type_hints(variant.sizes, include_extras=True)
    among = choice(hints["reconstruction"]) if "reconstruction" in hints else None
    return {name: known for name, known in RECONSTRUCTIONS.items() if among and name in among.options}


def losses(variant: Variant) -> list[str]:
    """Of each reconstruction loss that a variant takes the formula and the options, with their defaults."""
    lines: list[str] = []
    for name, known in taken(variant).items():
        options = fields(known.options) if known.options._fields else []
        lines.append("; ".join([f"{name}: {known.about}", *options]))
    return lines


def needs_of_data(variant: Variant) -> list[str]:
    """What a variant assumes of the data, and of its sizes beside them."""
    bounded = [name for name, known in taken(variant).items() if known.unit_interval]
    if variant.unit_interval or (bounded and len(bounded) == len(taken(variant))):
        lines = ["values in [0, 1]"]
    else:
        lines = ["any finite values" + (f"; in [0, 1] with {', '.join(bounded)}" if bounded else "")]
    if variant.check is not None:
        lines.append(" ".join((variant.check.__doc__ or "").split()))
    return lines


def _metric(name: str, metric: Metric) -> list[Section]:
    arrows = {"lower": "lower is better", "higher": "higher is better", "neither": "neither direction is better"}
    values = metric.values(metric.options())
    return [
        (f"metric {name} (version {metric.version})", [metric.about]),
        ("values", [f"{n}: {v.about} [{v.unit}; {arrows[v.better]}]" for n, v in values.items()]),
        ("options", fields(metric.options)),
        ("needs of the variant", [", ".join(sorted(metric.needs))]),
    ]


def _network(name: str, network: Any) -> list[Section]:
    return [(f"network {name}", [NETWORKS[name][1]] if name in NETWORKS else []), ("options", fields(network))]


def _data(name: str, source: Any) -> list[Section]:
    row = next(row for row in data.listing() if row.name == name)
    sizes = "train {:,}, validation {:,}, test {:,}".format(*row.sizes) if row.sizes else "sizes unknown until loaded"
    shape = "×".join(map(str, row.event_shape)) if row.event_shape else "?"
    return [
        (f"data {name} (version {source.version})", [row.about, f"events of {shape}; {sizes}"]),
        ("parameters", fields(source.parameters)),
    ]


def fields(record: type[Any]) -> list[str]:
    """The fields of a NamedTuple: name, type with its range, default; then what it says of them."""
    hints = get_type_hints(record, include_extras=True)
    defaults: Mapping[str, Any] = getattr(record, "_field_defaults", {})
    lines = [f"{name}: {spelled(hint)} = {defaults.get(name)!r}" for name, hint in hints.items()]
    if not lines:
        return ["none"]
    return [*lines, *(line.strip() for line in (record.__doc__ or "").splitlines() if line.strip())]


def spelled(hint: Any) -> str:
    """A type as one would write it, with its range: `float ≥ 0`."""
    if hasattr(hint, "__metadata__"):
        if among := choice(hint):
            return " | ".join(map(repr, among.options))
        signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "of length ≥"}
        limits = [(name, value) for bound in hint.__metadata__ for name, value in asdict(bound).items()]
        bounds = [f"{signs.get(name, name)} {value}" for name, value in limits]
        return " ".join([spelled(hint.__origin__), *bounds])
    arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is tuple:
        return f"list of ({spelled(arguments[0])})"
    if str(hint).startswith("typing.Literal"):
        return " | ".join(map(repr, arguments))
    return getattr(hint, "__name__", str(hint))


def diagnosis() -> dict[str, Any]:
    """What this machine has."""
    import torch

    from aebench.device import choose, cores, describe, driver

    device = choose("auto")
    facts: dict[str, Any] = {name: version(name) for name in ("aebench", "torch", "torchvision", "numpy", "pandas")}
    facts["python"] = platform.python_version()
    facts["device"] = f"{device.type}: {describe(device)}"
    facts["driver"] = driver(device)
    facts["cores"] = cores()
    facts["threads"] = torch.get_num_threads()
    facts["data at hand"] = ", ".join(row.name for row in data.listing() if row.available)
    facts["data to fetch"] = ", ".join(row.name for row in data.listing() if not row.available)
    facts["suites"] = ", ".join(shipped())
    return {name: value for name, value in facts.items() if value is not None}
