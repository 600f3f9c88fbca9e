from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.tested import headline, read_all, refuse_metric, refuse_other_data
from tests.reports.compared import values, write


def read(*folders: Path | str) -> Any:
    return read_all([str(folder) for folder in folders])


def test_users_are_brought_into_the_order_of_the_first(tmp_path: Path) -> None:
    ndcg = values()
    first = write(tmp_path / "a", ndcg)
    second = write(tmp_path / "b", ndcg)
    table = pd.read_parquet(second / "per_user.parquet")
    table.sample(frac=1, random_state=0).to_parquet(second / "per_user.parquet")
    one, other = read(first, second)
    everybody = np.ones(len(ndcg), bool)
    assert (one.values("ndcg_10", everybody) == other.values("ndcg_10", everybody)).all()
    assert [run.name for run in (one, other)] == ["MF 1", "MF 2"] and not one.trained and not one.remarks


def test_values_of_domains_have_the_mean_that_the_test_reports(tmp_path: Path) -> None:
    ndcg = values()
    domains = np.where(np.arange(len(ndcg)) < 300, "movie", "book")
    users = [f"u{user % 300}" for user in range(len(ndcg))]
    (run,) = read(write(tmp_path / "a", ndcg, table={"domain": domains, "user_id": users}))
    found = run.values("ndcg_10", np.ones(len(ndcg), bool))
    assert found.shape == (1, 300)
    assert found.mean() == pytest.approx((ndcg[:300].mean() + ndcg[300:].mean()) / 2)


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    ndcg = values()
    base = write(tmp_path / "base", ndcg)

    def refused(name: str, message: str, ndcg: np.ndarray = ndcg, **changes: Any) -> None:
        other = write(tmp_path / name, ndcg, **changes)
        with pytest.raises(InputError, match=message):
            read(base, other)

    refused("data", f"fingerprints differ.\\n  .*base: {'f' * 64}\\n  .*data: {'e' * 64}", fingerprint="e" * 64)
    refused("views", r"saw .* differs.\n  .*base: train\n  .*views: train\+val", test_views="train+val")
    refused("fewer", "base tested 400 users and .*fewer tested 399", ndcg[:399])
    refused("others", "are not the same", table={"user_id": [f"v{user}" for user in range(400)]})
    refused("domains", "are not the same", table={"domain": ["movie"] * 400})
    for file in ("metrics.json", "facts.json", "per_user.parquet"):
        name = f"without_{file.partition('.')[0]}"
        (write(tmp_path / name, ndcg) / file).unlink()
        with pytest.raises(InputError, match=f"{name} has no {file}"):
            read(base, tmp_path / name)
    (base / "per_user.parquet").write_text("nothing")
    with pytest.raises(InputError, match="is damaged"):
        read(base)


def test_one_domain_of_the_same_data_is_not_other_data(tmp_path: Path) -> None:
    def run(name: str, rows: int = 90, only: str = "", **metrics: Any) -> Path:
        sizes = {"read": 100, "core": rows, **({f"only {only}": rows // 2} if only else {}), "train": rows // 3}
        steps = [{"name": step, "rows": size} for step, size in sizes.items()]
        split = "random, val 0.1" + (f", only {only}" if only else "")
        said = {"split": split, **({"fingerprint": only * 8} if only else {}), **metrics}
        return write(tmp_path / name, values(), facts={"steps": steps}, **said)

    fine = [run("all"), run("movie", only="movie"), run("book", only="book"), run("again", only="book")]
    refuse_other_data(fine)
    for name, message, changes in (
        ("rows", "data.\n.*90 rows after core\n.*45 rows after core", {"rows": 45, "only": "movie"}),
        ("split", "different data.\n", {"split": "leave_last_out"}),
        ("source", "different data.\n", {"data": "other", "only": "book"}),
        ("fingerprint", "fingerprints differ", {"only": "book", "fingerprint": "e" * 64}),
        ("views", "what models saw", {"test_views": "train+val"}),
    ):
        with pytest.raises(InputError, match=message):
            refuse_other_data([*fine, run(name, **changes)])


def test_seeds_are_of_one_model_and_of_several_trainings(tmp_path: Path) -> None:
    a, b, c = (write(tmp_path / name, values(), checkpoint=f"{name}.ckpt") for name in "abc")
    other = write(tmp_path / "other", values(), model="EASE")
    again = write(tmp_path / "again", values(), checkpoint="a.ckpt")
    (run,) = read(f"{a},{b},{c}")
    assert run.name == "MF" and len(run.tables) == 3 and run.trained
    for words, message in (
        ([f"{a},{other}"], "one model under several seeds, and are of EASE, MF"),
        ([f"{a},{again}"], r"tests of one training \(a.ckpt\)"),
        ([f"{a},{a}"], "is given twice"),
        ([a, f"{tmp_path}/../{tmp_path.name}/a"], "is given twice"),
        ([f"{a},{b}", f"{c},{other},{again}"], "of EASE, MF"),
        ([f"{a},", ","], "without a folder"),
        ([tmp_path / "gone"], "gone is not there"),
        ([tmp_path], "has no metrics.json"),
    ):
        with pytest.raises(InputError, match=message):
            read(*words)
    more = [write(tmp_path / f"more{seed}", values(), checkpoint=f"{seed}") for seed in range(3)]
    with pytest.raises(InputError, match="as many seeds of each run, or one"):
        read(f"{a},{b}", ",".join(map(str, more)))


def test_what_must_be_said_of_a_test(tmp_path: Path) -> None:
    looked = write(tmp_path / "looked", values(), looked_at_test=True)
    part = write(tmp_path / "part", values(), facts={"held_out": 1000})
    one, other = read(looked, part)
    assert one.remarks[0].startswith("WATERMARK: ") and "looked" in one.remarks[0]
    assert other.remarks == (f"PARTIAL: {part} tested 400 of 1,000 users.",)


def test_metrics_are_those_that_all_have(tmp_path: Path) -> None:
    a = write(tmp_path / "a", values(), table={"ndcg_5": values()})
    b = write(tmp_path / "b", values(), table={"ndcg_10": None, "ndcg_5": None, "ndcg_20": values()})
    assert headline(read(a)) == ["ndcg_5", "recall_5"]
    with pytest.raises(InputError, match="no cut-off in common"):
        headline(read(a, b))
    with pytest.raises(InputError, match=r"b has no ndcg_5 of users; it has .*ndcg_20"):
        refuse_metric(read(a, b), "ndcg_5")
    with pytest.raises(InputError, match="has no rows of users"):
        refuse_metric(read(a), "rows")
