"""Splits of several domains: what is tested, and what a user's other domains may tell of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.sources import open_source
from recsys_lightning.errors import InputError
from tests.data.memory import Memory, interactions, random_interactions

TRAIN, VAL, TEST = 0, 1, 2
DOMAINS = ("book", "movie", "song")
LAST = Recipe(split="leave_last_out", val=1, test=1)
COLD = Recipe(split="target_cold", target="movie", val=4, test=6)
seeds = st.integers(0, 10**6)
time_lines = st.sampled_from(["timestamp", "order", "ties", "none"])


def world(seed: int = 0, line: str = "timestamp", domains: tuple[str, ...] = DOMAINS[:2], **sizes: int) -> Interactions:
    """Random rows of items that are dealt to domains by their number."""
    rows = random_interactions(**{"users": 40, "items": 40, "rows": 700, "seed": seed, **sizes})
    number = np.array([int(name[1:]) for name in rows.item_ids.to_pylist()])
    rows = replace(rows, domain=(number % len(domains)).astype(np.int8), domains=domains)
    if line == "timestamp":
        return rows
    order = None if line == "none" else rows.timestamp // 3600 // (60 if line == "ties" else 1)  # type: ignore[operator]
    return replace(rows, timestamp=None, order=order)


def table(prepared: Prepared) -> dict[tuple[str, str], tuple[int, int, str]]:
    """{(raw user, raw item): (split, time, domain)}"""
    rows = prepared.interactions
    users, items = prepared.users["user_id"], prepared.items["item_id"]
    time = np.zeros(len(rows), int) if rows.time is None else rows.time
    assert rows.split is not None
    names = ["all"] * len(items) if rows.domain is None else [rows.domains[code] for code in rows.domain]
    return {
        (users[u], items[i]): (int(s), int(t), names[i])
        for u, i, s, t in zip(rows.user, rows.item, rows.split, time, strict=True)
    }


def held_out(prepared: Prepared, *splits: int) -> set[tuple[str, str, int]]:
    return {(*pair, row[0]) for pair, row in table(prepared).items() if row[0] in (splits or (VAL, TEST))}


def named(prepared: Prepared) -> dict[str, str]:
    return {step.name: step.note for step in prepared.steps}


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["timestamp", "order", "ties"]), st.booleans(), st.sampled_from([LAST, COLD]))
def test_no_train_row_of_a_user_is_later_than_what_is_held_out(seed: int, line: str, shares: bool, of: Recipe) -> None:
    recipe = replace(of, val=0.2, test=0.1) if shares else of
    found = table(prepare(Memory(world(seed, line, DOMAINS)), recipe))
    first: dict[str, int] = {}
    for (user, _), (part, time, _) in found.items():
        if part in (VAL, TEST):
            first[user] = min(time, first.get(user, time))
    assert len(first) > 5
    assert all(time <= first[user] for (user, _), (part, time, _) in found.items() if part == TRAIN and user in first)


@settings(max_examples=30, deadline=None)
@given(seeds, time_lines, st.sampled_from([LAST, COLD, replace(COLD, shots=2), Recipe(split="random")]), st.booleans())
def test_any_order_of_rows_and_ids_gives_the_same_data(seed: int, line: str, recipe: Recipe, only: bool) -> None:
    if line == "none" and recipe.split == "leave_last_out":
        return
    recipe = replace(recipe, only="book") if only else recipe
    data, random = world(seed, line), np.random.default_rng(seed)
    ids, names = random.permutation(data.num_items), random.permutation(2)
    shuffled = data.take(random.permutation(len(data)))
    assert data.domain is not None
    shuffled = replace(
        shuffled, item=np.argsort(ids).astype(np.int32)[shuffled.item], item_ids=data.item_ids.take(ids),
        domain=data.domain[ids],
    )  # fmt: skip
    one, other = prepare(Memory(data), recipe), prepare(Memory(shuffled), recipe)
    assert one.fingerprint == other.fingerprint and one.steps == other.steps
    swapped = replace(shuffled, domain=names[shuffled.domain].astype(np.int8), domains=tuple(
        np.array(DOMAINS)[np.argsort(names)].tolist()
    ))  # fmt: skip
    third = prepare(Memory(swapped), recipe)
    assert table(third) == table(one)  # nor do the places of the domains matter


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([(1, 1), (2, 1), (0.2, 0.3), (0, 1)]))
def test_the_last_rows_of_each_user_in_each_domain_are_held_out(seed: int, sizes: tuple[float, float]) -> None:
    recipe = replace(LAST, val=sizes[0], test=sizes[1], unseen_items="keep")
    joint = held_out(prepare(Memory(world(seed)), replace(recipe, later_rows="keep")))
    alone = set()
    for name in DOMAINS[:2]:
        data = world(seed)
        assert data.domain is not None
        own = data.domain[data.item] == data.domains.index(name)
        alone |= held_out(prepare(Memory(replace(data.take(own), domain=None, domains=())), recipe))
    assert joint == alone and joint
    cut = prepare(Memory(world(seed)), recipe)
    assert held_out(cut) <= joint  # but for users of whom the cut leaves nothing
    left = set(cut.users["user_id"])
    assert {row for row in joint if row[0] in left} == held_out(cut)


def test_random_rows_are_held_out_of_each_user_in_each_domain() -> None:
    pairs = [("u", f"b{n}") for n in range(10)] + [("u", f"m{n}") for n in range(40)] + [("v", "b0"), ("v", "m0")]
    domain = [0 if item.startswith("b") else 1 for item in dict.fromkeys(item for _, item in pairs)]
    data = replace(interactions(pairs), domain=np.array(domain, np.int8), domains=DOMAINS[:2])
    prepared = prepare(Memory(data), Recipe(split="random", val=0.1, test=0.2, unseen_items="keep"))
    found = Counter((part, item[0]) for (_, item), (part, _, _) in table(prepared).items())
    assert found == {(0, "b"): 8, (1, "b"): 1, (2, "b"): 2, (0, "m"): 29, (1, "m"): 4, (2, "m"): 8}
    assert prepared.split == "random, val 0.1, test 0.2 in each domain"
    assert "joint time cut" not in named(prepared)


def test_the_joint_cut_drops_what_is_later_and_counts_it() -> None:
    pairs = [("u", f"b{n}") for n in range(4)] + [("u", f"m{n}") for n in range(4)] + [("v", f"b{n}") for n in range(4)]
    pairs += [("v", "m0"), ("v", "m1")]
    domain = np.array([0] * 4 + [1] * 4, np.int8)
    data = replace(
        interactions(pairs, order=[0, 1, 2, 3, 2, 4, 5, 6, 0, 1, 2, 3, 1, 4]), domain=domain, domains=DOMAINS[:2]
    )
    prepared = prepare(Memory(data), replace(LAST, unseen_items="keep"))
    parts = {pair: row[0] for pair, row in table(prepared).items()}
    # m1 of u at 4 is later than b2 of u at 2, which is val; m0 at 2 is not later. m1 of v at 4 is later than b2 of v
    assert ("u", "m1") not in parts and ("v", "m1") not in parts
    assert parts["u", "m0"] == parts["v", "m0"] == TRAIN
    assert parts["u", "m3"] == TEST and parts["u", "m2"] == VAL and parts["u", "b2"] == parts["v", "b2"] == VAL
    note = named(prepared)["joint time cut"]
    assert note == "2 train rows of 2 users dropped: later than what is held out of them"
    kept = prepare(Memory(data), replace(LAST, unseen_items="keep", later_rows="keep"))
    assert len(kept.interactions) == len(data) and "joint time cut" not in named(kept)
    assert kept.split == "leave_last_out, val 1, test 1 in each domain, later rows kept"
    assert kept.fingerprint != prepared.fingerprint


@settings(max_examples=15, deadline=None)
@given(seeds, time_lines, st.sampled_from([None, 2.0]), st.sampled_from(["drop", "keep"]))
def test_the_same_rows_are_tested_for_all_shots(seed: int, line: str, positive: float | None, later: Any) -> None:
    data = world(seed, line, DOMAINS, users=30, rows=800)
    found: dict[Any, Prepared] = {}
    for shots in (0, 1, 2, 5, "all"):
        recipe = replace(COLD, val=3, test=5, shots=shots, reserve=5, positive=positive, later_rows=later)
        found[shots] = prepare(Memory(data), recipe)
    rows = held_out(found[0])
    assert all(held_out(prepared) == rows for prepared in found.values())
    assert all(prepared.items["item_id"].tolist() == found[0].items["item_id"].tolist() for prepared in found.values())
    assert len({prepared.fingerprint for prepared in found.values()}) == len(found)
    users = {user for user, _, _ in rows}
    own = {
        shots: {pair for pair, row in table(prepared).items() if pair[0] in users and row[2] == "movie"}
        for shots, prepared in found.items()
    }
    assert {pair[0] for pair in own[0]} == users and len(own[0]) == len(rows) == len(users)
    assert own[0] < own[1] < own[2] < own[5] <= own["all"]
    elsewhere = [
        {pair: row for pair, row in table(prepared).items() if row[2] != "movie" or pair[0] not in users}
        for prepared in found.values()
    ]
    assert all(rest == elsewhere[0] for rest in elsewhere)  # what else train knows is the same, too


@settings(max_examples=30, deadline=None)
@given(
    seeds, st.sampled_from(["timestamp", "order", "ties"]), st.sampled_from([None, 3.0]), st.sampled_from([0, 2, "all"])
)
def test_the_last_positive_in_the_target_is_tested(seed: int, line: str, positive: float | None, shots: Any) -> None:
    data = world(seed, line)
    assert data.domain is not None and data.rating is not None and data.time is not None
    prepared = prepare(Memory(data), replace(COLD, shots=shots, reserve=2, positive=positive, unseen_items="keep"))
    users, items = data.user_ids.to_pylist(), data.item_ids.to_pylist()
    raw: dict[str, list[tuple[int, str, bool]]] = {}
    for u, i, t, r in zip(data.user, data.item, data.time, data.rating, strict=True):
        if data.domain[i] == 1:
            raw.setdefault(users[u], []).append((int(t), items[i], positive is None or r >= positive))
    parts = {pair: row[0] for pair, row in table(prepared).items()}
    held = [(user, item) for user, item, _ in held_out(prepared)]
    assert len(held) == len({user for user, _ in held}) == 10
    for user, item in held:
        own = sorted(raw[user])
        liked = [name for _, name, good in own if good]
        assert item == liked[-1] and len(liked) > 2
        before = own[: [name for _, name, _ in own].index(item)]
        number = len(liked) - 1 if shots == "all" else shots
        count, expected = 0, set()
        for _, name, good in before:
            if count < number or (shots == "all" and count <= number):
                expected.add(name)
            count += good
        assert {name for (who, name), part in parts.items() if who == user and part == TRAIN} & {
            name for _, name, _ in own
        } == expected


def test_users_who_are_not_held_out_keep_all_and_others_lose_what_is_later() -> None:
    data = world()
    prepared, kept = (
        prepare(Memory(data), replace(COLD, unseen_items="keep", later_rows=later)) for later in ("drop", "keep")
    )
    held, raw = {user for user, _, _ in held_out(prepared)}, Counter(np.array(data.user_ids.to_pylist())[data.user])
    train = Counter(user for user, _, part in held_out(prepared, TRAIN))
    assert all(train[user] == raw[user] for user in raw if user not in held)
    lost = len(kept.interactions) - len(prepared.interactions)
    note = named(prepared)["joint time cut"]
    assert note.startswith(f"{lost} train rows of ") and lost > 3 and "joint time cut" not in named(kept)
    assert named(prepared)["rows in movie"].endswith("of 10 users new in movie dropped: neither shots nor tested")
    assert prepared.split == "target_cold, val 4, test 6, new in movie"


def test_steps_tell_of_shots() -> None:
    few = named(prepare(Memory(world()), replace(COLD, shots=2, unseen_items="keep")))
    assert few["shots"] == "20 rows, the first 2 of each of 10 users new in movie, go to train"
    data = world(line="none")
    told = named(prepare(Memory(data), replace(COLD, shots=2, positive=3, unseen_items="keep")))["shots"]
    assert "rows, 2 random ones of each of 10 users new in movie and the lower ratings before them, go" in told
    whole = named(prepare(Memory(data), replace(COLD, shots="all", unseen_items="keep")))
    assert "rows, all of each of 10 users new in movie, go to train" in whole["shots"] and "rows in movie" not in whole


def test_who_is_in_one_domain_only_is_not_held_out() -> None:
    both = [(f"b{n}", item) for n in range(6) for item in ("x0", "x1", "y0", "y1", "y2")]
    late = [(f"l{n}", item) for n in range(6) for item in ("y0", "y1", "y2", "x0")]
    alone = [(f"a{n}", item) for n in range(6) for item in ("y0", "y1", "y2")]
    pairs = [*both, *late, *alone]
    order = [*range(5)] * 6 + [*range(4)] * 6 + [*range(3)] * 6
    domain = np.array([0, 0, 1, 1, 1], np.int8)
    data = replace(interactions(pairs, order=order), domain=domain, domains=DOMAINS[:2])
    prepared = prepare(Memory(data), replace(COLD, val=2, test=3))
    assert {user[0] for user, _, _ in held_out(prepared)} == {"b"}  # late ones have nothing before the row to test
    told = r"leave none of 6 users with rows in movie and, not later than the last of these, elsewhere for train"
    with pytest.raises(InputError, match=told):
        prepare(Memory(data), replace(COLD, val=3, test=3))
    with pytest.raises(InputError, match="leave none of 0 users with more than 3 rows in movie and"):
        prepare(Memory(data), replace(COLD, val=1, test=1, reserve=3))
    # later rows being kept, these can be held out as well
    assert len(held_out(prepare(Memory(data), replace(COLD, val=5, test=6, later_rows="keep")))) == 11


def test_a_tested_row_that_nobody_else_knows_is_dropped_with_what_its_user_has_there() -> None:
    both = [(f"b{n}", item) for n in range(6) for item in ("x0", "x1", "y0", "y1", f"own{n}")]
    domain = np.array([0, 0, *[1] * 8], np.int8)
    data = replace(interactions(both, order=[*range(5)] * 6), domain=domain, domains=DOMAINS[:2])
    prepared = prepare(Memory(data), replace(COLD, val=1, test=3, shots="all"))
    assert not held_out(prepared) and len(prepared.users) == 6
    assert len(prepared.interactions) == 6 * 2 + 2 * 3  # two users are not held out
    assert named(prepared)["items unseen in train"] == "4 rows of 4 items dropped"
    assert len(held_out(prepare(Memory(data), replace(COLD, val=1, test=3, shots="all", unseen_items="keep")))) == 4


ONLY = [
    LAST,
    replace(LAST, later_rows="keep"),
    replace(LAST, positive=3),
    replace(COLD, shots=2, reserve=3),
    Recipe(split="random"),
    Recipe(split="user_cold", val=0.1, test=0.2, shots=2),
    Recipe(split="item_cold", val=0.1, test=0.2),
]


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([*ONLY, Recipe(split="global_time")]), st.sampled_from(DOMAINS[:2]))
def test_one_domain_alone_is_tested_on_the_rows_of_the_joint_run(seed: int, recipe: Recipe, name: str) -> None:
    data = world(seed, users=30, rows=250)
    joint, alone = prepare(Memory(data), recipe), prepare(Memory(data), replace(recipe, only=name))
    assert alone.domains == () and alone.domain is None and joint.domains == DOMAINS[:2]
    assert alone.fingerprint != joint.fingerprint and alone.split.endswith(f", only {name}")
    whole = {pair: row[:2] for pair, row in table(joint).items() if row[2] == name}
    found, users = {pair: row[:2] for pair, row in table(alone).items()}, set(alone.users["user_id"])
    assert found == {pair: row for pair, row in whole.items() if pair[0] in users}
    trained = {pair[0] for pair, row in whole.items() if row[0] == TRAIN}
    if recipe.positive is None and recipe.split != "user_cold":
        assert users == trained
    assert f"only {name}" in named(alone)


def test_what_one_domain_loses_is_told() -> None:
    data = world(users=30, rows=250)
    joint = table(prepare(Memory(data), COLD))
    alone = prepare(Memory(data), replace(COLD, only="movie"))
    assert not held_out(alone)  # whom train does not know there, a model of that domain cannot serve
    elsewhere, lost = sum(row[2] == "book" for row in joint.values()), len(held_out(prepare(Memory(data), COLD)))
    told = f"{elsewhere} rows of other domains dropped, and {lost} of {lost} users without train rows here"
    assert named(alone)["only movie"] == told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"split": "target_cold", "target": "song"},
            r"target is 'song', and these data have the domains book, movie\.",
        ),
        ({"only": "films"}, r"recipe\.only is 'films', and these data have the domains book, movie\. Choose one"),
    ],
)
def test_domains_that_are_not_there_are_refused_with_those_that_are(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(Memory(world()), Recipe(**options))


@pytest.mark.parametrize("options", [{"split": "target_cold", "target": "movie"}, {"only": "movie"}])
@pytest.mark.parametrize("domains", [(), ("movie",)])
def test_one_domain_has_no_domains_to_choose_from(options: dict[str, Any], domains: tuple[str, ...]) -> None:
    rows = random_interactions()
    data = replace(rows, domain=np.zeros(rows.num_items, np.int8) if domains else None, domains=domains)
    with pytest.raises(InputError, match=r"these data have one domain\. Leave (target|only) out"):
        prepare(Memory(data), Recipe(**options))


@pytest.mark.parametrize("name", ["worst", "sampled_500", "sampled_", "video games", "a/b", "", "ndcg-10"])
def test_names_that_no_figure_can_bear_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="A domain cannot be called"):
        prepare(Memory(replace(world(), domains=("book", name))), LAST)
    rows = random_interactions()
    one = replace(rows, domain=np.zeros(rows.num_items, np.int8), domains=(name,))
    prepare(Memory(one), LAST)  # of one domain no figure bears the name


def test_domains_without_train_rows_are_named() -> None:
    with pytest.raises(InputError, match=r"(?s)The domain song has no train rows, so .*\n.* rows, .*\nLoosen the filt"):
        prepare(Memory(replace(world(), domains=DOMAINS)), LAST)
    data = world()
    assert data.domain is not None
    rating = np.where(data.domain[data.item] == 1, 1, 5).astype(np.float32)
    with pytest.raises(InputError, match="The domain movie has no train rows rated 4 or higher"):
        prepare(Memory(replace(data, rating=rating)), replace(LAST, positive=4))
    with pytest.raises(InputError, match="The domain movie has no train rows"):
        prepare(Memory(replace(data, rating=rating)), replace(LAST, min_rating=4, only="book"))


@pytest.mark.slow
def test_amazon_in_two_domains(real_data: Path) -> None:
    source = open_source("amazon-movie-book", real_data)
    prepared = prepare(source, LAST)
    assert named(prepared)["joint time cut"].startswith("21,546 train rows of 5,677 users dropped")
    found = table(prepared)
    first: dict[str, int] = {}
    for (user, _), (part, time, _) in found.items():
        if part in (VAL, TEST):
            first[user] = min(time, first.get(user, time))
    assert all(time <= first.get(user, time) for (user, _), (part, time, _) in found.items() if part == TRAIN)
    alone = prepare(source, replace(LAST, only="book"))
    whole = {pair: row[:2] for pair, row in found.items() if row[2] == "book"}
    users = set(alone.users["user_id"])
    assert {pair: row[:2] for pair, row in table(alone).items()} == {p: r for p, r in whole.items() if p[0] in users}
    curve = [
        held_out(prepare(source, Recipe(split="target_cold", target="book", shots=shots, reserve=5)))  # type: ignore[arg-type]
        for shots in (0, 5, "all")
    ]
    assert curve[0] == curve[1] == curve[2] and len(curve[0]) > 400


@pytest.mark.slow
def test_amazon_without_time_is_split_at_random(real_data: Path) -> None:
    source = open_source("amazon-movie-book-dense", real_data)
    prepared = prepare(source, Recipe(split="random"))
    rows = Counter((part, name) for part, _, name in table(prepared).values())
    assert rows == {
        (0, "book"): 25_620, (1, "book"): 2_942, (2, "book"): 2_942,
        (0, "movie"): 50_062, (1, "movie"): 6_011, (2, "movie"): 6_011,
    }  # fmt: skip
    with pytest.raises(InputError, match="say split: random"):
        prepare(source, LAST)
