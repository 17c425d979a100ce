"""Annotation files: CSV, plain lists and JSON, local or at an fsspec address, read a row at a time.

What is wrong with the file as a whole is an InputError; what is wrong with a row is a Reject with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import IO, Any

import fsspec

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError, needs
from scriptsight.ingest.datasets.listing import check_address

with needs("data", "Reading corpora"):
    import ijson

BAD_ROW = "bad row"


# What a text file may begin with that says its encoding, the longer marks first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Files of other programs that are called .csv.
_NO_TEXT = (
    (b"PK\x03\x04", "a spreadsheet (xlsx or ods), whatever it is called"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (xls), whatever it is called"),
    (b"\x1f\x8b", "compressed (gzip)"),
)
_DELIMITERS = (",", ";", "\t", "|")
LONGEST_HEADER = 20  # lines


@contextmanager
def opened(path: str, shape: str, mode: str = "rt") -> Iterator[IO[Any]]:
    """Open an annotation file; `shape` says in errors what it should look like. Text is UTF-8, or what the mark at
    its beginning says.

    Raises:
        InputError: it is missing or can't be read, or what is done with it in the block shows that it is no text, no
            CSV or no JSON.
    """
    check_address(path)
    try:
        opening = fsspec.open(path, "rb").open()
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. It should be {shape}.") from None
    except Exception as error:  # every file system has errors of its own, whose text may quote a signed request
        raise InputError(f"{path} can't be opened ({type(error).__name__}). It should be {shape}.") from None
    try:
        with opening as file:
            yield _as_text(file, path, shape) if "t" in mode else file
    except UnicodeError as error:
        remedy = "Save it as UTF-8 (in Excel: CSV UTF-8)"
        raise InputError(
            f"{path} can't be read: it is not UTF-8 ({error}). {remedy}. It should be {shape}."
        ) from None
    except (csv.Error, ijson.JSONError) as error:
        raise InputError(f"{path} can't be read: {error}. It should be {shape}, in UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror or type(error).__name__}).") from None


def _as_text(file: IO[bytes], path: str, shape: str) -> io.TextIOWrapper:
    head = file.read(4)
    file.seek(0)
    for mark, what in _NO_TEXT:
        if head.startswith(mark):
            raise InputError(f"{path} is {what}. Save it as CSV UTF-8: it should be {shape}.")
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise InputError(f"{path} is no UTF-8 text: save it as CSV UTF-8. It should be {shape}.")
    return io.TextIOWrapper(file, encoding, newline="")


def columns(path: str, wanted: tuple[str, ...], shape: str) -> set[str]:
    """The columns of a CSV; those that are in `wanted` but for capitals are called as there.

    Raises:
        InputError: see `rows`.
    """
    with opened(path, shape) as file:
        return set(_Csv(file, path, wanted, shape).header)


def rows(
    name: str, path: str, required: tuple[str, ...], shape: str, optional: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, str]] | Reject]:
    """The rows of a CSV with a header as (file:line, row), those that do not fit the header as rejects.

    The delimiter (a comma, semicolon, tab or `|`) is that which splits the header into the wanted columns. Values are
    stripped of white space around them; columns that `required` does not name may be empty. Of a row with too few
    cells what is missing is empty, where `optional` names what else is read. Empty rows are left out.

    Raises:
        InputError: see `opened`; or a required column is not there, or one that is read is there twice.
    """
    with opened(path, shape) as file:
        table = _Csv(file, path, (*required, *optional), shape)
        header = table.header
        if missing := [column for column in required if column not in header]:
            raise InputError(
                f"{path} has no column {missing[0]!r}; it has: {', '.join(header) or 'none'}. It should be {shape}."
            )
        for number, cells in table:
            where = f"{path}:{number}"
            extra = [cell for cell in cells[len(header) :] if cell.strip()]
            if extra or (len(cells) < len(header) and not optional):
                detail = (
                    f"{len(header)} columns are needed, and it has {len(cells)}; is a delimiter in it not quoted?"
                )
                yield Reject(name, where, BAD_ROW, detail)
                continue
            row = {column: cell.strip() for column, cell in zip_longest(header, cells[: len(header)], fillvalue="")}
            if empty := [column for column in required if not row[column]]:
                yield Reject(name, where, BAD_ROW, f"{empty[0]} is empty")
            else:
                yield where, row


class _Csv:
    """A CSV: its `header`, with `wanted` names as given there but for their capitals, and the rows below it.

    Raises:
        InputError: a wanted column is there twice; while it is read: a quote is never closed.
    """

    def __init__(self, file: IO[str], path: str, wanted: tuple[str, ...], shape: str) -> None:
        self._file, self._path, self._number = file, path, 0
        self._row: list[str] = []  # the lines of the row that is being read
        first = ""
        for line in self._lines():
            first = first + line if first.strip() else line  # empty lines before the header are passed over
            # One with a line break in quotes is read whole; a header of many lines is no header.
            if first.strip() and (_is_whole(first) or len(self._row) > LONGEST_HEADER):
                break
        choices = [_header(first, delimiter, wanted) for delimiter in _DELIMITERS]
        best = max(range(len(choices)), key=lambda number: sum(column in wanted for column in choices[number]))
        self.header = choices[best]
        self._delimiter = _DELIMITERS[best]
        if twice := [column for column in wanted if self.header.count(column) > 1]:
            raise InputError(f"{path} has the column {twice[0]!r} twice: rename one. It should be {shape}.")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The number of its last line and the cells of each row that is not empty."""
        self._row.clear()
        for cells in csv.reader(self._lines(), delimiter=self._delimiter, skipinitialspace=True):
            if len(self._row) > 1 and not _is_whole("".join(self._row), self._delimiter):  # the file's last row
                begun = self._number - len(self._row) + 1
                raise InputError(
                    f"{self._path}: a quote that is opened in line {begun} is never closed, so that all behind it is "
                    "one cell. Close it, or double it if it is a character of the text."
                )
            self._row.clear()
            if any(cell.strip() for cell in cells):
                yield self._number, cells

    def _lines(self) -> Iterator[str]:
        for line in self._file:
            self._number += 1
            self._row.append(line)
            yield line


