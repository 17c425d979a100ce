"""One video: open it and its captions, and say what is in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from scriptsight import captions
from scriptsight.captions import Script
from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.files import digest
from scriptsight.ingest import cleaning
from scriptsight.ingest.datasets.tracks import OTHER_LANGUAGES
from scriptsight.ingest.sources import Entry
from scriptsight.ingest.transcription import Transcriber
from scriptsight.media import MediaError, MediaInfo, local, probe, refusal
from scriptsight.media.subtitles import embedded_languages, embedded_script
from scriptsight.params.ingest import IngestParams
from scriptsight.redaction import redacted

TRANSCRIPTS = Path(".transcripts")  # what was heard is kept from run to run: hearing takes hours
# Reasons that refuse nothing, or a part only: neither a video nor a whole file of captions.
FINDINGS = frozenset(
    {"captions in doubt", "cues dropped", "cues seem shifted", "cues seem stretched", OTHER_LANGUAGES}
)


def describe(
    collection: str, entry: Entry, choice: IngestParams, rejects: list[Reject], cleaned: Counter[str]
) -> Video | None:
    """The video of an entry with its cues, None if it can't be read.

    Args:
        rejects: gets what was refused and why; a video whose captions were refused stays, without cues.
        cleaned: gets how many cues each rule of cleaning changed or took out.

    Raises:
        InputError, OSError: what is no fault of the video: a model that can't be loaded, a full disk.
    """
    if any(redacted(address) != address for address in (entry.uri, entry.script or "")):
        detail = "credentials come from the environment: an address with them would be kept in the catalogue"
        rejects.append(Reject(collection, redacted(entry.uri), "secret in the address", detail))
        return None
    try:
        return _described(collection, entry, choice, rejects, cleaned)
    except Exception as error:
        rejects.append(Reject(collection, entry.uri, *refusal(error)))
        return None


def _described(
    collection: str, entry: Entry, choice: IngestParams, rejects: list[Reject], cleaned: Counter[str]
) -> Video | None:
    with local(entry.uri) as path:
        info = probe(path)
        seconds = _seconds(entry, info.duration)
        if seconds <= 0 and (entry.start, entry.end) != (None, None):
            detail = f"{entry.start} to {entry.end} s of the {info.duration:.2f} s of its file"
            rejects.append(Reject(collection, entry.uri, "not in the file", detail))
            return None
        script, source = _script(collection, entry, path, info, choice, rejects)
        size, code = path.stat().st_size, digest(path)
    return Video(
        video_id=entry.video_id,
        collection=collection,
        split=entry.split,
        uri=entry.uri,
        size=size,
        digest=code,
        **asdict(info) | {"duration": seconds},
        language=entry.language or script.language,
        title=entry.title,
        captions=entry.captions,
        label=entry.label,
        start=entry.start,
        end=entry.end,
        cues=tuple(_cleaned(collection, source, script, info.duration, choice, rejects, cleaned)),
    )


def _seconds(entry: Entry, file_seconds: float) -> float:
    """How long the video of an entry is, which may be a stretch of its file."""
    end = file_seconds if entry.end is None else min(entry.end, file_seconds)
    return end - (entry.start or 0.0)


def _script(
    collection: str, entry: Entry, path: Path, info: MediaInfo, choice: IngestParams, rejects: list[Reject]
) -> tuple[Script, str]:
    """What is said and where: in the entry, its caption file, a track inside, or else what is heard if the parameters
    say so; what is wrong with it goes to `rejects`, and the video stays without."""
    source = entry.script or entry.uri
    try:
        if entry.cues is not None:
            return Script(list(entry.cues), 0), source
        for address in () if entry.script is None else (entry.script, *entry.others):
            source = address
            script = _read(collection, address, entry, info, rejects)
            if script is None:
                continue
            if not script.cues:
                rejects.append(Reject(collection, source, *_silent(script)))
            return script, source
        if entry.embedded or entry.script is not None:
            source = entry.uri
            script = embedded_script(path, entry.language)
            if script.cues or script.dropped:
                return script, source
        if choice.transcription is not None and info.has_audio:
            heard = Transcriber(choice.transcription, TRANSCRIPTS).transcript(path)
            return Script(list(heard.cues), 0, heard.language), entry.uri
        if entry.embedded and entry.language and (languages := embedded_languages(path)):
            detail = f"its tracks are in {', '.join(languages)}, none in {entry.language}"
            rejects.append(Reject(collection, source, OTHER_LANGUAGES, detail))
    except captions.CaptionError as error:
        rejects.append(Reject(collection, source, "unreadable captions", str(error)))
    except MediaError as error:
        rejects.append(Reject(collection, source, error.reason, error.detail))
    return Script([], 0), source


def _silent(script: Script) -> tuple[str, str]:
    """Reason and detail for a file that gave no cues: it may well say something."""
    if script.dropped:
        return "unreadable captions", f"it has {script.dropped} entries, and the times of none of them can be read"
    if script.doubts:
        return "unreadable captions", f"none of its text could be read: {'; '.join(script.doubts)}"
    return "no cues", "nothing is said in this file"


def _read(collection: str, address: str, entry: Entry, info: MediaInfo, rejects: list[Reject]) -> Script | None:
    """The script of one of an entry's caption files; None if it is of something else (a description, chapters), or in
    a format that is not read, which goes to `rejects`."""
    with local(address) as file:
        data = file.read_bytes()
    name = address.partition("::")[0] if "://" in address else address
    known = captions.Known(info.fps or None, info.duration or None, entry.language)
    try:
        script = captions.parse(data, name, encoding=entry.encoding, known=known)
    except captions.NotCaptions:
        return None
    except captions.NotRead as error:
        rejects.append(Reject(collection, address, "unreadable captions", str(error)))
        return None
    return script if script.kind == "captions" else None


def _cleaned(
    collection: str,
    source: str,
    script: Script,
    duration: float,
    choice: IngestParams,
    rejects: list[Reject],
    cleaned: Counter[str],
) -> list[Cue]:
    """The cues after cleaning, with what was found in `rejects` and `cleaned`."""
    rejects += [Reject(collection, source, "captions in doubt", doubt) for doubt in script.doubts]
    if not script.cues and not script.dropped:
        return []
    # What looks like broken UTF-8 in a text that was never UTF-8 is its letters.
    rules = choice.cleaning.model_copy(update={"mojibake": False}) if script.legacy else choice.cleaning
    found = cleaning.clean(script.cues, rules, duration or None)
    cleaned.update({**found.counts, "unreadable_times": script.dropped})
    if wrong := found.wrong_times + script.dropped:
        late = found.counts.get("late_times", 0)
        detail = f"{wrong} with wrong times, {late} of them after the video's end at {duration:.2f} s"
        rejects.append(Reject(collection, source, "cues dropped", detail))
    if found.offset is not None:
        detail = f"all begin after the video's end at {duration:.2f} s, and would fit {found.offset:.0f} s earlier"
        rejects.append(Reject(collection, source, "cues seem shifted", detail))
    if found.drift is not None:
        detail = f"they outlast the video's {duration:.2f} s, and would fit if divided by {found.drift:.5f}"
        rejects.append(Reject(collection, source, "cues seem stretched", detail))
    return found.cues
