"""Cues written in every format that is read, as its producers write it, come back: the same texts, times within the
format's resolution, and the times of words where the format has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scriptsight import captions
from scriptsight.captions.script import Script
from scriptsight.catalogue import Cue, Word

VOCABULARY = [
    "first",
    "we",
    "cut",
    "the",
    "bread",
    "naïve",
    "für",
    "3 loaves",
    "хлеб",
    "ψωμί",
    "الخبز",
    "빵을",
    "don't",
]
VOCABULARY += ["R&D", "well-done", "2016", "čerstvý", "ñandú", "it’s", "first,", "half."]  # noqa: RUF001
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
LINE_ENDS = ["\n", "\r\n", "\r", "\r\r\n"]

deterministic = settings(
    derandomize=True, max_examples=12, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def scripts(draw: st.DrawFn) -> list[Cue]:
    """Cues one after the other at a speaker's pace, in whole hundredths of a second, of words that follow closely."""
    cues = []
    now = draw(st.integers(0, 400)) * 10
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.integers(0, 300)) * 10
        words = []
        for text in draw(st.lists(st.sampled_from(VOCABULARY), min_size=2, max_size=6)):
            length = draw(st.integers(15, 50)) * 10
            words += [
                Word((now + i * 10) / 1000, (now + i * 10 + 10) / 1000, part) for i, part in enumerate(text.split())
            ]
            words[-1] = Word(words[-1].start, (now + length) / 1000, words[-1].text)
            if len(text.split()) == 2:
                words[-2] = Word(words[-2].start, words[-1].start, words[-2].text)
            now += length
        cues.append(Cue(words[0].start, words[-1].end, " ".join(word.text for word in words), tuple(words)))
    return cues


def words_of(cue: Cue) -> tuple[Word, ...]:
    assert cue.words is not None
    return cue.words


def stamp(time: float, digits: int = 3, sign: str = ".", hours: bool = True) -> str:
    """00:00:01.500"""
    units = round(time * 10**digits)
    whole, rest = divmod(units, 10**digits)
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}{sign}{rest:0{digits}d}"
    return f"{whole // 3600:02d}:{minutes}" if hours or whole >= 3600 else minutes


# ------------------------------------------------------------------------------------------------ formats of lines


def srt(cues: list[Cue], sign: str = ",", first: int | None = 1, blank: str = "\n", hours: bool = True) -> str:
    entries = []
    for i, cue in enumerate(cues):
        number = "" if first is None else f"{first + i}\n"
        times = f"{stamp(cue.start, 3, sign, hours)} --> {stamp(cue.end, 3, sign, hours)}"
        entries.append(f"{number}{times}\n{cue.text}\n")
    return blank.join(entries)


def vtt(cues: list[Cue]) -> str:
    return "WEBVTT\n\n" + "\n".join(
        f"{stamp(cue.start)} --> {stamp(cue.end)} align:start\n{escape(cue.text, quote=False)}\n" for cue in cues
    )


def vtt_words(cues: list[Cue]) -> str:
    lines = []
    for cue in cues:
        first, *rest = words_of(cue)
        said = escape(first.text, quote=False)
        said += "".join(f"<{stamp(word.start)}><c> {escape(word.text, quote=False)}</c>" for word in rest)
        lines.append(f"{stamp(cue.start)} --> {stamp(cue.end)}\n{said}\n")
    return "WEBVTT\nKind: captions\nLanguage: en\n\n" + "\n".join(lines)


def sbv(cues: list[Cue]) -> str:
    return "\n".join(f"{stamp(c.start)[1:]},{stamp(c.end)[1:]}\n{c.text}\n" for c in cues)


def subviewer(cues: list[Cue]) -> str:
    header = "[INFORMATION]\n[TITLE]a talk\n[END INFORMATION]\n[SUBTITLE]\n[COLF]&HFFFFFF,[STYLE]bd,[SIZE]18\n"
    lines = [f"{stamp(c.start, 2)},{stamp(c.end, 2)}\n{c.text.replace(' ', '[br]', 1)}\n" for c in cues]
    return header + "\n".join(lines)


