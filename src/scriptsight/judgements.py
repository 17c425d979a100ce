"""What people think of the moments that a search shows: thumbs up and down, kept in one SQLite file of the workspace.

A judgement is of a stretch of a video and of a query, and not of a row of an index: an index that cuts videos
otherwise, or another model's, is measured by the same judgements. Each is a row, and none is ever changed or deleted:
who takes one back adds a row that says so. The latest word of a person on a stretch counts.

SQLite keeps a rollback journal beside the file while it writes, and none otherwise: the bytes of the file are those
of its rows, so DVC sees a new judgement, and nothing else, as a change.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from scriptsight import files
from scriptsight.errors import InputError

FOLDER = Path("judgements")  # of a workspace
FILE = FOLDER / "judgements.db"
APPLICATION = 0x53735468  # "SsTh": tells the file from other databases
FORMAT = 1  # of the file; raised when an older reader could not read a newer one
PATIENCE = 10.0  # seconds that a writer waits for another
UP, DOWN, BACK = 1, -1, 0
VERDICTS = {UP: "up", DOWN: "down", BACK: "taken back"}
BYS = ("picture", "words", "both")
LONGEST_NAME, LONGEST_QUERY = 80, 10_000  # characters
NOBODY = "somebody"  # who gives no name
OVERLAP = 0.5  # intersection over union from which two stretches are one
TABLE = """
CREATE TABLE judgements (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL, who TEXT NOT NULL, verdict INTEGER NOT NULL CHECK (verdict IN (1, -1, 0)),
    key TEXT NOT NULL, query TEXT NOT NULL,
    collection TEXT NOT NULL, uri TEXT NOT NULL, start REAL NOT NULL, end REAL NOT NULL,
    segment_id TEXT NOT NULL, model TEXT NOT NULL, weights TEXT NOT NULL, rank INTEGER, score REAL
)
"""
INDEX = "CREATE INDEX of_query ON judgements (key)"
COLUMNS = (
    *("at", "who", "verdict", "asked", "query", "collection", "uri", "start", "end"),
    *("segment_id", "model", "weights", "rank", "score"),
)  # of the CSV
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # what a spreadsheet would compute, and the sign that hides it


@dataclass(frozen=True)
class Stretch:
    """A part of a video, `start` to `end` seconds."""

    collection: str
    uri: str
    start: float
    end: float

    def overlap(self, other: Stretch) -> float:
        """Intersection over union in time, 0 to 1; 0 in another video."""
        if (self.collection, self.uri) != (other.collection, other.uri):
            return 0.0
        shared = min(self.end, other.end) - max(self.start, other.start)
        whole = max(self.end, other.end) - min(self.start, other.start)
        return max(0.0, shared / whole) if whole > 0 else 1.0

    def lies_within(self, other: Stretch) -> bool:
        """Whether all of it is a part of the other."""
        same = (self.collection, self.uri) == (other.collection, other.uri)
        return same and other.start <= self.start and self.end <= other.end


@dataclass(frozen=True)
class Query:
    """What was asked: one of `words`, `like` and `clip`, and how. The order within a filter counts for nothing."""

    words: str = ""
    like: Stretch | None = None  # the example; its segment may have another name in another index
    clip: str = ""  # SHA-256 of the file
    by: str = "picture"
    collections: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    said: str = ""

    def __str__(self) -> str:
        """For people: the words, or what stands for them."""
        if self.like:
            return f"like {self.like.uri} at {self.like.start:.1f} s"
        return f"clip {self.clip[:8]}" if self.clip else self.words

    @property
    def key(self) -> str:
        """Equal for equal queries, 16 hexadecimal digits."""
        return _digest(self.as_json())

    @property
    def need(self) -> str:
        """Equal for queries that look for the same, however they are asked: these are no independent evidence."""
        return _digest(Query(self.words, self.like, self.clip).as_json())

    def as_json(self) -> str:
        """One text for equal queries; what is not asked is left out."""
        found: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, tuple):
                value = sorted(set(value))
            elif isinstance(value, str):
                value = " ".join(value.split())
            elif value is not None:
                value = {"collection": value.collection, "uri": value.uri, "start": value.start, "end": value.end}
            if value:
                found[one.name] = value
        return json.dumps(found, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Query:
        """What `as_json` wrote.

        Raises:
            InputError: it is no query.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if like := values.pop("like", None):
                values["like"] = Stretch(**like)
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            query = cls(**given)
            query.check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{text[:200]!r} is no query: {error}.") from error
        return query

    def check(self) -> None:
        """See that it is one that may be kept.

        Raises:
            InputError: it asks for nothing, for several things at once, or for something that can't be kept.
        """
        asked = [bool(self.words.strip()), self.like is not None, bool(self.clip)]
        if sum(asked) != 1:
            raise InputError("A judgement is of a query: name words, a moment or a clip, and one of them.")
        if self.by not in BYS:
            raise InputError(f"A query goes by {', '.join(BYS)}, and not by {self.by!r}.")
        if self.clip and not (len(self.clip) == 64 and set(self.clip) <= set("0123456789abcdef")):
            raise InputError(f"{self.clip[:80]!r} is no digest of a clip: it has 64 hexadecimal digits.")
        named = (*self.collections, *self.labels, *self.languages, *self.splits)
        if not all(isinstance(one, str) for one in (self.words, self.said, *named)):
            raise InputError("The words and filters of a query are texts.")
        if self.like is not None:
            _check_stretch(self.like)
        if len(self.as_json()) > LONGEST_QUERY:
            raise InputError(f"The query is too long to be kept: it may have {LONGEST_QUERY:,} characters.")


