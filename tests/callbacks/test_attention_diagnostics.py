from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.callbacks.attention_diagnostics import AttentionDiagnostics, kinds_of, measure
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.tasks.conditioning import Conditioning
from tests.callbacks.told import NOTHING, SAME, Scripted, Told, fit, world

UNIFORM = torch.full((6,), 1 / 6)
FIRST, LAST = torch.eye(6)[0], torch.eye(6)[-1]


def heads(*rows: Tensor) -> Tensor:
    """(2, heads, tokens) the same in both domains."""
    return torch.stack(rows).expand(2, -1, -1)


def look(folder: Path, weights: Tensor, epochs: int = 4) -> tuple[dict[str, Any], list[str]]:
    task = Scripted(partial(Told, scale=SAME, shift=NOTHING, weights=weights))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(folder, task, AttentionDiagnostics(users=20), epochs)
    ours = [str(one.message) for one in caught if "ttention" in str(one.message)]
    return json.loads((folder / "attention_diagnostics.json").read_text()), ours


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 4))
def test_all_figures_are_shares(seed: int, tokens: int, number: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = measure((4 * torch.randn(30, 2, number, tokens, generator=generator)).softmax(-1).double())
    for values in (found.entropy, found.by_user, found.divergence):
        assert (values >= 0).all() and (values <= 1 + 1e-9).all()
    torch.testing.assert_close(found.mean.sum(-1), torch.ones_like(found.entropy))
    torch.testing.assert_close(found.divergence, found.divergence.T)
    assert (found.divergence.diagonal() < 1e-9).all()


def test_the_ends_of_the_scales() -> None:
    apart = measure(heads(FIRST, LAST).expand(10, -1, -1, -1).double())
    assert apart.divergence[0, 1] == pytest.approx(1) and apart.entropy.max() == 0 and apart.by_user.max() == 0
    each = torch.eye(6).double()[:, None, None].expand(-1, 2, 1, -1)
    assert measure(each).by_user.min() == pytest.approx(1)
    uniform = measure(heads(UNIFORM, FIRST, FIRST).expand(10, -1, -1, -1).double())
    assert uniform.dead == {0: "uniform", 2: "the same as head 2"}
    one = measure(torch.ones(10, 2, 2, 1).double())
    assert torch.isfinite(one.entropy).all() and one.by_user.max() == 0


def test_dead_heads_and_deaf_ones_are_named_once(tmp_path: Path) -> None:
    found, said = look(tmp_path, heads(UNIFORM, FIRST, FIRST, LAST))
    assert len(said) == 2 == len(found["said"])
    assert (
        "2 of 4 heads of attention do nothing of their own: head 1 is uniform; head 3 is the same as head 2" in said[0]
    )
    assert "Attention is the same for all users" in said[1]
    row = found["figures"][-1]
    assert row["dead_heads"] == 2 and row["entropy"] == pytest.approx(0.25) and row["by_user"] == 0
    assert found["dead"] == {"1": "uniform", "3": "the same as head 2"} and found["tokens"] == {"own": 6}
    svg = (tmp_path / "attention_diagnostics.svg").read_text()
    assert "Mean weights" in svg and "movie, head 1" in svg and "var(" not in svg


def test_one_token_is_said_to_hear_nobody(tmp_path: Path) -> None:
    _, said = look(tmp_path, torch.ones(2, 2, 1))
    assert len(said) == 1 and "has one token to attend to, so its weight is 1 and hears no user" in said[0]


def test_the_conditioner_is_understood(tmp_path: Path) -> None:
    """Its own tokens come first, then the shared ones, then those of the user."""
    callback = AttentionDiagnostics(users=20, patience=1)
    model = partial(Conditioned, heads=2, num_tokens=5, shared_tokens=3, history=4)
    fit(tmp_path, Conditioning(model, k=[5]), callback, 2)
    found = json.loads((tmp_path / "attention_diagnostics.json").read_text())
    assert found["tokens"] == {"own": 5, "shared": 3, "context": 4}
    assert len(found["heads"]["mean"][0][0]) == 12
    row = found["figures"][-1]
    assert row["own"] + row["shared"] + row["context"] == pytest.approx(1, abs=2e-6)  # written with six digits


def test_tokens_of_a_model_without_shared_ones(tmp_path: Path) -> None:
    schema = world(tmp_path).schema
    assert kinds_of(Conditioned(schema, heads=2, num_tokens=4, shared_tokens=0), 4) == {"own": 4}
