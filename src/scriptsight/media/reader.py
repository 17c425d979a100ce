"""What a video file holds, and its frames at a low rate or at given times, by PyAV.

A still picture (JPEG, PNG, WebP, ...) is a video of one frame that lasts `STILL_SECONDS`; an animated GIF or PNG
is a video. FFmpeg reads no animated WebP. Transparency is dropped. Pictures of high dynamic range are shown as
standard ones (see `hdr`), oblong pixels as square ones, turned and mirrored ones as they are meant to be seen.

**Damage** is what the decoder says of it: an error, or a picture that it marks as concealed. No option of FFmpeg
finds more of it in H.264, VP9, AV1 and MPEG-4: their bits carry no check sum, and a run of wrong bits that still
means something is shown as wrong pictures until the next key frame (12 to 38 of 100 films in which 400 bytes were
overwritten). HEVC may carry check sums, and they are checked. FFmpeg passes over what lies in a damaged part of a
Matroska file or a transport stream: `matroska` and `transport` find such places, and the film ends there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from math import floor, inf
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata import sidedata
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter

from scriptsight.media.boxes import Edit, edits, forward
from scriptsight.media.container import (
    UNREADABLE,
    Clock,
    clock_of,
    joined_avi,
    open_media,
    packets,
    video_stream,
    words,
)
from scriptsight.media.errors import MediaError
from scriptsight.media.hdr import as_standard

STILL_SECONDS = 0.04  # how long a still picture lasts; not 0, so that it is a stretch of time like any other

ROUNDED = 4e-4  # seconds that a time may be off by its rounding
_RESTART = 1.0  # seconds that a time may go back; more is a clock that starts again
_ENDS_AT = ("matroska,", "flv")  # formats that announce when they end, not how long they are
# Formats in which pictures have no times of their own: they are shown at the times at which they are decoded.
_UNTIMED = (
    "asf",
    "avi",
    "cavsvideo",
    "dirac",
    "evc",
    "h261",
    "h263",
    "h264",
    "hevc",
    "m4v",
    "mjpeg",
    "mpegvideo",
    "vc1",
)
# How a check sum of a picture begins in HEVC: a suffix SEI (NAL unit 40) of payload 132. Only where there are some
# does the decoder stop at each fault: films without them may have faults that no one sees.
_CHECK_SUM = b"\x50\x01\x84"
_FASTEST = 480  # announced pictures a second; more are counted
_COUNTED = 500  # of them
_OBLONG = 4.0  # pixels longer or wider than this are an error of the header
_LONGEST = 50  # sides of the longest picture
_ALIKE = 0.02  # share by which shapes may differ that are taken for the same
_HELD = 4  # pictures that are held back at most
_GUESSED = 0.5  # seconds around a seam of a program stream in which times are not sure
_SLANTED = 0.01  # share of a display matrix that may be off a quarter of a turn


@dataclass(frozen=True)
class MediaInfo:
    """What a video file says of itself."""

    duration: float  # seconds from the start of the presentation to the end of the video
    fps: float  # announced; 0 where unknown, and of a still picture
    width: int  # square pixels, as shown: a rotated video has them swapped, oblong pixels are stretched
    height: int
    codec: str
    has_audio: bool


@dataclass(frozen=True)
class Frame:
    """One frame: when it appears and until when it stays (presentation seconds), and RGB uint8 [H, W, 3]."""

    time: float
    end: float
    image: np.ndarray


@dataclass(frozen=True)
class _View:
    """How a stored picture becomes the one that is seen: its axes are swapped, then it is mirrored."""

    swapped: bool = False
    left_right: bool = False
    up_down: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] as stored -> as seen."""
        seen = image.swapaxes(0, 1) if self.swapped else image
        return seen[:: -1 if self.up_down else 1, :: -1 if self.left_right else 1]


