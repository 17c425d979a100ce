"""`scriptsight new` as a user runs it, on small real files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import PROJECT, commands, parameters
from flows.new import writing
from scriptsight.errors import InputError
from scriptsight.params import reading
from tests.conftest import MakeVideo

New = Callable[..., tuple[int, str]]
HOSTILE = '<img src=x> "q" \u202eevil: {a}, # b'


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> New:
    """Type `scriptsight new ...` in a folder -> the exit status, and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*typed: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser("scriptsight new")
        commands.new(parser)
        options = parser.parse_args(typed)
        do = options.run
        del options.run
        status = 0
        try:
            do(options)
        except SystemExit as error:
            status = int(error.code or 0)
        return status, capsys.readouterr().out

    return run


def captions(video: Path, *texts: str) -> None:
    blocks = [f"00:00:{2 * n:02d}.000 --> 00:00:{2 * n + 1:02d}.500\n{text}" for n, text in enumerate(texts)]
    video.with_suffix(".vtt").write_text("\n\n".join(["WEBVTT", *blocks]), encoding="utf-8")


def talk(make_video: MakeVideo, path: Path, number: int) -> None:
    make_video(path, seconds=9.0 + number / 4, rate=4)  # equal ones would be copies of one
    captions(path, *(f"{path.stem} speaks of {what} number {number}" for what in ("cats", "dogs", "cups", "cars")))


def overrides(folder: Path) -> dict[str, Any]:
    """What was written, as it becomes a workspace's parameters."""
    values = reading.read_yaml(folder / "overrides.yaml")
    parameters.build(parameters.laid_over(reading.read_yaml(PROJECT / "params.yaml"), values))
    return values


def test_a_folder_of_several_kinds_becomes_a_workspace_that_fits(
    new: New, tmp_path: Path, make_video: MakeVideo
) -> None:
    videos = tmp_path / "videos"
    for number in range(4):
        talk(make_video, videos / HOSTILE / f"{HOSTILE} {number}.mp4", number)
    for label in ("bow", "wave"):
        for number in range(3):
            make_video(videos / "clips" / label / f"{number}.mp4", seconds=2.0 + 0.25 * number + len(label), rate=4)
    make_video(videos / "silent" / "film.mp4", seconds=5.0)
    (videos / "silent" / "broken.mp4").write_text("no video")
    status, said = new("w", "--videos", "videos")
    assert status == 3  # half a minute of talk teaches nothing, and that is said
    assert "4 videos with words, 38 seconds: too few to learn from" in said
    assert "broken.mp4: " in said
    assert "\u202e" not in said
    assert said.rstrip().endswith("scriptsight run w\n  scriptsight page w")
    values = overrides(tmp_path / "w")
    collections = dict(values["ingest"]["collections"])
    clips, silent = collections.pop("clips"), collections.pop("silent")
    ((name, talks),) = collections.items()
    assert talks["path"] == str(videos / HOSTILE)
    assert sorted(talks["splits"].values()) == ["test", "train", "val"]
    assert clips["labels"] == "folder"
    assert silent["splits"] == {"*": "train"}
    assert values["probe"]["tests"] == {"clips": {"collections": ["clips"]}}
    assert (values["pretrain"]["k"], set(values["pretrain"]["collections"])) == (4, {name})
    indexed = {values["retrieve"]["collection"], *values["retrieve"]["more_collections"]}
    assert indexed == set(values["ingest"]["collections"])
    assert len(values["retrieve"]["queries"]) == 3


def test_asked_again_it_says_what_changed_and_writes_over_nothing_that_was_edited(
    new: New, tmp_path: Path, make_video: MakeVideo
) -> None:
    videos = tmp_path / "videos"
    for number in range(4):
        talk(make_video, videos / f"talk{number}.mp4", number)
    new("w", "--videos", "videos")
    path = tmp_path / "w" / "overrides.yaml"
    first = path.read_text(encoding="utf-8")
    assert "is what would be written now: nothing to do" in new("w", "--videos", "videos")[1]
    assert path.read_text(encoding="utf-8") == first

    talk(make_video, videos / "talk9.mp4", 9)
    (videos / "talk0.mp4").rename(videos / "talk7.mp4")
    (videos / "talk0.vtt").rename(videos / "talk7.vtt")
    captions(videos / "talk1.mp4", *(f"talk1 speaks of other {what} now" for what in ("cats", "dogs", "cups")))
    _, said = new("w", "--videos", "videos")
    assert f"1 added: {videos / 'talk9.mp4'}" in said
    assert f"1 renamed: {videos / 'talk0.mp4'} -> {videos / 'talk7.mp4'}" in said
    assert f"1 with other captions: {videos / 'talk1.mp4'}" in said
    assert "Nothing was written" in said
    assert path.read_text(encoding="utf-8") == first

    assert "is written" in new("w", "--videos", "videos", "--renew")[1]
    second = path.read_text(encoding="utf-8")
    assert second != first
    edited = second.replace("k: 4", "k: 3")
    path.write_text(edited, encoding="utf-8")
    (videos / "talk9.mp4").unlink()
    (videos / "talk9.vtt").unlink()
    assert "was edited and stays" in new("w", "--videos", "videos", "--renew")[1]
    assert path.read_text(encoding="utf-8") == edited
    assert "k: 4" in path.with_name("overrides.yaml.new").read_text(encoding="utf-8")


