"""Subtitle tracks inside video files, read by the parsers of files beside them (`scriptsight.captions`).

Their packets are text: SubRip and SubStation as Matroska stores them, WebVTT in WebM (D_WEBVTT) and as mkvmerge
writes it (S_TEXT/WEBVTT, which FFmpeg does not know: the packet is the cue's text, and what is beside it are
settings), WebVTT in MP4 (`wvtt`, boxes of ISO/IEC 14496-30) and TTML in MP4 (`stpp`: a packet is a whole document on
the track's clock). Only of mov_text, whose bytes are no text format, and of plain text FFmpeg's decoder says what
they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from scriptsight import captions
from scriptsight.captions import Script, decoding, subrip, substation, webvtt
from scriptsight.captions.by_content import parse_xml
from scriptsight.captions.languages import language as language_of
from scriptsight.captions.script import clock
from scriptsight.catalogue import Cue, Word
from scriptsight.media.container import UNREADABLE, Clock, clock_of, packets, words
from scriptsight.media.errors import MediaError

_TEXT = {"ass", "mov_text", "ssa", "srt", "subrip", "text", "webvtt"}  # FFmpeg's decoders that give text
_WVTT_BOXES = {b"vttc", b"vtte", b"vtta", b"vttx", b"iden", b"sttg", b"payl", b"vsid", b"ctim"}
_SAME = 0.002  # seconds between the end and the start of cues that touch


class _OtherFormat(Exception):
    """The bytes of a track are not what they were taken for."""


@dataclass(frozen=True)
class _Sample:
    """A packet: seconds on the file's clock, and its bytes."""

    start: float
    end: float
    data: bytes


@dataclass(frozen=True)
class _Payload:
    """The text of one WebVTT cue; `zero` is the second that its time stamps count from, None where that is open."""

    start: float
    end: float
    text: str
    zero: float | None = None


def embedded_script(path: str | Path, language: str | None = None) -> Script:
    """What a text track of `path` says, in order of time; a script without cues if it has no such track.

    The first track in `language` (ISO 639: `en`, `en-GB` or `eng`) that has cues is read, else the first that
    names no language; without `language` simply the first. Tracks of forced lines only come last, descriptions
    of the picture and metadata are passed over, and so are pictures (DVD, Blu-ray, DVB), which are no text.
    Times are seconds from the container's start, as those of frames. Entries that can't be read are counted.

    Raises:
        MediaError: the file or its track can't be read.
    """
    unknown = False
    dropped = 0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tracks = [(stream.index, stream.type) for stream in _tracks(container, language)]
        for index, kind in tracks:
            try:
                script = _script(path, index)
            except _OtherFormat:
                unknown = unknown or kind == "subtitle"  # other data are not what is looked for
                continue
            dropped += script.dropped
            if script.cues and script.kind == "captions":
                return script
    except (*UNREADABLE, OSError) as error:
        raise MediaError(path, "unreadable subtitle track", words(error)) from error
    if unknown:
        raise MediaError(path, "unreadable subtitle track", "it is in no format that is known here")
    return Script([], dropped)


