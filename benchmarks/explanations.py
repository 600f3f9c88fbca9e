"""How true explanations are, and what they cost: one model, one command.

    python benchmarks/explanations.py --config FILE [--ckpt_path FILE] [--pairs 200] [--only NAME,...]
    python benchmarks/explanations.py

Five questions: (1) do the terms add up to the score, (2) does an item leave its user's ten best when the five edges
that an explainer names first are really taken away (deletion), as against five random edges of the user and of the
whole graph, (3) do the explainers agree with the exact parts of the score, (4) do explanations change when the
parameters are shuffled, (5) what do recommendations for everybody and 10,000 explanations cost, in passes of the model
over everything. Users of the pairs have at least ten items; their items are drawn from their ten best. Parameters stay
as they were trained: an edge that is taken away is one that the model no longer sees. Times are CPU time on one thread.

Without a configuration only the last question is asked, of an untrained LightGCN on a graph of gowalla's size.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from lightgcn import schema, synthetic
from scipy.stats import spearmanr
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.cli.advice import ask
from recsys_lightning.errors import InputError
from recsys_lightning.explain.advisor import EXPLAINERS, Advisor
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.explain.edges import Edges, attribute_edges, named_for, own_edges, rates, remove, subset
from recsys_lightning.explain.explainers import Effects, Explainer
from recsys_lightning.explain.fidelity import REMOVED, outcome, strongest
from recsys_lightning.explain.gradients import IntegratedGradients
from recsys_lightning.explain.parts import read
from recsys_lightning.explain.protocols import Additive, Influenced, Weighable
from recsys_lightning.explain.ranking import SCORES
from recsys_lightning.models import LightGCN, Recommender
from recsys_lightning.reports.tables import markdown_table

K = 10
PER_USER = 4
EXPLANATIONS = 10_000
COSTS = ("cost", "CPU s", "passes")
NEEDED = {
    "exact": Additive,
    "contrast": Additive,
    "integrated_gradients": Weighable,
    "contrast_integrated_gradients": Weighable,
    "gnn": Weighable,
}
Rows = list[tuple[object, ...]]


class Case(NamedTuple):
    """A user, some of the ten best items, and the edges in question."""

    user: int
    item: Tensor  # (PER_USER,)
    own: Tensor  # (n,)
    hidden: Tensor


def cases(advisor: Advisor, pairs: int) -> Iterator[Case]:
    """Users drawn at random, with items drawn from their ten best; the same ones for every explainer."""
    generator = torch.Generator().manual_seed(0)
    users = (advisor.views.train.degree >= 2 * REMOVED).nonzero()[:, 0].cpu()
    chosen = users[torch.randperm(len(users), generator=generator)[: -(-pairs // PER_USER)]]
    for user in chosen.to(advisor.views.device):
        best = advisor.ranked(user[None], K).item[0]
        best = best[best >= 0]
        item = best[torch.randperm(len(best), generator=generator)[:PER_USER].to(best.device)]
        yield Case(int(user), item, own_edges(advisor.views, int(user)), advisor.seen.select(user[None])[1])


def effects(advisor: Advisor, explainer: Explainer, case: Case) -> Effects:
    """What `recsys explain` finds: the items' attributes are in question too, where the model reads them."""
    edges: dict[tuple[str, str, str], Tensor] = {rates(advisor.catalogue.schema): case.own}
    if explainer.attributes:
        edges |= attribute_edges(advisor.views, advisor.catalogue.schema, case.item)
    return read(explainer.effects(advisor.model, advisor.views, edges, case.user, case.item, advisor.seen))


def own_values(advisor: Advisor, explainer: Explainer, case: Case) -> Tensor:
    """Values (K, n) of the user's own edges."""
    return effects(advisor, explainer, case).values[:, : len(case.own)]


def named(advisor: Advisor, found: Effects, row: int, item: int, own_only: bool) -> Edges:
    """The first edges that an explanation of the item names."""
    places = named_for(advisor.views, found.edges, item).nonzero()[:, 0]
    if own_only:
        places = places[: len(next(iter(found.edges.values())))]
    return subset(found.edges, places[strongest(found.values[row, places])])


def additivity(advisor: Advisor) -> Rows:
    """Largest differences between a score and the sum of its parts."""
    generator = torch.Generator().manual_seed(1)
    sizes = (advisor.model.num_users, advisor.model.num_items)
    user, item = (torch.randint(size, (EXPLANATIONS,), generator=generator).to(advisor.views.device) for size in sizes)
    score = paired_scores(advisor, user, item)
    rows: Rows = [(f"terms of {EXPLANATIONS:,} pairs", scientific(sum(advisor.terms(user, item).values()) - score))]
    if isinstance(advisor.model, Influenced):
        terms, parts = advisor.terms(user, item), advisor.influences(user, item)
        for kind in parts[0]:
            total = torch.tensor([part[kind].total for part in parts], device=item.device)
            rows.append((f"contributions of {kind} to its term", scientific(total - terms[kind])))
    if isinstance(advisor.model, Additive):
        differences = []
        with torch.no_grad():
            for one in user[:50].tolist():
                _, value, rest = advisor.model.contributions(advisor.views, advisor.state, one, item[:100])
                whole = paired_scores(advisor, torch.full_like(item[:100], one), item[:100])
                differences.append(value.sum(1) + rest - whole)
        rows.append(("own items and rest, of 5,000 pairs", scientific(torch.cat(differences))))
    return rows


