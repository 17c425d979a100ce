"""The map of the corpus: where the retrieve stage laid out the moments in two dimensions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight.errors import InputError
from scriptsight.page.answering import title
from scriptsight.page.asked import model_of
from scriptsight.page.shelf import Opened, Shelf

COLOURS = ("label", "collection", "split")
MAP = "plots/retrieve/map.parquet"


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""
    kept: dict[tuple[str, str], tuple[object, bytes]] = {}  # (model, colour) -> what it was made from, and the answer
    alone = threading.Lock()

    def map_of(request: Request) -> Response:
        opened = shelf.open(model_of(request.query_params))
        colour = request.query_params.get("color") or COLOURS[0]
        if colour not in COLOURS:
            raise InputError(f"A map is coloured by {', '.join(COLOURS[:-1])} or {COLOURS[-1]}.")
        path = opened.folder / MAP
        if not path.is_file():
            remedy = "pip install 'scriptsight[search]', see that retrieve.map_points is over 0, and: scriptsight run"
            return JSONResponse({"error": "There is no map of these moments.", "remedy": remedy}, status_code=404)
        made_from = opened.version, path.stat().st_mtime_ns
        with alone:
            if kept.get((opened.name, colour), (None,))[0] != made_from:
                answer = JSONResponse(_map(opened, pq.read_table(path), colour))
                kept[opened.name, colour] = made_from, bytes(answer.body)
            return Response(kept[opened.name, colour][1], media_type="application/json")

    return [Route("/api/map", map_of)]


def _map(opened: Opened, laid_out: pa.Table, colour: str) -> Mapping[str, Any]:
    """The points whose moments the index still has."""
    moments = opened.searcher.index.moments
    rows = pc.index_in(laid_out["segment_id"], value_set=moments["segment_id"].combine_chunks())
    there = pc.is_valid(rows)
    laid_out, rows = laid_out.filter(there), rows.filter(there).to_pylist()
    shown = []
    for row in rows:
        one, video = opened.moment(row), opened.video_of(row)
        shown.append(
            {
                "id": one["segment_id"],
                "video": video.key,
                "title": title(one["uri"]),
                "start": one["start"],
                "end": one["end"],
                "color": one[colour] or "none",
            }
        )
    places = zip(laid_out["x"].to_pylist(), laid_out["y"].to_pylist(), strict=True)
    points = [[round(x, 4), round(y, 4), number] for number, (x, y) in enumerate(places)]
    return {"points": points, "moments": shown, "colors": sorted({one["color"] for one in shown})}
