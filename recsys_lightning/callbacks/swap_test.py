"""Whether the condition of a domain ranks its items better than what is not meant for the domain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from recsys_lightning.batches import CSR, Vectors, Views
from recsys_lightning.callbacks.diagnostics import plain
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.callbacks.watching import without_conditions
from recsys_lightning.data.loaders import RankingLoader
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import paired_interval
from recsys_lightning.metrics.ranking import find_hits, mask, ndcg, pair_keys, tie_priority_of, top_k
from recsys_lightning.metrics.subspaces import cosines, linear_cka, reidentified, share_beyond_mean
from recsys_lightning.models.modes import evaluating
from recsys_lightning.reports.run.swap import FILE, OTHERS, OWN, SHIFT, USER, sentences, terminal
from recsys_lightning.reports.run.values import Values as Found
from recsys_lightning.schema import GIVEN, SPLITS, TEST
from recsys_lightning.tasks.evaluation import RankingTask

STEP = 0.01
"""How far users are moved to see what their conditions do, as a share of the spread of their numbers."""
PROBES = 4
"""Random directions in which they are."""

Values = NDArray[np.float64]


class Pieces(NamedTuple):
    """What the test is made of."""

    user: Tensor  # (U, D)
    condition: Tensor  # (U, M, D)
    item: Tensor  # (I, D)


class SwapTest(Callback):
    """At the end of a test, ranks each domain with the condition that is meant for it, and with others in its place.

    With the condition of domain d: c_d(u). In its place, the other domains' conditions (that one of them which ranks
    best, where there are several), the user's vector u that conditions are made of, and u + the mean of c_d - u over
    users, a shift that is the same for everybody. Figures are ndcg on the same users and items as those of the test,
    and ties fall as there; differences are paired by user, with 95 % intervals of a bootstrap over users, of this
    training. A domain passes where its condition is better than all three, intervals above 0.

    Beside them stands what conditions are: share of c_d - u beyond its mean, how often the nearest of 1,000 users to
    c_d(u) is u, cosines raw and centred, linear CKA of two domains, and the norm of the Jacobian of c_d and of c_d - u
    with respect to u, divided by the square root of D: 1 and 0 for c_d = u, and 0 of the latter for any constant shift.

    Writes `swap.json` for the report, and prints a table with a sentence for each domain.

    Args:
        resamples: of each bootstrap.
        compared: users among whom each is to be found again.
        seed: of all that is drawn.

    Raises:
        InputError: a number is too small.
    """

    def __init__(self, resamples: int = 2000, compared: int = 1000, seed: int = 0) -> None:
        for option, value, least in (("resamples", resamples, 100), ("compared", compared, 2), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"SwapTest was given {option} {value}; it must be at least {least}.")
        self.resamples, self.compared, self.seed = resamples, compared, seed

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test, write and print; one process does."""
        folder = run_folder(trainer)
        data = getattr(trainer, "datamodule", None)
        if reason := _nothing(pl_module, data):
            rank_zero_warn(f"SwapTest tests nothing: {reason}.")
            return
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, RankingTask) and isinstance(data, InteractionsDataModule)
        with torch.no_grad(), evaluating(pl_module.recommender):
            found = self.swap(pl_module, data)
        folder.mkdir(parents=True, exist_ok=True)
        said = Found(plain(found), folder / FILE)
        write_json(folder / FILE, {**said.value, "sentences": sentences(said)})
        print(terminal(said))

    def swap(self, task: RankingTask, data: InteractionsDataModule) -> dict[str, Any]:
        """All that `swap.json` holds."""
        pieces = pieces_of(task, task.views)
        norms = self._jacobians(task, pieces)
        trained = task.fitting_views.train.degree > 0
        known = Pieces(pieces.user[trained], pieces.condition[trained], pieces.item)
        return {
            "k": list(task.k),
            "resamples": self.resamples,
            "compared": min(self.compared, len(known.user)),
            "domains": [
                {
                    "name": name,
                    **self._ranked(task, data, pieces, code),
                    **self._described(known.user, known.condition[:, code]),
                    **norms[code],
                }
                for code, name in enumerate(task.domains)
            ],
            "pairs": [
                {
                    "domains": [task.domains[a], task.domains[b]],
                    **_likeness(known.condition[:, a], known.condition[:, b]),
                    "cka": linear_cka(known.condition[:, a], known.condition[:, b]),
                }
                for a, b in combinations(range(len(task.domains)), 2)
            ],
        }

    def _ranked(self, task: RankingTask, data: InteractionsDataModule, pieces: Pieces, code: int) -> dict[str, Any]:
        """Figures of one domain by what ranks it, and their differences."""
        items = task.views.members[code]
        loader = loader_of(data, items)
        if not len(loader.user):
            return {"users": 0}
        shifted = pieces.user + (pieces.condition[:, code] - pieces.user)[task.fitting_views.train.degree > 0].mean(0)
        vectors = [*pieces.condition.unbind(1), pieces.user, shifted]
        priority = tie_priority_of(items, task.views.num_items)
        found = ranked(vectors, pieces.item[items], loader, task.k, priority)  # (M + 2, k, n)
        others = np.array([other for other in range(len(task.domains)) if other != code])
        best = others[found[others].mean(2).argmax(0)]  # (k,)
        sides = {OWN: found[code], OTHERS: found[best, np.arange(len(best))], USER: found[-2], SHIFT: found[-1]}
        named = [task.domains[other] if len(others) > 1 else "" for other in best]
        return {
            "users": len(loader.user),
            "best_other": dict(zip(map(str, task.k), named, strict=True)),
            "ndcg": {
                str(k): {name: float(side[at].mean()) for name, side in sides.items()} for at, k in enumerate(task.k)
            },
            "less": {
                str(k): {
                    name: paired_interval(sides[OWN][at], side[at], draws=self.resamples, seed=self.seed)
                    for name, side in sides.items()
                    if name != OWN
                }
                for at, k in enumerate(task.k)
            },
        }

    def _described(self, user: Tensor, condition: Tensor) -> dict[str, Any]:
        """What the conditions of a domain are, beside their users: (N, D) each."""
        return {
            "beyond_mean": share_beyond_mean(condition - user),
            "identified": reidentified(condition, user, self.compared, self.seed),
            **_likeness(condition, user),
        }

    def _jacobians(self, task: RankingTask, pieces: Pieces) -> list[dict[str, float]]:
        """Norms of the Jacobians of each domain's conditions, by what they become when users are moved a little."""
        random = torch.Generator().manual_seed(self.seed)
        step = STEP * float(pieces.user.std())
        squares = torch.zeros(2, len(task.domains), dtype=torch.float64)
        for _ in range(PROBES):
            sign = torch.randint(0, 2, pieces.user.shape, generator=random).to(pieces.user) * 2 - 1
            ahead, behind = (
                pieces_of(task, moved(task.views, pieces.user + way * step * sign)).condition for way in (1, -1)
            )
            slope = (ahead - behind) / (2 * step)
            for place, part in enumerate((slope, slope - sign[:, None])):
                squares[place] += part.double().square().mean((0, 2)).cpu()
        whole, beyond = (squares / PROBES).sqrt().tolist()
        return [{"jacobian": a, "jacobian_beyond": b} for a, b in zip(whole, beyond, strict=True)]


