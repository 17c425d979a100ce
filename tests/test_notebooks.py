"""The notebooks run from their first cell to their last, in a folder that holds nothing but params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.small import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize(
    ("name", "said", "pictures"),
    [
        ("use_a_model", ["no model yet", "24 clips and 12 sentences", "guessing finds 2", "data/world/narrated/"], 2),
        ("your_own_videos", ["talk_00", "refused: videos/broken.mp4", "10 training segments", "videos/talk_"], 2),
    ],
)
def test_a_notebook_runs_where_nothing_was_made_before(
    name: str, said: list[str], pictures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebooks make their folders
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    for words in said:
        assert words in printed
    assert sum("image/png" in output.get("data", {}) for output in outputs) == pictures
    assert list(folder.iterdir()) == []  # beside the notebook nothing is written
