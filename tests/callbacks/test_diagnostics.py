from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch import nn

from recsys_lightning.callbacks.diagnostics import Diagnostics, plain
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.gat import GAT
from recsys_lightning.models.genre_gat import GenreGAT
from recsys_lightning.models.gfcf import GFCF
from recsys_lightning.models.hybrid import HybridRecommender
from recsys_lightning.models.knn import ItemKNN
from recsys_lightning.models.lightgcn import LightGCN
from recsys_lightning.models.mf import MF
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.conftest import REPOSITORY, Recsys
from tests.data.memory import Memory, interactions
from tests.tasks.test_base import data, trainer

ALWAYS = {"correlations", "correlations_about", "buckets", "samples", "hit_ratios"}
VECTORS = {"norms", "cohesion", "alignment"}


def look(folder: Path, model: Callable[..., Recommender], **options: int) -> dict[str, Any]:
    task, module = Ranking(model, k=[5, 10]), data()
    callback = Diagnostics(**{"resamples": 100, "pairs": 900, **options})
    made = trainer(folder, max_epochs=1, limit_train_batches=2, callbacks=[callback])
    if not getattr(model, "func", model).closed_form:
        made.fit(task, module)
    made.test(task, module, verbose=False)
    found: dict[str, Any] = json.loads((folder / "diagnostics.json").read_text())
    return found


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (partial(MF, dim=4), VECTORS),
        (partial(LightGCN, dim=4, layers=2), VECTORS),
        (partial(GAT, dim=4, heads=2), VECTORS),
        (partial(GenreGAT, dim=4, heads=2), set()),
        (partial(HybridRecommender, views="graph", dim=4, scorer="mlp"), set()),
        (partial(EASE, regularization=10.0), set()),
        (partial(GFCF, factors=4), set()),
        (ItemKNN, set()),
        (Popularity, set()),
    ],
)
def test_every_model_is_looked_at(tmp_path: Path, model: Callable[..., Recommender], parts: set[str]) -> None:
    found = look(tmp_path, model)
    assert set(found) - VECTORS == ALWAYS and VECTORS & set(found) >= parts


def test_the_file_has_its_format(tmp_path: Path) -> None:
    found = look(tmp_path, partial(MF, dim=4))
    for side in ("user", "item"):
        spread = found["norms"][side]
        assert set(spread) == {"mean", "quantiles", "edges", "counts"}
        assert list(spread["quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
        assert len(spread["edges"]) == len(spread["counts"]) + 1
    assert set(found["cohesion"][0]) == {"kind", "k", "observed", "expected", "items"}
    assert set(found["alignment"]) == {"mean", "shuffled", "users", "edges", "counts"}
    names = {"feature", "r", "p", "low", "high", "p_clustered", "q", "significant"}
    assert all(set(one) == names for one in found["correlations"])
    about = {"users", "items", "pairs", "resamples", "alpha", "permuted"}
    assert set(found["correlations_about"]) == about
    bucket = {"of", "name", "users", "relevant", "recall_5", "low", "high"}
    assert {frozenset(one) for one in found["buckets"]} == {frozenset(bucket), frozenset({*bucket, "ndcg_5"})}
    assert set(found["hit_ratios"]["genre"]) == {"lists", "random", "users"}
    sample = found["samples"][0]
    assert set(sample) == {"user", "history", "recommendations", "hit_ratio"}
    assert set(sample["recommendations"][0]) == {"rank", "item", "title", "score", "hit", "shared"}


def test_a_seed_decides_all_that_is_drawn(tmp_path: Path) -> None:
    first, again, other = (look(tmp_path, EASE, seed=seed, users=20) for seed in (0, 0, 1))
    assert first == again != other
    assert [one["user"] for one in first["samples"]] != [one["user"] for one in other["samples"]]


def test_data_without_attributes_and_times_have_fewer_parts(tmp_path: Path) -> None:
    pairs = [(f"u{user}", f"i{item}") for user in range(12) for item in range(9) if (user + item) % 3]
    module = InteractionsDataModule(Memory(interactions(pairs), variant="plain"), Recipe(split="random", val=0))
    callback = Diagnostics(resamples=100)
    trainer(tmp_path, callbacks=[callback]).test(Ranking(Popularity, k=[5]), module, verbose=False)
    found = json.loads((tmp_path / "diagnostics.json").read_text())
    assert set(found) == ALWAYS - {"hit_ratios"}
    assert [one["feature"] for one in found["correlations"]] == ["popularity (log)"]
    assert found["samples"][0]["hit_ratio"] == {} and found["samples"][0]["history"]


def test_a_fit_is_not_looked_at(tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=1, callbacks=[Diagnostics()]).fit(Ranking(partial(MF, dim=4)), data())
    assert not list(tmp_path.rglob("diagnostics.json"))


def test_the_modes_of_the_model_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    real = MF.encode
    monkeypatch.setattr(MF, "encode", lambda self, views: (modes.append(self.training), real(self, views))[1])
    task, module = Ranking(partial(MF, dim=4)), data()
    made, callback = trainer(tmp_path, max_epochs=1, limit_train_batches=1), Diagnostics(resamples=100)
    made.fit(task, module)
    made.test(task, module, verbose=False)
    task.recommender.train()
    task.recommender.frozen = nn.Dropout().eval()
    modes.clear()
    callback.on_test_end(made, task)
    assert modes == [False]
    assert task.recommender.training and not task.recommender.frozen.training


@pytest.mark.parametrize(
    ("option", "value", "least"), [("users", 0, 1), ("resamples", 99, 100), ("neighbours", 0, 1), ("seed", -1, 0)]
)
def test_numbers_that_are_too_small_are_refused(option: str, value: int, least: int) -> None:
    with pytest.raises(InputError, match=f"{option} {value}; it must be at least {least}"):
        Diagnostics(**{option: value})


def test_what_json_does_not_know_is_null() -> None:
    class Pair(NamedTuple):
        first: float
        second: tuple[int, ...]

    found = plain({"a": Pair(1 / 3, (1, 2)), "b": [float("nan"), float("inf"), None, True, "x"], "c": 1e-300})
    assert found == {"a": {"first": 0.333333, "second": [1, 2]}, "b": [None, None, None, True, "x"], "c": 1e-300}
    assert json.dumps(plain(np.float64(0.25))) == "0.25"


def test_the_command_line_knows_it_by_its_short_name(recsys: Recsys, tmp_path: Path) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "popularity.yaml"
    words = ["--trainer.callbacks+=Diagnostics", "--trainer.callbacks.resamples", 100, "--trainer.callbacks.samples", 2]
    outcome = recsys("test", "--config", config, *words)
    assert outcome.status == 0, outcome.err
    (file,) = tmp_path.rglob("diagnostics.json")
    found = json.loads(file.read_text())
    assert len(found["samples"]) == 2 and (file.parent / "metrics.json").is_file()
    assert found["correlations"][0]["r"] > 0.5 and found["correlations_about"]["resamples"] == 100
    page = (file.parent / "report.md").read_text()  # by WriteResults, which runs before it
    for section in ("Metrics", "By groups", "Scores and features", "What is recommended"):
        assert f"\n## {section}\n" in page, section
