from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.errors import InputError
from tests.data.memory import Memory, interactions, random_interactions

ITEM_NAMES = [f"i{number:03}" for number in range(30)]
ITEMS = pd.DataFrame(
    {
        "genres": [[f"g{number % 4}"] for number in range(30)],
        "directors": [[f"d{number}"] if number % 3 else [] for number in range(30)],
        "cast": [[f"a{number}", f"a{number // 2}"] for number in range(30)],
        "year": [float(1980 + number) if number % 5 else float("nan") for number in range(30)],
        "title": [f"Film {number}" for number in range(30)],
        "blank": [[] for _ in range(30)],
    },
    index=ITEM_NAMES,
)


class Films(Memory):
    """Films with genres, directors and, on request, actors."""

    attributes: ClassVar[dict[str, str]] = {
        "genres": "genre",
        "directors": "director",
        "cast": "actor",
        "blank": "studio",
    }
    on_request = ("actor", "studio")


def films(rows: Interactions | None = None, recipe: Recipe = Recipe(split="random"), items: pd.DataFrame = ITEMS):  # type: ignore[no-untyped-def]
    return prepare(Films(random_interactions() if rows is None else rows, items), recipe)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    made: Prepared = films()
    return made


def files(folder: Path) -> dict[str, Any]:
    """Options of a recipe that name a hierarchy and vectors in this folder."""
    lines = ["value,parent", *(f"g{number},broad{number % 2}" for number in range(4)), "broad0,all"]
    (folder / "genres.csv").write_text("\n".join(lines))
    rows = [[float(number), 1.0, -2.0] for number in range(20)]
    pq.write_table(pa.table({"item_id": ITEM_NAMES[:20], "vector": rows}), folder / "vectors.parquet")
    return {"parents": {"genre": "genres.csv"}, "vectors": "vectors.parquet"}


def kinds(prepared: Prepared, recipe: GraphRecipe) -> list[str]:
    return list(prepared.typed_graph(recipe, Path()).attributes)


