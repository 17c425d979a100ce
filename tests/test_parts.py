"""A stage that is killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from scriptsight import catalogue, ingest, parts, segment
from scriptsight.errors import InputError
from scriptsight.ingest import rendering
from scriptsight.params.ingest import IngestParams
from scriptsight.params.segment import SegmentParams
from scriptsight.parts import Chunk, Work
from scriptsight.reporting import ConsoleReporter
from scriptsight.segment import joining
from scriptsight.segment.joining import Shard
from tests import small
from tests.conftest import MakeVideo

VIDEOS = 24
MINE = {"mine": {"kind": "folder", "path": "v", "splits": {"*": "train"}}}
SEGMENT: dict[str, Any] = small.segment_params(fps=8.0, short_side=48).model_dump()


def late(do: Callable[[Sequence[bytes]], Any], lines: Sequence[bytes]) -> Any:
    """Work that surely takes longer than a time limit of a millisecond, whose end is looked for now and then."""
    time.sleep(2)
    return do(lines)


class Counting:
    """The library's own mapper, and how many chunks of videos it was given; of all kinds by that of their parts."""

    def __init__(self) -> None:
        self.chunks = 0
        self.kinds: dict[str, int] = {}

    def __call__(self, work: Work[Any], chunks: Iterable[Chunk], total: int) -> Iterator[int]:
        if work.part is not Shard:
            self.chunks = total
        self.kinds[work.part.__name__] = total
        return parts.processes(work, chunks, total, workers=2)


@pytest.fixture(autouse=True)
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ingest, "CHUNK_VIDEOS", 1)
    monkeypatch.setattr(segment, "CHUNK_VIDEOS", 1)
    first = make_video(Path("v/00.mp4"), seconds=12, size=(320, 240))
    for i in range(1, VIDEOS):
        Path(f"v/{i:02}.mp4").write_bytes(first.read_bytes())
        Path(f"v/{i:02}.vtt").write_text(f"WEBVTT\n\n00:00.500 --> 00:01.500\nsentence {i}\n")


def outputs() -> dict[str, bytes]:
    found = [path for name in ("data", "metrics") for path in Path(name).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in sorted(found)}


def summaries(name: str) -> list[Path]:
    return list(Path(".work", name).glob("*/??/[0-9a-f]*.json"))


def kill_in_the_middle(name: str, values: dict[str, Any]) -> None:
    """Run the stage in a process of its own, and kill it with SIGKILL as soon as three parts are there."""
    # One worker and a pause after each part, so that there is a middle to be killed in, on any machine.
    code = f"""
import sys, time
from scriptsight import parts, {name} as stage
from scriptsight.params.{name} import {name.title()}Params as Params

def slowly(work, chunks, total):
    for count in parts.processes(work, chunks, total, workers=1):
        time.sleep(0.1)
        yield count

stage.CHUNK_VIDEOS = 1
if __name__ == "__main__":
    stage.run(Params.model_validate({values!r}), mapper=slowly)
"""
    Path("stage.py").write_text(code)
    process = subprocess.Popen([sys.executable, "stage.py"], stderr=subprocess.DEVNULL)
    try:
        while len(summaries(name)) < 3:
            assert process.poll() is None, "the stage ended before it was killed"
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive  # its workers end with it


@pytest.mark.parametrize(
    ("name", "values"), [("ingest", small.ingest_params(MINE).model_dump()), ("segment", SEGMENT)]
)
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(name: str, values: dict[str, Any]) -> None:
    ingest.run(small.ingest_params(MINE))
    stage, params = {
        "ingest": (ingest, small.ingest_params(MINE)),
        "segment": (segment, SegmentParams.model_validate(SEGMENT)),
    }[name]
    stage.run(params)
    whole = outputs()
    assert len(whole) >= 5
    shutil.rmtree(Path(".work", name))  # else nothing is left to do in the middle

    kill_in_the_middle(name, values)
    finished = len(summaries(name))
    assert 3 <= finished < VIDEOS
    before = {path.name: path.stat().st_mtime_ns for path in summaries(name)}
    counting = Counting()
    heard = Heard()
    stage.run(params, mapper=counting, reporter=heard)
    assert counting.chunks == VIDEOS - finished  # what was done is not done again
    assert heard.lines == [f"{name}: {finished} of {VIDEOS} parts are there from an interrupted run"]
    assert heard.last_seen.items() >= before.items()
    assert outputs() == whole
    assert [path.name for path in Path(".work", name).iterdir()] == ["kept"]


