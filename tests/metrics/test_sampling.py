from __future__ import annotations

import pytest
import torch

from recsys_lightning.metrics.ranking import pair_keys
from recsys_lightning.metrics.sampling import Candidates

INF = torch.inf


def kept(
    scores: torch.Tensor, user: torch.Tensor, seen: torch.Tensor, relevant: torch.Tensor, count: int
) -> torch.Tensor:
    """The sample of a batch, by dense tables of what is seen and relevant."""
    items = scores.shape[1]
    scores = scores.masked_fill(seen, -INF)
    keys = [pair_keys(table.nonzero().T, items) for table in (seen, relevant)]
    Candidates(items, count, seed=5).keep(scores, user, *keys)
    return scores


@pytest.mark.parametrize("items", [1, 2, 30, 64, 101])
def test_walks_never_come_to_an_item_twice(items: int) -> None:
    walks = Candidates(items, 5, seed=0).walk(torch.arange(50), items)
    assert torch.equal(walks.sort(1).values, torch.arange(items).expand(50, -1))


def test_walks_belong_to_user_and_seed() -> None:
    draw = Candidates(500, 5, seed=1)
    walks = draw.walk(torch.arange(300), 20)
    assert torch.equal(draw.walk(torch.tensor([17, 3], dtype=torch.int32), 20), walks[[17, 3]])
    assert (Candidates(500, 5, seed=2).walk(torch.arange(300), 20) == walks).double().mean() < 0.02
    assert (walks[1:] == walks[:-1]).double().mean() < 0.02


def test_pairs_of_items_are_drawn_independently() -> None:
    """Over users, any two of 101 items are drawn together as often as in random sets of 10."""
    walks = Candidates(101, 10, seed=3).walk(torch.arange(20_000), 10)
    drawn = torch.zeros(20_000, 101).scatter_(1, walks, 1.0)
    together = (drawn.T @ drawn)[torch.triu(torch.ones(101, 101), 1).bool()] / 20_000
    share = 10 * 9 / (101 * 100)
    assert (together - share).abs().max() < 5.5 * (share / 20_000) ** 0.5


def test_relevant_and_the_wanted_number_of_unseen_others_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 300, generator=generator)
    seen = torch.rand(40, 300, generator=generator) < 0.2
    relevant = (torch.rand(40, 300, generator=generator) < 0.05) & ~seen
    left = kept(scores, torch.arange(40), seen, relevant, count=30)
    stays = left > -INF
    assert torch.equal(left[stays], scores[stays])
    assert stays[relevant].all() and not stays[seen].any()
    assert ((stays & ~relevant).sum(1) == 30).all()


def test_every_other_item_is_equally_likely() -> None:
    users, items, count = 4000, 20, 5
    nothing = torch.zeros(users, items, dtype=torch.bool)
    relevant = nothing.clone()
    relevant[:, 3] = True
    drawn = (kept(torch.zeros(users, items), torch.arange(users), nothing, relevant, count) > -INF).double().mean(0)
    others = torch.arange(items) != 3
    assert drawn[3] == 1
    assert (drawn[others] - count / 19).abs().max() < 5 * (count / 19 * (1 - count / 19) / users) ** 0.5


def test_the_draw_knows_the_user_only() -> None:
    """Other rows of the batch, the scores and unrelated items seen do not change whom a user meets."""
    users, items = torch.arange(6), 60
    nothing = torch.zeros(6, items, dtype=torch.bool)
    whole = kept(torch.zeros(6, items), users, nothing, nothing, 8) > -INF
    turned = kept(torch.randn(6, items), users.flip(0), nothing, nothing, 8) > -INF
    assert torch.equal(whole, turned.flip(0))
    assert not torch.equal(whole[0], whole[1])


def test_small_catalogues_are_drawn_whole() -> None:
    scores, seen = torch.arange(4.0)[None], torch.tensor([[True, False, False, False]])
    left = kept(scores, torch.tensor([9]), seen, torch.tensor([[False, False, True, False]]), count=100)
    assert left.tolist() == [[-INF, 1, 2, 3]]
    everything = kept(scores, torch.tensor([9]), ~seen, seen & False, count=100)
    assert everything.tolist() == [[0, -INF, -INF, -INF]]
