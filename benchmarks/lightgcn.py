"""One LightGCN training step (forward, BPR loss, backward, Adam): ours beside the usual ways to write it.

    python benchmarks/lightgcn.py [train.txt | ratings.csv.gz]

Without a file the graph is synthetic, of the size and skew of gowalla. With one: a line per user, `user item item ...`,
or a CSV whose first two columns are integer users and items. All sides start from the same embeddings, see the same
batches, and must show the same losses. Every side runs in this process, in turn, on one thread; what is measured is
CPU time, and what is to be read is the ratio of two sides of one run.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, Views
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import LightGCN
from recsys_lightning.schema import Schema

DECAY = 1e-4
LAYERS = 3
Batch = tuple[Tensor, Tensor, Tensor]
Step = Callable[[Batch], Tensor]
Encode = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def schema(num_users: int, num_items: int) -> Schema:
    """Sizes, and nothing else."""
    return Schema("benchmark", "none", "", "item", {"user": num_users, "item": num_items}, (), 1, 1, 1)


def synthetic(num_users: int = 29_858, num_items: int = 40_981, pairs: int = 810_128) -> tuple[Tensor, Tensor]:
    """Users and items of log-normal popularity, gowalla's size: (users, items), every one of them at least once."""
    random = np.random.default_rng(0)
    sides = []
    for size in (num_users, num_items):
        weight = random.lognormal(sigma=0.8, size=size)
        drawn = random.choice(size, 2 * pairs, p=weight / weight.sum())
        drawn[:size] = random.permutation(size)
        sides.append(drawn)
    coded = np.unique(sides[0] * num_items + sides[1])
    coded = np.sort(random.permutation(coded)[:pairs])
    return torch.from_numpy(coded // num_items), torch.from_numpy(coded % num_items)


def read(path: Path) -> tuple[Tensor, Tensor]:
    """(users, items) of a file, sorted and re-indexed."""
    if path.suffix == ".txt":
        rows = [np.array(line.split(), dtype=np.int64) for line in path.read_text().splitlines()]
        user = np.concatenate([np.full(len(row) - 1, row[0]) for row in rows])
        item = np.concatenate([row[1:] for row in rows])
    else:
        user, item = pd.read_csv(path).iloc[:, :2].to_numpy(np.int64).T
    user, item = (np.unique(column, return_inverse=True)[1] for column in (user, item))
    coded = np.unique(user * (item.max() + 1) + item)
    return torch.from_numpy(coded // (item.max() + 1)), torch.from_numpy(coded % (item.max() + 1))


def batches(user: Tensor, item: Tensor, num_items: int, size: int) -> Iterator[Batch]:
    """Shuffled positives and uniform negatives, the same ones for every caller."""
    generator = torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(user), generator=generator).split(size):
            yield user[rows], item[rows], torch.randint(num_items, (len(rows),), generator=generator)


def peer(encode: Encode, users: Tensor, items: Tensor) -> Step:
    """The authors' loss on what a way of propagating gives, in plain torch."""

    def loss(batch: Batch) -> Tensor:
        user, item, negative = batch
        u, i = encode(users, items)
        positive, other = (u[user] * i[item]).sum(-1), (u[user] * i[negative]).sum(-1)
        touched = (users[user], items[item], items[negative])
        penalty = sum(rows.square().sum() for rows in touched) / (2 * len(user))
        return nn.functional.softplus(other - positive).mean() + DECAY * penalty

    return loss


def ours(model: LightGCN, user: Tensor, item: Tensor) -> Step:
    """The step as the Ranking task takes it, through the Recommender contract."""
    crow = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(user, minlength=model.num_users).cumsum(0)])
    views = Views(CSR(crow, item), model.num_items)

    def loss(batch: Batch) -> Tensor:
        user, item, negative = batch[0], batch[1], batch[2][:, None]
        state = model.encode(views)
        u = model.users(state, user)
        positive = model.score(u, model.items(state, item))
        other = model.score(u[:, None], model.items(state, negative))
        return bpr(positive, other) + DECAY * model.penalty(state, user, item, negative)

    return loss


class SharedBackward(torch.autograd.Function):
    """Product with a symmetric CSR matrix, which is its own transposed: the floor that the goal is stated in."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, table: Tensor, matrix: Tensor) -> Tensor:  # noqa: D102
        ctx.matrix = matrix  # type: ignore[attr-defined]
        return torch.sparse.mm(matrix, table)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        return torch.sparse.mm(ctx.matrix, gradient), None  # type: ignore[attr-defined]


def averaged(product: Callable[[Tensor], Tensor], users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Layers stacked and averaged, as the authors and RecBole do."""
    tables = [torch.cat([users, items])]
    for _ in range(LAYERS):
        tables.append(product(tables[-1]))
    mean = torch.stack(tables, dim=1).mean(dim=1)
    return mean[: len(users)], mean[len(users) :]


