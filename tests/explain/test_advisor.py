from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.explain.advisor import EXPLAINERS, Advisor
from recsys_lightning.explain.explainers import Contrast, Occlusion
from recsys_lightning.models import (
    EASE,
    GAT,
    MF,
    GenreGAT,
    HybridRecommender,
    ItemKNN,
    LightGCN,
    Popularity,
    Recommender,
)
from tests.explain.models import advisor, catalogue, score, train
from tests.models import graphs, hybrids
from tests.worlds import csr

KINDS = [EASE, ItemKNN, LightGCN, MF, Popularity]


@pytest.fixture
def gat() -> Advisor:
    """A network with attention, in a world with attributes."""
    matrix = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    matrix[3] = False
    schema = graphs.schema(9, 7)
    torch.manual_seed(0)
    return Advisor(GAT(schema, dim=8), graphs.views(matrix), catalogue(schema))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_the_best_unseen_items_with_titles(kind: type[Recommender]) -> None:
    one = advisor(kind)
    found = one.recommend("u4", 3)
    scores = score(one, one.views, 4, torch.arange(30))
    unseen = scores.clone()
    unseen[one.views.train.select(torch.tensor([4]))[1]] = -torch.inf
    assert [line.rank for line in found] == [1, 2, 3]
    assert [line.score for line in found] == pytest.approx(unseen.topk(3).values.tolist())
    assert all(line.title == f"Movie {line.item[1:]}" for line in found)
    known = one.recommend("u4", 30, exclude_known=False)
    assert {line.item for line in known} == set(one.catalogue.items)
    assert [line.score for line in known] == pytest.approx(scores.sort(descending=True).values.tolist())
    for among_others in (one.recommend_all(k=3)[4], one.recommend_all(["u7", "u4"], 3)[1]):
        assert [line.item for line in among_others] == [line.item for line in found]
        assert [line.score for line in among_others] == pytest.approx([line.score for line in found])
    assert len(one.recommend_all()) == 40


def test_lists_end_where_nothing_is_left() -> None:
    one = advisor(EASE)
    own = len(one.views.train.select(torch.tensor([4]))[1])
    assert len(one.recommend("u4", 100)) == 30 - own
    everything = CSR(torch.arange(0, 40 * 30 + 1, 30), torch.arange(30).repeat(40))
    assert Advisor(one.model, one.views, one.catalogue, everything).recommend("u4") == []


def test_the_graph_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, calls = advisor(LightGCN), []
    encode = one.model.encode

    def counted(views: Views) -> object:
        calls.append(views)
        return encode(views)

    monkeypatch.setattr(one.model, "encode", counted)
    one.recommend("u4")
    one.recommend_all()
    one.terms(torch.tensor([1]), torch.tensor([2]))
    assert len(calls) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_say_score_rank_and_terms(kind: type[Recommender]) -> None:
    one = advisor(kind)
    best = one.recommend("u4", 3)
    found = one.explain("u4", [line.item for line in best])
    for line, why in zip(best, found, strict=True):
        assert (why.user, why.item, why.title, why.rank) == ("u4", line.item, line.title, line.rank)
        assert why.score == pytest.approx(line.score)
        assert sum(why.terms.values()) == pytest.approx(why.score, abs=1e-5)
        if why.rest is not None:
            assert sum(effect.value for effect in why.effects) + why.rest == pytest.approx(why.score, abs=1e-5)
        assert {effect.target for effect in why.effects} == {
            f"m{item}" for item in one.views.train.select(torch.tensor([4]))[1].tolist()
        }
        assert why.meaning and why.explainer == ("exact" if kind not in (MF, Popularity) else "occlusion")
    own = one.views.train.select(torch.tensor([4]))[1][0]
    assert one.explain_recommendation("u4", f"m{own}", fidelity=True).rank is None
    assert one.explain("u4", []) == []


@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainers_by_name(name: str) -> None:
    found = advisor(LightGCN).explain_recommendation("u4", "m3", name)
    assert found.explainer == name and any(effect.value for effect in found.effects)
    assert (found.rest is None) == (name.startswith("contrast") or name in ("occlusion", "gnn"))


