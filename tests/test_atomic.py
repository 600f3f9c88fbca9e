from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recsys_lightning.atomic import TEMPORARY, replacing, write_text


def test_what_is_written_is_read_and_nothing_else_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first \xe9\n", "second, longer"):
        assert write_text(path, text) == path
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_not_touched_before_the_other_one_is_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "before")
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write("half")
        file.flush()
        assert path.read_text() == "before"
        assert temporary.parent == tmp_path and f"{TEMPORARY}{os.getpid()}-" in temporary.name
        file.write(" and half")
    assert path.read_text() == "half and half"


@pytest.mark.parametrize("fails", ["writing", "fsync", "replace"])
def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = write_text(tmp_path / "a.txt", "before")
    if fails != "writing":
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space left"), replacing(path, durable=True) as temporary:
        temporary.write_text("after")
        if fails == "writing":
            full()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_what_is_wrong_with_the_folder_is_what_is_said(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(NotADirectoryError):
        write_text(tmp_path / "file" / "a.txt", "text")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "gone" / "a.txt", "text")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_others_may_read_what_they_may_read_of_any_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "plain").write_text("")
        write_text(tmp_path / "whole", "")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")}
    assert modes == {0o666 & ~umask}


def test_writers_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
