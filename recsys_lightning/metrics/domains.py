"""Ranking metrics of data of several domains: each domain's items are ranked by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recsys_lightning.batches import RankingBatch, Views
from recsys_lightning.metrics.evaluator import PerUser, RankingMetrics

ALL, WORST = "", "worst"
COUNTS = ("users", "constant_rows")
"""Figures that are added up over domains; all others are averaged."""


class DomainMetrics(nn.Module):
    """`RankingMetrics` of each domain, and what they are together.

    A figure of one domain bears its name, as `ndcg_10_book`. Without a name it is the mean over the domains, each
    counting alike however many users it has (macro); `worst` is the least of them. Users count once for each domain
    in which they are evaluated.

    Args:
        k: cut-offs.
        views: what models see; its item domains say what is ranked with what.
        popularity: (I,) train users of each item.
        domains: names.
        sampled: as of `RankingMetrics`.
        seed: likewise.
    """

    def __init__(
        self,
        k: Sequence[int],
        views: Views,
        popularity: Tensor,
        domains: Sequence[str],
        sampled: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        assert views.domain is not None
        self.domains = tuple(domains)
        self.members = [(views.domain == code).nonzero()[:, 0] for code in range(len(domains))]
        local = torch.empty_like(views.domain)
        for items in self.members:
            local[items] = torch.arange(len(items), device=local.device)
        self.local, self.domain = local, views.domain
        self.parts = nn.ModuleList(
            RankingMetrics(
                k,
                num_items=len(items),
                popularity=popularity[items],
                num_users=views.num_users,
                genres=None if views.genres is None else views.genres[items],
                sampled=sampled,
                seed=seed,
            )
            for items in self.members
        )

    def reset(self) -> None:
        """Forget all users."""
        for part in self._parts:
            part.reset()

    def update(self, batch: RankingBatch, scores: Tensor) -> None:
        """Rank for a batch of users.

        Args:
            batch: users, what they have seen, what is looked for, and the domain.
            scores: (B, I) of the whole catalogue.
        """
        assert batch.domain is not None
        code = batch.domain
        pairs = (self._inside(batch.seen, code), self._inside(batch.relevant, code))
        self._parts[code].update(RankingBatch(batch.user, *pairs), scores[:, self.members[code]])

    def compute(self) -> dict[str, Tensor]:
        """Figures by name: together, of the worst domain, and of each; NaN where nobody was evaluated."""
        found = {name: part.compute() for name, part in zip(self.domains, self._parts, strict=True)}
        names = found[self.domains[0]]
        figures: dict[str, Tensor] = {}
        for name in names:
            values = torch.stack([found[domain][name].double() for domain in self.domains])
            figures[name] = values.sum() if name in COUNTS else values.nanmean()
            if name not in COUNTS:
                known = values[~values.isnan()]
                figures[f"{name}_{WORST}"] = known.min() if len(known) else values[0]
        for domain in self.domains:
            figures |= {f"{name}_{domain}": value for name, value in found[domain].items()}
        return figures

    def per_user(self) -> PerUser:
        """Values of each user in each domain, domain after domain, after `compute`."""
        parts = [part.per_user() for part in self._parts]
        user = torch.cat([part.user for part in parts])
        domain = torch.cat([torch.full_like(part.user, code) for code, part in enumerate(parts)])
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        return PerUser(user, values, domain)

    @property
    def _parts(self) -> list[RankingMetrics]:
        return [part for part in self.parts if isinstance(part, RankingMetrics)]

    def _inside(self, pairs: Tensor, code: int) -> Tensor:
        """Pairs (row, item) of the domain's items, by their place in the domain."""
        pairs = pairs[:, self.domain[pairs[1]] == code]
        return torch.stack([pairs[0], self.local[pairs[1]]])


def metrics_of(
    k: Sequence[int], views: Views, domains: Sequence[str], popularity: Tensor | None = None, **options: Any
) -> RankingMetrics | DomainMetrics:
    """The metrics that the data ask for: of one domain, or of several.

    Args:
        k: cut-offs.
        views: what models see.
        domains: names; none where there is one.
        popularity: (I,) train users of each item; those of the views where None.
        options: `sampled` and `seed`.
    """
    counts = views.popularity if popularity is None else popularity
    if domains:
        return DomainMetrics(k, views, counts, domains, **options).to(views.device)
    metrics = RankingMetrics(k, views.num_items, counts, views.num_users, views.genres, **options)
    return metrics.to(views.device)
