from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.ranking import RankingReport
from recsys_lightning.reports.run.facts import facts_of, report_of
from recsys_lightning.reports.run.values import Values
from recsys_lightning.reports.tables import DASH
from tests.reports.run.runs import domains, facts, metrics


def report(figures: object, known: object) -> RankingReport | None:
    return report_of(Values(figures, Path("metrics.json")), Values(known, Path("facts.json")))


def test_what_is_written_is_what_is_read() -> None:
    first = report(metrics(), facts())
    assert first is not None
    written = json.loads(json.dumps(facts_of(first), allow_nan=False))
    again = report(metrics(), written)
    assert again is not None and facts_of(again) == written
    assert {name: facts()[name] for name in written} == written
    assert again.table() == first.table()
    assert math.isnan(again.results["test/diversity_5"]) and math.isnan(again.floors[0].test["diversity_5"])


def test_a_test_of_an_older_version_has_its_figures_only() -> None:
    found = report(metrics(), None)
    assert found is not None
    assert found.k == [5] and found.floors == found.steps == [] and found.future is None
    assert found.table().splitlines()[0] == "world, random, val 0.1, test 0.1, 200 users, full ranking"


def test_what_is_no_ranking_is_no_report() -> None:
    assert report(None, None) is None
    assert report({"test/loss": 1.0}, None) is None
    for name in ("test/ndcg_5", "test/recall_5", "test/users"):
        assert report(metrics() | {name: None}, facts()) is None
        assert report({key: value for key, value in metrics().items() if key != name}, facts()) is None


@pytest.mark.parametrize(
    ("figures", "known", "said"),
    [
        (metrics() | {"test/ndcg_5": "high"}, facts(), 'metrics.json is damaged: test/ndcg_5 is "high"'),
        (metrics(), facts(floors={"EASE": 1}), "facts.json is damaged: floors is"),
        (metrics(), facts(steps=[{"name": "read", "rows": "many"}]), 'steps[0].rows is "many"'),
        (metrics(), facts(floors=[{"name": "EASE", "test": [1]}]), "floors[0].test is [1]"),
        (metrics(), facts(floors=[{"name": "EASE", "test": {"ndcg_5": 0.1}}]), "floors[0].test.users is null"),
    ],
)
def test_a_damaged_value_is_named(figures: object, known: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        report(figures, known)
    assert said in str(caught.value)


def test_domains_are_those_with_figures(tmp_path: Path) -> None:
    folder = domains(tmp_path)
    figures, known = (json.loads((folder / name).read_text()) for name in ("metrics.json", "facts.json"))
    first = report(figures, known)
    assert first is not None and first.domains == ["movie", "book"] and len(first.groups) == 4
    assert math.isnan(first.groups[3].low) and first.groups[3].interval == DASH
    written = json.loads(json.dumps(facts_of(first), allow_nan=False))
    again = report(figures, written)
    assert again is not None and again.table() == first.table() and facts_of(again) == written
    for name in ("test/users_book", "test/ndcg_5_movie"):
        found = report({key: value for key, value in figures.items() if key != name}, known)
        assert found is not None and found.domains == [] and "By domain" not in found.table()
