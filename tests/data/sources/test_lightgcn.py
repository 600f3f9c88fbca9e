"""LightGCN's splits: ragged lines, one a user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.data.sources import LightGCNSplit
from recsys_lightning.errors import InputError


def write(root: Path, train: str, test: str) -> LightGCNSplit:
    (root / "mine").mkdir(exist_ok=True)
    (root / "mine" / "train.txt").write_text(train)
    (root / "mine" / "test.txt").write_text(test)
    return LightGCNSplit(root, "mine")


def test_ragged_lines(tmp_path: Path) -> None:
    source = write(tmp_path, "0 5 007 5 \r\n1 9\n2\n\n", "1 5\n")
    found = source.read().interactions
    users, items = found.user_ids.to_pylist(), found.item_ids.to_pylist()
    pairs = [(users[u], items[i]) for u, i in zip(found.user, found.item, strict=True)]
    assert pairs == [("0", "5"), ("0", "007"), ("0", "5"), ("1", "9"), ("1", "5")]
    assert found.split is not None and found.split.tolist() == [0, 0, 0, 0, 2]
    assert (found.rating, found.timestamp, source.name) == (None, None, "mine")


def test_empty_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.txt is empty"):
        write(tmp_path, "", "1 5\n").read()
    source = write(tmp_path, "0 1\n", "1 5\n")
    source.files()[0].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"train\.txt is not a text file"):
        source.read()


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    found = LightGCNSplit(real_data).read().interactions
    assert (found.num_users, found.num_items) == (29_858, 40_981)
    assert found.split is not None and np.bincount(found.split).tolist() == [810_128, 0, 217_242]
    pairs = found.user.astype(np.int64) * found.num_items + found.item
    assert len(np.intersect1d(pairs[found.split == 0], pairs[found.split == 2])) == 0