def test_attributes_are_the_default_ones_or_those_asked_for(prepared: Prepared) -> None:
    assert kinds(prepared, PLAIN) == ["genre", "director"]
    assert kinds(prepared, GraphRecipe(attributes=[])) == []
    assert kinds(prepared, GraphRecipe(attributes=["actor", "genre"])) == ["actor", "genre"]
    assert prepared.schema() == prepared.schema(graph=prepared.typed_graph(PLAIN, Path()))
    bare = prepared.typed_graph(GraphRecipe(attributes=[]), Path())
    assert set(prepared.schema(graph=bare).num_nodes) == {"user", "movie"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (GraphRecipe(attributes=["genr"]), "names genr, and memory has genre, director, actor, studio. Did you mean g"),
        (GraphRecipe(attributes=["genres"]), "names genres, and memory has genre"),  # node types, not columns
        (GraphRecipe(attributes=["studio"]), "names studio, but no item of train has one. Leave studio out"),
        (GraphRecipe(attributes=["actor"], min_items=99), "none has 99 items of train.*a smaller data.graph.min_items"),
        (GraphRecipe(parents={"actor": "x.csv"}), "a hierarchy of actor, which is no node type.*has genre, director"),
        (GraphRecipe(weight="rating", attributes=["movie"]), "names movie"),
    ],
)
def test_what_the_data_lack_is_said(prepared: Prepared, recipe: GraphRecipe, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared.typed_graph(recipe, Path())


def test_data_without_attributes_say_so() -> None:
    class Bare(Memory):
        attributes: ClassVar[dict[str, str]] = {}

    with pytest.raises(InputError, match="names genre, and memory has no attributes that could be nodes"):
        prepare(Bare(random_interactions()), Recipe()).typed_graph(GraphRecipe(attributes=["genre"]), Path())


@pytest.mark.parametrize("kind", ["user", "movie"])
def test_attributes_cannot_be_users_or_items(kind: str) -> None:
    source = Films(random_interactions(), ITEMS)
    source.attributes = {"genres": kind}  # type: ignore[misc]
    with pytest.raises(InputError, match=f"make nodes of type {kind}, which the users or items have already"):
        prepare(source, Recipe()).schema()


def test_rare_values_are_left_out_by_the_items_of_train() -> None:
    pairs = [("u", name) for name in "abc"] + [("v", "a"), ("v", "d")]
    items = pd.DataFrame({"genres": [["x", "y"], ["x"], ["z"], ["z"]], "cast": [[], [], [], []]}, index=list("abcd"))
    data = films(
        interactions(pairs, split=[0, 0, 0, 0, 2]), Recipe(split="official", val=0, unseen_items="keep"), items
    )
    graph = data.typed_graph(GraphRecipe(attributes=["genre"], min_items=2), Path())
    genre = graph.attributes["genre"]
    assert genre.values == ("x",)  # z has two items, one of them in test only
    assert genre.item.tolist() == [0, 1] and genre.value.tolist() == [0, 0]
    assert data.views("train", graph=graph).genres.shape == (4, 3)  # what diversity is measured by stays whole


def test_genres_of_the_views_do_not_follow_the_graph(prepared: Prepared) -> None:
    plain = prepared.views("train").genres
    assert plain is not None
    for recipe in (GraphRecipe(attributes=[]), GraphRecipe(shuffle=1), GraphRecipe(attributes=["actor"])):
        views = prepared.views("train", graph=prepared.typed_graph(recipe, Path()))
        assert views.genres is not None and torch.equal(views.genres, plain)


def test_features_and_vectors_stand_side_by_side(prepared: Prepared, tmp_path: Path) -> None:
    recipe = GraphRecipe(features=["year"], **files(tmp_path))
    graph = prepared.typed_graph(recipe, tmp_path)
    assert graph.features is not None and graph.features.shape == (prepared.num_items, 1 + 1 + 3)
    assert prepared.schema(graph=graph).num_features == 5
    number = prepared.items["item_id"].str.removeprefix("i").astype(int).to_numpy()
    assert (graph.features[:, 1] == (number % 5 == 0)).all()
    assert (graph.features[number >= 20, 2:] == 0).all() and (graph.features[number < 20, 3] > 0).all()
    x = prepared.views("train", graph=graph).graph["movie"].x
    assert torch.equal(x, torch.from_numpy(graph.features))


def test_context_is_made_of_the_items_of_train_and_reaches_views_and_schema() -> None:
    data = films(recipe=Recipe(split="item_cold", val=0.1, test=0.2))
    graph = data.typed_graph(GraphRecipe(context=["year"], buckets=4), Path())
    year = data.items["year"].to_numpy()
    assert graph.context is not None and graph.context_sizes == {"year": 5}
    assert ((graph.context[:, 0] == 0) == np.isnan(year)).all()
    seen = np.bincount(graph.context[data.in_train, 0], minlength=5)[1:]
    assert seen.max() - seen.min() <= 1
    assert torch.equal(data.views("train", graph=graph).graph["movie"].context, torch.from_numpy(graph.context))
    assert data.schema(graph=graph).context == {"year": 5} and data.schema().context == {}
    with pytest.raises(InputError, match=r"data\.graph\.context names yaer.*there are year\. Did you mean year"):
        data.typed_graph(GraphRecipe(context=["yaer"]), Path())


def test_a_hierarchy_adds_nodes_behind_the_others(prepared: Prepared, tmp_path: Path) -> None:
    graph = prepared.typed_graph(GraphRecipe(**files(tmp_path)), tmp_path)
    assert graph.attributes["genre"].values == ("g0", "g1", "g2", "g3", "all", "broad0", "broad1")
    schema = prepared.schema(graph=graph)
    assert schema.num_nodes["genre"] == 7 and ("genre", "is_a", "genre") in schema.edge_types
    built = prepared.views("train", graph=graph).graph
    assert built["genre", "is_a", "genre"].edge_index.tolist() == [[0, 1, 2, 3, 5], [5, 6, 5, 6, 4]]


def test_shuffling_keeps_degrees_and_moves_values(prepared: Prepared, tmp_path: Path) -> None:
    kinds = ["genre", "director", "actor"]
    options = {"attributes": kinds, "features": ["year"], "context": ["year"], **files(tmp_path)}
    plain, one, same, other = (
        prepared.typed_graph(GraphRecipe(**options, shuffle=seed), tmp_path) for seed in (None, 1, 1, 2)
    )
    assert one.digest == same.digest
    assert len({plain.digest, one.digest, other.digest}) == 3
    assert one.num_nodes == plain.num_nodes and one.edge_types == plain.edge_types
    assert plain.features is not None and one.features is not None
    wrong = rows_of(plain), rows_of(one)
    assert sorted(wrong[0]) == sorted(wrong[1])  # an item gets all that another one has
    assert np.mean([a == b for a, b in zip(*wrong, strict=True)]) < 0.3
    for kind, attribute in one.attributes.items():
        assert (np.bincount(attribute.value) == np.bincount(plain.attributes[kind].value)).all()
        order = attribute.item * len(attribute.values) + attribute.value
        assert (np.diff(order) > 0).all()


def rows_of(graph: Any) -> list[tuple[Any, ...]]:
    """For each item its values of every kind, its features and its context."""
    values = [
        tuple(tuple(attribute.value[attribute.item == item].tolist()) for attribute in graph.attributes.values())
        for item in range(graph.num_items)
    ]
    rows = zip(values, graph.features.tolist(), graph.context.tolist(), strict=True)
    return [(*own, tuple(row), tuple(codes)) for own, row, codes in rows]


def test_cold_items_exchange_attributes_among_themselves() -> None:
    data = films(recipe=Recipe(split="item_cold", val=0.1, test=0.2))
    seen = data.csr("train").col.unique().numpy()
    plain, moved = (data.typed_graph(GraphRecipe(shuffle=seed), Path()).attributes["genre"] for seed in (None, 1))
    for own in (plain, moved):
        assert own.values == ("g0", "g1", "g2", "g3")
    known = np.isin(plain.item, seen), np.isin(moved.item, seen)
    assert (np.bincount(plain.value[known[0]]) == np.bincount(moved.value[known[1]])).all()


RECIPES: list[dict[str, Any]] = [
    {},
    {"attributes": ["actor", "genre"], "min_items": 2, "weight": "rating"},
    {"features": ["year"], "weight": "recency", "half_life": 0.5, "shuffle": 3},
    {"weight": "count", "attributes": []},
    {"context": ["year"], "buckets": 5, "shuffle": 1},
]


@settings(max_examples=15, deadline=None)
@given(st.data(), st.sampled_from(RECIPES), st.booleans())
def test_held_out_rows_change_nothing_in_the_graph(
    tmp_path_factory: pytest.TempPathFactory, data: Any, options: dict[str, Any], with_files: bool
) -> None:
    """G5: whatever lies in val and test, the graph of the train stage is the same, bit for bit."""
    folder = tmp_path_factory.mktemp("files")
    if with_files and options.get("attributes") != []:
        options = {**options, **files(folder)}
    raw = random_interactions()
    label = np.random.default_rng(0).choice([0, 0, 0, 1, 2], len(raw)).astype(np.int8)
    whole = replace(raw, split=label)
    held_out = np.flatnonzero(label)
    gone = data.draw(st.sets(st.sampled_from(held_out.tolist())))
    assert whole.rating is not None
    rating = whole.rating.copy()
    rating[held_out] = data.draw(st.sampled_from([0.5, 5.0, 1000.0]))
    fewer = replace(whole, rating=rating).take(np.setdiff1d(np.arange(len(raw)), sorted(gone)))
    found = []
    for rows in (whole, fewer):
        made = films(rows, Recipe(split="official"))
        graph = made.typed_graph(GraphRecipe(**options), folder)
        found.append((graph, made.views("train", graph=graph).graph))
    (one, first), (other, second) = found
    assert one.digest == other.digest
    assert first.node_types == second.node_types and first.edge_types == second.edge_types
    for store, same in zip(first.stores, second.stores, strict=True):
        assert set(store.keys()) == set(same.keys())
        for name, value in store.items():
            assert torch.equal(value, same[name]) if torch.is_tensor(value) else value == same[name]
