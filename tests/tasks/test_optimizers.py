from __future__ import annotations

import copy
import io
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.optim import SGD, Adam, AdamW, Optimizer, SparseAdam
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.checkpoint import BestAndLast, read_checkpoint
from recsys_lightning.data.loaders import PairLoader
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.schema import Schema
from recsys_lightning.tasks import optimizers
from recsys_lightning.tasks.optimizers import (
    SparseAndDense,
    clip_gradients,
    dense_values,
    make_optimizer,
    total_norm,
)
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer

LR = 0.05


class Sparse(Recommender):
    """Sparse tables, and a dense bridge between them that can be left out."""

    def __init__(self, schema: Schema, dim: int = 4, bridge: bool = True, **options: Any) -> None:
        super().__init__(schema)
        self.user_table = nn.Embedding(self.num_users, dim, sparse=True, **options)
        self.item_table = nn.Embedding(self.num_items, dim, sparse=True, **options)
        self.bridge = nn.Linear(dim, dim) if bridge else nn.Identity()

    def encode(self, views: Views) -> Embeddings | None:
        return None

    def users(self, state: object, user: Tensor) -> Tensor:
        vectors: Tensor = self.bridge(self.user_table(user))
        return vectors

    def items(self, state: object, item: Tensor | None = None) -> Tensor:
        vectors: Tensor = self.item_table.weight if item is None else self.item_table(item)
        return vectors


def network(**options: Any) -> Sparse:
    torch.manual_seed(0)
    return Sparse(data().schema, **options)


def loss_of(model: Sparse, seed: int, rows: int = 32) -> Tensor:
    """A loss that touches some rows, several of them more than once."""
    generator = torch.Generator().manual_seed(seed)
    user, item = (torch.randint(20, (rows,), generator=generator) for _ in range(2))
    return (model.users(None, user) * model.items(None, item)).sum(1).sigmoid().log().mean()


def steps(model: Sparse, optimizer: Optimizer, seeds: range) -> None:
    for seed in seeds:
        optimizer.zero_grad()
        loss_of(model, seed).backward()
        optimizer.step()


def weights(model: nn.Module) -> Tensor:
    return parameters_to_vector(model.parameters()).detach().clone()


# what it does


@pytest.mark.parametrize("kind", [Adam, AdamW, partial(SGD, momentum=0.9)])
def test_each_part_moves_as_its_optimizer_alone_moves_it(kind: Callable[..., Optimizer]) -> None:
    kind = partial(kind, lr=LR, weight_decay=0.0)
    together, apart = network(), network()
    steps(together, make_optimizer(together, kind), range(5))
    tables = [apart.user_table.weight, apart.item_table.weight]
    alone = [kind(apart.bridge.parameters()), SparseAdam(tables, lr=LR)]
    for seed in range(5):
        apart.zero_grad()
        loss_of(apart, seed).backward()
        for optimizer in alone:
            optimizer.step()
    assert torch.equal(weights(together), weights(apart))


def test_only_rows_of_the_batch_move() -> None:
    model = network()
    before = model.user_table.weight.detach().clone()
    steps(model, make_optimizer(model, partial(Adam, lr=LR)), range(1))
    moved = (model.user_table.weight != before).any(1)
    assert moved[:20].any() and not moved[20:].any()


def test_dense_networks_get_what_is_configured() -> None:
    assert type(make_optimizer(nn.Linear(2, 2), partial(AdamW, weight_decay=0.1))) is AdamW


def test_sparse_tables_alone_get_sparse_adam_with_the_configured_options() -> None:
    model = network(bridge=False)
    optimizer = make_optimizer(model, partial(Adam, lr=0.3, betas=(0.5, 0.6), eps=1e-3))
    assert type(optimizer) is SparseAdam
    assert {name: optimizer.defaults[name] for name in ("lr", "betas", "eps")} == {
        "lr": 0.3,
        "betas": (0.5, 0.6),
        "eps": 1e-3,
    }
    assert make_optimizer(model, partial(SGD, lr=0.3, momentum=0.9)).defaults["eps"] == 1e-8


def test_schedulers_work_on_both() -> None:
    model = network()
    optimizer = make_optimizer(model, partial(Adam, lr=LR))
    scheduler = ExponentialLR(optimizer, 0.5)
    before = weights(model)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [LR / 2] * 2
    steps(model, optimizer, range(1))
    # Adam's first step is as long as its learning rate
    assert (weights(model) - before).abs().max() == pytest.approx(LR / 2, rel=1e-3)


