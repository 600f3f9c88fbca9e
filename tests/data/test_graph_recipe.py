from __future__ import annotations

from typing import Any

import pytest

from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["genre", "actor", "genre"]}, r"data\.graph\.attributes names genre more than once"),
        ({"features": ["year", "year"]}, r"data\.graph\.features names year more than once"),
        ({"context": ["year", "year"]}, r"data\.graph\.context names year more than once"),
        ({"buckets": 1}, r"data\.graph\.buckets is 1; it must be at least 2"),
        ({"min_items": 0}, r"data\.graph\.min_items is 0; it must be at least 1"),
        ({"weight": "stars"}, r"data\.graph\.weight is stars; it can be none, rating, count, recency"),
        ({"half_life": 0}, r"data\.graph\.half_life is 0; it must be a positive number"),
        ({"half_life": float("nan")}, r"data\.graph\.half_life is nan"),
        ({"half_life": float("inf")}, r"data\.graph\.half_life is inf"),
        ({"shuffle": -1}, r"data\.graph\.shuffle is -1; a seed must be 0 or more"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GraphRecipe(**options)


def test_by_default_nothing_is_added() -> None:
    assert (PLAIN.attributes, PLAIN.min_items, PLAIN.weight, PLAIN.shuffle) == (None, 1, "none", None)
    assert not (PLAIN.parents or PLAIN.features or PLAIN.vectors or PLAIN.context)
