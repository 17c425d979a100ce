"""Drawing one sample from a segment: K consecutive transcripts and a clip that spans them, or a clip and a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scriptsight import clips
from scriptsight.catalogue import Cue, Word
from scriptsight.errors import InputError
from scriptsight.params.pretrain import PretrainParams, Source, SpanSampling
from scriptsight.segments import MIN_CHARACTERS, Segment, Segments, is_transcript

GRID_SECONDS = 0.5  # between the starts that are tried to find out whether a segment has K spans at all
TRIES = 50  # random starts before those of the grid are fallen back on

Stretch = tuple[float, float]  # start and end in seconds


class NoSample(InputError):
    """No segment of a split has what a sample is drawn from."""


@dataclass(frozen=True)
class Sample:
    """M frames uint8 [M, H, W, 3] and their texts in true order: K transcripts, or one."""

    frames: np.ndarray
    texts: Sequence[str]
    segment_id: str


@dataclass(frozen=True)
class Clip:
    """What a clip looks like: M frames of size x size pixels, spread over a stretch or `stride` stored frames apart.
    `flip` mirrors half of the training clips, which turns left into right under words that say which: off by
    default."""

    frames: int
    size: int
    flip: bool = False
    stride: int | None = None

    def indices(self, times: np.ndarray, stretch: Stretch, rng: np.random.Generator | None) -> np.ndarray:
        """Which of the frames at `times` are shown, int64 [M]; `rng` draws them, None takes the middle."""
        if self.stride is None:
            return clips.frame_indices(times, *stretch, self.frames, rng)
        return clips.strided_indices(times, *stretch, self.frames, self.stride, rng)


class Sampler(ABC):
    """What the samplers of one collection and split have in common.

    `eligible` are the rows of the segments that can be drawn from, int64; `sorts` says that a sample has K
    transcripts with an order.
    """

    sorts = False

    def __init__(self, segments: Segments, clip: Clip, eligible: np.ndarray) -> None:
        self.segments, self.clip, self.eligible = segments, clip, eligible

    def pairs(self) -> Iterator[tuple[str, str | None]]:
        """The segment id of every sample, with its text where it has one alone."""
        ids = self.segments.column("segment_id")
        return ((ids[row], None) for row in self.eligible)

    def draw(self, row: int, rng: np.random.Generator, *, training: bool) -> Sample:
        """A sample of the segment in `row`. Training draws frames at random; evaluation takes middle ones.

        Raises:
            InputError: the frames of the segment are damaged.
        """
        segment = self.segments[row]
        texts, stretch = self.choose(segment, rng, training)
        indices = self.clip.indices(segment.frame_times, stretch, rng if training else None)
        frames = clips.read(segment, indices, self.clip.size)
        if training and self.clip.flip and rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        return Sample(frames, texts, segment.segment_id)

    @abstractmethod
    def choose(self, segment: Segment, rng: np.random.Generator, training: bool) -> tuple[Sequence[str], Stretch]:
        """The texts of a sample in true order, and the stretch that its clip spans; no frame is read."""


class Cues(Sampler):
    """K consecutive cues, whole, and the clip from the first one's start to the last one's end.

    Raises:
        NoSample: no segment has K transcripts.
    """

    sorts = True

    def __init__(self, segments: Segments, clip: Clip, k: int) -> None:
        self.k = k
        counts = segments.transcripts()
        super().__init__(segments, clip, np.flatnonzero(counts >= k))
        if not len(self.eligible):
            raise NoSample(
                f"No segment in {segments.paths[0].parent} has {k} transcripts of at least {MIN_CHARACTERS} "
                f"characters (the best has {max(counts)}): lower pretrain.k, or raise segment.max_seconds or "
                "segment.max_gap_seconds."
            )

    def choose(self, segment: Segment, rng: np.random.Generator, training: bool) -> tuple[Sequence[str], Stretch]:
        transcripts = [cue for cue in segment.cues if is_transcript(cue.text)]
        first = int(rng.integers(len(transcripts) - self.k + 1))
        chosen = transcripts[first : first + self.k]
        return [cue.text for cue in chosen], (chosen[0].start, chosen[-1].end)


class Spans(Sampler):
    """K spans of one length, drawn uniformly, with gaps between them and a uniform start (TVTS, section 3.1).

    A transcript is what is spoken in its span: the words whose middle lies in it. Words without times of their
    own are spread evenly over their cue. A start at which some span has too few characters is drawn again.

    Raises:
        NoSample: no segment has K such spans.
    """

    sorts = True

    def __init__(self, segments: Segments, clip: Clip, k: int, choice: SpanSampling) -> None:
        self.k, self.choice = k, choice
        found = [any(True for _ in self._starts(*_words(segment))) for segment in segments]
        super().__init__(segments, clip, np.flatnonzero(found))
        if not len(self.eligible):
            raise NoSample(
                f"No segment in {segments.paths[0].parent} has {k} spans of {choice.min_seconds:g} s with "
                f"{MIN_CHARACTERS} characters in each: lower pretrain.k or sampling.min_seconds, raise "
                "segment.max_seconds, or take sampling: {kind: cues}."
            )

    def choose(self, segment: Segment, rng: np.random.Generator, training: bool) -> tuple[Sequence[str], Stretch]:
        words, moments, (low, high) = _words(segment)
        gap = self.choice.gap_seconds
        for _ in range(TRIES):
            longest = min(self.choice.max_seconds, (high - low - (self.k - 1) * gap) / self.k)
            length = rng.uniform(self.choice.min_seconds, longest)
            whole = self.k * length + (self.k - 1) * gap
            start = rng.uniform(low, high - whole)
            if texts := self._texts(words, moments, start, length):
                return texts, (start, start + whole)
        starts = list(self._starts(words, moments, (low, high)))
        start, length = starts[int(rng.integers(len(starts)))], self.choice.min_seconds
        return self._texts(words, moments, start, length), (start, start + self.k * length + (self.k - 1) * gap)

    def _starts(self, words: Sequence[str], moments: np.ndarray, stretch: Stretch) -> Iterator[float]:
        """The starts of a grid at which K spans of the shortest length have text."""
        low, high = stretch
        length = self.choice.min_seconds
        last = high - self.k * length - (self.k - 1) * self.choice.gap_seconds
        grid = np.arange(low, last + 1e-9, GRID_SECONDS)
        return (float(start) for start in grid if self._texts(words, moments, float(start), length))

    def _texts(self, words: Sequence[str], moments: np.ndarray, start: float, length: float) -> list[str]:
        """The K transcripts of spans that begin at `start`; none if one of them is no transcript."""
        edges = start + np.arange(self.k) * (length + self.choice.gap_seconds)
        begins, ends = np.searchsorted(moments, edges), np.searchsorted(moments, edges + length)
        texts = [" ".join(words[begin:end]) for begin, end in zip(begins, ends, strict=True)]
        return texts if all(map(is_transcript, texts)) else []


class PairSampler(Sampler):
    """One text a sample: an untimed one with a clip of the whole segment, or a transcript with its own stretch.

    Of several captions or transcripts training draws one; evaluation takes the first.

    Raises:
        NoSample: no segment has such a text.
    """

    def __init__(self, segments: Segments, clip: Clip, text: str) -> None:
        self.text = text
        found = [bool(self.texts(segment)) for segment in segments]
        super().__init__(segments, clip, np.flatnonzero(found))
        if not len(self.eligible):
            raise NoSample(
                f"No segment in {segments.paths[0].parent} has a {text}: choose another `text` of the collection in "
                "pretrain.collections."
            )

    def pairs(self) -> Iterator[tuple[str, str | None]]:
        for row in self.eligible:
            segment = self.segments[int(row)]
            yield from ((segment.segment_id, text) for text, _ in self.texts(segment))

    def texts(self, segment: Segment) -> list[tuple[str, Stretch]]:
        """What could be the text of a sample of this segment, each with the stretch that its clip spans."""
        if self.text == "transcript":
            return [(cue.text, (cue.start, cue.end)) for cue in segment.cues if is_transcript(cue.text)]
        untimed = segment.captions if self.text == "caption" else (segment.title or "",)
        return [(text, (segment.start, segment.end)) for text in untimed if text.strip()]

    def choose(self, segment: Segment, rng: np.random.Generator, training: bool) -> tuple[Sequence[str], Stretch]:
        texts = self.texts(segment)
        text, stretch = texts[int(rng.integers(len(texts))) if training else 0]
        return [text], stretch


def build(segments: Segments, source: Source, choice: PretrainParams) -> Sampler:
    """The sampler that the parameters ask for.

    Raises:
        NoSample: no segment has what it draws.
    """
    clip = Clip(source.frames or choice.frames, choice.image_size, choice.flip, source.stride)
    if source.text != "script":
        return PairSampler(segments, clip, source.text)
    if isinstance(choice.sampling, SpanSampling):
        return Spans(segments, clip, choice.k, choice.sampling)
    return Cues(segments, clip, choice.k)


def _words(segment: Segment) -> tuple[list[str], np.ndarray, Stretch]:
    """What is spoken in a segment: words in order of time, their middles in seconds, and from when to when."""
    words = sorted((word for cue in segment.cues for word in _timed(cue)), key=lambda word: word.start + word.end)
    moments = np.array([(word.start + word.end) / 2 for word in words])
    return [word.text for word in words], moments, (segment.start, segment.end)


def _timed(cue: Cue) -> Sequence[Word]:
    if cue.words is not None:
        return cue.words
    texts = cue.text.split()
    edges = np.linspace(cue.start, cue.end, len(texts) + 1)
    return [Word(float(a), float(b), text) for a, b, text in zip(edges, edges[1:], texts, strict=False)]
