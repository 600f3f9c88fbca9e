from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import CSR, Features
from recsys_lightning.models import FeatureEncoder
from recsys_lightning.models.feature_encoder import chosen, leave_out, mean
from tests import worlds
from tests.models import featured
from tests.models.featured import BARE, NUMBERS, I, U

CLOSE: dict[str, Any] = {"atol": 1e-10, "rtol": 1e-10}
both = pytest.mark.parametrize("categories", ["one_hot", "learned"])


def made(categories: str, dropout: float = 0.0) -> FeatureEncoder:
    torch.manual_seed(0)
    return featured.shaken(FeatureEncoder(featured.schema(), 11, 8, dropout, categories, 4)).double()  # type: ignore


def naive(encoder: FeatureEncoder, features: Features, item: int) -> Tensor:
    """The row of an item from its definition."""
    parts = [features.numbers[item].double()]
    for codes, table in zip(features.categories, encoder.category_tables(), strict=True):
        own = codes.col[codes.crow[item] : codes.crow[item + 1]]
        parts.append(table[own].mean(0) if len(own) else torch.zeros(table.shape[1], dtype=torch.float64))
    return torch.cat(parts)


@both
class TestRows:
    def test_of_items_are_numbers_and_means_of_codes(self, categories: str) -> None:
        encoder, features = made(categories), featured.features()
        rows = encoder.rows(features)
        assert rows.shape == (I, encoder.width)
        for item in range(I):
            torch.testing.assert_close(rows[item], naive(encoder, features, item), **CLOSE)
        assert not rows[BARE].any()

    def test_vectors_of_items_and_users_are_those_of_rows(self, categories: str) -> None:
        encoder, features, matrix = made(categories), featured.features(), featured.matrix()
        own, item = (encoder.projected(features, by) for by in (encoder.user, encoder.item))
        rows = torch.stack([naive(encoder, features, item) for item in range(I)])
        torch.testing.assert_close(encoder.item.finish(item), encoder.item(rows), **CLOSE)
        users = encoder.user.finish(mean(worlds.csr(matrix), own))
        for user in range(U):
            row = rows[matrix[user]].mean(0) if matrix[user].any() else torch.zeros(encoder.width).double()
            hidden = (row @ encoder.user.weight + encoder.user.bias).relu()
            expected = encoder.user.out.weight @ hidden + encoder.user.out.bias
            torch.testing.assert_close(users[user], expected, **CLOSE)

    def test_gradients_are_those_of_rows(self, categories: str) -> None:
        encoder, features = made(categories), featured.features()
        rows = torch.stack([naive(encoder, features, item) for item in range(I)])
        ways = encoder.item.finish(encoder.projected(features, encoder.item)), encoder.item(rows)
        parameters = [*encoder.tables, *encoder.item.parameters()]
        for ours, theirs in zip(*(torch.autograd.grad(way.sin().sum(), parameters) for way in ways), strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_of_some_items(self, categories: str) -> None:
        encoder, features, some = made(categories), featured.features(), torch.tensor([7, 2, 7, BARE])
        torch.testing.assert_close(encoder.rows(chosen(features, some)), encoder.rows(features)[some], **CLOSE)

    @pytest.mark.parametrize("kept", ["numbers", "categories", "nothing"])
    def test_one_sort_of_features_is_enough(self, categories: str, kept: str) -> None:
        schema, given = featured.schema(), featured.features()
        if kept != "numbers":
            schema, given = replace(schema, numbers=()), given._replace(numbers=given.numbers[:, :0])
        if kept != "categories":
            schema, given = replace(schema, categories={}), given._replace(categories=())
        encoder = FeatureEncoder(schema, 6, 8, 0.0, categories, 4)  # type: ignore[arg-type]
        vectors = encoder.item.finish(encoder.projected(given, encoder.item))
        torch.testing.assert_close(vectors, encoder.item(encoder.rows(given)))
        assert vectors.shape == (I, 8) and vectors.isfinite().all()
        assert (vectors.std(0) > 0).any() == (kept != "nothing")


def test_one_hot_tables_are_units_and_hold_no_parameters() -> None:
    encoder = made("one_hot")
    assert [table.shape for table in encoder.category_tables()] == [(5, 5), (7, 7)]
    assert encoder.width == len(NUMBERS) + 12 and not len(encoder.tables)
    learned = made("learned")
    assert learned.width == len(NUMBERS) + 8
    assert all(table is own for table, own in zip(learned.category_tables(), learned.tables, strict=True))


def test_dropout_is_of_the_hidden_layer_in_training_alone() -> None:
    encoder, rows = made("one_hot", dropout=0.5), torch.zeros(4000, 15).double()
    hidden: list[Tensor] = []
    encoder.item.out.register_forward_pre_hook(lambda module, arguments: hidden.append(arguments[0]))
    encoder.item.eval()(rows)
    encoder.item.train()(rows)
    alive = hidden[0] > 0
    assert alive.any() and torch.equal(hidden[0], hidden[0][:1].expand_as(hidden[0]))
    assert abs(float((hidden[1][alive] == 0).double().mean()) - 0.5) < 0.02


@given(st.integers(0, 1000))
def test_leaving_out_takes_the_entry_and_nothing_else(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(6, 9, generator=generator) < 0.4
    index = torch.randint(9, (6,), generator=generator)
    left, met = leave_out(worlds.csr(matrix), index)
    expected = matrix.clone()
    expected[torch.arange(6), index] = False
    assert torch.equal(met, matrix[torch.arange(6), index])
    for ours, theirs in zip(left, worlds.csr(expected), strict=True):
        assert torch.equal(ours, theirs)


def test_leaving_out_of_no_rows() -> None:
    nothing = CSR(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    left, met = leave_out(nothing, torch.zeros(0, dtype=torch.long))
    assert len(left.col) == 0 and left.crow.tolist() == [0] and met.shape == (0,)
