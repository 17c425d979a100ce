"""SubStation Alpha (.ssa) and Advanced SubStation Alpha (.ass): the dialogue, without its typesetting."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scriptsight.captions.decoding import lines
from scriptsight.captions.markup import spoken
from scriptsight.captions.script import Piece, Script, clock, cue
from scriptsight.catalogue import Cue

_COLUMNS = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]
# Some tools write 0:00:04:56, 0:00:04,56 or 0:00:04.
_STAMP = re.compile(r"\s*(\d{1,9}):(\d{1,2}):(\d{1,2})(?:[.:,](\d{1,9}))?\s*", re.ASCII)
_OVERRIDE = re.compile(r"\{([^{}]*)\}")
_KARAOKE = re.compile(r"\\[kK][fo]?(\d{1,9})")  # centiseconds that a syllable is sung
_DRAWING = re.compile(r"\\p(\d{1,2})(?!\d)")  # \p1 and up: what follows is a shape, not text; \pos is a place


def parse(data: bytes) -> Script:
    """The lines `Dialogue:` in the columns that the last `Format:` line of the events names. Comments are left out.

    Raises:
        ValueError: it has neither a section nor a line of dialogue.
    """
    columns, section, known, dropped = _COLUMNS, "", False, 0
    cues = []
    found = lines(data)
    for line in found:
        name, colon, rest = line.partition(":")
        name = name.strip().lower()
        if line.lstrip().startswith("["):
            section, known = line.strip().lower(), True
        elif name == "format" and colon and section in ("", "[events]"):
            columns, known = [column.strip().lower() for column in rest.split(",")], True
        elif name == "dialogue" and colon and section in ("", "[events]"):
            known = True
            fields = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
            start, end = (_STAMP.fullmatch(fields.get(column, "")) for column in ("start", "end"))
            if start is None or end is None or "text" not in fields:
                dropped += 1
            else:
                first = clock(*start.groups())
                cues.append(cue_of(fields["text"], first, clock(*end.groups())))
    if any(found) and not known:
        raise ValueError("it has neither a section nor a line of dialogue")
    return Script(cues, dropped, resolved=True)


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
            yield at, spoken(re.sub(r"\\[Nnh]", " ", part))
            at = None
        position = override.end()
        if mode := _DRAWING.search(override[1]):
            drawing = mode[1] != "0"
        if lengths := _KARAOKE.findall(override[1]):
            at = now
            now += sum(map(int, lengths)) / 100
    if not drawing and text[position:]:
        yield at, spoken(re.sub(r"\\[Nnh]", " ", text[position:]))
