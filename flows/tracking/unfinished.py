"""Runs of MLflow that are open, each with a note in mlruns/.open while its recorder lives.

A recorder that is killed can't close its run, and MLflow would show it as running for ever. Its note stays, and the
kernel gives the note's lock back: whoever comes next in this folder closes the run.

python -m flows.tracking.unfinished     close the runs of killed recorders, in the current folder
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.running import dvc_experiment, notes
from flows.tracking import store
from scriptsight.errors import InputError

NOTES = store.FOLDER / ".open"
RECORDER = "recorder"  # tag: the note of the process that made the run


def note(run_id: str | None = None, status: str = "KILLED", end_time: int | None = None) -> notes.Note:
    """Write the note of one open run, before the run is opened; this process holds it.

    Args:
        run_id: of a run that is opened again; None for one that is made with the tag `RECORDER`.
        status, end_time: how the run is closed if this process is killed; ms since 1970, None for then.
    """
    return notes.Note(folder(), {"store": _store(), "run": run_id, "status": status, "end_time": end_time})


def folder() -> Path:
    """Where the notes of open runs are."""
    return dvc_experiment.record() / NOTES


def _store() -> str:
    """Which store a run is in, without what may be secret in its address."""
    return hashlib.sha256(store.uri().encode()).hexdigest()[:16]


def close(client: Any) -> None:
    """Close the runs of this folder whose recorders were killed."""
    place = folder()
    with notes.left(place) as left:
        for name, content in left.items():
            if _closed(client, name, content):
                notes.remove(place, name)


def _closed(client: Any, name: str, content: dict[str, Any]) -> bool:
    """Close the run of a note -> whether the note has done its work; it has not if the run is in another store."""
    from mlflow.exceptions import MlflowException

    try:
        run_id, status = content["run"], content["status"]
        if content["store"] != _store():
            return False
    except KeyError:  # spoilt: it tells nothing
        return True
    found = [run_id] if run_id else [run.info.run_id for run in _made_with(client, name)]
    for run in found:
        try:
            if client.get_run(run).info.status == "RUNNING":
                client.set_terminated(run, status, content.get("end_time"))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return True


def _made_with(client: Any, name: str) -> Iterator[Any]:
    for experiment in client.search_experiments():
        yield from store.runs(client, experiment.experiment_id, f"tags.{RECORDER} = '{name}'")


def close_all() -> None:
    """The same, where MLflow is not open; it is opened only if there is something to close. It never raises: the
    record is worth less than the work."""
    with notes.left(folder()) as left:
        if not left:
            return
    try:
        with store.opened() as client:
            close(client)
    except InputError as error:
        print(f"WARNING: runs of killed processes stay open in MLflow: {error}")


if __name__ == "__main__":
    close_all()
