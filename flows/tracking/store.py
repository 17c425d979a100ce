"""MLflow's store: where it is, its experiments, runs and registered versions."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.reachable import answers
from flows.running import databases, dvc_experiment
from flows.tracking import addresses, views
from scriptsight.errors import InputError
from scriptsight.redaction import LONGEST_VALUE, redacted

EXPERIMENT, COMPARISON, FOLDER = addresses.EXPERIMENT, addresses.COMPARISON, addresses.FOLDER
CONNECT_SECONDS = 5
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}  # of the databases that MLflow takes beside SQLite
DRIVERS = {"postgresql": "postgresql+psycopg://", "mysql": "mysql+pymysql://", "mssql": "mssql+pyodbc://"}


def folder() -> Path:
    """Where the database and the files of the store at home are."""
    return dvc_experiment.record() / FOLDER


def uri() -> str:
    """MLFLOW_TRACKING_URI, or the database in mlruns/ of the current folder (of the main one, from an experiment of
    DVC and from a git worktree)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home()}"


def at_home() -> bool:
    """Whether the store is the one in mlruns/, which nobody shares."""
    return databases.file_of(uri()) == home()


def home() -> Path:
    """The database in mlruns/."""
    return (folder() / "mlflow.db").resolve()


@contextmanager
def opened() -> Iterator[Any]:
    """An `MlflowClient` of `uri()`.

    Raises:
        InputError: MLflow can't be used, or refused something within the block.
    """
    address = uri()
    require(address)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield MlflowClient(address)
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"MLflow at {redacted(address)} can't be used: {redacted(error)[:LONGEST_VALUE]}") from None


def require(address: str) -> None:
    """See that MLflow can be used; its database at home is made.

    Raises:
        InputError: it can't.
    """
    require_answer(address)
    folder().mkdir(exist_ok=True)
    ensure_database(address)


def ensure_database(address: str) -> None:
    """Make MLflow's database where it is a file that is not there yet, or bring it up to date.

    Raises:
        InputError: it is damaged, or can't be made; or it is the one at home, and its folder was moved.
    """
    path = databases.file_of(address)
    if path is None:
        return
    try:
        require_whole(path)
    except InputError as error:
        raise InputError(f"MLflow at {redacted(address)} can't be used: {error}") from None
    if path == home():
        addresses.check(path)


def require_whole(path: Path) -> None:
    """As `ensure_database`, of a file, wherever it was made."""
    databases.ensure(path, kind())


def rewrite(path: Path, change: Callable[[Path], None], kept: Path) -> None:
    """Change a copy of MLflow's database, and put it in place; see `databases.rewrite`."""
    databases.rewrite(path, kind(), change, kept)


def kind() -> databases.Kind:
    """Whose tables MLflow's database has."""
    tables = frozenset({"experiments", "runs", "metrics", "params", "tags", "registered_models"})
    versions = databases.versions_of("mlflow", "store/db_migrations/versions")
    return databases.Kind("MLflow", versions, tables, ("runs", "runs"), _bring_up_to_date)


def _bring_up_to_date(path: Path) -> None:
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.store.db import utils
    from sqlalchemy import inspect

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    try:  # as `mlflow db upgrade` does, which leaves the file open
        if inspect(engine).get_table_names():
            utils._upgrade_db(engine)
        else:
            utils._initialize_tables(engine)
    finally:
        engine.dispose()


def require_answer(address: str) -> None:
    """Raise an InputError where a server of MLflow, or a server of its database, does not answer: MLflow itself would
    try again for minutes."""
    if address.startswith(("http://", "https://")) and not answers(address):
        raise InputError(f"MLflow at {redacted(address)} does not answer: start it, or unset MLFLOW_TRACKING_URI.")
    scheme = address.partition("://")[0].partition("+")[0]
    if scheme in PORTS:
        _require_database(address, scheme)


def _require_database(address: str, scheme: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(address)
        url.get_dialect().import_dbapi()
        if url.host and "," not in url.host and not url.query.get("host"):  # else its driver knows where it is
            socket.create_connection((url.host, url.port or PORTS[scheme]), timeout=CONNECT_SECONDS).close()
        patience = {} if scheme == "mssql" else {"connect_timeout": CONNECT_SECONDS}
        create_engine(url, poolclass=NullPool, connect_args=patience).connect().close()
    except ModuleNotFoundError as error:
        extra = "pip install 'scriptsight[servers]'" if scheme == "postgresql" else "install it"
        raise InputError(
            f"MLflow at {redacted(address)} can't be used: its driver {error.name} is not installed. Name one that "
            f"is in the address ({DRIVERS[scheme]}..., {extra}), or unset MLFLOW_TRACKING_URI."
        ) from None
    except (OSError, ValueError, SQLAlchemyError) as error:
        words = redacted(error)[:LONGEST_VALUE].partition("\n")[0]
        raise InputError(
            f"MLflow's database at {redacted(address)} can't be used ({words}): start it, or correct or unset "
            "MLFLOW_TRACKING_URI."
        ) from None


def experiment(client: Any, name: str = EXPERIMENT) -> str:
    """The id of an experiment, by default the one of all models; it is made, with its note and view, if need be."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # An experiment's folder goes: files beside a named database would be there by default.
        on_this_machine = at_home() or (dvc_experiment.home() and databases.file_of(uri()))
        location = (folder() / addresses.ARTIFACTS).resolve().as_uri() if on_this_machine else None
        client.create_experiment(name, artifact_location=location)
        found = client.get_experiment_by_name(name)
    for tag, value in views.experiment_tags(found.experiment_id).items() if name == EXPERIMENT else ():
        if tag not in found.tags:  # what a person has written there since is theirs
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def runs(client: Any, experiment_id: str, condition: str = "") -> Iterator[Any]:
    """The runs that meet a condition in MLflow's words, the newest first."""
    page = None
    while True:
        found = client.search_runs(
            [experiment_id], condition, order_by=["attributes.start_time DESC"], max_results=500, page_token=page
        )
        yield from found
        page = found.token
        if not page:
            return


def run_of(client: Any, weights_digest: str) -> Any:
    """The newest run of these weights, or None."""
    return next(runs(client, experiment(client), f"tags.weights_digest = '{weights_digest}'"), None)


def measured_run_of(client: Any, weights_digest: str) -> Any:
    """The newest run of these weights that has figures of probe or retrieve, else the newest, or None.

    A training that was done again with the same result is a run of its own, and DVC then brings back what was
    measured of these weights, which is in an earlier run.
    """
    found = list(runs(client, experiment(client), f"tags.weights_digest = '{weights_digest}'"))
    measured = [run for run in found if any(name.startswith(("probe/", "retrieve/")) for name in run.data.metrics)]
    return next(iter(measured or found), None)


def model_version(client: Any, registered: str, named: str) -> Any:
    """The version of a registered model with this number or alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        if re.fullmatch(r"[0-9]{1,6}", named):  # longer ones are beginnings of runs
            return client.get_model_version(registered, named)
        if re.fullmatch(r"[A-Za-z0-9_-]+", named):
            return client.get_model_version_by_alias(registered, named)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    return None
