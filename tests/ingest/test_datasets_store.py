"""A collection in a bucket: one listing, few bytes, and the addresses that come out can be opened."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from scriptsight.errors import InputError
from tests.ingest.test_datasets import read

GUARDED = "of-the-bucket-key"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """The file system of a real S3 server, whose credentials are in the environment; its bucket is `videos`."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        environment.setenv("AWS_ACCESS_KEY_ID", "someone")
        environment.setenv("AWS_SECRET_ACCESS_KEY", GUARDED)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        system = fsspec.filesystem("s3")
        system.mkdir("videos")
        yield system
        system.rm("videos", recursive=True)
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_videos_in_a_bucket_are_found_by_one_listing(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        bucket.pipe(f"videos/ssv2/{number % 3}/{number}.webm", b"")
    bucket.pipe("videos/train.json", json.dumps([{"id": str(number)} for number in range(40)]).encode())
    bucket.invalidate_cache()
    calls: list[str] = []
    call = type(bucket)._call_s3

    async def counted(self: Any, method: str, *args: Any, **keys: Any) -> Any:
        calls.append(method)
        return await call(self, method, *args, **keys)

    iterated = type(bucket)._iterdir

    def listed(self: Any, *args: Any, **keys: Any) -> Any:
        calls.append("list")
        return iterated(self, *args, **keys)

    monkeypatch.setattr(type(bucket), "_call_s3", counted)
    monkeypatch.setattr(type(bucket), "_iterdir", listed)
    found, rejects = read(kind="ssv2", path="s3://videos/ssv2", annotations={"train": "s3://videos/train.json"})
    assert len(found) == 30
    assert len(rejects) == 10
    assert found["7"].uri == "s3://videos/ssv2/1/7.webm"
    assert calls.count("list") == 1
    assert len(calls) <= 4  # with those for the annotation file


def test_archives_in_a_bucket_are_not_read_whole(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in ((f"{i}.{kind}", content) for i in range(5) for kind, content in
                              (("mp4", bytes([i]) * 4_000_000), ("txt", b"a cat"))):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    bucket.pipe("videos/tars/0.tar", data.getvalue())
    s3_file = pytest.importorskip("s3fs").core.S3File
    read_bytes: list[int] = []
    fetch = s3_file._fetch_range

    def counted(self: Any, start: int, end: int) -> bytes:
        got = fetch(self, start, end)
        read_bytes.append(len(got))
        return got

    monkeypatch.setattr(s3_file, "_fetch_range", counted)
    found, rejects = read(kind="webdataset", path="s3://videos/tars")
    assert rejects == []
    assert {entry.captions for entry in found.values()} == {("a cat",)}
    assert 0 < sum(read_bytes) < 0.25 * len(data.getvalue())
    with fsspec.open(found["0_3"].uri) as file:
        assert file.read(10) == bytes([3]) * 10


def test_what_fails_is_reported_without_the_credentials(bucket: Any) -> None:
    for path in ("s3://nobody/v", "s3://videos/nothing"):
        with pytest.raises(InputError, match=path) as error:
            read(kind="webdataset", path=path)
        assert GUARDED not in str(error.value)
