"""What a full evaluation costs beside the matrix product and top-k that it cannot do without.

Both sides rank users for all items from given embeddings, block by block, in one process and in turn:

* ours: product, seen items masked, exact ties, hits, and the state of every metric (`RankingMetrics.update`);
* bare: product and `torch.topk`, nothing masked and nothing measured.

The sizes are those of LightGCN's split of Gowalla (29,858 users, 40,981 items, 27 seen and 7 relevant each); the data
are random. Goal: at most 1.3 times the bare side, and memory that does not grow with the number of users.

    python benchmarks/ranking.py           # 4,096 of the users, a minute
    python benchmarks/ranking.py --full    # all of them
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from recsys_lightning.batches import RankingBatch
from recsys_lightning.metrics.evaluator import RankingMetrics

USERS, ITEMS, WIDTH, K = 29_858, 40_981, 64, 20
SEEN, RELEVANT = 27, 7
GOAL = 1.3


class World:
    """Random embeddings, and batches of users with what they have seen and are to be shown."""

    def __init__(self, num_users: int, batch_size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.user = torch.randn(num_users, WIDTH, generator=generator)
        self.item = torch.randn(ITEMS, WIDTH, generator=generator)
        self.pairs = torch.randint(ITEMS, (num_users, SEEN + RELEVANT), generator=generator)
        self.popularity = torch.bincount(self.pairs[:, :SEEN].flatten(), minlength=ITEMS)
        self.genres = (torch.rand(ITEMS, 20, generator=generator) < 0.1).float()
        self.batch_size = batch_size

    def batches(self) -> Iterator[RankingBatch]:
        """All users in order."""
        everybody = torch.arange(len(self.user))
        for start in range(0, len(everybody), self.batch_size):
            user = everybody[start : start + self.batch_size]
            seen, relevant = self.pairs[user, :SEEN], self.pairs[user, SEEN:]
            yield RankingBatch(user, as_pairs(seen), as_pairs(relevant))


def as_pairs(items: Tensor) -> Tensor:
    """Table (B, n) of items -> pairs (row, item), (2, B * n)."""
    return torch.stack([torch.arange(len(items)).repeat_interleave(items.shape[1]), items.flatten()])


def ours(world: World) -> None:
    """The complete evaluation."""
    metrics = RankingMetrics([K], ITEMS, world.popularity, len(world.user), world.genres)
    for batch in world.batches():
        metrics.update(batch, world.user[batch.user] @ world.item.T)
    metrics.compute()


def bare(world: World) -> None:
    """Matrix product and top-k alone."""
    for batch in world.batches():
        (world.user[batch.user] @ world.item.T).topk(K)


SIDES: dict[str, Callable[[World], None]] = {"ours": ours, "bare": bare}


def seconds(side: Callable[[World], None], world: World) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    side(world)
    return time.process_time() - start


def added_memory(name: str, num_users: int, batch_size: int, threads: int) -> float:
    """MiB by which one run raises the resident memory of a fresh process above what the data take."""
    torch.set_num_threads(threads)
    world = World(num_users, batch_size)
    SIDES[name](World(8, 8))  # libraries are loaded, which is not the run's doing
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = status("VmRSS")
    SIDES[name](world)
    return (status("VmHWM") - before) / 1024


def status(field: str) -> int:
    """KiB of this process, from the kernel."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all users instead of 4,096")
    parser.add_argument("--batch-size", type=int, default=256, help="users at a time (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_users = USERS if options.full else 4096
    world = World(num_users, options.batch_size)
    print(f"{num_users:,} of {USERS:,} users x {ITEMS:,} items @{K}, {WIDTH} wide, {options.threads} threads,")
    print(f"{options.batch_size} users at a time, {options.repeats} runs of each side in turn")
    for side in SIDES.values():
        side(World(2 * options.batch_size, options.batch_size))  # warm up
    runs: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(options.repeats):
        for name, side in SIDES.items():
            runs[name].append(seconds(side, world))
    for name, values in runs.items():
        print(f"{name}: {min(values):.2f} CPU s at best, {statistics.median(values):.2f} in the median")
    ratio = min(runs["ours"]) / min(runs["bare"])
    median = statistics.median(a / b for a, b in zip(runs["ours"], runs["bare"], strict=True))
    print(f"ours / bare: {ratio:.2f} at best, {median:.2f} in the median (goal: at most {GOAL})")
    for name in SIDES:
        for users in (num_users // 4, num_users):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                peak = pool.submit(added_memory, name, users, options.batch_size, options.threads).result()
            print(f"{name}, {users:,} users: {peak:.0f} MiB added at the peak")


if __name__ == "__main__":
    main()