@dataclass(frozen=True)
class Judgement:
    """One word of one person on one moment."""

    who: str
    verdict: int  # UP, DOWN, or BACK: an earlier one is taken back
    query: Query
    stretch: Stretch
    segment_id: str = ""  # of the index that it was shown from
    model: str = ""  # its name on the page
    weights: str = ""  # SHA-256 of its weights
    rank: int | None = None  # which place it had, from 1; None where it was not among those shown
    score: float | None = None
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))  # UTC

    def check(self) -> None:
        """See that it is one that may be kept.

        Raises:
            InputError: it is not.
        """
        self.query.check()
        _check_stretch(self.stretch)
        if self.verdict not in VERDICTS:
            raise InputError(f"A verdict is 1 (up), -1 (down) or 0 (taken back), and not {self.verdict!r}.")
        if not self.who.strip() or len(self.who) > LONGEST_NAME or not self.who.isprintable():
            raise InputError(f"A name has 1 to {LONGEST_NAME} characters that can be printed.")
        if self.score is not None and not math.isfinite(self.score):
            raise InputError(f"A score is a number, and not {self.score}.")
        _check_time(self.at)


@dataclass(frozen=True)
class Opinion:
    """What people think of one stretch, asked one query."""

    stretch: Stretch
    latest: dict[str, Judgement]  # who -> the judgement that counts

    @property
    def votes(self) -> dict[str, int]:
        """Who -> UP or DOWN."""
        return {who: one.verdict for who, one in self.latest.items()}

    @property
    def gain(self) -> float:
        """The share of these people who say that it is right."""
        return sum(vote == UP for vote in self.votes.values()) / len(self.latest)


def opinions(judgements: Iterable[Judgement]) -> list[Opinion]:
    """What counts of the judgements of one query: of each person the latest on each stretch.

    Stretches that overlap by half of what both cover are one, so that a moment that another search shows a little
    longer can be taken back, too; its bounds are those of the first judgement.
    """
    found: list[Opinion] = []
    for one in sorted(judgements, key=lambda one: one.at):  # of one time those that were written later come later
        near = max(found, key=lambda opinion: opinion.stretch.overlap(one.stretch), default=None)
        if near is None or near.stretch.overlap(one.stretch) < OVERLAP:
            near = Opinion(one.stretch, {})
            found.append(near)
        near.latest.pop(one.who, None)
        if one.verdict != BACK:
            near.latest[one.who] = one
    return [opinion for opinion in found if opinion.latest]


def opinion_on(stretch: Stretch, known: Sequence[Opinion]) -> Opinion | None:
    """The opinion that holds for a stretch that is shown: of those that overlap it by half of what both cover, or
    within whose stretch it lies, the one that overlaps it most.

    A part of a stretch that was judged has its verdict: who said that a stretch does not show what they asked for
    said it of all of it. The other way round it is not so: most of a far longer stretch was never looked at.
    """
    fitting = [one for one in known if one.stretch.overlap(stretch) >= OVERLAP or stretch.lies_within(one.stretch)]
    return max(fitting, key=lambda one: one.stretch.overlap(stretch), default=None)


