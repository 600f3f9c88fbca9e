from __future__ import annotations

from pathlib import Path

from recsys_lightning.reports.run.background import cold_start, data_card, environment, method
from recsys_lightning.reports.run.blocks import Cell, Listing, Table
from recsys_lightning.reports.run.folder import read_run
from tests.reports.run import runs


def test_cold_starts_have_a_row_for_each_number_of_rows(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    bare = {"model": "bare", "points": [{"k": 1, "value": 0.5}, {"k": 0, "value": 0.25}, {"k": None, "value": 9.0}]}
    runs.write(
        folder / "shots.json", runs.shots(curves=[*runs.shots()["curves"], bare, {"model": "none", "points": []}])
    )
    section = cold_start(read_run(folder))
    assert section is not None and "`ndcg_10` by the number of rows" in section.about
    table = section.panels[0].blocks[1]
    assert isinstance(table, Table)
    assert table.header == ["rows given", "TwoTower", "ContentKNN", "ID only", "Popularity", "bare"]
    assert table.rows[0][:2] == ["0", Cell("0.0610", "[0.0549, 0.0671]")]
    assert [row[-1] for row in table.rows] == [Cell("0.2500", ""), Cell("0.5000", ""), None, None, None]


def test_how_the_data_were_made(tmp_path: Path) -> None:
    run = read_run(runs.tested(tmp_path))
    section = data_card(run.report)
    assert section is not None and isinstance(table := section.panels[0].blocks[0], Table)
    assert table.rows[1] == ("duplicates", 8990, 1300, 70, "10 repeated pairs dropped <b>")
    assert data_card(None) is None and method().title == "How it was measured"


def test_what_ran(tmp_path: Path) -> None:
    section = environment(read_run(runs.tested(tmp_path)))
    table, listing = (panel.blocks[0] for panel in section.panels)
    assert isinstance(table, Table) and listing == Listing("config.yaml", runs.CONFIG)
    values = dict(table.rows)
    assert values["parameters"] == "420,672" and values["torch"] == "2.10.0" and values["features"] == "f00d"
    assert values["device"] == "cpu" and "checkpoint" not in values and "test/ndcg_5" not in values
