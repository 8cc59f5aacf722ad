"""Trained runs from their stored weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from aebench import packing
from aebench.errors import InputError
from aebench.packing import Runs
from aebench.specification import recipe, setting_of
from aebench.train import DTYPES, Hyper
from aebench.variant import Shape


def revive(
    spec: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    event_shape: Shape,
    device: torch.device,
    allow_code: bool = False,
) -> Runs:
    """A run on this device, as it was when training ended. Raises InputError where the weights are another net's."""
    variant, network, sizes = recipe(spec, allow_code)
    dtype = DTYPES[spec["train"]["precision"]]
    net = packing.build(variant, event_shape, network, sizes, spec["seed"]).to(device, dtype)
    shapes = {name: tensor.shape for name, tensor in packing.state_of(net).items()}
    if {name: array.shape for name, array in weights.items()} != shapes:
        raise InputError("the stored weights have other names or shapes than the run's net")
    state = {name: torch.from_numpy(array)[None].to(device) for name, array in weights.items()}
    hyper = Hyper(variant, [setting_of(spec)], True, device, dtype)
    return Runs(variant, net, sizes, [spec["seed"]], state, hyper.final)
