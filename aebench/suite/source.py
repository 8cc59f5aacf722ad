"""YAML text -> plain values, each of which knows the line it came from.

YAML 1.2 with what a suite needs: `1e-3` is a number, `no` is text. Duplicate keys, aliases, anchors, tags, merge
keys, directives and further documents are refused; size, depth and number of nodes are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from aebench.errors import InputError
from aebench.suite.tree import MAX_BYTES, Location, Source, one_line, shortened

MAX_DEPTH = 32
MAX_NODES = 50_000
TYPED = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")}
MERGE = "tag:yaml.org,2002:merge"


def compose(text: str, label: str, *, lines: bool = True) -> Source:
    """The one document of a text. With `lines`, places are `label:line`, else `label` alone."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise one_line(f"{label}: longer than {MAX_BYTES >> 20} MiB")
    composer = _Composer(text, label, lines)
    root = composer.document()
    return Source(label, root, composer.places)


class _Composer:
    """Builds the values of one document from ruamel's events, and refuses at the event that is out of bounds."""

    def __init__(self, text: str, label: str, lines: bool) -> None:
        self.label, self.lines = label, lines
        self.yaml: Any = YAML(typ="safe", pure=True)
        self.yaml.version = (1, 2)
        self.events = self._events(text)
        self.places: dict[Location, str] = {}
        self.nodes = 0

    def document(self) -> Any:
        """The value of the only document; None where there is none."""
        root = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if event.version or event.tags:
                    raise self._error(event, "YAML directives are refused")
                if documents > 1:
                    raise self._error(event, "a second document: a suite is one")
                content = next(self.events)
                self.places[()] = self._place(content)
                root = self._value(content, ())
        return root

    def _events(self, text: str) -> Iterator[Any]:
        try:
            yield from self.yaml.parse(text)
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            said = [str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
            line = text.count("\n", 0, getattr(error, "position", 0)) if mark is None else mark.line
            message = ": ".join(said) or str(error).splitlines()[0]
            raise one_line(f"{self._at(line)}: not valid YAML: {message}") from error
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
            raise one_line(f"{self.label}: not valid YAML: {type(error).__name__}: {error}") from error  # the parser's

    def _value(self, event: Any, location: Location) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(event, f"more than {MAX_NODES} values")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise self._error(event, "anchors and aliases are refused: write the value out")
        if getattr(event, "tag", None):
            raise self._error(event, "tags are refused: write the plain value")
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if len(location) >= MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        return self._sequence(location) if isinstance(event, SequenceStartEvent) else self._mapping(location)

    def _sequence(self, location: Location) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            place = (*location, len(items))
            self.places[place] = self._place(event)
            items.append(self._value(event, place))
        return items

    def _mapping(self, location: Location) -> dict[str | int | float, Any]:
        entries: dict[str | int | float, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self._value(event, location) if isinstance(event, ScalarEvent | AliasEvent) else None
            if key is None or isinstance(key, bool):
                raise self._error(event, "a key should be text")
            if key in entries:
                raise self._error(event, f"the key {shortened(key)!r} stands twice")
            place = (*location, key)
            self.places[place] = self._place(event)
            entries[key] = self._value(next(self.events), place)
        return entries

    def _scalar(self, event: Any) -> Any:
        tag = str(self.yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
        if tag == MERGE:
            raise self._error(event, "merge keys are refused: write the entries out")
        if any(0xD800 <= ord(c) < 0xE000 for c in event.value):
            raise self._error(event, "half a character (a lone surrogate)")
        if tag not in TYPED:
            return event.value
        try:
            value = self.yaml.constructor.construct_object(ScalarNode(tag, event.value, event.start_mark))
        except (ValueError, OverflowError) as error:
            raise self._error(event, f"{shortened(event.value)!r} is no number") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(event, f"{shortened(event.value)!r} is no finite number")
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise self._error(event, f"{shortened(event.value)!r} is too large")
        return value

    def _at(self, line: int) -> str:
        return f"{self.label}:{line + 1}" if self.lines else self.label

    def _place(self, event: Any) -> str:
        return self._at(event.start_mark.line)

    def _error(self, event: Any, message: str) -> InputError:
        return one_line(f"{self._place(event)}: {message}")
