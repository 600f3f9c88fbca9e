"""What a ranking test found: the model beside the floors, on what, and what must be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsys_lightning.data.audit.future import Future
from recsys_lightning.data.filters import Step
from recsys_lightning.metrics.domains import WORST
from recsys_lightning.reports.domains import Group, figure_table, group_table, of_domain
from recsys_lightning.reports.floors import Floor
from recsys_lightning.reports.run.blocks import Remark
from recsys_lightning.reports.tables import text_table
from recsys_lightning.schema import Schema

LISTED = ("recall", "ndcg", "mrr", "hit_rate", "coverage")
"""Metrics of the table that is printed; the report holds all of them."""
HIGHER_IS_BETTER = LISTED[:4]
FEW = 100
"""Tested users below which a report says that they are few."""

METHOD = """\
Full ranking: every item that the user has no earlier interaction with is a candidate; only figures with `sampled` in
their name rank the held-out items among random candidates. Each metric is computed for each user with at least one
held-out item, then averaged over these users. Where a split has `positives from` a rating, held-out rows rated lower
are candidates like any other item, and no hits. Where items are of several domains, those of each are ranked by
themselves, for the users with a held-out item there; a figure without the name of a domain is the mean over domains,
each counting alike however many users it has."""

DEFINITIONS = (
    "recall@k = hits / held-out items of the user; precision@k = hits / k; hit_rate@k = 1 with any hit",
    "ndcg@k: gain 1 for a hit, discount 1 / log2(rank + 1), divided by the best possible over min(k, held-out items)",
    "map@k = sum of precision at each hit / min(k, held-out items); mrr@k = 1 / rank of the first hit",
    "coverage@k: share of all items that anybody is recommended; gini@k: inequality of how often items are recommended",
    "novelty@k: mean self-information of the recommended items; diversity@k: 1 - mean cosine of the genres in a list",
    "popularity_lift@k: mean train popularity of the lists over that of the users' own items, minus 1",
    "worst: the least of the domains' figures; 95 % intervals: users are drawn with replacement, in all their domains",
    "Ties are broken by a fixed random order of the items. Scores that are no numbers are an error.",
)


@dataclass(frozen=True)
class RankingReport:
    """What a ranking test found.

    Attributes:
        model: class of the recommender.
        data: name of the data.
        split: in words.
        fingerprint: of the data.
        k: cut-offs.
        steps: of the preparation.
        results: `test/ndcg_10` and the like.
        floors: on the same split; may be empty.
        seconds: the test took.
        looked_at_test: whether test was run before training had ended.
        visible: the rows that models saw in the test: `train` or `train+val`.
        held_out: users with held-out rows, each counted in each domain; fewer are tested only if somebody limits the
            test.
        future: what the split lets models know of the future; None where there are no timestamps.
        domains: names of the domains, each of which was ranked by itself; none where there is one.
        groups: users of these, by where their visible rows lie.
    """

    model: str
    data: str
    split: str
    fingerprint: str
    k: Sequence[int]
    steps: Sequence[Step]
    results: dict[str, float]
    floors: Sequence[Floor]
    seconds: float
    looked_at_test: bool
    visible: str
    held_out: int
    future: Future | None
    domains: Sequence[str] = ()
    groups: Sequence[Group] = ()

    def table(self) -> str:
        """The model beside the floors, at the first cut-off, for a terminal; stars mark the best of a column."""
        title = f"{self.data}, {self.split}, {self.tested}, full ranking"
        tables = [text_table(*self.comparison(), best=self.best), ""]
        if self.rivals:
            tables += ["* the best of the column", ""]
        if self.domains:
            tables += ["By domain", "", text_table(*self.by_domain()), ""]
            tables += [text_table(*group_table(self.groups, self.k[0])), ""] if self.groups else []
        return "\n".join([title, "", *tables, *(remark.text for remark in self.remarks())])

    @property
    def tested(self) -> str:
        """How many users were tested, in words."""
        if not self.domains:
            return f"{int(self.results['test/users']):,} users"
        return " and ".join(f"{self.users(name):,} users in {name}" for name in self.domains)

    def users(self, domain: str) -> int:
        """How many users were tested in a domain."""
        return int(self.figures(domain)["users"])

    def figures(self, domain: str = "") -> dict[str, float]:
        """Figures without a prefix: of a domain, of the worst one, or together."""
        own = {name.removeprefix("test/"): value for name, value in self.results.items()}
        return of_domain(own, self.domains, domain)

    def comparison(self) -> tuple[list[str], list[list[object]]]:
        """Head and rows of the table that sets the model beside the floors, at the first cut-off."""
        own = {name.removeprefix("test/"): value for name, value in self.results.items()}
        model = Floor(self.model, test=own, seconds=self.seconds)
        entries = [model, *(floor for floor in self.floors if floor.name != self.model)]
        return comparison(entries, self.k[0], self.domains)

    def by_domain(self) -> tuple[list[str], list[list[object]]]:
        """Head and rows of the table with a row for each domain, for their mean and for the worst."""
        own = {name.removeprefix("test/"): value for name, value in self.results.items()}
        return figure_table(own, self.domains, self.groups, LISTED, self.k[0])

    @property
    def rivals(self) -> bool:
        """Whether there is anybody to be better than."""
        return any(floor.test and floor.name != self.model for floor in self.floors)

    @property
    def best(self) -> list[str]:
        """Columns of the comparison in which more is better; none where there is nobody to be better than."""
        return _higher_is_better(self.k[0], self.domains) if self.rivals else []

    def about_the_future(self) -> str:
        """What the split lets models know of the future, in a sentence."""
        if self.future is None:
            return "There are no timestamps: whether the split lets models look into the future cannot be told."
        return (
            f"Future-item rate {self.future.items:.1%} (items, on average, that first appear after a test "
            f"interaction and can be recommended for it all the same); {self.future.history:.1%} of the test "
            "interactions are older than some train interaction of the same user."
        )

    def remarks(self) -> list[Remark]:
        """What must not be overlooked; grave ones first."""
        grave, others = [], []
        if not self.floors:
            others.append("No floors are known for this split yet: `recsys floors` computes them.")
        for end in ("", *(f"_{name}" for name in self.domains)):
            metric = f"ndcg_{self.k[0]}{end}"
            own = self.results[f"test/{metric}"]
            above = [
                f"{floor.name} ({floor.test[metric]:.4f})" for floor in self.floors if floor.test.get(metric, 0) > own
            ]
            if above:
                grave.append(f"UNDER THE FLOOR: {self.model} has {metric} {own:.4f}; better are {', '.join(above)}.")
        untuned = [floor.name for floor in self.floors if floor.test and floor.options and not floor.tuned]
        if untuned:
            others.append(f"Not tuned, as there are no val rows: {', '.join(untuned)}.")
        others.extend(f"{floor.name} is missing: {floor.note}" for floor in self.floors if floor.note)
        users = int(self.results["test/users"])
        if users < self.held_out:
            grave.append(f"PARTIAL: {users:,} of {self.held_out:,} users were tested; do not compare these figures.")
        for tested, where in [(self.users(name), f" in {name}") for name in self.domains] or [(users, "")]:
            if not tested and where:
                grave.append(f"Nobody was tested{where}: the figures together are of the other domains.")
            elif tested < FEW:
                others.append(f"Only {tested} users were tested{where}: differences between models may be chance.")
        if self.looked_at_test:
            grave.append("WATERMARK: test was looked at before training had ended; these numbers select on test.")
        return [*(Remark(text, True) for text in grave), *(Remark(text, False) for text in others)]


def comparison(entries: Sequence[Floor], k: int, domains: Sequence[str] = ()) -> tuple[list[str], list[list[object]]]:
    """Head and rows of a table that sets recommenders side by side at the cut-off k, by ndcg in each domain too.

    A user has a list in each domain, so that these are counted where there are several.
    """
    columns = {f"{name}@{k}": f"{name}_{k}" for name in LISTED}
    columns |= {f"ndcg@{k} {name}": f"ndcg_{k}_{name}" for name in _each(domains)}
    rows: list[list[object]] = []
    for entry in entries:
        values = [entry.test.get(name) for name in columns.values()]
        counted = [int(entry.test["users"]), entry.seconds] if entry.test else [None, None]
        rows.append([entry.name, *values, *counted])
    return ["model", *columns, "lists" if domains else "users", "test s"], rows


def floor_table(floors: Sequence[Floor], schema: Schema, k: int) -> str:
    """The floors alone, for a terminal."""
    head, rows = comparison(floors, k, schema.domains)
    best = _higher_is_better(k, schema.domains)
    notes = [f"{floor.name} is missing: {floor.note}" for floor in floors if floor.note]
    return "\n".join([f"{schema.name}, {schema.split}, full ranking", "", text_table(head, rows, best), *notes])


def _each(domains: Sequence[str]) -> Sequence[str]:
    """The domains and the worst of them, where there are any."""
    return (*domains, WORST) if domains else ()


def _higher_is_better(k: int, domains: Sequence[str]) -> list[str]:
    """Columns of a comparison."""
    return [*(f"{name}@{k}" for name in HIGHER_IS_BETTER), *(f"ndcg@{k} {name}" for name in _each(domains))]
