from __future__ import annotations

import torch

from recsys_lightning.metrics.ranking import pair_keys, tie_priority
from recsys_lightning.metrics.sampling import keep_sample, noise

INF = torch.inf


def kept(
    scores: torch.Tensor, user: torch.Tensor, seen: torch.Tensor, relevant: torch.Tensor, count: int
) -> torch.Tensor:
    """The sample of a batch, by dense tables of what is seen and relevant."""
    items = scores.shape[1]
    scores = scores.masked_fill(seen, -INF)
    keys = [pair_keys(table.nonzero().T, items) for table in (seen, relevant)]
    keep_sample(scores, user, *keys, count=count, seed=5, priority=tie_priority(items))
    return scores


def test_noise_is_uniform_and_belongs_to_the_pair() -> None:
    table = noise(torch.arange(300), 500, seed=1)
    assert 0 <= table.min() and table.max() < 1
    counts = torch.histc(table, bins=20, min=0, max=1)
    expected = table.numel() / 20
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-square with 19 degrees of freedom, p = 0.0007
    for a, b in [(table[1:], table[:-1]), (table[:, 1:], table[:, :-1])]:
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 0.01
    assert torch.equal(noise(torch.tensor([17, 3], dtype=torch.int32), 500, seed=1), table[[17, 3]])
    assert (noise(torch.arange(300), 500, seed=2) == table).float().mean() < 0.001


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
