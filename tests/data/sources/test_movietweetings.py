"""MovieTweetings: the embedded sample, and the files as published."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.data.sources import MovieTweetings
from recsys_lightning.data.sources.movietweetings import domain_of
from recsys_lightning.errors import InputError

SAMPLE = Path(__file__).parents[3] / "data"


def test_embedded_sample() -> None:
    source = MovieTweetings(SAMPLE)
    raw = source.read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items) == (66_519, 4_271, 2_301)
    assert found.timestamp is not None and (found.timestamp[1:] >= found.timestamp[:-1]).all()
    assert found.rating is not None and (found.rating.min(), found.rating.max()) == (0, 10)
    assert set(found.item_ids.to_pylist()) == set(raw.items.index)
    assert raw.items.loc["1675434", "title"] == "The Intouchables (2011)"
    assert raw.items.loc["1675434", "genres"] == ["Biography", "Comedy", "Drama"]
    distinct = {column: raw.items[column].explode().nunique() for column in source.attributes}
    assert distinct == {"genres": 21, "directors": 1_305, "writers": 2_258, "cast": 19_085, "countries": 65}
    assert source.on_request == ("actor", "country")
    assert source.later == ("box_office", "meter", "metacritic")
    assert raw.items["runtime"].isna().sum() == 15


def test_sample_is_small_and_comes_with_both_licences() -> None:
    files = list((SAMPLE / "movietweetings").iterdir())
    assert sum(file.stat().st_size for file in files) < 1_200_000
    texts = "".join(file.read_text() for file in files if file.name.startswith("LICENSE"))
    assert "Simon Dooms" in texts and "CC0 1.0 Universal" in texts


def test_raw_keeps_leading_zeros(tmp_path: Path) -> None:
    folder = tmp_path / "movietweetings"
    folder.mkdir()
    (folder / "ratings.dat").write_text("1::0002844::7::1365029107\n2::1853728::8::1366576639\n")
    (folder / "movies.dat").write_text("0002844::Fantômas: À l'ombre (1913)::Crime|Drama\n1853728::Untold::\n")
    raw = MovieTweetings(tmp_path, "raw").read()
    assert raw.interactions.item_ids.to_pylist() == ["0002844", "1853728"]
    assert raw.items.loc["0002844"].to_dict() == {
        "title": "Fantômas: À l'ombre (1913)",
        "genres": ["Crime", "Drama"],
        "year": 1913.0,
    }
    assert raw.items.loc["1853728", "genres"] == []


GROUPS = {"action": ["Action", "War"], "drama": ["Drama", "Comedy"], "rest": ["Horror", "War"]}


def test_films_are_of_the_domain_that_names_most_of_their_genres() -> None:
    films = [["War", "Action", "Drama"], ["Drama", "Action"], ["Comedy", "Drama", "War"], ["War"], [], ["Horror"]]
    assert domain_of(films, GROUPS).tolist() == [0, 0, 1, 0, 2, 2]
    assert domain_of(films, GROUPS).dtype == np.int8
    with pytest.raises(
        InputError, match=r"domain rest names the genre 'Horor', 'Wars', which no film has\. Genres are Ac"
    ):
        domain_of(films, {**GROUPS, "rest": ["Horor", "Wars"]})


def test_the_sample_can_have_domains(tmp_path: Path) -> None:
    groups = {"drama": ["Drama", "Comedy"], "rest": ["Action"]}
    source, plain = MovieTweetings(SAMPLE, domains=groups), MovieTweetings(SAMPLE)
    raw, found = source.read(), source.read().interactions
    assert found.domains == ("drama", "rest") and found.domain is not None
    films = raw.items["genres"].reindex(found.item_ids.to_pylist())
    drama = [len({"Drama", "Comedy"} & set(genres)) >= max(1, "Action" in genres) for genres in films]
    assert (found.domain == 0).tolist() == drama
    assert plain.read().interactions.domain is None
    assert (
        source.options() != plain.options() != MovieTweetings(SAMPLE, domains=dict([*groups.items()][::-1])).options()
    )
    assert source.options() != MovieTweetings(SAMPLE, domains=dict([*groups.items()][::-1])).options()  # order counts
    folder = tmp_path / "movietweetings"
    folder.mkdir()
    (folder / "ratings.dat").write_text("1::01::7::1365029107\n2::02::8::1366576639\n2::03::8::1366576639\n")
    (folder / "movies.dat").write_text("01::A (1913)::Action|Drama\n02::B (2000)::\n")
    own = MovieTweetings(tmp_path, "raw", {"acts": ["Action"], "others": []}).read().interactions
    assert own.domain is not None and own.domain.tolist() == [0, 1, 1]  # nothing is known of the third


@pytest.mark.parametrize("number", [0, 1, 128])
def test_too_few_or_many_domains_are_refused(number: int) -> None:
    with pytest.raises(InputError, match=f"domains names {number} of them"):
        MovieTweetings(SAMPLE, domains={f"d{n}": ["Drama"] for n in range(number)})


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    raw = MovieTweetings(real_data, "raw").read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items, len(raw.items)) == (100_000, 16_554, 10_506, 10_506)


@pytest.mark.slow
def test_sample_is_made_of_the_published_files(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SAMPLE)
    import make_sample

    arguments = [str(real_data / "movietweetings/ratings.dat"), str(real_data / "wikidata-movies/movies.db")]
    monkeypatch.setattr(sys, "argv", ["make_sample", *arguments, "--out", str(tmp_path)])
    make_sample.main()
    assert "66,519 ratings, 4,271 users, 2,301 films" in capsys.readouterr().out
    for name in ("ratings.csv.gz", "movies.csv.gz"):
        made = gzip.decompress((tmp_path / name).read_bytes())
        assert made == gzip.decompress((SAMPLE / "movietweetings" / name).read_bytes())
        assert made == gzip.decompress((real_data / "movietweetings" / name).read_bytes())
