from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recsys_lightning.models.relations import Relation, edge_key, in_target_order, node_key, relation, relations
from tests import worlds
from tests.models import typed

CLOSE = {"atol": 1e-6, "rtol": 1e-6}


def dense(found: Relation) -> Tensor:
    """(targets, sources) norms."""
    matrix = torch.zeros(len(found.target.crow) - 1, len(found.source.crow) - 1, dtype=torch.float64)
    matrix[found.target.row, found.target.col.long()] = found.norm.double()
    return matrix


def normalised(weight: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2"""
    rows, columns = (weight.sum(axis, keepdim=True) for axis in (1, 0))
    return torch.where(weight > 0, weight / (rows * columns).sqrt(), 0.0)


@given(
    seed=st.integers(0, 999),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    sizes=st.tuples(st.integers(0, 9), st.integers(1, 9)),
    weighted=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_it_is_the_normalised_matrix_in_both_orders(
    seed: int, density: float, sizes: tuple[int, int], weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.rand(sizes, generator=generator) < density).double()
    if weighted:
        weight = weight * (torch.rand(sizes, generator=generator, dtype=torch.float64) + 0.01)
    found = relation(worlds.csr(weight > 0), sizes[1], weight[weight > 0] if weighted else None)
    torch.testing.assert_close(dense(found), normalised(weight), **CLOSE)
    torch.testing.assert_close(dense(found.reverse), normalised(weight).T, **CLOSE)
    assert found.norm.isfinite().all()
    for tensor in (*found.target, *found.source, found.position):
        assert tensor.dtype == torch.int32
    assert torch.equal(found.target.col[found.position.long()].long(), found.source.row)
    twice = found.reverse.reverse
    for ours, theirs in zip((*twice.target, *twice.source, *twice[2:]), (*found.target, *found.source, *found[2:])):  # noqa: B905
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("options", [{"attributes": False}, {}, {"weighted": True}, {"hierarchy": True}])
def test_relations_of_a_typed_graph_are_those_of_its_matrices(options: dict[str, Any]) -> None:
    world = typed.world(**options)
    found = world.views.derive(relations(world.schema))
    assert set(found) == set(world.dense)  # no relation of a type with itself
    for edge_type, matrix in world.dense.items():
        torch.testing.assert_close(dense(found[edge_type]), normalised(matrix), **CLOSE)
    assert torch.equal(found[typed.BACK].target.col.long(), world.views.train.col)


def test_a_graph_is_not_asked_for_where_there_is_nothing_in_it_but_users_and_items() -> None:
    schema, views = worlds.blocks(6, 5)
    assert len(views.derive(relations(schema))) == 2  # these views were made without a graph


def test_equal_schemas_share_what_is_derived() -> None:
    world, other = typed.world(), typed.world()
    assert world.views.derive(relations(world.schema)) is world.views.derive(relations(other.schema))
    assert relations(world.schema) is not relations(typed.world(weighted=True).schema)


@pytest.mark.parametrize("edge_type", [typed.RATES, typed.GENRE])
def test_weights_follow_their_edges_into_both_orders(edge_type: tuple[str, str, str]) -> None:
    world = typed.world()
    found = world.views.derive(relations(world.schema))
    edges = world.views.graph[edge_type].edge_index
    if edge_type == typed.GENRE:
        assert (edges.diff(dim=1)[0] < 0).any()  # the graph's own order is another
    weight = torch.rand(edges.shape[1], dtype=torch.float64)
    ordered = in_target_order(world.views, found, {edge_type: weight})
    back = (edge_type[2], f"rev_{edge_type[1]}", edge_type[0])
    assert set(ordered) == {edge_type, back}
    expected = torch.zeros_like(world.dense[back]).index_put(tuple(edges), weight)
    for key, matrix in ((back, expected), (edge_type, expected.T)):
        rows = found[key].target
        assert torch.equal(ordered[key], matrix[rows.row, rows.col.long()])


@pytest.mark.parametrize("kind", ["user", "items", "type", "keys", "training", "a.b", "genre"])
def test_any_node_type_can_name_a_parameter_and_a_module(kind: str) -> None:
    nn.ParameterDict({node_key(kind): torch.zeros(1)})
    nn.ModuleDict({node_key(kind): nn.Identity()})
    assert node_key("user") == "user"
    nn.ModuleDict({edge_key((kind, "rev_has", "item")): nn.Identity()})


def test_edge_types_have_keys_of_their_own() -> None:
    schema = typed.world(hierarchy=True).schema
    assert len({edge_key(kind) for kind in schema.edge_types}) == len(schema.edge_types)
    assert edge_key(("user", "rates", "a.b")) == "user-rates-a_b"  # checkpoints hold these names
