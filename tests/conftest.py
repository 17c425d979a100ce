"""Small real videos, made where a test needs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import flows  # noqa: F401 - has the processes that tests start run the code of this checkout

MakeVideo = Callable[..., Path]
# Files are shared out to processes in this order (`--no-loadscope-reorder`): a long one that came last would keep one
# process busy alone.
LONGEST = (
    "pretrain/test_learning.py",
    "flows/test_changing_corpus.py",
    "flows/orchestration/test_pages.py",
    "flows/orchestration/test_runners.py",
    "training/test_distributed.py",
    "flows/test_documented_commands.py",
    "docs/test_configurations.py",
    "flows/orchestration/test_deployments.py",
    "flows/test_language_command.py",
    "flows/test_commands.py",
    "flows/test_compare.py",
    "benchmarks/test_step.py",
    "test_notebooks.py",
    "flows/test_drift.py",
    "flows/running/test_pretrain_processes.py",
    "flows/orchestration/test_artifacts.py",
    "pretrain/test_stage.py",
    "servers/test_servers.py",
    "flows/test_sweep.py",
    "flows/new/test_new_command.py",
    "probe/test_probe_run.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    first = {folder / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))  # within a file and after them, as they were


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is measured here is no matter of the user's cache."""
    before = os.environ.get("SCRIPTSIGHT_CACHE")
    os.environ["SCRIPTSIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("SCRIPTSIGHT_CACHE")
    if before is not None:
        os.environ["SCRIPTSIGHT_CACHE"] = before


@pytest.fixture
def make_video() -> MakeVideo:
    """Write a video of noise around a grey that grows from frame to frame (see `grey_of`).

    Its frames are made as they are encoded (yuv420p): what converts them differs from machine to machine."""

    def make(
        path: Path,
        seconds: float = 4.0,
        rate: int = 8,
        size: tuple[int, int] = (64, 48),
        options: dict[str, str] | None = None,
        first_pts: int = 0,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream("libx264", rate=rate, options={"g": "8", "crf": "12", "threads": "1"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.time_base = Fraction(1, rate)
            for index in range(round(seconds * rate)):
                noise = np.random.default_rng(index).integers(-12, 13, (size[1], size[0]))
                luma = 16 + (grey_of(index) + noise) * 219 / 255
                chroma = np.full((size[1] // 2, size[0]), 128)
                planes = np.concatenate([luma.round(), chroma]).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = index + first_pts, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


def grey_of(index: int) -> int:
    """The grey level of a made video's frame."""
    return 16 + 8 * index % 224


@pytest.fixture
def shared_data() -> Path:
    """Real files that lie beside the repository where they were put there."""
    path = Path(__file__).parents[1].parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real videos here: there is no folder {path}")
    return path
