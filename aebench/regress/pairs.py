"""Two sides measured in turns, A B B A, until the answer is clear: pairs of neighbours share what the machine did."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aebench.errors import InputError
from aebench.regress import environments, reading
from aebench.regress.environments import Environment
from aebench.regress.gate import decide, overall
from aebench.regress.records import Finding, Measure, Side

Report = dict[str, Any]
Sampler = Callable[[str, Collection[str]], Report]
"""`("base" or "new", names of benchmarks, all where empty)` -> one report, of a fresh process."""

PAIRS = 10


@dataclass(frozen=True)
class Outcome:
    """What a comparison found, and the measurements it rests on."""

    findings: tuple[Finding, ...]
    base: Side
    new: Side
    pairs: int


def compare(
    sample: Sampler,
    names: tuple[str, str],
    *,
    pairs: int = PAIRS,
    alpha: float = 0.05,
    margins: Mapping[str, float] | None = None,
    noise: Mapping[str, float] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Measure `pairs` pairs; twice as many of what is inconclusive; and once more what fails, before it counts.

    Each of the two looks at the data has half of `alpha`. `told` hears one line before each round.
    """
    collected: dict[str, list[Report]] = {"base": [], "new": []}

    def gather(count: int, only: Collection[str], into: dict[str, list[Report]], why: str) -> None:
        told(f"{why}: {count} pairs of {len(only) or 'all'} benchmarks")
        for i in range(count):
            for side in ("base", "new") if i % 2 == 0 else ("new", "base"):
                into[side].append(sample(side, only))

    def decided(reports: dict[str, list[Report]]) -> tuple[list[Finding], Side, Side]:
        base, new = (reading.benchmarks(reports[side], name) for side, name in zip(reports, names, strict=True))
        return decide(base, new, alpha=alpha / 2, margins=margins, noise=noise), base, new

    gather(pairs, (), collected, "first look")
    found, base, new = decided(collected)
    if open_ := _timed(found, "inconclusive"):
        gather(pairs, open_, collected, "not clear yet")
        found, base, new = decided(collected)
    if failed := _timed(found, "fail"):
        again: dict[str, list[Report]] = {"base": [], "new": []}
        gather(pairs, failed, again, "to confirm")
        second = {finding.measure: finding for finding in decided(again)[0]}
        found = [_confirmed(finding, second) for finding in found]
    return Outcome(tuple(found), base, new, len(collected["base"]))


def _timed(found: Sequence[Finding], verdict: str) -> list[str]:
    """The benchmarks whose time has this verdict."""
    return list(dict.fromkeys(f.measure.benchmark for f in found if f.measure.kind == "time" and f.verdict == verdict))


def _confirmed(finding: Finding, second: Mapping[Measure, Finding]) -> Finding:
    """A time that failed stays failed where the rerun fails too."""
    if finding.verdict != "fail" or finding.measure.kind != "time":
        return finding
    again = second.get(finding.measure)
    if again is not None and again.verdict == "fail":
        return replace(finding, said=f"{finding.said}; a rerun says {again.effect:+.1%}")
    said = again.said if again is not None else "it gave no sample"
    return replace(finding, verdict="inconclusive", said=f"{finding.said}; not confirmed by a rerun: {said}")


def of_revisions(base: str, new: str, folder: Path, benchmarks: str = environments.BENCHMARKS) -> Sampler:
    """What measures two revisions or environments, installed side by side below `folder`.

    The benchmarks are those of `new`, where it is a revision, so that both sides are measured by the same code.
    """
    commits = {name: environments.revision(name) for name in (base, new)}
    trees = {name: environments.extract(name, c, folder) for name, c in commits.items() if c is not None}
    alone = len({str(environments.dependencies(tree)) for tree in trees.values()}) > 1
    sides: dict[str, Environment] = {}
    for side, name in (("base", base), ("new", new)):
        known = environments.existing(name) if name not in trees else None
        if known is None and name not in trees:
            raise InputError(f"{name!r} is no git revision here, no environment (bin/python) and no results")
        sides[side] = known or environments.install(name, trees[name], folder, alone=alone)
    place = trees[new] / benchmarks if new in trees else Path(benchmarks).absolute()
    if not place.exists():
        raise InputError(f"{place}: no benchmarks there; --benchmarks names their folder")

    def sample(side: str, only: Collection[str]) -> Report:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            return environments.measure(sides[side], place, Path(out) / "report.json", list(only))

    return sample


__all__ = ["Outcome", "Sampler", "compare", "of_revisions", "overall"]
