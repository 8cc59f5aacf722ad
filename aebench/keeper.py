"""What guards the training of a pack: its checkpoint, its limit of time, and signals that come meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from aebench.checkpoint import Checkpoint
from aebench.faults import Limit
from aebench.stopping import CHECKPOINTS, Safety, Stop
from aebench.store import Publication, Store, atomic
from aebench.suite import Run, pack_id

OnPoint = Callable[[int, Tensor], None]


class Keeper:
    """Guards the packs of one suite. Without a folder nothing is kept, as where nothing is published either.

    `limit`: seconds of training that a run may take. `resumes`: hears of the step from which a pack goes on.
    """

    def __init__(
        self,
        folder: Path | None = None,
        safety: Safety | None = None,
        say: Callable[[str], None] = lambda line: None,
        limit: float | None = None,
        resumes: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.folder, self.safety, self.say, self.limit = folder, safety or Safety(), say, limit
        self.resumes = resumes
        self.used: list[Checkpoint] = []

    @property
    def stop(self) -> Stop:
        """Whether the process was asked to end."""
        return self.safety.stop

    @contextmanager
    def guarding(
        self, pack: Sequence[Run], made: dict[str, Any], on_point: OnPoint
    ) -> Generator[tuple[Checkpoint | None, OnPoint]]:
        """While a pack trains: its checkpoint, and who is to hear of each point of its curve. Raises TimeLimit.

        `made`: by what, on what it trains; see `device.made`.
        """
        limit = Limit(self.limit, len(pack))

        def point(step: int, loss: Tensor) -> None:
            limit.check()
            on_point(step, loss)

        def resumes(step: int, seconds: float) -> None:
            limit.resumes(seconds)
            self.resumes(step)

        if self.folder is None:
            with limit.watching():
                yield None, point
            return
        id = pack_id(pack)
        name = self.folder / CHECKPOINTS / f"{id}.safetensors"
        fits = {name: str(made[name]) for name in ("aebench", "commit", "torch", "device", "precision")}
        fits["determinism"] = made.get("determinism", {}).get("asked", "usual")
        fits |= {"pack": id, "runs": " ".join(run.id for run in pack)}
        checkpoint = Checkpoint(name, fits, self.safety, self.say, resumes)
        self.used.append(checkpoint)
        with self.stop.later(), limit.watching():
            yield checkpoint, point

    def publish(self, published: Sequence[Publication], store: Store) -> list[dict[str, Any]]:
        """Store what came of runs, where a failure does not replace a good result; the documents that were stored."""
        with self.stop.later():
            published = [p for p in published if p[0]["status"] == "ok" or not held(store, p[0]["id"])]
            store.publish_all(published)
            self._published()
        return [document for document, _, _ in published]

    def _published(self) -> None:
        """The results of what was guarded last are written: checkpoints are of no more use."""
        for checkpoint in self.used:
            checkpoint.remove()
        self.used.clear()
        if self.folder is not None:
            atomic.sweep([self.folder / CHECKPOINTS])
            with suppress(OSError):  # those of other packs lie there
                (self.folder / CHECKPOINTS).rmdir()


def held(store: Store, id: str) -> bool:
    """Whether a good result is stored already, which a failure must not replace."""
    document = store.read_or_note(id, newer=True)
    return document is not None and document["status"] == "ok"
