"""SubStation Alpha (.ssa) and Advanced SubStation Alpha (.ass): the dialogue, without its typesetting."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from scriptsight.captions.decoding import lines
from scriptsight.captions.markup import spoken
from scriptsight.captions.script import Piece, Script, clock, cue
from scriptsight.catalogue import Cue

_COLUMNS = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]
# Some tools write 0:00:04:56, 0:00:04,56 or 0:00:04.
_STAMP = re.compile(r"\s*(\d{1,9}):(\d{1,2}):(\d{1,2})(?:[.:,](\d{1,9}))?\s*", re.ASCII)
# "\{" is a brace, but "\{\i1}" an override behind a stray backslash.
_OVERRIDE = re.compile(r"(?:(?<!\\)|(?=\{\\[A-Za-z]))\{([^{}]*)\}")
_KARAOKE = re.compile(r"\\[kK]([fot]?)(\d{1,9})")  # centiseconds that a syllable is sung; \kt: at which it begins
EFFECT_LEAD = 2.0  # seconds by which what is shown of a syllable may come before its line, or stay behind it
EFFECT_LINES = 50  # at most, that stand around an effect and are looked at
_DRAWING = re.compile(r"\\p(\d{1,2})(?!\d)")  # \p1 and up: what follows is a shape, not text; \pos is a place


@dataclass(frozen=True, eq=False)
class _Event:
    """A line of dialogue, or the comment that karaoke effects were made of."""

    cue: Cue
    effect: bool
    comment: bool


def parse(data: bytes) -> Script:
    """The lines `Dialogue:` in the columns that the last `Format:` line of the events names. Comments are left out.

    Raises:
        ValueError: it has neither a section nor a line of dialogue.
    """
    columns, section, known, dropped = _COLUMNS, "", False, 0
    events: list[_Event] = []
    found = lines(data)
    for line in found:
        name, colon, rest = line.partition(":")
        name = name.strip().lower()
        if line.lstrip().startswith("["):
            section, known = line.strip().lower(), True
        elif name == "format" and colon and section in ("", "[events]"):
            columns, known = [column.strip().lower() for column in rest.split(",")], True
        elif name in ("dialogue", "comment") and colon and section in ("", "[events]"):
            fields = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
            effect = fields.get("effect", "").strip().lower()
            if name == "comment" and effect != "karaoke":
                continue
            known = True
            start, end = (_STAMP.fullmatch(fields.get(column, "")) for column in ("start", "end"))
            if start is None or end is None or "text" not in fields:
                dropped += name == "dialogue"
            else:
                said = cue_of(fields["text"], clock(*start.groups()), clock(*end.groups()))
                said = replace(said, speaker=fields.get("name", "").strip() or None)
                events.append(_Event(said, effect == "fx", name == "comment"))
    if any(found) and not known:
        raise ValueError("it has neither a section nor a line of dialogue")
    return Script(list(_without_effects(events)), dropped, resolved=True)


def _without_effects(events: list[_Event]) -> Iterator[Cue]:
    """What is said. Karaoke effects (of Aegisub's templates: lines whose effect is "fx") show each syllable by
    itself, and often several times; the line that they were made of stands beside them, mostly as a comment. That is
    said once, in place of its effects; effects without their line stay."""
    effects = [event.cue for event in events if event.effect]
    lines = [event for event in events if not event.effect and (event.comment or event.cue.words)] if effects else []
    lines.sort(key=lambda line: line.cue.start)
    starts = [line.cue.start for line in lines]
    longest = max((line.cue.end - line.cue.start for line in lines), default=0.0)
    letters = {id(line): "".join(line.cue.text.split()) for line in lines}
    replaced: set[int] = set()
    for event in events:
        if not event.effect:
            continue
        shown = "".join(event.cue.text.split())
        first = bisect_left(starts, event.cue.start - longest - EFFECT_LEAD)
        last = bisect_right(starts, event.cue.end + EFFECT_LEAD)
        for line in lines[max(first, last - EFFECT_LINES) : last]:
            if event.cue.start <= line.cue.end + EFFECT_LEAD and shown in letters[id(line)]:
                replaced |= {id(line), id(event)}
    for event in events:
        if id(event) not in replaced if event.effect else (not event.comment or id(event) in replaced):
            yield event.cue


def cue_of(text: str, start: float, end: float) -> Cue:
    """The cue of the text of a dialogue; the times of karaoke are those of its words."""
    return cue(start, end, _pieces(text, start))


def block_text(block: str) -> str:
    """The text of a dialogue as Matroska stores it: without its times, and in columns that no format line moves:
    ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect, Text.

    Raises:
        ValueError: there are fewer columns.
    """
    fields = block.split(",", 8)
    if len(fields) < 9:
        raise ValueError(f"a dialogue of {len(fields)} columns instead of 9")
    return fields[8]


def _pieces(text: str, start: float) -> Iterator[Piece]:
    """The text between overrides such as {\\i1}; karaoke overrides say when the syllable behind them begins."""
    now, drawing, position = start, False, 0
    at: float | None = None
    for override in _OVERRIDE.finditer(text):
        if not drawing and (part := text[position : override.start()]):
            yield at, _said(part)
            at = None
        position = override.end()
        if mode := _DRAWING.search(override[1]):
            drawing = mode[1] != "0"
        begins: float | None = None
        for kind, length in _KARAOKE.findall(override[1]):
            if kind == "t":
                now = begins = start + int(length) / 100
            else:
                begins = now if begins is None else begins
                now += int(length) / 100
        at = at if begins is None else begins
    if not drawing and text[position:]:
        yield at, _said(text[position:])


def _said(text: str) -> str:
    return spoken(re.sub(r"\\[Nnh]", " ", text)).replace("\\{", "{").replace("\\}", "}")