def _nothing(module: LightningModule, data: object) -> str:
    """Why there is nothing to test; empty where there is."""
    if reason := without_conditions(module):
        return reason
    assert isinstance(module, RankingTask)
    if not isinstance(data, InteractionsDataModule) or len(module.domains) < 2:
        return "the data have one domain, so there is no other condition"
    if module.views.vectors.user.dim() != 2:
        return "the vectors that the conditions are made of have a domain already"
    return ""


def pieces_of(task: RankingTask, views: Views) -> Pieces:
    """Users, their conditions and items, as the model ranks by them."""
    vectors = task.recommender.vectors(views)
    return Pieces(views.vectors.user.float(), vectors.user.float(), vectors.item.float())


def moved(views: Views, user: Tensor) -> Views:
    """The views with other vectors of users (U, D)."""
    return Views(
        views.train,
        views.num_items,
        build_graph=lambda: views.graph,
        build_history=lambda: views.history,
        genres=views.genres,
        build_text=lambda: views.text,
        build_features=lambda: views.features,
        domain=views.domain,
        build_vectors=lambda: Vectors(user, views.vectors.item),
    )


def loader_of(data: InteractionsDataModule, items: Tensor) -> RankingLoader:
    """All users with test rows among items (n,), ascending; items are named by their place among these."""
    relevant = data.prepared.csr(TEST).within(items.cpu())
    seen = data.prepared.known(*SPLITS[: SPLITS.index(TEST)], GIVEN).within(items.cpu())
    seen, relevant = (CSR(rows.crow.to(items.device), rows.col.to(items.device)) for rows in (seen, relevant))
    return RankingLoader(relevant.degree.nonzero()[:, 0], seen, relevant, batch_size=1024)


def ranked(users: Sequence[Tensor], item: Tensor, loader: RankingLoader, k: Sequence[int], priority: Tensor) -> Values:
    """Ndcg (sides, k, n) of each user of a loader, by dot products of several vectors of users with the same items.

    Args:
        users: (U, D) of each side.
        item: (n, D), in the order of the loader's items.
        loader: of users.
        k: cut-offs.
        priority: (n,) of the items, see `tie_priority`.
    """
    found = []
    for batch in loader:
        keys = pair_keys(batch.relevant, len(item))
        wanted = torch.bincount(keys // len(item), minlength=len(batch.user))
        of_batch = []
        for side in users:
            scores = side[batch.user] @ item.T
            mask(scores, batch.seen)
            hits = find_hits(top_k(scores, max(k), priority).item, keys, len(item))
            of_batch.append(torch.stack([ndcg(hits[:, :cut], wanted) for cut in k]))
        found.append(torch.stack(of_batch))
    return torch.cat(found, 2).cpu().numpy()


def _likeness(x: Tensor, y: Tensor) -> dict[str, float]:
    """Mean cosines of rows and their counterparts."""
    return {"cosine": float(cosines(x, y).mean()), "cosine_centred": float(cosines(x, y, centred=True).mean())}
