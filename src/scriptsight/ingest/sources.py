"""What a source says of a video before anything is opened: every reader of a dataset layout yields these."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

from pydantic import TypeAdapter

from scriptsight.catalogue import Cue, Reject
from scriptsight.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One video as its source describes it. Plain values only: entries travel to worker processes.

    Attributes:
        video_id: unique in its collection; letters, digits, `_` and `-` (it becomes part of names).
        split: "train", "val" or "test".
        uri: a local path or an fsspec address; a member of an archive is `tar://MEMBER::ARCHIVE`.
        script: path or address of its caption file, read by the parser that `captions.PARSERS` has for it.
        cues: what is said, where the source itself carries it (HowTo100M's one JSON of all videos); not yet
            cleaned. At most one of `script` and `cues` is given.
        embedded: look for a subtitle track inside the video, as neither is given.
        captions: descriptions without times, the first counts where one is wanted.
        start, end: seconds of the media file that this entry is, where a dataset cuts clips by time only;
            None is the whole file.
    """

    video_id: str
    split: str
    uri: str
    script: str | None = None
    cues: tuple[Cue, ...] | None = None
    embedded: bool = False
    language: str | None = None
    title: str | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None
    start: float | None = None
    end: float | None = None


_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class Listed:
    """All that a source yields, on disk (published datasets list millions) and put in order. Close it after use.

    Raises:
        InputError: two entries share an id.
    """

    def __init__(self, name: str, source: Iterable[Entry | Reject]) -> None:
        self._database = sqlite3.connect("")  # a temporary file that nobody else sees
        self._database.execute("CREATE TABLE entries (video_id TEXT PRIMARY KEY, uri, line)")
        self._database.execute("CREATE TABLE rejects (collection, uri, reason, detail)")
        for one in source:
            if isinstance(one, Reject):
                self._database.execute("INSERT INTO rejects VALUES (?, ?, ?, ?)", astuple(one))
                continue
            row = (one.video_id, one.uri, _ENTRY.dump_json(one))
            try:
                self._database.execute("INSERT INTO entries VALUES (?, ?, ?)", row)
            except sqlite3.IntegrityError:
                find = "SELECT uri FROM entries WHERE video_id = ?"
                (other,) = self._database.execute(find, row[:1]).fetchone()
                raise InputError(
                    f"Two videos of collection {name!r} have the id {one.video_id!r}: {other} and {one.uri}. "
                    "Rename one of them."
                ) from None

    def close(self) -> None:
        """Give the disk space back."""
        self._database.close()

    def videos(self) -> int:
        """How many videos the source names, those that it refuses itself among them."""
        refused = "SELECT count(*) FROM rejects WHERE uri NOT IN (SELECT uri FROM entries)"
        return sum(self._database.execute(query).fetchone()[0] for query in ("SELECT count(*) FROM entries", refused))

    def entries(self) -> Iterator[Entry]:
        """The entries, by their id."""
        for (line,) in self._database.execute("SELECT line FROM entries ORDER BY video_id"):
            yield _ENTRY.validate_json(line)

    def rejects(self) -> Iterator[Reject]:
        """What the source refused, as it came."""
        for row in self._database.execute("SELECT * FROM rejects ORDER BY rowid"):
            yield Reject(*row)
