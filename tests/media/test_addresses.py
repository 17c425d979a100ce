"""Files by address: a real object store with a private bucket, a real web server, archives; no password in words."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pytest
import s3fs

from scriptsight.media import MediaError, addresses, fingerprint, local, probe, shown
from tests.conftest import MakeVideo

SECRET = "hunter2SECRET"  # noqa: S105 - what no message may hold


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The files of a folder on loopback; /private/ asks for a password, /broken fails, /short stops half-way,
    /silent does not answer."""
    silence = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if (file := self.send_head()) is not None:
                file.close()

        def send_head(self) -> Any:
            path = self.path.partition("?")[0]
            if path.startswith("/private/") and "Authorization" not in self.headers:
                return self.send_error(401)
            if path.startswith("/silent"):
                silence.wait(20)
                return None
            if path.startswith("/broken"):
                return self.send_error(500)
            if path.startswith("/short"):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.close_connection = True
                return io.BytesIO(b"x" * 500)
            return super().send_head()

        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "site"
    (folder / "private").mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    silence.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, str]]]:
    """A moto server that checks signatures -> (address, keys of a user who may read); `videos` is a bucket."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with (tmp_path / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while "Running on http" not in (text := (tmp_path / "moto.log").read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        url = text.split("Running on ")[1].split()[0]
        names = {"aws_access_key_id": "first", "aws_secret_access_key": "first", "region_name": "us-east-1"}
        iam = boto3.client("iam", endpoint_url=url, **names)
        iam.create_user(UserName="reader")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(policy))
        keys = iam.create_access_key(UserName="reader")["AccessKey"]
        boto3.client("s3", endpoint_url=url, **names).create_bucket(Bucket="videos")
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - from now on every request is checked
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        credentials = {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        }
        s3fs.S3FileSystem.clear_instance_cache()
        yield url, credentials
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        process.terminate()
        process.wait(timeout=20)


def reason(uri: str) -> str:
    with pytest.raises(MediaError) as caught, local(uri):
        pass
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(vars(caught.value))
    assert SECRET not in everything
    assert caught.value.__context__ is None  # nor an exception of a library that a logger could print
    return caught.value.reason


def test_a_path_stays_where_it_is(make_video: MakeVideo, tmp_path: Path, temporary: Path) -> None:
    path = make_video(tmp_path / "what?is@this.mp4", seconds=1)
    for uri in (path, str(path), f"file://{path}"):
        with local(uri) as file:
            assert file == path
        assert fingerprint(uri) == (path.stat().st_size, str(path.stat().st_mtime_ns))
    assert not list(temporary.iterdir())
    assert path.exists()


def test_what_is_not_there(tmp_path: Path) -> None:
    assert reason(str(tmp_path / "none.mp4")) == "missing video"
    assert reason(f"file://{tmp_path}/none.mp4") == "missing video"
    assert reason(str(tmp_path)) == "missing video"


@pytest.mark.parametrize(
    "uri", ["ssh://host/a.mp4", "tar://a.mp4::reference://x", "python://a", "simplecache::s3://b"]
)
def test_only_known_protocols_are_opened(uri: str) -> None:
    assert reason(uri) == "unknown address"


def test_members_of_archives(make_video: MakeVideo, tmp_path: Path, temporary: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(video, "inside/a.mp4")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(video, "inside/a.mp4")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(video, "inside/a.mp4")
    with local(f"tar://inside/a.mp4::{tmp_path}/a.tar.gz") as file:
        assert file.read_bytes() == video.read_bytes()
    with local(f"tar://inside/a.mp4::file://{tmp_path}/a.tar") as file:
        assert file.read_bytes() == video.read_bytes()
    for kind in ("tar", "zip"):
        uri = f"{kind}://inside/a.mp4::{tmp_path}/a.{kind}"
        with local(uri) as file:
            assert file.parent == temporary
            assert file.suffix == ".mp4"
            assert file.read_bytes() == video.read_bytes()
            assert probe(file).duration == pytest.approx(1)
        assert not file.exists()
        assert fingerprint(uri)[0] == video.stat().st_size
        assert reason(f"{kind}://other.mp4::{tmp_path}/a.{kind}") == "missing video"
        assert reason(f"{kind}://a.mp4::{tmp_path}/none.{kind}") == "missing video"
        (tmp_path / f"words.{kind}").write_text("These are words. " * 99)
        assert reason(f"{kind}://a.mp4::{tmp_path}/words.{kind}") == "unreadable archive"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_member_may_have_any_name(kind: str, tmp_path: Path, temporary: Path) -> None:
    name = "35034348999@N01: why?.mp4"  # DiDeMo's videos are named after Flickr's users
    (tmp_path / "a").write_bytes(b"a video")
    if kind == "tar":
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(tmp_path / "a", name)
    else:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(tmp_path / "a", name)
    uri = f"{kind}://{name}::{tmp_path}/a.{kind}"
    assert shown(uri) == uri
    with local(uri) as file:
        assert file.read_bytes() == b"a video"


def test_an_archive_that_changed_is_opened_again(tmp_path: Path, temporary: Path) -> None:
    for content in (b"first", b"second"):
        (tmp_path / "a.mp4").write_bytes(content)
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(tmp_path / "a.mp4", "a.mp4")
            archive.add(tmp_path / "a.mp4", "b.mp4")
        for name in "aba":
            with local(f"tar://{name}.mp4::{tmp_path}/a.tar") as file:
                assert file.read_bytes() == content


def test_threads_read_one_archive(tmp_path: Path, temporary: Path) -> None:
    contents = [bytes([i]) * 300_000 for i in range(16)]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i, content in enumerate(contents):
            member = tarfile.TarInfo(f"{i}.mp4")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    def read(i: int) -> bytes:
        with local(f"tar://{i}.mp4::{tmp_path}/a.tar") as file:
            return file.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(16))) == contents


def test_the_web(
    make_video: MakeVideo, tmp_path: Path, temporary: Path, web: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    video = make_video(tmp_path / "site/private/a.mp4", seconds=1)
    with local(f"http://reader:{SECRET}@{web}/private/a.mp4?token={SECRET}") as file:
        assert file.read_bytes() == video.read_bytes()
        assert file.suffix == ".mp4"
        assert SECRET not in str(file)
    with tarfile.open(tmp_path / "site/a.tar", "w") as archive:
        archive.add(video, "inside/a.mp4")
    with local(f"tar://inside/a.mp4::http://reader:{SECRET}@{web}/a.tar") as file:
        assert file.read_bytes() == video.read_bytes()
    size, mark = fingerprint(f"http://reader:{SECRET}@{web}/private/a.mp4")
    assert size == video.stat().st_size
    assert mark
    assert reason(f"http://{web}/private/a.mp4?token={SECRET}") == "no access"
    assert reason(f"http://reader:{SECRET}@{web}/none.mp4?token={SECRET}") == "missing video"
    assert reason(f"http://reader:{SECRET}@{web}/broken.mp4") == "unreachable"
    assert reason(f"http://reader:{SECRET}@{web}/short.mp4") == "unreachable"
    assert reason(f"http://reader:{SECRET}@127.0.0.1:9/a.mp4") == "unreachable"
    with pytest.raises(MediaError):
        fingerprint(f"http://{web}/private/a.mp4")
    assert not list(temporary.iterdir())
    gc.collect()  # unawaited tasks report late
    assert SECRET not in caplog.text


def test_a_silent_server_is_not_waited_for(temporary: Path, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_SECONDS", 0.3)
    begin = time.monotonic()
    assert reason(f"http://{web}/silent.mp4") == "unreachable"
    assert time.monotonic() - begin < 10


def test_a_private_bucket(
    make_video: MakeVideo,
    tmp_path: Path,
    temporary: Path,
    store: tuple[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    _, credentials = store
    video = make_video(tmp_path / "a.mp4", seconds=1)
    uri = "s3://videos/some/a.mp4"
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").put_file(str(video), uri)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(video, "inside/a.mp4")
    fsspec.filesystem("s3").put_file(str(tmp_path / "a.tar"), "s3://videos/a.tar")
    for address in (uri, "tar://inside/a.mp4::s3://videos/a.tar"):
        with local(address) as file:
            assert file.read_bytes() == video.read_bytes()
    before = fingerprint(uri)
    assert before[0] == video.stat().st_size
    changed = make_video(tmp_path / "b.mp4", seconds=1, rate=4)
    fsspec.filesystem("s3").put_file(str(changed), uri)
    assert fingerprint(uri) != before
    assert reason("s3://videos/none.mp4") == "missing video"
    assert reason("s3://videos/none.mp4") == "missing video"

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    s3fs.S3FileSystem.clear_instance_cache()  # a process keeps the keys with which it began
    assert reason(uri) == "no access"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRET)
    s3fs.S3FileSystem.clear_instance_cache()
    assert reason(uri) == "no access"
    assert reason("tar://inside/a.mp4::s3://videos/a.tar") == "no access"
    assert not list(temporary.iterdir())
    assert SECRET not in caplog.text


def test_a_full_disk_is_told_before_the_copy(
    tmp_path: Path, temporary: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site/a.mp4").write_bytes(b"x" * 1000)
    monkeypatch.setattr(addresses, "_REMAINS_FREE", 2**60)
    with pytest.raises(MediaError, match="TMPDIR") as caught, local(f"http://{web}/a.mp4"):
        pass
    assert caught.value.reason == "disk full"
    assert not list(temporary.iterdir())


@pytest.mark.skipif(find_spec("fcntl") is None, reason="copies are locked on POSIX systems only")
def test_the_copy_of_a_killed_process_goes_and_one_in_use_stays(tmp_path: Path, temporary: Path, web: str) -> None:
    (tmp_path / "site/a.mp4").write_bytes(b"x" * 1000)
    script = f"""
