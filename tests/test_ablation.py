"""`experiments/ablation.py` does its runs through the real command line, once each, and tells the truth about them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from recsys_lightning.reports.ablation import Training
from recsys_lightning.reports.gates import gate_table
from recsys_lightning.reports.tested import NO_METRICS
from tests.conftest import REPOSITORY

SHORT = [
    "--epochs",
    "1",
    "--trainer.limit_train_batches=1",
    "--data.recipe.limit_users=60",
    "--trainer.accelerator=cpu",
]
Ablate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def ablation() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("ablation")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GenreGAT on the embedded sample, with LightGCN beside it; what is measured of it stays for all tests."""
    folder, source = tmp_path_factory.mktemp("small"), REPOSITORY / "experiments" / "movietweetings"
    text = yaml.safe_load((source / "lightgcn.yaml").read_text())
    text["model"]["init_args"]["recommender"]["init_args"] = {"dim": 8, "layers": 1}
    for name, file in {"LightGCN": "lightgcn.yaml", "GenreGAT": "genre_gat.yaml"}.items():
        text["model"]["init_args"]["recommender"]["class_path"] = name
        (folder / file).write_text(yaml.safe_dump(text))
    (folder / "data.yaml").write_text((source / "data.yaml").read_text())
    return folder / "genre_gat.yaml"


@pytest.fixture
def runs(config: Path) -> Path:
    return config.parent / "runs" / f"{config.parent.name}-genre_gat"


