"""What is done to raw interactions before anything is trained on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Filters and split, applied in the order of the fields.

    Attributes:
        duplicates: which row of a repeated (user, item) pair stays: the last or first by time, or by place in the file
            where there is no time (rows of equal time: the higher rating counts as later); `error` refuses them.
        min_rating: lower ratings are dropped.
        positive: rows rated lower are kept, but are no positives: histories tell of them, and they are neither
            recommended, held to be found, nor drawn as negatives (but by InBatch, which takes what others like).
            Without it every row is a positive.
        limit_items: keep the most popular items only, ties by id.
        limit_users: keep the most active users only, ties by id.
        limit_interactions: keep a random sample of the rows, the same for any order of rows.
        user_core: keep users with at least so many rows, repeated together with `item_core` until both hold.
        item_core: keep items with at least so many rows. Cores are fitted on all rows, before the split.
        split: `global_time` cuts at points in time; `leave_last_out` holds out each user's last rows; `random` holds
            out random rows of each user; `official` takes the publisher's split and cuts val out of its train part;
            `cold_items` holds out all rows of random items, so that train has none of them.
        val: what goes to val: a share below 1, or a number of rows (of each user; of all for global_time), for
            cold_items of items. 0 for none.
        test: what goes to test, likewise; without meaning for an official split.
        unseen_items: val and test rows of items that train lacks are dropped, or kept; the split cold_items keeps them.
        seed: of random choices.
    """

    duplicates: Literal["last", "first", "error"] = "last"
    min_rating: float | None = None
    positive: float | None = None
    limit_items: int | None = None
    limit_users: int | None = None
    limit_interactions: int | None = None
    user_core: int = 0
    item_core: int = 0
    split: Literal["global_time", "leave_last_out", "random", "official", "cold_items"] = "global_time"
    val: float = 0.1
    test: float = 0.1
    unseen_items: Literal["drop", "keep"] = "drop"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("val", "test"):
            size = getattr(self, name)
            if not size >= 0 or (size >= 1 and size != int(size)):
                raise InputError(
                    f"{name}: {size} is neither a share (0 <= {name} < 1) nor a whole number. "
                    f"Say for example {name}: 0.1 or {name}: 1."
                )
        if self.val < 1 and self.test < 1 and self.val + self.test >= 1:
            raise InputError(f"val: {self.val} and test: {self.test} leave no share for train. Let them add up to < 1.")
        for name in ("limit_items", "limit_users", "limit_interactions"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise InputError(f"{name}: {limit} keeps nothing. Say a positive number, or leave it out.")
        for name in ("user_core", "item_core"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: {getattr(self, name)} is negative. Say 0 for no core.")

    @property
    def keeps_unseen_items(self) -> bool:
        """Whether val and test rows of items that train lacks are kept."""
        return self.unseen_items == "keep" or self.split == "cold_items"

    @property
    def split_name(self) -> str:
        """The split in words, as reports show it."""
        test = "" if self.split == "official" else f", test {self.test:g}"
        positive = "" if self.positive is None else f", positives from {self.positive:g}"
        return f"{self.split}, val {self.val:g}{test}{positive}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as cache keys and manifests hold them."""
        return asdict(self)
