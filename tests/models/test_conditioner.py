from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models import AttentionConditioner
from recsys_lightning.models.conditioner import DomainEmbedding, Mode
from tests.models.learning import learn

B, D, M, H, T, S = 7, 8, 3, 2, 4, 2
MODES: list[Mode] = ["film", "residual", "attention"]
CLOSE: dict[str, Any] = {"atol": 1e-12, "rtol": 1e-12}


def made(seed: int = 0, **options: Any) -> AttentionConditioner:
    """A conditioner off its start, in evaluation, in float64."""
    torch.manual_seed(seed)
    model = AttentionConditioner(
        D, **{"num_heads": H, "num_domains": M, "num_tokens": T, "shared_tokens": S, **options}
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


def users(size: int = B, seed: int = 1) -> Tensor:
    return torch.randn(size, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def histories(size: int = B, length: int = 5) -> tuple[Tensor, Tensor]:
    """Tokens and which of them are real; of the first user none."""
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(size, length, generator=generator) < 0.6
    mask[0] = False
    return torch.randn(size, length, D, dtype=torch.float64, generator=generator), mask


def by_hand(model: AttentionConditioner, user: Tensor, domain: int, context: Tensor | None = None) -> Tensor:
    """The condition of one user (D,) in one domain, head by head."""
    tokens = [*model.tokens.prototype[domain], *([] if model.tokens.shared is None else model.tokens.shared)]
    rows = torch.stack([*tokens, *([] if context is None else context)])
    query, keys, values = model.query(user), rows @ model.key.weight.T, model.value(rows)
    parts = []
    for head in range(H):
        own = slice(head * D // H, (head + 1) * D // H)
        weights = (keys[:, own] @ query[own] / (D / H) ** 0.5).softmax(0)
        parts.append(weights @ values[:, own])
    change = model.out(torch.cat(parts))
    if model.mode == "film":
        condition: Tensor = user * (1 + change[:D]) + change[D:]
        return condition
    return user + change if model.mode == "residual" else change


class TestEquations:
    @pytest.mark.parametrize("mode", MODES)
    def test_conditions_are_those_of_one_user_in_one_domain(self, mode: Mode) -> None:
        model, u = made(mode=mode), users()
        context, mask = histories()
        for domain in range(M):
            plain, told = model(u, domain), model(u, domain, context, mask)
            for row in range(B):
                torch.testing.assert_close(plain[row], by_hand(model, u[row], domain), **CLOSE)
                own = context[row][mask[row]]
                torch.testing.assert_close(told[row], by_hand(model, u[row], domain, own), **CLOSE)

    @settings(max_examples=30, deadline=None)
    @given(batch=st.integers(0, 9), seed=st.integers(0, 1000), read=st.booleans())
    def test_ids_of_all_kinds_broadcast_alike(self, batch: int, seed: int, read: bool) -> None:
        model, u = made(), users(batch, seed)
        context, mask = histories(batch) if read and batch else (None, None)
        every = model.all_domains(u, context, mask)
        assert every.shape == (batch, M, D)
        for domain in range(M):
            ids = [domain, torch.tensor(domain), torch.tensor([domain]), torch.full((batch,), domain)]
            ids += [ids[-1].int(), ids[-1].to(torch.uint8)]  # type: ignore[union-attr]
            for one in ids:
                torch.testing.assert_close(model(u, one, context, mask), every[:, domain], **CLOSE)
        mixed = torch.randint(M, (batch,), generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(model(u, mixed, context, mask), every[torch.arange(batch), mixed], **CLOSE)

    def test_conditions_do_not_depend_on_who_else_is_asked_for(self) -> None:
        model, u, domain = made(), users(), torch.tensor([0, 1, 2, 0, 1, 2, 0])
        whole = model(u, domain)
        for row in range(B):
            torch.testing.assert_close(model(u[row, None], domain[row, None]), whole[row, None], **CLOSE)
            torch.testing.assert_close(model(u[row, None], int(domain[row])), whole[row, None], **CLOSE)

    def test_attention_is_a_distribution_over_the_tokens_of_the_domain(self) -> None:
        model, u = made(), users()
        context, mask = histories()
        domain = torch.tensor([0, 1, 2, 0, 1, 2, 0])
        condition, weights = model(u, domain, context, mask, need_weights=True)
        assert weights.shape == (B, H, T + S + 5)
        torch.testing.assert_close(weights.sum(2), torch.ones(B, H, dtype=torch.float64))
        assert not weights[..., T + S :].transpose(1, 2)[~mask].any()
        torch.testing.assert_close(condition, model(u, domain, context, mask))
        every, of_all = model.all_domains(u, context, mask, need_weights=True)
        assert of_all.shape == (B, M, H, T + S + 5)
        torch.testing.assert_close(of_all[torch.arange(B), domain], weights)
        torch.testing.assert_close(every[torch.arange(B), domain], condition)
        assert (weights[1] - weights[4]).abs().max() > 1e-3  # the same domain, another user

    def test_the_tokens_of_the_other_domains_get_no_gradient(self) -> None:
        model = made()
        model(users(), torch.tensor([0, 2, 2, 0, 0, 2, 0])).square().sum().backward()
        gradient = model.tokens.prototype.grad
        assert gradient is not None
        assert gradient.abs().sum((1, 2)).ne(0).tolist() == [True, False, True]

    def test_gradients_are_right(self) -> None:
        model, u = made(), users(3).requires_grad_()
        context, mask = histories(3)
        domain = torch.tensor([0, 2, 1])
        assert torch.autograd.gradcheck(lambda u, c: model(u, domain, c, mask), (u, context.requires_grad_()))


class TestStart:
    def test_conditions_start_as_the_users_bit_for_bit(self) -> None:
        model, u = AttentionConditioner(emb_dim=D), users().float()
        u[0], u[1, 0] = 0, -0.0
        assert torch.equal(model(u, 1), u)
        assert torch.equal(model.all_domains(u), u[:, None].expand(-1, 2, -1))
        assert torch.equal(model(u, torch.tensor([0, 1, 0, 1, 0, 1, 0])), u)

    @pytest.mark.parametrize("mode", MODES)
    def test_everything_learns(self, mode: Mode) -> None:
        torch.manual_seed(0)
        model, u = AttentionConditioner(D, 2, mode=mode, dropout=0.1), users().float()
        goal = torch.stack([u.flip(1), -u], 1)
        learned = learn(model, lambda _: (model.all_domains(u) - goal).square().mean(), 20)
        assert not learned.untouched
        assert learned.better

    def test_the_reference_setting_stands_alone(self) -> None:
        conditioner = AttentionConditioner(emb_dim=32, num_heads=4, num_domains=2)
        assert conditioner(torch.randn(5, 32), torch.tensor([0, 1, 1, 0, 1])).shape == (5, 32)
        assert DomainEmbedding(2, 32)().shape == (2, 12, 32)


class TestOneToken:
    """What the obvious version does: a softmax over one logit is 1."""

    def test_it_warns_and_hears_no_user(self) -> None:
        with pytest.warns(UserWarning, match=r"one token .* over which every softmax is 1"):
            model = AttentionConditioner(D, H, M, num_tokens=1, shared_tokens=0, mode="residual")
        u = users().float().requires_grad_()
        condition, weights = model(u, 1, need_weights=True)
        assert torch.equal(weights, torch.ones(B, H, 1))
        shift = condition - u
        torch.testing.assert_close(shift, shift[:1].expand(B, -1))
        (condition.square().sum()).backward()
        for projection in (model.query, model.key):
            gradient = projection.weight.grad
            assert gradient is not None  # the usual test passes
            assert not gradient.any()

    @pytest.mark.filterwarnings("ignore:AttentionConditioner has one token")
    def test_what_attention_finds_does_not_change_with_the_user(self) -> None:
        u = users()
        for tokens, moved in ((1, False), (4, True)):
            model = made(num_tokens=tokens, shared_tokens=0, mode="attention")
            jacobian = torch.autograd.functional.jacobian(lambda row, m=model: m(row[None], 0)[0], u[0])
            assert bool(jacobian.norm() > 1e-6) == moved

    def test_one_prototype_beside_shared_tokens_warns_and_hears_users(self) -> None:
        with pytest.warns(UserWarning, match="num_tokens=1.* beside 4 shared tokens"):
            AttentionConditioner(D, H, M, num_tokens=1)
        with pytest.warns(UserWarning, match="num_tokens=1"):
            model = made(num_tokens=1, shared_tokens=1, mode="attention")
        assert model(users(), 0).std(0).min() > 1e-6


class TestOddInput:
    @pytest.mark.parametrize("mode", MODES)
    def test_nobody_and_one(self, mode: Mode) -> None:
        model = made(mode=mode)
        for size in (0, 1):
            u = users(size)
            for domain in (1, torch.tensor(1), torch.ones(size, dtype=torch.long)):
                condition, weights = model(u, domain, need_weights=True)
                assert condition.shape == (size, D)
                assert weights.shape == (size, H, T + S)
            assert model.all_domains(u).shape == (size, M, D)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_history_in_which_nothing_is_real_is_none(self, mode: Mode) -> None:
        model, u = made(mode=mode), users()
        context, mask = histories()
        torch.testing.assert_close(model(u, 1, context, mask)[0], model(u, 1)[0], **CLOSE)
        context[~mask] = torch.nan
        told = model(u, 1, context.requires_grad_(), mask)
        assert told.isfinite().all()
        told.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert model(u, 1, context[:, :0], mask[:, :0]).isfinite().all()

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_numbers_that_are_not_finite_spoil_their_own_user_alone(self, bad: float) -> None:
        model, u = made(), users()
        whole = model.all_domains(u)
        u[2, 3] = bad
        spoiled = model.all_domains(u)
        assert not spoiled[2].isfinite().any(1).all()
        rest = torch.arange(B) != 2
        torch.testing.assert_close(spoiled[rest], whole[rest])

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype: torch.dtype) -> None:
        model, u = made(), users()
        context, mask = histories()
        domain = torch.tensor([0, 1, 2, 0, 1, 2, 0])
        exact = model(u, domain, context, mask)
        half = model.to(dtype)(u.to(dtype), domain, context.to(dtype), mask)
        assert half.dtype == dtype
        torch.testing.assert_close(half.double(), exact, atol=0.3, rtol=0.1)
        with torch.autocast("cpu", dtype):
            mixed = model.float()(u.float(), domain, context.float(), mask)
        torch.testing.assert_close(mixed.double(), exact, atol=0.3, rtol=0.1)
        start = AttentionConditioner(D).to(dtype)
        assert torch.equal(start(u.to(dtype), 0), u.to(dtype))

    def test_dropout_is_of_training_alone(self) -> None:
        model, u = made(dropout=0.5), users()
        assert torch.equal(model(u, 0), model(u, 0))
        model.train()
        assert not torch.equal(model(u, 0), model(u, 0))
        torch.testing.assert_close(model(u, 0, need_weights=True)[1].sum(2), torch.ones(B, H, dtype=torch.float64))


@pytest.mark.parametrize("domain", [-1, 3, torch.tensor(-1), torch.tensor([0, 1, 2, 3, 0, 1, 2])])
def test_domains_that_there_are_not(domain: int | Tensor) -> None:
    with pytest.raises(InputError, match=r"There is no domain (-1|3): the domains are 0, 1, 2\."):
        made()(users(), domain)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (torch.zeros(B), "whole numbers, 0, 1, 2, and these are torch.float32"),
        (torch.zeros(B, dtype=torch.bool), "true or false"),
        (True, "true or false"),
        (1.0, "these are of type float"),
        ([0, 1, 2, 0, 1, 2, 0], "these are of type list"),
        (np.zeros(B, int), "these are of type ndarray"),
        (np.bool_(True), "these are of type bool"),
        (None, "these are of type NoneType"),
        ("movie", "these are of type str"),
        (torch.zeros(3, dtype=torch.long), r"the shape \(3,\) for 7 users"),
        (torch.zeros(B, 1, dtype=torch.long), r"the shape \(7, 1\) for 7 users"),
    ],
)
def test_domains_that_are_no_ids(domain: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        made()(users(), domain)
    assert "0, 1, 2" in str(caught.value) or "shape" in message


@pytest.mark.parametrize("domain", [np.int64(1), np.array(1)])
def test_numbers_of_numpy_are_ids(domain: Any) -> None:
    assert torch.equal(made()(users(), domain), made()(users(), 1))


@pytest.mark.parametrize(
    "options",
    [
        {"emb_dim": 32.0},
        {"num_tokens": "8"},
        {"dropout": "0.1"},
        {"num_heads": 3},
        {"num_heads": 0},
        {"num_domains": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"num_tokens": 0},
        {"shared_tokens": -1},
        {"mode": "gate"},
        {"emb_dim": 0},
    ],
)
def test_arguments_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"AttentionConditioner (needs|knows)"):
        AttentionConditioner(**{"emb_dim": D, **options})
