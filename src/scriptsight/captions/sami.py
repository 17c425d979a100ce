"""SAMI (.smi): what is shown from a millisecond on, in several languages; `&nbsp;` takes it off again. It looks like
HTML, and no parser of that reads what people make of it: paragraphs and syncs are rarely closed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scriptsight.captions import languages
from scriptsight.captions.decoding import decode
from scriptsight.captions.script import Script, unescape
from scriptsight.captions.spoken import with_ends

_SYNC = re.compile(r"<sync\b[^>]{0,200}?\bstart\s*=\s*[\"']?\s*(-?\d{1,12})[^>]{0,200}>", re.IGNORECASE)
_PARAGRAPH = re.compile(r"<p\b([^>]{0,500})>", re.IGNORECASE)
_CLASS = re.compile(r"\bclass\s*=\s*[\"']?\s*([^\s\"'>]+)", re.IGNORECASE)
_STYLE = re.compile(r"\.([A-Za-z0-9_-]{1,40})\s*\{([^{}]{0,500})\}")
_LANGUAGE = re.compile(r"\blang\s*:\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)", re.IGNORECASE)
_RUBY = re.compile(r"<r[tp]\b[^>]{0,200}>[^<]*(?:</r[tp]>)?", re.IGNORECASE)
_BREAK = re.compile(r"<br\b[^>]{0,200}>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")


def parse(data: bytes, wanted: str | None = None) -> Script:
    """The paragraphs of one language: the one that is wanted, else the one of which there is most; that there are
    others is a doubt.

    Raises:
        ValueError: there is no `sync` in it.
    """
    text = decode(data)
    head, body = _parts(text)
    tags = {name.lower(): found[1] for name, style in _STYLE.findall(head) if (found := _LANGUAGE.search(style))}
    shown: dict[str, list[tuple[float, str]]] = {}
    for start, name, said in body:
        shown.setdefault(name, []).append((start, said))
    if not text.strip():
        return Script([], 0)
    if not shown:
        raise ValueError("it has no <sync start=...>")
    names = sorted(shown, key=lambda name: -sum(len(said) for _, said in shown[name]))
    fitting = [name for name in names if wanted and languages.fits(tags.get(name, ""), wanted)]
    taken = (fitting or names)[0]
    others = [tags.get(name, name) for name in names if name != taken and any(said for _, said in shown[name])]
    doubts: tuple[str, ...] = ()
    if others and not fitting:
        which = f"{tags.get(taken, taken or 'the one without a class')}, not in {', '.join(others)}"
        doubts = (f"it is in several languages and was read in {which}: name `language` in the collection",)
    cues = with_ends(sorted(shown[taken], key=lambda one: one[0]))
    return Script(cues, 0, tags.get(taken), doubts=doubts, resolved=True)


def _parts(text: str) -> tuple[str, Iterator[tuple[float, str, str]]]:
    """What stands before the first sync, and (seconds, class, text) of each paragraph; the text is empty where what
    was shown is taken off."""
    syncs = list(_SYNC.finditer(text))

    def paragraphs() -> Iterator[tuple[float, str, str]]:
        name = ""
        for i, sync in enumerate(syncs):
            content = text[sync.end() : syncs[i + 1].start() if i + 1 < len(syncs) else len(text)]
            start = round(int(sync[1]) / 1000, 6)
            pieces = _PARAGRAPH.split(
                _uncommented(content)
            )  # text before the first, then attributes and text in turn
            if _plain(pieces[0]):
                yield start, name, _plain(pieces[0])
            for attributes, said in zip(pieces[1::2], pieces[2::2], strict=True):
                found = _CLASS.search(attributes)
                name = found[1].lower() if found else name
                yield start, name, _plain(said)

    return text[: syncs[0].start()] if syncs else text, paragraphs()


def _uncommented(text: str) -> str:
    """What is not between <!-- and -->; a comment that never ends is none."""
    kept, place = [], 0
    while (begin := text.find("<!--", place)) >= 0 and (end := text.find("-->", begin)) >= 0:
        kept.append(text[place:begin])
        place = end + 3
    return "".join([*kept, text[place:]])


def _plain(text: str) -> str:
    text = _TAG.sub("", _BREAK.sub(" ", _RUBY.sub("", text)))
    return " ".join(unescape(text).replace("\xa0", " ").split())
