"""Prefect servers: which one is there, and one of our own on the loopback address.

python -m flows.orchestration.server PORT     a server for the pipeline; it ends with the process that started it
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from flows.reachable import answers
from flows.running import databases
from flows.running.processes import die_with_parent, exit_on_error
from scriptsight.errors import InputError
from scriptsight.redaction import redacted

# The server of `scriptsight ui`; the tests look elsewhere.
UI = os.environ.get("SCRIPTSIGHT_UI_API_URL", "http://127.0.0.1:4200/api")
START_SECONDS = 180
MAKER_SECONDS = 60  # for a server that was started by hand to make its database
HEARTBEAT_SECONDS = 30  # of a flow run, the least that Prefect takes, as set in flows/__init__.py
OWN = "SCRIPTSIGHT_OWN_SERVER"  # set to the address of the server that `own` started


def from_environment() -> bool:
    """Whether PREFECT_API_URL names a server that answers; one that doesn't is said, and taken out."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return False
    if answers(url):
        return True
    print(
        f"PREFECT_API_URL={redacted(url)} does not answer: this run uses a temporary server "
        "and will not be on that page.",
        file=sys.stderr,
    )
    del os.environ["PREFECT_API_URL"]
    # A profile may name the same dead server; the built-in one starts a temporary server.
    os.environ["PREFECT_PROFILE"] = "ephemeral"
    return False


def find() -> str | None:
    """Use the server that PREFECT_API_URL names, or that of `scriptsight ui` -> its address; None if neither answers.
    Call this before Prefect is imported."""
    if not from_environment():
        if not answers(UI):
            return None
        os.environ["PREFECT_API_URL"] = UI
    return os.environ["PREFECT_API_URL"]


def is_own() -> bool:
    """Whether the server in use is one that `own` started: all of those have one database."""
    return bool(os.environ.get(OWN)) and os.environ.get(OWN) == os.environ.get("PREFECT_API_URL")


def temporary() -> None:
    """Start one where none is named: the one that Prefect itself would start makes its database in place, and
    outlives a process that is killed. Call this before Prefect is imported, as `own`.

    Raises:
        InputError: it does not start.
    """
    if not _in_profile():
        url, process = own()
        os.environ["PREFECT_API_URL"] = url
        wait(url, process)


def _in_profile() -> bool:
    """Whether the profile of Prefect that is in use names a server (`prefect config set PREFECT_API_URL=...`)."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        kept = tomllib.loads(
            Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").read_text("utf-8")
        )
    except (OSError, ValueError):
        return False
    profile = kept.get("profiles", {}).get(os.environ.get("PREFECT_PROFILE") or kept.get("active"), {})
    return bool(profile.get("PREFECT_API_URL"))


def ensure_database() -> None:
    """Make Prefect's database where it is a file that is not there yet, or bring it up to date: two servers that
    start at once would both make its tables. One that was started by hand just now is waited for.

    Raises:
        InputError: it is damaged, or can't be made.
    """
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    path = databases.file_of(str(PREFECT_API_DATABASE_CONNECTION_URL.value()))
    if path is not None:
        databases.ensure(path, kind(), MAKER_SECONDS)


def kind() -> databases.Kind:
    """Whose tables Prefect's database has."""
    tables = frozenset({"flow", "flow_run", "task_run", "deployment", "log"})
    versions = databases.versions_of("prefect", "server/database/_migrations/versions/sqlite")
    return databases.Kind("Prefect", versions, tables, ("flow_run", "runs"), _bring_up_to_date)


def database() -> Path | None:
    """The file of Prefect's database, found without Prefect, whose import takes seconds; None where it is a server's.
    A profile of Prefect that names another place is not heeded."""
    if address := os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL"):
        return databases.file_of(address)
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser() / "prefect.db"


def _bring_up_to_date(path: Path) -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import provide_database_interface, temporary_database_config

    with temporary_database_config(AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}")):
        asyncio.run(provide_database_interface().create_db())


def own() -> tuple[str, subprocess.Popen[bytes]]:
    """Start a Prefect server on a free loopback port -> its address, before it is up, and the process.

    It is stopped when this process exits. Call this before Prefect is imported: exit handlers run in reverse
    order, and Prefect's, which send the last logs, must find the server up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A session of its own: ctrl-C must not reach it before the runs it records have ended.
    command = [sys.executable, "-m", "flows.orchestration.server", str(port)]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603
    atexit.register(_stop, process)
    os.environ[OWN] = f"http://127.0.0.1:{port}/api"
    return os.environ[OWN], process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server of `own` is up."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError(
                "The pipeline's own Prefect server did not start (see above). Start one with `scriptsight ui` in "
                "another terminal, or name one in PREFECT_API_URL, and run again."
            )
        time.sleep(0.1)


def serve(port: int) -> None:
    """Serve until the parent ends: the API and the services that record runs, no page, no schedules."""
    die_with_parent()
    os.environ["PREFECT_UI_ENABLED"] = "0"
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    ensure_database()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(ephemeral=True, final=True), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    with exit_on_error("Prefect's server"):
        serve(int(sys.argv[1]))