def embedded_languages(path: str | Path) -> list[str]:
    """The languages of the text tracks of `path`, sorted; those that name none are left out.

    Raises:
        MediaError: the file can't be read.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tracks = [stream for stream in _tracks(container, None) if stream.type == "subtitle"]
            return sorted({_spoken(stream) for stream in tracks} - {""})
    except (*UNREADABLE, OSError) as error:
        raise MediaError(path, "unreadable subtitle track", words(error)) from error


def _tracks(container: InputContainer, language: str | None) -> list[Any]:
    """The tracks that may be text, the one that is wanted most first."""
    in_mp4 = container.format.name.startswith("mov,")
    tracks = [
        stream
        for stream in container.streams
        if (stream.type == "subtitle" and (stream.codec_context is None or stream.codec_context.name in _TEXT))
        or (stream.type == "data" and in_mp4)
        if not stream.disposition & (Disposition.descriptions | Disposition.metadata)
    ]
    tracks.sort(key=lambda stream: bool(stream.disposition & Disposition.forced))
    if language is None:
        return tracks
    named = [stream for stream in tracks if _spoken(stream) == language_of(language)]
    return named + [stream for stream in tracks if stream not in named and not _spoken(stream)]


def _spoken(stream: Any) -> str:
    """The language of a track; empty where it names none."""
    spoken = language_of(stream.metadata.get("language") or "")
    return "" if spoken == "und" else spoken


def _script(path: str | Path, index: int) -> Script:
    with av.open(str(path), metadata_errors="replace") as container:
        stream: Any = container.streams[index]
        # A file of subtitles alone starts with its first cue: that is not the start of its video.
        with_media = container.streams.video or container.streams.audio
        clock = clock_of(path, container) if with_media else Clock(0.0)
        decoder = "" if stream.codec_context is None else stream.codec_context.name
        if decoder in ("mov_text", "text"):
            samples = list(_samples(container, stream, clock, lambda packet: _decoded(stream, packet)))
            script = Script([Cue(one.start, one.end, one.data.decode()) for one in samples], 0)
        else:
            in_mp4 = container.format.name.startswith("mov,")
            script = _parsed(decoder, stream.type, in_mp4, list(_samples(container, stream, clock, bytes)))
    cues = [_moved(cue, -clock.origin) for cue in captions.ordered(script.cues)]
    # What lies before the start is not shown: an edit list hides it, or there is no picture yet.
    shown = [cue if cue.start >= 0 else _cut(cue, 0.0, cue.end) for cue in cues if cue.end > 0 or cue.start >= 0]
    return replace(script, cues=shown)


def _samples(
    container: InputContainer, stream: Any, clock: Clock, content: Callable[[Any], bytes]
) -> Iterable[_Sample]:
    """The packets of a track that are on the screen for some time."""
    for _, packet in packets(container, stream, clock):
        if packet.pts is None or not packet.duration or packet.time_base is None:
            continue
        start, end = packet.pts * packet.time_base, (packet.pts + packet.duration) * packet.time_base
        yield _Sample(round(float(start), 6), round(float(end), 6), content(packet))


def _parsed(decoder: str, kind: str, in_mp4: bool, samples: list[_Sample]) -> Script:
    """The script of a track: `decoder` is FFmpeg's for it, empty where it has none, `kind` that of the stream."""
    if decoder:
        return _of_text(decoder, samples)
    if kind == "data":
        payloads = [payload for one in samples for payload in _wvtt_cues(one)]
        return _webvtt(_joined_payloads(payloads), relative=False)
    if in_mp4:
        return _ttml(samples)
    return _webvtt([_Payload(one.start, one.end, _plain_text(one.data)) for one in samples], relative=True)


def _of_text(decoder: str, samples: list[_Sample]) -> Script:
    """The script of packets of text. All are in one encoding, which their words together tell better than each."""
    try:
        whole = decoding.read(b"\n".join(one.data.partition(b"\0")[0] for one in samples))
    except UnicodeError:
        raise _OtherFormat from None
    encoding = whole.encoding if whole.legacy else None
    texts = [_Payload(one.start, one.end, _text(one.data, encoding)) for one in samples]
    if decoder in ("ass", "ssa"):
        script = _dialogue(texts)
    elif decoder in ("srt", "subrip"):
        script = Script([subrip.cue_of(one.text, one.start, one.end) for one in texts], 0)
    else:
        script = _webvtt(texts, relative=False)
    return replace(script, doubts=whole.doubts, legacy=whole.legacy)


def _dialogue(samples: list[_Payload]) -> Script:
    cues, dropped = [], 0
    for one in samples:
        try:
            cues.append(substation.cue_of(substation.block_text(one.text), one.start, one.end))
        except ValueError:
            dropped += 1
    return Script(cues, dropped)


def _webvtt(payloads: list[_Payload], relative: bool) -> Script:
    """Cues of their payloads. By its standard the time stamps in an S_TEXT/WEBVTT of Matroska are `relative`, counted
    from their cue's start, and all others from the track's; there are writers that do it the other way round, so the
    clock is taken in which more of them lie in their cue."""

    def inside(relative: bool) -> int:
        return sum(
            payload.start <= at + (payload.start if relative else 0.0) <= payload.end
            for payload in payloads
            for at, _ in webvtt.pieces(payload.text)
            if at is not None and payload.zero is None
        )

    if inside(not relative) > inside(relative):
        relative = not relative
    cues = []
    for payload in payloads:
        zero = payload.zero if payload.zero is not None else payload.start if relative else 0.0
        cues.append(webvtt.cue_of(payload.text, payload.start, payload.end, zero))
    return Script(cues, 0, kind="metadata" if webvtt.is_metadata(cues) else "captions")


def _text(data: bytes, encoding: str | None) -> str:
    """The text of a packet; what follows a zero byte is none."""
    try:
        return decoding.decode(data.partition(b"\0")[0], encoding)
    except UnicodeError:
        raise _OtherFormat from None


