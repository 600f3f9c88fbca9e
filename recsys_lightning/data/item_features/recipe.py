"""Which facts of items become features."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class FeatureRecipe:
    """Which columns of the items become numbers, and which become codes of categories; train decides all of it.

    Z-scores beyond ten deviations count as ten. What is unknown is 0, the mean; where it is unknown for an item of
    train, one more number says so with a 1.

    Attributes:
        numbers: columns of numbers, as z-scores.
        logs: columns of numbers from 0 on with a long tail (prices, counts): z-scores of log(1 + x).
        title: whether numbers of the title are made: its words and characters, their mean and longest length, and
            whether it has digits, a colon, or parentheses as those of a series. Those that are equal for all items of
            train are left out.
        categories: columns of texts, one of each item (language) or several (genres, authors): values become codes.
        top: codes of each such column at most: the values that most items of train have, ties by name.
        min_items: values that fewer items of train have get no code of their own.
        hashed: codes that all other values of a column share, by their hash, new ones too; 0 leaves them out.
        shuffle: seed with which the items of train exchange their features among themselves, as do the others: a
            control, in which no item keeps its own.
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
        if self.shuffle is not None and self.shuffle < 0:
            raise InputError(f"data.features.shuffle is {self.shuffle}; a seed must be 0 or more.")
        for option, names in (("numbers and logs", [*self.numbers, *self.logs]), ("categories", self.categories)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(f"data.features names {', '.join(twice)} more than once in {option}. Name each once.")
        if not (self.numbers or self.logs or self.title or self.categories):
            raise InputError("data.features asks for nothing. Name numbers, logs or categories, or leave it out.")

    @property
    def columns(self) -> list[str]:
        """Every column that is named."""
        return [*self.numbers, *self.logs, *self.categories]
