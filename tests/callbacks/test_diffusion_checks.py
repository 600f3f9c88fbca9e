from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from recsys_lightning.batches import Vectors, Views
from recsys_lightning.callbacks import diffusion_checks
from recsys_lightning.callbacks.diffusion_checks import DiffusionChecks
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.errors import InputError
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.reports.floors import Floor
from recsys_lightning.tasks.ranking import Ranking
from tests.conftest import Recsys
from tests.models.diffusion.planted import data, diffusion
from tests.tasks.test_base import trainer

Found = dict[str, Any]


class Apart(Callback):
    """Each process has a cache of its own, as nodes have; one of them may refuse a floor."""

    def __init__(self, folder: Path, refuses: int | None = None) -> None:
        self.folder, self.refuses = folder, refuses

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        os.environ["RECSYS_CACHE"] = str(self.folder / str(trainer.global_rank))
        if trainer.global_rank == self.refuses:
            EASE.solve = _refuse  # type: ignore[method-assign]


def _refuse(self: EASE, views: Views) -> None:
    raise InputError("EASE needs more memory than this node has.")


def two() -> Found:
    """Options of a trainer; processes that wait for each other are found out within a minute."""
    return {"devices": 2, "strategy": DDPStrategy(start_method="fork", timeout=timedelta(seconds=40))}


def check(folder: Path, options: Found | None = None, epochs: int = 40, **of_test: Any) -> Found:
    torch.manual_seed(0)
    task = diffusion(**(options or {}))
    fit = trainer(folder, max_epochs=epochs, limit_val_batches=0)
    fit.fit(task, data())
    fit.save_checkpoint(folder / "it.ckpt")
    return examine(folder, options, **of_test)


