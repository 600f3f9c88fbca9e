from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.cli.stages import digest, read_chain
from recsys_lightning.errors import InputError


def chain(folder: Path, text: str) -> Path:
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text("data: data.yaml\nmodel: {}\n", encoding="utf-8")
    (folder / "data.yaml").write_text("class_path: MovieTweetings\n", encoding="utf-8")
    file = folder / "chain.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_stages_come_in_order_and_give_what_later_ones_take(tmp_path: Path) -> None:
    text = """
stages:
  gat: {config: a.yaml, run: [test, fit]}
  conditioner: {config: b.yaml, vectors: gat, options: ['--model.k=[5]']}
  films: {config: a.yaml, run: [test], domain: movie}
"""
    found = read_chain(chain(tmp_path, text))
    assert found.name == "chain"
    assert list(found.stages) == ["gat", "conditioner", "films"]
    assert found.stages["gat"].run == ("fit", "test", "predict")
    assert found.stages["conditioner"].run == ("fit", "test")
    assert found.stages["films"].once and not found.stages["gat"].once
    assert found.base == "gat"
    words = found.stages["conditioner"].words(Path("v.safetensors"), 3)
    assert words == [
        f"--config={tmp_path / 'b.yaml'}",
        "--model.k=[5]",
        "--seed_everything=3",
        "--data.vectors=v.safetensors",
    ]
    assert "--data.recipe.only=movie" in found.stages["films"].words(None, 0)


def test_numbers_are_names_too_and_vectors_may_be_of_one_domain(tmp_path: Path) -> None:
    text = """
stages:
  1: {config: a.yaml, domain: movie}
  2: {config: b.yaml, vectors: 1, domain: movie}
base: 2
"""
    found = read_chain(chain(tmp_path, text))
    assert [stage.name for stage in found.chosen(["1", "2"])] == ["1", "2"]
    assert found.base == "2" and "predict" in found.stages["1"].run
    assert "--data.interactions.recipe.only=movie" in found.stages["2"].words(Path("v"), 0)


def test_a_stage_is_another_one_when_its_options_or_files_change(tmp_path: Path) -> None:
    stage = read_chain(chain(tmp_path, "stages: {gat: {config: a.yaml}}")).stages["gat"]
    first = digest(stage, stage.words(None, 0))
    assert digest(stage, stage.words(None, 0)) == first
    assert digest(stage, stage.words(None, 1)) != first
    (tmp_path / "data.yaml").write_text("class_path: MovieLens\n", encoding="utf-8")
    second = digest(stage, stage.words(None, 0))
    assert second != first
    (tmp_path / "a.yaml").write_text("data: data.yaml\nmodel: {x: 1}\n", encoding="utf-8")
    assert digest(stage, stage.words(None, 0)) not in (first, second)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "is no YAML"),
        ("base: gat", "a chain has `stages`"),
        ("stages: {gat: {config: a.yaml}}\nbose: gat", "there is no bose; there are base, stages"),
        ("stages: {gat: {config: c.yaml}}", "stage gat: there is no file"),
        ("stages: {gat: {}}", "needs `config: FILE`"),
        ("stages: {g-t: {config: a.yaml}}", "letters, digits and underscores"),
        ("stages: {gat: {config: a.yaml, vector: x}}", "there is no vector; there are config"),
        (
            "stages: {gat: {config: a.yaml, vectors: later}, later: {config: b.yaml}}",
            "a stage before it: there is none",
        ),
        ("stages: {gat: {config: a.yaml, run: [fit, deploy]}}", "it is a list of fit, test, predict"),
        ("stages: {gat: {config: a.yaml, options: [layers]}}", "a list of words such as"),
        ("stages: {gat: {config: a.yaml, run: [predict]}}", "no stage is tested, so there is nothing"),
        ("stages: {a: {config: a.yaml}, b: {config: b.yaml, run: [fit]}}\nbase: b", "base is b, and it must .*: a"),
        ("stages: {a: {config: a.yaml}}\nbase: [a]", r"base is \['a'\], and it must be one name"),
        ("stages: {a: {config: a.yaml}, b: {config: b.yaml, vectors: [a]}}", "stage b: vectors is .* one name"),
        ("stages: {a: {config: a.yaml, domain: no}}", "stage a: domain is False, and it must be one name"),
        ("stages: {1: {config: a.yaml}, '1': {config: b.yaml}}", "two stages of the name 1"),
    ],
)
def test_bad_chains_are_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_chain(chain(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml cannot be read"):
        read_chain(tmp_path / "nothing.yaml")
