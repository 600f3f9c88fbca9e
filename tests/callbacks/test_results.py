from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.callbacks.results import WriteResults, write_json
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.gat import GAT
from recsys_lightning.models.mf import MF
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.reports.floors import compute_floors
from recsys_lightning.reports.run.page import write_pages
from recsys_lightning.reports.user_groups import DAY
from recsys_lightning.tasks.ranking import Ranking
from tests.conftest import REPOSITORY, Recsys
from tests.data.memory import Memory, interactions
from tests.tasks.test_base import data, trainer
from tests.worlds import DomainSource


def measure(folder: Path, task: Ranking, module: InteractionsDataModule | None = None) -> Ranking:
    trainer(folder, callbacks=[WriteResults()]).test(task, module or data(), verbose=False)
    return task


def test_metrics_are_those_of_the_task_with_what_they_were_measured_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = measure(tmp_path, Ranking(partial(EASE, regularization=10.0), k=[5, 10]))
    values = json.loads((tmp_path / "metrics.json").read_text())
    measured = {name: value for name, value in values.items() if name.startswith("test/")}
    assert measured == {name: None if math.isnan(value) else value for name, value in task.results.items()}
    schema = data().schema
    assert values["fingerprint"] == schema.fingerprint
    assert (values["model"], values["data"], values["split"]) == ("EASE", "world", "random, val 0.1, test 0.1")
    assert values["users"] == measured["test/users"] > 0 and values["seconds"] > 0
    assert values["looked_at_test"] is False
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"world, random, val 0.1, test 0.1, {values['users']} users, full ranking"


def test_every_user_has_a_row_under_the_raw_id(tmp_path: Path) -> None:
    task = measure(tmp_path, Ranking(Popularity, k=[5]))
    users, module = pd.read_parquet(tmp_path / "per_user.parquet"), data()
    expected = module.prepared.users["user_id"][module.prepared.csr("test").degree.numpy() > 0]
    assert users["user_id"].tolist() == expected.tolist()
    assert task.per_user is not None
    assert set(users.columns) == {"user_id", "rows", "popularity", "days", *task.per_user.values}
    train, test = module.prepared.csr("train"), module.prepared.csr("test")
    assert users["rows"].tolist() == train.degree.numpy()[test.degree.numpy() > 0].tolist()
    of_items = np.bincount(train.col.numpy(), minlength=module.prepared.num_items)
    means = pd.Series(of_items[test.col.numpy()]).groupby(test.row.numpy()).mean()
    assert users["popularity"].tolist() == np.rint(means).tolist()
    for name in ("recall_5", "ndcg_5", "hit_rate_5"):
        assert users[name].mean() == pytest.approx(task.results[f"test/{name}"], abs=1e-12)


def test_days_of_users_stand_beside_their_values(tmp_path: Path) -> None:
    module = data()
    rows, test = module.prepared.interactions, module.prepared.positives("test")
    time = np.where(test & (rows.user % 2 == 0), 5 * DAY, np.where(test, 0, DAY)).astype(np.int64)
    module._prepared = replace(module.prepared, interactions=replace(rows, timestamp=time))
    measure(tmp_path, Ranking(Popularity, k=[5]), module)
    users = pd.read_parquet(tmp_path / "per_user.parquet").set_index("user_id")["days"]
    facts = json.loads((tmp_path / "facts.json").read_text())
    names = module.prepared.users["user_id"]
    assert set(users.index[users.isna()]) == set(users.index) & set(names[1::2])
    assert set(users.dropna()) == {4}
    (left,) = facts["left_out"]
    assert left["text"].startswith(f"{users.isna().sum()} of {len(users)} users are in no group: ")
    assert f"\n\n{left['text']}\n" in (tmp_path / "report.md").read_text()


def test_floors_of_the_split_stand_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    measure(tmp_path / "before", Ranking(Popularity, k=[5]))
    assert "No floors are known" in (tmp_path / "before" / "report.md").read_text()
    compute_floors(data(), [5], torch.device("cpu"), ["EASE"], say=lambda _: None)
    measure(tmp_path / "after", Ranking(Popularity, k=[5]))
    report = (tmp_path / "after" / "report.md").read_text()
    assert "| EASE |" in report and "UNDER THE FLOOR: Popularity" in report
    measure(tmp_path / "others", Ranking(Popularity, k=[7]))
    assert "No floors are known" in (tmp_path / "others" / "report.md").read_text()


def test_the_page_can_be_made_again_from_the_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    compute_floors(data(), [5], torch.device("cpu"), ["Popularity", "EASE"], say=lambda _: None)
    measure(tmp_path / "run", Ranking(partial(EASE, regularization=10.0), k=[5]))
    first = (tmp_path / "run" / "report.md").read_bytes()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "run").rename(tmp_path / "moved")
    (file,) = write_pages(tmp_path / "moved", html=False)
    assert file.read_bytes() == first and b"| Popularity |" in first and b"| read |" in first
    facts = json.loads((tmp_path / "moved" / "facts.json").read_text())
    assert facts["versions"]["torch"] == torch.__version__ and facts["device"] == "cpu" and facts["parameters"] == 0
    users = json.loads((tmp_path / "moved" / "metrics.json").read_text())["users"]
    assert facts["held_out"] == users and b"\n### By user activity\n" in first
    activity = [bucket for bucket in facts["buckets"] if bucket["of"] == "user activity"]
    assert sum(bucket["users"] for bucket in activity) == users


