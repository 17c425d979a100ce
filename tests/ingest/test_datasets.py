"""What all dataset readers share: names are only looked up, ids are safe and single, broken files are named."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pydantic import TypeAdapter

from flows import parameters
from scriptsight.catalogue import Cue, Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import by_share, with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params import reading
from scriptsight.params.collections import Collection

HOSTILE = ["../../etc/passwd", "/etc/passwd", "..", "a\0b", "x::file://etc/passwd", "..\\..\\boot", ""]


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def read(**keys: object) -> tuple[dict[str, Entry], list[tuple[str, str]]]:
    """Entries by id, and (reason, uri) of the rejects."""
    collection = TypeAdapter(Collection).validate_python(keys)
    found = list(READERS[str(keys["kind"])]("mine", collection))
    entries = [item for item in found if isinstance(item, Entry)]
    assert [entry.video_id for entry in entries] == sorted({entry.video_id for entry in entries})
    rejects = [item for item in found if isinstance(item, Reject)]
    assert all(reject.collection == "mine" for reject in rejects)
    return {entry.video_id: entry for entry in entries}, [(reject.reason, reject.uri) for reject in rejects]


def test_every_kind_has_a_reader() -> None:
    models = TypeAdapter(Collection).json_schema()["$defs"].values()
    kinds = {model["properties"]["kind"]["const"] for model in models if "kind" in model["properties"]}
    assert kinds - {"world"} == set(READERS)  # the world is rendered, and then read as a folder


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "kinetics", "annotations": {"training": "t.csv"}}, "Input should be 'train', 'val' or 'test'"),
        ({"kind": "kinetics", "annotations": {}}, "annotations: Dictionary should have at least 1 item"),
        ({"kind": "webvid", "annotations": {"val": "v.csv"}, "val_share": 0.1}, "leave one of them out"),
        ({"kind": "msrvtt"}, "name MSRVTT_data.json in annotations"),
        ({"kind": "msrvtt", "lists": {"val": "v.csv"}, "val_share": 0.1}, "leave one of them out"),
        ({"kind": "ucf101", "annotations": "lists", "fold": 4}, "Input should be 1, 2 or 3, got 4"),
        ({"kind": "yt_dlp", "val_share": 0.6, "test_share": 0.6}, "together are over 1"),
        ({"kind": "yt_dlp", "langages": ["en"]}, "Did you mean 'languages'?"),
    ],
)
def test_a_mistake_in_params_yaml_is_named(keys: dict[str, Any], message: str) -> None:
    values = reading.read_yaml("params.yaml")
    values["ingest"]["collections"]["mine"] = keys | {"path": "videos"}
    with pytest.raises(InputError) as error:
        parameters.build(values)
    assert message in str(error.value)
    assert "ingest.collections.mine" in str(error.value)


# --------------------------------------------------------------------------------------------- listing


def test_a_file_is_found_by_name_by_end_of_path_and_by_another_suffix(tmp_path: Path) -> None:
    listing = Listing(
        str(put(tmp_path, "a.mp4", "x/a.mp4", "x/b.webm", "y/c.mp4", "y/d.1.2.avi", "note.txt", "E.MP4"))
    )
    assert listing.matches("x/a.mp4") == ["x/a.mp4"]
    assert sorted(listing.matches("a")) == ["a.mp4", "x/a.mp4"]
    assert listing.matches("z/a", "b") == ["x/b.webm"]
    assert listing.matches("b.mp4") == ["x/b.webm"]
    assert listing.matches("d.1.2") == ["y/d.1.2.avi"]
    assert listing.matches("d.1") == listing.matches("note") == listing.matches("") == []
    assert listing.matches("E") == ["E.MP4"]
    assert list(listing) == sorted(["a.mp4", "x/a.mp4", "x/b.webm", "y/c.mp4", "y/d.1.2.avi", "E.MP4"])


def test_files_of_one_name_are_distinguished_by_their_folder(tmp_path: Path) -> None:
    listing = Listing(str(put(tmp_path, *(f"{folder}/video.mp4" for folder in "abc"))))
    assert len(listing.matches("video")) == 3
    assert listing.matches("b/video") == ["b/video.mp4"]


def test_the_suffix_decides_between_two_files(tmp_path: Path) -> None:
    listing = Listing(str(put(tmp_path, "a.mp4", "a.webm")))
    assert listing.matches("a.webm") == ["a.webm"]
    assert len(listing.matches("a")) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_even_where_such_a_file_exists(tmp_path: Path, name: str) -> None:
    media = Listing(str(put(tmp_path, "videos/a.mp4", "passwd.mp4", "etc/passwd.mp4")))
    claims = [
        Claim("list:1", Entry("fine", "train", ""), (name, "a")),
        Claim("list:2", Entry(name, "train", ""), ("a",)),
    ]
    found = list(assemble("mine", claims, media))
    assert [(type(item), item.reason) for item in found] == [(Reject, "unsafe name")] * 2  # type: ignore[union-attr]


def test_addresses_of_a_store_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    for name in ("a/one.mp4", "b/two.mp4", "three.txt"):
        store.pipe(f"/bucket/videos/{name}", b"")
    asked: list[str] = []
    find = type(store).find

    def listening(self: Any, path: str, **keys: Any) -> Any:
        asked.append(path)
        return find(self, path, **keys)

    monkeypatch.setattr(type(store), "find", listening)
    for path in ("memory://bucket/videos", "memory://bucket/videos/"):
        listing = Listing(path)
        assert [listing.address(found) for found in listing] == [
            "memory://bucket/videos/a/one.mp4",
            "memory://bucket/videos/b/two.mp4",
        ]
        assert store.exists(listing.address("a/one.mp4"))
    assert len(asked) == 2


def test_a_relative_folder_gives_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "videos/a/b.mp4")
    monkeypatch.chdir(tmp_path)
    assert Listing("videos").address("a/b.mp4") == "videos/a/b.mp4"
    assert Listing(".").address("videos/a/b.mp4") == "videos/a/b.mp4"


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no folder .*nowhere"):
        list(Listing(str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match=r"No file that ends in .*\.mp4"):
        list(Listing(str(put(tmp_path, "a.txt"))))
    with pytest.raises(InputError, match="can't be listed"):
        list(Listing("nosuchprotocol://x"))


def test_file_names_that_no_table_could_hold_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "x::y.mp4")
    try:
        shutil.copy(tmp_path / "a.mp4", os.fsdecode(bytes(tmp_path) + b"/\xff.mp4"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = list(assemble("mine", [Claim("list:1", Entry("a", "train", ""), ("a",))], Listing(str(tmp_path))))
    refused = sorted((item.reason, item.uri) for item in found if isinstance(item, Reject))
    assert refused == [("unusable file name", "\\udcff.mp4"), ("unusable file name", "x::y.mp4")]
    assert [item.video_id for item in found if isinstance(item, Entry)] == ["a"]


@pytest.mark.parametrize(
    "path",
    ["s3://key:GUARDED@bucket/v", "https://x.org/v?X-Amz-Signature=GUARDED", "tar://a::s3://key:GUARDED@bucket"],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(path: str, tmp_path: Path) -> None:
    for place in ({"path": path, "annotations": {"train": "t.csv"}},
                  {"path": str(put(tmp_path, "a.mp4")), "annotations": {"train": path}}):  # fmt: skip
        with pytest.raises(InputError, match="credentials come from the environment") as error:
            read(kind="webvid", **place)
        assert "GUARDED" not in str(error.value)


# ------------------------------------------------------------------------------------- claims, splits


def test_doubles_and_doubtful_videos_are_refused(tmp_path: Path) -> None:
    media = Listing(str(put(tmp_path, "a.mp4", "x/b.mp4", "y/b.mp4")))
    claims: list[Claim | Reject] = [
        Claim("list:1", Entry("a", "train", ""), ("a",)),
        Claim("list:2", Entry("a", "test", ""), ("a",)),
        Claim("list:3", Entry("b", "test", ""), ("b",)),
        Claim("list:4", Entry("c", "test", ""), ("c",)),
        Reject("mine", "list:5", "bad row", "as it came"),
        Claim("list:6", Entry("d", "test", "", title="\ud800"), ("a",)),
    ]
    found = list(assemble("mine", claims, media))
    assert [(item.uri, item.reason) for item in found if isinstance(item, Reject)] == [
        ("list:2", "duplicate id"),
        ("list:3", "ambiguous video"),
        ("list:4", "missing video"),
        ("list:5", "bad row"),
        ("list:6", "bad text"),
    ]
    assert [item for item in found if isinstance(item, Entry)] == [Entry("a", "train", f"{tmp_path}/a.mp4")]


def test_entries_wait_on_disk_and_come_back_whole_and_in_order(tmp_path: Path) -> None:
    media = Listing(str(put(tmp_path, "a.mp4")))
    full = Entry(
        "z", "val", "u", script="s", cues=(Cue(0.1, 1.7, 'say "ü"'),), embedded=True, language="en", title="t\n",
        captions=("one", "two"), label="l", start=1.5, end=2.5,
    )  # fmt: skip
    bare = Entry("Q", "train", "u")
    assert list(assemble("mine", [Claim("1", full), Claim("2", bare)], media)) == [bare, full]


def test_ids_are_safe_distinct_and_stable(tmp_path: Path) -> None:
    media = Listing(str(put(tmp_path, "a.mp4")))
    keys = ["fine-1", "a b", "a.b", "Case", "case", "#&;", "x" * 300, "ü"]

    def ids(ordered: list[str]) -> dict[str, str]:
        claims = [Claim("1", Entry(key, "train", "u", title=key)) for key in ordered]
        return {str(item.title): item.video_id for item in assemble("mine", claims, media) if isinstance(item, Entry)}

    found = ids(keys)
    assert len({name.casefold() for name in found.values()}) == len(keys)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in found.values())
    assert all(len(name) < 100 for name in found.values())
    assert found["fine-1"] == "fine-1"
    assert found["a b"].startswith("a_b-")
    assert ids(keys[::-1]) == found


def test_a_list_that_is_left_early_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = Listing(str(put(tmp_path / "videos", "a.mp4")))
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    texts = "".join(map(chr, range(0x4E00, 0x6E00)))  # more than SQLite keeps in memory
    listed = assemble("mine", (Claim(str(i), Entry(str(i), "train", "u", title=texts)) for i in range(200)), media)
    next(iter(listed))
    listed.close()
    listed.close()
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        listed.videos()


def test_a_list_counts_videos_with_those_that_are_refused() -> None:
    listed = Listed()
    for name in ("b", "a"):
        listed.add(Entry(name, "train", f"v/{name}.mp4"))
    for uri, reason in (("v/c.mp4", "no split"), ("v/a.mp4", "captions in several languages")):
        listed.refuse(Reject("mine", uri, reason, ""))
    assert listed.videos() == 3  # a is there, if without captions
    assert [item.uri for item in listed] == ["v/c.mp4", "v/a.mp4", "v/a.mp4", "v/b.mp4"]
    assert list(listed.entries()) == list(listed.entries())


def test_shares_are_as_stated_and_of_training_only() -> None:
    splits = [with_val("train", f"video{i}", 0.1) for i in range(20_000)]
    assert splits.count("val") / len(splits) == pytest.approx(0.1, abs=0.008)  # 3.8 standard deviations
    assert "test" not in splits
    assert {with_val(split, f"video{i}", 0.9) for split in ("val", "test") for i in range(9)} == {"val", "test"}
    # Written down: a video must keep its split in every version.
    splits = [by_share(f"video{i}", 0.3, 0.3) for i in range(8)]
    assert splits == ["test", "val", "train", "test", "val", "train", "test", "train"]


# ----------------------------------------------------------------------------------- broken annotation


KINDS = {
    "webvid": ("w.csv", "videoid,name\n"),
    "kinetics": ("k.csv", "youtube_id,time_start,time_end\n"),
    "ssv2": ("s.json", '[{"id": "1"}]'),
    "didemo": ("d.json", '[{"video": "a.mp4", "description": "b"}]'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_annotation_file_that_can_not_be_read_is_named(kind: str, tmp_path: Path) -> None:
    file, good = KINDS[kind]
    path = tmp_path / file
    put(tmp_path, "videos/a.mp4")

    def message() -> str:
        with pytest.raises(InputError) as error:
            read(kind=kind, path=str(tmp_path / "videos"), annotations={"train": str(path)})
        return str(error.value)

    assert "There is no file" in message()
    assert "It should be a" in message()
    path.write_bytes(b"\xff\xfe\x00junk")
    assert str(path) in message()
    path.write_text("")
    assert str(path) in message()
    path.write_text(good[:-3])
    assert str(path) in message()
    path.unlink()
    path.mkdir()
    assert str(path) in message()


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    put(tmp_path, "videos/a.mp4")
    (tmp_path / "w.csv").write_text("video,caption\na,b\n")
    with pytest.raises(InputError, match=r"w\.csv has no column 'videoid'; it has: video, caption"):
        read(kind="webvid", path=str(tmp_path / "videos"), annotations={"train": str(tmp_path / "w.csv")})


def test_csv_with_mark_crlf_quotes_and_bad_rows(tmp_path: Path) -> None:
    put(tmp_path, "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    rows = [
        "﻿videoid,page_dir,name",
        '1,,"Two women, one ""tall""\r\nand a dog"',
        "2,,one, unquoted",
        "3",
        ",,x",
        "4, , plain ",
    ]
    (tmp_path / "w.csv").write_bytes("\r\n".join(rows).encode())
    found, rejects = read(kind="webvid", path=str(tmp_path), annotations={"train": str(tmp_path / "w.csv")})
    assert {key: entry.captions for key, entry in found.items()} == {
        "1": ('Two women, one "tall"\r\nand a dog',),
        "4": ("plain",),
    }
    assert rejects == [("bad row", f"{tmp_path}/w.csv:{line}") for line in (4, 5, 6)]


@pytest.mark.parametrize(
    "address", ["https://host/a.csv?token=SECRET", "http://SECRET@host/a.csv", "s3://me:SECRET@bucket/a.csv"]
)
@pytest.mark.parametrize("place", ["path", "annotations"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str, place: str, tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    (tmp_path / "w.csv").write_text("videoid,name\na,b\n")
    keys = {"path": str(tmp_path), "annotations": {"train": str(tmp_path / "w.csv")}}
    with pytest.raises(InputError, match="password or a token") as error:
        read(kind="webvid", **keys | {place: address if place == "path" else {"train": address}})
    assert "SECRET" not in str(error.value)


def test_annotations_may_lie_in_a_store(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/lists/train.json", json.dumps([{"id": "7", "label": "a b", "template": "A [b]"}]).encode())
    store.pipe("/clips/7.webm", b"")
    found, rejects = read(kind="ssv2", path="memory://clips", annotations={"train": "memory://lists/train.json"})
    assert found["7"].uri == "memory://clips/7.webm"
    assert rejects == []


def test_a_video_that_vanished_is_a_reject(tmp_path: Path) -> None:
    put(tmp_path, "v/1.webm", "v/2.webm")
    (tmp_path / "t.json").write_text(json.dumps([{"id": "1"}, {"id": 2}, {"id": "3"}, {"id": None}, "x"]))
    keys = {"kind": "ssv2", "path": str(tmp_path / "v"), "annotations": {"test": str(tmp_path / "t.json")}}
    found, rejects = read(**keys)
    assert list(found) == ["1", "2"]
    assert rejects == [
        ("missing video", f"{tmp_path}/t.json#3"),
        ("bad row", f"{tmp_path}/t.json#4"),
        ("bad row", f"{tmp_path}/t.json#5"),
    ]
    shutil.rmtree(tmp_path / "v")
    with pytest.raises(InputError, match="There is no folder"):
        read(**keys)
