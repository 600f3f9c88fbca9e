from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.serving.format import Export
from recsys_lightning.serving.towers import Towers
from tests.serving.exports import write_export
from tests.serving.test_format import sign


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


def test_a_profile_is_the_mean_of_rows_and_of_what_is_described(folder: Path) -> None:
    towers = Towers(Export(folder))
    own = np.array([3, 5, 11])
    assert towers.profile(own) == pytest.approx(towers.rows[own].mean(0), rel=1e-6)
    record = {"genre": ["War", "Drama"], "pages": 400}
    row = towers.row(record)
    assert row == pytest.approx(np.concatenate([[1.0], towers.tables[0][[0, 2]].mean(0)]), rel=1e-6)
    assert towers.profile(own, [record]) == pytest.approx((towers.rows[own].sum(0) + row) / 4, rel=1e-5)
    assert towers.profile(own[:0]).tolist() == [0.0] * 9


def test_profiles_without_each_item(folder: Path) -> None:
    towers = Towers(Export(folder))
    own = np.array([3, 5, 11])
    expected = [towers.profile(own), *(towers.profile(np.delete(own, place)) for place in range(3))]
    assert towers.profiles_without(own) == pytest.approx(np.stack(expected), rel=1e-5, abs=1e-6)
    assert towers.profiles_without(own[:1])[1].tolist() == [0.0] * 9


def test_what_nobody_can_make_a_vector_of(folder: Path) -> None:
    towers = Towers(Export(folder))
    with pytest.raises(InputError, match="no finite vector"):
        towers.users(np.full((1, 9), np.inf, np.float32))


def test_a_network_that_is_none(folder: Path) -> None:
    (folder / "user_tower.onnx").write_bytes(b"no network")
    sign(folder, "user_tower.onnx")
    with pytest.raises(InputError, match=r"user_tower\.onnx is no network that onnxruntime can run"):
        Towers(Export(folder))


def test_a_network_whose_weights_lie_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    model = onnx.load_model_from_string((folder / "user_tower.onnx").read_bytes())
    weight = model.graph.initializer[0]
    (folder.parent / "secret.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    place = weight.external_data.add()
    place.key, place.value = "location", "secret.bin"
    (folder / "user_tower.onnx").write_bytes(model.SerializeToString())
    sign(folder, "user_tower.onnx")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(InputError, match=r"user_tower\.onnx names other files"):
        Towers(Export(folder))
    constant = onnx.helper.make_node("Constant", [], ["weight"], value=weight)
    model.graph.node.insert(0, constant)
    del model.graph.initializer[0]
    (folder / "user_tower.onnx").write_bytes(model.SerializeToString())
    sign(folder, "user_tower.onnx")
    with pytest.raises(InputError, match=r"user_tower\.onnx names other files"):
        Towers(Export(folder))


def refused(folder: Path, content: object) -> str:
    (folder / "features.json").write_text(json.dumps(content))
    sign(folder, "features.json")
    with pytest.raises(InputError) as refusal:
        Towers(Export(folder))
    return str(refusal.value)


def test_features_that_do_not_fit(folder: Path) -> None:
    spec = json.loads((folder / "features.json").read_text())
    assert "does not fit the towers and tables" in refused(folder, {**spec, "numbers": []})
    for kind in ({"codes": {"War": 99}, "hashed": 0}, {"codes": {}, "hashed": 9}):
        assert "does not fit the towers and tables" in refused(folder, {**spec, "categories": {"genre": kind}})
    others: tuple[object, ...] = ({"numbers": []}, [])
    for content in others:
        assert "does not say how features are made" in refused(folder, content)


@pytest.mark.parametrize("change", [{"deviation": 0}, {"mean": "x"}, {"mean": float("nan")}, {"column": ["pages"]}])
def test_numbers_that_only_some_records_would_show_to_be_wrong(folder: Path, change: dict[str, object]) -> None:
    spec = json.loads((folder / "features.json").read_text())
    (scale,) = spec["numbers"]
    assert "numbers.0" in refused(folder, {**spec, "numbers": [{**scale, **change}]})


def test_statistics_of_titles_that_there_are_none_of(folder: Path) -> None:
    spec = json.loads((folder / "features.json").read_text())
    title = {"scales": [{"name": "__class__", "mean": 0.0, "deviation": 1.0}], "gaps": False}
    assert "title.scales.0.name" in refused(folder, {**spec, "title": title})
