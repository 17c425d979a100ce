"""The stages as DVC sees them: what is stale, and how one that failed is reported."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows import PROJECT
from flows.running import repository
from flows.running.workspace import prepare
from scriptsight.errors import InputError
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER


@pytest.mark.parametrize("relative", [True, False])
def test_an_edited_caption_makes_ingest_stale(
    workspace: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """Videos outside of the workspace, in a folder that can't be written, are a dependency like any other."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    talks = workspace.parent / "talks"
    make_video(talks / "one.mp4")
    script = talks / "one.vtt"
    script.write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nthe red circle moves\n")
    talks.chmod(0o555)
    (workspace / "overrides.yaml").write_text(FOLDER % ("../talks" if relative else talks))
    prepare(workspace)
    why = repository.stale("ingest")["ingest"]
    assert repository.reproduce("ingest", why).how == "ran"
    assert repository.stale("ingest") == {}
    script.write_text(script.read_text().replace("red", "blue"))
    assert "talks" in repository.stale("ingest")["ingest"]
    (workspace / "overrides.yaml").write_text(FOLDER % "..")
    with pytest.raises(InputError, match="lies in the videos"):
        prepare(workspace)


def test_without_git_the_remedy_is_named(workspace: Path) -> None:
    shutil.copytree(
        PROJECT / ".dvc", workspace / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    shutil.copy(PROJECT / "dvc.yaml", workspace)
    with pytest.raises(InputError, match="git init"):
        repository.stale()


def test_a_stage_that_was_killed_is_reported_so() -> None:
    """By its signal, as subprocess names it and as a shell does; what else DVC says is handed on."""
    for status in (-9, 137):
        why, may_pass = repository.without_a_word(f"failed to run: python -m flows.pretrain, exited with {status}")
        assert "SIGKILL" in why and may_pass
    assert repository.without_a_word("failed to run: x, exited with 143") == ("it was stopped (SIGTERM)", False)
    assert repository.without_a_word("output 'data' does not exist") == ("output 'data' does not exist", False)


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")  # of DVC's own
def test_what_the_cache_would_bring_back_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that were never there, inputs of an earlier run, and a cache that was emptied since."""
    monkeypatch.chdir(tmp_path)
    stage = "{cmd: cp source.txt made.txt, deps: [source.txt], outs: [made.txt]}"
    Path("dvc.yaml").write_text(f"stages: {{ingest: {stage}}}\n")
    with Repo.init(no_scm=True) as repo:
        for content in ("one", "two"):
            Path("source.txt").write_text(content)
            assert not repository.restorable("ingest")
            repo.reproduce()
    Path("source.txt").write_text("one")
    assert repository.restorable("ingest")
    assert Path("made.txt").read_text() == "two"  # nothing was brought back yet
    shutil.rmtree(".dvc/cache/files")
    assert not repository.restorable("ingest")
