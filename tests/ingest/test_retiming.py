"""Scripts of whole films beside a part of them: each part has the words that are spoken in it, at its own times."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from scriptsight import catalogue, ingest
from scriptsight.captions import Script
from scriptsight.catalogue import Cue, Video, Word
from scriptsight.ingest.describe import describe
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.retiming import Cut, by_the_files_clock, cut, moved, within
from scriptsight.ingest.sources import Entry, Excerpt
from tests import small
from tests.conftest import MakeVideo

FILM = [
    Cue(0.0, 2.0, "one two"),
    Cue(3.0, 5.0, "three four"),
    Cue(6.0, 8.0, "five six"),
    Cue(9.0, 12.0, "seven eight"),
]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ingested(**collection: Any) -> tuple[dict[str, Video], list[tuple[str, str]], dict[str, int]]:
    """Videos by id, (reason, detail) of the rejects, and counts of cleaning."""
    result = ingest.run(small.ingest_params({"mine": collection}, max_reject_share=1.0))
    videos = {video.video_id: video for video in catalogue.read("data/catalogue")}
    return videos, [(row.reason, row.detail) for row in catalogue.read_rejects("data/catalogue")], result.cleaned


def times(video: Video) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for cue in video.cues]


def stamp(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds // 60) % 60:02d}:{seconds % 60:06.3f}"


def vtt(cues: list[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(f"{stamp(cue.start)} --> {stamp(cue.end)}\n{cue.text}\n\n" for cue in cues)


# ------------------------------------------------------------------------------------------- cues alone


def test_a_cue_across_a_cut_keeps_the_words_that_are_spoken_within() -> None:
    words = (Word(1.0, 1.2, "now"), Word(1.3, 1.8, "we"), Word(2.4, 3.0, "mix,"), Word(4.0, 5.0, "well"))
    cue = Cue(1.0, 5.0, "now we mix, well", words)
    assert within(cue, 0.0, 2.0) == Cue(1.0, 2.0, "now we", words[:2], "now we mix, well")
    assert within(cue, 2.0, 5.0) == Cue(2.0, 5.0, "mix, well", words[2:], "now we mix, well")
    assert within(cue, 3.1, 3.9) is None
    assert within(cue, 0.0, 9.0) is cue


def test_without_times_of_words_they_are_taken_to_be_spread_evenly() -> None:
    cue = Cue(0.0, 10.0, "aa bb cc dd ee")
    first, second = within(cue, 0.0, 5.0), within(cue, 5.0, 10.0)
    assert first == Cue(0.0, 5.0, "aa bb", raw="aa bb cc dd ee")
    assert second == Cue(5.0, 10.0, "cc dd ee", raw="aa bb cc dd ee")
    chinese = within(Cue(0.0, 4.0, "今天天气"), 2.0, 4.0)
    assert chinese is not None and chinese.text == "天气"


def test_a_cue_with_wrong_times_stays_as_it_is_for_cleaning() -> None:
    backward = Cue(5.0, 4.0, "x")
    assert within(backward, 0.0, 9.0) == backward
    assert within(backward, 6.0, 9.0) is None


def test_what_is_left_of_a_film_goes_on_where_the_part_before_ends() -> None:
    assert cut(FILM, [(0.0, 5.0), (8.5, inf)]) == Cut([FILM[0], FILM[1], Cue(5.5, 8.5, "seven eight")], 1)
    assert moved(FILM[1:2], 0.5, -1.0) == [Cue(0.5, 1.5, "three four")]


def test_a_script_that_was_cut_already_is_left_and_doubted() -> None:
    script = Script([Cue(0.0, 1.0, "mine"), Cue(2.0, 3.5, "own")], 0)
    found = by_the_files_clock(script, Excerpt(((60.0, 64.0),)), 4.0, track=False)
    assert found.script.cues == script.cues
    assert "taken by the file's clock" in found.script.doubts[0]
    sure = by_the_files_clock(script, Excerpt(((60.0, 64.0),), may_be_cut=False), 4.0, track=False)
    assert (sure.script.cues, sure.script.doubts, sure.cut.outside) == ([], (), 2)


def test_a_file_of_another_length_than_its_clip_is_doubted() -> None:
    found = by_the_files_clock(Script(FILM, 0), Excerpt(((3.0, 8.0),)), 7.5, track=False)
    assert "7.50 s" in found.script.doubts[0] and "may be off" in found.script.doubts[0]
    assert [cue.start for cue in found.script.cues] == [0.0, 3.0]


# -------------------------------------------------------------------------------------------- video2dataset


def as_json(cues: list[Cue], **lines: list[str]) -> list[dict[str, Any]]:
    return [{"start": stamp(cue.start), "end": stamp(cue.end), "lines": lines or [cue.text]} for cue in cues]


def clips(archive: Path, video: bytes, samples: dict[str, dict[str, Any]]) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        for key, meta in samples.items():
            for suffix, data in (("mp4", video), ("json", json.dumps({"key": key, **meta}).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def clip_lines(start: float, end: float) -> list[dict[str, Any]]:
    """`clip_subtitles` of video2dataset: lines that overlap the clip, by language, at the film's times."""
    inside = [cue for cue in FILM if max(start, cue.start) < min(end, cue.end)]
    return [{"start": stamp(cue.start), "end": stamp(cue.end), "lines": {"en": [cue.text]}} for cue in inside]


