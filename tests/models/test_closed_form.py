from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models import EASE, GFCF, ItemKNN
from recsys_lightning.models.closed_form import ClosedForm, Linear
from tests.worlds import blocks

RATES = ("user", "rates", "item")


class Counts(ClosedForm):
    """Scores every item by its popularity."""

    count: Tensor

    def solve(self, views: Views) -> None:
        self.keep(count=views.popularity.float())

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        return self.count.expand(len(user), -1).clone()


def test_scores_are_asked_for_after_fit_only() -> None:
    schema, views = blocks()
    model = Counts(schema)
    with pytest.raises(RuntimeError, match=r"before fit\(views\)"):
        model.encode(views)
    model.fit(views)
    u = model.users(model.encode(views), torch.tensor([3, 1]))
    assert torch.equal(model.score_all(u, views.train), views.popularity.float().expand(2, -1))
    assert torch.equal(model.score(u, model.items(views.train, torch.tensor([0, 5]))), views.popularity[[0, 5]].float())


def test_what_was_solved_is_in_no_checkpoint() -> None:
    schema, views = blocks()
    model = Counts(schema)
    model.fit(views)
    assert model.state_dict() == {} and model.closed_form


def test_terms_are_the_scores_of_pairs_also_of_the_same_user_twice() -> None:
    schema, views = blocks()
    model = EASE(schema)
    model.fit(views)
    state = model.encode(views)
    user, item = torch.tensor([3, 0, 3, 3]), torch.tensor([7, 7, 1, 7])
    expected = model.score_all(model.users(state, user), state)[torch.arange(4), item]
    torch.testing.assert_close(model.terms(state, user, item)["base"], expected)


@pytest.mark.parametrize("kind", [EASE, ItemKNN, GFCF])
class TestLinear:
    def fitted(self, kind: type[Linear]) -> tuple[Linear, Views]:
        schema, views = blocks()
        model = kind(schema)
        model.fit(views)
        return model, views

    def test_contributions_add_up_and_are_what_an_item_gives_alone(self, kind: type[Linear]) -> None:
        model, views = self.fitted(kind)
        state, item = model.encode(views), torch.tensor([0, 5, 29])
        own, value, rest = model.contributions(views, state, 4, item)
        scores = model.score_all(model.users(state, torch.tensor([4])), state)[0, item]
        assert torch.equal(own, views.train.col[views.train.crow[4] : views.train.crow[5]])
        torch.testing.assert_close(value.sum(1) + rest, scores)
        for column in range(len(own)):
            without = views.without(views.train.crow[4] + torch.tensor([column]))
            left = model.score_all(model.users(model.encode(without), torch.tensor([4])), model.encode(without))[
                0, item
            ]
            torch.testing.assert_close(scores - left, value[:, column], atol=1e-5, rtol=1e-4)

    def test_weights_of_one_change_nothing_and_those_of_zero_take_away(self, kind: type[Linear]) -> None:
        model, views = self.fitted(kind)
        user = torch.tensor([4, 0, 39])
        plain = model.users(model.encode(views), user)
        weight = torch.ones(len(views.train.col))
        torch.testing.assert_close(model.users(model.encode_weighed(views, {RATES: weight}), user), plain)
        assert torch.equal(model.users(model.encode_weighed(views, {}), user), plain)
        gone = torch.tensor([3, 8, int(views.train.crow[4])])
        weight[gone] = 0
        left = model.users(model.encode(views.without(gone)), user)
        state = model.encode_weighed(views, {RATES: weight})
        torch.testing.assert_close(model.users(state, user), left, atol=1e-5, rtol=1e-4)
        picked = model.score(model.users(state, user), model.items(state, torch.tensor([2, 3, 4])))
        torch.testing.assert_close(picked, left[torch.arange(3), torch.tensor([2, 3, 4])], atol=1e-5, rtol=1e-4)

    def test_gradients_of_the_weights_are_the_contributions(self, kind: type[Linear]) -> None:
        model, views = self.fitted(kind)
        weight = torch.ones(len(views.train.col), requires_grad=True)
        score = model.users(model.encode_weighed(views, {RATES: weight}), torch.tensor([4]))[0, 7]
        gradient = torch.autograd.grad(score, weight)[0]
        value = model.contributions(views, model.encode(views), 4, torch.tensor([7]))[1][0]
        own = slice(int(views.train.crow[4]), int(views.train.crow[5]))
        torch.testing.assert_close(gradient[own], value)
        assert gradient.count_nonzero() == value.count_nonzero()

    def test_a_user_without_rows(self, kind: type[Linear]) -> None:
        model, views = self.fitted(kind)
        bare = views.without(torch.arange(int(views.train.crow[4]), int(views.train.crow[5])))
        own, value, rest = model.contributions(bare, model.encode(bare), 4, torch.tensor([1, 2]))
        assert len(own) == 0 and value.shape == (2, 0) and not rest.any()
