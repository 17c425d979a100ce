"""One video: open it and its captions, and say what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from scriptsight import captions
from scriptsight.captions import Script
from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.files import digest
from scriptsight.ingest import cleaning
from scriptsight.ingest.datasets.tracks import OTHER_LANGUAGES
from scriptsight.ingest.sources import NOT_USED, Entry
from scriptsight.ingest.transcription import Transcriber
from scriptsight.media import MediaError, MediaInfo, local, probe, refusal
from scriptsight.media.subtitles import embedded_languages, embedded_script
from scriptsight.params.ingest import IngestParams
from scriptsight.redaction import redacted

TRANSCRIPTS = Path(".transcripts")  # what was heard is kept from run to run: hearing takes hours
# Reasons that refuse nothing, or a part only: neither a video nor a whole file of captions.
FINDINGS = frozenset(
    {"captions in doubt", "cues dropped", "cues seem shifted", "cues seem stretched", NOT_USED, OTHER_LANGUAGES}
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
    if any(redacted(address) != address for address in addresses(entry)):
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
        language=script.language or entry.language,
        title=entry.title,
        captions=entry.captions,
        label=entry.label,
        recording=entry.recording,
        start=entry.start,
        end=entry.end,
        cues=tuple(_cleaned(collection, source, script, info.duration, choice, rejects, cleaned)),
    )


def _seconds(entry: Entry, file_seconds: float) -> float:
    """How long the video of an entry is, which may be a stretch of its file."""
    end = file_seconds if entry.end is None else min(entry.end, file_seconds)
    return end - (entry.start or 0.0)


def addresses(entry: Entry) -> list[str]:
    """What of an entry would be kept in the catalogue or in its rejects."""
    return [entry.uri, *([entry.script] if entry.script else []), *(uri for uri, _ in entry.fallbacks)]


def _script(
    collection: str, entry: Entry, path: Path, info: MediaInfo, choice: IngestParams, rejects: list[Reject]
) -> tuple[Script, str]:
    """What is said, with its language as far as that is known, and where it stands: in the entry, the first of its
    caption files that holds captions, a track inside, or else what is heard if the parameters say so; what is wrong
    with it goes to `rejects`, and the video stays without."""
    if entry.cues is not None:
        return Script(list(entry.cues), 0, entry.language), entry.uri
    files = [] if entry.script is None else [(entry.script, entry.language), *entry.fallbacks]
    if (read := _first_read(collection, files, rejects)) is not None:
        return read
    broken = len(rejects)
    try:
        if entry.embedded or entry.script is not None:
            script = embedded_script(path, entry.language)
            if script.cues or script.dropped:
                return replace(script, language=entry.language or script.language), entry.uri
        if choice.transcription is not None and info.has_audio:
            heard = Transcriber(choice.transcription, TRANSCRIPTS).transcript(path)
            return Script(list(heard.cues), 0, entry.language or heard.language), entry.uri
        if entry.embedded and entry.language and (languages := embedded_languages(path)):
            detail = f"its tracks are in {', '.join(languages)}, none in {entry.language}"
            rejects.append(Reject(collection, entry.uri, OTHER_LANGUAGES, detail))
    except captions.CaptionError as error:
        rejects.append(Reject(collection, entry.uri, "unreadable captions", str(error)))
    except MediaError as error:
        rejects.append(Reject(collection, entry.uri, error.reason, error.detail))
    if entry.problem is not None and len(rejects) == broken:
        rejects.append(Reject(collection, entry.uri, *entry.problem))
    return Script([], 0, entry.language), entry.uri


def _first_read(
    collection: str, files: Sequence[tuple[str, str | None]], rejects: list[Reject]
) -> tuple[Script, str] | None:
    """The first of caption files (address, language) that says something, else the first that is empty; None: there
    is neither. Those that can't be read go to `rejects`, and so do the empty ones."""
    empty: tuple[Script, str] | None = None
    silent: list[str] = []
    found = None
    for source, language in files:
        try:
            script = _read(source)
        except captions.CaptionError as error:
            rejects.append(Reject(collection, source, "unreadable captions", str(error)))
            continue
        except MediaError as error:
            rejects.append(Reject(collection, source, error.reason, error.detail))
            continue
        if script is None:
            continue
        script = replace(script, language=language or script.language)
        if script.cues:
            found = script, source
            break
        silent.append(source)
        empty = empty or (script, source)
    for source in silent:  # it refuses nothing where another one was read
        reason = "no cues" if found is None else NOT_USED
        rejects.append(Reject(collection, source, reason, "nothing is said in this file"))
    return found or empty


def _read(address: str) -> Script | None:
    """The script of a caption file; None if the file is of something else (a description, chapters)."""
    with local(address) as file:
        data = file.read_bytes()
    try:
        script = captions.parse(data, address.partition("::")[0] if "://" in address else address)
    except captions.NotCaptions:
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
    found = cleaning.clean(script.cues, choice.cleaning, duration or None)
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
