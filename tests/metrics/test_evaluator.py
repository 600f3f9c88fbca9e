from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.batches import RankingBatch
from recsys_lightning.metrics import evaluator
from recsys_lightning.metrics.evaluator import RankingMetrics
from recsys_lightning.metrics.ranking import NonFiniteScores, pair_keys

from .oracle import Case, evaluate, random_case

pytestmark = pytest.mark.filterwarnings("ignore:.* users had the same score:UserWarning")


def metrics_for(case: Case, k: list[int], **options: int) -> RankingMetrics:
    users, items = case.scores.shape
    return RankingMetrics(k, items, case.popularity, users, case.genres, **options)


def run(case: Case, k: list[int], batch_size: int = 100, **options: int) -> dict[str, float]:
    """All users through the metric, in batches."""
    metrics = metrics_for(case, k, **options)
    for users in torch.arange(len(case.scores)).split(batch_size):
        metrics.update(*case.batch(users))
    return {name: value.item() for name, value in metrics.compute().items()}


def assert_same(figures: dict[str, float], expected: dict[str, float], tolerance: float = 1e-9) -> None:
    """Every expected figure; what the oracle leaves out is missing here, too."""
    for name, value in figures.items():
        if name != "constant_rows":
            wanted = expected.get(name, math.nan)
            assert value == pytest.approx(wanted, abs=tolerance, nan_ok=True), name
    assert expected.keys() <= figures.keys()


@pytest.mark.parametrize("block", range(10))
def test_equals_the_brute_force_evaluator(block: int) -> None:
    """Guarantee G2: 200 random cases, most with ties, some longer lists than items, all-seen and aimless users."""
    for seed in range(block * 20, block * 20 + 20):
        case = random_case(seed)
        ks = [1, 3, 10] if seed % 2 else [50, 2]
        metrics = metrics_for(case, ks, seed=seed)
        metrics.update(*case.batch(torch.arange(len(case.scores))))
        figures = {name: value.item() for name, value in metrics.compute().items()}
        if figures["users"]:
            assert_same(figures, evaluate(case, ks, metrics.priority.tolist(), len(case.scores)))
        else:
            assert math.isnan(figures[f"ndcg_{ks[0]}"])


