"""The number in a picture is the number that is right at its time, in every codec and container, however the film was
cut, joined, turned or delayed; and sound lies where the pictures say."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from scriptsight.media import MediaError, audio, frames_at, frames_at_rate, probe
from tests.numbered import RATE, SIDE, copied, drawn, film, number_of

FIELD_CASES = Path(__file__).parents[1] / "field_cases"
COUNT = 60  # pictures of a film
GROUP = 20  # pictures from one key frame to the next

X265 = f"keyint={GROUP}:min-keyint={GROUP}:bframes=4:open-gop=1:log-level=none:pools=none:frame-threads=1"
SIMPLE = {"g": "10", "bf": "2", "b": "1500000"}
# What it is called here: encoder, its options, pixels, and the containers that hold it.
CODECS: dict[str, tuple[str, dict[str, str], str, tuple[str, ...]]] = {
    "h264": ("libx264", {"g": f"{GROUP}", "bf": "3"}, "yuv420p", ("mp4", "mov", "mkv", "ts", "flv", "avi", "h264")),
    "h264 open": (
        "libx264",
        {"g": f"{GROUP}", "x264-params": "open-gop=1:bframes=3:scenecut=0"},
        "yuv420p",
        ("mp4", "mkv", "flv"),
    ),
    "hevc open": ("libx265", {"x265-params": X265}, "yuv420p", ("mp4", "mov", "mkv", "ts", "flv", "hevc")),
    "vp8": ("libvpx", {"g": f"{GROUP}", "deadline": "realtime", "cpu-used": "8", "b": "400k"}, "yuv420p", ("webm",)),
    "vp9": (
        "libvpx-vp9",
        {"g": f"{GROUP}", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"},
        "yuv420p",
        ("webm", "mkv", "mp4"),
    ),
    "av1": (
        "libsvtav1",
        {"g": f"{GROUP}", "preset": "8", "crf": "30", "svtav1-params": "lp=1"},
        "yuv420p",
        ("mp4", "mkv", "webm"),
    ),
    "mpeg2": ("mpeg2video", SIMPLE, "yuv420p", ("mp4", "ts", "mpg", "mkv", "avi", "m2v")),
    "mpeg4": ("mpeg4", SIMPLE, "yuv420p", ("mp4", "mkv", "avi")),
    "prores": ("prores_ks", {}, "yuv422p10le", ("mov", "mkv")),
    "mjpeg": ("mjpeg", {"qscale": "3"}, "yuvj420p", ("mov", "avi")),
}
IN = [(codec, suffix) for codec, (_, _, _, suffixes) in CODECS.items() for suffix in suffixes]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A film of a codec, with sound from 1.2 s on where that is asked for, in its first container; encoded once."""
    made: dict[tuple[str, bool], Path] = {}
    folder = tmp_path_factory.mktemp("films")

    def make(codec: str, sound: bool = False) -> Path:
        if (codec, sound) not in made:
            encoder, options, pixels, suffixes = CODECS[codec]
            tone = (1.2, COUNT / RATE) if sound else None
            path = folder / f"{codec.replace(' ', '_')}_{sound}.{suffixes[0]}"
            made[codec, sound] = film(path, range(COUNT), encoder, options, pixels=pixels, sound=tone)
        return made[codec, sound]

    return make


def shown(path: Path, fps: float = RATE) -> tuple[list[int], list[float]]:
    """Numbers and times by rate, after pictures at times were found to be the same."""
    frames = list(frames_at_rate(path, fps, SIDE))
    numbers, times = [number_of(frame.image) for frame in frames], [frame.time for frame in frames]
    again = frames_at(path, [time + 0.3 / RATE for time in reversed(times)], SIDE)
    assert [number_of(frame.image) for frame in again] == numbers[::-1]
    assert [frame.time for frame in again] == times[::-1]
    assert 0 <= times[0] < times[-1] < probe(path).duration + 0.1  # FFmpeg's MP4 counts in the order of decoding
    return numbers, times


def in_ticks(times: Sequence[float]) -> list[float]:
    return [round(time * RATE, 1) for time in times]


def loud_from(path: Path) -> float:
    """When the tone begins, in seconds."""
    return float(np.flatnonzero(np.abs(audio(path)) > 0.1)[0] / 16_000)


def key_before(path: Path, number: int) -> int:
    """The last key frame up to a number."""
    with av.open(str(path)) as container:
        keys = [packet for packet in container.demux(container.streams.video[0]) if packet.is_keyframe]
        numbers = [round(float((packet.pts or 0) * packet.time_base) * RATE) for packet in keys]
        return max(key for key in numbers if key <= number)


