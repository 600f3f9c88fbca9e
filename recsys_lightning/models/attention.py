"""Attention over the edges of a relation: the arithmetic of graph attention networks.

E edges go from n_s sources to n_t targets; H heads are C wide each. Tensors of edges are in the order of
`relation.target`. Sums over edges are made by `embedding_bag` on one of the two sorted forms of a relation, by target
forwards and by source backwards: in a fixed order, and without a tensor of E rows that are as wide as a node's.
Nothing can be differentiated twice. Half precision is computed in single.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recsys_lightning.batches import CSR
from recsys_lightning.models.fused_attention import Attend, by_head, rows_of
from recsys_lightning.models.relations import Relation
from recsys_lightning.models.sparse import entries, pool

BLOCK = {"cpu": 1 << 16, "cuda": 1 << 24}
"""Numbers in a block of edges of `logits_v2`: on CPU a cache holds a few of these blocks, on CUDA launches are rare."""


def attend(
    values: Tensor,
    source_score: Tensor,
    target_score: Tensor,
    relation: Relation,
    prior: bool,
    slope: float = 0.2,
    dropout: float = 0.0,
) -> Tensor:
    """One attention, `mix` of the values by `coefficients` of `logits`, without a tensor of E rows in memory.

    Args:
        values: (n_s, H * C).
        source_score: (n_s, H).
        target_score: (n_t, H).
        relation: the edges.
        prior: whether the coefficients start from `relation.norm`.
        slope: of the leaky ReLU below 0; from 0 to less than 1.
        dropout: chance of each coefficient to be zeroed, the others growing by 1 / (1 - dropout); 0 in evaluation.

    Returns:
        (n_t, H * C); rows of zeros for targets without edges.
    """
    tensors = _full(values, source_score, target_score)
    out: Tensor = Attend.apply(*tensors, relation, prior, slope, dropout)  # type: ignore[no-untyped-call]
    return out


def logits(source_score: Tensor, target_score: Tensor, relation: Relation, slope: float = 0.2) -> Tensor:
    """What GAT's attention says of each edge, leaky_relu(s[source] + t[target]): (n_s, H), (n_t, H) -> (E, H).

    Source: Velickovic et al., ICLR 2018, arXiv 1710.10903, formula 3, with the attention vector in its two halves.
    """
    source, target = relation.target.col, rows_of(relation.target)
    both = source_score.index_select(0, source) + target_score.index_select(0, target)
    return functional.leaky_relu(both, slope)


def logits_v2(source: Tensor, target: Tensor, att: Tensor, relation: Relation, slope: float = 0.2) -> Tensor:
    """What GATv2's attention says of each edge, att . leaky_relu(source + target) of each head.

    Source: Brody et al., ICLR 2022, arXiv 2105.14491, formula 7.

    Args:
        source: (n_s, H * C) projected sources.
        target: (n_t, H * C) projected targets.
        att: (H, C).
        relation: the edges.
        slope: of the leaky ReLU below 0.

    Returns:
        (E, H)
    """
    out: Tensor = LogitsV2.apply(*_full(source, target, att), relation, slope)  # type: ignore[no-untyped-call]
    return out


def coefficients(logits: Tensor, relation: Relation, prior: bool) -> Tensor:
    """Softmax over the edges of each target: (E, H) -> (E, H).

        plain:       alpha_e = exp(l_e) / sum_f exp(l_f)
        with prior:  alpha_e = m norm_e exp(l_e) / sum_f norm_f exp(l_f),    m = sum_f norm_f

    e and f are edges of the same target. With the prior, logits of zero give the symmetric normalisation `norm` bit
    by bit: attention only moves weight between the edges of a target and leaves their sum m as it was.
    """
    out: Tensor = Coefficients.apply(*_full(logits), relation, prior)  # type: ignore[no-untyped-call]
    return out


def mix(values: Tensor, alpha: Tensor, relation: Relation) -> Tensor:
    """Sum of the sources' values of each target, weighted by head: (n_s, H * C), (E, H) -> (n_t, H * C)."""
    out: Tensor = Mix.apply(*_full(values, alpha), relation)  # type: ignore[no-untyped-call]
    return out


def rows(relation: Relation, target: Tensor) -> Relation:
    """The edges into some targets alone, which are renumbered from 0; `norm` stays as it was.

    Args:
        relation: the edges.
        target: (N,) distinct, ascending.
    """
    crow, position = entries(relation.target, target)
    place = torch.full_like(relation.target.crow[1:], -1)
    place[target] = torch.arange(len(target), dtype=place.dtype, device=place.device)
    local = place.index_select(0, relation.source.col)
    kept = local >= 0
    before = torch.cat([place.new_zeros(1), kept.cumsum(0, dtype=place.dtype)]).index_select(0, relation.source.crow)
    chosen = kept.nonzero().squeeze(1)
    sources = CSR(before, local.index_select(0, chosen))
    shift = crow[:-1].int() - relation.target.crow[target]
    back = relation.position.index_select(0, chosen) + shift.index_select(0, sources.col)
    targets = CSR(crow.int(), relation.target.col.index_select(0, position))
    return Relation(targets, sources, back, relation.norm.index_select(0, position))


