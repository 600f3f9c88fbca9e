from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import GAT
from recsys_lightning.models.relations import relations
from tests import worlds
from tests.models import graphs
from tests.models.contract import TrainedContract

if TYPE_CHECKING:
    from torch_geometric.nn import HeteroConv

CLOSE = {"atol": 1e-10, "rtol": 1e-10}


class TestGAT(TrainedContract):
    model = GAT
    options = {"dim": 12, "heads": 3}  # noqa: RUF012


class TestGATv2(TrainedContract):
    model = GAT
    options = {"dim": 12, "heads": 3, "scoring": "gatv2"}  # noqa: RUF012


class TestGATOfDomains(TrainedContract):
    model = GAT
    options = {"dim": 12, "heads": 3}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        views = graphs.views_of_domains(matrix)
        if item_order is not None:
            assert views.domain is not None
            views.domain = views.domain[item_order]
        return views

    def build(self, matrix: Tensor, seed: int = 0) -> GAT:
        torch.manual_seed(seed)
        return GAT(graphs.with_domains(worlds.schema(*matrix.shape)), **self.options).eval()


class TestGATWithAttributes(TrainedContract):
    model = GAT
    options = {"dim": 12, "heads": 3, "dropout": 0.1}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return graphs.views(matrix, item_order)

    def build(self, matrix: Tensor, seed: int = 0) -> GAT:
        torch.manual_seed(seed)
        return GAT(graphs.schema(*matrix.shape), **self.options).eval()


def world(seed: int = 0, **options: Any) -> tuple[GAT, Tensor, Views]:
    """A model in float64 with biases, and a matrix of users 3 and item 5 without rows."""
    torch.manual_seed(seed)
    matrix = torch.rand(23, 17) < 0.3
    matrix[3], matrix[:, 5] = False, False
    model = GAT(graphs.schema(*matrix.shape), **{"dim": 12, "heads": 3, **options}).double().eval()
    with torch.no_grad():
        for bias in model.bias.values():
            bias.normal_()
        for table in model.nodes.values():
            table.normal_()  # logits as far apart as they come in a trained model
    return model, matrix, graphs.views(matrix)


def pyg(model: GAT, scoring: str) -> HeteroConv:
    """torch_geometric's layer with the model's own parameters."""
    from torch_geometric.nn import GATConv, GATv2Conv, HeteroConv

    convolutions = {}
    for key, edge_type in model.edge_types.items():
        ours: Any = model.attentions[key]
        dim, (_, heads, width) = ours.lin_src.in_features, next(ours.parameters(recurse=False)).shape
        if scoring == "gat":
            theirs = GATConv((dim, dim), width, heads, add_self_loops=False, bias=False)
            theirs.lin_src, theirs.lin_dst = ours.lin_src, ours.lin_dst
            theirs.att_src, theirs.att_dst = ours.att_src, ours.att_dst
        else:
            theirs = GATv2Conv((dim, dim), width, heads, add_self_loops=False, bias=False)
            theirs.lin_l, theirs.lin_r, theirs.att = ours.lin_src, ours.lin_dst, ours.att
        convolutions[edge_type] = theirs
    return HeteroConv(convolutions, aggr="sum")


