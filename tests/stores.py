"""An S3 server of this machine, in a process of its own, and what was asked of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
import s3fs

from scriptsight import shards
from scriptsight.segments import describe_shard, joined, list_shards, write_without_frames
from tests import small

KEY, SECRET = "someone", "of-the-bucket-key"


@dataclass
class Server:
    """moto's server, which writes a line a request; its bucket is `videos`."""

    url: str
    log: Path
    read: int = field(default=0)  # bytes of the log

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def requests(self) -> Counter[str]:
        """How many requests came since this was last asked: LIST, HEAD, GET, PUT and POST."""
        time.sleep(0.2)  # the line is written when the answer is on its way
        text = self.log.read_bytes()[self.read :].decode()
        self.read += len(text.encode())
        found = re.findall(r'"(?:\x1b\[[\d;]*m)*([A-Z]+) (\S+) HTTP', text)
        return Counter("LIST" if method == "GET" and "list-type" in path else method for method, path in found)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server for as long as the block lasts; the environment of this process leads to it."""
    log = folder / "moto.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 60
        while "Running on http" not in (text := log.read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        here = Server(text.split("Running on ")[1].split()[0], log)
        with pytest.MonkeyPatch.context() as environment:
            for name, value in here.environment.items():
                environment.setenv(name, value)
            environment.setenv("SCRIPTSIGHT_CACHE", str(folder / "cache"))
            s3fs.S3FileSystem.clear_instance_cache()
            _forget_environment()
            fsspec.filesystem("s3").mkdir("videos")
            here.requests()
            yield here
    finally:
        _forget_environment()
        s3fs.S3FileSystem.clear_instance_cache()
        process.terminate()
        process.wait(timeout=20)


def _forget_environment() -> None:
    """Processes that a stage starts have the environment of the fork server, which is that of its own start."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # made for unit tests


def sharded(folder: Path, collection: str, split: str, shards: int, rows: int) -> None:
    """Segments as `small.narrated` draws them, in several shards with the list beside them."""
    drawn = small.narrated(folder / "drawn", split, shards * rows, collection)
    batch = pa.ipc.open_file(pa.memory_map(str(drawn))).get_batch(0)
    for number in range(shards):
        path = folder / collection / split / f"{number:05}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(joined([batch.slice(number * rows, rows)]))
    shutil.rmtree(folder / "drawn")
    list_shards(folder / collection / split)


def send(local: Path, far: Path, address: str) -> None:
    """Put the shards in `local` below an address; `far` gets what stands here for them, as `segment.store` has it."""
    for folder in sorted({path.parent for path in local.rglob("*.arrow")}):
        group = folder.relative_to(local)
        listed = {}
        for path in sorted(folder.glob("*.arrow")):
            kept = shards.put(path, f"{address}/{group.as_posix()}")
            place = far / group / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            write_without_frames(path, place)
            listed[path.name] = describe_shard(place, kept)
        list_shards(far / group, listed, f"{address}/{group.as_posix()}")
