"""Samples of 16 frames a second: from segment shards, from the source video with decord, and from the source video
with a seek for every frame, as the official TVTS code reads it with OpenCV. Same samples, same run, one core.

    python benchmarks/loader.py [--folder DIR] [--repeats N]

Without --folder, the source is drawn: 640x360 H.264, 30 frames and about 700 kbit a second, a key frame every 5 s
and at cuts, panning textures with a cut every 8 s. All give RGB frames of short side 256; shards hold them at quality
90 and 2 frames a second, and a sample is 16 of the frames of a stretch of 15 to 23 s. Seconds are those of the
processor. The last line is one JSON object, of shards with `jpeg_chroma: 420`, and where the name says so of 444;
`bytes_per_sample` is the whole stretch in the shard, which serves any number of samples, `source_bytes_per_sample`
the source file's share of the same seconds, `difference` that of the shards' pictures from the seek reader's, of 255.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import decord
import numpy as np

from benchmarks.machine import processor
from scriptsight import ingest, segment
from scriptsight.params import reading
from scriptsight.params.ingest import IngestParams
from scriptsight.params.segment import SegmentParams
from scriptsight.segments import Segments

PROJECT = Path(__file__).resolve().parents[1]  # before the folder is changed
FRAMES = 16
SHORT_SIDE = 256
RATE = 30
SHOT = 8  # seconds between cuts
SIZE = (640, 360)


def main() -> None:
    """Make shards, read, print."""
    parser = argparse.ArgumentParser(description="Compare shards with reading the source video.")
    parser.add_argument("--folder", type=Path, help="videos of your own instead of drawn ones")
    parser.add_argument("--repeats", type=int, default=20, help="times that each sample is read from the shard")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    source = arguments.folder.resolve() if arguments.folder else None
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        if source is None:
            source = Path("videos")
            for number, seconds in enumerate((45, 69)):  # three stretches each
                draw(source / f"{number}.mp4", seconds, seed=number)
        full, half = (compare(cut(source, chroma), arguments.repeats) for chroma in (444, 420))
    both = {f"full_chroma_{name}": full[name] for name in ("vs_seek", "vs_decord", "difference")}
    print(json.dumps({**half, **both, "processor": processor()}))


def draw(path: Path, seconds: int, seed: int) -> None:
    """Write a video whose picture pans over textures of all scales, with things that move on it."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "medium", "g": str(5 * RATE)})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 700_000
        for index in range(seconds * RATE):
            if index % (SHOT * RATE) == 0:
                place, thing = _texture(rng, 2 * height, 2 * width), _texture(rng, 120, 160)
                speed, drift = rng.uniform(-0.8, 0.8, 2), rng.uniform(-4, 4, 2)
            step = index % (SHOT * RATE)
            top, left = (np.array([height, width]) / 2 + speed * step).astype(int)
            image = place[top : top + height, left : left + width].copy()
            top, left = (np.array([height, width]) / 3 + drift * step).astype(int) % (height - 120, width - 160)
            image[top : top + 120, left : left + 160] = thing
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise whose strength falls with its frequency, as in photographs -> uint8 [height, width, 3]."""
    image = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 9):
        grid = rng.standard_normal((2**octave, 2**octave, 3)).astype(np.float32)
        image += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** (octave - 2)
    return np.clip(128 + 40 * image, 0, 255).astype(np.uint8)


def cut(source: Path, chroma: int) -> Segments:
    """Ingest and segment a folder of videos in the current folder."""
    where = {"workers": 1, "runner": "processes", "dask_address": None, "max_reject_share": 0.5}
    collection = {"kind": "folder", "path": str(source), "pattern": "*", "splits": {"*": "train"}}
    section = reading.read_yaml(PROJECT / "params.yaml")["ingest"]
    ingest.run(IngestParams.model_validate(section | {"collections": {"source": collection}} | where))
    lengths = {"fps": 2.0, "max_seconds": 23.0, "max_gap_seconds": 60.0, "pad_seconds": 0.5}
    stored = {"short_side": SHORT_SIDE, "jpeg_quality": 90, "shard_mb": 256.0, "timeout_seconds": 600.0}
    segment.run(SegmentParams.model_validate(lengths | stored | where | {"jpeg_chroma": chroma}))
    return Segments("data/segments", "source", "train")


def compare(rows: Segments, repeats: int) -> dict[str, float]:
    """Read the same samples in the three ways, in turns."""
    rng = random.Random(0)
    seconds = {"seek": 0.0, "decord": 0.0, "shard": 0.0}
    stored, drawn, shares, differences = [], [], [], []
    for row in rows:
        if len(row.frames) < FRAMES:
            continue
        chosen = sorted(rng.sample(range(len(row.frames)), FRAMES))
        times = row.frame_times[chosen]
        with av.open(row.uri) as container:
            stream = container.streams.video[0]
            assert container.duration, f"{row.uri} does not say how long it is"
            rate, duration = float(stream.average_rate or RATE), container.duration / av.time_base
        indices = np.rint(times * rate).astype(int)
        images = {}
        for name, read, times_read in (
            ("seek", lambda: by_seeks(row.uri, indices), 1),  # noqa: B023 - called at once
            ("decord", lambda: by_decord(row.uri, indices), 1),  # noqa: B023
            ("shard", lambda: row.decode(chosen), repeats),  # noqa: B023
        ):
            elapsed, images[name] = timed(read, times_read)
            seconds[name] += elapsed
        for name in ("decord", "shard"):  # the same pictures, or the comparison is worth nothing
            error = np.abs(images[name].astype(int) - images["seek"]).mean()
            assert error < 12, f"{row.segment_id}: {name} differs by {error:.1f} of 255 from the seek reader"
        differences.append(error)
        stored.append(sum(len(row.frames[i]) for i in range(len(row.frames))))
        drawn.append(sum(len(row.frames[i]) for i in chosen))
        shares.append(Path(row.uri).stat().st_size * (row.end - row.start) / duration)
    rates = {name: len(stored) / value for name, value in seconds.items()}
    print(f"{len(stored)} samples; a second: " + ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items()))
    print(f"a sample's own {FRAMES} frames: {np.mean(drawn):.0f} bytes")
    return {
        "vs_seek": round(rates["shard"] / rates["seek"], 1),
        "vs_decord": round(rates["shard"] / rates["decord"], 1),
        "difference": round(float(np.mean(differences)), 2),
        "bytes_per_sample": round(float(np.mean(stored))),
        "source_bytes_per_sample": round(float(np.mean(shares))),
    }


def timed(read: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Seconds of the processor for one reading, others on the core left out, and what was read."""
    started = time.process_time()
    for _ in range(repeats):
        images = read()
    return (time.process_time() - started) / repeats, images


def by_seeks(path: str, indices: np.ndarray) -> np.ndarray:
    """As `read_frames_cv2` of the official code: a seek, a frame, a conversion for each -> uint8 [M, H, W, 3]."""
    capture = cv2.VideoCapture(path)
    scale = SHORT_SIDE / min(capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    frames = []
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        ok, image = capture.read()
        assert ok, f"{path}: no frame {index}"
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames)


def by_decord(path: str, indices: np.ndarray) -> np.ndarray:
    """All frames of a sample at once, scaled by decord -> uint8 [M, H, W, 3]."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        scale = SHORT_SIDE / min(stream.width, stream.height)
        width, height = round(stream.width * scale), round(stream.height * scale)
    reader = decord.VideoReader(path, width=width, height=height, num_threads=1)
    images: np.ndarray = reader.get_batch(indices).asnumpy()
    return images


if __name__ == "__main__":
    main()