@pytest.mark.parametrize(("codec", "suffix"), IN)
def test_each_number_is_at_its_time(codec: str, suffix: str, original: Any, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix in ("avi", "h264", "hevc", "m2v"):  # PyAV copies nothing into these
        encoder, options, pixels, _ = CODECS[codec]
        film(path, range(COUNT), encoder, options, pixels=pixels)
    else:
        copied(original(codec), path)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == numbers
    assert probe(path).duration == pytest.approx(COUNT / RATE, abs=0.1)
    numbers, times = shown(path, fps=5)
    assert numbers == list(range(0, COUNT, 5))
    assert in_ticks(times) == numbers


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("codec", ["h264", "h264 open", "hevc open", "vp9", "av1", "mpeg4", "prores"])
def test_what_an_edit_list_hides_is_not_shown(
    codec: str, suffix: str, sound: bool, original: Any, tmp_path: Path
) -> None:
    """A cut between key frames: those before it are in the file, to be decoded only."""
    if (codec, suffix) in {("vp9", "mov"), ("av1", "mov"), ("prores", "mp4")}:
        pytest.skip("FFmpeg writes no such file")
    path = copied(original(codec, sound), tmp_path / f"a.{suffix}", start=25 / RATE)
    numbers, times = shown(path)
    assert numbers == list(range(25, COUNT))
    assert in_ticks(times) == [number - 25 for number in numbers]
    assert probe(path).duration == pytest.approx((COUNT - 25) / RATE, abs=0.05)
    if sound:
        assert loud_from(path) == pytest.approx(1.2 - 25 / RATE, abs=0.03)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts", "flv"])
@pytest.mark.parametrize("codec", ["h264", "h264 open", "hevc open", "vp9", "av1", "mpeg2", "prores"])
def test_a_cut_without_edit_lists_begins_at_its_key_frame(
    codec: str, suffix: str, original: Any, tmp_path: Path
) -> None:
    """Pictures that refer to one before the key frame (RASL, open groups) lost it: they are not shown."""
    held = {"vp9": ("mkv", "webm"), "av1": ("mkv", "webm"), "mpeg2": ("mkv", "ts"), "prores": ("mkv",)}
    if suffix not in held.get(codec, ("mkv", "ts", "flv")) or (codec, suffix) == ("h264 open", "ts"):
        pytest.skip("FFmpeg writes no such file")
    source = original(codec)
    path = copied(source, tmp_path / f"a.{suffix}", start=25 / RATE)
    numbers, times = shown(path)
    assert numbers == list(range(numbers[0], COUNT))
    assert numbers[0] == key_before(original(codec), 25)
    late = in_ticks(times)[0]  # what was lost may have been before it
    assert 0 <= late <= 4
    assert in_ticks(times) == [number - numbers[0] + late for number in numbers]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "flv"])
@pytest.mark.parametrize("codec", ["h264", "hevc open"])
def test_pictures_that_begin_after_the_sound_stay_late(codec: str, suffix: str, tmp_path: Path) -> None:
    encoder, options, pixels, _ = CODECS[codec]
    ticks = [number + 30 for number in range(COUNT)]
    path = tmp_path / f"a.{suffix}"
    film(path, range(COUNT), encoder, options, pixels=pixels, times=ticks, sound=(50 / RATE, 3.5))
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert times == pytest.approx([tick / RATE for tick in ticks], abs=0.05)
    assert loud_from(path) == pytest.approx(times[20], abs=0.04)  # the tone begins with picture 20


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_a_clock_far_from_zero_is_moved_there(suffix: str, original: Any, tmp_path: Path) -> None:
    path = copied(original("h264", True), tmp_path / f"a.{suffix}", later=50.0)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == pytest.approx(numbers, abs=1)
    assert loud_from(path) == pytest.approx(times[30], abs=0.04)
    assert probe(path).duration == pytest.approx(COUNT / RATE, abs=0.1)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "ts", "flv"])
def test_a_rate_that_varies(suffix: str, tmp_path: Path) -> None:
    codec = "vp9" if suffix == "webm" else "h264"
    encoder, options, pixels, _ = CODECS[codec]
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 9, COUNT)).tolist()
    path = film(tmp_path / f"a.{suffix}", range(COUNT), encoder, options, pixels=pixels, times=ticks)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == [tick - ticks[0] for tick in ticks]
    asked = np.random.default_rng(1).uniform(0, times[-1], 20).tolist()
    right = [int(np.searchsorted(times, time + 1e-4, "right")) - 1 for time in asked]
    assert [number_of(frame.image) for frame in frames_at(path, asked, SIDE)] == right


