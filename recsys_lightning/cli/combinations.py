"""Options that exclude one another, refused as soon as the configuration is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonargparse import Namespace

from recsys_lightning.tasks.optimizers import refuse_beside_sparse, refuse_max_norm


def refuse_combinations(model: Namespace) -> None:
    """Refuse a configured task that could only fail, or fail to learn, once it trains.

    Args:
        model: `class_path` and `init_args` of the task.

    Raises:
        InputError: sparse tables with a max_norm, or with an optimizer that cannot stand beside theirs.
    """
    options = model.get("init_args")
    recommender = options.get("recommender") if isinstance(options, Namespace) else None
    if not isinstance(recommender, Namespace):
        return
    tables = list(_sparse(recommender.get("init_args"), "model.recommender"))
    for name, table in tables:
        refuse_max_norm(name, table.get("max_norm"))
    optimizer = options.get("optimizer")
    if tables and isinstance(optimizer, Namespace):
        decay = optimizer.get("init_args.weight_decay")
        refuse_beside_sparse(str(optimizer.class_path).rpartition(".")[2], decay or 0.0)


def _sparse(options: Any, name: str) -> Iterator[tuple[str, Namespace]]:
    """Groups of options, however deep, that ask for sparse gradients."""
    if isinstance(options, Namespace):
        if options.get("sparse") is True:
            yield name, options
        for key, value in vars(options).items():
            yield from _sparse(value, f"{name}.{key}")
