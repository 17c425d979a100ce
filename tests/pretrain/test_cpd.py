"""CPD through the whole stage: what it learns, its two stages, its banks over kills, processes and second phases."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import scriptsight
from scriptsight import pretrain
from scriptsight.params.models import TransformerText
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.cpd import Cpd, plateaued
from scriptsight.reporting import ConsoleReporter
from scriptsight.training.objective import Draw
from tests import small
from tests.training.test_distributed import PROJECT, together
from tests.training.together import settings

CPD: dict[str, Any] = {
    "estimator": "shared",
    "noise": 16,
    "temperature": 0.07,
    "momentum": 0.5,
    "joint_from": {"kind": "step", "step": 6},
}
ADAM = {"kind": "adamw", "lr": 3e-3, "text_lr": 1e-3, "weight_decay": 0.01, "betas": [0.9, 0.98], "clip_norm": 1.0}


class Killed(Exception):
    pass


class Mortal(ConsoleReporter):
    """Ends the training when the figures of a step come."""

    def __init__(self, kill_at: int | None) -> None:
        super().__init__()
        self.kill_at = kill_at

    def metrics(self, values: Any, step: int | None = None) -> None:
        if step is not None and step == self.kill_at:
            raise Killed


def cpd(**changes: Any) -> PretrainParams:
    """The parameters of a tiny training; `cpd` changes some of its section."""
    base = {"objective": "cpd", "text_hidden": 8, "collections": {"narrated": {"text": "caption"}}}
    return settings(**base | changes | {"cpd": CPD | changes.get("cpd", {})})


def train(folder: Path, name: str, choice: PretrainParams, kill_at: int | None = None) -> pretrain.Result:
    return pretrain.run(
        choice,
        segments=folder / "segments",
        bundle=folder / name / "last",
        best=folder / name / "best",
        metrics=folder / name / "pretrain.json",
        plots=folder / name / "plots",
        checkpoints=folder / name / "checkpoints",
        reporter=Mortal(kill_at),
    )


def curve(folder: Path, name: str, which: str = "training") -> list[dict[str, float]]:
    with (folder / name / "plots" / f"{which}.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight captioned segments, the same held out: what is measured is how well their pairs are distinguished."""
    folder = tmp_path_factory.mktemp("cpd")
    for split in ("train", "val"):
        small.narrated(folder / "segments", split, 8, "narrated")
    small.narrated(folder / "segments", "train", 6, "pictures")
    return folder


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """An uninterrupted run that goes from stage 1 to stage 2, with either optimizer."""
    train(world, "sgd", cpd())
    train(world, "adamw", cpd(optimizer=ADAM, ema=0.9))
    return world


@pytest.mark.parametrize("estimator", ["shared", "per_sample", "infonce"])
def test_the_loss_falls_and_texts_find_their_videos(world: Path, estimator: str) -> None:
    own = {"estimator": estimator, "noise": 32, "joint_from": {"kind": "step", "step": 20}}
    result = train(world, estimator, cpd(cpd=own, steps=120, optimizer=ADAM, keep=1.0, validate_every=120))
    losses = [point["loss"] for point in curve(world, estimator)]
    assert losses[-1] < 0.9 * losses[0]
    assert result.val["t2v_chance"] == 1 / 8
    assert result.val["t2v_r1"] >= 4 / 8
    name = "infonce" if estimator == "infonce" else "nce"
    assert result.val[f"{name}_loss"] < result.val[f"{name}_loss_chance"]


def test_the_first_stage_leaves_the_language_model_and_nothing_else_as_it_was(whole: Path) -> None:
    """Bit for bit, weight decay or not; from the switch on it learns."""
    start = str(whole / "sgd" / "last")
    frozen = {"joint_from": {"kind": "step", "step": 12}}
    train(whole, "first stage", cpd(start_from=start, cpd=frozen))
    train(whole, "second stage", cpd(start_from=start, cpd={"joint_from": {"kind": "step", "step": 11}}))
    before, one, two = (weights(whole, name) for name in ("sgd", "first stage", "second stage"))
    for name in before:
        language, moving = name.startswith("text.backbone"), "video.blocks" in name or "projection" in name
        assert torch.equal(before[name], one[name]) or not language, name
        assert not torch.equal(before[name], one[name]) or not moving, name
    assert any(not torch.equal(before[name], two[name]) for name in before if name.startswith("text.backbone"))


def test_the_switch_shows_in_the_curves(whole: Path) -> None:
    stages = {point["step"]: point["stage"] for point in curve(whole, "sgd")}
    assert stages == pytest.approx({10: 1.4, 12: 2})  # a point is the mean of its steps: of ten, four in stage 2
    stay = {"joint_from": {"kind": "plateau", "validations": 1}}
    slow = ADAM | {"lr": 1e-9, "text_lr": 1e-9}  # so that no validation is better than the first
    choice = cpd(cpd=stay, optimizer=slow, text_hidden=None, steps=20, validate_every=8)
    train(whole, "plateau", choice)  # validates after 8 and 16 steps
    stages = {point["step"]: point["stage"] for point in curve(whole, "plateau")}
    assert stages == pytest.approx({10: 1, 20: 1.4})


def test_a_plateau_is_a_number_of_validations_without_a_better_one() -> None:
    assert not plateaued([], 1)
    assert not plateaued([0.1, 0.2, 0.2, 0.3, 0.1], 2)
    assert plateaued([0.1, 0.2, 0.2, 0.1], 2)
    assert plateaued([0.1, 0.1, 0.9, 0.95], 1)  # and it stays one


