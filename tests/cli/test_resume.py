from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_lightning.cli.resume import refuse_other_options
from recsys_lightning.errors import InputError


def config(lr: float = 0.1, **options: Any) -> dict[str, Any]:
    optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": lr}}
    return {
        "seed_everything": 0,
        "model": {"class_path": "Ranking", "init_args": {"optimizer": optimizer, "lr_scheduler": None, "k": [10]}},
        "data": {"class_path": "Table", "init_args": {"batch_size": 64, "root": "data"}},
        "checkpoint": {"monitor": "val/ndcg_10", "mode": "max", "every_n_steps": None},
        "trainer": {"max_epochs": 3},
        **options,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()), encoding="utf-8")
    return tmp_path


def test_a_training_goes_on_as_it_was_begun(run: Path) -> None:
    refuse_other_options(run, config())


def test_what_touches_no_training_may_change(run: Path) -> None:
    given = config(trainer={"max_epochs": 9})
    given["data"]["init_args"]["root"] = "elsewhere"
    given["model"]["init_args"] |= {"k": [20], "new_in_later_code": 1}
    refuse_other_options(run, given)


def test_other_options_are_named_with_both_values(run: Path) -> None:
    given = config(lr=0.5, seed_everything=1)
    given["data"]["init_args"]["batch_size"] = 32
    with pytest.raises(InputError) as raised:
        refuse_other_options(run, given)
    said = str(raised.value)
    assert f"The run {run} was begun with other options:\n" in said and "and leave the others out" in said
    for line in ("seed_everything: 0, and now 1", "model.optimizer.lr: 0.1, and now 0.5", "data.batch_size: 64, and"):
        assert f"\n  {line}" in said


def test_what_was_none_and_is_a_class_differs_and_many_are_counted(run: Path) -> None:
    given = config(lr=0.5, seed_everything=1, checkpoint={"monitor": "train/loss", "mode": "min"})
    given["data"]["init_args"]["batch_size"] = 32
    given["model"]["init_args"]["lr_scheduler"] = {"class_path": "CosineAnnealingLR"}
    with pytest.raises(
        InputError, match=r"lr_scheduler: None, and now CosineAnnealingLR\n(.*\n)*  and 1 more\nA train"
    ):
        refuse_other_options(run, given)
