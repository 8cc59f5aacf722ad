"""Which runs make one line of a comparison or figure, and which one setting; and their mean over seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.data import ASIDE

KL_WEIGHT = ("beta", "notes_beta")
"""The hyperparameters that are the KL weight, or its inverse."""


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but the seed."""

    label: str
    kl_weight: float
    """NaN where the variant has none, or it follows a schedule."""
    rows: DataFrame

    @property
    def first(self) -> str:
        """The id of the run with the lowest seed."""
        return str(self.rows.sort_values("seed")["id"].iloc[0])


@dataclass(frozen=True)
class Series:
    """Runs that differ in nothing but the KL weight, or what else is swept, and the seed: one line of a figure."""

    label: str
    settings: tuple[Setting, ...]
    """By rising notes' β, that is by falling KL weight; in order of appearance where another field is swept."""

    @property
    def is_sweep(self) -> bool:
        """Whether it has more than one KL weight, or value of what else is swept."""
        return len(self.settings) > 1


@dataclass(frozen=True)
class Intervals:
    """Means over seeds with their 95 % t intervals, `[points]` each; a bound is NaN with fewer than two seeds."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Lengths below and above the mean, `[2, points]`, as error bars want them; 0 where there is no interval."""
        return np.nan_to_num(np.stack([self.mean - self.low, self.high - self.mean]))


def datasets(frame: DataFrame) -> Iterator[tuple[str, DataFrame]]:
    """The runs of each data set and its label, in order of appearance."""
    for label in dict.fromkeys(frame["data"]):
        yield str(label), frame[frame["data"] == label]


def series(frame: DataFrame, swept: Collection[str] = KL_WEIGHT) -> list[Series]:
    """The series of one data set's runs, in order of appearance; `swept` are the fields that vary along each."""
    parts = _parts(frame, [_key(without_sweep(spec, swept)) for spec in frame["spec"]])
    heads = [(str(part["spec"].iloc[0]["variant"]), _settings_of(part, swept)) for part in parts]
    return [Series(label, _settings(label, part)) for label, part in zip(_labels(heads), parts, strict=True)]


def labels(specs: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> list[str]:
    """For settings of one data set the variant of each, and what tells it from others of that name.

    `specs`: one specification a setting; `networks`: its network in words, as the frame has it.
    """
    return _labels([(spec["variant"], _settled(spec, words)) for spec, words in zip(specs, networks, strict=True)])


def value(setting: Setting, name: str) -> float:
    """A hyperparameter or size of a setting; NaN where it has none of that name, or one that is no number."""
    spec = setting.rows["spec"].iloc[0]
    found = spec["hyper"].get(name, spec["sizes"].get(name))
    return float(found) if isinstance(found, int | float) else float("nan")


def ordered(line: Series, name: str) -> tuple[tuple[Setting, ...], NDArray[np.float64]]:
    """The settings of a line that have a value of this field, by rising value, and these values `[points]`."""
    known = [(value(setting, name), setting) for setting in line.settings]
    known = sorted((pair for pair in known if not np.isnan(pair[0])), key=lambda pair: pair[0])
    return tuple(setting for _, setting in known), np.array([x for x, _ in known], np.float64)


def intervals(settings: Sequence[Setting], column: str) -> Intervals:
    """Mean and interval of a column over the seeds of each setting."""
    values = [stats.mean_interval(setting.rows[column].to_numpy(np.float64), missing="drop") for setting in settings]
    found = np.array([[i.mean, i.low, i.high] for i in values], np.float64).reshape(-1, 3)
    return Intervals(*found.T)


def seeds(frame: DataFrame) -> str:
    """How many seeds stand behind the runs, in words for a caption."""
    counts = sorted(Counter(without_seed(spec) for spec in frame["spec"]).values())
    if counts[-1] == 1:
        return "one seed, so without intervals"
    number = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return f"mean of {number} seeds with 95 % t intervals"


def evaluated(rows: DataFrame) -> str:
    """Which part of a data set the runs were evaluated on, to begin a caption with."""
    return "Training" if rows["spec"].iloc[0]["data"].get("split", {}).get("kind") == "none" else "Test"


def number(value: float) -> str:
    """A hyperparameter, short: 1, 0.0625, 1e-05, and 0.032 for 10^-1.5."""
    text = f"{value:.3g}"
    return text if float(text) == value else f"{value:.2g}"


def weight(frame: DataFrame) -> NDArray[np.float64]:
    """The KL weight of each run; NaN where it has none, or one that follows a schedule."""
    if "kl_weight" not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame["kl_weight"], errors="coerce").to_numpy(np.float64)


