"""Caption files -> cues. In which of the formats a file is, its content says; its suffix, where that does not.

**Which library does what.** Of the 267 files of Mozilla's WebVTT suite, webvtt-py gives number, times and text of
the cues as the standard has them on 244, pycaption on 236, pysubs2 on 228 (character references, ruby; pysubs2 also
takes files without a signature), and none of them keeps the times of words. Of ExoPlayer's 19 SubStation files
pysubs2 stops at 9 (columns in another order, a time it can't read). Of the TTML files ttconv finds no cue in two that
have some, ends a time with a comma wrongly, stops at an unknown attribute value and takes ruby for speech; pycaption
keeps only the last `div` of several. So these parsers are our own, and libraries do what lies beneath: lxml reads XML
(entities and network off), rapidfuzz measures the distances of words, chardet tells encodings. `tests/captions/
test_conformance.py` has the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from scriptsight.captions import (
    decoding,
    languages,
    lyrics,
    microdvd,
    records,
    sami,
    stamped,
    subrip,
    substation,
    subviewer,
    tables,
    webvtt,
)
from scriptsight.captions.by_content import parse_json, parse_xml
from scriptsight.captions.script import NOTHING, CaptionError, Kind, Known, NotCaptions, NotRead, Script
from scriptsight.catalogue import Cue, Word

__all__ = [
    "OF_ANYTHING",
    "PARSERS",
    "CaptionError",
    "Known",
    "NotCaptions",
    "NotRead",
    "Script",
    "howto100m",
    "ordered",
    "parse",
]

Parser = Callable[[bytes], Script]

_NOT_READ = {
    ".scc": "Scenarist closed captions (CEA-608)",
    ".mcc": "MacCaption closed captions",
    ".stl": "EBU or Spruce subtitles",
    ".sup": "pictures of subtitles (Blu-ray)",
    ".idx": "the index of pictures of subtitles (VobSub)",
    ".ttxt": "GPAC's timed text",
    ".usf": "the Universal Subtitle Format",
    ".rt": "RealText",
    ".eaf": "a transcript of ELAN",
    ".exb": "a transcript of EXMARaLDA",
    ".trs": "a transcript of Transcriber",
    ".textgrid": "a transcript of Praat",
}


def _not_read(data: bytes) -> Script:
    """What can't be read as anything else.

    Raises:
        ValueError: always.
    """
    raise ValueError("there is no parser for it")


# By suffix, for content that says nothing; where a video has several, the first is taken. A parser raises ValueError
# for what it can't read.
PARSERS: dict[str, Parser] = {
    ".vtt": webvtt.parse,
    ".srt": subrip.parse,
    ".ttml": parse_xml,
    ".dfxp": parse_xml,
    ".itt": parse_xml,
    ".srv3": parse_xml,
    ".srv2": parse_xml,
    ".srv1": parse_xml,
    ".ytt": parse_xml,
    ".json3": parse_json,
    ".ass": substation.parse,
    ".ssa": substation.parse,
    ".sbv": subviewer.parse,
    ".lrc": lyrics.parse,
    ".smi": sami.parse,
    ".sami": sami.parse,
    ".sub": subviewer.parse,
    ".xml": parse_xml,
    ".json": parse_json,
    ".jsonl": parse_json,
    ".sjson": parse_json,
    ".csv": lambda data: tables.parse(data, ".csv"),
    ".tsv": lambda data: tables.parse(data, ".tsv"),
    ".txt": stamped.parse,
    **dict.fromkeys(_NOT_READ, _not_read),
}

# What has these suffixes may as well be of something else.
OF_ANYTHING = frozenset({".csv", ".json", ".jsonl", ".tsv", ".txt", ".xml"})

# A file name that says what it is for, with or without a language: clip.chapters.vtt, clip_descriptions_en.vtt.
_KIND = re.compile(r"[._-](chapters|descriptions?|metadata)(?:[._-][A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)?)?$")

# What is no text at all begins with these bytes.
_BINARY = {
    b"\x00\x00\x01\xba": "subtitles of a DVD (VobSub), which are pictures: no words can be read from them",
    b"\x1f\x8b": "packed with gzip: unpack it",
    b"PK\x03\x04": "a ZIP archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"%PDF": "a PDF",
    b"{\\rtf": "rich text (RTF): save it as plain text",
    b"\x1aE\xdf\xa3": "a Matroska file: it is no caption file, but may be read as a video",
}
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")

_SIGNATURE = re.compile(r"WEBVTT(?![A-Za-z0-9])")
_SUBSTATION = re.compile(r"^[ \t]*(?:\[(?:Script Info|V4\+? Styles|Events)\]|Dialogue:[^,\n]{0,60},\d)", re.I | re.M)
_SAMI = re.compile(r"<(?:sami|sync\b[^>]{0,200}\bstart)", re.IGNORECASE)
_XML = re.compile(r"<(?:\?xml|!DOCTYPE (?!html)|(?:\w{1,20}:)?(?:tt|transcript|timedtext)[\s>])", re.IGNORECASE)
_CLOCK = r"-?(?:\d{1,9}[ ]?:[ ]?){1,2}\d{1,3}(?:[ ]?[.,:;,][ ]?\d{0,9})?"
_ARROW = re.compile(rf"^[ \t]*{_CLOCK}[ \t]*(?:-{{1,3}}[ ]?-?>|[—–→])[ \t>]*{_CLOCK}", re.M)  # noqa: RUF001
_COMMA = re.compile(rf"^{subviewer.TIMING.pattern}$", re.M | re.ASCII)
_JSON = re.compile(r"[{\[]\s*(?:[\"{\[\]}]|-?\d+(?:\.\d+)?\s*[,\]])")
_LYRICS = re.compile(rf"^{lyrics.STAMP.pattern}", re.M | re.ASCII)
_LOOSE = (".txt", ".sub", ".srt", ".sbv", ".lrc")  # what people call a text with times
_HEAD = 4096  # characters in which a format shows


def parse(data: bytes, name: str, *, encoding: str | None = None, known: Known = NOTHING) -> Script:
    """The script in the bytes of a caption file called `name`, in whatever format they are.

    Texts are without the format's mark-up, with one space between words; entries without text are left out, and
    those whose times can't be read are counted. The rest is in order of time, but not yet cleaned.

    Args:
        encoding: of the text where neither its mark nor UTF-8 says it; None is found out.
        known: of its video, for what the file leaves open.

    Raises:
        NotCaptions: a JSON, XML, table or text of something else.
        NotRead: captions in a format that is known, and not read here.
        CaptionError: unknown suffix, unknown encoding, or nothing in the file looks like a format that is known.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in PARSERS:
        raise CaptionError(f"{name} is in no caption format that is read here: {', '.join(PARSERS)}.")
    for mark, meaning in _BINARY.items() if suffix not in _NOT_READ else ():
        if data.startswith(mark):
            raise NotRead(f"{name} is {meaning}.")
    try:
        decoded = decoding.read(data, encoding)
        text = decoding.with_plain_ends(decoded.text)
        parser = _by_content(text, suffix, known) or PARSERS[suffix]
        script = parser(text.encode())
        if decoded.guessed and script.dropped and not script.cues:
            raise ValueError("none of its times can be read; its encoding is not known either")
    except NotCaptions as error:
        kind = NotCaptions if suffix in OF_ANYTHING else CaptionError
        raise kind(f"{name}: {error}") from error
    except (ValueError, LookupError) as error:
        if suffix not in _NOT_READ:
            raise CaptionError(f"{name} can't be read as {suffix}: {error}") from error
        raise NotRead(
            f"{name} is {_NOT_READ[suffix]}, which is not read here: convert it to SubRip or WebVTT."
        ) from None
    named = _KIND.search(PurePath(name).stem)
    if script.kind == "captions" and named:
        kinds: dict[str, Kind] = {"chapters": "chapters", "metadata": "metadata"}
        script = replace(script, kind=kinds.get(named[1], "descriptions"))
    doubts = (*decoded.doubts, *script.doubts)
    stated = script.language and languages.named(script.language)
    return replace(script, cues=ordered(script.cues), language=stated, doubts=doubts, legacy=decoded.legacy)


