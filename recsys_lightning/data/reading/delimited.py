"""Text files of separated columns, read block by block with every fault named."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from recsys_lightning.data.reading.checks import File, require_columns, require_file
from recsys_lightning.errors import InputError

SEPARATORS = ("::", "\t", ",", ";", "|", " ")
_BY_EXTENSION = {".csv": ",", ".tsv": "\t", ".inter": "\t"}
_STAND_IN = "\x1f"  # ASCII unit separator: takes the place of separators longer than the one character Arrow knows
_HEAD = 1 << 16
_BLOCK = 1 << 22
_QUOTED = re.compile(r'"[^"]*"')


class SuspectError(Exception):
    """A block did not convert to its types; a second, careful reading finds out which rows are at fault."""


@dataclass(frozen=True)
class Text:
    """A text file of columns whose first lines have been looked at (see `look`).

    Attributes:
        file: where it lies.
        separator: between columns.
        header: names of the columns.
        has_header: whether they stand in the first line.
        encoding: of the text.
        quoting: whether `"` protects separators.
        compression: `gzip`, or None.
        sample: the first data rows, split.
    """

    file: File
    separator: str
    header: tuple[str, ...]
    has_header: bool
    encoding: str
    quoting: bool
    compression: Literal["gzip"] | None
    sample: tuple[tuple[str, ...], ...]

    def require(self, wanted: Sequence[str]) -> None:
        """Check that columns exist.

        Raises:
            InputError: one is missing or named twice.
        """
        hint = ""
        if len(self.header) == 1 and (other := _detect([self.header[0]])) and other != self.separator:
            hint = f" The columns look separated by {other!r}: set separator to it."
        elif self.has_header:
            hint = (
                " Say in columns what they are called; where the file has no header line, name all columns in header."
            )
        require_columns(str(self.file), wanted, self.header, hint)

    def blocks(
        self,
        types: Mapping[str, pa.DataType],
        skipped: array[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Blocks of some 4 MB of text, with the chosen columns in these types.

        Args:
            types: of the columns wanted; nothing else is converted.
            skipped: where given, rows with too many or too few columns are left out and their numbers among the
                lines that are not blank, from 1, are put here. Lines of one quoted value are one line.

        Raises:
            SuspectError: a value does not convert or, without `skipped`, a row has another number of columns.
            InputError: the file is cut off, or in another encoding.
        """

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            assert skipped is not None
            skipped.append(row.number)
            return "skip"

        single = self.separator if len(self.separator) == 1 else _STAND_IN
        try:
            reader = pyarrow.csv.open_csv(
                self._stream(),
                read_options=pyarrow.csv.ReadOptions(
                    # row numbers are known only without threads
                    use_threads=skipped is None,
                    block_size=_BLOCK,
                    column_names=None if self.has_header else list(self.header),
                    encoding=self.encoding,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=single,
                    quote_char='"' if self.quoting else False,
                    newlines_in_values=self.quoting,
                    invalid_row_handler=skip if skipped is not None else None,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict(types),
                    include_columns=list(types),
                    null_values=[""],
                    strings_can_be_null=False,
                ),
            )
            yield from reader
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if "UTF8" in str(error) or isinstance(error, UnicodeDecodeError):
                raise self._wrong_encoding() from None
            raise SuspectError(str(error)) from None
        except (OSError, EOFError) as error:
            raise InputError(_damaged(self.file, error)) from None

    def lines(self, rows: Sequence[int], skipped: Sequence[int] = ()) -> list[int]:
        """Line numbers, from 1 and blank lines counted, of data rows as `blocks` yields them.

        Args:
            rows: positions among the rows yielded.
            skipped: what `blocks` noted.
        """
        first = 1 + self.has_header
        left_out = np.asarray(skipped, dtype=np.int64)
        yielded_before = left_out - first - np.arange(len(left_out))
        return self.physical([row + first + int(np.searchsorted(yielded_before, row, "right")) for row in rows])

    def physical(self, numbers: Sequence[int]) -> list[int]:
        """Line numbers from 1 of lines given by their number among those that are not blank.

        Lines within one quoted value are one line in `numbers`, and the first of them is the one returned.
        """
        wanted, found, count, quoted = set(numbers), {}, 0, False
        with self.file.open("rb") as raw, pa.input_stream(raw, compression=self.compression) as stream:
            for position, line in enumerate(_lines(stream), 1):
                if not quoted and line.rstrip(b"\r\n"):
                    count += 1
                    if count in wanted:
                        found[count] = position
                        if len(found) == len(wanted):
                            break
                quoted ^= self.quoting and line.count(b'"') % 2 == 1
        return [found.get(number, number) for number in numbers]

    def _stream(self) -> pa.NativeFile:
        raw = pa.OSFile(str(self.file)) if isinstance(self.file, Path) else pa.PythonFile(self.file.open("rb"))
        stream = pa.CompressedInputStream(raw, self.compression) if self.compression else raw
        if len(self.separator) > 1:
            stream = pa.PythonFile(_Replaced(stream, self.separator.encode(), _STAND_IN.encode()), mode="r")
        return stream

    def _wrong_encoding(self) -> InputError:
        with self.file.open("rb") as raw, pa.input_stream(raw, compression=self.compression) as stream:
            for position, line in enumerate(_lines(stream), 1):
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError:
                    return wrong_encoding(self.file, self.encoding, position)
        return wrong_encoding(self.file, self.encoding, None)


