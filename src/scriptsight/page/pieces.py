"""What a browser plays of a video: the file itself, its streams in another container, or new ones.

Whichever it is, its time 0 is second `start` of the video, and second t of it shows the picture that `media.reader`
gives for second `start` + t. So a file is served as it is, or copied, only if its clock is simple: no part hidden by
an edit list, no recordings joined, nothing lost, no picture long after time 0. All other films are encoded anew, from
the pictures that the reader gives: turned, with square pixels, of standard range, at their times.

`look` and `make` read untrusted files: they belong into processes that may hang or crash (`media.isolated`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from scriptsight.files import whole_file
from scriptsight.media import hdr, reader
from scriptsight.media.audio import SAMPLE_RATE, audio_blocks
from scriptsight.media.container import UNREADABLE, Clock, clock_of, open_media, video_stream
from scriptsight.media.errors import MediaError
from scriptsight.page.seeking import frames_from

LINES = 720  # the most that an encoded picture has
SPEED = 20e6  # pixels a second that are decoded, scaled and encoded, about, on one core
HDR_TIMES = 3  # so many times as long takes what is of high dynamic range
TICKS = 90_000  # a second, of encoded pictures

# What browsers play: codecs of pictures, with pixels of 8 bits and chroma of half the size, and of sound.
_PICTURES = {"mp4": ("h264", "vp9", "av1"), "webm": ("vp8", "vp9", "av1")}
_PIXELS = ("yuv420p", "yuvj420p")
_SOUNDS = {"mp4": ("aac", "mp3", "opus", "flac"), "webm": ("opus", "vorbis")}
_COPIED = ("mov,", "matroska,", "mpegts", "flv")  # containers whose packets have times of their own
_SLACK = 0.002  # seconds that times may be off: containers round them
_LATE = 1.0  # seconds after time 0 at which the first picture of a copy may come; it is shown from 0 on
_CUT = 0.05  # seconds that an edit list may cut off the end of a film that is played as it is
_SHORT = (1.0, 0.05)  # seconds, and share, by which a film may end before its time without a word
_PRIMING = 0.1  # seconds before time 0 of which a decoder of sound may need packets
_TOLD = 0.3  # seconds between two words on how far a piece is
_KEYS = 2.0  # seconds from one key frame to the next at most
_BLOCK = 10.0  # seconds of sound that are read at a time
_LOOKED_AT = 4, 2_000  # key frames, and packets, by which it is told whether groups are open
_IDR = 5  # kind of NAL unit in H.264 with which a picture begins that needs none before it
_BT709 = 1  # colours, ITU-T H.273

How = Literal["served", "copied", "encoded"]


@dataclass(frozen=True)
class Plan:
    """How a video comes to a browser.

    Attributes:
        how: "served" as the file it is, "copied" into another container, or "encoded".
        type: media type of the file, where it is served.
        duration: seconds.
        work: seconds that it takes to encode the whole on one core, about.
        sound: whether there is sound that can be copied.
    """

    how: How
    type: str
    duration: float
    work: float
    sound: bool


@dataclass(frozen=True)
class Order:
    """A piece to be made: of which file, to which file, and its seconds; `end` may be infinite."""

    source: str
    target: str
    plan: Plan
    start: float = 0.0
    end: float = inf


@dataclass(frozen=True)
class Made:
    """What a piece covers, in seconds of the video, and what a person is to know of it, or ""."""

    start: float
    end: float
    message: str


class _Unlike(Exception):
    """A copy has other times than its original."""


def look(path: str | Path) -> Plan:
    """Decide how a video comes to a browser, by what is in it and not by its name.

    Raises:
        MediaError: nothing of it can be shown.
    """
    with reader.opened_film(path) as opened:
        container, stream, clock = opened.container, opened.stream, opened.clock
        first = clock.own(next(opened.frames))
        duration = opened.duration
        shape = opened.width, opened.height
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        simple = not (clock.parts or clock.lost or clock.more or clock.wild) and _is_uncut(clock, stream, first)
        late = (0.0 if clock.edits else first) - clock.origin
        kind = _kind(container, path)
        copyable = container.format.name.startswith(_COPIED) and simple and -_SLACK < late < _LATE
        sound = next((one for one in container.streams.audio if one.codec_context), None)
        heard = sound.codec_context.codec.canonical_name if sound else ""
        times = HDR_TIMES if opened.transfer in (hdr.PQ, hdr.HLG) else 1
        seen = stream.codec_context.codec.canonical_name if _is_plain_picture(opened) else ""
        if copyable and seen == "h264" and _is_open(path):
            seen = ""
    if duration <= 0:
        duration = reader.probe(path).duration
    scale = min(1.0, LINES / shape[1])
    work = times * duration * rate * shape[0] * shape[1] * (1 + scale**2) / 2 / SPEED
    how: How = "encoded"
    at_zero = abs(clock.origin) < _SLACK and late < _SLACK
    if copyable and at_zero and kind and seen in _PICTURES[kind] and (not heard or heard in _SOUNDS[kind]):
        how = "served"
    elif copyable and seen in _PICTURES["mp4"]:
        how = "copied"
    return Plan(how, f"video/{kind or 'mp4'}", duration, work, copyable and heard in _SOUNDS["mp4"])


def _is_uncut(clock: Clock, stream: Any, first: float) -> bool:
    """Whether an edit list shows the whole track from time 0 on; its `first` picture is at this second of it."""
    if not clock.edits:
        return True
    edit = clock.edits[0]
    end = first + float((stream.duration or 0) * stream.time_base)
    whole = edit.start <= _SLACK and edit.media <= first + _SLACK and edit.media_end > end - _CUT
    return len(clock.edits) == 1 and whole


def _is_plain_picture(opened: reader.OpenedFilm) -> bool:
    """Whether browsers show the pictures as the reader does: they turn them, but not all mirror them."""
    pixels = opened.stream.codec_context.pix_fmt in _PIXELS
    mirrored = opened.view.swapped ^ opened.view.left_right ^ opened.view.up_down
    return pixels and not mirrored and not opened.still and opened.transfer not in (hdr.PQ, hdr.HLG)


def _is_open(path: str | Path) -> bool:
    """Whether groups of pictures in H.264 are open: key frames that are followed by pictures that need some before
    them. A jump to such a place never ends in Chromium."""
    with open_media(path, "video") as container:
        stream = video_stream(container)
        assert stream is not None
        head = stream.codec_context.extradata or b""
        size = (head[4] & 3) + 1 if head[:1] == b"\x01" and len(head) > 4 else 0  # bytes of the length of a unit
        keys = 0
        for packet in islice(container.demux(stream), _LOOKED_AT[1]):
            if packet.is_keyframe and packet.size:
                keys += 1
                if keys > 1 and _IDR not in _units(bytes(packet), size):
                    return True
                if keys == _LOOKED_AT[0]:
                    break
    return False


def _units(data: bytes, size: int) -> Iterator[int]:
    """The kinds of the NAL units of a packet, with their lengths of `size` bytes before them, or, 0, start codes."""
    if not size:
        yield from (one[0] & 31 for one in data.split(b"\x00\x00\x01")[1:] if one)
        return
    at = 0
    while at + size < len(data):
        yield data[at + size] & 31
        at += size + int.from_bytes(data[at : at + size])


def _kind(container: InputContainer, path: str | Path) -> str:
    """What browsers take a file for: "mp4", "webm", or "", which they don't play."""
    name = container.format.name
    if len(container.streams.video) > 1:  # which of them is played is the browser's choice
        return ""
    if name.startswith("mov,"):
        # In fragments no table says where a second is, so that a browser can't jump there.
        in_fragments = container.streams.video[0].frames == 0
        return "" if in_fragments or container.metadata.get("major_brand") == "qt  " else "mp4"
    if name.startswith("matroska,"):
        with Path(path).open("rb") as file:
            return "webm" if b"webm" in file.read(64) else ""
    return ""


