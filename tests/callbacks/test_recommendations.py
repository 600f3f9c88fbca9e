from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
import torch

from recsys_lightning.callbacks.recommendations import WriteRecommendations, recommendation_table
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.evaluation import TopItems
from recsys_lightning.tasks.ranking import Ranking
from tests.data.memory import Memory, interactions
from tests.tasks.test_base import data, trainer
from tests.worlds import DomainSource, MemorySource

COLUMNS = ["user_id", "rank", "item_id", "score", "title"]


def predicted(
    folder: Path,
    format: Literal["parquet", "csv"] = "parquet",
    module: InteractionsDataModule | None = None,
    predict_k: int = 7,
) -> tuple[pd.DataFrame, Path]:
    writer = WriteRecommendations(format)
    trainer(folder, callbacks=[writer]).predict(Ranking(Popularity, predict_k=predict_k), module or data())
    path = folder / f"recommendations.{format}"
    read = pd.read_parquet if format == "parquet" else pd.read_csv
    return read(path), path


def test_lists_have_raw_ids_ranks_and_titles(tmp_path: Path) -> None:
    table, path = predicted(tmp_path)
    assert list(table.columns) == COLUMNS and path == tmp_path / "recommendations.parquet"
    module = data()
    assert table["user_id"].unique().tolist() == module.prepared.users["user_id"].tolist()
    assert table.groupby("user_id")["rank"].agg(list).map(lambda ranks: ranks == list(range(1, 8))).all()
    assert table.groupby("user_id")["score"].agg(lambda score: score.is_monotonic_decreasing).all()
    titles = module.prepared.items.set_index("item_id")["title"]
    assert (titles.loc[table["item_id"]].to_numpy() == table["title"].to_numpy()).all()
    known = module.prepared.interactions.take(module.prepared.mask("train", "val"))
    users, items = known.user_ids.to_pandas().iloc[known.user], known.item_ids.to_pandas().iloc[known.item]
    assert not set(zip(users, items, strict=True)) & set(zip(table["user_id"], table["item_id"], strict=True))


def test_csv_holds_the_same(tmp_path: Path) -> None:
    written, path = predicted(tmp_path / "csv", "csv")
    assert path.name == "recommendations.csv"
    pd.testing.assert_frame_equal(
        written, predicted(tmp_path / "parquet")[0], check_dtype=False, check_exact=False, rtol=1e-6
    )


def test_the_size_of_batches_does_not_matter(tmp_path: Path) -> None:
    small = InteractionsDataModule(MemorySource(), Recipe(split="random"), eval_batch_size=7)
    pd.testing.assert_frame_equal(predicted(tmp_path / "small", module=small)[0], predicted(tmp_path / "large")[0])


def test_users_with_fewer_unseen_items_have_fewer_rows(tmp_path: Path) -> None:
    pairs = [("all", f"i{item}") for item in range(4)] + [("two", "i0"), ("two", "i1"), ("one", "i2")]
    rows = Memory(interactions(pairs), variant="few items")
    module = InteractionsDataModule(rows, Recipe(split="random", val=0, test=0), eval_batch_size=2)
    table, _ = predicted(tmp_path, module=module, predict_k=3)
    assert table.groupby("user_id").size().to_dict() == {"one": 3, "two": 2}
    assert set(table.loc[table["user_id"] == "two", "item_id"]) == {"i2", "i3"}


def test_batches_of_several_processes_are_set_in_order() -> None:
    module = data()
    batches = [
        TopItems(torch.tensor([1, 3]), torch.tensor([[5, 2], [0, -1]]), torch.tensor([[0.9, 0.5], [0.3, -torch.inf]])),
        TopItems(torch.tensor([0, 2]), torch.tensor([[1, 0], [-1, -1]]), torch.tensor([[0.8, 0.1]] * 2)),
    ]
    table = recommendation_table(batches, module)
    users, items = module.prepared.users["user_id"], module.prepared.items["item_id"]
    assert table["user_id"].tolist() == [users[user] for user in (0, 0, 1, 1, 3)]
    assert table["item_id"].tolist() == [items[item] for item in (1, 0, 5, 2, 0)]
    assert table["rank"].tolist() == [1, 2, 1, 2, 1]
    assert table["score"].tolist() == pytest.approx([0.8, 0.1, 0.9, 0.5, 0.3])


def test_a_second_prediction_replaces_the_first(tmp_path: Path) -> None:
    writer, task, module = WriteRecommendations(), Ranking(Popularity, predict_k=3), data()
    made = trainer(tmp_path, callbacks=[writer])
    for _ in range(2):
        made.predict(task, module)
    assert len(pd.read_parquet(tmp_path / "recommendations.parquet")) == 3 * module.schema.num_users
    assert [path.name for path in tmp_path.iterdir()] == ["recommendations.parquet"]


def test_lists_of_several_domains_say_of_which_they_are(tmp_path: Path) -> None:
    module = InteractionsDataModule(DomainSource(), Recipe(split="random"), eval_batch_size=7)
    table, _ = predicted(tmp_path, module=module, predict_k=4)
    assert list(table.columns) == ["user_id", "domain", *COLUMNS[1:]]
    assert (table["title"].str.split().str[0] == table["domain"]).all()
    lists = table.groupby(["user_id", "domain"], sort=False)
    assert len(lists) == 2 * module.schema.num_users
    assert lists["rank"].agg(list).map(lambda ranks: ranks == [1, 2, 3, 4]).all()
    assert lists["score"].agg(lambda score: score.is_monotonic_decreasing).all()
    assert [name for name, _ in lists][:2] == [(table["user_id"][0], "movie"), (table["user_id"][0], "book")]


def test_lists_of_domains_are_in_order_whichever_process_made_them() -> None:
    module = InteractionsDataModule(DomainSource(), Recipe(split="random"))
    prepared = module.prepared
    assert prepared.domain is not None
    movie, book = (int((prepared.domain == code).argmax()) for code in (0, 1))
    score = torch.tensor([[0.5, -torch.inf]] * 2)
    batches = [
        TopItems(torch.tensor([3, 1]), torch.tensor([[book, -1], [book, -1]]), score),
        TopItems(torch.tensor([1, 3]), torch.tensor([[movie, -1], [movie, -1]]), score),
    ]
    table = recommendation_table(batches, module)
    users = prepared.users["user_id"]
    expected = [(users[user], name) for user in (1, 3) for name in ("movie", "book")]
    assert list(zip(table["user_id"], table["domain"], strict=True)) == expected
