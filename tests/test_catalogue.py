"""A catalogue is read as it was written, in pieces, and its bytes do not depend on the pieces."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scriptsight import catalogue
from scriptsight.catalogue import Cue, Reject, Video, Word
from scriptsight.errors import InputError


def video(number: int, cues: int = 0, collection: str = "mine") -> Video:
    said = tuple(Cue(i + 0.1, i + 0.9, f"{number} says {i}", (Word(i, i + 0.5, "x"),), None) for i in range(cues))
    return Video(
        video_id=f"v{number:04}",
        collection=collection,
        split="train",
        uri=f"v/{number}.mp4",
        size=number,
        digest="0" * 64,
        duration=1 / 3,
        fps=25.0,
        width=64,
        height=48,
        codec="h264",
        has_audio=False,
        captions=("one", "two") if number % 2 else (),
        cues=said,
    )


def write(folder: Path, videos: list[Video], pieces: int, rejects: list[Reject] | None = None) -> dict[str, bytes]:
    size = -(-len(videos) // pieces)
    tables = (catalogue.with_cues(videos[i : i + size]) for i in range(0, len(videos), size))
    catalogue.write(folder, tables, rejects or [])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos without cues stand between others, at both ends, and where row groups end."""
    monkeypatch.setattr(catalogue, "_VIDEO_ROWS", 4)
    monkeypatch.setattr(catalogue, "_CUE_ROWS", 5)
    videos = [video(i, cues) for i, cues in enumerate([0, 3, 0, 0, 7, 5, 1, 0, 2, 0])]
    videos += [video(i, 2, "other") for i in range(3)]
    rejects = [Reject("mine", uri, "no cues", "x") for uri in ("b", "ä", "a", "\U0001f600", "\uffff")]
    written = write(tmp_path / "a", videos, 3, rejects)
    found = list(catalogue.read(tmp_path / "a"))
    assert found == videos
    assert [one.cues for one in found] == [one.cues for one in videos]
    assert [one.uri for one in catalogue.read_rejects(tmp_path / "a")] == sorted(one.uri for one in rejects)
    assert pq.ParquetFile(tmp_path / "a/videos.parquet").num_row_groups == 4
    assert pq.ParquetFile(tmp_path / "a/cues.parquet").num_row_groups == 5
    for pieces in (1, 13):
        assert write(tmp_path / str(pieces), videos, pieces, rejects[::1]) == written


def test_two_videos_of_one_id_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have the id 'v0001'"):
        write(tmp_path / "a", [video(1), video(1)], 2)
    assert list(tmp_path.iterdir()) == []


def test_cues_of_other_videos_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "a", [video(1, 2), video(2, 2)], 1)
    write(tmp_path / "b", [video(1, 2)], 1)
    (tmp_path / "a/cues.parquet").rename(tmp_path / "b/cues.parquet")
    with pytest.raises(InputError, match="run the ingest stage again"):
        list(catalogue.read(tmp_path / "b"))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read as Linux shows it")
def test_memory_is_flat_in_the_number_of_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_CUE_ROWS", 2048)  # long cues, few of them a row group: 4 MB of the file
    # Not getrusage: its peak is that of the process that started this one, where that was larger.
    code = (
        "import sys\nfrom pathlib import Path\nfrom scriptsight import catalogue\n"
        "assert sum(1 for _ in catalogue.read(sys.argv[1])) == int(sys.argv[2])\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    rng = random.Random(0)
    long = tuple(Cue(i, i + 1, rng.randbytes(1000).hex()) for i in range(20))
    peaks = []
    for count in (200, 2000):
        folder = tmp_path / str(count)
        said = (tuple(replace(cue, text=f"{i} {cue.text}") for cue in long) for i in range(count))
        tables = (catalogue.with_cues([replace(video(i), cues=cues)]) for i, cues in enumerate(said))
        catalogue.write(folder, tables, [])
        command = [sys.executable, "-c", code, str(folder), str(count)]
        one = os.environ | {"OMP_NUM_THREADS": "1"}  # every thread that reads may hold buffers of its own
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=one)  # noqa: S603
        peaks.append(int(done.stdout) / 1024)
    assert (folder / "cues.parquet").stat().st_size > 70e6
    assert peaks[1] < peaks[0] + 45  # MB
