from __future__ import annotations

import sys

import pytest
import torch
from scipy.stats import spearmanr

from recsys_lightning.errors import InputError
from recsys_lightning.explain.edges import attribute_edges, own_edges
from recsys_lightning.explain.explainers import Exact, Explainer
from recsys_lightning.explain.gradients import GNN, IntegratedGradients
from recsys_lightning.models import EASE, GAT, MF, ItemKNN, LightGCN, Recommender
from tests.explain.models import RATES, advisor, score
from tests.models import graphs

ITEM = torch.tensor([3, 29])


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("kind", [EASE, ItemKNN, LightGCN])
def test_integrated_gradients_are_complete(kind: type[Recommender], everything: bool) -> None:
    one = advisor(kind)
    own = own_edges(one.views, 4)
    found = IntegratedGradients(8, everything).effects(one.model, one.views, {RATES: own}, 4, ITEM)
    assert found.values.shape == (2, len(own)) and found.rest is not None
    torch.testing.assert_close(found.values.sum(1) + found.rest, score(one, one.views, 4, ITEM))


def test_integrated_gradients_of_all_edges_rest_on_nothing_but_the_own_embeddings() -> None:
    one = advisor(LightGCN)
    edges = {RATES: torch.arange(len(one.views.train.col))}
    found = IntegratedGradients(8).effects(one.model, one.views, edges, 4, ITEM)
    assert isinstance(one.model, LightGCN) and found.rest is not None
    bare = one.model.item[ITEM] @ one.model.user[4] / (one.model.layers + 1) ** 2
    torch.testing.assert_close(found.rest, bare.detach())
    torch.testing.assert_close(found.values.sum(1) + found.rest, score(one, one.views, 4, ITEM))


@pytest.mark.parametrize("kind", [EASE, LightGCN])
@pytest.mark.parametrize("how", [IntegratedGradients(), GNN()])
def test_they_agree_with_the_exact_parts(kind: type[Recommender], how: Explainer) -> None:
    one = advisor(kind)
    agreements = []
    for user in range(6):
        edges = {RATES: own_edges(one.views, user)}
        item = one.ranked(torch.tensor([user]), 2).item[0]
        exact, found = (side.effects(one.model, one.views, edges, user, item).values for side in (Exact(), how))
        agreements += [spearmanr(a, b).statistic for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert sum(agreements) / len(agreements) >= 0.9


@pytest.mark.parametrize("how", [IntegratedGradients(4), GNN(epochs=5)])
def test_attributes_too_and_the_model_is_left_as_it_was(how: Explainer) -> None:
    matrix = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    schema, views = graphs.schema(9, 7), graphs.views(matrix)
    item = torch.tensor([0, 3])
    edges = {RATES: own_edges(views, 1), **attribute_edges(views, schema, item)}
    torch.manual_seed(0)
    model = GAT(schema, dim=8).eval()
    random = torch.get_rng_state()
    found = how.effects(model, views, edges, 1, item)
    assert all(part.any() for part in found.values.split([*map(len, edges.values())], 1))
    assert torch.equal(found.values, how.effects(model, views, edges, 1, item).values)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_mask_keeps_what_the_score_needs() -> None:
    one = advisor(EASE)
    edges = {RATES: own_edges(one.views, 4)}
    item = one.ranked(torch.tensor([4]), 1).item[0]
    value = Exact().effects(one.model, one.views, edges, 4, item).values[0]
    mask = GNN().effects(one.model, one.views, edges, 4, item).values[0]
    assert ((mask >= 0) & (mask <= 1)).all()
    assert mask[value.argmax()] > 0.9 and mask[value.argmin()] < 0.5


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_for_terminals(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = advisor(EASE)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    GNN(epochs=1).effects(one.model, one.views, {RATES: own_edges(one.views, 4)}, 4, ITEM)
    out, err = capsys.readouterr()
    assert not out and ("gnn" in err and "/2" in err) == terminal and bool(err) == terminal


@pytest.mark.parametrize("how", [IntegratedGradients(), GNN(epochs=2)])
def test_edges_that_nothing_depends_on(how: Explainer) -> None:
    one = advisor(LightGCN, layers=0)
    edges = {RATES: own_edges(one.views, 4)}
    assert not how.effects(one.model, one.views, edges, 4, ITEM).values.any()
    bare = one.views.without(own_edges(one.views, 4))
    assert how.effects(one.model, bare, {RATES: own_edges(bare, 4)}, 4, ITEM).values.shape == (2, 0)


@pytest.mark.parametrize("how", [IntegratedGradients(), GNN()])
def test_a_model_without_messages(how: Explainer) -> None:
    one = advisor(MF)
    with pytest.raises(InputError, match=f"^MF cannot be explained by {how.name}: it has no messages to weigh"):
        how.effects(one.model, one.views, {RATES: own_edges(one.views, 4)}, 4, ITEM)


def test_options_out_of_range() -> None:
    with pytest.raises(InputError, match="at least 1 step, and were given 0"):
        IntegratedGradients(0)
    for options in ({"epochs": 0}, {"lr": 0.0}, {"size": 2.0}):
        with pytest.raises(InputError, match="GNNExplainer needs"):
            GNN(**options)  # type: ignore[arg-type]