def examine(
    folder: Path, options: Found | None = None, several: bool = False, beside: Sequence[Callback] = (), **of_test: Any
) -> Found:
    callback = DiffusionChecks(**{"resamples": 200, **of_test})
    made = trainer(folder, callbacks=[*beside, callback], **(two() if several else {}))
    made.test(diffusion(**(options or {})), data(), ckpt_path=folder / "it.ckpt", verbose=False)
    found: Found = json.loads((folder / "checks.json").read_text())
    return found


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Found:
    return check(tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def difference(found: Found, of: str, against: str, domain: str) -> Found:
    (entry,) = [
        entry
        for entry in found["differences"]
        if (entry["of"], entry["against"], entry["domain"]) == (of, against, domain)
    ]
    return dict(entry)


@pytest.mark.parametrize("domain", ["movie", "book"])
def test_what_was_learned_comes_from_the_conditions(learned: Found, domain: str) -> None:
    ours = difference(learned, "as tested", "Popularity", domain)
    assert ours["low"] > 0.1
    shuffled = difference(learned, "other users' conditions", "Popularity", domain)
    assert shuffled["low"] <= 0 and shuffled["holm"] > 0.05  # all items are as popular: no list is better
    assert difference(learned, "as tested", "other users' conditions", domain)["low"] > 0.1
    assert difference(learned, "no condition", "Popularity", domain)["low"] <= 0


def test_the_file_holds_every_way_of_each_domain(learned: Found) -> None:
    assert learned["schedule"] == {"timesteps": 1000, "final_alpha_bar": 0, "prediction": "v"}
    assert learned["sampler"] == {"steps": 20, "guidance": 2, "samples": 2, "seed": 0}
    names = ["as tested", "other users' conditions", "no condition", "guidance 1", "guidance 4", "guidance 8"]
    names += ["one step", "dot product of the conditions", "Popularity", "EASE"]
    assert [way["name"] for way in learned["ways"]] == [name for name in names for _ in ("movie", "book")]
    assert all(way["low"] <= way["mean"] <= way["high"] and way["users"] == 240 for way in learned["ways"])
    for start in learned["start"]:
        assert abs(start["mean"]) < 0.1 and abs(start["std"] - 1) < 0.1 and start["spread"] > 0.05


def test_the_figures_are_those_of_the_evaluation(tmp_path: Path, learned: Found) -> None:
    values = {(way["name"], way["domain"]): way["mean"] for way in learned["ways"]}
    task = Ranking(Popularity, k=[10])
    trainer(tmp_path).test(task, data(), verbose=False)
    for domain in ("movie", "book"):
        assert values["Popularity", domain] == pytest.approx(task.results[f"test/ndcg_10_{domain}"], abs=1e-6)
        entry = difference(learned, "as tested", "EASE", domain)
        assert entry["mean"] == pytest.approx(values["as tested", domain] - values["EASE", domain], abs=3e-6)


def test_nobody_is_sampled_in_a_domain_without_test_rows_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, sampled, sample = data(overlap=0.3), [set[int](), set[int]()], DiffusionRecommender.sample

    def seen(self: DiffusionRecommender, state: Any, user: Tensor, domain: int, *rest: Any) -> Tensor:
        sampled[domain] |= set(user.tolist())
        return sample(self, state, user, domain, *rest)

    monkeypatch.setattr(DiffusionRecommender, "sample", seen)
    monkeypatch.setattr(diffusion_checks, "compute_floors", lambda *_: [])
    made = trainer(tmp_path, max_epochs=1, callbacks=[DiffusionChecks([], resamples=100)], limit_val_batches=0)
    task = diffusion(steps=2, samples=1)
    made.fit(task, world)
    made.test(task, world, verbose=False)
    held, domain = world.prepared.csr("test"), world.views.domain
    assert domain is not None and len(json.loads((tmp_path / "checks.json").read_text())["start"]) == 2
    for code in range(2):
        tested = set(held.row[domain[held.col] == code].tolist())
        assert tested == sampled[code] and len(tested) < world.prepared.num_users


def test_where_it_does_not_beat_a_floor_it_is_said(learned: Found) -> None:
    said = {entry["text"]: entry["against"] for entry in learned["sentences"]}
    for domain in ("movie", "book"):
        entry = difference(learned, "as tested", "dot product of the conditions", domain)
        assert entry["high"] < 0  # these are the ideal conditions: nobody ranks better
        (sentence,) = [text for text in said if text.startswith(f"{domain}: ndcg@10") and "of the conditions" in text]
        assert "does not beat the dot product of the conditions" in sentence and "it is worse" in sentence
        assert said[sentence]


def test_it_says_so_on_the_terminal_and_in_the_report(
    tmp_path: Path, cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = check(tmp_path, {"steps": 2, "samples": 1}, epochs=1, guidance=[])
    shown = capsys.readouterr().out
    assert all(entry["text"] in shown for entry in found["sentences"])


def test_a_user_embedding_stands_beside_the_conditions(tmp_path: Path, cache: None) -> None:
    module, options = data(), {"steps": 2, "samples": 1}
    vectors, prepared = module.frozen.vectors, module.prepared
    write_vectors(tmp_path / "users", Vectors(vectors.user.mean(1), vectors.item), prepared, "oracle")
    found = check(tmp_path, options, epochs=1, guidance=[], user_vectors=tmp_path / "users")
    assert difference(found, "as tested", "dot product of the user embedding", "book")["mean"] < 0
    write_vectors(tmp_path / "several", vectors, prepared, "oracle")
    with pytest.raises(InputError, match="several holds a vector of each user in each domain"):
        examine(tmp_path, options, user_vectors=tmp_path / "several")


def test_a_regressor_is_called_one(tmp_path: Path, cache: None) -> None:
    options = {"timesteps": 1, "steps": 1, "guidance": 1.0, "samples": 1}
    found = check(tmp_path, options, epochs=2, guidance=[])
    assert "one step" not in {way["name"] for way in found["ways"]}
    assert found["schedule"]["final_alpha_bar"] == 0
    assert any("it is a regressor" in entry["text"] and entry["against"] for entry in found["sentences"])


def on_one_and_two(folder: Path) -> list[Found]:
    torch.set_num_threads(1)
    options = {"steps": 2, "samples": 1}
    return [check(folder, options, epochs=2, guidance=[1.0]), examine(folder, options, several=True, guidance=[1.0])]


def on_caches_apart(folder: Path) -> list[Found]:
    """The first process finds the floors in its cache, and the other does not; then the other refuses one."""
    torch.set_num_threads(1)
    options = {"steps": 2, "samples": 1}
    check(folder, options, epochs=1, guidance=[], beside=[Apart(folder)])
    apart = examine(folder, options, several=True, guidance=[], beside=[Apart(folder)])
    kept = examine(folder, options, several=True, guidance=[], beside=[Apart(folder, 1)])
    (folder / "0" / "floors").rename(folder / "floors")
    return [apart, kept, examine(folder, options, several=True, guidance=[], beside=[Apart(folder, 1)])]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path, cache: None) -> None:
    pool: Executor
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        one, two = pool.submit(on_one_and_two, tmp_path).result(timeout=120)
    assert one == two


@pytest.mark.slow
def test_processes_with_caches_of_their_own_do_not_wait_for_each_other(tmp_path: Path) -> None:
    pool: Executor
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        apart, *refused = pool.submit(on_caches_apart, tmp_path).result(timeout=240)
    assert {"Popularity", "EASE"} <= {way["name"] for way in apart["ways"]} and not apart["notes"]
    assert not (tmp_path / "1" / "floors").exists()  # the first keeps them for all
    for found in refused:
        assert found["notes"] == ["EASE needs more memory than this node has."]
        names = {way["name"] for way in found["ways"]}
        assert "Popularity" in names and "EASE" not in names


def test_a_claim_is_corrected_for_the_number_of_comparisons(learned: Found) -> None:
    entries = sorted(learned["differences"], key=lambda entry: float(entry["p"]))
    assert all(entry["p"] <= entry["holm"] <= 1 for entry in entries)
    assert entries[0]["holm"] == pytest.approx(min(1, len(entries) * entries[0]["p"]))
    assert any(f"All {len(entries)} comparisons together" in entry["text"] for entry in learned["sentences"])


def test_other_models_are_not_looked_at(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Popularity does not diffuse"):
        trainer(tmp_path, callbacks=[DiffusionChecks()]).test(Ranking(Popularity, k=[10]), data(), verbose=False)
    assert not (tmp_path / "checks.json").exists()


def test_floors_that_another_command_left_are_no_way_of_its(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion_checks, "compute_floors", lambda *_: [Floor("GFCF", {}), Floor("Popularity", {})])
    found = check(tmp_path, {"steps": 2, "samples": 1}, epochs=1, guidance=[])
    names = {way["name"] for way in found["ways"]}
    assert "Popularity" in names and not {"GFCF", "EASE"} & names


@pytest.mark.parametrize("options", [{"guidance": [-1.0]}, {"resamples": 10}, {"seed": -1}])
def test_options_out_of_range_are_refused(options: Found) -> None:
    with pytest.raises(InputError, match="DiffusionChecks was given"):
        DiffusionChecks(**options)


def test_the_command_line_knows_task_model_and_checks_by_their_short_names(
    recsys: Recsys, tmp_path: Path, cache: None
) -> None:
    """One command trains, and one checks: the report holds what the terminal says."""
    source = data()
    world = "{users: 240, items: {movie: 60, book: 50}, rows: 8.0, factors: 2, noise: 0.3, popularity: 0.0}"
    write_vectors(tmp_path / "oracle", source.frozen.vectors, source.prepared, "oracle")
    config = tmp_path / "it.yaml"
    config.write_text(
        "model: {class_path: Diffusion, init_args: {recommender: {class_path: DiffusionRecommender, "
        "init_args: {width: 16, depth: 1, steps: 2, samples: 1}}}}\n"
        "data: {class_path: EmbeddingDataModule, init_args: {interactions: "
        f"{{class_path: SyntheticDomains, init_args: {world}}}, vectors: {tmp_path / 'oracle'}}}}}\n"
        "trainer: {max_epochs: 1, callbacks: "
        "[{class_path: DiffusionChecks, init_args: {guidance: [], resamples: 100}}]}\n"
    )
    outcome = recsys("fit", "--config", config)
    assert outcome.status == 0, outcome.err
    (checkpoint,) = tmp_path.rglob("best.ckpt")
    outcome = recsys("test", "--config", config, "--ckpt_path", checkpoint)
    assert outcome.status == 0, outcome.err
    assert "The schedule ends in noise" in outcome.out and "does not beat EASE" in outcome.out
    (file,) = tmp_path.rglob("checks.json")
    page = (file.parent / "report.md").read_text()
    assert "\n## Does it diffuse\n" in page and "the final alpha-bar is 0.0000" in page
    assert all(way["name"] in page for way in json.loads(file.read_text())["ways"])
