from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.serving.engine import Ask, Engine, NotFound
from recsys_lightning.serving.scorers import Person, Unable, Vectors
from tests.serving.exports import write_export


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(write_export(tmp_path_factory.mktemp("towers") / "export"))


def ids(engine: Engine, **asked: Any) -> list[str]:
    return [line.item for line in engine.recommend([Ask(**asked)])[0].recommendations]


def test_recommendations_are_the_best_that_the_user_has_not(towers: Engine) -> None:
    assert isinstance(towers.scorer, Vectors)
    scores = towers.scorer.users[3] @ towers.scorer.items.T
    scores[towers.seen.row(3)] = -np.inf
    answer = towers.recommend([Ask(user="u3", k=5)])[0]
    assert [line.item for line in answer.recommendations] == [f"i{item}" for item in np.argsort(-scores)[:5]]
    assert [line.rank for line in answer.recommendations] == [1, 2, 3, 4, 5]
    assert [line.score for line in answer.recommendations] == pytest.approx(np.sort(scores)[::-1][:5], rel=1e-5)
    assert answer.unknown == []


def test_what_is_left_out(towers: Engine) -> None:
    own = {f"i{item}" for item in towers.seen.row(3)}
    assert not own & set(ids(towers, user="u3", k=60)) and len(ids(towers, user="u3", k=60)) == 60 - len(own)
    assert len(ids(towers, user="u3", k=60, exclude_known=False)) == 60
    first = ids(towers, user="u3", k=2)
    assert ids(towers, user="u3", k=1, exclude=[first[0], "nobody"]) == first[1:]
    assert towers.recommend([Ask(user="u3", exclude=["nobody"])])[0].unknown == ["nobody"]
    assert "i1" not in ids(towers, history=["i1", "i5"], k=60)
    assert "i1" in ids(towers, history=["i1", "i5"], k=60, exclude_known=False)


def test_a_batch_is_answered_as_each_alone(towers: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        Ask(user="u1", k=3),
        Ask(history=["i2", "x", "i2", "x"], k=7),
        Ask(liked=[{"genre": "War"}], k=1),
        Ask(user="u0"),
    ]
    alone = [towers.recommend([one])[0] for one in asked]
    for scores_at_a_time in (1, 130, 1 << 20):
        monkeypatch.setattr("recsys_lightning.serving.engine.SCORES", scores_at_a_time)
        together = towers.recommend(asked)
        for one, other in zip(together, alone, strict=True):
            assert [line.item for line in one.recommendations] == [line.item for line in other.recommendations]
            assert one.unknown == other.unknown
    assert alone[1].unknown == ["x"]


def test_the_order_and_repetition_of_a_history_change_nothing(towers: Engine) -> None:
    assert ids(towers, history=["i2", "i9", "i4"]) == ids(towers, history=["i9", "i4", "i2", "i9"])


def test_a_user_with_everything_gets_nothing(towers: Engine) -> None:
    assert ids(towers, history=towers.items) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([Ask(user="nobody")], "There is no user 'nobody' among the 20 of made-up."),
        ([Ask(user="u1"), Ask(user="nobody")], "requests[1]: There is no user 'nobody'"),
        ([Ask(history=["x", "y"])], "There is no book 'x' among the 60 of made-up."),
    ],
)
def test_unknown_names(towers: Engine, asked: list[Ask], message: str) -> None:
    with pytest.raises(NotFound) as error:
        towers.recommend(asked)
    assert str(error.value).startswith(message)


def test_metadata_that_the_model_does_not_read(towers: Engine) -> None:
    with pytest.raises(InputError, match=r"The model reads no 'genres' of items\. It reads pages, genre\."):
        towers.recommend([Ask(liked=[{"genres": ["War"]}])])
    with pytest.raises(InputError, match="reads no 'titel'"):
        towers.similar({"titel": "x"})


def test_similar_items_are_not_the_item_itself(towers: Engine) -> None:
    assert isinstance(towers.scorer, Vectors)
    found = towers.similar("i5", 59)
    assert len(found) == 59 and "i5" not in {line.item for line in found}
    unit = towers.scorer.items / np.linalg.norm(towers.scorer.items, axis=1, keepdims=True)
    assert found[0].score == pytest.approx(np.sort(unit @ unit[5])[-2], rel=1e-5)
    described = towers.similar({"genre": ["Comedy"]}, 5)
    assert {int(line.item[1:]) % 4 for line in described} == {1}  # the comedies
    with pytest.raises(NotFound, match="There is no book 'x'"):
        towers.similar("x")


def test_reasons_are_the_strongest_first_and_what_is_shared_is_named(towers: Engine) -> None:
    found = towers.explain("i4", history=["i8", "i0", "i3"])
    effects = [reason.effect for reason in found.reasons]
    assert effects == sorted(effects, reverse=True) and {reason.item for reason in found.reasons} == {"i0", "i3", "i8"}
    assert "minus the score without it" in found.meaning
    assert [(shared.kind, shared.value) for shared in found.shared] == [("genre", "Drama")]
    assert towers.explain("i4", history=["i4", "i3"]).shared == []  # it shares nothing with itself
    known = towers.explain("i1", user="u0")
    assert "cosine" in known.meaning and {reason.item for reason in known.reasons} == {
        f"i{item}" for item in towers.own.row(0)
    }
    assert known.score == pytest.approx(towers.recommend([Ask(user="u0", k=60)])[0].recommendations[-1].score, abs=1e3)
    with pytest.raises(NotFound, match="There is no book 'x'"):
        towers.explain("i1", history=["i2", "x"])


