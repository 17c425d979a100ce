"""Subtitle tracks inside video files.

FFmpeg decodes SRT, ASS, SSA, mov_text and WebVTT as it writes it itself. It hands out the bytes of three kinds
without knowing them: WebVTT as mkvmerge writes it (S_TEXT/WEBVTT: the packet is the cue's text; what is beside
it are settings), WebVTT in MP4 (`wvtt`, boxes of ISO/IEC 14496-30) and TTML in MP4 (`stpp`: a packet is a whole
document on the track's clock). The bytes are read here and their text by FFmpeg's WebVTT decoder and pysubs2.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
from av import CodecContext, Packet
from av.container import InputContainer
from av.stream import Disposition

from scriptsight.captions.languages import language as language_of
from scriptsight.catalogue import Cue
from scriptsight.errors import needs
from scriptsight.media.errors import MediaError
from scriptsight.media.reader import UNREADABLE, words

with needs("data", "Reading subtitles inside videos"):
    import pysubs2

_TEXT = {"ass", "mov_text", "ssa", "srt", "subrip", "text", "webvtt"}  # FFmpeg's decoders that give text
_WVTT_BOXES = {b"vttc", b"vtte", b"vtta", b"vttx", b"iden", b"sttg", b"payl", b"vsid", b"ctim"}
_SAME = 0.002  # seconds between the end and the start of cues that touch


class _OtherFormat(Exception):
    """The bytes of a track are not what they were taken for."""


def embedded_cues(path: str | Path, language: str | None = None) -> list[Cue]:
    """The cues of a text track of `path`, in order of time; none if it has no such track.

    The first track in `language` (ISO 639: `en`, `en-GB` or `eng`) that has cues is read, else the first that
    names no language; without `language` simply the first. Tracks of forced lines only come last, descriptions
    of the picture and metadata are passed over, and so are pictures (DVD, Blu-ray, DVB), which are no text.
    Times are seconds from the container's start, as those of frames.

    Raises:
        MediaError: the file or its track can't be read.
    """
    unknown = False
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tracks = [(stream.index, stream.type) for stream in _tracks(container, language)]
        for index, kind in tracks:
            try:
                if cues := _cues(path, index):
                    return cues
            except _OtherFormat:
                unknown = unknown or kind == "subtitle"  # other data are not what is looked for
    except (*UNREADABLE, OSError) as error:
        raise MediaError(path, "unreadable subtitle track", words(error)) from error
    if unknown:
        raise MediaError(path, "unreadable subtitle track", "it is in no format that is known here")
    return []


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


def _cues(path: str | Path, index: int) -> list[Cue]:
    with av.open(str(path), metadata_errors="replace") as container:
        stream: Any = container.streams[index]
        # A file of subtitles alone starts with its first cue: that is not the start of its video.
        with_media = container.streams.video or container.streams.audio
        origin = (container.start_time or 0) / av.time_base if with_media else 0.0
        spans: list[tuple[float, float, str]] = []
        for packet in container.demux(stream):
            if packet.pts is None or not packet.duration or packet.time_base is None:
                continue
            start = float(packet.pts * packet.time_base)
            end = start + float(packet.duration * packet.time_base)
            if stream.codec_context is not None:
                spans.append((start, end, " ".join(_text(entry) for entry in stream.decode(packet)).strip()))
            elif stream.type == "data":
                spans += [(start, end, _webvtt(cue)) for cue in _wvtt_cues(bytes(packet))]
            elif container.format.name.startswith("mov,"):
                spans += _ttml(bytes(packet), start, end)
            else:
                spans.append((start, end, _webvtt(bytes(packet))))
        if stream.codec_context is None:
            spans = _joined(spans)
    return [Cue(start - origin, end - origin, text) for start, end, text in spans if text]


def _webvtt(payload: bytes) -> str:
    """Plain text of a WebVTT cue's payload."""
    if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", payload):
        raise _OtherFormat
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        raise _OtherFormat from None
    if not payload.strip():
        return ""
    decoder: Any = CodecContext.create("webvtt", "r")
    return " ".join(_text(entry) for entry in decoder.decode(Packet(payload))).strip()


def _wvtt_cues(sample: bytes) -> list[bytes]:
    """The payloads of the cues of one sample; of a sample that says that nothing is shown, none."""
    return [
        payload for kind, cue in _boxes(sample) if kind == b"vttc" for name, payload in _boxes(cue) if name == b"payl"
    ]


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


def _ttml(document: bytes, start: float, end: float) -> list[tuple[float, float, str]]:
    """What a document says between `start` and `end`, when it is on the screen.

    Times count from the track's start; there are writers that count from the document's.
    """
    try:
        events = pysubs2.SSAFile.from_string(document.decode("utf-8"), format_="ttml")
    except Exception:  # whatever an XML or time parser may find wrong
        raise _OtherFormat from None
    spans = [(event.start / 1000, event.end / 1000, " ".join(event.plaintext.split())) for event in events]
    if start > 0 and spans and not any(one < end and start < other for one, other, _ in spans):
        spans = [(one + start, other + start, text) for one, other, text in spans]
    return [(max(one, start), min(other, end), text) for one, other, text in spans if one < end and start < other]


def _joined(spans: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Cues that go on in the next sample made one again."""
    joined: list[tuple[float, float, str]] = []
    last: dict[str, int] = {}  # text -> where it was said last
    for start, end, text in sorted(spans):
        before = last.get(text)
        if before is not None and start <= joined[before][1] + _SAME:
            joined[before] = (joined[before][0], max(end, joined[before][1]), text)
        else:
            last[text] = len(joined)
            joined.append((start, end, text))
    return joined


def _text(subtitle: Any) -> str:
    """Plain text of one decoded entry: FFmpeg turns every text format into ASS."""
    text = subtitle.dialogue.decode("utf-8", errors="replace")
    text = re.sub(r"\\[Nnh]", " ", re.sub(r"\{[^}]*\}", "", text)).replace("\0", " ")
    return " ".join(text.split())
