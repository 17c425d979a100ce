"""What a source says of its videos before anything is opened: every reader fills one of these lists."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import weakref
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

from pydantic import TypeAdapter

from scriptsight.catalogue import Cue, Reject

# Of a caption file: the reason of a row that refuses no video, and that counts as none.
NOT_USED = "captions not used"


@dataclass(frozen=True)
class Excerpt:
    """What part of a film a file is, where its script goes, or may go, by the clock of the film.

    Attributes:
        stretches: seconds of the film that the file has, one after the other, where that is known; an end of None is
            the film's.
        seconds: the film's length, where the file may have lost parts of it.
        removable: what may have been removed: from, to, and a kind; parts of one kind are gone together.
        leads: the file may begin earlier, at the key frame before.
        may_be_cut: the script may have been cut together with the file, and go by its clock.
    """

    stretches: tuple[tuple[float, float | None], ...] = ()
    seconds: float | None = None
    removable: tuple[tuple[float, float, str], ...] = ()
    leads: bool = False
    may_be_cut: bool = True


@dataclass(frozen=True)
class Entry:
    """One video as its source describes it. Plain values only: entries travel to worker processes.

    Attributes:
        video_id: unique in its collection; letters, digits, `_` and `-` (it becomes part of names).
        split: "train", "val" or "test".
        uri: a local path or an fsspec address; a member of an archive is `tar://MEMBER::ARCHIVE`.
        script: path or address of its caption file, read by the parser that `captions.PARSERS` has for it.
        fallbacks: more caption files, each with its language where that is known: they are tried in this order where
            `script` holds no captions (it is damaged, empty, or of something else).
        problem: reason and detail of a reject, if none of these files turns out to hold captions.
        cues: what is said, where the source itself carries it (HowTo100M's one JSON of all videos); not yet
            cleaned. At most one of `script` and `cues` is given.
        encoding: of its caption files, where the collection names one.
        embedded: look for a subtitle track inside the video, as neither is given.
        language: of what is said, and of `script`.
        captions: descriptions without times, the first counts where one is wanted.
        recording: names what it was cut from, where that is known: clips of one recording are no independent
            evidence. Equal in all collections for one recording.
        start, end: seconds of the media file that this entry is, where a dataset cuts clips by time only;
            None is the whole file.
        excerpt: the file is a part of a film, and its script may be that of the film.
    """

    video_id: str
    split: str
    uri: str
    script: str | None = None
    fallbacks: tuple[tuple[str, str | None], ...] = ()
    problem: tuple[str, str] | None = None
    cues: tuple[Cue, ...] | None = None
    embedded: bool = False
    language: str | None = None
    title: str | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None
    recording: str | None = None
    encoding: str | None = None
    start: float | None = None
    end: float | None = None
    excerpt: Excerpt | None = None


_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
LONGEST = 1000  # characters of a reject's texts


class Listed:
    """What a source has: entries, which come out in order and with safe ids, and what it refuses.

    All waits on disk (a temporary SQLite database in TMPDIR), so that memory does not grow with the number of
    videos: a dataset's files are in any order and may be larger than memory. Iterating gives the rejects as they were
    found, then the entries.
    """

    def __init__(self) -> None:
        # SQLite's "" is a private file that goes with the connection. The check is off as the list may be collected
        # in another thread than the one that filled it; two never use it at once.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._finalizer = weakref.finalize(self, self._database.close)
        for command in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE entries (key TEXT UNIQUE, id TEXT, folded TEXT, uri TEXT, entry TEXT)",
            "CREATE TABLE rejects (collection, uri, reason, detail)",
            "BEGIN",
        ):
            self._database.execute(command)

    def __iter__(self) -> Iterator[Entry | Reject]:
        yield from self.rejects()
        yield from self.entries()

    def close(self) -> None:
        """Give the disk space back, which is done anyway when the list is out of use."""
        self._finalizer()

    def add(self, entry: Entry, key: str | None = None) -> bool:
        """Take an entry, whose `video_id` may still be any text; False: there is one with this key.

        Args:
            key: what distinguishes the video in its source, if that is not its id.

        Raises:
            ValueError: a text of it is no Unicode.
        """
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", entry.video_id)
        row = (key or entry.video_id, safe, safe.casefold(), entry.uri, _ENTRY.dump_json(entry).decode())
        return self._database.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?)", row).rowcount == 1

    def refuse(self, reject: Reject) -> None:
        """Take a reject, readable: names from anywhere may be no Unicode, which no table can hold, or endless."""
        uri, detail = (text.encode(errors="backslashreplace").decode() for text in (reject.uri, reject.detail))
        row = astuple(replace(reject, uri=uri[:LONGEST], detail=detail[:LONGEST]))
        self._database.execute("INSERT INTO rejects VALUES (?, ?, ?, ?)", row)

    def videos(self) -> int:
        """How many videos the source names, those that it refuses itself among them."""
        refused = (
            f"SELECT count(*) FROM rejects WHERE uri NOT IN (SELECT uri FROM entries) AND reason != '{NOT_USED}'"  # noqa: S608
        )
        return sum(self._database.execute(query).fetchone()[0] for query in ("SELECT count(*) FROM entries", refused))

    def rejects(self) -> Iterator[Reject]:
        """What the source refused, as it came."""
        for row in self._database.execute("SELECT * FROM rejects ORDER BY rowid"):
            yield Reject(*row)

    def entries(self) -> Iterator[Entry]:
        """The entries by `video_id`, of letters, digits, `_` and `-`; what would collide or is very long gets a
        short hash of its key."""
        self._database.execute("CREATE INDEX IF NOT EXISTS folded ON entries (folded)")
        # Some file systems fold case.
        collide = "SELECT folded FROM entries GROUP BY folded HAVING count(*) > 1"
        clashing = self._database.execute(
            f"SELECT key, id FROM entries WHERE folded IN ({collide}) OR length(id) > 80"  # noqa: S608
        ).fetchall()
        for key, safe in clashing:
            unique = f"{safe[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
            self._database.execute("UPDATE entries SET id = ? WHERE key = ?", (unique, key))
        self._database.execute("CREATE INDEX IF NOT EXISTS id ON entries (id)")
        for safe, entry in self._database.execute("SELECT id, entry FROM entries ORDER BY id"):
            yield replace(_ENTRY.validate_json(entry), video_id=safe)
