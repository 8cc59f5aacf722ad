"""`suite.json`: what results say of the suite that made them, and where the time of its commands went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aebench.clock import Ledger
from aebench.errors import InputError
from aebench.store import Store
from aebench.suite import Suite

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
        self.store, self.ledger, self.earlier = store, ledger or Ledger(), commands(store)
        self.when = datetime.now(UTC).isoformat(timespec="seconds")

    def keep(self, said: Mapping[str, Any], worked: bool) -> None:
        """Write `suite.json`; this command stands in it only if it has worked, that is trained or measured."""
        seconds = {stage: round(value, 3) for stage, value in self.ledger.read().items()}
        all_ = [*self.earlier, {"when": self.when, "seconds": seconds}] if worked else self.earlier
        self.store.write_manifest({**said, "commands": all_} if all_ else said)


def commands(store: Store) -> Sequence[Command]:
    """What the commands so far have spent; nothing where that is not known."""
    try:
        return (store.manifest() or {}).get("commands", [])
    except InputError:  # a broken suite.json is replaced
        return []
