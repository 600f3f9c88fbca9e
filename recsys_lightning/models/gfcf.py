"""GF-CF: collaborative filtering as a low-pass graph filter, nothing to train."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.sparse import by_item, pool, take
from recsys_lightning.schema import Schema


class GFCF(Linear):
    """Scores a user's row by a linear filter and an ideal low-pass filter of the item graph.

    With R the binary train matrix, D_u and D_i its degrees and N = D_u^-1/2 R D_i^-1/2,

        scores = R (N^T N + alpha D_i^-1/2 V V^T D_i^1/2),    V (I, factors) the top right singular vectors of N.

    Source: Shen et al., CIKM 2021, arXiv 2108.07567.

    Args:
        schema: sizes of the data.
        factors: singular vectors kept, at least 1; at most as many as users and items allow.
        alpha: weight of the ideal low-pass filter, from 0.

    Raises:
        InputError: an argument is out of its range.
    """

    grid: ClassVar[dict[str, list[float]]] = {"alpha": [0.0, 0.1, 0.3, 1.0, 3.0]}

    user_crow: Tensor  # (U + 1,) items of each user in the rows that were fitted
    user_col: Tensor
    item_crow: Tensor  # (I + 1,) users of each item
    item_col: Tensor
    user_scale: Tensor  # (U,) D_u^-1
    item_scale: Tensor  # (I,) D_i^-1/2
    basis: Tensor  # (I, factors) V

    def __init__(self, schema: Schema, factors: int = 256, alpha: float = 0.3) -> None:
        super().__init__(schema)
        if factors < 1 or alpha < 0:
            raise InputError(
                f"GFCF needs factors of at least 1 and an alpha of at least 0, and was given {factors} and {alpha}."
            )
        self.factors = factors
        self.alpha = alpha

    def solve(self, views: Views) -> None:
        """Degrees and singular vectors."""
        users, items = views.train, views.derive(by_item)
        user_scale, item_scale = (1.0 / rows.degree.clamp(min=1) for rows in (users, items))
        self.keep(user_crow=users.crow, user_col=users.col, item_crow=items.crow, item_col=items.col)
        self.keep(user_scale=user_scale, item_scale=item_scale.sqrt())
        self.keep(basis=views.derive(singular_vectors(self.factors)))

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Both filters on the users' own rows: (B,) -> (B, I)."""
        own = take(rows, user)
        signal = torch.zeros(self.num_items, len(user), device=user.device)
        signal[own.col, own.row] = 1.0
        signal *= self.item_scale[:, None]  # D_i^-1/2 R^T, (I, B)
        smooth = (pool(own, self.item_scale[:, None] * self.basis) @ self.basis.T) / self.item_scale
        across = pool(CSR(self.user_crow, self.user_col), signal) * self.user_scale[:, None]
        linear = pool(CSR(self.item_crow, self.item_col), across) * self.item_scale[:, None]
        return linear.T + self.alpha * smooth


@cache
def singular_vectors(factors: int) -> Callable[[Views], Tensor]:
    """What finds the leading right singular vectors of N, (I, factors), for `views.derive`.

    The same ones at every call, and no more than the shorter side of N has. ARPACK finds them on CPU.
    """

    def build(views: Views) -> Tensor:
        users, items = views.train, views.derive(by_item)
        value = (users.degree[users.row] * items.degree[users.col]).double().rsqrt()
        shape = (views.num_users, views.num_items)
        matrix = csr_matrix(tuple(tensor.cpu().numpy() for tensor in (value, users.col, users.crow)), shape)
        if factors < min(shape):
            start = np.random.default_rng(0).standard_normal(min(shape))
            vectors = svds(matrix, k=factors, v0=start)[2]
        else:
            vectors = np.linalg.svd(matrix.toarray(), full_matrices=False)[2]
        return torch.from_numpy(np.ascontiguousarray(vectors.T, dtype=np.float32)).to(views.device)

    return build
