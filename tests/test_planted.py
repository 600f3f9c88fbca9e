"""`experiments/planted.py`: the best possible ranking, and what vectors hold, through the real command line."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from recsys_lightning.batches import Vectors
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import Planted, SyntheticDomains
from recsys_lightning.data.vectors import FrozenVectors, write_vectors
from recsys_lightning.datamodules import datasets
from recsys_lightning.reports.tables import DASH
from tests.conftest import REPOSITORY

WORLD: dict[str, Any] = {"users": 600, "items": {"movie": 80, "book": 60}, "rows": 10}
DATA = """
class_path: SyntheticDomains
init_args:
  users: 600
  items: {movie: 80, book: 60}
  rows: 10
  recipe: {split: leave_last_out, val: 1, test: 1}
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def planted() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("planted")


@pytest.fixture
def command(planted: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], seeded: None) -> Command:
    file = tmp_path / "data.yaml"
    file.write_text(DATA, encoding="utf-8")

    def run(*words: object, data: object = file) -> tuple[int, str, str]:
        status = planted.main(["--data", str(data), *map(str, words)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three runs: the planted tastes of each domain, those of all domains in one vector, and vectors of chance."""
    data = datasets.SyntheticDomains(**WORLD)
    assert isinstance(data.source, SyntheticDomains)
    best = data.source.planted().aligned(data.prepared).vectors()
    chance = torch.randn(best.user.shape, generator=torch.Generator().manual_seed(0))
    made = {"each": best.user, "all": best.user.sum(1), "chance": chance}
    paths = [tmp_path / "out" / name / "version_0" / "vectors.safetensors" for name in made]
    for path, user in zip(paths, made.values(), strict=True):
        write_vectors(path, Vectors(user, best.item), data.prepared, "Planted")
    return paths


def lines(text: str) -> list[list[str]]:
    """Cells of the table's rows, without its head."""
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*$", text, re.M)][2:]


def test_the_planted_tastes_are_the_best_ranking(command: Command) -> None:
    status, text, _ = command()
    assert status == 0
    (best, *oracle), (popular, *popularity) = lines(text)
    assert (best, popular) == ("planted tastes", "popularity")
    for ours, theirs in zip(oracle, popularity, strict=True):
        assert 0.9 > float(ours) > 1.5 * float(theirs) > 0
    for mean, *own in (oracle, popularity):
        assert float(mean) == pytest.approx(sum(map(float, own)) / 2, abs=1e-4)
    assert "600 in movie" in text and "| movie | book |" in text


def test_one_domain_has_one_figure(command: Command) -> None:
    status, text, _ = command("--data.recipe.only=book")
    [oracle, popularity] = lines(text)
    assert status == 0 and len(oracle) == 2 and float(oracle[1]) > 1.5 * float(popularity[1]) > 0
    joint = [line[3] for line in lines(command()[1])]
    assert [float(oracle[1]), float(popularity[1])] == pytest.approx([*map(float, joint)], abs=0.01)


def test_of_one_domain_no_other_is_asked_for(command: Command, tmp_path: Path) -> None:
    data = datasets.SyntheticDomains(**WORLD, recipe=Recipe(split="leave_last_out", val=1, test=1, only="book"))
    assert isinstance(data.source, SyntheticDomains)
    vectors = data.source.planted().aligned(data.prepared).vectors()
    write_vectors(tmp_path / "books.safetensors", vectors, data.prepared, "Planted")
    status, text, _ = command("--data.recipe.only=book", "--vectors", tmp_path / "books.safetensors")
    [line] = lines(text)
    assert status == 0 and line[:3] == ["books.safetensors", "Planted", "book"] and line[6] == DASH
    assert min(map(float, line[3:6])) > 0.95 and text.strip().endswith("of the tastes in a domain (0.8 asked for).")


def test_vectors_are_told_by_the_tastes_they_hold(command: Command, files: list[Path]) -> None:
    status, text, _ = command("--vectors", *files)
    assert status == 0
    table = lines(text)
    runs = [f"{name}/version_0" for name in ("each", "all", "chance")]
    assert [line[:3] for line in table] == [[run, "Planted", name] for run in runs for name in ("movie", "book")]
    figures = torch.tensor([[float(cell) for cell in line[3:]] for line in table])
    assert (figures[:4, :3] > 0.95).all() and (figures[4:, :3].abs() < 0.15).all()
    assert (figures[[0, 1, 4, 5], 3].abs() < 0.15).all() and (figures[2:4, 3] > 0.95).all()
    said = re.findall(r"^\* (\S+): (not reached|reached): ", text, re.M)
    assert said == list(zip(runs, ("reached", "not reached", "not reached"), strict=True))


def test_of_several_others_the_one_that_most_is_readable_of_counts(planted: ModuleType) -> None:
    world: Planted = SyntheticDomains(Path(), users=600, items={"film": 40, "book": 40, "song": 40}, rows=5).planted()
    best = world.vectors()
    assert all(abs(one.other) < 0.15 for _, one in planted.held(world, FrozenVectors(best, "", "")))
    mixed = best.user.clone()
    mixed[:, 0] += mixed[:, 2]  # that for films knows of songs as well
    other = [one.other for _, one in planted.held(world, FrozenVectors(best._replace(user=mixed), "", ""))]
    assert other[0] > 0.95 and max(map(abs, other[1:])) < 0.15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.noise=-1"], "noise is -1.0; it must be above 0"),
        (["--data.nois=1"], "no option data.nois. Did you mean data.noise?"),
        (["--vectors", "nothing.safetensors"], "no file nothing.safetensors"),
    ],
)
def test_bad_options_are_refused_in_words(command: Command, words: list[str], message: str) -> None:
    status, _, error = command(*words)
    assert status == 2 and message in error


def test_data_without_planted_tastes_are_refused_in_words(command: Command, tmp_path: Path) -> None:
    status, _, error = command(data=REPOSITORY / "experiments" / "ml-100k" / "data.yaml")
    assert status == 2 and "is ml-100k, and nobody knows the tastes of its users" in error
    status, _, error = command(data=tmp_path / "other.yaml")
    assert status == 2 and "no file" in error and "other.yaml" in error


def test_vectors_of_another_world_are_refused_in_words(command: Command, files: list[Path]) -> None:
    status, _, error = command("--vectors", files[0], "--data.seed=1")
    assert status == 2 and "made of other data" in error
