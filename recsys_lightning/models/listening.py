"""Message passing that starts from fixed coefficients and learns to move weight between them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop

from recsys_lightning.models.attention import attend, coefficients, logits, logits_v2, mix
from recsys_lightning.models.relations import Relation

LearnedScoring: TypeAlias = Literal["gat", "gatv2"]
Scoring: TypeAlias = Literal[LearnedScoring, "none"]


class Listening(nn.Module):
    """One relation of one layer: how much each target listens to each of its sources.

        out_t = sum over edges e into t of alpha_e x_source,    alpha_e = m_t softmax_e(log p_e + a_e) for each head

    The prior p is the symmetric normalisation of the relation, or equal shares; m_t is its sum over t's edges. The
    score a is that of GAT or GATv2, divided by sqrt(D), and zero at the start: then alpha = p, and attention is a
    residual on it that only moves weight between the edges of a target. What is passed on is not projected.

    Sources: Velickovic et al., ICLR 2018, arXiv 1710.10903; Brody et al., ICLR 2022, arXiv 2105.14491.

    Args:
        dim: D.
        heads: H, a divisor of D; each mixes D / H channels.
        scoring: `gat`, `gatv2`, or `none` for alpha = p throughout.
        symmetric: whether p is the symmetric normalisation; else it is 1 / number of t's edges.
    """

    def __init__(self, dim: int, heads: int, scoring: Scoring, symmetric: bool) -> None:
        super().__init__()
        self.scoring = scoring
        self.symmetric = symmetric
        self.scale = dim**-0.5
        if scoring == "gat":
            self.source = nn.Parameter(torch.zeros(dim, heads))
            self.target = nn.Parameter(torch.zeros(dim, heads))
        elif scoring == "gatv2":
            self.source = nn.Parameter(torch.empty(dim, dim))
            self.target = nn.Parameter(torch.empty(dim, dim))
            self.score = nn.Parameter(torch.zeros(heads, dim // heads))
            nn.init.xavier_uniform_(self.source)
            nn.init.xavier_uniform_(self.target)

    def forward(self, source: Tensor, target: Tensor, edges: Relation, dropout: float) -> Tensor:
        """Embeddings (n_s, D), (n_t, D) -> (n_t, D); dropout is of the coefficients."""
        if self.scoring == "gat":
            return attend(source, *self._scores(source, target), edges, prior=self.symmetric, dropout=dropout)
        return mix(source, drop(self.coefficients(source, target, edges), dropout), edges)

    def coefficients(self, source: Tensor, target: Tensor, edges: Relation) -> Tensor:
        """alpha, (E, H); (E, 1) without attention."""
        if self.scoring == "none":
            if self.symmetric:
                return edges.norm.to(source.dtype)[:, None]
            return coefficients(source.new_zeros(len(edges.norm), 1), edges, prior=False)
        if self.scoring == "gat":
            score = logits(*self._scores(source, target), edges)
        else:
            score = logits_v2(source @ self.source, target @ self.target, self.scale * self.score, edges)
        return coefficients(score, edges, prior=self.symmetric)

    def penalty(self) -> Tensor:
        """Half the squared L2 norm of the attention vectors, a scalar."""
        vectors = {"gat": ("source", "target"), "gatv2": ("score",), "none": ()}[self.scoring]
        norms = [getattr(self, name).square().sum() for name in vectors]
        return torch.stack(norms).sum() / 2 if norms else torch.zeros(())

    def _scores(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return source @ (self.scale * self.source), target @ (self.scale * self.target)