def look(
    file: File,
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> Text:
    """Look at the first lines of a text file.

    Args:
        file: plain or gzip.
        separator: between columns, one character or more; None finds it out.
        names: of the columns, for a file without a header line.
        encoding: of the text.
        quoting: whether `"` protects separators.

    Raises:
        InputError: there is no such file, it is empty, damaged, binary or in another encoding, its lines end in CR
            alone, or the names do not fit its first line.
    """
    require_file(file)
    compression, head = _head(file)
    text = _decode(file, head, encoding)
    if "\r" in text and "\n" not in text:
        raise InputError(
            f"The lines of {file} end in CR alone, as on old Macintosh systems. "
            f"Convert them, for instance with: tr '\\r' '\\n' < {file.name} > converted"
        )
    lines = [line for line in text.splitlines() if line]
    if not lines:
        raise InputError(f"{file} holds nothing but blank lines.")
    if len(head) == _HEAD and len(lines) > 1:
        lines.pop()  # cut off
    lines = lines[:50]
    if separator is None:
        usual = _BY_EXTENSION.get(Path(file.name.removesuffix(".gz")).suffix)
        separator = usual if usual and usual in lines[0] else _detect(lines[:20]) or usual or ","
    rows = [tuple(_split(line, separator, quoting and len(separator) == 1)) for line in lines]
    if names is not None and len(rows[0]) != len(names):
        other = _detect(lines[:20])
        hint = f" They look separated by {other!r}: set separator to it." if other and other != separator else ""
        raise InputError(
            f"The first line of {file} has {len(rows[0])} columns separated by {separator!r}, "
            f"but names gives {len(names)}: {', '.join(names)}.{hint}"
        )
    has_header = names is None
    return Text(
        file=file,
        separator=separator,
        header=rows[0] if names is None else tuple(names),
        has_header=has_header,
        encoding=encoding,
        quoting=quoting and len(separator) == 1,
        compression=compression,
        sample=tuple(rows[has_header:]),
    )


def wrong_encoding(file: File, encoding: str, line: int | None) -> InputError:
    """The error for bytes that are not text of the encoding."""
    where = f"{file}, line {line}," if line else str(file)
    other = "latin-1 (older files from Western Europe and America)" if encoding == "utf-8" else "utf-8"
    return InputError(f"{where} is not {encoding} text. Set encoding to that of the file; try {other}.")


def _head(file: File) -> tuple[Literal["gzip"] | None, bytes]:
    with file.open("rb") as raw:
        magic = raw.read(4)
    if not magic:
        raise InputError(f"{file} is empty (0 bytes).")
    if magic[:2] == b"PK":
        raise InputError(f"{file} is a zip archive (or an office document). Unpack it and name the text file in it.")
    compression: Literal["gzip"] | None = "gzip" if magic[:2] == b"\x1f\x8b" else None
    try:
        with file.open("rb") as raw, pa.input_stream(raw, compression=compression) as stream:
            head: bytes = stream.read(_HEAD)
    except OSError as error:
        raise InputError(_damaged(file, error)) from None
    if not head:
        raise InputError(f"{file} is empty: nothing is in it once unpacked.")
    return compression, head


def _decode(file: File, head: bytes, encoding: str) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding:
        raise InputError(f"{file} is UTF-16 text. Set encoding to utf-16, or save it as UTF-8.")
    if b"\0" in head and "16" not in encoding and "32" not in encoding:
        raise InputError(f"{file} is not a text file: it holds zero bytes. Tables are read from CSV, TSV or Parquet.")
    try:
        return head.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise InputError(f"There is no encoding {encoding!r}; usual ones are utf-8, latin-1 and utf-16.") from None
    except UnicodeDecodeError as error:
        if len(head) - error.start < 4 and len(head) == _HEAD:  # a character cut in two by the end of the head
            return head[: error.start].decode(encoding).removeprefix("\ufeff")
        raise wrong_encoding(file, encoding, head[: error.start].count(b"\n") + 1) from None


def _detect(lines: Sequence[str]) -> str | None:
    """The separator that stands equally often in every line, and most often."""
    bare = [_QUOTED.sub("", line) for line in lines]
    even = {
        candidate: counts.pop()
        for candidate in SEPARATORS
        if len(counts := {line.count(candidate) for line in bare}) == 1 and counts != {0}
    }
    return max(even, key=lambda candidate: even[candidate], default=None)


def _split(line: str, separator: str, quoting: bool) -> list[str]:
    if not quoting:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator))


def _lines(stream: pa.NativeFile) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 20):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _damaged(file: File, error: Exception) -> str:
    return f"{file} is cut off or damaged ({error}). Nothing of it was used. Fetch or copy it again."


class _Replaced:
    """A byte stream with each separator replaced by another, for `pa.PythonFile`."""

    closed = False

    def __init__(self, stream: BinaryIO | pa.NativeFile, separator: bytes, replacement: bytes) -> None:
        self._read: Callable[[int], bytes] = stream.read
        self._separator, self._replacement, self._rest = separator, replacement, b""

    def read(self, size: int) -> bytes:
        out = b""
        while not out:
            chunk = self._read(size)
            out = (self._rest + chunk).replace(self._separator, self._replacement)
            if not chunk:
                self._rest = b""
                return out
            # what may be the beginning of a separator waits for the next chunk
            keep = next(n for n in range(len(self._separator) - 1, -1, -1) if out.endswith(self._separator[:n]))
            self._rest, out = out[len(out) - keep :], out[: len(out) - keep]
        return out

    def close(self) -> None:
        self.closed = True
