"""Experiments in folders and processes of their own, forked as the commands fork them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.experiments import runner
from scriptsight.errors import InputError
from tests.flows import works
from tests.flows.conftest import PROJECT


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    runner.warm_up()


@pytest.mark.parametrize(
    ("how", "most", "came_to", "reason"),
    [
        ("fail", 60, "failed", "too few transcripts"),
        ("break", 60, "failed", "ZeroDivisionError: by zero"),
        ("crash", 60, "failed", "status 3"),
        ("killed", 60, "lost", "SIGKILL"),
        ("hang", 15, "failed", "over the time limit of 15 s"),
        ("prune", 60, "pruned", "that is enough"),
        ("stop", 60, "stopped", ""),
    ],
)
def test_how_an_experiment_ends(tmp_path: Path, how: str, most: float, came_to: str, reason: str) -> None:
    stopping = threading.Event()
    steps = []
    family = set(psutil.Process().children(recursive=True))

    def take(values: Any, step: int, _moment: int) -> str:
        assert dict(values) == {"val/pairs_in_order": 0.5}
        steps.append(step)
        if how == "stop" and step == 3:
            stopping.set()
        return "that is enough" if how == "prune" and step == 3 else ""

    attempt = runner.run(
        works.end_as_asked, {"how": how}, tmp_path / "it", 0, stopping=stopping, most=most, take=take
    )
    assert (attempt.how, steps) == (came_to, [1, 2, 3])
    assert reason in attempt.reason
    assert runner.found(tmp_path / "it", {"how": how}) is None
    assert set(psutil.Process().children(recursive=True)) <= family
    assert ("ZeroDivisionError" in (tmp_path / "it" / runner.LOG).read_text()) == (how == "break")


def test_what_is_complete_is_not_done_again_and_other_settings_begin_afresh(tmp_path: Path) -> None:
    folder, stopping = tmp_path / "it", threading.Event()
    first = runner.run(works.take_turns, {"seconds": 0}, folder, 0, stopping=stopping)
    assert (first.how, first.figures) == ("complete", {"turns": ["begin", "end"]})
    assert runner.found(folder, {"seconds": 0}) == first.figures
    assert "a line for the log" in (folder / runner.LOG).read_text()
    assert runner.run(works.take_turns, {"seconds": 0}, folder, 0, stopping=stopping).figures == first.figures
    with pytest.raises(InputError, match=r"it was made with other parameters.*remove"):
        runner.found(folder, {"seconds": 0.1})
    other = runner.run(works.take_turns, {"seconds": 0.1}, folder, 0, stopping=stopping)
    assert other.figures == {"turns": ["begin", "end"]}  # without the turns of the first


def test_what_an_earlier_version_left_is_not_misread(tmp_path: Path) -> None:
    """A result without settings, as comparisons had it; figures.json and pretrain.json without, as trials did."""
    (tmp_path / runner.RESULT).write_text("{}")
    (tmp_path / "turns.txt").write_text("old\n")
    with pytest.raises(InputError, match="another version of scriptsight"):
        runner.found(tmp_path, {"seconds": 0})
    attempt = runner.run(works.take_turns, {"seconds": 0}, tmp_path, 0, stopping=threading.Event())
    assert attempt.figures == {"turns": ["begin", "end"]}


def test_one_that_still_writes_is_waited_for(tmp_path: Path) -> None:
    """The first is stopped and takes two seconds for its checkpoint; the second begins when it is through, and goes
    on in the same folder."""
    stopping, settings = threading.Event(), {"seconds": 1}
    first = threading.Thread(
        target=runner.run, args=(works.take_turns, settings, tmp_path, 0), kwargs={"stopping": stopping}
    )
    first.start()
    _until(lambda: (tmp_path / "turns.txt").is_file())
    stopping.set()
    second = runner.run(works.take_turns, settings, tmp_path, 1, stopping=threading.Event())
    assert second.figures == {"turns": ["begin", "checkpoint", "begin", "end"]}
    first.join()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_command_and_ctrl_c_is_for_the_command(tmp_path: Path, how: signal.Signals) -> None:
    command = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-m", "tests.flows.works", str(tmp_path / "it")], cwd=PROJECT, start_new_session=True
    )
    turns = tmp_path / "it" / "turns.txt"
    _until(lambda: turns.is_file() and turns.read_text() == "begin\n")
    family = psutil.Process(command.pid).children(recursive=True)
    os.killpg(command.pid, how)  # ctrl-C goes to all processes of a terminal's group
    command.wait(30)
    assert not psutil.wait_procs(family, timeout=30)[1]
    # Asked to end once, by its command or by the command's death, it wrote its checkpoint.
    assert (tmp_path / "it" / "turns.txt").read_text().split() == ["begin", "checkpoint"]


def _until(ready: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
