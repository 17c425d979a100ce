"""The stages as Prefect flows, MLflow tracking, and the pipeline. Thin: the work is in `scriptsight`.

This is the one place that settles the manners of the tools, before any of them is imported: none of them
phones home, and what they say goes to their pages; the terminal belongs to the stage. Whoever sets one of
these variables keeps their own value.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # the checkout, with params.yaml and dvc.yaml

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
