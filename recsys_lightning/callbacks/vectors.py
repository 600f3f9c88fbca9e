"""Writes the vectors of users and items, for the runs that stand on this one."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.tasks.evaluation import RankingTask


class WriteVectors(Callback):
    """Writes `vectors.safetensors` into the run's folder before `predict` recommends.

    Vectors are those that the recommendations are made of, in the order of the data's users and items, with raw ids,
    the schema, the fingerprint and the splits whose rows the model saw: see `recsys_lightning.data.vectors`.
    """

    FILE = "vectors.safetensors"

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them, on one process: all processes hold the same. A model that has none is refused at once."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if not (trainer.is_global_zero and isinstance(data, InteractionsDataModule)):
            return
        assert isinstance(pl_module, RankingTask)
        recommender = pl_module.recommender
        with torch.no_grad():
            vectors = recommender.vectors(pl_module.views)
        name = type(recommender).__name__
        write_vectors(folder / self.FILE, vectors, data.prepared, name, data.schema, data.visible_splits)
