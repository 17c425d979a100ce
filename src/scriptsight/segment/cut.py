"""Where a video is cut: at silences, and so that no piece is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil

from scriptsight.catalogue import Cue
from scriptsight.params.segment import SegmentParams

Stretch = tuple[float, float, tuple[Cue, ...]]  # start and end in seconds, and the cues between them


def stretches(cues: Sequence[Cue], duration: float, params: SegmentParams) -> list[Stretch]:
    """Cut a video of `duration` seconds -> (start, end, cues) in order of time, none over the other.

    With cues, a silence of over `max_gap_seconds` ends a stretch; one that would be over `max_seconds` ends
    at the longest silence in its second half (in its first, if the second has no boundary of cues). A cue
    alone over `max_seconds` is a stretch of its own and loses its end. `pad_seconds` of video are kept on
    both sides where neither a neighbour, the video's ends nor `max_seconds` leave less.
    Without cues, the video is cut into equal pieces of at most `max_seconds`.

    Args:
        cues: in order of time; what lies outside of the video is left out.
    """
    inside = [replace(cue, end=min(cue.end, duration)) for cue in cues if 0 <= cue.start < min(cue.end, duration)]
    if duration <= 0:
        return []
    if not inside:
        pieces = ceil(duration / params.max_seconds - 1e-9)
        edges = [duration * i / pieces for i in range(pieces + 1)]
        return [(start, end, ()) for start, end in pairwise(edges)]
    spans = []
    for group in _groups(inside, params):
        end = min(_spoken_until(group), group[0].start + params.max_seconds)
        spans.append((group[0].start, end, group))
    return [
        _padded(
            span,
            # Neighbours share the silence between them; cues that overlap are parted where the later begins.
            low=(spans[i - 1][1] + span[0]) / 2 if i and spans[i - 1][1] < span[0] else (span[0] if i else 0.0),
            high=_upper(span, spans[i + 1] if i + 1 < len(spans) else None, duration),
            params=params,
        )
        for i, span in enumerate(spans)
    ]


def _upper(
    span: tuple[float, float, list[Cue]], following: tuple[float, float, list[Cue]] | None, end: float
) -> float:
    if following is None:
        return end
    return (span[1] + following[0]) / 2 if span[1] < following[0] else following[0]


def _padded(span: tuple[float, float, list[Cue]], low: float, high: float, params: SegmentParams) -> Stretch:
    start, end, cues = span
    end = min(end, high)
    pad = min(params.pad_seconds, (params.max_seconds - (end - start)) / 2)
    start, end = max(low, start - pad), min(high, end + pad)
    return start, end, tuple(replace(cue, end=min(cue.end, end)) for cue in cues)


def _groups(cues: Sequence[Cue], params: SegmentParams) -> list[list[Cue]]:
    """Cues that stay together."""
    groups: list[list[Cue]] = []
    for cue in cues:
        if groups and cue.start - _spoken_until(groups[-1]) <= params.max_gap_seconds:
            groups[-1].append(cue)
        else:
            groups.append([cue])
    return [part for group in groups for part in _short(group, params.max_seconds)]


def _short(group: list[Cue], max_seconds: float) -> list[list[Cue]]:
    """Break a group into parts that fit into `max_seconds` as far as single cues do."""
    parts = []
    while _spoken_until(group) - group[0].start > max_seconds and len(group) > 1:
        until = group[0].end
        # (lies in the second half, silence in seconds, index of the cue that begins the next part)
        boundaries: list[tuple[bool, float, int]] = []
        for i, cue in enumerate(group[1:], start=1):
            if until - group[0].start > max_seconds and boundaries:
                break
            boundaries.append((until - group[0].start >= max_seconds / 2, cue.start - until, i))
            until = max(until, cue.end)
        cut = max(boundaries)[2]
        parts.append(group[:cut])
        group = group[cut:]
    return [*parts, group]


def _spoken_until(cues: Sequence[Cue]) -> float:
    return max(cue.end for cue in cues)
