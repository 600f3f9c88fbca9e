from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Features
from recsys_lightning.errors import InputError
from recsys_lightning.export import parts
from recsys_lightning.export.parts import FoldsIn, onnx_tower, scorer_of, vectors, write_sums
from recsys_lightning.models import EASE, GFCF, MF, ItemKNN, LightGCN, Popularity, Recommender
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.serving.format import Scorer
from tests.worlds import blocks, schema


class Cosine(MF):
    """Vectors of the right shapes, and another score."""

    def cross(self, u: Tensor, i: Tensor) -> Tensor:
        return torch.nn.functional.normalize(u) @ torch.nn.functional.normalize(i).T


@pytest.mark.parametrize("kind", [MF, LightGCN])
def test_inner_products_are_recognised(kind: type[Recommender]) -> None:
    sizes, views = blocks()
    model = kind(sizes).eval()
    with torch.no_grad():
        state = model.encode(views)
        assert scorer_of(model, state) == "vectors"
        found = vectors(model, state, torch.tensor([5, 0]))
        expected = model.score_all(model.users(state, torch.tensor([5, 0])), state)
    assert found["users"] @ found["items"].T == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-6)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in found.values())


@pytest.mark.parametrize("kind", [Cosine, Popularity])
def test_other_scores_are_refused_in_words(kind: type[Recommender]) -> None:
    sizes, views = blocks()
    model = kind(sizes)
    model.fit(views)
    with torch.no_grad(), pytest.raises(InputError, match=f"{kind.__name__}, as it is configured, does not score by"):
        scorer_of(model, model.encode(views))


def test_a_model_that_diverged(tmp_path: Path) -> None:
    sizes, views = blocks()
    model = MF(sizes)
    with torch.no_grad():
        model.item[3] = torch.nan
        with pytest.raises(InputError, match="Vectors of items are NaN or infinite"):
            vectors(model, model.encode(views), torch.arange(2))


@pytest.mark.parametrize(("kind", "expected"), [(EASE, "dense"), (GFCF, "dense"), (ItemKNN, "sparse")])
def test_sums_are_written_as_rows_that_add_up_to_scores(
    tmp_path: Path, kind: type[Linear], expected: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "BLOCK", 7)
    sizes, views = blocks()
    model = kind(sizes, neighbours=5) if kind is ItemKNN else kind(sizes)
    model.fit(views)
    assert scorer_of(model, model.encode(views)) in ("dense", "sparse")
    assert write_sums(model, tmp_path, torch.device("cpu")) == expected
    if expected == "dense":
        matrix = np.load(tmp_path / "weight.npy")
    else:
        crow, col, value = (np.load(tmp_path / f"weight_{name}.npy") for name in ("crow", "col", "value"))
        matrix = np.zeros((30, 30), np.float32)
        matrix[np.repeat(np.arange(30), np.diff(crow)), col] = value
    user = torch.arange(40)
    scores = model.rank(views.train, user).numpy()
    own = np.zeros((40, 30), np.float32)
    own[views.train.row, views.train.col] = 1
    assert own @ matrix == pytest.approx(scores, rel=1e-4, abs=1e-5)


def test_a_matrix_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 3599)
    sizes, views = blocks()
    model = EASE(sizes)
    model.fit(views)
    with pytest.raises(InputError, match="The matrix of EASE on 30 items takes"):
        write_sums(model, tmp_path, torch.device("cpu"))


class Folding(MF):
    """A stand-in with towers."""

    folds_in = True

    def __init__(self) -> None:
        super().__init__(schema(500, 700), 4)
        self.tower = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))

    def item_rows(self, features: Features) -> Tensor:
        return features.numbers

    def category_tables(self) -> list[Tensor]:
        return []

    def user_from_row(self, row: Tensor) -> Tensor:
        return torch.nn.functional.normalize(self.tower(row))

    def item_from_row(self, row: Tensor) -> Tensor:
        made: Tensor = self.tower(row) * 2
        return made


def test_towers_say_as_onnx_what_they_say_in_torch(capfd: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    model = Folding()
    assert isinstance(model, FoldsIn) and not isinstance(MF(schema(2, 2)), FoldsIn)
    for side in ("user", "item"):
        content = onnx_tower(model, side, 6)
        assert len(content) < 20_000  # nothing of the model but the tower
        session = onnxruntime.InferenceSession(content)
        for size in (1, 2, 50):
            rows = torch.randn(size, 6)
            with torch.no_grad():
                expected = getattr(model, f"{side}_from_row")(rows).numpy()
            assert session.run(None, {"row": rows.numpy()})[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert capfd.readouterr() == ("", "")