@dataclass(frozen=True)
class OpenedFilm:
    """A container whose first frame was decoded: proof that there is a picture, and how it is to be seen."""

    path: str
    container: InputContainer
    stream: Any
    frames: Iterator[av.VideoFrame]  # all of them, the first included
    again: Callable[[tuple[Edit, ...]], Iterator[av.VideoFrame]]  # the same once more, for other edits
    clock: Clock
    duration: float  # seconds from its start to the announced end of the video
    still: bool
    stored: tuple[int, int]  # width and height of the first frame as it is stored
    pixels: list[tuple[int, Fraction]]  # from which time (ticks) on how wide pixels are, as the codec says
    view: _View
    transfer: int  # how light is coded, as ITU-T H.273 counts
    width: int  # as shown
    height: int

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Width and height as shown, the shorter of them `short_side`."""
        scale = short_side / min(self.width, self.height)
        return max(short_side, round(self.width * scale)), max(short_side, round(self.height * scale))

    def fitted(self, frame: av.VideoFrame, view: _View, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height as shown of a frame within `size`: one of another shape than the first is not squeezed."""
        place = bisect_right(self.pixels, frame.pts or 0, key=lambda since: since[0]) - 1
        stretched = float(self.pixels[max(0, place)][1] / self.pixels[0][1])
        if (frame.width, frame.height, stretched, view) == (*self.stored, 1.0, self.view):
            return size
        pixel = (self.height if self.view.swapped else self.width) / self.stored[0]
        shape = frame.width * pixel * stretched / frame.height
        shape = (1 / shape if view.swapped else shape) * size[1] / size[0]  # 1 is that of the first
        if abs(shape - 1) < _ALIKE:
            return size
        return max(1, round(size[0] * min(1, shape))), max(1, round(size[1] / max(1, shape)))


def probe(path: str | Path) -> MediaInfo:
    """Read what `path` holds, decoding one frame as proof.

    Raises:
        MediaError: no such file, no media file, no video stream, or no frame that can be decoded.
    """
    with opened_film(path) as opened:
        duration = opened.duration if opened.duration > 0 else _scanned_duration(path)
        rate = None if opened.still else opened.stream.average_rate or opened.stream.guessed_rate
        if rate and rate > _FASTEST:
            rate = _counted_rate(path)
        return MediaInfo(
            duration=duration,
            fps=float(rate) if rate else 0.0,
            width=opened.width,
            height=opened.height,
            codec=opened.stream.codec_context.codec.canonical_name,
            has_audio=bool(opened.container.streams.audio),
        )


def frames_at_rate(path: str | Path, fps: float, short_side: int) -> Iterator[Frame]:
    """Yield about `fps` frames a second of the whole video, their short side scaled to `short_side` pixels.

    Time is divided into cells of 1/fps seconds and the first frame of each cell is taken, so the choice
    depends on presentation times alone. A video with fewer frames gives all it has.

    Times count from the start of the *container*, as players count and as captions are timed (see `container`):
    a picture that starts after the sound stays late. Counting from the first frame instead would move such a
    picture against its captions. Frames before time 0, which an edit list hides, are not shown.

    Raises:
        MediaError: nothing can be decoded; or, after the good frames were yielded, "broken stretch" where
            they end, or "ends early" if the file stops well before the duration it announces (by over a
            cell and over a twentieth of it, taken between 1 and 5 seconds). Its `time` says until when the
            video is good.
    """
    with opened_film(path) as opened:
        draw = drawing(opened, opened.scaled(short_side))
        cell, end = -1, 0.0
        for time, end, frame in in_order(opened):
            if _cell(time, fps) > cell:
                cell = _cell(time, fps)
                yield Frame(time, end, draw(frame))
        if _ends_early(end, opened.duration, fps):
            raise _early(path, end, opened.duration)


def frames_at(path: str | Path, times: Sequence[float], short_side: int) -> list[Frame]:
    """The frames on screen at `times` (seconds as those of `frames_at_rate`, in any order), one a time.

    The frame of a time is the last that appeared at or before it; the first frame counts for what is earlier,
    the last for what is later. The video is decoded from its start to the last time, once, by PyAV: seeking
    lands on wrong frames in files with a wrong index.

    Raises:
        MediaError: nothing can be decoded, or the video breaks or ends early before one of the times.
    """
    with opened_film(path) as opened:
        draw = drawing(opened, opened.scaled(short_side))
        waiting = deque(sorted(set(times)))
        shown: dict[float, Frame] = {}
        frames = in_order(opened)
        current = next(frames)
        try:
            for following in frames:
                _show(current, following[0], waiting, shown, draw)
                current = following
                if not waiting:
                    break
        except MediaError as error:
            _show(current, error.time or 0.0, waiting, shown, draw)
            if waiting:
                raise
        end = current[1]
        if waiting and _ends_early(end, opened.duration, fps=1) and waiting[-1] > end:
            raise _early(path, end, opened.duration)
        _show(current, inf, waiting, shown, draw)
    return [shown[time] for time in times]