@pytest.mark.parametrize("kind", [partial(Adam, lr=LR), partial(SGD, lr=LR, momentum=0.9)])
def test_schedulers_that_cycle_the_momentum_find_it(kind: Callable[..., Optimizer]) -> None:
    optimizer, alone = make_optimizer(network(), kind), kind(nn.Linear(2, 2).parameters())
    schedulers = [OneCycleLR(each, 1.0, total_steps=9) for each in (optimizer, alone)]
    for _ in range(4):
        for each, scheduler in zip((optimizer, alone), schedulers, strict=True):
            each.step()
            scheduler.step()
        [expected] = alone.param_groups
        for group in optimizer.param_groups:
            assert group["lr"] == expected["lr"]
            assert group.get("betas") == expected.get("betas") or "betas" not in expected
        assert optimizer.param_groups[0].get("momentum") == expected.get("momentum")


def test_a_closure_is_called_once_and_its_loss_returned() -> None:
    model = network()
    optimizer = make_optimizer(model, partial(Adam, lr=LR))
    calls = []

    def closure() -> Tensor:
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    other = network()
    with torch.no_grad():
        assert optimizer.step(closure) == loss_of(other, 0)
    assert calls == [True]
    steps(other, make_optimizer(other, partial(Adam, lr=LR)), range(1))
    assert torch.equal(weights(model), weights(other))


@pytest.mark.parametrize("kind", [Adam, partial(SGD, momentum=0.9)])
def test_its_state_goes_through_a_file_and_on_as_if_nothing_had_been(kind: Callable[..., Optimizer]) -> None:
    kind = partial(kind, lr=LR)
    whole = network()
    steps(whole, make_optimizer(whole, kind), range(6))
    first = network()
    optimizer = make_optimizer(first, kind)
    steps(first, optimizer, range(3))
    file = io.BytesIO()
    torch.save([first.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    parameters, state = torch.load(file, weights_only=True)
    second = network()
    second.load_state_dict(parameters)
    optimizer = make_optimizer(second, kind)
    optimizer.load_state_dict(state)
    steps(second, optimizer, range(3, 6))
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_are_cleared(set_to_none: bool) -> None:
    model = network()
    optimizer = make_optimizer(model, partial(Adam, lr=LR))
    loss_of(model, 0).backward()
    optimizer.zero_grad(set_to_none)
    left = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert not left if set_to_none else all(not dense_values(gradient).any() for gradient in left)


# clipping


@pytest.mark.parametrize("limit", [1e-3, 1e3])
@pytest.mark.parametrize("by_norm", [True, False])
def test_clipping_is_that_of_the_dense_gradients(limit: float, by_norm: bool) -> None:
    sparse, dense = network(), network()
    dense.user_table.sparse = dense.item_table.sparse = False
    for model in (sparse, dense):
        loss_of(model, 0).backward()
        (3 * loss_of(model, 1)).backward()  # a second one, as accumulation adds it
    gradients = [[parameter.grad for parameter in model.parameters()] for model in (sparse, dense)]
    torch.testing.assert_close(total_norm(gradients[0]), torch.nn.utils.get_total_norm(gradients[1]))
    clip_gradients(sparse.parameters(), limit, by_norm)
    reference = torch.nn.utils.clip_grad_norm_ if by_norm else torch.nn.utils.clip_grad_value_
    reference(dense.parameters(), limit)
    for clipped, expected in zip(sparse.parameters(), dense.parameters(), strict=True):
        assert clipped.grad is not None and expected.grad is not None
        found = clipped.grad.to_dense() if clipped.grad.is_sparse else clipped.grad
        torch.testing.assert_close(found, expected.grad)


def test_without_gradients_there_is_nothing_to_clip() -> None:
    model = network()
    before = parameters_to_vector(model.parameters()).clone()
    for by_norm in (True, False):
        clip_gradients(model.parameters(), 1.0, by_norm)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(parameters_to_vector(model.parameters()), before)


# what is refused


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (AdamW, r"sparse, and model\.optimizer\.weight_decay is 0\.01: .*AdamW's default is 0\.01.*--model\.weight_d"),
        (partial(SGD, lr=LR, weight_decay=0.1), r"weight_decay is 0\.1"),
        (torch.optim.LBFGS, r"model\.optimizer is LBFGS, which evaluates the loss several times"),
        (SparseAdam, "is SparseAdam, which takes the sparse tables by itself"),
    ],
)
@pytest.mark.parametrize("bridge", [True, False])
def test_what_does_not_go_with_sparse_tables_is_refused(
    kind: Callable[..., Optimizer], message: str, bridge: bool
) -> None:
    with pytest.raises(InputError, match=message):
        make_optimizer(network(bridge=bridge), kind)


