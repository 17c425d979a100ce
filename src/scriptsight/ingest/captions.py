"""Caption files -> cues: one parser a format, one way of cleaning for all."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    return _entries(text, WebVTTFormat, blank_line_ends=True)


def _srt(text: str) -> Script:
    if text.strip() and "-->" not in text:
        raise ValueError("no line in it has times")
    return _entries(text, SubripFormat, blank_line_ends=False)


def _entries(text: str, times: type[SubripFormat], blank_line_ends: bool) -> Script:
    """Cues with the times that pysubs2 reads. Texts are taken here: pysubs2 would strip a last line that is only
    a number as the next cue's, and anything in braces as a style."""
    entries: list[tuple[float, float, list[str]]] = []
    inside, bad = False, 0
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if "-->" in line:
            if inside and not blank_line_ends and re.fullmatch(r"\s*\d+\s*", "".join(entries[-1][2][-1:])):
                entries[-1][2].pop()  # the number of this cue
            stamps = times.TIMESTAMP.findall(line)
            inside = len(stamps) == 2
            bad += not inside
            if inside:
                start, end = (times.timestamp_to_ms(stamp) / 1000 for stamp in stamps)
                entries.append((start, end, []))
        elif not line and blank_line_ends:
            inside = False
        elif inside:
            entries[-1][2].append(line)
    return Script([Cue(start, end, _plain("\n".join(lines))) for start, end, lines in entries], bad)


def _plain(text: str) -> str:
    """Without <tags>, word times such as <00:01.000>, and styles such as {\\an8}."""
    text = re.sub(r"< */? *[a-zA-Z][^>]*>|<[\d:.]+>|\{\\[^}]*\}", "", text)
    return html.unescape(re.sub(r"\\[Nnh]", " ", text))


PARSERS: dict[str, Callable[[str], Script]] = {".vtt": _vtt, ".srt": _srt}
