"""Spans of time as the paper draws them, pairs, and mirrored clips."""

from pathlib import Path

import numpy as np
import pytest

from scriptsight.catalogue import Cue, Word
from scriptsight.errors import InputError
from scriptsight.params.pretrain import SpanSampling
from scriptsight.pretrain.samplers import Clip, Cues, PairSampler, Spans
from scriptsight.segments import Segment, Segments
from tests import small

CLIP = Clip(frames=4, size=16)
SPANS = SpanSampling(kind="spans", min_seconds=3.0, max_seconds=5.0, gap_seconds=1.0)


def spoken(start: float, end: float, number: int = 0, silent: tuple[float, float] = (0, 0)) -> Segment:
    """A word of eight letters every half second, each its own number; nobody speaks in `silent`."""
    moments = [t for t in np.arange(start, end, 0.5) if not silent[0] <= t < silent[1]]
    words = tuple(Word(t, t + 0.4, f"word{round(2 * t):04}") for t in moments)
    cue = Cue(words[0].start, words[-1].end, " ".join(word.text for word in words), words)
    times = np.arange(start, end, 0.5)
    return Segment(
        segment_id=f"talks/v{number}/0",
        video_id=f"v{number}",
        uri="v.mp4",
        start=start,
        end=end,
        frame_times=times,
        frames=small.frames((90, 90, 90), count=len(times)),
        cues=(cue,),
        title=None,
        captions=(),
        label=None,
    )


def written(tmp_path: Path, *rows: Segment) -> Segments:
    small.write_segments(tmp_path, "talks", "train", rows)
    return Segments(tmp_path, "talks", "train")


def test_spans_have_the_papers_lengths_and_gaps(tmp_path: Path) -> None:
    """One length of 3 to 5 s a sample, 1 s between spans, a uniform start; words go where their middle is."""
    sampler = Spans(written(tmp_path, spoken(10.0, 40.0)), CLIP, 4, SPANS)
    segment = sampler.segments[0]
    lengths, starts = [], []
    for seed in range(300):
        texts, (start, end) = sampler.choose(segment, np.random.default_rng(seed), True)
        length = (end - start - 3) / 4
        spans = [(start + k * (length + 1), start + k * (length + 1) + length) for k in range(4)]
        for text, (begin, stop) in zip(texts, spans, strict=True):
            expected = [w.text for w in segment.cues[0].words or () if begin <= (w.start + w.end) / 2 < stop]
            assert text.split() == expected
        lengths.append(length)
        starts.append((start - 10) / (30 - (end - start)))
    assert 3 <= min(lengths) < 3.1 and 4.9 < max(lengths) <= 5
    assert np.mean(lengths) == pytest.approx(4, abs=0.12)  # 3 standard deviations are 0.1
    assert np.mean(starts) == pytest.approx(0.5, abs=0.06)
    assert min(starts) >= 0 and max(starts) <= 1


def test_a_span_in_which_nobody_speaks_is_drawn_again(tmp_path: Path) -> None:
    """Only starts at which every span has words are left, and such a segment is eligible."""
    segments = written(tmp_path, spoken(0.0, 30.0, silent=(14.0, 19.5)), spoken(0.0, 14.0, 1))
    sampler = Spans(segments, CLIP, 4, SPANS)
    assert sampler.eligible.tolist() == [0]  # 14 s are too few for 4 spans of 3 s and 3 gaps
    for seed in range(50):
        texts, _ = sampler.choose(segments[0], np.random.default_rng(seed), True)
        assert len(texts) == 4 and all(len(text) >= 10 for text in texts)
    with pytest.raises(InputError, match=r"8 spans of 3 s.*lower pretrain\.k"):
        Spans(segments, CLIP, 8, SPANS)


def test_words_without_times_are_spread_over_their_cue(tmp_path: Path) -> None:
    bare = spoken(0.0, 30.0)
    cues = tuple(Cue(float(t), t + 3.0, f"spoken{t:02} later{t:02} lastly{t:02}") for t in range(0, 30, 3))
    sampler = Spans(written(tmp_path, Segment(**{**bare.__dict__, "cues": cues})), CLIP, 2, SPANS)
    (one, two), (start, end) = sampler.choose(sampler.segments[0], np.random.default_rng(0), True)
    length = (end - start - 1) / 2
    every = [
        (t + 0.5 + i, f"{w}{t:02}") for t in range(0, 30, 3) for i, w in enumerate(("spoken", "later", "lastly"))
    ]
    assert one.split() == [text for moment, text in every if start <= moment < start + length]
    assert two.split() == [text for moment, text in every if end - length <= moment < end]


