"""`report.md`: a report in GitHub's Markdown, with figures and tables beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aebench.reporting.boards import ARROWS, SIGNS
from aebench.reporting.markdown import code, escape, folded, picture, table

if TYPE_CHECKING:
    from aebench.reporting.boards import Leaderboard, Number
    from aebench.reporting.content import Content
    from aebench.reporting.figures import Figure
    from aebench.reporting.records import Again, Table


def written(content: Content) -> str:
    """What the page says, but for what only a script can show; leaderboards have their marks and notes."""
    parts = [_head(content)]
    if content.claims:
        parts += ["## What the numbers say\n", *(f"- {escape(claim.text)}" for claim in content.claims), ""]
    if content.facts:
        parts.append(f"## What was run\n\n{table(['', ''], [fact.cells for fact in content.facts])}")
    parts += [*_results(content), *_sections(content), *_failures(content)]
    if content.methods:
        parts.append("## How the numbers were made\n\n" + "".join(f"{escape(line)}\n\n" for line in content.methods))
    parts += [_again(again) for again in content.again]
    return "\n".join(parts)


def _head(content: Content) -> str:
    said = f"{content.counted}{' (see [Failures](#failures))' if content.failures else ''}.\n"
    lines = [f"# {escape(content.title)}\n", *(f"{escape(about)}\n" for about in content.about), said]
    if not content.good:
        lines.append("**There is nothing to show yet: no run has ended well.**\n")
    pages = ", ".join(f"[{escape(card.name)}]({card.page})" for card in content.cards)
    lines.append("[The page](index.html) has leaderboards that can be sorted and filtered" + (
        f", and one for each variant: {pages}.\n" if pages else ".\n"
    ))  # fmt: skip
    return "\n".join(lines)


def _results(content: Content) -> list[str]:
    if not content.boards:
        return []
    said = "Means over seeds ± the half-width of a 95 % t interval. ↓ less is better, ↑ more is better."
    if content.marked:
        said += f" {SIGNS['best']} best; {SIGNS['tied']} not distinguishable from the best."
    parts = [f"## Results\n\n{said}\n"]
    for board in content.boards:
        parts += [f"### {escape(board.data)}\n", *_board(board)]
    if content.glossary:
        parts.append(folded("What each measure is", _table(content.glossary)))
    linked = (
        f"{escape(label)} ({', '.join(f'[{kind}]({link})' for kind, link in links)})" for label, links in content.tables
    )
    return [*parts, f"As files: {', '.join(linked)}.\n"]


def _board(board: Leaderboard) -> list[str]:
    """The measures that it opens with, the notes, and then the others."""
    first = [i for i, measure in enumerate(board.measures) if measure.name in board.opens]
    further = [i for i in range(len(board.measures)) if i not in first]
    parts = [f"By {escape(board.by)}, settings that it does not rank last.\n"] if board.by else []
    parts.append(_columns(board, first))
    parts += ["".join(f"- **{key}**: {escape(why)}\n" for key, why in board.keyed.items())] if board.keyed else []
    parts += [f"{escape(note)}\n" for note in board.notes]
    return [*parts, *([folded("Further numbers", _columns(board, further))] if further else [])]


def _columns(board: Leaderboard, places: Sequence[int]) -> str:
    """Some measures of a leaderboard as a table."""
    measures = [board.measures[i] for i in places]
    head = ["setting", *(f"{measure.name} {ARROWS.get(measure.better, '')}".rstrip() for measure in measures)]
    rows = ([line.label, *(_cell(line.numbers[i]) for i in places)] for line in board.lines)
    return table(head, rows, numbers=len(places))


def _cell(number: Number) -> str:
    """`★ 4.1 ± 0.2 (9/10; a)`: mark, number, how many runs have it where not all do, and the keys of its notes."""
    aside = "; ".join(filter(None, (number.count, *number.notes)))
    return " ".join(filter(None, (SIGNS.get(number.mark), number.text, number.spread, aside and f"({aside})")))


def _sections(content: Content) -> list[str]:
    parts: list[str] = []
    for section in content.sections:
        parts += [f"## {escape(section.title)}\n", *(f"{escape(line)}\n" for line in section.sentences)]
        parts += [_table(grid) for grid in section.tables]
        if section.figures and not content.figure_files:
            parts.append("The figures are in [the page](index.html).\n")
        for figure in section.figures:
            parts += _figure(figure, content.figure_files)
    return parts


def _figure(figure: Figure, files: bool) -> list[str]:
    parts = [f"### {escape(figure.title)}\n"]
    for drawing in figure.drawings:
        parts += [picture(drawing.alt, f"{drawing.stem}.png", f"{drawing.stem}.svg")] if files else []
        parts.append(f"{escape(drawing.caption)}\n")
    return [*parts, *(f"{escape(note)}\n" for note in figure.notes)]


def _failures(content: Content) -> list[str]:
    parts: list[str] = []
    if content.facts:
        body = _table(content.failures) if content.failures else "None: every run ended well.\n"
        parts.append(f"## Failures\n\n{body}")
    if content.problems:
        parts.append("".join(["## Problems\n\n", *(f"- {escape(line)}\n" for line in content.problems)]))
    return parts


def _table(grid: Table) -> str:
    body = table(grid.columns, (row.cells for row in grid.rows), numbers=grid.numbers)
    return f"{escape(grid.caption)}:\n\n{body}" + (f"\n{escape(grid.note)}\n" if grid.note else "")


def _again(again: Again) -> str:
    parts = ["## Make it again\n", f"{escape(again.said)}\n", code("\n".join(again.commands), "sh")]
    return "\n".join([*parts, *([folded("The suite", code(again.text, "yaml"))] if again.text else [])])
