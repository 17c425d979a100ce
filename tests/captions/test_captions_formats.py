"""Each format gives its cues, and the times of words where it has them."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight import captions
from scriptsight.captions import records
from scriptsight.captions.script import Script
from scriptsight.catalogue import Cue, Word
from tests import small


def parse(name: str, content: Any) -> Script:
    text = content if isinstance(content, str) else json.dumps(content)
    return captions.parse(text.encode(), name)


def words(*spoken: tuple[float, float, str]) -> tuple[Word, ...]:
    return tuple(Word(*word) for word in spoken)


# ------------------------------------------------------------------------------------------------ WebVTT


def test_vtt_words_are_what_lies_between_time_stamps() -> None:
    text = "WEBVTT\nKind: captions\nLanguage: en\n\n00:01.000 --> 00:05.000 align:start position:0%\n \n"
    text += "in the<00:02.000><c> gar</c><00:02.500><c.loud>den</c><00:09.000><c> we</c><00:03.000> go &amp; see\n"
    script = parse("a.vtt", text)
    first = words((1, 2, "in"), (1, 2, "the"), (2, 3, "garden"), (2.5, 3, "we"))  # 9 s is not in the cue
    expected = (*first, *words((3, 5, "go"), (3, 5, "&"), (3, 5, "see")))
    assert (script.language, script.kind) == ("en", "captions")
    assert script.cues == [Cue(1, 5, "in the garden we go & see", expected)]


def test_vtt_words_of_a_script_without_spaces() -> None:
    script = parse("a.vtt", "WEBVTT\n\n00:01.000 --> 00:03.000\n你<00:02.000><c>好</c>\n")
    assert script.cues[0].words == words((1, 2, "你"), (2, 3, "好"))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.vtt", "WEBVTT\nKind: chapters\n\n{}Intro\n", "chapters"),
        ("a.vtt", "WEBVTT\nkind: Descriptions\n\n{}He falls.\n", "descriptions"),
        ("a.vtt", "WEBVTT\n\n{}sprite.jpg#xywh=0,0,160,90\n", "metadata"),
        ("a.vtt", 'WEBVTT\n\n{}{{"page": 3}}\n', "metadata"),
        ("a.chapters.vtt", "WEBVTT\n\n{}Intro\n", "chapters"),
        ("a_descriptions_pt-br.vtt", "WEBVTT\n\n{}He falls.\n", "descriptions"),
        ("chapters of my life.vtt", "WEBVTT\n\n{}hello\n", "captions"),
        ("a.vtt", "WEBVTT\nKind: subtitles\n\n{}see sprite.jpg\n", "captions"),
    ],
)
def test_what_is_no_speech_is_recognised(name: str, text: str, kind: str) -> None:
    assert parse(name, text.format("00:01.000 --> 00:02.000\n")).kind == kind


# ---------------------------------------------------------------------------------------------- SubRip


def test_srt_entries_that_lack_their_times_are_dropped() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\ntwo\n\n3\nthree\n\n4\n --> 00:00:05,000\nfour\n\n"
    script = parse("a.srt", text + "5\n00:00:06 --> 0:07,5\nfive\nwith --> arrow\n")
    assert script == Script([Cue(1, 2, "one"), Cue(6, 7.5, "five with --> arrow")], 3)


# ------------------------------------------------------------------------------------------------- ASS


def test_ass_columns_overrides_drawings_and_karaoke() -> None:
    text = """[Script Info]
