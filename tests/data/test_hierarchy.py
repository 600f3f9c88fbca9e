from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.hierarchy import read_parents
from recsys_lightning.errors import InputError

VALUES = ("drama", "noir", "western")


def write(folder: Path, *lines: str, head: str = "value,parent") -> Path:
    file = folder / "parents.csv"
    file.write_text("".join(f"{line}\n" for line in (head, *lines)), encoding="utf-8")
    return file


def named(names: tuple[str, ...], pairs: list[list[int]]) -> set[tuple[str, str]]:
    return {(names[child], names[parent]) for child, parent in zip(*pairs, strict=True)}


def test_ancestors_become_values_behind_the_others(tmp_path: Path) -> None:
    file = write(tmp_path, "noir,crime", "crime,fiction", "drama, fiction", "fiction,", "cooking,leisure", "noir,drama")
    names, pairs = read_parents(file, VALUES)
    assert names == (*VALUES, "crime", "fiction")  # nothing of leisure
    assert named(names, pairs.tolist()) == {
        ("noir", "crime"),
        ("noir", "drama"),
        ("crime", "fiction"),
        ("drama", "fiction"),
    }


def test_a_row_that_stands_twice_is_one_edge(tmp_path: Path) -> None:
    assert read_parents(write(tmp_path, "noir,crime", "noir,crime"), VALUES)[1].shape == (2, 1)


@pytest.mark.parametrize(
    ("lines", "head", "message"),
    [
        (["noir,crime"], "child,parent", r"parents\.csv has no column 'value'.*'child'"),
        (["noir,drama", "drama,noir"], "value,parent", "goes round in a circle: "),
        (["noir,noir"], "value,parent", "goes round in a circle: noir is a noir"),
        (["Noir,crime"], "value,parent", "a parent to none of the 3 values, such as 'drama'.*has parents of 'Noir'"),
        (["noir,"], "value,parent", "has parents of nothing"),
        ([], "value,parent", "holds no rows"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, lines: list[str], head: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_parents(write(tmp_path, *lines, head=head), VALUES)


def test_a_circle_reads_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_parents(write(tmp_path, "noir,crime", "crime,dark", "dark,noir"), VALUES)
    circle = str(caught.value).split("circle: ")[1].split(".")[0].split(" is a ")
    assert set(pairwise(circle)) == {
        ("noir", "crime"),
        ("crime", "dark"),
        ("dark", "noir"),
    }


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=r"no file .*other\.csv\. Its folder holds: parents\.csv"):
        read_parents(tmp_path / "other.csv", VALUES)


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]), min_size=1))
def test_every_value_reaches_exactly_its_ancestors(
    tmp_path_factory: pytest.TempPathFactory, rows: set[tuple[int, int]]
) -> None:
    """Edges go up in the numbers, so there is no circle; 0 to 4 are values."""
    if not any(child < 5 for child, _ in rows):
        return
    file = write(tmp_path_factory.mktemp("parents"), *(f"{child},{parent}" for child, parent in sorted(rows)))
    names, pairs = read_parents(file, tuple("01234"))
    reached = set(range(5))
    for child, parent in sorted(rows):
        if child in reached:
            reached.add(parent)
    assert set(map(int, names)) == reached and len(names) == len(reached)
    expected = {(str(child), str(parent)) for child, parent in rows if child in reached}
    assert named(names, pairs.tolist()) == expected