def test_equals_torch_geometric_where_definitions_agree() -> None:
    from torch_geometric.metrics import (
        LinkPredAveragePopularity,
        LinkPredCoverage,
        LinkPredHitRatio,
        LinkPredMAP,
        LinkPredMRR,
        LinkPredNDCG,
        LinkPredPrecision,
        LinkPredRecall,
    )

    case = random_case(1, num_users=60, num_items=90, levels=0)
    case = case._replace(seen=case.seen & False)
    case.relevant[:, 0] = True
    k, (users, items) = 7, case.scores.shape
    figures = run(case, [k])
    lists, wanted = case.scores.topk(k).indices, case.relevant.nonzero().T
    others = {
        f"precision_{k}": LinkPredPrecision(k),
        f"recall_{k}": LinkPredRecall(k),
        f"ndcg_{k}": LinkPredNDCG(k),
        f"map_{k}": LinkPredMAP(k),
        f"mrr_{k}": LinkPredMRR(k),
        f"hit_rate_{k}": LinkPredHitRatio(k),
        f"coverage_{k}": LinkPredCoverage(k, items),
    }
    for name, metric in others.items():
        metric.update(lists, wanted)
        assert figures[name] == pytest.approx(float(metric.compute()), abs=1e-6), name
    popular = LinkPredAveragePopularity(k, case.popularity)
    popular.update(lists, wanted)
    lifted = run(case._replace(seen=torch.eye(users, items).bool() & False), [k])[f"popularity_lift_{k}"]
    assert math.isnan(lifted)  # nobody has a profile
    listed = case.popularity[lists].double().mean(1).mean()
    assert float(popular.compute()) == pytest.approx(listed.item(), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_monotone_transforms_and_batch_sizes_change_nothing(seed: int, batch_size: int) -> None:
    """Guarantee G3, bit for bit; scores below zero are scores like any other."""
    case = random_case(seed)
    expected = run(case, [2, 5], sampled=4)
    transforms: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda s: s - 10,
        lambda s: s.exp(),
        lambda s: 3 * s.double() + 1e6,
        lambda s: -1 / (1 + s),
        lambda s: s.bfloat16(),
    ]
    for transform in transforms:
        other = run(case._replace(scores=transform(case.scores)), [2, 5], batch_size, sampled=4)
        assert repr(other) == repr(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_names_of_items_and_users_change_nothing(seed: int) -> None:
    """With distinct scores; with ties the permutation of items decides."""
    case = random_case(seed, levels=0)
    generator = torch.Generator().manual_seed(seed)
    users = torch.randperm(len(case.scores), generator=generator)
    items = torch.randperm(case.scores.shape[1], generator=generator)
    renamed = Case(*(table[users][:, items] for table in case[:3]), case.popularity[items], case.genres[items])
    assert_same(run(renamed, [3, 8]), run(case, [3, 8]))


def test_index_types_and_layout_change_nothing() -> None:
    case = random_case(7, num_users=12, num_items=35)
    batch, scores = case.batch(torch.arange(12))
    expected = run(case, [5], sampled=6)
    metrics = metrics_for(case, [5], sampled=6)
    metrics.update(RankingBatch(*(index.int() for index in batch[:3])), scores.T.contiguous().T)
    assert repr({name: value.item() for name, value in metrics.compute().items()}) == repr(expected)


def test_a_constant_scorer_gets_the_random_expectation_and_is_noticed() -> None:
    users, items, k = 4000, 40, 10
    relevant = torch.zeros(users, items, dtype=torch.bool)
    order = torch.rand(users, items, generator=torch.Generator().manual_seed(0)).argsort(1)
    relevant.scatter_(1, order[:, :3], True)
    case = Case(torch.zeros(users, items), relevant & False, relevant, torch.zeros(items), torch.zeros(items, 1))
    with pytest.warns(UserWarning, match="4000 of 4000 users had the same score for every item"):
        figures = run(case, [k])
    assert figures["constant_rows"] == users
    error = 4 * 0.25 / math.sqrt(users)
    assert figures["recall_10"] == pytest.approx(k / items, abs=error)
    assert figures["precision_10"] == pytest.approx(3 / items, abs=error)


def test_equal_lists_are_not_constant_rows() -> None:
    """The best items tie, one item outside the list does not; masked items are no scores."""
    case = random_case(0, num_users=3, num_items=30)
    scores = torch.ones(3, 30)
    scores[0, 29], scores[1, 28] = 0.5, 7.0
    seen = torch.zeros(3, 30, dtype=torch.bool)
    seen[1, 28] = True
    relevant = torch.zeros(3, 30, dtype=torch.bool)
    relevant[:, 4] = True
    assert run(case._replace(scores=scores, seen=seen, relevant=relevant), [1])["constant_rows"] == 2


@pytest.mark.parametrize("place", ["open", "seen"])
def test_nan_scores_are_an_error(place: str) -> None:
    case = random_case(3, num_users=5, num_items=20)
    case.seen[2, 7] = place == "seen"
    case.scores[2, 7] = math.nan
    with pytest.raises(NonFiniteScores, match="1 users"):
        run(case, [5])


def test_users_who_saw_all_miss_and_have_no_list() -> None:
    case = random_case(0, num_users=2, num_items=6, levels=0)
    relevant = torch.ones(2, 6, dtype=torch.bool)
    seen = torch.zeros(2, 6, dtype=torch.bool)
    seen[0] = True
    metrics = metrics_for(case, [3])
    metrics.update(*case._replace(seen=seen, relevant=relevant).batch(torch.arange(2)))
    figures, (user, values, _) = metrics.compute(), metrics.per_user()
    assert user.tolist() == [0, 1]
    assert values["recall_3"].tolist() == [0.0, 0.5]
    assert values["novelty_3"].isnan().tolist() == [True, False]
    assert figures["novelty_3"] == values["novelty_3"][1]


def test_a_single_item() -> None:
    yes = torch.ones(1, 1, dtype=torch.bool)
    case = Case(torch.tensor([[0.3]]), ~yes, yes, torch.tensor([1]), torch.ones(1, 2))
    figures = run(case, [1, 10])
    assert figures["ndcg_10"] == figures["recall_1"] == figures["coverage_1"] == 1.0
    assert figures["precision_10"] == 0.1
    assert figures["constant_rows"] == 0


def test_users_come_once_sorted_and_only_with_something_relevant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "USERS_AT_ONCE", 3)
    case = random_case(11, num_users=20, num_items=30)
    case.relevant[4] = False
    expected = evaluate(case, [4], metrics_for(case, [4]).priority.tolist(), 20)
    metrics = metrics_for(case, [4])
    for users in ([19, 3, 4], range(10, 20), [0, 0], range(20)):
        metrics.update(*case.batch(torch.tensor(list(users))))
    assert_same({name: value.item() for name, value in metrics.compute().items()}, expected)
    user, values, _ = metrics.per_user()
    assert user.tolist() == [u for u in range(20) if case.relevant[u].any()]
    assert 4 not in user
    assert {value.shape for value in values.values()} == {user.shape}


