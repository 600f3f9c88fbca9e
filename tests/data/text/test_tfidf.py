from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.text.tfidf import TfidfSVD
from recsys_lightning.errors import InputError

FIT = [
    "a robot fights a robot on distant stars",
    "a robot learns to love the stars",
    "a detective hunts a murderer with knives",
    "the detective finds knives in winter",
    "two lovers write letters in winter",
    "letters of love, and of winter",
]


def test_vectors_are_of_length_one_and_near_where_words_are_shared() -> None:
    found = TfidfSVD(dim=3).embed(FIT, FIT)
    assert found.dtype == np.float32 and found.shape == (6, 3)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    near = found @ found.T
    assert near[0, 1] > near[0, 2:].max() and near[2, 3] > near[2, [0, 1, 4, 5]].max()


def test_what_is_not_of_train_is_not_fitted_on() -> None:
    """G8: other texts get vectors, and change none."""
    alone = TfidfSVD(dim=3).embed(FIT, FIT)
    more = TfidfSVD(dim=3).embed([*FIT, "zebra zebra stars", "zebra crossing"], FIT)
    assert (alone == more[:6]).all()
    assert more[6].any() and not more[7].any()  # no term of it is known


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_the_place_of_a_text_does_not_matter(order: list[int]) -> None:
    found = TfidfSVD(dim=3).embed([FIT[place] for place in order], FIT)
    assert (found == TfidfSVD(dim=3).embed(FIT, FIT)[order]).all()


def test_few_texts_or_terms_make_narrow_vectors() -> None:
    assert TfidfSVD().embed(FIT, FIT).shape == (6, 6)
    assert TfidfSVD(min_df=1).embed(FIT, FIT[:2]).shape == (6, 2)
    assert TfidfSVD(min_df=1).embed(["love"], ["love winter"]).tolist() == [[1]]


def test_terms_may_be_of_several_words_and_lose_accents() -> None:
    pair = ["cold war story", "war cold stories", "café", "cafe"]
    one, two = (TfidfSVD(min_df=1, ngrams=ngrams).embed(pair[:2], pair[:2]) for ngrams in (1, 2))
    assert (two[0] @ two[1]) < (one[0] @ one[1])
    accents = TfidfSVD(min_df=1).embed(pair[2:], pair)
    assert accents[0] == pytest.approx(accents[1], abs=1e-6)


def test_its_key_tells_settings_apart() -> None:
    keys = {one.key for one in (TfidfSVD(), TfidfSVD(dim=3), TfidfSVD(min_df=1), TfidfSVD(ngrams=2))}
    assert len(keys) == 4 and TfidfSVD().key == TfidfSVD().key
    assert re.search(r"scikit-learn \d", TfidfSVD().key)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (["robot stars", "winter letters"], "the 2 texts of train leave 0 terms.*choose an embedder.min_df below 2"),
        (["the and of", "a"], "leave 0 terms, where two are needed"),
        (["robot", "robot one"], "leave 1 terms"),
    ],
)
def test_texts_without_common_terms_are_refused(fit: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TfidfSVD().embed(fit, fit)


@pytest.mark.parametrize("name", ["dim", "min_df", "ngrams"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=f"TfidfSVD: {name} is 0; it must be at least 1"):
        TfidfSVD(**{name: 0})
