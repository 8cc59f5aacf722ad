"""Base and new, as a user names them -> a comparison: measured where they are code, read where they are results."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aebench import __version__
from aebench.errors import InputError, printable
from aebench.regress import commits, environments, machine, margins, measuring, pairs, reading
from aebench.regress.gate import decide, overall
from aebench.regress.records import Measure, Side
from aebench.regress.written import Comparison


@dataclass(frozen=True)
class Wanted:
    """How to compare."""

    pairs: int = pairs.PAIRS
    alpha: float = 0.05
    benchmarks: str | None = None
    """Their folder; `tests/benchmarks` where it is None."""
    only: tuple[str, ...] = ()
    """Parts of names of benchmarks; all where it is empty."""
    margins: Mapping[str, float] = field(default_factory=dict[str, float])
    noise: Path | None = None
    """A file of `aebench noise`; that of this machine where it is None."""
    repository: str = "."
    limit: float = measuring.LIMIT
    """Seconds after which a process that measures is taken to hang."""
    keep: Path | None = None
    """Where revisions are installed, and stay; a temporary folder where it is None."""


def compare(base: str, new: str, wanted: Wanted, told: Callable[[str], None] = lambda line: None) -> Comparison:
    """Two revisions or environments are measured, two results are read and decided at once.

    Raises InputError where they are of both kinds, of no kind, of different machines, or have nothing in common.
    """
    begun = time.monotonic()
    code = [is_code(name, wanted.repository) for name in (base, new)]
    if code[0] != code[1]:
        kinds = [f"{name} is {'code' if known else 'results'}" for name, known in zip((base, new), code, strict=True)]
        raise InputError(f"{kinds[0]} and {kinds[1]}: compare two revisions or environments, or two results")
    here = machine.identity()
    noise, said = margins.known(wanted.noise, here, wanted.repository)
    if code[0]:
        found, hashes = measured(base, new, wanted, noise, told)
    else:
        found, hashes, here = _read(base, new, wanted, noise), {}, {}
    notes = [said] if any(f.measure.kind == "time" for f in found.findings) else []
    notes += [f"--margin {name}: {why}" for name, why in _unused(wanted.margins, found)]
    if hashes.get("new") and _uncommitted(hashes["new"], wanted.repository):
        notes.append(f"{new} is measured as it is committed: changes of the working tree do not count")
    made = {
        "version": __version__,
        "commits": {side: hashes.get(side) for side in ("base", "new")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Comparison(
        base, new, overall(found.findings), found.findings, samples(found), found.pairs, wanted.alpha,
        here or dict(found.new.machine), made, (*notes, *dict.fromkeys((*found.base.notes, *found.new.notes))),
    )  # fmt: skip


def is_code(name: str, repository: str = ".") -> bool:
    """Whether a name is a git revision or an environment, which are measured; results are read."""
    if commits.commit(name, repository) is not None or environments.existing(name) is not None:
        return True
    if Path(name).exists():
        return False
    raise InputError(f"{name!r} is no git revision here, no environment (a folder with bin/python) and no results")


def measured(
    base: str, new: str, wanted: Wanted, noise: Mapping[str, float], told: Callable[[str], None]
) -> tuple[pairs.Outcome, Mapping[str, str | None]]:
    """What comes of measuring two sides in turns, and their commits."""
    with workplace(wanted.keep) as folder:
        sides = pairs.of_revisions(base, new, folder, wanted.benchmarks, wanted.repository, wanted.limit, told)
        found = pairs.compare(
            sides.sample, (base, new), pairs=wanted.pairs, alpha=wanted.alpha, margins=wanted.margins, noise=noise,
            only=sides.chosen(wanted.only), told=told,
        )  # fmt: skip
    return replace(found, findings=(*found.findings, *sides.gone(wanted.only))), sides.commits


@contextmanager
def workplace(keep: Path | None) -> Generator[Path]:
    """Where revisions are installed: a folder that stays, or one that goes away, whatever happens."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"no folder, and none can be made there: {error.strerror}"
            raise InputError(f"--keep {printable(str(keep))}: {why}") from None
        yield keep.absolute()
        return
    with TemporaryDirectory(prefix="aebench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _read(base: str, new: str, wanted: Wanted, noise: Mapping[str, float]) -> pairs.Outcome:
    before, now = (_only(side, wanted.only) for side in reading.both(base, new))
    sides = by_seed(before, now)
    if before.values.keys() & now.values.keys() and not sides[0].values.keys() & sides[1].values.keys():
        raise InputError(f"{base} and {new} have no seed in common: nothing can be compared")
    found = decide(*sides, alpha=wanted.alpha, margins=wanted.margins, noise=noise)
    repeats = min(max(map(len, side.values.values()), default=0) for side in sides)
    return pairs.Outcome(tuple(found), *sides, repeats)


def _only(side: Side, names: Collection[str]) -> Side:
    kept = {m: v for m, v in side.values.items() if not names or any(name in m.benchmark for name in names)}
    if side.values and not kept:
        raise InputError(f"{side.name}: no benchmark is called {' or '.join(names)}")
    return replace(side, values=kept, seeds={m: seeds for m, seeds in side.seeds.items() if m in kept})


def by_seed(base: Side, new: Side) -> tuple[Side, Side]:
    """Both with the values of seeds that both have, so that the i-th of each are of one seed.

    A quality without a seed in common is left out of both, and said; so are seeds that only the base has.
    """
    kept = dict(base.values), dict(new.values)
    apart: list[str] = []
    lost: dict[str, str] = {}
    for measure in base.seeds.keys() & new.seeds.keys():
        before, now = {*base.seeds[measure]}, {*new.seeds[measure]}
        common = sorted(before & now)
        if not common:
            apart.append(str(measure))
        elif missing := before - now:
            lost[measure.benchmark] = f"{new.name} lacks {len(missing)} of {len(before)} seeds of {measure.benchmark}"
        for side, values in zip((base, new), kept, strict=True):
            of = dict(zip(side.seeds[measure], side.values[measure], strict=True))
            values[measure] = tuple(of[seed] for seed in common)
    for values in kept:
        for measure in [measure for measure in values if str(measure) in apart]:
            del values[measure]
    said = [f"no seed in common, so not compared: {', '.join(sorted(apart)[:3])}, {len(apart)} in all"] if apart else []
    notes = (*new.notes, *(lost[name] for name in sorted(lost)), *said)
    return replace(base, values=kept[0]), replace(new, values=kept[1], notes=notes)


def samples(found: pairs.Outcome) -> dict[Measure, tuple[tuple[float, ...], tuple[float, ...]]]:
    """The values behind each finding: of base and new."""
    measures = (finding.measure for finding in found.findings)
    return {m: (tuple(found.base.values.get(m, ())), tuple(found.new.values.get(m, ()))) for m in measures}


def _unused(given: Mapping[str, float], found: pairs.Outcome) -> Iterator[tuple[str, str]]:
    """Margins that change nothing, and why."""
    for name in given:
        kinds = {f.measure.kind for f in found.findings if name in (str(f.measure), f.measure.name)}
        if not kinds:
            yield name, "no measure is called so"
        elif kinds == {"exact"}:
            yield name, "an exact number has no margin"


def _uncommitted(commit: str | None, repository: str) -> bool:
    """Whether a commit is the one that is checked out, and the files differ from it."""
    head = commits.commit("HEAD", repository)
    command = ["git", "-C", repository, "status", "--porcelain", "-uno"]
    if head is None or head.hash != commit:
        return False
    return bool(subprocess.run(command, capture_output=True, check=False).stdout.strip())


def noise(name: str, wanted: Wanted, repeats: int, told: Callable[[str], None] = lambda line: None) -> margins.Noise:
    """A against A on this machine: the same revision or environment twice, installed once."""
    if not is_code(name, wanted.repository):
        raise InputError(f"{name}: results cannot be measured again; name a revision or an environment")
    with workplace(wanted.keep) as folder:
        sides = pairs.of_revisions(name, name, folder, wanted.benchmarks, wanted.repository, wanted.limit, told)
        shares = margins.measure(
            sides.sample, pairs=wanted.pairs, repeats=repeats, alpha=wanted.alpha, only=sides.chosen(wanted.only),
            told=told,
        )  # fmt: skip
    made: dict[str, Any] = {"version": __version__, "commit": sides.commits["base"]}
    made["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    return margins.Noise(machine.identity(), shares, wanted.pairs, repeats, made)
