from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from recsys_lightning.serving.format import Export, Scorer
from recsys_lightning.serving.scorers import Person, Sums, Unable, Vectors, scorer
from tests.serving.exports import write_export


@pytest.mark.parametrize("kind", get_args(Scorer))
def test_scores_similarity_and_the_score_of_an_effect_agree(tmp_path: Path, kind: Scorer) -> None:
    scores = scorer(Export(write_export(tmp_path / "export", kind)))
    people = [Person(0, np.array([0, 8, 16])), Person(None, np.array([1, 5])), Person(3, np.array([3]))]
    together = scores.scores(people)
    assert together.shape == (3, 60) and together.dtype == np.float32
    for row, person in zip(together, people, strict=True):
        assert scores.scores([person])[0] == pytest.approx(row, rel=1e-5, abs=1e-6)
        score, effects = scores.effects(person, 7)
        assert score == pytest.approx(row[7], rel=1e-5, abs=1e-6) and len(effects) == len(person.items)
    assert scores.similar(4).shape == (60,)


def test_dense_and_sparse_sums_are_the_same_and_their_effects_add_up(tmp_path: Path) -> None:
    dense, sparse = (Sums(Export(write_export(tmp_path / kind, kind))) for kind in ("dense", "sparse"))
    own = np.array([0, 4, 9, 12])
    for sums in (dense, sparse):
        score, effects = sums.effects(Person(None, own), 8)
        assert score == pytest.approx(effects.sum(), rel=1e-5)
        assert effects[2] == 0  # of another genre
    assert dense.scores([Person(None, own)]) == pytest.approx(sparse.scores([Person(None, own)]))
    assert dense.similar(3) == pytest.approx(sparse.similar(3))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_long_history_takes_no_more_memory_than_a_short_one(tmp_path: Path, kind: Scorer) -> None:
    sums = Sums(Export(write_export(tmp_path / "export", kind, items=600)))
    own = np.arange(600)
    assert sums.scores([Person(None, own)])[0, 7] == pytest.approx(
        sums.effects(Person(None, own), 7)[1].sum(), rel=1e-4
    )
    tracemalloc.start()
    sums.scores([Person(None, own)])
    sums.effects(Person(None, own), 7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 600 * 600 / 4


def test_effects_of_a_history_are_what_is_lost_without_each_item(tmp_path: Path) -> None:
    vectors = Vectors(Export(write_export(tmp_path / "export")))
    own = np.array([2, 6, 13])
    score, effects = vectors.effects(Person(None, own), 10)
    for place, effect in enumerate(effects):
        without = vectors.scores([Person(None, np.delete(own, place))])[0, 10]
        assert effect == pytest.approx(score - without, rel=1e-4, abs=1e-5)


def test_effects_for_known_users_are_cosines(tmp_path: Path) -> None:
    vectors = Vectors(Export(write_export(tmp_path / "export", folds_in=False)))
    _, effects = vectors.effects(Person(0, np.array([10, 2])), 10)
    assert effects[0] == pytest.approx(1, abs=1e-5) and -1 <= effects[1] < 1
    assert vectors.similar(10)[10] == pytest.approx(1, abs=1e-5)


def test_what_a_model_cannot_do_is_said(tmp_path: Path) -> None:
    plain = scorer(Export(write_export(tmp_path / "plain", folds_in=False)))
    plain.require(folds_in=False, metadata=False)
    with pytest.raises(Unable, match="MF knows the users of its data only"):
        plain.require(folds_in=True, metadata=False)
    sums = scorer(Export(write_export(tmp_path / "sums", "sparse")))
    sums.require(folds_in=True, metadata=False)
    for model in (plain, sums):
        with pytest.raises(Unable, match="knows nothing of items that are not in its catalogue"):
            model.require(folds_in=False, metadata=True)
    scorer(Export(write_export(tmp_path / "towers"))).require(folds_in=True, metadata=True)
