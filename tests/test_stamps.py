"""What changed in a bucket is found out by listings: the same stamps as file by file, with few requests."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from scriptsight import ingest, parts, segment
from tests import small, stores
from tests.conftest import MakeVideo


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Server]:
    with stores.server(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_a_folder_is_listed_once_and_no_file_is_asked(server: stores.Server) -> None:
    store = fsspec.filesystem("s3")
    contents = {f"videos/{folder}/{number:02}.mp4": b"x" * number for folder in ("a", "b/c") for number in range(20)}
    for name, content in contents.items():
        store.pipe(name, content)
    files = [f"s3://{name}" for name in contents]
    asked = [*files, "tar://in/it.mp4::s3://videos/a/03.mp4", "s3://videos/a/none.mp4", "s3://videos/gone/none.mp4"]
    server.requests()
    stamps = parts.Stamps()
    found = [stamps.of(uri) for uri in asked]
    requests = server.requests()
    assert requests["HEAD"] == requests["GET"] == 0
    assert requests["LIST"] <= 4  # a folder each; that there is no folder is asked twice
    assert found == [parts.stamp(uri) for uri in asked]
    assert found[-2:] == ["", ""] and len(set(found)) == len(asked) - 20 - 2  # equal bytes have an equal tag
    assert server.requests()["HEAD"] >= len(files)  # that is what it saves


def test_a_change_is_seen_by_the_next_plan_and_by_who_asks_alone(server: stores.Server) -> None:
    store = fsspec.filesystem("s3")
    store.pipe("videos/d/a.mp4", b"first")
    before = parts.Stamps().of("s3://videos/d/a.mp4")
    elsewhere = fsspec.filesystem("s3", skip_instance_cache=True)
    elsewhere.pipe("videos/d/a.mp4", b"other")
    now = parts.Stamps().of("s3://videos/d/a.mp4")
    assert before != now == parts.stamp("s3://videos/d/a.mp4")


def test_a_listing_goes_on_after_a_thousand_files(server: stores.Server) -> None:
    store = fsspec.filesystem("s3")
    store.pipe({f"videos/many/{number:04}.mp4": b"" for number in range(1100)})
    server.requests()
    stamps = parts.Stamps()
    assert all(stamps.of(f"s3://videos/many/{number:04}.mp4") for number in range(1100))
    assert server.requests() == {"LIST": 2}


def test_where_nothing_may_be_listed_each_file_is_asked(
    server: stores.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fsspec.filesystem("s3")
    for number in range(3):
        store.pipe(f"videos/e/{number}.mp4", b"x")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(store, "ls", refused)
    server.requests()
    stamps = parts.Stamps()
    assert [stamps.of(f"s3://videos/e/{number}.mp4") for number in range(3)] == [
        parts.stamp("s3://videos/e/0.mp4")
    ] * 3
    assert server.requests()["HEAD"] == 4


def test_files_of_this_machine_and_members_of_its_archives(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("a")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.mp4", "a.mp4")
    stamps = parts.Stamps()
    for uri in (f"{tmp_path}/a.mp4", f"file://{tmp_path}/a.mp4", f"tar://a.mp4::{tmp_path}/a.tar"):
        assert stamps.of(uri) == parts.stamp(uri) != ""
    assert stamps.of(f"{tmp_path}/none") == ""


def test_an_unchanged_collection_in_a_bucket_costs_a_stage_some_listings(
    server: stores.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo
) -> None:
    monkeypatch.chdir(tmp_path)
    video = make_video(Path("a.mp4"), seconds=2).read_bytes()
    store = fsspec.filesystem("s3")
    for number in range(12):
        store.pipe(f"videos/talks/{number:02}.mp4", video)
        store.pipe(f"videos/talks/{number:02}.vtt", b"WEBVTT\n\n00:00.500 --> 00:01.500\nwhat is said here\n")
    collection = {"kind": "folder", "path": "s3://videos/talks", "splits": {"*": "train"}}
    server.requests()
    ingest.run(small.ingest_params({"mine": collection}))
    segment.run(small.segment_params())
    first = server.requests()
    assert first["GET"] >= 24
    ingest.run(small.ingest_params({"mine": collection}))
    segment.run(small.segment_params())
    again = server.requests()
    assert again["GET"] == again["HEAD"] == 0
    assert again["LIST"] <= 4
