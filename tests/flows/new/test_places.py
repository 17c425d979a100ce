"""Which collections a folder holds, by names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import parameters
from flows.new import places
from flows.new.places import Place
from scriptsight.errors import InputError


def lay(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def sections(found: list[Place], root: Path) -> dict[str, dict[str, object]]:
    """Sections by name, their paths from `root`."""
    return {one.name: one.section | {"path": str(Path(one.section["path"]).relative_to(root))} for one in found}


def test_folders_of_videos_are_one_collection(tmp_path: Path) -> None:
    root = lay(tmp_path / "talks", "2020/a.mp4", "2020/a.vtt", "2021/b.mkv", "c.webm")
    assert sections(places.find(root), tmp_path) == {"talks": {"kind": "folder", "path": "talks"}}


def test_folders_of_several_kinds_are_collections_of_their_own(tmp_path: Path) -> None:
    root = lay(tmp_path / "all", "talks/a.mp4", "talks/a.vtt", "clips/x.mp4", "loose.mp4")
    (root / "clips/labels.csv").write_text("video,verb\nx.mp4,bow\n")
    assert sections(places.find(root), root) == {
        "all": {"kind": "folder", "path": ".", "pattern": "*"},
        "clips": {"kind": "folder", "path": "clips", "labels": "labels.csv", "label_column": "verb"},
        "talks": {"kind": "folder", "path": "talks"},
    }


def test_folders_with_several_clips_each_are_classes(tmp_path: Path) -> None:
    root = lay(tmp_path / "actions", "bow/1.mp4", "bow/2.mp4", "wave/1.mp4", "wave/2.mp4")
    assert sections(places.find(root), root) == {"actions": {"kind": "folder", "path": ".", "labels": "folder"}}


@pytest.mark.parametrize("more", ["bow/1.vtt", "wink/1.mp4", "deep/er/1.mp4"])
def test_folders_are_no_classes_with_captions_a_single_clip_or_another_depth(tmp_path: Path, more: str) -> None:
    root = lay(tmp_path / "actions", "bow/1.mp4", "bow/2.mp4", "wave/1.mp4", "wave/2.mp4", more)
    assert "labels" not in places.find(root)[0].section


def test_folders_called_train_and_test_are_splits(tmp_path: Path) -> None:
    names = [f"{split}/{kind}/{number}.mp4" for split in ("train", "test") for kind in "ab" for number in "12"]
    (found,) = places.find(lay(tmp_path / "actions", *names))
    assert (found.section["splits"], found.section["labels"]) == ("folder", "folder")


@pytest.mark.parametrize(
    ("kind", "names", "keys"),
    [
        ("yt_dlp", ["a.mp4", "a.info.json", "a.en.vtt"], {}),
        ("ucf101", ["v/A/v_A_g01_c01.avi", "lists/trainlist01.txt"], {"annotations": "lists", "val_share": 0.1}),
        ("hmdb51", ["run/a.avi", "s/run_test_split1.txt"], {"annotations": "s", "val_share": 0.1}),
        ("howto100m", ["a.mp4", "raw_caption.json"], {"captions": "raw_caption.json"}),
        ("yt_temporal", ["a.mp4", "t/a.grover.json"], {"annotations": "t"}),
        ("msrvtt", ["video0.mp4", "MSRVTT_data.json"], {"annotations": ["MSRVTT_data.json"]}),
        ("webdataset", ["00000.tar", "00001.tar"], {}),
    ],
)
def test_published_layouts_are_recognised(
    tmp_path: Path, kind: str, names: list[str], keys: dict[str, object]
) -> None:
    root = lay(tmp_path / "data", *names)
    (found,) = places.find(root)
    assert found.section["kind"] == kind

    def plain(value: object) -> object:
        return [plain(one) for one in value] if isinstance(value, list) else str(value).removeprefix(f"{root}/")

    rest = {key: value for key, value in found.section.items() if key not in ("kind", "path")}
    assert {key: plain(value) for key, value in rest.items()} == {key: plain(value) for key, value in keys.items()}


def test_a_file_called_as_a_datasets_is_one_only_if_it_says_so(tmp_path: Path) -> None:
    root = lay(tmp_path / "data", "a.mp4", "train.csv", "val.csv")
    assert places.find(root)[0].section["kind"] == "folder"
    (root / "train.csv").write_text("label,youtube_id,time_start,time_end,split\nbow,abc,1,11,train\n")
    (found,) = places.find(root)
    assert found.section["annotations"] == {"train": str(root / "train.csv"), "test": str(root / "val.csv")}


@pytest.mark.parametrize("folder", ['<b>"x"', "../up", "-rf", "size", "नमस्ते", "a" * 200, "a b\nc"])
def test_whatever_a_folder_is_called_its_collection_has_a_name_that_can_be_one(tmp_path: Path, folder: str) -> None:
    wanted = Place(folder, {"kind": "folder", "path": str(tmp_path)}, "")
    first, second = places._named([wanted, wanted])
    assert first.name.casefold() != second.name.casefold()
    for one in (first, second):
        assert one.name.replace("_", "a").replace("-", "a").isascii() and one.name[0] != "-" and len(one.name) <= 64
        assert one.name not in parameters.UNSEEN


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No video is in .*: files that end in .*\.mp4"):
        places.find(lay(tmp_path, "notes.txt"))
