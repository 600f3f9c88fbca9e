from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import UserDomainBatch, Vectors, Views
from recsys_lightning.data.user_domains import UserDomainLoader
from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.models.diffusion.sampling import Sampler
from recsys_lightning.models.domains import domain_of
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models.contract import RecommenderContract, U
from tests.models.diffusion.planted import SMALL
from tests.models.learning import learn

DIM = 5
DOMAINS = ("movie", "book")


def schema(num_users: int, num_items: int) -> Schema:
    return replace(worlds.schema(num_users, num_items), vector_width=DIM, domains=DOMAINS)


def views_of(matrix: Tensor, item_order: Tensor | None = None, several: bool = True) -> Views:
    """Views with random vectors, of a world whose items are of one domain and the other by turns."""
    num_users, num_items = matrix.shape
    generator = torch.Generator().manual_seed(0)
    user = torch.randn(num_users, *([2] if several else []), DIM, generator=generator) + 1
    item = 3 * torch.randn(num_items, DIM, generator=generator)
    order = torch.arange(num_items) if item_order is None else item_order
    vectors = Vectors(user, item[order])
    return Views(worlds.csr(matrix), num_items, domain=order % 2, build_vectors=lambda: vectors)


def random_weights(model: DiffusionRecommender) -> DiffusionRecommender:
    """Away from the start, where the network is the constant 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def make(sizes: Schema, **options: Any) -> DiffusionRecommender:
    torch.manual_seed(0)
    return random_weights(SMALL(sizes, **options))


class TestDiffusionRecommender(RecommenderContract):
    model = staticmethod(lambda sizes, **options: make(schema(sizes.num_users, sizes.num_items), **options))  # type: ignore[assignment]
    options = {"steps": 4, "timesteps": 20, "samples": 2}  # noqa: RUF012

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return views_of(matrix, item_order)

    def test_order_of_users_and_items_changes_nothing(self) -> None:
        """Noise is of a user's number, so users stay where they are."""
        matrix = self.matrix()
        model, order = self.build(matrix), torch.randperm(matrix.shape[1], generator=torch.Generator().manual_seed(5))
        before, after = self.scores(model, self.views(matrix)), self.scores(model, self.views(matrix[:, order], order))
        torch.testing.assert_close(after, before[:, order])


def of_batch(rows: int = 40) -> tuple[DiffusionRecommender, Views, UserDomainBatch]:
    matrix = torch.rand(U, 12, generator=torch.Generator().manual_seed(1)) < 0.5
    matrix[:, :4] = True
    user, domain = torch.arange(rows) % U, torch.arange(rows) % 2
    batch = UserDomainBatch(user, domain, domain, torch.arange(rows) % 3 > 0, domain[:, None])
    return make(schema(U, 12)), views_of(matrix), batch


def test_samples_of_a_domain_are_the_block_of_that_domain() -> None:
    model, views, _ = of_batch()
    state, user = model.encode(views), torch.tensor([3, 1])
    whole = model.users(state, user).view(2, 2, DIM + 1)
    torch.testing.assert_close(whole, model.queries(state, user))
    for code in (0, 1):
        block = model.users_in(state, user, code).view(2, 2, DIM + 1)
        torch.testing.assert_close(block[:, code], whole[:, code])
        assert not block[:, 1 - code].any()


def test_scores_are_of_samples_about_the_mean_and_of_popularity() -> None:
    model, views, _ = of_batch()
    model.standardise(views)
    state, user = model.encode(views), torch.tensor([3, 1])
    for code in (0, 1):
        mean, spread = model.item_mean[code], model.item_std[code].square().mean().sqrt()
        personal = (model.sample(state, user, code) - mean) / spread @ ((views.vectors.item[code] - mean) / spread)
        expected = personal / DIM**0.5 + (1 + views.popularity[code]).log()
        torch.testing.assert_close(
            model.score(model.users(state, user), model.items(state, torch.tensor(code))), expected
        )


