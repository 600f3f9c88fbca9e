from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from recsys_lightning import __version__
from recsys_lightning.callbacks.wandb.track import SWEEP, define_metrics
from recsys_lightning.cli.wandb_account import PROJECT
from recsys_lightning.reports.user_groups import ACTIVITY, DOMAIN, GENRE, POPULARITY
from recsys_lightning.tasks.evaluation import RankingTask
from tests.callbacks.wandb.conftest import CANARY, Home, Told


def test_the_configuration_holds_the_options_the_data_and_the_commit(ranking: dict[str, Told]) -> None:
    config = ranking["fit"].run.config
    saved = yaml.safe_load((ranking["fit"].folder / "config.yaml").read_text())
    assert all(config[part] == saved[part] for part in ("model", "data", "trainer", "checkpoint"))
    card = config["card"]
    assert card["users"] == 150 and sum(card["rows"].values()) == card["steps"][-3]["rows"] + sum(
        step["rows"] for step in card["steps"][-2:]
    )
    assert (
        card["fingerprint"]
        == ranking["test"].metrics["fingerprint"]
        == ranking["test"].run.config["card"]["fingerprint"]
    )
    assert set(config["git"]) in (set(), {"commit", "dirty"})
    assert config["code"]["version"] == __version__ and len(config["code"]["digest"]) == 64
    assert [row["name"] for row in ranking["fit"].run.table("data/steps")] == [step["name"] for step in card["steps"]]


def test_figures_are_grouped_and_the_best_is_in_the_summary(ranking: dict[str, Told]) -> None:
    run = ranking["fit"].run
    figures = {name for name in run.names if "/" in name}
    assert {name.split("/")[0] for name in figures} == {"data", "train", "val", "trainer"}
    assert {"train/loss_step", "train/loss_epoch", "val/ndcg_10", "val/coverage_20"} <= figures
    logged = [row["val/ndcg_10"] for row in run.history if "val/ndcg_10" in row]
    assert run.summary["val/ndcg_10"] == {"max": max(logged), "last": logged[-1]}
    assert run.metrics["train/loss_epoch"] == {"min", "last"} and run.summary["best/score"] == max(logged)
    assert run.exit_code == 0 and run.job == "fit"


def test_a_test_logs_what_lies_behind_its_figures(ranking: dict[str, Told]) -> None:
    run, metrics = ranking["test"].run, ranking["test"].metrics
    buckets = run.table("test/buckets")
    facts = json.loads((ranking["test"].folder / "facts.json").read_text())
    assert buckets == facts["buckets"] and {row["of"] for row in buckets} >= {ACTIVITY, POPULARITY, GENRE}
    activity = [row for row in buckets if row["of"] == ACTIVITY]
    for name in ("ndcg_10", "recall_10"):
        mean = sum(row["users"] * row[name] for row in activity) / metrics["users"]
        assert mean == pytest.approx(metrics[f"test/{name}"], abs=1e-9)
    samples = run.table("test/samples")
    assert len(samples) == 20
    for row in samples:
        shown = row["recommended"].split(" · ")
        marked = [line.partition("✓ ")[2] for line in shown if "✓ " in line]
        assert len(shown) == 10 and len(marked) == row["hits"] and set(marked) <= set(row["held out"].split(" · "))
    assert any(row["hits"] for row in samples)
    reasons = run.table("test/explanations")
    assert len({row["user"] for row in reasons}) == 3 and all(row["relation"] == "rates" for row in reasons)
    points = run.table("test/projection")
    assert {"x", "y", "title", "genre"} <= set(points[0]) and len(points) <= 2000
    assert {row["genre"] for row in points} & {"Drama", "Comedy"}


def test_floors_are_a_table_and_reference_values(ranking: dict[str, Told]) -> None:
    run = ranking["test"].run
    table = {row["floor"]: row for row in run.table("test/floors")}
    assert set(table) == {"Popularity", "ItemKNN", "EASE", "GFCF"}
    assert run.summary["floors/EASE/ndcg_10"] == table["EASE"]["ndcg_10"]


