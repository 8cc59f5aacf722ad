"""Other people's names made harmless in GitHub's Markdown."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*\[\]|~$])")
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_START = re.compile(r"^(\d*)([#+=-](?=[\s#=-]|$)|(?<=\d)[.)](?=\s|$))")
"""What would begin a heading, a list or a rule."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: object) -> str:
    """Any text as itself on one line, in a paragraph, a cell or a link: no markup, no HTML, no formula."""
    line = "".join(_HTML.get(character, character) for character in " ".join(str(text).split()))
    return _START.sub(r"\1\\\2", _UNDERSCORE.sub(r"\_", _SPECIAL.sub(r"\\\1", line)))