@pytest.fixture
def ablate(
    ablation: ModuleType, config: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ablate:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ablation.py"])
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back after the test, whatever the runs set
        capfd.readouterr()
        status = ablation.main(["--config", str(config), "--folder", str(config.parent / "runs"), *map(str, words)])
        return (status, *capfd.readouterr())

    return run


def rows(text: str) -> list[list[str]]:
    """Cells of the first table."""
    table = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_variants_differ_in_one_thing_and_go_through_the_command_line(ablate: Ablate, runs: Path) -> None:
    status, out, err = ablate("--seeds", 2, "--only", "attention", *SHORT)
    assert status == 0, err
    found = rows(out)
    assert [row[:2] for row in found[:2]] == [["attention", "base"], ["attention", "attention none"]]
    assert found[0][2] == "all users" and len(found) == 2 * 5
    assert (runs / "table.md").read_text() == out.removesuffix("\n")
    folders = sorted(path.relative_to(runs).as_posix() for path in runs.glob("*/seed_*"))
    assert folders == ["attention_none/seed_0", "attention_none/seed_1", "base/seed_0", "base/seed_1"]
    saved = {run: yaml.safe_load(next((runs / run).rglob("config.yaml")).read_text()) for run in folders}
    options = {run: text["model"]["init_args"]["recommender"]["init_args"] for run, text in saved.items()}
    assert options["base/seed_0"] | {"attention": "none"} == options["attention_none/seed_0"]
    assert [saved[run]["seed_everything"] for run in folders] == [0, 1, 0, 1]
    for run in folders:
        [test] = (runs / run).rglob("per_user.parquet")
        values, written = pd.read_parquet(runs / run / "values.parquet"), pd.read_parquet(test)
        shared = ["user_id", *(name for name in written if name not in NO_METRICS)]
        pd.testing.assert_frame_equal(values[shared], written[shared])
    mean = float(found[0][4])
    assert mean == pytest.approx(
        sum(pd.read_parquet(runs / f"base/seed_{n}/values.parquet")["ndcg_10"].mean() for n in (0, 1)) / 2, abs=1e-4
    )


def test_finished_runs_are_not_done_again_and_others_are(
    ablate: Ablate, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--seeds", 1, "--only", "attention", *SHORT)
    first = ablate(*words)
    measuring: Any = importlib.import_module("measuring")
    made: list[str] = []
    real = measuring.make_cli
    monkeypatch.setattr(
        measuring, "make_cli", lambda words, run: (made.append(words[0]) if run else None, real(words, run=run))[1]
    )
    assert ablate(*words)[:2] == first[:2]
    assert made == []
    base = runs / "base" / "seed_0"
    test = max(base.rglob("metrics.json"), key=lambda path: path.stat().st_mtime)
    data = json.loads((base / "order.json").read_text())["data"]
    assert data.items() >= {key: json.loads(test.read_text())[key] for key in ("fingerprint", "graph")}.items()
    (base / "values.parquet").unlink()  # as if it had been interrupted
    assert ablate(*words)[:2] == first[:2]
    assert made == ["fit", "test"]


def test_cold_items(ablate: Ablate, runs: Path) -> None:
    status, out, err = ablate("--seeds", 1, "--only", "cold", *SHORT)
    assert status == 0, err
    found = rows(out)
    names = ["GenreGAT", "GenrePopularity", "LightGCN", "Popularity"]
    assert [row[1] for row in found] == names * 2
    assert [row[2] for row in found] == ["all users"] * 4 + ["all users, cold items alone"] * 4
    among_all, alone = ({row[1]: float(row[4]) for row in found[at : at + 4]} for at in (0, 4))
    assert among_all["Popularity"] == 0 < alone["Popularity"]  # warm items take every place; alone it is chance
    assert all(alone[name] >= among_all[name] for name in names)
    assert "a tenth of the items is held out" in out
    assert len(list((runs / "cold" / "GenrePopularity").iterdir())) == 1
    order = json.loads((runs / "cold" / "LightGCN" / "seed_0" / "order.json").read_text())
    assert "--data.recipe.split=item_cold" in order["options"]


Measured = list[tuple[str, int, bool, tuple[str, ...], Path | None]]


@pytest.fixture
def measured(ablation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Calls for runs, which are made up here; each leaves a checkpoint of its own, and gates where it has two views."""
    calls: Measured = []

    def measure(
        variant: Any, seed: int, words: tuple[str, ...], folder: Path, cold: bool, data: object, trained: Path | None
    ) -> Any:
        calls.append((variant.name, seed, cold, words, trained))
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(len(calls))
        values = pd.DataFrame({"user_id": list("abcd"), "items": [1, 2, 3, 4], "ndcg_10": random.random(4)})
        gates = gate_table("item", random.random(8), np.arange(8), np.arange(8)) if "hybrid" in variant.name else None
        training = Training(30.0 + seed, 3) if variant.trained and not variant.of else None
        checkpoint = folder / "best.ckpt" if training else None
        return ablation.Run(values, gates, training, checkpoint)

    monkeypatch.setattr(ablation, "measure", measure)
    monkeypatch.setattr(ablation, "data_of", lambda *words: calls.append(("data", 0, False, words, None)))
    return calls


@pytest.fixture
def hybrid(tmp_path: Path) -> Path:
    source = REPOSITORY / "experiments" / "ml-100k-text"
    for file in source.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path / "hybrid.yaml"


def test_the_whole_ablation_of_the_hybrid(ablate: Ablate, measured: Measured, hybrid: Path, tmp_path: Path) -> None:
    status, out, err = ablate("--config", hybrid, "--folder", tmp_path / "runs", "--seeds", 2, "--epochs", 7)
    assert status == 0, err
    data = [words for name, _, _, words, _ in measured if name == "data"]
    assert len(set(data)) == len(data)  # looked at once, however many options of models there are
    warm = [words for words in data if not any("=item_cold" in word for word in words)]
    alike = [words for words in warm if words[0] == f"--config={hybrid}"]
    more = (("--data.text.control=shuffled",), ("--data.text.control=random",))
    assert alike == [(f"--config={hybrid}", *options, "--trainer.max_epochs=7") for options in ((), *more)]
    done = {(name, cold, seed): (words, trained) for name, seed, cold, words, trained in measured if name != "data"}
    assert {seed for _, _, seed in done} == {0, 1}
    assert {name for name, _, seed in done if seed == 1}.isdisjoint({"EASE", "ItemKNN", "GFCF", "Popularity"})
    for (name, cold, seed), (words, trained) in done.items():
        closed = name in ("EASE", "ItemKNN", "GFCF", "Popularity", "GenrePopularity")
        assert words == (() if closed else ("--trainer.max_epochs=7",))
        forced = name.startswith("gate ")
        assert trained == (tmp_path / f"runs/{tmp_path.name}-hybrid/hybrid/seed_{seed}/best.ckpt" if forced else None)
        assert not (forced and cold)
    times = out.partition("## Time of training")[2].partition("\n## ")[0]
    assert "| width | hybrid | 30.5 | 3.0000 | 10.2 |" in times and "| width | full width |" in times
    gates = out.partition("## Gates")[2]
    assert gates.index("### hybrid\n") < gates.index("### hybrid, cold items held out\n")
    assert gates.count("###") == 2
    assert "The base `text only` has the text view alone. For cold items" in out


def test_what_is_not_asked_for_is_not_told(ablate: Ablate, measured: Measured, hybrid: Path, tmp_path: Path) -> None:
    status, out, err = ablate("--config", hybrid, "--folder", tmp_path / "runs", "--seeds", 1, "--only", "target")
    assert status == 0, err
    assert {name for name, *_ in measured} == {"data", "hybrid", "target visible"}
    assert "Time of training" not in out and "held out" not in out and "text only" not in out


def test_unknown_words_are_refused(ablate: Ablate) -> None:
    for words, told in (
        (["--only", "genre"], "--only names genre; there are genres, attention, weight, cold."),
        (["--seeds", "0"], "--seeds is 0"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--only", "cold", "--data.recipee", "x"], "recipee"),
    ):
        try:
            status, _, err = ablate(*words)
        except Exception as error:  # the parser of options
            status, err = 2, str(error)
        assert status == 2 and told in err


def test_other_recommenders_are_refused_and_nothing_is_written(ablate: Ablate, config: Path) -> None:
    there = sorted(config.parent.rglob("*"))
    status, out, err = ablate("--config", config.with_name("lightgcn.yaml"))
    assert (status, out) == (2, "")
    assert (
        "lightgcn.yaml is of LightGCN, and what is compared are options of GenreGAT, TwoTower, HybridRecommender."
        in err
    )
    assert sorted(config.parent.rglob("*")) == there