def test_that_an_item_is_like_itself_is_no_reason(tmp_path: Path) -> None:
    for folds_in in (True, False):
        engine = Engine(write_export(tmp_path / f"export-{folds_in}", folds_in=folds_in, users=40))
        own = [engine.items[item] for item in engine.own.row(0)]
        found = engine.explain(own[2], user="u0")
        assert {reason.item for reason in found.reasons} == {*own} - {own[2]}
        assert found.score == pytest.approx(
            float(engine.scorer.scores([Person(0, engine.own.row(0))])[0, engine.own.row(0)[2]])
        )
    alone = Engine(write_export(tmp_path / "alone", folds_in=False, items=4, users=1))
    assert alone.own.row(0).tolist() == [0] and alone.explain("i0", user="u0").reasons == []


@pytest.mark.parametrize("scorer", ["dense", "sparse"])
def test_the_parts_of_sums_add_up_for_own_items_too(tmp_path: Path, scorer: Literal["dense", "sparse"]) -> None:
    engine = Engine(write_export(tmp_path / "export", scorer))
    found = engine.explain("i8", user="u0")
    assert "i8" in {reason.item for reason in found.reasons}
    assert sum(reason.effect for reason in found.reasons) == pytest.approx(found.score, rel=1e-5)


def test_what_a_sparse_matrix_does_not_hold_is_not_similar(tmp_path: Path) -> None:
    found = Engine(write_export(tmp_path / "export", "sparse")).similar("i5", 40)
    assert {line.item for line in found} == {f"i{item}" for item in range(1, 60, 4)} - {"i5"}
    assert all(line.score > 0 for line in found) and [line.rank for line in found] == list(range(1, 15))
    assert Engine(write_export(tmp_path / "alone", "sparse", items=4, users=4)).similar("i0") == []


def test_a_history_of_many_gives_the_strongest_reasons_only(tmp_path: Path) -> None:
    engine = Engine(write_export(tmp_path / "export", items=200))
    found = engine.explain("i0", history=engine.items[1:101])
    assert len(found.reasons) == 50


@pytest.mark.parametrize(("scorer", "folds_in"), [("vectors", False), ("dense", True), ("sparse", True)])
def test_models_without_towers(tmp_path: Path, scorer: Literal["vectors", "dense", "sparse"], folds_in: bool) -> None:
    engine = Engine(write_export(tmp_path / "export", scorer, folds_in))
    assert len(ids(engine, user="u1", k=3)) == 3
    assert engine.health()["folds_in"] is folds_in and engine.health()["kinds"] == []
    if folds_in:
        assert {int(item[1:]) % 4 for item in ids(engine, history=["i1", "i5"], k=5)} == {1}
    else:
        for asked in (Ask(history=["i1"]), Ask(history=["unknown"]), Ask(liked=[{}])):
            with pytest.raises(Unable):
                engine.recommend([asked])
    with pytest.raises(Unable):
        engine.similar({"genre": "War"})


def test_by_an_index(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", items=3000, users=30)
    exact, approximate = Engine(folder), Engine(folder, "faiss")
    assert (exact.health()["index"], approximate.health()["index"]) == ("exact", "faiss")
    asked = [Ask(user=f"u{user}", k=10) for user in range(30)] + [Ask(history=["i1", "i5"], k=3)]
    shared = 0.0
    for ours, theirs in zip(approximate.recommend(asked), exact.recommend(asked), strict=True):
        lines = {line.item: line.score for line in theirs.recommendations}
        assert len(ours.recommendations) == len(theirs.recommendations)
        shared += len({line.item for line in ours.recommendations} & set(lines)) / len(lines) / len(asked)
        scores = [line.score for line in ours.recommendations]
        assert scores == sorted(scores, reverse=True)
    assert shared > 0.7
    for user in range(30):
        assert not set(ids(approximate, user=f"u{user}", k=20)) & {f"i{item}" for item in exact.seen.row(user)}
    # more than the clusters hold: the rest is looked for exactly
    assert ids(approximate, user="u1", k=1000) == ids(exact, user="u1", k=1000)


def test_sums_have_no_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"EASE has no vectors to make an index of: use --index exact\."):
        Engine(write_export(tmp_path / "export", "dense"), "faiss")


def test_an_export_without_categories_and_users_without_items(tmp_path: Path) -> None:
    engine = Engine(write_export(tmp_path / "export", "sparse", items=1, users=3))
    assert ids(engine, user="u0") == [] and ids(engine, user="u2") == ["i0"]


def test_the_server_needs_no_torch() -> None:
    script = (
        "import sys, recsys_lightning.serving.app, recsys_lightning.serving.server\n"
        "import recsys_lightning.data.item_features.transform, onnxruntime, faiss, recsys_lightning.cli.serve\n"
        "print([name for name in ('torch', 'lightning', 'pandas', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
