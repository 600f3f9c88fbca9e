"""What the scores of GenreGAT are made of: terms of attributes, and parts of own items."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.models import GenreGAT
from recsys_lightning.models.relations import relations
from recsys_lightning.schema import EdgeType
from tests.models import typed
from tests.models.genre_gats import (
    ALL_PAIRS,
    ATTENTIONS,
    CLOSE,
    GATES,
    SINGLE,
    everywhere,
    scores,
    trained,
)
from tests.models.typed import BACK, FROM_GENRE, GENRE, RATES, I, U, World


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
