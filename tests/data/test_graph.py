from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lightning.data.graph import heterograph
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.vocabulary import Attribute
from tests.data.memory import Memory, interactions

ITEMS = pd.DataFrame({"genres": [["b", "a", "b"], [], ["c"], ["test only"]]}, index=["x", "y", "z", "t"])
PAIRS = [("u", "x"), ("u", "y"), ("v", "x"), ("v", "z"), ("u", "z"), ("v", "t")]
SPLIT = [0, 0, 0, 0, 2, 2]


def world(**recipe):
    rows = interactions(PAIRS, split=SPLIT, rating=[1, 2, 3, 4, 5, 6], timestamp=range(6))
    return prepare(Memory(rows, ITEMS), Recipe(split="official", val=0, **recipe))


def test_edges_are_train_rows_and_attributes_in_both_directions():
    graph = world().views("train").graph
    assert graph.node_types == ["user", "movie", "genre"]
    assert [graph[kind].num_nodes for kind in graph.node_types] == [2, 3, 3]
    rates = graph["user", "rates", "movie"]
    assert rates.edge_index.tolist() == [[0, 0, 1, 1], [0, 1, 0, 2]]
    assert rates.rating.tolist() == [1, 2, 3, 4] and rates.time.tolist() == [0, 1, 2, 3]
    assert rates.rating.dtype == torch.float32 and rates.time.dtype == torch.int64
    assert graph["movie", "has_genre", "genre"].edge_index.tolist() == [[0, 0, 2], [0, 1, 2]]  # sorted, no repeats
    for source, relation, target in graph.edge_types[::2]:
        reverse = graph[target, f"rev_{relation}", source]
        assert torch.equal(reverse.edge_index.flip(0), graph[source, relation, target].edge_index)
    assert torch.equal(graph["movie", "rev_rates", "user"].rating, rates.rating)


def test_graph_has_the_types_of_the_schema():
    prepared = world()
    graph, schema = prepared.views("train").graph, prepared.schema()
    assert set(graph.edge_types) == set(schema.edge_types)
    assert {kind: graph[kind].num_nodes for kind in graph.node_types} == schema.num_nodes


def test_items_unseen_in_train_bring_no_values():
    prepared = world(unseen_items="keep")
    assert prepared.item_attributes["genre"].values == ("a", "b", "c")
    assert prepared.views("train").graph["movie"].num_nodes == 4


def test_edges_to_missing_nodes_are_refused():
    rows = world().interactions
    with pytest.raises(ValueError, match="has_genre"):
        heterograph(rows, "movie", {"genre": Attribute(("a",), np.array([99]), np.array([0]))})


def test_types_without_values_are_left_out():
    rows = interactions(PAIRS, split=SPLIT)
    prepared = prepare(Memory(rows), Recipe(split="official", val=0))
    assert prepared.views("train").graph.node_types == ["user", "movie"]
    assert prepared.views("train").genres is None
    assert set(prepared.schema().num_nodes) == {"user", "movie"}
