"""Frames are given at the right times; what is broken is said, and its good part kept."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from scriptsight.errors import InputError
from scriptsight.media import (
    Frame,
    MediaError,
    audio_blocks,
    frames_at,
    frames_at_rate,
    hdr,
    probe,
    reader,
    refusal,
)
from scriptsight.media.reader import STILL_SECONDS
from tests.conftest import MakeVideo
from tests.numbered import film

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
    "awkward_videos/exoplayer/mp4/hdr10-video-with-sdr-container.mp4",
    "awkward_videos/exoplayer/mp4/dolbyVision-hdr.MOV",
    "awkward_videos/exoplayer/vp9/bear-vp9-odd-dimensions.webm",
    "awkward_videos/mp4parse/mp4parse__h264_white_frame_sar_16_9.mp4",
    "awkward_videos/exoplayer/ts/sample_h265.ts",
    "awkward_videos/exoplayer/flv/sample-with-key-frame-index.flv",
]


def read(path: Path, fps: float = 4, short_side: int = 32) -> tuple[list[Frame], MediaError | None]:
    frames = []
    try:
        for frame in frames_at_rate(path, fps, short_side):
            frames.append(frame)
    except MediaError as error:
        return frames, error
    return frames, None


# Containers in which decord counts the frames that are shown, and only those; it shows a high range as it is.
DECORD = [name for name in AGREE if not name.endswith((".ts", ".flv", "-10bit.webm")) and "hdr" not in name]


@pytest.mark.parametrize("name", DECORD)
def test_another_decoder_gives_the_same_frames(name: str, shared_data: Path) -> None:
    """decord has an older FFmpeg of its own. It does not know what is damaged, hidden or mirrored, and counts from
    the first frame; it is read from the start, since it does not always find a frame by its number."""
    decord = pytest.importorskip("decord", reason="decord has no wheel for this platform")
    frames, error = read(shared_data / name)
    assert error is None
    height, width = frames[0].image.shape[:2]
    other = decord.VideoReader(str(shared_data / name), width=width, height=height, num_threads=1)
    starts = other.get_frame_timestamp(range(len(other)))[:, 0] + frames[0].time
    images = (other.next().asnumpy() for _ in starts)
    for frame in frames:
        start, image = next((start, image) for start, image in zip(starts, images) if start > frame.time - 2e-3)  # noqa: B905
        starts = starts[starts > start]
        assert start == pytest.approx(frame.time, abs=2e-3)
        # Where padding makes a row as long as four channels, decord hands the padding out as channels.
        image = image.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
        assert np.abs(frame.image.astype(int) - image).mean() < 4  # colour and scaling differ by versions


def test_frames_are_the_first_of_each_cell(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4, rate=8)
    frames, error = read(path, fps=2, short_side=24)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
    assert {frame.image.shape for frame in frames} == {(24, 32, 3)}
    for i, frame in enumerate(frames):
        assert abs(float(frame.image.mean()) - (16 + 8 * 4 * i % 224)) < 4


def test_less_than_a_frame_a_second(make_video: MakeVideo, tmp_path: Path) -> None:
    frames, error = read(make_video(tmp_path / "a.mp4", seconds=8, rate=8), fps=0.5)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 2, 4, 6])


def test_a_slow_video_gives_all_its_frames(make_video: MakeVideo, tmp_path: Path) -> None:
    frames, _ = read(make_video(tmp_path / "a.mp4", seconds=4, rate=2), fps=25)
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(8)])


def test_a_transport_stream_starts_at_zero(make_video: MakeVideo, tmp_path: Path) -> None:
    frames, error = read(make_video(tmp_path / "a.ts", seconds=4, rate=8), fps=2)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(8)], abs=1e-3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_truncated_file_gives_its_good_half(suffix: str, make_video: MakeVideo, tmp_path: Path) -> None:
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
        assert error is not None and error.time is not None
        assert error.reason in ("broken stretch", "ends early")
        assert frames[-1].time <= error.time < 0.7 * expected


def damaged(path: Path, place: float, how: str) -> Path:
    """Damage in the packet at this share of the file's packets that is one whatever the encoder wrote: a length that
    is longer than the packet; a packet whose second half is missing; the bits of a slice that mean nothing."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    packet = packets[round(place * len(packets))]
    data = bytearray(path.read_bytes())
    assert packet.pos is not None
    if how == "length":
        data[packet.pos : packet.pos + 4] = b"\x7f\xff\xff\xff"
    elif how == "half":
        data[packet.pos + packet.size // 2 : packet.pos + packet.size] = bytes(packet.size - packet.size // 2)
    else:
        data[packet.pos + 4 : packet.pos + 24] = b"\x65" + b"\xff" * 19
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", ["length", "half", "slice"])
@pytest.mark.parametrize("place", [0.2, 0.4, 0.6])
def test_damage_is_found(place: float, how: str, make_video: MakeVideo, tmp_path: Path) -> None:
    path = damaged(make_video(tmp_path / "a.mp4", seconds=40, rate=8), place, how)
    frames, error = read(path, fps=2)
    assert error is not None
    assert error.reason == "broken stretch"
    assert error.time is not None
    assert 40 * place - 1.0 <= error.time <= 40 * place + 1.0
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(len(frames))])
    assert frames[-1].time <= error.time < frames[-1].time + 1.0