# -------------------------------------------------------------------------------------------------------- pieces


def make(order: Order) -> Made:
    """Make a piece: it appears whole, and beside it, while it is made, how far it is (`progress`).

    Raises:
        MediaError: there is nothing to be shown in these seconds.
    """
    if order.plan.how == "copied":
        try:
            return _copy(order)
        except (_Unlike, *UNREADABLE):
            pass  # encoded, it has the times that it should have
    return _encode(order)


def progress(target: str | Path) -> float:
    """How far a piece is that is being made, from 0 to 1."""
    try:
        return float(_told(target).read_text())
    except (OSError, ValueError):
        return 0.0


def _told(target: str | Path) -> Path:
    return Path(target).with_suffix(".progress")


def _copy(order: Order) -> Made:
    """The whole video, its streams as they are."""
    with open_media(order.source, "video") as container:
        origin = clock_of(order.source, container).origin
        stream = video_stream(container)
        assert stream is not None
        times: list[float] = []
        with whole_file(order.target) as partial:
            with _file(partial) as out:
                pictures = _copied_pictures(container, stream, out, origin, times)
                _write(out, order, pictures, _sound(out, order, origin))
            _check(partial, times)
    return Made(0.0, order.plan.duration, "")


def _file(path: Path) -> OutputContainer:
    return av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})


