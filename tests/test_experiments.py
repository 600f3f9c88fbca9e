"""Every experiment runs as it lies there, through the real command line, on small data of its publisher's layout."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests import experiments
from tests.conftest import REPOSITORY, Recsys
from tests.experiments import (
    EVERYWHERE,
    FIGURES,
    FILES,
    FOLDERS,
    OF_DOMAINS,
    SHORT,
    closed_form,
    content,
    fitted_and_tested,
    named,
    recommender,
    some_slow,
    write,
)

OF_ONE_DOMAIN = [config for config in FILES if config.parent.name not in OF_DOMAINS]
"""`test_domain_experiments.py` runs the others."""
GENRES = ["Action", "Comedy", "Drama"]
WITH_TEXTS = {"ml-100k-text": "graph", "ml-100k-minilm": "text", "movietweetings-text": "graph"}
"""Folders of other preparations of a data set, whose models read texts; and one of these models beside the hybrid."""
WITH_TOWERS = {"movietweetings-time", "amazon-books-2023"}
"""Folders that are there for two towers."""

Rows = list[tuple[int, int, int, int]]


def rows() -> Rows:
    """(user, item, rating, time), numbered from 1: 60 users, 40 items in 3 blocks, in the order of time."""
    pairs = experiments.rows(60, 40)
    shuffled = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))]
    return [(user, item, 3 + (user + item - 2) % 3, 978_300_000 + n) for n, (user, item) in enumerate(shuffled)]


def ml_100k(root: Path) -> None:
    ratings = ["\t".join(map(str, row)) for row in rows()]
    write(root / "ml-100k" / "u1.base", [line for n, line in enumerate(ratings) if n % 5])
    write(root / "ml-100k" / "u1.test", [line for n, line in enumerate(ratings) if n % 5 == 0])
    flags = np.eye(19, dtype=int)
    films = [f"{n}|Caf\xe9 {n} (1995)|01-Jan-1995||url|{'|'.join(map(str, flags[n % 19]))}" for n in range(1, 41)]
    write(root / "ml-100k" / "u.item", films, "latin-1")
    write(root / "ml-100k" / "u.user", [f"{n}|24|M|technician|08571" for n in range(1, 61)])
    facts = "movie_id,overview,keywords,directors,writers,budget,revenue,popularity,vote_average,vote_count,runtime"
    lines = []
    for n in range(1, 41):
        words = [f"The {GENRES[n % 3]} of café {n % 7}", f"{n % 5}|sea", f"Ann {n % 4}", f"Bo {n % 6}"]
        lines.append(",".join(map(str, [n, *words, n % 9, n % 8, n / 7, n % 10, n, n])))
    write(root / "ml-100k-metadata" / "movies.csv", [facts, *lines])
    with gzip.open(root / "ml-100k-metadata" / "reviews.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"movie_id": n, "text": f"A film of {GENRES[n % 3]}."}) + "\n" for n in range(1, 9))


def ml_1m(root: Path) -> None:
    write(root / "ml-1m" / "ratings.dat", ["::".join(map(str, row)) for row in rows()])
    films = [f"{n}::Caf\xe9 {n} (1995)::{GENRES[n % 3]}|War" for n in range(1, 41)]
    write(root / "ml-1m" / "movies.dat", films, "latin-1")
    write(root / "ml-1m" / "users.dat", [f"{n}::F::1::10::48067" for n in range(1, 61)])


def gowalla(root: Path) -> None:
    for name, chosen in (("train.txt", lambda n: n % 5), ("test.txt", lambda n: n % 5 == 0)):
        items: dict[int, list[int]] = {user: [] for user in range(60)}
        for n, (user, item, _, _) in enumerate(rows()):
            if chosen(n):
                items[user - 1].append(item - 1)
        write(root / "gowalla" / name, [" ".join(map(str, [user, *own])) for user, own in items.items()])


def goodbooks(root: Path) -> None:
    write(root / "goodbooks" / "ratings.csv", ["user_id,book_id,rating", *(f"{u},{i},{r}" for u, i, r, _ in rows())])
    head = "book_id,authors,original_publication_year,title,language_code"
    facts = [(n, f"Homer, Poet {n % 5}", n % 9 - 750, ("eng", "gre")[n % 2]) for n in range(1, 41)]
    books = [f'{n},"{authors}",{year}.0,"Iliad, {n}",{language}' for n, authors, year, language in facts]
    write(root / "goodbooks" / "books.csv", [head, *books])
    genres = [f'{n},{n},"{GENRES[n % 3].lower()},classics"' for n in range(1, 41)]
    write(root / "goodbooks" / "book_genres.csv", ["book_id,goodreads_book_id,genres", *genres])


def amazon_books(root: Path) -> None:
    (root / "amazon-books-2023").mkdir()
    pd.DataFrame(
        [(f"u{user}", f"00{item}", float(rating), 1000 * time) for user, item, rating, time in rows()],
        columns=["user_id", "parent_asin", "rating", "timestamp"],
    ).to_parquet(root / "amazon-books-2023" / "books_5core_1M.parquet")


def hetrec_lastfm(root: Path) -> None:
    folder = root / "hetrec2011-lastfm-2k"
    plays = [f"{user}\t{artist}\t{10 * weight}" for user, artist, weight, _ in rows()]
    write(folder / "user_artists.dat", ["userID\tartistID\tweight", *plays])
    artists = [f"{n}\tSigur R\xf3s {n}\thttp://url\t" for n in range(1, 41)]
    write(folder / "artists.dat", ["id\tname\turl\tpictureURL", *artists])
    words = ["chanson fran\xe7aise", "metal", "pop", "only once"]
    write(folder / "tags.dat", ["tagID\ttagValue", *(f"{n}\t{word}" for n, word in enumerate(words, 1))], "latin-1")
    given = [f"{1 + n % 60}\t{n}\t{1 + n % 3}\t1\t4\t2009" for n in range(1, 41)]
    write(
        folder / "user_taggedartists.dat", ["userID\tartistID\ttagID\tday\tmonth\tyear", *given, "1\t1\t4\t1\t4\t2009"]
    )


SMALL_DATA: dict[str, Callable[[Path], None]] = {
    "ml-100k": ml_100k,
    "ml-1m": ml_1m,
    "gowalla": gowalla,
    "goodbooks": goodbooks,
    "hetrec-lastfm": hetrec_lastfm,
    "amazon-books-2023": amazon_books,
}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small set in each publisher's layout."""
    root = tmp_path_factory.mktemp("data")
    for write_files in SMALL_DATA.values():
        write_files(root)
    return root


