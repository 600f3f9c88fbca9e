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
        orphans: rows of items that the table of items lacks are kept, or dropped.
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
            `item_cold` holds out random items with all their rows, `user_cold` random users.
        val: what goes to val: a share below 1, or a number of rows (of each user; of all for global_time), for
            item_cold of items, for user_cold of users. 0 for none.
        test: what goes to test, likewise; without meaning for an official split.
        shots: for item_cold, so many first rows of each held-out item go to train all the same. For user_cold, so many
            first rows of each held-out user are given: models see them when they score the user, and are never trained
            on them. First by time; of a user by order where there is no clock; else at random. With `positive` only
            positives are counted, and rows rated lower go along with those before which they come.
        reserve: so many first rows of each held-out item or user, counted likewise, are never val or test, whatever
            `shots` is: those that shots leaves are dropped. The same rows are tested for any shots up to it. Who has
            no more positives than `shots` and `reserve` is not held out.
        unseen_items: val, test and given rows of items that train lacks are dropped, or kept; item_cold keeps them.
        seed: of random choices.
    """

    duplicates: Literal["last", "first", "error"] = "last"
    orphans: Literal["keep", "drop"] = "keep"
    min_rating: float | None = None
    positive: float | None = None
    limit_items: int | None = None
    limit_users: int | None = None
    limit_interactions: int | None = None
    user_core: int = 0
    item_core: int = 0
    split: Literal["global_time", "leave_last_out", "random", "official", "item_cold", "user_cold"] = "global_time"
    val: float = 0.1
    test: float = 0.1
    shots: int = 0
    reserve: int = 0
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
        self._check_shots()

    def _check_shots(self) -> None:
        for name in ("shots", "reserve"):
            size = getattr(self, name)
            if size < 0:
                raise InputError(f"{name}: {size} is negative. Say 0 for none.")
            if size and self.split not in ("item_cold", "user_cold"):
                raise InputError(
                    f"{name}: {size} is of the splits item_cold and user_cold, and the split is {self.split}. "
                    f"Leave {name} out, or choose one of these splits."
                )
        if 0 < self.reserve < self.shots:
            raise InputError(
                f"shots: {self.shots} is more than reserve: {self.reserve} keeps apart. Say reserve: {self.shots} or "
                "more, the same for all runs that are compared, or leave reserve out."
            )

    @property
    def depth(self) -> int:
        """How many first positives of each held-out item or user are neither val nor test."""
        return max(self.shots, self.reserve)

    @property
    def keeps_unseen_items(self) -> bool:
        """Whether held-out rows of items that train lacks are kept."""
        return self.unseen_items == "keep" or self.split == "item_cold"

    @property
    def split_name(self) -> str:
        """The split in words, as reports show it."""
        test = "" if self.split == "official" else f", test {self.test:g}"
        positive = "" if self.positive is None else f", positives from {self.positive:g}"
        return f"{self.split}, val {self.val:g}{test}{self._known}{positive}"

    @property
    def _known(self) -> str:
        """What is known of each held-out item or user, in words."""
        if not self.depth:
            return ""
        what, place = ("item", "in train") if self.split == "item_cold" else ("user", "given")
        reserve = f" of {self.reserve} reserved" if self.reserve else ""
        return f", {self.shots}{reserve} row{'s' * (self.depth != 1)} of each held-out {what} {place}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as cache keys and manifests hold them."""
        return asdict(self)
