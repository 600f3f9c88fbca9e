from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.models.attribute_term import CAP, AttributeTerm, Gate

share = st.floats(0, 1)


def test_it_is_the_bilinear_form_times_the_weight_and_silent_at_the_start() -> None:
    term = AttributeTerm(3, "fixed", 0.1)
    taste, weight = torch.randn(4, 3), torch.rand(4)
    assert not term(taste, weight).any()
    torch.nn.init.normal_(term.transform)
    expected = torch.stack([w * (q @ term.transform) for q, w in zip(taste, weight, strict=True)])
    torch.testing.assert_close(term(taste, weight), expected)


@given(activity=share, diversity=share, base=st.floats(0.01, 0.49))
def test_fixed_and_adaptive_weights_by_hand(activity: float, diversity: float, base: float) -> None:
    user = torch.tensor([activity]), torch.tensor([diversity])
    assert AttributeTerm(2, "fixed", base).weight(*user).item() == pytest.approx(base)
    expected = min(0.5, base * (1 + 0.5 * (1 - activity) + 0.3 * diversity))
    assert AttributeTerm(2, "adaptive", base).weight(*user).item() == pytest.approx(expected, abs=1e-6)


def test_the_adaptive_weight_is_capped() -> None:
    weight = AttributeTerm(2, "adaptive", 0.45).weight(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(weight, torch.tensor([CAP, 0.45]))


@given(base=st.floats(0.01, 0.49), activity=share, diversity=share)
def test_the_learned_weight_is_the_formula_and_starts_at_the_base(
    base: float, activity: float, diversity: float
) -> None:
    term = AttributeTerm(2, "learned", base)
    half = torch.tensor([0.5])
    assert term.weight(half, half).item() == pytest.approx(base, rel=1e-5)
    b, a, c = term.gates.tolist()
    exponent = b - math.exp(a) * (activity - 0.5) + math.exp(c) * (diversity - 0.5)
    expected = CAP / (1 + math.exp(-exponent))
    found = term.weight(torch.tensor([activity]), torch.tensor([diversity])).item()
    assert found == pytest.approx(expected, rel=1e-4)


@given(gates=st.tuples(*[st.floats(-5, 5)] * 3), one=share, other=share, fixed=share)
def test_the_learned_weight_falls_with_activity_and_rises_with_diversity(
    gates: tuple[float, float, float], one: float, other: float, fixed: float
) -> None:
    term = AttributeTerm(2, "learned", 0.1)
    with torch.no_grad():
        term.gates.copy_(torch.tensor(gates))
    moving, still = torch.tensor(sorted([one, other])), torch.tensor([fixed, fixed])
    by_activity, by_diversity = term.weight(moving, still), term.weight(still, moving)
    assert by_activity[0] >= by_activity[1]
    assert by_diversity[0] <= by_diversity[1]
    assert ((by_activity >= 0) & (by_activity <= CAP)).all()


@pytest.mark.parametrize("gate", ["fixed", "adaptive"])
def test_only_a_learned_gate_has_parameters(gate: Gate) -> None:
    assert [name for name, _ in AttributeTerm(2, gate, 0.1).named_parameters()] == ["transform"]
    assert set(dict(AttributeTerm(2, "learned", 0.1).named_parameters())) == {"transform", "gates"}
