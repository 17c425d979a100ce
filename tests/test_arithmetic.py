"""How a machine computes is chosen by what was measured, and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scriptsight import arithmetic, tuning
from scriptsight.arithmetic import Work, choose
from scriptsight.models.resnet import ResNet3d
from scriptsight.models.video import VideoViT, set_drop_path


def small() -> VideoViT:
    torch.manual_seed(0)
    return VideoViT(width=32, depth=2, heads=2, patch=8, tubelet=2, size=16, frames=4)


def test_what_is_said_overrules_what_is_measured() -> None:
    work = Work(small(), clips=2)
    assert str(choose("bf16", "explicit", work)) == "cpu, bf16, explicit attention"
    assert str(choose("fp32", "fused", work)) == "cpu, fp32, fused attention"
    assert not choose("fp32", "fused", work).measured
    assert choose("bf16", "auto", work).bf16 and not choose("fp32", "auto", work).bf16
    assert choose("auto", "explicit", work).explicit_attention


def test_the_fastest_of_all_ways_is_taken_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path))
    chosen = choose("auto", "auto", Work(small(), clips=4, keep=0.5, training=True))
    (question,) = tuning.read(tuning.place())
    answer = tuning.read(tuning.place())[question]
    assert set(answer.seconds) == {"fp32 fused", "fp32 explicit", "bf16 fused", "bf16 explicit"}
    assert answer.seconds[answer.way] <= min(answer.seconds.values()) / (1 - tuning.MARGIN)
    kind, attention = answer.way.split()
    assert str(chosen) == f"cpu, {kind}, {attention} attention"
    assert "training: 4 clips, keep 0.5" in question
    assert f"{answer.way} " in chosen.told()
    assert choose("auto", "auto", Work(small(), clips=4, keep=0.5, training=True)) == chosen


def test_measuring_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path))
    video = small()
    set_drop_path(video, 0.5)  # draws random numbers
    before = {name: value.clone() for name, value in video.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    choose("auto", "auto", Work(video, clips=2, training=True))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in video.state_dict().items())
    assert all(parameter.grad is None for parameter in video.parameters())


def test_an_encoder_without_attention_has_two_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path))
    choose("auto", "auto", Work(ResNet3d(depth=18, size=32, frames=2), clips=2, training=True))
    (answer,) = tuning.read(tuning.place()).values()
    assert set(answer.seconds) == {"fp32 fused", "bf16 fused"}


def test_a_model_says_how_it_was_computed(tmp_path: Path) -> None:
    choose("bf16", "explicit", Work(small(), clips=1)).write(tmp_path, threads=2)
    about = json.loads((tmp_path / arithmetic.COMPUTED).read_text())
    assert (about["precision"], about["attention"], about["threads"]) == ("bf16", "explicit", 2)
    assert about["torch"] == torch.__version__ and about["processor"]
