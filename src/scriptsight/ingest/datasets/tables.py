"""Annotation files: CSV, plain lists and JSON, local or at an fsspec address, read a row at a time.

What is wrong with the file as a whole is an InputError; what is wrong with a row is a Reject with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError, needs
from scriptsight.ingest.datasets.listing import check_address

with needs("data", "Reading corpora"):
    import ijson

BAD_ROW = "bad row"


@contextmanager
def opened(path: str, shape: str, mode: str = "rt") -> Iterator[IO[Any]]:
    """Open an annotation file; `shape` says in errors what it should look like.

    Raises:
        InputError: it is missing or can't be read, or what is done with it in the block shows that it is no UTF-8,
            no CSV or no JSON.
    """
    check_address(path)
    text: dict[str, str] = {"encoding": "utf-8-sig", "newline": ""} if "t" in mode else {}
    try:
        opening = fsspec.open(path, mode, **text).open()
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. It should be {shape}.") from None
    except Exception as error:  # every file system has errors of its own, whose text may quote a signed request
        raise InputError(f"{path} can't be opened ({type(error).__name__}). It should be {shape}.") from None
    try:
        with opening as file:
            yield file
    except (UnicodeDecodeError, csv.Error, ijson.JSONError) as error:
        raise InputError(f"{path} can't be read: {error}. It should be {shape}, in UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror or type(error).__name__}).") from None


def rows(
    name: str, path: str, required: tuple[str, ...], shape: str
) -> Iterator[tuple[str, dict[str, str]] | Reject]:
    """The rows of a CSV with a header as (file:line, row), those that do not fit the header as rejects.

    Values are stripped of white space around them; columns that `required` does not name may be empty.

    Raises:
        InputError: see `opened`; or a required column is not there.
    """
    with opened(path, shape) as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if missing := [column for column in required if column not in columns]:
            raise InputError(
                f"{path} has no column {missing[0]!r}; it has: {', '.join(columns) or 'none'}. It should be {shape}."
            )
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                detail = f"{len(columns)} columns are needed; is a comma in it not quoted?"
                yield Reject(name, where, BAD_ROW, detail)
            elif empty := [column for column in required if not row[column].strip()]:
                yield Reject(name, where, BAD_ROW, f"{empty[0]} is empty")
            else:
                yield where, {column: value.strip() for column, value in row.items()}


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
