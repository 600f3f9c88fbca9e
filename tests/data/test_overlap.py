"""Who is in which domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.overlap import overlap, section
from recsys_lightning.data.prepare import Recipe, prepare
from tests.data.memory import Memory, interactions, random_interactions

PAIRS = [("a", "x"), ("a", "y"), ("a", "x"), ("b", "y"), ("b", "z"), ("c", "z"), ("d", "z")]


@pytest.mark.parametrize(
    ("pairs", "rows", "users", "items", "sets"),
    [
        (PAIRS, (4, 3), (2, 3), (2, 1), {("movie",): 2, ("book",): 1, ("book", "movie"): 1}),
        (PAIRS[:3], (3, 0), (1, 0), (2, 0), {("book",): 1}),
    ],
)
def test_counts(
    pairs: list[tuple[str, str]],
    rows: tuple[int, int],
    users: tuple[int, int],
    items: tuple[int, int],
    sets: dict[tuple[str, ...], int],
) -> None:
    whole = replace(interactions(PAIRS), domain=np.array([0, 0, 1], np.int8), domains=("book", "movie"))
    found = overlap(whole.take(np.arange(len(pairs))))
    assert (found.rows, found.users, found.items, found.sets) == (rows, users, items, sets)
    assert found.everybody == sum(sets.values()) and found.shared == sets.get(("book", "movie"), 0)
    assert found.density == pytest.approx([r / max(u * i, 1) for r, u, i in zip(rows, users, items, strict=True)])
    assert list(found.sets.values()) == sorted(sets.values(), reverse=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_every_user_is_in_one_set(seed: int, number: int) -> None:
    rows = random_interactions(seed=seed, rows=120)
    random = np.random.default_rng(seed)
    names = tuple(f"d{n}" for n in range(number))
    rows = replace(rows, domain=random.integers(0, number, rows.num_items).astype(np.int8), domains=names)
    assert rows.domain is not None
    found = overlap(rows)
    member: dict[int, set[str]] = {}
    for user, item in zip(rows.user.tolist(), rows.item.tolist(), strict=True):
        member.setdefault(user, set()).add(names[rows.domain[item]])
    expected: dict[frozenset[str], int] = {}
    for own in member.values():
        expected[frozenset(own)] = expected.get(frozenset(own), 0) + 1
    assert {frozenset(kind): users for kind, users in found.sets.items()} == expected
    words = found.in_words()
    assert len(words) <= 11 and sum(users for _, users in words) == len(member)
    assert (words[-1][0] == "other sets") is (len(expected) > 10)


def test_the_section_tells_of_train_and_of_who_is_new() -> None:
    pairs = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "z"), ("b", "w"), ("c", "x"), ("c", "z")]
    rows = replace(
        interactions(pairs, split=[0, 0, 2, 0, 0, 2, 0, 1]),
        domain=np.array([0, 0, 1, 1], np.int8),
        domains=("book", "movie"),
    )
    prepared = prepare(Memory(rows), Recipe(split="official", unseen_items="keep"))
    text = "\n".join(section(prepared))
    assert "| book | 2 | 3 | 4 | 66.6667% | 0 | 0 | 0 | 0 |" in text
    assert "| movie | 1 | 1 | 1 | 100.0000% | 1 | 2 | 2 | 1 |" in text  # a is tested there and has no train row
    assert "| book only | 2 | 66.7% |" in text and "| book and movie | 1 | 33.3% |" in text
    assert text.endswith("1 of 3 users (33.3%) have train rows in more than one domain.")
    assert section(prepare(Memory(random_interactions()), Recipe())) == []
