from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.losses import bpr
from recsys_lightning.models import GenreGAT, LightGCN
from recsys_lightning.models.relations import relations
from recsys_lightning.schema import EdgeType
from tests.models import graphs, typed
from tests.models.contract import TrainedContract
from tests.models.typed import BACK, FROM_GENRE, GENRE, RATES, I, U, World

ATTENTIONS, GATES = ["gat", "gatv2", "none"], ["fixed", "adaptive", "learned"]
CLOSE = {"atol": 1e-9, "rtol": 1e-9}
SINGLE = {"atol": 1e-5, "rtol": 0}
RICH = {"weighted": True, "hierarchy": True, "features": 4}


class TestGenreGATWithoutAttributes(TrainedContract):
    model = GenreGAT
    options = {"dim": 12, "heads": 3, "dropout": 0.0}  # noqa: RUF012


class TestGenreGAT(TestGenreGATWithoutAttributes):
    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return graphs.views(matrix, item_order)

    def build(self, matrix: Tensor, seed: int = 0) -> GenreGAT:
        torch.manual_seed(seed)
        model = GenreGAT(graphs.schema(*matrix.shape), **self.options).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # of what is zero at the start, something
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model


class TestGATv2(TestGenreGAT):
    options = {"dim": 12, "heads": 3, "dropout": 0.0, "attention": "gatv2", "gate": "learned"}  # noqa: RUF012


class TestNone(TestGenreGAT):
    options = {"dim": 12, "heads": 3, "dropout": 0.1, "attention": "none", "gate": "adaptive"}  # noqa: RUF012


class TestSampled(TestGenreGAT):
    options = {"dim": 12, "heads": 3, "fan_out": [3, 2]}  # noqa: RUF012


def scores(model: GenreGAT, state: Any) -> Tensor:
    """(U, I)"""
    return model.score_all(model.users(state, torch.arange(model.num_users)), state)


def batch_of(user: Tensor, item: Tensor, negative: Tensor) -> PairBatch:
    return PairBatch(user, item, negative, torch.zeros_like(item).float(), torch.zeros_like(negative).float())


def trained(world: World, steps: int = 15, sampled: bool = False, **options: Any) -> GenreGAT:
    """A model in float64 that has taken some steps away from the start."""
    torch.manual_seed(0)
    model = GenreGAT(world.schema, **{"dim": 12, "heads": 3, "dropout": 0.0, **options}).double().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    user, item = (world.matrix > 0).nonzero().T
    for _ in range(steps):
        batch = batch_of(user, item, torch.randint(I, (len(user), 1)))
        state = model.encode_for(world.views, batch) if sampled else model.encode(world.views)
        u = model.users_without(state, user, item)
        positive, negative = model.items(state, item), model.items(state, batch.negative)
        loss = bpr(model.score(u, positive), model.score(u[:, None], negative))
        optimizer.zero_grad()
        (loss + 1e-3 * model.penalty(state, user, item, batch.negative)).backward()
        optimizer.step()
    return model.eval()


ALL_PAIRS = torch.cartesian_prod(torch.arange(U), torch.arange(I)).T
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (RICH, {"gate": "learned"}),
    ({"attributes": False}, {}),
    ({"weighted": True}, {"attention": "gatv2", "gate": "adaptive"}),
    ({"hierarchy": True}, {"attention": "none", "layers": 1}),
    ({"features": 3}, {"layers": 0}),
    ({}, {"attention": "none", "layers": 3, "gate": "learned"}),
]
everywhere = pytest.mark.parametrize(("data", "options"), DIFFERENT)


