from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.negatives import Popularity, Uniform
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.sources import MovieTweetings
from recsys_lightning.errors import InputError
from tests.conftest import REPOSITORY
from tests.data.memory import Memory, interactions, random_interactions

RECIPES = [
    Recipe(split="global_time"),
    Recipe(split="leave_last_out", val=1, test=1),
    Recipe(split="random", user_core=2, item_core=2),
    Recipe(split="item_cold", val=0.1, test=0.2),
    Recipe(split="item_cold", val=0.1, test=0.2, shots=2, reserve=3, positive=2),
    Recipe(split="user_cold", val=0.1, test=0.2),
    Recipe(split="user_cold", val=0.1, test=0.2, shots=2, reserve=3, positive=2),
]


def rows_of(prepared, *splits):
    """{(raw user, raw item): (split, rating, time)}"""
    rows = prepared.interactions
    users, items = prepared.users["user_id"], prepared.items["item_id"]
    return {
        (users[u], items[i]): (int(s), float(r), int(t))
        for u, i, s, r, t in zip(rows.user, rows.item, rows.split, rows.rating, rows.timestamp, strict=True)
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(RECIPES))
def test_prepared_data_do_not_depend_on_the_order_of_rows(seed, recipe):
    data = random_interactions(seed=seed)
    order = np.random.default_rng(seed).permutation(len(data))
    ids = np.random.default_rng(seed + 1).permutation(data.num_users)
    shuffled = data.take(order)
    shuffled = replace(shuffled, user=np.argsort(ids).astype(np.int32)[shuffled.user], user_ids=data.user_ids.take(ids))
    one, other = prepare(Memory(data), recipe), prepare(Memory(shuffled), recipe)
    assert one.fingerprint == other.fingerprint
    assert one.steps == other.steps
    assert rows_of(one) == rows_of(other)


@pytest.mark.parametrize("recipe", RECIPES)
def test_rows_are_the_raw_rows(recipe):
    data = random_interactions()
    prepared = prepare(Memory(data), recipe)
    users, items = data.user_ids.to_pylist(), data.item_ids.to_pylist()
    raw = {
        (users[u], items[i]): (float(r), int(t))
        for u, i, r, t in zip(data.user, data.item, data.rating, data.timestamp, strict=True)
    }
    found = rows_of(prepared)
    assert len(found) == len(prepared.interactions) > 300
    assert all(raw[pair] == values[1:] for pair, values in found.items())


def test_train_and_held_out_pairs_never_overlap():
    data = random_interactions(rows=400)
    twice = data.take(np.random.default_rng(0).integers(0, 400, 900))  # many repeated pairs
    for recipe in RECIPES:
        prepared = prepare(Memory(twice), recipe)
        rows = prepared.interactions
        pairs = rows.user.astype(np.int64) * rows.num_items + rows.item
        assert len(np.unique(pairs)) == len(pairs)
        assert prepared.known("train", "val", "test", "given").col.numel() == len(rows)


def test_held_out_rows_without_train_are_dropped_and_counted():
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("c", "x"), ("a", "new"), ("b", "y"), ("late", "x"), ("b", "new")]
    data = interactions(pairs, split=[0, 0, 0, 0, 1, 2, 2, 2])
    prepared = prepare(Memory(data), Recipe(split="official"))
    assert prepared.users["user_id"].tolist() == ["a", "b", "c"]
    assert prepared.items["item_id"].tolist() == ["x", "y"]
    steps = {step.name: step for step in prepared.steps}
    assert steps["users without train rows"].note == "1 rows of 1 users dropped"
    assert steps["items unseen in train"].note == "2 rows of 1 items dropped"
    assert [steps[name].rows for name in ("train", "val", "test")] == [4, 0, 1]


