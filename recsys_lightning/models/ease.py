"""EASE: the linear item-to-item model with a closed form."""

from __future__ import annotations

from typing import ClassVar

import torch
from scipy.linalg import lapack
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import ClosedForm
from recsys_lightning.models.memory import require
from recsys_lightning.models.sparse import blocks, cooccurrence, pool, take
from recsys_lightning.schema import Schema

BLOCK = 1024
"""Rows of the dense matrix that are worked on at a time."""


class EASE(ClosedForm):
    """Embarrassingly shallow auto-encoder: scores = R B, where B solves a ridge regression with a zero diagonal.

        P = (R^T R + lambda 1)^-1,    B_ij = -P_ij / P_jj,    B_jj = 0

    One dense inverse of (I, I) in float32: 41,000 items take 6.7 GB and some minutes on a CPU. On CPU it is made in
    place; on a GPU three such matrices are alive for a moment.

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

    def solve(self, views: Views) -> None:
        """Gram matrix, its inverse, and B, one in the place of the other."""
        matrix_bytes = 4 * self.num_items**2
        work_bytes = 8 * BLOCK * (self.num_items + views.num_users)
        copies = 1 if views.device.type == "cpu" else 3
        require(
            copies * matrix_bytes + work_bytes,
            views.device,
            f"EASE on {self.num_items:,} items",
            "Use a machine with more memory, fewer items (item_core or limit_items of the data), or ItemKNN or GFCF.",
        )
        self.keep(weight=torch.empty(0, device=views.device))  # a second fit does not hold the first one's matrix
        weight = torch.empty(self.num_items, self.num_items, device=views.device)
        for item in blocks(self.num_items, BLOCK, views.device):
            weight[item[0] : item[-1] + 1] = cooccurrence(views, item).T
        weight.diagonal().add_(self.regularization)
        weight = invert(weight)
        variance = weight.diagonal().clone()
        weight.div_(variance).neg_()
        weight.fill_diagonal_(0.0)
        self.keep(weight=weight)

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Sums of the weights of the users' own items: (B,) -> (B, I)."""
        return pool(take(rows, user), self.weight)


def invert(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric positive definite float32 matrix (n, n), which is overwritten on CPU.

    Raises:
        RuntimeError: the matrix is not positive definite.
    """
    if matrix.device.type != "cpu":
        return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    # torch keeps its argument and copies it; LAPACK works in place. Fortran order of a symmetric matrix is its own.
    factor, failed = lapack.spotrf(matrix.numpy().T, lower=0, clean=0, overwrite_a=1)
    if not failed:
        factor, failed = lapack.spotri(factor, lower=0, overwrite_c=1)
    if failed:
        raise RuntimeError(f"Cholesky factorisation failed at row {failed} of {len(matrix)}")
    inverse = torch.from_numpy(factor.T)  # its lower triangle is the result
    for row in blocks(len(inverse), BLOCK, inverse.device):
        first, last = int(row[0]), int(row[-1]) + 1
        inverse[:first, first:last] = inverse[first:last, :first].T
        square = inverse[first:last, first:last]
        square.copy_(square.tril() + square.tril(-1).T)
    return inverse
