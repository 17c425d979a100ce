"""MicroDVD (`{25}{75}text`, frames) and MPL2 (`[10][30]text`, tenths of a second)."""

from __future__ import annotations

import re

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import Script, cue, seconds
from scriptsight.captions.spoken import until
from scriptsight.catalogue import Cue

FRAMES = re.compile(r"\s*\{(\d{1,9})\}\{(\d{0,9})\}(.*)", re.ASCII)
TENTHS = re.compile(r"\s*\[(\d{1,9})\]\[(\d{0,9})\](.*)", re.ASCII)
_CODES = re.compile(r"\{[A-Za-z]:[^{}]*\}|</?[A-Za-z][^<>]*>")  # {y:i}, {C:$0000ff}
_RATE = re.compile(r"\s*(\d{1,3}(?:[.,]\d{1,6})?)\s*(?:fps)?\s*", re.IGNORECASE)


def parse_frames(data: bytes, fps: float | None = None) -> Script:
    """A MicroDVD file. Its rate stands in its first line (`{1}{1}23.976`); without that frames are counted at `fps`,
    the video's, and that is a doubt.

    Raises:
        ValueError: the rate is stated nowhere, or no line is of this format.
    """
    rows, others = _rows(data, FRAMES)
    stated = _RATE.fullmatch(rows[0][2]) if rows and rows[0][0] == rows[0][1] and rows[0][0] in (0, 1) else None
    rate = seconds(stated[1].replace(",", ".")) if stated else None
    if stated and rate:
        return _script(rows[1:], others, 1 / rate)
    if not fps or fps <= 0:
        raise ValueError(
            "it counts frames and does not say how many a second has, nor does the video: write {1}{1}25 (or the "
            "right rate) as its first line, or convert it to SubRip"
        )
    doubt = f"it counts frames without stating their rate: they were taken for the {fps:g} a second of the video"
    return _script(rows, others, 1 / fps, doubt)


def parse_tenths(data: bytes) -> Script:
    """An MPL2 file."""
    return _script(*_rows(data, TENTHS), 0.1)


def _rows(data: bytes, pattern: re.Pattern[str]) -> tuple[list[tuple[int, int | None, str]], list[str]]:
    rows: list[tuple[int, int | None, str]] = []
    others = []
    for line in lines(data):
        if match := pattern.fullmatch(line):
            rows.append((int(match[1]), int(match[2]) if match[2] else None, match[3]))
        elif line.strip() and not line.startswith("{DEFAULT}"):
            others.append(line.strip())
    if not rows:
        raise ValueError("no line in it has times in braces or brackets")
    return rows, others


def _script(rows: list[tuple[int, int | None, str]], others: list[str], unit: float, *doubts: str) -> Script:
    if others:
        doubts += (f"{len(others)} of its lines have no times and were left out: {others[0][:80]}",)
    cues: list[Cue] = []
    for i, (first, last, text) in enumerate(rows):
        start = round(first * unit, 6)
        said = " ".join(line.removeprefix("/") for line in _CODES.sub("", text).split("|"))
        following = round(rows[i + 1][0] * unit, 6) if i + 1 < len(rows) else None
        end = round(last * unit, 6) if last is not None else until(start, following, said)
        cues.append(cue(start, end, [(None, said)]))
    return Script(cues, 0, doubts=doubts)