def _plain_text(data: bytes) -> str:
    """The text of a packet that may as well be something else: UTF-8 without control characters."""
    if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", data):
        raise _OtherFormat
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _OtherFormat from None


def _wvtt_cues(sample: _Sample) -> list[_Payload]:
    """The cues of one sample; of a sample that says that nothing is shown, none."""
    payloads = []
    for kind, content in _boxes(sample.data):
        if kind == b"vttc":
            parts = dict(_boxes(content))
            # The time that the sample's start has on the clock of the stamps in the text.
            now = webvtt.STAMP.fullmatch(_plain_text(parts.get(b"ctim", b"")).strip())
            zero = round(sample.start - clock(*now.groups()), 6) if now else None
            payloads.append(_Payload(sample.start, sample.end, _plain_text(parts.get(b"payl", b"")), zero))
    return payloads


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """(type, content) of the WebVTT boxes that `data` consists of."""
    boxes, place = [], 0
    while place < len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind not in _WVTT_BOXES or not 8 <= size <= len(data) - place:
            raise _OtherFormat
        boxes.append((kind, data[place + 8 : place + size]))
        place += size
    return boxes


def _joined_payloads(payloads: list[_Payload]) -> list[_Payload]:
    spans = [(one.start, one.end, webvtt.cue_of(one.text, one.start, one.end).text) for one in payloads]
    return [replace(payloads[first], start=start, end=end) for start, end, first in _joined(spans)]


def _ttml(samples: list[_Sample]) -> Script:
    shown: list[tuple[float, float, Cue]] = []  # from, until, and the whole cue
    dropped = 0
    for sample in samples:
        try:
            script = parse_xml(sample.data)
        except ValueError:
            raise _OtherFormat from None
        dropped += script.dropped
        cues = script.cues
        # Times count from the track's start; there are writers that count from the document's.
        if sample.start > 0 and cues and not any(c.start < sample.end and sample.start < c.end for c in cues):
            cues = [_moved(cue, sample.start) for cue in cues]
        spans = [(max(cue.start, sample.start), min(cue.end, sample.end), cue) for cue in cues]
        shown += [(start, end, cue) for start, end, cue in spans if start < end]
    joined = _joined([(start, end, cue.text) for start, end, cue in shown])
    return Script([_cut(shown[first][2], start, end) for start, end, first in joined], dropped)


def _joined(spans: list[tuple[float, float, str]]) -> list[tuple[float, float, int]]:
    """Cues (start, end, text) that go on in the next sample made one again -> (start, end, place of the first)."""
    joined: list[tuple[float, float, int]] = []
    last: dict[str, int] = {}  # text -> where it was said last
    for place in sorted(range(len(spans)), key=spans.__getitem__):
        start, end, text = spans[place]
        before = last.get(text)
        if before is not None and start <= joined[before][1] + _SAME:
            joined[before] = (joined[before][0], max(end, joined[before][1]), joined[before][2])
        else:
            last[text] = len(joined)
            joined.append((start, end, place))
    return joined


def _moved(cue: Cue, seconds: float) -> Cue:
    """The cue so many seconds later."""
    if seconds == 0:
        return cue
    said = cue.words and tuple(
        Word(round(word.start + seconds, 6), round(word.end + seconds, 6), word.text) for word in cue.words
    )
    return replace(cue, start=round(cue.start + seconds, 6), end=round(cue.end + seconds, 6), words=said)


def _cut(cue: Cue, start: float, end: float) -> Cue:
    """The cue from `start` to `end`, its words within."""

    def within(time: float) -> float:
        return min(max(time, start), end)

    said = cue.words and tuple(Word(within(word.start), within(word.end), word.text) for word in cue.words)
    return replace(cue, start=start, end=end, words=said)


def _decoded(stream: Any, packet: Any) -> bytes:
    """Plain text (UTF-8) of a packet by FFmpeg, which turns it into ASS: styles are overrides such as {\\b1}, braces
    without a backslash are the text's own."""
    texts = []
    for entry in stream.decode(packet):
        text = substation.block_text(entry.ass.decode("utf-8", errors="replace").replace("\0", " "))
        text = re.sub(r"\\[Nnh]", " ", re.sub(r"\{\\[^{}]*\}", "", text))
        texts.append(re.sub(r"\\([{}])", r"\1", text))
    return " ".join(texts).encode()
