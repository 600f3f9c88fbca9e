from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from recsys_lightning.cli.sweep import Sweep, read_sweep
from recsys_lightning.errors import InputError
from tests.conftest import REPOSITORY, Recsys

FILES = sorted((REPOSITORY / "experiments" / "sweeps").glob("*.yaml"))
PLAIN: dict[str, Any] = {
    "method": "bayes",
    "metric": {"name": "val/ndcg_10", "goal": "maximize"},
    "parameters": {"a.b": {"values": [1, 2]}},
}


def read(folder: Path, **changes: Any) -> Sweep:
    content = {key: value for key, value in {**PLAIN, **changes}.items() if value is not ...}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return read_sweep(folder / "sweep.yaml")


def space(folder: Path, entry: Any) -> Any:
    return read(folder, parameters={"x": entry, "y": {"values": [1, 2]}}).space["x"]


# what it reads


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"values": [1, "two", None, True]}, CategoricalDistribution([1, "two", None, True])),
        ({"values": [[10, 20], [5]]}, CategoricalDistribution(["[10, 20]", "[5]"])),
        ({"distribution": "categorical", "values": [3]}, CategoricalDistribution([3])),
        ({"min": 1, "max": 4}, IntDistribution(1, 4)),
        ({"min": 1, "max": 4.0}, FloatDistribution(1, 4)),
        ({"distribution": "uniform", "min": 1, "max": 4}, FloatDistribution(1, 4)),
        ({"distribution": "int_uniform", "min": 1, "max": 4}, IntDistribution(1, 4)),
        ({"distribution": "q_uniform", "min": 32, "max": 128, "q": 32}, IntDistribution(32, 128, step=32)),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}, FloatDistribution(0.1, 0.5, step=0.1)),
        ({"distribution": "log_uniform_values", "min": 0.001, "max": 1}, FloatDistribution(0.001, 1, log=True)),
        ({"distribution": "log_uniform", "min": -2, "max": 0}, FloatDistribution(math.exp(-2), 1, log=True)),
    ],
)
def test_distributions(tmp_path: Path, entry: dict[str, Any], expected: object) -> None:
    assert space(tmp_path, entry) == expected


def test_options_are_written_as_the_agent_of_wandb_writes_them(tmp_path: Path) -> None:
    parameters = {"a": {"value": [1, 2]}, "b": {"values": [True]}, "c": {"min": 0.0, "max": 1.0}}
    sweep = read(tmp_path, parameters=parameters)
    chosen = {"b": True, "c": 1e-05}
    args = {"a": {"value": [1, 2]}, **{name: {"value": value} for name, value in chosen.items()}}
    assert sweep.options(chosen) == create_sweep_command_args({"args": args})["args"]
    assert sweep.fixed == {"a": "[1, 2]"} and set(sweep.space) == {"b", "c"}


def test_options_are_written_short_where_that_is_exact(tmp_path: Path) -> None:
    sweep = read(tmp_path, parameters={"a": {"values": [1]}})
    chosen = {"steps": 0.1 + 0.2, "drawn": 0.12345678901234567, "whole": 1.0, "small": 1e-5, "flag": True, "word": "x"}
    written = dict(option.removeprefix("--").split("=") for option in sweep.options(chosen))
    assert written == {
        "steps": "0.3",
        "drawn": repr(0.12345678901234567),
        "whole": "1.0",
        "small": "1e-05",
        "flag": "True",
        "word": "x",
    }


def test_a_grid_is_every_combination_in_order(tmp_path: Path) -> None:
    parameters = {"a": {"values": ["x", "y"]}, "b": {"min": 1, "max": 3}, "c": {"value": 7}}
    grid = read(tmp_path, method="grid", parameters=parameters).grid
    assert [(choice["a"], choice["b"]) for choice in grid] == [(a, b) for a in "xy" for b in (1, 2, 3)]
    assert all(set(choice) == {"a", "b"} for choice in grid)