def microdvd(cues: list[Cue]) -> str:
    lines = [f"{{{round(c.start * 100)}}}{{{round(c.end * 100)}}}{{y:i}}{c.text.replace(' ', '|', 1)}" for c in cues]
    return "\n".join(["{1}{1}100", *lines])


def mpl2(cues: list[Cue]) -> str:
    return "\n".join(f"[{round(c.start * 10)}][{round(c.end * 10)}]/{c.text}" for c in cues)


def lrc(cues: list[Cue]) -> str:
    lines = [f"[{stamp(c.start, 2, hours=False)}]{c.text}\n[{stamp(c.end, 2, hours=False)}]" for c in cues]
    return "\n".join(["[ar:someone]", "[ti:a talk]", "[length: 03:12]", *lines])


def lrc_words(cues: list[Cue]) -> str:
    lines = []
    for cue in cues:
        said = " ".join(f"<{stamp(word.start, 2, hours=False)}>{word.text}" for word in words_of(cue))
        lines.append(f"[{stamp(cue.start, 2, hours=False)}]{said}<{stamp(cue.end, 2, hours=False)}>")
    return "\n".join(["[offset:0]", *lines])


def sami(cues: list[Cue]) -> str:
    syncs = [
        f"<SYNC Start={round(c.start * 1000)}><P Class=ENCC>{escape(c.text, quote=False)}<br>\n"
        f"<SYNC Start={round(c.end * 1000)}><P Class=ENCC>&nbsp;\n"
        for c in cues
    ]
    style = "<STYLE TYPE='text/css'><!--\nP {color: white}\n.ENCC {Name: English; lang: en-US;}\n--></STYLE>"
    return f"<SAMI>\n<HEAD><TITLE>x</TITLE>{style}</HEAD>\n<BODY>\n{''.join(syncs)}</BODY>\n</SAMI>"


def ass(cues: list[Cue]) -> str:
    lines = [f"Dialogue: 0,{stamp(c.start, 2)[1:]},{stamp(c.end, 2)[1:]},Default,,0,0,0,,{c.text}" for c in cues]
    columns = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
    return "\n".join(["[Script Info]", "Title: x", "", "[Events]", f"Format: {columns}", *lines])


def ass_words(cues: list[Cue]) -> str:
    lines = []
    for cue in cues:
        said = " ".join(f"{{\\k{round((w.end - w.start) * 100)}}}{w.text}" for w in words_of(cue))
        lines.append(f"Dialogue: {stamp(cue.start, 2)[1:]},{stamp(cue.end, 2)[1:]},{said}")
    return "\n".join(["[Events]", "Format: Start, End, Text", *lines])


def ttml(cues: list[Cue], time: Callable[[float], str], head: str = "") -> str:
    said = "".join(
        f'<p begin="{time(c.start)}" end="{time(c.end)}">{escape(c.text, quote=False).replace(" ", "<br/>", 1)}</p>'
        for c in cues
    )
    names = 'xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" xml:lang="en"'
    return f"<tt {names} {head}><body><div>{said}</div></body></tt>"


def srv1(cues: list[Cue]) -> str:
    texts = (f'<text start="{c.start}" dur="{c.end - c.start:.3f}">{escape(escape(c.text))}</text>' for c in cues)
    return f"<transcript>{''.join(texts)}</transcript>"


def srv3(cues: list[Cue]) -> str:
    paragraphs = []
    for cue in cues:
        first, *rest = words_of(cue)
        said = f"<s>{escape(first.text)}</s>"
        said += "".join(f'<s t="{round((w.start - cue.start) * 1000)}"> {escape(w.text)}</s>' for w in rest)
        times = f't="{round(cue.start * 1000)}" d="{round((cue.end - cue.start) * 1000)}"'
        paragraphs.append(f"<p {times}>{said}</p>")
    return f'<timedtext format="3"><body>{"".join(paragraphs)}</body></timedtext>'


def csv_of(cues: list[Cue], sign: str = ",") -> str:
    names, empty = sign.join(["", "start", "end", "text"]), ""
    return "\n".join([names, *(sign.join([empty, str(c.start), str(c.end), f'"{c.text}"']) for c in cues)])


