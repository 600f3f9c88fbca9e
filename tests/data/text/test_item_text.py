from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys_lightning.data.text.item_text import ItemText

OVERVIEW = np.array([[3, 4], [0, 0], [1, 0]], np.float32)
REVIEW = np.array([[1, 1], [0, 0], [2, 2], [5, 0]], np.float32)


def three() -> ItemText:
    """Items with one review (another one being zeros), none, and two."""
    return ItemText.of(OVERVIEW, REVIEW, np.array([0, 0, 2, 2]))


def test_vectors_of_zeros_are_missing() -> None:
    text = three()
    assert text.known.tolist() == [True, False, True]
    assert text.review.tolist() == [[1, 1], [2, 2], [5, 0]] and text.crow.tolist() == [0, 1, 1, 3]
    assert (text.width, text.max_reviews) == (2, 2)
    assert text.hits == "2 of 3 items have a text, 2 have 3 reviews; vectors are 2 wide"


def test_without_reviews() -> None:
    text = ItemText.of(OVERVIEW, np.empty((0, 2), np.float32), np.empty(0, np.int64))
    assert text.crow.tolist() == [0, 0, 0, 0] and text.max_reviews == 0
    assert text.hits == "2 of 3 items have a text; vectors are 2 wide"


def test_one_is_singular() -> None:
    text = ItemText.of(OVERVIEW[:1], REVIEW[:1], np.array([0]))
    assert text.hits == "1 of 1 item has a text, 1 has 1 review; vectors are 2 wide"
    text = ItemText.of(OVERVIEW[1:], REVIEW[2:], np.array([0, 0]))
    assert text.hits == "1 of 2 items has a text, 1 has 2 reviews; vectors are 2 wide"


def test_the_digest_changes_with_any_number() -> None:
    text = three()
    other = [
        replace(text, overview=text.overview[::-1].copy()),
        replace(text, known=~text.known),
        replace(text, review=text.review + 1),
        replace(text, crow=np.array([0, 0, 1, 3])),
    ]
    digests = {one.digest for one in (text, *other)}
    assert len(digests) == 5 and all(len(digest) == 16 for digest in digests)
    assert three().digest == text.digest


@given(st.data())
def test_take_moves_all_that_is_written(data: st.DataObject) -> None:
    degree = data.draw(arrays.arrays(np.int64, 5, elements=st.integers(0, 3)))
    source = data.draw(arrays.arrays(np.int64, 5, elements=st.integers(0, 4)))
    overview = np.arange(1, 11, dtype=np.float32).reshape(5, 2)
    review = np.arange(1, 2 * degree.sum() + 1, dtype=np.float32).reshape(-1, 2)
    text = ItemText.of(overview, review, np.repeat(np.arange(5), degree))
    moved = text.take(source)
    for item, giver in enumerate(source):
        assert (moved.overview[item] == overview[giver]).all()
        own, its = (one.review[one.crow[row] : one.crow[row + 1]] for one, row in ((moved, item), (text, giver)))
        assert own.tolist() == its.tolist()


def test_tensors_can_be_written_to() -> None:
    text = three()
    text.overview.flags.writeable = False
    tensors = text.tensors()
    assert tensors.overview.dtype == torch.float32 and tensors.known.dtype == torch.bool
    assert tensors.crow.tolist() == [0, 1, 1, 3] and tensors.crow.dtype == torch.int64
    assert torch.equal(tensors.overview, torch.tensor(OVERVIEW)) and len(tensors.review) == 3
    tensors.overview.add_(1)
    assert text.overview.tolist() == OVERVIEW.tolist()


def test_read_only_memory_is_not_lent_to_tensors(recwarn: pytest.WarningsRecorder) -> None:
    text = three()
    text.review.flags.writeable = False
    text.tensors()
    assert not recwarn.list  # torch warns of it
