"""One training step of GAT and GenreGAT (forward, BPR loss, backward, Adam) beside torch_geometric's layers.

    python benchmarks/gat.py [--dim 32] [--edges 2000000] [--sides gat gat-batch] [--cross-domain]

* gat, gat-batch: `GAT`, with attention for all users and items (`encode`), as torch_geometric's layer does it, or for
  those of the batch (`encode_for`), as training does it;
* genregat-L, genregat-L-batch: `GenreGAT` of L layers, likewise; its attribute terms are a part of the step;
* pyg-L: L times `HeteroConv` of `GATConv` on the same graph, and the dot product.

The graph is synthetic: 27,785 users and 37,000 items of one type, both of log-normal popularity, and 20 genres, of
which an item has one or two. What counts as edges are interactions, once each way. With --cross-domain the items are
12,000 movies and 25,000 books, without genres, and users have a relation with each: ours holds them in one table, and
torch_geometric has two types of items. The sides are then gat, gat-batch and pyg-1.

gat, gat-batch and pyg-1 are the same function, and so are the two sides of a GenreGAT: they start from the same
parameters, see the same batches, and must show the same losses. GenreGAT and pyg-L are not the same: it projects no
messages, and it has terms that pyg-L lacks. They are as many layers of attention over the same edges.

All sides run in this process, in turn, on one thread; what is measured is CPU time, and what is to be read is the ratio
of two sides of one run. Memory is what a step adds at its peak to a fresh process that holds the model, the graph, the
gradients and the optimizer's state. Goals, of GAT: at least 4 times as fast, at most 35 % of the memory.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import GAT, Embeddings, GenreGAT, Recommender
from recsys_lightning.schema import EdgeType, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

USERS, ITEMS, GENRES = 27_785, 37_000, 20
FORWARD = (("user", "rates", "item"), ("item", "has_genre", "genre"))
DOMAINS = {"movie": 12_000, "book": 25_000}
SPEED, MEMORY = 4.0, 0.35


class Setting(NamedTuple):
    """What all sides share."""

    edges: int
    dim: int
    heads: int
    batch_size: int
    cross_domain: bool = False

    def schema(self) -> Schema:
        """Users, items and genres, or users and items of domains."""
        nodes = {"user": USERS, "item": ITEMS}
        if self.cross_domain:
            edges = both_ways([("user", f"rates_{name}", "item") for name in DOMAINS])
            return Schema("benchmark", "none", "", "item", nodes, edges, 1, 1, 1, domains=tuple(DOMAINS))
        return Schema("benchmark", "none", "", "item", {**nodes, "genre": GENRES}, both_ways(FORWARD), 1, 1, 1)

    def rival(self) -> tuple[dict[str, int], tuple[EdgeType, ...]]:
        """Nodes and edge types of torch_geometric's graph: each domain has a type of items."""
        schema = self.schema()
        if not self.cross_domain:
            return schema.num_nodes, schema.edge_types
        return {"user": USERS, **DOMAINS}, both_ways([("user", f"rates_{name}", name) for name in DOMAINS])

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

    def views(self) -> Views:
        """The interactions and the graph."""
        user, item = self.pairs()
        crow = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(user, minlength=USERS).cumsum(0)])
        if not self.cross_domain:
            return Views(CSR(crow, item), ITEMS, build_graph=lambda: graph(user, item))
        domain = torch.arange(len(DOMAINS)).repeat_interleave(torch.tensor([*DOMAINS.values()]))
        return Views(CSR(crow, item), ITEMS, build_graph=lambda: graph_of_domains(user, item), domain=domain)

    def batches(self, views: Views) -> Iterator[PairBatch]:
        """Positives in a random order and uniform negatives, the same ones for every caller."""
        generator = torch.Generator().manual_seed(0)
        user, item = views.train.row, views.train.col
        for rows in torch.randperm(len(user), generator=generator).split(self.batch_size):
            negative = torch.randint(ITEMS, (len(rows), 1), generator=generator)
            yield PairBatch(user[rows], item[rows], negative, item[rows], negative)


def both_ways(forward: Iterable[EdgeType]) -> tuple[EdgeType, ...]:
    """Edge types, each followed by its reverse."""
    return tuple(edge for s, name, t in forward for edge in ((s, name, t), (t, f"rev_{name}", s)))


