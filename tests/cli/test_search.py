from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from recsys_lightning.cli import search
from recsys_lightning.cli.search import Search, folder_of, open_study
from recsys_lightning.cli.sweep import Sweep
from recsys_lightning.errors import InputError, NonFiniteError

FACTS = {"sweep": "a", "configuration": "b", "data": "c", "seed": 0}


def make(folder: Path, method: str = "bayes", storage: str | None = None) -> Search:
    space = {"x": IntDistribution(0, 100)} if method == "bayes" else {"x": IntDistribution(0, 4)}
    sweep = Sweep(method, "val/ndcg_10", True, {}, dict(space), {}, None)
    study = open_study(sweep, None if storage is None else folder / storage, FACTS)
    return Search(sweep, ["--config", "f"], "fit", 0, study, folder_of(study, folder, "x"))


class Runs:
    """Instead of runs: remembers what was chosen; the value of a trial is -(x - 30)^2.

    Attributes:
        chosen: x of every run.
        interrupt: the run, by its number, that is interrupted.
        diverge: the run that diverges.
    """

    def __init__(self) -> None:
        self.chosen: list[int] = []
        self.interrupt = self.diverge = -1

    def carry_out(self, options: list[str], reporter: Any) -> Any:
        number = len(self.chosen)
        self.chosen.append(int(options[-1].removeprefix("--x=")))
        if number == self.interrupt:
            raise SystemExit(1)
        if number == self.diverge:
            raise ValueError("made by a parser") from NonFiniteError("Training diverged.")
        reporter.best, reporter.epochs = -float((self.chosen[-1] - 30) ** 2), 1
        reporter.report(0, reporter.best)
        return type("Made", (), {"trainer": None})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    made = Runs()
    monkeypatch.setattr(Search, "_run", lambda self, options, reporter: made.carry_out(options, reporter))
    monkeypatch.setattr(search, "run_folder", lambda trainer: tmp_path)
    return made


@pytest.mark.parametrize("storage", ["search.db", "search.journal"])
def test_interrupted_and_resumed_it_chooses_what_it_would_have_chosen(runs: Runs, tmp_path: Path, storage: str) -> None:
    runs.diverge = 3
    assert make(tmp_path).go_on(16, None) is True
    expected = runs.chosen.copy()
    runs.chosen.clear()
    runs.interrupt = 12
    assert make(tmp_path, storage=storage).go_on(16, None) is False
    runs.interrupt = -1
    resumed = make(tmp_path, storage=storage)
    assert resumed.go_on(16, None) is True
    assert runs.chosen == [*expected[:13], *expected[12:]]
    states = [trial.state for trial in resumed.study.trials]
    assert [number for number, state in enumerate(states) if state == TrialState.FAIL] == [3, 12]


def test_it_finds_better_than_chance(runs: Runs, tmp_path: Path) -> None:
    found = make(tmp_path)
    found.go_on(30, None)
    assert found.study.best_value > -16  # of 30 random draws the closest is 1.6 away on average


def test_a_grid_is_searched_in_order_and_once(runs: Runs, tmp_path: Path) -> None:
    assert make(tmp_path, "grid", "search.db").go_on(2, None)
    assert make(tmp_path, "grid", "search.db").go_on(99, None)
    assert runs.chosen == [0, 1, 2, 3, 4]


def test_no_trial_begins_after_the_time_is_up(runs: Runs, tmp_path: Path) -> None:
    assert make(tmp_path).go_on(9, 0.0)
    assert not runs.chosen


def test_an_error_of_ours_is_the_reason_and_any_other_is_not_hidden(runs: Runs, tmp_path: Path) -> None:
    found, runs.diverge = make(tmp_path), 3
    found.go_on(4, None)
    assert found.study.trials[3].user_attrs["reason"] == "Training diverged."

    def broken(self: Search, options: list[str], reporter: Any) -> Any:
        raise RuntimeError("a bug")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="a bug"):
        patch.setattr(Search, "_run", broken)
        found.go_on(9, None)


def test_without_a_value_a_trial_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "run_folder", lambda trainer: tmp_path)
    for best, reason in ((None, "No epoch was validated"), (float("nan"), "val/ndcg_10 has no value on these data")):

        def run(self: Search, options: list[str], reporter: Any, best: float | None = best) -> Any:
            reporter.best = best
            return type("Made", (), {"trainer": None})

        monkeypatch.setattr(Search, "_run", run)
        found = make(tmp_path)
        assert found.go_on(1, None)
        assert found.study.trials[0].state == TrialState.FAIL
        assert reason in found.study.trials[0].user_attrs["reason"]


@pytest.mark.parametrize("name", list(FACTS))
def test_a_search_goes_on_only_as_it_began(tmp_path: Path, name: str) -> None:
    sweep = Sweep("random", "val/ndcg_10", True, {}, {"x": IntDistribution(0, 4)}, {}, None)
    open_study(sweep, tmp_path / "deep" / "search.db", FACTS)
    open_study(sweep, tmp_path / "deep" / "search.db", FACTS)
    with pytest.raises(InputError, match=rf"The search in .*search\.db has another {name}"):
        open_study(sweep, tmp_path / "deep" / "search.db", {**FACTS, name: "other"})


@pytest.mark.parametrize("name", ["search.db", "search.journal"])
def test_what_is_no_search_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("something else\n")
    sweep = Sweep("random", "val/ndcg_10", True, {}, {"x": IntDistribution(0, 4)}, {}, None)
    with pytest.raises(InputError, match=rf"--storage .*{name} holds no search"):
        open_study(sweep, tmp_path / name, FACTS)


def test_searches_have_folders_of_their_own_and_keep_them(tmp_path: Path) -> None:
    first, second = (optuna.create_study() for _ in range(2))
    folders = [folder_of(study, tmp_path, "mf") for study in (first, second, first)]
    assert [folder.name for folder in folders] == ["tune-mf-0", "tune-mf-1", "tune-mf-0"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        folder_of(optuna.create_study(), tmp_path / "file", "mf")
