"""Move what MLflow keeps in a folder mlruns/ to its server: the database's rows and the files of all runs.

Run it in the service's own container, whose environment names both ends:

    export COMPOSE_FILE=docker/compose.yaml
    docker compose run --rm --volume "$PWD/mlruns:/from:ro" mlflow python /opt/scriptsight/move_mlflow.py /from

The server's database must be of the same version and hold no run. Ids stay, so the pipeline finds its models again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import s3fs
from sqlalchemy import Connection, MetaData, Table, create_engine, func, select, text

VERSION = "alembic_version"
ADDRESSES = ("artifact_uri", "artifact_location", "source", "storage_location")  # columns that name files


def main(folder: Path) -> None:
    """Copy everything in one transaction; the files first."""
    old = create_engine(f"sqlite:///file:{folder / 'mlflow.db'}?mode=ro&uri=true")
    new = create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
    known = MetaData()
    known.reflect(new)
    tables = {table.name: table for table in known.sorted_tables}
    with old.connect() as source, new.begin() as target:
        if _version(source, tables) != _version(target, tables):
            sys.exit("The databases are of different versions: run `mlflow db upgrade` on the older one.")
        if target.scalar(select(func.count()).select_from(tables["runs"])):
            sys.exit("The server has runs already: this moves into an empty one.")
        places = _places(source, tables)
        _upload(folder, places)
        del tables[VERSION]
        for table in reversed(tables.values()):  # MLflow's own first experiment
            target.execute(table.delete())
        for table in tables.values():
            print(f"{table.name}: {_copy(table, source, target, places)} rows")


def _version(connection: Connection, tables: dict[str, Table]) -> Any:
    return connection.scalar(select(tables[VERSION].c.version_num))


def _places(source: Connection, tables: dict[str, Table]) -> dict[str, str]:
    """Old address -> new address, of the files of runs, logged models and experiments; the longest first."""
    runs, models, experiments = (tables[name].c for name in ("runs", "logged_models", "experiments"))
    places = {
        address: f"mlflow-artifacts:/{experiment}/{run}/artifacts"
        for run, experiment, address in source.execute(select(runs.run_uuid, runs.experiment_id, runs.artifact_uri))
    }
    for model, experiment, address in source.execute(
        select(models.model_id, models.experiment_id, models.artifact_location)
    ):
        places[address] = f"mlflow-artifacts:/{experiment}/models/{model}/artifacts"
    for experiment, address in source.execute(select(experiments.experiment_id, experiments.artifact_location)):
        places.setdefault(address, f"mlflow-artifacts:/{experiment}")
    return dict(sorted(places.items(), key=lambda place: -len(place[0])))


def _upload(folder: Path, places: dict[str, str]) -> None:
    store, root = s3fs.S3FileSystem(), os.environ["MLFLOW_ARTIFACTS_DESTINATION"]
    for old, new in places.items():
        files = folder / old.rpartition("/mlruns/")[2]  # the project may lie below a folder of that name
        if new.endswith("/artifacts") and files.is_dir():
            store.put(f"{files}/", f"{root}{new.removeprefix('mlflow-artifacts:')}/", recursive=True)


def _copy(table: Table, source: Connection, target: Connection, places: dict[str, str]) -> int:
    """Copy the rows of one table, with the new addresses -> their number."""
    count = 0
    for rows in source.execute(select(table)).mappings().partitions(1000):
        count += len(rows)
        target.execute(table.insert(), [_moved(dict(row), places) for row in rows])
    for column in table.primary_key:
        if str(getattr(column.server_default, "arg", "")).startswith("nextval("):  # goes on after the last number
            last = f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), max({column.name}))"
            target.execute(text(f"{last} FROM {table.name} HAVING max({column.name}) IS NOT NULL"))
    return count


def _moved(row: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    for name in ADDRESSES:
        address = row.get(name) or ""
        for old, new in places.items():
            if address.startswith(old):
                row[name] = new + address[len(old) :]
                break
    return row


if __name__ == "__main__":
    main(Path(sys.argv[1]))
