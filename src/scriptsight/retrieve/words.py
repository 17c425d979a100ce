"""Full-text search of what is said, by SQLite's FTS5: BM25 for ranking, and moments with certain words."""

from __future__ import annotations

import re
import sqlite3
import threading
import unicodedata
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

RANKED = 50_000  # rows, as often as a word of the query is said in them: BM25 takes a second for a million
COUNTED = 100_000  # words whose number of rows is remembered


class Words:
    """A full-text index that was opened, read-only. Its file may be replaced meanwhile: this one stays what it is."""

    def __init__(self, path: Path) -> None:
        self._database = _connect(path, "?mode=ro&immutable=1")
        self._alone = threading.Lock()  # a connection answers one thread at a time
        weakref.finalize(self, self._database.close)
        self._counts: dict[str, int] = {}
        self._database.execute("PRAGMA temp_store = MEMORY")
        self._database.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, said, row)")
        self._ask(["a"], "", "LIMIT 1", ())

    def best(self, query: str, top: int) -> np.ndarray:
        """Rows in which any word of `query` is said, the best by BM25 first -> int64, `top` at most.

        Words that are said in very many rows tell little and cost most: beyond `RANKED` rows in all, only the rarer
        words count.
        """
        return self._ask(self._telling(_words(query)), " OR ", "ORDER BY rank, rowid LIMIT ?", (top,))

    def with_all(self, query: str) -> np.ndarray:
        """Rows in which all words of `query` are said, ascending -> int64."""
        return self._ask(_words(query), " AND ", "ORDER BY rowid", ())

    def _telling(self, words: Sequence[str]) -> list[str]:
        """The rarest words, as many as `RANKED` allows, but one at least."""
        if len(words) < 2:
            return list(words)
        counts = {word: self._count(word) for word in words}
        kept: list[str] = []
        total = 0
        for word in sorted(counts, key=lambda one: counts[one]):
            total += counts[word]
            # A word that is nowhere takes nobody's place.
            if total > RANKED and any(counts[other] for other in kept):
                break
            kept.append(word)
        return kept

    def _count(self, word: str) -> int:
        """In how many rows a word is said."""
        folded = unicodedata.normalize("NFD", word.casefold())
        term = "".join(sign for sign in folded if not unicodedata.combining(sign))  # as the index has it
        if term not in self._counts:
            with self._alone:
                found = self._database.execute("SELECT doc FROM temp.terms WHERE term = ?", (term,)).fetchone()
            if len(self._counts) >= COUNTED:
                self._counts.clear()
            self._counts[term] = found[0] if found else 0
        return self._counts[term]

    def _ask(self, words: Sequence[str], joined: str, order: str, more: tuple[int, ...]) -> np.ndarray:
        # Words in quotes are words, whatever FTS5's query language makes of them.
        asked = joined.join(f'"{word}"' for word in words)
        if not asked:
            return np.empty(0, dtype=np.int64)
        with self._alone:
            found = self._database.execute(f"SELECT rowid FROM said WHERE said MATCH ? {order}", (asked, *more))  # noqa: S608
            return np.fromiter((rowid for (rowid,) in found), dtype=np.int64)


def _words(query: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\w+", query)))


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
