"""A loss is to be a pure function of its net, batch, noise and hyperparameters."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torch.func import vmap

from aebench.errors import InputError
from aebench.feed import Batch
from aebench.packing import mean_terms, pure
from aebench.variant import Variant


def check_pure(variant: Variant, net: nn.Module, batch: Batch, hp: Any) -> None:
    """Call every loss once under vmap with two runs of one net; what is not a pure function is refused there.

    `hp` is that of one run. vmap rejects hidden random numbers, dropout, a Python `if` on a tensor, `.item()` and
    writing to buffers (running statistics): buffers are the only thing that the two runs share here.
    """
    x = batch.x if batch.x_dim is None else batch.x[0]
    noise = {name: t if batch.noise_dim is None else t[0] for name, t in batch.noise.items()}
    parameters = {name: torch.stack([p.detach()] * 2) for name, p in net.named_parameters()}
    buffers = {name: buffer.detach().clone() for name, buffer in net.named_buffers()}
    twice = (torch.stack([x] * 2), {name: torch.stack([t] * 2) for name, t in noise.items()})
    hp = type(hp)(*(value.expand(2) for value in hp))
    shared = dict.fromkeys(parameters, 0) | dict.fromkeys(buffers)
    functions = [mean_terms(loss) for loss in variant.losses.values()]
    if variant.after is not None:
        functions.append(variant.after)
    for fn in functions:
        try:
            vmap(pure(net, fn), in_dims=(shared, 0, 0, 0))({**parameters, **buffers}, *twice, hp)
        except RuntimeError as error:
            refused = re.search("vmap|batching rule", str(error), re.IGNORECASE)
            if isinstance(error, torch.OutOfMemoryError) or not refused:
                raise
            reason = " ".join(str(error).split())
            raise InputError(f"variant {variant.name!r}: its loss is not a pure function: {reason[:300]}") from error
