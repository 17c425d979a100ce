"""The command `scriptsight page`: where the page is served, with which models, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import uvicorn

from scriptsight.errors import InputError
from scriptsight.page import app
from scriptsight.page.access import Access
from scriptsight.page.shelf import Empty, Shelf


def serve(workspace: Path, models: Sequence[str], host: str, port: int, browser: bool) -> None:
    """Serve the page until it is interrupted.

    Args:
        models: further ones, as NAME=DIR.
        browser: open the page in one.

    Raises:
        InputError: a model that is not named so.
    """
    if not workspace.is_dir():
        raise InputError(f"There is no folder {workspace}: name a workspace, or make one.")
    shelf = Shelf(workspace, dict(_named(text) for text in models))
    print(f"{_summary(shelf)}\nhttp://{host}:{port}", flush=True)
    uvicorn.run(app.build(shelf, Access(host, port)), host=host, port=port, log_level="warning")


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise InputError(f"--model {text}: say NAME=DIR, such as other=../other-videos.")
    return name, Path(folder)


def _summary(shelf: Shelf) -> str:
    try:
        opened = shelf.open()
    except Empty as error:
        return error.message
    return f"{len(opened.searcher.index):,} moments of {len(opened.videos):,} videos"
