"""The wheel where nothing is but what it asks for: README's example runs, and what needs an extra says which."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scriptsight import __version__
from tests import small
from tests.conftest import MakeVideo

PROJECT = Path(__file__).resolve().parents[1]
EXTRAS_ALONE = [
    *("aiohttp", "faiss", "faster_whisper", "ftfy", "gensim", "ijson", "lxml", "matplotlib", "mlflow"),
    *("pandas", "pebble", "prefect", "py3langid", "pysubs2", "rapidfuzz", "s3fs", "scipy", "sklearn", "timm"),
    *("torchvision", "umap"),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and its dependencies, at the versions of the lock."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=120)  # noqa: S603
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"scriptsight-{__version__}-py3-none-any.whl"
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert uv is not None, "uv comes with the development tools"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True, timeout=120)  # noqa: S603
    interpreter: Path = folder / "env" / "bin" / "python"
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        interpreter,
        "--constraint",
        PROJECT / "requirements.lock",
    ]
    cached = subprocess.run([*install, "--offline", wheel], check=False, capture_output=True, timeout=300)  # noqa: S603
    if cached.returncode:  # some file of the lock was never downloaded on this machine
        subprocess.run([*install, wheel], check=True, timeout=1800)  # noqa: S603
    return interpreter


def run(python: Path, code: str, folder: Path) -> str:
    """What code prints there, away from the checkout."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(  # noqa: S603 - our own words
        [python, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_an_extra_is_there(python: Path, tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {EXTRAS_ALONE} if find_spec(name)])"
    assert run(python, code, tmp_path) == "[]\n"
    where = run(python, "import scriptsight; print(scriptsight.__file__)", tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    assert (Path(where.strip()).parent / "py.typed").is_file()


def test_the_example_of_the_readme_runs_there(python: Path, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(small.searchable(tmp_path) / "clip.mp4", seconds=4)
    printed = run(python, small.readme_example(), tmp_path).splitlines()
    assert {line.split()[0] for line in printed[1:]} == {"videos/red.mp4", "videos/blue.mp4"}


def test_the_command_says_what_it_does_there(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [python.with_name("scriptsight"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "search" in done.stdout and "embed" in done.stdout


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("vectors", "scriptsight.TextEncoder.vectors(['a red circle'], width=8)"),
        ("vectors", "scriptsight.TextEncoder.vectors(['a red circle'], path='glove.txt')"),
        ("learn", "from scriptsight.models import warm; warm.load_into(video, 'vit_tiny_patch16_224')"),
        ("learn", "import scriptsight.probe"),
        ("learn", "from scriptsight import pictures; pictures.drawable()"),
        ("learn", "from scriptsight import statistics; statistics.interval(numpy.array([0, 1, 1]))"),
        ("data", "scriptsight.parse_captions"),
        ("data", "import scriptsight.ingest"),
        ("data", "import scriptsight.segment"),
        ("data", "encoder.embed('https://127.0.0.1/clip.mp4')"),
        ("s3", "encoder.embed('s3://bucket/clip.mp4')"),
        ("search", "from scriptsight.retrieve import graph; graph.write(numpy.eye(2), 'graph.faiss')"),
    ],
)
def test_what_needs_an_extra_says_which(python: Path, tmp_path: Path, extra: str, code: str) -> None:
    around = f"""
import numpy, scriptsight
video = scriptsight.VideoViT(width=32, depth=1, heads=2, patch=8, tubelet=2, size=16, frames=4)
encoder = scriptsight.Encoder(video, scriptsight.TextEncoder.words(['red'], width=8), 8)
try:
    {code}
except scriptsight.InputError as error:
    print(error)
"""
    assert f"pip install 'scriptsight[{extra}]'" in run(python, around, tmp_path)
