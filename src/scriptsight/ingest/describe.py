"""One video: open it and its captions, and say what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from scriptsight.catalogue import Cue, Video
from scriptsight.files import digest
from scriptsight.ingest import cleaning, clocks, spoken
from scriptsight.ingest.datasets.tracks import OTHER_LANGUAGES
from scriptsight.ingest.datasets.yt_dlp import CHAPTER
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import NOT_USED, Entry
from scriptsight.ingest.spoken import Spoken
from scriptsight.media import local, probe, refusal
from scriptsight.params.ingest import IngestParams
from scriptsight.redaction import redacted

# Reasons that refuse nothing, or a part only: neither a video nor a whole file of captions.
FINDINGS = frozenset(
    {
        "captions in doubt",
        "clock not confirmed",
        "cues dropped",
        "cues retimed",
        "cues seem shifted",
        "cues seem stretched",
        CHAPTER,
        NOT_USED,
        OTHER_LANGUAGES,
    }
)


def describe(entry: Entry, choice: IngestParams, notes: Notes) -> Video | None:
    """The video of an entry with its cues, None if it can't be read.

    Args:
        notes: gets what was refused and why; a video whose captions were refused stays, without cues.

    Raises:
        InputError, OSError: what is no fault of the video: a model that can't be loaded, a full disk.
    """
    if any(redacted(address) != address for address in addresses(entry)):
        detail = "credentials come from the environment: an address with them would be kept in the catalogue"
        notes.add(redacted(entry.uri), "secret in the address", detail)
        return None
    try:
        return _described(entry, choice, notes)
    except Exception as error:
        notes.add(entry.uri, *refusal(error))
        return None


def addresses(entry: Entry) -> Sequence[str]:
    """What of an entry would be kept in the catalogue or in its rejects."""
    return [entry.uri, *([entry.script] if entry.script else []), *(uri for uri, _ in entry.fallbacks)]


def _described(entry: Entry, choice: IngestParams, notes: Notes) -> Video | None:
    with local(entry.uri) as path:
        info = probe(path)
        seconds = _seconds(entry, info.duration)
        if seconds <= 0 and (entry.start, entry.end) != (None, None):
            detail = f"{entry.start} to {entry.end} s of the {info.duration:.2f} s of its file"
            notes.add(entry.uri, "not in the file", detail)
            return None
        said = spoken.find(entry, path, info, choice.transcription, notes)
        said = replace(said, script=clocks.by_the_videos(entry, said, path, info, choice, notes))
        size, code = path.stat().st_size, digest(path)
    return Video(
        video_id=entry.video_id,
        collection=notes.collection,
        split=entry.split,
        uri=entry.uri,
        size=size,
        digest=code,
        **asdict(info) | {"duration": seconds},
        language=said.script.language or entry.language,
        title=entry.title,
        captions=entry.captions,
        label=entry.label,
        recording=entry.recording,
        start=entry.start,
        end=entry.end,
        cues=tuple(_cleaned(said, info.duration, choice, notes)),
    )


def _seconds(entry: Entry, file_seconds: float) -> float:
    """How long the video of an entry is, which may be a stretch of its file."""
    end = file_seconds if entry.end is None else min(entry.end, file_seconds)
    return end - (entry.start or 0.0)


def _cleaned(said: Spoken, duration: float, choice: IngestParams, notes: Notes) -> list[Cue]:
    """The cues after cleaning; what was found goes to `notes`."""
    script, source = said.script, said.source
    for doubt in script.doubts:
        notes.add(source, "captions in doubt", doubt)
    if not script.cues and not script.dropped:
        return []
    # What looks like broken UTF-8 in a text that was never UTF-8 is its letters.
    rules = choice.cleaning.model_copy(update={"mojibake": False}) if script.legacy else choice.cleaning
    found = cleaning.clean(script.cues, rules, duration or None, script.resolved)
    if found.offset is not None and choice.retime is True:
        detail = f"all began after the video's end at {duration:.2f} s, and are now {found.offset:.0f} s earlier"
        script = clocks.moved(said, 1.0, -found.offset, detail, notes)
        found = cleaning.clean(script.cues, rules, duration or None, script.resolved)
    notes.cleaned.update({**found.counts, "unreadable_times": script.dropped})
    if wrong := found.wrong_times + script.dropped:
        late = found.counts.get("late_times", 0)
        detail = f"{wrong} with wrong times, {late} of them after the video's end at {duration:.2f} s"
        notes.add(source, "cues dropped", detail)
    if found.offset is not None:
        detail = f"all begin after the video's end at {duration:.2f} s, and would fit {found.offset:.0f} s earlier"
        notes.add(source, "cues seem shifted", detail)
    if found.drift is not None:
        detail = f"they outlast the video's {duration:.2f} s, and would fit if divided by {found.drift:.5f}"
        notes.add(source, "cues seem stretched", detail)
    return found.cues
