"""The application: the parts of the server put together, the pages, and what becomes of errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from scriptsight.errors import InputError
from scriptsight.page import access as access_part
from scriptsight.page import asking, delivery, judging, mapped, uploads
from scriptsight.page.access import Access, Guard
from scriptsight.page.shelf import Empty, Missing, Shelf
from scriptsight.redaction import redacted

HERE = Path(__file__).parent
PAGES = {"/": "index.html", "/map": "map.html", "/judgements": "judgements.html"}
# What the stages draw: a file below plots/, and what it is called. Nothing else there is served.
REPORT = {
    "segment/report.html": "The corpus: what is in it, what was cut and what was left out",
    "retrieve/moments.png": "What the index answers to some queries",
    "retrieve/failures.png": "Texts whose own moment comes last, and what comes first",
    "retrieve/ranks.png": "Ranks of the moments that belong to a text",
    "retrieve/map.png": "The moments by what they look like to the model",
    "pretrain/curves.png": "How the training went",
    "probe/comparison.png": "The frozen encoder beside an untrained one",
    "probe/order.png": "What the order of frames is worth",
    "probe/confusion.png": "Which labels are taken for which",
}
# The report of the corpus is one file, with its style and its pictures within it.
WITHIN = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def build(shelf: Shelf, access: Access) -> Starlette:
    """The whole application."""
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
    templates.globals |= {"workspace": shelf.workspace.name, "signed_in": bool(access.password)}
    routes: list[BaseRoute] = [Route(address, _page(templates, name)) for address, name in PAGES.items()]
    for part in (asking, delivery, judging, mapped, uploads):
        routes += part.routes(shelf)
    routes += access_part.routes(access, templates)
    routes += _report(shelf, templates)
    routes.append(Mount("/static", StaticFiles(directory=HERE / "static")))
    handlers = {Missing: _missing, Empty: _empty, InputError: _refused, HTTPException: _told, Exception: _failed}
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=access)],
        exception_handlers=handlers,  # type: ignore[arg-type]
    )


def _page(templates: Environment, name: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        return HTMLResponse(templates.get_template(name).render())

    return page


def _report(shelf: Shelf, templates: Environment) -> list[Route]:
    plots = shelf.workspace / "plots"

    def page(request: Request) -> Response:
        there = {name: title for name, title in REPORT.items() if (plots / name).is_file()}
        pictures = [
            {"address": f"/plots/{name}", "title": title, "picture": name.endswith(".png")}
            for name, title in there.items()
        ]
        return HTMLResponse(templates.get_template("report.html").render(pictures=pictures))

    def plot(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in REPORT or not (plots / name).is_file():
            raise Missing("There is no such picture.")
        return FileResponse(plots / name, headers={"Cache-Control": "no-cache"})

    return [Route("/report", page), Route("/plots/{name:path}", plot)]


def _answer(status: int, error: str, remedy: str = "", **more: str) -> Response:
    return JSONResponse({"error": error, "remedy": remedy, **more}, status_code=status)


def _missing(request: Request, error: Missing) -> Response:
    return _answer(404, str(error))


def _empty(request: Request, error: Empty) -> Response:
    return _answer(409, error.message, error.remedy, code=error.code, message=error.message)


def _refused(request: Request, error: InputError) -> Response:
    return _answer(400, _without_folders(str(error)))


def _told(request: Request, error: HTTPException) -> Response:
    return _answer(error.status_code, error.detail)


def _failed(request: Request, error: Exception) -> Response:
    return _answer(500, "Something went wrong here.", "The terminal where the page was started says what.")


def _without_folders(message: str) -> str:
    """A message without secrets, and with files by their names alone: where they lie is nobody's business."""
    return re.sub(r"(?<![\w:/.])/(?:[^\s/'\",:]+/)+(?=[^\s/])", "", redacted(message))
