"""torch's optimisers on stacked parameters: one group for each distinct setting, over a slice of the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aebench.engine import refill
from aebench.errors import InputError, unknown
from aebench.schedule import Number, at

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
BUFFERS: dict[str, Callable[[Mapping[str, Any]], tuple[str, ...]]] = {
    "adam": lambda options: ("exp_avg", "exp_avg_sq"),
    "adamw": lambda options: ("exp_avg", "exp_avg_sq"),
    "sgd": lambda options: ("momentum_buffer",) if options.get("momentum") else (),
    "rmsprop": lambda options: ("square_avg", "momentum_buffer") if options.get("momentum") else ("square_avg",),
    "adagrad": lambda options: ("sum",),
}
"""What torch keeps for each parameter, of the parameter's size, under these options."""
_CAPTURABLE = {"adam": ("cuda",), "adamw": ("cuda",), "rmsprop": ("cuda",)}
"""Where torch has a step that a graph can hold: it reads the learning rate from memory."""
_FUSED = {"adam": ("cpu", "cuda"), "adamw": ("cpu", "cuda"), "sgd": ("cpu", "cuda"), "adagrad": ("cpu",)}
"""Where torch has a fused kernel that is used here; foreach elsewhere."""


def buffers(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What torch keeps for each parameter, of its size; InputError for an optimiser that is not known."""
    if name not in BUFFERS:
        raise unknown("optimizer", name, BUFFERS)
    return BUFFERS[name](options)


def check_recordable(device: str, name: str, precision: str) -> None:
    """Refuse a step that no CUDA graph can hold: InputError."""
    able = [known for known, devices in _CAPTURABLE.items() if device in devices]
    if not able:
        raise InputError(f"engine 'graph': needs CUDA, and the device is {device}; choose auto or eager")
    if name not in able or precision == "fp64":
        raise InputError(
            f"engine 'graph': no graph holds optimizer {name!r} in {precision}; it holds {', '.join(able)} in "
            f"fp32, tf32 and bf16; choose auto or eager"
        )


def fused_adam(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> Callable[[Sequence[Tensor]], None]:
    """The kernel that torch's fused Adam or AdamW calls on a CPU, on a group that has made a step: takes its gradients.

    Without what `Optimizer.step` does around it each time: for small nets that takes longer than the kernel. The count
    of steps is one for the whole group.
    """
    parameters: list[Tensor] = group["params"]
    states = [optimizer.state[parameter] for parameter in parameters]
    count: Tensor = states[0]["step"]
    for state in states:
        state["step"] = count
    names = ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else []))
    moments = [[state[name] for state in states] for name in names] + ([] if group["amsgrad"] else [[]])
    kernel: Callable[..., Any] = getattr(torch, "_fused_adamw_" if group["decoupled_weight_decay"] else "_fused_adam_")
    (beta1, beta2), counts = group["betas"], [count] * len(parameters)

    def step(gradients: Sequence[Tensor]) -> None:
        count.add_(1)
        kernel(
            parameters, gradients, *moments, counts, lr=group["lr"], weight_decay=group["weight_decay"],
            beta1=beta1, beta2=beta2, eps=group["eps"], amsgrad=group["amsgrad"], maximize=group["maximize"],
        )  # fmt: skip

    return step


class Descent(NamedTuple):
    """How one run goes downhill. `options` are the optimiser's own: betas, eps, momentum, ..."""

    lr: Number = 1e-3
    weight_decay: Number = 0.0
    clip: Number | None = None
    """The largest norm of a run's gradient; None leaves it."""
    options: tuple[tuple[str, Any], ...] = ()


class StackedOptimizer:
    """Steps the runs of a pack, each with its own learning rate, weight decay, clipping and options.

    `parameters`: leaves with a leading `[runs]` axis, or of a single run without it (`stacked=False`).
    `descents`: one a run; runs of equal descent must be neighbours, or they cost a group each. What changes with time
    is resolved chunk by chunk (`fill`), so that a step needs no number of its own.
    """

    def __init__(
        self, name: str, parameters: Sequence[Tensor], descents: Sequence[Descent], *, stacked: bool = True
    ) -> None:
        self.parameters, self.descents, self.stacked = list(parameters), list(descents), stacked
        found = [(descent, len(list(runs))) for descent, runs in groupby(self.descents)]
        self.groups = [descent for descent, _ in found]
        self.counts = [count for _, count in found]
        """Runs of each group."""
        self.buffers = buffers(name, dict(self.groups[0].options))
        self.views = self._views([parameter.detach() for parameter in parameters] if len(found) > 1 else parameters)
        groups: list[dict[str, Any]] = [
            {"params": views, "lr": at(d.lr, 0.0), "weight_decay": at(d.weight_decay, 0.0), **dict(d.options)}
            for views, d in zip(self.views, self.groups, strict=True)
        ]
        device = self.parameters[0].device
        fast: dict[str, Any] = {"fused" if device.type in _FUSED.get(name, ()) else "foreach": True}
        self.decays = any(not isinstance(d.weight_decay, float) for d in self.groups)
        single = all(p.dtype == torch.float32 for p in self.parameters)  # as the learning rate that a graph reads
        self.capturable = device.type in _CAPTURABLE.get(name, ()) and single and not self.decays
        if self.capturable:
            fast["capturable"] = True
            for group in groups:
                group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)
        self.torch = OPTIMIZERS[name](groups, **fast)
        vars(self.torch)["_warned_capturable_if_run_uncaptured"] = (
            True  # that it also steps outside a graph is meant so
        )
        for group in self.torch.param_groups:  # torch reads this one from its constructor alone
            for view in group["params"] if "initial_accumulator_value" in group else ():
                self.torch.state[view]["sum"].fill_(group["initial_accumulator_value"])
        self.scheduled = any(not isinstance(d.lr, float) or not isinstance(d.weight_decay, float) for d in self.groups)
        self.clipped = any(d.clip is not None for d in self.descents)
        self.copies = int(self.clipped) + 2 * ("foreach" in fast)
        """Tensors of the parameters' size that a step makes for itself."""
        fused = all(group.get("fused") for group in self.torch.param_groups)
        self.direct = device.type == "cpu" and name in ("adam", "adamw") and fused
        self.kernels: list[Callable[[Sequence[Tensor]], None]] = []
        """`fused_adam` of each group, from the second step on."""
        self.table: list[list[tuple[float, float]]] = []
        self.rates = self.limits = torch.empty(0)

    def fill(self, fractions: Sequence[float]) -> None:
        """Resolve the schedules for the next steps, each by the fraction of training done before it."""
        self.kernels = []  # what torch keeps may have been given back meanwhile
        if self.scheduled:
            self.table = [[(at(d.lr, f), at(d.weight_decay, f)) for d in self.groups] for f in fractions]
            if self.capturable:
                rates = [[lr for lr, _ in row] for row in self.table]
                self.rates = refill(self.rates, torch.tensor(rates, dtype=torch.float32), self.parameters[0].device)
        if self.clipped:
            clips = [d.clip for d in self.descents]
            limits = [[float("inf") if clip is None else at(clip, f) for clip in clips] for f in fractions]
            like = self.parameters[0]
            self.limits = refill(self.limits, torch.tensor(limits, dtype=like.dtype), like.device)

    def step(self, gradients: Sequence[Tensor], i: int) -> None:
        """Move the parameters, as the i-th of the steps for which `fill` was called."""
        if self.clipped:
            gradients = self._clip(gradients, self.limits[i])
        if self.scheduled:
            for g, group in enumerate(self.torch.param_groups):
                if self.capturable:
                    group["lr"].copy_(self.rates[i, g])
                else:
                    group["lr"], group["weight_decay"] = self.table[i][g]
        # a fused kernel walks memory: a gradient laid out otherwise than its parameter would be applied transposed
        pieces = self._views([gradient.contiguous() for gradient in gradients])
        if self.direct and self.torch.state:
            self.kernels = self.kernels or [fused_adam(self.torch, group) for group in self.torch.param_groups]
            for kernel, piece in zip(self.kernels, pieces, strict=True):
                kernel(piece)
            return
        for views, piece in zip(self.views, pieces, strict=True):
            for view, gradient in zip(views, piece, strict=True):
                view.grad = gradient
        self.torch.step()
        for view in (view for views in self.views for view in views):
            view.grad = None  # or it would lie beside the next step's

    def _views(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """The tensors as each group has them."""
        if len(self.counts) == 1:
            return [list(tensors)]
        return [list(views) for views in zip(*(tensor.split(self.counts) for tensor in tensors), strict=True)]

    def _clip(self, gradients: Sequence[Tensor], limit: Tensor) -> list[Tensor]:
        rows = [g.reshape(len(limit), -1) for g in gradients]
        norm = torch.stack([row.square().sum(1) for row in rows]).sum(0).sqrt()
        scale = torch.where(limit.isinf(), 1.0, (limit / (norm + 1e-6)).clamp(max=1.0))
        return [(row * scale[:, None]).view_as(g) for row, g in zip(rows, gradients, strict=True)]


def summary(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Options of a suite as a hashable part of a Descent."""
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in options.items()))