def _is_whole(row: str, delimiter: str = ",") -> bool:
    """Whether the lines of a row close all quotes that they open."""
    try:
        list(csv.reader(row.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        return "end of data" not in str(error)
    return True


def _header(line: str, delimiter: str, wanted: tuple[str, ...]) -> list[str]:
    by_folded = {column.casefold(): column for column in reversed(wanted)}
    found = next(csv.reader(io.StringIO(line), delimiter=delimiter, skipinitialspace=True), [])
    names = [name.strip().removeprefix("\ufeff") for name in found]
    while names and not names[-1]:  # a delimiter at the end of the line
        names.pop()
    return [name if name in wanted else by_folded.get(name.casefold(), name) for name in names]


def lines(path: str, shape: str) -> Iterator[tuple[str, str]]:
    """The lines of a text file as (file:line, line without white space around it), empty ones left out."""
    with opened(path, shape) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}:{number}", line.strip()


def items(path: str, prefix: str, shape: str) -> Iterator[tuple[str, Any]]:
    """The members of a JSON list at `prefix` ("item": the file is that list) as (file#number, value).

    Streamed: one member is in memory at a time.

    Raises:
        InputError: see `opened`; or there is no such list, or nothing in it.
    """
    with _json(path, shape) as file:
        number = 0
        for value in ijson.items(file, prefix, use_float=True):
            number += 1
            yield f"{path}#{number}", value
        if not number:
            raise InputError(f"{path} holds nothing that can be read here. It should be {shape}.")


def pairs(path: str, shape: str) -> Iterator[tuple[str, Any]]:
    """The (key, value) of a JSON object, streamed as in `items`."""
    with _json(path, shape) as file:
        empty = True
        for key, value in ijson.kvitems(file, "", use_float=True):
            empty = False
            yield key, value
        if empty:
            raise InputError(f"{path} holds nothing that can be read here. It should be {shape}.")


@contextmanager
def _json(path: str, shape: str) -> Iterator[IO[bytes]]:
    with opened(path, shape, "rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        yield file


def texts(value: Any, *keys: str) -> tuple[str, ...] | None:
    """The texts at `keys` of a JSON object, whole numbers as text, too; None where one is missing or empty."""
    found = [value.get(key) for key in keys] if isinstance(value, dict) else []
    found = [str(text) if type(text) is int else text for text in found]
    sound = [" ".join(text.split()) for text in found if isinstance(text, str) and text.strip()]
    return tuple(sound) if len(sound) == len(keys) else None
