"""What the page of a flow run shows while the run works: how far it is, what a stage says, where MLflow has it.

A thread brings the page up to date every few seconds. Prefect's server may be slow, or go: nothing here waits for it
but the end of a run, for seconds.
"""

from __future__ import annotations

import contextvars
import html
import logging
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from httpx import HTTPStatusError
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from flows import reachable
from flows.running import estimate, events
from flows.tracking import store
from scriptsight.redaction import LONGEST_VALUE, redacted

LOOK_SECONDS = 3.0  # between two updates of a page
TIMEOUT_SECONDS = 10.0  # of a request
AGAIN_SECONDS = 30.0  # before a server that did not answer is asked again
CLOSE_SECONDS = 10.0  # for what is left when a run ends
MOST_MESSAGES = 50  # at a time; a stage that says more in seconds is read on the terminal
LONGEST_MESSAGE = 2000  # characters
MLFLOW_UI = "http://127.0.0.1:5000"  # of `scriptsight ui`


def announce(who: str) -> None:
    """Print where the current flow run is to be followed, if its server has pages."""
    page = url_for("flow-run", obj_id=flow_run.id)
    if page and reachable.shows(page):
        print(f"{who}: follow it at {redacted(page)}", flush=True)


def plain(text: str) -> str:
    """Text that a page, which takes it for Markdown, shows as it is: a file may have any name."""
    return re.sub(r"([\\`*_\[\]])", r"\\\1", html.escape(" ".join(redacted(text).split()), quote=False))


@dataclass(frozen=True)
class Progress:
    """How far a part of the work is: `label` names it, `done` of `total` items after `seconds`."""

    label: str
    done: int = 0
    total: int | None = None
    seconds: float = 0.0
    status: str = ""

    @property
    def share(self) -> float:
        """0 to 1; 0 where nobody knows how much there is."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float:
        """Seconds until this part is done, at its pace so far; 0 where nobody knows."""
        return self.seconds / self.done * (self.total - self.done) if self.done and self.total else 0.0

    def __str__(self) -> str:
        """As `pretrain: 140 of 2,000, about 7 min left (waits for data 2%)`."""
        text = f"{self.label}: {self.done:,}" + (f" of {self.total:,}" if self.total is not None else "")
        if self.done and self.total and self.done < self.total:
            text += f", about {estimate.span(self.left)} left"
        return text + (f" ({self.status})" if self.status else "")


class Page:
    """The artifacts of flow runs, made when they are first shown and brought up to date afterwards.

    Within a flow run, and as a context: what is shown before its end is on the page after it.
    """

    def __init__(self, runs: Sequence[str], look: Callable[[], None] = lambda: None) -> None:
        """`runs` are ids of flow runs that show the same; `look` is called by the thread before each update."""
        self._runs = [UUID(run) for run in runs]
        self._look = look
        self._wanted: dict[str, tuple[str, Any, str]] = {}  # key -> kind, data, description
        self._there: dict[tuple[str, UUID], Any] = {}  # key, run -> what the server has
        self._ids: dict[tuple[str, UUID], UUID] = {}
        self._again = 0.0  # not before this moment
        self._over = threading.Event()
        self._log = get_run_logger()
        # Prefect keeps its settings and the flow run in the context.
        work = contextvars.copy_context().run
        self._thread = threading.Thread(target=work, args=(self._keep,), name="page", daemon=True)

    def show(self, key: str, kind: str, data: Any, description: str) -> None:
        """Have an artifact look like this from the next update on.

        Args:
            key: lower case letters, digits and dashes; it stands for the artifact in the workspace.
            kind: "markdown", "table", "progress" (`data` in percent) or "image".
            description: Markdown.
        """
        self._wanted[key] = (kind, data, description)

    def __enter__(self) -> Page:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() or self._missing():
            self._log.warning("The page of this run is incomplete: Prefect's server did not take all of it.")

    def _keep(self) -> None:
        with get_client(httpx_settings={"timeout": TIMEOUT_SECONDS}, sync_client=True) as client:
            while True:
                over = self._over.is_set()
                try:
                    self._look()
                except Exception as error:
                    self._log.warning("The page can't follow this run: %s: %s", type(error).__name__, error)
                if over or time.monotonic() >= self._again:
                    self._send(client)
                if over:
                    return
                self._over.wait(LOOK_SECONDS)

    def _missing(self) -> list[tuple[str, UUID]]:
        keys = [(key, run) for key in list(self._wanted) for run in self._runs]
        return [(key, run) for key, run in keys if self._there.get((key, run)) != self._wanted[key]]

    def _send(self, client: SyncPrefectClient) -> None:
        """Send what has changed; the rest waits where the server does not take it."""
        for key, run in self._missing():
            wanted = kind, data, about = self._wanted[key]
            try:
                if (key, run) in self._ids:
                    client.update_artifact(self._ids[key, run], ArtifactUpdate(data=data, description=about))
                else:
                    new = ArtifactCreate(key=key, type=kind, data=data, description=about, flow_run_id=run)
                    self._ids[key, run] = client.create_artifact(new).id
                self._there[key, run] = wanted
            except Exception as error:
                if not self._again:
                    words = redacted(f"{type(error).__name__}: {error}")[:LONGEST_VALUE]
                    self._log.warning("The page of this run could not be brought up to date: %s", words)
                self._again = time.monotonic() + AGAIN_SECONDS
                if not isinstance(error, HTTPStatusError):  # of this artifact; else no answer at all
                    return


@contextmanager
def stage_page(
    name: str,
    since: int,
    tell: Callable[[Progress], None] = lambda _: None,
    opened: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Within the flow run of a stage: its page shows what the stage that works meanwhile tells.

    Args:
        since: events of before are not this run's (ns since 1970).
        tell: gets how far the stage is.
        opened: called when its run in MLflow is open.
    """
    stage = _Stage(name, since, tell, opened)
    with Page([str(flow_run.id)], lambda: stage.look(page)) as page:
        yield


