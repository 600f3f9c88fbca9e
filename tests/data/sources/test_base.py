"""What all sources share: the catalogue, and errors that say where to get the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.data.sources import DATA_SETS, SOURCES, MovieLens, open_source
from recsys_lightning.errors import InputError


@pytest.mark.parametrize("name", sorted(set(DATA_SETS) - {"synthetic-domains"}))
def test_data_set_is_complete_without_its_files(name: str, tmp_path: Path) -> None:
    source = open_source(name, tmp_path)
    assert source.name == name
    assert source.card.title and source.card.licence and source.card.homepage.startswith(("https://", "the section on"))
    assert source.files() and all(file.parent == tmp_path / source.folder for file in source.files())
    if source.card.url is not None:
        assert source.card.url.startswith("https://")
    assert all(isinstance(option, str) for option in source.options())
    with pytest.raises(InputError, match="That folder does not exist"):
        source.read()


def test_missing_file_is_named_with_what_is_there_and_where_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "ml-100k").mkdir()
    for name in ("u.data", "u.user", "README"):
        (tmp_path / "ml-100k" / name).write_text("x")
    with pytest.raises(InputError) as caught:
        MovieLens(tmp_path).read()
    told = str(caught.value)
    assert f"u.item is missing in {tmp_path / 'ml-100k'}" in told
    assert "It holds: README, u.data, u.user." in told
    assert "https://files.grouplens.org/datasets/movielens/ml-100k.zip" in told


def test_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean gowalla"):
        open_source("gowala", tmp_path)


def test_sources_are_listed_by_name() -> None:
    expected = {
        "movietweetings",
        "movielens",
        "goodbooks",
        "amazon",
        "lightgcn",
        "hetrec-lastfm",
        "table",
        "graph-ready",
        "books",
        "synthetic-domains",
    }
    assert set(SOURCES) == expected
    assert {SOURCES[name].name for name in SOURCES} == expected
