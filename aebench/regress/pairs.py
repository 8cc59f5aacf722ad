"""Two sides measured in pairs, of which each goes first in turn, until the answer is clear."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aebench.errors import InputError, unknown
from aebench.regress import commits, environments, measuring, reading
from aebench.regress.environments import Environment
from aebench.regress.gate import adjusted, look
from aebench.regress.measuring import Report
from aebench.regress.records import Finding, Measure, Side

Sampler = Callable[[tuple[str, ...], Collection[str]], Sequence[Report]]
"""`(("base", "new") or ("new", "base"), names of benchmarks, all where empty)` -> a report of each, of fresh
processes that take turns, the first named first."""

PAIRS = 10
LOOKS = 2
"""At the first pairs, and at twice as many."""


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
    only: Collection[str] = (),
    told: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Measure `pairs` pairs; twice as many of what is inconclusive; and all again what fails, before it counts.

    Each of the two looks at the data has half of `alpha`. Only times are looked at twice: counters, exact numbers and
    the qualities of a seed come out the same again, so that one pair confirms a fail of theirs, and a crash. The
    adjustment for many benchmarks comes last, when a fail has the evidence of both runs. `told` hears one line before
    each pair. Raises InputError where nothing has a baseline.
    """

    def run(only: Collection[str], why: tuple[str, str]) -> Outcome:
        collected = gather(sample, pairs, only, told, why[0])
        found = decided(collected)
        if open_ := _timed(found.findings, "inconclusive"):
            more = gather(sample, pairs, open_, told, why[1])
            found = decided({key: [*collected[key], *more[key]] for key in collected})
        return found

    def sides(reports: Mapping[str, Sequence[Report]]) -> list[Side]:
        return [side(reports[key], name, key == "base") for key, name in zip(("base", "new"), names, strict=True)]

    def looked(base: Side, new: Side) -> list[Finding]:
        return look(base, new, alpha=alpha, margins=margins, noise=noise, looks=LOOKS)

    def decided(reports: Mapping[str, Sequence[Report]]) -> Outcome:
        base, new = sides(reports)
        return Outcome(tuple(looked(base, new)), base, new, len(reports["base"]))

    first = run(only, ("first look", "not clear yet"))
    found, again = first.findings, list[Finding]()
    if all(finding.verdict == "no baseline" for finding in found):
        raise InputError(f"{names[0]} and {names[1]} have no benchmark in common: {found[0].said}")
    failed = _timed(found, "fail")
    if failed:
        with suppress(InputError):  # nothing came of it, which is said of each
            again += run(failed, ("to confirm", "to confirm, not clear yet")).findings
    others = dict.fromkeys(f.measure.benchmark for f in found if f.verdict == "fail")
    if without_clock := [benchmark for benchmark in others if benchmark not in failed]:
        with suppress(InputError):
            more = sides(gather(sample, 1, without_clock, told, "to confirm what needs no clock"))
            again += looked(_with_earlier(first.base, more[0]), _with_earlier(first.new, more[1]))
    found = tuple(_confirmed(finding, again) for finding in found)
    return replace(first, findings=tuple(adjusted(found, alpha)))


def gather(
    sample: Sampler, count: int, only: Collection[str], told: Callable[[str], None], why: str
) -> dict[str, list[Report]]:
    """`count` pairs of samples of base and new, of which each begins in turn; `told` hears a line before each.

    From the second pair on only what is timed, and ran on both sides: counters, exact numbers and qualities come out
    the same again, what one side lacks is not compared, and what crashed would keep the others from their turns. What
    crashed on the base alone gets a second try.
    """
    into: dict[str, list[Report]] = {"base": [], "new": []}
    for i in range(count):
        if i in (1, 2) and not (only := _repeated(into)):
            break
        told(f"{why}: pair {i + 1} of {count}" + (f", {len(only)} benchmarks" if i else ""))
        order = ("base", "new") if i % 2 == 0 else ("new", "base")
        for key, report in zip(order, sample(order, only), strict=True):
            into[key].append(report)
    return into


