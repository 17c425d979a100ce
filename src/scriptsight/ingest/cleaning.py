"""Cues as a source has them -> cues worth learning from. Each rule is one function of `RULES`, switched by the
parameter of its name and counted: how many cues it changed or dropped. What a cue said before stays in `Cue.raw`.

Rules on times come first, overlaps last, when repeats are gone. No rule resolves references or takes tags out of what
comes from a parser that did so: what looks like a tag there was spoken. A script that is shifted or stretched as a
whole is reported, not corrected here: what its times should be says the sound (`alignment`), or a person.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from typing import TypeAlias

from scriptsight.captions import markup
from scriptsight.captions.script import UNSPACED, clock
from scriptsight.catalogue import Cue, Word
from scriptsight.errors import needs
from scriptsight.language_id import language_of
from scriptsight.params.ingest import Cleaning

with needs("data", "Cleaning captions"):
    import ftfy

HOUR = 3600.0
# Frame rates that are taken for one another: 24 / 23.976 (and 30 / 29.97), 25 / 24, 25 / 23.976.
RATE_RATIOS = (1001 / 1000, 25 / 24, 25025 / 24000)
TOUCH = 0.05  # seconds between cues that follow each other without a break: a frame at 24 a second
ROUNDING = 0.015  # seconds: what formats that count centiseconds make of one time
RUN_ON = 10  # cues that begin while one lasts: its end is no end, if it lasts
RUN_LONG = 30.0  # seconds and more: signs may move from frame to frame under a sentence
LATE = 10.0  # seconds beyond the video at which no cue ends, though it may stay a little
STAMP_NEAR = 2.0  # seconds between a cue and the time that its text begins with, if that is a stamp of it
STACKED = 20  # cues at the very same time that are compared with each other
TYPED = 2  # words at most by which a text that is typed out grows from cue to cue
ROLL_GAP = 1.0  # seconds: after a longer silence a line has left the screen
ROLL_SHARE = 0.25  # of the cues that follow another at once and go on from its text, in a script that rolls
ROLL_WORDS = 4  # of a cue that the next one begins with, at least, where that alone shows that a script rolls

SOUNDS = (
    "applause|applauding|audience|beep(?:s|ing)?|bell(?: rings)?|cheer(?:s|ing)?|chuckl(?:es|ing)|clapping|coughs?|"
    "coughing|crying|gasps?|grunts?|inaudible|indistinct|instrumental|laugh(?:s|ing|ter)?|music(?: playing)?|musik|"
    "musique|música|noise|scream(?:s|ing)?|sighs?|silence|singing|sniffs?|sobbing|sound effect|static|"
    "upbeat music|whistl(?:es|ing)"
)
# What stands before a colon and is no name of a speaker, alone or among others, as "THE TRICK", "STEP ONE".
NO_SPEAKERS = {
    *("AI", "API", "ASAP", "AWS", "CPU", "ETA", "EU", "FAQ", "GPU", "IDE", "IOS", "IQ", "JSON", "NASA", "PIN", "RAM"),
    *("SEO", "UI", "UK", "URI", "USA", "USB", "UX", "VR", "BBC", "DIY", "TV", "PC", "OS", "JS", "DNA", "EDIT"),
    *("ANSWER", "ATTENTION", "BONUS", "CAUTION", "CHAPTER", "DAY", "DISCLAIMER", "EXAMPLE", "EXERCISE", "EPISODE"),
    *("FACT", "FINALLY", "FIRST", "FOURTH", "FYI", "HINT", "HTML", "HTTP", "HTTPS", "IMPORTANT", "INGREDIENTS"),
    *("LESSON", "LEVEL", "METHOD", "NB", "NEXT", "NOTE", "NUMBER", "OPTION", "PART", "PLUS", "PROBLEM", "PS", "P.S."),
    *("QUESTION", "REASON", "RECIPE", "REMEMBER", "RESULT", "ROUND", "RULE", "SECOND", "SECRET", "SOLUTION"),
    *("SPOILER", "STEP", "SUMMARY", "THIRD", "TIP", "TIPS", "TODO", "TRICK", "UPDATE", "URL", "VERSE", "WARNING"),
}
# Words of sentences: what holds one is no name either.
NO_NAMES = {
    *("A", "ADD", "ALSO", "ALWAYS", "AN", "AND", "ARE", "AT", "BE", "BEST", "BUT", "BY", "CAN", "DID", "DO", "DOES"),
    *("DON", "FOR", "FROM", "GET", "GO", "HAVE", "HERE", "HOW", "I", "IF", "IN", "IS", "IT", "JUST", "KEEP", "LAST"),
    *("LET", "LIKE", "LOOK", "MAKE", "MORE", "MY", "NEVER", "NOT", "NOW", "OF", "OK", "OKAY", "ON", "OR", "OUR"),
    *("SAID", "SAY", "SEE", "SO", "THAT", "THEN", "THERE", "THESE", "THING", "THINGS", "THIS", "TO", "TODAY", "USE"),
    *("WAS", "WAY", "WE", "WELL", "WHAT", "WHEN", "WHERE", "WHO", "WHY", "WILL", "WITH", "YES", "YOU", "YOUR"),
}
# Speakers that are counted: elsewhere a number before a colon is a time, a verse, a step.
ROLES = {
    *("ACTOR", "ANCHOR", "AUDIENCE", "BOY", "CALLER", "CHILD", "CREW", "FEMALE", "GIRL", "GUEST", "HOST"),
    *("INTERVIEWEE", "INTERVIEWER", "KID", "MALE", "MAN", "MEMBER", "NARRATOR", "OFFICER", "P", "PARTICIPANT"),
    *("PERSON", "PLAYER", "REPORTER", "S", "SPEAKER", "SPK", "STUDENT", "TEACHER", "USER", "VOICE", "WOMAN"),
}
CAPITALS = 0.9  # of a script's letters, in one that is all in capitals
ALL_LABELLED = 0.9  # of the cues, in a script whose every cue begins with who speaks, be it only once
LABELLED = 0.5  # of the cues, in a script whose every cue begins with who speaks
FILLERS = "a+h+|ä+h+m*|e+h+|e+r+m*|eu+h+|h+m+|m+-?h+m+|mm+|u+h+m*|u+m+"

_BRACKETS = re.compile(r"(?:\[[^\[\]]{1,80}\]|［[^［］]{1,80}］|【[^【】]{1,80}】):?")  # noqa: RUF001
_FEW = r"(?:[^\s()]{1,20}\s+){0,3}"  # words beside the sound: "(right before the bell of the tower rings)" is said
_NAMED_SOUND = re.compile(
    rf"\(\s*{_FEW}(?:{SOUNDS})\b[^\s()]{{0,2}}(?:\s+[^\s()]{{1,20}}){{0,3}}\s*\)|\*(?:{SOUNDS})\*", re.IGNORECASE
)
_ASIDE = re.compile(r"\([^()]{1,80}\)|（[^（）]{1,80}）")  # noqa: RUF001
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_NOTES = re.compile(r"[♩♪♫♬¶]")
_SONG = re.compile(r"\s*#+\s+[^\W\d]")  # of British subtitles; "#3" and "#bread" are said
_SONG_SIGNS = re.compile(r"(?<!\S)#+(?!\S)")
_STAMP = re.compile(
    r"\s*(?:(?=[(<])|(?=\d+:\d+:))[(<]?(?:(\d{1,3}):)?(\d{1,2}):(\d{2})(?:[.,]\d{1,3})?[)>]?(?!\S):?", re.ASCII
)
_TURN = re.compile(r">>+|[-–—]+(?!\d)")  # noqa: RUF001
# Another turn in one cue: a dash before it, as the first one has, or behind the end of a sentence.
_DASHED = re.compile(r"([-–—])( ?)[^\W\d]")  # noqa: RUF001
_NEXT_TURN = re.compile(r"(?<=[.?!…]) [-–—] ?(?=[^\W\da-z])")  # noqa: RUF001
_SPEAKER = re.compile(
    r"(?:(?P<turn>(?:>>+|^[-–—]+(?!\d))\s*)|^)"  # noqa: RUF001
    r"(?P<name>(?:\[[^\[\]]{1,40}\]|\([^()]{1,40}\)):\s*"
    r"|(?P<plain>[^\W\d_][\w.'’-]{0,30}(?: [\w.'’-]{1,30}){0,3})"  # noqa: RUF001
    r"(?: ?(?:\([^()]{1,30}\)|\[[^\[\]]{1,30}\]))?:(?:\s+|$))?"  # how it is said: "MAN 2 (whispering):"
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
    """What a rule may need to know besides the cues; `duration` in seconds, infinite where unknown; `resolved` as in
    `Script`."""

    duration: float
    languages: tuple[str, ...]
    resolved: bool


Rule: TypeAlias = Callable[[list[Cue], _Context], tuple[list[Cue], int]]


def clean(cues: Sequence[Cue], choice: Cleaning, duration: float | None, resolved: bool = False) -> Cleaned:
    """Apply the rules that `choice` switches on to one script.

    Args:
        duration: of its video in seconds, if known.
        resolved: whether its parser has taken out all mark-up, as `Script.resolved` says.
    """
    length = duration or inf
    context = _Context(length, choice.languages, resolved)
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
    """What outlasts the video ends with it, and so do its words. An end that stands for none, as 99:59:59, holds
    until the next cue begins: one that is more than an hour away, well beyond the video, or behind `RUN_ON` cues."""
    starts = [cue.start for cue in cues]

    def ended(cue: Cue) -> Cue:
        following = bisect_right(starts, cue.start)
        if following < len(starts) and _is_placeholder(cue, starts, following, context.duration):
            cue = _until(cue, starts[following])
        return _until(cue, context.duration) if cue.start < context.duration else cue

    return _each(cues, ended)


def _is_placeholder(cue: Cue, starts: list[float], following: int, duration: float) -> bool:
    """Whether a cue's end is no time at which it ends; `following` is the place of the next one in `starts`."""
    if cue.words and cue.words[-1].start >= starts[following]:
        return False
    last = following + RUN_ON - 1
    runs_on = cue.end - cue.start > RUN_LONG and last < len(starts) and starts[last] < cue.end
    return runs_on or cue.end - cue.start > HOUR or cue.end > duration + LATE


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


