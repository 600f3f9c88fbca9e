"""The experiments that lie in the repository, and what tests of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark import ParameterSet

from recsys_lightning.cli.experiment import closed_form as is_closed_form
from recsys_lightning.cli.experiment import recommender_of
from tests.conftest import REPOSITORY
from tests.worlds import blocks

EXPERIMENTS = REPOSITORY / "experiments"
FOLDERS = sorted(path.parent for path in EXPERIMENTS.glob("*/data.yaml"))
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.yaml") if path.name != "data.yaml")
EVERYWHERE = {"data", "popularity", "ease", "mf", "lightgcn", "gat"}
CROSS_DOMAIN = {"emcdr", "ptupcdr", "dot_product", "conditioner", "diffusion"}
OF_DOMAINS = {
    "amazon-movie-book": EVERYWHERE | CROSS_DOMAIN,
    "amazon-movie-book-dense": EVERYWHERE,
    "movietweetings-domains": EVERYWHERE | CROSS_DOMAIN,
    "synthetic-domains": EVERYWHERE | CROSS_DOMAIN,
}
"""Folders of data with several domains, and the files that each has at least."""
SHORT = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
FIGURES = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "coverage", "gini", "novelty", "popularity_lift")


def named(config: Path) -> str:
    """Folder and name of an experiment, for the names of tests."""
    return f"{config.parent.name}/{config.stem}"


def some_slow(configs: Sequence[Path], fast: Callable[[Path], bool]) -> list[ParameterSet]:
    """Experiments as parameters of tests, those that are not fast marked so."""
    return [pytest.param(each, marks=[] if fast(each) else pytest.mark.slow, id=named(each)) for each in configs]


def content(config: Path) -> dict[str, Any]:
    """What an experiment says."""
    said: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    return said


def recommender(config: Path) -> str:
    """Class of the recommender of an experiment."""
    return str(recommender_of(content(config)))


def closed_form(config: Path) -> bool:
    """Whether an experiment trains nothing."""
    return is_closed_form(recommender(config))


def rows(num_users: int = 60, num_items: int = 40, seed: int = 0) -> list[tuple[int, int]]:
    """(user, item), numbered from 1, of users who like the items of their block."""
    train = blocks(num_users, num_items, seed=seed)[1].train
    return [(user + 1, item + 1) for user, item in zip(train.row.tolist(), train.col.tolist(), strict=True)]


def write(file: Path, lines: list[str], encoding: str = "utf-8") -> None:
    """Write lines, and the folder that they lie in."""
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def fitted_and_tested(
    words: Sequence[object], folder: Path, monkeypatch: pytest.MonkeyPatch, predict: bool = False
) -> Path:
    """Trains as `recsys fit`, tests the best checkpoint as `recsys test` and may predict by it; the figures.

    All of that is of one command line, as to read one takes longer than to train on small data.
    """
    from recsys_lightning.cli.trainer import make_cli

    monkeypatch.setattr("sys.argv", ["recsys"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back after the test, whatever the run sets
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    cli = make_cli(["fit", *map(str, words), *SHORT, f"--trainer.default_root_dir={folder}", *quiet], run=True)
    [best] = folder.rglob("best.ckpt")
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False, weights_only=True)
    if predict:
        cli.trainer.predict(cli.model, cli.datamodule, ckpt_path=best, return_predictions=False, weights_only=True)
    [metrics] = folder.rglob("metrics.json")
    return metrics


def stages_in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Makes `recsys chain` run its commands in this process, as starting one takes seconds; they are noted here."""
    from recsys_lightning.cli import chain, main

    done: list[list[str]] = []

    def run(words: Sequence[str]) -> int:
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        done.append(list(words[3:]))
        return main(words[3:])

    monkeypatch.setattr(chain, "carried_out", run)
    return done
