from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from recsys_lightning.batches import CSR
from recsys_lightning.models import attention
from recsys_lightning.models.attention import attend, coefficients, logits, logits_v2, mix, rows, sampled
from recsys_lightning.models.relations import Relation
from tests.models import graphs

CLOSE = {"atol": 1e-10, "rtol": 1e-10}
H, C = 3, 4


def draw(seed: int, density: float = 0.4, targets: int = 9, sources: int = 7) -> Relation:
    """Edges in float64; target 2 and source 4 have none, where there are so many."""
    matrix = torch.rand(targets, sources, generator=torch.Generator().manual_seed(seed)) < density
    matrix[2:3], matrix[:, 4:5] = False, False
    found = graphs.edges(matrix)
    return found._replace(norm=found.norm.double())


def sizes(relation: Relation) -> tuple[int, int, int]:
    """(sources, targets, edges)"""
    return len(relation.source.crow) - 1, len(relation.target.crow) - 1, len(relation.norm)


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    drawn = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (scale * drawn).requires_grad_()


def dense(relation: Relation, entry: Tensor) -> Tensor:
    """Tensors of edges (E, ...) as (n_t, n_s, ...)."""
    n_s, n_t, _ = sizes(relation)
    return entry.new_zeros(n_t, n_s, *entry.shape[1:]).index_put(
        (relation.target.row, relation.target.col.long()), entry
    )


seeds, densities = st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.5, 1.0])
few = settings(max_examples=25, deadline=None)


class TestLogits:
    @given(seeds, densities)
    @few
    def test_equal_the_dense_form(self, seed: int, density: float) -> None:
        relation = draw(seed, density)
        n_s, n_t, _ = sizes(relation)
        s, t = normal(n_s, H), normal(n_t, H, seed=1)
        everywhere = torch.nn.functional.leaky_relu(s[None] + t[:, None], 0.3)
        actual = logits(s, t, relation, 0.3)
        torch.testing.assert_close(dense(relation, actual), everywhere * dense(relation, torch.ones_like(actual)))

    def test_gradients(self) -> None:
        relation = draw(0)
        assert gradcheck(lambda s, t: logits(s, t, relation), (normal(7, H), normal(9, H, seed=1)))


class TestLogitsV2:
    @given(seeds, densities, st.sampled_from([1, 40, 10_000]))
    @few
    def test_equal_the_dense_form_whatever_the_blocks(self, seed: int, density: float, block: int) -> None:
        relation = draw(seed, density)
        n_s, n_t, _ = sizes(relation)
        s, t, att = normal(n_s, H * C), normal(n_t, H * C, seed=1), normal(H, C, seed=2)
        bent = torch.nn.functional.leaky_relu(s[None] + t[:, None], 0.3).unflatten(2, (H, C))
        everywhere = (bent * att).sum(-1)[relation.target.row, relation.target.col.long()]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(attention.BLOCK, "cpu", block)
            actual = logits_v2(s, t, att, relation, 0.3)
            torch.testing.assert_close(actual, everywhere, **CLOSE)
            weight = torch.randn_like(actual)
            gradients = [torch.autograd.grad((side * weight).sum(), (s, t, att)) for side in (actual, everywhere)]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_gradients(self) -> None:
        relation = draw(0)
        inputs = normal(7, H * C), normal(9, H * C, seed=1), normal(H, C, seed=2)
        assert gradcheck(lambda *tensors: logits_v2(*tensors, relation), inputs)


