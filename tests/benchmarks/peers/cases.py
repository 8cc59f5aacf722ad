"""The networks and data that are compared on, and who takes part in each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import aebench_trainer
import ensemble_recipe
import lean_loop
import torch
from task import Contender, Task
from torch import Tensor

from aebench import data
from aebench.device import cores
from aebench.networks import MLP, Conv

LEAN = {"lean": Contender("plain loop, tensor in memory, fused Adam", lean_loop.seconds)}
RECIPE = {
    "ensemble recipe": Contender("torch.func's tutorial, Adam as it comes", ensemble_recipe.seconds, together=True),
    "ensemble recipe, fused Adam": Contender(
        "torch.func's tutorial, fused Adam", partial(ensemble_recipe.seconds, fused=True), together=True
    ),
}
AS_IT_COMES = "pythae as it comes"


def ours() -> dict[str, Contender]:
    """aebench at every precision."""
    trainers = {p: partial(aebench_trainer.seconds, precision=p) for p in aebench_trainer.precisions()}
    return {f"aebench {p}": Contender("aebench.train", trainer, together=True) for p, trainer in trainers.items()}


def several(runs: int) -> dict[str, Contender]:
    """aebench as `--processes` has it, a process a core."""
    number = min(cores(), runs)
    trainer = partial(aebench_trainer.by_processes, number)
    return {f"aebench fp32, {number} processes": Contender("aebench.train in each", trainer, together=True)}


def pythae() -> dict[str, Contender]:
    """Its trainer as it comes, and made faster in two steps; nobody where it is not installed."""
    if find_spec("pythae") is None:
        return {}
    seconds: Callable[..., float] = importlib.import_module("pythae_trainer").seconds
    fused, whole = partial(seconds, fused=True), partial(seconds, fused=True, whole_batches=True)
    return {
        AS_IT_COMES: Contender("BaseTrainer", seconds),
        "pythae, fused Adam": Contender("BaseTrainer, optimizer_params={'fused': True}", fused),
        "pythae, fused Adam, whole batches": Contender("the same, its loader overridden to index whole batches", whole),
    }


def lightning() -> dict[str, Contender]:
    """Its trainer as it comes, and with fused Adam; nobody where it is not installed."""
    if find_spec("lightning") is None:
        return {}
    seconds: Callable[..., float] = importlib.import_module("lightning_trainer").seconds
    return {
        "lightning as it comes": Contender("Trainer.fit, DataLoader of a TensorDataset, Adam", seconds),
        "lightning, fused Adam": Contender("the same, fused=True", partial(seconds, fused=True)),
    }


class Case(NamedTuple):
    """A task and its contenders; `data` says what the examples are."""

    about: str
    data: str
    task: Task
    contenders: dict[str, Contender]


def digits(n: int) -> tuple[str, Tensor]:
    """`[n, 1, 28, 28]`: images of MNIST where a folder holds it, else uniform noise; and which of the two it is."""
    if any(complete for _, complete in data.where("mnist")):
        x = data.load(data.describe("mnist")).train.x[:n]
        return "MNIST", torch.from_numpy(x).float().div_(255)
    return "uniform noise", lean_loop.training.images(n)


def cases(device: torch.device, quick: bool = False) -> dict[str, Case]:
    """Those that this device is asked for; `quick`: a few steps each, as a smoke check.

    On CUDA runs are longer: there aebench spends its first 64 steps on finding out whether to record a graph.
    """
    cuda = device.type == "cuda"
    kind, x = digits(512 if quick else 16384)
    mlp = Task(x.to(device), MLP((512,)), latent=16, epochs=1 if quick else 8 if cuda else 2)
    points = lean_loop.training.points(512 if quick else 4096).to(device)
    epochs, sample = (1, 2) if quick else (32, 2) if cuda else (2, 16)
    small = Task(points, MLP((64, 64)), latent=8, epochs=epochs, runs=16, sample=sample)
    stock = {name: contender for name, contender in pythae().items() if name == AS_IT_COMES}
    found = {
        "mlp": Case("VAE 784-512-16-512-784", kind, mlp, {**LEAN, **pythae(), **lightning(), **ours()}),
        "small": Case(
            "VAE 2-64-64-8-64-64-2",
            "normal noise",
            small,
            {**LEAN, **stock, **RECIPE, **ours(), **(several(16) if cores() > 1 and not cuda else {})},
        ),
    }
    if cuda:
        many = {"runs": 64, "sample": 2, "epochs": 1 if quick else 4}
        images = torch.rand(256 if quick else 4096, 3, 64, 64, device=device)
        conv = Task(images, Conv((32, 32, 64, 64)), latent=10, batch=64, **many)
        about = "VAE 784-512-16-512-784"
        found["mlp64"] = Case(about, kind, replace(mlp, **many), {**LEAN, **pythae(), **RECIPE, **ours()})
        found["conv64"] = Case("convolutional VAE 3x64x64-10", "uniform noise", conv, {**LEAN, **RECIPE, **ours()})
    return found
