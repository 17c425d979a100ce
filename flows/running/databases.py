"""Databases in a file (SQLite) that others write: MLflow's, Optuna's, Prefect's. They appear whole or not at all.

Each of the three makes its tables in many steps, and SQLite keeps every step: a process that is killed between two of
them leaves a database that refuses every later start, and two that begin at once trip over each other. So one process
makes the database under another name, and moves it once it is whole; a new version's tables are made in a copy.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.redaction import LONGEST_VALUE, redacted

HEADER = b"SQLite format 3\0"  # the first bytes of every SQLite database
SIDECARS = ("-journal", "-wal", "-shm")  # what SQLite keeps beside a database that is open, or was when it was killed
WAIT_SECONDS = 300  # for another process that makes the database
BUSY_SECONDS = 30  # for one that writes to it
MAKER_SECONDS = 0.5  # between two looks at a database that another process makes
CHECKED_BYTES = 256 * 2**20  # a larger database is not read whole at every start: it would take seconds


@dataclass(frozen=True)
class Kind:
    """Whose tables a database holds.

    Args:
        owner: who makes and reads them.
        versions: the folder of the owner's migrations, files of Alembic.
        tables: some of them; a database with tables, of which none is here, belongs to someone else.
        records: the table that holds what is worth keeping, and what its rows are.
        bring: makes the tables in the empty database at a path, or brings those of an older version up to date.
    """

    owner: str
    versions: Path
    tables: frozenset[str]
    records: tuple[str, str]
    bring: Callable[[Path], None]


@dataclass(frozen=True)
class _State:
    """What is in a database: its version (None: never written) and its tables."""

    version: str | None
    tables: frozenset[str]


def versions_of(package: str, folder: str) -> Path:
    """The folder of a package's migrations; the package is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent / folder


def file_of(address: str) -> Path | None:
    """The file of an address such as sqlite:///mlruns/mlflow.db; None for a server, or a database in memory."""
    if not address.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        name = make_url(address).database
    except ArgumentError:
        return None
    return Path(name).resolve() if name and name != ":memory:" and not name.startswith("file:") else None


class _Overtaken(Exception):
    """A server that was started by hand has begun to make the database in its place."""


def ensure(path: Path, kind: Kind, patience: float = 0) -> None:
    """See that there is a whole database of the installed version; it is made, or a copy of it brought up to date.

    Args:
        patience: seconds to wait for a process that makes it in its place, as a server does that is started by hand.

    Raises:
        InputError: it is damaged, half-made, somebody else's or of a newer version, or can't be made.
    """
    path = path.resolve()  # behind a link: the link stays
    if path.exists() and not _is_unfinished(path, kind):
        return
    _wait_for_maker(path, kind, patience)
    if is_current(path, kind):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path, kind):
            if is_current(path, kind):  # another process has made it meanwhile
                return
            _remove_leftovers(path)
            if path.is_file() and path.stat().st_size:
                _bring_up_to_date(path, kind)
            else:
                _make(path, kind)
    except _Overtaken:
        ensure(path, kind, patience or WAIT_SECONDS)
    except OSError as error:
        raise InputError(
            f"{kind.owner}'s database {path} can't be made ({error}): make its folder writable, free some space, or "
            "name another place for it."
        ) from None


