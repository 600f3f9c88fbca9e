"""G6, seen from outside: the target is never among what predicts it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.history import histories
from recsys_lightning.data.negatives import Uniform
from recsys_lightning.models import GenreGAT, HybridRecommender
from recsys_lightning.tasks.ranking import Ranking
from tests.guarantees import GRAPHS, TEXTS, Seen, all_rows, held_out

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=list(GRAPHS))
def test_g6_a_pair_is_trained_on_as_if_the_user_had_not_the_item(graph: GraphRecipe) -> None:
    data, seen = held_out(all_rows, graph=graph), Seen()
    task = Ranking(partial(GenreGAT, dim=8, layers=0), seen)  # message passing is as LightGCN's, and knows the pair
    torch.manual_seed(0)
    task.build(data.schema)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    for parameter in task.parameters():
        torch.nn.init.normal_(parameter)
    views = task._fitting_views = data.views_of("train")
    task.training_step(next(iter(data.pair_loader(Uniform()))), 0)
    [batch], [found] = seen.batch, seen.positive
    row, model = views.train.row, task.recommender
    single = views.train.degree == 1  # such users would be left with nothing, not even an embedding
    assert len(found) == 64 and not single[batch.user].any()
    with torch.no_grad():
        state = model.encode(views)
        asked = model.score(model.users(state, batch.user), model.items(state, batch.item))
        for user, item, trained in zip(batch.user, batch.item, found, strict=True):
            before = model.encode(views.without(((row == user) & (views.train.col == item)).nonzero()[:, 0]))
            honest = model.score(model.users(before, user[None]), model.items(before, item[None]))
            torch.testing.assert_close(trained[None], honest, atol=1e-4, rtol=1e-4)
    assert (found - asked).abs().median() > 0.01


def test_g6_a_history_predicts_an_item_as_if_it_had_never_been_met() -> None:
    data = held_out(all_rows, graph=GRAPHS["ratings and features"], text=TEXTS, history_length=6)
    torch.manual_seed(0)
    model = HybridRecommender(data.schema, dim=8, identity=True, hide=0.0).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    views, rows = data.views_of("train"), data.prepared.interactions.take(data.prepared.mask("train"))
    levels, buckets = data.prepared.rating_levels, data.schema.time_buckets
    told = 0.0
    with torch.no_grad():
        state = model.encode(views)
        for row in range(0, len(rows), 5):
            user, item = (torch.tensor([int(codes[row])]) for codes in (rows.user, rows.item))
            never = histories(rows.take(np.arange(len(rows)) != row), 6, levels, buckets)
            found = model.users_without(state, user, item)
            torch.testing.assert_close(found, model.users(state._replace(history=never), user), rtol=0, atol=1e-6)
            told = max(told, float((found - model.users(state, user)).abs().max()))
    assert told > 0.1
