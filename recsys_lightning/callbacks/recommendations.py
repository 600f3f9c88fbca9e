"""Writes what `predict` recommends, with raw ids and titles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.atomic import replacing
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.tasks.evaluation import TopItems


class WriteRecommendations(Callback):
    """Writes `recommendations.parquet` (or `.csv`) into the run's folder.

    Columns: user_id, rank (1 is best), item_id, score, title. A user with fewer unseen items has fewer rows. Where the
    data have several domains, a user has a list in each, and the column `domain` behind user_id says in which.

    Args:
        format: of the file.
    """

    FILES = ("recommendations.parquet", "recommendations.csv")

    def __init__(self, format: Literal["parquet", "csv"] = "parquet") -> None:
        self.format = format
        self.file = f"recommendations.{format}"
        self._batches: list[TopItems] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._batches = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch of recommendations in the host's memory."""
        if isinstance(outputs, TopItems):
            self._batches.append(TopItems(*(tensor.cpu() for tensor in outputs)))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the recommendations of all processes and write them."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if not isinstance(data, InteractionsDataModule):
            return
        batches = self._batches
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            dist.all_gather_object(parts, batches)
            batches = [batch for part in parts for batch in part]
        if trainer.is_global_zero and batches:
            self._write(recommendation_table(batches, data), folder)
        self._batches = []

    def _write(self, table: pd.DataFrame, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / self.file) as temporary:
            if self.format == "parquet":
                table.to_parquet(temporary, index=False)
            else:
                table.to_csv(temporary, index=False)


def recommendation_table(batches: Sequence[TopItems], data: InteractionsDataModule) -> pd.DataFrame:
    """One row for each recommendation, by user, domain and rank, with raw ids and titles."""
    tables = data.prepared
    user = np.concatenate([batch.user.numpy() for batch in batches])
    item = np.concatenate([batch.item.numpy() for batch in batches])
    score = np.concatenate([batch.score.numpy() for batch in batches])
    order = np.argsort(user, kind="stable")
    if tables.domain is not None:
        order = np.lexsort((tables.domain[item[:, 0]], user))
    user, item, score = user[order], item[order], score[order]
    row, rank = (item >= 0).nonzero()
    chosen = item[row, rank]
    names = {} if tables.domain is None else {"domain": np.array(tables.domains)[tables.domain[chosen]]}
    return pd.DataFrame(
        {
            "user_id": tables.interactions.user_ids.to_pandas().iloc[user[row]].to_numpy(),
            **names,
            "rank": rank + 1,
            "item_id": tables.interactions.item_ids.to_pandas().iloc[chosen].to_numpy(),
            "score": score[row, rank],
            "title": tables.items["title"].iloc[chosen].to_numpy(),
        }
    )
