from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recsys_lightning.batches import CSR
from recsys_lightning.callbacks.wandb.tables import (
    Table,
    _hidden,
    bucket_table,
    explanation_table,
    floor_table,
    sample_table,
    subjects,
)
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models import EASE, Popularity
from recsys_lightning.reports.floors import Floor
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.worlds import DomainSource, csr


def ranked(folder: Path, model: Any, module: InteractionsDataModule) -> Ranking:
    task = Ranking(model)
    trainer(folder).test(task, module, verbose=False)
    return task


def test_buckets_are_those_of_the_report(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    assert bucket_table(facts) is None
    facts.write_text('{"buckets": []}')
    assert bucket_table(facts) is None
    facts.write_text('{"buckets": [{"of": "genre", "users": 2, "low": null}, {"of": "genre", "users": 1, "high": 1}]}')
    expected = Table(["of", "users", "low", "high"], [["genre", 2, None, None], ["genre", 1, None, 1]])
    assert bucket_table(facts) == expected


def test_each_domain_has_lists_of_its_own_items(tmp_path: Path) -> None:
    module = InteractionsDataModule(DomainSource(), Recipe(split="random"))
    task = ranked(tmp_path, Popularity, module)
    with torch.no_grad():
        found = subjects(task, module)
        table = sample_table(found)
    assert list(found) == list(module.prepared.domains)
    for code, subject in enumerate(found.values()):
        items = subject.lists.item[subject.lists.item >= 0].numpy()
        assert (module.prepared.domain[items] == code).all()  # type: ignore[index]
        known = module.prepared.known("train", "val")
        for user, listed in zip(subject.user.tolist(), subject.lists.item.tolist(), strict=True):
            assert not set(listed) & set(known.col[known.crow[user] : known.crow[user + 1]].tolist())
    assert {row[0] for row in table.rows} == set(found)


@pytest.mark.parametrize(("model", "explained"), [(partial(EASE, regularization=10.0), True), (Popularity, False)])
def test_reasons_are_parts_of_the_score_or_there_are_none(tmp_path: Path, model: Any, explained: bool) -> None:
    module = data()
    task = ranked(tmp_path, model, module)
    found = subjects(task, module)
    table = explanation_table(found)
    assert (table is not None) is explained
    if table is not None:
        assert {row[2] for row in table.rows} == {1, 2, 3} and len({row[0] for row in table.rows}) == 3
        values = [row[6] for row in table.rows if row[0] == table.rows[0][0] and row[2] == 1]
        assert values == sorted(values, reverse=True) and len(values) <= 5


def test_the_same_users_are_shown_in_every_run(tmp_path: Path) -> None:
    module = data()
    first, second = (subjects(ranked(tmp_path, model, module), module)[""] for model in (Popularity, partial(EASE)))
    assert torch.equal(first.user, second.user) and len(first.user) == 20


def test_floors_that_are_known_are_rows() -> None:
    floors = [
        Floor("EASE", test={"ndcg_5": 0.5}),
        Floor("GFCF", note="too large"),
        Floor("ItemKNN", test={"mrr_5": 0.1}),
    ]
    assert floor_table(floors) == Table(["floor", "ndcg_5", "mrr_5"], [["EASE", 0.5, None], ["ItemKNN", None, 0.1]])
    assert floor_table(floors[1:2]) is None


def test_items_of_other_domains_are_hidden_from_chosen_users() -> None:
    seen = csr(torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]))
    part: Any = SimpleNamespace(seen=seen)
    found = _hidden(part, torch.tensor([0, 2]), [torch.tensor([0, 1]), torch.tensor([2, 3])], 0)
    assert isinstance(found, CSR)
    rows = [found.col[start:end].tolist() for start, end in zip(found.crow[:-1], found.crow[1:], strict=True)]
    assert rows == [[0, 2, 3], [], [2, 3]]
