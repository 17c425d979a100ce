"""Small real files for tests: segment shards of drawn frames, and tiny models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from scriptsight import captions, retrieve
from scriptsight.catalogue import Cue
from scriptsight.judgements import FILE
from scriptsight.models import bundle
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import VideoViT
from scriptsight.params import reading
from scriptsight.params.ingest import IngestParams
from scriptsight.params.models import TextParams, WordText
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.params.segment import SegmentParams
from scriptsight.pretrain import encoders
from scriptsight.segments import SCHEMA, Segment, to_batch

WORDS = "the red green blue circle square triangle moves grows shrinks to left right up down and then"


PROJECT = Path(__file__).resolve().parents[1]


def ingest_params(collections: dict[str, Any], **keys: Any) -> IngestParams:
    """The project's own ingest section with other collections."""
    section = reading.read_yaml(PROJECT / "params.yaml")["ingest"]
    return IngestParams.model_validate(section | {"collections": collections} | keys)


def script(path: Path) -> captions.Script:
    """What a caption file says."""
    return captions.parse(path.read_bytes(), str(path))


def segment_params(**keys: Any) -> SegmentParams:
    """How small videos are cut: segments of six seconds at four small frames a second."""
    values = {
        "fps": 4.0,
        "short_side": 32,
        "max_seconds": 6.0,
        "max_gap_seconds": 1.0,
        "pad_seconds": 0.5,
        "jpeg_quality": 90,
        "shard_mb": 100.0,
        "timeout_seconds": 60.0,
        "workers": 2,
        "runner": "processes",
        "dask_address": None,
        "max_reject_share": 0.5,
    }
    return SegmentParams.model_validate(values | keys)


def frames(colour: Sequence[int], count: int = 6, side: int = 16, seed: int = 0) -> list[bytes]:
    """JPEG frames of one colour with a noisy texture."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(colour) + rng.normal(0, 20, (count, side, side, 3))
    return [
        simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=95)
        for frame in pixels.clip(0, 255).astype(np.uint8)
    ]


def segment(
    name: str,
    *,
    colour: Sequence[int] = (128, 128, 128),
    texts: Sequence[str] = (),
    label: str | None = None,
    captions: Sequence[str] = (),
    title: str | None = None,
    seed: int = 0,
) -> Segment:
    """A three-second segment of the video `name`, at 2 frames a second."""
    return Segment(
        segment_id=f"small/{name}/0",
        video_id=name,
        uri=f"videos/{name}.mp4",
        start=10.0,
        end=13.0,
        frame_times=10.0 + np.arange(6) / 2,
        frames=frames(colour, seed=seed),
        cues=tuple(Cue(10.0 + i, 11.0 + i, text) for i, text in enumerate(texts)),
        title=title,
        captions=tuple(captions),
        label=label,
    )


def write_segments(folder: Path, collection: str, split: str, segments: Sequence[Segment]) -> Path:
    """One shard FOLDER/COLLECTION/SPLIT/00000.arrow."""
    path = folder / collection / split / "00000.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(to_batch(segments))
    return path


def tiny_encoder(
    text: TextParams | None = None,
    *,
    seed: int = 0,
    texts: Sequence[str] = (WORDS,),
    max_tokens: int = 50,
) -> Encoder:
    """4 frames of 16 pixels, width 32, depth 1, 8 shared dimensions; words as text unless said."""
    choice = text or WordText(kind="words", width=16, vocabulary=100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        video = VideoViT(width=32, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=4)
        return Encoder(video, encoders.text(choice, texts, max_tokens), embed_dim=8).eval()


def tiny_bundle(folder: Path, *, seed: int = 0) -> Path:
    bundle.save(tiny_encoder(seed=seed), folder)
    return folder


def searchable(folder: Path, said: str = "moves left") -> Path:
    """A model, and an index of two moments that it made, in the places where commands and README look for them."""
    made = tiny_bundle(folder / "models" / "pretrained")
    rows = [
        segment("red", colour=(230, 0, 0), texts=["the red circle", said]),
        segment("blue", colour=(0, 0, 230), texts=["the blue square grows"]),
    ]
    write_segments(folder / "segments", "c", "test", rows)
    choice = RetrieveParams(
        collection="c",
        split="test",
        protocol="segments",
        dual_softmax=None,
        index_splits=("test",),
        more_collections=(),
        search="auto",
        map_points=0,
        batch=2,
        queries=(),
        top=2,
    )
    retrieve.run(
        choice,
        segments=folder / "segments",
        catalogue=folder / "catalogue",
        bundle=made,
        index=folder / "models" / "index",
        judgements=folder / FILE,
        metrics=folder / "retrieve.json",
        plots=folder / "plots",
        work_root=folder / "work",
    )
    return folder


def readme_example() -> str:
    """The lines of Python in README.md."""
    found = re.findall(r"^```python\n(.*?)^```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (example,) = [code for code in found if "scriptsight.load" in code]
    return example


def narrated(folder: Path, split: str, count: int, collection: str = "talks") -> Path:
    """Segments of 12 seconds with five different sentences each; those of one segment are about its own grey."""
    rows = []
    for number in range(count):
        grey = (20 + 200 * number // count,) * 3
        cues = [
            Cue(2.0 * i, 2.0 * i + 1.5, f"{what} in scene {number % 7}")
            for i, what in enumerate(("it begins", "then it moves", "now it grows", "here it shrinks", "it is over"))
        ]
        rows.append(
            Segment(
                segment_id=f"{collection}/v{number}/0",
                video_id=f"v{number}",
                uri=f"v{number}.mp4",
                start=0.0,
                end=12.0,
                frame_times=np.arange(12.0),
                frames=frames(grey, count=12, seed=number),
                cues=tuple(cues),
                title=f"scene {number % 7}",
                captions=(f"a grey scene, number {number}", f"number {number} is grey"),
                label=None,
            )
        )
    return write_segments(folder, collection, split, rows)
