"""Features of all items, fitted on those of train."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.item_features.fit import ItemFeatures, fit_features
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.item_features.transform import transform
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import Goodbooks, MovieTweetings
from recsys_lightning.errors import InputError
from tests.conftest import REPOSITORY
from tests.data.memory import Memory, interactions

NAN = float("nan")
ITEMS = pd.DataFrame(
    {
        "title": ["One: a", "Two (b)", "", "Four 4", "New"],
        "year": [1990.0, 2010.0, NAN, 2000.0, 9000.0],
        "price": [0.0, 9.0, 99.0, 4.0, NAN],
        "debt": [-1.0, 2.0, 3.0, 4.0, 5.0],
        "genres": [["x", "y"], ["x"], [], ["y"], ["x", "new"]],
    },
    index=list("abcde"),
)
PAIRS = [("u", "a"), ("u", "b"), ("v", "c"), ("v", "d"), ("u", "e")]
RECIPE = FeatureRecipe(["year"], ["price"], categories=["genres"])


def world(items: pd.DataFrame = ITEMS) -> Prepared:
    rows = interactions(PAIRS, split=[0, 0, 0, 0, 2])
    return prepare(Memory(rows, items), Recipe(split="official", val=0, unseen_items="keep"))


def fit(items: pd.DataFrame = ITEMS, **options: Any) -> ItemFeatures:
    return fit_features(world(items), replace(RECIPE, **options))


@pytest.fixture(scope="module")
def films() -> Prepared:
    return prepare(MovieTweetings(REPOSITORY / "data"), Recipe())


def assert_transformed(prepared: Prepared, features: ItemFeatures) -> None:
    """Each row is what the record of its item is transformed to, the spec having been written as JSON."""
    spec = json.loads(json.dumps(features.spec))
    tensors = features.tensors()
    for place, record in enumerate(prepared.items.to_dict("records")):
        numbers, codes = transform(spec, {str(name): value for name, value in record.items()})
        assert np.array(numbers) == pytest.approx(features.matrix[place], rel=2e-6, abs=2e-6)
        rows = [part.col[part.crow[place] : part.crow[place + 1]].tolist() for part in tensors.categories]
        assert codes == rows


def test_numbers_are_named_and_standardised() -> None:
    found = fit()
    assert found.numbers[:3] == ("year", "year_unknown", "log_price") and found.numbers[-1] == "title_unknown"
    assert found.matrix[:4, 0] == pytest.approx(np.array([-1, 1, 0, 0]) * math.sqrt(1.5))
    assert found.matrix[:, 1].tolist() == [0, 0, 1, 0, 0] and found.matrix[:, -1].tolist() == [0, 0, 1, 0, 0]
    assert found.matrix[4, 0] == 10  # beyond ten deviations
    logs = np.log1p([0, 9, 99, 4])
    assert found.matrix[:4, 2] == pytest.approx((logs - logs.mean()) / logs.std(), rel=1e-6)
    assert found.matrix[4, 2] == 0  # unknown outside of train only: no number says so


def test_the_schema_and_models_see_names_sizes_and_tensors() -> None:
    prepared, found = world(), fit()
    schema = prepared.schema(features=found)
    assert (schema.numbers, schema.categories, schema.features) == (found.numbers, {"genres": 2}, found.digest)
    assert found.categories == {"genres": ("x", "y")}
    features = prepared.views("train", features=found).features
    assert features.numbers.dtype == torch.float32 and features.numbers.shape == (5, len(found.numbers))
    assert features.categories[0].col.tolist() == [0, 1, 0, 1, 0]
    assert features.categories[0].crow.tolist() == [0, 2, 3, 3, 4, 5]


def test_held_out_items_change_nothing() -> None:
    """G5: whatever the item that train lacks is, the others' features and the spec stay."""
    other = ITEMS.copy()
    other.loc["e"] = ["A much longer title: (x)", 1.0, 1e9, 0.0, ["y", "z", "z2"]]
    one, two = fit(hashed=2), fit(other, hashed=2)
    assert one.spec == two.spec and (one.matrix[:4] == two.matrix[:4]).all()
    assert (one.matrix[4] != two.matrix[4]).any()
    edge = one.coded["genres"].crow[4]
    assert (one.coded["genres"].col[:edge] == two.coded["genres"].col[:edge]).all()


def test_the_digest_changes_with_everything() -> None:
    prices, genres = ITEMS.assign(price=[0.0, 9, 99, 5, NAN]), ITEMS.copy()
    genres.at["e", "genres"] = ["y"]
    kinds = [
        fit(),
        fit(prices),
        fit(genres),
        fit(ITEMS.rename(columns={"year": "made"}), numbers=["made"]),
        fit(title=False),
        fit(hashed=1),
        fit(shuffle=0),
        fit(shuffle=1),
    ]
    assert fit().digest == kinds[0].digest
    assert len({kind.digest for kind in kinds}) == len(kinds)


