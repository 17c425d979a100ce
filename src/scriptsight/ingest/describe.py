"""One video: open it and its captions, and say what is in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Literal, TypeAlias

from scriptsight import captions
from scriptsight.captions import Script
from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.files import digest
from scriptsight.ingest import alignment, cleaning, retiming
from scriptsight.ingest.datasets.tracks import OTHER_LANGUAGES
from scriptsight.ingest.datasets.yt_dlp import CHAPTER
from scriptsight.ingest.sources import Entry
from scriptsight.ingest.transcription import Transcriber
from scriptsight.media import MediaError, MediaInfo, local, probe, refusal
from scriptsight.media.subtitles import embedded_languages, embedded_script
from scriptsight.params.ingest import IngestParams
from scriptsight.redaction import redacted

TRANSCRIPTS = Path(".transcripts")  # what was heard is kept from run to run: hearing takes hours
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
        OTHER_LANGUAGES,
    }
)
Origin: TypeAlias = Literal["given", "track", "heard"]  # with the video or beside it, inside it, by Whisper


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
        script, origin = _script(collection, entry, path, info, choice, rejects)
        script = _by_the_videos_clock(entry, script, origin, info, cleaned)
        if choice.retime and origin != "heard" and script.cues:
            script = _by_its_sound(collection, entry, script, path, info, choice, rejects, cleaned)
        script = _of_the_clip(entry, script, cleaned)
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
        cues=tuple(_cleaned(collection, entry, script, info.duration, choice, rejects, cleaned)),
    )


def _seconds(entry: Entry, file_seconds: float) -> float:
    """How long the video of an entry is, which may be a stretch of its file."""
    end = file_seconds if entry.end is None else min(entry.end, file_seconds)
    return end - (entry.start or 0.0)


def _script(
    collection: str, entry: Entry, path: Path, info: MediaInfo, choice: IngestParams, rejects: list[Reject]
) -> tuple[Script, Origin]:
    """What is said: in the entry, its caption file, a track inside, or else what is heard if the parameters say so;
    what is wrong with it goes to `rejects`, and the video stays without."""
    source = entry.script or entry.uri
    try:
        if entry.cues is not None:
            return Script(list(entry.cues), 0), "given"
        if entry.script is not None and (script := _read(entry.script)) is not None:
            if not script.cues:
                rejects.append(Reject(collection, source, *_silent(script)))
            return script, "given"
        if entry.embedded or entry.script is not None:
            source = entry.uri
            script = replace(embedded_script(path, entry.language), resolved=True)
            if script.cues or script.dropped:
                return script, "track"
        if choice.transcription is not None and info.has_audio:
            heard = Transcriber(choice.transcription, TRANSCRIPTS).transcript(path)
            return Script(list(heard.cues), 0, heard.language), "heard"
        if entry.embedded and entry.language and (languages := embedded_languages(path)):
            detail = f"its tracks are in {', '.join(languages)}, none in {entry.language}"
            rejects.append(Reject(collection, source, OTHER_LANGUAGES, detail))
    except captions.CaptionError as error:
        rejects.append(Reject(collection, source, "unreadable captions", str(error)))
    except MediaError as error:
        rejects.append(Reject(collection, source, error.reason, error.detail))
    return Script([], 0), "given"


def _by_the_videos_clock(
    entry: Entry, script: Script, origin: Origin, info: MediaInfo, cleaned: Counter[str]
) -> Script:
    """The script with the times of the file, of which the source says what part of a film it is."""
    if entry.excerpt is None or origin == "heard":
        return script
    found = retiming.by_the_files_clock(script, entry.excerpt, info.duration, track=origin == "track")
    _count(found.cut, cleaned)
    return found.script


def _of_the_clip(entry: Entry, script: Script, cleaned: Counter[str]) -> Script:
    """The script of the stretch of its file that an entry is; times still count from the file's beginning."""
    if (entry.start, entry.end) == (None, None):
        return script
    low, high = entry.start or 0.0, inf if entry.end is None else entry.end
    left = retiming.cut(script.cues, [(low, high)], start=low)
    _count(left, cleaned)
    return replace(script, cues=left.cues)


