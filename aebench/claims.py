"""Who works on what: several processes share a folder of results, and no two train the same pack.

A claim is a file that one process can create and the others cannot. Its owner touches it while it works and removes
it in the end. The claim of a process that died is never removed by others, who could not tell it from a newer one by
then; instead the one who creates the file that is named after the dead claim's token has taken it over. Who holds a
claim is thus the last link of a chain that begins with the claim itself.

Whether the owner lives is asked of the system where it runs on this machine (the process of that number that began
at that time), and told by the age of its last touch where it does not, both times by the file system's clock.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self, TypeVar

from aebench.errors import InputError
from aebench.processes import begun, lives, machine
from aebench.stopping import CHECKPOINTS
from aebench.store import atomic

FOLDER = ".claims"
BEAT = 20.0
"""Seconds between two touches of a claim."""
EXPIRES = 180.0
"""Seconds without a touch after which a process of another machine counts as dead."""
POLL = 0.5
"""Seconds between two looks at what others have claimed."""

TOKEN = re.compile(r"[0-9a-f]{16}")

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Owner:
    """A process, and the token of one of its claims, which is never used again."""

    host: str = ""
    pid: int = 0
    begun: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def here(cls) -> Self:
        """This process, with a new token."""
        return cls(machine(), os.getpid(), begun(os.getpid()) or "")

    @property
    def lives(self) -> bool | None:
        """Whether it still runs; None where this machine cannot tell."""
        return lives(self.pid, self.begun) if self.host == machine() else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition(' ')[0]}" if self.pid else "another process"


class Claims:
    """The claims of one folder of results, and those that this process holds. A `with` block releases them."""

    def __init__(self, results: Path) -> None:
        self.folder = results / FOLDER
        self.held: dict[str, Path] = {}
        self.lock, self.ended, self.heart = Lock(), Event(), None

    def take(self, key: str) -> bool:
        """Claim what has this name; False where a living process has it. InputError where nothing can be written."""
        while True:
            chain = self._chain(key)
            if chain and not self._expired(*chain[-1]):
                return False
            path = self._link(key, chain[-1][1].token if chain else "")
            if not self._created(path):
                continue
            with self.lock:
                self.held[key] = path
            # it may be the end of a chain that its holder has removed meanwhile: then others may have begun a new one
            if [link for link, _ in self._chain(key)][-1:] == [path]:
                self._beat()
                return True
            self._forget(key)
            path.unlink(missing_ok=True)

    def release(self, key: str) -> None:
        """Give back a claim; what was lost to others meanwhile is left to them."""
        path, links = self._forget(key), [link for link, _ in self._chain(key)]
        if path is not None and path in links[-1:]:
            for link in links:  # the first one first: without it, the others mean nothing
                with suppress(OSError):
                    link.unlink()

    @contextmanager
    def held_alone(self, key: str, patience: float = float("inf")) -> Generator[None]:
        """A claim for the time of a `with` block, waited for; after `patience` seconds the block goes on without.

        And at once where nothing can be written, as nobody else can then either.
        """
        until, mine = time.monotonic() + patience, False
        with suppress(InputError):
            while not (mine := self.take(key)) and time.monotonic() < until:
                time.sleep(POLL / 10)
        try:
            yield
        finally:
            if mine:
                self.release(key)

    def holder(self, key: str) -> Owner | None:
        """The process that has claimed this, if any."""
        return chain[-1][1] if (chain := self._chain(key)) else None

    def names(self) -> list[str]:
        """What is claimed here, by the living and the dead."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return sorted({name.partition(".")[0] for name in names} - {""})

    def busy(self) -> bool:
        """Whether a living process holds any claim here."""
        return any((chain := self._chain(key)) and not self._expired(*chain[-1]) for key in self.names())

    def share(
        self,
        items: Sequence[T],
        key: Callable[[T], str],
        left: Callable[[T], U],
        waiting: Callable[[int, Owner | None], None] = lambda number, owner: None,
    ) -> Iterator[tuple[T, U]]:
        """Each item once, with what is left to do of it: claimed while it is looked at, or done by another process.

        `left(item)` is asked when the item is claimed, and is false where nothing is to be done. What other processes
        have claimed comes last, once they are through with it or gone; `waiting(items, owner)` hears of it.
        """
        todo = list(items)
        while todo:
            others: list[T] = []
            for item in todo:
                if self.take(name := key(item)):
                    yield item, left(item)
                    self.release(name)
                elif rest := left(item):
                    others.append(item)
                else:
                    yield item, rest
            if len(others) == len(todo):
                waiting(len(others), self.holder(key(others[0])))
                time.sleep(POLL)
            todo = others

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for key in list(self.held):
            self.release(key)
        atomic.sweep([self.folder])
        with suppress(OSError):  # others are at work
            self.folder.rmdir()

    def _link(self, key: str, token: str) -> Path:
        return self.folder / (f"{key}.{token}" if token else key)

    def _chain(self, key: str) -> list[tuple[Path, Owner]]:
        """The claim and all that took it over, each with its owner; empty where there is none."""
        chain: list[tuple[Path, Owner]] = []
        path = self._link(key, "")
        while (owner := _owner(path)) is not None:
            chain.append((path, owner))
            path = self._link(key, owner.token)
        return chain

    def _expired(self, path: Path, owner: Owner) -> bool:
        lives = owner.lives
        if lives is not None:
            return not lives
        try:
            return atomic.now(self.folder) - path.stat().st_mtime > EXPIRES
        except FileNotFoundError:
            return False

    def _created(self, path: Path) -> bool:
        said = json.dumps(asdict(Owner.here())).encode()
        for _ in range(100):  # the folder is removed by the last to leave
            try:
                return atomic.create(path, lambda file: file.write(said))
            except InputError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
        raise InputError(f"cannot write {path}: its folder is removed again and again")

    def _forget(self, key: str) -> Path | None:
        with self.lock:
            return self.held.pop(key, None)

    def _beat(self) -> None:
        """Touch what is held from now on, in a thread of its own."""
        if self.heart is None:
            self.heart = Thread(target=self._touch, name="aebench-claims", daemon=True)
            self.heart.start()

    def _touch(self) -> None:
        while not self.ended.wait(BEAT):
            with self.lock:
                for path in self.held.values():
                    with suppress(OSError):
                        os.utime(path)


