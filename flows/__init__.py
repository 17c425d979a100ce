"""The stages as Prefect flows, MLflow tracking, and the pipeline. Thin: the work is in `scriptsight`.

This is the one place that settles the manners of the tools, before any of them is imported: none of them
phones home, and what they say goes to their pages; the terminal belongs to the stage. Whoever sets one of
these variables keeps their own value.

It also settles whose code runs, before `scriptsight` is imported: a checkout runs its own `flows` and `src`,
whichever checkout was installed. An experiment of DVC in a temporary folder and a git worktree are checkouts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

MARKS = ("dvc.yaml", "flows/__init__.py", "src/scriptsight/__init__.py")  # what every checkout of the project has


def _checkout() -> Path:
    """The checkout that the current folder lies in; where it lies in none, the one that this file belongs to."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # it was removed
        folder = Path("/")
    here = Path(__file__).resolve().parents[1]
    found = (above for above in (folder, *folder.parents) if all((above / mark).is_file() for mark in MARKS))
    return next(found, here).resolve()


def _run_own_code(project: Path) -> None:
    """Have this process and those that it starts import `flows` and `scriptsight` from the checkout.

    Raises:
        ImportError: `scriptsight` of another checkout is imported already.
    """
    own = [str(project / "src"), str(project)]
    loaded = getattr(sys.modules.get("scriptsight"), "__file__", None)
    is_own = loaded is None or Path(loaded).resolve().is_relative_to(own[0])
    if loaded and not is_own and Path(own[0], "scriptsight").is_dir():
        raise ImportError(
            f"scriptsight comes from {Path(loaded).resolve().parent}, and flows from the checkout {project}: set "
            f"PYTHONPATH={os.pathsep.join(own)}, or import flows first."
        )
    __path__[:] = [str(project / "flows")]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in own]
    os.environ["PYTHONPATH"] = os.pathsep.join([*own, *given])
    sys.path[:] = [*own, *(path for path in sys.path if path not in own)]


PROJECT = _checkout()  # with params.yaml and dvc.yaml
_run_own_code(PROJECT)

_MANNERS = {
    "DO_NOT_TRACK": "1",  # Prefect's SDK
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DVC_NO_ANALYTICS": "1",
    # A temporary server needs up to 20 s with an empty PREFECT_HOME on a fast machine: its own limit is 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Prefect's flows send one every 180 s. `scriptsight automations` heeds runs that send them at this rate.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Prefect's own lines would repeat every message and traceback on the terminal; they are on its page.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # Nor those of events that wait for a server that is being restarted, and that it gets afterwards.
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    # A server that is stopped and started again is waited for: 2 + 4 + ... + 64 s, not half of it.
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "GIT_PYTHON_REFRESH": "quiet",
    # Threads of libgomp that spin at every barrier make training many times slower as soon as another process
    # uses a core (two trainings at once on two cores: 0.33 s a step against 0.14 s); alone it costs nothing.
    "GOMP_SPINCOUNT": "1000",
}
for _name, _value in _MANNERS.items():
    os.environ.setdefault(_name, _value)
