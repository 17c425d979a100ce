"""Fine-tuned retrieval is a second phase: alignment alone, on pairs of video and caption, from a first model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scriptsight.catalogue import Cue
from tests import small
from tests.training.together import settings, train

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 220, 40),
    "blue": (40, 40, 220),
    "yellow": (220, 220, 40),
    "violet": (220, 40, 220),
    "white": (230, 230, 230),
    "black": (20, 20, 20),
    "grey": (128, 128, 128),
}
ADAMW = {"kind": "adamw", "lr": 3e-3, "text_lr": None, "weight_decay": 0.0, "betas": [0.9, 0.98], "clip_norm": 1.0}


def write(folder: Path, split: str, of_each: int) -> None:
    """Clips of a colour: what is said has nothing to do with it, what the caption says has."""
    rows = []
    for number in range(of_each * len(COLOURS)):
        name = list(COLOURS)[number % len(COLOURS)]
        plain = small.segment(f"{split}{number}", colour=COLOURS[name], captions=[f"it is {name}"], seed=number)
        said = [f"somebody says {list(COLOURS)[(number + place) % 5]}" for place in range(3)]
        cues = tuple(Cue(10.0 + place, 10.8 + place, text) for place, text in enumerate(said))
        rows.append(replace(plain, cues=cues))
    small.write_segments(folder / "segments", "narrated", split, rows)


def test_a_second_phase_on_captions_makes_text_find_its_video(tmp_path: Path) -> None:
    write(tmp_path, "train", 6)
    write(tmp_path, "val", 1)
    train(tmp_path, "first", settings(steps=4, optimizer=ADAMW))
    second = {
        "objective": "contrastive",
        "start_from": str(tmp_path / "first" / "last"),
        "collections": {"narrated": {"text": "caption"}},
        "optimizer": ADAMW,
    }
    before = train(tmp_path, "before", settings(**second, steps=1, schedule={"warmup_steps": 1000}))
    after = train(tmp_path, "after", settings(**second, steps=80, validate_every=80))
    assert after.val["t2v_chance"] == 1 / len(COLOURS)
    assert before.val["t2v_r1"] <= 0.5
    assert after.val["t2v_r1"] >= before.val["t2v_r1"] + 0.25
