"""What every parser gives, and the one way from timed pieces of text to words with times."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from scriptsight.catalogue import Cue, Word
from scriptsight.errors import InputError

Kind: TypeAlias = Literal["captions", "chapters", "descriptions", "metadata"]
Piece: TypeAlias = tuple[float | None, str]  # second at which it begins to be spoken, None where that is not said

# Scripts that put no space between words: Thai to Khmer, Chinese, Japanese (Korean does).
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]")


_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|&(?:amp|AMP|lt|LT|gt|GT|quot|QUOT|nbsp)(?![\w=;])"
)


@dataclass(frozen=True)
class Script:
    """What a caption file says.

    Attributes:
        cues: by start; texts without the format's mark-up, one space between words.
        dropped: entries whose times can't be read.
        language: as the file itself states it, e.g. "en".
        kind: only "captions" is speech.
        doubts: what of it may have been read wrongly and why, a sentence each; a person should look.
        legacy: it was written in an encoding older than Unicode: nothing in it is broken UTF-8.
        resolved: its parser has taken out the format's mark-up and resolved its escapes, so all that stands in its
            texts was spoken. JSON and tables have neither, and may hold what a tool left in them.
    """

    cues: list[Cue]
    dropped: int
    language: str | None = None
    kind: Kind = "captions"
    doubts: tuple[str, ...] = ()
    legacy: bool = False
    resolved: bool = field(default=False, compare=False)  # how it was read, not what it says


@dataclass(frozen=True)
class Known:
    """What is known of a caption file's video, for what the file leaves open.

    Attributes:
        fps: frames a second, for a format that counts frames.
        seconds: its duration, for times in a unit that is not stated.
        language: the one wanted of a file that has several.
    """

    fps: float | None = None
    seconds: float | None = None
    language: str | None = None


NOTHING = Known()


class CaptionError(InputError):
    """A caption file that can't be read; the message names it."""


class NotCaptions(CaptionError):
    """A sound JSON, XML, table or text that holds no captions in a form that is known here: beside a video lie its
    description, labels and more."""


class NotRead(CaptionError):
    """Captions in a format that is known and not read here; the message says what to do."""


def seconds(value: Any, unit: float = 1.0) -> float | None:
    """A number of a JSON, XML or CSV, in `unit`s of a second, or None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) * unit
    except (ValueError, OverflowError):
        return None
    return round(number, 6) if math.isfinite(number) else None


def clock(hours: str | None, minutes: str | None, whole: str, fraction: str | None = None) -> float:
    """Seconds of the parts of a time stamp; `fraction` is what stands behind the point."""
    return round(
        int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(whole) + float(f"0.{fraction or 0}"),
        6,
    )


def unescape(text: str) -> str:
    """Character references resolved. Only those of mark-up itself may lack their semicolon, at a word's end: in an
    address, "?b=1&copy=2" is no sign of copyright."""
    return _REFERENCE.sub(lambda reference: html.unescape(reference[0]), text) if "&" in text else text


def cue(start: float, end: float, pieces: Iterable[Piece]) -> Cue:
    """A cue of pieces of text; it has words if any piece says when it begins.

    A word begins with its piece and ends where the next piece begins, the last one at `end`: words of one piece
    share its times. A piece that begins without a space goes on with the last word, except between characters
    of scripts that have no spaces. Times outside of the cue, or that go back, are not believed.
    """
    now, timed, before = start, False, ""
    words: list[str] = []
    starts: list[float] = []
    lasts: list[float] = []  # beginnings of the last piece that a word is of
    for at, text in pieces:
        if at is not None and now <= at <= end:
            now, timed = at, True
        tokens = text.split()
        if tokens and words and not _parted(before, text):
            words[-1] += tokens.pop(0)
            lasts[-1] = now
        words += tokens
        starts += [now] * len(tokens)
        lasts += [now] * len(tokens)
        before = text or before
    spoken = None
    if timed:
        ends = [end] * len(words)
        for i in range(len(words) - 2, -1, -1):
            ends[i] = starts[i + 1] if starts[i + 1] > lasts[i] else ends[i + 1]
        spoken = tuple(Word(*word) for word in zip(starts, ends, words, strict=True))
    return Cue(start, end, " ".join(words), spoken)


def _parted(before: str, after: str) -> bool:
    """Whether a new word begins between two pieces of text."""
    if not before or before[-1].isspace() or after[0].isspace():
        return True
    return bool(UNSPACED.match(before[-1]) and UNSPACED.match(after[0]))
