"""Words weighed by how rare they are, in a few dimensions: a text embedder that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.text.embedder import TextEmbedder
from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class TfidfSVD(TextEmbedder):
    """Latent semantic analysis: TF-IDF with log term counts, truncated SVD, rows of length 1.

    English stop words are left out, accents too. A text without any known term has a vector of zeros. Vectors are
    narrower than `dim` where train has fewer texts or terms: more dimensions would be zero for all.

    Source: Deerwester et al., JASIS 41 (1990).

    Attributes:
        dim: D, width of the vectors.
        min_df: terms in fewer texts of train are left out.
        ngrams: terms are up to so many words in a row.
    """

    dim: int = 128
    min_df: int = 2
    ngrams: int = 1

    fits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("dim", "min_df", "ngrams"):
            if getattr(self, name) < 1:
                raise InputError(f"TfidfSVD: {name} is {getattr(self, name)}; it must be at least 1.")

    @property
    def key(self) -> str:
        """Settings, and the version of the library: its tokens and decomposition may change."""
        from sklearn import __version__

        return f"{self!r} scikit-learn {__version__}"

    def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) vectors, fitted on the texts of train.

        Raises:
            InputError: the texts of train have fewer than two terms in common.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        terms = TfidfVectorizer(
            strip_accents="unicode",
            stop_words="english",
            ngram_range=(1, self.ngrams),
            min_df=self.min_df,
            sublinear_tf=True,
        )
        try:
            counts = terms.fit_transform(fit)
        except ValueError:  # what the library says where no term is left, or there are fewer texts
            counts = np.empty((len(fit), 0))
        if counts.shape[1] < 2:
            smaller = f", or choose an embedder.min_df below {self.min_df}" if self.min_df > 1 else ""
            raise InputError(
                f"TfidfSVD: the {len(fit):,} texts of train leave {counts.shape[1]} terms, where two are needed: terms "
                f"are words of two letters or more, no stop words, in at least {self.min_df} texts. Choose other "
                f"data.text.columns{smaller}."
            )
        with np.errstate(invalid="ignore"):  # of one text it divides by the variance
            svd = TruncatedSVD(min(self.dim, *counts.shape), random_state=0).fit(counts)
        vectors = normalize(svd.transform(terms.transform(texts)))
        narrow: NDArray[np.float32] = vectors.astype(np.float32)
        return narrow