def _copied_pictures(
    container: InputContainer, stream: Any, out: OutputContainer, origin: float, times: list[float]
) -> Iterator[Packet[Any]]:
    """The packets from the first key frame on, their times counted from `origin`, and noted."""
    copied = out.add_stream_from_template(stream, opaque=True)

    def packets() -> Iterator[Packet[Any]]:
        moved = round(origin / stream.time_base)
        begun = False
        for packet in _with_decoding_times(one for one in container.demux(stream) if one.size):
            if not (begun or packet.is_keyframe):
                continue
            packet.pts, packet.dts = packet.pts - moved, packet.dts - moved
            if not begun and packet.pts > 0:  # the first picture is shown from 0 on
                packet.pts, packet.dts = 0, min(0, packet.dts - packet.pts)
            begun = True
            times.append(float(packet.pts * stream.time_base))
            packet.stream = copied
            yield packet

    return packets()


def _with_decoding_times(packets: Iterable[Packet[Any]]) -> Iterator[Any]:
    """Packets that all say when they are decoded: in Matroska the first ones often don't.

    Raises:
        _Unlike: one does not say when it is shown.
    """
    waiting: list[Any] = []
    for packet in packets:
        if packet.pts is None:
            raise _Unlike
        waiting.append(packet)
        if packet.dts is None:
            continue
        for place, one in enumerate(reversed(waiting[:-1]), start=1):
            one.dts = packet.dts - place * max(1, packet.duration or 0)
        yield from waiting
        waiting.clear()
    for one in waiting:  # none said it: they are decoded in the order in which they are shown
        one.dts = one.pts
    yield from waiting


def _check(path: Path, times: list[float]) -> None:
    """Raises: _Unlike: the pictures of a file are not shown at these times."""
    with open_media(path, "video") as container:
        origin = clock_of(path, container).origin
        stream: Any = container.streams.video[0]
        found = sorted(
            float(one.pts * stream.time_base) - origin for one in container.demux(stream) if one.pts is not None
        )
    if not times or len(found) != len(times) or np.abs(np.subtract(found, sorted(times))).max() > _SLACK:
        raise _Unlike


def _encode(order: Order) -> Made:
    """The pictures that the reader gives, encoded anew."""
    shown = _Shown(order)
    with open_media(order.source, "video") as container, whole_file(order.target) as partial, _file(partial) as out:
        origin = clock_of(order.source, container).origin
        pictures = shown.encoded(out)
        _write(out, order, pictures, _sound(out, order, origin))
    return Made(order.start, shown.end, shown.message)


