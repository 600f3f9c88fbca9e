from __future__ import annotations

from pathlib import Path

from recsys_lightning.reports.run.blocks import Plot, Table
from recsys_lightning.reports.run.folder import read_run
from recsys_lightning.reports.run.training import positive, training
from tests.reports.run import runs


def test_curves_and_their_main_points(tmp_path: Path) -> None:
    folder = runs.trained(tmp_path)
    runs.write(folder / "metrics.1.csv", runs.curves(range(9)))
    runs.write(folder / "metrics.csv", runs.curves(range(6, 12)))
    section = training(read_run(folder))
    assert section is not None
    assert (
        section.about.startswith("The best val/ndcg_5 was 0.1112, after epoch 8 of 12.")
        and "again once" in section.about
    )
    assert [panel.title for panel in section.panels] == ["Loss of training", "val/ndcg_5", "Learning rate, lr-Adam", ""]
    assert len([block for panel in section.panels for block in panel.blocks if isinstance(block, Plot)]) == 3
    table = section.panels[-1].blocks[0]
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [["first", 1], ["best", 8], ["last", 12]]
    assert table.rows[0][2] == 8.0 and table.rows[2][-1] == "0.00086"


def test_without_rates_and_figures_of_val(tmp_path: Path) -> None:
    folder = runs.trained(tmp_path)
    runs.write(folder / "metrics.csv", "epoch,step,train/loss_epoch\n0,9,2.0\n1,19,1.0\n")
    section = training(read_run(folder))
    assert section is not None and section.about == ""
    assert [panel.title for panel in section.panels] == ["Loss of training", ""]


def test_axes_are_logarithmic_where_values_span_much() -> None:
    assert (
        positive(((0, 1.0), (1, 30.0))) and not positive(((0, 1.0), (1, 10.0))) and not positive(((0, 0.0), (1, 30.0)))
    )
