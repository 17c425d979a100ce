"""Text tracks of every kind that containers carry, read to the same cues."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from scriptsight import captions
from scriptsight.captions import languages, webvtt
from scriptsight.catalogue import Cue, Word
from scriptsight.media import MediaError
from scriptsight.media.subtitles import embedded_languages, embedded_script

EMBEDDED = "scripted_videos/exoplayer_embedded_subs"


def read(path: Path, language: str | None = None) -> list[Cue]:
    return embedded_script(path, language).cues


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
        cues = read(shared_data / EMBEDDED / name, language)
        (cue,) = cues
        assert (cue.start, cue.text) == (0, text) and cue.end == pytest.approx(end)


def test_no_cues_in_another_language(shared_data: Path) -> None:
    assert read(shared_data / EMBEDDED / "sample_with_srt.mkv", "fr") == []


@pytest.mark.parametrize(
    ("tag", "language"),
    [("bul", "bg"), ("slo", "sk"), ("slk", "sk"), ("rum", "ro"), ("gre", "el"), ("per", "fa"), ("ben", "bn"),
     ("en", "eng"), ("eng", "EN-gb"), ("fil", "fil")],
)  # fmt: skip
def test_a_language_by_any_of_its_codes(tag: str, language: str, tmp_path: Path) -> None:
    path = in_language(tmp_path, tag)
    assert [cue.text for cue in read(path, language)] == ["Hello"]
    assert embedded_languages(path) == [languages.language(language)]


@pytest.mark.parametrize(("tag", "language"), [("slo", "sl"), ("fil", "fi"), ("tgl", "fil"), ("eng", "sl")])
def test_languages_with_codes_alike_are_not_confused(tag: str, language: str, tmp_path: Path) -> None:
    assert read(in_language(tmp_path, tag), language) == []


def in_language(folder: Path, tag: str, late: float = 0.0, line: str = "Hello", suffix: str = "srt") -> Path:
    """A film with a subtitle track whose language is `tag`; both start `late` seconds after the file's zero."""
    (folder / "a.srt").write_text(f"1\n00:00:00,500 --> 00:00:01,000\n{line}\n")
    (folder / "a.ass").write_text(f"[Script Info]\n\n[Events]\nDialogue: 0,0:00:00.50,0:00:01.00,,,0,0,0,,{line}\n")
    with av.open(str(folder / f"a.{suffix}")) as source, av.open(str(folder / "a.mkv"), "w") as target:
        picture = target.add_stream("libx264", rate=8)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        stream.metadata["language"] = tag
        for i in range(16):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = i + round(8 * late), Fraction(1, 8)
            target.mux(picture.encode(frame))
        target.mux(picture.encode())
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.pts is not None:
                assert packet.time_base is not None
                packet.pts += round(late / packet.time_base)
                packet.dts = packet.pts
                packet.stream = stream
                target.mux(packet)
    return folder / "a.mkv"


def test_webvtt_in_fragmented_mp4(shared_data: Path) -> None:
    cues = read(shared_data / EMBEDDED / "sample.text.mp4")
    assert [(round(cue.start, 3), round(cue.end, 3), cue.text) for cue in cues] == [
        (0, 0.234, "This is the first subtitle."),
        (0.345, 0.456, "This is the second subtitle."),
    ]
    assert read(shared_data / EMBEDDED / "sample.video.mp4") == []


def test_mov_text(shared_data: Path) -> None:
    path = shared_data / "awkward_videos/torchcodec/nasa_13013.mp4"
    cues = read(path, "en")
    assert len(cues) == 4
    assert (cues[0].start, cues[0].end) == pytest.approx((0.21, 4.26))
    assert cues[0].text == "NAR: This is the optical and science segment of the Webb"
    assert "NASA\u2019s" in cues[2].text
    assert read(path, "fr") == []


def test_data_tracks_that_are_no_subtitles_are_passed_over(shared_data: Path) -> None:
    for name in ("h265_with_metadata_track.mp4", "sample_with_color_info.mp4"):
        assert read(shared_data / "awkward_videos/exoplayer/mp4" / name) == []


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
    cues = read(tmp_path / f"a.{suffix}")
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
    cues = read(mp4(tmp_path / "a.mp4", STPP, b"subt", samples))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        (0.5, 1.5, "Hello there & you"),
        (3.0, 5.0, "Second"),
        (5.0, 6.0, "Third"),
    ]


