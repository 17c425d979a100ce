"""WebVTT by the letter of its parser (https://www.w3.org/TR/webvtt1/#file-parsing), and YouTube's automatic captions
in it: `<c>` tags and `<00:00:01.500>` stamps are the times of words.

Three things are done otherwise, for speech and not for display: the reading aid of a ruby text is left out, a `<`
that no tag can begin with stands for itself, and cues without text say nothing. `read` keeps to the letter, and a
browser shows nothing of what is not; `parse` reads on where it is sure what was meant: times with a comma or short
hours, lines that are all doubled, a lost first line, an identifier that no blank line parts from the text before.
Text without times is named as a doubt.

Segments of an HTTP live stream (RFC 8216, 3.5) that were joined to one file begin with a header each. Where a header
maps its times to the stream's clock, they are moved to the clock of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from scriptsight.captions import decoding
from scriptsight.captions.markup import broken
from scriptsight.captions.script import Kind, Piece, Script, clock, cue, unescape
from scriptsight.captions.subrip import TIMING as SUBRIP_TIMING
from scriptsight.catalogue import Cue

_STAMP = r"(?:(\d{1,9}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
STAMP = re.compile(_STAMP, re.ASCII)
TIMING = re.compile(rf"[ \t\f]*{_STAMP}[ \t\f]*-->[ \t\f]*{_STAMP}(?!\d)", re.ASCII)
# What is meant though it is not by the letter: 0:00:01.000, 1:02.5, 00:00:01,000.
_LOOSE_STAMP = r"(?:(\d{1,9}):)?([0-5]?\d):([0-5]?\d)(?:[.,](\d{1,9}))?"
_LOOSE = re.compile(rf"\s*{_LOOSE_STAMP}\s*-->\s*{_LOOSE_STAMP}(?!\S)", re.ASCII)
_SIGNATURE = re.compile(r"WEBVTT(?:[ \t]|$)")
_ASIDE = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t:]|$)")
_STATED = re.compile(r"[A-Za-z-]{2,30}[ \t]*[:=][ \t]*\S+$")  # a line of a header
_MAP = re.compile(r"X-TIMESTAMP-MAP[ \t]*[=:](.*)", re.IGNORECASE)
_MPEGTS = re.compile(r"MPEGTS[ \t]*[:=][ \t]*(\d{1,18})", re.IGNORECASE | re.ASCII)
_LOCAL = re.compile(rf"LOCAL[ \t]*[:=][ \t]*{_LOOSE_STAMP}", re.IGNORECASE | re.ASCII)
_TICKS = 90_000.0  # a second of MPEG's clock,
_LOST = 3600.0
_WRAP = 2**33 / _TICKS  # which starts again after these seconds
_HEADER = re.compile(r"(kind|language)[ \t]*:[ \t]*(\S+)", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]{0,200})?[ \t]([^<>]{1,200})>")
_TAG = re.compile(r"(/?)([A-Za-z]*)")
_PICTURE = re.compile(r"\S+\.(?:jpe?g|png|webp|avif)(?:#xywh=\S+)?", re.IGNORECASE)
_KINDS: dict[str, Kind] = {
    "captions": "captions",
    "subtitles": "captions",
    "chapters": "chapters",
    "descriptions": "descriptions",
    "metadata": "metadata",
}


@dataclass(frozen=True)
class Block:
    """A cue as it stands in the file: seconds, and its payload with tags and line breaks."""

    start: float
    end: float
    payload: str


@dataclass
class _Block:
    """What stands between blank lines. A block without a line of times is a comment, a style, a header, or text that
    lacks its times; its first line is then the identifier.

    Attributes:
        parted: whether a blank line, or nothing, is before it.
    """

    identifier: str | None
    timing: str | None
    body: list[str]
    parted: bool


@dataclass
class _Entry:
    """A cue that is being put together.

    Attributes:
        part: which of the segments it is in, from 0.
        shift: seconds that its times are moved by.
        strays: lines that follow it behind a blank one and have no times of their own.
    """

    start: float
    end: float
    identifier: str | None
    body: list[str]
    part: int
    shift: float
    strays: list[str] = field(default_factory=list)

    def cue(self) -> Cue:
        """The cue, its times and those of its words on the clock of the first segment."""
        start, end = round(self.start + self.shift, 6), round(self.end + self.shift, 6)
        return cue_of("\n".join(self.body), start, end, self.shift)


def parse(data: bytes) -> Script:
    """A WebVTT file; comments, styles, regions and cue settings are passed over.

    Raises:
        ValueError: it does not begin with WEBVTT, nor with the times of a cue.
    """
    found = [line.lstrip("\ufeff") for line in decoding.lines(data)]
    found = found[next((i for i, line in enumerate(found) if line.strip()), 0) :]
    if not _SIGNATURE.match(found[0]) and any(map(_times, found[:2])):
        found = ["WEBVTT", "", *found]
    header, position = _header(found)
    reading = _Reading(header)
    for block in _blocks([_canonical(line) for line in found], position):
        reading.take(block)
    reading.finish()
    cues = [entry.cue() for entry in reading.entries]
    stated = {match[1].lower(): match[2] for line in reading.header if (match := _HEADER.match(line))}
    kind = "metadata" if is_metadata(cues) else _KINDS.get(stated.get("kind", "").lower(), "captions")
    return Script(cues, reading.dropped, stated.get("language"), kind, doubts=tuple(reading.doubts()), resolved=True)


def cue_of(payload: str, start: float, end: float, zero: float = 0.0) -> Cue:
    """The cue of a payload that comes without its line of times, as in a container. Its time stamps count from the
    second `zero`."""
    timed = ((None if at is None else round(at + zero, 6), text) for at, text in pieces(payload))
    voices = set(map(str.strip, _VOICE.findall(payload)))
    return replace(cue(start, end, timed), speaker=voices.pop() if len(voices) == 1 else None)


def is_metadata(cues: Iterable[Cue]) -> bool:
    """Whether nothing is said in any cue: thumbnails of a player's time line, or JSON for a page's scripts."""
    texts = [cue.text for cue in cues if cue.text]
    return bool(texts) and all(_PICTURE.fullmatch(text) or (text[0] == "{" and text[-1] == "}") for text in texts)


def read(lines: list[str]) -> tuple[list[str], list[Block], int]:
    """Header lines, cues, and how many cues were dropped for their times; all by the letter.

    Raises:
        ValueError: the first line is no signature.
    """
    header, position = _header(lines)
    entries, bad = [], 0
    for block in _blocks(lines, position):
        if block.timing is not None:
            match = TIMING.match(block.timing)
            bad += match is None
            if match:
                parts = match.groups()
                entries.append(Block(clock(*parts[:4]), clock(*parts[4:]), "\n".join(block.body)))
    return header, entries, bad


def _header(lines: list[str]) -> tuple[list[str], int]:
    """The lines of the header behind the signature, and where they end."""
    if not _SIGNATURE.match(lines[0]):
        raise ValueError("it does not begin with WEBVTT")
    position = 1
    while position < len(lines) and lines[position] and "-->" not in lines[position]:
        position += 1
    return lines[1:position], position


def _blocks(lines: list[str], position: int) -> Iterator[_Block]:
    """The blocks from a line on. The times of one are in its first line or, behind an identifier, in its second. An
    arrow further down begins a block of its own."""
    while position < len(lines):
        if not lines[position]:
            position += 1
            continue
        parted = not lines[position - 1]
        identifier = None
        if "-->" not in lines[position]:
            identifier = lines[position]
            position += 1
        timing = lines[position] if position < len(lines) and "-->" in lines[position] else None
        position = first = position + (timing is not None)
        while position < len(lines) and lines[position] and "-->" not in lines[position]:
            position += 1
        yield _Block(identifier, timing, lines[first:position], parted)


class _Reading:
    """Blocks -> entries, as they were meant."""

    def __init__(self, header: list[str]) -> None:
        self.header = header
        self.entries: list[_Entry] = []
        self.dropped = 0
        self.lost: list[str] = []  # texts without times
        self.odd: list[str] = []  # maps that can't be read
        self.part = 0
        self.origin: float | None = None  # local 0 of the first map on the stream's clock, in seconds,
        self.last = 0.0  # and of the last one
        self.shift = 0.0
        self.aside = False
        self.number: str | None = None  # alone before the first cue, in a file whose lines are all doubled
        self._map(header)

    def take(self, block: _Block) -> None:
        first = block.identifier
        if first is not None and _SIGNATURE.match(first):
            self._segment(block.body if block.timing is None else [])
            block.identifier = first = None
        if block.timing is not None:
            self._timed(block)
        elif first is not None:
            self._untimed([first, *block.body])

    def finish(self) -> None:
        """The last entry is complete. What stands behind it is its text where it has none of its own, as in a file
        whose lines are all doubled; else nobody knows."""
        if self.entries:
            entry = self.entries[-1]
            if any(line.strip() for line in entry.body):
                self.lost += entry.strays
            else:
                entry.body += entry.strays
            entry.strays = []

    def _timed(self, block: _Block) -> None:
        before = self.entries[-1] if self.entries else None
        self.aside = False
        if block.identifier is None and before is not None:
            # Without the blank line, the identifier is the last line before; with two, it is alone between them.
            lines = before.strays if block.parted else before.body if not before.strays else []
            if lines and _follows(before.identifier, lines[-1]) and (len(lines) > 1 or block.parted):
                block.identifier = lines.pop()
        elif block.identifier is None and self.number is not None:
            block.identifier = self.number
        self.finish()
        times = _times(block.timing or "")
        if times is None:
            self.dropped += 1
            return
        header = next((i for i in range(len(block.body)) if _begins_segment(block.body, i)), len(block.body))
        entry = _Entry(*times, block.identifier, block.body[:header], self.part, self.shift)
        self.entries.append(entry)
        if header < len(block.body):
            text, _, _ = block.body[header].rpartition("WEBVTT")
            entry.body += [text.rstrip("\ufeff")] if text else []
            self._segment(block.body[header + 1 :])

    def _untimed(self, lines: list[str]) -> None:
        """A header's further lines, an aside, or text that lacks its times."""
        if not self.entries and all(_STATED.match(line) or not line.strip() for line in lines):
            self.header += lines
            self._map(lines)
        elif any(map(_MAP.match, lines)):
            self._map(lines)
        elif _ASIDE.match(lines[0]):
            self.aside = len(lines) == 1 and lines[0].strip() in ("NOTE", "STYLE", "REGION")
        elif self.aside or not self.entries:
            self.number = lines[0] if len(lines) == 1 and lines[0].strip().isdecimal() else None
            self.lost += [line for line in lines if line.strip() and self.number is None]
        else:
            self.entries[-1].strays += [line for line in lines if line.strip()]

    def _segment(self, header: list[str]) -> None:
        self.finish()
        self.part += 1
        self._map(header)

    def _map(self, header: list[str]) -> None:
        """The clock of what follows. MPEG's clock starts again after 26.5 hours: the nearest turn of it is meant."""
        for line in header:
            if match := _MAP.match(line):
                ticks, local = _MPEGTS.search(match[1]), _LOCAL.search(match[1])
                if ticks is None or local is None:
                    self.odd.append(line)
                    continue
                zero = int(ticks[1]) / _TICKS - clock(*local.groups())
                if self.origin is None:
                    # By the standard a segment before it that has no map has MPEG's 0 as its own. Where that is
                    # hours away, its map was lost.
                    self.origin = self.last = 0.0 if self.part and 0 <= zero < _LOST else zero
                turned = zero - self.last
                self.last += turned - _WRAP * round(turned / _WRAP)
                self.shift = round(self.last - self.origin, 6)

    def doubts(self) -> Iterator[str]:
        """What was not understood; to be asked for when all is finished."""
        if self.lost:
            yield (
                f"{len(self.lost)} lines of text have no times and were left out, first {self.lost[0][:60]!r}: "
                "no blank line may stand inside a cue"
            )
        if self.odd:
            yield f"{len(self.odd)} of its maps of times can't be read, first {self.odd[0][:80]!r}"
        if again := self._starts_again():
            yield (
                f"it is {self.part + 1} segments joined, and the times of {again} of them start again without a map "
                "(X-TIMESTAMP-MAP) to say where they belong: they lie too early"
            )

    def _starts_again(self) -> int:
        """How many segments begin before what the segments before them say. A cue that a border cuts is in both."""
        seen: set[tuple[float, str]] = set()
        latest, part, again = 0.0, 0, 0
        for entry in self.entries:
            said = (round(entry.start + entry.shift, 6), "\n".join(entry.body))
            if said in seen:
                continue
            if entry.part > part:
                part = entry.part
                again += said[0] <= latest
                latest = said[0]
            latest = max(latest, said[0])
            seen.add(said)
        return again


