"""Items by what is written about them: an overview, and reviews of which the telling ones count more."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recsys_lightning.batches import CSR, Text, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.sparse import entries, rows_at


class Reviewed(NamedTuple):
    """Which of some items have reviews, and where these lie."""

    row: Tensor | None  # (N,) rows of `Text.review` that are theirs; None for all of them, in order
    at: Tensor  # (M,) places of the reviewed items among those asked for
    place: Tensor  # (M, R) their reviews as positions in `row`
    mask: Tensor  # (M, R), True = real review

    @classmethod
    def of(cls, text: Text, item: Tensor | None = None) -> Reviewed:
        """Of items (N,), or of all; R is the most reviews of any.

        The number of reviewed items is asked of the device: to be made once for all steps, where all items are meant.
        """
        count = text.crow.diff() if item is None else text.crow.diff()[item]
        at = count.nonzero().squeeze(1)
        crow, row = entries(CSR(text.crow, text.crow), at if item is None else item[at])
        slot = torch.arange(max(1, int(count.max())) if len(count) else 1, device=at.device)
        mask = slot < count[at, None]
        return cls(None if item is None else row, at, torch.where(mask, crow[:-1, None] + slot, 0), mask)


def reviewed(views: Views) -> Reviewed:
    """All reviewed items. To be asked for by `views.derive(reviewed)`."""
    return Reviewed.of(views.text)


class ReviewAttention(nn.Module):
    """The reviews of an item as one vector.

        h = sum_j softmax_j(a) r_j,    a_j = w2 . relu(W1 r_j + b1)

    Args:
        dim: D.
        hidden: numbers between W1 and w2.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, review: Tensor, place: Tensor, mask: Tensor) -> Tensor:
        """Reviews of M items, each review encoded once.

        Args:
            review: (N, D).
            place: (M, R) rows of `review`; what masked places name is not read.
            mask: (M, R), True = real review.

        Returns:
            (M, D); rows of zeros where nothing is real.
        """
        exact = self.score.weight.dtype  # sums stay in the parameters' precision under autocast
        logit = rows_at(self.score(self.hidden(review).relu()).squeeze(1), place).to(exact)
        weight = logit.masked_fill(~mask, torch.finfo(exact).min).softmax(1) * mask
        return embedding_bag(place, review.to(exact), mode="sum", per_sample_weights=weight)


class ItemTextEncoder(nn.Module):
    """Items by their texts: a gate between the overview and the reviews.

        item = LayerNorm(alpha P o + (1 - alpha) h),    alpha = sigmoid(MLP([P o; h]))

    o is the overview's vector and h what `ReviewAttention` makes of the reviews' P r. An item without reviews is its
    overview alone, alpha = 1; one without overview its reviews alone, alpha = 0; with neither it is LayerNorm(0).

    Args:
        text_width: of the vectors.
        max_reviews: most reviews of an item; with 0 there is neither attention nor gate.
        dim: D, to which P projects the vectors; where they are D wide already, there is no P.
        hidden: of the attention.
        gate_hidden: of the gate.

    Raises:
        InputError: a size is below 1.
    """

    def __init__(self, text_width: int, max_reviews: int, dim: int, hidden: int = 128, gate_hidden: int = 64) -> None:
        super().__init__()
        if min(text_width, dim, hidden, gate_hidden) < 1 or max_reviews < 0:
            raise InputError(
                f"ItemTextEncoder needs widths of at least 1 and no negative max_reviews, and was given text_width "
                f"{text_width}, max_reviews {max_reviews}, dim {dim}, hidden {hidden} and gate_hidden {gate_hidden}."
            )
        self.project = nn.Linear(text_width, dim, bias=False) if dim != text_width else nn.Identity()
        self.reviews = self.gate = None
        if max_reviews:
            self.reviews = ReviewAttention(dim, hidden)
            self.gate = nn.Sequential(nn.Linear(2 * dim, gate_hidden), nn.ReLU(), nn.Linear(gate_hidden, 1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, text: Text, item: Tensor | None = None, found: Reviewed | None = None) -> Tensor:
        """Items by their texts.

        Args:
            text: the vectors.
            item: (N,) the items; all where None.
            found: those of the items that have reviews, where that is known already.

        Returns:
            (N, D)
        """
        exact = self.norm.weight.dtype
        overview = text.overview if item is None else text.overview[item]
        own = self.project(overview.to(exact)).to(exact)
        if self.reviews is not None:
            found = found or Reviewed.of(text, item)
            alpha, told = self._weighed(text, item, own, found)
            own = own.index_copy(0, found.at, alpha * rows_at(own, found.at) + (1 - alpha) * told)
        out: Tensor = self.norm(own)
        return out

    def gates(self, text: Text) -> Tensor:
        """The alpha of all items, (I,)."""
        exact = self.norm.weight.dtype
        alpha = text.known.new_ones(len(text.known), dtype=exact)
        if self.reviews is None:
            return alpha
        found = Reviewed.of(text)
        own = self.project(text.overview.to(exact)).to(exact)
        return alpha.index_copy(0, found.at, self._weighed(text, None, own, found)[0].squeeze(1))

    def _weighed(self, text: Text, item: Tensor | None, own: Tensor, found: Reviewed) -> tuple[Tensor, Tensor]:
        """Of the reviewed items, alpha (M, 1) and h (M, D)."""
        assert self.reviews is not None and self.gate is not None
        review = text.review if found.row is None else text.review[found.row]
        told = self.reviews(self.project(review.to(own.dtype)), found.place, found.mask)
        known = text.known[found.at if item is None else item[found.at], None]
        return self.gate(torch.cat([rows_at(own, found.at), told], 1)).to(own.dtype).sigmoid() * known, told
