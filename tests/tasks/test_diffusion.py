from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.models.diffusion.sampling import Sampler
from recsys_lightning.models.dot_product import DotProduct
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.diffusion import Diffusion
from recsys_lightning.tasks.evaluation import TopItems
from recsys_lightning.tasks.ranking import Ranking
from tests.models.diffusion.planted import data, diffusion
from tests.tasks.test_base import trainer

FIGURE = "test/ndcg_10"
TWO = {"devices": 2, "strategy": "ddp_fork"}


def fitted(folder: Path, **options: Any) -> Diffusion:
    task = diffusion(**options)
    torch.manual_seed(0)
    trainer(folder, max_epochs=40, limit_val_batches=0).fit(task, data())
    return task


def figure(folder: Path, task: Diffusion | Ranking) -> float:
    trainer(folder).test(task, data(), verbose=False)
    return task.results[FIGURE]


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_planted_conditions_are_learned_from(tmp_path: Path, prediction: str) -> None:
    task = fitted(tmp_path, prediction=prediction)
    popularity, oracle = (figure(tmp_path, Ranking(kind, k=[10])) for kind in (Popularity, DotProduct))
    assert figure(tmp_path, task) > popularity + 0.5 * (oracle - popularity)
    task.recommender.sampler = Sampler(20, guidance=0.0)
    assert figure(tmp_path, task) < popularity + 0.1 * (oracle - popularity)


def test_a_regressor_of_the_same_size_is_the_diffusion_of_one_step(tmp_path: Path) -> None:
    task = fitted(tmp_path, timesteps=1, steps=1, guidance=1.0, samples=1)
    sizes = [sum(p.numel() for p in each.recommender.parameters()) for each in (task, built(data()))]
    assert sizes[0] == sizes[1]
    assert figure(tmp_path, task) > 2 * figure(tmp_path, Ranking(Popularity, k=[10]))


def built(module: InteractionsDataModule, **options: Any) -> Diffusion:
    task = diffusion(**options)
    module.setup("fit")
    task.build(module.schema)
    return task


class Stop(Callback):
    """Ends a fit in the middle of an epoch, as a killed process would, with a checkpoint."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 6:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "mid.ckpt")
            raise KeyboardInterrupt


def test_resumed_in_mid_epoch_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    ends = []
    for stops in (False, True):
        torch.manual_seed(1)
        task = diffusion()
        if stops:
            with pytest.raises(SystemExit):
                trainer(tmp_path, max_epochs=3, callbacks=[Stop()], limit_val_batches=0).fit(task, data())
            task = diffusion()
        made = trainer(tmp_path, max_epochs=3, limit_val_batches=0)
        made.fit(task, data(), ckpt_path=str(tmp_path / "mid.ckpt") if stops else None)
        assert made.global_step == 12
        ends.append(task.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_trains_and_ranks(tmp_path: Path, precision: Any) -> None:
    task = diffusion()
    made = trainer(tmp_path, max_epochs=3, precision=precision, limit_val_batches=0)
    made.fit(task, data())
    assert all(parameter.isfinite().all() for parameter in task.parameters())
    assert made.callback_metrics["train/loss_epoch"] < 2
    made.test(task, data(), verbose=False)
    assert task.results[FIGURE] > 0


def test_lists_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    task, found = diffusion(steps=5), []
    trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(task, data())
    for size in (7, 240):
        batches: Any = trainer(tmp_path).predict(task, data(eval_batch_size=size))
        assert all(isinstance(batch, TopItems) for batch in batches)
        found.append([torch.cat(part) for part in zip(*batches, strict=True)])
    assert torch.equal(found[0][0], found[1][0])
    assert (found[0][1] == found[1][1]).float().mean() > 0.999  # but for what rounding can swap
    torch.testing.assert_close(found[0][2], found[1][2], atol=1e-4, rtol=1e-4)


def test_domains_without_rows_of_a_user_are_sampled_too(tmp_path: Path) -> None:
    task, module = diffusion(), data(overlap=0.5)
    made = trainer(tmp_path, max_epochs=2, limit_val_batches=0)
    made.fit(task, module)
    assert made.callback_metrics["train/loss_epoch"].isfinite()
    batches: Any = made.predict(task, module)
    assert sum(len(batch.user) for batch in batches) == 2 * 240


def figures(folder: Path) -> list[dict[str, float]]:
    """Train on two processes; what is then measured on one and on two of them."""
    torch.set_num_threads(1)
    saved = ModelCheckpoint(folder, "trained")
    trainer(folder, max_epochs=2, callbacks=[saved], limit_val_batches=0, **TWO).fit(diffusion(), data())
    found: list[dict[str, float]] = []
    for options in ({}, TWO):
        made = trainer(folder, **options)
        made.test(diffusion(), data(), ckpt_path=folder / "trained.ckpt", verbose=False)
        found.append({name: float(value) for name, value in made.callback_metrics.items()})
    return found


def test_two_processes_train_and_measure_what_one_measures(elsewhere: Executor, tmp_path: Path) -> None:
    one, two = elsewhere.submit(figures, tmp_path).result(timeout=120)
    assert one["test/users"] == 480
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
    assert read_checkpoint(tmp_path / "trained.ckpt")["global_step"] == 4


def test_a_checkpoint_knows_what_it_was_trained_for(tmp_path: Path) -> None:
    made = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    made.fit(diffusion(), data())
    made.save_checkpoint(tmp_path / "it.ckpt")
    test = partial(trainer(tmp_path).test, ckpt_path=tmp_path / "it.ckpt", verbose=False)
    task = diffusion(steps=3)
    test(task, data())
    assert not torch.equal(task.recommender.item_mean, torch.zeros_like(task.recommender.item_mean))
    with pytest.raises(InputError, match="trained with timesteps 1000 and prediction v"):
        test(diffusion(prediction="x0"), data())
    with pytest.raises(InputError, match="another network"):
        test(diffusion(width=32), data())
    others = data().views_of("train").vectors
    with pytest.raises(InputError, match="other vectors"):
        test(diffusion(), data(vectors=Vectors(others.user + 1, others.item)))


def test_data_without_vectors_are_refused(tmp_path: Path) -> None:
    source = data()
    plain = InteractionsDataModule(source.source, source.recipe)
    with pytest.raises(InputError, match="DiffusionRecommender reads vectors"):
        trainer(tmp_path, max_epochs=1).fit(Diffusion(DiffusionRecommender), plain)


def test_floors_are_known_for_the_same_world(tmp_path: Path) -> None:
    """The world is one in which there is something to learn, and less to learn from rows than from the conditions."""
    popularity, ease, oracle = (figure(tmp_path, Ranking(kind, k=[10])) for kind in (Popularity, EASE, DotProduct))
    assert popularity < ease < oracle
