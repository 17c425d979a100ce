"""Scripts whose clock is not their video's, as far as the source says so: a clip or a section of a film comes with
the words of all of it, and a film from which parts were cut with the times of the whole one.

A cue that lies across a cut keeps the words that are spoken within: by the words' own times, else as if they were
spread evenly over the cue. What it said before stays in `Cue.raw`. What no metadata say is for `alignment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf

from scriptsight.captions import Script
from scriptsight.captions.script import UNSPACED
from scriptsight.catalogue import Cue, Word
from scriptsight.ingest.sources import Excerpt

Stretch = tuple[float, float]  # seconds, from and to; the end may be infinite

CLOSE = 1.5  # seconds by which what metadata say of a length may be off: they are rounded, and cuts are at frames
EXACT = 0.3  # seconds, the same where all is as it should be
SHARE = 0.01  # of a film's length by which it may be off where nothing was announced to be removed
LONGEST_LEAD = 30.0  # seconds from a key frame to the next
MOST_KINDS = 8  # of parts that may have been removed together: 2 ** 8 combinations are tried, of more only one

_TOKEN = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\S)+")


@dataclass(frozen=True)
class Cut:
    """What is left of cues, and how many lie outside and are gone, or lie across an edge and lost words."""

    cues: list[Cue]
    outside: int = 0
    across: int = 0


@dataclass(frozen=True)
class Retimed:
    """A script by its video's clock, and what became of its cues."""

    script: Script
    cut: Cut


def moved(cues: Iterable[Cue], ratio: float, offset: float) -> list[Cue]:
    """The cues at `ratio` times their seconds, plus `offset`."""

    def at(seconds: float) -> float:
        return round(seconds * ratio + offset, 6)

    def of(cue: Cue) -> Cue:
        words = cue.words and tuple(Word(at(word.start), at(word.end), word.text) for word in cue.words)
        return replace(cue, start=at(cue.start), end=at(cue.end), words=words)

    return [of(cue) for cue in cues]


def cut(cues: Sequence[Cue], stretches: Sequence[Stretch], *, start: float = 0.0) -> Cut:
    """The cues of a film of which only `stretches` are left, one after the other, the first one at second `start`, by
    the clock of what is left."""
    kept: list[tuple[int, Cue]] = []
    for low, high in stretches:
        for i, cue in enumerate(cues):
            if cue.start < high and cue.end > low and (part := within(cue, low, high)):
                kept.append((i, moved([part], 1.0, start - low)[0]))
        start += high - low
    across = {i for i, part in kept if part.text != cues[i].text}
    return Cut([part for _, part in kept], len(cues) - len({i for i, _ in kept}), len(across))


def within(cue: Cue, low: float, high: float) -> Cue | None:
    """The part of a cue that is spoken from `low` to `high` seconds, None where no word is; one whose times are wrong
    is whole or none."""
    if low <= cue.start and cue.end <= high:
        return cue
    if cue.end <= cue.start:
        return cue if low <= cue.start < high else None
    spoken = list(_spoken(cue))
    inside = [(first, last) for middle, first, last in spoken if low <= middle < high]
    if not inside:
        return None
    text = cue.text[inside[0][0] : inside[-1][1]]
    words = None
    if cue.words is not None:
        kept = [word for word in cue.words if low <= (word.start + word.end) / 2 < high]
        words = tuple(replace(word, start=max(word.start, low), end=min(word.end, high)) for word in kept)
    raw = cue.raw if text == cue.text else cue.raw or cue.text
    return replace(cue, start=max(cue.start, low), end=min(cue.end, high), text=text, words=words, raw=raw)


def _spoken(cue: Cue) -> Iterator[tuple[float, int, int]]:
    """Each word of a cue: when its middle is spoken, and where it stands in the text."""
    timed = list(_found(cue.text, cue.words or ()))
    if timed and len(timed) == len(cue.words or ()):
        yield from timed
        return
    for token in _TOKEN.finditer(cue.text):
        place = (token.start() + token.end()) / 2 / len(cue.text)
        yield cue.start + (cue.end - cue.start) * place, token.start(), token.end()


def _found(text: str, words: Iterable[Word]) -> Iterator[tuple[float, int, int]]:
    """The words that stand in a text one after the other."""
    at = 0
    for word in words:
        if (at := text.find(word.text, at)) < 0:
            return
        yield (word.start + word.end) / 2, at, at + len(word.text)
        at += len(word.text)


# --------------------------------------------------------------------------------------- what metadata say