# ------------------------------------------------------------------------------------------- turned, mirrored


def stored(degrees: int, left_right: bool, up_down: bool) -> Any:
    """What undoes a display matrix: pictures as seen -> as stored. FFmpeg turns first, then mirrors."""

    def view(image: np.ndarray) -> np.ndarray:
        image = image[:, ::-1] if left_right else image
        image = image[::-1] if up_down else image
        return np.rot90(image, -degrees // 90)

    return view


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("left_right", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_seen_as_they_are_meant(degrees: int, left_right: bool, suffix: str, tmp_path: Path) -> None:
    turn = (degrees, left_right, False)
    path = film(tmp_path / f"a.{suffix}", range(4), view=stored(*turn), turn=turn)
    with av.open(str(path)) as container:
        swapped = container.streams.video[0].width < container.streams.video[0].height
    assert swapped == (degrees in (90, 270))
    assert (probe(path).width, probe(path).height) == (160, 96)
    assert shown(path)[0] == [0, 1, 2, 3]  # each corner has its colour


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_of_every_orientation_are_seen_upright(orientation: int, tmp_path: Path) -> None:
    """Pillow's own turning is what is right."""
    image = Image.fromarray(drawn(5).to_ndarray(format="rgb24"))
    turn = Image.Exif()
    turn[0x112] = orientation
    image.save(tmp_path / "a.jpg", exif=turn, quality=95)
    right = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    frame = next(frames_at_rate(tmp_path / "a.jpg", 1, 96))
    assert (probe(tmp_path / "a.jpg").width, probe(tmp_path / "a.jpg").height) == right.size
    assert np.abs(frame.image.astype(int) - np.asarray(right)).mean() < 4


# ------------------------------------------------------------------------------------------------------ joined

FULL = 2**33 / 90_000  # seconds after which the clock of MPEG starts from zero
PARTS = [range(0, 50), range(300, 345), range(600, 660)]  # the numbers of three recordings
JOINED = [("h264", "ts"), ("hevc open", "ts"), ("mpeg2", "ts"), ("mpeg2", "mpg")]


def recordings(codec: str, suffix: str, folder: Path, sound: bool = False) -> list[Path]:
    """Three films, each with a tone from its tenth picture on."""
    encoder, options, pixels, _ = CODECS[codec]
    return [
        film(
            folder / f"part{number}.{suffix}",
            part,
            encoder,
            options,
            pixels=pixels,
            sound=(10 / RATE, len(part) / RATE) if sound else None,
        )
        for number, part in enumerate(PARTS)
    ]


def joined(path: Path, parts: Sequence[Path]) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def onsets(path: Path) -> list[float]:
    """When tones of at least a tenth of a second begin after silence, in seconds."""
    heard = audio(path)
    loud = np.abs(heard[: len(heard) // 400 * 400]).reshape(-1, 400).max(axis=1) > 0.1  # every 25 ms
    runs = np.lib.stride_tricks.sliding_window_view(loud, 5)
    return [float(i + 1) / 40 for i in np.flatnonzero(~runs[:, 0] & runs[:, 1:].all(axis=1))]


def follow(times: Sequence[float], within: float) -> None:
    """One picture a tick; `within` so many ticks where recordings meet: sound may last longer than pictures, and in
    program streams FFmpeg guesses the time of the last picture before."""
    steps = np.diff(times) * RATE
    seams = [place for seam in (49, 94) for place in (seam - 1, seam, seam + 1)]
    assert np.delete(steps, seams) == pytest.approx(1, abs=0.06)
    assert (steps > 0).all()
    assert steps[seams] == pytest.approx(1, abs=within)


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("codec", "suffix"), JOINED)
def test_joined_recordings_follow_each_other(codec: str, suffix: str, sound: bool, tmp_path: Path) -> None:
    path = joined(tmp_path / f"a.{suffix}", recordings(codec, suffix, tmp_path, sound))
    numbers, times = shown(path)
    assert numbers == [number for part in PARTS for number in part]
    follow(times, within=3 if sound or suffix == "mpg" else 0.06)
    assert probe(path).duration == pytest.approx(len(numbers) / RATE, abs=0.3 if sound or suffix == "mpg" else 0.05)
    if sound:
        assert onsets(path) == pytest.approx([times[10], times[60], times[105]], abs=0.11)


@pytest.mark.parametrize(
    ("suffix", "later"),
    [(suffix, later) for suffix in ("ts", "mpg") for later in (-30.0, 20.0, 5000.0, 90_000.0)] + [("ts", FULL - 1.0)],
)
def test_recordings_whose_clocks_are_far_apart(suffix: str, later: float, tmp_path: Path) -> None:
    """The last of these clocks wraps around within its recording, after 2 to the 33 ticks."""
    first, second, third = recordings("mpeg2", suffix, tmp_path, sound=True)
    zero = max(0.0, -later)
    first = copied(first, tmp_path / f"first.{suffix}", later=zero)
    second = copied(second, tmp_path / f"second.{suffix}", later=zero + later)
    path = joined(tmp_path / f"a.{suffix}", [first, second, third])
    numbers, times = shown(path)
    assert numbers == [number for part in PARTS for number in part]
    follow(times, within=3)
    assert onsets(path) == pytest.approx([times[10], times[60], times[105]], abs=0.11)


@pytest.mark.parametrize("codec", ["h264", "hevc open", "mpeg2"])
def test_a_clock_that_wraps_around(codec: str, original: Any, tmp_path: Path) -> None:
    path = copied(original(codec, True), tmp_path / "a.ts", later=FULL - 1.0)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == pytest.approx(numbers, abs=1)
    assert loud_from(path) == pytest.approx(times[30], abs=0.05)


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "flv"), ("h264", "mkv"), ("vp9", "webm")])
def test_what_can_not_be_joined_so_says_from_where_it_is_lost(codec: str, suffix: str, tmp_path: Path) -> None:
    path = joined(tmp_path / f"a.{suffix}", recordings(codec, suffix, tmp_path))
    numbers = []
    with pytest.raises(MediaError, match="join such files with FFmpeg") as caught:
        for frame in frames_at_rate(path, RATE, SIDE):
            numbers.append(number_of(frame.image))
    assert numbers == list(PARTS[0])
    assert caught.value.reason == "broken stretch"
    assert caught.value.time == pytest.approx(49 / RATE, abs=1e-3)


@pytest.mark.parametrize("padding", [0, 40_000])
def test_a_joined_recording_with_other_stream_numbers_is_not_lost_in_silence(padding: int, tmp_path: Path) -> None:
    """FFmpeg knows streams that begin in the first five megabytes, or so soon before the end."""
    first, second, _ = recordings("mpeg2", "ts", tmp_path)
    second = copied(second, tmp_path / "second.ts", options={"mpegts_start_pid": "512"})
    path = tmp_path / "a.ts"
    fill = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * padding
    path.write_bytes(first.read_bytes() + fill + second.read_bytes() + fill)
    numbers = []
    with pytest.raises(MediaError, match="another recording follows") as caught:
        for frame in frames_at_rate(path, RATE, SIDE):
            numbers.append(number_of(frame.image))
    assert numbers == list(PARTS[0])
    assert caught.value.time == pytest.approx(49 / RATE, abs=1e-3)


@pytest.mark.parametrize("codec", ["hevc open", "mpeg2"])
def test_a_recording_that_begins_with_orphans(codec: str, original: Any, tmp_path: Path) -> None:
    """The second recording is cut from an open group: pictures that refer to one before the cut must not be made from
    the first recording's."""
    first = recordings(codec, "ts", tmp_path)[2]
    second = copied(original(codec), tmp_path / "cut.ts", start=25 / RATE)
    numbers, times = shown(joined(tmp_path / "a.ts", [first, second]))
    assert numbers == [*PARTS[2], *range(key_before(original(codec), 25), COUNT)]
    assert 0.9 < (times[60] - times[59]) * RATE < 5.1
    assert np.delete(np.diff(times), 59) * RATE == pytest.approx(1, abs=0.06)


def test_a_gap_in_the_broadcast_is_no_new_recording(tmp_path: Path) -> None:
    """The sound goes on, or the gap is short: the last picture stays."""
    encoder, options, pixels, _ = CODECS["h264"]
    ticks = [number if number < 30 else number + 500 for number in range(COUNT)]
    path = film(tmp_path / "a.ts", range(COUNT), encoder, options, pixels=pixels, times=ticks, sound=(1.0, 23.0))
    assert in_ticks(shown(path)[1]) == pytest.approx(ticks, abs=1)
    ticks = [number if number < 30 else number + 100 for number in range(COUNT)]
    path = film(tmp_path / "b.ts", range(COUNT), encoder, options, pixels=pixels, times=ticks)
    assert in_ticks(shown(path)[1]) == pytest.approx(ticks, abs=0.1)


