"""`scriptsight mlflow move`: have MLflow find its files again after its folder was moved or copied."""

from __future__ import annotations

import argparse
import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from flows.tracking import addresses, store
from flows.tracking.addresses import Move
from scriptsight.errors import InputError

KEPT = "before-move"
SHOWN = 3  # examples in a message


def rewrite(database: Path) -> Move:
    """Make all addresses of a moved store name its folder, in a copy that takes its place once it is whole.

    Raises:
        InputError: files are in an old place only, or another process uses the database.
    """
    found = addresses.plan(database)
    if not found.old:
        return found
    if found.behind:
        raise InputError(_left_behind(found))

    def change(copy: Path) -> None:
        with closing(sqlite3.connect(copy)) as rows, rows:
            for table, column, row, value in list(addresses.addresses(rows, found)):
                new = addresses.renewed(table, column, value, found)
                rows.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, row))  # noqa: S608

    found.kept = kept_beside(database)
    store.rewrite(database, change, found.kept)
    return found


def kept_beside(database: Path) -> Path:
    """A name for the old database that is not taken."""
    names = [f"{database.name}.{KEPT}", *(f"{database.name}.{KEPT}-{number}" for number in range(2, 1000))]
    return next(path for name in names if not (path := database.with_name(name)).exists())


def _left_behind(found: Move) -> str:
    examples = ", ".join(str(path) for path in found.behind[:SHOWN])
    copies = " && ".join(
        f"cp -rn {shlex.quote(f'{old}/.')} {shlex.quote(str(found.here))}" for old in found.old if old.exists()
    )
    return (
        f"The files of {len(found.behind)} runs or models are in the old place only, such as {examples}: copy what "
        f"is not here yet ({copies}), and run `scriptsight mlflow move` again. Nothing was changed."
    )


def command(options: argparse.Namespace) -> None:
    """Rewrite the addresses of mlruns/mlflow.db in the current folder, or say what would be."""
    database = store.home()
    if not database.is_file():
        raise InputError(
            f"There is no {os.path.relpath(database)} here: run `scriptsight mlflow move` in the folder that was "
            "moved."
        )
    store.require_whole(database)
    found = addresses.plan(database) if options.dry_run else rewrite(database)
    if not found.old:
        print(f"mlflow move: nothing to do, all addresses of {database} are in {found.here}")
        return
    print(f"mlflow move: {'would rewrite' if options.dry_run else 'rewrote'} addresses\n{found}")
    if options.dry_run and found.behind:
        print(_left_behind(found))
    elif found.kept:
        print(f"The old database is kept: {found.kept}")
