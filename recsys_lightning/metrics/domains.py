"""Ranking metrics of data of several domains: each domain's items are ranked by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from recsys_lightning.batches import RankingBatch, Views
from recsys_lightning.metrics.evaluator import ACCURACY, PerUser, RankingMetrics
from recsys_lightning.metrics.ranking import tie_priority

WORST = "worst"
COUNTS = ("users", "constant_rows")
"""Figures that are added up over domains; all others are averaged."""


class DomainMetrics(nn.Module):
    """`RankingMetrics` of each domain, and what they are together.

    A figure of one domain bears its name, as `ndcg_10_book`. Without a name it is the mean over the domains, each
    counting alike however many users it has (macro); domains without users are left out of it. Of accuracy, `worst` is
    the least of them. Users count once for each domain in which they are evaluated.

    Args:
        k: cut-offs.
        views: what models see; its item domains say what is ranked with what.
        popularity: (I,) train users of each item.
        domains: names.
        sampled: as of `RankingMetrics`.
        seed: likewise.
    """

    domain: Tensor
    local: Tensor

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
        local = torch.empty_like(views.domain)
        for items in views.members:
            local[items] = torch.arange(len(items), device=local.device)
        self.register_buffer("domain", views.domain, persistent=False)
        self.register_buffer("local", local, persistent=False)
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
            for items in views.members
        )
        priority = tie_priority(views.num_items, seed)
        for part, items in zip(self._parts, views.members, strict=True):  # ties fall as in lists of all items
            part.priority = priority[items.cpu()].argsort().argsort().int().to(part.device)

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
        self._parts[code].update(RankingBatch(batch.user, *pairs), scores[:, self.domain == code])

    def compute(self) -> dict[str, Tensor]:
        """Figures by name: together, of the worst domain, and of each; NaN where nobody was evaluated."""
        for part in self._parts:
            if not part.update_called:  # torchmetrics takes it for a mistake that nobody came
                nobody, nothing = part.popularity[:0], part.popularity.new_zeros(2, 0)
                part.update(RankingBatch(nobody, nothing, nothing), torch.zeros(0, part.num_items, device=part.device))
        found = {name: part.compute() for name, part in zip(self.domains, self._parts, strict=True)}
        for own in found.values():
            if not own["users"]:
                own.update({name: value.double() * torch.nan for name, value in own.items() if name not in COUNTS})
        figures: dict[str, Tensor] = {}
        for name in found[self.domains[0]]:
            values = torch.stack([found[domain][name].double() for domain in self.domains])
            figures[name] = values.sum() if name in COUNTS else values.nanmean()
            if name.startswith(tuple(f"{metric}_" for metric in ACCURACY)):
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
        return torch.stack([pairs[0].long(), self.local[pairs[1]]])


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


def macro_values(values: ArrayLike, user: ArrayLike, domain: ArrayLike) -> NDArray[np.float64]:
    """Values of users whose mean is the mean over the domains' means, and whose spread is that mean's.

    What users are worth in several domains goes together, so an interval must draw whole users. Each user's value is
    the macro mean plus what the user moves it by (its influence function); `bootstrap` takes it like any other.

    Args:
        values: (N,), or (S, N) of each seed, of users in domains.
        user: (N,)
        domain: (N,)

    Returns:
        (U,) or (S, U), users ascending.
    """
    table = np.asarray(values, np.float64)
    users, row = np.unique(np.asarray(user), return_inverse=True)
    codes, place = np.unique(np.asarray(domain), return_inverse=True)
    moved = np.zeros((*table.shape[:-1], len(users)))
    macro = np.zeros(table.shape[:-1])
    for code in range(len(codes)):
        inside = place == code
        own = table[..., inside]
        mean = own.mean(-1, keepdims=True)
        macro += mean[..., 0] / len(codes)
        moved[..., row[inside]] += (own - mean) * len(users) / (len(codes) * inside.sum())
    return moved + macro[..., None]
