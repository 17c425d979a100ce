"""What is spoken when, and nothing else, comes out of a caption file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scriptsight import captions
from scriptsight.catalogue import Cue, Word
from tests import small

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
    script = small.script(write(tmp_path / "a.vtt", VTT.replace("\n", newline)))
    words = (Word(3.0, 3.2, "one"), Word(3.2, 3.6, "two"), Word(3.6, 4.0, "three"))
    sound = [
        Cue(1.0, 2.5, "Hello there, Tom & Jerry"),
        Cue(2.6, 2.9, "late in the file"),
        Cue(3.0, 4.0, "one two three", words),
    ]
    assert script == captions.Script([*sound, Cue(8.0, 7.0, "backwards")], dropped=1)  # one without readable times


def test_srt(tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<b>Up</b> there\n\n"
    text += "2\n00:00:03,000 --> 00:00:04,000\nand <font color='red'>down</font>\n"
    script = small.script(write(tmp_path / "a.srt", text))
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
    assert [cue.text for cue in small.script(write(tmp_path / name, text)).cues] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings(encoding: str) -> None:
    languages = ["un été à Besançon", "ترجمه و تنظيم", "字幕翻译"]
    for said in languages[:1] if encoding == "cp1252" else languages:
        for name, text in [
            ("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{said}\n"),
            ("a.vtt", f"WEBVTT\n\n00:01.000 --> 00:02.000\n{said}\n"),
            ("a.json", json.dumps([{"start": 1, "end": 2, "text": said}], ensure_ascii=False)),
            ("a.ass", f"[Events]\nFormat: Start,End,Text\nDialogue: 0:00:01.00,0:00:02.00,{said}\n"),
        ]:
            assert captions.parse(text.encode(encoding), name).cues == [Cue(1.0, 2.0, said)], name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.docx", "hello"),
        ("a.srt", b"--> \x81\x8d"),
        ("a.json", '{"title": "no captions"}'),
        ("a.xml", "<html/>"),
        ("a.csv", "video,label\na,b\n"),
        *[(f"a{suffix}", "hello\nthere") for suffix in captions.PARSERS],
    ],
)
def test_what_is_no_caption_file_is_named(name: str, content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(captions.CaptionError, match=name):
        small.script(write(tmp_path / name, content))


def test_a_file_without_cues_is_empty_and_no_error(tmp_path: Path) -> None:
    assert small.script(write(tmp_path / "a.vtt", "WEBVTT\n")) == captions.Script([], 0)
    assert captions.parse(b"", "a.srt") == captions.parse(b"[]", "a.json") == captions.Script([], 0)


def test_two_formats_of_one_transcript_agree(shared_data: Path) -> None:
    folder = shared_data / "transcripts/whisper_ctranslate2/e2e-tests/ref-small-transcribe-vad"
    assert small.script(folder / "gossos.vtt") == small.script(folder / "gossos.srt")


@pytest.mark.parametrize(
    ("name", "content"),
    [("clip.info.json", '{"title": "x"}'), ("labels.csv", "video,label\na,b\n"), ("nfo.xml", "<movie/>")],
)
def test_what_lies_beside_a_video_for_other_reasons_is_recognised(name: str, content: str) -> None:
    with pytest.raises(captions.NotCaptions, match=name):
        captions.parse(content.encode(), name)


def test_a_broken_json_is_an_error_of_its_own() -> None:
    with pytest.raises(captions.CaptionError, match=r"clip\.json can't be read") as broken:
        captions.parse(b'{"segments": [', "clip.json")
    assert not isinstance(broken.value, captions.NotCaptions)
