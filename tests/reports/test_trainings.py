from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_lightning.errors import InputError
from recsys_lightning.reports.tested import read_all
from tests.reports.compared import values, write

OPTIONS = {"seed": 0, "dim": 64, "lr": 0.005, "epochs": 3, "k": [10], "root": None, "vectors": None, "devices": "auto"}


def configure(folder: Path, **changes: Any) -> None:
    """Write a configuration as every run leaves one."""
    chosen = OPTIONS | changes
    recommender = {"class_path": "recsys_lightning.models.MF", "init_args": {"dim": chosen["dim"]}}
    optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": chosen["lr"]}}
    model = {"recommender": recommender, "optimizer": optimizer, "lr_scheduler": None, "k": chosen["k"]}
    data = {"root": chosen["root"], "vectors": chosen["vectors"], "recipe": {"min_rating": 4.0, "seed": 0}}
    trainer = {"max_epochs": chosen["epochs"], "devices": chosen["devices"], "default_root_dir": str(folder)}
    config = {
        "seed_everything": chosen["seed"],
        "trainer": trainer,
        "model": {"class_path": "recsys_lightning.tasks.ranking.Ranking", "init_args": model},
        "data": {"class_path": "recsys_lightning.datamodules.datasets.MovieLens", "init_args": data},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def trained(folder: Path, test: dict[str, Any] | None = None, file: str = "best.ckpt", **changes: Any) -> Path:
    """A training with these options, and its test, which was given others."""
    checkpoint = folder / "fit" / "checkpoints" / file
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.touch()
    configure(folder / "fit", **changes)
    tested = write(folder / f"test_{file}", values(), checkpoint=str(checkpoint))
    configure(tested, **(test or changes))
    return tested


def together(*folders: Path) -> Any:
    return read_all([",".join(map(str, folders))])[0]


def test_seeds_may_differ_in_what_makes_no_other_model(tmp_path: Path) -> None:
    first = trained(tmp_path / "0")
    others = [
        trained(tmp_path / "1", seed=1, root="elsewhere", devices=2),
        trained(tmp_path / "2", seed=2, k=[10, 20], vectors="gat-2/vectors.safetensors"),
        trained(tmp_path / "3", test={"lr": 0.1, "seed": 0, "epochs": 1000}, seed=3),  # tested by the experiment's file
    ]
    assert len(together(first, *others).tables) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dim": 8, "lr": 0.05}, "model.recommender.dim: 64 and 8\n  model.optimizer.lr: 0.005 and 0.05\nPut a space"),
        ({"epochs": 30}, "trainer.max_epochs: 3 and 30"),
        ({"test": {"seed": 1, "dim": 32}}, "model.recommender.dim: 64 and 32"),
    ],
)
def test_other_options_make_another_model(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    first, other = trained(tmp_path / "0"), trained(tmp_path / "1", seed=1, **changes)
    with pytest.raises(InputError) as error:
        together(first, trained(tmp_path / "2", seed=2), other)
    assert f"{first} and {other} are to be one model" in str(error.value) and said in str(error.value)


def test_what_was_made_twice_is_no_two_seeds(tmp_path: Path) -> None:
    first = trained(tmp_path / "0")
    for other, said in (
        (trained(tmp_path / "again"), "the same seed_everything, 0"),
        (trained(tmp_path / "0", file="last.ckpt"), "are tests of one training"),
    ):
        with pytest.raises(InputError, match=said):
            together(first, other)
    assert together(first, trained(tmp_path / "stage", vectors="gat-1/vectors.safetensors")).trained
    solved = [write(tmp_path / name, values(), model="EASE") for name in "ab"]
    for folder in solved:
        configure(folder)
    with pytest.raises(InputError, match="the same seed_everything, 0"):
        together(*solved)


def test_trainings_that_are_gone_leave_what_the_tests_say(tmp_path: Path) -> None:
    runs = [write(tmp_path / name, values(), checkpoint=f"gone/{name}/checkpoints/best.ckpt") for name in "abc"]
    configure(runs[0])
    configure(runs[1])
    assert len(together(*runs).tables) == 3, "of which seeds they are is not known"
    configure(runs[2], dim=8)
    with pytest.raises(InputError, match=r"model\.recommender\.dim: 64 and 8"):
        together(*runs)
    (runs[2] / "config.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml is damaged"):
        together(*runs)