def by_query(judgements: Iterable[Judgement]) -> dict[str, tuple[Query, list[Opinion]]]:
    """Key of a query -> the query, and what people think of its moments; ordered by key, without queries of which
    all was taken back."""
    rows: dict[str, list[Judgement]] = {}
    for one in judgements:
        rows.setdefault(one.query.key, []).append(one)
    found = {key: (rows[key][0].query, opinions(rows[key])) for key in sorted(rows)}
    return {key: (query, thought) for key, (query, thought) in found.items() if thought}


# ------------------------------------------------------------------------------------------------------ the file


class Store:
    """The judgements of a workspace. Each call opens and closes the file: any number of threads and processes may
    write, and one that is killed leaves all or nothing of what it wrote."""

    def __init__(self, path: Path) -> None:
        """The file is made when the first judgement is given."""
        self.path = path

    def add(self, *judgements: Judgement) -> int:
        """Keep judgements, all or none -> how many are new; one that is there already is not kept twice.

        Raises:
            InputError: one of them may not be kept, the disk is full, the file is damaged, busy for long, of a
                newer version, or can't be written.
        """
        for one in judgements:
            one.check()
        with files.room(self.path), _readable(self.path):
            if not self.path.exists():
                _create(self.path)
            with _opened(self.path) as database:
                database.execute("BEGIN IMMEDIATE")
                added = sum(_insert(database, one) for one in judgements)
                database.execute("COMMIT")
        return added

    def read(self, key: str | None = None) -> list[Judgement]:
        """All judgements in the order in which they were written, or those of the query with this key; none where
        there is no file yet.

        Raises:
            InputError: the file is damaged, busy for long, of a newer version, or can't be read.
        """
        if not self.path.exists():
            return []
        with _readable(self.path), _opened(self.path) as database:
            if key is None:  # what a damaged page holds would be missing without a word
                (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if state != "ok":
                    raise InputError(_damaged(self.path, state))
            chosen = ("", ()) if key is None else ("WHERE key = ?", (key,))
            rows = database.execute(f"SELECT * FROM judgements {chosen[0]} ORDER BY id", chosen[1])  # noqa: S608
            names = [column[0] for column in rows.description]
            try:
                return [_judgement(dict(zip(names, row, strict=True))) for row in rows]
            except (InputError, TypeError) as error:
                raise InputError(_damaged(self.path, error)) from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"{path.resolve().as_uri()}?mode=rw"  # read-only where the file is; never made by opening it
    with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = EXTRA")  # what was said to be kept outlives a power cut
        (kind,), (version,) = (database.execute(f"PRAGMA {n}").fetchone() for n in ("application_id", "user_version"))
        if kind != APPLICATION:
            raise InputError(_damaged(path, "it is no file of judgements"))
        if version != FORMAT:
            raise InputError(
                f"{path} has format {version}, this version reads {FORMAT}: update scriptsight, or move the file "
                "away and import the CSV that the other version exports."
            )
        yield database


def _create(path: Path) -> None:
    """Make the file, whole, unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.parent / ".gitignore").exists():
        (path.parent / ".gitignore").write_text(
            "*\n", encoding="utf-8"
        )  # git can't merge it: a CSV is what is shared
    partial = files.partial_path(path)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as database:
            for line in ("BEGIN", TABLE, INDEX, f"PRAGMA application_id = {APPLICATION}"):
                database.execute(line)
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute("COMMIT")
        try:
            os.link(partial, path)  # replaces nothing, as renaming would
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What SQLite says of the file becomes words for people; a full disk is left to `files.room`."""
    try:
        yield
    except (sqlite3.Error, PermissionError, FileExistsError, NotADirectoryError) as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_CANTOPEN")
        if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            raise
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            problem = f"{path} is busy: another process has been writing to it for {PATIENCE:.0f} s. Try again."
        elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
            problem = (
                f"{path} can't be read and written ({error}): see that the folder exists, that it is yours to write, "
                "and that its disk is there."
            )
        else:
            problem = _damaged(path, error)
        raise InputError(problem) from error


def _damaged(path: Path, what: object) -> str:
    return (
        f"{path} is damaged: {' '.join(str(what).split())}. Nothing was changed. Bring it back from a copy, or move "
        "it away and import a CSV that was exported before: scriptsight judgements --import FILE."
    )


def _insert(database: sqlite3.Connection, one: Judgement) -> int:
    stretch = (one.stretch.collection, one.stretch.uri, one.stretch.start, one.stretch.end)
    known = database.execute(
        "SELECT 1 FROM judgements WHERE key = ? AND at = ? AND who = ? AND verdict = ? AND collection = ? "
        "AND uri = ? AND start = ? AND end = ?",
        (one.query.key, one.at, one.who, one.verdict, *stretch),
    ).fetchone()
    if known:
        return 0
    names = "at, who, verdict, key, query, collection, uri, start, end, segment_id, model, weights, rank, score"
    values = [one.at, one.who, one.verdict, one.query.key, one.query.as_json(), *stretch]
    values += [one.segment_id, one.model, one.weights, one.rank, one.score]
    database.execute(f"INSERT INTO judgements ({names}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
    return 1


def _judgement(row: dict[str, Any]) -> Judgement:
    found = Judgement(
        who=row["who"],
        verdict=row["verdict"],
        query=Query.from_json(row["query"]),
        stretch=Stretch(row["collection"], row["uri"], row["start"], row["end"]),
        **{name: row[name] for name in ("segment_id", "model", "weights", "rank", "score", "at")},
    )
    found.check()
    return found


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _check_stretch(stretch: Stretch) -> None:
    if not stretch.collection or not stretch.uri:
        raise InputError("A stretch is of a video: it has a collection and an address.")
    if not (math.isfinite(stretch.start) and math.isfinite(stretch.end) and stretch.start <= stretch.end):
        raise InputError(f"A stretch begins before it ends, and not from {stretch.start} to {stretch.end}.")


def _check_time(text: str) -> None:
    try:
        there = datetime.fromisoformat(text)
    except ValueError:
        there = None
    if there is None or there.tzinfo is None or there.utcoffset() or there.isoformat(timespec="microseconds") != text:
        raise InputError(f"{text!r} is no time: write it as 2026-01-31T12:30:00.000000+00:00, in UTC.")


# ---------------------------------------------------------------------------------------------------------- CSV


def to_csv(judgements: Iterable[Judgement]) -> str:
    """Judgements as a table, in UTF-8 with line feeds. Cells that a spreadsheet would take for a formula get a ' in
    front, and `from_csv` takes it away."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in judgements:
        stretch = one.stretch
        cells: list[object] = [one.at, one.who, VERDICTS[one.verdict], str(one.query), one.query.as_json()]
        cells += [stretch.collection, stretch.uri, stretch.start, stretch.end]
        cells += [one.segment_id, one.model, one.weights, one.rank, one.score]
        table.writerow([safe_cell(cell) for cell in cells])
    return out.getvalue()


def from_csv(text: str, name: str) -> list[Judgement]:
    """Judgements of a table that `to_csv` made; a copy that a spreadsheet saved is read as well.

    Args:
        name: of the file, for messages.

    Raises:
        InputError: a line is no judgement; the message says which.
    """
    verdicts = {word: number for number, word in VERDICTS.items()}
    found = []
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := set(COLUMNS) - set(table.fieldnames or ()):
        raise InputError(f"{name} is no table of judgements: it has no column {min(missing)!r}.")
    try:
        for row in table:
            if None in row or None in row.values():
                raise ValueError("it has too many cells, or too few")
            cells = {column: _without_sign(cell) for column, cell in row.items()}
            one = _judgement(
                {
                    **cells,
                    "verdict": verdicts.get(cells["verdict"], cells["verdict"]),
                    "start": float(cells["start"]),
                    "end": float(cells["end"]),
                    "rank": int(cells["rank"]) if cells["rank"] else None,
                    "score": float(cells["score"]) if cells["score"] else None,
                }
            )
            found.append(one)
    except (ValueError, csv.Error) as error:  # an InputError is one
        raise InputError(f"{name}, line {table.line_num}, is no judgement: {error}") from error
    return found


def safe_cell(cell: object) -> object:
    """What a cell of a table becomes that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _without_sign(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell
