"""Searches as the page shows them: many at a time, their moments with the words around them, and a word where there
is nothing to show."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scriptsight.errors import InputError
from scriptsight.page.asked import Asked
from scriptsight.page.lanes import Lane
from scriptsight.page.marking import parts, words_of
from scriptsight.page.shelf import Opened, Shelf
from scriptsight.redaction import redacted
from scriptsight.retrieve.search import Found, Sought

REMEMBERED = 512  # answers of late: people who type the same, go back, or share an address
MASKS = 16  # filters of late, a byte a moment each
FILTERS = {"collection": "collections", "label": "labels", "language": "languages", "split": "splits"}

Question = tuple[str | None, Asked]  # the name of a model, and what it is asked


@dataclass(frozen=True)
class Answer:
    """What a search found, or why it found nothing."""

    model: str
    moments: tuple[Mapping[str, Any], ...] = ()
    more: bool = False
    tells: bool = True
    message: str = ""
    remedy: str = ""


@dataclass
class _Memory:
    """What is remembered of one opened index: answers, and the rows that pass filters."""

    opened: Opened
    answers: OrderedDict[Asked, Answer] = field(default_factory=OrderedDict)
    masks: OrderedDict[Asked, np.ndarray | None] = field(default_factory=OrderedDict)  # by the filters alone


class Desk:
    """Answers searches. Those that look words up have a lane of their own, so that none by picture waits for them."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._memories: dict[str, _Memory] = {}
        self._lock = threading.Lock()
        self.by_picture: Lane[Question, Answer] = Lane(self._answers)
        self.by_words: Lane[Question, Answer] = Lane(self._answers)

    def lane(self, question: Asked) -> Lane[Question, Answer]:
        """Where this is to be asked."""
        return self.by_picture if question.by == "picture" and not question.said else self.by_words

    def _answers(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        """Equal questions have one answer; those with equal filters share a scan."""
        found: dict[Question, Answer | Exception] = {}
        together: defaultdict[tuple[str | None, Asked], list[Asked]] = defaultdict(list)
        for name, asked in dict.fromkeys(questions):
            together[name, replace(_filters(asked), by=asked.by, top=asked.top)].append(asked)
        for (name, _), alike in together.items():
            try:
                answers: Sequence[Answer | Exception] = self._alike(self._shelf.open(name), alike)
            except Exception as error:
                answers = [error] * len(alike)
            found |= {(name, asked): answer for asked, answer in zip(alike, answers, strict=True)}
        return [found[question] for question in questions]

    def _alike(self, opened: Opened, alike: Sequence[Asked]) -> list[Answer | Exception]:
        """Questions that differ only in what is looked for."""
        memory = self._memory(opened)
        with self._lock:
            answers: dict[Asked, Answer | Exception] = {
                asked: memory.answers[asked] for asked in alike if asked in memory.answers
            }
        new = [asked for asked in alike if asked not in answers]
        if new:
            made = self._found(opened, memory, new)
            with self._lock:
                for asked, answer in zip(new, made, strict=True):
                    answers[asked] = answer
                    if isinstance(answer, Answer):
                        memory.answers[asked] = answer
                while len(memory.answers) > REMEMBERED:
                    memory.answers.popitem(last=False)
        return [answers[asked] for asked in alike]

    def _found(self, opened: Opened, memory: _Memory, alike: Sequence[Asked]) -> list[Answer | Exception]:
        first = alike[0]
        if unknown := _unknown(opened, first):
            return [Answer(opened.name, message=unknown[0], remedy=unknown[1])] * len(alike)
        allowed = self._allowed(memory, _filters(first))
        if allowed is not None and not allowed.any():
            message, remedy = _none_left(opened, first)
            return [Answer(opened.name, message=message, remedy=remedy)] * len(alike)
        answers: dict[Asked, Answer | Exception] = {}
        sought: dict[Asked, Sought] = {}
        for asked, one in zip(alike, self._sought(opened, alike), strict=True):
            if isinstance(one, Exception):
                answers[asked] = one
            elif first.by != "words" and not opened.searcher.tells(one.vector):
                answers[asked] = _undecided(opened, asked, one.vector)
            else:
                sought[asked] = one
        found = opened.searcher.find(list(sought.values()), first.top + 1, first.by, allowed)
        for asked, stretches in zip(sought, found, strict=True):
            answers[asked] = _answer(opened, asked, stretches)
        return [answers[asked] for asked in alike]

    def _sought(self, opened: Opened, alike: Sequence[Asked]) -> list[Sought | Exception]:
        """Queries embedded, all words at once; what can't be is an error for its asker alone."""
        if alike[0].by == "words":
            return [Sought(np.empty(0, dtype=np.float32), asked.q) for asked in alike]
        words = [asked.q for asked in alike if asked.q]
        vectors = iter(opened.searcher.vectors(words) if words else ())
        found: list[Sought | Exception] = []
        for asked in alike:
            try:
                own = opened.row_of(asked.like) if asked.like else -1
                vector = next(vectors) if asked.q else asked.vector(self._shelf, opened)
                found.append(Sought(vector, asked.q, own))
            except Exception as error:
                found.append(error)
        return found

    def _allowed(self, memory: _Memory, filters: Asked) -> np.ndarray | None:
        """The rows that pass filters, bool [N]; None where nothing is filtered."""
        with self._lock:
            if filters in memory.masks:
                memory.masks.move_to_end(filters)
                return memory.masks[filters]
        mask = allowed(memory.opened, filters)
        with self._lock:
            memory.masks[filters] = mask
            if len(memory.masks) > MASKS:
                memory.masks.popitem(last=False)
        return mask

    def _memory(self, opened: Opened) -> _Memory:
        with self._lock:
            memory = self._memories.get(opened.name)
            if memory is None or memory.opened is not opened:
                memory = self._memories[opened.name] = _Memory(opened)
            return memory


def allowed(opened: Opened, asked: Asked) -> np.ndarray | None:
    """The rows that pass the filters of a query, bool [N]; None where nothing is filtered.

    Raises:
        InputError: a filter that no moment has.
    """
    return opened.searcher.index.allowed(
        asked.collections, asked.labels, asked.languages, asked.said, splits=asked.splits
    )


def moment(opened: Opened, found: Found, asked: Asked | None = None) -> dict[str, Any]:
    """A moment as the page gets it, but for its `uri`, which is as the index has it; `asked` says what is marked.

    The words are those of all segments of the video that lie within it.
    """
    row = found.rows[0]
    best, video = opened.moment(row), opened.video_of(row)
    start, end = opened.videos.stretch(found.rows)
    inside = [number for number in opened.videos.within(video, start, end) if number != row]
    cues = {(cue["start"], cue["end"], cue["text"]): None for cue in best["cues"]}
    for number in inside:
        cues |= {(cue["start"], cue["end"], cue["text"]): None for cue in opened.moment(number)["cues"]}
    marked = words_of(asked.q, asked.said) if asked else frozenset()
    words = []
    for begins, ends, text in sorted(cues):
        pieces = parts(text, marked)
        hit = any(is_hit for _, is_hit in pieces)
        words.append({"text": text, "start": begins, "end": ends, "hit": hit, "parts": pieces})
    return {
        "id": best["segment_id"],
        "row": row,
        "video": video.key,
        "title": title(video.uri),
        "uri": video.uri,
        **{name: best[name] for name in ("collection", "split", "label", "language")},
        "start": start,
        "end": end,
        "score": found.score,
        "score_kind": "cosine" if asked is None or asked.by == "picture" else "rank",
        "words": words,
        "judged": 0,
    }


def title(uri: str) -> str:
    """What people call a video: the name of its file."""
    return redacted(uri).rstrip("/").rpartition("/")[2] or uri


def _filters(asked: Asked) -> Asked:
    """The filters of a query alone."""
    return Asked(
        collections=asked.collections,
        labels=asked.labels,
        languages=asked.languages,
        splits=asked.splits,
        said=asked.said,
    )


def _answer(opened: Opened, asked: Asked, found: Sequence[Found]) -> Answer:
    moments = tuple(moment(opened, one, asked) for one in found[: asked.top])
    if not moments and asked.by == "words":
        where = " with these filters" if _filters(asked) != Asked() else ""
        return Answer(
            opened.name, message=f"None of these words is said in a moment{where}.", remedy="Search by picture."
        )
    return Answer(opened.name, moments, more=len(found) > asked.top)


def _undecided(opened: Opened, asked: Asked, vector: np.ndarray) -> Answer:
    low, high = opened.searcher.extremes(vector)
    said = " A search by words works." if asked.q else ""
    return Answer(
        opened.name,
        tells=False,
        message=f"All {len(opened.searcher.index):,} moments score alike ({low:.3f} to {high:.3f}): this model can't "
        "tell them apart.",
        remedy=f"Train longer, or on more videos.{said}",
    )


def _unknown(opened: Opened, asked: Asked) -> tuple[str, str] | None:
    """Message and remedy where no moment has a value that is filtered by, as a shared address may say."""
    for column, name in FILTERS.items():
        for value in getattr(asked, name):
            if value not in opened.facets[column]:
                return f"No moment has the {column} {value!r}.", f"Take away the filter by {column}."
    if asked.said and not words_of(asked.said):
        raise InputError("Name words that are said in the moment: signs alone are none.")
    return None


def _none_left(opened: Opened, asked: Asked) -> tuple[str, str]:
    """Message and remedy where no moment passes all the filters: which of them is to go."""
    without = [
        (count, column)
        for column, name in {**FILTERS, "said": "said"}.items()
        if getattr(asked, name) and (count := _count(opened, replace(asked, **{name: type(getattr(asked, name))()})))
    ]
    if not without:
        return "No moment with these filters.", "Take the filters away."
    count, column = max(without)
    what = "words said" if column == "said" else column
    return "No moment with these filters.", f"Without the filter by {what} there are {count:,}."


def _count(opened: Opened, asked: Asked) -> int:
    mask = allowed(opened, asked)
    return len(opened.searcher.index) if mask is None else int(mask.sum())
