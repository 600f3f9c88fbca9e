"""Folders of runs as `fit` and `test` leave them, in small; names hold what would break a careless page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

EVIL = '<script>alert("1")</script> & *Co* | `x` $y$ <br>'
CONFIG = """\
model:
  class_path: recsys_lightning.tasks.ranking.Ranking
  init_args:
    recommender:
      class_path: recsys_lightning.models.TwoTower
data:
  class_path: recsys_lightning.datamodules.datasets.Goodbooks
checkpoint:
  monitor: val/ndcg_5
  mode: max
wandb_key: (redacted) <b>
"""
FLOORS = {"Popularity": 0.1025, "ItemKNN": 0.1323, "EASE": 0.1357}


def metrics(**changes: Any) -> dict[str, Any]:
    """metrics.json."""
    figures = {"recall_5": 0.2332, "ndcg_5": 0.1365, "mrr_5": 0.12, "hit_rate_5": 0.2849, "coverage_5": 0.31}
    figures |= {"map_5": 0.123456, "recall_20": 0.4321, "recall_5_sampled_500": 0.7071, "diversity_5": None}
    values: dict[str, Any] = {f"test/{name}": value for name, value in figures.items()}
    values |= {"test/users": 200.0, "test/constant_rows": 0.0, "model": "TwoTower", "data": "world"}
    values |= {"split": "random, val 0.1, test 0.1", "fingerprint": "0123456789abcdef" * 4, "features": "f00d"}
    values |= {"users": 200, "seconds": 2.5, "looked_at_test": False, "test_views": "train", "checkpoint": ""}
    return values | changes


def facts(**changes: Any) -> dict[str, Any]:
    """facts.json."""
    floors = [
        {"name": name, "options": {"l": 5.0}, "tuned": True, "seconds": 0.1, "note": "", "test": floor(value)}
        for name, value in FLOORS.items()
    ]
    steps = [
        {"name": "read", "rows": 9000, "users": 1300, "items": 70, "note": ""},
        {"name": "duplicates", "rows": 8990, "users": 1300, "items": 70, "note": "10 repeated pairs dropped <b>"},
    ]
    values = {
        "k": [5, 20],
        "held_out": 200,
        "floors": floors,
        "steps": steps,
        "future": {"tests": 100, "history": 0.25, "items": 0.031},
        "tested": "2026-11-22 04:30:00 UTC",
        "device": "cpu",
        "parameters": 420672,
        "versions": {"recsys_lightning": "0.5", "torch": "2.10.0"},
    }
    return values | changes


def floor(ndcg: float) -> dict[str, float | None]:
    others = {"recall_5": 1.7 * ndcg, "mrr_5": 0.9 * ndcg, "hit_rate_5": 2 * ndcg, "coverage_5": 0.2}
    return {"ndcg_5": ndcg, "users": 200.0, "diversity_5": None, **others}


def histogram(middle: float, width: float, bins: int = 24) -> dict[str, list[float]]:
    edges = [middle + width * (6 * place / bins - 3) for place in range(bins + 1)]
    heights = [math.exp(-(((place + 0.5) * 6 / bins - 3) ** 2) / 2) for place in range(bins)]
    return {"edges": [round(edge, 4) for edge in edges], "counts": [round(400 * height) for height in heights]}


def norms(middle: float, width: float) -> dict[str, Any]:
    quantiles = {"0.05": -1.64, "0.25": -0.67, "0.5": 0.0, "0.75": 0.67, "0.95": 1.64}
    shares = {share: round(middle + z * width, 4) for share, z in quantiles.items()}
    return {"mean": middle + 0.01, "quantiles": shares, **histogram(middle, width)}


def gate(rho: float) -> dict[str, Any]:
    ends = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 1200)]
    points = [
        {
            "from": a,
            "to": b,
            "count": 900 - 100 * n,
            "mean": 0.93 - 0.1 * n,
            "low": 0.86 - 0.1 * n,
            "high": 0.97 - 0.09 * n,
        }
        for n, (a, b) in enumerate(ends)
    ]
    return {"spearman": rho, "low": rho - 0.02, "high": rho + 0.02, "count": 4400, "points": points}


def correlations(number: int = 26) -> list[dict[str, Any]]:
    names = [
        "average_rating",
        "log rating_number",
        "title: words",
        EVIL,
        "author: J.K. Rowling, Mary GrandPré, the illustrator",
    ]
    names += [f"genre: kind {place}" for place in range(number - len(names))]
    found = []
    for place, name in enumerate(names[:number]):
        r = round((-0.9) ** place * 0.31, 4)
        p = min(1.0, 10.0 ** (-abs(r) * 60))
        entry = {"feature": name, "r": r, "p": p, "low": r - 0.06, "high": r + 0.06}
        found.append(
            entry
            | {
                "p_clustered": min(1.0, 0.012 / abs(r) - 0.03),
                "q": 0.07 if abs(r) < 0.1 else 0.003,
                "significant": abs(r) > 0.1,
            }
        )
    return found


def bucket(of: str, name: str, ndcg: float) -> dict[str, Any]:
    """The interval is that of recall; ndcg belongs to lists, so that popularity of items has none."""
    figures = {"of": of, "name": name, "users": 1071, "relevant": 2345, "recall_5": 1.7 * ndcg}
    figures |= {"low": 1.7 * ndcg - 0.011, "high": 1.7 * ndcg + 0.012}
    return figures if of == "item popularity" else figures | {"ndcg_5": ndcg}


def sample(user: str, hit: int) -> dict[str, Any]:
    titles = [
        "The Fellowship of the Ring (The Lord of the Rings, #1)",
        EVIL,
        "Les Misérables",
        "ノルウェイの森",
        "Emma",
    ]
    lines = [
        {
            "rank": place + 1,
            "item": f"b{place}",
            "title": title,
            "score": 7.5 - place / 3,
            "hit": place == hit,
            "shared": {
                "genre": ["fantasy", "classics"][: 2 - place % 3],
                "author": ["J.R.R. Tolkien"] if not place else [],
            },
        }
        for place, title in enumerate(titles)
    ]
    history = [
        "The Hobbit",
        "Harry Potter and the Philosopher's Stone (Harry Potter, #1)",
        EVIL,
        *(f"Book {n}" for n in range(12)),
    ]
    return {"user": user, "history": history, "recommendations": lines, "hit_ratio": {"genre": 0.8, "author": 0.2}}


def diagnostics(**changes: Any) -> dict[str, Any]:
    """diagnostics.json with every key."""
    kinds = ("genre", "author")
    activity = [("1 to 9", 0.101), ("10 to 19", 0.131), ("20 to 39", 0.152), ("40 and more", 0.171)]
    popularity = [("0", 0.004), ("1 to 5", 0.031), ("6 to 20", 0.082), ("21 and more", 0.191)]
    values: dict[str, Any] = {
        "norms": {"user": norms(2.1, 0.4), "item": norms(1.4, 0.3)},
        "cohesion": [
            {"kind": kind, "k": 10, "observed": 0.61 - 0.3 * n, "expected": 0.22 - 0.2 * n, "items": 9000}
            for n, kind in enumerate(kinds)
        ],
        "alignment": {"mean": 0.42, "shuffled": 0.07, "users": 1300, **histogram(0.42, 0.15)},
        "gate": {"item": gate(-0.81), "user": gate(-0.22)},
        "correlations": correlations(),
        "correlations_about": {
            "users": 500,
            "pairs": 50000,
            "resamples": 1000,
            "alpha": 0.05,
            "permuted": {"features": 26, "significant": 1},
        },
        "buckets": [bucket("item popularity", *one) for one in popularity]
        + [bucket("user activity", *one) for one in activity],
        "samples": [sample("u<7>", 0), sample("31", 3)],
        "hit_ratios": {
            kind: {"lists": 0.71 - 0.5 * n, "random": 0.33 - 0.32 * n, "users": 1300} for n, kind in enumerate(kinds)
        },
    }
    return values | changes


def shots(**changes: Any) -> dict[str, Any]:
    """shots.json."""
    starts = {"TwoTower": 0.061, "ContentKNN": 0.052, "ID only": 0.004, "Popularity": 0.01}
    grows = {"TwoTower": 0.016, "ContentKNN": 0.005, "ID only": 0.024, "Popularity": 0.0}
    shown = [
        {
            "model": model,
            "points": [
                {"k": k, "value": (at := value + grows[model] * math.log2(1 + k)), "low": at * 0.9, "high": at * 1.1}
                for k in (0, 1, 2, 5, 10)
            ],
        }
        for model, value in starts.items()
    ]
    return {"metric": "ndcg_10", "what": "items held out with all rows but k", "curves": shown} | changes


def curves(epochs: range, rate: bool = True) -> str:
    """metrics.csv, as Lightning writes it: figures of val and of training in rows of their own."""
    lines = ["epoch,step,lr-Adam,train/loss_epoch,train/loss_step,val/ndcg_5"]
    for epoch in epochs:
        step = 27 * (epoch + 1) - 1
        lines.append(f"{epoch},{step},,,,{0.1 + 0.003 * epoch - 0.0002 * epoch**2}")
        lines.append(f"{epoch},{step},{0.01 * 0.8**epoch if rate else ''},{8 * 0.95**epoch},,")
    return "\n".join(lines) + "\n"


def write(file: Path, value: object) -> Path:
    """A file of a run: a text as it is, anything else as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return file


