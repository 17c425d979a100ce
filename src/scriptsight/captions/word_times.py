"""Words with times beside a text: what is said is the text's, when it is said the words'. They differ: recognisers
write "twenty" beside "20", leave words out whose times they don't know, and set capitals and stops in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scriptsight.captions.records import MAX_CUE_WORDS, MAX_WORD_SECONDS, SENTENCE_END, letters
from scriptsight.captions.script import UNSPACED
from scriptsight.catalogue import Cue, Word

LOOK_AHEAD = 12  # words that one side may have more before both say the same again
PAUSE = 1.5  # seconds without a word end a cue that is made of words alone


@dataclass(frozen=True)
class Heard:
    """A word as a recogniser gives it: seconds where they are known; `glued`, it goes on with the word before."""

    start: float | None
    end: float | None
    text: str
    glued: bool = False


def joined(heard: Sequence[Heard]) -> str:
    """The text of words that come without one."""
    text = ""
    for word in heard:
        unspaced = text and UNSPACED.match(text[-1]) and UNSPACED.match(word.text[:1])
        text += word.text if not text or word.glued or unspaced else " " + word.text
    return text


def whole(heard: Sequence[Heard]) -> list[Heard]:
    """Words whose parts come apart, as Whisper's "L" and "'esquelet", made one."""
    made: list[Heard] = []
    for word in heard:
        if made and word.glued and not UNSPACED.match(word.text[:1]):
            before = made[-1]
            made[-1] = Heard(before.start, word.end or before.end, before.text + word.text, before.glued)
        else:
            made.append(word)
    return made


def timed(start: float, end: float, text: str, heard: Sequence[Heard]) -> tuple[Word, ...] | None:
    """The words of a text from `start` to `end` with the times of the words that were heard; None where none has any.

    Where both are the same they are taken as they are. Else each word of the text that was heard has its time, and
    what lies between two of them is spread between their times by its letters: nothing of the text is lost.
    """
    heard = whole(heard)
    if all(word.start is None for word in heard):
        return None
    if _bare(text) == _bare("".join(word.text for word in heard)):
        return filled(start, end, heard)
    said = tokens(text)
    if any(UNSPACED.search(token) for token in said):
        heard = [part for word in heard for part in _characters(word)]
    found = _matched([_key(token) for token in said], [_key(word.text) for word in heard])
    spans = [None if place is None or heard[place].start is None else heard[place] for place in found]
    return _spread(start, end, said, spans)


def filled(start: float, end: float, heard: Sequence[Heard]) -> tuple[Word, ...]:
    """Words with times; one without lies between its neighbours."""
    words: list[Word] = []
    following: list[float] = [end] * len(heard)
    for i in range(len(heard) - 2, -1, -1):
        later = heard[i + 1].start
        following[i] = following[i + 1] if later is None else later
    for word, later in zip(heard, following, strict=True):
        first = word.start if word.start is not None else words[-1].end if words else min(start, later)
        last = word.end
        if last is None or last < first:  # what follows may be silence
            last = min(later, first + MAX_WORD_SECONDS)
        words.append(Word(first, max(first, last), word.text))
    return tuple(words)


def tokens(text: str) -> list[str]:
    """The words of a text; of scripts without spaces, its characters with the signs that follow them."""
    found: list[str] = []
    for token in text.split():
        if not UNSPACED.search(token):
            found.append(token)
            continue
        begun = len(found)
        for character in token:
            apart = UNSPACED.match(character) and character.isalnum()
            if len(found) > begun and not apart and (not UNSPACED.match(found[-1][0]) or not character.isalnum()):
                found[-1] += character
            else:
                found.append(character)
    return found


def sentences(words: Sequence[Word], unspaced: bool) -> list[Cue]:
    """Cues of words alone: a sentence each, or what is said without a pause."""
    cues: list[Cue] = []
    begun = 0
    for i, word in enumerate(words):
        last = i + 1 == len(words)
        ends = SENTENCE_END.search(word.text) or i + 1 - begun == (4 * MAX_CUE_WORDS if unspaced else MAX_CUE_WORDS)
        if last or ends or words[i + 1].start - word.end > PAUSE:
            part = tuple(words[begun : i + 1])
            text = joined([Heard(None, None, one.text) for one in part])
            cues.append(Cue(part[0].start, max(one.end for one in part), text, part))
            begun = i + 1
    return cues


def _bare(text: str) -> str:
    return "".join(text.split())


def _key(token: str) -> str:
    return letters(token) or token


def _characters(word: Heard) -> list[Heard]:
    """A word as its characters, each with its share of the time."""
    parts = tokens(word.text)
    if word.start is None or word.end is None or len(parts) < 2:
        return [Heard(word.start, word.end, part) for part in parts]
    step = (word.end - word.start) / len(parts)
    times = [round(word.start + step * i, 6) for i in range(len(parts) + 1)]
    return [Heard(times[i], times[i + 1], part) for i, part in enumerate(parts)]


def _matched(said: list[str], heard: list[str]) -> list[int | None]:
    """For each word of the text the place of the word that was heard, None where none was."""
    places: list[int | None] = [None] * len(said)
    i = j = 0
    while i < len(said) and j < len(heard):
        if said[i] == heard[j]:
            places[i] = j
            i, j = i + 1, j + 1
            continue
        more, fewer = _meeting(said, heard, i, j)
        for k in range(more if more == fewer else 0):  # other words for the same
            places[i + k] = j + k
        i, j = i + more, j + fewer
    return places


def _meeting(said: list[str], heard: list[str], i: int, j: int) -> tuple[int, int]:
    """How many words both sides go on until they say the same; one each where they don't soon."""
    for steps in range(1, 2 * LOOK_AHEAD):
        for more in range(max(0, steps - LOOK_AHEAD), min(steps, LOOK_AHEAD) + 1):
            fewer = steps - more
            if i + more < len(said) and j + fewer < len(heard) and said[i + more] == heard[j + fewer]:
                return more, fewer
    return 1, 1


def _spread(start: float, end: float, said: list[str], spans: Sequence[Heard | None]) -> tuple[Word, ...]:
    """Words with the times that are known, the others between them by their letters."""
    words: list[Word] = []
    i = 0
    while i < len(said):
        span = spans[i]
        if span is not None and span.start is not None:
            words.append(Word(span.start, max(span.start, span.start if span.end is None else span.end), said[i]))
            i += 1
            continue
        last = i
        while last < len(said) and spans[last] is None:
            last += 1
        after = spans[last] if last < len(said) else None
        first = max(start, words[-1].end) if words else start
        until = max(first, end if after is None or after.start is None else after.start)
        share = (until - first) / max(1, sum(map(len, said[i:last])))
        for token in said[i:last]:
            words.append(Word(round(first, 6), round(first + share * len(token), 6), token))
            first += share * len(token)
        i = last
    return tuple(words)
