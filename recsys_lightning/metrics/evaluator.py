"""The metric state of an evaluation: lists go in batch by batch, figures come out, per user and as means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat, rank_zero_warn

from recsys_lightning.batches import RankingBatch
from recsys_lightning.metrics import lists, ranking
from recsys_lightning.metrics.ranking import NO_ITEM, Ranked, find_hits, mask, pair_keys, tie_priority, top_k
from recsys_lightning.metrics.sampling import Candidates

ACCURACY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "recall": ranking.recall,
    "precision": ranking.precision,
    "ndcg": ranking.ndcg,
    "map": ranking.average_precision,
    "mrr": ranking.reciprocal_rank,
    "hit_rate": ranking.hit_rate,
}
"""Metrics of hits and numbers of relevant items, by the name they are logged under."""

USERS_AT_ONCE = 8_192
"""Per-user values are computed for so many users at a time, which bounds the memory of `compute`."""


class PerUser(NamedTuple):
    """Values of each evaluated user."""

    user: Tensor  # (n,), ascending
    values: dict[str, Tensor]  # (n,) each, NaN where a list has no value
    domain: Tensor | None = None  # (n,) in which they were; users ascend within each


class _Users(NamedTuple):
    """What is kept of each evaluated user: the list and its hits, of which all figures are made in the end."""

    user: Tensor  # (n,)
    num_relevant: Tensor  # (n,)
    profile: Tensor  # (n,), mean popularity of the seen items
    constant: Tensor  # (n,), all scores were equal
    item: Tensor  # (n, K)
    hits: Tensor  # (n, K)
    sampled_hits: Tensor  # (n, K), or (n, 0) without sampling


class RankingMetrics(Metric):
    """Metrics of full ranking: each user's unseen items are ranked, and the top k compared with the relevant ones.

    Definitions, for one user: recall@k = hits / relevant; precision@k = hits / k; ndcg@k has binary gain and its ideal
    over min(k, relevant) ranks; map@k = sum of precision at hits / min(k, relevant); mrr@k = 1 / rank of the first hit;
    hit_rate@k = any hit. Values are means over the users with at least one relevant item, each counted once however
    often it comes. Equal scores are settled by a seeded random permutation of the items; NaN scores are an error.
    Relevant items that are also seen are masked, and so missed. Beside accuracy, see `lists`: novelty, diversity,
    popularity_lift as means over users whose lists have a value; coverage and gini of the catalogue.

    Kept for each user are the list and its hits, and figures are made of them in the order of user ids: they are the
    same for any batch size and any spread of users over processes.

    Args:
        k: cut-offs; lists are as long as the largest.
        num_items: I.
        popularity: (I,) train users of each item.
        num_users: U, users in train.
        genres: (I, G) 0/1, for diversity; None where there are none.
        sampled: m, also rank the relevant items among m random unseen others; such figures end in `_sampled_<m>`.
        seed: of the tie-breaking permutation and the sampled candidates.
    """

    full_state_update = False
    priority: Tensor
    popularity: Tensor
    genres: Tensor | None

    def __init__(
        self,
        k: Sequence[int],
        num_items: int,
        popularity: Tensor,
        num_users: int,
        genres: Tensor | None = None,
        sampled: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not k or min(k) < 1:
            raise ValueError(f"cut-offs are numbers from 1 on, not {list(k)}")
        self.k = sorted(set(k))
        self.num_items = num_items
        self.num_users = num_users
        self.sampled = sampled
        self.candidates = Candidates(num_items, sampled, seed) if sampled else None
        self.register_buffer("priority", tie_priority(num_items, seed), persistent=False)
        self.register_buffer("popularity", popularity.long(), persistent=False)
        self.register_buffer("genres", genres, persistent=False)
        for name in _Users._fields:
            self.add_state(name, [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all users."""
        super().reset()
        self._per_user: PerUser | None = None
        # A process without users takes part in the gathering, with tensors of the right type and width.
        nobody = torch.zeros(0, self.k[-1], device=self.device)
        number = nobody[:, 0]
        self._append(
            _Users(
                user=number.long(),
                num_relevant=number.long(),
                profile=number.double(),
                constant=number.bool(),
                item=nobody.int(),
                hits=nobody.bool(),
                sampled_hits=nobody[:, : self.k[-1] if self.sampled else 0].bool(),
            )
        )

    def update(self, batch: RankingBatch, scores: Tensor) -> None:
        """Rank for a batch of users.

        Args:
            batch: users, what they have seen, what is looked for.
            scores: (B, I), handed over: they are overwritten.

        Raises:
            NonFiniteScores: a score is NaN or +inf.
        """
        if scores.shape != (len(batch.user), self.num_items):
            raise ValueError(f"scores are {tuple(scores.shape)}, not {(len(batch.user), self.num_items)}")
        scores = scores.contiguous()
        mask(scores, batch.seen)
        ranked = top_k(scores, max(self.k[-1], 2), self.priority)  # two scores at least show a constant row
        constant = constant_rows(scores, ranked)
        item = ranked.item[:, : self.k[-1]]
        relevant = pair_keys(batch.relevant, self.num_items)
        hits = find_hits(item, relevant, self.num_items)
        sampled_hits = hits[:, :0]
        if self.candidates is not None:
            seen = pair_keys(batch.seen, self.num_items)
            self.candidates.keep(scores, batch.user, seen, relevant)
            sampled_hits = find_hits(top_k(scores, self.k[-1], self.priority).item, relevant, self.num_items)
        num_relevant = torch.bincount(relevant // self.num_items, minlength=len(scores))
        users = _Users(
            user=batch.user.long(),
            num_relevant=num_relevant,
            profile=self._profile(batch),
            constant=constant,
            item=item.int(),
            hits=hits,
            sampled_hits=sampled_hits,
        )
        counted = num_relevant > 0
        self._append(_Users(*(column[counted] for column in users)))

    def compute(self) -> dict[str, Tensor]:
        """Figures by name, as `ndcg_10`; `users` and `constant_rows` are counts. NaN where nobody was evaluated."""
        users = self._collect()
        per_user = self._values(users)
        self._per_user = PerUser(users.user, per_user)
        figures = {name: value.nanmean() for name, value in per_user.items()}
        for k in self.k:
            exposure = lists.exposure(users.item[:, :k], self.num_items)
            listed = lists.list_popularity(users.item[:, :k], self.popularity)
            figures[f"coverage_{k}"] = lists.coverage(exposure)
            figures[f"gini_{k}"] = lists.gini(exposure)
            figures[f"popularity_lift_{k}"] = lists.popularity_lift(listed, users.profile)
        figures["users"] = torch.tensor(len(users.user), device=users.user.device)
        figures["constant_rows"] = users.constant.sum()
        if users.constant.any():
            rank_zero_warn(
                f"{int(users.constant.sum())} of {len(users.user)} users had the same score for every item, so their "
                "lists are random: the model knows nothing of them, or has collapsed."
            )
        return figures

    def per_user(self) -> PerUser:
        """Values of each user, of all processes, after `compute`."""
        if self._per_user is None:
            raise RuntimeError("compute() comes first")
        return self._per_user

    def _append(self, users: _Users) -> None:
        for name, column in users._asdict().items():
            getattr(self, name).append(column)

    def _collect(self) -> _Users:
        """All users, once each, ascending."""
        columns = _Users(*(dim_zero_cat(getattr(self, name)) for name in _Users._fields))
        user, order = columns.user.sort(stable=True)
        first = torch.ones_like(user, dtype=torch.bool)
        first[1:] = user[1:] != user[:-1]
        return _Users(*(column[order[first]] for column in columns))

    def _profile(self, batch: RankingBatch) -> Tensor:
        """(B,) mean popularity of the items that each user has seen; NaN without any."""
        row, item = batch.seen.long()
        total = torch.zeros_like(batch.user, dtype=torch.long).index_add_(0, row, self.popularity[item])
        return total.double() / torch.bincount(row, minlength=len(batch.user))

    def _values(self, users: _Users) -> dict[str, Tensor]:
        """Everything that has a value for each user."""
        parts = [
            self._values_of(_Users(*(column[start : start + USERS_AT_ONCE] for column in users)))
            for start in range(0, max(len(users.user), 1), USERS_AT_ONCE)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _values_of(self, users: _Users) -> dict[str, Tensor]:
        values = {}
        for k in self.k:
            for name, metric in ACCURACY.items():
                values[f"{name}_{k}"] = metric(users.hits[:, :k], users.num_relevant)
                if self.sampled:
                    sampled = metric(users.sampled_hits[:, :k], users.num_relevant)
                    values[f"{name}_{k}_sampled_{self.sampled}"] = sampled
            values[f"novelty_{k}"] = lists.novelty(users.item[:, :k], self.popularity, self.num_users)
            if self.genres is not None:
                values[f"diversity_{k}"] = lists.intra_list_diversity(users.item[:, :k], self.genres)
        return values


def constant_rows(scores: Tensor, ranked: Ranked) -> Tensor:
    """(B,) bool: rows whose recommendable items, two or more, all have one score."""
    best = ranked.score[:, :1]
    filled = ranked.item != NO_ITEM
    constant = ((ranked.score == best) | ~filled).all(1) & (filled.sum(1) > 1)
    rows = constant.nonzero()[:, 0]
    if len(rows):  # the whole row is looked at only where the list gives cause
        suspects = scores[rows]
        constant[rows] = ((suspects == best[rows]) | (suspects == -torch.inf)).all(1)
    return constant
