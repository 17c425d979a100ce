"""Cues as a table: HowTo100M's CSV of a video (seconds), Whisper's TSV (milliseconds), and what else has columns of
times and text, under whatever names producers give them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import Any, Literal

from scriptsight.captions import fields, spoken
from scriptsight.captions.decoding import decode
from scriptsight.captions.script import NOTHING, Known, NotCaptions, Script
from scriptsight.captions.spoken import Entries

_LOOKED_AT = 200  # rows and columns in which times show
_DELIMITERS = ",;\t|"
_FRAMES = re.compile(r"\d{1,3}:\d\d:\d\d[:;]\d{1,3}", re.ASCII)


def parse(data: bytes, suffix: str, known: Known = NOTHING) -> Script:
    """Columns of start, end and text, in any order and among others, or without names in this order. Times are
    seconds or clocks; whole numbers in a .tsv with Whisper's names are milliseconds.

    Raises:
        NotCaptions: they are none of these.
        ValueError: it is no table, or it has times under names that are not known here.
    """
    usual = "\t" if suffix == ".tsv" else ","
    text = decode(data).replace("\0", "\ufffd")
    first = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=lambda sign: (first.count(sign), sign == usual))
    rows = _rows(text.lstrip("\ufeff\r\n"), delimiter)
    if not rows:
        return Script([], 0)
    if _is_row(list(rows[0])):
        return _without_names(text, delimiter, known)
    names = {fields.plain(name): name for name in rows[0] if isinstance(name, str)}
    starts, texts = (
        [name for name in names if name in told] for told in (fields.STARTS, (*fields.TEXTS, *fields.WORD_TEXTS))
    )
    ends = [name for name in names if name in fields.ENDS or name in fields.LENGTHS]
    if not starts or not texts:
        columns = ", ".join(names.values())
        times = sum(_timed(name, rows) for name in [*names.values()][:_LOOKED_AT])
        if (
            (starts and ends)
            or (starts and _wordy(rows))
            or (ends and texts)
            or (times > 1 and (texts or _wordy(rows)))
        ):
            raise ValueError(f"its columns are {columns[:300]}: name those of times and text start, end and text")
        raise NotCaptions(f"its first line does not name columns start, end and text; they are {columns[:300]}")
    unit = None
    if (
        usual == "\t"
        and delimiter == "\t"
        and starts[0] == "start"
        and all(_whole(row, names["start"]) for row in rows)
    ):
        unit = fields.MILLISECOND
    return spoken.script(Entries([_item(row) for row in rows], unit=unit), known)


def _is_row(cells: list[Any]) -> bool:
    """Whether the line that should name the columns is one of times and text itself."""
    times = [cell for cell in cells[:2] if fields.moment(cell) is not None or _FRAMES.fullmatch(str(cell).strip())]
    return len(cells) >= 3 and len(times) == 2 and any(isinstance(cell, str) and " " in cell for cell in cells[2:])


def _without_names(text: str, delimiter: str, known: Known) -> Script:
    """Start, end and text in columns without names."""
    rows = [[cell.strip() for cell in row] for row in _reader(text, delimiter) if any(map(str.strip, row))]
    if _numbered(rows):
        rows = [row[1:] for row in rows]
    if frames := next((row for row in rows if any(map(_FRAMES.fullmatch, row[:2]))), None):
        raise ValueError(
            f"its times count frames ({frames[0]}), and it does not say how many a second has: write seconds"
        )
    items = [{"start": row[0], "end": row[1], "text": " ".join(row[2:])} for row in rows if len(row) >= 3]
    short = len(rows) - len(items)
    found = spoken.script(Entries(items), known)
    return replace(found, dropped=found.dropped + short)


def _numbered(rows: list[list[str]]) -> bool:
    """Whether the first column counts the rows, before start, end and text."""
    counted = [str(i) for i in range(len(rows))], [str(i) for i in range(1, len(rows) + 1)]
    timed = all(len(row) >= 4 and all(fields.moment(cell) is not None for cell in row[1:3]) for row in rows)
    return len(rows) > 1 and timed and [row[0] for row in rows] in counted


def _rows(text: str, delimiter: str) -> list[dict[Any, Any]]:
    """Rows by the names in the first line. What a row has beyond them is of its last column, a text that was not
    quoted."""
    names, *rows = _reader(text, delimiter) or [[]]
    last = max(0, len(names) - 1)
    rows = [[*row[:last], delimiter.join(row[last:])] if len(row) > len(names) > 0 else row for row in rows]
    return [dict(zip(names, row, strict=False)) for row in rows if row] or ([dict.fromkeys(names)] if names else [])


def _reader(text: str, delimiter: str) -> list[list[str]]:
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _item(row: dict[Any, Any]) -> dict[str, Any]:
    """A row as an entry."""
    return {str(key): value for key, value in row.items() if key is not None and value is not None}


def _whole(row: dict[Any, Any], name: str) -> bool:
    return str(row.get(name) or "").strip().isdigit()


def _timed(name: str, rows: list[dict[Any, Any]]) -> bool:
    """Whether a column is called like a time, in whatever language, and has numbers or clocks."""
    if not fields.TIME_LIKE.search(fields.plain(name)):
        return False
    times = [fields.moment(row.get(name)) for row in rows[:_LOOKED_AT]]
    return 2 * sum(time is not None and time[0] < fields.DATE for time in times) > len(times)


def _wordy(rows: list[dict[Any, Any]]) -> bool:
    """Whether some column has sentences."""
    return sum(any(str(value).count(" ") > 2 for value in row.values()) for row in rows) > len(rows) / 2