def _by_content(text: str, suffix: str, known: Known) -> Parser | None:
    """The parser for a text that shows its format; None where only the suffix says it."""
    head = text[:_HEAD].lstrip("\ufeff \t\n")
    first = head.partition("\n")[0]
    if len(_CONTROL.findall(head)) > 0.1 * len(head) > 0:
        raise ValueError("it is no text: a tenth of it are control characters")
    if _SIGNATURE.match(head):
        return lambda data: webvtt.parse(data.lstrip(b" \t\n"))
    while head.startswith("<!--") and "-->" in head:
        head = head.partition("-->")[2].lstrip()
    if head.startswith("<"):
        if _SAMI.search(head):
            return lambda data: sami.parse(data, known.language)
        return (lambda data: parse_xml(data, known)) if _XML.match(head) else None
    if microdvd.FRAMES.match(first):
        return lambda data: microdvd.parse_frames(data, known.fps)
    if microdvd.TENTHS.match(first):
        return microdvd.parse_tenths
    if _SUBSTATION.search(head):
        return substation.parse
    if _JSON.match(head):
        return lambda data: parse_json(data, known)
    if suffix in (".csv", ".tsv"):
        return lambda data: tables.parse(data, suffix, known)
    return _by_lines(text, head, suffix, known)


def _by_lines(text: str, head: str, suffix: str, known: Known) -> Parser | None:
    """The parser for a text whose lines have times."""
    if _ARROW.search(text):
        return lambda data: subrip.parse(data, known.fps)
    if _COMMA.search(text):
        return subviewer.parse
    if _LYRICS.search(head) and not stamped.RANGE.match(head):
        # [00:00:01] on a line of its own, and below it what is said: SubViewer as it first was.
        alone = re.search(rf"^{lyrics.STAMP.pattern}[ \t]*\n[^\[\n]", head, re.M | re.ASCII)
        return stamped.parse if alone else lyrics.parse
    return stamped.parse if suffix in _LOOSE and stamped.fits(text) else None


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
