"""A prepared data set: indexed, split, fingerprinted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.filters import Step
from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.rows import count, offsets
from recsys_lightning.data.vocabulary import Attribute, attributes, multi_hot
from recsys_lightning.schema import SPLITS, TRAIN, Schema

if TYPE_CHECKING:
    from recsys_lightning.batches import CSR, Views
    from recsys_lightning.data.graph import TypedGraph
    from recsys_lightning.data.item_features.fit import ItemFeatures
    from recsys_lightning.data.text.item_text import ItemText
    from recsys_lightning.data.vectors import FrozenVectors

TIME_BUCKETS = 16
"""Buckets of histories: the last one begins at 2^15 - 1 hours, 3.7 years."""

MAX_LEVELS = 32
"""Most rating levels: more distinct ratings are grouped by quantiles."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that training and evaluation need of one data set.

    Attributes:
        name: of the data set.
        item_type: node type of the items.
        attributes: node type of each item column that can become nodes.
        interactions: rows sorted by (user, item); codes are the final indices, `split` is set. Items that occur in
            train rows come first, so that held-out rows change no index that training sees.
        items: row r describes item r: `item_id`, `title` (the id where there is none), attribute columns.
        users: row r describes user r: `user_id`, attribute columns.
        steps: what each step of preparation left, for the data card.
        split: how the split was made, in words.
        fingerprint: what `fingerprint` makes of the interactions and of `positive`.
        on_request: node types that are no part of a graph unless asked for.
        positive: rows rated lower are no positives; None where all rows are.
        later: item columns that were gathered after the interactions.
    """

    name: str
    item_type: str
    attributes: dict[str, str]
    interactions: Interactions
    items: pd.DataFrame
    users: pd.DataFrame
    steps: tuple[Step, ...]
    split: str
    fingerprint: str
    on_request: tuple[str, ...] = ()
    positive: float | None = None
    later: tuple[str, ...] = ()

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.items)

    def mask(self, *splits: str) -> NDArray[np.bool_]:
        """(N,) rows of the named splits."""
        label = self.interactions.split
        assert label is not None
        chosen = np.array([name in splits for name in SPLITS])
        if unknown := set(splits) - set(SPLITS):
            raise ValueError(f"no such split: {', '.join(sorted(unknown))}; there are {', '.join(SPLITS)}")
        return chosen[label] if len(splits) != 1 else label == SPLITS.index(splits[0])

    def positives(self, *splits: str) -> NDArray[np.bool_]:
        """(N,) rows of the named splits that are positives."""
        mask = self.mask(*splits)
        rating = self.interactions.rating
        return mask if self.positive is None or rating is None else mask & (rating >= self.positive)

    def csr(self, *splits: str) -> CSR:
        """Items of each user (U rows) in the positives of the named splits."""
        return self._csr(self.positives(*splits))

    def known(self, *splits: str) -> CSR:
        """Items of each user (U rows) in all rows of the named splits, positives or not."""
        return self._csr(self.mask(*splits))

    def _csr(self, mask: NDArray[np.bool_]) -> CSR:
        import torch

        from recsys_lightning.batches import CSR

        degree = count(self.interactions.user[mask], self.num_users)
        col = torch.from_numpy(self.interactions.item[mask].astype(np.int64))
        return CSR(torch.from_numpy(offsets(degree)), col)

    def views(
        self,
        *splits: str,
        history_length: int = 50,
        graph: TypedGraph | None = None,
        text: ItemText | None = None,
        features: ItemFeatures | None = None,
        vectors: FrozenVectors | None = None,
    ) -> Views:
        """What a model may see when the named splits are visible, on the CPU.

        Args:
            splits: visible ones, `train` or `train`, `val`.
            history_length: L, entries kept of each user's history.
            graph: what the typed graph holds beside the rows; the default attributes where none is given.
            text: vectors of what is written about the items.
            features: facts of the items.
            vectors: of users and items, out of an earlier run.
        """
        import torch

        from recsys_lightning.batches import Views
        from recsys_lightning.data.history import histories

        def build_graph() -> Any:
            return (graph or self.plain_graph).build(self.interactions.take(self.positives(*splits)))

        def build_history() -> Any:
            rows = self.interactions.take(self.mask(*splits))
            return histories(rows, history_length, self.rating_levels, TIME_BUCKETS)

        genre = self.item_attributes.get("genre")
        genres = None if genre is None else torch.from_numpy(multi_hot(genre, self.num_items))
        build_text = None if text is None else text.tensors
        build_features = None if features is None else features.tensors
        domain = None if self.domain is None else torch.from_numpy(self.domain.astype(np.int64))
        builders = build_graph, build_history, genres, build_text, build_features
        return Views(self.csr(*splits), self.num_items, *builders, domain, None if vectors is None else vectors.tensors)

    def schema(
        self,
        history_length: int = 50,
        graph: TypedGraph | None = None,
        text: ItemText | None = None,
        features: ItemFeatures | None = None,
        vectors: FrozenVectors | None = None,
    ) -> Schema:
        """Sizes and names, as networks and checkpoints know them."""
        graph = graph or self.plain_graph
        written: dict[str, Any] = {} if text is None else {"text_width": text.width, "max_reviews": text.max_reviews}
        if features is not None:
            written |= features.sizes
        if vectors is not None:
            written |= {"vector_width": vectors.width, "vectors": vectors.digest}
        return Schema(
            name=self.name,
            split=self.split,
            fingerprint=self.fingerprint,
            item_type=self.item_type,
            num_nodes=graph.num_nodes,
            edge_types=graph.edge_types,
            rating_levels=len(self.rating_levels),
            time_buckets=TIME_BUCKETS,
            history_length=history_length,
            edge_weight=graph.weights.kind,
            num_features=graph.num_features,
            graph=graph.digest,
            context=graph.context_sizes,
            text="" if text is None else text.digest,
            domains=self.domains,
            **written,
        )

    def typed_graph(self, recipe: GraphRecipe, root: Path) -> TypedGraph:
        """What a recipe makes of these data, its files being below `root`.

        Raises:
            InputError: the data or files lack what the recipe wants.
        """
        from recsys_lightning.data.make_graph import make_graph

        return make_graph(self, recipe, root)

    @cached_property
    def plain_graph(self) -> TypedGraph:
        """The graph of the default attributes."""
        return self.typed_graph(PLAIN, Path())

    @cached_property
    def rating_levels(self) -> NDArray[np.float32]:
        """Distinct train ratings, ascending, or their quantiles where they are too many (play counts).

        A single level where there are no ratings.
        """
        rating = self.interactions.rating
        if rating is None:
            return np.ones(1, np.float32)
        levels = np.unique(rating[self.mask(TRAIN)])
        if len(levels) <= MAX_LEVELS:
            return levels
        shares = np.arange(MAX_LEVELS) / MAX_LEVELS
        return np.unique(np.quantile(rating[self.mask(TRAIN)], shares, method="lower"))

    @cached_property
    def in_train(self) -> NDArray[np.bool_]:
        """(I,) items that have train rows."""
        return count(self.interactions.item[self.mask(TRAIN)], self.num_items) > 0

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains; empty where all items are of one."""
        names = self.interactions.domains
        return names if len(names) > 1 else ()

    @property
    def domain(self) -> NDArray[np.int8] | None:
        """(I,) the domain of each item, a position in `domains`; None where all are of one."""
        return self.interactions.domain if self.domains else None

    @cached_property
    def item_attributes(self) -> dict[str, Attribute]:
        """All attributes by node type; vocabularies are those of the items in train rows."""
        return attributes(self.items, self.attributes, self.in_train)


def fingerprint(interactions: Interactions, positive: float | None = None) -> str:
    """Sha256 over ids, pairs, splits, ratings, times, orders, domains of items, and which ratings are positives.

    Equal ones mean equal data, but for the names of the domains.
    """
    digest = hashlib.sha256(b"" if positive is None else f"positive:{positive};".encode())
    for ids in (interactions.user_ids, interactions.item_ids):
        values = ids.to_pylist()
        digest.update(f"{len(values)}:".encode())
        digest.update("".join(f"{len(value)}:{value}" for value in values).encode())
    for name in ("user", "item", "split", "rating", "timestamp", "order", "domain"):
        column = getattr(interactions, name)
        digest.update(f"{name}:{'none' if column is None else f'{column.dtype.str}:{len(column)}'};".encode())
        if column is not None:
            digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
