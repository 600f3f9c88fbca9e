from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.models import sparse
from tests import worlds


def matrix(seed: int, rows: int = 9, columns: int = 7) -> Tensor:
    """0/1, with an empty row and an empty column."""
    drawn = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.4
    drawn[2], drawn[:, 4] = False, False
    return drawn


seeds = st.integers(0, 10_000)


@given(seeds, st.booleans())
def test_pool_is_the_sparse_product(seed: int, weighted: bool) -> None:
    dense = matrix(seed).double()
    rows = worlds.csr(dense)
    table = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weight = table.flatten()[: len(rows.col)].repeat(3)[: len(rows.col)] if weighted else None
    if weight is not None:
        dense[dense.bool()] = weight
    torch.testing.assert_close(sparse.pool(rows, table, weight), dense @ table)


@pytest.mark.parametrize("index", [[], [3, 0, 3], [[1, 1], [0, 4]]])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 0), (5, 2, 3), (5, 0, 3)])
def test_rows_at_are_the_rows_and_their_gradients(shape: tuple[int, ...], index: list[int]) -> None:
    table = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    at = torch.tensor(index, dtype=torch.long)
    assert torch.equal(sparse.rows_at(table, at), table[at])
    weight = torch.randn(*at.shape, *shape[1:], dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((rows * weight).sum(), table)[0] for rows in (sparse.rows_at(table, at), table[at])
    )
    torch.testing.assert_close(found, expected)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads, for as long as the test lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_threads_add_gradients_of_rows_in_one_order() -> None:
    table, at, weight = torch.randn(60, 8, requires_grad=True), torch.randint(60, (20_000,)), torch.randn(20_000, 8)
    found = [torch.autograd.grad((sparse.rows_at(table, at) * weight).sum(), table)[0] for _ in range(20)]
    assert all(torch.equal(found[0], other) for other in found)


@given(seeds, st.lists(st.integers(0, 8), max_size=12))
def test_take_picks_rows_in_the_order_asked_for(seed: int, chosen: list[int]) -> None:
    dense = matrix(seed)
    taken = sparse.take(worlds.csr(dense), torch.tensor(chosen, dtype=torch.long))
    expected = worlds.csr(dense[chosen])
    assert torch.equal(taken.crow, expected.crow)
    assert torch.equal(taken.col, expected.col)


@given(seeds)
def test_transpose_follows_the_entries(seed: int) -> None:
    dense = matrix(seed)
    rows = worlds.csr(dense)
    across, position = sparse.transpose(rows, 7)
    expected = worlds.csr(dense.T)
    assert torch.equal(across.crow, expected.crow)
    assert torch.equal(across.col, expected.col)
    assert torch.equal(rows.row[position], across.col)
    assert torch.equal(rows.col[position], across.row)


@given(seeds)
def test_cooccurrence_counts_users_of_both(seed: int) -> None:
    dense = matrix(seed)
    item = torch.tensor([4, 0, 6])
    views = Views(worlds.csr(dense), 7)
    assert torch.equal(sparse.item_columns(views, item), dense[:, item].float())
    assert torch.equal(sparse.cooccurrence(views, item), dense.float().T @ dense[:, item].float())


@pytest.mark.parametrize(("size", "block"), [(0, 4), (1, 4), (4, 4), (9, 4)])
def test_blocks_cover_everything_once(size: int, block: int) -> None:
    pieces = list(sparse.blocks(size, block, torch.device("cpu")))
    assert [index for piece in pieces for index in piece.tolist()] == list(range(size))
    assert all(0 < len(piece) <= block for piece in pieces)
