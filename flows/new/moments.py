"""How long moments should be, and how many transcripts are put in order: tried with the very cutter of segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from scriptsight.catalogue import Cue, Video
from scriptsight.params.segment import SegmentParams
from scriptsight.segment.cut import stretches
from scriptsight.segments import is_transcript
from scriptsight.spreading import evenly

TRIED = 300  # videos that the lengths are tried on
ENOUGH = 0.6  # share of the transcripts that must lie in moments with K of them
SHORTEST_GAP, LONGEST_GAP = 1.0, 15.0  # seconds of silence that a script may go over
SILENT_SECONDS = 10.0  # of a moment, where nobody speaks
# (K, seconds), the wanted first: four in order teach most, but a moment should be of seconds and not of a minute.
CANDIDATES = (
    *((k, seconds) for k in (4, 3, 2) for seconds in (8.0, 10.0, 12.0, 15.0, 20.0)),
    *((k, seconds) for seconds in (30.0, 45.0, 60.0) for k in (4, 3, 2)),
)


@dataclass(frozen=True)
class Cut:
    """How videos are cut, and what that comes to.

    Attributes:
        k: transcripts that are put in order; 0 where no moment has two.
        max_seconds: longest moment.
        max_gap_seconds: silence that ends one.
        share: of the transcripts that lie in moments with `k` of them.
        span: seconds from the first to the last of `k` transcripts, the middle one of all moments that have them.
    """

    k: int
    max_seconds: float
    max_gap_seconds: float
    share: float
    span: float


@dataclass(frozen=True)
class Density:
    """How densely people speak, over the videos that have words."""

    seconds: float  # of these videos
    cues: int
    words: int
    cue_seconds: float  # the mean cue
    gap_seconds: float  # the middle silence between two cues

    @property
    def cues_a_minute(self) -> float:
        return 60 * self.cues / self.seconds if self.seconds else 0.0

    @property
    def words_a_minute(self) -> float:
        return 60 * self.words / self.seconds if self.seconds else 0.0


def density(videos: Sequence[Video]) -> Density:
    """Of the videos with cues among `videos`."""
    spoken = [video for video in videos if video.cues]
    cues = [cue for video in spoken for cue in video.cues]
    return Density(
        seconds=sum(video.duration for video in spoken),
        cues=len(cues),
        words=sum(len(cue.text.split()) for cue in cues),
        cue_seconds=sum(cue.end - cue.start for cue in cues) / len(cues) if cues else 0.0,
        gap_seconds=median(gaps) if (gaps := list(_gaps(spoken))) else 0.0,
    )


def choose(videos: Sequence[Video], base: SegmentParams) -> Cut:
    """The first of the candidates with which enough transcripts lie in moments that have K of them, else the one
    with the most; K is 0 where no candidate has any.

    Args:
        base: the other parameters of the cut.
    """
    spoken = [video for video in videos if any(is_transcript(cue.text) for cue in video.cues)]
    tried = [spoken[number] for number in evenly(len(spoken), TRIED)]
    gap = _gap(tried)
    if not tried:
        return Cut(0, SILENT_SECONDS, SHORTEST_GAP, 0.0, 0.0)
    best: Cut | None = None
    for k, seconds in CANDIDATES:
        cut = _tried(tried, k, seconds, gap, base)
        if cut.share >= ENOUGH:
            return cut
        if best is None or cut.share > best.share:
            best = cut
    assert best is not None
    return best if best.share > 0 else Cut(0, 15.0, gap, 0.0, _middle_cue(tried))


def eligible(video: Video, cut: Cut, base: SegmentParams) -> tuple[int, int]:
    """Moments of a video that have K transcripts (one, where K is 0), and those that have one or more."""
    counts = [len(transcripts) for transcripts in _transcripts(video, _params(cut, base))]
    return sum(count >= max(1, cut.k) for count in counts), sum(count > 0 for count in counts)


def _tried(videos: Sequence[Video], k: int, seconds: float, gap: float, base: SegmentParams) -> Cut:
    cut = Cut(k, seconds, gap, 0.0, 0.0)
    params = _params(cut, base)
    inside, total = 0, 0
    spans: list[float] = []
    for video in videos:
        for transcripts in _transcripts(video, params):
            total += len(transcripts)
            if len(transcripts) >= k:
                inside += len(transcripts)
                spans += [transcripts[i + k - 1].end - transcripts[i].start for i in range(len(transcripts) - k + 1)]
    return Cut(k, seconds, gap, inside / total if total else 0.0, median(spans) if spans else 0.0)


def _transcripts(video: Video, params: SegmentParams) -> Iterator[list[Cue]]:
    """The transcripts of each moment of a video."""
    for _, _, cues in stretches(video.cues, video.duration, params):
        yield [cue for cue in cues if is_transcript(cue.text)]


def _params(cut: Cut, base: SegmentParams) -> SegmentParams:
    return base.model_copy(update={"max_seconds": cut.max_seconds, "max_gap_seconds": cut.max_gap_seconds})


def _gap(videos: Sequence[Video]) -> float:
    """A silence that nine of ten silences between cues are shorter than, in half seconds."""
    gaps = sorted(_gaps(videos))
    if not gaps:
        return SHORTEST_GAP
    usual = gaps[int(0.9 * (len(gaps) - 1))]
    return min(LONGEST_GAP, max(SHORTEST_GAP, (int(2 * usual) + 1) / 2))


def _gaps(videos: Sequence[Video]) -> Iterator[float]:
    for video in videos:
        for one, following in pairwise(video.cues):
            yield max(0.0, following.start - one.end)


def _middle_cue(videos: Sequence[Video]) -> float:
    return median(cue.end - cue.start for video in videos for cue in video.cues)
