"""The fused attention of GAT: one autograd.Function that holds a few numbers an edge, and keeps none of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from recsys_lightning.batches import CSR
from recsys_lightning.models.relations import Relation
from recsys_lightning.models.sparse import pool

SPREAD = 50.0
"""Source scores that lie this close together may share one reference: exp(-50) is far from the smallest float32."""


class Scores(NamedTuple):
    """Scores of nodes by head, as the softmax over edges wants them.

    A softmax does not change when all logits of a target do by the same number, here by -(r + t), r a reference that no
    source score s of the target's edges exceeds. What is left of leaky_relu(s + t) = max(s + t, slope (s + t)) is

        l_e = max(x, slope x + q),    x = s - r <= 0,    q = (slope - 1) (r + t)

    The first of the two is the greater where s + t > 0. Where q > 0 it never is, and q is a constant of the target: so
    q = 0 does as well, and no exponent is above 0.
    """

    source: Tensor  # (H, n_s), s less the highest of all, r where that is near enough for every target
    target: Tensor  # (H, n_t), q
    reference: Tensor | None  # (H, n_t), r less the highest of all, where that is too far

    @classmethod
    def of(cls, source: Tensor, target: Tensor, relation: Relation, slope: float) -> Scores:
        """From s (n_s, H) and t (n_t, H)."""
        if not len(source):
            return cls(source.T, target.T, None)
        top = source.amax(0)
        source, target, reference = source - top, target + top, None
        # Asking a GPU whether the scores lie close together would make the CPU wait for it.
        if source.device.type != "cpu" or source.min() < -SPREAD:
            edges = relation.target
            reference = embedding_bag(edges.col, source, edges.crow, mode="max", include_last_offset=True)
            target = target + reference
        q = (target * (slope - 1)).clamp_(max=0)
        return cls(source.T.contiguous(), q.T.contiguous(), None if reference is None else reference.T.contiguous())

    def powers(self, head: int, source: Tensor, target: Tensor, slope: float) -> tuple[Tensor, Tensor]:
        """exp(l_e) of edges given by their nodes (E,), (E,): of all, and with zeros where s + t <= 0."""
        first = self.source[head].index_select(0, source)
        if self.reference is not None:
            first -= self.reference[head].index_select(0, target)
        second = self.target[head].index_select(0, target).add_(first, alpha=slope)
        power = torch.maximum(first, second).exp_()
        return power, first.gt_(second).mul_(power)


class Attend(Function):
    """out_t = sum_e alpha_e k_e v_e over the edges e into t, for each head; see `attention.attend`.

        p_e = exp(l_e), times norm_e with prior,    alpha_e = m_t p_e / z_t,    z_t = sum_e p_e

    l are the leaky logits, v_e the values of an edge's source, k the dropout's 0 or 1 / (1 - dropout), and m is 1, or
    the sum of norms with prior. With g the gradient of out, a_t = m_t g_t / z_t and c_t = g_t . out_t / z_t, that of a
    logit is

        dl_e = p_e (k_e a_t . v_e - c_t)

    and leaky_relu' is 1, or slope where the sum s + t of scores is not positive. So no product of two nodes is made
    edge by edge: with + for sums over edges of positive s + t alone,

        dv_s = sum_e p_e k_e a_t
        ds_s = v_s . (slope dv_s + (1 - slope) sum+_e p_e k_e a_t) - slope sum_e p_e c_t - (1 - slope) sum+_e p_e c_t
        dt_t = (1 - slope) (a_t . sum+_e p_e k_e v_e - c_t sum+_e p_e)

    the last because the dl of a target add up to 0. The sums for dt are made in the forward pass, while p is there; in
    the backward pass p is made again, in the order of sources.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        source_score: Tensor,
        target_score: Tensor,
        relation: Relation,
        prior: bool,
        slope: float,
        dropout: float,
    ) -> Tensor:
        """Values (n_s, H * C), scores (n_s, H) and (n_t, H) -> (n_t, H * C)."""
        heads, edges = source_score.shape[1], relation.target
        row = rows_of(edges)
        scores = Scores.of(source_score, target_score, relation, slope)
        tables = by_head(values, heads)
        norm = relation.norm.to(values.dtype) if prior else None
        ones = values.new_ones(len(values), 1)
        out = values.new_empty(heads, len(target_score), tables.shape[2])
        total = out.new_empty(heads, len(target_score), 1)
        upper = (torch.empty_like(out), torch.empty_like(total)) if ctx.needs_input_grad[2] else None
        dropped = torch.empty(heads, len(row), dtype=torch.bool, device=values.device) if dropout else None
        for head in range(heads):
            power, positive = scores.powers(head, edges.col, row, slope)
            if norm is not None:
                power, positive = power.mul_(norm), positive.mul_(norm)
            total[head] = pool(edges, ones, power)
            if upper is not None:
                upper[1][head] = pool(edges, ones, positive)
            if dropped is not None:
                torch.lt(torch.rand_like(power), dropout, out=dropped[head])
                power, positive = (weight.masked_fill_(dropped[head], 0) for weight in (power, positive))
            out[head] = pool(edges, tables[head], power)
            if upper is not None:
                upper[0][head] = pool(edges, tables[head], positive)
        mass = total.new_ones(()) if norm is None else pool(edges, ones, norm)
        lonely = total == 0
        scale = (mass / total).masked_fill_(lonely, 0) / (1 - dropout)
        out *= scale
        inverse = total.reciprocal().masked_fill_(lonely, 0)
        ctx.save_for_backward(tables, out, scale, inverse, *scores, *(upper or (None, None)), dropped)
        ctx.options = relation, prior, slope
        return joined(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of values, source scores and target scores."""
        tables, out, scale, inverse, *scores, upper, upper_total, dropped = ctx.saved_tensors
        relation, prior, slope = ctx.options
        edges, row = relation.source, rows_of(relation.source)
        norm = relation.norm.to(tables.dtype).index_select(0, relation.position) if prior else None
        a = by_head(gradient, len(tables))
        c = (a * out).sum(2, keepdim=True) * inverse
        a *= scale
        to_values, to_source = torch.empty_like(tables), tables.new_empty(tables.shape[:2])
        for head in range(len(tables)):
            power, positive = Scores(*scores).powers(head, row, edges.col, slope)
            if norm is not None:
                power, positive = power.mul_(norm), positive.mul_(norm)
            bent = torch.add(power * slope, positive, alpha=1 - slope)
            to_source[head] = pool(edges, c[head], bent).squeeze(1).neg_()
            if dropped is not None:
                gone = dropped[head].index_select(0, relation.position)
                power, positive = power.masked_fill_(gone, 0), positive.masked_fill_(gone, 0)
            to_values[head] = pool(edges, a[head], power)
            through = pool(edges, a[head], positive).mul_(1 - slope).add_(to_values[head], alpha=slope)
            to_source[head] += (tables[head] * through).sum(1)
        to_target = None
        if upper is not None:
            to_target = ((a * upper).sum(2) - (c * upper_total).squeeze(2)).mul_(1 - slope).T
        return joined(to_values), to_source.T, to_target, None, None, None, None


def rows_of(edges: CSR) -> Tensor:
    """(E,) the row of each entry, of the type of `edges.crow`."""
    rows = torch.arange(len(edges.crow) - 1, dtype=edges.crow.dtype, device=edges.crow.device)
    return rows.repeat_interleave(edges.degree, output_size=len(edges.col))


def by_head(table: Tensor, heads: int) -> Tensor:
    """(n, H * C) -> (H, n, C), contiguous by head."""
    return table.view(len(table), heads, table.shape[1] // heads).transpose(0, 1).contiguous()


def joined(tables: Tensor) -> Tensor:
    """Inverse of `by_head`."""
    return tables.transpose(0, 1).flatten(1)
