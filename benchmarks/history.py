"""Padded user histories, vectorised, against a loop over users.

All sides run in one process and in turn, on one thread and the CPU clock, minimum of n; their tensors are compared bit
by bit. The plain loop is what one writes first: a list of rows for each user, sorted, cut, and written entry by entry.
The other loop is the best one: numpy inside, a dozen array operations for each user.

    python benchmarks/history.py --users 27785 --rows 1000000
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from recsys_lightning.batches import History
from recsys_lightning.data.history import histories
from recsys_lightning.data.interactions import Interactions

GOAL = 20
BUCKETS = 16


def world(users: int, items: int, rows: int, seed: int = 0) -> Interactions:
    """Random rows sorted by (user, item), a long-tailed number for each user."""
    random = np.random.default_rng(seed)
    share = random.lognormal(sigma=1.0, size=users)
    user = random.choice(users, rows, p=share / share.sum())
    pairs = np.unique(user * items + random.integers(0, items, rows))
    return Interactions(
        user=(pairs // items).astype(np.int32),
        item=(pairs % items).astype(np.int32),
        user_ids=pa.array(map(str, range(users))),
        item_ids=pa.array(map(str, range(items))),
        rating=(random.integers(1, 11, len(pairs)) / 2).astype(np.float32),
        timestamp=random.integers(1_300_000_000, 1_400_000_000, len(pairs)),
    )


def plain_loop(rows: Interactions, length: int, levels: NDArray[np.float32], buckets: int) -> History:
    """The same histories, user by user and row by row."""
    assert rows.rating is not None and rows.timestamp is not None
    own: dict[int, list[tuple[int, int, float]]] = {}
    columns = (rows.user.tolist(), rows.timestamp.tolist(), rows.item.tolist(), rows.rating.tolist())
    for user, timestamp, clicked, rated in zip(*columns, strict=True):
        own.setdefault(user, []).append((timestamp, clicked, rated))
    level = {rated: place + 1 for place, rated in enumerate(levels.tolist())}
    shape = (rows.num_users, length + 1)
    item = torch.full(shape, rows.num_items)
    rating, time_bucket, before, mask = (
        torch.zeros(shape, dtype=kind) for kind in (torch.long, torch.long, torch.long, torch.bool)
    )
    for user, entries in own.items():
        kept = sorted(entries)[-length - 1 :]
        size = len(kept)
        item[user, :size] = torch.tensor([clicked for _, clicked, _ in kept])
        rating[user, :size] = torch.tensor([level[rated] for *_, rated in kept])
        for newest, table in ((1, time_bucket), (2, before)):
            older = kept[: size - newest + 1]
            if older:
                gaps = [math.floor(math.log2(1 + (older[-1][0] - timestamp) / 3600)) for timestamp, *_ in older]
                table[user, : len(older)] = torch.tensor([1 + min(buckets - 1, gap) for gap in gaps])
        mask[user, :size] = True
    return History(item, rating, time_bucket, before, mask, torch.tensor(False))


def numpy_loop(rows: Interactions, length: int, levels: NDArray[np.float32], buckets: int) -> History:
    """The same histories, user by user."""
    assert rows.rating is not None and rows.timestamp is not None
    shape = (rows.num_users, length + 1)
    item = np.full(shape, rows.num_items)
    rating, time_bucket, before = (np.zeros(shape, np.int64) for _ in range(3))
    mask = np.zeros(shape, bool)
    starts = np.searchsorted(rows.user, np.arange(rows.num_users + 1))
    for user in range(rows.num_users):
        own = slice(starts[user], starts[user + 1])
        order = np.argsort(rows.timestamp[own], kind="stable")[-length - 1 :]
        if len(order):
            kept = rows.timestamp[own][order]
            item[user, : len(order)] = rows.item[own][order]
            rating[user, : len(order)] = np.searchsorted(levels, rows.rating[own][order], side="right")
            for newest, table in ((1, time_bucket), (2, before)):
                older = kept[: len(order) - newest + 1]
                if len(older):
                    gap = np.floor(np.log2(1 + (older[-1] - older) / 3600)).astype(np.int64)
                    table[user, : len(older)] = 1 + np.minimum(buckets - 1, gap)
            mask[user, : len(order)] = True
    tensors = (torch.from_numpy(array) for array in (item, rating, time_bucket, before, mask))
    return History(*tensors, by_place=torch.tensor(False))


def seconds(build: Callable[[], History]) -> tuple[float, History]:
    """CPU seconds of one call, and what it returned."""
    start = time.process_time()
    history = build()
    return time.process_time() - start, history


def compare(users: int, items: int, rows: int, length: int, repeats: int) -> None:
    """Build the histories of a world on all sides, in turn, and print how they compare."""
    made = world(users, items, rows)
    assert made.rating is not None
    given = (made, length, np.unique(made.rating), BUCKETS)
    sides = {"vectorised": histories, "plain loop": plain_loop, "numpy loop": numpy_loop}
    taken = dict.fromkeys(sides, math.inf)
    for _ in range(repeats):
        results = []
        for name, build in sides.items():
            spent, history = seconds(partial(build, *given))
            taken[name] = min(spent, taken[name])
            results.append(history)
        for other in results[1:]:
            assert all(map(torch.equal, results[0], other)), "the sides differ"
    print(f"{users:,} users, {len(made):,} rows, L = {length}: histories are bit-equal (goal {GOAL} x)")
    for name, spent in taken.items():
        print(f"{name:12} {spent:.3f} CPU s, {spent / taken['vectorised']:.1f} x")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("users", 27_785), ("items", 12_000), ("rows", 500_000), ("length", 50), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    torch.set_num_threads(1)
    compare(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
