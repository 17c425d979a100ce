"""What the page asks the index: its state, searches, and one moment with the words around it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight.page.shelf import Empty, Opened, Shelf
from scriptsight.retrieve.search import Filters, Like, Moment


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""

    def state(request: Request) -> Response:
        return JSONResponse(_state(shelf))

    def search(request: Request) -> Response:
        return JSONResponse(_search(shelf, request))

    return [Route("/api/state", state), Route("/api/search", search)]


def _state(shelf: Shelf) -> dict[str, Any]:
    models = []
    empty = None
    first: Opened | None = None
    for name in shelf.names:
        try:
            opened = shelf.open(name)
        except Empty as error:
            models.append({"name": name, "ready": False, "error": error.message, "remedy": error.remedy})
            if name == shelf.names[0]:
                empty = {"code": error.code, "message": error.message, "remedy": error.remedy}
            continue
        first = first or opened
        size = {"moments": len(opened.searcher.index), "videos": len(opened.videos)}
        models.append({"name": name, **size, "ready": True, "error": None, "remedy": None})
    moments = first.searcher.index.moments if first else None

    def values(column: str) -> list[str]:
        return sorted(filter(None, moments[column].unique().to_pylist())) if moments else []

    return {
        "workspace": shelf.workspace.name,
        "models": models,
        "collections": values("collection"),
        "labels": values("label"),
        "languages": values("language"),
        "splits": values("split"),
        "who": "",
        "examples": [],
        "empty": empty,
        "version": first.weights if first else "",
    }


def _search(shelf: Shelf, request: Request) -> dict[str, Any]:
    asked = request.query_params
    opened = shelf.open(asked.get("model"))
    filters = Filters(
        tuple(asked.getlist("collection")),
        tuple(asked.getlist("label")),
        tuple(asked.getlist("language")),
        asked.get("said", ""),
    )
    query = Like(asked["like"]) if "like" in asked else asked.get("q", "")
    by = asked.get("by", "picture")
    (found,) = opened.searcher.search([query], top=int(asked.get("top", 12)), by=by, filters=filters)  # type: ignore[arg-type]
    return {
        "model": opened.name,
        "query": dict(asked),
        "moments": [_moment(opened, one, by) for one in found],
        "more": False,
        "tells": True,
        "message": "",
        "remedy": "",
    }


def _moment(opened: Opened, found: Moment, by: str) -> dict[str, Any]:
    row = opened.row_of(found.segment_id)
    best = opened.moment(row)
    words = [
        {"text": cue["text"], "start": cue["start"], "end": cue["end"], "hit": False, "parts": [[cue["text"], False]]}
        for cue in best["cues"]
    ]
    return {
        "id": found.segment_id,
        "row": row,
        "video": opened.video_of(row).key,
        "title": found.uri.rpartition("/")[2],
        "uri": found.uri,
        **{name: best[name] for name in ("collection", "split", "label", "language")},
        "start": found.start,
        "end": found.end,
        "score": found.score,
        "score_kind": "cosine" if by == "picture" else "rank",
        "words": words,
        "judged": 0,
    }
