from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import leaky_relu

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import ItemGraphEncoder
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import graphs, hybrids
from tests.models.hybrids import I, U

if TYPE_CHECKING:
    from torch_geometric.nn import GATConv

CLOSE: dict[str, Any] = {"atol": 1e-10, "rtol": 1e-10}
KINDS = ("genre", "director")


def made(schema: Schema | None = None, dim: int = 8, **options: Any) -> ItemGraphEncoder:
    torch.manual_seed(0)
    encoder = ItemGraphEncoder(schema or hybrids.schema(), dim, **{"context_dim": 3, **options}).double()
    hybrids.shaken(encoder)
    return encoder


def pyg(attention: Any) -> GATConv:
    """torch_geometric's layer with the same parameters."""
    from torch_geometric.nn import GATConv

    dim, (_, heads, width) = attention.lin_src.in_features, attention.att_src.shape
    theirs = GATConv((dim, dim), width, heads, add_self_loops=False, bias=False)
    theirs.lin_src, theirs.lin_dst = attention.lin_src, attention.lin_dst
    theirs.att_src, theirs.att_dst = attention.att_src, attention.att_dst
    return theirs


def plain(encoder: ItemGraphEncoder, views: Views) -> Tensor:
    """All items as the equations say it, with torch_geometric's attention."""
    graph, own = views.graph, torch.zeros(I, encoder.norm.bias.shape[0]).double()
    if encoder.project is not None:
        code = graph["item"].context
        own = own + encoder.project(
            torch.cat([encoder.context[name][code[:, at]] for at, name in enumerate(("year", "budget"))], 1)
        )
    if encoder.item is not None:
        own = own + torch.where((views.popularity > 0)[:, None], encoder.item, 0.0)
    if encoder.shared is not None:
        own = own + encoder.shared
    total = own
    for kind in KINDS if len(encoder.nodes) else ():
        z = encoder.nodes[kind]
        if kind in encoder.inward:
            z = z + pyg(encoder.inward[kind])((own, z), graph["item", f"has_{kind}", kind].edge_index)
        assert encoder.norm_attribute is not None
        z = encoder.norm_attribute(leaky_relu(z, 0.2))
        total = total + pyg(encoder.outward[kind])((z, own), graph[kind, f"rev_has_{kind}", "item"].edge_index)
    return encoder.norm(total)


def without(schema: Schema, *parts: str) -> Schema:
    """The schema of data that lack context columns or attributes."""
    if "context" in parts:
        schema = replace(schema, context={})
    return replace(schema, edge_types=schema.edge_types[:2]) if "attributes" in parts else schema


DIFFERENT: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    ((), {}),
    ((), {"dim": 6}),  # narrower than what is known of the context: summed up as it is
    ((), {"identity": True}),
    ((), {"heads": 4}),
    (("context",), {"identity": True}),
    (("context",), {}),
    (("attributes",), {}),
    (("attributes",), {"identity": True}),
    (("attributes", "context"), {"identity": True}),
]


@pytest.mark.parametrize(("missing", "options"), DIFFERENT)
@given(seed=st.integers(0, 999))
@settings(max_examples=5, deadline=None)
def test_items_and_gradients_are_torch_geometrics(missing: tuple[str, ...], options: dict[str, Any], seed: int) -> None:
    views = hybrids.views(hybrids.matrix(seed))
    encoder = made(without(hybrids.schema(), *missing), **options)
    actual, expected = encoder(views), plain(encoder, views)
    torch.testing.assert_close(actual, expected, **CLOSE)
    weight = torch.randn_like(expected)
    parameters = dict(encoder.named_parameters())
    sides = [torch.autograd.grad((side * weight).sum(), list(parameters.values())) for side in (actual, expected)]
    for name, ours, theirs in zip(parameters, *sides, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
        assert ours.any(), name


def test_names_of_parameters() -> None:
    encoder = made(identity=True)
    assert set(encoder.context) == {"year", "budget"}
    assert set(encoder.nodes) == set(encoder.inward) == set(encoder.outward) == set(KINDS)
    assert encoder.project is not None and encoder.project.in_features == 6
    assert encoder.item is not None and encoder.item.shape == (I, 8)
    assert not ItemGraphEncoder(hybrids.schema(), 8, identity=True).item.any()  # type: ignore[union-attr]
    bare = made(without(hybrids.schema(), "attributes"))
    assert {name.partition(".")[0] for name, _ in bare.named_parameters()} == {"context", "project", "norm"}


@pytest.mark.parametrize("identity", [False, True])
def test_no_interaction_reaches_what_cold_items_are(identity: bool) -> None:
    matrix = hybrids.matrix()
    other = matrix.flip(0)
    encoder = made(identity=identity)
    before, after = (encoder(hybrids.views(rows)) for rows in (matrix, other))
    assert torch.equal(before, after)  # the same items are met
    cold = torch.zeros(U, I, dtype=torch.bool)
    assert torch.equal(encoder(hybrids.views(cold)), before) == (not identity)
    without_identity = made()
    without_identity.load_state_dict({k: v for k, v in encoder.state_dict().items() if k != "item"})
    torch.testing.assert_close(encoder(hybrids.views(cold)), without_identity(hybrids.views(cold)), **CLOSE)


def test_an_unknown_bucket_is_a_bucket() -> None:
    encoder, views = made(), hybrids.views(hybrids.matrix())
    encoder(views).sin().sum().backward()
    for column, name in enumerate(("year", "budget")):
        gradient = encoder.context[name].grad
        assert gradient is not None and (views.graph["item"].context[:, column] == 0).any() and gradient[0].any()


def test_attributes_of_no_item_are_finite() -> None:
    encoder, views = made(), hybrids.views(hybrids.matrix())
    encoder(views).sin().sum().backward()
    for kind in KINDS:
        gradient = encoder.nodes[kind].grad
        assert gradient is not None and gradient.isfinite().all() and not gradient[-1].any() and gradient[:-1].any()


def test_half_precision() -> None:
    encoder, views = made().float(), hybrids.views(hybrids.matrix())
    with torch.autocast("cpu", torch.bfloat16):
        items = encoder(views)
    items.sin().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    torch.testing.assert_close(items.float(), encoder(views), atol=0.2, rtol=0.1)


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (hybrids.schema(), {"dim": 9}, r"given dim 9, heads 2 and context_dim 3\."),
        (hybrids.schema(), {"context_dim": 0}, r"context_dim 0\."),
        (worlds.schema(2, 2), {}, r"neither attributes nor context .* data\.graph\.attributes .*identity true\."),
    ],
)
def test_arguments_out_of_range(schema: Schema, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(schema, **options)


def test_kinds_that_nobody_has_have_no_parameters() -> None:
    schema = graphs.schema(3, 4)
    nodes = {**schema.num_nodes, "mood": 0}
    edges = (*schema.edge_types, ("item", "has_mood", "mood"), ("genre", "is_a", "genre"), ("item", "like", "item"))
    encoder = ItemGraphEncoder(replace(schema, num_nodes=nodes, edge_types=edges), 4)
    assert set(encoder.nodes) == set(KINDS)