@pytest.mark.parametrize(("codec", "suffix"), JOINED)
def test_a_clock_that_jumps_far_ahead_leaves_no_gap(codec: str, suffix: str, tmp_path: Path) -> None:
    encoder, options, pixels, _ = CODECS[codec]
    ticks = [number if number < 30 else number + 20_000 for number in range(COUNT)]
    path = film(tmp_path / f"a.{suffix}", range(COUNT), encoder, options, pixels=pixels, times=ticks)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == pytest.approx(numbers, abs=0.1)


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("fragments", ["frag_keyframe+empty_moov", "frag_keyframe+empty_moov+delay_moov"])
@pytest.mark.parametrize("codec", ["h264", "hevc open"])
def test_a_cut_in_fragments(codec: str, fragments: str, sound: bool, original: Any, tmp_path: Path) -> None:
    """Only a header that is written late has an edit list."""
    options = {"movflags": fragments}
    path = copied(original(codec, sound), tmp_path / "a.mp4", start=25 / RATE, options=options)
    numbers, times = shown(path)
    assert numbers == list(range(25 if "delay" in fragments else GROUP, COUNT))
    assert in_ticks(times) == pytest.approx([number - numbers[0] for number in numbers], abs=5 if sound else 0.1)
    if sound:
        assert loud_from(path) == pytest.approx(times[30 - numbers[0]], abs=0.06)


@pytest.mark.parametrize(("first", "count"), [(0, 25), (25, 25), (7, 40)])
@pytest.mark.parametrize("codec", ["h264", "hevc open", "av1"])
def test_a_trimmed_film_ends_where_its_edit_list_says(
    codec: str, first: int, count: int, original: Any, tmp_path: Path
) -> None:
    data = bytearray(original(codec).read_bytes())
    place = data.find(b"elst") + 12  # version and flags, the number of entries
    length, start = struct.unpack(">Ii", data[place : place + 8])
    assert length == pytest.approx(1000 * COUNT / RATE, abs=1)
    edit = round(1000 * count / RATE), start + first * 512  # a picture lasts so many ticks
    data[place : place + 8] = struct.pack(">Ii", *edit)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    numbers, times = shown(path)
    assert numbers == list(range(first, first + count))
    assert in_ticks(times) == list(range(count))
    assert probe(path).duration == pytest.approx(count / RATE, abs=1e-3)


@pytest.mark.parametrize("codec", ["h264", "mpeg2"])
def test_a_single_wild_time_is_not_believed(codec: str, original: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    with av.open(str(original(codec))) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.pts is not None:
                packet.pts += round(1000 / packet.time_base) * (number == 31)
                packet.stream = stream
                container.mux(packet)
    numbers, times = shown(path)
    assert numbers == list(range(COUNT))
    assert in_ticks(times) == numbers


def test_slides_are_no_recordings(tmp_path: Path) -> None:
    ticks = [number * 30 * RATE for number in range(8)]
    path = film(tmp_path / "a.ts", range(8), "libx264", {"bf": "0"}, times=ticks)
    numbers, times = shown(path)
    assert numbers == list(range(8))
    assert times == pytest.approx([30.0 * number for number in numbers], abs=1e-3)


# --------------------------------------------------------------------------------------------- cases from the field


@pytest.mark.parametrize(
    ("name", "first", "count"), [("lossless_cut.mp4", 150, 100), ("joined.ts", 0, 250), ("rot90.mkv", 0, 250)]
)
def test_films_from_the_field(name: str, first: int, count: int) -> None:
    frames = list(frames_at_rate(FIELD_CASES / name, RATE, SIDE))
    turns = 3 if name == "rot90.mkv" else 0
    numbers = [number_of(np.rot90(frame.image, turns)) for frame in frames]
    assert numbers == list(range(first, first + count))
    assert in_ticks([frame.time for frame in frames]) == list(range(count))
    assert probe(FIELD_CASES / name).duration == pytest.approx(count / RATE)
    at = frames_at(FIELD_CASES / name, [0.0, count / RATE / 2 + 0.01], SIDE)
    assert [number_of(np.rot90(frame.image, turns)) for frame in at] == [numbers[0], numbers[count // 2]]


def test_a_mirrored_film_from_the_field() -> None:
    frames = list(frames_at_rate(FIELD_CASES / "hflip.mp4", RATE, SIDE))
    assert [number_of(frame.image[:, ::-1]) for frame in frames] == list(range(250))
    assert np.array_equal(frames_at(FIELD_CASES / "hflip.mp4", [4.0], SIDE)[0].image, frames[100].image)
