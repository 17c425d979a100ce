"""JSON and XML are many formats: which one a file is in, its content says."""

from __future__ import annotations

import json
import re
from typing import Any

from scriptsight.captions import records, ttml, whisper, youtube
from scriptsight.captions.decoding import decode
from scriptsight.captions.script import NotCaptions, Script
from scriptsight.errors import needs

with needs("data", "Reading captions"):
    from lxml import etree


def parse_json(data: bytes) -> Script:
    """json3, Whisper in its varieties, YT-Temporal, one video of HowTo100M, lists of {start, end, text}.

    Raises:
        NotCaptions: it is none of them.
        ValueError: it is no JSON, or it is nested too deeply.
    """
    try:
        value = json.loads(decode(data))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(value, list):
        if all(isinstance(item, dict) and {"start", "end"} <= item.keys() for item in value):
            return whisper.segments(value)
    elif isinstance(value, dict):
        if isinstance(value.get("events"), list):
            return youtube.json3(value["events"])
        if isinstance(value.get("subtitles"), list) and ("denoised" in value or _heard(value["subtitles"])):
            return records.yt_temporal(value)
        if isinstance(value.get("transcription"), list):
            return whisper.cpp(value["transcription"], value.get("result"))
        if isinstance(value.get("segments"), list):
            return whisper.segments(value["segments"], value.get("language"))
        if {"start", "end", "text"} <= value.keys():
            return records.howto100m(value)
    raise NotCaptions("this JSON holds no captions in a form that is read here")


def parse_xml(data: bytes) -> Script:
    """TTML, and YouTube's srv1, srv2 and srv3. Document types are refused, so that no entity is ever resolved.

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
        return ttml.parse(root)
    if name == "transcript":
        return youtube.srv1(root)
    if name == "timedtext":
        return youtube.srv3(root)
    raise NotCaptions(f"this XML holds no captions in a form that is read here: its root is {name}")


def _utf8(data: bytes) -> bytes:
    """XML without its declaration, in UTF-8 whatever it was in."""
    declaration = re.match(rb"""\s*<\?xml[^>]*?encoding=["']([A-Za-z0-9._-]+)""", data[:200])
    try:
        text = decode(data, declaration[1].decode() if declaration else "cp1252")
    except LookupError as error:
        raise ValueError(str(error)) from None
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).encode()


def _harmless(error: Any) -> bool:
    """Tools forget to declare prefixes and use an id twice; neither is looked at here."""
    return bool(error.domain == etree.ErrorDomains.NAMESPACE or error.type == etree.ErrorTypes.DTD_ID_REDEFINED)


def _heard(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and {"word", "time"} <= item.keys() for item in items)
