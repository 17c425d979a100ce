"""Entries of JSON and tables, whatever their producer calls things, as cues: times in one unit, words with theirs."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from scriptsight.captions import fields, languages
from scriptsight.captions.fields import MICROSECOND, MILLISECOND, NANOSECOND, TICK
from scriptsight.captions.records import MAX_WORD_SECONDS
from scriptsight.captions.script import NOTHING, UNSPACED, Known, Script
from scriptsight.captions.word_times import Heard, joined, sentences, timed, whole
from scriptsight.catalogue import Cue

# Letters a second: below nobody speaks so slowly, above nobody so fast; between them is what is common.
SLOW, COMMON, FAST = 0.3, 13.0, 60.0
SLOWER, SLOWEST = 0.2, 0.05  # below, numbers are in another unit: whole ones, and those with fractions
LETTERS_OF_EVIDENCE = 6  # of an entry that says something about the pace
SLOW_SPEECH = 5.0  # letters a second: what has no end takes at most so long, and a little more
PAUSE_BEFORE_NEXT = 2.0  # seconds
UNITS = {"hundredths of a second": 0.01, "milliseconds": MILLISECOND, "microseconds": MICROSECOND}
UNITS |= {"units of 100 ns": TICK, "nanoseconds": NANOSECOND}
SHORT = 1.5  # seconds: entries of one word each that last no longer are the words of sentences
GLUED = {"punctuation", "punct", "punctuationmark"}  # types of words that go on with the one before
UNSPOKEN = {"spacing", "audioevent", "silence", "space"}
MORE_HEARD = 1.5  # times the letters of the text: then words are heard that the text does not have


@dataclass(frozen=True)
class Entries:
    """Entries as their producer has them, beginning with the first.

    Attributes:
        items: with a text, times and perhaps words each; what is no entry is passed over.
        words: those of all entries, where they stand apart; an entry has those that begin in it.
        unit: of times that are plain numbers, in seconds; None where it must be found out.
        text: what all words together say, where the file has it as well.
        language: as the file states it: "en" or "english".
        doubts: of whoever found them.
    """

    items: Sequence[Any]
    words: Sequence[Any] = ()
    unit: float | None = None
    language: Any = None
    doubts: tuple[str, ...] = ()
    text: str | None = None


@dataclass(frozen=True)
class _Said:
    """An entry in seconds; `counted` if its times are plain numbers, `word` if it is called one."""

    start: float | None
    end: float | None
    text: str
    words: tuple[Heard, ...]
    counted: bool = False
    word: bool = False


def script(entries: Entries, known: Known = NOTHING) -> Script:
    """The cues of entries. Without a text they say their words; entries of a word each are made sentences. What has
    no end lasts until the next begins, or as long as slow speech takes.

    An entry with a text whose times can't be read counts as dropped.
    """
    unit, doubts = entries.unit, list(entries.doubts)
    if unit is None:
        unit, doubt = _unit([*_read(entries.items, 1.0), *_read(entries.words, 1.0)], known.seconds)
        doubts += [doubt] if doubt else []
    said = list(_read(entries.items, unit))
    apart = heard_words(list(entries.words), unit)
    if not said or _single_words(said):
        heard = apart if not said else heard_words(list(entries.items), unit)
        if said and len(heard) != len(said):
            heard = tuple(word for one in said for word in _as_words(one))
        cues = _sentences(heard, entries.text)
        return Script(cues, 0 if cues else len(heard), _language(entries.language), doubts=tuple(doubts))
    if apart and not any(one.words for one in said):
        said = _with_words(said, apart)
    timed_entries = [one for one in said if one.start is not None]
    doubts += _unheard(timed_entries)
    dropped = len(said) - len(timed_entries)
    return Script(_cues(timed_entries), dropped, _language(entries.language), doubts=tuple(doubts))


def pace(start: float, end: float, text: str) -> float | None:
    """Letters a second of what is said; None where it says nothing about the pace: brackets, few letters, no time."""
    letters = len("".join(text.split()))
    if end <= start or letters < LETTERS_OF_EVIDENCE or re.fullmatch(r"\s*[\[(♪].*[\])♪]\s*", text, re.DOTALL):
        return None
    # A character of Chinese takes as long as two or three letters.
    return (letters + 1.5 * len(UNSPACED.findall(text))) / (end - start)


def until(start: float, following: float | None, text: str) -> float:
    """When a text is over that comes without an end: when the next begins, or before, after the time it takes."""
    letters = len("".join(text.split())) + 1.5 * len(UNSPACED.findall(text))
    longest = round(start + PAUSE_BEFORE_NEXT + letters / SLOW_SPEECH, 3)
    return longest if following is None or following <= start else min(following, longest)


def with_ends(lines: Sequence[tuple[float, str]]) -> list[Cue]:
    """Cues of lines of which only the beginnings are known, in order of time; an empty line ends the one before."""
    cues = []
    following: float | None = None
    for i in range(len(lines) - 1, -1, -1):
        start, text = lines[i]
        if i + 1 < len(lines) and lines[i + 1][0] > start:
            following = lines[i + 1][0]
        if text.strip():
            cues.append(Cue(start, until(start, following, text), text))
    return cues[::-1]


def heard_words(found: Any, unit: float) -> tuple[Heard, ...]:
    """Words of a list as any producer has it: entries of a word, or [word, start, end] and [start, end, word, ...].

    Where words begin with a space, one that does not goes on with the word before: Whisper says "L" and "'esquelet".
    WhisperX has no such spaces, Chinese none at all.
    """
    if not isinstance(found, list):
        return ()
    words: list[Heard] = []
    spaced = False
    for one in found:
        if isinstance(one, dict):
            item = fields.plainly(one)
            kind = fields.plain(item.get("type", ""))
            text = fields.text(item, fields.WORD_TEXTS)
            if text is None or not text.strip() or kind in UNSPOKEN or text.startswith("[_"):  # [_BEG_], [_TT_50]
                continue
            span = fields.span(item, unit)
            glued = kind in GLUED or (span.start is None and not any(map(str.isalnum, text)))
        elif isinstance(one, list) and (listed := _listed(one, unit)) is not None:
            span, text, glued = *listed, False
        else:
            continue
        spaced = spaced or text.startswith(" ")
        words.append(Heard(span.start, span.end, text, glued))
    return tuple(
        replace(
            word, text=word.text.strip(), glued=word.glued or (spaced and not word.text.startswith(" ") and i > 0)
        )
        for i, word in enumerate(words)
    )


def _listed(one: list[Any], unit: float) -> tuple[fields.Span, str] | None:
    place = 0 if one and isinstance(one[0], str) and len(one) > 2 and not isinstance(one[2], str) else 2
    if len(one) < 3 or not isinstance(one[place], str):
        return None
    start, end = one[1:3] if place == 0 else one[:2]
    span = fields.span({"start": start, "end": end}, unit)
    return None if span.start is None else (span, one[place])


def _read(items: Iterable[Any], unit: float) -> Iterable[_Said]:
    """The entries of a list that say something; of those without times it is said that they have none."""
    for one in items:
        if not isinstance(one, dict):
            continue
        item = fields.plainly(one)
        words: tuple[Heard, ...] = next(
            (found for name in fields.WORDS if (found := heard_words(item.get(name), unit))), ()
        )
        text = fields.text(item) or fields.text(item, fields.WORD_TEXTS) or joined(words)
        if not text.strip():
            continue
        span = fields.span(item, unit)
        known = [time for word in words for time in (word.start, word.end) if time is not None]
        start = min(known, default=None) if span.start is None else span.start
        end = max(known) if span.end is None and known else span.end
        counted = span.counted or (span.start is None and bool(known))
        yield _Said(start, end, text, words, counted, bool(item.keys() & {"word", "punctuatedword"}))


def _as_words(one: _Said) -> tuple[Heard, ...]:
    return one.words or (Heard(one.start, one.end, one.text.strip()),)


def _unit(said: Iterable[_Said], duration: float | None) -> tuple[float, str | None]:
    spans = [(one.start, one.end, one.text) for one in said if one.counted and one.start is not None]
    ended = [(start, end, text) for start, end, text in spans if end is not None]
    if ended or not spans:
        return unit_of(ended, duration)
    # Of entries that only begin, what is said until the next one begins.
    until_next = [(start, later, text) for (start, _, text), (later, *_) in pairwise(spans) if later > start]
    return unit_of(until_next, duration, {name: unit for name, unit in UNITS.items() if unit <= MILLISECOND})


def unit_of(
    spans: Sequence[tuple[float, float, str]], duration: float | None, units: Mapping[str, float] = UNITS
) -> tuple[float, str | None]:
    """The unit of the plain numbers that (start, end, text) have, in seconds, and what is doubtful about it: seconds,
    unless nobody speaks like that, and then the one that fits best; but seconds if they fit into the video's
    `duration`, where that is known."""
    paces = [letters for span in spans if (letters := pace(*span)) is not None]
    if not paces or SLOW <= (usual := median(paces)) <= FAST * 5:
        return 1.0, None
    fitting = {name: usual / unit for name, unit in units.items()}
    name = min(fitting, key=lambda name: abs(math.log(fitting[name] / COMMON)))
    whole_numbers = all(start == int(start) and end == int(end) for start, end, _ in spans)
    within = (
        max(start for start, _, _ in spans) < duration if duration else usual > (SLOWER if whole_numbers else SLOWEST)
    )
    if within or not SLOW * 5 <= fitting[name] <= FAST:
        slow = "slowly" if usual < SLOW else "fast"
        return 1.0, f"its times were read as seconds, but nobody speaks as {slow} as {usual:.2g} letters a second"
    doubt = f"its times were read as {name}, which it does not say: as seconds they make {usual:.2g} letters a second"
    return UNITS[name], doubt


def _with_words(said: list[_Said], apart: Sequence[Heard]) -> list[_Said]:
    """Entries with the words that begin in them; words before the first are the first's."""
    order = sorted((i for i, one in enumerate(said) if one.start is not None), key=lambda i: said[i].start or 0.0)
    starts = [said[i].start or 0.0 for i in order]
    own: dict[int, list[Heard]] = {i: [] for i in order}
    place = 0
    for word in whole(apart):
        if word.start is not None and starts:
            middle = word.start if word.end is None else (word.start + word.end) / 2
            place = max(0, bisect_right(starts, middle) - 1)
        if starts:
            own[order[place]].append(word)
    return [replace(one, words=tuple(own.get(i, ()))) for i, one in enumerate(said)]


