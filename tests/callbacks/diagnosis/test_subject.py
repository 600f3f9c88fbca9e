from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys_lightning.callbacks.diagnosis.subject import rows_of
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.diagnosis.subjects import OPTIONS, in_blocks, subject
from tests.tasks.test_base import data
from tests.worlds import MemorySource, csr


def test_lists_and_hits_are_those_of_the_test(tmp_path: Path) -> None:
    made = subject(tmp_path, Ranking(partial(EASE, regularization=10.0), k=[7, 3]))
    assert made.task.per_user is not None and made.k == 7 and made.lists.item.shape[1] == 7
    assert made.user.tolist() == made.task.per_user.user.tolist()
    relevant = made.relevant.degree[made.user].numpy()
    np.testing.assert_allclose(made.hits.sum(1) / relevant, made.task.per_user.values["recall_7"])


def test_users_are_sampled_where_they_are_many(tmp_path: Path) -> None:
    every = subject(tmp_path, Ranking(Popularity)).user
    few = subject(tmp_path, Ranking(Popularity), options=OPTIONS._replace(users=9)).user
    assert len(every) > 9 == len(few.unique()) and set(few.tolist()) < set(every.tolist())
    assert torch.equal(few, subject(tmp_path, Ranking(Popularity), options=OPTIONS._replace(users=9)).user)
    other = subject(tmp_path, Ranking(Popularity), options=OPTIONS._replace(users=9, seed=1)).user
    assert not torch.equal(few, other)


def test_dot_products_of_vectors_are_the_scores(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    assert made.vectors is not None
    user, item = made.vectors
    some = made.user[:5]
    assert torch.allclose(user[some] @ item.T, made.model.score_all(made.model.users(made.state, some), made.state))


def test_other_scores_have_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert subject(tmp_path, Ranking(Popularity)).vectors is None
    made = in_blocks(tmp_path)
    monkeypatch.setattr(type(made.model), "cross", lambda self, u, i: (u @ i.T) ** 3)
    assert made.vectors is None
    monkeypatch.setattr(type(made.model), "users", lambda self, state, user: state.user[user].repeat(1, 2))
    del made.__dict__["vectors"]
    assert made.vectors is None


def test_kinds_are_attributes_and_other_columns_of_features(tmp_path: Path) -> None:
    made = subject(tmp_path, Ranking(Popularity))
    (genre,) = made.kinds
    assert genre.name == "genre" and genre.values == ("block 0", "block 1", "block 2")
    titles = made.data.prepared.items["title"]
    assert [f"block {int(title.split()[1]) % 3}" for title in titles] == [genre.values[v] for v in genre.of.col]
    recipe = FeatureRecipe(categories=["genres", "title"])
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), features=recipe)
    monkey = subject(tmp_path, Ranking(Popularity))
    object.__setattr__(monkey, "data", module)
    assert [kind.name for kind in monkey.kinds] == ["genre", "title"]


def test_rows_are_those_asked_for() -> None:
    table = csr(torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]))
    found = rows_of(table, torch.tensor([2, 1, 0, 0]))
    assert found.crow.tolist() == [0, 1, 1, 3, 5] and found.col.tolist() == [1, 0, 2, 0, 2]
    assert rows_of(table, torch.tensor([1])).crow.tolist() == [0, 0]


def test_popularity_and_own_items_are_of_train(tmp_path: Path) -> None:
    made, module = subject(tmp_path, Ranking(Popularity)), data()
    train = module.prepared.csr("train")
    assert made.popularity.tolist() == torch.bincount(train.col, minlength=len(made.popularity)).tolist()
    assert made.own.col.tolist() == train.col.tolist()
