from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch

from recsys_lightning.batches import CSR, RankingBatch, Views
from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.loaders import RankingLoader
from recsys_lightning.data.negatives import InBatch, Uniform
from recsys_lightning.data.prepare import Recipe
from recsys_lightning.datamodules.interactions import SCORES_PER_BATCH, InteractionsDataModule
from recsys_lightning.errors import InputError
from tests.data.memory import Memory, interactions, random_interactions
from tests.worlds import DomainSource, MemorySource

RANDOM = Recipe(split="random")


def module(recipe: Recipe = RANDOM, **options: object) -> InteractionsDataModule:
    return InteractionsDataModule(MemorySource(), recipe, **options)  # type: ignore[arg-type]


def pairs(rows: CSR) -> set[tuple[int, int]]:
    return set(zip(rows.row.tolist(), rows.col.tolist(), strict=True))


def rows_of(data: InteractionsDataModule, *splits: str) -> set[tuple[int, int]]:
    rows = data.prepared.interactions.take(data.prepared.mask(*splits))
    return set(zip(rows.user.tolist(), rows.item.tolist(), strict=True))


def ranked(loader: RankingLoader) -> tuple[list[int], set[tuple[int, int]], set[tuple[int, int]]]:
    """Users in order, their seen pairs and their relevant pairs."""
    users: list[int] = []
    seen: set[tuple[int, int]] = set()
    relevant: set[tuple[int, int]] = set()
    for batch in loader:
        assert isinstance(batch, RankingBatch)
        users += batch.user.tolist()
        for found, (row, item) in ((seen, batch.seen), (relevant, batch.relevant)):
            found |= set(zip(batch.user[row].tolist(), item.tolist(), strict=True))
    return users, seen, relevant


@pytest.mark.parametrize("stage", ["fit", "validate"])
@pytest.mark.parametrize("test_views", ["train", "train+val"])
def test_in_training_the_views_hold_train_rows_only(stage: str, test_views: Literal["train", "train+val"]) -> None:
    data = module(test_views=test_views)
    data.setup(stage)
    views = data.views
    assert pairs(views.train) == rows_of(data, "train")
    assert int(views.popularity.sum()) == len(rows_of(data, "train"))
    assert views.graph["user", "rates", "movie"].edge_index.shape[1] == len(rows_of(data, "train"))
    assert int(views.history.mask.sum()) <= len(rows_of(data, "train"))


@pytest.mark.parametrize("stage", ["test", "predict"])
@pytest.mark.parametrize(("test_views", "splits"), [("train", ["train"]), ("train+val", ["train", "val"])])
def test_in_the_end_val_rows_are_seen_where_that_was_asked_for(
    stage: str, test_views: Literal["train", "train+val"], splits: list[str]
) -> None:
    data = module(test_views=test_views)
    data.setup(stage)
    assert pairs(data.views.train) == rows_of(data, *splits)
    assert not pairs(data.views.train) & rows_of(data, "test")


def test_views_are_made_once() -> None:
    data = module()
    assert data.views is data.views_of("train")
    assert data.views_of("train", "val") is not data.views


def test_training_batches_hold_the_train_pairs_once_each() -> None:
    data = module(batch_size=32)
    seen = [
        pair for batch in data.train_dataloader() for pair in zip(*map(torch.Tensor.tolist, batch[:2]), strict=True)
    ]
    assert len(seen) == len(set(seen))
    assert set(seen) == rows_of(data, "train")


def test_negatives_are_never_train_positives_and_often_held_out_ones() -> None:
    data = module()
    train, held_out = rows_of(data, "train"), rows_of(data, "val", "test")
    loader, drawn = data.train_dataloader(), set()
    for epoch in range(20):
        loader.set_epoch(epoch)
        for batch in loader:
            users = batch.user.repeat_interleave(batch.negative.shape[1])
            drawn |= set(zip(users.tolist(), batch.negative.flatten().tolist(), strict=True))
    assert not drawn & train
    assert len(drawn & held_out) > 0.5 * len(held_out)


def test_the_sampler_is_a_choice() -> None:
    batch = next(iter(module(batch_size=16).pair_loader(InBatch())))
    assert torch.equal(batch.negative, batch.item)


def test_evaluation_masks_what_came_before() -> None:
    data = module()
    val, test = data.val_dataloader(), data.test_dataloader()
    assert isinstance(val, RankingLoader)
    for loader, split, before in ((val, "val", ["train"]), (test, "test", ["train", "val"])):
        users, seen, relevant = ranked(loader)
        assert relevant == rows_of(data, split)
        assert users == sorted({user for user, _ in relevant})
        assert seen == {pair for pair in rows_of(data, *before) if pair[0] in set(users)}