def by_the_files_clock(script: Script, excerpt: Excerpt, seconds: float, *, track: bool) -> Retimed:
    """A script that may go by the clock of the film that its video is an excerpt of.

    Args:
        seconds: the video's length.
        track: the script comes from inside the video, which was cut along with what was removed from it.
    """
    if not script.cues:
        return _as_it_is(script)
    if excerpt.stretches:
        return _excerpt(script, excerpt, seconds)
    if excerpt.seconds is not None and seconds > 0:
        return _shortened(script, excerpt, seconds, track=track)
    return _as_it_is(script)


def _excerpt(script: Script, excerpt: Excerpt, seconds: float) -> Retimed:
    """The script of a clip, whose place in its film is known."""
    stretches = [(low, inf if high is None else high) for low, high in excerpt.stretches]
    length = sum(high - low for low, high in stretches)
    doubts = []
    if length < inf and seconds > 0 and abs(seconds - length) > CLOSE:
        detail = f"the file has {seconds:.2f} s, the part of the film that it is {length:.2f} s"
        low, high = stretches[0]
        if excerpt.leads and len(stretches) == 1 and 0 < seconds - length <= min(low, LONGEST_LEAD):
            stretches = [(high - seconds, high)]
            detail += f": taken to begin at the key frame before, at {high - seconds:.2f} s of the film"
        else:
            detail += ": it was cut elsewhere, and its words may be off by so much"
        doubts.append(detail)
    left = cut(script.cues, stretches)
    if not left.cues and excerpt.may_be_cut and _until(script.cues) <= seconds + CLOSE:
        places = ", ".join(f"{low:.2f} to {'its end' if high == inf else f'{high:.2f}'} s" for low, high in stretches)
        detail = f"the file is {places} of its film, where no cue is, but all fit into the file"
        return _as_it_is(script, f"{detail}: taken by the file's clock")
    return _as_cut(script, left, *doubts)


def _shortened(script: Script, excerpt: Excerpt, seconds: float, *, track: bool) -> Retimed:
    """The script of a film from which parts may have been removed; its file's length says which."""
    film = excerpt.seconds or 0.0
    gone = film - seconds
    if abs(gone) <= (CLOSE if excerpt.removable else max(CLOSE, SHARE * film)):
        return _as_it_is(script)
    lengths = f"the file has {seconds:.2f} s, its film {film:.2f} s"
    left = _left(excerpt, gone) if gone > 0 else None
    if _until(script.cues) <= seconds + CLOSE and (track or excerpt.may_be_cut):
        if track:
            return _as_it_is(script)  # tracks are cut with the pictures
        detail = f"{lengths}; the captions fit into the file and are left as they are, though they may go by the film"
        return _as_it_is(script, detail)
    if left is None:
        return _as_it_is(script, f"{lengths}, and nothing says what is gone: the captions may be late")
    kept = ", ".join(f"{low:.2f} to {'its end' if high == inf else f'{high:.2f}'}" for low, high in left)
    return _as_cut(script, cut(script.cues, left), f"{lengths}: taken for {kept} s of it, by what it lacks")


def _left(excerpt: Excerpt, gone: float) -> list[Stretch] | None:
    """What is left of a film from which parts of `gone` seconds were removed; None if no one choice of kinds of parts
    has this length."""
    kinds = sorted({kind for _, _, kind in excerpt.removable})
    off: dict[tuple[Stretch, ...], float] = {}  # by what may be gone: seconds by which the length is off
    for count in range(1, len(kinds) + 1 if len(kinds) <= MOST_KINDS else 2):
        for chosen in combinations(kinds, count):
            removed = _merged((low, high) for low, high, kind in excerpt.removable if kind in chosen)
            off[tuple(removed)] = abs(sum(high - low for low, high in removed) - gone)
    for slack in (EXACT, CLOSE):
        if fitting := [removed for removed, seconds in off.items() if seconds <= slack]:
            break
    if len(fitting) != 1:
        return None
    edges = [0.0, *(edge for stretch in fitting[0] for edge in stretch), inf]
    return [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Stretches that touch or overlap made one, by start."""
    merged: list[Stretch] = []
    for low, high in sorted(stretches):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _until(cues: Iterable[Cue]) -> float:
    return max(cue.end for cue in cues)


def _as_it_is(script: Script, *doubts: str) -> Retimed:
    return _as_cut(script, Cut(script.cues), *doubts)


def _as_cut(script: Script, left: Cut, *doubts: str) -> Retimed:
    return Retimed(replace(script, cues=left.cues, doubts=(*script.doubts, *doubts)), left)
