"""`scriptsight ui`: the pages of Prefect and MLflow on the loopback address, until ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows import reachable
from flows.orchestration import server
from flows.tracking import store
from scriptsight import redaction
from scriptsight.errors import InputError

PREFECT, MLFLOW = 4200, 5000


def command(options: argparse.Namespace) -> None:
    """Start both, say where they are, stop both; a server of MLflow that runs elsewhere is only named."""
    at_home = not store.uri().startswith(("http://", "https://"))
    for port in (PREFECT, MLFLOW) if at_home else (PREFECT,):
        if reachable.taken(port):
            raise InputError(f"Port {port} is in use: the pages may run already, or end what holds it.")
    store.require_answer(store.uri())
    store.folder().mkdir(exist_ok=True)
    store.ensure_database(store.uri())
    server.ensure_database()
    here = ["--host", "127.0.0.1", "--port"]
    bin_folder = Path(sys.executable).parent
    prefect = [str(bin_folder / "prefect"), "server", "start", *here, str(PREFECT)]
    mlflow = [str(bin_folder / "mlflow"), "server", *here, str(MLFLOW), "--workers", "1"]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = store.uri()  # it may hold a password: on no command line
    os.environ.pop("PREFECT_API_URL", None)  # the page asks the server that serves it
    commands = [prefect, mlflow] if at_home else [prefect]
    pages = [subprocess.Popen(words, start_new_session=True) for words in commands]  # noqa: S603
    try:
        _wait(pages, f"http://127.0.0.1:{MLFLOW}" if at_home else store.uri())
    finally:
        for page in pages:
            if page.poll() is None:
                os.killpg(page.pid, signal.SIGTERM)
        for page in pages:
            page.wait()


def _wait(pages: list[subprocess.Popen[bytes]], mlflow: str) -> None:
    announced = False
    while all(page.poll() is None for page in pages):
        started = [f"http://127.0.0.1:{PREFECT}/api", mlflow][: len(pages)]
        if not announced and all(reachable.answers(address) for address in started):
            print(
                f"Prefect  http://127.0.0.1:{PREFECT}\nMLflow   {redaction.redacted(mlflow)}\nctrl-C ends this.",
                flush=True,
            )
            announced = True
        time.sleep(0.5)
    raise InputError("A page ended (see above); the other, if any, is stopped too.")
