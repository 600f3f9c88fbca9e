from __future__ import annotations

from pathlib import Path
from typing import Any

from recsys_lightning.reports.run.blocks import Plot, Section, Table, Text
from recsys_lightning.reports.run.geometry import gates, vectors
from recsys_lightning.reports.run.values import Values
from tests.reports.run import runs


def found(**parts: Any) -> Values:
    return Values(parts or runs.diagnostics(), Path("diagnostics.json"))


def blocks(section: Section | None, kind: type) -> list[Any]:
    assert section is not None
    return [block for panel in section.panels for block in panel.blocks if isinstance(block, kind)]


def test_vectors_are_told_in_words_tables_and_plots() -> None:
    section = vectors(found())
    assert section is not None
    titles = [panel.title for panel in section.panels]
    assert titles == ["Norms of user vectors", "Norms of item vectors", "Nearest neighbours", "Users and their items"]
    said = " ".join(text.text for text in blocks(section, Text))
    assert "Mean 2.1100, median 2.1000; quantiles 5% 1.4440" in said and "place 0.0700" in said
    assert blocks(section, Table)[0].rows[0] == ("genre", 10, 0.61, 0.22, 9000)
    assert len(blocks(section, Plot)) == 4


def test_gates_have_their_groups() -> None:
    section = gates(found())
    item = blocks(section, Table)[0]
    assert item.rows[0] == ("0", 900, 0.93, 0.86, 0.97) and item.rows[2][0] == "2 to 3"
    assert (
        "Spearman of gate and train degree -0.8100, 95 % interval -0.8300 to -0.7900" in blocks(section, Text)[0].text
    )


def test_what_is_not_there_is_left_out() -> None:
    assert vectors(found(samples=[])) is None and gates(found(samples=[])) is None
    assert len(blocks(gates(found(gate={"item": {"spearman": -0.5}, "user": {}})), Plot)) == 0
    bare = vectors(found(norms={"user": {"mean": 1.0}}))
    assert blocks(bare, Plot) == [] and "median \N{EN DASH}" in blocks(bare, Text)[0].text
    assert blocks(vectors(found(cohesion=[{"kind": "genre"}])), Plot) == []
