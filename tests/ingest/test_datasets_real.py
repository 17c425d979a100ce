"""The official annotation files: as many videos in each split as they hold, counted here in another way."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.ingest.test_datasets import put, read


@pytest.fixture(scope="module")
def ucf_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ucf")


@pytest.mark.parametrize(("fold", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_ucf101(fold: int, train: int, test: int, shared_data: Path, ucf_videos: Path) -> None:
    lists = shared_data / "annotations/ucf101_splits"
    named = {
        split: [line.split()[0] for line in (lists / f"{split}list0{fold}.txt").read_text().splitlines() if line]
        for split in ("train", "test")
    }
    assert {split: len(names) for split, names in named.items()} == {"train": train, "test": test}
    if not any(ucf_videos.iterdir()):
        put(ucf_videos, *named["train"], *named["test"])  # all three folds name the same clips
    keys = {"kind": "ucf101", "path": str(ucf_videos), "annotations": str(lists), "fold": fold}
    found, rejects = read(**keys)
    assert rejects == []
    for split, names in named.items():
        assert {entry.uri for entry in found.values() if entry.split == split} == {f"{ucf_videos}/{n}" for n in names}
    classes = [line.split()[1] for line in (lists / "classInd.txt").read_text().splitlines()]
    assert {entry.label for entry in found.values()} == set(classes)
    assert all(entry.uri.split("/")[-2] == entry.label for entry in found.values())


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_hmdb51_as_in_another_table_of_its_splits(fold: int, shared_data: Path, tmp_path: Path) -> None:
    with (shared_data / "annotations/milnce_csv/hmdb51.csv").open(newline="") as file:
        table = {row["video_id"]: row for row in csv.DictReader(file)}
    assert len(table) == 6766
    put(tmp_path, *table)
    lists = shared_data / "annotations/hmdb51_splits"
    found, rejects = read(kind="hmdb51", path=str(tmp_path), annotations=str(lists), fold=fold)
    assert rejects == []
    codes = {"train": "1", "test": "2"}
    read_as = {Path(entry.uri).name: (codes[entry.split], entry.label) for entry in found.values()}
    label = {name: row["label"].removesuffix("_test") for name, row in table.items()}
    assert read_as == {
        name: (row[f"split{fold}"], label[name]) for name, row in table.items() if row[f"split{fold}"] != "0"
    }
    assert Counter(entry.split for entry in found.values()) == {"train": 3570, "test": 1530}


def test_msrvtt_1ka_test(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations/milnce_csv/msrvtt_test.csv"
    put(tmp_path, *(f"all/video{number}.mp4" for number in range(7000, 10_000)))
    found, rejects = read(kind="msrvtt", path=str(tmp_path), lists={"test": str(path)})
    assert rejects == []
    assert len(found) == len(path.read_text().strip().splitlines()) - 1 == 1000
    assert {entry.split for entry in found.values()} == {"test"}
    assert found["video9770"].captions == ("a person is connecting something to system",)


def test_didemo(shared_data: Path, tmp_path: Path) -> None:
    paths = {split: shared_data / f"annotations/didemo/{split}_data.json" for split in ("val", "test")}
    rows = {split: json.loads(path.read_text()) for split, path in paths.items()}
    stems = {split: {Path(row["video"]).stem.rstrip(".") for row in split_rows} for split, split_rows in rows.items()}
    assert {split: len(names) for split, names in stems.items()} == {"val": 1065, "test": 1004}
    lost = "35034348999@N01_6060447507_dc1a90b8ef"
    put(tmp_path, *(f"{stem}.mp4" for names in stems.values() for stem in names if stem != lost))
    found, rejects = read(kind="didemo", path=str(tmp_path), annotations={s: str(path) for s, path in paths.items()})
    assert Counter(entry.split for entry in found.values()) == {"val": 1064, "test": 1004}
    assert rejects == [("missing video", f"{paths['val']}#1")]
    words = Counter(word.rstrip(".") for entry in found.values() for word in entry.captions[0].split())
    said = [row["description"] for split_rows in rows.values() for row in split_rows if lost not in row["video"]]
    assert words == Counter(word.rstrip(".") for text in said for word in text.split())


def test_the_example_of_yt_temporal(shared_data: Path, tmp_path: Path) -> None:
    example = shared_data / "transcripts/merlot_example"
    put(tmp_path, "WAaKRUoY6Io.mp4")
    found, rejects = read(kind="yt_temporal", path=str(tmp_path), annotations=str(example))
    assert [(entry.video_id, entry.script) for entry in found.values()] == [
        ("WAaKRUoY6Io", f"{example}/WAaKRUoY6Io.grover.json")
    ]
    assert rejects == []


def test_a_real_info_json_of_yt_dlp(shared_data: Path, tmp_path: Path) -> None:
    for name in ("WAaKRUoY6Io.info.json", "WAaKRUoY6Io.en.vtt"):
        shutil.copy(shared_data / "transcripts/merlot_example" / name, tmp_path)
    put(tmp_path, "WAaKRUoY6Io.mp4")
    found, rejects = read(kind="yt_dlp", path=str(tmp_path), description=True)
    entry = found["WAaKRUoY6Io"]
    assert (entry.title, entry.language) == ("Lemon Tomato Penne Pasta I Frankie Celenza", "en")
    assert entry.script == f"{tmp_path}/WAaKRUoY6Io.en.vtt"
    assert "Olive oil" in entry.captions[0]
    assert rejects == []
