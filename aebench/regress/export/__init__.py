"""Measurements and comparisons as other tools read them: the table of formats, each resolved when it is used.

A format is a function `(Source) -> Export`. It raises InputError where a source has nothing that it could hold.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aebench import plugins
from aebench.errors import InputError, unknown
from aebench.store import atomic

if TYPE_CHECKING:
    from aebench.regress.records import Measure
    from aebench.regress.sources import Source

FORMATS = {
    "pytest-benchmark": (
        "aebench.regress.export.pytest_benchmark:export",
        "JSON of times for pytest-benchmark compare; of a comparison base.json and new.json",
    ),
    "github-action-benchmark": (
        "aebench.regress.export.github_action:export",
        "two files, for customSmallerIsBetter and customBiggerIsBetter",
    ),
    "bencher": ("aebench.regress.export.bencher:export", "Bencher Metric Format, for bencher run --adapter json"),
    "junit": ("aebench.regress.export.junit:export", "XML of a comparison: a test case for each measure"),
    "markdown": (
        "aebench.regress.export.markdown:export",
        "a table for a GitHub step summary, and lines that annotate the run",
    ),
    "asv": ("aebench.regress.export.asv:export", "a folder of results of airspeed velocity, a file a commit"),
}
"""Format -> (where its function is, one line)."""
FILE_ENDINGS = (".json", ".xml", ".md", ".txt")


@dataclass(frozen=True)
class Export:
    """What a format makes of a source."""

    files: Mapping[str, str]
    """Name, or path below a folder -> text."""
    commands: tuple[str, ...] = ()
    """Lines that a runner of GitHub Actions reads from what a step prints."""
    left_out: tuple[str, ...] = ()
    """What the format has no place for, a line each."""


def export(source: Source, name: str) -> Export:
    """A source in the format of this name; InputError where there is none, or it does not suit the source."""
    if name not in plugins.names(FORMATS, "formats"):
        raise unknown("format", name, FORMATS)
    return plugins.resolve(FORMATS, "formats", name)(source)


def write(exported: Export, place: Path) -> list[Path]:
    """Write the files, each whole or not at all: one to the file `place`, several into the folder `place`.

    One file goes into `place` too where that is a folder, or has no ending. Returns the paths.
    """
    names = list(exported.files)
    looks_like_file = place.is_file() or (not place.is_dir() and place.suffix in FILE_ENDINGS)
    if len(names) > 1 and looks_like_file:
        raise InputError(f"--out {place}: {len(names)} files are written ({', '.join(names)}); name a folder")
    single = len(names) == 1 and not place.is_dir() and (looks_like_file or place.suffix)
    paths = [place] if single else [place / name for name in names]
    for path, text in zip(paths, exported.files.values(), strict=True):
        atomic.replace(path, lambda file, text=text: file.write(text.encode("utf-8", "replace")))
    return paths


def distinct(measures: Iterable[Measure], called: Callable[[Measure], str] = lambda m: m.name) -> dict[Measure, str]:
    """Measure -> its name, no two of a benchmark the same: those that want one name have their kinds after it.

    A counter and a quality `loss` are "loss (counter)" and "loss (quality)", in whatever order they come.
    """
    wanted = {measure: (measure.benchmark, called(measure)) for measure in measures}
    count = Counter(wanted.values())
    taken = set(count)
    names: dict[Measure, str] = {}
    for measure, (benchmark, name) in wanted.items():
        if count[benchmark, name] > 1:
            while (benchmark, name) in taken:
                name = f"{name} ({measure.kind})"
            taken.add((benchmark, name))
        names[measure] = name
    return names


def without(measures: Iterable[Measure], why: str) -> tuple[str, ...]:
    """The line about measures that a format has no place for; none where there are none."""
    names = [str(measure) for measure in measures]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (f"left out: {', '.join(names[:3])}{more}: {why}",) if names else ()


def shortened(text: str, longest: int) -> str:
    """Text of at most so many characters; what is cut off is stood for by six hexadecimal digits of the whole."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 7]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