def trained(root: Path, version: int = 0) -> Path:
    """A folder of `recsys fit`."""
    folder = root / "world-twotower" / f"version_{version}"
    write(folder / "metrics.csv", curves(range(12)))
    write(folder / "config.yaml", CONFIG)
    write(folder / "checkpoints" / "best.ckpt", "weights")
    return folder


def tested(root: Path, version: int = 1, checkpoint: Path | None = None, **changes: Any) -> Path:
    """A folder of `recsys test`."""
    folder = root / "world-twotower" / f"version_{version}"
    write(folder / "metrics.json", metrics(checkpoint=str(checkpoint or ""), **changes))
    write(folder / "facts.json", facts())
    write(folder / "config.yaml", CONFIG)
    values = [0.0] * 120 + [0.25 + 0.008 * place for place in range(80)]
    pd.DataFrame({"user_id": [f"u{n}" for n in range(200)], "ndcg_5": values}).to_parquet(folder / "per_user.parquet")
    return folder


def everything(root: Path) -> Path:
    """A test of a trained model with all that there can be."""
    folder = tested(root, checkpoint=trained(root) / "checkpoints" / "best.ckpt")
    write(folder / "diagnostics.json", diagnostics())
    write(folder / "shots.json", shots())
    return folder


def domains(root: Path, **changes: Any) -> Path:
    """A folder of `recsys test` on two domains."""
    folder = root / "world-twotower" / "version_0"
    figures: dict[str, Any] = {}
    for end, recall, ndcg in (("", 0.2, 0.15), ("_movie", 0.3, 0.2), ("_book", 0.1, 0.1), ("_worst", 0.1, 0.1)):
        figures |= {f"test/recall_5{end}": recall, f"test/ndcg_5{end}": ndcg}
    figures |= {"test/users": 200.0, "test/users_movie": 120.0, "test/users_book": 80.0}
    plain = {name: value for name, value in metrics().items() if not name.startswith("test/")}
    write(folder / "metrics.json", plain | figures | {"domains": ["movie", "book"]} | changes)
    groups = [("", "all", 150, 0.15), ("movie", "all", 120, 0.2), ("book", "all", 80, 0.1)]
    found = [
        {"domain": domain, "name": name, "users": users, "mean": mean, "low": mean - 0.02, "high": mean + 0.02}
        for domain, name, users, mean in groups
    ]
    alone = {"domain": "book", "name": "elsewhere only", "users": 1, "mean": 0.05, "low": None, "high": None}
    tests = {"ndcg_5": 0.17, "ndcg_5_movie": 0.15, "ndcg_5_book": 0.19, "ndcg_5_worst": 0.15, "recall_5": 0.1}
    other = {"name": "EASE", "options": {}, "tuned": True, "seconds": 0.1, "note": "", "test": tests | {"users": 200.0}}
    write(folder / "facts.json", facts(k=[5], groups=[*found, alone], floors=[other]))
    names = ["movie"] * 120 + ["book"] * 80
    table = {"user_id": [f"u{n % 150}" for n in range(200)], "domain": names, "ndcg_5": [0.0, 0.5] * 100}
    pd.DataFrame(table).to_parquet(folder / "per_user.parquet")
    return folder
