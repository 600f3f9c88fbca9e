"""Tested models to look at."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from recsys_lightning.callbacks.diagnosis.subject import Options, Subject
from recsys_lightning.callbacks.diagnostics import Diagnostics
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer

OPTIONS = Options(users=100, pairs=900, resamples=100, samples=3, neighbours=5, seed=0)
BLOCKS = 3


def subject(
    folder: Path, task: Ranking, module: InteractionsDataModule | None = None, options: Options = OPTIONS
) -> Subject:
    """What the callback looks at, after a test of a closed form."""
    module = module or data()
    trainer(folder).test(task, module, verbose=False)
    task.recommender.eval().requires_grad_(False)
    return Diagnostics(**options._asdict())._subject(task, module)


def in_blocks(folder: Path, options: Options = OPTIONS) -> Subject:
    """MF whose vectors are the blocks of the world: users point at their items, and near items share their genre.

    Users of block b have the length b + 1, and item i has 1 + i / 100.
    """
    task, module = Ranking(partial(MF, dim=BLOCKS), k=[5, 10]), data()
    fit = trainer(folder, max_epochs=1, limit_train_batches=1)
    fit.fit(task, module)
    model = task.recommender
    user, item = torch.arange(model.num_users), torch.arange(model.num_items)
    names = [int(name[1:]) for name in module.prepared.users["user_id"]]
    titles = [int(name[1:]) for name in module.prepared.items["item_id"]]
    block_of_user, block_of_item = torch.tensor(names) % BLOCKS, torch.tensor(titles) % BLOCKS
    assert len(user) == len(names) and len(item) == len(titles)
    with torch.no_grad():
        model.user.copy_(torch.eye(BLOCKS)[block_of_user] * (block_of_user + 1)[:, None])
        model.item.copy_(torch.eye(BLOCKS)[block_of_item] * (1 + torch.tensor(titles) / 100)[:, None])
    fit.test(task, module, verbose=False)
    model.eval().requires_grad_(False)
    return Diagnostics(**options._asdict())._subject(task, module)
