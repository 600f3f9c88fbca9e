from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Features, PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import IDTable, TwoTower
from recsys_lightning.models.feature_encoder import mean
from recsys_lightning.models.mimic import augmentation, category_alignment, imitation, unit
from recsys_lightning.models.towers import Fusion
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import featured
from tests.models.contract import TrainedContract
from tests.models.featured import BARE, COLD, NOBODY, I, U

CLOSE: dict[str, Any] = {"atol": 1e-10, "rtol": 1e-10}
FUSIONS = get_args(Fusion)
FOLDING = [fusion for fusion in FUSIONS if fusion != "identity"]
MIMICKED = ["sum", "concat", "adaptive_mimic"]


class Rich(TwoTower):
    """The model on data that have features."""

    def __init__(self, schema: Schema, **options: Any) -> None:
        super().__init__(featured.schema(schema.num_users, schema.num_items), **options)


class TestAdaptive(TrainedContract):
    model = Rich
    options = {"dim": 8, "hidden": 10, "mimic": "metadata", "dropout": 0.0}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return featured.views(matrix, item_order)


class TestIdentity(TrainedContract):
    model = TwoTower
    options = {"dim": 8, "fusion": "identity"}  # noqa: RUF012


class TestMetadata(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "metadata", "similarity": "dot"}  # noqa: RUF012


class TestSum(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "sum", "categories": "learned", "category_dim": 4}  # noqa: RUF012


class TestConcat(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "fusion": "concat", "similarity": "dot", "mimic": "metadata"}  # noqa: RUF012


class TestDualAugmented(TestAdaptive):
    options = {"dim": 8, "hidden": 10, "mimic": "dat"}  # noqa: RUF012


def made(world: Views | None = None, seed: int = 0, schema: Schema | None = None, **options: Any) -> TwoTower:
    """A model off its start, which met the interactions of a world, in evaluation, in float64."""
    torch.manual_seed(seed)
    model = TwoTower(
        schema or featured.schema(), **{"dim": 8, "hidden": 10, "dropout": 0.0, "id_dropout": 0.0, **options}
    )
    featured.shaken(model)
    model.fit(featured.views(featured.matrix()) if world is None else world)
    return model.double().eval()


def some(*pairs: tuple[int, int], negative: list[list[int]] | None = None) -> PairBatch:
    user, item = torch.tensor(pairs).T
    drawn = torch.tensor(negative or [[0]] * len(pairs))
    return PairBatch(user, item, drawn, torch.zeros(len(pairs)), torch.zeros(drawn.shape))


class TestEquations:
    @pytest.mark.parametrize("similarity", ["cosine", "dot"])
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_score_is_the_similarity_of_both_towers(self, fusion: str, similarity: str) -> None:
        matrix = featured.matrix()
        world = featured.views(matrix)
        model = made(fusion=fusion, similarity=similarity, temperature=0.25)
        state = model.encode(world)
        scores = model.score_all(model.users(state, torch.arange(U)), state)
        rows = None if fusion == "identity" else model.item_rows(world.features)
        for user in (0, NOBODY, 4, 22):
            for item in (0, 1, COLD, BARE):
                of_user = of_item = None
                if rows is not None and model.features is not None:
                    own = rows[matrix[user]].mean(0) if matrix[user].any() else rows[0] * 0
                    of_user, of_item = model.features.user(own[None]), model.features.item(rows[item, None])
                u = model.user(torch.tensor([user]), of_user)[0]
                i = model.item(torch.tensor([item]), of_item)[0]
                expected = u @ i
                if similarity == "cosine":
                    expected = expected / (u.norm() * i.norm()).clamp(min=1e-12) / 0.25
                torch.testing.assert_close(scores[user, item], expected, **CLOSE)

    def test_an_id_that_was_never_met_contributes_nothing_in_evaluation(self) -> None:
        """New users bring rows along: their metadata are made of these, and their untrained ID stays out."""
        matrix, given = featured.matrix(), featured.matrix()
        given[NOBODY, [1, 2]] = True
        model, user = made(), torch.tensor([NOBODY])
        world = featured.views(given)
        state = model.encode(world)
        u = model.users(state, user)
        torch.testing.assert_close(u, model.users_of(state, worlds.csr(given[user])), **CLOSE)
        assert not torch.allclose(u, model.users(model.encode(featured.views(matrix)), user))
        assert model.user.identity is not None
        model.user.identity.weight.data[NOBODY] += 5
        assert torch.equal(model.users(model.encode(world), user), u)

    @pytest.mark.parametrize("fusion", FOLDING)
    def test_new_users_are_users_without_ids(self, fusion: str) -> None:
        model, matrix = made(fusion=fusion), featured.matrix()
        state, user = model.encode(featured.views(matrix)), torch.arange(U)
        found = model.users_of(state, worlds.csr(matrix))
        assert not torch.allclose(found[0], found[1])
        model.user.degree.zero_()
        torch.testing.assert_close(found, model.users(state, user), **CLOSE)

    def test_gates_are_shares_of_metadata_and_whole_without_interactions(self) -> None:
        model, world = made(), featured.views(featured.matrix())
        gates = model.gates(world)
        assert {name: len(gate) for name, gate in gates.items()} == {"item": I, "user": U}
        assert torch.equal(gates["item"] == 1, world.popularity == 0)
        assert torch.equal(gates["user"] == 1, world.train.degree == 0)
        state = model.encode(world)
        assert state.metadata is not None and model.item.identity is not None
        share = gates["item"][:, None]
        mixed = unit(share * unit(state.metadata) + (1 - share) * unit(model.item.identity.weight))
        torch.testing.assert_close(mixed, model.items(state), **CLOSE)
        assert not gates["user"].requires_grad
        for fusion in ("identity", "metadata", "sum", "concat"):
            assert made(fusion=fusion).gates(world) == {}