def tsv(cues: list[Cue]) -> str:
    rows = [f"{round(c.start * 1000)}\t{round(c.end * 1000)}\t{c.text}" for c in cues]
    return "\n".join(["start\tend\ttext", *rows])


def labels(cues: list[Cue]) -> str:
    return "\n".join(f"{c.start:.6f}\t{c.end:.6f}\t{c.text}" for c in cues)


# ---------------------------------------------------------------------------------------------------------- JSON


def pieces(cue: Cue, space: str = " ", **names: str) -> list[dict[str, Any]]:
    """Words as a recogniser lists them, under its own names."""
    text, start, end = names.get("text", "word"), names.get("start", "start"), names.get("end", "end")
    return [{text: space + word.text, start: word.start, end: word.end, "probability": 0.9} for word in words_of(cue)]


def whisper(cues: list[Cue], **names: str) -> Any:
    segments = [
        {"id": i, "seek": 0, "start": c.start, "end": c.end, "text": f" {c.text}", "words": pieces(c, **names)}
        for i, c in enumerate(cues)
    ]
    return {"text": " ".join(c.text for c in cues), "segments": segments, "language": "english"}


def listed(cues: list[Cue], start: str, end: str, text: str, unit: float = 1.0, length: bool = False) -> list[Any]:
    """Entries under these names, in units of so many seconds."""

    def number(time: float) -> Any:
        return time if unit == 1.0 else round(time / unit)

    return [{start: number(c.start), end: number(c.end - c.start * length), text: c.text} for c in cues]


def tuples(cues: list[Cue]) -> Any:
    return [
        [
            i,
            0,
            c.start,
            c.end,
            f" {c.text}",
            [50364, 1],
            0.0,
            -0.2,
            1.1,
            0.01,
            [[w.start, w.end, f" {w.text}", 0.9] for w in words_of(c)],
        ]
        for i, c in enumerate(cues)
    ]


def cpp(cues: list[Cue]) -> Any:
    def offsets(start: float, end: float) -> dict[str, int]:
        return {"from": round(start * 1000), "to": round(end * 1000)}

    items = [
        {
            "timestamps": {"from": stamp(c.start, 3, ","), "to": stamp(c.end, 3, ",")},
            "offsets": offsets(c.start, c.end),
            "text": f" {c.text}",
            "tokens": [{"text": f" {w.text}", "offsets": offsets(w.start, w.end)} for w in words_of(c)],
        }
        for c in cues
    ]
    return {"systeminfo": "x", "result": {"language": "en"}, "transcription": items}


def openai(cues: list[Cue]) -> Any:
    words = [{"word": w.text, "start": w.start, "end": w.end} for c in cues for w in words_of(c)]
    return {"task": "transcribe", "language": "english", "text": " ".join(c.text for c in cues), "words": words}


def openai_both(cues: list[Cue]) -> Any:
    return openai(cues) | {"segments": listed(cues, "start", "end", "text")}


def chunks(cues: list[Cue]) -> Any:
    items = [{"text": f" {c.text}", "timestamp": [c.start, c.end]} for c in cues]
    return {"text": " ".join(c.text for c in cues), "chunks": items}


def chunk_words(cues: list[Cue]) -> Any:
    items = [{"text": f" {w.text}", "timestamp": [w.start, w.end]} for c in cues for w in words_of(c)]
    return {"text": " ".join(c.text for c in cues), "chunks": items}


def deepgram(cues: list[Cue], utterances: bool = False) -> Any:
    words = [
        {"word": w.text.lower().strip(",."), "start": w.start, "end": w.end, "punctuated_word": w.text}
        for c in cues
        for w in words_of(c)
    ]
    alternative = {"transcript": " ".join(c.text for c in cues), "confidence": 1.0, "words": words}
    results: dict[str, Any] = {"channels": [{"alternatives": [alternative]}]}
    if utterances:
        results["utterances"] = [
            {"start": c.start, "end": c.end, "transcript": c.text, "channel": 0, "words": []} for c in cues
        ]
    return {"metadata": {"duration": cues[-1].end}, "results": results}


