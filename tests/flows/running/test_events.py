"""What a process tells of its work, and who follows it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flows.running import events


def test_who_follows_gets_messages_progress_and_figures_once(tmp_path: Path) -> None:
    """And half a line only when it is whole."""
    path = tmp_path / "events.jsonl"
    news = events.following(path)
    assert next(news) == []
    reporter = events.EventReporter(path)
    assert "begun" in next(news)[0]
    reporter.message("the red circle")
    reporter.metrics({"val/chance": 0.5}, 3)
    for _ in reporter.progress(range(4), "train"):
        reporter.status("fast")
    said, figures, first, last = next(news)
    assert said == {"message": "the red circle"}
    assert (figures["metrics"], figures["step"]) == ({"val/chance": 0.5}, 3)
    assert (first["done"], first["total"]) == (0, 4)
    assert (last["progress"], last["done"], last["total"], last["status"]) == ("train", 4, 4, "fast")
    with path.open("a") as file:
        file.write('no json\n{"message": "ha')
        file.flush()
        assert next(news) == []
        file.write('lf"}\n')
    assert next(news) == [{"message": "half"}]


def test_what_an_earlier_run_told_is_not_this_ones(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events.EventReporter(path).message("long ago")
    news = events.following(path, since=time.time_ns())
    assert next(news) == []
    events.EventReporter(path).message("now")
    assert next(news)[-1] == {"message": "now"}


def test_the_page_in_mlflow_is_that_of_the_last_run(workspace: Path) -> None:
    assert events.mlflow_page("pretrain") == ""
    events.EventReporter(events.path_of("pretrain")).event({"mlflow": "#/experiments/1/runs/a"})
    assert events.mlflow_page("pretrain") == "#/experiments/1/runs/a"
    events.EventReporter(events.path_of("pretrain"))  # a training begins
    assert events.mlflow_page("pretrain") == ""


def test_a_file_that_takes_no_more_stops_no_work(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = events.EventReporter.__new__(events.EventReporter)
    reporter._path = Path("/dev/full")  # as a disk that is full
    reporter.event({"message": "lost"})
    assert "nobody can follow this" in capsys.readouterr().err
