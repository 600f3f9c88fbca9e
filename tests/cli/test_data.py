from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.data.sources import DATA_SETS
from tests.conftest import REPOSITORY, Recsys


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help(recsys: Recsys, words: list[str]) -> None:
    outcome = recsys("data", *words)
    assert outcome.status == 0
    assert all(f"recsys data {verb}" in outcome.out for verb in ("list", "describe", "download", "prepare"))


def test_list_says_which_are_here(recsys: Recsys) -> None:
    outcome = recsys("data", "list")
    assert outcome.status == 0
    here = {line.split()[0]: line.split()[1] for line in outcome.out.splitlines()[1:]}
    assert set(here) == set(DATA_SETS)
    assert here["movietweetings"] == "yes" and here["gowalla"] == "no"


def test_describe(recsys: Recsys) -> None:
    outcome = recsys("data", "describe", "movietweetings")
    assert outcome.status == 0
    assert "66,519" in outcome.out and "licence" in outcome.out
    absent = recsys("data", "describe", "ml-100k")
    assert absent.status == 0 and "not there" in absent.out and "To get it" in absent.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "ml100k"], "There is no data set 'ml100k'. Did you mean ml-100k?"),
        (["describe"], "takes the name of one data set; `recsys data list` shows them"),
        (["download", "a", "b"], "takes the name of one data set"),
        (["remove", "ml-100k"], "`recsys data` cannot remove. It can list, describe, download, prepare."),
        (["audit"], "cannot audit"),
        (["prepare", "--help"], "Say which data: recsys data prepare --config FILE, or --data NAME with its options"),
        (["prepare", "--data", "MovieTweeting"], "MovieTweeting"),
    ],
)
def test_what_is_wrong_is_said(recsys: Recsys, words: list[str], message: str) -> None:
    outcome = recsys("data", *words)
    assert outcome.status == 2
    assert message in outcome.err and "Traceback" not in outcome.err


def test_what_cannot_be_fetched_says_where_to_put_the_files(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    outcome = recsys("data", "download", "ml-1m-ordered")
    assert outcome.status == 2
    assert "cannot be fetched by this program" in outcome.err
    assert f"put them into {tmp_path / 'ml-1m'}" in outcome.err
    assert not list(tmp_path.iterdir())


def test_offline_says_what_to_do_by_hand(recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("no_proxy", "")
    outcome = recsys("data", "download", "ml-100k")
    assert outcome.status == 2 and "Traceback" not in outcome.err
    assert "https://files.grouplens.org/datasets/movielens/ml-100k.zip could not be fetched" in outcome.err
    assert f"into {tmp_path / 'ml-100k'}" in outcome.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_prepare_tells_what_became_of_the_data_and_fills_the_cache(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    context = ["--data.graph.context", "[year, runtime]", "--data.graph.buckets", "4"]
    outcome = recsys("data", "prepare", "--data", "MovieTweetings", *context)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("# movietweetings: global_time, val 0.1, test 0.1")
    for told in ("| read | 66,519 |", "| genre | ", "* year: 4 buckets, unknown of 0", "Text: none", str(tmp_path)):
        assert told in outcome.out
    assert [folder.name for folder in (tmp_path / "cache").glob("movietweetings-*")]
    assert not (tmp_path / "runs").exists()  # nothing was trained


@pytest.mark.filterwarnings("always:data.features names")
def test_prepare_shows_the_features_that_are_asked_for(recsys: Recsys) -> None:
    options = ["--data.features.numbers", "[year, meter]", "--data.features.categories", "[genres]"]
    outcome = recsys("data", "prepare", "--data", "MovieTweetings", *options)
    assert outcome.status == 0, outcome.err
    assert "| meter (later) |" in outcome.out and "* genres: 20 of 21 values" in outcome.out
    assert outcome.err.count("names meter, which was gathered after the interactions") == 1
    wrong = recsys("data", "prepare", "--data", "MovieTweetings", "--data.features.categories", "[genre]")
    assert wrong.status == 2 and "Did you mean genres?" in wrong.err


def test_prepare_of_an_experiment(recsys: Recsys) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "ease.yaml"
    outcome = recsys("data", "prepare", "--config", config, "--data.graph.context", "[runtimes]")
    assert outcome.status == 2 and "Did you mean runtime?" in outcome.err
