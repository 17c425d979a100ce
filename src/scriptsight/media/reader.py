"""What a video file holds, and its frames at a low rate or at given times: decord first, PyAV where it refuses.

A still picture (JPEG, PNG, WebP, ...) is a video of one frame that lasts `STILL_SECONDS`; an animated GIF or PNG
is a video. FFmpeg reads no animated WebP. Transparency is dropped. Pictures of high dynamic range are shown as
standard ones (see `hdr`), oblong pixels as square ones.
"""

from __future__ import annotations

import ctypes
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import Interpolation, VideoReformatter

from scriptsight.media.errors import MediaError
from scriptsight.media.hdr import as_standard

STILL_SECONDS = 0.04  # how long a still picture lasts; not 0, so that it is a stretch of time like any other

_ROUNDED = 4e-4  # seconds that a time may be off by its rounding
_OBLONG = 4.0  # pixels longer or wider than this are an error of the header
_LONGEST = 50  # sides of the longest picture

# What PyAV raises of a file that it can't read on: a stream that turns up late is out of its list of streams.
UNREADABLE = (av.FFmpegError, IndexError)

# Containers in which decord and PyAV were seen to give the same frames. In transport streams, program streams
# and FLV decord gives wrong ones, without an error.
_DECORD_FORMATS = ("mov,", "matroska,")


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
class _Opened:
    """A container whose first frame was decoded: proof that there is a picture, and how it is turned."""

    path: str
    container: InputContainer
    stream: Any
    frames: Iterator[av.VideoFrame]  # all of them, the first included
    origin: float  # seconds, the container's start
    duration: float  # seconds from there to the announced end of the video
    still: bool
    quarter_turns: int  # counter-clockwise, as numpy.rot90 counts
    transfer: int  # how light is coded, as ITU-T H.273 counts
    width: int  # as shown
    height: int

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Width and height as shown, the shorter of them `short_side`."""
        scale = short_side / min(self.width, self.height)
        return max(short_side, round(self.width * scale)), max(short_side, round(self.height * scale))


def probe(path: str | Path) -> MediaInfo:
    """Read what `path` holds, decoding one frame as proof.

    Raises:
        MediaError: no such file, no media file, no video stream, or no frame that can be decoded.
    """
    with _opened(path) as opened:
        duration = opened.duration if opened.duration > 0 else _scanned_duration(path)
        rate = None if opened.still else opened.stream.average_rate or opened.stream.guessed_rate
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
    depends on presentation times alone, whichever decoder runs. A video with fewer frames gives all it has.

    Times count from the start of the *container*, as players count and as captions are timed: a transport
    stream that starts at 1.4 s is moved to 0, and a picture that starts after the sound stays late. Counting
    from the first frame instead would move such a picture against its captions.

    Raises:
        MediaError: nothing can be decoded; or, after the good frames were yielded, "broken stretch" where
            they end, or "ends early" if the file stops well before the duration it announces (by over a
            cell and over a twentieth of it, taken between 1 and 5 seconds). Its `time` says until when the
            video is good.
    """
    with _opened(path) as opened:
        size = opened.scaled(short_side)
        cell, end = -1, 0.0
        for frame in _decord_frames(opened, fps, size):
            cell, end = _cell(frame.time, fps), frame.end
            yield frame
        if cell >= 0 and not _ends_early(end, opened.duration, fps):
            return
        # decord refused the file, or stopped in it: PyAV takes over after the last cell that was given.
        for frame in _pyav_frames(opened, fps, size):
            end = max(end, frame.end)
            if _cell(frame.time, fps) > cell:
                yield frame
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
    with _opened(path) as opened:
        draw = _drawing(opened, opened.scaled(short_side))
        waiting = deque(sorted(set(times)))
        shown: dict[float, Frame] = {}
        frames = _in_order(opened)
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
    return int((time + _ROUNDED) * fps)


def _ends_early(end: float, announced: float, fps: float) -> bool:
    """`end` is that of the last chosen frame: others of its cell may follow. Headers are a little wrong in many
    good files; only a plain gap counts."""
    return end < announced - max(1 / fps, min(5.0, max(1.0, announced / 20)))


def _early(path: str | Path, end: float, announced: float) -> MediaError:
    return MediaError(path, "ends early", f"frames end at {end:.2f} s of {announced:.2f} s", time=end)


