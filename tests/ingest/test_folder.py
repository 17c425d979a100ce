"""Videos are paired with their captions and rows, split as stated, and what is wrong is a row of rejects."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from scriptsight.catalogue import Reject, Video
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.describe import describe
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import Entry
from scriptsight.params.collections import FolderCollection
from tests import small
from tests.conftest import MakeVideo

FIRST_SPLITS = ["train", "val", "train", "train", "train", "val"]
CUES = "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n"


def read(path: Path, **keys: Any) -> tuple[dict[str, Video], list[Reject]]:
    collection = FolderCollection(kind="folder", path=str(path), **keys)
    found = list(READERS["folder"]("mine", collection))
    rejects = [one for one in found if isinstance(one, Reject)]
    params = small.ingest_params({"mine": {"kind": "folder", "path": "v"}})
    notes = Notes("mine", rejects)
    described = [describe(one, params, notes) for one in found if not isinstance(one, Reject)]
    videos = [video for video in described if video is not None]
    return {Path(video.uri).relative_to(path).as_posix(): video for video in videos}, rejects


@pytest.fixture
def videos(make_video: MakeVideo, tmp_path: Path) -> Path:
    """Four copies of a video, one in a folder of its own."""
    first = make_video(tmp_path / "v/a.mp4", seconds=4)
    for name in ("b.mp4", "c.mp4", "deep/a.mp4"):
        (tmp_path / "v" / name).parent.mkdir(exist_ok=True)
        shutil.copy(first, tmp_path / "v" / name)
    return tmp_path / "v"


def test_captions_beside_a_video(videos: Path) -> None:
    (videos / "a.vtt").write_text(CUES.format("plain"))
    (videos / "b.en.vtt").write_text(CUES.format("english"))
    (videos / "c.en.vtt").write_text(CUES.format("english"))
    (videos / "c.de.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\ndeutsch\n")
    found, rejects = read(videos)
    assert [cue.text for cue in found["a.mp4"].cues] == ["plain"]
    assert [cue.text for cue in found["b.mp4"].cues] == ["english"]
    assert found["b.mp4"].language == "en"
    assert found["c.mp4"].cues == ()
    assert [(reject.reason, reject.uri) for reject in rejects] == [
        ("captions in several languages", f"{videos}/c.mp4")
    ]
    in_german, rejects = read(videos, language="de")
    assert [cue.text for cue in in_german["c.mp4"].cues] == ["deutsch"]
    assert in_german["b.mp4"].cues == ()
    assert [(reject.reason, reject.uri) for reject in rejects] == [("captions in other languages", f"{videos}/b.mp4")]


def test_a_caption_file_of_another_video_is_none_of_this_one(videos: Path) -> None:
    shutil.copy(videos / "a.mp4", videos / "a.two.mp4")
    (videos / "a.two.vtt").write_text(CUES.format("of the second"))
    (videos / "a.two.en.vtt").write_text(CUES.format("of the second, in English"))
    found, rejects = read(videos)
    assert found["a.mp4"].cues == ()
    assert [cue.text for cue in found["a.two.mp4"].cues] == ["of the second"]
    assert rejects == []
    english, _ = read(videos, language="en")
    assert [cue.text for cue in english["a.two.mp4"].cues] == ["of the second, in English"]


@pytest.mark.parametrize("language", ["en", None])
def test_a_language_in_any_spelling(language: str | None, videos: Path) -> None:
    for name in ("a.EN.vtt", "b.en-US.vtt", "c.eng.vtt"):
        (videos / name).write_text(CUES.format(name))
    (videos / "b.raw.json").write_text('{"made": "by a camera"}')
    found, rejects = read(videos, language=language)
    said = {name: [cue.text for cue in video.cues] for name, video in found.items()}
    assert said == {"a.mp4": ["a.EN.vtt"], "b.mp4": ["b.en-US.vtt"], "c.mp4": ["c.eng.vtt"], "deep/a.mp4": []}
    assert rejects == []


def test_subtitles_with_the_marks_of_media_servers(videos: Path) -> None:
    for name in ("a.en.sdh.vtt", "a.en.forced.vtt", "b.en.vtt", "b.en.sdh.vtt", "b.en.forced.vtt", "c.cc.vtt"):
        (videos / name).write_text(CUES.format(name))
    found, rejects = read(videos, language="en")
    said = {name: [cue.text for cue in video.cues] for name, video in found.items()}
    assert said == {"a.mp4": ["a.en.sdh.vtt"], "b.mp4": ["b.en.vtt"], "c.mp4": ["c.cc.vtt"], "deep/a.mp4": []}
    assert rejects == []


def test_tracks_in_other_languages_are_reported(videos: Path, shared_data: Path) -> None:
    film = shared_data / "scripted_videos/exoplayer_embedded_subs/sample_with_srt.mkv"
    shutil.copy(film, videos / "e.mkv")
    found, rejects = read(videos, language="en")
    assert len(found["e.mkv"].cues) == 1
    assert rejects == []
    found, rejects = read(videos, language="fr")
    assert found["e.mkv"].cues == ()
    assert [(reject.uri, reject.reason) for reject in rejects] == [(f"{videos}/e.mkv", "captions in other languages")]
    assert "tracks are in en, none in fr" in rejects[0].detail


def test_captions_with_a_suffix_in_capitals(videos: Path) -> None:
    (videos / "a.VTT").write_text(CUES.format("plain"))
    (videos / "b.en.Srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nenglish\n")
    found, rejects = read(videos)
    assert [cue.text for cue in found["a.mp4"].cues] == ["plain"]
    assert [cue.text for cue in found["b.mp4"].cues] == ["english"]
    assert found["c.mp4"].cues == ()
    assert rejects == []


def test_a_name_that_is_not_utf8_is_refused(videos: Path) -> None:
    try:
        shutil.copy(videos / "a.mp4", os.fsdecode(bytes(videos) + b"/\xff.mp4"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found, rejects = read(videos)
    assert set(found) == {"a.mp4", "b.mp4", "c.mp4", "deep/a.mp4"}
    assert [(reject.uri, reject.reason) for reject in rejects] == [(f"{videos}/\\udcff.mp4", "name is not UTF-8")]


@pytest.mark.parametrize("place", ["uri", "script"])
def test_an_address_with_a_secret_is_not_kept(place: str, videos: Path) -> None:
    rejects: list[Reject] = []
    given = {"uri": str(videos / "a.mp4"), "script": None, place: "https://host/a.vtt?token=SECRET"}
    params = small.ingest_params({"mine": {"kind": "folder", "path": "v"}})
    assert describe(Entry("a", "train", **given), params, Notes("mine", rejects)) is None  # type: ignore[arg-type]
    assert [reject.reason for reject in rejects] == ["secret in the address"]
    assert "SECRET" not in str(rejects)


def test_what_is_known_of_a_video(videos: Path) -> None:
    video = read(videos)[0]["a.mp4"]
    assert (video.duration, video.fps, video.width, video.height) == (4, 8, 64, 48)
    assert (video.codec, video.has_audio, video.size) == ("h264", False, (videos / "a.mp4").stat().st_size)


def test_what_is_broken_is_a_reject_row_and_the_rest_goes_on(videos: Path) -> None:
    (videos / "text.mp4").write_text("not a video")
    (videos / "b.vtt").write_text("WEBVTT\n")
    (videos / "c.vtt").write_text("no captions at all")
    late = "WEBVTT\n\n00:01.000 --> 00:02.000\nhere\n\n00:09.000 --> 00:10.000\ntoo late\n"
    (videos / "a.vtt").write_text(late)
    found, rejects = read(videos)
    assert set(found) == {"a.mp4", "b.mp4", "c.mp4", "deep/a.mp4"}
    assert found["b.mp4"].cues == found["c.mp4"].cues == ()
    assert [cue.text for cue in found["a.mp4"].cues] == ["here"]
    assert sorted((Path(reject.uri).name, reject.reason) for reject in rejects) == [
        ("a.vtt", "cues dropped"),
        ("b.vtt", "no cues"),
        ("c.vtt", "unreadable captions"),
        ("text.mp4", "unreadable video"),
    ]


def test_labels_and_captions(videos: Path) -> None:
    (videos / "labels.csv").write_text("﻿video,verb\na.mp4,jump\ndeep/a.mp4,run\nb,walk\ngone.mp4,fly\n", "utf-8")
    (videos / "captions.csv").write_text("video,title\nc.mp4,A video\n../../etc/passwd,x\n")
    found, rejects = read(videos, labels="labels.csv", label_column="verb", captions="captions.csv")
    labels = {name: video.label for name, video in found.items()}
    assert labels == {"a.mp4": "jump", "deep/a.mp4": "run", "b.mp4": "walk", "c.mp4": None}
    assert found["c.mp4"].title == "A video"
    assert [reject.reason for reject in rejects] == ["no such video", "no such video"]
    assert "gone.mp4" in rejects[0].detail


def test_a_name_that_fits_two_videos_is_refused(videos: Path) -> None:
    shutil.move(videos / "a.mp4", videos / "a.mkv")
    (videos / "labels.csv").write_text("video,label\na,jump\n")
    found, _ = read(videos, labels="labels.csv")
    assert {video.label for video in found.values()} == {
        None,
        "jump",
    }  # `a` is the file a.mkv before deep/a.mp4
    shutil.move(videos / "a.mkv", videos / "other")
    (videos / "other").rename(videos / "deep/b.mp4")
    (videos / "labels.csv").write_text("video,label\nb,jump\ndeep/b,run\n")
    found, _ = read(videos, labels="labels.csv")
    assert found["b.mp4"].label == "jump"
    assert found["deep/b.mp4"].label == "run"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"labels": "gone.csv"}, "gone.csv"),
        ({"labels": "t.csv", "label_column": "verb"}, "no column 'verb'"),
        ({"captions": "t.csv"}, "no column 'caption' or 'title'"),
        ({"labels": "t.csv", "splits": "column"}, "column 'split'"),
        ({"pattern": "*.webm"}, "No video"),
        ({"pattern": "../*"}, "leaves the folder"),
    ],
)
def test_a_mistake_in_the_collection_is_named(keys: dict[str, Any], message: str, videos: Path) -> None:
    (videos / "t.csv").write_text("video,label\na.mp4,x\n")
    with pytest.raises(InputError, match=message):
        read(videos, **keys)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_splits_by_folder_column_and_pattern(videos: Path) -> None:
    for split in ("train", "validation", "extra"):
        shutil.copytree(videos / "deep", videos / split)
    by_folder, rejects = read(videos, splits="folder")
    assert {name: video.split for name, video in by_folder.items()} == {
        "train/a.mp4": "train",
        "validation/a.mp4": "val",
    }
    assert {reject.reason for reject in rejects} == {"no split"}
    (videos / "labels.csv").write_text("video,label,split\ntrain/a.mp4,x,test\nb.mp4,y,Train\nc.mp4,z,\n")
    by_column, rejects = read(videos, splits="column", labels="labels.csv")
    assert {name: video.split for name, video in by_column.items()} == {
        "train/a.mp4": "test",
        "b.mp4": "train",
    }
    by_pattern, _ = read(videos, splits={"deep/*": "test", "*a.mp4": "train"})
    assert by_pattern["deep/a.mp4"].split == "test"  # the first match counts
    assert by_pattern["a.mp4"].split == "train"
    assert "b.mp4" not in by_pattern


def test_hash_splits_have_the_stated_shares_and_are_stable(tmp_path: Path) -> None:
    names = [f"clip{i}.mp4" for i in range(20_000)]
    splits = [by_share(name, 0.1, 0.2) for name in names]
    assert splits.count("test") / len(names) == pytest.approx(0.2, abs=0.01)  # 3.5 standard deviations
    assert splits.count("val") / len(names) == pytest.approx(0.1, abs=0.01)
    assert splits[:6] == FIRST_SPLITS  # written down: a video must keep its split in every version
    for name in names[:6]:
        (tmp_path / name).touch()
    collection = FolderCollection(kind="folder", path=str(tmp_path), val_share=0.1, test_share=0.2)
    assert [entry.split for entry in READERS["folder"]("mine", collection).entries()] == FIRST_SPLITS


def test_video_ids_are_safe_distinct_and_do_not_depend_on_the_others(tmp_path: Path) -> None:
    names = ["a.mp4", "a.mkv", "A.mov", "b/c.mp4", "b_c.mp4", "ü.mp4", "fine-1.mp4", "x::y.mp4", "x" * 250 + ".mp4"]

    def ids(folder: Path, files: list[str]) -> dict[str, str]:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        listed = READERS["folder"]("mine", FolderCollection(kind="folder", path=str(folder)))
        return {entry.uri.removeprefix(f"{folder}/"): entry.video_id for entry in listed.entries()}

    found = ids(tmp_path / "all", names)
    if len(found) < len(names):
        pytest.skip("this file system folds case")
    assert len({name.casefold() for name in found.values()}) == len(names)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        for name in found.values()
    )
    assert all(len(name) < 100 for name in found.values())
    assert found["fine-1.mp4"] == "fine-1"
    # Written down: a video must keep its id in every version.
    assert found["a.mp4"] == "a-e6d48eab"
    alone = ids(tmp_path / "alone", names[5:])
    assert alone == {name: found[name] for name in names[5:]}
