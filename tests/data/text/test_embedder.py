from __future__ import annotations

import inspect

import pytest

from recsys_lightning.data.text.embedder import TextEmbedder
from recsys_lightning.data.text.sentences import SentenceTransformer
from recsys_lightning.data.text.tfidf import TfidfSVD


def test_an_embedder_must_have_a_key_and_embed() -> None:
    assert TextEmbedder.__abstractmethods__ == {"key", "embed"}
    with pytest.raises(TypeError, match="abstract"):
        TextEmbedder()  # type: ignore[abstract]


@pytest.mark.parametrize("kind", [TfidfSVD, SentenceTransformer])
def test_those_of_the_package_say_whether_they_fit(kind: type[TextEmbedder]) -> None:
    assert not inspect.isabstract(kind) and isinstance(kind.fits, bool)
    assert hash(kind()) == hash(kind()) and kind() == kind()  # defaults of options
