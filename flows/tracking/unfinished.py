"""Runs of MLflow that are open, each with a note in mlruns/.open while its recorder lives.

A recorder that is killed can't close its run, and MLflow would show it as running for ever. Its note stays, and the
kernel gives the note's lock back: whoever comes next in this folder closes the run.

python -m flows.tracking.unfinished     close the runs of killed recorders, in the current folder
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows.running import dvc_experiment
from flows.tracking import store
from scriptsight import files
from scriptsight.errors import InputError

NOTES = store.FOLDER / ".open"
RECORDER = "recorder"  # tag: the note of the process that made the run


class Note:
    """The note of one open run, held by this process."""

    def __init__(self, run_id: str | None = None, status: str = "KILLED", end_time: int | None = None) -> None:
        """Write it before the run is opened.

        Args:
            run_id: of a run that is opened again; None for one that is made with the tag `RECORDER`.
            status, end_time: how the run is closed if this process is killed; ms since 1970, None for then.
        """
        _notes().mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._path = (_notes() / self.name).with_suffix(".json").absolute()
        self._lock = FileLock(self._path.with_suffix(".lock"))
        self._lock.acquire(timeout=0)
        files.write_json(self._path, {"store": _store(), "run": run_id, "status": status, "end_time": end_time})

    def remove(self) -> None:
        """The run is closed."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.release()


def _notes() -> Path:
    return dvc_experiment.record() / NOTES


def _store() -> str:
    """Which store a run is in, without what may be secret in its address."""
    return hashlib.sha256(store.uri().encode()).hexdigest()[:16]


def close(client: Any) -> None:
    """Close the runs of this folder whose recorders were killed."""
    for path in sorted(_notes().glob("*.json")):
        with _free(path) as free:
            if free and _closed(client, path):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)


def _closed(client: Any, path: Path) -> bool:
    """Close the run of a note -> whether the note has done its work; it has not if the run is in another store."""
    from mlflow.exceptions import MlflowException

    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        run_id, status = note["run"], note["status"]
        if note["store"] != _store():
            return False
    except FileNotFoundError:  # another process did it
        return True
    except (ValueError, KeyError, TypeError):  # spoilt: it tells nothing
        return True
    found = [run_id] if run_id else [run.info.run_id for run in _made_with(client, path.stem)]
    for run in found:
        try:
            if client.get_run(run).info.status == "RUNNING":
                client.set_terminated(run, status, note.get("end_time"))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return True


def _made_with(client: Any, name: str) -> Iterator[Any]:
    for experiment in client.search_experiments():
        yield from store.runs(client, experiment.experiment_id, f"tags.{RECORDER} = '{name}'")


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Whether nobody holds the note; it is held meanwhile."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def close_all() -> None:
    """The same, where MLflow is not open; it is opened only if there is something to close. It never raises: the
    record is worth less than the work."""
    if not any(_is_left(path) for path in _notes().glob("*.json")):
        return
    try:
        with store.opened() as client:
            close(client)
    except InputError as error:
        print(f"WARNING: runs of killed processes stay open in MLflow: {error}")


def _is_left(path: Path) -> bool:
    with _free(path) as free:
        return free


if __name__ == "__main__":
    close_all()
