"""What is spoken when, and nothing else, comes out of a caption file."""

from __future__ import annotations

from pathlib import Path

import pytest

from scriptsight.catalogue import Cue
from scriptsight.ingest import captions

VTT = """WEBVTT - a title

NOTE
00:00.000 is no time of a cue, and this is not speech

STYLE
::cue { color: red }

first cue
00:00:01.000 --> 00:00:02.500 align:start
<v Anna>Hello   <i>there</i>,
Tom &amp; Jerry</v>

NOTE a comment

00:03.000 --> 00:04.000
one<00:00:03.200><c> two</c><00:00:03.600><c> three</c>

00:05.000 --> 00:06.000


00:08.000 --> 00:07.000
backwards

00:09,000 -> oops --> 00:10
bad times

00:02.600 --> 00:02.900
late in the file
"""


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_vtt(newline: str, tmp_path: Path) -> None:
    script = captions.read_script(write(tmp_path / "a.vtt", VTT.replace("\n", newline)))
    assert script.cues == [
        Cue(1.0, 2.5, "Hello there, Tom & Jerry"),
        Cue(2.6, 2.9, "late in the file"),
        Cue(3.0, 4.0, "one two three"),
    ]
    assert script.dropped == 2  # one that ends before it begins, one without readable times


def test_srt(tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<b>Up</b> there\n\n"
    text += "2\n00:00:03,000 --> 00:00:04,000\nand <font color='red'>down</font>\n"
    script = captions.read_script(write(tmp_path / "a.srt", text))
    assert script.cues == [Cue(1.0, 2.0, "Up there"), Cue(3.0, 4.0, "and down")]
    assert script.dropped == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.vtt",
            "WEBVTT\n\n00:01.000 --> 00:02.000\nin the year\n1999\n\n7\n00:03.000 --> 00:04.000\n42\n",
            ["in the year 1999", "42"],
        ),
        (
            "a.srt",
            "1\n00:00:01,000 --> 00:00:02,000\nin\n1999\n\n2\n00:00:03,000 --> 00:00:04,000\n\n"
            "3\n00:00:05,000 --> 00:00:06,000\nbye\n1984\n",
            ["in 1999", "bye 1984"],
        ),
        ("b.srt", "1\n00:00:01,000 --> 00:00:02,000\n{\\i1}{laughs} yes{\\i0}\\Nno\n", ["{laughs} yes no"]),
        ("b.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n{laughs} 1 < 2\n", ["{laughs} 1 < 2"]),
    ],
)
def test_what_only_looks_like_markup_is_speech(name: str, text: str, expected: list[str], tmp_path: Path) -> None:
    assert [cue.text for cue in captions.read(write(tmp_path / name, text))] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nun été à Besançon\n"
    assert captions.read_script(write(tmp_path / "a.srt", text, encoding)).cues[0].text == "un été à Besançon"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.vtt", "hello"), ("a.srt", "hello"), ("a.srt", b"--> \x81\x8d"), ("a.docx", "hello")],
)
def test_what_is_no_caption_file_is_named(name: str, content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(captions.CaptionError, match=name):
        captions.read_script(write(tmp_path / name, content))


def test_a_file_without_cues_is_empty_and_no_error(tmp_path: Path) -> None:
    assert captions.read_script(write(tmp_path / "a.vtt", "WEBVTT\n")) == captions.Script([], 0)


def test_real_files_give_plain_text_in_order(shared_data: Path) -> None:
    files = [path for path in (shared_data / "transcripts").rglob("*") if path.suffix in captions.PARSERS]
    read = 0
    for path in files:
        try:
            script = captions.read_script(path)
        except captions.CaptionError:
            continue
        read += 1
        starts = [cue.start for cue in script.cues]
        assert starts == sorted(starts)
        assert all(0 <= cue.start < cue.end and cue.text == " ".join(cue.text.split()) for cue in script.cues)
        if "mozilla" not in str(path):  # those try what is markup and what is not
            assert not any("-->" in cue.text or "</" in cue.text for cue in script.cues), path
    assert read > 0.9 * len(files) > 100


def test_two_formats_of_one_transcript_agree(shared_data: Path) -> None:
    folder = shared_data / "transcripts/whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad"
    assert captions.read_script(folder / "gossos.vtt") == captions.read_script(folder / "gossos.srt")