def test_titles_that_are_ids_tell_nothing() -> None:
    untitled = ITEMS.drop(columns="title")
    assert fit(untitled).numbers == ("year", "year_unknown", "log_price")
    with pytest.raises(InputError, match=r"no titles that differ\. Name numbers, .* there are year, price, debt, gen"):
        fit_features(world(untitled), FeatureRecipe())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": ["yaer"]}, r"data\.features\.numbers names yaer, .*Did you mean year\?"),
        ({"numbers": ["genres"]}, r"data\.features\.numbers names genres, which is no column of numbers"),
        ({"logs": ["debt"]}, r"data\.features\.logs names debt, which is negative for 1 items, first 'a'"),
        ({"categories": ["title2"]}, r"data\.features\.categories names title2, .*Did you mean title\?"),
    ],
)
def test_columns_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(**options)


def test_a_column_that_tells_nothing_of_train_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.features\.numbers names year, which is 7 for every item of train"):
        fit(ITEMS.assign(year=[7.0, 7, 7, 7, 8]))


def test_later_columns_are_used_with_a_warning() -> None:
    prepared = replace(world(), later=("price", "debt"))
    with pytest.warns(UserWarning, match="data.features names price, which was gathered after the interactions"):
        fit_features(prepared, RECIPE)


def test_shuffled_items_exchange_whole_rows(films: Prepared) -> None:
    recipe = FeatureRecipe(["year", "runtime"], categories=["genres", "directors"])
    plain, moved = fit_features(films, recipe), fit_features(films, replace(recipe, shuffle=3))
    keys = [
        [
            (tuple(row), *(tuple(part.tolist()) for part in parts))
            for row, *parts in zip(f.matrix, *split(f), strict=True)
        ]
        for f in (plain, moved)
    ]
    known = films.in_train
    for group in (known, ~known):
        one, other = ([key for key, chosen in zip(side, group, strict=True) if chosen] for side in keys)
        assert sorted(one) == sorted(other)
    assert np.mean([a == b for a, b in zip(*keys, strict=True)]) < 0.05  # equal by chance alone
    assert moved.spec == plain.spec


def split(features: ItemFeatures) -> list[list[np.ndarray]]:
    return [np.split(coded.col, coded.crow[1:-1]) for coded in features.coded.values()]


def test_every_film_of_the_sample_transforms_to_its_row(films: Prepared) -> None:
    recipe = FeatureRecipe(
        ["year", "runtime"],
        categories=["genres", "directors", "writers", "cast", "languages"],
        hashed=16,
    )
    found = fit_features(films, recipe)
    assert len(found.categories["cast"]) == 316 and "runtime_unknown" in found.numbers
    assert_transformed(films, found)


texts = st.text(alphabet="abC :(1)'-", max_size=9)
items = st.lists(
    st.tuples(
        texts,
        st.none() | st.floats(-1e4, 1e4),
        st.none() | st.floats(0, 1e9),
        st.lists(st.sampled_from(["x", "y", " z", "w", ""]), max_size=3),
    ),
    min_size=5,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(items, st.integers(0, 3), st.integers(1, 3))
def test_any_item_transforms_to_its_row(rows: list[Any], hashed: int, top: int) -> None:
    table = pd.DataFrame(rows, columns=["title", "year", "price", "genres"], index=list("abcde"))
    table = table.astype({"year": "float64", "price": "float64"})
    prepared = world(table)
    try:
        found = fit_features(prepared, replace(RECIPE, hashed=hashed, top=top, min_items=1))
    except InputError:
        return  # a column tells nothing of train
    assert np.isfinite(found.matrix).all()
    assert_transformed(prepared, found)


@pytest.mark.slow
def test_goodbooks(real_data: Path) -> None:
    recipe = Recipe(user_core=5, item_core=10, split="leave_last_out", val=1, test=1)
    prepared = prepare(Goodbooks(real_data), recipe)
    found = fit_features(prepared, FeatureRecipe(["year"], categories=["authors", "genres", "language"]))
    assert {kind: len(names) for kind, names in found.categories.items()} == {
        "authors": 300,
        "genres": 300,
        "language": 15,
    }
    assert found.categories["authors"][0] == "Stephen King"
    assert_transformed(prepared, found)
    with pytest.warns(UserWarning, match="average_rating, rating_number, which were gathered after"):
        fit_features(prepared, FeatureRecipe(["average_rating"], ["rating_number"]))
