"""Notes of what a process has open, and who finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.running import notes


def found(folder: Path) -> set[str]:
    with notes.left(folder) as left:
        return set(left)


def test_only_notes_that_nobody_holds_are_found(tmp_path: Path) -> None:
    note = notes.Note(tmp_path, {"run": 1}, "one")
    assert found(tmp_path) == set()
    note.let_go()
    assert found(tmp_path) == {"one"}
    notes.remove(tmp_path, "one")
    assert not list(tmp_path.iterdir())


def test_a_copy_of_a_folder_says_nothing_of_processes_that_live(tmp_path: Path) -> None:
    """What the copy's next run would close is the run of the original, which goes on."""
    original = tmp_path / "original"
    note = notes.Note(original, {"run": 1}, "one")
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    assert found(copy) == set() and not list(copy.glob("*.json"))
    note.let_go()
    moved = original.rename(tmp_path / "moved")
    assert found(moved) == {"one"}
