"""Optimizers of networks whose embedding tables have sparse gradients, beside ordinary parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam

from recsys_lightning.errors import InputError

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]

NO_DECAY = (
    "it would shrink every row at every step, and sparse tables are only changed where a batch touches them. Set "
    "--model.optimizer.weight_decay 0 (AdamW's default is 0.01), or use --model.weight_decay, which shrinks the rows "
    "that a batch touches"
)
"""Why an optimizer's weight decay and sparse tables do not go together, and what to do."""

UNFIT = {
    "LBFGS": "evaluates the loss several times a step and needs all gradients in one piece",
    "SparseAdam": "takes the sparse tables by itself already, and no other parameters",
}
"""Optimizers that cannot stand beside the one of sparse tables, and why."""


class SparseAndDense(Optimizer):
    """Two optimizers that act as one: SparseAdam for tables with sparse gradients, any other for what is left.

    Groups and state of both are its own, so schedulers, checkpoints and gradient scalers see one ordinary optimizer;
    the two lend their update rules only. Groups of the dense optimizer come first.

    Args:
        dense: of the parameters with ordinary gradients.
        sparse: of the tables with sparse gradients.
    """

    def __init__(self, dense: Optimizer, sparse: SparseAdam) -> None:
        self._rules: tuple[Optimizer, ...] = (dense, sparse)
        self._places = (slice(len(dense.param_groups)), slice(len(dense.param_groups), None))
        # with the defaults of the dense one: schedulers ask them what there is to schedule
        super().__init__([*dense.param_groups, *sparse.param_groups], dense.defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters once.

        Args:
            closure: computes the loss and its gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for rule, place in zip(self._rules, self._places, strict=True):
            rule.state, rule.param_groups = self.state, self.param_groups[place]
            rule.step()
        return loss


def sparse_tables(module: nn.Module) -> dict[str, nn.Embedding | nn.EmbeddingBag]:
    """Embedding tables with sparse gradients, by name."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return {name: table for name, table in module.named_modules() if isinstance(table, kinds) and table.sparse}


def make_optimizer(module: nn.Module, make: MakeOptimizer) -> Optimizer:
    """The optimizer of a network: as configured, and SparseAdam at the same learning rate for sparse tables.

    SparseAdam takes over betas and eps where the configured optimizer has both, as all of Adam's kin do.

    Args:
        module: the network.
        make: makes the configured optimizer of some parameters.

    Raises:
        InputError: the optimizer or a max_norm cannot stand beside sparse tables, or processes cannot share sparse
            gradients.
    """
    tables = sparse_tables(module)
    if not tables:
        return make(module.parameters())
    _refuse_backend()
    for name, table in tables.items():
        refuse_max_norm(name, table.max_norm)
    weights = [table.weight for table in tables.values()]
    own = {id(weight) for weight in weights}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in own]
    dense = make(rest or [nn.Parameter(weights[0].new_zeros(1))])
    refuse_beside_sparse(type(dense).__name__, max(group.get("weight_decay", 0.0) for group in dense.param_groups))
    options = {"lr": dense.defaults["lr"], "maximize": dense.defaults.get("maximize", False)}
    if {"betas", "eps"} <= set(dense.defaults):
        options |= {"betas": dense.defaults["betas"], "eps": dense.defaults["eps"]}
    sparse = SparseAdam(weights, **options)
    return SparseAndDense(dense, sparse) if rest else sparse


def refuse_max_norm(table: str, max_norm: float | None) -> None:
    """Refuse a limit to the rows of a table that is sparse.

    Args:
        table: its name.
        max_norm: the limit; None for none.

    Raises:
        InputError: there is one.
    """
    if max_norm is not None:
        raise InputError(
            f"{table} is sparse and has a max_norm of {max_norm:g}, which changes rows behind the back of their "
            "optimizer. Leave one of them out, or hold norms down by --model.weight_decay."
        )


def refuse_beside_sparse(optimizer: str, weight_decay: float) -> None:
    """Refuse what cannot be configured for a network that has sparse tables.

    Args:
        optimizer: its name.
        weight_decay: the optimizer's own.

    Raises:
        InputError: it cannot.
    """
    if optimizer in UNFIT:
        raise InputError(
            f"model.optimizer is {optimizer}, which {UNFIT[optimizer]}, and the tables of the network are sparse. "
            "Choose another, such as Adam: SparseAdam for the tables comes with it."
        )
    if weight_decay:
        raise InputError(
            f"The tables of the network are sparse, and model.optimizer.weight_decay is {weight_decay:g}: {NO_DECAY}."
        )


def _refuse_backend() -> None:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and "nccl" in dist.get_backend():
        raise InputError(
            "Processes that talk through NCCL cannot add up sparse gradients. Let them talk through gloo: "
            "--trainer.strategy DDPStrategy --trainer.strategy.process_group_backend gloo. Or make the tables dense: "
            "--model.recommender.table.sparse false."
        )


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """L2 norm of all gradients together; rows of a sparse one that come twice are added up first."""
    return torch.nn.utils.get_total_norm([dense_values(gradient) for gradient in gradients])


def dense_values(gradient: Tensor) -> Tensor:
    """All numbers of a gradient that may differ from zero; of a sparse one, the sums of rows that come twice."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], limit: float, by_norm: bool) -> None:
    """Clip gradients, sparse ones too, in place.

    Args:
        parameters: whose gradients; those without one do not count.
        limit: of the norm of all together, or of each number.
        by_norm: which of both.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
            values.append(dense_values(parameter.grad))
    factor = (limit / (torch.nn.utils.get_total_norm(values) + 1e-6)).clamp(max=1.0) if by_norm else None
    for value in values:
        if factor is None:
            value.clamp_(-limit, limit)
        else:
            value.mul_(factor)
