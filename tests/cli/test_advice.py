from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recsys_lightning.batches import Vectors
from recsys_lightning.cli.advice import ask, read_options
from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.errors import InputError
from recsys_lightning.models import EASE

WORLD = [
    *("--data", "MovieTweetings", "--data.recipe.split", "random", "--data.recipe.limit_users", "300"),
    *("--trainer.accelerator", "cpu", "--model", "Ranking"),
]


def test_options_of_the_verb_are_told_from_those_of_a_configuration() -> None:
    words = ["--config", "f.yaml", "--user=-7", "--model.k", "[5]", "--json", "--ckpt_path", "best.ckpt"]
    own, rest = read_options(OwnOptions(), words, "recommend")
    assert (own.user, own.json, own.ckpt_path) == ("-7", True, "best.ckpt")
    assert rest == ["--config", "f.yaml", "--model.k", "[5]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "f.yaml"], "Say for whom: recsys explain --user ID"),
        (["--user", "7"], "Say with what model and data: recsys explain --config FILE"),
        (["--config", "f.yaml", "--user"], "--user is given without a value"),
        (["--config", "f.yaml", "--user", "7", "--json=yes"], "--json is given without a value, or with one too many."),
    ],
)
def test_what_is_missing_is_said(words: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        read_options(OwnOptions(), words, "explain")
    assert str(error.value).startswith(message)


def test_a_closed_form_is_solved_on_the_spot_and_everything_has_its_name() -> None:
    advisor, data = ask([*WORLD, "--model.recommender", "EASE"], None, "explain")
    names, tables = advisor.catalogue, data.prepared
    assert isinstance(advisor.model, EASE) and advisor.model.fitted
    assert names.users[5] == tables.users["user_id"].iloc[5] and names.titles[7] == tables.items["title"].iloc[7]
    assert set(names.values) == {"genre", "director", "writer"}
    assert [len(names.values[kind]) for kind in names.values] == [data.schema.num_nodes[kind] for kind in names.values]
    assert torch.equal(advisor.views.train.col, tables.csr("train").col)
    assert torch.equal(advisor.seen.col, tables.csr("train", "val").col)


def test_rows_rated_low_are_known_to_the_user() -> None:
    advisor, data = ask([*WORLD, "--data.recipe.positive", "8", "--model.recommender", "EASE"])
    known, liked = (rows("train", "val") for rows in (data.prepared.known, data.prepared.csr))
    assert torch.equal(advisor.seen.crow, known.crow) and torch.equal(advisor.seen.col, known.col)
    assert len(known.col) > len(liked.col) + 100


def test_who_reads_histories_is_asked_for_no_reasons_and_so_for_no_training() -> None:
    words = [*WORLD, "--model.recommender", "HybridRecommender", "--model.recommender.views", "graph"]
    with pytest.raises(InputError, match="HybridRecommender reads histories, and no explainer takes these apart yet"):
        ask(words, None, "explain")
    with pytest.raises(InputError, match="is trained, so it can be asked by its checkpoint only"):
        ask(words, None, "recommend")


def test_the_verb_is_for_the_command_line() -> None:
    options = [*WORLD, "--model.recommender"]
    assert isinstance(ask([*options, "EASE"]).advisor.model, EASE)
    with pytest.raises(InputError, match="recsys recommend --config"):
        ask([*options, "LightGCN"])


def test_a_network_without_a_checkpoint_is_not_asked() -> None:
    with pytest.raises(InputError, match=r"^LightGCN is trained, so it can be asked by its checkpoint only\. Name one"):
        ask([*WORLD, "--model.recommender", "LightGCN"], None, "explain")


def test_a_new_user_is_asked_about_by_the_rows_that_are_given() -> None:
    cold = ["--data.recipe.split", "user_cold", "--data.recipe.shots", "3", "--model.recommender", "EASE"]
    advisor, data = ask([*WORLD, *cold], None, "explain")
    tables, model = data.prepared, advisor.model
    user = int(tables.known("test").degree.nonzero()[0, 0])
    own = tables.known("given").select(torch.tensor([user]))[1]
    assert len(own) == 3 and torch.equal(advisor.seen.select(torch.tensor([user]))[1], own)
    assert isinstance(model, EASE)
    fitted = EASE(data.schema)
    fitted.fit(data.views_of("train"))
    assert torch.equal(model.weight, fitted.weight)
    with torch.no_grad():
        scores = model.users(model.encode(advisor.views), torch.tensor([user]))[0]
    torch.testing.assert_close(scores, model.weight[own].sum(0))


def test_conditions_are_asked_for_and_not_explained(tmp_path: Path) -> None:
    world = tmp_path / "data.yaml"
    world.write_text(
        "class_path: SyntheticDomains\n"
        "init_args: {users: 60, rows: 8, items: {movie: 30, book: 30}, "
        "recipe: {split: leave_last_out, val: 1, test: 1}}\n"
    )
    inner = ask(["--data", str(world), "--model", "Ranking", "--model.recommender", "Popularity"]).data
    rows, file = inner.prepared.interactions, tmp_path / "vectors.safetensors"
    write_vectors(file, Vectors(torch.randn(rows.num_users, 8), torch.randn(rows.num_items, 8)), inner.prepared, "GAT")
    whole = tmp_path / "whole.yaml"
    whole.write_text("data: {class_path: EmbeddingDataModule, init_args: {interactions: data.yaml}}\n")
    words = ["--config", str(whole), "--data.vectors", str(file), "--trainer.accelerator", "cpu"]
    frozen = [*words, "--model", "Ranking", "--model.recommender", "DotProduct"]
    advisor, data = ask(frozen)
    user = str(inner.prepared.users["user_id"].iloc[3])
    best = advisor.recommend(user, 5, domain="book")
    codes = {item: code for code, item in enumerate(inner.prepared.items["item_id"])}
    scores = data.frozen.vectors.user[3] @ data.frozen.vectors.item.T  # type: ignore[attr-defined]
    assert [one.score for one in best] == pytest.approx([float(scores[codes[one.item]]) for one in best], abs=1e-5)
    with pytest.raises(InputError, match=r"^DotProduct ranks by the vectors of an earlier run"):
        ask(frozen, None, "explain")
    with pytest.raises(InputError, match="Conditioned is trained, so it can be asked by its checkpoint only"):
        ask([*words, "--model", "Conditioning"])
