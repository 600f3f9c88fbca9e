from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import Entries
from recsys_lightning.errors import InputError
from recsys_lightning.models import UserGraphHistoryEncoder, UserHistoryAttention
from recsys_lightning.models.history import HistoryAttention, readings

CLOSE: dict[str, Any] = {"atol": 1e-12, "rtol": 1e-12}
B, L, I, D, LEVELS, BUCKETS = 7, 6, 9, 8, 5, 4  # noqa: E741


def entries(seed: int = 0) -> Entries:
    """Histories of which the first is empty and the second full."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(0, L + 1, (B,), generator=generator)
    length[0], length[1] = 0, L
    mask = torch.arange(L) < length[:, None]
    item, rating, time = (
        torch.randint(first, last, (B, L), generator=generator)
        for first, last in ((0, I), (1, LEVELS + 1), (1, BUCKETS + 1))
    )
    return Entries(torch.where(mask, item, I), rating * mask, time * mask, mask)


def made(heads: int, buckets: int = BUCKETS, seed: int = 0) -> HistoryAttention:
    torch.manual_seed(seed)
    module = HistoryAttention(D, LEVELS, heads, buckets).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return module


def vectors(module: HistoryAttention, item: Tensor, given: Entries) -> Tensor:
    """v of every entry, (B, L, D)."""
    v = torch.cat([item, item.new_zeros(1, D)])[given.item] + module.rating[given.rating]
    return v if module.time is None else v + module.time[given.time]


def plain(module: HistoryAttention, item: Tensor, given: Entries, mask: Tensor) -> Tensor:
    """Position by position, head by head, as the equations say it."""
    v, heads = vectors(module, item, given), len(module.query)
    out = []
    for row in range(len(mask)):
        real = v[row][mask[row]]
        parts = []
        for head in range(heads):
            p = torch.zeros(D, dtype=v.dtype)
            if len(real):
                p = ((real @ module.query[head]) / math.sqrt(D / heads)).softmax(0) @ real
            width = D // heads
            parts.append(module.value.weight[head * width : (head + 1) * width] @ p)
        joined = torch.cat(parts)
        out.append(module.norm(joined if module.out is None else module.out.weight @ joined))
    return torch.stack(out)


def gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    return list(torch.autograd.grad((out * weight).sum(), inputs, retain_graph=True))


@pytest.mark.parametrize(("heads", "buckets"), [(1, 0), (4, BUCKETS), (1, BUCKETS), (2, 0)])
@given(seed=st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_users_and_gradients_are_those_of_the_equations(heads: int, buckets: int, seed: int) -> None:
    module, given_ = made(heads, buckets, seed), entries(seed)
    item = torch.randn(I, D).double().requires_grad_()
    mask = given_.mask & (torch.rand(B, L) < 0.8)
    actual = module(module.tables(item, L), given_, mask)
    expected = plain(module, item, given_, mask)
    torch.testing.assert_close(actual, expected, **CLOSE)
    inputs = [item, *module.parameters()]
    for ours, theirs in zip(gradients(actual, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("heads", [1, 4])
def test_it_is_torchs_multihead_attention_with_a_learned_query(heads: int) -> None:
    module, given_ = made(heads), entries()
    item = torch.randn(I, D).double()
    theirs = torch.nn.MultiheadAttention(D, heads, bias=False, batch_first=True, dtype=torch.float64)
    width, query = D // heads, torch.randn(D).double()
    w_query, w_key, w_value = theirs.in_proj_weight.data.view(3, D, D)
    projected = (w_query @ query).view(heads, width)
    with torch.no_grad():  # W_k^T q of each head is our query
        module.query.copy_(torch.einsum("hc,hcd->hd", projected, w_key.view(heads, width, D)))
        module.value.weight.copy_(w_value if heads > 1 else theirs.out_proj.weight @ w_value)
        if module.out is not None:
            module.out.weight.copy_(theirs.out_proj.weight)
    real = given_.mask.any(1)  # without any entry theirs is NaN
    v = vectors(module, item, given_)[real]
    expected = theirs(query.expand(len(v), 1, D), v, v, key_padding_mask=~given_.mask[real], need_weights=False)[0]
    actual = module(module.tables(item, L), given_, given_.mask)[real]
    torch.testing.assert_close(actual, module.norm(expected.squeeze(1)), **CLOSE)


@pytest.mark.parametrize("heads", [1, 4])
def test_padding_and_what_is_masked_are_not_read_and_learn_nothing(heads: int) -> None:
    module, given_, item = made(heads), entries(), torch.randn(I, D).double()
    mask = given_.mask & (torch.rand(B, L, generator=torch.Generator().manual_seed(4)) < 0.7)
    tables = type(module.tables(item, L))(*(table.detach().requires_grad_() for table in module.tables(item, L)))
    before = module(tables, given_, mask)
    before.square().sum().backward()
    for table in tables:
        assert table.grad is not None and not table.grad[I:].any() and table.grad[:I].any()
    for table in (module.rating, module.time):
        assert table is not None and table.grad is not None and not table.grad[0].any() and table.grad[1:].any()
    with torch.no_grad():
        for table in (*tables, module.rating, module.time):
            assert table is not None
            table[slice(I, None) if len(table) == I + L else 0] = 123.0
    other = Entries(
        *(
            torch.where(mask, kept, torch.randint(bound, (B, L)))
            for kept, bound in zip(given_[:3], (I + 1, LEVELS + 1, BUCKETS + 1), strict=True)
        ),
        mask,
    )
    torch.testing.assert_close(module(tables, other, mask), before, atol=1e-14, rtol=0)
    assert torch.equal(module(tables, given_, mask), before)


@pytest.mark.parametrize("heads", [1, 4])
def test_histories_of_nothing_are_finite_and_so_are_all_gradients(heads: int) -> None:
    module, given_ = made(heads), entries()
    item = torch.randn(I, D).double().requires_grad_()
    users = module(module.tables(item, L), given_, torch.zeros_like(given_.mask))
    assert torch.equal(users, module.norm.bias.expand(B, D))
    users.sin().sum().backward()
    assert item.grad is not None and not item.grad.any()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() == (name == "norm.bias")


def test_what_is_read_can_be_found_once_for_several() -> None:
    module, given_, item = made(4), entries(), torch.randn(I, D).double()
    found = readings(given_.item, I)
    tables = module.tables(item, L)
    assert torch.equal(module(tables, given_, given_.mask, found), module(tables, given_, given_.mask))
    nobody = Entries(*(rows[:0] for rows in given_))
    assert module(tables, nobody, nobody.mask).shape == (0, D)


def test_public_forms() -> None:
    text, graph = UserHistoryAttention(D, LEVELS), UserGraphHistoryEncoder(D, LEVELS, BUCKETS, 2)
    assert set(dict(text.named_parameters())) == {"query", "rating", "value.weight", "norm.weight", "norm.bias"}
    assert set(dict(graph.named_parameters())) == {*dict(text.named_parameters()), "time", "out.weight"}
    assert text.query.shape == (1, D) and graph.query.shape == (2, D)
    assert len(text.rating) == LEVELS + 1 and graph.time is not None and len(graph.time) == BUCKETS + 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HistoryAttention(8, 5, heads=3), r"given dim 8, heads 3, levels 5, buckets 0\."),
        (lambda: UserHistoryAttention(8, 0), r"UserHistoryAttention needs a dim .* levels 0"),
        (lambda: UserGraphHistoryEncoder(8, 5, 0), r"at least one time bucket, and was given 0\."),
    ],
)
def test_arguments_out_of_range(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("heads", [1, 4])
def test_half_precision(heads: int) -> None:
    module, given_, item = made(heads).float(), entries(), torch.randn(I, D)
    exact = module(module.tables(item, L), given_, given_.mask)
    with torch.autocast("cpu", torch.bfloat16):
        users = module(module.tables(item, L), given_, given_.mask)
    users.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    torch.testing.assert_close(users.float(), exact, atol=0.3, rtol=0.1)