def _repeated(reports: Mapping[str, Sequence[Report]]) -> list[str]:
    """The benchmarks that have a time on both sides and did not crash, nor twice on the base."""
    base, new = (side(reports[key], key, key == "base") for key in ("base", "new"))
    timed = dict.fromkeys(measure.benchmark for measure in new.values if measure.kind == "time")
    known = {measure.benchmark for measure in base.values if measure.kind == "time"}
    once = len(reports["base"]) == 1
    ran = [name for name in timed if new.failure(name) is None]
    return [name for name in ran if (name in known) == (base.failure(name) is None) and (name in known or once)]


def side(reports: Sequence[Report], name: str, base: bool = False) -> Side:
    """The reports of one side, and what failed in any of them; of a `base` what failed as often as it ran.

    A base that crashes now and then is still one to compare with; a crash that is new is told.
    """
    found = reading.benchmarks(reports, name)
    failures = {key: why for report in reports for key, why in report.get("failures", {}).items()}
    seldom: dict[str, str] = {}
    for key in failures if base else ():
        failed = sum(key in report.get("failures", {}) for report in reports)
        ran = sum(any(_covers(key, one["fullname"]) for one in report["benchmarks"]) for report in reports)
        if failed <= ran:
            seldom[key] = f"{key or 'all'} crashed in {failed} of {failed + ran} processes of {name}: {failures[key]}"
    torch = reports[0].get("torch")
    return replace(
        found,
        failures={key: why for key, why in failures.items() if key not in seldom},
        machine={**found.machine, **({"torch": torch} if torch else {})},
        notes=(*found.notes, *(line for report in reports for line in report.get("notes", ())), *seldom.values()),
    )


def _covers(failure: str, benchmark: str) -> bool:
    """Whether a failure, of a benchmark, a file or all, is of this benchmark too."""
    return failure in ("", benchmark, benchmark.partition("::")[0])


def _with_earlier(first: Side, rerun: Side) -> Side:
    """A rerun and what it is to repeat: a counter or an exact number that comes out otherwise on the base is none."""
    values = {
        measure: (*first.values.get(measure, ()), *found) if measure.kind in ("counter", "exact") else found
        for measure, found in rerun.values.items()
    }
    return replace(rerun, values=values)


def _timed(found: Sequence[Finding], verdict: str) -> list[str]:
    """The benchmarks whose time has this verdict; a crash is no time, and is not measured again."""
    return list(dict.fromkeys(f.measure.benchmark for f in found if f.verdict == verdict and _is_time(f)))


def _is_time(finding: Finding) -> bool:
    return finding.measure.kind == "time" and not finding.crashed


def _confirmed(finding: Finding, second: Sequence[Finding]) -> Finding:
    """A measure that failed stays failed where the rerun fails too, or crashes.

    The p of a time is then that of two independent runs: the square of the larger, each of two looks.
    """
    if finding.verdict != "fail":
        return finding
    own = [again for again in second if again.measure.benchmark == finding.measure.benchmark]
    crash = next((again for again in own if again.crashed), None)
    if crash is not None:
        return crash if _is_time(finding) else finding
    if finding.crashed:
        said = f"{finding.said}; a rerun did not crash"
        return replace(finding, verdict="inconclusive", said=said, crashed=False)
    again = next((again for again in own if again.measure == finding.measure), None)
    if _is_time(finding):
        larger = 1.0 if again is None or math.isnan(again.p) else max(finding.p, again.p)
        finding = replace(finding, p=min(1.0, LOOKS * larger) ** 2)
    if again is not None and again.verdict == "fail":
        more = f"; a rerun says {again.effect:+.1%}" if _is_time(finding) else ""
        return replace(finding, said=f"{finding.said}{more}")
    said = again.said if again is not None else "it gave no sample"
    return replace(finding, verdict="inconclusive", said=f"{finding.said}; not confirmed by a rerun: {said}")


