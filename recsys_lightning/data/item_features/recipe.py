"""Which facts of items become features."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class FeatureRecipe:
    """Which columns of the items become numbers, and which become codes of categories; train decides all of it.

    Attributes:
        numbers: columns of numbers, as z-scores; one more number says where a value is unknown.
        logs: columns of numbers from 0 on with a long tail (prices, counts): z-scores of log(1 + x).
        title: whether numbers of the title are made: its words, characters, longest word and the like.
        categories: columns of one or several values (genres, authors), of which the most frequent become codes.
        top: codes of each such column at most, the values that most items of train have.
        min_items: values that fewer items of train have get no code of their own.
        hashed: codes that all other values of a column share by their hash; 0 leaves them out.
        shuffle: seed with which the items exchange their features at random: a control.
    """

    numbers: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    title: bool = True
    categories: list[str] = field(default_factory=list)
    top: int = 300
    min_items: int = 2
    hashed: int = 0
    shuffle: int | None = None

    def __post_init__(self) -> None:
        if self.top < 1 or self.min_items < 1 or self.hashed < 0:
            raise InputError(
                f"data.features.top is {self.top}, min_items {self.min_items}, hashed {self.hashed}: at least 1, 1 "
                "and 0 are needed."
            )
