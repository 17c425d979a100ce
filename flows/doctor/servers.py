"""The servers that a run uses, and the pages that people look at. None is started, none is waited for."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from flows import reachable
from flows.doctor.findings import Finding, Place, note, ok, problem
from flows.orchestration import server
from scriptsight.errors import InputError
from scriptsight.redaction import redacted

SECONDS = 2  # for an answer
PAGE = "http://127.0.0.1:8000/api/state"  # of `scriptsight page`
MLFLOW_PAGE = "http://127.0.0.1:5000"  # of `scriptsight ui`


def prefect(_: Place) -> Iterator[Finding]:
    """The server that a run would be recorded on."""
    address = os.environ.get("PREFECT_API_URL")
    if address and reachable.answers(address, SECONDS):
        yield ok(f"PREFECT_API_URL={redacted(address)} answers")
    elif address:
        yield note(
            f"PREFECT_API_URL={redacted(address)} does not answer: a run would use a temporary server",
            "start that server, or unset PREFECT_API_URL",
        )
    elif reachable.answers(server.UI, SECONDS):
        yield ok(f"{redacted(server.UI)} answers (`scriptsight ui`), and gets what runs")
    else:
        yield ok("none runs: a run starts one of its own, and `scriptsight ui` shows it later")


def mlflow(_: Place) -> Iterator[Finding]:
    """Where runs of models are recorded."""
    from flows.tracking import store

    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        up = reachable.answers(MLFLOW_PAGE, SECONDS)
        yield ok(f"{MLFLOW_PAGE} answers (`scriptsight ui`)" if up else "its page is not open: `scriptsight ui`")
        return
    try:
        store.require_answer(address)
    except InputError:
        yield problem(
            f"MLFLOW_TRACKING_URI={redacted(address)} does not answer: stages that train or measure would fail",
            "start that server, or unset MLFLOW_TRACKING_URI",
        )
    else:
        yield ok(f"MLFLOW_TRACKING_URI={redacted(address)} can be used")


def page(place: Place) -> Iterator[Finding]:
    """The search page of `scriptsight page`."""
    port = urllib.parse.urlsplit(PAGE).port or 80
    if not reachable.taken(port):
        yield ok(f"not open: `scriptsight page{' ' + place.typed if place.typed else ''}`")
        return
    try:
        with urllib.request.urlopen(PAGE, timeout=SECONDS) as answer:
            workspace = str(json.loads(answer.read(1_000_000))["workspace"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            yield ok(f"port {port} answers, behind a password")
            return
        workspace = ""
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        workspace = ""
    if workspace:
        yield ok(f"http://127.0.0.1:{port} shows {workspace}")
    else:
        yield note(f"something else has port {port}", "scriptsight page --port 8001")