def assemblyai(cues: list[Cue], utterances: bool = True) -> Any:
    def entry(start: float, end: float, text: str) -> dict[str, Any]:
        return {
            "text": text,
            "start": round(start * 1000),
            "end": round(end * 1000),
            "confidence": 0.9,
            "speaker": "A",
        }

    words = [[entry(w.start, w.end, w.text) for w in words_of(c)] for c in cues]
    spoken = [entry(c.start, c.end, c.text) | {"words": own} for c, own in zip(cues, words, strict=True)]
    text = " ".join(c.text for c in cues)
    return {
        "id": "x",
        "status": "completed",
        "text": text,
        "words": [word for own in words for word in own],
        "utterances": spoken if utterances else None,
    }


def aws(cues: list[Cue]) -> Any:
    items: list[dict[str, Any]] = []
    for word in (word for cue in cues for word in words_of(cue)):
        bare = word.text.rstrip(",.")
        spoken = {"start_time": str(word.start), "end_time": str(word.end), "type": "pronunciation"}
        items.append(spoken | {"alternatives": [{"confidence": "0.9", "content": bare}]})
        if bare != word.text:
            signs = word.text[len(bare) :]
            items.append({"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": signs}]})
    text = " ".join(c.text for c in cues)
    results = {"language_code": "en-US", "transcripts": [{"transcript": text}], "items": items}
    return {"jobName": "x", "status": "COMPLETED", "results": results}


def speechmatics(cues: list[Cue]) -> Any:
    items = [
        {
            "type": "word",
            "start_time": w.start,
            "end_time": w.end,
            "alternatives": [{"content": w.text, "language": "en"}],
        }
        for c in cues
        for w in words_of(c)
    ]
    return {"format": "2.9", "metadata": {}, "results": items}