class Coefficients(Function):
    """`coefficients`, which keeps but its result for the backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, relation: Relation, prior: bool) -> Tensor:
        """Softmax whose exponents are at most 0."""
        edges = CSR(relation.target.crow, torch.arange(len(logits), dtype=torch.int32, device=logits.device))
        row = rows_of(relation.target)
        highest = functional.embedding_bag(edges.col, logits, edges.crow, mode="max", include_last_offset=True)
        share = (logits - highest.index_select(0, row)).exp_()
        norm = relation.norm.to(logits)[:, None].expand_as(logits).contiguous() if prior else None
        total = pool(edges, share if norm is None else share.mul_(norm))
        mass = torch.ones_like(total) if norm is None else pool(edges, norm)
        alpha = share.mul_((mass / total).index_select(0, row))
        ctx.save_for_backward(alpha, mass, edges.col)
        ctx.relation = relation
        return alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """dl_e = alpha_e (g_e - sum_f alpha_f g_f / m)."""
        alpha, mass, order = ctx.saved_tensors
        target = ctx.relation.target
        mean = pool(CSR(target.crow, order), alpha * gradient) / mass
        return (gradient - mean.index_select(0, rows_of(target))).mul_(alpha), None, None


class Mix(Function):
    """`mix`: a sparse product by head, whose gradients are the transposed product and the sampled one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, alpha: Tensor, relation: Relation) -> Tensor:
        """out_t = sum_e alpha_e values[source of e]."""
        ctx.save_for_backward(values, alpha)
        ctx.relation = relation
        tables = by_head(values, alpha.shape[1])
        return torch.cat([pool(relation.target, *head) for head in zip(tables, alpha.T.contiguous(), strict=True)], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """dvalues_s = sum_e alpha_e g[target of e], dalpha_e = g[target of e] . values[source of e]."""
        values, alpha = ctx.saved_tensors
        relation: Relation = ctx.relation
        gradients = by_head(gradient, alpha.shape[1])
        to_values, to_alpha = None, None
        if ctx.needs_input_grad[0]:
            weights = (head.index_select(0, relation.position) for head in alpha.T.contiguous())
            to_values = torch.cat([pool(relation.source, *head) for head in zip(gradients, weights, strict=True)], 1)
        if ctx.needs_input_grad[1]:
            tables = by_head(values, alpha.shape[1])
            to_alpha = torch.stack([sampled(*head, relation.target) for head in zip(gradients, tables, strict=True)], 1)
        return to_values, to_alpha, None


def sampled(left: Tensor, right: Tensor, pattern: CSR) -> Tensor:
    """Dot products left[row] . right[column] of a pattern's entries: (n_t, C), (n_s, C) -> (E,)."""
    zeros = left.new_zeros(len(pattern.col))
    if not len(zeros):
        return zeros
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(*pattern, zeros, (len(left), len(right)), check_invariants=False)
    products: Tensor = torch.sparse.sampled_addmm(matrix, left, right.T, beta=0.0).values()
    return products


class LogitsV2(Function):
    """`logits_v2` in blocks of edges, computed again in the backward pass: no tensor of E rows of H * C numbers."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, att: Tensor, relation: Relation, slope: float) -> Tensor:
        """l_e = att . leaky_relu(source + target)."""
        row = rows_of(relation.target)
        ctx.save_for_backward(source, target, att, row)
        ctx.relation, ctx.slope = relation, slope
        heads = _diagonal(att).T
        out = source.new_empty(len(row), len(att))
        for block in _blocks(source, row):
            both = source.index_select(0, relation.target.col[block]) + target.index_select(0, row[block])
            out[block] = functional.leaky_relu_(both, slope) @ heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """With z = source + target: datt = sum_e g_e leaky_relu(z_e), dz_e = g_e att leaky_relu'(z_e)."""
        source, target, att, row = ctx.saved_tensors
        col, slope = ctx.relation.target.col, ctx.slope
        heads = _diagonal(att)
        to_source, to_target, to_heads = (torch.zeros_like(tensor) for tensor in (source, target, heads))
        for block in _blocks(source, row):
            both = source.index_select(0, col[block]) + target.index_select(0, row[block])
            bent = functional.leaky_relu(both, slope)
            to_heads.addmm_(gradient[block].T, bent)
            change = torch.ops.aten.leaky_relu_backward(gradient[block] @ heads, both, slope, False)
            to_source.index_add_(0, col[block], change)
            to_target.index_add_(0, row[block], change)
        to_att = torch.einsum("hhc->hc", to_heads.view(len(att), *att.shape))
        return to_source, to_target, to_att, None, None


def _full(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What autocast has halved, in single precision again: sums over many edges need it."""
    return tuple(tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor for tensor in tensors)


def _diagonal(att: Tensor) -> Tensor:
    """Attention vectors (H, C) on the diagonal of blocks: (H, H * C)."""
    heads = torch.arange(len(att), device=att.device)
    matrix = att.new_zeros(len(att), *att.shape)
    matrix[heads, heads] = att
    return matrix.flatten(1)


def _blocks(source: Tensor, row: Tensor) -> list[slice]:
    size = max(1, BLOCK.get(source.device.type, 1 << 20) // max(1, source.shape[1]))
    return [slice(first, first + size) for first in range(0, len(row), size)]
