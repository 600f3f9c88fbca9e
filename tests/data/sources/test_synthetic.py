"""A world whose tastes are known: it is as asked for, and who knows the tastes ranks best."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from recsys_lightning.batches import Views
from recsys_lightning.data.describe import describe
from recsys_lightning.data.prepare import Prepared, prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import Planted, SyntheticDomains, open_source, synthetic
from recsys_lightning.data.vectors import FrozenVectors, read_vectors, write_vectors
from recsys_lightning.datamodules.datasets import SyntheticDomains as Data
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.domains import metrics_of
from recsys_lightning.metrics.subspaces import readable
from recsys_lightning.models import EASE, DotProduct, Popularity, Recommender
from recsys_lightning.schema import TRAIN

ITEMS = {"movie": 150, "book": 100}
LAST = Recipe(split="leave_last_out", val=1, test=1)


def world(**options: Any) -> SyntheticDomains:
    return SyntheticDomains(Path(), **{"users": 300, "items": ITEMS, "rows": 12, **options})


def table(source: SyntheticDomains) -> pd.DataFrame:
    """A row for each interaction, with the name of its domain."""
    rows = source.read().interactions
    code = np.zeros(rows.num_items, int) if rows.domain is None else rows.domain
    names = np.array(rows.domains or tuple(source.items))
    return pd.DataFrame({"user": rows.user, "item": rows.item, "order": rows.order, "domain": names[code[rows.item]]})


def test_options_and_seed_decide_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    first = table(world())
    pd.testing.assert_frame_equal(first, table(world()))
    monkeypatch.setattr(synthetic, "CELLS", 1)  # one user at a time
    pd.testing.assert_frame_equal(first, table(world()))
    assert not first.equals(table(world(seed=1)))
    assert world().planted().shared.tolist() == world(noise=2).planted().shared.tolist()


@settings(max_examples=25, deadline=None)
@given(
    users=st.integers(3, 40),
    sizes=st.lists(st.integers(8, 30), min_size=1, max_size=3),
    overlap=st.floats(0, 1),
    spread=st.floats(0, 2),
    noise=st.floats(0.01, 5),
    seed=st.integers(0, 99),
)
def test_rows_are_as_asked_for(
    users: int, sizes: list[int], overlap: float, spread: float, noise: float, seed: int
) -> None:
    items = {f"kind{place}": size for place, size in enumerate(sizes)}
    options = {"overlap": overlap, "rows": 4, "spread": spread, "noise": noise, "seed": seed}
    source = world(users=users, items=items, **options)
    rows = table(source)
    assert not rows.duplicated(["user", "item"]).any()
    sizes_of = rows.groupby(["user", "domain"]).size()
    assert sizes_of.min() >= 3 and all(sizes_of[:, name].max() <= size // 2 for name, size in items.items())
    domains = rows.groupby("user")["domain"].nunique()
    assert len(domains) == users
    if len(items) > 1:
        assert (domains == len(items)).sum() == round(overlap * users) and set(domains) <= {1, len(items)}
        alone = rows[rows["user"].map(domains) == 1].groupby("domain")["user"].nunique()
        assert alone.reindex(list(items), fill_value=0).agg(np.ptp) <= 1
    assert all(sorted(line) == list(range(len(line))) for _, line in rows.groupby("user")["order"])


def test_users_without_overlap_have_one_domain() -> None:
    rows = table(world(overlap=0))
    assert rows.groupby("user")["domain"].nunique().eq(1).all()
    assert rows.groupby("domain")["user"].nunique().to_dict() == {"movie": 150, "book": 150}
    assert table(world(overlap=1)).groupby("user")["domain"].nunique().eq(2).all()
    assert table(world(overlap=0.4)).groupby("user")["domain"].nunique().value_counts().to_dict() == {1: 180, 2: 120}


def test_numbers_of_rows_are_log_normal() -> None:
    size = table(world(users=3000, items={"song": 400}, rows=20, spread=0.6)).groupby("user").size()
    assert size.mean() == pytest.approx(20, rel=0.03)
    assert np.log(size).std() == pytest.approx(0.6, rel=0.05)
    assert table(world(spread=0)).groupby(["user", "domain"]).size().eq(12).all()


def test_items_are_as_popular_as_their_weights() -> None:
    source = world(users=2000, items={"song": 300}, noise=1e6, popularity=1.2, rows=5)
    planted, counts = source.planted(), table(source)["item"].value_counts().reindex(range(300), fill_value=0)
    assert planted.popularity.std() == pytest.approx(1.2, rel=0.1)
    assert spearmanr(counts, planted.popularity).statistic > 0.97
    even = table(world(users=2000, items={"song": 300}, noise=1e6, popularity=0, rows=5))["item"].value_counts()
    assert even.max() < 2 * even.mean() and counts.max() > 8 * counts.mean()


def test_items_are_drawn_one_after_the_other_without_replacement() -> None:
    """The chance of each ordered pair is p_i p_j / (1 - p_i), p the softmax of the scores."""
    users, taste = 40_000, np.array([[1.0, -0.5]])
    item, popularity = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.5, 0.5]]), np.array([0.0, 1.0, 0.5, -1.0])
    rng = np.random.default_rng(0)
    length = np.full(users, 2)
    user, chosen = synthetic.draw(np.repeat(taste, users, 0), item, popularity, length, rng)
    assert user.tolist() == np.repeat(np.arange(users), 2).tolist()
    weight = np.exp(item @ taste[0] + popularity)
    p = weight / weight.sum()
    pairs = pd.Series([tuple(pair) for pair in chosen.reshape(-1, 2).tolist()]).value_counts(normalize=True)
    for first, second in permutations(range(4), 2):
        assert pairs[(first, second)] == pytest.approx(p[first] * p[second] / (1 - p[first]), abs=0.01)


def test_order_is_joint_and_says_nothing_of_tastes() -> None:
    source = world(users=1000)
    rows, planted = table(source), source.planted()
    place = rows["order"] / rows.groupby("user")["order"].transform("max")
    assert place.groupby(rows["domain"]).mean().between(0.48, 0.52).all()
    assert abs(spearmanr(place, planted.popularity[rows["item"]]).statistic) < 0.03


@cache
def prepared(**options: Any) -> tuple[Prepared, Planted]:
    source = SyntheticDomains(Path(), **dict(options, items=dict(options.get("items", ITEMS.items()))))
    data = prepare(source, LAST)
    return data, source.planted().aligned(data)


def ndcg(data: Data, views: Views, model: Recommender) -> float:
    model.fit(views)
    state = model.encode(views)
    metrics = metrics_of([10], views, data.prepared.domains)
    for batch in data.test_dataloader():
        metrics.update(batch, model.score_all(model.users(state, batch.user), state))
    return float(metrics.compute()["ndcg_10"])


@pytest.mark.parametrize("items", [ITEMS, {"song": 200}], ids=["two domains", "one domain"])
def test_who_knows_the_tastes_ranks_best(items: dict[str, int]) -> None:
    data = Data(users=600, items=items, rows=15, spread=0.3, recipe=LAST)
    source = data.source
    assert isinstance(source, SyntheticDomains)
    vectors = FrozenVectors(source.planted().aligned(data.prepared).vectors(), "planted", "Planted")
    assert vectors.vectors.user.dim() == (3 if len(items) > 1 else 2)
    views = data.prepared.views(TRAIN, vectors=vectors)
    schema = data.prepared.schema(vectors=vectors)
    oracle, popular = ndcg(data, views, DotProduct(schema)), ndcg(data, views, Popularity(schema))
    ease = max(ndcg(data, views, EASE(schema, regularization)) for regularization in (50.0, 200.0, 800.0))
    assert oracle > 1.2 * ease and ease > 1.2 * popular and oracle > 2 * popular


def test_tastes_can_be_learnt() -> None:
    """The directions that say most of the rows hold all tastes, with nothing but rows to go by."""
    data, planted = prepared(users=1000, items=(("movie", 300), ("book", 300)), rows=25, seed=1)
    rows = data.csr(TRAIN)
    counts = torch.zeros(data.num_users, data.num_items).index_put((rows.row, rows.col), torch.ones(len(rows.col)))
    counts = (counts - counts.mean(0)) / counts.sum(1, keepdim=True).sqrt()
    user = torch.linalg.svd(counts, full_matrices=False).U[:, :24]
    for name, factor in {"shared": planted.shared, **planted.own}.items():
        assert readable(user, torch.from_numpy(factor)) > (0.85 if name == "shared" else 0.7)


def test_vectors_score_as_the_formula_says() -> None:
    data, planted = prepared(users=50, items=(("movie", 60), ("book", 50)), rows=6, noise=0.7, factors=3)
    vectors = planted.vectors()
    assert vectors.user.shape == (data.num_users, 2, 10) and vectors.item.shape == (data.num_items, 10)
    assert vectors.user.dtype == vectors.item.dtype == torch.float32
    for item in range(data.num_items):
        assert data.domain is not None
        code = int(data.domain[item])
        name = data.items["item_id"][item].split("_")[0]
        assert data.domains[code] == name
        taste = planted.shared @ planted.item_shared[item] + planted.own[name] @ planted.item_own[item]
        score = taste / (0.7 * np.sqrt(6)) + planted.popularity[item]
        torch.testing.assert_close(
            vectors.user[:, code] @ vectors.item[item], torch.from_numpy(score).float(), rtol=1e-4, atol=1e-5
        )
        other = planted.shared @ planted.item_shared[item] / (0.7 * np.sqrt(6)) + planted.popularity[item]
        found = vectors.user[:, 1 - code] @ vectors.item[item]
        torch.testing.assert_close(found, torch.from_numpy(other).float(), rtol=1e-4, atol=1e-5)


def test_planted_tastes_are_a_file_of_vectors_like_others(tmp_path: Path) -> None:
    data, planted = prepared(users=50, items=(("movie", 60), ("book", 50)), rows=6)
    write_vectors(tmp_path / "planted.safetensors", planted.vectors(), data, "Planted")
    read = read_vectors(tmp_path / "planted.safetensors", data)
    assert (read.width, read.model) == (13, "Planted") and torch.equal(read.vectors.user, planted.vectors().user)


def test_planted_tastes_follow_the_prepared_data() -> None:
    source = world(users=40, items={"movie": 40, "book": 30}, rows=5)
    whole, data = source.planted(), prepare(source, LAST)
    planted = source.planted().aligned(data)
    assert planted.users.tolist() == data.users["user_id"].tolist()
    assert planted.items.tolist() == data.items["item_id"].tolist() != whole.items.tolist()
    for name, table_of, ids in (("shared", "users", "u00007"), ("item_own", "items", planted.items[5])):
        before, after = (getattr(each, name)[getattr(each, table_of).get_loc(ids)] for each in (whole, planted))
        assert before.tolist() == after.tolist()
    narrow = prepare(source, Recipe(split="leave_last_out", val=1, test=1, only="book"))
    of_books = whole.aligned(narrow)
    assert (of_books.domains, set(of_books.own)) == (("book",), {"book"}) and not of_books.domain.any()
    assert of_books.vectors().user.dim() == 2
    with pytest.raises(InputError, match=r"'u\d+' is not of this synthetic world.*same options"):
        world(users=10, items={"movie": 40, "book": 30}, rows=5).planted().aligned(data)


def test_own_tastes_are_nobody_elses() -> None:
    planted = world(users=2000).planted()
    factors = np.concatenate([planted.shared, *planted.own.values()], 1)
    assert np.abs(np.corrcoef(factors.T) - np.eye(12)).max() < 0.1
    assert planted.taste("book").shape == (2000, 8) and planted.factors == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": {}}, "items names 0 domains; the world has 1 to 127. Say for example"),
        ({"items": {"a b": 60}}, "items: 'a b' is no name of a domain"),
        ({"items": {"movie": 60, "book": 20}}, "items: book has 20 items, and each user takes about 12 of them"),
        ({"users": 1}, "users is 1; a world of 2 domains needs at least as many"),
        ({"rows": 2}, "rows is 2; it must be at least 3"),
        ({"rows": float("nan")}, "rows is nan; it must be at least 3"),
        ({"factors": 0}, "factors is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"overlap": 1.5}, "overlap is 1.5; it is the share of users in all domains, from 0 to 1"),
        ({"overlap": float("nan")}, "overlap is nan"),
        ({"noise": 0}, "noise is 0; it must be above 0"),
        ({"spread": -1}, "spread is -1; it must be at least 0"),
        ({"popularity": float("inf")}, "popularity is inf; it must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        world(**options)


@pytest.mark.parametrize(
    "change",
    [lambda items: {"book": 100, "movie": 150}, lambda items: {**items, "book": 101}],
    ids=["order of domains", "size"],
)
def test_options_tell_worlds_apart(change: Callable[[dict[str, int]], dict[str, int]]) -> None:
    assert world().options() == world().options() != world(items=change(ITEMS)).options()
    assert set(world().options()) == {
        *("users", "items", "overlap", "rows", "spread", "factors", "noise", "popularity", "seed")
    }


def test_one_domain_gives_items_their_type() -> None:
    source = world(items={"song": 60})
    rows = source.read().interactions
    assert (source.item_type, rows.domain, rows.domains) == ("song", None, ())
    assert world().item_type == "item"


def test_ids_sort_as_they_are_numbered() -> None:
    planted = world().planted()
    assert planted.users[[0, -1]].tolist() == ["u00000", "u00299"]
    assert planted.items[[0, 150]].tolist() == ["movie_00000", "book_00000"]
    assert world(users=100_001, rows=3).planted().users[-1] == "u100000"


def test_card(tmp_path: Path) -> None:
    source = open_source("synthetic-domains", tmp_path)
    text = describe(source)
    assert "2,000 have interactions in more than one domain" in text and "planted tastes" in text
    assert "domain movie" in text and "domain book" in text and "Nobody lives here" in text
