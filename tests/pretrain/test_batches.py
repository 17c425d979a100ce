"""Samples: which transcripts, which frames, which order, and that all of it is a function of the step."""

import collections
from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight import clips
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.pretrain.batches import TrainingBatches, ValidationBatches, training_batches, turns
from scriptsight.pretrain.samplers import Clip, Cues
from scriptsight.segments import Segment, Segments
from tests import small

SENTENCES = [
    "the red circle rises",
    "the blue box sinks",
    "a green cross grows",
    "our wedge vanishes",
    "ball goes left",
]


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    """Six segments of ten frames with five transcripts each, but for the last, which has two."""
    rows = []
    for number in range(6):
        cues = [Cue(2.0 * i, 2.0 * i + 1.5, text) for i, text in enumerate(SENTENCES[: 2 if number == 5 else 5])]
        rows.append(
            Segment(
                segment_id=f"talks/v{number}/0",
                video_id=f"v{number}",
                uri=f"v{number}.mp4",
                start=0.0,
                end=10.0,
                frame_times=np.arange(10.0),
                frames=small.frames((20 * number,) * 3, count=10),
                cues=(*cues, Cue(9.6, 9.9, "hm")),
                title=None,
                captions=(),
                label=None,
            )
        )
    small.write_segments(tmp_path, "talks", "train", rows)
    return Segments(tmp_path, "talks", "train")


def sampler(segments: Segments, k: int = 3) -> Cues:
    return Cues(segments, Clip(frames=4, size=16), k)


def batches_of(*sources: Cues, batch: int, steps: int, seed: int, accumulate: int = 1) -> TrainingBatches:
    shares = [1.0] * len(sources)
    return TrainingBatches(sources, shares, batch=batch, accumulate=accumulate, steps=steps, seed=seed)


def test_transcripts_are_consecutive_and_the_order_puts_them_right(segments: Segments) -> None:
    batches = batches_of(sampler(segments), batch=4, steps=20, seed=1)
    for step in range(20):
        batch = batches[step]
        assert batch.order is not None
        for sample in range(4):
            shuffled = batch.texts[3 * sample : 3 * sample + 3]
            restored = [shuffled[k] for k in torch.argsort(batch.order[sample]).tolist()]
            first = SENTENCES.index(restored[0])
            assert restored == SENTENCES[first : first + 3]


def test_too_short_a_text_is_no_transcript_and_too_few_transcripts_no_sample(segments: Segments) -> None:
    assert sampler(segments, k=3).eligible.tolist() == [0, 1, 2, 3, 4]
    assert sampler(segments, k=2).eligible.tolist() == [0, 1, 2, 3, 4, 5]
    assert segments.transcripts().tolist() == [5, 5, 5, 5, 5, 2]
    with pytest.raises(InputError, match=r"6 transcripts.*the best has 5.*lower pretrain\.k"):
        sampler(segments, k=6)


def test_orders_and_starts_are_uniform(segments: Segments) -> None:
    batches = batches_of(sampler(segments), batch=50, steps=24, seed=0)
    orders: collections.Counter[tuple[int, ...]] = collections.Counter()
    starts: collections.Counter[int] = collections.Counter()
    for step in range(24):
        batch = batches[step]
        assert batch.order is not None
        orders.update(tuple(row) for row in batch.order.tolist())
        starts.update(
            min(SENTENCES.index(text) for text in batch.texts[3 * sample : 3 * sample + 3]) for sample in range(50)
        )
    assert len(orders) == 6
    assert all(abs(count - 200) < 60 for count in orders.values())  # 1200 draws, over 4 standard deviations
    assert all(abs(starts[first] - 400) < 80 for first in range(3))


def test_an_epoch_shows_every_segment_once(segments: Segments) -> None:
    batches = batches_of(sampler(segments), batch=5, steps=6, seed=0)
    for step in range(6):
        assert sorted(batches[step].segment_ids) == sorted(f"talks/v{number}/0" for number in range(5))


