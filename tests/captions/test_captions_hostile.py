"""Files meant to break the reader end as a script or as an error that names them, and soon."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from scriptsight import captions

SECONDS = (
    5.0  # for 200,000 characters, and as much less for less: plenty, and hopeless where time grows with the square
)
DEEP = 100_000
CUE = "WEBVTT\n\n00:01.000 --> 00:02.000\n"
TT = '<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{}</div></body></tt>'
LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))


def parse(name: str, content: str | bytes) -> captions.Script | None:
    """The script, or None where the file was refused with its name."""
    try:
        script = captions.parse(content if isinstance(content, bytes) else content.encode(), name)
    except captions.CaptionError as error:
        assert str(error).startswith(name)
        return None
    for cue in script.cues:
        cue.text.encode()  # what a table can hold
        assert "\0" not in cue.text
    return script


REFUSED: dict[str, str | bytes] = {
    "codec.xml": b'<?xml version="1.0" encoding="zlib"?><tt>\xff</tt>',
    "nothing.xml": b'<?xml version="1.0" encoding="no-such-code"?><tt>\xff</tt>',
    "laughs.ttml": f'<!DOCTYPE tt [<!ENTITY a0 "ha">{LAUGHS}]>' + TT.format("<p dur='1s'>&a11;</p>"),
    "outside.ttml": '<!DOCTYPE tt [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + TT.format("<p dur='1s'>&x;</p>"),
    "network.xml": '<!DOCTYPE tt SYSTEM "http://localhost:1/x.dtd"><tt/>',
    "deep.ttml": TT.format("<div>" * DEEP + "</div>" * DEEP),
    "deep.json": "[" * DEEP + "]" * DEEP,
    "deep-object.json": '{"a":' * DEEP + "1" + "}" * DEEP,
    "digits.json": '{"segments": [], "x": ' + "9" * 10_000 + "}",
    "rate.ttml": '<tt xmlns:p="x" p:frameRate="0"><body/></tt>',
    "rates.ttml": '<tt xmlns:p="x" p:frameRateMultiplier="1 nan"><body/></tt>',
    "cell.csv": "start,end,text\n1,2," + "a" * 1_000_000,
    "half.xml": TT.format("<p begin='0s' end='1s'>hel")[:-20],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    assert parse(name, REFUSED[name]) is None


DROPPED = {
    "long.vtt": f"WEBVTT\n\n{'9' * 5000}:00:01.000 --> 00:02.000\nx\n",
    "long.srt": f"1\n{'9' * 5000}:00:01,000 --> 00:00:02,000\nx\n",
    "long.ass": f"[Events]\nDialogue: 0,{'9' * 5000}:00:01.00,0:00:02.00,a,a,0,0,0,,x\n",
    "long.ttml": TT.format(f"<p begin='{'9' * 5000}s' end='1s'>x</p>" + "<p begin='1s'>x</p>"),
    "huge.json": '[{"start": 1e999, "end": 2, "text": "x"}]',
    "nan.json": '{"segments": [{"start": NaN, "end": 2, "text": "x"}]}',
    "bool.json3": '{"events": [{"tStartMs": true, "segs": [{"utf8": "x"}]}]}',
    "huge.json3": '{"events": [{"tStartMs": 1e308, "dDurationMs": 1e400, "segs": [{"utf8": "x"}]}]}',
    "words.srv1": "<transcript><text start='1e999' dur='1'>x</text></transcript>",
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropped(name: str) -> None:
    script = parse(name, DROPPED[name])
    assert script is not None
    assert script.dropped >= 1
    assert all(abs(cue.start) < 1e10 and abs(cue.end) < 1e10 for cue in script.cues)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nul.vtt", CUE + "a\0b\n", "a\ufffdb"),
        ("nul.srt", "1\n00:00:01,000 --> 00:00:02,000\na\0b\n", "a\ufffdb"),
        ("nul.json", '[{"start": 1, "end": 2, "text": "a\\u0000b"}]', "ab"),
        ("surrogate.json", '[{"start": 1, "end": 2, "text": "a\\ud800b"}]', "a?b"),
        ("reference.vtt", CUE + "&#" + "9" * 5000 + ";\n", "&#" + "9" * 5000 + ";"),
        ("comment.ttml", TT.format("<p begin='1s' end='2s'>a<!-- x --><?y z?>b</p>"), "ab"),
    ],
)
def test_what_a_table_can_hold_stays(name: str, content: str, expected: str) -> None:
    script = parse(name, content)
    assert script is not None
    assert [cue.text for cue in script.cues] == [expected]


LONG = [
    "<",
    "<a",
    "<a>",
    "< ",
    "&",
    "&#",
    "{",
    "{\\",
    "{\\k1}a",
    "-->",
    "a ",
    "a",
    "\n",
    "\n\n",
    "00:",
    "9",
    "\\N",
    "é",
    "[",
    "[00:",
    "[00:01.00]",
    "<00:01.00>",
    "{1}{2}",
    "{1",
    "<sync start=1>",
    "<sync ",
    "<p class=",
    "<!--",
    ",",
    "1,",
    "0:00:01,",
    "- ",
    "a:",
    "a\t",
    "a  ",
    "字",
]


@pytest.mark.parametrize("length", [50_000, pytest.param(200_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("piece", LONG)
def test_long_lines_take_linear_time(piece: str, length: int) -> None:
    long = piece * (length // len(piece))
    for name, content in [
        ("a.vtt", CUE + long),
        ("b.vtt", "WEBVTT\n\n" + long),
        ("c.vtt", CUE + f"<00:01.500>{long}"),
        ("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{long}"),
        ("b.srt", long),
        ("a.ass", f"[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,a,a,0,0,0,,{long}"),
        (
            "a.json3",
            json.dumps({"events": [{"tStartMs": 1, "segs": [{"utf8": long}, {"utf8": "x", "tOffsetMs": 1}]}]}),
        ),
        ("a.txt", long),
        ("b.txt", f"00:01 {long}\n00:02 {long}"),
        ("a.lrc", f"[00:01.00]{long}"),
        ("a.sbv", f"0:00:01.000,0:00:02.000\n{long}"),
        ("a.sub", f"{{1}}{{1}}25\n{{25}}{{50}}{long}"),
        ("b.sub", f"[1][2]{long}"),
        ("a.smi", f"<SAMI><SYNC Start=1000><P Class=A>{long}<SYNC Start=2000>"),
        ("b.smi", f"<SAMI>{long}"),
        ("a.csv", f"start,end,text\n1,2,{long}"),
        ("b.csv", long),
        ("a.json", json.dumps([{"start": 1, "end": 2, "text": long, "words": [{"word": long[::-1], "start": 1}]}])),
        ("b.json", json.dumps([{"start": long, "end": long, "text": "x"}])),
        ("c.json", long),
    ]:
        began = time.process_time()
        parse(name, content)
        assert time.process_time() - began < SECONDS * length / 200_000, name


VALUES: list[Any] = [None, True, -1, 1e999, "", "x", "1", [], {}, [1], [[1]], [{}], {"a": 1}, [None]]
KEYS = "start end text words word content segments events segs utf8 tStartMs tOffsetMs dDurationMs transcription"
KEYS += " offsets from to tokens result language subtitles denoised cleanasr time info duration"
KEYS += " results channels alternatives transcript utterances items type nBest phrases monologues elements ts value"
KEYS += " startTime endTime body chunks timestamp startMs recognizedPhrases id seconds nanos runs snippet"


def random_json(rng: random.Random, depth: int = 4) -> object:
    """Values of all types under the names that parsers look for."""
    if depth == 0 or rng.random() < 0.3:
        return rng.choice([*VALUES, rng.random() * 1e4])
    if rng.random() < 0.4:
        return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {key: random_json(rng, depth - 1) for key in rng.sample(KEYS.split(), rng.randrange(1, 8))}


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_json_of_any_shape_is_read_or_refused(count: int) -> None:
    rng = random.Random(0)
    read = 0
    for _ in range(count):
        value = random_json(rng)
        tops = [
            value,
            {rng.choice(["segments", "events", "transcription", "results", "monologues", "chunks"]): [value]},
            {"results": {rng.choice(["channels", "items", "utterances"]): [value]}},
            [[1, 0, 1.0, 2.0, "x", value]],
            {"recognizedPhrases": [{"offsetInTicks": 1, "nBest": [value]}]},
            {"results": [{"alternatives": [{"transcript": "x", "words": value}]}]},
            [{"start": 1, "end": 2} | {"words": value}],
        ]
        tops += [{"subtitles": [{"word": "a", "time": value}], "denoised": value, "info": value}]
        read += sum(parse("a.json", json.dumps(top)) is not None for top in tops)
    assert read > 2 * count


SEEDS = {
    "a.vtt": CUE + "<v Bob>one<00:01.500><c> two</c> &amp;\n\nNOTE x\n",
    "a.srt": "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<b>one</b>\n\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n",
    "a.ass": "[Events]\nFormat: Start,End,Text\nDialogue: 0:00:01.00,0:00:02.00,{\\k10}one{\\p1}m 0{\\p0}\\Ntwo\n",
    "a.ttml": TT.format("<p begin='1s' end='00:00:02.5'>one<br/><span begin='50f'>two</span></p>"),
    "a.srv3": "<timedtext><body><p t='1' d='9'><s>one</s><s t='5'> two</s></p></body></timedtext>",
    "a.json3": '{"events": [{"tStartMs": 1, "dDurationMs": 9, "segs": [{"utf8": "one", "tOffsetMs": 3}]}]}',
    "a.csv": 'start,end,text\n1,2,"one, two"\n',
    "a.tsv": "start\tend\ttext\n1000\t2000\tone\n",
    "a.sbv": "0:00:01.000,0:00:02.000\none\n",
    "a.lrc": "[ti:x]\n[00:01.00]<00:01.20>one<00:01.50> two\n[00:03.00]\n",
    "a.sub": "{1}{1}25\n{25}{50}one|two\n",
    "a.smi": "<SAMI><BODY><SYNC Start=1000><P Class=EN>one<br>two<SYNC Start=2000><P Class=EN>&nbsp;</BODY></SAMI>",
    "a.txt": "0:01 one two\n0:02 three four\n0:03 five\n",
    "a.json": '{"segments": [{"start": 1, "end": 2, "text": "one", "words": [{"word": "one", "start": 1}]}]}',
}


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SEEDS)
def test_bytes_that_were_changed_are_read_or_refused(name: str, count: int) -> None:
    rng = random.Random(name)
    original = SEEDS[name].encode()
    assert parse(name, original)
    for _ in range(count):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(data))
            change = rng.choice(
                [b"", b"\0", b"<", b">", b"&", b"-->", b"\n", b"9", b":", b"\xff", b"{", b'"', data[:place]]
            )
            data[place : place + rng.randrange(3)] = change
        parse(name, bytes(data))
