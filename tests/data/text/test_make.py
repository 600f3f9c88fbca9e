from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.data.text.make import make_text
from recsys_lightning.data.text.recipe import TextRecipe
from recsys_lightning.data.text.tfidf import TfidfSVD
from recsys_lightning.errors import InputError
from tests.data.memory import Memory, interactions, random_interactions
from tests.data.text.films import NAMES, Counting, Fitted, films, letters, table

COLD = Recipe(split="item_cold", val=0.1, test=0.2)


def make(recipe: TextRecipe, prepared: Prepared | None = None, cache: Path | None = None) -> ItemText:
    return make_text(films() if prepared is None else prepared, recipe, Path(), cache)


def number(prepared: Prepared) -> list[int]:
    """Of each item, its number in the table of films."""
    return [int(name[1:]) for name in prepared.interactions.item_ids.to_pylist()]


def test_items_get_the_vectors_of_what_is_written_about_them() -> None:
    prepared, raw = films(), table()
    text = make(TextRecipe(reviews="reviews", max_reviews=4, embedder=Counting()), prepared)
    assert text.known.tolist() == [bool(film % 10) for film in number(prepared)]
    for item, film in enumerate(number(prepared)):
        if film % 10:
            assert text.overview[item].tolist() == letters([raw["overview"].iloc[film]])[0].tolist()
        else:
            assert not text.overview[item].any()
        own = text.review[text.crow[item] : text.crow[item + 1]]
        written = raw["reviews"].iloc[film][:4]
        assert len(own) == len(written) and (not written or (own == letters(written)).all())
    assert text.max_reviews == 4 and text.width == 4
    assert "27 of 30 items have a text, 8 have" in text.hits


def test_reviews_are_read_on_request() -> None:
    for recipe in (TextRecipe(embedder=Counting()), TextRecipe(reviews="reviews", max_reviews=0, embedder=Counting())):
        text = make(recipe)
        assert text.max_reviews == 0 and text.review.shape == (0, 4)


def test_columns_are_chosen() -> None:
    prepared = films()
    text = make(TextRecipe(columns=["title", "genres"], embedder=Counting()), prepared)
    expected = [f"Film {film}. g{film % 4}, drama" for film in number(prepared)]
    assert text.overview.tolist() == letters(expected).tolist() and text.known.all()


def test_only_texts_of_train_are_fitted_on() -> None:
    """G8: whatever is written about held-out items."""
    prepared = films(recipe=COLD)
    train = {
        name for name, known in zip(prepared.interactions.item_ids.to_pylist(), prepared.in_train, strict=True) if known
    }
    raw = table()
    written = raw.loc[sorted(train)]
    fit = {text for text in [*written["overview"], *written["reviews"].explode().dropna()] if text}
    text = make(TextRecipe(reviews="reviews", embedder=Fitted()), prepared)
    assert text.overview[text.known][0, 3] % 1 == 0
    plain = make(TextRecipe(reviews="reviews", embedder=Counting()), prepared)
    assert (text.overview[text.known] - plain.overview[plain.known] == len(fit)).all()

    held_out = [name for name in NAMES if name not in train]
    raw.loc[held_out, "overview"] = "zebra robots"
    for recipe in (TextRecipe(reviews="reviews"), TextRecipe(reviews="reviews", control="random")):
        one, other = make(recipe, prepared), make(recipe, films(raw, COLD))
        assert len(train) < 30 and (one.overview[: len(train)] == other.overview[: len(train)]).all()
        assert one.digest != other.digest


@settings(max_examples=10, deadline=None)
@given(st.data(), st.sampled_from(["none", "shuffled", "random"]))
def test_held_out_rows_change_nothing(data: st.DataObject, control: Any) -> None:
    """G5: whatever lies in val and test, the text of the train stage is the same, bit for bit."""
    raw = random_interactions()
    label = np.random.default_rng(0).choice([0, 0, 0, 1, 2], len(raw)).astype(np.int8)
    whole = replace(raw, split=label)
    gone = data.draw(st.sets(st.sampled_from(np.flatnonzero(label).tolist())))
    fewer = whole.take(np.setdiff1d(np.arange(len(raw)), sorted(gone)))
    digests = [text_of(rows, TextRecipe(reviews="reviews", control=control)).digest for rows in (whole, fewer)]
    assert digests[0] == digests[1]


