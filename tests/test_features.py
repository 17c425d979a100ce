from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight import clips, features
from scriptsight.clips import View
from scriptsight.errors import InputError
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segments
from tests import small

REPORTER = ConsoleReporter()


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    rows = [small.segment(f"v{i}", colour=(20 * i, 250 - 20 * i, 100), seed=i) for i in range(11)]
    small.write_segments(tmp_path, "c", "test", rows)
    return Segments(tmp_path, "c", "test")


def test_features_are_those_of_each_segment_alone(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    found = features.extract(encoder, segments, 4, REPORTER, "test", precision="fp32")
    assert {name: values.shape for name, values in found.items()} == {
        "cls": (11, 1, 32),
        "mean": (11, 1, 32),
        "embedding": (11, 1, 8),
    }
    for row, segment in enumerate(segments):
        frames = torch.from_numpy(clips.views(segment, View(), 4, 16))
        alone = {**encoder.features(frames), "embedding": encoder.encode_video(frames)}
        for name, values in found.items():
            assert values.dtype == np.float32
            np.testing.assert_allclose(values[row], alone[name].numpy(), atol=1e-5)
    assert np.ptp(found["cls"], axis=0).max() > 0.01  # the segments do differ


@pytest.mark.parametrize("batch", [1, 3, 11, 50])
def test_features_do_not_depend_on_the_batch_size(segments: Segments, batch: int) -> None:
    encoder = small.tiny_encoder()
    one, other = (
        features.extract(encoder, segments, size, REPORTER, "test", precision="fp32") for size in (4, batch)
    )
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_two_extractions_are_equal_to_the_bit_and_leave_torch_as_it_was(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    one, other = (features.extract(encoder, segments, 4, REPORTER, "test") for _ in range(2))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert not torch.are_deterministic_algorithms_enabled()


def test_rows_choose_segments_in_order(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    every = features.extract(encoder, segments, 4, REPORTER, "test", precision="fp32")["cls"]
    some = features.extract(encoder, segments, 2, REPORTER, "test", rows=[7, 0, 3], precision="fp32")["cls"]
    np.testing.assert_allclose(some, every[[7, 0, 3]], atol=1e-5)


def test_no_rows_is_an_error(segments: Segments) -> None:
    with pytest.raises(InputError, match="no segments"):
        features.extract(small.tiny_encoder(), segments, 4, REPORTER, "test", rows=[])


def test_a_damaged_frame_names_its_segment(tmp_path: Path) -> None:
    good, bad = small.segment("good"), small.segment("bad")
    object.__setattr__(bad, "frames", [b"\xff\xd8 no picture"] * 6)
    small.write_segments(tmp_path, "c", "test", [good, bad])
    with pytest.raises(InputError, match=r"small/bad/0 are damaged.*segment stage"):
        features.extract(small.tiny_encoder(), Segments(tmp_path, "c", "test"), 4, REPORTER, "test")


def test_features_that_are_not_finite_are_refused(segments: Segments) -> None:
    encoder = small.tiny_encoder()
    with torch.no_grad():
        encoder.video.norm.weight[0] = float("nan")
    with pytest.raises(InputError, match=r"small/v0/0 are not finite"):
        features.extract(encoder, segments, 4, REPORTER, "test")


def test_script_texts_prefers_cues_then_the_caption_then_the_title() -> None:
    assert features.script_texts(small.segment("v", texts=["one", " ", "two"], captions=["c"])) == ["one", "two"]
    assert features.script_texts(small.segment("v", captions=["c"], title="t")) == ["c"]
    assert features.script_texts(small.segment("v", captions=[" "], title="t")) == ["t"]
    assert features.script_texts(small.segment("v")) == []