@pytest.mark.parametrize(
    ("last", "combinations"),
    [({"values": [1]}, None), ({"values": [1, 2]}, "2,000,000"), ({"min": 1, "max": 10**30}, "1" + ",000" * 12)],
)
def test_a_grid_has_a_bound(tmp_path: Path, last: Any, combinations: str | None) -> None:
    steps = {"distribution": "q_uniform", "min": 2, "max": 2000, "q": 2}
    parameters = {"a": {"min": 1, "max": 1000}, "b": steps, "c": last}
    assert read(tmp_path, method="random", parameters=parameters).first() == {"a": 1, "b": 2, "c": 1}
    if combinations is None:
        assert read(tmp_path, method="grid", parameters=parameters).method == "grid"
        return
    with pytest.raises(InputError, match=rf"sweep\.yaml is a grid of {combinations} combinations; 1,000,000 are the m"):
        read(tmp_path, method="grid", parameters=parameters)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
@pytest.mark.parametrize("method", ["bayes", "random"])
def test_a_draw_is_a_function_of_seed_and_trials(
    tmp_path_factory: pytest.TempPathFactory, method: str, seed: int, done: int, other_seed: int, other_done: int
) -> None:
    sweep = read(tmp_path_factory.mktemp("sweep"), method=method, parameters={"x": {"min": 0.0, "max": 1.0}})

    def draw(seed: int, done: int) -> Any:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(sampler=sweep.sampler(seed, done)).ask(sweep.space).params["x"]

    same = (seed, done) == (other_seed, other_done)
    assert (draw(seed, done) == draw(other_seed, other_done)) == same


def test_first_is_something_that_may_be_chosen(tmp_path: Path) -> None:
    sweep = read(tmp_path, parameters={"a": {"values": ["x"]}, "b": {"min": 1, "max": 3}, "c": {"min": 0.5, "max": 1}})
    assert sweep.first() == {"a": "x", "b": 1, "c": 0.5}


def test_whole_numbers_are_not_counted_out(tmp_path: Path) -> None:
    tracemalloc.start()
    assert read(tmp_path, parameters={"seed_everything": {"min": 0, "max": 2**22}}).first() == {"seed_everything": 0}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (..., "MedianPruner"),
        ({"type": "hyperband", "min_iter": 3}, "HyperbandPruner"),
        ({"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3}, "HyperbandPruner"),
    ],
)
def test_pruners(tmp_path: Path, stop: Any, expected: str) -> None:
    assert type(read(tmp_path, early_terminate=stop).pruner()).__name__ == expected


