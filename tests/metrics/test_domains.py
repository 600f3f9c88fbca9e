from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import RankingBatch, Views
from recsys_lightning.metrics import bootstrap
from recsys_lightning.metrics.domains import (
    DomainMetrics,
    macro_values,
    metrics_of,
)
from recsys_lightning.metrics.evaluator import ACCURACY, RankingMetrics
from recsys_lightning.metrics.ranking import NonFiniteScores, mask, tie_priority, top_k
from tests.worlds import csr

from .oracle import Case, evaluate, random_case

pytestmark = pytest.mark.filterwarnings("ignore:.* users had the same score:UserWarning")

NAMES = ("movie", "book", "audio_book")


class World:
    """A case whose items are of several domains, in any order."""

    def __init__(self, seed: int, num_users: int | None = None, levels: int = 4) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.names = NAMES[: 2 + seed % 2]
        self.case = random_case(seed, num_users, num_items=12 + seed % 19, levels=levels)
        size = self.case.scores.shape[1]
        every = torch.arange(len(self.names))
        drawn = torch.randint(len(self.names), (size - len(every),), generator=generator)
        self.domain = torch.cat([every, drawn])[torch.randperm(size, generator=generator)]

    @property
    def views(self) -> Views:
        return Views(csr(self.case.seen), len(self.domain), genres=self.case.genres, domain=self.domain)

    def metrics(self, k: list[int], **options: int) -> DomainMetrics:
        return DomainMetrics(k, self.views, self.case.popularity, self.names, **options)

    def inside(self, code: int) -> Case:
        """What is left of the case in a world that has one domain only."""
        items = [item for item in range(len(self.domain)) if int(self.domain[item]) == code]
        tables = [table[:, items] for table in self.case[:3]]
        return Case(*tables, self.case.popularity[items], self.case.genres[items])

    def measured(self, k: list[int], batch_size: int = 100, scores: Tensor | None = None, **options: int):
        """The figures, users coming in batches, and the metric."""
        metrics = self.metrics(k, **options)
        case = self.case if scores is None else self.case._replace(scores=scores)
        for code in range(len(self.names)):
            for users in torch.arange(len(case.scores)).split(batch_size):
                batch, rows = case.batch(users)
                metrics.update(batch._replace(domain=code), rows)
        return {name: value.item() for name, value in metrics.compute().items()}, metrics


def expected(world: World, ks: list[int]) -> list[dict[str, float]]:
    """What the oracle says of each domain by itself; nothing of a domain where nobody wants anything."""
    found = []
    for code in range(len(world.names)):
        case, every = world.inside(code), tie_priority(len(world.domain)).tolist()
        priority = [every[item] for item in range(len(every)) if int(world.domain[item]) == code]
        figures = evaluate(case, ks, priority, len(case.scores))
        found.append(figures if figures["users"] else {"users": 0.0})
    return found


