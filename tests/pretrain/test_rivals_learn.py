"""Every rival learns, through the stage as a whole, on segments whose order only the words show."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

import scriptsight
from scriptsight import pretrain
from scriptsight.catalogue import Cue
from scriptsight.models.resnet import ResNet3d
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segment
from tests import small
from tests.training.together import settings, train

COLOURS = {"red": (70, 0, 0), "green": (0, 70, 0), "blue": (0, 0, 70), "yellow": (70, 70, 0), "white": (70, 70, 70)}


def lamp(folder: Path, split: str, count: int) -> None:
    """Light of one colour that grows or fades over twelve seconds, brighter towards the right: the words say which
    it does and what colour it has; the pictures alone show neither what is first nor what is last."""
    rows = []
    for number in range(count):
        colour = list(COLOURS)[number % len(COLOURS)]
        grows = number // len(COLOURS) % 2 == 0
        levels = range(12) if grows else range(11, -1, -1)
        light = np.stack([np.full((16, 16, 3), 20 + 9 * level) + COLOURS[colour] for level in levels])
        light += np.arange(16)[:, None] * 2
        pixels = (light + np.random.default_rng(number).normal(0, 2, light.shape)).clip(0, 255).astype(np.uint8)
        what = "grows and grows" if grows else "fades away"
        rows.append(
            Segment(
                segment_id=f"narrated/v{number}/0",
                video_id=f"v{number}",
                uri=f"v{number}.mp4",
                start=0.0,
                end=12.0,
                frame_times=np.arange(12.0),
                frames=[simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=95) for frame in pixels],
                cues=tuple(Cue(2.4 * i, 2.4 * i + 2.4, f"the {colour} light {what}") for i in range(5)),
                title=f"the {colour} light {what}",
                captions=(),
                label=None,
            )
        )
    small.write_segments(folder, "narrated", split, rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rivals")
    lamp(folder / "segments", "train", 40)
    lamp(folder / "segments", "val", 10)
    return folder


CHOICE = {
    "video": {"width": 32, "tubelet": 1, "patch": 4},
    "keep": 0.5,
    "steps": 120,
    "validate_every": 60,
    "checkpoint_every": 60,
    "optimizer": {
        "kind": "adamw",
        "lr": 3e-3,
        "text_lr": None,
        "weight_decay": 0.05,
        "betas": [0.9, 0.98],
        "clip_norm": 1.0,
    },
    "frame_order": {"order_weight": 1.0, "head_depth": 1, "head_heads": 2},
    "masked_pixels": {"mask": 0.75, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "joint": {"objectives": {"frame_order": 1.0, "masked_pixels": 0.5}},
}


def learned(world: Path, name: str, **changes: object) -> tuple[pretrain.Result, list[float]]:
    result = train(world, name, settings(**(CHOICE | {"objective": name} | changes)))
    with (world / name / "plots" / "training.csv").open() as file:
        return result, [float(row["loss"]) for row in csv.DictReader(file)]


def test_contrastive_learns(world: Path) -> None:
    result, losses = learned(world, "contrastive")
    assert losses[-1] < 0.7 * losses[0]
    assert set(result.val) == {"t2v_r1", "t2v_chance"}
    assert result.val["t2v_r1"] > 3 * result.val["t2v_chance"]


def test_frames_are_put_in_order_by_reading(world: Path) -> None:
    result, losses = learned(world, "frame_order", keep=1.0, steps=200, validate_every=100)
    assert losses[-1] < 0.7 * losses[0]
    assert result.val["chance"] == 0.25
    assert result.val["order_accuracy"] > 0.8
    assert result.val["order_accuracy_blank"] < 0.65  # light in order or backwards: half of the videos are guessed
    assert scriptsight.load(world / "frame_order" / "best").encode_text(["the red light"]).shape == (1, 64)


def test_masked_pixels_learns(world: Path) -> None:
    result, losses = learned(world, "masked_pixels")
    assert losses[-1] < 0.7 * losses[0]
    assert result.val["masked_error"] < 0.7 < result.val["masked_error_chance"]


def test_joint_learns_and_its_bundle_is_an_encoder_like_any_other(world: Path) -> None:
    result, losses = learned(world, "joint", steps=60)
    assert losses[-1] < losses[0]
    assert {"frame_order/order_accuracy", "frame_order/chance", "masked_pixels/masked_error"} < set(result.val)
    for folder in ("last", "best"):
        encoder = scriptsight.load(world / "joint" / folder)
        assert not any("parts" in name for name, _ in encoder.named_parameters())


class Dying(ConsoleReporter):
    """Raises when the figures of step 10 come, after the checkpoint of step 8."""

    def metrics(self, values: Any, step: int | None = None) -> None:
        if step == 10:
            raise KeyboardInterrupt


def test_a_joint_training_that_dies_ends_with_the_same_bytes(world: Path) -> None:
    choice = settings(**(CHOICE | {"objective": "joint", "steps": 12, "checkpoint_every": 8, "validate_every": 6}))
    train(world, "joint whole", choice)
    with pytest.raises(KeyboardInterrupt):
        train(world, "joint died", choice, Dying())
    train(world, "joint died", choice)
    for name in ("last/model.safetensors", "best/model.safetensors", "plots/training.csv", "plots/validation.csv"):
        assert (world / "joint died" / name).read_bytes() == (world / "joint whole" / name).read_bytes()


def test_a_resnet_and_trained_word_vectors_go_through_the_stage(world: Path) -> None:
    video = {"kind": "resnet3d", "depth": 18}
    text = {"kind": "vectors", "path": None, "width": 16, "vocabulary": 100, "frozen": False}
    choice = {"video": video, "text": text, "image_size": 32, "keep": 1.0}
    choice |= {"steps": 2, "validate_every": 2, "batch": 4}
    result, _ = learned(world, "contrastive", **choice)
    assert result.val["t2v_chance"] == 0.1
    assert isinstance(scriptsight.load(world / "contrastive" / "last").video, ResNet3d)