@pytest.mark.parametrize("as_text", [False, True])
def test_each_clip_of_video2dataset_has_the_words_that_fall_in_it(make_video: MakeVideo, as_text: bool) -> None:
    video = make_video(Path("four.mp4"), seconds=4).read_bytes()
    spans = [(0.0, 4.0), (4.0, 8.0), (8.0, 12.0)]
    metas: list[dict[str, Any]] = [
        {
            "clips": [[stamp(a), stamp(b)] if as_text else [a, b]],
            "clip_subtitles": clip_lines(a, b),
            "yt_meta_dict": {},
        }
        for a, b in spans
    ]
    metas[0]["yt_meta_dict"] = {"info": {"title": "T", "language": "en"}, "subtitles": {"en": as_json(FILM)}}
    clips(Path("t/00000.tar"), video, {f"0000_0000{i}": meta for i, meta in enumerate(metas)})
    videos, rejects, cleaned = ingested(kind="webdataset", path="t")
    assert [times(video) for video in videos.values()] == [
        [(0.0, 2.0, "one two"), (3.0, 4.0, "three")],
        [(0.0, 1.0, "four"), (2.0, 4.0, "five six")],
        [(1.0, 4.0, "seven eight")],
    ]
    assert videos["00000_0000_00000"].cues[1].raw == "three four"
    assert [(video.title, video.language) for video in videos.values()] == [("T", "en")] * 3
    assert rejects == []
    assert (cleaned["outside_the_video"], cleaned["cut_at_an_edge"]) == (2 + 2 + 3, 2)


def test_a_clip_without_the_first_one_goes_by_its_own_subtitles(make_video: MakeVideo) -> None:
    video = make_video(Path("four.mp4"), seconds=4).read_bytes()
    meta = {"clips": [[4.0, 8.0]], "clip_subtitles": clip_lines(4.0, 8.0), "yt_meta_dict": {}}
    clips(Path("t/00000.tar"), video, {"0000_00001": meta})
    videos, rejects, _ = ingested(kind="webdataset", path="t")
    assert times(videos["00000_0000_00001"]) == [(0.0, 1.0, "four"), (2.0, 4.0, "five six")]
    assert rejects == []