@pytest.fixture
def shorten(small: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Options that make an experiment quick, and the small data in place of the real ones."""

    def options(config: Path) -> list[str]:
        if config.parent.name.startswith("movietweetings"):
            return ["--data.recipe.limit_users", "150"]
        monkeypatch.setenv("RECSYS_DATA", str(small))
        # a sentence encoder is an extra, and its weights are not small
        return ["--data.text.embedder", "TfidfSVD"] if config.parent.name == "ml-100k-minilm" else []

    return options


def every_column_is_read(config: Path) -> bool:
    """Whether an experiment is of the embedded sample, or the one of its folder that reads most of what lies there."""
    return config.parent.name.startswith("movietweetings") or config.stem in ("genre_gat", "hybrid", "two_tower")


@pytest.mark.parametrize("config", some_slow(OF_ONE_DOMAIN, fast=every_column_is_read))
def test_it_runs_as_it_lies_there(
    recsys: Recsys,
    shorten: Callable[[Path], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
) -> None:
    name, options = recommender(config), shorten(config)
    checkpoint: list[object] = []
    if closed_form(config):
        tested = recsys("test", "--config", config, *options)
        assert tested.status == 0, tested.err
        file = Path(tested.last_line)
    else:
        small = ["--model.recommender.dim", 8]
        if config.parent.name == "movietweetings":
            fitted = recsys("fit", "--config", config, *options, *SHORT, *small)
            assert fitted.status == 0, fitted.err
            printed = re.search(r"^test it: recsys (.*)$", fitted.out, re.MULTILINE)
            assert printed
            tested = recsys(*printed[1].split())
            assert tested.status == 0, tested.err
            file = Path(tested.last_line)
        else:
            file = fitted_and_tested(["--config", config, *options, *small], tmp_path / "runs", monkeypatch)
        [best] = tmp_path.rglob("best.ckpt")
        checkpoint = ["--ckpt_path", best, *small]

    metrics = json.loads(file.read_text())
    assert metrics["model"] == name and metrics["users"] > 0
    for k in content(config)["model"]["init_args"]["k"]:
        assert 0 < metrics[f"test/recall_{k}"] <= metrics[f"test/hit_rate_{k}"] <= 1
        assert {f"test/{figure}_{k}" for figure in FIGURES} <= set(metrics)
    recipe = content(config.with_name("data.yaml"))["init_args"]["recipe"]
    assert metrics["split"].startswith(f"{recipe['split']}, val {recipe['val']:g}")

    if config.stem in ("ease", "lightgcn", "genre_gat", "hybrid", "two_tower"):
        predicted = recsys("predict", "--config", config, *options, *checkpoint)
        assert predicted.status == 0, predicted.err
        lists = pd.read_parquet(predicted.last_line)
        assert lists["user_id"].nunique() >= metrics["users"]
        assert lists.groupby("user_id").size().eq(10).all()
        if config.parent.name.startswith("ml-"):
            assert lists["title"].str.fullmatch(r"Caf\xe9 \d+ \(1995\)").all()
        if config.stem == "genre_gat":
            asked = ["--config", config, *options, *checkpoint, "--trainer.accelerator", "cpu"]
            the_user_is_told_what_was_predicted_and_why(recsys, asked, lists)


def the_user_is_told_what_was_predicted_and_why(recsys: Recsys, asked: list[object], lists: pd.DataFrame) -> None:
    user = lists["user_id"].iloc[0]
    predicted = lists[lists["user_id"] == user].sort_values("rank")
    told = recsys("recommend", *asked, "--user", user, "--json")
    assert told.status == 0, told.err
    lines = json.loads(told.out)["recommendations"]
    assert [line["item"] for line in lines] == predicted["item_id"].tolist()
    assert [line["score"] for line in lines] == pytest.approx(predicted["score"].tolist(), abs=1e-5)

    explained = recsys("explain", *asked, "--user", user, "--item", lines[0]["item"], "--json")
    assert explained.status == 0, explained.err
    [why] = json.loads(explained.out)["explanations"]
    assert why["rank"] == 1 and why["score"] == pytest.approx(lines[0]["score"], abs=1e-5)
    assert sum(why["terms"].values()) == pytest.approx(why["score"], abs=1e-5)
    assert sum(effect["value"] for effect in why["effects"]) + why["rest"] == pytest.approx(why["score"], abs=1e-5)
    assert set(why["influences"]) == set(why["terms"]) - {"base"}


def test_every_data_set_has_its_experiments() -> None:
    of_one_domain = {*SMALL_DATA, *WITH_TEXTS, *WITH_TOWERS, "movietweetings"}
    assert {folder.name for folder in FOLDERS} == of_one_domain | set(OF_DOMAINS)
    for folder in FOLDERS:
        wanted = OF_DOMAINS.get(folder.name, EVERYWHERE | {"genre_gat"})
        if folder.name in WITH_TEXTS:
            wanted = {"data", "hybrid", WITH_TEXTS[folder.name]}
        elif folder.name in WITH_TOWERS:
            wanted = {"data", "popularity", "itemknn", "lightgcn", "two_tower"}
        assert {path.stem for path in folder.glob("*.yaml")} >= wanted


@pytest.mark.parametrize("config", FILES, ids=named)
def test_it_takes_the_data_of_its_folder_and_selects_on_val(config: Path) -> None:
    text = content(config)
    data = text["data"]
    assert (data if isinstance(data, str) else data["init_args"]["interactions"]) == "data.yaml"
    if closed_form(config):
        assert "checkpoint" not in text
    else:
        first = "val/loss" if config.stem == "conditioner" else f"val/ndcg_{text['model']['init_args']['k'][0]}"
        assert text["checkpoint"]["monitor"] == text["early_stopping"]["monitor"] == first


def test_every_experiment_has_a_row_in_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+/\w+\.yaml)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(f"{path.parent.name}/{path.name}" for path in FILES)
    assert not re.search(r"^[A-Z_]{6,}$", text, re.MULTILINE)


def test_the_readme_tells_how_to_use_a_table_of_ones_own(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "class_path: Table" in block]
    (tmp_path / "my_data.yaml").write_text(example)
    told = yaml.safe_load(example)["init_args"]
    columns = [told["columns"][role] for role in ("user_id", "item_id", "rating", "timestamp")]
    pd.DataFrame(rows(), columns=columns).to_csv(tmp_path / told["interactions"], index=False)
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    outcome = recsys("floors", "--data", tmp_path / "my_data.yaml", "--only", "Popularity")
    assert outcome.status == 0, outcome.err
    assert "Popularity (default): test/ndcg_10" in outcome.out
