"""Mark-up inside the text of a caption -> what is spoken.

A reference such as `&lt;` is resolved once, by the parser that knows its format, and after the tags are out: an
escaped `<div>` was spoken and stays, one that was not escaped is mark-up and goes. WebVTT does this in its own
parser, XML in lxml. SubRip and SubStation define no escapes, but tools that make them from WebVTT or HTML leave
`&amp;` and `<i>` behind, so their parsers call `spoken`. JSON and tables have no mark-up, and their parsers
leave a text as it is: what a tool left in it is for cleaning, whose rule `entities_and_tags` takes `leftovers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from scriptsight.captions.script import unescape

# Tags of HTML, SubRip and WebVTT; others, as in `List<String>`, are text.
_STYLES = "b|big|center|em|font|i|s|small|strike|strong|sub|sup|tt|u"
_NAMES = f"{_STYLES}|a|br|c|div|lang|p|rt|ruby|span|v"
_FREE = {"c", "lang", "v"}  # what follows their name is no `key=value`
_TAG = re.compile(rf"<([ ]?)(/?)([ ]?)({_NAMES})(\.[^\s<>]*)?(\s[^<>]*)?/?>|<[\d:.,]+>", re.IGNORECASE)
_BREAK_TAG = re.compile(r"<\s{0,2}/?\s{0,2}(?:br|p|div)(?:\s[^<>]{0,200})?/?>", re.IGNORECASE)
_PATH = r"(?<!\S)(?:[A-Za-z]:\\|\\\\)\S+"
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # of SubStation, as {\an8}
_PLACE = re.compile(r"\{\\an?\d{1,2}\}|\{\\pos\([^{}()]*\)\}")  # the overrides that other formats take over
_NO_WIDTH = re.compile("(?<!\\S)[\u200b\u2060\ufeff]+|(?<![\u200b\u2060\ufeff])[\u200b\u2060\ufeff]+(?!\\S)")
_MICRODVD = re.compile(r"\{[yYcCfFsSpPhHoO]:[^{}]{0,40}\}")  # {y:i}: italics


def broken(text: str, substation: str = "N") -> str:
    """The text with a space for each line break that a converter left in it: `<br>`, and a backslash with one of the
    letters `substation`, which SubStation has for breaks and spaces. A path, as C:\\New, has none."""
    text = _BREAK_TAG.sub("\n", text)
    if "\\" not in text:
        return text
    return re.sub(rf"{_PATH}|\\[{substation}]", lambda found: found[0] if len(found[0]) > 2 else " ", text)


def spoken(text: str) -> str:
    """The text without tags and overrides, its references resolved."""
    text = _MICRODVD.sub("", _OVERRIDE.sub("", text))
    return unescape(_cut(text, lambda tag: True))


def leftovers(text: str) -> str:
    """The text without what is surely mark-up, its references resolved: tags that are opened and closed in it, have
    attributes, or stand around all of it; and what goes `everywhere`. A lone `<div>` is what is talked about."""
    tags = [tag for tag in _TAG.finditer(text) if _is_tag(tag)]
    opened = {_name(tag) for tag in tags if not tag[2]}
    closed = {_name(tag) for tag in tags if tag[2]}

    def sure(tag: re.Match[str]) -> bool:
        if _name(tag) in opened & closed or _name(tag) in ("", "br") or tag[5] or (tag[6] or "").strip(" /"):
            return True
        around = text[tag.end() :] if tag[2] else text[: tag.start()]
        return re.fullmatch(_STYLES, _name(tag)) is not None and not around.strip()

    return everywhere(unescape(_cut(text, sure)))


def everywhere(text: str) -> str:
    """The text without what is mark-up in no format but found in all: overrides of a place, as {\\an8}, and spaces of
    no width at a word's ends, which animated captions are held apart with. Inside of a word they are spelling."""
    return _NO_WIDTH.sub("", _PLACE.sub("", text))


def _cut(text: str, gone: Callable[[re.Match[str]], bool]) -> str:
    """The text without the tags that shall go; a line break parts words."""

    def instead(tag: re.Match[str]) -> str:
        if not _is_tag(tag) or not gone(tag):
            return tag[0]
        return "\n" if _name(tag) in ("br", "p", "div") else ""

    return _TAG.sub(instead, text)


def _name(tag: re.Match[str]) -> str:
    return (tag[4] or "").lower()


def _is_tag(tag: re.Match[str]) -> bool:
    """Whether it can be one: in "a < b and c > d" there is none, though it looks like `b` with attributes."""
    attributes = (tag[6] or "").strip(" /")
    if tag[1] or tag[3]:
        return not attributes and not tag[5]
    return not attributes or "=" in attributes or _name(tag) in _FREE
