"""Names that would turn the text beside them around: those with letters or controls of right-to-left writing.

A page writes other people's names into its captions, notes, cells and sentences. Each of these is isolated there, as
Unicode's bidirectional algorithm (UAX 9) has it: its own letters run as they run, and no number beside it moves. Other
names stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from markupsafe import Markup

from aebench.reporting.records import Again

if TYPE_CHECKING:
    from aebench.reporting.gathered import Gathered

T = TypeVar("T")

FIRST, POP = "\u2068", "\u2069"
"""First strong isolate, and the end of an isolate."""
CONTROLS = "[\u202a-\u202e\u2066-\u2069]"
"""Embeddings, overrides and isolates: what may reach beyond the name that it stands in."""
LETTERS = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]+"
"""Of right-to-left writing, in Unicode's blocks."""
RIGHT_TO_LEFT = ("R", "AL", "AN", "LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def turns(text: str) -> bool:
    """Whether a text has a letter or a control of right-to-left writing."""
    return not text.isascii() and any(unicodedata.bidirectional(letter) in RIGHT_TO_LEFT for letter in text)


def turning(found: Gathered) -> tuple[str, ...]:
    """All names of the runs that turn the text beside them, longest first.

    What errors and problems say is one too; a line break in them may also be a blank.
    """
    frame = found.frame
    named = {str(name) for name in frame.columns}
    for column in (name for name in frame.columns if frame[name].dtype.kind == "O"):
        named |= {value for value in frame[column].unique() if isinstance(value, str)}
    for folder in found.folders:
        named |= {*_texts({key: folder.manifest.get(key) for key in ("name", "about", "figures", "tune")})}
    named |= {*found.problems}
    named |= {str((document.get("made") or {}).get("device")) for document in found.documents.values()}
    risky = {name for name in named if turns(name)}
    return tuple(sorted(risky | {" ".join(name.split()) for name in risky}, key=lambda name: (-len(name), name)))


def isolated(record: T, names: Iterable[str]) -> T:
    """A text, or a record with all its texts, in which these names are isolated.

    What else there is, as of a name that was cut: letters are isolated, controls go. Commands and suites stay as they
    are, as they are there to be copied.
    """
    held = [*map(re.escape, names)]
    return _isolated(record, re.compile(f"({'|'.join([*held, LETTERS])})|{CONTROLS}")) if held else record


def _isolated(record: Any, pattern: re.Pattern[str]) -> Any:
    match record:
        case Markup():  # nothing but letters that are no markup is put in or taken out
            return Markup(_isolated(str(record), pattern))
        case Again():
            return replace(record, said=_isolated(record.said, pattern))
        case str():
            return pattern.sub(lambda found: f"{FIRST}{_plain(found[1])}{POP}" if found[1] else "", record)
        case Mapping():
            held: Mapping[Any, Any] = record
            return {_isolated(key, pattern): _isolated(value, pattern) for key, value in held.items()}
        case tuple() | list() | set() | frozenset():
            items: Iterable[Any] = record
            return type(record)(_isolated(item, pattern) for item in items)
        case _ if is_dataclass(record) and not isinstance(record, type):
            own = {field.name: getattr(record, field.name) for field in fields(record)}
            return replace(record, **{name: _isolated(value, pattern) for name, value in own.items()})
        case _:
            return record


def _plain(name: str) -> str:
    """A name without isolates of its own, which would end the one around it; its overrides end with that."""
    return re.sub("[\u2066-\u2069]", "", name)


def _texts(tree: Any) -> Iterable[str]:
    """All texts in a tree of mappings and sequences."""
    match tree:
        case str():
            yield tree
        case Mapping():
            held: Mapping[Any, Any] = tree
            for key, value in held.items():
                yield from (*_texts(key), *_texts(value))
        case list() | tuple():
            items: Iterable[Any] = tree
            for item in items:
                yield from _texts(item)
        case _:
            return
