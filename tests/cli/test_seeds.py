from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.cli.seeds import _stage
from tests.conftest import Recsys
from tests.experiments import stages_in_this_process

DATA = "{class_path: SyntheticDomains, init_args: {users: 40, items: {movie: 30, book: 30}, rows: 6}}"
MODEL = """
data: data.yaml
model: {class_path: Ranking, init_args: {recommender: NAME}}
trainer: {enable_progress_bar: false, enable_model_summary: false, accelerator: cpu}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.yaml").write_text(DATA, encoding="utf-8")
    mf = "{class_path: MF, init_args: {dim: 4}}"
    for file, name in (("mf", mf), ("ease", "recsys_lightning.models.EASE")):
        (tmp_path / f"{file}.yaml").write_text(MODEL.replace("NAME", name), encoding="utf-8")
    (tmp_path / "bare.yaml").write_text(MODEL.replace(", init_args: {recommender: NAME}", ""), encoding="utf-8")
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, recsys: Recsys) -> list[list[str]]:
    """What is run, in this process."""
    return stages_in_this_process(monkeypatch)


def test_each_seed_is_fitted_and_tested_once(recsys: Recsys, folder: Path, commands: list[list[str]]) -> None:
    words = ["seeds", "--config", folder / "mf.yaml", "--to", folder / "out", "--trainer.max_epochs", "1"]
    found = recsys(*words, "--n=1", "--model.k=[10]")
    assert found.status == 0, found.err
    seeds = [[word[-1] for word in done if word.startswith("--seed_everything=")] for done in commands]
    assert [done[0] for done in commands] == ["fit", "test"] and seeds == [["0"], ["0"]]
    text = (folder / "out" / "seeds.md").read_text(encoding="utf-8")
    assert text.startswith("# MF under one seed") and text in found.out and "| ndcg_10 |" in text
    commands.clear()
    more = recsys(*words, "--n=2", "--model.k=[10]")
    assert more.status == 0 and [done[0] for done in commands] == ["fit", "test"]
    assert all("--seed_everything=1" in done for done in commands)
    assert more.out.count("\n| 0 | ") == more.out.count("\n| 1 | ") == 1
    (line,) = (line for line in more.out.splitlines() if line.startswith("compare it: recsys compare RUN "))
    assert len(line.split()[-1].split(",")) == 2


def test_what_is_solved_is_run_once(recsys: Recsys, folder: Path, commands: list[list[str]]) -> None:
    found = recsys("seeds", "--config", folder / "ease.yaml", "--to", folder / "out", "--n", "5")
    assert found.status == 0, found.err
    assert [words[0] for words in commands] == ["test"]
    assert "nothing in it is random" in found.out and "| 0.0000 |" in found.out


def test_so_is_what_the_command_line_chooses(recsys: Recsys, folder: Path, commands: list[list[str]]) -> None:
    words = ["seeds", "--config", folder / "bare.yaml", "--to", folder / "out", "--n", "5"]
    found = recsys(*words, "--model.recommender", "EASE")
    assert found.status == 0, found.err
    assert [words[0] for words in commands] == ["test"] and "nothing in it is random" in found.out


@pytest.mark.parametrize(
    ("options", "solved"),
    [
        ([], False),
        (["--model.recommender=EASE"], True),
        (["--model.init_args.recommender.class_path=recsys_lightning.models.EASE"], True),
        (["--model.recommender={class_path: EASE, init_args: {regularization: 10}}"], True),
        (["--model.recommender=EASE", "--model.recommender=MF"], False),
        (["--model.recommender.dim=8", "--model.recommender={"], False),
    ],
)
def test_the_last_word_on_the_recommender_counts(folder: Path, options: list[str], solved: bool) -> None:
    assert _stage(folder / "mf.yaml", options).once is solved


def test_a_folder_that_cannot_be_written_to_is_said_with_what_to_do(
    recsys: Recsys, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("runs").write_text("in the way")
    found = recsys("seeds", "--config", "mf.yaml")
    assert found.status == 2
    assert found.err.startswith("recsys: runs/seeds/mf/mf-")
    assert found.err.endswith(" cannot be written to (Not a directory). Choose a writable folder: --to FOLDER.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "3"], "needs --config FILE"),
        (["--config", "gone.yaml"], "gone.yaml cannot be read"),
        (["--config", "mf.yaml", "--n", "0"], "--n is 0"),
        (["--config", "mf.yaml", "--seed_everything=3"], "decides --seed_everything itself"),
        (["--config", "mf.yaml", "--trainer.default_root_dir", "x"], "decides --trainer.default_root_dir itself"),
        (["--config", "mf.yaml", "--model.k"], "--model.k is given without a value"),
        (["--config", "mf.yaml", "ease.yaml"], "ease.yaml is no option"),
        (["--config", "bad.yaml"], "bad.yaml is no YAML"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    recsys: Recsys, folder: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.yaml").write_text("{", encoding="utf-8")
    monkeypatch.chdir(folder)
    found = recsys("seeds", *words)
    assert found.status == 2 and message in found.err and "Traceback" not in found.err
