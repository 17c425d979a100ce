"""What the page asks the index: its state, searches, and one moment with all that is said in its video."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight.errors import InputError
from scriptsight.judgements import Stretch
from scriptsight.page import judging
from scriptsight.page.answering import Answer, Desk, moment
from scriptsight.page.asked import Asked, asked, model_of
from scriptsight.page.lanes import Busy
from scriptsight.page.shelf import Empty, Missing, Opened, Shelf
from scriptsight.redaction import redacted
from scriptsight.retrieve.search import Found

OFFERED = 300  # values of a filter: a menu is no longer than that
STRETCH = ("collection", "uri", "start", "end")
GONE = 499  # the status of an answer that nobody waits for any more


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""
    desk = Desk(shelf)

    def state(request: Request) -> Response:
        return JSONResponse(_state(shelf, judging.who_of(request)))

    async def search(request: Request) -> Response:
        begun = time.perf_counter()
        question = asked(request.query_params)
        try:
            future = desk.lane(question).ask((model_of(request.query_params), question))
        except Busy:
            error = {"error": "Too many people are searching at this moment.", "remedy": "Try again in a second."}
            return JSONResponse(error, status_code=503, headers={"Retry-After": "1"})
        answer = await _unless_gone(request, asyncio.wrap_future(future))
        if answer is None:
            return Response(status_code=GONE)
        who = request.query_params.get("who") or judging.who_of(request)
        shown = await run_in_threadpool(_with_judgements, shelf, question, answer, who)
        echo = {name: request.query_params.getlist(name) for name in request.query_params}
        return JSONResponse(
            {
                "model": answer.model,
                "query": echo,
                "moments": shown,
                **{name: getattr(answer, name) for name in ("more", "tells", "message", "remedy")},
                "seconds": round(time.perf_counter() - begun, 4),
            }
        )

    def one(request: Request) -> Response:
        opened = shelf.open(model_of(request.query_params))
        return JSONResponse(_moment(opened, request.path_params["segment_id"], _asked_or_none(request)))

    return [
        Route("/api/state", state),
        Route("/api/search", search),
        Route("/api/moment/{segment_id:path}", one),
    ]


async def _unless_gone(request: Request, answer: asyncio.Future[Answer]) -> Answer | None:
    """The answer; None, and it isn't made if its turn has not come, where the browser hung up before: somebody typed
    on."""
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        gone.cancel()
        answer.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _with_judgements(shelf: Shelf, question: Asked, answer: Answer, who: str) -> list[dict[str, Any]]:
    """The moments of an answer with what a person said of them; without, where the judgements can't be read, which
    the page of judgements says."""
    if not answer.moments:
        return []
    try:
        query = judging.query_of(question, shelf, shelf.open(answer.model))
        places = [Stretch(**{key: one[key] for key in STRETCH}) for one in answer.moments]
        verdicts: Sequence[int] = judging.judged(shelf, query, who, places)
    except (InputError, Missing, Empty):
        verdicts = [0] * len(answer.moments)
    return [_sent(one, verdict) for one, verdict in zip(answer.moments, verdicts, strict=True)]


def _sent(one: Mapping[str, Any], verdict: int = 0) -> dict[str, Any]:
    return {**one, "uri": redacted(one["uri"]), "judged": verdict}


def _asked_or_none(request: Request) -> Asked | None:
    """The query whose words are marked, where the address names one."""
    try:
        return asked(request.query_params)
    except InputError:
        return None


def _moment(opened: Opened, segment_id: str, question: Asked | None) -> dict[str, Any]:
    """One moment, and all that is said in its video in order of time."""
    row = opened.row_of(segment_id)
    video = opened.video_of(row)
    said = {
        (cue["start"], cue["end"], cue["text"]): None
        for one in opened.searcher.index.described(video.rows, ["cues"])
        for cue in one["cues"]
    }
    transcript = [{"start": start, "end": end, "text": text} for start, end, text in sorted(said)]
    return {**_sent(moment(opened, Found((row,), 0.0), question)), "transcript": transcript}


def _state(shelf: Shelf, who: str) -> dict[str, Any]:
    models: list[dict[str, Any]] = []
    empty: dict[str, str] | None = None
    opened: dict[str, Opened] = {}
    for name in shelf.names:
        try:
            opened[name] = shelf.open(name)
            size = {"moments": len(opened[name].searcher.index), "videos": len(opened[name].videos)}
            models.append({"name": name, **size, "ready": True, "error": None, "remedy": None})
        except Empty as error:
            told = {"error": error.message, "remedy": error.remedy}
            models.append({"name": name, "moments": 0, "videos": 0, "ready": False, **told})
            if name == shelf.names[0]:
                empty = {"code": error.code, "message": error.message, "remedy": error.remedy}
    own = opened.get(shelf.names[0])

    def values(column: str) -> list[str]:
        return sorted(own.facets[column])[:OFFERED] if own else []

    return {
        "workspace": shelf.workspace.name,
        "models": models,
        "collections": values("collection"),
        "labels": values("label"),
        "languages": values("language"),
        "splits": values("split"),
        "who": who,
        "examples": list(own.examples) if own else [],
        "empty": empty,
        "version": " ".join(one.version for one in opened.values()),
    }
