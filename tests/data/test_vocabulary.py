from __future__ import annotations

import numpy as np
import pandas as pd

from recsys_lightning.data.vocabulary import Attribute, attributes, common, moved, multi_hot

EVERY = np.ones(3, bool)


def test_lists_and_single_values_make_pairs():
    items = pd.DataFrame({"genres": [["b", "a"], [], ["b", "b"]], "language": ["nl", None, "en"]})
    found = attributes(items, {"genres": "genre", "language": "language"}, EVERY)
    assert found["genre"].values == ("a", "b")
    assert found["genre"].item.tolist() == [0, 0, 2] and found["genre"].value.tolist() == [0, 1, 1]
    assert found["language"].values == ("en", "nl") and found["language"].item.tolist() == [0, 2]
    assert multi_hot(found["genre"], 3).tolist() == [[1, 1], [0, 0], [0, 1]]


def test_columns_of_one_type_share_a_vocabulary():
    items = pd.DataFrame({"director": [["x"], ["y"], []], "writer": [["y"], [], ["x", ""]]})
    person = attributes(items, {"director": "person", "writer": "person"}, EVERY)["person"]
    assert person.values == ("x", "y")
    assert list(zip(person.item.tolist(), person.value.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1), (2, 0)]


def test_values_of_unknown_items_are_not_learnt():
    items = pd.DataFrame({"genres": [["a"], ["b"], ["a", "c"]]})
    genre = attributes(items, {"genres": "genre"}, np.array([True, True, False]))["genre"]
    assert genre.values == ("a", "b") and genre.item.tolist() == [0, 1, 2]


def test_missing_columns_and_empty_columns_make_no_type():
    items = pd.DataFrame({"genres": [[], [], []]})
    assert attributes(items, {"genres": "genre", "absent": "absent"}, EVERY) == {}


GENRE = Attribute(("a", "b", "c"), np.array([0, 0, 1, 2]), np.array([0, 2, 2, 1]))


def test_common_values_are_counted_among_known_items():
    assert common(GENRE, EVERY, 1) is not GENRE and common(GENRE, EVERY, 1).values == GENRE.values
    kept = common(GENRE, EVERY, 2)
    assert kept.values == ("c",) and kept.item.tolist() == [0, 1] and kept.value.tolist() == [0, 0]
    assert common(GENRE, np.array([True, False, True]), 2).values == ()
    assert common(GENRE, EVERY, 3).item.tolist() == []


def test_moved_values_lie_in_order_again():
    found = moved(GENRE, np.array([2, 0, 1]))
    assert found.values == GENRE.values
    assert found.item.tolist() == [0, 1, 2, 2] and found.value.tolist() == [2, 1, 0, 2]
