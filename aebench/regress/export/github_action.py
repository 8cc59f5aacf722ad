"""Two JSON files for github-action-benchmark, whose tools `customSmallerIsBetter` and `customBiggerIsBetter` read them.

Each is an array of entries `name`, `unit`, `value`, and where there is one `range` and `extra` (its README, "Custom").
"""

from __future__ import annotations

import json
import math
from typing import Any

from aebench.errors import InputError
from aebench.regress import sources
from aebench.regress.export import Export, distinct, without
from aebench.regress.records import Measure
from aebench.regress.sources import Source, Summary

NAMES = {"lower": "smaller-is-better.json", "higher": "bigger-is-better.json"}


def export(source: Source) -> Export:
    """The file of each direction that a measure has; a file without entries would be an error there."""
    entries: dict[str, list[dict[str, Any]]] = {"lower": [], "higher": []}
    missing: list[Measure] = []
    exact = [measure for measure in source.side.values if measure.kind == "exact"]
    for measure, name in distinct(m for m in source.side.values if m.kind != "exact").items():
        if (found := sources.summary(measure, source.side.values[measure])) is None:
            missing.append(measure)
        else:
            entries[measure.better].append(_entry(measure, name, found))
    files = {NAMES[better]: json.dumps(own, indent=1) + "\n" for better, own in entries.items() if own}
    if not files:
        raise InputError(f"{source.side.name}: no measure has a value of which smaller or bigger is better")
    told = (*without(exact, "neither smaller nor bigger is better"), *without(missing, "they have no finite value"))
    return Export(files, left_out=told)


def _entry(measure: Measure, name: str, found: Summary) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{measure.benchmark} · {name}", "unit": measure.unit, "value": found.value}
    if math.isfinite(found.low) and found.high > found.low:
        entry["range"] = f"± {max(found.high - found.value, found.value - found.low):.3g}"
    what = {"time": "processes", "quality": "seeds"}.get(measure.kind, "repeats")
    return {**entry, "extra": f"{what}: {found.n}"}
