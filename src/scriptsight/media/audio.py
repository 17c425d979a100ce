"""The sound of a media file, as speech recognition takes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from scriptsight.media.container import UNREADABLE, Clock, clock_of, open_media, packets, words
from scriptsight.media.errors import MediaError

SAMPLE_RATE = 16_000  # samples a second

_APART = 0.1  # seconds by which a time stamp may be off before it is believed: containers round them
_DAMAGED = 0.05  # share of packets that may be
_ENDS = 3  # packets; a recording may begin and end within one
_PIECE = 60 * SAMPLE_RATE  # samples of silence made at once
_LONGEST_SILENCE = 3 * 3600.0  # seconds, of all gaps; more is wrong time stamps, and would fill the memory


def audio(path: str | Path) -> np.ndarray:
    """The first audio stream -> float32 [samples] in [-1, 1], mono, `SAMPLE_RATE`; empty where there is none.

    Sample 0 is the container's start, as time 0 of frames is: sound that begins later has silence before it, and
    silence stands for gaps and for damaged packets, as in a player. Channels are averaged. An hour takes 230 MB,
    twice that while it is joined: see `audio_blocks`.

    Raises:
        MediaError: as `audio_blocks` does; nothing is returned then.
    """
    return np.concatenate([np.empty(0, np.float32), *audio_blocks(path, 60.0)])


def audio_blocks(path: str | Path, seconds: float) -> Iterator[np.ndarray]:
    """The same in blocks of `seconds`, the last one shorter; memory does not grow with the file.

    Raises:
        MediaError: "unreadable audio": nothing can be decoded; or, after what could be was yielded, over one in
            twenty packets is damaged. "broken stretch", after the good blocks: reading fails, or the time
            jumps by hours; its `time` says until when the sound is good.
    """
    size = max(1, round(seconds * SAMPLE_RATE))
    held: list[np.ndarray] = []
    count = 0
    broken: MediaError | None = None
    pieces = _pieces(path)
    while True:
        try:
            piece = next(pieces, None)
        except MediaError as error:
            piece, broken = None, error
        if piece is None:
            break
        held.append(piece)
        count += len(piece)
        if count >= size:
            joined = np.concatenate(held)
            whole = count // size * size
            yield from joined[:whole].reshape(-1, size)
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)
    if broken is not None:
        raise broken


class _Run:
    """Sound without a gap: resampled, its first `skip` samples left out."""

    def __init__(self, frame: av.AudioFrame, start: float, skip: int) -> None:
        self.setup = _setup(frame)
        self.time = start  # seconds, until when it was fed
        self._skip = skip
        # Whole numbers: with them channels are averaged, so that loud stereo stays in [-1, 1].
        self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    def feed(self, frame: av.AudioFrame | None) -> np.ndarray:
        """float32 [samples]; None gives what is left."""
        if frame is not None:
            self.time += frame.samples / frame.sample_rate
            frame.pts = None  # here alone it is known where it belongs
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        samples = np.concatenate([np.empty(0, np.int16), *parts])
        cut = min(self._skip, len(samples))
        self._skip -= cut
        return samples[cut:].astype(np.float32) / 32768


def _frames(container: InputContainer, stream: Any, clock: Clock, path: str | Path) -> Iterator[av.AudioFrame]:
    """The frames that can be decoded; unlike pictures they don't depend on those before them."""
    good, damaged, end = 0, 0, 0.0
    try:
        for _, packet in packets(container, stream, clock):
            try:
                frames: list[Any] = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    damaged += 1
                elif frame.pts is not None and frame.samples:
                    good += 1
                    end = clock.seconds(frame) + frame.samples / frame.sample_rate
                    yield frame
    except UNREADABLE as error:
        if not good:
            raise MediaError(path, "unreadable audio", words(error)) from error
        raise MediaError(path, "broken stretch", f"after {end:.2f} s: {words(error)}", time=end) from error
    if damaged and damaged >= _ENDS + _DAMAGED * good:
        raise MediaError(path, "unreadable audio", f"{damaged} of {damaged + good} packets are damaged")


def _setup(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _pieces(path: str | Path) -> Iterator[np.ndarray]:
    """Resampled sound in order, silence in its gaps."""
    with open_media(path, "audio") as container:
        stream = next((stream for stream in container.streams.audio if stream.codec_context), None)
        if stream is None:
            if container.streams.audio:
                raise MediaError(path, "unreadable audio", "no decoder for this codec")
            return
        stream.codec_context.thread_count = 1
        given = 0  # samples so far
        silent = 0  # those of them that stand for gaps
        run: _Run | None = None
        clock = clock_of(path, container)
        for frame in _frames(container, stream, clock, path):
            time = clock.seconds(frame)
            if run is None or abs(time - run.time) > _APART or run.setup != _setup(frame):
                if run is not None:
                    rest = run.feed(None)
                    given += len(rest)
                    yield rest
                gap = round(time * SAMPLE_RATE) - given
                silent += max(0, gap)
                if silent > _LONGEST_SILENCE * SAMPLE_RATE:
                    detail = f"the sound jumps from {given / SAMPLE_RATE:.2f} s to {time:.2f} s"
                    raise MediaError(path, "broken stretch", detail, time=given / SAMPLE_RATE)
                for start in range(0, gap, _PIECE):
                    yield np.zeros(min(_PIECE, gap - start), np.float32)
                given += max(0, gap)
                run = _Run(frame, time, skip=max(0, -gap))  # before the start, or where sound already is
            samples = run.feed(frame)
            given += len(samples)
            yield samples
        if run is not None:
            yield run.feed(None)
