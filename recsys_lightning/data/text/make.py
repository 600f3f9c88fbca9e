"""From prepared data and a recipe to the vectors of what is written about items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsys_lightning.data.text.cache import embedded
from recsys_lightning.data.text.controls import randomised, shuffled
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.data.text.ready import read_ready
from recsys_lightning.data.text.words import overviews, reviews
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.data.prepared import Prepared
    from recsys_lightning.data.text.recipe import TextRecipe


def make_text(prepared: Prepared, recipe: TextRecipe, root: Path, cache: Path | None) -> ItemText:
    """What the recipe makes of prepared data.

    Args:
        prepared: the data; the texts of its items of train are all that an embedder is fitted on.
        recipe: what is wanted.
        root: the data root, where the recipe's file lies.
        cache: folder of caches; None to embed anew.

    Raises:
        InputError: the data or the file lack what is wanted, or the embedder cannot be had.
    """
    if recipe.vectors is None:
        text = _embed(prepared, recipe, cache)
    else:
        file = root / recipe.vectors
        text = read_ready(file, prepared.interactions.item_ids, prepared.in_train, recipe.max_reviews)
    if recipe.control == "shuffled":
        return shuffled(text, prepared.in_train, recipe.seed)
    if recipe.control == "random":
        return randomised(text, recipe.seed)
    return text


def _embed(prepared: Prepared, recipe: TextRecipe, cache: Path | None) -> ItemText:
    """Vectors of overviews, and of reviews where they are asked for, fitted on both."""
    train = prepared.in_train
    about = overviews(prepared.items, recipe.columns)
    said: list[list[str]] = [[] for _ in about]
    if recipe.reviews is not None:
        said = reviews(prepared.items, recipe.reviews, recipe.max_reviews)
    for option, texts in (("columns", about), ("reviews", said)):
        wanted = option == "columns" or (recipe.reviews is not None and recipe.max_reviews)
        if wanted and not any(text for text, known in zip(texts, train, strict=True) if known):
            raise InputError(
                f"Of {prepared.name} no item of train has a text in data.text.{option}. Choose another column, or "
                "leave it out."
            )
    fit = {text for row, known in enumerate(train) if known for text in (about[row], *said[row]) if text}
    item = np.repeat(np.arange(len(said)), [len(texts) for texts in said])
    overview = embedded(recipe.embedder, about, sorted(fit), cache)
    # apart from the overviews, so that without reviews, or with more of them, those need not be encoded again
    review = embedded(recipe.embedder, [text for texts in said for text in texts], sorted(fit), cache)
    if not len(review):
        review = np.empty((0, overview.shape[1]), np.float32)
    return ItemText.of(overview, review, item)
