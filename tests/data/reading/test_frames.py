from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys_lightning.data.reading.frames import id_column, to_arrow
from recsys_lightning.errors import InputError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2**62, -3], ["1", str(2**62), "-3"]),
        (["0001", "NA", "null"], ["0001", "NA", "null"]),
        (np.array(["7", 7, None], object), ["7", "7", None]),
        (pd.Categorical(["b", "a"]), ["b", "a"]),
    ],
)
def test_ids_become_their_exact_text(values: object, expected: list[str | None]) -> None:
    assert id_column(pd.Series(values, name="user")).to_pylist() == expected


@pytest.mark.parametrize("values", [[1.0, np.nan], pd.to_datetime(["2020-01-01"]), np.array([1.5, "x"], object)])
def test_ids_that_may_have_lost_digits_are_refused(values: object) -> None:
    with pytest.raises(InputError, match="id column 'user' is of type"):
        id_column(pd.Series(values, name="user"))


def test_only_the_used_columns_are_taken() -> None:
    frame = pd.DataFrame({"u": [1], "i": ["x"], "r": [4.5], "other": [object()]})
    table = to_arrow(frame, {"user_id": "u", "item_id": "i", "rating": "r"})
    assert table.to_pylist() == [{"u": "1", "i": "x", "r": 4.5}]
    with pytest.raises(InputError, match="id column 'r'"):
        to_arrow(pa.table({"u": ["a"], "r": [1.0]}), {"user_id": "u", "item_id": "r"})
