"""The stage on real files: right rows, the good part of broken videos, the same bytes, all or nothing."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg

from scriptsight import catalogue, ingest, segment
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.segment import SegmentParams
from scriptsight.segment import joining
from scriptsight.segments import Segments
from tests import small
from tests.conftest import MakeVideo

VTT = """WEBVTT

00:01.000 --> 00:02.000
first

00:02.500 --> 00:04.000
second

00:08.000 --> 00:09.000
third
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params(**keys: Any) -> SegmentParams:
    return small.segment_params(**keys)


def ingest_folder(path: str = "v", **keys: Any) -> None:
    collection = {"kind": "folder", "path": path, "splits": {"*": "train"}} | keys
    ingest.run(small.ingest_params({"mine": collection}, max_reject_share=0.9))


def shards(folder: Path = Path("data/segments")) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_rows_hold_the_right_frames_and_cues(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=12, rate=8)
    Path("v/a.vtt").write_text(VTT)
    make_video(Path("v/silent.mp4"), seconds=9, rate=8)
    Path("v/labels.csv").write_text("video,label\nsilent.mp4,jump\n")
    ingest_folder(labels="labels.csv")
    result = segment.run(params())
    rows = Segments("data/segments", "mine", "train")
    assert result.segments == len(rows) == 4
    assert [row.segment_id for row in rows] == ["mine/a/0", "mine/a/1", "mine/silent/0", "mine/silent/1"]
    assert [(row.start, row.end) for row in rows] == [(0.5, 4.5), (7.5, 9.5), (0, 4.5), (4.5, 9)]
    assert rows[0].cues == (Cue(1, 2, "first"), Cue(2.5, 4, "second"))
    assert [row.label for row in rows] == [None, None, "jump", "jump"]
    for row in rows:
        first, last = np.ceil(row.start * 4), np.ceil(row.end * 4)
        np.testing.assert_allclose(row.frame_times, np.arange(first, last) / 4)
        levels = row.decode(range(len(row.frames))).mean((1, 2, 3))
        np.testing.assert_allclose(levels, 16 + 8 * np.round(row.frame_times * 8) % 224, atol=4)
    assert rows[0].decode([0]).shape == (1, 32, 43, 3)


@pytest.mark.parametrize("chroma", [444, 420])
def test_colours_are_kept_in_full_or_half_resolution(make_video: MakeVideo, chroma: int) -> None:
    make_video(Path("v/a.mp4"), seconds=2)
    ingest_folder()
    segment.run(params(jpeg_chroma=chroma))
    (row,) = Segments("data/segments", "mine", "train")
    for index in range(len(row.frames)):
        assert simplejpeg.decode_jpeg_header(row.frames[index])[3] == str(chroma)
    levels = row.decode(range(len(row.frames))).mean((1, 2, 3))
    np.testing.assert_allclose(levels, 16 + 8 * np.round(row.frame_times * 8) % 224, atol=4)