def test_damage_beside_the_results_does_not_fail_the_test(tmp_path: Path) -> None:
    (tmp_path / "diagnostics.json").write_text("{")
    with pytest.warns(UserWarning, match=r"no report\.md: .*diagnostics\.json is damaged"):
        measure(tmp_path, Ranking(Popularity, k=[5]))
    assert json.loads((tmp_path / "metrics.json").read_text())["test/users"] > 0


class Fails(Callback):
    """A callback of somebody's own, with a mistake in it."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The mistake."""
        raise RuntimeError("a plot failed")


def test_another_callback_that_fails_loses_no_figures(recsys: Recsys, tmp_path: Path) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "popularity.yaml"
    with pytest.raises(RuntimeError, match="a plot failed"):
        recsys("test", "--config", config, f"--trainer.callbacks+={__name__}.Fails")
    (file,) = tmp_path.rglob("metrics.json")
    assert json.loads(file.read_text())["test/users"] == len(pd.read_parquet(file.parent / "per_user.parquet")) > 0
    assert recsys("report", file.parent).status == 0
    assert "\n## Metrics\n" in (file.parent / "report.md").read_text()


def test_the_graph_is_named_where_the_model_reads_it(tmp_path: Path) -> None:
    module = data()
    for model, named in ((partial(GAT, dim=4, heads=2), {"graph": module.schema.graph}), (partial(MF, dim=4), {})):
        task, fit = Ranking(model), trainer(tmp_path, max_epochs=1, callbacks=[WriteResults()])
        fit.fit(task, module)
        fit.test(task, module, verbose=False)
        values = json.loads((tmp_path / "metrics.json").read_text())
        assert {name: value for name, value in values.items() if name == "graph"} == named
    assert module.schema.graph


def test_a_run_that_looked_at_test_says_so(tmp_path: Path) -> None:
    task, module = Ranking(partial(MF, dim=4)), data()
    fit = trainer(tmp_path, max_epochs=1, callbacks=[WriteResults()])
    fit.fit(task, module)
    fit.test(task, module, verbose=False)
    assert json.loads((tmp_path / "metrics.json").read_text())["looked_at_test"] is False
    fit.fit_loop.max_epochs = 2
    fit.fit(task, module)
    fit.test(task, module, verbose=False)
    assert json.loads((tmp_path / "metrics.json").read_text())["looked_at_test"] is True
    assert "WATERMARK" in (tmp_path / "report.md").read_text()


def test_what_has_no_value_is_null(tmp_path: Path) -> None:
    """Without genres there is no diversity, and JSON knows no NaN."""
    pairs = [(f"u{user}", f"i{item}") for user in range(8) for item in range(6) if (user + item) % 3]
    rows = Memory(interactions(pairs), variant="no genres")
    measure(tmp_path, Ranking(Popularity, k=[5]), InteractionsDataModule(rows, Recipe(split="random", val=0)))
    text = (tmp_path / "metrics.json").read_text()
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert values["test/recall_5"] > 0
    assert all(value is None or math.isfinite(value) for name, value in values.items() if name.startswith("test/"))


def test_a_fit_writes_no_results(tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=1, callbacks=[WriteResults()]).fit(Ranking(partial(MF, dim=4)), data())
    assert not list(tmp_path.rglob("metrics.json")) and not list(tmp_path.rglob("report.md"))


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_json(tmp_path / "values.json", {"a": 1, "\xe9": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1, "\xe9": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1, "\xe9": None}
    assert [entry.name for entry in tmp_path.iterdir()] == ["values.json"]


def domains() -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(), Recipe(split="random"))


def test_users_have_a_row_in_each_domain_and_the_report_says_how_they_fare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, module = measure(tmp_path, Ranking(partial(EASE, regularization=10.0), k=[5]), domains()), domains()
    table = pd.read_parquet(tmp_path / "per_user.parquet")
    assert list(table.columns[:2]) == ["user_id", "domain"] and not table.duplicated(["user_id", "domain"]).any()
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["domains"] == ["movie", "book"]
    for name, users in table.groupby("domain"):
        assert len(users) == values[f"test/users_{name}"]
        assert users["ndcg_5"].mean() == pytest.approx(values[f"test/ndcg_5_{name}"], abs=1e-12)
    assert values["test/ndcg_5"] == pytest.approx(table.groupby("domain")["ndcg_5"].mean().mean(), abs=1e-12)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["held_out"] == len(table) == values["users"]
    train = module.prepared.interactions.take(module.prepared.mask("train"))
    codes = pd.Series(module.prepared.domain[train.item]).groupby(train.user).nunique()
    several = set(module.prepared.users["user_id"][codes.index[codes == 2]])
    both = [group for group in facts["groups"] if group["name"] == "here and elsewhere"]
    assert [group["users"] for group in both] == [
        len(several & set(table.loc[table["domain"] == name, "user_id"])) for name in ("movie", "book")
    ]
    out, report = capsys.readouterr().out, (tmp_path / "report.md").read_text()
    assert "users in movie and" in out.splitlines()[0] and "\nBy domain\n" in out and "PARTIAL" not in out
    assert "\n## By domain\n" in report and "### Users in book" in report and "| here only |" in report
    assert task.per_user is not None


def test_a_test_of_some_lists_only_is_partial(tmp_path: Path) -> None:
    module = InteractionsDataModule(DomainSource(), Recipe(split="random"), eval_batch_size=16)
    made = trainer(tmp_path, callbacks=[WriteResults()], limit_test_batches=3)
    made.test(Ranking(Popularity, k=[5]), module, verbose=False)
    report = (tmp_path / "report.md").read_text()
    assert "**PARTIAL: 40 of 77 users were tested" in report
    assert "**Nobody was tested in book: the figures together are of the other domains.**" in report
