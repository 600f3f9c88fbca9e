from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from recsys_lightning.cli import main
from recsys_lightning.cli.options import sentence
from tests.conftest import REPOSITORY, Recsys
from tests.worlds import write_csv

HELP_ALL = "`recsys fit --help-all` lists what there is."
HELP_TABLE = "`recsys fit --data.help Table` lists what there is."


@pytest.fixture
def world(tmp_path: Path) -> list[str]:
    write_csv(tmp_path / "rows.csv")
    data = ["--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "rows.csv"]
    return [*data, "--data.recipe.split", "random", "--model", "Ranking", "--model.recommender", "LightGCN"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--trainer.max_epoch 2", f"There is no option trainer.max_epoch. Did you mean trainer.max_epochs? {HELP_ALL}"),
        ("--modle.k 3", f"There is no option modle.k. {HELP_ALL}"),
        ("--checkpoint.monitr x", f"There is no option checkpoint.monitr. Did you mean checkpoint.monitor? {HELP_ALL}"),
        ("--data.separatr ,", f"There is no option data.separatr. Did you mean data.separator? {HELP_TABLE}"),
        ("--data.recipe.splitt random", f"There is no option data.recipe.splitt. {HELP_TABLE}"),
        (
            "--model.recommender.layerz 2",
            "There is no option model.recommender.layerz. Did you mean model.recommender.layers? "
            "`recsys fit --model Ranking --model.recommender.help LightGCN` lists what there is.",
        ),
        ("extra", "extra is no option: options begin with two dashes."),
        ("--data Tabel", "data: there is no Tabel. Did you mean Table?"),
        ("--model Rankin", "model: there is no Rankin. Did you mean Ranking?"),
        ("--model.recommender LightGNC", "model.recommender: there is no LightGNC. Did you mean LightGCN?"),
        ("--model.loss BPRR", "model.loss: there is no BPRR. Did you mean BPR?"),
        ("--model.optimizer Adamm", "model.optimizer: there is no Adamm. Did you mean Adam?"),
        ("--model.recommender Xyzzy", "model.recommender: there is no Xyzzy."),
        ("--trainer.max_epochs many", "trainer.max_epochs is many; it must be int."),
        ("--model.recommender.dim 1.5", "model.recommender.dim is 1.5; it must be int."),
        ("--model.optimizer.lr fast", "model.optimizer.lr is fast; it must be float."),
        ("--data.recipe.min_rating high", "data.recipe.min_rating is high; it must be float."),
        ("--trainer.enable_model_summary maybe", "trainer.enable_model_summary is maybe; it must be bool."),
        (
            "--data.recipe.split chronological",
            "data.recipe.split is chronological; "
            "it can be 'global_time', 'leave_last_out', 'random', 'official', 'item_cold', 'user_cold', "
            "'target_cold'.",
        ),
        (
            "--model.recommender TwoTower --model.recommender.fusion adaptiv",
            "model.recommender.fusion is adaptiv; it can be 'identity', 'metadata', 'sum', 'concat', 'adaptive_mimic'.",
        ),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(recsys: Recsys, world: list[str], words: str, said: str) -> None:
    outcome = recsys("fit", *world, *words.split())
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1] == f"recsys: {said}"
    assert "usage:" not in outcome.err and "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "MovieTweetings"], "model must be given."),
        (["--data", "Table", "--model", "Ranking"], "model.recommender must be given."),
        (["--data", "Table", "--model", "Ranking", "--model.recommender", "MF"], "data.interactions must be given."),
    ],
)
def test_what_is_missing_is_named(recsys: Recsys, words: list[str], said: str) -> None:
    outcome = recsys("validate", *words)
    assert outcome.status == 2
    assert said in outcome.err and "`recsys validate " in outcome.err


def test_who_lacks_the_vectors_of_another_run_reads_what_writes_them(recsys: Recsys) -> None:
    outcome = recsys("fit", "--config", REPOSITORY / "experiments" / "synthetic-domains" / "conditioner.yaml")
    assert outcome.status == 2
    assert "data.vectors must be given. It is the file that `recsys predict`" in outcome.err
    assert "--trainer.callbacks+=WriteVectors; `recsys chain` runs both" in outcome.err


def test_a_wrong_key_of_a_configuration_is_told_like_an_option(recsys: Recsys, tmp_path: Path) -> None:
    data = {"class_path": "Table", "init_args": {"interactions": "rows.csv", "recipe": {"user_cores": 5}}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({"data": data}))
    outcome = recsys("fit", "--config", tmp_path / "wrong.yaml")
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1] == f"recsys: There is no option data.recipe.user_cores. {HELP_TABLE}"


def test_what_an_option_itself_refuses_keeps_its_words(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("fit", *world, "--data.recipe.val", "1.5")
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("recsys: val: 1.5 is neither a share")


def test_null_takes_back_what_a_configuration_says(recsys: Recsys, world: list[str]) -> None:
    options = ["--data.recipe.min_rating", "3", "--data.columns.timestamp", "timestamp", "--data.separator", ","]
    nothing = ["--data.recipe.min_rating", "null", "--data.columns.timestamp", "null", "--data.separator", "null"]
    given, taken_back = (
        yaml.safe_load(recsys("fit", *world, *words, "--print_config").out)["data"]["init_args"]
        for words in (options, [*options, *nothing])
    )
    for found, expected in ((given, (3, "timestamp", ",")), (taken_back, (None, None, None))):
        assert (found["recipe"]["min_rating"], found["columns"]["timestamp"], found["separator"]) == expected


def test_a_complaint_of_an_unknown_form_stays_as_it_is() -> None:
    assert sentence("Something else is wrong", "fit") == "Something else is wrong"
    assert sentence('Parser key "data":\n  Something else is wrong', "fit") == "data: Something else is wrong"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--trainer.max_epoch 2", "--trainer.max_epochs"),
        ("--data.separatr ,", "--data.separator"),
        ("--model.recommender.layerz 2", "--recommender.layers"),
    ],
)
def test_the_help_that_is_named_is_there(
    recsys: Recsys, world: list[str], words: str, meant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    named = recsys("fit", *world, *words.split()).err.split("`recsys ")[1].split("`")[0]
    with pytest.raises(SystemExit) as end:
        main(named.split())
    assert not end.value.code
    assert meant in capfd.readouterr().out
