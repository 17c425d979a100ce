"""What was cut without decoding, joined or damaged is shown as it is meant, or told before something wrong is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from scriptsight.media import Frame, MediaError, frames_at, frames_at_rate, probe
from tests.numbered import RATE, SIDE, WIDTH, copied, film, number_of

MPEG2 = ("mpeg2video", {"g": "12", "bf": "2", "b": "1500000"})
VP9 = ("libvpx-vp9", {"g": "20", "cpu-used": "8", "lag-in-frames": "0", "b": "200k"})
PACKET = 188  # bytes


def shown(path: Path, fps: float = 2 * RATE) -> tuple[list[tuple[float, int]], MediaError | None]:
    """Times in ticks and numbers, and the error that ends them."""
    made = []
    try:
        for frame in frames_at_rate(path, fps, SIDE):
            made.append((round(frame.time * RATE, 1), number_of(frame.image)))
    except MediaError as error:
        return made, error
    return made, None


def numbers_at(path: Path, ticks: Sequence[float]) -> list[int]:
    return [number_of(frame.image) for frame in frames_at(path, [tick / RATE for tick in ticks], SIDE)]


# ------------------------------------------------------------------------------------------------------- edit lists


@pytest.mark.parametrize("sound", [None, (1.0, 21.0)])
@pytest.mark.parametrize("bf", ["0", "2"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_cut_within_a_slide_begins_with_that_slide(
    suffix: str, bf: str, sound: tuple[float, float] | None, tmp_path: Path
) -> None:
    ticks = [0, *range(500, 520)]
    source = film(tmp_path / f"a.{suffix}", range(21), "libx264", {"bf": bf}, times=ticks, sound=sound)
    path = copied(source, tmp_path / f"b.{suffix}", start=5.0)
    frames, error = shown(path, fps=RATE)
    assert error is None
    assert frames == [(0, 0), *((375 + number, number + 1) for number in range(20))]
    assert numbers_at(path, [0, 100.5, 374.5, 375.5, 390.5]) == [0, 0, 0, 1, 16]
    assert next(frames_at_rate(path, 1, SIDE)).end == pytest.approx(15.0)
    if sound is None:
        assert probe(path).duration == pytest.approx(15.8, abs=0.01)


def test_a_cut_of_a_film_whose_rate_varies_keeps_its_times(tmp_path: Path) -> None:
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 9, 60)).tolist()
    path = copied(
        film(tmp_path / "a.mp4", range(60), "libx264", {"g": "20", "bf": "2"}, times=ticks),
        tmp_path / "b.mp4",
        start=(ticks[30] - ticks[0] + 0.5) / RATE,
    )
    frames, error = shown(path)
    assert error is None
    assert frames == [(0, 30), *((ticks[n] - ticks[30] - 0.5, n) for n in range(31, 60))]


def with_edits(path: Path, edits: Sequence[tuple[int, int | None]]) -> Path:
    """Put an edit list in the place of a film's: (ticks that it lasts, first tick of the film; None is nothing)."""
    data = path.read_bytes()
    place = data.find(b"elst") - 4
    (size,) = struct.unpack_from(">I", data, place)
    (zero,) = struct.unpack_from(">i", data, place + 20)
    rows = [(1000 * long // RATE, -1 if first is None else zero + 512 * first, 1, 0) for long, first in edits]
    made = struct.pack(">II", 0, len(rows)) + b"".join(struct.pack(">IiHH", *row) for row in rows)
    made = struct.pack(">I4s", 8 + len(made), b"elst") + made
    head = bytearray(data[:place])
    for kind in (b"moov", b"trak", b"edts"):  # they come after the pictures, whose places do not move
        around = head.rfind(kind) - 4
        struct.pack_into(">I", head, around, struct.unpack_from(">I", head, around)[0] + len(made) - size)
    path.write_bytes(bytes(head) + made + data[place + size :])
    return path


@pytest.mark.parametrize("gap", [0, 25])
def test_a_gap_between_edits_keeps_the_last_picture(gap: int, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(60), "libx264", {"g": "20", "bf": "2"})
    with_edits(path, [(10, 5), *([(gap, None)] if gap else []), (20, 30)])
    frames, error = shown(path)
    assert error is None
    assert frames == [*((n, n + 5) for n in range(10)), *((n + 10 + gap, n + 30) for n in range(20))]
    assert probe(path).duration == pytest.approx((30 + gap) / RATE, abs=1e-3)


@pytest.mark.parametrize("gap", [0, 10])
@pytest.mark.parametrize("second", [0, 7, 30])
def test_edits_that_go_back_are_played_in_their_order(second: int, gap: int, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(60), "libx264", {"g": "20", "bf": "2"})
    with_edits(path, [(25, 30), *([(gap, None)] if gap else []), (25, second)])
    frames, error = shown(path)
    assert error is None
    assert frames == [*((n, n + 30) for n in range(25)), *((n + 25 + gap, n + second) for n in range(25))]
    assert numbers_at(path, [30.5 + gap, 3.5]) == [second + 5, 33]


def test_a_film_that_stops_before_its_edit_does_so_says_it(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", range(100), "libx264", {"g": "20", "bf": "2"})
    fast = copied(source, tmp_path / "b.mp4", start=30 / RATE, options={"movflags": "+faststart"})
    fast.write_bytes(fast.read_bytes()[: fast.stat().st_size // 2])
    frames, error = shown(fast)
    assert error is not None
    assert error.reason in ("broken stretch", "ends early")
    assert frames == [(n, n + 30) for n in range(len(frames))]
    assert frames


# ----------------------------------------------------------------------------------------------------------- joined


def test_a_second_mp4_after_the_first_is_not_lost_in_silence(tmp_path: Path) -> None:
    first, second = film(tmp_path / "a.mp4", range(20)), film(tmp_path / "b.mp4", range(20, 40))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    frames, error = shown(first)
    assert frames == [(n, n) for n in range(20)]
    assert error is not None
    assert "another recording follows" in str(error)


def test_joined_avi_files_last_as_long_as_both(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{n}.avi", range(n, n + 25), "mpeg4", {"b": "1500000"}) for n in (0, 25)]
    parts[0].write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    frames, error = shown(parts[0])
    assert error is None
    assert frames == [(n, n) for n in range(50)]
    assert probe(parts[0]).duration == pytest.approx(50 / RATE, abs=0.01)
    assert probe(parts[1]).duration == pytest.approx(25 / RATE, abs=0.01)


def test_segments_with_a_header_each_are_one_film(tmp_path: Path) -> None:
    """The fragments of a live stream, as they are joined after it was loaded."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    source = film(tmp_path / "s.mp4", range(40), "libx264", {"g": "20", "bf": "0"})
    path = copied(source, tmp_path / "a.mp4", options=options)
    data = path.read_bytes()
    header = data[: data.find(b"moof") - 4]
    second = data.find(b"moof", data.find(b"moof") + 4) - 4
    path.write_bytes(data[:second] + header + data[second:])
    frames, error = shown(path)
    assert error is None
    assert frames == [(n, n) for n in range(40)]


def test_transport_streams_whose_packets_count_anew_are_no_damage(tmp_path: Path) -> None:
    parts = [
        film(tmp_path / f"{n}.ts", range(n, n + 25), "libx264", {"bf": "0"}, times=list(range(n, n + 25)))
        for n in (0, 25, 50)
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, error = shown(path)
    assert error is None
    assert frames == [(n, n) for n in range(75)]


# ---------------------------------------------------------------------------------------------------------- damaged


def packets_of(data: bytes) -> list[bytes]:
    return [data[place : place + PACKET] for place in range(0, len(data), PACKET)]


def is_picture(packet: bytes) -> bool:
    return (packet[1] & 0x1F) << 8 | packet[2] == 256


def removed(packets: list[bytes], place: int) -> bytes:
    return b"".join(packets[:place] + packets[place + 1 :])


def emptied(packets: list[bytes], place: int) -> bytes:
    return b"".join([*packets[:place], bytes(PACKET), *packets[place + 1 :]])


def shortened(packets: list[bytes], place: int) -> bytes:
    return b"".join([*packets[:place], packets[place][:100], *packets[place + 1 :]])


def marked(packets: list[bytes], place: int) -> bytes:
    """As a receiver marks a packet that it could not correct."""
    packet = bytearray(packets[place])
    packet[1] |= 0x80
    return b"".join([*packets[:place], bytes(packet), *packets[place + 1 :]])


@pytest.mark.parametrize("harm", [removed, emptied, shortened, marked])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [188, 192])
def test_what_a_transport_stream_lost_is_told_before_it_shows(
    size: int, share: float, harm: Callable[[list[bytes], int], bytes], tmp_path: Path
) -> None:
    options = {"g": "20", "bf": "2", "crf": "20"}
    packets = packets_of(film(tmp_path / "a.ts", range(60), "libx264", options).read_bytes())
    pictures = [place for place, packet in enumerate(packets) if is_picture(packet)]
    data = harm(packets, pictures[int(share * len(pictures))])
    if size == 192 and harm is not shortened:  # as on Blu-ray discs: four bytes of time before each packet
        data = b"".join(bytes(4) + packet for packet in packets_of(data))
    path = tmp_path / "b.m2ts"
    path.write_bytes(data)
    frames, error = shown(path)
    assert error is not None
    assert error.reason == "broken stretch"
    assert frames == [(n, n) for n in range(len(frames))]
    assert len(frames) > 60 * share - 12


def test_a_lost_packet_of_sound_is_no_damage_of_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts", range(60), sound=(0.5, 2.4))
    packets = packets_of(path.read_bytes())
    heard = [place for place, packet in enumerate(packets) if (packet[1] & 0x1F) << 8 | packet[2] == 257]
    path.write_bytes(removed(packets, heard[len(heard) // 2]))
    frames, error = shown(path)
    assert error is None
    assert [number for _, number in frames] == list(range(60))


@pytest.mark.parametrize(("codec", "suffix"), [(VP9, "webm"), (("libx264", {"g": "20", "bf": "2"}), "mkv")])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.95])
def test_a_block_of_matroska_whose_end_is_spoilt_is_not_shown(
    share: float, codec: tuple[str, dict[str, str]], suffix: str, tmp_path: Path
) -> None:
    path = film(tmp_path / f"a.{suffix}", range(60), *codec)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    data = bytearray(path.read_bytes())
    place = places[int(share * 60)]
    data[place - 16 : place] = bytes(16)  # the end of a block, and the beginning of the next one
    path.write_bytes(data)
    frames, error = shown(path)
    assert error is not None
    assert "missing or spoilt" in str(error)
    assert [number for _, number in frames] == [round(time) for time, _ in frames]
    assert len(frames) > 60 * share - 12


def remade(source: Path, path: Path, change: Callable[[int, bytes], bytes]) -> Path:
    """Copy a film with other packets: (number in the order of decoding, content) -> content, which may be empty."""
    with av.open(str(source)) as origin, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(origin.streams.video[0])
        for place, packet in enumerate(origin.demux(video=0)):
            content = change(place, bytes(packet)) if packet.size else b""
            if not content:
                continue
            made = Packet(content)
            made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            made.duration, made.is_keyframe, made.stream = packet.duration, packet.is_keyframe, stream
            container.mux(made)
    return path


def test_pictures_that_refer_to_a_damaged_one_are_not_shown_before_it(tmp_path: Path) -> None:
    def spoil(place: int, content: bytes) -> bytes:
        if place != 28:  # the fourth of a group of twelve, on which the two after it depend
            return content
        slices = [at for at in range(len(content) - 4) if content[at : at + 3] == b"\0\0\1" and content[at + 3] == 2]
        return content[: slices[0] + 6] + b"\xff" * 40 + content[slices[0] + 46 :]

    source = film(tmp_path / "a.mkv", range(60), *MPEG2)
    with av.open(str(source)) as container:
        packet = list(container.demux(video=0))[28]
        assert packet.pts is not None and packet.dts is not None
        assert packet.pts - packet.dts > 100  # milliseconds: others are shown before it
    frames, error = shown(remade(source, tmp_path / "b.mkv", spoil))
    assert error is not None
    assert "damaged picture" in error.detail
    assert frames == [(n, n) for n in range(len(frames))]
    assert 20 < len(frames) < 30


@pytest.mark.parametrize("bf", ["0", "2"])
def test_pictures_that_are_missing_in_a_program_stream_are_told(bf: str, tmp_path: Path) -> None:
    source = film(tmp_path / "a.mpg", range(60), MPEG2[0], MPEG2[1] | {"bf": bf})
    assert shown(source)[1] is None
    path = remade(source, tmp_path / "b.mpg", lambda place, content: b"" if place == 28 else content)
    frames, error = shown(path)
    assert error is not None
    assert "missing" in error.detail
    assert [number for _, number in frames] == list(range(len(frames)))
    assert len(frames) > 20


# ------------------------------------------------------------------------------------------------- shape and turning


def lit(frame: Frame) -> tuple[int, int]:
    """Width and height in pixels of what is no black bar; the corners of a picture have colours."""
    light = frame.image.max(axis=2) > 60
    return int(light.any(axis=0).sum()), int(light.any(axis=1).sum())


def wide(source: Path, path: Path, pixel: Fraction) -> Path:
    """The same film with pixels that are wider than high."""
    with av.open(str(source)) as origin, av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=RATE, options={"g": "12", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel
        for frame in origin.decode(video=0):
            frame.pict_type = av.video.frame.PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("first", ["narrow", "wide"])
def test_pixels_that_become_wider_within_a_film_do_not_squeeze_it(first: str, tmp_path: Path) -> None:
    """Television changes from 4:3 to 16:9 so, with as many pixels as before."""
    narrow = film(tmp_path / "a.ts", range(30), *MPEG2)
    broad = wide(narrow, tmp_path / "b.ts", Fraction(8, 5))
    parts = [narrow, broad] if first == "narrow" else [broad, narrow]
    path = tmp_path / "c.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(frames_at_rate(path, RATE, SIDE))
    ratios = [WIDTH / 96, probe(broad).width / 96]
    whole = ratios[0] if first == "narrow" else ratios[1]
    assert len(frames) == 60
    for number, frame in enumerate(frames):
        own = ratios[(number >= 30) == (first == "narrow")]
        width = min(1, own / whole) * frame.image.shape[1], min(1, whole / own) * SIDE
        assert frame.image.shape[:2] == (SIDE, round(SIDE * whole))
        assert lit(frame) == pytest.approx(width, abs=2), number


def test_a_film_that_is_turned_from_some_picture_on_is_seen_upright(tmp_path: Path) -> None:
    """A phone that is turned says so beside its pictures (H.264, display orientation)."""

    def turned(place: int, content: bytes) -> bytes:
        at = content.find(b"\0\0\1\x65") if place >= 20 else -1
        return content if at < 0 else content[:at] + b"\0\0\1\x06\x2f\x03\x08\0\x09\x80" + content[at:]

    source = film(tmp_path / "a.ts", range(40), "libx264", {"g": "20", "bf": "0", "x264-params": "scenecut=0"})
    frames = list(frames_at_rate(remade(source, tmp_path / "b.ts", turned), RATE, SIDE))
    assert len(frames) == 40
    assert lit(frames[19]) == (80, 48)
    width, height = lit(frames[20])
    assert (width, height) == pytest.approx((SIDE * 96 / WIDTH, SIDE), abs=2)