import os, signal, tempfile
tempfile.tempdir = {str(temporary)!r}
from scriptsight.media import local
with local("http://{web}/a.mp4"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)  # noqa: S603
    assert len(list(temporary.iterdir())) == 1
    with local(f"http://{web}/a.mp4") as one:
        assert list(temporary.iterdir()) == [one]
        with local(f"http://{web}/a.mp4") as other:
            assert sorted(temporary.iterdir()) == sorted([one, other])
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("videos/what?is@this.mp4", "videos/what?is@this.mp4"),
        ("s3://key:secret@bucket/a@b.mp4", "s3://***@bucket/a@b.mp4"),
        ("s3://bucket/a#b.mp4", "s3://bucket/a#b.mp4"),
        ("s3://bucket/why?.mp4", "s3://bucket/why?.mp4"),
        ("s3://bucket/a.mp4?x=1&X-Amz-Signature=1", "s3://bucket/a.mp4?***"),
        ("HTTPS://word@host/a.mp4?token=1", "HTTPS://***@host/a.mp4?***"),
        ("tar://35034348999@N01_606.mp4::videos/0.tar", "tar://35034348999@N01_606.mp4::videos/0.tar"),
        ("zip://a:b@c?d.mp4::zip://x@y.zip::s3://b/z.zip", "zip://a:b@c?d.mp4::zip://x@y.zip::s3://b/z.zip"),
        ("tar://a@b.mp4::https://me:w::rd@host/b.tar", "tar://a@b.mp4::https://***@host/b.tar"),
        ("https://host:8080/@channel/a.mp4", "https://host:8080/@channel/a.mp4"),
        ("https://me:word@host/a.mp4?X-Amz-Signature=1#t", "https://***@host/a.mp4?***"),
        ("https://host/a.mp4#token", "https://host/a.mp4#***"),
        ("https://me:wo/rd@host/a.mp4", "https://***@host/a.mp4"),
        ("tar://a.mp4::https://me:word@host/b.tar?sig=1", "tar://a.mp4::https://***@host/b.tar?***"),
    ],
)
def test_an_address_is_shown_without_secrets(uri: str, expected: str) -> None:
    assert shown(uri) == expected
