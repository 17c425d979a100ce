"""How long a run will take, from what earlier runs took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import parameters
from flows.running import estimate, events
from scriptsight.params import reading

FIGURES = {"segment/segments": 100.0}


def settings(**pretrain: object) -> parameters.Params:
    values = reading.merge(reading.read_yaml("params.yaml"), {"pretrain": pretrain} if pretrain else {})
    return parameters.build(values)


def test_nothing_is_known_before_the_first_run(workspace: Path) -> None:
    assert estimate.expect(["segment", "pretrain"], settings(), {}) == {}


def test_a_second_run_is_expected_to_take_as_long_in_proportion_to_its_work(workspace: Path) -> None:
    estimate.remember({"pretrain": 120.0, "retrieve": 10.0}, settings(), FIGURES)
    expect = ["pretrain", "probe", "retrieve"]
    assert estimate.expect(expect, settings(), FIGURES) == {"pretrain": 120.0, "retrieve": 10.0}
    assert estimate.expect(["pretrain"], settings(steps=settings().pretrain.steps // 4), FIGURES) == {
        "pretrain": 30.0
    }
    assert estimate.expect(["retrieve"], settings(), {"segment/segments": 250.0}) == {"retrieve": 25.0}
    assert estimate.expect(["pretrain"], settings(video={"depth": 2}), FIGURES) == {}  # of another model


def test_a_training_that_went_on_from_a_checkpoint_counts_for_the_steps_that_it_did(workspace: Path) -> None:
    estimate.remember({"pretrain": 30.0}, settings(), FIGURES, done=0.25)
    assert estimate.expect(["pretrain"], settings(), FIGURES) == {"pretrain": 120.0}


def test_another_processor_tells_nothing(workspace: Path) -> None:
    estimate.remember({"pretrain": 120.0}, settings(), FIGURES)
    history = json.loads(estimate.HISTORY.read_text())
    history["took"][0]["processor"] = "a slower one"
    estimate.HISTORY.write_text(json.dumps(history))
    assert estimate.expect(["pretrain"], settings(), FIGURES) == {}


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"took": [{"stage": "ingest"}]}', '{"took": 3}'])
def test_a_damaged_history_is_none_and_is_written_anew(workspace: Path, damaged: str) -> None:
    estimate.HISTORY.parent.mkdir()
    estimate.HISTORY.write_text(damaged)
    assert estimate.expect(["ingest"], settings(), {}) == {}
    estimate.remember({"ingest": 3.0}, settings(), {})
    assert estimate.expect(["ingest"], settings(), {}) == {"ingest": 3.0}


def test_the_history_is_bounded_and_its_newest_counts(workspace: Path) -> None:
    for seconds in range(1, estimate.MOST + 10):
        estimate.remember({"ingest": float(seconds)}, settings(), {})
    assert len(json.loads(estimate.HISTORY.read_text())["took"]) == estimate.MOST
    assert estimate.expect(["ingest"], settings(), {}) == {"ingest": estimate.MOST + 9.0}


def test_what_is_left_of_a_run() -> None:
    expected = {"segment": 20.0, "pretrain": 100.0, "probe": 30.0}
    assert estimate.left(expected, "pretrain", seconds=60, part=10) == 70.0
    assert estimate.left(expected, "pretrain", seconds=60, part=90) == 120.0  # it is slower this time
    assert estimate.left(expected, "probe", seconds=60, part=0) == 0.0
    assert estimate.left({**expected, "probe": None}, "pretrain", 60, 10) is None
    assert estimate.left({**expected, "pretrain": None}, "pretrain", 60, 10) is None
    assert estimate.left({}, "pretrain", 60, 10) is None


def test_a_stage_shows_beside_its_bar_what_is_left_of_the_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(estimate.EXPECTED, json.dumps({"segment": 60.0, "pretrain": 240.0}))
    reporter = events.EventReporter(events.path_of("segment"))
    for _ in reporter.progress(range(3), "segment"):
        reporter.status("10 frames")
    assert "10 frames, run: 5 min left" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (420, "7 min"), (9000, "2.5 h")])
def test_seconds_for_people(seconds: float, words: str) -> None:
    assert estimate.span(seconds) == words
