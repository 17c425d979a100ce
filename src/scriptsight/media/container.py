"""Opening a media file, and its clock: seconds from the start of its presentation, the same for pictures, sound and
captions.

Time 0 is the start of the *container*, as players count: a transport stream that starts at 1.4 s is moved to 0, and
a picture that starts after the sound stays late. In MP4 and Matroska it is never before the file's own 0: what lies
there is hidden by an edit list, or is what a sound decoder needs to begin with.

Recordings that were joined byte by byte (transport and program streams, Ogg) have a clock that starts again, or
jumps, where the next one begins. Each is moved to where the one before it ends. Whether there are several is known
only when all packets were seen, so files of these formats are read once more; nothing is decoded for that. In a
program stream FFmpeg guesses some times: the last picture before such a place may come some frames late, and what
follows with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition

from scriptsight.media.boxes import Edit, another_follows
from scriptsight.media.errors import MediaError
from scriptsight.media.matroska import broken_from
from scriptsight.media.transport import losses

# What PyAV raises of a file that it can't read on.
UNREADABLE = (av.FFmpegError, IndexError)

_JOINED = ("mpegts", "mpeg", "flv", "live_flv", "ogg")  # formats in which the clock may start again
_JUMPS = ("mpegts", "mpeg")  # those of them in which it may also jump ahead: others have no broadcasts
_FROM_ZERO = ("mov,", "matroska,")  # formats in which what lies before 0 is not shown

_FLV = b"FLV\x01"  # a file begins so; FFmpeg takes it for a packet of some megabytes that it leaves out

# Seconds after which a clock of MPEG starts from zero, and FFmpeg's way back.
_FULL = (2**33 / 90_000, -(2**33) / 90_000)
_NEAR = 0.5  # seconds by which a step may differ from that

_TAIL, _TAIL_BYTES = 0.1, 65_536  # share of a file, and bytes, after the last packet; more is another recording

_BACK = 0.1  # seconds that a time may go back without being another recording's: players' own packets do that
_LAST = 1.0  # seconds that a recording's last picture stays at most, where its length is not told
_AHEAD = 10.0  # seconds that it may leave out, as FFmpeg's `-dts_delta_threshold`


class _Seen(NamedTuple):
    """A packet: its stream, the byte where it begins, its bytes, its times in seconds of the file."""

    stream: int
    position: int
    size: int
    decoded: float
    shown: float
    end: float


# The same as a row of a table: a recording of hours has a million packets.
_ROW = np.dtype(
    [("stream", "i4"), ("position", "i8"), ("size", "i4"), ("decoded", "f8"), ("shown", "f8"), ("end", "f8")]
)


@dataclass(frozen=True)
class _Part:
    """A stretch of a file with a clock of its own, the first one excepted."""

    begins: int  # byte of its first packet of the leading stream
    before: int  # byte of the last packet before that
    first: float  # seconds of the file, when its first packet is decoded
    last: float  # and the last one before it
    wrap: float = 0.0  # seconds, where it is the same recording and its clock is full and starts from zero, or back
    shift: float = 0.0  # seconds that its times are moved


@dataclass(frozen=True)
class Clock:
    """What a file's times mean."""

    origin: float  # seconds of the file that are time 0
    parts: tuple[_Part, ...] = ()
    end: float | None = None  # seconds until when there are pictures; None where the packets were not looked at
    more: bool = False  # whether another recording follows that FFmpeg does not read
    wild: frozenset[int] = frozenset()  # bytes where packets begin whose time is not to be believed
    lost: tuple[int, ...] = ()  # bytes where pictures begin that are damaged, or after which some are missing
    edits: tuple[Edit, ...] = ()  # stretches of the track that are shown, where FFmpeg was told to ignore its list

    def part(self, position: int, time: float) -> int:
        """The number of the stretch to which a packet belongs that begins at byte `position` and has this time."""
        number = bisect_right(self.parts, position, key=lambda part: part.begins)
        if number < len(self.parts):
            following = self.parts[number]
            # A picture that is shown after a jump may be decoded before it.
            if following.first - following.last > _AHEAD > abs(time - following.first):
                return number + 1
            # Between the last packet of one and the first of the next lie packets of both.
            if position > following.before and abs(time - following.first) < abs(time - following.last):
                return number + 1
        return number

    def shift(self, number: int) -> float:
        """Seconds that the times of a stretch are moved."""
        return self.parts[number - 1].shift if number else 0.0

    def seams(self) -> list[float]:
        """When stretches end, in seconds as those of packets that were moved."""
        return [part.last + self.shift(number) for number, part in enumerate(self.parts)]

    def seconds(self, frame: av.VideoFrame | av.AudioFrame) -> float:
        """When a frame that was decoded from `packets` is shown."""
        time = self.own(frame)
        if not self.edits:
            return time - self.origin
        edit = self.edits[max(0, bisect_right(self.edits, time, key=lambda edit: edit.media) - 1)]
        return min(time + edit.moved, edit.end) - self.origin

    @staticmethod
    def own(frame: av.VideoFrame | av.AudioFrame) -> float:
        """A frame's time in seconds of the file."""
        assert frame.pts is not None and frame.time_base is not None
        return float(frame.pts * frame.time_base)


