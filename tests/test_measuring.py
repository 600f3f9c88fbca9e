"""`experiments/measuring.py`: a run is done once for the same options, data and code, and is what it says."""

from __future__ import annotations

import gzip
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor

from recsys_lightning.batches import CSR, Text, Views
from recsys_lightning.cli.trainer import RecsysCLI
from recsys_lightning.code import code_digest
from recsys_lightning.models import ClosedForm
from recsys_lightning.reports.ablation import compare
from recsys_lightning.reports.gates import gate_table
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "experiments" / "movietweetings"


@pytest.fixture(scope="module")
def measuring() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("measuring")


def spy(measuring: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs that are carried out from here on."""
    made: list[str] = []
    real = measuring.make_cli

    def make_cli(words: list[str], run: bool) -> RecsysCLI:
        if run:
            made.append(words[0])
        found: RecsysCLI = real(words, run=run)
        return found

    monkeypatch.setattr("sys.argv", ["ablation.py"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back after the test, whatever the runs set
    monkeypatch.setattr(measuring, "make_cli", make_cli)
    return made


def test_runs_on_other_data_or_by_other_code_are_done_again(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, data = tmp_path / "data", tmp_path / "other.yaml"
    shutil.copytree(REPOSITORY / "data" / "movietweetings", root / "movietweetings")
    ratings, parents = root / "movietweetings" / "ratings.csv.gz", root / "parents.csv"
    config = {"data": data.name, "model": {"class_path": "Ranking", "init_args": {"recommender": "Popularity"}}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    data.write_text((SAMPLE / "data.yaml").read_text())
    options = [f"--data.root={root}", "--data.recipe.limit_users=60", "--data.graph.parents={genre: parents.csv}"]
    variant = measuring.Variant("Popularity", (f"--config={tmp_path / 'x.yaml'}",), trained=False)
    made, told = spy(measuring, monkeypatch), []

    def measure() -> list[int]:
        """Runs that there were, asked for once and twice."""
        told.append(measuring.data_of(*variant.options, *options))
        counts = []
        for _ in range(2):
            run = measuring.measure(variant, 0, options, tmp_path / "run", False, told[-1])
            assert run.training is run.checkpoint is run.gates is None and len(run.values)
            counts.append(len(made))
        return counts

    parents.write_text("value,parent\nDrama,film\n")
    assert measure() == [1, 1]
    parents.write_text("value,parent\nDrama,film\nComedy,film\n")
    assert measure() == [2, 2]
    assert told[0]["fingerprint"] == told[1]["fingerprint"]  # the graph alone is another
    lines = gzip.decompress(ratings.read_bytes()).splitlines(keepends=True)
    ratings.write_bytes(gzip.compress(b"".join([lines[0], *lines[:0:-1][: len(lines) // 2]])))
    assert measure() == [3, 3]
    assert told[1]["fingerprint"] != told[2]["fingerprint"]
    data.write_text(data.read_text() + "\n# the file of data, whatever it is called\n")
    assert measure() == [4, 4]
    monkeypatch.setattr(measuring, "_code", lambda: "changed")
    assert measure() == [5, 5]


def test_other_texts_are_other_data(measuring: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["ablation.py"])
    data = REPOSITORY / "experiments" / "movietweetings-text" / "data.yaml"
    words = (f"--data={data}", "--model=Ranking", "--model.recommender=Popularity", "--data.recipe.limit_users=60")
    plain, shuffled = (measuring.data_of(*words, *more) for more in ((), ("--data.text.control=shuffled",)))
    assert plain.pop("text") != shuffled.pop("text") and plain == shuffled


def test_a_forced_gate_is_tested_on_the_parameters_of_the_base(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = spy(measuring, monkeypatch)
    config = REPOSITORY / "experiments" / "movietweetings-text" / "hybrid.yaml"
    own = (f"--config={config}", "--model.recommender.dim=8", "--data.history_length=5")
    options = ["--data.recipe.limit_users=60", "--trainer.max_epochs=2", "--trainer.limit_train_batches=1"]
    base = measuring.Variant("base", own)
    first = measuring.measure(base, 0, options, tmp_path / "base", False, {})
    assert made == ["fit", "test"]
    assert first.training.epochs == 2 and first.training.seconds > 0
    assert first.gates["value"].between(0, 1).all() and set(first.gates["gate"]) == {"item", "user"}
    again = measuring.measure(base, 0, options, tmp_path / "base", False, {})
    assert again[2:] == first[2:] and made == ["fit", "test"]
    pd.testing.assert_frame_equal(again.values, first.values)
    pd.testing.assert_frame_equal(again.gates, first.gates)
    values = []
    for name, gate in (("same", ()), ("text", ("--model.recommender.gate=1.0",))):
        other = measuring.Variant(name, (*own, *gate), of=base)
        run = measuring.measure(other, 0, options, tmp_path / name, False, {}, first.checkpoint)
        assert run.training is run.checkpoint is None
        values.append(run.values)
    assert made == ["fit", "test", "test", "test"]
    pd.testing.assert_frame_equal(values[0], first.values)
    assert not np.allclose(values[1]["ndcg_20"], first.values["ndcg_20"])
    order = json.loads((tmp_path / "base" / "order.json").read_text())
    assert measuring._finished(tmp_path / "base", order) is not None
    first.checkpoint.unlink()
    assert measuring._finished(tmp_path / "base", order) is None


def test_the_digest_of_the_code_is_of_the_whole_package(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for text in ("# a line\n", "# a line\n# another\n"):
        (tmp_path / "new.py").write_text(text)
        monkeypatch.setattr("recsys_lightning.code.PACKAGE", tmp_path)
        code_digest.cache_clear()
        digests.append(measuring._code.__wrapped__())
    code_digest.cache_clear()
    assert digests[0] != digests[1]


class Noise(ClosedForm):
    """Scores that are all different and mean nothing."""

    def solve(self, views: Views) -> None:
        scores = torch.rand(views.num_users, views.num_items, generator=torch.Generator().manual_seed(0))
        self.keep(scores=scores)

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        return self.get_buffer("scores")[user]


@pytest.fixture
def popularity(measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecsysCLI:
    """Popularity, tested on cold items; ratings below 5 are no positives."""
    monkeypatch.setattr("sys.argv", ["ablation.py"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    cold = ("--data.recipe.split=item_cold", "--data.recipe.val=0.1", "--data.recipe.test=0.1")
    data = (f"--data={SAMPLE / 'data.yaml'}", "--data.recipe.limit_users=60", "--data.recipe.positive=5", *cold)
    model = ("--model=Ranking", "--model.recommender=Popularity", f"--trainer.default_root_dir={tmp_path}")
    cli: RecsysCLI = measuring.make_cli(["test", *data, *model, *measuring.QUIET], run=True)
    return cli


def test_cold_candidates_are_the_items_without_visible_rows(measuring: ModuleType, popularity: RecsysCLI) -> None:
    cli = popularity
    model, views, prepared = Noise(cli.datamodule.schema), cli.datamodule.views, cli.datamodule.prepared
    model.fit(views)
    cli.model.recommender = model
    found = measuring.among_cold(cli)["recall_10"]
    cold, relevant = prepared.known("train").col.bincount(minlength=views.num_items) == 0, prepared.csr("test")
    assert 0 < cold.sum() < (views.popularity == 0).sum() < views.num_items  # low ratings alone make no item cold
    for place, user in enumerate(cli.model.per_user.user.tolist()):
        wanted = relevant.col[relevant.crow[user] : relevant.crow[user + 1]]
        candidates = cold.clone()
        candidates[prepared.known("val").select(torch.tensor([user]))[1]] = False
        scores = model.get_buffer("scores")[user].masked_fill(~candidates, -1)
        hits = torch.isin(scores.topk(10).indices, wanted).sum()
        assert found[place] == pytest.approx(float(hits / len(wanted)))


def test_a_model_that_tells_nothing_of_cold_items_has_the_figures_of_chance(
    measuring: ModuleType, popularity: RecsysCLI
) -> None:
    views, prepared = popularity.model.views, popularity.datamodule.prepared
    user = popularity.model.per_user.user
    cold = prepared.known("train").col.bincount(minlength=views.num_items) == 0
    expected = (10 / (int(cold.sum()) - prepared.known("val").degree[user])).mean()
    assert float(measuring.among_cold(popularity)["recall_10"].mean()) == pytest.approx(float(expected), rel=0.15)


class Gated(torch.nn.Module):
    reads_text = True

    def gates(self, views: Views) -> dict[str, Tensor]:
        assert not self.training and not torch.is_grad_enabled()
        return {"review": torch.tensor([1.0, 0.25, 0.5, 0.0]), "item": torch.arange(4) / 4, "user": torch.ones(2)}


def test_gates_stand_beside_reviews_and_degrees(measuring: ModuleType) -> None:
    crow = torch.tensor([0, 0, 2, 5, 6])  # no reviews; 2; 3; one, and no overview
    text = Text(torch.ones(4, 3), torch.tensor([True, True, True, False]), torch.ones(6, 3), crow)
    views = Views(CSR(torch.tensor([0, 2, 3]), torch.tensor([1, 2, 2])), 4, build_text=lambda: text)
    prepared = SimpleNamespace(known=lambda *splits: CSR(torch.tensor([0, 5, 9][: 1 + len(splits) * 2]), None))
    data = SimpleNamespace(prepared=prepared, test_views="train")
    tested = SimpleNamespace(model=SimpleNamespace(recommender=Gated(), views=views), datamodule=data)
    expected = [
        gate_table("review", np.array([0.25, 0.5]), np.array([1, 2]), np.array([2, 3])),
        gate_table("item", np.arange(4) / 4, np.array([0, 1, 2, 0]), np.array([0, 2, 3, 1])),
        gate_table("user", np.ones(2), np.array([5, 4])),
    ]
    pd.testing.assert_frame_equal(measuring.gates(tested), pd.concat(expected, ignore_index=True))
    tested.model.recommender = torch.nn.Identity()
    assert measuring.gates(tested) is None


def test_values_of_several_domains_say_in_which_they_are(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy(measuring, monkeypatch)
    words = (
        "--data=SyntheticDomains",
        "--data.users=80",
        "--data.items={movie: 40, book: 30}",
        "--data.rows=9",
        "--model=Ranking",
    )
    variant = measuring.Variant("Popularity", (*words, "--model.recommender=Popularity"), trained=False)
    values = measuring.measure(variant, 0, [], tmp_path / "run", False, {}).values
    metrics = json.loads(next(tmp_path.rglob("metrics.json")).read_text())
    assert list(values.columns[:3]) == ["user_id", "domain", "items"]
    for name, own in values.groupby("domain"):
        assert own["ndcg_10"].mean() == pytest.approx(metrics[f"test/ndcg_10_{name}"], abs=1e-12)
    (line,) = compare("x", ("x", [values]), {}, {}, "ndcg_10")[:1]
    assert line.mean == pytest.approx(metrics["test/ndcg_10"], abs=1e-12)
