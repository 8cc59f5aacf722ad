"""Pieces of a page in GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aebench.tables.escaping import escape


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: int = 0) -> str:
    """A table of plain cells; the last `numbers` columns are set to the right."""
    sides = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [[escape(cell) for cell in head], sides, *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(text: str, language: str = "") -> str:
    """A block of code; its fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def picture(alt: str, image: str, target: str) -> str:
    """An image that links to a file."""
    return f"[![{escape(alt)}]({image})]({target})\n"


def folded(summary: str, body: str) -> str:
    """Something that a reader opens."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n\n{body}\n</details>\n"
