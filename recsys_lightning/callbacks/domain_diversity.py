"""Watches whether the conditions of one user in different domains differ, and by more than a shift."""

from __future__ import annotations

from itertools import combinations

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from recsys_lightning.callbacks.watching import Looked, Watch
from recsys_lightning.metrics.subspaces import cosines, linear_cka
from recsys_lightning.tasks.evaluation import RankingTask

COLLAPSED = 0.01
"""Conditions less diverse than this are one and the same."""
SHIFTED = 0.05
"""And those that are less diverse without the mean of their domain, and by half at least, differ by a shift."""
RISING = 1.1
"""What has grown by so much during the latest validations is on its way."""


class DomainDiversity(Watch):
    """Measures after each validation how unlike the conditions of one user are in two domains.

    Diversity is 1 - cosine, a mean over users and pairs of domains: 0 where a domain changes nothing. A shift that is
    the same for everybody makes it large, and yet ranks all users alike: `diversity_centred` is taken after the mean
    condition of each domain has been subtracted, and stays near 0 for a shift. `cka` is the linear CKA of two domains'
    conditions over users: 1 where they place users alike but for a rotation. Warns once when diversity stays near 0,
    and once when it is but a shift.

    Logged as `conditions/diversity`, `conditions/diversity_centred`, `conditions/cka`, and for more than two domains
    also of each pair, as `conditions/diversity_movie_book`.

    Args:
        users: who are looked at, at most; more are sampled.
        patience: validations in a row that must look bad before it is said.
        seed: of the sample.
    """

    name, group, least_domains = "domain_diversity", "conditions", 2

    def look(self, trainer: Trainer, task: RankingTask, looked: Looked) -> None:
        """Measure, record, and warn."""
        figures: dict[str, float] = {}
        sums: dict[str, list[float]] = {"diversity": [], "diversity_centred": [], "cka": []}
        of_users: dict[str, Tensor] = {}
        pairs = list(combinations(range(len(looked.domains)), 2))
        for a, b in pairs:
            title = f"{looked.domains[a]}_{looked.domains[b]}"
            first, second = looked.condition[:, a], looked.condition[:, b]
            spread = {
                "diversity": (1 - cosines(first, second)).clamp_min(0),
                "diversity_centred": (1 - cosines(first, second, centred=True)).clamp_min(0),
            }
            found = {name: float(values.mean()) for name, values in spread.items()}
            found["cka"] = linear_cka(first, second)
            for name, value in found.items():
                sums[name].append(value)
                if len(pairs) > 1:
                    figures[f"{name}_{title}"] = value
            of_users |= {f"{name}_{title}": values for name, values in spread.items()}
        means = {name: sum(values) / len(values) for name, values in sums.items()}
        self.record(trainer, task, {**means, **figures}, values=of_users)
        self._judge(self.patience, looked.domains)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge a short training too, and write."""
        if self.rows and isinstance(pl_module, RankingTask):
            self._judge(1, pl_module.domains)
        super().on_train_end(trainer, pl_module)

    def _judge(self, patience: int, domains: tuple[str, ...]) -> None:
        between, last = " and ".join((", ".join(domains[:-1]), domains[-1])), self.rows[-1]
        if self._stays("diversity", COLLAPSED, patience):
            self.warn_once(
                "collapse",
                f"The conditions of a user in {between} are nearly the same (diversity {last['diversity']:.4f}): the "
                "domain hardly changes anything. Give the diversity or the ranking loss of the domains more weight.",
            )
        elif (
            self._stays("diversity_centred", SHIFTED, patience)
            and COLLAPSED < last["diversity"] > 2 * last["diversity_centred"]
        ):
            self.warn_once(
                "shift",
                f"The conditions in {between} differ by one shift for everybody (diversity {last['diversity']:.4f}, "
                f"and {last['diversity_centred']:.4f} once each domain's mean is subtracted): a domain moves all users "
                "alike, so it hardly changes who is like whom. Use mode film, several tokens for each domain, and a "
                "ranking loss of the domains.",
            )

    def _stays(self, figure: str, bound: float, patience: int) -> bool:
        """Whether a figure was below a bound at the latest validations, and is not on its way up."""
        latest = self.rows[-patience:]
        return self.lasts(figure, patience, below=bound) and (
            patience == 1 or latest[-1][figure] <= RISING * latest[0][figure]
        )
