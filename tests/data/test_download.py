"""Downloads against a server on this machine: resumed, verified, confined, and plain about what went wrong."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recsys_lightning.data.download import download
from recsys_lightning.data.sources.base import Card
from recsys_lightning.errors import InputError


class Server(ThreadingHTTPServer):
    """Serves one body under any path, with ranges; breaks off the first answer where told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.break_after, self.redirect = b"", '"1"', 0, ""
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        served = self.server
        if served.redirect:
            self.send_response(302)
            self.send_header("Location", served.redirect)
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        served.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and self.headers.get("If-Range") != served.etag:
            start = 0
        if start >= len(served.body) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.body) - 1}/{len(served.body)}")
        self.send_header("Content-Length", str(len(served.body) - start))
        self.send_header("ETag", served.etag)
        self.end_headers()
        end = served.break_after or len(served.body)
        served.break_after = 0
        self.wfile.write(served.body[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def archive(members: dict[str, bytes], link: str | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            packed.writestr(info, "/etc/passwd")
    return out.getvalue()


def card(url: str | None, sha256: str | None = None, inside: str = "") -> Card:
    return Card("Things", "free", "https://example.org/things", url=url, sha256=sha256, inside=inside)


GOOD = {"things/a.csv": b"1,2\n" * 999, "things/deep/b.csv": b"x", "other/c.csv": b"y", "things/": b""}


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_unpacks_the_wanted_folder_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    server.body = archive(GOOD)
    sha256 = hashlib.sha256(server.body).hexdigest()
    files = download(card(server.url, sha256, "things"), tmp_path / "new", progress=False)
    assert left(tmp_path / "new") == ["a.csv", "deep/b.csv"]
    assert [file.name for file in files] == ["a.csv", "b.csv"]
    assert files[0].read_bytes() == GOOD["things/a.csv"]


def test_file_that_is_no_archive_is_kept_as_it_is(server: Server, tmp_path: Path) -> None:
    server.body = b"1,2\n"
    [file] = download(card(server.url.replace(".zip", ".csv")), tmp_path, progress=False)
    assert (file.name, file.read_bytes()) == ("data.csv", b"1,2\n")
    assert left(tmp_path) == ["data.csv"]


def test_page_in_place_of_an_archive_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>please log in</html>"
    with pytest.raises(InputError, match="is no zip archive"):
        download(card(server.url), tmp_path, progress=False)
    assert left(tmp_path) == []


def test_broken_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    server.body = archive({"a.bin": bytes(range(256)) * 2000})
    server.break_after = 300
    with pytest.raises(InputError, match=r"broke after 300 of .* bytes; call again"):
        download(card(server.url), tmp_path, progress=False)
    assert not (tmp_path / "a.bin").exists()
    download(card(server.url), tmp_path, progress=False)
    assert server.ranges == [None, "bytes=300-"]
    assert (tmp_path / "a.bin").read_bytes() == bytes(range(256)) * 2000
    assert left(tmp_path) == ["a.bin"]


def test_part_of_an_older_file_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.body, server.break_after = archive({"a": b"old" * 500}), 50
    with pytest.raises(InputError):
        download(card(server.url), tmp_path, progress=False)
    server.body, server.etag = archive({"a": b"new" * 700}), '"2"'
    download(card(server.url), tmp_path, progress=False)
    assert (tmp_path / "a").read_bytes() == b"new" * 700


def test_part_longer_than_the_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.body = archive({"a": b"1"})
    (tmp_path / ".data.zip.part").write_bytes(b"x" * 9999)
    (tmp_path / ".data.zip.tag").write_text(server.etag)
    download(card(server.url), tmp_path, progress=False)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_wrong_checksum_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.body = archive(GOOD)
    with pytest.raises(InputError, match=f"has sha256 {hashlib.sha256(server.body).hexdigest()}, not {'0' * 64}"):
        download(card(server.url, "0" * 64), tmp_path, progress=False)
    assert left(tmp_path) == []


def test_checksum_seen_is_shown_where_none_is_known(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = archive({"a": b"1"})
    download(card(server.url), tmp_path)
    assert hashlib.sha256(server.body).hexdigest() in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "c:evil"])
def test_no_path_leaves_the_folder(server: Server, tmp_path: Path, name: str) -> None:
    server.body = archive({"good": b"1", name: b"2"})
    with pytest.raises(InputError, match="would leave its folder"):
        download(card(server.url), tmp_path / "in", progress=False)
    assert left(tmp_path) == []


def test_links_are_refused(server: Server, tmp_path: Path) -> None:
    server.body = archive({"good": b"1"}, link="passwd")
    with pytest.raises(InputError, match="would leave its folder"):
        download(card(server.url), tmp_path, progress=False)


def test_sizes_are_capped(server: Server, tmp_path: Path) -> None:
    server.body = archive({"a": b"0" * 10**6})
    with pytest.raises(InputError, match="unpacks to more than the 1,000 bytes allowed"):
        download(card(server.url), tmp_path, max_expanded=1000, progress=False)
    with pytest.raises(InputError, match="more than the 100 bytes allowed"):
        download(card(server.url), tmp_path, max_bytes=100, progress=False)
    assert left(tmp_path) == []


def test_damaged_archive_and_missing_folder(server: Server, tmp_path: Path) -> None:
    whole = archive({"a": bytes(range(256)) * 50})
    server.body = whole[:40] + b"\xff\xff" + whole[42:]
    with pytest.raises(InputError, match="Nothing was unpacked"):
        download(card(server.url), tmp_path, progress=False)
    server.body = whole
    with pytest.raises(InputError, match="holds no folder things"):
        download(card(server.url, inside="things"), tmp_path, progress=False)
    assert left(tmp_path) == []


def test_offline_says_what_to_do_by_hand(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(InputError) as caught:
        download(card(url, "ab" * 32, "things"), tmp_path, progress=False)
    told = str(caught.value)
    assert url in told and "ab" * 32 in told and str(tmp_path) in told and "its folder things" in told
    with pytest.raises(InputError, match=r"https://example\.org/things"):
        download(card(None), tmp_path)


def test_only_https_beyond_this_machine(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an https address"):
        download(card("http://example.org/data.zip"), tmp_path)
    with pytest.raises(InputError, match="not an https address"):
        download(card("file:///etc/passwd"), tmp_path)
    server.redirect = "http://example.org/data.zip"
    with pytest.raises(InputError, match="not an https address"):
        download(card(server.url), tmp_path, progress=False)
