"""SubRip, which has no standard: a number, times, text, a blank line, and each of them may be missing, doubled or
written in a way of its own. Only times are sure to be there: an entry is what stands between two lines of times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from scriptsight.captions.decoding import lines
from scriptsight.captions.markup import broken, spoken
from scriptsight.captions.script import Piece, Script, clock, cue
from scriptsight.catalogue import Cue

# People and tools write "00: 00: 01, 000", "0:01", a wide comma, "->", a dash for the two hyphens.
_COLON, _POINT = "[ \t]{0,2}[:\uff1a][ \t]{0,2}", "[ \t]{0,2}[.,:;\uff0c\uff0e][ \t]{0,2}"
_STAMP = rf"(-?)(?:(\d{{1,9}}){_COLON})?(\d{{1,9}}){_COLON}(\d{{1,3}})(?:{_POINT}(\d{{1,9}}))?"
_ARROW = "(?:[-\u2010-\u2015\u2212\u2500=]{1,3}[ \t]{0,2}[-\u2010-\u2015]{0,2}(?:>|&gt;)|[\u2192\u21d2\u2794])"
TIMING = re.compile(rf"\s*{_STAMP}\s*{_ARROW}\s*{_STAMP}[:.,;]?(?!\S)", re.ASCII)
_WORD_STAMP = re.compile(r"<(?:(\d{1,9}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,9})>", re.ASCII)
_MEANT = re.compile(r"[\s\d:.,-]*-->")  # meant as times: no letter stands before it
# What converters leave of MicroDVD's line breaks.
_BAR = re.compile(r"(?<=[\w.,!?\"'…>])\|(?=[\w\"'<-])")
# 00:00:01:12 or, of a rate that drops numbers, 00:00:01;12.
_FRAMES = re.compile(r"(?<!\d)(\d{1,9}:\d{1,2}:\d{1,2})[:;](\d{2})(?!\d)", re.ASCII)
FRAME_RATES = (25.0, 30.0)  # that are taken where nothing says the rate, the first that has numbers enough
_DECORATED = re.compile(r"\s*(?:#|no\.?|nr\.?|№|subtitle|caption)?\s*([0-9]{1,9})\s*[.):]?\s*", re.IGNORECASE)
_PLACES = re.compile(r"(?:\s+(?:[A-Za-z]\w*[:=]\S+|\{\S*\}))*\s*")  # behind the times: "X1:100 Y1:20", "align:left"


@dataclass
class _Entry:
    """Times in seconds (None: they can't be read), lines of text, and the number in front, where there is one."""

    times: tuple[float, float] | None
    text: list[str]
    number: int | None


@dataclass(frozen=True)
class _Candidate:
    """The line before an entry's times, blank ones left out, if it is only a number.

    Attributes:
        line: where it stands.
        touches: no blank line is between it and the times.
        apart: a blank line, or nothing, is before it.
    """

    line: int
    number: int
    touches: bool
    apart: bool


def parse(data: bytes, fps: float | None = None) -> Script:
    """A SubRip file. A text may hold blank lines and lines that are only a number: `_numbers` says which of those
    are the next entry's, and an entry without times is one that is the next in the count. Times that count frames
    (00:00:01:12) are counted at `fps`, the video's.

    Raises:
        ValueError: no line in it has times.
    """
    found = [line.lstrip("\ufeff") for line in lines(data)]
    timed = [i for i, line in enumerate(found) if _MEANT.match(line) or TIMING.match(line)]
    if any(found) and not timed:
        raise ValueError("no line in it has times")
    counted = _without_frames(found, timed, fps)
    numbers = _numbers(found, timed)
    entries, dropped, number = [], 0, 0
    for k, at in enumerate(timed):
        own = numbers.get(k)
        number = number + 1 if own is None else own.number
        following = numbers.get(k + 1)
        until = following.line if following else timed[k + 1] if k + 1 < len(timed) else len(found)
        last = following.number if following else None
        text, untimed = _split(found, at + 1, until, number, last)
        number += untimed
        dropped += untimed
        entry = _entry(found[at], text, own.number if own else None)
        dropped += entry.times is None
        entries.append(entry)
    if entries:
        _without_next_number(entries[-1], found)
    cues = [cue_of("\n".join(entry.text), *entry.times) for entry in entries if entry.times is not None]
    top = found[: numbers[0].line if 0 in numbers else timed[0]] if timed else []
    return Script(cues, dropped, doubts=(*counted, *_doubts(entries, top)), resolved=True)


def _without_frames(found: list[str], timed: list[int], fps: float | None) -> tuple[str, ...]:
    """Writes times that count frames as seconds, in place, and says so. They do if all have two digits behind their
    last colon, none of which is above what a second has of frames: else they are hundredths."""
    rows = [_FRAMES.findall(found[i]) for i in timed]
    stamps = [int(frame) for row in rows for _, frame in row]
    if not any(stamps) or any(len(row) != 2 for row in rows):
        return ()
    rates = ([fps] if fps else []) + list(FRAME_RATES)
    rate = next((rate for rate in rates if max(stamps) < rate), None)
    if rate is None:
        return ()
    for i in timed:
        found[i] = _FRAMES.sub(lambda stamp: f"{stamp[1]}.{round(int(stamp[2]) / rate * 1e6):06d}", found[i])
    return (
        f"its times were read as frames, {rate:g} a second: if that is not its rate, write them with milliseconds",
    )


def cue_of(text: str, start: float, end: float) -> Cue:
    """The cue of the lines of an entry below its times. Time stamps in it are those of WebVTT, which tools copy."""
    return cue(start, end, _pieces(_BAR.sub(" ", broken(text, "Nnh"))))


def _pieces(text: str) -> Iterator[Piece]:
    at: float | None = None
    position = 0
    for stamp in _WORD_STAMP.finditer(text):
        if part := text[position : stamp.start()]:
            yield at, spoken(part)
        at, position = clock(*stamp.groups()), stamp.end()
    if text[position:]:
        yield at, spoken(text[position:])


def _entry(timing: str, text: list[str], number: int | None) -> _Entry:
    match = TIMING.match(timing)
    if match is None:
        return _Entry(None, text, number)
    parts = match.groups()
    beside = timing[match.end() :]
    text = text if _PLACES.fullmatch(beside) else [beside.strip(), *text]
    return _Entry((_seconds(*parts[:5]), _seconds(*parts[5:])), text, number)


def _numbers(found: list[str], timed: list[int]) -> dict[int, _Candidate]:
    """By entry, the line that numbers it.

    A number that stands between a blank line and the times is one. So is one that touches the text before it, where
    the file numbers its entries or the count goes on; and one with a blank line on both sides in a file whose lines
    are all doubled (which the first entry shows), or where the count goes on and something else is said before it.
    What is left was spoken.
    """
    candidates = {k: made for k in range(len(timed)) if (made := _candidate(found, timed, k))}
    first = candidates.get(0)
    touching = sum(one.touches for one in candidates.values())
    numbered = (first is not None and first.touches) or 2 * touching > len(timed)
    doubled = first is not None and not first.touches
    numbers: dict[int, _Candidate] = {}
    for k, one in candidates.items():
        before = numbers.get(k - 1)
        counted = before is not None and one.number == before.number + 1
        if one.touches:
            sure = one.apart or numbered or counted
        else:
            alone = k > 0 and not any(line.strip() for line in found[timed[k - 1] + 1 : one.line])
            sure = doubled or (counted and not alone)
        if sure:
            numbers[k] = one
    return numbers


def _candidate(found: list[str], timed: list[int], k: int) -> _Candidate | None:
    at, previous = timed[k], timed[k - 1] if k else -1
    line = at - 1
    while line > previous and not found[line].strip():
        line -= 1
    if line <= previous:
        return None
    apart = line == 0 or not found[line - 1].strip()
    number = _number(found[line])
    if number is None and apart and line == at - 1 and (decorated := _DECORATED.fullmatch(found[line])):
        number = int(decorated[1])  # "#2", "No. 2"
    if number is None:
        return None
    return _Candidate(line, number, touches=line == at - 1, apart=apart)


def _split(found: list[str], first: int, until: int, number: int, last: int | None) -> tuple[list[str], int]:
    """The text of the entry called `number`, between its times and the next entry, and how many entries without
    times follow: those go on with the count, which must not reach the next entry's number (`last`) too early."""
    text: list[str] = []
    untimed = 0
    for i in range(first, until):
        line = found[i]
        expected = number + untimed + 1
        parted = i > first and not found[i - 1].strip() and i + 1 < until and found[i + 1].strip()
        if parted and _number(line) == expected and (last is None or last > expected):
            untimed += 1
        elif not untimed and line.strip():
            text.append(line)
    return text, untimed


def _doubts(entries: list[_Entry], top: list[str]) -> Iterator[str]:
    lost = [line.strip() for line in top if any(map(str.isalpha, line))]
    if lost:
        yield f"{len(lost)} lines of text stand before the first times and were left out, first {lost[0][:60]!r}"
    again = sum(_begins_anew(one, two) for one, two in pairwise(entry for entry in entries if entry.times))
    if again:
        yield (
            f"its numbers and times start again {again} times, as where files were joined end to end: if so, all but "
            "the first part lie too early; write it with times that go on"
        )


def _without_next_number(entry: _Entry, found: list[str]) -> None:
    """Takes the number off the last entry that was to come after it: a blank line parts it from the text."""
    last = next(i for i in range(len(found) - 1, -1, -1) if found[i].strip())
    counted = entry.number is not None and _number(found[last]) == entry.number + 1
    if counted and len(entry.text) > 1 and entry.text[-1] is found[last] and not found[last - 1].strip():
        entry.text.pop()


def _begins_anew(one: _Entry, two: _Entry) -> bool:
    if one.times is None or two.times is None or one.number is None or two.number is None:
        return False
    return two.number <= one.number and two.times[0] < one.times[0]


def _number(line: str) -> int | None:
    return int(line) if re.fullmatch(r"\s*[0-9]{1,9}\s*", line) else None


def _seconds(sign: str, *parts: str | None) -> float:
    hours, minutes, whole, fraction = parts
    return clock(hours, minutes, whole or "0", fraction) * (-1 if sign else 1)
