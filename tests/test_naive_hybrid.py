"""`HybridRecommender` computes what its equations say: loss, all gradients, and lists.

`benchmarks/naive_hybrid.py` is written straight from the equations and shares no formula with it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.losses.ranking import Contrastive, bpr
from recsys_lightning.metrics.ranking import mask, tie_priority, top_k
from recsys_lightning.models.hybrid import HybridRecommender
from tests.conftest import REPOSITORY

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
ROUNDING = {torch.float64: 1e-14, torch.float32: 1e-6}
"""Of gradients that are zero in truth, such as that of a bias which cancels in every difference of scores."""
OPTIONS: dict[str, dict[str, Any]] = {
    "both": {},
    "both, dot": {"scorer": "dot"},
    "both, bilinear": {"scorer": "bilinear"},
    "both, identity": {"identity": True},
    "both, full width": {"dim": None},
    "both, one head": {"heads": 1},
    "both, the batch's items": {"items": "batch"},
    "text": {"views": "text"},
    "text, full width, dot": {"views": "text", "dim": None, "scorer": "dot"},
    "graph": {"views": "graph"},
    "graph, identity, bilinear": {"views": "graph", "identity": True, "scorer": "bilinear"},
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


@pytest.fixture(scope="module")
def naive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("naive_hybrid", REPOSITORY / "benchmarks" / "naive_hybrid.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["naive_hybrid"] = module
    spec.loader.exec_module(module)
    return module


def build(data: Any, dtype: torch.dtype, **options: Any) -> HybridRecommender:
    """A model whose every parameter matters: none is left at the zero or the one that it starts from."""
    torch.manual_seed(0)
    chosen = {"dim": 12, "heads": 3, "hide": 0.0, "dropout": 0.0, **options}
    if chosen["dim"] is None:
        chosen["heads"] = 4
    model = HybridRecommender(data.schema, **chosen).to(dtype)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model


def batch_of(data: Any, negatives: int = 1) -> PairBatch:
    """Positives of all users who have any, some users more than once; the user of a single row is among them."""
    pairs = torch.stack([data.views.train.row, data.views.train.col])
    generator = torch.Generator().manual_seed(1)
    chosen = torch.cat([torch.randperm(pairs.shape[1], generator=generator)[:40], torch.tensor([pairs.shape[1] - 1])])
    user, item = pairs[:, chosen]
    negative = torch.randint(data.views.num_items, (len(user), negatives), generator=generator)
    return PairBatch(user, item, negative, torch.zeros(len(user)), torch.zeros(negative.shape))


def our_loss(model: HybridRecommender, data: Any, batch: PairBatch) -> Tensor:
    """The loss of a training step, as the ranking task makes it."""
    state = model.encode_for(data.views, batch)
    u = model.users_without(state, batch.user, batch.item)
    i, n = model.items(state, batch.item), model.items(state, batch.negative)
    loss = bpr(model.score(u, i), model.score(u[:, None], n))
    return loss + Contrastive()(*model.two_views(u), batch.user) if model.has_two_views else loss


def gradients(model: HybridRecommender, loss: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss and what it sends to each parameter."""
    model.zero_grad()
    value = loss()
    value.backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing
    return value.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}  # type: ignore[union-attr]


def assert_same(ours: tuple[Tensor, dict[str, Tensor]], theirs: tuple[Tensor, dict[str, Tensor]]) -> None:
    """The same loss, and the same gradients in the norm of each parameter."""
    dtype = ours[0].dtype
    torch.testing.assert_close(ours[0], theirs[0], rtol=TOLERANCE[dtype], atol=0.0)
    whole = torch.stack([gradient.norm() for gradient in theirs[1].values()]).norm()
    for name, expected in theirs[1].items():
        allowed = TOLERANCE[dtype] * expected.norm() + ROUNDING[dtype] * whole
        assert (ours[1][name] - expected).norm() <= allowed, name


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_loss_and_gradients_of_a_step_are_those_of_the_equations(
    naive: ModuleType, options: dict[str, Any], dtype: torch.dtype
) -> None:
    data = naive.world(dtype=dtype)
    model, batch = build(data, dtype, **options).train(), batch_of(data)
    kept = torch.ones(len(batch.user), data.schema.history_length, dtype=torch.bool)
    ours = gradients(model, lambda: our_loss(model, data, batch))
    theirs = gradients(model, lambda: naive.loss(model, data.views, batch, kept))
    assert_same(ours, theirs)


