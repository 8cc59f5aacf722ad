"""`suite.json`: what results say of the suite that made them, and where the time of its commands went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aebench.claims import Claims
from aebench.clock import Ledger
from aebench.errors import InputError
from aebench.store import Store
from aebench.suite import Suite

PATIENCE = 10.0
"""Seconds to wait for another process that writes `suite.json`, which takes it a moment."""

Command = dict[str, Any]
"""`{"when": its begin, "seconds": {stage: seconds}}`; the seconds add up to the time that it took."""


def of(suite: Suite) -> dict[str, Any]:
    """What the results say of a suite."""
    return {
        "name": suite.name,
        "about": suite.about,
        "figures": list(suite.figures),
        "metrics": [metric.name for metric, _ in suite.metrics],
        **({"tune": suite.tune.said} if suite.tune else {}),
        "ids": [run.id for run in suite.runs],
        "arguments": list(suite.arguments),
        "text": suite.text,
    }


class Books:
    """The commands that have worked on some results: those before, and this one as it goes on."""

    def __init__(self, store: Store, ledger: Ledger | None = None) -> None:
        self.store, self.ledger = store, ledger or Ledger()
        self.said: Command | None = None
        """This command, as it stands in `suite.json`."""
        self.when = datetime.now(UTC).isoformat(timespec="seconds")

    def keep(self, said: Mapping[str, Any], worked: bool) -> None:
        """Write `suite.json`; this command stands in it only if it has worked, that is trained or measured.

        Of several commands at once each writes down its own time, one after another.
        """
        if not worked and _present(self.store) == self._with_commands(said):
            return
        with Claims(self.store.folder) as claims, claims.held_alone("suite", PATIENCE):
            seconds = {stage: round(value, 3) for stage, value in self.ledger.read().items()}
            mine: Command | None = {"when": self.when, "seconds": seconds} if worked else None
            self.store.write_manifest(self._with_commands(said, mine))
            self.said = mine or self.said

    def _with_commands(self, said: Mapping[str, Any], mine: Command | None = None) -> dict[str, Any]:
        others = [command for command in commands(self.store) if mine is None or command != self.said]
        all_ = [*others, mine] if mine else others
        return {**said, "commands": all_} if all_ else dict(said)


def commands(store: Store) -> Sequence[Command]:
    """What the commands so far have spent; nothing where that is not known."""
    return _present(store).get("commands", [])


def _present(store: Store) -> Mapping[str, Any]:
    try:
        return store.manifest() or {}
    except InputError:  # a broken suite.json is replaced
        return {}
