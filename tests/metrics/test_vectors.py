from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys_lightning.metrics import vectors
from recsys_lightning.metrics.vectors import alignment, nearest, norms, spread
from tests.worlds import csr


def test_spread_counts_every_value() -> None:
    values = torch.linspace(0, 10, 101)
    found = spread(values)
    assert found.mean == pytest.approx(5) and found.quantiles == pytest.approx(
        {"0.05": 0.5, "0.25": 2.5, "0.5": 5, "0.75": 7.5, "0.95": 9.5}
    )
    assert sum(found.counts) == 101 and len(found.edges) == len(found.counts) + 1
    assert (found.edges[0], found.edges[-1]) == (0, 10)


def test_equal_values_share_a_bar_however_they_were_rounded() -> None:
    found = spread(1 + 1e-7 * torch.randn(50, dtype=torch.float64))
    assert max(found.counts) == 50 and found.edges[0] < 0.6
    assert max(spread(torch.ones(1)).counts) == 1


def test_norms_are_lengths() -> None:
    found = norms(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]))
    assert found.mean == pytest.approx(2) and found.quantiles["0.5"] == pytest.approx(1)


def test_nearest_are_those_of_the_whole_table_of_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    query = torch.tensor([0, 7, 29])
    cosine = torch.nn.functional.cosine_similarity(table[query][:, None], table[None], dim=2)
    expected = [
        [place for place in row.argsort(descending=True).tolist() if place != own][:5]
        for own, row in zip(query.tolist(), cosine, strict=True)
    ]
    assert nearest(table, query, 5).tolist() == expected
    monkeypatch.setattr(vectors, "COSINES", 1)
    assert nearest(3 * table, query, 5).tolist() == expected
    assert nearest(table[:3], torch.arange(3), 10).shape == (3, 2)


def test_alignment_of_users_who_are_the_mean_of_their_items() -> None:
    generator = torch.Generator().manual_seed(1)
    own = csr(torch.rand(40, 20, generator=generator) < 0.2)
    item = torch.randn(20, 16, generator=generator)
    has = own.degree > 0
    user = torch.zeros(40, 16).index_add(0, own.row, item[own.col]) * 5
    found = alignment(user, item, own)
    assert found is not None and found.mean == pytest.approx(1, abs=1e-5) and found.users == int(has.sum())
    assert found.shuffled < 0.6 and sum(found.counts) == found.users
    assert alignment(-user, item, own).mean == pytest.approx(-1, abs=1e-5)  # type: ignore[union-attr]


def test_nobody_is_held_against_the_own_items() -> None:
    """With as many directions as users, the own cosine is 1 and any other is 0."""
    for users in (2, 3, 17):
        found = alignment(torch.eye(users), torch.eye(users), csr(torch.eye(users)), seed=users)
        assert found is not None and (found.mean, found.shuffled) == (1, 0)


def test_one_user_has_no_other() -> None:
    own = csr(torch.tensor([[1, 0], [0, 0]]))
    assert alignment(torch.eye(2), torch.eye(2), own) is None


def test_a_seed_decides_the_circle() -> None:
    generator = torch.Generator().manual_seed(2)
    user, item = torch.randn(30, 4, generator=generator), torch.randn(9, 4, generator=generator)
    own = csr(torch.rand(30, 9, generator=generator) < 0.5)
    first, again, other = (alignment(user, item, own, seed) for seed in (0, 0, 1))
    assert first == again and first is not None and other is not None
    assert first.mean == other.mean and first.shuffled != other.shuffled
    assert np.isfinite(first.shuffled)
