"""Full-text search of what is said, by SQLite's FTS5: BM25 for ranking, and moments with certain words."""

from __future__ import annotations

import re
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


class Words:
    """A full-text index that was opened, read-only. Its file may be replaced meanwhile: this one stays what it is."""

    def __init__(self, path: Path) -> None:
        self._database = _connect(path, "?mode=ro&immutable=1")
        self._alone = threading.Lock()  # a connection answers one thread at a time
        weakref.finalize(self, self._database.close)
        self._ask("a", "", "LIMIT 1", ())

    def best(self, query: str, top: int) -> np.ndarray:
        """Rows in which any word of `query` is said, the best by BM25 first -> int64, `top` at most."""
        return self._ask(query, " OR ", "ORDER BY rank, rowid LIMIT ?", (top,))

    def with_all(self, query: str) -> np.ndarray:
        """Rows in which all words of `query` are said, ascending -> int64."""
        return self._ask(query, " AND ", "ORDER BY rowid", ())

    def _ask(self, query: str, joined: str, order: str, more: tuple[int, ...]) -> np.ndarray:
        # Words in quotes are words, whatever FTS5's query language makes of them.
        asked = joined.join(f'"{word}"' for word in re.findall(r"\w+", query))
        if not asked:
            return np.empty(0, dtype=np.int64)
        with self._alone:
            found = self._database.execute(f"SELECT rowid FROM said WHERE said MATCH ? {order}", (asked, *more))  # noqa: S608
            return np.fromiter((rowid for (rowid,) in found), dtype=np.int64)


class Writer:
    """Takes the text of one row after another."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, row: int, text: str) -> None:
        self._database.execute("INSERT INTO said (rowid, text) VALUES (?, ?)", (row, text))


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Make a full-text index; equal texts give equal bytes."""
    with _connected(path, "?mode=rwc") as database:
        database.execute("PRAGMA journal_mode = OFF")  # the folder appears whole or not at all
        # Without content: what is said is in the table of moments already.
        database.execute("CREATE VIRTUAL TABLE said USING fts5 (text, content = '', tokenize = 'unicode61')")
        database.execute("BEGIN")
        yield Writer(database)
        database.execute("COMMIT")
        database.execute("INSERT INTO said (said) VALUES ('optimize')")


def read(path: Path) -> Words:
    """Open a full-text index.

    Raises:
        sqlite3.DatabaseError: there is none, or it is damaged.
    """
    return Words(path)


@contextmanager
def _connected(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    database = _connect(path, how)
    try:
        yield database
    finally:
        database.close()


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(path.resolve().as_uri() + how, uri=True, isolation_level=None, check_same_thread=False)
