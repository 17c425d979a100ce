"""Hours of video ingested and segmented an hour and core, what a second worker brings, and whether memory stays flat.

    python benchmarks/ingest.py [--folder DIR] [--videos N]

Speed: 64 films of a quarter of a minute (of DIR, or drawn as benchmarks/loader.py draws them: 640x360 H.264) with the
default parameters but short side 256, once with one worker on one core, once with two on two. Memory: N small videos
with twenty cues each, and ten times as many; the largest process that the two stages had. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import psutil

from benchmarks.machine import processor
from scriptsight import ingest, segment
from scriptsight.params import reading
from scriptsight.params.ingest import IngestParams
from scriptsight.params.segment import SegmentParams

FILMS, FILM_SECONDS = 64, 15


def main() -> None:
    """Make videos, measure in processes of their own, print."""
    parser = argparse.ArgumentParser(description="Measure ingest and segment.")
    parser.add_argument("--folder", type=Path, help="films of your own instead of drawn ones")
    parser.add_argument("--videos", type=int, default=150, help="small videos of the memory measurement, at 1x")
    parser.add_argument("--stages", nargs=2, help=argparse.SUPPRESS)  # a measured process: folder, workers
    arguments = parser.parse_args()
    if arguments.stages:
        measured(arguments.stages[0], int(arguments.stages[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        films = arguments.folder.resolve() if arguments.folder else drawn_films(root / "films")
        one, two = stages(films, 1), stages(films, 2)
        peaks = []
        for times in (1, 10):
            small = small_videos(root / f"small{times}", times * arguments.videos)
            peaks.append(stages(small, 2)["peak_mb"])
            shutil.rmtree(small)
    print(f"{one['hours'] * 60:.1f} minutes of video: one worker {one['seconds']:.1f} s, two {two['seconds']:.1f} s")
    figures = {
        "video_hours_per_core_hour": round(one["hours"] * 3600 / one["seconds"], 1),
        "two_workers": round(one["seconds"] / two["seconds"], 2),
        "peak_mb_1x": peaks[0],
        "peak_mb_10x": peaks[1],
    }
    print(json.dumps({**figures, "processor": processor()}))


def drawn_films(folder: Path) -> Path:
    """Equal films: one is drawn, since only its being read is measured."""
    from benchmarks.loader import draw

    draw(folder / "0.mp4", FILM_SECONDS, seed=0)
    for number in range(1, FILMS):
        shutil.copy(folder / "0.mp4", folder / f"{number}.mp4")
    return folder


def small_videos(folder: Path, count: int) -> Path:
    """Copies of one video of two seconds and 48 x 32 pixels, with scripts of twenty cues."""
    folder.mkdir()
    with av.open(str(folder / "0.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for index in range(8):
            image = np.full((32, 48, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    cues = "".join(f"00:00:0{i // 10}.{i % 10}00 --> 00:00:0{i // 10}.{i % 10}90\nsaid {i}\n\n" for i in range(20))
    for number in range(count):
        if number:
            shutil.copy(folder / "0.mp4", folder / f"{number}.mp4")
        (folder / f"{number}.vtt").write_text(f"WEBVTT\n\n{cues}", encoding="utf-8")
    return folder


def stages(videos: Path, workers: int) -> dict[str, float]:
    """Run both stages in a process -> seconds, hours of video, and the peak in MB of the largest process."""
    command = [sys.executable, __file__, "--stages", str(videos), str(workers)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(videos: str, workers: int) -> None:
    """The measured process: one core a worker."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        sys.exit(f"{workers} workers need as many cores; this process may use {len(cores)}")
    os.sched_setaffinity(0, cores[:workers])
    where = {"workers": workers, "runner": "processes", "dask_address": None, "max_reject_share": 0.5}
    collection = {"kind": "folder", "path": videos, "pattern": "*", "splits": {"*": "train"}}
    lengths = {"fps": 2.0, "max_seconds": 60.0, "max_gap_seconds": 1.0, "pad_seconds": 0.5}
    stored = {"short_side": 256, "jpeg_quality": 90, "shard_mb": 256.0, "timeout_seconds": 600.0}
    children_mb = watch_children()
    started = time.perf_counter()
    section = reading.read_yaml(Path(__file__).parents[1] / "params.yaml")["ingest"]
    result = ingest.run(IngestParams.model_validate(section | {"collections": {"source": collection}} | where))
    segment.run(SegmentParams.model_validate(lengths | stored | where))
    seconds = time.perf_counter() - started
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = max(own_mb, children_mb())
    print(json.dumps({"seconds": seconds, "hours": result.hours, "peak_mb": round(peak)}))


def watch_children() -> Callable[[], float]:
    """Watch the memory of the processes below this one -> a function that gives the largest that was seen, in MB."""
    largest = [0.0]

    def watch() -> None:
        while True:
            for child in psutil.Process().children(recursive=True):
                try:
                    largest[0] = max(largest[0], child.memory_info().rss / 2**20)
                except psutil.Error:
                    continue  # it ended meanwhile
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    return lambda: largest[0]


if __name__ == "__main__":
    main()