@pytest.mark.parametrize(("optimizer", "kill_at"), [("sgd", 6), ("adamw", 6), ("adamw", 10)])
def test_a_run_killed_before_or_after_the_switch_ends_with_the_same_bytes(
    whole: Path, optimizer: str, kill_at: int | None
) -> None:
    """Checkpoints lie after steps 4 and 8, the switch after step 6."""
    choice = cpd() if optimizer == "sgd" else cpd(optimizer=ADAM, ema=0.9)
    name = f"{optimizer} killed at {kill_at}"
    with pytest.raises(Killed):
        train(whole, name, choice, kill_at)
    train(whole, name, choice)
    for file in ("last/model.safetensors", "last/memory.safetensors", "best/model.safetensors", "plots/training.csv"):
        assert (whole / name / file).read_bytes() == (whole / optimizer / file).read_bytes(), file


TOGETHER = """
import sys
from pathlib import Path
from tests.pretrain.test_cpd import cpd, train
where, strategy, estimator = sys.argv[1:]
train(Path(where), strategy, cpd(cpd={"estimator": estimator}, engine={"strategy": strategy}))
"""


@pytest.mark.parametrize(("strategy", "estimator"), [("ddp", "shared"), ("fsdp", "per_sample")])
def test_two_processes_train_what_one_does(world: Path, tmp_path: Path, strategy: str, estimator: str) -> None:
    """Encoders and banks, through both stages; to float tolerance, since sums are rounded in another order."""
    (tmp_path / "both.py").write_text(TOGETHER)
    here = {"PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{PROJECT}"}
    done = together(tmp_path / "both.py", world, strategy, estimator, **here)
    assert done.returncode == 0, done.stderr
    train(world, f"alone {estimator}", cpd(cpd={"estimator": estimator}))
    one, two = weights(world, f"alone {estimator}"), weights(world, strategy)
    torch.testing.assert_close(two, one, atol=5e-4, rtol=5e-3)
    one, two = memory(world, f"alone {estimator}"), memory(world, strategy)
    assert torch.equal(one["keys"], two["keys"])
    torch.testing.assert_close(two, one, atol=2e-3, rtol=5e-3)


def test_a_second_phase_with_more_videos_keeps_the_rows_of_the_others(whole: Path) -> None:
    sources = {"narrated": {"text": "caption"}, "pictures": {"text": "transcript"}}
    start = str(whole / "sgd" / "last")
    train(whole, "more", cpd(start_from=start, collections=sources, steps=2, batch=2, validate_every=2))
    before, after = memory(whole, "sgd"), memory(whole, "more")
    assert len(before["keys"]) == 16 and len(after["keys"]) == 16 + 6 * 5  # two captions, five transcripts each
    places = torch.searchsorted(after["keys"], before["keys"])
    assert torch.equal(after["keys"][places], before["keys"])
    for name in ("videos", "texts"):
        kept = (after[name][places] == before[name]).all(1)
        assert 14 <= kept.sum() < 16  # the two of the one step on captions moved
        torch.testing.assert_close(after[name].norm(dim=1), torch.ones(46))
    assert torch.equal(after["mean_scores"], before["mean_scores"])


@pytest.mark.parametrize("text", ["script", "title"])
def test_scripts_and_titles_are_pairs_too(world: Path, text: str) -> None:
    result = train(world, text, cpd(collections={"narrated": {"text": text}}))
    assert result.val["t2v_chance"] == 1 / 8
    assert len(memory(world, text)["keys"]) == 8


def test_a_saved_model_encodes_text_as_in_training(whole: Path) -> None:
    """t = Linear(ReLU(BatchNorm(Linear(sentence)))), with the statistics of training."""
    encoder = scriptsight.load(whole / "sgd" / "last")
    saved = weights(whole, "sgd")
    assert encoder.config()["text_hidden"] == 8
    texts = ["a grey scene, number 3", "number 1 is grey"]
    ids, mask = encoder.text.tokenize(texts)
    hidden = encoder.text(ids, mask) @ saved["text_hidden.0.weight"].T + saved["text_hidden.0.bias"]
    norm = {name: saved[f"text_hidden.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")}
    assert norm["running_mean"].abs().sum() > 0
    hidden = (hidden - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
    t = hidden.relu() @ saved["text_projection.weight"].T + saved["text_projection.bias"]
    torch.testing.assert_close(encoder.encode_text(texts), F.normalize(t, dim=-1), atol=1e-5, rtol=1e-4)


def test_sentences_of_a_frozen_text_encoder_are_computed_once() -> None:
    texts = [f"number {n} is grey" + " indeed" * (n % 5) for n in range(300)]  # more than one chunk
    choice = TransformerText(kind="transformer", width=16, depth=1, heads=2, vocabulary=100)
    encoder = small.tiny_encoder(choice, texts=texts)
    objective = Cpd(encoder, noise=16, joint_from=6)
    objective.expect((f"c/v{n}/0", text) for n, text in enumerate(texts))
    calls: list[int] = []
    encoder.text.backbone.register_forward_hook(lambda *_: calls.append(1))
    frames = torch.randint(0, 256, (4, 4, 16, 16, 3), dtype=torch.uint8)
    rows = [299, 5, 7, 130]
    batch = Batch(frames, [texts[n] for n in rows], None, [f"c/v{n}/0" for n in rows])
    found = []
    for step in (0, 1, 6):  # twice in stage 1, then in stage 2
        objective.before_step(step, [])
        objective.train()
        draw = Draw(torch.Generator().manual_seed(0), 0, 4, 4)
        found.append((objective.losses(batch, draw)["loss"].item(), len(calls)))
    (first, filled), (again, still), (joint, after) = found
    assert (filled, still, after) == (2, 2, 3)
    assert first == again == pytest.approx(joint, rel=1e-3)  # cached as float16


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / "last" / "model.safetensors")


def memory(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / "last" / "memory.safetensors")
