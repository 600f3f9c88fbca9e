"""The two-tower model: users and items meet in one space, each by an ID where it has one, and by metadata."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Features, PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import mimic as mimics
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.feature_encoder import Categories, FeatureEncoder, chosen, leave_out, mean
from recsys_lightning.models.mimic import unit
from recsys_lightning.models.sparse import blocks, rows_at, take
from recsys_lightning.models.towers import Fusion, IDTable, TowerEncoder
from recsys_lightning.schema import Schema

Mimic: TypeAlias = Literal["none", "metadata", "dat"]
Similarity: TypeAlias = Literal["cosine", "dot"]

BLOCK = 1024
"""Users whose gates are looked at at a time."""


class Encoded(NamedTuple):
    """What scores are made of."""

    rows: CSR  # own items of each user, (U rows)
    own: Tensor | None  # (I, H), the mean of which a user's metadata are made of; None without metadata
    metadata: Tensor | None  # (n, D) of the items that were asked for; None without metadata
    item: Tensor  # (n, D) their vectors
    place: Tensor | None  # (I,) which of the n an item is, n where it is none of them; None where all are there
    categories: CSR | None  # (I rows) of the first kind, where a loss needs them


class TwoTower(Recommender):
    """Score = dot product of what a user's tower and an item's tower say.

        ID vector:        an embedding of each user and item
        metadata vector:  `FeatureEncoder` of the item's features, or of the mean features of the user's own items
        tower:            `TowerEncoder`, which fuses both
        cosine:           unit(user) / temperature . unit(item)

    Users are summaries of their own items, and the item to predict is left out of the summary that predicts it. With
    a fusion that reads metadata, users and items that are not in the data get vectors by metadata alone. So that these
    can stand alone, IDs are hidden at random in training, of whole items and of users of single positives: the tower
    then has what it has of new ones (dropout of inputs as in Volkovs et al., DropoutNet, NeurIPS 2017).

    `mimic` adds losses to training:

        none
        metadata   metadata vectors mimic the IDs of the same users and items (`mimic.imitation`), for cold start
        dat        the dual augmented two-tower: each ID has an augmented vector as one more input of its tower, which
                   mimics what the other tower says of its positives (`mimic.augmentation`), and the item vectors of
                   categories, those of the first kind, are aligned (`mimic.category_alignment`). Source: Yu et al.,
                   DLP-KDD 2021.

    Args:
        schema: sizes of the data.
        dim: D, width of embeddings and towers.
        hidden: width inside of the towers of metadata.
        dropout: of their hidden layer, from 0 to less than 1.
        fusion: see `TowerEncoder`.
        mimic: as above.
        mimic_weight: of the mimic loss, from 0.
        alignment_weight: of the alignment of categories in `dat`, from 0.
        id_dropout: chance of an ID to be hidden in training where there are metadata too, from 0 to less than 1.
        similarity: `cosine` or `dot`.
        temperature: divides cosines, above 0.
        table: how embeddings are kept; sparse gradients need an optimizer that knows them.
        categories: `one_hot` or `learned`; see `FeatureEncoder`.
        category_dim: width of learned categories.

    Raises:
        InputError: an argument is out of its range, or the data lack what it reads.
    """

    def __init__(
        self,
        schema: Schema,
        dim: int = 96,
        hidden: int = 192,
        dropout: float = 0.1,
        fusion: Fusion = "adaptive_mimic",
        mimic: Mimic = "none",
        mimic_weight: float = 0.1,
        alignment_weight: float = 0.1,
        id_dropout: float = 0.4,
        similarity: Similarity = "cosine",
        temperature: float = 0.1,
        table: IDTable = IDTable(),  # noqa: B008 - frozen
        categories: Categories = "one_hot",
        category_dim: int = 16,
    ) -> None:
        super().__init__(schema)
        _refuse_unknown(
            fusion=(fusion, Fusion),
            mimic=(mimic, Mimic),
            similarity=(similarity, Similarity),
            categories=(categories, Categories),
        )
        _refuse_out_of_range(
            least={"dim": (dim, 1), "hidden": (hidden, 1), "category_dim": (category_dim, 1)},
            weights={"mimic_weight": mimic_weight, "alignment_weight": alignment_weight},
            chances={"dropout": dropout, "id_dropout": id_dropout},
            temperature=temperature,
        )
        _refuse_missing(schema, fusion, mimic)
        self.folds_in = fusion != "identity"
        self.reads_features = self.folds_in or mimic == "dat"
        self.mimic, self.mimic_weight, self.alignment_weight = mimic, mimic_weight, alignment_weight
        self.id_dropout = 0.0 if fusion in ("identity", "metadata") else id_dropout
        self.temperature = temperature if similarity == "cosine" else None
        self.features = (
            FeatureEncoder(schema, hidden, dim, dropout, categories, category_dim) if self.folds_in else None
        )
        scaled, augmented = similarity == "dot", mimic == "dat"
        self.user = TowerEncoder(self.num_users, dim, fusion, table, augmented, scaled)
        self.item = TowerEncoder(self.num_items, dim, fusion, table, augmented, scaled)
        self._met = False

    def fit(self, views: Views) -> None:
        """Take note of which IDs training meets, and how often. Training does so at its first step by itself."""
        self.user.degree.copy_(views.train.degree)
        self.item.degree.copy_(views.popularity)
        self._met = True

    # What is encoded

    def encode(self, views: Views) -> Encoded:
        """All items."""
        return self._encoded(views, None, None)

    def encode_for(self, views: Views, batch: PairBatch) -> Encoded:
        """The items that the batch names, or all where these are most; in training, some without their IDs."""
        if self.training and not self._met:
            self.fit(views)
        shown = None
        if self.training and self.id_dropout:
            shown = torch.rand(self.num_items, device=views.device) >= self.id_dropout
        named: Tensor = torch.cat([batch.item, batch.negative.flatten()]).unique()  # type: ignore[no-untyped-call]
        return self._encoded(views, named if 2 * len(named) < self.num_items else None, shown)

    def _encoded(self, views: Views, named: Tensor | None, shown: Tensor | None) -> Encoded:
        index = torch.arange(self.num_items, device=views.device) if named is None else named
        own = metadata = place = None
        if self.features is not None:
            own, metadata = self._metadata(self.features, views.features, named)
        item = self.item(index, metadata, None if shown is None else shown[index])
        if named is not None:
            place = torch.full((self.num_items,), len(named), device=views.device)
            place[named] = torch.arange(len(named), device=views.device)
        categories = views.features.categories[0] if self.mimic == "dat" else None
        return Encoded(views.train, own, metadata, unit(item) if self.temperature else item, place, categories)

    def _metadata(self, encoder: FeatureEncoder, features: Features, named: Tensor | None) -> tuple[Tensor, Tensor]:
        """What users are made of (I, H), and vectors of the named items (n, D) or of all."""
        own = encoder.projected(features, encoder.user)
        item = encoder.projected(features if named is None else chosen(features, named), encoder.item)
        return own, encoder.item.finish(item)

    # Users and items

    def users(self, state: Encoded, user: Tensor) -> Tensor:
        """What the tower says of users by all their own items: (B,) -> (B, D)."""
        return self._similar(self.user(user, self._users_metadata(state, take(state.rows, user))))

    def users_without(self, state: Encoded, user: Tensor, item: Tensor) -> Tensor:
        """Likewise, by their own items but for the item (B,); in training, some without their IDs.

        The gate counts an interaction less, as it does of a user who has not met the item.
        """
        own, met = leave_out(take(state.rows, user), item)
        shown = None
        if self.training and self.id_dropout:
            shown = torch.rand(len(user), device=user.device) >= self.id_dropout
        return self._similar(self.user(user, self._users_metadata(state, own), shown, met.long()))

    def users_of(self, state: Encoded, own: CSR) -> Tensor:
        """What the tower says of users who have no ID, by their own items (B rows): (B, D)."""
        return self._similar(self.user.new(self._vectors_of(state, own)))

    def items(self, state: Encoded, item: Tensor | None = None) -> Tensor:
        """What the tower says of items: (...) -> (..., D), or of all items (I, D)."""
        if state.place is not None and item is not None:
            return rows_at(state.item, state.place[item])
        return super().items(state, item)

    def _users_metadata(self, state: Encoded, own: CSR) -> Tensor | None:
        return None if self.features is None else self._vectors_of(state, own)

    def _vectors_of(self, state: Encoded, own: CSR) -> Tensor:
        """Metadata vectors of users by their own items (B rows): (B, D)."""
        if self.features is None or state.own is None:
            raise NotImplementedError("the fusion identity reads no metadata, and knows nothing of new users")
        return self.features.user.finish(mean(own, state.own))

    def _similar(self, user: Tensor) -> Tensor:
        """Users such that a dot product with items is the similarity."""
        return user if self.temperature is None else unit(user) / self.temperature

    # Losses and reports

    def auxiliary(self, state: Encoded, batch: PairBatch) -> Tensor | None:
        """The losses of `mimic`, weighted; None without."""
        if self.mimic == "metadata":
            return self.mimic_weight * self._imitation(state, batch)
        if self.mimic == "dat":
            return self._dual_augmented(state, batch)
        return None

    def penalty(self, state: Encoded, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings that a batch touches, divided by B; a scalar."""
        touched = self.user.squared(user) + self.item.squared(torch.cat([item, negative.flatten()]))
        return touched / (2 * len(user))

    @torch.no_grad()
    def gates(self, views: Views) -> dict[str, Tensor]:
        """The share of metadata beside the ID, for reports: `item` (I,) and `user` (U,); none without a gate."""
        if self.user.gate is None:
            return {}
        state = self.encode(views)
        assert state.metadata is not None
        item = self.item.share(torch.arange(self.num_items, device=views.device), state.metadata)
        users = (
            self.user.share(user, self._vectors_of(state, take(state.rows, user)))
            for user in blocks(self.num_users, BLOCK, views.device)
        )
        return {"item": item, "user": torch.cat(list(users))}

    def _imitation(self, state: Encoded, batch: PairBatch) -> Tensor:
        """Mean of the losses of the batch's users and of its positives, each of them once."""
        assert self.user.identity is not None and self.item.identity is not None and state.metadata is not None
        user: Tensor = batch.user.unique()  # type: ignore[no-untyped-call]
        item: Tensor = batch.item.unique()  # type: ignore[no-untyped-call]
        of_users = self._vectors_of(state, take(state.rows, user))
        of_items = rows_at(state.metadata, item if state.place is None else state.place[item])
        left = mimics.imitation(of_users, self.user.identity(user), self.user.degree[user])
        right = mimics.imitation(of_items, self.item.identity(item), self.item.degree[item])
        return (left + right) / 2

    def _dual_augmented(self, state: Encoded, batch: PairBatch) -> Tensor:
        """The mimic losses of both sides, and the alignment of categories."""
        assert self.user.augmented is not None and self.item.augmented is not None and state.categories is not None
        with torch.no_grad():
            u = self.users_without(state, batch.user, batch.item) * (self.temperature or 1.0)
        item: Tensor = batch.item.unique()  # type: ignore[no-untyped-call]
        of_user, of_item = self.user.augmented(batch.user), self.item.augmented(batch.item)
        mimicry = mimics.augmentation(of_user, self.items(state, batch.item)) + mimics.augmentation(of_item, u)
        alignment = mimics.category_alignment(self.items(state, item), take(state.categories, item))
        return self.mimic_weight * mimicry + self.alignment_weight * alignment

    # Export: plain arithmetic on rows of features

    def item_rows(self, features: Features) -> Tensor:
        """Rows of items: (I, F')."""
        return self._encoder().rows(features)

    def category_tables(self) -> list[Tensor]:
        """For each kind of categories (codes, width): a row is [numbers; mean of an item's codes of each table]."""
        return self._encoder().category_tables()

    def user_from_row(self, row: Tensor) -> Tensor:
        """Users who have no ID, by the mean of the rows of their own items: (B, F') -> (B, D)."""
        return self._similar(self.user.new(self._encoder().user(row)))

    def item_from_row(self, row: Tensor) -> Tensor:
        """Items that have no ID, by their rows: (B, F') -> (B, D)."""
        item = self.item.new(self._encoder().item(row))
        return unit(item) if self.temperature else item

    def _encoder(self) -> FeatureEncoder:
        if self.features is None:
            raise NotImplementedError("the fusion identity reads no features")
        return self.features


