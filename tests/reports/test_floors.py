from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from recsys_lightning.batches import CSR, Views
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import ClosedForm
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.reports import floors as module
from recsys_lightning.reports.floors import Floor, cached_floors, compute_floors, evaluate
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import trainer
from tests.worlds import MemorySource

CPU = torch.device("cpu")
RANDOM = Recipe(split="random")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))


def data(recipe: Recipe = RANDOM, seed: int = 0, **options: object) -> InteractionsDataModule:
    return InteractionsDataModule(MemorySource(seed=seed), recipe, **options)  # type: ignore[arg-type]


def compute(given: InteractionsDataModule, *names: str, k: int = 5) -> tuple[list[Floor], list[str]]:
    said: list[str] = []
    return compute_floors(given, [k], CPU, names, said.append), said


class Cheat(ClosedForm):
    """Ranks the items of one split first, as its option chooses: 1 is val, 2 is test."""

    grid: ClassVar[dict[str, list[float]]] = {"split": [0.0, 1.0, 2.0]}
    answers: ClassVar[dict[float, torch.Tensor]] = {}

    def __init__(self, schema: object, split: float = 0.0) -> None:
        super().__init__(schema)  # type: ignore[arg-type]
        self.split = split

    def solve(self, views: Views) -> None:
        pass

    def rank(self, rows: CSR, user: torch.Tensor) -> torch.Tensor:
        return self.answers[self.split][user].clone()


def test_options_are_chosen_on_val_not_on_test(monkeypatch: pytest.MonkeyPatch) -> None:
    given = data()
    for code, split in enumerate(("train", "val", "test")):
        answer = torch.zeros(given.schema.num_users, given.schema.num_items)
        rows = given.prepared.csr(split)
        answer[rows.row, rows.col] = 1.0
        Cheat.answers[code] = answer
    monkeypatch.setattr(module, "FLOORS", (Cheat,))
    [floor], said = compute(given)
    assert floor.options == {"split": 1.0} and floor.tuned
    assert floor.test["ndcg_5"] < 0.5  # what ranks the test items first was there to be chosen, and would have 1
    assert [line.split(":")[0] for line in said] == [f"Cheat split={n}" for n in (0, 1, 2, 1)]
    assert "val/ndcg_5 1.0000" in said[1] and "test/" not in "".join(said[:3])


def test_all_floors_are_there_with_what_was_chosen() -> None:
    found, _ = compute(data())
    assert [floor.name for floor in found] == ["Popularity", "ItemKNN", "EASE", "GFCF"]
    for floor in found:
        assert floor.test["users"] > 0 and not floor.note
        assert floor.tuned is bool(floor.options)
        assert all(
            value in model.grid[name]
            for name, value in floor.options.items()
            for model in module.FLOORS
            if model.__name__ == floor.name
        )
    by_name = {floor.name: floor.test["ndcg_5"] for floor in found}
    assert max(by_name["EASE"], by_name["ItemKNN"]) > 1.5 * by_name["Popularity"]


def test_without_val_rows_nothing_is_tuned() -> None:
    found, _ = compute(data(Recipe(split="random", val=0)), "EASE")
    assert found[0].options == {} and not found[0].tuned and found[0].test["ndcg_5"] > 0


def test_they_are_kept_and_not_computed_again() -> None:
    first, said = compute(data(), "Popularity", "EASE")
    again, nothing = compute(data(), "Popularity", "EASE")
    assert said and not nothing
    assert again == first == cached_floors(data(), [5])
    more, said = compute(data(), "ItemKNN")
    assert [floor.name for floor in more] == ["Popularity", "ItemKNN", "EASE"]
    assert all("ItemKNN" in line for line in said)


@pytest.mark.parametrize(
    ("other", "k"),
    [
        (lambda: data(seed=1), 5),
        (lambda: data(Recipe(split="random", seed=1)), 5),
        (lambda: data(test_views="train+val"), 5),
        (data, 6),
    ],
)
def test_other_data_views_or_cut_offs_have_floors_of_their_own(other: object, k: int) -> None:
    compute(data(), "Popularity")
    given: InteractionsDataModule = other()  # type: ignore[operator]
    assert cached_floors(given, [k]) == []
    compute(given, "Popularity", k=k)
    assert len(list(given.floor_folder.iterdir())) == 2


def test_options_that_change_no_row_share_their_floors() -> None:
    compute(data(), "Popularity")
    assert cached_floors(data(batch_size=7, eval_batch_size=3), [5])


def test_an_unknown_name_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(InputError, match=r"There is no floor Ease; there are Popularity, ItemKNN, EASE, GFCF\."):
        compute(data(), "Popularity", "Ease")
    assert cached_floors(data(), [5]) == []


def test_a_floor_that_cannot_be_computed_says_why_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(self: EASE, views: Views) -> None:
        raise InputError("EASE needs more memory than there is.")

    with monkeypatch.context() as patch:
        patch.setattr(EASE, "solve", too_large)
        found, said = compute(data(), "Popularity", "EASE")
    assert found[1] == Floor("EASE", note="EASE needs more memory than there is.")
    assert said[-1] == "EASE: EASE needs more memory than there is."
    assert cached_floors(data(), [5]) == found
    again, _ = compute(data())
    assert [floor.note for floor in again] == [""] * 4
    assert again[0] == found[0]


@pytest.mark.parametrize("recipe", [RANDOM, Recipe(split="user_cold", shots=4)], ids=["random", "user_cold"])
@pytest.mark.parametrize("test_views", ["train", "train+val"])
@pytest.mark.parametrize("name", ["Popularity", "ItemKNN", "EASE", "GFCF"])
def test_figures_are_those_of_the_ranking_task(tmp_path: Path, name: str, test_views: str, recipe: Recipe) -> None:
    given = data(recipe, test_views=test_views)
    [floor], _ = compute(given, name)
    model = next(model for model in module.FLOORS if model.__name__ == name)
    task = Ranking(partial(model, **floor.options), k=[5])
    trainer(tmp_path).test(task, data(recipe, test_views=test_views), verbose=False)
    assert {f"test/{name}": value for name, value in floor.test.items()} == pytest.approx(
        task.results, abs=1e-12, nan_ok=True
    )


def test_more_views_help_where_they_may_be_seen() -> None:
    given = data()
    train, both = (
        evaluate(EASE(given.schema, 10.0), views, views, given.ranking_loader("test"), [5])
        for views in (given.views_of("train"), given.views_of("train", "val"))
    )
    assert train["users"] == both["users"] and train["ndcg_5"] != both["ndcg_5"]


def test_the_file_is_plain_json() -> None:
    compute(data(), "Popularity")
    [path] = data().floor_folder.iterdir()
    values = json.loads(path.read_text())
    assert values["name"] == "Popularity" and path.name.startswith("world-")


def test_evaluate_takes_any_batches() -> None:
    given = data()
    whole = evaluate(Popularity(given.schema), *2 * [given.views], given.ranking_loader("val"), [5, 10])
    small = data(eval_batch_size=3)
    assert evaluate(Popularity(small.schema), *2 * [small.views], small.ranking_loader("val"), [5, 10]) == whole


def test_given_rows_are_scored_by_and_not_fitted_to() -> None:
    given = data(Recipe(split="user_cold", shots=4))
    model = Popularity(given.schema)
    evaluate(model, given.fitting_views, given.views, given.ranking_loader("val"), [5])
    assert torch.equal(model.count.long(), given.fitting_views.popularity)
    assert int(given.views.popularity.sum()) > int(model.count.sum())
