from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lightning.data.edge_weights import EdgeWeights
from recsys_lightning.data.graph import TypedGraph
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.vocabulary import Attribute
from tests.data.memory import Memory, interactions
from tests.worlds import DomainSource

ITEMS = pd.DataFrame({"genres": [["b", "a", "b"], [], ["c"], ["test only"]]}, index=["x", "y", "z", "t"])
PAIRS = [("u", "x"), ("u", "y"), ("v", "x"), ("v", "z"), ("u", "z"), ("v", "t")]
SPLIT = [0, 0, 0, 0, 2, 2]
GENRES = Attribute(("a", "b", "all"), np.array([0, 0, 2]), np.array([0, 1, 1]))


def world(**recipe):
    rows = interactions(PAIRS, split=SPLIT, rating=[1, 2, 3, 4, 5, 6], timestamp=range(6))
    return prepare(Memory(rows, ITEMS), Recipe(split="official", val=0, **recipe))


def typed(**parts):
    return TypedGraph(2, 3, "movie", {"genre": GENRES}, **parts)


def test_edges_are_train_rows_and_attributes_in_both_directions():
    graph = world().views("train").graph
    assert graph.node_types == ["user", "movie", "genre"]
    assert [graph[kind].num_nodes for kind in graph.node_types] == [2, 3, 3]
    rates = graph["user", "rates", "movie"]
    assert rates.edge_index.tolist() == [[0, 0, 1, 1], [0, 1, 0, 2]]
    assert rates.rating.tolist() == [1, 2, 3, 4] and rates.time.tolist() == [0, 1, 2, 3]
    assert rates.rating.dtype == torch.float32 and rates.time.dtype == torch.int64
    assert "weight" not in rates and "x" not in graph["movie"]
    assert graph["movie", "has_genre", "genre"].edge_index.tolist() == [[0, 0, 2], [0, 1, 2]]  # sorted, no repeats
    for source, relation, target in graph.edge_types[::2]:
        reverse = graph[target, f"rev_{relation}", source]
        assert torch.equal(reverse.edge_index.flip(0), graph[source, relation, target].edge_index)
    assert torch.equal(graph["movie", "rev_rates", "user"].rating, rates.rating)


def test_weights_lie_on_both_directions():
    rows = world().interactions.take(world().mask("train"))
    graph = typed(weights=EdgeWeights("rating", 2.0)).build(rows)
    assert graph["user", "rates", "movie"].weight.tolist() == [0.5, 1, 1.5, 2]
    assert torch.equal(graph["movie", "rev_rates", "user"].weight, graph["user", "rates", "movie"].weight)


def test_rows_of_each_domain_are_edges_of_a_type_of_their_own():
    rows = world().interactions.take(world().mask("train"))
    of_domain = {"domains": ("film", "series"), "domain": np.array([1, 0, 1], np.int8)}
    one, many = (typed(weights=EdgeWeights("rating", 2.0), **parts) for parts in ({}, of_domain))
    graph, joint = many.build(rows), one.build(rows)
    assert graph.node_types == joint.node_types and many.digest != one.digest
    assert set(graph.edge_types) == set(many.edge_types)
    assert [name for source, name, _ in many.edge_types if source == "user"] == ["rates_film", "rates_series"]
    for code, name in enumerate(("film", "series")):
        own = of_domain["domain"][rows.item] == code
        for edge_type, whole in (
            (("user", f"rates_{name}", "movie"), ("user", "rates", "movie")),
            (("movie", f"rev_rates_{name}", "user"), ("movie", "rev_rates", "user")),
        ):
            assert torch.equal(graph[edge_type].edge_index, joint[whole].edge_index[:, own])
            for column in ("rating", "time", "weight"):
                assert torch.equal(graph[edge_type][column], joint[whole][column][own])


def test_prepared_data_of_several_domains_have_a_relation_with_each():
    prepared = prepare(DomainSource(), Recipe(split="random"), None)
    graph = prepared.views("train").graph
    assert prepared.schema().edge_types[:2] == (("user", "rates_movie", "item"), ("user", "rates_book", "item"))
    edges = sum(graph[kind].num_edges for kind in graph.edge_types if kind[0] == "user")
    assert edges == prepared.mask("train").sum()