def summed(product: Callable[[Tensor], Tensor], users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Layers added up as they come, without a stack."""
    table = torch.cat([users, items])
    total = table
    for _ in range(LAYERS):
        table = product(table)
        total = total + table
    mean = total / (LAYERS + 1)
    return mean[: len(users)], mean[len(users) :]


def normalised(user: Tensor, item: Tensor, num_users: int, num_items: int) -> Tensor:
    """D^-1/2 A D^-1/2 of the graph of users and items, as coalesced COO."""
    row, column = torch.cat([user, item + num_users]), torch.cat([item + num_users, user])
    nodes = num_users + num_items
    scale = torch.bincount(row, minlength=nodes).double().clamp(min=1).rsqrt()
    value = (scale[row] * scale[column]).float()
    return torch.sparse_coo_tensor(torch.stack([row, column]), value, (nodes, nodes)).coalesce()


def floor(coo: Tensor) -> Encode:
    """One symmetric CSR with a shared backward."""
    csr = coo.to_sparse_csr()
    matrix = torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(), csr.values(), csr.shape)
    return lambda users, items: summed(lambda table: SharedBackward.apply(table, matrix), users, items)


def torch_csr(coo: Tensor) -> Encode:
    """A CSR matrix with torch's own autograd."""
    matrix = coo.to_sparse_csr()
    return lambda users, items: summed(lambda table: torch.sparse.mm(matrix, table), users, items)


def recbole(coo: Tensor) -> Encode:
    """RecBole 1.2: a COO matrix, not marked as coalesced, with torch's own autograd."""
    matrix = torch.sparse_coo_tensor(coo.indices(), coo.values(), coo.shape)
    return lambda users, items: averaged(lambda table: torch.sparse.mm(matrix, table), users, items)


def pyg(coo: Tensor, edges: Tensor, weight: Tensor | None) -> Encode:
    """torch_geometric's layers, on weights normalised beforehand."""
    from torch_geometric.nn import LGConv

    convolution = LGConv(normalize=False)
    return lambda users, items: summed(lambda table: convolution(table, edges, weight), users, items)


PEERS: dict[str, Callable[[Tensor], Encode]] = {
    "floor": floor,
    "csr": torch_csr,
    "recbole": recbole,
    "pyg-csr": lambda coo: pyg(coo, coo.to_sparse_csr(), None),
    "pyg-edges": lambda coo: pyg(coo, coo.indices(), coo.values()),
}


def racer(
    name: str, user: Tensor, item: Tensor, users: Tensor, items: Tensor, fused: bool
) -> tuple[Step, torch.optim.Optimizer]:
    """The training step of that name and its optimizer, starting from a copy of the embeddings."""
    if name == "ours":
        model = LightGCN(schema(len(users), len(items)), users.shape[1], LAYERS)
        model.load_state_dict({"user": users, "item": items})
        return ours(model, user, item), torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    encode = PEERS[name](normalised(user, item, len(users), len(items)))
    u, i = users.clone().requires_grad_(), items.clone().requires_grad_()
    return peer(encode, u, i), torch.optim.Adam([u, i], lr=1e-3, fused=fused)


def main() -> None:
    """Run the sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="interactions; synthetic where left out")
    parser.add_argument("--steps", type=int, default=10, help="measured steps of each side (default 10)")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=["floor", "csr", "recbole", "pyg-csr"])
    parser.add_argument("--fused", action="store_true", help="Adam in one kernel, for every side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse")

    user, item = synthetic() if options.file is None else read(options.file)
    num_users, num_items = int(user.max()) + 1, int(item.max()) + 1
    torch.manual_seed(0)
    users, items = 0.1 * torch.randn(num_users, options.dim), 0.1 * torch.randn(num_items, options.dim)
    racers = [(name, *racer(name, user, item, users, items, options.fused)) for name in ("ours", *options.peers)]
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in racers}
    stream = batches(user, item, num_items, options.batch_size)
    for number, batch in zip(range(options.steps + 2), stream, strict=False):
        losses = {}
        for name, step, optimizer in racers:
            start = time.process_time()
            optimizer.zero_grad()
            loss = step(batch)
            loss.backward()
            optimizer.step()
            if number >= 2:  # the first steps build caches and the optimizer's state
                seconds[name].append(time.process_time() - start)
            losses[name] = loss.item()
        spread = max(losses.values()) - min(losses.values())
        if not spread < 1e-5:
            raise SystemExit(f"The sides do not compute the same thing: losses of step {number} are {losses}")

    steps = -(-len(user) // options.batch_size)
    reference = "floor" if "floor" in seconds else racers[0][0]
    print(f"{num_users:,} users, {num_items:,} items, {len(user):,} pairs; batch {options.batch_size}, {steps} steps")
    print(f"{'side':<10} {'min ms':>8} {'median':>8} {'/ ' + reference:>10} {'epoch s':>8}")
    for name, taken in seconds.items():
        ratio = min(taken) / min(seconds[reference])
        print(
            f"{name:<10} {1e3 * min(taken):>8.1f} {1e3 * statistics.median(taken):>8.1f} {ratio:>10.3f} "
            f"{steps * statistics.median(taken):>8.1f}"
        )


if __name__ == "__main__":
    main()