def test_ttml_that_counts_from_each_document(tmp_path: Path) -> None:
    line = ("00:00:00.500", "00:00:01.000", "Again")
    samples = [(2000, document(line)), (2000, document(("00:00:00.250", "00:00:01.000", "and again")))]
    cues = read(mp4(tmp_path / "a.mp4", STPP, b"subt", samples))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(0.5, 1.0, "Again"), (2.25, 3.0, "and again")]


def test_what_is_no_ttml_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.mp4") as caught:
        read(mp4(tmp_path / "a.mp4", STPP, b"subt", [(2000, b"<tt><body")]))
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
    assert [(cue.start, cue.end, cue.text) for cue in read(path, "en")] == [
        (0.5, 2.0, "One"),
        (1.5, 3.0, "Two < three"),
        (3.5, 4.0, "One"),
    ]


@pytest.mark.parametrize(
    "data", [b"\0\0\0\7vttc", b"\0\0\xff\xffvttc", b"\0\0\0\x08free", b"\0\0\0", b"\0\0\0\0vttc"]
)
def test_hostile_boxes_say_nothing(data: bytes, tmp_path: Path) -> None:
    """A track of boxes is data like any other until it is understood: what is none of WebVTT's is passed over."""
    sound = box(b"vttc", box(b"payl", b"Hello"))
    assert [cue.text for cue in read(mp4(tmp_path / "a.mp4", WVTT, b"text", [(1000, sound)]))] == ["Hello"]
    assert read(mp4(tmp_path / "b.mp4", WVTT, b"text", [(1000, sound), (1000, data)])) == []


# ------------------------------------------------------------------- a track inside says what a file beside says


def matroska(path: Path, codec: bytes, blocks: list[tuple[int, int, bytes]], private: bytes = b"") -> Path:
    """A Matroska file of one subtitle track; blocks are (milliseconds from, until, bytes)."""

    def element(code: str, *content: bytes) -> bytes:
        data = b"".join(content)
        return bytes.fromhex(code) + struct.pack(">Q", 1 << 56 | len(data)) + data

    def number(code: str, value: int) -> bytes:
        return element(code, struct.pack(">I", value))

    track = [number("D7", 1), number("73C5", 1), number("83", 17), element("86", codec)]
    track += [element("63A2", private)] if private else []
    clusters = [
        element(
            "1F43B675",
            number("E7", start),
            element("A0", element("A1", b"\x81\0\0\0" + data), number("9B", end - start)),
        )
        for start, end, data in blocks
    ]
    path.write_bytes(
        element("1A45DFA3", number("4286", 1), element("4282", b"matroska"), number("4287", 4), number("4285", 2))
        + element(
            "18538067",
            element("1549A966", number("2AD7B1", 1_000_000)),
            element("1654AE6B", element("AE", *track)),
            *clusters,
        )
    )
    return path


BESIDE_WEBVTT = """WEBVTT

NOTE nobody says this

00:00:00.500 --> 00:00:02.000 align:start
<v Ann>So<00:00:01.000><c> this</c><00:00:01.500><c> is &lt;it&gt;</c>

00:00:02.500 --> 00:00:03.000
<ruby>reading<rt>aid</rt></ruby> I <3 caf&eacute;

00:00:08.000 --> 00:00:10.000
and<00:00:09.250> more
"""
WORDS = (Word(0.5, 1.0, "So"), Word(1.0, 1.5, "this"), Word(1.5, 2.0, "is"), Word(1.5, 2.0, "<it>"))


def webvtt_blocks(relative: bool) -> list[tuple[int, int, bytes]]:
    _, blocks, _ = webvtt.read(BESIDE_WEBVTT.split("\n"))

    def counted(payload: str, start: float) -> str:
        def later(stamp: re.Match[str]) -> str:
            return f"<00:00:{float(stamp[1]) - start:06.3f}>"

        return re.sub(r"<00:00:([\d.]+)>", later, payload) if relative else payload

    return [
        (round(1000 * block.start), round(1000 * block.end), counted(block.payload, block.start).encode())
        for block in blocks
    ]


