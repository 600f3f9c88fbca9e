from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models import scorers
from recsys_lightning.models.scorers import MLP, Bilinear, scorer

CLOSE: dict[str, Any] = {"atol": 1e-12, "rtol": 1e-12}


def plain(name: str, module: scorers.Scorer, u: Tensor, i: Tensor) -> Tensor:
    """The score of one user and one item, (D,), (D,), as the equations say it."""
    if isinstance(module, MLP):
        c = module.key.weight @ i + module.key.bias
        first = (module.first.weight @ (c * u) + module.first.bias).clamp(min=0)
        second = (module.second.weight @ first + module.second.bias).clamp(min=0)
        return (module.last.weight @ second + module.last.bias)[0]
    mapped = module.weight.weight @ i if isinstance(module, Bilinear) else i
    return u @ mapped / math.sqrt(len(u))


@pytest.mark.parametrize("name", ["dot", "bilinear", "mlp"])
class TestEachScorer:
    def test_scores_are_those_of_the_equations(self, name: str) -> None:
        torch.manual_seed(0)
        module = scorer(name, 6, 0.2).double().eval()
        u, i = torch.randn(3, 6).double(), torch.randn(4, 6).double()
        expected = torch.stack([torch.stack([plain(name, module, a, b) for b in i]) for a in u])
        key = module.keys(i)
        torch.testing.assert_close(module.cross(u, key), expected, **CLOSE)
        torch.testing.assert_close(module.score(u[:, None], key), expected, **CLOSE)
        torch.testing.assert_close(module.score(u, key[:3]), expected.diagonal(), **CLOSE)

    @pytest.mark.parametrize(("users", "items"), [(0, 3), (2, 0), (1, 1)])
    def test_none_and_one(self, name: str, users: int, items: int) -> None:
        module = scorer(name, 6, 0.2).eval()
        assert module.cross(torch.zeros(users, 6), torch.zeros(items, 6)).shape == (users, items)

    def test_gradients_of_cross_are_those_of_score(self, name: str) -> None:
        torch.manual_seed(0)
        module = scorer(name, 6, 0.0).double()
        u, i, weight = (torch.randn(*size).double() for size in ((3, 6), (4, 6), (3, 4)))
        inputs = [u.requires_grad_(), i.requires_grad_(), *module.parameters()]
        left = torch.autograd.grad((module.cross(u, module.keys(i)) * weight).sum(), inputs)
        right = torch.autograd.grad((module.score(u[:, None], module.keys(i)) * weight).sum(), inputs)
        for ours, theirs in zip(left, right, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("block", [1, 128, 128 * 5, 128 * 12, 1 << 20])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = MLP(6).double().eval()
    u, key = torch.randn(5, 6).double(), torch.randn(7, 6).double()
    widest = []
    monkeypatch.setattr(scorers, "BLOCK", {"cpu": block})
    monkeypatch.setattr(
        scorers, "linear", lambda *parts: widest.append(torch.nn.functional.linear(*parts)) or widest[-1]
    )
    torch.testing.assert_close(module.cross(u, key), module.score(u[:, None], key), **CLOSE)
    assert max(wide.numel() for wide in widest) <= max(block, 128)


def test_dropout_is_of_training() -> None:
    torch.manual_seed(0)
    module, u, key = MLP(6, dropout=0.5), torch.randn(2, 6), torch.randn(3, 6)
    for scores in (lambda: module.cross(u, key), lambda: module.score(u, key[:2])):
        module.train()
        assert not torch.equal(scores(), scores())
        module.eval()
        assert torch.equal(scores(), scores())


def test_unknown_name() -> None:
    with pytest.raises(InputError, match=r"There is no scorer 'cosine'; there are dot, bilinear and mlp\."):
        scorer("cosine", 4, 0.0)
