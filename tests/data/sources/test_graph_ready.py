"""Prepared files of films: nodes, buckets, a split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import GraphReady
from recsys_lightning.errors import InputError

FILMS = """\
ml_movie_id,title,tmdb_id,overview,genres,keywords,directors,writers,budget,release_date
1,Heat (1995),949,Two men.,"[10, 11]","[1]",[5],"[5, 6]",60000000,12/15/1995
2,Nixon (1994),,,[],[],[],[],0,
3,Other (1990),3,Text,"[10]","[2, 1]",[7],[],5,1991-01-01
"""
NODES = {
    "genres": "id,name,profile_path\n10,Crime,\n11,Drama,/x.jpg\n",
    "keywords": "id,name\n1,heist\n2,\n",
    "directors": "id,name\n5,Sam Lee\n7,Sam Lee\n",
    "writers": "id,name\n5,Sam Lee\n6,Ann\n",
}
CONTEXT = "ml_movie_id,year,budget,title\n1,3,1,x\n2,0,0,x\n3,2,1,x\n"
SIZES: Any = {"year": {"num_buckets": 4, "unknown": 0}, "budget": 2}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    folder = tmp_path / "graph_ready"
    (folder / "nodes").mkdir(parents=True)
    (folder / "context_data").mkdir()
    (folder / "movies_graph_ready.csv").write_text(FILMS)
    for name, text in NODES.items():
        (folder / "nodes" / f"{name}.csv").write_text(text)
    (folder / "context_data" / "movie_context.csv").write_text(CONTEXT)
    (folder / "context_data" / "context_metadata.json").write_text(json.dumps(SIZES))
    (folder / "u1.base").write_text("7\t1\t5\t881250949\n7\t3\t4\t881250950\n8\t2\t3\t881250951\n")
    (folder / "u1.test").write_text("8\t1\t1\t881250952\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / "graph_ready" / name).write_text(text)


def test_all_parts_are_read(layout: Path) -> None:
    source = GraphReady(layout)
    raw = source.read()
    items = raw.items
    assert items.index.tolist() == ["1", "2", "3"]
    assert items["genres"].tolist() == [["Crime", "Drama"], [], ["Crime"]]
    assert items["keywords"].tolist() == [["heist"], [], ["2", "heist"]]  # a node without a name has its id
    assert items["directors"].tolist() == [["Sam Lee (5)"], [], ["Sam Lee (7)"]]  # two nodes of one name stay two
    assert items["writers"].tolist() == [["Sam Lee", "Ann"], [], []]
    assert items["overview"].tolist() == ["Two men.", "", "Text"] and items["tmdb_id"].tolist() == ["949", "", "3"]
    assert items["budget"].fillna(0).tolist() == [60_000_000, 0, 5]
    assert items["budget_bucket"].tolist() == [1, 0, 1]  # the films have a budget of their own
    assert items["year"].tolist() == [1995, 1994, 1991] and items["year_bucket"].fillna(-1).tolist() == [3, -1, 2]
    assert raw.interactions.split is not None and raw.interactions.split.tolist() == [0, 0, 0, 2]
    assert raw.interactions.rating is not None and raw.interactions.timestamp is not None
    assert [file.name for file in source.files()[:3]] == ["movies_graph_ready.csv", "u1.base", "u1.test"]
    assert len(source.files()) == 9 and source.options() == {"folder": "graph_ready", "fold": "u1"}


def test_codes_of_buckets_pass_through_to_the_graph(layout: Path) -> None:
    prepared = prepare(GraphReady(layout), Recipe(split="official", val=0))
    graph = prepared.typed_graph(GraphRecipe(context=["year_bucket", "budget_bucket"]), layout)
    assert set(graph.num_nodes) == {"user", "movie", "genre", "keyword", "director", "writer"}
    assert graph.context is not None and graph.context_sizes == {"year_bucket": 3, "budget_bucket": 3}
    assert dict(zip(prepared.items["item_id"], graph.context.tolist(), strict=True)) == {
        "1": [2, 2], "2": [0, 1], "3": [1, 2],
    }  # fmt: skip


def test_optional_parts_may_be_absent(layout: Path) -> None:
    for folder in ("nodes", "context_data"):
        shutil.rmtree(layout / "graph_ready" / folder)
    write(layout, "movies_graph_ready.csv", "movie_id,genres\n1,[10]\n")
    source = GraphReady(layout)
    assert source.read().items["genres"].tolist() == [["10"]] and len(source.files()) == 3
    assert source.read().items.columns.tolist() == ["genres"]


def test_folder_and_fold_are_arguments(layout: Path) -> None:
    (layout / "graph_ready").rename(layout / "mine")
    for part in ("base", "test"):
        (layout / "mine" / f"u1.{part}").rename(layout / "mine" / f"a.{part}")
    source = GraphReady(layout, "mine", "a")
    assert len(source.read().interactions) == 4 and source.options() != GraphReady(layout).options()


@pytest.mark.parametrize("name", ["movies_graph_ready.csv", "u1.base", "u1.test"])
def test_what_is_needed_is_named(layout: Path, name: str) -> None:
    (layout / "graph_ready" / name).unlink()
    with pytest.raises(InputError, match=rf"graph-ready: {name} is missing in .*graph_ready\. It holds: .*README\.md"):
        GraphReady(layout).read()


@pytest.mark.parametrize(
    "metadata",
    [
        {"year": 4, "budget": 2},
        {"version": 1, "features": {"year": {"num_buckets": 4}, "budget": {"num_buckets": 2}}},
        {"columns": {"year": 4, "budget": {"num_buckets": 2}}},
    ],
)
def test_metadata_of_context_in_its_shapes(layout: Path, metadata: Any) -> None:
    write(layout, "context_data/context_metadata.json", json.dumps(metadata))
    assert GraphReady(layout).read().items["year_bucket"].tolist() == [3, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "context_metadata.json is no JSON"),
        ("[4]", "holds no object of columns. It must read"),
        ("{}", "holds no object of columns"),
        ('{"year": "4"}', "says \"4\" of the column 'year'. It must read"),
        ('{"year": 0}', "says 0 of the column 'year'"),
        ('{"year": true}', "says true of the column 'year'"),
        ('{"year": {"buckets": 4}}', "of the column 'year'. It must read"),
        ('{"year": {"num_buckets": 4, "unknown": "no"}}', "of the column 'year'. It must read"),
        ('{"yaer": 4}', "has no column 'yaer'.* nearest to 'yaer' is 'year'"),
        ('{"year": 3}', "'year' holds 1 codes that are none of its 3 buckets, the first of them 3 of film 1"),
        ('{"title": 3}', "'title' holds 3 values that are no numbers"),
    ],
)
def test_other_metadata_of_context_are_refused(layout: Path, text: str, message: str) -> None:
    write(layout, "context_data/context_metadata.json", text)
    with pytest.raises(InputError, match=message):
        GraphReady(layout).read()


def test_codes_are_whole_and_unknown_may_lie_outside(layout: Path) -> None:
    write(layout, "context_data/context_metadata.json", '{"year": {"num_buckets": 4, "unknown": -1}}')
    write(layout, "context_data/movie_context.csv", "movie_id,year\n1,-1\n3,\n")
    assert GraphReady(layout).read().items["year_bucket"].isna().all()
    write(layout, "context_data/movie_context.csv", "movie_id,year\n1,1.5\n")
    with pytest.raises(InputError, match=r"the first of them 1\.5 of film 1"):
        GraphReady(layout).read()


def test_a_context_without_ids_says_which_are_taken(layout: Path) -> None:
    write(layout, "context_data/movie_context.csv", "film,year\n1,1\n")
    write(layout, "context_data/context_metadata.json", json.dumps({"year": 3}))
    with pytest.raises(InputError, match=r"movie_context\.csv has no column of ids: ml_movie_id or movie_id\. Columns"):
        GraphReady(layout).read()


@pytest.mark.parametrize("name", ["movie_context.csv", "context_metadata.json"])
def test_context_needs_both_its_files(layout: Path, name: str) -> None:
    (layout / "graph_ready" / "context_data" / name).unlink()
    with pytest.raises(InputError, match=rf"is there and .*{name} is not"):
        GraphReady(layout).read()


def test_unknown_nodes_are_counted(layout: Path) -> None:
    write(layout, "nodes/keywords.csv", "id,name\n9,x\n")
    with pytest.raises(
        InputError, match=r"'keywords' names 2 nodes that .*keywords\.csv does not have, the first.*'1'"
    ):
        GraphReady(layout).read()


def test_malformed_lists_are_named_by_row(layout: Path) -> None:
    write(layout, "movies_graph_ready.csv", FILMS.replace('"[2, 1]"', '"[2, 1"'))
    with pytest.raises(InputError, match=r"movies_graph_ready\.csv: the column 'keywords' .*row 3, counted from 1"):
        GraphReady(layout).read()
