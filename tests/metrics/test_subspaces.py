"""What tables of vectors share, against other ways to compute it, and under changes that must not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.metrics.subspaces import (
    canonical_correlations,
    cosines,
    linear_cka,
    readable,
    reidentified,
    share_beyond_mean,
)

seeds = st.integers(0, 10_000)
widths = st.integers(1, 6)
scales = st.floats(1e-6, 1e6)


def noise(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(dim: int, seed: int) -> Tensor:
    return torch.linalg.qr(noise(dim, dim, seed + 1))[0]


def mean_correlation(x: Tensor, y: Tensor) -> float:
    return canonical_correlations(x, y).mean


SIMILAR: list[Callable[[Tensor, Tensor], float]] = [linear_cka, mean_correlation]


@pytest.mark.parametrize("measure", SIMILAR)
@settings(max_examples=25, deadline=None)
@given(p=widths, q=widths, scale=scales, seed=seeds)
def test_rotation_scale_and_shift_of_either_table_change_nothing(
    measure: Callable[[Tensor, Tensor], float], p: int, q: int, scale: float, seed: int
) -> None:
    x, y = noise(60, p, seed), noise(60, q, seed + 2)
    y[:, 0] += x[:, 0]
    changed = scale * x @ rotation(p, seed) + 3 * scale
    assert measure(changed, y) == pytest.approx(measure(x, y), abs=1e-6)
    assert measure(y, x) == pytest.approx(measure(x, y), abs=1e-6)


@pytest.mark.parametrize("measure", SIMILAR)
def test_same_is_1_and_independent_is_about_0(measure: Callable[[Tensor, Tensor], float]) -> None:
    x = noise(4000, 5, 0)
    assert measure(x, x) == pytest.approx(1, abs=1e-3)
    assert measure(x, noise(4000, 5, 9)) == pytest.approx(0, abs=0.03)
    assert measure(x.float(), x.float() @ rotation(5, 3).float()) == pytest.approx(1, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 30), p=widths, q=widths, seed=seeds)
def test_cka_is_that_of_gram_matrices(rows: int, p: int, q: int, seed: int) -> None:
    x, y = noise(rows, p, seed), noise(rows, q, seed + 1)
    centre = np.eye(rows) - 1 / rows
    k, m = ((centre @ table.numpy() @ table.numpy().T @ centre) for table in (x, y))
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-9)


def test_canonical_correlations_are_those_of_orthogonal_bases() -> None:
    """Björck and Golub (1973): the singular values of the product of two orthonormal bases, and their directions."""
    x, y = noise(400, 5, 0), noise(400, 3, 1)
    y[:, :2] += x[:, :2] * torch.tensor([2.0, 0.7], dtype=torch.float64)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(4))
    fitted, held = order[:200], order[200:]
    bases = [np.linalg.qr((table[fitted] - table[fitted].mean(0)).numpy()) for table in (x, y)]
    left, _, right = np.linalg.svd(bases[0].Q.T @ bases[1].Q, full_matrices=False)
    turns = [np.linalg.solve(basis.R, turn) for basis, turn in zip(bases, (left, right.T), strict=True)]
    pairs = zip((x[held].numpy() @ turns[0]).T, (y[held].numpy() @ turns[1]).T, strict=True)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    found = canonical_correlations(x, y, ridge=0, seed=4)
    assert found.each == pytest.approx(expected, abs=1e-9) and found.mean == pytest.approx(np.mean(expected), abs=1e-9)
    assert found.each[0] > 0.8 and found.each[1] > 0.4 and abs(found.each[2]) < 0.25


def test_noise_is_not_fitted_however_many_columns_there_are() -> None:
    """On the rows that directions are fitted on, 100 columns tell all of 100 rows."""
    found = canonical_correlations(noise(200, 100, 0), noise(200, 100, 1))
    assert abs(found.mean) < 0.1 and max(map(abs, found.each)) < 0.4
    assert linear_cka(noise(200, 100, 0), noise(200, 100, 1)) > 0.3  # as its docstring warns


def test_ridge_helps_where_rows_are_few() -> None:
    factor = noise(60, 2, 0)
    x = torch.cat([factor, 0.2 * noise(60, 24, 1)], 1) @ rotation(26, 2) + 0.2 * noise(60, 26, 3)
    assert readable(x, factor, ridge=0.3) > 0.95 > 0.93 > readable(x, factor, ridge=0)


def test_readable_counts_all_dimensions_of_the_factor() -> None:
    factor = noise(4000, 4, 0)
    x = torch.cat([factor[:, :2], noise(4000, 5, 1)], 1) @ rotation(7, 2) * 5 + 1
    assert readable(x, factor) == pytest.approx(0.5, abs=0.03)
    assert readable(factor[:, :1], factor) == pytest.approx(0.25, abs=0.01)
    assert canonical_correlations(factor[:, :1], factor).mean == pytest.approx(1, abs=0.01)
    noisy = factor + noise(4000, 4, 3)
    assert readable(noisy, factor) == pytest.approx(0.5**0.5, abs=0.03)


def test_readable_is_linear() -> None:
    factor = noise(3000, 1, 0)
    assert readable(factor**3, factor) > 0.7 and abs(readable(factor**2, factor)) < 0.1


@pytest.mark.parametrize("measure", SIMILAR)
def test_constant_tables_share_nothing(measure: Callable[[Tensor, Tensor], float]) -> None:
    x = noise(50, 3, 0)
    for constant in (torch.zeros(50, 3), torch.full((50, 3), 0.1), torch.full((50, 1), 0.1).double()):
        assert measure(x, constant) == measure(constant, x) == measure(constant, constant) == 0
    jitter = torch.where(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, 1.0 + 1.2e-7)
    assert jitter.unique().numel() == 2 and measure(x, jitter) == 0


def test_constant_and_repeated_columns_are_as_if_they_were_not() -> None:
    x, y = noise(300, 2, 0), noise(300, 3, 1)
    y[:, 0] += x[:, 0]
    more = torch.cat([x, torch.ones(300, 2).double(), x.sum(1, keepdim=True)], 1)
    found, plain = (canonical_correlations(table, y, ridge=0) for table in (more, x))
    assert len(found.each) == 3 and len(plain.each) == 2
    assert found.each == pytest.approx([*plain.each, 0], abs=1e-6)
    padded = torch.cat([x, torch.ones(300, 2).double()], 1)
    assert linear_cka(padded, y) == pytest.approx(linear_cka(x, y), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 12), p=st.integers(1, 20), q=st.integers(1, 20), ridge=st.sampled_from([0, 1e-4, 1]))
def test_fewer_rows_than_columns_give_numbers_within_bounds(rows: int, p: int, q: int, ridge: float) -> None:
    x, y = noise(rows, p, 0), noise(rows, q, 1)
    found = canonical_correlations(x, y, ridge)
    assert len(found.each) == min(p, q)
    assert all(-1 - 1e-9 <= each <= 1 + 1e-9 for each in [*found.each, found.mean])
    assert 0 <= linear_cka(x, y) <= 1 + 1e-9
    if rows < 4:
        assert found.mean == 0


def test_seed_decides_the_halves() -> None:
    x, y = noise(50, 3, 0), noise(50, 3, 1)
    assert canonical_correlations(x, y, seed=1) == canonical_correlations(x, y, seed=1)
    assert canonical_correlations(x, y, seed=1) != canonical_correlations(x, y, seed=2)


@settings(max_examples=25, deadline=None)
@given(columns=st.integers(1, 6), scale=scales, seed=seeds)
def test_cosines_are_those_of_torch(columns: int, scale: float, seed: int) -> None:
    x, y = noise(20, columns, seed), noise(20, columns, seed + 1)
    turn = rotation(columns, seed)
    torch.testing.assert_close(cosines(x, y), torch.nn.functional.cosine_similarity(x, y))
    middle = torch.nn.functional.cosine_similarity(x - x.mean(0), y - y.mean(0))
    torch.testing.assert_close(cosines(x, y, centred=True), middle)
    for centred in (False, True):
        torch.testing.assert_close(cosines(scale * x @ turn, y @ turn, centred), cosines(x, y, centred))
    torch.testing.assert_close(cosines(x + 1e3, y - 7, centred=True), middle, atol=1e-6, rtol=0)


def test_a_shift_of_all_rows_makes_raw_cosines_large_only() -> None:
    x, y = noise(500, 8, 0), noise(500, 8, 1)
    assert cosines(x + 10, y + 10).min() > 0.9 and abs(float(cosines(x + 10, y + 10, centred=True).mean())) < 0.05


def test_cosines_with_nothing_are_0() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert cosines(x, torch.ones(2, 2)).tolist() == [0, pytest.approx(3 / 10**0.5)]
    assert cosines(torch.full((4, 3), 0.1), noise(4, 3, 0), centred=True).tolist() == [0, 0, 0, 0]


def test_reidentified_is_the_nearest_by_cosine() -> None:
    x = noise(40, 3, 0)
    y = x + 0.5 * noise(40, 3, 1)
    cosine = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=2)
    assert reidentified(x, y) == pytest.approx(float((cosine.argmax(1) == torch.arange(40)).double().mean()))
    turn = rotation(3, 0)
    assert reidentified(7 * x @ turn, y @ turn) == pytest.approx(reidentified(x, y))


def test_reidentification_of_the_same_of_noise_and_of_one_for_all() -> None:
    x = noise(3000, 16, 0)
    assert reidentified(x.float(), x.float() * 2) == 1
    assert reidentified(x, noise(3000, 16, 1)) < 0.01
    assert reidentified(x, torch.ones(3000, 16)) == 0 and reidentified(torch.ones(3000, 16), x) == 0.001
    assert reidentified(x, torch.zeros(3000, 16)) == 0
    assert reidentified(x[:1], x[:1]) == 1


def test_among_more_rows_it_is_harder_to_find_ones_own() -> None:
    x = noise(2000, 4, 0)
    y = x + 0.3 * noise(2000, 4, 1)
    few, many = reidentified(x, y, rows=10), reidentified(x, y, rows=2000)
    assert few > 0.7 > many
    assert reidentified(x, y, rows=100, seed=1) != reidentified(x, y, rows=100, seed=2)


@settings(max_examples=25, deadline=None)
@given(scale=scales, shift=st.floats(-5, 5), seed=seeds)
def test_share_beyond_the_mean(scale: float, shift: float, seed: int) -> None:
    x = noise(30, 4, seed) + shift
    expected = float(x.var(0, correction=0).sum() / x.square().mean(0).sum())
    assert share_beyond_mean(scale * x @ rotation(4, seed)) == pytest.approx(expected, abs=1e-9)


def test_a_constant_shift_has_nothing_beyond_its_mean() -> None:
    shift = torch.tensor([0.1, -3.0])
    user = noise(100, 2, 0).float()
    assert share_beyond_mean(shift.expand(100, 2)) == 0
    assert share_beyond_mean((user + shift) - user) < 1e-10
    assert share_beyond_mean(torch.zeros(100, 2)) == 0
    assert share_beyond_mean(user - user.mean(0)) == pytest.approx(1, abs=1e-6)
