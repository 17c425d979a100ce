"""How soon a training learns is measured again by one command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import speedrun
from scriptsight.params import reading
from tests import small
from tests.training.together import PROJECT, SMALL


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for split, count in (("train", 20), ("val", 12)):
        small.narrated(tmp_path / "data" / "segments", split, count, "narrated")
    values = reading.merge(reading.read_yaml(PROJECT / "params.yaml"), SMALL)
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    monkeypatch.setattr(sys, "argv", ["speedrun.py", *words])
    speedrun.main()
    figures: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return figures


def test_steps_and_seconds_to_a_goal_are_those_of_most_seeds(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("pretrain.steps=20", "--every", "10", "--seeds", "0", "1")
    found = said(monkeypatch, capsys, "--goal", "0", *words)
    assert found["steps"] == 10
    assert 0 < float(str(found["seconds"])) < float(str(found["all_s"]))
    never = said(monkeypatch, capsys, "--goal", "1.01", *words)
    assert never["steps"] is never["seconds"] is None
    assert never["sort_accuracy"] == found["sort_accuracy"]


def test_a_look_between_two_known_times_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["speedrun.py", "--every", "25"])
    with pytest.raises(SystemExit):
        speedrun.main()
