"""What an evaluation must guarantee (G5, G7, G10), seen from outside: data in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from recsys_lightning.data.audit.future import future
from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.data.negatives import InBatch, NegativeSampler, Popularity, Uniform
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import Table
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models import Recommender
from recsys_lightning.models.profiles import interactions, own_items, profile
from recsys_lightning.models.relations import relations
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.ranking import Ranking
from tests.data.memory import Memory, random_interactions
from tests.guarantees import GRAPHS, MODELS, TEXTS, Seen, all_rows, every_model, every_third, held_out, run, scores
from tests.tasks.test_base import trainer
from tests.worlds import MemorySource

pytestmark = pytest.mark.usefixtures("seeded")


# G7: the future


@dataclass(frozen=True)
class Fashions:
    """A stream in which a period says nothing of the next one, and everything of itself.

    In each period users are thrown into new groups, and each group into a random set of items of which every member
    takes some. Who knows a part of a period knows the rest of it; who knows all earlier ones knows nothing.
    """

    users: int = 120
    items: int = 400
    periods: int = 10
    group: int = 12
    taken: int = 6

    def table(self) -> pd.DataFrame:
        random = np.random.default_rng(0)
        parts = []
        for period in range(self.periods):
            groups = random.permutation(self.users).reshape(-1, self.group)
            for members in groups:
                offered = random.choice(self.items, 2 * self.taken, replace=False)
                item = np.stack([random.choice(offered, self.taken, replace=False) for _ in members])
                user = np.repeat(members, self.taken)
                time = 1_000_000_000 + period * 1000 + random.integers(0, 1000, len(user))
                parts.append(pd.DataFrame({"user_id": user, "item_id": item.ravel(), "timestamp": time}))
        table = pd.concat(parts).drop_duplicates(["user_id", "item_id"])  # who has an item does not take it again
        return table.astype({"user_id": str, "item_id": str})

    def data(self, split: str) -> InteractionsDataModule:
        table = self.table()
        last = (table["timestamp"] >= 1_000_000_000 + (self.periods - 1) * 1000).sum()  # the last period is test
        sizes = {"val": 0, "test": int(last) if split == "global_time" else 1 / self.periods}
        source = Table(Path(), table, Columns(timestamp="timestamp"), name="fashions")
        return InteractionsDataModule(source, Recipe(split=split, **sizes), batch_size=512)  # type: ignore[arg-type]

    def chance(self, data: InteractionsDataModule) -> float:
        """Expected recall of ten random items among those that a user has not seen, over the users of the test."""
        tested = data.prepared.csr("test").degree > 0
        unseen = data.schema.num_items - data.prepared.csr("train", "val").degree[tested]
        return float((10 / unseen).mean())


@every_model
def test_g7_a_future_that_tells_the_answer_is_out_of_reach(
    tmp_path: Path, model: Callable[[Schema], Recommender]
) -> None:
    world = Fashions()
    data = world.data("global_time")
    task = run(tmp_path, model, data, epochs=20)
    # the mean of 720 hits or misses of chance .03 strays by .006
    assert task.results["test/recall_10"] == pytest.approx(world.chance(data), abs=0.02)
    figures = future(data.prepared.interactions)
    assert figures is not None and figures.history == 0
    assert "0.0% of the test interactions are older" in (tmp_path / "report.md").read_text().replace("\n", " ")


@pytest.mark.parametrize("name", ["ItemKNN", "EASE", "GFCF", "LightGCN"])
def test_g7_a_random_split_lets_it_in_and_the_report_says_so(tmp_path: Path, name: str) -> None:
    world = Fashions()
    data = world.data("random")
    task = run(tmp_path, MODELS[name], data, epochs=20)
    assert task.results["test/recall_10"] > 2 * world.chance(data)
    figures = future(data.prepared.interactions)
    assert figures is not None and figures.history > 0.5
    assert f"{figures.history:.1%} of the test interactions are older" in (tmp_path / "report.md").read_text()


# G5 and G10: what is held out


def graph_parts(data: InteractionsDataModule) -> list[Tensor]:
    """All that models read off the graph that training sees."""
    schema, views = data.schema, data.views_of("train")
    weighted, graph = interactions(schema), views.graph
    found: list[object] = list(views.derive(relations(schema)).values())
    found.append(views.derive(own_items(weighted)))
    for kind, size in schema.num_nodes.items():
        if kind not in ("user", "movie"):
            found.append(views.derive(profile(("movie", f"has_{kind}", kind), size, weighted)))
    found += [list(store.values()) for store in graph.stores]
    return list(tensors(found))


def tensors(parts: object) -> Iterator[Tensor]:
    if isinstance(parts, Tensor):
        yield parts
    elif isinstance(parts, list | tuple):
        for part in parts:
            yield from tensors(part)


@every_model
@pytest.mark.parametrize("test_views", ["train", "train+val"])
def test_g5_no_score_depends_on_a_test_row(
    tmp_path: Path, model: Callable[[Schema], Recommender], test_views: str
) -> None:
    whole, fewer = (held_out(keep, test_views=test_views) for keep in (all_rows, every_third))
    assert whole.prepared.mask("test").sum() > 2 * fewer.prepared.mask("test").sum() > 0
    tasks = [run(tmp_path / str(n), model, data) for n, data in enumerate((whole, fewer))]
    assert tasks[0].results["test/recall_10"] != tasks[1].results["test/recall_10"]
    assert torch.equal(scores(tasks[0], whole), scores(tasks[1], fewer))


def test_g5_a_train_row_does_change_the_scores(tmp_path: Path) -> None:
    """What the test above would miss if scores depended on nothing."""
    tasks = [run(tmp_path / str(seed), MODELS["EASE"], held_out(all_rows, seed)) for seed in (0, 1)]
    found = [scores(task, held_out(all_rows, seed)) for seed, task in enumerate(tasks)]
    assert found[0].shape == found[1].shape and not torch.equal(*found)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=list(GRAPHS))
@pytest.mark.parametrize("split", ["val", "test"])
def test_g5_the_graph_of_train_is_the_same_whatever_is_held_out(split: str, graph: GraphRecipe) -> None:
    whole, fewer = (held_out(keep, split=split, graph=graph) for keep in (all_rows, every_third))
    assert whole.prepared.mask(split).sum() > 2 * fewer.prepared.mask(split).sum() > 0
    assert whole.schema.fingerprint != fewer.schema.fingerprint
    assert replace(whole.schema, fingerprint="") == replace(fewer.schema, fingerprint="")
    parts, others = graph_parts(whole), graph_parts(fewer)
    assert len(parts) == len(others) > 30
    assert all(map(torch.equal, parts, others))
    other_train = graph_parts(held_out(all_rows, seed=1, graph=graph))
    assert not all(map(torch.equal, parts, other_train))


@pytest.mark.parametrize("graph", list(GRAPHS.values())[1:], ids=list(GRAPHS)[1:])
def test_g5_no_score_depends_on_a_test_row_through_weights_and_features(tmp_path: Path, graph: GraphRecipe) -> None:
    data = [held_out(keep, graph=graph) for keep in (all_rows, every_third)]
    tasks = [run(tmp_path / str(n), MODELS["GenreGAT"], module) for n, module in enumerate(data)]
    assert torch.equal(scores(tasks[0], data[0]), scores(tasks[1], data[1]))


def unseen_items(number: int) -> InteractionsDataModule:
    """Items i20 to i29 occur in test only, the first so many of them: films of years to come, in words unheard of."""
    rows = random_interactions()
    code = np.array([int(name[1:]) for name in rows.item_ids.to_pylist()])
    label = np.where(code[rows.item] >= 20, 2, np.arange(len(rows)) % 5 == 0).astype(np.int8)
    plots = [f"hero{item % 5} meets villain{item % 3}" + (" of hero1, an alien" if item >= 20 else "") for item in code]
    items = pd.DataFrame({"year": np.where(code < 20, 1980.0 + code, 2100.0 + code), "plot": plots})
    items.index = rows.item_ids.to_pandas()
    some = replace(rows, split=label).take(code[rows.item] < 20 + number)
    source, recipe = Memory(some, items, variant=f"{number} unseen"), Recipe(split="official", unseen_items="keep")
    graph = GraphRecipe(attributes=[], context=["year"], features=["year"])
    return InteractionsDataModule(source, recipe, graph=graph, text=TEXTS)


def test_g5_texts_and_numbers_of_held_out_items_change_nothing_that_training_reads() -> None:
    parts = []
    for number in (0, 10):
        data = unseen_items(number)
        views, known = data.views_of("train"), data.prepared.in_train
        assert (known.sum(), (~known).sum()) == (20, number) and known[:20].all()
        films, history = views.graph["movie"], views.history
        told = [history.item.where(history.mask, -1), *history[1:]]  # the padding is the number of items
        assert len(films.context) == len(views.text.overview) == 20 + number
        parts.append([views.text.overview[:20], films.context[:20], films.x[:20], *told])
    assert all(map(torch.equal, *parts))


@pytest.mark.parametrize("sampler", [Uniform(2), Popularity(2), InBatch()], ids=lambda sampler: type(sampler).__name__)
def test_g10_negatives_do_not_depend_on_the_test_rows(sampler: NegativeSampler) -> None:
    drawn = []
    for keep in (all_rows, every_third):
        loader = held_out(keep).pair_loader(sampler)
        drawn.append([tensor for batch in loader for tensor in batch])
    assert len(drawn[0]) == len(drawn[1]) > 5
    assert all(map(torch.equal, *drawn))


@pytest.mark.parametrize("sampler", [Uniform, Popularity, InBatch])
def test_g10_negatives_depend_neither_on_the_graph_nor_on_the_neighbours_drawn(
    tmp_path: Path, sampler: Callable[[], NegativeSampler]
) -> None:
    streams = []
    for number, (name, graph) in enumerate([("MF", PLAIN), ("GenreGAT-sampled", GRAPHS["ratings and features"])]):
        seen = Seen()
        task = Ranking(MODELS[name], seen, sampler(), k=[10])
        trainer(tmp_path / str(number), max_epochs=2).fit(task, held_out(all_rows, graph=graph))
        streams.append([tensor for batch in seen.batch for tensor in batch])
    assert len(streams[0]) == len(streams[1]) > 20
    assert all(map(torch.equal, *streams))


def test_g10_held_out_items_are_drawn_as_often_as_any_other() -> None:
    data = held_out(all_rows)
    size = (data.schema.num_users, data.schema.num_items)
    drawn, train, later = torch.zeros(size), torch.zeros(size), torch.zeros(size)
    for batch in data.pair_loader(Uniform(50)):
        drawn.index_put_((batch.user[:, None], batch.negative), torch.ones(()), accumulate=True)
    for matrix, splits in ((train, ["train"]), (later, ["val", "test"])):
        rows = data.prepared.csr(*splits)
        matrix[rows.row, rows.col] = 1
    assert (drawn * train).sum() == 0
    expected = (1 - train) * drawn.sum(1, keepdim=True) / (1 - train).sum(1, keepdim=True)
    ratio = (drawn * later).sum() / (expected * later).sum()
    assert float(ratio) == pytest.approx(1, abs=0.05)


# New users: what is given of them is what they are scored by


def new_users(shots: int) -> InteractionsDataModule:
    """Users and items of three groups, a tenth of the users new and five rows of each kept from the test."""
    recipe = Recipe(split="user_cold", val=0.1, test=0.2, shots=shots, reserve=5)
    return InteractionsDataModule(MemorySource(num_users=200, num_items=60), recipe, batch_size=256)


@pytest.mark.parametrize("name", ["ItemKNN", "EASE"])
def test_new_users_are_found_out_by_what_is_given_and_by_nothing_else(tmp_path: Path, name: str) -> None:
    found = {shots: run(tmp_path, MODELS[name], new_users(shots)).results for shots in (0, 5)}
    data = new_users(0)
    candidates = data.schema.num_items
    assert found[0]["test/users"] == found[5]["test/users"] == 40 == found[0]["test/constant_rows"]
    assert found[5]["test/constant_rows"] == 0
    # 40 lists of the same ten items at random: recall .17 with a deviation of some .06 over the choice of the ten
    assert found[0]["test/recall_10"] == pytest.approx(10 / candidates, abs=0.12)
    # who knows the group has ten of the twenty items in question, less what is given
    assert found[5]["test/recall_10"] > 2 * 10 / candidates


@every_model
@pytest.mark.parametrize("shots", [0, 3])
def test_every_model_is_trained_beside_new_users(
    tmp_path: Path, model: Callable[[Schema], Recommender], shots: int
) -> None:
    results = run(tmp_path, model, new_users(shots)).results
    assert results["test/users"] == 40 and 0 <= results["test/ndcg_10"] <= 1


@pytest.mark.parametrize("name", ["MF", "LightGCN", "GenreGAT", "HybridRecommender"])
def test_g5_what_is_given_changes_nothing_in_training(tmp_path: Path, name: str) -> None:
    trained = [run(tmp_path, MODELS[name], new_users(shots)).recommender.state_dict() for shots in (0, 5)]
    assert all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0])
