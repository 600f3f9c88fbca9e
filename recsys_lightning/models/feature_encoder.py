"""Facts of items as vectors: of the items themselves, and of users by the items that they have."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recsys_lightning.batches import CSR, Features
from recsys_lightning.models.sparse import take
from recsys_lightning.schema import Schema

Categories: TypeAlias = Literal["one_hot", "learned"]


class FeatureEncoder(nn.Module):
    """Two perceptrons over rows of features, one for items and one for users.

        row of an item = [numbers; for each kind of categories the mean over the item's codes of their table rows]
        row of a user  = mean over the rows of the user's own items
        vector         = W2 dropout(relu(W1 row + b1)) + b2

    The table of a kind is the unit matrix (`one_hot`: each code counts 1 / number of the item's codes) or learned
    (`learned`), and is the same for items and users. Items without a code of a kind, and users without items, have
    zeros there.

    A mean commutes with a matrix: W1 is multiplied with the items first (`projected`, once a step), and users are means
    of what comes out. Rows of users are never made, nor are those of items where codes are one-hot.

    Args:
        schema: sizes of the data; it must have features.
        hidden: H, width between the two matrices.
        dim: D, width of the vectors.
        dropout: of the hidden layer, from 0 to less than 1.
        categories: what tables hold.
        category_dim: width of learned tables.
    """

    def __init__(
        self, schema: Schema, hidden: int, dim: int, dropout: float, categories: Categories, category_dim: int
    ) -> None:
        super().__init__()
        self.sizes = list(schema.categories.values())
        self.num_numbers = len(schema.numbers)
        self.tables = nn.ParameterList()
        if categories == "learned":
            self.tables.extend(torch.randn(size, category_dim) / category_dim**0.5 for size in self.sizes)
        widths = [category_dim] * len(self.sizes) if categories == "learned" else self.sizes
        self.width = self.num_numbers + sum(widths)
        length = max(1, self.num_numbers + len(self.sizes))  # a kind's part is 1 long at most, or about that
        self.item = Perceptron(self.width, hidden, dim, dropout, length)
        self.user = Perceptron(self.width, hidden, dim, dropout, length)

    def rows(self, features: Features) -> Tensor:
        """Rows of all items: (I, F')."""
        blocks = [mean(codes, table) for codes, table in zip(features.categories, self.category_tables(), strict=True)]
        return torch.cat([features.numbers.to(self.item.weight.dtype), *blocks], 1)

    def category_tables(self) -> list[Tensor]:
        """For each kind its codes' part of a row: (codes, width) each; an item has the mean over its codes."""
        weight = self.item.weight
        return list(self.tables) or [torch.eye(size, dtype=weight.dtype, device=weight.device) for size in self.sizes]

    def projected(self, features: Features, by: Perceptron) -> Tensor:
        """The items' rows times W1 of one of the perceptrons: (I, H)."""
        if len(self.tables):
            return self.rows(features) @ by.weight
        first, *blocks = torch.split(by.weight, [self.num_numbers, *self.sizes])
        sums = features.numbers.to(first.dtype) @ first
        for codes, block in zip(features.categories, blocks, strict=True):
            sums = sums + mean(codes, block)
        return sums


class Perceptron(nn.Module):
    """W2 dropout(relu(W1 row + b1)) + b2.

    Args:
        width: of rows.
        hidden: H.
        dim: D.
        dropout: from 0 to less than 1.
        length: the squared length that a row has at about.
    """

    def __init__(self, width: int, hidden: int, dim: int, dropout: float, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, hidden) * (2 / length) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, dim)

    def forward(self, row: Tensor) -> Tensor:
        """Rows (n, F') -> (n, D)."""
        return self.finish(row @ self.weight)

    def finish(self, projected: Tensor) -> Tensor:
        """Rows times W1, (n, H) -> (n, D)."""
        vectors: Tensor = self.out(self.dropout((projected + self.bias).relu()))
        return vectors


def mean(rows: CSR, table: Tensor) -> Tensor:
    """Mean of the table's rows (n, D) that each row names: (rows, D), zeros where it names none."""
    return embedding_bag(rows.col, table, rows.crow, mode="mean", include_last_offset=True)


def chosen(features: Features, item: Tensor) -> Features:
    """The features of some items (n,)."""
    return Features(features.numbers[item], tuple(take(codes, item) for codes in features.categories))


def leave_out(rows: CSR, index: Tensor) -> tuple[CSR, Tensor]:
    """Rows (B) without the entries that equal the index (B,) of their row, and whether there were any (B,)."""
    row = rows.row
    left = rows.col != index[row]
    before = torch.cat([rows.crow.new_zeros(1), left.cumsum(0)])
    crow = before[rows.crow]
    return CSR(crow, rows.col[left]), crow.diff() < rows.degree