def _settings(label: str, part: DataFrame) -> tuple[Setting, ...]:
    found: list[Setting] = []
    for rows in _parts(part, [without_seed(spec) for spec in part["spec"]]):
        b = float(weight(rows)[0])
        found.append(Setting(", ".join(filter(None, (label, kl_weight_in_words(b)))), b, rows))
    return tuple(sorted(found, key=lambda setting: -np.nan_to_num(setting.kl_weight, nan=np.inf)))


def kl_weight_in_words(b: float) -> str:
    """`KL weight 0.1`; nothing where there is none."""
    return "" if np.isnan(b) else f"KL weight {number(b)}"


def _parts(frame: DataFrame, keys: Sequence[str]) -> list[DataFrame]:
    """The rows of each key, in order of appearance."""
    codes = pd.factorize(np.array(keys, dtype=object))[0]
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    return [frame.iloc[rows] for rows in np.split(order, starts)] if len(keys) else []


def _settings_of(part: DataFrame, swept: Collection[str]) -> dict[str, Any]:
    return _settled(without_sweep(part["spec"].iloc[0], swept), str(part["network"].iloc[0]))


def _settled(spec: Mapping[str, Any], network: str) -> dict[str, Any]:
    head = {name: spec[name] for name in ("hyper", "sizes", "train")}
    return {**head, "network": network, "version": spec.get("version")}


def _labels(heads: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """A label for each (name, settings): the name, and what tells it from others of that name."""
    flat = [dict(_flatten(settings)) for _, settings in heads]
    held: dict[str, int] = Counter(name for name, _ in heads)
    found: dict[tuple[str, str], Counter[str]] = {}
    for (name, _), own in zip(heads, flat, strict=True):
        for key, value in own.items():
            found.setdefault((name, key), Counter())[json.dumps(value)] += 1
    shared = {of for of, counts in found.items() if max(counts.values()) == held[of[0]]}
    texts: list[str] = []
    for (name, _), own in zip(heads, flat, strict=True):
        telling = [key for key in own if (name, key) not in shared]
        texts.append(", ".join([name, *(_said(key, own[key]) for key in telling)]))
    return texts


def _said(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if name in ("network", "name"):  # what is chosen says itself; its options follow
        return str(value)
    if isinstance(value, Mapping):  # a schedule
        first, last = value["points"][0][1], value["points"][-1][1]
        return f"{name} {first:g} to {last:g}"
    text = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return f"{name} {text}"


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and "points" not in value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_seed(spec: Mapping[str, Any]) -> str:
    """What runs of one setting share, as one text; where a user's own file lies does not belong to it."""
    data = {key: value for key, value in spec["data"].items() if key not in ASIDE}
    return _key({**{key: value for key, value in spec.items() if key != "seed"}, "data": data})


def without_data(spec: Mapping[str, Any]) -> str:
    """What runs of one setting share whatever they were trained on, as one text."""
    return _key({key: value for key, value in without_drawn(spec).items() if key not in ("seed", "data")})


def without_drawn(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification without the fields that tuning drew: what was chosen differs from data set to data set."""
    drawn = (spec.get("tuning") or {}).get("fields", ())
    parts = {part: {k: v for k, v in spec[part].items() if k not in drawn} for part in ("hyper", "sizes", "train")}
    return {**spec, **parts}


def without_sweep(spec: Mapping[str, Any], swept: Collection[str]) -> dict[str, Any]:
    """A specification without the seed and the fields that are swept; a schedule is no point of a sweep, and stays."""
    kept = {key: value for key, value in spec.items() if key != "seed"}
    for section in ("hyper", "sizes"):
        own = spec[section].items()
        kept[section] = {key: value for key, value in own if key not in swept or isinstance(value, Mapping)}
    return kept


def _key(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True)
