from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.callbacks.checkpoint import BestAndLast
from recsys_lightning.callbacks.overfitting import Overfitting
from recsys_lightning.errors import InputError
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.told import NOTHING, SAME, Scripted, Told, fit
from tests.tasks.test_base import data, trainer

FALLING = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]


class Losing(Scripted):
    """Its val figure is told too."""

    def __init__(self, figures: list[float], losses: list[float], val_losses: list[float] | None = None) -> None:
        super().__init__(partial(Told, scale=SAME, shift=NOTHING), losses=losses)
        self.figures, self.val_losses = figures, val_losses

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        epoch = self.current_epoch
        self.log("val/ndcg_5", self.figures[epoch])
        if self.val_losses:
            self.log("val/loss", self.val_losses[epoch])


def look(folder: Path, task: Losing, **options: Any) -> tuple[dict[str, Any], list[str]]:
    callback = Overfitting(**{"monitor": "val/ndcg_5", "mode": "max", **options})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(folder, task, callback, len(task.figures))
    ours = [str(one.message) for one in caught if str(one.message).startswith("Overfitting: ")]
    return json.loads((folder / "overfitting.json").read_text()), ours


def test_it_says_so_once_with_the_figures(tmp_path: Path) -> None:
    found, said = look(tmp_path, Losing([0.1, 0.2, 0.19, 0.18, 0.17, 0.16], FALLING))
    assert len(said) == 1 and found["said"] == said
    assert "val/ndcg_5 was best after epoch 2 (0.2000) and is 15.0% worse after epoch 5 (0.1700)" in said[0]
    assert "the loss of training fell from 0.9000 to 0.6000" in said[0]
    assert [row["gap"] for row in found["figures"]] == pytest.approx([0, 0, 0.05, 0.1, 0.15, 0.2])
    svg = (tmp_path / "overfitting.svg").read_text()
    assert "val/ndcg_5 behind its best" in svg and "Loss of training" in svg


@pytest.mark.parametrize(
    ("figures", "losses"),
    [
        ([0.1, 0.2, 0.19, 0.18, 0.21, 0.2], FALLING),  # it gets better in between
        ([0.1, 0.2, 0.1999, 0.1998, 0.1997, 0.1999], FALLING),  # by less than it may
        ([0.1, 0.2, 0.19, 0.18, 0.17, 0.16], FALLING[::-1]),  # the loss of training rises too
        ([0.1, 0.12, 0.13, 0.14, 0.15, 0.16], FALLING),
    ],
)
def test_what_is_no_overfitting_is_not_called_so(tmp_path: Path, figures: list[float], losses: list[float]) -> None:
    assert look(tmp_path, Losing(figures, losses))[1] == []


def test_the_loss_of_val_is_watched_too(tmp_path: Path) -> None:
    task = Losing([0.1, 0.12, 0.13, 0.14, 0.15, 0.16], FALLING, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    found, said = look(tmp_path, task)
    assert len(said) == 1 and "val/loss was best after epoch 1 (1.0000) and is 30.0% worse after epoch 4" in said[0]
    assert found["figures"][-1]["loss_gap"] == pytest.approx(1.0)


def test_smaller_is_better_where_it_is_told_so(tmp_path: Path) -> None:
    assert look(tmp_path, Losing([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], FALLING), mode="min")[1]
    assert not look(tmp_path, Losing([1.5, 1.4, 1.3, 1.2, 1.1, 1.0], FALLING), mode="min")[1]


def test_any_task_is_watched_by_what_selects_its_checkpoint(tmp_path: Path) -> None:
    callbacks = [BestAndLast("val/recall_20", "max"), Overfitting()]
    trainer(tmp_path, max_epochs=3, callbacks=callbacks).fit(Ranking(partial(MF, dim=4)), data())
    found = json.loads((tmp_path / "overfitting.json").read_text())
    assert found["monitor"] == "val/recall_20" and len(found["figures"]) == 3
    assert all({"gap", "value", "train_loss"} <= set(row) for row in found["figures"])


def test_epochs_without_a_validation_are_passed_over(tmp_path: Path) -> None:
    callbacks = [BestAndLast("val/recall_20", "max"), Overfitting()]
    options = {"max_epochs": 4, "check_val_every_n_epoch": 2, "callbacks": callbacks}
    trainer(tmp_path, **options).fit(Ranking(partial(MF, dim=4)), data())
    found = json.loads((tmp_path / "overfitting.json").read_text())
    assert [row["epoch"] for row in found["figures"]] == [2, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 0}, "patience 0"),
        ({"tolerance": 1.0}, "tolerance 1.0"),
        ({"monitor": "val/loss"}, "both monitor and mode"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Overfitting(**options)
