"""Splits in the format of LightGCN (He et al. 2020, https://arxiv.org/abs/2002.02126): a line per user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading.attributes import empty
from recsys_lightning.data.reading.tables import Columns, official, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError

_REPOSITORY = "LightGCN-PyTorch"
_TITLES = {
    "gowalla": "Gowalla check-ins, LightGCN's split",
    "yelp2018": "Yelp 2018, LightGCN's split",
    "amazon-book": "Amazon books, LightGCN's split",
}


class LightGCNSplit(Source):
    """A data set with its official split into train and test, implicit, without time.

    Args:
        root: the data root.
        folder: below the root; holds `train.txt` and `test.txt`.
    """

    name = "lightgcn"
    folder = "gowalla"
    card = Card("Splits in the format of LightGCN", "see the homepage", f"https://github.com/gusye1234/{_REPOSITORY}")
    variants = {"gowalla": {}, "yelp2018": {"folder": "yelp2018"}, "amazon-book": {"folder": "amazon-book"}}  # noqa: RUF012

    def __init__(self, root: Path, folder: str = "gowalla") -> None:
        super().__init__(root)
        self.name = self.folder = folder
        self.card = replace(
            type(self).card,
            title=_TITLES.get(folder, f"{folder}, a split in the format of LightGCN"),
            url=f"{type(self).card.homepage}/archive/refs/heads/master.zip" if folder in _TITLES else None,
            inside=f"{_REPOSITORY}-master/data/{folder}",
            files={"train.txt": "a line per user: user item item ...", "test.txt": "likewise"},
            notes=("Ids were numbered anew by the publishers; there are no titles, ratings or times.",),
        )

    def files(self) -> list[Path]:
        """Train, then test."""
        return [self.path("train.txt"), self.path("test.txt")]

    def read(self) -> Raw:
        """Read both files; rows of test are marked as such."""
        self.check()
        train, test = (_read(file) for file in self.files())
        return Raw(official(train, test), empty("item"), empty("user"))


def _read(file: Path) -> Interactions:
    try:
        text = pa.scalar(file.read_bytes(), pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        raise InputError(f"{file} is not a text file of numbers. Each line should read: user item item ...") from None
    lines = pc.split_pattern(pa.array([text.as_py()]), "\n").flatten()
    lines = pc.utf8_trim_whitespace(lines)
    words = pc.split_pattern_regex(lines.filter(pc.not_equal(lines, "")), r"\s+")
    if len(words) == 0:
        raise InputError(f"{file} is empty. Each line should read: user item item ...")
    users = pc.list_element(words, 0)
    repeated = users.take(pc.list_parent_indices(words))
    items = words.flatten()
    first = np.zeros(len(items), bool)
    first[words.offsets.to_numpy()[:-1]] = True
    pairs = pa.table({"user": repeated, "item": items}).filter(pa.array(~first))
    return read_interactions(pairs, Columns("user", "item"))
