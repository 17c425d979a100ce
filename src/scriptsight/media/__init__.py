"""Reading media safely, wherever they lie: what a file holds, its frames, its sound and its embedded cues, in
processes that may die."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scriptsight.lazily import offered
from scriptsight.media.addresses import fingerprint, local, shown
from scriptsight.media.audio import audio, audio_blocks
from scriptsight.media.errors import MediaError, refusal
from scriptsight.media.reader import Frame, MediaInfo, frames_at, frames_at_rate, probe

if TYPE_CHECKING:
    from scriptsight.media.isolation import Failed, isolated
    from scriptsight.media.subtitles import embedded_cues, embedded_languages

__all__ = [
    "Failed",
    "Frame",
    "MediaError",
    "MediaInfo",
    "audio",
    "audio_blocks",
    "embedded_cues",
    "embedded_languages",
    "fingerprint",
    "frames_at",
    "frames_at_rate",
    "isolated",
    "local",
    "probe",
    "refusal",
    "shown",
]

if not TYPE_CHECKING:  # these need an extra, and embedding a video does without
    __getattr__, __dir__ = offered(
        __name__,
        {
            "Failed": "scriptsight.media.isolation",
            "embedded_cues": "scriptsight.media.subtitles",
            "embedded_languages": "scriptsight.media.subtitles",
            "isolated": "scriptsight.media.isolation",
        },
    )
