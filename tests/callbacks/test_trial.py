from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from recsys_lightning.callbacks.checkpoint import BestAndLast, read_checkpoint
from recsys_lightning.callbacks.trial import ReportTrial
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer


class Recorded:
    """Remembers what is reported, and gives up after some epoch."""

    def __init__(self, last: int) -> None:
        self.last, self.values = last, {}  # type: int, dict[int, float]

    def __call__(self, epoch: int, value: float) -> bool:
        self.values[epoch] = value
        return epoch >= self.last


@pytest.mark.parametrize("maximize", [True, False])
def test_every_validation_is_reported_once_until_the_run_is_given_up(tmp_path: Path, maximize: bool) -> None:
    report = Recorded(last=2)
    callback, saved = ReportTrial("val/ndcg_10", maximize, report), BestAndLast()
    made = trainer(tmp_path, max_epochs=9, callbacks=[callback, saved])
    made.fit(Ranking(partial(MF, dim=4)), data())
    assert list(report.values) == [0, 1, 2] and callback.epochs == 3 and callback.stopped
    assert callback.best == (max if maximize else min)(report.values.values())
    assert float(made.callback_metrics["val/ndcg_10"]) == report.values[2]
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["epoch"] == 2


def test_a_run_that_is_not_given_up_goes_to_its_end(tmp_path: Path) -> None:
    callback = ReportTrial("val/ndcg_10", True, Recorded(last=99))
    trainer(tmp_path, max_epochs=3, callbacks=[callback]).fit(Ranking(partial(MF, dim=4)), data())
    assert callback.epochs == 3 and not callback.stopped