def test_without_anything_learned_it_ranks_as_popularity_does() -> None:
    _, views, _ = of_batch()
    model = SMALL(schema(U, 12), steps=3, prediction="x0").eval()
    model.standardise(views)
    state = model.encode(views)
    scores = model.score_all(model.users(state, torch.arange(U)), state)
    torch.testing.assert_close(scores, views.popularity.log1p().expand(U, -1))


def test_noise_is_known_by_whom_it_is_for() -> None:
    model, views, _ = of_batch()
    state, sampler = model.encode(views), Sampler(5)
    draw = partial(model.sample, state, domain=0, sampler=sampler)
    everybody = draw(torch.arange(U))
    torch.testing.assert_close(draw(torch.tensor([7, 2])), everybody[[7, 2]])
    other = model.sample(state, torch.arange(U), 0, replace(sampler, seed=1))
    assert ((everybody - other).abs().amax(1) > 1e-3).all()
    several = [model.sample(state, torch.arange(U), 0, replace(sampler, samples=n)) for n in (1, 4)]
    assert torch.equal(several[0], everybody) and not torch.allclose(*several)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_without_condition_samples_do_not_depend_on_the_user(guidance: float) -> None:
    model, views, _ = of_batch()
    state, sampler, user = model.encode(views), Sampler(5, guidance), torch.arange(U)
    own = model.sample(state, user, 0, sampler)
    others = model.sample(state, user, 0, sampler, told=user.roll(1))
    assert torch.equal(own, others) == (guidance == 0)


def test_one_vector_for_all_domains_conditions_each() -> None:
    matrix = torch.ones(4, 6, dtype=torch.bool)
    model = make(schema(4, 6))
    views = views_of(matrix, several=False)
    model.standardise(views)
    assert model.encode(views).condition.shape == (4, 2, DIM)
    assert torch.equal(model.condition_mean[0], model.condition_mean[1])


def test_vectors_are_standardised_by_what_is_trained_on() -> None:
    """Users have few items or many, and each counts once in a domain."""
    matrix = torch.rand(60, 12, generator=torch.Generator().manual_seed(1)) < torch.linspace(0.05, 0.7, 60)[:, None]
    matrix[:, :2], matrix[:, 10:] = True, False
    model, views = make(schema(60, 12)), views_of(matrix)
    assert views.domain is not None
    model.standardise(views)
    members = [(views.domain == code).nonzero()[:, 0] for code in (0, 1)]
    loader = UserDomainLoader(views.train, views.train, members, 32, 1, 0)
    drawn: list[list[Tensor]] = [[], []]
    for epoch in range(500):
        loader.set_epoch(epoch)
        for batch in loader:
            for code, parts in enumerate(drawn):
                parts.append(batch.item[batch.known & (batch.domain == code)])
    for code, parts in enumerate(drawn):
        x0 = (views.vectors.item[torch.cat(parts)] - model.item_mean[code]) / model.item_std[code]
        torch.testing.assert_close(x0.mean(0), torch.zeros(DIM), atol=0.02, rtol=0)
        torch.testing.assert_close(x0.std(0), torch.ones(DIM), atol=0.02, rtol=0)


def test_conditions_are_standardised_over_users_with_train_rows() -> None:
    model, views, _ = of_batch()
    model.standardise(views)
    state = model.encode(views).condition[views.train.degree > 0]
    torch.testing.assert_close(state.mean(0), torch.zeros(2, DIM), atol=1e-5, rtol=0)
    assert {"item_mean", "item_std", "condition_mean", "condition_std"} <= set(model.state_dict())


def test_a_column_that_does_not_vary_stays_finite() -> None:
    model, views, batch = of_batch()
    views.vectors.item[:, 2] = 0.1
    views.vectors.user[..., 1] = 7.0
    model.standardise(views)
    assert (model.item_std[:, 2] == 1).all() and (model.condition_std[:, 1] == 1).all()
    assert model.denoising_loss(views, batch).isfinite()


def test_a_domain_without_train_rows_is_refused() -> None:
    matrix = torch.zeros(3, 4, dtype=torch.bool)
    matrix[:, 0] = True
    with pytest.raises(InputError, match="Domain book has no train row"):
        make(schema(3, 4)).standardise(views_of(matrix))