def google(cues: list[Cue], snake: bool = False) -> Any:
    def time(value: float) -> Any:
        units = round(value * 1000)
        return {"seconds": str(units // 1000), "nanos": units % 1000 * 1_000_000} if snake else f"{value:.3f}s"

    start, end, result = (
        ("start_time", "end_time", "result_end_time") if snake else ("startTime", "endTime", "resultEndTime")
    )
    results = []
    for cue in cues:
        words = [{start: time(w.start), end: time(w.end), "word": w.text} for w in words_of(cue)]
        results.append({"alternatives": [{"transcript": f" {cue.text}", "words": words}], result: time(cue.end)})
    return {"results": results}


def azure_batch(cues: list[Cue]) -> Any:
    phrases = [
        {
            "recognitionStatus": "Success",
            "offset": f"PT{c.start:.2f}S",
            "duration": f"PT{c.end - c.start:.2f}S",
            "offsetInTicks": round(c.start * 1e7),
            "durationInTicks": round((c.end - c.start) * 1e7),
            "nBest": [{"confidence": 0.9, "lexical": c.text.lower(), "display": c.text}],
        }
        for c in cues
    ]
    return {"source": "x", "combinedRecognizedPhrases": [{"display": "x"}], "recognizedPhrases": phrases}


def azure_detailed(cues: list[Cue]) -> Any:
    def ticks(start: float, end: float) -> dict[str, int]:
        return {"Offset": round(start * 1e7), "Duration": round((end - start) * 1e7)}

    return [
        {"RecognitionStatus": "Success", "DisplayText": c.text, **ticks(c.start, c.end)}
        | {"NBest": [{"Display": c.text, "Words": [{"Word": w.text, **ticks(w.start, w.end)} for w in words_of(c)]}]}
        for c in cues
    ]


def azure_fast(cues: list[Cue]) -> Any:
    def times(start: float, end: float) -> dict[str, int]:
        return {"offsetMilliseconds": round(start * 1000), "durationMilliseconds": round((end - start) * 1000)}

    phrases = [
        {"text": c.text, **times(c.start, c.end), "locale": "en-US"}
        | {"words": [{"text": w.text, **times(w.start, w.end)} for w in words_of(c)]}
        for c in cues
    ]
    return {"durationMilliseconds": 1, "combinedPhrases": [{"text": "x"}], "phrases": phrases}


def vosk(cues: list[Cue]) -> Any:
    words = [[{"conf": 1.0, "start": w.start, "end": w.end, "word": w.text} for w in words_of(c)] for c in cues]
    return [{"result": own, "text": c.text} for c, own in zip(cues, words, strict=True)]


def premiere(cues: list[Cue]) -> Any:
    segments = [
        {
            "start": c.start,
            "duration": round(c.end - c.start, 3),
            "speaker": "a",
            "words": [
                {"text": w.text, "start": w.start, "duration": round(w.end - w.start, 3), "type": "word"}
                for w in words_of(c)
            ],
        }
        for c in cues
    ]
    return {"language": "en-us", "segments": segments, "speakers": [{"id": "a", "name": "one"}]}


def rev(cues: list[Cue]) -> Any:
    monologues = []
    for cue in cues:
        elements: list[dict[str, Any]] = []
        for word in words_of(cue):
            elements += [
                {"type": "text", "value": word.text, "ts": word.start, "end_ts": word.end, "confidence": 0.9}
            ]
            elements += [{"type": "punct", "value": " "}]
        monologues.append({"speaker": 0, "elements": elements})
    return {"monologues": monologues}


def watson(cues: list[Cue]) -> Any:
    results = []
    for cue in cues:
        times = [[w.text, w.start, w.end] for w in words_of(cue)]
        results.append({"final": True, "alternatives": [{"transcript": f"{cue.text} ", "timestamps": times}]})
    return {"result_index": 0, "results": results}


def elevenlabs(cues: list[Cue]) -> Any:
    words: list[dict[str, Any]] = []
    for word in (word for cue in cues for word in words_of(cue)):
        words.append({"text": word.text, "start": word.start, "end": word.end, "type": "word"})
        words.append({"text": " ", "start": word.end, "end": word.end, "type": "spacing"})
    return {"language_code": "eng", "text": " ".join(c.text for c in cues), "words": words}


def youtube_page(cues: list[Cue]) -> Any:
    segments = [
        {
            "transcriptSegmentRenderer": {
                "startMs": str(round(c.start * 1000)),
                "endMs": str(round(c.end * 1000)),
                "snippet": {"runs": [{"text": c.text}]},
                "startTimeText": {"simpleText": "0:00"},
            }
        }
        for c in cues
    ]
    return {"actions": [{"content": {"body": {"initialSegments": segments}}}]}


def json3(cues: list[Cue]) -> Any:
    events = []
    for cue in cues:
        segments = [
            {"utf8": (" " if i else "") + w.text, "tOffsetMs": round((w.start - cue.start) * 1000)}
            for i, w in enumerate(words_of(cue))
        ]
        events.append(
            {
                "tStartMs": round(cue.start * 1000),
                "dDurationMs": round((cue.end - cue.start) * 1000),
                "segs": segments,
            }
        )
    return {"wireMagic": "pb3", "events": events}


def parallel(cues: list[Cue]) -> Any:
    return {"start": [c.start for c in cues], "end": [c.end for c in cues], "text": [c.text for c in cues]}


def video2dataset(cues: list[Cue]) -> Any:
    return [{"start": stamp(c.start), "end": stamp(c.end), "lines": [c.text]} for c in cues]


# -------------------------------------------------------------------------------------------------------- the tests

# Suffix, writer, resolution of times in seconds, whether words have times (their ends, too).
LINES: dict[str, tuple[str, Callable[[list[Cue]], str], float, bool]] = {
    "SubRip": (".srt", srt, 0.001, False),
    "SubRip with points, from 0": (".srt", lambda cues: srt(cues, ".", 0), 0.001, False),
    "SubRip without hours": (".srt", lambda cues: srt(cues, ",", 1, "\n", False), 0.001, False),
    "SubRip without numbers": (".srt", lambda cues: srt(cues, ",", None), 0.001, False),
    "SubRip without blank lines": (".srt", lambda cues: srt(cues, ",", 1, ""), 0.001, False),
    "SubRip in .txt": (".txt", srt, 0.001, False),
    "SubRip in .vtt": (".vtt", srt, 0.001, False),
    "WebVTT": (".vtt", vtt, 0.001, False),
    "WebVTT in .srt": (".srt", vtt, 0.001, False),
    "WebVTT of words": (".vtt", vtt_words, 0.001, True),
    "SBV": (".sbv", sbv, 0.001, False),
    "SBV in .txt": (".txt", sbv, 0.001, False),
    "SubViewer": (".sub", subviewer, 0.01, False),
    "MicroDVD": (".sub", microdvd, 0.01, False),
    "MPL2": (".txt", mpl2, 0.1, False),
    "LRC": (".lrc", lrc, 0.01, False),
    "LRC of words": (".lrc", lrc_words, 0.01, True),
    "SAMI": (".smi", sami, 0.001, False),
    "SAMI in .srt": (".srt", sami, 0.001, False),
    "ASS": (".ass", ass, 0.01, False),
    "ASS of words": (".ass", ass_words, 0.01, True),
    "TTML": (".ttml", lambda cues: ttml(cues, stamp), 0.001, False),
    "TTML in .xml": (".xml", lambda cues: ttml(cues, lambda t: f"{t}s"), 0.001, False),
    "TTML in milliseconds": (".dfxp", lambda cues: ttml(cues, lambda t: f"{round(t * 1000)}ms"), 0.001, False),
    "TTML in bare seconds": (".ttml", lambda cues: ttml(cues, str), 0.001, False),
    "TTML in frames": (
        ".ttml",
        lambda cues: ttml(
            cues, lambda t: f"00:{int(t) // 60:02d}:{int(t) % 60:02d}:{round(t % 1 * 25):02d}", 'ttp:frameRate="25"'
        ),
        0.04,
        False,
    ),
    "TTML in ticks": (
        ".itt",
        lambda cues: ttml(cues, lambda t: f"{round(t * 1e7)}t", 'ttp:tickRate="10000000"'),
        0.001,
        False,
    ),
    "srv1": (".srv1", srv1, 0.001, False),
    "srv3": (".srv3", srv3, 0.001, True),
    "CSV": (".csv", csv_of, 0.001, False),
    "CSV with semicolons": (".csv", lambda cues: csv_of(cues, ";"), 0.001, False),
    "TSV": (".tsv", tsv, 0.001, False),
    "labels": (".txt", labels, 0.001, False),
}
JSON: dict[str, tuple[Callable[[list[Cue]], Any], bool]] = {
    "Whisper": (whisper, True),
    "whisper-timestamped": (lambda cues: whisper(cues, text="text"), True),
    "start_time, end_time": (lambda cues: whisper(cues, start="start_time", end="end_time"), True),
    "faster-whisper's tuples": (tuples, True),
    "whisper.cpp": (cpp, True),
    "OpenAI with both": (openai_both, True),
    "Hugging Face": (chunks, False),
    "youtube-transcript-api": (lambda cues: listed(cues, "start", "duration", "text", length=True), False),
    "its snippets": (lambda cues: {"snippets": listed(cues, "start", "duration", "text", length=True)}, False),
    "offset and duration": (lambda cues: listed(cues, "offset", "duration", "text", 1e-3, length=True), False),
    "Deepgram's utterances": (lambda cues: deepgram(cues, utterances=True), True),
    "AssemblyAI": (assemblyai, True),
    "Google": (google, True),
    "Google in snake case": (lambda cues: google(cues, snake=True), True),
    "Azure's batch": (azure_batch, False),
    "Azure's details": (azure_detailed, True),
    "Azure's fast transcription": (azure_fast, True),
    "Vosk": (vosk, True),
    "podcasts": (lambda cues: {"version": "1.0.0", "segments": listed(cues, "startTime", "endTime", "body")}, False),
    "Premiere": (premiere, True),
    "Watson": (watson, True),
    "YouTube's pages": (youtube_page, False),
    "json3": (json3, True),
    "HowTo100M": (parallel, False),
    "video2dataset": (video2dataset, False),
    "stop": (lambda cues: listed(cues, "start", "stop", "text", 1e-3), False),
    "hundredths of a second": (lambda cues: listed(cues, "t0", "t1", "text", 1e-2), False),
    "milliseconds": (lambda cues: {"segments": listed(cues, "start", "end", "text", 1e-3)}, False),
    "nanoseconds": (lambda cues: listed(cues, "start_ns", "end_ns", "text", 1e-9), False),
    "TED": (lambda cues: {"captions": listed(cues, "startTime", "duration", "content", 1e-3, length=True)}, False),
    "Bilibili": (lambda cues: {"font_size": 0.4, "body": listed(cues, "from", "to", "content")}, False),
}
WORDS_ALONE: dict[str, Callable[[list[Cue]], Any]] = {
    "OpenAI": openai,
    "Hugging Face": chunk_words,
    "Deepgram": deepgram,
    "AssemblyAI": lambda cues: assemblyai(cues, utterances=False),
    "AWS": aws,
    "Speechmatics": speechmatics,
    "Rev": rev,
    "ElevenLabs": elevenlabs,
}


def check(script: Script, cues: list[Cue], resolution: float, spoken: bool) -> None:
    assert script.dropped == 0
    assert [cue.text for cue in script.cues] == [cue.text for cue in cues]
    for read, written in zip(script.cues, cues, strict=True):
        assert (read.start, read.end) == pytest.approx((written.start, written.end), abs=resolution)
        assert (read.words is not None) == spoken
        if read.words:
            assert [word.text for word in read.words] == [word.text for word in words_of(written)]
            for said, word in zip(read.words, words_of(written), strict=True):
                assert said.start == pytest.approx(word.start, abs=resolution + 1e-6)
            assert all(one.start <= one.end <= other.start + resolution for one, other in pairwise(read.words))


@pytest.mark.parametrize("name", LINES)
@deterministic
@given(cues=scripts(), encoding=st.sampled_from(ENCODINGS), end=st.sampled_from(LINE_ENDS))
def test_formats_of_lines_come_back(name: str, cues: list[Cue], encoding: str, end: str) -> None:
    suffix, write, resolution, spoken = LINES[name]
    script = captions.parse(write(cues).replace("\n", end).encode(encoding), "a" + suffix)
    check(script, cues, resolution, spoken)
    assert len(script.doubts) == (name == "labels")  # which may be those of anything


@pytest.mark.parametrize("name", JSON)
@deterministic
@given(cues=scripts(), encoding=st.sampled_from(ENCODINGS), form=st.sampled_from(["json", "srt", "txt"]))
def test_entries_in_json_come_back(name: str, cues: list[Cue], encoding: str, form: str) -> None:
    write, spoken = JSON[name]
    text = json.dumps(write(cues), ensure_ascii=False, indent=1 if form == "txt" else None)
    script = captions.parse(text.encode(encoding), f"a.{form}")
    check(script, cues, 0.001, spoken)


@pytest.mark.parametrize("name", WORDS_ALONE)
@deterministic
@given(cues=scripts())
def test_words_without_entries_are_made_sentences(name: str, cues: list[Cue]) -> None:
    assume(sum(len(words_of(cue)) for cue in cues) > 2)  # two chunks of a word each may be entries
    script = captions.parse(json.dumps(WORDS_ALONE[name](cues)).encode(), "a.json")
    said = [word for cue in script.cues for word in words_of(cue)]
    assert said == [word for cue in cues for word in words_of(cue)]
    assert " ".join(cue.text for cue in script.cues) == " ".join(cue.text for cue in cues)
    assert (script.dropped, script.doubts) == (0, ())


@deterministic
@given(cues=scripts(), form=st.sampled_from(["plain", "lines"]))
def test_values_one_after_the_other_are_a_list(cues: list[Cue], form: str) -> None:
    values = [json.dumps(value, indent=2 if form == "plain" else None) for value in vosk(cues)]
    check(captions.parse("\n".join(values).encode(), "a.json"), cues, 0.001, True)
