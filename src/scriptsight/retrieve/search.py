"""Asking an index: by words, by a video file or by an example; what comes back are moments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scriptsight import films, finite
from scriptsight.errors import InputError
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve.index import Index
from scriptsight.spreading import evenly

By = Literal["picture", "words", "both"]
GAP = 1.0  # seconds: hits of one video that are no further apart are one moment
FUSED = 60  # k of reciprocal rank fusion, as published
DEPTH = 200  # hits of each ranking that are fused, or more where more moments are asked for
CLOSE = 0.95  # mean cosine of two moments, over which a model may have one place for everything: `Searcher.tells`
ALIKE = 0.02  # cosines of one query that all lie within so little tell nothing then
SAMPLE = 1024  # moments that are looked at first


@dataclass(frozen=True)
class Like:
    """A query by example: the moment with this segment id."""

    segment_id: str


Query = str | Path | Like  # words, a video file, or an example


@dataclass(frozen=True)
class Filters:
    """What a moment must be to be found; nothing named filters nothing."""

    collections: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    said: str = ""  # words that are all spoken in it
    splits: tuple[str, ...] = ()  # train, val, test

    def __str__(self) -> str:
        """As they are typed: `language en, said 'a circle'`; empty where nothing is filtered."""
        kinds = ("collection", "label", "language", "split")
        named = zip(kinds, (self.collections, self.labels, self.languages, self.splits), strict=True)
        parts = [f"{kind} {' or '.join(values)}" for kind, values in named if values]
        return ", ".join([*parts, *([f"said {self.said!r}"] if self.said else [])])


@dataclass(frozen=True)
class Moment:
    """A stretch of a video, `start` to `end` seconds, and its words.

    Neighbouring hits are one moment: its `score`, `cue` and `segment_id` are those of the best of them. The
    score is the cosine of picture and query; of a search by words, or by both, it is the reciprocal rank or
    the sum of the two, which says nothing but the order.
    """

    uri: str
    start: float
    end: float
    score: float
    cue: str  # of the best hit, the one with most words of the query, else in its middle; "" where none is spoken
    text: str
    segment_id: str
    collection: str
    split: str  # "train": the model learned from it
    label: str | None  # where there is one
    language: str | None


@dataclass(frozen=True)
class Sought:
    """A query that was embedded."""

    vector: np.ndarray  # unit vector float32 [E]; not looked at in a search by words
    words: str = ""
    own: int = -1  # the row that is the example itself, and so no answer


@dataclass(frozen=True)
class Found:
    """A moment as rows of the index: the hits that it consists of, the best first, and the score of that."""

    rows: tuple[int, ...]
    score: float


class Undecided(InputError):
    """All moments score alike for a query: to rank them would be to roll dice. The message is what was `found` and
    the `remedy`."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found} {remedy}")
        self.found, self.remedy = found, remedy

    def __reduce__(self) -> tuple[type[Undecided], tuple[str, str]]:  # else it would not pickle
        return type(self), (self.found, self.remedy)


