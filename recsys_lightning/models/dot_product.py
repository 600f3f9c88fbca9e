"""Vectors of an earlier run as they are: what every model on top of them has to beat."""

from __future__ import annotations

from typing import ClassVar

from recsys_lightning.batches import Vectors, Views
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.domains import by_domain, domain_of, require_vectors
from recsys_lightning.schema import Schema


class DotProduct(Recommender):
    """The dot product of the data's frozen vectors; there is nothing to train or to solve.

    Where users have a vector for each domain, an item is scored by that for its own.

    Raises:
        InputError: the data bring no vectors.
    """

    closed_form: ClassVar[bool] = True
    reads_vectors = True

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        require_vectors(schema, type(self).__name__)

    def encode(self, views: Views) -> Embeddings:
        """The vectors."""
        user, item = views.vectors
        return Embeddings(user, item) if user.dim() == 2 else by_domain(user, item, domain_of(views))

    def vectors(self, views: Views) -> Vectors:
        """The vectors."""
        return views.vectors
