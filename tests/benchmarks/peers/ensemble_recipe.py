"""PyTorch's tutorial on model ensembling, made to train: `stack_module_state`, `functional_call`, `vmap(grad)`, Adam.

https://docs.pytorch.org/tutorials/intermediate/ensembling.html
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from task import LR, VAE, Task
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from aebench.clock import clock


def seconds(task: Task, **adam: Any) -> float:
    """Of all runs of the task at once, each with its own order of the examples and its own noise.

    `adam`: options of the optimiser, which is as it comes without them.
    """
    torch.manual_seed(0)
    x, device = task.x, task.x.device
    models: Any = [VAE(task).to(device) for _ in range(task.runs)]
    parameters, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
        return functional_call(skeleton, (parameters, buffers), (batch,))

    gradients = vmap(grad(loss), randomness="different")
    optimizer = torch.optim.Adam(parameters.values(), lr=LR, **adam)
    begin = clock(device)
    for _ in range(task.epochs):
        orders = torch.stack([torch.randperm(len(x), device=device) for _ in range(task.runs)])
        for i in range(0, len(x), task.batch):
            detached = {name: parameter.detach() for name, parameter in parameters.items()}
            found = gradients(detached, buffers, x[orders[:, i : i + task.batch]])
            for name, parameter in parameters.items():
                parameter.grad = found[name]
            optimizer.step()
    return clock(device) - begin