def test_a_hierarchy_leads_from_child_to_parent_only():
    graph = typed(parents={"genre": np.array([[0, 1], [2, 2]])})
    built = graph.build(world().interactions.take(world().mask("train")))
    assert built["genre", "is_a", "genre"].edge_index.tolist() == [[0, 1], [2, 2]]
    assert set(built.edge_types) == set(graph.edge_types)
    assert [edge for edge in graph.edge_types if edge[0] == edge[2]] == [("genre", "is_a", "genre")]


def test_features_are_those_of_items():
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    graph = typed(features=features)
    built = graph.build(world().interactions.take(world().mask("train")))
    assert graph.num_features == 2 and torch.equal(built["movie"].x, torch.from_numpy(features))
    assert typed().num_features == 0


def test_context_is_that_of_items():
    codes = np.array([[0, 1], [2, 1], [1, 0]])
    graph = typed(context=codes, context_sizes={"year": 3, "runtime": 2})
    built = graph.build(world().interactions.take(world().mask("train")))
    assert torch.equal(built["movie"].context, torch.from_numpy(codes)) and built["movie"].context.dtype == torch.int64
    assert "context" not in typed().build(world().interactions.take(world().mask("train")))["movie"]


def test_digests_of_graphs_without_context_stay_what_they_were():
    assert typed().digest == "f2934dae17718041"  # as checkpoints hold it


def test_graph_has_the_types_of_the_schema():
    prepared = world()
    graph, schema = prepared.views("train").graph, prepared.schema()
    assert set(graph.edge_types) == set(schema.edge_types)
    assert {kind: graph[kind].num_nodes for kind in graph.node_types} == schema.num_nodes


def test_the_digest_changes_with_every_part():
    parts = {"parents": {"genre": np.array([[0], [2]])}, "features": np.zeros((3, 1), np.float32)}
    one = typed(**parts)
    others = [
        typed(),
        replace(one, attributes={"genre": replace(GENRES, item=np.array([0, 1, 2]))}),
        replace(one, attributes={"genre": replace(GENRES, value=np.array([0, 0, 1]))}),
        replace(one, attributes={"genre": replace(GENRES, values=("a", "c", "all"))}),
        replace(one, attributes={"tag": GENRES}),
        replace(one, parents={"genre": np.array([[1], [2]])}),
        replace(one, features=np.ones((3, 1), np.float32)),
        replace(one, features=np.zeros((3, 2), np.float32)),
        replace(one, context=np.zeros((3, 1), np.int64), context_sizes={"year": 2}),
        replace(one, context=np.ones((3, 1), np.int64), context_sizes={"year": 2}),
        replace(one, context=np.ones((3, 1), np.int64), context_sizes={"year": 3}),
        replace(one, context=np.ones((3, 1), np.int64), context_sizes={"runtime": 2}),
        replace(one, weights=EdgeWeights("rating")),
        replace(one, weights=EdgeWeights("recency", half_life=1)),
        replace(one, weights=EdgeWeights("recency", half_life=2)),
    ]
    assert len({graph.digest for graph in (one, *others)}) == len(others) + 1
    assert typed(**parts).digest == one.digest
    assert replace(one, weights=EdgeWeights("none", half_life=1)).digest == one.digest  # it weighs nothing


def test_the_graph_is_digested_once(monkeypatch):
    made, real = [], hashlib.blake2b
    monkeypatch.setattr(hashlib, "blake2b", lambda *given, **more: made.append(1) or real(*given, **more))
    prepared, graph = world(), typed()
    made.clear()
    schemas = [prepared.schema(graph=graph) for _ in range(3)]
    assert len(made) == 1 and {schema.graph for schema in schemas} == {graph.digest}
    assert replace(graph, features=np.zeros((3, 1), np.float32)).digest != graph.digest  # not what it was made of


def test_items_unseen_in_train_bring_no_values():
    prepared = world(unseen_items="keep")
    assert prepared.item_attributes["genre"].values == ("a", "b", "c")
    assert prepared.views("train").graph["movie"].num_nodes == 4


def test_edges_to_missing_nodes_are_refused():
    rows = world().interactions
    graph = TypedGraph(2, 3, "movie", {"genre": Attribute(("a",), np.array([99]), np.array([0]))})
    with pytest.raises(ValueError, match="has_genre"):
        graph.build(rows)


def test_types_without_values_are_left_out():
    rows = interactions(PAIRS, split=SPLIT)
    prepared = prepare(Memory(rows), Recipe(split="official", val=0))
    assert prepared.views("train").graph.node_types == ["user", "movie"]
    assert prepared.views("train").genres is None
    assert set(prepared.schema().num_nodes) == {"user", "movie"}