class TestCoefficients:
    @given(seeds, densities, st.booleans(), st.sampled_from([1.0, 1000.0]))
    @few
    def test_equal_the_dense_softmax(self, seed: int, density: float, prior: bool, scale: float) -> None:
        relation = draw(seed, density)
        given = normal(sizes(relation)[2], H, scale=scale)
        shifted = given + relation.norm.log()[:, None] if prior else given
        everywhere = dense(relation, shifted.exp() * 0) + float("-inf")
        everywhere[relation.target.row, relation.target.col.long()] = shifted
        expected = everywhere.softmax(1)[relation.target.row, relation.target.col.long()]
        if prior:
            expected = expected * dense(relation, relation.norm).sum(1)[relation.target.row, None]
        torch.testing.assert_close(coefficients(given, relation, prior), expected, **CLOSE)

    @given(seeds)
    @few
    def test_logits_of_zero_give_the_prior_bit_by_bit(self, seed: int) -> None:
        relation = draw(seed)
        for dtype in (torch.float32, torch.float64):
            same = relation._replace(norm=relation.norm.to(dtype))
            given = torch.zeros(sizes(relation)[2], H, dtype=dtype)
            assert torch.equal(coefficients(given, same, prior=True), same.norm[:, None].expand(-1, H))

    @pytest.mark.parametrize("prior", [False, True])
    def test_gradients(self, prior: bool) -> None:
        relation = draw(0)
        assert gradcheck(lambda given: coefficients(given, relation, prior), (normal(sizes(relation)[2], H),))


class TestMix:
    @given(seeds, densities)
    @few
    def test_is_a_product_by_head(self, seed: int, density: float) -> None:
        relation = draw(seed, density)
        n_s, _, n_e = sizes(relation)
        values, alpha = normal(n_s, H * C), normal(n_e, H, seed=1)
        expected = torch.einsum("tsh,shc->thc", dense(relation, alpha), values.unflatten(1, (H, C))).flatten(1)
        torch.testing.assert_close(mix(values, alpha, relation), expected, **CLOSE)

    def test_gradients(self) -> None:
        relation = draw(0)
        n_s, _, n_e = sizes(relation)
        assert gradcheck(lambda *both: mix(*both, relation), (normal(n_s, H * C), normal(n_e, H, seed=1)))

    def test_gradients_of_a_sum_which_come_without_strides(self) -> None:
        relation = draw(0)
        n_s, _, n_e = sizes(relation)
        values, alpha = normal(n_s, H * C), normal(n_e, H, seed=1)
        mix(values, alpha, relation).sum().backward()
        assert values.grad is not None and alpha.grad is not None
        totals = values.detach().unflatten(1, (H, C)).sum(2)
        torch.testing.assert_close(alpha.grad, totals[relation.target.col.long()], **CLOSE)


@given(seeds, densities)
@few
def test_sampled_products(seed: int, density: float) -> None:
    relation = draw(seed, density)
    n_s, n_t, _ = sizes(relation)
    left, right = normal(n_t, C).detach(), normal(n_s, C, seed=1).detach()
    expected = (left @ right.T)[relation.target.row, relation.target.col.long()]
    torch.testing.assert_close(sampled(left, right, relation.target), expected, **CLOSE)


def composed(values: Tensor, s: Tensor, t: Tensor, relation: Relation, prior: bool, slope: float) -> Tensor:
    return mix(values, coefficients(logits(s, t, relation, slope), relation, prior), relation)


