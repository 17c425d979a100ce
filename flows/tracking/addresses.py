"""The addresses of files in MLflow's database at home, and whether its folder was moved or copied.

MLflow keeps the whole address of everything that lies in files: of experiments, runs, logged models, versions and
data sets. In another place these still name the old one: what is there is not found, and what comes is written there.
A folder that is reached by a link, or mounted twice, is the same folder and was not moved.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scriptsight.errors import InputError

FOLDER = Path("mlruns")  # of the store at home: its database and its files
ARTIFACTS = "artifacts"  # in it
EXPERIMENT = "scriptsight"
COMPARISON = "comparison "  # how the names of experiments of `scriptsight compare` begin
# Tables of what stages and people wrote: a path in it is a fact of its time.
FACTS = {
    *("params", "tags", "experiment_tags", "registered_model_tags", "model_version_tags"),
    *("logged_model_params", "logged_model_tags", "metrics", "latest_metrics", "spans"),
}
SOURCE = ("datasets", "dataset_source")  # JSON with an address, of a folder beside mlruns/
FILES = {"runs": "artifact_uri", "logged_models": "artifact_location"}  # table -> column with the folder of its files


@dataclass
class Move:
    """What is to be rewritten in a store in `here`."""

    here: Path
    old: list[Path] = field(default_factory=list)  # its former places
    counts: Counter[str] = field(default_factory=Counter)  # TABLE.COLUMN -> addresses
    found: Counter[str] = field(default_factory=Counter)  # table -> whose files are here
    nowhere: Counter[str] = field(default_factory=Counter)  # table -> whose files are in neither place
    behind: list[Path] = field(default_factory=list)  # folders of files that are in an old place only
    kept: Path | None = None  # the old database, once it was replaced

    def __str__(self) -> str:
        """What it is about, in lines."""
        places = [f"{old} ({'still there' if old.exists() else 'gone'})" for old in self.old]
        lines = [f"from {', '.join(places)}", f"to   {self.here}"]
        lines += [f"  {column}: {count}" for column, count in sorted(self.counts.items())]
        for table in FILES:
            if number := self.found[table] + self.nowhere[table]:
                without = "; the others have none" if self.nowhere[table] else ""
                lines.append(f"  {table.replace('_', ' ')} with files here: {self.found[table]} of {number}{without}")
        return "\n".join(lines)


def check(database: Path) -> None:
    """See that the store at home, which is whole, was not moved since its experiments were made.

    Raises:
        InputError: it was.
    """
    here = database.parent
    with closing(_reading(database)) as rows:
        olds = _old_places(rows, here, ours_alone=True)
    if not olds:
        return
    old = olds[0]
    how = "copied" if (old / database.name).is_file() else "moved"
    raise InputError(
        f"The project was {how}: MLflow's database {database} names files in {old}, and would write new ones there. "
        "`scriptsight mlflow move` makes it name those in this folder; with --dry-run it only says what it would do."
    )


def plan(database: Path) -> Move:
    """What `rewrite` would change."""
    found = Move(database.parent)
    with closing(_reading(database)) as rows:
        found.old = _old_places(rows, found.here)
        for table, column, _, value in addresses(rows, found) if found.old else ():
            found.counts[f"{table}.{column}"] += 1
            if FILES.get(table) == column:
                _look(found, table, value)
    return found


def _look(found: Move, table: str, address: str) -> None:
    """Count where the files of a run or a model are."""
    old = path_of(address)
    new = _moved(old, found)
    if new is not None and new.exists():
        found.found[table] += 1
    elif old is not None and old.exists():
        found.behind.append(old)
    else:
        found.nowhere[table] += 1


def path_of(address: str) -> Path | None:
    """The path of an address on this machine; None of another, as s3://..."""
    if address.startswith("file:"):
        parts = urllib.parse.urlsplit(address)
        # What a person wrote without escapes may have these two.
        more = (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
        return Path(urllib.parse.unquote(parts.path + more))
    return Path(address) if address.startswith("/") else None


def _old_places(rows: sqlite3.Connection, here: Path, *, ours_alone: bool = False) -> list[Path]:
    """The folders, other than `here`, in which experiments of this store lie: those of this project, and unless
    `ours_alone` those that MLflow put into its folder mlruns/. Where a person chose a place for one, it stays."""
    found: dict[Path, None] = {}
    listed = rows.execute("SELECT experiment_id, name, artifact_location FROM experiments ORDER BY 1").fetchall()
    for number, name, address in listed:
        path = path_of(address or "")
        if path is None:
            continue
        ours = name == EXPERIMENT or name.startswith(COMPARISON)
        by_mlflow = path.name == str(number) and path.parent.name == FOLDER.name
        chosen = (ours and path.name == ARTIFACTS) or (by_mlflow and (ours or not ours_alone))
        if chosen and not _same(path.parent, here):
            found[path.parent] = None
    return list(found)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)  # links, and what is mounted twice
    except OSError:
        return False


def addresses(rows: sqlite3.Connection, found: Move) -> Iterator[tuple[str, str, int, str]]:
    """Table, column, row and value of every address in an old place."""
    tables = [name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    for table in tables:
        if table in FACTS or table.startswith("sqlite_"):
            continue
        columns = [(name, kind) for _, name, kind, *_ in rows.execute(f'PRAGMA table_info("{table}")')]
        for column, kind in columns:
            if "CHAR" not in kind.upper() and "TEXT" not in kind.upper():
                continue
            named = f'SELECT rowid, "{column}" FROM "{table}" WHERE "{column}" '  # noqa: S608 - names of tables
            source = (table, column) == SOURCE
            wanted = "LIKE '{%'" if source else "LIKE '/%' OR \"" + column + "\" LIKE 'file:%'"
            for row, value in rows.execute(named + wanted).fetchall():
                if renewed(table, column, value, found) != value:
                    yield table, column, row, value


def renewed(table: str, column: str, value: str, found: Move) -> str:
    """A value with the new place in it; as it is if it lies in none of the old ones."""
    return _new_source(value, found) if (table, column) == SOURCE else _new_address(value, found)


def _new_address(value: str, found: Move) -> str:
    path = path_of(value)
    new = _moved(path, found)
    return value if new is None else new.as_uri()


def _moved(path: Path | None, found: Move) -> Path | None:
    for old in found.old if path is not None else ():
        if path is not None and path.is_relative_to(old):
            return found.here / path.relative_to(old)
    return None


def _new_source(value: str, found: Move) -> str:
    """The source of a data set, in the project that holds mlruns/."""
    try:
        source: dict[str, Any] = json.loads(value)
        path = path_of(source.get("uri", ""))
    except (ValueError, AttributeError, TypeError):  # not ours
        return value
    for old in found.old if path is not None else ():
        if path is not None and path.is_relative_to(old.parent):
            return json.dumps({**source, "uri": (found.here.parent / path.relative_to(old.parent)).as_uri()})
    return value


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
