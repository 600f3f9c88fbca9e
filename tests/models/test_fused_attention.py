from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.models import fused_attention
from recsys_lightning.models.fused_attention import Scores, by_head, joined, rows_of
from tests.models import graphs


@given(
    seed=st.integers(0, 999),
    slope=st.sampled_from([0.0, 0.2, 0.9]),
    scale=st.sampled_from([0.1, 1.0, 20.0, 1000.0]),
    offset=st.sampled_from([-1000.0, -5.0, 0.0, 5.0, 1000.0]),
)
@settings(max_examples=60, deadline=None)
def test_powers_are_the_softmax_up_to_a_factor_of_each_target(
    seed: int, slope: float, scale: float, offset: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(9, 7, generator=generator) < 0.5
    matrix[2] = False
    relation = graphs.edges(matrix)
    s, t = (scale * torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (7, 9))
    t += offset
    scores = Scores.of(s, t, relation, slope)
    row, col = rows_of(relation.target), relation.target.col
    for head in range(2):
        power, positive = scores.powers(head, col, row, slope)
        assert (power <= 1).all()
        before = s[col, head] + t[row, head]
        assert torch.equal(positive, torch.where(before > 0, power, 0.0))
        logits = torch.nn.functional.leaky_relu(before, slope)
        for target in range(9):
            of = row == target
            if of.any():
                assert power[of].max() > 0
                torch.testing.assert_close(power[of] / power[of].sum(), logits[of].softmax(0), atol=1e-10, rtol=1e-9)


def test_a_reference_of_each_target_is_asked_for_only_where_scores_lie_far_apart() -> None:
    relation, target = graphs.edges(torch.ones(2, 3, dtype=torch.bool)), torch.zeros(2, 1)
    near, far = torch.tensor([[0.0], [1.0], [fused_attention.SPREAD]]), torch.tensor([[0.0], [1.0], [51.0]])
    assert Scores.of(near, target, relation, 0.2).reference is None
    reference = Scores.of(far, target, relation, 0.2).reference
    assert reference is not None and torch.equal(reference, torch.zeros(1, 2))


def test_rows_of() -> None:
    matrix = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    assert torch.equal(rows_of(graphs.edges(matrix).target), torch.tensor([0, 0, 2, 2, 2], dtype=torch.int32))


def test_by_head_and_back() -> None:
    table = torch.arange(30.0).view(5, 6)
    split = by_head(table, 3)
    assert split.is_contiguous()
    assert torch.equal(split[1], table[:, 2:4])
    assert torch.equal(joined(split), table)
