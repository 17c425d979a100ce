"""The stage as a whole on tiny segments: killed and restarted, a second phase, several collections."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import scriptsight
from scriptsight import overlap
from scriptsight.errors import InputError
from scriptsight.reporting import ConsoleReporter
from tests import small
from tests.training.together import settings, train

PROJECT = Path(__file__).parents[2]
PAIRS = {"narrated": {"text": "script", "share": 1.0}, "pictures": {"text": "caption", "share": 2.0, "frames": 2}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of two collections, and a first model."""
    folder = tmp_path_factory.mktemp("stage")
    for collection in ("narrated", "pictures"):
        for split, count in (("train", 20), ("val", 12)):
            small.narrated(folder / "segments", split, count, collection)
    train(folder, "first", settings())
    return folder


def files(folder: Path) -> dict[str, bytes]:
    names = ("last/model.safetensors", "best/model.safetensors", "plots/training.csv", "plots/validation.csv")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("kill_at", [6, 10])
def test_a_training_killed_at_any_moment_ends_with_the_same_bytes(world: Path, kill_at: int) -> None:
    """SIGKILL in a process of its own, before and after the last validation; then once more."""
    name = f"killed {kill_at}"
    for when in (str(kill_at), "12", None):
        environment = {key: value for key, value in os.environ.items() if key != "KILL_AT"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")} | (
            {"KILL_AT": when} if when else {}
        )
        command = [sys.executable, "-m", "tests.training.together", str(world), name, "ddp", "ema=0.9"]
        done = subprocess.run(  # noqa: S603 - our own words
            command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode == 0) == (when is None), done.stderr
    train(world, "whole", settings(ema=0.9))
    assert files(world / name) == files(world / "whole")
    assert [path.name for path in (world / name / "checkpoints").rglob("*.pt")] == ["finished.pt"]


def test_a_training_of_the_same_is_taken_over_unless_it_is_damaged(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as after a video of the test split was added: DVC runs the stage again, for its list of videos."""
    train(world, "taken", settings())
    made, figures = files(world / "taken"), (world / "taken/pretrain.json").read_bytes()
    finished = world / "taken/checkpoints/finished.pt"
    stamp = finished.stat().st_mtime_ns
    for path in (world / "taken/last", world / "taken/best"):
        shutil.rmtree(path)
    train(world, "taken", settings())
    assert "its model is taken over" in capsys.readouterr().out
    assert (files(world / "taken"), (world / "taken/pretrain.json").read_bytes()) == (made, figures)
    assert finished.stat().st_mtime_ns == stamp
    train(world, "taken", settings(seed=1))
    assert files(world / "taken") != made
    finished.write_bytes(finished.read_bytes()[:-100])
    train(world, "taken", settings())
    assert files(world / "taken") == made
    assert "its model is taken over" not in capsys.readouterr().out


def test_a_second_phase_mixes_pairs_with_scripts(world: Path) -> None:
    """Two of three batches are captioned clips of two frames; figures of both collections come out."""
    start = str(world / "first" / "last")
    result = train(world, "second", settings(start_from=start, collections=PAIRS, steps=20))
    assert {"sort_accuracy", "t2v_r1", "pictures/t2v_r1", "pictures/t2v_chance"} <= set(result.val)
    written = json.loads((world / "second" / "pretrain.json").read_text())
    assert written["val"] == result.val
    # The helper calls the videos of training and validation alike: that is told, and counted.
    assert (written["val_overlap"]["measured"], written["val_overlap"]["same_id"]) == (24, 24)
    for folder in ("last", "best"):  # what the first model learned from is what the second did, too
        learned = overlap.read(world / "second" / folder)
        assert learned is not None and learned.num_rows == 40
        assert set(learned.column("collection").to_pylist()) == {"narrated", "pictures"}
    data = [overlap.trained_on(world / name / "last") for name in ("first", "second")]
    assert data[0] != data[1] and None not in data
    first, second = (scriptsight.load(world / name / "last") for name in ("first", "second"))
    assert second.text.tokenizer.to_str() == first.text.tokenizer.to_str()
    assert not torch.equal(first.video_projection.weight, second.video_projection.weight)


def test_pairs_alone_and_interrupted(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sorted; the sorting head, which never learns, is no obstacle to resuming."""
    only = {"pictures": {"text": "title"}}
    train(world, "pairs", settings(collections=only))
    command = [sys.executable, "-c", "import os; os.environ['KILL_AT'] = '6'; " + ALONE, str(world)]
    killed = subprocess.run(  # noqa: S603 - our own words
        command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert killed.returncode == -9, killed.stderr
    result = train(world, "pairs killed", settings(collections=only))
    assert "sort_accuracy" not in result.val
    assert files(world / "pairs killed") == files(world / "pairs")


ALONE = """
import sys; from pathlib import Path
from tests.training.together import settings, train
train(Path(sys.argv[1]), "pairs killed", settings(collections={"pictures": {"text": "title"}}))
"""


def test_a_model_of_another_shape_is_no_start(world: Path) -> None:
    with pytest.raises(InputError, match="has frames 4 instead of 8"):
        train(world, "other", settings(start_from=str(world / "first" / "last"), frames=8))


def test_a_batch_that_processes_cannot_share_is_told() -> None:
    with pytest.raises(InputError, match=r"batch 8 can't be shared by .* = 3"):
        settings(engine={"accumulate": 3})


class Listener(ConsoleReporter):
    """Keeps the lines that a stage says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("split", ["none", "silent"])
def test_without_validation_there_are_no_figures_of_it_and_the_last_weights_are_the_best(
    tmp_path: Path, split: str
) -> None:
    """No validation split, or one in which nobody says K sentences; killed and resumed, too."""
    small.narrated(tmp_path / "segments", "train", 6, "narrated")
    if split == "silent":
        small.write_segments(tmp_path / "segments", "narrated", "val", [small.segment("a", texts=["too short"])])
    listener = Listener()
    result = train(tmp_path, "model", settings(), listener)
    assert result.val == {} and json.loads((tmp_path / "model" / "pretrain.json").read_text())["val"] == {}
    told = [line for line in listener.lines if line.startswith("No validation figures of narrated: ")]
    assert len(told) == 1 and told[0].endswith("models/best gets the last weights.")
    found = files(tmp_path / "model")
    assert found["last/model.safetensors"] == found["best/model.safetensors"]
    assert found["plots/validation.csv"].split() == []
    assert (tmp_path / "model" / "plots" / "curves.png").is_file()
    with pytest.raises(InputError, match=r"joint_from waits for validation figures of narrated, .*Name a step"):
        train(tmp_path, "cpd", settings(objective="cpd", cpd={"joint_from": {"kind": "plateau", "validations": 2}}))
