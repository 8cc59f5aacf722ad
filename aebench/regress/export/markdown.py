"""A Markdown table for the step summary of GitHub Actions, and workflow commands that annotate the run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aebench.regress import sources
from aebench.regress.export import Export
from aebench.regress.records import Finding
from aebench.regress.sources import Source
from aebench.regress.written import Comparison
from aebench.tables.numbers import MISSING, format_interval

ORDER = ("fail", "inconclusive", "no baseline", "gone", "pass")
COMMANDS = {"fail": "error", "inconclusive": "warning", "no baseline": "warning", "gone": "warning"}
IN_MESSAGE = "%\r\n"
IN_PROPERTY = f"{IN_MESSAGE}:,"
"""What a workflow command has a meaning for, in its message and in its properties."""
_SPECIAL = re.compile(r"[\\`*~\[|<>&]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown has a meaning for; an underscore within a word has none."""
SHOWN = 500
"""Rows of a table: a step summary holds 1 MiB."""


def export(source: Source) -> Export:
    """One file; of a comparison the worst comes first, what passed is folded away, and each other has a command."""
    if source.comparison is None:
        return Export({"summary.md": _measurements(source)})
    found = source.comparison
    told = sorted((f for f in found.findings if f.verdict in COMMANDS), key=lambda f: ORDER.index(f.verdict))
    commands = [command(COMMANDS[f.verdict], f.line, title=f"{f.verdict}: {f.measure.benchmark}") for f in told]
    return Export({"summary.md": _comparison(found, told)}, tuple(commands))


def command(name: str, message: str, **properties: str) -> str:
    """A workflow command such as `::error title=...::message`, escaped as GitHub's own toolkit does it."""
    given = ",".join(f"{key}={_escaped(value, IN_PROPERTY)}" for key, value in properties.items())
    return f"::{name}{f' {given}' if given else ''}::{_escaped(message, IN_MESSAGE)}"


def _escaped(text: str, special: str) -> str:
    return "".join(f"%{ord(character):02X}" if character in special else character for character in text)


def _comparison(found: Comparison, told: Sequence[Finding]) -> str:
    passed = [finding for finding in found.findings if finding.verdict not in COMMANDS]
    counts = ", ".join(f"{count} {name}" for name in ORDER if (count := sum(f.verdict == name for f in found.findings)))
    lines = [f"### {found.verdict.upper()}: {_cell(found.base)} → {_cell(found.new)}", "", f"{counts}", ""]
    lines += _findings(told)
    if passed:
        lines += ["<details>", f"<summary>{len(passed)} passed</summary>", "", *_findings(passed), "</details>", ""]
    about = ", ".join(f"{key} {value}" for key, value in found.machine.items())
    notes = [*found.notes, f"{found.repeats}, α = {found.alpha:g}{f'; {about}' if about else ''}"]
    return "\n".join([*lines, *(f"- {_cell(note)}" for note in notes)]) + "\n"


def _findings(findings: Sequence[Finding]) -> list[str]:
    rows = [(f.verdict, f.measure.benchmark, f.measure.name, f.said) for f in findings[:SHOWN]]
    return _table(("verdict", "benchmark", "measure", "what was found"), rows, len(findings))


def _measurements(source: Source) -> str:
    rows: list[tuple[str, ...]] = []
    for measure, values in list(source.side.values.items())[:SHOWN]:
        found = sources.summary(measure, values)
        spread = (found.low, found.high) if found and found.high > found.low else ()
        shown = MISSING if found is None else format_interval(found.value, *spread)
        count = "0" if found is None else str(found.n)
        rows.append((measure.benchmark, measure.name, measure.unit, measure.better, shown, count))
    heads = ("benchmark", "measure", "unit", "better", "value", "n")
    table = _table(heads, rows, len(source.side.values), right=2)
    commit = f" at {source.commit[:12]}" if source.commit else ""
    return "\n".join([f"### {_cell(source.side.name)}{commit}", "", *table]) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], count: int, right: int = 0) -> list[str]:
    """A table whose last `right` columns are numbers; a line says what is more than `SHOWN`."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if not lines:
        return []
    rule = [*["---"] * (len(heads) - right), *["---:"] * right]
    more = [f"and {count - SHOWN} more", ""] if count > SHOWN else []
    return [f"| {' | '.join(heads)} |", f"| {' | '.join(rule)} |", *lines, "", *more]


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, in one line of a table."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
