"""Popularity of genres: what is recommended of items that nobody has had yet."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import ClosedForm
from recsys_lightning.models.relations import relations
from recsys_lightning.models.sparse import pool, take
from recsys_lightning.schema import Schema

KINDS = ("genre", "tag")
"""Node types that stand for genres; the first one that the graph has counts."""


class GenrePopularity(ClosedForm):
    """Users get items of the genres that they have, and that are popular.

        score(u, i) = sum over the genres g of i of share(u, g) popularity(g)

    share(u, g) is the mean over the user's items of 1 / number of genres for each genre of the item; popularity(g) is
    the mean number of interactions of the genre's items that have any. An item's own interactions are not looked at,
    which makes this the floor for items without them. Items without genres, and users without items, score 0.

    The sum favours items of many genres. Where people add tags to what is popular, their number tells more than a new
    item could know.

    Args:
        schema: sizes of the data; its graph must have genres.

    Raises:
        InputError: the graph has no genres.
    """

    reads_graph = True

    item_crow: Tensor  # (I + 1,) genres of each item
    item_col: Tensor
    popularity: Tensor  # (G,)

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.kind = next((kind for kind in KINDS if kind in schema.num_nodes), "")
        if not self.kind:
            raise InputError(
                f"GenrePopularity needs nodes of type {' or '.join(KINDS)}, and the graph of {schema.name} has none. "
                "Choose a data set with genres, and name them in data.graph.attributes."
            )
        self.num_genres = schema.num_nodes[self.kind]
        self.relation = (schema.item_type, f"has_{self.kind}", self.kind)
        self.relations = relations(schema)

    def solve(self, views: Views) -> None:
        """Genres of the items, and how popular each is."""
        values = views.derive(self.relations)[self.relation].source
        genres = CSR(values.crow.long(), values.col.long())
        item, count = genres.row, views.popularity.float()
        total, known = torch.zeros(2, self.num_genres, device=views.device)
        total.index_add_(0, genres.col, count[item])
        known.index_add_(0, genres.col, (count[item] > 0).float())
        self.keep(item_crow=genres.crow, item_col=genres.col, popularity=total / known.clamp(min=1))

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Sums over each item's genres: (B,) -> (B, I)."""
        worth = self.shares(rows, user) * self.popularity
        return pool(CSR(self.item_crow, self.item_col), worth.T.contiguous()).T

    def shares(self, rows: CSR, user: Tensor) -> Tensor:
        """Shares of the genres in the items of users: (B,) -> (B, G), rows adding up to at most 1."""
        own, genres = take(rows, user), CSR(self.item_crow, self.item_col)
        place, genre = genres.select(own.col)
        row = own.row[place]
        share = torch.zeros(len(user), self.num_genres, device=user.device)
        weight = 1.0 / (genres.degree[own.col[place]] * own.degree[row]).float()
        share.view(-1).index_add_(0, row * self.num_genres + genre, weight)
        return share
