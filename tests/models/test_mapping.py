from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import EMCDR, PTUPCDR
from recsys_lightning.models.mapping import Mapped
from recsys_lightning.schema import Schema
from tests import worlds

U, BOTH, I = 60, 40, 30  # noqa: E741 - as in the docstrings of models
SHARED, FEW = slice(0, BOTH), slice(BOTH, U - 1)
"""Users of both domains, and those who have films alone; the last one has nothing."""
MODELS = [EMCDR, PTUPCDR]


def schema(domains: tuple[str, ...] = ("movie", "book")) -> Schema:
    return replace(worlds.schema(U, I), domains=domains)


def domain(num_domains: int = 2) -> Tensor:
    return torch.arange(I) % num_domains


def world(num_domains: int = 2) -> Views:
    matrix = torch.rand(U, I, generator=torch.Generator().manual_seed(0)) < 0.4
    matrix[FEW] &= domain(num_domains) == 0
    matrix[U - 1] = False
    matrix[:BOTH, :num_domains] = True
    matrix[FEW, 0] = True
    return Views(worlds.csr(matrix), I, domain=domain(num_domains))


def batch(views: Views, target: int, shared: bool) -> PairBatch:
    rows = (domain()[views.train.col] == target).nonzero()[:16, 0]
    user, item = views.train.row[rows], views.train.col[rows]
    negative = item if shared else torch.randint(0, I // 2, (len(rows), 3)) * 2 + target
    return PairBatch(user, item, negative, torch.zeros(len(rows)), torch.zeros(negative.shape))


def build(kind: type[Mapped], domains: tuple[str, ...] = ("movie", "book")) -> Mapped:
    torch.manual_seed(0)
    return kind(schema(domains), dim=6)


@pytest.mark.parametrize("kind", MODELS)
def test_known_users_keep_their_vectors_and_new_ones_are_carried_over(kind: type[Mapped]) -> None:
    model, views = build(kind), world()
    vectors = model.encode(views).user.view(U, 2, 6)
    torch.testing.assert_close(vectors[SHARED], model.user[SHARED])
    torch.testing.assert_close(vectors[FEW, 0], model.user[FEW, 0])
    torch.testing.assert_close(vectors[FEW, 1], model.carry(views, torch.arange(U)[FEW], 0, 1))
    assert vectors[U - 1].abs().sum() == 0


@pytest.mark.parametrize("kind", MODELS)
def test_a_user_of_several_domains_is_carried_by_their_mean(kind: type[Mapped]) -> None:
    model, views = build(kind, ("a", "b", "c")), world(3)
    kept = domain(3)[views.train.col] != 2
    matrix = torch.zeros(U, I, dtype=torch.bool)
    matrix[views.train.row[kept], views.train.col[kept]] = True
    views = Views(worlds.csr(matrix), I, domain=domain(3))
    user = torch.arange(BOTH)
    expected = (model.carry(views, user, 0, 2) + model.carry(views, user, 1, 2)) / 2
    torch.testing.assert_close(model.encode(views).user.view(U, 3, 6)[:BOTH, 2], expected)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_maps_teach_the_tables_nothing_and_every_parameter_has_a_gradient(kind: type[Mapped], shared: bool) -> None:
    model, views = build(kind), world()
    one = batch(views, 1, shared)
    state = model.encode_for(views, one)
    model.auxiliary(state, one).backward()  # type: ignore[no-untyped-call]
    assert model.user.grad is None and model.item.grad is None
    maps = {name: p.grad for name, p in model.named_parameters() if name not in ("user", "item")}
    assert all(gradient is not None for gradient in maps.values())
    assert any(gradient.any() for name, gradient in maps.items() if "0_to_1" in name and gradient is not None)
    assert not any(gradient.any() for name, gradient in maps.items() if "1_to_0" in name and gradient is not None)


def test_scores_of_training_are_those_of_the_batch_s_domain() -> None:
    model, views = build(EMCDR), world()
    one = batch(views, 1, shared=True)
    state = model.encode_for(views, one)
    scores = model.score(model.users(state, one.user), model.items(state, one.item))
    torch.testing.assert_close(scores, (model.user[one.user, 1] * model.item[one.item]).sum(-1))


def test_a_bridge_is_what_the_paper_says() -> None:
    model, views = build(PTUPCDR), world()
    assert isinstance(model, PTUPCDR)
    user = torch.tensor([3, 45, 3])
    found = model.carry(views, user, 0, 1)
    for place, one in enumerate(user.tolist()):
        own = views.train.col[views.train.crow[one] : views.train.crow[one + 1]]
        own = own[domain()[own] == 0]
        weight = model.attention["0_to_1"](model.item[own])[:, 0].softmax(0)
        taste = (weight[:, None] * model.item[own]).sum(0)
        expected = model.bridge["0_to_1"](taste).view(6, 6) @ model.user[one, 0]
        torch.testing.assert_close(found[place], expected)


@pytest.mark.parametrize("kind", MODELS)
def test_maps_find_what_new_users_like(kind: type[Mapped]) -> None:
    """Tables hold planted tastes that a rotation carries over; only the maps are trained, by the users of both."""
    model, generator = build(kind), torch.Generator().manual_seed(1)
    taste = torch.randn(U, 6, generator=generator)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    vectors = torch.randn(I, 6, generator=generator)
    likes = torch.where(domain() == 0, taste @ vectors.T, taste @ rotation @ vectors.T) > 1.0
    likes[FEW] &= domain() == 0
    views = Views(worlds.csr(likes), I, domain=domain())
    with torch.no_grad():
        model.user.copy_(torch.stack([taste, taste @ rotation], 1))
        model.item.copy_(vectors)
    optimizer = torch.optim.Adam([p for name, p in model.named_parameters() if name not in ("user", "item")], lr=0.01)
    before = _agreement(model, views, taste @ rotation)
    rows = (domain()[views.train.col] == 1).nonzero()[:, 0]
    one = PairBatch(
        views.train.row[rows], views.train.col[rows], views.train.col[rows], torch.zeros(len(rows)), torch.zeros(1)
    )
    for _ in range(150):
        optimizer.zero_grad()
        model.auxiliary(model.encode_for(views, one), one).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert _agreement(model, views, taste @ rotation) > max(0.4, before + 0.3)


def _agreement(model: Mapped, views: Views, truth: Tensor) -> float:
    """Correlation of the scores of new users for books with the true ones."""
    with torch.no_grad():
        carried = model.encode(views).user.view(U, 2, 6)[FEW, 1]
        books = model.item[domain() == 1]
        scores = torch.stack([(carried @ books.T).flatten(), (truth[FEW] @ books.T).flatten()])
    return float(torch.corrcoef(scores)[0, 1])


@pytest.mark.parametrize("kind", MODELS)
def test_bad_options_are_refused_in_words(kind: type[Mapped]) -> None:
    with pytest.raises(InputError, match="has one domain"):
        kind(worlds.schema(U, I))
    with pytest.raises(InputError, match="dim of at least 1"):
        kind(schema(), dim=0)
    with pytest.raises(InputError, match="hidden width of at least 1"):
        kind(schema(), hidden=0)  # type: ignore[call-arg]


@pytest.mark.parametrize("target", [0, 1])
def test_a_row_shrinks_the_vectors_of_its_own_domain_alone(target: int) -> None:
    model, views = build(EMCDR), world()
    rows = batch(views, target, shared=False)
    penalty = model.penalty(model.encode_for(views, rows), rows.user, rows.item, rows.negative)
    expected = [model.user[rows.user, target], model.item[rows.item], model.item[rows.negative]]
    torch.testing.assert_close(penalty, sum(part.square().sum() for part in expected) / (2 * len(rows.user)))
    of_users, of_items = torch.autograd.grad(penalty, [model.user, model.item])
    assert of_users[rows.user, target].any() and not of_users[:, 1 - target].any()
    assert not of_items[domain() != target].any()
