"""Cues as a source has them -> cues worth learning from. Each rule is one function of `RULES`, switched by the
parameter of its name and counted: how many cues it changed or dropped. What a cue said before stays in `Cue.raw`.

Rules on times come first, overlaps last, when repeats are gone. A script that is shifted or stretched as a whole is
reported, not corrected here: what its times should be says the sound (`alignment`), or a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from math import inf
from typing import Any, TypeAlias

from scriptsight.captions.script import UNSPACED, unescape
from scriptsight.catalogue import Cue, Word
from scriptsight.errors import needs
from scriptsight.params.ingest import Cleaning

with needs("data", "Cleaning captions"):
    import ftfy

HOUR = 3600.0
# Frame rates that are taken for one another: 24 / 23.976 (and 30 / 29.97), 25 / 24, 25 / 23.976.
RATE_RATIOS = (1001 / 1000, 25 / 24, 25025 / 24000)
ROLL_GAP = 1.0  # seconds: after a longer silence a line has left the screen
ROLL_SHARE = 0.25  # of the cues that follow another at once and go on from its text, in a script that rolls
LANGUAGE_LETTERS = 20  # fewer say nothing about their language
LANGUAGE_SAMPLE = 20_000  # characters

SOUNDS = (
    "applause|applauding|audience|beep(?:s|ing)?|bell(?: rings)?|cheer(?:s|ing)?|chuckl(?:es|ing)|clapping|coughs?|"
    "coughing|crying|gasps?|grunts?|inaudible|indistinct|instrumental|laugh(?:s|ing|ter)?|music(?: playing)?|musik|"
    "musique|música|noise|scream(?:s|ing)?|sighs?|silence|singing|sniffs?|sobbing|sound effect|static|"
    "upbeat music|whistl(?:es|ing)"
)
# Capitals and a colon that are no name of a speaker.
NO_SPEAKERS = {"ANSWER", "CAUTION", "EXAMPLE", "HINT", "IMPORTANT", "NOTE", "QUESTION", "STEP", "TIP", "WARNING"}
FILLERS = "a+h+|ä+h+m*|e+h+|e+r+m*|eu+h+|h+m+|m+-?h+m+|mm+|u+h+m*|u+m+"

_TAGS = "a|b|big|br|c|center|div|em|font|i|lang|p|rt|ruby|s|small|span|strike|strong|sub|sup|tt|u|v"
_TAG = re.compile(rf"</?(?:{_TAGS})(?:[\s.][^<>]*)?/?>|\{{\\[^{{}}]*\}}", re.IGNORECASE)
_BRACKETS = re.compile(r"(?:\[[^\[\]]{1,80}\]|［[^［］]{1,80}］|【[^【】]{1,80}】):?")  # noqa: RUF001
_NAMED_SOUND = re.compile(rf"\((?:[^()]{{0,40}}\b)?(?:{SOUNDS})\b[^()]{{0,40}}\)|\*(?:{SOUNDS})\*", re.IGNORECASE)
_ASIDE = re.compile(r"\([^()]{1,80}\)|（[^（）]{1,80}）")  # noqa: RUF001
_NOTES = re.compile(r"[♩♪♫♬]")
_SPEAKER = re.compile(
    r"(?:(?P<turn>(?:>>+|^[-–—]+(?!\d))\s*)|^)"  # noqa: RUF001
    r"(?P<name>(?:\[[^\[\]]{1,40}\]|\([^()]{1,40}\)):\s*"
    r"|(?P<plain>[^\W\d_][\w.'’-]{0,30}(?: [\w.'’-]{1,30}){0,3}):\s+)?"  # noqa: RUF001
)
_FILLER_RUN = re.compile(rf"(?<![\w'-])(?:(?:{FILLERS})\b[\s,.…]*){{2,}}(?![\w'-])", re.IGNORECASE)


@dataclass(frozen=True)
class Cleaned:
    """A script after cleaning.

    Attributes:
        cues: by start.
        counts: rule -> cues that it changed or dropped; all rules that are switched on, 0 where nothing was found.
        offset: seconds by which the whole script seems to lie late (a time code that starts at 1:00:00 or
            10:00:00): all of it is beyond the video, and would fit into it without.
        drift: factor by which its times seem too long (25 frames a second counted at 23.976): its end is beyond
            the video, and would fit without.
    """

    cues: list[Cue]
    counts: dict[str, int] = field(default_factory=dict)
    offset: float | None = None
    drift: float | None = None

    @property
    def wrong_times(self) -> int:
        """Cues dropped for their times."""
        return sum(self.counts.get(rule, 0) for rule in ("negative_times", "backward_times", "late_times"))


@dataclass(frozen=True)
class _Context:
    """What a rule may need to know besides the cues; `duration` in seconds, infinite where unknown."""

    duration: float
    languages: tuple[str, ...]


Rule: TypeAlias = Callable[[list[Cue], _Context], tuple[list[Cue], int]]


def clean(cues: Sequence[Cue], choice: Cleaning, duration: float | None) -> Cleaned:
    """Apply the rules that `choice` switches on to one script; `duration` of its video in seconds, if known."""
    length = duration or inf
    context = _Context(length, choice.languages)
    kept = sorted(cues, key=lambda cue: (cue.start, cue.end))
    offset, drift = _offset(kept, length), _drift(kept, length)
    counts = {}
    for name, rule in RULES.items():
        if getattr(choice, name):
            kept, counts[name] = rule(kept, context)
    return Cleaned(kept, counts, offset, drift)


def _offset(cues: list[Cue], duration: float) -> float | None:
    if not cues or duration == inf or cues[0].start < max(HOUR, duration):
        return None
    hours = cues[0].start // HOUR * HOUR
    return hours if cues[-1].start - hours < duration else None


def _drift(cues: list[Cue], duration: float) -> float | None:
    if not cues or duration == inf or cues[0].start >= duration:
        return None
    end = max(cue.end for cue in cues)
    if end <= duration + 1.0 or sum(cue.end > duration for cue in cues) < 2:  # the last one may well stay a little
        return None
    return next((ratio for ratio in RATE_RATIOS if 0.9 * duration <= end / ratio <= duration), None)


# ------------------------------------------------------------------------------------------------ times


def negative_times(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: what begins before 0."""
    return _only(cues, lambda cue: cue.start >= 0)


