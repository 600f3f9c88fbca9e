from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.losses.ranking import bce
from recsys_lightning.models import HybridRecommender, Recommender
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import hybrids
from tests.models.contract import TrainedContract
from tests.models.hybrids import NOTHING, REVIEWS, WIDTH, I, U
from tests.models.learning import learn

CLOSE: dict[str, Any] = {"atol": 1e-10, "rtol": 1e-10}
VIEWS, SCORERS = ["both", "text", "graph"], ["dot", "bilinear", "mlp"]


class Rich(HybridRecommender):
    """The model on data that hold all it reads."""

    def __init__(self, schema: Schema, **options: Any) -> None:
        super().__init__(hybrids.schema(schema.num_users, schema.num_items), **options)


BY_OTHER_LOSSES = frozenset({"scorer.last.bias"})
"""Every score has it alike: it cancels in BPR, which compares two of them, and learns by losses that do not."""


class TestBoth(TrainedContract):
    model = Rich
    options = {"dim": 12, "dropout": 0.0}  # noqa: RUF012
    unused = BY_OTHER_LOSSES

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return hybrids.views(matrix, item_order)

    def build(self, matrix: Tensor, seed: int = 0) -> Recommender:
        model = super().build(matrix, seed)
        hybrids.shaken(model, 0.1)
        return model


class TestText(TestBoth):
    options = {"dim": 12, "views": "text", "scorer": "bilinear"}  # noqa: RUF012


class TestGraph(TestBoth):
    options = {"dim": 12, "views": "graph", "scorer": "dot", "identity": True}  # noqa: RUF012


class TestAtTheTextsOwnWidth(TestBoth):
    options = {"dim": None, "heads": 3, "scorer": "dot", "items": "batch", "target": "visible"}  # noqa: RUF012


def made(schema: Schema | None = None, seed: int = 0, double: bool = True, **options: Any) -> HybridRecommender:
    """A model off its start, in evaluation, in float64."""
    torch.manual_seed(seed)
    model = HybridRecommender(schema or hybrids.schema(), **{"dim": 8, "dropout": 0.0, "hide": 0.0, **options})
    hybrids.shaken(model)
    return (model.double() if double else model).eval()


def everything(model: HybridRecommender, views: Views) -> Tensor:
    """(U, I)"""
    state = model.encode(views)
    return model.score_all(model.users(state, torch.arange(U)), state)


def some(*pairs: tuple[int, int], negative: list[list[int]] | None = None) -> PairBatch:
    user, item = torch.tensor(pairs).T
    drawn = torch.tensor(negative or [[0]] * len(pairs))
    return PairBatch(user, item, drawn, torch.zeros(len(pairs)), torch.zeros(drawn.shape))


class TestEquations:
    @pytest.mark.parametrize("views", VIEWS)
    @pytest.mark.parametrize("scorer", SCORERS)
    def test_scores_are_those_of_one_user_and_one_item(self, views: str, scorer: str) -> None:
        model, world = made(views=views, scorer=scorer), hybrids.views(hybrids.matrix(), ties=True)
        scores = everything(model, world)
        history = world.history.of(torch.arange(U))
        encoders = [(model.text, model.text_history), (model.graph, model.graph_history)]
        items = []
        if model.text is not None:
            items.append(model.text(world.text))
        if model.graph is not None:
            items.append(model.graph(world))
        readers = [reader for _, reader in encoders if reader is not None]
        for user in (0, 3, 4, 22):
            parts = []
            for vectors, reader in zip(items, readers, strict=True):
                p = []
                mask = history.mask[user]
                v = vectors[history.item[user][mask]] + reader.rating[history.rating[user][mask]]
                if reader.time is not None:
                    v = v + reader.time[history.time[user][mask]]
                for query in reader.query:
                    weight = (v @ query * (len(reader.query) / 8) ** 0.5).softmax(0)
                    p.append((weight[:, None] * v).sum(0))
                rows = reader.value.weight.view(len(p), -1, 8)
                joined = torch.cat([matrix @ summed for matrix, summed in zip(rows, p, strict=True)])
                parts.append(reader.norm(joined if reader.out is None else reader.out.weight @ joined))
            u, i = parts[0], items[0]
            if model.user_fusion is not None and model.item_fusion is not None:
                alpha = model.user_fusion.score(model.user_fusion.hidden(torch.cat(parts)).tanh()).sigmoid()
                u = alpha * parts[0] + (1 - alpha) * parts[1]
                both = torch.cat(items, 1)
                beta = model.item_fusion.score(model.item_fusion.hidden(both).tanh()).sigmoid()
                i = beta * items[0] + (1 - beta) * items[1]
            expected = model.scorer.score(u, model.scorer.keys(i))
            torch.testing.assert_close(scores[user], expected, **CLOSE)

    @pytest.mark.parametrize("gate", [0.0, 1.0, 0.25])
    def test_a_constant_gate_mixes_views_by_it(self, gate: float) -> None:
        model, views = made(scorer="dot"), hybrids.views(hybrids.matrix())
        constant = made(scorer="dot", gate=gate)
        constant.load_state_dict(model.state_dict())
        state = constant.encode(views)
        text, graph = state.item
        assert torch.equal(constant.items(state), gate * text + (1 - gate) * graph)
        left, right = constant.two_views(u := constant.users(state, torch.arange(U)))
        expected = (gate * left + (1 - gate) * right) @ constant.items(state).T / 8**0.5
        torch.testing.assert_close(constant.cross(u, constant.items(state)), expected, **CLOSE)
        with pytest.raises(InputError, match=r"gate is .*a constant gate measures a trained model"):
            constant.train().encode_for(views, hybrids.batch(hybrids.matrix()))

    def test_gates_of_items_reviews_and_users(self) -> None:
        model, views = made(), hybrids.views(hybrids.matrix())
        gates = model.gates(views)
        assert {name: len(gate) for name, gate in gates.items()} == {"review": I, "item": I, "user": U}
        for gate in gates.values():
            assert not gate.requires_grad and ((gate >= 0) & (gate <= 1)).all() and gate.std() > 0
        state = model.encode(views)
        text, graph = state.item
        assert model.scorer is not None
        mixed = gates["item"][:, None] * text + (1 - gates["item"][:, None]) * graph
        torch.testing.assert_close(model.scorer.keys(mixed), model.items(state), **CLOSE)
        assert set(made(views="text").gates(views)) == {"review"}
        assert set(made(views="graph").gates(views)) == set()
        assert set(made(replace(hybrids.schema(), max_reviews=0)).gates(views)) == {"item", "user"}


class TestTheTargetIsLeftOut:
    """G6: no vector of the item to predict reaches the user that predicts it."""

    @pytest.mark.parametrize("views", VIEWS)
    @pytest.mark.parametrize("target", ["left_out", "visible"])
    def test_a_user_stands_still_when_the_target_moves(self, views: str, target: str) -> None:
        model, matrix = made(views=views, target=target, scorer="dot"), hybrids.matrix()
        world = hybrids.views(matrix)
        user, item = matrix.nonzero().T
        state = model.encode(world)
        before = model.users_without(state, user, item)
        in_history = (world.history.of(user).item == item[:, None]).any(1)
        assert in_history.any()
        for row in range(len(user)):
            tables = [type(table)(*(part.clone() for part in table)) for table in state.tables]
            for table in tables:
                for part in table:
                    part[item[row]] += 1.0
            after = model.users_without(state._replace(tables=tuple(tables)), user[row, None], item[row, None])
            alone = model.users_without(state, user[row, None], item[row, None])
            moves = target == "visible" and bool(in_history[row])
            assert torch.equal(after, alone) == (not moves)
            torch.testing.assert_close(alone, before[row, None], **CLOSE)

    def test_a_user_is_what_it_was_had_the_row_never_been(self) -> None:
        matrix, model = hybrids.matrix(), made()
        user, item = matrix.nonzero().T
        state = model.encode(hybrids.views(matrix))
        left = model.users_without(state, user, item)
        for row in range(0, len(user), 5):
            never = matrix.clone()
            never[user[row], item[row]] = False
            expected = model.users(state._replace(history=hybrids.views(never).history), user[row, None])
            torch.testing.assert_close(left[row, None], expected, **CLOSE)

    @pytest.mark.parametrize("views", ["text", "graph"])
    def test_no_gradient_of_the_targets_vector_comes_through_the_history(self, views: str) -> None:
        matrix, model = hybrids.matrix(), made(views=views)
        user = torch.tensor([0])
        item = matrix[0].nonzero()[:1, 0]
        state = model.encode(hybrids.views(matrix))
        tables = type(state.tables[0])(*(part.detach().requires_grad_() for part in state.tables[0]))
        model.users_without(state._replace(tables=(tables,)), user, item).sin().sum().backward()
        for part in tables:
            assert part.grad is not None and not part.grad[item].any() and part.grad.any()


class TestHiding:
    def test_the_share_in_training_alone_and_the_same_in_both_views(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, matrix = made(hide=0.3), hybrids.matrix()
        seen: list[Tensor] = []

        def watch(module: Any, arguments: Any) -> None:
            seen.append(arguments[2])

        for reader in (model.text_history, model.graph_history):
            assert reader is not None
            reader.register_forward_pre_hook(watch)
        user, item = matrix.nonzero().T.repeat(1, 200)
        state = model.encode(hybrids.views(matrix))
        whole = state.history.without(user, item).mask
        model.users_without(state, user, item)
        model.train().users(state, user)
        assert all(torch.equal(mask, whole) for mask in seen[:2])
        assert all(torch.equal(mask, state.history.of(user).mask) for mask in seen[2:])
        model.users_without(state, user, item)
        assert torch.equal(seen[4], seen[5])
        assert not (seen[4] & ~whole).any()
        assert abs(float(1 - seen[4].sum() / whole.sum()) - 0.3) < 0.01
        model.hide = 0.0
        model.users_without(state, user, item)
        assert torch.equal(seen[6], whole)

    @pytest.mark.parametrize("views", VIEWS)
    def test_a_history_of_nothing_is_finite_and_so_are_its_gradients(self, views: str) -> None:
        """User 3 has no row, and user 4 no other than the target."""
        torch.manual_seed(0)
        model = HybridRecommender(hybrids.schema(), views, 8, identity=views != "text").train()  # type: ignore[arg-type]
        world = hybrids.views(hybrids.matrix())
        batch = some((3, 1), (4, 0), (3, NOTHING), (0, 1), (22, 2))
        loss = hybrids.loss(model, world, batch) + 1e-3 * model.penalty(None, *batch[:3])  # type: ignore[arg-type]
        loss.backward()
        assert loss.isfinite()
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
            assert parameter.grad is None or parameter.grad.abs().max() < 1e4, name  # a cosine of zero has 1e11


class TestItemsOfABatch:
    @pytest.mark.parametrize("views", VIEWS)
    @pytest.mark.parametrize("pairs", [((0, 1), (3, 2)), ((4, 0),), ((3, NOTHING),)])
    @pytest.mark.parametrize("target", ["left_out", "visible"])
    def test_loss_and_gradients_are_those_of_all_items(
        self, views: str, pairs: tuple[tuple[int, int], ...], target: str
    ) -> None:
        world, batch = hybrids.views(hybrids.matrix()), some(*pairs, negative=[[3, 7, 3]] * len(pairs))
        sides = []
        for items in ("all", "batch"):
            model = made(views=views, items=items, target=target)
            loss = hybrids.loss(model, world, batch)
            sides.append([loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)])
        for ours, theirs in zip(*sides, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_others_are_not_encoded_and_not_taken_for_something_else(self) -> None:
        model, world = made(items="batch", views="text"), hybrids.views(hybrids.matrix())
        state = model.encode_for(world, some((4, 0), negative=[[1]]))
        rows = state.item[0].isfinite().all(1)
        assert rows.nonzero().squeeze(1).tolist() == [0, 1]
        assert model.items(state, torch.tensor([0, 2])).isfinite().all(1).tolist() == [True, False]

    @pytest.mark.parametrize("negatives", [1, 3, 40])
    @pytest.mark.parametrize("items", ["all", "batch"])
    def test_keys_of_many_and_of_few_are_the_same(self, negatives: int, items: str) -> None:
        model, world = made(items=items), hybrids.views(hybrids.matrix())
        batch = some((0, 1), (5, 2), negative=torch.arange(2 * negatives).remainder(I).view(2, -1).tolist())
        state, whole = model.encode_for(world, batch), model.encode(world)
        assert (state.key is None) == (items == "batch" or negatives < 8)
        for index in (batch.item, batch.negative):
            torch.testing.assert_close(model.items(state, index), model.items(whole, index), **CLOSE)

    def test_users_are_those_of_the_batch_alone(self) -> None:
        model, world = made(), hybrids.views(hybrids.matrix())
        calls: list[int] = []
        for reader in (model.text_history, model.graph_history):
            assert reader is not None
            reader.register_forward_pre_hook(lambda module, arguments: calls.append(len(arguments[2])))
        state = model.encode_for(world, some((0, 1), (5, 2)))
        assert not calls
        model.users_without(state, torch.tensor([0, 5]), torch.tensor([1, 2]))
        assert calls == [2, 2]
        with pytest.raises(IndexError):
            model.users(state, torch.tensor([U]))


DATA: dict[str, dict[str, Any]] = {"reviews": {}, "no-reviews": {"max_reviews": 0}}


@pytest.mark.parametrize("data", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("scorer", SCORERS)
def test_no_dead_mathematics(scorer: str, views: str, identity: bool, data: dict[str, Any]) -> None:
    if identity and views == "text":
        pytest.skip("identities are of the graph view")
    matrix = hybrids.matrix()
    world = hybrids.views(matrix, reviews=not data)
    torch.manual_seed(0)
    schema = replace(hybrids.schema(), **data)
    model = HybridRecommender(schema, views, 8, scorer, identity=identity)  # type: ignore[arg-type]
    learned = learn(model, lambda step: hybrids.loss(model, world, hybrids.batch(matrix, seed=step)), 20)
    assert learned.untouched <= BY_OTHER_LOSSES
    assert learned.better


def test_the_last_bias_learns_by_a_loss_of_single_scores() -> None:
    model, world = made(), hybrids.views(hybrids.matrix())
    batch = some((0, 1), (5, 2))
    state = model.encode_for(world, batch)
    scores = model.score(model.users(state, batch.user), model.items(state, batch.item))
    bce(scores, scores[:, None]).backward()
    assert all(dict(model.named_parameters())[name].grad.any() for name in BY_OTHER_LOSSES)  # type: ignore[union-attr]


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("scorer", SCORERS)
def test_half_precision(views: str, scorer: str) -> None:
    model, world = made(views=views, scorer=scorer, hide=0.1, double=False).train(), hybrids.views(hybrids.matrix())
    for items in ("all", "batch"):
        model.encoded = items
        with torch.autocast("cpu", torch.bfloat16):
            loss = hybrids.loss(model, world, hybrids.batch(hybrids.matrix()))
        loss.backward()
        assert loss.isfinite()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = everything(model, world)
    torch.testing.assert_close(scores.float(), everything(model, world), atol=0.2, rtol=0.1)


def test_two_views_are_the_halves() -> None:
    model, world = made(), hybrids.views(hybrids.matrix())
    u = model.users(model.encode(world), torch.arange(U))
    assert u.shape == (U, 16)
    left, right = model.two_views(u)
    assert torch.equal(torch.cat([left, right], 1), u)
    for views in ("text", "graph"):
        one = made(views=views)
        u = one.users(one.encode(world), torch.arange(U))
        assert u.shape == (U, 8) and not one.has_two_views


def test_penalty_is_of_the_items_own_embeddings() -> None:
    user, item, negative = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([[4], [2]])
    model = made(identity=True)
    assert model.graph is not None and model.graph.item is not None
    expected = model.graph.item[[2, 3, 4, 2]].square().sum() / 4
    torch.testing.assert_close(model.penalty(None, user, item, negative), expected)
    for options in ({}, {"views": "text"}):
        assert not made(**options).penalty(None, user, item, negative)


def test_what_is_read_is_what_views_are_made_of() -> None:
    reads = {views: (made(views=views).reads_text, made(views=views).reads_graph) for views in VIEWS}
    assert reads == {"both": (True, True), "text": (True, False), "graph": (False, True)}
    assert not HybridRecommender.reads_text
    parts = {views: {name for name, _ in made(views=views).named_children()} for views in VIEWS}
    assert parts["text"] == {"text", "text_history", "scorer"}
    assert parts["graph"] == {"graph", "graph_history", "scorer"}
    assert parts["both"] == parts["text"] | parts["graph"] | {"item_fusion", "user_fusion"}
    assert made(dim=None, heads=3).dim == WIDTH
    assert hybrids.schema().max_reviews == REVIEWS


PLAIN = worlds.schema(2, 2)


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (PLAIN, {}, r"the data were prepared without\. Say in data\.text"),
        (PLAIN, {"views": "graph", "dim": None}, r"with a number for dim\."),
        (PLAIN, {"views": "graph"}, r"neither attributes nor context columns"),
        (None, {"views": "pictures"}, r"knows as views both, text, graph, and was given 'pictures'\."),
        (None, {"scorer": "cosine"}, r"knows as scorer dot, bilinear, mlp, and was given 'cosine'\."),
        (None, {"target": "there"}, r"as target left_out, visible, and"),
        (None, {"items": "some"}, r"as items all, batch, and"),
        (None, {"dim": 0}, r"was given dim 0, hide 0\.0 and dropout 0\.0\."),
        (None, {"hide": 1.0}, r"hide 1\.0"),
        (None, {"dropout": -0.1}, r"dropout -0\.1"),
        (None, {"heads": 3}, r"given dim 8 and heads 3\."),
        (None, {"dim": 9, "heads": 3}, r"an even dim that heads divides, and was given dim 9 and heads 3\."),
        (None, {"views": "text", "identity": True}, r"Leave identity out\."),
        (None, {"gate": 1.5}, r"a gate from 0 to 1, between two views, and was given 1\.5 with views both\."),
        (None, {"views": "text", "gate": 0.5}, r"was given 0\.5 with views text\."),
    ],
)
def test_arguments_out_of_range(schema: Schema | None, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(schema, **options)
