"""SBV of YouTube and SubViewer: a line `0:00:01.000,0:00:03.000`, then what is said."""

from __future__ import annotations

import re

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import Script, clock, cue
from scriptsight.catalogue import Cue

_STAMP = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.:](\d{1,9}))?"
TIMING = re.compile(rf"[ \t]*{_STAMP}[ \t]*,[ \t]*{_STAMP}[ \t]*", re.ASCII)
_HEADER = re.compile(r"\[[^\[\]]*\].*")  # [INFORMATION], [TITLE] a talk; [COLF]&HFFFFFF,[SIZE]24
_BREAK = re.compile(r"\[br\]|\|", re.IGNORECASE)
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>")


def parse(data: bytes) -> Script:
    """All lines below a line of times up to the next are said then; lines above the first are the header.

    Raises:
        ValueError: no line in it has times.
    """
    entries: list[tuple[float, float, list[str]]] = []
    unsaid = []
    for line in lines(data):
        if match := TIMING.fullmatch(line):
            parts = match.groups()
            entries.append((clock(*parts[:4]), clock(*parts[4:]), []))
        elif entries and not (line.startswith("[COL") and _HEADER.fullmatch(line)):
            entries[-1][2].append(_TAGS.sub("", _BREAK.sub(" ", line)))
        elif line.strip() and not _HEADER.fullmatch(line.strip()):
            unsaid.append(line.strip())
    if not entries and data.strip():
        raise ValueError("no line in it has times as 0:00:01.000,0:00:03.000")
    doubts = (f"what stands above its first times was left out: {unsaid[0][:80]}",) if unsaid else ()
    return Script([_cue(*entry) for entry in entries], 0, doubts=doubts)


def _cue(start: float, end: float, said: list[str]) -> Cue:
    return cue(start, end, [(None, "\n".join(said))])
