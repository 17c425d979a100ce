"""The model as MLflow serves it, asked over HTTP as any client would."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from mlflow.exceptions import MlflowException

from flows.tracking import registry, serving
from scriptsight import films
from scriptsight.models import bundle
from tests import small
from tests.conftest import MakeVideo

NOT_THERE = "scriptsight: the video of row 0 is not among those of this server."


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application that `mlflow models serve` runs, with a tiny model, saved as the registry saves it; videos
    are in tmp_path/videos."""
    from mlflow.pyfunc import load_model, save_model, scoring_server

    small.tiny_bundle(tmp_path / "bundle")
    save_model(path=str(tmp_path / "saved"), **registry.contents(tmp_path / "bundle"))
    (tmp_path / "videos").mkdir()
    monkeypatch.setenv(serving.ROOT, str(tmp_path / "videos"))
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # which it sets itself, and leaves
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which MLflow adds the model's own code
    app = scoring_server.init(load_model(str(tmp_path / "saved")))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/invocations"
    server.should_exit = True
    thread.join()


def ask(url: str, *rows: dict[str, Any]) -> tuple[int, Any]:
    """Status, and the vectors or what was refused."""
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310
            return answer.status, np.array(json.load(answer)["predictions"])
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


def test_texts_and_videos_over_http(served: str, tmp_path: Path, make_video: MakeVideo) -> None:
    videos = tmp_path / "videos"
    clip = make_video(videos / "day one" / "clip.mp4")
    encoder = bundle.load(tmp_path / "bundle")
    status, vectors = ask(served, {"text": "the red circle"}, {"video": "day one/clip.mp4"}, {"text": "it grows"})
    assert (status, vectors.shape) == (200, (3, 8))
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode_text(["the red circle", "it grows"]), atol=1e-5)
    np.testing.assert_allclose(vectors[1], films.mean(films.embed(clip, encoder).vectors), atol=1e-5)

    outside = make_video(tmp_path / "outside.mp4")
    (videos / "link.mp4").symlink_to(outside)
    os.mkfifo(videos / "pipe.mp4")
    away = ["../outside.mp4", str(outside), "link.mp4", "pipe.mp4", "missing.mp4", "", ".", "a\0b", "x" * 5000]
    away += [f"file://{outside}", "http://127.0.0.1:9/clip.mp4", "/dev/zero", "/proc/self/environ"]
    for name in away:
        refused = NOT_THERE if name else "scriptsight: row 0 needs a text or a video, one of the two."
        status, message = ask(served, {"video": name})
        assert status == 400 and message.endswith(refused), name
    # What a playlist inside the folder names lies outside.
    (videos / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{outside}\n#EXT-X-ENDLIST\n"
    )
    (videos / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {outside}\n")
    (videos / "text.mp4").write_text("no video")
    for name in ("list.m3u8", "list.ffconcat", "text.mp4"):
        status, message = ask(served, {"video": name})
        assert status == 400 and "can't be read" in message and str(tmp_path) not in message
    for row in ({"text": "a", "video": "b"}, {"text": " "}, {"text": "long" * 5000}):
        assert ask(served, row)[0] == 400
    assert ask(served, {"text": "still there"})[0] == 200


def test_no_folder_no_videos_and_nothing_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(serving.ROOT, raising=False)
    with pytest.raises(
        MlflowException, match=f"serves no videos: its owner names a folder of them in {serving.ROOT}"
    ):
        serving.inside("clip.mp4", 0)
    from mlflow.pyfunc import save_model

    small.tiny_bundle(tmp_path / "bundle")
    save_model(path=str(tmp_path / "saved"), **registry.contents(tmp_path / "bundle"))
    kept = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert (tmp_path / "saved" / "serving.py").read_text() == Path(serving.__file__).read_text()
    assert not [path for path in kept if path.suffix in (".pkl", ".pickle", ".pt", ".bin")]
    needed = (tmp_path / "saved" / "requirements.txt").read_text()
    assert "torch==" in needed and "prefect" not in needed