def test_a_video_may_be_a_stretch_of_its_file(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(Path("v/a.mp4"), seconds=12, rate=8)
    Path("v/a.vtt").write_text(VTT)
    whole = Entry("whole", "train", "v/a.mp4", script="v/a.vtt")
    clips = [replace(whole, video_id="clip", start=2.0, end=9.5), replace(whole, video_id="gone", start=13.0)]
    clips += [replace(whole, video_id="silent", script=None, end=3.0)]
    listed = Listed()
    for entry in (whole, *clips):
        listed.add(entry)
    monkeypatch.setitem(READERS, "folder", lambda *_: listed)
    ingest_folder()
    videos = list(catalogue.read("data/catalogue"))
    assert [(video.video_id, video.duration) for video in videos] == [("clip", 7.5), ("silent", 3), ("whole", 12)]
    (reject,) = catalogue.read_rejects("data/catalogue")
    assert (reject.reason, reject.detail) == ("not in the file", "13.0 to None s of the 12.00 s of its file")
    segment.run(params())
    rows = [row for row in Segments("data/segments", "mine", "train") if row.video_id != "whole"]
    assert [(row.video_id, row.start, row.end) for row in rows] == [
        ("clip", 2, 4.5),
        ("clip", 7.5, 9.5),
        ("silent", 0, 3),
    ]
    assert rows[0].cues == (Cue(2.5, 4, "second"),)
    np.testing.assert_allclose(rows[0].frame_times, np.arange(8, 18) / 4)
    levels = rows[1].decode(range(len(rows[1].frames))).mean((1, 2, 3))
    np.testing.assert_allclose(levels, 16 + 8 * np.round(rows[1].frame_times * 8) % 224, atol=4)


def test_the_same_bytes_whatever_the_workers(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        make_video(Path(f"v/{i}.mp4"), seconds=2 + i)
    Path("v/2.vtt").write_text(VTT)
    ingest_folder()
    segment.run(params(workers=1))
    first = shards()
    monkeypatch.setattr(segment, "CHUNK_VIDEOS", 2)  # other chunks in another order of work
    segment.run(params(workers=2))
    assert shards() == first
    monkeypatch.setattr(joining, "BATCH_ROWS", 2)
    segment.run(params(workers=2, shard_mb=0.01))
    assert len(shards()) > len(first)
    ids = Segments("data/segments", "mine", "train").column("segment_id")
    assert ids == sorted(ids)


def test_a_broken_video_keeps_its_good_half(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=4)
    make_video(Path("whole.mp4"), seconds=12, rate=8, options={"movflags": "+faststart"})
    data = Path("whole.mp4").read_bytes()
    Path("v/half.mp4").write_bytes(data[: len(data) * 6 // 10])
    lines = "".join(f"00:{i:02}.000 --> 00:{i:02}.900\nword {i}\n\n" for i in range(12))
    Path("v/half.vtt").write_text("WEBVTT\n\n" + lines)
    ingest_folder()
    result = segment.run(params())
    reject = catalogue.read_rejects("data/segments")[0]
    assert (reject.uri, reject.reason) == ("v/half.mp4", "broken stretch")
    rows = [row for row in Segments("data/segments", "mine", "train") if row.video_id == "half"]
    assert 3 < rows[-1].end < 8
    for row in rows:  # the first frame may be the one that is on screen when the segment begins
        assert (row.frame_times[1:] > row.start).all() and (row.frame_times < row.end).all()
    assert all(cue.end <= row.end for row in rows for cue in row.cues)
    said = [cue.text for row in rows for cue in row.cues]
    assert said == [f"word {i}" for i in range(len(said))]
    assert (result.rejects, result.segments) == (1, 1 + len(rows))


def test_what_is_on_screen_when_a_segment_begins_belongs_to_it() -> None:
    Path("v").mkdir()
    with av.open("v/slides.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv420p", Fraction(1, 8)
        for second, grey in ((0, 40), (1, 80), (7, 160), (20, 240)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            frame.pts = 8 * second
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    Path("v/slides.vtt").write_text("WEBVTT\n\n00:05.000 --> 00:09.000\nthis slide, and the next\n")
    ingest_folder()
    segment.run(params())
    (row,) = Segments("data/segments", "mine", "train")
    assert (row.start, row.end) == (4.5, 9.5)
    np.testing.assert_allclose(row.frame_times, [1, 7])
    np.testing.assert_allclose(row.decode([0, 1]).mean((1, 2, 3)), [80, 160], atol=4)


def test_words_that_a_break_cuts_off_are_not_learned(make_video: MakeVideo) -> None:
    cut = segment._ended((0.0, 20.0, (Cue(0, 2, "seen"), Cue(3, 9, "half of it seen"), Cue(9, 12, "unseen"))), 6.0)
    assert cut == (0.0, 6.0, (Cue(0, 2, "seen"),))
    assert segment._ended((7.0, 20.0, ()), 6.0) is None


def test_changed_and_missing_files_are_rejects_and_too_many_stop_the_stage(make_video: MakeVideo) -> None:
    for name in "abc":
        make_video(Path(f"v/{name}.mp4"), seconds=2)
    ingest_folder()
    segment.run(params())
    before = shards()
    Path("v/a.mp4").write_bytes(Path("v/a.mp4").read_bytes() + b"x")
    Path("v/b.mp4").unlink()
    with pytest.raises(InputError, match="67% of the videos was refused"):
        segment.run(params())
    assert shards() == before
    assert not list(Path("data").glob(".partial*"))
    segment.run(params(max_reject_share=0.7))
    reasons = [reject.reason for reject in catalogue.read_rejects("data/segments")]
    assert reasons == ["changed since ingest", "missing video"]


def test_a_changed_file_of_the_same_size_is_noticed(make_video: MakeVideo) -> None:
    for name in "ab":
        make_video(Path(f"v/{name}.mp4"), seconds=2)
    ingest_folder()
    data = bytearray(Path("v/a.mp4").read_bytes())
    data[-1] ^= 1
    Path("v/a.mp4").write_bytes(data)
    segment.run(params())
    (reject,) = catalogue.read_rejects("data/segments")
    assert (reject.uri, reject.reason) == ("v/a.mp4", "changed since ingest")


def test_a_video_that_is_kept_in_part_is_not_lost(make_video: MakeVideo) -> None:
    make_video(Path("whole.mp4"), seconds=12, rate=8, options={"movflags": "+faststart"})
    data = Path("whole.mp4").read_bytes()
    Path("v").mkdir()
    Path("v/half.mp4").write_bytes(data[: len(data) * 6 // 10])
    ingest_folder()
    result = segment.run(params(max_reject_share=0.0))
    assert (result.rejects, result.segments) == (1, 2)


def test_what_has_no_frames_is_a_reject(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=4)
    Path("v/late.vtt").write_text(VTT)
    with av.open("v/late.mkv", "w") as container:  # sound from 0 s, a picture from 6 s
        sound, picture = container.add_stream("aac", rate=8000), container.add_stream("libx264", rate=8)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for i in range(80):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 8000, i * 1024
            container.mux(sound.encode(silence))
        for i in range(48, 80):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 8)
            container.mux(picture.encode(frame))
        container.mux(sound.encode())
        container.mux(picture.encode())
    ingest_folder()
    whole, late = catalogue.read("data/catalogue")
    Path("parts").mkdir()
    (chunk,) = segment.plan([replace(whole, duration=0.0), late], Path("parts"))
    part = segment.work(chunk.lines(), params=params(), folder=Path("parts"))
    assert [(reject.uri, reject.reason, reject.detail) for reject in part.rejects] == [
        ("v/a.mp4", "no frames", "in 0 of 0 stretches of its 0.00 s"),
        ("v/late.mkv", "no frames", f"in 1 of 2 stretches of its {late.duration:.2f} s"),
    ]
    assert (part.segments, part.lost) == (1, 1)


def test_videos_that_take_too_long_are_rejects(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=2)
    ingest_folder()
    with pytest.raises(InputError, match="1 x timed out"):
        segment.run(params(timeout_seconds=0.001, workers=1))


def test_a_full_disk_leaves_nothing_half_written(make_video: MakeVideo, tmp_path: Path) -> None:
    for i in range(4):
        make_video(Path(f"v/{i}.mp4"), seconds=20)
    ingest_folder()
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", small]).returncode:  # noqa: S603
        pytest.skip("no small file system can be mounted here (needs root)")
    try:
        with pytest.raises(InputError, match="disk is full"):
            segment.run(params(), segments=small / "segments")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["/bin/umount", small], check=True)  # noqa: S603


def test_a_stage_without_a_catalogue_says_what_to_run() -> None:
    with pytest.raises(InputError, match="run the ingest stage first"):
        segment.run(params())
