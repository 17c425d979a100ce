"""What recognisers, players and services call the start, the end, the text and the words of an entry, and how they
write a time. Names are compared without case, `_`, `-`, brackets and spaces: `start_time` and `Start Time` are one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from scriptsight.captions.script import clock, seconds

Names: TypeAlias = Mapping[str, float | None]  # a name and its unit in seconds, None where the file has one for all

MILLISECOND, MICROSECOND, TICK, NANOSECOND = 1e-3, 1e-6, 1e-7, 1e-9


def _with_units(*names: str) -> dict[str, float]:
    """Names that end with their unit, as `start_ms`, `End time in milliseconds` and `Duration (s)`."""
    return {
        f"{name}{into}{unit}": size for name in names for into in ("", "in") for unit, size in _UNIT_NAMES.items()
    }


_UNIT_NAMES = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisec", "millisecs", "millisecond"), MILLISECOND),
    **dict.fromkeys(("milliseconds", "milisecond", "miliseconds"), MILLISECOND),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("us", "micros", "microseconds"), MICROSECOND),
    **dict.fromkeys(("ns", "nanos", "nanoseconds"), NANOSECOND),
    "ticks": TICK,
}

# Those that say more come first.
STARTS: Names = {
    **_with_units("start", "starttime", "begin", "begintime", "startoffset", "timestart", "audiostart"),
    **dict.fromkeys(("startms", "starttimems", "startmillis", "startmilliseconds", "startoffsetms"), MILLISECOND),
    **dict.fromkeys(("offsetms", "offsetmilliseconds", "tstartms", "beginms", "startinms"), MILLISECOND),
    **dict.fromkeys(("offsetinticks", "startticks", "startinticks"), TICK),
    **dict.fromkeys(("startns", "startnanos", "startnanoseconds", "starttimens"), NANOSECOND),
    **dict.fromkeys(("startus", "startmicros", "startmicroseconds", "starttimeus"), MICROSECOND),
    **dict.fromkeys(("startsec", "startsecs", "startseconds", "starttimesec", "starttimeseconds"), 1.0),
    **dict.fromkeys(("startinseconds", "starttimeinseconds"), 1.0),
    "t0": 0.01,  # whisper.cpp's own clock, as its bindings have it
    **dict.fromkeys(("start", "begin", "starttime", "begintime", "startoffset", "starttimestamp", "startts")),
    **dict.fromkeys(("timestart", "audiostart", "startat", "tstart", "bg", "from", "in", "onset")),
    **dict.fromkeys(("ts", "offset", "timestamp", "time", "t", "starttimetext")),
}
ENDS: Names = {
    **_with_units("end", "endtime", "stop", "stoptime", "finish", "endoffset", "timeend", "audioend"),
    **dict.fromkeys(("endms", "endtimems", "endmillis", "endmilliseconds", "endoffsetms", "endinms"), MILLISECOND),
    **dict.fromkeys(("tendms", "stopms"), MILLISECOND),
    **dict.fromkeys(("endticks", "endinticks"), TICK),
    **dict.fromkeys(("endns", "endnanos", "endnanoseconds", "endtimens"), NANOSECOND),
    **dict.fromkeys(("endus", "endmicros", "endmicroseconds", "endtimeus"), MICROSECOND),
    **dict.fromkeys(("endsec", "endsecs", "endseconds", "endtimesec", "endtimeseconds"), 1.0),
    **dict.fromkeys(("endinseconds", "endtimeinseconds"), 1.0),
    "t1": 0.01,
    **dict.fromkeys(("end", "stop", "endtime", "stoptime", "endoffset", "endtimestamp", "endts")),
    **dict.fromkeys(("timeend", "audioend", "endat", "tend", "ed", "to", "out", "finish", "until")),
}
LENGTHS: Names = {
    **_with_units("duration", "dur", "length"),
    **dict.fromkeys(("durationms", "durms", "ddurationms", "durationmillis", "durationmilliseconds"), MILLISECOND),
    "durationinticks": TICK,
    "durationticks": TICK,
    **dict.fromkeys(("durationns", "durationnanos"), NANOSECOND),
    **dict.fromkeys(("durationsec", "durationseconds", "durationinseconds"), 1.0),
    **dict.fromkeys(("duration", "dur", "length", "d")),
}
PAIRS = ("timestamp", "timestamps", "offsets", "interval", "span", "range", "timespan", "time", "times", "segment")
TEXTS = (
    *("text", "content", "body", "transcript", "sentence", "caption", "subtitle", "line", "lines", "display"),
    *("displaytext", "utterance", "phrase", "transcription", "utf8", "value", "segment", "txt", "speech", "message"),
    *("snippet", "payload", "onebest", "formattedtext", "translation"),
)
WORDS = (
    *("words", "wordlist", "wordtimestamps", "wordtimings", "wordlevel", "displaywords", "wordsegments"),
    *("timestamps", "tokens", "items", "elements", "result", "alignment"),
)
WORD_TEXTS = (
    *("punctuatedword", "displaytext", "word", "text", "content", "value", "body", "token", "display", "w"),
    *("alignedword", "utf8", "lexical"),
)

TIME_LIKE = re.compile("start|begin|end|stop|finish|time|zeit|offset|onset|dur|ts$|^t_?in|^t_?out|^from|^to$")
DATE = 1e8  # seconds: more is no time in a video

_CLOCK = re.compile(r"(-?)(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.,](\d{1,9}))?", re.ASCII)
_SUFFIXED = re.compile(r"(-?\d{1,15}(?:\.\d{1,15})?)\s*(s|secs?|seconds|ms|us|ns)", re.ASCII | re.IGNORECASE)
_ISO = re.compile(r"PT(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,9}))?S)?", re.ASCII)
_UNITS = {"ms": MILLISECOND, "us": MICROSECOND, "ns": NANOSECOND}
_BETWEEN = ("-->", "->", "–", "—", " - ", "-", ",")  # start and end in one text  # noqa: RUF001
_COMMA = re.compile(r"-?\d{1,9},\d{1,6}", re.ASCII)


@dataclass(frozen=True)
class Span:
    """When an entry is said, in seconds; `counted` if a number was taken in the unit of the file."""

    start: float | None = None
    end: float | None = None
    counted: bool = False


def plain(name: Any) -> str:
    """A name as it is compared."""
    return re.sub(r"[\s_()\[\]-]", "", str(name)).lower()


def plainly(item: Mapping[Any, Any]) -> dict[str, Any]:
    """An entry with its names as they are compared. What only wraps one, as `{"segmentRenderer": {...}}`, is taken
    off."""
    if len(item) == 1 and isinstance(inner := next(iter(item.values())), dict):
        item = inner
    return {plain(key): value for key, value in item.items()}


def moment(value: Any) -> tuple[float, bool] | None:
    """A time and whether it says its unit, which then is the second: 1.5, "1.5", "1.5s", "00:01.500", "PT1.5S",
    {"seconds": 1, "nanos": 500000000}."""
    if isinstance(value, dict):
        parts = {plain(key): part for key, part in value.items()}
        if not parts.keys() & {"seconds", "nanos"}:
            return None
        whole, rest = seconds(parts.get("seconds", 0)), seconds(parts.get("nanos", 0), NANOSECOND)
        return None if whole is None or rest is None else (round(whole + rest, 6), True)
    number = seconds(value)
    if number is not None:
        return number, False
    if not isinstance(value, str) or len(value) > 60:
        return None
    text = value.strip()
    if _COMMA.fullmatch(text):
        return float(text.replace(",", ".")), False
    if match := _CLOCK.fullmatch(text):
        return clock(*match.groups()[1:]) * (-1 if match[1] else 1), True
    if match := _SUFFIXED.fullmatch(text):
        return round(float(match[1]) * _UNITS.get(match[2].lower(), 1.0), 6), True
    if (match := _ISO.fullmatch(text)) and any(match.groups()):
        hours, minutes, whole_seconds, fraction = match.groups()
        return clock(hours, minutes, whole_seconds or "0", fraction), True
    return None


def span(item: Mapping[str, Any], unit: float) -> Span:
    """When an entry with plain names is said; `unit` is that of the file, in seconds."""
    start, start_unit = _first(item, STARTS)
    end, end_unit = _first(item, ENDS)
    length, length_unit = _first(item, LENGTHS)
    if start is None or (end is None and length is None):
        for name in PAIRS:
            if name in item and (found := _pair(item[name], MILLISECOND if name == "offsets" else unit)) is not None:
                return found
    if start is None:
        return Span(None, None if end is None else _in(end, end_unit or unit), False)
    # A number beside a time that says its unit is in the same.
    default = start_unit or (1.0 if start[1] else unit)
    first = _in(start, default)
    counted = start_unit is None and not start[1]
    if end is not None:
        return Span(
            first, _in(end, end_unit or default), counted or (end_unit is None and not end[1] and not start[1])
        )
    if length is not None:
        return Span(first, round(first + _in(length, length_unit or default), 6), counted)
    return Span(first, None, counted)


def text(item: Mapping[str, Any], names: tuple[str, ...] = TEXTS) -> str | None:
    """The text of an entry with plain names."""
    for name in names:
        if (found := _string(item.get(name))) is not None:
            return found
    return None


def _string(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if isinstance(value, list) and value and all(_is_line(line) for line in value):  # as Kaltura has them
        return "\n".join(line["text"] for line in value)
    if isinstance(value, dict):  # as YouTube's pages have it
        runs = value.get("runs")
        if isinstance(runs, list):
            return "".join(run["text"] for run in runs if isinstance(run, dict) and isinstance(run.get("text"), str))
        for name in ("simpleText", "text"):
            if isinstance(value.get(name), str):
                return str(value[name])
    return None


def _is_line(value: Any) -> bool:
    """Whether it is a line of text with its style, and nothing that has a time of its own."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        return False
    return not {plain(key) for key in value} & {*STARTS, *ENDS, *LENGTHS, *PAIRS}


def _first(item: Mapping[str, Any], names: Names) -> tuple[tuple[float, bool] | None, float | None]:
    """The first of these times that can be read, and the unit that its name states."""
    for name, unit in names.items():
        if name in item and (found := moment(item[name])) is not None:
            return found, unit
    return None, None


def _pair(value: Any, unit: float) -> Span | None:
    """Start and end in one value: [0.5, 2.0], [0.5, null], {"from": 500, "to": 2000}, "0:01 --> 0:02"."""
    if isinstance(value, dict):
        found = span({plain(key): part for key, part in value.items() if not isinstance(part, dict)}, unit)
        return found if found.start is not None else None
    if isinstance(value, str):
        sign = next((sign for sign in _BETWEEN if sign in value and len(value) < 80), None)
        value = [part.strip() for part in value.split(sign, 1)] if sign else []
    if not isinstance(value, list) or len(value) != 2:
        return None
    start, end = moment(value[0]), moment(value[1])
    if start is None or (end is None and value[1] is not None):
        return None
    return Span(_in(start, unit), None if end is None else _in(end, unit), not start[1])


def _in(found: tuple[float, bool], unit: float) -> float:
    number, absolute = found
    return number if absolute else round(number * unit, 6)
