"""A tree of plain values that came from a text, each with the place it stands at: errors say where."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from aebench.errors import InputError, printable, unknown

MAX_BYTES = 1 << 20
"""Of the text of a suite."""
MAX_MESSAGE = 600

Location = tuple[str | int | float, ...]


def one_line(message: str) -> InputError:
    """An error whose message is one printable line, however wild the input that it quotes."""
    return InputError(printable(message, MAX_MESSAGE))


def shown(value: Any, limit: int = 60) -> str:
    """A value as the user wrote it, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shortened(value: Any, limit: int = 60) -> Any:
    """Text cut to a length that an error message can quote; anything else as it is."""
    return value[: limit - 1] + "…" if isinstance(value, str) and len(value) > limit else value


def spelled(location: Location) -> str:
    """`("runs", 0, "sweep")` as `runs[0].sweep`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in location).lstrip(".")


@dataclass
class Source:
    """A document: its plain values, and where each stands (`file:line`, or the option that set it)."""

    label: str
    root: Any
    places: dict[Location, str]

    def error(self, location: Location, message: str, key: str | None = None) -> InputError:
        """`file:line: runs[0].sweep: message`; the line is that of the longest known prefix, `key` included."""
        whole = location if key is None else (*location, key)
        known = next((whole[:n] for n in range(len(whole), -1, -1) if whole[:n] in self.places), ())
        place = self.places.get(known, self.label)
        rest = location[len(known) :] if place.startswith("--") else location
        return one_line(": ".join(part for part in (place, spelled(rest), message) if part))

    def override(self, key: str, value: Any, option: str) -> None:
        """Set the value at a dotted key (`train.steps`, `runs.0.sizes.latent`), as this option of the user says."""
        *parents, last = key.split(".")
        holder: Any = self.root
        location: Location = ()
        for part in parents:
            step = self._step(holder, part, location, option)
            if isinstance(holder, dict) and holder.get(step) is None:
                holder[step] = {}
            holder, location = holder[step], (*location, step)
        step = self._step(holder, last, location, option)
        holder[step], location = value, (*location, step)
        self.places = {place: line for place, line in self.places.items() if place[: len(location)] != location}
        self.places[location] = option

    def _step(self, holder: Any, part: str, location: Location, option: str) -> str | int:
        """One part of a dotted key as the key or index of what holds it."""
        name = spelled(location) or "the suite"
        if isinstance(holder, list):
            if part not in map(str, range(len(holder))):
                raise one_line(
                    f"{option}: {name} has no item {shortened(part)!r}: it has {len(holder)}, counted from 0"
                )
            return int(part)
        if not isinstance(holder, dict):
            raise one_line(f"{option}: {name} is {shown(holder)}, which has no keys")
        if not part:
            raise one_line(f"{option}: an empty key below {name}; write keys like train.steps")
        return part


@dataclass(frozen=True)
class Node:
    """A value of a document, and the way to it."""

    source: Source
    location: Location
    value: Any

    def error(self, message: str, key: str | None = None) -> InputError:
        """An error that names this place; `key` below it only gives the line."""
        return self.source.error(self.location, message, key)

    def place(self) -> str:
        """Where it stands: `runs[0] (file:line)`."""
        return f"{spelled(self.location)} ({self.source.places.get(self.location, self.source.label)})"

    def at(self, location: Iterable[str | int | float], value: Any = None) -> Node:
        """A place below this one."""
        return Node(self.source, (*self.location, *location), value)

    def keys(self, choices: Collection[str] | None = None, what: str = "a mapping") -> dict[str, Node]:
        """The entries of a mapping with text keys; with `choices`, any other key is refused with the nearest."""
        if not isinstance(self.value, dict):
            raise self.error(f"should be {what}, not {shown(self.value)}")
        entries: dict[str, Node] = {}
        for key, value in self.value.items():
            if not isinstance(key, str):
                raise self.at((key,)).error("a key should be text")
            entries[key] = self.at((key,), value)
        if choices is not None:
            self.refuse_unknown(entries, choices)
        return entries

    def refuse_unknown(self, entries: Iterable[str], choices: Collection[str]) -> None:
        """Refuse the first key that is not among the choices, on its own line."""
        for key in entries:
            if key not in choices:
                none = f"unknown key {shortened(key)!r}: there are none to set"
                raise self.error(str(unknown("key", shortened(key), choices)) if choices else none, key)

    def items(self, what: str) -> list[Node]:
        """The items of a list, which should not be empty."""
        if not isinstance(self.value, list):
            raise self.error(f"should be a list of {what}, not {shown(self.value)}")
        if not self.value:
            raise self.error("is empty")
        return [self.at((n,), value) for n, value in enumerate(self.value)]