def _wait_for_maker(path: Path, kind: Kind, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and _is_unfinished(path, kind) and _user(path) is not None:
        time.sleep(MAKER_SECONDS)


def _is_unfinished(path: Path, kind: Kind) -> bool:
    try:
        return path.exists() and not is_current(path, kind)
    except InputError:  # which half of its tables may look like
        return True


@contextmanager
def _alone(path: Path, kind: Kind) -> Iterator[None]:
    """Hold the lock of the database's making; the kernel gives it back when its holder is killed."""
    name = path.with_name(f".{path.name}.lock")
    name.touch()  # where that is refused, the lock would be tried for again and again
    held = FileLock(name)
    try:
        held.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise InputError(
            f"{kind.owner}'s database {path} is being made by another process for more than {WAIT_SECONDS} s: wait "
            "for it, or end it, and run again."
        ) from None
    try:
        yield
    finally:
        held.release()


def _remove_leftovers(path: Path) -> None:
    """What killed processes left that made this database; under its lock, nobody makes it now."""
    for left in path.parent.glob(f".partial-*-{path.name}*"):
        left.unlink(missing_ok=True)
    if not path.exists() or not path.stat().st_size:  # SQLite would play an old one's last steps into the new one
        for sidecar in SIDECARS:
            path.with_name(path.name + sidecar).unlink(missing_ok=True)


def _make(path: Path, kind: Kind) -> None:
    with files.whole_file(path) as partial:
        try:
            kind.bring(partial)
            _close(partial)
            if path.exists() and path.stat().st_size:
                raise _Overtaken
        except _Overtaken:
            raise
        except Exception as error:  # of three libraries, and of what they are built on
            raise InputError(
                f"{kind.owner}'s database {path} can't be made ({_words(error)}): free some space, or name another "
                "place for it, and run again."
            ) from error
        finally:
            _remove_sidecars(partial)


def rewrite(path: Path, kind: Kind, change: Callable[[Path], None], kept: Path) -> None:
    """Change the rows of a copy of a database that is whole, and put that in place.

    Args:
        change: gets the copy.
        kept: where the old database stays.

    Raises:
        InputError: another process uses it, or `change` failed; it was left as it is.
    """
    path = path.resolve()
    with _alone(path, kind):
        _replace(path, kind, change, kept, lambda why: _left(path, kind, why))


def _bring_up_to_date(path: Path, kind: Kind) -> None:
    """Make the tables of the installed version in a copy, and put that in place; the old one is kept beside it."""
    state = _state(path, kind)
    kept = path.with_name(f"{path.name}.before-{_head(kind)[0]}")
    _replace(path, kind, kind.bring, kept if state.tables else None, lambda why: _half_made(path, kind, why))
    if state.tables:
        print(
            f"{kind.owner}'s database {path} was brought to the installed version; the old one is {kept}.",
            file=sys.stderr,
        )


def _replace(
    path: Path, kind: Kind, change: Callable[[Path], None], kept: Path | None, failure: Callable[[str], str]
) -> None:
    """Put a changed copy in the place of a database, which stays as `kept`; `failure` makes a message of why not."""
    _require_unused(path, kind)
    with _frozen(path, kind), files.whole_file(path) as partial:
        try:
            with closing(_connected(path)) as old, closing(sqlite3.connect(partial)) as copy:
                old.backup(copy)
            change(partial)
            _close(partial)
        except Exception as error:  # of three libraries, and of what they are built on
            raise InputError(failure(_words(error))) from error
        finally:
            _remove_sidecars(partial)
        if kept is not None and not kept.exists():
            os.link(path, kept)


@contextmanager
def _frozen(path: Path, kind: Kind) -> Iterator[None]:
    """Nobody writes to the database meanwhile, and all of it is in its one file."""
    try:
        with closing(_connected(path)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("BEGIN IMMEDIATE")
            yield
    except sqlite3.OperationalError as error:
        raise InputError(_in_use(path, kind, str(error))) from None


def _require_unused(path: Path, kind: Kind) -> None:
    """A process that has the old file open would go on writing to it after the new one took its place."""
    if (user := _user(path)) is not None:
        raise InputError(_in_use(path, kind, f"by process {user}"))


def _user(path: Path) -> int | None:
    """The number of another process that has the file open."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(file.path == str(path) for file in process.open_files()):
                return process.pid
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
    return None


def _close(path: Path) -> None:
    """See that everything is in the one file, and sound."""
    with closing(_connected(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok" or any(path.with_name(path.name + sidecar).exists() for sidecar in SIDECARS):
        raise sqlite3.DatabaseError(f"it is not whole: {found}")


def _remove_sidecars(path: Path) -> None:
    for sidecar in SIDECARS:
        path.with_name(path.name + sidecar).unlink(missing_ok=True)


def is_current(path: Path, kind: Kind) -> bool:
    """Whether it is there, sound and of the installed version; False if it is to be made or brought up to date.

    Raises:
        InputError: it is none of these, and neither can be done.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, where {kind.owner}'s database should be: move it away, and run again.")
    if not path.exists() or not path.stat().st_size:
        return False
    state = _state(path, kind)
    heads, known = _head(kind)
    if state.version is not None and state.version not in known:
        other = not state.tables & kind.tables
        raise InputError(
            f"{path} is not {kind.owner}'s database: name another place for it."
            if other
            else f"{path} was written by a newer {kind.owner} (version {state.version} of its tables): install that "
            "one, or put a backup from before back (docs/how-to/operations.md)."
        )
    if state.tables and not state.tables & kind.tables:
        raise InputError(f"{path} holds the tables of something else than {kind.owner}: name another place for it.")
    return state.version == heads


def _state(path: Path, kind: Kind) -> _State:
    """What is in the database.

    Raises:
        InputError: it is damaged, or another process doesn't let it be read.
    """
    with path.open("rb") as file:
        if file.read(len(HEADER)) != HEADER:
            raise InputError(_damaged(path, kind, "it is no SQLite database"))
    try:
        with closing(_connected(path)) as database:
            if path.stat().st_size <= CHECKED_BYTES:
                (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise InputError(_damaged(path, kind, found.splitlines()[-1]))
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = {str(name) for (name,) in rows if not name.startswith(("sqlite_", "alembic_"))}
            version = None
            if ("alembic_version",) in rows:
                version = next(
                    (str(row[0]) for row in database.execute("SELECT version_num FROM alembic_version")), None
                )
            return _State(version, frozenset(names))
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise InputError(_in_use(path, kind, str(error))) from None
        raise InputError(_damaged(path, kind, str(error))) from None
    except sqlite3.DatabaseError as error:
        raise InputError(_damaged(path, kind, str(error))) from None


def _connected(path: Path) -> sqlite3.Connection:
    """An open database, which is not made; transactions begin where they are said to."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _head(kind: Kind) -> tuple[str, frozenset[str]]:
    """The version of the installed tables, and all that came before. Read as text: Alembic imports every migration
    for it, more than a second at every start of every stage."""
    known, replaced = set(), set()
    for path in kind.versions.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        known |= set(re.findall(r"^revision\b[^=\n]*=\s*[\"']([^\"']+)", text, re.M))
        for before in re.findall(r"^down_revision\b[^=\n]*=([^\n]+)", text, re.M):
            replaced |= set(re.findall(r"[\"']([^\"']+)[\"']", before))
    (head,) = known - replaced
    return head, frozenset(known)


# --------------------------------------------------------------------------------------------- messages


def _words(error: BaseException) -> str:
    return redacted(error)[:LONGEST_VALUE].partition("\n")[0]


def _away(path: Path) -> str:
    return f"mv '{path}' '{path}.broken'"


def _damaged(path: Path, kind: Kind, why: str) -> str:
    return (
        f"{kind.owner}'s database {path} is damaged ({why}): put a backup back (docs/how-to/operations.md), or move "
        f"it away with its records ({_away(path)}), and run again: a new one is made."
    )


def _half_made(path: Path, kind: Kind, why: str) -> str:
    table, what = kind.records
    try:
        with closing(_connected(path)) as database:
            (count,) = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - a constant
    except sqlite3.Error:
        count = 0
    holds = f"It holds {count} {what}: put a backup back (docs/how-to/operations.md), or" if count else "It is empty:"
    return (
        f"{kind.owner}'s database {path} can't be brought to the installed version, perhaps because a start that "
        f"made it was killed ({why}). It was left as it is. {holds} move it away ({_away(path)}), and run again: a "
        "new one is made."
    )


def _left(path: Path, kind: Kind, why: str) -> str:
    return f"{kind.owner}'s database {path} was left as it is ({why}): free some space, and run again."


def _in_use(path: Path, kind: Kind, why: str) -> str:
    return (
        f"{kind.owner}'s database {path} is in use ({why}): end what uses it, as `scriptsight ui` or another run, "
        "and run again."
    )
