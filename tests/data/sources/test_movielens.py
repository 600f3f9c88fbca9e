"""MovieLens in its releases and folds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from recsys_lightning.data.sources import MovieLens
from recsys_lightning.errors import InputError

FLAGS = {"Toy Story (1995)": "0001110000000000000", "unknown": "1000000000000000000"}


def write(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    (root / folder).mkdir()
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    films = [f"{n}|{title}|01-Jan-1995||url|" + "|".join(flags) for n, (title, flags) in enumerate(FLAGS.items(), 1)]
    films.append('3|Caf\xe9 "X (1996)|||url|' + "|".join("0" * 18 + "1"))
    files = {
        "u.data": b"7\t1\t5\t881250949\n8\t2\t3\t881250950\n7\t3\t1\t881250951\n",
        "u1.base": b"7\t1\t5\t881250949\n8\t2\t3\t881250950\n",
        "u1.test": b"7\t3\t1\t881250951\n",
        "u.item": "\n".join(films).encode("latin-1"),
        "u.user": b"7|24|M|technician|08571\n8|53|F|other|94043\n",
    }
    return write(tmp_path, "ml-100k", files)


def test_100k(small: Path) -> None:
    raw = MovieLens(small).read()
    assert raw.items["title"].tolist() == ["Toy Story (1995)", "unknown", 'Café "X (1996)']
    assert raw.items["genres"].tolist() == [["Animation", "Children's", "Comedy"], [], ["Western"]]
    assert raw.items["year"].fillna(0).tolist() == [1995, 0, 1996]
    assert raw.users.loc["7"].to_dict() == {"age": 24, "gender": "M", "occupation": "technician", "zip_code": "08571"}
    assert raw.interactions.split is None
    assert raw.interactions.timestamp is not None and raw.interactions.timestamp[0] == 881250949


def test_fold_is_an_official_split(small: Path) -> None:
    source = MovieLens(small, fold="u1")
    found = source.read().interactions
    assert found.split is not None and found.split.tolist() == [0, 0, 2]
    assert source.options() != MovieLens(small).options()
    assert [file.name for file in source.files()] == ["u1.base", "u1.test", "u.item", "u.user"]


def test_metadata_join_the_films(small: Path) -> None:
    (small / "more").mkdir()
    lines = [
        "movie_id,title,directors,writers,keywords,runtime",
        '1,Toy Story (1995),John Lasseter,"John Lasseter|Pete Docter|",toy|boy,81.0',
        "3,Another,,,,0.0",
        "9,Not here,Somebody,,,90.0",
    ]
    (small / "more" / "films.csv").write_text("\n".join(lines))
    source = MovieLens(small, metadata="more/films.csv")
    items = source.read().items
    assert items["title"].tolist() == ["Toy Story (1995)", "unknown", 'Café "X (1996)']  # as MovieLens has them
    assert items["directors"].tolist() == [["John Lasseter"], [], []]
    assert items["writers"].tolist() == [["John Lasseter", "Pete Docter"], [], []]
    assert items["keywords"].tolist() == [["toy", "boy"], [], []]
    assert items["runtime"].fillna(-1).tolist() == [81, -1, -1]
    assert set(source.attributes.values()) == {"genre", "director", "writer", "keyword"}
    assert source.on_request == ("keyword",) and "directors" not in MovieLens(small).attributes
    assert source.options() != MovieLens(small).options() and len(source.files()) == 4


def test_missing_metadata_are_named_with_their_own_folder(small: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*films\.csv: the folder .*more does not exist"):
        MovieLens(small, metadata="more/films.csv").read()
    with pytest.raises(InputError, match=r"no file .*reviews\.jsonl"):
        MovieLens(small, reviews="reviews.jsonl").read()


def test_metadata_may_lack_columns(small: Path) -> None:
    (small / "films.csv").write_text("movie_id,directors,genres\n1,X,Family\n")
    items = MovieLens(small, metadata="films.csv").read().items
    assert items["directors"].tolist() == [["X"], [], []]
    assert items["genres"].iloc[0] == ["Animation", "Children's", "Comedy"]  # two vocabularies do not mix
    assert not {"writers", "overview", "budget"} & set(items)


def test_metadata_bring_texts_numbers_and_years(small: Path) -> None:
    lines = [
        "movie_id,overview,keywords,budget,vote_average,release_date",
        '1,"A toy, alive.","[""toy"", ""boy""]",30000000.0,7.7,10/30/1993',
        '2,,"[{""id"": 4, ""name"": ""fear""}]",0,0.0,2011-02-16',
    ]
    (small / "films.csv").write_text("\n".join(lines))
    items = MovieLens(small, metadata="films.csv").read().items
    assert items["overview"].tolist() == ["A toy, alive.", "", ""]
    assert items["keywords"].tolist() == [["toy", "boy"], ["fear"], []]
    assert items["budget"].fillna(-1).tolist() == [30_000_000, -1, -1]
    assert items["vote_average"].fillna(-1).tolist() == [7.7, -1, -1]
    assert items["year"].tolist() == [1993, 2011, 1996]  # of the title where there is no date


def test_reviews_join_the_films(small: Path) -> None:
    lines = [{"movie_id": 3, "text": "Second film."}, {"movie_id": "1", "text": "b"}, {"movie_id": 3, "text": "a"}]
    packed = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    (small / "reviews.jsonl.gz").write_bytes(packed)
    source = MovieLens(small, fold="u1", reviews="reviews.jsonl.gz")
    assert source.read().items["reviews"].tolist() == [["b"], [], ["Second film.", "a"]]
    assert source.files()[-1] == small / "reviews.jsonl.gz" and len(source.files()) == 5
    assert source.options() != MovieLens(small, fold="u1").options()


@pytest.mark.parametrize(("variant", "fold"), [("100k", "u6"), ("1m", "u1"), ("20m", None)])
def test_unknown_variants_and_folds_are_refused(tmp_path: Path, variant: str, fold: str | None) -> None:
    with pytest.raises(InputError, match=r"known: 100k|Only 100k has official folds"):
        MovieLens(tmp_path, variant, fold)  # type: ignore[arg-type]


@pytest.mark.parametrize("separator", ["::", "\t"])
def test_1m_as_published_and_ordered(tmp_path: Path, separator: str) -> None:
    films = separator.join(["1", "Caf\xe9 (1995)", "Animation|Comedy"])
    files = {
        "ratings.dat": b"1::1::5::978300760\n",
        "ratings_ordered.csv.gz": gzip.compress(b"user,item,rating,order\n1,1,4,0\n1,2,5,1\n"),
        "movies.dat": films.encode("latin-1" if separator == "::" else "utf-8"),
        "users.dat": separator.join(["1", "F", "1", "10", "48067"]).encode(),
    }
    root = write(tmp_path, "ml-1m", files)
    raw = MovieLens(root, "1m" if separator == "::" else "1m-ordered").read()
    assert raw.items.loc["1", "title"] == "Café (1995)"
    assert raw.items.loc["1", "genres"] == ["Animation", "Comedy"]
    assert raw.users.loc["1", "zip_code"] == "48067"
    if separator == "::":
        assert raw.interactions.timestamp is not None and raw.interactions.timestamp.tolist() == [978300760]
    else:
        assert raw.interactions.order is not None and raw.interactions.order.tolist() == [0, 1]
        assert raw.interactions.timestamp is None


def test_latest_small(tmp_path: Path) -> None:
    files = {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.5,964982703\n",
        "movies.csv": b'movieId,title,genres\n1,"American President, The",Comedy|Drama\n2,X,(no genres listed)\n',
    }
    raw = MovieLens(write(tmp_path, "ml-latest-small", files), "latest-small").read()
    assert raw.items["title"].tolist() == ["American President, The", "X"]
    assert raw.items["genres"].tolist() == [["Comedy", "Drama"], []]


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    raw = MovieLens(real_data).read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items, len(raw.items)) == (100_000, 943, 1_682, 1_682)
    fold = MovieLens(real_data, fold="u1").read().interactions
    assert fold.split is not None and fold.rating is not None
    assert ((fold.split == 0).sum(), (fold.split == 2).sum()) == (80_000, 20_000)
    assert ((fold.split == 0) & (fold.rating >= 4)).sum() == 44_140
    metadata, reviews = "ml-100k-metadata/movies.csv", "ml-100k-metadata/reviews.jsonl.gz"
    joined = MovieLens(real_data, metadata=metadata, reviews=reviews).read().items
    names = ("overview", "directors", "writers", "keywords", "reviews")
    known = {name: int((joined[name].map(len) > 0).sum()) for name in names}
    assert known == {"overview": 1_676, "directors": 1_678, "writers": 1_650, "keywords": 1_477, "reviews": 252}
    assert joined["reviews"].map(len).sum() == 2_963
    money = {name: int(joined[name].notna().sum()) for name in ("budget", "revenue", "popularity", "year")}
    assert money == {"budget": 757, "revenue": 778, "popularity": 1_596, "year": 1_681}
    ordered = MovieLens(real_data, "1m-ordered").read()
    found = ordered.interactions
    assert (len(found), found.num_users, found.num_items) == (1_000_209, 6_040, 3_706)
    assert set(found.item_ids.to_pylist()) <= set(ordered.items.index)