def test_check_sums_find_what_still_means_something(tmp_path: Path) -> None:
    """HEVC: one bit of each of ten pictures; without the check sums that its encoder wrote none is found."""
    found = {}
    for sums in (0, 1):
        settings = f"hash={sums}:log-level=none:pools=none:frame-threads=1"
        path = film(tmp_path / f"{sums}.mp4", range(30), "libx265", {"x265-params": settings, "crf": "12"})
        assert read(path, 25)[1] is None
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(container.streams.video[0]) if packet.pos is not None]
        whole = path.read_bytes()
        found[sums] = 0
        for packet in packets[10:20]:
            data = bytearray(whole)
            data[(packet.pos or 0) + min(packet.size - 1, 30)] ^= 4
            path.write_bytes(data)
            found[sums] += read(path, 25)[1] is not None
    assert found[1] > found[0]


@pytest.mark.parametrize(
    ("tag", "duration"), [("00:00:05.120000000", 5.12), ("1:00:00", 3600), ("5 s", 2), ("a:b:c", 2), ("", 2)]
)
def test_an_odd_duration_tag_is_passed_over(tag: str, duration: float) -> None:
    stream = SimpleNamespace(duration=None, metadata={"DURATION": tag})
    container = SimpleNamespace(duration=2_000_000, format=SimpleNamespace(name="matroska,webm"))
    assert reader.announced_duration(container, stream, 0.0) == duration  # type: ignore[arg-type]


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


# ------------------------------------------------------------------------------------------- at given times


def test_the_frame_on_screen_at_a_time(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4, rate=2, size=(64, 48))
    times = [3.5, 0.7, -1.0, 0.5, 0.4999, 99.0, 0.7]
    frames = frames_at(path, times, 24)
    assert [frame.time for frame in frames] == pytest.approx([3.5, 0.5, 0, 0.5, 0.5, 3.5, 0.5])
    assert {frame.image.shape for frame in frames} == {(24, 32, 3)}
    for frame in frames:
        assert abs(float(frame.image.mean()) - (16 + 8 * round(2 * frame.time))) < 4
        assert frame.end == pytest.approx(frame.time + 0.5)
    assert frames_at(path, [], 24) == []


def test_recordings_that_were_joined_are_shown_one_after_the_other(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", seconds=2, rate=2)
    path.write_bytes(path.read_bytes() * 2)
    frames = read(path, fps=2)[0]
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(8)], abs=1e-3)
    assert [frame.time for frame in frames_at(path, [0, 3, 99], 32)] == pytest.approx([0, 3, 3.5], abs=1e-3)
    for first, second in zip(frames[:4], frames[4:], strict=True):
        assert np.array_equal(first.image, second.image)


@pytest.mark.parametrize("size", [(48, 48), (96, 48), (128, 96)])
def test_a_joined_recording_of_another_shape_is_not_squeezed(
    size: tuple[int, int], make_video: MakeVideo, tmp_path: Path
) -> None:
    first = make_video(tmp_path / "a.ts", seconds=2, rate=8, size=(64, 48))
    second = make_video(tmp_path / "b.ts", seconds=2, rate=8, size=size)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    frames, error = read(first, fps=8, short_side=48)
    assert error is None
    assert len(frames) == 32
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
    light = frames[-1].image.mean(axis=2) > 8  # what is no bar
    shown = round(min(64, 48 * size[0] / size[1])), round(min(48, 64 * size[1] / size[0]))
    assert (light.any(axis=0).sum(), light.any(axis=1).sum()) == pytest.approx(shown, abs=1)
    assert light[24, 32] and frames[0].image.mean() > 8


