"""How a chunk of steps is carried out: one after another, or on CUDA as one graph, whichever is faster there.

A graph replays kernels with the addresses that they had when it was recorded, so all that changes between chunks
(order, noise, scheduled numbers) is written into buffers that stay (`refill`), outside the graph. The results are
those of the steps one after another, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from aebench.clock import clock
from aebench.errors import InputError, unknown

Mode = Literal["auto", "eager", "graph"]
Terms = dict[str, Tensor]
"""The terms of the loss at each step of a chunk: `{name: [steps, runs]}`."""
Capture = Callable[[Callable[[], Terms]], tuple[Callable[[], None], Terms]]
"""Records a call without carrying it out: what replays it, and the tensors into which it then writes."""


def mode(name: str) -> Mode:
    """The mode of that name; InputError where there is none."""
    for known in get_args(Mode):
        if name == known:
            return known
    raise unknown("engine", name, get_args(Mode))


def cuda_graph(device: torch.device, call: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
    """The `Capture` of a CUDA device."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
        terms = call()
    return graph.replay, terms


def capture_on(device: torch.device) -> Capture | None:
    """What can record a chunk on this device, if anything can."""
    return partial(cuda_graph, device) if device.type == "cuda" else None


def refill(buffer: Tensor, new: Tensor, device: torch.device) -> Tensor:
    """Write new values where a graph reads the old ones; a new buffer the first time, or for another shape."""
    if buffer.shape == new.shape and buffer.device == device:
        return buffer.copy_(new, non_blocking=True)
    return new.to(device)


class Engine:
    """Carries out chunks of `steps(count)`, of which `whole` make a full one; the last may be shorter.

    The first full chunk goes step by step, as kernels and optimisers set themselves up in it. On CUDA "auto" times the
    second one too, then a replay of the graph, and stays with the faster; "graph" records at once; "eager" never.
    On a CPU each number of `threads` is timed in turn, as by `Threads`.
    """

    def __init__(
        self,
        steps: Callable[[int], Terms],
        whole: int,
        device: torch.device,
        chosen: Mode,
        *,
        recordable: bool = True,
        threads: Sequence[int] = (),
    ) -> None:
        self.capture = capture_on(device) if mode(chosen) != "eager" and recordable else None
        if chosen == "graph" and self.capture is None:
            raise InputError(
                f"engine 'graph': needs CUDA, and adam, adamw or rmsprop without a schedule of the weight decay, in "
                f"float32; the device is {device.type}; choose auto or eager"
            )
        self.whole, self.device, self.mode = whole, device, chosen
        self.threads = Threads(threads, device)
        self._steps = steps
        self.replay: Callable[[], None] | None = None
        self.terms: Terms = {}
        self.chunks = self.replays = 0
        self.graphed = False
        """Whether the last full chunk was a graph."""
        self.seconds: dict[str, float] = {}
        self.refused = ""

    def steps(self, count: int) -> Terms:
        """A chunk step by step."""
        return self.threads.run(lambda: self._steps(count), count == self.whole)

    def run(self, count: int) -> Terms:
        """The next chunk."""
        if self.capture is None or count < self.whole:
            self.release()
            return self.steps(count)
        self.chunks += 1
        if self.chunks == 1:
            return self.steps(count)
        if self.chunks == 2 and self.mode == "auto":
            return self._timed("eager", lambda: self.steps(count))
        if self.replay is None:
            begin = clock(self.device)
            try:
                self.replay, self.terms = self.capture(lambda: self.steps(count))
            except RuntimeError as error:  # something that a graph cannot hold; nothing was carried out
                if self.mode == "graph":
                    raise
                self.capture, self.refused = None, " ".join(str(error).split())[:200]
                return self.steps(count)
            self.seconds["capture"] = clock(self.device) - begin
        self.replays += 1
        if self.replays != 2 or self.mode != "auto":
            return self._replayed(self.replay)
        replay = self.replay
        terms = self._timed("graph", lambda: self._replayed(replay))
        if self.seconds["graph"] > self.seconds["eager"]:
            self.release()
            self.capture, self.graphed = None, False
        return terms

    def release(self) -> None:
        """Let the graph go: it holds the memory of a whole step for itself alone."""
        self.replay, self.terms = None, {}

    @property
    def choice(self) -> dict[str, Any]:
        """What a document says: the engine at the end, the seconds of a chunk that decided, why there is no graph."""
        found = {"engine": "graph" if self.graphed else "eager", **self.seconds, **self.threads.choice}
        return found | ({"no_graph": self.refused} if self.refused else {})

    def _replayed(self, replay: Callable[[], None]) -> Terms:
        self.graphed = True
        replay()
        return {name: term.clone() for name, term in self.terms.items()}

    def _timed(self, name: str, call: Callable[[], Terms]) -> Terms:
        begin = clock(self.device)
        terms = call()
        self.seconds[name] = clock(self.device) - begin
        return terms


class Threads:
    """Stays with the number of threads whose chunks take the shortest, and asks again: a machine may become busy.

    Two threads on two free cores halve a step; where another process has one of the cores, they wait for each other
    and cost more than one. Each number is timed by one chunk, after a first that is not timed; all anew when a chunk
    takes half as long again as the one that decided, and a slower one after `AGAIN` times its own duration.
    """

    AGAIN, SLOWER = 128, 1.5

    def __init__(self, numbers: Sequence[int], device: torch.device) -> None:
        self.numbers, self.device = list(dict.fromkeys(numbers)), device
        self.best = self.numbers[0] if self.numbers else None
        self.seconds: dict[int, float] = {}
        self.since = -1
        """Chunks since the last choice; negative: the one to come is a warm-up."""
        self.spent: Counter[int] = Counter()

    def run(self, call: Callable[[], Terms], full: bool) -> Terms:
        """A chunk with the number of threads whose turn it is; only full ones are compared."""
        if self.best is None:
            return call()
        asking = full and self.since >= 0 and len(self.numbers) > 1
        number = next((n for n in self.numbers if n not in self.seconds), self.best) if asking else self.best
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        begin = clock(self.device)
        try:
            terms = call()
        finally:
            torch.set_num_threads(before)
        took = clock(self.device) - begin
        self.spent[number] += 1
        self.since += full
        if asking:
            self._judge(number, took)
        return terms

    @property
    def choice(self) -> dict[str, Any]:
        """The number of threads of most chunks; of equally many that with which it would go on."""
        return {"threads": max(self.spent, key=lambda n: (self.spent[n], n == self.best))} if self.spent else {}

    def _judge(self, number: int, took: float) -> None:
        if number not in self.seconds:
            self.seconds[number] = took
            self.best, self.since = min(self.seconds, key=self.seconds.__getitem__), 0
        elif took > self.SLOWER * self.seconds[number]:
            self.seconds.clear()
        else:
            waited = self.since * self.seconds[number]
            self.seconds = {n: s for n, s in self.seconds.items() if n == number or waited < self.AGAIN * s}
