"""One tower of a two-tower model: what belongs to an ID, and what metadata tell, made one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from recsys_lightning.errors import InputError
from recsys_lightning.models.mimic import AdaptiveMimic

Fusion: TypeAlias = Literal["identity", "metadata", "sum", "concat", "adaptive_mimic"]

START = 0.1
"""Standard deviation of embeddings before training."""


@dataclass(frozen=True)
class IDTable:
    """How embeddings of IDs are kept.

    Attributes:
        sparse: gradients hold the rows of the batch alone, for optimizers that know such (SparseAdam): a step then
            costs the same however many IDs there are.
        max_norm: longer rows are shortened to this when they are read; None for no limit, which sparse tables need.
    """

    sparse: bool = False
    max_norm: float | None = None

    def __post_init__(self) -> None:
        if self.max_norm is not None and not self.max_norm > 0:
            raise InputError(f"table.max_norm is {self.max_norm}; it must be above 0, or null for no limit.")

    def make(self, size: int, dim: int) -> nn.Embedding:
        """Embeddings of so many IDs, at their start."""
        embedding = nn.Embedding(size, dim, sparse=self.sparse, max_norm=self.max_norm)
        nn.init.normal_(embedding.weight, std=START)
        return embedding


class TowerEncoder(nn.Module):
    """Vectors of entities out of their IDs and metadata.

        identity         ID
        metadata         metadata
        sum              ID + metadata
        concat           W [ID; metadata] + b
        adaptive_mimic   `AdaptiveMimic`

    An ID that training has met no interaction of is not random noise but nothing: zeros, and the share of the metadata
    is 1. How many interactions each had is kept in the checkpoint.

    With augmented vectors, vector = W' [fused; augmented] + b'.

    Args:
        size: number of IDs.
        dim: D.
        fusion: as above.
        table: how embeddings are kept.
        augmented: whether each ID has an augmented vector besides.
        scaled: whether adaptive_mimic learns the length of its vectors.
    """

    degree: Tensor  # (size,) interactions of each ID that training has met, int64

    def __init__(
        self, size: int, dim: int, fusion: Fusion, table: IDTable, augmented: bool = False, scaled: bool = False
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.identity = None if fusion == "metadata" else table.make(size, dim)
        self.concat = nn.Linear(2 * dim, dim) if fusion == "concat" else None
        self.gate = AdaptiveMimic(dim, scaled) if fusion == "adaptive_mimic" else None
        self.augmented = table.make(size, dim) if augmented else None
        self.merge = nn.Linear(2 * dim, dim) if augmented else None
        self.register_buffer("degree", torch.zeros(size, dtype=torch.long))

    def forward(
        self, index: Tensor, metadata: Tensor | None, shown: Tensor | None = None, fewer: Tensor | None = None
    ) -> Tensor:
        """Vectors of IDs.

        Args:
            index: (n,) IDs.
            metadata: (n, D); None for the fusion `identity`, which reads none.
            shown: (n,) False for IDs that are taken for unknown; None for none of them.
            fewer: (n,) interactions that the gate is not to count; None for 0.

        Returns:
            (n, D)
        """
        known = self.known(index, shown)
        fused = self._fused(index, metadata, known, fewer)
        if self.augmented is None or self.merge is None:
            return fused
        merged: Tensor = self.merge(torch.cat([fused, self.augmented(index) * known[:, None]], 1))
        return merged

    def new(self, metadata: Tensor) -> Tensor:
        """Vectors of entities that have no ID: (n, D) -> (n, D)."""
        fused = metadata if self.gate is None else self.gate.alone(metadata)
        if self.concat is not None:
            fused = self.concat(torch.cat([torch.zeros_like(metadata), metadata], 1))
        return fused if self.merge is None else self.merge(torch.cat([fused, torch.zeros_like(fused)], 1))

    def known(self, index: Tensor, shown: Tensor | None = None) -> Tensor:
        """Whether IDs (n,) count: (n,)."""
        known = self.degree[index] > 0
        return known if shown is None else known & shown

    def share(self, index: Tensor, metadata: Tensor) -> Tensor:
        """The gate's share of metadata, of IDs (n,) with metadata (n, D): (n,)."""
        assert self.gate is not None and self.identity is not None
        return self.gate.share(self.identity(index), metadata, self.degree[index], self.known(index))

    def squared(self, index: Tensor) -> Tensor:
        """Squared L2 norm of the embeddings of IDs, all together: a scalar."""
        total = torch.zeros((), device=index.device)
        for table in (self.identity, self.augmented):
            if table is not None:
                total = total + table(index).square().sum()
        return total

    def _fused(self, index: Tensor, metadata: Tensor | None, known: Tensor, fewer: Tensor | None) -> Tensor:
        if self.identity is None:
            assert metadata is not None
            return metadata
        identity: Tensor = self.identity(index) * known[:, None]
        if metadata is None:
            return identity
        fused: Tensor = identity + metadata
        if self.gate is not None:
            degree = self.degree[index]
            fused = self.gate(identity, metadata, degree if fewer is None else (degree - fewer).clamp(min=0), known)
        elif self.concat is not None:
            fused = self.concat(torch.cat([identity, metadata], 1))
        return fused
