"""EASE: the linear item-to-item model with a closed form."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.memory import require
from recsys_lightning.models.sparse import blocks, cooccurrence, pool, take
from recsys_lightning.schema import Schema

BLOCK = 1024
"""Rows of the dense matrix that are worked on at a time."""


class EASE(Linear):
    """Embarrassingly shallow auto-encoder: scores = R B, where B solves a ridge regression with a zero diagonal.

        P = (R^T R + lambda 1)^-1,    B_ij = -P_ij / P_jj,    B_jj = 0

    One dense inverse of (I, I) in float32, made in its place: 41,000 items take 6.7 GB and some minutes on a CPU.

    Source: Steck, WWW 2019, arXiv 1905.03375.

    Args:
        schema: sizes of the data.
        regularization: lambda, above 0; the larger the data, the larger.

    Raises:
        InputError: the regularization is not above 0, or (in `fit`) the matrix does not fit in memory.
    """

    grid: ClassVar[dict[str, list[float]]] = {"regularization": [10.0, 50.0, 250.0, 1000.0, 5000.0]}

    weight: Tensor  # (I, I), row i says what having item i adds to the score of each item

    def __init__(self, schema: Schema, regularization: float = 250.0) -> None:
        super().__init__(schema)
        if not regularization > 0:
            raise InputError(f"EASE needs a regularization above 0, and was given {regularization}.")
        self.regularization = regularization

    def estimate_memory(self, views: Views, batch_size: int) -> dict[str, int]:
        """Bytes of the `matrix`, of the `rows` by item, of the `blocks` that are worked on, and in `total`.

        The Gram matrix's blocks are freed before the inverse's are made, and counted: allocators keep most of them.
        """
        items, rows, block = self.num_items, len(views.train.col), min(BLOCK, self.num_items)
        parts = {
            "matrix": 4 * items**2,
            "rows": 8 * rows + 24 * rows * block // items,
            "blocks": 4 * block * (items + views.num_users) + 8 * block * (items + 2 * block),
        }
        return {**parts, "total": sum(parts.values())}

    def solve(self, views: Views) -> None:
        """Gram matrix, its inverse, and B, one in the place of the other."""
        require(
            self.estimate_memory(views, 0)["total"],
            views.device,
            f"EASE on {self.num_items:,} items",
            "Use a machine with more memory, fewer items (item_core or limit_items of the data), or ItemKNN or GFCF.",
        )
        self.keep(weight=torch.empty(0, device=views.device))  # a second fit does not hold the first one's matrix
        weight = torch.empty(self.num_items, self.num_items, device=views.device)
        for item in blocks(self.num_items, BLOCK, views.device):
            weight[item[0] : item[-1] + 1] = cooccurrence(views, item).T
        weight.diagonal().add_(self.regularization)
        negative_inverse(weight)
        weight.div_(-weight.diagonal().clone())
        weight.fill_diagonal_(0.0)
        self.keep(weight=weight)

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Sums of the weights of the users' own items: (B,) -> (B, I)."""
        return pool(take(rows, user), self.weight)


def negative_inverse(matrix: Tensor) -> Tensor:
    """Minus the inverse of a symmetric positive definite matrix (n, n), made in its own memory.

    Gauss-Jordan elimination with a block of pivots K at a time, on the lower triangle:

        A_ij -= A_iK A_KK^-1 A_Kj,    A_iK = A_iK A_KK^-1,    A_KK = -A_KK^-1

    It takes the n^3 operations that Cholesky's factorisation and inverse take, all of them in matrix products. LAPACK
    is as fast, but not in place on every device, and scipy's build of it crashes on the sizes that matter here.

    Raises:
        torch.linalg.LinAlgError: the matrix is not positive definite.
    """
    edges = [*range(0, len(matrix), BLOCK), len(matrix)]
    rows = [slice(first, last) for first, last in pairwise(edges)]
    for pivot in rows:
        before, after = slice(0, pivot.start), slice(pivot.stop, None)
        square = symmetric(matrix[pivot, pivot])
        column = torch.cat([matrix[pivot, before].T, square, matrix[after, pivot]])
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(square))
        scaled = column @ inverse
        for row in rows:
            matrix[row, : row.stop].addmm_(scaled[row], column[: row.stop].T, alpha=-1)
        matrix[pivot, before], matrix[after, pivot] = scaled[before].T, scaled[after]
        matrix[pivot, pivot] = -inverse
    for row in rows:
        matrix[: row.start, row] = matrix[row, : row.start].T
        matrix[row, row] = symmetric(matrix[row, row])
    return matrix


def symmetric(matrix: Tensor) -> Tensor:
    """A matrix with its upper triangle replaced by its lower one."""
    return matrix.tril() + matrix.tril(-1).T
