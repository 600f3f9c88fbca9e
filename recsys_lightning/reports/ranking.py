"""What a ranking test found: the model beside the floors, on what, and what must be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsys_lightning.data.audit import Future
from recsys_lightning.data.filters import Step
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
are candidates like any other item, and no hits."""

DEFINITIONS = (
    "recall@k = hits / held-out items of the user; precision@k = hits / k; hit_rate@k = 1 with any hit",
    "ndcg@k: gain 1 for a hit, discount 1 / log2(rank + 1), divided by the best possible over min(k, held-out items)",
    "map@k = sum of precision at each hit / min(k, held-out items); mrr@k = 1 / rank of the first hit",
    "coverage@k: share of all items that anybody is recommended; gini@k: inequality of how often items are recommended",
    "novelty@k: mean self-information of the recommended items; diversity@k: 1 - mean cosine of the genres in a list",
    "popularity_lift@k: mean train popularity of the lists over that of the users' own items, minus 1",
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
        held_out: users with held-out rows; fewer are tested only if somebody limits the test.
        future: what the split lets models know of the future; None where there are no timestamps.
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

    def table(self) -> str:
        """The model beside the floors, at the first cut-off, for a terminal; stars mark the best of a column."""
        title = f"{self.data}, {self.split}, {int(self.results['test/users']):,} users, full ranking"
        table = text_table(*self.comparison(), best=self.best)
        legend = ["* the best of the column", ""] if self.best else []
        return "\n".join([title, "", table, "", *legend, *(remark.text for remark in self.remarks())])

    def comparison(self) -> tuple[list[str], list[list[object]]]:
        """Head and rows of the table that sets the model beside the floors, at the first cut-off."""
        own = {name.removeprefix("test/"): value for name, value in self.results.items()}
        model = Floor(self.model, test=own, seconds=self.seconds)
        return comparison([model, *(floor for floor in self.floors if floor.name != self.model)], self.k[0])

    @property
    def best(self) -> list[str]:
        """Columns of this table in which more is better; none where there is nobody to be better than."""
        others = any(floor.test and floor.name != self.model for floor in self.floors)
        return [f"{name}@{self.k[0]}" for name in HIGHER_IS_BETTER] if others else []

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
        metric = f"ndcg_{self.k[0]}"
        own = self.results[f"test/{metric}"]
        above = [f"{floor.name} ({floor.test[metric]:.4f})" for floor in self.floors if floor.test.get(metric, 0) > own]
        if above:
            grave.append(f"UNDER THE FLOOR: {self.model} has {metric} {own:.4f}; better are {', '.join(above)}.")
        untuned = [floor.name for floor in self.floors if floor.test and floor.options and not floor.tuned]
        if untuned:
            others.append(f"Not tuned, as there are no val rows: {', '.join(untuned)}.")
        others.extend(f"{floor.name} is missing: {floor.note}" for floor in self.floors if floor.note)
        users = int(self.results["test/users"])
        if users < self.held_out:
            grave.append(f"PARTIAL: {users:,} of {self.held_out:,} users were tested; do not compare these figures.")
        if users < FEW:
            others.append(f"Only {users} users were tested: differences between models may be chance.")
        if self.looked_at_test:
            grave.append("WATERMARK: test was looked at before training had ended; these numbers select on test.")
        return [*(Remark(text, True) for text in grave), *(Remark(text, False) for text in others)]


def comparison(entries: Sequence[Floor], k: int) -> tuple[list[str], list[list[object]]]:
    """Head and rows of a table that sets recommenders side by side at the cut-off k."""
    head = ["model", *(f"{name}@{k}" for name in LISTED), "users", "test s"]
    rows: list[list[object]] = []
    for entry in entries:
        values = [entry.test.get(f"{name}_{k}") for name in LISTED]
        counted = [int(entry.test["users"]), entry.seconds] if entry.test else [None, None]
        rows.append([entry.name, *values, *counted])
    return head, rows


def floor_table(floors: Sequence[Floor], schema: Schema, k: int) -> str:
    """The floors alone, for a terminal."""
    head, rows = comparison(floors, k)
    best = [f"{name}@{k}" for name in HIGHER_IS_BETTER]
    notes = [f"{floor.name} is missing: {floor.note}" for floor in floors if floor.note]
    return "\n".join([f"{schema.name}, {schema.split}, full ranking", "", text_table(head, rows, best), *notes])
