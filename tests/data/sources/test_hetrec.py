"""HetRec Last.fm, zipped and unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from recsys_lightning.data.reading.attributes import read_attributes
from recsys_lightning.data.reading.tables import Columns, read_interactions
from recsys_lightning.data.sources import HetrecLastFM
from recsys_lightning.errors import InputError

FILES = {
    "user_artists.dat": b"userID\tartistID\tweight\r\n2\t51\t13883\r\n3\t52\t1\r\n",
    "artists.dat": 'id\tname\turl\tpictureURL\n51\tThe "X\thttp\t\n52\tSigur Rós\thttp\thttp\n53\tQuiet\t\t\n'.encode(),
    "tags.dat": "tagID\ttagValue\r\n1\tmetal\r\n13\tchanson fran\xe7aise\r\n2\tpop\r\n".encode("latin-1"),
    "user_taggedartists.dat": b"userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
    + b"".join(
        b"%d\t%d\t%d\t1\t4\t2009\r\n" % row for row in [(2, 51, 13), (3, 51, 1), (4, 51, 1), (2, 52, 2), (2, 99, 1)]
    ),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_either_form(tmp_path: Path, zipped: bool) -> None:
    source = HetrecLastFM(tmp_path)
    source.path("").mkdir()
    if zipped:
        with zipfile.ZipFile(source.path("hetrec2011-lastfm-2k.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
    else:
        for name, content in FILES.items():
            source.path(name).write_bytes(content)
    assert len(source.files()) == (1 if zipped else 4)
    raw = source.read()
    assert raw.interactions.rating is not None and raw.interactions.rating.tolist() == [13883, 1]
    assert raw.items["title"].to_dict() == {"51": 'The "X', "52": "Sigur Rós", "53": "Quiet"}
    assert raw.items["tags"].to_dict() == {"51": ["metal", "chanson française"], "52": ["pop"], "53": []}


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    source = HetrecLastFM(tmp_path)
    source.path("").mkdir()
    source.path("hetrec2011-lastfm-2k.zip").write_bytes(b"PK but no more")
    with pytest.raises(InputError, match="is no zip archive, or is cut off"):
        source.read()


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    raw = HetrecLastFM(real_data).read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items) == (92_834, 1_892, 17_632)
    assert len(raw.items) == 17_632
    archive = HetrecLastFM(real_data).files()[0]
    tagged = zipfile.Path(archive, "user_taggedartists.dat")
    assert len(read_interactions(tagged, Columns("artistID", "tagID"), separator="\t")) == 186_479
    tags = read_attributes(zipfile.Path(archive, "tags.dat"), "tagID", encoding="latin-1", separator="\t")
    assert len(tags) == 11_946
    assert raw.items["tags"].explode().dropna().isin(tags["tag_value"]).all()
