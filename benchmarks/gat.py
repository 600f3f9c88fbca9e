"""One training step of GAT (forward, BPR loss, backward, Adam): ours beside torch_geometric's HeteroConv(GATConv).

    python benchmarks/gat.py [--dim 32] [--edges 2000000] [--sides ours batch pyg]

* ours: attention for all users and items (`GAT.encode`), as torch_geometric's layer does it;
* batch: for the users and items of the batch (`GAT.encode_for`), as training does it;
* pyg: the same parameters in `HeteroConv` of `GATConv`, on the same graph.

The graph is synthetic: 27,785 users, and 37,000 items (12,000 and 25,000 of two domains), of log-normal popularity;
its directed edges are those of interactions, once each way. All sides start from the same parameters, see the same
batches, and must show the same losses. They run in this process, in turn, on one thread; what is measured is CPU time,
and what is to be read is the ratio of two sides of one run. Memory is what a step adds at its peak to a fresh process
that holds the model, the graph, the gradients and the optimizer's state. Goals: at least 4 times as fast, at most 35 %
of the memory.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.losses import bpr
from recsys_lightning.models import GAT, Embeddings
from recsys_lightning.models.gat import Attention
from recsys_lightning.schema import Schema

USERS, ITEMS = 27_785, 37_000
USER_TO_ITEM, ITEM_TO_USER = ("user", "rates", "item"), ("item", "rev_rates", "user")
SPEED, MEMORY = 4.0, 0.35
Batch = tuple[Tensor, Tensor, Tensor]
Encode = Callable[[Batch], Embeddings]


class Setting(NamedTuple):
    """What all sides share."""

    edges: int
    dim: int
    heads: int
    batch_size: int

    def schema(self) -> Schema:
        """Users and items."""
        nodes = {"user": USERS, "item": ITEMS}
        return Schema("benchmark", "none", "", "item", nodes, (USER_TO_ITEM, ITEM_TO_USER), 1, 1, 1)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Users and items of the interactions, sorted; every user and item has one at least."""
        random = np.random.default_rng(0)
        sides = []
        for size in (USERS, ITEMS):
            weight = random.lognormal(sigma=0.8, size=size)
            drawn = random.choice(size, self.edges, p=weight / weight.sum())
            drawn[:size] = random.permutation(size)
            sides.append(drawn)
        coded = np.unique(sides[0] * ITEMS + sides[1])
        coded = np.sort(random.permutation(coded)[: self.edges // 2])
        return torch.from_numpy(coded // ITEMS), torch.from_numpy(coded % ITEMS)

    def batches(self, user: Tensor, item: Tensor) -> Iterator[Batch]:
        """Positives in a random order and uniform negatives, the same ones for every caller."""
        generator = torch.Generator().manual_seed(0)
        for rows in torch.randperm(len(user), generator=generator).split(self.batch_size):
            yield user[rows], item[rows], torch.randint(ITEMS, (len(rows), 1), generator=generator)

    def model(self) -> GAT:
        """The parameters that all sides start from."""
        torch.manual_seed(0)
        return GAT(self.schema(), self.dim, self.heads)


def views(user: Tensor, item: Tensor) -> Views:
    """The graph as ours reads it."""
    crow = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(user, minlength=USERS).cumsum(0)])
    return Views(CSR(crow, item), ITEMS)


def ours(model: GAT, user: Tensor, item: Tensor) -> Encode:
    """All users and items."""
    graph = views(user, item)
    return lambda batch: model.encode(graph)


def batch(model: GAT, user: Tensor, item: Tensor) -> Encode:
    """Those of the batch."""
    graph = views(user, item)
    return lambda batch: model.encode_for(graph, PairBatch(*batch, *batch[1:]))


def pyg(model: GAT, user: Tensor, item: Tensor) -> Encode:
    """The layer of torch_geometric, with the model's parameters."""
    from torch_geometric.nn import GATConv, HeteroConv

    convolutions: dict[tuple[str, str, str], nn.Module] = {}
    for key, edge_type in model.edge_types.items():
        attention = model.attentions[key]
        assert isinstance(attention, Attention)
        _, heads, width = attention.att_src.shape
        layer = GATConv((heads * width, heads * width), width, heads, add_self_loops=False, bias=False)
        layer.lin_src, layer.lin_dst = attention.lin_src, attention.lin_dst
        layer.att_src, layer.att_dst = attention.att_src, attention.att_dst
        convolutions[edge_type] = layer
    layers = HeteroConv(convolutions, aggr="sum")
    forward = torch.stack([user, item])
    edges = {USER_TO_ITEM: forward, ITEM_TO_USER: forward.flip(0)}

    def encode(batch: Batch) -> Embeddings:
        out = layers(dict(model.nodes.items()), edges)
        return Embeddings(*(out[kind] + model.bias[kind] for kind in ("user", "item")))

    return encode


SIDES: dict[str, Callable[[GAT, Tensor, Tensor], Encode]] = {"ours": ours, "batch": batch, "pyg": pyg}


class Racer:
    """A side in training."""

    def __init__(self, name: str, setting: Setting, user: Tensor, item: Tensor) -> None:
        self.model = setting.model()
        self.encode = SIDES[name](self.model, user, item)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self, batch: Batch) -> float:
        """One step; its loss."""
        self.optimizer.zero_grad(set_to_none=False)
        state = self.encode(batch)
        user, item, negative = batch
        u, i, n = state.user[user], state.item[item], state.item[negative]
        loss = bpr((u * i).sum(-1), (u[:, None] * n).sum(-1))
        loss.backward()
        self.optimizer.step()
        return loss.item()