@dataclass(frozen=True)
class Sides:
    """Two environments, the benchmarks that both are measured with, and a folder for what comes and goes."""

    base: Environment
    new: Environment
    benchmarks: Path
    folder: Path
    commits: Mapping[str, str | None]
    """Of "base" and "new"; None of an environment."""
    limit: float = measuring.LIMIT
    """Seconds after which a process is taken to hang."""
    removed: tuple[str, ...] = ()
    """Benchmarks that the base has and the new revision has no more, so that neither is measured with them."""

    def sample(self, order: Sequence[str], only: Collection[str]) -> list[Report]:
        """A `Sampler`."""
        sides = {"base": self.base, "new": self.new}
        chosen = [sides[side] for side in order]
        return measuring.measure(chosen, self.benchmarks, self.folder, list(only), self.limit)

    def chosen(self, names: Collection[str]) -> list[str]:
        """The benchmarks whose names contain one of these; InputError for one that is in none.

        Where none is named those of the file `GATE`, if there is one, else all.
        """
        if not names:
            return [measuring.GATE] if (self.benchmarks / measuring.GATE).is_file() else []
        found = measuring.collect(self.new, self.benchmarks, self.folder, self.limit)
        for name in names:
            if not any(name in benchmark for benchmark in found):
                raise unknown("benchmark", name, found)
        return [benchmark for benchmark in found if any(name in benchmark for name in names)]

    def gone(self, names: Collection[str]) -> list[Finding]:
        """What is not there any more of what would be chosen by these names."""
        wanted = names or ([f"{measuring.GATE}::"] if (self.benchmarks / measuring.GATE).is_file() else [""])
        lost = (benchmark for benchmark in self.removed if any(name in benchmark for name in wanted))
        return [
            Finding(Measure(benchmark, "time", "time", "s"), "gone", f"{self.new.name} does not have it")
            for benchmark in lost
        ]


def of_revisions(
    base: str,
    new: str,
    folder: Path,
    benchmarks: str | None = None,
    repository: str | Path = ".",
    limit: float = measuring.LIMIT,
    told: Callable[[str], None] = lambda line: None,
) -> Sides:
    """Two revisions or environments, installed side by side below `folder`.

    The benchmarks are those of `new`, where it is a revision, so that both sides are measured by the same code;
    `benchmarks` names their folder within it, or one that is there already. Raises InputError where a side is neither,
    does not install, or there are no benchmarks.
    """
    known = {name: commits.commit(name, repository) for name in (base, new)}
    trees: dict[str, Path] = {}
    for name, commit in known.items():
        if commit is not None:
            told(f"reading the files of {name}")
            trees[name] = environments.extract(name, commit.hash, folder, repository)
    alone = not environments.served(list(trees.values())) if trees else False
    place = _benchmarks(trees.get(new), benchmarks, repository)
    sides: dict[str, Environment] = {}
    for name, commit in known.items():
        if commit is not None:
            told(f"installing {name}")
            at = folder / f"environment-{commit.hash[:12]}"
            sides[name] = environments.install(name, trees[name], at, alone=alone)
        elif (found := environments.existing(name)) is not None:
            sides[name] = found
        else:
            raise InputError(f"{name!r} is no git revision here, no environment (bin/python) and no results")
    hashes = {side: commit and commit.hash for side, commit in (("base", known[base]), ("new", known[new]))}
    return Sides(
        sides[base], sides[new], place, folder, hashes, limit, _removed(place, trees.get(base), trees.get(new))
    )


def _removed(benchmarks: Path, base: Path | None, new: Path | None) -> tuple[str, ...]:
    if base is None or new is None or not benchmarks.is_relative_to(new.absolute()):
        return ()
    before = base / benchmarks.relative_to(new.absolute())
    return tuple(sorted(measuring.defined(before) - measuring.defined(benchmarks)))


def _benchmarks(tree: Path | None, named: str | None, repository: str | Path) -> Path:
    """The folder of benchmarks: in the tree of the new revision, or where it is named, or of the repository."""
    inside = None if tree is None else tree / (named or measuring.BENCHMARKS)
    outside = Path(named) if named else Path(repository) / measuring.BENCHMARKS
    place = inside if inside is not None and (inside.exists() or not named) else outside
    if not place.is_dir():
        raise InputError(f"{named or measuring.BENCHMARKS}: no benchmarks there; --benchmarks names their folder")
    return place.absolute()
