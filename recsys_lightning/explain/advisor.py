"""Recommendations and explanations for people: raw ids in, titles out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.explain import parts
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.explain.edges import attribute_edges, heard, named_for, own_edges, rates, subset
from recsys_lightning.explain.explainers import Contrast, Effects, Exact, Explainer, Occlusion
from recsys_lightning.explain.explanation import Explanation, Influence, Recommendation
from recsys_lightning.explain.fidelity import measure
from recsys_lightning.explain.gradients import GNN, IntegratedGradients
from recsys_lightning.explain.protocols import Additive, Attentive, Influenced
from recsys_lightning.explain.ranking import SCORES, best, places
from recsys_lightning.metrics.ranking import Ranked
from recsys_lightning.models.base import Recommender, State

EXPLAINERS: dict[str, Callable[[], Explainer]] = {
    "exact": Exact,
    "contrast": Contrast,
    "occlusion": Occlusion,
    "integrated_gradients": IntegratedGradients,
    "contrast_integrated_gradients": lambda: Contrast(IntegratedGradients(steps=4)),
    "gnn": GNN,
}


def require_explainable(model: Recommender) -> None:
    """Check that there are explainers for the model.

    Raises:
        InputError: it reads histories, or frozen vectors.
    """
    if model.reads_vectors:
        raise InputError(
            f"{type(model).__name__} ranks by the vectors of an earlier run, and no row that is taken away changes "
            "these: explain the model of that run. `recsys recommend` works."
        )
    if model.reads_history:
        raise InputError(
            f"{type(model).__name__} reads histories, and no explainer takes these apart yet: `recsys recommend` works."
        )


class Advisor:
    """Recommends with a model, and explains what it recommends. The graph is encoded once for all that is asked.

    Args:
        model: trained, or fitted.
        views: what it sees, on the model's device.
        catalogue: names.
        seen: items of each user (U rows) that are known to the user; those of the views by default.
    """

    def __init__(self, model: Recommender, views: Views, catalogue: Catalogue, seen: CSR | None = None) -> None:
        self.model = model.eval()
        self.views = views
        self.catalogue = catalogue
        self.seen = seen or views.train

    @cached_property
    def state(self) -> State:
        """What the model makes of the views."""
        with torch.no_grad():
            return self.model.encode(self.views)

    @cached_property
    def attention(self) -> list[Tensor]:
        """For each layer the attention that users pay their items, (E, heads); none where the model has none."""
        if not isinstance(self.model, Attentive):
            return []
        with torch.no_grad():
            layers = self.model.attention(self.views)
        found = [heard(layer, self.views, self.catalogue.schema) for layer in layers]
        return [shares for shares in found if shares is not None]

    # Recommendations

    def recommend(
        self, user: str, k: int = 10, exclude_known: bool = True, domain: str | None = None
    ) -> list[Recommendation]:
        """The k best items of a user, best first; fewer where there are no more.

        Args:
            user: raw id.
            k: at least 1.
            exclude_known: leave out what the user has.
            domain: whose items, where there are several.

        Raises:
            InputError: there is no such user or domain, or k is below 1.
        """
        code = self.catalogue.domain(domain)
        if code is None:
            return self.recommend_all([user], k, exclude_known)[0]
        index = self.catalogue.user(user)
        return self._listed(self._ranked(index, k, self._hidden(index, code, exclude_known)))[0]

    def recommend_all(
        self, users: Sequence[str] | None = None, k: int = 10, exclude_known: bool = True
    ) -> list[list[Recommendation]]:
        """`recommend` for many users at once, in their order; for all of them where none are named.

        Raises:
            InputError: as `recommend`, or there are several domains.
        """
        self.catalogue.domain(None)
        named = self.catalogue.users if users is None else users
        index = torch.tensor([self.catalogue.user(user) for user in named], dtype=torch.long)
        return self._listed(self.ranked(index.to(self.views.device), k, exclude_known))

    def _listed(self, ranked: Ranked) -> list[list[Recommendation]]:
        items, titles = self.catalogue.items, self.catalogue.titles
        return [
            [
                Recommendation(place + 1, items[item], titles[item], score)
                for place, (item, score) in enumerate(zip(row, scores, strict=True))
                if item >= 0
            ]
            for row, scores in zip(ranked.item.tolist(), ranked.score.tolist(), strict=True)
        ]

    @torch.no_grad()
    def ranked(self, user: Tensor, k: int = 10, exclude_known: bool = True) -> Ranked:
        """The same as tensors, by index: users (B,) -> items and scores (B, k), of whichever domains."""
        return self._ranked(user, k, self.seen if exclude_known else None)

    @torch.no_grad()
    def _ranked(self, user: int | Tensor, k: int, hidden: CSR | None) -> Ranked:
        if k < 1:
            raise InputError(f"k is {k}; at least 1 recommendation can be asked for.")
        users = torch.as_tensor(user, device=self.views.device).view(-1)
        return best(self.model, self.state, users, k, hidden)

    def _hidden(self, user: int, domain: int | None, exclude_known: bool = True) -> CSR:
        """What is not ranked for one user: what is known, and the items of other domains; other users have no rows."""
        own = self.seen.col[self.seen.crow[user] : self.seen.crow[user + 1]]
        own = own if exclude_known else own[:0]
        if domain is not None:
            assert self.views.domain is not None
            own = torch.cat([own, (self.views.domain != domain).nonzero()[:, 0]]).unique()  # type: ignore[no-untyped-call]
        crow = torch.zeros_like(self.seen.crow)
        crow[user + 1 :] = len(own)
        return CSR(crow, own)

    # Explanations

    def explain_recommendation(
        self, user: str, item: str, explainer: str | Explainer | None = None, fidelity: bool = False
    ) -> Explanation:
        """Why an item has the score it has for a user. `explain` says what can be asked for."""
        return self.explain(user, [item], explainer, fidelity)[0]

    def explain(
        self, user: str, items: Sequence[str], explainer: str | Explainer | None = None, fidelity: bool = False
    ) -> list[Explanation]:
        """Why items have the scores they have for a user. Where there are several domains, ranks are within them.

        Args:
            user: raw id.
            items: raw ids.
            explainer: name or instance; by default `exact` where the model's scores are sums, else `occlusion`.
            fidelity: also measure what becomes of each item without the edges that are named first; not of items
                that the user has, as they are not ranked.

        Raises:
            InputError: there is no such user, item or explainer, or the model cannot be explained so.
        """
        how = self.explainer(explainer)
        person = self.catalogue.user(user)
        chosen = [self.catalogue.item(item) for item in items]
        domain = None if self.views.domain is None else self.views.domain.cpu()
        codes = [None if domain is None else int(domain[item]) for item in chosen]
        found: dict[int, Explanation] = {}
        for code in dict.fromkeys(codes):
            own = [item for item, its in zip(chosen, codes, strict=True) if its == code]
            hidden = self._hidden(person, code)
            index = torch.tensor(own, dtype=torch.long, device=self.views.device)
            edges = {rates(self.catalogue.schema): own_edges(self.views, person)}
            if how.attributes:
                edges |= attribute_edges(self.views, self.catalogue.schema, index)
            effects = parts.read(how.effects(self.model, self.views, edges, person, index, hidden))
            found |= zip(own, self._explanations(person, own, how, effects, fidelity, hidden), strict=True)
        return [found[item] for item in chosen]

    def explainer(self, choice: str | Explainer | None = None) -> Explainer:
        """The explainer of that name; the one that fits the model where none is named.

        Raises:
            InputError: there is no such explainer, or none is made for the model.
        """
        if isinstance(choice, Explainer):
            return choice
        require_explainable(self.model)
        name = choice or ("exact" if isinstance(self.model, Additive) else "occlusion")
        if name not in EXPLAINERS:
            raise InputError(f"There is no explainer {name}; there are {', '.join(EXPLAINERS)}.")
        return EXPLAINERS[name]()

    @torch.no_grad()
    def terms(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """The parts by name that add up to the scores of pairs, by index: (B,), (B,) -> (B,) each."""
        found = [self.model.terms(self.state, *pair) for pair in self._blocks(user, item)]
        return {name: torch.cat([terms[name] for terms in found]) for name in found[0]}

    @torch.no_grad()
    def influences(self, user: Tensor, item: Tensor) -> list[dict[str, Influence]]:
        """What the items' attributes contribute to the scores of pairs, by index: (B,), (B,) -> B of them."""
        if not isinstance(self.model, Influenced):
            return [{} for _ in item]
        name = self.catalogue.value
        found = [parts.influences(self.model.influences(self.state, *pair), name) for pair in self._blocks(user, item)]
        none: list[dict[str, Influence]] = [{} for _ in item]  # of a graph without attributes
        return [influence for block in found for influence in block] or none

    @torch.no_grad()
    def _explanations(
        self, user: int, items: list[int], how: Explainer, effects: Effects, fidelity: bool, unranked: CSR
    ) -> list[Explanation]:
        item = torch.tensor(items, device=self.views.device)
        person = torch.full_like(item, user)
        everything = self.model.score_all(self.model.users(self.state, person[:1]), self.state)[0]
        hidden = unranked.select(person[:1])[1]
        rank, terms = places(everything, hidden, item).tolist(), self.terms(person, item)
        attention = parts.attention(self.attention, self.views, self.catalogue, user)
        influences = self.influences(person, item)
        explanations = []
        for row, index in enumerate(items):
            reasons, rest = parts.effects(effects, row, self.views, self.catalogue, user, index)
            measured = None
            if fidelity and rank[row]:
                named_places = named_for(self.views, effects.edges, index).nonzero()[:, 0]
                in_question, value = subset(effects.edges, named_places), effects.values[row, named_places]
                measured = measure(self.model, self.views, hidden, user, index, in_question, value)
            explanations.append(
                Explanation(
                    user=self.catalogue.users[user],
                    item=self.catalogue.items[index],
                    title=self.catalogue.titles[index],
                    score=float(everything[index]),
                    rank=rank[row] or None,
                    terms={name: float(term[row]) for name, term in terms.items()},
                    explainer=how.name,
                    meaning=how.meaning,
                    effects=reasons,
                    rest=rest,
                    attention=attention,
                    influences=influences[row],
                    fidelity=measured,
                )
            )
        return explanations

    def _blocks(self, user: Tensor, item: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs in blocks for which a row of scores each would fit: closed forms make them."""
        size = max(1, SCORES // self.model.num_items)
        return zip(torch.split(user, size), torch.split(item, size), strict=True)