def added_memory(name: str, setting: Setting) -> float:
    """MiB by which a step raises the resident memory of a fresh process above what lies there between steps."""
    torch.set_num_threads(1)
    user, item = setting.pairs()
    racer = Racer(name, setting, user, item)
    stream = setting.batches(user, item)
    for _ in range(2):
        racer.step(next(stream))
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, and not taken for what lies there
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = status("VmRSS")
    racer.step(next(stream))
    return (status("VmHWM") - before) / 1024


def status(field: str) -> int:
    """KiB of this process, from the kernel."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def race(names: list[str], setting: Setting, steps: int) -> dict[str, list[float]]:
    """CPU seconds of each step of each side."""
    user, item = setting.pairs()
    racers = {name: Racer(name, setting, user, item) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, batch in zip(range(steps + 1), setting.batches(user, item), strict=False):
        losses = {}
        for name, racer in racers.items():
            start = time.process_time()
            losses[name] = racer.step(batch)
            if number:  # the first step builds the optimizer's state and the sorted graph
                seconds[name].append(time.process_time() - start)
        if not max(losses.values()) - min(losses.values()) < 1e-4:
            raise SystemExit(f"The sides do not compute the same thing: losses of step {number} are {losses}")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=3_700_000, help="directed edges (default %(default)s)")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each side (default %(default)s)")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="There exist node types")
    setting = Setting(options.edges, options.dim, options.heads, options.batch_size)

    seconds = race(options.sides, setting, options.steps)
    memory = {}
    for name in options.sides:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory[name] = pool.submit(added_memory, name, setting).result()
    last = options.sides[-1]
    print(
        f"{USERS:,} users, {ITEMS:,} items, {setting.edges:,} directed edges, {setting.dim} wide, {setting.heads} heads"
    )
    print(f"{'side':<8} {'min ms':>8} {'median':>8} {last + ' / it':>10} {'added MiB':>10} {'of ' + last:>8}")
    for name, taken in seconds.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(seconds[last], taken, strict=True))
        print(
            f"{name:<8} {1e3 * min(taken):>8.0f} {1e3 * statistics.median(taken):>8.0f} {ratio:>10.1f} "
            f"{memory[name]:>10.0f} {memory[name] / memory[last]:>8.0%}"
        )
    print(f"goals: at least {SPEED:.0f} times as fast, at most {MEMORY:.0%} of the memory")


if __name__ == "__main__":
    main()
