"""What became of a data set, as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.describe_prepared import describe_prepared
from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.item_features.fit import fit_features
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.text.item_text import ItemText
from tests.data.memory import Memory, interactions

ITEMS = pd.DataFrame(
    {
        "title": ["A", "B", "C", "D"],
        "genres": [["x", "y"], ["x"], [], ["x"]],
        "year": [1990.0, 1995.0, float("nan"), 2000.0],
        "reviews": [["two\nlines"], [], [], []],
    },
    index=list("abcd"),
)
PAIRS = [("u", "a"), ("u", "b"), ("v", "c"), ("v", "a"), ("v", "d")]


def world(positive: float | None = None) -> Prepared:
    rows = interactions(PAIRS, split=[0, 0, 0, 0, 2], rating=[5, 4, 2, 5, 5])
    return prepare(Memory(rows, ITEMS), Recipe(split="official", val=0, unseen_items="keep", positive=positive))


def page(prepared: Prepared, text: ItemText | None = None, **recipe: object) -> list[str]:
    graph = prepared.typed_graph(GraphRecipe(**recipe), Path())  # type: ignore[arg-type]
    return describe_prepared(prepared, graph, text).splitlines()


def test_steps_items_and_nodes() -> None:
    lines = page(world())
    assert lines[0] == "# memory: official, val 0"
    assert "| train | 4 | 2 | 3 |  |" in lines and "| test | 1 | 1 | 1 |  |" in lines
    assert "| user | 2 | 4 | 1 | |" in lines  # a film has no train row
    assert "| movie | 4 | | | |" in lines
    assert "| genre | 2 | 4 | 1 | 50.0% |" in lines
    [reviews] = [line for line in lines if line.startswith("      reviews")]
    assert reviews.split()[1] == "25.0%"
    assert lines[-1] == "Text: none; data.text asks for it."


def test_domains_have_a_section_where_there_are_several() -> None:
    several = replace(interactions(PAIRS, split=[0, 0, 0, 0, 2]), domain=np.array([0, 0, 1, 1], np.int8))
    several = replace(several, domains=("book", "movie"))
    lines = page(prepare(Memory(several, ITEMS), Recipe(split="official", val=0, unseen_items="keep")))
    place = lines.index("| book and movie | 1 | 50.0% |")
    assert "1 of 2 users (50.0%) have train rows in more than one domain." in lines[place:]
    assert not any("domain" in line for line in page(world()))


def test_edges_are_those_of_positives() -> None:
    assert "| user | 2 | 3 | 2 | |" in page(world(positive=4))


def test_buckets_have_their_ends_and_sizes() -> None:
    lines = page(world(), context=["year"], weight="rating", features=["year"])
    assert "Context: items by the buckets that the 3 items of train make." in lines
    assert "* year: 2 buckets, unknown of 1 (25.0%): 1990 (1), 1995 (2)" in lines  # the newest is no film of train
    assert "Edges between users and movies are weighed by rating." in lines and "Each movie has 2 features." in lines


def test_text_is_told_in_words() -> None:
    text = ItemText.of(np.eye(4, 3, dtype=np.float32), np.ones((2, 3), np.float32), np.array([0, 3]))
    assert page(world(), text)[-1] == f"Text: {text.hits}."
    assert f"text {text.digest}" in page(world(), text)[2]


def test_features_with_what_is_known_and_how_they_are_coded() -> None:
    prepared = replace(world(), later=("year",))
    assert page(prepared)[-3] == "Features: none; data.features asks for them."
    recipe = FeatureRecipe(["year"], categories=["genres"], min_items=1, top=1, hashed=3, title=False)
    with pytest.warns(UserWarning, match="gathered after"):
        features = fit_features(prepared, recipe)
    graph = prepared.typed_graph(GraphRecipe(), Path())
    lines = describe_prepared(prepared, graph, None, features).splitlines()
    assert f"features {features.digest}" in lines[2]
    assert any(line.startswith("      year (later)") for line in lines)
    assert "Features of 4 items, fitted on the 3 items of train." in lines
    assert "| year (later) | 75.0% | 1992 | 2.5 |" in lines
    assert "1 where unknown, else 0: year_unknown." in lines
    told = " ".join(line.strip() for line in lines)
    assert "* genres: 1 of 2 values in train have a code, the other 1 shares 3 by their hash; 3 items (75.0%)" in told
    assert "most frequent x 3" in told


def test_what_has_no_code_is_counted() -> None:
    features = fit_features(world(), FeatureRecipe(categories=["genres"], top=1))
    graph = world().typed_graph(GraphRecipe(), Path())
    lines = describe_prepared(world(), graph, None, features).splitlines()
    assert any("1 of 2 values in train have a code, the other 1 is left out" in line for line in lines)
    assert "| title_words |" not in "\n".join(lines)  # all titles are one letter


@pytest.mark.slow
def test_page_of_the_official_fold(real_data: Path) -> None:
    from recsys_lightning.data.sources import MovieLens

    metadata, reviews = "ml-100k-metadata/movies.csv", "ml-100k-metadata/reviews.jsonl.gz"
    prepared = prepare(MovieLens(real_data, fold="u1", metadata=metadata, reviews=reviews), Recipe(split="official"))
    lines = page(prepared, attributes=["genre", "director", "writer", "keyword"], context=["budget", "runtime"])
    assert any(line.startswith("* budget: 10 buckets, unknown of 876 (53.7%): 1 to 1400000 (75)") for line in lines)
    assert max(len(line) for line in lines if not line.startswith("|")) <= 104
