from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.errors import InputError
from recsys_lightning.losses.ranking import (
    BCE,
    BPR,
    Contrastive,
    Loss,
    SampledSoftmax,
    bce,
    bpr,
    info_nce,
    sampled_softmax,
)

INF = math.inf
Function = Callable[[Tensor, Tensor], Tensor]
LOSSES = [bpr, bce, sampled_softmax]


def scores(seed: int, batch: int = 5, negatives: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(batch, generator=generator, dtype=torch.float64)
    return positive, torch.randn(batch, negatives, generator=generator, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


seeds = st.integers(0, 10_000)


@given(seeds)
def test_bpr_is_the_mean_over_pairs(seed: int) -> None:
    positive, negative = scores(seed)
    pairs = [-math.log(sigmoid(float(p) - float(n))) for p, row in zip(positive, negative, strict=True) for n in row]
    assert bpr(positive, negative).item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


@given(seeds)
def test_bce_weighs_positives_and_negatives_one_half_each(seed: int) -> None:
    positive, negative = scores(seed)
    hits = [-math.log(sigmoid(float(p))) for p in positive]
    misses = [-math.log(1 - sigmoid(float(n))) for n in negative.flatten()]
    expected = (sum(hits) / len(hits) + sum(misses) / len(misses)) / 2
    assert bce(positive, negative).item() == pytest.approx(expected, rel=1e-12)


def test_bce_with_one_negative_each_is_the_plain_mean() -> None:
    positive, negative = scores(0, negatives=1)
    logits, labels = torch.cat([positive, negative[:, 0]]), torch.tensor([1.0] * 5 + [0.0] * 5, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(bce(positive, negative), expected)


@given(seeds, st.sampled_from([0.1, 1.0, 3.0]), st.booleans())
def test_sampled_softmax_is_minus_log_of_the_share(seed: int, temperature: float, shared: bool) -> None:
    positive, negative = scores(seed)
    positive_log_q = scores(seed + 1)[0]
    negative_log_q = scores(seed + 2)[1][0] if shared else scores(seed + 2)[1]
    rows = []
    for b in range(5):
        share = math.exp(positive[b] / temperature - positive_log_q[b])
        others = [
            math.exp(negative[b, n] / temperature - (negative_log_q[n] if shared else negative_log_q[b, n]))
            for n in range(3)
        ]
        rows.append(-math.log(share / (share + sum(others))))
    actual = sampled_softmax(positive, negative, temperature, positive_log_q, negative_log_q)
    assert actual.item() == pytest.approx(sum(rows) / 5, rel=1e-9)


def test_log_q_makes_the_sample_estimate_the_catalogue() -> None:
    # every item drawn once with q = 1/2: the corrected sum counts each twice, a constant that cancels with the positive
    positive, negative = scores(3)
    half = torch.full((3,), math.log(0.5), dtype=torch.float64)
    corrected = sampled_softmax(positive, negative, 1.0, half[0].expand(5), half)
    torch.testing.assert_close(corrected, sampled_softmax(positive, negative))


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=seeds)
def test_empty_slots_change_nothing_and_give_no_gradient(loss: Function, seed: int) -> None:
    positive, negative = scores(seed)
    padded = torch.cat([negative, torch.full((5, 2), -INF, dtype=torch.float64)], dim=1)[:, [0, 3, 1, 4, 2]]
    positive.requires_grad_()
    padded.requires_grad_()
    value = loss(positive, padded)
    torch.testing.assert_close(value, loss(positive, negative))
    value.backward()
    assert padded.grad is not None and positive.grad is not None
    assert positive.grad.isfinite().all()
    assert padded.grad[:, [0, 2, 4]].ne(0).all()
    assert not padded.grad[:, [1, 3]].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_no_negative_at_all_is_finite(loss: Function) -> None:
    positive = torch.zeros(2, requires_grad=True)
    negative = torch.full((2, 3), -INF, requires_grad=True)
    value = loss(positive, negative)
    value.backward()
    assert value.isfinite()
    assert positive.grad is not None and positive.grad.isfinite().all()
    assert negative.grad is not None and not negative.grad.any()


def test_empty_slot_may_hold_any_log_q() -> None:
    positive, negative = scores(0)
    negative[:, 1] = -INF
    negative.requires_grad_()
    log_q = torch.tensor([-1.0, -INF, -2.0], dtype=torch.float64)
    value = sampled_softmax(positive, negative, 1.0, torch.zeros(5), log_q)
    value.backward()
    assert value.isfinite()
    assert negative.grad is not None and negative.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_is_not_hidden(loss: Function) -> None:
    positive, negative = scores(0)
    negative[0, 0] = torch.nan
    assert loss(positive, negative).isnan()


@pytest.mark.parametrize("loss", [bpr, sampled_softmax])
@given(seed=seeds, shift=st.floats(-5, 5))
def test_shift_of_all_scores_changes_no_ranking_loss(loss: Function, seed: int, shift: float) -> None:
    positive, negative = scores(seed)
    torch.testing.assert_close(loss(positive + shift, negative + shift), loss(positive, negative))


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=seeds)
def test_order_of_rows_and_negatives_changes_nothing(loss: Function, seed: int) -> None:
    positive, negative = scores(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(positive[order], negative[order].flip(1)), loss(positive, negative))


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=seeds)
def test_better_positives_cost_less(loss: Function, seed: int) -> None:
    positive, negative = scores(seed)
    assert loss(positive + 0.5, negative) < loss(positive, negative) < loss(positive, negative + 0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_large_scores_stay_finite(loss: Function) -> None:
    positive = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = loss(positive, torch.tensor([[1e4, -1e4], [1e4, -1e4]]))
    value.backward()
    assert value.isfinite()
    assert positive.grad is not None and positive.grad.isfinite().all()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (BPR(), lambda p, n, b: bpr(p, n)),
        (BCE(), lambda p, n, b: bce(p, n)),
        (SampledSoftmax(0.2), lambda p, n, b: sampled_softmax(p, n, 0.2)),
        (
            SampledSoftmax(logq=True),
            lambda p, n, b: sampled_softmax(p, n, 1.0, b.item_log_q, b.negative_log_q),
        ),
    ],
)
def test_modules_are_the_functions(module: Loss, expected: Callable[..., Tensor]) -> None:
    positive, negative = scores(0)
    index = torch.arange(5)
    batch = PairBatch(index, index, index[:3], positive.sin(), negative[0].cos())
    assert torch.equal(module(positive, negative, batch), expected(positive, negative, batch))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature above 0"):
        SampledSoftmax(temperature)


