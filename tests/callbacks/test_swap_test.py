from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.results import WriteResults
from recsys_lightning.callbacks.swap_test import SwapTest
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.synthetic import SyntheticDomains as World
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.datasets import SyntheticDomains
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.told import DOMAINS, ITEMS, NOTHING, SAME, WIDTH, K, Scripted, Solved, masks, world
from tests.tasks.test_base import data, trainer

SHIFT = torch.arange(2 * WIDTH).view(2, WIDTH) / 10


def swap(folder: Path, scale: Tensor, shift: Tensor = NOTHING, **options: Any) -> tuple[dict[str, Any], Scripted]:
    task = Scripted(partial(Solved, scale=scale, shift=shift))
    module = world(folder, users=300)
    callback = SwapTest(resamples=500)
    trainer(folder, callbacks=[WriteResults(), callback], **options).test(task, module, verbose=False)
    found: dict[str, Any] = json.loads((folder / "swap.json").read_text())
    return found, task


def test_right_conditions_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, task = swap(tmp_path, masks())
    assert found["k"] == [5, 10] and [domain["name"] for domain in found["domains"]] == list(DOMAINS)
    for domain in found["domains"]:
        for side in ("others", "user", "shift"):
            assert domain["less"]["5"][side]["low"] > 0
        for k in ("5", "10"):  # what the task itself has measured
            assert domain["ndcg"][k]["condition"] == pytest.approx(
                task.results[f"test/ndcg_{k}_{domain['name']}"], rel=1e-5
            )
            mean = domain["ndcg"][k]["condition"] - domain["ndcg"][k]["user"]
            assert domain["less"][k]["user"]["mean"] == pytest.approx(mean, abs=1e-5)
        assert domain["users"] == task.results[f"test/users_{domain['name']}"]
        assert domain["jacobian"] == pytest.approx(math.sqrt((WIDTH - K) / WIDTH), rel=0.01)
        assert domain["jacobian_beyond"] == pytest.approx(math.sqrt(K / WIDTH), rel=0.01)
        assert 0.1 < domain["identified"] < 0.9 and domain["beyond_mean"] > 0.9
    out = capsys.readouterr().out
    assert "movie passes in this training: its condition (ndcg@5 " in out and "book passes" in out
    assert [sentence["against"] for sentence in found["sentences"]] == [False, False]
    assert all(sentence["text"] in out for sentence in found["sentences"])
    assert "is better than conditions of other domains" in out and "Swap test: 2 of 2 domains pass." in out
    page = (tmp_path / "report.md").read_text()
    assert "\n## Swap test\n" in page and "movie passes" in page


