"""What travels from data to models: batches of index tensors, and the resident views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.schema import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Derived = TypeVar("Derived")


class PairBatch(NamedTuple):
    """A training batch of positives with their negatives.

    `negative` is (B, K), one row of negatives for each positive, or (N,), negatives shared by the whole batch.
    """

    user: Tensor  # (B,)
    item: Tensor  # (B,)
    negative: Tensor  # (B, K) or (N,)
    item_log_q: Tensor  # (B,), log-probability that the sampler draws this item as a negative
    negative_log_q: Tensor  # as negative


class RankingBatch(NamedTuple):
    """Users to rank for, with what is masked and what is looked for. Pairs are (row in the batch, item).

    `domain` is the one whose items are ranked; None where all items are.
    """

    user: Tensor  # (B,)
    seen: Tensor  # (2, S)
    relevant: Tensor  # (2, R)
    domain: int | None = None


class UserDomainBatch(NamedTuple):
    """A training batch of users in domains, with an item of theirs there.

    `item` is a random one of the user's train items in the domain, and any item of the domain where `known` is False,
    as the user has none there.
    """

    user: Tensor  # (B,)
    domain: Tensor  # (B,)
    item: Tensor  # (B,)
    known: Tensor  # (B,) bool
    negative: Tensor  # (B, K) items of the domain that the user does not have


class CSR(NamedTuple):
    """Rows of indices: row r holds `col[crow[r]:crow[r + 1]]`, ascending."""

    crow: Tensor  # (rows + 1,)
    col: Tensor  # (entries,)

    @property
    def degree(self) -> Tensor:
        """(rows,) entries in each row."""
        return self.crow.diff()

    @property
    def row(self) -> Tensor:
        """(entries,) the row of each entry."""
        rows = torch.arange(len(self.crow) - 1, device=self.crow.device)
        return rows.repeat_interleave(self.degree, output_size=len(self.col))

    def select(self, rows: Tensor) -> Tensor:
        """Entries of the chosen rows as pairs (position in `rows`, index): (2, entries), vectorised."""
        start, count = self.crow[rows], self.crow[rows + 1] - self.crow[rows]
        position = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
        first = count.cumsum(0) - count
        offset = torch.arange(len(position), device=rows.device) - first[position]
        return torch.stack([position, self.col[start[position] + offset]])

    def within(self, chosen: Tensor) -> CSR:
        """The entries that are among the chosen indices (n,), one or more and ascending, by their place among them."""
        place = torch.searchsorted(chosen, self.col).clamp_max(len(chosen) - 1)
        inside = chosen[place] == self.col
        before = torch.cat([self.crow.new_zeros(1), inside.cumsum(0)])
        return CSR(before[self.crow], place[inside])


class Entries(NamedTuple):
    """Histories of a batch of users, oldest entry first, padded on the right as in `History`."""

    item: Tensor  # (B, L)
    rating: Tensor  # (B, L)
    time: Tensor  # (B, L)
    mask: Tensor  # (B, L), True = real entry


class History(NamedTuple):
    """The most recent visible rows of each user, oldest first, padded on the right: one more than a model reads.

    Padding holds item `num_items` (a reserved row past the last real item), rating level 0, time bucket 0, mask False.
    The one entry more moves in when another is left out.
    """

    item: Tensor  # (U, L + 1)
    rating: Tensor  # (U, L + 1), levels 1.. ascending with the rating
    time: Tensor  # (U, L + 1), buckets 1.. of the log gap to the user's newest entry
    time_before: Tensor  # (U, L + 1), likewise to the newest entry but one; of the newest itself, 0
    mask: Tensor  # (U, L + 1), True = real entry
    by_place: Tensor  # (), whether gaps count places in the history, as there are no timestamps

    def of(self, user: Tensor) -> Entries:
        """The newest L entries of users (B,)."""
        return self._dropping(user, self._surplus(user), self.time[user])

    def without(self, user: Tensor, item: Tensor) -> Entries:
        """The newest L entries of users (B,) as they would be had each never met the item (B,).

        No row of the pair reaches what is returned: the entry after the last one moves in for it, and gaps are counted
        from the newest entry that is left.
        """
        hit = self.item[user] == item[:, None]
        met = hit.any(1)
        drop = torch.where(met, hit.int().argmax(1), self._surplus(user))
        newest = drop == self.mask[user].sum(1) - 1
        older = torch.arange(hit.shape[1], device=user.device) < drop[:, None]
        nearer = older & (met & (newest | self.by_place))[:, None]
        return self._dropping(user, drop, torch.where(nearer, self.time_before[user], self.time[user]))

    def _surplus(self, user: Tensor) -> Tensor:
        """(B,) the place that is one too many: the oldest entry's where all are taken, else the last, of padding."""
        last = self.mask.shape[1] - 1
        return torch.where(self.mask[user, last], 0, last)

    def _dropping(self, user: Tensor, drop: Tensor, time: Tensor) -> Entries:
        """Entries but for one place (B,) of each row."""
        place = torch.arange(self.mask.shape[1] - 1, device=drop.device)
        place = place + (place >= drop[:, None])
        row = user[:, None]
        return Entries(self.item[row, place], self.rating[row, place], time.gather(1, place), self.mask[row, place])


