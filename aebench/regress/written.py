"""A comparison as JSON and back: what `aebench compare --out` writes, and what exports and others read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from aebench.errors import InputError
from aebench.regress import documents
from aebench.regress.records import Finding, Kind, Measure, Verdict
from aebench.store import atomic

SCHEMA = 1
OVERALL = ("fail", "inconclusive", "pass")
Samples = Mapping[Measure, tuple[tuple[float, ...], tuple[float, ...]]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found, the measurements it rests on, and how it was made."""

    base: str
    new: str
    verdict: str
    """One of `OVERALL`."""
    findings: tuple[Finding, ...]
    samples: Samples = field(default_factory=dict[Measure, tuple[tuple[float, ...], tuple[float, ...]]])
    """Values of base and new, `[repeats]` or `[seeds]` each; those that one side lacks are empty."""
    pairs: int = 0
    alpha: float = 0.05
    machine: Mapping[str, str] = field(default_factory=dict[str, str])
    made: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """version, commits: {base, new}, date, seconds."""
    notes: tuple[str, ...] = ()


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it: numbers that are none, or infinite, are null."""
    return {
        "schema": SCHEMA,
        "kind": "comparison",
        "base": comparison.base,
        "new": comparison.new,
        "verdict": comparison.verdict,
        "pairs": comparison.pairs,
        "alpha": comparison.alpha,
        "machine": dict(comparison.machine),
        "made": dict(comparison.made),
        "notes": list(comparison.notes),
        "findings": [_entry(finding, comparison.samples) for finding in comparison.findings],
    }


def _entry(finding: Finding, samples: Samples) -> dict[str, Any]:
    measure = finding.measure
    base, new = samples.get(measure, ((), ()))
    return {
        "benchmark": measure.benchmark, "name": measure.name, "kind": measure.kind, "unit": measure.unit,
        "better": measure.better, "verdict": finding.verdict, "said": finding.said,
        **{key: _null(getattr(finding, key)) for key in ("effect", "lower", "upper", "margin", "p")}, "n": finding.n,
        "crashed": finding.crashed,
        "base": [*map(_null, base)], "new": [*map(_null, new)],
    }  # fmt: skip


def parse(document: Any, place: str) -> Comparison:
    """The comparison of a document that came from `place`.

    Its null bounds come back as infinities where the effect is a number, else as NaN. Raises InputError, which names
    `place`, where it is none, or of another schema.
    """
    if not isinstance(document, dict) or document.get("kind") != "comparison":
        raise InputError(f"{place}: not a comparison; aebench compare --out writes one")
    if document.get("schema") != SCHEMA:
        raise InputError(f"{place}: its schema is {document.get('schema')!r}; this aebench reads {SCHEMA}")
    try:
        entries = document["findings"]
        findings = [_finding(entry) for entry in entries]
        samples = {
            finding.measure: (tuple(map(_number, entry["base"])), tuple(map(_number, entry["new"])))
            for finding, entry in zip(findings, entries, strict=True)
        }
        return Comparison(
            str(document["base"]), str(document["new"]), _one_of(document["verdict"], OVERALL), tuple(findings),
            samples, int(document["pairs"]), float(document["alpha"]),
            {str(key): str(value) for key, value in document["machine"].items()},
            dict(document["made"]), tuple(map(str, document["notes"])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{place}: a broken comparison: {type(error).__name__}: {error}") from error


def _finding(entry: Mapping[str, Any]) -> Finding:
    kind, better = _one_of(entry["kind"], get_args(Kind)), _one_of(entry["better"], ("lower", "higher"))
    benchmark, name, unit = (str(entry[key]) for key in ("benchmark", "name", "unit"))
    measure = Measure(benchmark, name, kind, unit, better)  # pyright: ignore[reportArgumentType]
    effect = _number(entry["effect"])
    lower, upper = (
        math.copysign(math.inf, sign) if entry[key] is None and not math.isnan(effect) else _number(entry[key])
        for key, sign in (("lower", -1), ("upper", 1))
    )
    verdict = _one_of(entry["verdict"], get_args(Verdict))
    return Finding(
        measure, verdict, str(entry["said"]), effect, lower, upper, _number(entry["margin"]), int(entry["n"]),  # pyright: ignore[reportArgumentType]
        _number(entry["p"]), bool(entry.get("crashed", False)),
    )  # fmt: skip


def write(comparison: Comparison, path: str | Path) -> None:
    """Write it whole or not at all; raises InputError where it cannot be written.

    What a name has that no text can hold (a byte of a file's name, say) is written as JSON's escape of it.
    """
    text = json.dumps(document(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    atomic.replace(Path(path), lambda file: file.write(text.encode(errors="backslashreplace")))


def read(path: str | Path) -> Comparison:
    """A comparison from its file; InputError names the file and what is wrong with it."""
    return parse(documents.read(path), str(path))


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value
