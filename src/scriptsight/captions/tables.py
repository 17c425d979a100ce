"""Cues as a table: HowTo100M's CSV of a video (seconds), Whisper's TSV (milliseconds)."""

from __future__ import annotations

import csv
import io
from typing import Any

from scriptsight.captions.decoding import decode
from scriptsight.captions.records import howto100m
from scriptsight.captions.script import NotCaptions, Script, seconds


def parse_csv(data: bytes) -> Script:
    """Columns start, end (seconds) and text, in any order and among others.

    Raises:
        NotCaptions: a column is missing.
        ValueError: it is no CSV.
    """
    return howto100m(_columns(data, ","))


def parse_tsv(data: bytes) -> Script:
    """The same, separated by tabs, in milliseconds."""
    columns = _columns(data, "\t")
    for key in ("start", "end"):
        columns[key] = [seconds(value, 1e-3) for value in columns[key]]
    return howto100m(columns)


def _columns(data: bytes, delimiter: str) -> dict[str, list[Any]]:
    text = decode(data).replace("\0", "\ufffd")
    file = io.StringIO(text, newline="")
    try:
        if delimiter == "\t":
            rows = list(csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE))
        else:
            rows = list(csv.DictReader(file))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if rows and not {"start", "end", "text"} <= rows[0].keys():
        raise NotCaptions("its first line does not name columns start, end and text")
    return {key: [row[key] for row in rows] for key in ("start", "end", "text")}
