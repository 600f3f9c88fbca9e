"""The test classes that the test class of every recommender inherits, and so passes: trained or in closed form."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import Recommender
from tests import worlds
from tests.models.learning import learn

U, I = 23, 17  # noqa: E741 - two primes that are no width, so that a parameter's first dimension tells whose it is


class RecommenderContract:
    """What the one door promises, for a model of class `model` built with `options`.

    A model that reads more than the train rows overrides `views`, and `reordered` where its parameters are ordered by
    anything but users or items.
    """

    model: ClassVar[type[Recommender]]
    options: ClassVar[dict[str, Any]] = {}

    def matrix(self, num_users: int = U, num_items: int = I, seed: int = 0) -> Tensor:
        """Who has what; user 3 and item 5 have nothing."""
        generator = torch.Generator().manual_seed(seed)
        own = torch.arange(num_users)[:, None] % 3 == torch.arange(num_items)[None] % 3
        matrix = torch.rand(num_users, num_items, generator=generator) < torch.where(own, 0.6, 0.15)
        matrix[3:4] = False
        matrix[:, 5:6] = False
        return matrix

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        """Views of a matrix whose columns were put in `item_order`."""
        return Views(worlds.csr(matrix), matrix.shape[1])

    def build(self, matrix: Tensor, seed: int = 0) -> Recommender:
        """A model for that matrix; solved where there is something to solve."""
        torch.manual_seed(seed)
        model = self.model(worlds.schema(*matrix.shape), **self.options)
        model.fit(self.views(matrix))
        return model.eval()

    def scores(self, model: Recommender, views: Views) -> Tensor:
        """(U, I)"""
        with torch.no_grad():
            state = model.encode(views)
            return model.score_all(model.users(state, torch.arange(views.num_users)), state)

    def reordered(self, name: str, parameter: Tensor, user_order: Tensor, item_order: Tensor) -> Tensor:
        """The parameter (or buffer) as it is when users and items come in another order."""
        if not parameter.ndim:
            return parameter
        order = {U: user_order, I: item_order, I + 1: torch.cat([item_order, torch.tensor([I])])}.get(len(parameter))
        return parameter if order is None else parameter[order]

    def test_shapes_and_dtypes(self) -> None:
        matrix = self.matrix()
        model, views = self.build(matrix), self.views(matrix)
        user, item = torch.tensor([4, 0, 4]), torch.tensor([[1, 2], [3, 3], [0, 16]])
        state = model.encode(views)
        u = model.users(state, user)
        width = model.items(state).shape[1:]
        assert u.shape[0] == 3
        assert model.items(state).shape == (I, *width)
        assert model.items(state, item).shape == (3, 2, *width)
        assert model.score_all(u, state).shape == (3, I)
        assert model.score_all(u, state).is_floating_point()
        assert model.users(state, user[:0]).shape == (0, *u.shape[1:])

    def test_score_equals_cross_equals_score_all(self) -> None:
        matrix = self.matrix()
        model = self.build(matrix)
        state = model.encode(self.views(matrix))
        user, item = torch.tensor([4, 0, 4, 3]), torch.tensor([16, 2, 2, 5, 0])
        u = model.users(state, user)
        everything = model.score_all(u, state)
        torch.testing.assert_close(model.cross(u, model.items(state, item)), everything[:, item])
        torch.testing.assert_close(model.cross(u, model.items(state)), everything)
        pairs = model.score(u, model.items(state, item[:4]))
        torch.testing.assert_close(pairs, everything[torch.arange(4), item[:4]])
        several = item[torch.tensor([[0, 1], [2, 3], [4, 0], [1, 1]])]
        broadcast = model.score(u.unsqueeze(1), model.items(state, several))
        torch.testing.assert_close(broadcast, everything.gather(1, several))

    def test_users_do_not_depend_on_who_else_is_asked_for(self) -> None:
        matrix = self.matrix()
        model, views = self.build(matrix), self.views(matrix)
        everyone = self.scores(model, views)
        state = model.encode(views)
        for user in (torch.tensor([7]), torch.tensor([9, 7, 9])):
            torch.testing.assert_close(model.score_all(model.users(state, user), state), everyone[user])

    def test_encode_is_deterministic_in_eval(self) -> None:
        matrix = self.matrix()
        model = self.build(matrix)
        assert torch.equal(self.scores(model, self.views(matrix)), self.scores(model, self.views(matrix)))

    def test_model_keeps_nothing_of_the_views_it_encoded(self) -> None:
        matrix, other = self.matrix(), self.matrix(seed=1)
        model = self.build(matrix)
        views, others = self.views(matrix), self.views(other)
        first = self.scores(model, views)
        self.scores(model, others)
        assert torch.equal(self.scores(model, views), first)

    def test_views_are_left_as_they_were(self) -> None:
        matrix = self.matrix()
        views = self.views(matrix)
        crow, col = views.train.crow.clone(), views.train.col.clone()
        torch.manual_seed(0)
        model = self.model(worlds.schema(U, I), **self.options)
        model.fit(views)
        self.scores(model, views)
        assert torch.equal(views.train.crow, crow)
        assert torch.equal(views.train.col, col)

    def test_order_of_users_and_items_changes_nothing(self) -> None:
        matrix = self.matrix()
        model = self.build(matrix)
        before = self.scores(model, self.views(matrix))
        generator = torch.Generator().manual_seed(5)
        user_order, item_order = torch.randperm(U, generator=generator), torch.randperm(I, generator=generator)
        moved = matrix[user_order][:, item_order]
        twin = self.build(moved, seed=1)
        state = {k: self.reordered(k, v, user_order, item_order) for k, v in model.state_dict().items()}
        twin.load_state_dict(state)
        after = self.scores(twin, self.views(moved, item_order))
        torch.testing.assert_close(after, before[user_order][:, item_order], atol=1e-5, rtol=1e-4)

    def test_users_and_items_without_rows_are_finite(self) -> None:
        matrix = self.matrix()
        assert self.scores(self.build(matrix), self.views(matrix)).isfinite().all()
        nothing = torch.zeros(U, I, dtype=torch.bool)
        assert self.scores(self.build(matrix), self.views(nothing)).isfinite().all()

    @pytest.mark.parametrize(("num_users", "num_items"), [(1, 1), (1, 7), (7, 1), (2, 2)])
    def test_smallest_worlds(self, num_users: int, num_items: int) -> None:
        matrix = torch.ones(num_users, num_items, dtype=torch.bool)
        scores = self.scores(self.build(matrix), self.views(matrix))
        assert scores.shape == (num_users, num_items)
        assert scores.isfinite().all()

    def test_penalty_is_a_finite_scalar(self) -> None:
        matrix = self.matrix()
        model = self.build(matrix)
        state = model.encode(self.views(matrix))
        user, item = torch.tensor([0, 1]), torch.tensor([2, 3])
        for negative in (torch.tensor([[4], [5]]), torch.tensor([4, 5, 6])):
            penalty = model.penalty(state, user, item, negative)
            assert penalty.shape == ()
            assert penalty.isfinite()
            assert penalty >= 0

    def test_new_users_are_known_by_their_own_items_alone(self) -> None:
        matrix = self.matrix()
        model, known = self.build(matrix), torch.tensor([4, 0, 4, 3])
        state, own = model.encode(self.views(matrix)), worlds.csr(matrix[known])
        if not model.folds_in:
            with pytest.raises(NotImplementedError):
                model.users_of(state, own)
            return
        u = model.users_of(state, own)
        assert u.shape == model.users(state, known).shape
        scores = model.score_all(u, state)
        assert scores.isfinite().all()
        torch.testing.assert_close(scores[0], scores[2])
        for place, user in enumerate(known):
            alone = model.score_all(model.users_of(state, worlds.csr(matrix[user, None])), state)
            torch.testing.assert_close(alone[0], scores[place])
        nobody = CSR(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long))
        assert model.users_of(state, nobody).shape == (0, *u.shape[1:])

    def test_state_dict_round_trip_without_pickled_code(self) -> None:
        matrix = self.matrix()
        model, twin = self.build(matrix), self.build(matrix, seed=1)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        twin.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(self.scores(twin, self.views(matrix)), self.scores(model, self.views(matrix)))


class TrainedContract(RecommenderContract):
    """What models that are trained promise besides."""

    unused: ClassVar[frozenset[str]] = frozenset()
    """Parameters that rightly get no gradient, each with a comment that says why."""

    def test_every_parameter_learns_and_the_loss_falls(self) -> None:
        matrix = self.matrix()
        model, views = self.build(matrix), self.views(matrix)
        user, item = matrix.nonzero().T
        generator = torch.Generator().manual_seed(0)

        def loss_of(step: int) -> Tensor:
            negative = torch.multinomial((~matrix[user]).float(), 1, generator=generator)
            state = model.encode(views)
            u = model.users(state, user)
            positive = model.score(u, model.items(state, item))
            loss = bpr(positive, model.score(u.unsqueeze(1), model.items(state, negative)))
            return loss + 1e-4 * model.penalty(state, user, item, negative)

        learned = learn(model, loss_of, 20, self.unused)
        assert learned.untouched <= self.unused
        assert learned.losses[-1] < learned.losses[0]

    def test_what_a_model_adds_to_the_loss_is_a_scalar_that_can_be_learned_from(self) -> None:
        matrix = self.matrix()
        model, views = self.build(matrix).train(), self.views(matrix)
        user, item = matrix.nonzero().T
        batch = PairBatch(user, item, item, torch.zeros(len(item)), torch.zeros(len(item)))
        auxiliary = model.auxiliary(model.encode_for(views, batch), batch)
        assert auxiliary is None or (auxiliary.shape == () and auxiliary.isfinite() and auxiliary.requires_grad)


class ClosedFormContract(RecommenderContract):
    """What models that are solved promise besides."""

    def test_users_of_the_data_could_as_well_be_new(self) -> None:
        matrix = self.matrix()
        model, user = self.build(matrix), torch.tensor([4, 0, 4, 3])
        state = model.encode(self.views(matrix))
        torch.testing.assert_close(model.users_of(state, worlds.csr(matrix[user])), model.users(state, user))

    def test_scores_before_fit_are_refused(self) -> None:
        model = self.model(worlds.schema(U, I), **self.options)
        with pytest.raises(RuntimeError, match="before fit"):
            model.encode(self.views(self.matrix()))

    def test_needs_no_checkpoint(self) -> None:
        model = self.build(self.matrix())
        assert not model.state_dict()
        assert not list(model.parameters())
        assert model.closed_form

    def test_second_fit_forgets_the_first(self) -> None:
        matrix, other = self.matrix(), self.matrix(seed=1)
        model = self.build(other)
        model.fit(self.views(matrix))
        fresh = self.build(matrix)
        assert torch.equal(self.scores(model, self.views(matrix)), self.scores(fresh, self.views(matrix)))

    def test_users_are_known_by_the_encoded_rows_and_items_by_the_fitted_ones(self) -> None:
        matrix, swapped = self.matrix(), self.matrix()
        swapped[[0, 1]] = matrix[[1, 0]]
        model = self.build(matrix)
        before, after = self.scores(model, self.views(matrix)), self.scores(model, self.views(swapped))
        torch.testing.assert_close(after[[1, 0, *range(2, U)]], before)

    def test_grid_names_arguments(self) -> None:
        for name, values in self.model.grid.items():  # type: ignore[attr-defined]
            for value in values:
                assert getattr(self.model(worlds.schema(U, I), **{name: value}), name) == value
