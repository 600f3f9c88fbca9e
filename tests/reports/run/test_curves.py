from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.curves import read_curves
from tests.reports.run.runs import curves, write


def test_points_are_those_of_the_log(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", curves(range(12)))
    found = read_curves(tmp_path, "val/ndcg_5")
    assert found is not None and found.along == "epoch" and found.restarts == 0
    assert [place for place, _ in found.loss] == list(range(1, 13))
    assert found.loss[3][1] == pytest.approx(8 * 0.95**3)
    assert found.selected[2][1] == pytest.approx(0.1 + 0.006 - 0.0008)
    assert found.best == (8, pytest.approx(0.1 + 0.021 - 0.0098)) and list(found.rates) == ["lr-Adam"]


def test_the_best_of_a_loss_is_the_smallest(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", curves(range(12)))
    found = read_curves(tmp_path, "train/loss_epoch", "min")
    assert found is not None and found.best is not None and found.best[0] == 12


def test_restarted_logs_are_joined_in_order_and_what_was_done_anew_wins(tmp_path: Path) -> None:
    write(tmp_path / "metrics.2.csv", curves(range(6, 9)))
    write(tmp_path / "metrics.1.csv", curves(range(8)))
    write(tmp_path / "metrics.csv", curves(range(7, 10)).replace(",0.1", ",0.2"))
    write(tmp_path / "metrics.backup.csv", "no log")
    found = read_curves(tmp_path)
    assert found is not None and found.restarts == 2
    assert [place for place, _ in found.selected] == list(range(1, 11))
    assert [value >= 0.2 for _, value in found.selected] == [False] * 7 + [True] * 3


def test_several_measurements_in_an_epoch_stand_at_their_steps(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", "epoch,step,val/ndcg_5\n0,9,0.1\n0,19,0.3\n1,29,0.2\n")
    found = read_curves(tmp_path)
    assert found is not None and found.along == "step" and found.best == (19, 0.3)


@pytest.mark.parametrize("text", ["", "epoch,step,test/ndcg_5\n0,0,0.1\n", "epoch,step,train/loss\n"])
def test_without_a_training_there_are_no_curves(tmp_path: Path, text: str) -> None:
    write(tmp_path / "metrics.csv", text)
    assert read_curves(tmp_path) is None
    assert read_curves(tmp_path / "elsewhere") is None


def test_a_row_that_was_cut_off_is_left_out_and_nan_is_no_point(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", curves(range(2)) + "2,80,,nan,,0.2\n2,")
    found = read_curves(tmp_path)
    assert found is not None and len(found.loss) == 2 and len(found.selected) == 3
    write(tmp_path / "metrics.csv", curves(range(2)) + "nan,80,,0.2,,\n2,inf,,0.2,,\n")
    found = read_curves(tmp_path)
    assert found is not None and len(found.selected) == 2


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", curves(range(2)) + "2,8O,,1,,\n")
    with pytest.raises(InputError, match=r"metrics\.csv is damaged: .*8O"):
        read_curves(tmp_path)
