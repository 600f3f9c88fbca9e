from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import History, Vectors, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import Conditioned, Recommender
from recsys_lightning.models import conditioned as module
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models.contract import I, TrainedContract, U

D, LENGTH = 8, 6


def schema(num_users: int = U, num_items: int = I, **changes: Any) -> Schema:
    """A world of two domains that brings vectors."""
    plain = worlds.schema(num_users, num_items, LENGTH)
    return replace(plain, **{"domains": ("movie", "book"), "vector_width": D, "vectors": "digest", **changes})


def views(matrix: Tensor, item_order: Tensor | None = None, domains: bool = True) -> Views:
    """Items of both domains in turn; a user is the sum of the user's items, with all of them as history."""
    order = torch.arange(matrix.shape[1]) if item_order is None else item_order
    item = torch.randn(max(I, len(order)), D, generator=torch.Generator().manual_seed(0))[order]
    length = matrix.sum(1).clamp(max=LENGTH + 1)
    place = torch.arange(LENGTH + 1)
    rank = torch.where(matrix, order.expand(len(matrix), -1), 1000).argsort(dim=1, stable=True)
    rank = torch.nn.functional.pad(rank, (0, LENGTH + 1))[:, : LENGTH + 1]
    mask = place < length[:, None]
    rows = torch.where(mask, rank, matrix.shape[1])
    history = History(rows, mask.long(), mask.long(), mask.long(), mask, torch.tensor(True))
    return Views(
        worlds.csr(matrix),
        matrix.shape[1],
        build_history=lambda: history,
        domain=order % 2 if domains else None,
        build_vectors=lambda: Vectors(matrix.float() @ item / 4, item),
    )


class TwoDomains(Conditioned):
    """The model on data that bring what it reads."""

    def __init__(self, plain: Schema, **options: Any) -> None:
        super().__init__(schema(plain.num_users, plain.num_items), **options)


class TestConditioned(TrainedContract):
    model = TwoDomains
    options = {"heads": 2, "num_tokens": 3}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return views(matrix, item_order)

    def build(self, matrix: Tensor, seed: int = 0) -> Recommender:
        model = super().build(matrix, seed)
        torch.nn.init.normal_(model.conditioner.out.weight, std=0.1)  # type: ignore[union-attr, arg-type]
        return model

    def reordered(self, name: str, parameter: Tensor, user_order: Tensor, item_order: Tensor) -> Tensor:
        return parameter


class TestByHistory(TestConditioned):
    options = {"heads": 2, "num_tokens": 3, "history": 4}  # noqa: RUF012


class TestResidual(TestConditioned):
    options = {"heads": 2, "mode": "residual", "shared_tokens": 0}  # noqa: RUF012


def matrix() -> Tensor:
    return TestConditioned().matrix()


def off_start(**options: Any) -> Conditioned:
    torch.manual_seed(0)
    model = Conditioned(schema(), heads=2, **options).eval()
    torch.nn.init.normal_(model.conditioner.out.weight, std=0.3)
    return model


def test_an_item_is_scored_by_the_condition_in_its_own_domain() -> None:
    model, world = off_start(), views(matrix())
    conditions, state = model.conditions(world), model.encode(world)
    assert conditions.shape == (U, 2, D)
    scores = model.score_all(model.users(state, torch.arange(U)), state)
    assert world.domain is not None
    for item in range(I):
        expected = conditions[:, world.domain[item]] @ world.vectors.item[item]
        torch.testing.assert_close(scores[:, item], expected, rtol=1e-4, atol=1e-3)
    vectors = model.vectors(world)
    assert torch.equal(vectors.user, conditions)
    assert torch.equal(vectors.item, world.vectors.item)
    assert model.attention(world, torch.tensor([3, 1])).shape == (2, 2, 2, 12)


def test_an_untrained_model_scores_as_the_vectors_do() -> None:
    model, world = Conditioned(schema(), heads=2).eval(), views(matrix())
    torch.testing.assert_close(model.conditions(world), world.vectors.user[:, None].expand(-1, 2, -1))