def test_predict_is_for_every_user_and_masks_as_test_does() -> None:
    data = module()
    users, seen, relevant = ranked(data.predict_dataloader())
    assert users == list(range(data.schema.num_users))
    assert seen == rows_of(data, "train", "val")
    assert not relevant


def rated(positive: float | None = 4) -> tuple[InteractionsDataModule, set[tuple[int, int]]]:
    """A module of ratings from 0.5 to 5, and its pairs that are no positives."""
    data = InteractionsDataModule(Memory(random_interactions()), Recipe(split="random", positive=positive))
    rows = data.prepared.interactions
    assert rows.rating is not None
    low = rows.take(rows.rating < 4)
    return data, set(zip(low.user.tolist(), low.item.tolist(), strict=True))


@pytest.mark.parametrize("split", ["val", "test", "predict"])
def test_rows_rated_low_are_masked_and_not_held_to_be_found(split: str) -> None:
    data, low = rated()
    loader = {"val": data.val_dataloader, "test": data.test_dataloader, "predict": data.predict_dataloader}[split]()
    assert isinstance(loader, RankingLoader)
    users, seen, relevant = ranked(loader)
    before = rows_of(data, "train") if split == "val" else rows_of(data, "train", "val")
    assert seen == {pair for pair in before if pair[0] in set(users)}
    assert len(seen & low) > 50 and not relevant & low
    assert relevant == (set() if split == "predict" else rows_of(data, split) - low)


def test_rows_rated_low_are_drawn_as_negatives_by_nobody() -> None:
    data, low = rated()
    trained, drawn = set(), torch.zeros(data.schema.num_users, data.schema.num_items)
    for batch in data.pair_loader(Uniform(200)):
        trained |= set(zip(batch.user.tolist(), batch.item.tolist(), strict=True))
        drawn.index_put_((batch.user[:, None], batch.negative), torch.ones(()), accumulate=True)
    train = rows_of(data, "train")
    assert trained == train - low and len(train & low) > 50
    users = {user for user, _ in trained}
    free = {(user, item) for user in users for item in range(data.schema.num_items)} - train
    assert set(map(tuple, drawn.nonzero().tolist())) == free


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_processes_share_the_users_out(processes: int) -> None:
    whole = ranked(module().test_dataloader())
    shares, trained = [], []
    for rank in range(processes):
        data = module(batch_size=64)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=processes, strategy=strategy)  # type: ignore[assignment]
        shares.append(ranked(data.test_dataloader()))
        trained.append(sum(len(batch.user) for batch in data.train_dataloader()))
    assert sorted(user for users, _, _ in shares for user in users) == whole[0]
    assert set().union(*(relevant for _, _, relevant in shares)) == whole[2]
    assert len(set(trained)) == 1 and sum(trained) >= len(rows_of(module(), "train"))


def test_without_val_rows_nothing_is_validated() -> None:
    data = module(replace(RANDOM, val=0))
    assert not data.holds("val") and data.holds("test")
    assert data.val_dataloader() == []
    assert ranked(data.test_dataloader())[2] == rows_of(data, "test")


def test_without_test_rows_testing_is_refused() -> None:
    with pytest.raises(InputError, match=r"no test rows: data\.recipe\.test is 0"):
        module(replace(RANDOM, test=0)).setup("test")


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size"])
def test_batches_hold_something(name: str) -> None:
    with pytest.raises(InputError, match=rf"data\.{name} is -1; it must be at least 1"):
        module(**{name: -1})


def test_evaluation_batches_follow_the_size_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    data = module()
    assert [len(batch.user) for batch in data.predict_dataloader()] == [60]
    monkeypatch.setattr("recsys_lightning.datamodules.interactions.SCORES_PER_BATCH", 40 * 25)
    assert [len(batch.user) for batch in data.predict_dataloader()] == [25, 25, 10]
    assert [len(batch.user) for batch in module(eval_batch_size=50).predict_dataloader()] == [50, 10]
    assert SCORES_PER_BATCH == 1 << 24


def test_the_seed_is_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert module().seed == 0
    first = [batch.user for batch in module().train_dataloader()]
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert module().seed == 7
    other = [batch.user for batch in module().train_dataloader()]
    assert not all(map(torch.equal, first, other))


def test_floors_are_kept_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    assert module().floor_folder == tmp_path / "floors"
    module().prepare_data()
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["world-"]


