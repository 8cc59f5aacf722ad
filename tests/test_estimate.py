"""What a dry run says: the seconds of a chunk that is settled, of short trainings all, and no long wait for either."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aebench import estimate
from aebench.estimate import tried
from aebench.feed import Examples
from aebench.networks import Linear
from aebench.streams import CHUNK
from aebench.train import Budget

LONG = 100 * CHUNK


class Trainer:
    """Chunks that take so many seconds each, on a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        self.costs, self.now, self.trained = seconds, 0.0, 0

    def clock(self, device: torch.device) -> float:
        return self.now

    def train(
        self, variant: Any, network: Any, sizes: Any, settings: Any, budget: Budget, *_: Any, on_point: Any
    ) -> Any:
        chunks = -(-budget.steps // CHUNK) if variant.fit is None else 0
        for chunk, cost in enumerate(self.costs[:chunks]):
            self.now += cost
            self.trained = chunk + 1
            on_point(CHUNK * (chunk + 1), torch.zeros(1))
        return SimpleNamespace(seconds={"train": self.now or 7.0})


def asked(trainer: Trainer, steps: int, monkeypatch: pytest.MonkeyPatch, fit: Any = None) -> float:
    monkeypatch.setattr(estimate, "train", trainer.train)
    monkeypatch.setattr(estimate, "clock", trainer.clock)
    variant: Any = SimpleNamespace(fit=fit)
    return tried(variant, Linear(), None, [], Budget(steps), Examples(torch.zeros(4, 1)))


@pytest.mark.parametrize(
    ("costs", "chunks", "chunk"),
    [
        ((0.9, 0.3, 0.2, 0.1, 0.01), 5, 0.1),  # neither set-up, nor the last, which draws no batches for another
        ((0.1, 0.1, 5.0, 0.1, 0.1), 3, 5.0),  # a slow one ends it
        ((1.5, 1.0, 1.0, 1.0, 1.0), 2, 1.0),
        ((9.0, 1.0, 1.0, 1.0, 1.0), 2, 1.0),  # nine seconds may be set-up
        ((11.0, 1.0, 1.0, 1.0, 1.0), 1, 11.0),
    ],
)
def test_it_goes_by_a_settled_chunk(
    costs: tuple[float, ...], chunks: int, chunk: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(*costs)
    assert asked(trainer, LONG, monkeypatch) == pytest.approx(chunk * LONG / CHUNK)
    assert trainer.trained == chunks


@pytest.mark.parametrize("steps", [1, CHUNK, 5 * CHUNK])
def test_a_short_training_is_made_whole(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(0.5, 0.1, 0.1, 0.1, 0.1)
    assert asked(trainer, steps, monkeypatch) == pytest.approx(0.5 + 0.1 * (-(-steps // CHUNK) - 1))


def test_a_closed_form_takes_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(Trainer(), LONG, monkeypatch, fit=lambda *_: {}) == 7.0
