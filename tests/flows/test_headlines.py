"""What is printed at the end of a run, of the figures that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.running import headlines


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    """Another objective sorts nothing, the k-NN probe may be off, and so may the untrained encoder."""
    figures = {"retrieve/t2v/r1": 0.25, "retrieve/chance_r1": 0.01, "probe/linear_top1": 0.5}
    shell = headlines.Shell(tmp_path)
    linear, recall, *_ = headlines.lines(figures, ["a b"], shell)
    assert linear.split("top-1")[1].split() == ["0.500"]
    assert recall.split("R@1")[1].split() == ["0.250", "(chance:", "0.010)"]
    assert not any("0." in line for line in headlines.lines({}, (), shell))


@pytest.mark.parametrize("typed", ["", "my videos"])
def test_the_commands_that_are_suggested_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """They name this interpreter's own command and the folder, and a shell takes the query as one word."""
    folder = tmp_path / typed
    (folder / "models/index").mkdir(parents=True)
    (folder / "plots").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    own = tmp_path / "bin/scriptsight"
    own.parent.mkdir()
    own.write_text('#!/bin/sh\necho "$PWD|$*"\n')
    own.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(own.with_name("python")))
    query = 'what\'s "red" $HOME `id`'
    told = dict(line.strip().split(":", 1) for line in headlines.lines({}, [query], headlines.Shell(tmp_path, typed)))

    def paste(command: str) -> str:
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", command.strip().split("   (")[0]],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        return done.stdout.strip()

    assert paste(told["Page"]) == f"{tmp_path}|{' '.join(filter(None, ('page', typed)))}"
    assert paste(told["Search"]) == f"{folder}|search {query}"
    assert paste(told["Runs"]) == f"{folder}|ui"
    assert paste(f"ls -d {told['Pictures']}") == str(Path(typed) / "plots")


def test_what_was_not_made_is_not_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [line.split(":")[0].strip() for line in headlines.lines({}, (), headlines.Shell(tmp_path))] == ["Runs"]
