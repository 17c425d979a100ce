"""Every caption file is some video's by the ways that names have it, or is told of with the reason."""

from __future__ import annotations

import json
import os
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from scriptsight.catalogue import Reject, Video
from scriptsight.ingest.datasets import tracks
from scriptsight.ingest.datasets.pairing import Paired, pair
from tests.conftest import MakeVideo
from tests.ingest.test_folder import CUES, read

SRT = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"


def of(file: str, *videos: str) -> tuple[str, str] | None:
    """The video that a caption file is paired with, and its language; None where there is none."""
    found = pair([file], list(videos))
    pairs = [(video, one.language) for video, several in found.of_videos.items() for one in several]
    assert len(pairs) <= 1 and bool(pairs) != bool(found.unused)
    return pairs[0] if pairs else None


@pytest.mark.parametrize(
    ("file", "language"),
    [
        ("a.srt", ""),
        ("A.SRT", ""),
        ("a.mp4.srt", ""),
        ("a.MP4.en.srt", "en"),
        ("a.mkv.en.srt", "en"),  # of the video before it was converted
        ("a (1).srt", ""),
        ("a.en.srt", "en"),
        ("a.en-US.srt", "en-US"),
        ("a.pt_BR.srt", "pt_BR"),
        ("a.pt.BR.srt", "pt-BR"),
        ("a.zh-Hans.vtt", "zh-Hans"),
        ("a.es-419.vtt", "es-419"),
        ("a.gsw.vtt", "gsw"),
        ("a.English.srt", "en"),
        ("a.Deutsch.srt", "de"),
        ("a.ελληνικά.srt", "el"),
        ("a.Spanish (Latin American).srt", "es"),
        ("a (en).srt", "en"),
        ("a [eng].srt", "eng"),
        ("a_en.srt", "en"),
        ("a-en.srt", "en"),
        ("a - en.srt", "en"),
        ("a en.srt", "en"),
        ("a.en.hi.srt", "en"),
        ("a.hi.srt", "hi"),  # Hindi
        ("a.hi.hi.srt", "hi"),
        ("a.eng.forced.srt", "eng"),
        ("a.forced.eng.srt", "eng"),
        ("a.en.default.2.srt", "en"),
        ("a_en_sdh.srt", "en"),
        ("a.en-orig.vtt", "en-orig"),
        ("a.cc.vtt", ""),
        ("Subs/a.srt", ""),
        ("subtitles/a.en.srt", "en"),
        ("Subs/English.srt", "en"),
        ("Subs/2_English.srt", "en"),
        ("Subs/a/2_English.srt", "en"),
        ("Subs/A/eng.srt", "eng"),
        ("English.srt", "en"),
        ("captions.vtt", ""),
        ("subtitles_de.vtt", "de"),
        ("a/en.srt", "en"),
        ("a/a.en.srt", "en"),
        ("a/Subs/3_German.forced.srt", "de"),
    ],
)
def test_a_caption_file_is_the_videos_whose_name_it_has(file: str, language: str) -> None:
    assert of(file, "a.mp4") == ("a.mp4", language)
    assert of(f"season 1/{file}", "a.mp4", "season 1/a.mp4") == ("season 1/a.mp4", language)


@pytest.mark.parametrize(
    "file", ["b.srt", "a2.srt", "a 2.srt", "a.2.srt", "a.en.fr.srt", "a.final cut.srt", "else/a.srt", "Subs/b.en.srt"]
)
def test_what_says_another_thing_is_not_guessed_and_is_told(file: str) -> None:
    assert of(file, "a.mp4") is None
    (why,) = pair([file], ["a.mp4"]).unused.values()
    assert "call it as the video" in why


def test_an_accent_in_one_sign_or_in_two_makes_no_difference() -> None:
    for file, video in (("NFC", "NFD"), ("NFD", "NFC")):
        names = [unicodedata.normalize(file, "été.fr.srt"), unicodedata.normalize(video, "été.mp4")]  # type: ignore[arg-type]
        assert names[0][:3] != names[1][:3]
        assert of(*names) == (names[1], "fr")


def test_the_longest_name_counts_and_the_very_name_before_its_capitals() -> None:
    assert of("a.en.srt", "a.mp4", "a.en.mp4") == ("a.en.mp4", "")
    assert of("a_it.srt", "a.mp4", "a_it.mp4") == ("a_it.mp4", "")
    assert of("A.srt", "a.mp4", "A.mov") == ("A.mov", "")
    found = pair(["a.srt"], ["A.mp4", "á.mp4", "a.mov", "a.mkv"])
    assert set(found.of_videos) == {"a.mov", "a.mkv"}  # one recording in two files, for all that names say
    doubtful = pair(["ab.srt"], ["Ab.mp4", "aB.mp4"])
    assert doubtful.of_videos == {} and "Ab.mp4 or to aB.mp4" in doubtful.unused["ab.srt"]


