"""The script of a video by the video's own clock: what its source says of it first (`retiming`), then, if the
parameters ask for it, what is heard (`alignment`), then the stretch of the file that the video is."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

from scriptsight.captions import Script
from scriptsight.ingest import alignment, cleaning, retiming
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import Entry
from scriptsight.ingest.spoken import Spoken
from scriptsight.media import MediaError, MediaInfo
from scriptsight.params.ingest import IngestParams


def by_the_videos(
    entry: Entry, spoken: Spoken, path: Path, info: MediaInfo, choice: IngestParams, notes: Notes
) -> Script:
    """The cues that are spoken in a video, at seconds of its file; what was moved or cut goes to `notes`."""
    script = spoken.script
    if spoken.origin != "heard":
        if entry.excerpt is not None:
            found = retiming.by_the_files_clock(script, entry.excerpt, info.duration, track=spoken.origin == "track")
            _count(found.cut, notes)
            script = found.script
        if choice.retime and script.cues:
            script = _by_its_sound(replace(spoken, script=script), path, info, choice, notes)
    return _of_the_clip(entry, script, notes)


def moved(spoken: Spoken, ratio: float, offset: float, detail: str, notes: Notes) -> Script:
    """The script with other times; what comes to lie before the video's beginning is cut off."""
    notes.add(spoken.source, "cues retimed", detail)
    notes.cleaned["retimed"] += len(spoken.script.cues)
    left = retiming.cut(retiming.moved(spoken.script.cues, ratio, offset), [(0.0, inf)])
    _count(left, notes)
    return replace(spoken.script, cues=left.cues)


def _of_the_clip(entry: Entry, script: Script, notes: Notes) -> Script:
    """The script of the stretch of its file that an entry is; times still count from the file's beginning."""
    if (entry.start, entry.end) == (None, None):
        return script
    low, high = entry.start or 0.0, inf if entry.end is None else entry.end
    left = retiming.cut(script.cues, [(low, high)], start=low)
    _count(left, notes)
    return replace(script, cues=left.cues)


def _count(left: retiming.Cut, notes: Notes) -> None:
    """A corpus without clips has no such counts."""
    found = {"outside_the_video": left.outside, "cut_at_an_edge": left.across}
    notes.cleaned.update({name: count for name, count in found.items() if count})


def _by_its_sound(spoken: Spoken, path: Path, info: MediaInfo, choice: IngestParams, notes: Notes) -> Script:
    """The script where the video's sound has it, if `ingest.retime` is true."""
    script = spoken.script
    fit = _fit(script, path, info, choice)
    if isinstance(fit, str):
        notes.add(spoken.source, "clock not confirmed", fit)
        return script
    found = (
        f"the sound has them at {fit.ratio:.5f} x their seconds {fit.offset:+.2f} (confidence {fit.confidence:.2f})"
    )
    if fit.doubt:
        notes.add(spoken.source, "clock not confirmed", f"{found}, but {fit.doubt}")
        return script
    if abs(fit.moves) <= alignment.NEAR:
        return script
    if choice.retime == "report":
        reason = "cues seem shifted" if fit.ratio == 1.0 else "cues seem stretched"
        notes.add(spoken.source, reason, f"{found}: ingest.retime: true moves them there")
        return script
    return moved(spoken, fit.ratio, fit.offset, f"{found}, and there they are now", notes)


def _fit(script: Script, path: Path, info: MediaInfo, choice: IngestParams) -> alignment.Fit | str:
    """Where the video's sound has the script, or why that can't be said."""
    if not info.has_audio:
        return "the video has no sound"
    # What is no speech is not heard as such; of times only those are wrong in themselves that go backwards.
    rules = {**dict.fromkeys(cleaning.RULES, True), "languages": (), "negative_times": False}
    every = choice.cleaning.model_copy(update=rules)
    spoken = cleaning.clean(script.cues, every, None, script.resolved).cues
    try:
        return alignment.fit(path, spoken)
    except MediaError as error:
        return f"{error.reason}: {error.detail}"