@pytest.mark.parametrize("name", [None, *EXPLAINERS])
def test_who_reads_histories_recommends_and_is_not_explained(name: str | None) -> None:
    schema = hybrids.schema()
    one = Advisor(HybridRecommender(schema, dim=8), hybrids.views(hybrids.matrix()), catalogue(schema))
    item = one.recommend("u4", 1)[0].item
    message = r"^HybridRecommender reads histories, and no explainer takes these apart yet: `recsys recommend` works\.$"
    with pytest.raises(InputError, match=message):
        one.explain_recommendation("u4", item, name)


def test_an_explainer_of_ones_own() -> None:
    assert advisor(EASE).explain_recommendation("u4", "m3", Contrast(Occlusion())).explainer == "contrast_occlusion"


@pytest.mark.parametrize("inner", ["exact", "integrated_gradients"])
def test_contrast_hides_what_the_lists_hide(inner: str) -> None:
    one = advisor(EASE)
    matrix = torch.zeros(40, 30)
    matrix[one.views.train.row, one.views.train.col] = 1
    matrix[4, one.ranked(torch.tensor([4]), 5).item[0, 1:4]] = 1  # rows of val
    both = Advisor(one.model, one.views, one.catalogue, csr(matrix))
    shown = [line.item for line in both.recommend("u4", 20)]
    name = "contrast" if inner == "exact" else f"contrast_{inner}"
    values = [
        {effect.target: effect.value for effect in why.effects} for why in both.explain("u4", [shown[0]], name)
    ] + [
        {effect.target: effect.value for effect in why.effects}
        for why in both.explain("u4", [shown[0], *shown[10:]], inner)
    ]
    contrast, plain, *rivals = values
    for target, value in contrast.items():
        mean = sum(rival[target] for rival in rivals) / len(rivals)
        assert value == pytest.approx(plain[target] - mean, abs=1e-5)


def test_an_item_that_the_user_has_is_not_measured() -> None:
    one = advisor(EASE)
    own = one.views.train.select(torch.tensor([4]))[1][0]
    found = one.explain_recommendation("u4", f"m{own}", fidelity=True)
    assert found.rank is None and found.fidelity is None and found.effects


def test_fidelity_on_request() -> None:
    one = advisor(EASE)
    item = one.recommend("u4", 1)[0].item
    assert one.explain_recommendation("u4", item).fidelity is None
    found = one.explain_recommendation("u4", item, fidelity=True).fidelity
    assert found is not None and found.rank > 1 and found.removed <= 5


def test_attention_and_attributes(gat: Advisor) -> None:
    found = gat.explain_recommendation("u1", "m0", "occlusion")
    assert {listened.item for listened in found.attention} == {e.target for e in found.effects if e.relation == "rates"}
    assert sum(listened.weight for listened in found.attention) == pytest.approx(1)
    assert all(len(listened.heads) == 4 for listened in found.attention)
    genres = graphs.attributes(7)["genre"][0].nonzero()[:, 0].tolist()
    assert {e.target for e in found.effects if e.relation == "has_genre"} == {f"genre {genre}" for genre in genres}


def test_users_without_rows_and_items_without_attributes(gat: Advisor) -> None:
    for name in EXPLAINERS:
        found = gat.explain_recommendation("u3", "m2", name, fidelity=True)
        assert (found.effects, found.attention, found.fidelity) == ((), (), None)
        assert found.rank is not None and found.score == pytest.approx(sum(found.terms.values()))