def test_unseen_items_can_be_kept_behind_the_others():
    data = interactions([("a", "b"), ("a", "z"), ("a", "a"), ("a", "y")], split=[0, 0, 2, 2])
    prepared = prepare(Memory(data), Recipe(split="official", val=0, unseen_items="keep"))
    assert prepared.items["item_id"].tolist() == ["b", "z", "a", "y"]
    assert prepared.csr("test").col.tolist() == [2, 3]
    both = prepared.csr("train", "test")
    assert both.col.tolist() == [0, 1, 2, 3] and both.crow.tolist() == [0, 4]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_held_out_rows_change_no_train_tensor(data):
    """G5: whatever lies in val and test, the tensors of the train stage are bit-identical."""
    raw = replace(random_interactions(), split=(np.arange(500) % 3 == 0).astype(np.int8) * 2)
    held_out = np.flatnonzero(raw.split)
    gone = data.draw(st.sets(st.sampled_from(held_out.tolist())))
    more = interactions(
        [("u003", "unseen"), ("stranger", "i001"), ("u004", "i002")],
        split=[2, 1, 2],
        rating=[9, 9, 9],
        timestamp=[1, 2, 3],
    )
    changed = join(raw.take(np.setdiff1d(np.arange(500), sorted(gone))), more)
    items = pd.DataFrame({"genres": [["g" + str(i % 4)] for i in range(31)]})
    items.index = [f"i{i:03}" for i in range(30)] + ["unseen"]
    items.loc["unseen", "genres"] = ["only here"]
    views, shapes = [], []
    for rows in (raw, changed):
        prepared = prepare(Memory(rows, items), Recipe(split="official", val=0))
        views.append(prepared.views("train", history_length=5))
        shapes.append(prepared.schema().num_nodes)
    assert shapes[0] == shapes[1]
    one, other = views
    assert torch.equal(one.train.crow, other.train.crow) and torch.equal(one.train.col, other.train.col)
    assert all(torch.equal(a, b) for a, b in zip(one.history, other.history, strict=True))
    assert torch.equal(one.genres, other.genres)
    assert torch.equal(one.popularity, other.popularity)
    for sampler in (Uniform(3), Popularity(3)):  # G10: negatives do not depend on them either
        drawn = []
        for view in views:
            sampler.prepare(view.train, view.num_items)
            users = torch.arange(view.num_users)
            drawn.append((sampler.draw(users, users, torch.Generator().manual_seed(1)), sampler.log_q))
        assert all(map(torch.equal, *drawn))
    for store, same in zip(one.graph.edge_stores, other.graph.edge_stores, strict=True):
        assert all(torch.equal(store[key], same[key]) for key in store.keys())  # noqa: SIM118


def join(one, other):
    """Two raw tables, one after the other."""
    tables = []
    for rows in (one, other):
        columns = {name: getattr(rows, name) for name in ("rating", "timestamp", "split")}
        users, items = np.array(rows.user_ids.to_pylist()), np.array(rows.item_ids.to_pylist())
        tables.append((users[rows.user], items[rows.item], columns))
    pairs = [pair for users, items, _ in tables for pair in zip(users, items, strict=True)]
    return interactions(pairs, **{name: np.concatenate([table[2][name] for table in tables]) for name in tables[0][2]})


def test_cold_items_are_kept_though_train_lacks_them():
    data = join(
        replace(random_interactions(), split=np.zeros(500, np.int8)),
        interactions([("only", "i003"), ("only", "i004")], split=[0, 0], rating=[1, 1], timestamp=[1, 2]),
    )
    by_item = {}
    prepared = prepare(Memory(data), Recipe(split="item_cold", val=3, test=6))
    for (_, item), (split, _, _) in rows_of(prepared).items():
        by_item.setdefault(item, set()).add(split)
    assert sorted(map(len, by_item.values())) == [1] * 30
    assert [sum(split == {code} for split in by_item.values()) for code in range(3)] == [21, 3, 6]
    steps = {step.name: step for step in prepared.steps}
    assert [steps[name].items for name in ("train", "val", "test")] == [21, 3, 6]
    assert steps["items unseen in train"].note.endswith("rows of 9 items kept")
    # items of train come first, as always
    assert prepared.csr("train").col.max() == 20 and prepared.csr("val", "test").col.min() == 21
    assert int(prepared.views("train").popularity[21:].sum()) == 0


def test_a_user_of_cold_items_only_is_dropped():
    pairs = [(f"u{n}", f"i{n}") for n in range(20)] + [(f"u{n}", f"i{n + 1}") for n in range(0, 20, 2)]
    prepared = prepare(Memory(interactions(pairs)), Recipe(split="item_cold", val=0, test=0.5))
    known = set(prepared.users["user_id"])
    train = {user for (user, _), split in split_of(prepared).items() if split == 0}
    assert known == train and len(known) < 20
    steps = {step.name: step for step in prepared.steps}
    assert "users dropped" in steps["users without train rows"].note


def split_of(prepared):
    rows = prepared.interactions
    users, items = prepared.users["user_id"], prepared.items["item_id"]
    return {(users[u], items[i]): int(s) for u, i, s in zip(rows.user, rows.item, rows.split, strict=True)}


