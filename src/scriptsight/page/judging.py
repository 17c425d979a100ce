"""Thumbs up and down on the page: kept in the workspace, listed, and shown with the moments of a search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight import judgements
from scriptsight.errors import InputError
from scriptsight.judgements import BACK, NOBODY, Judgement, Opinion, Query, Store, Stretch
from scriptsight.page.asked import Asked, asked
from scriptsight.page.shelf import Empty, Opened, Shelf
from scriptsight.redaction import redacted
from scriptsight.retrieve.judged import segment_like
from scriptsight.retrieve.search import Filters, Like, Undecided

NEWEST = 1000  # judgements of the list
WHO = "scriptsight-who"  # the cookie with the name that was given last, so that a search can show a person's own
TOPS = (12, 48, 200)  # moments among which the one that is judged is looked for
FILTERS = {"collection": "collections", "label": "labels", "language": "languages", "split": "splits"}


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""
    store = Store(shelf.workspace / judgements.FILE)

    async def judge(request: Request) -> Response:
        given = _json(await request.body())
        one = await run_in_threadpool(_judge, shelf, store, given)
        answer = JSONResponse({"judged": one.verdict})
        year = 365 * 24 * 3600
        answer.set_cookie(WHO, quote(one.who), max_age=year, httponly=True, samesite="strict")
        return answer

    def listed(request: Request) -> Response:
        return JSONResponse(_listed(shelf, store))

    def table(request: Request) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="judgements.csv"'}
        rows = [_without_credentials(one) for one in store.read()]
        return Response(judgements.to_csv(rows), media_type="text/csv", headers=headers)

    return [
        Route("/api/judge", judge, methods=["POST"]),
        Route("/api/judgements", listed),
        Route("/judgements.csv", table),
    ]


def who_of(request: Request) -> str:
    """The name under which this browser judged last, "" where it gave none."""
    name = unquote(request.cookies.get(WHO, ""))[: judgements.LONGEST_NAME]
    return "" if name == NOBODY else name


def query_of(given: Asked, shelf: Shelf, opened: Opened) -> Query:
    """What was asked, as judgements know it.

    Raises:
        Missing: the index lacks the example, or the clip is no longer kept.
    """
    return Query(
        words=given.q,
        like=_stretch(opened, opened.row_of(given.like)) if given.like else None,
        clip=shelf.clips.get(given.clip).digest if given.clip else "",
        by=given.by,
        **{name: getattr(given, name) for name in (*FILTERS.values(), "said")},
    )


def judged(shelf: Shelf, query: Query, who: str, stretches: Sequence[Stretch]) -> list[int]:
    """What a person said of moments that answer a query: 1, -1, or 0 where they said nothing.

    Raises:
        InputError: the judgements can't be read.
    """
    own = [one for one in Store(shelf.workspace / judgements.FILE).read(query.key) if one.who == (who or NOBODY)]
    known = judgements.opinions(own)
    return [_verdict(judgements.opinion_on(one, known)) for one in stretches]


def _verdict(opinion: Opinion | None) -> int:
    return BACK if opinion is None else next(iter(opinion.votes.values()))


def _json(text: bytes) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("This is no JSON.") from error
    if not isinstance(given, dict) or not isinstance(given.get("query"), dict):
        raise InputError('A judgement has a query and a moment: {"query": {"q": "words"}, "moment": "ID", ...}.')
    return given


def _judge(shelf: Shelf, store: Store, given: dict[str, Any]) -> Judgement:
    """Keep a judgement, with the place that the moment has in the answer."""
    verdict, who, moment, model = (given.get(name) for name in ("verdict", "who", "moment", "model"))
    if isinstance(verdict, bool) or not isinstance(verdict, int):
        raise InputError("A verdict is 1 (up), -1 (down) or 0 (taken back).")
    if not all(one is None or isinstance(one, str) for one in (who, moment, model)):
        raise InputError("who, moment and model are texts.")
    opened = shelf.open(model or None)
    question = asked(QueryParams(list(_pairs(given["query"]))))
    row = opened.row_of(moment or "")
    rank, score, stretch = _place(opened, question, row)
    one = Judgement(
        who=" ".join((who or "").split()) or NOBODY,
        verdict=verdict,
        query=query_of(question, shelf, opened),
        stretch=stretch,
        segment_id=moment or "",
        model=opened.name,
        weights=opened.weights,
        rank=rank,
        score=score,
    )
    store.add(one)
    return one


def _pairs(query: dict[str, Any]) -> list[tuple[str, str]]:
    """A query of JSON as the parameters of an address."""
    listed = {name: values if isinstance(values, list) else [values] for name, values in query.items()}
    named = [(name, value) for name, values in listed.items() for value in values]
    if not all(isinstance(value, str) for _, value in named):
        raise InputError("What a query names are texts, or lists of them.")
    return named


def _stretch(opened: Opened, row: int) -> Stretch:
    return Stretch(**{name: opened.moment(row)[name] for name in ("collection", "uri", "start", "end")})


def _place(opened: Opened, question: Asked, row: int) -> tuple[int | None, float | None, Stretch]:
    """Rank from 1, score and stretch of a moment in the answer to a query; where it is not among the first, or the
    query is a clip, its segment alone."""
    segment_id = opened.moment(row)["segment_id"]
    filters = Filters(question.collections, question.labels, question.languages, question.said, question.splits)
    for top in () if question.clip else TOPS:
        query = Like(question.like) if question.like else question.q
        try:
            (found,) = opened.searcher.search([query], top=top, by=question.by, filters=filters)
        except Undecided:
            break
        for rank, one in enumerate(found, start=1):
            if one.segment_id == segment_id:
                return rank, one.score, Stretch(one.collection, one.uri, one.start, one.end)
        if len(found) < top:
            break
    return None, None, _stretch(opened, row)


def _listed(shelf: Shelf, store: Store) -> list[dict[str, Any]]:
    """The judgements that count, the newest first."""
    counted = [
        (one, query)
        for query, opinions in judgements.by_query(store.read()).values()
        for opinion in opinions
        for one in opinion.latest.values()
    ]
    counted.sort(key=lambda pair: pair[0].at, reverse=True)
    return [_shown(shelf, one, query) for one, query in counted[:NEWEST]]


def _shown(shelf: Shelf, one: Judgement, query: Query) -> dict[str, Any]:
    return {
        "when": one.at,
        "who": "" if one.who == NOBODY else one.who,
        "verdict": one.verdict,
        "query": _address(shelf, query),
        "moment": one.segment_id,
        "title": redacted(one.stretch.uri).rpartition("/")[2],
        **{"collection": one.stretch.collection, "start": one.stretch.start, "end": one.stretch.end},
        **{"model": one.model, "rank": one.rank, "score": one.score},
    }


def _without_credentials(one: Judgement) -> Judgement:
    """As it is shown: addresses of videos may have logins and signatures in them."""

    def hidden(stretch: Stretch) -> Stretch:
        return replace(stretch, uri=redacted(stretch.uri))

    like = one.query.like and hidden(one.query.like)
    return replace(one, stretch=hidden(one.stretch), query=replace(one.query, like=like))


def _address(shelf: Shelf, query: Query) -> dict[str, Any]:
    """A query as the parameters of the page's address; without the clip, which is not kept for long."""
    found: dict[str, Any] = {"by": query.by}
    found |= {name: list(getattr(query, values)) for name, values in FILTERS.items() if getattr(query, values)}
    found |= {name: text for name, text in (("q", query.words), ("said", query.said)) if text}
    if query.like:
        try:
            found["like"] = segment_like(shelf.open().searcher.index, query.like)
        except (Empty, InputError):
            found["like"] = ""
    return found
