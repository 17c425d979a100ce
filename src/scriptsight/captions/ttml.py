"""TTML and its older name DFXP (https://www.w3.org/TR/ttml2/): any namespace of it, all its time expressions,
times of containers, text of spans; styles and places are passed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from scriptsight.captions import languages
from scriptsight.captions.script import NOTHING, Known, Piece, Script, clock, cue
from scriptsight.captions.spoken import unit_of
from scriptsight.catalogue import Cue

_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.,](\d{1,9})|[:;](\d{1,9})(?:\.\d+)?)?", re.ASCII)
_BARE = re.compile(r"\d{1,15}(?:[.,]\d{1,15})?", re.ASCII)  # no time of TTML, and found in the field
_OFFSET = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(h|m|s|ms|f|t)", re.ASCII)
_UNSPOKEN = ("text", "delimiter", "textContainer")  # values of tts:ruby: the reading aid, not what is read
_CONTAINERS = ("body", "div", "p")
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True)
class _Run:
    """Text of a paragraph with the times that hold for it; `own`: a span states them."""

    start: float
    end: float
    text: str
    own: bool


def parse(root: Any, known: Known = NOTHING) -> Script:
    """Cues of the paragraphs of a `tt` element (lxml). A paragraph without times whose spans have some is one cue a
    span. What is never shown, or for ever, has no readable times: it is dropped.

    Numbers without a unit are seconds, unless nobody speaks like that. Of versions in several languages that are
    shown at the same times one is read, the one in the language that is wanted if there is one.

    Raises:
        ValueError: the frame or tick rate is no positive number.
    """
    document = _Document(root)
    found, dropped = _said(document)
    spans = [(one.start, one.end, one.text) for one, _ in found]
    unit, doubt = unit_of(spans, known.seconds) if document.counted else (1.0, None)
    if unit != 1.0:
        document.bare = unit
        found, dropped = _said(document)
    taken, languages_doubt = _one_language(found, known.language)
    absolute = "its nested times lie within those around them: they were taken to count from the beginning of all"
    doubts = tuple(one for one in (doubt, languages_doubt, absolute if document.seems_absolute else None) if one)
    cues = [one for one, language in found if taken is None or language == taken]
    return Script(cues, dropped, taken or root.get(_LANG) or None, doubts=doubts, resolved=True)


def _said(document: _Document) -> tuple[list[tuple[Cue, str]], int]:
    """Cues with the languages that their paragraphs are in, and how many were dropped."""
    cues: list[tuple[Cue, str]] = []
    dropped = 0
    for paragraph, start, end in document.paragraphs():
        runs = list(document.runs(paragraph, start, end, own=False))
        if not "".join(run.text for run in runs).strip():
            continue
        if end < inf:
            parts: list[Piece] = [(run.start if run.own else None, run.text) for run in runs]
            spans = [cue(start, end, parts)]
        else:
            spans = [cue(run.start, run.end, [(None, run.text)]) for run in runs if run.own and run.end < inf]
        sound = [span for span in spans if span.start < span.end]
        dropped += max(1, len(spans)) - len(sound)
        language = next((tag for one in (paragraph, *paragraph.iterancestors()) if (tag := one.get(_LANG))), "")
        cues += [(span, language) for span in sound]
    return cues, dropped


def _one_language(found: list[tuple[Cue, str]], wanted: str | None) -> tuple[str | None, str | None]:
    """The language to be read where there are versions in several, else None; and what is doubtful about it."""
    times: dict[str, set[float]] = {}
    for one, language in found:
        times.setdefault(language, set()).add(one.start)
    if len(times) < 2:
        return None, None
    most = max(times, key=lambda language: len(times[language]))
    fitting = [language for language in times if wanted and languages.fits(language, wanted)]
    taken = (fitting or [most])[0]
    others = [language for language in times if language != taken]
    if any(2 * len(times[other] & times[taken]) < len(times[other]) for other in others):
        return None, None  # what is said in several languages one after the other is one version
    if fitting:
        return taken, None
    which = f"{taken or 'the one without a name'}, not in {', '.join(others)}"
    return taken, f"it is in several languages and was read in {which}: name `language` in the collection"


class _Document:
    """The tree with the rates that its times are counted in."""

    def __init__(self, root: Any) -> None:
        stated: dict[str, str] = {_local(key): value for key, value in root.attrib.items()}
        shares = [_positive(share) for share in re.split(r"[\s:]+", stated.get("frameRateMultiplier", "1 1").strip())]
        multiplier = shares[0] / (shares[1] if len(shares) > 1 else 1.0)
        counted = _positive(stated.get("frameRate", "30"))
        self.frames = counted * multiplier
        # SMPTE time codes count so many frames as a second, whatever they last (TTML2, 12.3.1).
        self.counted_frames = counted if stated.get("timeBase") == "smpte" else None
        self.drop = _DROPPED.get(stated.get("dropMode", "nonDrop").strip())
        ticks = stated.get("tickRate")
        self.ticks = _positive(ticks) if ticks else self.frames if "frameRate" in stated else 1.0
        self.bare, self.counted = 1.0, False  # the unit of numbers without one, and whether there are any
        self.root = root
        lyrics = any("apple.com" in uri and "lyric" in uri for uri in root.nsmap.values())
        self.absolute = self.seems_absolute = not lyrics and self.past_their_parents()
        self.absolute |= lyrics
        self.ruby = {
            key: value
            for style in root.iter("{*}style")
            if (value := _attribute(style, "ruby"))
            for key in (style.get("id"), style.get("{http://www.w3.org/XML/1998/namespace}id"))
            if key
        }

    def past_their_parents(self) -> bool:
        """Whether nested times count from the beginning of all, as in Apple's lyrics, and not from that of what they
        are in, as TTML says: then all lie within it, and from its beginning on most would not."""
        within, late, nested = 0, 0, 0
        for element in self.root.iter("{*}div", "{*}p", "{*}span"):
            first, last = self.time(element.getparent().get("begin")), self.time(element.getparent().get("end"))
            begin, end = self.time(element.get("begin")), self.time(element.get("end"))
            if first and last is not None and begin is not None and end is not None:
                nested += 1
                within += first <= begin <= end <= last
                late += first + end > last
        return within == nested > 1 and 2 * late > nested

    def paragraphs(self) -> Iterator[tuple[Any, float, float]]:
        """Paragraphs with the seconds at which they begin and end (infinity: never), in the order of the file."""

        def walk(element: Any, start: float, end: float) -> Iterator[tuple[Any, float, float]]:
            if _local(element.tag) == "p":
                yield element, start, end
                return
            for child, *times in self.timed(element, start, end, lambda child: _local(child.tag) in _CONTAINERS):
                yield from walk(child, *times)

        for body in self.root.iterfind("{*}body"):
            yield from walk(body, *self.interval(body, 0.0, inf))

    def runs(self, element: Any, start: float, end: float, own: bool) -> Iterator[_Run]:
        """The spoken text of a paragraph or span and of the spans in it."""
        if element.text:
            yield _Run(start, end, element.text, own)
        children = self.timed(element, start, end, lambda child: isinstance(child.tag, str))
        for child, first, last in children:
            if _local(child.tag) == "br":
                yield _Run(start, end, "\n", own)
            elif _local(child.tag) == "span" and self.spoken(child):
                stated = any(child.get(key) for key in ("begin", "end", "dur"))
                yield from self.runs(child, first, last, own or stated)
            if child.tail:
                yield _Run(start, end, child.tail, own)

    def spoken(self, span: Any) -> bool:
        role = _attribute(span, "ruby") or next(
            (self.ruby[style] for style in (span.get("style") or "").split() if style in self.ruby), None
        )
        return role not in _UNSPOKEN

    def timed(
        self, element: Any, start: float, end: float, wanted: Callable[[Any], bool]
    ) -> Iterator[tuple[Any, float, float]]:
        """The children that count, each with its interval: side by side, or after each other in a `seq`."""
        sequence, reference = element.get("timeContainer") == "seq", start
        for child in filter(wanted, element):
            first, last = self.interval(child, reference, end)
            yield child, first, last
            reference = last if sequence else start

    def interval(self, element: Any, reference: float, end: float) -> tuple[float, float]:
        """Begin and end in seconds: `begin` and `end` count from `reference`, and nothing outlasts its container."""
        begin, until, length = (self.time(element.get(key)) for key in ("begin", "end", "dur"))
        if begin is None and (element.get("begin") or "").strip():
            return reference, inf  # a time that can't be read is not 0
        if self.absolute and _local(element.tag) != "body":
            first = reference if begin is None else begin
            stops = [end, *([until] if until is not None else []), *([first + length] if length is not None else [])]
            return round(first, 6), round(min(stops), 6)
        first = reference + (begin or 0.0)
        stops = [end]
        stops += [reference + until] if until is not None else []
        stops += [first + length] if length is not None else []
        return round(first, 6), round(min(stops), 6)

    def time(self, expression: str | None) -> float | None:
        """Seconds of a time expression (TTML2, 12.3.1), None where there is none or it can't be read."""
        if match := _CLOCK.fullmatch((expression or "").strip()):
            hours, minutes, whole, fraction, frames = match.groups()
            if self.counted_frames is not None and fraction is None:
                return self.time_code(int(hours or 0) * 60 + int(minutes), int(whole), int(frames or 0))
            return clock(hours, minutes, whole, fraction) + (int(frames) / self.frames if frames else 0.0)
        if match := _OFFSET.fullmatch((expression or "").strip()):
            unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "f": 1 / self.frames, "t": 1 / self.ticks}
            return float(match[1]) * unit[match[2]]
        if match := _BARE.fullmatch((expression or "").strip()):
            self.counted = True
            return float(match[0].replace(",", ".")) * self.bare
        return None

    def time_code(self, minutes: int, whole: int, frames: int) -> float:
        """Seconds of a SMPTE time code: frames that were counted before it, less those whose numbers are left out."""
        counted = self.counted_frames or self.frames
        dropped = self.drop(minutes) if self.drop else 0
        return ((minutes * 60 + whole) * counted + frames - dropped) / self.frames


# Numbers of frames that are left out in so many minutes.
_DROPPED: dict[str, Callable[[int], int]] = {
    "dropNTSC": lambda minutes: 2 * (minutes - minutes // 10),
    "dropPAL": lambda minutes: 4 * (minutes // 2 - minutes // 20),
}


def _local(name: Any) -> str:
    """A name without its namespace; comments and the like have none."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _attribute(element: Any, local: str) -> str | None:
    return next((value for key, value in element.attrib.items() if _local(key) == local), None)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e12:
        raise ValueError(f"{text} is no rate")
    return number