def open_media(path: str | Path, kind: str, options: dict[str, str] | None = None) -> InputContainer:
    """Open a file with options of its format, to be closed by the caller; `kind`, "video" or "audio", is what its
    error says is unreadable."""
    try:
        if Path(path).stat().st_size == 0:
            raise MediaError(path, "empty file", "the file has no bytes")
        return av.open(str(path), metadata_errors="replace", options=options or {})
    except (av.FFmpegError, OSError) as error:
        raise MediaError(path, f"unreadable {kind}", words(error)) from error


def words(error: Exception) -> str:
    """FFmpeg's own words, without the path that they repeat."""
    return getattr(error, "strerror", None) or str(error)


def video_stream(container: InputContainer) -> Any | None:
    """FFmpeg's choice among the video streams; the cover of a record is none."""
    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def clock_of(path: str | Path, container: InputContainer) -> Clock:
    """The clock of an open file; where recordings may have been joined, the file is read for it.

    Raises:
        MediaError: the file can't be opened a second time.
    """
    origin = (container.start_time or 0) / av.time_base
    if container.format.name.startswith(_FROM_ZERO):
        if container.format.name.startswith("mov,"):
            return Clock(max(0.0, origin), more=another_follows(path))
        broken = broken_from(path)
        return Clock(max(0.0, origin), lost=() if broken is None else (broken,))
    if container.format.name not in _JOINED:
        return Clock(origin)
    with open_media(path, "video") as again:
        lead = video_stream(again) or next(iter(again.streams.audio), None)
        if lead is None:
            return Clock(origin)
        seen = np.fromiter(_seen(again), _ROW)
        clock = _joined(seen, lead.index, origin, again.format.name in _JUMPS)
        others = [one.index for one in again.streams.video if one.index != lead.index]
        lost = _lost(path, lead, seen, clock) if again.format.name == "mpegts" and lead.type == "video" else ()
    return replace(clock, lost=lost, more=len(seen) > 0 and _goes_on(path, container, seen, lead.index, others))


def joined_avi(path: str | Path) -> bool:
    """Whether another AVI file was joined to the first one, whose header knows nothing of it."""
    with Path(path).open("rb") as file:
        head = file.read(8)
        at = 8 + int.from_bytes(head[4:], "little")
        file.seek(at + at % 2)
        following = file.read(12)
    return head[:4] == following[:4] == b"RIFF" and following[8:] == b"AVI "


def _lost(path: str | Path, lead: Any, seen: np.ndarray, clock: Clock) -> tuple[int, ...]:
    """Bytes where pictures of a transport stream begin that are damaged, or after which some are missing. Packets
    also count anew where recordings were joined: there the clock does so, too, or goes on without a gap to
    a picture that needs none before it."""
    own = seen[seen["stream"] == lead.index]
    steps = np.diff(own["decoded"], prepend=own["decoded"][:1])
    usual = float(np.median(steps[1:])) if len(steps) > 1 else 0.0
    goes_on = set(own["position"][steps < 1.5 * usual].tolist())
    made = []
    for loss in losses(path, lead.id):
        seam = any(part.before <= loss.before and loss.after <= part.begins for part in clock.parts if not part.wrap)
        if not seam and not (loss.entry and loss.after in goes_on):
            made.append(loss.before)
    return tuple(made)


