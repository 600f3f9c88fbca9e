from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from recsys_lightning.metrics.bootstrap import paired_interval
from recsys_lightning.metrics.significance import holm
from recsys_lightning.reports.compare import COLUMNS, Comparison, _safe, compare, latex, markdown
from recsys_lightning.reports.tested import read_all
from tests.reports.compared import USERS, values, write

NOISE = np.random.default_rng(9).normal(0, 0.1, USERS)


def better(by: float | np.ndarray) -> np.ndarray:
    found: np.ndarray = values() + NOISE + by
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A base, a model that is better, and one that differs by noise alone."""
    tmp_path = tmp_path_factory.mktemp("runs")
    base = write(tmp_path / "base", values(), model="Popularity")
    good = write(tmp_path / "good", better(0.05), model="EASE")
    same = write(tmp_path / "same", values() + NOISE - NOISE.mean(), model="Item_KNN")
    return compare(read_all([str(base), str(good), str(same)]), ["ndcg_10"])


def test_figures_are_those_of_the_tests_they_name(found: Comparison) -> None:
    good, same = found.metrics
    base, ours = values(), better(0.05)
    assert (good.mean_of_base, good.mean) == pytest.approx((base.mean(), ours.mean()))
    assert good.p == pytest.approx(float(ttest_rel(ours, base).pvalue))
    assert good.effect == pytest.approx((ours - base).mean() / (ours - base).std(ddof=1))
    assert good.difference == pytest.approx(paired_interval(ours, base))
    assert [line.holm for line in found.lines] == holm([line.p for line in found.lines])
    assert len(found.groups) == 2 * (5 + 4) and sum(line.users for line in found.groups) == 2 * 2 * USERS
    assert (good.claimed, same.claimed) == (1, 0)


def test_it_is_said_in_words_what_is_claimed(found: Comparison) -> None:
    text = markdown(found)
    good, _ = found.metrics
    assert f"- EASE is higher than Popularity in ndcg_10: {good.difference.mean:+.4f}, +" in text
    assert re.search(r"\n- No difference of Item_KNN and Popularity in ndcg_10 is claimed: .0\.0000 \(-", text)
    assert "Holm's correction is for all 20 comparisons" in text and "| users with 0 rows |" in text
    assert "WATERMARK" not in text and "One training" not in text and "older version" not in text


def test_both_must_agree(found: Comparison) -> None:
    line = found.metrics[0]
    assert line._replace(holm=0.051).claimed == 0
    assert line._replace(difference=line.difference._replace(low=-0.001)).claimed == 0
    assert line._replace(difference=line.difference._replace(low=-0.2, high=-0.1)).claimed == -1


def test_tests_of_older_versions_are_not_grouped(tmp_path: Path) -> None:
    old = {"rows": None, "popularity": None}
    runs = [write(tmp_path / name, values(), model=name, table=old) for name in "ab"]
    result = compare(read_all([str(run) for run in runs]))
    assert not result.groups and [line.metric for line in result.metrics] == ["ndcg_10", "recall_10"]
    assert "by their rows and the popularity of their held-out items: older versions" in markdown(result)
    assert all(line.p == 1 and line.effect == 0 and not line.claimed for line in result.lines)


def test_users_are_grouped_by_what_is_held_out_of_them(tmp_path: Path) -> None:
    days = pd.array(np.arange(USERS) % 10, dtype="Int64")
    days[:100] = pd.NA
    base = write(tmp_path / "base", values(), model="EASE", table={"popularity": None})
    popularity = 5 + np.arange(USERS) % 4
    ours = better(np.where(popularity < 7, 0.5, 0.0))
    runs = read_all([str(base), str(write(tmp_path / "ours", ours, table={"days": days}))])
    result = compare(runs, ["ndcg_10"])
    lines = {line.over: line for line in result.groups}
    first = lines["users whose held-out items have 5 train rows"]
    assert first.users == USERS // 4 and first.mean == pytest.approx(ours[popularity == 5].mean())
    assert first.claimed == 1 and not lines["users whose held-out items have 8 train rows"].claimed
    of_days = [line for over, line in lines.items() if "held-out rows begin" in over]
    assert "users whose held-out rows begin 0 days later" in lines and sum(line.users for line in of_days) == 300
    assert "\n\n100 of 400 users are in no group by days: the first row" in markdown(result)
    assert "no group" not in markdown(compare(read_all([str(base), str(write(tmp_path / "c", ours))]), ["ndcg_10"]))


def test_domains_are_groups_and_one_test_stands_for_all_seeds(tmp_path: Path) -> None:
    domain = np.where(np.arange(USERS) < 250, "movie", "book")
    users = [f"u{user % 250}" for user in range(USERS)]
    columns = {"domain": domain, "user_id": users}
    base = write(tmp_path / "base", values(), model="EASE", table=columns)
    seeds = [
        write(tmp_path / f"{seed}", better(0.02 + 0.05 * (seed - 1)), checkpoint=f"{seed}", table=columns)
        for seed in range(3)
    ]
    line, *groups = compare(read_all([str(base), ",".join(map(str, seeds))]), ["ndcg_10"]).lines
    assert line.users == 250 and [group.users for group in groups[:2]] == [250, 150]
    assert groups[0].over == "users in movie"
    single = compare(read_all([str(base), str(seeds[1])]), ["ndcg_10"])
    assert single.metrics[0].mean == pytest.approx(line.mean)
    assert single.metrics[0].claimed == 1 and not line.claimed, "trainings differ more than the models do"
    assert "One training of MF" in markdown(single)


def test_users_without_a_value_are_left_out(tmp_path: Path) -> None:
    holes = np.where(np.arange(USERS) % 4, values(), np.nan)
    runs = [
        write(tmp_path / "a", values(), model="a", table={"diversity_10": values()}),
        write(tmp_path / "b", values(), model="b", table={"diversity_10": holes}),
    ]
    line = compare(read_all([str(run) for run in runs]), ["diversity_10"]).metrics[0]
    assert line.users == 300 and line.mean == pytest.approx(np.nanmean(holes)) and line.difference.mean == 0


def test_tables_for_programs_and_papers(found: Comparison) -> None:
    for line in found.lines:
        cells = dict(zip(COLUMNS, line.plain, strict=True))
        assert cells["claimed"] is bool(line.claimed) and cells["p_holm"] == line.holm
    lonely = found.metrics[0]._replace(users=1, effect=math.nan)
    assert lonely.plain[-2] is None
    text = latex(found)
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 2 and text.count("\\toprule") == 2
    assert "Item\\_KNN" in text and not re.search(r"(?<!\\)[_%#]", text.replace("% \\use", "").replace("$d_z$", ""))
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {row.count("&") - row.count("\\&") for row in rows} == {9}
    assert sum("\\textbf" in row for row in rows) == sum(bool(line.claimed) for line in found.lines)
    assert _safe("a_b < 5 % & \\") == r"a\_b $<$ 5 \% \& \textbackslash{}"