def _in_order(opened: _Opened) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame) of the frames whose time does not go backwards."""
    last = -inf
    for frame in opened.frames:
        time = presentation_time(frame, opened.container)
        if time > last:
            last = time
            yield time, time + float((frame.duration or 0) * opened.stream.time_base), frame


def _show(
    current: tuple[float, float, av.VideoFrame],
    until: float,
    waiting: deque[float],
    shown: dict[float, Frame],
    draw: Callable[[av.VideoFrame], np.ndarray],
) -> None:
    """Give the times before `until` their frame, which is drawn once."""
    frame = None
    while waiting and waiting[0] < until - _ROUNDED:
        frame = frame or Frame(current[0], current[1], draw(current[2]))
        shown[waiting.popleft()] = frame


def open_media(path: str | Path, kind: str) -> InputContainer:
    """Open a file, to be closed by the caller; `kind`, "video" or "audio", is what its error says is unreadable."""
    try:
        if Path(path).stat().st_size == 0:
            raise MediaError(path, "empty file", "the file has no bytes")
        return av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise MediaError(path, f"unreadable {kind}", words(error)) from error


@contextmanager
def _opened(path: str | Path) -> Iterator[_Opened]:
    path = str(path)
    with open_media(path, "video") as container:
        stream = _video_stream(container)
        if stream is None:
            raise MediaError(path, "no video stream", f"a file of format {container.format.name}")
        if stream.codec_context is None:
            raise MediaError(path, "unreadable video", "no decoder for this codec")
        # One thread: the stage runs a process a core, and frames must not depend on the number of cores.
        stream.codec_context.thread_count = 1
        still = container.format.name == "image2" or container.format.name.endswith("_pipe")
        if still:  # half a photograph would pass for a whole one with a grey lower part
            stream.codec_context.options = {"err_detect": "explode"}
        frames = _decoded(container, stream, path)
        first = next(frames, None)
        if first is None:
            raise MediaError(path, "unreadable video", "no frame of it can be decoded")
        turns = round(first.rotation / 90) % 4 if first.rotation % 90 == 0 else 0
        width, height = _shown_size(path, first, stream, turns)
        origin = (container.start_time or 0) / av.time_base
        duration = STILL_SECONDS if still else _duration(container, stream, origin)
        frames = chain([first], frames)
        transfer = int(first.color_trc or 0)
        yield _Opened(path, container, stream, frames, origin, duration, still, turns, transfer, width, height)


def _shown_size(path: str, first: av.VideoFrame, stream: Any, turns: int) -> tuple[int, int]:
    """Width and height in square pixels, upright: oblong pixels are as wide as their height asks."""
    shape = float(stream.sample_aspect_ratio or 1)
    if not 1 / _OBLONG <= shape <= _OBLONG:
        shape = 1.0
    width, height = max(1, round(first.width * shape)), first.height
    if max(width, height) > _LONGEST * min(width, height):  # scaled by the short side, the long one is endless
        raise MediaError(path, "odd shape", f"{width} x {height} pixels")
    return (height, width) if turns % 2 else (width, height)


def _video_stream(container: InputContainer) -> Any | None:
    """FFmpeg's choice among the video streams; the cover of a record is none."""
    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def _duration(container: InputContainer, stream: Any, origin: float) -> float:
    """Seconds from `origin` to the announced end of the video; 0 where nothing is announced."""
    if stream.duration:
        return float((stream.start_time or 0) + stream.duration) * float(stream.time_base) - origin
    # Matroska: 00:00:05.120000000; a tag is free text, so anything else may be in it.
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", "").strip(), re.ASCII):
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) - origin
    return (container.duration or 0) / av.time_base


def _scanned_duration(path: str | Path) -> float:
    """Where the last packet ends, for streams that announce no duration; reads the whole file."""
    last = 0.0
    with open_media(path, "video") as container:
        origin = (container.start_time or 0) / av.time_base
        try:
            for packet in container.demux(_video_stream(container)):
                if packet.pts is not None and packet.time_base is not None:
                    last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base) - origin)
        except UNREADABLE:  # as decoding will say, too
            pass
    return last


def _decoded(container: InputContainer, stream: Any, path: str) -> Iterator[av.VideoFrame]:
    """Decode to the first bad stretch. What can't be decoded before the first good frame is passed over:
    a recording often starts in the middle of a group of pictures."""
    end: float | None = None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if end is not None:
                    raise
                continue
            for frame in frames:
                if frame.pts is None or (end is None and frame.is_corrupt):
                    continue
                if frame.is_corrupt:
                    raise MediaError(path, "broken stretch", f"damaged picture after {end:.2f} s", time=end)
                end = presentation_time(frame, container) + float((frame.duration or 0) * stream.time_base)
                yield frame
    except UNREADABLE as error:
        if end is not None:
            detail = f"after {end:.2f} s: {words(error)}"
            raise MediaError(path, "broken stretch", detail, time=end) from error
        raise MediaError(path, "unreadable video", words(error)) from error


def presentation_time(frame: av.VideoFrame | av.AudioFrame, container: InputContainer) -> float:
    """Seconds from the container's start to the frame."""
    assert frame.pts is not None and frame.time_base is not None
    return float(frame.pts * frame.time_base) - (container.start_time or 0) / av.time_base


