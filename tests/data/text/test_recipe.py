from __future__ import annotations

from typing import Any

import pytest
from jsonargparse import ArgumentParser

from recsys_lightning.data.text.recipe import TextRecipe
from recsys_lightning.data.text.sentences import SentenceTransformer
from recsys_lightning.data.text.tfidf import TfidfSVD
from recsys_lightning.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": []}, "data.text.columns is empty. Name the item columns"),
        ({"columns": ["a", "b", "a"]}, "data.text.columns names a more than once"),
        ({"max_reviews": -1}, "data.text.max_reviews is -1; it must be 0"),
        ({"control": "shuffle"}, "data.text.control is shuffle; it can be none, shuffled, random"),
        ({"seed": -1}, "data.text.seed is -1"),
        ({"vectors": "x.pt", "columns": ["a"]}, "ready vectors, so data.text.columns would not be read"),
        ({"vectors": "x.pt", "reviews": "a"}, "so data.text.reviews would not be read"),
        ({"vectors": "x.pt", "embedder": TfidfSVD(dim=3)}, "so data.text.embedder would not be read"),
        ({"vectors": "x.csv"}, "data.text.vectors is x.csv; .* files that end in .pt, .pth, .parquet"),
    ],
)
def test_wrong_options_are_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextRecipe(**options)


def test_ready_vectors_of_either_kind() -> None:
    for name in ("a/b.pt", "b.PT", "b.parquet"):
        assert TextRecipe(vectors=name, max_reviews=0).vectors == name


class Module:
    def __init__(self, text: TextRecipe | None = None) -> None:
        self.text = text


def parse(*words: str) -> tuple[TextRecipe | None, str]:
    parser = ArgumentParser()
    parser.add_class_arguments(Module, "data")
    config = parser.parse_args(list(words))
    made: TextRecipe | None = parser.instantiate(config).data.text
    return made, parser.dump(config)


def test_the_command_line_makes_recipes() -> None:
    assert parse()[0] is None
    assert parse("--data.text={}")[0] == TextRecipe()
    made, _ = parse("--data.text.reviews=reviews", "--data.text.embedder=TfidfSVD", "--data.text.embedder.dim=9")
    assert made == TextRecipe(reviews="reviews", embedder=TfidfSVD(dim=9))
    name = "recsys_lightning.data.text.sentences.SentenceTransformer"
    made, config = parse(f"--data.text.embedder={name}", "--data.text.embedder.batch_size=8")
    assert made == TextRecipe(embedder=SentenceTransformer(batch_size=8))
    assert f"class_path: {name}" in config and "batch_size: 8" in config