@given(seeds, st.sampled_from([0.1, 1.0]))
def test_info_nce_is_the_loop_over_users_that_differ(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    user = torch.randint(0, 4, (6,), generator=generator)
    terms = []
    for one, other in ((left, right), (right, left)):
        for b in range(6):
            kept = [c for c in range(6) if c == b or user[c] != user[b]]
            cosines = [float(torch.cosine_similarity(one[b], other[c], dim=0)) / temperature for c in kept]
            own = float(torch.cosine_similarity(one[b], other[b], dim=0)) / temperature
            terms.append(math.log(sum(map(math.exp, cosines))) - own)
    assert info_nce(left, right, user, temperature).item() == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_info_nce_has_both_directions_and_finite_gradients() -> None:
    left, right = torch.randn(2, 3, 4, dtype=torch.float64)
    user = torch.tensor([1, 1, 1])
    torch.testing.assert_close(info_nce(left, right, user), torch.zeros((), dtype=torch.float64))
    user = torch.tensor([0, 1, 2])
    torch.testing.assert_close(info_nce(left, right, user), info_nce(right, left, user))
    zero = torch.zeros(3, 4, requires_grad=True)
    info_nce(zero, right.float(), user).backward()
    assert zero.grad is not None and zero.grad.abs().max() < 1e5


def test_contrastive_weighs_it_and_checks_its_options() -> None:
    left, right = torch.randn(2, 3, 4)
    user = torch.arange(3)
    found = Contrastive(weight=0.5, temperature=0.2)(left, right, user)
    torch.testing.assert_close(found, 0.5 * info_nce(left, right, user, 0.2))
    for options in ({"weight": 0.0}, {"temperature": -1.0}):
        with pytest.raises(InputError, match="Contrastive needs a weight and a temperature above 0"):
            Contrastive(**options)
