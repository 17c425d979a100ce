"""`python -m flows.ui`: the pages of Prefect and MLflow on the loopback address, until ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows import server, stage, tracking
from scriptsight.errors import InputError

PREFECT, MLFLOW = 4200, 5000


def main() -> None:
    """Start both, say where they are, stop both."""
    with stage.told_errors("ui"):
        for port in (PREFECT, MLFLOW):
            if server.taken(port):
                raise InputError(f"Port {port} is in use: the pages may run already, or end what holds it.")
        tracking.STORE.mkdir(exist_ok=True)
        here = ["--host", "127.0.0.1", "--port"]
        bin_folder = Path(sys.executable).parent
        prefect = [str(bin_folder / "prefect"), "server", "start", *here, str(PREFECT)]
        mlflow = [str(bin_folder / "mlflow"), "server", *here, str(MLFLOW), "--workers", "1"]
        mlflow += ["--backend-store-uri", tracking.uri()]
        os.environ.pop("PREFECT_API_URL", None)  # the page asks the server that serves it
        pages = [subprocess.Popen(command, start_new_session=True) for command in (prefect, mlflow)]  # noqa: S603
        try:
            _wait(pages)
        finally:
            for page in pages:
                if page.poll() is None:
                    os.killpg(page.pid, signal.SIGTERM)
            for page in pages:
                page.wait()


def _wait(pages: list[subprocess.Popen[bytes]]) -> None:
    told = False
    while all(page.poll() is None for page in pages):
        if not told and server.answers(server.UI) and server.answers(f"http://127.0.0.1:{MLFLOW}"):
            print(f"Prefect  http://127.0.0.1:{PREFECT}\nMLflow   http://127.0.0.1:{MLFLOW}\nctrl-C stops both.")
            told = True
        time.sleep(0.5)
    raise InputError("One of the two pages ended (see above); the other is stopped too.")


if __name__ == "__main__":
    main()
