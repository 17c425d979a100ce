"""Sound lies where the container's clock says, whatever its stream's format; what is broken is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from scriptsight.media import MediaError, audio, audio_blocks
from tests.conftest import MakeVideo

RATE = 44_100


def write(
    path: Path,
    *stretches: tuple[float, float],
    codec: str = "pcm_s16le",
    layout: str = "stereo",
    video_from: float | None = None,
) -> Path:
    """Sound with a tone of 440 Hz in each stretch (start and end in seconds, time stamps), and a black video."""
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream(codec, rate=RATE, layout=layout)
        picture = None
        if video_from is not None:
            picture = container.add_stream("libx264", rate=8, options={"bf": "0"})
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
            for index in range(8):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
                frame.pts, frame.time_base = round(video_from * 8) + index, Fraction(1, 8)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
        channels = 2 if layout == "stereo" else 1
        kind = "s16" if codec.startswith("pcm") else "fltp"
        for start, end in stretches:
            times = np.arange(round(start * RATE), round(end * RATE))
            tone = 0.5 * np.sin(2 * np.pi * 440 * times / RATE)
            for first in range(0, len(tone), 1024):
                part = tone[first : first + 1024]
                if kind == "s16":
                    values = (part * 32767).astype(np.int16).repeat(channels)[None]
                else:
                    values = np.tile(part.astype(np.float32), (channels, 1))
                heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=kind, layout=layout)
                heard.sample_rate, heard.pts, heard.time_base = RATE, int(times[first]), Fraction(1, RATE)
                container.mux(sound.encode(heard))
        container.mux(sound.encode())
    return path


def loud(sound: np.ndarray) -> tuple[float, float]:
    """Where the first tone begins and the last ends, in seconds."""
    where = np.flatnonzero(np.abs(sound) > 0.05)
    return where[0] / 16_000, where[-1] / 16_000


@pytest.mark.parametrize(
    ("suffix", "codec", "layout"),
    [("mkv", "pcm_s16le", "stereo"), ("mp4", "aac", "stereo"), ("mp4", "aac", "mono"), ("ts", "mp2", "stereo")],
)
def test_a_tone_comes_back(suffix: str, codec: str, layout: str, tmp_path: Path) -> None:
    sound = audio(write(tmp_path / f"a.{suffix}", (0, 2), codec=codec, layout=layout))
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(32_000, abs=1600)  # encoders fill their last frame
    assert np.abs(np.fft.rfft(sound[8_000:24_000])).argmax() == 440
    assert np.abs(sound[8_000:24_000]).max() == pytest.approx(0.5, abs=0.05)
    assert loud(sound) == pytest.approx((0, 2), abs=0.06)


def test_sound_that_begins_late_stays_late(tmp_path: Path) -> None:
    sound = audio(write(tmp_path / "a.mkv", (0.75, 1.5), video_from=0))
    assert loud(sound) == pytest.approx((0.75, 1.5), abs=0.01)


def test_time_counts_from_the_containers_start(tmp_path: Path) -> None:
    sound = audio(write(tmp_path / "a.mkv", (5.5, 6), video_from=5))
    assert loud(sound) == pytest.approx((0.5, 1), abs=0.01)


def test_a_gap_is_silence(tmp_path: Path) -> None:
    sound = audio(write(tmp_path / "a.mkv", (0, 1), (2, 3)))
    assert loud(sound) == pytest.approx((0, 3), abs=0.01)
    assert not sound[16_200:31_800].any()
    assert loud(sound[16_000:])[0] == pytest.approx(1, abs=0.03)


def test_recordings_that_were_joined_are_heard_one_after_the_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", (0, 2), codec="mp2")
    whole = audio(path)
    path.write_bytes(path.read_bytes() * 2)
    twice = audio(path)
    assert len(twice) == pytest.approx(2 * len(whole), abs=1600)
    assert np.array_equal(twice[:30_000], whole[:30_000])
    assert loud(twice) == pytest.approx((0, 4), abs=0.1)


def test_a_jump_of_hours_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", (0, 1), (12000, 12001))
    blocks = []
    with pytest.raises(MediaError, match="jumps") as caught:
        for block in audio_blocks(path, 0.25):
            blocks.append(block)
    assert caught.value.reason == "broken stretch"
    assert sum(map(len, blocks)) == pytest.approx(16_000, abs=400)
    assert caught.value.time == pytest.approx(1, abs=0.03)


def test_many_long_gaps_are_not_believed_either(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", (0, 1), (9000, 9001), (18_000, 18_001))
    with pytest.raises(MediaError, match="jumps") as caught:
        for _ in audio_blocks(path, 60):
            pass
    assert caught.value.time == pytest.approx(9001, abs=0.1)


def test_blocks_are_the_whole_in_pieces(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", (0, 3), codec="aac")
    blocks = list(audio_blocks(path, 0.7))
    assert {len(block) for block in blocks[:-1]} == {11_200}
    assert 0 < len(blocks[-1]) <= 11_200
    assert np.array_equal(np.concatenate(blocks), audio(path))


def test_a_silent_film(make_video: MakeVideo, tmp_path: Path) -> None:
    sound = audio(make_video(tmp_path / "a.mp4", seconds=1))
    assert sound.shape == (0,)
    assert sound.dtype == np.float32


def damaged(path: Path, start: float, size: int) -> Path:
    data = bytearray(path.read_bytes())
    first = round(start * len(data))
    data[first : first + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(data)
    return path


def test_damaged_packets_are_silence_and_what_follows_stays_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", (0, 10), (12, 20), codec="aac")
    whole = audio(path)
    sound = audio(damaged(path, 0.3, 300))
    assert len(sound) == pytest.approx(len(whole), abs=160)
    assert not np.array_equal(sound, whole)
    assert loud(sound[11 * 16_000 :]) == pytest.approx((1, 9), abs=0.03)


def test_much_damage_is_said(tmp_path: Path) -> None:
    path = damaged(write(tmp_path / "a.mp4", (0, 20), codec="aac"), 0.2, 40_000)
    with pytest.raises(MediaError, match="packets are damaged") as caught:
        audio(path)
    assert caught.value.reason == "unreadable audio"


def test_what_is_no_media_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"These are words. " * 99)
    with pytest.raises(MediaError, match=r"a\.mp4") as caught:
        audio(path)
    assert caught.value.reason == "unreadable audio"


def test_real_sound(shared_data: Path) -> None:
    sound = audio(shared_data / "scripted_videos/grid_long/grid_s1_00.mp4")
    assert len(sound) / 16_000 == pytest.approx(48, abs=0.1)
    assert 0.01 < np.abs(sound).mean() < 0.2
    video = audio(shared_data / "awkward_videos/exoplayer/ts/bbb_2500ms.ts")
    assert len(video) / 16_000 == pytest.approx(2.5, abs=0.1)
