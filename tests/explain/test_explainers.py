from __future__ import annotations

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.explain.edges import attribute_edges, own_edges, remove
from recsys_lightning.explain.explainers import RIVALS, Contrast, Exact, Explainer, Occlusion
from recsys_lightning.models import EASE, GAT, MF, LightGCN, Recommender
from tests.explain.models import RATES, advisor, score, train
from tests.models import graphs
from tests.worlds import csr

ITEM = torch.tensor([3, 29])


@pytest.mark.parametrize("kind", [EASE, LightGCN])
def test_exact_values_and_rest_are_the_score(kind: type[Recommender]) -> None:
    one = advisor(kind)
    own = own_edges(one.views, 4)
    found = Exact().effects(one.model, one.views, {RATES: own}, 4, ITEM)
    assert found.values.shape == (2, len(own)) and found.rest is not None
    torch.testing.assert_close(found.values.sum(1) + found.rest, score(one, one.views, 4, ITEM))


def test_exact_needs_parts() -> None:
    one = advisor(MF)
    with pytest.raises(
        InputError,
        match=r"^MF cannot be explained by exact: .* occlusion works for every model that reads no histories\.$",
    ):
        Exact().effects(one.model, one.views, {RATES: own_edges(one.views, 4)}, 4, ITEM)


@pytest.mark.parametrize("kind", [EASE, LightGCN])
def test_occlusion_is_the_fall_of_the_score(kind: type[Recommender]) -> None:
    one = advisor(kind)
    own = own_edges(one.views, 4)
    found = Occlusion().effects(one.model, one.views, {RATES: own}, 4, ITEM)
    before = score(one, one.views, 4, ITEM)
    for column, position in enumerate(own.split(1)):
        left = score(one, one.views.without(position), 4, ITEM)
        torch.testing.assert_close(found.values[:, column], before - left)
    assert found.rest is None and found.values.any()


def test_occlusion_of_attributes_for_who_reads_them() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(9, 7, generator=generator) < 0.5
    schema, views = graphs.schema(9, 7), graphs.views(matrix)
    item = torch.tensor([0, 3])
    edges = {RATES: own_edges(views, 1), **attribute_edges(views, schema, item)}
    torch.manual_seed(0)
    model = GAT(schema, dim=8).eval()
    found = Occlusion().effects(model, views, edges, 1, item)
    parts = found.values.split([*map(len, edges.values())], 1)
    assert all(part.any() for part in parts)
    with torch.no_grad():
        for (edge_type, position), part in zip(edges.items(), parts, strict=True):
            state = model.encode(remove(views, {edge_type: position[-1:]}))
            left = model.score(model.users(state, torch.tensor([1])), model.items(state, item))
            whole = model.encode(views)
            before = model.score(model.users(whole, torch.tensor([1])), model.items(whole, item))
            torch.testing.assert_close(part[:, -1], before - left)
    blind = train(LightGCN(schema, dim=8), views, steps=2)
    parts = Occlusion().effects(blind, views, edges, 1, item).values.split([*map(len, edges.values())], 1)
    assert parts[0].any() and not any(part.any() for part in parts[1:])


def test_contrast_is_less_what_the_next_ones_get() -> None:
    one = advisor(EASE)
    edges = {RATES: own_edges(one.views, 4)}
    ranked = one.ranked(torch.tensor([4]), 2 * RIVALS).item[0]
    found = Contrast().effects(one.model, one.views, edges, 4, ranked[:2])
    plain, rivals = (Exact().effects(one.model, one.views, edges, 4, item) for item in (ranked[:2], ranked[RIVALS:]))
    torch.testing.assert_close(found.values, plain.values - rivals.values.mean(0))
    assert found.rest is None


def test_rivals_are_of_what_is_shown_and_no_item_is_its_own() -> None:
    one = advisor(EASE)
    matrix = torch.zeros(40, 30)
    matrix[one.views.train.row, one.views.train.col] = 1
    matrix[4, one.ranked(torch.tensor([4]), 5).item[0, 1:4]] = 1  # rows of val
    one.seen = csr(matrix)
    edges = {RATES: own_edges(one.views, 4)}
    shown = one.ranked(torch.tensor([4]), 2 * RIVALS).item[0]
    item = shown[[0, RIVALS + 2, RIVALS + 3]]
    rivals = shown[RIVALS:][shown[RIVALS:] >= 0]
    assert len(rivals) > 4
    found = Contrast().effects(one.model, one.views, edges, 4, item, one.seen)
    for row, index in enumerate(item):
        others = rivals[rivals != index]
        assert len(others) == len(rivals) - (row > 0)
        plain, theirs = (Exact().effects(one.model, one.views, edges, 4, of).values for of in (index[None], others))
        torch.testing.assert_close(found.values[row], plain[0] - theirs.mean(0))
        alone = Contrast().effects(one.model, one.views, edges, 4, index[None], one.seen)
        torch.testing.assert_close(alone.values[0], found.values[row])


def test_contrast_without_rivals_is_plain() -> None:
    schema, views = graphs.schema(4, 7), graphs.views(torch.rand(4, 7) < 0.5)
    model = train(EASE(schema), views)
    edges, item = {RATES: own_edges(views, 1)}, torch.tensor([0])
    assert torch.equal(
        Contrast().effects(model, views, edges, 1, item).values, Exact().effects(model, views, edges, 1, item).values
    )


@pytest.mark.parametrize("how", [Exact(), Occlusion(), Contrast()])
def test_a_user_without_rows_has_no_effects(how: Explainer) -> None:
    one = advisor(EASE)
    bare = one.views.without(own_edges(one.views, 4))
    found = how.effects(one.model, bare, {RATES: own_edges(bare, 4)}, 4, ITEM)
    assert found.values.shape == (2, 0)
