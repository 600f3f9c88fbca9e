from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.callbacks.domain_diversity import DomainDiversity
from recsys_lightning.metrics.subspaces import cosines, linear_cka
from tests.callbacks.told import NOTHING, SAME, WIDTH, K, Scripted, Told, fit, masks, world

SHIFT = torch.stack([torch.zeros(WIDTH), torch.full((WIDTH,), 3.0)])


def look(folder: Path, script: list[tuple[Tensor, Tensor]], **options: Any) -> tuple[dict[str, Any], list[str]]:
    """What is in the file, and the warnings."""
    task = Scripted(partial(Told, scale=SAME, shift=NOTHING), script)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(folder, task, DomainDiversity(**options), len(script))
    ours = [str(one.message) for one in caught if "conditions" in str(one.message).lower()]
    return json.loads((folder / "domain_diversity.json").read_text()), ours


def test_figures_are_those_of_the_conditions(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(masks(), SHIFT)])
    data = world(tmp_path)
    users = data.views_of("train").vectors.user
    users = users[data.views_of("train").train.degree > 0]
    first, second = (users * mask + shift for mask, shift in zip(masks(), SHIFT, strict=True))
    [row] = found["figures"]
    assert row["epoch"] == 1 and not said
    assert row["diversity"] == pytest.approx(float(1 - cosines(first, second).mean()), rel=1e-4)
    assert row["diversity_centred"] == pytest.approx(float(1 - cosines(first, second, centred=True).mean()), rel=1e-4)
    assert row["cka"] == pytest.approx(linear_cka(first, second), rel=1e-4)
    assert sum(found["histograms"]["diversity_movie_book"]["counts"]) == len(users)
    svg = (tmp_path / "domain_diversity.svg").read_text()
    assert svg.startswith("<svg xmlns") and "Diversity movie book, last validation" in svg


def test_a_collapse_is_said_once(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(SAME, NOTHING)] * 5)
    assert len(said) == 1 and found["said"] == said
    assert "in movie and book are nearly the same (diversity 0.0000)" in said[0]


def test_a_shift_for_everybody_is_said_once(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(SAME, SHIFT)] * 5)
    assert found["figures"][-1]["diversity"] > 0.1 and found["figures"][-1]["diversity_centred"] < 1e-5
    assert len(said) == 1 and "differ by one shift for everybody" in said[0]


def test_conditions_that_are_parting_are_left_in_peace(tmp_path: Path) -> None:
    rising = [(SAME + share * (masks() - SAME), NOTHING) for share in (0.0, 0.02, 0.04, 0.06, 0.5)]
    found, said = look(tmp_path, rising)
    assert found["figures"][3]["diversity"] < 0.01 and not said


def test_a_short_training_is_judged_at_its_end(tmp_path: Path) -> None:
    _, said = look(tmp_path, [(SAME, NOTHING)], patience=3)
    assert len(said) == 1


def test_what_is_diverse_is_not_warned_of(tmp_path: Path) -> None:
    found, said = look(tmp_path, [(masks(), NOTHING)] * 4)
    assert not said and found["said"] == [] and found["figures"][-1]["diversity_centred"] > K / WIDTH / 2
