"""YouTube's own formats of timed text: json3 and srv3 (milliseconds, words with offsets in automatic captions), and
the older srv1 (seconds) and srv2 (milliseconds). Undocumented: written after files that YouTube served.

What an event states as its duration is not always one. Automatic captions that were made while the video was live
say 3000 for all, or nothing, and stay on the screen until their window gets its next event, be that only the line
break that is appended. Without a window, one that lacks its duration lasts to the next event of all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scriptsight.captions.script import Piece, Script, cue, seconds, unescape
from scriptsight.catalogue import Cue

MILLISECOND = 1e-3
PLACEHOLDER = 3.0  # seconds


@dataclass(frozen=True)
class _Event:
    """What is shown in a window.

    Attributes:
        start: seconds, as is `duration`; None where they can't be read.
        stated: whether there is a duration at all.
        window: its number; None outside of any.
        automatic: whether a recogniser wrote it: then a duration may be a placeholder.
        texts: with their offsets in units of `unit` seconds.
    """

    start: float | None
    duration: float | None
    stated: bool
    window: Any
    automatic: bool
    texts: list[tuple[Any, str]]

    @property
    def said(self) -> bool:
        return bool("".join(text for _, text in self.texts).strip())


def json3(events: list[Any]) -> Script:
    """The `events` of a json3. Those without segments place a window, those that append often hold only a line
    break."""
    return _script([_json3_event(event) for event in events if isinstance(event, dict) and not _defines(event)])


def srv3(root: Any) -> Script:
    """A `timedtext` element (lxml): paragraphs `p` with words `s`; in srv2, `text` without words."""
    return _script([_srv3_event(element) for element in root.iter("p", "text")])


def srv1(root: Any) -> Script:
    """A `transcript` element (lxml): `text` with start and duration in seconds, its HTML escaped twice."""
    events = []
    for element in root.iter("text"):
        texts = [(None, unescape("".join(element.itertext())))]
        start, duration = seconds(element.get("start")), seconds(element.get("dur", 0))
        events.append(_Event(start, duration, "dur" in element.keys(), None, False, texts))  # noqa: SIM118, of lxml
    script = _script(events)
    return Script(script.cues, script.dropped, doubts=script.doubts, resolved=True)


def _defines(event: dict[str, Any]) -> bool:
    """Whether an event is that of a window that comes to be."""
    return "id" in event and "segs" not in event


def _json3_event(event: dict[str, Any]) -> _Event:
    segments = event.get("segs")
    parts = [one for one in (segments if isinstance(segments, list) else []) if isinstance(one, dict)]
    texts = [(one.get("tOffsetMs"), one["utf8"]) for one in parts if isinstance(one.get("utf8"), str)]
    window = event.get("wWinId")
    return _Event(
        seconds(event.get("tStartMs", 0), MILLISECOND),
        seconds(event.get("dDurationMs", 0), MILLISECOND),
        "dDurationMs" in event,
        window if isinstance(window, int | str) else None,
        window is not None or any("acAsrConf" in one for one in parts),
        texts,
    )


def _srv3_event(element: Any) -> _Event:
    """Its texts have been resolved by the reader of XML: what is still escaped in them was spoken."""
    parts = [(None, element.text)]
    for child in element:
        parts += [(child.get("t", 0) if child.tag == "s" else None, child.text or ""), (None, child.tail)]
    window = element.get("w")
    return _Event(
        seconds(element.get("t"), MILLISECOND),
        seconds(element.get("d", 0), MILLISECOND),
        element.get("d") is not None,
        window,
        window is not None or any(child.get("ac") is not None for child in element),
        [(offset, text) for offset, text in parts if text],
    )


def _script(events: list[_Event]) -> Script:
    """The cues of the events that say something, each as long as it is meant to be."""
    times = defaultdict(list)
    for event in events:
        if event.start is not None:
            times[event.window].append(event.start)
    begins = {window: sorted(starts) for window, starts in times.items()}
    live = _live_windows(events)
    cues: list[Cue] = []
    dropped = assumed = 0
    for event in filter(lambda event: event.said, events):
        if event.start is None or event.duration is None:
            dropped += 1
            continue
        length = event.duration
        if not length or (length == PLACEHOLDER and event.automatic and event.window in live):
            following = _next(begins[event.window], event.start)
            assumed += following is None and not length
            length = max(PLACEHOLDER, _last_offset(event)) if following is None else following - event.start
        cues.append(_cue(event.start, length, event.texts))
    doubts = [
        f"{assumed} of its captions state no duration and none follows them: they were taken to last "
        f"{PLACEHOLDER:.0f} s"
    ]
    return Script(cues, dropped, doubts=tuple(doubts if assumed else ()))


def _live_windows(events: Iterable[_Event]) -> set[Any]:
    """The windows in which 3000 is a placeholder: half of the texts or more have it. A single one among a thousand
    others is as long as it says."""
    lengths = defaultdict(list)
    for event in events:
        if event.said and event.stated:
            lengths[event.window].append(event.duration == PLACEHOLDER)
    return {window for window, found in lengths.items() if 2 * sum(found) >= len(found)}


def _last_offset(event: _Event) -> float:
    """Seconds after its start at which the last word of an event begins."""
    return max((seconds(offset, MILLISECOND) or 0.0 for offset, _ in event.texts), default=0.0)


def _next(starts: list[float], start: float) -> float | None:
    """The first of sorted seconds that is later."""
    place = bisect_right(starts, start)
    return starts[place] if place < len(starts) else None


def _cue(first: float, length: float, texts: list[tuple[Any, str]]) -> Cue:
    """A cue of texts with offsets in milliseconds. The first word of an automatic caption has none: it begins with
    the cue."""
    if not any(offset for offset, _ in texts):
        parts: list[Piece] = [(None, text) for _, text in texts]
    else:
        offsets = [(seconds(offset or 0, MILLISECOND), text) for offset, text in texts]
        parts = [(None if offset is None else round(first + offset, 6), text) for offset, text in offsets]
    return cue(first, round(first + length, 6), parts)