class TestTheTargetIsLeftOut:
    """G6: no feature of the item to predict reaches the user that predicts it."""

    @pytest.mark.parametrize("fusion", FOLDING)
    def test_a_user_stands_still_when_the_targets_features_move(self, fusion: str) -> None:
        model, matrix = made(fusion=fusion), featured.matrix()
        user, item = matrix.nonzero().T
        features = featured.features()
        before = model.users_without(model.encode(featured.views(matrix)), user, item)
        for target in range(I):
            numbers = features.numbers.clone()
            numbers[target] += 1e6
            moved = model.encode(featured.views(matrix, of=Features(numbers, features.categories)))
            after = model.users_without(moved, user, item)
            assert torch.equal(after[item == target], before[item == target])
            others = matrix[user, target] & (item != target)
            assert (after != before)[others].any(1).all()
            whole = model.users(moved, user)
            assert (whole != after)[item == target].any(1).all()

    def test_a_user_is_what_it_was_had_the_row_never_been(self) -> None:
        matrix, model = featured.matrix(), made(fusion="sum")
        user, item = matrix.nonzero().T
        left = model.users_without(model.encode(featured.views(matrix)), user, item)
        for row in range(0, len(user), 5):
            never = matrix.clone()
            never[user[row], item[row]] = False
            expected = model.users(model.encode(featured.views(never)), user[row, None])
            torch.testing.assert_close(left[row, None], expected, **CLOSE)

    def test_the_gate_counts_an_interaction_less(self) -> None:
        matrix, model = featured.matrix(), made()
        user, item = matrix.nonzero().T
        state = model.encode(featured.views(matrix))
        left = model.users_without(state, user, item)
        absent = (~matrix).nonzero()[:40].T
        torch.testing.assert_close(model.users_without(state, *absent), model.users(state, absent[0]), **CLOSE)
        for row in range(0, len(user), 7):
            never = matrix.clone()
            never[user[row], item[row]] = False
            twin = made()
            twin.user.degree[user[row]] -= 1
            if twin.user.degree[user[row]] == 0:
                continue
            expected = twin.users(twin.encode(featured.views(never)), user[row, None])
            torch.testing.assert_close(left[row, None], expected, **CLOSE)

    def test_gradients_of_the_targets_numbers_come_by_the_item_alone(self) -> None:
        matrix, model = featured.matrix(), made()
        features = featured.double(featured.features())
        numbers = features.numbers.requires_grad_()
        state = model.encode(featured.views(matrix, of=Features(numbers, features.categories)))
        item = matrix[0].nonzero()[:1, 0]
        model.users_without(state, torch.tensor([0]), item).sin().sum().backward()
        assert numbers.grad is not None and not numbers.grad[item].any() and numbers.grad.any()