def test_held_out_rows_change_nothing_that_training_sees() -> None:
    """G5: the rows of val and test may come and go; the tensors of the train stage stay the same, bit for bit."""
    rows = random_interactions()
    label = np.array([0, 0, 0, 1, 2], np.int8)[np.arange(len(rows)) % 5]
    whole = replace(rows, split=label)
    fewer = whole.take((label == 0) | (np.arange(len(rows)) % 2 == 0))
    one, other = (
        InteractionsDataModule(Memory(raw, variant=f"{len(raw)} rows"), Recipe(split="official"))
        for raw in (whole, fewer)
    )
    for data in (one, other):
        data.setup("fit")
    assert len(rows_of(one, "val", "test")) > len(rows_of(other, "val", "test")) > 0
    assert one.schema.fingerprint != other.schema.fingerprint
    assert replace(one.schema, fingerprint="") == replace(other.schema, fingerprint="")
    assert_same_views(one.views, other.views)
    for batch, same in zip(one.train_dataloader(), other.train_dataloader(), strict=True):
        assert all(map(torch.equal, batch, same))


def test_the_recipe_of_the_graph_reaches_schema_and_views() -> None:
    data = module(graph=GraphRecipe(shuffle=1, weight="recency"))
    assert data.schema.edge_weight == "recency" and data.schema.graph == data.typed_graph.digest
    assert data.views.graph["user", "rates", "movie"].weight.max() == 1
    assert data.views_of("train", "val").graph["movie", "rev_rates", "user"].weight.min() > 0
    assert data.typed_graph.attributes["genre"].values == ("block 0", "block 1", "block 2")
    bare = module(graph=GraphRecipe(attributes=[]))
    assert bare.schema.num_nodes == {"user": 60, "movie": 40} == bare.typed_graph.num_nodes
    assert bare.views.graph.node_types == ["user", "movie"]
    assert len({module().schema.graph, data.schema.graph, bare.schema.graph}) == 3
    assert len({module().schema.fingerprint, data.schema.fingerprint, bare.schema.fingerprint}) == 1


def test_files_of_the_graph_lie_below_the_data_root(tmp_path: Path) -> None:
    source = MemorySource()
    source.root = tmp_path
    (tmp_path / "tree.csv").write_text("value,parent\nblock 0,any\n")
    data = InteractionsDataModule(source, RANDOM, graph=GraphRecipe(parents={"genre": "tree.csv"}))
    assert data.schema.num_nodes["genre"] == 4
    with pytest.raises(InputError, match=r"no file .*bush\.csv\. Its folder holds: tree\.csv"):
        InteractionsDataModule(source, RANDOM, graph=GraphRecipe(parents={"genre": "bush.csv"})).schema  # noqa: B018


def assert_same_views(one: Views, other: Views) -> None:
    assert all(map(torch.equal, one.train, other.train))
    assert torch.equal(one.popularity, other.popularity)
    assert all(map(torch.equal, one.history, other.history))
    for store, same in zip(one.graph.edge_stores, other.graph.edge_stores, strict=True):
        assert set(store.keys()) == set(same.keys())
        assert all(torch.equal(store[key], same[key]) for key in store.keys())  # noqa: SIM118


def test_a_user_without_train_rows_is_neither_trained_nor_tested() -> None:
    rows = interactions([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("new", "x")], split=[0, 2, 0, 2, 2])
    data = InteractionsDataModule(
        Memory(rows, variant="new user"), Recipe(split="official", val=0, unseen_items="keep")
    )
    assert data.prepared.users["user_id"].tolist() == ["a", "b"]
    assert ranked(data.test_dataloader())[0] == [0, 1]


USER_COLD = Recipe(split="user_cold", val=0.1, test=0.2, shots=3, reserve=3)


def test_given_rows_are_seen_when_users_are_scored_and_never_trained_on() -> None:
    data = module(USER_COLD, history_length=20)
    given = rows_of(data, "given")
    for stage, test_views in (("fit", "train+val"), ("test", "train"), ("test", "train+val"), ("predict", "train+val")):
        data.test_views = test_views  # type: ignore[assignment]
        data.setup(stage)
        fitting = ["train"] if "fit" in stage or test_views == "train" else ["train", "val"]
        assert pairs(data.fitting_views.train) == rows_of(data, *fitting)
        assert pairs(data.views.train) == rows_of(data, *fitting) | given
        assert data.views.graph["user", "rates", "movie"].edge_index.shape[1] == len(rows_of(data, *fitting, "given"))
        for views, splits in ((data.fitting_views, fitting), (data.views, [*fitting, "given"])):
            assert history_of(views) == rows_of(data, *splits)
    trained = {
        pair for batch in data.train_dataloader() for pair in zip(batch.user.tolist(), batch.item.tolist(), strict=True)
    }
    assert trained == rows_of(data, "train") and not trained & given and len(given) == 3 * 18


def history_of(views: Views) -> set[tuple[int, int]]:
    history = views.history
    return set(zip(history.mask.nonzero()[:, 0].tolist(), history.item[history.mask].tolist(), strict=True))


def test_without_given_rows_everything_is_one_object() -> None:
    for recipe in (RANDOM, replace(USER_COLD, shots=0), Recipe(split="item_cold", shots=2)):
        data = module(recipe)
        assert data.given == () and data.views is data.fitting_views
    data = module(USER_COLD)
    assert data.given == ("given",) and data.views is data.views is not data.fitting_views


