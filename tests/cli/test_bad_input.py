"""What goes wrong with people's own tables, told by the command line: one clear sentence, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from recsys_lightning.data import cache
from tests.conftest import Outcome, Recsys
from tests.worlds import write_csv

POPULARITY = ["--model", "Ranking", "--model.recommender", "Popularity"]
MF = ["--model", "Ranking", "--model.recommender", "MF", "--model.recommender.dim", "4", "--trainer.max_epochs", "1"]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The rows of a sound file, with ratings; it is not written yet, and the cache is empty."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_csv(tmp_path / "rows.csv")
    return pd.read_csv(tmp_path / "rows.csv", dtype=str).assign(rating=lambda rows: (rows.index % 5 + 1).astype(str))


class Shell:
    """Runs a verb on `rows.csv`, with all four columns named; later options win."""

    def __init__(self, recsys: Recsys, folder: Path) -> None:
        self.recsys, self.folder = recsys, folder
        self.made: set[Path] = set()

    def __call__(self, *options: object, verb: str = "test", model: Sequence[str] = POPULARITY) -> Outcome:
        before = set(self.folder.rglob("*"))
        outcome = self.recsys(
            *(verb, "--data", "Table", "--data.root", self.folder, "--data.interactions", "rows.csv"),
            *("--data.columns.rating", "rating", "--data.columns.timestamp", "timestamp"),
            *("--data.recipe.split", "random", *options, *model),
        )
        self.made = set(self.folder.rglob("*")) - before
        return outcome

    def refused(self, *options: object, verb: str = "test", model: Sequence[str] = POPULARITY) -> str:
        """What is said of bad input: it ends with status 2 and in words, and leaves nothing behind."""
        outcome = self(*options, verb=verb, model=model)
        assert outcome.status == 2, outcome.err
        said = outcome.err[outcome.err.index("recsys: ") :]
        assert "Traceback" not in outcome.err and len(said) < 1000
        assert not [path for path in self.made if path.is_file() and "cache" not in path.parts]
        return said


def says(said: str, *patterns: str) -> bool:
    """Whether all of these are matched."""
    return all(re.search(pattern, said) for pattern in patterns)


@pytest.fixture
def shell(recsys: Recsys, tmp_path: Path) -> Shell:
    return Shell(recsys, tmp_path)


def write(table: pd.DataFrame, folder: Path, name: str = "rows.csv") -> Path:
    table.to_csv(folder / name, index=False)
    return folder / name


def measured(outcome: Outcome) -> dict[str, float]:
    assert outcome.status == 0, outcome.err
    values: dict[str, float] = json.loads(Path(outcome.last_line).read_text())
    return {name: value for name, value in values.items() if name.startswith("test/")}


def test_the_sound_table_is_fine(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table, tmp_path)
    outcome = shell()
    assert measured(outcome)["test/users"] > 0
    assert "recsys:" not in outcome.err
    assert shell(verb="fit", model=MF).status == 0


@pytest.mark.parametrize(("verb", "model"), [("test", POPULARITY), ("fit", MF)])
class TestBothVerbs:
    def test_a_missing_file(
        self, shell: Shell, table: pd.DataFrame, tmp_path: Path, verb: str, model: list[str]
    ) -> None:
        os.rename(tmp_path / "rows.csv", tmp_path / "row.csv")
        assert says(shell.refused(verb=verb, model=model), r"rows\.csv is missing in .*It holds: .*row\.csv")

    def test_a_missing_column(
        self, shell: Shell, table: pd.DataFrame, tmp_path: Path, verb: str, model: list[str]
    ) -> None:
        write(table.rename(columns={"user_id": "userid"}), tmp_path)
        assert says(shell.refused(verb=verb, model=model), r"rows\.csv has no column 'user_id'", "nearest.*'userid'")

    def test_ratings_that_are_no_numbers(
        self, shell: Shell, table: pd.DataFrame, tmp_path: Path, verb: str, model: list[str]
    ) -> None:
        table.loc[[2, 5, 6, 9], "rating"] = "good"
        write(table, tmp_path)
        said = r"column 'rating' is not a finite number in 4 lines \(line 4, 7, 8, \.\.\.\)"
        assert says(shell.refused(verb=verb, model=model), r"rows\.csv", said, "on_bad")

    def test_an_empty_table(
        self, shell: Shell, table: pd.DataFrame, tmp_path: Path, verb: str, model: list[str]
    ) -> None:
        write(table[:0], tmp_path)
        assert says(shell.refused(verb=verb, model=model), r"rows\.csv holds no rows")


@pytest.mark.parametrize("value", ["NaN", "inf", ""])
def test_ratings_that_are_not_finite(shell: Shell, table: pd.DataFrame, tmp_path: Path, value: str) -> None:
    table.loc[3, "rating"] = value
    write(table, tmp_path)
    what = "is empty" if value == "" else "is not a finite number"
    assert says(shell.refused(), rf"column 'rating' {what} in 1 line \(line 5\)")


@pytest.mark.filterwarnings("default::UserWarning")
def test_bad_rows_are_dropped_where_that_is_asked_for(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[3, "rating"] = "good"
    write(table, tmp_path)
    dropped = shell("--data.on_bad", "drop")
    assert re.search(r"1 of [\d,]+ rows cannot be used.*line 5.*They were dropped", dropped.err)
    write(table.drop(index=3), tmp_path)
    assert measured(dropped) == measured(shell())


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_empty_ids(shell: Shell, table: pd.DataFrame, tmp_path: Path, column: str) -> None:
    table.loc[[0, 7], column] = None
    write(table, tmp_path)
    assert says(shell.refused(), rf"rows\.csv: 2 of .*column '{column}' is empty in 2 lines \(line 2, 9\)")


def test_ids_that_look_missing_are_ids(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    names = {"u0": "NA", "u1": "null", "u2": "NaN", "u3": "None"}
    write(table.replace({"user_id": names}), tmp_path)
    outcome = shell(verb="predict")
    assert outcome.status == 0, outcome.err
    assert set(names.values()) <= set(pd.read_parquet(outcome.last_line)["user_id"])


def test_an_empty_file(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"")
    assert says(shell.refused(), r"rows\.csv is empty \(0 bytes\)")


def test_a_core_that_filters_everything_away(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table, tmp_path)
    too_much = ["--data.recipe.user_core", "500", "--data.recipe.item_core", "500"]
    said = shell.refused(*too_much)
    assert says(said, "user_core: 500", "leaves nothing", r"core pass 1: [\d,]+ rows")
    best = re.search(r"user_core: (\d+), item_core: (\d+)\.$", said.strip())
    assert best and 0 < int(best[1]) < 500
    assert measured(shell("--data.recipe.user_core", best[1], "--data.recipe.item_core", best[2]))
    more = str(int(best[1]) + 1)
    assert says(shell.refused("--data.recipe.user_core", more, "--data.recipe.item_core", more), "leaves nothing")


def test_ratings_that_are_all_too_low(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table, tmp_path)
    assert says(shell.refused("--data.recipe.min_rating", "6"), "Nothing is left after the filters", "min_rating: 0")


def test_users_of_one_item_stay_in_train(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[len(table)] = {"user_id": "lonely", "item_id": "m0", "timestamp": "1", "rating": "5"}
    write(table, tmp_path)
    tested = shell()
    assert measured(tested)["test/users"] > 0
    folder = Path(tested.last_line).parent
    assert "lonely" not in set(pd.read_parquet(folder / "per_user.parquet")["user_id"])
    assert re.search(r"\| train \|.*1 users have no held-out rows", (folder / "report.md").read_text())
    assert "lonely" in set(pd.read_parquet(shell(verb="predict").last_line)["user_id"])


def test_users_of_one_item_and_nobody_else(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table.drop_duplicates("user_id"), tmp_path)
    assert says(shell.refused(), "no test rows")


def test_a_user_without_train_rows_is_not_tested(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    late = {"user_id": "late", "item_id": "m0", "timestamp": "2000000000", "rating": "5"}
    table.loc[len(table)] = late
    write(table, tmp_path)
    tested = shell("--data.recipe.split", "global_time")
    assert measured(tested)["test/users"] > 0
    folder = Path(tested.last_line).parent
    assert "late" not in set(pd.read_parquet(folder / "per_user.parquet")["user_id"])
    assert re.search(r"users without train rows \|.*1 rows of 1 users dropped", (folder / "report.md").read_text())


def test_repeated_rows_are_counted(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(pd.concat([table, table[:7]]), tmp_path)
    twice = shell()
    assert "| duplicates |" in (text := (Path(twice.last_line).parent / "report.md").read_text())
    assert "7 repeated pairs dropped, kept the last" in text
    write(table, tmp_path)
    assert measured(twice) == measured(shell())
    write(pd.concat([table, table[:7]]), tmp_path)
    assert says(shell.refused("--data.recipe.duplicates", "error"), "7 rows repeat", "user 'u", "duplicates: last")


@pytest.mark.parametrize("split", ["global_time", "leave_last_out", "random"])
def test_the_order_of_rows_does_not_matter(shell: Shell, table: pd.DataFrame, tmp_path: Path, split: str) -> None:
    write(table, tmp_path)
    in_order = measured(shell("--data.recipe.split", split))
    write(table.sample(frac=1, random_state=0), tmp_path)
    assert measured(shell("--data.recipe.split", split)) == in_order


@pytest.mark.parametrize(("split", "other"), [("global_time", "leave_last_out"), ("leave_last_out", "random")])
def test_no_timestamps(shell: Shell, table: pd.DataFrame, tmp_path: Path, split: str, other: str) -> None:
    write(table.drop(columns="timestamp"), tmp_path)
    options = ["--data.columns.timestamp", "null", "--data.recipe.split"]
    assert says(shell.refused(*options, split), f"{split} needs", f"split: {other}", "split: random")
    assert measured(shell(*options, "random"))


def test_mixed_units_of_time(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[5, "timestamp"] += "000"
    write(table, tmp_path)
    assert says(shell.refused(), "'timestamp' mixes units of time", r"milliseconds in 1 line \(line 7\)")


def test_leading_zeros_are_kept(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    padded = {name: table[name].str[1:].str.zfill(5) for name in ("user_id", "item_id")}
    write(table.assign(**padded), tmp_path)
    outcome = shell(verb="predict")
    assert outcome.status == 0, outcome.err
    lists = pd.read_parquet(outcome.last_line)
    assert set(lists["user_id"]) == set(padded["user_id"]) and set(lists["item_id"]) <= set(padded["item_id"])
    assert (lists["user_id"].str.len() == 5).all()


def test_another_encoding(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[3, "item_id"] = "caf\xe9"
    table.to_csv(tmp_path / "rows.csv", index=False, encoding="latin-1")
    assert says(shell.refused(), r"rows\.csv", "utf-8", "line 5", "encoding")
    outcome = shell("--data.encoding", "latin-1", verb="predict")
    assert outcome.status == 0, outcome.err


def test_another_separator(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "rows.csv", index=False, sep=";")
    assert measured(shell())
    assert says(shell.refused("--data.separator", ","), "separated by ';'", "set separator")


def test_a_truncated_gzip_file(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    whole = gzip.compress(write(table, tmp_path).read_bytes())
    (tmp_path / "rows.csv.gz").write_bytes(whole)
    assert measured(shell("--data.interactions", "rows.csv.gz"))
    (tmp_path / "rows.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert says(shell.refused("--data.interactions", "rows.csv.gz"), r"rows\.csv\.gz is cut off or damaged")


HYBRID = ["--model", "Ranking", "--model.recommender", "HybridRecommender", "--model.recommender.dim", "8"]
TEXT_VIEW = [*HYBRID, "--model.recommender.views", "text"]
VECTORS = ["--data.text.vectors", "texts.pt"]


def vectors(width: int = 8, first: int = 0, **other: object) -> dict[str, object]:
    """What a file of text vectors holds, of the items that the table has."""
    ids = [f"m{item}" for item in range(first, first + 40)]
    generator = torch.Generator().manual_seed(0)
    overview, review = (torch.randn(*shape, generator=generator) for shape in ((40, width), (40, 2, 8)))
    mask = torch.ones(40, 2, dtype=torch.bool)
    return {"movie_ids": ids, "overview_embs": overview, "review_embs": review, "review_mask": mask, **other}


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder / "ran"),)


class TestTexts:
    @pytest.fixture(autouse=True)
    def _rows(self, table: pd.DataFrame, tmp_path: Path) -> None:
        write(table, tmp_path)

    def test_sound_vectors_are_fine(self, shell: Shell, tmp_path: Path) -> None:
        torch.save(vectors(), tmp_path / "texts.pt")
        outcome = shell(*VECTORS, "--trainer.max_epochs", "1", verb="fit", model=TEXT_VIEW)
        assert outcome.status == 0, outcome.err
        assert list(tmp_path.rglob("best.ckpt"))

    @pytest.mark.parametrize(
        ("content", "patterns"),
        [
            (
                vectors(first=30),
                [r"texts\.pt has vectors of 10 of 40 items", "less than 50%", "look like 'm30'.* like 'm0'"],
            ),
            (vectors(width=6), [r"texts\.pt: review_embs has shape \(40, 2, 8\); .* must be \(40, 2, 6\)"]),
            (vectors(overview_embs=torch.full((40, 8), torch.nan)), ["overview_embs", "not finite|no finite|NaN", "m"]),
            ({"movie_ids": ["m0"]}, ["overview_embs, review_embs.* review_mask"]),
        ],
        ids=["other movies", "two widths", "NaN", "missing keys"],
    )
    def test_vectors_that_do_not_fit(
        self, shell: Shell, tmp_path: Path, content: dict[str, object], patterns: list[str]
    ) -> None:
        torch.save(content, tmp_path / "texts.pt")
        assert says(shell.refused(*VECTORS, verb="fit", model=TEXT_VIEW), *patterns)

    def test_a_file_that_wants_to_run_code(self, shell: Shell, tmp_path: Path) -> None:
        torch.save({**vectors(), "movie_ids": Code(tmp_path)}, tmp_path / "texts.pt")
        assert says(
            shell.refused(*VECTORS, verb="fit", model=TEXT_VIEW), r"texts\.pt wants to run code", "do not trust it"
        )
        assert not (tmp_path / "ran").exists()

    def test_what_a_hybrid_lacks_is_named(self, shell: Shell, tmp_path: Path) -> None:
        assert says(shell.refused(verb="fit", model=HYBRID), "data were prepared without", r"data\.text")
        torch.save(vectors(), tmp_path / "texts.pt")
        identity = [*TEXT_VIEW, "--model.recommender.identity", "true"]
        assert says(shell.refused(*VECTORS, verb="fit", model=identity), "identities .* in its graph view only")
        together = [*TEXT_VIEW, "--model.contrastive", "Contrastive"]
        assert says(shell.refused(*VECTORS, verb="fit", model=together), "one view of users only")


def test_a_wrong_key_in_a_configuration(recsys: Recsys, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table, tmp_path)
    data = {"root": str(tmp_path), "interactions": "rows.csv", "recipe": {"user_cores": 5}}
    model = {"class_path": "Ranking", "init_args": {"recommender": {"class_path": "Popularity"}}}
    config = {"data": {"class_path": "Table", "init_args": data}, "model": model}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(config))
    outcome = recsys("test", "--config", tmp_path / "wrong.yaml")
    assert outcome.status == 2 and "user_cores" in outcome.err and "Traceback" not in outcome.err
    assert not list(tmp_path.rglob("metrics.json"))


def test_a_configuration_that_is_no_yaml(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("data: [")
    outcome = recsys("test", "--config", tmp_path / "broken.yaml")
    assert outcome.status == 2 and "Traceback" not in outcome.err
    missing = recsys("test", "--config", tmp_path / "none.yaml")
    assert missing.status == 2 and "none.yaml" in missing.err and "Traceback" not in missing.err


def test_a_cache_of_another_version_is_left_alone(
    shell: Shell, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(table, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "__version__", "0.0.1")
        old = measured(shell())
    folders = set((tmp_path / "cache").iterdir())
    outcome = shell()
    assert measured(outcome) == old and "recsys:" not in outcome.err
    assert len(set((tmp_path / "cache").iterdir()) - folders) == 1


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_bit_flipped_in_the_cache(shell: Shell, table: pd.DataFrame, tmp_path: Path) -> None:
    write(table, tmp_path)
    sound = measured(shell())
    [file] = (tmp_path / "cache").glob("*/item.npy")
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    outcome = shell()
    assert "is damaged and will be rebuilt" in outcome.err and "item.npy" in outcome.err
    assert measured(outcome) == sound
    again = shell()
    assert measured(again) == sound and "damaged" not in again.err


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_cache_folder_that_cannot_be_written(
    shell: Shell, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(table, tmp_path)
    sound = measured(shell())
    (tmp_path / "in the way").write_text("a file")
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "in the way" / "cache"))
    outcome = shell()
    assert measured(outcome) == sound
    assert "in the way/cache cannot be used" in outcome.err and "Set RECSYS_CACHE" in outcome.err