class TestAttend:
    @given(
        seed=seeds,
        density=densities,
        prior=st.booleans(),
        slope=st.sampled_from([0.0, 0.2, 0.9]),
        scale=st.sampled_from([1.0, 300.0]),
    )
    @settings(max_examples=60, deadline=None)
    def test_is_mix_of_coefficients_of_logits(
        self, seed: int, density: float, prior: bool, slope: float, scale: float
    ) -> None:
        """Scores of the greater scale overflow where exponents are not kept below 0."""
        relation = draw(seed, density)
        n_s, n_t, _ = sizes(relation)
        inputs = normal(n_s, H * C), normal(n_s, H, scale=scale, seed=seed), normal(n_t, H, scale=scale, seed=seed + 1)
        sides = [side(*inputs, relation, prior, slope) for side in (attend, composed)]
        torch.testing.assert_close(*sides, **CLOSE)
        weight = torch.randn_like(sides[0])
        for ours, theirs in zip(*(torch.autograd.grad((side * weight).sum(), inputs) for side in sides), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)

    @pytest.mark.parametrize("prior", [False, True])
    @pytest.mark.parametrize("scale", [1.0, 40.0])
    def test_gradients(self, prior: bool, scale: float) -> None:
        relation = draw(0)
        inputs = normal(7, H * C), normal(7, H, scale=scale, seed=1), normal(9, H, scale=scale, seed=2)
        assert gradcheck(lambda *tensors: attend(*tensors, relation, prior), inputs)

    @pytest.mark.parametrize("prior", [False, True])
    def test_gradients_with_dropout(self, prior: bool) -> None:
        relation = draw(0)

        def seeded(*tensors: Tensor) -> Tensor:
            torch.manual_seed(3)
            return attend(*tensors, relation, prior, dropout=0.4)

        assert gradcheck(seeded, (normal(7, H * C), normal(7, H, seed=1), normal(9, H, seed=2)))

    def test_dropout_is_of_edges_and_heads_and_keeps_the_mean(self) -> None:
        relation = draw(0)
        values = torch.eye(7, dtype=torch.float64).repeat(1, H)  # what comes out is alpha itself
        s, t = (scores.detach() for scores in (normal(7, H, seed=1), normal(9, H, seed=2)))

        def alpha(dropout: float) -> Tensor:
            out = attend(values, s, t, relation, False, dropout=dropout).unflatten(1, (H, 7))
            return out.transpose(1, 2)[relation.target.row, relation.target.col.long()]

        whole, drawn = alpha(0.0), torch.stack([alpha(0.25) for _ in range(3000)])
        kept = drawn != 0
        torch.testing.assert_close(drawn, kept * whole / 0.75)
        torch.testing.assert_close(kept.double().mean(0), torch.full_like(whole, 0.75), atol=0.05, rtol=0)
        both = (kept[:, :-1] & kept[:, 1:]).double().mean(0), (kept[..., :-1] & kept[..., 1:]).double().mean(0)
        for pairs in both:  # neighbouring edges, and heads, are drawn one by one
            torch.testing.assert_close(pairs, torch.full_like(pairs, 0.75**2), atol=0.06, rtol=0)

    def test_a_seed_gives_the_same_bits(self) -> None:
        relation = draw(0)
        inputs = normal(7, H * C), normal(7, H, seed=1), normal(9, H, seed=2)
        results = []
        for _ in range(2):
            torch.manual_seed(5)
            out = attend(*inputs, relation, True, dropout=0.5)
            results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))

    @given(seed=seeds, prior=st.booleans())
    @few
    def test_scores_of_zero_are_the_prior(self, seed: int, prior: bool) -> None:
        relation = draw(seed)
        n_s, n_t, n_e = sizes(relation)
        values, zeros = normal(n_s, H * C), (normal(n_s, H, scale=0), normal(n_t, H, scale=0))
        degree = relation.target.degree.double()[relation.target.row]
        alpha = (relation.norm if prior else 1 / degree)[:, None].expand(n_e, H)
        torch.testing.assert_close(attend(values, *zeros, relation, prior), mix(values, alpha, relation), **CLOSE)

    @pytest.mark.parametrize(("targets", "sources"), [(0, 4), (4, 0), (0, 0), (1, 1)])
    @pytest.mark.parametrize("prior", [False, True])
    def test_no_edges_and_no_nodes(self, targets: int, sources: int, prior: bool) -> None:
        relation = draw(0, 0.0, targets, sources)
        inputs = normal(sources, H * C), normal(sources, H), normal(targets, H)
        out = attend(*inputs, relation, prior, dropout=0.5)
        assert torch.equal(out, torch.zeros(targets, H * C, dtype=torch.float64))
        for gradient in torch.autograd.grad(out.sum(), inputs):
            assert not gradient.any()

    def test_targets_without_edges_are_zeros_and_have_no_gradient(self) -> None:
        relation = draw(0)
        inputs = normal(7, H * C), normal(7, H, seed=1), normal(9, H, seed=2)
        out = attend(*inputs, relation, True)
        assert not out[2].any()
        values, s, t = torch.autograd.grad(out.square().sum(), inputs)
        assert not values[4].any() and not s[4].any() and not t[2].any()
        assert all(gradient.isfinite().all() for gradient in (values, s, t))

    def test_what_it_keeps_for_the_backward_pass_does_not_grow_with_the_edges(self) -> None:
        kept = []
        for density in (0.1, 0.9):
            relation = draw(0, density, targets=90, sources=70)
            held: list[Any] = []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda tensor, held=held: held.append(tensor), lambda _: None
            ):
                attend(normal(70, H * C), normal(70, H), normal(90, H), relation, True)
            kept.append(sum(tensor.numel() for tensor in held))
        assert kept[0] == kept[1] > 0


