from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recsys_lightning.losses.foreign import foreign

U, ITEMS, D = 4000, 500, 9
SHARED, OWN, OTHER, NOISE = slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 9)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def world(noise: float = 0.1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tastes, and the same rotated: users, items of the other domain, items of the own."""
    turn = torch.linalg.qr(normal(D, D, seed=9))[0]
    taste, own, other = normal(U, D, seed=1), noise * normal(ITEMS, D, seed=2), noise * normal(ITEMS, D, seed=3)
    own[:, :4] += normal(ITEMS, 4, seed=4)
    other[:, SHARED] += normal(ITEMS, 2, seed=5)
    other[:, OTHER] += normal(ITEMS, 2, seed=6)
    return taste, taste @ turn, other @ turn, own @ turn


def correlations(left: Tensor, right: Tensor) -> Tensor:
    left, right = left - left.mean(0), right - right.mean(0)
    return (left.T @ right) / left.norm(dim=0)[:, None] / right.norm(dim=0)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.25])
def test_the_planted_tastes_of_the_other_domain_are_found(noise: float) -> None:
    taste, user, others, own = world(noise)
    directions = foreign(user, others, own, 3.0)
    assert directions.shape == (D, 2)
    found = (user - user.mean(0)) @ directions
    torch.testing.assert_close(found.T @ found / U, torch.eye(2), atol=1e-4, rtol=0)
    assert correlations(found, taste[:, OTHER]).square().sum(1).min() > 0.97
    assert correlations(found, taste[:, :4]).abs().max() < 0.1


def test_what_the_domain_could_use_is_left_to_it() -> None:
    """Tastes in other domains that go with those in the own are foreign but for what these predict."""
    taste, _, others, own = world(0.0)
    turn = torch.linalg.qr(normal(D, D, seed=9))[0]
    taste[:, OTHER] = 0.8 * taste[:, OWN] + 0.6 * taste[:, OTHER]
    user = taste @ turn
    found = (user - user.mean(0)) @ foreign(user, others, own, 3.0)
    assert correlations(found, taste[:, :4]).abs().max() < 1e-3
    assert correlations(found, taste[:, OTHER]).square().sum(0).max() < 0.4


def test_a_domain_that_looks_where_the_others_look_has_nothing_foreign() -> None:
    _, user, others, own = world()
    assert foreign(user, others, torch.cat([own, others]), 3.0).shape == (D, 0)
    assert foreign(user, others, own, 1e6).shape == (D, 0)
    for nothing in ((user, others[:0], own), (user, others, own[:0]), (user[:1], others, own)):
        assert foreign(*nothing, 3.0).shape == (D, 0)


def test_length_of_vectors_does_not_matter() -> None:
    _, user, others, own = world()
    found = (user - user.mean(0)) @ foreign(user, others, own, 3.0)
    again = 100 * (user - user.mean(0)) @ foreign(100 * user, 7 * others, 0.1 * own, 3.0)
    torch.testing.assert_close(again.abs(), found.abs(), atol=1e-3, rtol=1e-3)


def test_odd_numbers_give_finite_directions() -> None:
    _, user, others, own = world()
    for one in ((0 * user, others, own), (user, 0 * others, own), (user, others, 0 * own), (user, 0 * others, 0 * own)):
        assert foreign(*one, 3.0).isfinite().all()


def test_what_all_items_of_a_domain_share_hides_no_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    own, others = torch.zeros(200, 8), torch.zeros(200, 8)
    own[:, :3] = torch.randn(200, 3, generator=generator)
    others[:, 2:5] = torch.randn(200, 3, generator=generator)
    user, shift = torch.randn(300, 8, generator=generator), 20 * torch.eye(8)[6]
    plain, moved = (foreign(user, others + move, own, 3.0) for move in (0 * shift, shift))
    assert plain.shape[1] == 2
    torch.testing.assert_close(moved @ moved.T, plain @ plain.T, atol=1e-4, rtol=1e-4)
