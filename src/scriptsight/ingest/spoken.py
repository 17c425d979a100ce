"""What is said in a video, and where that stands: with its entry, in a file beside it, inside it, or in its sound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scriptsight import captions
from scriptsight.captions import Script
from scriptsight.ingest.datasets.tracks import OTHER_LANGUAGES
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import NOT_USED, Entry
from scriptsight.ingest.transcription import Transcriber
from scriptsight.media import MediaError, MediaInfo, local
from scriptsight.media.subtitles import embedded_languages, embedded_script
from scriptsight.params.ingest import Transcription

TRANSCRIPTS = Path(".transcripts")  # what was heard is kept from run to run: hearing takes hours


@dataclass(frozen=True)
class Spoken:
    """A script with its language as far as that is known, the address that rows about it name, and whether it came
    with the video or beside it, from inside it, or was heard by Whisper."""

    script: Script
    source: str
    origin: Literal["given", "track", "heard"]


def find(entry: Entry, path: Path, info: MediaInfo, transcription: Transcription | None, notes: Notes) -> Spoken:
    """What an entry has itself, else the first of its caption files that holds captions, else a track inside the
    video, else what is heard if the parameters say so. What is wrong with any of them goes to `notes`, and a video of
    which nothing can be read stays, without cues.

    Args:
        path: the video, here.
    """
    if entry.cues is not None:
        return Spoken(Script(list(entry.cues), 0, entry.language), entry.uri, "given")
    if (read := _first_read(entry, info, notes)) is not None:
        return read
    noted = len(notes.rejects)
    try:
        if entry.embedded or entry.script is not None:
            script = replace(embedded_script(path, entry.language), resolved=True)
            if script.cues or script.dropped:
                return Spoken(replace(script, language=entry.language or script.language), entry.uri, "track")
        if transcription is not None and info.has_audio:
            heard = Transcriber(transcription, TRANSCRIPTS).transcript(path)
            return Spoken(Script(list(heard.cues), 0, entry.language or heard.language), entry.uri, "heard")
        if entry.embedded and entry.language and (languages := embedded_languages(path)):
            detail = f"its tracks are in {', '.join(languages)}, none in {entry.language}"
            notes.add(entry.uri, OTHER_LANGUAGES, detail)
    except captions.CaptionError as error:
        notes.add(entry.uri, "unreadable captions", str(error))
    except MediaError as error:
        notes.add(entry.uri, error.reason, error.detail)
    if entry.problem is not None and len(notes.rejects) == noted:
        notes.add(entry.uri, *entry.problem)
    return Spoken(Script([], 0, entry.language), entry.uri, "given")


def _first_read(entry: Entry, info: MediaInfo, notes: Notes) -> Spoken | None:
    """The first caption file that says something, else the first that is empty; None: there is neither. Those that
    can't be read are noted, and so are the empty ones."""
    files = [] if entry.script is None else [(entry.script, entry.language), *entry.fallbacks]
    silent: list[tuple[Spoken, tuple[str, str]]] = []
    found = None
    for source, language in files:
        try:
            script = _read(source, entry, info)
        except captions.CaptionError as error:
            notes.add(source, "unreadable captions", str(error))
            continue
        except MediaError as error:
            notes.add(source, error.reason, error.detail)
            continue
        if script is None:
            continue
        read = Spoken(replace(script, language=language or script.language), source, "given")
        if script.cues:
            found = read
            break
        silent.append((read, _silent(script)))
    for read, (reason, detail) in silent:  # it refuses nothing where another one was read
        notes.add(read.source, reason if found is None else NOT_USED, detail)
    return found or next((read for read, _ in silent), None)


def _read(address: str, entry: Entry, info: MediaInfo) -> Script | None:
    """The script of a caption file; None if it is of something else (a description, chapters)."""
    with local(address) as file:
        data = file.read_bytes()
    name = address.partition("::")[0] if "://" in address else address
    known = captions.Known(info.fps or None, info.duration or None, entry.language)
    try:
        script = captions.parse(data, name, encoding=entry.encoding, known=known)
    except captions.NotCaptions:
        return None
    return script if script.kind == "captions" else None


def _silent(script: Script) -> tuple[str, str]:
    """Reason and detail for a file that gave no cues: it may well say something."""
    if script.dropped:
        return "unreadable captions", f"it has {script.dropped} entries, and the times of none of them can be read"
    if script.doubts:
        return "unreadable captions", f"none of its text could be read: {'; '.join(script.doubts)}"
    return "no cues", "nothing is said in this file"
