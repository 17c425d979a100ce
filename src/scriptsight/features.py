"""Frozen features of segments: one decode and one forward pass each. Used by probe and retrieve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scriptsight import arithmetic, clips
from scriptsight.errors import InputError
from scriptsight.models.bundle import Encoder
from scriptsight.reporting import Reporter
from scriptsight.segments import Segment, Segments

READERS = 2  # threads: JPEG decoding is in C and needs few of them to keep up with a forward pass


def extract(
    encoder: Encoder,
    segments: Segments,
    batch: int,
    reporter: Reporter,
    label: str,
    rows: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """The evaluation view of each segment, encoded where the encoder is.

    Args:
        batch: clips a forward pass.
        label: of the progress bar.
        rows: which segments, in this order; None takes all.

    Returns:
        float32 {"cls": [N, D], "mean": [N, D], "embedding": [N, E]}: the class token, the mean of the patch
        tokens, and unit vectors of the space that video and text share.

    Raises:
        InputError: no segments, damaged frames, or a model whose features are not finite.
    """
    rows = range(len(segments)) if rows is None else rows
    if not rows:
        raise InputError(f"{label}: there are no segments to encode; choose another split or collection.")
    device = next(encoder.parameters()).device
    parts: dict[str, list[np.ndarray]] = {"cls": [], "mean": [], "embedding": []}
    read = _batches(segments, rows, batch, encoder.preprocessing.frames, encoder.preprocessing.size)
    with arithmetic.deterministic(), torch.inference_mode():
        for frames in reporter.progress(read, label, total=-(-len(rows) // batch)):
            features = encoder.features(frames.to(device))
            # project_video looks at the first token only, so the class token alone will do: [B, 1, D].
            features["embedding"] = F.normalize(encoder.project_video(features["cls"][:, None]), dim=-1)
            for name, part in parts.items():
                part.append(features[name].float().cpu().numpy())
    found = {name: np.concatenate(part) for name, part in parts.items()}
    for values in found.values():
        broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(broken):
            raise InputError(
                f"The model's features of {len(broken)} segments are not finite, the first is "
                f"{segments[rows[broken[0]]].segment_id}: run the pretrain stage again, with a smaller lr."
            )
    return found


def script_texts(segment: Segment) -> list[str]:
    """What is said in a segment, cue by cue; without cues its first caption or else its title; else nothing."""
    spoken = [cue.text for cue in segment.cues if cue.text.strip()]
    untimed = [text for text in (*segment.captions, segment.title) if text and text.strip()]
    return spoken or untimed[:1]


def _batches(segments: Segments, rows: Sequence[int], batch: int, frames: int, size: int) -> Iterator[Tensor]:
    """Clips uint8 [B, M, size, size, 3]; the next batch is decoded while the last one is encoded."""

    def read(row: int) -> Tensor:
        segment = segments[row]
        try:
            return torch.from_numpy(np.ascontiguousarray(clips.whole(segment, frames, size)))
        except ValueError as error:  # simplejpeg's, or frames of several sizes
            raise InputError(
                f"The frames of segment {segment.segment_id} are damaged: {error}. Run the segment stage again."
            ) from error

    with ThreadPoolExecutor(READERS) as readers:
        ahead: list[Future[Tensor]] = []
        for start in range(0, len(rows), batch):
            current, ahead = ahead, [readers.submit(read, row) for row in rows[start : start + batch]]
            if current:
                yield torch.stack([clip.result() for clip in current])
        yield torch.stack([clip.result() for clip in ahead])
