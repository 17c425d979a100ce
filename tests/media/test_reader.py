"""Both decoders give the same frames at the right times; what is broken is said, and its good part kept."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scriptsight.media import Frame, MediaError, frames_at_rate, probe, reader

# A truncated or a never-ending list is not wanted here: every kind of container and codec once.
AGREE = [
    "scripted_videos/grid_long/grid_s1_00.mp4",
    "scripted_videos/mdn_media_embed/video.webm",
    "scripted_videos/exoplayer_embedded_subs/sample_with_srt.mkv",
    "awkward_videos/decord/video_90.mov",
    "awkward_videos/decord/unordered.mov",
    "awkward_videos/torchcodec/h264_10bits.mp4",
    "awkward_videos/torchcodec/h265_video.mp4",
    "awkward_videos/exoplayer/mkv/sample.mkv",
    "awkward_videos/exoplayer/mp4/sample_fragmented.mp4",
    "awkward_videos/exoplayer/mp4/sample_sef_super_slow_motion.mp4",
    "awkward_videos/exoplayer/vp9/roadtrip-vp92-10bit.webm",
    "awkward_videos/exoplayer/ts/sample_h265.ts",
    "awkward_videos/exoplayer/flv/sample-with-key-frame-index.flv",
]


def without_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    reader._decord.cache_clear()
    monkeypatch.setitem(sys.modules, "decord", None)  # importing it now fails as where it is not installed


@pytest.fixture(autouse=True)
def _decord_again() -> object:
    yield
    reader._decord.cache_clear()


def read(path: Path, fps: float = 4, short_side: int = 32) -> tuple[list[Frame], MediaError | None]:
    frames = []
    try:
        for frame in frames_at_rate(path, fps, short_side):
            frames.append(frame)
    except MediaError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("name", AGREE)
def test_both_decoders_give_the_same_frames(name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this platform")
    by_decord, first_error = read(shared_data / name)
    without_decord(monkeypatch)
    by_pyav, second_error = read(shared_data / name)
    assert str(first_error) == str(second_error)
    assert [frame.time for frame in by_decord] == pytest.approx([frame.time for frame in by_pyav], abs=1e-3)
    for one, other in zip(by_decord, by_pyav, strict=True):
        assert one.image.shape == other.image.shape
        assert np.abs(one.image.astype(int) - other.image).mean() < 4  # colour and scaling differ by versions


def test_frames_are_the_first_of_each_cell(make_video, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4, rate=8)
    frames, error = read(path, fps=2, short_side=24)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
    assert {frame.image.shape for frame in frames} == {(24, 32, 3)}
    for i, frame in enumerate(frames):
        assert abs(float(frame.image.mean()) - (16 + 8 * 4 * i % 224)) < 4


@pytest.mark.parametrize("decord", [True, False])
def test_less_than_a_frame_a_second(
    decord: bool, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not decord:
        without_decord(monkeypatch)
    frames, error = read(make_video(tmp_path / "a.mp4", seconds=8, rate=8), fps=0.5)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 2, 4, 6])


def test_a_slow_video_gives_all_its_frames(make_video, tmp_path: Path) -> None:
    frames, _ = read(make_video(tmp_path / "a.mp4", seconds=4, rate=2), fps=25)
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(8)])


def test_a_transport_stream_starts_at_zero(make_video, tmp_path: Path) -> None:
    frames, error = read(make_video(tmp_path / "a.ts", seconds=4, rate=8), fps=2)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(8)], abs=1e-3)


@pytest.mark.parametrize("decord", [True, False])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_truncated_file_gives_its_good_half(
    suffix: str, decord: bool, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not decord:
        without_decord(monkeypatch)
    options = {"movflags": "+faststart"} if suffix == "mp4" else None
    whole = make_video(tmp_path / f"a.{suffix}", seconds=20, rate=8, options=options)
    expected = probe(whole).duration
    half = tmp_path / f"half.{suffix}"
    data = whole.read_bytes()
    half.write_bytes(data[: len(data) // 2])
    frames, error = read(half, fps=2)
    assert 4 < len(frames) < 36
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(len(frames))], abs=1e-3)
    if suffix == "ts":  # its duration is measured from what is there: nothing is missing
        assert probe(half).duration < 0.7 * expected
    else:
        assert error is not None
        assert error.reason in ("broken stretch", "ends early")
        assert frames[-1].time <= error.time < 0.7 * expected


@pytest.mark.parametrize("place", [0.2, 0.4, 0.6])
def test_damage_is_found_by_either_decoder(
    place: float, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=40, rate=8)
    data = bytearray(path.read_bytes())
    start = round(place * len(data))
    data[start : start + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    by_decord, first_error = read(path, fps=2)
    without_decord(monkeypatch)
    by_pyav, second_error = read(path, fps=2)
    assert first_error is not None
    assert first_error.reason == "broken stretch"
    assert str(first_error) == str(second_error)
    assert [frame.time for frame in by_decord] == [frame.time for frame in by_pyav]
    assert 0.5 * place < by_decord[-1].time / 40 <= place + 0.1


@pytest.mark.parametrize(
    ("tag", "duration"), [("00:00:05.120000000", 5.12), ("1:00:00", 3600), ("5 s", 2), ("a:b:c", 2), ("", 2)]
)
def test_an_odd_duration_tag_is_passed_over(tag: str, duration: float) -> None:
    stream = SimpleNamespace(duration=None, metadata={"DURATION": tag})
    container = SimpleNamespace(duration=2_000_000)
    assert reader._duration(container, stream, 0.0) == duration  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"These are words.\n" * 99, "unreadable video"), (None, "unreadable video")],
)
def test_what_is_no_video_says_so(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.mp4") as caught:
        probe(path)
    assert caught.value.reason == reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - it comes from a worker


def test_sound_alone_is_no_video(shared_data: Path) -> None:
    with pytest.raises(MediaError) as caught:
        probe(shared_data / "awkward_videos/exoplayer/mp4/sample_opus.mp4")
    assert caught.value.reason == "no video stream"


def test_a_turned_video_is_described_as_shown(shared_data: Path) -> None:
    info = probe(shared_data / "awkward_videos/decord/video_90.mov")
    assert (info.width, info.height, info.codec, info.has_audio) == (320, 568, "h264", False)
    assert probe(shared_data / "awkward_videos/decord/video_0.mov").width == 568