def _goes_on(path: str | Path, container: InputContainer, seen: np.ndarray, lead: int, others: list[int]) -> bool:
    """Whether another recording follows that is not read with the stream `lead`: in FLV its header is left out with
    what comes after it; in transport streams its streams may have other numbers, which FFmpeg may or may not know."""
    last = int((seen["position"] + seen["size"]).max())
    if container.format.name.endswith("flv"):
        return _holds(path, last, _FLV)
    end = seen["position"][seen["stream"] == lead].max(initial=0)
    if any((seen["position"][seen["stream"] == other] > end).all() for other in others if other in seen["stream"]):
        return True
    size = Path(path).stat().st_size
    return container.format.name == "mpegts" and size - last > max(_TAIL_BYTES, _TAIL * size)


def _holds(path: str | Path, start: int, what: bytes) -> bool:
    """Whether a file has these bytes after the byte `start`."""
    with Path(path).open("rb") as file:
        file.seek(start)
        before = b""
        while block := file.read(1 << 20):
            if what in before + block:
                return True
            before = block[-len(what) :]
    return False


def packets(container: InputContainer, stream: Any, clock: Clock) -> Iterator[tuple[bool, Packet[Any]]]:
    """(whether a recording begins with it, packet) of a stream, on one clock."""
    begins = {part.begins for part in clock.parts if not part.wrap}
    position = 0
    for packet in _demuxed(container, stream):
        time = _decoding_time(packet) if clock.parts else None
        if packet.pos in clock.wild:
            packet.pts = packet.dts = None
        elif time is not None and packet.time_base is not None:
            position = position if packet.pos is None else packet.pos
            number = clock.part(position, time)
            moved = round(clock.shift(number) / packet.time_base)
            packet.pts = None if packet.pts is None or _is_guess(packet) else packet.pts + moved
            packet.dts = None if packet.dts is None else packet.dts + moved
        yield packet.pos in begins and bool(packet.is_keyframe), packet


def _demuxed(container: InputContainer, *streams: Any) -> Iterator[Packet[Any]]:
    """All packets of these streams, and an empty one of each at the end."""
    ended = 0
    try:
        for packet in container.demux(*streams):
            ended += not packet.size
            yield packet
    except IndexError:  # after the last packet PyAV may stumble over a stream that was not there when it was opened
        if ended < len(streams):
            raise


def _seen(container: InputContainer) -> Iterator[_Seen]:
    """The packets of pictures and sound that have a time, as far as the file can be read."""
    positions: dict[int, int] = {}
    try:
        for packet in _demuxed(container, *container.streams.video, *container.streams.audio):
            time = _decoding_time(packet)
            if time is None or packet.time_base is None:
                continue
            tick = float(packet.time_base)
            index = packet.stream_index
            # Of several frames in one packet of the container only the first has a position.
            positions[index] = positions.get(index, 0) if packet.pos is None else packet.pos
            shown = time if packet.pts is None or _is_guess(packet) else packet.pts * tick
            end = shown + (packet.duration or 0) * tick
            yield _Seen(index, positions[index], packet.size, time, shown, end)
    except UNREADABLE:  # as decoding will say, too
        return


def _decoding_time(packet: Packet[Any]) -> float | None:
    """Seconds of the file. Where recordings meet, FFmpeg may give the next one's first packet a time to be decoded
    that goes on from the one before, and the last packet before it a time to be shown in the next one."""
    if packet.dts is None or packet.pts is None:
        time = packet.pts if packet.dts is None else packet.dts
        return None if time is None else float(time * packet.time_base)
    decoded, shown = float(packet.dts * packet.time_base), float(packet.pts * packet.time_base)
    return decoded if decoded <= shown <= decoded + _AHEAD or _is_guess(packet) else shown


