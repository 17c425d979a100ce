import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scriptsight import params, retrieve
from scriptsight.cli import main
from tests import small


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    small.tiny_bundle(tmp_path / "model")
    rows = [
        small.segment("red", colour=(230, 0, 0), texts=["the red circle", "moves \x1b[31mleft"]),
        small.segment("blue", colour=(0, 0, 230), texts=["the blue square grows"]),
    ]
    small.write_segments(tmp_path / "segments", "c", "test", rows)
    chosen = params.Retrieve(collection="c", split="test", index_splits=("test",), batch=2, queries=(), top=2)
    retrieve.run(
        chosen,
        segments=tmp_path / "segments",
        bundle=tmp_path / "model",
        index=tmp_path / "index",
        metrics=tmp_path / "retrieve.json",
        plots=tmp_path / "plots",
    )
    return tmp_path


def search(workspace: Path, *more: str) -> int:
    return main(["search", "the red circle", "--index", f"{workspace}/index", "--model", f"{workspace}/model", *more])


def test_search_prints_a_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["video", "time", "score", "words"]
    assert len(lines) == 2
    assert all("0:10.0 - 0:13.0" in line for line in lines)
    red = next(line for line in lines if line.startswith("videos/red.mp4"))
    assert red.endswith("the red circle / moves [31mleft")  # data can't steer the terminal


def test_search_prints_json(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace, "--json", "--top", "1") == 0
    (moment,) = json.loads(capsys.readouterr().out)
    assert set(moment) == {"uri", "start", "end", "score", "text", "segment_id"}


def test_an_input_error_is_one_line_and_status_1(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace, "--index", f"{workspace}/nowhere") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("scriptsight: There is no index in") and captured.err.count("\n") == 1


def test_defaults_are_those_of_the_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "models").mkdir()
    (workspace / "index").rename(workspace / "models" / "index")
    (workspace / "model").rename(workspace / "models" / "pretrained")
    monkeypatch.chdir(workspace)
    assert main(["search", "blue"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_module_runs_and_help_does_not_import_torch() -> None:
    code = "import sys, scriptsight.cli as cli\ntry: cli.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    for command in (["-c", code], ["-m", "scriptsight", "search", "--help"]):
        result = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=os.environ)  # noqa: S603
        assert result.returncode == 0, result.stderr
        assert "usage: scriptsight" in result.stdout


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dance"])
    assert "invalid choice" in capsys.readouterr().err
