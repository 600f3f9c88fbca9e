from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from recsys_lightning.metrics.vectors import norms
from recsys_lightning.reports.run.blocks import Panel, Plot, Section, Table, Text
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


def equal(norm: float) -> dict[str, Any]:
    """Norms that differ by rounding only, as the test writes them down."""
    return norms(torch.full((50, 1), norm) * (1 + 1e-6 * torch.randn(50, 1)))._asdict()


def test_norms_that_are_all_equal_are_a_sentence() -> None:
    section = vectors(found(norms={"user": equal(1.0), "item": runs.norms(1.4, 0.3)}))
    assert section is not None and [panel.title for panel in section.panels] == ["Norms of item vectors"]
    assert section.about == "Norms tell nothing apart: all user vectors have the norm 1.0000."
    section = vectors(found(norms={"user": equal(12.5), "item": equal(1.0)}))
    said = "Norms tell nothing apart: all user vectors have the norm 12.5, all item vectors have the norm 1.0000."
    assert section is not None and section.panels == [Panel("", [Text(said)])]
    few = norms(torch.tensor([[1.0]] * 99 + [[1.2]]))._asdict()
    assert blocks(vectors(found(norms={"user": few})), Plot)


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