class Tasteful(MF):
    """MF with a genre term: half of the affinity times the strength."""

    def influences(self, state: object, user: Tensor, item: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
        affinity = torch.stack([user / 100, 1 - user / 100], 1)
        strength = torch.stack([torch.ones(len(item)), item % 2], 1)
        return {"genre": (affinity, strength, affinity * strength / 2, torch.full((len(user),), 0.5))}


def test_influences_are_those_of_each_pair_also_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one = advisor(Tasteful)
    user, item = torch.arange(40), torch.arange(40) % 30
    whole = one.influences(user, item)
    monkeypatch.setattr("recsys_lightning.explain.advisor.SCORES", 70)
    assert one.influences(user, item) == whole
    torch.testing.assert_close(one.terms(user, item)["base"], advisor(Tasteful).terms(user, item)["base"])
    assert whole[10]["genre"].total == pytest.approx(0.05) and len(whole[11]["genre"].common) == 2
    why = one.explain_recommendation("u11", "m11")
    assert why.influences["genre"] == whole[11]["genre"]


@pytest.mark.parametrize(
    ("user", "item", "explainer", "k", "message"),
    [
        ("u99", "m3", None, 1, "There is no user 'u99' among the 40 of world (none). Similar: u9"),
        ("u4", "m99", None, 1, "There is no item 'm99' among the 30 of world (none). Similar: m9"),
        ("u4", "m3", "shap", 1, "There is no explainer shap; there are exact, contrast, occlusion"),
        ("u4", "m3", None, 0, "k is 0; at least 1 recommendation can be asked for."),
    ],
)
def test_what_is_wrong_is_said(user: str, item: str, explainer: str | None, k: int, message: str) -> None:
    one = advisor(EASE)
    with pytest.raises(InputError) as error:
        one.recommend("u4", k)
        one.explain_recommendation(user, item, explainer)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("model", [GAT, GenreGAT])
@pytest.mark.parametrize("explainer", ["exact", "occlusion", "integrated_gradients", "gnn"])
def test_rows_of_several_domains_are_explained_together(model: type[Recommender], explainer: str) -> None:
    torch.manual_seed(0)
    matrix = torch.rand(23, 17) < 0.4
    views = graphs.views_of_domains(matrix)
    schema = graphs.with_domains(graphs.schema(23, 17))
    asked = Advisor(train(model(schema, dim=8, heads=2), views, 5), views, catalogue(schema))
    own = {f"m{item}" for item in views.train.col[: int(views.train.crow[1])].tolist()}
    unseen = next(f"m{item}" for item in range(17) if f"m{item}" not in own)
    found = asked.explain_recommendation("u0", unseen, explainer, fidelity=True)
    assert own <= {effect.target for effect in found.effects if effect.relation == "rates"}
    assert {listened.item for listened in found.attention} == own
    assert sum(listened.weight for listened in found.attention) == pytest.approx(1)
    assert found.fidelity is not None
    if found.rest is not None:
        assert sum(effect.value for effect in found.effects) + found.rest == pytest.approx(found.score, abs=1e-4)


# Several domains


def in_domains(kind: type[Recommender] = EASE) -> Advisor:
    """The world of blocks; each third item is a book."""
    one = advisor(kind)
    views = Views(one.views.train, 30, domain=(torch.arange(30) % 3 == 2).long())
    names = replace(one.catalogue, schema=replace(one.catalogue.schema, domains=("movie", "book")))
    return Advisor(one.model, views, names)


@pytest.mark.parametrize("kind", [EASE, Popularity])
@pytest.mark.parametrize("known", [True, False])
def test_a_domain_has_lists_of_its_own(kind: type[Recommender], known: bool) -> None:
    one = in_domains(kind)
    everything = [line.item for line in advisor(kind).recommend("u4", 30, exclude_known=not known)]
    for name, own in (("movie", {0, 1}), ("book", {2})):
        found = one.recommend("u4", 30, exclude_known=not known, domain=name)
        assert [line.item for line in found] == [item for item in everything if int(item[1:]) % 3 in own]
        assert [line.rank for line in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("explainer", ["exact", "contrast", "occlusion"])
def test_an_explained_item_is_ranked_in_its_domain(explainer: str) -> None:
    one = in_domains()
    places = {line.item: line.rank for name in ("movie", "book") for line in one.recommend("u4", 30, domain=name)}
    asked = list(places)[::3]
    found = one.explain("u4", asked, explainer, fidelity=explainer == "exact")
    assert [(why.item, why.rank) for why in found] == [(item, places[item]) for item in asked]
    if explainer == "exact":
        books = sum(int(item[1:]) % 3 == 2 for item in places)
        assert all(why.fidelity.rank <= books for why in found if why.fidelity and int(why.item[1:]) % 3 == 2)


def test_a_domain_is_named_where_there_are_several() -> None:
    one = in_domains()
    for ask in (lambda: one.recommend("u4"), lambda: one.recommend_all(["u4"])):
        with pytest.raises(InputError, match=r"ranked by themselves: name one of movie, book\.$"):
            ask()
    with pytest.raises(InputError, match=r"There is no domain song: name one of movie, book\.$"):
        one.recommend("u4", domain="song")
    with pytest.raises(InputError, match=r"There is no domain book: the items of world are of one\. Leave it out\.$"):
        advisor(EASE).recommend("u4", domain="book")