def _cell(time: float, fps: float) -> int:
    # Sums of times are rounded: that must not move a frame on the edge of two cells to either side.
    return floor((time + ROUNDED) * fps)


def _ends_early(end: float, announced: float, fps: float) -> bool:
    """Headers are a little wrong in many good files; only a plain gap counts."""
    return end < announced - max(1 / fps, min(5.0, max(1.0, announced / 20)))


def _early(path: str | Path, end: float, announced: float) -> MediaError:
    return MediaError(path, "ends early", f"frames end at {end:.2f} s of {announced:.2f} s", time=end)


def in_order(opened: OpenedFilm) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame) of the frames that are shown: their time is not before 0 and does not go back.

    Raises:
        MediaError: none is shown; or, after all that can be read, recordings were joined in a format that does not
            allow it.
    """
    last = -inf
    for time, end, frame in _edited(opened) if opened.clock.edits else _timed(opened):
        if time < last - _RESTART:
            detail = f"after {last:.2f} s: the times start again at {time:.2f} s; join such files with FFmpeg instead"
            raise MediaError(opened.path, "broken stretch", detail, time=last)
        if time > last and time > -ROUNDED:
            last = time
            yield time, end, frame
    if last == -inf:
        raise MediaError(opened.path, "unreadable video", "all its frames lie before its start")
    if opened.clock.more:
        detail = f"after {last:.2f} s: another recording follows unread; join such files with FFmpeg instead"
        raise MediaError(opened.path, "broken stretch", detail, time=last)


def _timed(opened: OpenedFilm) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame) in presentation seconds."""
    for frame in opened.frames:
        time = opened.clock.seconds(frame)
        yield time, time + float((frame.duration or 0) * opened.stream.time_base), frame


def _edited(opened: OpenedFilm) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """The same of what an edit list shows; where it goes back, the film is decoded once more."""
    frames: Iterator[av.VideoFrame] = opened.frames
    for number, run in enumerate(forward(opened.clock.edits)):
        frames = opened.again(run) if number else frames
        yield from _edited_once(opened, frames, run)


