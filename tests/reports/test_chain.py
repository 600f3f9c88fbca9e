from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.reports.chain import differences, figures, write_chain_pages
from recsys_lightning.reports.run.blocks import Cell

USERS = 40


def table(
    shift: float, domains: tuple[str, ...] = ("movie", "book"), users: int = USERS, seed: int = 0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for number, domain in enumerate(domains):
        values = rng.uniform(0, 0.5, users) + shift * (number + 1)
        ids = [f"u{user}" for user in range(users)]
        parts.append(
            pd.DataFrame({"user_id": ids, "domain": domain, "ndcg_5": values, "ndcg_10": 0.9, "recall_5": values})
        )
    return pd.concat(parts, ignore_index=True)


def test_figures_are_means_of_each_domain_and_macro() -> None:
    tested = {"gat": [table(0.0), table(0.2, seed=0)], "movies": [table(0.0, ("movie",))]}
    head, rows = figures(tested, "ndcg_5")
    assert head == ["stage", "movie, 40 users", "book, 40 users", "macro", "tested"]
    movie, book = (tested["gat"][0].query(f"domain == '{name}'").ndcg_5.mean() for name in ("movie", "book"))
    means = [movie + 0.1, book + 0.2, (movie + book + 0.3) / 2]
    assert rows[0][1:4] == [pytest.approx(value) for value in means]
    assert rows[0][4] == "40 + 40"
    assert rows[1][1:] == [pytest.approx(movie), None, None, "40"]


def test_figures_are_of_the_users_that_all_stages_tested() -> None:
    """A stage that leaves out the users who are hardest for everybody does not look better for it."""
    hard = table(0.0)
    hard.loc[hard.user_id.isin(["u0", "u1", "u2"]), "ndcg_5"] = 0.0
    easy = hard[~hard.user_id.isin(["u0", "u1", "u2"])]
    head, rows = figures({"all": [hard], "easy": [easy]}, "ndcg_5")
    assert head[1:3] == ["movie, 37 users", "book, 37 users"]
    assert rows[0][1:4] == rows[1][1:4]
    assert [row[4] for row in rows] == ["40 + 40", "37 + 37"]


def test_differences_are_paired_by_user_in_any_order() -> None:
    base = table(0.0)
    tested = {"gat": [base], "better": [table(0.1).sample(frac=1, random_state=1)], "same": [base]}
    head, rows = differences(tested, "gat", "ndcg_5")
    assert head == ["stage", "movie", "book"]
    assert rows[0] == ["better", Cell("+0.1000 [+0.1000, +0.1000]", ""), Cell("+0.2000 [+0.2000, +0.2000]", "")]
    assert rows[1] == ["same", *[Cell("+0.0000 [+0.0000, +0.0000]", "")] * 2]


def test_a_stage_of_one_domain_is_compared_there_alone() -> None:
    tested = {"gat": [table(0.0)], "books": [table(0.1, ("book",))]}
    assert differences(tested, "gat", "ndcg_5")[1][0][1] == Cell("", "")


def test_the_users_that_both_tested_are_compared_and_counted() -> None:
    few = table(0.1).groupby("domain").head(USERS - 5)
    tested = {"gat": [table(0.0)], "few": [few]}
    found = differences(tested, "gat", "ndcg_5")[1][0][1]
    assert found == Cell("+0.1000 [+0.1000, +0.1000]", f"over {USERS - 5} of {USERS} users")


def test_seeds_widen_the_interval() -> None:
    wide = {"gat": [table(0.0), table(0.0)], "other": [table(0.0), table(0.2)]}
    low, high = differences(wide, "gat", "ndcg_5")[1][0][1].text.split(" [")[1].strip("]").split(", ")  # type: ignore[attr-defined]
    assert float(high) - float(low) > 0.2


def test_columns_of_differences_stand_on_one_side(tmp_path: Path) -> None:
    """Whether all users were compared or some must not turn a column of the HTML page around."""
    base = table(0.0)
    few = base[(base.domain == "book") | (base.user_id != "u0")]
    write_chain_pages(tmp_path, "demo", "gat", {"gat": [base], "few": [few]}, {}, 1)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    _, shown = page.split("ndcg@5 minus that of gat")
    assert '<th scope="col">movie</th><th scope="col">book</th>' in shown.partition("</table>")[0]
    assert "<span>over 39 of 40 users</span>" in shown


def test_pages_hold_figures_differences_and_what_was_checked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    said = [{"text": "movie passes.", "against": False}, {"text": "book fails.", "against": True}]
    (run / "swap.json").write_text(json.dumps({"sentences": said}), encoding="utf-8")
    tested = {"gat": [table(0.0)], "better": [table(0.1)]}
    printed = write_chain_pages(tmp_path / "chain", "demo", "gat", tested, {"gat": run, "better": tmp_path}, 1)
    assert printed[-2:] == [str(tmp_path / "chain" / "report.md"), str(tmp_path / "chain" / "report.html")]
    text = (tmp_path / "chain" / "report.md").read_text(encoding="utf-8")
    for part in (
        "# Chain demo",
        "ndcg@5",
        "recall@5",
        "minus that of gat",
        "movie passes.",
        "**book fails.**",
        "One training",
    ):
        assert part in text
    assert "better" in (tmp_path / "chain" / "report.html").read_text(encoding="utf-8")
    assert "better" in printed[1]
    assert "these stages tested" in " ".join(printed)
