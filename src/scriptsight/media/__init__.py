"""Reading media files safely: wherever they lie: what they hold, their frames,
sound and embedded cues, and workers that may die."""

from __future__ import annotations

from scriptsight.media.addresses import fingerprint, local, shown
from scriptsight.media.audio import audio, audio_blocks
from scriptsight.media.isolation import Failed, isolated
from scriptsight.media.reader import Frame, MediaError, MediaInfo, frames_at, frames_at_rate, probe, refusal
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