def test_half_precision_is_computed_in_full() -> None:
    relation = draw(0)._replace(norm=draw(0).norm.float())
    n_s, n_t, n_e = sizes(relation)
    wide, target, att = normal(n_s, H * C), normal(n_t, H * C), normal(H, C)
    s, t, e = normal(n_s, H), normal(n_t, H), normal(n_e, H)
    calls: list[tuple[Callable[..., Tensor], tuple[Tensor, ...], tuple[Any, ...]]] = [
        (attend, (wide, s, t), (relation, True)),
        (logits_v2, (wide, target, att), (relation,)),
        (coefficients, (e,), (relation, True)),
        (mix, (wide, e), (relation,)),
    ]
    for function, tensors, options in calls:
        half = [tensor.detach().bfloat16() for tensor in tensors]
        assert torch.equal(function(*half, *options), function(*(tensor.float() for tensor in half), *options))


@given(seeds, densities, st.lists(st.integers(0, 8), unique=True).map(sorted))
@few
def test_rows_are_the_edges_of_some_targets(seed: int, density: float, chosen: list[int]) -> None:
    relation, target = draw(seed, density), torch.tensor(chosen, dtype=torch.long)
    part = rows(relation, target)
    whole = dense(relation, relation.norm)
    assert torch.equal(dense(part, part.norm), whole[target])
    assert all(tensor.dtype == torch.int32 for tensor in (*part.target, *part.source, part.position))
    for ours, theirs in zip(part.reverse.reverse[:3], part[:3], strict=True):
        for one, other in zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]:
            assert torch.equal(one, other)
    across = part.reverse
    assert torch.equal(dense(across, across.norm), whole[target].T)
    values, s, t = normal(7, H * C), normal(7, H, seed=1), normal(9, H, seed=2)
    for prior in (False, True):
        sides = attend(values, s, t[target], part, prior), attend(values, s, t, relation, prior)[target]
        torch.testing.assert_close(*sides, **CLOSE)
        gradients = [torch.autograd.grad(side.square().sum(), (values, s, t)) for side in sides]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gpu_computes_the_same(scale: float) -> None:
    here = draw(0)
    there = Relation(*(CSR(*(t.cuda() for t in part)) if isinstance(part, CSR) else part.cuda() for part in here))
    n_s, n_t, _ = sizes(here)
    inputs = normal(n_s, H * C), normal(n_s, H, scale=scale, seed=1), normal(n_t, H, scale=scale, seed=2)
    wide, att = normal(n_t, H * C, seed=3), normal(H, C, seed=4)

    def everything(relation: Relation, *tensors: Tensor) -> Tensor:
        values, s, t, target, a = tensors
        part = rows(relation, torch.tensor([1, 5, 6], device=values.device))
        bent = coefficients(logits_v2(values, target, a, relation), relation, True)
        sides = (
            attend(values, s, t, relation, True),
            mix(values, bent, relation),
            composed(values, s, t, relation, False, 0.2),
        )
        return torch.cat([*sides, attend(values, s, t[[1, 5, 6]], part, True)])

    leaves = (*inputs, wide, att)
    out = everything(here, *leaves)
    expected = torch.autograd.grad(out.square().sum(), leaves)
    away = [tensor.detach().cuda().requires_grad_() for tensor in leaves]
    moved = everything(there, *away)
    actual = torch.autograd.grad(moved.square().sum(), away)
    for ours, theirs in zip((moved, *actual), (out, *expected), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, **CLOSE)