def text_of(rows: Interactions, recipe: TextRecipe) -> ItemText:
    return make(recipe, prepare(Memory(rows, table()), Recipe(split="official")))


def test_a_second_run_encodes_nothing_whatever_the_control(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    plain = make(TextRecipe(reviews="reviews", embedder=first), cache=tmp_path)
    assert len(first.asked) == 2
    controls = [
        make(TextRecipe(reviews="reviews", embedder=second, control=control), films(recipe=COLD), tmp_path)
        for control in ("none", "shuffled", "random")
    ]
    assert make(TextRecipe(embedder=second), cache=tmp_path).overview.tolist() == plain.overview.tolist()
    assert second.asked == [] and len({text.digest for text in (plain, *controls)}) == 4


def test_controls_keep_numbers_and_lengths() -> None:
    prepared = films(recipe=COLD)
    plain, moved, noise = (
        make(TextRecipe(reviews="reviews", control=control, seed=3), prepared)
        for control in ("none", "shuffled", "random")
    )
    for one in (moved, noise):
        assert one.known.sum() == plain.known.sum() and len(one.review) == len(plain.review)
        assert one.known[prepared.in_train].sum() == plain.known[prepared.in_train].sum()
    assert sorted(moved.overview.tolist()) == sorted(plain.overview.tolist())
    assert (moved.overview != plain.overview).any(1).mean() > 0.5
    assert (noise.known == plain.known).all() and (noise.crow == plain.crow).all()
    assert np.linalg.norm(noise.overview[noise.known], axis=1) == pytest.approx(1, rel=1e-5)


def test_ready_vectors_lie_below_the_root(tmp_path: Path) -> None:
    prepared = films()
    (tmp_path / "sub").mkdir()
    rows = [[float(film), 1.0] for film in range(30)]
    pq.write_table(pa.table({"item_id": NAMES, "vector": rows}), tmp_path / "sub" / "v.parquet")
    for control in ("none", "shuffled"):
        text = make_text(prepared, TextRecipe(vectors="sub/v.parquet", control=control), tmp_path, None)
        same = text.overview[:, 0].astype(int).tolist() == number(prepared)
        assert same == (control == "none")
    torch.save(
        {
            "movie_ids": NAMES,
            "overview_embs": torch.tensor(rows),
            "review_embs": torch.ones(30, 3, 2),
            "review_mask": torch.ones(30, 3),
        },
        tmp_path / "v.pt",
    )
    text = make_text(prepared, TextRecipe(vectors="v.pt", max_reviews=2), tmp_path, None)
    assert text.max_reviews == 2 and text.overview[:, 0].astype(int).tolist() == number(prepared)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (TextRecipe(columns=["overvew"]), r"data.text.columns names overvew, .* Did you mean overview\?"),
        (TextRecipe(reviews="review"), r"data.text.reviews names review, .* Did you mean reviews\?"),
        (TextRecipe(columns=["year"]), "names year, which holds .* it must hold texts"),
        (TextRecipe(columns=["blank"]), "Of memory no item of train has a text in data.text.columns. Choose another"),
        (TextRecipe(reviews="blank"), "Of memory no item of train has a text in data.text.reviews"),
        (TextRecipe(vectors="none.pt"), "There is no file none.pt"),
        (TextRecipe(embedder=TfidfSVD(min_df=99)), "leave 0 terms.*an embedder.min_df below 99"),
    ],
)
def test_what_the_data_lack_is_said(recipe: TextRecipe, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(recipe, films(table().assign(blank=[[] for _ in range(30)])))


def test_texts_of_held_out_items_alone_are_too_few() -> None:
    rows = interactions([("u", "a"), ("u", "b"), ("v", "a"), ("v", "b")], split=[0, 2, 0, 2])
    items = pd.DataFrame({"overview": ["", "robots"]}, index=["a", "b"])
    prepared = prepare(Memory(rows, items), Recipe(split="official", val=0, unseen_items="keep"))
    with pytest.raises(InputError, match="no item of train has a text"):
        make(TextRecipe(), prepared)
