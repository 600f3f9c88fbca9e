"""What `recsys serve` takes for an answer: latency, throughput and memory, exact search and FAISS, and its recall.

The real server is started on loopback over a made-up export, and asked over kept-alive HTTP/1.1 connections for the ten
best items of known users, what these have left out. Clients are threads of this process, so they take a share of the
same cores. Vectors are of length one, in clusters: items around random centres, a user between five items of two
clusters, which is what makes the recall of an approximate index mean something. CPU ms is what a request takes of the
server, which other work on the machine changes less than the clock.

    python benchmarks/serving.py                                 # 10,000 and 1,000,000 items, minutes, 1 GB of disk
    python benchmarks/serving.py --items 10000 --indexes exact   # some seconds
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.serving.format import FORMAT, MANIFEST, File, Manifest, digest

K, OWN, BLOCK = 10, 20, 1 << 16
WITHIN = 0.6
"""Cosine of an item with the centre of its cluster, about."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--items", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes (default: %(default)s)"
    )
    parser.add_argument("--users", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="of the vectors (default: %(default)s)")
    parser.add_argument("--indexes", nargs="+", default=["exact", "faiss"], choices=["exact", "faiss"])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4], help="at a time (default: %(default)s)")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 100], help="users a request (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=8, help="of asking for each row (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="option of `recsys serve` (default: %(default)s)")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; {options.users:,} users, "
        f"vectors {options.dim} wide\n"
    )
    print("| items | index | clients | users a request | p50 ms | p99 ms | requests/s | users/s | CPU ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    notes = []
    for items in options.items:
        with tempfile.TemporaryDirectory() as folder:
            write_export(Path(folder), items, options.users, options.dim)
            found: dict[str, list[set[str]]] = {}
            for index in options.indexes:
                with server(Path(folder), index, options.threads) as running:
                    found[index] = lists(running.port, options.users)
                    for batch in options.batches:
                        for clients in options.clients:
                            before = running.cpu()
                            taken, wall = ask(running.port, options.users, clients, batch, options.seconds)
                            spent = (
                                1000 * (running.cpu() - before) / (len(taken) + clients)
                            )  # which begin with one more
                            cells = [f"{items:,}", index, clients, batch, *rates(taken, wall, batch), f"{spent:.1f}"]
                            print(f"| {' | '.join(map(str, cells))} |", flush=True)
                    notes.append(f"{items:,} items, {index}: ready after {running.ready:.1f} s, {running.memory()}")
            if {"exact", "faiss"} <= found.keys():
                notes.append(f"{items:,} items: recall@{K} of faiss {recall(found['exact'], found['faiss']):.3f}")
    print("\n" + "\n".join(notes))
    print(f"load {os.getloadavg()[0]:.1f} after")


# What is served


def write_export(folder: Path, items: int, users: int, dim: int) -> None:
    """An export of so many items and users with vectors in clusters, in the layout of `serving.format`."""
    random = np.random.default_rng(0)
    clusters = int(np.sqrt(items))
    centre = unit(random.standard_normal((clusters, dim), np.float32))
    of_item = random.integers(clusters, size=items)
    members = np.argsort(of_item, kind="stable")
    first = np.searchsorted(of_item[members], np.arange(clusters + 1))
    item = np.lib.format.open_memmap(folder / "items.npy", mode="w+", dtype=np.float32, shape=(items, dim))
    for start in range(0, items, BLOCK):
        part = of_item[start : start + BLOCK]
        noise = unit(random.standard_normal((len(part), dim), np.float32))
        item[start : start + BLOCK] = unit(WITHIN * centre[part] + np.sqrt(1 - WITHIN**2) * noise)
    liked = random.integers(clusters, size=(users, 2))[:, [0, 0, 0, 1, 1]]
    size = np.maximum(1, np.diff(first))
    picked = members[np.minimum(first[liked] + (random.random(liked.shape) * size[liked]).astype(int), items - 1)]
    np.save(folder / "users.npy", unit(item[picked].mean(1)))
    item.flush()
    own = np.sort(random.integers(items, size=(users, OWN)).astype(np.int32), 1)
    own[:, : picked.shape[1]] = picked
    rows = np.arange(0, users * OWN + 1, OWN, dtype=np.int64)
    for name in ("seen", "own"):
        np.save(folder / f"{name}_crow.npy", rows)
        np.save(folder / f"{name}_col.npy", own.reshape(-1))
    np.save(folder / "values_crow.npy", np.zeros(items + 1, np.int64))
    np.save(folder / "values_col.npy", np.zeros(0, np.int32))
    np.save(folder / "priority.npy", random.permutation(items).astype(np.int32))
    dump(folder, "values.json", [])
    dump(folder, "users.json", {"ids": [str(user) for user in range(users)]})
    titles = [f"Title {one} of {cluster}" for one, cluster in enumerate(of_item.tolist())]
    dump(folder, "items.json", {"ids": [str(one) for one in range(items)], "titles": titles})
    write_manifest(folder, items, users, dim)


def write_manifest(folder: Path, items: int, users: int, dim: int) -> None:
    """Say what lies in the folder."""
    manifest = Manifest(
        format=FORMAT,
        version="0",
        model="MF",
        scorer="vectors",
        data="made-up",
        split="none",
        fingerprint="0",
        item_type="item",
        users=users,
        items=items,
        dim=dim,
        folds_in=False,
        columns=None,
        tables=0,
        files={path.name: File(bytes=path.stat().st_size, sha256=digest(path)) for path in folder.iterdir()},
    )
    dump(folder, MANIFEST, manifest.model_dump())


def dump(folder: Path, name: str, value: object) -> None:
    """Write JSON."""
    (folder / name).write_text(json.dumps(value))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one."""
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


# Who serves it


class Running(NamedTuple):
    """A server that answers."""

    process: subprocess.Popen[str]
    port: int
    ready: float  # seconds from its start

    def cpu(self) -> float:
        """CPU seconds that it has taken so far, on all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> str:
        """What it holds now, from the kernel: own memory, and pages of the files that it reads."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        held = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
        return f"{held['RssAnon']:,.0f} MiB of its own and {held['RssFile']:,.0f} MiB of files"


@contextmanager
def server(folder: Path, index: str, threads: int) -> Iterator[Running]:
    """`recsys serve`, until it answers and while it is used."""
    start = time.perf_counter()
    words = ["recsys_lightning", "serve", str(folder), "--port", "0", "--index", index, "--threads", str(threads)]
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next((line for line in process.stdout if line.startswith("page: ")), None)
        assert address is not None, "the server did not start"
        port = int(address.strip(" /\n").rsplit(":", 1)[1])
        request(http.client.HTTPConnection("127.0.0.1", port), [0])
        yield Running(process, port, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait()


# Who asks


def request(connection: http.client.HTTPConnection, users: Sequence[int]) -> Any:
    """The lists of some users."""
    body = json.dumps({"requests": [{"user": str(user), "k": K} for user in users]})
    connection.request("POST", "/recommend", body, {"content-type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    assert response.status == 200, content
    return content


def lists(port: int, users: int, number: int = 500) -> list[set[str]]:
    """What some users are recommended."""
    chosen = np.random.default_rng(1).integers(users, size=number).tolist()
    connection, found = http.client.HTTPConnection("127.0.0.1", port), []
    for start in range(0, number, 100):
        for answer in json.loads(request(connection, chosen[start : start + 100]))["responses"]:
            found.append({line["item"] for line in answer["recommendations"]})
    return found


def recall(exact: Sequence[set[str]], found: Sequence[set[str]]) -> float:
    """Mean share of the exact lists that was found."""
    return statistics.mean(len(one & other) / len(one) for one, other in zip(exact, found, strict=True))


def ask(port: int, users: int, clients: int, batch: int, seconds: float) -> tuple[list[float], float]:
    """Ask without pause from so many connections; seconds of each request, and of all together."""
    taken: list[float] = []
    start = time.perf_counter()
    end = start + seconds

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        request(connection, [0])
        while (before := time.perf_counter()) < end:
            request(connection, random.integers(users, size=batch).tolist())
            taken.append(time.perf_counter() - before)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, time.perf_counter() - start


def rates(taken: list[float], wall: float, batch: int) -> list[str]:
    """p50 and p99 in ms, requests and users a second."""
    middle, late = np.quantile(taken, [0.5, 0.99]) * 1000
    return [f"{middle:.1f}", f"{late:.1f}", f"{len(taken) / wall:,.0f}", f"{len(taken) * batch / wall:,.0f}"]


if __name__ == "__main__":
    main()
