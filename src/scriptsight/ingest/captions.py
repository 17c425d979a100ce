"""Caption files -> cues: one parser a format, one way of cleaning for all."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pysubs2
from pysubs2.formats.subrip import SubripFormat
from pysubs2.formats.webvtt import WebVTTFormat

from scriptsight.catalogue import Cue
from scriptsight.errors import InputError


@dataclass(frozen=True)
class Script:
    """What a caption file says: its cues, and how many entries were dropped because their times are wrong."""

    cues: list[Cue]
    dropped: int


class CaptionError(InputError):
    """A caption file that can't be read; the message names it."""


def read(path: str | Path) -> list[Cue]:
    """The cues of a caption file; see `read_script`, which also says how many were dropped."""
    return read_script(path).cues


def read_script(path: str | Path) -> Script:
    """Read a caption file by its suffix.

    Texts are plain: no markup, one space between words. Entries without text are left out.
    Those whose times can't be read, end before they begin or begin before 0 are dropped and counted. The rest
    is in order of time.

    Raises:
        CaptionError: unknown suffix, unknown encoding, or nothing in the file looks like this format.
    """
    path = Path(path)
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise CaptionError(f"{path} is in no caption format that is read here: {', '.join(PARSERS)}.")
    try:
        script = parse(_decode(path.read_bytes()))
    except (ValueError, OSError) as error:
        raise CaptionError(f"{path} can't be read as {path.suffix.lower()}: {error}") from error
    return clean(script)


def clean(script: Script) -> Script:
    """Collapse white space, leave out what is empty, drop what makes no sense in time, sort by time."""
    spoken = [Cue(cue.start, cue.end, " ".join(cue.text.split()), cue.words) for cue in script.cues]
    spoken = [cue for cue in spoken if cue.text]
    sound = [cue for cue in spoken if 0 <= cue.start < cue.end]
    dropped = script.dropped + len(spoken) - len(sound)
    return Script(sorted(sound, key=lambda cue: (cue.start, cue.end)), dropped)


def _decode(data: bytes) -> str:
    """UTF-16 by its mark, UTF-8 with or without one, else the Windows code page of old subtitle tools.

    Raises:
        UnicodeDecodeError: none of them fits.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _vtt(text: str) -> Script:
    if not text.lstrip().startswith("WEBVTT"):
        raise ValueError("it does not begin with WEBVTT")
    # A blank line ends a cue: what follows is a comment (NOTE), a STYLE or the next cue's identifier.
    return _entries(text, "vtt", WebVTTFormat.TIMESTAMP, blank_line_ends=True)


def _srt(text: str) -> Script:
    if text.strip() and "-->" not in text:
        raise ValueError("no line in it has times")
    return _entries(text, "srt", SubripFormat.TIMESTAMP, blank_line_ends=False)


def _entries(text: str, format_: str, stamp: re.Pattern[str], blank_line_ends: bool) -> Script:
    """Parse by pysubs2, which takes every line up to the next two times for text: hand it cues only."""
    kept: list[str] = []
    inside, bad = False, 0
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if "-->" in line:
            inside = len(stamp.findall(line)) == 2
            bad += not inside
            kept += ["", line] if inside else []
        elif not line and blank_line_ends:
            inside = False
        elif inside:
            kept.append(re.sub(r"<[\d:.]+>", "", line))  # word times, two of which look like a cue's
    events = pysubs2.SSAFile.from_string("\n".join(kept), format_=format_)
    cues = [Cue(event.start / 1000, event.end / 1000, html.unescape(event.plaintext)) for event in events]
    return Script(cues, bad)


PARSERS: dict[str, Callable[[str], Script]] = {".vtt": _vtt, ".srt": _srt}