def test_tables_are_aligned_with_indices():
    data = interactions([("b", "y"), ("a", "z"), ("a", "x"), ("b", "x")])
    items = pd.DataFrame(
        {"year": [1990.0, 1991.0, 1992.0], "title": ["Zed", None, "never used"], "genres": [["g"], ["g", "h"], ["i"]]},
        index=["z", "x", "other"],
    )
    users = pd.DataFrame({"age": [7]}, index=["b"])
    prepared = prepare(Memory(data, items, users), Recipe(split="random", val=0, test=0))
    assert prepared.items.columns.tolist() == ["item_id", "title", "year", "genres"]
    assert prepared.items["item_id"].tolist() == ["x", "y", "z"]
    assert prepared.items["title"].tolist() == ["x", "y", "Zed"]  # the id where there is no title
    assert prepared.items["genres"].tolist() == [["g", "h"], [], ["g"]]
    assert prepared.users["user_id"].tolist() == ["a", "b"] and prepared.users["age"].tolist()[1] == 7
    schema = prepared.schema()
    assert schema.num_nodes == {"user": 2, "movie": 3, "genre": 2}
    assert schema.edge_types == (
        ("user", "rates", "movie"),
        ("movie", "has_genre", "genre"),
        ("movie", "rev_rates", "user"),
        ("genre", "rev_has_genre", "movie"),
    )
    assert prepared.views("train").genres.tolist() == [[1, 1], [0, 0], [1, 0]]


def test_domains_follow_their_items():
    data = replace(
        interactions([("a", "z"), ("a", "x"), ("b", "y")]),
        domain=np.array([1, 0, 1], np.int8),
        domains=("book", "movie"),
    )
    prepared = prepare(Memory(data), Recipe(split="random", val=0, test=0))
    assert dict(zip(prepared.items["item_id"], prepared.interactions.domain, strict=True)) == {"x": 0, "y": 1, "z": 1}


def test_fingerprint_changes_with_every_fact():
    data = random_interactions()
    recipe = Recipe(split="random")
    original = prepare(Memory(data), recipe).fingerprint
    rating, time = data.rating.copy(), data.timestamp.copy()
    rating[7] += 0.5
    time[7] += 1
    renamed = pa.array([f"{name}!" for name in data.item_ids.to_pylist()])
    variants = [
        (data.take(np.arange(499)), recipe),
        (replace(data, rating=rating), recipe),
        (replace(data, timestamp=time), recipe),
        (replace(data, item_ids=renamed), recipe),
        (data, Recipe(split="random", seed=1)),
    ]
    found = {prepare(Memory(rows), changed).fingerprint for rows, changed in variants}
    assert len(found | {original}) == 6
    assert prepare(Memory(data), recipe).fingerprint == original


SAMPLE = {
    Recipe(): "fcd89f5ce8662837",
    Recipe(split="random"): "2dc2984acf7eb64d",
    Recipe(split="leave_last_out", val=1, test=1): "4332a33ffb70928b",
    Recipe(split="item_cold", shots=2, reserve=5): "dbd0a0ad64302a67",
    Recipe(split="user_cold", shots=2, reserve=5, positive=7): "02a5b10d5754c998",
    Recipe(split="random", user_core=6, item_core=6, min_rating=6, seed=3): "3d3eb50d7f04e9c4",
}
"""Fingerprints of the embedded sample, as checkpoints hold them: no change of the program may change one."""


@pytest.mark.parametrize("recipe", SAMPLE, ids=lambda recipe: recipe.split)
def test_the_embedded_sample_stays_what_it_is(recipe):
    assert prepare(MovieTweetings(REPOSITORY / "data"), recipe).fingerprint.startswith(SAMPLE[recipe])


def test_split_has_a_name_for_people():
    data = random_interactions()
    assert prepare(Memory(data), Recipe()).split == "global_time, val 0.1, test 0.1"
    assert prepare(Memory(data), Recipe(split="leave_last_out", val=1, test=1)).split == "leave_last_out, val 1, test 1"
    official = replace(data, split=np.zeros(500, np.int8))
    assert prepare(Memory(official), Recipe(split="official", val=0)).split == "official, val 0"


def test_users_too_short_for_the_split_are_counted():
    data = interactions([("a", "x"), ("a", "y"), ("a", "z"), ("b", "x")], order=[0, 1, 2, 0])
    prepared = prepare(Memory(data), Recipe(split="leave_last_out", val=1, test=1, unseen_items="keep"))
    train = next(step for step in prepared.steps if step.name == "train")
    assert train.note == "1 users have no held-out rows"


def test_a_split_without_train_rows_is_an_error():
    with pytest.raises(InputError, match="no train rows"):
        prepare(Memory(interactions([("a", "x")], split=[2])), Recipe(split="official"))


def test_unknown_splits_are_refused():
    prepared = prepare(Memory(random_interactions()), Recipe())
    with pytest.raises(ValueError, match="no such split: trian"):
        prepared.csr("trian")


