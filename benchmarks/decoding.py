"""Processor seconds to take two frames a second out of a film: as the stages do it (PyAV), and by decord, which read
films here before.

    python benchmarks/decoding.py [--folder DIR] [--repeats N]

Films of DIR (MP4, Matroska, WebM), or two that are drawn as benchmarks/loader.py draws them (640x360), in H.264 and
in VP9. Frames of short side 256, one core, the smallest of N repeats in turn; the same pictures from both, or there
is no result. decord reads every frame, as it did: its seeking may land on a wrong one. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np

from benchmarks.loader import draw
from benchmarks.machine import processor
from scriptsight.media import frames_at_rate

FPS, SHORT_SIDE = 2.0, 256
SECONDS = 30

Timed = tuple[float, np.ndarray]  # seconds of the film, RGB uint8 [H, W, 3]


def main() -> None:
    """Draw films, read them both ways, print."""
    parser = argparse.ArgumentParser(description="Measure decoding.")
    parser.add_argument("--folder", type=Path, help="films of your own instead of drawn ones")
    parser.add_argument("--repeats", type=int, default=3, help="times that each film is read each way")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        films = sorted(arguments.folder.iterdir()) if arguments.folder else drawn(Path(scratch))
        figures = {film.stem: compare(film, arguments.repeats) for film in films}
    for name, one in figures.items():
        print(f"{name}: PyAV {one['pyav']:.2f} s, decord {one['decord']:.2f} s")
    totals = {way: round(sum(one[way] for one in figures.values()), 2) for way in ("pyav", "decord")}
    ratios = {f"vs_decord_{name}": round(one["decord"] / one["pyav"], 2) for name, one in figures.items()}
    overall = round(totals["decord"] / totals["pyav"], 2)
    print(json.dumps({**totals, **ratios, "vs_decord": overall, "processor": processor()}))


def drawn(folder: Path) -> list[Path]:
    """The same film in H.264 and in VP9."""
    source = folder / "films" / "h264.mp4"
    draw(source, SECONDS, seed=0)
    second = source.with_name("vp9.webm")
    with av.open(str(source)) as original, av.open(str(second), "w") as container:
        options = {"deadline": "realtime", "cpu-used": "6", "b": "700k", "g": "150"}
        stream: Any = container.add_stream("libvpx-vp9", rate=original.streams.video[0].average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for frame in original.decode(video=0):
            frame.pict_type = 0  # the new encoder chooses
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [source, second]


def compare(film: Path, repeats: int) -> dict[str, float]:
    """Processor seconds of each way."""
    ways: dict[str, Callable[[Path], Iterator[Timed]]] = {"pyav": by_pyav, "decord": by_decord}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        read = {}
        for name, way in ways.items():
            started = time.process_time()
            read[name] = list(way(film))
            seconds[name].append(time.process_time() - started)
        for (one, picture), (other, twin) in zip(read["pyav"], read["decord"], strict=True):
            if abs(one - other) > 2e-3 or np.abs(picture.astype(int) - twin).mean() > 4:
                sys.exit(f"{film}: the pictures at {one:.2f} and {other:.2f} s differ")
    return {name: min(times) for name, times in seconds.items()}


def by_pyav(film: Path) -> Iterator[Timed]:
    """As the stages read films."""
    for frame in frames_at_rate(film, FPS, SHORT_SIDE):
        yield frame.time, frame.image


def by_decord(film: Path) -> Iterator[Timed]:
    """The first frame of each half second by decord, whose times count from the first frame."""
    with av.open(str(film)) as container:
        size = container.streams.video[0].width, container.streams.video[0].height
    scale = SHORT_SIDE / min(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    reader = decord.VideoReader(str(film), width=width, height=height, num_threads=1)
    times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    cells = np.floor((times - times[0] + 4e-4) * FPS)
    last = -1.0
    for time_of_it, cell in zip(times - times[0], cells, strict=True):
        frame = reader.next()
        if cell > last:
            last = cell
            # Where padding makes a row as long as four channels, decord hands the padding out as channels.
            rows = frame.asnumpy().reshape(height, -1)[:, : 3 * width]
            yield float(time_of_it), rows.reshape(height, width, 3)


if __name__ == "__main__":
    main()