@torch.no_grad()
def paired_scores(advisor: Advisor, user: Tensor, item: Tensor) -> Tensor:
    """(B,) by the rows of `score_all`: another way than `terms` takes."""
    model, state = advisor.model, advisor.state
    blocks = zip(user.split(500), item.split(500), strict=True)
    found = [model.score_all(model.users(state, u), state).gather(1, i[:, None])[:, 0] for u, i in blocks]
    return torch.cat(found)


def deletion(advisor: Advisor, names: list[str], pairs: int, gnn_pairs: int, anywhere: bool) -> Rows:
    """Share of items that leave the ten best, and the median rank, by what is taken away."""
    ranks: dict[str, list[int]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    generator = torch.Generator().manual_seed(2)
    kind, rows = rates(advisor.catalogue.schema), len(advisor.views.train.col)

    def record(name: str, case: Case, edges: Edges, item: Tensor) -> None:
        after = outcome(advisor.model, remove(advisor.views, edges), case.hidden, case.user, item[None])
        ranks[name].append(int(after.rank))

    for number, case in enumerate(cases(advisor, pairs)):
        for name in names:
            if name == "gnn" and number * PER_USER >= gnn_pairs:
                continue
            start = time.process_time()
            found = effects(advisor, EXPLAINERS[name](), case)
            seconds[name] += time.process_time() - start
            for row, item in enumerate(case.item):
                record(name, case, named(advisor, found, row, int(item), own_only=False), item)
                if len(found.edges) > 1:
                    record(f"{name}, own items only", case, named(advisor, found, row, int(item), own_only=True), item)
                    places = named_for(advisor.views, found.edges, int(item)).nonzero()[:, 0]
                    drawn = torch.randperm(len(places), generator=generator)[:REMOVED].to(item.device)
                    record("random edges of user and item", case, subset(found.edges, places[drawn]), item)
        for item in case.item:
            drawn = torch.randperm(len(case.own), generator=generator)[:REMOVED]
            record("random edges of the user", case, {kind: case.own[drawn.to(item.device)]}, item)
            drawn = torch.randint(rows, (REMOVED,), generator=generator).to(item.device)
            record("random edges of the graph", case, {kind: drawn}, item)
            record("all edges of the user", case, {kind: case.own}, item)
            if anywhere:
                record("integrated gradients of all edges", case, strongest_anywhere(advisor, case, item), item)
    return [
        (
            name,
            len(found),
            sum(rank > K for rank in found) / len(found),
            float(torch.tensor(found).double().median()),
            seconds[name] / len(found) if name in seconds else None,
        )
        for name, found in ranks.items()
    ]


def strongest_anywhere(advisor: Advisor, case: Case, item: Tensor) -> Edges:
    """Of all edges between users and items, those with the largest integrated gradients."""
    every: Edges = {rates(advisor.catalogue.schema): torch.arange(len(advisor.views.train.col), device=item.device)}
    found = IntegratedGradients(steps=8).effects(advisor.model, advisor.views, every, case.user, item[None])
    return subset(every, strongest(found.values[0]))


def agreement(advisor: Advisor, names: list[str], pairs: int, gnn_pairs: int) -> Rows:
    """Spearman of each explainer with the exact parts, and with itself after the parameters were shuffled."""
    shuffled = Advisor(permuted(advisor.model), advisor.views, advisor.catalogue, advisor.seen)
    with_exact: dict[str, list[float]] = defaultdict(list)
    with_itself: dict[str, list[float]] = defaultdict(list)
    for number, case in enumerate(cases(advisor, pairs)):
        exact = own_values(advisor, EXPLAINERS["exact"](), case) if isinstance(advisor.model, Additive) else None
        for name in names:
            if name == "gnn" and number * PER_USER >= gnn_pairs:
                continue
            values, others = (own_values(side, EXPLAINERS[name](), case) for side in (advisor, shuffled))
            with_itself[name] += correlations(values, others)
            if exact is not None and name != "exact":
                with_exact[name] += correlations(values, exact)
    return [
        (name, mean(with_exact[name]), minimum(with_exact[name]), mean(found), len(found))
        for name, found in with_itself.items()
    ]


@torch.no_grad()
def permuted(model: Recommender) -> Recommender:
    """A copy whose parameters (of closed forms: what was fitted) are the same numbers in another order."""
    twin = copy.deepcopy(model)
    torch.manual_seed(0)
    for table in (*twin.parameters(), *twin.buffers()):
        if table.is_floating_point():
            table.copy_(table.flatten()[torch.randperm(table.numel(), device=table.device)].view_as(table))
    return twin


def costs(advisor: Advisor) -> Rows:
    """CPU seconds of a pass, of recommendations for everybody, and of explanations; the least of three rounds."""
    generator = torch.Generator().manual_seed(3)
    device = advisor.views.device
    users = torch.arange(advisor.model.num_users, device=device)
    user, item = (
        torch.randint(size, (EXPLANATIONS,), generator=generator).to(device)
        for size in (advisor.model.num_users, advisor.model.num_items)
    )
    fresh = Advisor(advisor.model, advisor.views, advisor.catalogue, advisor.seen)

    def forward() -> None:
        with torch.no_grad():
            fresh.state = fresh.model.encode(fresh.views)
            for block in users.split(max(1, SCORES // fresh.model.num_items)):
                fresh.model.score_all(fresh.model.users(fresh.state, block), fresh.state)

    def lists() -> None:
        with torch.no_grad():
            fresh.state = fresh.model.encode(fresh.views)
        fresh.ranked(users, K)

    def with_titles() -> None:
        with torch.no_grad():
            fresh.state = fresh.model.encode(fresh.views)
        fresh.recommend_all(k=K)

    def explain() -> None:
        fresh.terms(user, item)
        if isinstance(fresh.model, Influenced):
            for pair in zip(torch.split(user, 1000), torch.split(item, 1000), strict=True):
                fresh.model.influences(fresh.state, *pair)

    def explain_with_names() -> None:
        fresh.terms(user, item)
        fresh.influences(user, item)

    sides: dict[str, Callable[[], None]] = {
        "one pass: encode, and all scores": forward,
        "recommendations for all users, as tensors": lists,
        "recommendations for all users, with ids and titles": with_titles,
        f"{EXPLANATIONS:,} explanations: terms and influences, as tensors": torch.no_grad()(explain),
        f"{EXPLANATIONS:,} explanations: terms and influences, with names": explain_with_names,
    }
    taken: dict[str, float] = dict.fromkeys(sides, float("inf"))
    for _ in range(3):
        for name, side in sides.items():
            start = time.process_time()
            side()
            taken[name] = min(taken[name], time.process_time() - start)
    whole = next(iter(taken.values()))
    return [(name, seconds, seconds / whole) for name, seconds in taken.items()]


def synthetic_advisor() -> Advisor:
    """An untrained LightGCN on as many users, items and pairs as gowalla has."""
    user, item = synthetic()
    num_users, num_items = int(user.max()) + 1, int(item.max()) + 1
    crow = torch.cat([user.new_zeros(1), torch.bincount(user, minlength=num_users).cumsum(0)])
    names = [[f"{number}" for number in range(size)] for size in (num_users, num_items)]
    sizes = schema(num_users, num_items)
    catalogue = Catalogue(sizes, names[0], names[1], names[1])
    return Advisor(LightGCN(sizes), Views(CSR(crow, item), num_items), catalogue)


def correlations(a: Tensor, b: Tensor) -> list[float]:
    """Spearman of each row of (K, n), where both sides vary."""
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return [float(spearmanr(x, y).statistic) for x, y in pairs if len(set(x)) > 1 and len(set(y)) > 1]


def mean(values: list[float]) -> float | None:
    """None of nothing."""
    return sum(values) / len(values) if values else None


def minimum(values: list[float]) -> float | None:
    """None of nothing."""
    return min(values, default=None)


def scientific(differences: Tensor) -> str:
    """The largest of them."""
    return f"{float(differences.abs().max()):.1e}"


def main() -> None:
    """Ask the five questions and print five tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", help="checkpoint of a trained model; closed forms need none")
    parser.add_argument("--pairs", type=int, default=200, help="(user, item) pairs (default 200)")
    parser.add_argument("--gnn_pairs", type=int, default=20, help="pairs for GNNExplainer, which is slow (default 20)")
    parser.add_argument("--only", help="explainers, with commas between")
    parser.add_argument(
        "--anywhere", action="store_true", help="also take away edges of other users, found by gradients"
    )
    options, rest = parser.parse_known_args()
    torch.set_num_threads(1)
    if not rest:
        print(markdown_table(COSTS, costs(synthetic_advisor())))
        return
    try:
        advisor = ask(rest, options.ckpt_path, "explain").advisor
    except InputError as error:
        raise SystemExit(str(error)) from error
    chosen = options.only.split(",") if options.only else list(EXPLAINERS)
    names = [name for name in chosen if isinstance(advisor.model, NEEDED.get(name, Recommender))]
    data, model = advisor.catalogue.schema, type(advisor.model).__name__
    print(f"# {model} on {data.name}, {data.split}\n")
    print(markdown_table(("parts of the score", "largest difference"), additivity(advisor)), flush=True)
    header = ("taken away: the first five of", "pairs", "left the ten best", "median rank", "CPU s a pair")
    rows = deletion(advisor, names, options.pairs, options.gnn_pairs, options.anywhere)
    print(f"\n{markdown_table(header, rows)}", flush=True)
    header = ("Spearman, mean over pairs", "with exact", "least", "with itself, parameters shuffled", "pairs")
    print(f"\n{markdown_table(header, agreement(advisor, names, options.pairs, options.gnn_pairs))}", flush=True)
    print(f"\n{markdown_table(COSTS, costs(advisor))}")


if __name__ == "__main__":
    main()