class TestStart:
    @pytest.mark.parametrize("layers", [0, 1, 2, 3])
    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_it_is_lightgcn(self, attention: str, layers: int) -> None:
        world = typed.world(hierarchy=True, features=3)
        torch.manual_seed(0)
        model = GenreGAT(world.schema, 12, 3, layers, attention, gate="learned").eval()  # type: ignore[arg-type]
        plain = LightGCN(world.schema, 12, layers)
        with torch.no_grad():
            plain.user.copy_(model.nodes["user"])
            plain.item.copy_(model.nodes["item"])
        ours, theirs = model.encode(world.views), plain.encode(world.views)
        users, items = ((world.matrix > 0).any(axis) for axis in (1, 0))
        torch.testing.assert_close(ours.user[users], theirs.user[users], atol=1e-6, rtol=0)
        torch.testing.assert_close(ours.item[items, :12], theirs.item[items], atol=1e-6, rtol=0)
        left, right = scores(model, ours)[users][:, items], (theirs.user @ theirs.item.T)[users][:, items]
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)
        assert torch.equal(left.topk(5).indices, right.topk(5).indices)

    def test_weighted_edges_are_lightgcn_with_weighted_degrees(self) -> None:
        world = typed.world(weighted=True)
        model = GenreGAT(world.schema, 12, 3, 1).double().eval()
        rows, columns = (world.matrix.sum(axis, keepdim=True).clamp(min=1e-9) for axis in (1, 0))
        adjacency = world.matrix / (rows * columns).sqrt()
        own = (model.nodes["user"] * (world.matrix.sum(1, keepdim=True) > 0), model.nodes["item"])
        torch.testing.assert_close(model.encode(world.views).user, (own[0] + adjacency @ own[1]) / 2, **SINGLE)

    def test_features_say_nothing_until_they_have_learned(self) -> None:
        world, other = typed.world(features=3), typed.world(features=3)
        other.views.graph["item"].x = -5 * other.views.graph["item"].x
        model = GenreGAT(world.schema, 12, 3).eval()
        assert torch.equal(scores(model, model.encode(world.views)), scores(model, model.encode(other.views)))
        model = trained(world)
        assert not torch.allclose(scores(model, model.encode(world.views)), scores(model, model.encode(other.views)))
        unseen = model.encode(world.views).item[[5, 11]]
        assert not torch.allclose(unseen[0, :12], unseen[1, :12])


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_parameter_gets_a_gradient_tensor_from_the_start_and_learns(attention: str, gate: str) -> None:
    """DDP waits for the gradient of each; an attribute type whose values nobody has is no exception."""
    values = {**graphs.attributes(I), "director": torch.zeros(I, 8, dtype=torch.bool)}
    world = typed.world(values=values, features=3)
    torch.manual_seed(0)
    model = GenreGAT(world.schema, 12, 3, attention=attention, gate=gate)  # type: ignore[arg-type]
    user, item = (world.matrix > 0).nonzero().T
    for fan_out in (None, [2, 2]):
        model.fan_out = fan_out
        state = model.encode_for(world.views, batch_of(user, item, item[:, None].flip(0)))
        u = model.users_without(state, user, item)
        (gain := model.score(u, model.items(state, item)).sum()).backward()
        assert gain.isfinite()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        model.zero_grad()
    before = {name: parameter.clone() for name, parameter in model.double().named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(4):
        state = model.encode(world.views)
        u = model.users_without(state, user, item)
        loss = bpr(model.score(u, model.items(state, item)), model.score(u, model.items(state, item.flip(0)))[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert all("director" in name for name in still)


class TestParts:
    """What serves a batch."""

    @pytest.mark.parametrize("size", [2, 60])
    @pytest.mark.parametrize("shared", [False, True])
    @everywhere
    def test_what_is_encoded_for_a_batch_serves_it_as_all_do(
        self, data: dict[str, Any], options: dict[str, Any], shared: bool, size: int
    ) -> None:
        world = typed.world(**data)
        model = trained(world, **options)
        torch.manual_seed(size)
        user, item = torch.randint(U, (size,)), torch.randint(I, (size,))
        negative = torch.randint(I, (3,)) if shared else torch.randint(I, (size, 2))
        whole = model.encode(world.views)
        for fan_out in (None, [-1] * model.layers):
            model.fan_out = fan_out
            part = model.encode_for(world.views, batch_of(user, item, negative))
            if size == 2 or fan_out is not None:
                assert len(part.user) < U
                assert part.user_id is not None
            for name in ("users", "users_without", "terms", "influences"):
                index = (user,) if name == "users" else (user, item)
                for ours, theirs in zip(_flat(model, name, part, index), _flat(model, name, whole, index), strict=True):
                    torch.testing.assert_close(ours, theirs, **CLOSE)
            for index in (item, negative):
                torch.testing.assert_close(model.items(part, index), model.items(whole, index), **CLOSE)
            penalties = [model.penalty(state, user, item, negative) for state in (part, whole)]
            torch.testing.assert_close(*penalties, **CLOSE)

    @pytest.mark.parametrize("fan_out", [None, [-1, -1]])
    @pytest.mark.parametrize("missing", [0, 3, 16])
    def test_what_is_not_encoded_is_not_taken_for_something_else(self, missing: int, fan_out: list[int] | None) -> None:
        world = typed.world()
        model = trained(world, fan_out=fan_out)
        held = torch.tensor([1, 2, 4])
        state = model.encode_for(world.views, batch_of(held, held, held[:, None]))
        assert state.user_id is not None and state.item_id is not None
        mixed = torch.tensor([2, missing])
        for read in (
            lambda: model.users(state, mixed),
            lambda: model.items(state, mixed),
            lambda: model.items(state, mixed[:, None]),
            lambda: model.users_without(state, mixed, held[:2]),
            lambda: model.users_without(state, held[:2], mixed),
            lambda: model.terms(state, held[:2], mixed),
            lambda: model.influences(state, mixed, held[:2]),
        ):
            with pytest.raises(IndexError):
                read()

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_gradients_of_all_neighbours_are_those_of_the_whole_graph(self, attention: str) -> None:
        world = typed.world(**RICH)
        model = trained(world, attention=attention)
        user, item = torch.tensor([0, 3, 22]), torch.tensor([1, 5, 2])
        gradients = []
        for fan_out in (None, [-1, -1]):
            model.fan_out = fan_out
            state = model.encode_for(world.views, batch_of(user, item, item[:, None]))
            loss = model.score(model.users_without(state, user, item), model.items(state, item)).tanh().sum()
            gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_small_fan_outs_are_of_the_seed_and_learn(self, attention: str) -> None:
        world = typed.world(**RICH)
        model = trained(world, steps=5, sampled=True, attention=attention, fan_out=[2, 1])
        user, item = torch.tensor([0, 3, 22]), torch.tensor([1, 5, 2])

        def drawn() -> Tensor:
            state = model.encode_for(world.views, batch_of(user, item, item[:, None]))
            return model.score(model.users(state, user), model.items(state, item))

        torch.manual_seed(1)
        first, second = drawn(), drawn()
        torch.manual_seed(1)
        assert torch.equal(drawn(), first)
        assert not torch.equal(second, first)
        assert first.isfinite().all()


def _flat(model: GenreGAT, name: str, state: Any, index: tuple[Tensor, ...]) -> list[Tensor]:
    out = getattr(model, name)(state, *index)
    if isinstance(out, Tensor):
        return [out]
    return [part for value in out.values() for part in (value if isinstance(value, tuple) else (value,))]


class TestTerms:
    @everywhere
    def test_terms_add_up_to_scores_and_influences_to_terms(
        self, data: dict[str, Any], options: dict[str, Any]
    ) -> None:
        world = typed.world(**data)
        model = trained(world, **options).float()
        state, (user, item) = model.encode(world.views), ALL_PAIRS
        terms = model.terms(state, user, item)
        assert list(terms) == ["base", *world.values]
        torch.testing.assert_close(sum(terms.values()), scores(model, state).flatten(), **SINGLE)
        influences = model.influences(state, user, item)
        assert list(influences) == list(world.values)
        for kind, (_, _, contribution, weight) in influences.items():
            torch.testing.assert_close(contribution.sum(1), terms[kind], **SINGLE)
            torch.testing.assert_close(weight, state.weight[user, model.kinds.index(kind)])
            assert terms[kind].abs().max() > 1e-3
            assert not terms[kind][user == 3].any()
            assert not terms[kind][item == 2].any()

    @pytest.mark.parametrize("weighted", [False, True])
    def test_affinity_and_strength_are_what_a_loop_says(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        model = trained(world)
        state = model.encode(world.views)
        user, item = torch.tensor([0, 3, 9, 9]), torch.tensor([2, 1, 16, 5])
        for kind, (affinity, strength, _, _) in model.influences(state, user, item).items():
            owned = world.values[kind]
            for row, (u, i) in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
                expected = [0.0] * owned.shape[1]
                for own in range(I):
                    share = world.matrix[u, own].item() / max(1e-9, world.matrix[u].sum().item())
                    for value in owned[own].nonzero().flatten().tolist():
                        expected[value] += share / owned[own].sum().item()
                assert affinity[row].tolist() == pytest.approx(expected, abs=1e-6)
                expected = (owned[i].double() / max(1, int(owned[i].sum()))).tolist()
                assert strength[row].tolist() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("gate", GATES)
    def test_a_term_by_hand(self, gate: str) -> None:
        world = typed.world(weighted=True)
        model = trained(world, gate=gate)
        terms: Any = model.terms_of["genre"]
        table, owned = model.nodes["genre"], world.values["genre"].double()
        mean = owned / owned.sum(1, keepdim=True).clamp(min=1) @ table
        taste = world.matrix / world.matrix.sum(1, keepdim=True).clamp(min=1e-9) @ mean
        degree = (world.matrix > 0).sum(1)
        actual = model.terms(model.encode(world.views), *ALL_PAIRS)["genre"].view(U, I)
        for u in (0, 3, 8):
            activity = math.log(1 + degree[u]) / math.log(1 + degree.max())
            share = world.matrix[u] @ (owned / owned.sum(1, keepdim=True).clamp(min=1))
            share = share[share > 0] / share.sum()
            diversity = -(share * share.log()).sum().item() / math.log(5)
            b, a, c = terms.gates.tolist() if gate == "learned" else (0.0, 0.0, 0.0)
            learned = 0.5 / (1 + math.exp(-b + math.exp(a) * (activity - 0.5) - math.exp(c) * (diversity - 0.5)))
            adaptive = min(0.5, 0.1 * (1 + 0.5 * (1 - activity) + 0.3 * diversity))
            weight = {"fixed": 0.1, "adaptive": adaptive, "learned": learned}[gate]
            expected = weight * (taste[u] @ terms.transform) @ mean.T
            torch.testing.assert_close(actual[u], expected, **SINGLE)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_a_target_is_not_in_the_taste_that_predicts_it(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        model = trained(world)
        state = model.encode(world.views)
        user, item = ALL_PAIRS
        found = model.users_without(state, user, item)
        torch.testing.assert_close(found[:, :12], state.user[user], **CLOSE)
        torch.testing.assert_close(
            found[world.matrix[user, item] == 0], model.users(state, user)[world.matrix[user, item] == 0], **CLOSE
        )
        for row in range(0, len(user), 3):
            u, i = int(user[row]), int(item[row])
            share = world.matrix[u].clone()
            share[i] = 0
            share = share / share.sum().clamp(min=1e-9)
            for column, kind in enumerate(model.kinds, start=1):
                terms: Any = model.terms_of[kind]
                taste = share @ state.item.unflatten(1, (-1, 12))[:, column]
                expected = terms(taste[None], state.weight[u : u + 1, column - 1])[0]
                torch.testing.assert_close(found[row, 12 * column : 12 * (column + 1)], expected, **SINGLE)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_moving_the_targets_attributes_in_the_history_does_not_move_its_score(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        model = trained(world)
        state = model.encode(world.views)
        u, i = 7, int((world.matrix[7] > 0).nonzero()[0])
        values = state.item.clone()
        values[i, 12:] += 10.0
        means = values[:, 12:].unflatten(1, (-1, 12))
        moved = state._replace(item=values, taste=torch.stack([state.own.mean(m) for m in means.unbind(1)], 1))
        user, item = torch.tensor([u]), torch.tensor([i])
        torch.testing.assert_close(
            model.users_without(moved, user, item), model.users_without(state, user, item), **SINGLE
        )
        assert not torch.allclose(model.users(moved, user), model.users(state, user), atol=0.01)

    def test_a_user_of_one_item_has_no_taste_without_it(self) -> None:
        matrix = torch.eye(U, I) > 0
        world = typed.world(matrix=matrix, weighted=True)
        model = trained(world)
        index = torch.arange(I)
        without = model.users_without(model.encode(world.views), index, index)
        assert without.isfinite().all()
        assert not without[:, 12:].any()


def weights_of(world: World, edge_type: EdgeType) -> Tensor:
    return torch.ones(world.views.graph[edge_type].edge_index.shape[1], dtype=torch.float64)


class TestExplanations:
    @everywhere
    def test_contributions_of_own_items_add_up(self, data: dict[str, Any], options: dict[str, Any]) -> None:
        world = typed.world(**data)
        model = trained(world, **options)
        state, item = model.encode(world.views), torch.tensor([0, 2, 5, 16, 0])
        for user in (0, 3, 22):
            own, value, rest = model.contributions(world.views, state, user, item)
            assert torch.equal(own, (world.matrix[user] > 0).nonzero().squeeze(1))
            assert value.shape == (5, len(own))
            torch.testing.assert_close(value.sum(1) + rest, scores(model, state)[user, item], **SINGLE)
            if len(own) and (model.layers or model.kinds):
                assert value.abs().max() > 1e-3

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_a_contribution_is_what_the_last_hop_of_an_edge_carries(self, attention: str) -> None:
        """With one layer, an edge tells the user nothing but by its last hop: taking its message away is exact."""
        world = typed.world(weighted=True)
        model = trained(world, attention=attention, layers=1)
        state, user = model.encode(world.views), 4
        own, value, _ = model.contributions(world.views, state, user, torch.arange(I))
        first = int(world.views.train.crow[user])
        for column, item in enumerate(own.tolist()):
            weight = weights_of(world, RATES)
            weight[first + column] = 0
            without = model.encode_weighed(world.views, {RATES: weight})
            expected = scores(model, state)[user] - scores(model, without)[user]
            others = torch.arange(I) != item  # the item itself hears the user no more
            torch.testing.assert_close(value[others, column], expected[others], **SINGLE)

    @everywhere
    def test_weights_of_one_change_nothing(self, data: dict[str, Any], options: dict[str, Any]) -> None:
        world = typed.world(**data)
        model = trained(world, **options)
        expected = scores(model, model.encode(world.views))
        kinds = [kind for kind in world.dense if kind[0] == "user" or kind[2] in world.values]
        for weight in ({}, {kind: weights_of(world, kind) for kind in kinds}):
            torch.testing.assert_close(scores(model, model.encode_weighed(world.views, weight)), expected, **CLOSE)

    @everywhere
    def test_weights_are_those_of_the_edges_one_at_a_time(self, data: dict[str, Any], options: dict[str, Any]) -> None:
        """Gradients in the weights, against differences of scores that a dense computation makes for each edge."""
        world = typed.world(**data)
        model = trained(world, **options)
        direction = torch.randn(U, I, dtype=torch.float64)
        for edge_type in [RATES, *([GENRE] if world.values else [])]:
            weight = weights_of(world, edge_type).requires_grad_()
            state = model.encode_weighed(world.views, {edge_type: weight})
            (gradient,) = torch.autograd.grad((scores(model, state) * direction).sum(), weight)
            dense, edges = {kind: torch.ones_like(m) for kind, m in world.dense.items()}, world.views.graph[edge_type]
            back = (edge_type[2], f"rev_{edge_type[1]}", edge_type[0])
            for edge in (0, 7, len(weight) - 1):
                source, target = edges.edge_index[:, edge].tolist()
                ends = []
                for value in (1.001, 0.999):
                    dense[back][source, target] = dense[edge_type][target, source] = value
                    ends.append((oracle(model, world, dense) * direction).sum())
                dense[back][source, target] = dense[edge_type][target, source] = 1.0
                difference = (ends[0] - ends[1]) / 0.002
                torch.testing.assert_close(gradient[edge], difference, atol=1e-5, rtol=1e-4)

    def test_attention_adds_up_to_what_a_node_may_hear(self) -> None:
        world = typed.world(weighted=True)
        model = trained(world)
        found = world.views.derive(relations(world.schema))
        layers = model.attention(world.views)
        assert [set(layer) for layer in layers] == [set(found), {kind for kind in found if kind[2] not in world.values}]
        for layer in layers:
            for kind, norm in ((BACK, found[BACK].norm), (RATES, found[RATES].norm)):
                row, alpha = found[kind].target.row, layer[kind]
                assert alpha.shape == (len(norm), 3)
                size = len(found[kind].target.crow) - 1
                total = torch.zeros(size, 3, dtype=alpha.dtype).index_add(0, row, alpha)
                mass = torch.zeros(size).index_add(0, row, norm)
                torch.testing.assert_close(total, mass[:, None].expand(-1, 3).double(), **SINGLE)
                assert alpha.std() > 0
            total = torch.zeros(I, 3, dtype=torch.float64).index_add(0, found[FROM_GENRE].target.row, layer[FROM_GENRE])
            heard = total[world.values["genre"].any(1)]
            torch.testing.assert_close(heard, heard[:1, :1].expand_as(heard), **CLOSE)
            assert 0 < heard[0, 0].abs().item() < 0.5

    def test_fixed_coefficients_are_no_attention(self) -> None:
        world = typed.world()
        assert trained(world, attention="none").attention(world.views) == []


def oracle(model: GenreGAT, world: World, factor: dict[EdgeType, Tensor]) -> Tensor:
    """Scores (U, I) by dense matrices, whose messages are multiplied by factors (targets, sources)."""
    found = world.views.derive(relations(world.schema))
    x = dict(model._inputs(world.views))
    base, layers = dict(x), [{kind: x[kind] for kind in ("user", "item")}]
    for heard in model.messages.coefficients(x, found):
        new: dict[str, Tensor] = {}
        for kind, alpha in heard.items():
            rows = found[kind].target
            wide = torch.zeros(*factor[kind].shape, 12, dtype=torch.float64)
            wide[rows.row, rows.col.long()] = alpha.repeat_interleave(12 // alpha.shape[1], 1)
            new[kind[2]] = new.get(kind[2], 0) + (wide * factor[kind][..., None] * x[kind[0]][None]).sum(1)
        x = {**x, **new}
        layers.append({kind: x[kind] for kind in ("user", "item")})
    z = {kind: sum(layer[kind] for layer in layers) / len(layers) for kind in ("user", "item")}  # type: ignore[misc]
    total = z["user"] @ z["item"].T
    state = model.encode(world.views)
    share = world.matrix / world.matrix.sum(1, keepdim=True).clamp(min=1e-9) * factor[BACK]
    for column, (kind, owned) in enumerate(world.values.items()):
        strength = owned / owned.sum(1, keepdim=True).clamp(min=1) * factor[kind, f"rev_has_{kind}", "item"]
        mean, term = strength.double() @ base[kind], model._term(kind)
        total = total + term(share @ mean, state.weight[:, column]) @ mean.T
    return total


class TestGraph:
    """What the graph may hold beside edges."""

    def test_an_embedding_is_the_sum_over_ancestors_each_once(self) -> None:
        world = typed.world(hierarchy=True)
        model = GenreGAT(world.schema, 12, 3).double()
        own = model.nodes["genre"]
        expected = torch.stack([own.sum(0), own[[1, 3, 4]].sum(0), own[[2, 3, 4]].sum(0), own[[3, 4]].sum(0), own[4]])
        torch.testing.assert_close(model.encode(world.views).values["genre"], expected, **CLOSE)

    def test_values_below_the_same_parent_come_nearer(self) -> None:
        world, flat = typed.world(hierarchy=True), typed.world()
        torch.manual_seed(0)
        model = GenreGAT(world.schema)
        below, plain = model.encode(world.views).values["genre"], model.nodes["genre"]
        cosine = torch.nn.functional.cosine_similarity
        assert cosine(below[1], below[2], 0) > cosine(plain[1], plain[2], 0) + 0.3
        assert flat.schema.edge_types != world.schema.edge_types

    def test_parents_learn_from_items_of_their_children(self) -> None:
        world = typed.world(hierarchy=True)  # no item has genre 4 itself
        model = trained(world, steps=5)
        torch.manual_seed(0)
        fresh = GenreGAT(world.schema, 12, 3, dropout=0.0).double()
        assert (model.nodes["genre"][4] - fresh.nodes["genre"][4]).abs().min() > 0.01

    @everywhere
    def test_who_has_no_visible_rows_has_no_identity(self, data: dict[str, Any], options: dict[str, Any]) -> None:
        world = typed.world(**data)
        model = trained(world, **options)
        before = scores(model, model.encode(world.views))
        with torch.no_grad():
            model.nodes["user"][3] += 5
            model.nodes["item"][[5, 11]] += 5
        assert torch.equal(scores(model, model.encode(world.views)), before)

    def test_items_without_rows_are_told_apart_by_their_attributes(self) -> None:
        world = typed.world()
        model = trained(world)
        found = scores(model, model.encode(world.views))
        assert not torch.allclose(found[:, 5], found[:, 11])
        bare = typed.world(attributes=False)
        model = trained(bare)
        assert not scores(model, model.encode(bare.views))[:, 5].any()

    def test_edge_weights_move_tastes_and_what_is_heard(self) -> None:
        world, other = typed.world(weighted=True), typed.world(weighted=True)
        for edge_type in (RATES, BACK):
            other.views.graph[edge_type].weight = other.views.graph[edge_type].weight ** 3
        model = trained(world)
        ours, theirs = model.encode(world.views), model.encode(other.views)
        assert not torch.allclose(ours.taste, theirs.taste)
        assert not torch.allclose(ours.user, theirs.user)

    def test_node_types_may_be_named_as_methods_of_torch(self) -> None:
        world = typed.world(values={"type": torch.ones(I, 4, dtype=torch.bool)} | graphs.attributes(I))
        edges = (("item", "has_type", "type"), ("type", "rev_has_type", "item"))
        schema = type(world.schema)(**{**vars(world.schema), "edge_types": (*world.schema.edge_types, *edges)})
        model = GenreGAT(schema, 12, 3)
        assert model.kinds == ("genre", "director", "type")
        state = model.encode(world.views)
        assert set(model.terms(state, *ALL_PAIRS)) == {"base", *model.kinds}
        model.penalty(state, *ALL_PAIRS, ALL_PAIRS[1])

    def test_a_type_without_any_node(self) -> None:
        world = typed.world(values={**graphs.attributes(I), "director": torch.zeros(I, 0, dtype=torch.bool)})
        model = trained(world)
        assert not model.terms(model.encode(world.views), *ALL_PAIRS)["director"].any()


def test_penalty_is_of_what_is_free_in_the_scores_of_a_batch() -> None:
    world = typed.world()
    model = trained(world)
    state = model.encode(world.views)
    user, item = torch.tensor([0, 4]), torch.tensor([1, 1])
    for negative in (torch.tensor([[5], [6]]), torch.tensor([7, 8, 2])):
        expected = 0.0
        for u in user.tolist():
            expected += (model.nodes["user"][u] ** 2).sum().item()
            expected += (model.users(state, torch.tensor([u]))[0, 12:] ** 2).sum().item()
        for i in [*item.tolist(), *negative.flatten().tolist()]:
            expected += (model.nodes["item"][i] ** 2).sum().item() + (state.item[i, 12:] ** 2).sum().item()
        vectors = [p for name, p in model.named_parameters() if name.endswith((".source", ".target"))]
        attention = sum((vector**2).sum().item() for vector in vectors) / 2
        assert model.penalty(state, user, item, negative).item() == pytest.approx(expected / 4 + attention)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_state_dict_needs_no_pickled_code(attention: str) -> None:
    world = typed.world(**RICH)
    model = trained(world, attention=attention, gate="learned")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = GenreGAT(world.schema, 12, 3, attention=attention, gate="learned").double()  # type: ignore[arg-type]
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(scores(twin.eval(), twin.encode(world.views)), scores(model, model.encode(world.views)))


def test_dropout_is_of_training_alone() -> None:
    world = typed.world()
    model = trained(world, dropout=0.5)
    still = model.encode(world.views).user
    assert torch.equal(model.encode(world.views).user, still)
    assert not torch.equal(model.train().encode(world.views).user, still)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_mixed_precision(attention: str) -> None:
    world = typed.world(**RICH)
    model = trained(world, attention=attention, gate="learned").float()
    exact = scores(model, model.encode(world.views))
    user, item = ALL_PAIRS
    with torch.autocast("cpu", torch.bfloat16):
        state = model.encode(world.views)
        found = model.score(model.users_without(state, user, item), model.items(state, item))
        whole = scores(model, state)
    found.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    torch.testing.assert_close(whole.float(), exact, atol=0.15, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 10}, r"a dim that heads divides, and was given dim 10 and heads 4\."),
        ({"heads": 0}, r"a dim that heads divides, and was given dim 64 and heads 0\."),
        ({"dim": 0}, r"a dim that heads divides, and was given dim 0 and heads 4\."),
        ({"layers": -1}, r"layers from 0, .* and was given -1, 0\.1 and 0\.1\."),
        ({"dropout": 1.0}, r"a dropout from 0 to less than 1 .* and was given 2, 1\.0 and 0\.1\."),
        ({"genre_weight": 0.5}, r"a genre_weight between 0 and 0\.5, and was given 2, 0\.1 and 0\.5\."),
        ({"genre_weight": 0.0}, r"a genre_weight between 0 and 0\.5, and was given 2, 0\.1 and 0\.0\."),
        ({"fan_out": [5]}, r"a fan_out for each of its 2 layers, .* and was given \[5\]\."),
        ({"fan_out": [5, 0]}, r"from 1 or -1 for all neighbours, and was given \[5, 0\]\."),
        ({"attention": "cosine"}, r"the attentions gat, gatv2, none .* and was given 'cosine' and 'fixed'\."),
        ({"gate": "open"}, r"the gates fixed, adaptive, learned, and was given 'gat' and 'open'\."),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GenreGAT(typed.world().schema, **options)
