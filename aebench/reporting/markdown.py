"""Pieces of a page in GitHub's Markdown, with other people's names made harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*\[\]|~$])")
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_START = re.compile(r"^(\d*)([#+=-](?=[\s#=-]|$)|(?<=\d)[.)](?=\s|$))")
"""What would begin a heading, a list or a rule."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: object) -> str:
    """Any text as itself on one line, in a paragraph, a cell or a link: no markup, no HTML, no formula."""
    line = "".join(_HTML.get(character, character) for character in " ".join(str(text).split()))
    return _START.sub(r"\1\\\2", _UNDERSCORE.sub(r"\_", _SPECIAL.sub(r"\\\1", line)))


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