def _pyav_frames(opened: _Opened, fps: float, size: tuple[int, int]) -> Iterator[Frame]:
    """The first frame of each cell; `size` is width and height as shown, in pixels."""
    draw = _drawing(opened, size)
    cell = -1
    for frame in opened.frames:
        time = presentation_time(frame, opened.container)
        if _cell(time, fps) <= cell:  # also a time that goes backwards
            continue
        cell = _cell(time, fps)
        yield Frame(time, time + float((frame.duration or 0) * opened.stream.time_base), draw(frame))


def _drawing(opened: _Opened, size: tuple[int, int]) -> Callable[[av.VideoFrame], np.ndarray]:
    """What makes RGB uint8 [H, W, 3] of a decoded frame; `size` is width and height as shown, in pixels."""
    width, height = reversed(size) if opened.quarter_turns % 2 else size
    reformatter = VideoReformatter()  # one for all: a frame's own would set up its scaling tables each time

    def draw(frame: av.VideoFrame) -> np.ndarray:
        try:
            scaled = reformatter.reformat(frame, width, height, format="rgb24", interpolation=Interpolation.BILINEAR)
        except av.FFmpegError as error:
            detail = f"its pixels ({frame.format.name}) can't be converted: {words(error)}"
            raise MediaError(opened.path, "unreadable video", detail) from error
        image = np.ascontiguousarray(np.rot90(scaled.to_ndarray(), opened.quarter_turns))
        return as_standard(image, opened.transfer)

    return draw


def _decord_frames(opened: _Opened, fps: float, size: tuple[int, int]) -> Iterator[Frame]:
    """The same by decord; it ends, without an error, where decord refuses: PyAV then says what is wrong."""
    decord = _decord()
    if decord is None or opened.stream.start_time is None:
        return
    if not opened.container.format.name.startswith(_DECORD_FORMATS):
        return
    # decord counts from the first frame, not from the start of the container.
    offset = float(opened.stream.start_time * opened.stream.time_base) - opened.origin
    complaints = _complaints[0]
    try:
        reader = decord.VideoReader(opened.path, width=size[0], height=size[1], num_threads=1)
        times = reader.get_frame_timestamp(range(len(reader))).astype(np.float64)  # [F, 2]
    except (decord.DECORDError, RuntimeError):
        return
    tick = float(opened.stream.time_base)
    times = np.rint(times / tick) * tick + offset  # decord keeps float32
    if not (np.diff(times[:, 0]) > 0).all():  # hidden frames that decord counts as shown
        return
    if opened.duration:  # an edit list may cut frames off that decord still counts
        times = times[times[:, 0] < opened.duration - 1e-3]
    cells = [_cell(time, fps) for time in times[:, 0]]
    wanted = [i for i, cell in enumerate(cells) if cell >= 0 and (i == 0 or cell > cells[i - 1])]
    upcoming = 0
    for i in wanted:
        try:
            # Every frame is read: `skip_frames` seeks, which may land on a wrong frame and misses damage.
            for _ in range(upcoming, i):
                reader.next()
            image = reader.next().asnumpy()
        except (decord.DECORDError, RuntimeError, StopIteration):
            return
        if _complaints[0] != complaints:  # of this frame or of one soon after it
            return
        upcoming = i + 1
        # Where padding makes a row as long as four channels, decord hands the padding out as channels.
        image = image.reshape(size[1], -1)[:, : 3 * size[0]].reshape(size[1], size[0], 3)
        yield Frame(float(times[i, 0]), float(times[i, 1]), as_standard(image, opened.transfer))


_ERROR = 16  # FFmpeg's AV_LOG_ERROR; what is worse is lower
_complaints = [0]  # how often the FFmpeg inside decord logged an error in this process


def _heard(_source: int, level: int, _format: int, _arguments: int) -> None:
    if level & 0xFF <= _ERROR:
        _complaints[0] += 1


_LISTENER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_heard)


@cache
def _decord() -> ModuleType | None:
    """decord, listened to: it has wheels for one platform only, and None is returned elsewhere.

    decord shows damaged pictures as if they were good; that they are damaged is said only in the log of the
    FFmpeg in its wheel. Decoding every video a second time to find out would take longer than PyAV alone.
    """
    try:
        import decord
    except ImportError:
        return None
    library = next((Path(decord.__file__).parents[1] / "decord.libs").glob("libavutil*"), None)
    if library is None:
        return None
    ctypes.CDLL(str(library)).av_log_set_callback(_LISTENER)
    module: ModuleType = decord
    return module


def words(error: Exception) -> str:
    """FFmpeg's own words, without the path that they repeat."""
    return getattr(error, "strerror", None) or str(error)