def _refuse_unknown(**chosen: tuple[str, object]) -> None:
    for name, (value, kind) in chosen.items():
        if value not in get_args(kind):
            raise InputError(f"TwoTower knows as {name} {', '.join(get_args(kind))}, and was given {value!r}.")


def _refuse_out_of_range(
    least: dict[str, tuple[int, int]], weights: dict[str, float], chances: dict[str, float], temperature: float
) -> None:
    for name, (value, bound) in least.items():
        if value < bound:
            raise InputError(f"TwoTower needs {name} of at least {bound}, and was given {value}.")
    for name, weight in weights.items():
        if not weight >= 0:
            raise InputError(f"TwoTower needs {name} from 0, and was given {weight}.")
    for name, chance in chances.items():
        if not 0 <= chance < 1:
            raise InputError(f"TwoTower needs {name} from 0 to less than 1, and was given {chance}.")
    if not temperature > 0:
        raise InputError(f"TwoTower needs temperature above 0, and was given {temperature}.")


def _refuse_missing(schema: Schema, fusion: Fusion, mimic: Mimic) -> None:
    if mimic == "metadata" and fusion in ("identity", "metadata"):
        raise InputError(
            f"TwoTower with mimic metadata needs a fusion of IDs and metadata, and was given {fusion}. Set mimic none, "
            "or fusion adaptive_mimic, sum or concat."
        )
    if mimic == "dat" and fusion == "metadata":
        raise InputError("TwoTower with mimic dat needs a fusion with IDs. Set mimic none, or another fusion.")
    if not schema.features and (fusion != "identity" or mimic == "dat"):
        raise InputError(
            f"TwoTower with fusion {fusion} and mimic {mimic} reads features of items, and the data were prepared "
            "without. Say in data.features which columns become features, or set model.recommender.fusion identity "
            "with mimic none."
        )
    if mimic == "dat" and not schema.categories:
        raise InputError(
            "TwoTower with mimic dat aligns categories of items, and there are none. Name some in "
            "data.features.categories, or set mimic none."
        )
