"""LRC, lyrics with the time at which each line begins, and with `<00:12.50>` before words (enhanced LRC)."""

from __future__ import annotations

import re
from bisect import bisect_right
from statistics import median

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import Piece, Script, clock, cue, seconds
from scriptsight.captions.spoken import FAST, SLOW, pace, until
from scriptsight.catalogue import Cue

_TIME = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.:,](\d{1,9}))?"
STAMP = re.compile(rf"[ \t]*\[{_TIME}\]", re.ASCII)
_WORD = re.compile(rf"[<\[]{_TIME}[>\]]", re.ASCII)
_TAG = re.compile(r"[ \t]*\[([A-Za-z#][A-Za-z_ ]{0,20}):([^\]\n]*)\][ \t]*")
MAX_TIMES = 200  # of a line
_SINGER = re.compile(r"[FMD]:\s*")  # who sings, in some players


def parse(data: bytes) -> Script:
    """A line may have several times, and is sung at each. It lasts until the next line begins (an empty one ends it),
    or as long as slow speech takes. `[offset:+500]` moves all by so many milliseconds, a positive one back.

    Raises:
        ValueError: no line in it begins with a time.
    """
    sung: list[tuple[float, str]] = []
    loose: list[str] = []
    language, move = None, 0.0
    found = lines(data)
    hundredths = _hundredths(found)
    slowly = not hundredths and _too_slow(found)
    hundredths = hundredths or slowly
    for line in found:
        times, place = [], 0
        while match := STAMP.match(line, place):
            times.append(_seconds(match, hundredths))
            place = match.end()
        if len(times) > MAX_TIMES:
            raise ValueError(f"a line in it has {len(times)} times, and no song says one more than {MAX_TIMES} times")
        if times:
            sung += [(time, _SINGER.sub("", line[place:].strip(), count=1)) for time in times]
        elif tag := _TAG.fullmatch(line):
            name, value = tag[1].lower(), tag[2].strip()
            language = value if name in ("la", "lang", "language") and value else language
            move = seconds(value, 1e-3) or 0.0 if name == "offset" else move
        elif line.strip():
            loose.append(line.strip())
    if not sung and data.strip():
        raise ValueError("no line in it begins with a time as [00:01.00]")
    sung = sorted(((round(max(0.0, time - move), 6), text) for time, text in sung), key=lambda one: one[0])
    starts = [time for time, _ in sung]
    cues = [_cue(start, _next(starts, start), text, move, hundredths) for start, text in sung if text]
    doubts: tuple[str, ...] = (
        (f"{len(loose)} of its lines have no time and were left out: {loose[0][:80]}",) if loose else ()
    )
    if slowly:
        doubts += ("its times were read as minutes, seconds and hundredths: nobody sings as slowly as with hours",)
    return Script(cues, 0, language, doubts=doubts)


def _next(starts: list[float], start: float) -> float | None:
    place = bisect_right(starts, start)
    return starts[place] if place < len(starts) else None


def _hundredths(found: list[str]) -> bool:
    """Whether [00:03:50] is 3.5 seconds, and not nearly four minutes: where others have a point, or there is no such
    second."""
    stamps = [match.groups() for line in found for match in _WORD.finditer(line)]
    three = [whole for hours, _, whole, fraction in stamps if hours is not None and fraction is None]
    return any(int(whole) > 59 for whole in three) or (bool(three) and any(fraction for *_, fraction in stamps))


def _too_slow(found: list[str]) -> bool:
    """Whether all lines begin with three numbers, and would be sung slower than anyone sings if those were hours,
    minutes and seconds, but not if they are minutes, seconds and hundredths."""
    begun = [(match, line[match.end() :]) for line in found if (match := STAMP.match(line))]
    if not begun or any(match[1] is None or match[4] is not None for match, _ in begun):
        return False
    paces: dict[bool, list[float]] = {True: [], False: []}
    for hundredths, own in paces.items():
        starts = [_seconds(match, hundredths) for match, _ in begun]
        for start, later, (_, text) in zip(starts, starts[1:], begun, strict=False):
            if (letters := pace(start, later, _WORD.sub("", text))) is not None:
                own.append(letters)
    return bool(paces[False]) and median(paces[False]) < SLOW and SLOW * 5 <= median(paces[True]) <= FAST


def _seconds(match: re.Match[str], hundredths: bool) -> float:
    hours, minutes, whole, fraction = match.groups()
    if hundredths and hours is not None and fraction is None:
        return clock(None, hours, minutes, whole)
    return clock(hours, minutes, whole, fraction)


def _cue(start: float, following: float | None, text: str, move: float, hundredths: bool) -> Cue:
    """The cue of a line; a time behind its last word is where it ends."""
    pieces: list[Piece] = []
    at: float | None = None
    place = 0
    for match in _WORD.finditer(text):
        if text[place : match.start()].strip() or not pieces:
            pieces.append((at, text[place : match.start()]))
        at, place = round(_seconds(match, hundredths) - move, 6), match.end()
    if text[place:].strip():
        pieces.append((at, text[place:]))
        at = None
    said = "".join(part for _, part in pieces)
    end = at if at is not None and at > start else until(start, following, said)
    latest = max((time for time, _ in pieces if time is not None), default=start)
    if latest > end:  # the words say more of the end than the pace
        end = until(latest, following, pieces[-1][1])
    return cue(start, end, [(time, part) for time, part in pieces if part])