[V4+ Styles]
Format: Name, Start
[Events]
Format: Start ,End, Style, Text
Comment: 0:00:00.00,0:00:01.00,x,not said
Dialogue: 0:00:01.00,0:00:02.50,x,{\\i1}one, two{\\i0}\\Nthree {\\pos(1,2)}
Dialogue: 0:00:03.00,0:00:04.00,x,{\\p1}m 0 0 l 10 10{\\p0}
Dialogue: 0:00:05:00,0:00:06:00,x,{\\k20}gar{\\kf30}den {\\K50}path
Dialogue: never,0:00:09.00,x,bad
"""
    sung = Cue(5, 6, "garden path", words((5, 5.5, "garden"), (5.5, 6, "path")))
    assert parse("a.ass", text) == Script([Cue(1, 2.5, "one, two three"), sung], 1)


# ------------------------------------------------------------------------------------------------ TTML

TT = """<?xml version="1.0"?><tt xmlns="{ns}" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" xml:lang="de"
 xmlns:tts="http://www.w3.org/ns/ttml#styling" ttp:frameRate="25" ttp:tickRate="10"><body>{body}</body></tt>"""


def ttml(body: str, ns: str = "http://www.w3.org/ns/ttml") -> Script:
    return parse("a.ttml", TT.format(ns=ns, body=body))


@pytest.mark.parametrize(
    "ns", ["http://www.w3.org/ns/ttml", "http://www.w3.org/2006/10/ttaf1", "http://www.w3.org/2006/04/ttaf1"]
)
def test_ttml_of_any_age(ns: str) -> None:
    script = ttml(
        '<div><p begin="1s" end="2.5s">one<br/>two <span tts:color="red">&lt;three&gt;</span></p></div>', ns
    )
    assert script == Script([Cue(1, 2.5, "one two <three>")], 0, "de")


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        ("00:01:02.5", 62.5),
        ("00:01:02,500", 62.5),
        ("00:00:01:05", 1.2),
        ("1.5h", 5400),
        ("2m", 120),
        ("1500ms", 1.5),
        ("50f", 2),
        ("35t", 3.5),
    ],
)
def test_ttml_time_expressions(begin: str, expected: float) -> None:
    assert ttml(f'<div><p begin="{begin}" dur="1s">x</p></div>').cues == [Cue(expected, expected + 1, "x")]


@pytest.mark.parametrize(
    ("declared", "written", "said"),
    [
        ("UTF-8", "utf-8-sig", "été"),
        ("UTF-16", "utf-16", "été"),
        ("UTF-8", "utf-16-le", "été"),  # said wrongly, as happens
        ("UTF-16", "utf-8", "été"),
        ("ASCII", "utf-8", "été"),
        ("windows-1251", "cp1251", "привет"),
        ("Shift_JIS", "shift_jis", "字幕"),
    ],
)
def test_xml_in_any_encoding(declared: str, written: str, said: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{declared}"?><transcript><text start="1" dur="1">{said}</text></transcript>'
    )
    assert captions.parse(text.encode(written), "a.srv1").cues == [Cue(1, 2, said)]


def test_ttml_times_count_from_the_container() -> None:
    parallel = (
        '<div begin="10s" end="20s"><p begin="1s" end="2s">a</p><p begin="5s">b</p><p begin="11s">never</p></div>'
    )
    assert ttml(parallel) == Script([Cue(11, 12, "a"), Cue(15, 20, "b")], 1, "de")
    sequence = '<div timeContainer="seq" begin="10s"><p dur="2s">a</p><p begin="1s" dur="2s">b</p></div>'
    assert ttml(sequence).cues == [Cue(10, 12, "a"), Cue(13, 15, "b")]
    assert ttml("<div><p>for ever</p></div>") == Script([], 1, "de")


def test_ttml_spans_with_times() -> None:
    spans = '<span begin="0s" end="1s">one</span> <span begin="1s">two</span>'
    within = ttml(f'<div><p begin="3s" end="5s">{spans}</p></div>').cues
    assert within == [Cue(3, 5, "one two", words((3, 4, "one"), (4, 5, "two")))]
    alone = ttml('<div><p><span begin="1s" end="2s">one</span> <span begin="3s" end="4s">two</span></p></div>').cues
    assert alone == [Cue(1, 2, "one"), Cue(3, 4, "two")]


# --------------------------------------------------------------------------------------------- YouTube


def test_json3() -> None:
    events = [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1, "wpWinPosId": 1},
        {"tStartMs": 1000, "dDurationMs": 4000, "segs": [{"utf8": "in"}, {"utf8": " the", "tOffsetMs": 500}]},
        {"tStartMs": 3000, "dDurationMs": 10, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 6000, "dDurationMs": 1000, "segs": [{"utf8": "two\nlines"}]},
        {"tStartMs": "soon", "segs": [{"utf8": "bad"}]},
    ]
    expected = [Cue(1, 5, "in the", words((1, 1.5, "in"), (1.5, 5, "the"))), Cue(6, 7, "two lines")]
    assert parse("a.json3", {"wireMagic": "pb3", "events": events}) == Script(expected, 1)


def test_srv1_srv2_srv3() -> None:
    srv1 = '<?xml version="1.0"?><transcript><text start="1.5" dur="2">it&amp;#39;s &lt;b&gt;x</text></transcript>'
    assert parse("a.srv1", srv1).cues == [Cue(1.5, 3.5, "it's <b>x")]
    srv2 = '<timedtext><window t="0" id="1"/><text t="1500" d="2000">two</text><text t="x">bad</text></timedtext>'
    assert parse("a.srv2", srv2) == Script([Cue(1.5, 3.5, "two")], 1)
    body = (
        '<p t="1000" d="4000" w="1"><s ac="252">in</s><s t="500" ac="9"> the</s></p><p t="3000" d="10" a="1">\n</p>'
    )
    srv3 = f'<timedtext format="3"><head><ws id="0"/></head><body><w t="0" id="1"/>{body}</body></timedtext>'
    assert parse("a.srv3", srv3).cues == [Cue(1, 5, "in the", words((1, 1.5, "in"), (1.5, 5, "the")))]


def test_json3_of_a_real_video_agrees_with_its_srt(shared_data: Path) -> None:
    folder = shared_data / "transcripts/youtube_json3"
    assert small.script(folder / "subtitleJson3.json3").cues == small.script(folder / "subtitleSrt.srt").cues
    automatic = small.script(folder / "subtitleJson3_2.json3").cues
    assert sum(len(cue.words or ()) for cue in automatic) > 5000


# -------------------------------------------------------------------------------------- recognisers' JSON


def test_whisper_and_whisperx() -> None:
    spoken = [{"word": " Hi,", "start": 1.0, "end": 1.4}, {"word": " 99"}, {"word": " go", "start": 1.8, "end": 2.0}]
    segments = [
        {"id": 0, "start": 1.0, "end": 2.0, "text": " Hi, 99 go", "words": spoken, "speaker": "SPEAKER_00"},
        {"start": 3, "end": 4, "text": " bye", "words": None},
        {"start": None, "end": 4, "text": " bad"},
    ]
    expected = [Cue(1, 2, "Hi, 99 go", words((1, 1.4, "Hi,"), (1.4, 1.8, "99"), (1.8, 2, "go"))), Cue(3, 4, "bye")]
    assert parse("a.json", {"text": "", "segments": segments, "language": "en"}) == Script(expected, 1, "en")


def test_whisper_cpp() -> None:
    def token(text: str, start: int, end: int) -> dict[str, Any]:
        return {"text": text, "offsets": {"from": start, "to": end}}

    tokens = [token("[_BEG_]", 0, 0), token(" gar", 0, 300), token("den", 300, 500), token(" path", 500, 900)]
    item = {"offsets": {"from": 0, "to": 1000}, "text": " garden path.", "tokens": [*tokens, token(".", 900, 1000)]}
    script = parse("a.json", {"result": {"language": "en"}, "transcription": [item, {"text": "bad"}]})
    expected = words((0, 0.5, "garden"), (0.5, 1.0, "path."))
    assert script == Script([Cue(0, 1, "garden path.", expected)], 1, "en")


def test_videogrep() -> None:
    spoken = [
        {"conf": 1.0, "end": 1.5, "start": 1, "word": "in"},
        {"conf": 1.0, "end": 2, "start": 1.5, "word": "the"},
    ]
    script = parse("a.json", [{"content": "in the", "start": 1, "end": 2, "words": spoken}])
    assert script.cues == [Cue(1, 2, "in the", words((1, 1.5, "in"), (1.5, 2, "the")))]


def test_real_whisper_json_has_the_words_of_its_segments(shared_data: Path) -> None:
    folder = shared_data / "transcripts/whisper_ctranslate2/e2e-tests"
    script = small.script(folder / "ref-small-transcribe-word-stamps/gossos.json")
    assert script.language == "ca"
    for cue in script.cues:
        assert cue.words is not None
        assert " ".join(word.text for word in cue.words) == cue.text
    for form in ("srt", "vtt", "tsv"):
        same = small.script(folder / f"ref-small-transcribe-vad/gossos.{form}").cues
        assert same == small.script(folder / "ref-small-transcribe-vad/gossos.json").cues


# --------------------------------------------------------------------------------------------- datasets


def test_howto100m() -> None:
    record = {"start": [1.0, 0, "x"], "end": [2.0, 1, 3], "text": ["put  it", float("nan"), "bad"]}
    assert captions.howto100m(record) == (Cue(1, 2, "put it"),)
    assert parse("a.json", {"start": [1], "end": [2], "text": ["put it"]}).cues == [Cue(1, 2, "put it")]
    assert parse("a.csv", ',start,end,text\n0,1.0,2.0,"put it, now"\n').cues == [Cue(1, 2, "put it, now")]
    with pytest.raises(ValueError, match="differ in length: 2, 1, 1"):
        captions.howto100m({"start": [1, 2], "end": [2], "text": ["a"]})


def test_yt_temporal() -> None:
    heard = [("guys", 0.0), ("this", 0.2), ("is", 0.4), ("a", 0.5), ("lishous", 0.6), ("source", 9.0), ("lets", 10.0)]
    record = {
        "subtitles": [{"word": word, "time": time} for word, time in heard],
        "denoised": [{"cleanasr": "Guys, this is a delicious"}, {"cleanasr": "sauce. Let's"}],
        "info": {"duration": 10.5},
    }
    script = parse("a.json", record)
    first, second = script.cues
    assert (first.start, first.end, first.text) == (0.0, 10.0, "Guys, this is a delicious sauce.")
    assert first.words is not None
    assert first.words[-2:] == words((0.6, 2.6, "delicious"), (9.0, 10.0, "sauce."))  # at most 2 s, then silence
    assert second == Cue(10.0, 10.5, "Let's", words((10.0, 10.5, "Let's")))
    raw = parse("a.json", record | {"denoised": []})
    assert [cue.text for cue in raw.cues] == ["guys this is a lishous source lets"]


def naive_align(heard: list[str], clean: list[str]) -> list[int]:
    """For each clean word the nearest of the heard words that the best path pairs it with, cell by cell."""
    heard, clean = [records.letters(word) for word in heard], [records.letters(word) for word in clean]

    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            old, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                old, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, old + (x != y))
        return row[-1]

    cost: dict[tuple[int, int], int] = {}
    for i, a in enumerate(heard):
        for j, b in enumerate(clean):
            before = [cost[at] for at in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if at in cost]
            cost[i, j] = distance(a, b) + min(before, default=0)
    pairs: list[list[tuple[int, int]]] = [[] for _ in clean]
    at = (len(heard) - 1, len(clean) - 1)
    while at in cost:
        i, j = at
        own = distance(heard[i], clean[j])
        pairs[j].append((own, i))
        ways = [way for way in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if way in cost]
        at = next((way for way in ways if cost[way] + own == cost[i, j]), (-1, -1))
    return [min(paired)[1] for paired in pairs]


@pytest.mark.parametrize("seed", range(30))
def test_alignment_is_dynamic_time_warping_over_edit_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocabulary = ["a", "the", "ball", "Bowl,", "bell", "roll", "rolls.", "red", "read", "onion", "..."]
    heard, clean = (list(rng.choice(vocabulary, size=rng.integers(1, 25))) for _ in range(2))
    assert records.align(heard, clean) == naive_align(heard, clean)


def test_a_whole_video_is_aligned_in_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefgh"), size=rng.integers(1, 9))) for _ in range(600)]
    heard = list(rng.choice(vocabulary, size=2000))
    clean = [word.capitalize() + "," if rng.random() < 0.2 else word for word in heard if rng.random() > 0.05]
    began = time.process_time()
    found = records.align(heard, clean)
    assert time.process_time() - began < 0.8  # 0.14 on an idle core
    exact = sum(records.letters(heard[i]) == records.letters(word) for i, word in zip(found, clean, strict=True))
    assert exact > 0.98 * len(clean)


def test_of_too_long_a_text_the_heard_words_are_taken() -> None:
    spoken = {"subtitles": [{"word": f"a{i}", "time": i} for i in range(20_000)]}
    script = parse("a.json", spoken | {"denoised": [{"cleanasr": "b " * 20_000}]})
    assert script.cues == parse("a.json", spoken | {"denoised": []}).cues
    assert script.dropped == 20_000
    with pytest.raises(ValueError, match="20000 heard and 20000 clean words"):
        records.align(["a"] * 20_000, ["b"] * 20_000)


def test_yt_temporal_of_a_real_video(shared_data: Path) -> None:
    path = shared_data / "transcripts/merlot_example/WAaKRUoY6Io.grover.json"
    record = json.loads(path.read_text())
    cues = parse(path.name, record).cues
    spoken = " ".join(cue.text for cue in cues)
    assert spoken.split() == " ".join(passage["cleanasr"] for passage in record["denoised"]).split()
    assert cues[0].text == "Guys, this is a delicious sweet onion tomato sauce."
    assert all(one.end <= other.start for one, other in pairwise(cues))
    # Words that both texts have just once must be paired with each other.
    heard = [records.letters(word["word"]) for word in record["subtitles"]]
    said = [word for cue in cues for word in cue.words or ()]
    clean = [records.letters(word.text) for word in said]
    unique = [word for word in heard if heard.count(word) == clean.count(word) == 1]
    right = sum(record["subtitles"][heard.index(word)]["time"] == said[clean.index(word)].start for word in unique)
    assert right > 0.95 * len(unique) > 50