def backward_times(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: what ends before it begins, or as it does."""
    return _only(cues, lambda cue: cue.start < cue.end)


def late_times(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: what begins after the video's end."""
    return _only(cues, lambda cue: cue.start < context.duration)


def late_ends(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """What outlasts the video ends with it, and so do its words."""
    return _each(cues, lambda cue: _until(cue, context.duration))


def overlaps(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """A cue that runs on into the next ends where that begins: roll-up captions show a line until it has left the
    screen. One that outlasts the next is left, and so is one that begins with it or has words to say by then: two
    speak at once."""
    kept = list(cues)
    for i, (cue, following) in enumerate(pairwise(cues)):
        silent = all(word.start < following.start for word in cue.words or ())
        if silent and cue.start < following.start < cue.end <= following.end:
            kept[i] = _until(cue, following.start)
    return kept, sum(new is not old for new, old in zip(kept, cues, strict=True))


def _until(cue: Cue, end: float) -> Cue:
    """The cue, over at `end` at the latest."""
    if cue.end <= end:
        return cue
    words = cue.words and tuple(Word(min(word.start, end), min(word.end, end), word.text) for word in cue.words)
    return replace(cue, end=end, words=words)


# ------------------------------------------------------------------------------------------------ texts


def mojibake(text: str) -> str:
    """UTF-8 that was once read as something else is put right: "schÃ¶n" is "schön"."""
    return text if text.isascii() else ftfy.fix_encoding(text)


def entities_and_tags(text: str) -> str:
    """Character references are resolved, tags of HTML and of captions go, and so does {\\an8}. What merely stands
    between < and > is text."""
    return _TAG.sub("", unescape(text))


def sounds(text: str) -> str:
    """What is heard but not said: all in brackets, in parentheses what names a sound or is the whole cue, and the
    signs of music. What is sung stays."""
    text = _NAMED_SOUND.sub(" ", _BRACKETS.sub(" ", _NOTES.sub(" ", text)))
    return "" if _ASIDE.fullmatch(text.strip()) else text


def speaker_labels(text: str) -> str:
    """Who speaks: ">> Anna:", "ANNA:", "[SPEAKER_01]:", "(Anna):" and the dash before a turn. Without ">>", dash or
    brackets a name counts only in capitals."""

    def label(match: re.Match[str]) -> str:
        turn, name, plain = match["turn"], match["name"], match["plain"]
        if name and plain and (plain.split()[0].upper() in NO_SPEAKERS or not (turn or plain.isupper())):
            return name
        return ""

    return _SPEAKER.sub(label, text.strip())


def filler_runs(text: str) -> str:
    """Two and more hesitations in a row ("um, uh") go; a single one is how people talk."""
    return _FILLER_RUN.sub("", text)


# ------------------------------------------------------------------------------------------ whole scripts


def rolling_repeats(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Captions that roll up, as YouTube's automatic ones, show each line again above the next: what a cue repeats
    of the end of the one before is taken off, with its words; a cue that only repeats is dropped.

    Only where the script as a whole does so: people do say things twice.
    """
    tokens = [cue.text.split() for cue in cues]
    close = [i for i in range(1, len(cues)) if cues[i].start - cues[i - 1].end <= ROLL_GAP]
    shared = {i: shared_length(tokens[i - 1], tokens[i]) for i in close}
    # All that one cue ends with, and more: a mere repetition, as of a chorus, is no sign of rolling.
    grown = sum(0 < count < len(tokens[i]) for i, count in shared.items())
    if grown < 2 or grown < ROLL_SHARE * len(close):
        return cues, 0
    kept = []
    changed = 0
    for i, cue in enumerate(cues):
        count = shared.get(i, 0)
        changed += count > 0
        if not count:
            kept.append(cue)
        elif count < len(tokens[i]):
            kept.append(_without_first(cue, tokens[i], count))
    return kept, changed


def no_letters(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: cues without a letter of any script."""
    return _only(cues, lambda cue: any(map(str.isalpha, cue.text)))


def languages(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: a whole script in a language that is not one of those wanted. Too short a script is kept."""
    found = language_of(cues)
    return ([], len(cues)) if found is not None and found not in context.languages else (cues, 0)


def language_of(cues: Sequence[Cue]) -> str | None:
    """The language of a script (ISO 639-1) as py3langid finds it, None where there are too few letters."""
    text = " ".join(cue.text for cue in cues[:LANGUAGE_SAMPLE])[:LANGUAGE_SAMPLE]
    if sum(map(str.isalpha, text)) < LANGUAGE_LETTERS:
        return None
    return str(_identifier().classify(text)[0])


@cache
def _identifier() -> Any:
    with needs("data", "Finding out the language of captions"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.3 s, and few ask for it

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def shared_length(before: list[str], after: list[str]) -> int:
    """Length of the longest end of `before` that `after` begins with (Knuth, Morris, Pratt: linear time)."""
    tail = before[-len(after) :] if after else []
    failure = [0] * len(after)
    for i in range(1, len(after)):
        k = failure[i - 1]
        while k and after[i] != after[k]:
            k = failure[k - 1]
        failure[i] = k + (after[i] == after[k])
    k = 0
    for token in tail:
        while k and (k == len(after) or token != after[k]):
            k = failure[k - 1]
        k += token == after[k]
    return k


def _without_first(cue: Cue, tokens: list[str], count: int) -> Cue:
    """The cue without its first tokens; it begins with the first word that is left, if that has a time."""
    text = " ".join(tokens[count:])
    if cue.words is None:
        return replace(cue, text=text, raw=cue.raw or cue.text)
    letters = len("".join(tokens[:count]))
    first = 0
    while letters > 0 and first < len(cue.words):
        letters -= len("".join(cue.words[first].text.split()))
        first += 1
    words = cue.words[first:]
    start = words[0].start if words else cue.start
    return replace(cue, start=start, text=text, words=words, raw=cue.raw or cue.text)


# ---------------------------------------------------------------------------------------------- the table


def _only(cues: list[Cue], sound: Callable[[Cue], bool]) -> tuple[list[Cue], int]:
    kept = [cue for cue in cues if sound(cue)]
    return kept, len(cues) - len(kept)


def _each(cues: list[Cue], change: Callable[[Cue], Cue]) -> tuple[list[Cue], int]:
    kept = [change(cue) for cue in cues]
    return kept, sum(new is not old for new, old in zip(kept, cues, strict=True))


def _texts(rule: Callable[[str], str]) -> Rule:
    """A rule for scripts from one for texts; a cue whose text goes, goes."""

    def apply(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
        changed, count = _each(cues, lambda cue: _with_text(cue, rule(cue.text)))
        return [cue for cue in changed if cue.text], count

    return apply


def _with_text(cue: Cue, text: str) -> Cue:
    text = " ".join(text.split())
    if text == cue.text:
        return cue
    words = cue.words and _retimed(cue.words, text)
    return replace(cue, text=text, words=words, raw=cue.raw or cue.text)


def _retimed(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """The words of a changed text. If only words went, the others keep their times; else a letter keeps its word's
    time at both ends of the text, and in the middle by its place."""
    tokens = text.split()
    left = iter(words)
    same = [next((word for word in left if word.text == token), None) for token in tokens]
    if None not in same:
        return tuple(word for word in same if word is not None)
    owners = [word for word in words for _ in "".join(word.text.split())]
    if not owners:
        return ()
    before, after = "".join("".join(word.text.split()) for word in words), "".join(tokens)
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    tail = next((i for i in range(shorter - head) if before[-1 - i] != after[-1 - i]), shorter - head)
    old, new = len(before) - head - tail, len(after) - head - tail
    made: list[tuple[Word, str]] = []
    place = 0
    for token in tokens:
        begun = len(made)
        for letter in token:
            if place < head:
                owner = owners[place]
            elif place >= head + new:
                owner = owners[place - len(after)]
            else:
                owner = owners[min(head + (place - head) * old // max(new, 1), len(owners) - 1)]
            if len(made) > begun and (made[-1][0] is owner or not UNSPACED.match(letter)):
                made[-1] = (made[-1][0], made[-1][1] + letter)
            else:
                made.append((owner, letter))
            place += 1
    return tuple(Word(owner.start, owner.end, part) for owner, part in made)


# In the order in which they are applied.
RULES: dict[str, Rule] = {
    "negative_times": negative_times,
    "backward_times": backward_times,
    "late_times": late_times,
    "late_ends": late_ends,
    "mojibake": _texts(mojibake),
    "entities_and_tags": _texts(entities_and_tags),
    "rolling_repeats": rolling_repeats,
    "speaker_labels": _texts(speaker_labels),
    "sounds": _texts(sounds),
    "filler_runs": _texts(filler_runs),
    "no_letters": no_letters,
    "overlaps": overlaps,
    "languages": languages,
}