def test_histograms_hold_everybody_who_was_trained(ranking: dict[str, Told], on_vectors: dict[str, list[Told]]) -> None:
    run = ranking["test"].run
    [lengths] = [row["test/norm_user"] for row in run.history if "test/norm_user" in row]
    assert lengths["_type"] == "histogram" and sum(lengths["values"]) == 150
    conditioned = on_vectors["Conditioning"][1].run
    assert {"test/cosine_movie", "test/cosine_book", "test/norm_user_movie"} <= conditioned.names
    assert {row["domain"] for row in conditioned.table("test/samples")} == {"movie", "book"}
    domains = {row["name"] for row in conditioned.table("test/buckets") if row["of"] == DOMAIN}
    assert domains == {"movie", "book"}


def test_files_are_artifacts_and_later_runs_say_which_they_read(
    ranking: dict[str, Told], on_vectors: dict[str, list[Told]]
) -> None:
    fit, test, predict = (ranking[verb] for verb in ("fit", "test", "predict"))
    name = f"model-{fit.folder.name}"
    model = fit.run.artifacts[name]
    assert model["type"] == "model" and model["files"] == [str(fit.folder / "checkpoints" / "best.ckpt")]
    digest = model["metadata"]["digest"]
    assert set(model["aliases"]) == {"latest", digest}
    assert test.run.config["sources"]["checkpoint"]["artifact"] == f"{PROJECT}/{name}:{digest}"
    vectors = predict.run.artifacts[f"vectors-{predict.folder.name}"]
    assert vectors["metadata"]["sources"]["checkpoint"]["digest"] == digest
    fitted = on_vectors["Conditioning"][0].run
    assert fitted.config["sources"]["vectors"]["artifact"] == "me/mine/vectors-abc:1"
    [left] = [one for one in fitted.artifacts.values() if one["type"] == "model"]
    assert left["metadata"]["sources"] == fitted.config["sources"]


def test_no_secret_is_in_anything_that_was_written(home: Home, ranking: dict[str, Told]) -> None:
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_the_saved_configuration_gives_the_same_figures_without_wandb(home: Home, ranking: dict[str, Told]) -> None:
    """The second run is one without W&B, so this also says that both modes are equal in function."""
    before = set(home.root.rglob("metrics.json"))
    config = f"--config={ranking['fit'].folder / 'config.yaml'}"
    home.recsys("fit", config, "--trainer.logger=true")
    [best] = home.root.glob("runs/movietweetings-lightgcn/version_*/checkpoints/best.ckpt")
    home.recsys("test", config, "--trainer.logger=true", f"--ckpt_path={best}")
    [metrics] = set(home.root.rglob("metrics.json")) - before
    again = Told(metrics.parent, ranking["test"].run).metrics
    assert again == ranking["test"].metrics


class Metrics:
    def __init__(self) -> None:
        self.defined: dict[str, Any] = {}

    def define_metric(self, name: str, **options: Any) -> None:
        self.defined[name] = options["summary"]


def test_a_sweep_finds_a_number_under_the_name_that_it_optimises(monkeypatch: pytest.MonkeyPatch) -> None:
    task = RankingTask.__new__(RankingTask)
    vars(task).update(k=(5,), schema=None)
    run = Metrics()
    define_metrics(run, task)
    assert run.defined["val/ndcg_5"] == "max,last" and run.defined["train/loss_epoch"] == "min,last"
    monkeypatch.setenv(SWEEP, "abc")
    other = Metrics()
    define_metrics(other, task)
    assert not other.defined


def test_what_fails_is_said_and_the_test_goes_on(
    home: Home, ranking: dict[str, Told], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """W&B takes nothing any more, and the figures are the same."""
    from wandb import Artifact, Table
    from wandb.sdk.wandb_run import Run

    def broken(*words: object, **options: object) -> None:
        raise OSError("No space left on device")

    for kind, method in ((Run, "log"), (Table, "__init__"), (Artifact, "add_file")):
        monkeypatch.setattr(kind, method, broken)
    best = ranking["fit"].folder / "checkpoints" / "best.ckpt"
    before = set(home.root.rglob("metrics.json"))
    home.recsys("test", f"--config={ranking['fit'].folder / 'config.yaml'}", f"--ckpt_path={best}", tolerate=True)
    [metrics] = set(home.root.rglob("metrics.json")) - before
    assert Told(metrics.parent, ranking["test"].run).metrics == ranking["test"].metrics
    said = capfd.readouterr().err
    for what in ("figures", "sample recommendations", "the floors"):
        assert f"Weights & Biases was not told {what}: No space left on device." in said