@pytest.mark.parametrize("codec", [b"S_TEXT/WEBVTT", b"D_WEBVTT/SUBTITLES"])
@pytest.mark.parametrize("relative", [True, False])
def test_webvtt_in_matroska_keeps_its_words(codec: bytes, relative: bool, tmp_path: Path) -> None:
    """Stamps count from the cue in Matroska's own form and from the file in WebM's; both are found in both."""
    beside = captions.parse(BESIDE_WEBVTT.encode(), "a.vtt").cues
    assert beside[0].words == WORDS
    assert [cue.text for cue in beside] == ["So this is <it>", "reading I <3 café", "and more"]
    blocks = webvtt_blocks(relative)
    if codec.startswith(b"D_"):  # an identifier and settings stand before the text
        blocks = [(start, end, b"\nalign:start\n" + data) for start, end, data in blocks]
    assert read(matroska(tmp_path / "a.mkv", codec, blocks)) == beside


def test_webvtt_that_ffmpeg_puts_into_webm_keeps_its_words(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(BESIDE_WEBVTT, encoding="utf-8")
    with av.open(str(tmp_path / "a.vtt")) as source, av.open(str(tmp_path / "a.webm"), "w") as target:
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    assert read(tmp_path / "a.webm") == captions.parse(BESIDE_WEBVTT.encode(), "a.vtt").cues


@pytest.mark.parametrize("clock", ["track", "cue"])
def test_webvtt_in_mp4_keeps_its_words(clock: str, tmp_path: Path) -> None:
    """`ctim` says what time the stamps of a payload count it to be; without, they count from the track's start."""
    times, samples = 0, []
    for start, end, payload in webvtt_blocks(relative=clock == "cue"):
        if start > times:
            samples.append((start - times, box(b"vtte")))
        half = (end - start) // 2  # the cue goes on in a second sample
        for now in (0, half):
            ctim = [box(b"ctim", b"00:00:%02d.%03d" % divmod(now, 1000))] if clock == "cue" else []
            samples.append((half, box(b"vttc", *ctim, box(b"payl", payload))))
        times = end
    path = mp4(tmp_path / "a.mp4", WVTT, b"text", samples)
    assert read(path) == captions.parse(BESIDE_WEBVTT.encode(), "a.vtt").cues


def test_thumbnails_in_a_track_are_no_speech(tmp_path: Path) -> None:
    path = matroska(tmp_path / "a.mkv", b"S_TEXT/WEBVTT", [(0, 1000, b"sheet.jpg#xywh=0,0,9,9")])
    assert read(path) == []


def test_subrip_in_matroska(tmp_path: Path) -> None:
    texts = ["<i>One</i> &amp; two", "{\\an8}Above\\Nthree", "{laughs} a\\b <3", "Caf\u00e9\r\n- Yes"]
    beside = "".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},500\n{text}\n\n" for i, text in enumerate(texts))
    blocks = [(1000 * i, 1000 * i + 500, text.encode()) for i, text in enumerate(texts)]
    cues = captions.parse(beside.encode(), "a.srt").cues
    assert [cue.text for cue in cues] == ["One & two", "Above three", "{laughs} a\\b <3", "Café - Yes"]
    assert read(matroska(tmp_path / "a.mkv", b"S_TEXT/UTF8", blocks)) == cues
    old = [(0, 500, "Café".encode("cp1252"))]  # as tools of Windows wrote it
    assert [cue.text for cue in read(matroska(tmp_path / "b.mkv", b"S_TEXT/UTF8", old))] == ["Café"]


