from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import GenreGAT, LightGCN
from tests.models import graphs, typed
from tests.models.contract import TrainedContract
from tests.models.genre_gats import (
    ALL_PAIRS,
    ATTENTIONS,
    CLOSE,
    GATES,
    RICH,
    SINGLE,
    batch_of,
    everywhere,
    scores,
    trained,
)
from tests.models.typed import BACK, RATES, I


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