def test_nothing_rated_so_high_is_said_with_the_option() -> None:
    with pytest.raises(
        InputError, match=r"(?s)leaves no train rows rated 6 or higher\..*\nLower data\.recipe\.positive, or"
    ):
        prepare(Memory(random_interactions()), Recipe(split="random", positive=6))
    with pytest.raises(InputError, match=r"(?s)leaves no train rows\..*\nHold out less\.$"):
        prepare(Memory(interactions([("a", "x"), ("b", "y")], split=[2, 2])), Recipe(split="official", val=0))


COLD = {"item_cold": 1, "user_cold": 0}
"""Which id of a pair is held out."""
by_split = pytest.mark.parametrize("split", COLD)


def cold(split, data=None, **options):
    data = random_interactions(users=40, items=40, rows=900) if data is None else data
    return prepare(Memory(data), Recipe(**{"split": split, "val": 4, "test": 6, **options}))


@by_split
@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("positive", [None, 3])
def test_the_same_rows_are_tested_whatever_is_known_of_the_new(split, clock, positive):
    data = random_interactions(users=40, items=40, rows=900)
    data = data if clock else replace(data, timestamp=None)
    side, rows, ids = COLD[split], {}, set()
    for shots in (0, 1, 2, 5, 10):
        prepared = cold(split, data, shots=shots, reserve=10, positive=positive)
        assert prepared.csr("val").col.numel() > 10 and prepared.csr("test").col.numel() > 20
        rows[shots] = split_of(prepared)
        ids.add((frozenset(prepared.users["user_id"]), frozenset(prepared.items["item_id"])))
    tested = [{pair: part for pair, part in found.items() if part in (1, 2)} for found in rows.values()]
    assert all(found == tested[0] for found in tested)
    assert len(ids) == 1  # the catalogue, too
    held = {pair[side] for pair in tested[0]}
    known = {shots: {pair for pair in found if pair[side] in held} - set(tested[0]) for shots, found in rows.items()}
    assert not known[0] and all(known[few] < known[more] for few, more in zip((0, 1, 2, 5), (1, 2, 5, 10), strict=True))
    for shots in (1, 10):
        assert {rows[shots][pair] for pair in known[shots]} == {0 if side else 3}
    if positive is None:
        assert [len(found) for found in known.values()] == [10 * shots for shots in rows]


@by_split
@pytest.mark.parametrize("positive", [None, 3.0])
def test_shots_are_the_first_rows_and_the_rest_is_held_out(split, positive):
    side = COLD[split]
    data = random_interactions(users=40, items=40, rows=900)
    ids = [names.to_pylist() for names in (data.user_ids, data.item_ids)]
    table = pd.DataFrame(
        {
            "pair": [(ids[0][u], ids[1][i]) for u, i in zip(data.user, data.item, strict=True)],
            "rating": data.rating,
            "time": data.timestamp,
        }
    )
    table["held"], table["other"] = table["pair"].str[side], table["pair"].str[1 - side]
    prepared = cold(split, data, shots=2, reserve=3, positive=positive)
    found, least = split_of(prepared), positive or 0
    held = {pair[side] for pair, part in found.items() if part in (1, 2)}
    assert len(held) == 10
    for _, own in table[table["held"].isin(held)].sort_values(["time", "other"]).groupby("held"):
        liked, seen = 0, []
        for row in own.itertuples():
            seen.append(None if 2 <= liked < 3 else found[row.pair])
            assert (row.pair in found) == (seen[-1] is not None)
            liked += row.rating >= least
        parts = [part for part in seen if part is not None]
        early = 0 if side else 3
        assert parts.count(early) >= 2 and set(parts[parts.count(early) :]) in ({1}, {2})


@by_split
def test_without_a_clock_shots_are_random(split):
    data = replace(random_interactions(users=40, items=40, rows=900), timestamp=None)
    ordered = replace(data, order=np.arange(900) % 37)
    plain, other = (split_of(cold(split, rows, shots=2)) for rows in (data, ordered))
    # an order is of the rows of one user: of two users it does not say who was first
    assert (plain == other) is (split == "item_cold")
    assert split_of(cold(split, data, shots=2, seed=1)) != plain


