"""What processes save by sharing the rows of embedding tables, and what it costs them.

    python benchmarks/sharded_tables.py [--users 1000000] [--items 200000] [--dim 64] [--processes 2] [--steps 5]

MF is trained by BPR with Adam on random pairs, each process on a batch of its own: once as `--trainer.strategy ddp`
does it, each process with whole tables, and once as `sharded_tables` does. Printed for the process that takes most: MiB
of memory at the peak beyond those before the tables were made, after training and after the tables were put together
for an evaluation; CPU seconds of a step. Losses of both must be the same. All on this machine by gloo: there is no
network between.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.functional import softplus
from torch.nn.parallel import DistributedDataParallel

from recsys_lightning.models.mf import MF
from recsys_lightning.models.sharding import split
from recsys_lightning.models.sparse import rows_at
from recsys_lightning.schema import Schema

SIDES = ("ddp", "sharded_tables")
SAME = 1e-5
"""By how much the losses may differ."""


class Loss(nn.Module):
    """BPR of pairs, by the parameters of a model."""

    def __init__(self, model: MF) -> None:
        super().__init__()
        self.model = model

    def forward(self, user: Tensor, item: Tensor, other: Tensor) -> Tensor:
        """A scalar."""
        u = rows_at(self.model.user, user)
        difference = u * (rows_at(self.model.item, item) - rows_at(self.model.item, other))
        return softplus(-difference.sum(-1)).mean()


def work(rank: int, side: str, given: argparse.Namespace, folder: str) -> None:
    """What each process does; the first one leaves what was measured."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{side}", rank=rank, world_size=given.processes)
    trained(side, given, users=100, items=100)  # what the libraries load at first is no matter of tables
    before = _peak()
    model, losses, step = trained(side, given, given.users, given.items)
    training = _peak() - before
    with torch.no_grad():
        _ = model.encode(None)  # type: ignore[arg-type]
        evaluating = _peak() - before
    measured = torch.tensor([training, evaluating, step, *losses], dtype=torch.float64)
    gathered = [torch.empty_like(measured) for _ in range(given.processes)]
    dist.all_gather(gathered, measured)
    if rank == 0:
        torch.save(torch.stack(gathered), f"{folder}/{side}.pt")
    dist.destroy_process_group()


def trained(side: str, given: argparse.Namespace, users: int, items: int) -> tuple[MF, list[float], float]:
    """A model after some steps, the loss of each on this process, and CPU seconds of a step."""
    torch.manual_seed(0)
    model = MF(_schema(users, items), given.dim)
    loss_of: nn.Module = Loss(model)
    if side == "ddp":
        loss_of = DistributedDataParallel(loss_of, gradient_as_bucket_view=True)
    else:
        split(model, model.tables, init_device_mesh("cpu", (given.processes,)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(dist.get_rank())
    losses, begin = [], time.process_time()
    for _ in range(given.steps):
        loss = loss_of(*(torch.randint(n, (given.batch_size,), generator=generator) for n in (users, items, items)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    optimizer.zero_grad()
    return model, losses, (time.process_time() - begin) / given.steps


def _schema(users: int, items: int) -> Schema:
    return Schema("random", "none", "", "item", {"user": users, "item": items}, (), 1, 1, 1)


def _peak() -> float:
    """MiB of memory of this process, at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the figures of each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("users", 1_000_000), ("items", 200_000), ("dim", 64), ("processes", 2), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--batch-size", type=int, default=2048)
    given = parser.parse_args()
    table = (given.users + given.items) * given.dim * 4 / 2**20
    print(f"tables of {table:,.0f} MiB, {given.processes} processes, batches of {given.batch_size} each; Adam")
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            mp.spawn(work, (side, given, folder), given.processes)  # type: ignore[attr-defined, no-untyped-call]
        found = {side: torch.load(Path(folder, f"{side}.pt"), weights_only=True) for side in SIDES}
    if not torch.allclose(found["ddp"][:, 3:], found["sharded_tables"][:, 3:], atol=SAME):
        raise SystemExit("the losses of both differ")
    print(f"{'':16}{'training MiB':>14}{'of the tables':>15}{'evaluating MiB':>16}{'CPU s a step':>14}")
    for side, figures in found.items():
        trained, evaluated, step = figures[:, :3].amax(0).tolist()
        print(f"{side:16}{trained:14,.0f}{trained / table:14.1f}x{evaluated:16,.0f}{step:14.3f}")


if __name__ == "__main__":
    main()
