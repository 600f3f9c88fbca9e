"""CPU seconds and peak memory from a CSV of ratings to prepared, split data on disk.

    python benchmarks/preparation.py --rows 20000000

The table is synthetic: users with a long-tailed number of rows, items with a long-tailed popularity, rows in random
order. The preparation runs in a process of its own, so that its peak memory is nobody else's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import numpy as np

FILE = "ratings.csv"
CHUNK = 1 << 20


def write(path: Path, rows: int, seed: int = 0) -> None:
    """A CSV of `rows` ratings: userId, movieId, rating, timestamp."""
    import pyarrow as pa
    import pyarrow.csv

    random = np.random.default_rng(seed)
    users, items = max(10, rows // 145), max(10, min(27_000, rows // 50))
    share = random.lognormal(sigma=1.0, size=users)
    user = np.repeat(np.arange(users, dtype=np.int32), random.multinomial(rows, share / share.sum()))
    user = user[random.permutation(rows)]
    schema = pa.schema({"userId": pa.int32(), "movieId": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()})
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for first in range(0, rows, CHUNK):
            chosen = user[first : first + CHUNK]
            columns = [
                chosen + 1,
                (items * random.random(len(chosen)) ** 3).astype(np.int32) + 1,
                (random.integers(1, 11, len(chosen)) / 2).astype(np.float32),
                random.integers(789_652_004, 1_427_784_002, len(chosen)),
            ]
            writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema))


def measure(folder: Path, split: str) -> None:
    """Prepare the table of a folder, and print what it took."""
    from recsys_lightning.data.prepare import Recipe, prepare
    from recsys_lightning.data.reading.tables import Columns
    from recsys_lightning.data.sources.table import Table

    source = Table(folder, FILE, Columns("userId", "movieId", "rating", "timestamp"))
    recipe = Recipe(user_core=10, item_core=10, split=split)  # type: ignore[arg-type]
    wall, cpu = time.perf_counter(), time.process_time()
    prepared = prepare(source, recipe, folder / "cache")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    for step in prepared.steps:
        print(f"{step.name:24} {step.rows:12,} rows {step.users:9,} users {step.items:7,} items  {step.note}")
    print(f"{split}: {cpu:.1f} CPU s, {wall:.1f} s, peak {peak:.2f} GB")


def main() -> None:
    """Write the table, then measure in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--splits", nargs="+", default=["global_time", "leave_last_out", "random"])
    parser.add_argument("--folder", type=Path, help="with a table written before; measure one split here")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        return measure(arguments.folder, arguments.splits[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        writer = Process(target=write, args=(file, arguments.rows))
        writer.start()
        writer.join()
        print(f"{arguments.rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB of CSV", flush=True)
        for split in arguments.splits:
            subprocess.run([sys.executable, __file__, "--folder", folder, "--splits", split], check=True)
    return None


if __name__ == "__main__":
    main()