def test_length_of_the_vectors_is_passed_on() -> None:
    model, world = off_start(), views(matrix())
    longer = Views(
        world.train, I, domain=world.domain, build_vectors=lambda: Vectors(7 * world.vectors.user, world.vectors.item)
    )
    found = {}
    for name, seen in (("as they are", world), ("longer", longer)):
        model.standardise(seen)
        found[name] = model.conditions(seen)
        restored = off_start()
        restored.load_state_dict(model.state_dict())
        assert torch.equal(restored.conditions(seen), found[name])
    torch.testing.assert_close(found["longer"], 7 * found["as they are"], rtol=1e-4, atol=1e-3)
    nothing = Views(
        world.train, I, domain=world.domain, build_vectors=lambda: Vectors(torch.zeros(U, D), torch.zeros(I, D))
    )
    model.standardise(nothing)
    assert model.conditions(nothing).isfinite().all()


def test_users_and_items_without_train_rows_change_nothing_for_others() -> None:
    model, rows = off_start(history=3), matrix()
    wider = torch.zeros(U + 3, I + 2, dtype=torch.bool)
    wider[:U, :I] = rows
    plain, held_out = views(rows), views(wider, torch.arange(I + 2))
    assert not (plain.popularity[:I] == 0).all()
    item = torch.cat([plain.vectors.item[:I], torch.full((2, D), 1e4)])
    user = torch.cat([plain.vectors.user, torch.full((3, D), 1e4)])
    same = torch.where(held_out.history.item == I + 2, held_out.num_items, held_out.history.item)
    more = Views(
        held_out.train,
        I + 2,
        build_history=lambda: held_out.history._replace(item=same),
        domain=held_out.domain,
        build_vectors=lambda: Vectors(user, item),
    )
    found = []
    for seen in (more, plain):
        model.standardise(seen)
        found.append(model.conditions_of(seen, torch.arange(U)))
    assert torch.equal(found[0], found[1])


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, world = off_start(history=3), views(matrix())
    whole = model.conditions(world)
    monkeypatch.setattr(module, "USERS_AT_ONCE", 5)
    torch.testing.assert_close(model.conditions(world), whole)


def test_data_of_one_domain_have_one_condition() -> None:
    model, world = Conditioned(schema(domains=()), heads=2), views(matrix(), domains=False)
    assert model.conditions(world).shape == (U, 1, D)
    assert model.encode(world).user.shape == (U, D)


class TestHistory:
    def test_the_newest_items_are_read(self) -> None:
        model, world = off_start(history=2), views(matrix())
        entries = world.history.of(torch.arange(U))
        user = int(entries.mask.sum(1).argmax())
        _, context, mask = model._inputs(world, torch.tensor([user]), None)
        assert context is not None and mask is not None
        newest = entries.item[user][entries.mask[user]][-2:]
        torch.testing.assert_close(
            context[0] / context[0].norm(), world.vectors.item[newest] / world.vectors.item[newest].norm()
        )
        assert mask.all()
        assert not model._inputs(world, torch.tensor([3]), None)[2].any()  # type: ignore[union-attr]

    def test_the_item_to_predict_is_not_among_them(self) -> None:
        model, world = off_start(history=LENGTH), views(matrix())
        user = torch.arange(U)
        entries = world.history.of(user)
        known = user[entries.mask.any(1)]
        item = entries.item[known, 0]
        found = model._inputs(world, known, item)[1]
        target = world.vectors.item[item]
        assert found is not None
        assert not (found == target[:, None]).all(2).any()
        assert (model.conditions_of(world, known, item) - model.conditions_of(world, known)).abs().amax(
            (1, 2)
        ).min() > 0

    def test_of_histories_that_are_longer_than_the_data_have(self) -> None:
        with pytest.raises(InputError, match="a history of 0 to 6 items"):
            Conditioned(schema(), heads=2, history=7)

    def test_only_then_checkpoints_depend_on_histories(self) -> None:
        assert Conditioned(schema(), heads=2, history=1).reads_history
        assert not Conditioned(schema(), heads=2).reads_history


def test_data_without_vectors_are_refused() -> None:
    with pytest.raises(InputError, match="Conditioned reads vectors of users and items"):
        Conditioned(schema(vector_width=0))


def test_vectors_of_each_domain_are_refused() -> None:
    world = views(matrix())
    several = Views(
        world.train, I, domain=world.domain, build_vectors=lambda: Vectors(torch.ones(U, 2, D), world.vectors.item)
    )
    with pytest.raises(InputError, match=r"data\.vectors holds 2 of each"):
        Conditioned(schema(), heads=2).encode(several)
