"""Where the bytes of a video lie, and which video an address means."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from scriptsight.media import fingerprint
from scriptsight.page.shelf import Empty, Missing, Opened, Shelf, Video

KNOWN = 60.0  # seconds for which a server elsewhere isn't asked again whether a video changed
FORMAT = 1  # of what is kept of a video; raised when newer code makes it differently


@dataclass(frozen=True)
class Source:
    """A video's bytes: where they are, and a name that changes with them."""

    uri: str  # an absolute path, or an address elsewhere
    name: str  # 16 hex digits
    changed: float  # when, in seconds since 1970; 0 where that isn't known

    @property
    def here(self) -> bool:
        """Whether they lie on this machine."""
        return "://" not in self.uri


class Sources:
    """Finds the bytes of videos; servers elsewhere are asked once a minute."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, Source]] = {}

    def of(self, video: Video, folder: Path) -> Source:
        """The bytes of a video of a workspace.

        Raises:
            MediaError: they are not there.
        """
        uri = video.uri if "://" in video.uri else str(folder / video.uri)
        asked, known = self._asked.get(uri, (0.0, None))
        if known is not None and time.monotonic() - asked < KNOWN:
            return known
        size, mark = fingerprint(uri)
        name = blake2b(f"{FORMAT}\n{video.key}\n{uri}\n{size}\n{mark}".encode(), digest_size=8).hexdigest()
        here = "://" not in uri
        source = Source(uri, name, int(mark) / 1e9 if here else 0.0)
        if not here:
            self._asked[uri] = time.monotonic(), source
        return source


def found(shelf: Shelf, key: str) -> tuple[Opened, Video]:
    """The video with this key, of any model's index.

    Raises:
        Missing: no index names it.
        Empty: there is no index at all.
    """
    empty: Empty | None = None
    for name in shelf.names:
        try:
            opened = shelf.open(name)
            return opened, opened.video(key)
        except Empty as error:
            empty = empty or error
        except Missing:
            pass
    if empty:
        raise empty
    raise Missing("There is no such video in this index.")