def _cues(said: Sequence[_Said]) -> list[Cue]:
    starts = sorted({one.start for one in said if one.start is not None})
    cues = []
    for one in said:
        if one.start is None:
            continue
        later = bisect_right(starts, one.start)
        end = one.end
        if end is None:
            end = until(one.start, starts[later] if later < len(starts) else None, one.text)
        words = timed(one.start, end, one.text, one.words) if one.words else None
        cues.append(Cue(one.start, end, " ".join(one.text.split()), words))
    return cues


def _single_words(said: Sequence[_Said]) -> bool:
    """Whether the entries are words rather than sentences: called so, or a word each, and short."""
    single = [one for one in said if len(one.words) <= 1 and _is_word(one.text)]
    if len(single) <= 0.9 * len(said):
        return False
    lengths = [one.end - one.start for one in single if one.start is not None and one.end is not None]
    called = all(one.word for one in said)
    return called or (len(said) >= 3 and median(lengths or [0.0]) <= SHORT)


def _is_word(text: str) -> bool:
    return len(text.split()) <= 1 and len(UNSPACED.findall(text)) <= 4


def _sentences(heard: Sequence[Heard], text: str | None = None) -> list[Cue]:
    """Cues of words alone, or of the text that they are the words of; nothing where none has a time."""
    times = [time for word in heard for time in (word.start, word.end) if time is not None]
    if not times:
        return []
    last = max(times)
    if heard[-1].end is None and heard[-1].start is not None:
        last = max(last, heard[-1].start + MAX_WORD_SECONDS)
    words = timed(min(times), last, text or joined(heard), heard) or ()
    return sentences(words, bool(words) and bool(UNSPACED.search(words[0].text)))


def _unheard(said: Sequence[_Said]) -> list[str]:
    """What words say beyond the text of their entries is told: one of them is wrong."""
    for one in said:
        own, words = len("".join(one.text.split())), len("".join(word.text for word in one.words))
        if words > MORE_HEARD * own + 10:
            return [f"words are heard from {one.start} s on that the text of the entry does not have"]
    return []


def _language(stated: Any) -> str | None:
    return languages.named(stated) if isinstance(stated, str) and stated.strip() else None
