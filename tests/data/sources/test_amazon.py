"""Amazon ratings in the layouts of their releases, one domain and several."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.sources import Amazon, open_source
from recsys_lightning.errors import InputError

LAYOUTS = {
    "2014": "A1,0001,5.0,1365029107\n",
    "2018": "0001,A1,5.0,1365029107\n",
    "2023": "user_id,parent_asin,rating,timestamp\nA1,0001,5.0,1365029107000\n",
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nA1\t0001\t5.0\t1365029107\n",
}


def write(root: Path, name: str, text: str | bytes) -> None:
    (root / "amazon").mkdir(exist_ok=True)
    (root / "amazon" / name).write_bytes(text.encode() if isinstance(text, str) else text)


def row(found: Interactions) -> tuple[object, ...]:
    assert found.rating is not None and found.timestamp is not None
    return found.user_ids[0].as_py(), found.item_ids[0].as_py(), found.rating[0], found.timestamp[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_releases(tmp_path: Path, layout: str) -> None:
    write(tmp_path, "Books.csv", LAYOUTS[layout])
    source = Amazon(tmp_path, {"book": "Books.csv"}, layout=layout)  # type: ignore[arg-type]
    assert row(source.read().interactions) == ("A1", "0001", 5, 1365029107)
    assert source.item_type == "book"


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "amazon").mkdir()
    time = pd.to_datetime(["2013-04-03 22:45:07"])
    frame = pd.DataFrame({"user_id": ["A1"], "parent_asin": ["0001"], "rating": [5], "timestamp": time})
    frame.to_parquet(tmp_path / "amazon" / "Books.parquet")
    found = Amazon(tmp_path, {"book": "Books.parquet"}).read().interactions
    assert row(found) == ("A1", "0001", 5, 1365029107)


def test_domains_share_users(tmp_path: Path) -> None:
    write(tmp_path, "b.inter", "user_id\titem_id\trating\nA1\tB1\t5\nA2\tB2\t4\n")
    write(tmp_path, "m.inter", "user_id\titem_id\trating\nA2\tM1\t3\n")
    write(tmp_path, "titles.csv", 'item_id,title\nM1,"Up, Again"\n')
    source = Amazon(tmp_path, {"book": "b.inter", "movie": "m.inter"}, layout="inter", titles=["titles.csv"])
    raw = source.read()
    found = raw.interactions
    assert (found.num_users, found.num_items, found.domains) == (2, 3, ("book", "movie"))
    assert found.domain is not None and found.domain.tolist() == [0, 0, 1]
    assert raw.items["title"].to_dict() == {"M1": "Up, Again"}
    assert source.item_type == "item"
    assert [file.name for file in source.files()] == ["b.inter", "m.inter", "titles.csv"]


def test_joined_file_with_a_domain_column(tmp_path: Path) -> None:
    write(tmp_path, "all.csv.gz", gzip.compress(b"user_id,item_id,domain,order\nu,i,book,0\nu,j,movie,1\n"))
    found = Amazon(tmp_path, {"all": "all.csv.gz"}, layout="joined").read().interactions
    assert found.domains == ("book", "movie")
    assert found.order is not None and found.order.tolist() == [0, 1]


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Amazon layout '1999'"):
        Amazon(tmp_path, {"book": "b.csv"}, layout="1999")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 files were named"):
        Amazon(tmp_path, {"a": "a.csv", "b": "b.csv"}, layout="joined")


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    found = open_source("amazon-books-2023", real_data).read().interactions
    assert (len(found), found.num_users, found.num_items) == (160_666, 38_640, 15_853)
    raw = open_source("amazon-movie-book", real_data).read()
    found = raw.interactions
    assert (len(found), found.num_users, len(raw.items)) == (269_443, 20_502, 12_875)
    assert found.domain is not None
    of_row = pd.Series([found.domains[code] for code in found.domain])[found.item].to_numpy()
    assert {name: int((of_row == name).sum()) for name in found.domains} == {"movie": 212_269, "book": 57_174}
    assert pd.Series(of_row).groupby(found.user).nunique().eq(2).sum() == 8_317
    found = open_source("amazon-movie-book-dense", real_data).read().interactions
    assert found.domain is not None
    frame = pd.DataFrame({"user": found.user, "item": found.item, "domain": found.domain[found.item]})
    assert frame["domain"].value_counts(sort=False).to_dict() == {0: 38_149, 1: 68_023}
    assert frame.drop_duplicates()["domain"].value_counts(sort=False).to_dict() == {0: 31_504, 1: 62_084}
    assert frame.groupby("user")["domain"].nunique().eq(2).sum() == 1_329