class _Stage:
    """What a stage tells, for its page and its log."""

    def __init__(self, name: str, since: int, tell: Callable[[Progress], None], opened: Callable[[], None]) -> None:
        self._name, self._tell, self._opened = name, tell, opened
        self._news = events.following(events.path_of(name).resolve(), since)
        self._logs = _loggers()
        self._now = Progress(f"{name} starts")

    def look(self, page: Page) -> None:
        """Read what is new."""
        said = []
        for event in next(self._news):
            if "message" in event:
                said.append(str(event["message"]))
            elif "progress" in event:
                self._now = progress_of(event)
            elif "mlflow" in event:
                self._link(page, str(event["mlflow"]))
        self._say(said)
        percent = round(100 * self._now.share, 1)
        page.show(f"{prefix()}-{self._name}-progress", "progress", percent, plain(str(self._now)))
        self._tell(self._now)

    def _link(self, page: Page, run: str) -> None:
        address = mlflow_address(run)
        self._write(logging.INFO, f"MLflow has this run at {address}")
        page.show(f"{prefix()}-{self._name}-mlflow", "markdown", mlflow_link(run), "The run of the model in MLflow")
        self._opened()

    def _say(self, messages: Sequence[str]) -> None:
        for text in messages[:MOST_MESSAGES]:
            level = logging.WARNING if text.startswith("WARNING") else logging.INFO
            self._write(level, redacted(text)[:LONGEST_MESSAGE])
        if len(messages) > MOST_MESSAGES:
            self._write(logging.INFO, f"... and {len(messages) - MOST_MESSAGES} more lines, on the terminal")

    def _write(self, level: int, text: str) -> None:
        for log in self._logs:
            log.log(level, "%s", text)


def _loggers() -> list[Any]:
    """Those of the current flow run and, in a stage of the pipeline, of the pipeline's run: within a task
    `get_run_logger` of Prefect writes to that alone."""
    here = FlowRunContext.get()
    assert here is not None and here.flow_run is not None
    own = flow_run_logger(here.flow_run, here.flow)
    return [own, get_run_logger()] if TaskRunContext.get() else [own]


def progress_of(event: Mapping[str, Any]) -> Progress:
    """What an event of `flows.running.events` says."""
    return Progress(event["progress"], event["done"], event["total"], event["seconds"], event["status"])


def prefix() -> str:
    """What keys of artifacts begin with: the folder, whose runs Prefect then shows as one history."""
    return re.sub(r"[^a-z0-9]+", "-", Path.cwd().name.lower()).strip("-") or "pipeline"


def mlflow_address(page: str = "") -> str:
    """Where a page of MLflow is to be seen; without one, where all runs are. No password is in it."""
    address = store.uri()
    parts = urllib.parse.urlsplit(address if address.startswith(("http://", "https://")) else MLFLOW_UI)
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    return f"{base}/{page}"


def mlflow_link(page: str = "") -> str:
    """The same as Markdown, with a word on how to see it."""
    hint = "" if store.uri().startswith(("http://", "https://")) else " (`scriptsight ui`)"
    return f"[{'the run of this model' if page else 'all runs'}]({mlflow_address(page)}){hint}"
