"""What is printed at the end of a run, of the figures that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.running import headlines


def test_what_was_not_measured_is_left_out() -> None:
    """Another objective sorts nothing, the k-NN probe may be off, and so may the untrained encoder."""
    figures = {"retrieve/t2v/r1": 0.25, "retrieve/chance_r1": 0.01, "probe/linear_top1": 0.5}
    linear, recall, *_ = headlines.lines(figures, ["a b"])
    assert linear.split("top-1")[1].split() == ["0.500"]
    assert recall.split("R@1")[1].split() == ["0.250", "(chance:", "0.010)"]
    assert not any("0." in line for line in headlines.lines({}, ()) if "http" not in line)


def test_the_command_that_is_suggested_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names this interpreter's own command, from any folder, and a shell takes the query as one word."""
    monkeypatch.chdir(tmp_path)
    query = 'what\'s "red" $HOME `id`'
    search, ui = list(headlines.lines({}, [query]))[-2:]
    command, typed = search.split("Search: ")[1].strip().split(" search ", 1)
    assert Path(command).resolve() == Path(sys.executable).with_name("scriptsight").resolve()
    assert f"{command} ui" in ui
    done = subprocess.run(["/bin/sh", "-c", f"printf %s {typed}"], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == query
