"""A workspace in which DVC was killed while it wrote: the next run is not refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.running import mending, repository
from flows.running.workspace import prepare
from scriptsight.errors import InputError
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER


@pytest.fixture
def ingested(workspace: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose first stage is done."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    make_video(workspace / "videos" / "one.mp4")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    prepare(workspace)
    assert repository.reproduce("ingest", "new").how == "ran"
    return workspace


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_file_that_is_half_written_is_as_before(ingested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path("dvc.lock").read_bytes()
    mending.keep_lock()
    for length in (0, 5, len(whole) - 3):
        Path("dvc.lock").write_bytes(whole[:length])
        assert "ingest" not in repository.stale()
        assert Path("dvc.lock").read_bytes() == whole
        assert Path("dvc.lock.damaged").read_bytes() == whole[:length]
        assert "half-written" in capsys.readouterr().err


def test_a_lock_file_that_two_branches_changed_is_left_to_its_owner(ingested: Path) -> None:
    mending.keep_lock()
    conflict = b"<<<<<<< ours\n" + Path("dvc.lock").read_bytes()
    Path("dvc.lock").write_bytes(conflict)
    with pytest.raises(InputError, match=r"dvc\.lock can't be read: .*git checkout"):
        repository.stale()
    assert Path("dvc.lock").read_bytes() == conflict


@pytest.mark.parametrize("left", ["", '{"write": {"data/catal', "[]", "number", "reused"])
def test_a_list_of_readers_that_nobody_alive_wrote_is_removed(ingested: Path, left: str) -> None:
    """Half-written, or naming a process that ended, or one that has begun since and got its number."""
    if left in ("number", "reused"):
        number = ended() if left == "number" else os.getpid()
        entry = {"pid": number, "cmd": "another command"}
        left = json.dumps({"write": {str(ingested / "data" / "catalogue"): entry}, "read": {}})
    mending.READERS.write_text(left)
    os.utime(mending.READERS, (1e9, 1e9))  # before this process began
    Path("videos/one.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nthe red circle moves\n")
    assert repository.reproduce("ingest", "edited").how == "ran"


def test_a_reader_that_lives_is_heeded(ingested: Path) -> None:
    entry = {"pid": os.getpid(), "cmd": "another command"}
    mending.READERS.write_text(json.dumps({"write": {str(ingested / "data" / "catalogue"): entry}, "read": {}}))
    mending.drop_dead_readers()
    assert mending.READERS.is_file()


@pytest.mark.parametrize("left", ["no settings", "empty settings", "DVC's settings"])
def test_a_repository_that_is_half_made_is_made(workspace: Path, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "overrides.yaml").write_text("{}")
    if left == "DVC's settings":  # as it writes them where git is not installed
        monkeypatch.setenv("PATH", str(workspace))
    prepare(workspace)
    whole = (workspace / ".dvc" / "config").read_text()
    if left == "no settings":
        (workspace / ".dvc" / "config").unlink()
    else:
        (workspace / ".dvc" / "config").write_text("" if left == "empty settings" else "[core]\n    no_scm = True\n")
    prepare(workspace)
    assert (workspace / ".dvc" / "config").read_text() == whole


def test_settings_of_a_persons_own_stay(workspace: Path) -> None:
    (workspace / "overrides.yaml").write_text("{}")
    prepare(workspace)
    own = "[core]\n    no_scm = True\n    remote = store\n"
    (workspace / ".dvc" / "config").write_text(own)
    prepare(workspace)
    assert (workspace / ".dvc" / "config").read_text() == own
