from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Text
from recsys_lightning.errors import InputError
from recsys_lightning.models import ItemTextEncoder, ReviewAttention
from recsys_lightning.models.text import Reviewed, reviewed
from tests.models import hybrids
from tests.models.hybrids import NO_OVERVIEW, NO_REVIEWS, NOTHING, REVIEWS, WIDTH, I

CLOSE: dict[str, Any] = {"atol": 1e-12, "rtol": 1e-12}


def padded(text: Text) -> tuple[Tensor, Tensor]:
    """Reviews (I, R, D) and which of them are real (I, R)."""
    mask = torch.arange(REVIEWS) < text.crow.diff()[:, None]
    rows = text.review.new_zeros(*mask.shape, text.review.shape[1])
    rows[mask] = text.review
    return rows, mask


def plain(encoder: ItemTextEncoder, text: Text) -> Tensor:
    """All items, one after the other, as the equations say it."""
    out = []
    for item in range(len(text.overview)):
        o = encoder.project(text.overview[item])
        mixed = o
        own = text.review[text.crow[item] : text.crow[item + 1]]
        if len(own) and encoder.reviews is not None and encoder.gate is not None:
            r = encoder.project(own)
            a = torch.stack([encoder.reviews.score(encoder.reviews.hidden(row).relu())[0] for row in r])
            h = (a.softmax(0)[:, None] * r).sum(0)
            alpha = encoder.gate(torch.cat([o, h])).sigmoid() if text.known[item] else 0.0
            mixed = alpha * o + (1 - alpha) * h
        out.append(encoder.norm(mixed))
    return torch.stack(out)


def made(dim: int = 8, reviews: int = REVIEWS, width: int = WIDTH) -> ItemTextEncoder:
    torch.manual_seed(0)
    encoder = ItemTextEncoder(width, reviews, dim, hidden=5, gate_hidden=4).double()
    hybrids.shaken(encoder)
    return encoder


def double(text: Text) -> Text:
    return text._replace(overview=text.overview.double(), review=text.review.double())


def test_review_attention_is_that_of_padded_reviews() -> None:
    torch.manual_seed(0)
    module = ReviewAttention(WIDTH, 5).double()
    text = double(hybrids.text())
    text.review.requires_grad_()
    rows, mask = padded(text)
    score = module.score(module.hidden(rows).relu()).squeeze(2).masked_fill(~mask, -torch.inf)
    expected = (score.softmax(1).nan_to_num()[..., None] * rows).sum(1)
    place = text.crow[:-1, None] + torch.arange(REVIEWS)
    place = torch.where(
        mask, place, torch.randint(len(text.review), place.shape)
    )  # what masked places name is not read
    actual = module(text.review, place, mask)
    torch.testing.assert_close(actual, expected, **CLOSE)
    inputs, weight = [text.review, *module.parameters()], torch.randn_like(expected)
    gradients = [torch.autograd.grad((side * weight).sum(), inputs, retain_graph=True) for side in (actual, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("dim", [8, WIDTH])
@pytest.mark.parametrize("reviews", [True, False])
def test_items_and_gradients_are_those_of_the_equations(dim: int, reviews: bool) -> None:
    encoder, text = made(dim, REVIEWS if reviews else 0), double(hybrids.text(reviews=reviews))
    actual, expected = encoder(text), plain(encoder, text)
    torch.testing.assert_close(actual, expected, **CLOSE)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((side * weight).sum(), list(encoder.parameters())) for side in (actual, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    assert all(gradient.any() for gradient in gradients[0])
    assert (encoder.gate is None) == (encoder.reviews is None) == (not reviews)
    assert isinstance(encoder.project, torch.nn.Identity) == (dim == WIDTH)


@pytest.mark.parametrize("item", [[], [NOTHING], [NO_REVIEWS, NOTHING], [16, 0, NO_OVERVIEW, 3, NO_REVIEWS]])
def test_some_items_are_the_rows_of_all(item: list[int]) -> None:
    encoder, text = made(), double(hybrids.text())
    chosen = torch.tensor(item, dtype=torch.long)
    torch.testing.assert_close(encoder(text, chosen), encoder(text)[chosen], **CLOSE)
    found = Reviewed.of(text, chosen)
    assert found.row is not None
    assert len(found.row) == text.crow.diff()[chosen].sum()


def test_where_all_reviewed_items_lie_is_found_once() -> None:
    views = hybrids.views(hybrids.matrix())
    found = views.derive(reviewed)
    assert views.derive(reviewed) is found
    encoder = made().float()
    assert torch.equal(encoder(views.text, None, found), encoder(views.text))


def test_fallbacks_are_exact() -> None:
    encoder, text = made(), double(hybrids.text())
    items, alpha = encoder(text), encoder.gates(text)
    unread = text.crow.diff() == 0
    assert torch.equal(items[unread], encoder.norm(encoder.project(text.overview))[unread])
    assert torch.equal(items[NOTHING], encoder.norm.bias)
    assert bool(unread[NO_REVIEWS]) and not text.known[NO_OVERVIEW] and not text.overview[NO_OVERVIEW].any()
    assert encoder.reviews is not None
    found = Reviewed.of(text)
    told = encoder.reviews(encoder.project(text.review), found.place, found.mask)
    of_reviews = encoder.norm(told)[found.at.tolist().index(NO_OVERVIEW)]
    assert torch.equal(items[NO_OVERVIEW], of_reviews)
    assert (alpha[unread] == 1).all()
    assert (alpha[~unread & ~text.known] == 0).all()
    between = alpha[~unread & text.known]
    assert len(between) and ((between > 0) & (between < 1)).all()
    assert torch.equal(made(reviews=0).gates(text), torch.ones(I).double())


def test_half_precision() -> None:
    encoder, text = made().float(), hybrids.text()
    with torch.autocast("cpu", torch.bfloat16):
        items = encoder(text)
    items.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    torch.testing.assert_close(items.float(), encoder(text), atol=0.1, rtol=0.05)


def test_sizes_out_of_range() -> None:
    with pytest.raises(InputError, match=r"text_width 0, max_reviews 2, dim 4, hidden 128 and gate_hidden 64\."):
        ItemTextEncoder(0, 2, 4)
