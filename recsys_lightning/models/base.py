"""The Recommender contract: the one door through which every model is trained, evaluated, exported and explained."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, PairBatch, Vectors, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.sparse import rows_at
from recsys_lightning.schema import Schema

State: TypeAlias = Any
"""What `encode` returns and only the same model reads."""


class Embeddings(NamedTuple):
    """The usual state: one vector for each user and each item."""

    user: Tensor  # (U, D)
    item: Tensor  # (I, D)


class Recommender(nn.Module):
    """Turns resident views into scores for (user, item).

    The defaults serve a model whose state is `Embeddings` and whose score is the dot product. A model with another
    scorer overrides `score` and `cross`; the contract tests hold the two equal.

    Args:
        schema: sizes of the data the model is built for.
    """

    closed_form: ClassVar[bool] = False
    """True for a model that `fit` solves: it is not trained and needs no checkpoint."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Names of parameters (n, D) of which a training step reads single rows, by `rows_at`: processes can share them."""

    reads_graph: bool = False
    """True for a model of `views.graph`: a checkpoint of it is good for data of the same graph only."""

    has_two_views: bool = False
    """True for a model whose users consist of `two_views`."""

    reads_text: bool = False
    """True for a model of `views.text`: likewise for the same texts."""

    reads_features: bool = False
    """True for a model of `views.features`: likewise for the same features of items."""

    folds_in: bool = False
    """True for a model whose `users_of` knows users who are not in the data."""

    reads_history: bool = False
    """True for a model of `views.history`: likewise for histories of the same length."""

    reads_vectors: bool = False
    """True for a model of `views.vectors`: likewise for the same vectors."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.num_users = schema.num_users
        self.num_items = schema.num_items

    def encode(self, views: Views) -> State:
        """Everything that does not depend on which users are asked for.

        Called once per training step and once per evaluation epoch.
        """
        raise NotImplementedError

    def encode_for(self, views: Views, batch: PairBatch) -> State:
        """What `encode` returns, good for the users and items of a training batch at least.

        A model that can do with less than all users and items, or that must not see the batch's own interactions,
        overrides this.
        """
        return self.encode(views)

    def users(self, state: State, user: Tensor) -> Tensor:
        """Representations of users (B,) -> (B, D)."""
        return rows_at(state.user, user)

    def users_without(self, state: State, user: Tensor, item: Tensor) -> Tensor:
        """Representations (B, D) of users (B,) as if each had not the item (B,): from these, training predicts it.

        A model that represents a user by a summary of the user's own items overrides this, so that the target is never
        among what predicts it.
        """
        return self.users(state, user)

    def users_of(self, state: State, own: CSR) -> Tensor:
        """Representations (B, D) of users who are not in the data, by the items that each has (B rows).

        For models that fold in; nothing is trained.
        """
        raise NotImplementedError

    def items(self, state: State, item: Tensor | None = None) -> Tensor:
        """Representations of items: any shape (...) -> (..., D); of all items (I, D) where none are named."""
        if item is None:
            whole: Tensor = state.item
            return whole
        return rows_at(state.item, item)

    def score(self, u: Tensor, i: Tensor) -> Tensor:
        """Scores of paired representations (..., D), (..., D) -> (...); leading dimensions broadcast."""
        return (u * i).sum(-1)

    def cross(self, u: Tensor, i: Tensor) -> Tensor:
        """Scores of every user with every item: (B, D), (N, D) -> (B, N)."""
        return u @ i.T

    def score_all(self, u: Tensor, state: State) -> Tensor:
        """Scores of users for the whole catalogue: (B, D) -> (B, I)."""
        return self.cross(u, self.items(state))

    def vectors(self, views: Views) -> Vectors:
        """Vectors of all users and items whose dot products are the scores: what other models may stand on.

        Raises:
            InputError: scores are no dot products of one vector for each user and each item.
        """
        if type(self).score is not Recommender.score:
            raise InputError(
                f"{type(self).__name__} has no vectors whose dot products are its scores, so there are none to write. "
                "Write those of a model that has, such as GAT, LightGCN or MF."
            )
        state = self.encode(views)
        user = torch.arange(self.num_users, device=views.device)
        return Vectors(self.users(state, user), self.items(state))

    def two_views(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The two views that representations of users (B, ...) consist of, (B, D) each, where the model has two.

        A contrastive loss brings them together.
        """
        raise NotImplementedError

    def terms(self, state: State, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """The parts, by name, that add up to the scores of pairs: (B,), (B,) -> (B,) each."""
        return {"base": self.score(self.users(state, user), self.items(state, item))}

    def auxiliary(self, state: State, batch: PairBatch) -> Tensor | None:
        """What the model adds to the loss of a training batch by itself, a scalar; None where it adds nothing."""
        return None

    def penalty(self, state: State, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings that a batch touches, divided by B; a scalar.

        The papers' weight decay: only the batch's rows shrink. Zero for models without such embeddings.
        """
        return torch.zeros((), device=user.device)

    def estimate_memory(self, views: Views, batch_size: int) -> dict[str, int] | None:
        """Bytes that training takes by part, and in `total`; None where a model does not say.

        Args:
            views: the graph.
            batch_size: positives of a step.
        """
        return None

    def fit(self, views: Views) -> None:
        """Solve a closed-form model from the visible rows. Trained models have nothing to do here."""
