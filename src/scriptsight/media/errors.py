"""The one exception of media, and what becomes of a video whose work ended in an error."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from scriptsight.errors import InputError
from scriptsight.redaction import redacted


class MediaError(ValueError):
    """A media file that can't be read, or not to its end. What was given before it was raised is good.

    Reasons are few, to be counted: "missing video", "no access", "unreachable", "unreadable archive", "unknown
    address", "disk full" of addresses; "empty file", "no video stream", "odd shape", "unreadable video",
    "unreadable audio", "unreadable subtitle track", "broken stretch", "ends early" of files.
    """

    def __init__(self, path: str | Path, reason: str, detail: str, time: float | None = None) -> None:
        super().__init__(f"{path}: {reason}: {detail}")
        self.path, self.reason, self.detail = str(path), reason, detail
        self.time = time  # seconds of video that are good; None where there are none

    def __reduce__(self) -> tuple[Any, ...]:  # exceptions with arguments of their own don't pickle otherwise
        return type(self), (self.path, self.reason, self.detail, self.time)


def refusal(error: Exception) -> tuple[str, str]:
    """Reason and detail with which a video is refused on which work ended in `error`: one that nobody foresaw, too,
    for among millions of files there is always another, and it must not end the stage.

    Raises:
        InputError, OSError: `error` itself, where it is no fault of the video: the message tells the user what to
            do, or the disk is full.
    """
    if isinstance(error, MediaError):
        return error.reason, error.detail
    if isinstance(error, InputError) or getattr(error, "errno", None) in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    ):
        raise error
    if isinstance(error, OSError):
        return "unreadable video", redacted(error)
    words = f"{type(error).__name__}: {redacted(str(error))[:300]}"
    # No table holds half a surrogate pair.
    return "unexpected error", words.encode(errors="backslashreplace").decode()
