"""Fetching the archive of a data set: verified, resumable, and confined to its folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from tqdm import tqdm

from recsys_lightning.data.sources.base import Card
from recsys_lightning.errors import InputError

_CHUNK = 1 << 18
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def download(
    card: Card,
    folder: Path,
    *,
    max_bytes: int = 4 << 30,
    max_expanded: int = 16 << 30,
    timeout: float = 30.0,
    progress: bool = True,
) -> list[Path]:
    """Fetch the archive of a data set and put its files into a folder.

    A broken transfer is resumed by the next call. The files appear only when the archive is whole, of the right
    checksum where that is known, and safe to unpack; the archive is not kept.

    Args:
        card: of the data set; names the archive and the folder in it that is wanted.
        folder: where the files go; made where it does not exist.
        max_bytes: the largest archive taken.
        max_expanded: the most bytes that it may unpack to.
        timeout: seconds without any data before giving up.
        progress: whether to show a progress bar and the checksum.

    Returns:
        The files, in the order of the archive.

    Raises:
        InputError: there is no archive to fetch, the server cannot be reached, the checksum differs, the archive is too
            large, damaged or unsafe, or the disk refuses it. It says how to get the files by hand.
    """
    if card.url is None:
        raise InputError(f"{card.title} cannot be fetched by this program. {card.directions(folder)}")
    _require_secure(card.url)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{PurePosixPath(urlsplit(card.url).path).name}.part"
    try:
        _fetch(card.url, part, max_bytes, timeout, progress)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{card.url} could not be fetched: {reason}. {card.directions(folder)}") from None
    except OSError as error:
        raise InputError(f"{part} could not be written: {error}.") from None
    try:
        _verify(card, part, progress)
        if part.stem.endswith(".zip"):
            return _unpack(part, folder, card.inside, max_expanded)
        file = folder / part.stem.removeprefix(".")
        os.replace(part, file)
        return [file]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{card.url} is no zip archive, or a damaged one: {error}. Nothing was unpacked.") from None
    finally:
        _forget(part)


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _require_secure(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_secure(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(f"{url} is not an https address; data are fetched over https only.")


def _fetch(url: str, part: Path, max_bytes: int, timeout: float, progress: bool) -> None:
    """Bring the rest of a file to `part`, or all of it where the server has another one by now."""
    have, tag = (part.stat().st_size, _tag(part)) if part.exists() else (0, _tag(part))
    request = urllib.request.Request(url, headers={"User-Agent": "recsys-lightning"})
    if have and tag.exists():
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text())
    opener = urllib.request.build_opener(_SecureRedirects)
    try:
        response: HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        _forget(part)  # longer than the file of the server: not a part of it
        return _fetch(url, part, max_bytes, timeout, progress)
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not resumed:
            have = 0
            tag.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if total is not None and total > max_bytes:
            raise InputError(f"{url} is {total:,} bytes, more than the {max_bytes:,} bytes allowed.")
        if validator := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            tag.write_text(validator)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.name, disable=not progress) as bar,
        ):
            while chunk := response.read(_CHUNK):
                have += len(chunk)
                if have > max_bytes:
                    _forget(part)
                    raise InputError(f"{url} is more than the {max_bytes:,} bytes allowed.")
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke after {have:,} of {total:,} bytes; call again to fetch the rest")
    return None


def _verify(card: Card, part: Path, progress: bool) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if card.sha256 is None:
        if progress:
            print(f"{card.url}: sha256 {found} (not verified: no checksum is known)", file=sys.stderr)
    elif found != card.sha256.lower():
        raise InputError(
            f"{card.url} has sha256 {found}, not {card.sha256}: it was changed or damaged on the way, and was deleted. "
            f"Try again; if it stays so, the publisher has replaced it. About it: {card.homepage}"
        )


def _unpack(archive: Path, folder: Path, inside: str, max_expanded: int) -> list[Path]:
    """Unpack the files of one folder of a zip archive, all or none."""
    prefix = f"{inside.strip('/')}/" if inside.strip("/") else ""
    with zipfile.ZipFile(archive) as opened, tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
        members = [member for member in opened.infolist() if not member.is_dir()]
        for member in members:
            _require_safe(member)
        wanted = {m.filename.removeprefix(prefix): m for m in members if m.filename.startswith(prefix)}
        if not wanted:
            raise InputError(f"The archive {archive.stem} holds no folder {inside}. Nothing was unpacked.")
        left = max_expanded
        for name, member in wanted.items():
            target = Path(temporary, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, target.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise InputError(
                            f"The archive unpacks to more than the {max_expanded:,} bytes allowed. None was kept."
                        )
                    file.write(chunk)
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(temporary, name), folder / name)
    return [folder / name for name in wanted]


def _require_safe(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"The archive holds {member.filename!r}, which would leave its folder. Nothing was unpacked.")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    """Where the server's name of the version of a partial file is kept."""
    return part.with_suffix(".tag")
