from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.schema import TRAIN, VAL
from tests.conftest import Recsys

WORLD = [
    *("--data", "MovieTweetings", "--data.recipe.split", "random", "--data.recipe.limit_users", "300"),
    *("--model", "Ranking", "--trainer.accelerator", "cpu"),
]
EASE = [*WORLD, "--model.recommender", "EASE"]


def test_a_checkpoint_recommends_what_predict_writes(recsys: Recsys, tmp_path: Path) -> None:
    network = [*WORLD, "--model.recommender", "LightGCN", "--model.recommender.dim", "8"]
    assert recsys("fit", *network, "--trainer.max_epochs", "1").status == 0
    checkpoint = next((tmp_path / "runs").glob("*/*/checkpoints/last.ckpt"))
    predicted = recsys("predict", *network, "--ckpt_path", checkpoint)
    table = pd.read_parquet(predicted.last_line)
    user = table["user_id"].iloc[0]
    expected = table[table["user_id"] == user]
    before = sorted(tmp_path.rglob("*"))
    config = checkpoint.parent.parent / "config.yaml"
    found = recsys("recommend", "--config", config, "--ckpt_path", checkpoint, "--user", user, "--json")
    assert found.status == 0, found.err
    lines = json.loads(found.out)["recommendations"]
    assert [line["item"] for line in lines] == expected["item_id"].tolist()
    assert [line["score"] for line in lines] == pytest.approx(expected["score"].tolist(), rel=1e-4)
    shown = recsys("recommend", "--config", config, "--ckpt_path", checkpoint, "--user", user, "--k", 3)
    assert shown.out.splitlines()[0].split() == ["rank", "score", "movie", "title"]
    assert [line.split()[2] for line in shown.out.splitlines()[2:]] == expected["item_id"].tolist()[:3]
    assert sorted(tmp_path.rglob("*")) == before  # no run folder

    other = recsys(
        "recommend", "--config", config, "--ckpt_path", checkpoint, "--user", user, "--data.recipe.val", "0.2"
    )
    assert other.status == 2 and "The checkpoint was made with other data." in other.err
    wide = recsys("recommend", *network, "--model.recommender.dim", "4", "--ckpt_path", checkpoint, "--user", user)
    assert wide.status == 2 and "The checkpoint holds another network" in wide.err


def test_what_the_user_has_only_on_request(recsys: Recsys) -> None:
    from recsys_lightning.cli.advice import ask

    advisor, data = ask(EASE, None, "recommend")
    known = data.prepared.csr(TRAIN, VAL)
    user = int(known.degree.argmax())
    raw, items = advisor.catalogue.users[user], advisor.catalogue.items
    own = {items[item] for item in known.col[known.crow[user] : known.crow[user + 1]].tolist()}
    for options, overlap in (([], False), (["--include_known"], True)):
        outcome = recsys("recommend", *EASE, "--user", raw, "--json", *options)
        listed = {line["item"] for line in json.loads(outcome.out)["recommendations"]}
        assert bool(listed & own) == overlap


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*EASE, "--user", "nobody"], "There is no user 'nobody' among the "),
        ([*EASE, "--user", "1", "--k", "0"], "--k is 0; it must be a whole number of at least 1."),
        ([*EASE, "--user", "1", "--k", "ten"], "--k is ten; it must be a whole number"),
        ([*EASE], "Say for whom: recsys recommend --user ID"),
        ([*EASE, "--user", "1", "--ckpt_path", "no.ckpt"], "There is no checkpoint no.ckpt."),
        ([*WORLD, "--model.recommender", "MF", "--user", "1"], "MF is trained, so it can be asked by its checkpoint"),
        ([*EASE, "--user", "1", "--kk", "3"], "kk"),
        (["--user", "1", "--config", "no.yaml"], "no.yaml"),
    ],
)
def test_what_is_wrong_is_said(recsys: Recsys, words: list[str], message: str) -> None:
    outcome = recsys("recommend", *words)
    assert outcome.status == 2
    assert message in outcome.err and "Traceback" not in outcome.err and not outcome.out


DOMAINS = [
    *("--data", "SyntheticDomains", "--data.users", "80", "--data.items", "{movie: 40, book: 30}", "--data.rows", "9"),
    *("--model", "Ranking", "--model.recommender", "EASE", "--trainer.accelerator", "cpu"),
]


def test_each_domain_has_a_list(recsys: Recsys) -> None:
    table = pd.read_parquet(recsys("predict", *DOMAINS, "--model.predict_k", "4").last_line)
    user = table["user_id"].iloc[0]
    expected = {name: lines["item_id"].tolist() for name, lines in table[table["user_id"] == user].groupby("domain")}
    found = json.loads(recsys("recommend", *DOMAINS, "--user", user, "--k", "4", "--json").out)["recommendations"]
    assert {name: [line["item"] for line in lines] for name, lines in found.items()} == expected
    shown = recsys("recommend", *DOMAINS, "--user", user, "--k", "4").out
    assert [line for line in shown.splitlines() if line in ("movie", "book")] == ["movie", "book"]
    one = recsys("recommend", *DOMAINS, "--user", user, "--k", "4", "--domain", "book").out.splitlines()
    assert one[:2] == ["book", shown.splitlines()[-6]] and [line.split()[2] for line in one[3:]] == expected["book"]
    wrong = recsys("recommend", *DOMAINS, "--user", user, "--domain", "song")
    assert wrong.status == 2 and "There is no domain song: name one of movie, book." in wrong.err
    nameless = recsys("explain", *DOMAINS, "--user", user)
    assert nameless.status == 2 and "The items of each domain are ranked by themselves: name one of" in nameless.err
    why = recsys("explain", *DOMAINS, "--user", user, "--domain", "book", "--json")
    assert [one["item"] for one in json.loads(why.out)["explanations"]][:4] == expected["book"]
