"""A Lightning module and `Trainer.fit`, with the loader that its tutorials have."""
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch
from task import LR, VAE, Stopwatch, Task
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Module(lightning.LightningModule):
    def __init__(self, task: Task, fused: bool) -> None:
        super().__init__()
        self.vae, self.fused = VAE(task), fused

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.vae(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.vae.parameters(), lr=LR, fused=True if self.fused else None)


class Timed(lightning.Callback):
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.watch.start()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.watch.stop()


def seconds(task: Task, fused: bool = False) -> float:
    """Of one run; no logger, checkpoints, progress bar or summary."""
    torch.manual_seed(0)
    watch, device = Stopwatch(task.x.device), task.x.device
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(TensorDataset(task.x.cpu()), batch_size=task.batch, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=task.epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Timed(watch)],
        )
        trainer.fit(Module(task, fused), loader)
    return watch.seconds