def entities_and_tags(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """What a tool left in a text of JSON or a table: character references are resolved, tags of HTML and of captions
    go, if they are opened and closed, have attributes or stand around the text; a lone <div> is what is talked about.
    Where the parser of a format has done so, only what is found in every format goes: {\\an8} and the like, and
    spaces of no width around a word."""
    return _texts(markup.everywhere if context.resolved else markup.leftovers)(cues, context)


def sounds(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """What is heard but not said: all in brackets, in parentheses what names a sound or is the whole cue, and the
    signs of music, also "# la la #". What is sung stays. So goes a stamp in front that says the cue's own time."""
    changed, count = _each(cues, lambda cue: _with_text(cue, _said(_without_stamp(cue))))
    return [cue for cue in changed if cue.text], count


def _without_stamp(cue: Cue) -> str:
    stamp = _STAMP.match(cue.text)
    if stamp is None or abs(clock(*stamp.groups()[:3]) - cue.start) > STAMP_NEAR:
        return cue.text
    return cue.text[stamp.end() :]


def _said(text: str) -> str:
    if _SONG.match(text):
        text = _SONG_SIGNS.sub(" ", text)
    text = _NAMED_SOUND.sub(" ", _BRACKETS.sub(" ", _NOTES.sub(" ", text)))
    return "" if _ASIDE.fullmatch(text.strip()) else text


def filler_runs(text: str) -> str:
    """Two and more hesitations in a row ("um, uh") go; a single one is how people talk."""
    return _FILLER_RUN.sub("", text)


# ------------------------------------------------------------------------------------------ whole scripts


def speaker_labels(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Who speaks: ">> Anna:", "ANNA:", "[SPEAKER_01]:", "(Anna):" and the dash before a turn.

    Without ">>", dash or brackets a name counts only in capitals, or where most cues begin with one that returns, as
    in "Speaker One:" of a meeting's transcript: where nearly all do, one that speaks once is a name as well. Speakers
    that are counted, as "Speaker 2:", count together. In a script that is all in capitals they say nothing: there a
    name must return as well. What holds a word of a sentence or a number that counts no speakers, or is an acronym
    or one of `NO_SPEAKERS`, is no name.
    """
    names = Counter(match["plain"] for cue in cues if (match := _SPEAKER.match(cue.text.strip())) and match["plain"])
    counted = Counter(_role(name) for name in names.elements())
    returning = {name for name, count in names.items() if count > 1 and _is_name(name)}
    labelled = sum(names[name] for name in returning) >= LABELLED * len(cues)
    called = [name for name in names if _is_name(name) and all(word[0].isupper() for word in name.split())]
    if labelled and sum(names[name] for name in called) >= ALL_LABELLED * len(cues):
        returning |= set(called)
    capitals = _in_capitals([_SPEAKER.sub("", cue.text.strip(), count=1) for cue in cues])

    def label(match: re.Match[str]) -> str:
        turn, name, plain = match["turn"], match["name"], match["plain"]
        if not name or not plain:
            return ""
        if not _is_name(plain):
            return name
        if turn:
            return "" if all(word[0].isupper() or word[0].isdecimal() for word in plain.split()) else name
        if (role := _role(plain)) and counted[role] > 1:
            return ""
        if plain.isupper():
            return "" if not capitals or plain in returning else name
        return "" if labelled and plain in returning and plain[0].isupper() else name

    return _texts(lambda text: _SPEAKER.sub(label, _with_turns(text.strip())))(cues, context)


def _with_turns(text: str) -> str:
    """The text with ">>" before each further turn that a dash begins: "- First we cut. - Then we toast."."""
    if first := _DASHED.match(text):
        again = re.compile(rf" {first[1]}{first[2]}(?=[^\W\d])")
        return text[: first.end()] + again.sub(" >> ", text[first.end() :])
    return _NEXT_TURN.sub(" >> ", text)


def _role(plain: str) -> str | None:
    """ "SPEAKER" of "Speaker 2": whose number says which of several speaks."""
    match = re.fullmatch(r"([^\W\d_]+)[ _#]{0,2}\d{1,3}", plain)
    return match[1].upper() if match and plain[0].isupper() and match[1].upper() in ROLES else None


def _is_name(plain: str) -> bool:
    words = plain.upper().split()
    numbered = any(any(map(str.isdecimal, word)) for word in words)
    role = any(re.sub(r"[\d_#]+$", "", word) in ROLES for word in words)
    sentence = any(re.split("['’]", word)[0] in NO_NAMES for word in words)  # noqa: RUF001, "here's the trick"
    letters = words[0] if len(words) == 1 and words[0].isalpha() and len(words[0]) > 2 else ""
    if sentence or (numbered and not role) or (letters and not re.search("[^BCDFGHJKLMNPQRSTVWXZ]", letters)):
        return False  # without a vowel it is an acronym, as "CSS"
    return role or not NO_SPEAKERS.intersection(words)


def _in_capitals(texts: list[str]) -> bool:
    """Whether nearly all letters of a script are capitals; of writing without capitals that can't be said."""
    upper = sum(map(str.isupper, letters := "".join(texts)))
    return upper > CAPITALS * (upper + sum(map(str.islower, letters)))


def doubles(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """One sentence that is kept as several cues is one cue, from the start of the first to the end of the last: at a
    border of segments, in layers of another style or place, in animated captions, typed out word by word. Counted is
    what is taken out.

    Equal are the words, in whatever capitals and punctuation; of cues that are short and only touch, the letter, and
    they must touch: after the gap of a frame, "Oh!" is said again. What is said again later stays; so does what
    another speaker says, or another turn ("- Really?"), and what has words with times of their own that go on. Of
    cues that begin together the shorter is taken out where the longer holds it. A text is typed out where at least
    three cues in a row each go on from all of the one before, by `TYPED` words at most; two are enough that end
    together.
    """
    kept: list[Cue | None] = []
    latest: dict[tuple[str, ...], int] = {}  # words -> the last cue that says them
    for cue in _typed_out(cues):
        words = _plain_words(cue.text)
        at = latest.get(words)
        earlier = None if at is None else kept[at]
        if at is not None and earlier is not None and _double(earlier, cue, words):
            kept[at] = _joined(earlier, cue)
        else:
            latest[words] = len(kept)
            kept.append(cue)
    made = _without_held([cue for cue in kept if cue is not None])
    return made, len(cues) - len(made)


def _double(one: Cue, two: Cue, words: tuple[str, ...]) -> bool:
    """Whether two cues of equal words are one sentence; the second does not begin before the first."""
    if two.start > one.end + TOUCH:
        return False
    if _others(one, two) and abs(two.start - one.start) + abs(two.end - one.end) > ROUNDING:
        return False
    if one.words and two.words:  # where both were heard, they must have been heard at the same time
        return two.words[0].start < one.words[-1].start + TOUCH
    overlap = two.start < one.end - TOUCH or (two.start, two.end) == (one.start, one.end)
    if overlap or _size(words) >= ROLL_WORDS:
        return True
    turn = _TURN.match(two.text.strip())  # who answers with the same word
    return two.start <= one.end + ROUNDING and _visible(one.text) == _visible(two.text) and not turn


def _others(one: Cue, two: Cue) -> bool:
    """Whether the source says that two people say it."""
    return one.speaker is not None and two.speaker is not None and one.speaker != two.speaker


def _joined(one: Cue, two: Cue) -> Cue:
    """The first cue until the end of the second, with the times of words of whichever has them."""
    return replace(one, end=max(one.end, two.end), words=one.words or (two.words and _spelt(one, two.words)))


def _spelt(cue: Cue, words: tuple[Word, ...]) -> tuple[Word, ...] | None:
    """Words of an equal text, if they are those of this one to the letter."""
    same = "".join("".join(word.text.split()) for word in words) == "".join(cue.text.split())
    return words if same else None


def _typed_out(cues: list[Cue]) -> list[Cue]:
    """The cues with each text that is typed out as one."""
    kept: list[Cue] = []
    begun = 0
    while begun < len(cues):
        end, steps = begun + 1, 0
        while end < len(cues) and _grows(cues[end - 1], cues[end]):
            grown = cues[end - 1].text != cues[end].text
            shown = abs(cues[end].end - cues[end - 1].end) <= ROUNDING and " " in cues[end - 1].text
            steps += (1 + shown) * grown
            end += 1
        if steps >= 2:
            kept.append(replace(cues[end - 1], start=cues[begun].start, end=max(cue.end for cue in cues[begun:end])))
        else:
            kept += cues[begun:end]
        begun = end
    return kept


def _grows(one: Cue, two: Cue) -> bool:
    """Whether the second text is the first with a little more, at once after it or over it; not where both have
    words that were heard."""
    before, after = _visible(one.text).rstrip(" |_▌█"), _visible(two.text)  # a cursor may blink behind it
    if (
        (one.words and two.words)
        or _others(one, two)
        or not before
        or two.start > one.end + TOUCH
        or not after.startswith(before)
    ):
        return False
    return _size(after[len(before) :].split()) <= TYPED


def _without_held(cues: list[Cue]) -> list[Cue]:
    """The cues without those that another one holds, which begins with them and ends no earlier."""
    gone: set[int] = set()
    begun = 0
    while begun < len(cues):
        end = begun + 1
        while end < len(cues) and cues[end].start - cues[begun].start <= ROUNDING:
            end += 1
        if 1 < end - begun <= STACKED:
            texts = {i: f" {' '.join(_plain_words(cues[i].text))} " for i in range(begun, end)}
            gone |= {i for i in texts for j in texts if _holds(cues[j], cues[i], texts[j], texts[i])}
        begun = end
    return [cue for i, cue in enumerate(cues) if i not in gone]


def _holds(one: Cue, two: Cue, text: str, part: str) -> bool:
    """Whether the second is a part of the first: two words at least, as two may say "no" and "no way" at once."""
    if _others(one, two):
        return False
    return len(part.split()) > 1 and part in text and part != text and two.end <= one.end + TOUCH


def rolling_repeats(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Captions that roll up, as YouTube's automatic ones, show each line again above the next: what a cue repeats
    of the end of the one before is taken off, with its words; a cue that only repeats is dropped. Capitals and
    punctuation may have changed.

    Only where the script as a whole does so: people do say things twice. A single cue shows it that begins with all
    of the one before, of `ROLL_WORDS` words and more, and follows it without a break, or a line that flashes up. In a
    script that rolls a line may also stay through a silence: so many words, and the cue goes on from them.
    """
    tokens = [cue.text.split() for cue in cues]
    plain = [list(map(_plain, words)) for words in tokens]
    close = [i for i in range(1, len(cues)) if cues[i].start - cues[i - 1].end <= ROLL_GAP]
    shared = {i: _repeated(i, tokens, plain) for i in close}
    # All that one cue ends with, and more: a mere repetition, as of a chorus, is no sign of rolling.
    grown = [i for i, count in shared.items() if 0 < count < len(tokens[i])]
    # YouTube shows each line alone for a hundredth of a second before it rolls.
    flashes = any(cues[i].end - cues[i].start <= ROUNDING and shared[i] == len(tokens[i]) for i in close)
    rolls = len(grown) >= 2 or any(
        shared[i] == len(tokens[i - 1])
        and _size(tokens[i - 1]) >= ROLL_WORDS
        and abs(cues[i].start - cues[i - 1].end) <= TOUCH
        for i in grown
    )
    if not (rolls or (flashes and grown)) or len(grown) < ROLL_SHARE * len(close):
        return cues, 0
    for i in range(1, len(cues)) if len(grown) >= 2 else ():
        if i not in shared:  # a line that stays on the screen while nobody speaks
            count = _repeated(i, tokens, plain)
            kept_on = _size(tokens[i][:count]) >= ROLL_WORDS and count < len(tokens[i])
            shared[i] = count if kept_on and cues[i].words is None else 0
    kept = []
    changed = 0
    for i, cue in enumerate(cues):
        count = shared.get(i, 0)
        changed += count > 0
        if not count:
            kept.append(cue)
        elif count < len(tokens[i]):
            kept.append(_without_first(cue, tokens[i], count))
    return sorted(kept, key=lambda cue: (cue.start, cue.end)), changed


def _repeated(i: int, tokens: list[list[str]], plain: list[list[str]]) -> int:
    """How many words of a cue repeat the end of the one before. Of capitals and punctuation is only looked away where
    enough words speak for it: after "the second" somebody may begin with "Second"."""
    count = shared_length(plain[i - 1], plain[i])
    if count > 2 or count == len(tokens[i - 1]) > 1:
        return count
    return shared_length(tokens[i - 1], tokens[i])


def _plain_words(text: str) -> tuple[str, ...]:
    return tuple(map(_plain, _visible(text).split()))


def _size(tokens: Sequence[str]) -> int:
    """How many words they are; of writing without spaces two characters are taken for one."""
    return sum((len(token) + 1) // 2 if UNSPACED.match(token) else 1 for token in tokens)


def _plain(word: str) -> str:
    """A word in small letters without punctuation; signs alone stay."""
    return "".join(filter(str.isalnum, word.casefold())) or word


def _visible(text: str) -> str:
    """The text in small letters without characters that nobody sees, such as the spaces of no width that animated
    captions put around it."""
    text = text.casefold()
    return text if text.isascii() else " ".join(_UNSEEN.sub("", text).split())


def no_letters(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: cues without a letter of any script."""
    return _only(cues, lambda cue: any(map(str.isalpha, cue.text)))


def languages(cues: list[Cue], context: _Context) -> tuple[list[Cue], int]:
    """Dropped: a whole script in a language that is not one of those wanted. Too short a script is kept."""
    found = language_of(cue.text for cue in cues)
    return ([], len(cues)) if found is not None and found not in context.languages else (cues, 0)


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
    words = list(cue.words)
    while letters > 0 and words:
        spelt = "".join(words[0].text.split())
        letters -= len(spelt)
        words[:1] = [replace(words[0], text=spelt[letters:])] if letters < 0 else []  # the cut is inside this word
    start = words[0].start if words and words[0].start < cue.end else cue.start
    return replace(cue, start=start, text=text, words=tuple(words), raw=cue.raw or cue.text)


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


def _retimed(words: tuple[Word, ...], text: str) -> tuple[Word, ...] | None:
    """The words of a changed text. If only words went, the others keep their times, and so does each that was only
    spelt otherwise; else a letter keeps its word's time at both ends of the text, and in the middle by its place."""
    tokens = text.split()
    if len(tokens) == len(words) and all(
        set(word.text) & set(token) for word, token in zip(words, tokens, strict=True)
    ):
        return tuple(replace(word, text=token) for word, token in zip(words, tokens, strict=True))
    left = iter(words)
    same = [next((word for word in left if word.text == token), None) for token in tokens]
    if None not in same:
        return tuple(word for word in same if word is not None)
    owners = [word for word in words for _ in "".join(word.text.split())]
    if not owners:
        return None
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
    "entities_and_tags": entities_and_tags,
    "doubles": doubles,
    "rolling_repeats": rolling_repeats,
    "speaker_labels": speaker_labels,
    "sounds": sounds,
    "filler_runs": _texts(filler_runs),
    "no_letters": no_letters,
    "overlaps": overlaps,
    "languages": languages,
}