@pytest.mark.parametrize("name", AGREE)
def test_times_and_rate_give_the_same_frames(name: str, shared_data: Path) -> None:
    by_rate, error = read(shared_data / name)
    assert error is None
    at_times = frames_at(shared_data / name, [frame.time for frame in by_rate], 32)
    assert [frame.time for frame in at_times] == pytest.approx([frame.time for frame in by_rate], abs=1e-3)
    for one, other in zip(by_rate, at_times, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 4


def test_times_before_the_damage_are_given(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=20, rate=8, options={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert [frame.time for frame in frames_at(path, [0, 1, 4], 32)] == pytest.approx([0, 1, 4])
    with pytest.raises(MediaError) as caught:
        frames_at(path, [0, 19], 32)
    assert caught.value.reason in ("broken stretch", "ends early")
    assert caught.value.time is not None
    assert 4 < caught.value.time < 14


# --------------------------------------------------------------------------------------------- still pictures


def stripes() -> np.ndarray:
    """80 x 60 pixels: red above, blue below, a white bar on the left."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :, 0] = image[30:, :, 2] = 255
    image[:, :10] = 255
    return image


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("jpg", "RGB"), ("jpg", "CMYK"), ("jpg", "L"), ("png", "RGB"), ("png", "P"), ("png", "RGBA"), ("webp", "RGB")],
)
def test_a_picture_is_a_video_of_one_frame(suffix: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(stripes()).convert(mode)
    options: dict[str, Any] = {"quality": 95} if suffix != "png" else {}
    picture.save(path, **options)
    info = probe(path)
    assert (info.duration, info.fps, info.width, info.height, info.has_audio) == (STILL_SECONDS, 0, 80, 60, False)
    frames, error = read(path, fps=2, short_side=60)
    assert error is None
    assert [(frame.time, frame.image.shape) for frame in frames] == [(0, (60, 80, 3))]
    assert np.abs(frames[0].image.astype(int) - np.asarray(picture.convert("RGB"))).mean() < 3
    assert np.array_equal(frames_at(path, [5.0], 60)[0].image, frames[0].image)


def test_a_turned_photograph_is_shown_upright(tmp_path: Path) -> None:
    turn = Image.Exif()
    turn[0x112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(stripes()).save(tmp_path / "a.jpg", exif=turn, quality=95)
    assert (probe(tmp_path / "a.jpg").width, probe(tmp_path / "a.jpg").height) == (60, 80)
    frames, _ = read(tmp_path / "a.jpg", short_side=60)
    assert np.abs(frames[0].image.astype(int) - np.rot90(stripes(), -1)).mean() < 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_half_a_picture_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.reason == "unreadable video"


def test_an_animated_gif_is_a_video(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((60, 80, 3), 40 * i, np.uint8)) for i in range(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=500)
    assert probe(tmp_path / "a.gif").duration == pytest.approx(2.5)
    frames, _ = read(tmp_path / "a.gif", fps=2)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [float(frame.image.mean()) for frame in frames] == pytest.approx([0, 40, 80, 120, 160], abs=2)


def test_a_picture_of_an_endless_side_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 20_000, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "a.png")
    assert caught.value.reason == "odd shape"


def test_the_cover_of_a_record_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44_100)
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "a.mp3")
    assert caught.value.reason == "no video stream"


# ------------------------------------------------------------------------------------- shape, clock, light


@pytest.mark.parametrize(
    ("pixel", "width"),
    [(Fraction(4, 3), 85), (Fraction(1, 2), 32), (Fraction(1), 64), (Fraction(200), 64), (Fraction(1, 200), 64)],
)
def test_oblong_pixels(pixel: Fraction, width: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [0, 1], pixel=pixel)
    info = probe(path)
    assert (info.width, info.height) == (width, 48)  # a shape that no camera has is not believed
    frames, _ = read(path, fps=1, short_side=24)
    height, wide = frames[0].image.shape[:2]
    assert wide / height == pytest.approx(width / 48, abs=0.03)


def test_a_rate_that_varies(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 3, 30, 31, 50, 75, 76, 77, 78, 110]  # of a tenth of a second
    frames, error = read(write(tmp_path / "a.mp4", ticks), fps=1)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 3, 5, 7.5, 11])
    assert [round(float(frame.image.mean()) / 20) for frame in frames] == [0, 4, 6, 7, 11]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_clock_that_does_not_start_at_zero(suffix: str, make_video: MakeVideo, tmp_path: Path) -> None:
    frames, error = read(make_video(tmp_path / f"a.{suffix}", seconds=2, rate=8, first_pts=80), fps=2)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 1, 1.5], abs=1e-3)


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_high_range_is_shown_as_standard(transfer: int, tmp_path: Path) -> None:
    """BT.2408: reference white is coded as 58 % in PQ and 75 % in HLG; both are 203 cd/m2."""
    white = round(255 * {hdr.PQ: 0.58, hdr.HLG: 0.75}[transfer])
    frames, _ = read(write(tmp_path / "a.mp4", range(4), greys=[0, white, 255, 96], transfer=transfer), fps=10)
    black, reference, brightest, dim = (float(frame.image.mean()) for frame in frames)
    assert black < 2
    assert 230 < reference < 245  # white, with room for what is brighter
    assert brightest > 252
    assert 2 < dim < 120
    plain, _ = read(write(tmp_path / "b.mp4", range(4), greys=[0, white, 255, 96]), fps=10)
    assert float(plain[1].image.mean()) == pytest.approx(white, abs=3)  # a standard video is left alone


def test_light_is_that_of_the_standard() -> None:
    """BT.2100's own points of PQ: 58 % is 203 cd/m2, 75 % is 983; the hue of a bright colour stays."""
    light = hdr.linear_light(hdr.PQ) * 203
    assert light[0] == 0
    assert light[255] == pytest.approx(10_000, rel=1e-3)
    assert light[round(0.58 * 255)] == pytest.approx(203, rel=0.03)
    assert light[round(0.75 * 255)] == pytest.approx(983, rel=0.03)
    assert hdr.linear_light(hdr.HLG)[255] * 203 == pytest.approx(1000, rel=1e-3)
    assert hdr.linear_light(hdr.HLG)[round(0.75 * 255)] * 203 == pytest.approx(203, rel=0.03)
    for transfer in (hdr.PQ, hdr.HLG):
        ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
        grey = hdr.as_standard(ramp, transfer)
        assert (np.diff(grey[0, :, 0].astype(int)) >= 0).all()
        assert np.ptp(grey.astype(int), axis=2).max() <= 1
    sky = hdr.as_standard(np.full((1, 1, 3), (120, 140, 190), np.uint8), hdr.PQ)[0, 0].astype(int)
    assert sky[2] > sky[1] > sky[0]


def write(
    path: Path,
    ticks: Sequence[int],
    *,
    greys: Sequence[int] | None = None,
    pixel: Fraction = Fraction(1),
    transfer: int | None = None,
) -> Path:
    """A video of grey frames, 64 x 48, at these tenths of a second; without `greys` each is lighter by 20."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1", "bf": "0", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel
        stream.codec_context.time_base = Fraction(1, 10)
        if transfer is not None:
            stream.codec_context.color_trc = transfer
            stream.codec_context.color_primaries = stream.codec_context.colorspace = 9  # BT.2020
        for index, tick in enumerate(ticks):
            grey = greys[index] if greys is not None else 20 * index
            luma = np.full((48, 64), round(16 + grey * 219 / 255), np.uint8)
            planes = np.concatenate([luma, np.full((24, 64), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_sound_that_turns_up_in_a_later_recording_is_passed_over(tmp_path: Path) -> None:
    def part(sound: bool) -> bytes:
        with av.open(str(tmp_path / "part.ts"), "w") as container:
            picture = container.add_stream("libx264", rate=8)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            noise = container.add_stream("aac", rate=8000) if sound else None
            for i in range(96):
                frame = av.VideoFrame(64, 48, "yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 8)
                container.mux(picture.encode(frame))
                if noise:
                    samples = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
                    samples.sample_rate, samples.pts = 8000, 1000 * i
                    container.mux(noise.encode(samples))
            container.mux(picture.encode())
            if noise:
                container.mux(noise.encode())
        return (tmp_path / "part.ts").read_bytes()

    # FFmpeg looks for streams at the start and, for the duration, at the end: the padding keeps it off the middle.
    silent, padding = part(sound=False), (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 2000
    path = tmp_path / "late.ts"
    path.write_bytes(silent + part(sound=True) + padding + silent)
    assert not probe(path).has_audio
    frames, error = read(path, fps=2)
    assert error is None
    assert [frame.time for frame in frames] == pytest.approx([i / 2 for i in range(72)], abs=1e-3)
    assert list(audio_blocks(path, 60.0)) == []


def test_an_error_nobody_foresaw_is_of_one_video_and_a_full_disk_of_all() -> None:
    assert refusal(MediaError("a", "odd shape", "1 x 99 pixels")) == ("odd shape", "1 x 99 pixels")
    assert refusal(IndexError("\ud800" + "x" * 999)) == ("unexpected error", "IndexError: \\ud800" + "x" * 299)
    assert refusal(PermissionError(13, "no"))[0] == "unreadable video"
    for error in (OSError(errno.ENOSPC, "full"), InputError("no such model")):
        with pytest.raises(type(error)):
            refusal(error)


def test_a_rate_that_is_not_announced_is_counted(tmp_path: Path) -> None:
    uneven = [number * 1000 // 30 + 5 * (number % 3) for number in range(60)]  # ms, about 30 pictures a second
    path = film(tmp_path / "film.mkv", range(60), options={"bf": "0"}, times=uneven, rate=1000)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 1000  # FFmpeg's word for it
    assert probe(path).fps == pytest.approx(30, rel=0.01)
