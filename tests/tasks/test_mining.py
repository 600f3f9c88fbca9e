from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from recsys_lightning.batches import CSR, Views
from recsys_lightning.callbacks.checkpoint import BestAndLast, read_checkpoint
from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.losses.ranking import SampledSoftmax
from recsys_lightning.metrics.ranking import tie_priority
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks import mining
from recsys_lightning.tasks.mining import hardest
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.worlds import MemorySource, blocks, csr


def model_of(views: Views, schema: Any, ties: bool) -> MF:
    torch.manual_seed(0)
    model = MF(schema, dim=4)
    if ties:
        with torch.no_grad():
            model.item.copy_(model.item.sign())
            model.user.copy_(model.user.sign())
    return model


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("skip", "pool"), [(0, 5), (3, 5), (20, 15), (100, 4)])
def test_the_table_holds_the_ranks_behind_the_first(
    monkeypatch: pytest.MonkeyPatch, ties: bool, skip: int, pool: int
) -> None:
    schema, views = blocks()
    known = views.train
    model = model_of(views, schema, ties)
    scores = (model.user @ model.item.T).detach().numpy()
    priority = tie_priority(30).numpy()
    monkeypatch.setattr(mining, "SCORES_AT_ONCE", 7 * 30)
    table = hardest(model, views, known, skip, pool)
    assert table.shape == (40, pool) and table.dtype == torch.int32
    for user in range(40):
        own = set(known.col[known.crow[user] : known.crow[user + 1]].tolist())
        ranked = [item for item in np.lexsort((priority, -scores[user])) if item not in own]
        expected = ranked[skip : skip + pool]
        assert table[user].tolist() == expected + [-1] * (pool - len(expected))


def test_dropout_is_off_meanwhile_and_modes_are_as_before() -> None:
    schema, views = blocks()

    class Noisy(MF):
        def __init__(self) -> None:
            super().__init__(schema, dim=4)
            self.drop, self.frozen = nn.Dropout(0.9), nn.Dropout(0.9).eval()

        def users(self, state: Any, user: Tensor) -> Tensor:
            vectors: Tensor = self.frozen(self.drop(super().users(state, user)))
            return vectors

    model = Noisy()
    tables = [hardest(model, views, views.train, 0, 5) for _ in range(2)]
    assert torch.equal(*tables)
    assert model.training and model.drop.training and not model.frozen.training


def sampler(**options: Any) -> HardNegatives:
    return HardNegatives(**{"count": 3, "hard": 2, "pool": 6, "skip": 1, **options})


def test_only_train_rows_are_left_out(tmp_path: Path) -> None:
    """Rows of val and test are candidates like any other: to leave them out would tell that they are positives."""
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), batch_size=64)
    negatives = sampler(pool=40, skip=0)
    trainer(tmp_path, max_epochs=2).fit(Ranking(partial(MF, dim=4), negatives=negatives), module)
    assert negatives.table is not None
    for user in range(module.schema.num_users):
        found = set(negatives.table[user].tolist()) - {-1}
        train = module.prepared.known("train")
        own = set(train.col[train.crow[user] : train.crow[user + 1]].tolist())
        assert found == set(range(module.schema.num_items)) - own


class Tables(Callback):
    """Keeps the table that each epoch is trained with."""

    def __init__(self) -> None:
        self.found: dict[int, Tensor | None] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        assert isinstance(pl_module, Ranking) and isinstance(pl_module.negatives, HardNegatives)
        self.found[trainer.current_epoch] = pl_module.negatives.table


def fit(folder: Path, task: Ranking, epochs: int = 6, path: Path | None = None, **options: Any) -> Tables:
    tables = Tables()
    made = trainer(folder, max_epochs=epochs, callbacks=[BestAndLast(every_n_steps=2), tables], **options)
    made.fit(task, data(), ckpt_path=path)
    return tables


def task_of(**options: Any) -> Ranking:
    torch.manual_seed(0)
    optimizer = partial(torch.optim.Adam, lr=0.05)
    return Ranking(partial(MF, dim=4), SampledSoftmax(logq=True), sampler(**options), optimizer)


def test_tables_are_made_every_so_many_epochs_of_the_parameters_that_there_are(tmp_path: Path) -> None:
    found = fit(tmp_path, task_of(every=2)).found
    first, second = found[2], found[4]
    assert found[0] is None and found[1] is None
    assert first is not None and found[3] is first
    assert second is not None and found[5] is second and not torch.equal(first, second)


def test_another_fit_of_the_same_task_begins_without_a_table(tmp_path: Path) -> None:
    task = task_of()
    fit(tmp_path, task, epochs=3)
    assert fit(tmp_path, task, epochs=1).found[0] is None


@pytest.mark.parametrize(("every", "stop"), [(1, 5), (1, 17), (2, 17), (3, 24)])
def test_killed_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, stop: int
) -> None:
    whole = task_of(every=every)
    expected = fit(tmp_path / "whole", whole).found
    steps = len(data().train_dataloader())
    assert 6 * steps > 24 and steps < 8

    step = BestAndLast.on_train_batch_end

    def die(self: BestAndLast, trainer: Trainer, *rest: Any) -> None:
        step(self, trainer, *rest)
        if trainer.global_step == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(BestAndLast, "on_train_batch_end", die)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "killed", task_of(every=every))
    monkeypatch.undo()
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    begun = read_checkpoint(last)
    assert begun["global_step"] <= stop and set(begun["hard_negatives"]) == {"table", "epoch"}
    resumed = task_of(every=every)
    found = fit(tmp_path / "killed", resumed, path=last).found
    for epoch, table in found.items():
        before = expected[epoch]
        assert (table is None and before is None) or (table is not None and before is not None)
        assert table is None or torch.equal(table, before)  # type: ignore[arg-type]
    assert torch.equal(parameters_to_vector(resumed.parameters()), parameters_to_vector(whole.parameters()))


def test_a_trained_checkpoint_is_tested_with_any_sampler(tmp_path: Path) -> None:
    fit(tmp_path, task_of(), epochs=2)
    last = tmp_path / "checkpoints" / "last.ckpt"
    results = []
    for task in (task_of(), Ranking(partial(MF, dim=4))):
        trainer(tmp_path).test(task, data(), ckpt_path=last, verbose=False)
        results.append(task.results)
    assert results[0] == results[1] and results[0]["test/users"] > 0


class SameTables(Callback):
    """Asks whether both processes draw from the same table."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Ranking) and isinstance(pl_module.negatives, HardNegatives)
        assert pl_module.negatives.table is not None
        tables: list[Any] = [None, None]
        torch.distributed.all_gather_object(tables, pl_module.negatives.table)
        assert torch.equal(*tables)


def on_two_processes(folder: Path) -> float:
    torch.set_num_threads(1)
    options = {"devices": 2, "strategy": "ddp_fork", "callbacks": [SameTables()]}
    made = trainer(folder, max_epochs=3, **options)
    made.fit(task_of(), data())
    return float(made.callback_metrics["val/ndcg_10"])


@pytest.mark.slow
def test_two_processes_make_the_same_tables(elsewhere: Executor, tmp_path: Path) -> None:
    assert elsewhere.submit(on_two_processes, tmp_path).result(timeout=600) > 0


def test_known_rows_that_are_no_positives_are_left_out() -> None:
    schema, views = blocks()
    known = csr(torch.ones(40, 30))
    assert (hardest(model_of(views, schema, False), views, known, 0, 3) == -1).all()
    nothing = CSR(torch.zeros(41, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert (hardest(model_of(views, schema, False), views, nothing, 0, 3) >= 0).all()
