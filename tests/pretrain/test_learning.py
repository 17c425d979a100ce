"""The claim, in its smallest honest form: sorting is learned from the video, and the words alone give nothing."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scriptsight
from flows import parameters
from flows.parameters import Params
from scriptsight import clips, ingest, pretrain, segment
from scriptsight.params import reading
from scriptsight.params.models import TransformerText
from scriptsight.params.objectives import JointParams
from scriptsight.segments import Segments

World = tuple[Path, Params]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A corpus a quarter as large as the default, through the real stages."""
    folder = tmp_path_factory.mktemp("world")
    values = reading.read_yaml("params.yaml")
    narrated = values["ingest"]["collections"]["narrated"] | {"videos": {"train": 64, "val": 6, "test": 0}}
    changes = {"collections": {"narrated": narrated}}
    changed = reading.merge(
        values, {"ingest": changes, "probe": {"tests": {"narrated": {"collections": ["narrated"]}}}}
    )
    settings = parameters.build(changed)
    ingest.run(
        settings.ingest, world=folder / "world", catalogue=folder / "catalogue", metrics=folder / "ingest.json"
    )
    segment.run(
        settings.segment,
        catalogue=folder / "catalogue",
        segments=folder / "segments",
        metrics=folder / "segment.json",
    )
    return folder, settings


def train(folder: Path, settings: Params, name: str, **changes: Any) -> pretrain.Result:
    changed = settings.pretrain.model_copy(update=changes)
    return pretrain.run(
        changed,
        segments=folder / "segments",
        bundle=folder / name / "model",
        best=folder / name / "best",
        metrics=folder / name / "pretrain.json",
        plots=folder / name / "plots",
        checkpoints=folder / name / "checkpoints",
    )


def test_transcripts_are_sorted_by_looking_and_not_by_reading(world: World) -> None:
    folder, settings = world
    # On so small a corpus a transformer from scratch leaves chance in half the steps that word vectors need.
    text = TransformerText(kind="transformer", width=96, depth=2, heads=3, vocabulary=2000)
    result = train(folder, settings, "claim", text=text, steps=240, validate_every=80)
    assert result.val["chance"] == 0.25
    assert result.val["sort_accuracy"] > 0.5
    assert abs(result.val["sort_accuracy_blank"] - 0.25) < 0.06  # 190 scripts: two standard deviations
    assert result.val["t2v_r1"] > 10 * result.val["t2v_chance"]


def test_an_untrained_model_is_at_chance(world: World) -> None:
    folder, settings = world
    result = train(folder, settings, "untrained", steps=1, validate_every=1)
    assert abs(result.val["sort_accuracy"] - 0.25) < 0.08
    assert result.val["t2v_r1"] < 5 * result.val["t2v_chance"]


@pytest.mark.parametrize(
    ("objective", "figure", "chance"),
    [
        # Those that are marked learn in a smaller world as well, in test_rivals_learn.py.
        pytest.param("contrastive", "t2v_r1", "t2v_chance", marks=pytest.mark.long),
        ("cpd", "t2v_r1", "t2v_chance"),
        pytest.param("frame_order", "order_accuracy", "chance", marks=pytest.mark.long),
        pytest.param("masked_pixels", "masked_error", "masked_error_chance", marks=pytest.mark.long),
        pytest.param("joint", "tvts/sort_accuracy", "tvts/chance", marks=pytest.mark.long),
    ],
)
def test_the_loss_of_every_rival_falls(world: World, objective: str, figure: str, chance: float) -> None:
    folder, settings = world
    both = JointParams(objectives={"tvts": 1.0, "cpd": 1.0})
    result = train(folder, settings, objective, objective=objective, joint=both, steps=60, validate_every=60)
    with (folder / objective / "plots" / "training.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.97 * losses[0]
    assert {figure, chance} <= set(result.val)


def test_two_runs_give_the_same_bytes_and_a_bundle_that_loads(world: World) -> None:
    folder, settings = world
    small = {"steps": 20, "batch": 8, "validate_every": 10, "validation_samples": 16}
    for name in ("one", "two"):
        train(folder, settings, name, **small)
    for file in (
        "model/model.safetensors",
        "best/model.safetensors",
        "model/config.json",
        "plots/training.csv",
        "plots/curves.png",
    ):
        assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes()
    assert [path.name for path in (folder / "one" / "checkpoints").glob("*")] == ["finished.pt"]
    assert (folder / "one" / "pretrain.json").read_bytes() == (folder / "two" / "pretrain.json").read_bytes()
    written = json.loads((folder / "one" / "pretrain.json").read_text())
    assert set(written) == {"val", "val_overlap"}
    speed = json.loads((folder / "one" / "speed.json").read_text())  # differs between equal runs
    assert {"samples_per_second", "data_wait_share", "mfu", "peak_mb"} <= set(speed)
    assert {"sort_accuracy", "sort_exact", "sort_accuracy_blank", "chance", "t2v_r1"} <= set(written["val"])

    encoder = scriptsight.load(folder / "one" / "model")
    held_out = Segments(folder / "segments", "narrated", "val")
    import torch

    clip = torch.from_numpy(clips.views(held_out[0], clips.View(), 8, 32))
    assert np.linalg.norm(encoder.encode_video(clip).numpy()) == pytest.approx(1, abs=1e-5)