class Searcher:
    """A model and its index, opened once for many queries."""

    def __init__(self, index: str | Path = Path("models/index"), bundle: str | Path = Path("models/pretrained")):
        self.encoder: Encoder = bundles.load(bundle)
        self.index: Index = indexes.read(index, bundles.weights_digest(bundle), bundle)
        self._sample = np.array(self.index.embeddings[evenly(len(self.index), SAMPLE)])

    def search(
        self, queries: Sequence[Query], *, top: int = 5, by: By = "picture", filters: Filters | None = None
    ) -> list[list[Moment]]:
        """The `top` moments for each query, best first; fewer where there are no more.

        Args:
            by: "picture" goes by embeddings; "words" by BM25 over what is said; "both" joins the two rankings by
                reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009). Words can only be asked for in words.

        Raises:
            Undecided: the model can't tell the moments apart by a query; by "words" there is no such question.
            InputError: a query without words, a file that can't be decoded, an unknown segment id or filter,
                `top` under 1, or a video or an example with `by` other than "picture".
        """
        sought, allowed = self._prepared(queries, top, by, filters or Filters())
        return [
            [self._moment(one, query) for one in found]
            for query, found in zip(queries, self.find(sought, top, by, allowed), strict=True)
        ]

    def ranking(self, query: Query, *, top: int, by: By = "picture", filters: Filters | None = None) -> np.ndarray:
        """The rows of the index that answer a query, int64, the best first, `top` at most: segments one by one, not
        merged to moments, and without the example itself.

        Raises:
            Undecided, InputError: see `search`.
        """
        sought, allowed = self._prepared([query], top, by, filters or Filters())
        ((rows, _),) = self._hits(sought, top + 1, by, allowed)
        return rows[rows != sought[0].own][:top]

    def _prepared(
        self, queries: Sequence[Query], top: int, by: By, wanted: Filters
    ) -> tuple[list[Sought], np.ndarray | None]:
        """Queries that may be asked, embedded, and the rows that may answer, bool [N]; None: all may."""
        _check(queries, top, by, wanted.said)
        allowed = self.index.allowed(
            wanted.collections, wanted.labels, wanted.languages, wanted.said, splits=wanted.splits
        )
        vectors = self.vectors(queries) if by != "words" else np.empty((len(queries), 0), dtype=np.float32)
        if by != "words":
            for query, vector in zip(queries, vectors, strict=True):
                self._require_to_tell(query, vector)
        return [self._sought(query, vector) for query, vector in zip(queries, vectors, strict=True)], allowed

    def find(self, sought: Sequence[Sought], top: int, by: By, allowed: np.ndarray | None) -> list[list[Found]]:
        """What `search` finds, as rows of the index; all queries share one scan.

        Args:
            allowed: bool [N], the rows that may be found; None allows all.
        """
        answers: list[list[Found]] = [[] for _ in sought]
        waiting, count = list(range(len(sought))), 4 * top
        while waiting:
            hits = self._hits([sought[number] for number in waiting], count, by, allowed)
            short = []
            for number, (rows, scores) in zip(waiting, hits, strict=True):
                others = rows != sought[number].own
                answers[number] = self._merged(rows[others], scores[others], top)
                if len(answers[number]) < top and len(rows) == count:
                    short.append(number)  # merging left too few
            waiting, count = short, 4 * count
        return answers

    def vectors(self, queries: Sequence[Query]) -> np.ndarray:
        """Queries as unit vectors float32 [Q, E]."""
        found = np.empty((len(queries), self.encoder.embed_dim), dtype=np.float32)
        words = [number for number, query in enumerate(queries) if isinstance(query, str)]
        if words:
            found[words] = self.encoder.encode_text([str(queries[number]) for number in words]).cpu().numpy()
        for number, query in enumerate(queries):
            if isinstance(query, Like):
                found[number] = self.index.embeddings[self.index.row_of(query.segment_id)]
            elif isinstance(query, Path):
                found[number] = films.mean(films.embed(query, self.encoder).vectors)
        finite.check(found, "the model's vectors of the queries")
        return found

    def tells(self, vector: np.ndarray) -> bool:
        """Whether the scores of a query, a unit vector [E], tell the moments of the whole index apart.

        A collapsed model has one place for everything: every query scores the same everywhere, and what comes first
        is noise. It is taken for one if two moments have a cosine over `CLOSE` in the mean, and all scores of this
        query lie within `ALIKE`: at the temperature that models learn with, 0.05, the best of such moments is
        preferred to the worst by 3 to 2 at most. Without the first, a query could score alike by chance.
        """
        count = len(self._sample)
        if count < 2 or np.ptp(self._sample @ vector) >= ALIKE:
            return True
        squared = float(np.square(self._sample.mean(axis=0, dtype=np.float64)).sum())
        if (count * squared - 1) / (count - 1) < CLOSE:  # the mean cosine, of all pairs at once
            return True
        low, high = self.extremes(vector)
        return high - low >= ALIKE

    def extremes(self, vector: np.ndarray) -> tuple[float, float]:
        """The lowest and the highest score of a query, a unit vector [E], among all moments."""
        (_, highest), (_, lowest) = (self.index.nearest(sign * vector[None], 1, exact=True) for sign in (1, -1))
        return -float(lowest[0, 0]), float(highest[0, 0])

    def _require_to_tell(self, query: Query, vector: np.ndarray) -> None:
        if self.tells(vector):
            return
        low, high = self.extremes(vector)
        said = ' By words works: --by words (Python: by="words").' if isinstance(query, str) else ""
        raise Undecided(
            f"All {len(self.index):,} moments score alike ({low:.3f} to {high:.3f}): this model can't tell them "
            "apart.",
            f"Train longer, or on more videos.{said}",
        )

    def _sought(self, query: Query, vector: np.ndarray) -> Sought:
        if isinstance(query, Like):
            return Sought(vector, own=self.index.row_of(query.segment_id))
        return Sought(vector, query if isinstance(query, str) else "")

    def _hits(
        self, sought: Sequence[Sought], count: int, by: By, allowed: np.ndarray | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and scores of each query, the best first; under `count` of them only if there are no more."""
        depth = count if by == "picture" else max(DEPTH, count)
        said = [] if by == "picture" else [self._said(one.words, depth, allowed) for one in sought]
        if by == "words":
            return [_fused([rows], count) for rows in said]
        graphed = self.index.graph is not None
        rows, scores = self.index.nearest(np.stack([one.vector for one in sought]), depth, allowed, not graphed)
        if by == "picture":
            return list(zip(rows, scores, strict=True))
        return [_fused(list(rankings), count) for rankings in zip(said, rows, strict=True)]

    def _said(self, query: str, depth: int, allowed: np.ndarray | None) -> np.ndarray:
        """Rows in which words of the query are said, the best first, `depth` at most."""
        count = depth
        while True:
            best = self.index.words.best(query, count)
            rows = best if allowed is None else best[allowed[best]]
            if len(rows) >= depth or len(best) < count:
                return rows[:depth]
            count *= 16  # a filter left too few

    def _merged(self, rows: np.ndarray, scores: np.ndarray, top: int) -> list[Found]:
        """Go through hits, the best first: one beside a moment of the same video joins it, another is a new one."""
        places = self.index.moments.select(["collection", "uri", "start", "end"])
        hits: list[dict[str, Any]] = []
        moments: list[list[int]] = []  # the hits of each, the best first
        for number, row in enumerate(rows.tolist()):
            hits += places.slice(row, 1).to_pylist()  # `take` looks through all of a large table
            near = next((moment for moment in moments if _beside(hits[-1], [hits[one] for one in moment])), None)
            if near is not None:
                near.append(number)
            elif len(moments) < top:
                moments.append([number])
            else:
                break
        return [Found(tuple(rows[moment].tolist()), float(scores[moment[0]])) for moment in moments]

    def _moment(self, found: Found, query: Query) -> Moment:
        parts = [part for row in found.rows for part in self.index.moments.slice(row, 1).to_pylist()]
        return _moment(parts, found.score, query)


def search(
    queries: Sequence[Query],
    *,
    index: str | Path = Path("models/index"),
    bundle: str | Path = Path("models/pretrained"),
    top: int = 5,
    by: By = "picture",
    filters: Filters | None = None,
) -> list[list[Moment]]:
    """The `top` moments that answer each query best; see `Searcher.search`, which is for many calls.

    Raises:
        Undecided: see `Searcher.search`.
        InputError: what `Searcher.search` raises, a missing or damaged index or model, or an index that
            another model made.
    """
    return Searcher(index, bundle).search(queries, top=top, by=by, filters=filters)


def _check(queries: Sequence[Query], top: int, by: By, said: str) -> None:
    # What is said is looked up word by word: signs alone would find nothing, without a word about why.
    looked_up = [said] if said else []
    looked_up += [query for query in queries if isinstance(query, str) and by == "words"]
    if signs := [text for text in looked_up if not re.search(r"\w", text)]:
        raise InputError(f"{signs[0]!r} has no words: name some that are said in the moment.")
    if blank := [query for query in queries if isinstance(query, str) and not query.strip()]:
        raise InputError(f"The query {blank[0]!r} has no words: say what the video should show.")
    if top < 1:
        raise InputError(f"top is {top}: ask for one moment or more.")
    if by != "picture" and any(not isinstance(query, str) for query in queries):
        raise InputError(f"A search by {by} takes words: a video or an example is searched for by picture.")


def _fused(rankings: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rankings joined: a row's score is the sum of 1 / (60 + its rank) over them. Ties go to the earlier row."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, number in enumerate(ranking.tolist(), start=1):
            scores[number] += 1 / (FUSED + rank)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:count]
    return np.array([number for number, _ in ordered], dtype=np.int64), np.array([score for _, score in ordered])


def _beside(hit: dict[str, Any], moment: Sequence[dict[str, Any]]) -> bool:
    """Whether a hit overlaps a moment of its video, or lies within GAP seconds of it."""
    first = moment[0]
    if (hit["collection"], hit["uri"]) != (first["collection"], first["uri"]):
        return False
    start, end = min(part["start"] for part in moment), max(part["end"] for part in moment)
    return bool(hit["start"] <= end + GAP and hit["end"] >= start - GAP)


def _moment(parts: Sequence[dict[str, Any]], score: float, query: Query) -> Moment:
    best, in_time = parts[0], sorted(parts, key=lambda part: part["start"])
    return Moment(
        uri=best["uri"],
        start=in_time[0]["start"],
        end=max(part["end"] for part in parts),
        score=score,
        cue=_cue(best, query),
        text=" / ".join(part["text"] for part in in_time if part["text"]),
        **{name: best[name] for name in ("segment_id", "collection", "split", "label", "language")},
    )


def _cue(hit: dict[str, Any], query: Query) -> str:
    """What is said in a hit: the cue with most words of the query, of several the one nearest its middle."""
    asked = set(re.findall(r"\w+", query.lower())) if isinstance(query, str) else set()
    middle = (hit["start"] + hit["end"]) / 2

    def fit(cue: dict[str, Any]) -> tuple[int, float]:
        said = set(re.findall(r"\w+", cue["text"].lower()))
        return len(asked & said), -abs((cue["start"] + cue["end"]) / 2 - middle)

    return str(max(hit["cues"], key=fit)["text"]) if hit["cues"] else ""