class TestItemsOfABatch:
    @pytest.mark.parametrize("mimic", ["none", "metadata", "dat"])
    @pytest.mark.parametrize("fusion", MIMICKED)
    def test_loss_and_gradients_are_those_of_all_items(
        self, fusion: str, mimic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch, world = some((0, 1), (5, 2), negative=[[3, 7], [1, 3]]), featured.views(featured.matrix())
        sides = []
        for items in ("batch", "all"):
            model = made(fusion=fusion, mimic=mimic)
            if items == "all":
                monkeypatch.setattr(model, "encode_for", lambda views, batch, model=model: model.encode(views))
            else:
                assert len(model.encode_for(world, batch).item) == 4
            loss = featured.loss(model, world, batch)
            sides.append([loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)])
        for ours, theirs in zip(*sides, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_other_items_are_not_taken_for_something_else(self) -> None:
        model, world = made(), featured.views(featured.matrix())
        state = model.encode_for(world, some((0, 1), negative=[[4]]))
        torch.testing.assert_close(model.items(state, torch.tensor([4, 1])), model.items(model.encode(world))[[4, 1]])
        with pytest.raises(IndexError):
            model.items(state, torch.tensor([0]))


class TestHidingIDs:
    def test_of_whole_items_and_of_single_users_in_training_alone(self) -> None:
        matrix = featured.matrix()
        world, batch = featured.views(matrix), featured.batch(matrix)
        model, sure = made(fusion="sum", id_dropout=0.3), made(fusion="sum")
        assert torch.equal(model.encode_for(world, batch).item, sure.encode(world).item)
        bare = made(fusion="sum")
        bare.item.degree.zero_()
        model.train()
        hidden = []
        for _ in range(200):
            item = model.encode_for(world, batch).item
            gone = (item == bare.encode(world).item).all(1)
            kept = (item == sure.encode(world).item).all(1)
            assert (gone | kept).all()
            hidden.append(gone[world.popularity > 0])
        assert abs(float(torch.cat(hidden).double().mean()) - 0.3) < 0.04
        state = model.encode(world)
        many = torch.zeros(4000, dtype=torch.long)
        u = model.users_without(state, many, many)
        shares = [float((u == row).all(1).double().mean()) for row in u.unique(dim=0)]
        assert len(shares) == 2 and abs(min(shares) - 0.3) < 0.03
        assert torch.equal(model.users(state, many[:1]), sure.users(state, many[:1]))

    @pytest.mark.parametrize("fusion", ["identity", "metadata"])
    def test_not_where_nothing_would_be_left(self, fusion: str) -> None:
        assert made(fusion=fusion, id_dropout=0.5).id_dropout == 0


class TestWhatTrainingMeets:
    def test_is_noted_at_its_first_step_and_kept_in_the_checkpoint(self) -> None:
        matrix = featured.matrix()
        world = featured.views(matrix)
        torch.manual_seed(0)
        model = TwoTower(featured.schema(), dim=8)
        model.eval().encode_for(world, featured.batch(matrix))
        assert not model.item.degree.any()
        model.train().encode_for(world, featured.batch(matrix))
        assert torch.equal(model.item.degree, matrix.sum(0)) and torch.equal(model.user.degree, matrix.sum(1))
        model.encode_for(featured.views(~matrix), featured.batch(matrix))
        assert torch.equal(model.item.degree, matrix.sum(0))
        twin = TwoTower(featured.schema(), dim=8)
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin.user.degree, matrix.sum(1))


