"""`experiments/comparisons.py`: variants differ from their base in what they say, and one name means one run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recsys_lightning.metrics.bootstrap import Interval
from tests.conftest import REPOSITORY

HYBRID = REPOSITORY / "experiments" / "ml-100k-text" / "hybrid.yaml"
TOWERS = REPOSITORY / "experiments" / "goodbooks" / "two_tower.yaml"
GENRES = REPOSITORY / "experiments" / "ml-100k" / "genre_gat.yaml"


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("comparisons")


def own(variant: Any, base: Any) -> set[str]:
    """Options that a variant has and its base lacks."""
    return set(variant.options) - set(base.options)


@pytest.mark.parametrize("config", [GENRES, HYBRID, TOWERS])
def test_a_name_means_the_same_run_wherever_it_stands(module: ModuleType, config: Path) -> None:
    runs: dict[tuple[str, bool], tuple[str, ...]] = {}
    for one in module.Experiment.read(config).comparisons.values():
        names = [one.base.name, *(variant.name for variant in one.variants)]
        assert len(set(names)) == len(names)
        for variant in (one.base, *one.variants):
            assert runs.setdefault((variant.name, one.cold), variant.options) == variant.options
            assert one.cold == (set(module.COLD) <= set(variant.options))
    assert len(set(runs.values())) == len(runs)


def test_comparisons_of_the_hybrid(module: ModuleType) -> None:
    found = module.Experiment.read(HYBRID).comparisons
    told = {
        (name, variant.name): own(variant, one.base)
        for name, one in found.items()
        for variant in one.variants
        if name != "models" and not variant.name.endswith("Popularity")
    }
    null, recommender, control = "--model.contrastive=null", "--model.recommender.", "--data.text.control="
    assert told == {
        ("views", "text only"): {f"{recommender}views=text", f"{recommender}identity=false", null},
        ("views", "graph only"): {f"{recommender}views=graph", null},
        ("text", "text only, text shuffled"): {f"{control}shuffled"},
        ("text", "text only, text random"): {f"{control}random"},
        ("text_beside_graph", "hybrid, text shuffled"): {f"{control}shuffled"},
        ("cold_text", "text only, text shuffled"): {f"{control}shuffled"},
        ("cold_text", "text only, text random"): {f"{control}random"},
        ("cold", "hybrid, text shuffled"): {f"{control}shuffled"},
        ("cold", "graph only"): {f"{recommender}views=graph", null},
        ("target", "target visible"): {f"{recommender}target=visible"},
        ("width", "full width"): {f"{recommender}dim=null"},
        ("gate", "gate 1.0"): {f"{recommender}gate=1.0"},
        ("gate", "gate 0.5"): {f"{recommender}gate=0.5"},
        ("gate", "gate 0.0"): {f"{recommender}gate=0.0"},
    }
    assert all(variant.of == found["gate"].base for variant in found["gate"].variants)
    assert [name for name, one in found.items() if one.timed] == ["width"]
    bases = {name: one.base.name for name, one in found.items()}
    assert {name for name, base in bases.items() if base != "hybrid"} == {"text", "cold_text"}
    assert own(found["text"].base, found["views"].base) == told["views", "text only"]


def test_comparisons_of_two_towers(module: ModuleType) -> None:
    found = module.Experiment.read(TOWERS).comparisons
    recommender, shuffled = "--model.recommender.", "--data.features.shuffle=1"
    identity = {f"{recommender}fusion=identity", f"{recommender}mimic=none"}
    metadata = {f"{recommender}fusion=metadata", f"{recommender}mimic=none"}
    told = {
        (name, variant.name): own(variant, one.base)
        for name, one in found.items()
        for variant in one.variants
        if name != "models" and variant.trained
    }
    assert told == {
        ("fusions", "fusion identity"): identity,
        ("fusions", "fusion metadata"): metadata,
        ("fusions", "fusion sum"): {f"{recommender}fusion=sum"},
        ("fusions", "fusion concat"): {f"{recommender}fusion=concat"},
        ("mimic", "mimic none"): {f"{recommender}mimic=none"},
        ("mimic", "mimic dat"): {f"{recommender}mimic=dat"},
        ("features", "features shuffled"): {shuffled},
        ("cold", "fusion identity"): identity,
        ("cold", "fusion metadata"): metadata,
        ("cold", "features shuffled"): {shuffled},
    }
    assert {one.name for one in found["cold"].variants if not one.trained} == {"ContentKNN", "Popularity"}


def test_the_curve_of_shots_differs_in_what_train_has(module: ModuleType) -> None:
    experiment = module.Experiment.read(TOWERS)
    curves = {rows: module.shots(experiment, rows) for rows in (0, 5)}
    assert [one.name for one in curves[0]] == [one.name for one in curves[5]]
    for few, many in zip(curves[0], curves[5], strict=True):
        assert own(few, many) == {"--data.recipe.shots=0"} and own(many, few) == {"--data.recipe.shots=5"}
        assert {"--data.recipe.split=item_cold", "--data.recipe.reserve=10"} <= set(few.options)
        assert few.trained == few.name.startswith(("adaptive", "fusion"))


def test_verdicts_say_what_is_compared(module: ModuleType) -> None:
    found = module.Experiment.read(HYBRID).comparisons
    worse = Interval(-1.0, -1.1, -0.9)
    said = {variant.name: variant.verdicts.of(worse) for one in found.values() for variant in one.variants}
    assert said["text only"] == "the graph view helps" and said["graph only"] == "the text view helps"
    assert said["target visible"] == "leaving the target out helps" and said["MF"] == "hybrid beats MF"
    assert said["full width"] == "the full width of the text does harm"
    assert said["gate 1.0"] == "the learned gate beats a gate of 1.0 (text alone)"
    assert said["hybrid, text shuffled"] == "each item's own text beside the graph helps"
    assert said["text only, text random"] == "text in place of random vectors helps"


def test_the_models_are_those_of_the_folder(module: ModuleType, tmp_path: Path) -> None:
    for file in HYBRID.parent.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "ease_2.yaml").write_text((tmp_path / "ease.yaml").read_text())
    (tmp_path / "notes.yaml").write_text("nothing: here")
    experiment = module.Experiment.read(tmp_path / "hybrid.yaml")
    found = {variant.name: variant for variant in experiment.comparisons["models"].variants}
    trained, solved = {"LightGCN", "MF"}, {"EASE", "EASE ease_2", "GFCF", "ItemKNN", "Popularity"}
    assert set(found) == trained | solved
    assert {name for name, variant in found.items() if variant.trained} == trained == set(list(found)[:2])
    assert found["EASE ease_2"].options == (f"--config={tmp_path / 'ease_2.yaml'}",)
    for name in ("mf", "lightgcn", "ease", "ease_2", "gfcf", "itemknn", "popularity"):
        (tmp_path / f"{name}.yaml").unlink()
    assert "models" not in experiment.comparisons


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is not laid out"), ("a: b", "is not laid out"), ("model: 3", "is not laid out"), (": :", "is no YAML")],
)
def test_what_is_no_experiment_is_refused(module: ModuleType, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(module.InputError, match=message):
        module.Experiment.read(tmp_path / "x.yaml")
    with pytest.raises(module.InputError, match="cannot be read"):
        module.Experiment.read(tmp_path / "y.yaml")