def _count(left: retiming.Cut, cleaned: Counter[str]) -> None:
    """A corpus without clips has no such counts."""
    found = {"outside_the_video": left.outside, "cut_at_an_edge": left.across}
    cleaned.update({name: count for name, count in found.items() if count})


def _by_its_sound(
    collection: str,
    entry: Entry,
    script: Script,
    path: Path,
    info: MediaInfo,
    choice: IngestParams,
    rejects: list[Reject],
    cleaned: Counter[str],
) -> Script:
    """The script where the video's sound has it, if `ingest.retime` is true; what was found goes to `rejects`."""
    source = entry.script or entry.uri
    fit = _fit(script, path, info, choice)
    if isinstance(fit, str):
        rejects.append(Reject(collection, source, "clock not confirmed", fit))
        return script
    found = (
        f"the sound has them at {fit.ratio:.5f} x their seconds {fit.offset:+.2f} (confidence {fit.confidence:.2f})"
    )
    if fit.doubt:
        rejects.append(Reject(collection, source, "clock not confirmed", f"{found}, but {fit.doubt}"))
        return script
    if abs(fit.moves) <= alignment.NEAR:
        return script
    if choice.retime == "report":
        reason = "cues seem shifted" if fit.ratio == 1.0 else "cues seem stretched"
        rejects.append(Reject(collection, source, reason, f"{found}: ingest.retime: true moves them there"))
        return script
    detail = f"{found}, and there they are now"
    return _moved(collection, source, script, fit.ratio, fit.offset, detail, rejects, cleaned)


def _fit(script: Script, path: Path, info: MediaInfo, choice: IngestParams) -> alignment.Fit | str:
    """Where the video's sound has the script, or why that can't be said."""
    if not info.has_audio:
        return "the video has no sound"
    every = choice.cleaning.model_copy(update={**dict.fromkeys(cleaning.RULES, True), "languages": ()})
    # What is no speech is not heard as such; of times only those are wrong in themselves that go backwards.
    spoken = cleaning.clean(
        script.cues, every.model_copy(update={"negative_times": False}), None, script.resolved
    ).cues
    try:
        return alignment.fit(path, spoken)
    except MediaError as error:
        return f"{error.reason}: {error.detail}"


def _moved(
    collection: str,
    source: str,
    script: Script,
    ratio: float,
    offset: float,
    detail: str,
    rejects: list[Reject],
    cleaned: Counter[str],
) -> Script:
    """The script with other times; what comes to lie before the video's beginning is cut off."""
    rejects.append(Reject(collection, source, "cues retimed", detail))
    cleaned["retimed"] += len(script.cues)
    left = retiming.cut(retiming.moved(script.cues, ratio, offset), [(0.0, inf)])
    _count(left, cleaned)
    return replace(script, cues=left.cues)


def _silent(script: Script) -> tuple[str, str]:
    """Reason and detail for a file that gave no cues: it may well say something."""
    if script.dropped:
        return "unreadable captions", f"it has {script.dropped} entries, and the times of none of them can be read"
    if script.doubts:
        return "unreadable captions", f"none of its text could be read: {'; '.join(script.doubts)}"
    return "no cues", "nothing is said in this file"


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
    entry: Entry,
    script: Script,
    duration: float,
    choice: IngestParams,
    rejects: list[Reject],
    cleaned: Counter[str],
) -> list[Cue]:
    """The cues after cleaning, with what was found in `rejects` and `cleaned`."""
    source = entry.script or entry.uri
    rejects += [Reject(collection, source, "captions in doubt", doubt) for doubt in script.doubts]
    if not script.cues and not script.dropped:
        return []
    found = cleaning.clean(script.cues, choice.cleaning, duration or None, script.resolved)
    if found.offset is not None and choice.retime is True:
        detail = f"all began after the video's end at {duration:.2f} s, and are now {found.offset:.0f} s earlier"
        script = _moved(collection, source, script, 1.0, -found.offset, detail, rejects, cleaned)
        found = cleaning.clean(script.cues, choice.cleaning, duration or None, script.resolved)
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