def tidy(results: Path, finished: Collection[str]) -> None:
    """Remove what commands that were killed have left: their claims, and checkpoints of runs that are `finished`.

    Others may be at work here, and what cannot be removed may stay: nothing depends on it.
    """
    with suppress(InputError), Claims(results) as claims:
        for key in claims.names():
            if claims.take(key):
                claims.release(key)
    kept = results / CHECKPOINTS
    with suppress(OSError):
        for path in list(kept.glob("*.safetensors")):
            if (ids := of_runs(path)) and all(id in finished for id in ids):
                path.unlink(missing_ok=True)
        atomic.sweep([kept])
        kept.rmdir()  # unless those of packs lie there that are being trained, or of other settings


def of_runs(checkpoint: Path) -> list[str]:
    """The ids of the runs that a checkpoint is of; none where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        if not checkpoint.is_file():  # a pipe would be waited for
            return []
        with safe_open(checkpoint, "np") as file:
            return str((file.metadata() or {}).get("runs", "")).split()
    except (OSError, SafetensorError):
        return []


def _owner(path: Path) -> Owner | None:
    """Who wrote a claim; None where there is none, and nobody in particular where it cannot be read."""
    try:
        said = json.loads(path.read_bytes())
        owner = Owner(str(said["host"]), int(said["pid"]), str(said["begun"]), str(said["token"]))
        if TOKEN.fullmatch(owner.token):
            return owner
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        pass
    with suppress(OSError):
        return Owner(token=f"{path.stat().st_ino % 2**64:016x}")
    return None
