"""Work of six chunks, the first of which takes until all others are done; in a file of its own, for processes import
it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scriptsight.catalogue import Reject
from scriptsight.media import Failed


@dataclass(frozen=True)
class Part:
    rejects: tuple[Reject, ...] = ()


def do(lines: Sequence[bytes]) -> Part:
    for line in lines:
        if line == b"0":
            deadline = time.monotonic() + 30
            while len(list(Path("others").iterdir())) < 5:
                assert time.monotonic() < deadline, "the others are held up"
                time.sleep(0.05)
        else:
            Path("others", line.decode()).touch()
    return Part()


def refuse(_line: bytes, _failed: Failed) -> Part:
    raise AssertionError
