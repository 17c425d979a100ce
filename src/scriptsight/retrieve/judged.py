"""What an index is worth by the judgements of people: each query that they judged is asked of it again.

People judge what a model showed them, and another model shows other moments, of which nothing is known. So the
ranking is condensed (Sakai, SIGIR 2007): what nobody judged is left out of it, and precision at 5 and nDCG at 10
(Järvelin and Kekäläinen 2002) are those of the judged moments in the order that this model gives them. The figures
that count what nobody judged as wrong are told as well, and the share of the shown moments that was judged.

A judged stretch stands where the best segment stands that it holds for (`judgements.opinion_on`); it counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc

from scriptsight import files, statistics
from scriptsight import judgements as kept
from scriptsight.errors import InputError
from scriptsight.judgements import Judgement, Opinion, Stretch
from scriptsight.retrieve.index import Index
from scriptsight.retrieve.search import By, Filters, Like, Query, Searcher, Undecided

FIRST, RANKED = 5, 10  # of precision and of nDCG
SHOWN = 12  # moments that the page shows at first
DEPTH = 1000  # segments of a ranking that are looked through; a judged moment behind them was not found
FEWEST = 5  # queries, below which nothing can be told


@dataclass(frozen=True)
class Asked:
    """One query that people judged, and how this model answers it; shares from 0 to 1."""

    query: kept.Query
    opinions: str  # a digest of what people think: figures by other judgements can't be compared
    right: int  # judged moments that somebody calls right
    judged: int  # judged moments
    covered: float  # share of the shown moments that were judged
    p5: float
    ndcg10: float | None  # None: nothing is right, so no order is better
    raw_p5: float
    raw_ndcg10: float | None
    chance_p5: float  # of a random order of the judged moments, in the mean
    chance_ndcg10: float | None

    @property
    def item(self) -> str:
        """Its name in tables of two models, which are joined by it."""
        return f"{self.query.key}#{self.opinions}"


@dataclass(frozen=True)
class Judged:
    """The figures, the queries one by one, and why others were left out."""

    figures: dict[str, Any]
    asked: list[Asked]
    left_out: list[str]

    @property
    def says(self) -> list[str]:
        """What the figures come to, in lines for people."""
        told = [f"WARNING: a query that people judged is left out: {why}" for why in self.left_out]
        if not self.asked:
            return told
        figures, count = self.figures, len(self.asked)
        line = (
            f"{count:,} {'query' if count == 1 else 'queries'} that people judged: precision at 5 {figures['p5']:.3f}"
        )
        if "ndcg10" not in figures:
            return [*told, f"{line}; none has a moment that somebody calls right, so the order can't be measured"]
        line += f", nDCG at 10 {figures['ndcg10']:.3f} ({figures['ndcg10_low']:.3f} to {figures['ndcg10_high']:.3f})"
        line += f", of a random order {figures['chance_ndcg10']:.3f}"
        if count < FEWEST or figures["ndcg10_low"] <= figures["chance_ndcg10"]:
            line += ": too few judgements to tell the model's order from a random one"
        return [*told, line]


def measure(searcher: Searcher, judgements: Sequence[Judgement]) -> Judged:
    """Ask an index all judged queries again, by what and with what filters they were asked.

    Queries are left out that can't be asked any more (a clip, an example that is gone, a filter that the index does
    not know), and those of whose judged moments the index has no video. A model that can't tell moments apart by a
    query, so that a search shows nothing, is worth nothing to who asks it.
    """
    addresses = searcher.index.moments.select(["collection", "uri"]).group_by(["collection", "uri"]).aggregate([])
    videos = {(one["collection"], one["uri"]) for one in addresses.to_pylist()}
    queries = kept.by_query(judgements)
    asked, left_out, counted, gone = [], [], [], 0
    for query, opinions in queries.values():
        known = [one for one in opinions if (one.stretch.collection, one.stretch.uri) in videos]
        gone += len(opinions) - len(known)
        if not known:
            left_out.append(f"{str(query)!r}: the index has no video of its judged moments")
            continue
        try:
            asked.append(_ask(searcher, query, known))
        except InputError as error:
            left_out.append(f"{str(query)!r}: {error}")
            continue
        counted += known
    figures = {**_figures(asked), **_agreement(counted)} if asked else {}
    votes = [who for one in counted for who in one.votes]
    counts = {"queries": len(asked), "judgements": len(votes), "people": len(set(votes))}
    return Judged({**counts, "left_out": len(left_out), "gone": gone, **figures}, asked, left_out)


def _ask(searcher: Searcher, query: kept.Query, opinions: list[Opinion]) -> Asked:
    found = _query(searcher, query)
    by, filters = (
        cast(By, query.by),
        Filters(query.collections, query.labels, query.languages, query.said, query.splits),
    )
    try:
        rows = searcher.ranking(found, top=DEPTH, by=by, filters=filters)
        (shown,) = searcher.search([found], top=SHOWN, by=by, filters=filters)
    except Undecided:
        rows, shown = np.empty(0, dtype=np.int64), []
    hits = searcher.index.described(rows, ["collection", "uri", "start", "end"])
    ranked = _gains([Stretch(**hit) for hit in hits], opinions)
    on_page = [Stretch(one.collection, one.uri, one.start, one.end) for one in shown]
    page = _gains(on_page, opinions)
    condensed, raw = [gain for gain in ranked if gain is not None], [gain or 0.0 for gain in page]
    best = sorted((one.gain for one in opinions), reverse=True)
    first = min(FIRST, len(best))
    return Asked(
        query=query,
        opinions=_digest(opinions),
        right=sum(gain > 0 for gain in best),
        judged=len(best),
        covered=sum(kept.opinion_on(one, opinions) is not None for one in on_page) / max(1, len(on_page)),
        p5=sum(condensed[:first]) / first,
        ndcg10=ndcg(condensed, best),
        raw_p5=sum(raw[:FIRST]) / FIRST,
        raw_ndcg10=ndcg(raw, best),
        chance_p5=float(np.mean(best)),
        chance_ndcg10=ndcg([float(np.mean(best))] * len(best), best),  # linear in the gains, so that of their mean
    )


def ndcg(gains: Sequence[float], best: Sequence[float]) -> float | None:
    """Normalised discounted cumulative gain of the first 10, log2(1 + rank) the discount; None where nothing has a
    gain.

    Args:
        gains: of what was found, in its order, 0 to 1.
        best: of all that could be found, the largest first.
    """
    discounts = 1 / np.log2(np.arange(2, RANKED + 2))

    def dcg(values: Sequence[float]) -> float:
        part = np.asarray(values[:RANKED], dtype=np.float64)
        return float(part @ discounts[: len(part)])

    ideal = dcg(best)
    return dcg(gains) / ideal if ideal else None


def _gains(stretches: Sequence[Stretch], opinions: Sequence[Opinion]) -> list[float | None]:
    """What people think of each stretch: None where nobody judged it, or where one before has its opinion already."""
    used: set[int] = set()
    found: list[float | None] = []
    for one in stretches:
        opinion = kept.opinion_on(one, opinions)
        found.append(None if opinion is None or id(opinion) in used else opinion.gain)
        used.add(id(opinion))
    return found


def _query(searcher: Searcher, query: kept.Query) -> Query:
    """A query as this index takes it.

    Raises:
        InputError: it is a clip, or no segment shows its example.
    """
    if query.clip:
        raise InputError("a clip that was dropped on the page is not kept")
    return query.words if query.like is None else Like(segment_like(searcher.index, query.like))


def segment_like(index: Index, stretch: Stretch) -> str:
    """The id of the segment that shows a stretch best.

    Raises:
        InputError: none overlaps it by half of what both cover.
    """
    moments = index.moments
    own = pc.and_(pc.equal(moments["collection"], stretch.collection), pc.equal(moments["uri"], stretch.uri))
    rows = moments.select(["collection", "uri", "start", "end", "segment_id"]).filter(own).to_pylist()
    overlaps = {row.pop("segment_id"): Stretch(**row).overlap(stretch) for row in rows}
    best = max(overlaps, key=lambda segment_id: overlaps[segment_id], default="")
    if overlaps.get(best, 0.0) < kept.OVERLAP:
        raise InputError("no segment of the index shows its example")
    return best


def _digest(opinions: Sequence[Opinion]) -> str:
    stretches = sorted((one.stretch.collection, one.stretch.uri, one.stretch.start, one.gain) for one in opinions)
    return blake2b(repr(stretches).encode(), digest_size=4).hexdigest()


def table(found: Judged, path: Path) -> Path:
    """Write the queries that people judged, one a line, as CSV."""
    head = ["query", "by", "right", "judged", "covered", "p5", "ndcg10", "raw_p5", "raw_ndcg10"]
    rows = []
    for one in found.asked:
        row = [kept.safe_cell(str(one.query)), one.query.by, one.right, one.judged, one.covered]
        rows.append([*row, one.p5, one.ndcg10, one.raw_p5, one.raw_ndcg10])
    files.write_csv(path, head, rows)
    return path


# --------------------------------------------------------------------------------------------------- figures


def _figures(asked: Sequence[Asked]) -> dict[str, float]:
    """Means over queries, and their 95% intervals; queries that look for the same are redrawn together."""
    found: dict[str, float] = {}
    for name in ("p5", "ndcg10"):
        with_value = [one for one in asked if getattr(one, name) is not None]
        if not with_value:
            continue
        values = np.array([getattr(one, name) for one in with_value])
        found[name] = float(values.mean())
        groups = statistics.numbered([one.query.need for one in with_value])
        found[f"{name}_low"], found[f"{name}_high"] = statistics.interval(values, groups)
        for other in (f"chance_{name}", f"raw_{name}"):
            found[other] = float(np.mean([getattr(one, other) for one in with_value]))
    return found | {"coverage": float(np.mean([one.covered for one in asked]))}


def _agreement(opinions: Sequence[Opinion]) -> dict[str, Any]:
    """How often two people who judged the same moment for the same query say the same, beside the chance of people
    who say "right" as often as these do and look at nothing; and kappa, the share of what is possible above that
    chance (Scott's of 1955, for Cohen's is of two people who judge everything)."""
    pairs = same = ups = 0
    for one in opinions:
        votes, up = len(one.votes), sum(vote == kept.UP for vote in one.votes.values())
        pairs += votes * (votes - 1) // 2
        same += (up * (up - 1) + (votes - up) * (votes - up - 1)) // 2
        ups += up * (votes - 1)  # each pair has two votes: these count as often as they are in one
    if not pairs:
        return {}
    right = ups / (2 * pairs)
    chance = right**2 + (1 - right) ** 2
    found = {"pairs": pairs, "share": same / pairs, "chance": chance}
    return {"agreement": found if chance == 1 else found | {"kappa": (same / pairs - chance) / (1 - chance)}}
