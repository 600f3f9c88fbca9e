"""Which texts of items are read, and what makes vectors of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, get_args

from recsys_lightning.data.text.embedder import TextEmbedder
from recsys_lightning.data.text.tfidf import TfidfSVD
from recsys_lightning.errors import InputError

Control = Literal["none", "shuffled", "random"]

TORCH_FILES, PARQUET_FILES = (".pt", ".pth"), (".parquet",)

_DEFAULT_EMBEDDER = TfidfSVD()


@dataclass(frozen=True)
class TextRecipe:
    """Which texts of items are read, what makes vectors of them, and what is done to these for a control.

    Attributes:
        columns: item columns whose words, in this order, make an item's text. Without it `overview`, or where there is
            none, of title, genres, directors, writers and cast those that are there.
        reviews: item column with lists of texts, each of which gets a vector of its own.
        max_reviews: R, the first so many reviews of an item are kept; 0 for none.
        embedder: what makes a vector of a text.
        vectors: file below the data root with ready vectors, in place of texts: `.pt` as of torch.save, with
            movie_ids, overview_embs, review_embs and review_mask, or Parquet with item_id and vector.
        control: what is lost when text only seems to help: `shuffled` gives each item what is written about another
            one, items of train among themselves; `random` puts Gaussian vectors of the same length in place of all.
        seed: of the control.
    """

    columns: list[str] | None = None
    reviews: str | None = None
    max_reviews: int = 10
    embedder: TextEmbedder = _DEFAULT_EMBEDDER
    vectors: str | None = None
    control: Control = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.columns is not None and not self.columns:
            raise InputError("data.text.columns is empty. Name the item columns that make a text, or leave it out.")
        names = self.columns or []
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"data.text.columns names {', '.join(twice)} more than once. Name each once.")
        if self.max_reviews < 0:
            raise InputError(f"data.text.max_reviews is {self.max_reviews}; it must be 0 (no reviews) or more.")
        if self.control not in get_args(Control):
            raise InputError(f"data.text.control is {self.control}; it can be {', '.join(get_args(Control))}.")
        if self.seed < 0:
            raise InputError(f"data.text.seed is {self.seed}; a seed must be 0 or more.")
        if self.vectors is None:
            return
        given = {
            "columns": self.columns is not None,
            "reviews": self.reviews is not None,
            "embedder": self.embedder != _DEFAULT_EMBEDDER,
        }
        if unread := [name for name, is_given in given.items() if is_given]:
            raise InputError(
                f"data.text.vectors names ready vectors, so data.text.{unread[0]} would not be read. Leave one out."
            )
        if PurePath(self.vectors).suffix.lower() not in TORCH_FILES + PARQUET_FILES:
            raise InputError(
                f"data.text.vectors is {self.vectors}; ready vectors are read from files that end in "
                f"{', '.join(TORCH_FILES + PARQUET_FILES)}."
            )
