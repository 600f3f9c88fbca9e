"""Arithmetic on rows of indices: the sparse products behind closed forms and message passing.

`torch.nn.functional.embedding_bag` does the work: on CPU it is faster than torch's CSR product, on CUDA it adds in a
fixed order, and it needs no sparse tensors, which break DDP and deep copies where they are buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import embedding, embedding_bag

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.sharding import rows_of_shares


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, whose gradients are added up in a fixed order on every device.

    Those of `table[index]` are not: on CPU, threads add them as they come, so that no two trainings end alike.

    Args:
        table: (n, ...); (n, D) where its rows are split over processes.
        index: (*) integers, of any shape.

    Returns:
        (*, ...)
    """
    if isinstance(table, DTensor):
        return rows_of_shares(table, index.flatten()).view(*index.shape, -1)
    rows = embedding(index, table[:, None].flatten(1))
    return rows.view(*index.shape, *table.shape[1:])


def pool(rows: CSR, table: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum of the table's rows that each row names: sparse (rows, n) times dense (n, D) -> (rows, D).

    Args:
        rows: the sparse matrix's pattern.
        table: (n, D).
        weight: (entries,) the sparse matrix's values; ones where None.
    """
    return embedding_bag(rows.col, table, rows.crow, mode="sum", include_last_offset=True, per_sample_weights=weight)


def entries(rows: CSR, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Where the entries of the chosen rows lie.

    Args:
        rows: a sparse pattern.
        chosen: (B,) its rows, in any order, repeated or not.

    Returns:
        crow: (B + 1,) bounds of the chosen rows in `position`.
        position: (entries of the chosen rows,) positions in `rows.col`.
    """
    start = rows.crow[chosen]
    count = rows.crow[chosen + 1] - start
    crow = torch.cat([count.new_zeros(1), count.cumsum(0)])
    first = (start - crow[:-1]).repeat_interleave(count)
    return crow, first + torch.arange(len(first), device=first.device)


def take(rows: CSR, chosen: Tensor) -> CSR:
    """The chosen rows (B,) as a pattern of their own, in the order asked for."""
    crow, position = entries(rows, chosen)
    return CSR(crow, rows.col[position])


def transpose(rows: CSR, num_columns: int) -> tuple[CSR, Tensor]:
    """The transposed pattern, and for each of its entries the position of that entry in `rows`."""
    column = rows.col.long()
    position = column.argsort(stable=True)
    crow = torch.cat([rows.crow.new_zeros(1), torch.bincount(column, minlength=num_columns).cumsum(0)])
    return CSR(crow, rows.row[position]), position


def by_item(views: Views) -> CSR:
    """The users of each item in the visible rows, (I rows). To be asked for by `views.derive(by_item)`."""
    return transpose(views.train, views.num_items)[0]


def item_columns(views: Views, item: Tensor) -> Tensor:
    """Columns of the binary train matrix, dense: items (T,) -> (U, T) float32."""
    users = take(views.derive(by_item), item)
    columns = torch.zeros(views.num_users, len(item), device=item.device)
    columns[users.col, users.row] = 1.0
    return columns


def cooccurrence(views: Views, item: Tensor) -> Tensor:
    """How many users have both items, for all items and the chosen ones (T,): (I, T) float32, exact below 2^24."""
    return pool(views.derive(by_item), item_columns(views, item))


def blocks(size: int, block: int, device: torch.device) -> Iterator[Tensor]:
    """0..size-1 in consecutive pieces of at most `block`."""
    for first in range(0, size, block):
        yield torch.arange(first, min(first + block, size), device=device)