@pytest.mark.parametrize("codec", [b"S_TEXT/ASS", b"S_TEXT/SSA"])
def test_karaoke_in_matroska_is_the_times_of_words(codec: bytes, tmp_path: Path) -> None:
    lines = [
        "{\\k50}Sing {\\k25}a{\\kf75}long",
        "{\\pos(1,2)}plain, {\\i1}and{\\i0} commas\\Nhere",
        "{\\p1}m 0 0 l 9 9",
    ]
    header = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
    columns = "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    beside = header.decode() + columns
    beside += "".join(
        f"Dialogue: 0,0:00:0{2 * i}.00,0:00:0{2 * i + 2}.00,,,0,0,0,,{line}\n" for i, line in enumerate(lines)
    )
    cues = captions.parse(beside.encode(), "a.ass").cues
    assert [cue.text for cue in cues] == ["Sing along", "plain, and commas here"]
    assert cues[0].words == (Word(0.0, 0.5, "Sing"), Word(0.5, 2.0, "along"))
    blocks = [(2000 * i, 2000 * i + 2000, f"{i},0,,,0,0,0,,{line}".encode()) for i, line in enumerate(lines)]
    path = matroska(tmp_path / "a.mkv", codec, [*blocks, (6000, 7000, b"3,0,no dialogue")], header + columns.encode())
    assert embedded_script(path) == captions.Script(cues, 1)


def test_words_of_ttml_in_mp4(tmp_path: Path) -> None:
    first = ("00:00:00.500", "00:00:03.000", 'Go <span begin="0.5s">on</span> <span begin="2s">now</span>')
    second = ("00:00:03.500", "00:00:04.000", "end<!-- not said -->")
    beside = captions.parse(document(first, second), "a.ttml").cues
    assert beside[0].words == (Word(0.5, 1.0, "Go"), Word(1.0, 2.5, "on"), Word(2.5, 3.0, "now"))
    samples = [(2000, document(first)), (3000, document(first, second))]
    assert read(mp4(tmp_path / "a.mp4", STPP, b"subt", samples)) == beside
    # Of a cue that is on the screen for a part of its time, the words are within that part.
    cut = read(mp4(tmp_path / "b.mp4", STPP, b"subt", [(2000, document(first))]))
    assert (cut[0].start, cut[0].end) == (0.5, 2.0)
    assert cut[0].words == (Word(0.5, 1.0, "Go"), Word(1.0, 2.0, "on"), Word(2.0, 2.0, "now"))


def test_words_count_from_the_start_of_the_film(tmp_path: Path) -> None:
    """Where the video starts late, cues and words are moved alike."""
    path = in_language(tmp_path, "eng", late=1.5, line="{\\k25}Hel{\\k25}lo {\\k25}you", suffix="ass")
    cue = read(path)[0]
    assert (cue.start, cue.end) == pytest.approx((0.5, 1.0))
    assert cue.words is not None
    assert [word.start for word in cue.words] == pytest.approx([0.5, 1.0])


def test_braces_in_mov_text_are_text(tmp_path: Path) -> None:
    entry = box(b"tx3g", bytes(6), b"\0\1", bytes(30), box(b"ftab", b"\0\1\0\1\5Arial"))
    text = "{laughs} a\\b, yes\nno"
    bold = box(b"styl", struct.pack(">HHHHBBI", 1, 0, 5, 1, 1, 18, 0xFF))
    samples = [(1000, struct.pack(">H", len(text)) + text.encode() + bold)]
    assert [cue.text for cue in read(mp4(tmp_path / "a.mp4", entry, b"sbtl", samples))] == ["{laughs} a\\b, yes no"]


def test_what_is_said_before_the_start_is_not_shown(tmp_path: Path) -> None:
    """Pictures begin at 5 s of the file's clock: that is time 0."""
    lines = [
        "00:00:00,500 --> 00:00:01,000\nbefore",
        "00:00:02,000 --> 00:00:06,500\nover it",
        "00:00:07,000 --> 00:00:07,500\nafter",
    ]
    (tmp_path / "a.srt").write_text("\n\n".join(f"{number}\n{line}" for number, line in enumerate(lines, 1)))
    with av.open(str(tmp_path / "a.srt")) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        picture = target.add_stream("libx264", rate=8, options={"bf": "0"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream = target.add_stream_from_template(source.streams.subtitles[0])
        for packet in source.demux(source.streams.subtitles[0]):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
        for i in range(40, 64):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 8)
            target.mux(picture.encode(frame))
        target.mux(picture.encode())
    cues = read(tmp_path / "a.mkv")
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(0, 1.5, "over it"), (2, 2.5, "after")]
