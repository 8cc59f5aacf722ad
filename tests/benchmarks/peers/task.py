"""What every contender is asked to do: train a plain VAE on the same examples, in the same batches, by Adam at 1e-3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aebench.clock import clock
from aebench.variant import Network

LR = 1e-3


@dataclass(frozen=True)
class Task:
    """A training of so many epochs, once or for several runs that differ in their seed."""

    x: Tensor
    """`[n, *event]` float32, on the device that trains; n is a multiple of the batch."""
    network: Network
    latent: int
    batch: int = 128
    epochs: int = 1
    runs: int = 1
    sample: int = 1
    """Runs that a contender which trains one after another is timed over: the rate of all of them is the same."""

    @property
    def steps(self) -> int:
        """Steps of one run."""
        return self.epochs * (len(self.x) // self.batch)

    @property
    def examples(self) -> int:
        """Examples that one run sees."""
        return self.steps * self.batch

    @property
    def event_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])


@dataclass(frozen=True)
class Contender:
    """A way to train: `seconds(task)` of one run, or, where it trains them `together`, of all runs of the task."""

    about: str
    seconds: Callable[[Task], float]
    together: bool = False

    def examples_per_s(self, task: Task) -> float:
        """Examples a second, summed over runs."""
        if self.together:
            return task.runs * task.examples / self.seconds(task)
        return task.sample * task.examples / sum(self.seconds(task) for _ in range(task.sample))


class Stopwatch:
    """From the begin of a trainer's first epoch to the end of its last: neither set-up nor the saving of the model."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.begin: float | None = None
        self.end = 0.0

    def start(self) -> None:
        """An epoch begins."""
        self.begin = clock(self.device) if self.begin is None else self.begin

    def stop(self) -> None:
        """An epoch has ended."""
        self.end = clock(self.device)

    @property
    def seconds(self) -> float:
        """Between the two."""
        assert self.begin is not None, "no epoch has begun"
        return self.end - self.begin


class VAE(nn.Module):
    """Gaussian encoder and decoder; `forward` is the loss, squared error and KL summed per example: the lean loop's."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = task.network.encoder(task.event_shape, 2 * task.latent)
        self.decoder = task.network.decoder(task.latent, task.event_shape)

    def forward(self, x: Tensor) -> Tensor:
        """`x [batch, *event]` -> the mean loss, 0-dim."""
        mu, logvar = self.encoder(x).chunk(2, -1)
        x_hat = self.decoder(mu + (0.5 * logvar).exp() * torch.randn_like(mu))
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)
        return ((x - x_hat).square().flatten(1).sum(1) + kl).mean()
