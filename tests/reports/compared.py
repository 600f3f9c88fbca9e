"""Folders of tests that are set side by side, as small as `recsys compare` takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

USERS = 400


def values(seed: int = 0, users: int = USERS) -> np.ndarray:
    """(U,) like ndcg: half of the users have nothing."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(users) < 0.5, 0.0, rng.random(users))


def write(
    folder: Path,
    ndcg: np.ndarray,
    model: str = "MF",
    checkpoint: str = "",
    table: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **metrics: Any,
) -> Path:
    """A folder as `recsys test` leaves it; columns and entries that are None are left out."""
    folder.mkdir(parents=True)
    users = [f"u{user:04}" for user in range(len(ndcg))]
    columns = {"user_id": users, "rows": np.arange(len(ndcg)) % 40, "popularity": 5 + np.arange(len(ndcg)) % 4}
    columns |= {"recall_10": ndcg / 2, "ndcg_10": ndcg}
    columns |= {f"{name}_10": ndcg / 3 for name in ("precision", "map", "mrr", "hit_rate")} | (table or {})
    pd.DataFrame({name: column for name, column in columns.items() if column is not None}).to_parquet(
        folder / "per_user.parquet"
    )
    about = {"model": model, "fingerprint": "f" * 64, "test_views": "train", "checkpoint": checkpoint}
    (folder / "metrics.json").write_text(json.dumps({**about, "looked_at_test": False, **metrics}))
    (folder / "facts.json").write_text(json.dumps({"held_out": len(ndcg), **(facts or {})}))
    return folder
