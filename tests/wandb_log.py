"""Reads what an offline run of W&B has left, without W&B: a LevelDB-like log of protobuf records."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK, RECORD = 7, 1 << 15, struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4
"""Types of the pieces that records lie in."""
PATIENCE = 600
"""Tenths of a second."""


@dataclass
class Logged:
    """What a run told.

    Attributes:
        config: nested values.
        history: a dictionary for each call of `log`.
        summary: by name; nested where several are asked for.
        metrics: definitions by name: the summaries asked for.
        artifacts: by name, with `type`, `metadata` and `files`.
        files: folder of media.
        exit_code: None where the run did not end.
        job: type of the run.
    """

    files: Path
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, set[str]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    exit_code: int | None = None
    job: str = ""

    @property
    def names(self) -> set[str]:
        """Of everything that was logged in the course of the run."""
        return {name for row in self.history for name in row}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Rows of a table, the last one of that name."""
        [value] = [row[name] for row in self.history if name in row][-1:]
        assert value["_type"] == "table-file", value
        content = json.loads((self.files / value["path"]).read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def read_run(folder: Path) -> Logged:
    """The run in a folder such as `offline-run-20260101_000000-abcd1234`; W&B writes its end after it has ended."""
    from wandb.proto.wandb_internal_pb2 import Record

    [log] = folder.glob("run-*.wandb")
    for _ in range(PATIENCE):
        run = Logged(folder / "files")
        for content in _records(log.read_bytes()):
            _take(run, Record.FromString(content))
        if run.exit_code is not None:
            return run
        time.sleep(0.1)
    raise AssertionError(f"{log} has no end")


def _take(run: Logged, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.config |= _values(record.run.config.update)
        run.job = record.run.job_type
    elif kind == "config":
        run.config |= _values(record.config.update)
    elif kind == "history":
        run.history.append(_values(record.history.item))
    elif kind == "summary":
        run.summary |= _values(record.summary.update)
    elif kind == "metric":
        asked = record.metric.summary
        run.metrics[record.metric.name] = {one.name for one, value in asked.ListFields() if value}
    elif kind == "artifact":
        artifact = record.artifact
        files = [entry.local_path for entry in artifact.manifest.contents]
        metadata = json.loads(artifact.metadata or "{}")
        aliases = list(artifact.aliases)
        run.artifacts[artifact.name] = {
            "type": artifact.type,
            "metadata": metadata,
            "files": files,
            "aliases": aliases,
        }
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _values(items: Any) -> dict[str, Any]:
    """Values by name; those in parts, as a table is, nested."""
    found: dict[str, Any] = {}
    for item in items:
        *path, name = item.nested_key or [item.key]
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[name] = json.loads(item.value_json)
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Records out of blocks of 32 KiB, each piece with its checksum."""
    assert content[:4] == b":W&B", "this is no log of W&B"
    place, parts = HEADER, b""
    while place + RECORD.size <= len(content):
        left = BLOCK - place % BLOCK
        if left < RECORD.size:  # a header never crosses the end of a block
            place += left
            continue
        checksum, length, kind = RECORD.unpack_from(content, place)
        piece = content[place + RECORD.size : place + RECORD.size + length]
        if len(piece) < length:  # still being written
            return
        assert checksum == zlib.crc32(bytes([kind]) + piece), "a piece of the log is damaged"
        place += RECORD.size + length
        parts = piece if kind in (WHOLE, FIRST) else parts + piece
        if kind in (WHOLE, LAST):
            yield parts