def test_given_rows_are_masked_for_their_users() -> None:
    data = module(USER_COLD)
    given, before = rows_of(data, "given"), {"val": ["train"], "test": ["train", "val"]}
    for split, splits in before.items():
        users, seen, relevant = ranked(data.ranking_loader(split))
        assert relevant == rows_of(data, split) and not relevant & seen
        assert seen == {pair for pair in rows_of(data, *splits) | given if pair[0] in set(users)}
        assert {user for user, _ in seen} == set(users)
    users, seen, _ = ranked(data.predict_dataloader())
    assert users == list(range(60)) and seen == rows_of(data, "train", "val") | given


def test_given_rows_change_nothing_that_is_trained_on() -> None:
    """G5: with what is given of new users and without it, the tensors of the training are the same, bit for bit."""
    one, other = (module(replace(USER_COLD, shots=shots)) for shots in (0, 3))
    assert rows_of(one, "val", "test") == rows_of(other, "val", "test") and len(rows_of(other, "given")) == 54
    assert replace(one.schema, fingerprint="", split="") == replace(other.schema, fingerprint="", split="")
    assert one.schema.fingerprint != other.schema.fingerprint
    assert_same_views(one.fitting_views, other.fitting_views)
    for batch, same in zip(one.train_dataloader(), other.train_dataloader(), strict=True):
        assert all(map(torch.equal, batch, same))


@pytest.mark.parametrize("split", ["leave_last_out", "global_time"])
def test_val_rows_are_not_shown_where_they_may_be_later_than_test_rows(
    split: Literal["leave_last_out", "global_time"],
) -> None:
    rows = random_interactions()
    rows = replace(rows, domain=(np.arange(rows.num_items) % 2).astype(np.int8), domains=("book", "movie"))
    recipe = Recipe(split=split, val=0.2, test=0.2)
    data = InteractionsDataModule(Memory(rows), recipe, test_views="train+val")
    if split == "global_time":
        data.setup("test")
        return
    for stage in ("fit", "test", "predict"):
        with pytest.raises(
            InputError, match=r"test_views: train\+val would show models the future: .* book, movie, and"
        ):
            data.setup(stage)
    InteractionsDataModule(Memory(rows), recipe).setup("test")
    alone = InteractionsDataModule(Memory(rows), replace(recipe, only="book"), test_views="train+val")
    alone.setup("test")
    assert pairs(alone.views.train) == rows_of(alone, "train", "val")


# Several domains


def domains(**options: object) -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(), RANDOM, **options)  # type: ignore[arg-type]


def test_batches_of_domains_hold_the_train_pairs_once_with_negatives_of_their_domain() -> None:
    data = domains(batch_size=64)
    found, own = set(), pairs(data.prepared.known("train"))
    domain = data.views.domain
    assert domain is not None
    for batch in data.pair_loader(Uniform(5)):
        found |= set(zip(batch.user.tolist(), batch.item.tolist(), strict=True))
        assert len(domain[batch.item].unique()) == 1 and (domain[batch.negative] == domain[batch.item][:, None]).all()
        user = batch.user[:, None].expand_as(batch.negative)
        assert not own & set(zip(user.flatten().tolist(), batch.negative.flatten().tolist(), strict=True))
    assert found == own == rows_of(data, "train")


def test_negatives_of_domains_know_nothing_of_held_out_rows() -> None:
    """Guarantee G10: val and test rows are drawn like any other item."""
    data = domains(batch_size=64)
    drawn = {
        (int(user), int(item))
        for batch in data.pair_loader(Uniform(50))
        for user, items in zip(batch.user, batch.negative, strict=True)
        for item in items
    }
    assert len(drawn & rows_of(data, "val", "test")) > 0.9 * len(rows_of(data, "val", "test"))


def test_users_are_ranked_in_each_domain_that_they_have_rows_of() -> None:
    data = domains(eval_batch_size=7)
    domain = data.views.domain
    assert domain is not None
    for split, before in (("val", ["train"]), ("test", ["train", "val"])):
        found: set[tuple[int, int]] = set()
        for batch in data.ranking_loader(split):
            users, seen, relevant = ranked([batch])  # type: ignore[arg-type]
            assert {user for user, item in relevant if domain[item] == batch.domain} == set(users)
            assert seen == {pair for pair in rows_of(data, *before) if pair[0] in users}
            found |= {(user, item) for user, item in relevant if domain[item] == batch.domain}
        assert found == rows_of(data, split)


def test_hard_negatives_are_refused_on_several_domains() -> None:
    with pytest.raises(InputError, match=r"these data have 2 \(movie, book\)\. Choose Uniform, Popularity or InBatch"):
        domains().pair_loader(HardNegatives())
