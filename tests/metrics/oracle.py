"""An evaluator written from the definitions alone, in plain Python, one user at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from recsys_lightning.batches import RankingBatch


class Case(NamedTuple):
    """A small evaluation: what every user scored, has seen, and should be shown."""

    scores: torch.Tensor  # (U, I)
    seen: torch.Tensor  # (U, I) bool
    relevant: torch.Tensor  # (U, I) bool
    popularity: torch.Tensor  # (I,)
    genres: torch.Tensor  # (I, G)

    def batch(self, users: torch.Tensor) -> tuple[RankingBatch, torch.Tensor]:
        """Some users, as `RankingMetrics.update` takes them."""
        seen, relevant = self.seen[users].nonzero().T, self.relevant[users].nonzero().T
        return RankingBatch(users, seen, relevant), self.scores[users].clone()


def random_case(seed: int, num_users: int | None = None, num_items: int | None = None, levels: int = 4) -> Case:
    """A case with few score levels, so that most lists hold ties; some users have seen all, some want nothing."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    users = num_users or int(1 + 9 * draw(1))
    items = num_items or int(1 + 39 * draw(1))
    scores = (draw(users, items) * levels).floor() if levels else draw(users, items)
    seen = draw(users, items) < draw(users, 1) * 1.2 - 0.1
    relevant = ~seen & (draw(users, items) < draw(users, 1) - 0.1)
    popularity = (draw(items) * (users + 1)).long()
    return Case(scores, seen, relevant, popularity, (draw(items, 3) < 0.4).float())


def rank(case: Case, user: int, k: int, priority: list[int]) -> list[int]:
    """The user's list: unseen items by score downwards, then by priority."""
    scores = case.scores[user].tolist()
    open_items = [i for i in range(len(scores)) if not case.seen[user, i] and scores[i] > -math.inf]
    return sorted(open_items, key=lambda i: (-scores[i], priority[i]))[:k]


def accuracy(ranked: list[int], wanted: set[int], k: int) -> dict[str, float]:
    """All accuracy metrics of one user."""
    ranks = [r for r, item in enumerate(ranked, 1) if item in wanted]
    ideal = sum(1 / math.log2(r + 1) for r in range(1, min(k, len(wanted)) + 1))
    precision_at_hits = sum((n + 1) / r for n, r in enumerate(ranks))
    return {
        f"recall_{k}": len(ranks) / len(wanted),
        f"precision_{k}": len(ranks) / k,
        f"ndcg_{k}": sum(1 / math.log2(r + 1) for r in ranks) / ideal,
        f"map_{k}": precision_at_hits / min(k, len(wanted)),
        f"mrr_{k}": 1 / ranks[0] if ranks else 0.0,
        f"hit_rate_{k}": float(bool(ranks)),
    }


def diversity(ranked: list[int], genres: list[list[float]]) -> float:
    """1 - mean cosine over pairs of items with genres."""
    known = [genres[i] for i in ranked if any(genres[i])]
    cosines = [
        sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(x) * sum(y))
        for n, x in enumerate(known)
        for y in known[:n]
    ]
    return 1 - sum(cosines) / len(cosines) if cosines else math.nan


def gini(exposure: list[int]) -> float:
    """Mean absolute difference over all pairs, divided by twice the mean."""
    total = sum(exposure)
    differences = sum(abs(a - b) for a in exposure for b in exposure)
    return differences / (2 * len(exposure) * total) if total else math.nan


def mean(values: list[float]) -> float:
    """Mean of the values there are."""
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan


def evaluate(case: Case, ks: list[int], priority: list[int], num_users: int) -> dict[str, float]:
    """Everything that `RankingMetrics.compute` returns, but for the sampled figures."""
    popularity, genres = case.popularity.tolist(), case.genres.tolist()
    users = [u for u in range(len(case.scores)) if case.relevant[u].any()]
    figures: dict[str, float] = {"users": len(users)}
    for k in ks:
        per_user: list[dict[str, float]] = []
        exposure = [0] * len(popularity)
        listed, profiles = [], []
        for u in users:
            ranked = rank(case, u, k, priority)
            novelty = [-math.log2((popularity[i] + 1) / (num_users + 1)) for i in ranked]
            per_user.append(
                accuracy(ranked, set(case.relevant[u].nonzero()[:, 0].tolist()), k)
                | {f"novelty_{k}": mean(novelty), f"diversity_{k}": diversity(ranked, genres)}
            )
            for item in ranked:
                exposure[item] += 1
            profile = [popularity[i] for i in case.seen[u].nonzero()[:, 0].tolist()]
            if ranked and profile:
                listed.append(mean([popularity[i] for i in ranked]))
                profiles.append(mean(profile))
        for name in per_user[0] if per_user else []:
            figures[name] = mean([values[name] for values in per_user])
        figures[f"coverage_{k}"] = sum(n > 0 for n in exposure) / len(exposure)
        figures[f"gini_{k}"] = gini(exposure)
        if profiles and sum(profiles):
            figures[f"popularity_lift_{k}"] = mean(listed) / mean(profiles) - 1
    return figures
