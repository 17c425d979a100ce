"""JSON and XML are many formats: which one a file is in, its content says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from scriptsight.captions import records, services, spoken, ttml, youtube
from scriptsight.captions.decoding import decode
from scriptsight.captions.script import NOTHING, Known, NotCaptions, Script
from scriptsight.errors import needs

with needs("data", "Reading captions"):
    from lxml import etree

_OF_LINGUISTS = {  # roots of transcripts whose times stand apart from what is said
    "ANNOTATION_DOCUMENT": "a transcript of ELAN",
    "basic-transcription": "a transcript of EXMARaLDA",
    "segmented-transcription": "a transcript of EXMARaLDA",
    "Trans": "a transcript of Transcriber",
    "folker-transcription": "a transcript of FOLKER",
    "USFSubtitles": "in the Universal Subtitle Format",
}
_BETWEEN = re.compile(r"[\s,\x1e]*")  # values of a list of lines


def parse_json(data: bytes, known: Known = NOTHING) -> Script:
    """json3, YT-Temporal, one video of HowTo100M, and what `services` reads: nearly all that has times and texts.

    Several values one after the other, a line each or not, are a list.

    Raises:
        NotCaptions: it is none of them, and does not look like it.
        ValueError: it is no JSON, it is nested too deeply, or it looks like captions and is not understood.
    """
    try:
        value = _values(decode(data))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(value, dict):
        if _events(value.get("events")):
            return youtube.json3(value["events"])
        if isinstance(value.get("subtitles"), list) and ("denoised" in value or _heard(value["subtitles"])):
            return records.yt_temporal(value)
        if {"start", "end", "text"} <= value.keys() and isinstance(value["text"], list):
            return _in_seconds(records.howto100m(value), known)
    if (found := services.entries(value, known.language)) is not None:
        return spoken.script(found, known)
    if value == [] or (isinstance(value, dict) and any(value.get(name) == [] for name in services.SPOKEN)):
        return Script([], 0)
    names = ", ".join(sorted(map(str, value))[:12]) if isinstance(value, dict) else ""
    raise NotCaptions(f"this JSON holds no captions in a form that is read here{names and ': it has ' + names}")


def _in_seconds(script: Script, known: Known) -> Script:
    """A record whose numbers were taken for seconds, in the unit that they are in: Open edX has the same lists in
    milliseconds."""
    unit, doubt = spoken.unit_of([(cue.start, cue.end, cue.text) for cue in script.cues], known.seconds)
    cues = [replace(cue, start=round(cue.start * unit, 6), end=round(cue.end * unit, 6)) for cue in script.cues]
    return replace(script, cues=cues, doubts=(*script.doubts, doubt)) if doubt else script


def _values(text: str) -> Any:
    """The value of a JSON, or the list of its values."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    decoder, found, place = json.JSONDecoder(), [], _next(text, 0)
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place = _next(text, place)
    return found


def _next(text: str, place: int) -> int:
    """Where the next of several values begins."""
    gap = _BETWEEN.match(text, place)
    return gap.end() if gap else place


def parse_xml(data: bytes, known: Known = NOTHING) -> Script:
    """TTML, and YouTube's srv1, srv2 and srv3. Document types are refused, so that no entity is ever resolved. Of
    several languages the one that is wanted is read.

    Raises:
        NotCaptions: it is none of them.
        ValueError: it is no XML, or it has a document type.
    """
    if not data:
        return Script([], 0)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=True,
    )
    try:
        root = etree.fromstring(_utf8(data), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is no XML: {error}") from None
    broken = [error for error in parser.error_log if not _harmless(error)]
    if broken or root is None:
        raise ValueError(f"it is no XML: {broken[0].message if broken else 'there is nothing in it'}")
    if root.getroottree().docinfo.doctype:
        raise ValueError("it has a document type, which captions do not need")
    name = root.tag.rpartition("}")[2]
    if name == "tt":
        return ttml.parse(root, known)
    if name == "transcript":
        return youtube.srv1(root)
    if name == "timedtext":
        return youtube.srv3(root)
    if name in _OF_LINGUISTS:
        raise ValueError(f"it is {_OF_LINGUISTS[name]}, which is not read here: export it as SubRip or WebVTT")
    timed = sum(1 for element in root.iter("*") if _timed(element))
    if timed > 1:
        raise ValueError(f"{timed} of its elements have times and text, but its root {name} is no format read here")
    raise NotCaptions(f"this XML holds no captions in a form that is read here: its root is {name}")


def _utf8(data: bytes) -> bytes:
    """XML without its declaration, in UTF-8 whatever it was in."""
    try:
        text = decode(data)
    except LookupError as error:
        raise ValueError(str(error)) from None
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).encode()


def _harmless(error: Any) -> bool:
    """Tools forget to declare prefixes and use an id twice; neither is looked at here."""
    return bool(error.domain == etree.ErrorDomains.NAMESPACE or error.type == etree.ErrorTypes.DTD_ID_REDEFINED)


def _timed(element: Any) -> bool:
    """Whether an element says something at a time."""
    names = {str(name).lower() for name in element.attrib}
    said = " " in " ".join(element.itertext()).strip()
    return said and bool(names & {"start", "begin", "t", "in", "starttime", "timestamp"})


def _events(value: Any) -> bool:
    """Whether this is the list of a json3."""
    return isinstance(value, list) and (
        not value or any(isinstance(one, dict) and one.keys() & {"segs", "tStartMs"} for one in value)
    )


def _heard(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and {"word", "time"} <= item.keys() for item in items)
