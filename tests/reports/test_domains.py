from __future__ import annotations

import numpy as np
import pytest

from recsys_lightning.metrics.bootstrap import mean_interval
from recsys_lightning.metrics.domains import macro_values
from recsys_lightning.reports.domains import ALL, Group, figure_table, group_table, groups_of, of_domain
from recsys_lightning.reports.tables import DASH

NAMES = ("movie", "book")
# users 0 to 3 are known in both, 4 to 6 in movies, 7 and 8 in books only
ROWS = np.array([[3, 2]] * 4 + [[2, 0]] * 3 + [[0, 5]] * 2)
USER = np.array([0, 1, 4, 5, 7, 0, 2, 3, 7, 8, 4])
DOMAIN = np.array([0] * 5 + [1] * 6)
VALUES = np.linspace(0, 1, 11)


def test_users_are_set_apart_by_where_their_rows_lie() -> None:
    found = {(group.domain, group.name): group for group in groups_of(VALUES, USER, DOMAIN, ROWS, NAMES)}
    users = {
        ("", ALL): None,
        ("movie", ALL): [0, 1, 2, 3, 4],
        ("movie", "here and elsewhere"): [0, 1],
        ("movie", "here only"): [2, 3],
        ("movie", "elsewhere only"): [4],
        ("book", ALL): [5, 6, 7, 8, 9, 10],
        ("book", "here and elsewhere"): [5, 6, 7],
        ("book", "here only"): [8, 9],
        ("book", "elsewhere only"): [10],
    }
    assert list(found) == list(users)
    for key, rows in users.items():
        if rows is not None:
            assert found[key].users == len(rows) and found[key].mean == pytest.approx(VALUES[rows].mean())
            assert found[key][3:] == pytest.approx(mean_interval(VALUES[rows]))
    together = found["", ALL]
    assert together.users == 8 and together.mean == pytest.approx((VALUES[:5].mean() + VALUES[5:].mean()) / 2)
    assert together[3:] == pytest.approx(mean_interval(macro_values(VALUES, USER, DOMAIN)))


def test_kinds_without_users_are_left_out_and_values_that_are_none_too() -> None:
    values = np.where(USER == 7, np.nan, VALUES)
    found = groups_of(values, USER, DOMAIN, ROWS, NAMES)
    assert ("movie", "elsewhere only") not in {(group.domain, group.name) for group in found}
    assert [group.users for group in found if group.name == ALL] == [7, 4, 5]
    assert found[-1].name == "elsewhere only" and found[-1].interval == DASH
    nobody = groups_of(VALUES[:5], USER[:5], DOMAIN[:5], ROWS, NAMES)
    assert nobody[-1] == Group("book", ALL, 0, nobody[-1].mean, -np.inf, np.inf) and np.isnan(nobody[-1].mean)
    assert nobody[0].mean == pytest.approx(VALUES[:5].mean())


RESULTS = {"ndcg_5": 0.3, "ndcg_5_worst": 0.2, "ndcg_5_movie": 0.4, "ndcg_5_book": 0.2, "users_movie": 9.0}
RESULTS |= {"users": 12.0, "users_book": 3.0, "gini_5": 0.5, "gini_5_movie": 0.6, "gini_5_book": 0.4}


def test_figures_of_a_domain_have_the_names_that_one_domain_has() -> None:
    assert of_domain(RESULTS, NAMES) == {"ndcg_5": 0.3, "users": 12.0, "gini_5": 0.5}
    assert of_domain(RESULTS, NAMES, "book") == {"ndcg_5": 0.2, "users": 3.0, "gini_5": 0.4}
    assert of_domain(RESULTS, NAMES, "worst") == {"ndcg_5": 0.2}
    assert of_domain({"ndcg_5": 0.1}, ()) == {"ndcg_5": 0.1}


def test_names_that_end_alike_are_told_apart() -> None:
    results = {"ndcg_5": 0.3, "ndcg_5_book": 0.4, "ndcg_5_audio_book": 0.2, "ndcg_5_worst": 0.2}
    for names in (("book", "audio_book"), ("audio_book", "book")):
        assert of_domain(results, names) == {"ndcg_5": 0.3}
        assert of_domain(results, names, "audio_book") == {"ndcg_5": 0.2}


def test_tables() -> None:
    groups = [Group("", ALL, 10, 0.3, 0.2, 0.4), Group("movie", "here only", 4, 0.4, 0.3, 0.5)]
    head, rows = figure_table(RESULTS, NAMES, groups, ("ndcg", "recall"), 5)
    assert head == ["domain", "users", "ndcg@5", "recall@5", "ndcg@5, 95 % interval"]
    assert rows == [
        ["movie", 9, 0.4, None, ""],
        ["book", 3, 0.2, None, ""],
        ["mean", 10, 0.3, None, "0.2000 to 0.4000"],
        ["worst", None, 0.2, None, ""],
    ]
    assert group_table(groups, 5)[1] == [["movie", "here only", 4, 0.4, "0.3000 to 0.5000"]]