@by_split
def test_steps_tell_of_shots_and_of_what_is_dropped(split):
    steps = {step.name: step for step in cold(split, shots=2, reserve=5).steps}
    side, what = ("go to train", "items") if split == "item_cold" else ("are given", "users")
    assert steps["shots"].note == f"20 rows, the first 2 of each of 10 held-out {what}, {side}"
    assert steps["reserve"].note == f"30 rows of 10 held-out {what} dropped: neither shots nor tested"
    assert ("given" in steps) == (split == "user_cold")
    assert steps["reserve"].rows == sum(steps[name].rows for name in ("train", "val", "test", "given") if name in steps)
    assert not {"shots", "reserve"} & {step.name for step in cold(split).steps}
    data = replace(random_interactions(users=40, items=40, rows=900), timestamp=None)
    [told] = [step.note for step in cold(split, data, shots=2, positive=3).steps if step.name == "shots"]
    low = "and the lower ratings before them"
    assert told.endswith(f"rows, 2 random ones of each of 10 held-out {what} {low}, {side}")


@by_split
def test_who_is_too_short_is_not_held_out(split):
    side = COLD[split]
    long = [(f"u{n}", f"i{m}") for n in range(12) for m in range(12)]
    short = [(f"s{n}", "i0") if side == 0 else ("u0", f"s{n}") for n in range(60)]
    prepared = cold(split, interactions([*long, *short]), val=2, test=3, shots=1)
    parts = {}
    for pair, part in split_of(prepared).items():
        parts.setdefault(pair[side], set()).add(part)
    assert all(parts[f"s{n}"] == {0} for n in range(60))
    assert sum(2 in found for found in parts.values()) == 3 and sum(1 in found for found in parts.values()) == 2
    with pytest.raises(InputError, match=r"leave none of 12 (items|users) with more than 1 rows for train"):
        cold(split, interactions([*long, *short]), val=6, test=6, shots=1)


def test_users_who_are_held_out_need_no_train_rows_and_come_last():
    prepared = cold("user_cold", shots=3)
    train, known = (prepared.known(*splits).degree for splits in (["train"], ["train", "val", "test", "given"]))
    assert (train[:30] > 0).all() and (train[30:] == 0).all() and (known > 3).all()
    assert "users without train rows" not in {step.name for step in prepared.steps}
    rows = prepared.interactions
    place = rows.user.astype(np.int64) * rows.num_items + rows.item
    assert (np.diff(place) > 0).all()
    ids = prepared.users["user_id"].tolist()
    assert ids[:30] == sorted(ids[:30]) and ids[30:] == sorted(ids[30:]) and ids != sorted(ids)
    liked = prepare(Memory(random_interactions()), Recipe(split="user_cold", positive=5, val=0.1, test=0.2))
    assert (
        (liked.csr("train").degree > 0).sum()
        < len(liked.users)
        == (liked.known("train", "val", "test").degree > 0).sum()
    )


def test_held_out_rows_of_items_that_only_the_new_know_are_dropped_unless_kept():
    data = join(
        replace(random_interactions(users=40, items=40, rows=900), split=np.zeros(900, np.int8)),
        interactions([(f"u{n:03}", f"own{n}") for n in range(40)], split=[0] * 40, rating=[5] * 40, timestamp=[1] * 40),
    )
    dropped, kept = (cold("user_cold", data, shots=1, unseen_items=unseen) for unseen in ("drop", "keep"))
    assert len(kept.items) == len(dropped.items) + 10 == 80
    notes = [next(step.note for step in one.steps if step.name == "items unseen in train") for one in (dropped, kept)]
    assert notes == ["10 rows of 10 items dropped", "10 rows of 10 items kept"]
    # the oldest row of each is the one that is dropped: what is given is the first of the others
    assert [int(one.known("given").degree.sum()) for one in (dropped, kept)] == [10, 10]


@by_split
def test_what_is_known_of_the_new_makes_another_fingerprint(split):
    found = {(k, r): cold(split, shots=k, reserve=r).fingerprint for k, r in ((0, 0), (0, 5), (2, 0), (2, 5), (5, 5))}
    assert len(set(found.values())) == 5


def test_items_that_no_table_describes_can_be_dropped():
    data = interactions([("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("c", "z")], rating=[1, 2, 3, 4, 5])
    items = pd.DataFrame({"title": ["Ex", "Why"]}, index=["y", "x"])
    recipe = Recipe(split="random", val=0, test=0, orphans="drop")
    prepared = prepare(Memory(data, items), recipe)
    assert prepared.items["item_id"].tolist() == ["x", "y"] and prepared.users["user_id"].tolist() == ["a", "b"]
    assert [(step.name, step.rows) for step in prepared.steps][:2] == [("read", 5), ("orphans", 3)]
    assert len(prepare(Memory(data, items), replace(recipe, orphans="keep")).items) == 3
    with pytest.raises(InputError, match="orphans: drop was given, but this data set has no table of items"):
        prepare(Memory(data), recipe)