def test_batches_do_not_depend_on_loader_processes_or_on_the_first_step(segments: Segments) -> None:
    dataset = batches_of(sampler(segments), batch=3, steps=5, seed=7)
    here = list(training_batches(dataset, 0, workers=0))
    there = list(training_batches(dataset, 2, workers=1))
    for one, other in zip(here[2:], there, strict=True):
        assert torch.equal(one.frames, other.frames)
        assert one.order is not None and other.order is not None
        assert torch.equal(one.order, other.order)
        assert one.texts == other.texts


def test_parts_of_a_step_are_its_batch(segments: Segments) -> None:
    whole = batches_of(sampler(segments), batch=4, steps=3, seed=7)
    parts = batches_of(sampler(segments), batch=4, steps=3, seed=7, accumulate=2)
    for step in range(3):
        one, two = parts[2 * step], parts[2 * step + 1]
        assert torch.equal(whole[step].frames, torch.cat([one.frames, two.frames]))
        assert whole[step].texts == one.texts + two.texts


def test_sources_take_turns_in_their_shares() -> None:
    order = turns([3.0, 1.0], 40)
    assert np.bincount(order).tolist() == [30, 10]
    assert all(abs((order[:n] == 1).sum() - n / 4) < 1 for n in range(1, 40))


def test_each_source_has_epochs_of_its_own(segments: Segments, tmp_path: Path) -> None:
    small.narrated(tmp_path / "more", "train", 4)
    more = Cues(Segments(tmp_path / "more", "talks", "train"), Clip(frames=4, size=16), 3)
    batches = batches_of(sampler(segments), more, batch=4, steps=10, seed=0)
    shown = [batches[step].segment_ids for step in range(10)]
    for ids in shown[1::2]:
        assert sorted(ids) == sorted(more.segments[row].segment_id for row in range(4))
    assert sorted(name for ids in shown[0::2] for name in ids) == sorted(
        4 * [f"talks/v{number}/0" for number in range(5)]
    )


def test_validation_is_the_same_every_time(segments: Segments) -> None:
    one, two = (ValidationBatches(sampler(segments), batch=2, samples=4, seed=0) for _ in range(2))
    assert [len(batch.frames) for batch in one] == [2, 2]
    for a, b in zip(one, two, strict=True):
        assert a.order is not None and b.order is not None
        assert torch.equal(a.frames, b.frames) and torch.equal(a.order, b.order)


def test_one_frame_from_each_equal_part() -> None:
    times = np.arange(100) / 10  # ten seconds at ten frames a second
    rng = np.random.default_rng(0)
    drawn = np.stack([clips.frame_indices(times, 2.0, 10.0, 4, rng) for _ in range(2000)])
    parts = (times[drawn] - 2.0) // 2.0
    assert (parts == np.arange(4)).all()
    counts = np.bincount(drawn[:, 0] - 20, minlength=20)
    assert counts.min() > 50  # 100 expected of each frame of the first part
    assert clips.frame_indices(times, 2.0, 10.0, 4).tolist() == [30, 50, 70, 90]


def test_the_frame_on_screen_is_taken() -> None:
    times = np.array([0.0, 1.0, 4.0])
    assert clips.frame_indices(times, 0.0, 8.0, 4).tolist() == [1, 1, 2, 2]
    assert clips.frame_indices(np.array([5.0]), 0.0, 1.0, 3).tolist() == [0, 0, 0]


def test_clips_are_cropped_to_the_middle_square() -> None:
    wide = np.zeros((2, 20, 60, 3), np.uint8)
    wide[:, :, 20:40] = 200
    assert (clips.fit(wide, 20) == 200).all()
    assert clips.fit(wide, 10).shape == (2, 10, 10, 3)
    assert clips.fit(wide.transpose(0, 2, 1, 3), 20).shape == (2, 20, 20, 3)
