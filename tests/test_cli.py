import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scriptsight import retrieve
from scriptsight.cli import main
from scriptsight.params.retrieve import RetrieveParams
from tests import small
from tests.conftest import MakeVideo


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    small.tiny_bundle(tmp_path / "model")
    rows = [
        small.segment("red", colour=(230, 0, 0), texts=["the red circle", "moves \x1b[31mleft"]),
        small.segment("blue", colour=(0, 0, 230), texts=["the blue square grows"]),
    ]
    small.write_segments(tmp_path / "segments", "c", "test", rows)
    chosen = RetrieveParams(
        collection="c",
        split="test",
        protocol="segments",
        dual_softmax=None,
        index_splits=("test",),
        more_collections=(),
        search="auto",
        map_points=0,
        batch=2,
        queries=(),
        top=2,
    )
    retrieve.run(
        chosen,
        segments=tmp_path / "segments",
        catalogue=tmp_path / "catalogue",
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
    assert set(moment) == {"uri", "start", "end", "score", "cue", "text", "segment_id"}


def found(workspace: Path, capsys: pytest.CaptureFixture[str], *asked: str) -> list[str]:
    """The ids of the moments that a search prints."""
    where = ["--index", f"{workspace}/index", "--model", f"{workspace}/model"]
    assert main(["search", *asked, *where, "--json"]) == 0
    return [moment["segment_id"] for moment in json.loads(capsys.readouterr().out)]


def test_search_by_example_by_video_and_by_words(
    workspace: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(workspace, capsys, "--moment", "small/red/0") == ["small/blue/0"]
    path = make_video(workspace / "-clip.mp4", seconds=2)
    assert len(found(workspace, capsys, "--video", str(path))) == 2
    assert found(workspace, capsys, "square", "--by", "words") == ["small/blue/0"]
    assert found(workspace, capsys, "anything", "--said", "moves circle", "--collection", "c") == ["small/red/0"]


@pytest.mark.parametrize("asked", [[], ["red", "--moment", "small/red/0"], ["red", "--by", "ear"]])
def test_search_takes_one_query(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["search", *asked])
    assert "usage: scriptsight search" in capsys.readouterr().err


def test_embed_writes_vectors_of_windows(
    workspace: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(make_video(workspace / f"{name}.mp4", seconds=seconds)) for name, seconds in (("a", 2), ("b", 5))]
    out = workspace / "vectors.npz"
    command = ["embed", *paths, "--out", str(out), "--window", "2.5", "--model", f"{workspace}/model"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}: 3 vectors of 8 from 2 videos\n"
    with np.load(out, allow_pickle=False) as written:
        assert written["files"].tolist() == [paths[0], paths[1], paths[1]]
        assert written["starts"].tolist() == [0, 0, 2.5] and written["ends"].tolist() == [2, 2.5, 5]
        assert written["vectors"].dtype == np.float32
        assert np.linalg.norm(written["vectors"], axis=1) == pytest.approx(1, abs=1e-6)
        assert not np.allclose(written["vectors"][1], written["vectors"][2], atol=1e-4)  # another part of the video


def test_embed_names_the_file_that_fails(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = workspace / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    out = workspace / "vectors.npz"
    assert main(["embed", str(broken), "--out", str(out), "--model", f"{workspace}/model"]) == 1
    assert "broken.mp4" in capsys.readouterr().err and not out.exists()


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
