from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.callbacks.diagnosis.lists import by_activity, by_popularity, of_kinds, samples
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.diagnosis.subjects import OPTIONS, in_blocks, subject


def test_buckets_add_up_to_the_whole(tmp_path: Path) -> None:
    made = subject(tmp_path, Ranking(partial(EASE, regularization=10.0), k=[5]))
    items, users = by_popularity(made), by_activity(made)
    assert {bucket["of"] for bucket in items} == {"item popularity"} and len(items) > 2
    total = sum(bucket["relevant"] for bucket in items)
    assert total == int(made.relevant.degree.sum()) == sum(bucket["relevant"] for bucket in users)
    assert sum(bucket["recall_5"] * bucket["relevant"] for bucket in items) == pytest.approx(made.hits.sum())
    assert {bucket["of"] for bucket in users} == {"user activity"} and len(users) > 2
    count = sum(bucket["users"] for bucket in users)
    assert count == made.task.results["test/users"]
    for name in ("recall_5", "ndcg_5"):
        mean = sum(bucket[name] * bucket["users"] for bucket in users) / count
        assert mean == pytest.approx(made.task.results[f"test/{name}"])
    for bucket in (*items, *users):
        assert bucket["low"] <= bucket["recall_5"] <= bucket["high"]
    assert all("ndcg_5" not in bucket for bucket in items)


def test_items_that_train_does_not_know_have_a_bucket(tmp_path: Path) -> None:
    made = subject(tmp_path, Ranking(Popularity, k=[5]))
    unknown = made.relevant.col[:1]
    made.popularity[unknown] = 0
    first, *others = by_popularity(made)
    assert (first["name"], first["relevant"]) == ("0", int((made.relevant.col == unknown).sum()))
    assert others and all(not bucket["name"].startswith("0") for bucket in others)


def test_lists_of_the_own_block_share_its_genre(tmp_path: Path) -> None:
    made = in_blocks(tmp_path, OPTIONS._replace(users=60))
    ratio = of_kinds(made)["genre"]
    alone = of_kinds(subject(tmp_path, Ranking(Popularity, k=[5])))["genre"]
    assert ratio.lists > 0.95 and ratio.users == len(made.user) and ratio.random < 1
    assert alone.random == ratio.random and alone.lists < 1


def test_samples_are_of_all_activities_and_say_why(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    found = samples(made)
    ids, items = made.data.prepared.users["user_id"].tolist(), made.data.prepared.items.set_index("item_id")
    degree = [int(made.own.degree[ids.index(one["user"])]) for one in found]
    assert len(found) == 3 and degree == sorted(degree) and degree[0] < degree[-1]
    for one in found:
        user = ids.index(one["user"])
        place = made.user.tolist().index(user)
        listed = one["recommendations"]
        assert [line["rank"] for line in listed] == [1, 2, 3, 4, 5]
        assert [items.loc[line["item"], "title"] for line in listed] == [line["title"] for line in listed]
        assert [line["hit"] for line in listed] == made.hits[place].tolist()
        assert sorted((line["score"] for line in listed), reverse=True) == [line["score"] for line in listed]
        assert one["hit_ratio"] == {"genre": 1}
        own = made.own.col[made.own.crow[user] : made.own.crow[user + 1]]
        genres = {genre for item in own for genre in made.data.prepared.items["genres"].iloc[int(item)]}
        for line in listed:
            assert line["shared"] == {"genre": list(items.loc[line["item"], "genres"])}
            assert set(line["shared"]["genre"]) <= genres


def test_histories_are_newest_first(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    rows = made.data.prepared.interactions
    assert rows.timestamp is not None
    for one in samples(made):
        user = made.data.prepared.users["user_id"].tolist().index(one["user"])
        own = (rows.user == user) & made.data.prepared.mask("train")
        newest = rows.item[own][np.argsort(-rows.timestamp[own])][:10]
        assert one["history"] == made.data.prepared.items["title"].iloc[newest].tolist()


def test_no_samples_where_none_are_asked_for(tmp_path: Path) -> None:
    assert samples(in_blocks(tmp_path, OPTIONS._replace(samples=0))) == []
    assert len(samples(in_blocks(tmp_path, OPTIONS._replace(samples=1)))) == 1
    assert len(samples(in_blocks(tmp_path, OPTIONS._replace(samples=500)))) <= 60
