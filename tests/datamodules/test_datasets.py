from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.root import data_root
from recsys_lightning.data.sources import SOURCES
from recsys_lightning.datamodules import datasets
from recsys_lightning.datamodules.datasets import (
    Amazon,
    Books,
    Goodbooks,
    GraphReady,
    HetrecLastFM,
    LightGCNSplit,
    MovieLens,
    MovieTweetings,
    SyntheticDomains,
    Table,
)
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from tests.conftest import REPOSITORY

EVERY: dict[type[InteractionsDataModule], dict[str, object]] = {
    MovieTweetings: {"variant": "raw", "domains": {"action": ["Action"], "drama": ["Drama"]}},
    MovieLens: {"variant": "1m", "metadata": "films.csv", "reviews": "reviews.jsonl"},
    GraphReady: {"folder": "mine", "fold": "u2"},
    Goodbooks: {"ratings": "ratings_random.csv"},
    Amazon: {"files": {"Books": "books.csv"}, "folder": "amazon-2014", "layout": "2014"},
    LightGCNSplit: {"folder": "yelp2018"},
    HetrecLastFM: {},
    Books: {
        "books": "my_books.csv",
        "users": "log.csv",
        "folder": "mine",
        "name": "ours",
        "columns": Columns("who", "what"),
        "file_order": True,
        "author_separator": ";",
        "encoding": "latin-1",
        "on_bad": "drop",
    },
    SyntheticDomains: {
        "users": 50,
        "overlap": 0.5,
        "rows": 6.0,
        "factors": 2,
        "noise": 0.7,
        "popularity": 0.0,
        "seed": 3,
    },
    Table: {"interactions": "mine.csv", "columns": Columns("who", "what"), "name": "mine"},
}


def test_every_source_has_a_datamodule_of_its_name() -> None:
    made = {name for name, kind in vars(datasets).items() if inspect.isclass(kind) and kind in EVERY}
    assert made == {source.__name__ for source in SOURCES.values()} == {kind.__name__ for kind in EVERY}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_root_is_the_option_or_that_of_the_environment(
    kind: type[InteractionsDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kind(**EVERY[kind]).source.root == data_root()  # type: ignore[arg-type]
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path / "environment"))
    assert kind(**EVERY[kind]).source.root == tmp_path / "environment"  # type: ignore[arg-type]
    assert kind(root=tmp_path / "option", **EVERY[kind]).source.root == tmp_path / "option"  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_options_reach_the_source_and_the_datamodule(kind: type[InteractionsDataModule], tmp_path: Path) -> None:
    data = kind(root=tmp_path, batch_size=7, history_length=3, **EVERY[kind])  # type: ignore[arg-type]
    assert type(data.source).__name__ == kind.__name__
    assert (data.batch_size, data.history_length) == (7, 3)
    options = data.source.options()
    separators = getattr(data.source, "separators", {})
    for name, value in EVERY[kind].items():
        assert value in (getattr(data.source, name, None), options.get(name), *separators.values())


def test_splits_suit_the_data() -> None:
    assert Goodbooks().recipe.split == "leave_last_out"
    assert (LightGCNSplit().recipe.split, LightGCNSplit().recipe.unseen_items) == ("official", "keep")
    assert GraphReady().recipe.split == "official"
    assert HetrecLastFM().recipe.split == "random"
    assert SyntheticDomains().recipe.split == "leave_last_out"
    own = Books().recipe
    assert (own.orphans, own.user_core, own.item_core, own.split) == ("drop", 5, 10, "leave_last_out")
    assert MovieTweetings().recipe.split == MovieLens().recipe.split == "global_time"


def test_the_graph_of_the_data_readme_is_made_as_it_says(tmp_path: Path) -> None:
    text = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "graph:" in block]
    told = yaml.safe_load(example)["data"]
    assert told["class_path"] == "MovieTweetings"
    shutil.copytree(REPOSITORY / "data" / "movietweetings", tmp_path / "movietweetings")
    (tmp_path / told["init_args"]["graph"]["parents"]["genre"]).write_text("value,parent\nHorror,Dark\n")
    films = MovieTweetings(tmp_path).prepared.items["item_id"]
    vectors = pa.table({"item_id": films.tolist(), "vector": [[1.0, 2.0]] * len(films)})
    pq.write_table(vectors, tmp_path / told["init_args"]["graph"]["vectors"])
    schema = MovieTweetings(tmp_path, graph=GraphRecipe(**told["init_args"]["graph"])).schema
    assert set(schema.num_nodes) == {"user", "movie", "genre", "actor"} and schema.num_features >= 4
    assert ("genre", "is_a", "genre") in schema.edge_types and schema.edge_weight == "recency"


def test_a_fold_is_that_of_the_source() -> None:
    assert [file.name for file in MovieLens(fold="u3").source.files()][:2] == ["u3.base", "u3.test"]


def test_the_embedded_sample_is_whole() -> None:
    data = MovieTweetings()
    read = data.prepared.steps[0]
    assert (read.rows, read.users, read.items) == (66_519, 4_271, 2_301)
    schema = data.schema
    assert schema.item_type == "movie"
    assert {"user", "movie", "genre"} <= set(schema.num_nodes)
    assert data.prepared.items["title"].str.len().gt(0).all()