def test_a_clip_in_which_nothing_is_said_has_no_words(make_video: MakeVideo) -> None:
    video = make_video(Path("four.mp4"), seconds=4).read_bytes()
    film = {"subtitles": {"en": as_json(FILM[:1])}}
    samples: dict[str, dict[str, Any]] = {
        "7_00000": {"clips": [[0, 4]], "clip_subtitles": clip_lines(0, 2), "yt_meta_dict": film},
        "7_00001": {"clips": [[60, 64]], "clip_subtitles": [], "yt_meta_dict": {}},
        "8_00000": {"clips": [[0, 4]], "yt_meta_dict": {}},  # of another film
    }
    clips(Path("t/00000.tar"), video, samples)
    videos, rejects, _ = ingested(kind="webdataset", path="t")
    assert [len(video.cues) for video in videos.values()] == [1, 0, 0]
    assert rejects == []


def test_the_clips_of_a_film_are_in_one_split(make_video: MakeVideo) -> None:
    video = make_video(Path("one.mp4"), seconds=1).read_bytes()
    clip = {"clips": [[0.0, 1.0]], "yt_meta_dict": {}}
    clips(Path("t/0.tar"), video, {f"{film}_{i:05d}": clip for film in range(12) for i in range(3)})
    videos, _, _ = ingested(kind="webdataset", path="t", val_share=0.3, test_share=0.3)
    splits = {film: {video.split for key, video in videos.items() if f"_{film}_" in key} for film in range(12)}
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) == 3


@pytest.mark.parametrize("listed", [[[0, 2], [2, 4]], [[3, 1]], [["x", "y"]], [[10**400, 1]], [], "0-4", None, [[]]])
def test_a_film_that_was_not_cut_keeps_all_its_words(make_video: MakeVideo, listed: Any) -> None:
    video = make_video(Path("four.mp4"), seconds=4).read_bytes()
    meta = {"clips": listed, "yt_meta_dict": {"subtitles": {"en": as_json(FILM[:2])}}}
    clips(Path("t/0.tar"), video, {"whole": meta})
    videos, _, _ = ingested(kind="webdataset", path="t")
    assert [text for _, _, text in times(videos["0_whole"])] == ["one two", "three four"]


def test_a_list_of_clips_beside_a_whole_film_cuts_nothing(make_video: MakeVideo) -> None:
    video = make_video(Path("four.mp4"), seconds=4).read_bytes()
    meta = {"clips": [[1, 2]], "yt_meta_dict": {"subtitles": {"en": as_json(FILM[:2])}}}
    clips(Path("t/0.tar"), video, {"0001": meta})
    videos, _, _ = ingested(kind="webdataset", path="t")
    assert [start for start, _, _ in times(videos["0_0001"])] == [0.0, 3.0]


# --------------------------------------------------------------------------------------------------- yt-dlp


def downloaded(folder: str, stem: str, cues: list[Cue], suffix: str = ".en.vtt", **info: Any) -> None:
    Path(folder).mkdir(exist_ok=True)
    Path(folder, f"{stem}.info.json").write_text(json.dumps({"title": "T", "language": "en", **info}))
    Path(folder, f"{stem}{suffix}").write_text(vtt(cues))


def test_a_section_of_yt_dlp_has_the_words_of_the_section(make_video: MakeVideo) -> None:
    make_video(Path("d/T [x].mp4"), seconds=5)
    downloaded("d", "T [x]", FILM, id="x", section_start=3.0, section_end=8.0, duration=12)
    videos, rejects, cleaned = ingested(kind="yt_dlp", path="d")
    assert times(videos["x"]) == [(0.0, 2.0, "three four"), (3.0, 5.0, "five six")]
    assert rejects == [] and cleaned["outside_the_video"] == 2


def test_a_section_to_the_end_and_several_sections_of_a_film(make_video: MakeVideo) -> None:
    for stem, seconds in (("a", 3), ("b", 6)):
        make_video(Path(f"d/{stem}.mp4"), seconds=seconds)
    downloaded("d", "a", FILM, id="x", section_start=0, section_end=3)
    downloaded("d", "b", FILM, id="x", section_start=6, section_end=None)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d", val_share=0.5, test_share=0.5)
    assert times(videos["x"]) == [(0.0, 2.0, "one two")]
    assert times(videos["x_6-"]) == [(0.0, 2.0, "five six"), (3.0, 6.0, "seven eight")]
    assert videos["x"].split == videos["x_6-"].split
    assert rejects == []


