"""A comparison as JSON and back: what `aebench compare --out` writes, and what exports and others read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from aebench.errors import InputError, printable
from aebench.regress import documents
from aebench.regress.records import Finding, Kind, Measure, Verdict
from aebench.store import atomic

SCHEMA = 1
OVERALL = ("fail", "inconclusive", "pass")
Samples = Mapping[Measure, tuple[tuple[float, ...], tuple[float, ...]]]
TYPES = {str: "a string", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object",
         NoneType: "null"}  # fmt: skip
"""What JSON calls the types that it is read as."""


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

    @property
    def repeats(self) -> str:
        """Of what both sides have equally many, in words: of results that is their seeds."""
        kinds = {finding.measure.kind for finding in self.findings}
        return f"{self.pairs} {'seeds' if 'quality' in kinds and 'time' not in kinds else 'pairs'}"


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
        entries = _held(document, "findings", list)
        findings = [_finding(entry) for entry in entries]
        samples = {
            finding.measure: (_numbers(entry, "base"), _numbers(entry, "new"))
            for finding, entry in zip(findings, entries, strict=True)
        }
        return Comparison(
            _held(document, "base", str), _held(document, "new", str), _one_of(document["verdict"], OVERALL),
            tuple(findings), samples,
            int(_held(document, "pairs", int, float)), float(_held(document, "alpha", int, float)),
            {str(key): str(value) for key, value in document["machine"].items()},
            _made(document), tuple(map(str, _held(document, "notes", list))),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{place}: a broken comparison: {type(error).__name__}: {error}") from error


def _made(document: Mapping[str, Any]) -> dict[str, Any]:
    """How it was made, with commits and a date that are strings where they are there."""
    made = _held(document, "made", dict)
    if made.get("date") is not None:
        _held(made, "date", str)
    if made.get("commits") is not None:
        commits = _held(made, "commits", dict)
        for side in commits:
            _held(commits, side, str, NoneType, of="commits.")
    return dict(made)


def _finding(entry: Mapping[str, Any]) -> Finding:
    kind, better = _one_of(entry["kind"], get_args(Kind)), _one_of(entry["better"], ("lower", "higher"))
    benchmark, name, unit = (_held(entry, key, str) for key in ("benchmark", "name", "unit"))
    measure = Measure(benchmark, name, kind, unit, better)  # pyright: ignore[reportArgumentType]
    effect = _number(entry, "effect")
    lower, upper = (
        math.copysign(math.inf, sign) if entry[key] is None and not math.isnan(effect) else _number(entry, key)
        for key, sign in (("lower", -1), ("upper", 1))
    )
    verdict = _one_of(entry["verdict"], get_args(Verdict))
    return Finding(
        measure, verdict, _held(entry, "said", str), effect, lower, upper, _number(entry, "margin"),  # pyright: ignore[reportArgumentType]
        int(_held(entry, "n", int, float)), _number(entry, "p"), _held({"crashed": False, **entry}, "crashed", bool),
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


def _number(entry: Any, key: str | int, of: str = "") -> float:
    return math.nan if (value := _held(entry, key, int, float, NoneType, of=of)) is None else float(value)


def _numbers(entry: Any, key: str) -> tuple[float, ...]:
    values = _held(entry, key, list)
    return tuple(_number(values, i, f"{key}.") for i in range(len(values)))


def _held(entry: Any, key: str | int, *types: type, of: str = "") -> Any:
    """What an object or a list holds there; TypeError, which names it, where it is of none of these types."""
    value = entry[key]
    if type(value) not in types:  # true is no number
        choices = " or ".join(dict.fromkeys(TYPES[one] for one in types))
        raise TypeError(f"{of}{key} is {printable(repr(value), 60)}; it must be {choices}")
    return value


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value
