"""How a stage that works video by video is spread over processes and machines."""

from __future__ import annotations

from typing import Annotated, Literal

from scriptsight.params.base import MACHINE, Count, Section


class Spread(Section):
    """Where a stage that works video by video does it."""

    workers: Annotated[Count, MACHINE]  # at a time
    # processes of this machine; or Prefect tasks, on its page one by one: in threads here, each with a process of
    # its own, or on a Dask cluster
    runner: Annotated[Literal["processes", "threads", "dask"], MACHINE]
    dask_address: Annotated[str | None, MACHINE]  # of a scheduler, as tcp://10.0.0.1:8786; null: `workers` here
