"""Tables beside a folder's videos: as spreadsheets and people write them, read or refused by name."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.sources import Entry
from scriptsight.params.collections import FolderCollection

CASES = Path(__file__).parents[1] / "field_cases/tables"


def read(folder: Path, **keys: Any) -> tuple[dict[str, Entry], list[Reject]]:
    listed = READERS["folder"]("mine", FolderCollection(kind="folder", path=str(folder), **keys))
    return {Path(entry.uri).relative_to(folder).as_posix(): entry for entry in listed.entries()}, list(
        listed.rejects()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four videos, which listing does not open, and the cases beside them."""
    for number in (1, 2, 3, 4):
        (tmp_path / f"v{number}.mp4").touch()
    for case in CASES.glob("*.csv"):
        shutil.copy(case, tmp_path)
    return tmp_path


def labels(folder: Path, table: str, column: str = "verb") -> dict[str, str | None]:
    found, rejects = read(folder, labels=table, label_column=column)
    assert rejects == []
    return {name.removesuffix(".mp4"): entry.label for name, entry in found.items()}


def test_the_folder_of_a_clip_may_be_its_label(tmp_path: Path) -> None:
    for name in ("bow/1.mp4", "test/wave/2.mp4", "loose.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "titles.csv").write_text("video,title\n1.mp4,a deep bow\n")
    found, rejects = read(tmp_path, labels="folder", captions="titles.csv")
    assert {name: entry.label for name, entry in found.items()} == {
        "bow/1.mp4": "bow",
        "test/wave/2.mp4": "wave",
        "loose.mp4": None,
    }
    assert (found["bow/1.mp4"].title, rejects) == ("a deep bow", [])


@pytest.mark.parametrize("table", ["caps.csv", "several_captions.csv"])
def test_several_rows_of_a_video_are_several_captions(table: str, folder: Path) -> None:
    found, rejects = read(folder, captions=table)
    assert found["v1.mp4"].captions == ("a man cuts bread", "someone slices a loaf", "bread is cut in two")
    assert (found["v2.mp4"].captions, found["v3.mp4"].captions, rejects) == (("a pan on fire",), (), [])


def test_two_labels_of_a_video_are_an_error_that_names_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"dup\.csv:3 says 'toast' of v1\.mp4, and .*dup\.csv:2 says 'cut'"):
        read(folder, labels="dup.csv", label_column="verb")


@pytest.mark.parametrize("column", ["title", "split", "recording"])
def test_other_contradictions_are_errors_too_and_what_is_said_twice_is_not(column: str, folder: Path) -> None:
    (folder / "l.csv").write_text(f"video,label,{column}\nv1.mp4,cut,train\nv1,cut,train\nv2,cut,test\nv2,cut,\n")
    (folder / "c.csv").write_text(f"video,caption,{column}\nv1,a,train\nv1,a,train\nv1,b,\n")
    found, rejects = read(folder, labels="l.csv", captions="c.csv")
    assert (found["v1.mp4"].label, found["v1.mp4"].captions, rejects) == ("cut", ("a", "b"), [])
    (folder / "c.csv").write_text(f"video,caption,{column}\nv1,a,val\n")
    with pytest.raises(InputError, match=rf"c\.csv:2 says 'val' of v1\.mp4, and .*l\.csv:2 .* one {column}"):
        read(folder, labels="l.csv", captions="c.csv")


def test_tables_as_programs_write_them(folder: Path) -> None:
    assert labels(folder, "num.csv") == {"v1": "0", "v2": "1", "v3": "NA", "v4": "Cut"}
    assert labels(folder, "semi.csv") == {"v1": "cut", "v2": "toast", "v3": None, "v4": None}
    assert labels(folder, "u16.csv")["v1"] == "cut"
    assert labels(folder, "upper.csv")["v1"] == "cut"


