"""How a stage that works video by video is spread over processes and machines."""

from __future__ import annotations

from typing import Literal

from scriptsight.params.base import Count, Section


class Spread(Section):
    """Where a stage that works video by video does it."""

    workers: Count  # at a time
    # processes of this machine; or Prefect tasks, on its page one by one: in threads here, each with a process of
    # its own, or on a Dask cluster
    runner: Literal["processes", "threads", "dask"]
    dask_address: str | None  # of an existing scheduler, such as tcp://10.0.0.1:8786; null: `workers` on this machine
