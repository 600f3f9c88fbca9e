from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.reports.run.blocks import Plot, Table, Text, Tiles
from recsys_lightning.reports.run.folder import Run, read_run
from recsys_lightning.reports.run.results import all_metrics, beside_the_floors, headline, over_users
from tests.reports.run import runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(runs.tested(tmp_path))


def test_the_headline_stands_beside_the_best_floor(run: Run) -> None:
    assert run.report is not None
    tiles = next(block for block in headline(run, run.report) if isinstance(block, Tiles)).tiles
    assert [(tile.name, tile.value) for tile in tiles][:2] == [("ndcg@5", "0.1365"), ("recall@5", "0.2332")]
    assert tiles[0].note == "+0.0008 beside EASE" and tiles[3].note == "" and tiles[-1].value == "200"


def test_the_floors_are_drawn_by_rank(run: Run) -> None:
    assert run.report is not None
    section = beside_the_floors(run, run.report)
    assert section.about == "Bold figures are the best of their column."
    table, ndcg, recall = section.panels
    assert isinstance(table.blocks[0], Table) and table.blocks[0].rows[0][:3] == ["TwoTower", 0.2332, 0.1365]
    assert isinstance(ndcg.blocks[0], Plot) and isinstance(recall.blocks[0], Plot)
    assert ndcg.blocks[0].about == "ndcg@5: TwoTower 0.1365, EASE 0.1357, ItemKNN 0.1323, Popularity 0.1025"
    assert "95 %" in ndcg.blocks[0].caption and recall.blocks[0].caption == ""


def test_alone_nothing_is_the_best(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / "facts.json", runs.facts(floors=[]))
    report = read_run(folder).report
    assert report is not None and "* the best" not in report.table() and "*" not in report.table().splitlines()[4]
    section = beside_the_floors(read_run(folder), report)
    assert section.about == "" and isinstance(section.panels[0].blocks[0], Table)
    assert not section.panels[0].blocks[0].best


def test_each_metric_has_a_row_and_sampled_ones_their_own_name(run: Run) -> None:
    assert run.report is not None
    table, others, sampled = all_metrics(run.report).blocks
    assert isinstance(table, Table) and list(table.header) == ["metric", "@5", "@20", "@5_sampled_500"]
    assert ["recall", 0.2332, 0.4321, 0.7071] in table.rows and ["map", 0.123456, None, None] in table.rows
    assert others == Text("constant_rows 0; users 200.")
    assert isinstance(sampled, Text) and "another order" in sampled.text


def test_users_without_hits_are_told_apart(run: Run) -> None:
    assert run.report is not None
    panel = over_users(run, run.report)
    assert panel is not None and isinstance(panel.blocks[1], Text)
    mean = sum(run.per_user) / 200
    assert "60.0% of 200 users" in panel.blocks[1].text and f"is {mean:.4f} (95 %" in panel.blocks[1].text
    assert "half have 0.5700 or more" in panel.blocks[1].text
