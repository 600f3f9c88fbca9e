"""Columns into ids, numbers and seconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.reading.convert import Codes, Faults, Growing, ids, numbers, times, units


@given(st.lists(st.lists(st.sampled_from(["a", "b", "NA", "0", "00"])), min_size=1))
def test_codes_of_blocks_spell_the_ids(blocks: list[list[str]]) -> None:
    codes, words = Codes(), [word for block in blocks for word in block]
    for block in blocks:
        codes.append(pa.array(block, pa.string()).dictionary_encode())
    found, distinct = codes.finish()
    assert [distinct[code].as_py() for code in found] == words
    assert distinct.to_pylist() == list(dict.fromkeys(words))


@given(st.lists(st.integers(0, 90_000), max_size=4))
def test_growing_is_concatenation(lengths: list[int]) -> None:
    grown, parts = Growing(np.int64), [np.arange(length) + length for length in lengths]
    for part in parts:
        grown.append(part)
    assert np.array_equal(grown.finish(), np.concatenate([np.empty(0, np.int64), *parts]))


def test_faults_count_all_and_show_three() -> None:
    faults = Faults()
    faults.add("is odd", np.array([1, 3]))
    faults.add("is odd", np.array([5, 7]))
    faults.add("is one", np.array([1]))
    told = faults.sentences(lambda rows: [row * 10 for row in rows], "line")
    assert told == "is odd in 4 lines (line 10, 30, 50, ...); is one in 1 line (line 10)"


def test_ids_of_null_and_empty_are_faults() -> None:
    for values in (pa.array(["a", "", None]), pa.array(["a", "", None]).dictionary_encode()):
        assert ids(values).faults["is empty"].tolist() == [False, True, True]
    assert not ids(pa.array([2**64 - 1], pa.uint64())).faults
    assert ids(pa.array([2**64 - 1], pa.uint64())).values.to_pylist() == ["18446744073709551615"]


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.integers(-(10**17), 10**17)), min_size=1))
def test_texts_of_numbers_are_read_as_python_does(values: list[float]) -> None:
    column = numbers(pa.array([str(value) for value in values]))
    assert not column.faults
    assert column.values.tolist() == pytest.approx([float(value) for value in values])


@pytest.mark.parametrize("text", ["1,5", "one", "nan", "inf", "1e999", "0x1", "1_0", "--1", "True"])
def test_texts_that_are_no_numbers(text: str) -> None:
    column = numbers(pa.array(["1", text, " ", " 2.5 "]))
    assert column.faults["is not a finite number"].tolist() == [False, True, False, False]
    assert column.faults["is empty"].tolist() == [False, False, True, False]
    assert column.values[[0, 3]].tolist() == [1, 2.5]


def test_dates_before_1970_and_unreadable_ones() -> None:
    column = times(pa.array(["1969-12-31T23:59:59.5Z", "1970-01-02", "soon", None]), iso=True)
    assert column.values[:2].tolist() == [-1, 86_400]
    assert column.faults["is not an ISO 8601 date"].tolist() == [False, False, True, False]
    assert column.faults["is empty"].tolist() == [False, False, False, True]


@given(st.integers(10**8, 9 * 10**10), st.integers(0, 3))
def test_unit_is_told_by_size(seconds: int, unit: int) -> None:
    assert units(np.array([seconds * 1000**unit, 0])).tolist() == [unit, -1]