def _edited_once(
    opened: OpenedFilm, frames: Iterator[av.VideoFrame], run: tuple[Edit, ...]
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """The same of edits that go forward. The picture that is on screen where an edit begins may have appeared before
    that: until when it stays is known only from the picture after it."""
    held: av.VideoFrame | None = None
    try:
        for frame in frames:
            if held is not None and opened.clock.own(frame) <= opened.clock.own(held):
                continue
            if held is not None:
                yield from _parts_shown(opened, held, opened.clock.own(frame), run)
            held = frame
            if opened.clock.own(held) >= run[-1].media_end - ROUNDED:
                return
    except MediaError:
        if held is not None:
            yield from _parts_shown(opened, held, None, run)
        raise
    if held is not None:
        yield from _parts_shown(opened, held, None, run)


def _parts_shown(
    opened: OpenedFilm, frame: av.VideoFrame, until: float | None, run: tuple[Edit, ...]
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame) of a picture that stays `until` the next one (seconds of the track) in each edit; None
    where there is no next one."""
    start = opened.clock.own(frame)
    if until is None:
        until = start + max(2 * ROUNDED, float((frame.duration or 0) * opened.stream.time_base))
    for edit in run:
        first, last = max(start, edit.media), min(until, edit.media_end)
        if last - first > ROUNDED:
            moved = edit.moved - opened.clock.origin
            yield first + moved, last + moved, frame


def _show(
    current: tuple[float, float, av.VideoFrame],
    until: float,
    waiting: deque[float],
    shown: dict[float, Frame],
    draw: Callable[[av.VideoFrame], np.ndarray],
) -> None:
    """Give the times before `until` their frame, which is drawn once."""
    frame = None
    while waiting and waiting[0] < until - ROUNDED:
        frame = frame or Frame(current[0], current[1], draw(current[2]))
        shown[waiting.popleft()] = frame


@contextmanager
def opened_film(path: str | Path) -> Iterator[OpenedFilm]:
    """A film with its first frame decoded.

    Raises:
        MediaError: no such file, no media file, no video stream, or no frame that can be decoded.
    """
    path = str(path)
    with ExitStack() as stack:
        container = stack.enter_context(open_media(path, "video"))
        stream = video_stream(container)
        if stream is None:
            raise MediaError(path, "no video stream", f"a file of format {container.format.name}")
        if stream.codec_context is None:
            raise MediaError(path, "unreadable video", "no decoder for this codec")
        clock = clock_of(path, container)
        duration = clock.end or announced_duration(container, stream, clock.origin)
        if container.format.name == "avi" and joined_avi(path):
            duration = 0.0  # not announced
        if container.format.name.startswith("mov,") and (listed := edits(path, stream.id)):
            clock = replace(clock, edits=listed)
            container = stack.enter_context(open_media(path, "video", {"ignore_editlist": "1"}))
            stream = container.streams[stream.index]
            duration = listed[-1].end - clock.origin if listed[-1].end < inf else duration
        # One thread: the stage runs a process a core, and frames must not depend on the number of cores.
        stream.codec_context.thread_count = 1
        still = container.format.name == "image2" or container.format.name.endswith("_pipe")
        if still:  # half a photograph would pass for a whole one with a grey lower part
            stream.codec_context.options = {"err_detect": "explode"}
        pixels: list[tuple[int, Fraction]] = []
        played = replace(clock, edits=next(forward(clock.edits), ()))
        frames = decoded_frames(container, stream, played, path, pixels)
        first = next(frames, None)
        if first is None:
            raise MediaError(path, "unreadable video", "no frame of it can be decoded")
        view = _view(first)
        width, height = _shown_size(path, first, stream, view)
        duration = STILL_SECONDS if still else duration
        frames = chain([first], frames)
        transfer = int(first.color_trc or 0)
        stored = first.width, first.height
        yield OpenedFilm(
            path,
            container,
            stream,
            frames,
            partial(_again, container, stream, clock, path),
            clock,
            duration,
            still,
            stored,
            pixels,
            view,
            transfer,
            width,
            height,
        )


def _again(
    container: InputContainer, stream: Any, clock: Clock, path: str, run: tuple[Edit, ...]
) -> Iterator[av.VideoFrame]:
    """All frames from the start of the file."""
    container.seek(0, stream=stream)
    stream.codec_context.flush_buffers()
    return decoded_frames(container, stream, replace(clock, edits=run), path, [])


def _unnamed(cls: Any, number: int) -> Any:
    """A kind of side data that PyAV has no name for: EXIF, views of stereoscopic films, what FFmpeg adds next."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"NUMBER_{number}", number
    return kind


# PyAV 18 raises ValueError for all side data of a frame that has some of such a kind.
sidedata.Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


def _view(frame: av.VideoFrame) -> _View:
    """What the frame's display matrix says (ISO/IEC 14496-12, 6.2.2): where a step to the right and one down lead.

    Only whole quarters of a turn count, with or without a mirror, as in players.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return _View()
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) + abs(c) < _SLANTED * (abs(a) + abs(d)):
        return _View(False, a < 0, d < 0)
    if abs(a) + abs(d) < _SLANTED * (abs(b) + abs(c)):
        return _View(True, c < 0, b < 0)
    return _View()


def _shown_size(path: str, first: av.VideoFrame, stream: Any, view: _View) -> tuple[int, int]:
    """Width and height in square pixels, upright: oblong pixels are as wide as their height asks."""
    shape = float(stream.sample_aspect_ratio or 1)
    if not 1 / _OBLONG <= shape <= _OBLONG:
        shape = 1.0
    width, height = max(1, round(first.width * shape)), first.height
    if max(width, height) > _LONGEST * min(width, height):  # scaled by the short side, the long one is endless
        raise MediaError(path, "odd shape", f"{width} x {height} pixels")
    return (height, width) if view.swapped else (width, height)


def announced_duration(container: InputContainer, stream: Any, origin: float) -> float:
    """Seconds from `origin` to the announced end of the video; 0 where nothing is announced."""
    if stream.duration:
        return float((stream.start_time or 0) + stream.duration) * float(stream.time_base) - origin
    # Matroska: 00:00:05.120000000; a tag is free text, so anything else may be in it.
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", "").strip(), re.ASCII):
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) - origin
    length = (container.duration or 0) / av.time_base
    return length - origin if length and container.format.name.startswith(_ENDS_AT) else length


def _counted_rate(path: str | Path) -> Fraction | None:
    """Frames a second by the times of the first packets. Of a Matroska file that does not say its rate FFmpeg
    announces the ticks of its clock, 1,000 a second."""
    with open_media(path, "video") as container:
        stream = video_stream(container)
        try:
            times = [one.pts for one in islice(container.demux(stream), _COUNTED) if one.pts is not None]
        except UNREADABLE:  # as decoding will say, too
            return None
        if stream is None or not times or max(times) == min(times):
            return None
        ticks: Fraction = (max(times) - min(times)) * stream.time_base
        return (len(times) - 1) / ticks


def _scanned_duration(path: str | Path) -> float:
    """Where the last packet ends, for streams that announce no duration; reads the whole file."""
    last = 0
    with open_media(path, "video") as container:
        stream = video_stream(container)
        untimed = container.format.name in _UNTIMED
        try:
            for packet in container.demux(stream):
                time = packet.dts if untimed else packet.pts
                if packet.size:
                    last = max(last, (last if time is None else time) + (packet.duration or 0))
        except UNREADABLE:  # as decoding will say, too
            pass
        tick = float(stream.time_base) if stream is not None else 0.0
        return last * tick - (container.start_time or 0) / av.time_base


def decoded_frames(
    container: InputContainer, stream: Any, clock: Clock, path: str, pixels: list[tuple[int, Fraction]]
) -> Iterator[av.VideoFrame]:
    """Decode to the first bad stretch, and note in `pixels` from when on they are how wide.

    What can't be decoded before the first good frame of a recording is passed over: it often starts in the middle of
    a group of pictures.
    """
    end: float | None = None
    begun = False
    following = 0  # ticks, when a picture without a time is shown
    held: list[av.VideoFrame] = []  # pictures that may refer to one that is shown after them
    try:
        for anew, decode in _steps(container, stream, clock):
            begun = begun and not anew
            try:
                frames = decode()
            except av.FFmpegError:
                if begun:
                    raise
                continue
            for frame in frames:
                if not begun and frame.is_corrupt:
                    continue
                if frame.is_corrupt:
                    held.clear()
                    raise _Lost("damaged picture")
                begun = True
                frame.pts = following if frame.pts is None else frame.pts
                if _skips(container, frame, following, clock):
                    held.clear()
                    raise _Lost("pictures before one that needs them are missing")
                following = frame.pts + (frame.duration or 0)
                # Between key frames, what the decoder says may be that of pictures to come.
                if not pixels or (frame.key_frame and _pixels(stream) != pixels[-1][1]):
                    pixels.append((frame.pts, _pixels(stream)))
                held.append(frame)
                if frame.pict_type != PictureType.B or len(held) > _HELD:
                    end = _end(held, stream, clock)
                    yield from held
                    held.clear()
        yield from held
    except (*UNREADABLE, _Lost) as error:
        end = _end(held, stream, clock) if held else end
        yield from held
        if end is not None:
            detail = f"after {end:.2f} s: {words(error)}"
            raise MediaError(path, "broken stretch", detail, time=end) from error
        raise MediaError(path, "unreadable video", words(error)) from error


def _pixels(stream: Any) -> Fraction:
    """Width of the pixels in their height, as the codec says; 1 where it says nothing, or nonsense."""
    shape = Fraction(stream.codec_context.sample_aspect_ratio or 1)
    return shape if 1 / _OBLONG <= shape <= _OBLONG else Fraction(1)


def _end(frames: list[av.VideoFrame], stream: Any, clock: Clock) -> float:
    return clock.seconds(frames[-1]) + float((frames[-1].duration or 0) * stream.time_base)


def _skips(container: InputContainer, frame: av.VideoFrame, following: int, clock: Clock) -> bool:
    """Whether pictures are missing before one that refers to others: nothing in a program stream says so, but its
    pictures have one rate. A picture that is repeated for a film's rate stays half as long again. Where recordings
    meet, FFmpeg guesses times."""
    if container.format.name != "mpeg" or not frame.duration or frame.pict_type == PictureType.I or not following:
        return False
    late = (frame.pts or 0) - following > 0.75 * frame.duration
    return late and all(abs(clock.own(frame) - seam) > _GUESSED for seam in clock.seams())


class _Lost(Exception):
    """What follows in the file is not to be decoded."""


def _steps(
    container: InputContainer, stream: Any, clock: Clock
) -> Iterator[tuple[bool, Callable[[], list[av.VideoFrame]]]]:
    """(whether a recording begins, what decodes) packet by packet.

    The decoder forgets the recording before: its pictures are none that the first ones of the next may refer to.
    """
    slots = _Slots(stream) if container.format.name in _UNTIMED else None
    lost = deque(clock.lost)
    keyed = False
    for anew, packet in packets(container, stream, clock):
        keyed = keyed or packet.is_keyframe
        while lost and packet.pos is not None and packet.pos >= lost[0]:
            lost.popleft()
            if keyed:  # a recording that begins in the middle lost everything before
                # Of what the decoder still holds some may come after a picture that is missing.
                raise _Lost("a part of the file is missing or spoilt")
        if not stream.codec_context.is_open and stream.codec_context.name == "hevc" and _CHECK_SUM in bytes(packet):
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        if anew:
            yield False, partial(_drained, stream)
            stream.codec_context.flush_buffers()
        yield anew, partial(slots.decode, packet) if slots else packet.decode


class _Slots:
    """Times of pictures in formats that say only when packets are decoded, or not even that.

    A decoder that puts pictures in order gives each so many packets late; the picture belongs to the packet that was
    so many before.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._times: deque[int] = deque(maxlen=64)  # ticks of the last packets
        self._following = 0  # where the next one is that has no time

    def decode(self, packet: Packet[Any]) -> list[av.VideoFrame]:
        """The pictures that follow from a packet, with their times."""
        if packet.size:
            self._times.append(self._following if packet.dts is None else packet.dts)
            self._following = self._times[-1] + (packet.duration or 0)
        frames: list[av.VideoFrame] = packet.decode()
        place = len(self._times) - self._stream.codec_context.reorder_depth - (1 if packet.size else 0)
        for index, frame in enumerate(frames, max(0, place)):
            beyond = index - len(self._times)
            frame.pts = self._times[index] if beyond < 0 else self._following + beyond * (frame.duration or 0)
        return frames


def _framed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture in the middle of a black one of this width and height."""
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (whole.shape[0] - image.shape[0]) // 2, (whole.shape[1] - image.shape[1]) // 2
    whole[top : top + image.shape[0], left : left + image.shape[1]] = image
    return whole


def _drained(stream: Any) -> list[av.VideoFrame]:
    """What the decoder still holds."""
    frames: list[av.VideoFrame] = stream.codec_context.decode(None)
    for frame in frames:
        frame.time_base = stream.time_base
    return frames


def drawing(opened: OpenedFilm, size: tuple[int, int]) -> Callable[[av.VideoFrame], np.ndarray]:
    """What makes RGB uint8 [H, W, 3] of a decoded frame; `size` is width and height as shown, in pixels."""
    reformatter = VideoReformatter()  # one for all: a frame's own would set up its scaling tables each time

    def draw(frame: av.VideoFrame) -> np.ndarray:
        view = _view(frame)
        fitted = opened.fitted(frame, view, size)
        width, height = reversed(fitted) if view.swapped else fitted
        try:
            scaled = reformatter.reformat(frame, width, height, format="rgb24", interpolation=Interpolation.BILINEAR)
        except av.FFmpegError as error:
            detail = f"its pixels ({frame.format.name}) can't be converted: {words(error)}"
            raise MediaError(opened.path, "unreadable video", detail) from error
        image = as_standard(np.ascontiguousarray(view(scaled.to_ndarray())), opened.transfer)
        return image if fitted == size else _framed(image, size)

    return draw
