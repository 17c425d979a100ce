"""One video: open it and its captions, and say what is in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.files import digest
from scriptsight.ingest import captions
from scriptsight.ingest.sources import Entry
from scriptsight.media import MediaError, embedded_cues, probe

CUES_DROPPED = "cues dropped"  # the one reason that refuses a part only: neither a video nor a whole file


def describe(collection: str, entry: Entry, rejects: list[Reject], cleaned: Counter[str]) -> Video | None:
    """The video of an entry with its cues, None if it can't be read.

    Args:
        rejects: gets what was refused and why; a video whose captions were refused stays, without cues.
        cleaned: gets how many cues each rule of cleaning took out.
    """
    try:
        path = Path(entry.uri)
        info = probe(path)
        seconds = _seconds(entry, info.duration)
        if seconds <= 0 and (entry.start, entry.end) != (None, None):
            detail = f"{entry.start} to {entry.end} s of the {info.duration:.2f} s of its file"
            rejects.append(Reject(collection, entry.uri, "not in the file", detail))
            return None
        cues = _cues(collection, entry, path, info.duration, rejects, cleaned)
        size, code = path.stat().st_size, digest(path)
    except MediaError as error:
        rejects.append(Reject(collection, entry.uri, error.reason, error.detail))
        return None
    except OSError as error:
        rejects.append(Reject(collection, entry.uri, "unreadable video", str(error)))
        return None
    return Video(
        video_id=entry.video_id,
        collection=collection,
        split=entry.split,
        uri=entry.uri,
        size=size,
        digest=code,
        **asdict(info) | {"duration": seconds},
        language=entry.language,
        title=entry.title,
        captions=entry.captions,
        label=entry.label,
        start=entry.start,
        end=entry.end,
        cues=tuple(cues),
    )


def _seconds(entry: Entry, file_seconds: float) -> float:
    """How long the video of an entry is, which may be a stretch of its file."""
    end = file_seconds if entry.end is None else min(entry.end, file_seconds)
    return end - (entry.start or 0.0)


def _cues(
    collection: str, entry: Entry, path: Path, duration: float, rejects: list[Reject], cleaned: Counter[str]
) -> list[Cue]:
    """What is said, cleaned; what is wrong with it goes to `rejects`, and the video stays without."""
    source = entry.script or entry.uri
    try:
        if entry.script is not None:
            script = captions.read_script(entry.script)
        elif entry.cues is not None:
            script = captions.clean(captions.Script(list(entry.cues), 0))
        elif entry.embedded:
            script = captions.clean(captions.Script(embedded_cues(path, entry.language), 0))
        else:
            return []
    except captions.CaptionError as error:
        rejects.append(Reject(collection, source, "unreadable captions", str(error)))
        return []
    except MediaError as error:
        rejects.append(Reject(collection, source, error.reason, error.detail))
        return []
    if entry.script is not None and not script.cues:
        rejects.append(Reject(collection, source, "no cues", "nothing is said in this file"))
    # The one place where cues are cleaned.
    inside = [cue for cue in script.cues if not duration or cue.start < duration]
    late = len(script.cues) - len(inside)
    cleaned.update({"wrong times": script.dropped, "after the end": late})
    script = replace(script, cues=inside, dropped=script.dropped + late)
    if script.dropped:
        detail = f"{script.dropped} with wrong times, {late} of them after the video's end at {duration:.2f} s"
        rejects.append(Reject(collection, source, CUES_DROPPED, detail))
    return inside