def test_a_shift_for_everybody_fails_and_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = swap(tmp_path, SAME, SHIFT)
    for domain in found["domains"]:
        assert domain["beyond_mean"] == pytest.approx(0, abs=1e-6)
        assert domain["jacobian"] == pytest.approx(1, rel=0.01)
        assert domain["jacobian_beyond"] == pytest.approx(0, abs=1e-3)
        assert domain["less"]["5"]["shift"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        assert domain["cosine"] < 0.99 and domain["cosine_centred"] == pytest.approx(1, abs=1e-5)
    assert found["pairs"][0]["cosine_centred"] == pytest.approx(1, abs=1e-5)
    assert found["pairs"][0]["cka"] == pytest.approx(1, abs=1e-5)
    out = capsys.readouterr().out
    assert [sentence["against"] for sentence in found["sentences"]] == [True, True]
    assert "movie FAILS" in out and "nearly one shift for everybody: 0.0% of it is their own" in out
    assert "not shown to be better than user vectors moved by the mean shift" in out and "0 of 2 domains pass" in out


def test_conditions_of_the_wrong_domain_are_said_to_be_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = swap(tmp_path, masks().flip(0))
    assert all(domain["less"]["5"]["others"]["high"] < 0 for domain in found["domains"])
    out = capsys.readouterr().out
    assert "movie FAILS" in out and "is worse than conditions of other domains" in out


def test_users_as_they_are_differ_from_nothing(tmp_path: Path) -> None:
    found, _ = swap(tmp_path, SAME)
    for domain in found["domains"]:
        assert all(less["mean"] == less["low"] == less["high"] == 0 for less in domain["less"]["5"].values())
        assert domain["identified"] == 1 and domain["beyond_mean"] == 0


def test_ties_fall_as_in_the_test_itself(tmp_path: Path) -> None:
    found, task = swap(tmp_path, NOTHING)  # every score is 0
    for domain in found["domains"]:
        for k in ("5", "10"):
            own = task.results[f"test/ndcg_{k}_{domain['name']}"]
            assert own > 0 and domain["ndcg"][k]["condition"] == pytest.approx(own, abs=1e-6)


def three(folder: Path) -> EmbeddingDataModule:
    """Three domains, built as the world of two: the numbers of an item for other domains' tastes are noise."""
    names, width = ("movie", "book", "song"), 4 * K + 1
    options = {"users": 300, "items": dict.fromkeys(names, ITEMS), "rows": 8.0, "factors": K, "noise": 0.3}
    inner = SyntheticDomains(**options, recipe=Recipe(split="leave_last_out", val=1, test=1))
    planted = World(Path(), **options).planted().aligned(inner.prepared)
    vectors = planted.vectors()
    user, item = vectors.user.sum(1), vectors.item.clone()
    user[:, :K], user[:, -1] = vectors.user[:, 0, :K], 1
    noise = 2 * torch.randn(item.shape, generator=torch.Generator().manual_seed(0))
    noise[:, :K] = noise[:, -1] = 0
    item += noise * (item == 0)
    assert user.shape[1] == width
    write_vectors(folder / "three.safetensors", Vectors(user, item), inner.prepared, "Planted")
    return EmbeddingDataModule(inner, folder / "three.safetensors", batch_size=64, negatives=2)


def test_of_three_domains_the_best_of_the_others_must_be_beaten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = three(tmp_path)
    scale = torch.ones(3, 4 * K + 1)
    movie, book, song = (slice((1 + code) * K, (2 + code) * K) for code in range(3))
    scale[0, song] = 0  # movies: what books only say is left in
    scale[1, book] = scale[1, song] = 0  # books: it is right for movies
    scale[2, movie] = scale[2, book] = 0
    task = Scripted(partial(Solved, scale=scale, shift=torch.zeros(3, 4 * K + 1)))
    trainer(tmp_path, callbacks=[SwapTest(resamples=500)]).test(task, data, verbose=False)
    found = json.loads((tmp_path / "swap.json").read_text())
    by_name = {domain["name"]: domain for domain in found["domains"]}
    films = by_name["movie"]
    assert films["best_other"] == {"5": "book", "10": "book"} and films["less"]["5"]["others"]["high"] < 0
    assert films["less"]["5"]["user"]["low"] > 0
    out = capsys.readouterr().out
    assert "movie FAILS" in out and "worse than the condition of book, the best of other domains'" in out
    assert "song passes" in out


def test_a_seed_decides_all_that_is_drawn(tmp_path: Path) -> None:
    first, again = (swap(tmp_path, masks())[0] for _ in range(2))
    assert first == again


def test_two_processes_find_the_same(tmp_path: Path) -> None:
    one, _ = swap(tmp_path, masks())
    two, _ = swap(tmp_path, masks(), devices=2, strategy="ddp_fork")
    assert one == two


def test_what_has_no_conditions_is_passed_over_in_a_sentence(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="SwapTest tests nothing: Popularity makes no conditions of users"):
        trainer(tmp_path, callbacks=[SwapTest()]).test(Ranking(Popularity, k=[5]), data(), verbose=False)
    assert not (tmp_path / "swap.json").exists()


@pytest.mark.parametrize(("option", "value"), [("resamples", 99), ("compared", 1), ("seed", -1)])
def test_numbers_that_are_too_small_are_refused(option: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{option} {value}; it must be at least"):
        SwapTest(**{option: value})


def test_moving_users_leaves_the_views_alone(tmp_path: Path) -> None:
    _, task = swap(tmp_path, masks())
    own = world(tmp_path, users=300).views_of("train").vectors.user
    assert np.array_equal(task.views.vectors.user.numpy(), own.numpy())
