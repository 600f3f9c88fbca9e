"""All that data and models know of each other: names of columns and splits, and the sizes of one prepared data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from recsys_lightning.errors import InputError

USER_ID, ITEM_ID, RATING, TIMESTAMP, ORDER, DOMAIN, TITLE = (
    "user_id",
    "item_id",
    "rating",
    "timestamp",
    "order",
    "domain",
    "title",
)
TRAIN, VAL, TEST, GIVEN = "train", "val", "test", "given"
SPLITS = (TRAIN, VAL, TEST, GIVEN)
"""Names of the splits; their positions are the codes that `Interactions.split` holds.

Given rows are of users who are held out: models see them when these users are scored, and are never trained on them.
"""

EdgeType = tuple[str, str, str]
"""(source node type, relation, destination node type), as torch-geometric writes it."""

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class Schema:
    """Sizes and names of one prepared data set, as plain values.

    Networks are built from it, checkpoints hold it, so both load without the data.

    Attributes:
        name: data set, e.g. `movietweetings`.
        split: how train, val and test were made, in words.
        fingerprint: digest of the interactions with their split; equal fingerprints mean equal data.
        item_type: node type of the recommended items, e.g. `movie`.
        num_nodes: number of nodes of each type; holds `user` and `item_type`.
        edge_types: edge types of the graph, reverse ones included.
        rating_levels: distinct ratings in train; in histories level 0 is padding, so tables need one row more.
        time_buckets: time buckets in histories; bucket 0 is padding, so tables need one row more.
        history_length: L, the longest history that models read.
        edge_weight: what the weights of the edges between users and items mean; `none` where all weigh the same.
        num_features: width of the feature rows of items in the graph; 0 where there are none.
        graph: digest of what the graph holds beside the interactions: attributes, hierarchies, features, and how
            edges are weighed. Equal fingerprints and graphs mean equal graphs.
        context: context columns of items with the number of their buckets, bucket 0 for what is unknown included.
        text_width: width of the text vectors; 0 where there are none.
        max_reviews: most reviews of an item; 0 where there are none.
        text: digest of the text vectors.
        numbers: names of the numbers among the features of items, such as z-scores.
        categories: kinds of categories among the features of items, with the number of codes of each.
        features: digest of the features of items.
        domains: names of the domains that items belong to, each to one; empty where all are of one.
        vector_width: D of the frozen vectors of users and items; 0 where there are none.
        vectors: digest of these vectors.
        version: of this layout; a checkpoint of another one is refused.
    """

    name: str
    split: str
    fingerprint: str
    item_type: str
    num_nodes: dict[str, int]
    edge_types: tuple[EdgeType, ...]
    rating_levels: int
    time_buckets: int
    history_length: int
    edge_weight: str = "none"
    num_features: int = 0
    graph: str = ""
    context: dict[str, int] = field(default_factory=dict)
    text_width: int = 0
    max_reviews: int = 0
    text: str = ""
    numbers: tuple[str, ...] = ()
    categories: dict[str, int] = field(default_factory=dict)
    features: str = ""
    domains: tuple[str, ...] = ()
    vector_width: int = 0
    vectors: str = ""
    version: int = SCHEMA_VERSION

    @property
    def num_users(self) -> int:
        """U."""
        return self.num_nodes["user"]

    @property
    def num_items(self) -> int:
        """I."""
        return self.num_nodes[self.item_type]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint stores them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Schema:
        """Inverse of `to_dict`.

        Raises:
            InputError: the values were written by another version of this layout.
        """
        version = values.get("version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"The checkpoint holds a schema of version {version}; this program reads version {SCHEMA_VERSION}. "
                "Train again, or use the version of recsys_lightning that wrote it."
            )
        edge_types = tuple((str(a), str(b), str(c)) for a, b, c in values["edge_types"])
        names = {name: tuple(values[name]) for name in ("numbers", "domains")}
        return cls(**{**values, "edge_types": edge_types, **names})
