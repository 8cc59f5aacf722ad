"""Bencher Metric Format: benchmark -> measure -> `value`, `lower_value`, `upper_value` (bencher.dev, its JSON schema).

A time is Bencher's built-in measure `latency`, in nanoseconds; other measures keep their names, with their kinds where
several of a benchmark have one.
"""

from __future__ import annotations

import json
import math

from aebench.errors import InputError
from aebench.regress import sources
from aebench.regress.export import Export, distinct, shortened, without
from aebench.regress.records import Measure
from aebench.regress.sources import Source

NANOSECONDS = 1e9
LONGEST_BENCHMARK, LONGEST_MEASURE = 1024, 64
"""Characters of a name there."""


def export(source: Source) -> Export:
    """One JSON file; the bounds are the quartiles of a time, and the 95 % interval of a quality's mean."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    missing: list[Measure] = []
    names = distinct(source.side.values, lambda measure: "latency" if measure.kind == "time" else measure.name)
    for measure, values in source.side.values.items():
        found = sources.summary(measure, values)
        if found is None:
            missing.append(measure)
            continue
        scale = NANOSECONDS if measure.kind == "time" else 1.0
        bounds = {"value": found.value, "lower_value": found.low, "upper_value": found.high}
        metric = shortened(names[measure], LONGEST_MEASURE)
        metrics.setdefault(shortened(measure.benchmark, LONGEST_BENCHMARK), {})[metric] = {
            key: value * scale for key, value in bounds.items() if math.isfinite(value)
        }
    if not metrics:
        raise InputError(f"{source.side.name}: no measure has a finite value")
    text = json.dumps(metrics, indent=1) + "\n"
    return Export({"bencher.json": text}, left_out=without(missing, "they have no finite value"))
