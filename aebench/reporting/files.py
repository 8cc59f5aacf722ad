"""The files of a report: their names, and what only the report before held."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aebench import plots
from aebench.store import atomic

_OURS = re.compile(r"\]\(((?:figures|tables|variants)/[A-Za-z0-9._-]+)\)")
"""Links of report.md to files that a report wrote."""
LONGEST = 100
"""Characters of a file's name without its ending: names are the users' own, and file systems take 255 bytes."""


class Files:
    """A folder that a report is written into, and what was written so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def claim(self, folder: str, name: str, *endings: str) -> str:
        """A stem for files with these endings that no file of this report has, such as `tables/runs`.

        Two names may differ in nothing but characters that file names cannot hold.
        """
        stem = f"{folder}/{plots.file_name(name)[:LONGEST]}"
        stems = (f"{stem}{f'-{n}' if n else ''}" for n in range(len(self.names) + 1))
        taken = {name.lower() for name in self.names}  # some file systems do not tell a from A
        free = next(s for s in stems if not any(f"{s}{ending}".lower() in taken for ending in endings))
        self.names += [f"{free}{ending}" for ending in endings]
        return free

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file whole or not at all; its name."""
        data = content.encode(errors="replace") if isinstance(content, str) else content
        atomic.replace(self.folder / name, lambda file: file.write(data))
        return name

    def drop(self, folder: str) -> None:
        """Remove the files that this report wrote there."""
        for name in [name for name in self.names if name.startswith(f"{folder}/")]:
            (self.folder / name).unlink(missing_ok=True)
            self.names.remove(name)
        with suppress(OSError):  # a user's own files lie there too
            (self.folder / folder).rmdir()

    def publish(self, markdown: str, page: str) -> Path:
        """Write `report.md` and `index.html`, then remove what only the report before them showed; the page's path."""
        old = self.folder / "report.md"
        before = links(old.read_text(encoding="utf-8", errors="replace")) if old.is_file() else []
        self.write("report.md", markdown)
        self.write("index.html", page)
        for name in set(before) - set(self.names):
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        return self.folder / "index.html"


def links(markdown: str) -> Sequence[str]:
    """The figures, tables and pages that a report links to."""
    return _OURS.findall(markdown)


def usual_place(results: Sequence[Path]) -> Path:
    """Where the report about these folders goes: `reports/a/b` beside `results/a/b`, else into the first."""
    first, name = results[0].resolve(), "+".join(dict.fromkeys(path.resolve().name for path in results))[:LONGEST]
    above = next((parent for parent in first.parents if parent.name == "results"), None)
    if above is not None:
        return above.parent / "reports" / first.parent.relative_to(above) / name
    return first / ("report" if len(results) == 1 else f"report-{name}")