def test_a_folder_of_captions_beside_that_of_the_videos() -> None:
    assert of("captions/x/a.en.vtt", "videos/x/a.mp4", "videos/x/b.mp4") == ("videos/x/a.mp4", "en")
    found = pair(["captions/a.vtt"], ["x/a.mp4", "y/a.mp4"])
    assert "x/a.mp4 or to y/a.mp4" in found.unused["captions/a.vtt"]
    for file in ("Subs/English.srt", "English.srt", "captions.vtt"):
        assert of(file, "a.mp4", "b.mp4") is None  # whose?


def test_files_of_every_kind_are_taken_by_their_very_name_and_last() -> None:
    files = ["a.json", "a.en.json", "a.info.json", "a_en.json", "a.raw.json", "labels.csv", "a.en.srt", "a.srt"]
    found = pair(files, ["a.mp4"])
    assert [one.file for one in found.of_videos["a.mp4"]] == ["a.srt", "a.en.srt", "a.json", "a.en.json"]
    assert found.unused == {}


def test_the_same_thing_twice_is_told_and_another_language_or_format_is_not() -> None:
    files = [
        "a.en.srt",
        "a_eng.srt",
        "a.en.vtt",
        "a.de.srt",
        "a.en-GB.srt",
        "a.en.sdh.srt",
        "a.chapters.vtt",
        "._a.srt",
    ]
    found = pair(files, ["a.mp4"])
    assert found.of_videos["a.mp4"][0].file == "a.en.vtt"
    assert list(found.unused) == ["a_eng.srt"] and "a.en.srt is read" in found.unused["a_eng.srt"]


def test_captions_of_a_format_that_is_not_read_are_told() -> None:
    found = pair(["a.mpl", "a.cap", "a.notes", "a.sup"], ["a.mp4"])
    assert sorted(found.unused) == ["a.cap", "a.mpl"]
    assert all("convert it to SRT or WebVTT" in why for why in found.unused.values())
    assert [one.file for one in found.of_videos["a.mp4"]] == ["a.sup"]  # its parser says what it is


def test_captions_that_are_packed_are_told() -> None:
    found = pair(["a.vtt.gz", "b.en.SRT.xz", "a.json.gz", "notes.gz"], ["a.mp4", "b.mp4"])
    assert found.unused == {"a.vtt.gz": "it is packed: unpack it", "b.en.SRT.xz": "it is packed: unpack it"}
    assert not found.of_videos


def test_the_order_in_which_caption_files_are_tried() -> None:
    beside = [Paired("a.srt"), Paired("a.en.srt", "en"), Paired("a.de.srt", "de"), Paired("a.json", weak=True)]

    def names(*languages: str, among: list[Paired] = beside, own: str | None = None) -> list[str]:
        return [file for file, _ in tracks.of_files(among, languages, own).files]

    assert names() == ["a.srt", "a.json"]  # nothing says which of the two languages
    assert names(own="de") == ["a.srt", "a.de.srt", "a.json"]
    assert names("en") == ["a.en.srt", "a.srt", "a.json"]
    assert names("de", "en") == ["a.de.srt", "a.en.srt", "a.srt", "a.json"]
    undecided = tracks.of_files(beside[1:], [])
    assert [file for file, _ in undecided.files] == ["a.json"]
    assert undecided.problem is not None and undecided.problem[0] == tracks.SEVERAL_LANGUAGES
    assert tracks.of_files([beside[3]], []).problem is None


# ------------------------------------------------------------------------------- read to the end, from a folder


@pytest.fixture
def folder(make_video: MakeVideo, tmp_path: Path) -> Path:
    make_video(tmp_path / "v/v.mp4", seconds=4)
    return tmp_path / "v"


def said(found: dict[str, Video], name: str = "v.mp4") -> list[str]:
    return [cue.text for cue in found[name].cues]


def rows(rejects: list[Reject]) -> list[tuple[str, str]]:
    return [(Path(reject.uri).name, reject.reason) for reject in rejects]


def test_metadata_beside_a_video_does_not_hide_its_captions(folder: Path) -> None:
    (folder / "v.json").write_text(json.dumps({"camera": "one", "shot": [1, 2]}))
    (folder / "v.en.srt").write_text(SRT.format("here"))
    found, rejects = read(folder)
    assert (said(found), found["v.mp4"].language, rejects) == (["here"], "en", [])
    (folder / "v.de.srt").write_text(SRT.format("hier"))
    found, rejects = read(folder)
    assert (said(found), rows(rejects)) == ([], [("v.mp4", "captions in several languages")])


