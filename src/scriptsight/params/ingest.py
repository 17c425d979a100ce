"""The stage ingest: which collections there are, and how their words are cleaned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scriptsight.params.base import MACHINE, Count, Name, Positive, Section, Share
from scriptsight.params.collections import Collection
from scriptsight.params.spread import Spread


class Transcription(Section):
    """Whisper, for videos that come without cues; needs the extra `scriptsight[asr]`."""

    model: Annotated[str, Field(min_length=1)]  # a name that faster-whisper knows, or a converted model's folder
    language: str | None = None  # of all videos, as `en`; null: heard, video by video
    vad: bool = True  # only where a voice is heard; without it silence and music may get words
    batch: Annotated[Count, MACHINE] = 8  # windows of 30 seconds that are heard together
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    compute_type: str = "default"  # of CTranslate2: float16, int8, ...; default: as the model was saved


class Cleaning(Section):
    """Which rules of `scriptsight.ingest.cleaning` are applied to cues; each is described there."""

    negative_times: bool
    backward_times: bool
    late_times: bool
    late_ends: bool
    mojibake: bool
    entities_and_tags: bool
    doubles: bool
    rolling_repeats: bool
    speaker_labels: bool
    sounds: bool
    filler_runs: bool
    no_letters: bool
    overlaps: bool
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2}$")], ...] = Field(strict=False)  # wanted; []: all


class IngestParams(Spread):
    """Which collections there are."""

    collections: dict[Name, Collection] = Field(min_length=1)
    transcription: Transcription | None = None  # null: videos without cues stay so
    cleaning: Cleaning
    # Compare the times of cues with where in the sound somebody speaks (needs the extra `scriptsight[asr]`):
    # report: say by how much they are off; true: also move them, where the answer is sure
    retime: bool | Literal["report"] = False
    timeout_seconds: Positive  # for opening and hashing one video, which may lie on another machine
    max_reject_share: Share  # of a collection's videos; over it the stage fails
