"""HetRec 2011 Last.fm: which artists users of last.fm listened to, and how they tagged them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd

from recsys_lightning.data.reading.attributes import collect, empty, read_attributes
from recsys_lightning.data.reading.checks import File
from recsys_lightning.data.reading.tables import Columns, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError

_ARCHIVE = "hetrec2011-lastfm-2k.zip"
_FILES = ("user_artists.dat", "artists.dat", "tags.dat", "user_taggedartists.dat")


class HetrecLastFM(Source):
    """HetRec 2011 Last.fm 2k; the files may lie in the official zip archive or beside it.

    The rating is the play count. Tags of an artist come most used first.

    Args:
        root: the data root.
    """

    name = "hetrec-lastfm"
    folder = "hetrec2011-lastfm-2k"
    card = Card(
        title="HetRec 2011 Last.fm 2k: listening and tags",
        licence="non-commercial use (Last.fm)",
        homepage="https://grouplens.org/datasets/hetrec-2011/",
        url="https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
        files={_ARCHIVE: "the official archive as it is; or the files below, unpacked"}
        | {
            "user_artists.dat": "userID, artistID, weight (play count); tabs",
            "artists.dat": "id, name; tabs, UTF-8",
            "tags.dat": "tagID, tagValue; tabs, latin-1",
            "user_taggedartists.dat": "userID, artistID, tagID, day, month, year; tabs",
        },
        notes=(
            "There is no time of listening.",
            "The rating is a play count; a min_rating on it keeps what was played often.",
            "Tags were given by the same users, over the whole period.",
        ),
    )
    item_type = "artist"
    attributes = {"tags": "tag"}  # noqa: RUF012
    variants = {"hetrec-lastfm": {}}  # noqa: RUF012

    def files(self) -> list[Path]:
        """The archive where it is there, else the unpacked files."""
        if not self.path(_ARCHIVE).is_file() and self.path(_FILES[0]).is_file():
            return [self.path(name) for name in _FILES]
        return [self.path(_ARCHIVE)]

    def read(self) -> Raw:
        """Read play counts, artists and their tags."""
        self.check()
        files: list[File] = list(self.files())
        if len(files) == 1:
            files = _unpacked(self.path(_ARCHIVE))
        plays, artists, tags, tagged = files
        interactions = read_interactions(
            plays, Columns("userID", "artistID", rating="weight"), separator="\t", quoting=False
        )
        items = read_attributes(artists, "id", rename={"name": "title"}, separator="\t", quoting=False)
        words = read_attributes(tags, "tagID", separator="\t", encoding="latin-1", quoting=False)["tag_value"]
        given = read_interactions(tagged, Columns("artistID", "tagID"), separator="\t", quoting=False)
        # tags come most used first, ties by their number
        pairs = pd.DataFrame(
            {
                "row": items.index.get_indexer(given.user_ids.to_pandas())[given.user],
                "word": words.reindex(given.item_ids.to_pandas()).to_numpy()[given.item],
                "tag": given.item_ids.to_pandas().astype(int).to_numpy()[given.item],
            }
        )
        known = pairs[(pairs["row"] >= 0) & pairs["word"].notna()]
        counted = known.groupby(["row", "tag", "word"], as_index=False).size()
        counted = counted.sort_values(["row", "size", "tag"], ascending=[True, False, True])
        items["tags"] = collect(counted["row"], counted["word"], items.index)
        return Raw(interactions, items, empty("userID"))


def _unpacked(archive: Path) -> list[File]:
    try:
        return [zipfile.Path(archive, name) for name in _FILES]
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive} is no zip archive, or is cut off: {error}. Fetch it again.") from None
