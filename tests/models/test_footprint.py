from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import GenreGAT
from recsys_lightning.models.footprint import Footprint
from recsys_lightning.schema import EdgeType, Schema
from tests import worlds
from tests.models import typed

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PARTS = ["parameters", "graph", "activations", "total"]
BATCH = 512
SIZES: dict[str, tuple[int, int, int, int]] = {
    "small": (943, 1682, 40_000, 19),
    "ml-1m": (6040, 3706, 500_000, 18),
    "many attributes": (2000, 3000, 30_000, 9000),
}
"""Users, items, interactions, and values of attributes."""


def pairs(rows: int, columns: int, number: int) -> Tensor:
    """(2, about `number`) distinct pairs, ascending."""
    key = torch.randint(rows * columns, (number,), generator=torch.Generator().manual_seed(0)).unique()
    return torch.stack([key // columns, key % columns])


def world(name: str) -> tuple[Schema, Views]:
    """Random edges, three values an item."""
    from torch_geometric.data import HeteroData

    users, items, number, values = SIZES[name]
    edges = {typed.RATES: pairs(users, items, number), typed.GENRE: pairs(items, values, 3 * items)}
    both = {**edges, typed.BACK: edges[typed.RATES].flip(0), typed.FROM_GENRE: edges[typed.GENRE].flip(0)}
    nodes = {"user": users, "item": items, "genre": values}

    def build() -> HeteroData:
        graph = HeteroData()
        for kind, size in nodes.items():
            graph[kind].num_nodes = size
        for edge_type, edge_index in both.items():
            graph[edge_type].edge_index = edge_index.clone()
        return graph

    schema = replace(worlds.schema(users, items), num_nodes=nodes, edge_types=tuple(both))
    user, item = edges[typed.RATES]
    crow = torch.cat([user.new_zeros(1), torch.bincount(user, minlength=users).cumsum(0)])
    return schema, Views(CSR(crow, item), items, build_graph=build)


def train(schema: Schema, views: Views, **options: Any) -> GenreGAT:
    """Two steps from nothing: rows, graph and model are made here."""
    views = Views(CSR(*(tensor.clone() for tensor in views.train)), views.num_items, views._build_graph)
    model = GenreGAT(schema, **options).train()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        user, item = torch.randint(schema.num_users, (BATCH,)), torch.randint(schema.num_items, (BATCH,))
        negative = torch.randint(schema.num_items, (BATCH, 1))
        state = model.encode_for(views, PairBatch(user, item, negative, torch.zeros(BATCH), torch.zeros(BATCH, 1)))
        u = model.users_without(state, user, item)
        loss = bpr(model.score(u, model.items(state, item)), model.score(u[:, None], model.items(state, negative)))
        optimizer.zero_grad()
        (loss + 1e-4 * model.penalty(state, user, item, negative)).backward()
        optimizer.step()
        del state, u, loss
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ("small", {}),
        ("small", {"attention": "gatv2", "dim": 32}),
        ("small", {"attention": "none", "layers": 0}),
        ("many attributes", {"layers": 3, "dropout": 0.0}),
        ("many attributes", {"fan_out": [5, 3]}),
        ("ml-1m", {}),
        ("ml-1m", {"attention": "none"}),
        ("ml-1m", {"fan_out": [10, 5]}),
    ],
)
def test_the_estimate_is_within_a_factor_of_two_of_what_training_allocates(size: str, options: dict[str, Any]) -> None:
    schema, views = world(size)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        model = train(schema, views, **options)
    events = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    peak = torch.tensor([number for _, number in changes]).cumsum(0).max().item()
    estimate = model.estimate_memory(views, BATCH)
    assert list(estimate) == PARTS
    assert estimate["total"] == sum(estimate[part] for part in PARTS[:-1])
    assert peak / 2 < estimate["total"] < peak * 2


def test_parameters_count_with_gradients_and_moments() -> None:
    data = typed.world(features=3, hierarchy=True)
    model = GenreGAT(data.schema, 12, 3)
    found = model.estimate_memory(data.views, 8)
    assert found["parameters"] == 16 * sum(parameter.numel() for parameter in model.parameters())


def footprint(scale: int, fan_out: list[int] | None) -> Footprint:
    edges: dict[EdgeType, int] = {typed.RATES: 10**5 * scale, typed.BACK: 10**5 * scale}
    nodes = {"user": 5000, "item": 4000}
    return Footprint(("user", "item"), nodes, edges, [list(edges)] * 2, fan_out, 32, 4, "gat", True, 1000)


def test_a_fan_out_bounds_what_a_step_holds() -> None:
    assert footprint(100, [5, 3]).step(64) == footprint(1, [5, 3]).step(64) < footprint(1, None).step(64)
    assert footprint(1, [5, 3]).step(64) < footprint(1, [5, 3]).step(256) < footprint(1, [20, 20]).step(256)
    assert footprint(100, None).step(64) > 20 * footprint(1, None).step(64)
    assert footprint(100, [5, 3]).graph() == footprint(100, None).graph()


def test_layers_grow_from_the_batch_outwards_and_end_at_the_whole_graph() -> None:
    outer, inner = footprint(1, [5, 3]).layers({"user": 10, "item": 20})
    assert inner.target == {"user": 10, "item": 20}
    assert inner.edges == {typed.BACK: 50, typed.RATES: 100}
    assert outer.target == inner.source == {"user": 110, "item": 70}
    assert outer.source == {"user": 110 + 3 * 70, "item": 70 + 3 * 110}
    for layer in footprint(1, [-1, -1]).layers({"user": 5000, "item": 4000}):
        assert layer.edges == {typed.BACK: 10**5, typed.RATES: 10**5}
        assert layer.source == {"user": 5000, "item": 4000}
