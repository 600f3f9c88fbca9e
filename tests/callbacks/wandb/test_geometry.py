from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.wandb.geometry import POINTS, plane, projection_table
from tests.tasks.test_base import data


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_plane_keeps_distances_of_what_lies_in_one() -> None:
    axes = torch.linalg.qr(draw(6, 2).double()).Q
    flat = draw(30, 2).double() * torch.tensor([3.0, 1.0], dtype=torch.double)
    points = plane(flat @ axes.T + 5)
    torch.testing.assert_close(torch.cdist(torch.from_numpy(points), torch.from_numpy(points)), torch.cdist(flat, flat))
    assert points[:, 0].std() > points[:, 1].std() and np.abs(points.mean(0)).max() < 1e-9


def test_the_same_vectors_make_the_same_picture_in_any_order() -> None:
    vectors, order = draw(40, 5), torch.randperm(40, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(plane(vectors)[order.numpy()], plane(vectors[order]), atol=1e-9)


def test_items_without_train_rows_are_not_on_it() -> None:
    prepared, popularity = data().prepared, np.arange(40) - 3
    table = projection_table(Vectors(draw(60, 4), draw(40, 4)), prepared, popularity)
    assert table is not None and table.columns == ["x", "y", "title", "genre", "domain", "train rows"]
    assert [row[5] for row in table.rows] == list(range(1, 37))
    assert [row[2] for row in table.rows] == prepared.items["title"].iloc[4:].tolist()
    genres = prepared.item_attributes["genre"]
    for row, item in zip(table.rows, range(4, 40), strict=True):
        own = [genres.values[value] for value in genres.value[genres.item == item]]
        assert row[3] == (own[0] if own else "")


def test_the_best_known_items_are_on_it() -> None:
    number = POINTS + 7
    items = pd.DataFrame({"title": [f"t{item}" for item in range(number)]})
    prepared: Any = SimpleNamespace(items=items, domain=None, domains=(), item_attributes={})
    table = projection_table(Vectors(draw(3, 2), draw(number, 2)), prepared, np.arange(number) + 1)
    assert table is not None and len(table.rows) == POINTS and table.rows[0][2:] == ["t7", "", "", 8]


def test_without_a_plane_there_is_none() -> None:
    prepared = data().prepared
    assert projection_table(Vectors(draw(60, 1), draw(40, 1)), prepared, np.ones(40, dtype=np.int64)) is None
    assert projection_table(Vectors(draw(60, 4), draw(40, 4)), prepared, np.zeros(40, dtype=np.int64)) is None
