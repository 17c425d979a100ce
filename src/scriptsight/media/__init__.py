"""Reading media safely, wherever they lie: what a file holds, its frames and its sound, in processes that may die.

Tracks of subtitles are in `media.subtitles`, which is not loaded here: their parsers need packages of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scriptsight.lazily import offered
from scriptsight.media.addresses import LISTABLE, fingerprint, listed, local
from scriptsight.media.audio import audio, audio_blocks
from scriptsight.media.errors import MediaError, refusal
from scriptsight.media.reader import Frame, MediaInfo, frames_at, frames_at_rate, probe

if TYPE_CHECKING:
    from scriptsight.media.isolation import Failed, isolated

__all__ = [
    "LISTABLE",
    "Failed",
    "Frame",
    "MediaError",
    "MediaInfo",
    "audio",
    "audio_blocks",
    "fingerprint",
    "frames_at",
    "frames_at_rate",
    "isolated",
    "listed",
    "local",
    "probe",
    "refusal",
]

if not TYPE_CHECKING:  # these need an extra, and embedding a video does without
    __getattr__, __dir__ = offered(
        __name__,
        {
            "Failed": "scriptsight.media.isolation",
            "isolated": "scriptsight.media.isolation",
        },
    )
