from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.models import GenreGAT
from recsys_lightning.models.profiles import interactions, own_items
from recsys_lightning.models.relations import num_edges
from tests.models import graphs

CLOSE = {"atol": 1e-6, "rtol": 1e-6}  # norms and weights of edges are in single precision
RATES = ("user", "rates", "item")


def world(weighted: bool = False, **options: Any) -> tuple[GenreGAT, Views, Tensor]:
    """A model of three domains in float64 that has left its start, and the weights (U, I) of the edges."""
    torch.manual_seed(0)
    matrix = torch.rand(23, 17) < 0.4
    matrix[3], matrix[:, 5] = False, False
    weight = (0.2 + torch.rand(23, 17, dtype=torch.float64)) * matrix if weighted else matrix.double()
    schema = graphs.with_domains(graphs.schema(23, 17))
    schema = replace(schema, edge_weight="rating" if weighted else "none")
    model = GenreGAT(schema, **{"dim": 12, "heads": 3, "dropout": 0.0, **options}).double().eval()
    if options.get("attention") != "none":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
    return model, graphs.views_of_domains(matrix, weight if weighted else None), weight


def scores(model: GenreGAT, state: Any) -> Tensor:
    return model.score_all(model.users(state, torch.arange(23)), state)


@pytest.mark.parametrize("weighted", [False, True])
def test_without_attention_it_is_the_sum_of_the_lightgcn_of_each_domain(weighted: bool) -> None:
    model, views, weight = world(weighted, layers=1, attention="none")
    state = model.encode(views)
    assert views.domain is not None
    total = torch.zeros(23, 17, dtype=torch.float64)
    for code in range(3):
        own = weight * (views.domain == code)
        total += own * (own.sum(1, keepdim=True) * own.sum(0)).clamp(min=1e-30).rsqrt()
    user = model.nodes["user"] * (weight.sum(1) > 0)[:, None]
    item = model.nodes["item"] * (weight.sum(0) > 0)[:, None]
    torch.testing.assert_close(state.user, (user + total @ item) / 2, **CLOSE)
    torch.testing.assert_close(state.item[:, :12], (item + total.T @ user) / 2, **CLOSE)


def test_what_is_encoded_for_a_batch_equals_what_is_encoded_for_all() -> None:
    for fan_out in (None, [-1, -1]):
        model, views, _ = world(fan_out=fan_out)
        user, item, negative = torch.tensor([7, 3, 0]), torch.tensor([1, 5, 16]), torch.tensor([[2], [9], [0]])
        full = scores(model, model.encode(views))
        some = model.encode_for(views, PairBatch(user, item, negative, item, negative))
        torch.testing.assert_close(
            model.score(model.users(some, user), model.items(some, item)), full[user, item], **CLOSE
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_of_all_domains_are_weighed_and_attributed(weighted: bool) -> None:
    model, views, _ = world(weighted)
    state = model.encode(views)
    ones = torch.ones(len(views.train.col), dtype=torch.float64, requires_grad=True)
    weighed = model.encode_weighed(views, {RATES: ones})
    torch.testing.assert_close(scores(model, weighed), scores(model, state), **CLOSE)
    for user in (0, 3, 11):
        own, value, rest = model.contributions(views, state, user, torch.arange(17))
        torch.testing.assert_close(value.sum(1) + rest, scores(model, state)[user], **CLOSE)
        assert value.shape == (17, len(own))
    (gradient,) = torch.autograd.grad(scores(model, weighed)[0].sum(), ones)
    assert gradient.all()  # two layers: every row counts for somebody near


def test_weights_of_users_rows_come_in_the_order_of_the_rows() -> None:
    _, views, weight = world(weighted=True)
    schema = replace(graphs.with_domains(graphs.schema(23, 17)), edge_weight="rating")
    own = views.derive(own_items(interactions(schema)))
    torch.testing.assert_close(own.weight, weight[views.train.row, views.train.col])
    torch.testing.assert_close(own.total, weight.sum(1))


def test_edges_are_counted_by_domain() -> None:
    model, views, weight = world()
    assert views.domain is not None
    found = num_edges(views, model.messages.edge_types.values(), "item")
    assert set(found) == set(model.messages.edge_types.values())
    for code, name in enumerate(graphs.DOMAINS):
        expected = int((weight[:, views.domain == code] > 0).sum())
        assert found["user", f"rates_{name}", "item"] == found["item", f"rev_rates_{name}", "user"] == expected
    assert found["item", "has_genre", "genre"] == views.graph["item", "has_genre", "genre"].num_edges
    assert model.estimate_memory(views, 8)["total"] > 0
