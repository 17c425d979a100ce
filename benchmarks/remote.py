"""Training from shards in an object store against training from the same shards here, in turns, in one run.

    python benchmarks/remote.py [--repeats N]

The store is an S3 server of this machine (moto's), started and stopped here; so the line to it is fast, and what it
costs is requests, copies, checksums and files. It takes processor time that a real one would not: training has one
core, and the server another. Drawn segments of 30 frames of 128 px in shards of some MB; the cache has room for a
third of them and for the validation's, so that every epoch fetches all shards anew, and begins empty. `wait_share` is
the share of the training's time that its steps wait for data, the first shards included; `vs_local` how fast it
trains against shards here. Weights must be equal to the byte, or nothing is printed. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg

from benchmarks.machine import processor
from scriptsight import pretrain
from scriptsight.catalogue import Cue
from scriptsight.params import reading
from scriptsight.params.pretrain import PretrainParams
from scriptsight.reporting import SilentReporter
from scriptsight.segments import SCHEMA, Segment, Segments, list_shards, to_batch
from tests import stores

PROJECT = Path(__file__).resolve().parents[1]
SHARDS, ROWS, FRAMES, SIDE = 12, 32, 30, 128
BATCH, EPOCHS = 16, 2
AT_ONCE = 2  # shards that an order is drawn over


def main() -> None:
    """Draw, train, print."""
    parser = argparse.ArgumentParser(description="Compare training from an object store with training from here.")
    parser.add_argument("--repeats", type=int, default=2, help="trainings from either")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as scratch, stores.server(Path(scratch)) as server:
        folder = Path(scratch)
        draw(folder / "local/segments")
        stores.send(folder / "local/segments", folder / "remote/segments", "s3://videos/segments")
        print(json.dumps({**compare(folder, server, repeats), "processor": processor()}))


def draw(folder: Path) -> None:
    """Shards of smooth noise with sentences."""
    rng = np.random.default_rng(0)
    for split, shards in (("train", SHARDS), ("val", 1)):
        for number in range(shards):
            rows = [segment(f"{split}{number}x{row}", rng) for row in range(ROWS)]
            path = folder / "drawn" / split / f"{number:05}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
                for first in range(0, ROWS, 8):
                    writer.write_batch(to_batch(rows[first : first + 8]))
        list_shards(folder / "drawn" / split)


def segment(name: str, rng: np.random.Generator) -> Segment:
    """One of as many seconds as frames, with a sentence every third second."""
    coarse = rng.integers(0, 256, (FRAMES, SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    said = rng.integers(0, 1000, (FRAMES // 3, 3))
    return Segment(
        segment_id=f"drawn/{name}/0",
        video_id=name,
        uri=f"{name}.mp4",
        start=0.0,
        end=float(FRAMES),
        frame_times=np.arange(float(FRAMES)),
        frames=[simplejpeg.encode_jpeg(image, quality=90) for image in images],
        cues=tuple(
            Cue(3.0 * i, 3.0 * i + 2.5, f"word{a} then word{b} and word{c}") for i, (a, b, c) in enumerate(said)
        ),
        title=None,
        captions=(),
        label=None,
    )


def settings(cache_gb: float) -> PretrainParams:
    """The default's training with larger frames, for some epochs."""
    section = reading.read_yaml(PROJECT / "params.yaml")["pretrain"]
    steps = EPOCHS * SHARDS * ROWS // BATCH
    changes: dict[str, Any] = {
        "collections": {"drawn": {}},
        "image_size": 64,
        "batch": BATCH,
        "steps": steps,
        "validate_every": steps,
        "validation_samples": 16,
        "checkpoint_every": steps,
        "shuffle_shards": AT_ONCE,
        "shard_cache_gb": cache_gb,
        "engine": {"threads": 1},
    }
    return PretrainParams.model_validate(reading.merge(section, changes))


def compare(folder: Path, server: stores.Server, repeats: int) -> dict[str, float]:
    """Train from either in turns."""
    sizes = Segments(folder / "local/segments", "drawn", "train").sizes()
    validated = Segments(folder / "local/segments", "drawn", "val").sizes().sum()
    params = settings(float(2 * AT_ONCE * sizes.max() + validated) / 1e9)
    speeds: dict[str, list[dict[str, float]]] = {"local": [], "remote": []}
    requests = 0
    for repeat in range(repeats):
        for name, found in speeds.items():
            shutil.rmtree(folder / "cache", ignore_errors=True)
            server.requests()
            found.append(train(folder / name, params))
            requests = server.requests().total()
            print(f"{repeat + 1}, {name}: " + json.dumps({key: round(value, 4) for key, value in found[-1].items()}))
    weights = {(folder / name / "last/model.safetensors").read_bytes() for name in speeds}
    assert len(weights) == 1, "the weights differ"
    pairs = zip(speeds["remote"], speeds["local"], strict=True)
    rate = "samples_per_second"
    return {
        "wait_share": round(median(one["data_wait_share"] for one in speeds["remote"]), 4),
        "local_wait_share": round(median(one["data_wait_share"] for one in speeds["local"]), 4),
        "vs_local": round(median(far[rate] / here[rate] for far, here in pairs), 3),
        "shards": SHARDS,
        "shard_mb": round(float(sizes.mean()) / 1e6, 1),
        "epochs": EPOCHS,
        "requests": requests,
    }


def train(folder: Path, params: PretrainParams) -> dict[str, float]:
    """One training from its first step on -> its speed."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return pretrain.run(
        params,
        segments=folder / "segments",
        bundle=folder / "last",
        best=folder / "best",
        metrics=folder / "pretrain.json",
        plots=folder / "plots",
        checkpoints=folder / "checkpoints",
        reporter=SilentReporter(),
    ).speed


if __name__ == "__main__":
    main()