@pytest.mark.parametrize("k", [2, 5, 8])
def test_any_k_on_the_same_segments(tmp_path: Path, k: int) -> None:
    segments = written(tmp_path, spoken(0.0, 60.0))
    sample = Spans(segments, CLIP, k, SPANS).draw(0, np.random.default_rng(0), training=True)
    assert len(sample.texts) == k
    assert sample.frames.shape == (4, 16, 16, 3)


def test_pairs_draw_one_text_in_training_and_take_the_first_in_evaluation(tmp_path: Path) -> None:
    small.narrated(tmp_path, "train", 3)
    segments = Segments(tmp_path, "talks", "train")
    captions = PairSampler(segments, CLIP, "caption")
    drawn = {captions.draw(1, np.random.default_rng(seed), training=True).texts[0] for seed in range(20)}
    assert drawn == {"a grey scene, number 1", "number 1 is grey"}
    held_out = {captions.draw(1, np.random.default_rng(seed), training=False).texts[0] for seed in range(20)}
    assert held_out == {"a grey scene, number 1"}
    assert PairSampler(segments, CLIP, "title").draw(2, np.random.default_rng(0), training=True).texts == ["scene 2"]
    transcripts = PairSampler(segments, CLIP, "transcript")
    ((text, stretch), *_) = transcripts.texts(segments[0])
    assert (text, stretch) == ("it begins in scene 0", (0.0, 1.5))
    assert not captions.sorts


def test_a_collection_without_such_texts_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a caption: choose another `text`"):
        PairSampler(written(tmp_path, spoken(0.0, 30.0)), CLIP, "caption")


def test_an_image_is_a_clip_of_one_frame_repeated(tmp_path: Path) -> None:
    image = small.segment("picture", captions=["a red square on a table"])
    still = Segment(**{**image.__dict__, "frame_times": np.zeros(1), "frames": [image.frames[0]], "end": 10.0})
    sample = PairSampler(written(tmp_path, still), Clip(2, 16), "caption").draw(
        0, np.random.default_rng(0), training=True
    )
    assert np.array_equal(sample.frames[0], sample.frames[1])


def test_a_strided_clip_starts_anywhere_and_keeps_its_pace(tmp_path: Path) -> None:
    times = np.arange(40) / 4  # seconds
    clip = Clip(frames=4, size=16, stride=3)
    drawn = [clip.indices(times, (2.0, 8.0), np.random.default_rng(seed)) for seed in range(300)]
    assert all(np.array_equal(np.diff(indices), [3, 3, 3]) for indices in drawn)
    first = [indices[0] for indices in drawn]  # 8 to 32 are shown in the stretch, and a clip spans 10 frames
    assert set(first) == set(range(8, 24))
    assert clip.indices(times, (2.0, 8.0), None).tolist() == [15, 18, 21, 24]
    assert clip.indices(times, (2.0, 3.0), np.random.default_rng(0)).tolist() == [8, 11, 12, 12]
    small.narrated(tmp_path, "train", 1)
    pairs = PairSampler(Segments(tmp_path, "talks", "train"), clip, "caption")
    assert pairs.draw(0, np.random.default_rng(0), training=True).frames.shape == (4, 16, 16, 3)


def test_half_of_the_training_clips_are_mirrored_if_asked(tmp_path: Path) -> None:
    small.narrated(tmp_path, "train", 1)
    segments = Segments(tmp_path, "talks", "train")
    plain, mirrored = Cues(segments, CLIP, 3), Cues(segments, Clip(4, 16, flip=True), 3)
    turned = 0
    for seed in range(40):
        one = plain.draw(0, np.random.default_rng(seed), training=True).frames
        two = mirrored.draw(0, np.random.default_rng(seed), training=True).frames
        same, flipped = np.array_equal(one, two), np.array_equal(one, two[:, :, ::-1])
        assert same or flipped
        turned += flipped
    assert 10 <= turned <= 30
    one, two = (s.draw(0, np.random.default_rng(0), training=False).frames for s in (plain, mirrored))
    assert np.array_equal(one, two)
