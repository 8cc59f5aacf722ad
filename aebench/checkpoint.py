"""A pack in the midst of training, on disk: all that the next step depends on but the step's own number.

Order and noise of a step follow from its number, and so do scheduled settings (see `streams`); what is kept is what the
steps before have made: parameters and buffers, what the optimisers remember, the curve, and the best state so far.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from aebench.errors import InputError
from aebench.stopping import Safety
from aebench.store import atomic

FORMAT = "2"

Tensors = dict[str, Tensor]


class Unfit(ValueError):
    """A checkpoint that cannot be gone on with."""


@dataclass
class Checkpoint:
    """The checkpoint of one pack: where it lies, and what it must have been made by to be gone on with here."""

    path: Path
    made: Mapping[str, str]
    safety: Safety = field(default_factory=Safety)
    say: Callable[[str], None] = lambda line: None
    resumes: Callable[[int, float], None] = lambda step, seconds: None
    """Hears of the steps that were made before, and the seconds that they took, where training goes on."""
    last: float = field(default_factory=time.monotonic)
    resumed: int = 0
    """The step from which this training went on; 0 where it began anew."""

    def load(self, like: Tensors, device: torch.device) -> tuple[int, float, Tensors] | None:
        """Step, seconds spent before it, and tensors; None where there is none that fits, and `say` hears why.

        `like`: tensors that it must hold, in these shapes and types; it may hold more.
        """
        if not self.path.exists():
            return None
        try:
            step, seconds, tensors = self._read()
            for name, tensor in like.items():
                if name not in tensors or tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
                    raise Unfit(f"{name} is missing or of another shape")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            self.say(f"{self.path}: not gone on with, training begins anew: {atomic.reason(error)}")
            return None
        self.resumed = step
        self.resumes(step, seconds)
        return step, seconds, {name: tensor.to(device) for name, tensor in tensors.items()}

    def reached(self, step: int, seconds: Callable[[], float], tensors: Callable[[], Tensors]) -> None:
        """So many steps are made. A checkpoint is written if it is time to, or if the process is to end: Stopped."""
        if self.safety.stop.asked or time.monotonic() - self.last >= self.safety.every:
            try:
                self._write(step, seconds(), tensors())
            except (InputError, MemoryError, RuntimeError) as error:  # what is full is no reason to stop training
                self.say(f"no checkpoint: {atomic.reason(error)}")
            self.last = time.monotonic()
        self.safety.stop.check()

    def remove(self) -> None:
        """It is not needed any more."""
        if self.path.exists():
            atomic.remove(self.path)

    def _write(self, step: int, seconds: float, tensors: Tensors) -> None:
        kept = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        said = {**self.made, "format": FORMAT, "step": str(step), "seconds": repr(seconds)}
        whole = save(kept, {**said, "sha256": digest(kept, said)})
        atomic.replace(self.path, lambda file: file.write(whole))

    def _read(self) -> tuple[int, float, Tensors]:
        with safe_open(self.path, "pt") as file:
            said: dict[str, str] = file.metadata() or {}
            for name, value in {**self.made, "format": FORMAT}.items():
                if said.get(name) != value:
                    raise Unfit(f"{name} was {said.get(name)!r} and is {value!r}")
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if said.pop("sha256", "") != digest(tensors, said):
            raise Unfit("its checksum is wrong")
        return int(said["step"]), float(said["seconds"]), tensors


def digest(tensors: Tensors, said: Mapping[str, str]) -> str:
    """sha256 of names and contents, and of what is said beside them."""
    sha = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        sha.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        sha.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def named(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The same under names that begin with this."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Those whose names begin with this, without it."""
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def remembered(optimizer: torch.optim.Optimizer) -> Tensors:
    """What an optimiser has of the steps before: `{"<place of the parameter>/<name>": value}`."""
    found: Tensors = {}
    for place, (view, _) in enumerate(_parameters(optimizer)):
        state: Mapping[str, Any] = optimizer.state.get(view, {})
        for name, value in state.items():
            if isinstance(value, Tensor):  # a count may be that of several parameters
                found[f"{place}/{name}"] = value if value.ndim else value.clone()
    return found


@torch.no_grad()
def remember(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give it back. A count of steps lies where torch wants it: beside the parameter only where a kernel reads it."""
    for place, (view, group) in enumerate(_parameters(optimizer)):
        beside = group.get("fused") or group.get("capturable")
        for name, value in under(str(place), tensors).items():
            if value.shape == view.shape:  # in the parameter's own layout, which a fused kernel relies on
                optimizer.state[view][name] = torch.empty_like(view, dtype=value.dtype).copy_(value)
            else:
                there = view.device if name != "step" or beside else torch.device("cpu")
                optimizer.state[view][name] = value.to(there)


def _parameters(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    return [(view, group) for group in optimizer.param_groups for view in group["params"]]
