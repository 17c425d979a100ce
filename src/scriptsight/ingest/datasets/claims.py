"""From what annotation files say to entries in order: videos looked up, ids made safe, doubles refused."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from scriptsight.catalogue import Cue, Reject
from scriptsight.ingest.datasets.listing import Listing, unsafe
from scriptsight.ingest.sources import Entry

MISSING = "missing video"
LONGEST = 1000  # characters of a reject's texts


@dataclass(frozen=True)
class Claim:
    """What a source says of one video.

    Attributes:
        where: file and line that say it.
        entry: `video_id` is still the dataset's own id, and `uri` is empty where the video must be looked up.
        names: what its file may be called, the surest first.
    """

    where: str
    entry: Entry
    names: tuple[str, ...] = ()


def assemble(name: str, claims: Iterable[Claim | Reject], media: Listing) -> Iterator[Entry | Reject]:
    """Yield the rejects as they are found, then the entries in order of `video_id`.

    Claims wait for their turn on disk (a temporary SQLite database in TMPDIR), so that memory does not grow with
    their number; a dataset's file is in any order and may be larger than memory.

    Rejected are: a name that leaves the folder, a video that is not there or could be one of several files, and
    the second claim to an id.
    """
    waiting = _Waiting()
    try:
        for claim in claims:
            reject = claim if isinstance(claim, Reject) else _take(name, claim, media, waiting)
            if reject:
                yield _readable(reject)
        for unnameable in media.unnameable:
            yield _readable(Reject(name, unnameable, "unusable file name", f"in {media.folder}: rename it"))
        yield from waiting.in_order()
    finally:
        waiting.close()


def share_split(key: str, val_share: float, test_share: float = 0.0) -> str:
    """A split by a number in [0, 1) that belongs to the key: it stays when other videos come or go."""
    digest = hashlib.sha256(key.encode(errors="backslashreplace")).digest()  # a key from anywhere may be no Unicode
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < test_share:
        return "test"
    return "val" if share < test_share + val_share else "train"


def with_val(split: str, key: str, val_share: float) -> str:
    """An official split, with `val_share` of the training videos taken out for validation.

    `key` names the recording: clips of one recording go to the same side.
    """
    return share_split(key, val_share) if split == "train" else split


def _readable(reject: Reject) -> Reject:
    """Names from anywhere may be no Unicode, which no table can hold, or endless."""
    uri, detail = (text.encode(errors="backslashreplace").decode() for text in (reject.uri, reject.detail))
    return replace(reject, uri=uri[:LONGEST], detail=detail[:LONGEST])


def _take(name: str, claim: Claim, media: Listing, waiting: _Waiting) -> Reject | None:
    """Look a claim's video up and let its entry wait, or say why not."""
    entry = claim.entry
    if not entry.video_id or any(unsafe(given) for given in (entry.video_id, *claim.names)):
        return Reject(name, claim.where, "unsafe name", f"{entry.video_id!r} is no name of a video in a folder")
    if not entry.uri:
        found = media.matches(*claim.names)
        if not found:
            return Reject(name, claim.where, MISSING, f"{claim.names[0]!r} is not in {media.folder}")
        if len(found) > 1:
            choice = ", ".join(found[:5])
            return Reject(name, claim.where, "ambiguous video", f"{claim.names[0]!r} may be: {choice}")
        entry = replace(entry, uri=media.address(found[0]))
    try:
        if not waiting.add(entry):
            return Reject(name, claim.where, "duplicate id", f"{entry.video_id!r} was named before")
    except UnicodeEncodeError as error:
        return Reject(
            name, claim.where, "bad text", f"what is said of {entry.video_id!r} is no Unicode: {error.reason}"
        )
    return None


class _Waiting:
    """Entries on disk until all are known; SQLite's "" is a private file that goes with the connection."""

    def __init__(self) -> None:
        # A generator may be drawn from by another thread than the one that began it, never by two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE entries (key TEXT UNIQUE, id TEXT, folded TEXT, entry TEXT)")
        self._db.execute("BEGIN")

    def add(self, entry: Entry) -> bool:
        """False: there is one with this id."""
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", entry.video_id)
        row = (entry.video_id, safe, safe.casefold(), _dumped(entry))
        return self._db.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)", row).rowcount == 1

    def in_order(self) -> Iterator[Entry]:
        """All entries with safe ids, in their order; what would collide or is very long gets a short hash."""
        self._db.execute("CREATE INDEX folded ON entries (folded)")
        # Some file systems fold case.
        collide = "SELECT folded FROM entries GROUP BY folded HAVING count(*) > 1"
        clashing = self._db.execute(
            f"SELECT key, id FROM entries WHERE folded IN ({collide}) OR length(id) > 80"  # noqa: S608
        ).fetchall()
        for key, safe in clashing:
            unique = f"{safe[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
            self._db.execute("UPDATE entries SET id = ? WHERE key = ?", (unique, key))
        self._db.execute("CREATE INDEX id ON entries (id)")
        for safe, entry in self._db.execute("SELECT id, entry FROM entries ORDER BY id"):
            yield _loaded(safe, entry)

    def close(self) -> None:
        self._db.close()


def _dumped(entry: Entry) -> str:
    fields = {key: value for key, value in vars(entry).items() if value is not None}
    if entry.cues is not None:
        fields["cues"] = [(cue.start, cue.end, cue.text) for cue in entry.cues]
    return json.dumps(fields, ensure_ascii=False)


def _loaded(safe: str, text: str) -> Entry:
    fields = json.loads(text)
    if "cues" in fields:
        fields["cues"] = tuple(Cue(*cue) for cue in fields["cues"])
    return Entry(**fields | {"video_id": safe, "captions": tuple(fields["captions"])})
