from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.metrics.bootstrap import mean_interval
from recsys_lightning.reports.seeds import seeds_report
from recsys_lightning.reports.tested import read_all
from tests.reports.compared import values, write


def cells(text: str, name: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_all_trainings_count_and_none_is_chosen(tmp_path: Path) -> None:
    ndcg = [values() + luck for luck in (0.1, 0.0, 0.2)]
    folders = [write(tmp_path / f"{seed}", table, checkpoint=f"{seed}") for seed, table in enumerate(ndcg)]
    text = seeds_report(read_all([",".join(map(str, folders))])[0], range(3))
    means = [table.mean() for table in ndcg]
    found = mean_interval(np.stack(ndcg))
    assert cells(text, "ndcg_10") == [
        "ndcg_10",
        f"{np.mean(means):.4f}",
        "0.1000",
        f"{min(means):.4f} to {max(means):.4f}",
        f"{found.low:.4f} to {found.high:.4f}",
    ]
    for seed in range(3):
        assert cells(text, str(seed))[1] == f"{means[seed]:.4f}" and cells(text, str(seed))[-1] == str(folders[seed])
    assert text.startswith("# MF under 3 seeds\n") and "not the best of them" in text and "best of" not in text[:400]


@pytest.mark.parametrize(
    ("checkpoint", "sd", "words"), [("", "0.0000", "solved, not trained"), ("a.ckpt", "\N{EN DASH}", "is not known")]
)
def test_one_test_has_the_deviation_of_its_kind(tmp_path: Path, checkpoint: str, sd: str, words: str) -> None:
    folder = write(tmp_path / "run", values(), checkpoint=checkpoint)
    text = seeds_report(read_all([str(folder)])[0], range(1))
    assert cells(text, "ndcg_10")[2] == sd and words in text


def test_two_seeds_are_said_to_be_few_and_no_interval_leaves_what_can_be(tmp_path: Path) -> None:
    ndcg = [values() / 100, values() / 10, values() / 5]
    folders = [write(tmp_path / f"{seed}", table, checkpoint=f"{seed}") for seed, table in enumerate(ndcg)]
    assert mean_interval(np.stack(ndcg[:2])).low < 0
    two, three = (seeds_report(read_all([",".join(map(str, folders[:n]))])[0], range(n)) for n in (2, 3))
    assert cells(two, "ndcg_10")[-1].startswith("0.0000 to ")
    assert "**Two seeds say little of others" in two and "Two seeds" not in three
    high = [np.ones(400), np.full(400, 0.9)]
    folders = [write(tmp_path / f"high{seed}", table, checkpoint=f"high{seed}") for seed, table in enumerate(high)]
    assert cells(seeds_report(read_all([",".join(map(str, folders))])[0], range(2)), "ndcg_10")[-1].endswith(
        "to 1.0000"
    )
