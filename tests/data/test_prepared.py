from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys_lightning.data.prepare import build, prepare
from recsys_lightning.data.prepared import Prepared, fingerprint
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.errors import InputError
from tests.data.memory import Memory, interactions
from tests.worlds import MemorySource


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return build(MemorySource(), Recipe(split="random"))


def test_splits_make_disjoint_tables_that_add_up(prepared: Prepared) -> None:
    parts = [prepared.csr(name) for name in ("train", "val", "test")]
    assert (
        sum(len(part.col) for part in parts)
        == len(prepared.interactions)
        == len(prepared.csr(*("train", "val", "test")).col)
    )
    assert int(prepared.mask("train").sum()) == len(parts[0].col)
    for part in parts:
        inside = part.row[1:] == part.row[:-1]
        assert (part.col[1:] > part.col[:-1])[inside].all()


def test_an_unknown_split_is_named(prepared: Prepared) -> None:
    with pytest.raises(ValueError, match="no such split: holdout"):
        prepared.csr("holdout")


def test_the_schema_counts_nodes_and_names_edges(prepared: Prepared) -> None:
    schema = prepared.schema(history_length=7)
    assert (schema.num_users, schema.num_items, schema.history_length) == (60, 40, 7)
    assert schema.num_nodes["genre"] == 3
    assert {("user", "rates", "movie"), ("movie", "rev_rates", "user"), ("genre", "rev_has_genre", "movie")} <= set(
        schema.edge_types
    )
    graph = prepared.views("train").graph
    assert {kind: graph[kind].num_nodes for kind in graph.node_types} == schema.num_nodes
    assert set(graph.edge_types) == set(schema.edge_types)


def test_genres_are_those_of_the_table(prepared: Prepared) -> None:
    genres = prepared.views("train").genres
    assert genres is not None and genres.shape == (40, 3)
    listed = prepared.items["genres"].map(lambda names: int(names[0].removeprefix("block ")))
    assert np.array_equal(genres.argmax(1).numpy(), listed)


def test_any_change_makes_another_fingerprint(prepared: Prepared) -> None:
    rows = prepared.interactions
    assert rows.split is not None and rows.timestamp is not None
    changed_split, changed_time = rows.split.copy(), rows.timestamp.copy()
    changed_split[0], changed_time[0] = 2 - changed_split[0], changed_time[0] + 1
    others = [
        replace(rows, split=changed_split),
        replace(rows, timestamp=changed_time),
        rows.take(np.arange(1, len(rows))),
    ]
    digests = [fingerprint(one) for one in (rows, *others)]
    assert len(set(digests)) == len(digests)
    assert fingerprint(replace(rows)) == prepared.fingerprint


def test_rows_rated_low_are_known_but_no_positives() -> None:
    pairs = [("a", "x"), ("a", "z"), ("a", "y"), ("b", "y"), ("b", "x"), ("c", "x")]
    rows = interactions(pairs, rating=[5, 2, 4, 5, 1, 3], split=[0, 0, 2, 0, 2, 0])
    found = prepare(Memory(rows), Recipe(split="official", val=0, positive=4))
    assert found.num_users == 2  # c has no positive in train
    assert found.csr("train").degree.tolist() == [1, 1] and found.known("train").degree.tolist() == [2, 1]
    assert found.csr("test").degree.tolist() == [1, 0] and found.known("test").degree.tolist() == [1, 1]
    views = found.views("train")
    assert views.history.mask.sum(1).tolist() == [2, 1] and views.popularity.sum() == 2
    assert views.graph["user", "rates", views.graph.node_types[1]].num_edges == 2
    assert "2 of the rows are rated 4 or higher" in next(step.note for step in found.steps if step.name == "train")
    other = prepare(Memory(rows), Recipe(split="official", val=0, positive=3))
    assert other.num_users == 3 and other.fingerprint != found.fingerprint


def test_positives_need_ratings() -> None:
    with pytest.raises(InputError, match=r"data\.recipe\.positive is 4, and these data have no ratings"):
        prepare(Memory(interactions([("a", "x"), ("a", "y")])), Recipe(split="random", positive=4))