def graph(user: Tensor, item: Tensor) -> HeteroData:
    """The typed graph of interactions, and of items with one or two genres each."""
    from torch_geometric.data import HeteroData

    items = torch.arange(ITEMS)
    owned = torch.stack([items % GENRES, (items // GENRES) % GENRES], 1)
    has = torch.stack([items.repeat_interleave(2), owned.flatten()]).unique(dim=1)
    found = HeteroData()
    for (source, name, target), edges in zip(FORWARD, (torch.stack([user, item]), has), strict=True):
        found[source, name, target].edge_index = edges
        found[target, f"rev_{name}", source].edge_index = edges.flip(0)
    return found


def graph_of_domains(user: Tensor, item: Tensor) -> HeteroData:
    """The graph of interactions whose items are of a type for each domain, one after the other."""
    from torch_geometric.data import HeteroData

    found, first = HeteroData(), 0
    for name, size in DOMAINS.items():
        own = (item >= first) & (item < first + size)
        edges = torch.stack([user[own], item[own] - first])
        found["user", f"rates_{name}", name].edge_index = edges
        found[name, f"rev_rates_{name}", "user"].edge_index = edges.flip(0)
        first += size
    return found


class Plain(Recommender):
    """Layers of torch_geometric, one after the other. The last one has no use for relations into genres."""

    def __init__(self, setting: Setting, layers: int) -> None:
        from torch_geometric.nn import GATConv, HeteroConv

        super().__init__(setting.schema())
        dim, heads = setting.dim, setting.heads
        sizes, self.edge_types = setting.rival()
        self.nodes = nn.ParameterDict({kind: torch.empty(size, dim) for kind, size in sizes.items()})
        for table in self.nodes.values():
            nn.init.normal_(table, std=0.1)
        self.layers, self.bias = nn.ModuleList(), nn.ModuleList()
        for left in reversed(range(layers)):
            heard = [edge for edge in self.edge_types if left or edge[2] != "genre"]
            options = {"add_self_loops": False, "bias": False}
            convolutions = {edge: GATConv((dim, dim), dim // heads, heads, **options) for edge in heard}
            self.layers.append(HeteroConv(convolutions, aggr="sum"))
            self.bias.append(nn.ParameterDict({edge[2]: torch.zeros(dim) for edge in heard}))

    @classmethod
    def of(cls, model: GAT, setting: Setting) -> Plain:
        """One layer with the parameters of ours."""
        made = cls(setting, 1)
        tables = dict(model.nodes.items())
        if setting.cross_domain:
            tables |= zip(DOMAINS, tables["item"].split([*DOMAINS.values()]), strict=True)
        for kind, table in made.nodes.items():
            table.data.copy_(tables[kind].data)
        convolutions = cast(Mapping[EdgeType, nn.Module], made.layers[0].convs)
        by_name = {edge_type[1]: edge_type for edge_type in made.edge_types}
        for key, edge_type in model.edge_types.items():
            convolutions[by_name[edge_type[1]]].load_state_dict(model.attentions[key].state_dict())
        return made

    def encode(self, views: Views) -> Embeddings:
        """All users and items."""
        x: Mapping[str, Tensor] = dict(self.nodes.items())
        edges = {edge: views.graph[edge].edge_index for edge in self.edge_types}
        for layer, bias in zip(self.layers, self.bias, strict=True):
            x = {kind: out + cast(nn.ParameterDict, bias)[kind] for kind, out in layer(x, edges).items()}
        return Embeddings(x["user"], x["item"] if "item" in x else torch.cat([x[name] for name in DOMAINS]))


class Side(NamedTuple):
    """Something to be measured."""

    model: str
    layers: int
    batch: bool = False  # for the batch's users and items alone

    def make(self, setting: Setting) -> Recommender:
        """The model, with the parameters that all sides of the same function start from."""
        torch.manual_seed(0)
        schema, dim, heads = setting.schema(), setting.dim, setting.heads
        if self.model == "genregat":
            return GenreGAT(schema, dim, heads, self.layers, dropout=0.0)
        if self.model == "pyg" and self.layers > 1:
            return Plain(setting, self.layers)
        ours = GAT(schema, dim, heads)
        return ours if self.model == "gat" else Plain.of(ours, setting)

    @property
    def function(self) -> str:
        """Sides that compute the same have the same one."""
        return "gat-1" if (self.model, self.layers) == ("pyg", 1) else f"{self.model}-{self.layers}"

    @property
    def rival(self) -> str:
        """The side that this one is compared with."""
        return f"pyg-{self.layers}"


SIDES = {
    "gat": Side("gat", 1),
    "gat-batch": Side("gat", 1, batch=True),
    "genregat-1": Side("genregat", 1),
    "genregat-1-batch": Side("genregat", 1, batch=True),
    "pyg-1": Side("pyg", 1),
    "genregat-2": Side("genregat", 2),
    "genregat-2-batch": Side("genregat", 2, batch=True),
    "pyg-2": Side("pyg", 2),
}


class Racer:
    """A side in training."""

    def __init__(self, side: Side, setting: Setting, views: Views) -> None:
        self.views, self.batch = views, side.batch
        self.model = side.make(setting)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self, batch: PairBatch) -> float:
        """One step; its loss."""
        self.optimizer.zero_grad(set_to_none=False)
        model = self.model
        state = model.encode_for(self.views, batch) if self.batch else model.encode(self.views)
        u = model.users_without(state, batch.user, batch.item)
        i, n = model.items(state, batch.item), model.items(state, batch.negative)
        loss = bpr(model.score(u, i), model.score(u[:, None], n))
        loss.backward()
        self.optimizer.step()
        return loss.item()


def added_memory(side: Side, setting: Setting) -> float:
    """MiB by which a step raises the resident memory of a fresh process above what lies there between steps."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="There exist node types")
    views = setting.views()
    racer = Racer(side, setting, views)
    stream = setting.batches(views)
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
    views = setting.views()
    racers = {name: Racer(SIDES[name], setting, views) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, batch in zip(range(steps + 1), setting.batches(views), strict=False):
        losses: dict[str, dict[str, float]] = {}
        for name, racer in racers.items():
            start = time.process_time()
            losses.setdefault(SIDES[name].function, {})[name] = racer.step(batch)
            if number:  # the first step builds the optimizer's state and the sorted graph
                seconds[name].append(time.process_time() - start)
        for equal in losses.values():
            if not max(equal.values()) - min(equal.values()) < 1e-4:
                raise SystemExit(f"The sides do not compute the same thing: losses of step {number} are {equal}")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=3_700_000, help="directed edges (default %(default)s)")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each side (default %(default)s)")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), help="their rivals come along (default: all)")
    parser.add_argument("--cross-domain", action="store_true", help="movies and books instead of items with genres")
    options = parser.parse_args()
    options.sides = options.sides or (["gat", "gat-batch"] if options.cross_domain else list(SIDES))
    if options.cross_domain and {*options.sides} - {"gat", "gat-batch", "pyg-1"}:
        parser.error("--cross-domain compares gat and gat-batch with pyg-1 only")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="There exist node types")
    setting = Setting(options.edges, options.dim, options.heads, options.batch_size, options.cross_domain)
    wanted = {*options.sides, *(SIDES[name].rival for name in options.sides)}
    names = [name for name in SIDES if name in wanted]

    seconds = race(names, setting, options.steps)
    memory = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory[name] = pool.submit(added_memory, SIDES[name], setting).result()
    items = " + ".join(f"{size:,}" for kind, size in setting.rival()[0].items() if kind not in ("user", "genre"))
    print(
        f"{USERS:,} users, {items} items, {setting.edges:,} directed edges, {setting.dim} wide, {setting.heads} heads"
        f"; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print(f"{'side':<17} {'min ms':>8} {'median':>8} {'rival / it':>11} {'added MiB':>10} {'of rival':>9}  rival")
    for name in names:
        taken, rival = seconds[name], SIDES[name].rival
        ratio = statistics.median(slow / fast for slow, fast in zip(seconds[rival], taken, strict=True))
        print(
            f"{name:<17} {1e3 * min(taken):>8.0f} {1e3 * statistics.median(taken):>8.0f} {ratio:>11.1f} "
            f"{memory[name]:>10.0f} {memory[name] / memory[rival]:>9.0%}  {rival}"
        )
    print(f"goals of gat: at least {SPEED:.0f} times as fast, at most {MEMORY:.0%} of the memory")


if __name__ == "__main__":
    main()
