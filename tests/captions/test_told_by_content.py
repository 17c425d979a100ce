"""A format is told by what stands in the file; what is not understood is said, and never taken for silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scriptsight import captions
from scriptsight.captions import Known
from scriptsight.captions.script import Script
from scriptsight.catalogue import Cue, Word

CUT, TOAST = "first we cut the bread", "then we toast both sides"
SUFFIXES = [".vtt", ".srt", ".ass", ".sbv", ".lrc", ".sub", ".smi", ".ttml", ".xml", ".json", ".txt"]


def parse(content: Any, name: str = "a.json", **known: Any) -> Script:
    text = content if isinstance(content, str) else json.dumps(content)
    return captions.parse(text.encode(), name, known=Known(**known))


def said(script: Script) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for cue in script.cues]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [
        f"WEBVTT\n\n00:01.000 --> 00:02.000\n{CUT}\n\nNOTE not said\n",
        f"1\n00:00:01,000 --> 00:00:02,000\n{CUT}\n",
        f"0:00:01.000,0:00:02.000\n{CUT}\n",
        f"[INFORMATION]\n[AUTHOR]x\n[END INFORMATION]\n[SUBTITLE]\n00:00:01.00,00:00:02.00\n{CUT}\n",
        f"{{1}}{{1}}25\n{{25}}{{50}}{CUT}\n",
        f"[10][20]{CUT}\n",
        f"[ti:a talk]\n[00:01.00]{CUT}\n[00:02.00]\n",
        f"<SAMI><BODY><SYNC Start=1000><P Class=EN>{CUT}<SYNC Start=2000><P Class=EN>&nbsp;",
        f"[Script Info]\n[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,{CUT}\n",
        f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="1s" end="2s">{CUT}</p></div></body></tt>',
        f'<?xml version="1.0"?><transcript><text start="1" dur="1">{CUT}</text></transcript>',
        f'[{{"start": 1, "end": 2, "text": "{CUT}"}}]',
        f'{{"start": 1, "end": 2, "text": "{CUT}"}}\n{{"start": 9, "end": 10, "text": ""}}\n',
    ],
)
def test_the_suffix_does_not_matter(content: str, suffix: str) -> None:
    assert said(parse(content, f"a{suffix}")) == [(1.0, 2.0, CUT)]
    assert said(parse("\ufeff\n" + content, f"a{suffix}")) == [(1.0, 2.0, CUT)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"0:01\n{CUT}\n0:04\n{TOAST}\n0:07\n\n", [(1.0, 4.0, CUT), (4.0, 7.0, TOAST)]),  # copied from YouTube
        (f"0:01{CUT}\n0:04{TOAST}\n", [(1.0, 4.0, CUT), (4.0, 10.0, TOAST)]),
        (f"Mary Smith  0:01\n{CUT}\n\nJohn  0:04\n{TOAST}\n", [(1.0, 4.0, CUT), (4.0, 10.0, TOAST)]),
        (f"00:00:01\tMary:\t{CUT}\n00:00:04\tJohn:\t{TOAST}\n", [(1.0, 4.0, CUT), (4.0, 10.0, TOAST)]),
        (f"(00:01) {CUT}\n(00:04) {TOAST}\n", [(1.0, 4.0, CUT), (4.0, 10.0, TOAST)]),
        (f"00:00:01:{CUT}\n00:00:04={TOAST}\n", [(1.0, 4.0, CUT), (4.0, 10.0, TOAST)]),
        (f"[00:00:01]\n{CUT}\n[00:00:03]\n\n[00:00:04]\n{TOAST}\n", [(1.0, 3.0, CUT), (4.0, 10.0, TOAST)]),
        (
            f"[00:01.000 --> 00:03.000]  {CUT}\n[00:04.000 --> 00:06.000]  {TOAST}\n",
            [(1.0, 3.0, CUT), (4.0, 6.0, TOAST)],
        ),
        (f"00:00:01 - 00:00:03\n{CUT}\n\n00:00:04 - 00:00:06\n{TOAST}\n", [(1.0, 3.0, CUT), (4.0, 6.0, TOAST)]),
        (f"1.0\t3.0\t{CUT}\n4.0\t6.0\t{TOAST}\n", [(1.0, 3.0, CUT), (4.0, 6.0, TOAST)]),
        (
            "00:00:01 сначала мы режем хлеб\n00:00:04 потом едим\n",
            [(1.0, 4.0, "сначала мы режем хлеб"), (4.0, 7.8, "потом едим")],
        ),
    ],
)
def test_text_with_times(content: str, expected: list[tuple[float, float, str]]) -> None:
    assert said(parse(content, "a.txt")) == expected


def test_text_without_times_is_something_else_and_chapters_are_no_speech() -> None:
    for text in ("", f"{CUT}.\n{TOAST}.\n", "We met at 10:30.\nThen we ate.\nAnd slept.\nThe end.\n"):
        with pytest.raises(captions.NotCaptions, match=r"a\.txt: this text has no times"):
            parse(text, "a.txt")
    assert parse("0:00 Intro\n1:30 Mixing the dough\n4:10 Baking\n9:00 The end\n", "a.txt").kind == "chapters"
    with pytest.raises(captions.CaptionError, match="its times count frames"):
        parse(f"00:00:01:12 - 00:00:03:05\n{CUT}\n\n00:00:04:00 - 00:00:06:00\n{TOAST}\n", "a.txt")


@pytest.mark.parametrize(
    ("data", "meaning"),
    [
        (b"\x00\x00\x01\xba\x44\x00", "pictures: no words can be read"),
        (b"\x1f\x8b\x08\x00", "packed with gzip"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"{\\rtf1 hello}", r"rich text \(RTF\)"),
        (bytes(range(32)) * 9, "control characters|no encoding"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "."),
    ],
)
def test_what_is_no_text_is_named(data: bytes, meaning: str) -> None:
    for suffix in (".sub", ".srt", ".vtt", ".smi"):
        with pytest.raises(captions.CaptionError, match=rf"a\{suffix} .*({meaning})") as told:
            captions.parse(data, f"a{suffix}")
        assert not isinstance(told.value, captions.NotCaptions)


# ---------------------------------------------------------------------------------------------------- languages

SMI = """<SAMI><HEAD><STYLE TYPE="text/css"><!-- .KRCC {Name: Korean; lang: ko-KR;}
.ENCC {Name: English; lang: en-US;}
--></STYLE></HEAD><BODY><SYNC Start=1000><P Class=KRCC>먼저 빵을<P Class=ENCC>first we <i>cut</i> it
<SYNC Start=3000><P Class=KRCC>&nbsp;<P Class=ENCC>&nbsp;<!-- not said --></BODY></SAMI>"""
TT = """<tt xmlns="http://www.w3.org/ns/ttml"><body><div xml:lang="en">
<p begin="1s" end="3s">first we cut it</p></div>
<div xml:lang="ko"><p begin="1s" end="3s">먼저 빵을</p></div></body></tt>"""
TABLE = {
    "en": [{"start": 1, "end": 3, "text": "first we cut it"}],
    "ko": [{"start": 1, "end": 3, "text": "먼저 빵을"}],
}


@pytest.mark.parametrize(("content", "name"), [(SMI, "a.smi"), (TT, "a.ttml"), (TABLE, "a.json")])
def test_of_several_languages_the_wanted_one_is_read_and_the_choice_is_told(content: Any, name: str) -> None:
    assert said(parse(content, name, language="ko")) == [(1.0, 3.0, "먼저 빵을")]
    assert parse(content, name, language="ko").doubts == ()
    without = parse(content, name)
    assert said(without) == [(1.0, 3.0, "first we cut it")]
    assert len(without.doubts) == 1


def test_languages_one_after_the_other_are_one_script() -> None:
    spoken = TT.replace('<p begin="1s" end="3s">먼저', '<p begin="4s" end="5s">먼저')
    assert said(parse(spoken, "a.ttml")) == [(1.0, 3.0, "first we cut it"), (4.0, 5.0, "먼저 빵을")]


# ---------------------------------------------------------------------------------------------------- units


def test_the_duration_of_the_video_settles_the_unit() -> None:
    slow = [{"start": 0, "end": 60, "text": "He falls over."}, {"start": 60, "end": 130, "text": "She gets up."}]
    assert [cue.end for cue in parse(slow, seconds=140.0).cues] == [60.0, 130.0]
    fractions = [{"start": 500.5, "end": 2000.5, "text": CUT}, {"start": 9000.5, "end": 11000.5, "text": TOAST}]
    assert [cue.end for cue in parse(fractions, seconds=20.0).cues] == [2.0005, 11.0005]
    assert all(len(parse(one).doubts) == 1 for one in (slow, fractions))
    bare = '<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="1000" end="2500">{}</p></div></body></tt>'
    assert said(parse(bare.format(CUT), "a.ttml", seconds=9.0)) == [(1.0, 2.5, CUT)]


def test_a_ttml_time_that_cannot_be_read_is_not_0() -> None:
    body = '<p begin="01:02" end="01:04">a b</p><p begin="oops" end="9s">lost</p><p begin="1:05.5" dur="2">c</p>'
    script = parse(f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{body}</div></body></tt>', "a.ttml")
    assert (said(script), script.dropped) == ([(62.0, 64.0, "a b"), (65.5, 67.5, "c")], 1)


# ---------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"segments": [{"t_in": 1, "t_out": 2, "words_said": CUT}]},
            "the entries of segments .*: t_in, t_out, words_said",
        ),
        ([{"begin_ts": 1, "finish_ts": 2, "says": CUT}], "its entries .*: begin_ts, finish_ts, says"),
        ({"utterances": [{"who": "A", "what": CUT}]}, "the entries of utterances .*: what, who"),
        ({"text": CUT}, "a text without any times"),
        ({"text": CUT, "segments": [], "language": "en"}, "a text without any times"),
    ],
)
def test_a_json_like_captions_that_is_not_understood_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(captions.CaptionError, match=message) as told:
        parse(value)
    assert not isinstance(told.value, captions.NotCaptions)


@pytest.mark.parametrize(
    "value",
    [
        {"title": "bread", "tags": ["a b"], "duration": 12.5},
        {"version": "1.2.0", "chapters": [{"startTime": 0, "title": "Intro to it"}]},
        {"webpage_url": "x", "chapters": [{"start_time": 0, "end_time": 3, "title": "a b"}], "description": CUT},
        {"comments": [{"text": "a fine film", "timestamp": 1700000000, "id": "x"}]},
        {"annotations": [{"segment": [1.0, 2.0], "label": "Cutting bread"}]},
        [{"start": 1, "end": 2, "label": "cutting"}],
        {"frames": [{"time": 0.5, "text": "a sign in the picture"}]},
        [{"start": 0.5, "end": 1, "text": "a sign in the picture", "bbox": [1, 2, 3, 4]}],
        {"url": "x", "caption": "a cat that sits", "duration": 4.5, "fps": 25},
        [1, 2, 3],
    ],
)
def test_a_json_of_something_else_is_told_from_captions(value: Any) -> None:
    with pytest.raises(captions.NotCaptions):
        parse(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"0": {"start": 1, "end": 2, "text": CUT}, "1": {"start": 3, "end": 4, "text": TOAST}}, [1.0, 3.0]),
        ([{"timestamp": "00:00:01,000 --> 00:00:03,000", "text": CUT}], [1.0]),
        ([{"start": "1,5", "end": "3,0", "text": CUT}], [1.5]),
        ([{"time": "0:01", "text": CUT}, {"time": "0:04", "text": TOAST}], [1.0, 4.0]),
        ([{"start": "PT1.5S", "duration": "PT2S", "text": CUT}], [1.5]),
        ({"starts": [1, 3], "ends": [2, 4], "texts": [CUT, TOAST]}, [1.0, 3.0]),
        ({"results": [{"alternatives": [{"transcript": CUT}], "resultEndTime": "2s"}]}, [0.0]),
        ([[0.5, 2.0, CUT], [2.0, 4.0, TOAST]], [0.5, 2.0]),
        ({"data": {"attributes": {"cues": [{"startTime": 1, "endTime": 2, "text": CUT}]}}}, [1.0]),
    ],
)
def test_entries_however_they_are_written(value: Any, expected: list[float]) -> None:
    script = parse(value)
    assert ([cue.start for cue in script.cues], script.dropped, script.doubts) == (expected, 0, ())


def test_a_start_that_is_left_out_is_0_and_an_end_that_is_does_not_outlast_a_word() -> None:
    words = [{"endTime": "0.4s", "word": "first"}, {"startTime": "0.4s", "endTime": "0.8s", "word": "we"}]
    google = parse({"results": [{"alternatives": [{"transcript": "first we", "words": words}]}]})
    assert google.cues == [Cue(0, 0.8, "first we", (Word(0, 0.4, "first"), Word(0.4, 0.8, "we")))]
    begun = [{"word": word, "ts": at} for word, at in [("first", 1.0), ("we", 1.3), ("cut", 9.0)]]
    said_last = [word for cue in parse({"words": begun}).cues for word in cue.words or ()]
    assert said_last == [Word(1.0, 1.3, "first"), Word(1.3, 3.3, "we"), Word(9.0, 11.0, "cut")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"[00:01.50]{CUT}\n[00:03:50]{TOAST}\n[00:05.00]\n", [(1.5, 3.5, CUT), (3.5, 5.0, TOAST)]),
        (f"[00:01:75]{CUT}\n[00:03:50]{TOAST}\n[00:05:00]\n", [(1.75, 3.5, CUT), (3.5, 5.0, TOAST)]),
        (f"[00:00:01]{CUT}\n[00:00:04]{TOAST}\n[00:00:06]\n", [(1.0, 4.0, CUT), (4.0, 6.0, TOAST)]),
        (f"[offset:-500]\n[00:01.00]{CUT}\n[00:03.00]\n", [(1.5, 3.5, CUT)]),
        (f"[00:01.00][00:09.00]{CUT}\n[00:03.00]\n[00:11.00]\n", [(1.0, 3.0, CUT), (9.0, 11.0, CUT)]),
    ],
)
def test_times_of_lyrics(content: str, expected: list[tuple[float, float, str]]) -> None:
    assert said(parse(content, "a.lrc")) == expected


def test_entries_without_times_are_counted() -> None:
    assert parse({"segments": [{"text": CUT}, {"start": 3, "end": 4, "text": TOAST}]}).dropped == 1
    assert parse({"results": {"channels": [{"alternatives": [{"transcript": CUT}]}]}}).dropped == 1


def test_words_that_say_less_or_more_than_the_text() -> None:
    heard = [("in", 1.0, 1.2), ("twenty", 1.2, 1.5), ("sixteen", 1.5, 2.0), ("we", 2.0, 2.2)]
    words = [{"word": word, "start": start, "end": end} for word, start, end in heard]
    fewer = parse([{"start": 1, "end": 3, "text": "in 2016 we cut it", "words": words}])
    times = [("in", 1.0, 1.2), ("2016", 1.2, 2.0), ("we", 2.0, 2.2), ("cut", 2.2, 2.68), ("it", 2.68, 3.0)]
    assert fewer.cues == [Cue(1, 3, "in 2016 we cut it", tuple(Word(a, b, text) for text, a, b in times))]
    assert fewer.doubts == ()
    more = [{"word": f"word{i}", "start": 1 + i / 10, "end": 1.1 + i / 10} for i in range(9)]
    assert "words are heard" in parse([{"start": 1, "end": 3, "text": "so few", "words": more}]).doubts[0]


def test_words_alone_have_the_signs_of_the_text_beside_them() -> None:
    words = [("First", 0.5, 0.9), ("we", 0.9, 1.2), ("cut", 1.2, 2.0), ("Then", 2.2, 2.5), ("toast", 2.5, 3.0)]
    listed = [{"word": word, "start": start, "end": end} for word, start, end in words]
    script = parse({"text": "First, we cut. Then we toast.", "words": listed, "language": "english"})
    assert said(script) == [(0.5, 2.0, "First, we cut."), (2.2, 3.0, "Then we toast.")]
    assert [word.text for cue in script.cues for word in cue.words or ()] == [
        "First,",
        "we",
        "cut.",
        "Then",
        "we",
        "toast.",
    ]
    assert (script.language, script.doubts) == ("en", ())
    lost = parse({"text": "First, we cut. " + "And more. " * 9, "words": listed[:3]})
    assert lost.doubts == ("only 3 of the 21 words of its text have times: the others are near them",)


def test_words_of_a_script_without_spaces_that_lack_the_signs() -> None:
    words = [("首先", 1.0, 2.0), ("我们", 2.0, 3.0), ("切", 3.0, 3.4)]
    listed = [{"word": word, "start": start, "end": end} for word, start, end in words]
    cue = parse([{"start": 1, "end": 4, "text": "首先，我们切。", "words": listed}]).cues[0]  # noqa: RUF001
    assert cue.words is not None
    assert [(word.text, word.start) for word in cue.words] == [
        ("首", 1.0),
        ("先，", 1.5),  # noqa: RUF001
        ("我", 2.0),
        ("们", 2.5),
        ("切。", 3.0),
    ]


# ---------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (
            f'Start Time,End Time,Speaker,Text\n00:00:01.000,00:00:03.000,A,"{CUT}, yes"\n',
            "a.csv",
            (1.0, 3.0, f"{CUT}, yes"),
        ),
        (f"start,end,text\n1,3,{CUT}, yes\n", "a.csv", (1.0, 3.0, f"{CUT}, yes")),
        (f"In;Out;Subtitle\n00:00:01,000;00:00:03,000;{CUT}\n", "a.csv", (1.0, 3.0, CUT)),
        (f"start_ms,end_ms,text\n1000,3000,{CUT}\n", "a.csv", (1.0, 3.0, CUT)),
        (f"1.0,3.0,{CUT}\n", "a.csv", (1.0, 3.0, CUT)),
        (f"start\tend\ttext\n1.0\t3.0\t{CUT}\n", "a.tsv", (1.0, 3.0, CUT)),
        (f"start\tend\ttext\n1000\t3000\t{CUT}\n", "a.tsv", (1.0, 3.0, CUT)),
        (f"1.0\t3.0\t{CUT}\n", "a.tsv", (1.0, 3.0, CUT)),
        ("word,start,end\nfirst,1.0,1.4\nwe,1.4,1.8\ncut,1.8,3.0\n", "a.csv", (1.0, 3.0, "first we cut")),
    ],
)
def test_tables_of_any_make(content: str, name: str, expected: tuple[float, float, str]) -> None:
    assert said(parse(content, name)) == [expected]


def test_a_table_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(captions.CaptionError, match="its columns are start, end, said") as told:
        parse(f"start,end,said\n1,2,{CUT}\n", "a.csv")
    assert not isinstance(told.value, captions.NotCaptions)
