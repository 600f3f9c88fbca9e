"""Tables whose rows are split over processes: each keeps a share of them, of their gradients and of their optimizer.

Rows are read by all processes at once. Each process asks for rows of its own, all learn who asks for what, look up what
is theirs, and each gets the sum of what they found.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn.functional import embedding


def split(module: nn.Module, tables: Iterable[str], mesh: DeviceMesh) -> None:
    """Keep of each table only a process's share of the rows; all start as those of the first process.

    Args:
        module: whose parameters the tables are.
        tables: their names.
        mesh: the processes, in one dimension.
    """
    for name in tables:
        table = getattr(module, name)
        if not isinstance(table, DTensor):
            setattr(module, name, nn.Parameter(distribute_tensor(table.detach(), mesh, [Shard(0)])))


def at_hand(table: Tensor) -> Tensor:
    """A table (n, D) such that `rows_at` can read it.

    With gradients that is the table as it is, for all processes take their training steps at once. Without, it is all
    of its rows on every process: evaluations do not go in step.
    """
    return table.full_tensor() if isinstance(table, DTensor) and not torch.is_grad_enabled() else table


def rows_of_shares(table: DTensor, index: Tensor) -> Tensor:
    """Rows of a table (n, D) that is split; to be asked for by all processes at once, for as many rows each.

    Gradients are the mean over processes, as those of parameters that every process has are.

    Args:
        table: the table.
        index: (k,) integers, other ones on each process.

    Returns:
        (k, D)
    """
    mesh, own = table.device_mesh, table.to_local()
    first = mesh.get_local_rank() * -(-len(table) // mesh.size())
    asked = DTensor.from_local(index, mesh, [Shard(0)]).redistribute(placements=[Replicate()]).to_local()
    place = asked - first
    is_own = (place >= 0) & (place < len(own))
    # DTensor has an embedding too, but its gradient is as large as the whole table
    found = embedding(place.where(is_own, 0), own) * is_own[:, None]
    rows: Tensor = DTensor.from_local(found, mesh, [Partial()]).redistribute(placements=[Shard(0)]).to_local()
    if rows.requires_grad:
        rows.register_hook(lambda gradient: gradient / mesh.size())  # type: ignore[no-untyped-call]
    return rows