def test_chapters_do_not_hide_captions(folder: Path) -> None:
    (folder / "v.vtt").write_text("WEBVTT\nKind: chapters\n\n00:00.000 --> 00:03.000\nIntro\n")
    (folder / "v.srt").write_text(SRT.format("here"))
    found, rejects = read(folder)
    assert (said(found), rejects) == (["here"], [])


def test_the_next_file_is_tried_where_one_is_damaged_or_empty(folder: Path) -> None:
    (folder / "v.vtt").write_text("no captions at all")
    (folder / "v.srt").write_text("")
    (folder / "v.ass").write_bytes(b"\xff\xfe\x00")
    (folder / "Subs").mkdir()
    (folder / "Subs/v.English.srt").write_text(SRT.format("here"))
    found, rejects = read(folder)
    assert (said(found), found["v.mp4"].language) == (["here"], "en")
    assert ("v.vtt", "unreadable captions") in rows(rejects)
    assert {name for name, _ in rows(rejects)} >= {"v.vtt", "v.srt"}


def test_a_file_that_no_video_takes_is_a_row_and_no_video(folder: Path) -> None:
    for name in ("v.srt", "w.srt", "deep/x.en.vtt", "deep/README.txt", "labels.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(CUES.format("x") if name.endswith("vtt") else SRT.format("x"))
    found, rejects = read(folder)
    assert said(found) == ["x"]
    assert sorted(rows(rejects)) == [("w.srt", "captions not used"), ("x.en.vtt", "captions not used")]
    shutil.copytree(folder, folder / "other")
    _, rejects = read(folder, pattern="*.mp4")  # but what lies beside its videos is told
    assert sorted(reject.uri for reject in rejects) == [
        f"{folder}/deep/x.en.vtt",
        f"{folder}/other/deep/x.en.vtt",
        f"{folder}/other/w.srt",
        f"{folder}/w.srt",
    ]
    _, rejects = read(folder, pattern="other/*.mp4")
    assert sorted(reject.uri for reject in rejects) == [f"{folder}/other/deep/x.en.vtt", f"{folder}/other/w.srt"]


def test_captions_that_are_not_used_count_as_no_videos(folder: Path) -> None:
    from scriptsight.ingest.datasets import READERS
    from scriptsight.params.collections import FolderCollection

    for number in range(20):
        (folder / f"other{number}.srt").write_text(SRT.format("x"))
    listed = READERS["folder"]("mine", FolderCollection(kind="folder", path=str(folder)))
    assert (listed.videos(), len(list(listed.rejects()))) == (1, 20)


def test_every_readable_file_of_the_kinds_in_one_folder_is_read(make_video: MakeVideo, tmp_path: Path) -> None:
    first = make_video(tmp_path / "v/a.mp4", seconds=4)
    names: dict[str, Any] = {
        "a.mp4": "a.en.hi.srt",
        "b.mp4": "b.English.srt",
        "c.mp4": "c (en).srt",
        "d.mp4": "d_en.srt",
        "f.mp4": "f.mp4.srt",
        "g.MP4": "G.SRT",
        "h.mp4": "h - en.srt",
        "i.mp4": "i.en-US.srt",
        "é.mp4": unicodedata.normalize("NFD", "é.srt"),
        "film/k.mp4": "film/Subs/2_English.srt",
        "l.mp4": "subtitles/l.en.srt",
    }
    (tmp_path / "v/film/Subs").mkdir(parents=True)
    (tmp_path / "v/subtitles").mkdir()
    for video, script in names.items():
        if not (tmp_path / "v" / video).exists():
            shutil.copy(first, tmp_path / "v" / video)
        (tmp_path / "v" / script).write_text(SRT.format(script))
    found, rejects = read(tmp_path / "v")
    assert {name: said(found, name) for name in found} == {video: [script] for video, script in names.items()}
    assert rejects == []


def test_a_caption_file_whose_name_no_table_can_hold_is_told(folder: Path) -> None:
    name = os.fsdecode(bytes(folder) + b"/Subs/\xff/v.en.srt")
    try:
        Path(name).parent.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path(name).write_text(SRT.format("x"))
    found, rejects = read(folder)
    assert said(found) == []
    assert [(reject.reason, reject.detail) for reject in rejects] == [
        ("captions not used", "its name is not UTF-8: rename it")
    ]


def test_a_name_without_end_is_read_in_no_time() -> None:
    long = "a" + ".b_c" * 20_000 + ".en.srt"
    begun = time.process_time()
    assert pair([long], ["a.mp4"]).of_videos == {}
    assert time.process_time() - begun < 2
