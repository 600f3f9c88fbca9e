from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.ranking import RankingReport
from recsys_lightning.reports.run.facts import facts_of, report_of
from recsys_lightning.reports.run.values import Values
from tests.reports.run.runs import facts, metrics


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
    assert report(metrics() | {"test/ndcg_5": None}, facts()) is None


@pytest.mark.parametrize(
    ("figures", "known", "said"),
    [
        (metrics() | {"test/ndcg_5": "high"}, facts(), 'metrics.json is damaged: test/ndcg_5 is "high"'),
        (metrics(), facts(floors={"EASE": 1}), "facts.json is damaged: floors is"),
        (metrics(), facts(steps=[{"name": "read", "rows": "many"}]), 'steps[0].rows is "many"'),
        (metrics(), facts(floors=[{"name": "EASE", "test": [1]}]), "floors[0].test is [1]"),
    ],
)
def test_a_damaged_value_is_named(figures: object, known: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        report(figures, known)
    assert said in str(caught.value)