class TestMimic:
    def test_metadata_mimic_ids_of_users_and_positives_each_once(self) -> None:
        matrix = featured.matrix()
        world, batch = featured.views(matrix), some((0, 1), (0, 2), (5, 2), negative=[[3], [4], [7]])
        model = made(mimic="metadata", mimic_weight=0.7)
        state = model.encode(world)
        found = model.auxiliary(model.encode_for(world, batch), batch)
        assert state.own is not None and state.metadata is not None and model.features is not None
        user, item = torch.tensor([0, 5]), torch.tensor([1, 2])
        of_users = model.features.user.finish(mean(worlds.csr(matrix[user]), state.own))
        assert model.user.identity is not None and model.item.identity is not None
        left = imitation(of_users, model.user.identity.weight[user], matrix[user].sum(1))
        right = imitation(state.metadata[item], model.item.identity.weight[item], matrix[:, item].sum(0))
        torch.testing.assert_close(found, 0.7 * (left + right) / 2, **CLOSE)
        assert found is not None
        found.backward()
        assert model.item.identity.weight.grad is None and model.features.item.weight.grad is not None

    @pytest.mark.parametrize("similarity", ["cosine", "dot"])
    def test_augmented_vectors_mimic_the_other_tower_and_categories_align(self, similarity: str) -> None:
        matrix = featured.matrix()
        world, batch = featured.views(matrix), some((0, 1), (0, 2), (5, 2), (7, 8), negative=[[3], [4], [7], [7]])
        model = made(mimic="dat", mimic_weight=0.7, alignment_weight=0.3, similarity=similarity, temperature=0.2)
        state = model.encode(world)
        found = model.auxiliary(model.encode_for(world, batch), batch)
        u = model.users_without(state, batch.user, batch.item) * (0.2 if similarity == "cosine" else 1)
        i = model.items(state)
        assert model.user.augmented is not None and model.item.augmented is not None
        mimicry = augmentation(model.user.augmented.weight[batch.user], i[batch.item])
        mimicry = mimicry + augmentation(model.item.augmented.weight[batch.item], u)
        items = torch.tensor([1, 2, 8])
        genres = featured.dense(world.features.categories[0], 5)[items]
        alignment = category_alignment(i[items], worlds.csr(genres))
        assert alignment > 0
        torch.testing.assert_close(found, 0.7 * mimicry + 0.3 * alignment, **CLOSE)

    def test_none_adds_nothing(self) -> None:
        model, batch = made(), some((0, 1))
        assert model.auxiliary(model.encode(featured.views(featured.matrix())), batch) is None


@pytest.mark.parametrize("fusion", FOLDING)
@pytest.mark.parametrize("options", [{}, {"categories": "learned", "similarity": "dot"}, {"mimic": "dat"}])
def test_what_is_exported_is_what_is_encoded(fusion: str, options: dict[str, Any]) -> None:
    if fusion == "metadata" and options.get("mimic"):
        pytest.skip("needs IDs")
    matrix = featured.matrix()
    model, world = made(fusion=fusion, **options), featured.views(matrix)
    state = model.encode(world)
    rows = model.item_rows(world.features)
    torch.testing.assert_close(model.item_from_row(rows)[COLD], model.items(state)[COLD], **CLOSE)
    own = torch.stack([rows[has].mean(0) if has.any() else rows[0] * 0 for has in matrix])
    torch.testing.assert_close(model.user_from_row(own), model.users_of(state, worlds.csr(matrix)), **CLOSE)
    tables, item = model.category_tables(), 0
    parts = [world.features.numbers[item].double()]
    for codes, table in zip(world.features.categories, tables, strict=True):
        parts.append(table[codes.col[codes.crow[item] : codes.crow[item + 1]]].mean(0))
    torch.testing.assert_close(torch.cat(parts), rows[item], **CLOSE)


