"""What one sees while a suite runs: runs done, loss, examples per second, time left. On stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from aebench.workload import left

if TYPE_CHECKING:
    from torch import Tensor

    from aebench.suite import Run


T = TypeVar("T")

EVERY = 60.0
"""Seconds between two lines within a pack where there is no terminal."""


class Progress:
    """A bar on a terminal; elsewhere a line a pack, and one a minute within; nothing where `quiet`.

    The bar goes by the work of a pack, which `weigh` guesses, and its steps: a costly pack is a long piece of it.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self.lines = not quiet and not self.console.is_terminal
        self.bar = Bar(
            TextColumn("{task.fields[label]}", markup=False), BarColumn(bar_width=None),
            TextColumn("{task.fields[runs]} runs  {task.fields[loss]}  {task.fields[rate]}"), TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
            console=self.console, disable=quiet or self.lines, expand=True, transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task(
            "", start=False, total=None, label="preparing", loss="", rate="", runs="", left=""
        )
        self.weigh: Callable[[Sequence[Run]], float] = len
        self.runs = self.total = self.before = self.begin = self.size = self.batch = 0.0
        self.work = self.worked = self.shown = self.piece = self.started = 0.0
        self.steps, self.first, self.waited, self.printed = 1.0, 0.0, "", time.perf_counter()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def start(self, packs: Sequence[Sequence[Run]], weigh: Callable[[Sequence[Run]], float] = len) -> None:
        """These packs will be trained, in this order. `weigh`: the work of a pack, in any unit."""
        self.weigh, self.started = weigh, time.perf_counter()
        self.total, self.work = float(sum(map(len, packs))), float(sum(map(weigh, packs)))
        self.bar.reset(self.task, total=self.work, label="", loss="", rate="", runs=f"0/{self.total:.0f}", left="")

    def enter(self, pack: Sequence[Run]) -> None:
        """A pack begins."""
        train = pack[0].spec["train"]
        self.before, self.size, self.steps, self.batch = self.runs, len(pack), train["steps"], train["batch"]
        self.piece, self.first = self.weigh(pack), 0.0
        self.begin = time.perf_counter()
        self.bar.update(self.task, label=label(pack))

    def resume(self, step: int) -> None:
        """The pack goes on from this step: those before it have taken none of the time here."""
        self.first, spared = float(step), self.piece * step / self.steps
        self.piece -= spared
        self.work -= spared

    def point(self, step: int, loss: Tensor) -> None:
        """All runs of the pack have made `step` steps; `loss [runs]`."""
        values = [value for value in loss.tolist() if math.isfinite(value)]
        middle = sorted(values)[len(values) // 2] if values else math.nan
        made = max(step - self.first, 0.0)
        rate = self.size * made * self.batch / max(time.perf_counter() - self.begin, 1e-9)
        self._show(self.worked + self.piece * made / max(self.steps - self.first, 1.0))
        self.bar.update(self.task, loss=f"loss {middle:.4g}", rate=f"{rate:,.0f} examples/s")
        self._minutely(f"step {step:,} of {self.steps:,}, loss {middle:.4g}, {rate:,.0f} examples/s")

    def skip(self, pack: Sequence[Run]) -> None:
        """Another process has trained a pack."""
        self.begin, self.before = time.perf_counter(), self.runs
        self.work -= self.weigh(pack)  # which has taken none of the time here
        self._done(pack, "by another process")

    def gather(self, processes: int) -> None:
        """So many processes train packs, which they will `bring`."""
        self.bar.update(self.task, label=f"{processes} processes", loss="", rate="")

    def bring(self, pack: Sequence[Run], seconds: float) -> None:
        """One of several processes has trained a pack, and taken so long."""
        self.before = self.runs
        self.worked += self.weigh(pack)
        self._done(pack, f"{seconds:.1f} s")

    def say(self, line: str) -> None:
        """Something that one should know of."""
        self.console.print(line, markup=False, soft_wrap=True)

    def wait(self, packs: int, owner: object) -> None:
        """All that is left is being done by others."""
        label = f"waiting for {owner}, {packs} pack{'s' * (packs > 1)} left"
        if self.lines and label != self.waited:
            self.console.print(label, markup=False, soft_wrap=True)
        self.waited = label
        self.bar.update(self.task, label=label, loss="", rate="")

    def leave(self, pack: Sequence[Run]) -> None:
        """A pack is trained, measured and stored."""
        self.worked += self.piece
        self._done(pack, f"{time.perf_counter() - self.begin:.1f} s")

    @property
    def left(self) -> float | None:
        """Seconds that the rest of the packs will take, as it seems now; None before the first step."""
        return left(time.perf_counter() - self.started, self.shown, self.work)

    def _show(self, worked: float) -> None:
        self.shown = worked
        self.bar.update(self.task, completed=worked, total=self.work, left=self._said())

    def _said(self) -> str:
        seconds = self.left
        return "" if seconds is None else str(timedelta(seconds=round(seconds)))

    def _minutely(self, how: str) -> None:
        """How the present piece stands, and the time left: a line where there is no bar, and now and then."""
        if self.lines and time.perf_counter() - self.printed >= EVERY:
            task = self.bar.tasks[0].fields
            self._print(f"{task['runs']} runs  {task['label']}: {how}, left {self._said() or 'unknown'}")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)
        self.printed = time.perf_counter()

    def _done(self, pack: Sequence[Run], how: str) -> None:
        self.runs = self.before + len(pack)
        self._show(self.worked)
        self.bar.update(self.task, runs=f"{self.runs:.0f}/{self.total:.0f}")
        if self.lines:
            self._print(f"{self.runs:.0f}/{self.total:.0f} runs  {label(pack)}: {len(pack)} runs, {how}")

    def each(self, items: Iterable[T], label: str, number: int | None = None) -> Iterator[T]:
        """The items one by one, each a run that is done when the next is asked for; `number`: of an iterator."""
        total = len(items := list(items)) if number is None else number
        if total:
            self.bar.reset(self.task, total=float(total), label=label, loss="", rate="", runs=f"0/{total}", left="")
            self.work, self.started = float(total), time.perf_counter()
        for done, item in enumerate(items, 1):
            self.bar.update(self.task, label=label)
            yield item
            self._show(done)
            self.bar.update(self.task, runs=f"{done}/{total}")
            self._minutely(f"{done} of {total}")


def label(pack: Sequence[Run]) -> str:
    """A pack in a few words."""
    spec: dict[str, Any] = pack[0].spec
    return f"{spec['variant']}, {spec['network']['kind']}, on {spec['data']['name']}"
