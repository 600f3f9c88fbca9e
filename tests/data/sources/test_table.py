"""Your own tables: files and DataFrames, with attributes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.sources import Attributes, Table
from recsys_lightning.errors import InputError
from tests.conftest import Recsys
from tests.experiments import stages_in_this_process

COLUMNS = Columns("who", "what", rating="stars")
ITEMS = Attributes("films.tsv", "film", {"name": "title", "kinds": "genres"}, {"genres": "/"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text("who;what;stars\na;01;5\nb;02;x\n")
    (tmp_path / "films.tsv").write_text("film\tname\tkinds\n01\tUp\tDrama/Comedy\n")
    (tmp_path / "people.csv").write_text("who,age\na,31\n")
    return tmp_path


def test_files_with_attributes(root: Path) -> None:
    source = Table(
        root,
        "log.csv",
        COLUMNS,
        name="mine",
        on_bad="drop",
        items=ITEMS,
        users=Attributes("people.csv", "who", numbers=["age"]),
        item_type="film",
        attributes={"genres": "genre"},
    )
    assert [file.name for file in source.files()] == ["log.csv", "films.tsv", "people.csv"]
    with pytest.warns(UserWarning, match="1 of 2 rows"):
        raw = source.read()
    assert raw.interactions.item_ids.to_pylist() == ["01"]
    assert raw.items.loc["01"].to_dict() == {"title": "Up", "genres": ["Drama", "Comedy"]}
    assert raw.users.loc["a", "age"] == 31
    assert (source.name, source.item_type) == ("mine", "film")


def test_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1, 2], "what": ["x", "y"]})
    items = pd.DataFrame({"title": ["X", "Y"], "genres": [["a"], []], "year": [1999, None]}, index=["x", "y"])
    source = Table(tmp_path, frame, Columns("who", "what"), items=items, attributes={"genres": "genre"})
    raw = source.read()
    assert source.files() == []
    assert raw.items["genres"].to_dict() == {"x": ["a"], "y": []}
    assert raw.items.loc["x", "year"] == 1999
    assert raw.interactions.user_ids.to_pylist() == ["1", "2"]


def test_options_follow_the_content_of_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1, 2], "what": ["x", "y"]})
    columns = Columns("who", "what")
    same, other = Table(tmp_path, frame.copy(), columns), Table(tmp_path, frame.assign(what=["x", "z"]), columns)
    assert Table(tmp_path, frame, columns).options() == same.options() != other.options()
    assert Table(tmp_path, "a.csv", columns).options() != Table(tmp_path, "a.csv", columns, separator=";").options()


DOMAINS = """
class_path: Table
init_args:
  root: ROOT
  interactions: shop.csv
  columns: {user_id: who, item_id: what, timestamp: time, domain: shelf}
  recipe: {split: target_cold, target: film, shots: 1, val: 0.1, test: 0.2}
"""
CHAIN = """
stages:
  lightgcn: {config: lightgcn.yaml}
  ease_film: {config: ease.yaml, run: [test], domain: film}
base: lightgcn
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """40 users who each have 5 of 9 items of two shelves, beside the data's options and an experiment of EASE."""
    rows = [
        f"u{user},{shelf}{(user * step + place) % 9},{shelf},{1_700_000_000 + place}"
        for user in range(40)
        for step, shelf in ((2, "film"), (5, "book"))
        for place in range(5)
    ]
    (tmp_path / "shop.csv").write_text("\n".join(["who,what,shelf,time", *rows]) + "\n")
    (tmp_path / "data.yaml").write_text(DOMAINS.replace("ROOT", str(tmp_path)))
    quiet = "trainer: {max_epochs: 1, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu}"
    for name, recommender in {"ease": "EASE", "lightgcn": "{class_path: LightGCN, init_args: {dim: 8}}"}.items():
        model = f"model: {{class_path: Ranking, init_args: {{recommender: {recommender}}}}}"
        (tmp_path / f"{name}.yaml").write_text(f"data: data.yaml\n{model}\n{quiet}\n")
    return tmp_path


def test_domains_of_a_table_are_tested_each_by_itself(
    recsys: Recsys, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = recsys("data", "prepare", "--config", shop / "ease.yaml")
    assert card.status == 0, card.err
    assert "new in film" in card.out and "| film | 9 | 40 |" in card.out and "| book | 9 | 40 |" in card.out
    stages_in_this_process(monkeypatch)
    (shop / "chain.yaml").write_text(CHAIN)
    found = recsys("chain", shop / "chain.yaml", "--to", shop / "out")
    assert found.status == 0, found.err
    report = (shop / "out" / "report.md").read_text(encoding="utf-8")
    assert "lightgcn" in report and "ease_film" in report and "film" in report


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("u0,book0,book", "u0,book0,film", "column 'shelf': 1 item id stands in more than one domain, for instance "),
        ("u0,film0,film", "u0,film0,", "column 'shelf' is empty in 1 line (line 2)"),
        (",film,", ",sci-fi,", "A domain cannot be called 'sci-fi'"),
        (",film,", ",worst,", "A domain cannot be called 'worst'"),
        (",film,", ",movie,", "data.recipe.target is 'film', and these data have the domains movie, book."),
        (",film,", ",book,", "data.recipe.target is 'film', and these data have one domain."),
    ],
)
def test_faulty_domains_of_a_table_are_told(recsys: Recsys, shop: Path, old: str, new: str, said: str) -> None:
    text = (shop / "shop.csv").read_text()
    assert old in text
    (shop / "shop.csv").write_text(text.replace(old, new))
    outcome = recsys("test", "--config", shop / "ease.yaml")
    assert outcome.status == 2 and said in outcome.err and "Traceback" not in outcome.err


def test_attribute_that_is_no_column_is_an_error(root: Path) -> None:
    frame = pd.DataFrame({"who": ["a"], "what": ["01"]})
    with pytest.raises(InputError, match=r"names tags, which .* Its columns: title, genres"):
        Table(root, frame, Columns("who", "what"), items=ITEMS, attributes={"tags": "tag"}).read()


def test_missing_file_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"log\.csv is missing in"):
        Table(tmp_path, "log.csv", COLUMNS).read()
