from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recsys_lightning.reports.run.blocks import Plot, Table, Text, Tiles
from recsys_lightning.reports.run.folder import Run, read_run
from recsys_lightning.reports.run.results import all_metrics, beside_the_floors, by_domain, headline, over_users
from recsys_lightning.reports.tables import DASH
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
    [panel] = all_metrics(run.report)
    table, others, sampled = panel.blocks
    assert isinstance(table, Table) and list(table.header) == ["metric", "@5", "@20", "@5_sampled_500"]
    assert ["recall", 0.2332, 0.4321, 0.7071] in table.rows and ["map", 0.123456, None, None] in table.rows
    assert others == Text("constant_rows 0; users 200.")
    assert isinstance(sampled, Text) and "another order" in sampled.text


def test_a_figure_that_has_no_value_is_a_dash(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / "metrics.json", runs.metrics() | {"test/constant_rows": None})
    report = read_run(folder).report
    assert report is not None
    assert Text(f"constant_rows {DASH}; users 200.") in all_metrics(report)[0].blocks


def test_users_without_hits_are_told_apart(run: Run) -> None:
    assert run.report is not None
    [panel] = over_users(run, run.report)
    assert isinstance(panel.blocks[1], Text)
    mean = sum(run.per_user[""]) / 200
    assert "60.0% of 200 users" in panel.blocks[1].text and f"is {mean:.4f} (95 %" in panel.blocks[1].text
    assert "half have 0.5700 or more" in panel.blocks[1].text


# Several domains


@pytest.fixture
def several(tmp_path: Path) -> Run:
    return read_run(runs.domains(tmp_path))


def test_domains_have_rows_and_their_users_panels(several: Run) -> None:
    assert several.report is not None
    section = by_domain(several.report)
    assert section is not None
    table, movie, book = section.panels
    assert isinstance(table.blocks[0], Table)
    assert [row[:4] for row in table.blocks[0].rows] == [
        ["movie", 120, 0.3, 0.2],
        ["book", 80, 0.1, 0.1],
        ["mean", 150, 0.2, 0.15],
        ["worst", None, 0.1, 0.1],
    ]
    assert [row[-1] for row in table.blocks[0].rows] == ["0.1800 to 0.2200", "0.0800 to 0.1200", "0.1300 to 0.1700", ""]
    assert isinstance(book.blocks[0], Plot) and isinstance(book.blocks[1], Table) and movie.title == "Users in movie"
    assert book.blocks[0].about == "ndcg@5 in book, by where users have rows: all 0.1000, elsewhere only 0.0500"
    assert book.blocks[1].rows[1] == ["elsewhere only", 1, 0.05, DASH]
    assert book.blocks[0].draw("x", "y").startswith("<svg")


def test_one_domain_has_no_section_of_domains(run: Run) -> None:
    assert run.report is not None and by_domain(run.report) is None


def test_metrics_and_users_of_each_domain_have_panels(several: Run) -> None:
    assert several.report is not None
    titles = [panel.title for panel in all_metrics(several.report)]
    assert titles == ["All metrics: mean over the domains", "All metrics: movie", "All metrics: book"]
    together, movie, _ = (panel.blocks for panel in all_metrics(several.report))
    assert isinstance(together[0], Table) and ["ndcg", 0.15] in together[0].rows and len(together) == 1
    assert isinstance(movie[0], Table) and ["ndcg", 0.2] in movie[0].rows and movie[1] == Text("users 120.")
    spread = over_users(several, several.report)
    assert [panel.title for panel in spread] == ["Over users in movie", "Over users in book"]
    assert isinstance(spread[1].blocks[1], Text) and "of 80 users" in spread[1].blocks[1].text


def test_the_headline_has_figures_of_each_domain(several: Run) -> None:
    assert several.report is not None
    *_, tiles = headline(several, several.report)
    assert isinstance(tiles, Tiles)
    found = {tile.name: tile.value for tile in tiles.tiles}
    assert found["ndcg@5"] == "0.1500" and found["ndcg@5 movie"] == "0.2000" and found["users in book"] == "80"
    assert Text("Split: random, val 0.1, test 0.1. Tested: 120 users in movie and 80 users in book. "
                "Models saw the rows of train.") in headline(several, several.report)  # fmt: skip


def test_the_interval_beside_the_floors_is_that_of_the_mean_over_domains(several: Run) -> None:
    assert several.report is not None
    _, ndcg, _ = beside_the_floors(several, several.report).panels
    assert isinstance(ndcg.blocks[0], Plot) and "95 %" in ndcg.blocks[0].caption
    without = replace(several.report, groups=())
    assert "95 %" not in beside_the_floors(several, without).panels[1].blocks[0].caption  # type: ignore[union-attr]