def _times(line: str) -> tuple[float, float] | None:
    """Start and end in seconds of a line of times, by the letter or as it is meant."""
    match = TIMING.match(line) or _LOOSE.match(line)
    return (clock(*match.groups()[:4]), clock(*match.groups()[4:])) if match else None


def _canonical(line: str) -> str:
    """A line of times whose arrow is none that WebVTT knows, with one that it knows."""
    if "-->" in line or not (match := SUBRIP_TIMING.match(line)):
        return line
    groups = match.groups()
    stamps = [":".join(filter(None, parts[:3])) + f".{parts[3] or 0}" for parts in (groups[1:5], groups[6:])]
    return " --> ".join(stamps)


def _follows(before: str | None, line: str) -> bool:
    """Whether a line is the identifier that comes after another: the next number, or of the same form."""
    if before is None or not any(map(str.isdecimal, line)) or " " in line.strip():
        return False
    if before.strip().isdecimal():
        return line.strip().isdecimal() and int(line[:18]) == int(before[:18]) + 1
    return re.sub(r"[0-9a-f]+", "0", before.strip()) == re.sub(r"[0-9a-f]+", "0", line.strip())


def _begins_segment(body: list[str], i: int) -> bool:
    """Whether the header of another segment begins in a cue's text, as no blank line ends it."""
    mapped = i + 1 < len(body) and _MAP.match(body[i + 1]) is not None
    if _SIGNATURE.match(body[i]):
        return i > 0 or mapped
    return mapped and body[i].endswith("WEBVTT")


def pieces(payload: str) -> Iterator[Piece]:
    """The spoken text of a payload, cut at its time stamps."""
    payload = broken(payload)
    now: float | None = None
    ruby = aside = False
    position = 0
    while position < len(payload):
        opening = payload.find("<", position)
        while opening >= 0 and not re.match(r"[^\s<]", payload[opening + 1 : opening + 2]):
            opening = payload.find("<", opening + 1)
        closing = payload.find(">", opening) if opening >= 0 else -1
        if opening >= 0 and closing < 0 and not re.match(r"<(?:/|[A-Za-z]|\d+:)", payload[opening : opening + 12]):
            opening = -1  # "I <3 you"
        text = payload[position:] if opening < 0 else payload[position:opening]
        if text and not aside:
            yield now, unescape(text)
            now = None
        if opening < 0 or closing < 0:
            return  # what follows a tag that never ends belongs to it
        tag = payload[opening + 1 : closing]
        position = closing + 1
        if stamp := STAMP.fullmatch(tag):
            now = clock(*stamp.groups())
        elif name := _TAG.match(tag):
            ends, element = bool(name[1]), name[2].lower()
            ruby = not ends if element == "ruby" else ruby
            aside = ruby and (not ends if element == "rt" else aside)
