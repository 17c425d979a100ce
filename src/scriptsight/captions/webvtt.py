"""WebVTT by the letter of its parser (https://www.w3.org/TR/webvtt1/#file-parsing), and YouTube's automatic captions
in it: `<c>` tags and `<00:00:01.500>` stamps are the times of words.

Three things are done otherwise, for speech and not for display: the reading aid of a ruby text is left out, a `<`
that no tag can begin with stands for itself, and cues without text say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scriptsight.captions import decoding
from scriptsight.captions.script import Kind, Piece, Script, clock, cue, unescape
from scriptsight.catalogue import Cue

_STAMP = r"(?:(\d{1,9}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
STAMP = re.compile(_STAMP, re.ASCII)
TIMING = re.compile(rf"[ \t\f]*{_STAMP}[ \t\f]*-->[ \t\f]*{_STAMP}(?!\d)", re.ASCII)
_HEADER = re.compile(r"(kind|language)[ \t]*:[ \t]*(\S+)", re.IGNORECASE)
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


def parse(data: bytes) -> Script:
    """A WebVTT file; comments, styles, regions and cue settings are passed over.

    Raises:
        ValueError: it does not begin with WEBVTT.
    """
    header, entries, bad = read(decoding.lines(data))
    cues = [cue(entry.start, entry.end, pieces(entry.payload)) for entry in entries]
    stated = {match[1].lower(): match[2] for line in header if (match := _HEADER.match(line))}
    kind = "metadata" if is_metadata(cues) else _KINDS.get(stated.get("kind", "").lower(), "captions")
    return Script(cues, bad, stated.get("language"), kind)


def cue_of(payload: str, start: float, end: float, zero: float = 0.0) -> Cue:
    """The cue of a payload that comes without its line of times, as in a container. Its time stamps count from the
    second `zero`."""
    return cue(start, end, ((None if at is None else round(at + zero, 6), text) for at, text in pieces(payload)))


def is_metadata(cues: Iterable[Cue]) -> bool:
    """Whether nothing is said in any cue: thumbnails of a player's time line, or JSON for a page's scripts."""
    texts = [cue.text for cue in cues if cue.text]
    return bool(texts) and all(_PICTURE.fullmatch(text) or (text[0] == "{" and text[-1] == "}") for text in texts)


def read(lines: list[str]) -> tuple[list[str], list[Block], int]:
    """Header lines, cues, and how many cues were dropped for their times.

    Raises:
        ValueError: the first line is no signature.
    """
    if not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
        raise ValueError("it does not begin with WEBVTT")
    position = 1
    while position < len(lines) and lines[position] and "-->" not in lines[position]:
        position += 1
    header, entries, bad = lines[1:position], [], 0
    while position < len(lines):
        if not lines[position]:
            position += 1
            continue
        # The times of a block are in its first line or, behind an identifier, in its second; a block without is
        # a comment, a style or a region. An arrow further down begins a block of its own.
        if "-->" not in lines[position]:
            position += 1
        timing = position if position < len(lines) and "-->" in lines[position] else None
        position = first = position + (timing is not None)
        while position < len(lines) and lines[position] and "-->" not in lines[position]:
            position += 1
        if timing is not None:
            match = TIMING.match(lines[timing])
            bad += match is None
            if match:
                parts = match.groups()
                payload = "\n".join(lines[first:position])
                entries.append(Block(clock(*parts[:4]), clock(*parts[4:]), payload))
    return header, entries, bad


def pieces(payload: str) -> Iterator[Piece]:
    """The spoken text of a payload, cut at its time stamps."""
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
