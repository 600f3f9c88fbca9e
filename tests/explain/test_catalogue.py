from __future__ import annotations

from dataclasses import replace

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.explain.catalogue import Catalogue
from tests.worlds import schema

NAMES = Catalogue(
    replace(schema(3, 4), item_type="movie", split="random"),
    ["1001", "1002", "7"],
    ["tt1", "tt2", "tt3", "x9"],
    ["Alien (1979)", "Aliens (1986)", "Brazil (1985)", "x9"],
    {"genre": ["Drama", "War"]},
)


def test_raw_ids_are_found() -> None:
    assert [NAMES.user(raw) for raw in NAMES.users] == [0, 1, 2]
    assert [NAMES.item(raw) for raw in NAMES.items] == [0, 1, 2, 3]
    assert NAMES.value("genre", 1) == "War" and NAMES.value("director", 5) == "5"


@pytest.mark.parametrize(
    ("raw", "similar"), [("1003", " Similar: 1002, 1001."), ("zzz", ""), ("", "")], ids=["near", "far", "empty"]
)
def test_an_unknown_user(raw: str, similar: str) -> None:
    with pytest.raises(InputError) as error:
        NAMES.user(raw)
    assert str(error.value) == (
        f"There is no user {raw!r} among the 3 of world (random).{similar} Users without train rows are unknown to a "
        "model."
    )


@pytest.mark.parametrize(
    ("raw", "similar"),
    [
        ("Aliens (1985)", " Similar: tt2 (Aliens (1986))"),
        ("brazil", " Similar: tt3 (Brazil (1985))."),
        ("tt4", " Similar: tt"),
        ("", ""),
    ],
)
def test_an_unknown_item_is_looked_for_by_title_too(raw: str, similar: str) -> None:
    with pytest.raises(InputError) as error:
        NAMES.item(raw)
    assert str(error.value).startswith(f"There is no movie {raw!r} among the 4 of world (random).{similar}")
    assert raw or "Similar" not in str(error.value)