@pytest.mark.filterwarnings("ignore:There exist node types")  # attributes, which hear nothing
@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
@given(seed=st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_outputs_and_gradients_equal_torch_geometrics(scoring: str, seed: int) -> None:
    model, _, views = world(seed, scoring=scoring)
    out = pyg(model, scoring)(
        dict(model.nodes.items()), {key: views.graph[key].edge_index for key in model.edge_types.values()}
    )
    expected = [out[kind] + model.bias[kind] for kind in ("user", "item")]
    actual = model.encode(views)
    weights = [torch.randn_like(rows) for rows in expected]
    losses = [sum((w * rows).sum() for w, rows in zip(weights, side, strict=True)) for side in (actual, expected)]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for ours, theirs in zip((*actual, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def of_domains(seed: int = 0, **options: Any) -> tuple[GAT, Views]:
    """A model of three domains in float64 with biases, without attributes; users 3 and 4 lack rows, item 5 too."""
    torch.manual_seed(seed)
    matrix = torch.rand(23, 17) < 0.3
    views = graphs.views_of_domains(matrix)
    assert views.domain is not None
    matrix[3], matrix[:, 5], matrix[4, views.domain == 1] = False, False, False
    schema = graphs.with_domains(worlds.schema(23, 17))
    model = GAT(schema, **{"dim": 12, "heads": 3, **options}).double().eval()
    with torch.no_grad():
        for table in (*model.bias.values(), *model.nodes.values()):
            table.normal_()
    return model, graphs.views_of_domains(matrix)


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
@given(seed=st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_domains_are_what_a_type_of_items_for_each_is_in_torch_geometric(scoring: str, seed: int) -> None:
    model, views = of_domains(seed, scoring=scoring)
    assert views.domain is not None
    layer = pyg(model, scoring)
    members = [(views.domain == code).nonzero()[:, 0] for code in range(3)]
    place = torch.empty(17, dtype=torch.long)
    x, edges, convolutions = {"user": model.nodes["user"]}, {}, {}
    for name, items in zip(graphs.DOMAINS, members, strict=True):
        place[items] = torch.arange(len(items))
        x[name] = model.nodes["item"][items]
        user, item = views.graph["user", f"rates_{name}", "item"].edge_index
        assert set(item.tolist()) <= set(items.tolist())
        edges["user", f"rates_{name}", name] = torch.stack([user, place[item]])
        edges[name, f"rev_rates_{name}", "user"] = torch.stack([place[item], user])
        convolutions["user", f"rates_{name}", name] = layer.convs["user", f"rates_{name}", "item"]
        convolutions[name, f"rev_rates_{name}", "user"] = layer.convs["item", f"rev_rates_{name}", "user"]
    out = type(layer)(convolutions, aggr="sum")(x, edges)
    items = torch.zeros(17, 12, dtype=torch.float64)
    for name, own in zip(graphs.DOMAINS, members, strict=True):
        items = items.index_copy(0, own, out[name])
    expected = [out["user"] + model.bias["user"], items + model.bias["item"]]
    actual = model.encode(views)
    weights = [torch.randn_like(rows) for rows in expected]
    losses = [sum((w * rows).sum() for w, rows in zip(weights, side, strict=True)) for side in (actual, expected)]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for ours, theirs in zip((*actual, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_what_domains_pass_on_is_weighed_and_attributed_row_by_row() -> None:
    model, views = of_domains()
    rows = len(views.train.col)
    weight = torch.ones(rows, dtype=torch.float64, requires_grad=True)
    state = model.encode_weighed(views, {RATES: weight})
    for ours, expected in zip(state, model.encode(views), strict=True):
        torch.testing.assert_close(ours, expected, **CLOSE)
    for user in (0, 3, 4):
        items = torch.arange(17)
        own, value, rest = model.contributions(views, state, user, items)
        assert torch.equal(own, views.train.col[views.train.crow[user] : views.train.crow[user + 1]])
        torch.testing.assert_close(value.sum(1) + rest, state.item @ state.user[user], **CLOSE)
        # what a row passes to its user is the derivative of the user's vector in the row's weight
        probe = torch.randn(12, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(state.user[user] @ probe, weight, retain_graph=True)
        span = slice(int(views.train.crow[user]), int(views.train.crow[user + 1]))
        passed = torch.linalg.lstsq(state.item.detach(), value.detach()).solution.T
        torch.testing.assert_close(gradient[span], passed @ probe, atol=1e-8, rtol=1e-8)
        assert gradient.count_nonzero() <= len(own)


def test_number_of_parameters_at_the_reference_sizes() -> None:
    schema = worlds.schema(1000, 1500)
    nodes = {**schema.num_nodes, "artist": 300}
    has = (("item", "has_artist", "artist"), ("artist", "rev_has_artist", "item"))
    model = GAT(type(schema)(**{**vars(schema), "num_nodes": nodes, "edge_types": (*schema.edge_types, *has)}))
    embeddings, relations = (1000 + 1500 + 300) * 64, 3 * (2 * 64 * 64 + 2 * 64)
    assert sum(parameter.numel() for parameter in model.parameters()) == embeddings + relations + 2 * 64 == 204_288


def test_types_that_reach_no_user_or_item_have_no_parameters() -> None:
    schema = graphs.schema(3, 4)
    nodes = {**schema.num_nodes, "writer": 6, "mood": 0}
    edges = (
        *schema.edge_types,
        ("genre", "is_a", "genre"),
        ("item", "has_mood", "mood"),
        ("mood", "rev_has_mood", "item"),
    )
    model = GAT(type(schema)(**{**vars(schema), "num_nodes": nodes, "edge_types": edges}))
    assert set(model.nodes) == {"user", "item", "genre", "director"}
    assert set(model.edge_types.values()) == {
        ("user", "rates", "item"),
        ("item", "rev_rates", "user"),
        ("genre", "rev_has_genre", "item"),
        ("director", "rev_has_director", "item"),
    }


def test_parameters_start_as_torch_geometrics_do() -> None:
    torch.manual_seed(0)
    model = GAT(worlds.schema(50, 40), dim=64, heads=4)
    attention: Any = model.attentions["item-rev_rates-user"]
    for matrix, bound in ((attention.lin_src.weight, (6 / 128) ** 0.5), (attention.att_dst, (6 / 20) ** 0.5)):
        assert 0.9 * bound < matrix.abs().max() <= bound


def test_nodes_without_neighbours_are_the_bias() -> None:
    model, _, views = world()
    state = model.encode(views)
    assert torch.equal(state.user[3], model.bias["user"])
    nothing = model.encode(graphs.views(torch.zeros(23, 17, dtype=torch.bool)))
    assert torch.equal(nothing.user, model.bias["user"].expand(23, 12))
    assert torch.equal(nothing.item[2], model.bias["item"])
    assert not torch.allclose(nothing.item[1], model.bias["item"])  # it has attributes


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
def test_what_is_encoded_for_a_batch_equals_what_is_encoded_for_all(scoring: str) -> None:
    model, _, views = world(scoring=scoring)
    user, item, negative = torch.tensor([7, 3, 7, 0]), torch.tensor([1, 1, 5, 16]), torch.tensor([[2], [2], [9], [0]])
    full, some = model.encode(views), model.encode_for(views, PairBatch(user, item, negative, item, negative))
    item = torch.cat([item, negative.flatten()])
    torch.testing.assert_close(some.user[user], full.user[user], **CLOSE)
    torch.testing.assert_close(some.item[item], full.item[item], **CLOSE)
    assert some.user[[1, 2, 22]].isnan().all() and some.item[[3, 15]].isnan().all()
    losses = [(s.user[user] @ s.item[item].T).tanh().sum() for s in (some, full)]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
def test_attention_is_a_distribution_over_the_edges_of_each_target(scoring: str) -> None:
    model, _, views = world(scoring=scoring)
    (weights,) = model.attention(views)
    found = views.derive(relations(graphs.schema(23, 17)))
    assert set(weights) == set(model.edge_types.values())
    for edge_type, alpha in weights.items():
        edges = found[edge_type].target
        assert alpha.shape == (len(edges.col), 3)
        totals = torch.zeros(len(edges.crow) - 1, 3, dtype=alpha.dtype).index_add(0, edges.row, alpha)
        torch.testing.assert_close(totals, (edges.degree > 0)[:, None].expand(-1, 3).to(alpha), **CLOSE)


RATES, GENRE = ("user", "rates", "item"), ("item", "has_genre", "genre")


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
class TestWeighed:
    def test_weights_of_one_change_nothing(self, scoring: str) -> None:
        model, matrix, views = world(scoring=scoring)
        expected = model.encode(views)
        for weight in ({}, {RATES: torch.ones(int(matrix.sum()), dtype=torch.float64)}):
            for ours, theirs in zip(model.encode_weighed(views, weight), expected, strict=True):
                torch.testing.assert_close(ours, theirs, **CLOSE)

    @pytest.mark.parametrize("edge_type", [RATES, GENRE])
    def test_each_weight_is_of_its_own_edge_in_both_directions(self, scoring: str, edge_type: Any) -> None:
        """The derivative in a weight is what that edge's message does, computed here from the attention."""
        model, _, views = world(scoring=scoring)
        sources, targets = views.graph[edge_type].edge_index
        weight = torch.ones(len(sources), dtype=torch.float64, requires_grad=True)
        user, item = (torch.randn(n, 12, dtype=torch.float64) for n in (23, 17))
        state = model.encode_weighed(views, {edge_type: weight})
        (gradient,) = torch.autograd.grad((state.user * user).sum() + (state.item * item).sum(), weight)

        (weights,) = model.attention(views)
        found = views.derive(model.relations)
        expected = torch.zeros_like(gradient)
        back = (edge_type[2], f"rev_{edge_type[1]}", edge_type[0])
        for key, one_way in model.edge_types.items():
            if one_way not in (edge_type, back):
                continue
            attention: Any = model.attentions[key]
            ends = (sources, targets) if one_way == edge_type else (targets, sources)
            rows, lookup = found[one_way].target, {}
            for position, pair in enumerate(zip(rows.col.tolist(), rows.row.tolist(), strict=True)):
                lookup[pair] = position
            for edge, pair in enumerate(zip(ends[0].tolist(), ends[1].tolist(), strict=True)):
                alpha = weights[one_way][lookup[pair]].repeat_interleave(4)
                message = alpha * attention.lin_src(model.nodes[one_way[0]][pair[0]])
                expected[edge] += message @ (user if one_way[2] == "user" else item)[pair[1]]
        torch.testing.assert_close(gradient, expected, **CLOSE)


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
def test_contributions_add_up_and_are_what_an_item_passes_on(scoring: str) -> None:
    model, matrix, views = world(scoring=scoring)
    state, item = model.encode(views), torch.tensor([0, 16, 0])
    for user in (0, 3, 22):
        own, value, rest = model.contributions(views, state, user, item)
        assert torch.equal(own, matrix[user].nonzero().squeeze(1))
        torch.testing.assert_close(value.sum(1) + rest, state.item[item] @ state.user[user], **CLOSE)
        torch.testing.assert_close(rest, state.item[item] @ model.bias["user"], **CLOSE)
        rows = torch.arange(int(views.train.crow[user]), int(views.train.crow[user + 1]))
        for column, row in enumerate(rows):
            weight = torch.ones(len(views.train.col), dtype=torch.float64)
            weight[row] = 0
            without = model.encode_weighed(views, {RATES: weight}).user[user]
            torch.testing.assert_close(value[:, column], state.item[item] @ (state.user[user] - without), **CLOSE)


@pytest.mark.parametrize("scoring", ["gat", "gatv2"])
def test_mixed_precision(scoring: str) -> None:
    model, _, views = world(scoring=scoring)
    model.float()
    exact = model.encode(views)
    with torch.autocast("cpu", torch.bfloat16):
        state = model.encode(views)
    state.user.square().sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    torch.testing.assert_close(state.user, exact.user, atol=0.15, rtol=0.05)


def test_dropout_is_of_training_and_of_the_seed() -> None:
    model, _, views = world(dropout=0.5)
    still = model.encode(views).user
    model.train()
    torch.manual_seed(1)
    first, second = model.encode(views).user, model.encode(views).user
    torch.manual_seed(1)
    assert torch.equal(model.encode(views).user, first)
    assert not torch.allclose(first, second)
    mean = torch.stack([model.encode(views).user for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, still, atol=0.2, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 10, "heads": 4}, r"a dim that heads divides, and was given dim 10 and heads 4\."),
        ({"heads": 0}, r"a dim that heads divides, and was given dim 64 and heads 0\."),
        ({"scoring": "cosine"}, r"the scorings gat and gatv2, and was given 'cosine'\."),
        ({"dropout": 1.0}, r"a dropout from 0 to less than 1, and was given 1\.0\."),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GAT(worlds.schema(2, 2), **options)