def test_joining_that_was_interrupted_goes_on_and_ends_with_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that are there are not joined again, and no video is decoded again."""
    monkeypatch.setattr(joining, "BATCH_ROWS", 3)
    ingest.run(small.ingest_params(MINE))
    params = SegmentParams.model_validate(SEGMENT | {"shard_mb": 0.01})
    segment.run(params)
    whole = outputs()
    shards = sum(name.endswith(".arrow") for name in whole)
    assert shards >= 6
    shutil.rmtree(Path(".work/segment"))
    interrupted(segment, params, "Shard")
    done = len(list(Path(".work/segment").glob("*/shards/??/*.json")))
    assert 2 <= done < shards
    counting = Counting()
    segment.run(params, mapper=counting)
    assert counting.kinds == {"Shard": shards - done}
    assert outputs() == whole


class Heard(ConsoleReporter):
    """What the stage says, and the parts that it saw before its last step."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.last_seen: dict[str, int] = {}

    def message(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        yield from items
        self.last_seen |= {path.name: path.stat().st_mtime_ns for path in summaries(label)}


def interrupted(stage: Any, params: Any, kind: str | None = None) -> None:
    """Run a stage until half of its parts, or those of a kind, are there."""

    class Stop(Exception):
        pass

    def half(work: Work[Any], chunks: Iterable[Chunk], total: int) -> Iterator[int]:
        if kind not in (None, work.part.__name__):
            yield from parts.processes(work, chunks, total, workers=2)
            return
        for number, count in enumerate(parts.processes(work, chunks, total, workers=2)):
            if number == total // 2:
                raise Stop
            yield count

    with pytest.raises(Stop):
        stage.run(params, mapper=half)


def test_a_resumed_run_notices_a_file_that_changed_meanwhile(make_video: MakeVideo) -> None:
    params = small.ingest_params(MINE)
    interrupted(ingest, params)
    done = len(summaries("ingest"))
    make_video(Path("v/00.mp4"), seconds=3)
    Path("v/01.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:01.500\nanother sentence\n")
    counting = Counting()
    ingest.run(params, mapper=counting)
    assert counting.chunks > VIDEOS - done
    resumed = outputs()
    ingest.run(params)
    assert outputs() == resumed


def few(count: int = 8) -> None:
    """Leave so many videos."""
    for path in Path("v").iterdir():
        if int(path.stem) >= count:
            path.unlink()


def test_only_what_is_new_or_changed_is_done_again_and_the_bytes_are_those_of_a_first_run(
    make_video: MakeVideo,
) -> None:
    """A video that is added, one with another name, one that is gone, and one whose caption was edited."""
    few()

    def run(heard: Heard) -> None:
        ingest.run(small.ingest_params(MINE), reporter=heard)
        segment.run(SegmentParams.model_validate(SEGMENT), reporter=heard)

    run(Heard())
    make_video(Path("v/new.mp4"), seconds=3)
    for suffix in (".mp4", ".vtt"):
        Path(f"v/03{suffix}").rename(f"v/renamed{suffix}")
        Path(f"v/04{suffix}").unlink()
    Path("v/05.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:01.500\nother words\n")
    again = Heard()
    run(again)
    assert again.lines == [
        "ingest: 5 of 8 videos are as in the last run, and not opened",
        "segment: 5 of 8 videos are as in the last run; not decoded again",
    ]
    changed = outputs()
    shutil.rmtree(".work")
    fresh = Heard()
    run(fresh)
    assert not fresh.lines
    assert outputs() == changed


def test_what_was_kept_is_looked_at_before_it_counts() -> None:
    """A damaged shard, whose bytes are those of the output, or a damaged record: the videos are decoded again."""
    few()
    ingest.run(small.ingest_params(MINE))
    params = SegmentParams.model_validate(SEGMENT)
    segment.run(params)
    whole = outputs()
    for path in (*Path(".work/segment/kept").rglob("*.arrow"), Path(".work/segment/kept/made.db")):
        data = bytearray(path.read_bytes())
        data[len(data) // 3 : len(data) // 3 + 8] = b"spoilt!!"
        path.write_bytes(data)
        segment.run(params)
        assert outputs() == whole


def test_what_was_refused_in_passing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was refused for good is, with its reason."""
    Path("v/05.mp4").write_text("no video")
    collections = {"mine": MINE["mine"] | {"pattern": "0[0-5].mp4"}}
    params = small.ingest_params(collections)
    refused = ingest.run(params).rejects
    assert refused == 1
    heard = Heard()
    assert ingest.run(params, reporter=heard).rejects == refused
    assert heard.lines == ["ingest: 6 of 6 videos are as in the last run, and not opened"]
    monkeypatch.setattr(parts, "PASSING", frozenset({"unreadable video"}))
    ingest.run(params)
    heard = Heard()
    ingest.run(params, reporter=heard)
    assert heard.lines == ["ingest: 5 of 6 videos are as in the last run, and not opened"]


def world_params(**keys: Any) -> IngestParams:
    videos = {"train": 8, "val": 0, "test": 4}
    worlds = {
        "clips": {"kind": "world", "content": "slow", "videos": videos},
        "talks": {"kind": "world", "content": "narrated", "videos": {"train": 2, "val": 1, "test": 0}},
    }
    return small.ingest_params(worlds, **keys)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CHUNK_VIDEOS", 2)


@pytest.mark.usefixtures("small_chunks")
def test_a_world_is_rendered_once_however_often_the_stage_is_interrupted() -> None:
    whole = Counting()
    ingest.run(world_params(), mapper=whole)
    expected = outputs()
    assert whole.kinds == {"RenderedPart": 8, "CataloguePart": 15}
    assert [path.name for path in Path(".work/ingest").iterdir()] == ["kept"]
    shutil.rmtree("data")

    interrupted(ingest, world_params(), "RenderedPart")
    assert not Path("data/world").exists()
    resumed = Counting()
    rendered_half = summaries("ingest/world")
    assert 4 <= len(rendered_half) < 8
    interrupted(ingest, world_params(), "CataloguePart")
    done = len(summaries("ingest"))
    ingest.run(world_params(), mapper=resumed)
    assert resumed.kinds == {"CataloguePart": 15 - done}  # nothing is rendered again, nothing read again
    assert outputs() == expected
    assert [path.name for path in Path(".work/ingest").iterdir()] == ["kept"]


@pytest.mark.usefixtures("small_chunks")
def test_a_world_is_not_rendered_again_for_other_cleaning() -> None:
    interrupted(ingest, world_params(), "CataloguePart")
    counting = Counting()
    section = world_params().model_dump()
    cleaning = section["cleaning"] | {"overlaps": False}
    ingest.run(IngestParams.model_validate(section | {"cleaning": cleaning}), mapper=counting)
    assert counting.kinds == {"CataloguePart": 15}


@pytest.mark.usefixtures("small_chunks")
def test_a_video_that_is_not_rendered_in_time_is_a_reject_and_tried_again() -> None:
    def hasty(work: Work[Any], chunks: Iterable[Chunk], total: int) -> Iterator[int]:
        for number, chunk in enumerate(chunks):
            first = work.part.__name__ == "RenderedPart" and number == 0
            hurried = replace(work, timeout=0.001, do=partial(late, work.do)) if first else work
            yield from parts.processes(hurried, [chunk], 1, workers=1)

    with pytest.raises(InputError, match=r"'clips': 17% was refused(.|\n)*2 x timed out(.|\n)*clips/test-00000\.mp4"):
        ingest.run(world_params(max_reject_share=0.1), mapper=hasty)
    assert not Path("data/world").exists()  # what is short of videos takes nobody's place
    counting = Counting()
    result = ingest.run(world_params(max_reject_share=0.1), mapper=counting)
    assert counting.kinds == {"RenderedPart": 1, "CataloguePart": 15}
    assert (result.videos, result.rejects) == (15, 0)

    shutil.rmtree("data")
    result = ingest.run(world_params(), mapper=hasty)
    assert (result.videos, result.rejects) == (13, 2)
    assert result.collections["clips"] == {"train": 8, "val": 0, "test": 2}
    assert [
        (reject.collection, reject.uri, reject.reason) for reject in catalogue.read_rejects("data/catalogue")
    ] == [("clips", f"data/world/clips/test-0000{number}.mp4", "timed out") for number in (0, 1)]


def test_parts_of_other_parameters_are_not_used_and_removed() -> None:
    ingest.run(small.ingest_params(MINE))
    interrupted(segment, SegmentParams.model_validate(SEGMENT))
    counting = Counting()
    segment.run(SegmentParams.model_validate(SEGMENT | {"jpeg_quality": 50}), mapper=counting)
    assert counting.chunks == VIDEOS
    assert [path.name for path in Path(".work/segment").iterdir()] == ["kept"]


def test_the_limit_of_rejects_can_be_raised_without_doing_the_work_again() -> None:
    for i in range(VIDEOS // 2 + 1):
        Path(f"v/{i:02}.mp4").write_text("no video")
    with pytest.raises(ValueError, match="max_reject_share"):
        ingest.run(small.ingest_params(MINE))
    counting = Counting()
    ingest.run(small.ingest_params(MINE, max_reject_share=0.9), mapper=counting)
    assert counting.chunks == 0


def test_what_failed_in_passing_is_tried_again_and_nothing_else() -> None:
    def hasty(work: Work[Any], chunks: Iterable[Chunk], total: int) -> Iterator[int]:
        for number, chunk in enumerate(chunks):
            hurried = replace(work, timeout=0.001, do=partial(late, work.do)) if number < 2 else work
            yield from parts.processes(hurried, [chunk], 1, workers=1)

    Path("v/05.mp4").write_text("no video")
    collections = {"mine": MINE["mine"] | {"pattern": "0[0-5].mp4"}}
    with pytest.raises(InputError, match="2 x timed out"):
        ingest.run(small.ingest_params(collections, max_reject_share=0.3), mapper=hasty)
    counting = Counting()
    patient = small.ingest_params(collections, max_reject_share=0.3, timeout_seconds=600)
    result = ingest.run(patient, mapper=counting)
    assert counting.chunks == 2
    assert (result.videos, result.rejects) == (5, 1)


def test_the_stamp_of_an_archives_member_is_the_archives(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    one = parts.stamp(f"tar://member.mp4::{tmp_path}/a.tar")
    assert one == parts.stamp(f"{tmp_path}/a.tar") != ""
    (tmp_path / "a.tar").write_bytes(b"xy")
    assert parts.stamp(f"tar://member.mp4::{tmp_path}/a.tar") != one
    assert parts.stamp(f"{tmp_path}/gone") == ""


def test_two_colons_in_the_name_of_a_file_are_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "std::vector.mp4"
    path.write_bytes(b"x")
    one = parts.stamp(str(path))
    path.write_bytes(b"xy")
    assert "" != one != parts.stamp(str(path)) != ""
