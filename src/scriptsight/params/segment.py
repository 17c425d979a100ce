"""The stage segment: how videos are cut and stored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scriptsight.params.base import NotNegative, Positive, Share
from scriptsight.params.spread import Spread


class SegmentParams(Spread):
    """How videos are cut and stored."""

    fps: Positive  # stored frames a second
    short_side: Annotated[int, Field(ge=8)]  # pixels
    max_seconds: Positive  # longest segment
    max_gap_seconds: Positive  # a longer silence between two cues ends a segment
    pad_seconds: NotNegative  # video kept before the first and after the last cue
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    # JPEG's chroma subsampling, 4:4:4 or 4:2:0: the latter keeps colours in half the resolution, as most films do
    jpeg_chroma: Literal[444, 420] = 444
    shard_mb: Positive
    # null: the shards are in the stage's output, which DVC keeps; or the address that they go to, as
    # s3://bucket/segments, and the output has the words, and names and checksums of the shards
    store: str | None = None
    timeout_seconds: Positive  # for decoding one video
    max_reject_share: Share