def _is_guess(packet: Packet[Any]) -> bool:
    """Whether the time at which a packet is shown is one that FFmpeg made up of the next recording's: it is far away,
    and the container has none, since the packet does not begin one of the container's."""
    if packet.pos is not None or packet.pts is None or packet.dts is None or packet.time_base is None:
        return False
    return not 0 <= float((packet.pts - packet.dts) * packet.time_base) <= _AHEAD


def _rows(seen: np.ndarray) -> Iterator[_Seen]:
    """The packets of a table."""
    for start in range(0, len(seen), 10_000):
        yield from map(_Seen._make, seen[start : start + 10_000].tolist())


def _joined(seen: np.ndarray, lead: int, origin: float, jumps: bool) -> Clock:
    """The clock that moves each recording to the end of the one before it; the stream `lead` tells them apart.

    Sound may last longer than pictures, or begin earlier: nothing of it may lie over the next recording. But a single
    wild time of it must not tear them apart, so only what is near the pictures counts.
    """
    times = seen["decoded"][seen["stream"] == lead]
    if len(times) == 0:
        return Clock(origin)
    usual = float(np.median(np.abs(np.diff(times)))) if len(times) > 1 else 0.0
    parts, wild = _parts(seen, lead, usual, jumps)
    if not (parts or jumps):
        return Clock(origin)
    raw = Clock(origin, tuple(parts))
    starts, ends = np.full(len(parts) + 1, inf), np.full(len(parts) + 1, -inf)
    lost = set()
    for one in _rows(seen):
        number = raw.part(one.position, one.decoded)
        if one in wild and not (number and parts[number - 1].begins > one.position):
            lost.add(one.position)
        elif one.stream == lead:
            starts[number] = min(starts[number], one.shown)
            ends[number] = max(ends[number], one.end, one.shown + min(usual, _LAST))
    pictures_end = ends[-1]
    near = starts - _AHEAD, ends + _AHEAD
    for one in _rows(seen):
        number = raw.part(one.position, one.decoded)
        if near[0][number] < one.shown and one.end < near[1][number]:
            starts[number] = min(starts[number], one.shown)
            ends[number] = max(ends[number], one.end)
    moved, shift = [], 0.0
    for part, end, start in zip(parts, ends[:-1], starts[1:], strict=True):
        shift += part.wrap or (float(end - start) if start < inf else 0.0)
        moved.append(replace(part, shift=shift))
    return Clock(origin, tuple(moved), float(pictures_end) + shift - origin, wild=frozenset(lost))


def _parts(seen: np.ndarray, lead: int, usual: float, jumps: bool) -> tuple[list[_Part], set[_Seen]]:
    """Where the clock of the leading stream goes back or jumps ahead, with no other stream that fills the gap; and
    single packets of it with a wild time, which are no recording.

    `usual` is the time in seconds from one of its packets to the next.
    """
    parts: list[_Part] = []
    wild = set()
    back, ahead = max(_BACK, 2 * usual), max(_AHEAD, 10 * usual)
    following = iter(seen["decoded"][seen["stream"] == lead][1:].tolist())
    last: _Seen | None = None
    reached = -inf  # the latest time of any stream
    for one in _rows(seen):
        if one.stream != lead:
            if reached == -inf or one.decoded <= reached + ahead:
                reached = max(reached, one.decoded)
            continue
        after = next(following, None)
        if last is not None and (
            one.decoded < last.decoded - back or (jumps and one.decoded > max(reached, last.decoded) + ahead)
        ):
            # The next one goes on from the one before it.
            if after is not None and abs(after - one.decoded - usual) > abs(after - last.decoded - 2 * usual):
                wild.add(one)
                continue
            wrap = next((full for full in _FULL if abs(one.decoded - last.decoded + full) < _NEAR), 0.0)
            parts.append(_Part(one.position, last.position, one.decoded, last.decoded, wrap))
            reached = one.decoded
        reached = max(reached, one.decoded)
        last = one
    return parts, wild
