"""Times in the unit and from the beginning that their producer counts in, or it is told that they may not be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scriptsight import captions
from scriptsight.captions import Script

CUT, TOAST = "First, we cut the bread.", "Then we toast both sides."
SPANS = [(0.5, 2.1, CUT), (3.0, 5.2, TOAST)]


def read(value: Any, name: str = "a.json", **known: Any) -> Script:
    content = value if isinstance(value, str) else json.dumps(value)
    return captions.parse(content.encode(), name, known=captions.Known(**known))


def spans(script: Script) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for cue in script.cues]


@pytest.mark.parametrize("name", ["a.json", "a.sjson"])
def test_the_lists_of_open_edx_are_milliseconds(name: str) -> None:
    value = {"start": [500, 3000], "end": [2100, 5200], "text": [CUT, TOAST]}
    script = read(value, name)
    assert (spans(script), len(script.doubts)) == (SPANS, 1)
    assert "milliseconds" in script.doubts[0]


def test_the_lists_of_howto100m_are_seconds_however_slowly_it_is_said() -> None:
    value = {"start": [0, 40], "end": [40, 90], "text": ["first we cut the", "bread and toast it"]}
    assert [cue.start for cue in read(value).cues] == [0, 40]
    assert read(value).doubts == ()
    long = {"start": [0, 600], "end": [500, 1100], "text": ["cut the", "bread and"]}
    assert [cue.start for cue in read(long, seconds=1200).cues] == [0, 600]


@pytest.mark.parametrize(
    "value",
    [
        {"paragraphs": [{"cues": [{"time": 500, "text": CUT}]}, {"cues": [{"time": 3000, "text": TOAST}]}]},
        {"captions": [{"startTime": 500, "startOfParagraph": True, "content": CUT, "duration": 1600}]},
    ],
)
def test_ted_counts_milliseconds(value: dict[str, Any]) -> None:
    script = read(value)
    assert (script.cues[0].start, script.cues[-1].text, script.doubts) == (0.5, script.cues[-1].text, ())
    assert [cue.start for cue in script.cues] in ([0.5, 3.0], [0.5])


def test_entries_that_only_begin_say_their_unit_by_the_pace() -> None:
    script = read([{"at": "x", "time": 4000 * i, "text": f"this is what is said as number {i}"} for i in range(5)])
    assert ([cue.start for cue in script.cues], len(script.doubts)) == ([0.0, 4.0, 8.0, 12.0, 16.0], 1)
    assert read([{"time": 4 * i, "text": f"this is what is said as number {i}"} for i in range(5)]).doubts == ()


@pytest.mark.parametrize("name", ["sentences", "paragraphs"])
def test_parts_of_assemblyai_are_milliseconds(name: str) -> None:
    words = [{"text": "First,", "start": 500, "end": 800, "confidence": 0.9}]
    script = read({"id": "x", name: [{"text": CUT, "start": 500, "end": 2100, "words": words}]})
    assert (spans(script), script.doubts) == (SPANS[:1], ())


def test_what_was_heard_before_it_was_mended_is_no_doubt() -> None:
    segments = [{"start": start, "end": end, "text": text} for start, end, text in SPANS]
    script = read({"ori_dict": {"segments": [{"start": 0, "end": 2, "text": "wrong"}]}, "segments": segments})
    assert (spans(script), script.doubts) == (SPANS, ())


@pytest.mark.parametrize("zero", [{}, {"startTime": {}}, {"startTime": ""}])
def test_a_beginning_of_zero_that_protobuf_leaves_out_is_zero(zero: dict[str, Any]) -> None:
    words = [{"endTime": "0.4s", "word": "we", **zero}, {"startTime": "0.4s", "endTime": "0.9s", "word": "cut"}]
    script = read({"results": [{"alternatives": [{"transcript": "we cut", "words": words}]}]})
    assert [word.start for word in script.cues[0].words or ()] == [0.0, 0.4]


def chunks(*times: tuple[float, float | None]) -> dict[str, Any]:
    return {"text": "x", "chunks": [{"text": f"part {i}", "timestamp": list(time)} for i, time in enumerate(times)]}


def test_times_that_start_again_in_each_window_are_put_one_after_the_other() -> None:
    script = read(chunks((25.0, 29.0), (0.0, 3.0), (28.0, None), (1.0, 2.0)))
    assert [(cue.start, cue.text) for cue in script.cues] == [
        (25.0, "part 0"),
        (30.0, "part 1"),
        (58.0, "part 2"),
        (61.0, "part 3"),
    ]
    assert "start again 2 times" in script.doubts[0]


def test_times_that_go_on_are_left_as_they_are() -> None:
    script = read(chunks((25.0, 29.0), (28.0, 31.0), (31.0, 40.0)))
    assert ([cue.start for cue in script.cues], script.doubts) == ([25.0, 28.0, 31.0], ())


def test_the_video_indexer_says_a_line_in_each_of_its_instances() -> None:
    def line(text: str, *times: tuple[str, str]) -> dict[str, Any]:
        instances = [{"start": start, "end": end, "adjustedStart": "9:00:00"} for start, end in times]
        return {"id": 1, "text": text, "confidence": 0.9, "language": "en-US", "instances": instances}

    lines = [line(CUT, ("0:00:00.5", "0:00:02.1")), line(TOAST, ("0:00:03", "0:00:05.2"), ("0:00:07", "0:00:09"))]
    insights = {"transcript": lines, "ocr": [line("a sign", ("0:00:01", "0:00:02"))]}
    script = read({"videos": [{"insights": insights}]})
    assert (spans(script), script.doubts) == ([*SPANS, (7.0, 9.0, TOAST)], ())
    assert "2 videos" in read({"videos": [{"insights": insights}] * 2}).doubts[0]


def test_kaltura_has_lines_of_content() -> None:
    value = {"objects": [{"startTime": 500, "endTime": 2100, "content": [{"text": "First, we"}, {"text": "cut"}]}]}
    assert spans(read(value)) == [(0.5, 2.1, "First, we cut")]


def test_live_answers_of_deepgram_are_read_where_they_are_final() -> None:
    def answer(start: float, end: float, text: str, final: bool) -> dict[str, Any]:
        words = [{"word": "x", "start": start, "end": end}]
        channel = {"alternatives": [{"transcript": text, "words": words}]}
        return {"start": start, "duration": end - start, "is_final": final, "channel": channel}

    script = read([answer(0.5, 1.0, "First", False), *(answer(*one, True) for one in SPANS)])
    assert ([cue.text for cue in script.cues], script.doubts) == ([CUT, TOAST], ())


# ------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "header",
    [
        'Number,Start time in milliseconds,End time in milliseconds,"Text"',
        "Number,Start (ms),End (ms),Text",
        "id,start_msec,end_msec,text",
        "id,begin_ms,stop_ms,caption",
    ],
)
def test_columns_say_their_unit(header: str) -> None:
    rows = "".join(
        f'{i},{start * 1000:.0f},{end * 1000:.0f},"{text}"\n' for i, (start, end, text) in enumerate(SPANS)
    )
    script = read(f"{header}\n{rows}", "a.csv")
    assert (spans(script), script.doubts) == (SPANS, ())


def test_columns_of_times_in_another_language_are_told() -> None:
    rows = "".join(f'{start},{end},"{text}"\n' for start, end, text in SPANS)
    with pytest.raises(captions.CaptionError, match=r"a\.csv.*Startzeit.*name those of times and text"):
        read("Startzeit,Endzeit,Text\n" + rows, "a.csv")
    with pytest.raises(captions.NotCaptions):
        read('views,likes,Text\n3,4,"a title of four words"\n', "a.csv")


def test_a_number_before_start_and_end_is_no_time() -> None:
    rows = "".join(f'{i},{start},{end},"{text}"\n' for i, (start, end, text) in enumerate(SPANS, 1))
    assert spans(read(rows, "a.csv")) == SPANS


# ------------------------------------------------------------------------------------------------- lyrics


def test_lyrics_with_three_numbers_are_hundredths_where_nobody_sings_so_slowly() -> None:
    script = read(f"[00:00:50]{CUT}\n[00:03:00]{TOAST}\n[00:06:00]\n", "a.lrc")
    assert ([cue.start for cue in script.cues], len(script.doubts)) == ([0.5, 3.0], 1)
    hours = read(f"[00:00:01]{CUT}\n[00:00:05]{TOAST}\n[00:01:06]{CUT}\n", "a.lrc")
    assert ([cue.start for cue in hours.cues], hours.doubts) == ([1.0, 5.0, 66.0], ())


# ------------------------------------------------------------------------------------------------- XML


def ttml(body: str, attributes: str) -> str:
    names = 'xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter"'
    return f"<tt {names} {attributes}><body>{body}</body></tt>"


@pytest.mark.parametrize(
    ("rate", "multiplier", "mode", "code", "expected"),
    [
        ("30", "1000 1001", "nonDrop", "01:00:00:00", 3603.6),
        ("24", "1000 1001", "nonDrop", "01:00:00:12", 3604.1005),
        ("30", "1000 1001", "dropNTSC", "01:00:00:00", 3599.9964),
        ("30", "1000 1001", "dropNTSC", "00:01:00:02", 60.06),
        ("25", "1 1", "nonDrop", "01:00:00:05", 3600.2),
        ("30", "1 1", "nonDrop", "10:00:00:15", 36000.5),
    ],
)
def test_time_codes_count_frames(rate: str, multiplier: str, mode: str, code: str, expected: float) -> None:
    attributes = f'ttp:timeBase="smpte" ttp:frameRate="{rate}" ttp:frameRateMultiplier="{multiplier}"'
    text = ttml(f'<div><p begin="{code}" dur="2s">{CUT}</p></div>', f'{attributes} ttp:dropMode="{mode}"')
    assert read(text, "a.ttml").cues[0].start == pytest.approx(expected, abs=1e-4)


def test_media_time_counts_seconds_whatever_its_frames_last() -> None:
    attributes = 'ttp:timeBase="media" ttp:frameRate="30" ttp:frameRateMultiplier="1000 1001"'
    text = ttml(f'<div><p begin="01:00:00:00" dur="2s">{CUT}</p></div>', attributes)
    assert read(text, "a.ttml").cues[0].start == 3600.0


LYRICS = (
    '<div begin="0.500" end="5.200"><p begin="0.500" end="2.100"><span begin="0.500" end="0.8">First,</span> '
    '<span begin="0.8" end="2.1">we</span></p><p begin="3.000" end="5.200"><span begin="3" end="3.3">Then</span> '
    '<span begin="3.3" end="5.2">we</span></p></div>'
)


def test_lyrics_of_apple_count_from_the_beginning_of_all() -> None:
    script = read(ttml(LYRICS, 'xmlns:i="http://music.apple.com/lyric-ttml-internal"'), "a.ttml")
    assert (spans(script), script.doubts) == ([(0.5, 2.1, "First, we"), (3.0, 5.2, "Then we")], ())
    assert [word.start for cue in script.cues for word in cue.words or ()] == [0.5, 0.8, 3.0, 3.3]
    assert len(read(ttml(LYRICS, ""), "a.ttml").doubts) == 1


def test_nested_times_that_fit_into_what_they_are_in_add_up() -> None:
    body = f'<div begin="5s" end="20s"><p begin="6s" end="8s">{CUT}</p><p begin="9s" end="11s">{TOAST}</p></div>'
    script = read(ttml(body, ""), "a.ttml")
    assert (spans(script), script.doubts) == ([(11.0, 13.0, CUT), (14.0, 16.0, TOAST)], ())


@pytest.mark.parametrize(
    ("name", "root"),
    [("a.xml", "ANNOTATION_DOCUMENT"), ("a.eaf", "ANNOTATION_DOCUMENT"), ("a.xml", "basic-transcription")],
)
def test_transcripts_of_linguists_are_told(name: str, root: str) -> None:
    with pytest.raises(captions.CaptionError, match=r"a transcript of E.*not read here"):
        read(f'<?xml version="1.0"?><{root}><VALUE>{CUT}</VALUE></{root}>', name)
