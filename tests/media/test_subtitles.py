"""Text tracks of every kind that containers carry, read to the same cues."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from scriptsight.captions import languages
from scriptsight.media import MediaError, embedded_cues, embedded_languages, subtitles

EMBEDDED = "scripted_videos/exoplayer_embedded_subs"


@pytest.mark.parametrize(
    ("name", "end", "text"),
    [
        ("sample_with_srt.mkv", 1.234, "This is the first subtitle."),
        ("sample_with_ssa_subtitles.mkv", 0.5, "This is the first subtitle."),
        ("sample_with_vtt_subtitles.mkv", 1.234, "This is the first subtitle."),
        # What follows the zero byte is no text.
        ("sample_with_null_terminated_srt.mkv", 1.234, "This is the first"),
        ("sample_with_null_terminated_ssa_subtitles.mkv", 0.5, "This is the first"),
        ("sample_with_null_terminated_vtt_subtitles.mkv", 1.234, "This is the first"),
    ],
)
def test_matroska(name: str, end: float, text: str, shared_data: Path) -> None:
    for language in (None, "en"):
        cues = embedded_cues(shared_data / EMBEDDED / name, language)
        (cue,) = cues
        assert (cue.start, cue.text) == (0, text) and cue.end == pytest.approx(end)


def test_no_cues_in_another_language(shared_data: Path) -> None:
    assert embedded_cues(shared_data / EMBEDDED / "sample_with_srt.mkv", "fr") == []


@pytest.mark.parametrize(
    ("tag", "language"),
    [("bul", "bg"), ("slo", "sk"), ("slk", "sk"), ("rum", "ro"), ("gre", "el"), ("per", "fa"), ("ben", "bn"),
     ("en", "eng"), ("eng", "EN-gb"), ("fil", "fil")],
)  # fmt: skip
def test_a_language_by_any_of_its_codes(tag: str, language: str, tmp_path: Path) -> None:
    path = in_language(tmp_path, tag)
    assert [cue.text for cue in embedded_cues(path, language)] == ["Hello"]
    assert embedded_languages(path) == [languages.language(language)]


@pytest.mark.parametrize(("tag", "language"), [("slo", "sl"), ("fil", "fi"), ("tgl", "fil"), ("eng", "sl")])
def test_languages_with_codes_alike_are_told_apart(tag: str, language: str, tmp_path: Path) -> None:
    assert embedded_cues(in_language(tmp_path, tag), language) == []


def in_language(folder: Path, tag: str) -> Path:
    """A film with a subtitle track whose language is `tag`."""
    (folder / "a.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nHello\n")
    with av.open(str(folder / "a.srt")) as source, av.open(str(folder / "a.mkv"), "w") as target:
        picture = target.add_stream("libx264", rate=8)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        stream.metadata["language"] = tag
        for i in range(16):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 8)
            target.mux(picture.encode(frame))
        target.mux(picture.encode())
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    return folder / "a.mkv"


def test_webvtt_in_fragmented_mp4(shared_data: Path) -> None:
    cues = embedded_cues(shared_data / EMBEDDED / "sample.text.mp4")
    assert [(round(cue.start, 3), round(cue.end, 3), cue.text) for cue in cues] == [
        (0, 0.234, "This is the first subtitle."),
        (0.345, 0.456, "This is the second subtitle."),
    ]
    assert embedded_cues(shared_data / EMBEDDED / "sample.video.mp4") == []


def test_mov_text(shared_data: Path) -> None:
    path = shared_data / "awkward_videos/torchcodec/nasa_13013.mp4"
    cues = embedded_cues(path, "en")
    assert len(cues) == 4
    assert (cues[0].start, cues[0].end) == pytest.approx((0.21, 4.26))
    assert cues[0].text == "NAR: This is the optical and science segment of the Webb"
    assert "NASA\u2019s" in cues[2].text
    assert embedded_cues(path, "fr") == []


def test_data_tracks_that_are_no_subtitles_are_passed_over(shared_data: Path) -> None:
    for name in ("h265_with_metadata_track.mp4", "sample_with_color_info.mp4"):
        assert embedded_cues(shared_data / "awkward_videos/exoplayer/mp4" / name) == []


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_webvtt_as_ffmpeg_writes_it(suffix: str, tmp_path: Path) -> None:
    script = tmp_path / "a.vtt"
    script.write_text(
        "WEBVTT\n\nNOTE nobody says this\n\none\n00:00:00.500 --> 00:00:02.000 align:start\nHello <b>you</b>\n"
        "there\n\n00:00:02.500 --> 00:00:03.000\n<v Bob>Well &amp; good\n"
    )
    with av.open(str(script)) as source, av.open(str(tmp_path / f"a.{suffix}"), "w") as target:
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    cues = embedded_cues(tmp_path / f"a.{suffix}")
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        (0.5, 2.0, "Hello you there"),
        (2.5, 3.0, "Well & good"),
    ]


# ------------------------------------------------------------------- MP4 tracks that no library here writes


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def full(kind: bytes, *content: bytes) -> bytes:
    return box(kind, bytes(4), *content)


def mp4(path: Path, entry: bytes, handler: bytes, samples: list[tuple[int, bytes]], language: int = 0x55C4) -> Path:
    """An MP4 of one subtitle track; samples are (milliseconds, bytes), `entry` is its sample description."""
    start = box(b"ftyp", b"isom", bytes(4), b"isommp42")
    data = box(b"mdat", *(sample for _, sample in samples))
    total = sum(duration for duration, _ in samples)
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    times = b"".join(struct.pack(">II", 1, duration) for duration, _ in samples)
    sizes = b"".join(struct.pack(">I", len(sample)) for _, sample in samples)
    count = struct.pack(">I", len(samples))
    table = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), entry),
        full(b"stts", count, times),
        full(b"stsc", struct.pack(">IIII", 1, 1, len(samples), 1)),
        full(b"stsz", bytes(4), count, sizes),
        full(b"stco", struct.pack(">II", 1, len(start) + 8)),
    )
    reference = box(b"dinf", full(b"dref", struct.pack(">I", 1), box(b"url ", b"\0\0\0\1")))
    media = box(
        b"mdia",
        full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, total, language, 0)),
        full(b"hdlr", bytes(4), handler, bytes(13)),
        box(b"minf", full(b"nmhd"), reference, table),
    )
    header = struct.pack(">IIIIIH10x", 0, 0, 1000, total, 0x10000, 0x100) + matrix + bytes(24) + struct.pack(">I", 2)
    track = struct.pack(">IIIIIQHHHH", 0, 0, 1, 0, total, 0, 0, 0, 0, 0) + matrix + bytes(8)
    movie = box(b"moov", full(b"mvhd", header), box(b"trak", full(b"tkhd", track), media))
    path.write_bytes(start + data + movie)
    return path


STPP = box(b"stpp", bytes(6), b"\0\1", b"http://www.w3.org/ns/ttml\0\0\0")
WVTT = box(b"wvtt", bytes(6), b"\0\1", box(b"vttC", b"WEBVTT"))


def document(*lines: tuple[str, str, str]) -> bytes:
    said = "".join(f'<p begin="{start}" end="{end}">{text}</p>' for start, end, text in lines)
    return (
        '<?xml version="1.0" encoding="utf-8"?><tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div>'
        f"{said}</div></body></tt>"
    ).encode()


def test_ttml_in_mp4(tmp_path: Path) -> None:
    samples = [
        (2000, document(("00:00:00.500", "00:00:01.500", "Hello<br/>there &amp; you"))),
        # This cue goes on in the next document, which repeats it.
        (2000, document(("00:00:03.000", "00:00:05.000", "Second"))),
        (2000, document(("00:00:03.000", "00:00:05.000", "Second"), ("00:00:05.000", "00:00:06.000", "Third"))),
    ]
    cues = embedded_cues(mp4(tmp_path / "a.mp4", STPP, b"subt", samples))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        (0.5, 1.5, "Hello there & you"),
        (3.0, 5.0, "Second"),
        (5.0, 6.0, "Third"),
    ]


def test_ttml_that_counts_from_each_document(tmp_path: Path) -> None:
    line = ("00:00:00.500", "00:00:01.000", "Again")
    samples = [(2000, document(line)), (2000, document(("00:00:00.250", "00:00:01.000", "and again")))]
    cues = embedded_cues(mp4(tmp_path / "a.mp4", STPP, b"subt", samples))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(0.5, 1.0, "Again"), (2.25, 3.0, "and again")]


def test_what_is_no_ttml_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.mp4") as caught:
        embedded_cues(mp4(tmp_path / "a.mp4", STPP, b"subt", [(2000, b"<tt><body")]))
    assert caught.value.reason == "unreadable subtitle track"


def test_webvtt_in_mp4(tmp_path: Path) -> None:
    def cue(text: str) -> bytes:
        return box(b"vttc", box(b"sttg", b"align:start"), box(b"payl", text.encode()))

    samples = [
        (500, box(b"vtte")),
        (1000, cue("<v Ann>One")),
        (500, cue("<v Ann>One") + cue("Two &lt; three")),  # a second cue begins while the first is shown
        (1000, cue("Two &lt; three")),
        (500, box(b"vtte")),
        (500, cue("<v Ann>One")),
    ]
    path = mp4(tmp_path / "a.mp4", WVTT, b"text", samples)
    assert [(cue.start, cue.end, cue.text) for cue in embedded_cues(path, "en")] == [
        (0.5, 2.0, "One"),
        (1.5, 3.0, "Two < three"),
        (3.5, 4.0, "One"),
    ]


@pytest.mark.parametrize(
    "data", [b"\0\0\0\7vttc", b"\0\0\xff\xffvttc", b"\0\0\0\x08free", b"\0\0\0", b"\0\0\0\0vttc"]
)
def test_hostile_boxes_are_refused(data: bytes) -> None:
    with pytest.raises(subtitles._OtherFormat):
        subtitles._wvtt_cues(data)
