from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from torch import Tensor, nn

from recsys_lightning.batches import Views
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.schema import Schema
from tests.conftest import Recsys


@dataclass
class TableOptions:
    """How a table is kept."""

    sparse: bool = False
    max_norm: float | None = None


class WithTable(Recommender):
    """Sparse or dense tables, as options say.

    Args:
        schema: sizes of the data.
        table: how they are kept.
        dim: their width.
    """

    def __init__(self, schema: Schema, table: TableOptions = TableOptions(), dim: int = 4) -> None:  # noqa: B008
        super().__init__(schema)
        options = {"sparse": table.sparse, "max_norm": table.max_norm}
        self.user_table = nn.Embedding(self.num_users, dim, **options)
        self.item_table = nn.Embedding(self.num_items, dim, **options)
        self.bias = nn.Linear(dim, dim)

    def encode(self, views: Views) -> Embeddings | None:
        return None

    def users(self, state: object, user: Tensor) -> Tensor:
        vectors: Tensor = self.bias(self.user_table(user))
        return vectors

    def items(self, state: object, item: Tensor | None = None) -> Tensor:
        vectors: Tensor = self.item_table.weight if item is None else self.item_table(item)
        return vectors


@pytest.fixture
def world(tmp_path: Path) -> list[str]:
    """Options of a sparse network, and of data whose file is not there yet."""
    return [
        *("--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "world.csv"),
        *("--data.columns.timestamp", "timestamp", "--data.recipe.split", "random", "--data.batch_size", "64"),
        *("--model", "Ranking", "--model.recommender", f"{__name__}.WithTable"),
        *("--model.recommender.table.sparse", "true"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.optimizer", "SGD", "--model.optimizer.weight_decay", "0.5"], r"weight_decay is 0\.5: .* Set --mod"),
        (["--model.optimizer.weight_decay", "0.5"], r"weight_decay is 0\.5"),
        (["--model.optimizer", "LBFGS"], r"model\.optimizer is LBFGS, which"),
        (
            ["--model.recommender.table.max_norm", "2"],
            r"model\.recommender\.table is sparse and has a max_norm of 2, which .* Leave one",
        ),
    ],
)
def test_what_excludes_sparse_tables_is_refused_before_any_data_are_read(
    recsys: Recsys, world: list[str], options: list[str], message: str
) -> None:
    outcome = recsys("fit", *world, *options)
    assert outcome.status == 2
    assert re.search(message, outcome.err) and "world.csv" not in outcome.err, outcome.err


def test_what_excludes_sparse_tables_is_refused_in_a_file_too(recsys: Recsys, world: list[str], tmp_path: Path) -> None:
    options = {"recommender": {"class_path": world[-3], "init_args": {"table": {"sparse": True}}}}
    optimizer = {"class_path": "AdamW", "init_args": {"lr": 0.1, "weight_decay": 0.01}}
    model = {"class_path": "Ranking", "init_args": {**options, "optimizer": optimizer}}
    (tmp_path / "sparse.yaml").write_text(yaml.safe_dump({"model": model}))
    outcome = recsys("fit", "--config", tmp_path / "sparse.yaml", *world[: world.index("--model")])
    assert outcome.status == 2 and "weight_decay is 0.01: it would shrink every row" in outcome.err, outcome.err


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model.optimizer", "AdamW", "--model.optimizer.weight_decay", "0"],
        ["--model.recommender.table.sparse", "false", "--model.optimizer", "AdamW"],
        ["--model.recommender.table.sparse", "false", "--model.recommender.table.max_norm", "2"],
    ],
)
def test_what_goes_together_passes(recsys: Recsys, world: list[str], options: list[str]) -> None:
    missing = recsys("fit", *world, *options)
    assert missing.status == 2 and "world.csv is missing" in missing.err