def test_sampled_figures_rank_the_sample() -> None:
    case = random_case(5, num_users=15, num_items=40)
    metrics = metrics_for(case, [3], sampled=6, seed=2)
    metrics.update(*case.batch(torch.arange(15)))
    figures = {name: value.item() for name, value in metrics.compute().items()}
    batch, scores = case.batch(torch.arange(15))
    keys = [pair_keys(pairs, 40) for pairs in (batch.seen, batch.relevant)]
    assert metrics.candidates is not None
    metrics.candidates.keep(scores, batch.user, *keys)
    expected = evaluate(case._replace(scores=scores), [3], metrics.priority.tolist(), 15)
    assert sum("_sampled_6" in name for name in figures) == 6
    for name in evaluator.ACCURACY:
        assert figures[f"{name}_3_sampled_6"] == pytest.approx(expected[f"{name}_3"], abs=1e-9)
    everything = run(case, [3], sampled=40, seed=2)
    assert everything["ndcg_3_sampled_40"] == everything["ndcg_3"] == figures["ndcg_3"]


def test_reset_and_nobody() -> None:
    case = random_case(2, num_users=8, num_items=20)
    metrics = metrics_for(case, [5])
    with pytest.raises(RuntimeError, match="compute"):
        metrics.per_user()
    for _ in range(2):
        metrics.reset()
        metrics.update(*case.batch(torch.arange(8)))
        assert_same({n: v.item() for n, v in metrics.compute().items()}, run(case, [5]))
    metrics.reset()
    metrics.update(*case._replace(relevant=case.relevant & False).batch(torch.arange(8)))
    figures = metrics.compute()
    assert figures["users"] == 0
    assert figures["ndcg_5"].isnan()


def test_neither_state_nor_tables_reach_a_checkpoint() -> None:
    case = random_case(2, num_users=8, num_items=20)
    metrics = metrics_for(case, [5])
    metrics.update(*case.batch(torch.arange(8)))
    assert not metrics.state_dict()
    assert repr(copy.deepcopy(metrics).compute()) == repr(metrics.compute())


@pytest.mark.parametrize("k", [[], [0], [5, -1]])
def test_cut_offs_are_checked(k: list[int]) -> None:
    with pytest.raises(ValueError, match="cut-offs"):
        metrics_for(random_case(0), k)


def test_scores_of_the_wrong_shape_are_refused() -> None:
    case = random_case(0, num_users=4, num_items=9)
    batch, scores = case.batch(torch.arange(4))
    with pytest.raises(ValueError, match=r"\(4, 8\), not \(4, 9\)"):
        metrics_for(case, [5]).update(batch, scores[:, 1:])


SPREADS = ("even", "padded", "one process without users", "in random order")


def share(spread: str, users: int, rank: int, world: int) -> torch.Tensor:
    """The users of one process."""
    everybody = torch.arange(users)
    if spread == "in random order":
        everybody = torch.randperm(users, generator=torch.Generator().manual_seed(0))
    if spread == "one process without users":
        return everybody[rank :: world - 1] if rank < world - 1 else everybody[:0]
    own = everybody[rank::world]
    return torch.cat([own, everybody[:1]]) if spread == "padded" else own


def one_process(rank: int, folder: str) -> None:
    """Evaluate all spreads in turn as one of three processes, then of two, and leave the results behind."""
    case = random_case(0, num_users=53, num_items=40)
    results = {}
    for world in (3, 2):
        if rank >= world:
            break
        rendezvous = f"file://{folder}/rendezvous-{world}"
        torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
        for spread in SPREADS:
            metrics = metrics_for(case, [3, 10], sampled=5)
            for users in share(spread, 53, rank, world).split(6):
                if len(users):
                    metrics.update(*case.batch(users))
            results[f"{world}, {spread}"] = outcome(metrics)
        torch.distributed.destroy_process_group()
    torch.save(results, Path(folder) / f"{rank}.pt")


def outcome(metrics: RankingMetrics) -> str:
    """Figures and per-user values to the last bit."""
    figures = {name: value.item() for name, value in metrics.compute().items()}
    user, values, _ = metrics.per_user()
    return repr((figures, user.tolist(), {name: value.tolist() for name, value in values.items()}))


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Guarantee G12, bit for bit: a prime number of users over 2 and 3 processes, figures and per-user values."""
    case = random_case(0, num_users=53, num_items=40)
    metrics = metrics_for(case, [3, 10], sampled=5)
    metrics.update(*case.batch(torch.arange(53)))
    expected = outcome(metrics)
    torch.multiprocessing.spawn(one_process, args=(str(tmp_path),), nprocs=3)
    for rank, worlds in enumerate([(3, 2), (3, 2), (3,)]):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert results == {f"{world}, {spread}": expected for world in worlds for spread in SPREADS}