def test_several_negatives_for_each_positive(naive: ModuleType) -> None:
    data = naive.world(dtype=torch.float64)
    model, batch = build(data, torch.float64).train(), batch_of(data, negatives=3)
    kept = torch.ones(len(batch.user), data.schema.history_length, dtype=torch.bool)
    ours = gradients(model, lambda: our_loss(model, data, batch))
    assert_same(ours, gradients(model, lambda: naive.loss(model, data.views, batch, kept)))


@pytest.mark.parametrize("changed", [{"reviewed": 0}, {"most_reviews": 1}, {"length": 1}, {"rows": 60}], ids=str)
def test_smaller_worlds(naive: ModuleType, changed: dict[str, int]) -> None:
    data = naive.world(dtype=torch.float64, **changed)
    model, batch = build(data, torch.float64).train(), batch_of(data)
    kept = torch.ones(len(batch.user), data.schema.history_length, dtype=torch.bool)
    ours = gradients(model, lambda: our_loss(model, data, batch))
    assert_same(ours, gradients(model, lambda: naive.loss(model, data.views, batch, kept)))


def test_hidden_entries_play_no_part_and_are_the_same_in_both_views(naive: ModuleType) -> None:
    data = naive.world(dtype=torch.float64)
    model, batch = build(data, torch.float64, hide=0.5).train(), batch_of(data)
    read: list[Tensor] = []
    for part in (model.text_history, model.graph_history):
        part.register_forward_pre_hook(lambda module, given: read.append(given[2]))
    ours = gradients(model, lambda: our_loss(model, data, batch))
    kept, again = read
    entries = data.views.history.without(batch.user, batch.item)
    assert torch.equal(kept, again)
    assert (kept <= entries.mask).all()
    assert 0.3 < kept.sum() / entries.mask.sum() < 0.7
    assert_same(ours, gradients(model, lambda: naive.loss(model, data.views, batch, kept)))


@every
def test_lists_are_those_of_the_equations(naive: ModuleType, options: dict[str, Any]) -> None:
    data = naive.world(dtype=torch.float64)
    model, k = build(data, torch.float64, **options).eval(), 50  # more than some users have left
    with torch.inference_mode():
        state = model.encode(data.views)
        everybody = torch.arange(data.views.num_users)
        scores = model.score_all(model.users(state, everybody), state)
        mask(scores, data.known.select(everybody))
        ours = top_k(scores, k, tie_priority(data.views.num_items))
        item, score = naive.top_items(model, data.views, data.known, k)
    assert torch.equal(ours.item, item)
    torch.testing.assert_close(ours.score, score, rtol=1e-10, atol=1e-10)


def test_the_world_has_what_goes_wrong(naive: ModuleType) -> None:
    """Or else the tests above would say less than they seem to."""
    data = naive.world()
    text, train = data.views.text, data.views.train
    assert (text.num_reviews == 0).any() and (text.num_reviews > 1).any()
    assert (~text.known & (text.num_reviews > 0)).any() and (~text.known & (text.num_reviews == 0)).any()
    assert (data.known.degree == 0).any()
    assert (data.known.degree == 1).any()
    assert (train.degree < data.known.degree).any()
    assert (data.known.degree > data.schema.history_length + 1).any()
    batch = batch_of(data)
    entries = data.views.history.without(batch.user, batch.item)
    assert (entries.mask.sum(1) == 0).any()
    assert len(batch.user.unique()) < len(batch.user)
    assert (data.views.graph["movie"].context == 0).any()
    for kind in ("genre", "director"):
        item, attribute = data.views.graph["movie", f"has_{kind}", kind].edge_index
        assert item.unique().numel() < data.views.num_items
        assert attribute.unique().numel() < data.schema.num_nodes[kind]
