"""Plain text whose lines begin with a time: copied transcripts, TMPlayer (`00:00:01:text`), meetings
(`00:00:01 Mary: text`), what Whisper prints (`[00:01.000 --> 00:03.000] text`), tables of Audacity's labels
(`0.5<tab>2.0<tab>text`). Beside a video may lie any text: what has no times is none of these."""

from __future__ import annotations

import re
from dataclasses import replace
from statistics import median
from typing import TypeAlias

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import NotCaptions, Script, clock
from scriptsight.captions.spoken import with_ends
from scriptsight.catalogue import Cue

_TIME = r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-5][0-9])(?:[.,]([0-9]{1,6}))?"
_TO = r"(?:-->|->|[-–—]|to)"  # noqa: RUF001
RANGE = re.compile(rf"[ \t]*[\[(]?{_TIME}[ \t]*{_TO}[ \t]*{_TIME}[\])]?(?:[ \t]*[:|]|(?=\s|$))[ \t]*(.*)")
_STAMP = re.compile(
    rf"[ \t]*[\[(]?{_TIME}[\])]?(?:[ \t]*[-–—:|>=]+(?=\s|\w)|(?=\s|$)|(?=[^\W\d_])(?![ap]m\b))[ \t]*(.*)"  # noqa: RUF001
)
_AT_END = re.compile(
    rf"(?![0-9\[(])[^:\n]{{1,60}}?(?:\t| [ \t])[ \t]*[\[(]?{_TIME}[\])]?[ \t]*"
)  # a name, then a time
_FRAMES = re.compile(r"[ \t]*[\[(]?[0-9]{1,3}:[0-9]{2}:[0-9]{2}[:;][0-9]{2}[\])]?(?=[ \t]*(?:[-–—>\]]|$))")  # noqa: RUF001
_LABEL = re.compile(r"(\d{1,9}(?:[.,]\d{1,9})?)\t(\d{1,9}(?:[.,]\d{1,9})?)\t(.*)", re.ASCII)
_NAME = re.compile(r"([^\W\d_][\w.'’ -]{0,40}?):\s+(?=\S)")  # noqa: RUF001
SHARE = 1 / 3  # of its lines that must begin with a time: a description has a few
CHAPTERS = 0.9  # letters a second: what is said in less is no speech

_Line: TypeAlias = tuple[float, float | None, list[str]]  # begin, end where it is stated, what is said


def fits(text: str) -> bool:
    """Whether the lines of a text begin with times."""
    filled = [line for line in text[:20_000].split("\n") if line.strip()]
    return sum(_timed(line) is not None for line in filled) >= max(1.0, SHARE * len(filled))


def parse(data: bytes) -> Script:
    """A line lasts until the end that it states, until the next begins, or as long as slow speech takes. Lines
    without a time go on with the one before. Names that all lines begin with are no words. Times that are too far
    apart for what is said are those of chapters.

    Raises:
        NotCaptions: it is any other text.
        ValueError: its times go back, or count frames.
    """
    found = [line.strip("\ufeff \t") for line in lines(data)]
    filled = [line for line in found if line]
    labels = [match for line in filled if (match := _LABEL.fullmatch(line))]
    if filled and len(labels) == len(filled):
        doubt = "it is a table of labels: they were taken for what is said"
        return Script([_label(*match.groups()) for match in labels], 0, doubts=(doubt,))
    said: list[_Line] = []
    above: list[str] = []
    for line in filled:
        if (timed := _timed(line)) is not None:
            said.append(timed)
        elif said:
            said[-1][2].append(line)
        else:
            above.append(line)
    if len(said) < SHARE * len(filled) or not said or len(above) > max(3, len(said)):
        raise NotCaptions("this text has no times that its lines begin with")
    if sum(_FRAMES.match(line) is not None for line in filled) > len(said) / 2:
        raise ValueError("its times count frames, and it does not say how many a second has: convert it to SubRip")
    return _script(said, above)


def _timed(line: str) -> _Line | None:
    """A line that begins with a time, or ends with one behind a name."""
    if match := RANGE.fullmatch(line):
        parts = match.groups()
        return clock(*parts[:4]), clock(*parts[4:8]), [part for part in parts[8:] if part]
    if (match := _STAMP.fullmatch(line)) or (match := _AT_END.fullmatch(line)):
        hours, minutes, whole, fraction, *rest = match.groups()
        return clock(hours, minutes, whole, fraction), None, [part for part in rest if part]
    return None


def _script(said: list[_Line], above: list[str]) -> Script:
    starts = [start for start, _, _ in said]
    if starts != sorted(starts):
        raise ValueError("the times that its lines begin with go back")
    doubts = [f"what stands above its first time was left out: {above[0][:80]}"] if above else []
    if all(end is not None for _, end, _ in said):
        cues = [Cue(start, end, " ".join(text)) for start, end, text in _without_names(said) if end is not None]
        return Script(cues, 0, doubts=tuple(doubts))
    paces = [
        len("".join(text)) / (following - start)
        for (start, _, text), following in zip(said, starts[1:], strict=False)
        if following > start and text
    ]
    if paces and median(paces) < CHAPTERS:
        return Script(with_ends([(start, " ".join(text)) for start, _, text in said]), 0, kind="chapters")
    doubts.append("its lines say when they begin only: each was taken to last until the next, or as long as it takes")
    cues = with_ends([(start, " ".join(text)) for start, _, text in _without_names(said)])
    ends = {start: end for start, end, _ in said if end is not None}
    cues = [replace(one, end=ends.get(one.start, one.end)) for one in cues]
    return Script(cues, 0, doubts=tuple(doubts))


def _label(start: str, end: str, text: str) -> Cue:
    return Cue(float(start.replace(",", ".")), float(end.replace(",", ".")), text)


def _without_names(said: list[_Line]) -> list[_Line]:
    """Lines without who says them, where all name someone."""
    texts = [" ".join(text) for _, _, text in said]
    names = [_NAME.match(text) for text in texts]
    if len(said) < 2 or not all(name or not text for name, text in zip(names, texts, strict=True)):
        return said
    return [
        (start, end, [text[name.end() :]] if name else [])
        for name, text, (start, end, _) in zip(names, texts, said, strict=True)
    ]