@pytest.mark.parametrize(
    "text",
    [
        "video\tverb\nv1.mp4\tcut\nv2.mp4\ttoast, then cut\n",
        "video|verb\nv1.mp4|cut\nv2.mp4|toast, then cut\n",
        '\n\n video , "Verb" \n\n v1.mp4 , cut \n,,\n"v2.mp4", "toast, then cut"\n',
        'video,verb,\nv1.mp4,cut,\nv2.mp4,"toast,\nthen cut",\n',
        'sep\n"video";verb;note\nv1.mp4;cut\nv2.mp4;toast, then cut;x'.removeprefix("sep\n"),
        'video,verb,note\r\rv1.mp4,cut,5" wide\rv2.mp4,"toast, then cut",\r',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_delimiters_encodings_and_white_space(encoding: str, text: str, folder: Path) -> None:
    marked = encoding != "utf-16-le"
    (folder / "t.csv").write_bytes(text.encode(encoding))
    if marked:
        assert labels(folder, "t.csv") == {"v1": "cut", "v2": "toast, then cut", "v3": None, "v4": None}
    else:
        with pytest.raises(InputError, match=r"t\.csv is no UTF-8 text: save it as CSV UTF-8"):
            labels(folder, "t.csv")


def test_what_can_not_be_read_is_named_with_its_remedy(folder: Path) -> None:
    with pytest.raises(InputError, match=r"l1\.csv can't be read: it is not UTF-8 .*CSV UTF-8"):
        labels(folder, "l1.csv")
    for data, message in (
        (b"PK\x03\x04 ...", "t.csv is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0 ...", "t.csv is an old Excel file"),
        (b"\x1f\x8b ...", "t.csv is compressed"),
        (b"video,verb,Verb\nv1,a,b\n", "t.csv has the column 'verb' twice"),
        (b"video,verbs\nv1,a\n", "t.csv has no column 'verb'; it has: verbs, video"),
        (b"", "t.csv has no column 'video'"),
        (b'video,verb\nv1,"cut\nv2,toast\nv3,cut\n', "a quote that is opened in line 2 is never closed"),
    ):
        (folder / "t.csv").write_bytes(data)
        with pytest.raises(InputError, match=message):
            labels(folder, "t.csv")


def test_a_row_that_does_not_fit_the_header_is_a_reject(folder: Path) -> None:
    (folder / "t.csv").write_text("video,caption\nv1.mp4,a man, a plan\nv2.mp4,fine\n,whose\n")
    found, rejects = read(folder, captions="t.csv")
    assert (found["v1.mp4"].captions, found["v2.mp4"].captions) == ((), ("fine",))
    assert [(reject.uri, reject.reason) for reject in rejects] == [(f"{folder}/t.csv:{n}", "bad row") for n in (2, 4)]


def test_a_video_by_every_way_to_write_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "talks"
    names = ["a b.mp4", "deep/c.mp4", unicodedata.normalize("NFD", "été.mp4"), "D.MP4", "50%.mp4"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    ways = {
        "a b.mp4": [
            *("a b.mp4", "a b", " ./a b.mp4 ", "a%20b.mp4", "A B.mp4", "a b.avi"),
            *("talks/a b.mp4", f"{folder}/a b.mp4", f"file://{folder}/a%20b.mp4"),
        ],
        "deep/c.mp4": ["deep/c.mp4", "deep\\c.mp4", ".\\deep\\c.mp4", "c", "c.mkv", "talks\\deep\\c"],
        names[2]: [unicodedata.normalize("NFC", "été.mp4"), "Été"],
        "D.MP4": ["d.mp4", "D", "d"],
        "50%.mp4": ["50%.mp4", "50%25.mp4"],
    }
    cells = [(name, way) for name, several in ways.items() for way in several]
    lines = [f'"{way}",caption {number}' for number, (_, way) in enumerate(cells)]
    (folder / "t.csv").write_text("\n".join(["video,caption", *lines]), encoding="utf-8")
    for path in (folder, Path("talks")):
        monkeypatch.chdir(tmp_path)
        found, rejects = read(path, captions="t.csv")
        assert rejects == []
        for name in names:
            wanted = tuple(f"caption {number}" for number, (of, _) in enumerate(cells) if of == name)
            assert found[name].captions == wanted


def test_a_row_of_another_place_is_no_row_of_this_folder(folder: Path) -> None:
    shutil.copytree(folder, folder / "deep")
    (folder / "t.csv").write_text("video,label\n/else/v1.mp4,a\n../v2.mp4,b\nhttps://host/v3.mp4,c\nx/v4.mp4,d\n")
    found, rejects = read(folder, labels="t.csv")
    assert {entry.label for entry in found.values()} == {None}
    assert [reject.reason for reject in rejects] == ["no such video"] * 4


def test_names_that_differ_in_capitals_only_are_not_mixed_up(folder: Path) -> None:
    (folder / "V1.mp4").touch()
    if len(list(folder.glob("*1.mp4"))) < 2:
        pytest.skip("this file system folds case")
    (folder / "t.csv").write_text("video,label\nV1.mp4,big\nv1.mp4,small\n")
    found, rejects = read(folder, labels="t.csv")
    assert (found["V1.mp4"].label, found["v1.mp4"].label, rejects) == ("big", "small", [])
    (folder / "V2.mp4").touch()
    (folder / "t.csv").write_text("video,label\nv2.MP4,which\n")
    assert [reject.reason for reject in read(folder, labels="t.csv")[1]] == ["ambiguous video"]


def test_clips_of_one_recording_go_to_one_split(tmp_path: Path) -> None:
    lines = ["video,label,recording"]
    for number in range(60):
        (tmp_path / f"{number}.mp4").touch()
        lines.append(f"{number},x,film {number // 3}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found, _ = read(tmp_path, labels="t.csv", val_share=0.3, test_share=0.3)
    sides: dict[str | None, set[str]] = {}
    for entry in found.values():
        sides.setdefault(entry.recording, set()).add(entry.split)
    assert len(sides) == 20 and all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "val", "test"}
