"""Which of the files beside a video are its captions, and in what encoding, rate and format they are read."""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scriptsight.catalogue import Reject, Video
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.describe import describe
from scriptsight.params.collections import FolderCollection, WebDatasetCollection, YtDlpCollection
from tests import small
from tests.conftest import MakeVideo

SRT = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
SAID = "сначала мы режем хлеб"


@pytest.fixture
def film(make_video: MakeVideo, tmp_path: Path) -> Path:
    """A video of 4 s at 8 frames a second."""
    return make_video(tmp_path / "v/a.mp4", seconds=4)


def read(folder: Path, **keys: Any) -> tuple[dict[str, Video], list[tuple[str, str, str]]]:
    """Videos by name, and (file, reason, detail) of the rejects."""
    collection = FolderCollection(kind="folder", path=str(folder), **keys)
    params = small.ingest_params({"mine": {"kind": "folder", "path": "v"}})
    rejects: list[Reject] = []
    videos = {}
    for one in READERS["folder"]("mine", collection):
        if isinstance(one, Reject):
            rejects.append(one)
        elif video := describe("mine", one, params, rejects, Counter()):
            videos[Path(video.uri).name] = video
    return videos, [(Path(reject.uri).name, reject.reason, reject.detail) for reject in rejects]


def said(video: Video) -> list[str]:
    return [cue.text for cue in video.cues]


def test_the_encoding_that_a_collection_names_is_believed(film: Path) -> None:
    film.with_suffix(".srt").write_bytes(SRT.format("ой").encode("koi8-r"))  # too short to be found out
    videos, rejects = read(film.parent, encoding="koi8-r")
    assert (said(videos["a.mp4"]), rejects) == (["ой"], [])
    film.with_suffix(".srt").write_bytes(SRT.format(SAID).encode())  # UTF-8 says so itself
    assert said(read(film.parent, encoding="koi8-r")[0]["a.mp4"]) == [SAID]
    film.with_suffix(".srt").write_bytes(SRT.format(SAID).encode("cp1251"))
    videos, [(name, reason, detail)] = read(film.parent, encoding="shift_jis")
    assert (said(videos["a.mp4"]), name, reason) == ([], "a.srt", "unreadable captions")
    assert "shift_jis" in detail


@pytest.mark.parametrize("name", ["cp125l", "zlib", "base64", "rot13"])
@pytest.mark.parametrize("kind", [FolderCollection, YtDlpCollection, WebDatasetCollection])
def test_an_encoding_that_is_none_is_refused(kind: Any, name: str) -> None:
    with pytest.raises(ValidationError, match="is no encoding of text: name one as cp1251"):
        kind(kind=kind.model_fields["kind"].annotation.__args__[0], path="v", encoding=name)


def test_an_encoding_that_is_found_out_is_told(film: Path) -> None:
    film.with_suffix(".srt").write_bytes(SRT.format(SAID).encode("cp1251"))
    videos, [(name, reason, detail)] = read(film.parent)
    assert (said(videos["a.mp4"]), name, reason) == ([SAID], "a.srt", "captions in doubt")
    assert "was read as cp1251" in detail


def test_text_that_was_never_utf8_is_not_repaired(film: Path) -> None:
    broken = SRT.format("schÃ¶n und grÃ¼n")
    film.with_suffix(".srt").write_bytes(broken.encode())
    assert said(read(film.parent)[0]["a.mp4"]) == ["schön und grün"]
    film.with_suffix(".srt").write_bytes(SRT.format("été à 5Â° près").encode("cp1252"))
    assert said(read(film.parent, encoding="cp1252")[0]["a.mp4"]) == ["été à 5Â° près"]


def test_frames_are_counted_at_the_rate_of_the_video(film: Path) -> None:
    film.with_suffix(".sub").write_text("{8}{16}first we cut\n{16}{24}then we toast\n")
    videos, [(name, reason, detail)] = read(film.parent)
    assert [(cue.start, cue.end) for cue in videos["a.mp4"].cues] == [(1.0, 2.0), (2.0, 3.0)]
    assert (name, reason) == ("a.sub", "captions in doubt")
    assert "8 a second of the video" in detail


def test_captions_are_found_among_files_of_something_else(film: Path) -> None:
    film.with_suffix(".json").write_text('{"title": "bread", "likes": 3}')
    film.with_suffix(".txt").write_text(SRT.format("in plain text"))
    videos, rejects = read(film.parent)
    assert (said(videos["a.mp4"]), rejects) == (["in plain text"], [])
    film.with_name("a.en.srt").write_text(SRT.format("with a language"))
    videos, rejects = read(film.parent)
    assert (said(videos["a.mp4"]), videos["a.mp4"].language, rejects) == (["with a language"], "en", [])
    film.with_suffix(".vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nplain\n")
    assert said(read(film.parent)[0]["a.mp4"]) == ["plain"]


def test_any_text_beside_a_video_is_no_captions(film: Path) -> None:
    film.with_suffix(".txt").write_text("A film about bread.\n\nIt was made at 10:30.\n")
    videos, rejects = read(film.parent)
    assert (said(videos["a.mp4"]), rejects) == ([], [])


def test_a_format_that_is_not_read_is_told_and_the_track_inside_is_read(shared_data: Path, tmp_path: Path) -> None:
    inside = shared_data / "scripted_videos/exoplayer_embedded_subs/sample_with_srt.mkv"
    shutil.copy(inside, tmp_path / "a.mkv")
    (tmp_path / "a.scc").write_text("Scenarist_SCC V1.0\n\n00:00:12:11\t94ae 94ae 9420 9420\n")
    videos, [(name, reason, detail)] = read(tmp_path)
    assert len(videos["a.mkv"].cues) == 1
    assert (name, reason) == ("a.scc", "unreadable captions")
    assert "Scenarist closed captions (CEA-608), which is not read here: convert it to SubRip" in detail


def test_a_file_without_a_readable_time_is_told_from_one_that_says_nothing(film: Path) -> None:
    film.with_suffix(".json").write_text('{"segments": [{"start": null, "end": 2, "text": "lost"}]}')
    _, rejects = read(film.parent)
    assert rejects == [
        ("a.json", "unreadable captions", "it has 1 entries, and the times of none of them can be read"),
        ("a.json", "cues dropped", "1 with wrong times, 0 of them after the video's end at 4.00 s"),
    ]


def test_a_compressed_archive_is_told(film: Path, tmp_path: Path) -> None:
    for name in ("d/0.tar", "d/1.tar.gz", "d/2.tgz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add(film, "a.mp4")
    (tmp_path / "d/notes.json.gz").write_bytes(b"")
    found = list(READERS["webdataset"]("mine", WebDatasetCollection(kind="webdataset", path=str(tmp_path / "d"))))
    rejects = [one for one in found if isinstance(one, Reject)]
    assert len(found) - len(rejects) == 1
    assert [(Path(one.uri).name, one.reason) for one in rejects] == [
        ("1.tar.gz", "compressed archive"),
        ("2.tgz", "compressed archive"),
    ]
    for name in ("0.tar", "1.tar.gz", "2.tgz"):
        (tmp_path / "d" / name).unlink()
    with pytest.raises(InputError, match=r"No file that ends in \.tar"):
        list(READERS["webdataset"]("mine", WebDatasetCollection(kind="webdataset", path=str(tmp_path / "d"))))