def test_a_max_norm_is_refused() -> None:
    with pytest.raises(InputError, match="user_table is sparse and has a max_norm of 1, which"):
        make_optimizer(network(max_norm=1.0), Adam)


def test_nccl_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(optimizers.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(optimizers.dist, "get_backend", lambda: "nccl")
    with pytest.raises(InputError, match=r"NCCL.*process_group_backend gloo"):
        make_optimizer(network(), Adam)
    assert type(make_optimizer(nn.Linear(2, 2), Adam)) is Adam


# under the trainer


def run(folder: Path, **options: Any) -> tuple[Ranking, Trainer]:
    torch.manual_seed(0)
    task = Ranking(
        Sparse, optimizer=partial(AdamW, lr=LR, weight_decay=0.0), lr_scheduler=partial(ExponentialLR, gamma=0.7)
    )
    made = trainer(folder, max_epochs=4, callbacks=[BestAndLast(every_n_steps=2)], **options)
    made.fit(task, data())
    return task, made


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate_grad_batches": 3}, {"gradient_clip_val": 0.01}, {"precision": "bf16-mixed"}],
    ids=["plain", "accumulated", "clipped", "bf16"],
)
def test_killed_in_mid_epoch_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, made = run(tmp_path / "whole", **options)
    steps, optimizer = whole.global_step, made.optimizers[0]
    assert isinstance(optimizer, SparseAndDense) and steps > 8
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([LR * 0.7**4] * 2)

    step = BestAndLast.on_train_batch_end

    def die(self: BestAndLast, trainer: Trainer, *rest: Any) -> None:
        step(self, trainer, *rest)
        if trainer.global_step == steps // 2 + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(BestAndLast, "on_train_batch_end", die)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "killed", **options)
    monkeypatch.undo()
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    assert 0 < read_checkpoint(last)["global_step"] < steps
    task = Ranking(
        Sparse, optimizer=partial(AdamW, lr=LR, weight_decay=0.0), lr_scheduler=partial(ExponentialLR, gamma=0.7)
    )
    made = trainer(tmp_path / "killed", max_epochs=4, callbacks=[BestAndLast(every_n_steps=2)], **options)
    made.fit(task, data(), ckpt_path=last)
    assert task.global_step == steps
    assert torch.equal(weights(task), weights(whole))


def test_clipping_reaches_what_the_trainer_trains(tmp_path: Path) -> None:
    norms: list[float] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
            gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            norms.append(float(total_norm(gradients)))

    for limit in (None, 1e-3):
        task = Ranking(Sparse, optimizer=partial(Adam, lr=LR))
        trainer(tmp_path, max_epochs=1, gradient_clip_val=limit, callbacks=[Watch()]).fit(task, data())
    half = len(norms) // 2
    assert min(norms[:half]) > 2e-3
    assert norms[half:] == pytest.approx([1e-3] * half, rel=1e-2)


def on_two_processes(folder: Path) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Ranking(Sparse, optimizer=partial(Adam, lr=LR))
    made = trainer(folder, max_epochs=2, devices=2, strategy="ddp_fork", callbacks=[BestAndLast()])
    made.fit(task, data())
    content: dict[str, Tensor] = read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    return content


def test_two_processes_make_the_steps_of_their_mean_gradient(elsewhere: Executor, tmp_path: Path) -> None:
    found = elsewhere.submit(on_two_processes, tmp_path).result(timeout=600)
    torch.manual_seed(0)
    task, module = Ranking(Sparse, optimizer=partial(Adam, lr=LR)), data()
    task.build(module.schema)
    task._fitting_views = module.views
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    optimizer = task.configure_optimizers()
    whole = module.train_dataloader()
    parts = [(whole.user, whole.item, whole.negatives, whole.batch_size, whole.seed, rank, 2) for rank in (0, 1)]
    loaders = [PairLoader(*part) for part in parts]
    for epoch in range(2):
        for loader in loaders:
            loader.set_epoch(epoch)
        for batches in zip(*loaders, strict=True):
            optimizer.zero_grad()
            for batch in batches:
                (task.training_step(batch, 0) / 2).backward()
            optimizer.step()
    start = copy.deepcopy(task)
    torch.manual_seed(0)
    start.build(module.schema)
    for name, value in task.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
        assert not torch.equal(found[name], start.state_dict()[name])
