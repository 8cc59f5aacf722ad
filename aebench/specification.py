"""A canonical specification, as suites and documents hold it -> what the training loop takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aebench.networks import NETWORKS
from aebench.optim import Descent, summary
from aebench.plugins import resolve
from aebench.schedule import Number, Schedule
from aebench.train import Budget, Setting
from aebench.variant import Network, Variant
from aebench.variants import VARIANTS


def recipe(spec: Mapping[str, Any], allow_code: bool) -> tuple[Variant, Network, Any]:
    """Variant, network and sizes of a run."""
    variant = resolve(VARIANTS, "variants", spec["variant"], allow_code=allow_code)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in spec["network"].items() if k != "kind"}
    kind = resolve(NETWORKS, "networks", spec["network"]["kind"], allow_code=allow_code)
    return variant, kind(**options), variant.sizes(**spec["sizes"])


def budget_of(spec: Mapping[str, Any]) -> Budget:
    """What a run's pack shares in training."""
    t = spec["train"]
    return Budget(t["steps"], t["batch"], t["optimizer"]["name"], t["precision"], t["keep"])


def setting_of(spec: Mapping[str, Any]) -> Setting:
    """The numbers of a run."""
    t = spec["train"]
    options = summary({name: value for name, value in t["optimizer"].items() if name != "name"})
    clip = number(t["clip"]) if "clip" in t else None
    descent = Descent(number(t["lr"]), number(t["weight_decay"]), clip, options)
    return Setting(spec["seed"], {name: number(value) for name, value in spec["hyper"].items()}, descent)


def number(value: Any) -> Number:
    """A float or a schedule of a specification."""
    if isinstance(value, Mapping):
        return Schedule(tuple((float(f), float(v)) for f, v in value["points"]), value["kind"])
    return float(value)
