"""The one kind of error that a user can cause, and how it names what she may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad usage or bad input: one line that names the thing, the value and the choices (exit code 2)."""


class DataError(InputError):
    """Data that cannot be had here and now, though the suite that asks for them is sound."""


def unknown(kind: str, name: object, choices: Iterable[str]) -> InputError:
    """An error for a name that is not in a table: the nearest valid names, or all of them."""
    names = sorted(choices)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"
    return InputError(f"unknown {kind} {name!r}: {hint}")


def words(error: BaseException) -> str:
    """What an error says, also where somebody else's cannot say it."""
    try:
        return str(error)
    except Exception:
        return ""


def printable(text: str, limit: int = 300) -> str:
    """One line that any terminal shows as it is, however wild the input that it quotes; cut at `limit` characters."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