def test_a_file_that_a_person_wrote_stays(new: New, tmp_path: Path, make_video: MakeVideo) -> None:
    talk(make_video, tmp_path / "videos" / "talk.mp4", 1)
    (tmp_path / "w").mkdir()
    path = tmp_path / "w" / "overrides.yaml"
    path.write_text("segment: {fps: 3}\n", encoding="utf-8")
    new("w", "--videos", "videos", "--renew")
    assert path.read_text(encoding="utf-8") == "segment: {fps: 3}\n"


def test_videos_within_the_workspace_are_named_from_there(new: New, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "w" / "videos" / "film.mp4")
    status, said = new("w", "--videos", "w/videos")
    assert status == 3
    assert "no captions at all" in said and "trained already" in said
    assert overrides(tmp_path / "w")["ingest"]["collections"]["videos"]["path"] == "videos"


def test_programs_get_all_of_it(new: New, tmp_path: Path, make_video: MakeVideo) -> None:
    for number in range(3):
        talk(make_video, tmp_path / "videos" / f"talk{number}.mp4", number)
    status, said = new("w", "--videos", "videos", "--json", "--minutes", "2")
    found = json.loads(said)
    assert status == 3
    assert found["collections"]["videos"]["words_from"] == {".vtt": 3}
    assert found["collections"]["videos"]["splits"] == {"train": 1, "val": 1, "test": 1}
    assert found["state"] == "written"
    assert found["speed"]["step"] > 0 and found["speed"]["decode"] > 0 and found["speed"]["frame_bytes"] > 100
    assert found["density"]["cues"] == 12
    assert [problem["stops"] for problem in found["problems"]] == [True]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("w", "--videos", "s3://bucket/talks"), "looks at folders of this machine alone"),
        (("w", "--videos", "nowhere"), "There is no folder .*nowhere"),
        (("videos", "--videos", "videos"), "would lie in the videos"),
        (("videos/w", "--videos", "videos"), "would lie in the videos"),
        ((str(PROJECT), "--videos", "videos"), "is the project itself"),
        (("w", "--videos", "videos"), "No video in .* can be read:\n.*broken.mp4: "),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_is_written(
    new: New, tmp_path: Path, typed: tuple[str, ...], said: str
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    parser = argparse.ArgumentParser()
    commands.new(parser)
    from flows.new.command import command

    with pytest.raises(InputError, match=said):
        command(parser.parse_args(typed))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "text", ["plain", "true", "1e3", "", "- a", "a: b", '"q"\\', "\n\t", "\u202e\u0085\ufeff", "😀", "#c", "*"]
)
def test_any_text_comes_out_of_the_file_as_it_went_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {writing.flow([text, {text: text}])}\n", encoding="utf-8")
    assert reading.read_yaml(tmp_path / "x.yaml") == {"a": [text, {text: text}]}


def test_real_videos_of_many_kinds(new: New, tmp_path: Path, shared_data: Path) -> None:
    status, said = new("w", "--videos", str(shared_data / "scripted_videos"), "--json")
    found = json.loads(said)
    assert status == 0
    collections = found["collections"]
    assert collections["grid_scenes"]["words_from"] == {".vtt": 39}  # and one is damaged
    assert collections["exoplayer_embedded_subs"]["words_from"] == {"a track inside": 6}
    assert collections["grid_s1"]["labels"] == 4
    assert {one["learned_from"] for one in collections.values()} == {"script", None}
    values = overrides(tmp_path / "w")
    assert values["retrieve"]["collection"] == "grid_scenes"
    assert values["probe"]["tests"] == {"grid_s1": {"collections": ["grid_s1"]}}
    assert values["segment"]["max_seconds"] <= 20
