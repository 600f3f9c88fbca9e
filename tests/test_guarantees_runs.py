"""G14 and G15, seen from outside: data have an identity, and a seed decides all that is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import Table
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models import Recommender
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.ranking import Ranking
from tests.data.memory import random_interactions
from tests.guarantees import GRAPHS, MODELS, all_rows, every_model, held_out, run, scores
from tests.tasks.test_base import trainer
from tests.tasks.test_resume import JOBS, Job, ranking

pytestmark = pytest.mark.usefixtures("seeded")


# G14: data identity


def table(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> InteractionsDataModule:
    rows = random_interactions()
    frame = pd.DataFrame(
        {
            "user_id": rows.user_ids.to_pandas().iloc[rows.user].to_numpy(),
            "item_id": rows.item_ids.to_pandas().iloc[rows.item].to_numpy(),
            "rating": rows.rating,
            "timestamp": rows.timestamp,
        }
    )
    source = Table(Path(), change(frame), Columns(rating="rating", timestamp="timestamp"), name="rows")
    return InteractionsDataModule(source, Recipe(split="random"), batch_size=64)


def move_one_edge(frame: pd.DataFrame) -> pd.DataFrame:
    taken = set(frame.loc[frame["user_id"] == frame.loc[0, "user_id"], "item_id"])
    frame.loc[0, "item_id"] = next(item for item in frame["item_id"] if item not in taken)
    return frame


def one_star_more(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[0, "rating"] += 1
    return frame


@pytest.mark.parametrize("change", [move_one_edge, one_star_more, lambda frame: frame.drop(index=0)])
def test_g14_one_edge_makes_other_data(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    own, other = table().schema.fingerprint, table(change).schema.fingerprint
    assert own != other
    task = run(tmp_path, MODELS["MF"], table())
    task.trainer.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(InputError) as caught:
        trainer(tmp_path / "other").test(Ranking(MODELS["MF"]), table(change), ckpt_path=tmp_path / "own.ckpt")
    assert own in str(caught.value) and other in str(caught.value)


@pytest.mark.parametrize("name", ["ratings and features", "times, common values"])
def test_g14_another_graph_of_the_same_rows_is_other_data_for_who_reads_it(tmp_path: Path, name: str) -> None:
    own, other = held_out(all_rows), held_out(all_rows, graph=GRAPHS[name])
    assert own.schema.fingerprint == other.schema.fingerprint
    task = run(tmp_path, MODELS["GenreGAT"], own)
    task.trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert read_checkpoint(tmp_path / "own.ckpt")["schema"]["graph"] == own.schema.graph
    with pytest.raises(InputError, match=r"data\.graph") as caught:
        trainer(tmp_path / "other").test(Ranking(MODELS["GenreGAT"]), other, ckpt_path=tmp_path / "own.ckpt")
    assert own.schema.graph in str(caught.value) and other.schema.graph in str(caught.value)


def test_g14_the_fingerprint_is_in_schema_checkpoint_and_report(tmp_path: Path) -> None:
    data = table()
    task = run(tmp_path, MODELS["MF"], data)
    task.trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert data.schema.fingerprint == data.prepared.fingerprint
    assert read_checkpoint(tmp_path / "own.ckpt")["schema"]["fingerprint"] == data.schema.fingerprint
    assert json.loads((tmp_path / "metrics.json").read_text())["fingerprint"] == data.schema.fingerprint
    assert data.schema.fingerprint in (tmp_path / "report.md").read_text()


def test_g14_the_order_of_rows_is_no_fact() -> None:
    shuffled = table(lambda frame: frame.sample(frac=1, random_state=0))
    assert shuffled.schema == table().schema


# G15: determinism


@every_model
def test_g15_the_same_seed_gives_the_same_numbers(tmp_path: Path, model: Callable[[Schema], Recommender]) -> None:
    data = partial(held_out, all_rows, graph=GRAPHS["ratings and features"])
    first, second = (run(tmp_path / name, model, data()) for name in ("first", "second"))
    assert first.results == pytest.approx(second.results, abs=0, nan_ok=True)
    assert all(map(torch.equal, first.recommender.state_dict().values(), second.recommender.state_dict().values()))
    assert torch.equal(scores(first, data()), scores(second, data()))


@pytest.mark.parametrize("name", ["MF", "LightGCN"])
def test_g15_another_seed_gives_others(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "first", MODELS[name], table())
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    second = run(tmp_path / "second", MODELS[name], table())
    assert first.results["test/recall_10"] != second.results["test/recall_10"]


class Steps(Callback):
    """What the gradients of the first loss come through."""

    names: frozenset[str] = frozenset()

    def on_before_backward(self, trainer: Trainer, pl_module: Task, loss: Tensor) -> None:  # type: ignore[override]
        found, left = set(), [loss.grad_fn]
        while left:
            step = left.pop()
            if step is not None and step not in found:
                found.add(step)
                left += [before for before, _ in step.next_functions]
        self.names = self.names or frozenset(step.name() for step in found)


LEARNING = {name: ranking(model) for name, model in MODELS.items() if not getattr(model, "func", model).closed_form}


@pytest.mark.parametrize("job", (JOBS | LEARNING).values(), ids=list(JOBS | LEARNING))
def test_g15_no_gradient_is_added_up_in_the_order_in_which_threads_end(tmp_path: Path, job: Job) -> None:
    steps = Steps()
    trainer(tmp_path / "run", max_epochs=1, limit_train_batches=1, callbacks=[steps]).fit(
        job.task(), job.data(tmp_path)
    )
    assert steps.names
    assert "IndexBackward0" not in steps.names  # of table[index]; see `rows_at`
