"""A page for each variant: what it is, its settings beside the others, its pictures, its runs and its failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from aebench.reporting.account import counted, label
from aebench.reporting.boards import Leaderboard, minus, place
from aebench.reporting.html import uri
from aebench.reporting.records import Row, Table
from aebench.tables.numbers import format_number
from aebench.variants import VARIANTS

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.comparison import Board, Entrant
    from aebench.reporting.content import Content
    from aebench.reporting.gathered import Gathered
    from aebench.store.documents import Document

UNKNOWN = "A variant of the user's own: aebench knows neither its formula nor its source."
SKIPPED = ("networks", "data", "metrics")
"""What `aebench explain` says that a comparison need not."""
PICTURES = 6
"""Pictures on the page of a variant, taken from its data sets in turn."""
EXAMPLES = 10
PIXELS = 4
"""Pixels of the page that a pixel of a small image is wide."""
TRACES = 5
"""Whole errors that a page shows, of runs that failed in different ways."""
MEASURES = 6
"""Measures that the table of runs shows."""


@dataclass(frozen=True)
class Mosaic:
    """A small picture of one run."""

    run: str
    uri: str
    width: int
    height: int
    caption: str
    alt: str


@dataclass(frozen=True)
class VariantPage:
    """What the page of a variant shows."""

    name: str
    about: str
    counted: str
    sections: tuple[tuple[str, list[str]], ...]
    """Of `aebench explain`: head and lines."""
    boards: tuple[Leaderboard, ...]
    pictures: tuple[Mosaic, ...]
    runs: Table
    failures: Table | None
    traces: tuple[tuple[str, str], ...]
    """Run and whole error, of the runs that failed in different ways."""


def variant_page(name: str, boards: Sequence[Board], content: Content, found: Gathered) -> VariantPage:
    """`boards`: the leaderboards of all data sets; `content`: the whole report; `found`: all runs."""
    own = [[entrant for entrant in board.entrants if entrant.variant == name] for board in boards]
    runs, failures = found.frame[found.frame["variant"] == name], content.failures
    held = {*runs["id"]}
    failed = tuple(row for row in failures.rows if row.ids[0] in held) if failures else ()
    about, sections = explained(name)
    return VariantPage(
        name,
        about,
        counted(len(runs), [found.documents[run] for run in runs["id"]]),
        sections,
        tuple(_only(board, name) for board in content.boards if any(line.variant == name for line in board.lines)),
        tuple(_pictures(own, found)),
        _runs(runs, own, found.documents, content),
        replace(failures, rows=failed) if failures and failed else None,
        tuple(_traces(failed, found.documents)),
    )


def explained(name: str) -> tuple[str, tuple[tuple[str, list[str]], ...]]:
    """What a variant is in a line, and its formula, source and hyperparameters, for one that aebench has."""
    if name not in VARIANTS:
        return UNKNOWN, ()
    from aebench.catalogue import explain

    (_, about), *sections = explain(name)
    return " ".join(about), tuple((head, lines) for head, lines in sections if head not in SKIPPED)


def _only(board: Leaderboard, name: str) -> Leaderboard:
    """The settings of one variant, by the measures that the board opens with."""
    places = [i for i, measure in enumerate(board.measures) if measure.name in board.opens]
    lines = tuple(
        replace(line, numbers=tuple(line.numbers[i] for i in places)) for line in board.lines if line.variant == name
    )
    keys = {key for line in lines for number in line.numbers for key in number.notes}
    keyed = {key: why for key, why in board.keyed.items() if key in keys}
    return replace(board, measures=tuple(board.measures[i] for i in places), lines=lines, keyed=keyed, notes=())


def _runs(
    runs: DataFrame, own: Sequence[Sequence[Entrant]], documents: Mapping[str, Document], content: Content
) -> Table:
    """Every run with its seed, its status and its own values; also the draws of a tuned suite that were not chosen."""
    measures = sorted(content.opens & {*map(str, runs.columns)}, key=place)[:MEASURES]
    names = {run: entrant.label for entrants in own for entrant in entrants for run in entrant.ids}
    values = zip(*(runs[name].tolist() for name in measures), strict=True) if measures else [()] * len(runs)
    told = zip(runs["id"], runs["data"], runs["status"], runs["seed"], values, strict=True)
    rows = tuple(
        Row(
            (
                run, data, names.get(run) or f"{label(documents[run]['spec'])} (not chosen)", status, str(seed),
                *(minus(format_number(value)) for value in numbers),
            ),
            (run,),
            (seed, *numbers),
        )
        for run, data, status, seed, numbers in told
    )  # fmt: skip
    columns = ("run", "data", "setting", "status", "seed", *measures)
    return Table("Every run, by its id", columns, rows, numbers=1 + len(measures))


def _traces(rows: Sequence[Row], documents: Mapping[str, Document]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for row in rows:
        trace = str((documents[row.ids[0]].get("error") or {}).get("traceback") or "")
        if trace and trace not in seen and len(seen) < TRACES:
            seen.add(trace)
            yield row.ids[0], trace


def _pictures(own: Sequence[Sequence[Entrant]], found: Gathered) -> Iterator[Mosaic]:
    """Of the data sets in turn the next setting: its run of the lowest seed that ended well."""
    most = max(map(len, own), default=0)
    turns = [entrants[i] for i in range(most) for entrants in own if i < len(entrants)]
    made = 0
    for entrant in turns:
        run = next((run for run in entrant.ids if found.documents[run]["status"] == "ok"), None)
        if run is None or made == PICTURES:
            continue
        if picture := _mosaic(entrant, run, found.documents[run]["spec"]["seed"], found.arrays(run)):
            made += 1
            yield picture


def _mosaic(entrant: Entrant, run: str, seed: int, held: Mapping[str, Any]) -> Mosaic | None:
    """Originals, reconstructions and samples, a row each; None where no images are stored."""
    from aebench.plots.mosaic import is_image, limits, mosaic

    rows = {"test examples": "x", "their reconstructions": "x_hat", "samples from the prior": "samples"}
    found = {words: held[key][:EXAMPLES] for words, key in rows.items() if is_image(held.get(key))}
    if "test examples" not in found:
        return None
    page, _, _ = mosaic([[stack] for stack in found.values()], limits([held], "x"))
    height, width = page.shape[:2]
    words = f"{entrant.label} on {entrant.data}, seed {seed}, from above: {', '.join(found)}."
    return Mosaic(
        run, uri(_png(page), "image/png"), PIXELS * width, PIXELS * height, words, f"Rows of small images: {words}"
    )


def _png(page: Any) -> bytes:
    """An image `[height, width, 3]` in [0, 1] as a PNG."""
    import numpy as np
    from matplotlib.image import imsave

    file = BytesIO()
    imsave(file, np.rint(255 * page).astype(np.uint8), format="png", metadata={"Software": "aebench"})
    return file.getvalue()
