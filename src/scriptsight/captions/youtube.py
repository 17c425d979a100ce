"""YouTube's own formats of timed text: json3 and srv3 (milliseconds, words with offsets in automatic captions), and
the older srv1 (seconds) and srv2 (milliseconds). Undocumented: written after files that YouTube served."""

from __future__ import annotations

from typing import Any

from scriptsight.captions.script import Piece, Script, cue, seconds, unescape
from scriptsight.catalogue import Cue

MILLISECOND = 1e-3


def json3(events: list[Any]) -> Script:
    """The `events` of a json3. Those without segments place a window, those that append hold only a line break."""
    cues: list[Cue] = []
    dropped = 0
    for event in events:
        segments = event.get("segs") if isinstance(event, dict) else None
        if not isinstance(segments, list):
            continue
        parts = [(segment.get("tOffsetMs"), segment.get("utf8")) for segment in segments if isinstance(segment, dict)]
        texts = [(offset, text) for offset, text in parts if isinstance(text, str)]
        if not "".join(text for _, text in texts).strip():
            continue
        made = _cue(event.get("tStartMs", 0), event.get("dDurationMs", 0), texts)
        cues += [made] if made else []
        dropped += made is None
    return Script(cues, dropped)


def srv3(root: Any) -> Script:
    """A `timedtext` element (lxml): paragraphs `p` with words `s`; in srv2, `text` without words."""
    cues: list[Cue] = []
    dropped = 0
    for element in root.iter("p", "text"):
        parts = [(None, element.text)]
        for child in element:
            parts += [(child.get("t", 0) if child.tag == "s" else None, child.text or ""), (None, child.tail)]
        texts = [(offset, unescape(text)) for offset, text in parts if text]
        if not "".join(text for _, text in texts).strip():
            continue
        made = _cue(element.get("t"), element.get("d", 0), texts)
        cues += [made] if made else []
        dropped += made is None
    return Script(cues, dropped)


def srv1(root: Any) -> Script:
    """A `transcript` element (lxml): `text` with start and duration in seconds, its HTML escaped twice."""
    cues: list[Cue] = []
    dropped = 0
    for element in root.iter("text"):
        text = unescape("".join(element.itertext()))
        start, duration = seconds(element.get("start")), seconds(element.get("dur", 0))
        if not text.strip():
            continue
        if start is None or duration is None:
            dropped += 1
        else:
            cues.append(cue(start, round(start + duration, 6), [(None, text)]))
    return Script(cues, dropped)


def _cue(start: Any, duration: Any, texts: list[tuple[Any, str]]) -> Cue | None:
    """A cue of texts with offsets in milliseconds; None where its times can't be read.

    The first word of an automatic caption has no offset: it begins with the cue.
    """
    first, length = seconds(start, MILLISECOND), seconds(duration, MILLISECOND)
    if first is None or length is None:
        return None
    if not any(offset for offset, _ in texts):
        parts: list[Piece] = [(None, text) for _, text in texts]
    else:
        offsets = [(seconds(offset or 0, MILLISECOND), text) for offset, text in texts]
        parts = [(None if offset is None else round(first + offset, 6), text) for offset, text in offsets]
    return cue(first, round(first + length, 6), parts)
