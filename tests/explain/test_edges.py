from __future__ import annotations

import torch

from recsys_lightning.explain.edges import (
    attribute_edges,
    named_for,
    number,
    own_edges,
    rates,
    remove,
    scores,
    subset,
    weights,
)
from recsys_lightning.models import EASE, LightGCN
from tests.explain.models import HAS, RATES, advisor, score
from tests.models import graphs
from tests.worlds import blocks

MATRIX = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]).bool()


def test_own_edges_are_positions_of_a_users_rows() -> None:
    views = graphs.views(MATRIX)
    assert [own_edges(views, user).tolist() for user in range(3)] == [[0, 1], [2, 3], []]
    assert rates(graphs.schema(3, 4)) == RATES


def test_attribute_edges_are_those_of_the_items_by_kind() -> None:
    schema, views = graphs.schema(3, 4), graphs.views(MATRIX)
    owned = graphs.attributes(4)
    found = attribute_edges(views, schema, torch.tensor([0, 3]))
    for kind, matrix in owned.items():
        edges = views.graph["item", f"has_{kind}", kind].edge_index
        pairs = edges[:, found["item", f"has_{kind}", kind]].T.tolist()
        assert sorted(pairs) == [[item, value] for item, value in matrix.nonzero().tolist() if item in (0, 3)]
    assert attribute_edges(views, schema, torch.tensor([2])) == {}  # has none
    plain, bare = blocks()
    assert attribute_edges(bare, plain, torch.tensor([0])) == {}  # and no graph is asked for


def test_some_of_the_edges_are_named_for_an_item() -> None:
    schema, views = graphs.schema(3, 4), graphs.views(MATRIX)
    edges = {RATES: own_edges(views, 1), **attribute_edges(views, schema, torch.tensor([0, 3]))}
    for item in (0, 3):
        alone = {RATES: own_edges(views, 1), **attribute_edges(views, schema, torch.tensor([item]))}
        found = subset(edges, named_for(views, edges, item).nonzero()[:, 0])
        assert all(found[kind].tolist() == position.tolist() for kind, position in alone.items())
        assert sum(map(len, found.values())) == sum(map(len, alone.values()))
    assert subset(edges, torch.tensor([1]))[RATES].tolist() == [3]
    assert len(named_for(views, {}, 0)) == 0


def test_removal_by_type() -> None:
    views = graphs.views(MATRIX)
    assert remove(views, {RATES: torch.tensor([0])}).train.col.tolist() == [2, 1, 2]
    thinner = remove(views, {HAS: torch.tensor([0, 1])})
    assert torch.equal(thinner.train.col, views.train.col)
    assert number(thinner, HAS) == number(views, HAS) - 2 and number(thinner, RATES) == 4


def test_weights_are_one_but_for_the_named_edges() -> None:
    views = graphs.views(MATRIX)
    given = weights(views, {RATES: torch.tensor([3, 1]), HAS: torch.tensor([0])}, torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(given[RATES], torch.tensor([1, 0.2, 1, 0.1]))
    assert given[HAS][0] == torch.tensor(0.3) and (given[HAS][1:] == 1).all()


def test_scores_of_one_user_are_those_of_the_row() -> None:
    for kind in (EASE, LightGCN):
        one, item = advisor(kind), torch.tensor([3, 29, 3])
        with torch.no_grad():
            found = scores(one.model, one.state, 4, item)
        torch.testing.assert_close(found, score(one, one.views, 4, item))
