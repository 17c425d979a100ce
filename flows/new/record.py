"""What was in the videos' folder when it was last looked at, so that a second look can say what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from flows.new.looking import Look
from flows.new.machine import Speed
from flows.running import locks
from scriptsight.catalogue import Video
from scriptsight.files import write_json

FILE = locks.LOCKS / "new.json"  # in the workspace; git does not keep it
SHOWN = 10  # names in a line


@dataclass(frozen=True)
class Seen:
    """What tells whether a video changed: its digest, and how many words are said in how many captions."""

    digest: str
    cues: int
    characters: int


@dataclass(frozen=True)
class Record:
    """Videos by their address, their folder, and how fast the machine was with the settings that were chosen."""

    root: str
    videos: dict[str, Seen]
    settings: str  # digest of the settings that the speed is of
    speed: Speed
    peak_bytes: float


_RECORD = TypeAdapter(Record)


def of(look: Look) -> dict[str, Seen]:
    """The videos of a look."""
    return {video.uri: _seen(video) for video in look.videos}


def _seen(video: Video) -> Seen:
    return Seen(video.digest, len(video.cues), sum(len(cue.text) for cue in video.cues))


def read(folder: Path) -> Record | None:
    """The record of a workspace, None where there is none that can be read."""
    try:
        return _RECORD.validate_python(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None


def write(folder: Path, record: Record) -> None:
    """Keep it in the workspace."""
    write_json(folder / FILE, asdict(record))


def changes(before: Mapping[str, Seen], now: Mapping[str, Seen]) -> Iterator[str]:
    """Lines that say what changed; a file with another name and the same bytes was renamed."""
    gone = {name: seen for name, seen in before.items() if name not in now}
    come = {name: seen for name, seen in now.items() if name not in before}
    by_digest = {seen.digest: name for name, seen in gone.items()}
    renamed = {by_digest[seen.digest]: name for name, seen in come.items() if seen.digest in by_digest}
    both = before.keys() & now.keys()
    kinds = {
        "added": sorted(come.keys() - set(renamed.values())),
        "removed": sorted(gone.keys() - renamed.keys()),
        "renamed": [f"{old} -> {new}" for old, new in sorted(renamed.items())],
        "replaced by other videos": sorted(name for name in both if before[name].digest != now[name].digest),
        "with other captions": sorted(
            name for name in both if before[name].digest == now[name].digest and before[name] != now[name]
        ),
    }
    for kind, names in kinds.items():
        if names:
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{more}"