def test_rows_without_an_item_teach_nothing() -> None:
    model, views, batch = of_batch()

    def gradient(given: UserDomainBatch) -> Tensor:
        torch.manual_seed(3)
        model.zero_grad()
        loss = model.denoising_loss(views, given)
        loss.backward()
        assert loss.isfinite()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    other = batch._replace(item=torch.where(batch.known, batch.item, 10 + batch.domain))
    assert torch.equal(gradient(batch), gradient(other))
    assert not gradient(batch._replace(known=torch.zeros_like(batch.known))).any()
    assert model.denoising_loss(views, UserDomainBatch(*(part[:1] for part in batch))).isfinite()


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_every_parameter_learns_and_a_point_is_found(prediction: Any) -> None:
    """All items are one point, so samples are that point, whatever noise they start from."""
    point = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    matrix = torch.ones(U, 12, dtype=torch.bool)
    views, (_, _, batch) = views_of(matrix), of_batch(200)
    views.vectors.item.copy_(point.expand(12, DIM))
    model = SMALL(schema(U, 12), prediction=prediction, timesteps=50)  # not standardised: the point is to be learned
    learned = learn(model, lambda _: model.denoising_loss(views, batch), 300, frozenset())
    assert not learned.untouched
    drawn = model.sample(model.encode(views), torch.arange(U), 1, Sampler(20))
    assert (drawn - point).abs().mean() < 0.1 and drawn.std(0).max() < 0.2
    assert learned.better


def test_parameters_of_another_diffusion_are_refused() -> None:
    saved = make(schema(4, 6)).state_dict()
    for options in ({"timesteps": 500}, {"prediction": "x0"}):
        message = (
            r"trained with timesteps 1000 and prediction v, and the configuration asks for (500 and v|1000 and x0)"
        )
        with pytest.raises(InputError, match=message):
            make(schema(4, 6), **options).load_state_dict(saved)
    make(schema(4, 6), steps=7, guidance=1.0).load_state_dict(saved)


def test_vectors_rank_as_the_model_does() -> None:
    model, views, _ = of_batch()
    model.standardise(views)
    found, state, of = model.vectors(views), model.encode(views), domain_of(views)
    assert found.user.shape == (U, 2, DIM + 1) and found.item.shape == (12, DIM + 1)
    everybody = torch.arange(U)
    scores = torch.einsum("uid,id->ui", found.user[:, of], found.item)
    torch.testing.assert_close(scores, model.score_all(model.users(state, everybody), state))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_stay_finite(dtype: torch.dtype) -> None:
    model, views, batch = of_batch()
    model.standardise(views)
    exact = model.users(model.encode(views), torch.arange(U))
    other = model.to(dtype)
    loss = other.denoising_loss(views, batch)
    loss.backward()
    assert loss.isfinite() and loss.dtype == torch.float32
    u = other.users(other.encode(views), torch.arange(U))
    assert u.isfinite().all()
    assert torch.corrcoef(torch.stack([u.float().flatten(), exact.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "noise"}, "predicts v or x0 .* given prediction 'noise'"),
        ({"condition_dropout": 1.0}, r"condition_dropout from 0 to less than 1, .* condition_dropout 1\.0"),
        ({"timesteps": 10}, "20 sampling steps were asked for; with 10 timesteps"),
        ({"timesteps": 0}, "timesteps is 0"),
        ({"guidance": -1.0}, "guidance of at least 0"),
        ({"samples": 0}, "samples 0"),
        ({"width": 0}, "width 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SMALL(schema(4, 6), **options)


def test_data_without_vectors_and_conditions_of_other_domains_are_refused() -> None:
    with pytest.raises(InputError, match="DiffusionRecommender reads vectors"):
        DiffusionRecommender(worlds.schema(4, 6))
    model = make(replace(schema(4, 6), domains=("a", "b", "c")))
    with pytest.raises(InputError, match="conditions of 2 domains, and the data have 3"):
        model.encode(views_of(torch.ones(4, 6, dtype=torch.bool)))