# what it refuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": {"name": "test/ndcg_10", "goal": "maximize"}},
            r"select on the test rows\. Set metric\.name to val/n",
        ),
        (
            {"metric": {"name": "val/ndcg_10_sampled_5", "goal": "maximize"}},
            r"sampled .* Set metric\.name to val/ndcg_10",
        ),
        ({"metric": {"name": "train/loss", "goal": "minimize"}}, r"selected on val\. Choose one such as val/ndcg_10"),
        ({"metric": {"name": "val/ndcg_10"}}, r"metric\.goal is None; it must be maximize or minimize"),
        ({"metric": {"name": "val/ndcg_10", "goal": "maximize", "target": 1}}, r"metric\.target is not known"),
        ({"metric": {"name": "val/ndcg_10", "goal": "maximize", "b": 1, 2: 3}}, r"metric\.2 is not known"),
        ({"metric": ...}, "metric needs a name"),
        ({"parameters": ...}, "names no parameters"),
        ({"parameters": {"a": 3}}, r"parameters\.a is 3; it must be a value, values"),
        ({"parameters": {"a": {"value": 3}}}, "leaves nothing to choose"),
        ({"method": "hyperopt"}, "method is hyperopt; it can be bayes, random, grid"),
        ({"methods": "bayes"}, r"methods is no key of a sweep\. Did you mean method\?"),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"run_cap": True}, "run_cap is True; it must be a whole number"),
        ({"early_terminate": {"type": "hyperband", "min_iter": True}}, "min_iter is True"),
        ({"early_terminate": {"type": "envelope"}}, "type must be hyperband"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "needs min_iter, or max_iter and s"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 3, "strict": True}},
            "needs min_iter, or max_iter and s",
        ),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}}, r"eta is 1; .* from 2 up"),
        ({"method": "grid", "parameters": {"a": {"min": 0.1, "max": 1}}}, r"parameters\.a: a grid needs values"),
    ],
)
def test_what_a_sweep_gets_wrong_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, **changes)
    assert str(tmp_path / "sweep.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "has the distribution normal, which Optuna cannot draw from"),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 9, "q": 2}, "q_log_uniform_values, which Optuna"),
        ({"values": [1, 2], "probabilities": [0.1, 0.9]}, "equal probability"),
        ({"parameters": {"dim": {"value": 3}}}, r"is nested\. Write options by their full names"),
        ({}, "names no values"),
        ({"min": 1}, "uniform needs max and min, and there is min"),
        ({"distribution": "q_uniform", "min": 1, "max": 3}, "q_uniform needs max and min and q"),
        ({"distribution": "int_uniform", "min": 1, "max": 3.5}, r"whole numbers, and has 1 and 3\.5"),
        ({"distribution": "q_uniform", "min": 1, "max": 8, "q": 2}, r"\.min is 1, which is no multiple of q, 2"),
        ({"distribution": "q_uniform", "min": 0, "max": 8, "q": 0}, r"\.q is 0; it must be above 0"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "both above 0"),
        ({"min": 3, "max": 1}, "min must not exceed max"),
        ({"min": "1e-3", "max": 1}, r"min is 1e-3; it must be a number \(YAML takes 1e-3 for a word: 0\.001\)"),
        ({"min": True, "max": 3}, "min is True; it must be a number"),
        ({"min": 0.0, "max": math.inf}, r"\.max is inf; it must be a number of at most 1e\+300 in size"),
        ({"min": math.nan, "max": 1}, r"\.min is nan; it must be a number of at most"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": math.inf}, r"\.q is inf; it must be"),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "exponents of e, .* log_uniform_values takes"),
        ({"distribution": "log_uniform", "min": -1000, "max": 1}, "exponents of e, and so from -690 to 690"),
        ({"distribution": ["uniform"], "min": 1, "max": 2}, r"has the distribution \['uniform'\], which"),
        ({"min": 1, 2: 3}, "needs max and min, and there is 2 and min"),
        ({"values": []}, "it must be a list of some values"),
        ({"values": 3}, "it must be a list of some values"),
    ],
)
def test_what_optuna_cannot_express_is_refused_by_name(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        space(tmp_path, entry)
    assert "parameters.x" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read: No such"), ("a: [", "no YAML"), ("3", "no sweep")]
)
def test_what_is_no_sweep_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_sweep(tmp_path / "sweep.yaml")


# the sweeps of this repository


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_agent_of_wandb_and_tune_make_command_lines_that_we_understand(
    recsys: Recsys, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.chdir(REPOSITORY)
    content, sweep = yaml.safe_load(file.read_text()), read_sweep(file)
    drawn = optuna.create_study(sampler=sweep.sampler(0, 0)).ask(sweep.space).params
    args = {name: {"value": value} for name, value in {**sweep.fixed, **drawn}.items()}
    known = {**create_sweep_command_args({"args": args}), "program": [content["program"]], "env": ["/usr/bin/env"]}
    words: list[str] = []
    for word in create_sweep_command(content["command"]):  # as the agent puts the command together
        words += known[word[2:-1]] if word.startswith("${") else [word]
    assert words[:3] == ["/usr/bin/env", "recsys", "fit"]
    assert words[-len(args) :] == sweep.options(drawn)
    outcome = recsys(*words[2:], "--print_config")
    assert outcome.status == 0, outcome.err
    config = yaml.safe_load(outcome.out)
    assert config["trainer"]["logger"]["class_path"].endswith("WandbLogger")
    for name, value in {**sweep.fixed, **drawn}.items():
        found: Any = config
        for part in name.split("."):
            found = found["init_args"][part] if "init_args" in found else found[part]
        found = found["class_path"].rpartition(".")[2] if isinstance(found, dict) else found
        assert found == value, name


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_sweep_selects_by_what_its_experiment_monitors(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    config = REPOSITORY / content["command"][content["command"].index("--config") + 1]
    assert yaml.safe_load(config.read_text())["checkpoint"]["monitor"] == content["metric"]["name"]
    assert f"--config {config.relative_to(REPOSITORY)} --sweep experiments/sweeps/{file.name}" in file.read_text()
