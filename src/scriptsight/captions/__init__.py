"""Caption files -> cues: one parser a format, chosen by suffix, for JSON and XML by their content.

**Which library does what.** Of the 267 files of Mozilla's WebVTT suite, webvtt-py gives number, times and text of
the cues as the standard has them on 244, pycaption on 236, pysubs2 on 228 (character references, ruby; pysubs2 also
takes files without a signature), and none of them keeps the times of words. Of ExoPlayer's 19 SubStation files
pysubs2 stops at 9 (columns in another order, a time it can't read). Of the TTML files ttconv finds no cue in two that
have some, ends a time with a comma wrongly, stops at an unknown attribute value and takes ruby for speech; pycaption
keeps only the last `div` of several. So these parsers are our own, and libraries do what lies beneath: lxml reads XML
(entities and network off), rapidfuzz measures the distances of words. `tests/captions/test_conformance.py` has the
table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from scriptsight.captions import records, subrip, substation, tables, webvtt
from scriptsight.captions.by_content import parse_json, parse_xml
from scriptsight.captions.script import CaptionError, Kind, NotCaptions, Script
from scriptsight.catalogue import Cue, Word

__all__ = [
    "PARSERS",
    "CaptionError",
    "NotCaptions",
    "Script",
    "howto100m",
    "ordered",
    "parse",
]

# By suffix; where a video has several, the first is taken. A parser raises ValueError for what it can't read.
PARSERS: dict[str, Callable[[bytes], Script]] = {
    ".vtt": webvtt.parse,
    ".srt": subrip.parse,
    ".ttml": parse_xml,
    ".dfxp": parse_xml,
    ".srv3": parse_xml,
    ".srv2": parse_xml,
    ".srv1": parse_xml,
    ".ytt": parse_xml,
    ".json3": parse_json,
    ".ass": substation.parse,
    ".ssa": substation.parse,
    ".xml": parse_xml,
    ".json": parse_json,
    ".csv": tables.parse_csv,
    ".tsv": tables.parse_tsv,
}

# A file name that says what it is for, with or without a language: clip.chapters.vtt, clip_descriptions_en.vtt.
_KIND = re.compile(r"[._-](chapters|descriptions?|metadata)(?:[._-][A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)?)?$")


def parse(data: bytes, name: str) -> Script:
    """The script in the bytes of a caption file called `name`, whose suffix says how to read it.

    Texts are without the format's mark-up, with one space between words; entries without text are left out, and
    those whose times can't be read are counted. The rest is in order of time, but not yet cleaned.

    Raises:
        NotCaptions: a JSON, XML or table of something else.
        CaptionError: unknown suffix, unknown encoding, or nothing in the file looks like this format.
    """
    suffix = PurePath(name).suffix.lower()
    parser = PARSERS.get(suffix)
    if parser is None:
        raise CaptionError(f"{name} is in no caption format that is read here: {', '.join(PARSERS)}.")
    try:
        script = parser(data)
    except NotCaptions as error:
        raise NotCaptions(f"{name}: {error}") from error
    except ValueError as error:
        raise CaptionError(f"{name} can't be read as {suffix}: {error}") from error
    named = _KIND.search(PurePath(name).stem)
    if script.kind == "captions" and named:
        kinds: dict[str, Kind] = {"chapters": "chapters", "metadata": "metadata"}
        script = replace(script, kind=kinds.get(named[1], "descriptions"))
    return replace(script, cues=ordered(script.cues))


def howto100m(record: Any) -> tuple[Cue, ...]:
    """The cues of one video of HowTo100M's `raw_caption.json`; see `records.howto100m`."""
    return tuple(ordered(records.howto100m(record).cues))


def ordered(cues: list[Cue]) -> list[Cue]:
    """What has text, by time, with one space between words, and nothing in it that UTF-8 can't hold."""
    tidy = [_tidy(cue) for cue in cues]
    return sorted((cue for cue in tidy if cue.text), key=lambda cue: (cue.start, cue.end))


def _tidy(cue: Cue) -> Cue:
    text = _encodable(" ".join(cue.text.split()))
    words = cue.words
    if words is not None and any(_encodable(word.text) != word.text for word in words):
        words = tuple(Word(word.start, word.end, _encodable(word.text)) for word in words)
    return cue if text == cue.text and words is cue.words else replace(cue, text=text, words=words)


def _encodable(text: str) -> str:
    """JSON can hold half a surrogate pair and NUL; a table can't."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode(errors="replace").decode()
