from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.callbacks.cosine_diagnostics import CosineDiagnostics, meaning
from tests.callbacks.told import NOTHING, SAME, Scripted, Told, fit


def look(folder: Path, script: list[tuple[Tensor, Tensor]], **options: Any) -> tuple[dict[str, Any], list[str]]:
    task = Scripted(partial(Told, scale=SAME, shift=NOTHING), script)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(folder, task, CosineDiagnostics(**options), len(script))
    ours = [str(one.message) for one in caught if "the cosine of users" in str(one.message)]
    return json.loads((folder / "cosine_diagnostics.json").read_text()), ours


def test_figures_by_domain_and_what_they_mean(tmp_path: Path) -> None:
    scale = torch.stack([SAME[0], -SAME[1]])
    found, said = look(tmp_path, [(scale, NOTHING)])
    [row] = found["figures"]
    assert row["cosine_movie"] == pytest.approx(1) and row["cosine_book"] == pytest.approx(-1)
    assert row["cosine"] == pytest.approx(0, abs=1e-6) and row["cosine_below_70"] == 0.5 and row["cosine_85_95"] == 0
    assert row["cosine_q05"] == pytest.approx(-1) and row["cosine_q95"] == pytest.approx(1)
    assert [sentence.split(":")[0] for sentence in found["said"]] == ["movie", "book"]
    assert len(said) == 1 and said[0].startswith("book: ") and "have lost their users" in said[0]


def test_users_that_are_lost_for_long_are_said_to_be_once(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(-SAME, NOTHING)] * 5)
    assert len(said) == 2 and len(found["said"]) == 2


def test_users_that_are_found_again_are_not_called_lost_at_the_end(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(-SAME, NOTHING), (SAME, NOTHING)])
    assert not said and all("nearly the users themselves" in sentence for sentence in found["said"])


@pytest.mark.parametrize(
    ("cosine", "words"),
    [
        (0.69, "below 0.7: the conditions have lost their users"),
        (0.7, "between 0.7 and 0.85: the conditions keep less of their users"),
        (0.85, "between 0.85 and 0.95: the conditions keep their users, and add to them"),
        (0.95, "between 0.85 and 0.95"),
        (0.951, "above 0.95: the conditions are nearly the users themselves"),
    ],
)
def test_every_cosine_has_a_meaning(cosine: float, words: str) -> None:
    assert f"book: the cosine of users and their conditions is {cosine:.3f} in the mean, {words}" in meaning(
        "book", cosine
    )
