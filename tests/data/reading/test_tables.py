"""Reading interactions: what is kept, and what each fault says."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading import delimited
from recsys_lightning.data.reading.tables import Columns, join_domains, official, positions, read_interactions, stack
from recsys_lightning.errors import InputError

FULL = Columns("user", "item", "rating", "timestamp")
HEAD = "user,item,rating,timestamp\n"


def write(folder: Path, text: str | bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(found: Interactions) -> list[tuple[object, ...]]:
    columns = [found.user_ids.to_pandas().to_numpy()[found.user], found.item_ids.to_pandas().to_numpy()[found.item]]
    columns += [column for column in (found.rating, found.timestamp, found.order) if column is not None]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_reads_columns_with_their_types(tmp_path: Path) -> None:
    found = read_interactions(write(tmp_path, HEAD + "b,x,3.5,100\na,x,1,50\nb,y,2,70\n"), FULL)
    assert rows(found) == [("b", "x", 3.5, 100), ("a", "x", 1.0, 50), ("b", "y", 2.0, 70)]
    assert found.user_ids.to_pylist() == ["b", "a"]
    assert (found.user.dtype, found.rating.dtype, found.timestamp.dtype) == (np.int32, np.float32, np.int64)  # type: ignore[union-attr]
    assert found.order is None


def test_columns_not_asked_for_are_not_read(tmp_path: Path) -> None:
    found = read_interactions(write(tmp_path, "user,item,note\na,x,what\n"), Columns("user", "item"))
    assert rows(found) == [("a", "x")]
    assert found.rating is None


IDS = st.one_of(
    st.sampled_from(["NA", "null", "None", "nan", "0001", "1", "1.0", "-7", "18446744073709551616", "true", " x", "é"]),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"[A-Za-z0-9 ._-]{1,8}", fullmatch=True),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    pairs=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=20),
    kind=st.sampled_from(["csv", "gz", "parquet", "frame"]),
)
def test_ids_come_back_exactly(tmp_path: Path, pairs: list[tuple[str, str]], kind: str) -> None:
    frame = pd.DataFrame(pairs, columns=["user", "item"], dtype=str)
    table: Path | pd.DataFrame = frame
    if kind == "parquet":
        table = tmp_path / "t.parquet"
        frame.to_parquet(table)
    elif kind != "frame":
        text = "user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs)
        table = write(
            tmp_path, gzip.compress(text.encode()) if kind == "gz" else text, "t.csv" + ".gz" * (kind == "gz")
        )
    assert rows(read_interactions(table, Columns("user", "item"), separator=",")) == pairs


def test_blocks_share_one_code_per_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 1 << 10)
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 50, 3000), generator.integers(0, 90, 3000)
    text = HEAD + "".join(f"u{u},i{i},1,{n}\n" for n, (u, i) in enumerate(zip(users, items, strict=True)))
    found = read_interactions(write(tmp_path, text), FULL)
    assert [row[:2] for row in rows(found)] == [(f"u{u}", f"i{i}") for u, i in zip(users, items, strict=True)]
    assert found.user_ids.to_pylist() == list(pd.unique(pd.Series([f"u{u}" for u in users])))
    assert len(set(found.item_ids.to_pylist())) == found.num_items


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("r.csv", "user;item;rating;timestamp\n1;2;3;4\n", None),
        ("r.tsv", "user\titem\trating\ttimestamp\n1\t2\t3\t4\n", None),
        ("r.inter", "user\titem\trating\ttimestamp\n1\t2\t3\t4\n", None),
        ("r.dat", "user::item::rating::timestamp\n1::2::3::4\n", None),
        ("r.txt", "user|item|rating|timestamp\n1|2|3|4\n", None),
        ("r.txt", "user item rating timestamp\n1 2 3 4\n", None),
        ("r.csv", "user--item--rating--timestamp\n1--2--3--4\n", "--"),
        ("r.csv", '"user","item","rating","timestamp"\n"1","2","3","4"\n', None),
        ("r.csv", "\ufeffuser,item,rating,timestamp\r\n1,2,3,4\r\n", None),
        ("r.csv", "\n\nuser,item,rating,timestamp\n\n1,2, 3 ,4", None),
    ],
)
def test_separators_quotes_bom_and_blank_lines(tmp_path: Path, name: str, text: str, separator: str | None) -> None:
    found = read_interactions(write(tmp_path, text, name), FULL, separator=separator)
    assert rows(found) == [("1", "2", 3.0, 4)]


def test_quoted_text_with_line_ends_beside_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, 'user,item,review,stars\na,x,"good,\n\nreally",5\nb,y,"so\nso",3\nc,z,"no",bad\n')
    columns = Columns("user", "item", rating="stars")
    with pytest.raises(InputError, match=r"not a finite number in 1 line \(line 7\)"):
        read_interactions(path, columns)
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        assert rows(read_interactions(path, columns, on_bad="drop")) == [("a", "x", 5.0), ("b", "y", 3.0)]


def test_file_without_header(tmp_path: Path) -> None:
    path = write(tmp_path, "1::0002::3::4\n", "r.dat")
    names = ("user", "item", "rating", "timestamp")
    assert rows(read_interactions(path, FULL, names=names)) == [("1", "0002", 3.0, 4)]
    with pytest.raises(InputError, match=r"has 4 columns separated by '::', but names gives 2: a, b"):
        read_interactions(path, Columns("a", "b"), names=("a", "b"))
    with pytest.raises(InputError, match=r"look separated by '::': set separator"):
        read_interactions(path, FULL, names=names, separator="\t")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1365029107", 1365029107),
        ("1365029107000", 1365029107),
        ("1365029107123456", 1365029107),
        ("1365029107.9", 1365029107),
        ("2013-04-03T22:45:07", 1365029107),
        ("2013-04-03 22:45:07Z", 1365029107),
        ("2013-04-04T00:45:07+02:00", 1365029107),
        ("2013-04-03", 1364947200),
        ("-86400", -86400),
        ("0", 0),
    ],
)
def test_times_become_seconds(tmp_path: Path, text: str, seconds: int) -> None:
    found = read_interactions(write(tmp_path, HEAD + f"a,x,1,{text}\nb,x,1,{text}\n"), FULL)
    assert found.timestamp.tolist() == [seconds] * 2  # type: ignore[union-attr]


def test_mixed_units_of_time_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "a,x,1,1365029107\na,y,1,1365029108000\na,z,1,0\na,w,1,1365029109\n")
    with pytest.raises(
        InputError, match=r"mixes units of time: seconds in 2 lines \(line 2, 5\); milliseconds in 1 line"
    ):
        read_interactions(path, FULL)


BAD = HEAD + "a,x,3,10\n\na,,1,10\na,y,,10\na,z,much,10\nb,x,nan,10\nb,y,2,\nb,z,2,10,7\nb,w\nb,v,inf,10\na,w,4,12\n"


def test_every_fault_is_listed_with_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_interactions(write(tmp_path, BAD), FULL)
    told = str(caught.value)
    assert "8 of 10 rows cannot be used" in told
    assert "column 'item' is empty in 1 line (line 4)" in told
    assert "column 'rating' is empty in 1 line (line 5)" in told
    assert "column 'rating' is not a finite number in 3 lines (line 6, 7, 11)" in told
    assert "column 'timestamp' is empty in 1 line (line 8)" in told
    assert "the number of columns is not that of the first line in 2 lines (line 9, 10)" in told
    assert "on_bad to drop" in told


def test_dropping_keeps_the_rest_and_reports(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"8 of 10 rows cannot be used.*They were dropped"):
        found = read_interactions(write(tmp_path, BAD), FULL, on_bad="drop")
    assert rows(found) == [("a", "x", 3.0, 10), ("a", "w", 4.0, 12)]
    assert found.user_ids.to_pylist() == ["a"]
    assert found.item_ids.to_pylist() == ["x", "w"]


def test_dropping_everything_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 of 2 rows cannot be used"):
        read_interactions(write(tmp_path, HEAD + "a,x,?,1\na,y,,1\n"), FULL, on_bad="drop")


def test_typed_faults_keep_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 1 << 10)
    lines = [f"u{n},i{n % 7},{n % 5},{n}" for n in range(1000)]
    lines[900] = "u900,i1,,900"
    with pytest.raises(InputError, match=r"column 'rating' is empty in 1 line \(line 902\)"):
        read_interactions(write(tmp_path, HEAD + "\n".join(lines)), FULL)
    lines[500] = "u500,i1,3,500,extra"
    lines[901] = "u901,i1,word,901"
    with pytest.raises(InputError, match=r"empty in 1 line \(line 902\).*number in 1 line \(line 903\).*\(line 502\)"):
        read_interactions(write(tmp_path, HEAD + "\n".join(lines)), FULL)


def test_good_file_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_interactions(write(tmp_path, HEAD + "a,x,1,1\n"), FULL, on_bad="drop")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n\n", "nothing but blank lines"),
        (HEAD.encode(), "holds no rows"),
        (b"user,item,rating,timestamp\ra,x,1,2\r", "end in CR alone"),
        (b"user,items,rating,timestamp\na,x,1,2\n", "no column 'item'"),
        (b"user,item,item,rating,timestamp\na,x,y,1,2\n", "more than one column 'item'"),
        (
            HEAD.encode() + b"caf\xe9,x,1,2\n",
            "line 2, is not utf-8 text. Set encoding to that of the file; try latin-1",
        ),
        ((HEAD + "a,x,1,2\n").encode("utf-16"), "Set encoding to utf-16"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"ab\0cd", "not a text file"),
        (gzip.compress((HEAD + "a,x,1,2\n" * 9999).encode(), mtime=0)[:-20], "is cut off or damaged"),
        (gzip.compress(b"", mtime=0), "is empty: nothing is in it once unpacked"),
    ],
)
def test_faulty_files(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read_interactions(write(tmp_path, text), FULL)


def test_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "userId,movieId,rating\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        read_interactions(path, Columns("user_id", "item_id"))
    told = str(caught.value)
    assert "found: 'userId', 'movieId', 'rating'; needed: 'user_id', 'item_id'" in told
    assert "nearest to 'user_id' is 'userId'" in told
    assert "header" in told


def test_wrong_separator_names_the_right_one(tmp_path: Path) -> None:
    path = write(tmp_path, "user;item;rating;timestamp\na;x;1;2\n")
    with pytest.raises(InputError, match="look separated by ';': set separator"):
        read_interactions(path, FULL, separator=",")


def test_encoding_is_honoured_and_faults_deep_in_the_file_found(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD.encode() + b"a,x,1,2\n" * 20000 + b"caf\xe9,x,1,2\n")
    with pytest.raises(InputError, match="line 20002, is not utf-8 text"):
        read_interactions(path, FULL)
    assert read_interactions(path, FULL, encoding="latin-1").user_ids.to_pylist() == ["a", "café"]
    with pytest.raises(InputError, match="no encoding 'klingon'"):
        read_interactions(path, FULL, encoding="klingon")


def test_missing_file_lists_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "x", "other.csv")
    with pytest.raises(InputError, match=r"no file .*ratings\.csv\. Its folder holds: other\.csv"):
        read_interactions(tmp_path / "ratings.csv", FULL)
    with pytest.raises(InputError, match="does not exist"):
        read_interactions(tmp_path / "none" / "ratings.csv", FULL)
    with pytest.raises(InputError, match="is a folder, not a file"):
        read_interactions(tmp_path, FULL)


def test_frame_ids_of_integers_are_decimal_texts() -> None:
    frame = pd.DataFrame({"user": [2**63 + 1, 7], "item": pd.Series(["01", 5], dtype=object)}).set_axis([3, 3])
    assert rows(read_interactions(frame, Columns("user", "item"))) == [("9223372036854775809", "01"), ("7", "5")]
    categories = frame.astype({"item": str}).astype({"item": "category"})
    assert rows(read_interactions(categories[1:], Columns("user", "item"))) == [("7", "5")]


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, None], [True, False], pd.to_datetime(["2020-01-01"] * 2)])
def test_frame_ids_that_may_have_lost_digits_are_refused(values: list[object]) -> None:
    with pytest.raises(InputError, match=r"id column 'user' is of type .*dtype="):
        read_interactions(pd.DataFrame({"user": values, "item": [1, 2]}), Columns("user", "item"))


def test_frame_of_any_column_types() -> None:
    frame = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": pd.array([1, 2], "Int64")})
    times: list[object] = [
        pd.to_datetime(["2013-04-03 22:45:07"] * 2),
        pd.to_datetime(["2013-04-03 22:45:07"] * 2, utc=True),
        ["2013-04-03 22:45:07"] * 2,
        ["1365029107"] * 2,
        [1365029107.0] * 2,
        pd.Series([1365029107, "1365029107"], dtype=object),
    ]
    for time in times:
        found = read_interactions(frame.assign(timestamp=time), FULL)
        assert rows(found) == [("a", "x", 1.0, 1365029107), ("b", "y", 2.0, 1365029107)]


def test_frame_faults_are_told_by_row() -> None:
    frame = pd.DataFrame({"user": ["a", None, ""], "item": ["x", "y", "z"], "rating": [None, 1.0, 2.0]})
    with pytest.raises(InputError, match=r"'user' is empty in 2 rows \(row 1, 2\); column 'rating' is empty in 1 row"):
        read_interactions(frame, Columns("user", "item", "rating"))


def test_parquet_and_arrow_tables(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": pa.array([5, 6], pa.uint64()),
            "item": pa.array(["x", "y"]).dictionary_encode(),
            "rating": pa.array([1, 2], pa.int8()),
            "timestamp": pa.array([1365029107000, 1365029108000], pa.timestamp("ms")),
        }
    )
    expected = [("5", "x", 1.0, 1365029107), ("6", "y", 2.0, 1365029108)]
    assert rows(read_interactions(table, FULL)) == expected
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    assert rows(read_interactions(path, FULL)) == expected
    with pytest.raises(InputError, match="no column 'who'"):
        read_interactions(path, Columns("who", "item"))
    with pytest.raises(InputError, match="is of type timestamp"):
        read_interactions(path, Columns("timestamp", "item"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_interactions(path, FULL)


def test_domains_belong_to_items(tmp_path: Path) -> None:
    columns = Columns("user", "item", domain="domain")
    text = "user,item,domain\na,x,film\na,y,book\nb,x,film\n"
    found = read_interactions(write(tmp_path, text), columns)
    assert found.domains == ("film", "book")
    assert found.domain is not None and found.domain.tolist() == [0, 1]
    told = r"ratings\.csv, column 'domain': 1 item id stands in more than one domain, for instance 'x' \(film, book\)\."
    with pytest.raises(InputError, match=told):
        read_interactions(write(tmp_path, text + "b,x,book\n"), columns)
    with pytest.raises(InputError, match=r"2 item ids stand .*'x' \(film, book\), 'y' \(film, book\)\."):
        read_interactions(write(tmp_path, text + "b,x,book\nb,y,film\n"), columns)
    with pytest.raises(InputError, match=r"column 'domain' is empty in 1 line \(line 5\)"):
        read_interactions(write(tmp_path, text + "b,z,\n"), columns)


def test_stack_and_join_share_ids() -> None:
    columns = Columns("user", "item", "rating")
    films = read_interactions(pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [1, 2]}), columns)
    books = read_interactions(pd.DataFrame({"user": ["b", "c"], "item": ["z", "z"], "rating": [3, 4]}), columns)
    both = join_domains({"film": films, "book": books})
    assert rows(both) == rows(films) + rows(books)
    assert both.user_ids.to_pylist() == ["a", "b", "c"]
    assert both.domain is not None and both.domain.tolist() == [0, 0, 1]
    implicit = read_interactions(pd.DataFrame({"user": ["b"], "item": ["x"]}), Columns("user", "item"))
    assert stack([films, implicit]).rating is None
    with pytest.raises(InputError, match="more than one domain"):
        join_domains({"film": films, "book": implicit})


@given(st.lists(st.integers(0, 5), min_size=1))
def test_positions_count_up_within_each_user(users: list[int]) -> None:
    expected = pd.Series(users).groupby(users).cumcount()
    assert positions(np.array(users, np.int32)).tolist() == expected.tolist()


def test_official_parts_are_marked() -> None:
    train = read_interactions(pd.DataFrame({"u": ["a", "b"], "i": ["x", "y"]}), Columns("u", "i"))
    test = read_interactions(pd.DataFrame({"u": ["b"], "i": ["x"]}), Columns("u", "i"))
    found = official(train, test)
    assert found.split is not None and found.split.tolist() == [0, 0, 2]
    assert found.user.tolist() == [0, 1, 1] and found.item.tolist() == [0, 1, 0]
