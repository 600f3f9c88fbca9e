from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lightning.batches import CSR
from recsys_lightning.cli.advice import Asked, ask
from recsys_lightning.errors import InputError
from recsys_lightning.export.parts import FoldsIn, onnx_tower
from recsys_lightning.serving.engine import Ask, Engine
from recsys_lightning.serving.format import Columns
from recsys_lightning.serving.scorers import Person, Vectors
from tests.conftest import Recsys
from tests.reports.run import runs
from tests.serving.test_server import serving

WORLD = [
    *("--data", "MovieTweetings", "--data.recipe.split", "random", "--data.recipe.limit_users", "300"),
    *("--model", "Ranking", "--trainer.accelerator", "cpu"),
]
FEATURES = ["--data.features.categories", "[genres, directors]", "--data.features.numbers", "[year]"]
TWO_TOWER = [*FEATURES, "--model.recommender", "TwoTower", "--model.recommender.dim", "16"]


def same_lists(engine: Engine, table: pd.DataFrame) -> None:
    """Everybody's list is what `predict` wrote."""
    lists = {str(user): rows for user, rows in table.groupby("user_id", sort=False)}
    assert sorted(lists) == sorted(engine.users)
    answers = engine.recommend([Ask(user=user) for user in lists])
    for answer, rows in zip(answers, lists.values(), strict=True):
        assert [line.item for line in answer.recommendations] == rows["item_id"].tolist()
        assert [line.title for line in answer.recommendations] == rows["title"].tolist()
        assert [line.score for line in answer.recommendations] == pytest.approx(rows["score"].tolist(), rel=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(["--model.recommender", "MF", "--model.recommender.dim", "8"], marks=pytest.mark.slow),
        pytest.param(["--model.recommender", "LightGCN", "--model.recommender.dim", "8"], marks=pytest.mark.slow),
        [*TWO_TOWER, "--model.recommender.categories", "learned", "--model.recommender.similarity", "dot"],
        pytest.param(TWO_TOWER, marks=pytest.mark.slow),  # half a minute of what the one before says
    ],
    ids=["MF", "LightGCN", "TwoTower learned", "TwoTower"],
)
def test_a_moved_export_of_a_run_lists_what_predict_lists(recsys: Recsys, tmp_path: Path, model: list[str]) -> None:
    assert recsys("fit", *WORLD, *model, "--trainer.max_epochs", "1").status == 0
    run = next((tmp_path / "runs").glob("*/version_0"))
    best = run / "checkpoints" / "best.ckpt"
    predicted = recsys("predict", "--config", run / "config.yaml", "--ckpt_path", best)
    table = pd.read_parquet(predicted.last_line)
    made = recsys("export", run, "--to", tmp_path / "export")
    assert made.status == 0, made.err
    assert made.last_line == f"serve it: recsys serve {tmp_path / 'export'}"
    (tmp_path / "export").rename(tmp_path / "moved")
    engine = Engine(tmp_path / "moved")
    same_lists(engine, table)
    if "TwoTower" in model:
        same_for_what_is_new(engine, ask(["--config", str(run / "config.yaml")], str(best), "export"))
    if "LightGCN" in model:
        over_http(tmp_path / "moved", table)


def same_for_what_is_new(engine: Engine, asked: Asked) -> None:
    """Histories are scored as the model scores them, and what somebody types is encoded as the fitted data were."""
    advisor, data = asked
    assert isinstance(engine.scorer, Vectors) and engine.scorer.towers is not None
    own = [[3, 40, 41], [7]]
    rows = CSR(torch.tensor([0, 3, 4]), torch.tensor(own[0] + own[1]))
    with torch.no_grad():
        expected = advisor.model.score_all(advisor.model.users_of(advisor.state, rows), advisor.state).numpy()
    people = [Person(None, np.array(items)) for items in own]
    assert engine.scorer.scores(people) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert engine.manifest.columns == Columns(title=True, numbers=["year"], categories=["genres", "directors"])
    for place in (0, 5, 50):
        record = data.prepared.items.iloc[place]
        described = {name: record[name] for name in ("title", "year")}
        described |= {name: list(record[name]) for name in ("genres", "directors")}
        row = engine.scorer.towers.row(described)
        assert row == pytest.approx(engine.scorer.towers.rows[place], rel=1e-4, abs=1e-5)


def over_http(folder: Path, table: pd.DataFrame) -> None:
    """The same, asked of `recsys serve`, for some users."""
    users = table["user_id"].unique().tolist()[:100]
    with serving(folder) as (_, address):
        body = json.dumps({"requests": [{"user": user} for user in users]}).encode()
        request = urllib.request.Request(f"{address}recommend", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            lists = json.load(answer)["responses"]
    for user, found in zip(users, lists, strict=True):
        assert [line["item"] for line in found["recommendations"]] == table[table["user_id"] == user][
            "item_id"
        ].tolist()


@pytest.mark.parametrize("model", ["ItemKNN", "EASE"])
def test_closed_forms_need_no_checkpoint(recsys: Recsys, tmp_path: Path, model: str) -> None:
    words = [*WORLD, "--model.recommender", model]
    table = pd.read_parquet(recsys("predict", *words).last_line)
    assert recsys("export", *words, "--to", tmp_path / "export").status == 0
    same_lists(Engine(tmp_path / "export"), table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Say where to: recsys export RUN --to FOLDER."),
        (["--to", "x"], "Say which model: recsys export RUN --to FOLDER"),
        (["run", "--to"], "--to is given without a value"),
        (["run", "--to", "x"], "run is no folder of a run: it has no config.yaml."),
        ([*WORLD, "--model.recommender", "MF", "--to", "x"], "MF is trained, so it can be asked by its checkpoint"),
        ([*WORLD, "--model.recommender", "Popularity", "--to", "x"], "Popularity, as it is configured, does not score"),
        ([*WORLD, "--model.recommender", "EASE", "--to", "x", "--ckpt_path", "no.ckpt"], "There is no checkpoint no"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(
    recsys: Recsys, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = recsys("export", *words)
    assert outcome.status == 2
    assert f"recsys: {message}" in outcome.err
    assert not list(tmp_path.iterdir())


def test_of_a_test_the_run_of_its_checkpoint_is_named_and_of_several_runs_the_newest(
    recsys: Recsys, tmp_path: Path
) -> None:
    tested = runs.everything(tmp_path)
    for folder, message in (
        (
            tested,
            f"is the run of a test, and holds no model. The checkpoint that it tested is of the run {tested.parent}/",
        ),
        (tested, f"recsys export {tested.parent}/version_0 --to FOLDER."),
        (tested.parent, f"{tested.parent} holds several runs. Name one; the newest is {tested}."),
    ):
        outcome = recsys("export", folder, "--to", tmp_path / "x")
        assert outcome.status == 2 and message in outcome.err
    given = recsys("export", tested, "--to", tmp_path / "x", "--ckpt_path", tmp_path / "no.ckpt")
    assert given.status == 2 and "run of a test" not in given.err


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_a_library_of_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"^`recsys export` of towers needs {library}: pip install recsys-lightning"):
        onnx_tower(cast(FoldsIn, None), "user", 6)


def test_without_the_extra(recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    outcome = recsys("export", *WORLD, "--model.recommender", "EASE", "--to", tmp_path / "x")
    assert outcome.status == 2
    assert "`recsys export` needs pydantic: pip install recsys-lightning[serve]." in outcome.err