@pytest.mark.parametrize("block", range(5))
def test_each_domain_equals_the_brute_force_evaluator_of_that_domain_alone(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        world = World(seed)
        ks = [1, 3, 10] if seed % 2 else [20, 2]
        figures, _ = world.measured(ks)
        oracle = expected(world, ks)
        for name, own in zip(world.names, oracle, strict=True):
            for figure, value in own.items():
                assert figures[f"{figure}_{name}"] == pytest.approx(value, abs=1e-9, nan_ok=True), (figure, name)
        assert figures["users"] == sum(own["users"] for own in oracle)
        for figure in (f"{metric}_{k}" for metric in ACCURACY for k in ks):
            known = [own[figure] for own in oracle if own["users"]]
            mean, worst = (sum(known) / len(known), min(known)) if known else (math.nan, math.nan)
            assert figures[figure] == pytest.approx(mean, abs=1e-9, nan_ok=True)
            assert figures[f"{figure}_worst"] == pytest.approx(worst, abs=1e-9, nan_ok=True)


def test_figures_of_which_less_may_be_better_have_no_worst() -> None:
    figures, _ = World(3, num_users=9).measured([5], sampled=3)
    bases = {name.removesuffix("_worst") for name in figures if name.endswith("_worst")}
    assert bases == {f"{metric}_5{end}" for metric in ACCURACY for end in ("", "_sampled_3")}


def test_domains_weigh_alike_however_many_users_they_have() -> None:
    """Nine users who hit in one domain, one who misses in the other: 0.5, and the worst is 0."""
    size = 6
    scores = torch.arange(float(size)).repeat(10, 1)
    domain = torch.tensor([0, 0, 0, 1, 1, 1])
    relevant = torch.zeros(10, size, dtype=torch.bool)
    relevant[:9, 2], relevant[9, 3] = True, True
    world = World(0)
    world.case, world.domain, world.names = (
        Case(scores, relevant & False, relevant, torch.ones(size), torch.ones(size, 1)),
        domain,
        NAMES[:2],
    )
    figures, _ = world.measured([1])
    assert figures["ndcg_1_movie"] == 1 and figures["ndcg_1_book"] == 0
    assert figures["ndcg_1"] == 0.5 and figures["ndcg_1_worst"] == 0
    assert (figures["users"], figures["users_movie"], figures["users_book"]) == (10, 9, 1)


def test_a_domain_in_which_nobody_is_evaluated_is_left_out_of_the_mean() -> None:
    world = World(4, num_users=9, levels=0)
    book = world.domain == 1
    world.case = world.case._replace(relevant=(world.case.relevant | ~world.case.seen) & ~book)
    figures, metrics = world.measured([3])
    assert figures["users_book"] == 0 and math.isnan(figures["ndcg_3_book"])
    assert math.isnan(figures["coverage_3_book"]) and figures["coverage_3"] == figures["coverage_3_movie"] > 0
    assert figures["users_movie"] > 0
    assert figures["ndcg_3"] == figures["ndcg_3_worst"] == figures["ndcg_3_movie"] > 0
    assert metrics.per_user().domain is not None and set(metrics.per_user().domain.tolist()) == {0}
    world.case = world.case._replace(relevant=world.case.relevant & False)
    nothing, _ = world.measured([3])
    assert nothing["users"] == 0 and math.isnan(nothing["ndcg_3"]) and math.isnan(nothing["ndcg_3_worst"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.floats(-100, 100))
def test_what_is_done_to_the_scores_of_one_domain_changes_nothing(seed: int, batch_size: int, constant: float) -> None:
    """Guarantee G3 with several domains: each has its own scale."""
    world = World(seed)
    plain, _ = world.measured([2, 5], sampled=4)
    scores, inside = world.case.scores, world.domain == 1
    for other in (torch.where(inside, scores.exp() - 1000, scores), torch.where(inside, scores, scores + constant)):
        changed, _ = world.measured([2, 5], batch_size, other, sampled=4)
        assert repr(changed) == repr(plain)


def test_users_have_their_values_in_each_domain() -> None:
    world = World(5, num_users=30)
    figures, metrics = world.measured([4], batch_size=7)
    user, values, domain = metrics.per_user()
    assert domain is not None
    for code, name in enumerate(world.names):
        own = domain == code
        wants = world.inside(code).relevant.any(1).nonzero()[:, 0]
        assert user[own].tolist() == wants.tolist()
        assert float(values["ndcg_4"][own].mean()) == pytest.approx(figures[f"ndcg_4_{name}"], abs=1e-12)
    metrics.reset()
    assert metrics.compute()["users"] == 0


def test_sampled_candidates_are_of_the_domain() -> None:
    """Among more candidates than the domain has items, the sampled figure is the full one."""
    figures, _ = World(6, num_users=9).measured([3], sampled=40)
    for name in ("", "_movie", "_book", "_worst"):
        assert figures[f"ndcg_3_sampled_40{name}"] == figures[f"ndcg_3{name}"]


def test_scores_that_are_no_numbers_are_an_error_in_their_domain() -> None:
    world = World(8, num_users=4)
    item = int((world.domain == 1).nonzero()[0])
    world.case.scores[2, item] = math.nan
    world.case.seen[2, item] = False
    with pytest.raises(NonFiniteScores):
        world.measured([3])


def test_nothing_reaches_a_checkpoint() -> None:
    assert not World(0).measured([3])[1].state_dict()


def test_index_types_change_nothing() -> None:
    world = World(9, num_users=8)
    plain, _ = world.measured([3], sampled=2)
    metrics = world.metrics([3], sampled=2)
    for code in range(len(world.names)):
        batch, rows = world.case.batch(torch.arange(8))
        metrics.update(RankingBatch(*(index.int() for index in batch[:3]), domain=code), rows.T.contiguous().T)
    assert repr({name: value.item() for name, value in metrics.compute().items()}) == repr(plain)


def test_the_data_say_what_is_measured() -> None:
    world = World(2, num_users=5)
    several = metrics_of([3], world.views, world.names)
    assert isinstance(several, DomainMetrics)
    plain = Views(world.views.train, world.views.num_items)
    one = metrics_of([3], plain, (), sampled=2)
    assert isinstance(one, RankingMetrics) and one.sampled == 2
    assert torch.equal(one.popularity, plain.popularity)


@pytest.mark.parametrize("seed", range(4))
def test_lists_settle_ties_as_the_metrics_do(seed: int) -> None:
    """What is recommended in a domain is what was measured there."""
    world = World(seed, num_users=6)
    priority = tie_priority(len(world.domain))
    _, metrics = world.measured([4])
    wanted = world.case.relevant.any(1)
    for code, items in enumerate(world.views.members):
        scores = world.case.scores.clone()
        mask(scores, world.case.seen.nonzero().T)
        scores[:, world.domain != code] = -torch.inf
        part: Any = metrics.parts[code]
        users = torch.cat(part.user).tolist()
        listed = {user: row for user, row in zip(users, torch.cat(part.item).tolist(), strict=True)}
        for user, row in listed.items():
            chosen = top_k(scores, 4, priority).item[user]
            assert [int(items[item]) if item >= 0 else -1 for item in row] == chosen.tolist()
    assert wanted.any()


def test_values_of_users_have_the_macro_mean_and_its_spread() -> None:
    """Against many draws of whole users with all they have, the mean of the domains' means taken anew."""
    rng = np.random.default_rng(0)
    users, own = 300, []
    taste = rng.random(users)
    for code, share in enumerate((1.0, 0.4)):
        inside = np.flatnonzero(rng.random(users) < share)
        own.append((inside, np.full(len(inside), code), taste[inside] * 0.5 + rng.random(len(inside)) * 0.3 + code))
    user, domain, value = (np.concatenate(column) for column in zip(*own, strict=True))
    found = bootstrap.mean_interval(macro_values(value, user, domain))
    assert found.mean == pytest.approx(np.mean([values.mean() for _, _, values in own]), abs=1e-12)
    table = np.full((2, users), np.nan)
    table[domain, user] = value
    draws = [np.nanmean(table[:, rng.integers(0, users, users)], 1).mean() for _ in range(4000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=(high - low) / 15)


def test_values_of_users_of_one_domain_are_those_values_and_seeds_stay_apart() -> None:
    value = np.random.default_rng(1).random((3, 20))
    assert macro_values(value, np.arange(20), np.zeros(20)) == pytest.approx(value)
    shuffled = np.random.default_rng(2).permutation(20)
    assert macro_values(value[:, shuffled], shuffled, np.zeros(20)) == pytest.approx(value)