def test_a_section_that_begins_at_the_key_frame_before_is_placed_by_its_end(make_video: MakeVideo) -> None:
    make_video(Path("d/a.mp4"), seconds=7)
    downloaded("d", "a", FILM, id="x", section_start=3.0, section_end=8.0)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert times(videos["x"]) == [(0.0, 1.0, "two"), (2.0, 4.0, "three four"), (5.0, 7.0, "five six")]
    assert [reason for reason, _ in rejects] == ["captions in doubt"]
    assert "at 1.00 s of the film" in rejects[0][1]


@pytest.mark.parametrize(
    "section", [{"section_start": "3"}, {"section_start": -3}, {"section_start": 8, "section_end": 2}]
)
def test_a_section_that_can_t_be_one_is_none(make_video: MakeVideo, section: dict[str, Any]) -> None:
    make_video(Path("d/a.mp4"), seconds=12)
    downloaded("d", "a", FILM, id="x", **section)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert [start for start, _, _ in times(videos["x"])] == [0.0, 3.0, 6.0, 9.0]
    assert rejects == []


CHAPTERS = [{"start_time": 0, "end_time": 6.0, "title": "In"}, {"start_time": 6.0, "end_time": 12.0, "title": "Out"}]


def test_files_of_chapters_are_read_with_the_films_script(make_video: MakeVideo) -> None:
    for name in ("T - 001 In [x].mp4", "T - 002 Out [x].mp4", "T - 009 Else [x].mp4"):
        make_video(Path("d", name), seconds=6)
    downloaded("d", "T [x]", FILM, id="x", chapters=CHAPTERS)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert times(videos["x_001"]) == [(0.0, 2.0, "one two"), (3.0, 5.0, "three four")]
    assert times(videos["x_002"]) == [(0.0, 2.0, "five six"), (3.0, 6.0, "seven eight")]
    assert [video.title for video in videos.values()] == ["T - In", "T - Out"]
    assert [reason for reason, _ in rejects] == ["no info.json"]  # there is no ninth chapter


def test_files_of_chapters_beside_their_film_are_findings(make_video: MakeVideo) -> None:
    make_video(Path("d/T - 001 In [x].mp4"), seconds=6)
    make_video(Path("d/T [x].mp4"), seconds=12)
    downloaded("d", "T [x]", FILM, id="x", chapters=CHAPTERS)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert list(videos) == ["x"] and len(videos["x"].cues) == 4
    assert rejects == [("chapter of a film that is here", "its film is read: T [x].mp4")]


SPONSORS = [
    {"start_time": 2.5, "end_time": 5.5, "category": "sponsor", "title": "Sponsor", "type": "skip"},
    {"start_time": 11.0, "end_time": 11.5, "category": "outro", "title": "Endcards", "type": "skip"},
    {"start_time": 7.0, "end_time": 7.0, "category": "poi_highlight", "title": "Highlight", "type": "poi"},
]


@pytest.mark.parametrize("suffix", [".en.vtt", ".en.json3"])
def test_subtitles_from_which_removed_sponsors_were_not_cut_are_cut(make_video: MakeVideo, suffix: str) -> None:
    make_video(Path("d/a.mp4"), seconds=9)
    downloaded("d", "a", FILM, id="x", duration=12, sponsorblock_chapters=SPONSORS)
    if suffix == ".en.json3":
        events = [
            {"tStartMs": cue.start * 1000, "dDurationMs": (cue.end - cue.start) * 1000, "segs": [{"utf8": cue.text}]}
            for cue in FILM
        ]
        Path("d/a.en.vtt").unlink()
        Path("d/a.en.json3").write_text(json.dumps({"events": events}))
    videos, rejects, cleaned = ingested(kind="yt_dlp", path="d")
    assert times(videos["x"]) == [(0.0, 2.0, "one two"), (3.0, 5.0, "five six"), (6.0, 9.0, "seven eight")]
    assert [reason for reason, _ in rejects] == ["captions in doubt"]
    assert "0.00 to 2.50, 5.50 to its end" in rejects[0][1]
    assert cleaned["outside_the_video"] == 1


