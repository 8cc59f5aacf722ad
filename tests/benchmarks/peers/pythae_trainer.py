"""pythae's own trainer, on its VAE with an encoder and a decoder of one's own."""
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import io
import logging
import tempfile
from contextlib import redirect_stderr
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from task import LR, Stopwatch, Task
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler


class Encoder(BaseEncoder):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        mu, logvar = self.net(x).chunk(2, -1)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class Decoder(BaseDecoder):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Any:
        return ModelOutput(reconstruction=self.net(z))


class Timed(TrainingCallback):
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_epoch_begin(self, training_config: Any, **kwargs: Any) -> None:
        self.watch.start()

    def on_epoch_end(self, training_config: Any, **kwargs: Any) -> None:
        self.watch.stop()


class WholeBatchTrainer(BaseTrainer):
    """`BaseTrainer` whose loader indexes the data set by a list, once a batch, and so has nothing to collate."""

    def get_train_dataloader(self, train_dataset: Any) -> Any:
        size = self.training_config.per_device_train_batch_size
        batches: Any = BatchSampler(RandomSampler(train_dataset), size, drop_last=False)
        return DataLoader(train_dataset, sampler=batches, batch_size=None, collate_fn=lambda batch: batch)


def seconds(task: Task, fused: bool = False, whole_batches: bool = False) -> float:
    """Of one run, without evaluation and checkpoints. Its progress bar and messages are written nowhere.

    `whole_batches`: WholeBatchTrainer, the data lying on the device; else its own loader, the data on the CPU.
    """
    x = task.x if whole_batches else task.x.cpu()
    torch.manual_seed(0)
    model = VAE(
        VAEConfig(input_dim=task.event_shape, latent_dim=task.latent, reconstruction_loss="mse"),
        encoder=Encoder(task.network.encoder(task.event_shape, 2 * task.latent)),
        decoder=Decoder(task.network.decoder(task.latent, task.event_shape)),
    )
    watch = Stopwatch(task.x.device)
    logging.disable(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            config = BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=task.batch,
                num_epochs=task.epochs,
                learning_rate=LR,
                optimizer_params={"fused": True} if fused else None,
                no_cuda=task.x.device.type != "cuda",
            )
            trainer = WholeBatchTrainer if whole_batches else BaseTrainer
            data = BaseDataset(x, torch.ones(len(x), device=x.device))
            trainer(model, data, training_config=config, callbacks=[Timed(watch)]).train()
    finally:
        logging.disable(logging.NOTSET)
    return watch.seconds
