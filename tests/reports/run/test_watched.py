from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.blocks import Plot, Remark, Section, Table
from recsys_lightning.reports.run.folder import read_run
from recsys_lightning.reports.run.page import write_pages
from recsys_lightning.reports.run.values import Values
from recsys_lightning.reports.run.watched import SECTIONS, watched
from tests.reports.run import runs
from tests.reports.run.runs import EVIL

HISTOGRAM = runs.histogram(0.9, 0.02)


def rows(*names: str, number: int = 3) -> list[dict[str, float]]:
    return [{"epoch": n + 1, "step": 10 * n, **dict.fromkeys(names, 0.1 * (n + 1))} for n in range(number)]


FILES: dict[str, dict[str, Any]] = {
    "domain_diversity": {
        "figures": rows("diversity", "diversity_centred", "cka"),
        "said": [f"The conditions {EVIL} are the same."],
        "histograms": {"diversity_movie_book": HISTOGRAM},
    },
    "cosine_diagnostics": {
        "figures": rows("cosine", "cosine_q05", "cosine_q95", "cosine_centred", "cosine_85_95", "cosine_below_70"),
        "said": ["movie: kept"],
        "histograms": {"cosine_movie": HISTOGRAM, "cosine_book": HISTOGRAM},
    },
    "attention_diagnostics": {
        "figures": rows("entropy", "divergence", "by_user", "own", "shared"),
        "said": [],
        "histograms": {},
        "domains": ["movie", EVIL],
        "tokens": {"own": 2, "shared": 1},
        "dead": {"2": "uniform"},
        "heads": {
            "entropy": [[0.5, 1.0], [0.4, 1.0]],
            "by_user": [[0.2, 0.0], [0.1, 0.0]],
            "mean": [[[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]]] * 2,
        },
    },
    "overfitting": {
        "figures": rows("gap", "value", "train_loss"),
        "said": ["Overfitting: so"],
        "monitor": "val/ndcg_5",
    },
}


def section(name: str, **changes: Any) -> Section:
    found = SECTIONS[name](Values(FILES[name] | changes, Path(f"{name}.json")))
    assert found is not None
    return found


def blocks(of: Section, kind: type) -> list[Any]:
    return [block for panel in of.panels for block in panel.blocks if isinstance(block, kind)]


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_a_section_with_what_was_said_first(name: str) -> None:
    made = section(name)
    assert [remark.text for remark in blocks(made, Remark)] == FILES[name]["said"]
    table = blocks(made, Table)[0]
    assert [row[0] for row in table.rows] == ["first", "last"] and [row[1] for row in table.rows] == [1, 3]
    assert table.rows[1][2] == pytest.approx(0.3)
    assert blocks(made, Plot)
    assert (
        SECTIONS[name](Values(None, Path(name))) is None and SECTIONS[name](Values({"figures": []}, Path(name))) is None
    )


def test_one_validation_has_figures_and_no_curves() -> None:
    made = section("domain_diversity", figures=rows("diversity", number=1), histograms={})
    assert blocks(made, Plot) == [] and blocks(made, Table)


def test_heads_are_shown_with_what_is_wrong_with_them() -> None:
    [table] = [table for table in blocks(section("attention_diagnostics"), Table) if "head" in table.header]
    assert table.rows[1] == ("movie", 2, 1.0, 0.0, "uniform") and table.rows[2][0] == EVIL


def test_the_page_of_the_training_and_of_its_test_have_them(tmp_path: Path) -> None:
    trained = runs.trained(tmp_path)
    for name, values in FILES.items():
        runs.write(trained / f"{name}.json", values)
    tested = runs.tested(tmp_path, checkpoint=trained / "checkpoints" / "best.ckpt")
    for folder in (trained, tested):
        assert [made.title for made in watched(read_run(folder))] == [
            "Diversity of conditions",
            "Users and their conditions",
            "Attention",
            "Overfitting",
        ]
    markdown, html = (file.read_text() for file in write_pages(tested))
    assert "\n## Attention\n" in markdown and html.count("<svg") >= 8 and "<script" not in html


def test_damage_is_named(tmp_path: Path) -> None:
    folder = runs.trained(tmp_path)
    runs.write(folder / "overfitting.json", {"figures": [{"gap": "x"}], "monitor": "val/loss"})
    with pytest.raises(InputError, match=r"overfitting\.json is damaged: .*must be a number"):
        write_pages(folder, html=False)
