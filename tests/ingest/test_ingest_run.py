"""The stage as a whole: a catalogue or an error, never half of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scriptsight import catalogue, ingest, segment
from scriptsight.errors import InputError
from scriptsight.params.ingest import IngestParams
from scriptsight.segments import Segments
from tests import small
from tests.conftest import MakeVideo


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params(max_reject_share: float = 0.5, **collections: dict[str, Any]) -> IngestParams:
    return small.ingest_params(collections, max_reject_share=max_reject_share)


def test_two_collections_make_one_catalogue(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"))
    Path("v/a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n")
    make_video(Path("w/a.mp4"), seconds=2)
    Path("w/b.mp4").write_text("text")
    everything = {"*": "train"}
    result = ingest.run(
        params(
            one={"kind": "folder", "path": "v", "splits": everything},
            two={"kind": "folder", "path": "w", "splits": everything},
        )
    )
    videos = list(catalogue.read("data/catalogue"))
    assert [(video.collection, video.video_id, video.uri) for video in videos] == [
        ("one", "a", "v/a.mp4"),
        ("two", "a", "w/a.mp4"),
    ]
    assert [cue.text for cue in videos[0].cues] == ["hello"]
    assert [reject.uri for reject in catalogue.read_rejects("data/catalogue")] == ["w/b.mp4"]
    assert (result.videos, result.cues, result.rejects) == (2, 1, 1)
    assert json.loads(Path("metrics/ingest.json").read_text())["collections"]["one"] == {
        "train": 1,
        "val": 0,
        "test": 0,
    }
    assert Path("data/world").is_dir()


def test_the_same_inputs_give_the_same_bytes(make_video: MakeVideo) -> None:
    for name in "abc":
        make_video(Path(f"v/{name}.mp4"))
    seen = []
    for _ in range(2):
        ingest.run(params(mine={"kind": "folder", "path": "v"}))
        seen.append([path.read_bytes() for path in sorted(Path("data/catalogue").iterdir())])
    assert seen[0] == seen[1]


def test_what_is_missing_is_said_before_a_world_is_rendered() -> None:
    world = {"kind": "world", "content": "loop", "videos": {"train": 2, "val": 0, "test": 0}}

    def never(*_: object) -> Iterator[int]:
        raise AssertionError("nothing should be done")

    with pytest.raises(InputError, match="There is no folder nowhere"):
        ingest.run(params(a=world, b={"kind": "folder", "path": "nowhere"}), mapper=never)
    with pytest.raises(InputError, match="'empty': no video is left"):
        ingest.run(params(empty=world | {"videos": {"train": 0, "val": 0, "test": 0}}), mapper=never)


def test_a_world_that_is_gone_from_the_parameters_goes_from_the_disk(make_video: MakeVideo) -> None:
    world = {"kind": "world", "content": "loop", "videos": {"train": 2, "val": 0, "test": 0}}
    ingest.run(params(one=world, two=world | {"seed": 1}))
    assert [path.name for path in sorted(Path("data/world").iterdir())] == ["collections.json", "one", "two"]
    assert json.loads(Path("data/world/collections.json").read_text()) == ["one", "two"]
    make_video(Path("v/a.mp4"))
    result = ingest.run(params(two=world, mine={"kind": "folder", "path": "v", "splits": {"*": "test"}}))
    assert [path.name for path in sorted(Path("data/world").iterdir())] == ["collections.json", "two"]
    assert result.collections == {
        "mine": {"train": 0, "val": 0, "test": 1},
        "two": {"train": 2, "val": 0, "test": 0},
    }
    assert [video.uri for video in catalogue.read("data/catalogue")] == [
        "v/a.mp4",
        "data/world/two/train-00000.mp4",
        "data/world/two/train-00001.mp4",
    ]


def test_a_file_with_two_colons_in_its_name_is_a_video_like_any_other(make_video: MakeVideo) -> None:
    make_video(Path("v/std::vector.mp4"))
    Path("v/std::vector.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n")
    result = ingest.run(params(mine={"kind": "folder", "path": "v", "splits": {"*": "train"}}))
    (video,) = catalogue.read("data/catalogue")
    assert (result.rejects, video.video_id, [cue.text for cue in video.cues]) == (0, "std__vector", ["hello"])


def test_too_many_rejects_stop_the_stage_and_leave_the_old_catalogue(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"))
    ingest.run(params(mine={"kind": "folder", "path": "v"}))
    for name in "bcd":
        Path(f"v/{name}.mp4").write_text("text")
    with pytest.raises(InputError, match=r"'mine': 75% was refused(.|\n)*3 x unreadable video(.|\n)*v/b\.mp4"):
        ingest.run(params(mine={"kind": "folder", "path": "v"}))
    assert len(list(catalogue.read("data/catalogue"))) == 1
    assert not list(Path("data").glob(".partial*"))
    assert ingest.run(params(0.75, mine={"kind": "folder", "path": "v"})).rejects == 3


def test_captions_that_are_all_empty_count_as_rejects(make_video: MakeVideo) -> None:
    for name in "ab":
        make_video(Path(f"v/{name}.mp4"))
        Path(f"v/{name}.vtt").write_text("WEBVTT\n")
    with pytest.raises(InputError, match="100% was refused"):
        ingest.run(params(mine={"kind": "folder", "path": "v"}))


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("a.vtt", "WEBVTT\n\n1s --> 2s\nhello\n\n3s --> 4s\nthere\n", "the times of none of them can be read"),
        ("a.vtt", "WEBVTT\n\nhello there\n", "first 'hello there'"),
        ("a.srt", "1\nsoon --> later\nhello\n", "no line in it has times"),
    ],
)
def test_captions_whose_times_can_not_be_read_are_not_said_to_be_silent(
    name: str, text: str, detail: str, make_video: MakeVideo
) -> None:
    make_video(Path("v/a.mp4"))
    Path("v", name).write_text(text)
    ingest.run(params(1.0, mine={"kind": "folder", "path": "v", "splits": {"*": "train"}}))
    found = {reject.reason: reject.detail for reject in catalogue.read_rejects("data/catalogue")}
    assert detail in found["unreadable captions"]
    assert "no cues" not in found


def test_doubles_are_counted_and_what_is_doubtful_is_found(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"))
    cue = "00:01.000 --> 00:02.000\nopen the &lt;div&gt; and <b>&lt;b&gt;</b>\n\n"
    Path("v/a.vtt").write_text(f"WEBVTT\n\n{cue}WEBVTT\n\n{cue}no time\n")
    ingest.run(params(mine={"kind": "folder", "path": "v", "splits": {"*": "train"}}))
    (video,) = catalogue.read("data/catalogue")
    assert [cue.text for cue in video.cues] == ["open the <div> and <b>"]
    assert json.loads(Path("metrics/ingest.json").read_text())["cleaned"]["doubles"] == 1
    assert [reject.reason for reject in catalogue.read_rejects("data/catalogue")] == ["captions in doubt"]


def test_a_collection_without_a_usable_video_is_an_error() -> None:
    Path("v").mkdir()
    Path("v/a.mp4").write_text("text")
    with pytest.raises(InputError, match="no video is left"):
        ingest.run(params(1.0, mine={"kind": "folder", "path": "v"}))


def test_captions_and_recordings_go_into_the_catalogue_and_what_is_not_used_refuses_nothing(
    make_video: MakeVideo,
) -> None:
    for name in ("a", "b"):
        make_video(Path(f"v/{name}.mp4"))
    for name in ("a.en.hi", "c", "d", "e"):
        Path(f"v/{name}.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    Path("v/t.csv").write_text("video;caption;recording\na;one;film\na;two;film\nb;three;\n")
    keys = {"kind": "folder", "path": "v", "captions": "t.csv", "splits": {"*": "test"}}
    result = ingest.run(params(max_reject_share=0.0, mine=keys))
    videos = list(catalogue.read("data/catalogue"))
    assert [(video.captions, video.recording, len(video.cues)) for video in videos] == [
        (("one", "two"), "film", 1),
        (("three",), None, 0),
    ]
    rejects = catalogue.read_rejects("data/catalogue")
    assert [(reject.uri, reject.reason) for reject in rejects] == [
        (f"v/{name}.srt", "captions not used") for name in "cde"
    ]
    assert (result.videos, result.rejects) == (2, 3)
    segment.run(small.segment_params(), catalogue=Path("data/catalogue"), segments=Path("data/segments"))
    rows = list(Segments("data/segments", "mine", "test"))
    assert {(row.video_id, row.captions, row.recording) for row in rows} == {
        ("a", ("one", "two"), "film"),
        ("b", ("three",), None),
    }
    assert {row.file_digest for row in rows} == {video.digest for video in videos}
