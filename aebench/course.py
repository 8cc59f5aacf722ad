"""What training leaves behind on its way: the curve, the best state, and all that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from aebench.checkpoint import Checkpoint, named, remember, remembered, under
from aebench.engine import Terms
from aebench.feed import Examples
from aebench.packing import Pack, State


class Curve:
    """The terms of the loss over training: each point the mean over the steps since the last."""

    def __init__(self) -> None:
        self.log: list[Terms] = []
        self.steps: list[int] = []
        self.points: list[dict[str, Tensor]] = []

    def point(self, step: int) -> dict[str, Tensor]:
        """The point reached at this step: each term `[runs]`."""
        self.steps.append(step)
        self.points.append({name: torch.cat([t[name] for t in self.log]).mean(0).view(-1) for name in self.log[0]})
        self.log.clear()
        return self.points[-1]

    @property
    def tensors(self) -> State:
        """All of it: the steps, the points, and what is logged since the last."""
        points = {name: torch.stack([point[name] for point in self.points]) for name in next(iter(self.points), ())}
        logged = {name: torch.cat([terms[name] for terms in self.log]) for name in next(iter(self.log), ())}
        return {"steps": torch.tensor(self.steps), **named("points", points), **named("log", logged)}

    def restore(self, tensors: State) -> None:
        """Become the curve of which these are the `tensors`."""
        self.steps = tensors["steps"].tolist()
        points, logged = under("points", tensors), under("log", tensors)
        self.points = [{name: t[i] for name, t in points.items()} for i in range(len(self.steps))]
        self.log = [logged] if logged else []

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """`{term: [points, runs]}`."""
        names = self.points[0]
        return {name: torch.stack([point[name] for point in self.points]).cpu().numpy() for name in names}


class Best:
    """For each run the state whose validation loss was lowest."""

    def __init__(self, state: State, runs: int, validation: Examples | None, dtype: torch.dtype) -> None:
        if validation is None:
            raise ValueError("keep='best_validation' needs the validation part")
        self.state, self.validation = state, validation
        self.loss = torch.full((runs,), float("inf"), device=validation.x.device, dtype=dtype)

    def consider(self, pack: Pack, loss: Tensor) -> None:
        """Keep the present state of those runs whose `loss [runs]` is lower than ever."""
        better = loss < self.loss
        self.loss = torch.where(better, loss, self.loss)
        for name, new in pack.state.items():
            kept = self.state[name]
            kept.copy_(torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, kept))


def diverged(curves: Mapping[str, np.ndarray], steps: Sequence[int], state: State) -> list[int | None]:
    """For each run the first point of the curve that is not finite (the last, if only its parameters are)."""
    finite = np.logical_and.reduce([np.isfinite(curve) for curve in curves.values()])
    sound = torch.stack([tensor.reshape(len(tensor), -1).isfinite().all(1) for tensor in state.values()])
    finite[-1] &= sound.all(0).cpu().numpy()
    return [None if column.all() else steps[int(column.argmin())] for column in finite.T]


def kept(pack: Pack, curve: Curve, best: Best | None) -> State:
    """All that a checkpoint holds."""
    tensors = {**named("pack", pack.leaves), **named("curve", curve.tensors)}
    for part, (_, optimizer) in pack.players.items():
        tensors |= named(f"optimizer/{part}", remembered(optimizer.torch))
    return tensors if best is None else tensors | named("best", best.state) | {"lowest": best.loss}


@torch.no_grad()
def restored(checkpoint: Checkpoint, pack: Pack, curve: Curve, best: Best | None) -> tuple[int, float]:
    """Make a pack before its first step what a checkpoint holds: the steps made, and the seconds they took."""
    like = named("pack", pack.leaves) | ({} if best is None else named("best", best.state) | {"lowest": best.loss})
    found = checkpoint.load(like, next(iter(like.values())).device)
    if found is None:
        return 0, 0.0
    step, seconds, tensors = found
    for name, tensor in pack.leaves.items():
        tensor.copy_(tensors[f"pack/{name}"])
    for part, (_, optimizer) in pack.players.items():
        remember(optimizer.torch, under(f"optimizer/{part}", tensors))
    curve.restore(under("curve", tensors))
    if best is not None:
        best.state, best.loss = under("best", tensors), tensors["lowest"]
    return step, seconds
