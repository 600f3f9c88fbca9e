from __future__ import annotations

import pytest
import torch

from recsys_lightning.explain import parts
from recsys_lightning.explain.edges import attribute_edges, own_edges
from recsys_lightning.explain.explainers import Effects
from recsys_lightning.explain.explanation import Effect, Share
from tests.explain.models import RATES, catalogue
from tests.models import graphs

MATRIX = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]).bool()
NAMES = catalogue(graphs.schema(3, 4))
VIEWS = graphs.views(MATRIX)


def test_effects_name_the_users_items_and_the_items_values_and_the_rest_takes_the_others() -> None:
    edges = {RATES: own_edges(VIEWS, 1), **attribute_edges(VIEWS, NAMES.schema, torch.tensor([0, 3]))}
    sizes = [*map(len, edges.values())]
    values = torch.arange(1.0, 2 * sum(sizes) + 1).view(2, -1)
    found, rest = parts.effects(Effects(edges, values, torch.tensor([0.5, 0.25])), 1, VIEWS, NAMES, 1, 3)
    assert [effect.value for effect in found] == sorted((effect.value for effect in found), reverse=True)
    assert Effect("rates", "u1", "m2", "Movie 2", float(values[1, 1])) in found
    owned = graphs.attributes(4)
    names = {f"{kind} {value}" for kind, matrix in owned.items() for value in matrix[3].nonzero()[:, 0].tolist()}
    assert {effect.target for effect in found if effect.source == "m3"} == names
    assert len(found) == 2 + len(names)
    assert rest is not None
    assert sum(effect.value for effect in found) + rest == pytest.approx(float(values[1].sum()) + 0.25)


def test_attributes_that_the_model_does_not_read_are_left_out() -> None:
    edges = {RATES: own_edges(VIEWS, 1), **attribute_edges(VIEWS, NAMES.schema, torch.tensor([0, 1, 3]))}
    sizes = [*map(len, edges.values())]
    assert len(edges) == 3
    values = torch.zeros(2, sum(sizes))
    values[1, -1] = 1.0
    found = parts.read(Effects(edges, values, None))
    assert list(found.edges) == [RATES, list(edges)[2]]
    assert found.values.shape == (2, sizes[0] + sizes[2]) and found.values[1, -1] == 1


def test_attention_is_a_share_of_the_users_items() -> None:
    layers = [
        torch.tensor([[0.2, 0.1], [0.2, 0.3], [0.9, 0.9], [0.1, 0.1]]),
        torch.tensor([[0.1], [0.3], [1.0], [0.0]]),
    ]
    found = parts.attention(layers, VIEWS, NAMES, 0)
    assert [one.item for one in found] == ["m2", "m0"]
    assert [one.weight for one in found] == pytest.approx(
        [(0.5 + 0.75) / 2 / 2 + 0.75 / 2, (0.5 + 0.25) / 4 + 0.25 / 2]
    )
    assert sum(one.weight for one in found) == pytest.approx(1)
    assert found[0].heads == pytest.approx((0.75,))
    assert parts.attention(layers, VIEWS, NAMES, 2) == () and parts.attention([], VIEWS, NAMES, 0) == ()


def test_influences_tell_what_is_common_from_what_is_new() -> None:
    affinity = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    strength = torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    contribution = torch.tensor([[0.25, 0.0, -0.5], [0.0, 0.0, 0.0]])
    first, second = parts.influences(
        {"genre": (affinity, strength, contribution, torch.tensor([0.125, 0.25]))}, NAMES.value
    )
    assert first["genre"].common == (Share("genre 0", 0.5, 0.5, 0.25),)
    assert first["genre"].other == (Share("genre 2", 0.0, 0.5, -0.5),)
    assert (first["genre"].total, first["genre"].weight) == (-0.25, 0.125)
    assert second["genre"].common == second["genre"].other == () and second["genre"].total == 0
    assert parts.influences({}, NAMES.value) == []
