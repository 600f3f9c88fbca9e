"""`experiments/ablation.py` does its runs through the real command line, once each, and tells the truth about them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.cli.trainer import RecsysCLI
from recsys_lightning.models import ClosedForm
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
def ablation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablation", REPOSITORY / "experiments" / "ablation.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablation"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small GenreGAT on the embedded sample, with LightGCN beside it."""
    folder = REPOSITORY / "experiments" / "movietweetings"
    text = yaml.safe_load((folder / "lightgcn.yaml").read_text())
    text["model"]["init_args"]["recommender"]["init_args"] = {"dim": 8, "layers": 1}
    for name in ("LightGCN", "GenreGAT"):
        text["model"]["init_args"]["recommender"]["class_path"] = name
        (tmp_path / ("lightgcn.yaml" if name == "LightGCN" else "genre_gat.yaml")).write_text(yaml.safe_dump(text))
    (tmp_path / "data.yaml").write_text((folder / "data.yaml").read_text())
    return tmp_path / "genre_gat.yaml"


@pytest.fixture
def ablate(
    ablation: ModuleType,
    config: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ablate:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ablation.py"])
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back after the test, whatever the runs set
        capfd.readouterr()
        status = ablation.main(["--config", str(config), "--folder", str(tmp_path / "runs"), *map(str, words)])
        return (status, *capfd.readouterr())

    return run


def rows(text: str) -> list[list[str]]:
    table = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_variants_differ_in_one_thing_and_go_through_the_command_line(ablate: Ablate, tmp_path: Path) -> None:
    status, out, err = ablate("--seeds", 2, "--only", "attention", *SHORT)
    assert status == 0, err
    found = rows(out)
    assert [row[:2] for row in found[:2]] == [["attention", "base"], ["attention", "attention none"]]
    assert found[0][2] == "all users" and len(found) == 2 * 5
    folder = tmp_path / "runs" / f"{tmp_path.name}-genre_gat"
    assert (folder / "table.md").read_text() == out.removesuffix("\n")
    runs = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/seed_*"))
    assert runs == ["attention_none/seed_0", "attention_none/seed_1", "base/seed_0", "base/seed_1"]
    saved = {run: yaml.safe_load(next((folder / run).rglob("config.yaml")).read_text()) for run in runs}
    options = {run: text["model"]["init_args"]["recommender"]["init_args"] for run, text in saved.items()}
    assert options["base/seed_0"] | {"attention": "none"} == options["attention_none/seed_0"]
    assert [saved[run]["seed_everything"] for run in runs] == [0, 1, 0, 1]
    for run in runs:
        [test] = (folder / run).rglob("per_user.parquet")
        values, written = pd.read_parquet(folder / run / "values.parquet"), pd.read_parquet(test)
        pd.testing.assert_frame_equal(values[written.columns], written)
    mean = float(found[0][4])
    assert mean == pytest.approx(
        sum(pd.read_parquet(folder / f"base/seed_{n}/values.parquet")["ndcg_10"].mean() for n in (0, 1)) / 2, abs=1e-4
    )


def spy(ablation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs that are carried out from here on."""
    made: list[str] = []
    real = ablation.make_cli

    def make_cli(words: list[str], run: bool) -> RecsysCLI:
        if run:
            made.append(words[0])
        found: RecsysCLI = real(words, run=run)
        return found

    monkeypatch.setattr(ablation, "make_cli", make_cli)
    return made


def test_finished_runs_are_not_done_again_and_others_are(
    ablate: Ablate, ablation: ModuleType, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ablate("--seeds", 1, "--only", "attention", *SHORT)
    made = spy(ablation, monkeypatch)
    assert ablate("--seeds", 1, "--only", "attention", *SHORT)[:2] == first[:2]
    assert made == []
    folder = tmp_path / "runs" / f"{tmp_path.name}-genre_gat"
    [test] = (folder / "base" / "seed_0").rglob("metrics.json")
    data = json.loads((folder / "base" / "seed_0" / "order.json").read_text())["data"]
    assert data == {key: json.loads(test.read_text())[key] for key in ("fingerprint", "graph")}
    (folder / "base" / "seed_0" / "values.parquet").unlink()  # as if it had been interrupted
    assert ablate("--seeds", 1, "--only", "attention", *SHORT)[:2] == first[:2]
    assert made == ["fit", "test"]
    config.write_text(config.read_text() + "\n# changed\n")
    assert ablate("--seeds", 1, "--only", "attention", *SHORT)[0] == 0
    assert made == ["fit", "test"] * 3


def test_runs_on_other_data_or_by_other_code_are_done_again(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    shutil.copytree(REPOSITORY / "data" / "movietweetings", root / "movietweetings")
    ratings, parents = root / "movietweetings" / "ratings.csv.gz", root / "parents.csv"
    options = [f"--data.root={root}", "--data.recipe.limit_users=60", "--data.graph.parents={genre: parents.csv}"]
    config = REPOSITORY / "experiments" / "movietweetings" / "data.yaml"
    words = (f"--data={config}", "--model=Ranking", "--model.recommender=Popularity")
    variant = ablation.Variant("Popularity", words, trained=False)
    monkeypatch.setattr("sys.argv", ["ablation.py"])
    made, told = spy(ablation, monkeypatch), []

    def measure() -> int:
        told.append(ablation._data(*variant.options, *options))
        ablation.measure(variant, 0, options, tmp_path / "run", False, told[-1])
        return len(made)

    parents.write_text("value,parent\nDrama,film\n")
    assert [measure(), measure()] == [1, 1]
    parents.write_text("value,parent\nDrama,film\nComedy,film\n")
    assert [measure(), measure()] == [2, 2]
    assert told[1]["fingerprint"] == told[2]["fingerprint"]  # the graph alone is another
    lines = gzip.decompress(ratings.read_bytes()).splitlines(keepends=True)
    ratings.write_bytes(gzip.compress(b"".join([lines[0], *lines[:0:-1][: len(lines) // 2]])))
    assert [measure(), measure()] == [3, 3]
    assert told[3]["fingerprint"] != told[4]["fingerprint"]
    monkeypatch.setattr(ablation, "_code", lambda: "changed")
    assert [measure(), measure()] == [4, 4]


def test_the_digest_of_the_code_is_of_the_whole_package(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "models").mkdir(parents=True)
    digests = []
    for file in ("__init__.py", "models/new.py", "models/new.py", "notes.txt"):
        with (package / file).open("a") as text:
            text.write("# a line\n")
        monkeypatch.setattr("recsys_lightning.__file__", str(package / "__init__.py"))
        digests.append(ablation._code.__wrapped__())
    assert len(set(digests)) == 3 and digests[2] == digests[3]


def test_other_recommenders_are_refused_and_nothing_is_written(ablate: Ablate, tmp_path: Path, config: Path) -> None:
    there = sorted(tmp_path.rglob("*"))
    status, out, err = ablate("--config", config.with_name("lightgcn.yaml"))
    assert (status, out) == (2, "")
    assert "lightgcn.yaml is of LightGCN, and what is compared are options of GenreGAT. Give an experiment of" in err
    assert sorted(tmp_path.rglob("*")) == there


def test_cold_items(ablate: Ablate, tmp_path: Path) -> None:
    status, out, err = ablate("--seeds", 1, "--only", "cold", *SHORT)
    assert status == 0, err
    found = rows(out)
    names = ["GenreGAT", "GenrePopularity", "LightGCN", "Popularity"]
    assert [row[1] for row in found] == names * 2
    assert [row[2] for row in found] == ["all users"] * 4 + ["all users, cold items alone"] * 4
    among_all, alone = ({row[1]: float(row[4]) for row in found[at : at + 4]} for at in (0, 4))
    assert among_all["Popularity"] == 0 < alone["Popularity"]  # warm items take every place; alone it is chance
    assert all(alone[name] >= among_all[name] for name in names)
    folder = tmp_path / "runs" / f"{tmp_path.name}-genre_gat" / "cold"
    assert len(list((folder / "GenrePopularity").iterdir())) == 1
    order = json.loads((folder / "LightGCN" / "seed_0" / "order.json").read_text())
    assert "--data.recipe.split=cold_items" in order["options"]


class Noise(ClosedForm):
    """Scores that are all different and mean nothing."""

    def solve(self, views: Views) -> None:
        scores = torch.rand(views.num_users, views.num_items, generator=torch.Generator().manual_seed(0))
        self.keep(scores=scores)

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        return self.get_buffer("scores")[user]


@pytest.fixture
def popularity(ablation: ModuleType, tmp_path: Path) -> RecsysCLI:
    """Popularity, tested on cold items."""
    data = REPOSITORY / "experiments" / "movietweetings" / "data.yaml"
    cli: RecsysCLI = ablation.make_cli(
        [
            *("test", f"--data={data}", *ablation.COLD, "--data.recipe.limit_users=60", *ablation.QUIET),
            *("--model=Ranking", "--model.recommender=Popularity", f"--trainer.default_root_dir={tmp_path}"),
        ],
        run=True,
    )
    return cli


def test_cold_candidates_are_the_items_without_visible_rows(ablation: ModuleType, popularity: RecsysCLI) -> None:
    cli = popularity
    model, views, prepared = Noise(cli.datamodule.schema), cli.datamodule.views, cli.datamodule.prepared
    model.fit(views)
    cli.model.recommender = model
    found = ablation.among_cold(cli)["recall_10"]
    cold, relevant = prepared.csr("train").col.bincount(minlength=views.num_items) == 0, prepared.csr("test")
    assert 0 < cold.sum() < views.num_items
    for place, user in enumerate(cli.model.per_user.user.tolist()):
        wanted = relevant.col[relevant.crow[user] : relevant.crow[user + 1]]
        candidates = cold.clone()
        candidates[prepared.csr("val").select(torch.tensor([user]))[1]] = False
        scores = model.get_buffer("scores")[user].masked_fill(~candidates, -1)
        hits = torch.isin(scores.topk(10).indices, wanted).sum()
        assert found[place] == pytest.approx(float(hits / len(wanted)))


def test_a_model_that_tells_nothing_of_cold_items_has_the_figures_of_chance(
    ablation: ModuleType, popularity: RecsysCLI
) -> None:
    views, prepared = popularity.model.views, popularity.datamodule.prepared
    user = popularity.model.per_user.user
    candidates = int((views.popularity == 0).sum()) - prepared.csr("val").degree[user]
    expected = (10 / candidates).mean()
    assert float(ablation.among_cold(popularity)["recall_10"].mean()) == pytest.approx(float(expected), rel=0.15)


def test_unknown_words_are_refused(ablate: Ablate, tmp_path: Path) -> None:
    for words, told in (
        (["--only", "genre"], "--only names genre; there are genres, attention, weight, cold."),
        (["--seeds", "0"], "--seeds is 0"),
        (["--only", "cold", "--data.recipee", "x"], "recipee"),
    ):
        try:
            status, _, err = ablate(*words)
        except Exception as error:  # the parser of options
            status, err = 2, str(error)
        assert status == 2 and told in err


@pytest.mark.parametrize("text", ["", "a: b", "model: 3", ": :"])
def test_what_is_no_experiment_is_refused(ablation: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ablation.InputError, match="is not laid out like"):
        ablation.Experiment.read(tmp_path / "x.yaml")
    with pytest.raises(ablation.InputError, match="cannot be read"):
        ablation.Experiment.read(tmp_path / "y.yaml")