def test_subtitles_that_yt_dlp_cut_are_left_as_they_are(make_video: MakeVideo) -> None:
    make_video(Path("d/a.mp4"), seconds=9)
    ready = cut(FILM, [(0.0, 2.5), (5.5, inf)]).cues
    downloaded("d", "a", ready, id="x", duration=12, sponsorblock_chapters=SPONSORS)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert times(videos["x"]) == [(cue.start, cue.end, cue.text) for cue in ready]
    assert [reason for reason, _ in rejects] == ["captions in doubt"]


def test_sponsors_that_were_only_marked_change_nothing(make_video: MakeVideo) -> None:
    make_video(Path("d/a.mp4"), seconds=12)
    downloaded("d", "a", FILM, id="x", duration=12, sponsorblock_chapters=SPONSORS)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert [start for start, _, _ in times(videos["x"])] == [0.0, 3.0, 6.0, 9.0]
    assert rejects == []


def test_one_removed_chapter_is_found_by_its_length(make_video: MakeVideo) -> None:
    make_video(Path("d/a.mp4"), seconds=9)
    chapters = [
        {"start_time": 0, "end_time": 3.0, "title": "Intro"},
        {"start_time": 3.0, "end_time": 12.0, "title": "Rest"},
    ]
    downloaded("d", "a", FILM, id="x", duration=12, chapters=chapters)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert [start for start, _, _ in times(videos["x"])] == [0.0, 3.0, 6.0]
    assert [reason for reason, _ in rejects] == ["captions in doubt"]


def test_a_file_that_lacks_what_nothing_names_is_doubted(make_video: MakeVideo) -> None:
    make_video(Path("d/a.mp4"), seconds=6)
    downloaded("d", "a", FILM, id="x", duration=12, sponsorblock_chapters=SPONSORS)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert [start for start, _, _ in times(videos["x"])] == [0.0, 3.0]
    assert [reason for reason, _ in rejects] == ["captions in doubt", "cues dropped"]
    assert "nothing says what is gone" in rejects[0][1]


@pytest.mark.parametrize("seconds", ["12", None, -1, True, 1e400])
def test_a_duration_that_is_none_says_nothing(make_video: MakeVideo, seconds: Any) -> None:
    make_video(Path("d/a.mp4"), seconds=12)
    downloaded("d", "a", FILM, id="x", duration=seconds, sponsorblock_chapters=["?", {"start_time": "x"}], chapters=3)
    videos, rejects, _ = ingested(kind="yt_dlp", path="d")
    assert len(videos["x"].cues) == 4 and rejects == []


# --------------------------------------------------------------------------------------- stretches of files


def test_a_stretch_of_a_file_has_the_cues_of_the_stretch_at_the_files_times(make_video: MakeVideo) -> None:
    path = make_video(Path("film.mp4"), seconds=12)
    Path("film.vtt").write_text(vtt(FILM))
    notes = Notes("mine")
    entry = Entry("a", "train", str(path), script="film.vtt", start=4.0, end=8.0)
    params = small.ingest_params({"mine": {"kind": "folder", "path": "v"}})
    video = describe(entry, params, notes)
    assert video is not None and times(video) == [(4.0, 5.0, "four"), (6.0, 8.0, "five six")]
    assert (notes.cleaned["outside_the_video"], notes.cleaned["cut_at_an_edge"], notes.rejects) == (2, 1, [])
    rest = describe(replace(entry, start=8.5, end=None), params, notes)
    assert rest is not None and times(rest) == [(9.0, 12.0, "seven eight")]
