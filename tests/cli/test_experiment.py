from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.cli.experiment import check_configs, class_of, closed_form, read_yaml, recommender_of
from recsys_lightning.errors import InputError
from tests.conftest import Recsys
from tests.experiments import FILES


def test_what_cannot_be_read_is_said_with_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The sweep .*none\.yaml cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml", "The sweep")
    for content in (b"a: [1", b"\xff\xfe\x00\xd8"):
        (tmp_path / "bad.yaml").write_bytes(content)
        with pytest.raises(InputError, match=r"--config .*bad\.yaml is no YAML: "):
            read_yaml(tmp_path / "bad.yaml", "--config")
    (tmp_path / "bad.yaml").write_text("")
    assert read_yaml(tmp_path / "bad.yaml", "--config") is None


@pytest.mark.parametrize(
    ("content", "held"),
    [("", "is empty"), ("# nothing yet\n", "is empty"), ("[a, b]", "holds a list"), ("word", "holds a single value")],
)
@pytest.mark.parametrize("verb", ["fit", "audit", "estimate", "seeds"])
def test_a_configuration_of_no_options_is_named(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, content: str, held: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.yaml").write_text(content)
    found = recsys(verb, "--config", "some.yaml")
    assert found.status == 2
    assert found.err.startswith(f"recsys: --config some.yaml {held}: an experiment names its data and its model")
    assert [path.name for path in tmp_path.iterdir()] == ["some.yaml"]


def test_a_later_configuration_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text("data: MovieTweetings")
    (tmp_path / "empty.yaml").touch()
    check_configs(["fit", "--config", f"{tmp_path}/whole.yaml", "--config={data: MovieTweetings}", "--model.k", "[5]"])
    with pytest.raises(InputError, match=r"empty\.yaml is empty"):
        check_configs(["--config", f"{tmp_path}/whole.yaml", f"--config={tmp_path}/empty.yaml"])


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("EASE", "EASE"),
        ("recsys_lightning.models.EASE", "EASE"),
        ({"class_path": "my_models.BiasedMF", "init_args": {"dim": 8}}, "BiasedMF"),
        ({"dim": 8}, None),
        (None, None),
        (3, None),
    ],
)
def test_a_class_is_named_in_short_or_with_options(value: Any, named: str | None) -> None:
    assert class_of(value) == named
    assert recommender_of({"model": {"init_args": {"recommender": value}}}) == named


@pytest.mark.parametrize("content", [None, [], {}, {"model": "Ranking"}, {"model": {"init_args": None}}])
def test_who_names_no_recommender_has_none(content: Any) -> None:
    assert recommender_of(content) is None


def test_closed_forms_are_known_by_name() -> None:
    assert closed_form("EASE") and closed_form("DotProduct")
    assert not any(map(closed_form, ("MF", "DiffusionRecommender", "BiasedMF", "Schema", None)))


def test_every_shipped_experiment_names_one() -> None:
    assert all(recommender_of(read_yaml(file, "--config")) for file in FILES)