class Text(NamedTuple):
    """Frozen vectors of what is written about items: an overview each, and reviews."""

    overview: Tensor  # (I, D), rows of zeros where there is none
    known: Tensor  # (I,) bool, whether there is one
    review: Tensor  # (N, D), those of item i are rows crow[i]:crow[i + 1]
    crow: Tensor  # (I + 1,)

    @property
    def num_reviews(self) -> Tensor:
        """(I,) reviews of each item."""
        return self.crow.diff()


class Features(NamedTuple):
    """Facts of items, as numbers and as codes of categories."""

    numbers: Tensor  # (I, F), such as z-scores; 0 where unknown
    categories: tuple[CSR, ...]  # (I rows) of codes, for each kind of `Schema.categories` in its order

    def to(self, device: torch.device) -> Features:
        """The same on another device."""
        categories = tuple(CSR(codes.crow.to(device), codes.col.to(device)) for codes in self.categories)
        return Features(self.numbers.to(device), categories)


class Vectors(NamedTuple):
    """Frozen vectors of users and items, as an earlier run left them."""

    user: Tensor  # (U, D), or (U, M, D) one for each domain
    item: Tensor  # (I, D)


class Views:
    """The resident tensors of one stage: all that a model may see, built from the rows of that stage only.

    Graph, histories, texts and features are built when first asked for: most models need none of them.

    Args:
        train: items of each user in the visible rows, (U rows).
        num_items: I.
        build_graph: makes the typed graph.
        build_history: makes the user histories.
        genres: (I, G) 0/1 float, for genre diversity; None where the data has no genres.
        build_text: makes the text vectors.
        build_features: makes the features of items.
        domain: (I,) the domain of each item; None where there is one.
        build_vectors: makes the frozen vectors.
    """

    def __init__(
        self,
        train: CSR,
        num_items: int,
        build_graph: Callable[[], HeteroData] | None = None,
        build_history: Callable[[], History] | None = None,
        genres: Tensor | None = None,
        build_text: Callable[[], Text] | None = None,
        build_features: Callable[[], Features] | None = None,
        domain: Tensor | None = None,
        build_vectors: Callable[[], Vectors] | None = None,
    ) -> None:
        self.train = train
        self.num_items = num_items
        self.genres = genres
        self._build_graph = build_graph
        self._build_history = build_history
        self._build_text = build_text
        self._build_features = build_features
        self.domain = domain
        self._build_vectors = build_vectors
        self._derived: dict[Callable[[Views], object], object] = {}

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.train.crow.device

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.train.crow) - 1

    @cached_property
    def popularity(self) -> Tensor:
        """(I,) interactions of each item in the visible rows, as int64."""
        return torch.bincount(self.train.col, minlength=self.num_items)

    @cached_property
    def members(self) -> list[Tensor]:
        """(I_d,) the items of each domain, ascending; their places there are what is local to it."""
        if self.domain is None:
            return [torch.arange(self.num_items, device=self.device)]
        return [(self.domain == code).nonzero()[:, 0] for code in range(int(self.domain.max()) + 1)]

    @cached_property
    def rows_in_domains(self) -> Tensor:
        """(U, M) visible rows of each user in each domain."""
        number = len(self.members)
        domain = 0 if self.domain is None else self.domain[self.train.col]
        place = self.train.row * number + domain
        return torch.bincount(place, minlength=self.num_users * number).view(-1, number)

    @cached_property
    def graph(self) -> HeteroData:
        """The typed graph, on this device."""
        return _made(self._build_graph, "a graph").to(str(self.device))

    @cached_property
    def history(self) -> History:
        """The user histories, on this device."""
        return History(*(tensor.to(self.device) for tensor in _made(self._build_history, "histories")))

    @cached_property
    def text(self) -> Text:
        """The text vectors, on this device."""
        return Text(*(tensor.to(self.device) for tensor in _made(self._build_text, "texts")))

    @cached_property
    def features(self) -> Features:
        """The features of items, on this device."""
        return _made(self._build_features, "features").to(self.device)

    @cached_property
    def vectors(self) -> Vectors:
        """The frozen vectors, on this device."""
        return Vectors(*(tensor.to(self.device) for tensor in _made(self._build_vectors, "vectors")))

    def derive(self, build: Callable[[Views], Derived]) -> Derived:
        """`build(self)`, computed once and kept as long as these views: adjacency matrices and the like."""
        if build not in self._derived:
            self._derived[build] = build(self)
        return self._derived[build]  # type: ignore[return-value]

    def to(self, device: torch.device | str) -> Views:
        """The same views on another device; themselves where they lie there already."""
        target = torch.device(device)
        if target == self.device:
            return self
        train = CSR(self.train.crow.to(target), self.train.col.to(target))
        genres = None if self.genres is None else self.genres.to(target)
        domain = None if self.domain is None else self.domain.to(target)
        builders = self._build_graph, self._build_history, genres, self._build_text, self._build_features
        return Views(train, self.num_items, *builders, domain, self._build_vectors)

    def without(self, rows: Tensor, attributes: Mapping[EdgeType, Tensor] | None = None) -> Views:
        """The views as they would be if some rows had never been, nor the graph's edges that stand for them.

        Items stay known, and so do their genres for diversity. The weights of the edges that are left, by recency,
        rating or count, stay as they were made from all rows: only a graph made anew would say what they would be
        without these. Histories cannot tell what would have come in their
        place: a model that asks for them is refused.

        Args:
            rows: (K,) positions in `train.col`, each once or more.
            attributes: likewise positions of edges by edge type, forward ones; the reverse edges go with them.
        """
        kept = _kept(len(self.train.col), rows)
        before = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.cumsum(0)])
        train = CSR(before[self.train.crow], self.train.col[kept])
        dropped = dict(attributes or {})

        def graph() -> HeteroData:
            whole = self.graph
            chosen = {}
            rates = [kind for kind in whole.edge_types if kind[0] == "user"]  # of each domain, in their order
            code = None if len(rates) == 1 or self.domain is None else self.domain[self.train.col]
            for source, name, target in whole.edge_types:
                forward = (target, name.removeprefix("rev_"), source) if name.startswith("rev_") else None
                edge_type = forward or (source, name, target)
                if edge_type in rates:
                    chosen[source, name, target] = kept if code is None else kept[code == rates.index(edge_type)]
                elif edge_type in dropped:
                    chosen[source, name, target] = _kept(whole[edge_type].num_edges, dropped[edge_type])
            return whole.edge_subgraph(chosen)

        builders = self._build_graph and graph, _no_history, self.genres, self._build_text, self._build_features
        return Views(train, self.num_items, *builders, self.domain, self._build_vectors)


def _made(build: Callable[[], Derived] | None, name: str) -> Derived:
    if build is None:
        raise RuntimeError(f"these views were made without {name}")
    return build()


def _no_history() -> History:
    raise InputError(
        "The model reads histories, and what they would hold without some rows is not known. Use an explainer that "
        "takes no edges away, and measure no fidelity."
    )


def _kept(size: int, dropped: Tensor) -> Tensor:
    """(size,) True but for the dropped positions."""
    kept = torch.ones(size, dtype=torch.bool, device=dropped.device)
    kept[dropped] = False
    return kept