class _Shown:
    """The pictures of a piece while they are encoded; then until when there are some, and why no longer."""

    def __init__(self, order: Order) -> None:
        self.end = order.start
        self.message = ""
        self._order = order
        info = reader.probe(order.source)
        scale = min(1.0, LINES / info.height)
        self._short_side = max(2, round(min(info.width, info.height) * scale) // 2 * 2)
        self._frames = frames_from(order.source, order.start, self._short_side)
        self._first = next(self._frames)
        self._rate = round(min(max(info.fps, 1), 240))

    def encoded(self, out: OutputContainer) -> Iterator[Packet[Any]]:
        """Their packets. There are no pictures that refer to later ones, so that no edit list is needed."""
        height, width = (side + side % 2 for side in self._first.image.shape[:2])
        options = {"preset": "veryfast", "crf": "23", "bf": "0", "threads": "1", "g": str(round(self._rate * _KEYS))}
        stream: Any = out.add_stream("libx264", rate=self._rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1  # from 16 to 235
        return self._packets(stream, width, height)

    def _packets(self, stream: Any, width: int, height: int) -> Iterator[Packet[Any]]:
        reformatter = VideoReformatter()
        for frame in self._until_fault():
            image = frame.image
            if image.shape[:2] != (height, width):  # odd sides: the last row or column once more
                image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), "edge")
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture = reformatter.reformat(rgb, format="yuv420p", dst_colorspace=_BT709, dst_color_range=1)
            begin = max(0, round((frame.time - self._order.start) * TICKS)) if self.end > self._order.start else 0
            self.end = min(frame.end, self._order.end)
            picture.pts, picture.time_base = begin, Fraction(1, TICKS)
            picture.duration = max(1, round((self.end - self._order.start) * TICKS) - begin)
            yield from stream.encode(picture)
        yield from stream.encode()

    def _until_fault(self) -> Iterator[reader.Frame]:
        """The frames of the piece as far as they can be read."""
        yield self._first
        try:
            for frame in self._frames:
                if frame.time >= self._order.end:
                    return
                yield frame
        except MediaError as error:
            self.message = f"The video is damaged: it can be shown up to {self.end:.1f} s ({error.detail})."
            return
        whole = min(self._order.end, self._order.plan.duration)
        if self.end < whole - max(_SHORT[0], _SHORT[1] * whole):
            self.message = f"The video ends at {self.end:.1f} s, though it says that it lasts {whole:.1f} s."


# --------------------------------------------------------------------------------------------------------- sound


def _sound(out: OutputContainer, order: Order, origin: float) -> Iterable[Packet[Any]]:
    """The packets of the sound; none where there is none."""
    if order.plan.sound:
        return _copied_sound(out, order, origin)
    with open_media(order.source, "video") as container:
        if not any(stream.codec_context for stream in container.streams.audio):
            return ()
    return _encoded_sound(out, order)


def _copied_sound(out: OutputContainer, order: Order, origin: float) -> Iterator[Packet[Any]]:
    """Packets as they are, those of the piece, their times counted from its start."""
    container = open_media(order.source, "video")
    stream: Any = next(one for one in container.streams.audio if one.codec_context)
    copied = out.add_stream_from_template(stream, opaque=True)

    def packets() -> Iterator[Packet[Any]]:
        with container:
            if order.start:
                container.seek(round((order.start + origin) / stream.time_base), stream=stream)
            moved = round((origin + order.start) / stream.time_base)
            for packet in container.demux(stream):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts, packet.dts = packet.pts - moved, packet.dts - moved
                time = float(packet.pts * stream.time_base)
                if time > order.end - order.start:
                    return
                if time >= (-_SLACK if order.start else -_PRIMING):
                    packet.stream = copied
                    yield packet

    return packets()


def _encoded_sound(out: OutputContainer, order: Order) -> Iterator[Packet[Any]]:
    """The sound as the reader gives it, which lies where it belongs."""
    stream: Any = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
    stream.bit_rate = 64_000

    def packets() -> Iterator[Packet[Any]]:
        skip, place = round(order.start * SAMPLE_RATE), 0
        last = inf if order.end == inf else round((order.end - order.start) * SAMPLE_RATE)
        try:
            for block in audio_blocks(order.source, _BLOCK):
                samples, skip = block[skip:], max(0, skip - len(block))
                samples = samples[: int(min(len(samples), last - place))]
                if len(samples):
                    frame = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(samples[None]), format="fltp", layout="mono"
                    )
                    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, place, Fraction(1, SAMPLE_RATE)
                    place += len(samples)
                    yield from stream.encode(frame)
                if place >= last:
                    break
        except MediaError:
            pass  # silence from there on; of the pictures it is said until when they are good
        yield from stream.encode()

    return packets()


def _write(out: OutputContainer, order: Order, pictures: Iterable[Packet[Any]], sound: Iterable[Packet[Any]]) -> None:
    """Write the packets of both in order of time, and from time to time how far that is."""
    length = max(1e-3, min(order.end, order.plan.duration) - order.start)
    told = monotonic()
    try:
        for packet in heapq.merge(pictures, sound, key=_time):
            if monotonic() - told > _TOLD:
                told = monotonic()
                _told(order.target).write_text(f"{min(1.0, max(0.0, _time(packet) / length)):.3f}")
            out.mux(packet)
    finally:
        _told(order.target).unlink(missing_ok=True)


def _time(packet: Packet[Any]) -> float:
    assert packet.dts is not None and packet.time_base is not None
    return float(packet.dts * packet.time_base)
