from __future__ import annotations

import torch

from recsys_lightning.explain.edges import attribute_edges, own_edges, remove, subset
from recsys_lightning.explain.explainers import Exact
from recsys_lightning.explain.fidelity import measure, outcome, strongest
from recsys_lightning.explain.ranking import places
from recsys_lightning.models import EASE, GAT
from tests.explain.models import RATES, advisor, score
from tests.models import graphs


def test_strongest_are_the_largest_above_zero() -> None:
    assert strongest(torch.tensor([0.1, 3.0, -1.0, 2.0]), 2).tolist() == [1, 3]
    assert strongest(torch.tensor([0.1, -3.0, 0.0, -2.0])).tolist() == [0]
    assert strongest(torch.zeros(0)).tolist() == []


def test_the_strongest_edges_are_really_taken_away_and_random_ones_matter_less() -> None:
    one = advisor(EASE)
    falls = []
    for user in range(10):
        edges, hidden = {RATES: own_edges(one.views, user)}, one.views.train.select(torch.tensor([user]))[1]
        item = int(one.ranked(torch.tensor([user]), 1).item[0, 0])
        value = Exact().effects(one.model, one.views, edges, user, torch.tensor([item])).values[0]
        found = measure(one.model, one.views, hidden, user, item, edges, value)
        assert found is not None and found == measure(one.model, one.views, hidden, user, item, edges, value)
        thinner = one.views.without(edges[RATES][strongest(value)])
        everything = score(one, thinner, user, torch.arange(30))
        assert found.removed == min(5, int((value > 0).sum()))
        assert abs(found.score - float(everything[item])) < 1e-6
        assert found.rank == int(places(everything, hidden, torch.tensor([item])))  # what the user had stays hidden
        assert (found.random_score is None) == (found.random_rank is None) == (found.removed == len(value))
        if found.random_score is None or found.random_rank is None:
            continue
        assert found.score <= found.random_score + 1e-6 and found.rank >= found.random_rank
        falls.append(found.rank > found.random_rank)
    assert len(falls) >= 8 and sum(falls) >= len(falls) - 1


def test_nothing_speaks_for_the_item() -> None:
    one = advisor(EASE)
    edges, hidden = {RATES: own_edges(one.views, 0)}, one.views.train.select(torch.tensor([0]))[1]
    assert measure(one.model, one.views, hidden, 0, 3, edges, -torch.ones(len(edges[RATES]))) is None


def test_attributes_are_taken_away_too() -> None:
    matrix = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    schema, views = graphs.schema(9, 7), graphs.views(matrix)
    torch.manual_seed(0)
    model = GAT(schema, dim=8).eval()
    edges = attribute_edges(views, schema, torch.tensor([0]))
    edges = subset(edges, torch.arange(3))
    value = torch.ones(3)
    hidden = views.train.select(torch.tensor([1]))[1]
    found = measure(model, views, hidden, 1, 0, edges, value)
    bare = outcome(model, remove(views, edges), hidden, 1, torch.tensor([0]))
    whole = outcome(model, views, hidden, 1, torch.tensor([0]))
    assert found is not None and found.removed == len(value)
    assert found.score == float(bare.score) != float(whole.score)


def test_random_ones_are_not_drawn_where_all_were_taken_away() -> None:
    one = advisor(EASE)
    hidden = one.views.train.select(torch.tensor([0]))[1]
    own = own_edges(one.views, 0)
    for count, random in ((5, False), (6, True)):
        found = measure(one.model, one.views, hidden, 0, 3, {RATES: own[:count]}, torch.ones(count))
        assert found is not None and found.removed == 5
        assert (found.random_score is not None) == (found.random_rank is not None) == random


def test_items_that_the_user_has_have_no_rank() -> None:
    one = advisor(EASE)
    hidden = one.views.train.select(torch.tensor([0]))[1]
    assert outcome(one.model, one.views, hidden, 0, hidden).rank.tolist() == [0] * len(hidden)
