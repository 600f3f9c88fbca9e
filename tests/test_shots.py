"""`experiments/shots.py`: the curve comes through the real command line."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "experiments" / "movietweetings-time"
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--data.recipe.limit_users=150"]
Curve = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shots() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("shots")


@pytest.fixture
def curve(
    shots: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Curve:
    text = yaml.safe_load((SOURCE / "two_tower.yaml").read_text())
    text["model"]["init_args"]["recommender"]["init_args"]["dim"] = 8
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "two_tower.yaml").write_text(yaml.safe_dump(text))
    for name in ("data", "popularity"):
        (tmp_path / "small" / f"{name}.yaml").write_text((SOURCE / f"{name}.yaml").read_text())

    def run(*words: object, config: str = "two_tower") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["shots.py"])
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")
        capfd.readouterr()
        place = ["--config", str(tmp_path / "small" / f"{config}.yaml"), "--folder", str(tmp_path / "runs")]
        status = shots.main([*place, "--seeds", "1", *SHORT, *map(str, words), "--trainer.accelerator=cpu"])
        return (status, *capfd.readouterr())

    return run


def test_the_curve_stands_in_a_table_and_beside_a_run(curve: Curve, tmp_path: Path) -> None:
    status, out, err = curve("--k", "1", "--to", tmp_path)
    assert status == 0, err
    assert (tmp_path / "runs" / "small-two_tower" / "shots.md").read_text() in out
    tables = [part for part in out.split("## ") if part.startswith("Ranked")]
    models = ["adaptive mimic", "fusion identity", "fusion metadata", "ContentKNN", "ItemKNN", "Popularity"]
    rows: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        lines = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if re.match(r"\| \d", line)
        ]
        assert [line[1] for line in lines] == models
        assert len({line[2] for line in lines}) == 1
        rows |= {(line[0], line[1]): line for line in lines}
    told = json.loads((tmp_path / "shots.json").read_text())
    assert told["metric"] == "ndcg_10" and [one["model"] for one in told["curves"]] == models
    for one in told["curves"]:
        assert [point["k"] for point in one["points"]] == [1]
        for point in one["points"]:
            assert 0 <= point["low"] <= point["value"] <= point["high"] <= 1
            assert rows[str(point["k"]), one["model"]][3] == f"{point['value']:.4f}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--k", "11"], "from 0 to 10"),
        (["--to", "nowhere"], "--to nowhere is no folder"),
    ],
)
def test_what_cannot_be_done_is_refused(curve: Curve, words: list[str], said: str) -> None:
    status, _, err = curve(*words)
    assert status == 2 and said in err


def test_only_two_towers_have_a_curve(curve: Curve) -> None:
    status, _, err = curve(config="popularity")
    assert status == 2 and "popularity.yaml" in err
