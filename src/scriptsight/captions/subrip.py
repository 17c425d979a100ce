"""SubRip, which has no standard: a number, times, text, a blank line, and each of them may be missing."""

from __future__ import annotations

import re

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import Script, clock, cue, unescape
from scriptsight.catalogue import Cue

_STAMP = r"(-?)(?:(\d{1,9}):)?(\d{1,9}):(\d{1,3})(?:[.,:](\d{1,9}))?"
_TIMING = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?!\S)", re.ASCII)
_ARROW = re.compile(r"[\s\d:.,-]*-->")  # meant as times: no letter stands before it
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}|\\[Nnh]")


def parse(data: bytes) -> Script:
    """A SubRip file. A text may hold blank lines and lines that are only a number: one belongs to an entry where
    times follow, or where it stands after a blank line and is the next in the count.

    Raises:
        ValueError: no line in it has times.
    """
    found = lines(data)
    if any(found) and not any("-->" in line for line in found):
        raise ValueError("no line in it has times")
    entries: list[tuple[float, float, list[str]]] = []
    inside, dropped, number = False, 0, 0
    for i, line in enumerate(found):
        before, after = found[i - 1] if i else "", found[i + 1] if i + 1 < len(found) else ""
        if _ARROW.match(line):
            own = _number(before)
            if inside and own is not None and entries[-1][2]:
                entries[-1][2].pop()
            number = number + 1 if own is None else own
            match = _TIMING.match(line)
            inside = match is not None
            dropped += not inside
            if match:
                parts = match.groups()
                entries.append((_seconds(*parts[:5]), _seconds(*parts[5:]), []))
        elif not before.strip() and _number(line) == number + 1 and after.strip() and not _ARROW.match(after):
            inside = False  # an entry that lacks its times
            number += 1
            dropped += 1
        elif inside and line:
            entries[-1][2].append(line)
    return Script([cue_of("\n".join(text), start, end) for start, end, text in entries], dropped)


def cue_of(text: str, start: float, end: float) -> Cue:
    """The cue of the lines of an entry below its times."""
    return cue(start, end, [(None, unescape(_TAGS.sub(lambda tag: " " if tag[0][0] == "\\" else "", text)))])


def _number(line: str) -> int | None:
    return int(line) if re.fullmatch(r"\s*[0-9]{1,9}\s*", line) else None


def _seconds(sign: str, *parts: str | None) -> float:
    hours, minutes, whole, fraction = parts
    return clock(hours, minutes, whole or "0", fraction) * (-1 if sign else 1)
