"""How towers are trained: what is left out, hidden, mimicked, and that all of it learns."""

from __future__ import annotations

import pytest
import torch

from recsys_lightning.batches import Features
from recsys_lightning.models import IDTable, TwoTower
from recsys_lightning.models.feature_encoder import mean
from recsys_lightning.models.mimic import augmentation, category_alignment, imitation
from tests import worlds
from tests.models import featured
from tests.models.featured import I
from tests.models.learning import learn
from tests.models.two_towers import CLOSE, FOLDING, FUSIONS, MIMICKED, made, some


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
    )
    learned = learn(model, lambda step: featured.loss(model, world, featured.batch(matrix, seed=step)), 15)
    assert not learned.untouched
    # vectors that are mimicked as they are move away as they grow: the sum of both losses need not fall at once
    assert learned.better or (mimic, similarity) == ("dat", "dot")


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
