"""The recommender that looks at users from each domain: frozen vectors, conditioned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_lightning.batches import Vectors, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.conditioner import AttentionConditioner, Mode
from recsys_lightning.models.domains import by_domain, domain_of, require_vectors
from recsys_lightning.models.sparse import blocks
from recsys_lightning.schema import Schema

USERS_AT_ONCE = 4096
"""Conditions of all users are made for so many at a time: with the defaults, attention takes 3 MiB a domain."""


class Conditioned(Recommender):
    """Scores an item by the dot product of its frozen vector with the user's condition in the item's domain.

        score(u, i) = condition_d(u) . v_i,    condition_d(u) = s conditioner(u / s, d),    d the domain of item i

    Users and items are vectors that an earlier run left (`views.vectors`); only the conditioner is trained. s is the
    root mean square of the numbers of users with train rows, so that it is given numbers of size 1 however long the
    vectors are. It is measured once, before training, and kept in the checkpoint.

    Args:
        schema: sizes of the data.
        heads: of the attention, a divisor of the vectors' width.
        num_tokens: prototypes of each domain.
        shared_tokens: tokens that belong to all domains.
        mode: `film`, `residual` or `attention`; see `AttentionConditioner`.
        dropout: of attention weights in training, from 0 to less than 1.
        history: so many of the user's newest items, of any domain, take part as tokens too, 0 for none. The item to
            predict is not among them.

    Raises:
        InputError: an argument is out of its range, or the data bring no vectors.
    """

    reads_vectors = True
    user_scale: Tensor
    item_scale: Tensor

    def __init__(
        self,
        schema: Schema,
        heads: int = 4,
        num_tokens: int = 8,
        shared_tokens: int = 4,
        mode: Mode = "film",
        dropout: float = 0.0,
        history: int = 0,
    ) -> None:
        super().__init__(schema)
        require_vectors(schema, "Conditioned")
        if not 0 <= history <= schema.history_length:
            raise InputError(
                f"Conditioned reads a history of 0 to {schema.history_length} items (data.history_length of the "
                f"interactions), and was given {history}."
            )
        self.history, self.reads_history = history, history > 0
        self.conditioner = AttentionConditioner(
            schema.vector_width, heads, max(1, len(schema.domains)), dropout, num_tokens, shared_tokens, mode
        )
        for name in ("user_scale", "item_scale"):
            self.register_buffer(name, torch.ones(()))

    @torch.no_grad()
    def standardise(self, views: Views) -> None:
        """Measure the size of the vectors of users and items with train rows.

        Raises:
            InputError: users have several vectors each.
        """
        self.user_scale.copy_(_size(_one_each(views)[views.train.degree > 0]))
        self.item_scale.copy_(_size(views.vectors.item[views.popularity > 0]))

    def encode(self, views: Views) -> Embeddings:
        """Conditions of users side by side, and items in the block of their domain."""
        return by_domain(*self.vectors(views), domain_of(views))

    def vectors(self, views: Views) -> Vectors:
        """The conditions (U, M, D), and the items as they came (I, D)."""
        return Vectors(self.conditions(views), views.vectors.item)

    def conditions(self, views: Views) -> Tensor:
        """Conditions of all users in every domain, (U, M, D)."""
        users = blocks(self.num_users, USERS_AT_ONCE, views.device)
        return torch.cat([self.conditions_of(views, user) for user in users])

    def conditions_of(self, views: Views, user: Tensor, item: Tensor | None = None) -> Tensor:
        """Conditions of users (B,) in every domain, (B, M, D).

        Args:
            views: the vectors, and the histories if they are read.
            user: (B,).
            item: (B,) left out of each user's history, as it is to be predicted.
        """
        own, context, mask = self._inputs(views, user, item)
        every = self.conditioner.all_domains(own, context, mask) * self.user_scale
        return every.to(views.vectors.user.dtype)

    def attention(self, views: Views, user: Tensor) -> Tensor:
        """What users (B,) attend to in every domain, (B, M, heads, tokens): prototypes, shared tokens, history."""
        own, context, mask = self._inputs(views, user, None)
        return self.conditioner.all_domains(own, context, mask, need_weights=True)[1]

    def _inputs(self, views: Views, user: Tensor, item: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Users (B, D), and the items of their histories (B, L, D) with what is real of them (B, L)."""
        dtype = self.conditioner.query.weight.dtype  # of the parameters, which may be half where vectors are single
        own = (_one_each(views)[user] / self.user_scale).to(dtype)
        if not self.history:
            return own, None, None
        entries = views.history.of(user) if item is None else views.history.without(user, item)
        first = (entries.mask.sum(1) - self.history).clamp(min=0)
        place = first[:, None] + torch.arange(self.history, device=user.device)
        tokens = views.derive(_padded)[entries.item.gather(1, place)] / self.item_scale
        return own, tokens.to(dtype), entries.mask.gather(1, place)


def _one_each(views: Views) -> Tensor:
    """Vectors of users, (U, D).

    Raises:
        InputError: users have several each.
    """
    user = views.vectors.user
    if user.dim() != 2:
        raise InputError(
            "Conditioned makes a vector of each user for every domain out of one, and the file in data.vectors holds "
            f"{user.shape[1]} of each. Give the vectors of a model such as GAT or LightGCN."
        )
    return user


def _padded(views: Views) -> Tensor:
    """Items, and zeros in the place of padding: (I + 1, D)."""
    return nn.functional.pad(views.vectors.item, (0, 0, 0, 1))


def _size(rows: Tensor) -> Tensor:
    """Root mean square of numbers; 1 where all are 0, or there are none."""
    size = rows.square().mean().sqrt()
    return torch.where(size > 0, size, 1.0)
