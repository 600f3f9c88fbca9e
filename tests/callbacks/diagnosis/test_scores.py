from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recsys_lightning.callbacks.diagnosis import scores
from recsys_lightning.callbacks.diagnosis.scores import _pairs, feature_table, of_scores
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.diagnosis.subjects import OPTIONS, in_blocks, subject


def test_pairs_are_unseen_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = in_blocks(tmp_path)
    user, item, score = _pairs(made)
    seen = {
        (int(u), int(i)) for u in made.user for i in made.seen.col[made.seen.crow[int(u)] : made.seen.crow[int(u) + 1]]
    }
    chosen = list(zip(user.tolist(), item.tolist(), strict=True))
    assert len(set(chosen)) == len(chosen) > 300 and not seen & set(chosen)
    expected = made.model.score(made.model.user[user], made.model.item[item]).numpy()
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    monkeypatch.setattr(scores, "SCORES", 1)
    assert (_pairs(made)[2] == score).all()


def test_few_users_take_more_pairs_each(tmp_path: Path) -> None:
    made = in_blocks(tmp_path, OPTIONS._replace(users=4, pairs=100))
    user, _, _ = _pairs(made)
    assert len(np.unique(user)) == 4 and len(user) <= 100
    user, _, _ = _pairs(in_blocks(tmp_path, OPTIONS._replace(pairs=7)))
    assert len(np.unique(user)) <= 7


def test_the_score_of_popularity_goes_with_popularity(tmp_path: Path) -> None:
    found = of_scores(subject(tmp_path, Ranking(Popularity)))
    named = {one.feature: one for one in found["correlations"]}
    assert list(named) == ["popularity (log)", "length", "genre: block 0", "genre: block 1", "genre: block 2"]
    assert named["popularity (log)"].r > 0.9 and named["popularity (log)"].significant
    about = found["correlations_about"]
    assert about["permuted"]["features"] == 50 and about["permuted"]["significant"] <= 5
    assert about["pairs"] <= OPTIONS.pairs and about["users"] <= OPTIONS.users and about["items"] <= 40


def test_features_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = subject(tmp_path, Ranking(Popularity))
    items = made.data.prepared.items.copy()
    items.loc[0, "length"], items["nothing"] = np.nan, np.nan
    kinds = made.kinds
    monkeypatch.setattr(made.data, "_prepared", SimpleNamespace(items=items))
    table, names = feature_table(made.data, kinds, made.popularity)
    assert names == ["popularity (log)", "length", "genre: block 0", "genre: block 1", "genre: block 2"]
    assert table[0, 1] == pytest.approx(items["length"][1:].mean()) and table[1, 1] == items["length"][1]
    assert (table[:, 2:].sum(1) == 1).all() and set(np.unique(table[:, 2:])) == {0, 1}


def test_numbers_are_those_that_the_model_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = subject(tmp_path, Ranking(Popularity))
    numbers = torch.randn(made.model.num_items, 2)
    features: Any = SimpleNamespace(numbers=("price", "words"), tensors=lambda: SimpleNamespace(numbers=numbers))
    monkeypatch.setattr(made.data, "item_features", features)
    monkeypatch.setattr(scores, "TOP", 2)
    table, names = feature_table(made.data, made.kinds, made.popularity)
    assert names == ["popularity (log)", "price", "words", "genre: block 0", "genre: block 1"]
    np.testing.assert_allclose(table[:, 1:3], numbers)
    monkeypatch.setattr(scores, "LEAST", 14)  # 14, 13 and 13 items
    assert feature_table(made.data, made.kinds, made.popularity)[1][3:] == ["genre: block 0"]


def test_equal_scores_go_with_nothing(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    with torch.no_grad():
        made.model.user.zero_()
    assert of_scores(made) == {}
