"""The application: the parts of the server put together, pages, and what becomes of errors."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from scriptsight.errors import InputError
from scriptsight.page.access import POLICY, Access
from scriptsight.page.shelf import Empty, Missing, Shelf

HERE = Path(__file__).parent
PARTS = ("asking", "delivery", "judging")
PAGES = {"/": "index.html", "/map": "map.html", "/judgements": "judgements.html", "/report": "report.html"}


def build(shelf: Shelf, access: Access) -> Starlette:
    """The whole application."""
    routes: list[Route | Mount] = []
    for part in PARTS:
        if find_spec(f"scriptsight.page.{part}"):
            routes += import_module(f"scriptsight.page.{part}").routes(shelf)
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
    routes += [Route(address, _page(shelf, templates, name)) for address, name in PAGES.items()]
    routes.append(Mount("/static", StaticFiles(directory=HERE / "static")))
    handlers = {Missing: _missing, Empty: _empty, InputError: _refused, HTTPException: _told}
    return Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]


def _page(shelf: Shelf, templates: Environment, name: str):  # type: ignore[no-untyped-def]
    def page(request: Request) -> Response:
        if name not in templates.list_templates():
            raise Missing("This page is not there yet.")
        html = templates.get_template(name).render(workspace=shelf.workspace.name)
        return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})

    return page


def _answer(status: int, error: str, remedy: str = "", **more: str) -> Response:
    return JSONResponse({"error": error, "remedy": remedy, **more}, status_code=status)


def _missing(request: Request, error: Missing) -> Response:
    return _answer(404, str(error))


def _empty(request: Request, error: Empty) -> Response:
    return _answer(409, error.message, error.remedy, code=error.code, message=error.message)


def _refused(request: Request, error: InputError) -> Response:
    return _answer(400, str(error))


def _told(request: Request, error: HTTPException) -> Response:
    return _answer(error.status_code, error.detail)
