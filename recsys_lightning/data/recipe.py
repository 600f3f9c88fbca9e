"""What is done to raw interactions before anything is trained on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from recsys_lightning.errors import InputError

Split = Literal["global_time", "leave_last_out", "random", "official", "item_cold", "user_cold", "target_cold"]
ALL = "all"
"""As `shots`: all rows before the tested one."""

_WHOLE = ("item_cold", "user_cold", "target_cold")
"""Splits that hold out items or users, and of which shots are told."""


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
        split: `global_time` cuts at points in time; `leave_last_out` holds out each user's last rows, and `random`
            random ones, in each domain; `official` takes the publisher's split and cuts val out of its train part;
            `item_cold` holds out random items with all their rows, `user_cold` random users; `target_cold` tests the
            last row in the domain `target` of random users who have rows elsewhere too, in place of all that they
            have there.
        val: what goes to val: a share below 1, or a number of rows (of each user; of all for global_time), for
            item_cold of items, for user_cold and target_cold of users. 0 for none.
        test: what goes to test, likewise; an official split has its own.
        target: the domain in which users of target_cold are new.
        shots: for item_cold, so many first rows of each held-out item go to train all the same, and for target_cold so
            many first rows in the target of each held-out user, or `all` before the tested one. For user_cold, so many
            first rows of each held-out user are given: models see them when they score the user, and are never trained
            on them. First by time; of a user by order where there is no clock; else at random. With `positive` only
            positives are counted, and rows rated lower go along with those before which they come.
        reserve: so many first rows of each held-out item or user, counted likewise, are never val or test, whatever
            `shots` is: those that shots leaves are dropped. The same rows are tested for any shots up to it. Who has
            no more positives than `shots` and `reserve` is not held out.
        later_rows: for leave_last_out of several domains and for target_cold, train rows of a user that are later than
            the first held-out row of that user in any domain are dropped, or kept.
        unseen_items: val, test and given rows of items that train lacks are dropped, or kept; item_cold keeps them.
        only: rows of other domains are dropped after the split, so that a model of one domain is tested on the rows
            that a model of all is tested on.
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
    split: Split = "global_time"
    val: float = 0.1
    test: float = 0.1
    target: str | None = None
    shots: int | Literal["all"] = 0
    reserve: int = 0
    later_rows: Literal["drop", "keep"] = "drop"
    unseen_items: Literal["drop", "keep"] = "drop"
    only: str | None = None
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
        if self.split == "official" and self.test != Recipe.test:
            raise InputError(
                f"test: {self.test} was given, and an official split has its own test rows. Leave test out, or choose "
                "another split."
            )
        self._check_shots()
        self._check_domains()

    def _check_shots(self) -> None:
        if self.shots == ALL and self.split != "target_cold":
            raise InputError(
                f"shots: all is of the split target_cold, and the split is {self.split}. Say a number, or leave it out."
            )
        for name, size in (("shots", self.num_shots), ("reserve", self.reserve)):
            if size < 0:
                raise InputError(f"{name}: {size} is negative. Say 0 for none.")
            if size and self.split not in _WHOLE:
                raise InputError(
                    f"{name}: {size} is of the splits {', '.join(_WHOLE[:-1])} and {_WHOLE[-1]}, and the split is "
                    f"{self.split}. Leave {name} out, or choose one of these splits."
                )
        if 0 < self.reserve < self.num_shots:
            raise InputError(
                f"shots: {self.shots} is more than reserve: {self.reserve} keeps apart. Say reserve: {self.shots} or "
                "more, the same for all runs that are compared, or leave reserve out."
            )

    def _check_domains(self) -> None:
        if self.split == "target_cold" and self.target is None:
            raise InputError(
                "The split target_cold asks in which domain users are to be new: say target: and the name of a domain."
            )
        if self.split != "target_cold" and self.target is not None:
            raise InputError(
                f"target: {self.target} is of the split target_cold, and the split is {self.split}. Leave target out, "
                "or say split: target_cold."
            )
        if self.later_rows == "keep" and self.split not in ("leave_last_out", "target_cold"):
            raise InputError(
                f"later_rows: keep is of the splits leave_last_out and target_cold, and {self.split} drops no later "
                "rows. Leave later_rows out."
            )

    @property
    def num_shots(self) -> int:
        """`shots` as a number; 0 for all, as these may be none."""
        return 0 if isinstance(self.shots, str) else self.shots

    @property
    def depth(self) -> int:
        """How many first positives of each held-out item or user are neither val nor test."""
        return max(self.num_shots, self.reserve)

    @property
    def keeps_unseen_items(self) -> bool:
        """Whether held-out rows of items that train lacks are kept."""
        return self.unseen_items == "keep" or self.split == "item_cold"

    @property
    def split_name(self) -> str:
        """The split in words, as reports show it."""
        return self.named()

    def named(self, several: bool = False) -> str:
        """The split in words, as reports show it.

        Args:
            several: whether the data have several domains.
        """
        test = "" if self.split == "official" else f", test {self.test:g}"
        each = " in each domain" if several and self.split in ("leave_last_out", "random") else ""
        target = "" if self.target is None else f", new in {self.target}"
        later = ", later rows kept" if self.later_rows == "keep" else ""
        positive = "" if self.positive is None else f", positives from {self.positive:g}"
        only = "" if self.only is None else f", only {self.only}"
        return f"{self.split}, val {self.val:g}{test}{each}{target}{self._known}{later}{positive}{only}"

    @property
    def _known(self) -> str:
        """What is known of each held-out item or user, in words."""
        if not self.depth and not self.shots:
            return ""
        what, place = {
            "item_cold": ("item", "in train"),
            "user_cold": ("user", "given"),
            "target_cold": ("user", "there in train"),
        }[self.split]
        reserve = f" of {self.reserve} reserved" if self.reserve else ""
        if self.shots == ALL:
            return f", all{f' ({self.reserve} at least)' if self.reserve else ''} earlier rows of each {what} {place}"
        return f", {self.shots}{reserve} row{'s' * (self.depth != 1)} of each held-out {what} {place}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as cache keys and manifests hold them."""
        return asdict(self)
