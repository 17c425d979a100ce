"""Plain text whose lines begin with a time: copied transcripts, TMPlayer (`00:00:01:text`), meetings
(`00:00:01 Mary: text`), tables of Audacity's labels (`0.5<tab>2.0<tab>text`). Beside a video may lie any text: what
has no times is none of these."""

from __future__ import annotations

import re
from statistics import median

from scriptsight.captions.decoding import lines
from scriptsight.captions.script import NotCaptions, Script, clock
from scriptsight.captions.spoken import SLOW, pace, with_ends
from scriptsight.catalogue import Cue

_TIME = r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-5][0-9])(?:[.,]([0-9]{1,6}))?"
_STAMP = re.compile(rf"[ \t]*[\[(]?{_TIME}[\])]?(?:[ \t]*[-–—:|>]+(?=\s|\w)|(?=\s|$))[ \t]*(.*)")  # noqa: RUF001
_AT_END = re.compile(
    rf"(?![0-9\[(])[^:\n]{{1,60}}?(?:\t| [ \t])[ \t]*[\[(]?{_TIME}[\])]?[ \t]*"
)  # a name, then a time
_LABEL = re.compile(r"(\d{1,9}(?:[.,]\d{1,9})?)\t(\d{1,9}(?:[.,]\d{1,9})?)\t(.*)", re.ASCII)
_NAME = re.compile(r"([^\W\d_][\w.'’ -]{0,40}?):\s+(?=\S)")  # noqa: RUF001
SHARE = 1 / 3  # of its lines that must begin with a time: a description has a few


def parse(data: bytes) -> Script:
    """A line lasts until the next begins, or as long as slow speech takes. Lines without a time go on with the one
    before. Names that all lines begin with are no words.

    Raises:
        NotCaptions: it is any other text.
        ValueError: its times are so far apart that they are no one's speech, as of chapters.
    """
    found = [line.strip("\ufeff \t") for line in lines(data)]
    filled = [line for line in found if line]
    labels = [match for line in filled if (match := _LABEL.fullmatch(line))]
    if filled and len(labels) == len(filled):
        return Script([_label(*match.groups()) for match in labels], 0)
    said: list[tuple[float, list[str]]] = []
    above: list[str] = []
    for line in filled:
        if (match := _STAMP.fullmatch(line)) or (match := _AT_END.fullmatch(line)):
            hours, minutes, whole, fraction, *rest = match.groups()
            said.append((clock(hours, minutes, whole, fraction), [part for part in rest if part]))
        elif said:
            said[-1][1].append(line)
        else:
            above.append(line)
    if len(said) < SHARE * len(filled) or not said or len(above) > max(3, len(said)):
        raise NotCaptions("this text has no times that its lines begin with")
    cues = with_ends([(start, " ".join(text)) for start, text in _without_names(said)])
    starts = [start for start, _ in said]
    if starts != sorted(starts):
        raise ValueError("the times that its lines begin with go back")
    paces = [
        speed
        for (start, text), following in zip(said, starts[1:], strict=False)
        if (speed := pace(start, following, " ".join(text))) is not None
    ]
    if paces and median(paces) < SLOW * 3:
        raise ValueError("its times are too far apart for what its lines say: they seem to be chapters")
    doubts = ["its lines say when they begin only: each was taken to last until the next, or as long as it takes"]
    doubts += [f"what stands above its first time was left out: {above[0][:80]}"] if above else []
    return Script(cues, 0, doubts=tuple(doubts))


def _label(start: str, end: str, text: str) -> Cue:
    return Cue(float(start.replace(",", ".")), float(end.replace(",", ".")), text)


def _without_names(said: list[tuple[float, list[str]]]) -> list[tuple[float, list[str]]]:
    """Lines without who says them, where all name someone."""
    names = [_NAME.match(" ".join(text)) for _, text in said]
    if not all(name or not text for name, (_, text) in zip(names, said, strict=True)) or len(said) < 2:
        return said
    return [
        (start, [" ".join(text)[name.end() :]] if name else [])
        for name, (start, text) in zip(names, said, strict=True)
    ]
