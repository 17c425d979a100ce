"""The folder of the pipeline: parameters, videos, who works in it, and what killed processes left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from flows.doctor.findings import Finding, Place, note, ok, problem
from flows.orchestration import runs, server
from flows.running import databases, locks
from scriptsight.errors import InputError

PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}-(\d+)-")  # what `scriptsight.files` writes until it is whole
OUTPUTS = ("", "data", "metrics", "models", "mlruns", "plots")  # folders in which files appear whole
LISTED = 20_000  # files of a collection that are looked at
SHOWN = 3  # names in a line
BESIDE = ("annotations", "captions", "lists", "titles", "labels")  # keys of collections that name tables


def parameters(place: Place) -> Iterator[Finding]:
    """Whether they are there and fit."""
    if place.kind == "none":
        yield note(
            f"{place.folder} is neither the project nor a workspace: only the machine is looked at",
            "scriptsight new FOLDER --videos PATH",
        )
        return
    try:
        _ = place.settings
    except InputError as error:
        name = "overrides.yaml" if (place.folder / "overrides.yaml").is_file() else "params.yaml"
        yield problem(str(error), f"edit {place.folder / name}")
    else:
        yield ok("all fit")


def videos(place: Place) -> Iterator[Finding]:
    """The videos and tables that the parameters name, a line a collection; those at an address are not asked for."""
    if place.kind == "none":
        return
    try:
        collections, start = place.settings.ingest.collections, place.settings.pretrain.start_from
    except InputError:  # the check of the parameters says why
        return
    for name, collection in collections.items():
        yield from _collection(place, name, collection.model_dump())
    if start and "://" not in start and not (place.folder / start / "config.json").is_file():
        yield problem(f"pretrain.start_from: there is no model in {start}", "name a folder such as models/pretrained")


def _collection(place: Place, name: str, collection: Mapping[str, Any]) -> Iterator[Finding]:
    if collection["kind"] == "world":
        yield ok(f"{name}: {sum(collection['videos'].values())} videos, which a run makes")
        return
    where = collection.get("path") or ""
    if "://" in where:
        yield ok(f"{name}: at {where}, which is not asked")
        return
    folder = place.folder / where
    if not folder.exists():
        yield problem(f"{name}: there is no {folder}", f"set ingest.collections.{name}.path, or mount its disk")
        return
    missing = [
        one for one in _tables(collection) if not any((base / one).exists() for base in (place.folder, folder))
    ]
    if missing:
        yield problem(
            f"{name}: there is no {', '.join(missing)}", f"mend ingest.collections.{name}, or bring the file"
        )
    yield from _films(name, folder) if folder.is_dir() else ()


def _tables(collection: Mapping[str, Any]) -> Iterator[str]:
    """Files that a collection names beside its videos; those at an address are left out."""
    for key in BESIDE:
        value = collection.get(key)
        for one in (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
        ):
            if isinstance(one, str) and "://" not in one:
                yield one


def _films(name: str, folder: Path) -> Iterator[Finding]:
    from scriptsight.ingest.datasets.listing import IMAGES, VIDEOS

    listed = list(islice((file for _, _, files in os.walk(folder) for file in files), LISTED))
    found = sum(Path(file).suffix.lower() in VIDEOS for file in listed)
    others = any(Path(file).suffix.lower() in {*IMAGES, ".tar", ".zip"} for file in listed)
    if found:
        yield ok(f"{name}: {found:,}{' or more' if len(listed) == LISTED else ''} videos in {folder}")
    elif not others:
        yield problem(f"{name}: no video is in {folder}", f"put videos there, or set ingest.collections.{name}.path")


def held(place: Place) -> Iterator[Finding]:
    """Locks that processes hold now."""
    found = locks.held()
    for name, who in found.items():
        number = re.search(r"process (\d+)", who)
        end = f"wait for it, or end it: kill {number[1]}" if number else "wait for it"
        yield note(f"{name} is held: {who}", end)
    if not found and place.kind != "none":
        yield ok("none is held: nobody works here")


def leftovers(place: Place) -> Iterator[Finding]:
    """Runs that killed processes left open, and halves of files."""
    if place.kind == "none":
        return
    from flows.tracking import unfinished

    count = 0
    for what, folder in (("Prefect", runs.NOTES), ("MLflow", unfinished.folder())):
        left = [path for path in folder.glob("*.json") if not locks.is_held(path.with_suffix(".lock"))]
        if left:
            count += 1
            yield note(f"{len(left)} runs of killed processes may be open in {what}", f"{place.run}   (closes them)")
    halves = [path for path in _partials() if not _lives(path)]
    if halves:
        count += 1
        named = ", ".join(map(str, halves[:SHOWN])) + (", ..." if len(halves) > SHOWN else "")
        yield note(f"{len(halves)} halves of files that killed processes wrote: {named}", "rm -r these")
    if not count:
        yield ok("nothing: no killed process left a run or a file")


def _partials() -> Iterator[Path]:
    for name in OUTPUTS:
        yield from sorted(Path(name).glob(".partial-*"))


def _lives(path: Path) -> bool:
    found = PARTIAL.match(path.name)
    return found is not None and psutil.pid_exists(int(found[1]))


def all_databases(place: Place) -> Iterator[Finding]:
    """Age, version and integrity of the databases in files, and whether MLflow's names files where they are."""
    from flows.tracking import addresses, store

    if (database := databases.file_of(store.uri())) is not None and place.kind != "none":
        yield from _database("MLflow", database, store.kind)
        if database == store.home() and database.is_file():
            yield from _moved(database, addresses.check)
    if place.kind != "none":
        yield from _database("Optuna", (store.folder() / "optuna.db").resolve(), _optuna)
    if (database := server.database()) is not None:
        yield from _database("Prefect", database, server.kind)


def _optuna() -> databases.Kind:
    from flows.experiments.sweep import study  # late: optuna

    return study.kind()


def _database(owner: str, path: Path, kind: Callable[[], databases.Kind]) -> Iterator[Finding]:
    if not path.exists():
        yield ok(f"{owner}: none yet ({path})")
        return
    if find_spec(owner.lower()) is None:
        yield note(f"{owner}: {path} is there, and {owner} is not installed", "make env")
        return
    try:
        current = databases.is_current(path, kind())
    except InputError as error:
        yield problem(str(error), "docs/how-to/operations.md, One machine")
        return
    stat = path.stat()
    days = (time.time() - stat.st_mtime) / 86400
    text = f"{owner}: sound, {stat.st_size / 2**20:.1f} MiB, written to {_ago(days)} ({path})"
    if current:
        yield ok(text)
    else:
        yield note(f"{text}, of an older version", "the next start brings it up to date, and keeps the old one")


def _ago(days: float) -> str:
    if days < 1 / 24:
        return f"{days * 24 * 60:.0f} min ago"
    return f"{days * 24:.0f} h ago" if days < 2 else f"{days:.0f} days ago"


def _moved(database: Path, check: Callable[[Path], None]) -> Iterator[Finding]:
    try:
        check(database)
    except InputError as error:
        yield problem(str(error), "scriptsight mlflow move --dry-run")
    else:
        yield ok("MLflow: its files are in this folder")