@pytest.mark.parametrize("categories", ["one_hot", "learned"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("mimic", ["none", "metadata", "dat"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_no_dead_mathematics(fusion: str, mimic: str, similarity: str, categories: str) -> None:
    if (mimic, fusion) in {("metadata", "identity"), ("metadata", "metadata"), ("dat", "metadata")}:
        pytest.skip("refused")
    matrix = featured.matrix()
    world = featured.views(matrix)
    torch.manual_seed(0)
    model = TwoTower(
        featured.schema(),
        8,
        10,
        fusion=fusion,
        mimic=mimic,
        similarity=similarity,
        categories=categories,  # type: ignore[arg-type]
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    untouched, losses = {name for name, _ in model.named_parameters()}, []
    for step in range(15):
        loss = featured.loss(model, world, featured.batch(matrix, seed=step))
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            if parameter.grad.any():
                untouched.discard(name)
        optimizer.step()
        losses.append(loss.item())
    assert not untouched
    # vectors that are mimicked as they are move away as they grow: the sum of both losses need not fall at once
    assert sum(losses[-5:]) < sum(losses[:5]) or (mimic, similarity) == ("dat", "dot")


def test_sparse_tables_train_as_dense_ones() -> None:
    matrix = featured.matrix()
    world, sides = featured.views(matrix), []
    for sparse in (False, True):
        model = made(table=IDTable(sparse), mimic="dat").train()
        batch = some((0, 1), (5, 2), negative=[[3, 7], [1, 3]])
        loss = featured.loss(model, world, batch) + 0.1 * model.penalty(model.encode(world), *batch[:3])
        loss.backward()
        tables = [model.user.identity, model.item.identity, model.user.augmented, model.item.augmented]
        for table in tables:
            assert table is not None and table.weight.grad is not None
            assert table.weight.grad.is_sparse == sparse
        sides.append([loss, *(p.grad.to_dense() for p in model.parameters() if p.grad is not None)])
    for dense, sparsely in zip(*sides, strict=True):
        torch.testing.assert_close(dense, sparsely, **CLOSE)


def test_penalty_is_of_the_ids_that_a_batch_touches() -> None:
    model, batch = made(), some((0, 1), (0, 2), negative=[[4], [1]])
    assert model.user.identity is not None and model.item.identity is not None
    rows = [model.user.identity.weight[[0, 0]], model.item.identity.weight[[1, 2, 4, 1]]]
    expected = torch.cat(rows).square().sum() / 4
    torch.testing.assert_close(model.penalty(model.encode(featured.views(featured.matrix())), *batch[:3]), expected)


@pytest.mark.parametrize("options", [{"mimic": "metadata"}, {"mimic": "dat", "categories": "learned"}])
def test_half_precision(options: dict[str, Any]) -> None:
    matrix = featured.matrix()
    world = featured.views(matrix)
    torch.manual_seed(0)
    model = TwoTower(featured.schema(), 8, 10, **options)
    with torch.autocast("cpu", torch.bfloat16):
        loss = featured.loss(model.train(), world, featured.batch(matrix))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    scores: list[Tensor] = []
    model.eval()
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            state = model.encode(world)
            scores.append(model.score_all(model.users(state, torch.arange(U)), state).float())
    torch.testing.assert_close(*scores, atol=0.3, rtol=0.1)


def test_what_is_read_and_who_folds_in() -> None:
    reads = {fusion: (made(fusion=fusion).reads_features, made(fusion=fusion).folds_in) for fusion in FUSIONS}
    assert reads == {fusion: (fusion != "identity",) * 2 for fusion in FUSIONS}
    assert made(fusion="identity", mimic="dat").reads_features and not TwoTower.reads_features
    plain = made(schema=worlds.schema(U, I), fusion="identity")
    state = plain.encode(Views(worlds.csr(featured.matrix()), I))
    nobody = CSR(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    calls: list[Callable[[], object]] = [
        lambda: plain.users_of(state, nobody),
        lambda: plain.item_rows(featured.features()),
        lambda: plain.user_from_row(torch.zeros(1, 3)),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match="identity"):
            call()


PLAIN = worlds.schema(2, 2)
NO_CATEGORIES = replace(featured.schema(2, 2), categories={})


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (PLAIN, {}, r"fusion adaptive_mimic and mimic none reads features.*Say in data\.features"),
        (PLAIN, {"fusion": "identity", "mimic": "dat"}, r"fusion identity and mimic dat reads features"),
        (NO_CATEGORIES, {"mimic": "dat"}, r"Name some in data\.features\.categories"),
        (None, {"fusion": "product"}, r"as fusion identity, metadata, sum, concat, adaptive_mimic, .* 'product'\."),
        (None, {"mimic": "ids"}, r"as mimic none, metadata, dat, and was given 'ids'\."),
        (None, {"similarity": "l2"}, r"as similarity cosine, dot, and"),
        (None, {"categories": "hashed"}, r"as categories one_hot, learned, and"),
        (None, {"dim": 0}, r"needs dim of at least 1, and was given 0\."),
        (None, {"hidden": 0}, r"needs hidden of at least 1"),
        (None, {"category_dim": 0}, r"needs category_dim of at least 1"),
        (None, {"dropout": 1.0}, r"needs dropout from 0 to less than 1, and was given 1\.0\."),
        (None, {"id_dropout": -0.1}, r"needs id_dropout from 0"),
        (None, {"mimic_weight": -1.0}, r"needs mimic_weight from 0, and was given -1\.0\."),
        (None, {"alignment_weight": float("nan")}, r"needs alignment_weight from 0, and was given nan\."),
        (None, {"temperature": 0.0}, r"needs temperature above 0, and was given 0\.0\."),
        (None, {"fusion": "identity", "mimic": "metadata"}, r"mimic metadata needs a fusion of IDs and metadata"),
        (None, {"fusion": "metadata", "mimic": "metadata"}, r"and was given metadata\. Set mimic none"),
        (None, {"fusion": "metadata", "mimic": "dat"}, r"mimic dat needs a fusion with IDs"),
    ],
)
def test_arguments_out_of_range(schema: Schema | None, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TwoTower(schema or featured.schema(2, 2), **options)
