"""Frozen features as the stages extract them, beside batches that are decoded and encoded one after the other.

    OMP_NUM_THREADS=1 python benchmarks/features.py [--preset vit_s16] [--frames M] [--size PX] [--segments N]

Class tokens and embeddings of segments with drawn pictures, by a ViT with random weights. The reference decodes a
batch, then encodes it in fp32 with every token in every block. Ours decodes the next batch meanwhile, computes in
bf16 where the machine does, and of the last block the class token alone. Both run on the GPU where there is one.
Times are the best of some interleaved repeats. The last line is one JSON object: the ratio of the times, and the
smallest cosine between both features of a segment.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from torch.nn import functional as F

from benchmarks.machine import processor
from scriptsight import arithmetic, clips, features
from scriptsight.clips import View
from scriptsight.models.bundle import Encoder
from scriptsight.models.text import TextEncoder
from scriptsight.models.video import VideoViT
from scriptsight.params.models import VIDEO_PRESETS
from scriptsight.reporting import SilentReporter
from scriptsight.segments import SCHEMA, Segment, Segments, to_batch

STORED = 16  # frames of a segment
KINDS = ("cls", "embedding")


def main() -> None:
    """Draw segments, extract twice, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=sorted(VIDEO_PRESETS), default="vit_s16", help="(default: %(default)s)")
    parser.add_argument("--frames", type=int, default=8, metavar="M", help="a clip (default: %(default)s)")
    parser.add_argument("--size", type=int, default=112, metavar="PX", help="of a frame (default: %(default)s)")
    parser.add_argument("--segments", type=int, default=16, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="clips a pass (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, metavar="N", help="(default: %(default)s)")
    options = parser.parse_args()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        video = VideoViT(**VIDEO_PRESETS[options.preset], tubelet=2, size=options.size, frames=options.frames)
        text = TextEncoder.words(["none"], width=16, vocabulary=10, max_tokens=10)
        encoder = Encoder(video, text, embed_dim=256).eval()
    machine = arithmetic.choose("auto", "auto", arithmetic.Work(video, options.batch))
    print(f"{options.preset}, {options.frames} frames of {options.size} pixels; ours: {machine}")
    with tempfile.TemporaryDirectory() as scratch:
        segments = drawn(Path(scratch), options.segments, round(1.15 * options.size))
        seconds: dict[str, list[float]] = {"reference": [], "ours": []}
        for _ in range(options.repeats):
            started = time.perf_counter()
            expected = one_after_the_other(encoder, segments, options.batch)
            seconds["reference"].append(time.perf_counter() - started)
            started = time.perf_counter()
            found = features.extract(encoder, segments, options.batch, SilentReporter(), "ours", kinds=KINDS)
            seconds["ours"].append(time.perf_counter() - started)
    best = {name: min(times) for name, times in seconds.items()}
    for name, value in best.items():
        print(f"{name:>9}: {len(segments) / value:.2f} segments a second")
    cosines = [cosine(found[kind][:, 0], expected[kind]).min() for kind in KINDS]
    speedup = round(best["reference"] / best["ours"], 2)
    print(json.dumps({"speedup": speedup, "cosine_min": round(min(cosines), 6), "processor": processor()}))


def one_after_the_other(encoder: Encoder, segments: Segments, batch: int) -> dict[str, np.ndarray]:
    """The reference -> float32 {"cls": [N, D], "embedding": [N, E]}."""
    machine = arithmetic.plain("fp32")
    machine.prepare(encoder)
    shape = encoder.preprocessing
    parts: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    with arithmetic.deterministic(), torch.inference_mode():
        for start in range(0, len(segments), batch):
            rows = range(start, min(start + batch, len(segments)))
            seen = np.concatenate([clips.views(segments[row], View(), shape.frames, shape.size) for row in rows])
            tokens = encoder.video(torch.from_numpy(seen).to(machine.device))
            parts["cls"].append(tokens[:, 0].cpu().numpy())
            parts["embedding"].append(F.normalize(encoder.project_video(tokens), dim=-1).cpu().numpy())
    return {kind: np.concatenate(part) for kind, part in parts.items()}


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the rows of two float32 [N, D] -> float64 [N]."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    cosines: np.ndarray = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


def drawn(folder: Path, count: int, side: int) -> Segments:
    """Segments of smooth noise that drifts, frames four thirds as wide as high, as JPEG of quality 90."""
    rng = np.random.default_rng(0)
    width = round(side * 4 / 3)
    rows = []
    for number in range(count):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, side // 8 + 4, width // 8 + 4)))
        whole = F.interpolate(coarse, scale_factor=8, mode="bilinear")[0].permute(1, 2, 0).numpy().astype(np.uint8)
        frames = [
            simplejpeg.encode_jpeg(np.ascontiguousarray(whole[step : step + side, step : step + width]), quality=90)
            for step in range(STORED)
        ]
        name = f"v{number}"
        times = np.arange(STORED) / 2
        rows.append(Segment(f"drawn/{name}/0", name, name, 0.0, STORED / 2, times, frames, (), None, (), None))
    path = folder / "drawn" / "test" / "00000.arrow"
    path.parent.mkdir(parents=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(to_batch(rows))
    return Segments(folder, "drawn", "test")


if __name__ == "__main__":
    main()
